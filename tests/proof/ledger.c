/*
 * The ledger's transitions, over every sequence of calls on one entry, right or wrong (a wrong one
 * panics and ends the sequence).  The world outside is a ghost, "reach": whether the device may
 * reach the memory, as hardware would have it: from the first stored entry until an invalidation is
 * past.
 *
 * LINK: kern/dma/ledger.c
 * CBMC: --function harness --unwind 9
 */
#include "kern/dma/ledger.h"

enum { CALLS = 8 };

unsigned nondet_unsigned(void);
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

void
harness(void)
{
	static struct iova_space space;
	static struct ledger l;
	static struct ledger_entry e;
	struct ledger_grant g = { .len = PAGE_SIZE, .dir = DMA_TO_DEVICE, .generation = 1 };
	bool reach = false, lost = false;

	space.granule = PAGE_SIZE;
	space.first = PAGE_SIZE;
	ledger_init(&l, &space, 1);
	for (unsigned i = 0; i < CALLS; i++) {
		enum ledger_state before = e.state;
		uint32_t pins = e.pins;
		enum status s = OK;
		bool fresh = e.grant.generation == l.generation;

		switch (nondet_unsigned() % 12) {
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
		}
		if (e.state == LEDGER_FREE || e.state == LEDGER_INVALIDATED ||
		    e.state == LEDGER_SCRUBBED)
			__CPROVER_assert(
			    !reach, "memory that may be unpinned is out of the device's reach");
		__CPROVER_assert((e.state == LEDGER_FREE) == !address_out,
		    "an address is out exactly while the entry lives");
		__CPROVER_assert(!lost || e.state == LEDGER_QUARANTINED, "quarantine is for ever");
		lost = e.state == LEDGER_QUARANTINED;
		__CPROVER_assert(ledger_live(&l) == (e.state != LEDGER_FREE), "births less deaths");
		for (unsigned k = LEDGER_ALLOCATED; k < LEDGER_STATES; k++)
			__CPROVER_assert(ledger_in(&l, (enum ledger_state)k) == (e.state == k),
			    "counted where it is");
	}
}
