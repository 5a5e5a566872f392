/*
 * The virtio translator, one descriptor: whatever was taken of its chain before, an accepted buffer
 * becomes pieces whose every byte lies in a live window of the owner and of the right direction,
 * which are as long together, and whose grants are noted (D2, D4, D5).  What was taken before stays
 * as it was.  That a chain is made of such buffers and nothing else is tests/proof/virtio_chain.c.
 *
 * For every descriptor, every state of the walk, every table of up to two windows, closed ones
 * among them.  Bounded: PIECES pieces, GRANTS grants: the translator's own bounds made smaller (the
 * text of xlate.c is taken in below with them), and deltas that leave the low 47 bits.
 *
 * CBMC: --function harness --unwind 3 --unwindset note_grant.0:3,noted.0:3,buffer.0:4
 * CBMC: --slice-formula
 */
#include "kern/dma/xlate.h"
#include "dev/virtio/xlate.h"

enum { PIECES = 2, GRANTS = 2 };
#define XLATE_PIECES_MAX PIECES
#define XLATE_GRANTS_MAX GRANTS
#include "dev/virtio/xlate.c"

enum { WINDOWS = 2, ADDRESS_BITS = 47 };

uint64_t nondet_u64(void);
uint32_t nondet_u32(void);
uint16_t nondet_u16(void);
_Bool nondet_bool(void);

static struct xlate_window window[WINDOWS];
static char grant[WINDOWS];

void
xlate_fetch(const struct xlate_window *w, uint64_t at, uint64_t *to, uint32_t n)
{
	(void)w;
	(void)at;
	(void)to;
	(void)n;
	__CPROVER_assert(0, "a buffer is not read");
}

static bool
noted(const struct xlate_chain *c, uint32_t n, const void *g)
{
	bool there = false;

	for (uint32_t i = 0; i < XLATE_GRANTS_MAX; i++)
		there = there || (i < n && c->grant[i] == g);
	return there;
}

void
harness(void)
{
	struct xlate_windows windows = { window, nondet_u32() };
	struct xlate_split_queue q = { .windows = &windows, .recent = nondet_u32() };
	struct xlate_chain c;
	struct virtq_desc d = { .addr = nondet_u64(), .len = nondet_u32(),
		.flags = nondet_u16(), .next = nondet_u16() }, old;
	struct walk k = { .q = &q, .chain = &c, .descs = 1, .pieces = nondet_u32(),
		.grants = nondet_u32(), .writable = nondet_u32(), .writes = nondet_bool() };
	uint32_t before = k.pieces, j = nondet_u32(), noted_before = k.grants;
	uint16_t write = d.flags & VIRTQ_DESC_F_WRITE;
	uint32_t dir = write != 0 ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	bool writes = k.writes, ok = false;
	uint64_t sum = 0, byte = nondet_u64(), end = 0, writable = k.writable;

	__CPROVER_assume(windows.count <= WINDOWS && k.pieces <= PIECES);
	__CPROVER_assume(k.grants <= XLATE_GRANTS_MAX);
	for (uint32_t i = 0; i < WINDOWS; i++) {
		uint64_t first = nondet_u64() & ~PAGE_MASK, last = nondet_u64() | PAGE_MASK;

		__CPROVER_assume(first != 0 && last < 1ull << ADDRESS_BITS &&
		    (first < last || last == first - 1) && (i == 0 || first > end));
		end = last > first ? last : first;
		window[i] = (struct xlate_window){ .first = first, .last = last,
			.delta = nondet_u64() << ADDRESS_BITS, .dir = nondet_u32(),
			.grant = nondet_bool() ? &grant[0] : &grant[1] };
		__CPROVER_assume(window[i].dir >= 1 && window[i].dir <= 3);
	}
	for (uint32_t i = 0; i < PIECES; i++)
		k.piece[i] = (struct virtq_desc){ .addr = nondet_u64(), .len = nondet_u32(),
			.flags = nondet_u16() };
	__CPROVER_assume(j < PIECES);
	old = k.piece[j];

	if (buffer(&k, &d) != RULE_NONE)
		return;
	__CPROVER_assert(d.len != 0 && k.pieces > before && k.pieces <= PIECES, "pieces are new");
	__CPROVER_assert(k.writes == (writes || dir == DMA_FROM_DEVICE) &&
		(dir == DMA_FROM_DEVICE || !writes), "what is read comes before what is written");
	__CPROVER_assert(k.writable == writable + (dir == DMA_FROM_DEVICE ? d.len : 0),
	    "what may be written is counted");
	__CPROVER_assert(k.grants >= noted_before && k.grants <= XLATE_GRANTS_MAX, "grants");
	for (uint32_t i = 0; i < PIECES; i++)
		if (i >= before && i < k.pieces)
			sum += k.piece[i].len;
	__CPROVER_assert(sum == d.len, "as long together");
	if (j < before) {
		__CPROVER_assert(k.piece[j].addr == old.addr && k.piece[j].len == old.len &&
			k.piece[j].flags == old.flags, "what was taken before stays");
		return;
	}
	__CPROVER_assume(j < k.pieces && byte < k.piece[j].len);
	__CPROVER_assert(k.piece[j].flags == write, "of its direction");
	for (uint32_t i = 0; i < WINDOWS; i++) {
		uint64_t at = k.piece[j].addr + byte - window[i].delta;

		if (i < windows.count && at >= window[i].first && at <= window[i].last &&
		    (window[i].dir & dir) != 0 && noted(&c, k.grants, window[i].grant))
			ok = true;
	}
	__CPROVER_assert(ok, "every byte lies in a window of its direction, whose grant is noted");
}
