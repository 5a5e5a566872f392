/*
 * Tickets against time.
 *
 * Why a time-out makes everything lost: a ticket that does not come back leaves two possibilities,
 * the unit is slow or the unit is dead, and in both the device may go on using the old translation
 * at any later moment.  There is no third message that would tell.  So the deadline is the end:
 * frames are never reused, the unit is broken for all its domains, and nothing later that the
 * unit says is believed (D8, DMA-24, DMA-32, DMA-43).
 *
 * Why one ticket is enough for many: a unit works its queue in order and tickets count its syncs,
 * so the highest one is past last (DMA-41).
 */
#include "kern/dma/fence.h"
#include "kern/base/bits.h"

/* Between polls: from one microsecond on, doubled each time, to a quarter of a millisecond. */
enum : uint64_t { POLL_FIRST_NS = NS_PER_US, POLL_LG2_MAX = 8 };

void
fence_init(struct fence *f, struct iommu_unit *unit)
{
	*f = (struct fence){ .unit = unit };
}

void
fence_add(struct fence *f, struct iommu_ticket t, uint64_t deadline)
{
	if (f->state == FENCE_LOST)
		return;
	if (f->state != FENCE_WAITING) {
		f->state = FENCE_WAITING;
		f->ticket = t;
		f->deadline = deadline;
		f->polls = 0;
		return;
	}
	f->ticket.seq = max_u64(f->ticket.seq, t.seq);
	f->deadline = deadline == FENCE_FROM_POLL ? deadline : max_u64(f->deadline, deadline);
}

/* What the unit says of the ticket; the fence is waiting. */
static enum status
ask(const struct fence *f)
{
	if (f->ticket.seq == 0)
		return OK;
	return f->unit == NULL ? E_QUARANTINED : f->unit->ops->ticket_poll(f->unit, f->ticket);
}

bool
fence_past(struct fence *f)
{
	if (f->state == FENCE_WAITING && ask(f) == OK)
		f->state = FENCE_PAST;
	return f->state == FENCE_PAST || f->state == FENCE_IDLE;
}

enum status
fence_poll(struct fence *f, uint64_t now)
{
	enum status s;

	if (f->state == FENCE_LOST)
		return E_QUARANTINED;
	if (f->state != FENCE_WAITING)
		return OK;
	s = ask(f);
	if (f->deadline == FENCE_FROM_POLL)
		f->deadline = now + FENCE_DEADLINE_NS;
	if (s == E_WOULD_BLOCK && now < f->deadline) {
		f->polls++;
		return s;
	}
	if (s == OK) {
		f->state = FENCE_PAST;
		return OK;
	}
	f->state = FENCE_LOST;
	if (s == E_WOULD_BLOCK)
		iommu_mark_broken(f->unit, "an invalidation did not complete by its deadline");
	return E_QUARANTINED;
}

uint64_t
fence_poll_at(const struct fence *f, uint64_t now)
{
	uint64_t step = POLL_FIRST_NS << min_u64(f->polls, POLL_LG2_MAX);

	return min_u64(now + step, max_u64(f->deadline, now));
}
