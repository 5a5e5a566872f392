/*
 * The CPUs' page tables: walked, filled and freed here, for all architectures.
 *
 * What an entry looks like, and what a CPU is told when one changes, is the architecture's
 * (md_pte.h, mmu_flush).
 *
 * Kernel's half   made at boot, then only grown: device registers and stacks, each at addresses of
 *                 its own, which are never used again.  A table that was linked there stays
 * Process's half  charged to the process, table by table.  A leaf of 2 MiB takes the place of a
 *                 table only when that maps nothing any more, and is never split
 * Order           a new table is seen empty before it is linked; an entry that is cleared is
 *                 flushed before its frame, or what it maps, can be anybody else's
 * Locks           kernel's half: ours (RANK_MMU).  A process's: its vs_lock, which callers hold
 */
#include "kern/ptable.h"
#include "kern/base/bits.h"
#include "kern/cpu.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/cpu.h"
#include "kern/panic.h"
#include "kern/quota.h"
#include "kern/sched.h"

enum { ENTRIES = 512, ROOT_LEVEL = 3 };
static_assert(2 * CPUS_MAX <= ENTRIES);

extern const char __kernel_start[], __text_end[], __rodata_end[], __kernel_end[];

uint64_t *ptable_kernel;
static uint64_t *cpu_pages;		/* the table of MD_CPU_PAGES */
static bool live;
static uint64_t window_next = MD_WINDOW, stack_next = MD_STACKS;
static struct spinlock lock = SPINLOCK_INIT(RANK_MMU);
static struct { void *next; } *free_stacks;

static ALWAYS_INLINE uint64_t *table_at(uint64_t e) { return frame_ptr(pte_address(e)); }

static ALWAYS_INLINE unsigned
index_at(uint64_t va, unsigned level)
{
	return (unsigned)(va >> (PAGE_SHIFT + 9 * level)) & (ENTRIES - 1);
}

static ALWAYS_INLINE uint64_t
leaf(uint64_t pa, uint64_t bits, unsigned level)
{
	return pa | (level != 0 ? pte_large(bits) : bits);
}

uint64_t *
ptable_new(uint32_t flags)
{
	struct paddr p;

	return frame_alloc(0, FRAME_TABLE, FRAME_ZERO | flags, &p) == OK ? frame_ptr(p) : NULL;
}

/* ---- The kernel's half ---- */

uint64_t *
ptable_entry(uint64_t *root, uint64_t va, unsigned level)
{
	uint64_t *t = root;

	for (unsigned l = ROOT_LEVEL; l > level; l--) {
		uint64_t *e = &t[index_at(va, l)];

		if (!pte_present(*e)) {
			uint64_t *n = ptable_new(live ? 0 : FRAME_BOOT);

			if (n == NULL)
				return NULL;
			pte_before_link();
			pte_write(e, pte_table(frame_of(n), false));
		}
		t = table_at(*e);
	}
	return &t[index_at(va, level)];
}

/* False when memory is out. */
static bool
kernel_leaf(uint64_t va, uint64_t pa, unsigned level, enum pte_use use)
{
	uint64_t *e = ptable_entry(ptable_kernel, va, level);

	if (e == NULL)
		return false;
	pte_write(e, leaf(pa, pte_kernel(use), level));
	return true;
}

static void
boot_leaf(uint64_t va, uint64_t pa, unsigned level, enum pte_use use)
{
	if (!kernel_leaf(va, pa, level, use))
		boot_failed("too little memory for the kernel's page tables");
}

void
ptable_boot_leaf(uint64_t va, uint64_t pa, enum pte_use use)
{
	boot_leaf(va, pa, 0, use);
}

static uint64_t
image_at(const char *va)
{
	return (uint64_t)(uintptr_t)va - PTABLE_IMAGE_VMA + mmu_phys_offset;
}

/* The image's text and read-only data are not writable here either. */
static void
direct_map(uint64_t base, uint64_t end, bool gib)
{
	uint64_t image = image_at(__kernel_start), image_ro = image_at(__rodata_end);

	while (base < end) {
		unsigned level = gib && is_aligned(base, GIB) && end - base >= GIB ? 2 :
		    is_aligned(base, 2 * MIB) && end - base >= 2 * MIB	       ? 1 :
											 0;
		bool ro = base >= image && base < image_ro;
		uint64_t size = (uint64_t)PAGE_SIZE << 9 * level;

		for (; level != 0 && ranges_overlap(base, size, image, image_ro - image); level--)
			size >>= 9;
		boot_leaf(DIRECT_MAP_BASE + base, base, level, ro ? PTE_USE_RODATA : PTE_USE_DATA);
		base += size;
	}
}

void
ptable_init(const struct machine *m, bool gib, uint32_t flags)
{
	ptable_kernel = ptable_new(flags);
	if (ptable_kernel == NULL)
		boot_failed("too little memory for the kernel's page tables");
	/* Reserved areas are not memory of ours; tables and image are read through this map. */
	for (uint32_t i = 0; i < m->memory_count; i++)
		if (m->memory[i].kind != MEM_RESERVED)
			direct_map(align_down(m->memory[i].base, PAGE_SIZE),
			    align_up(m->memory[i].base + m->memory[i].len, PAGE_SIZE), gib);
	for (const char *p = __kernel_start; p < __kernel_end; p += PAGE_SIZE)
		boot_leaf((uint64_t)(uintptr_t)p, image_at(p), 0,
		    p < __text_end	   ? PTE_USE_TEXT :
			p < __rodata_end ? PTE_USE_RODATA :
					   PTE_USE_DATA);
	cpu_pages = ptable_entry(ptable_kernel, MD_CPU_PAGES, 0);
	if (cpu_pages == NULL)
		boot_failed("too little memory for the kernel's page tables");
	pte_publish();
}

void
ptable_live(void)
{
	live = true;
}

void *
mmu_map_device(struct paddr base, uint64_t len)
{
	uint64_t from = align_down(base.v, PAGE_SIZE), to = align_up(base.v + len, PAGE_SIZE), va;

	/* Firmware's word, mostly: what no CPU reaches would be bits of the entry. */
	if (len == 0 || !range_within(base.v, len, 0, 1ull << pte_pa_bits()))
		return NULL;
	spin_lock(&lock);
	/* Registers that need big leaves (ECAM) get them when the addresses agree. */
	va = to - from >= 2 * MIB ? align_up(window_next, 2 * MIB) + (from & (2 * MIB - 1)) :
				    window_next;
	if (va > MD_STACKS || to - from > MD_STACKS - va) {
		spin_unlock(&lock);
		return NULL;
	}
	for (uint64_t at = from; at < to; ) {
		bool big = is_aligned(at, 2 * MIB) && is_aligned(va + (at - from), 2 * MIB) &&
		    to - at >= 2 * MIB;

		/* The part that is there already is nobody's: its addresses are not used again. */
		if (!kernel_leaf(va + (at - from), at, big ? 1 : 0, PTE_USE_DEVICE)) {
			window_next = va + (at - from);
			spin_unlock(&lock);
			return NULL;
		}
		at += big ? 2 * MIB : PAGE_SIZE;
	}
	window_next = va + (to - from) + PAGE_SIZE;
	pte_publish();
	spin_unlock(&lock);
	return (void *)(uintptr_t)(va + (base.v - from));
}

/* A page for each CPU, and a hole behind it. */
void *
mmu_window(struct paddr at)
{
	unsigned i = 2 * this_cpu()->id;
	uint64_t va = MD_CPU_PAGES + i * PAGE_SIZE;
	uint64_t to = align_down(at.v, PAGE_SIZE) | pte_kernel(PTE_USE_DEVICE);

	if (cpu_pages[i] != to)
		pte_replace_here(&cpu_pages[i], to, va);
	return (void *)(uintptr_t)(va + (at.v & PAGE_MASK));
}

/* Stacks are kept for reuse, mapped: no shootdown, and the page below each stays a hole. */
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
		if (ptable_entry(ptable_kernel, va + at, 0) == NULL) {
			spin_unlock(&lock);
			frame_free(p, log2_ceil(KSTACK_SIZE / PAGE_SIZE));
			return NULL;
		}
	stack_next = va + KSTACK_SIZE;
	for (uint64_t at = 0; at < KSTACK_SIZE; at += PAGE_SIZE)
		pte_write(ptable_entry(ptable_kernel, va + at, 0),
		    leaf(p.v + at, pte_kernel(PTE_USE_DATA), 0));
	pte_publish();
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

/* ---- A process's half ---- */

/* A table of a process is nobody's; no CPU walks it. */
static void
free_table(struct mmu_space *s, uint64_t e)
{
	frame_free(pte_address(e), 0);
	s->table_pages--;
	quota_give_pages(s->quota, 1);
}

static void
free_tables(struct mmu_space *s, uint64_t *t, unsigned level)
{
	/* Four nested loops without recursion would be longer: the depth is fixed at three. */
	for (unsigned i = 0; i < (level == ROOT_LEVEL ? MD_USER_ENTRIES : ENTRIES); i++) {
		if (!pte_present(t[i]))
			continue;
		KASSERT(pte_is_table(t[i]));
		if (level > 1)
			free_tables(s, table_at(t[i]), level - 1);
		free_table(s, t[i]);
		if ((s->table_pages & 15) == 0)		/* there may be thousands */
			sched_preempt_point();
	}
}

void
ptable_space_free(struct mmu_space *s)
{
	free_tables(s, frame_ptr(s->root), ROOT_LEVEL);
	frame_free(s->root, 0);
	quota_give_pages(s->quota, 1);
}

/* The entry of va at the level; makes tables on the way when asked to. */
static enum status
walk(struct mmu_space *s, uint64_t va, unsigned to, bool make, uint64_t **out)
{
	uint64_t *t = frame_ptr(s->root);

	for (unsigned level = ROOT_LEVEL; level > to; level--) {
		uint64_t *e = &t[index_at(va, level)];

		if (!pte_present(*e)) {
			uint64_t *n;
			enum status st;

			if (!make)
				return E_NOT_FOUND;
			st = quota_take_pages(s->quota, 1);
			if (st != OK)
				return st;
			n = ptable_new(0);
			if (n == NULL) {
				quota_give_pages(s->quota, 1);
				return E_NO_MEMORY;
			}
			s->table_pages++;
			pte_before_link();
			pte_write(e, pte_table(frame_of(n), true));
		}
		KASSERT(pte_is_table(*e));
		t = table_at(*e);
	}
	*out = &t[index_at(va, to)];
	return OK;
}

/* A table that maps nothing any more makes room: it is broken off and forgotten everywhere before
 * the leaf is made, and freed. */
static enum status
map_large(struct mmu_space *s, uint64_t va, uint64_t pa, uint64_t bits)
{
	uint64_t *e, old;
	enum status st = walk(s, va, 1, true, &e);

	if (st != OK)
		return st;
	old = *e;
	if (pte_present(old)) {
		pte_write(e, 0);
		mmu_flush(s, va, 1);
		free_table(s, old);
	}
	pte_write(e, leaf(pa, bits, 1));
	s->large_leaves++;
	return OK;
}

enum status
mmu_map(struct mmu_space *s, struct uva va, struct paddr pa, uint64_t pages, uint8_t prot)
{
	uint64_t *e = NULL, bits = pte_user(prot);
	enum status st = OK;

	if ((prot & PROT_EXEC) != 0)
		pte_code(pa, pages);
	if (pages == MMU_RUN && is_aligned(va.v | pa.v, 2 * MIB)) {
		st = map_large(s, va.v, pa.v, bits);
		pages = 0;
	}
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = va.v + i * PAGE_SIZE;

		if (e == NULL || (at & (2 * MIB - 1)) == 0) {
			st = walk(s, at, 0, true, &e);
			if (st != OK) {
				mmu_unmap(s, va, i);
				return st;
			}
		}
		pte_write(e++, (pa.v + i * PAGE_SIZE) | bits);
	}
	pte_publish();
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
		if (walk(s, at, 1, false, &e) != OK || !pte_present(*e))
			continue;
		if (!pte_is_table(*e)) {
			KASSERT(n == MMU_RUN);
			pte_write(e, 0);
			s->large_leaves--;
			mmu_flush(s, at, 1);
			continue;
		}
		e = table_at(*e) + index_at(at, 0);
		for (uint64_t k = 0; k < n; k++) {
			any |= pte_present(e[k]);
			pte_write(&e[k], 0);
		}
	}
	if (any)
		mmu_flush(s, va.v, pages);
}

/* ---- User memory ---- */

static bool
user_range(uint64_t at, size_t len)
{
	return len <= 64 * KIB && range_within(at, len, USER_BASE, USER_END - USER_BASE);
}

bool
mmu_copy_in(void *to, struct uva from, size_t len)
{
	return user_range(from.v, len) &&
	    mmu_guarded_copy(to, (const void *)(uintptr_t)from.v, len);
}

bool
mmu_copy_out(struct uva to, const void *from, size_t len)
{
	return user_range(to.v, len) && mmu_guarded_copy((void *)(uintptr_t)to.v, from, len);
}
