/*
 * The client's end of the block protocol.
 *
 * Restart (D12): every request is kept until it is answered.  When no answer comes for a while the client asks the server
 * whether it still knows the session; a new server does not, and gets a new session and all kept requests in their
 * order.  Reads and writes are idempotent; a flush is sent again after the writes before it.
 */
#include "usr/lib/blk.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"

enum : uint64_t { ASK_NS = 200 * NS_PER_MS, CALL_NS = 5 * NS_PER_S };

/* Lets go of what a server gave. */
static void
detach(struct blk *b)
{
	if (b->ring != NULL)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)b->ring, BLK_RING_PAGES * PAGE_SIZE);
	if (b->ring_memory != HANDLE_NONE)
		(void)sys_handle_close(b->ring_memory);
	if (b->server != HANDLE_NONE)
		(void)sys_handle_close(b->server);
	b->ring = NULL;
	b->ring_memory = b->server = HANDLE_NONE;
}

static enum status
attach(struct blk *b)
{
	struct msg m = { .label = BLK_CALL_OPEN, .words = 8, .handles = 3 };
	uint64_t va;
	enum status s;

	m.w[0] = b->data_memory;
	m.w[1] = b->ntfn;
	m.w[3] = (uint64_t)b->rights << 32 | b->index;
	m.w[6] = b->data_bytes;
	m.w[7] = 1;
	s = msg_call(b->endpoint, &m, now_ns() + CALL_NS);
	if (s != OK)
		return s;
	if (m.label != OK)
		return (enum status)m.label;
	s = sys_mem_map(HANDLE_NONE, m.w[1], 0, BLK_RING_PAGES * PAGE_SIZE, 0, 3, &va);
	if (s != OK) {
		(void)sys_handle_close(m.w[0]);
		(void)sys_handle_close(m.w[1]);
		return s;
	}
	detach(b);
	b->ring = (struct blk_ring *)(uintptr_t)va;
	b->server = (handle_t)m.w[0];
	b->ring_memory = (handle_t)m.w[1];
	b->session = m.w[2];
	b->len = m.w[3];
	b->block_bytes = m.w[4];
	b->max_bytes = m.w[5];
	b->server_bits = m.w[6];
	b->head = b->done_tail = 0;
	b->patience = now_ns() + ASK_NS;
	return OK;
}

enum status
blk_open(struct blk *b, handle_t endpoint, uint32_t index, uint32_t rights, uint64_t data_bytes)
{
	uint64_t h, until = now_ns() + CALL_NS;
	enum status s;

	*b = (struct blk){ .endpoint = endpoint, .index = index, .rights = rights };
	b->data_bytes = align_up(data_bytes, PAGE_SIZE);
	b->data = pages_alloc(b->data_bytes / PAGE_SIZE, &b->data_memory);
	if (b->data == NULL || sys_ntfn_create(&h) != OK) {
		blk_close(b);
		return E_NO_MEMORY;
	}
	b->ntfn = (handle_t)h;
	/* A server that is just ending may take the call and leave it: its successor gets it then. */
	do {
		s = attach(b);
		if (s == E_PEER)
			sleep_until(now_ns() + 10 * NS_PER_MS);
	} while (s == E_PEER && now_ns() < until);
	if (s != OK)
		blk_close(b);
	return s;
}

void
blk_close(struct blk *b)
{
	if (b->session != 0) {
		struct msg m = { .label = BLK_CALL_CLOSE, .words = 1, .w = { b->session } };

		(void)msg_call(b->endpoint, &m, now_ns() + CALL_NS);
	}
	detach(b);
	if (b->data != NULL)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)b->data, b->data_bytes);
	(void)sys_handle_close(b->data_memory);
	(void)sys_handle_close(b->ntfn);
	b->data = NULL;
	b->session = 0;
}

static ALWAYS_INLINE void
write_request(struct blk *b, const struct blk_req *r)
{
	b->ring->req[b->head % BLK_SLOTS] = *r;
	b->head++;
}

enum status
blk_put(struct blk *b, uint32_t op, uint64_t at, uint64_t data, uint32_t bytes, uint32_t cookie)
{
	if (b->inflight == BLK_SLOTS)
		return E_WOULD_BLOCK;
	if (cookie >= BLK_SLOTS || b->slot_busy[cookie])
		return E_INVALID;
	b->kept[cookie] = (struct blk_req){ .at = at, .data = data, .cookie = cookie, .bytes = bytes, .op = op };
	b->slot_busy[cookie] = true;
	b->inflight++;
	write_request(b, &b->kept[cookie]);
	return OK;
}

void
blk_kick(struct blk *b)
{
	store_release(&b->ring->head, b->head);
	smp_full();
	if (load_relaxed(&b->ring->server_sleeps) != 0)
		(void)sys_ntfn_signal(b->server, b->server_bits);
}

static enum status
ask(struct blk *b)
{
	struct msg m = { .label = BLK_CALL_PING, .words = 1, .w = { b->session } };
	enum status s = msg_call(b->endpoint, &m, now_ns() + CALL_NS);

	if (s == OK && m.label == OK)
		return OK;
	if (s != OK && s != E_PEER && s != E_TIMED_OUT && s != E_WOULD_BLOCK)
		return s;
	if (s == OK && m.label != E_STALE)
		return (enum status)m.label;
	/* Another server: it has to learn everything anew. */
	s = attach(b);
	if (s != OK)
		return s == E_PEER || s == E_TIMED_OUT ? OK : s;	/* not there yet: later */
	b->restarts++;
	for (uint32_t i = 0; i < BLK_SLOTS; i++)
		if (b->slot_busy[i])
			write_request(b, &b->kept[i]);
	blk_kick(b);
	return OK;
}

/* False: there is none yet. */
static ALWAYS_INLINE bool
take_answer(struct blk *b, uint32_t *cookie, uint32_t *detail, enum status *status)
{
	while (load_acquire(&b->ring->done_head) != b->done_tail) {
		const struct blk_done *from = &b->ring->done[b->done_tail % BLK_SLOTS];
		struct blk_done d = { .cookie = once_load(&from->cookie), .status = once_load(&from->status),
			.detail = once_load(&from->detail) };

		b->done_tail++;
		store_release(&b->ring->done_tail, b->done_tail);
		if (unlikely(d.cookie >= BLK_SLOTS || !b->slot_busy[d.cookie]))
			continue;	/* the server's fault: nobody asked */
		b->slot_busy[d.cookie] = false;
		b->inflight--;
		b->answered = true;
		*cookie = (uint32_t)d.cookie;
		*detail = d.detail;
		*status = d.status < STATUS_COUNT ? (enum status)d.status : E_CORRUPT;
		return true;
	}
	return false;
}

/* OK: look again.  The clock is read only when a wait ended by itself: answers that came meanwhile renew the patience. */
static enum status
sleep_for_answer(struct blk *b, uint64_t deadline)
{
	enum status s = OK;
	uint64_t bits;

	store_relaxed(&b->ring->client_sleeps, 1);
	smp_full();
	if (load_acquire(&b->ring->done_head) == b->done_tail) {
		if (unlikely(load_relaxed(&b->ring->refused) != OK))
			return (enum status)min_u64(load_relaxed(&b->ring->refused), E_CORRUPT);
		s = sys_ntfn_wait(b->ntfn, min_u64(deadline, b->patience), &bits);
	}
	store_relaxed(&b->ring->client_sleeps, 0);
	if (likely(s != E_TIMED_OUT))
		return s;
	if (now_ns() >= deadline)
		return E_TIMED_OUT;
	s = b->answered ? OK : ask(b);
	b->answered = false;
	b->patience = now_ns() + ASK_NS;
	return s;
}

enum status
blk_next(struct blk *b, uint32_t *cookie, uint32_t *detail, uint64_t deadline)
{
	for (;;) {
		enum status s;

		if (take_answer(b, cookie, detail, &s))
			return s;
		s = sleep_for_answer(b, deadline);
		if (s != OK)
			return s;
	}
}

enum status
blk_do(struct blk *b, uint32_t op, uint64_t at, uint64_t data, uint32_t bytes)
{
	uint32_t cookie, detail;
	enum status s = blk_put(b, op, at, data, bytes, 0);

	if (s != OK)
		return s;
	blk_kick(b);
	return blk_next(b, &cookie, &detail, now_ns() + 60 * NS_PER_S);
}
