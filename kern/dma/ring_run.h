/*
 * The loop over new entries of a checked pair of rings: each is read once, judged, pinned, and then
 * stands in the shadow.
 *
 * A header, because it is the hot path: a class instantiates it with its own judge inside
 * (xlate_class.judge_run), so that an entry stays in registers from the one look at it to its place
 * in the shadow.  When pins are taken, and what is outstanding then, has one home here.
 *
 * A class may look at the kinds of entries that are nearly all before the judge does.  Its look
 * accepts nothing that judge would not accept, and writes what judge would write; whatever else it
 * finds, it leaves to judge.  tests/proof/nvme_xlate.c proves the judge of NVMe,
 * tests/proof/long/nvme_look.c its look.
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/dma/ring.h"

/*
 * A piece of work with interrupts off: one word of a list counts 1, an entry 8.  About 15
 * instructions each; where each word, or each entry, has its window searched for, some 100.
 */
enum { RING_WORK_MAX = 2048, RING_WORK_ENTRY = 8 };

/* What a look at an entry found: it names one grant. */
struct ring_plain {
	struct xlate_slot *slot;
	struct ledger_entry *grant;
	uint64_t id;
};

/* How a class judges; all of it constant, so that nothing of this is left in the loop. */
struct ring_judge {
	uint32_t words;			/* of an entry */
	uint32_t zero;			/* words that are 0 in what "sparse" lets through, as bits */
	/* Cheap, of the words alone: worth a look.  NULL: nothing is */
	bool (*sparse)(const uint64_t *e);
	/* It is accepted: its shadow is written, its slot is not.  False: nothing was written */
	bool (*look)(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct ring_plain *p);
	/* xlate_class.judge, of a copy; and the same for what is sparse, and not plain */
	enum dma_rule (*judge)(struct xlate_queue *q, const uint64_t *e, uint64_t *out,
	    struct xlate_verdict *v);
	enum dma_rule (*judge_sparse)(struct xlate_queue *q, const uint64_t *e, uint64_t *out,
	    struct xlate_verdict *v);
};

/* The last free page is the next to be taken. */
static ALWAYS_INLINE void
ring_set_spare(struct dma_ring *r)
{
	struct ring_page p = r->pages != 0 ? r->page[r->pages - 1] : (struct ring_page){ 0 };

	r->q.spare = p.ptr;
	r->q.spare_address = p.address;
}

/*
 * A judged entry at a place of the shadow: its pins, its side page; then it is outstanding.
 * RULE_WINDOW: a window went meanwhile.
 */
enum dma_rule ring_accept(struct dma_ring *r, uint64_t at, const struct xlate_verdict *v);

/*
 * Up to count entries from r->next on, which are accepted under their ids; r->next goes to the
 * first that is not, and *work counts.  RULE_NONE: all were, or the piece of work is full.
 */
static ALWAYS_INLINE enum dma_rule
ring_run(struct dma_ring *r, uint32_t count, uint32_t *work, const struct ring_judge *j)
{
	uint64_t at = r->next, first = at;
	uint64_t end = at + min_u64(count, (RING_WORK_MAX - *work) / RING_WORK_ENTRY + 1);
	enum dma_rule rule = RULE_NONE;

	do {
		const uint64_t *from = r->owner + at * j->words;
		uint64_t *to = r->shadow + at * j->words, e[XLATE_ENTRY_WORDS];
		struct xlate_verdict v;
		struct ring_plain p;

		for (unsigned i = 0; i < j->words; i++)	/* the one look (D4) */
			e[i] = once_load(&from[i]);
		if (j->sparse == NULL || unlikely(!j->sparse(e))) {
			uint64_t copy[XLATE_ENTRY_WORDS];

			for (unsigned i = 0; i < j->words; i++)
				copy[i] = e[i];
			rule = j->judge(&r->q, copy, to, &v);
		} else if (likely(j->look(&r->q, e, to, &p)) &&
		    likely(ledger_pin(r->ledger, p.grant) == OK)) {
			p.slot->side = NULL;
			p.slot->grant[0] = p.grant;
			p.slot->grants = 1;
			p.slot->answer = 0;
			p.slot->busy = true;
			r->id[at] = (uint16_t)p.id;
			continue;
		} else {
			uint64_t copy[XLATE_ENTRY_WORDS] = { 0 };

			for (unsigned i = 0; i < j->words; i++)
				if ((j->zero >> i & 1) == 0)
					copy[i] = e[i];
			rule = j->judge_sparse(&r->q, copy, to, &v);
		}
		if (likely(rule == RULE_NONE))
			rule = ring_accept(r, at, &v);
		if (unlikely(rule != RULE_NONE))
			break;
		*work += v.work;
		v.work = (v.work + RING_WORK_ENTRY - 1) / RING_WORK_ENTRY;
		end = end - at > v.work ? end - v.work : at + 1;
	} while (++at < end);
	r->next = (uint32_t)at;
	*work += (uint32_t)(at - first) * RING_WORK_ENTRY;
	return rule;
}
