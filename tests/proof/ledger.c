/*
 * The ledger's transitions, over every sequence of calls on one entry, right or wrong (a wrong one
 * panics and ends the sequence).  The world outside is a ghost, "reach": whether the device may
 * reach the memory, as hardware would have it: from the first stored entry until an invalidation is
 * past.
 *
 * By induction: what is claimed holds of a new ledger; and from any state at all of which it holds,
 * it holds after one more call.
 *
 * LINK: kern/dma/ledger.c
 * CBMC: --function harness --unwind 10
 */
#include "kern/dma/ledger.h"

unsigned nondet_unsigned(void);
uint64_t nondet_u64(void);
void panic(const char *format, ...);

void
panic(const char *format, ...)
{
	(void)format;
	__CPROVER_assume(0);
}

/* The address space, cut down to one address. */
static bool address_out;

enum status
iova_alloc(struct iova_space *s, uint64_t len, struct iova_range *r)
{
	if (nondet_unsigned() % 2 != 0)
		return E_NO_MEMORY;
	__CPROVER_assert(!address_out, "an address is given out once");
	address_out = true;
	r->node.base = s->first;
	r->node.last = s->first + len - 1;
	r->kind = IOVA_LIVE;
	return OK;
}

enum status
iova_alloc_at(struct iova_space *s, struct iova at, uint64_t len, struct iova_range *r)
{
	(void)at;
	return iova_alloc(s, len, r);
}

void
iova_free(struct iova_space *s, struct iova_range *r)
{
	(void)s;
	__CPROVER_assert(address_out, "what is given back was given out");
	address_out = false;
	r->kind = IOVA_NONE;
}

struct itree_node *
itree_above(const struct itree *t, uint64_t at)
{
	(void)t;
	(void)at;
	return NULL;
}
struct iova_range *
iova_next(const struct iova_space *s, struct iova at)
{
	(void)s;
	(void)at;
	return NULL;
}

/* What is claimed, of a ledger with this one entry. */
static bool
holds(const struct ledger *l, const struct ledger_entry *e, bool reach)
{
	bool counted = e->state < LEDGER_STATES;

	for (unsigned k = LEDGER_ALLOCATED; k < LEDGER_STATES; k++)
		counted = counted && ledger_in(l, (enum ledger_state)k) == (e->state == k) &&
		    ledger_bytes_in(l, (enum ledger_state)k) ==
			(e->state == k ? e->grant.len : 0);
	return counted && ledger_live(l) == (e->state != LEDGER_FREE) &&
	    (e->state == LEDGER_FREE) == !address_out &&
	    /* memory that may be unpinned is out of the device's reach */
	    !(reach && (e->state == LEDGER_FREE || e->state == LEDGER_INVALIDATED ||
		e->state == LEDGER_SCRUBBED || e->state == LEDGER_IDLE)) &&
	    /* pins are of what is published, or of an older generation */
	    (e->pins == 0 || e->state == LEDGER_PUBLISHED) &&
	    (e->state == LEDGER_FREE || e->grant.len == PAGE_SIZE);
}

void
harness(void)
{
	static struct iova_space space;
	struct ledger l;
	struct ledger_entry e;
	struct ledger_grant g = { .len = PAGE_SIZE, .dir = DMA_TO_DEVICE, .generation = 1 };
	bool reach = nondet_unsigned() % 2 != 0, fresh;
	enum ledger_state before;
	uint32_t pins;
	enum status s = OK;

	space.granule = PAGE_SIZE;
	space.first = PAGE_SIZE;
	address_out = false;
	ledger_init(&l, &space, 1);
	e = (struct ledger_entry){ 0 };
	__CPROVER_assert(holds(&l, &e, false), "it holds of a new ledger");

	for (unsigned k = 0; k < LEDGER_STATES; k++)
		l.count[k] = (struct ledger_count){ nondet_u64(), nondet_u64(), nondet_u64(),
			nondet_u64() };
	l.generation = nondet_unsigned();
	e.state = (enum ledger_state)(nondet_unsigned() % LEDGER_STATES);
	e.pins = nondet_unsigned();
	e.grant.len = e.state == LEDGER_FREE ? 0 : PAGE_SIZE;
	e.grant.generation = nondet_unsigned();
	g.generation = nondet_unsigned();
	address_out = nondet_unsigned() % 2 != 0;
	__CPROVER_assume(holds(&l, &e, reach));
	before = e.state;
	pins = e.pins;
	fresh = e.grant.generation == l.generation;
	switch (nondet_unsigned() % 14) {
	case 0:
		s = ledger_reserve(&l, &e, &g);
		__CPROVER_assert(
		    s != OK || before == LEDGER_FREE, "only a free entry is reserved");
		break;
	case 1:
		__CPROVER_assume(
		    !reach); /* a partial map is revoked: what callers promise */
		ledger_cancel(&l, &e);
		break;
	case 2:
		__CPROVER_assume(before == LEDGER_ALLOCATED);
		reach = true;			/* entries are being stored */
		if (nondet_unsigned() % 2 != 0)
			ledger_mapped(&l, &e);
		break;
	case 3:
		ledger_publish(&l, &e);
		break;
	case 4:
		s = ledger_revoke(&l, &e);
		__CPROVER_assert(
		    s != OK || pins == 0 || !fresh, "pinned entries are not revoked");
		break;
	case 5:
		s = nondet_unsigned() % 3 == 0 ? OK :
		    nondet_unsigned() % 2      ? E_WOULD_BLOCK :
						 E_QUARANTINED;
		if (ledger_settle(&l, &e, s) == OK)
			reach = false;		/* the only thing that ends it */
		break;
	case 6:
		ledger_quarantine(&l, &e);
		break;
	case 7:
		ledger_scrubbed(&l, &e);
		break;
	case 8:
		ledger_release(&l, &e);
		break;
	case 9:
		if (ledger_pin(&l, &e) == OK)
			__CPROVER_assert(e.state == LEDGER_PUBLISHED && fresh,
			    "only live windows are pinned");
		break;
	case 10:
		__CPROVER_assume(e.pins > 0);
		ledger_unpin(&l, &e);
		break;
	case 11:
		ledger_bump(&l, l.generation + 1);
		break;
	case 12:
		__CPROVER_assume(!reach || before != LEDGER_ALLOCATED); /* as for 1 */
		ledger_idle(&l, &e);
		break;
	case 13:
		ledger_arm(&l, &e, &space, 0, (enum dma_dir)nondet_unsigned());
		__CPROVER_assert(before == LEDGER_IDLE && e.grant.generation == l.generation,
		    "only an idle entry is armed, in this generation");
		break;
	}
	__CPROVER_assert(holds(&l, &e, reach), "it holds after the call");
	__CPROVER_assert(before != LEDGER_QUARANTINED || e.state == LEDGER_QUARANTINED,
	    "quarantine is for ever");
}
