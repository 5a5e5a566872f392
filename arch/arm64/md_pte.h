/*
 * Entries of page tables (kern/md/pte.h): AArch64, 4 KiB granule.  A process has a root of its own.
 *
 * Device registers of the kernel are nGnRnE: a configuration write must be complete when the next
 * instruction runs.
 *
 * Code pages, the kernel's and programs', are guarded where the CPU has BTI: an indirect branch
 * must land on a BTI instruction or one that signs the return address.  All code here is compiled
 * so.  Manual: Arm ARM D8.
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/base/types.h"
#include "kern/md/mmu.h"
#include "arch/arm64/pac.h"
#include "arch/arm64/sysreg.h"

enum : uint64_t {
	MD_WINDOW = 0xffff'8000'0000'0000,
	MD_STACKS = 0xffff'8040'0000'0000,
	MD_CPU_PAGES = 0xffff'807f'ffe0'0000,
};
enum { MD_USER_ENTRIES = 512 };

static ALWAYS_INLINE bool pte_present(uint64_t e) { return (e & PTE_VALID) != 0; }
static ALWAYS_INLINE bool pte_is_table(uint64_t e) { return (e & PTE_TABLE) != 0; }
static ALWAYS_INLINE struct paddr
pte_address(uint64_t e)
{
	return (struct paddr){ e & PTE_ADDR };
}

static ALWAYS_INLINE uint64_t
pte_table(struct paddr t, bool user UNUSED)
{
	return t.v | PTE_VALID | PTE_TABLE;
}

static ALWAYS_INLINE uint64_t pte_large(uint64_t e) { return e & ~(uint64_t)PTE_PAGE; }

static ALWAYS_INLINE uint64_t
pte_kernel(enum pte_use use)
{
	const uint64_t all = PTE_VALID | PTE_PAGE | PTE_AF | PTE_UXN, ram = ATTR_NORMAL | PTE_INNER;

	switch (use) {
	case PTE_USE_TEXT:
		return all | ram | PTE_RO | (cpu_bti ? PTE_GP : 0);
	case PTE_USE_RODATA:
		return all | ram | PTE_RO | PTE_PXN;
	case PTE_USE_DATA:
		return all | ram | PTE_PXN;
	case PTE_USE_DEVICE:
		return all | ATTR_NGNRNE | PTE_PXN;
	}
	__builtin_unreachable();
}

static ALWAYS_INLINE uint64_t
pte_user(uint8_t prot)
{
	return PTE_VALID | PTE_PAGE | PTE_USER | PTE_AF | PTE_NG | PTE_PXN |
	    ((prot & PROT_WRITE) != 0 ? 0 : PTE_RO) |
	    ((prot & PROT_EXEC) != 0 ? (cpu_bti ? PTE_GP : 0) : PTE_UXN) |
	    ((prot & PROT_DEVICE) != 0 ? ATTR_NGNRE : ATTR_NORMAL | PTE_INNER);
}

/* ID_AA64MMFR0_EL1.PARange; entries of these tables end at 48. */
static ALWAYS_INLINE unsigned
pte_pa_bits(void)
{
	static const uint8_t bits[] = { 32, 36, 40, 42, 44, 48 };
	uint64_t range = FIELD_GET(BITS(3, 0), READ_SYS(id_aa64mmfr0_el1));

	return range < ARRAY_SIZE(bits) ? bits[range] : 48;
}

static ALWAYS_INLINE void pte_before_link(void) { DSB(ishst); }

static ALWAYS_INLINE void
pte_publish(void)
{
	DSB(ishst);
	ISB();
}

/* An entry that is in use is broken first. */
static ALWAYS_INLINE void
pte_replace_here(uint64_t *e, uint64_t to, uint64_t va)
{
	*(volatile uint64_t *)e = 0;
	DSB(nshst);
	__asm__ volatile("tlbi vaae1, %0" ::"r"(va >> PAGE_SHIFT & BITS(43, 0)) : "memory");
	DSB(nsh);
	*(volatile uint64_t *)e = to;
	DSB(nshst);
	ISB();
}

/* Data cache lines are cleaned, instruction caches invalidated. */
void pte_code(struct paddr pa, uint64_t pages);
