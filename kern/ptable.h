/*
 * The CPUs' page tables: what mmu.c of an architecture needs of kern/ptable.c, beside what
 * kern/md/mmu.h says.
 */
#pragma once

#include "kern/frame.h"
#include "kern/md/mmu.h"
#include "kern/md/pte.h"

struct machine;

/* Where the image is linked, and its physical address less that; platform.c sets it. */
enum : uint64_t { PTABLE_IMAGE_VMA = 0xffff'ffff'8000'0000 };
extern uint64_t mmu_phys_offset;

extern uint64_t *ptable_kernel;		/* the kernel's root; NULL before ptable_init */

/*
 * Builds the kernel's half: direct map of all RAM of the machine, image by section, the table of
 * mmu_window.  gib: leaves of 1 GiB may be used.  flags: of the root's frame.  Memory that is out
 * ends the boot.
 */
void ptable_init(const struct machine *m, bool gib, uint32_t flags);
/* One more leaf of 4 KiB of the kernel's half, at boot. */
void ptable_boot_leaf(uint64_t va, uint64_t pa, enum pte_use use);
/* The final tables are in use: they reach all RAM. */
void ptable_live(void);

/* An empty table, or NULL. */
uint64_t *ptable_new(uint32_t flags);

/* Where the entry of va of that level stands in the kernel's half of a root; makes tables on the
 * way.  NULL: memory is out. */
uint64_t *ptable_entry(uint64_t *root, uint64_t va, unsigned level);

/* All tables of a process, and its root.  No CPU uses them. */
void ptable_space_free(struct mmu_space *s);

/* The architecture's: no CPU that runs s knows these pages any more, and none that will. */
void mmu_flush(struct mmu_space *s, uint64_t va, uint64_t pages);

/* The architecture's: a copy that a fault ends (false), with user memory within reach. */
bool mmu_guarded_copy(void *to, const void *from, size_t len);
