/*
 * Sessions of a block server: blk_serve.h.
 */
#include "usr/lib/blk_serve.h"

enum : uint64_t { ALONE_NS = 5 * NS_PER_S };	/* how long a session may be without its keeper */

static uint32_t
number(const struct blk_server *b, const struct blk_session *s)
{
	return (uint32_t)(s - b->session);
}

COLD void
blk_serve_refuse(struct blk_server *b, struct blk_session *s, const char *why)
{
	s->refused = true;
	b->sessions_refused++;
	complain("session %u is refused: %s", number(b, s), why);
	store_relaxed(&s->ring->refused, E_CORRUPT);
	b->answered |= s->bit;
}

static void
drop_ring(struct blk_session *s)
{
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring, BLK_RING_PAGES * PAGE_SIZE);
	(void)sys_handle_close(s->ring_memory);
}

/* Both may write, and to the same bytes. */
static bool
write_alike(const struct blk_session *a, const struct blk_session *b)
{
	return (a->rights & b->rights & BLK_RIGHT_WRITE) != 0 && a->disk == b->disk &&
	    a->base < b->base + b->len && b->base < a->base + a->len;
}

/* Who shares with nobody any more need not pay for it. */
static void
unshare(struct blk_server *b)
{
	for (uint32_t i = 0; i < BLK_SESSIONS; i++) {
		struct blk_session *s = &b->session[i];
		bool alike = false;

		if (s->id == 0 || !s->shared || s->settling)
			continue;
		for (uint32_t k = 0; k < BLK_SESSIONS; k++)
			alike |= k != i && b->session[k].id != 0 && write_alike(s, &b->session[k]);
		if (!alike)
			s->shared = s->settled = false;
	}
}

static void
end(struct blk_server *b, struct blk_session *s)
{
	struct msg over = { .token = s->stay };
	enum status e = b->let_go(s);

	/* What the kernel has not been told to be over still names the data area. */
	if (e == OK)
		e = drv_revoke(b->device, &s->data);
	if (b->wake == s)
		blk_serve_wake(b);
	if (s->stays)
		(void)msg_reply(&over);		/* a keeper that is gone needs no answer */
	if (e != OK)
		log_line(1, "the data area of session %u stays out of use: %s", number(b, s),
		    status_text(e));
	(void)sys_handle_close(s->data.memory);
	(void)sys_handle_close(s->client);
	drop_ring(s);
	b->live &= ~s->bit;
	b->answered &= ~s->bit;
	*s = (struct blk_session){ 0 };
	unshare(b);
}

void
blk_serve_end_closing(struct blk_server *b)
{
	bool more = false;

	for_each_bit(n, b->live) {
		if (b->session[n].closing && b->session[n].inflight == 0)
			end(b, &b->session[n]);
		else
			more |= b->session[n].closing;
	}
	b->closing = more;
}

/*
 * Lets sessions end whose clients are gone.
 *
 * Nobody tells a server that a client died, but the call that its keeper stays in can tell: the
 * answer "again" reaches nobody.  A living keeper calls again at once.  A client without a keeper
 * is none of ours, or died between two calls.
 */
static void
probe(struct blk_server *b)
{
	uint64_t now = now_ns();

	for (uint32_t i = 0; i < BLK_SESSIONS; i++) {
		struct blk_session *s = &b->session[i];
		struct msg again = { .label = E_WOULD_BLOCK, .token = s->stay };
		bool gone;

		if (s->id == 0)
			continue;
		gone = s->stays ? msg_reply(&again) != OK : now - s->alone_ns > ALONE_NS;
		if (s->stays)
			s->alone_ns = now;
		s->stays = false;
		if (gone) {
			s->closing = b->closing = true;
			complain("session %u ends: its client is gone", i);
		}
	}
}

/* NULL: there is none, or another client's. */
static struct blk_session *
find(struct blk_server *b, uint64_t id, uint64_t badge)
{
	struct blk_session *s = &b->session[(id & 0xff) % BLK_SESSIONS];

	return id != 0 && s->id == id && s->badge == badge ? s : NULL;
}

const struct blk_range *
blk_serve_ranges(void)
{
	handle_t h = start_handle("ranges");
	uint64_t pages, flags, va;

	static_assert(BLK_RANGES * sizeof(struct blk_range) <= PAGE_SIZE);
	if (h == HANDLE_NONE || sys_mem_info(h, &pages, &flags) != OK || pages == 0 ||
	    sys_mem_map(HANDLE_NONE, h, 0, PAGE_SIZE, 0, 1, &va) != OK)
		return NULL;
	return (const struct blk_range *)(uintptr_t)va;
}

/*
 * What the handle is good for: *index becomes that of a disk, and *r the range of it.  E_RIGHTS:
 * for nothing.
 */
static enum status
judge_handle(const struct blk_server *b, uint64_t badge, uint64_t *index, struct blk_range *r)
{
	uint32_t n = blk_range_of(badge);

	*r = (struct blk_range){ .rights = BLK_RIGHT_READ | BLK_RIGHT_WRITE };
	if (n == BLK_RANGE_ALL)
		return OK;
	if (n == BLK_RANGE_ASK) {
		r->rights = 0;
		return OK;
	}
	if (b->ranges == NULL || n > BLK_RANGES || b->ranges[n - 1].rights == 0)
		return E_RIGHTS;
	if (*index != 0)
		return E_NOT_FOUND;
	*r = b->ranges[n - 1];
	*index = r->index;
	return OK;
}

/* The range, on a disk.  E_RANGE: it is not there; E_ALIGN: it is not whole blocks. */
static enum status
fit(struct blk_range *r, const struct blk_disk *d)
{
	uint64_t bytes = d->blocks * d->block_bytes;

	if (r->len == 0)
		r->len = bytes - min_u64(bytes, r->base);
	if (r->len == 0 || !range_within(r->base, r->len, 0, bytes))
		return E_RANGE;
	return ((r->base | r->len) & (d->block_bytes - 1)) != 0 ? E_ALIGN : OK;
}

/* The range, the rights and the sizes that were asked for, against what the handle is good for,
 * disk and memory objects. */
static enum status
judge_open(const struct msg *m, const struct blk_disk *disk, struct blk_range *r,
    struct blk_session *s)
{
	uint64_t pages, flags, type_rights, badge;
	enum status e;

	s->shift = log2_floor(disk->block_bytes);
	e = fit(r, disk);
	if (e != OK)
		return e;
	s->base = m->w[4];
	s->len = m->w[5] != 0 ? m->w[5] : r->len - min_u64(r->len, s->base);
	s->rights = (uint32_t)(m->w[3] >> 32);
	s->data_bytes = m->w[6];
	if ((s->rights & ~(BLK_RIGHT_READ | BLK_RIGHT_WRITE)) != 0)
		return E_INVALID;
	if (r->rights == 0) {
		complain("client %u may ask for disks, and open none", blk_client(m->badge));
		return E_RIGHTS;
	}
	if ((s->rights & BLK_RIGHT_WRITE) != 0 &&
	    (disk->read_only || (r->rights & BLK_RIGHT_WRITE) == 0))
		return E_READ_ONLY;
	if ((s->rights & ~r->rights) != 0)
		return E_RIGHTS;
	if (!range_within(s->base, s->len, 0, r->len) || s->len == 0 || s->data_bytes == 0)
		return E_RANGE;
	s->base += r->base;
	if (((s->base | s->len) & (disk->block_bytes - 1)) != 0)
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
judge_count(const struct blk_server *b, uint64_t badge)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < BLK_SESSIONS; i++)
		n += b->session[i].id != 0 &&
		    blk_client(b->session[i].badge) == blk_client(badge);
	if (n < BLK_SESSIONS_A_CLIENT)
		return b->live == BITS(BLK_SESSIONS - 1, 0) ? E_BUSY : OK;
	complain("client %u has %u sessions, as many as one may have: refused another",
	    blk_client(badge), n);
	return E_QUOTA;
}

/* Writes of a session that ends may still land in the range. */
static bool
writes_may_land(const struct blk_server *b, const struct blk_session *s)
{
	for (uint32_t i = 0; i < BLK_SESSIONS; i++) {
		const struct blk_session *old = &b->session[i];

		if (old->id != 0 && old->closing && old->inflight != 0 && old->disk == s->disk &&
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
settle(struct blk_server *b, struct blk_session *s)
{
	s->shared = true;
	if (s->settled || s->settling || s->plain != 0)
		return s->settled;
	s->settling = b->flush(s);
	return false;
}

/* E_BUSY: not before those that write there have nothing that is not durable. */
static enum status
share(struct blk_server *b, struct blk_session *new)
{
	enum status e = OK;

	for (uint32_t i = 0; i < BLK_SESSIONS && b->volatile_cache; i++) {
		struct blk_session *old = &b->session[i];

		if (old->id == 0 || old->closing || !write_alike(old, new))
			continue;
		new->shared = new->settled = true;
		if (!settle(b, old))
			e = E_BUSY;
	}
	return e;
}

/* Could somebody else write there since this server started?  And now this one may. */
static bool
was_touched(struct blk_server *b, const struct blk_session *s)
{
	bool touched = b->writers > BLK_WRITERS, known = false;

	if ((s->rights & BLK_RIGHT_WRITE) == 0)
		return false;
	for (uint32_t i = 0; i < min_u64(b->writers, BLK_WRITERS); i++) {
		const struct blk_writer *w = &b->writer[i];
		bool same = w->badge == s->badge;

		known |= same && w->disk == s->disk && w->base == s->base && w->len == s->len;
		touched |= !same && w->disk == s->disk && w->base < s->base + s->len &&
		    s->base < w->base + w->len;
	}
	if (!known && b->writers < BLK_WRITERS)
		b->writer[b->writers] =
		    (struct blk_writer){ s->badge, s->base, s->len, s->disk };
	if (!known && b->writers <= BLK_WRITERS)
		b->writers++;
	return touched;
}

/* The message of the call becomes that of the answer.  On OK its handles are kept, and w1 is to be
 * closed after the reply. */
static enum status
open(struct blk_server *b, struct msg *m)
{
	uint32_t slot;
	struct blk_session *s, new = { 0 };
	struct blk_disk disk;
	struct blk_range range;
	uint64_t ring, index = (uint32_t)m->w[3];
	enum status e;

	e = judge_count(b, m->badge);
	if (e != OK)
		return e;
	e = judge_handle(b, m->badge, &index, &range);
	if (e != OK)
		return e;
	slot = lowest_bit(~(uint64_t)b->live);
	s = &b->session[slot];
	if (!b->find_disk((uint32_t)index, slot, &disk, &new.disk, &new.queue))
		return E_NOT_FOUND;
	if ((m->handles & 3) != 3)
		return E_INVALID;
	e = judge_open(m, &disk, &range, &new);
	if (e != OK)
		return e;
	if ((new.rights & BLK_RIGHT_WRITE) != 0 && writes_may_land(b, &new))
		return E_BUSY;
	e = share(b, &new);
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
		    b->device, (uint32_t)m->w[0], new.data_bytes, DMA_BOTH, false, &new.data);
		if (e != OK)
			(void)sys_handle_close(ring);
	}
	if (e != OK) {
		drop_ring(&new);
		/* The device was taken away: a successor will serve it. */
		return e == E_STALE ? E_PEER : e;
	}
	if (b->stray) /* what the device then does is refused, and it says success all the same */
		(void)drv_revoke(b->device, &new.data);
	new.client = (handle_t)m->w[1];
	new.client_bits = m->w[7];
	new.bit = 1u << slot;
	new.badge = m->badge;
	new.alone_ns = now_ns();
	new.id = ++b->next_id << 8 | slot;
	*s = new;
	b->live |= s->bit;
	m->w[0] = b->signal;
	m->w[1] = ring;
	m->handles = 3;
	m->w[2] = s->id;
	m->w[3] = s->len;
	m->w[4] = disk.block_bytes;
	m->w[5] = b->max_transfer_bytes;
	m->w[6] = BIT(BLK_BIT_SESSION + slot);
	m->w[7] = (b->volatile_cache ? 0 : BLK_DURABLE) |
	    (was_touched(b, s) ? (uint64_t)BLK_TOUCHED : 0);
	return OK;
}

static enum status
info(struct blk_server *b, struct msg *m)
{
	const void *disk;
	struct blk_range r;
	struct blk_disk d;
	void *queue;
	enum status e = judge_handle(b, m->badge, &m->w[0], &r);

	if (e != OK)
		return e;
	if (m->w[0] > UINT32_MAX || !b->find_disk((uint32_t)m->w[0], 0, &d, &disk, &queue))
		return E_NOT_FOUND;
	/* A range that is not on the disk is a disk of no blocks. */
	if (fit(&r, &d) != OK)
		r.len = 0;
	m->w[0] = r.len / d.block_bytes;
	m->w[1] = d.block_bytes;
	m->w[2] = FIELD_PREP(BLK_INFO_DISKS, b->disks) | FIELD_PREP(BLK_INFO_OPS, b->ops) |
	    (d.read_only || r.rights == BLK_RIGHT_READ ? BLK_INFO_READ_ONLY : 0);
	m->w[3] = (uint64_t)b->sessions_refused << 32 | (uint32_t)b->max_transfer_bytes;
	m->w[4] = b->done[BLK_READ];
	m->w[5] = b->done[BLK_WRITE];
	m->w[6] = b->done[BLK_FLUSH];
	m->w[7] = (uint64_t)b->refused << 32 | (uint32_t)b->errors;
	return OK;
}

void
blk_serve_call(struct blk_server *b, const struct msg *call)
{
	struct msg m = *call;
	uint32_t given = m.handles;
	uint64_t handles[4] = { m.w[0], m.w[1], m.w[2], m.w[3] };
	handle_t lent = HANDLE_NONE;
	struct blk_session *session;
	enum status s = OK;
	bool answer = true;

	if (m.label != BLK_CALL_OPEN)
		m.handles = 0;
	switch (m.label) {
	case BLK_CALL_INFO: s = info(b, &m); break;
	case BLK_CALL_NAME:
		memcpy(&m.w[0], b->model, 40);
		memset(&m.w[5], 0, 24);
		memcpy(&m.w[5], b->serial, 20);
		break;
	case BLK_CALL_OPEN:
		probe(b);
		blk_serve_end_closing(b);
		s = open(b, &m);
		if (s == OK) {
			given &= ~3u;
			lent = (handle_t)m.w[1];
		} else {
			b->sessions_refused++;
			m.handles = 0;
		}
		break;
	case BLK_CALL_CLOSE:
		session = find(b, m.w[0], m.badge);
		if (session == NULL)
			s = E_STALE;
		else
			session->closing = b->closing = true;
		blk_serve_end_closing(b);
		break;
	case BLK_CALL_STAY:
		session = find(b, m.w[0], m.badge);
		if (session == NULL) {
			s = E_STALE;
		} else if (session->stays) {
			s = E_BUSY;
		} else {
			session->stays = true;
			session->stay = m.token;
			answer = false;
		}
		break;
	case BLK_CALL_ROGUE:
		s = b->rogue != NULL && blk_range_of(m.badge) == BLK_RANGE_ALL ? b->rogue(&m) :
										E_REFUSED;
		break;
	default: s = E_INVALID;
	}
	/* Handles that came along and are not kept. */
	for (unsigned i = 0; i < ARRAY_SIZE(handles); i++)
		if ((given & (1u << i)) != 0)
			(void)sys_handle_close(handles[i]);
	m.label = s;
	m.words = 8;
	if (answer)
		(void)msg_reply(&m);		/* a caller that is gone needs no answer */
	if (lent != HANDLE_NONE)
		(void)sys_handle_close(lent);
}
