/*
 * One entry through a class's judge_run, by a ring of its own in which it is the first: for tests
 * of what is judged, and not of rings.  Pins are always had.
 *
 * The verdict names the id and the words of side tables that were read; the id's slot is left as it
 * became, but for busy.  Hints go on from call to call, as in a ring.
 */
#pragma once

#include <string.h>

#include "kern/dma/ring_run.h"

enum status
ledger_pin(struct ledger *l, struct ledger_entry *e)
{
	(void)l;
	(void)e;
	return OK;
}

void
ledger_unpin(struct ledger *l, struct ledger_entry *e)
{
	(void)l;
	(void)e;
}

static enum dma_rule
one_entry(const struct xlate_class *class, struct xlate_queue *q, const uint64_t *e, uint64_t *to,
    struct xlate_verdict *v)
{
	struct ring_page page = { q->spare, q->spare_address };
	uint32_t work = 0;
	uint16_t id = 0;
	struct dma_ring r = { .class = class, .q = *q, .owner = e, .shadow = to, .id = &id,
		.page = &page, .pages = q->spare != NULL, .entries = 2 };
	enum dma_rule rule = class->judge_run(&r, 1, &work);

	memcpy(q->hint, r.q.hint, sizeof(q->hint));
	q->lists = r.q.lists;
	if (rule == RULE_NONE) {
		*v = (struct xlate_verdict){ .id = id, .work = work - RING_WORK_ENTRY };
		q->slot[id].busy = false;
	}
	return rule;
}
