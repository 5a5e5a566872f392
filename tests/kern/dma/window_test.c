/*
 * The table of windows against a plain list.
 *
 * Requirements: V3
 *
 * LINK: kern/dma/window.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/dma/window.h"

static struct xlate_window a[8], b[64];
static char grant[4];

static struct xlate_window
window(uint64_t first_page, uint64_t pages, void *g)
{
	return (struct xlate_window){ .first = first_page * PAGE_SIZE,
		.last = (first_page + pages) * PAGE_SIZE - 1,
		.grant = g,
		.dir = DMA_BOTH };
}

static const struct xlate_window *
find(const struct window_table *t, uint64_t at, uint64_t len)
{
	const struct xlate_window *w = t->live.count != 0 ? xlate_below(&t->live, at) : NULL;

	return w != NULL && xlate_holds(w, at, len) ? w : NULL;
}

ATF_TC_WITHOUT_HEAD(what_is_added_is_found_in_order_and_what_is_removed_is_not);
ATF_TC_BODY(what_is_added_is_found_in_order_and_what_is_removed_is_not, tc)
{
	struct window_table t = { 0 };
	bool there[64] = { false };

	window_place(&t, b, ARRAY_SIZE(b));
	srand(1);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned at = (unsigned)rand() % 64;
		struct xlate_window w = window(2 * at + 7, 1, &there[at]);

		if (there[at])
			ATF_REQUIRE_EQ(1, window_remove(&t, &there[at], w.first));
		else
			ATF_REQUIRE_EQ(OK, window_add(&t, &w));
		there[at] = !there[at];
		at = (unsigned)rand() % 64;
		const struct xlate_window *f = find(&t, (2 * at + 7) * PAGE_SIZE + 100, 8);
		ATF_REQUIRE_EQ(there[at], f != NULL);
		ATF_REQUIRE(f == NULL || f->grant == &there[at]);
		ATF_REQUIRE(find(&t, (2 * at + 8) * PAGE_SIZE, 1) == NULL);
		for (uint32_t i = 1; i < t.live.count; i++)
			ATF_REQUIRE(t.v[i - 1].last < t.v[i].first);
	}
}

ATF_TC_WITHOUT_HEAD(windows_do_not_overlap_and_are_whole_pages);
ATF_TC_BODY(windows_do_not_overlap_and_are_whole_pages, tc)
{
	struct window_table t = { 0 };
	struct xlate_window w = window(10, 10, &grant[0]);

	window_place(&t, a, ARRAY_SIZE(a));
	ATF_REQUIRE_EQ(OK, window_add(&t, &w));
	ATF_CHECK_EQ(E_EXISTS, window_add(&t, &w));
	w = window(19, 1, &grant[1]);
	ATF_CHECK_EQ(E_EXISTS, window_add(&t, &w));
	w = window(9, 2, &grant[1]);
	ATF_CHECK_EQ(E_EXISTS, window_add(&t, &w));
	w = window(0, 100, &grant[1]);
	ATF_CHECK_EQ(E_EXISTS, window_add(&t, &w));
	w = window(20, 1, &grant[1]);
	ATF_CHECK_EQ(OK, window_add(&t, &w));
	w = window(9, 1, &grant[2]);
	ATF_CHECK_EQ(OK, window_add(&t, &w));
	w = window(21, 2, &grant[1]);
	ATF_CHECK_EQ(OK, window_add(&t, &w));
	w = window(30, 1, &grant[1]);
	w.first += 8;
	ATF_CHECK_EQ(E_ALIGN, window_add(&t, &w));
	w = window(30, 1, &grant[1]);
	w.delta = 8;
	ATF_CHECK_EQ(E_ALIGN, window_add(&t, &w));
	w = window(30, 1, &grant[1]);
	w.dir = 0;
	ATF_CHECK_EQ(E_INVALID, window_add(&t, &w));
	w = window(30, 0, &grant[1]);
	ATF_CHECK_EQ(E_INVALID, window_add(&t, &w));
	/* neighbours are two windows: what crosses is held by neither */
	ATF_CHECK(find(&t, 19 * PAGE_SIZE + 4000, 200) == NULL);
	ATF_CHECK(find(&t, 19 * PAGE_SIZE + 4000, 96) != NULL);
	ATF_CHECK(find(&t, 20 * PAGE_SIZE - 1, UINT64_MAX) == NULL);
	/* a grant's windows go together */
	ATF_CHECK_EQ(0, window_remove(&t, &grant[1], 9 * PAGE_SIZE));
	ATF_CHECK_EQ(2, window_remove(&t, &grant[1], 20 * PAGE_SIZE));
	ATF_CHECK_EQ(0, window_remove(&t, &grant[1], 20 * PAGE_SIZE));
	ATF_CHECK_EQ(2, t.live.count);
	ATF_CHECK(find(&t, 20 * PAGE_SIZE, 1) == NULL && find(&t, 22 * PAGE_SIZE, 1) == NULL);
	ATF_CHECK(find(&t, 9 * PAGE_SIZE, PAGE_SIZE)->grant == &grant[2]);
	ATF_CHECK_EQ(1, window_remove(&t, &grant[2], 9 * PAGE_SIZE));
	ATF_CHECK_EQ(1, window_remove(&t, &grant[0], 10 * PAGE_SIZE));
	ATF_CHECK_EQ(0, window_remove(&t, &grant[0], 10 * PAGE_SIZE));
}

/* UNMAP_KEEP: windows open, close, come and go, in any order; hints are as old as they get. */
ATF_TC_WITHOUT_HEAD(a_closed_window_holds_nothing_and_keeps_its_place);
ATF_TC_BODY(a_closed_window_holds_nothing_and_keeps_its_place, tc)
{
	struct window_table t = { 0 };
	enum { NONE, OPEN, CLOSED } is[64] = { NONE };
	uint64_t delta[64];
	uint32_t hint[64];

	window_place(&t, b, ARRAY_SIZE(b));
	srand(2);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned at = (unsigned)rand() % 64, other = (at + 1) % 64;
		struct xlate_window w = window(at + 7, 1, &is[at]);
		const struct xlate_window *f;

		w.delta = (uint64_t)round * PAGE_SIZE;
		if (rand() % 4 == 0 && is[at] != NONE) {
			ATF_REQUIRE_EQ(1, window_remove(&t, &is[at], w.first));
			is[at] = NONE;
		} else if (is[at] == NONE) {
			ATF_REQUIRE_EQ(OK, window_add(&t, &w));
			delta[at] = w.delta;
			hint[at] = (uint32_t)rand() % 80;
			is[at] = OPEN;
		} else if (is[at] == OPEN) {
			ATF_REQUIRE(!window_close(&t, &is[other], w.first, &hint[at]));
			ATF_REQUIRE(window_close(&t, &is[at], w.first, &hint[at]));
			is[at] = CLOSED;
		} else if (hint[at] < t.live.count && t.v[hint[at]].grant == &is[at]) {
			ATF_REQUIRE(!window_open(&t, &is[other], hint[at], w.first, w.last,
			    w.delta, 0, DMA_TO_DEVICE));
			ATF_REQUIRE(window_open(&t, &is[at], hint[at], w.first, w.last, w.delta, 0,
			    DMA_TO_DEVICE));
			ATF_REQUIRE(!window_open(&t, &is[at], hint[at], w.first, w.last, w.delta,
			    0, DMA_TO_DEVICE));
			delta[at] = w.delta;
			is[at] = OPEN;
		} else {	/* others came or went before it */
			ATF_REQUIRE(!window_open(&t, &is[at], hint[at], w.first, w.last, w.delta,
			    0, DMA_TO_DEVICE));
		}
		at = (unsigned)rand() % 64;
		f = find(&t, (at + 7) * PAGE_SIZE + 100, 8);
		ATF_REQUIRE_EQ(is[at] == OPEN, f != NULL);
		ATF_REQUIRE(f == NULL || (f->grant == &is[at] && f->delta == delta[at]));
		for (uint32_t i = 1; i < t.live.count; i++)
			ATF_REQUIRE(t.v[i - 1].first < t.v[i].first &&
			    t.v[i - 1].last < t.v[i].first);
	}
}

ATF_TC_WITHOUT_HEAD(a_grant_of_two_windows_is_not_closed_but_removed);
ATF_TC_BODY(a_grant_of_two_windows_is_not_closed_but_removed, tc)
{
	struct window_table t = { 0 };
	struct xlate_window w = window(10, 2, &grant[0]);
	uint32_t hint = 0;

	window_place(&t, a, ARRAY_SIZE(a));
	ATF_CHECK(!window_close(&t, &grant[0], 10 * PAGE_SIZE, &hint));
	ATF_REQUIRE_EQ(OK, window_add(&t, &w));
	w = window(12, 1, &grant[0]);
	ATF_REQUIRE_EQ(OK, window_add(&t, &w));
	ATF_CHECK(!window_close(&t, &grant[0], 10 * PAGE_SIZE, &hint));
	hint = 7;
	ATF_CHECK(!window_close(&t, &grant[0], 10 * PAGE_SIZE, &hint));
	ATF_CHECK(find(&t, 10 * PAGE_SIZE, 1) != NULL && find(&t, 12 * PAGE_SIZE, 1) != NULL);
	ATF_CHECK_EQ(2, window_remove(&t, &grant[0], 10 * PAGE_SIZE));
}

ATF_TC_WITHOUT_HEAD(a_full_table_says_so_and_moves);
ATF_TC_BODY(a_full_table_says_so_and_moves, tc)
{
	struct window_table t = { 0 };
	struct xlate_window w;

	window_place(&t, a, ARRAY_SIZE(a));
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++) {
		w = window(100 - 2 * i, 1, &grant[0]);
		ATF_REQUIRE_EQ(OK, window_add(&t, &w));
	}
	w = window(1, 1, &grant[1]);
	ATF_CHECK_EQ(E_NO_MEMORY, window_add(&t, &w));
	window_place(&t, b, ARRAY_SIZE(b));
	memset(a, 0xff, sizeof(a));
	ATF_CHECK_EQ(OK, window_add(&t, &w));
	ATF_CHECK(find(&t, 100 * PAGE_SIZE, PAGE_SIZE) != NULL);
	ATF_CHECK(find(&t, PAGE_SIZE, PAGE_SIZE) != NULL);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_is_added_is_found_in_order_and_what_is_removed_is_not);
	ATF_TP_ADD_TC(tp, windows_do_not_overlap_and_are_whole_pages);
	ATF_TP_ADD_TC(tp, a_full_table_says_so_and_moves);
	ATF_TP_ADD_TC(tp, a_closed_window_holds_nothing_and_keeps_its_place);
	ATF_TP_ADD_TC(tp, a_grant_of_two_windows_is_not_closed_but_removed);
	return atf_no_error();
}
