/*
 * The world of the virtio translator's tests: memory of a driver and the windows on it, a device,
 * one split queue, and the device's view of it for virtio_reach.h.  One program has one world; it
 * is made anew by world().
 *
 *   world(0)       windows as a unit makes them: the device sees the driver's addresses
 *   world(delta)   windows as the kernel brokers them: neighbouring pages change places, so nothing
 *                  is contiguous
 *   judge(idx)     the translator's verdict; what must hold for every verdict is checked here
 */
#pragma once

#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/vring.h"
#include "dev/virtio/xlate.h"
#include "dev/virtio/xlate_parts.h"
#include "kern/dma/window.h"
#include "tests/lib/virtio_reach.h"

enum { N = 16, BIG = 80, SMALL = 4 };

enum : uint64_t {
	AT_BIG = 0x1'0000'0000,				/* both directions */
	AT_OUT = AT_BIG + (BIG + 2) * PAGE_SIZE,	/* the device only reads */
	AT_IN = AT_OUT + (SMALL + 2) * PAGE_SIZE,	/* the device only writes */
	AT_END = AT_IN + SMALL * PAGE_SIZE,
	AT_SIDE = 0x2'0000'0000, AT_SHADOW = 0x3'0000'0000,
};

static uint8_t big[BIG * PAGE_SIZE] ALIGNED(4096), small_out[SMALL * PAGE_SIZE] ALIGNED(4096),
    small_in[SMALL * PAGE_SIZE] ALIGNED(4096);
static uint64_t side[2 * XLATE_PIECES_MAX];
static uint8_t owner[PAGE_SIZE] ALIGNED(4096), shadow[PAGE_SIZE] ALIGNED(4096),
    used_ring[PAGE_SIZE] ALIGNED(4096);
static struct xlate_window array[256];
static struct window_table table;
static struct xlate_device device;
static struct xlate_chain chains[N];
static struct xlate_split_queue queue;
static char grant_big, grant_out, grant_in;
static uint64_t delta;			/* 0: as behind a unit */
static uint32_t touched;		/* buffers, of the last verdict */
static uint64_t touched_bytes;
static struct xlate_verdict verdict;

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
	memset(chains, 0, sizeof(chains));
	memset(owner, 0, sizeof(owner));
	memset(shadow, 0, sizeof(shadow));
	memset(used_ring, 0, sizeof(used_ring));
	table = (struct window_table){ 0 };
	window_place(&table, array, ARRAY_SIZE(array));
	add(AT_BIG, big, BIG, DMA_BOTH, &grant_big);
	add(AT_OUT, small_out, SMALL, DMA_TO_DEVICE, &grant_out);
	add(AT_IN, small_in, SMALL, DMA_FROM_DEVICE, &grant_in);
	device.queues = 3;
	device.vectors = 4;
	device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
	queue = (struct xlate_split_queue){ .device = &device,
		.windows = &table.live,
		.id = 1,
		.entries = N,
		.owner = owner,
		.shadow = shadow,
		.used = used_ring,
		.chain = chains,
		.spare = side,
		.spare_address = AT_SIDE };
}

/* As the driver writes them. */
static struct virtq_desc *
desc(uint32_t n)
{
	return (struct virtq_desc *)(void *)owner + n;
}

static void
set(uint32_t n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	*desc(n) = (struct virtq_desc){ addr, len, flags, next };
}

static void
offer(uint16_t idx, uint16_t head)
{
	memcpy(owner + vring_avail_entry(N, idx), &head, 2);
}

/* ---- The device's view ---- */

void
reach_desc(uint64_t at, uint32_t n, struct reach_desc *out)
{
	const uint8_t *from = at == AT_SHADOW ? shadow : (const uint8_t *)side;

	ATF_REQUIRE(at == AT_SHADOW || at == AT_SIDE);
	ATF_REQUIRE(n < (at == AT_SHADOW ? (unsigned)N : (unsigned)XLATE_PIECES_MAX));
	static_assert(sizeof(*out) == 16);
	memcpy(out, from + 16 * n, 16);
}

void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	uint64_t need = write ? DMA_FROM_DEVICE : DMA_TO_DEVICE;

	touched++;
	touched_bytes += len;
	/* Each byte in a window, whichever. */
	while (len != 0) {
		uint64_t run = 0;

		for (uint32_t i = 0; i < table.live.count && run == 0; i++) {
			const struct xlate_window *w = &table.live.v[i];

			if (at - w->delta >= w->first && at - w->delta <= w->last &&
			    (w->dir & need) != 0)
				run = w->last - (at - w->delta) + 1;
		}
		ATF_REQUIRE_MSG(run != 0, "the device reaches [%#jx, %#jx)", (uintmax_t)at,
		    (uintmax_t)(at + len));
		run = run < len ? run : len;
		at += run;
		len -= run;
	}
}

/* The translator's verdict over the owner's entry; accepted, the device follows it. */
static enum dma_rule
judge(uint16_t idx)
{
	uint8_t before[sizeof(shadow)];
	enum dma_rule r;

	memcpy(before, shadow, sizeof(before));
	memset(side, 0xee, sizeof(side));
	touched = 0;
	touched_bytes = 0;
	r = virtio_split.judge(&queue, idx, &verdict);
	for (uint32_t i = 0; i < N; i++)
		if (chains[i].busy)
			ATF_CHECK_MSG(memcmp(before + 16 * i, shadow + 16 * i, 16) == 0,
			    "a place that is out was written");
	if (r == RULE_NONE) {
		const struct xlate_chain *c = &chains[verdict.id];
		uint16_t head;
		int64_t n;

		memcpy(&head, shadow + vring_avail_entry(N, idx), 2);
		ATF_CHECK_EQ(head, verdict.id);
		n = reach_chain(AT_SHADOW, N, head,
		    (device.fact[FACT_FEATURES] & VIRTIO_F_INDIRECT_DESC) != 0);
		ATF_CHECK_EQ(n, (int64_t)c->writable);
		ATF_CHECK(c->grants >= 1 && c->grants <= XLATE_GRANTS_MAX);
		ATF_CHECK(c->side == NULL || (c->side == side && c->side_address == AT_SIDE));
	}
	return r;
}

/* An accepted chain is out, as the caller keeps it. */
static void
keep_out(uint16_t head)
{
	for (uint32_t at = head; at != XLATE_END; at = chains[at].next)
		chains[at].busy = true;
	chains[head].head = true;
}

