/*
 * Checked split queues: split.h has the picture, what is believed of whom, and the lock.
 *
 * Order    of a batch: each chain is copied, judged and written to the shadow beyond the announced
 *          index; when the last has passed the index moves, and the caller notifies.  Of a used
 *          entry: what it names is compared with what is outstanding, then its pins end.
 * Not here judging a chain and the layout of the rings (the class's xlate.c), the memory of queues
 *          (device_queue.c), grants (ledger.c).
 */
#include "kern/dma/split.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/panic.h"

/* A piece of work with interrupts off, as in ring.c: one word that was copied counts 1. */
enum { WORK_MAX = 2048, WORK_CHAIN = 8 };

static enum status
refuse(struct split_ring *r, struct ring_refusal *why, enum dma_rule rule, uint32_t entry)
{
	r->refused++;
	*why = (struct ring_refusal){ rule, entry };
	return E_REFUSED;
}

/* The last free table is the next to be taken. */
static void
set_spare(struct split_ring *r)
{
	struct ring_page p =
	    r->tables != 0 ? r->table[r->tables - 1] : (struct ring_page){ 0 };

	r->q.spare = p.ptr;
	r->q.spare_address = p.address;
}

static uint16_t *
head_of(const struct split_ring *r, uint16_t idx)
{
	return &r->head[idx & (r->q.entries - 1)];
}

/* The places of a chain are nobody's again, or taken. */
static void
mark(struct split_ring *r, uint16_t head, bool busy)
{
	for (uint32_t at = head; at != XLATE_END; at = r->q.chain[at].next)
		r->q.chain[at].busy = busy;
	r->q.chain[head].head = busy;
}

static void
let_go(struct split_ring *r, uint16_t head)
{
	struct xlate_chain *c = &r->q.chain[head];

	mark(r, head, false);
	if (c->side != NULL) {
		r->table[r->tables++] = (struct ring_page){ c->side, c->side_address };
		c->side = NULL;
		set_spare(r);
	}
	for (uint32_t i = 0; i < c->grants; i++)
		ledger_unpin(r->ledger, c->grant[i]);
	c->grants = 0;
	r->out--;
}

/* An accepted chain is outstanding.  False: a grant of it is not to be had any more. */
static bool
take(struct split_ring *r, uint16_t head)
{
	struct xlate_chain *c = &r->q.chain[head];
	uint32_t n = c->grants;

	mark(r, head, true);
	r->out++;
	if (c->side != NULL) {
		r->tables--;
		set_spare(r);
	}
	for (c->grants = 0; c->grants < n; c->grants++)
		if (ledger_pin(r->ledger, c->grant[c->grants]) != OK) {
			let_go(r, head);
			return false;
		}
	return true;
}

enum status
split_consume(struct split_ring *r, uint16_t used, struct ring_refusal *why)
{
	uint16_t there;

	if (used == r->used)
		return OK;
	if (unlikely(r->fault != NULL))
		return E_CORRUPT;
	there = (uint16_t)(r->class->used_idx(&r->q) - r->used);
	io_collect();
	if (unlikely(there > r->out)) {
		r->fault = "more used entries than there were buffers";
		return E_CORRUPT;
	}
	if (unlikely((uint16_t)(used - r->used) > there))
		return refuse(r, why, RULE_TAIL, used);
	while (r->used != used) {
		uint32_t head, bytes;

		r->class->used(&r->q, r->used, &head, &bytes);
		if (unlikely(head >= r->q.entries || !r->q.chain[head].head))
			r->fault = "a used entry names nothing outstanding";
		else if (unlikely(bytes > r->q.chain[head].writable))
			r->fault = "a used entry says that more was written than could be";
		if (unlikely(r->fault != NULL))
			return E_CORRUPT;
		let_go(r, (uint16_t)head);
		r->completed++;
		r->used++;
	}
	return OK;
}

void
split_withdraw(struct split_ring *r)
{
	for (uint16_t at = r->shown; at != r->next; at++)
		let_go(r, *head_of(r, at));
	r->next = r->shown;
}

enum status
split_publish(struct split_ring *r, uint16_t avail, bool *notify, struct ring_refusal *why)
{
	uint16_t batch = (uint16_t)(avail - r->shown);
	uint32_t work = 0;

	*notify = false;
	if (unlikely(r->fault != NULL)) {
		split_withdraw(r);
		return E_CORRUPT;
	}
	/* There are never more chains than places; and an index cannot jump back behind what was
	 * accepted meanwhile. */
	if (unlikely(r->out + (uint16_t)(avail - r->next) > r->q.entries ||
		batch > r->q.entries || (uint16_t)(r->next - r->shown) > batch)) {
		split_withdraw(r);
		return refuse(r, why, RULE_TAIL, avail);
	}
	while (r->next != avail) {
		struct xlate_verdict v;
		enum dma_rule rule;

		if (unlikely(work >= WORK_MAX))
			return E_WOULD_BLOCK;
		rule = r->class->judge(&r->q, r->next, &v);
		if (likely(rule == RULE_NONE) && unlikely(!take(r, (uint16_t)v.id)))
			rule = RULE_WINDOW;
		if (unlikely(rule != RULE_NONE)) {
			uint16_t entry = r->next;

			split_withdraw(r);
			return refuse(r, why, rule, entry);
		}
		*head_of(r, r->next) = (uint16_t)v.id;
		r->next++;
		work += WORK_CHAIN + v.work;
	}
	*notify = r->class->announce(&r->q, r->shown, avail);
	r->accepted += batch;
	r->shown = avail;
	return OK;
}

void
split_clear(struct split_ring *r)
{
	uint32_t n = r->q.entries, used = r->class->used_bytes(n);
	volatile uint8_t *ring = (volatile uint8_t *)r->q.used;

	for (uint32_t i = 0; i < n; i++)
		if (r->q.chain[i].head)
			let_go(r, (uint16_t)i);
	KASSERT(r->out == 0);
	memset(r->q.shadow, 0, r->class->owner_bytes(n));
	for (uint32_t i = 0; i < used; i++)
		ring[i] = 0;
	r->shown = r->next = r->used = 0;
	r->fault = NULL;
}

void
split_init(struct split_ring *r)
{
	KASSERT(is_pow2(r->q.entries) && r->q.entries <= XLATE_END / 2 + 1u);
	set_spare(r);
	split_clear(r);
}
