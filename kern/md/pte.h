/*
 * Entries of the CPUs' page tables: what kern/ptable.c, which walks and fills them, is told by an
 * architecture.
 *
 * Tables are 4 KiB, 512 entries of 64 bits, four levels: root (level 3), leaves of 1 GiB (2), 2 MiB
 * (1), 4 KiB (0).  An entry of zero is empty.  All entries are written with pte_write: hardware
 * walks at any time.
 *
 * md_pte.h (each architecture's own, found by include path, never by name) holds, ALWAYS_INLINE:
 *
 *   bool pte_present(uint64_t e)        it names a table or a leaf
 *   bool pte_is_table(uint64_t e)       of one that is there, above level 0
 *   struct paddr pte_address(uint64_t e)
 *   uint64_t pte_table(struct paddr t, bool user)
 *   uint64_t pte_large(uint64_t e)      the bits of a 4 KiB leaf, made those of a larger one
 *   uint64_t pte_kernel(enum pte_use)   the bits of a 4 KiB leaf of the kernel's
 *   uint64_t pte_user(uint8_t prot)     ... of a process's; prot: PROT_*
 *   unsigned pte_pa_bits(void)          of a physical address, as far as this CPU reaches
 *   void pte_before_link(void)          a new table is seen empty before it is seen
 *   void pte_publish(void)              entries that were written where there were none are in
 *                                       force from here on
 *   void pte_replace_here(uint64_t *e, uint64_t to, uint64_t va)
 *                                       a leaf that only this CPU uses, in force on return
 *   void pte_code(struct paddr, uint64_t pages)   ... is about to be executed: fetches see it
 *
 * and where the windows of the kernel's half are: MD_WINDOW, MD_STACKS (both below the next
 * MD_CPU_PAGES), and how many entries of a root are a process's: MD_USER_ENTRIES.
 */
#pragma once

#include "kern/base/types.h"

enum pte_use : uint8_t {
	PTE_USE_TEXT,		/* executable, read only */
	PTE_USE_RODATA,
	PTE_USE_DATA,
	PTE_USE_DEVICE,		/* registers: strongest order, never merged or repeated */
};

/* One store: the walker never sees half an entry. */
static ALWAYS_INLINE void
pte_write(uint64_t *e, uint64_t v)
{
	*(volatile uint64_t *)e = v;
}

#include <md_pte.h>
