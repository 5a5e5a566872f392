/*
 * Memory objects: allocation in runs, and their end.
 *
 * A run is a block of the buddy allocator: as large as fits what is still missing, and smaller when
 * there is none.  The first few stand in the object, more of them in pages that the payer pays for,
 * newest first.
 *
 * Order    the price of all pages, then the object, then run by run: record, then cleared, in steps
 *          that others may run between.  One that fails half-way is an object with fewer runs, and
 *          ends as any other.
 * Locks    none here: runs do not change between the making and the end, when nobody else has the
 *          object.
 * Not here mappings (vspace.c), grants to devices (device_dma.c), the calls (syscall.c).
 */
#include "kern/memory.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/frame.h"
#include "kern/ipc.h"
#include "kern/sched.h"
#include "kern/thread.h"

/* Pages are cleared in steps of ZERO_STEP: the kernel is not preempted within one. */
enum { CONTIGUOUS_ORDER_MAX = 12, ZERO_STEP = 512 };

static inline struct paddr
run_base(struct run r)
{
	return (struct paddr){ r.base_order & ~PAGE_MASK };
}
static inline unsigned run_order(struct run r) { return (unsigned)(r.base_order & PAGE_MASK); }

/* The run is pages [first, ...) of the object. */
static enum status
add_run(struct memory *m, uint64_t first, struct paddr base, unsigned order)
{
	struct run r = { base.v | order };
	uint32_t slot = (m->run_count - RUNS_INSIDE) % RUNS_PER_PAGE;
	struct quota *q = &m->obj.payer->quota;

	if (m->run_count < RUNS_INSIDE) {
		m->run[m->run_count++] = r;
		return OK;
	}
	if (slot == 0) {
		struct run_page *page;
		struct paddr p;
		enum status s = quota_take_pages(q, 1);

		if (s != OK)
			return s;
		s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &p);
		if (s != OK) {
			quota_give_pages(q, 1);
			return s;
		}
		page = frame_ptr(p);
		page->next = m->more;
		page->first = first;
		m->more = page;
	}
	m->more->run[slot] = r;
	m->run_count++;
	return OK;
}

/* Takes the last run off; its record, and what that stood in, are free. */
static struct run
take_run(struct memory *m)
{
	uint32_t n = --m->run_count, slot = (n - RUNS_INSIDE) % RUNS_PER_PAGE;
	struct run_page *page = m->more;
	struct run r;

	if (n < RUNS_INSIDE)
		return m->run[n];
	r = page->run[slot];
	if (slot == 0) {
		m->more = page->next;
		frame_free(frame_of(page), 0);
		quota_give_pages(&m->obj.payer->quota, 1);
	}
	return r;
}

/* In bounded steps; E_CANCELLED when the caller's process ends meanwhile. */
static enum status
clear(struct paddr base, uint64_t pages)
{
	for (uint64_t done = 0, n; done < pages; done += n) {
		n = min_u64(pages - done, ZERO_STEP);
		frame_zero((struct paddr){ base.v + done * PAGE_SIZE }, n);
		if (n < 16)
			continue;
		if (current_thread()->dying)
			return E_CANCELLED;
		sched_preempt_point();
	}
	return OK;
}

static uint32_t made;

enum status
memory_create(struct process *payer, uint64_t pages, uint32_t flags, struct memory **out)
{
	struct object *o;
	struct memory *m;
	enum status s;
	bool contiguous = (flags & MEM_CONTIGUOUS) != 0;
	uint64_t done = 0, charge = pages;
	unsigned order_max = FRAME_ORDER_MAX;
	uint32_t frame_flags = (flags & MEM_BELOW_4G) != 0 ? FRAME_BELOW_4G : 0;

	if (pages == 0 || pages > (1ull << 36) ||
	    (flags & ~(uint32_t)(MEM_CONTIGUOUS | MEM_BELOW_4G)) != 0)
		return E_INVALID;
	if (contiguous) {
		order_max = log2_ceil(pages);
		if (order_max > CONTIGUOUS_ORDER_MAX)
			return E_RANGE;
		charge = 1ull << order_max;
	}
	s = quota_take_pages(&payer->quota, charge);
	if (s != OK)
		return s;
	s = object_create(OBJ_MEMORY, payer, &o);
	if (s != OK) {
		quota_give_pages(&payer->quota, charge);
		return s;
	}
	m = container_of(o, struct memory, obj);
	m->pages = pages;
	m->charged = charge;
	list_init(&m->mappings);
	m->id = __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
	while (done < pages) {
		struct paddr base;
		unsigned order =
		    contiguous ? order_max : (unsigned)min_u64(log2_floor(pages - done), order_max);

		s = frame_alloc(order, FRAME_USER, frame_flags, &base);
		if (s == E_NO_MEMORY && order != 0 && !contiguous) {
			order_max = order - 1;
			continue;
		}
		if (s == OK) {
			s = add_run(m, done, base, order);
			if (s != OK)
				frame_free(base, order);
		}
		if (s == OK)
			s = clear(base, 1ull << order);
		if (s != OK) {
			object_put(o);	/* gives the pages and the quota back */
			return s;
		}
		done += 1ull << order;
	}
	*out = m;
	return OK;
}

enum status
memory_adopt(struct process *payer, uint64_t base, uint64_t len, struct memory **out)
{
	uint64_t first = align_down(base, PAGE_SIZE), end = align_up(base + len, PAGE_SIZE);
	struct object *o;
	struct memory *m;
	enum status s = object_create(OBJ_MEMORY, payer, &o);

	if (s != OK)
		return s;
	m = container_of(o, struct memory, obj);
	list_init(&m->mappings);
	m->id = __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
	m->sealed = true;
	for (uint64_t at = first; at < end && s == OK; at += PAGE_SIZE) {
		s = quota_take_pages(&payer->quota, 1);
		if (s != OK)
			break;
		m->charged++;
		s = add_run(m, m->pages++, (struct paddr){ at }, 0);
	}
	if (s != OK) {
		object_put(o);
		return s;
	}
	*out = m;
	return OK;
}

void
memory_revoke(struct memory *m)
{
	spin_lock(&m->obj.lock);
	m->obj.gen++;
	m->revoked = true;
	spin_unlock(&m->obj.lock);
}

bool
memory_destroy(struct object *o)
{
	struct memory *m = container_of(o, struct memory, obj);

	if (m->watch.ntfn != NULL)
		object_put(&m->watch.ntfn->obj);
	for (uint32_t n = 1; m->run_count != 0; n++) {
		struct run r = take_run(m);

		/* D8: a device may still write these pages.  They and their price are gone until
		 * reboot. */
		if (m->poisoned)
			frame_quarantine(run_base(r), run_order(r));
		else
			frame_free(run_base(r), run_order(r));
		if (n % 64 == 0)
			sched_preempt_point();
	}
	if (!m->poisoned)
		quota_give_pages(&o->payer->quota, m->charged);
	return true;
}

/* Among n runs that begin with page "at" of the object. */
static bool
find_run(const struct run *r, uint32_t n, uint64_t at, uint64_t page, uint64_t pages,
    struct paddr *base, uint64_t *contiguous)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t len = 1ull << run_order(r[i]);

		if (page < at + len) {
			base->v = run_base(r[i]).v + (page - at) * PAGE_SIZE;
			*contiguous = min_u64(at + len, pages) - page;
			return true;
		}
		at += len;
	}
	return false;
}

bool
memory_find_run(struct memory *m, uint64_t page, struct paddr *base, uint64_t *contiguous)
{
	uint32_t last =
	    (m->run_count - RUNS_INSIDE - 1) % RUNS_PER_PAGE + 1; /* runs in the last page */

	if (page >= m->pages)
		return false;
	for (const struct run_page *p = m->more; p != NULL; p = p->next, last = RUNS_PER_PAGE)
		if (page >= p->first)
			return find_run(p->run, last, p->first, page, m->pages, base, contiguous);
	return find_run(m->run, (uint32_t)min_u64(m->run_count, RUNS_INSIDE), 0, page, m->pages,
	    base, contiguous);
}
