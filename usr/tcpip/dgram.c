/*
 * UDP sockets.  Rings hold datagrams, each behind a struct sock_datagram and filled up to a
 * multiple of 8; both may go over a ring's end.  What finds no room is dropped, as a network may.
 */
#include "kern/base/bits.h"
#include "lwip/udp.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/tcpip.h"

static uint32_t
record(uint32_t len)
{
	return (uint32_t)align_up(sizeof(struct sock_datagram) + len, 8);
}

/* Into a ring, over its end. */
static void
ring_put(uint8_t *ring, uint32_t size, uint32_t at, const void *from, uint32_t len)
{
	uint32_t first = (uint32_t)min_u64(len, size - (at & (size - 1)));

	memcpy(ring + (at & (size - 1)), from, first);
	memcpy(ring, (const uint8_t *)from + first, len - first);
}

static void
ring_get(const uint8_t *ring, uint32_t size, uint32_t at, void *to, uint32_t len)
{
	uint32_t first = (uint32_t)min_u64(len, size - (at & (size - 1)));

	memcpy(to, ring + (at & (size - 1)), first);
	memcpy((uint8_t *)to + first, ring, len - first);
}

static void
came(void *arg, struct udp_pcb *pcb UNUSED, struct pbuf *p, const ip_addr_t *from, uint16_t port)
{
	struct socket *s = arg;
	struct sock_datagram d = { .peer = addr_of_lwip(from), .port = port, .len = p->tot_len };
	uint32_t at = s->rx_head + sizeof(d);

	if (!socket_read_tail(s)) {
		pbuf_free(p);
		socket_state(s, SOCK_ENDED, E_CORRUPT);
		return;
	}
	if (record(p->tot_len) > s->rx_bytes - (s->rx_head - s->rx_tail)) {
		tcpip.rx_dropped++;
		pbuf_free(p);
		return;
	}
	ring_put(s->rx, s->rx_bytes, s->rx_head, &d, sizeof(d));
	for (const struct pbuf *q = p; q != NULL; q = q->next) {
		ring_put(s->rx, s->rx_bytes, at, q->payload, q->len);
		at += q->len;
	}
	s->rx_head += record(p->tot_len);
	pbuf_free(p);
	store_release(&s->ring->rx_head, s->rx_head);
	socket_news(s);
}

enum status
dgram_bind(struct socket *s, uint16_t *port)
{
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_ANY);

	if (pcb == NULL)
		return E_NO_MEMORY;
	if (udp_bind(pcb, IP_ANY_TYPE, *port) != ERR_OK) {
		udp_remove(pcb);
		return E_BUSY;
	}
	s->udp = pcb;
	*port = pcb->local_port;
	udp_recv(pcb, came, s);
	return OK;
}

/* False: what is there is no datagram. */
static bool
send_one(struct socket *s)
{
	struct sock_datagram d;
	struct pbuf *p;
	ip_addr_t to;
	uint32_t there = s->tx_head - s->tx_tail, at = s->tx_tail + sizeof(d);

	if (there < sizeof(d))
		return false;
	ring_get(s->tx, s->tx_bytes, s->tx_tail, &d, sizeof(d));
	if (d.len > SOCK_DATAGRAM_MAX || record(d.len) > there)
		return false;
	p = pbuf_alloc(PBUF_TRANSPORT, d.len, PBUF_RAM);
	if (p != NULL) {
		ring_get(s->tx, s->tx_bytes, at, p->payload, d.len);
		addr_to_lwip(&d.peer, &to);
		if (udp_sendto(s->udp, p, &to, d.port) != ERR_OK)
			tcpip.tx_dropped++;
		pbuf_free(p);
	} else {
		tcpip.tx_dropped++;
	}
	s->tx_tail += record(d.len);
	return true;
}

void
dgram_turn(struct socket *s)
{
	if (s->state != SOCK_OPEN)
		return;
	if (!socket_read_tail(s) || !socket_read_head(s)) {
		socket_state(s, SOCK_ENDED, E_CORRUPT);
		return;
	}
	while (s->tx_tail != s->tx_head) {
		if (!send_one(s)) {
			s->error = E_CORRUPT;
			socket_state(s, SOCK_ENDED, E_CORRUPT);
			return;
		}
	}
	store_release(&s->ring->tx_tail, s->tx_tail);
	smp_full();
	if (load_relaxed(&s->ring->tx_wanted) != 0)
		socket_news(s);
}

void
dgram_close(struct socket *s)
{
	dgram_turn(s);			/* what was written goes out */
	udp_remove(s->udp);
	s->udp = NULL;
	socket_free(s);
}

void dgram_entry(const struct socket *s, struct sock_entry *out) { out->port = s->udp->local_port; }
