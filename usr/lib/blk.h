/*
 * The block protocol, both ends.
 *
 * A session is a capability to a byte range of a namespace, with rights.  Opening one hands the
 * server a data area (granted to the device once, as a whole) and a notification of the client's,
 * and brings back a ring (BLK_RING_PAGES pages: the server's, so that no client can take it away)
 * and a notification of the server's.  After that, requests and answers go through the ring; calls
 * are only for opening, closing and asking.
 *
 *   client: write req[head % BLK_SLOTS], then head; if the server sleeps, signal it
 *   server: write done[n % BLK_SLOTS], then done_head; if the client sleeps, signal it
 *
 * Both sides may lie.  Each index is read once and bounded; each entry is copied once before it is
 * judged.  A request that asks for what it must not gets a status of its own; a ring whose indices
 * cannot be ends the session: "refused" says why.  The "sleeping" flags only save signals: whoever
 * sets one looks at the ring again before it sleeps.
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/lib/blk_keep.h"
#include "usr/lib/os.h"

enum { BLK_SLOTS = 256, BLK_RING_PAGES = 4, BLK_STACK = 2048, BLK_KEEP_BYTES = 512 * 1024 };

/*
 * BLK_DISCARD: what the range holds is not needed any more; BLK_ZERO: it reads as zeroes from now
 * on.  Both have no data and any length, and are durable when they are answered.  E_UNSUPPORTED:
 * not on this disk.
 */
enum blk_op : uint32_t { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO, BLK_OPS };
enum : uint32_t { BLK_FUA = 1u << 8 };
enum : uint32_t { BLK_RIGHT_READ = 1, BLK_RIGHT_WRITE = 2 };

struct blk_req {
	uint64_t at; /* byte offset in the session's range; a multiple of the block size */
	uint64_t data;		/* byte offset in the data area; a multiple of 4 */
	uint64_t cookie;
	uint32_t bytes, op;	/* op | flags */
};
static_assert(sizeof(struct blk_req) == 32);

struct blk_done { uint64_t cookie; uint32_t status, detail; };	/* detail: the device's own code */

struct blk_ring {
	uint32_t head ALIGNED(64);		/* client: requests written */
	uint32_t client_sleeps;
	uint32_t done_tail;			/* client: answers read */
	uint32_t done_head ALIGNED(64);		/* server: answers written */
	uint32_t server_sleeps;
	uint32_t durable; /* server: writes answered before this answer need no flush any more */
	uint32_t refused; /* server: not OK, the session is over and why (enum status) */
	struct blk_req req[BLK_SLOTS] ALIGNED(64);
	struct blk_done done[BLK_SLOTS];
};
static_assert(sizeof(struct blk_ring) <= BLK_RING_PAGES * PAGE_SIZE);

/* Calls to a block server: labels. */
enum blk_call : uint32_t {
	/* w0 namespace index -> w0 blocks, w1 block bytes, w2 BLK_INFO_*, w3 max transfer |
	 * sessions refused << 32, w4 reads, w5 writes, w6 flushes, w7 errors | requests refused <<
	 * 32 */
	BLK_CALL_INFO = 1,
	BLK_CALL_NAME, /* -> w0..w4 model, w5..w7 serial */
	/*
	 * w7 of the answer: BLK_DURABLE: what is answered is, no flush needed.  BLK_TOUCHED:
	 * somebody else could write to the range since the server started, so nothing may be put
	 * there again that was answered by a predecessor.
	 *
	 * Sessions that may write and share bytes: all their writes are durable when they are
	 * answered, as if with FUA, so none of them keeps what another may have written over.  The
	 * second one opens when the first one's writes are.
	 * E_QUOTA: this client has as many sessions as one may have; E_BUSY: all clients together
	 * have all there are, or a session that ends may still write where this one would.
	 */
	BLK_CALL_OPEN,  /* handles: w0 data, w1 notification; w3 rights << 32 | index, w4 base, w5
			   len (0: all), w6 data bytes, w7 bits -> w0 handle to signal, w1 ring, w2
			   session, w3 len, w4 block bytes, w5 max transfer, w6 bits, w7 durable */
	BLK_CALL_CLOSE, /* w0 session */
	BLK_CALL_STAY, /* w0 session: answered when the session ends, OK; E_WOULD_BLOCK: call again,
			  at once; E_STALE: there is none; E_PEER: the server died */
	BLK_CALL_ROGUE, /* test servers only: w0 IOVA, w1: 0 the device writes there, 1 it reads; 2
			   the controller is reset, 3 new sessions lose their buffer, 4 commands
			   without end write there -> w0 how many */
};

enum : uint64_t {
	BLK_INFO_DISKS = BITS(31, 0),
	BLK_INFO_READ_ONLY = BIT(32),
	BLK_INFO_OPS = BITS(47, 40), /* bit n: operation n can be done */
};
enum : uint64_t { BLK_DURABLE = 1, BLK_TOUCHED = 2 };

/*
 * Badge of a handle to a block server: whom it was made for, as the device manager knows its
 * callers; what it is good for; and below that a number that no other handle has.  A session
 * belongs to the handle that it was opened by; how many sessions there may be is counted by client,
 * so more handles bring no more of them.
 *
 * A handle is good for all of the server's disks, for nothing but asking, or for one byte range:
 * then its holder sees a disk of that length, whose only index is 0, and the server refuses what is
 * outside or against its rights.  Ranges are the manifest's; drivers have them from the device
 * manager, in memory that they can only read ("ranges"), by number.
 */
enum { BLK_CLIENT_SHIFT = 56, BLK_RANGE_SHIFT = 48, BLK_RANGES = 64 };
enum : uint32_t { BLK_RANGE_ALL = 0, BLK_RANGE_ASK = 255 };

/* Number n is range[n - 1]; rights 0: there is none. */
struct blk_range {
	uint64_t base, len;		/* len 0: to the end of the disk */
	uint32_t index, rights;		/* BLK_RIGHT_* */
};

/* E_RANGE: a part of it has no room.  Cut off it would be another's badge. */
NODISCARD static inline enum status
blk_badge(uint64_t client, uint32_t range, uint64_t serial, uint64_t *badge)
{
	if (client >> (64 - BLK_CLIENT_SHIFT) != 0 ||
	    range >> (BLK_CLIENT_SHIFT - BLK_RANGE_SHIFT) != 0 || serial >> BLK_RANGE_SHIFT != 0)
		return E_RANGE;
	*badge = client << BLK_CLIENT_SHIFT | (uint64_t)range << BLK_RANGE_SHIFT | serial;
	return OK;
}
static inline uint32_t blk_range_of(uint64_t badge) { return badge >> BLK_RANGE_SHIFT & 0xff; }
static inline uint32_t blk_client(uint64_t badge) { return (uint32_t)(badge >> BLK_CLIENT_SHIFT); }

/* --- client ---------------------------------------------------------------- */

enum { BLK_OWN = BLK_SLOTS }; /* cookie of the library's own requests: one at a time */

struct blk_slot {
	uint64_t covers;			/* a flush: keep_mark when it was put */
	uint8_t record;				/* a write: its record in the keep */
	bool busy;
};

struct blk_answer { uint32_t cookie, detail; enum status status; };

struct blk {
	handle_t endpoint, server;		/* to call; to signal */
	handle_t ring_memory, data_memory;
	handle_t ntfn, wait;			/* told; waited on by this library */
	struct blk_ring *ring;
	uint8_t *data;
	uint64_t data_bytes,
	    area_bytes; /* the caller's part, and all of it: copies of writes come after */
	uint64_t base, asked; /* of the namespace; asked 0: to its end */
	uint64_t bits;				/* on ntfn: look at this session */
	uint64_t server_bits, session;
	uint64_t len, block_bytes, max_bytes;
	uint64_t name[8];			/* of the disk: BLK_CALL_NAME */
	bool named;
	uint32_t index, rights;
	uint32_t head, done_tail, inflight;
	struct blk_slot slot[BLK_SLOTS + 1];
	struct blk_req
	    kept[BLK_SLOTS + 1]; /* until answered: sent again to a server that was restarted */
	struct blk_keep keep;    /* writes that were answered, until a flush covers them */
	struct blk_answer
	    early[BLK_SLOTS]; /* answers that came while the library waited for one of its own */
	uint32_t early_first, early_next;
	uint64_t restarts, rewrites;		/* rewrites: kept writes that were put again */
	enum status own_status,
	    damage; /* damage: of a kept write that could not be put again; the next flush tells */
	bool durable;				/* what is answered is */
	bool borrowed;				/* ntfn is the caller's */
	uint32_t shown;				/* head as the server can see it */
	uint32_t keeper;			/* its thread runs */
	uint32_t lost; /* the server is gone: its successor has to learn everything anew */
	uint8_t stack[BLK_STACK] ALIGNED(16);	/* the keeper's */
};

/*
 * A session on the index-th namespace, with a data area of data_bytes (rounded up to pages) at
 * b->data.  *b is all zero or was closed, and stays in its place: a thread of the session runs on a
 * stack in it.  Waits at most 5 s for the server, and while it is busy. E_NOT_FOUND: no such
 * namespace.  E_NO_MEMORY,
 * E_QUOTA: this process has no more of what it takes, or the server gives it no more sessions
 * (E_BUSY).  E_PEER: no server.  E_BUSY also: the thread of the last session has not ended, as its
 * server never answered.
 */
NODISCARD enum status
blk_open(struct blk *b, handle_t endpoint, uint32_t index, uint32_t rights, uint64_t data_bytes);
/*
 * The same for a byte range (base, len: multiples of the block size; len 0: to the end), and for a
 * program that waits for other things too: bits are set on ntfn when there is something to look at
 * (HANDLE_NONE: one of its own).  Whatever else is set on it while this library waits by itself is
 * lost, so such a program looks at everything that its bits stand for before it sleeps.
 */
struct blk_wish {
	uint64_t base, len, data_bytes, bits;
	uint32_t index, rights;
	handle_t ntfn;
	handle_t wait; /* the library waits on this one, and who waits on ntfn passes the session's
			  bits on to it; HANDLE_NONE: on ntfn */
};
NODISCARD enum status
blk_open_wish(struct blk *b, handle_t endpoint, const struct blk_wish *w);
/* Gives up what is in flight.  Waits for the server, at most 5 s for each of two answers. */
void blk_close(struct blk *b);
/*
 * E_WOULD_BLOCK: BLK_SLOTS are in flight or answered and not taken.  The cookie must be below
 * BLK_SLOTS and not in flight.
 *
 * A write is kept until a flush covers it, up to BLK_KEEP_BYTES and KEEP_WRITES of them.  One that
 * finds no room flushes first: it waits for the writes in flight and for a flush of its own, and
 * that one's failure is its own (E_TIMED_OUT too).  One that is larger than the whole room goes
 * with FUA.
 */
NODISCARD enum status
blk_put(struct blk *b, uint32_t op, uint64_t at, uint64_t data, uint32_t bytes, uint32_t cookie);
/* Shows the server what was put.  blk_next does so by itself before it sleeps, at less cost. */
void blk_kick(struct blk *b);
/*
 * Next answer, waiting until the deadline.  A server that was restarted meanwhile gets the writes
 * that no flush covers again, in their order and flushed, and then everything unanswered.  When one
 * of those writes fails, the next flush does.  A successor that has no session or no memory to give
 * is asked again until the deadline.
 *
 * E_NO_DEVICE: what is served now is another disk than the session was opened on; nothing was
 * written to it.  E_TIMED_OUT, and what a successor says for good, is no answer: *cookie is not
 * set, and what was in flight still is.
 */
NODISCARD enum status
blk_next(struct blk *b, uint32_t *cookie, uint32_t *detail, uint64_t deadline);
/* Answers that can be taken without waiting. */
static inline uint32_t
blk_waiting(const struct blk *b)
{
	return load_acquire(&b->ring->done_head) - b->done_tail + b->early_next - b->early_first;
}

/*
 * Without waiting, for programs that wait for other things too:
 *
 *     while (blk_poll(b, &a) == OK)
 *         take a
 *     if (blk_may_sleep(b))
 *         wait for the session's bits
 *     blk_woke(b);
 *
 * blk_poll: E_WOULD_BLOCK: there is no answer now.  E_PEER: the server is gone, and everything is
 * still in flight: blk_recover.  What else is said ends the session.
 */
NODISCARD enum status blk_poll(struct blk *b, struct blk_answer *a);
/*
 * What waits, for another thread of such a program, while it leaves the session alone.
 *
 * blk_recover: OK: a successor has everything.  E_TIMED_OUT: there is none yet.  What else is said
 * ends the session.
 * blk_put_waits: blk_put would.  blk_drain: it would not, after this.
 */
NODISCARD enum status blk_recover(struct blk *b, uint64_t deadline);
bool blk_put_waits(const struct blk *b, uint32_t op, uint32_t bytes);
NODISCARD enum status blk_drain(struct blk *b);
/* Shows what was put.  True: no answer is there, and the server signals the next one. */
NODISCARD bool blk_may_sleep(struct blk *b);
static inline void blk_woke(struct blk *b) { store_relaxed(&b->ring->client_sleeps, 0); }
/* Requests that can be put now. */
static inline uint32_t
blk_room(const struct blk *b)
{
	return BLK_SLOTS - b->inflight - (b->early_next - b->early_first);
}

/*
 * One request, start to end: at, bytes and data as in struct blk_req.  Nothing else may be in
 * flight: the answer taken is the next one.  Waits at most 60 s, since cloud disks may pause for
 * long and a successor may have to start first; after E_TIMED_OUT the request is still in flight,
 * its data may still move, and the session should be closed: until then every call is E_INVALID, as
 * a write that comes to its end late would take the bytes of the next.  Other errors are blk_put's,
 * blk_next's and the server's answer.
 */
NODISCARD enum status
blk_do(struct blk *b, uint32_t op, uint64_t at, uint64_t data, uint32_t bytes);
