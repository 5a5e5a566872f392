/*
 * The client's end of the packet protocol with a server of any kind: the input is what the server
 * writes into its words and slots of the ring, what it answers, and when it dies; between it the
 * client puts packets and buffers as its user would.
 *
 * What must hold: an answer belongs to a packet that was put, shown and not answered; a buffer that
 * comes back was posted, and comes once; what was received lies in it, and the library writes
 * nowhere else; each look ends; the library's counts are those of what is outstanding.
 *
 * Input: steps: a byte that says which, and what it takes.
 *
 * LINK: usr/lib/net.c tests/usr/lib/net_server.c
 * FUZZ: -max_len=512
 */
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#include "tests/lib/fuzz_input.h"
#include "tests/usr/lib/net_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUFFER = 2048, BUFFERS = SERVER_AREA / BUFFER, PACKETS = 1024, STEPS = 128 };

static struct net n;
static struct { uint8_t slots; bool shown; } packet[PACKETS];	/* slots 0: not outstanding */
static uint32_t packets, slots;
static bool posted[BUFFERS];
static uint32_t posts;

static uint32_t
number(uint32_t near)
{
	uint32_t how = take(1);

	switch (how >> 6) {
	case 0: return near + how % 64;
	case 1: return near - how % 64;
	case 2: return near ^ 1u << how % 32;
	default: return take(4);
	}
}

static bool
open_one(void)
{
	memset(packet, 0, sizeof(packet));
	memset(posted, 0, sizeof(posted));
	packets = slots = posts = 0;
	return net_open(&n, SERVER_ENDPOINT, SERVER_AREA_HANDLE, server_area, SERVER_AREA,
		   SERVER_NTFN, 1) == OK;
}

static void
put(void)
{
	struct net_tx t[NET_FRAGMENTS + 1] = { 0 };
	uint32_t count = take(1) % (NET_FRAGMENTS + 2), room;
	enum status s;

	if (packets == PACKETS)
		return;
	for (uint32_t i = 0; i < NET_FRAGMENTS + 1; i++)
		t[i] = (struct net_tx){ .cookie = packets + PACKETS * i, .bytes = 60 };
	room = net_room(&n);
	s = net_put(&n, t, count);
	if (s != (count == 0 || count > NET_FRAGMENTS ? E_RANGE :
		     count > room		       ? E_WOULD_BLOCK :
							 OK))
		abort();
	if (s != OK)
		return;
	packet[packets++].slots = (uint8_t)count;
	slots += count;
}

static void
post(void)
{
	for (uint32_t i = take(1) % BUFFERS, k = take(1) % 32; k != 0; k--, i = (i + 1) % BUFFERS)
		if (!posted[i]) {
			if (net_post(&n, i * BUFFER, BUFFER, i) != OK)
				abort();
			posted[i] = true;
			posts++;
		}
}

static void
show(void)
{
	handle_t h;
	uint64_t bits;

	if (take(1) % 2 == 0)
		net_kick(&n);
	else if (net_may_sleep(&n, take(1) % 2 == 0 ? NULL : &h, &bits))
		net_woke(&n);
	for (uint32_t i = 0; i < packets; i++)
		packet[i].shown = true;
}

static void
read_sent(void)
{
	enum status s;
	uint32_t cookie;

	for (uint32_t looks = 0; net_next_sent(&n, &cookie, &s); looks++) {
		if (looks > NET_SLOTS || cookie >= packets || packet[cookie].slots == 0 ||
		    !packet[cookie].shown || s >= STATUS_COUNT)
			abort();
		slots -= packet[cookie].slots;
		packet[cookie].slots = 0;
	}
	/* Those behind one that is not answered hold their slots. */
	if (net_room(&n) > NET_SLOTS - slots)
		abort();
}

static void
read_rx(void)
{
	struct net_rx r;

	for (uint32_t looks = 0;; looks++) {
		uint8_t *b;

		memset(server_area, 0x55, SERVER_AREA);
		if (!net_next_rx(&n, &r))
			break;
		if (looks > NET_SLOTS || r.cookie >= BUFFERS || !posted[r.cookie] ||
		    (r.bytes != 0 && (r.first < NET_HEAD - NET_LEAD || r.first > BUFFER ||
			r.bytes > BUFFER - r.first)))
			abort();
		posted[r.cookie] = false;
		posts--;
		b = server_area + r.cookie * BUFFER;
		if (r.bytes != 0 && r.first == NET_HEAD - NET_LEAD)
			memset(b + r.first, 0x55, NET_LEAD);
		for (uint32_t i = 0; i < BUFFER; i++)
			if (b[i] != 0x55)
				abort();
	}
	if (posts != n.posts)
		abort();
}

static void
answer(uint32_t count)
{
	struct net_ring *r = server_ring();

	for (; count != 0; count--) {
		uint32_t head = load_relaxed(&r->tx_done_head);

		r->tx_done[head % NET_SLOTS] = (struct net_tx_done){ number(n.tx_first),
			take(1) };
		store_relaxed(&r->tx_done_head, head + 1);
	}
}

static void
receive(uint32_t count)
{
	struct net_ring *r = server_ring();

	for (uint32_t i = 0; i < count; i++) {
		uint32_t head = load_relaxed(&r->rx_head), how = take(1);
		struct net_rx rx = { .cookie = how % 64, .first = NET_HEAD, .bytes = 60,
			.flags = (uint16_t)(how >> 6) };

		if ((how & 0x80) != 0) {
			rx.cookie = number(rx.cookie);
			rx.first = number(NET_HEAD - NET_LEAD);
			rx.bytes = number(BUFFER);
			memset(rx.lead, 0xaa, sizeof(rx.lead));
		}
		r->rx[head % NET_SLOTS] = rx;
		store_relaxed(&r->rx_head, head + 1);
	}
}

/* Any word of the ring, whoever's it is. */
static void
bend(void)
{
	struct net_ring *r = server_ring();
	uint32_t *word[] = { &r->tx_done_head, &r->rx_head, &r->tx_head, &r->post_head,
		&r->tx_done_tail, &r->rx_tail, &r->link, &r->server_sleeps, &r->client_sleeps,
		&r->refused };
	uint32_t what = take(1), *w = word[what % ARRAY_SIZE(word)];

	if (what >= 0xf0)
		memset(r, (int)take(1), sizeof(*r));
	else
		store_relaxed(w, number(load_relaxed(w)));
}

/* False: the session is over. */
static bool
step(void)
{
	uint32_t what = take(1);

	switch (what % 12) {
	case 0:
	case 1: put(); break;
	case 2: post(); break;
	case 3: show(); break;
	case 4: read_sent(); break;
	case 5: read_rx(); break;
	case 6: answer(1 + what / 12); break;
	case 7:
	case 8: receive(1 + what / 12); break;
	case 9: bend(); break;
	case 10:
		server_lie = what < 128 ? SERVER_HONEST : what % SERVER_LIES;
		server_dies(&n);
		break;
	case 11: (void)net_link(&n); break;
	}
	if (what % 3 == 0 || n.lost != 0) {
		uint64_t restarts = n.restarts;
		enum status s = net_turn(&n);

		if (s >= STATUS_COUNT)
			abort();
		/* A successor has seen nothing so far. */
		for (uint32_t i = 0; i < packets && n.restarts != restarts; i++)
			packet[i].shown = false;
		if (s != OK && s != E_PEER)
			return false;
	}
	return n.lost == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	in = data;
	left = size;
	memset(&n, 0, sizeof(n));
	server_start();
	if (!open_one())
		abort();
	for (unsigned i = 0; left != 0 && i < STEPS; i++) {
		if (step())
			continue;
		net_close(&n);
		if (server_rings() != 0 || server_handles() != 0)
			abort();
		server_lie = SERVER_HONEST;
		if (!open_one())
			abort();
	}
	net_close(&n);
	if (server_rings() != 0 || server_handles() != 0)
		abort();
	server_stop();
	return 0;
}
