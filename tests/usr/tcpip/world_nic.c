/*
 * The world of a TCP/IP service: the NIC's server.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/usr/tcpip/world_parts.h"

static struct {
	bool dead;
	uint64_t back_ns;
	struct net_post post[NET_SLOTS];
	uint32_t posts, posted;
	uint32_t done[NET_SLOTS], dones;
	uint32_t cut;			/* large packets */
	uint8_t *area;
} nic;

uint32_t world_cut(void) { return nic.cut; }

enum status
net_open(struct net *n, handle_t endpoint, handle_t area MAYBE, void *base, uint64_t area_bytes,
    handle_t ntfn MAYBE, uint64_t bits MAYBE)
{
	if (endpoint != WORLD_NIC)
		world_fail("another NIC");
	*n = (struct net){ .mtu = 1500, .mac = { 2, 0, 0, 0, 0, world_far_side ? 2 : 1 } };
	n->features = wire.features;
	n->base = base;
	n->area_bytes = area_bytes;
	nic.area = base;
	n->ring = calloc(1, sizeof(*n->ring));
	n->ring->link = 1;
	return OK;
}

void net_look(struct net *n MAYBE) {}
void net_close(struct net *n) { free(n->ring); n->ring = NULL; }

enum status
net_turn(struct net *n)
{
	if (!nic.dead)
		return OK;
	if (world_clock < nic.back_ns)
		return E_PEER;
	nic.dead = false;
	n->restarts++;
	n->ring->link += 4;
	return OK;
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

enum status
net_put(struct net *n, const struct net_tx *t, uint32_t count)
{
	static uint8_t f[NET_PACKET_MAX];
	uint32_t len = 0, gso = t->flags & (NET_GSO_TCP4 | NET_GSO_TCP6);

	if (count == 0 || count > NET_FRAGMENTS || (t->flags & ~n->features) != 0)
		world_fail("a packet that the NIC cannot send");
	for (uint32_t i = 0; i < count; i++) {
		if (t[i].bytes == 0 || (uint64_t)t[i].at + t[i].bytes > n->area_bytes ||
		    len + t[i].bytes > sizeof(f))
			world_fail("a packet outside of the area");
		memcpy(f + len, n->base + t[i].at, t[i].bytes);
		len += t[i].bytes;
	}
	if (gso == 0 && len > 1514)
		world_fail("a packet that is too long");
	if (NET_SLOTS - nic.dones < count)
		return E_WOULD_BLOCK;
	if (!nic.dead && !wire.cut && gso != 0) {
		cut(f, len, t);
	} else if (!nic.dead && !wire.cut) {
		if ((t->flags & NET_CSUM) != 0)
			add_up(f, len, t->csum_start, t->csum_offset);
		wire_push(&wire_out, f, len, world_clock);
	}
	nic.done[nic.dones++] = t->cookie;
	return OK;
}

enum status
net_post(struct net *n, uint32_t at, uint32_t bytes, uint32_t cookie)
{
	if (nic.posts - nic.posted == NET_SLOTS)
		return E_WOULD_BLOCK;
	if ((uint64_t)at + bytes > n->area_bytes || bytes < NET_BUFFER_MIN)
		world_fail("a buffer outside of the area");
	nic.post[nic.posts++ % NET_SLOTS] =
	    (struct net_post){ .cookie = cookie, .at = at, .bytes = bytes };
	return OK;
}

bool
net_next_sent(struct net *n MAYBE, uint32_t *cookie, enum status *s)
{
	if (nic.dones == 0)
		return false;
	*cookie = nic.done[--nic.dones];
	*s = OK;
	return true;
}

bool
net_next_rx(struct net *n, struct net_rx *r)
{
	const struct net_post *p = &nic.post[nic.posted % NET_SLOTS];
	struct wire_frame *f;

	if (wire_in.n == 0 || nic.posts == nic.posted)
		return false;
	f = wire_pop(&wire_in);
	nic.posted++;
	*r = (struct net_rx){ .cookie = p->cookie, .first = NET_HEAD, .bytes = f->len };
	if (f->len > p->bytes - NET_HEAD)
		world_fail("a frame that is too long for the buffer");
	memcpy(n->base + p->at + NET_HEAD, f->bytes, f->len);
	free(f);
	return true;
}

void net_kick(struct net *n MAYBE) {}

bool
net_may_sleep(struct net *n MAYBE, handle_t *h MAYBE, uint64_t *b MAYBE)
{
	return wire_in.n == 0;
}

void net_woke(struct net *n MAYBE) {}

void
world_kill_nic(uint64_t for_ns)
{
	nic.dead = true;
	nic.back_ns = world_clock + for_ns;
	while (wire_in.n != 0)
		free(wire_pop(&wire_in));
}

bool world_nic_dead(void) { return nic.dead; }
uint64_t world_nic_next(void) { return nic.dead ? nic.back_ns : DEADLINE_NEVER; }
