/*
 * A ring of 16-byte commands that software fills and a unit empties, and the promises
 * that go with it.
 *
 * Commands are put one after another; a sync command closes a batch.  Every command is
 * covered by the next sync: its ticket is the number of that sync, known before the sync is
 * written.  So a caller may put, take the ticket, and leave sync and doorbell to whoever polls
 * first: a hundred unmaps then cost one sync and one doorbell.
 *
 *     put put put  ticket 8  put  ticket 8 | poll(8): sync 8, show, doorbell | poll(8): consumed ->
 *                                 past
 *
 * Numbers are absolute: commands and syncs since boot, never wrapped; only the
 * ring index and what hardware reports are cut down.
 *
 * Debt.  When the ring is full nobody waits.  The caller owes: cmdring_owe gives the
 * ticket of the next sync, and before that sync is written a flush of everything must be put
 * (cmdring_pay, when there is room).  Meanwhile no other command is put: each caller owes too
 * and gets the same ticket.
 *
 * Locks: the unit's lock over every call, but for cmdring_past.
 * Not here: what a command looks like, registers, errors of the queue.
 */
#pragma once

#include "kern/base/mmio.h"
#include "kern/base/types.h"
#include "kern/dma/iommu.h"

enum : uint32_t { CMDRING_LG2_MAX = 9 };

enum cmdring_style : uint8_t {
	CMDRING_WRAP,  /* the index carries a wrap bit, all slots can be used; a consumed sync is
			  complete (SMMU) */
	CMDRING_PLAIN, /* no wrap bit, one slot stays free; syncs report by a status word (VT-d) */
};

struct cmdring {
	uint64_t (*slot)[2];		/* (c) borrowed */
	uint32_t lg2;			/* (c) slots */
	uint32_t capacity;		/* (c) of them that may be in use */
	uint32_t index_mask;		/* (c) of the producer and consumer index */
	enum cmdring_style style;	/* (c) */
	bool coherent;			/* (c) */
	bool open;			/* commands since the last sync */
	bool owes;			/* a flush of everything must come before the next sync */
	uint64_t tail;			/* commands written */
	uint64_t shown;			/* commands that the unit was told of */
	uint64_t head;			/* commands known to be consumed */
	uint64_t syncs;			/* syncs written */
	uint64_t done;			/* (a) syncs known to be complete */
	/*
	 * Position of each sync that is not done, low half, by its number.  Every sync covers a
	 * command, but for one that found the ring empty, so half as many as slots are enough.
	 */
	uint32_t sync_at[1u << (CMDRING_LG2_MAX - 1)];
};

/* slots: 16 << lg2 bytes of memory that the unit reads; lg2 is 2 .. CMDRING_LG2_MAX. */
void
cmdring_init(struct cmdring *r, void *slots, uint32_t lg2, enum cmdring_style style, bool coherent);

/* Commands that may be put now; room for the sync that covers them is kept apart.  0 while in debt.
 */
static inline uint32_t
cmdring_room(const struct cmdring *r)
{
	uint32_t used = (uint32_t)(r->tail - r->head);

	return r->owes || used == r->capacity ? 0 : r->capacity - used - 1;
}

/* Writes a command; there is room.  Its ticket is cmdring_ticket(). */
void cmdring_put(struct cmdring *r, uint64_t lo, uint64_t hi);

/* The ticket of the last command put: the next sync if a batch is open or in debt, else the last
 * one. */
static inline struct iommu_ticket
cmdring_ticket(const struct cmdring *r)
{
	return (struct iommu_ticket){ r->open || r->owes ? r->syncs + 1 : r->syncs };
}

/*
 * Closes the open batch with a sync command.  Always finds room: cmdring_room keeps it.  The
 * number that a status word should report is cmdring_next().  Nothing happens when no batch is
 * open.
 */
void cmdring_sync(struct cmdring *r, uint64_t lo, uint64_t hi);
static inline uint64_t cmdring_next(const struct cmdring *r) { return r->syncs + 1; }

/*
 * A sync by itself, shown at once, for those who want to know that everything until now is past;
 * its ticket is cmdring_ticket().  False: the ring is not idle (all consumed, no debt), and nothing
 * happened.
 */
NODISCARD bool cmdring_fence(struct cmdring *r, uint64_t lo, uint64_t hi, uint32_t *producer);

/* Makes what was put visible.  The value to write into the producer register, or false: nothing
 * new. */
bool cmdring_show(struct cmdring *r, uint32_t *producer);

/*
 * The unit's consumer index, error bits masked off.  With CMDRING_WRAP the syncs passed are
 * complete.  False: it claims what was never shown, and the unit's state is unknown.
 */
NODISCARD bool cmdring_consumed(struct cmdring *r, uint32_t index);

/* CMDRING_PLAIN: the low half of the number of the last complete sync.  False: never written. */
NODISCARD bool cmdring_reported(struct cmdring *r, uint32_t number_low);

/* No room: close the open batch with cmdring_sync first.  The ticket is past after a flush of
 * everything. */
struct iommu_ticket cmdring_owe(struct cmdring *r);

/* In debt, and room for the n commands of the flush: puts may begin (at most n), then cmdring_sync.
 */
NODISCARD bool cmdring_pay(struct cmdring *r, uint32_t n);

/* Any context, no lock. */
static inline bool
cmdring_past(const struct cmdring *r, struct iommu_ticket t)
{
	return t.seq <= load_acquire(&r->done);
}

/* The slot at a consumer index, for repair after a queue error. */
static inline uint64_t *
cmdring_slot(struct cmdring *r, uint32_t index)
{
	return r->slot[index & ((1u << r->lg2) - 1)];
}
