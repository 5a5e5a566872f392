/*
 * The device-address allocator, over every sequence of calls on a small space.  The tree is
 * replaced by its contract: a set of disjoint ranges, of which itree_gap may name any hole that
 * fits, or none (tests/kern/base/itree_test.c shows that the real one keeps the contract).
 *
 * Live ranges are disjoint, aligned, inside, off the excluded page; an address that came back rests
 * while the ring holds it, and is not the next to go out unless room has run out; bytes and counts
 * agree with the set; no assertion fails.
 *
 * LINK: kern/dma/iova.c
 * CBMC: --function harness --unwind 6
 */
#include "kern/dma/iova.h"

enum { RANGES = 2, COOL = 2, CALLS = 4, ALL = RANGES + COOL + 1 };
enum : uint64_t { FIRST = 1, PAGES = 8 };

bool nondet_bool(void);
uint8_t nondet_byte(void);
void panic(const char *format, ...);

void
panic(const char *format, ...)
{
	(void)format;
	__CPROVER_assert(0, "no assertion of the allocator fails");
	__CPROVER_assume(0);
}

/* Every range that there can be, and whether it is in the tree. */
static struct iova_space space;
static struct iova_range cool[COOL], range[RANGES];
static bool in[ALL];
static struct itree_node back;		/* came back last; height 0: none did */

static struct iova_range *
nth(unsigned i)
{
	switch (i) {
	case 0: return &range[0];
	case 1: return &range[1];
	case 2: return &cool[0];
	case 3: return &cool[1];
	default: return &space.exclude[0];
	}
}

static bool
meets(const struct itree_node *n, uint64_t base, uint64_t last)
{
	return n->base <= last && n->last >= base;
}

/* ---- The contract of kern/base/itree.h ---- */

bool
itree_insert(struct itree *t, struct itree_node *n)
{
	bool known = false;

	(void)t;
	for (unsigned i = 0; i < ALL; i++)
		if (in[i] && meets(&nth(i)->node, n->base, n->last))
			return false;
	for (unsigned i = 0; i < ALL; i++)
		if (n == &nth(i)->node) {
			__CPROVER_assert(!in[i], "what is inserted was not in");
			in[i] = known = true;
		}
	__CPROVER_assert(known, "only ranges that we know");
	return true;
}

void
itree_remove(struct itree *t, struct itree_node *n)
{
	(void)t;
	for (unsigned i = 0; i < ALL; i++)
		if (n == &nth(i)->node) {
			__CPROVER_assert(in[i], "what is removed was in");
			in[i] = false;
		}
}

void
itree_replace(struct itree *t, struct itree_node *from, struct itree_node *to)
{
	(void)t;
	for (unsigned i = 0; i < ALL; i++) {
		if (from == &nth(i)->node) {
			__CPROVER_assert(in[i], "what is replaced was in");
			in[i] = false;
		}
		if (to == &nth(i)->node) {
			__CPROVER_assert(!in[i], "a record is in one place");
			in[i] = true;
		}
	}
	to->base = from->base;
	to->last = from->last;
}

struct itree_node *
itree_above(const struct itree *t, uint64_t at)
{
	struct itree_node *best = NULL;
	uint64_t base = UINT64_MAX;

	(void)t;
	for (unsigned i = 0; i < ALL; i++)
		if (in[i] && nth(i)->node.last >= at && nth(i)->node.base < base) {
			best = &nth(i)->node;
			base = best->base;
		}
	return best;
}

struct itree_node *
itree_next(const struct itree_node *n)
{
	return itree_above(NULL, n->last + 1);
}

bool
itree_gap(
    const struct itree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t align, uint64_t *at)
{
	uint64_t a = (uint64_t)nondet_byte() << PAGE_SHIFT;

	(void)t;
	if ((a & (align - 1)) != 0 || a < lo || a + (len - 1) > hi)
		return false;
	for (unsigned i = 0; i < ALL; i++)
		if (in[i] && meets(&nth(i)->node, a, a + (len - 1)))
			return false;
	*at = a;
	return true;
}

/* ---- */

static void
call(struct iova_range *r, uint64_t off)
{
	uint64_t pages = nondet_byte(), early = space.early, live_bytes = 0, cooling = 0;
	struct iova at = { (uint64_t)nondet_byte() << PAGE_SHIFT };
	unsigned live = 0;
	bool given = false;

	__CPROVER_assume(pages >= 1 && pages <= 3);
	if (r->kind == IOVA_LIVE) {
		back = (struct itree_node){
			.base = r->node.base, .last = r->node.last, .height = 1
		};
		iova_free(&space, r);
		__CPROVER_assert(r->kind == IOVA_NONE, "given back");
	} else if (nondet_bool()) {
		given = iova_alloc(&space, pages * PAGE_SIZE, r) == OK;
		__CPROVER_assert(
		    !given || (r->node.base & ((pages == 3 ? 4 : pages) * PAGE_SIZE - 1)) == 0,
		    "aligned");
	} else {
		given = iova_alloc_at(&space, at, pages * PAGE_SIZE, r) == OK;
		__CPROVER_assert(!given || r->node.base == at.v, "where asked");
	}
	__CPROVER_assert(space.early == early || given || space.cool_count == 0,
	    "cooling is cut short for a reason");
	if (space.early != early)
		back.height = 0;
	__CPROVER_assert(!given || back.height == 0 ||
		!meets(&back, r->node.base, r->node.last),
	    "what came back last rests");
	if (given) {
		__CPROVER_assert(
		    r->node.base >= FIRST * PAGE_SIZE && r->node.last < PAGES * PAGE_SIZE,
		    "inside");
		__CPROVER_assert(
		    r->node.last - r->node.base + 1 == pages * PAGE_SIZE, "as long as asked");
		__CPROVER_assert(
		    !meets(&r->node, off, off + PAGE_SIZE - 1), "off the excluded page");
	}
	for (unsigned i = 0; i < ALL; i++) {
		const struct iova_range *x = nth(i);

		__CPROVER_assert(in[i] == (x->kind != IOVA_NONE),
		    "in the tree exactly while live, cooling or excluded");
		if (given && in[i] && x != r)
			__CPROVER_assert(!meets(&x->node, r->node.base, r->node.last),
			    "what is out, rests or is excluded is not given");
		if (in[i] && x->kind == IOVA_LIVE) {
			live++;
			live_bytes += x->node.last - x->node.base + 1;
		} else if (in[i] && x->kind == IOVA_COOLING) {
			cooling += x->node.last - x->node.base + 1;
		}
	}
	__CPROVER_assert(
	    live == space.live && live_bytes == space.live_bytes, "live ones are counted");
	__CPROVER_assert(cooling == space.cooling_bytes, "cooling ones are counted");
}

void
harness(void)
{
	uint64_t off = (uint64_t)nondet_byte() << PAGE_SHIFT;

	__CPROVER_assume(off < PAGES * PAGE_SIZE);
	if (iova_init(&space, FIRST * PAGE_SIZE, PAGES * PAGE_SIZE, PAGE_SIZE, UINT64_MAX, cool,
		sizeof(cool)) != OK)
		return;
	if (iova_exclude(&space, off, PAGE_SIZE) != OK)
		return;
	for (unsigned i = 0; i < CALLS; i++) {
		if (nondet_bool())
			call(&range[0], off);
		else
			call(&range[1], off);
	}
}
