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
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/panic.h"

/* A piece of work with interrupts off: one word of a list counts 1, an entry 8; about 15
 * instructions each. */
enum { WORK_MAX = 2048, WORK_ENTRY = 8 };

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

/* The last free page is the next to be taken. */
static void
set_spare(struct dma_ring *r)
{
	struct ring_page p = r->pages != 0 ? r->page[r->pages - 1] : (struct ring_page){ 0 };

	r->q.spare = p.ptr;
	r->q.spare_address = p.address;
}

static void
let_go(struct dma_ring *r, struct xlate_slot *s)
{
	if (unlikely(s->side != NULL)) {
		r->page[r->pages++] = (struct ring_page){ s->side, s->side_address };
		s->side = NULL;
		set_spare(r);
	}
	for (uint32_t i = 0; i < s->grants; i++)
		ledger_unpin(r->ledger, s->grant[i]);
	s->grants = 0;
	s->busy = false;
}

static bool
take_pins(struct dma_ring *r, struct xlate_slot *s)
{
	uint32_t n = s->grants;

	for (s->grants = 0; s->grants < n; s->grants++)
		if (ledger_pin(r->ledger, s->grant[s->grants]) != OK)
			return false;
	return true;
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

enum status
ring_consume(struct dma_ring *r, uint32_t head, struct ring_refusal *why)
{
	if (unlikely(head >= r->entries))
		return refuse(r, why, RULE_TAIL, head);
	while (r->head != head) {
		struct xlate_done d;
		struct xlate_slot *s;

		if (unlikely(r->fault != NULL))
			return E_CORRUPT;
		if (unlikely(!r->class->completed(
			r->cq + (uint64_t)r->head * r->class->cq_words, r->odd_round, &d)))
			return refuse(r, why, RULE_TAIL, r->head);
		s = d.id < r->q.slots ? &r->q.slot[d.id] : NULL;
		if (unlikely(s == NULL || !s->busy))
			r->fault = "a completion names nothing outstanding";
		else if (unlikely(d.queue != r->q.id))
			r->fault = "a completion names another queue";
		else if (unlikely(d.head >= r->entries ||
			     distance(r, r->fetched, d.head) > distance(r, r->fetched, r->tail)))
			r->fault = "a completion reports entries that were not announced";
		if (unlikely(r->fault != NULL))
			return E_CORRUPT;
		r->fetched = d.head;
		if (unlikely(s->answer != 0) && d.good)
			deliver(r, s);
		let_go(r, s);
		r->completed++;
		r->head = after(r, r->head);
		if (r->head == 0)
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
	uint32_t words = r->class->sq_words, work = 0;

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
		const uint64_t *from = r->owner + (uint64_t)r->next * words;
		uint64_t e[XLATE_ENTRY_WORDS];
		struct xlate_verdict v;
		struct xlate_slot *s;
		enum dma_rule rule;

		if (unlikely(work >= WORK_MAX))
			return E_WOULD_BLOCK;
		/* The one look (D4). */
		for (uint32_t i = 0; i < words; i++)
			e[i] = once_load(&from[i]);
		rule = r->class->judge(&r->q, e, r->shadow + (uint64_t)r->next * words, &v);
		if (likely(rule == RULE_NONE)) {
			s = &r->q.slot[v.id];
			if (unlikely(s->side != NULL)) {
				r->pages--;
				set_spare(r);
			}
			if (unlikely(!take_pins(r, s))) {
				let_go(r, s);
				rule = RULE_WINDOW;
			}
		}
		if (unlikely(rule != RULE_NONE)) {
			uint32_t entry = r->next;

			ring_withdraw(r);
			return refuse(r, why, rule, entry);
		}
		s->busy = true;
		r->id[r->next] = (uint16_t)v.id;
		r->next = after(r, r->next);
		work += WORK_ENTRY + v.work;
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
	set_spare(r);
	ring_clear(r);
}
