/*
 * The producer's half of a command ring: see cmdring.h for the promises.
 *
 * tail, shown and head only grow, head <= shown <= tail, tail - head <= capacity.  A slot
 * index is a number modulo the ring's size; a reported index is unfolded against head: the
 * hardware is between head and shown, and this distance is smaller than what the index
 * can tell apart.
 *
 * Which commands are syncs is known from positions of our own: the ring itself may have been
 * patched in the repair of an error.
 */
#include "dev/iommu/cmdring.h"
#include "dev/iommu/unit_io.h"
#include "kern/base/bits.h"
#include "kern/panic.h"

void
cmdring_init(struct cmdring *r, void *slots, uint32_t lg2, enum cmdring_style style, bool coherent)
{
	uint32_t size = 1u << lg2;

	KASSERT(lg2 >= 2 && lg2 <= CMDRING_LG2_MAX);
	*r = (struct cmdring){ .slot = slots, .lg2 = lg2, .style = style, .coherent = coherent };
	r->capacity = style == CMDRING_WRAP ? size : size - 1;
	r->index_mask = style == CMDRING_WRAP ? 2 * size - 1 : size - 1;
}

static ALWAYS_INLINE uint32_t
slot_mask(const struct cmdring *r)
{
	return (1u << r->lg2) - 1;
}

static ALWAYS_INLINE void
write_slot(struct cmdring *r, uint64_t lo, uint64_t hi)
{
	uint64_t *slot = r->slot[r->tail & slot_mask(r)];

	unit_store64(&slot[1], hi);
	unit_store64(&slot[0], lo);
	r->tail++;
}

void
cmdring_put(struct cmdring *r, uint64_t lo, uint64_t hi)
{
	KASSERT(cmdring_room(r) != 0);
	write_slot(r, lo, hi);
	r->open = true;
}

void
cmdring_sync(struct cmdring *r, uint64_t lo, uint64_t hi)
{
	if (!r->open)
		return;
	KASSERT(r->tail - r->head < r->capacity);
	r->syncs++;
	r->sync_at[r->syncs % ARRAY_SIZE(r->sync_at)] = (uint32_t)r->tail;
	write_slot(r, lo, hi);
	r->open = false;
}

bool
cmdring_show(struct cmdring *r, uint32_t *producer)
{
	uint64_t n = r->tail - r->shown;

	if (n == 0)
		return false;
	if (!r->coherent) {
		uint64_t i = r->shown & slot_mask(r),
			 before_wrap = min_u64(n, slot_mask(r) + 1 - i);

		cache_clean(&r->slot[i], before_wrap * sizeof(r->slot[0]));
		if (n > before_wrap)
			cache_clean(&r->slot[0], (n - before_wrap) * sizeof(r->slot[0]));
	}
	unit_publish();
	r->shown = r->tail;
	*producer = (uint32_t)r->tail & r->index_mask;
	return true;
}

bool
cmdring_fence(struct cmdring *r, uint64_t lo, uint64_t hi, uint32_t *producer)
{
	if (unlikely(r->head != r->tail) || unlikely(r->open) || unlikely(r->owes))
		return false;
	r->open = true;
	cmdring_sync(r, lo, hi);
	return cmdring_show(r, producer);
}

bool
cmdring_consumed(struct cmdring *r, uint32_t index)
{
	uint32_t n = (index - (uint32_t)r->head) & r->index_mask;
	uint64_t done = r->done;

	if (likely(r->shown == r->tail) &&
	    likely(index == ((uint32_t)r->tail & r->index_mask))) { /* all */
		r->head = r->tail;
		if (r->style == CMDRING_WRAP)
			store_release(&r->done, r->syncs);
		return true;
	}
	if ((index & ~r->index_mask) != 0 || n > r->shown - r->head)
		return false;
	r->head += n;
	if (r->style != CMDRING_WRAP)
		return true;
	while (done < r->syncs &&
	    (int32_t)((uint32_t)r->head - r->sync_at[(done + 1) % ARRAY_SIZE(r->sync_at)]) > 0)
		done++;
	if (done != r->done)
		store_release(&r->done, done);
	return true;
}

bool
cmdring_reported(struct cmdring *r, uint32_t number_low)
{
	uint64_t n = (uint32_t)(number_low - (uint32_t)r->done);

	if (n > r->syncs - r->done)
		return false;
	if (n != 0)
		store_release(&r->done, r->done + n);
	return true;
}

struct iommu_ticket
cmdring_owe(struct cmdring *r)
{
	KASSERT(!r->open);
	r->owes = true;
	return cmdring_ticket(r);
}

bool
cmdring_pay(struct cmdring *r, uint32_t n)
{
	if (!r->owes || r->capacity - (r->tail - r->head) < n + 1)
		return false;
	r->owes = false;
	return true;
}
