/*
 * Split virtqueues, the driver's end: queue.h.
 *
 * Free descriptors are a list through "next", which is the driver's own: the table in the ring only
 * ever is written.  A chain takes from the front of the list and gives back to it, so a queue that
 * is little used stays in few cache lines.
 *
 * Order    descriptors and ring slot -> barrier -> avail->idx (drv_vring_commit)
 *          used->idx -> barrier -> used entries
 * Manual   VIRTIO 1.2, 2.7.
 */
#include "dev/virtio/queue.h"
#include "dev/virtio/vring.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"

/* Words of 16 bits in either ring. */
enum { WORD_IDX = VIRTQ_IDX / 2, WORD_RING = VIRTQ_RING / 2 };

void
virtq_init(struct virtq *q, bool event_index)
{
	q->desc = q->ring.driver.ptr;
	q->avail = (volatile uint16_t *)(volatile void *)((uint8_t *)q->ring.driver.ptr +
	    q->ring.avail_at);
	q->used = q->ring.device.ptr;
	q->event_index = q->ring.event_index = event_index;
	q->entries = q->ring.entries;
	q->index = q->ring.index;
	q->avail_idx = q->used_idx = q->seen = q->outstanding = 0;
	q->dirty = false;
	q->fault = NULL;
	q->free = 0;
	q->free_count = q->entries;
	for (uint16_t i = 0; i < q->entries; i++) {
		q->next[i] = (uint16_t)(i + 1);
		q->slot[i] = (struct virtq_slot){ 0 };
	}
}

enum status
virtq_put(struct virtq *q, const struct virtq_part *parts, unsigned readable, unsigned writable,
    uint64_t cookie, uint16_t *head)
{
	unsigned n = readable + writable;
	uint16_t i = q->free, last = i;
	uint32_t may_write = 0;

	if (unlikely(n == 0 || n > q->entries))
		return E_INVALID;
	if (unlikely(n > q->free_count || q->fault != NULL))
		return E_WOULD_BLOCK;
	for (unsigned k = 0; k < n; k++) {
		struct virtq_desc *d = &q->desc[i];
		bool writes = k >= readable;

		if (unlikely(parts[k].bytes == 0))
			return E_INVALID;
		d->addr = parts[k].at.v;
		d->len = parts[k].bytes;
		d->flags = (uint16_t)((k + 1 < n ? VIRTQ_DESC_F_NEXT : 0) |
		    (writes ? VIRTQ_DESC_F_WRITE : 0));
		d->next = q->next[i];
		may_write += writes ? parts[k].bytes : 0;
		last = i;
		i = q->next[i];
	}
	*head = q->free;
	q->free = q->next[last];
	q->free_count -= (uint16_t)n;
	q->slot[*head] =
	    (struct virtq_slot){ .cookie = cookie, .writable = may_write, .parts = (uint16_t)n };
	q->avail[WORD_RING + (q->avail_idx & (q->entries - 1))] = *head;
	q->avail_idx++;
	q->outstanding++;
	q->dirty = true;
	return OK;
}

uint16_t
virtq_look(struct virtq *q)
{
	uint16_t now, n;

	if (unlikely(q->fault != NULL))
		return 0;
	now = q->used[WORD_IDX];	/* once */
	n = (uint16_t)(now - q->used_idx);
	if (n == 0)
		return 0;
	if (unlikely(n > q->outstanding)) {
		q->fault = "a queue gives back more than it was given";
		return 0;
	}
	io_collect();
	q->seen = now;
	return n;
}

bool
virtq_take(struct virtq *q, struct virtq_done *out)
{
	const volatile struct virtq_used_elem *e;
	uint32_t id, bytes;
	struct virtq_slot *slot;
	uint16_t last;

	if (q->used_idx == q->seen || unlikely(q->fault != NULL))
		return false;
	e = (const volatile struct virtq_used_elem *)(const volatile void *)(
	    (const uint8_t *)q->ring.device.ptr + vring_used_entry(q->entries, q->used_idx));
	id = e->id;			/* each once */
	bytes = e->len;
	if (unlikely(id >= q->entries || q->slot[id].parts == 0)) {
		q->fault = "a queue gives back what it was not given";
		return false;
	}
	slot = &q->slot[id];
	if (unlikely(bytes > slot->writable)) {
		q->fault = "a queue's device claims to have written past a buffer";
		return false;
	}
	*out = (struct virtq_done){ .cookie = slot->cookie, .bytes = bytes, .head = (uint16_t)id };
	last = (uint16_t)id;
	for (uint16_t k = 1; k < slot->parts; k++)
		last = q->next[last];
	q->next[last] = q->free;
	q->free = (uint16_t)id;
	q->free_count += slot->parts;
	slot->parts = 0;
	q->outstanding--;
	q->used_idx++;
	q->dirty = true;
	return true;
}

void
virtq_arm(struct virtq *q, uint16_t after)
{
	uint16_t event = (uint16_t)(q->used_idx + after);

	if (!q->event_index || q->avail[WORD_RING + q->entries] == event)
		return;		/* flags are 0: it interrupts */
	q->avail[WORD_RING + q->entries] = event;
	q->dirty = true;
}

enum status
virtq_commit(struct virtq *q)
{
	enum status s;

	if (!q->dirty)
		return OK;
	q->dirty = false;
	s = drv_vring_commit(&q->ring, q->avail_idx, q->used_idx);
	if (unlikely(s != OK && q->fault == NULL))
		q->fault = s == E_CORRUPT ? "a queue's device broke the rules" :
					    "the kernel did not publish what a queue was given";
	return s;
}
