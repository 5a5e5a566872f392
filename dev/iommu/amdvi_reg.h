/*
 * AMD-Vi: registers, device table, commands, events.  Manual: AMD I/O Virtualization Technology
 * (IOMMU) Specification, 48882.
 *
 * All registers are 64 bits wide and taken by 64-bit accesses (AMD-19).
 */
#pragma once

#include "kern/base/bits.h"

/* Offsets [3.4; AMD-16]. */
enum : uint32_t {
	AMDVI_DEVTAB      = 0x00,
	AMDVI_CMDBUF      = 0x08,
	AMDVI_EVTLOG      = 0x10,
	AMDVI_CONTROL     = 0x18,
	AMDVI_EXCL_BASE   = 0x20,
	AMDVI_EXCL_LIMIT  = 0x28,
	AMDVI_EFR         = 0x30,
	AMDVI_CMD_HEAD    = 0x2000,
	AMDVI_CMD_TAIL    = 0x2008,
	AMDVI_EVT_HEAD    = 0x2010,
	AMDVI_EVT_TAIL    = 0x2018,
	AMDVI_STATUS      = 0x2020,
};

enum : uint64_t {
	DEVTAB_BASE = BITS(51, 12),
	DEVTAB_SIZE = BITS(8, 0),	/* pages of the table, minus one */
	RING_BASE   = BITS(51, 12),	/* command buffer, event log */
	RING_LEN    = BITS(59, 56),	/* 1 << n entries, 8 .. 15 */
	RING_INDEX  = BITS(18, 4),	/* heads and tails: byte offset of a 16-byte entry */
};

/* Control [AMD-17].  One thing at a time (AMD-26). */
enum : uint64_t {
	CTL_IOMMU_EN    = BIT(0),
	CTL_HT_TUN      = BIT(1),
	CTL_EVTLOG_EN   = BIT(2),
	CTL_EVTINT_EN   = BIT(3),
	CTL_COMWAIT_INT = BIT(4),
	CTL_INV_TIMEOUT = BITS(7, 5),	/* 4: one second */
	CTL_PASS_PW     = BIT(8),
	CTL_RES_PASS_PW = BIT(9),
	CTL_COHERENT    = BIT(10),
	CTL_ISOC        = BIT(11),
	CTL_CMDBUF_EN   = BIT(12),
	CTL_PPRLOG_EN   = BIT(13),
	CTL_PPRINT_EN   = BIT(14),
	CTL_PPR_EN      = BIT(15),
	CTL_GT_EN       = BIT(16),
	CTL_GA_EN       = BIT(17),
	CTL_GALOG_EN    = BIT(28),
	CTL_GAINT_EN    = BIT(29),
	CTL_XT_EN       = BIT(50),	/* 32-bit processor ids in interrupt entries */
};

/* Extended features [AMD-18]. */
enum : uint64_t {
	EFR_XT   = BIT(2),		/* x2APIC destinations in interrupt entries */
	EFR_IA   = BIT(6),		/* INVALIDATE_IOMMU_ALL */
	EFR_GA   = BIT(7),		/* 128-bit interrupt entries */
	EFR_HATS = BITS(11, 10),	/* host tables have up to n + 4 levels */
};

/* Status [AMD-16].  EvtOverflow, EvtInt, ComWaitInt are cleared by writing 1. */
enum : uint64_t {
	STS_EVT_OVERFLOW = BIT(0),
	STS_EVT_INT      = BIT(1),
	STS_COMWAIT_INT  = BIT(2),
	STS_EVT_RUN      = BIT(3),
	STS_CMD_RUN      = BIT(4),
};

/* Firmware's wishes (IVHD flags) and where they go in the control register [AMD-03, AMD-23]. */
enum : uint8_t {
	IVHD_HT_TUN = 1 << 0,
	IVHD_PASS_PW = 1 << 1,
	IVHD_RES_PASS_PW = 1 << 2,
	IVHD_ISOC = 1 << 3,
	IVHD_COHERENT = 1 << 5
};

/* PCI capability [3.2; AMD-15] */
enum : uint32_t {
	CAP_ID = 0x0f,
	CAP_NP_CACHE = 1u << 26, /* absent entries may be cached too */
	CAP_EFR = 1u << 27,
	CAP_BASE_LOW = 4,
	CAP_BASE_HIGH = 8, /* offsets; bit 0 of the low half: enabled and locked */
};

/*
 * Device table entry: 32 bytes for each of 65536 requesters [2.2.2; AMD-30, AMD-31].
 *
 * An entry that is not valid lets everything through, and one without a mode is an identity map for
 * the rights it grants.  So blocked is an entry that is valid, translates, has no mode and grants
 * nothing, with interrupts aborted.  Publish: second word (domain id) first, while the entry is
 * blocked; then the first word in one store.  Take back: the first word, to the blocked one; the
 * rest stays true until the invalidations are past (AMD-34).
 */
enum : uint64_t {
	DTE_V    = BIT(0),		/* first word */
	DTE_TV   = BIT(1),
	DTE_MODE = BITS(11, 9),		/* levels of the page table; 0: none */
	DTE_ROOT = BITS(51, 12),
	DTE_IR   = BIT(61),
	DTE_IW   = BIT(62),
	DTE_DOMAIN = BITS(15, 0),	/* second word */
	DTE_IV     = BIT(0),		/* third word: interrupts are looked at */
	DTE_INT_LEN = BITS(4, 1),	/* 1 << n entries */
	DTE_INT_ROOT = BITS(51, 6),
	DTE_INT_CTL = BITS(61, 60),	/* 0 abort, 1 forward, 2 remap */
	INT_ABORT = 0,
	INT_REMAP = 2,

	DTE_BLOCKED = DTE_V | DTE_TV,	/* first word */
	DTE_NO_INTERRUPTS = DTE_IV,	/* third word */
	DTE_ANY_INTERRUPT = 0,		/* third word: passed on as they are */
};
enum : uint32_t { DTE_WORDS = 4, AMDVI_IDS = 0x10000 };
static_assert(FIELD_PREP(DTE_INT_CTL, INT_ABORT) == 0);

/*
 * Interrupt entry, 128 bits (control GAEn) [2.2.5; AMD-71].  Publish: high, then low with REMAP;
 * take it back by clearing low.  Type fixed, physical destination, no guest: all 0.
 */
enum : uint64_t {
	IRTE_REMAP     = BIT(0),	/* low half */
	IRTE_TYPE      = BITS(4, 2),
	IRTE_DEST      = BITS(31, 8),
	IRTE_VECTOR    = BITS(7, 0),	/* high half */
	IRTE_DEST_HIGH = BITS(63, 56),
};

/* Commands: 16 bytes [2.4; AMD-50]. */
enum : uint64_t {
	CMD_OP = BITS(63, 60),
	OP_COMPLETION_WAIT = 1,
	OP_INVALIDATE_DEVTAB_ENTRY = 2,
	OP_INVALIDATE_PAGES = 3,
	OP_INVALIDATE_INTERRUPT_TABLE = 5,
	OP_INVALIDATE_ALL = 8,
	WAIT_STORE  = BIT(0),		/* the second word is stored at ... */
	WAIT_FLUSH  = BIT(2),		/* later commands wait for this one */
	WAIT_ADDRESS = BITS(51, 3),
	CMD_DEVICE  = BITS(15, 0),
	PAGES_DOMAIN = BITS(47, 32),
	PAGES_S     = BIT(0),		/* second word: the address codes a size */
	PAGES_PDE   = BIT(1),		/* entries that lead to tables too */
	PAGES_ADDRESS = BITS(63, 12),
	PAGES_EVERYTHING = 0x7fff'ffff'ffff'f000 | PAGES_S | PAGES_PDE,
};

/* Events: 16 bytes; the second word is an address [2.5; AMD-60]. */
enum : uint64_t {
	EVT_CODE   = BITS(63, 60),
	EVT_DEVICE = BITS(15, 0),
	EVT_I      = BIT(51),		/* an interrupt request */
	EVT_PR     = BIT(52),		/* a page was there: the rights were not */
	EVT_RW     = BIT(53),		/* a write */
	EVT_TR     = BIT(56),		/* a translation request */
};
enum : uint32_t {
	EVENT_ILLEGAL_DEV_TABLE_ENTRY = 1,
	EVENT_IO_PAGE_FAULT,
	EVENT_DEV_TAB_HARDWARE,
	EVENT_PAGE_TAB_HARDWARE,
	EVENT_ILLEGAL_COMMAND,
	EVENT_COMMAND_HARDWARE,
	EVENT_IOTLB_INV_TIMEOUT,
	EVENT_INVALID_DEVICE_REQUEST,
	EVENT_INVALID_PPR_REQUEST,
};

/* Requests in the first range are message interrupts, in the second HyperTransport's own: never DMA
 * addresses (AMD-44). */
enum : uint64_t {
	AMDVI_INTERRUPT_BASE = 0xfee0'0000, AMDVI_INTERRUPT_LEN = MIB,
	AMDVI_HT_BASE = 0xfd'0000'0000, AMDVI_HT_LEN = 0x3'0000'0000,
};
