/*
 * What goes out: packets of lwIP's into buffers of the packet area.
 *
 * The area can be written by the device, and by a driver that lies: packets are copied into it, and
 * nothing in it is read again.  The sum of TCP is made here, whatever lwIP left in its field: by
 * the device where it adds up what it sends (NET_CSUM), or else while the bytes are copied.
 *
 * Where the device cuts large packets (NET_GSO_*), segments of one connection that lwIP sends one
 * after the other leave as one: headers, and then the bytes of all of them.  lwIP knows nothing of
 * it, so what it does about windows and losses is as ever.  A segment is held until something else
 * comes or the turn ends (out_flush), and continues the packet that is held when it begins where
 * that ends and has the same headers but for PSH; all but the last are of the same length, and that
 * is how the device cuts them.
 *
 * Manual   VIRTIO 1.2, 5.1.6.2: what a device makes of it; RFC 9293, 3.1.
 */
#include "lwip/err.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "usr/tcpip/frame.h"
#include "usr/tcpip/nif.h"

enum { NOBODY = UINT16_MAX, LARGEST = 60000, STARVED = TX_BUFFERS / 4 };

static struct {
	struct net *net;
	uint16_t free[TX_BUFFERS];
	uint32_t frees;
	uint16_t next[TX_BUFFERS];	/* of the same packet */
	bool starved;
	uint64_t packets, bytes;
	struct {
		struct net_tx slot[NET_FRAGMENTS];
		uint32_t slots;		/* 0: nothing is held */
		uint32_t tcp;		/* where TCP begins */
		uint32_t payload;	/* of all slots */
		uint32_t piece;		/* of each but the last */
		uint32_t seq;		/* that comes next */
		bool whole;		/* nothing continues it: the last was shorter */
		uint8_t head[FRAME_HEADERS];	/* what the first begins with */
	} held;
} out;

void
out_begin(struct net *n)
{
	out.net = n;
	out.frees = 0;
	out.held.slots = 0;
	out.starved = false;
	for (uint16_t i = 0; i < TX_BUFFERS; i++)
		out.free[out.frees++] = i;
}

static uint8_t *
bytes_of(uint16_t buffer)
{
	return out.net->base + TX_AT + (uint64_t)buffer * BUFFER;
}

/* Bytes of a chain from one on, and their sum. */
static uint16_t
copy_summed(uint8_t *to, const struct pbuf *p, uint32_t from)
{
	uint64_t sum = 0;
	uint32_t at = 0;

	for (; p != NULL; from -= (uint32_t)min_u64(from, p->len), p = p->next) {
		uint32_t n = p->len - (uint32_t)min_u64(from, p->len);
		uint16_t part;

		if (n == 0)
			continue;
		part = lwip_sum_copy(to + at, (const uint8_t *)p->payload + from, (uint16_t)n);
		sum += (at & 1) != 0 ? swap16(part) : part;
		at += n;
	}
	return frame_fold(sum);
}

static void
copy(uint8_t *to, const struct pbuf *p, uint32_t from, uint32_t len)
{
	(void)pbuf_copy_partial(p, to, (uint16_t)len, (uint16_t)(ETH_PAD_SIZE + from));
}

/* What lies in the field of TCP's sum before the device adds up. */
static void
leave_sum(uint8_t *to, const uint8_t *frame, uint32_t tcp, uint32_t len, struct net_tx *t)
{
	*(frame_half *)(to + tcp + FRAME_TCP_SUM) = frame_fold(frame_pseudo(frame, tcp, len));
	t->flags |= NET_CSUM;
	t->csum_start = (uint16_t)tcp;
	t->csum_offset = FRAME_TCP_SUM;
}

/* What keeps order: a connection's packets go by one queue, whatever they are.  Mixed, as ports of
 * peers are often all even, or all odd. */
static uint16_t
flow_of(const uint8_t *f, uint32_t tcp)
{
	return tcp == 0 ? 0 : (uint16_t)(frame_get32(f + tcp) * 0x9e3779b1u >> 16);
}

/* A packet for itself. */
static void
pack(uint8_t *to, const struct pbuf *p, uint32_t len, uint32_t tcp, struct net_tx *t)
{
	const uint8_t *f = (const uint8_t *)p->payload + ETH_PAD_SIZE;
	uint16_t none;
	uint64_t sum;

	if (tcp == 0 || (out.net->features & NET_CSUM) != 0) {
		copy(to, p, 0, len);
		if (tcp != 0)
			leave_sum(to, f, tcp, len - tcp, t);
		return;
	}
	none = (uint16_t)~*(const frame_half *)(f + tcp + FRAME_TCP_SUM);
	memcpy(to, f, tcp);
	sum = frame_pseudo(f, tcp, len - tcp) + none;
	sum += copy_summed(to + tcp, p, ETH_PAD_SIZE + tcp);
	*(frame_half *)(to + tcp + FRAME_TCP_SUM) = (uint16_t)~frame_fold(sum);
}

static void
put(const struct net_tx *slots, uint32_t count, uint32_t bytes)
{
	if (net_put(out.net, slots, count) == OK) {
		out.packets++;
		out.bytes += bytes;
		return;
	}
	/* There was room when it was made: cannot be. */
	tcpip.tx_dropped++;
	for (uint16_t b = (uint16_t)slots[0].cookie; b != NOBODY; b = out.next[b])
		out.free[out.frees++] = b;
}

void
out_flush(void)
{
	uint32_t tcp = out.held.tcp, len = FRAME_TCP + out.held.payload;
	struct net_tx *t = &out.held.slot[0];
	uint8_t *f = out.held.head, *to;

	if (out.held.slots == 0)
		return;
	to = bytes_of((uint16_t)t->cookie);
	if (out.held.slots > 1) {
		if (tcp == FRAME_MAC + FRAME_V4) {
			frame_put16(f + FRAME_MAC + 2, FRAME_V4 + len);
			frame_put16(f + FRAME_MAC + 10, 0);
			*(frame_half *)(f + FRAME_MAC + 10) =
			    (uint16_t)~frame_fold(frame_sum(f + FRAME_MAC, FRAME_V4 / 4));
			t->flags = NET_GSO_TCP4;
		} else {
			frame_put16(f + FRAME_MAC + 4, len);
			t->flags = NET_GSO_TCP6;
		}
		t->gso_size = (uint16_t)out.held.piece;
		t->header_bytes = (uint16_t)(tcp + FRAME_TCP);
		memcpy(to, f, tcp + FRAME_TCP);
	}
	leave_sum(to, f, tcp, len, t);
	t->flow = flow_of(f, tcp);
	put(out.held.slot, out.held.slots, tcp + len);
	out.held.slots = 0;
}

/* Bytes of payload that could be a part of a large packet; 0: it goes for itself. */
static uint32_t
payload_of(const uint8_t *f, uint32_t len, uint32_t tcp)
{
	uint32_t feature = tcp == FRAME_MAC + FRAME_V4 ? NET_GSO_TCP4 : NET_GSO_TCP6;

	if (tcp == 0 || (out.net->features & (NET_CSUM | feature)) != (NET_CSUM | feature) ||
	    f[tcp + 12] >> 4 != FRAME_TCP / 4 || (f[tcp + 13] & ~FRAME_PSH) != FRAME_ACK)
		return 0;
	return len - tcp - FRAME_TCP;
}

/* The same headers, but for lengths, sums, the packet's number, and PSH; and it begins where that
 * ends. */
static bool
continues(const uint8_t *f, uint32_t tcp, uint32_t payload)
{
	const uint8_t *h = out.held.head;

	if (out.held.slots == 0 || out.held.whole || out.held.slots == NET_FRAGMENTS ||
	    tcp != out.held.tcp || payload > out.held.piece ||
	    out.held.payload + payload > LARGEST || frame_get32(f + tcp + 4) != out.held.seq)
		return false;
	if (memcmp(h, f, FRAME_MAC + 2) != 0 || memcmp(h + tcp, f + tcp, 4) != 0 ||
	    memcmp(h + tcp + 8, f + tcp + 8, 4) != 0 || memcmp(h + tcp + 14, f + tcp + 14, 2) != 0)
		return false;
	if (tcp == FRAME_MAC + FRAME_V4)
		return h[FRAME_MAC + 8] == f[FRAME_MAC + 8] &&
		    memcmp(h + FRAME_MAC + 12, f + FRAME_MAC + 12, 8) == 0;
	return memcmp(h + FRAME_MAC + 2, f + FRAME_MAC + 2, 2) == 0 &&
	    memcmp(h + FRAME_MAC + 6, f + FRAME_MAC + 6, 34) == 0;
}

/* A segment into a buffer, held back. */
static void
hold(const struct pbuf *p, uint32_t len, uint32_t tcp, uint32_t payload, uint16_t b)
{
	const uint8_t *f = (const uint8_t *)p->payload + ETH_PAD_SIZE;
	struct net_tx *t;

	if (!continues(f, tcp, payload)) {
		out_flush();
		out.held.tcp = tcp;
		out.held.payload = 0;
		out.held.piece = payload;
		memcpy(out.held.head, f, tcp + FRAME_TCP);
		copy(bytes_of(b), p, 0, len);
	} else {
		len = payload;
		out.held.head[tcp + 13] |= f[tcp + 13];
		copy(bytes_of(b), p, tcp + FRAME_TCP, len);
		out.next[out.held.slot[out.held.slots - 1].cookie] = b;
	}
	t = &out.held.slot[out.held.slots++];
	*t = (struct net_tx){ .cookie = b, .at = TX_AT + (uint32_t)b * BUFFER, .bytes = len };
	out.held.payload += payload;
	out.held.seq = frame_get32(f + tcp + 4) + payload;
	out.held.whole = payload < out.held.piece;
}

int8_t
out_packet(const struct pbuf *p)
{
	const uint8_t *f = (const uint8_t *)p->payload + ETH_PAD_SIZE;
	uint32_t len = p->tot_len - ETH_PAD_SIZE, tcp, payload;
	struct net_tx t = { .bytes = len };
	uint16_t b;

	if (unlikely(len > BUFFER || p->len < ETH_PAD_SIZE))
		return ERR_IF;
	if (unlikely(out.frees == 0 || net_room(out.net) <= out.held.slots)) {
		out.starved = true;
		return ERR_MEM;
	}
	b = out.free[--out.frees];
	out.next[b] = NOBODY;
	tcp = frame_tcp(f, p->len - ETH_PAD_SIZE);
	payload = payload_of(f, len, tcp);
	if (payload != 0) {
		hold(p, len, tcp, payload, b);
		return ERR_OK;
	}
	out_flush();
	t.cookie = b;
	t.at = TX_AT + (uint32_t)b * BUFFER;
	t.flow = flow_of(f, tcp);
	pack(bytes_of(b), p, len, tcp, &t);
	put(&t, 1, len);
	return ERR_OK;
}

bool
out_sent(void)
{
	enum status s;
	uint32_t first;
	bool any = false;

	while (net_next_sent(out.net, &first, &s)) {
		any = true;
		if (s != OK)
			tcpip.tx_dropped++;
		for (uint32_t b = first; b < TX_BUFFERS && out.frees < TX_BUFFERS; b = out.next[b])
			out.free[out.frees++] = (uint16_t)b;
	}
	/* Who found no room did not ask to be called again. */
	if (out.starved && out.frees >= STARVED) {
		out.starved = false;
		tcp_txnow();
	}
	return any;
}

void
out_counts(uint64_t *packets, uint64_t *bytes)
{
	*packets = out.packets;
	*bytes = out.bytes;
}
