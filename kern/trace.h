/*
 * Trace points: static, typed, always compiled in.
 *
 *     trace(DMA_MAP, device, iova, len, dir);
 *
 * kern/abi/trace.def lists them with the kinds of their words; a point takes exactly these, so a
 * physical address (struct paddr) cannot be traced.  A record costs about 30 instructions and no
 * lock; it goes to the ring of the CPU that runs (trace_ring.h).  Any context.  A CPU whose ring is
 * not there yet traces nothing.
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/abi/process.h"
#include "kern/abi/status.h"
#include "kern/abi/trace.h"

struct cpu;

#define trace(name, ...)	trace_##name(__VA_ARGS__)

void trace_put(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
void trace_put_hot(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* The ring of a CPU that is not online yet.  Without memory it has none. */
void trace_init_cpu(struct cpu *c);

/*
 * The n-th of TRACE_RECORDS of a CPU, its time in nanoseconds; false when there is none, or it is
 * just being written.  Not sorted.
 */
bool trace_get(unsigned cpu, uint32_t n, struct trace_record *out);

/* The last records of all CPUs, oldest first, to the console; for a panic: takes no lock. */
void trace_say_last(void (*say)(const char *line));

/* The first characters of a process's name as a word. */
static inline uint64_t
trace_name(const char name[PROCESS_NAME])
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8 && name[i] != 0; i++)
		v |= (uint64_t)(uint8_t)name[i] << 8 * i;
	return v;
}

#define TRACE_P_PROCESS		uint32_t
#define TRACE_P_NAME		uint64_t
#define TRACE_P_DEVICE		uint32_t
#define TRACE_P_IOVA		struct iova
#define TRACE_P_ADDRESS		uint64_t
#define TRACE_P_BYTES		uint64_t
#define TRACE_P_PAGES		uint64_t
#define TRACE_P_NUMBER		uint64_t
#define TRACE_P_CPUS		uint64_t
#define TRACE_P_ON		bool
#define TRACE_P_WRITE		bool
#define TRACE_P_DIR		enum dma_dir
#define TRACE_P_LANE		enum dma_lane
#define TRACE_P_STATUS		enum status
#define TRACE_P_EXIT		enum exit_reason
#define TRACE_P_FAULT		enum fault_kind
#define TRACE_P_DMA_FAULT	enum dma_fault_kind

static inline uint64_t trace_iova_word(struct iova a) { return a.v; }
static inline uint64_t trace_plain_word(uint64_t v) { return v; }
#define TRACE_V(x)	_Generic((x), struct iova: trace_iova_word, default: trace_plain_word)(x)

/* The type is a constant: one of the two calls. */
static ALWAYS_INLINE void
trace_any(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	if (type >= TRACE_HOT_FIRST)
		trace_put_hot(type, a, b, c, d);
	else
		trace_put(type, a, b, c, d);
}

#define TRACE1(name, text, k0) \
	static ALWAYS_INLINE void trace_##name(TRACE_P_##k0 a) \
	{ \
		trace_any(TRACE_##name, TRACE_V(a), 0, 0, 0); \
	}
#define TRACE2(name, text, k0, k1) \
	static ALWAYS_INLINE void trace_##name(TRACE_P_##k0 a, TRACE_P_##k1 b) \
	{ trace_any(TRACE_##name, TRACE_V(a), TRACE_V(b), 0, 0); }
#define TRACE3(name, text, k0, k1, k2) \
	static ALWAYS_INLINE void trace_##name(TRACE_P_##k0 a, TRACE_P_##k1 b, TRACE_P_##k2 c) \
	{ trace_any(TRACE_##name, TRACE_V(a), TRACE_V(b), TRACE_V(c), 0); }
#define TRACE4(name, text, k0, k1, k2, k3) \
	static ALWAYS_INLINE void trace_##name( \
	    TRACE_P_##k0 a, TRACE_P_##k1 b, TRACE_P_##k2 c, TRACE_P_##k3 d) \
	{ \
		trace_any(TRACE_##name, TRACE_V(a), TRACE_V(b), TRACE_V(c), TRACE_V(d)); \
	}
#define TRACE_HOT_FOLLOW
#include "kern/abi/trace.def"
#undef TRACE1
#undef TRACE2
#undef TRACE3
#undef TRACE4
#undef TRACE_HOT_FOLLOW
