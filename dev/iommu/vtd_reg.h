/*
 * VT-d: registers, tables and descriptors, legacy mode.  Manual: Intel VT-d, chapters 6, 7, 9, 11.
 *
 * 32-bit registers take 32-bit accesses, 64-bit ones 64-bit accesses (VTD-23).
 */
#pragma once

#include "kern/base/bits.h"

/* Offsets [11.2; VTD-20].  Fault records and the IOTLB registers lie where CAP.FRO and ECAP.IRO
 * say. */
enum : uint32_t {
	VTD_VER    = 0x00,
	VTD_CAP    = 0x08,	/* 64 bits */
	VTD_ECAP   = 0x10,	/* 64 */
	VTD_GCMD   = 0x18,	/* write only */
	VTD_GSTS   = 0x1c,
	VTD_RTADDR = 0x20,	/* 64 */
	VTD_CCMD   = 0x28,	/* 64 */
	VTD_FSTS   = 0x34,
	VTD_FECTL  = 0x38,
	VTD_FEDATA = 0x3c,
	VTD_FEADDR = 0x40,
	VTD_FEUADDR = 0x44,
	VTD_PMEN   = 0x64,
	VTD_IQH    = 0x80,	/* 64 */
	VTD_IQT    = 0x88,	/* 64 */
	VTD_IQA    = 0x90,	/* 64 */
	VTD_IRTA   = 0xb8,	/* 64 */
	VTD_IOTLB_OFFSET = 8,	/* 64, from ECAP.IRO * 16; IVA is at 0 */
};

/* [VTD-21] */
enum : uint64_t {
	CAP_ND       = BITS(2, 0),	/* 1 << (4 + 2n) domain ids */
	CAP_AFL      = BIT(3),
	CAP_RWBF     = BIT(4),		/* tables are not seen before a write-buffer flush */
	CAP_PLMR     = BIT(5),
	CAP_PHMR     = BIT(6),
	CAP_CM       = BIT(7),		/* absent entries may be cached too */
	CAP_SAGAW    = BITS(12, 8),	/* bit n: tables of n + 2 levels */
	CAP_MGAW     = BITS(21, 16),	/* address bits that requests may have, minus one */
	CAP_FRO      = BITS(33, 24),
	CAP_SLLPS_2M = BIT(34),
	CAP_SLLPS_1G = BIT(35),
	CAP_PSI      = BIT(39),
	CAP_NFR      = BITS(47, 40),	/* fault records, minus one */
	CAP_MAMV     = BITS(53, 48),	/* largest address mask of a page-selective invalidation */
	CAP_DWD      = BIT(54),
	CAP_DRD      = BIT(55),
};

/* [VTD-22] */
enum : uint64_t {
	ECAP_C   = BIT(0),		/* walks snoop the CPUs' caches */
	ECAP_QI  = BIT(1),
	ECAP_IR  = BIT(3),
	ECAP_EIM = BIT(4),		/* 32-bit processor ids in interrupt entries */
	ECAP_PT  = BIT(6),
	ECAP_SC  = BIT(7),		/* SNP in leaves */
	ECAP_IRO = BITS(17, 8),
};

/* GCMD and GSTS: the same bits [VTD-24, VTD-25]. */
enum : uint32_t {
	GCMD_TE   = 1u << 31,
	GCMD_SRTP = 1u << 30,		/* one shot */
	GCMD_SFL  = 1u << 29,		/* one shot */
	GCMD_EAFL = 1u << 28,
	GCMD_WBF  = 1u << 27,		/* one shot: done when its status bit is clear again */
	GCMD_QIE  = 1u << 26,
	GCMD_IRE  = 1u << 25,
	GCMD_SIRTP = 1u << 24,		/* one shot */
	GCMD_CFI  = 1u << 23,
	GSTS_KEEP = 0x96ff'ffff,	/* all but the one-shot bits */
};
static_assert(GSTS_KEEP == (uint32_t)~(GCMD_SRTP | GCMD_SFL | GCMD_WBF | GCMD_SIRTP));

enum : uint64_t {
	RTADDR_TTM   = BITS(11, 10),	/* 0: legacy mode */
	RTADDR_TABLE = BITS(63, 12),
	IQA_QS       = BITS(2, 0),	/* the queue has 1 << n pages */
	IQ_INDEX     = BITS(18, 4),	/* IQH, IQT: byte offset of a 16-byte descriptor */
};

/* Invalidation by register: only for units that have no queue [VTD-26, VTD-27]. */
enum : uint64_t {
	CCMD_ICC    = BIT(63),
	CCMD_GLOBAL = FIELD_PREP(BITS(62, 61), 1),
	IOTLB_IVT    = BIT(63),
	IOTLB_GLOBAL = FIELD_PREP(BITS(61, 60), 1),
};

/* [VTD-36, VTD-85] */
enum : uint32_t {
	PMEN_EPM = 1u << 31,
	PMEN_PRS = 1u << 0,
	FSTS_PFO = 1u
	    << 0, /* records were dropped; stays until cleared, and nothing is recorded meanwhile */
	FSTS_PPF = 1u << 1, /* some record is full; read only */
	FSTS_IQE = 1u << 4, /* the queue stopped at a descriptor */
	FSTS_ICE = 1u << 5,
	FSTS_ITE = 1u << 6, /* a device TLB did not answer: waits were dropped */
	FSTS_PRO = 1u << 7,
	FSTS_STICKY = FSTS_PFO | FSTS_IQE | FSTS_ICE | FSTS_ITE | FSTS_PRO,
	FECTL_IM = 1u << 31,
	FECTL_IP = 1u << 30,
};
enum : uint64_t { FSTS_FRI = BITS(15, 8) };

/* Fault record: 16 bytes [VTD-86].  F is cleared by writing it as 1 to the last 32 bits. */
enum : uint64_t {
	FR_PAGE   = BITS(63, 12),	/* low half */
	FR_SID    = BITS(15, 0),	/* high half from here */
	FR_REASON = BITS(39, 32),
	FR_READ   = BIT(62),
	FR_F      = BIT(63),
};
enum : uint32_t { FR_BYTES = 16, FR_HIGH = 8, FR_LAST32 = 12, FR_LAST32_F = 1u << 31 };

/* Reasons [VTD-88] */
enum : uint32_t {
	REASON_ROOT_P = 1,
	REASON_CONTEXT_P,
	REASON_CONTEXT_INVALID,
	REASON_BEYOND_MGAW,
	REASON_WRITE,
	REASON_READ,
	REASON_TABLE_ACCESS,
	REASON_ROOT_ACCESS,
	REASON_CONTEXT_ACCESS,
	REASON_ROOT_RESERVED,
	REASON_CONTEXT_RESERVED,
	REASON_ENTRY_RESERVED,
	REASON_TRANSLATED,
	REASON_INTERRUPT_RANGE,
	REASON_IR_FIRST = 0x20,
	REASON_IR_LAST = 0x2f,
};
static_assert(REASON_INTERRUPT_RANGE == 0xe);

/*
 * Root table: 256 entries of 16 bytes, by bus [VTD-40].  Context table: the same, by device << 3 |
 * function [VTD-41].  Publish a context entry: store high, store low with P; take it back by
 * clearing P, and leave the rest readable until the invalidations are past.
 */
enum : uint64_t {
	ROOT_P     = BIT(0),
	ROOT_TABLE = BITS(63, 12),
	CTX_P      = BIT(0),		/* low half */
	CTX_FPD    = BIT(1),
	CTX_TT     = BITS(3, 2),	/* 0: untranslated requests only */
	CTX_TABLE  = BITS(63, 12),
	CTX_AW     = BITS(2, 0),	/* high half: levels - 2 */
	CTX_DID    = BITS(23, 8),
};
enum { VTD_TABLE_ENTRIES = 256 };

/* Descriptors: 16 bytes [VTD-60].  All other bits are 0, or the queue stops (VTD-61). */
enum : uint64_t {
	INV_TYPE    = BITS(3, 0),
	INV_CONTEXT = 1,
	INV_IOTLB   = 2,
	INV_IEC     = 4,		/* interrupt entries */
	INV_WAIT    = 5,
	INV_GRAN    = BITS(5, 4),
	GRAN_GLOBAL = 1,
	GRAN_DOMAIN = 2,
	GRAN_DEVICE = 3,		/* context */
	GRAN_PAGE   = 3,		/* IOTLB */
	INV_DID     = BITS(31, 16),
	INV_SID     = BITS(47, 32),	/* context */
	IEC_INDEX   = BIT(4),		/* one of them, or all */
	IEC_IIDX    = BITS(47, 32),
	INV_DW      = BIT(6),		/* IOTLB: drain writes, reads */
	INV_DR      = BIT(7),
	INV_AM      = BITS(5, 0),	/* IOTLB, high half: 1 << n pages */
	INV_IH      = BIT(6),		/* only leaves changed */
	WAIT_SW     = BIT(5),		/* store data when done */
	WAIT_FN     = BIT(6),		/* what follows waits for what precedes */
	WAIT_DATA   = BITS(63, 32),
};

/*
 * Interrupt entries: 16 bytes [9.10; VTD-70].  Publish: store high, store low with P; take it back
 * by clearing P.  DST in xAPIC mode is the 8-bit id in bits 15:8 of the field.
 */
enum : uint64_t {
	IRTA_TABLE  = BITS(63, 12),
	IRTA_EIME   = BIT(11),
	IRTA_S      = BITS(3, 0),	/* 2 << n entries */
	IRTE_P      = BIT(0),		/* low half */
	IRTE_VECTOR = BITS(23, 16),
	IRTE_DST    = BITS(63, 32),
	IRTE_SID    = BITS(15, 0),	/* high half */
	IRTE_SQ     = BITS(17, 16),	/* 0: all bits count */
	IRTE_SVT    = BITS(19, 18),
	SVT_SID     = 1,		/* the sender must be SID */
};

/* Requests in [base, base + len) are message interrupts before anything is translated [VTD-55]. */
enum : uint64_t { VTD_INTERRUPT_BASE = 0xfee0'0000, VTD_INTERRUPT_LEN = MIB };
