/*
 * The world of the NVMe translator's tests: memory of a driver and the windows on it, a device with
 * two queue pairs, and the controller's view for nvme_reach.h.  One program has one world; it is
 * made anew by world().
 *
 *   world(0)       windows as a unit makes them: the device sees the driver's addresses
 *   world(delta)   windows as the kernel brokers them: neighbouring pages change places, so nothing
 *                  is contiguous
 *   judge(q, e)    the translator's verdict; what must hold for every verdict is checked here, and
 *                  that it is the same by good hints and by none
 */
#pragma once

#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/nvme/parts.h"
#include "dev/nvme/xlate.h"
#include "kern/dma/window.h"
#include "tests/lib/nvme_reach.h"
#include "tests/lib/one_entry.h"

enum { SLOTS = 16, BIG = 640, SMALL = 4, NSID = 1, NSID4K = 2 };

/* As the driver names its memory; with a hole between windows. */
enum : uint64_t {
	AT_BIG = 0x1'0000'0000,				/* both directions */
	AT_OUT = AT_BIG + (BIG + 2) * PAGE_SIZE,	/* the device only reads */
	AT_IN = AT_OUT + (SMALL + 2) * PAGE_SIZE,	/* the device only writes */
	AT_END = AT_IN + SMALL * PAGE_SIZE,
	AT_SIDE = 0x2'0000'0000, AT_SQ = 0x3'0000'0000, AT_CQ = 0x3'0001'0000,
	NAME_SQ = 0x4'0000'0000, NAME_CQ = 0x4'0001'0000,
};

static uint8_t big[BIG * PAGE_SIZE] ALIGNED(4096), small_out[SMALL * PAGE_SIZE] ALIGNED(4096),
    small_in[SMALL * PAGE_SIZE] ALIGNED(4096), side[SLOTS][PAGE_SIZE] ALIGNED(4096);
static struct xlate_window array[1024];
static struct window_table table;
static struct xlate_device device;
static struct xlate_slot slot[SLOTS];
static struct xlate_queue io, adm;
static uint64_t out[8];
static char grant_big, grant_out, grant_in;
static uint64_t delta;			/* 0: as behind a unit */
static uint32_t touched;

/* Where brokered, neighbouring pages change places: nothing is contiguous. */
static void
add(uint64_t at, void *cpu, uint64_t pages, uint32_t dir, void *grant)
{
	uint64_t n = delta == 0 ? pages : 1;

	for (uint64_t i = 0; i < pages; i += n) {
		uint64_t first = at + i * PAGE_SIZE;
		struct xlate_window w = { .first = first,
			.last = first + n * PAGE_SIZE - 1,
			.delta = delta == 0 ? 0 : delta + (first ^ PAGE_SIZE) - first,
			.cpu = (uint64_t)(uintptr_t)cpu - at,
			.grant = grant,
			.dir = dir };

		ATF_REQUIRE_EQ(OK, window_add(&table, &w));
	}
}

static void
world(uint64_t how)
{
	delta = how;
	memset(&device, 0, sizeof(device));
	memset(slot, 0, sizeof(slot));
	memset(out, 0xee, sizeof(out));
	table = (struct window_table){ 0 };
	window_place(&table, array, ARRAY_SIZE(array));
	add(AT_BIG, big, BIG, DMA_BOTH, &grant_big);
	add(AT_OUT, small_out, SMALL, DMA_TO_DEVICE, &grant_out);
	add(AT_IN, small_in, SMALL, DMA_FROM_DEVICE, &grant_in);
	device.queues = 3;
	device.vectors = 4;
	device.lg2[NSID] = 9;
	device.lg2[NSID4K] = 12;
	io = (struct xlate_queue){ .device = &device,
		.windows = &table.live,
		.id = 1,
		.slots = SLOTS,
		.slot = slot,
		.spare = (uint64_t *)(void *)side[0],
		.spare_address = AT_SIDE };
	adm = io;
	adm.id = 0;
}

/* Hints are right, as of windows that were used before; or lead nowhere. */
static void
hints(struct xlate_queue *q, bool right)
{
	memset(q->hint, 0xff, sizeof(q->hint));
	q->lists = 0xffff;
	for (uint32_t i = 0; right && i < table.live.count; i++)
		for (uint64_t at = array[i].first; at < array[i].last; at += PAGE_SIZE)
			*xlate_near(q, at) = (uint16_t)i;
}

/* Hints make no difference to what is judged. */
static enum dma_rule
judge(struct xlate_queue *q, const struct nvme_sqe *e)
{
	struct xlate_slot first = { 0 };
	enum dma_rule rule = RULE_NONE;

	for (unsigned turn = 0; turn < 2; turn++) {
		struct xlate_verdict v;
		uint64_t w[8], was[8];
		struct xlate_slot *s;
		enum dma_rule r;

		memcpy(w, e, sizeof(w));
		memcpy(was, out, sizeof(was));
		memset(out, 0xee, sizeof(out));
		hints(q, turn == 0);
		r = one_entry(&nvme_xlate, q, w, out, &v);
		for (unsigned i = 0; r != RULE_NONE && i < 8; i++)
			ATF_CHECK_EQ_MSG(0xeeeeeeeeeeeeeeee, out[i], "a refused entry was written");
		if (turn != 0) {
			ATF_CHECK_EQ(rule, r);
			ATF_CHECK(memcmp(was, out, sizeof(out)) == 0);
		}
		rule = r;
		if (r != RULE_NONE)
			continue;
		s = &slot[v.id];
		ATF_CHECK_EQ(v.id, e->cdw0 >> 16);
		/* The spare page is taken exactly when the controller is told of it. */
		ATF_CHECK_EQ(s->side != NULL, out[3] == AT_SIDE || out[4] == AT_SIDE);
		ATF_CHECK(s->side == NULL || (s->side == q->spare && s->side_address == AT_SIDE));
		if (turn != 0)
			ATF_CHECK(first.side == s->side && first.answer == s->answer &&
			    first.grants == s->grants &&
			    memcmp(first.grant, s->grant, s->grants * sizeof(s->grant[0])) == 0);
		first = *s;
	}
	return rule;
}

/* ---- The controller's view ---- */

uint64_t
reach_load(uint64_t at)
{
	ATF_REQUIRE(at >= AT_SIDE && at < AT_SIDE + SLOTS * PAGE_SIZE);
	return *(uint64_t *)(void *)&side[(at - AT_SIDE) / PAGE_SIZE][at % PAGE_SIZE];
}

void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	touched++;
	if (at >= AT_SIDE && at + len <= AT_SIDE + SLOTS * PAGE_SIZE)
		return;			/* the kernel's own */
	ATF_REQUIRE(len != 0 && at / PAGE_SIZE == (at + len - 1) / PAGE_SIZE);
	if (delta != 0)
		at = (at - delta) ^ PAGE_SIZE;
	if (at >= AT_BIG && at + len <= AT_BIG + sizeof(big))
		return;
	if (!write && at >= AT_OUT && at + len <= AT_OUT + sizeof(small_out))
		return;
	ATF_REQUIRE_MSG(write && at >= AT_IN && at + len <= AT_END, "%s of %llu bytes at %llx",
	    write ? "write" : "read", (unsigned long long)len, (unsigned long long)at);
}

uint64_t reach_block(uint32_t nsid) { return nsid == NSID ? 512 : nsid == NSID4K ? 4096 : 0; }
