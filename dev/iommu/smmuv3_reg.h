/*
 * SMMUv3: registers, stream table, context descriptors, commands, events.
 *
 * Names are the manual's (Arm IHI 0070); SMMU-nn are entries of the specs' checklist.  32-bit
 * registers are accessed by 32 bits, 64-bit ones by aligned 64 bits.  Everything is little-endian.
 */
#pragma once

#include "kern/base/bits.h"

/* Register file: two pages of 64 KiB [ch. 6.3; SMMU-01] */
enum : uint32_t {
	SMMU_IDR0 = 0x00,
	SMMU_IDR1 = 0x04,
	SMMU_IDR3 = 0x0c,
	SMMU_IDR5 = 0x14,
	SMMU_IIDR = 0x18,
	SMMU_CR0 = 0x20,
	SMMU_CR0ACK = 0x24,
	SMMU_CR1 = 0x28,
	SMMU_CR2 = 0x2c,
	SMMU_GBPA = 0x44,
	SMMU_IRQ_CTRL = 0x50,
	SMMU_IRQ_CTRLACK = 0x54,
	SMMU_GERROR = 0x60,
	SMMU_GERRORN = 0x64,
	SMMU_GERROR_IRQ_CFG0 = 0x68,	/* 64 bits: address of its message, 0: wired */
	SMMU_STRTAB_BASE = 0x80,	/* 64 bits */
	SMMU_STRTAB_BASE_CFG = 0x88,
	SMMU_CMDQ_BASE = 0x90,		/* 64 bits */
	SMMU_CMDQ_PROD = 0x98,
	SMMU_CMDQ_CONS = 0x9c,
	SMMU_EVENTQ_BASE = 0xa0,	/* 64 bits */
	SMMU_EVENTQ_PROD = 0xa8,	/* in page 1; in page 0 only on CN99xx [SMMU-03] */
	SMMU_EVENTQ_CONS = 0xac,	/* in page 1 */
	SMMU_EVENTQ_IRQ_CFG0 = 0xb0,	/* 64 bits */
	SMMU_PRIQ_IRQ_CFG0 = 0xd0,	/* 64 bits */
	SMMU_PAGE1 = 0x10000,
	SMMU_PAGES_BYTES = 0x20000,
};

/* Identification [6.3.1 .. 6.3.6] */
enum : uint32_t {
	IDR0_S2P = BIT(0),
	IDR0_S1P = BIT(1),
	IDR0_TTF_A64 = BIT(3),		/* TTF 2 or 3 */
	IDR0_COHACC = BIT(4),
	IDR0_HYP = BIT(9),
	IDR0_ATS = BIT(10),
	IDR0_ASID16 = BIT(12),
	IDR0_MSI = BIT(13),
	IDR0_PRI = BIT(16),
	IDR0_VMID16 = BIT(18),
	IDR0_TTENDIAN = BITS(22, 21),
	TTENDIAN_MIXED = 0,
	TTENDIAN_LITTLE = 2,
	IDR0_STALL_MODEL = BITS(25, 24),
	STALL_OR_TERMINATE = 0,
	STALL_NEVER = 1,
	STALL_FORCED = 2,
	IDR0_ST_LEVEL = BITS(28, 27),
	ST_TWO_LEVEL = 1,

	IDR1_SIDSIZE = BITS(5, 0),
	IDR1_EVENTQS = BITS(20, 16),
	IDR1_CMDQS = BITS(25, 21),
	IDR1_ATTR_TYPES_OVR = BIT(27),
	IDR1_REL = BIT(28),
	IDR1_QUEUES_PRESET = BIT(29),
	IDR1_TABLES_PRESET = BIT(30),

	IDR3_RIL = BIT(10),

	IDR5_OAS = BITS(2, 0),		/* 32, 36, 40, 42, 44, 48, 52 bits */
	IDR5_GRAN4K = BIT(4),
};

/* Control [6.3.9 .. 6.3.11].  A write to CR0 is in force when CR0ACK shows it [SMMU-13]. */
enum : uint32_t {
	CR0_SMMUEN = BIT(0),
	CR0_PRIQEN = BIT(1),
	CR0_EVENTQEN = BIT(2),
	CR0_CMDQEN = BIT(3),
	CR0_ATSCHK = BIT(4),

	CR1_QUEUE_IC = BITS(1, 0),
	CR1_QUEUE_OC = BITS(3, 2),
	CR1_QUEUE_SH = BITS(5, 4),
	CR1_TABLE_IC = BITS(7, 6),
	CR1_TABLE_OC = BITS(9, 8),
	CR1_TABLE_SH = BITS(11, 10),
	CR1_CACHE_NC = 0,
	CR1_CACHE_WB = 1,
	CR1_SH_INNER = 3,

	CR2_RECINVSID = BIT(1),
	CR2_PTM = BIT(2),

	GBPA_ABORT = BIT(20),
	GBPA_UPDATE = BIT(31),
};

/* Interrupts and global errors [6.3.16 .. 6.3.20].  Active errors: GERROR xor GERRORN [SMMU-28]. */
enum : uint32_t {
	IRQ_CTRL_GERROR = BIT(0),
	IRQ_CTRL_EVENTQ = BIT(2),

	GERROR_CMDQ = BIT(0),
	GERROR_EVENTQ_ABT = BIT(2),
	GERROR_PRIQ_ABT = BIT(3),
	GERROR_MSI_ABT = BITS(7, 4),
	GERROR_SFM = BIT(8),
	GERROR_KNOWN =
	    GERROR_CMDQ | GERROR_EVENTQ_ABT | GERROR_PRIQ_ABT | GERROR_MSI_ABT | GERROR_SFM,
};

/* Tables and queues */
enum : uint64_t {
	STRTAB_BASE_RA = BIT(62),
	STRTAB_CFG_LOG2SIZE = BITS(5, 0),
	STRTAB_CFG_SPLIT = BITS(10, 6),
	STRTAB_CFG_FMT = BITS(17, 16),
	STRTAB_FMT_TWO_LEVEL = 1,

	Q_BASE_LOG2SIZE = BITS(4, 0),
	Q_BASE_HINT = BIT(62),		/* allocate: RA for commands, WA for events */
	Q_OVERFLOW = BIT(31),		/* of the event queue's PROD, acknowledged in CONS */
	CMDQ_CONS_ERR = BITS(30, 24),	/* only while GERROR.CMDQ is active [SMMU-150] */
};

enum smmu_cerror : uint8_t { CERROR_NONE, CERROR_ILL, CERROR_ABT, CERROR_ATC_INV };

/* Level 1 stream table descriptor [5.1; SMMU-45].  Publish: level 2 complete, then one store. */
enum : uint64_t {
	L1_SPAN = BITS(4, 0),		/* 1 << (span - 1) entries; 0: none */
	L1_L2PTR = BITS(51, 6),
};

/*
 * Stream table entry, 8 words [5.2; SMMU-48].  Publish: with word 0 an abort store words 1 .. 7,
 * CFGI_STE, sync; then word 0 in one store, CFGI_STE, sync [SMMU-51].
 */
enum : uint64_t {
	STE0_V = BIT(0),
	STE0_CONFIG = BITS(3, 1),
	STE_ABORT = 0,			/* silently [SMMU-50] */
	STE_S1 = 5,
	STE_S2 = 6,
	STE0_S1CTXPTR = BITS(51, 6),

	STE1_S1CIR = BITS(3, 2),	/* 0 NC, 1 write-back read-allocate */
	STE1_S1COR = BITS(5, 4),
	STE1_S1CSH = BITS(7, 6),
	STE1_S1STALLD = BIT(27),
	STE1_SHCFG = BITS(45, 44),
	SHCFG_INCOMING = 1,

	STE2_VMID = BITS(15, 0),
	STE2_T0SZ = BITS(37, 32),
	STE2_SL0 = BITS(39, 38),
	STE2_IR0 = BITS(41, 40),
	STE2_OR0 = BITS(43, 42),
	STE2_SH0 = BITS(45, 44),
	STE2_PS = BITS(50, 48),
	STE2_AA64 = BIT(51),
	STE2_PTW = BIT(54),
	STE2_R = BIT(58),

	STE3_TTB = BITS(51, 4),
};

enum { STE_WORDS = 8, STE_BYTES = 64 };

/* Context descriptor, 8 words [5.4; SMMU-60].  Publish: all words before an STE points at it. */
enum : uint64_t {
	CD0_T0SZ = BITS(5, 0),
	CD0_IR0 = BITS(9, 8),		/* TCR's encoding: 0 NC, 1 write-back [SMMU-65] */
	CD0_OR0 = BITS(11, 10),
	CD0_SH0 = BITS(13, 12),
	CD0_EPD1 = BIT(30),
	CD0_V = BIT(31),
	CD0_IPS = BITS(34, 32),
	CD0_AA64 = BIT(41),
	CD0_R = BIT(45),
	CD0_A = BIT(46),
	CD0_ASET = BIT(47),
	CD0_ASID = BITS(63, 48),
	CD1_TTB0 = BITS(51, 4),
};

enum : uint64_t { SH_NONE = 0, SH_OUTER_SHARE = 2, SH_INNER_SHARE = 3 };

/* Commands, 16 bytes [ch. 4] */
enum : uint64_t {
	CMD_OP = BITS(7, 0),
	CMD_CFGI_STE = 0x03,
	CMD_CFGI_ALL = 0x04,		/* CFGI_STE_RANGE with Range 31 */
	CMD_CFGI_CD_ALL = 0x06,
	CMD_TLBI_FIRST = 0x10,
	CMD_TLBI_NH_ASID = 0x11,
	CMD_TLBI_NH_VA = 0x12,
	CMD_TLBI_EL2_ALL = 0x20,
	CMD_TLBI_S12_VMALL = 0x28,
	CMD_TLBI_S2_IPA = 0x2a,
	CMD_TLBI_NSNH_ALL = 0x30,
	CMD_TLBI_LAST = 0x30,
	CMD_SYNC = 0x46,		/* CS 0: done when consumed */

	CFGI0_SID = BITS(63, 32),
	CFGI1_LEAF = BIT(0),		/* level 1 descriptors are not concerned */
	CFGI1_ALL = 31,

	TLBI0_NUM = BITS(16, 12),
	TLBI0_SCALE = BITS(24, 20),
	TLBI0_VMID = BITS(47, 32),
	TLBI0_ASID = BITS(63, 48),
	TLBI1_LEAF = BIT(0),
	TLBI1_TG = BITS(11, 10),
	TG_4K = 1,
	TLBI1_ADDR = BITS(63, 12),
};

/* Events, 32 bytes [7.3] */
enum : uint64_t {
	EVT0_TYPE = BITS(7, 0),
	EVT0_SID = BITS(63, 32),
	EVT1_RNW = BIT(35),
};

enum { EVENT_WORDS = 4, EVENT_BYTES = 32 };

enum smmu_event : uint8_t {
	F_UUT = 0x01,
	C_BAD_STREAMID = 0x02,
	F_STE_FETCH = 0x03,
	C_BAD_STE = 0x04,
	F_BAD_ATS_TREQ = 0x05,
	F_STREAM_DISABLED = 0x06,
	F_TRANSL_FORBIDDEN = 0x07,
	C_BAD_SUBSTREAMID = 0x08,
	F_CD_FETCH = 0x09,
	C_BAD_CD = 0x0a,
	F_WALK_EABT = 0x0b,
	F_TRANSLATION = 0x10,
	F_ADDR_SIZE = 0x11,
	F_ACCESS = 0x12,
	F_PERMISSION = 0x13,
	F_TLB_CONFLICT = 0x20,
	F_CFG_CONFLICT = 0x21,
};
