/*
 * A pair of rings whose entries the kernel checks: the owner's submission ring, the shadow that the
 * device reads, and the completion ring that the device writes and the owner only reads.
 *
 *     owner's ring    [ a | b | c |   ]      writable by the driver, never read by the device
 *                       | judge: one copy, checked (xlate.h)
 *     shadow          [ A | B | C |   ]      written here only; the device reads it
 *                         ^fetched    ^tail  announced to the device when a whole batch was
 *                                            accepted
 *     completions     [ x | y |   |   ]      written by the device; here read again, for what it
 *                                            pins
 *                       ^head
 *
 * An accepted entry is outstanding under its command id: it pins its grants and keeps its side page
 * until its completion was consumed.  A place of the shadow is used again only when the device said
 * that it fetched it.  What the device says is judged too: a completion that names nothing
 * outstanding, another queue, or a place that it cannot have reached, ends the belief in this ring
 * (fault) until the device was stopped.
 *
 * A batch may be long, and nothing runs for long with interrupts off: ring_publish does a bounded
 * piece and says E_WOULD_BLOCK.  The shadow beyond tail is nobody's meanwhile, and a refused batch
 * is taken back as a whole.
 *
 * Pure: no allocation, no clock, no register; the caller rings the doorbells.  Locks: the claim's,
 * over every call.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/dma/ledger.h"
#include "kern/dma/xlate.h"

struct ring_refusal { enum dma_rule rule; uint32_t entry; };

/* A side page that no command has. */
struct ring_page { uint64_t *ptr; uint64_t address; };

struct dma_ring {
	const struct xlate_class *class;
	struct xlate_device *device;	/* what answers teach goes here */
	struct xlate_queue q;
	struct ledger *ledger;		/* windows name its entries */
	const uint64_t *owner;		/* the owner's ring: may change at any time */
	uint64_t *shadow;
	volatile uint64_t *cq;
	uint16_t *id;			/* by place of the shadow: command id */
	struct ring_page *page;		/* the free side pages, the last one is q.spare */
	uint32_t pages;			/* free */
	uint32_t entries;		/* of each */
	uint32_t tail, next;		/* announced; accepted of the batch under way */
	uint32_t fetched;		/* the device's head, as it says */
	uint32_t head;			/* next completion */
	bool odd_round;			/* what a fresh completion shows */
	const char *fault;		/* not NULL: the device broke the rules */
	uint64_t accepted, completed, refused;	/* entries, completions, batches */
};

/* The ring is as new.  The pointers, in q the queue's id, slots and windows, and the side pages are
 * filled in. */
void ring_init(struct dma_ring *r);

/* Completions up to "head" were seen by the owner.  E_REFUSED: there are not so many.  E_CORRUPT:
 * the device broke the rules. */
NODISCARD enum status ring_consume(struct dma_ring *r, uint32_t head, struct ring_refusal *why);

/*
 * Entries up to "tail".  OK: all were accepted; now the doorbell.  E_WOULD_BLOCK: so far so good:
 * call again with the same tail.  E_REFUSED: nothing of the batch was accepted.  E_CORRUPT as
 * above.
 */
NODISCARD enum status ring_publish(struct dma_ring *r, uint32_t tail, struct ring_refusal *why);

/* A batch under way is given up. */
void ring_withdraw(struct dma_ring *r);

/* The device was seen to have stopped: nothing is outstanding, nothing pinned; both rings as new.
 */
void ring_clear(struct dma_ring *r);
