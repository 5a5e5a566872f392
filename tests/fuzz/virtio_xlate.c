/*
 * The virtio translator.  Chains: the driver's table, ring and side tables, and the windows, are
 * the input's; what is accepted reaches windows only.  Registers: configuration space is the
 * input's, then accesses of a driver; what the device is told lies in its registers, and its rings
 * are the kernel's.
 *
 * Input: one byte of mode.  Chains: three windows of four bytes, places that are out, a table of
 * eight descriptors, a head; then what side tables hold.  Registers: 256 bytes of configuration
 * space, then eight bytes for each access.
 *
 * LINK: dev/virtio/xlate.c dev/virtio/xlate_regs.c dev/virtio/xlate_places.c
 * FUZZ: -max_len=512
 */
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/vring.h"
#include "dev/virtio/xlate.h"
#include "dev/virtio/xlate_parts.h"
#include "tests/lib/virtio_reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WINDOWS = 3, N = 8, HEAD = 1 + 4 * WINDOWS + 1 + 16 * N + 2, CONFIG = 256 };
enum : uint64_t {
	SIDE = 0x77'0000'0000, SHADOW = 0x78'0000'0000, NAME = 0x88'0000'0000,
	QUEUE = 0x99'0000'0000,
};

static struct xlate_window window[WINDOWS];
static struct xlate_windows windows = { window, 0 };
static uint64_t side[2 * XLATE_PIECES_MAX];
static uint64_t owner[512], shadow[512], used[512];
static const uint8_t *words;
static size_t words_len;
static struct xlate_device device;
static struct xlate_writes out;

static uint64_t
take(unsigned n)
{
	uint64_t v = 0;

	if (words_len < n)
		return 0;
	memcpy(&v, words, n);
	words += n;
	words_len -= n;
	return v;
}

/* The driver's memory: another value at each look. */
void
xlate_fetch(const struct xlate_window *w, uint64_t at, uint64_t *to, uint32_t n)
{
	if (n > 2 * XLATE_PIECES_MAX || !xlate_holds(w, at, 8ull * n) ||
	    (w->dir & DMA_TO_DEVICE) == 0)
		abort();
	for (uint32_t i = 0; i < n; i++)
		to[i] = take(8) + (i % 2 == 0 ? window[i / 2 % WINDOWS].first : 16);
}

void
reach_desc(uint64_t table, uint32_t n, struct reach_desc *d)
{
	if ((table != SIDE || n >= XLATE_PIECES_MAX) && (table != SHADOW || n >= N))
		abort();
	memcpy(d, (table == SIDE ? side : shadow) + 2 * n, sizeof(*d));
}

/* Each byte in a window, whichever. */
void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	while (len != 0) {
		uint64_t run = 0;

		for (uint32_t i = 0; i < windows.count && run == 0; i++) {
			const struct xlate_window *w = &window[i];

			if (at - w->delta >= w->first && at - w->delta <= w->last &&
			    (w->dir & (write ? DMA_FROM_DEVICE : DMA_TO_DEVICE)) != 0)
				run = w->last - (at - w->delta) + 1;
		}
		if (run == 0)
			abort();
		run = run < len ? run : len;
		at += run;
		len -= run;
	}
}

static int
chains(const uint8_t *data, size_t size)
{
	static struct xlate_chain chain[N];
	struct xlate_split_queue q = { .device = &device,
		.windows = &windows,
		.id = 1,
		.entries = N,
		.owner = (uint8_t *)owner,
		.shadow = (uint8_t *)shadow,
		.used = (uint8_t *)used,
		.chain = chain,
		.spare = (data[0] & 8) != 0 ? NULL : side,
		.spare_address = SIDE };
	struct xlate_verdict v;
	uint64_t at = 0x10000;

	if (size < HEAD)
		return -1;
	memset(chain, 0, sizeof(chain));
	memset(shadow, 0, sizeof(shadow));
	memset(&device, 0, sizeof(device));
	device.fact[FACT_FEATURES] = (data[0] & 2) != 0 ? VIRTIO_F_INDIRECT_DESC : 0;
	device.fact[FACT_TABLES] = (data[0] & 4) != 0 ? VIRTIO_F_INDIRECT_DESC : 0;
	windows.count = data[0] >> 4 & 3;
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
	for (unsigned i = 0; i < N; i++)
		chain[i].busy = (data[1 + 4 * WINDOWS] >> i & 1) != 0;
	memcpy(owner, data + 2 + 4 * WINDOWS, 16 * N);
	if ((data[0] & 64) != 0)		/* help: addresses near windows */
		for (unsigned i = 0; i < N; i++)
			owner[2 * i] = window[owner[2 * i] % WINDOWS].first +
			    (owner[2 * i] >> 2 & 0xfffff);
	memcpy((uint8_t *)owner + vring_avail_entry(N, 0), data + HEAD - 2, 2);
	words = data + HEAD;
	words_len = size - HEAD;
	if (virtio_split.judge(&q, 0, &v) != RULE_NONE)
		return 0;
	if (v.id >= N || chain[v.id].busy || chain[v.id].grants > XLATE_GRANTS_MAX ||
	    chain[v.id].grants == 0)
		abort();
	if (reach_chain(SHADOW, N, v.id, (data[0] & 6) != 0) != (int64_t)chain[v.id].writable)
		abort();
	return 0;
}

/* ---- Registers ---- */

static const uint8_t *config;

static uint32_t
read_config(void *arg, uint32_t offset, unsigned width)
{
	uint32_t v = 0;

	(void)arg;
	if (offset % width != 0 || offset + width > CONFIG)
		abort();
	memcpy(&v, config + offset, width);
	return v;
}

static uint64_t
read_reg(void *arg, uint32_t reg, unsigned width)
{
	(void)arg;
	(void)reg;
	return width == 4 ? UINT32_MAX >> 2 : take(2);
}

static void
write_reg(void *arg, uint32_t reg, unsigned width, uint64_t value)
{
	(void)arg;
	(void)reg;
	(void)width;
	(void)value;
}

static const struct xlate_source source = {
	.read = read_reg, .write = write_reg, .config = read_config,
};

/* What the device is told of one write of the driver's. */
static void
look(void)
{
	if (out.count > XLATE_WRITES_MAX)
		abort();
	for (uint32_t i = 0; i < out.count; i++) {
		const struct xlate_write *w = &out.v[i];
		uint32_t bar = w->offset >> 28, at = w->offset & XLATE_REGISTER_OFFSET;

		if (bar >= XLATE_BARS || at % w->width != 0 ||
		    at + w->width > device.bar_bytes[bar])
			abort();
		/* Ring addresses: the kernel's, when the queue is enabled.  Their high halves. */
		if (out.count == 9 && (i == 3 || i == 5 || i == 7) && w->value != QUEUE >> 32)
			abort();
	}
	if (out.effect == XLATE_START &&
	    (device.fact[FACT_FEATURES] & VIRTIO_F_VERSION_1) == 0)
		abort();
}

static int
registers(const uint8_t *data, size_t size)
{
	const struct xlate_class *c = (data[0] & 2) != 0 ? &virtio_net_xlate : &virtio_blk_xlate;
	uint32_t common;

	if (size < 1 + CONFIG)
		return -1;
	config = data + 1;
	words = data + 1 + CONFIG;
	words_len = size - 1 - CONFIG;
	memset(&device, 0, sizeof(device));
	for (unsigned i = 0; i < XLATE_BARS; i++)
		device.bar_bytes[i] = 0x1000ull << 2 * i;
	device.remapped = (data[0] & 4) != 0;
	device.vectors = 4;
	(void)virtio_other_xlate.unfit(&source, device.remapped);
	if (!c->open(&device, &source))
		return 0;
	common = (uint32_t)device.fact[FACT_COMMON];
	while (words_len >= 8) {
		uint64_t op = take(8);
		unsigned width = 1u << (op & 3);
		uint32_t reg = (uint32_t)(op >> 2 & 0x3f) * width, id = (uint32_t)(op >> 8 & 7);
		uint64_t value = op >> 32;

		switch (op >> 12 & 7) {
		case 0:
			if (id >= device.queues || device.queue[id].bound ||
			    !c->bind(&device, &source, id, 1u << (op >> 16 & 15)))
				break;
			device.queue[id] = (struct xlate_bound){ .bound = true,
				.entries = 1u << (op >> 16 & 15),
				.notify = device.queue[id].notify,
				.sq_name = NAME, .cq_name = NAME + 0x100000,
				.sq_address = QUEUE, .cq_address = QUEUE + 0x100000 };
			if ((device.queue[id].notify & XLATE_REGISTER_OFFSET) + 2 >
			    device.bar_bytes[device.queue[id].notify >> 28])
				abort();
			break;
		case 1:
			device.running = false;
			c->reset(&device);
			device.stopped = true;
			break;
		case 2:
			value &= 0xffff;
			if (c->may_read(&device, common + reg, width) == RULE_NONE)
				c->seen(&device, common + reg, width, &value);
			break;
		case 3:
			reg = (uint32_t)value & ~(width - 1);
			if (reg >> 28 < XLATE_BARS &&
			    c->write(&device, reg, width, op >> 16 & 0xffff, &out) == RULE_NONE)
				look();
			break;
		default:
			if (c->write(&device, common + reg, width, value, &out) == RULE_NONE)
				look();
			break;
		}
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return -1;
	return (data[0] & 1) != 0 ? registers(data, size) : chains(data, size);
}
