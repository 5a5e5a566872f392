/*
 * The client's end of the block protocol.
 *
 * Restart (D12): every request is kept until it is answered, and every write, with its bytes, until
 * a flush covers it (blk_keep.h).  A thread of each session, the keeper, stays in a call that the
 * server answers only when the session ends; when the server dies the kernel ends that call, and
 * the keeper wakes whoever waits for answers.  So nobody needs a timer to find out.  He opens a new
 * session with the successor, which exists only when the device was taken apart and reset, and
 * then, in this order:
 *
 *   1. the kept writes that were answered, one after the other, as they were put
 *   2. a flush: from here on they are durable, and not kept any more
 *   3. all that is not answered.  It was in flight together, so it has no order; a flush among it
 *      covers what was answered before it was put, and that is 1
 *
 * A successor may serve another device: one was taken out of its slot, and another came.  So who
 * opens a session asks what disk it is on (its name, its size), and writes nothing to any other.
 *
 * A controller reset inside the server is no restart: what a controller has completed stays through
 * its resets [NVMe 2.1, 3.7.2]; what was in flight the server puts again by itself.
 */
#include "usr/lib/blk.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"

enum : uint64_t {
	CALL_NS = 5 * NS_PER_S,
	OWN_NS = 60 * NS_PER_S,
	AGAIN_NS = 10 * NS_PER_MS
};

/* Lets go of what a server gave. */
static void
detach(struct blk *b)
{
	if (b->ring != NULL)
		(void)sys_mem_unmap(
		    HANDLE_NONE, (uint64_t)(uintptr_t)b->ring, BLK_RING_PAGES * PAGE_SIZE);
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
		(void)sys_ntfn_signal(b->ntfn, b->bits);
	}
	/* From here on the stack is not used any more. */
	store_release(&b->keeper, 0);
	(void)sys_thread_exit();
	for (;;)
		;
}

/* The server has answered the keeper, is gone, or is given up: then the keeper stays, on the stack
 * in *b. */
static bool
keeper_ends(const struct blk *b)
{
	uint64_t until = now_ns() + CALL_NS;

	while (load_acquire(&b->keeper) != 0) {
		if (now_ns() >= until)
			return false;
		sleep_until(now_ns() + NS_PER_MS / 10);
	}
	return true;
}

static enum status
start_keeper(struct blk *b)
{
	enum status s = E_INVALID;
	uint64_t id;

	if (!keeper_ends(b))
		return E_TIMED_OUT;
	store_relaxed(&b->lost, 0);
	store_release(&b->keeper, 1);
	/* As urgent as the caller: the highest that is allowed. */
	for (uint64_t priority = PRIORITY_MAX; s != OK && priority >= PRIORITY_MIN; priority--)
		s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)keep,
		    (uint64_t)(uintptr_t)(b->stack + BLK_STACK) - STACK_ENTRY,
		    (uint64_t)(uintptr_t)b, 0, priority | CPU_ANY << 8, &id);
	if (s != OK)
		store_release(&b->keeper, 0);
	return s;
}

static void
close_session(struct blk *b)
{
	struct msg m = { .label = BLK_CALL_CLOSE, .words = 1, .w = { b->session } };

	(void)msg_call(
	    b->endpoint, &m, now_ns() + CALL_NS); /* a server that is dead has no sessions */
}

/* What the session is on, the first time; later whether it is the same.  E_NO_DEVICE: it is not. */
static enum status
identify(struct blk *b, uint64_t len, uint64_t block_bytes)
{
	struct msg m = { .label = BLK_CALL_NAME };
	enum status s = msg_call(b->endpoint, &m, now_ns() + CALL_NS);

	if (s == OK)
		s = msg_answer(&m, 0);
	if (s != OK)
		return s;
	if (!b->named) {
		memcpy(b->name, m.w, sizeof(b->name));
		b->named = true;
	} else if (memcmp(b->name, m.w, sizeof(b->name)) != 0 || b->len != len ||
	    b->block_bytes != block_bytes) {
		return E_NO_DEVICE;
	}
	return OK;
}

/* Somebody else may have written where these would go: they are not put again, and the next flush
 * tells. */
static void
forget(struct blk *b)
{
	uint32_t n = b->keep.first, i;

	while ((i = keep_next(&b->keep, &n)) != KEEP_NONE) {
		keep_drop(&b->keep, i);
		b->damage = E_STALE;
	}
}

static enum status
attach(struct blk *b, bool again)
{
	struct msg m = { .label = BLK_CALL_OPEN, .words = 8, .handles = 3 };
	uint64_t va;
	enum status s;

	m.w[0] = b->data_memory;
	m.w[1] = b->ntfn;
	m.w[3] = (uint64_t)b->rights << 32 | b->index;
	m.w[4] = b->base;
	m.w[5] = b->asked;
	m.w[6] = b->area_bytes;
	m.w[7] = b->bits;
	s = msg_call(b->endpoint, &m, now_ns() + CALL_NS);
	if (s == OK)
		s = msg_answer(&m, 3);
	if (s != OK)
		return s;
	s = identify(b, m.w[3], m.w[4]);
	if (s == OK)
		s = sys_mem_map(HANDLE_NONE, m.w[1], 0, BLK_RING_PAGES * PAGE_SIZE, 0, 3, &va);
	if (s != OK) {
		(void)sys_handle_close(m.w[0]);
		(void)sys_handle_close(m.w[1]);
		b->session = m.w[2];
		close_session(b);
		return s;
	}
	if (b->ring != NULL)		/* what the predecessor said last */
		keep_successor(&b->keep, load_acquire(&b->ring->durable));
	detach(b);
	b->ring = (struct blk_ring *)(uintptr_t)va;
	b->server = (handle_t)m.w[0];
	b->ring_memory = (handle_t)m.w[1];
	b->session = m.w[2];
	b->len = m.w[3];
	b->block_bytes = m.w[4];
	b->max_bytes = m.w[5];
	b->server_bits = m.w[6];
	b->durable = (m.w[7] & BLK_DURABLE) != 0;
	if (again && (m.w[7] & BLK_TOUCHED) != 0)
		forget(b);
	b->head = b->shown = b->done_tail = 0;
	b->inflight -= b->slot[BLK_OWN].busy;
	b->slot[BLK_OWN].busy = false;
	s = start_keeper(b);
	if (s != OK)
		close_session(b);
	return s;
}

static enum status
open_with(struct blk *b, handle_t endpoint, const struct blk_wish *w, uint32_t memory)
{
	uint64_t h, until = now_ns() + CALL_NS;
	enum status s;

	if (load_acquire(&b->keeper) != 0)
		return E_BUSY;
	*b = (struct blk){ .endpoint = endpoint,
		.index = w->index,
		.rights = w->rights,
		.base = w->base,
		.asked = w->len,
		.bits = w->bits,
		.ntfn = w->ntfn,
		.wait = w->wait,
		.borrowed = w->ntfn != HANDLE_NONE };
	b->data_bytes = align_up(w->data_bytes, PAGE_SIZE);
	b->area_bytes = b->data_bytes + ((w->rights & BLK_RIGHT_WRITE) != 0 ? BLK_KEEP_BYTES : 0);
	keep_init(&b->keep, b->data_bytes, b->area_bytes - b->data_bytes);
	b->data = pages_alloc_as(b->area_bytes / PAGE_SIZE, memory, &b->data_memory);
	if (b->data == NULL || (!b->borrowed && sys_ntfn_create(&h) != OK)) {
		blk_close(b);
		return E_NO_MEMORY;
	}
	if (!b->borrowed)
		b->ntfn = (handle_t)h;
	if (b->wait == HANDLE_NONE)
		b->wait = b->ntfn;
	/* A server that is just ending may take the call and leave it: its successor gets it then.
	 * A session that is just ending may still have writes to wait for. */
	do {
		s = attach(b, false);
		if (s == E_PEER || s == E_BUSY)
			sleep_until(now_ns() + AGAIN_NS);
	} while ((s == E_PEER || s == E_BUSY) && now_ns() < until);
	if (s != OK)
		blk_close(b);
	return s;
}

enum status
blk_open_wish(struct blk *b, handle_t endpoint, const struct blk_wish *w)
{
	enum status s = open_with(b, endpoint, w, 0);

	/* Memory that its device does not reach. */
	return s != E_RANGE ? s : open_with(b, endpoint, w, MEM_BELOW_4G);
}

enum status
blk_open(struct blk *b, handle_t endpoint, uint32_t index, uint32_t rights, uint64_t data_bytes)
{
	struct blk_wish w = {
		.index = index, .rights = rights, .data_bytes = data_bytes, .bits = 1
	};

	return blk_open_wish(b, endpoint, &w);
}

void
blk_close(struct blk *b)
{
	if (b->session != 0)
		close_session(b);
	(void)keeper_ends(b);
	detach(b);
	if (b->data != NULL)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)b->data, b->area_bytes);
	(void)sys_handle_close(b->data_memory);
	if (!b->borrowed)
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

/* An answer to a write or a flush: what is kept from now on. */
static COLD void
settle(struct blk *b, uint32_t cookie, uint32_t answer, enum status *status)
{
	const struct blk_req *r = &b->kept[cookie];
	const struct blk_slot *slot = &b->slot[cookie];

	if ((r->op & 0xff) == BLK_FLUSH) {
		if (*status == OK)
			keep_flushed(&b->keep, slot->covers);
		if (*status == OK && b->damage != OK && cookie != BLK_OWN) {
			*status = b->damage;
			b->damage = OK;
		}
	} else if (slot->record != KEEP_NONE) {
		bool durable = b->durable || (r->op & BLK_FUA) != 0 ||
		    (int32_t)(load_relaxed(&b->ring->durable) - answer) > 0;

		if (*status == OK && durable)
			keep_cover(&b->keep, slot->record, r->at, r->bytes, b->data,
			    b->data + r->data);
		if (keep_answered(&b->keep, slot->record, *status == OK, durable, answer))
			memcpy(b->data + b->keep.write[slot->record].data, b->data + r->data,
			    r->bytes);
	}
}

/* False: there is none yet. */
static ALWAYS_INLINE bool
take_answer(struct blk *b, uint32_t *cookie, uint32_t *detail, enum status *status)
{
	while (load_acquire(&b->ring->done_head) != b->done_tail) {
		const struct blk_done *from = &b->ring->done[b->done_tail % BLK_SLOTS];
		struct blk_done d = { .cookie = once_load(&from->cookie),
			.status = once_load(&from->status),
			.detail = once_load(&from->detail) };

		b->done_tail++;
		store_release(&b->ring->done_tail, b->done_tail);
		if (unlikely(d.cookie > BLK_OWN || !b->slot[d.cookie].busy))
			continue;	/* the server's fault: nobody asked */
		*cookie = (uint32_t)d.cookie;
		*detail = d.detail;
		*status = d.status < STATUS_COUNT ? (enum status)d.status : E_CORRUPT;
		if (unlikely((b->kept[d.cookie].op & 0xff) != BLK_READ))
			settle(b, *cookie, b->done_tail - 1, status);
		b->slot[d.cookie].busy = false;
		b->inflight--;
		if (likely(d.cookie != BLK_OWN))
			return true;
		b->own_status = *status;
	}
	return false;
}

static enum status find_successor(struct blk *b, uint64_t deadline);

/* OK: look again.  own: for an answer to the library's own request; E_PEER when the server is lost.
 */
static ALWAYS_INLINE enum status
sleep_for_answer(struct blk *b, uint64_t deadline, bool own)
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
		return own ? E_PEER : find_successor(b, deadline);
	/* One call: the server goes on, and this thread sleeps. */
	if (wake != HANDLE_NONE || load_acquire(&b->ring->done_head) == b->done_tail)
		s = sys_ntfn_signal_wait(b->wait, deadline, wake, b->server_bits, &bits);
	store_relaxed(&b->ring->client_sleeps, 0);
	return s;
}

/* One answer to a caller's request is put aside.  own: until the library's own has come. */
static COLD enum status
put_aside(struct blk *b, uint64_t deadline, bool own)
{
	struct blk_answer a;

	if (!take_answer(b, &a.cookie, &a.detail, &a.status))
		return own && !b->slot[BLK_OWN].busy ? OK : sleep_for_answer(b, deadline, own);
	b->early[b->early_next++ % BLK_SLOTS] = a;
	return OK;
}

/* A request of the library's own, start to end: answered by b->own_status.  E_PEER: the server is
 * lost. */
static COLD enum status
do_own(struct blk *b, struct blk_req r, uint64_t deadline)
{
	enum status s = OK;

	while (b->slot[BLK_OWN].busy && s == OK)	/* one whose time was up before */
		s = put_aside(b, deadline, true);
	if (s != OK)
		return s;
	r.cookie = BLK_OWN;
	b->kept[BLK_OWN] = r;
	b->slot[BLK_OWN] =
	    (struct blk_slot){ .covers = keep_mark(&b->keep), .record = KEEP_NONE, .busy = true };
	b->inflight++;
	write_request(b, &r);
	while (b->slot[BLK_OWN].busy && s == OK)
		s = put_aside(b, deadline, true);
	return s;
}

/* A write that fails now is told by the next flush; a flush that fails leaves them kept. */
static COLD enum status
rewrite_kept(struct blk *b, uint64_t deadline)
{
	uint32_t n = b->keep.first, i;
	enum status s = OK;
	bool any = false;

	while (s == OK && (i = keep_next(&b->keep, &n)) != KEEP_NONE) {
		const struct kept_write *w = &b->keep.write[i];

		s = do_own(b,
		    (struct blk_req){
			.at = w->at, .data = w->data, .bytes = w->bytes, .op = BLK_WRITE },
		    deadline);
		if (s == OK && b->own_status != OK) {
			b->damage = b->own_status;
			keep_drop(&b->keep, i);
		}
		b->rewrites += s == OK;
		any = true;
	}
	return s == OK && any ? do_own(b, (struct blk_req){ .op = BLK_FLUSH }, deadline) : s;
}

/* What may be otherwise a moment later: who of many clients comes first after a restart takes what
 * the others wait for. */
static bool
passes(enum status s)
{
	return s == E_PEER || s == E_TIMED_OUT || s == E_BUSY || s == E_QUOTA || s == E_NO_MEMORY;
}

/*
 * The successor of a server that is gone gets what no flush covers, and everything that is not
 * answered.  Half of that is nothing: who does not get it all gets it anew.
 */
static COLD enum status
find_successor(struct blk *b, uint64_t deadline)
{
	for (;;) {
		enum status s = attach(b, true);

		if (s == OK) {
			b->restarts++;
			s = rewrite_kept(b, now_ns() + OWN_NS);
			if (s == OK)
				break;
			if (s != E_PEER)
				close_session(b);
		}
		store_release(&b->lost, 1);
		if (!passes(s))
			return s;
		if (now_ns() >= deadline)
			return E_TIMED_OUT;
		sleep_until(now_ns() + AGAIN_NS);
	}
	for (uint32_t i = 0; i < BLK_SLOTS; i++)
		if (b->slot[i].busy)
			write_request(b, &b->kept[i]);
	return OK;
}

/* Nothing is kept any more. */
COLD enum status
blk_drain(struct blk *b)
{
	uint64_t deadline = now_ns() + OWN_NS;
	enum status s = OK;

	while (b->keep.unanswered != 0 && s == OK)
		s = put_aside(b, deadline, false);
	while (!keep_empty(&b->keep) && s == OK) {
		s = do_own(b, (struct blk_req){ .op = BLK_FLUSH }, deadline);
		if (s == E_PEER)
			s = find_successor(b, deadline);
		else if (s == OK)
			s = b->own_status;
	}
	return s;
}

/* Room to keep a write. */
static COLD enum status
keep_write(struct blk *b, uint32_t *op, uint64_t at, uint64_t data, uint32_t bytes, uint8_t *record)
{
	uint32_t i;
	enum status s;

	*record = KEEP_NONE;
	if (b->durable || b->keep.size == 0)
		return OK;
	if (!range_within(data, bytes, 0, b->data_bytes))
		return E_RANGE;		/* not the caller's to write from */
	i = keep_put(&b->keep, at, bytes);
	if (i == KEEP_NONE) {
		s = blk_drain(b);
		if (s != OK)
			return s;
		i = keep_put(&b->keep, at, bytes);
	}
	if (i == KEEP_NONE)
		*op |= BLK_FUA;		/* more than there will ever be room for */
	*record = (uint8_t)i;
	return OK;
}

enum status
blk_put(struct blk *b, uint32_t op, uint64_t at, uint64_t data, uint32_t bytes, uint32_t cookie)
{
	uint8_t record = KEEP_NONE;
	enum status s;

	if (b->inflight + (b->early_next - b->early_first) == BLK_SLOTS)
		return E_WOULD_BLOCK;
	if (cookie >= BLK_SLOTS || b->slot[cookie].busy)
		return E_INVALID;
	/* Nothing that is kept may come over it after a restart. */
	if (unlikely((op & 0xff) == BLK_DISCARD || (op & 0xff) == BLK_ZERO)) {
		s = blk_drain(b);
		if (s != OK)
			return s;
	}
	if (unlikely((op & 0xff) == BLK_WRITE)) {
		s = keep_write(b, &op, at, data, bytes, &record);
		if (s != OK)
			return s;
	}
	b->kept[cookie] =
	    (struct blk_req){ .at = at, .data = data, .cookie = cookie, .bytes = bytes, .op = op };
	b->slot[cookie] =
	    (struct blk_slot){ .covers = keep_mark(&b->keep), .record = record, .busy = true };
	b->inflight++;
	write_request(b, &b->kept[cookie]);
	return OK;
}

enum status
blk_next(struct blk *b, uint32_t *cookie, uint32_t *detail, uint64_t deadline)
{
	enum status s;

	if (unlikely(b->early_first != b->early_next)) {
		const struct blk_answer *a = &b->early[b->early_first++ % BLK_SLOTS];

		*cookie = a->cookie;
		*detail = a->detail;
		return a->status;
	}
	for (;;) {
		if (take_answer(b, cookie, detail, &s))
			return s;
		s = sleep_for_answer(b, deadline, false);
		if (unlikely(s != OK))
			return s;
	}
}

enum status
blk_poll(struct blk *b, struct blk_answer *a)
{
	uint32_t refused;

	if (unlikely(b->early_first != b->early_next)) {
		*a = b->early[b->early_first++ % BLK_SLOTS];
		return OK;
	}
	if (take_answer(b, &a->cookie, &a->detail, &a->status))
		return OK;
	refused = load_relaxed(&b->ring->refused);
	if (unlikely(refused != OK))
		return (enum status)min_u64(refused, E_CORRUPT);
	return unlikely(load_acquire(&b->lost) != 0) ? E_PEER : E_WOULD_BLOCK;
}

enum status
blk_recover(struct blk *b, uint64_t deadline)
{
	return load_acquire(&b->lost) != 0 ? find_successor(b, deadline) : OK;
}

bool
blk_put_waits(const struct blk *b, uint32_t op, uint32_t bytes)
{
	op &= 0xff;
	if (b->durable || b->keep.size == 0 || keep_empty(&b->keep))
		return false;
	return op == BLK_DISCARD || op == BLK_ZERO ||
	    (op == BLK_WRITE && !keep_has_room(&b->keep, bytes));
}

bool
blk_may_sleep(struct blk *b)
{
	store_relaxed(&b->ring->client_sleeps, 1);
	if (show(b))
		(void)sys_ntfn_signal(b->server, b->server_bits);
	else
		smp_full();
	return b->early_first == b->early_next &&
	    load_acquire(&b->ring->done_head) == b->done_tail &&
	    load_relaxed(&b->ring->refused) == OK && load_acquire(&b->lost) == 0;
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
