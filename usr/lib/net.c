/*
 * The client's end of the packet protocol.
 *
 * Restart: what was put and posted is kept until it is answered.  A thread of the session, the
 * keeper, stays in a call that the server answers only when the session ends; when the server dies
 * the kernel ends that call.  The keeper then waits until somebody serves the endpoint again, which
 * is only when the device was taken apart and reset, and no old grant of the area is left.  So a
 * client that lives on events never waits for a server: net_turn opens the new session, and all
 * that is outstanding goes into its ring in the order it was put in.
 *
 * Answers may come in another order than slots were put.  A slot is free when all before it are
 * answered, too.
 */
#include "usr/lib/net.h"
#include "kern/base/bits.h"

enum : uint64_t {
	CALL_NS = 5 * NS_PER_S,
	ATTACH_NS = NS_PER_S,
	AGAIN_NS = 10 * NS_PER_MS,
};
enum { SERVED = 0, LOST = 1, FOUND = 2 };	/* net.lost */

enum status
net_info(handle_t endpoint, struct net_info *out, uint64_t deadline)
{
	struct msg m = { .label = NET_CALL_INFO };
	enum status s = msg_call(endpoint, &m, deadline);

	if (s == OK)
		s = msg_answer(&m, 0);
	if (s != OK)
		return s;
	*out = (struct net_info){ .mtu = (uint16_t)(m.w[0] >> 48),
		.features = (uint16_t)m.w[1],
		.promiscuous = (m.w[1] >> 16 & 1) != 0,
		.link = (uint32_t)(m.w[1] >> 32),
		.rx_packets = m.w[2],
		.tx_packets = m.w[3],
		.rx_bytes = m.w[4],
		.tx_bytes = m.w[5],
		.rx_dropped = (uint32_t)m.w[6],
		.tx_failed = (uint32_t)(m.w[6] >> 32),
		.resets = (uint32_t)m.w[7],
		.refused = (uint32_t)(m.w[7] >> 32) };
	memcpy(out->mac, &m.w[0], sizeof(out->mac));
	return OK;
}

static enum status
change(handle_t endpoint, uint32_t label, uint64_t word, uint64_t deadline)
{
	struct msg m = { .label = label, .words = 1, .w = { word } };
	enum status s = msg_call(endpoint, &m, deadline);

	return s != OK ? s : msg_answer(&m, 0);
}

enum status
net_set_promiscuous(handle_t endpoint, bool on, uint64_t deadline)
{
	return change(endpoint, NET_CALL_PROMISCUOUS, on, deadline);
}

enum status
net_set_mac(handle_t endpoint, const uint8_t mac[6], uint64_t deadline)
{
	uint64_t word = 0;

	memcpy(&word, mac, 6);
	return change(endpoint, NET_CALL_MAC, word, deadline);
}

static void
say_lost(struct net *n, uint32_t how)
{
	store_release(&n->lost, how);
	(void)sys_ntfn_signal(n->ntfn, n->bits);
}

/* session 0: the server is known to be gone. */
static NORETURN void
keep(struct net *n)
{
	struct net_info i;
	struct msg m = { .label = E_STALE };
	enum status s = OK;

	while (n->session != 0) {
		m = (struct msg){ .label = NET_CALL_STAY, .words = 1, .w = { n->session } };
		s = msg_call(n->endpoint, &m, DEADLINE_NEVER);
		if (s != OK || m.label != E_WOULD_BLOCK)
			break;
	}
	if (s != OK || m.label != OK) {
		say_lost(n, LOST);
		do {
			sleep_until(now_ns() + AGAIN_NS);
			s = net_info(n->endpoint, &i, now_ns() + ATTACH_NS);
		} while ((s == E_PEER || s == E_TIMED_OUT) && load_acquire(&n->closing) == 0);
	}
	if (load_relaxed(&n->lost) == LOST)
		say_lost(n, FOUND);
	/* From here on the stack is not used any more. */
	store_release(&n->keeper, 0);
	(void)sys_thread_exit();
	for (;;)
		;
}

/* False: the server has not answered the keeper; he stays, on the stack in *n. */
static bool
keeper_ends(const struct net *n)
{
	uint64_t until = now_ns() + CALL_NS;

	while (load_acquire(&n->keeper) != 0) {
		if (now_ns() >= until)
			return false;
		sleep_until(now_ns() + NS_PER_MS / 10);
	}
	return true;
}

static enum status
start_keeper(struct net *n)
{
	enum status s = E_INVALID;
	uint64_t id;

	if (!keeper_ends(n))
		return E_TIMED_OUT;
	store_relaxed(&n->lost, n->session != 0 ? SERVED : LOST);
	store_release(&n->keeper, 1);
	/* As urgent as the caller: the highest that is allowed. */
	for (uint64_t priority = PRIORITY_MAX; s != OK && priority >= PRIORITY_MIN; priority--)
		s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)keep,
		    (uint64_t)(uintptr_t)(n->stack + NET_STACK) - STACK_ENTRY,
		    (uint64_t)(uintptr_t)n, 0, priority | CPU_ANY << 8, &id);
	if (s != OK)
		store_release(&n->keeper, 0);
	return s;
}

/* Lets go of what a server gave. */
static void
detach(struct net *n)
{
	if (n->ring != NULL)
		(void)sys_mem_unmap(
		    HANDLE_NONE, (uint64_t)(uintptr_t)n->ring, NET_RING_PAGES * PAGE_SIZE);
	if (n->ring_memory != HANDLE_NONE)
		(void)sys_handle_close(n->ring_memory);
	if (n->server != HANDLE_NONE)
		(void)sys_handle_close(n->server);
	n->ring = NULL;
	n->ring_memory = n->server = HANDLE_NONE;
}

static void
close_session(struct net *n)
{
	struct msg m = { .label = NET_CALL_CLOSE, .words = 1, .w = { n->session } };

	/* A server that is dead has no sessions. */
	(void)msg_call(n->endpoint, &m, now_ns() + CALL_NS);
	n->session = 0;
}

static enum status
attach(struct net *n)
{
	struct msg m = { .label = NET_CALL_OPEN,
		.words = 5,
		.handles = 3,
		.w = { n->area, n->ntfn, 0, n->area_bytes, n->bits } };
	uint64_t va;
	enum status s = msg_call(n->endpoint, &m, now_ns() + ATTACH_NS);

	if (s == OK)
		s = msg_answer(&m, 3);
	if (s != OK)
		return s;
	n->session = m.w[2];
	s = sys_mem_map(HANDLE_NONE, m.w[1], 0, NET_RING_PAGES * PAGE_SIZE, 0, 3, &va);
	if (s != OK) {
		(void)sys_handle_close(m.w[0]);
		(void)sys_handle_close(m.w[1]);
		close_session(n);
		return s;
	}
	detach(n);
	n->ring = (struct net_ring *)(uintptr_t)va;
	n->server = (handle_t)m.w[0];
	n->ring_memory = (handle_t)m.w[1];
	memcpy(n->mac, &m.w[3], sizeof(n->mac));
	n->mtu = (uint16_t)(m.w[3] >> 48);
	n->features = (uint32_t)m.w[4];
	n->server_bits = m.w[5];
	n->tx_done_tail = n->rx_tail = 0;
	n->broken = false;
	s = start_keeper(n);
	if (s != OK)
		close_session(n);
	return s;
}

enum status
net_open(struct net *n, handle_t endpoint, handle_t area, void *base, uint64_t area_bytes,
    handle_t ntfn, uint64_t bits)
{
	uint64_t until = now_ns() + CALL_NS;
	enum status s;

	if (load_acquire(&n->keeper) != 0)
		return E_BUSY;
	*n = (struct net){ .endpoint = endpoint,
		.area = area,
		.ntfn = ntfn,
		.base = base,
		.area_bytes = area_bytes,
		.bits = bits };
	/* A server that is just ending may take the call and leave it: its successor gets it then.
	 * A client that died a moment ago may not have been missed yet. */
	do {
		s = attach(n);
		if (s == E_PEER || s == E_BUSY)
			sleep_until(now_ns() + AGAIN_NS);
	} while ((s == E_PEER || s == E_BUSY) && now_ns() < until);
	if (s != OK)
		detach(n);
	return s;
}

void
net_close(struct net *n)
{
	store_release(&n->closing, 1);
	if (n->session != 0)
		close_session(n);
	(void)keeper_ends(n);
	detach(n);
}

static ALWAYS_INLINE void
write_tx(struct net *n, uint32_t at)
{
	struct net_tx *to = &n->ring->tx[(at - n->tx_base) % NET_SLOTS];

	*to = n->sent[at % NET_SLOTS].tx;
	to->cookie = at % NET_SLOTS;
}

static ALWAYS_INLINE void
write_post(struct net *n, uint32_t i)
{
	struct net_post *to = &n->ring->post[n->post_head % NET_SLOTS];

	*to = n->posted[i];
	to->cookie = i;
	n->post_head++;
}

/*
 * Everything that is not answered, into a new ring.  Of packets what is answered between it goes:
 * from the head backwards the others move up, so that nothing is written over that was not read.
 */
static void
replay(struct net *n)
{
	uint32_t to = n->tx_head;

	for (uint32_t i = n->tx_head; i != n->tx_first; i--)
		if (!n->sent[(i - 1) % NET_SLOTS].done)
			n->sent[--to % NET_SLOTS] = n->sent[(i - 1) % NET_SLOTS];
	n->tx_first = n->tx_base = n->tx_shown = to;
	for (; to != n->tx_head; to++)
		write_tx(n, to);
	n->post_head = n->post_shown = 0;
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		if ((n->busy[i / 64] >> i % 64 & 1) != 0)
			write_post(n, i);
}

/* What may be otherwise a moment later. */
static bool
passes(enum status s)
{
	return s == E_PEER || s == E_TIMED_OUT || s == E_BUSY || s == E_QUOTA || s == E_NO_MEMORY;
}

static COLD enum status
find_successor(struct net *n)
{
	enum status s;

	if (load_acquire(&n->lost) == LOST)
		return E_PEER;
	s = attach(n);
	if (s == OK) {
		n->restarts++;
		replay(n);
		return OK;
	}
	if (!passes(s))
		return s;
	n->session = 0;
	s = start_keeper(n);
	return s == OK ? E_PEER : s;
}

enum status
net_turn(struct net *n)
{
	if (unlikely(load_acquire(&n->lost) != SERVED))
		return find_successor(n);
	return likely(load_relaxed(&n->ring->refused) == OK && !n->broken) ? OK : E_CORRUPT;
}

enum status
net_put(struct net *n, const struct net_tx *slots, uint32_t count)
{
	if (unlikely(count == 0 || count > NET_FRAGMENTS))
		return E_RANGE;
	if (net_room(n) < count)
		return E_WOULD_BLOCK;
	for (uint32_t i = 0; i < count; i++) {
		struct net_sent *s = &n->sent[(n->tx_head + i) % NET_SLOTS];

		s->tx = slots[i];
		if (i + 1 < count)
			s->tx.flags |= NET_MORE;
		else
			s->tx.flags &= (uint16_t)~NET_MORE;
		s->slots = i == 0 ? (uint8_t)count : 0;
		s->done = false;
		write_tx(n, n->tx_head + i);
	}
	n->tx_head += count;
	return OK;
}

enum status
net_post(struct net *n, uint32_t at, uint32_t bytes, uint32_t cookie)
{
	uint32_t i = 0;

	if (net_post_room(n) == 0)
		return E_WOULD_BLOCK;
	while (n->busy[i] == UINT64_MAX)
		i++;
	i = 64 * i + lowest_bit(~n->busy[i]);
	n->busy[i / 64] |= 1ull << i % 64;
	n->posts++;
	n->posted[i] = (struct net_post){ .at = at, .bytes = bytes, .cookie = cookie };
	write_post(n, i);
	return OK;
}

/* The position that a packet's cookie means; false: nothing outstanding is there. */
static ALWAYS_INLINE bool
outstanding(uint32_t cookie, uint32_t first, uint32_t shown, uint32_t *at)
{
	if (cookie >= NET_SLOTS)
		return false;
	*at = first + ((cookie - first) % NET_SLOTS);
	return *at - first < shown - first;
}

/* The server has this buffer.  One that was not shown yet, too: then what is in it is as good as
 * anything else that a server may say. */
static ALWAYS_INLINE bool
is_posted(const struct net *n, uint32_t cookie)
{
	return cookie < NET_SLOTS && (n->busy[cookie / 64] >> cookie % 64 & 1) != 0;
}

/* There is an answer to be read.  A head that cannot be ends the session; so do lies without end,
 * each of which cost a look. */
static ALWAYS_INLINE bool
more(struct net *n, const uint32_t *head, uint32_t tail, uint32_t lies)
{
	uint32_t there = load_acquire(head) - tail;

	if (there == 0)
		return false;
	if (unlikely(there > NET_SLOTS || n->lies - lies >= NET_SLOTS))
		n->broken = true;
	return !n->broken;
}

bool
net_next_sent(struct net *n, uint32_t *cookie, enum status *status)
{
	uint32_t lies = n->lies;

	while (more(n, &n->ring->tx_done_head, n->tx_done_tail, lies)) {
		const struct net_tx_done *from = &n->ring->tx_done[n->tx_done_tail % NET_SLOTS];
		uint32_t c = once_load(&from->cookie), s = once_load(&from->status), at = 0, slots;
		struct net_sent *e;

		n->tx_done_tail++;
		store_release(&n->ring->tx_done_tail, n->tx_done_tail);
		if (unlikely(!outstanding(c, n->tx_first, n->tx_shown, &at) ||
			n->sent[c].done || n->sent[c].slots == 0)) {
			n->lies++;
			continue;
		}
		e = &n->sent[c];
		*cookie = e->tx.cookie;
		*status = s < STATUS_COUNT ? (enum status)s : E_CORRUPT;
		slots = e->slots;
		for (uint32_t i = 0; i < slots; i++)
			n->sent[(at + i) % NET_SLOTS].done = true;
		while (n->tx_first != n->tx_head && n->sent[n->tx_first % NET_SLOTS].done)
			n->tx_first++;
		return true;
	}
	return false;
}

bool
net_next_rx(struct net *n, struct net_rx *out)
{
	uint32_t lies = n->lies;

	while (more(n, &n->ring->rx_head, n->rx_tail, lies)) {
		const struct net_rx *from = &n->ring->rx[n->rx_tail % NET_SLOTS];
		const struct net_post *post;
		uint32_t c;

		memcpy(out, from, sizeof(*out));
		/* The copy is what is judged: whatever the slot says next changes nothing. */
		__asm__ volatile("" ::: "memory");
		n->rx_tail++;
		store_release(&n->ring->rx_tail, n->rx_tail);
		c = out->cookie;
		if (unlikely(!is_posted(n, c))) {
			n->lies++;
			continue;
		}
		post = &n->posted[c];
		n->busy[c / 64] &= ~(1ull << c % 64);
		n->posts--;
		out->cookie = post->cookie;
		if (unlikely(out->bytes != 0 &&
			(out->first < NET_HEAD - NET_LEAD ||
			    !range_within(out->first, out->bytes, 0, post->bytes)))) {
			n->lies++;
			out->bytes = 0;
			out->first = NET_HEAD;
		}
		if (unlikely(out->bytes != 0 && out->first == NET_HEAD - NET_LEAD))
			memcpy(n->base + post->at + out->first, out->lead, NET_LEAD);
		return true;
	}
	return false;
}

void
net_look(struct net *n)
{
	uint64_t mac = load_relaxed(&n->ring->mac);

	memcpy(n->mac, &mac, sizeof(n->mac));
}

/* Shows the server what was put and posted; true when it sleeps. */
static ALWAYS_INLINE bool
show(struct net *n)
{
	if (n->tx_shown == n->tx_head && n->post_shown == n->post_head)
		return false;
	n->tx_shown = n->tx_head;
	n->post_shown = n->post_head;
	store_release(&n->ring->post_head, n->post_head);
	store_release(&n->ring->tx_head, n->tx_head - n->tx_base);
	smp_full();
	return load_relaxed(&n->ring->server_sleeps) != 0;
}

void
net_kick(struct net *n)
{
	if (show(n))
		(void)sys_ntfn_signal(n->server, n->server_bits);
}

uint32_t
net_pairs(const struct net *n, struct net_pair out[NET_PAIRS])
{
	uint32_t count = n->ring != NULL ? once_load(&n->ring->pairs) : 0;

	count = (uint32_t)min_u64(count, NET_PAIRS);
	for (uint32_t i = 0; i < count; i++)
		out[i] = (struct net_pair){ .rx_packets = once_load(&n->ring->pair[i].rx_packets),
			.tx_packets = once_load(&n->ring->pair[i].tx_packets) };
	return count;
}

bool
net_may_sleep(struct net *n, handle_t *signal, uint64_t *bits)
{
	struct net_ring *r = n->ring;
	bool wake;

	store_relaxed(&r->client_sleeps, 1);
	wake = show(n);
	smp_full();
	if (load_acquire(&r->tx_done_head) != n->tx_done_tail ||
	    load_acquire(&r->rx_head) != n->rx_tail) {
		store_relaxed(&r->client_sleeps, 0);
		if (wake)
			(void)sys_ntfn_signal(n->server, n->server_bits);
		return false;
	}
	if (signal == NULL) {
		if (wake)
			(void)sys_ntfn_signal(n->server, n->server_bits);
		return true;
	}
	*signal = wake ? n->server : HANDLE_NONE;
	*bits = n->server_bits;
	return true;
}

void
net_woke(struct net *n)
{
	store_relaxed(&n->ring->client_sleeps, 0);
}
