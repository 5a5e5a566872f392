/*
 * A trace record in words: for the shell and for the epitaph of a panic.  Pure.
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/abi/process.h"
#include "kern/abi/status.h"
#include "kern/abi/trace.h"
#include "kern/base/fmt.h"

enum { TRACE_TEXT = 200 };

struct trace_point { const char *text; enum trace_kind kind[TRACE_WORDS]; };

static inline const struct trace_point *
trace_point_of(uint16_t type)
{
#define TRACE1(name, t, a)		[TRACE_##name] = { t, { TRACE_KIND_##a } },
#define TRACE2(name, t, a, b)		[TRACE_##name] = { t, { TRACE_KIND_##a, TRACE_KIND_##b } },
#define TRACE3(name, t, a, b, c) \
	[TRACE_##name] = { t, { TRACE_KIND_##a, TRACE_KIND_##b, TRACE_KIND_##c } },
#define TRACE4(name, t, a, b, c, d)	\
	[TRACE_##name] = { t, { TRACE_KIND_##a, TRACE_KIND_##b, TRACE_KIND_##c, TRACE_KIND_##d } },
#define TRACE_HOT_FOLLOW
	static const struct trace_point points[TRACE_TYPES] = {
#include "kern/abi/trace.def"
	};
#undef TRACE1
#undef TRACE2
#undef TRACE3
#undef TRACE4
#undef TRACE_HOT_FOLLOW

	return type < TRACE_TYPES ? &points[type] : NULL;
}

/* One word; returns how many characters it would take. */
static inline size_t
trace_word_text(enum trace_kind kind, uint64_t v, char *to, size_t size)
{
	static const char *const dirs[] = { "", "to device", "from device", "both ways" };
	static const char *const lanes[] = { "unsupported", "direct", "brokered" };
	static const char *const exits[] = { "running", "exit", "killed", "fault", "quota" };
	unsigned long long n = v;
	char name[9];

	switch (kind) {
	case TRACE_KIND_PROCESS:
		return fmt_buf(to, size, "process %llu", n);
	case TRACE_KIND_NAME:
		for (unsigned i = 0; i < 8; i++)
			name[i] = (char)(v >> 8 * i);
		name[8] = 0;
		for (unsigned i = 0; name[i] != 0; i++) /* what a record holds may be anything */
			if (name[i] < ' ' || name[i] > '~')
				name[i] = '?';
		return fmt_buf(to, size, "%s", name);
	case TRACE_KIND_DEVICE:
		return fmt_buf(to, size, "%04x:%02x:%02x.%x", (unsigned)(v >> 16 & 0xffff),
		    (unsigned)(v >> 8 & 0xff), (unsigned)(v >> 3 & 31), (unsigned)(v & 7));
	case TRACE_KIND_IOVA:
		return fmt_buf(to, size, "iova 0x%llx", n);
	case TRACE_KIND_ADDRESS:
		return fmt_buf(to, size, "at 0x%llx", n);
	case TRACE_KIND_BYTES:
		return fmt_buf(to, size, "%llu bytes", n);
	case TRACE_KIND_PAGES:
		return fmt_buf(to, size, "%llu pages", n);
	case TRACE_KIND_CPUS:
		return fmt_buf(to, size, "cpus 0x%llx", n);
	case TRACE_KIND_ON:
		return fmt_buf(to, size, "%s", v != 0 ? "on" : "off");
	case TRACE_KIND_WRITE:
		return fmt_buf(to, size, "%s", v != 0 ? "write" : "read");
	case TRACE_KIND_DIR:
		return fmt_buf(to, size, "%s", dirs[v & 3]);
	case TRACE_KIND_LANE:
		return fmt_buf(to, size, "%s", v < 3 ? lanes[v] : "?");
	case TRACE_KIND_STATUS:
		return fmt_buf(
		    to, size, "%s", v < STATUS_COUNT ? status_text((enum status)v) : "?");
	case TRACE_KIND_EXIT:
		return fmt_buf(to, size, "%s", v < 5 ? exits[v] : "?");
	case TRACE_KIND_FAULT:
		return fmt_buf(
		    to, size, "%s", v <= UINT8_MAX ? fault_kind_text((enum fault_kind)v) : "?");
	case TRACE_KIND_DMA_FAULT:
		return fmt_buf(
		    to, size, "%s", v <= UINT8_MAX ? dma_fault_text((enum dma_fault_kind)v) : "?");
	case TRACE_KIND_NUMBER:
	case TRACE_KIND_NONE:
		break;
	}
	return fmt_buf(to, size, "%llu", n);
}

/* "    0.123456 cpu 0 dma map: 0000:00:01.0, iova 0x1000, 4096 bytes, to device"; cut when it is
 * longer. */
static inline void
trace_text(const struct trace_record *r, char to[TRACE_TEXT])
{
	const struct trace_point *p = trace_point_of(r->type);
	size_t n = fmt_buf(to, TRACE_TEXT, "%5llu.%06llu cpu %u %s",
	    (unsigned long long)(r->time_ns / NS_PER_S),
	    (unsigned long long)(r->time_ns % NS_PER_S / NS_PER_US), r->cpu,
	    p != NULL ? p->text : "unknown record");

	for (unsigned i = 0;
	    p != NULL && i < TRACE_WORDS && p->kind[i] != TRACE_KIND_NONE && n < TRACE_TEXT - 3;
	    i++) {
		n += fmt_buf(to + n, TRACE_TEXT - n, i == 0 ? ": " : ", ");
		n += trace_word_text(p->kind[i], r->w[i], to + n, TRACE_TEXT - n);
	}
}
