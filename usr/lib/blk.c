/*
 * The client's end of the block protocol.
 *
 * Restart (D12): every request is kept until it is answered.  A thread of each session, the keeper, stays in a call that the server
 * answers only when the session ends; when the server dies the kernel ends that call, and the keeper wakes whoever waits for answers.
 * He opens a new session with the successor and gives it all kept requests.  Reads and writes are idempotent; a flush covers
 * what was answered before it was put.  So nobody needs a timer to find out.
 */
#include "usr/lib/blk.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"

enum : uint64_t { CALL_NS = 5 * NS_PER_S, AGAIN_NS = 10 * NS_PER_MS, BIT_ANSWERS = 1, BIT_LOST = 2 };

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

static NORETURN void
keep(struct blk *b)
{
	struct msg m;
	enum status s;

	do {
		m = (struct msg){ .label = BLK_CALL_STAY, .words = 1, .w = { b->session } };
		s = msg_call(b->endpoint, &m, DEADLINE_NEVER);
	} while (s == OK && m.label == E_WOULD_BLOCK);
	if (s != OK || m.label != OK) {
		store_release(&b->lost, 1);
		(void)sys_ntfn_signal(b->ntfn, BIT_LOST);
	}
	/* From here on the stack is not used any more. */
	store_release(&b->keeper, 0);
	(void)sys_thread_exit();
	for (;;)
		;
}

static enum status
start_keeper(struct blk *b)
{
	enum status s = E_INVALID;
	uint64_t id;

	while (load_acquire(&b->keeper) != 0)	/* an earlier one is about to end */
		sleep_until(now_ns() + NS_PER_MS);
	store_relaxed(&b->lost, 0);
	store_release(&b->keeper, 1);
	/* As urgent as the caller: the highest that is allowed. */
	for (uint64_t priority = PRIORITY_MAX; s != OK && priority >= PRIORITY_MIN; priority--)
		s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)keep, (uint64_t)(uintptr_t)(b->stack + BLK_STACK) -
		    STACK_ENTRY, (uint64_t)(uintptr_t)b, 0, priority | CPU_ANY << 8, &id);
	if (s != OK)
		store_release(&b->keeper, 0);
	return s;
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
	m.w[7] = BIT_ANSWERS;
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
	b->head = b->shown = b->done_tail = 0;
	return start_keeper(b);
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
	struct msg m = { .label = BLK_CALL_CLOSE, .words = 1, .w = { b->session } };

	if (b->session != 0)
		(void)msg_call(b->endpoint, &m, now_ns() + CALL_NS);
	/* The server has answered the keeper, or is gone. */
	while (load_acquire(&b->keeper) != 0)
		sleep_until(now_ns() + NS_PER_MS / 10);
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

/* Shows the server what was put; true when it sleeps. */
static ALWAYS_INLINE bool
show(struct blk *b)
{
	if (b->shown == b->head)
		return false;
	b->shown = b->head;
	store_release(&b->ring->head, b->head);
	smp_full();
	return load_relaxed(&b->ring->server_sleeps) != 0;
}

void
blk_kick(struct blk *b)
{
	if (show(b))
		(void)sys_ntfn_signal(b->server, b->server_bits);
}

/* The successor of a server that is gone gets everything that is not answered. */
static COLD enum status
find_successor(struct blk *b, uint64_t deadline)
{
	for (;;) {
		enum status s = attach(b);

		if (s == OK)
			break;
		if (s != E_PEER && s != E_TIMED_OUT)
			return s;
		if (now_ns() >= deadline)
			return E_TIMED_OUT;
		sleep_until(now_ns() + AGAIN_NS);
	}
	b->restarts++;
	for (uint32_t i = 0; i < BLK_SLOTS; i++)
		if (b->slot_busy[i])
			write_request(b, &b->kept[i]);
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
		*cookie = (uint32_t)d.cookie;
		*detail = d.detail;
		*status = d.status < STATUS_COUNT ? (enum status)d.status : E_CORRUPT;
		return true;
	}
	return false;
}

/* OK: look again. */
static ALWAYS_INLINE enum status
sleep_for_answer(struct blk *b, uint64_t deadline)
{
	handle_t wake = HANDLE_NONE;
	enum status s = OK;
	uint64_t bits;

	store_relaxed(&b->ring->client_sleeps, 1);
	if (show(b))
		wake = b->server;
	else
		smp_full();
	if (unlikely(load_relaxed(&b->ring->refused) != OK))
		return (enum status)min_u64(load_relaxed(&b->ring->refused), E_CORRUPT);
	if (unlikely(load_acquire(&b->lost) != 0))
		return find_successor(b, deadline);
	/* One call: the server goes on, and this thread sleeps. */
	if (wake != HANDLE_NONE || load_acquire(&b->ring->done_head) == b->done_tail)
		s = sys_ntfn_signal_wait(b->ntfn, deadline, wake, b->server_bits, &bits);
	store_relaxed(&b->ring->client_sleeps, 0);
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
		if (unlikely(s != OK))
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
	return blk_next(b, &cookie, &detail, now_ns() + 60 * NS_PER_S);
}
