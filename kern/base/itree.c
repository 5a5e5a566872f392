/*
 * An AVL tree of disjoint ranges that also knows its holes.
 *
 * Every node keeps three sums of its subtree: lowest base, highest last, and the largest hole
 * between two neighbours in it.  A node's sums follow from its children's and its own range alone:
 *
 *     lowest   left.lowest, or base                 hole to the left    base - left.highest - 1
 *     highest  right.highest, or last               hole to the right   right.lowest - last - 1
 *     gap      the largest of left.gap, right.gap and the two holes
 *
 * so a change touches the nodes on the way to the root and no others.  The holes below the lowest
 * and above the highest range of all are nobody's sum; the search treats them apart.
 *
 * To find a hole, walk the ranges in order but enter a subtree only when its gap is
 * large enough, in which case the walk ends inside it.  That is one climb and one descent.
 *
 * Not here: locks, allocation, meaning.
 */
#include "kern/base/itree.h"
#include "kern/base/bits.h"

static unsigned height(const struct itree_node *n) { return n == NULL ? 0 : n->height; }

/* Sums of n from its children.  False when nothing changed, so that nothing above changes either.
 */
static bool
sum(struct itree_node *n)
{
	const struct itree_node *l = n->child[0], *r = n->child[1];
	uint64_t lowest = n->base, highest = n->last, gap = 0;
	uint8_t h = 1;

	if (l != NULL) {
		lowest = l->lowest;
		gap = max_u64(l->gap, n->base - l->highest - 1);
		h = (uint8_t)(l->height + 1);
	}
	if (r != NULL) {
		highest = r->highest;
		gap = max_u64(gap, max_u64(r->gap, r->lowest - n->last - 1));
		if (r->height >= h)
			h = (uint8_t)(r->height + 1);
	}
	if (lowest == n->lowest && highest == n->highest && gap == n->gap && h == n->height)
		return false;
	n->lowest = lowest;
	n->highest = highest;
	n->gap = gap;
	n->height = h;
	return true;
}

/* Puts "to" (may be NULL) where "from" hangs. */
static void
hang(struct itree *t, const struct itree_node *from, struct itree_node *to)
{
	struct itree_node *p = from->parent;

	if (p == NULL)
		t->root = to;
	else
		p->child[p->child[1] == from] = to;
	if (to != NULL)
		to->parent = p;
}

/* The child on the side "up" rises to n's place; returns it.  Its sums are stale, n's are right. */
static struct itree_node *
rotate(struct itree *t, struct itree_node *n, unsigned up)
{
	struct itree_node *c = n->child[up], *inner = c->child[!up];

	hang(t, n, c);
	n->child[up] = inner;
	if (inner != NULL)
		inner->parent = n;
	c->child[!up] = n;
	n->parent = c;
	(void)sum(n);
	return c;
}

/* Restores sums and balance from n to the root. */
static void
settle(struct itree *t, struct itree_node *n)
{
	while (n != NULL) {
		unsigned l = height(n->child[0]), r = height(n->child[1]);
		bool changed;

		if (l > r + 1 || r > l + 1) {
			unsigned heavy = r > l;
			struct itree_node *c = n->child[heavy];

			if (height(c->child[!heavy]) > height(c->child[heavy])) {
				c = rotate(t, c, !heavy);
				(void)sum(c);
			}
			n = rotate(t, n, heavy);
			(void)sum(n);
			changed = true;
		} else {
			changed = sum(n);
		}
		if (!changed)
			return;
		n = n->parent;
	}
}

bool
itree_insert(struct itree *t, struct itree_node *n)
{
	struct itree_node *p = NULL, **at = &t->root;

	while (*at != NULL) {
		p = *at;
		if (n->last < p->base)
			at = &p->child[0];
		else if (n->base > p->last)
			at = &p->child[1];
		else
			return false;
	}
	*at = n;
	n->parent = p;
	n->child[0] = n->child[1] = NULL;
	n->height = 0;		/* so that sum() sees a change */
	settle(t, n);
	return true;
}

void
itree_remove(struct itree *t, struct itree_node *n)
{
	struct itree_node *from = n->parent;

	if (n->child[0] != NULL && n->child[1] != NULL) {
		/* The next range has no left child: it comes out of its place and into n's. */
		struct itree_node *s = n->child[1];

		while (s->child[0] != NULL)
			s = s->child[0];
		from = s->parent == n ? s : s->parent;
		hang(t, s, s->child[1]);
		hang(t, n, s);
		s->child[0] = n->child[0];
		s->child[0]->parent = s;
		s->child[1] = n->child[1];
		if (s->child[1] != NULL)
			s->child[1]->parent = s;
		s->height = 0;
	} else {
		hang(t, n, n->child[n->child[0] == NULL]);
	}
	n->child[0] = n->child[1] = n->parent = NULL;
	n->height = 0;
	settle(t, from);
}

void
itree_replace(struct itree *t, struct itree_node *from, struct itree_node *to)
{
	*to = *from;
	hang(t, from, to);
	for (unsigned i = 0; i < 2; i++)
		if (to->child[i] != NULL)
			to->child[i]->parent = to;
	from->child[0] = from->child[1] = from->parent = NULL;
	from->height = 0;
}

struct itree_node *
itree_above(const struct itree *t, uint64_t at)
{
	struct itree_node *n = t->root, *best = NULL;

	while (n != NULL) {
		if (n->last >= at) {
			best = n;
			n = n->child[0];
		} else {
			n = n->child[1];
		}
	}
	return best;
}

struct itree_node *
itree_first(const struct itree *t)
{
	return itree_above(t, 0);
}

struct itree_node *
itree_next(const struct itree_node *n)
{
	struct itree_node *p;

	if (n->child[1] != NULL) {
		for (p = n->child[1]; p->child[0] != NULL; )
			p = p->child[0];
		return p;
	}
	for (p = n->parent; p != NULL && p->child[1] == n; p = p->parent)
		n = p;
	return p;
}

/* A hole, both ends inclusive. */
struct hole { uint64_t lo, hi; };

/* The first hole of at least need bytes in a subtree whose gap promises one. */
static struct hole
hole_inside(const struct itree_node *n, uint64_t need)
{
	for (;;) {
		const struct itree_node *l = n->child[0], *r = n->child[1];

		if (l != NULL && l->gap >= need) {
			n = l;
			continue;
		}
		if (l != NULL && n->base - l->highest - 1 >= need)
			return (struct hole){ l->highest + 1, n->base - 1 };
		if (r->lowest - n->last - 1 >= need)
			return (struct hole){ n->last + 1, r->lowest - 1 };
		n = r;
	}
}

/* The first hole of at least need bytes above range n; the one above all ranges is taken for large
 * enough. */
static bool
hole_after(const struct itree_node *n, uint64_t need, struct hole *out)
{
	const struct itree_node *r = n->child[1], *c;

	for (;;) {
		if (r != NULL && r->lowest - n->last - 1 >= need) {
			*out = (struct hole){ n->last + 1, r->lowest - 1 };
			return true;
		}
		if (r != NULL && r->gap >= need) {
			*out = hole_inside(r, need);
			return true;
		}
		/* Nothing at or below n: up to the next range above this subtree. */
		for (c = n, n = n->parent; n != NULL && n->child[1] == c; n = n->parent)
			c = n;
		if (n == NULL) {
			if (c->highest == UINT64_MAX)
				return false;
			*out = (struct hole){ c->highest + 1, UINT64_MAX };
			return true;
		}
		if (n->base - c->highest - 1 >= need) {
			*out = (struct hole){ c->highest + 1, n->base - 1 };
			return true;
		}
		r = n->child[1];
	}
}

/* Where an aligned run of len bytes begins in the part of a hole that [lo, hi] leaves. */
static bool
fits(struct hole h, uint64_t lo, uint64_t hi, uint64_t len, uint64_t align, uint64_t *at)
{
	uint64_t a;

	if (h.lo > lo)
		lo = h.lo;
	if (h.hi < hi)
		hi = h.hi;
	if (lo > UINT64_MAX - (align - 1))
		return false;
	a = align_up(lo, align);
	if (a > hi || hi - a < len - 1)
		return false;
	*at = a;
	return true;
}

bool
itree_gap(
    const struct itree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t align, uint64_t *at)
{
	const struct itree_node *n = itree_above(t, lo);
	uint64_t need = len;
	struct hole h;

	/* The hole that lo lies in. */
	if (n == NULL || n->base > lo) {
		h = (struct hole){ lo, n == NULL ? UINT64_MAX : n->base - 1 };
		if (fits(h, lo, hi, len, align, at))
			return true;
	}
	for (unsigned tries = 0; n != NULL && hole_after(n, need, &h) && h.lo <= hi; tries++) {
		if (fits(h, lo, hi, len, align, at))
			return true;
		if (tries == ITREE_GAP_TRIES)
			need = len + align - 1;		/* a hole of this size cannot be unlucky */
		n = h.hi == UINT64_MAX ? NULL : itree_find(t, h.hi + 1);
	}
	return false;
}
