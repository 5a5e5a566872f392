/*
 * What both proofs of the NVMe translator share (nvme_xlate.c, long/nvme_look.c): the memory of a
 * driver, of which each look gives another content; what the device may touch; any state of a
 * queue.  Who includes it says what LIST is: words of a list that may be fetched.
 */
#pragma once

#include "dev/nvme/xlate.c"
#include "tests/lib/nvme_reach.h"

enum { WINDOWS = 2, SLOTS = 2, ADDRESS_BITS = 47, NSID = 1 };
enum : uint64_t { SIDE = 0x7000000 };

uint64_t nondet_u64(void);
uint32_t nondet_u32(void);
uint8_t nondet_u8(void);
_Bool nondet_bool(void);

static struct xlate_window window[WINDOWS];
static struct xlate_windows windows = { window, 0 };
static uint64_t side[LIST]; /* the part that is used: longer lists are cut off in xlate_word */
static struct xlate_device device;
static uint32_t fetched;
static uint64_t fetched_at;

uint64_t
xlate_word(const struct xlate_window *w, uint64_t at)
{
	__CPROVER_assert(at % 8 == 0 && xlate_holds(w, at, 8), "only windows are read");
	__CPROVER_assert((w->dir & DMA_TO_DEVICE) != 0, "and only what the device may read");
	__CPROVER_assert(fetched == 0 || at > fetched_at, "no word is read twice");
	__CPROVER_assume(fetched < LIST);
	fetched_at = at;
	fetched++;
	return nondet_u64();
}

uint64_t
reach_load(uint64_t at)
{
	__CPROVER_assert(at >= SIDE && at < SIDE + 8ull * fetched && at % 8 == 0,
	    "of the side page, only what was copied");
	return side[(at - SIDE) / 8];
}

void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	bool ok = false;

	if (at >= SIDE && at + len <= SIDE + PAGE_SIZE)
		ok = write ? device.fact[3] != 0 : true; /* fact[3]: an answer is expected there */
	for (uint32_t i = 0; i < WINDOWS; i++)
		if (i < windows.count && at - window[i].delta >= window[i].first &&
		    at - window[i].delta <= window[i].last &&
		    len - 1 <= window[i].last - (at - window[i].delta) &&
		    (window[i].dir & (write ? DMA_FROM_DEVICE : DMA_TO_DEVICE)) != 0)
			ok = true;
	__CPROVER_assert(ok, "every byte lies in a window of its direction");
}

uint64_t
reach_block(uint32_t nsid)
{
	return nsid == NSID && device.lg2[NSID] != 0 ? 1ull << device.lg2[NSID] : 0;
}

/* Any state of a queue in which the id, and no other, is free; and any entry. */
static void
any_state(struct xlate_queue *q, struct xlate_slot *slot, uint32_t id, uint64_t *e)
{
	uint64_t end = 0;
	uint8_t lg2 = nondet_u8();

	/* Windows: whole pages, sorted, apart: what window_add keeps; or closed. */
	windows.count = nondet_u32();
	__CPROVER_assume(windows.count <= WINDOWS);
	for (uint32_t i = 0; i < WINDOWS; i++) {
		uint64_t first = nondet_u64() & ~PAGE_MASK, last = nondet_u64() | PAGE_MASK;

		__CPROVER_assume(first != 0 && last < 1ull << ADDRESS_BITS &&
		    (first < last || last == first - 1) && (i == 0 || first > end));
		end = first < last ? last : first;
		window[i] = (struct xlate_window){ .first = first,
			.last = last,
			.delta = nondet_u64() << ADDRESS_BITS,
			.dir = nondet_u32(),
			.grant = nondet_bool() ? (void *)&window[0] : (void *)&window[1] };
		__CPROVER_assume(window[i].dir >= 1 && window[i].dir <= 3);
	}
	__CPROVER_assume(lg2 == 0 || (lg2 >= 9 && lg2 <= 16));
	device.lg2[NSID] = lg2;
	device.queues = 3;
	device.vectors = nondet_u32();
	for (uint32_t i = 0; i < 3; i++) {
		device.queue[i].bound = nondet_bool();
		device.queue[i].used = nondet_bool();
		device.queue[i].entries = nondet_u32() % 1024 + 1;
		device.queue[i].sq_name = nondet_u64();
		device.queue[i].cq_name = nondet_u64();
		device.queue[i].sq_address = nondet_u64();
		device.queue[i].cq_address = nondet_u64();
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		slot[i].busy = i != id;
	}
	for (unsigned i = 0; i < 8; i++)
		e[i] = nondet_u64();
	/* One namespace is as good as another: this one, or one that nobody identified. */
	__CPROVER_assume(e[0] >> 32 == NSID || e[0] >> 32 == 0 || e[0] >> 32 >= XLATE_TARGETS_MAX);

	q->device = &device;
	q->windows = &windows;
	q->id = nondet_bool();
	q->slots = SLOTS;
	q->slot = slot;
	q->spare = nondet_bool() ? side : (uint64_t *)NULL;
	q->spare_address = SIDE;
}
