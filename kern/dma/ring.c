/*
 * Checked rings: ring.h has the picture, what is believed of whom, and the lock.
 *
 * Order    of a batch: each entry is copied, judged and written to the shadow beyond the announced
 *          tail; when the last has passed the tail moves, and the caller rings.  Of a completion:
 *          what it names is compared with what is outstanding, then its pins end.
 * Not here judging an entry (the class's xlate.c), the memory of rings (device_queue.c), grants
 * (ledger.c).
 */
#include "kern/dma/ring.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/dma/ring_run.h"
#include "kern/panic.h"

static inline uint32_t
distance(const struct dma_ring *r, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + r->entries - from;
}

static inline uint32_t
after(const struct dma_ring *r, uint32_t at)
{
	return at + 1 == r->entries ? 0 : at + 1;
}

static enum status
refuse(struct dma_ring *r, struct ring_refusal *why, enum dma_rule rule, uint32_t entry)
{
	r->refused++;
	*why = (struct ring_refusal){ rule, entry };
	return E_REFUSED;
}

static void
let_go(struct dma_ring *r, struct xlate_slot *s)
{
	if (unlikely(s->side != NULL)) {
		r->page[r->pages++] = (struct ring_page){ s->side, s->side_address };
		s->side = NULL;
		ring_set_spare(r);
	}
	for (uint32_t i = 0; i < s->grants; i++)
		ledger_unpin(r->ledger, s->grant[i]);
	s->grants = 0;
	s->busy = false;
}

enum dma_rule
ring_accept(struct dma_ring *r, uint64_t at, const struct xlate_verdict *v)
{
	struct xlate_slot *s = &r->q.slot[v->id];

	for (uint8_t i = 0; i < s->grants; i++)
		if (unlikely(ledger_pin(r->ledger, s->grant[i]) != OK)) {
			while (i-- != 0)
				ledger_unpin(r->ledger, s->grant[i]);
			s->grants = 0;
			return RULE_WINDOW;
		}
	if (s->side != NULL) {
		r->pages--;
		ring_set_spare(r);
	}
	s->busy = true;
	r->id[at] = (uint16_t)v->id;
	return RULE_NONE;
}

/* What the device answered goes where the owner wanted it; its windows are pinned. */
static void
deliver(struct dma_ring *r, struct xlate_slot *s)
{
	const uint8_t *from = (const uint8_t *)s->side;

	io_collect();
	r->class->answered(r->device, s);
	for (unsigned i = 0; i < ARRAY_SIZE(s->to); i++) {
		const struct xlate_window *w;

		if (s->to_bytes[i] == 0 || r->q.windows->count == 0)
			continue;
		w = xlate_below(r->q.windows, s->to[i]);
		if (!xlate_holds(w, s->to[i], s->to_bytes[i]))
			continue;	/* taken back with its generation */
		memcpy((void *)(uintptr_t)(s->to[i] + w->cpu), from, s->to_bytes[i]);
		from += s->to_bytes[i];
	}
}

/* What is wrong with a completion. */
static COLD const char *
why_wrong(const struct dma_ring *r, const struct xlate_done *d)
{
	if (d->id >= r->q.slots || !r->q.slot[d->id].busy)
		return "a completion names nothing outstanding";
	if (d->queue != r->q.id)
		return "a completion names another queue";
	return "a completion reports entries that were not announced";
}

enum status
ring_consume(struct dma_ring *r, uint32_t head, struct ring_refusal *why)
{
	uint32_t words = r->class->cq_words, ahead = distance(r, r->fetched, r->tail);

	if (unlikely(head >= r->entries))
		return refuse(r, why, RULE_TAIL, head);
	if (unlikely(r->fault != NULL) && r->head != head)
		return E_CORRUPT;
	while (r->head != head) {
		struct xlate_done d =
		    r->class->completed(r->cq + (uint64_t)r->head * words, r->odd_round);
		uint32_t entries = r->entries, fetched = r->fetched, step;
		struct xlate_slot *s;

		if (unlikely(!d.fresh))
			return refuse(r, why, RULE_TAIL, r->head);
		step = d.head >= fetched ? d.head - fetched : d.head + entries - fetched;
		s = likely(d.id < r->q.slots) ? &r->q.slot[d.id] : NULL;
		if (unlikely(s == NULL) || unlikely(!s->busy) || unlikely(d.queue != r->q.id) ||
		    unlikely(d.head >= entries) || unlikely(step > ahead)) {
			r->fault = why_wrong(r, &d);
			return E_CORRUPT;
		}
		ahead -= step;
		r->fetched = d.head;
		if (unlikely(s->answer != 0) && d.good)
			deliver(r, s);
		let_go(r, s);
		r->completed++;
		r->head = after(r, r->head);
		if (unlikely(r->head == 0))
			r->odd_round = !r->odd_round;
	}
	return OK;
}

void
ring_withdraw(struct dma_ring *r)
{
	for (uint32_t at = r->tail; at != r->next; at = after(r, at))
		let_go(r, &r->q.slot[r->id[at]]);
	r->next = r->tail;
}

enum status
ring_publish(struct dma_ring *r, uint32_t tail, struct ring_refusal *why)
{
	uint32_t work = 0;

	if (unlikely(r->fault != NULL)) {
		ring_withdraw(r);
		return E_CORRUPT;
	}
	/* One place stays empty; and a tail cannot jump back behind what was accepted meanwhile. */
	if (unlikely(tail >= r->entries ||
		distance(r, r->fetched, r->tail) + distance(r, r->tail, tail) >= r->entries ||
		distance(r, r->tail, r->next) > distance(r, r->tail, tail))) {
		ring_withdraw(r);
		return refuse(r, why, RULE_TAIL, tail);
	}
	while (r->next != tail) {
		enum dma_rule rule;

		if (unlikely(work >= RING_WORK_MAX))
			return E_WOULD_BLOCK;
		rule = r->class->judge_run(
		    r, (tail > r->next ? tail : r->entries) - r->next, &work);
		if (unlikely(rule != RULE_NONE)) {
			uint32_t entry = r->next;

			ring_withdraw(r);
			return refuse(r, why, rule, entry);
		}
		if (r->next == r->entries)
			r->next = 0;
	}
	r->accepted += distance(r, r->tail, tail);
	r->tail = tail;
	return OK;
}

void
ring_clear(struct dma_ring *r)
{
	uint64_t words = (uint64_t)r->entries * r->class->cq_words;

	for (uint32_t i = 0; i < r->q.slots; i++)
		if (r->q.slot[i].busy)
			let_go(r, &r->q.slot[i]);
	for (uint64_t i = 0; i < words; i++)
		r->cq[i] = 0;
	r->tail = r->next = r->fetched = r->head = 0;
	r->odd_round = true;
	r->fault = NULL;
}

void
ring_init(struct dma_ring *r)
{
	KASSERT(r->entries >= 2 && r->q.slots < r->entries);
	ring_set_spare(r);
	ring_clear(r);
}
