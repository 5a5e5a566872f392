/*
 * A fence: the point from which a device can no longer use what was taken from it.
 *
 * A unit answers an unmap or a detach with a ticket (iommu.h).  A fence collects the tickets of one
 * piece of work, adds a deadline, and turns time and the unit's answers into one of three words:
 *
 *   waiting   not yet
 *   past      every ticket is past: frames and addresses may be used again
 *   lost      it will never be known.  The unit is marked broken, and what the fence guards
 *             goes into quarantine.
 *
 * "past" and "lost" are final: a ticket that turns out to be past after the deadline changes
 * nothing (D8), because others were already told that the frames are lost.
 *
 * Nothing here waits.  Who needs to wait polls, and sleeps between polls until fence_poll_at().
 *
 * Locks: the owner's, over every call on one fence; fence_poll takes RANK_UNIT inside, through the
 * unit.  Not held: RANK_UNIT.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"
#include "kern/dma/iommu.h"

enum fence_state : uint8_t { FENCE_IDLE, FENCE_WAITING, FENCE_PAST, FENCE_LOST };

struct fence {
	struct iommu_unit *unit;	/* (c) NULL: no unit is involved, tickets are {0} */
	struct iommu_ticket ticket;	/* the latest: tickets of a unit are past in order */
	uint64_t deadline;
	uint64_t polls;
	enum fence_state state;
};

/* How long an invalidation may take.  Hardware needs microseconds; a busy hypervisor may need
 * milliseconds. */
enum : uint64_t { FENCE_DEADLINE_NS = 1 * NS_PER_S, FENCE_FROM_POLL = 0 };

void fence_init(struct fence *f, struct iommu_unit *unit);

/*
 * Adds a ticket of the unit.  The first one, or one added while waiting, sets the deadline:
 * the later of both; FENCE_FROM_POLL: FENCE_DEADLINE_NS after the next poll that finds it waiting,
 * so who adds needs no clock.  After "past" a new round begins.  A lost fence stays lost.
 */
void fence_add(struct fence *f, struct iommu_ticket t, uint64_t deadline);

/* True: past, or nothing was added: fence_poll would say OK.  False: ask fence_poll, with a clock.
 */
NODISCARD bool fence_past(struct fence *f);

/*
 * OK: past, or nothing was added.  E_WOULD_BLOCK: not yet.  E_QUARANTINED: lost.  "now" is
 * clock_now().  A ticket that is past is believed also when now is beyond the deadline, if nobody
 * asked before.
 */
NODISCARD enum status fence_poll(struct fence *f, uint64_t now);

/* Polled, and waiting: when to ask again: soon at first (an invalidation takes microseconds), then
 * less often. */
uint64_t fence_poll_at(const struct fence *f, uint64_t now);
