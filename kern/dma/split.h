/*
 * A split queue whose chains the kernel checks: the owner's table of descriptors and its ring of
 * heads, the shadow of both that the device reads, and the ring that the device writes and the
 * owner only reads.
 *
 *     owner's part    [ descriptors | heads ]     writable by the driver, never read by the device
 *                        | judge: one copy of a chain, checked (xlate.h)
 *     shadow          [ descriptors | heads ]     written here only; the device reads it
 *     used ring       [ head, bytes | ...   ]     written by the device; here read again, for what
 *                                                 it pins
 *
 * An accepted chain is outstanding under its head: it keeps its places of the table, pins its
 * grants, and has its side table until its used entry was consumed.  What the device says is judged
 * too: a used entry that names nothing outstanding, that says more was written than the chain lets
 * it, or that was not owed, ends the belief in this queue (fault) until the device was stopped.
 *
 * Indices run through 16 bits and wrap.  A batch may be long, and nothing runs for long with
 * interrupts off: split_publish does a bounded piece and says E_WOULD_BLOCK.  A refused batch is
 * taken back as a whole; the device was not told of it.
 *
 * Pure: no allocation, no clock, no register; the caller notifies.  Locks: the claim's, over every
 * call.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/dma/ledger.h"
#include "kern/dma/ring.h"
#include "kern/dma/xlate.h"

struct split_ring {
	const struct xlate_split *class;
	struct ledger *ledger;		/* windows name its entries */
	struct xlate_split_queue q;
	struct ring_page *table;	/* the free side tables, the last one is q.spare */
	uint32_t tables;		/* free */
	uint32_t out;			/* chains that are outstanding, with those of the batch */
	uint16_t shown, next;		/* announced; accepted of the batch under way */
	uint16_t used;			/* next used entry */
	uint16_t *head;			/* by entry of the batch, modulo q.entries: its head */
	const char *fault;		/* not NULL: the device broke the rules */
	uint64_t accepted, completed, refused;	/* chains, used entries, batches */
};

/* The queue is as new.  The pointers, in q the queue's id, entries and windows, and the side tables
 * are filled in; the records of the places are zero. */
void split_init(struct split_ring *r);

/* Used entries up to "used" were seen by the owner.  E_REFUSED: there are not so many.  E_CORRUPT:
 * the device broke the rules. */
NODISCARD enum status split_consume(struct split_ring *r, uint16_t used, struct ring_refusal *why);

/*
 * Chains up to entry "avail".  OK: all were accepted and are the device's; *notify: it wants to be
 * told.  Also with nothing new: what the owner says of interrupts goes to the device.
 * E_WOULD_BLOCK: so far so good: call again with the same index.  E_REFUSED: nothing of the batch
 * was accepted.  E_CORRUPT as above.
 */
NODISCARD enum status
split_publish(struct split_ring *r, uint16_t avail, bool *notify, struct ring_refusal *why);

/* A batch under way is given up. */
void split_withdraw(struct split_ring *r);

/* The device was seen to have stopped: nothing is outstanding, nothing pinned; shadow and used ring
 * as new. */
void split_clear(struct split_ring *r);
