/*
 * Page tables of AArch64: 4 KiB granule, 48 bits, four levels (0 at the top).
 *
 * TTBR1 is the kernel's: direct map at level-0 entry 0, a window for device registers and stacks at
 * 256, the image at 511.  TTBR0 is the process's, with an address-space id; "no process" is an
 * empty table.  Invalidations are broadcast (inner shareable): no interprocessor interrupt is
 * needed.
 *
 * Device registers of the kernel are nGnRnE: a configuration write must be complete when the next
 * instruction runs.
 *
 * Code pages, the kernel's and programs', are guarded where the CPU has BTI: an indirect branch
 * must land on a BTI instruction or one that signs the return address.  All code here is compiled
 * so.  Manual: Arm ARM D8.
 */
#include "kern/md/mmu.h"
#include "kern/base/idpool.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/cpu.h"
#include "kern/panic.h"
#include "kern/sched.h"
#include "kern/quota.h"
#include "arch/arm64/pac.h"
#include "arch/arm64/sysreg.h"

enum : uint64_t {
	KERNEL_VMA = 0xffff'ffff'8000'0000,
	WINDOW = 0xffff'8000'0000'0000,
	STACKS = 0xffff'8040'0000'0000,
	CPU_PAGES =
	    0xffff'807f'ffe0'0000, /* a page for each CPU, and a hole behind it: mmu_window */
	ASID_SHIFT = 48,
};
enum { ASIDS = 65536 };

extern const char __kernel_start[], __text_end[], __rodata_end[], __kernel_end[];
extern uint64_t boot_l0[], boot_direct_l1[], boot_id_l0[];

const uint64_t mmu_boot_limit = 512 * GIB; /* platform.c maps all RAM below before frame_init */
uint64_t mmu_empty_ttbr0, mmu_kernel_ttbr1, mmu_phys_offset;
uint32_t mmu_zva_bytes;
uint64_t secondary_ttbr[2];		/* TTBR1, TTBR0 of start-up, for start.S */

static uint64_t *kernel_root;
static uint64_t *cpu_pages;		/* the table of CPU_PAGES */
static bool kernel_live;		/* the final tables are in use: they reach all RAM */
static_assert(2 * CPUS_MAX <= 512);
static uint64_t window_next = WINDOW, stack_next = STACKS;
static struct spinlock lock = SPINLOCK_INIT(RANK_MMU);
static struct { void *next; } *free_stacks;
static uint64_t asid_map[ASIDS / 64];
static struct id_pool asids = { .map = asid_map };

static uint64_t *table_at(uint64_t e) { return frame_ptr((struct paddr){ e & PTE_ADDR }); }
static unsigned
index_at(uint64_t va, unsigned level)
{
	return (unsigned)(va >> (39 - 9 * level)) & 511;
}

static uint64_t *
new_table(uint32_t flags)
{
	struct paddr p;

	return frame_alloc(0, FRAME_TABLE, FRAME_ZERO | flags, &p) == OK ? frame_ptr(p) : NULL;
}

/* Where the leaf of an address of the kernel's half stands: level 1 (1 GiB), 2 (2 MiB), 3 (4 KiB).
 * NULL: memory is out. */
static uint64_t *
kernel_entry(uint64_t va, unsigned level)
{
	uint64_t *t = kernel_root;

	for (unsigned l = 0; l < level; l++) {
		uint64_t *e = &t[index_at(va, l)];

		if ((*e & PTE_VALID) == 0) {
			uint64_t *n = new_table(kernel_live ? 0 : FRAME_BOOT);

			if (n == NULL)
				return NULL;
			DSB(ishst);
			*(volatile uint64_t *)e = frame_of(n).v | PTE_VALID | PTE_TABLE;
		}
		t = table_at(*e);
	}
	return &t[index_at(va, level)];
}

/* False when memory is out. */
static bool
kernel_leaf(uint64_t va, uint64_t pa, unsigned level, uint64_t bits)
{
	uint64_t *e = kernel_entry(va, level);

	if (e == NULL)
		return false;
	*e = pa | bits | PTE_VALID | PTE_AF | PTE_UXN | (level == 3 ? PTE_PAGE : 0);
	return true;
}

static void
boot_leaf(uint64_t va, uint64_t pa, unsigned level, uint64_t bits)
{
	if (!kernel_leaf(va, pa, level, bits))
		boot_failed("too little memory for the kernel's page tables");
}

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

	if (kernel_root != NULL || base >> 39 != 0 || (*e & PTE_VALID) != 0)
		return NULL;
	*e = align_down(base, GIB) | ATTR_NGNRNE | PTE_PXN | PTE_UXN | PTE_AF | PTE_VALID;
	DSB(ishst);
	ISB();
	return frame_ptr((struct paddr){ base });
}

static void
direct_map(uint64_t base, uint64_t end, uint64_t image, uint64_t image_ro)
{
	while (base < end) {
		uint64_t size = is_aligned(base, GIB) && end - base >= GIB ? GIB :
		    is_aligned(base, 2 * MIB) && end - base >= 2 * MIB ? 2 * MIB : PAGE_SIZE;
		bool ro = base >= image && base < image_ro;

		while (size > PAGE_SIZE && ranges_overlap(base, size, image, image_ro - image))
			size = size == GIB ? 2 * MIB : PAGE_SIZE;
		boot_leaf(DIRECT_MAP_BASE + base, base, size == GIB ? 1 : size == 2 * MIB ? 2 : 3,
		    ATTR_NORMAL | PTE_INNER | PTE_PXN | (ro ? PTE_RO : 0));
		base += size;
	}
}

void
mmu_init(const struct machine *m)
{
	uint64_t image = mmu_phys_offset,
		 ro = (uint64_t)(uintptr_t)__rodata_end - KERNEL_VMA + image;
	uint64_t *empty;

	kernel_root = new_table(FRAME_BOOT);
	empty = new_table(FRAME_BOOT);
	if (kernel_root == NULL || empty == NULL)
		boot_failed("too little memory for the kernel's page tables");
	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *r = &m->memory[i];

		if (r->kind != MEM_RESERVED)
			direct_map(align_down(r->base, PAGE_SIZE),
			    align_up(r->base + r->len, PAGE_SIZE), image, ro);
	}
	for (uint64_t va = (uint64_t)(uintptr_t)__kernel_start;
	    va < (uint64_t)(uintptr_t)__kernel_end; va += PAGE_SIZE) {
		uint64_t bits = va < (uint64_t)(uintptr_t)__text_end ?
		    PTE_RO | (cpu_bti ? PTE_GP : 0) :
		    va < (uint64_t)(uintptr_t)__rodata_end ? PTE_RO | PTE_PXN :
							     PTE_PXN;

		boot_leaf(va, va - KERNEL_VMA + image, 3, bits | ATTR_NORMAL | PTE_INNER);
	}
	cpu_pages = kernel_entry(CPU_PAGES, 3);
	if (cpu_pages == NULL)
		boot_failed("too little memory for the kernel's page tables");
	mmu_kernel_ttbr1 = frame_of(kernel_root).v;
	mmu_empty_ttbr0 = frame_of(empty).v;
	secondary_ttbr[0] = mmu_kernel_ttbr1;
	secondary_ttbr[1] = (uint64_t)(uintptr_t)boot_id_l0 - KERNEL_VMA + image;
	asids.count = FIELD_GET(BITS(7, 4), READ_SYS(id_aa64mmfr0_el1)) != 0 ? 65536 : 256;
	DSB(ish);
	mmu_init_cpu();
	kernel_live = true;
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

void *
mmu_map_device(struct paddr base, uint64_t len)
{
	uint64_t from = align_down(base.v, PAGE_SIZE), to = align_up(base.v + len, PAGE_SIZE), va;

	spin_lock(&lock);
	va = to - from >= 2 * MIB ? align_up(window_next, 2 * MIB) + (from & (2 * MIB - 1)) :
				    window_next;
	if (va > STACKS || to - from > STACKS - va) {
		spin_unlock(&lock);
		return NULL;
	}
	for (uint64_t at = from; at < to; ) {
		bool big = is_aligned(at, 2 * MIB) && is_aligned(va + (at - from), 2 * MIB) &&
		    to - at >= 2 * MIB;

		/* The part that is there already is nobody's: its addresses are not used again. */
		if (!kernel_leaf(va + (at - from), at, big ? 2 : 3, ATTR_NGNRNE | PTE_PXN)) {
			window_next = va + (at - from);
			spin_unlock(&lock);
			return NULL;
		}
		at += big ? 2 * MIB : PAGE_SIZE;
	}
	window_next = va + (to - from) + PAGE_SIZE;
	DSB(ishst);
	ISB();
	spin_unlock(&lock);
	return (void *)(uintptr_t)(va + (base.v - from));
}

/* An entry that is in use is broken first.  Only this CPU uses the page, so only it has to forget.
 */
void *
mmu_window(struct paddr at)
{
	unsigned i = 2 * this_cpu()->id;
	uint64_t va = CPU_PAGES + i * PAGE_SIZE;
	uint64_t leaf = align_down(at.v, PAGE_SIZE) | ATTR_NGNRNE | PTE_PXN | PTE_UXN | PTE_AF |
	    PTE_VALID | PTE_PAGE;

	if (cpu_pages[i] != leaf) {
		*(volatile uint64_t *)&cpu_pages[i] = 0;
		DSB(nshst);
		__asm__ volatile("tlbi vaae1, %0" ::"r"(va >> PAGE_SHIFT & BITS(43, 0)) : "memory");
		DSB(nsh);
		*(volatile uint64_t *)&cpu_pages[i] = leaf;
		DSB(nshst);
		ISB();
	}
	return (void *)(uintptr_t)(va + (at.v & PAGE_MASK));
}

void *
mmu_stack_alloc(void)
{
	struct paddr p;
	void *s;
	uint64_t va;

	spin_lock(&lock);
	s = free_stacks;
	if (s != NULL) {
		free_stacks = free_stacks->next;
		spin_unlock(&lock);
		return s;
	}
	spin_unlock(&lock);
	if (frame_alloc(log2_ceil(KSTACK_SIZE / PAGE_SIZE), FRAME_KERNEL, FRAME_ZERO, &p) != OK)
		return NULL;
	spin_lock(&lock);
	va = stack_next + PAGE_SIZE;
	/* Tables first: a stack is mapped as a whole or not at all. */
	for (uint64_t at = 0; at < KSTACK_SIZE; at += PAGE_SIZE)
		if (kernel_entry(va + at, 3) == NULL) {
			spin_unlock(&lock);
			frame_free(p, log2_ceil(KSTACK_SIZE / PAGE_SIZE));
			return NULL;
		}
	stack_next = va + KSTACK_SIZE;
	for (uint64_t at = 0; at < KSTACK_SIZE; at += PAGE_SIZE)
		*kernel_entry(va + at, 3) = (p.v + at) | ATTR_NORMAL | PTE_INNER | PTE_PXN |
		    PTE_VALID | PTE_AF | PTE_UXN | PTE_PAGE;
	DSB(ishst);
	ISB();
	spin_unlock(&lock);
	return (void *)(uintptr_t)va;
}

void
mmu_stack_free(void *stack)
{
	spin_lock(&lock);
	*(void **)stack = free_stacks;
	free_stacks = stack;
	spin_unlock(&lock);
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
	root = id != 0 ? new_table(0) : NULL;
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
		s->key[0] = cpu_random() | 1;
		s->key[1] = cpu_random();
	}
	return OK;
}

static void
free_tables(struct mmu_space *s, uint64_t *t, unsigned level)
{
	for (unsigned i = 0; i < 512; i++) {
		if ((t[i] & PTE_VALID) == 0)
			continue;
		KASSERT((t[i] & PTE_TABLE) != 0);
		if (level < 2)
			free_tables(s, table_at(t[i]), level + 1);
		frame_free(frame_of(table_at(t[i])), 0);
		s->table_pages--;
		quota_give_pages(s->quota, 1);
		if ((s->table_pages & 15) == 0)		/* there may be thousands */
			sched_preempt_point();
	}
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
	free_tables(s, frame_ptr(s->root), 0);
	frame_free(s->root, 0);
	quota_give_pages(s->quota, 1);
	spin_lock(&lock);
	id_pool_give(&asids, id);
	spin_unlock(&lock);
}

/* The entry of va at the level (3: of 4 KiB, 2: of 2 MiB); makes tables on the way when asked to.
 */
static enum status
walk(struct mmu_space *s, uint64_t va, unsigned to, bool make, uint64_t **out)
{
	uint64_t *t = frame_ptr(s->root);

	for (unsigned level = 0; level < to; level++) {
		uint64_t *e = &t[index_at(va, level)];

		if ((*e & PTE_VALID) == 0) {
			uint64_t *n;
			enum status st;

			if (!make)
				return E_NOT_FOUND;
			st = quota_take_pages(s->quota, 1);
			if (st != OK)
				return st;
			n = new_table(0);
			if (n == NULL) {
				quota_give_pages(s->quota, 1);
				return E_NO_MEMORY;
			}
			s->table_pages++;
			DSB(ishst);
			*(volatile uint64_t *)e = frame_of(n).v | PTE_VALID | PTE_TABLE;
		}
		KASSERT((*e & PTE_TABLE) != 0);
		t = table_at(*e);
	}
	*out = &t[index_at(va, to)];
	return OK;
}

static uint64_t
prot_bits(uint8_t prot)
{
	return PTE_VALID | PTE_PAGE | PTE_USER | PTE_AF | PTE_NG | PTE_PXN |
	    ((prot & PROT_WRITE) != 0 ? 0 : PTE_RO) |
	    ((prot & PROT_EXEC) != 0 ? (cpu_bti ? PTE_GP : 0) : PTE_UXN) |
	    ((prot & PROT_DEVICE) != 0 ? ATTR_NGNRE : ATTR_NORMAL | PTE_INNER);
}

/* New code must be seen by instruction fetch: its data cache lines are cleaned, instruction caches
 * invalidated. */
static void
sync_code(struct paddr pa, uint64_t pages)
{
	cache_clean(frame_ptr(pa), pages * PAGE_SIZE);
	__asm__ volatile("ic ialluis; dsb ish; isb" ::: "memory");
}

static void
flush(struct mmu_space *s, uint64_t va, uint64_t pages)
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

/*
 * A table that maps nothing any more makes room for a large leaf: it is broken off and forgotten
 * everywhere before the leaf is made, and freed.
 */
static void
drop_table(struct mmu_space *s, uint64_t va, uint64_t *e)
{
	uint64_t old = *e;

	*(volatile uint64_t *)e = 0;
	flush(s, va, 1);
	frame_free(frame_of(table_at(old)), 0);
	s->table_pages--;
	quota_give_pages(s->quota, 1);
}

static enum status
map_large(struct mmu_space *s, uint64_t va, uint64_t pa, uint64_t bits)
{
	uint64_t *e;
	enum status st = walk(s, va, 2, true, &e);

	if (st != OK)
		return st;
	if ((*e & PTE_VALID) != 0)
		drop_table(s, va, e);
	*(volatile uint64_t *)e = pa | (bits & ~PTE_PAGE);
	s->large_leaves++;
	return OK;
}

enum status
mmu_map(struct mmu_space *s, struct uva va, struct paddr pa, uint64_t pages, uint8_t prot)
{
	uint64_t *e = NULL, bits = prot_bits(prot);
	enum status st = OK;

	if ((prot & PROT_EXEC) != 0)
		sync_code(pa, pages);
	if (pages == MMU_RUN && is_aligned(va.v | pa.v, 2 * MIB)) {
		st = map_large(s, va.v, pa.v, bits);
		pages = 0;
	}
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = va.v + i * PAGE_SIZE;

		if (e == NULL || (at & (2 * MIB - 1)) == 0) {
			st = walk(s, at, 3, true, &e);
			if (st != OK) {
				mmu_unmap(s, va, i);
				return st;
			}
		}
		*(volatile uint64_t *)e++ = (pa.v + i * PAGE_SIZE) | bits;
	}
	DSB(ishst);
	ISB();
	return st;
}

void
mmu_unmap(struct mmu_space *s, struct uva va, uint64_t pages)
{
	uint64_t *e;
	bool any = false;

	for (uint64_t i = 0, n; i < pages; i += n) {
		uint64_t at = va.v + i * PAGE_SIZE;

		n = min_u64(pages - i, MMU_RUN - at / PAGE_SIZE % MMU_RUN);
		if (walk(s, at, 2, false, &e) != OK || (*e & PTE_VALID) == 0)
			continue;
		if ((*e & PTE_TABLE) == 0) {
			KASSERT(n == MMU_RUN);
			*(volatile uint64_t *)e = 0;
			s->large_leaves--;
			flush(s, at, 1);
			continue;
		}
		e = table_at(*e) + index_at(at, 3);
		for (uint64_t k = 0; k < n; k++) {
			any |= (e[k] & PTE_VALID) != 0;
			*(volatile uint64_t *)&e[k] = 0;
		}
	}
	if (any)
		flush(s, va.v, pages);
}

bool copy_bytes(void *to, const void *from, size_t len);
extern bool cpu_pan;

static bool
guarded_copy(void *to, const void *from, size_t len)
{
	bool ok;

	if (cpu_pan)
		__asm__ volatile(".inst 0xd500409f" ::: "memory");	/* msr pan, #0 */
	ok = copy_bytes(to, from, len);
	if (cpu_pan)
		__asm__ volatile(".inst 0xd500419f" ::: "memory");	/* msr pan, #1 */
	return ok;
}

static bool
user_range(uint64_t at, size_t len)
{
	return len <= 64 * KIB && range_within(at, len, USER_BASE, USER_END - USER_BASE);
}

bool
mmu_copy_in(void *to, struct uva from, size_t len)
{
	return user_range(from.v, len) && guarded_copy(to, (const void *)(uintptr_t)from.v, len);
}

bool
mmu_copy_out(struct uva to, const void *from, size_t len)
{
	return user_range(to.v, len) && guarded_copy((void *)(uintptr_t)to.v, from, len);
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
