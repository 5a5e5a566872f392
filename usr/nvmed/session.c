/*
 * Sessions: a client's ring, its data area, and its byte range of a namespace.
 *
 * The ring is the client's to write.  Indices and entries are read once and judged (blk.h).  What
 * an honest client can run into (a range, an alignment, a right) is answered with a status; indices
 * that cannot be end the session, and nothing of it is believed any more.  Requests beyond the
 * device's depth stay in the ring until completions make room.
 *
 * Two that may write to the same bytes: what one of them knows to be answered and not durable it
 * would put again to a successor of this server, over what the other wrote later.  So while they
 * share, all their writes go with FUA, and the second opens only when a flush has covered what the
 * first was told before (settle).
 *
 * When a session closes, its requests in the device are waited for before the grant is taken back.
 * Until then no session that may write opens on what it could write: its writes would come over
 * those of its successor.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/nvmed/nvmed.h"

enum { LINES_A_SECOND = 8 };
enum : uint64_t { ALONE_NS = 5 * NS_PER_S };	/* how long a session may be without its keeper */

static uint32_t
number(const struct session *s)
{
	return (uint32_t)(s - server.session);
}

void
complain(const char *format, ...)
{
	static uint64_t second;
	static uint32_t lines;
	uint64_t now = now_ns() / NS_PER_S;
	char text[200];
	va_list ap;

	if (now != second)
		lines = 0;
	second = now;
	if (++lines > LINES_A_SECOND)
		return;
	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	log_line(1, "%s%s", text,
	    lines == LINES_A_SECOND ? "; more like it in this second are not logged" : "");
}

const char *
request_text(const struct request *r)
{
	return r->io.op == NVME_OP_READ ? "read" : r->io.op == NVME_OP_WRITE ? "write" : "flush";
}

void
session_answer(struct session *s, uint64_t cookie, enum status status, uint32_t detail)
{
	struct blk_done *d = &s->ring->done[s->done_head % BLK_SLOTS];

	if (unlikely(status != OK))
		server.errors++;
	d->cookie = cookie;
	d->status = status;
	d->detail = detail;
	s->done_head++;
	server.answered |= s->bit;
}

void
request_done(struct request *r, enum status status, uint32_t detail)
{
	struct session *s = r->session;

	if (unlikely(r->own)) {
		r->own = s->settling = false;
		s->settled = s->shared && status == OK;
		server.answered |= s->bit;
	} else {
		session_answer(s, r->cookie, status, detail);
		s->plain -= r->io.op == NVME_OP_WRITE && !r->io.fua;
	}
	s->inflight--;
	server.inflight--;
	r->session = NULL;
	r->next = server.free;
	server.free = r;
}

/* Nothing of this ring is believed any more; what is in the device ends as usual. */
static COLD void
refuse(struct session *s, const char *why)
{
	s->refused = true;
	server.sessions_refused++;
	complain("session %u is refused: %s", number(s), why);
	store_relaxed(&s->ring->refused, E_CORRUPT);
	server.answered |= s->bit;
}

/* Judges a copied request; on OK what the command needs is filled in. */
static ALWAYS_INLINE enum status
judge(const struct session *s, const struct blk_req *r, struct nvme_io *io)
{
	uint32_t op = r->op & 0xff, mask = (1u << s->shift) - 1;

	if (unlikely(op > BLK_FLUSH || (r->op & ~(0xffu | BLK_FUA)) != 0))
		return E_INVALID;
	if (unlikely((s->rights & (op == BLK_READ ? BLK_RIGHT_READ : BLK_RIGHT_WRITE)) == 0))
		return E_RIGHTS;
	io->op = (enum nvme_op)op;
	io->nsid = s->ns->nsid;
	io->fua = (r->op & BLK_FUA) != 0 || (op == BLK_WRITE && s->shared);
	if (unlikely(op == BLK_FLUSH)) {
		io->lba = io->bytes = io->blocks = 0;
		io->data = (struct iova){ 0 };
		return OK;
	}
	if (unlikely(((r->at | r->bytes) & mask) != 0 || (r->data & 3) != 0))
		return E_ALIGN;
	if (unlikely(r->bytes == 0 || r->bytes > server.max_transfer_bytes ||
		!range_within(r->at, r->bytes, 0, s->len) ||
		!range_within(r->data, r->bytes, 0, s->data_bytes)))
		return E_RANGE;
	io->lba = (s->base + r->at) >> s->shift;
	io->bytes = r->bytes;
	io->blocks = r->bytes >> s->shift;
	io->data = (struct iova){ s->data.iova.v + r->data };
	return OK;
}

/* One request into the device, or answered.  False: there is no room for it now. */
static ALWAYS_INLINE bool
take_one(struct session *s, const struct blk_req *from)
{
	struct blk_req r = { .at = once_load(&from->at),
		.data = once_load(&from->data),
		.cookie = once_load(&from->cookie),
		.bytes = once_load(&from->bytes),
		.op = once_load(&from->op) };
	struct request *q = server.free;
	enum status e;

	if (unlikely(q == NULL))
		return false;
	e = judge(s, &r, &q->io);
	if (unlikely(e != OK))
		server.refused++;
	if (unlikely(e == OK && q->io.op == NVME_OP_FLUSH && !server.volatile_cache)) {
		server.done[NVME_OP_FLUSH]++;
		session_answer(s, r.cookie, OK, 0);
		return true;
	}
	if (likely(e == OK)) {
		q->io.cookie = q;
		e = nvme_ioq_put(s->q, &q->io);
	}
	if (unlikely(e == E_WOULD_BLOCK))
		return false;
	if (unlikely(e != OK)) {
		session_answer(s, r.cookie, e, 0);
		return true;
	}
	server.free = q->next;
	q->session = s;
	q->cookie = r.cookie;
	q->q = s->q;
	q->faults = server.faults;
	q->own_faults = server.own_faults;
	q->doubts = 0;
	q->resets = 0;
	s->plain += q->io.op == NVME_OP_WRITE && !q->io.fua;
	s->inflight++;
	server.inflight++;
	server.dirty |= 1u << (s->q->id - 1);
	return true;
}

/* Takes what the client wrote, as far as the device has room. */
void
session_take(struct session *s)
{
	struct blk_ring *ring = s->ring;
	uint32_t n, unread;

	s->seen = load_acquire(&ring->head);
	n = s->seen - s->tail;
	if (n == 0 || unlikely(s->refused || s->closing))
		return;
	/*
	 * An honest client has at most BLK_SLOTS requests anywhere: written, in the device, or
	 * answered and not read.  It has read the answers before it used their slots again, so
	 * done_tail, read after head, is not too old.
	 */
	if (unlikely(n > BLK_SLOTS)) {
		refuse(s, "it claims more requests than its ring holds");
		return;
	}
	unread = s->done_head - load_relaxed(&ring->done_tail);
	if (unlikely(unread > BLK_SLOTS ||
		n + (s->inflight - s->settling) + unread > BLK_SLOTS)) {
		refuse(s, "it has more requests than its ring has room for answers");
		return;
	}
	for (; n != 0 && take_one(s, &ring->req[s->tail % BLK_SLOTS]); n--)
		s->tail++;
}

void
session_wake(void)
{
	struct session *s = server.wake;

	server.wake = NULL;
	if (s != NULL)
		(void)sys_ntfn_signal(s->client, s->client_bits);
}

/* Shows answers.  Of several clients that sleep, the last one is left to be woken by whoever comes
 * next: see server.wake. */
void
session_publish(struct session *s)
{
	if (unlikely(s->settled))
		store_relaxed(&s->ring->durable, s->done_head);
	store_release(&s->ring->done_head, s->done_head);
	smp_full();
	if (load_relaxed(&s->ring->client_sleeps) == 0)
		return;
	if (unlikely(server.wake != NULL))
		session_wake();
	server.wake = s;
}

static void
drop_ring(struct session *s)
{
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring, BLK_RING_PAGES * PAGE_SIZE);
	(void)sys_handle_close(s->ring_memory);
}

/* Both may write, and to the same bytes. */
static bool
write_alike(const struct session *a, const struct session *b)
{
	return (a->rights & b->rights & BLK_RIGHT_WRITE) != 0 && a->ns == b->ns &&
	    a->base < b->base + b->len && b->base < a->base + a->len;
}

/* Who shares with nobody any more need not pay for it. */
static void
unshare(void)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *s = &server.session[i];
		bool alike = false;

		if (s->id == 0 || !s->shared || s->settling)
			continue;
		for (uint32_t k = 0; k < SESSIONS; k++)
			alike |= k != i && server.session[k].id != 0 &&
			    write_alike(s, &server.session[k]);
		if (!alike)
			s->shared = s->settled = false;
	}
}

void
session_end(struct session *s)
{
	struct msg end = { .token = s->stay };
	enum status e = nvme_ioq_settle(s->q);

	/* What the kernel has not been told to be over still names the data area. */
	if (e == OK)
		e = drv_revoke(&server.device, &s->data);
	if (server.wake == s)
		session_wake();
	if (s->stays)
		(void)msg_reply(&end);		/* a keeper that is gone needs no answer */
	if (e != OK)
		log_line(1, "the data area of session %u stays out of use: %s", number(s),
		    status_text(e));
	(void)sys_handle_close(s->data.memory);
	(void)sys_handle_close(s->client);
	drop_ring(s);
	server.live &= ~s->bit;
	*s = (struct session){ 0 };
	unshare();
}

/*
 * Nobody tells a server that a client died, but the call that its keeper stays in can tell: the
 * answer "again" reaches nobody.  A living keeper calls again at once.  A client without a keeper
 * is none of ours, or died between two calls.
 */
void
session_probe(void)
{
	uint64_t now = now_ns();

	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *s = &server.session[i];
		struct msg again = { .label = E_WOULD_BLOCK, .token = s->stay };
		bool gone;

		if (s->id == 0)
			continue;
		gone = s->stays ? msg_reply(&again) != OK : now - s->alone_ns > ALONE_NS;
		if (s->stays)
			s->alone_ns = now;
		s->stays = false;
		if (gone) {
			s->closing = server.closing = true;
			complain("session %u ends: its client is gone", i);
		}
	}
}

struct session *
session_find(uint64_t id, uint64_t badge)
{
	struct session *s = &server.session[(id & 0xff) % SESSIONS];

	return id != 0 && s->id == id && s->badge == badge ? s : NULL;
}

/* The range, the rights and the sizes that were asked for, against namespace and memory objects. */
static enum status
judge_open(const struct msg *m, struct session *s)
{
	uint64_t bytes, pages, flags, type_rights, badge;
	enum status e;

	s->shift = log2_floor(s->ns->block_bytes);
	bytes = s->ns->blocks << s->shift;
	s->base = m->w[4];
	s->len = m->w[5] != 0 ? m->w[5] : bytes - min_u64(bytes, s->base);
	s->rights = (uint32_t)(m->w[3] >> 32);
	s->data_bytes = m->w[6];
	if ((s->rights & ~(BLK_RIGHT_READ | BLK_RIGHT_WRITE)) != 0)
		return E_INVALID;
	if ((s->rights & BLK_RIGHT_WRITE) != 0 && s->ns->read_only)
		return E_READ_ONLY;
	if (!range_within(s->base, s->len, 0, bytes) || s->len == 0 || s->data_bytes == 0)
		return E_RANGE;
	if (((s->base | s->len) & (s->ns->block_bytes - 1)) != 0)
		return E_ALIGN;
	e = sys_mem_info(m->w[0], &pages, &flags);
	if (e != OK || pages < pages_of(s->data_bytes))
		return E_INVALID;
	e = sys_handle_info(m->w[1], &type_rights, &badge);
	if (e != OK || (uint32_t)type_rights != OBJ_NOTIFICATION ||
	    (type_rights >> 32 & RIGHT_SIGNAL) == 0)
		return E_INVALID;
	return OK;
}

/* One client must not take what others need (D13). */
static enum status
judge_count(uint64_t badge)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SESSIONS; i++)
		n += server.session[i].id != 0 &&
		    blk_client(server.session[i].badge) == blk_client(badge);
	if (n < SESSIONS_A_CLIENT)
		return server.live == BITS(SESSIONS - 1, 0) ? E_BUSY : OK;
	complain("client %u has %u sessions, as many as one may have: refused another",
	    blk_client(badge), n);
	return E_QUOTA;
}

/* Writes of a session that ends may still land in the range. */
static bool
writes_may_land(const struct session *s)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		const struct session *old = &server.session[i];

		if (old->id != 0 && old->closing && old->inflight != 0 && old->ns == s->ns &&
		    (old->rights & BLK_RIGHT_WRITE) != 0 && old->base < s->base + s->len &&
		    s->base < old->base + old->len)
			return true;
	}
	return false;
}

/*
 * From now on s's writes go with FUA, and a flush covers those before.  False: that is not over
 * yet, and who wants to share it asks again.
 */
static bool
settle(struct session *s)
{
	struct request *r = server.free;

	s->shared = true;
	if (s->settled || s->settling || s->plain != 0 || r == NULL)
		return s->settled;
	r->io = (struct nvme_io){ .op = NVME_OP_FLUSH, .nsid = s->ns->nsid, .cookie = r };
	if (nvme_ioq_put(s->q, &r->io) != OK)
		return false;
	server.free = r->next;
	r->session = s;
	r->q = s->q;
	r->faults = server.faults;
	r->own_faults = server.own_faults;
	r->doubts = r->resets = 0;
	r->own = s->settling = true;
	s->inflight++;
	server.inflight++;
	server.dirty |= 1u << (s->q->id - 1);
	return false;
}

/* E_BUSY: not before those that write there have nothing that is not durable. */
static enum status
share(struct session *new)
{
	enum status e = OK;

	for (uint32_t i = 0; i < SESSIONS && server.volatile_cache; i++) {
		struct session *old = &server.session[i];

		if (old->id == 0 || old->closing || !write_alike(old, new))
			continue;
		new->shared = new->settled = true;
		if (!settle(old))
			e = E_BUSY;
	}
	return e;
}

/* Could somebody else write there since this server started?  And now this one may. */
static bool
was_touched(const struct session *s)
{
	bool touched = server.writers > WRITERS, known = false;

	if ((s->rights & BLK_RIGHT_WRITE) == 0)
		return false;
	for (uint32_t i = 0; i < min_u64(server.writers, WRITERS); i++) {
		const struct writer *w = &server.writer[i];
		bool same = w->badge == s->badge;

		known |= same && w->ns == s->ns && w->base == s->base && w->len == s->len;
		touched |= !same && w->ns == s->ns && w->base < s->base + s->len &&
		    s->base < w->base + w->len;
	}
	if (!known && server.writers < WRITERS)
		server.writer[server.writers] =
		    (struct writer){ s->badge, s->base, s->len, s->ns };
	if (!known && server.writers <= WRITERS)
		server.writers++;
	return touched;
}

enum status
session_open(struct msg *m)
{
	uint32_t index = (uint32_t)m->w[3], slot;
	struct session *s, new = { 0 };
	uint64_t ring;
	enum status e;

	e = judge_count(m->badge);
	if (e != OK)
		return e;
	slot = lowest_bit(~(uint64_t)server.live);
	s = &server.session[slot];
	if (index >= server.ctrl.ns_count)
		return E_NOT_FOUND;
	if ((m->handles & 3) != 3)
		return E_INVALID;
	new.ns = &server.ctrl.ns[index];
	e = judge_open(m, &new);
	if (e != OK)
		return e;
	if ((new.rights & BLK_RIGHT_WRITE) != 0 && writes_may_land(&new))
		return E_BUSY;
	e = share(&new);
	if (e != OK)
		return e;
	/* The ring is the server's own: a client could take memory of its own away while it is used
	 * here. */
	new.ring = pages_alloc(BLK_RING_PAGES, &new.ring_memory);
	if (new.ring == NULL)
		return E_NO_MEMORY;
	e = sys_handle_dup(new.ring_memory, RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE, &ring);
	if (e == OK) {
		e = drv_grant(
		    &server.device, (uint32_t)m->w[0], new.data_bytes, DMA_BOTH, false, &new.data);
		if (e != OK)
			(void)sys_handle_close(ring);
	}
	if (e != OK) {
		drop_ring(&new);
		return e;
	}
	if (server
		.stray) /* what the device then does is refused, and it says success all the same */
		(void)drv_revoke(&server.device, &new.data);
	new.client = (handle_t)m->w[1];
	new.client_bits = m->w[7];
	new.q = &server.ctrl.ioq[slot % server.ctrl.ioq_count];
	new.bit = 1u << slot;
	new.badge = m->badge;
	new.alone_ns = now_ns();
	new.id = ++server.next_id << 8 | slot;
	*s = new;
	server.live |= s->bit;
	m->w[0] = server.signal;
	m->w[1] = ring;
	m->handles = 3;
	m->w[2] = s->id;
	m->w[3] = s->len;
	m->w[4] = s->ns->block_bytes;
	m->w[5] = server.max_transfer_bytes;
	m->w[6] = BIT(BIT_SESSION + slot);
	m->w[7] = (server.volatile_cache ? 0 : BLK_DURABLE) |
	    (was_touched(s) ? (uint64_t)BLK_TOUCHED : 0);
	return OK;
}
