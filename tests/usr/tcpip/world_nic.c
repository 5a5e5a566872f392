/*
 * The world of a TCP/IP service: the NIC's server, at its end of the ring.
 *
 * It is strict: what a device would not take ends the program.  Packets are answered in another
 * order than they were put.  When it dies the kernel ends the call of its client's keeper, which
 * then waits for a successor; there is no thread here, so this file does what it would.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/usr/tcpip/world_parts.h"

enum { FLOWS = 256 };

static struct {
	bool dead, silent, opening;
	uint64_t back_ns;
	struct net *client;		/* whose keeper stays in a call */
	struct net_ring *ring;		/* of its session; NULL: there is none */
	uint8_t *area;
	uint64_t area_bytes, sessions;
	uint32_t features, link;
	uint32_t tx_tail, tx_done_head, post_tail, rx_head;
	uint32_t cut;			/* large packets */
	struct { uint32_t ports; uint16_t flow; } flow[FLOWS];	/* of connections */
	uint32_t flows;
} nic = { .link = 1 };

uint32_t world_cut(void) { return nic.cut; }
struct net_ring *world_nic_ring(void) { return nic.ring; }
void world_nic_silent(bool silent) { nic.silent = silent; }
bool world_nic_dead(void) { return nic.dead; }
uint64_t world_nic_next(void) { return nic.dead ? nic.back_ns : DEADLINE_NEVER; }

/* --- sessions ---------------------------------------------------------------------- */

static void
end_session(void)
{
	if (nic.ring != NULL)
		world_unmap((uint64_t)(uintptr_t)nic.ring);
	nic.ring = NULL;
}

static void
open_session(struct msg *m)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, world_far_side ? 2 : 1 };
	handle_t memory;

	end_session();
	nic.area = world_object(m->w[0], &nic.area_bytes);
	if (m->handles != 3 || m->w[1] != WORLD_NTFN + 1000 || m->w[3] > nic.area_bytes)
		world_fail("an open that is none");
	nic.area_bytes = m->w[3];
	nic.ring = pages_alloc(NET_RING_PAGES, &memory);
	nic.features = wire.features;
	nic.tx_tail = nic.tx_done_head = nic.post_tail = nic.rx_head = 0;
	nic.ring->link = nic.link;
	memcpy(&nic.ring->mac, mac, sizeof(mac));
	nic.opening = true;
	*m = (struct msg){ .label = OK,
		.handles = 3,
		.w = { WORLD_NIC, memory, ++nic.sessions, 1500ull << 48, nic.features, 1 } };
	memcpy(&m->w[3], mac, sizeof(mac));
}

enum status
world_nic_call(struct msg *m)
{
	if (nic.dead)
		return E_PEER;
	if (m->label == NET_CALL_OPEN) {
		open_session(m);
	} else if (m->label == NET_CALL_CLOSE) {
		end_session();
		if (nic.client != NULL)
			store_release(&nic.client->keeper, 0);
		nic.client = NULL;
		m->label = OK;
	} else {
		world_fail("a call that the NIC's server does not know");
	}
	return OK;
}

bool
world_nic_keeper(void *of)
{
	if (!nic.opening)
		return false;
	nic.opening = false;
	nic.client = of;
	return true;
}

void
world_kill_nic(uint64_t for_ns)
{
	nic.dead = true;
	nic.back_ns = world_clock + for_ns;
	nic.link += 4;
	while (wire_in.n != 0)
		free(wire_pop(&wire_in));
	end_session();
	if (nic.client != NULL)
		store_release(&nic.client->lost, 1);
}

static void
come_back(void)
{
	nic.dead = false;
	if (nic.client == NULL)
		return;
	store_release(&nic.client->lost, 2);
	store_release(&nic.client->keeper, 0);
	nic.client = NULL;
}

/* --- what is sent ------------------------------------------------------------------- */

/* A connection's packets go by one queue: they have one flow. */
static void
note_flow(const uint8_t *f, uint32_t len, uint16_t flow)
{
	bool v4 = f[12] == 0x08 && f[13] == 0 && f[14] == 0x45 && f[23] == 6,
	     v6 = f[12] == 0x86 && f[13] == 0xdd && f[20] == 6;
	uint32_t at = v4 ? 34 : 54, ports, i;

	if ((!v4 && !v6) || len < at + 4)
		return;
	memcpy(&ports, f + at, 4);
	for (i = 0; i < nic.flows && nic.flow[i].ports != ports; i++)
		;
	if (i == FLOWS)
		return;
	if (i == nic.flows) {
		nic.flows++;
		nic.flow[i].ports = ports;
		nic.flow[i].flow = flow;
	} else if (nic.flow[i].flow != flow) {
		world_fail("a connection changes its queue");
	}
}

void
world_flows(uint32_t pairs, uint32_t *of)
{
	memset(of, 0, pairs * sizeof(*of));
	for (uint32_t i = 0; i < nic.flows; i++)
		of[nic.flow[i].flow % pairs]++;
}

/* What a device does to a packet that has no sum yet: adds up from start on. */
static void
add_up(uint8_t *f, uint32_t len, uint32_t start, uint32_t offset)
{
	uint32_t sum = 0;

	for (uint32_t i = start; i < len; i++)
		sum += (i - start) % 2 == 0 ? (uint32_t)f[i] << 8 : f[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	f[start + offset] = (uint8_t)(~sum >> 8);
	f[start + offset + 1] = (uint8_t)~sum;
}

static void
add16(uint8_t *p, uint32_t v)
{
	v += (uint32_t)p[0] << 8 | p[1];
	v = (v & 0xffff) + (v >> 16);
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ... and to a large one: headers before each piece, and their lengths, numbers, flags and sums. */
static void
cut(const uint8_t *f, uint32_t len, const struct net_tx *t)
{
	uint32_t tcp = t->csum_start, head = t->header_bytes, pieces = 0;
	bool v4 = (t->flags & NET_GSO_TCP4) != 0;

	if (tcp != (v4 ? 34 : 54) || head != tcp + (f[tcp + 12] >> 4) * 4 || t->gso_size == 0 ||
	    t->gso_size + head > 1514 || t->bytes < head || len <= head ||
	    (v4 ? f[16] << 8 | f[17] : 40 + (f[18] << 8 | f[19])) != (int)len - 14)
		world_fail("a large packet that no device takes");
	for (uint32_t at = head; at < len; at += t->gso_size, pieces++) {
		uint32_t n = (uint32_t)min_u64(len - at, t->gso_size), less = len - head - n;
		uint32_t seq = (uint32_t)f[tcp + 4] << 24 | (uint32_t)f[tcp + 5] << 16 |
		    (uint32_t)f[tcp + 6] << 8 | f[tcp + 7];
		uint8_t g[WIRE_FRAME];

		memcpy(g, f, head);
		memcpy(g + head, f + at, n);
		seq += at - head;
		for (unsigned i = 0; i < 4; i++)
			g[tcp + 4 + i] = (uint8_t)(seq >> (24 - 8 * i));
		if (at + n < len)
			g[tcp + 13] &= (uint8_t)~0x09;		/* PSH, FIN */
		if (v4) {
			g[16] = (uint8_t)((head + n - 14) >> 8);
			g[17] = (uint8_t)(head + n - 14);
			g[24] = g[25] = 0;
			add_up(g, 34, 14, 10);
		} else {
			g[18] = (uint8_t)((head + n - 54) >> 8);
			g[19] = (uint8_t)(head + n - 54);
		}
		/* The pseudo header is in the field, with the whole length. */
		add16(g + tcp + t->csum_offset, ~less & 0xffff);
		add_up(g, head + n, tcp, t->csum_offset);
		wire_push(&wire_out, g, head + n, world_clock);
	}
	nic.cut += pieces > 1;
}

/* One packet, checked as a device would: how many slots it took. */
static uint32_t
send(uint32_t n)
{
	static uint8_t f[NET_PACKET_MAX];
	struct net_tx t, first;
	uint32_t len = 0, count = 0;

	do {
		if (count == n || count == NET_FRAGMENTS)
			world_fail("a packet without an end");
		t = nic.ring->tx[(nic.tx_tail + count) % NET_SLOTS];
		if (count++ == 0)
			first = t;
		if (t.bytes == 0 || (uint64_t)t.at + t.bytes > nic.area_bytes ||
		    len + t.bytes > sizeof(f))
			world_fail("a packet outside of the area");
		memcpy(f + len, nic.area + t.at, t.bytes);
		len += t.bytes;
	} while ((t.flags & NET_MORE) != 0);
	t = first;
	t.flags &= (uint16_t)~NET_MORE;
	if ((t.flags & ~nic.features) != 0)
		world_fail("a packet that the NIC cannot send");
	note_flow(f, len, t.flow);
	if ((t.flags & (NET_GSO_TCP4 | NET_GSO_TCP6)) != 0) {
		if (!wire.cut)
			cut(f, len, &t);
		return count;
	}
	if (len > 1514)
		world_fail("a packet that is too long");
	if (wire.cut)
		return count;
	if ((t.flags & NET_CSUM) != 0)
		add_up(f, len, t.csum_start, t.csum_offset);
	wire_push(&wire_out, f, len, world_clock);
	return count;
}

static void
answer(uint32_t cookie)
{
	nic.ring->tx_done[nic.tx_done_head++ % NET_SLOTS] =
	    (struct net_tx_done){ .cookie = cookie, .status = OK };
}

static bool
send_all(void)
{
	uint32_t n = load_acquire(&nic.ring->tx_head) - nic.tx_tail, cookies[NET_SLOTS], k = 0;

	if (n > NET_SLOTS)
		world_fail("more packets than the ring holds");
	if (n == 0)
		return false;
	while (n != 0) {
		uint32_t took;

		cookies[k++] = nic.ring->tx[nic.tx_tail % NET_SLOTS].cookie;
		took = send(n);
		nic.tx_tail += took;
		n -= took;
	}
	while (k != 0)
		answer(cookies[--k]);
	store_release(&nic.ring->tx_done_head, nic.tx_done_head);
	return true;
}

/* --- what comes --------------------------------------------------------------------- */

void
world_nic_gives(const struct net_rx *r)
{
	nic.ring->rx[nic.rx_head++ % NET_SLOTS] = *r;
	store_release(&nic.ring->rx_head, nic.rx_head);
}

static bool
receive_all(void)
{
	bool any = false;

	for (; wire_in.n != 0 && load_acquire(&nic.ring->post_head) != nic.post_tail; any = true) {
		const struct net_post *p = &nic.ring->post[nic.post_tail++ % NET_SLOTS];
		struct wire_frame *f = wire_pop(&wire_in);

		if ((uint64_t)p->at + p->bytes > nic.area_bytes || p->bytes < NET_BUFFER_MIN)
			world_fail("a buffer outside of the area");
		if (f->len > p->bytes - NET_HEAD)
			world_fail("a frame that is too long for the buffer");
		memcpy(nic.area + p->at + NET_HEAD, f->bytes, f->len);
		world_nic_gives(&(struct net_rx){
		    .cookie = p->cookie, .first = NET_HEAD, .bytes = f->len });
		free(f);
	}
	return any;
}

bool
world_nic_serve(void)
{
	bool any;

	if (nic.dead && world_clock >= nic.back_ns)
		come_back();
	if (nic.dead || nic.silent || nic.ring == NULL)
		return false;
	any = send_all();
	return receive_all() || any;
}
