/*
 * The producer's half of a command ring: see cmdring.h for the promises.
 *
 * tail, shown and head only grow, head <= shown <= tail, tail - head <= capacity.  A slot
 * index is a number modulo the ring's size; a reported index is unfolded against head: the
 * hardware is between head and shown, and this distance is smaller than what the index
 * can tell apart.
 *
 * Which slots hold syncs is a bit map of our own: the ring itself may have been patched in
 * the repair of an error.
 */
#include "dev/iommu/cmdring.h"
#include "dev/iommu/unit_io.h"
#include "kern/base/bits.h"
#include "kern/panic.h"

static uint64_t size_of(const struct cmdring *r) { return BIT(r->lg2); }

static uint64_t
index_mask(const struct cmdring *r)
{
	return r->style == CMDRING_WRAP ? 2 * size_of(r) - 1 : size_of(r) - 1;
}

void
cmdring_init(struct cmdring *r, void *slots, uint32_t lg2, enum cmdring_style style, bool coherent)
{
	KASSERT(lg2 >= 2 && lg2 <= CMDRING_LG2_MAX);
	*r = (struct cmdring){ .slot = slots, .lg2 = lg2, .style = style, .coherent = coherent };
}

static uint64_t
free_slots(const struct cmdring *r)
{
	uint64_t capacity = r->style == CMDRING_WRAP ? size_of(r) : size_of(r) - 1;

	return capacity - (r->tail - r->head);
}

uint32_t
cmdring_room(const struct cmdring *r)
{
	uint64_t n = free_slots(r);

	return r->owes || n == 0 ? 0 : (uint32_t)n - 1;
}

static void
write_slot(struct cmdring *r, uint64_t lo, uint64_t hi, bool is_sync)
{
	uint64_t i = r->tail & (size_of(r) - 1);

	KASSERT(free_slots(r) != 0);
	unit_store64(&r->slot[i][1], hi);
	unit_store64(&r->slot[i][0], lo);
	if (is_sync)
		r->is_sync[i / 64] |= BIT(i % 64);
	else
		r->is_sync[i / 64] &= ~BIT(i % 64);
	r->tail++;
}

void
cmdring_put(struct cmdring *r, uint64_t lo, uint64_t hi)
{
	DEBUG_ASSERT(cmdring_room(r) != 0);
	write_slot(r, lo, hi, false);
	r->open = true;
}

struct iommu_ticket
cmdring_ticket(const struct cmdring *r)
{
	return (struct iommu_ticket){ r->open || r->owes ? r->syncs + 1 : r->syncs };
}

void
cmdring_sync(struct cmdring *r, uint64_t lo, uint64_t hi)
{
	if (!r->open)
		return;
	write_slot(r, lo, hi, true);
	r->open = false;
	r->syncs++;
}

bool
cmdring_show(struct cmdring *r, uint32_t *producer)
{
	uint64_t n = r->tail - r->shown, i = r->shown & (size_of(r) - 1);
	uint64_t before_wrap = min_u64(n, size_of(r) - i);

	if (n == 0)
		return false;
	unit_clean(&r->slot[i], before_wrap * sizeof(r->slot[0]), r->coherent);
	if (n > before_wrap)
		unit_clean(&r->slot[0], (n - before_wrap) * sizeof(r->slot[0]), r->coherent);
	unit_publish();
	r->shown = r->tail;
	*producer = (uint32_t)(r->tail & index_mask(r));
	return true;
}

bool
cmdring_consumed(struct cmdring *r, uint32_t index)
{
	uint64_t n = (index - r->head) & index_mask(r), done = r->done;

	if ((index & ~index_mask(r)) != 0 || n > r->shown - r->head)
		return false;
	for (; n != 0; n--, r->head++) {
		uint64_t i = r->head & (size_of(r) - 1);

		if ((r->is_sync[i / 64] & BIT(i % 64)) != 0)
			done++;
	}
	if (r->style == CMDRING_WRAP && done != r->done)
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
	if (!r->owes || free_slots(r) < n + 1)
		return false;
	r->owes = false;
	return true;
}
