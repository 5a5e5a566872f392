/*
 * TCP sockets: between lwIP's connections and rings.
 *
 * In     What lwIP hands up is copied into the rx ring; what finds no room is held as it came.
 *        The peer's window is the room in the ring: it opens as the client consumes.  A connection
 *        begins with FIRST_WINDOW, before anybody knows the ring's size; then the window grows by
 *        what the ring has more, or what it has less does not open again ("withheld").  So no more
 *        than the larger of both is ever held for a client that does not read.
 * Out    lwIP takes copies of bytes from the tx ring as its send buffer has room: what is in the
 *        ring later does not matter to what is sent.
 * End    A socket that its client closed goes on alone until the rest is with lwIP, which sends it
 *        and the end by itself.  Whoever lingers too long is reset.
 *
 * Begun  Who only begins connections, from addresses that are not his, must not keep others out
 *        until lwIP gives them up after 20 s.  A listener has room for HALF_OPEN of them beside
 *        those that wait to be accepted, and between packets all but the newest HALF_OPEN_KEPT go:
 *        whoever means it has answered by then.
 *
 * A callback of lwIP's that ends its connection by tcp_abort returns ERR_ABRT; elsewhere lwIP does
 * not know the connection any more once the callbacks are taken off.
 */
#include "kern/base/bits.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/tcpip.h"

enum { WRITE_AT_ONCE = 32 * 1024, HALF_OPEN = 96, HALF_OPEN_KEPT = 32 };

static enum status
status_of(err_t e)
{
	switch (e) {
	case ERR_OK:
	case ERR_CLSD:
		return OK;
	case ERR_MEM:
	case ERR_BUF:
		return E_NO_MEMORY;
	case ERR_TIMEOUT:
	case ERR_ABRT:
		return E_TIMED_OUT;
	case ERR_RTE:
		return E_NOT_FOUND;
	case ERR_USE:
		return E_BUSY;
	case ERR_RST:
		return E_CANCELLED;
	case ERR_WOULDBLOCK:
	case ERR_INPROGRESS:
		return E_WOULD_BLOCK;
	case ERR_IF:
		return E_IO;
	}
	return E_INVALID;
}

/* lwIP goes on without us. */
static void
let_go(struct socket *s)
{
	struct tcp_pcb *pcb = s->tcp;

	if (pcb == NULL)
		return;
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	s->tcp = NULL;
}

static err_t received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t e);
static err_t sent(void *arg, struct tcp_pcb *pcb, uint16_t len);
static void failed(void *arg, err_t e);

static void
take_over(struct socket *s, struct tcp_pcb *pcb)
{
	s->tcp = pcb;
	tcp_arg(pcb, s);
	tcp_recv(pcb, received);
	tcp_sent(pcb, sent);
	tcp_err(pcb, failed);
	tcp_nagle_disable(pcb);
	ip_set_option(pcb, SOF_KEEPALIVE);
}

static void
cut(struct socket *s)
{
	struct tcp_pcb *pcb = s->tcp;

	if (pcb == NULL)
		return;
	let_go(s);
	tcp_abort(pcb);
}

static void
drop_held(struct socket *s)
{
	if (s->held != NULL)
		pbuf_free(s->held);
	s->held = NULL;
}

/* Out of its listener's queue, or of those that linger. */
static void
unlink_socket(struct socket *s)
{
	struct socket **p = NULL;

	if (s->listener != NULL)
		p = &s->listener->first;
	else if (s->session == NULL)
		p = &tcpip.lingering;
	if (p == NULL)
		return;
	while (*p != NULL && *p != s)
		p = &(*p)->next;
	if (*p == NULL)
		return;
	*p = s->next;
	if (s->listener != NULL) {
		struct socket *l = s->listener;

		if (s->next == NULL)
			l->last = p;
		store_relaxed(&l->ring->waiting, --l->waiting);
		s->listener = NULL;
	}
}

static void
drop(struct socket *s)
{
	cut(s);
	drop_held(s);
	unlink_socket(s);
	socket_free(s);
}

/* The connection is over, for the client to see.  Who has no client goes. */
static void
ended(struct socket *s, enum status why)
{
	if (s->session == NULL) {
		drop(s);
		return;
	}
	socket_state(s, SOCK_ENDED, why);
}

/* The client broke the rules of its ring. */
static void
outlaw(struct socket *s)
{
	cut(s);
	drop_held(s);
	ended(s, E_CORRUPT);
}

/* --- in --------------------------------------------------------------------------- */

/* What the client has consumed opens the window.  False: its index cannot be. */
static bool
open_window(struct socket *s)
{
	uint32_t old = s->rx_tail, n, keep;

	if (!socket_read_tail(s))
		return false;
	n = s->rx_tail - old;
	keep = (uint32_t)min_u64(n, s->withheld);
	s->withheld -= keep;
	n -= keep;
	while (n != 0 && s->tcp != NULL) {
		uint16_t part = (uint16_t)min_u64(n, UINT16_MAX);

		tcp_recved(s->tcp, part);
		n -= part;
	}
	return true;
}

/* From what is held into the ring. */
static void
deliver(struct socket *s)
{
	uint32_t room = s->rx_bytes - (s->rx_head - s->rx_tail), head = s->rx_head, hungry;

	while (s->held != NULL && room != 0) {
		struct pbuf *p = s->held;
		uint32_t at = head & (s->rx_bytes - 1);
		uint32_t n = (uint32_t)min_u64(
		    min_u64(p->len - s->held_offset, room), s->rx_bytes - at);

		memcpy(s->rx + at, (uint8_t *)p->payload + s->held_offset, n);
		head += n;
		room -= n;
		s->held_offset += n;
		if (s->held_offset != p->len)
			continue;
		s->held_offset = 0;
		s->held = p->next;
		if (s->held != NULL)
			pbuf_ref(s->held);
		pbuf_free(p);
	}
	if (head != s->rx_head) {
		s->rx_head = head;
		store_release(&s->ring->rx_head, head);
		socket_news(s);
	}
	hungry = s->held != NULL;
	if (unlikely(hungry != load_relaxed(&s->ring->rx_wanted)))
		store_relaxed(&s->ring->rx_wanted, hungry);
}

/* Both ends are over: lwIP waits out the rest alone. */
static void
look_at_ends(struct socket *s)
{
	if (s->held != NULL || !s->end_received || s->session == NULL)
		return;
	if (s->end_sent && s->tcp != NULL) {
		let_go(s);
		socket_state(s, SOCK_ENDED, OK);
	} else if (s->state == SOCK_OPEN) {
		socket_state(s, SOCK_PEER_CLOSED, OK);
	}
}

static err_t
received(void *arg, struct tcp_pcb *pcb UNUSED, struct pbuf *p, err_t e UNUSED)
{
	struct socket *s = arg;

	if (s == NULL) {
		if (p != NULL)
			pbuf_free(p);
		return ERR_OK;
	}
	if (p == NULL) {
		s->end_received = true;
		look_at_ends(s);
		return ERR_OK;
	}
	if (s->session == NULL && s->listener == NULL) {
		/* Nobody will read it [RFC 1122, 4.2.2.13]. */
		pbuf_free(p);
		drop(s);
		return ERR_ABRT;
	}
	if (s->held == NULL) {
		s->held = p;
		s->held_offset = 0;
	} else if (s->held->tot_len + p->tot_len <= UINT16_MAX) {
		pbuf_cat(s->held, p);
	} else {
		/* More than the window that it was given. */
		pbuf_free(p);
		outlaw(s);
		return ERR_ABRT;
	}
	if (s->ring == NULL)
		return ERR_OK;
	if (!open_window(s)) {
		outlaw(s);
		return ERR_ABRT;
	}
	deliver(s);
	return ERR_OK;
}

/*
 * Acknowledgements.  lwIP sends one for every other segment; of segments that come together one
 * for all is enough, or for MOST_HELD of them.  So while packets are taken, lwIP's note that one
 * segment waits for its acknowledgement is taken off before the next, and who has more than one
 * then is acknowledged at the end.  A single one is left to lwIP, as before.  A segment that is
 * longer than one can be is several (join.c).
 */
enum { BATCH = 16, MOST_HELD = 16 };

static struct { struct tcp_pcb *pcb; uint32_t held; } batch[BATCH];
static uint32_t batched;
static bool holding;

int8_t
stream_segment(struct tcp_pcb *pcb, uint32_t seq, uint32_t bytes)
{
	bool waits;
	uint32_t i;

	/* A listener has no more than its state. */
	if (pcb->state < ESTABLISHED || pcb->state == TIME_WAIT)
		return ERR_OK;
	lost_segment(pcb, seq, bytes, nif_packets());
	waits = (pcb->flags & TF_ACK_DELAY) != 0;
	if (!holding || bytes == 0 || pcb->state != ESTABLISHED ||
	    (pcb->flags & TF_ACK_NOW) != 0 || (!waits && bytes <= TCP_MSS))
		return ERR_OK;
	for (i = 0; i < batched && batch[i].pcb != pcb; i++)
		;
	if (i == batched) {
		if (batched == BATCH) {
			tcp_set_flags(pcb, TF_ACK_DELAY);	/* lwIP acknowledges it at once */
			return ERR_OK;
		}
		batch[batched].pcb = pcb;
		batch[batched++].held = 0;
	}
	batch[i].held += (bytes + TCP_MSS - 1) / TCP_MSS;
	if (batch[i].held < MOST_HELD) {
		tcp_clear_flags(pcb, TF_ACK_DELAY);
	} else {
		tcp_set_flags(pcb, TF_ACK_DELAY);
		batch[i].held = 0;
	}
	return ERR_OK;
}

void stream_hold_acks(void) { holding = true; }

void
stream_release_acks(void)
{
	holding = false;
	for (uint32_t i = 0; i < batched; i++) {
		struct tcp_pcb *p;

		/* It may be gone by now. */
		for (p = tcp_active_pcbs; p != NULL && p != batch[i].pcb; p = p->next)
			;
		if (p == NULL || batch[i].held == 0 || (p->flags & TF_ACK_NOW) != 0)
			continue;
		if ((p->flags & TF_ACK_DELAY) == 0) {
			/* Acknowledged, or the last segment was none to be: its timer will see. */
			tcp_set_flags(p, TF_ACK_DELAY);
			continue;
		}
		tcp_ack_now(p);
		(void)tcp_output(p);
	}
	batched = 0;
}

/* --- out -------------------------------------------------------------------------- */

/* What the client wrote, as far as lwIP has room. */
static void
send_more(struct socket *s)
{
	struct tcp_pcb *pcb = s->tcp;
	uint32_t tail = s->tx_tail, n;

	if (pcb == NULL || s->state == SOCK_CONNECTING)
		return;
	while ((n = s->tx_head - tail) != 0) {
		uint32_t at = tail & (s->tx_bytes - 1);
		uint32_t part = (uint32_t)min_u64(min_u64(n, s->tx_bytes - at),
		    min_u64(tcp_sndbuf(pcb), WRITE_AT_ONCE));

		if (part == 0 || tcp_write(pcb, s->tx + at, (uint16_t)part,
				     TCP_WRITE_FLAG_COPY |
					 (part < n ? TCP_WRITE_FLAG_MORE : 0)) != ERR_OK)
			break;
		tail += part;
	}
	if (tail != s->tx_tail) {
		s->tx_tail = tail;
		if (s->session != NULL) {
			store_release(&s->ring->tx_tail, tail);
			smp_full();
			if (load_relaxed(&s->ring->tx_wanted) != 0 &&
			    s->tx_bytes - (s->tx_head - tail) >= s->tx_bytes / 4)
				socket_news(s);
		}
	}
}

/*
 * The end follows when all is sent, in a segment of its own: lwIP would put it into the last one
 * that is not, and when it splits that for a small window the first half keeps the end, too, and
 * the peer never takes the second.
 */
static bool
may_end(const struct socket *s)
{
	return s->tx_tail == s->tx_head && s->tcp->unsent == NULL;
}

static void
send_end(struct socket *s)
{
	if (s->tcp != NULL && s->end_asked && !s->end_sent && may_end(s))
		s->end_sent = tcp_shutdown(s->tcp, 0, 1) == ERR_OK;
}

/* A closed one that has given all to lwIP is done.  False: not yet. */
static bool
finish(struct socket *s)
{
	struct tcp_pcb *pcb = s->tcp;

	if (!may_end(s))
		return false;
	/* The client has read everything: lwIP looks whether its window is as wide as can be. */
	pcb->rcv_wnd = TCP_WND_MAX(pcb);
	let_go(s);
	if (tcp_close(pcb) != ERR_OK) {
		take_over(s, pcb);
		return false;
	}
	drop(s);
	return true;
}

static err_t
sent(void *arg, struct tcp_pcb *pcb UNUSED, uint16_t len UNUSED)
{
	struct socket *s = arg;

	if (s == NULL || s->ring == NULL)
		return ERR_OK;
	send_more(s);
	send_end(s);
	if (s->session == NULL)
		(void)finish(s);
	return ERR_OK;
}

/* The connection is gone already. */
static void
failed(void *arg, err_t e)
{
	struct socket *s = arg;

	if (s == NULL)
		return;
	s->tcp = NULL;
	ended(s, s->state == SOCK_CONNECTING && e == ERR_RST ? E_REFUSED : status_of(e));
}

/* --- begin and end ------------------------------------------------------------------ */

/* The window that the peer may believe to have; lwIP would open it as wide as can be. */
static void
first_window(struct tcp_pcb *pcb)
{
	pcb->rcv_wnd = pcb->rcv_ann_wnd = FIRST_WINDOW;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + FIRST_WINDOW;
}

/* Now the ring's size is known. */
static void
second_window(struct socket *s)
{
	uint32_t more = s->rx_bytes > FIRST_WINDOW ? s->rx_bytes - FIRST_WINDOW : 0;

	s->withheld = s->rx_bytes < FIRST_WINDOW ? FIRST_WINDOW - s->rx_bytes : 0;
	while (more != 0 && s->tcp != NULL) {
		uint16_t part = (uint16_t)min_u64(more, UINT16_MAX);

		tcp_recved(s->tcp, part);
		more -= part;
	}
}

static err_t
accepted(void *arg, struct tcp_pcb *pcb, err_t e)
{
	struct socket *l = arg, *s;

	if (e != ERR_OK || pcb == NULL)
		return ERR_VAL;
	s = l != NULL && l->waiting < l->backlog ? socket_waiting(l) : NULL;
	if (s == NULL) {
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	take_over(s, pcb);
	first_window(pcb);
	s->state = SOCK_OPEN;
	tcp_backlog_delayed(pcb);
	*l->last = s;
	l->last = &s->next;
	store_relaxed(&l->ring->waiting, ++l->waiting);
	socket_news(l);
	return ERR_OK;
}

/* The newest come first in lwIP's list. */
static void
trim(const struct tcp_pcb_listen *l)
{
	struct tcp_pcb *pcb = tcp_active_pcbs, *next;
	uint32_t seen = 0;

	for (; pcb != NULL; pcb = next) {
		next = pcb->next;
		if (pcb->state == SYN_RCVD && pcb->listener == l && ++seen > HALF_OPEN_KEPT)
			tcp_abandon(pcb, 0);
	}
}

void
stream_trim_begun(void)
{
	for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l != NULL; l = l->next) {
		const struct socket *s = l->callback_arg;

		if (s != NULL && l->accepts_pending > s->waiting + HALF_OPEN_KEPT)
			trim(l);
	}
}

enum status
stream_listen(struct socket *s, uint16_t port, uint32_t backlog)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY), *l;
	err_t e;

	if (pcb == NULL)
		return E_NO_MEMORY;
	e = tcp_bind(pcb, IP_ANY_TYPE, port);
	l = e == ERR_OK ? tcp_listen_with_backlog_and_err(pcb, (uint8_t)(backlog + HALF_OPEN), &e) :
			  NULL;
	if (l == NULL) {
		(void)tcp_close(pcb);
		return status_of(e);
	}
	s->tcp = l;
	s->backlog = backlog;
	tcp_arg(l, s);
	tcp_accept(l, accepted);
	return OK;
}

static err_t
connected(void *arg, struct tcp_pcb *pcb, err_t e UNUSED)
{
	struct socket *s = arg;

	if (s == NULL)
		return ERR_OK;
	first_window(pcb);
	second_window(s);
	socket_state(s, SOCK_OPEN, OK);
	send_more(s);
	return ERR_OK;
}

enum status
stream_connect(struct socket *s, const struct sock_addr *to, uint16_t port)
{
	struct tcp_pcb *pcb;
	ip_addr_t addr;
	err_t e;

	addr_to_lwip(to, &addr);
	pcb = tcp_new_ip_type(IP_GET_TYPE(&addr));
	if (pcb == NULL)
		return E_NO_MEMORY;
	take_over(s, pcb);
	e = tcp_connect(pcb, &addr, port, connected);
	if (e == ERR_OK)
		return OK;
	let_go(s);
	(void)tcp_close(pcb);
	return status_of(e);
}

struct socket *
stream_take(struct socket *listener)
{
	struct socket *s = listener->first;

	unlink_socket(s);
	tcp_backlog_accepted(s->tcp);
	return s;
}

void
stream_opened(struct socket *s)
{
	socket_state(s, s->state, OK);
	second_window(s);
	deliver(s);
	look_at_ends(s);
}

uint16_t
stream_peer(const struct socket *s, uint64_t w[2])
{
	struct sock_addr a = addr_of_lwip(&s->tcp->remote_ip);

	addr_to_words(&a, w);
	return s->tcp->remote_port;
}

void
stream_turn(struct socket *s)
{
	bool end = load_acquire(&s->ring->tx_end) != 0;

	if (s->error == E_CORRUPT)
		return;
	if (!open_window(s) || !socket_read_head(s)) {
		outlaw(s);
		return;
	}
	s->end_asked = end;
	deliver(s);
	send_more(s);
	if (s->tcp != NULL && s->state != SOCK_CONNECTING) {
		(void)tcp_output(s->tcp);
		send_end(s);
	}
	look_at_ends(s);
}

void
stream_close(struct socket *s, bool reset)
{
	struct session *c = s->session;

	if (s->kind == SOCKET_LISTENER) {
		while (s->first != NULL)
			drop(s->first);
		tcp_arg(s->tcp, NULL);
		(void)tcp_close(s->tcp);
		s->tcp = NULL;
		socket_free(s);
		return;
	}
	if (!reset && s->tcp != NULL && c != NULL && s->state != SOCK_CONNECTING) {
		stream_turn(s);
		reset = s->held != NULL || s->rx_tail != s->rx_head;
	} else {
		reset = true;
	}
	if (reset || s->tcp == NULL) {
		drop(s);
		return;
	}
	c->socket[s->number] = NULL;
	c->used &= ~BIT(s->number);
	c->ready &= ~BIT(s->number);
	s->session = NULL;
	s->number = SOCKS;
	s->until = turn_ns + LINGER_NS;
	s->next = tcpip.lingering;
	tcpip.lingering = s;
	(void)finish(s);
}

void
stream_entry(const struct socket *s, struct sock_entry *out)
{
	*out = (struct sock_entry){ .service = s->service,
		.state = (uint16_t)s->state,
		.datagrams = s->kind == SOCKET_DATAGRAM };
	if (s->kind == SOCKET_DATAGRAM) {
		dgram_entry(s, out);
	} else if (s->tcp != NULL) {
		out->port = s->tcp->local_port;
		if (s->kind == SOCKET_STREAM) {
			out->peer = addr_of_lwip(&s->tcp->remote_ip);
			out->peer_port = s->tcp->remote_port;
		}
	}
}
