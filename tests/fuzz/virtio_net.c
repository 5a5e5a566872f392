/*
 * The network driver against a device of any kind.  A strict model (tests/lib/model_virtio.h) is
 * the ground, so that bring-up gets somewhere; the input bends it: what it offers and says of
 * itself, what registers read, what used rings and the headers of packets hold, faults, resets, a
 * control queue that is silent or says no.
 *
 * What must hold whatever the device does: nothing comes back that is not with it, each once; no
 * more bytes than a buffer has; a packet is whole or its queue is at fault; every call ends.
 *
 * Input: 8 bytes of what the device is, then steps: a byte that says which, and what it takes.
 *
 * LINK: dev/virtio/net.c dev/virtio/pci.c dev/virtio/queue.c
 * LINK: tests/lib/fake_drv.c tests/lib/model_virtio.c
 * FUZZ: -max_len=512
 */
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/net.h"
#include "dev/virtio/vring.h"
#include "kern/base/bits.h"
#include "tests/lib/fuzz_input.h"
#include "tests/lib/model_virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUFFER = 2048, BUFFERS = 32, HEAD = 18, STEPS = 128, LIES = 4 };
enum : uint64_t { LONGEST_NS = 60 * NS_PER_S };

static struct drv_device dev;
static struct model_virtio model;
static struct virtio_net net;
static struct drv_memory area;
static uint64_t (*true_access)(void *, unsigned, uint32_t, unsigned, bool, uint64_t);
static void (*true_vring)(void *, uint32_t, uint32_t, uint32_t);
static bool with_device[BUFFERS], sending[256];
static struct { uint32_t after, what; } lie[LIES];	/* of registers that are read */

static uint64_t
access(void *m, unsigned bar, uint32_t at, unsigned width, bool write, uint64_t value)
{
	uint64_t v = true_access(m, bar, at, width, write, value);

	if (write)
		return v;
	for (unsigned i = 0; i < LIES; i++)
		if (lie[i].after != 0 && --lie[i].after == 0)
			v ^= lie[i].what;
	return v;
}

static void
vring(void *m, uint32_t queue, uint32_t avail_idx, uint32_t used_idx)
{
	if (queue < VMODEL_QUEUES)
		true_vring(m, queue, avail_idx, used_idx);
}

/* A used entry as nobody checks it, and the header of the packet that it would be. */
static void
use(struct virtq *q, struct drv_memory *headers, uint32_t move)
{
	uint16_t idx = (uint16_t)(q->used_idx + take(1) % 16);
	uint32_t id = take(2), len = take(2);
	uint8_t *used = q->ring.device.ptr;

	if (q->entries == 0)
		return;
	if ((move & 1) != 0)
		id %= q->entries;
	if ((move & 2) != 0)
		len %= BUFFER;
	if (headers != NULL && headers->ptr != NULL) {
		uint8_t *h = (uint8_t *)headers->ptr + id % q->entries * 16;

		for (unsigned i = 0; i < VNET_HEADER; i++)
			h[i] = (uint8_t)take(1);
		if ((move & 4) != 0)
			h[11] = 0;
	}
	memcpy(used + vring_used_entry(q->entries, idx), &id, 4);
	memcpy(used + vring_used_entry(q->entries, idx) + 4, &len, 4);
	idx = (uint16_t)(idx + 1);
	memcpy(used + 2, &idx, 2);
}

static void
receive(struct vnet_pair *p)
{
	struct vnet_got g;
	uint32_t n = virtq_look(&p->rx);
	bool whole = true;

	if (n > p->rx.outstanding)
		abort();
	while (vnet_take(p, &g)) {
		if (n-- == 0 || g.cookie >= BUFFERS || !with_device[g.cookie] ||
		    g.first != whole || g.lead_bytes > VNET_HEADER ||
		    (g.first && g.lead_bytes != 0) || g.bytes > BUFFER - HEAD)
			abort();
		with_device[g.cookie] = false;
		whole = g.last;
	}
	if (!whole && p->rx.fault == NULL)
		abort();
}

static void
sent(struct vnet_pair *p)
{
	struct virtq_done d;
	uint32_t n = virtq_look(&p->tx);

	if (n > p->tx.outstanding)
		abort();
	while (virtq_take(&p->tx, &d)) {
		if (n-- == 0 || d.cookie >= ARRAY_SIZE(sending) || !sending[d.cookie] ||
		    d.bytes != 0)
			abort();
		sending[d.cookie] = false;
	}
}

static void
post(struct vnet_pair *p)
{
	for (uint32_t i = 0; i < BUFFERS; i++) {
		struct iova at = { area.iova.v + i * BUFFER + HEAD };

		if (!with_device[i])
			with_device[i] = vnet_post(p, at, BUFFER - HEAD, i) == OK;
		if (with_device[i] && take(1) % 8 == 0)
			break;
	}
	(void)virtq_commit(&p->rx);
}

static void
send(struct vnet_pair *p)
{
	struct vnet_ask ask = { 0 };
	struct virtq_part parts[VNET_PARTS + 1];
	uint32_t count = 1 + take(1) % (VNET_PARTS + 1), cookie = take(1);

	for (uint32_t i = 0; i < count; i++)
		parts[i] = (struct virtq_part){ area.iova, i == 0 ? 60 : take(1) % 64 };
	if (!sending[cookie])
		sending[cookie] = vnet_send(p, parts, count, &ask, cookie) == OK;
	virtq_arm(&p->tx, (uint16_t)take(1));
	(void)virtq_commit(&p->tx);
}

static void
forget(void)
{
	memset(with_device, 0, sizeof(with_device));
	memset(sending, 0, sizeof(sending));
}

/* False: the driver has given up. */
static bool
step(void)
{
	static uint8_t packet[9000];
	uint32_t what = take(1), with = take(1);
	struct vnet_pair *p = &net.pair[with % net.pair_count];
	uint64_t began = dev.now;
	uint8_t header[10] = { 0 };
	const char *why;

	switch (what % 16) {
	case 0:
	case 1: post(p); break;
	case 2: send(p); break;
	case 3:
		header[0] = (uint8_t)take(1);
		header[1] = (uint8_t)take(1);
		(void)model_virtio_receive(&model, (unsigned)(p - net.pair), header, packet,
		    1 + take(2) % sizeof(packet));
		break;
	case 4:
	case 5: receive(p); break;
	case 6: sent(p); break;
	case 7:
	case 8: use(&p->rx, &p->rx_headers, with >> 4); break;
	case 9: use(&p->tx, NULL, with >> 4); break;
	case 10: use(&net.control, NULL, with >> 4); break;
	case 11:
		model.lie = with % (VLIE_UNENDED + 1);
		model.lie_after = take(1) % 8;
		break;
	case 12:
		lie[with % LIES].after = 1 + take(1);
		lie[with % LIES].what = 1u << take(1) % 32;
		break;
	case 13:
		model.control_silent = (with & 1) != 0;
		model.control_fails = (with & 2) != 0;
		model.refuses_pairs = (with & 4) != 0;
		model.hold = (with & 8) != 0;
		model.config[6] = (uint8_t)take(1);
		dev.faults += (with & 16) != 0;
		dev.commit_status = (with & 0xe0) == 0xe0 ? E_CORRUPT : OK;
		break;
	case 14:
		if ((with & 1) != 0)
			(void)vnet_config(&net);
		else if ((with & 2) != 0)
			(void)vnet_set_mac(&net, net.mac);
		else if ((with & 4) != 0)
			(void)vnet_stray(&net, (struct iova){ take(2) }, (with & 8) != 0);
		else
			(void)vnet_trouble(&net);
		/* What it asks for goes by queues whose chains are not the test's. */
		if ((with & 7) == 4) {
			forget();
			return vnet_restart(&net, &why) == OK;
		}
		break;
	case 15:
		model_virtio_release(&model);
		if ((with & 3) != 3)
			break;
		forget();
		if (vnet_restart(&net, &why) != OK)
			return false;
		break;
	}
	if (dev.now - began > LONGEST_NS)
		abort();
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = "";
	uint32_t is;

	in = data;
	left = size;
	model_virtio_init(&model, &dev, 1);
	true_access = dev.access;
	true_vring = dev.vring;
	dev.access = access;
	dev.vring = vring;
	memset(&net, 0, sizeof(net));
	memset(lie, 0, sizeof(lie));
	forget();
	is = take(1);
	model.queues = (uint16_t)(1 + take(1) % VMODEL_QUEUES);
	model.config[8] = (uint8_t)((is & 1) != 0 ? take(1) : (model.queues - 1) / 2);
	model.offers &= ~((uint64_t)take(3) << 2);
	model.queue_max = (uint16_t)BIT(take(1) % 9);
	for (unsigned i = 0; i < VMODEL_QUEUES; i++)
		model.q[i].max = model.q[i].size = i < model.queues ? model.queue_max : 0;
	dev.vectors = is >> 1 & 31;
	if ((is & 0x40) != 0)		/* capabilities, configuration, registers */
		for (unsigned i = 0; i < LIES; i++) {
			dev.config[take(1)] ^= (uint8_t)take(1);
			model.config[take(1) % 12] ^= (uint8_t)take(1);
			lie[i].after = take(1);
			lie[i].what = 1u << take(1) % 32;
		}
	if (drv_memory(&dev, BUFFERS * BUFFER, DMA_BOTH, &area) != OK)
		abort();
	if (vnet_start(&net, &dev, 1 + (is >> 5 & 4) + take(1) % 4, &why) == OK)
		for (unsigned n = 0; left != 0 && n < STEPS && step(); n++)
			;
	else if (why[0] == '\0')
		abort();
	if (dev.now > LONGEST_NS * STEPS)
		abort();
	model_virtio_fini(&model);
	return 0;
}
