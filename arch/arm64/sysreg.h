/*
 * System registers and table entries of AArch64.
 * Manual: Arm ARM DDI 0487, D8 (translation), D17 (registers).
 */
#pragma once

#include "kern/base/bits.h"

#define READ_SYS(name) \
	({ \
		uint64_t v_; \
		__asm__ volatile("mrs %0, " #name : "=r"(v_)); \
		v_; \
	})
#define WRITE_SYS(name, v) __asm__ volatile("msr " #name ", %0" ::"r"((uint64_t)(v)) : "memory")
#define ISB()			__asm__ volatile("isb" ::: "memory")
#define DSB(kind)		__asm__ volatile("dsb " #kind ::: "memory")

enum : uint64_t {
	PTE_VALID = BIT(0),
	PTE_TABLE = BIT(1),
	PTE_PAGE = BIT(1),
	PTE_USER = BIT(6),
	PTE_RO = BIT(7),
	PTE_INNER = BITS(9, 8),
	PTE_AF = BIT(10),
	PTE_NG = BIT(11),
	PTE_GP = BIT(50),
	PTE_PXN = BIT(53),
	PTE_UXN = BIT(54),
	PTE_ADDR = BITS(47, 12),
	/* MAIR indexes */
	ATTR_NORMAL = 0ull << 2,
	ATTR_NGNRNE = 1ull << 2,
	ATTR_NGNRE = 2ull << 2,
	MAIR = 0xff | 0x00ull << 8 | 0x04ull << 16,

	TCR = 16 | 16ull << 16 | 1ull << 8 | 1ull << 10 | 3ull << 12 | 1ull << 24 | 1ull << 26 |
	    3ull << 28 | 2ull << 30,
	TCR_AS = BIT(36),
	TCR_IPS_SHIFT = 32,

	SCTLR_M = BIT(0),
	SCTLR_A = BIT(1),
	SCTLR_C = BIT(2),
	SCTLR_SA = BIT(3),
	SCTLR_SA0 = BIT(4),
	SCTLR_I = BIT(12),
	SCTLR_WXN = BIT(19),
	SCTLR_SPAN = BIT(23),
	SCTLR_ENIB = BIT(30),
	SCTLR_ENIA = BIT(31),
	SCTLR_BT0 = BIT(35),
	SCTLR_BT1 = BIT(36), /* signing a return address is a landing place for calls only */
	/* RES1 in the first version, and traps that stay open to user mode: WFI, WFE */
	SCTLR_RES1 = BIT(11) | BIT(16) | BIT(18) | BIT(20) | BIT(22) | BIT(23) | BIT(28) | BIT(29),
};
