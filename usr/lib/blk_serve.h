/*
 * The server's end of the block protocol (usr/lib/blk.h): sessions.
 *
 * A session is a client's ring, its data area, and its byte range of a disk.  What a device does
 * with a request is its server's; here is what all of them have in common: opening, judging,
 * answering, waking, ending.  One thread of the server uses it.
 *
 * The ring is the client's to write.  Indices and entries are read once and judged.  What an honest
 * client can run into (a range, an alignment, a right) is answered with a status; indices that
 * cannot be end the session, and nothing of it is believed any more.
 *
 * Two that may write to the same bytes: what one of them knows to be answered and not durable it
 * would put again to a successor of this server, over what the other wrote later.  So while they
 * share, all their writes go with FUA, and the second opens only when a flush has covered what the
 * first was told before (settle, in blk_serve.c).
 *
 * When a session closes, its requests in the device are waited for before the grant is taken back.
 * Until then no session that may write opens on what it could write: its writes would come over
 * those of its successor.
 */
#pragma once

#include "kern/base/bits.h"
#include "usr/lib/blk.h"
#include "usr/lib/drv.h"

enum { BLK_SESSIONS = 24, BLK_SESSIONS_A_CLIENT = 8 };
enum : uint64_t {
	BLK_BIT_SESSION = 32
}; /* + n in the server's notification: session n has requests */

struct blk_disk { uint64_t blocks; uint32_t block_bytes; bool read_only; };

struct blk_session {
	uint64_t id, badge;		/* id 0: free; badge: of the handle that it was opened by */
	struct blk_ring *ring;
	struct drv_memory data;
	handle_t ring_memory, client;
	uint64_t client_bits, base, len, data_bytes;
	const void *disk;		/* the server's own: which one it is on, */
	void *queue;			/* and by which queue */
	uint32_t rights, shift;
	uint32_t bit;			/* in blk_server.live */
	uint32_t tail, done_head;	/* requests taken, answers written */
	uint32_t seen;			/* head as it was read last */
	uint32_t inflight;
	uint32_t plain;			/* writes in flight without FUA: the server counts */
	bool closing;
	bool shared;			/* another may write there: its writes go with FUA */
	bool settling, settled;		/* what was answered before is flushed */
	bool refused;			/* its ring lied */
	bool stays;			/* a call waits for its end */
	uint64_t stay;			/* the token to answer it by */
	uint64_t alone_ns;		/* since when it did not, or a time before */
};

/* Who may have written where since this server started. */
struct blk_writer { uint64_t badge, base, len; const void *disk; };
enum { BLK_WRITERS = 64 };

/* What every turn needs comes first. */
struct blk_server {
	uint32_t live;			/* bit n: session n is open */
	uint32_t answered;		/* bit n: session n has answers to publish */
	uint64_t done[BLK_OPS], errors;	/* done: by operation; errors: answers that were not OK */
	uint32_t refused, sessions_refused; /* of errors, those for what a session may not have; not
					       opened, or ended for lies */
	uint64_t max_transfer_bytes;
	bool volatile_cache;
	bool closing;			/* some session is */
	struct blk_session
	    *wake; /* its client sleeps: told when this thread sleeps, in the same call */
	struct blk_session session[BLK_SESSIONS];
	uint64_t next_id;
	struct blk_writer writer[BLK_WRITERS];
	uint32_t writers;		/* more than there is room for: anybody, anywhere */
	/* The server's: set before the first call. */
	struct drv_device *device;
	handle_t signal;		/* what clients signal */
	uint32_t disks;
	const struct blk_range *ranges;	/* BLK_RANGES of them, or NULL: blk_serve_ranges */
	uint32_t ops;			/* bit n: operation n can be done */
	const char *model, *serial;	/* 40 bytes and 20 */
	/* The disk that a client means by its index, as struct blk_disk and as the server knows it,
	 * and the queue for session slot; false: there is none. */
	bool (*find_disk)(
	    uint32_t index, uint32_t slot, struct blk_disk *d, const void **disk, void **queue);
	/* No request of the session is in the device: from now on nothing names its data area. */
	enum status (*let_go)(struct blk_session *s);
	/* A flush of the server's own on the session's disk, in flight as one of the session's:
	 * blk_serve_flushed tells when it is over.  False: there is no room. */
	bool (*flush)(struct blk_session *s);
	enum status (*rogue)(struct msg *m);	/* BLK_CALL_ROGUE, or NULL */
	bool stray;			/* test: sessions lose their buffer when they open */
};

#define for_each_bit(n, set) \
	for (uint32_t set_ = (set), n; set_ != 0 && (n = lowest_bit(set_), true); set_ &= set_ - 1)


/* --- calls --------------------------------------------------------------------- */

/* What the device manager gave; NULL: nothing. */
const struct blk_range *blk_serve_ranges(void);
/* A call that the server received, start to end, with its answer. */
void blk_serve_call(struct blk_server *b, const struct msg *call);
/* Ends the sessions that close and have nothing in the device any more. */
void blk_serve_end_closing(struct blk_server *b);

/* --- the ring -------------------------------------------------------------------- */

/* Nothing of this ring is believed any more; what is in the device ends as usual. */
void blk_serve_refuse(struct blk_server *b, struct blk_session *s, const char *why);

/* How many requests wait in the ring; 0 when there is none to be taken. */
static ALWAYS_INLINE uint32_t
blk_serve_waiting(struct blk_server *b, struct blk_session *s)
{
	uint32_t n, unread;

	s->seen = load_acquire(&s->ring->head);
	n = s->seen - s->tail;
	if (n == 0 || unlikely(s->refused || s->closing))
		return 0;
	/*
	 * An honest client has at most BLK_SLOTS requests anywhere: written, in the device, or
	 * answered and not read.  It has read the answers before it used their slots again, so
	 * done_tail, read after head, is not too old.
	 */
	if (unlikely(n > BLK_SLOTS)) {
		blk_serve_refuse(b, s, "it claims more requests than its ring holds");
		return 0;
	}
	unread = s->done_head - load_relaxed(&s->ring->done_tail);
	if (unlikely(unread > BLK_SLOTS ||
		n + (s->inflight - s->settling) + unread > BLK_SLOTS)) {
		blk_serve_refuse(b, s, "it has more requests than its ring has room for answers");
		return 0;
	}
	return n;
}

/* The server's own flush is over. */
static inline void
blk_serve_flushed(struct blk_server *b, struct blk_session *s, enum status status)
{
	s->settling = false;
	s->settled = s->shared && status == OK;
	b->answered |= s->bit;
}

/* Has it to be durable when it is answered? */
static ALWAYS_INLINE bool
blk_serve_fua(const struct blk_session *s, const struct blk_req *r)
{
	return (r->op & BLK_FUA) != 0 || ((r->op & 0xff) == BLK_WRITE && s->shared);
}

/* The next request, copied; it stays in the ring until s->tail moves. */
static ALWAYS_INLINE struct blk_req
blk_serve_request(const struct blk_session *s)
{
	const struct blk_req *from = &s->ring->req[s->tail % BLK_SLOTS];

	return (struct blk_req){ .at = once_load(&from->at),
		.data = once_load(&from->data),
		.cookie = once_load(&from->cookie),
		.bytes = once_load(&from->bytes),
		.op = once_load(&from->op) };
}

/* Judges a copied request: what it asks for is the session's, and can be done. */
static ALWAYS_INLINE enum status
blk_serve_judge(const struct blk_server *b, const struct blk_session *s, const struct blk_req *r)
{
	uint32_t op = r->op & 0xff, mask = (1u << s->shift) - 1;

	if (unlikely(op >= BLK_OPS || (r->op & ~(0xffu | BLK_FUA)) != 0))
		return E_INVALID;
	if (unlikely((s->rights & (op == BLK_READ ? BLK_RIGHT_READ : BLK_RIGHT_WRITE)) == 0))
		return E_RIGHTS;
	if (unlikely((b->ops & 1u << op) == 0))
		return E_UNSUPPORTED;
	if (unlikely(op == BLK_FLUSH))
		return OK;
	if (unlikely(((r->at | r->bytes) & mask) != 0 || (r->data & 3) != 0))
		return E_ALIGN;
	if (unlikely(r->bytes == 0 || !range_within(r->at, r->bytes, 0, s->len)))
		return E_RANGE;
	if (unlikely(op <= BLK_WRITE &&
		(r->bytes > b->max_transfer_bytes ||
		    !range_within(r->data, r->bytes, 0, s->data_bytes))))
		return E_RANGE;
	return OK;
}

static ALWAYS_INLINE void
blk_serve_answer(struct blk_server *b, struct blk_session *s, uint64_t cookie, enum status status,
    uint32_t detail)
{
	struct blk_done *d = &s->ring->done[s->done_head % BLK_SLOTS];

	if (unlikely(status != OK))
		b->errors++;
	d->cookie = cookie;
	d->status = status;
	d->detail = detail;
	s->done_head++;
	b->answered |= s->bit;
}

/* Tells the client that blk_serve_publish left over. */
static inline void
blk_serve_wake(struct blk_server *b)
{
	struct blk_session *s = b->wake;

	b->wake = NULL;
	if (s != NULL)
		(void)sys_ntfn_signal(s->client, s->client_bits);
}

/* Shows answers.  Of several clients that sleep, the last one is left to be woken by whoever comes
 * next: see blk_server.wake. */
static ALWAYS_INLINE void
blk_serve_publish(struct blk_server *b)
{
	for_each_bit(n, b->answered) {
		struct blk_session *s = &b->session[n];

		if (unlikely(s->settled))
			store_relaxed(&s->ring->durable, s->done_head);
		store_release(&s->ring->done_head, s->done_head);
		smp_full();
		if (load_relaxed(&s->ring->client_sleeps) == 0)
			continue;
		if (unlikely(b->wake != NULL))
			blk_serve_wake(b);
		b->wake = s;
	}
	b->answered = 0;
}

/* Says that signals are needed; look once more then. */
static ALWAYS_INLINE void
blk_serve_sleeps(struct blk_server *b)
{
	for_each_bit(n, b->live)
		store_relaxed(&b->session[n].ring->server_sleeps, 1);
	smp_full();
}

/* What stayed in a ring waits for the device, and that wakes us: only what is new since the turn
 * counts. */
static ALWAYS_INLINE bool
blk_serve_has_new(const struct blk_server *b)
{
	for_each_bit(n, b->live) {
		const struct blk_session *s = &b->session[n];

		if (load_acquire(&s->ring->head) != s->seen && !s->refused && !s->closing)
			return true;
	}
	return false;
}

static ALWAYS_INLINE void
blk_serve_woke(struct blk_server *b)
{
	for_each_bit(n, b->live)
		store_relaxed(&b->session[n].ring->server_sleeps, 0);
}
