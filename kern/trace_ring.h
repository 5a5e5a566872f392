/*
 * The ring of one CPU: written by it alone, read by others.
 *
 * Two rings in one, as long as a block of eight pages allows: what comes thousands of times a
 * second does not push out what is rare.  A writer is never interrupted within a record (the kernel
 * runs with interrupts off).  It takes the record's count away first and gives the new one last, so
 * a reader that finds the same count before and after its copy has a whole record.
 *
 * Pure: tested on the host.
 */
#pragma once

#include "kern/abi/trace.h"
#include "kern/base/mmio.h"

enum {
	TRACE_RARE = 512,
	TRACE_HOT = 128,
	TRACE_RECORDS = TRACE_RARE + TRACE_HOT,
	TRACE_RING_ORDER = 3
};

struct trace_ring {
	uint32_t rare, hot;		/* records written so far */
	struct trace_record record[TRACE_RECORDS];	/* the hot ones last */
};
static_assert(sizeof(struct trace_ring) <= PAGE_SIZE << TRACE_RING_ORDER);

static ALWAYS_INLINE void
trace_ring_put(struct trace_ring *t, uint64_t time, uint8_t cpu, bool hot, enum trace_type type,
    uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint32_t count = hot ? t->hot++ : t->rare++;
	struct trace_record *r =
	    &t->record[hot ? TRACE_RARE + count % TRACE_HOT : count % TRACE_RARE];

	store_relaxed(&r->count, 0);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	store_relaxed(&r->time_ns, time);
	store_relaxed(&r->type, type);
	store_relaxed(&r->cpu, cpu);
	store_relaxed(&r->w[0], a);
	store_relaxed(&r->w[1], b);
	store_relaxed(&r->w[2], c);
	store_relaxed(&r->w[3], d);
	store_release(&r->count, count + 1);
}

/* Record n of TRACE_RECORDS; false when there is none, or it is being written. */
bool trace_ring_get(const struct trace_ring *t, uint32_t n, struct trace_record *out);
