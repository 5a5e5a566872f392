/*
 * Entries of page tables (kern/md/pte.h): x86-64.  The upper half of a process's root is the
 * kernel's: the tables below those entries exist from mmu_init on, and every process shares them,
 * so the halves never diverge.
 *
 * Stores are seen in order, by walks too, and an entry that was not there is not cached: nothing is
 * to be done before or after.  Manual: Intel SDM volume 3, 4.5, 4.10.
 */
#pragma once

#include "kern/base/types.h"
#include "kern/md/mmu.h"
#include "arch/x86_64/x86.h"

enum : uint64_t {
	MD_WINDOW = 0xffff'c000'0000'0000,
	MD_STACKS = 0xffff'c040'0000'0000,
	MD_CPU_PAGES = 0xffff'c07f'ffe0'0000,
};
enum { MD_USER_ENTRIES = 256 };

static ALWAYS_INLINE bool pte_present(uint64_t e) { return (e & PTE_P) != 0; }
static ALWAYS_INLINE bool pte_is_table(uint64_t e) { return (e & PTE_PS) == 0; }
static ALWAYS_INLINE struct paddr
pte_address(uint64_t e)
{
	return (struct paddr){ e & PTE_ADDR };
}

static ALWAYS_INLINE uint64_t
pte_table(struct paddr t, bool user)
{
	return t.v | PTE_P | PTE_W | (user ? PTE_U : 0);
}

static ALWAYS_INLINE uint64_t pte_large(uint64_t e) { return e | PTE_PS; }

static ALWAYS_INLINE uint64_t
pte_kernel(enum pte_use use)
{
	switch (use) {
	case PTE_USE_TEXT:
		return PTE_P | PTE_G;
	case PTE_USE_RODATA:
		return PTE_P | PTE_G | PTE_NX;
	case PTE_USE_DATA:
		return PTE_P | PTE_G | PTE_NX | PTE_W;
	case PTE_USE_DEVICE:
		return PTE_P | PTE_G | PTE_NX | PTE_W | PTE_A | PTE_D | PTE_PCD | PTE_PWT;
	}
	__builtin_unreachable();
}

static ALWAYS_INLINE uint64_t
pte_user(uint8_t prot)
{
	return PTE_P | PTE_U | ((prot & PROT_WRITE) != 0 ? PTE_W : 0) |
	    ((prot & PROT_EXEC) != 0 ? 0 : PTE_NX) |
	    ((prot & PROT_DEVICE) != 0 ? PTE_PCD | PTE_PWT : 0);
}

/* 36 where the CPU does not say [SDM volume 3, 4.1.4]. */
static ALWAYS_INLINE unsigned
pte_pa_bits(void)
{
	unsigned bits =
	    cpuid(0x80000000, 0).a >= 0x80000008 ? cpuid(0x80000008, 0).a & 0xff : 36;

	return bits < 52 ? bits : 52;
}

static ALWAYS_INLINE void pte_before_link(void) { }
static ALWAYS_INLINE void pte_publish(void) { }

static ALWAYS_INLINE void
pte_replace_here(uint64_t *e, uint64_t to, uint64_t va)
{
	*(volatile uint64_t *)e = to;
	invlpg(va);
}

static ALWAYS_INLINE void pte_code(struct paddr pa UNUSED, uint64_t pages UNUSED) { }
