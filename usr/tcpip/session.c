/*
 * Sessions: who the clients are, what they may do, and what they have.
 *
 * A client is known by the badge of its handle: the number that init gave its service.  What that
 * service may do init says once for a session.  Limits count by service, so a program that opens
 * more sessions gets no more sockets.
 *
 * A client that dies is found out by the call that its keeper stays in (SOCK_CALL_STAY): an answer
 * "again" reaches nobody.  Then all that it had ends; connections are reset.
 */
#include "kern/base/bits.h"
#include "lwip/mem.h"
#include "usr/lib/devmgr.h"
#include "usr/tcpip/tcpip.h"

enum { SERVICES = 64 };
enum : uint64_t { ALONE_NS = 5 * NS_PER_S, INIT_NS = 5 * NS_PER_S };

struct tcpip tcpip;
static struct { uint32_t sockets; uint64_t bytes; } use[SERVICES];

struct sock_addr
addr_of_words(const uint64_t w[2])
{
	struct sock_addr a;

	memcpy(a.v, w, sizeof(a.v));
	return a;
}

void addr_to_words(const struct sock_addr *a, uint64_t w[2]) { memcpy(w, a->v, sizeof(a->v)); }

static uint32_t index_of(const struct session *c) { return (uint32_t)(c - tcpip.session); }

/* --- what a service may do ------------------------------------------------------ */

static void
learn_rights(struct session *c)
{
	struct msg m = { .label = INIT_SOCKETS, .words = 1, .w = { c->badge } };

	if (tcpip.init == HANDLE_NONE || msg_call(tcpip.init, &m, now_ns() + INIT_NS) != OK ||
	    m.label != OK) {
		fmt_buf(c->rights.name, sizeof(c->rights.name), "service %llu",
		    (unsigned long long)c->badge);
		return;
	}
	c->rights.known = true;
	c->rights.connect = m.w[0] != 0;
	for (unsigned i = 0; i < ARRAY_SIZE(c->rights.ports); i++)
		c->rights.ports[i] = (uint16_t)(m.w[1 + i / 4] >> i % 4 * 16);
	memcpy(c->rights.name, &m.w[5], sizeof(c->rights.name));
	c->rights.name[sizeof(c->rights.name) - 1] = 0;
}

static enum status
may_listen(const struct session *c, uint64_t port)
{
	for (unsigned i = 0; i < ARRAY_SIZE(c->rights.ports) && port != 0; i++)
		if (c->rights.ports[i] == port)
			return OK;
	tcpip.refused++;
	complain("%s may not listen on port %llu: its manifest node does not say so",
	    c->rights.name, (unsigned long long)port);
	return E_RIGHTS;
}

static enum status
may_connect(const struct session *c, const char *what)
{
	if (c->rights.connect)
		return OK;
	tcpip.refused++;
	complain("%s may not %s: its manifest node lacks the capability \"connect\"",
	    c->rights.name, what);
	return E_RIGHTS;
}

/* --- sockets ------------------------------------------------------------------- */

uint32_t
ring_size(uint64_t asked)
{
	if (asked <= SOCK_RING_MIN)
		return SOCK_RING_MIN;
	if (asked >= SOCK_RING_MAX)
		return SOCK_RING_MAX;
	return 2u << log2_floor(asked - 1);
}

static bool
judge_count(const struct session *c, uint64_t bytes)
{
	uint32_t n = (uint32_t)(c->badge);

	if (use[n].sockets < SOCKETS_A_SERVICE && use[n].bytes + bytes <= RING_BYTES_A_SERVICE)
		return true;
	complain("%s has %u sockets with %llu KiB, and gets no more", c->rights.name,
	    use[n].sockets, (unsigned long long)(use[n].bytes / KIB));
	return false;
}

static struct socket *
socket_new(uint64_t badge, enum socket_kind kind)
{
	struct socket *s = mem_malloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	*s = (struct socket){ .kind = kind, .number = SOCKS, .service = (uint32_t)badge };
	s->last = &s->first;
	use[s->service].sockets++;
	tcpip.sockets++;
	return s;
}

struct socket *
socket_waiting(struct socket *listener)
{
	const struct session *c = listener->session;
	struct socket *s;

	if (!judge_count(c, 0))
		return NULL;
	s = socket_new(c->badge, SOCKET_STREAM);
	if (s != NULL)
		s->listener = listener;
	return s;
}

void
socket_free(struct socket *s)
{
	uint64_t bytes = PAGE_SIZE + s->rx_bytes + s->tx_bytes;

	if (s->ring != NULL) {
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring, bytes);
		(void)sys_handle_close(s->memory);
		use[s->service].bytes -= bytes;
	}
	if (s->session != NULL && s->number < SOCKS) {
		s->session->socket[s->number] = NULL;
		s->session->used &= ~BIT(s->number);
		s->session->ready &= ~BIT(s->number);
	}
	use[s->service].sockets--;
	tcpip.sockets--;
	mem_free(s);
}

enum status
socket_rings(struct socket *s, uint64_t rx, uint64_t tx, uint64_t *give)
{
	uint64_t bytes, memory;
	handle_t h;
	enum status e;

	bytes = PAGE_SIZE + rx + tx;
	s->ring = pages_alloc(bytes / PAGE_SIZE, &h);
	if (s->ring == NULL)
		return E_NO_MEMORY;
	e = sys_handle_dup(h, RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE, &memory);
	if (e != OK) {
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring, bytes);
		(void)sys_handle_close(h);
		s->ring = NULL;
		return e;
	}
	s->memory = h;
	s->rx_bytes = (uint32_t)rx;
	s->tx_bytes = (uint32_t)tx;
	s->rx = (uint8_t *)s->ring + PAGE_SIZE;
	s->tx = s->rx + rx;
	use[s->service].bytes += bytes;
	*give = memory;
	return OK;
}

void
socket_news(struct socket *s)
{
	struct session *c = s->session;

	if (c == NULL || s->number >= SOCKS)
		return;
	c->ready |= BIT(s->number);
	tcpip.answered |= 1u << index_of(c);
}

void
socket_state(struct socket *s, enum sock_state state, enum status why)
{
	s->state = state;
	s->error = why;
	if (s->ring == NULL)
		return;
	store_relaxed(&s->ring->error, why);
	store_release(&s->ring->state, state);
	socket_news(s);
}

static COLD void
refuse(struct socket *s)
{
	if (s->session != NULL)
		complain("a socket of %s has indices that cannot be: it is ended",
		    s->session->rights.name);
	tcpip.refused++;
	s->error = E_CORRUPT;
}

bool
socket_read_tail(struct socket *s)
{
	uint32_t tail;

	if (unlikely(s->error == E_CORRUPT))
		return false;
	tail = load_acquire(&s->ring->rx_tail);
	if (unlikely(s->rx_head - tail > s->rx_head - s->rx_tail)) {
		refuse(s);
		return false;
	}
	s->rx_tail = tail;
	return true;
}

bool
socket_read_head(struct socket *s)
{
	uint32_t head;

	if (unlikely(s->error == E_CORRUPT))
		return false;
	head = load_acquire(&s->ring->tx_head);
	if (unlikely(
		head - s->tx_tail > s->tx_bytes || head - s->tx_tail < s->tx_head - s->tx_tail)) {
		refuse(s);
		return false;
	}
	s->tx_head = head;
	return true;
}

/* Into the session, under a number of its own. */
static void
socket_enter(struct session *c, struct socket *s)
{
	s->number = (uint8_t)lowest_bit(~c->used);
	s->session = c;
	c->socket[s->number] = s;
	c->used |= BIT(s->number);
}

/* A new one with rings; on OK the answer's first two words are filled in. */
static enum status
socket_make(struct session *c, enum socket_kind kind, uint64_t rx, uint64_t tx, struct msg *m,
    struct socket **out)
{
	struct socket *s;
	uint64_t give;
	enum status e;

	if (c->used == ~0ull || !judge_count(c, PAGE_SIZE + rx + tx))
		return E_QUOTA;
	s = socket_new(c->badge, kind);
	if (s == NULL)
		return E_NO_MEMORY;
	e = socket_rings(s, rx, tx, &give);
	if (e != OK) {
		socket_free(s);
		return e;
	}
	socket_enter(c, s);
	m->w[0] = give;
	m->w[1] = s->number;
	*out = s;
	return OK;
}

/* What was handed out with an answer that is no success after all. */
static void
socket_unmake(struct socket *s, struct msg *m)
{
	(void)sys_handle_close(m->w[0]);
	socket_free(s);
}

static void
socket_close(struct socket *s, bool reset)
{
	switch (s->kind) {
	case SOCKET_LISTENER:
	case SOCKET_STREAM:
		stream_close(s, reset);
		break;
	case SOCKET_DATAGRAM:
		dgram_close(s);
		break;
	}
}

/* --- sessions -------------------------------------------------------------------- */

static struct session *
session_find(uint64_t id, uint64_t badge)
{
	struct session *c = &tcpip.session[(id & 0xff) % SESSIONS];

	return id != 0 && c->id == id && c->badge == badge && !c->closing ? c : NULL;
}

static enum status
session_open(struct msg *m)
{
	uint64_t type_rights, badge, page;
	struct session *c, new = { .badge = m->badge };
	uint32_t n = 0, slot;

	if (m->badge >= SERVICES)	/* none of init's: it would be counted as another's */
		return E_RIGHTS;
	for (uint32_t i = 0; i < SESSIONS; i++)
		n += tcpip.session[i].id != 0 && tcpip.session[i].badge == m->badge;
	if (n >= SESSIONS_A_SERVICE)
		return E_QUOTA;
	if (tcpip.live == BITS(SESSIONS - 1, 0))
		return E_BUSY;
	if ((m->handles & 1) == 0 || sys_handle_info(m->w[0], &type_rights, &badge) != OK ||
	    (uint32_t)type_rights != OBJ_NOTIFICATION ||
	    (type_rights >> 32 & RIGHT_SIGNAL) == 0)
		return E_INVALID;
	slot = lowest_bit(~(uint64_t)tcpip.live);
	c = &tcpip.session[slot];
	new.page = pages_alloc(1, &new.page_memory);
	if (new.page == NULL)
		return E_NO_MEMORY;
	if (sys_handle_dup(new.page_memory, RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE, &page) != OK) {
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)new.page, PAGE_SIZE);
		(void)sys_handle_close(new.page_memory);
		return E_NO_MEMORY;
	}
	learn_rights(&new);
	new.client = (handle_t)m->w[0];
	new.client_bits = m->w[1];
	new.alone_ns = turn_ns;
	new.id = ++tcpip.next_id << 8 | slot;
	*c = new;
	tcpip.live |= 1u << slot;
	m->w[0] = tcpip.signal;
	m->w[1] = page;
	m->handles = 3;
	m->w[2] = c->id;
	m->w[3] = BIT(NTFN_SESSION + slot);
	return OK;
}

static void
session_end(struct session *c)
{
	struct msg end = { .token = c->token };

	ask_drop(c);
	for (unsigned i = 0; i < SOCKS; i++)
		if (c->socket[i] != NULL)
			socket_close(c->socket[i], true);
	if (c->stays)
		(void)msg_reply(&end);		/* a keeper that is gone needs no answer */
	(void)sys_handle_close(c->client);
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)c->page, PAGE_SIZE);
	(void)sys_handle_close(c->page_memory);
	tcpip.live &= ~(1u << index_of(c));
	tcpip.answered &= ~(1u << index_of(c));
	*c = (struct session){ 0 };
}

void
session_probe(void)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *c = &tcpip.session[i];
		struct msg again = { .label = E_WOULD_BLOCK, .token = c->token };
		bool gone;

		if (c->id == 0)
			continue;
		gone = c->stays ? msg_reply(&again) != OK : turn_ns - c->alone_ns > ALONE_NS;
		if (c->stays)
			c->alone_ns = turn_ns;
		c->stays = false;
		if (gone) {
			complain("the session of %s ends: it is gone", c->rights.name);
			session_end(c);
		}
	}
	for (struct socket **p = &tcpip.lingering, *s; (s = *p) != NULL;) {
		if (s->until > turn_ns) {
			p = &s->next;
			continue;
		}
		stream_close(s, true);
		p = &tcpip.lingering;		/* it is not in the list any more */
	}
}

/* --- calls ----------------------------------------------------------------------- */

static enum status
call_listen(struct session *c, struct msg *m)
{
	uint64_t port = m->w[1], backlog = m->w[2];
	struct socket *s;
	enum status e = may_listen(c, port);

	if (e == OK)
		e = socket_make(c, SOCKET_LISTENER, 0, 0, m, &s);
	if (e != OK)
		return e;
	e = stream_listen(s, (uint16_t)port, (uint32_t)min_u64(max_u64(backlog, 1), 32));
	if (e != OK) {
		socket_unmake(s, m);
		return e;
	}
	socket_state(s, SOCK_LISTENING, OK);
	m->handles = 1;
	return OK;
}

static enum status
call_accept(struct session *c, struct msg *m, struct socket *listener)
{
	uint32_t rx = ring_size(m->w[2]), tx = ring_size(m->w[3]);
	struct socket *s;
	uint64_t give;
	enum status e;

	if (listener->kind != SOCKET_LISTENER)
		return E_INVALID;
	if (listener->first == NULL)
		return E_WOULD_BLOCK;
	if (c->used == ~0ull || !judge_count(c, PAGE_SIZE + (uint64_t)rx + tx))
		return E_QUOTA;
	s = stream_take(listener);
	e = socket_rings(s, rx, tx, &give);
	if (e != OK) {
		stream_close(s, true);
		return e;
	}
	socket_enter(c, s);
	m->w[0] = give;
	m->w[1] = s->number;
	m->w[4] = stream_peer(s, &m->w[2]);
	m->handles = 1;
	stream_opened(s);
	return OK;
}

static enum status
call_connect(struct session *c, struct msg *m)
{
	struct sock_addr to = addr_of_words(&m->w[2]);
	uint64_t port = m->w[1];
	struct socket *s;
	enum status e = may_connect(c, "connect to others");

	if (e != OK)
		return e;
	if (port == 0 || port > UINT16_MAX)
		return E_RANGE;
	e = socket_make(c, SOCKET_STREAM, ring_size(m->w[4]), ring_size(m->w[5]), m, &s);
	if (e != OK)
		return e;
	socket_state(s, SOCK_CONNECTING, OK);
	e = stream_connect(s, &to, (uint16_t)port);
	if (e != OK) {
		socket_unmake(s, m);
		return e;
	}
	m->handles = 1;
	return OK;
}

static enum status
call_bind(struct session *c, struct msg *m)
{
	uint16_t port = (uint16_t)m->w[1];
	struct socket *s;
	enum status e;

	if (m->w[1] > UINT16_MAX)
		return E_RANGE;
	e = port != 0 && port < 49152 ? may_listen(c, port) : may_connect(c, "send datagrams");
	if (e == OK)
		e = socket_make(
		    c, SOCKET_DATAGRAM, ring_size(m->w[2]), ring_size(m->w[3]), m, &s);
	if (e != OK)
		return e;
	e = dgram_bind(s, &port);
	if (e != OK) {
		socket_unmake(s, m);
		return e;
	}
	socket_state(s, SOCK_OPEN, OK);
	m->w[2] = port;
	m->handles = 1;
	return OK;
}

static enum status
call_gone(const struct session *c, const struct msg *m)
{
	struct sock_addr peer = addr_of_words(&m->w[2]);
	enum status e = may_listen(c, m->w[1]);

	if (e != OK)
		return e;
	if (m->w[4] == 0 || m->w[4] > UINT16_MAX || sock_addr_is_any(&peer))
		return E_RANGE;
	return gone_tell(&peer, (uint16_t)m->w[1], (uint16_t)m->w[4]);
}

static enum status
call_list(struct session *c, uint64_t n)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		const struct session *d = &tcpip.session[i];

		for (uint64_t used = d->used; used != 0; used &= used - 1) {
			if (n-- != 0)
				continue;
			stream_entry(d->socket[lowest_bit(used)], &c->page->answer.entry);
			return OK;
		}
	}
	return E_NOT_FOUND;
}

/* E_CANCELLED: it is answered later. */
static enum status
call_of_session(struct session *c, struct msg *m)
{
	struct socket *s = m->w[1] < SOCKS ? c->socket[m->w[1]] : NULL;
	enum status e;

	switch (m->label) {
	case SOCK_CALL_STAY:
		if (c->stays)
			return E_BUSY;
		c->stays = true;
		c->token = m->token;
		c->alone_ns = turn_ns;
		return E_CANCELLED;
	case SOCK_CALL_CLOSE:
		session_end(c);
		return OK;
	case SOCK_CALL_LISTEN:
		return call_listen(c, m);
	case SOCK_CALL_ACCEPT:
		return s != NULL ? call_accept(c, m, s) : E_NOT_FOUND;
	case SOCK_CALL_CONNECT:
		return call_connect(c, m);
	case SOCK_CALL_BIND:
		return call_bind(c, m);
	case SOCK_CALL_END:
		if (s == NULL)
			return E_NOT_FOUND;
		socket_close(s, m->w[2] != 0);
		return OK;
	case SOCK_CALL_RESOLVE:
		e = may_connect(c, "ask for names");
		return e == OK ? ask_resolve(c, m) : e;
	case SOCK_CALL_PING:
		e = may_connect(c, "send echo requests");
		return e == OK ? ask_ping(c, m) : e;
	case SOCK_CALL_INTERFACE:
		ask_interface(&c->page->answer.interface);
		return OK;
	case SOCK_CALL_LIST:
		return call_list(c, m->w[1]);
	case SOCK_CALL_GONE:
		return call_gone(c, m);
	}
	return E_INVALID;
}

void
session_call(struct msg *m)
{
	uint32_t came = m->handles;
	uint64_t given[4];
	struct session *c;
	enum status e;

	memcpy(given, m->w, sizeof(given));
	m->handles = 0;
	if (m->label == SOCK_CALL_OPEN) {
		m->handles = came;
		e = session_open(m);
		if (e == OK)
			came &= ~1u;		/* the notification is kept */
		else
			m->handles = 0;
	} else {
		c = session_find(m->w[0], m->badge);
		e = c != NULL ? call_of_session(c, m) : E_STALE;
	}
	for (unsigned i = 0; i < 4; i++)
		if ((came & BIT(i)) != 0)
			(void)sys_handle_close(given[i]);
	if (e == E_CANCELLED)
		return;
	/* The client's own handles to rings and pages go over, and are not kept here. */
	memcpy(given, m->w, sizeof(given));
	came = m->label == SOCK_CALL_OPEN ? m->handles & ~1u : m->handles;
	m->label = e;
	m->words = 8;
	(void)msg_reply(m);		/* a caller that is gone needs no answer */
	for (unsigned i = 0; i < 4; i++)
		if ((came & BIT(i)) != 0)
			(void)sys_handle_close(given[i]);
}

/* --- turns ------------------------------------------------------------------------ */

bool
session_kicks(void)
{
	bool any = false;

	for (uint32_t live = tcpip.live; live != 0; live &= live - 1) {
		struct session *c = &tcpip.session[lowest_bit(live)];
		uint64_t kicked;

		if (load_relaxed(&c->page->kicked) == 0)
			continue;
		kicked = __atomic_exchange_n(&c->page->kicked, 0, __ATOMIC_ACQUIRE) & c->used;
		any |= kicked != 0;
		for (; kicked != 0; kicked &= kicked - 1) {
			struct socket *s = c->socket[lowest_bit(kicked)];

			if (s == NULL)
				continue;
			if (s->kind == SOCKET_STREAM)
				stream_turn(s);
			else if (s->kind == SOCKET_DATAGRAM)
				dgram_turn(s);
		}
	}
	return any;
}

void
session_publish(void)
{
	for (; tcpip.answered != 0; tcpip.answered &= tcpip.answered - 1) {
		struct session *c = &tcpip.session[lowest_bit(tcpip.answered)];

		if (c->id == 0)
			continue;
		__atomic_fetch_or(&c->page->ready, c->ready, __ATOMIC_RELEASE);
		c->ready = 0;
		smp_full();
		if (load_relaxed(&c->page->client_sleeps) != 0)
			(void)sys_ntfn_signal(c->client, c->client_bits);
	}
}

bool
session_may_sleep(void)
{
	bool news = false;

	for (uint32_t live = tcpip.live; live != 0; live &= live - 1)
		store_relaxed(&tcpip.session[lowest_bit(live)].page->service_sleeps, 1);
	smp_full();
	for (uint32_t live = tcpip.live; live != 0; live &= live - 1)
		news |= load_relaxed(&tcpip.session[lowest_bit(live)].page->kicked) != 0;
	return !news;
}

void
session_woke(void)
{
	for (uint32_t live = tcpip.live; live != 0; live &= live - 1)
		store_relaxed(&tcpip.session[lowest_bit(live)].page->service_sleeps, 0);
}
