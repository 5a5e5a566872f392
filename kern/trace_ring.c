/*
 * Reading a ring that is being written.
 */
#include "kern/trace_ring.h"

bool
trace_ring_get(const struct trace_ring *t, uint32_t n, struct trace_record *out)
{
	const struct trace_record *r = &t->record[n];
	uint32_t count = load_acquire(&r->count);

	if (count == 0)
		return false;
	*out = (struct trace_record){
		.time_ns = load_relaxed(&r->time_ns),
		.count = count,
		.type = load_relaxed(&r->type),
		.cpu = load_relaxed(&r->cpu),
	};
	for (unsigned i = 0; i < TRACE_WORDS; i++)
		out->w[i] = load_relaxed(&r->w[i]);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return load_relaxed(&r->count) == count;
}
