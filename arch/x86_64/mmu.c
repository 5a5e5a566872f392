/*
 * Address translation of x86-64, four levels (kern/ptable.c, md_pte.h).
 *
 * The kernel's half: direct map at entry 256, a window for device registers and stacks at 384, the
 * image at 511.
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
#include "kern/ptable.h"
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

enum : uint64_t { START_PAGE = 0x8000 };	/* where further CPUs begin */

const uint64_t mmu_boot_limit = 4 * GIB;
uint64_t mmu_kernel_cr3, mmu_idle_cr3, mmu_phys_offset;

static struct spinlock lock = SPINLOCK_INIT(RANK_MMU);	/* over the ids */
static uint64_t pcid_map[PCIDS / 64];
static struct id_pool pcids = { .map = pcid_map, .count = PCIDS };

static struct spinlock shoot_lock = SPINLOCK_INIT(RANK_SHOOT);
static struct {
	struct mmu_space *space;
	uint64_t va, pages;
	uint64_t waiting;		/* (a) */
} shoot;

void
mmu_init(const struct machine *m)
{
	/* Further CPUs load the root in 32-bit mode. */
	ptable_init(m, (cpuid(0x80000001, 0).d & BIT(26)) != 0, FRAME_BELOW_4G);
	ptable_boot_leaf(DIRECT_MAP_BASE + START_PAGE, START_PAGE, PTE_USE_DATA);
	mmu_kernel_cr3 = frame_of(ptable_kernel).v;
	mmu_idle_cr3 = mmu_kernel_cr3 | (cpu_pcid ? CR3_KEEP : 0);
	mmu_init_cpu();
	ptable_live();
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
	uint64_t *e;

	if (root == NULL) {
		root = ptable_new(FRAME_BELOW_4G);
		if (root == NULL)
			return 0;
		memcpy(root, ptable_kernel, PAGE_SIZE);
		root[0] = 0;
	}
	e = ptable_entry(root, START_PAGE, 0);
	if (e == NULL)
		return 0;
	*e = START_PAGE | PTE_P | PTE_W;
	return frame_of(root).v;
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
	root = ptable_new(0);
	if (root == NULL) {
		quota_give_pages(q, 1);
		return E_NO_MEMORY;
	}
	memcpy(root + MD_USER_ENTRIES, ptable_kernel + MD_USER_ENTRIES,
	    PAGE_SIZE - MD_USER_ENTRIES * sizeof(*root));
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

void
mmu_space_fini(struct mmu_space *s)
{
	while (load_acquire(&s->cpus) !=
	    0) /* its last thread left every CPU; the switch may be under way */
		lock_wait();
	ptable_space_free(s);
	/* Other CPUs may still know the id: its next owner's first switch on each forgets that. */
	spin_lock(&lock);
	id_pool_give(&pcids, (uint32_t)(s->id & (PCIDS - 1)));
	spin_unlock(&lock);
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

void
mmu_flush(struct mmu_space *s, uint64_t va, uint64_t pages)
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

bool copy_bytes(void *to, const void *from, size_t len);

bool
mmu_guarded_copy(void *to, const void *from, size_t len)
{
	bool ok;

	if (cpu_smap)
		__asm__ volatile("stac" ::: "memory");
	ok = copy_bytes(to, from, len);
	if (cpu_smap)
		__asm__ volatile("clac" ::: "memory");
	return ok;
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
