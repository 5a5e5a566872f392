/*
 * The NVMe translator: entries, lists and windows are the input's.  What is accepted reaches
 * windows only, and what the driver changes after its memory was read makes no difference.
 *
 * Input: one byte of mode, three windows of four bytes, an entry of 64 bytes, then the words that
 * the driver's lists hold.
 *
 * LINK: kern/dma/ring.c tests/lib/fake_panic.c dev/nvme/xlate.c dev/nvme/xlate_regs.c
 * FUZZ: -max_len=256
 */
#include <stdlib.h>
#include <string.h>

#include "dev/nvme/xlate.h"
#include "tests/lib/nvme_reach.h"
#include "tests/lib/one_entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WINDOWS = 3, SLOTS = 4, HEAD = 1 + 4 * WINDOWS + 64 };
enum : uint64_t { SIDE = 0x77'0000'0000, NAME = 0x88'0000'0000, QUEUE = 0x99'0000'0000 };

static struct xlate_window window[WINDOWS];
static struct xlate_windows windows = { window, 0 };
static uint64_t side[XLATE_SIDE_WORDS];
static const uint8_t *words;
static size_t words_len;
static uint64_t last_at;
static struct xlate_device device;

/* The driver's memory: another value at each look. */
uint64_t
xlate_word(const struct xlate_window *w, uint64_t at)
{
	uint64_t v = window[at / 8 % WINDOWS].first + at / 8 % XLATE_SIDE_WORDS * PAGE_SIZE;

	if (!xlate_holds(w, at, 8) || at % 8 != 0 || (w->dir & DMA_TO_DEVICE) == 0 || at <= last_at)
		abort();
	last_at = at;		/* no word twice */
	if (words_len >= 8) {
		memcpy(&v, words, 8);
		words += 8;
		words_len -= 8;
	}
	return v;
}

uint64_t
reach_load(uint64_t at)
{
	if (at < SIDE || at >= SIDE + sizeof(side))
		abort();
	return side[(at - SIDE) / 8];
}

void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	if (at >= SIDE && at - SIDE + len <= sizeof(side))
		return;
	for (uint32_t i = 0; i < windows.count; i++)
		if (xlate_holds(&window[i], at - window[i].delta, len) &&
		    (window[i].dir & (write ? DMA_FROM_DEVICE : DMA_TO_DEVICE)) != 0)
			return;
	abort();
}

uint64_t
reach_block(uint32_t nsid)
{
	return nsid < XLATE_TARGETS_MAX && device.lg2[nsid] != 0 ? 1ull << device.lg2[nsid] : 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct xlate_slot slot[SLOTS];
	struct xlate_queue q = { .device = &device,
		.windows = &windows,
		.slots = SLOTS,
		.slot = slot,
		.spare = side,
		.spare_address = SIDE };
	struct xlate_verdict v;
	uint64_t e[8], out[8], at = 0x10000;

	if (size < HEAD)
		return -1;
	memset(slot, 0, sizeof(slot));
	q.id = data[0] & 1;
	slot[1].busy = true;
	memset(&device, 0, sizeof(device));
	device.lg2[1] = 9;
	device.lg2[2] = 12;
	device.lg2[3] = 16;
	device.queues = 3;
	device.vectors = 2;
	device.queue[1] =
	    (struct xlate_bound){ .bound = true, .entries = 64, .sq_name = NAME,
		.cq_name = NAME + 0x10000, .sq_address = QUEUE, .cq_address = QUEUE + 0x10000 };
	device.queue[2] = device.queue[1];
	device.queue[2].used = true;
	windows.count = data[0] >> 1 & 3;
	for (unsigned i = 0; i < WINDOWS; i++) {
		const uint8_t *p = data + 1 + 4 * i;

		at += p[0] * PAGE_SIZE;
		window[i] = (struct xlate_window){ .first = at,
			.last = at + (p[1] + 1u) * PAGE_SIZE - 1,
			.dir = p[2] % 3 + 1u,
			.delta = (uint64_t)(p[2] / 3) << 40,
			.grant = &window[p[3] % WINDOWS] };
		at = window[i].last + 1;
	}
	memcpy(e, data + 1 + 4 * WINDOWS, sizeof(e));
	if ((data[0] & 8) != 0)		/* help: addresses near windows */
		for (unsigned i = 3; i < 5; i++)
			e[i] = window[e[i] % WINDOWS].first + (e[i] >> 2 & 0xfffff);
	words = data + HEAD;
	words_len = size - HEAD;
	last_at = 0;
	for (unsigned i = 0; i < XLATE_HINTS; i++)	/* right, wrong, beyond the table */
		q.hint[i] = (data[0] & 16) != 0 ? (uint16_t)i % 4 : (uint16_t)(data[0] >> 5);
	if (one_entry(&nvme_xlate, &q, e, out, &v) != RULE_NONE)
		return 0;
	if (v.id >= SLOTS || v.id == 1 || slot[v.id].grants > XLATE_GRANTS_MAX)
		abort();
	if (q.id == 0 && ((uint8_t)out[0] == 0x01 || (uint8_t)out[0] == 0x05)) {
		uint64_t want = QUEUE + ((uint8_t)out[0] == 0x05 ? 0x10000 : 0);

		if (out[3] != want || out[4] != 0 || (out[5] & 0xffff) != 1 ||
		    (out[5] >> 16 & 0xffff) != 63)
			abort();
		return 0;
	}
	if ((slot[v.id].side != NULL) != (out[3] == SIDE || out[4] == SIDE))
		abort();
	if (q.id == 0 ? !reach_admin(out) : !reach_io(out))
		abort();
	return 0;
}
