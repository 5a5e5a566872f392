/*
 * Memory objects, and the mappings of a process.
 *
 * A memory object is whole zeroed pages, all present from the start, in as few physical runs as the
 * machine has, so that large leaves can be used by CPUs and IOMMUs.  A contiguous one is a single
 * run, and its payer pays for all of it.  Its pages return when the last handle, mapping and DMA
 * grant is gone.  Pages whose grant could not be taken back are poisoned: the object is never freed
 * (D8).
 *
 * Locks: the object's own (RANK_MEMORY) for the counts and the list of mappings; a process's
 * vs_lock (RANK_VSPACE) for its mappings, taken first.
 */
#pragma once

#include "kern/object.h"
#include "kern/base/itree.h"
#include "kern/base/list.h"
#include "kern/process.h"

struct run { uint64_t base_order; };		/* physical base | order in the low 12 bits */

/* Most objects are one run or a few; more of them stand in pages of their own, which the payer pays
 * for too. */
enum { RUNS_INSIDE = 4, RUNS_PER_PAGE = PAGE_SIZE / sizeof(struct run) - 2 };

struct run_page {
	struct run_page *next;		/* the one before */
	uint64_t first;			/* page of the object that run[0] begins with */
	struct run run[RUNS_PER_PAGE];
};
static_assert(sizeof(struct run_page) == PAGE_SIZE);

struct memory {
	struct object obj;
	uint64_t pages;			/* (c) */
	uint64_t charged;		/* (c) pages of the payer's quota, those of runs left out */
	struct run run[RUNS_INSIDE];	/* (c) the first runs */
	struct run_page *more;		/* (c) the others, last page first */
	uint32_t run_count;		/* (c) */
	uint32_t id;			/* (c) for people: counts as they are made */
	uint32_t writers;		/* (l) writable mappings and grants for writing */
	uint32_t grants;		/* (l) live DMA grants */
	bool sealed, poisoned;		/* (l) */
	bool revoked;			/* (l) calls on their way map and grant no more */
	struct list mappings;		/* (l) */
	struct watch watch;		/* (l) */
};

/* A register window: BAR pages that a driver may map. */
struct mmio {
	struct object obj;
	struct device *device;		/* (c) counted */
	struct list link;		/* (device) */
	bool closed;			/* (l) the claim ended: no more mappings */
	struct paddr base;
	uint64_t len;			/* whole pages */
	uint32_t function, bar;
	struct list mappings;
};

/* Whether one more mapping or grant may be made; m is locked.  E_STALE, E_POISONED, E_READ_ONLY. */
static inline enum status
memory_may_be_used(const struct memory *m, bool writes)
{
	return m->revoked ? E_STALE :
	    m->poisoned	? E_POISONED :
	    m->sealed && writes ? E_READ_ONLY : OK;
}

struct mapping {
	struct itree_node range;	/* (vs_lock) of its process */
	struct list of_object;		/* memory's or mmio's */
	struct process *proc;		/* the process that owns this mapping */
	struct object *object;		/* counted */
	uint64_t va, len, offset;
	uint8_t prot;
	bool busy;			/* being filled or emptied, in steps */
};

NODISCARD enum status
memory_create(struct process *payer, uint64_t pages, uint32_t flags, struct memory **out);

/* The boot archive's pages, which exist already (FRAME_USER, one by one), as a sealed object. */
NODISCARD enum status
memory_adopt(struct process *payer, uint64_t base, uint64_t len, struct memory **out);

/* Every handle is stale, and no call that looked one up before adds a mapping or a grant.  What is
 * mapped is vspace_unmap_object's. */
void memory_revoke(struct memory *m);

/* The physically contiguous run that holds page "page": base of that page, and how many pages
 * follow contiguously. */
bool memory_find_run(
    struct memory *m, uint64_t page, struct paddr *base, uint64_t *contiguous_pages);

static inline bool
memory_run(struct memory *m, uint64_t page, struct paddr *base, uint64_t *contiguous_pages)
{
	uint64_t first = 1ull << (m->run[0].base_order & PAGE_MASK);

	if (page >= first || page >= m->pages)
		return memory_find_run(m, page, base, contiguous_pages);
	base->v = (m->run[0].base_order & ~(uint64_t)PAGE_MASK) + page * PAGE_SIZE;
	*contiguous_pages = (first < m->pages ? first : m->pages) - page;
	return true;
}

NODISCARD enum status vspace_map(struct process *p, struct object *o, uint64_t offset, uint64_t len,
    uint64_t va, uint8_t prot, uint64_t *va_out);
NODISCARD enum status vspace_unmap(struct process *p, uint64_t va, uint64_t len);

/*
 * Takes down one mapping of the object, wherever it is.  E_NOT_FOUND: there was none; E_BUSY: one
 * is, because its process is taking it down itself, is just mapping it, or goes: call again in a
 * while.
 */
NODISCARD enum status vspace_unmap_one_of(struct object *o, struct list *mappings);

/*
 * Unmaps the object everywhere (revoke), without waiting.  False: a mapping is busy, because its
 * process is taking it down itself or is just mapping it; call again in a while.
 */
NODISCARD bool vspace_unmap_object(struct object *o, struct list *mappings);

/* For the end of a process: takes down one mapping; false when none is left but those that others
 * are just taking down or making. */
bool vspace_unmap_one(struct process *p);

/* No mapping will come any more.  False, and nothing changed, while there are some. */
NODISCARD bool vspace_close(struct process *p);
