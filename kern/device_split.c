/*
 * Split queues of claims that the kernel checks: what of device_queue.c is different with them.
 * kern/dma/split.h tells what they are.
 *
 * Memory   the driver's part, its shadow, the used ring; side tables, several in a page; and one
 *          run of the kernel's own for the ring itself, the records of its places, the heads of a
 *          batch, and the list of free side tables.
 * Locks    the queue's and the claim's, over every call.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/frame.h"

enum {
	TABLES_MAX = 64,		/* chains that may need a side table at one time */
	DESC_BYTES = 16,
	TABLE_BYTES = XLATE_PIECES_MAX * DESC_BYTES,
	TABLES_IN_PAGE = PAGE_SIZE / TABLE_BYTES,
};
static_assert(PAGE_SIZE % TABLE_BYTES == 0);

static uint32_t
tables_of(uint32_t entries)
{
	return (uint32_t)max_u64(min_u64(entries, TABLES_MAX), TABLES_IN_PAGE);
}

struct queue_sizes
device_split_sizes(const struct xlate_split *s, uint32_t entries)
{
	uint64_t tables = tables_of(entries);

	return (struct queue_sizes){ .owner_bytes = s->owner_bytes(entries),
		.used_bytes = s->used_bytes(entries),
		.side_pages = tables / TABLES_IN_PAGE,
		.record_bytes = sizeof(struct split_ring) + entries * sizeof(struct xlate_chain) +
		    tables * sizeof(struct ring_page) + entries * sizeof(uint16_t) };
}

static void *page_ptr(struct memory *m, uint64_t n) { return frame_ptr(device_queue_page(m, n)); }

void
device_split_bind(struct queue *q, struct device *d, uint32_t id, uint32_t entries)
{
	struct device_check *c = d->check;
	struct split_ring *r = page_ptr(q->slots, 0);
	struct xlate_chain *chain = (struct xlate_chain *)(void *)(r + 1);

	r->class = c->class->split;
	r->ledger = &d->domain.ledger;
	r->table = (struct ring_page *)(void *)(chain + entries);
	r->tables = (uint32_t)q->side->pages * TABLES_IN_PAGE;
	r->head = (uint16_t *)(void *)(r->table + r->tables);
	for (uint32_t i = 0; i < r->tables; i++) {
		uint64_t at = i % TABLES_IN_PAGE * TABLE_BYTES;
		uint8_t *page = page_ptr(q->side, i / TABLES_IN_PAGE);

		r->table[i] = (struct ring_page){ (uint64_t *)(void *)(page + at),
			device_queue_address(d, q->side_grant, i / TABLES_IN_PAGE) + at };
	}
	r->q = (struct xlate_split_queue){ .device = &c->x,
		.windows = &c->windows.live,
		.id = id,
		.entries = entries,
		.owner = page_ptr(q->owner, 0),
		.shadow = page_ptr(q->shadow, 0),
		.used = page_ptr(q->cq, 0),
		.chain = chain };
	split_init(r);
	q->split = r;
	q->ring.q.id = id;
	q->stale = true;
}

enum status
device_split_turn(
    struct queue *q, struct device *d, uint32_t avail, uint32_t used, struct ring_refusal *why)
{
	struct split_ring *r = q->split;
	uint64_t before;
	bool notify;
	enum status s = OK;

	if (unlikely(r == NULL))
		return E_INVALID;
	if (unlikely(q->split_stale))
		return E_STALE;
	if (unlikely(!d->check->x.running))
		return E_STATE;
	if (used != UINT32_MAX)
		s = split_consume(r, (uint16_t)used, why);
	if (unlikely(s != OK))
		return s;
	before = r->accepted;
	s = split_publish(r, avail != UINT32_MAX ? (uint16_t)avail : r->shown, &notify, why);
	if (unlikely(s != OK))
		return s;
	d->check->entries += r->accepted - before;
	d->check->x.queue[r->q.id].used = true;
	if (notify) {
		io_publish();
		mmio_write16(q->sq_doorbell, (uint16_t)r->q.id);
	}
	return OK;
}
