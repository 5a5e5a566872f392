/*
 * What a client of a block server keeps until a flush covers it (D12).
 *
 * A write that was answered may still be in a cache that goes with the server or its device.  So a
 * copy of it stays here, in an area of the session's data, in the order in which writes were put,
 * until a flush that was put after its answer succeeds.  A successor of the server gets the copies
 * again in that order, before anything else.
 *
 * A write with FUA is durable when it is answered, and is not kept.  What it covers of older kept
 * writes is never put again as it was, not even for a moment, since power may fail in that moment:
 *
 *   all of one       the older one is dropped
 *   an end of one    the older one is cut
 *   a middle         the copy takes over the durable bytes
 *
 * Writes in flight together have no order: one that is answered after the durable one is kept
 * whole.
 *
 *   records   first .. next - 1, by number; one that is not needed any more is dead, and goes when
 *             it is the first
 *   copies    a ring, in the order of records; a copy lies in one piece, and what is left at the
 *             end of the area is skipped
 *
 * Bounded by both; who finds no room flushes first.  Pure; no locks.
 *
 * Order between sessions.  A session knows its own writes alone.  Where two may write to the same
 * bytes the server makes all their writes durable, and says so by the number of an answer
 * (keep_successor); and who comes back to a successor when somebody else could write there is told
 * to put nothing again.  What is lost then, if anything, is what nobody had flushed: the next flush
 * says E_STALE.
 */
#pragma once

#include "kern/base/types.h"

enum { KEEP_WRITES = 128, KEEP_NONE = KEEP_WRITES };

struct kept_write {
	uint64_t at, data; /* byte offsets: in the session's range, of the copy in its data */
	uint64_t end;			/* where the next copy may begin, counted on and on */
	uint64_t answered;		/* 0: not yet; else when, by the keep's clock */
	uint32_t bytes;
	uint32_t answer;		/* its number among the server's answers */
	bool earlier;			/* ... among those of a server before */
	bool dead;
};

struct blk_keep {
	uint64_t base, size;		/* (c) the area of copies within the data */
	uint64_t from, to; /* copies: where the first begins and the last ends, counted on and on */
	uint64_t clock;			/* answers so far */
	uint32_t first, next;
	uint32_t unanswered;
	struct kept_write write[KEEP_WRITES];
};

void keep_init(struct blk_keep *k, uint64_t base, uint64_t size);
static inline bool keep_empty(const struct blk_keep *k) { return k->first == k->next; }

/* Would keep_put find room now? */
bool keep_has_room(const struct blk_keep *k, uint32_t bytes);
/* Room for one more write, or KEEP_NONE when there is none: its index, until it is dead. */
uint32_t keep_put(struct blk_keep *k, uint64_t at, uint32_t bytes);
/* The server answered.  True: the write is kept, and its copy is to be made now. */
NODISCARD bool
keep_answered(struct blk_keep *k, uint32_t index, bool good, bool durable, uint32_t answer);
/* Before keep_answered, for a durable write that succeeded: its record, range and bytes; data is
 * the session's. */
void keep_cover(struct blk_keep *k, uint32_t index, uint64_t at, uint32_t bytes, uint8_t *data,
    const uint8_t *from);
/* What a flush covers that is put now: give it to keep_flushed when it succeeded. */
static inline uint64_t keep_mark(const struct blk_keep *k) { return k->clock; }
void keep_flushed(struct blk_keep *k, uint64_t mark);
/* The server is gone; of its answers those before this one were durable.  Its successor counts
 * anew. */
void keep_successor(struct blk_keep *k, uint32_t durable);
/* It could not be put again. */
void keep_drop(struct blk_keep *k, uint32_t index);
/* The kept writes that were answered, oldest first: the next one from number *n on, KEEP_NONE past
 * the last.  *n begins with k->first. */
uint32_t keep_next(const struct blk_keep *k, uint32_t *n);
