/*
 * Page tables of x86-64, four levels.
 *
 * The kernel's half: direct map at entry 256, a window for device registers and stacks at 384, the
 * image at 511.  The tables below those entries exist from mmu_init on, and every process shares
 * them, so the halves never diverge.
 *
 * Each process has a process-context id (PCID) where the CPU knows them, so a switch forgets
 * nothing; the kernel alone runs with id 0.  Processes beyond the 4095 ids use id 0 too, and forget
 * at each switch.
 *
 * Shootdown.  CPUs that do not run the space are only marked (tlb.h).  For those that do: one
 * request at a time (lock), with space, range, and the set of CPUs that still have to answer.  A
 * CPU answers in its interprocessor interrupt, or, when it waits with interrupts off, in lock_wait
 * -> cpu_spin_poll.  The asker polls the same way, so two askers cannot wait for each other.
 * INVPCID is not needed: nobody forgets a space other than the one it runs.
 *
 * Manual: Intel SDM volume 3, 4.5 (paging), 4.10 (caches of translations).
 */
#include "kern/md/mmu.h"
#include "kern/base/idpool.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/cpu.h"
#include "kern/md/irqc.h"
#include "kern/panic.h"
#include "kern/sched.h"
#include "kern/quota.h"
#include "kern/trace.h"
#include "arch/x86_64/x86.h"

enum : uint64_t {
	KERNEL_VMA = 0xffff'ffff'8000'0000,
	WINDOW = 0xffff'c000'0000'0000, /* device registers, then stacks */
	STACKS = 0xffff'c040'0000'0000,
	CPU_PAGES =
	    0xffff'c07f'ffe0'0000, /* a page for each CPU, and a hole behind it: mmu_window */
	ENTRIES = 512,
	TABLE = PTE_P | PTE_W | PTE_U,
};

extern const char __kernel_start[], __text_end[], __rodata_end[], __kernel_end[];

const uint64_t mmu_boot_limit = 4 * GIB;
uint64_t mmu_kernel_cr3, mmu_idle_cr3;
uint64_t mmu_phys_offset; /* physical address of the image, less where it was linked to be loaded */

static uint64_t *kernel_root;
static uint64_t *cpu_pages;		/* the table of CPU_PAGES */
static bool kernel_live;		/* the final tables are in use: they reach all RAM */
static_assert(2 * CPUS_MAX <= ENTRIES);
static uint64_t window_next = WINDOW, stack_next = STACKS;
static struct spinlock lock = SPINLOCK_INIT(RANK_MMU);
static struct { void *next; } *free_stacks;
static uint64_t pcid_map[PCIDS / 64];
static struct id_pool pcids = { .map = pcid_map, .count = PCIDS };

static struct spinlock shoot_lock = SPINLOCK_INIT(RANK_SHOOT);
static struct {
	struct mmu_space *space;
	uint64_t va, pages;
	uint64_t waiting;		/* (a) */
} shoot;

static uint64_t *table_at(uint64_t entry) { return frame_ptr((struct paddr){ entry & PTE_ADDR }); }
static unsigned
index_at(uint64_t va, unsigned level)
{
	return (unsigned)(va >> (12 + 9 * level)) & 511;
}

static uint64_t *
new_table(uint32_t flags)
{
	struct paddr p;

	if (frame_alloc(0, FRAME_TABLE, FRAME_ZERO | flags, &p) != OK)
		return NULL;
	return frame_ptr(p);
}

/* The table one level down, made when it is not there; NULL when memory is out. */
static uint64_t *
kernel_table(uint64_t *table, unsigned i)
{
	if ((table[i] & PTE_P) == 0) {
		uint64_t *t = new_table(kernel_live ? 0 : FRAME_BOOT);

		if (t == NULL)
			return NULL;
		table[i] = frame_of(t).v | PTE_P | PTE_W;
	}
	return table_at(table[i]);
}

/* Where the leaf of an address of the kernel's half stands, at the given level (0: 4 KiB, 1: 2 MiB,
 * 2: 1 GiB), or NULL. */
static uint64_t *
kernel_entry(uint64_t va, unsigned level)
{
	uint64_t *t = kernel_root;

	for (unsigned l = 3; l > level; l--) {
		t = kernel_table(t, index_at(va, l));
		if (t == NULL)
			return NULL;
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
	*e = pa | bits | PTE_P | PTE_G | (level != 0 ? PTE_PS : 0);
	return true;
}

static void
boot_leaf(uint64_t va, uint64_t pa, unsigned level, uint64_t bits)
{
	if (!kernel_leaf(va, pa, level, bits))
		boot_failed("too little memory for the kernel's page tables");
}

static void
direct_map(uint64_t base, uint64_t end, bool huge)
{
	uint64_t image = (uint64_t)(uintptr_t)__kernel_start - KERNEL_VMA + mmu_phys_offset;
	uint64_t image_ro = (uint64_t)(uintptr_t)__rodata_end - KERNEL_VMA + mmu_phys_offset;

	while (base < end) {
		uint64_t size = huge && is_aligned(base, GIB) && end - base >= GIB ? GIB :
		    is_aligned(base, 2 * MIB) && end - base >= 2 * MIB ? 2 * MIB : PAGE_SIZE;
		bool ro = base >= image && base < image_ro;

		/* The image's text and read-only data are not writable here either. */
		while (size > PAGE_SIZE && ranges_overlap(base, size, image, image_ro - image))
			size = size == GIB ? 2 * MIB : PAGE_SIZE;
		boot_leaf(DIRECT_MAP_BASE + base, base, size == GIB ? 2 : size == 2 * MIB ? 1 : 0,
		    PTE_NX | (ro ? 0 : PTE_W));
		base += size;
	}
}

void
mmu_init(const struct machine *m)
{
	bool huge = (cpuid(0x80000001, 0).d & BIT(26)) != 0;

	kernel_root = new_table(FRAME_BELOW_4G);
	if (kernel_root == NULL)
		boot_failed("too little memory for the kernel's page tables");
	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *r = &m->memory[i];

		/* Reserved areas are not memory of ours; tables and image are read through this
		 * map. */
		if (r->kind != MEM_RESERVED)
			direct_map(align_down(r->base, PAGE_SIZE),
			    align_up(r->base + r->len, PAGE_SIZE), huge);
	}
	boot_leaf(DIRECT_MAP_BASE + 0x8000, 0x8000, 0,
	    PTE_W | PTE_NX); /* start-up page of further CPUs */
	for (uint64_t va = (uint64_t)(uintptr_t)__kernel_start;
	    va < (uint64_t)(uintptr_t)__kernel_end; va += PAGE_SIZE) {
		uint64_t bits = va < (uint64_t)(uintptr_t)__text_end ? 0 :
		    va < (uint64_t)(uintptr_t)__rodata_end ? PTE_NX : PTE_NX | PTE_W;

		boot_leaf(va, va - KERNEL_VMA + mmu_phys_offset, 0, bits);
	}
	cpu_pages = kernel_entry(CPU_PAGES, 0);
	if (cpu_pages == NULL)
		boot_failed("too little memory for the kernel's page tables");
	mmu_kernel_cr3 = frame_of(kernel_root).v;
	mmu_idle_cr3 = mmu_kernel_cr3 | (cpu_pcid ? CR3_KEEP : 0);
	mmu_init_cpu();
	kernel_live = true;
}

void
mmu_init_cpu(void)
{
	WRITE_CR(3, mmu_kernel_cr3);
	this_cpu()->space = NULL;
}

/* A root that also maps the start-up page at its own address, executable; 0 when memory is out. */
uint64_t
mmu_trampoline_map(void)
{
	static uint64_t *root;
	uint64_t *t;

	if (root == NULL) {
		root = new_table(FRAME_BELOW_4G);
		if (root == NULL)
			return 0;
		memcpy(root, kernel_root, PAGE_SIZE);
		root[0] = 0;
	}
	t = root;
	for (unsigned l = 0; l < 3 && t != NULL; l++)
		t = kernel_table(t, 0);
	if (t == NULL)
		return 0;
	t[8] = 0x8000 | PTE_P | PTE_W;
	return frame_of(root).v;
}

void *
mmu_map_device(struct paddr base, uint64_t len)
{
	uint64_t from = align_down(base.v, PAGE_SIZE), to = align_up(base.v + len, PAGE_SIZE), va;

	spin_lock(&lock);
	/* Registers that need big leaves (ECAM) get them when the addresses agree. */
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
		if (!kernel_leaf(
			va + (at - from), at, big ? 1 : 0, PTE_W | PTE_NX | PTE_PCD | PTE_PWT)) {
			window_next = va + (at - from);
			spin_unlock(&lock);
			return NULL;
		}
		at += big ? 2 * MIB : PAGE_SIZE;
	}
	window_next = va + (to - from) + PAGE_SIZE;
	spin_unlock(&lock);
	return (void *)(uintptr_t)(va + (base.v - from));
}

void *
mmu_window(struct paddr at)
{
	unsigned i = 2 * this_cpu()->id;
	uint64_t va = CPU_PAGES + i * PAGE_SIZE;
	uint64_t leaf = align_down(at.v, PAGE_SIZE) | PTE_P | PTE_A | PTE_D | PTE_G | PTE_W |
	    PTE_NX | PTE_PCD | PTE_PWT;

	if (cpu_pages[i] != leaf) {
		*(volatile uint64_t *)&cpu_pages[i] = leaf;
		invlpg(va);
	}
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
		if (kernel_entry(va + at, 0) == NULL) {
			spin_unlock(&lock);
			frame_free(p, log2_ceil(KSTACK_SIZE / PAGE_SIZE));
			return NULL;
		}
	stack_next = va + KSTACK_SIZE;
	for (uint64_t at = 0; at < KSTACK_SIZE; at += PAGE_SIZE)
		*kernel_entry(va + at, 0) = (p.v + at) | PTE_W | PTE_NX | PTE_P | PTE_G;
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

/* Those beyond the ids share 0. */
uint32_t mmu_spaces(void) { return UINT32_MAX; }

enum status
mmu_space_init(struct mmu_space *s, struct quota *q)
{
	enum status e = quota_take_pages(q, 1);
	uint64_t *root;

	if (e != OK)
		return e;
	root = new_table(0);
	if (root == NULL) {
		quota_give_pages(q, 1);
		return E_NO_MEMORY;
	}
	memcpy(root + 256, kernel_root + 256, 256 * sizeof(*root));
	*s = (struct mmu_space){ .root = frame_of(root), .table_pages = 1, .quota = q };
	if (cpu_pcid) {
		uint64_t id;

		spin_lock(&lock);
		id = id_pool_take(&pcids);
		spin_unlock(&lock);
		if (id != 0) {
			s->id = id | CR3_KEEP;
			s->stale = UINT64_MAX;
		}
	}
	return OK;
}

static void
free_tables(struct mmu_space *s, uint64_t *t, unsigned level)
{
	/* Four nested loops without recursion would be longer: the depth is fixed at three. */
	for (unsigned i = 0; i < (level == 3 ? 256 : ENTRIES); i++) {
		if ((t[i] & PTE_P) == 0)
			continue;
		KASSERT((t[i] & PTE_PS) == 0);
		if (level > 1)
			free_tables(s, table_at(t[i]), level - 1);
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
	while (load_acquire(&s->cpus) !=
	    0) /* its last thread left every CPU; the switch may be under way */
		lock_wait();
	free_tables(s, frame_ptr(s->root), 3);
	frame_free(s->root, 0);
	quota_give_pages(s->quota, 1);
	/* Other CPUs may still know the id: its next owner's first switch on each forgets that. */
	spin_lock(&lock);
	id_pool_give(&pcids, (uint32_t)(s->id & (PCIDS - 1)));
	spin_unlock(&lock);
}

/* The entry of va at the level (0: of 4 KiB, 1: of 2 MiB); makes tables on the way when asked to.
 */
static enum status
walk(struct mmu_space *s, uint64_t va, unsigned to, bool make, uint64_t **out)
{
	uint64_t *t = frame_ptr(s->root);

	for (unsigned level = 3; level > to; level--) {
		uint64_t *e = &t[index_at(va, level)];

		if ((*e & PTE_P) == 0) {
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
			*(volatile uint64_t *)e = frame_of(n).v | TABLE;
		}
		KASSERT((*e & PTE_PS) == 0);
		t = table_at(*e);
	}
	*out = &t[index_at(va, to)];
	return OK;
}

static uint64_t
prot_bits(uint8_t prot)
{
	return PTE_P | PTE_U | ((prot & PROT_WRITE) != 0 ? PTE_W : 0) |
	    ((prot & PROT_EXEC) != 0 ? 0 : PTE_NX) |
	    ((prot & PROT_DEVICE) != 0 ? PTE_PCD | PTE_PWT : 0);
}

static void
flush_here(uint64_t va, uint64_t pages)
{
	if (pages > 32) { /* the id that is loaded, as the bit that would keep it reads as 0 */
		WRITE_CR(3, READ_CR(3));
		return;
	}
	for (uint64_t i = 0; i < pages; i++)
		invlpg(va + i * PAGE_SIZE);
}

void
tlb_service(void)
{
	uint64_t me = 1ull << this_cpu()->id;

	if (likely((load_acquire(&shoot.waiting) & me) == 0))
		return;
	if (this_cpu()->space == shoot.space) {
		flush_here(shoot.va, shoot.pages);
		tlb_answer(shoot.space, me);
	}
	this_cpu()->shootdowns++;
	__atomic_fetch_and(&shoot.waiting, ~me, __ATOMIC_RELEASE);
}

static void
flush(struct mmu_space *s, uint64_t va, uint64_t pages)
{
	struct cpu *c = this_cpu();
	uint64_t me = 1ull << c->id, others;

	tlb_spoil(s, c->space == s ? me : 0);
	if (c->space == s)
		flush_here(va, pages);
	others = tlb_users(s) & ~me;
	if (others == 0)
		return;
	trace(SHOOTDOWN, va, pages, others);
	spin_lock(&shoot_lock);
	shoot.space = s;
	shoot.va = va;
	shoot.pages = pages;
	store_release(&shoot.waiting, others);
	for (uint64_t left = others; left != 0; left &= left - 1)
		irqc_ipi(lowest_bit(left));
	while (load_acquire(&shoot.waiting) != 0)
		lock_wait();
	spin_unlock(&shoot_lock);
}

/* A table that maps nothing any more makes room for a large leaf: first it is forgotten, then
 * freed. */
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
	enum status st = walk(s, va, 1, true, &e);

	if (st != OK)
		return st;
	if ((*e & PTE_P) != 0)
		drop_table(s, va, e);
	*(volatile uint64_t *)e = pa | bits | PTE_PS;
	s->large_leaves++;
	return OK;
}

enum status
mmu_map(struct mmu_space *s, struct uva va, struct paddr pa, uint64_t pages, uint8_t prot)
{
	uint64_t *e = NULL, bits = prot_bits(prot);

	if (pages == MMU_RUN && is_aligned(va.v | pa.v, 2 * MIB))
		return map_large(s, va.v, pa.v, bits);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = va.v + i * PAGE_SIZE;

		if (e == NULL || (at & (2 * MIB - 1)) == 0) {
			enum status st = walk(s, at, 0, true, &e);

			if (st != OK) {
				mmu_unmap(s, va, i);
				return st;
			}
		}
		*(volatile uint64_t *)e++ = (pa.v + i * PAGE_SIZE) | bits;
	}
	return OK;
}

void
mmu_unmap(struct mmu_space *s, struct uva va, uint64_t pages)
{
	uint64_t *e;
	bool any = false;

	for (uint64_t i = 0, n; i < pages; i += n) {
		uint64_t at = va.v + i * PAGE_SIZE;

		n = min_u64(pages - i, MMU_RUN - at / PAGE_SIZE % MMU_RUN);
		if (walk(s, at, 1, false, &e) != OK || (*e & PTE_P) == 0)
			continue;
		if ((*e & PTE_PS) != 0) {
			KASSERT(n == MMU_RUN);
			*(volatile uint64_t *)e = 0;
			s->large_leaves--;
			flush(s, at, 1);
			continue;
		}
		e = table_at(*e) + index_at(at, 0);
		for (uint64_t k = 0; k < n; k++) {
			any |= (e[k] & PTE_P) != 0;
			*(volatile uint64_t *)&e[k] = 0;
		}
	}
	if (any)
		flush(s, va.v, pages);
}

bool copy_bytes(void *to, const void *from, size_t len);

static bool
user_range(uint64_t at, size_t len)
{
	return len <= 64 * KIB && range_within(at, len, USER_BASE, USER_END - USER_BASE);
}

static bool
guarded_copy(void *to, const void *from, size_t len)
{
	bool ok;

	if (cpu_smap)
		__asm__ volatile("stac" ::: "memory");
	ok = copy_bytes(to, from, len);
	if (cpu_smap)
		__asm__ volatile("clac" ::: "memory");
	return ok;
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

void
cache_clean(const void *p, size_t len)
{
	const char *at = (const char *)align_down((uint64_t)(uintptr_t)p, 64),
		   *end = (const char *)p + len;

	for (; at < end; at += 64)
		__asm__ volatile("clflush (%0)" :: "r"(at) : "memory");
	__asm__ volatile("mfence" ::: "memory");
}

void
cache_invalidate(void *p, size_t len)
{
	cache_clean(p, len);
}
