/*
 * What the kernel traced: the layout of a record, the types, the kinds of words.
 *
 * info(kernel, INFO_TRACE, cpu) copies the records of a CPU, unsorted; it needs KERNEL_TRACE.
 */
#pragma once

#include "kern/base/types.h"

enum { TRACE_WORDS = 4 };

struct trace_record {
	uint64_t time_ns;	/* since boot */
	uint32_t count;		/* of its ring on its CPU, from 1: a gap is what was overwritten */
	uint16_t type;		/* enum trace_type */
	uint8_t cpu, words;
	uint64_t w[TRACE_WORDS];
};
static_assert(sizeof(struct trace_record) == 48 && offsetof(struct trace_record, w) == 16);

/* What a word is: the type that the trace point takes, and how it is shown. */
enum trace_kind : uint8_t {
	TRACE_KIND_NONE,
	TRACE_KIND_PROCESS,	/* process id */
	TRACE_KIND_NAME,	/* its first 8 characters */
	TRACE_KIND_DEVICE,	/* segment << 16 | requester id */
	TRACE_KIND_IOVA,
	TRACE_KIND_ADDRESS,	/* of a process */
	TRACE_KIND_BYTES,
	TRACE_KIND_PAGES,
	TRACE_KIND_NUMBER,
	TRACE_KIND_CPUS,	/* a bit each */
	TRACE_KIND_ON,
	TRACE_KIND_WRITE,	/* write or read */
	TRACE_KIND_DIR,		/* enum dma_dir */
	TRACE_KIND_LANE,	/* enum dma_lane */
	TRACE_KIND_STATUS,
	TRACE_KIND_EXIT,	/* enum exit_reason */
	TRACE_KIND_FAULT,	/* enum fault_kind */
	TRACE_KIND_DMA_FAULT,	/* enum dma_fault_kind */
};

#define TRACE1(name, ...)	TRACE_##name,
#define TRACE2(name, ...)	TRACE_##name,
#define TRACE3(name, ...)	TRACE_##name,
#define TRACE4(name, ...)	TRACE_##name,
#define TRACE_HOT_FOLLOW	TRACE_HOT_FIRST, TRACE_BEFORE_HOT = TRACE_HOT_FIRST - 1,
enum trace_type : uint16_t {
#include "kern/abi/trace.def"
	TRACE_TYPES
};
#undef TRACE1
#undef TRACE2
#undef TRACE3
#undef TRACE4
#undef TRACE_HOT_FOLLOW
