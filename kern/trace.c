/*
 * The rings of all CPUs.  Records hold the raw counter; readers get nanoseconds.
 */
#include "kern/trace.h"
#include "kern/abi/trace_text.h"
#include "kern/cpu.h"
#include "kern/frame.h"
#include "kern/md/clock.h"
#include "kern/md/cpu.h"
#include "kern/trace_ring.h"

enum { LAST = 12 };		/* shown by a panic */

void
trace_init_cpu(struct cpu *c)
{
	struct paddr p;

	if (frame_alloc(TRACE_RING_ORDER, FRAME_KERNEL, FRAME_ZERO, &p) == OK)
		c->trace = frame_ptr(p);
}

static ALWAYS_INLINE void
put(bool hot, enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct cpu *cpu = this_cpu();
	struct trace_ring *t = cpu->trace;

	if (likely(t != NULL))
		trace_ring_put(t, cpu_cycles(), (uint8_t)cpu->id, hot, type, a, b, c, d);
}

void
trace_put(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	put(false, type, a, b, c, d);
}

void
trace_put_hot(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	put(true, type, a, b, c, d);
}

bool
trace_get(unsigned cpu, uint32_t n, struct trace_record *out)
{
	const struct trace_ring *t = cpus[cpu].trace;
	struct clock_scale s;

	if (t == NULL || !trace_ring_get(t, n, out))
		return false;
	clock_scale(&s);
	out->time_ns = (uint64_t)((unsigned __int128)(out->time_ns - s.base) * s.mult >> s.shift);
	return true;
}

void
trace_say_last(void (*say)(const char *line))
{
	struct trace_record last[LAST] = { 0 }, r;
	char line[TRACE_TEXT];

	/* The latest LAST of all, sorted: each record pushes out the earliest kept. */
	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		for (uint32_t n = 0; n < TRACE_RECORDS; n++) {
			unsigned i = 0;

			if (!trace_get(cpu, n, &r) || r.time_ns < last[0].time_ns)
				continue;
			for (; i + 1 < LAST && last[i + 1].time_ns <= r.time_ns; i++)
				last[i] = last[i + 1];
			last[i] = r;
		}
	}
	for (unsigned i = 0; i < LAST; i++) {
		if (last[i].count == 0)
			continue;
		trace_text(&last[i], line);
		say(line);
	}
}
