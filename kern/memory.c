/*
 * Memory objects: allocation in runs, and their end.
 */
#include "kern/memory.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/frame.h"
#include "kern/ipc.h"
#include "kern/sched.h"

enum { RUN_ORDER_MAX = 9, CONTIGUOUS_ORDER_MAX = 12 };

static inline struct paddr run_base(struct run r) { return (struct paddr){ r.base_order & ~PAGE_MASK }; }
static inline unsigned run_order(struct run r) { return (unsigned)(r.base_order & PAGE_MASK); }

static enum status
add_run(struct memory *m, struct paddr base, unsigned order)
{
	uint32_t slot = m->run_count % RUNS_PER_PAGE;

	if (slot == 0) {
		struct paddr p;
		struct run_page *page;
		enum status s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &p);

		if (s != OK)
			return s;
		page = frame_ptr(p);
		page->next = m->runs;
		m->runs = page;
	}
	m->runs->run[slot].base_order = base.v | order;
	m->run_count++;
	return OK;
}

/* Newest page first: walks runs from the last to the first. */
static void
free_runs(struct memory *m)
{
	while (m->run_count != 0) {
		uint32_t slot = --m->run_count % RUNS_PER_PAGE;
		struct run r = m->runs->run[slot];

		frame_free(run_base(r), run_order(r));
		if (slot == 0) {
			struct run_page *next = m->runs->next;

			frame_free(frame_of(m->runs), 0);
			m->runs = next;
		}
		if ((m->run_count & 63) == 0)
			sched_preempt_point();
	}
}

enum status
memory_create(struct process *payer, uint64_t pages, uint32_t flags, struct memory **out)
{
	struct object *o;
	struct memory *m;
	enum status s;
	uint64_t left = pages;
	unsigned order_max = RUN_ORDER_MAX;
	uint32_t frame_flags = FRAME_ZERO | ((flags & MEM_BELOW_4G) != 0 ? FRAME_BELOW_4G : 0);

	if (pages == 0 || pages > (1ull << 36) || (flags & ~(uint32_t)(MEM_CONTIGUOUS | MEM_BELOW_4G)) != 0)
		return E_INVALID;
	if ((flags & MEM_CONTIGUOUS) != 0 && log2_ceil(pages) > CONTIGUOUS_ORDER_MAX)
		return E_RANGE;
	s = quota_take_pages(&payer->quota, pages);
	if (s != OK)
		return s;
	s = object_create(OBJ_MEMORY, payer, &o);
	if (s != OK) {
		quota_give_pages(&payer->quota, pages);
		return s;
	}
	m = container_of(o, struct memory, obj);
	m->pages = pages;
	list_init(&m->mappings);
	if ((flags & MEM_CONTIGUOUS) != 0)
		order_max = log2_ceil(pages);
	while (left != 0) {
		struct paddr base;
		unsigned order = (flags & MEM_CONTIGUOUS) != 0 ? order_max :
		    (unsigned)min_u64(log2_floor(left), order_max);

		s = frame_alloc(order, FRAME_USER, frame_flags, &base);
		if (s == E_NO_MEMORY && order != 0 && (flags & MEM_CONTIGUOUS) == 0) {
			order_max = order - 1;
			continue;
		}
		if (s == OK) {
			s = add_run(m, base, order);
			if (s != OK)
				frame_free(base, order);
		}
		if (s != OK) {
			object_put(o);	/* gives the pages and the quota back */
			return s;
		}
		left -= min_u64(left, 1ull << order);
		if (order >= 4)
			sched_preempt_point();
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
	m->sealed = true;
	for (uint64_t at = first; at < end && s == OK; at += PAGE_SIZE) {
		s = quota_take_pages(&payer->quota, 1);
		if (s != OK)
			break;
		m->pages++;
		s = add_run(m, (struct paddr){ at }, 0);
	}
	if (s != OK) {
		object_put(o);
		return s;
	}
	*out = m;
	return OK;
}

bool
memory_destroy(struct object *o)
{
	struct memory *m = container_of(o, struct memory, obj);

	if (m->watch.ntfn != NULL)
		object_put(&m->watch.ntfn->obj);
	if (m->poisoned) {
		/* D8: a device may still write these pages.  They and their price are gone until reboot. */
		uint32_t n = m->run_count;
		struct run_page *page = m->runs;

		while (n != 0) {
			uint32_t slot = --n % RUNS_PER_PAGE;

			frame_quarantine(run_base(page->run[slot]), run_order(page->run[slot]));
			if (slot == 0)
				page = page->next;
		}
		return true;
	}
	free_runs(m);
	quota_give_pages(&o->payer->quota, m->pages);
	return true;
}

bool
memory_run(struct memory *m, uint64_t page, struct paddr *base, uint64_t *contiguous)
{
	uint32_t pages_of_runs = (m->run_count + RUNS_PER_PAGE - 1) / RUNS_PER_PAGE;
	uint64_t at = 0;

	if (page >= m->pages)
		return false;
	/* The chain has the newest page first; runs count from the oldest. */
	for (uint32_t p = 0; p < pages_of_runs; p++) {
		struct run_page *rp = m->runs;
		uint32_t n = p + 1 < pages_of_runs ? RUNS_PER_PAGE : m->run_count - p * RUNS_PER_PAGE;

		for (uint32_t skip = pages_of_runs - 1 - p; skip != 0; skip--)
			rp = rp->next;
		for (uint32_t i = 0; i < n; i++) {
			uint64_t len = 1ull << run_order(rp->run[i]);

			if (page < at + len) {
				base->v = run_base(rp->run[i]).v + (page - at) * PAGE_SIZE;
				*contiguous = min_u64(at + len, m->pages) - page;
				return true;
			}
			at += len;
		}
	}
	return false;
}
