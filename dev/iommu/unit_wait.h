/*
 * Waiting for a ticket, for who has nothing else to do: bring-up of a unit, and the few entries
 * that must be past before a call returns.  Everybody else polls between other work
 * (kern/dma/fence.h).
 */
#pragma once

#include "kern/dma/iommu.h"
#include "kern/md/clock.h"

/* Without the unit's lock.  E_TIMED_OUT: not past after wait_ns; it still counts as pending. */
NODISCARD static inline enum status
unit_ticket_wait(struct iommu_unit *u, struct iommu_ticket t, uint64_t wait_ns)
{
	uint64_t deadline = clock_now() + wait_ns;
	bool late = false;
	enum status s;

	while ((s = u->ops->ticket_poll(u, t)) == E_WOULD_BLOCK) {
		if (late)
			return E_TIMED_OUT;
		late = clock_now() > deadline;	/* one more look: it may be we who slept */
		clock_spin(200);
	}
	return s;
}
