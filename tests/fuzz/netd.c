/*
 * The packet server (usr/netd, whole) with a client and a device of any kind: the input writes the
 * client's words of the ring, makes calls, and bends the device.  tests/usr/netd/world.h is the
 * machine.
 *
 * What must hold: as long as the device tells the truth it reaches the client's packet area and
 * nothing else, and is never told what it may not be (the model counts both); the server ends only
 * when the device gave it a reason; it never turns for nothing, and takes no memory away that the
 * device has (the world stops the program then); and when a session is over it has what it had
 * before.  At the end an honest client is served.
 *
 * Input: a byte of what the machine is, then steps: a byte that says which, and what it takes.
 *
 * LINK: usr/netd/main.c usr/netd/session.c usr/lib/net.c usr/lib/drv.c usr/lib/complain.c
 * LINK: dev/virtio/net.c dev/virtio/pci.c dev/virtio/queue.c kern/base/fmt.c
 * LINK: tests/lib/model_virtio.c tests/lib/fiber.c tests/usr/netd/world.c tests/usr/netd/kernel.c
 * LINK: tests/usr/netd/anew.c
 * FUZZ: -max_len=512 -runs=3000
 */
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#include "tests/lib/fuzz_input.h"
#include "tests/usr/netd/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AREA_PAGES = 32, AREA = AREA_PAGES * 4096, BUFFER = 2048, STEPS = 96 };
enum { VNET_HEADER = 12 };

static struct net n;
static uint8_t *area;
static handle_t area_handle, ntfn;
static struct world_held at_rest;
static bool open, honest;	/* honest: the device has told the truth so far */

/* A number near one that means something. */
static uint32_t
number(uint32_t near)
{
	uint32_t how = take(1);

	switch (how >> 5) {
	case 0: return near + how % 32;
	case 1: return near - how % 32;
	case 2: return AREA - how % 32;
	case 3: return BUFFER * (how % 32);
	case 4: return near + (1u << how % 32);
	case 5: return UINT32_MAX - how % 32;
	case 6: return take(4);
	default: return how % 32;
	}
}

static void
signal_server(void)
{
	if (open && world_dead() == NULL)
		(void)sys_ntfn_signal(n.server, n.server_bits);
}

static void
raw_tx(void)
{
	struct net_ring *r = n.ring;
	uint32_t head = load_relaxed(&r->tx_head), count = 1 + take(1) % 24;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t how = take(1);
		struct net_tx t = { .cookie = i, .at = 0, .bytes = 60,
			.flow = (uint16_t)(how >> 5) };

		t.flags = (how & 1) != 0 ? NET_MORE : 0;
		if ((how & 2) != 0)
			t.at = number(AREA);
		if ((how & 4) != 0)
			t.bytes = number(1514);
		if ((how & 8) != 0) {
			t.flags ^= (uint16_t)take(1) & 0x7f;
			t.csum_start = (uint16_t)number(34);
			t.csum_offset = (uint16_t)number(16);
		}
		if ((how & 16) != 0) {
			t.gso_size = (uint16_t)number(1460);
			t.header_bytes = (uint16_t)number(54);
			t.cookie = take(4);
		}
		r->tx[(head + i) % NET_SLOTS] = t;
	}
	store_relaxed(&r->tx_head, head + count);
}

static void
raw_posts(void)
{
	struct net_ring *r = n.ring;
	uint32_t head = load_relaxed(&r->post_head), count = 1 + take(1) % 80;
	uint32_t how = take(1);

	for (uint32_t i = 0; i < count; i++) {
		struct net_post p = { .cookie = i, .at = i % 60 * BUFFER, .bytes = BUFFER };

		if ((how & 1) != 0 && i + 1 == count) {
			p.at = number(AREA - BUFFER);
			p.bytes = number(BUFFER);
			p.cookie = take(4);
		}
		r->post[(head + i) % NET_SLOTS] = p;
	}
	store_relaxed(&r->post_head, head + count);
}

static void
raw_word(void)
{
	struct net_ring *r = n.ring;
	uint32_t *word[] = { &r->tx_head, &r->post_head, &r->tx_done_tail, &r->rx_tail,
		&r->client_sleeps, &r->server_sleeps, &r->tx_done_head, &r->rx_head,
		&r->refused, &r->link };
	uint32_t *w = word[take(1) % ARRAY_SIZE(word)];

	store_relaxed(w, number(load_relaxed(w)));
}

/* What a client does that reads its answers. */
static void
raw_read(void)
{
	store_relaxed(&n.ring->tx_done_tail, load_relaxed(&n.ring->tx_done_head));
	store_relaxed(&n.ring->rx_tail, load_relaxed(&n.ring->rx_head));
}

static void
raw_call(void)
{
	uint32_t how = take(1);
	handle_t other = world_ntfn();
	struct msg m = { .label = how % 8, .words = 8, .handles = how >> 4 };
	const uint64_t w[] = { n.session, area_handle, ntfn, other, AREA, 0, UINT64_MAX,
		number(AREA) };

	for (unsigned i = 0; i < 8; i++)
		m.w[i] = w[take(1) % ARRAY_SIZE(w)];
	for (unsigned i = 0; i < 4; i++)
		if ((m.handles >> i & 1) != 0 && m.w[i] != area_handle && m.w[i] != ntfn)
			m.w[i] = other;
	(void)world_call(&m, 1 + (how & 8));
	(void)sys_handle_close(other);
	/* A session of a client that has no keeper: nobody's from now on. */
	if (m.label == OK && (how % 8) == NET_CALL_OPEN && m.handles == 3) {
		(void)sys_handle_close(m.w[0]);
		(void)sys_handle_close(m.w[1]);
	}
}

/* A used entry as nobody checks it, and the header of the packet that it would be. */
static void
raw_used(uint32_t n)
{
	struct vmodel_queue *q = &world_nic.q[n % VMODEL_QUEUES];
	uint32_t how = take(1), id = how % 4 != 0 && q->count != 0 ? q->held[how % q->count] :
								       take(2),
		 len = take(2);
	uint8_t *used, *p;
	uint64_t at;

	if (!q->enabled)
		return;
	used = fake_drv_at(&world_device, q->device, 4 + 8ull * q->size, DMA_FROM_DEVICE);
	p = fake_drv_at(&world_device, q->desc + 16ull * (id % q->size), 16, DMA_TO_DEVICE);
	if (used == NULL || p == NULL)
		return;
	memcpy(&at, p, 8);
	p = (how & 0x40) != 0 ? fake_drv_at(&world_device, at, VNET_HEADER, DMA_FROM_DEVICE) : NULL;
	for (unsigned i = 0; i < VNET_HEADER && p != NULL; i++)
		p[i] = (uint8_t)take(1);
	memcpy(used + 4 + 8 * (q->used % q->size), &id, 4);
	memcpy(used + 8 + 8 * (q->used % q->size), &len, 4);
	q->used++;
	if ((how & 0x80) == 0)		/* else more of them come together */
		memcpy(used + 2, &q->used, 2);
	q->interrupts++;
}

static void
bend_device(void)
{
	uint32_t how = take(1), with = take(1);
	uint8_t header[10] = { 0 };
	static const uint8_t packet[5000];

	switch (how % 8) {
	case 0:
	case 1:
	case 2:
		header[0] = with & 3;
		header[1] = (with >> 2 & 1) != 0 ? (uint8_t)take(1) : 0;
		if (header[0] != 0)
			for (unsigned i = 2; i < 10; i++)
				header[i] = (uint8_t)take(1);
		(void)model_virtio_receive(
		    &world_nic, with >> 4 & 3, header, packet, 14 + take(2) % 4986);
		break;
	case 3: world_nic.hold = !world_nic.hold; break;
	case 4: model_virtio_release(&world_nic); break;
	case 5:
		world_nic.config[6] = with & 3;
		world_interrupt(true);
		break;
	case 6:
		honest = false;
		if (with >= 0x80) {
			raw_used(with);
			break;
		}
		world_nic.lie = with % (VLIE_UNENDED + 1);
		world_nic.lie_after = with >> 4;
		break;
	case 7:
		honest = false;
		if ((with & 1) != 0)
			world_device.faults++;
		if ((with & 2) != 0)
			world_nic.status |= 64;
		world_nic.control_silent = (with & 0x84) == 0x84;
		world_nic.control_fails = (with & 0x88) == 0x88;
		world_nic.refuses_pairs = (with & 0x90) == 0x90;
		world_device.commit_status = (with & 0xe0) == 0xe0 ? E_REFUSED : OK;
		world_interrupt(true);
		break;
	}
}

static void
open_one(void)
{
	if (open)
		net_close(&n);
	open = net_open(&n, WORLD_NETD, area_handle, area, AREA, ntfn, 1) == OK;
}

static void
library(void)
{
	struct net_tx t = { .at = take(1) % 64 * BUFFER, .bytes = 14 + take(1), .cookie = 1 };
	enum status s;
	struct net_rx r;
	uint32_t cookie;

	if (net_turn(&n) != OK)
		return;
	(void)net_put(&n, &t, 1);
	for (uint32_t i = take(1) % 32; i != 0; i--)
		(void)net_post(&n, i * BUFFER, BUFFER, i);
	net_kick(&n);
	while (net_next_sent(&n, &cookie, &s))
		;
	while (net_next_rx(&n, &r))
		;
}

static void
step(void)
{
	uint32_t what = take(1);

	if (!open && what % 16 < 8) {
		open_one();
		return;
	}
	switch (what % 16) {
	case 0:
	case 1: raw_tx(); break;
	case 2: raw_posts(); break;
	case 3: raw_word(); break;
	case 4: raw_read(); break;
	case 5: library(); break;
	case 6:
		if ((what & 0xf0) != 0)
			break;
		world_kill_client();
		memset(&n, 0, sizeof(n));
		open = false;
		break;
	case 7:
		if ((what & 0xc0) == 0)
			open_one();
		break;
	case 8: raw_call(); break;
	case 9: world_run((uint64_t)take(2) * NS_PER_MS); break;
	case 10:
		if ((what & 0xf0) == 0) {
			world_kill();
			(void)world_start("");
		}
		break;
	default: bend_device(); break;
	}
	if ((what & 0x80) == 0) {
		signal_server();
		world_settle();
	}
	if (honest && (world_device.faults != 0 || world_nic.broken_rules != 0))
		abort();
	if (world_dead() != NULL && honest)
		abort();
	if (world_dead() != NULL) {
		world_nic.control_silent = world_nic.control_fails = false;
		world_nic.lie = VLIE_NONE;
		world_device.commit_status = OK;
		if (!world_start(""))
			abort();
	}
}

/* Everybody tells the truth again. */
static void
recovers(void)
{
	struct net_tx t = { .at = 0, .bytes = 60 };
	static const uint8_t plain[10], packet[100];
	struct world_held now;
	enum status s = E_IO;
	uint32_t cookie;
	struct net_rx r;

	world_nic.control_silent = world_nic.control_fails = world_nic.refuses_pairs = false;
	world_nic.hold = false;
	world_nic.lie = VLIE_NONE;
	world_device.commit_status = OK;
	world_settle();
	if (world_dead() != NULL && !world_start(""))
		abort();
	if (open)
		net_close(&n);
	memset(&n, 0, sizeof(n));
	/* A session without a keeper lasts five seconds. */
	if (net_open(&n, WORLD_NETD, area_handle, area, AREA, ntfn, 1) != OK)
		world_run(2 * NS_PER_S);
	if ((n.session == 0 &&
		net_open(&n, WORLD_NETD, area_handle, area, AREA, ntfn, 1) != OK) ||
	    net_post(&n, 0, BUFFER, 5) != OK)
		abort();
	/* What was wrong before may be seen only now. */
	for (unsigned i = 0; i < 2 && s != OK; i++) {
		if (net_put(&n, &t, 1) != OK)
			abort();
		net_kick(&n);
		world_run(3 * NS_PER_S / 2);	/* it may have no interrupts */
		if (!net_next_sent(&n, &cookie, &s))
			abort();
	}
	if (s != OK)
		abort();
	for (unsigned i = 0; i < 4 && !net_next_rx(&n, &r); i++) {
		(void)model_virtio_receive(&world_nic, i, plain, packet, 100);
		world_run(20 * NS_PER_MS);
	}
	if (n.posts != 0 || r.bytes != 100 || n.lies != 0)
		abort();
	net_close(&n);
	world_settle();
	now = world_held();
	if (memcmp(&now, &at_rest, sizeof(now)) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t is;

	in = data;
	left = size;
	is = take(1);
	world_power_up(1 + is % 4);
	world_device.vectors = (is >> 4) + 1 & 15;	/* 0: it is looked at now and then */
	if ((is & 8) != 0)
		world_nic.offers &= ~BIT(15);	/* no merging */
	if (!world_start(""))
		abort();
	at_rest = world_held();
	area = world_memory(AREA_PAGES, &area_handle);
	ntfn = world_ntfn();
	memset(&n, 0, sizeof(n));
	open = false;
	honest = true;
	open_one();
	for (unsigned i = 0; left != 0 && i < STEPS; i++)
		step();
	recovers();
	world_end();
	return 0;
}
