/*
 * The client's end of sockets.
 *
 * A thread of each session, the keeper, stays in a call that the service answers only when the
 * session ends.  So the service learns that a client is gone, and the client that the service is:
 * then nothing of it is left, and every connection is over.
 */
#include "usr/lib/sock.h"
#include "kern/base/bits.h"

enum : uint64_t { CALL_NS = 5 * NS_PER_S, AGAIN_NS = 10 * NS_PER_MS };
/* Told in steps of at most so much: a part of the window of a peer that does not scale. */
enum : uint64_t { TELL_BYTES = 16 * KIB };

static NORETURN void
keep(struct socks *k)
{
	struct msg m;
	enum status s;

	do {
		m = (struct msg){ .label = SOCK_CALL_STAY, .words = 1, .w = { k->session } };
		s = msg_call(k->endpoint, &m, DEADLINE_NEVER);
	} while (s == OK && m.label == E_WOULD_BLOCK);
	if (s != OK || m.label != OK) {
		store_release(&k->lost, 1);
		(void)sys_ntfn_signal(k->ntfn, k->bits);
	}
	/* From here on the stack is not used any more. */
	store_release(&k->keeper, 0);
	(void)sys_thread_exit();
	for (;;)
		;
}

/* The service has answered the keeper, or is gone; false: neither, and he stays on the stack in *k.
 */
static bool
keeper_ends(const struct socks *k)
{
	uint64_t until = now_ns() + CALL_NS;

	while (load_acquire(&k->keeper) != 0) {
		if (now_ns() >= until)
			return false;
		sleep_until(now_ns() + NS_PER_MS / 10);
	}
	return true;
}

static enum status
start_keeper(struct socks *k)
{
	enum status s = E_INVALID;
	uint64_t id;

	store_release(&k->keeper, 1);
	/* As urgent as the caller: the highest that is allowed. */
	for (uint64_t priority = PRIORITY_MAX; s != OK && priority >= PRIORITY_MIN; priority--)
		s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)keep,
		    (uint64_t)(uintptr_t)(k->stack + SOCK_STACK) - STACK_ENTRY,
		    (uint64_t)(uintptr_t)k, 0, priority | CPU_ANY << 8, &id);
	if (s != OK)
		store_release(&k->keeper, 0);
	return s;
}

/* A call in the session; the answer's label is the status. */
static enum status
ask(struct socks *k, struct msg *m, uint64_t deadline)
{
	enum status s;

	m->w[0] = k->session;
	m->words = 8;
	s = msg_call(k->endpoint, m, deadline);
	if (s == E_PEER || (s == OK && m->label == E_STALE)) {
		store_release(&k->lost, 1);
		return E_PEER;
	}
	return s != OK ? s : m->label < STATUS_COUNT ? (enum status)m->label : E_CORRUPT;
}

static void
detach(struct socks *k)
{
	if (k->page != NULL)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)k->page, PAGE_SIZE);
	if (k->page_memory != HANDLE_NONE)
		(void)sys_handle_close(k->page_memory);
	if (k->service != HANDLE_NONE)
		(void)sys_handle_close(k->service);
	k->page = NULL;
	k->page_memory = k->service = HANDLE_NONE;
}

static enum status
attach(struct socks *k)
{
	struct msg m = {
		.label = SOCK_CALL_OPEN, .words = 2, .handles = 1, .w = { k->ntfn, k->bits }
	};
	enum status s = msg_call(k->endpoint, &m, now_ns() + CALL_NS);
	uint64_t va;

	if (s == OK)
		s = msg_answer(&m, 3);
	if (s != OK)
		return s;
	k->service = (handle_t)m.w[0];
	k->page_memory = (handle_t)m.w[1];
	k->session = m.w[2];
	k->service_bits = m.w[3];
	s = sys_mem_map(HANDLE_NONE, k->page_memory, 0, PAGE_SIZE, 0, 3, &va);
	if (s != OK)
		return s;
	k->page = (struct sock_page *)(uintptr_t)va;
	return start_keeper(k);
}

/* A peer that is not told finds out by itself, when it has something to send. */
static void
tell_gone(struct socks *k)
{
	for (uint32_t i = 0; i < k->gone_count; i++) {
		struct msg m = { .label = SOCK_CALL_GONE,
			.w = { 0, k->gone[i].port, 0, 0, k->gone[i].peer_port } };

		memcpy(&m.w[2], k->gone[i].peer.v, sizeof(k->gone[i].peer.v));
		(void)ask(k, &m, now_ns() + CALL_NS);
	}
	k->gone_count = 0;
}

enum status
sock_start(struct socks *k, handle_t endpoint, handle_t ntfn, uint64_t bits)
{
	uint64_t until = now_ns() + CALL_NS;
	enum status s;

	if (load_acquire(&k->keeper) != 0)
		return E_BUSY;
	k->endpoint = endpoint;
	k->ntfn = ntfn;
	k->bits = bits;
	/* A service that is just ending may take the call and leave it: its successor gets it. */
	for (;;) {
		k->lost = 0;
		s = attach(k);
		if (s == OK) {
			tell_gone(k);
			return OK;
		}
		sock_stop(k);
		if (s != E_PEER || now_ns() >= until)
			return s;
		sleep_until(now_ns() + AGAIN_NS);
	}
}

void
sock_stop(struct socks *k)
{
	struct msg m = { .label = SOCK_CALL_CLOSE };

	if (k->session != 0 && !sock_lost(k))
		(void)ask(k, &m, now_ns() + CALL_NS);
	(void)keeper_ends(k);
	detach(k);
	k->session = k->kicked = 0;
}

/* --- waiting -------------------------------------------------------------------------- */

uint64_t
sock_ready(struct socks *k)
{
	if (load_relaxed(&k->page->ready) == 0)
		return 0;
	return __atomic_exchange_n(&k->page->ready, 0, __ATOMIC_ACQUIRE);
}

void
sock_kick(struct socks *k)
{
	if (k->kicked == 0)
		return;
	__atomic_fetch_or(&k->page->kicked, k->kicked, __ATOMIC_RELEASE);
	k->kicked = 0;
	smp_full();
	if (load_relaxed(&k->page->service_sleeps) != 0)
		(void)sys_ntfn_signal(k->service, k->service_bits);
}

bool
sock_may_sleep(struct socks *k)
{
	store_relaxed(&k->page->client_sleeps, 1);
	smp_full();
	sock_kick(k);
	return load_relaxed(&k->page->ready) == 0 && !sock_lost(k);
}

void sock_woke(struct socks *k) { store_relaxed(&k->page->client_sleeps, 0); }

enum status
sock_wait(struct socks *k, uint64_t deadline)
{
	enum status s = OK;
	uint64_t bits;

	while (s == OK && sock_may_sleep(k))
		s = sys_ntfn_wait(k->ntfn, deadline, &bits);
	sock_woke(k);
	return s == OK && sock_lost(k) ? E_PEER : s;
}

static void
news(struct sock *s)
{
	s->k->kicked |= BIT(s->number);
}

/* --- sockets ---------------------------------------------------------------------------- */

static uint32_t
ring_size(uint64_t asked)
{
	if (asked <= SOCK_RING_MIN)
		return SOCK_RING_MIN;
	return asked >= SOCK_RING_MAX ? SOCK_RING_MAX : 2u << log2_floor(asked - 1);
}

/* What came with the answer, mapped. */
static enum status
take(struct socks *k, const struct msg *m, uint32_t rx, uint32_t tx, struct sock *out)
{
	struct msg end = { .label = SOCK_CALL_END, .w = { 0, m->w[1], 1 } };
	uint64_t va;
	enum status s;

	if ((m->handles & 1) == 0)
		return E_CORRUPT;
	s = m->w[1] < SOCKS ?
	    sys_mem_map(HANDLE_NONE, m->w[0], 0, PAGE_SIZE + (uint64_t)rx + tx, 0, 3, &va) :
	    E_CORRUPT;
	if (s != OK) {
		(void)sys_handle_close(m->w[0]);
		(void)ask(k, &end, now_ns() + CALL_NS);
		return s;
	}
	*out = (struct sock){ .k = k,
		.number = (uint32_t)m->w[1],
		.ring = (struct sock_ring *)(uintptr_t)va,
		.rx = (uint8_t *)(uintptr_t)va + PAGE_SIZE,
		.tx = (uint8_t *)(uintptr_t)va + PAGE_SIZE + rx,
		.rx_bytes = rx,
		.tx_bytes = tx,
		.memory = (handle_t)m->w[0] };
	return OK;
}

enum status
sock_listen(struct socks *k, uint16_t port, uint32_t backlog, struct sock *s)
{
	struct msg m = { .label = SOCK_CALL_LISTEN, .w = { 0, port, backlog } };
	enum status e = ask(k, &m, now_ns() + CALL_NS);

	if (e == OK)
		e = take(k, &m, 0, 0, s);
	if (e == OK)
		s->port = port;
	return e;
}

enum status
sock_accept(struct sock *listener, uint32_t rx_bytes, uint32_t tx_bytes, struct sock *s)
{
	uint32_t rx = ring_size(rx_bytes), tx = ring_size(tx_bytes);
	struct msg m = { .label = SOCK_CALL_ACCEPT, .w = { 0, listener->number, rx, tx } };
	enum status e;

	if (sock_lost(listener->k))
		return E_PEER;
	if (load_acquire(&listener->ring->waiting) == 0)
		return E_WOULD_BLOCK;
	e = ask(listener->k, &m, now_ns() + CALL_NS);
	if (e == OK)
		e = take(listener->k, &m, rx, tx, s);
	if (e != OK)
		return e;
	memcpy(s->peer.v, &m.w[2], sizeof(s->peer.v));
	s->peer_port = (uint16_t)m.w[4];
	s->port = listener->port;
	return OK;
}

enum status
sock_connect(struct socks *k, const struct sock_addr *to, uint16_t port, uint32_t rx_bytes,
    uint32_t tx_bytes, struct sock *s)
{
	uint32_t rx = ring_size(rx_bytes), tx = ring_size(tx_bytes);
	struct msg m = { .label = SOCK_CALL_CONNECT, .w = { 0, port, 0, 0, rx, tx } };
	enum status e;

	memcpy(&m.w[2], to->v, sizeof(to->v));
	e = ask(k, &m, now_ns() + CALL_NS);
	if (e == OK)
		e = take(k, &m, rx, tx, s);
	if (e != OK)
		return e;
	s->peer = *to;
	s->peer_port = port;
	return OK;
}

enum status
sock_bind(struct socks *k, uint16_t port, uint32_t rx_bytes, uint32_t tx_bytes, struct sock *s)
{
	uint32_t rx = ring_size(rx_bytes), tx = ring_size(tx_bytes);
	struct msg m = { .label = SOCK_CALL_BIND, .w = { 0, port, rx, tx } };
	enum status e = ask(k, &m, now_ns() + CALL_NS);

	if (e == OK)
		e = take(k, &m, rx, tx, s);
	if (e == OK)
		s->port = (uint16_t)m.w[2];
	return e;
}

enum sock_state
sock_state(const struct sock *s)
{
	uint32_t state = load_acquire(&s->ring->state);

	return sock_lost(s->k) || state > SOCK_ENDED ? SOCK_ENDED : (enum sock_state)state;
}

enum status
sock_error(const struct sock *s)
{
	uint32_t e = load_relaxed(&s->ring->error);

	return sock_lost(s->k) ? E_PEER : e < STATUS_COUNT ? (enum status)e : E_CORRUPT;
}

/* A service that lies shows no more than a ring's worth. */
uint32_t
sock_readable(struct sock *s)
{
	return (uint32_t)min_u64(load_acquire(&s->ring->rx_head) - s->rx_tail, s->rx_bytes);
}

const uint8_t *
sock_peek(struct sock *s, uint32_t *len)
{
	uint32_t at = s->rx_tail & (s->rx_bytes - 1);

	*len = (uint32_t)min_u64(sock_readable(s), s->rx_bytes - at);
	return s->rx + at;
}

void
sock_consume(struct sock *s, uint32_t len)
{
	uint32_t told = s->rx_told;

	s->rx_tail += len;
	store_release(&s->ring->rx_tail, s->rx_tail);
	if (s->rx_tail - told < min_u64(s->rx_bytes / 4, TELL_BYTES) &&
	    load_relaxed(&s->ring->rx_wanted) == 0)
		return;
	s->rx_told = s->rx_tail;
	news(s);
}

uint32_t
sock_writable(struct sock *s)
{
	uint32_t n = s->tx_head - load_acquire(&s->ring->tx_tail);

	return n <= s->tx_bytes ? s->tx_bytes - n : 0;
}

uint8_t *
sock_space(struct sock *s, uint32_t *len)
{
	uint32_t at = s->tx_head & (s->tx_bytes - 1), room = sock_writable(s);

	if (room == 0) {
		store_relaxed(&s->ring->tx_wanted, 1);
		s->wants = true;
		smp_full();
		room = sock_writable(s);
	}
	if (room != 0 && s->wants) {
		store_relaxed(&s->ring->tx_wanted, 0);
		s->wants = false;
	}
	*len = (uint32_t)min_u64(room, s->tx_bytes - at);
	return s->tx + at;
}

void
sock_produce(struct sock *s, uint32_t len)
{
	if (len == 0)
		return;
	s->tx_head += len;
	store_release(&s->ring->tx_head, s->tx_head);
	news(s);
}

uint32_t
sock_write(struct sock *s, const void *from, uint32_t len)
{
	uint32_t done = 0, n;

	while (done < len) {
		uint8_t *to = sock_space(s, &n);

		n = (uint32_t)min_u64(n, len - done);
		if (n == 0)
			break;
		memcpy(to, (const uint8_t *)from + done, n);
		sock_produce(s, n);
		done += n;
	}
	return done;
}

uint32_t
sock_read(struct sock *s, void *to, uint32_t len)
{
	uint32_t done = 0, n;

	while (done < len) {
		const uint8_t *from = sock_peek(s, &n);

		n = (uint32_t)min_u64(n, len - done);
		if (n == 0)
			break;
		memcpy((uint8_t *)to + done, from, n);
		sock_consume(s, n);
		done += n;
	}
	return done;
}

uint32_t
sock_unsent(const struct sock *s)
{
	return (uint32_t)min_u64(s->tx_head - load_acquire(&s->ring->tx_tail), s->tx_bytes);
}

void
sock_shutdown(struct sock *s)
{
	store_release(&s->ring->tx_end, 1);
	news(s);
}

static void
end(struct sock *s, bool reset)
{
	struct msg m = { .label = SOCK_CALL_END, .w = { 0, s->number, reset } };

	if (!sock_lost(s->k))
		(void)ask(s->k, &m, now_ns() + CALL_NS);
	s->k->kicked &= ~BIT(s->number);
	sock_forget(s);
}

void sock_close(struct sock *s) { end(s, false); }
void sock_abort(struct sock *s) { end(s, true); }

void
sock_forget(struct sock *s)
{
	struct socks *k = s->k;
	uint32_t state;

	if (k == NULL)
		return;
	state = load_relaxed(&s->ring->state);
	if (sock_lost(k) && s->port != 0 && s->peer_port != 0 && k->gone_count < SOCKS &&
	    (state == SOCK_OPEN || state == SOCK_PEER_CLOSED)) {
		k->gone[k->gone_count].peer = s->peer;
		k->gone[k->gone_count].port = s->port;
		k->gone[k->gone_count++].peer_port = s->peer_port;
	}
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring,
	    PAGE_SIZE + (uint64_t)s->rx_bytes + s->tx_bytes);
	(void)sys_handle_close(s->memory);
	*s = (struct sock){ 0 };
}

/* --- datagrams ----------------------------------------------------------------------------- */

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

enum status
sock_send_to(
    struct sock *s, const struct sock_addr *to, uint16_t port, const void *bytes, uint32_t len)
{
	struct sock_datagram d = { .peer = *to, .port = port, .len = (uint16_t)len };
	uint32_t whole = (uint32_t)align_up(sizeof(d) + len, 8);

	if (len > SOCK_DATAGRAM_MAX)
		return E_OVERFLOW;
	if (sock_writable(s) < whole) {
		store_relaxed(&s->ring->tx_wanted, 1);
		s->wants = true;
		smp_full();
		if (sock_writable(s) < whole)
			return E_WOULD_BLOCK;
	}
	if (s->wants)
		store_relaxed(&s->ring->tx_wanted, 0);
	s->wants = false;
	ring_put(s->tx, s->tx_bytes, s->tx_head, &d, sizeof(d));
	ring_put(s->tx, s->tx_bytes, s->tx_head + (uint32_t)sizeof(d), bytes, len);
	sock_produce(s, whole);
	return OK;
}

enum status
sock_receive_from(struct sock *s, struct sock_addr *from, uint16_t *port, void *bytes,
    uint32_t size, uint32_t *len)
{
	struct sock_datagram d;
	uint32_t there = sock_readable(s), whole;

	if (there < sizeof(d))
		return E_WOULD_BLOCK;
	ring_get(s->rx, s->rx_bytes, s->rx_tail, &d, sizeof(d));
	whole = (uint32_t)align_up(sizeof(d) + d.len, 8);
	if (whole > there)
		return E_CORRUPT;
	*from = d.peer;
	*port = d.port;
	*len = d.len;
	ring_get(s->rx, s->rx_bytes, s->rx_tail + (uint32_t)sizeof(d), bytes,
	    (uint32_t)min_u64(d.len, size));
	sock_consume(s, whole);
	return d.len <= size ? OK : E_OVERFLOW;
}

/* --- questions ------------------------------------------------------------------------------- */

enum status
sock_resolve(struct socks *k, const char *name, struct sock_addr *out, uint32_t count, uint32_t *n,
    uint64_t deadline)
{
	struct msg m = { .label = SOCK_CALL_RESOLVE };
	enum status s;

	*n = 0;
	if (count == 0)
		return E_INVALID;
	if (sock_addr_parse(name, &out[0]) == OK) {
		*n = 1;
		return OK;
	}
	if (strlen(name) >= SOCK_NAME)
		return E_OVERFLOW;
	str_copy(k->page->name, name, sizeof(k->page->name));
	s = ask(k, &m, deadline);
	if (s != OK)
		return s;
	*n = (uint32_t)min_u64(min_u64(m.w[0], count), SOCK_ADDRESSES);
	memcpy(out, k->page->answer.address, *n * sizeof(*out));
	return OK;
}

enum status
sock_ping(struct socks *k, const struct sock_addr *to, uint32_t bytes, uint64_t *took_ns,
    uint64_t deadline)
{
	uint64_t now = now_ns();
	struct msg m = { .label = SOCK_CALL_PING,
		.w = { 0, bytes, 0, 0, deadline > now ? deadline - now : 0 } };
	enum status s;

	memcpy(&m.w[2], to->v, sizeof(to->v));
	s = ask(k, &m, deadline > DEADLINE_NEVER - CALL_NS ? deadline : deadline + CALL_NS);
	if (s == OK)
		*took_ns = m.w[0];
	return s;
}

enum status
sock_interface(struct socks *k, struct sock_interface *out)
{
	struct msg m = { .label = SOCK_CALL_INTERFACE };
	enum status s = ask(k, &m, now_ns() + CALL_NS);

	if (s == OK)
		*out = k->page->answer.interface;
	return s;
}

enum status
sock_entry(struct socks *k, uint32_t n, struct sock_entry *out)
{
	struct msg m = { .label = SOCK_CALL_LIST, .w = { 0, n } };
	enum status s = ask(k, &m, now_ns() + CALL_NS);

	if (s == OK)
		*out = k->page->answer.entry;
	return s;
}
