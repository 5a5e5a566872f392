/*
 * Address translation of AArch64: 4 KiB granule, 48 bits, four levels (kern/ptable.c, md_pte.h).
 *
 * TTBR1 is the kernel's: direct map at root entry 0, a window for device registers and stacks at
 * 256, the image at 511.  TTBR0 is the process's, with an address-space id; "no process" is an
 * empty table.  Invalidations are broadcast (inner shareable): no interprocessor interrupt is
 * needed.
 *
 * Manual: Arm ARM D8.
 */
#include "kern/ptable.h"
#include "kern/base/idpool.h"
#include "kern/cpu.h"
#include "kern/lock.h"
#include "kern/main.h"
#include "kern/md/cpu.h"
#include "kern/quota.h"
#include "kern/random.h"
#include "arch/arm64/pac.h"
#include "arch/arm64/sysreg.h"

enum { ASID_SHIFT = 48, ASIDS = 65536 };

extern uint64_t boot_direct_l1[], boot_id_l0[];

const uint64_t mmu_boot_limit = 512 * GIB; /* platform.c maps all RAM below before frame_init */
uint64_t mmu_empty_ttbr0, mmu_kernel_ttbr1, mmu_phys_offset;
uint32_t mmu_zva_bytes;
uint64_t secondary_ttbr[2];		/* TTBR1, TTBR0 of start-up, for start.S */

static struct spinlock lock = SPINLOCK_INIT(RANK_MMU);	/* over the ids */
static uint64_t asid_map[ASIDS / 64];
static struct id_pool asids = { .map = asid_map };

/* Before mmu_init: a GiB of RAM joins the boot map. */
void mmu_boot_map(uint64_t base, uint64_t len);
void
mmu_boot_map(uint64_t base, uint64_t len)
{
	for (uint64_t at = base >> 30; at <= (base + len - 1) >> 30 && at < 512; at++)
		boot_direct_l1[at] = at << 30 | ATTR_NORMAL | PTE_INNER | PTE_AF | PTE_VALID;
	DSB(ishst);
	ISB();
}

/* Before mmu_init, too: the GiB around a device's registers, when no RAM is in it.  NULL
 * afterwards. */
void *mmu_boot_device(uint64_t base);
void *
mmu_boot_device(uint64_t base)
{
	uint64_t *e = &boot_direct_l1[base >> 30 & 511];

	if (ptable_kernel != NULL || base >> 39 != 0 || (*e & PTE_VALID) != 0)
		return NULL;
	*e = align_down(base, GIB) | ATTR_NGNRNE | PTE_PXN | PTE_UXN | PTE_AF | PTE_VALID;
	DSB(ishst);
	ISB();
	return frame_ptr((struct paddr){ base });
}

void
mmu_init(const struct machine *m)
{
	uint64_t *empty = ptable_new(FRAME_BOOT);

	if (empty == NULL)
		boot_failed("too little memory for the kernel's page tables");
	ptable_init(m, true, FRAME_BOOT);
	mmu_kernel_ttbr1 = frame_of(ptable_kernel).v;
	mmu_empty_ttbr0 = frame_of(empty).v;
	secondary_ttbr[0] = mmu_kernel_ttbr1;
	secondary_ttbr[1] = (uint64_t)(uintptr_t)boot_id_l0 - PTABLE_IMAGE_VMA + mmu_phys_offset;
	asids.count = FIELD_GET(BITS(7, 4), READ_SYS(id_aa64mmfr0_el1)) != 0 ? 65536 : 256;
	DSB(ish);
	mmu_init_cpu();
	ptable_live();
}

void
mmu_init_cpu(void)
{
	uint64_t dczid = READ_SYS(dczid_el0);

	WRITE_SYS(ttbr1_el1, mmu_kernel_ttbr1);
	WRITE_SYS(ttbr0_el1, mmu_empty_ttbr0);
	ISB();
	__asm__ volatile("tlbi vmalle1; dsb nsh; isb" ::: "memory");
	WRITE_SYS(
	    sctlr_el1, READ_SYS(sctlr_el1) | SCTLR_WXN | (cpu_bti ? SCTLR_BT0 | SCTLR_BT1 : 0));
	ISB();
	mmu_zva_bytes = (dczid & BIT(4)) != 0 ? 0 : 4u << (dczid & 15);
	this_cpu()->space = NULL;
}

uint32_t mmu_spaces(void) { return asids.count - 1; }

enum status
mmu_space_init(struct mmu_space *s, struct quota *q)
{
	enum status e = quota_take_pages(q, 1);
	uint64_t *root;
	uint32_t id;

	if (e != OK)
		return e;
	spin_lock(&lock);
	id = id_pool_take(&asids);
	spin_unlock(&lock);
	root = id != 0 ? ptable_new(0) : NULL;
	if (root == NULL) {
		spin_lock(&lock);
		id_pool_give(&asids, id);
		spin_unlock(&lock);
		quota_give_pages(q, 1);
		return E_NO_MEMORY;
	}
	*s = (struct mmu_space){ .root = frame_of(root),
		.id = (uint64_t)id << ASID_SHIFT,
		.table_pages = 1,
		.quota = q };
	if (cpu_pac) {
		s->key[0] = random_word() | 1;
		s->key[1] = random_word();
	}
	return OK;
}

void
mmu_space_fini(struct mmu_space *s)
{
	uint32_t id = (uint32_t)(s->id >> ASID_SHIFT);

	for (uint32_t c = 0; c < cpu_count; c++)
		while (load_acquire(&cpus[c].space) == s)
			lock_wait();
	/* The id, and walks of these tables, are forgotten everywhere before either is used again.
	 */
	DSB(ishst);
	__asm__ volatile("tlbi aside1is, %0; dsb ish; isb" :: "r"(s->id) : "memory");
	ptable_space_free(s);
	spin_lock(&lock);
	id_pool_give(&asids, id);
	spin_unlock(&lock);
}

void
pte_code(struct paddr pa, uint64_t pages)
{
	cache_clean(frame_ptr(pa), pages * PAGE_SIZE);
	__asm__ volatile("ic ialluis; dsb ish; isb" ::: "memory");
}

void
mmu_flush(struct mmu_space *s, uint64_t va, uint64_t pages)
{
	DSB(ishst);
	if (pages > 64) {
		__asm__ volatile("tlbi aside1is, %0" :: "r"(s->id) : "memory");
	} else {
		for (uint64_t i = 0; i < pages; i++)
			__asm__ volatile("tlbi vae1is, %0" ::"r"(s->id | (va >> 12) + i)
			    : "memory");
	}
	DSB(ish);
	ISB();
}

bool copy_bytes(void *to, const void *from, size_t len);
extern bool cpu_pan;

bool
mmu_guarded_copy(void *to, const void *from, size_t len)
{
	bool ok;

	if (cpu_pan)
		__asm__ volatile(".inst 0xd500409f" ::: "memory");	/* msr pan, #0 */
	ok = copy_bytes(to, from, len);
	if (cpu_pan)
		__asm__ volatile(".inst 0xd500419f" ::: "memory");	/* msr pan, #1 */
	return ok;
}

static uint64_t
line_bytes(void)
{
	return 4ull << FIELD_GET(BITS(19, 16), READ_SYS(ctr_el0));
}

void
cache_clean(const void *p, size_t len)
{
	uint64_t line = line_bytes(), at = align_down((uint64_t)(uintptr_t)p, line),
		 end = (uint64_t)(uintptr_t)p + len;

	for (; at < end; at += line)
		__asm__ volatile("dc cvac, %0" :: "r"(at) : "memory");
	DSB(sy);
}

void
cache_invalidate(void *p, size_t len)
{
	uint64_t line = line_bytes(), at = align_down((uint64_t)(uintptr_t)p, line),
		 end = (uint64_t)(uintptr_t)p + len;

	for (; at < end; at += line)
		__asm__ volatile("dc civac, %0" :: "r"(at) : "memory");
	DSB(sy);
}
