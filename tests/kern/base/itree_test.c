/*
 * kern/base/itree.c: against a plain array of bytes, one per address of a small space.
 *
 * LINK: kern/base/itree.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/base/itree.h"

enum { SPACE = 512, NODES = 96 };

static struct itree tree;
static struct itree_node node[NODES];
static bool inside[NODES];
static int16_t owner[SPACE];		/* node that holds the address, or -1 */

/* The tree's own promises: order, sums, balance, parents.  Returns the number of ranges. */
static unsigned
check_subtree(const struct itree_node *n, const struct itree_node *parent)
{
	uint64_t lowest = n->base, highest = n->last, gap = 0;
	unsigned count = 1, h[2] = { 0, 0 };

	ATF_REQUIRE_EQ(n->parent, parent);
	if (n->child[0] != NULL) {
		count += check_subtree(n->child[0], n);
		ATF_REQUIRE(n->child[0]->highest < n->base);
		lowest = n->child[0]->lowest;
		gap = max_u64(n->child[0]->gap, n->base - n->child[0]->highest - 1);
		h[0] = n->child[0]->height;
	}
	if (n->child[1] != NULL) {
		count += check_subtree(n->child[1], n);
		ATF_REQUIRE(n->child[1]->lowest > n->last);
		highest = n->child[1]->highest;
		gap = max_u64(gap, max_u64(n->child[1]->gap, n->child[1]->lowest - n->last - 1));
		h[1] = n->child[1]->height;
	}
	ATF_REQUIRE_EQ(n->lowest, lowest);
	ATF_REQUIRE_EQ(n->highest, highest);
	ATF_REQUIRE_EQ(n->gap, gap);
	ATF_REQUIRE_EQ(n->height, 1 + max_u64(h[0], h[1]));
	ATF_REQUIRE(h[0] <= h[1] + 1 && h[1] <= h[0] + 1);
	return count;
}

static void
check_tree(void)
{
	unsigned want = 0;

	for (unsigned i = 0; i < NODES; i++)
		want += inside[i];
	ATF_REQUIRE_EQ(tree.root == NULL ? 0 : check_subtree(tree.root, NULL), want);
}

static void
check_lookups(void)
{
	const struct itree_node *n = itree_first(&tree);

	for (unsigned a = 0; a < SPACE; a++) {
		struct itree_node *want = owner[a] < 0 ? NULL : &node[owner[a]], *above = NULL;

		ATF_REQUIRE_EQ(itree_find(&tree, a), want);
		for (unsigned b = a; b < SPACE && above == NULL; b++)
			above = owner[b] < 0 ? NULL : &node[owner[b]];
		ATF_REQUIRE_EQ(itree_above(&tree, a), above);
		if (want != NULL && (a == 0 || owner[a - 1] != owner[a])) {
			ATF_REQUIRE_EQ(n, want);
			n = itree_next(n);
		}
	}
	ATF_REQUIRE(n == NULL);
}

/* The lowest aligned free run, by trying every address; UINT64_MAX when there is none. */
static uint64_t
gap_by_hand(uint64_t lo, uint64_t hi, uint64_t len, uint64_t align)
{
	for (uint64_t a = align_up(lo, align); a + len - 1 <= hi; a += align) {
		uint64_t k = 0;

		while (k < len && (a + k >= SPACE || owner[a + k] < 0))
			k++;
		if (k == len)
			return a;
	}
	return UINT64_MAX;
}

static void
mark(unsigned i, int16_t who)
{
	for (uint64_t a = node[i].base; a <= node[i].last; a++)
		owner[a] = who;
	inside[i] = who >= 0;
}

ATF_TC_WITHOUT_HEAD(random_changes_keep_order_balance_and_holes);
ATF_TC_BODY(random_changes_keep_order_balance_and_holes, tc)
{
	srand(1);
	memset(owner, 0xff, sizeof(owner));
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (unsigned)rand() % NODES;

		if (inside[i]) {
			itree_remove(&tree, &node[i]);
			ATF_REQUIRE_EQ(node[i].height, 0);
			mark(i, -1);
		} else {
			uint64_t base = (uint64_t)rand() % SPACE,
				 len = 1 + (uint64_t)rand() % (round % 2 ? 3 : 24);
			bool free = true;

			if (base + len > SPACE)
				len = SPACE - base;
			for (uint64_t a = base; a < base + len; a++)
				free = free && owner[a] < 0;
			node[i].base = base;
			node[i].last = base + len - 1;
			ATF_REQUIRE_EQ(itree_insert(&tree, &node[i]), free);
			if (free)
				mark(i, (int16_t)i);
		}
		check_tree();
		if (round % 16 == 0)
			check_lookups();
		for (unsigned k = 0; k < 8; k++) {
			uint64_t lo = (uint64_t)rand() % SPACE, hi = lo + (uint64_t)rand() % SPACE;
			uint64_t len = 1 + (uint64_t)rand() % 12, align = 1ull << (rand() % 4),
				 at = 0, want;

			want = gap_by_hand(lo, hi, len, align);
			if (itree_gap(&tree, lo, hi, len, align, &at)) {
				ATF_REQUIRE_MSG(want <= at, "%lu, not %lu", at, want);
				ATF_REQUIRE(
				    is_aligned(at, align) && at >= lo && at + len - 1 <= hi);
				for (uint64_t a = at; a < at + len && a < SPACE; a++)
					ATF_REQUIRE(owner[a] < 0);
				if (align == 1)
					ATF_REQUIRE_EQ(at, want);
			} else if (align == 1) {
				ATF_REQUIRE_EQ(want, UINT64_MAX);
			} else {
				/* Allowed to miss an unlucky hole, never one in which alignment
				 * cannot fail. */
				ATF_REQUIRE_EQ(gap_by_hand(lo, hi, len + align - 1, 1), UINT64_MAX);
			}
		}
	}
}

ATF_TC_WITHOUT_HEAD(the_ends_of_the_number_range_are_addresses_like_others);
ATF_TC_BODY(the_ends_of_the_number_range_are_addresses_like_others, tc)
{
	struct itree t = { 0 };
	struct itree_node lo = { .base = 0, .last = 0 },
			  hi = { .base = UINT64_MAX, .last = UINT64_MAX };
	struct itree_node all = { .base = 0, .last = UINT64_MAX };
	uint64_t at;

	ATF_REQUIRE(itree_gap(&t, 0, UINT64_MAX, UINT64_MAX, 1, &at));
	ATF_CHECK_EQ(at, 0);
	ATF_REQUIRE(itree_insert(&t, &hi));
	ATF_REQUIRE(itree_insert(&t, &lo));
	ATF_CHECK(!itree_insert(&t, &all));
	ATF_CHECK_EQ(itree_find(&t, 0), &lo);
	ATF_CHECK_EQ(itree_find(&t, UINT64_MAX), &hi);
	ATF_REQUIRE(itree_gap(&t, 0, UINT64_MAX, UINT64_MAX - 1, 1, &at));
	ATF_CHECK_EQ(at, 1);
	ATF_CHECK(!itree_gap(&t, 0, UINT64_MAX, UINT64_MAX, 1, &at));
	ATF_CHECK(!itree_gap(&t, UINT64_MAX, UINT64_MAX, 1, 1, &at));
	ATF_CHECK(!itree_gap(&t, UINT64_MAX - 8, UINT64_MAX, 1, 4096, &at));
	itree_remove(&t, &lo);
	itree_remove(&t, &hi);
	ATF_REQUIRE(itree_insert(&t, &all));
	ATF_CHECK(!itree_gap(&t, 0, UINT64_MAX, 1, 1, &at));
}

ATF_TC_WITHOUT_HEAD(a_record_can_take_over_another_ones_place);
ATF_TC_BODY(a_record_can_take_over_another_ones_place, tc)
{
	struct itree_node heir[3];

	memset(owner, 0xff, sizeof(owner));
	for (unsigned i = 0; i < 32; i++) {
		node[i] = (struct itree_node){ .base = i * 10, .last = i * 10 + 4 };
		ATF_REQUIRE(itree_insert(&tree, &node[i]));
		inside[i] = true;
	}
	for (unsigned k = 0; k < 3; k++) {	/* a leaf, an inner one, the root */
		struct itree_node *from = k == 0 ? itree_first(&tree) :
		    k == 1                       ? itree_find(&tree, 150) :
						   tree.root;
		uint64_t at = from->base;

		itree_replace(&tree, from, &heir[k]);
		ATF_CHECK_EQ(itree_find(&tree, at), &heir[k]);
		ATF_CHECK_EQ(from->height, 0);
		check_tree();
	}
}

ATF_TC_WITHOUT_HEAD(a_thousand_wrongly_aligned_holes_do_not_hide_the_fitting_one);
ATF_TC_BODY(a_thousand_wrongly_aligned_holes_do_not_hide_the_fitting_one, tc)
{
	struct itree t = { 0 };
	struct itree_node *n = calloc(1000, sizeof(*n));
	uint64_t at;

	/* Holes of 8 at 4, 20, 36 ...: long enough, never aligned to 8. */
	for (unsigned i = 0; i < 1000; i++) {
		n[i].base = i == 0 ? 0 : 16ull * i - 4;
		n[i].last = 16ull * i + 3;
		ATF_REQUIRE(itree_insert(&t, &n[i]));
	}
	ATF_REQUIRE(itree_gap(&t, 0, UINT64_MAX, 8, 8, &at));
	ATF_CHECK_EQ(at, align_up(n[999].last + 1, 8));
	free(n);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, random_changes_keep_order_balance_and_holes);
	ATF_TP_ADD_TC(tp, the_ends_of_the_number_range_are_addresses_like_others);
	ATF_TP_ADD_TC(tp, a_record_can_take_over_another_ones_place);
	ATF_TP_ADD_TC(tp, a_thousand_wrongly_aligned_holes_do_not_hide_the_fitting_one);
	return atf_no_error();
}
