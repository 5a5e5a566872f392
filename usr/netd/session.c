/*
 * The session: a client's ring and its packet area.
 *
 * The ring is the client's to write.  Indices and slots are read once and judged (net.h).  What an
 * honest client can run into is answered with a status; indices that cannot be, and buffers that
 * are none, end the session, and nothing of it is believed any more.  What the device has no room
 * for stays in the ring until something comes back.
 *
 * A received packet is shown when all its buffers are there.  When the device is reset in between,
 * they go to the device again as if nothing had been in them.
 *
 * When a session ends the device is reset first: it has buffers to receive into, and gives them
 * back only then.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/netd/netd.h"

enum { NOBODY = UINT16_MAX, ETHERNET = 14, VLAN = 4 };
enum : uint64_t { ALONE_NS = 5 * NS_PER_S };	/* how long a session may be without its keeper */

/* Nothing of this ring is believed any more; what is with the device ends as usual. */
static COLD void
refuse(const char *why)
{
	struct session *s = &server.session;

	s->refused = true;
	server.sessions_refused++;
	complain("the session is refused: %s", why);
	store_relaxed(&s->ring->refused, E_CORRUPT);
	s->answered = true;
}

static ALWAYS_INLINE void
answer_tx(uint32_t cookie, enum status status)
{
	struct session *s = &server.session;
	struct net_tx_done *d = &s->ring->tx_done[s->tx_done_head % NET_SLOTS];

	*d = (struct net_tx_done){ .cookie = cookie, .status = status };
	s->tx_done_head++;
	s->answered = true;
	if (unlikely(status != OK))
		server.tx_failed++;
}

/* --- to be sent --------------------------------------------------------------- */

/* A packet as the client describes it, against what the area holds and the device can. */
static ALWAYS_INLINE enum status
judge(const struct net_tx *t, uint32_t total, struct vnet_ask *ask)
{
	uint16_t flags = t->flags & (uint16_t)~NET_MORE,
		 gso = flags & (NET_GSO_TCP4 | NET_GSO_TCP6);

	*ask = (struct vnet_ask){ 0 };
	if (likely(flags == 0))
		return total >= ETHERNET && total <= server.net.mtu + ETHERNET + VLAN + 0u ? OK :
											   E_RANGE;
	if ((flags & ~server.features) != 0 || (flags & NET_CSUM) == 0 ||
	    gso == (NET_GSO_TCP4 | NET_GSO_TCP6) || ((flags & NET_ECN) != 0 && gso == 0))
		return E_UNSUPPORTED;
	if (t->csum_start < ETHERNET || t->csum_start + t->csum_offset + 2u > total)
		return E_RANGE;
	ask->flags = NET_HDR_F_NEEDS_CSUM;
	ask->csum_start = t->csum_start;
	ask->csum_offset = t->csum_offset;
	if (gso == 0)
		return total >= ETHERNET && total <= server.net.mtu + ETHERNET + VLAN + 0u ? OK :
											   E_RANGE;
	if (total > NET_PACKET_MAX || t->gso_size == 0 || t->header_bytes <= t->csum_start ||
	    t->header_bytes > t->bytes || t->header_bytes >= total ||
	    t->header_bytes + t->gso_size > server.net.mtu + ETHERNET + VLAN + 0u)
		return E_RANGE;
	ask->gso_type = (uint8_t)((gso == NET_GSO_TCP4 ? NET_HDR_GSO_TCPV4 : NET_HDR_GSO_TCPV6) |
	    ((flags & NET_ECN) != 0 ? NET_HDR_GSO_ECN : 0));
	ask->gso_size = t->gso_size;
	ask->header_bytes = t->header_bytes;
	return OK;
}

/*
 * One packet of at most n slots to the device, or answered: how many slots it took.  0: there is no
 * room for it now, or its end is not there yet.
 */
static ALWAYS_INLINE uint32_t
take_packet(uint32_t n)
{
	struct session *s = &server.session;
	struct virtq_part parts[NET_FRAGMENTS];
	struct net_tx first = { 0 };
	struct vnet_ask ask;
	struct vnet_pair *p;
	struct sending *e;
	uint32_t count = 0, total = 0;
	bool good = true, more = true;
	enum status r;

	while (more) {
		const struct net_tx *from = &s->ring->tx[(s->tx_tail + count) % NET_SLOTS];
		struct net_tx t;

		if (count == n)
			return 0;
		if (unlikely(count == NET_FRAGMENTS)) {
			refuse("a packet has more parts than it may have");
			return 0;
		}
		memcpy(&t, from, sizeof(t));
		__asm__ volatile("" ::: "memory");	/* read once */
		if (count == 0)
			first = t;
		good &= t.bytes != 0 && range_within(t.at, t.bytes, 0, s->area_bytes);
		parts[count] =
		    (struct virtq_part){ { s->area.iova.v + t.at }, good ? t.bytes : 0 };
		total += good ? (uint32_t)min_u64(t.bytes, 2 * NET_PACKET_MAX) : 0;
		more = (t.flags & NET_MORE) != 0;
		count++;
	}
	r = good ? judge(&first, total, &ask) : E_RANGE;
	if (unlikely(r != OK)) {
		answer_tx(first.cookie, r);
		return count;
	}
	p = &server.net.pair[server.net.pair_count == 1 ? 0 : first.flow % server.net.pair_count];
	if (s->free_sending == NOBODY)
		return 0;
	r = vnet_send(p, parts, count, &ask, s->free_sending);
	if (r != OK)
		return 0;
	e = &s->sending[s->free_sending];
	s->free_sending = e->next;
	e->cookie = first.cookie;
	e->bytes = total;
	e->slots = (uint16_t)count;
	s->tx_slots += count;
	return count;
}

static ALWAYS_INLINE void
take_tx(void)
{
	struct session *s = &server.session;
	uint32_t n, took, unread;

	s->tx_seen = load_acquire(&s->ring->tx_head);
	n = s->tx_seen - s->tx_tail;
	if (n == 0)
		return;
	/* An honest client has read the answers before it used their slots again: done_tail, read
	 * after head, is not too old. */
	unread = s->tx_done_head - load_relaxed(&s->ring->tx_done_tail);
	if (unlikely(n > NET_SLOTS || unread > NET_SLOTS || n + s->tx_slots + unread > NET_SLOTS)) {
		refuse("it claims more packets than its ring holds");
		return;
	}
	while (n != 0 && (took = take_packet(n)) != 0) {
		s->tx_tail += took;
		n -= took;
	}
}

void
session_sent(struct vnet_pair *p)
{
	struct session *s = &server.session;
	struct virtq_done d;

	while (virtq_take(&p->tx, &d)) {
		struct sending *e = &s->sending[d.cookie];

		answer_tx(e->cookie, OK);
		server.tx_packets++;
		server.pair[p - server.net.pair].tx_packets++;
		server.tx_bytes += e->bytes;
		s->tx_slots -= e->slots;
		e->slots = 0;
		e->next = s->free_sending;
		s->free_sending = (uint16_t)d.cookie;
	}
}

/* --- to receive into ------------------------------------------------------------ */

/* The pair with the fewest buffers. */
static ALWAYS_INLINE struct vnet_pair *
emptiest(void)
{
	struct vnet_pair *best = &server.net.pair[0];

	for (uint32_t i = 1; i < server.net.pair_count; i++)
		if (server.net.pair[i].rx.outstanding < best->rx.outstanding)
			best = &server.net.pair[i];
	return best;
}

static ALWAYS_INLINE bool
give(uint32_t index)
{
	const struct session *s = &server.session;
	const struct receiving *e = &s->receiving[index];
	struct iova at = { s->area.iova.v + e->at + NET_HEAD };

	return vnet_post(emptiest(), at, e->bytes - NET_HEAD, index) == OK;
}

static ALWAYS_INLINE void
take_posts(void)
{
	struct session *s = &server.session;
	uint32_t n, unread;

	s->post_seen = load_acquire(&s->ring->post_head);
	n = s->post_seen - s->post_tail;
	if (n == 0)
		return;
	unread = s->rx_whole - load_relaxed(&s->ring->rx_tail);
	if (unlikely(n > NET_SLOTS || unread > NET_SLOTS || n + s->posts + unread > NET_SLOTS)) {
		refuse("it claims more buffers than its ring holds");
		return;
	}
	for (; n != 0 && s->free_receiving != NOBODY; n--) {
		const struct net_post *from = &s->ring->post[s->post_tail % NET_SLOTS];
		struct receiving *e = &s->receiving[s->free_receiving];
		uint16_t next = e->next;

		e->cookie = once_load(&from->cookie);
		e->at = once_load(&from->at);
		e->bytes = once_load(&from->bytes);
		if (unlikely(e->bytes < NET_BUFFER_MIN || e->bytes > 65536 ||
			!range_within(e->at, e->bytes, 0, s->area_bytes))) {
			refuse("a buffer is none that it may have");
			return;
		}
		if (!give(s->free_receiving))
			return;
		e->busy = true;
		s->free_receiving = next;
		s->posts++;
		s->post_tail++;
	}
}

/* What the device says of a packet whose first part has so many bytes. */
static ALWAYS_INLINE void
describe(const struct vnet_ask *says, uint32_t bytes, struct net_rx *r)
{
	uint8_t gso = says->gso_type & (uint8_t)~NET_HDR_GSO_ECN;

	if (likely(says->flags == 0 && says->gso_type == 0))
		return;
	if ((says->flags & NET_HDR_F_DATA_VALID) != 0)
		r->flags |= NET_CSUM_OK;
	/* Headers lie in the first buffer: it holds at least NET_BUFFER_MIN. */
	if ((says->flags & NET_HDR_F_NEEDS_CSUM) != 0 &&
	    says->csum_start + says->csum_offset + 2u <= bytes) {
		r->flags |= NET_CSUM;
		r->csum_start = says->csum_start;
		r->csum_offset = says->csum_offset;
	}
	if (gso == NET_HDR_GSO_TCPV4 || gso == NET_HDR_GSO_TCPV6) {
		r->flags |= gso == NET_HDR_GSO_TCPV4 ? NET_GSO_TCP4 : NET_GSO_TCP6;
		if ((says->gso_type & NET_HDR_GSO_ECN) != 0)
			r->flags |= NET_ECN;
		r->gso_size = says->gso_size;
	}
}

/* All buffers of the packet are there. */
static ALWAYS_INLINE void
whole(const struct vnet_pair *p)
{
	struct session *s = &server.session;

	for (; s->rx_whole != s->rx_head; s->rx_whole++) {
		uint16_t i = (uint16_t)s->parts[s->rx_whole % NET_SLOTS];

		s->receiving[i].busy = false;
		s->receiving[i].next = s->free_receiving;
		s->free_receiving = i;
		s->posts--;
	}
	server.rx_packets++;
	server.pair[p - server.net.pair].rx_packets++;
	server.rx_bytes += s->packet_bytes;
	s->packet_bytes = 0;
	s->answered = true;
}

void
session_received(struct vnet_pair *p)
{
	struct session *s = &server.session;
	struct vnet_got g;

	while (vnet_take(p, &g)) {
		struct net_rx *to = &s->ring->rx[s->rx_head % NET_SLOTS], r = { 0 };

		r.cookie = s->receiving[g.cookie].cookie;
		r.bytes = g.bytes + g.lead_bytes;
		r.first = NET_HEAD;
		if (!g.first) {
			r.first = NET_HEAD - NET_LEAD;
			memcpy(r.lead, g.lead, NET_LEAD);
		} else {
			describe(&g.says, g.bytes, &r);
		}
		r.flags |= g.last ? 0 : NET_MORE;
		*to = r;
		s->parts[s->rx_head % NET_SLOTS] = (uint16_t)g.cookie;
		s->packet_bytes += r.bytes;
		s->rx_head++;
		if (g.last)
			whole(p);
	}
}

/* --- both ------------------------------------------------------------------------- */

void
session_take(void)
{
	if (server.session.id == 0 || unlikely(server.session.refused || server.session.closing))
		return;
	take_posts();
	if (likely(!server.session.refused))
		take_tx();
}

void
session_publish(void)
{
	struct session *s = &server.session;

	if (!s->answered)
		return;
	s->answered = false;
	for (uint32_t i = 0; i < server.net.pair_count; i++)
		s->ring->pair[i] = server.pair[i];
	store_release(&s->ring->tx_done_head, s->tx_done_head);
	store_release(&s->ring->rx_head, s->rx_whole);
	smp_full();
	if (load_relaxed(&s->ring->client_sleeps) != 0)
		(void)sys_ntfn_signal(s->client, s->client_bits);
}

void
session_again(void)
{
	struct session *s = &server.session;

	if (s->id == 0)
		return;
	s->rx_head = s->rx_whole;
	s->packet_bytes = 0;
	for (uint32_t i = 0; i < NET_SLOTS; i++) {
		struct sending *e = &s->sending[i];

		if (e->slots == 0)
			continue;
		answer_tx(e->cookie, E_IO);
		s->tx_slots -= e->slots;
		e->slots = 0;
		e->next = s->free_sending;
		s->free_sending = (uint16_t)i;
	}
	if (s->closing)
		return;
	/* There is room: as many were with the device before. */
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		if (s->receiving[i].busy && !give(i))
			die("the device has less room than before");
}

static void
drop_ring(struct session *s)
{
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring, NET_RING_PAGES * PAGE_SIZE);
	(void)sys_handle_close(s->ring_memory);
}

void
session_end(void)
{
	struct session *s = &server.session;
	struct msg end = { .token = s->stay };
	enum status e;

	s->closing = true;
	if (s->posts != 0 || s->tx_slots != 0)
		recover(NULL);
	e = drv_revoke(&server.device, &s->area);
	if (e != OK)
		log_line(1, "the packet area stays out of use: %s", status_text(e));
	if (s->stays)
		(void)msg_reply(&end);		/* a keeper that is gone needs no answer */
	(void)sys_handle_close(s->area.memory);
	(void)sys_handle_close(s->client);
	drop_ring(s);
	*s = (struct session){ 0 };
}

/*
 * Nobody tells a server that a client died, but the call that its keeper stays in can tell: the
 * answer "again" reaches nobody.  A living keeper calls again at once.
 */
void
session_probe(void)
{
	struct session *s = &server.session;
	struct msg again = { .label = E_WOULD_BLOCK, .token = s->stay };
	uint64_t now = now_ns();
	bool gone;

	if (s->id == 0)
		return;
	gone = s->stays ? msg_reply(&again) != OK : now - s->alone_ns > ALONE_NS;
	if (s->stays)
		s->alone_ns = now;
	s->stays = false;
	if (gone) {
		complain("the session ends: its client is gone");
		session_end();
	}
}

static enum status
judge_open(const struct msg *m)
{
	uint64_t pages, flags, type_rights, badge;
	enum status e;

	if ((m->handles & 3) != 3 || m->w[3] == 0 || m->w[3] > UINT32_MAX)
		return E_INVALID;
	e = sys_mem_info(m->w[0], &pages, &flags);
	if (e != OK || pages < pages_of(m->w[3]))
		return E_INVALID;
	e = sys_handle_info(m->w[1], &type_rights, &badge);
	if (e != OK || (uint32_t)type_rights != OBJ_NOTIFICATION ||
	    (type_rights >> 32 & RIGHT_SIGNAL) == 0)
		return E_INVALID;
	return OK;
}

enum status
session_open(struct msg *m)
{
	struct session *s = &server.session;
	struct drv_memory area;
	struct net_ring *ring;
	handle_t ring_memory;
	uint64_t shared;
	enum status e;

	if (s->id != 0)
		return E_BUSY;
	e = judge_open(m);
	if (e != OK)
		return e;
	/* The ring is the server's own: a client could take memory of its own away while it is used
	 * here. */
	ring = pages_alloc(NET_RING_PAGES, &ring_memory);
	if (ring == NULL)
		return E_NO_MEMORY;
	*s = (struct session){ .ring = ring, .ring_memory = ring_memory };
	e = sys_handle_dup(ring_memory, RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE, &shared);
	if (e == OK) {
		e = drv_grant(
		    &server.device, (uint32_t)m->w[0], m->w[3], DMA_BOTH, false, &area);
		if (e != OK)
			(void)sys_handle_close(shared);
	}
	if (e != OK) {
		drop_ring(s);
		return e;
	}
	s->area = area;
	s->area_bytes = m->w[3];
	s->client = (handle_t)m->w[1];
	s->client_bits = m->w[4];
	s->badge = m->badge;
	s->alone_ns = now_ns();
	s->free_sending = s->free_receiving = 0;
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		s->sending[i].next = s->receiving[i].next =
		    (uint16_t)(i + 1 < NET_SLOTS ? i + 1 : NOBODY);
	s->id = ++server.next_id;
	ring->link = server.link;
	ring->pairs = server.net.pair_count;
	memcpy(&ring->mac, server.net.mac, sizeof(server.net.mac));
	m->w[0] = server.signal;
	m->w[1] = shared;
	m->handles = 3;
	m->w[2] = s->id;
	m->w[3] = (uint64_t)server.net.mtu << 48;
	memcpy(&m->w[3], server.net.mac, sizeof(server.net.mac));
	m->w[4] = server.features;
	m->w[5] = BIT_SESSION;
	return OK;
}
