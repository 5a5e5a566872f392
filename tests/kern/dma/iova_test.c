/*
 * kern/dma/iova.c: against an array that says who has each page.
 *
 * LINK: kern/dma/iova.c kern/base/itree.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/dma/iova.h"

enum { PAGES = 256, RANGES = 64, COOL = 6 };
enum : uint64_t { BASE = 16 * PAGE_SIZE, LIMIT = PAGES * PAGE_SIZE };

static struct iova_space space;
static struct iova_range cool[64], range[RANGES];

static void
start(unsigned cool_count, uint64_t bytes_max)
{
	ATF_REQUIRE_EQ(iova_init(&space, BASE, LIMIT, PAGE_SIZE, bytes_max, cool,
			   cool_count * sizeof(cool[0])),
	    OK);
}

ATF_TC_WITHOUT_HEAD(ranges_are_disjoint_aligned_inside_and_off_limits_stay_off);
ATF_TC_BODY(ranges_are_disjoint_aligned_inside_and_off_limits_stay_off, tc)
{
	enum { NOBODY = -1, FORBIDDEN = -2 };
	int who[PAGES];

	srand(2);
	for (unsigned run = 0; run < 60; run++) {
		unsigned excludes = (unsigned)rand() % 6;

		start(run % 3 == 0 ? 0 : COOL, UINT64_MAX);
		for (unsigned i = 0; i < PAGES; i++)
			who[i] = i < BASE / PAGE_SIZE ? FORBIDDEN : NOBODY;
		for (unsigned e = 0; e < excludes; e++) {
			uint64_t page = (uint64_t)rand() % (PAGES - 4),
				 n = 1 + (uint64_t)rand() % 4;

			ATF_REQUIRE_EQ(
			    iova_exclude(&space, page * PAGE_SIZE + 7, n * PAGE_SIZE - 7), OK);
			for (uint64_t i = page; i < page + n; i++)
				who[i] = FORBIDDEN;
		}
		memset(range, 0, sizeof(range));
		for (unsigned step = 0; step < 2000; step++) {
			unsigned k = (unsigned)rand() % RANGES;

			if (range[k].kind == IOVA_LIVE) {
				for (unsigned i = 0; i < PAGES; i++)
					who[i] = who[i] == (int)k ? NOBODY : who[i];
				iova_free(&space, &range[k]);
				ATF_REQUIRE_EQ(range[k].kind, IOVA_NONE);
			} else {
				uint64_t len =
				    (1 + (uint64_t)rand() % (step % 4 == 0 ? 20 : 3)) * PAGE_SIZE -
				    (uint64_t)rand() % 2;
				enum status s = iova_alloc(&space, len, &range[k]);
				uint64_t at, n;

				if (s == E_NO_MEMORY) {
					/* Not even with all that cools let go. */
					ATF_REQUIRE_EQ(space.cool_count, 0);
					continue;
				}
				ATF_REQUIRE_EQ(s, OK);
				at = iova_base(&range[k]).v;
				n = pages_of(len);
				ATF_REQUIRE_EQ(iova_len(&range[k]), n * PAGE_SIZE);
				ATF_REQUIRE(is_aligned(at, PAGE_SIZE << log2_ceil(n)));
				ATF_REQUIRE(at >= BASE && at + len <= LIMIT);
				for (uint64_t i = at / PAGE_SIZE; i < at / PAGE_SIZE + n; i++) {
					ATF_REQUIRE_EQ(who[i], NOBODY);
					who[i] = (int)k;
				}
			}
			for (unsigned i = 0; i < PAGES; i++) {
				struct iova_range *r =
				    iova_find(&space, (struct iova){ i * PAGE_SIZE + 5 });

				ATF_REQUIRE_EQ(r, who[i] < 0 ? NULL : &range[who[i]]);
			}
		}
		{
			uint64_t live = 0, bytes = 0, at = 0;

			for (struct iova_range *r;
			    (r = iova_next(&space, (struct iova){ at })) != NULL; live++) {
				bytes += iova_len(r);
				at = r->node.last + 1;
			}
			ATF_REQUIRE_EQ(live, space.live);
			ATF_REQUIRE_EQ(bytes, space.live_bytes);
		}
	}
}

/* DMA-50 */
ATF_TC_WITHOUT_HEAD(an_address_rests_until_enough_others_came_back);
ATF_TC_BODY(an_address_rests_until_enough_others_came_back, tc)
{
	uint64_t seen[COOL];

	start(COOL, UINT64_MAX);
	for (unsigned i = 0; i < COOL; i++) {
		ATF_REQUIRE_EQ(iova_alloc(&space, PAGE_SIZE, &range[0]), OK);
		seen[i] = iova_base(&range[0]).v;
		for (unsigned k = 0; k < i; k++)
			ATF_CHECK(seen[k] != seen[i]);
		iova_free(&space, &range[0]);
		ATF_CHECK(iova_find(&space, (struct iova){ seen[i] }) == NULL);
	}
	ATF_REQUIRE_EQ(iova_alloc(&space, PAGE_SIZE, &range[0]), OK);
	ATF_CHECK_EQ(iova_base(&range[0]).v, seen[0]);	/* the oldest, and no sooner */
	ATF_CHECK_EQ(space.early, 0);
	ATF_CHECK_EQ(space.live, 1);
	ATF_CHECK_EQ(space.live_bytes, PAGE_SIZE);
	ATF_CHECK_EQ(space.cooling_bytes, (COOL - 1) * PAGE_SIZE);
	/* Another length takes the long way, and leaves the oldest where it is. */
	iova_free(&space, &range[0]);
	ATF_REQUIRE_EQ(iova_alloc(&space, 2 * PAGE_SIZE, &range[1]), OK);
	for (unsigned k = 0; k < COOL; k++)
		ATF_CHECK(seen[k] < iova_base(&range[1]).v ||
		    seen[k] > iova_base(&range[1]).v + PAGE_SIZE);
	ATF_REQUIRE_EQ(iova_alloc(&space, PAGE_SIZE, &range[0]), OK);
	ATF_CHECK_EQ(iova_base(&range[0]).v, seen[1]);
	iova_free(&space, &range[0]);
	iova_free(&space, &range[1]);
}

ATF_TC_WITHOUT_HEAD(when_room_runs_out_the_oldest_address_goes_early);
ATF_TC_BODY(when_room_runs_out_the_oldest_address_goes_early, tc)
{
	uint64_t half = 64 * PAGE_SIZE, first;

	start(COOL, UINT64_MAX);
	ATF_REQUIRE_EQ(iova_alloc(&space, half, &range[0]), OK);
	ATF_REQUIRE_EQ(iova_alloc(&space, half, &range[1]), OK);
	ATF_REQUIRE_EQ(iova_alloc(&space, half, &range[2]), OK);
	ATF_CHECK_EQ(iova_alloc(&space, half, &range[3]), E_NO_MEMORY);
	first = iova_base(&range[1]).v;
	iova_free(&space, &range[1]);
	iova_free(&space, &range[0]);
	ATF_REQUIRE_EQ(iova_alloc(&space, half, &range[3]), OK);
	ATF_CHECK_EQ(iova_base(&range[3]).v, first);
	ATF_CHECK_EQ(space.early, 1);
	ATF_CHECK_EQ(space.cool_count, 1);
}

/* D13 */
ATF_TC_WITHOUT_HEAD(address_space_has_a_quota);
ATF_TC_BODY(address_space_has_a_quota, tc)
{
	start(COOL, 10 * PAGE_SIZE);
	ATF_CHECK_EQ(iova_alloc(&space, 11 * PAGE_SIZE, &range[0]), E_QUOTA);
	ATF_REQUIRE_EQ(iova_alloc(&space, 6 * PAGE_SIZE, &range[0]), OK);
	ATF_CHECK_EQ(iova_alloc(&space, 5 * PAGE_SIZE, &range[1]), E_QUOTA);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 128 * PAGE_SIZE }, 5 * PAGE_SIZE, &range[1]),
	    E_QUOTA);
	ATF_REQUIRE_EQ(iova_alloc(&space, 4 * PAGE_SIZE, &range[1]), OK);
	iova_free(&space, &range[0]);
	ATF_REQUIRE_EQ(iova_alloc(&space, 6 * PAGE_SIZE, &range[0]), OK);
	ATF_CHECK_EQ(space.cooling_bytes, 0);
}

ATF_TC_WITHOUT_HEAD(a_given_address_is_given_only_when_free);
ATF_TC_BODY(a_given_address_is_given_only_when_free, tc)
{
	struct iova at = { 32 * PAGE_SIZE };

	start(COOL, UINT64_MAX);
	ATF_REQUIRE_EQ(iova_exclude(&space, 40 * PAGE_SIZE, 1), OK);
	ATF_REQUIRE_EQ(iova_alloc_at(&space, at, 2 * PAGE_SIZE, &range[0]), OK);
	ATF_CHECK_EQ(iova_base(&range[0]).v, at.v);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 33 * PAGE_SIZE }, PAGE_SIZE, &range[1]), E_EXISTS);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 31 * PAGE_SIZE }, 2 * PAGE_SIZE, &range[1]),
	    E_EXISTS);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 40 * PAGE_SIZE }, PAGE_SIZE, &range[1]), E_EXISTS);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 34 * PAGE_SIZE + 1 }, PAGE_SIZE, &range[1]),
	    E_ALIGN);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 15 * PAGE_SIZE }, PAGE_SIZE, &range[1]), E_RANGE);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ 255 * PAGE_SIZE }, 2 * PAGE_SIZE, &range[1]),
	    E_RANGE);
	ATF_CHECK_EQ(
	    iova_alloc_at(&space, (struct iova){ UINT64_MAX & ~PAGE_MASK }, PAGE_SIZE, &range[1]),
	    E_RANGE);
	iova_free(&space, &range[0]);
	ATF_CHECK_EQ(iova_alloc_at(&space, at, PAGE_SIZE, &range[1]), E_EXISTS);	/* cools */
}

ATF_TC_WITHOUT_HEAD(exclusions_melt_and_are_bounded);
ATF_TC_BODY(exclusions_melt_and_are_bounded, tc)
{
	start(0, UINT64_MAX);
	for (uint64_t i = 0; i < IOVA_EXCLUDE_MAX; i++)
		ATF_REQUIRE_EQ(iova_exclude(&space, (20 + 4 * i) * PAGE_SIZE, 2 * PAGE_SIZE), OK);
	ATF_CHECK_EQ(iova_exclude(&space, 200 * PAGE_SIZE, 1), E_NO_MEMORY);
	ATF_REQUIRE_EQ(iova_exclude(&space, 21 * PAGE_SIZE, 8 * PAGE_SIZE), OK); /* melts three */
	ATF_CHECK_EQ(space.excludes, IOVA_EXCLUDE_MAX - 2);
	ATF_REQUIRE_EQ(iova_exclude(&space, 200 * PAGE_SIZE, 1), OK);
	ATF_REQUIRE_EQ(iova_exclude(&space, UINT64_MAX - 5, 6), OK);
	ATF_CHECK_EQ(iova_exclude(&space, UINT64_MAX - 5, 7), E_RANGE);
	ATF_CHECK_EQ(iova_exclude(&space, 0, 0), E_RANGE);
	ATF_REQUIRE_EQ(iova_exclude(&space, 0, UINT64_MAX), OK);
	ATF_CHECK_EQ(space.excludes, 1);
	ATF_CHECK_EQ(iova_alloc(&space, 1, &range[0]), E_NO_MEMORY);

	start(0, UINT64_MAX);
	ATF_REQUIRE_EQ(iova_alloc(&space, 1, &range[0]), OK);
	ATF_CHECK_EQ(iova_exclude(&space, iova_base(&range[0]).v, 1), E_EXISTS);
}

/* DMA-52 */
ATF_TC_WITHOUT_HEAD(nothing_shares_a_granule);
ATF_TC_BODY(nothing_shares_a_granule, tc)
{
	ATF_REQUIRE_EQ(
	    iova_init(&space, 5, 64 * 65536 + 9, 65536, UINT64_MAX, cool, sizeof(cool)), OK);
	for (unsigned i = 0; i < 63; i++) {
		ATF_REQUIRE_EQ(iova_alloc(&space, 1, &range[i]), OK);
		ATF_CHECK_EQ(iova_base(&range[i]).v, (i + 1) * 65536);
		ATF_CHECK_EQ(iova_len(&range[i]), 65536);
	}
	ATF_CHECK_EQ(iova_alloc(&space, 1, &range[63]), E_NO_MEMORY);
}

ATF_TC_WITHOUT_HEAD(nonsense_is_refused);
ATF_TC_BODY(nonsense_is_refused, tc)
{
	ATF_CHECK_EQ(iova_init(&space, 0, LIMIT, 0, 0, NULL, 0), E_ALIGN);
	ATF_CHECK_EQ(iova_init(&space, 0, LIMIT, 12288, 0, NULL, 0), E_ALIGN);
	ATF_CHECK_EQ(iova_init(&space, 0, LIMIT, 512, 0, NULL, 0), E_ALIGN);
	ATF_CHECK_EQ(iova_init(&space, 1, 2 * PAGE_SIZE - 1, PAGE_SIZE, 0, NULL, 0), E_RANGE);
	ATF_CHECK_EQ(iova_init(&space, UINT64_MAX, UINT64_MAX, PAGE_SIZE, 0, NULL, 0), E_RANGE);
	start(0, UINT64_MAX);
	ATF_CHECK_EQ(iova_alloc(&space, 0, &range[0]), E_RANGE);
	ATF_CHECK_EQ(iova_alloc(&space, UINT64_MAX, &range[0]), E_RANGE);
	ATF_CHECK_EQ(iova_alloc(&space, LIMIT - BASE + 1, &range[0]), E_RANGE);
}

ATF_TC_WITHOUT_HEAD(large_ranges_are_aligned_for_large_leaves);
ATF_TC_BODY(large_ranges_are_aligned_for_large_leaves, tc)
{
	ATF_REQUIRE_EQ(
	    iova_init(&space, 4 * GIB, 1ull << 39, PAGE_SIZE, UINT64_MAX, cool, sizeof(cool)), OK);
	ATF_REQUIRE_EQ(iova_alloc(&space, PAGE_SIZE, &range[0]), OK);
	ATF_REQUIRE_EQ(iova_alloc(&space, 3 * MIB, &range[1]), OK);
	ATF_CHECK(is_aligned(iova_base(&range[1]).v, 4 * MIB));
	ATF_REQUIRE_EQ(iova_alloc(&space, 5 * GIB, &range[2]), OK);
	ATF_CHECK(is_aligned(iova_base(&range[2]).v, GIB));
	ATF_CHECK_EQ(
	    iova_find(&space, (struct iova){ iova_base(&range[2]).v + 5 * GIB - 1 }), &range[2]);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, ranges_are_disjoint_aligned_inside_and_off_limits_stay_off);
	ATF_TP_ADD_TC(tp, an_address_rests_until_enough_others_came_back);
	ATF_TP_ADD_TC(tp, when_room_runs_out_the_oldest_address_goes_early);
	ATF_TP_ADD_TC(tp, address_space_has_a_quota);
	ATF_TP_ADD_TC(tp, a_given_address_is_given_only_when_free);
	ATF_TP_ADD_TC(tp, exclusions_melt_and_are_bounded);
	ATF_TP_ADD_TC(tp, nothing_shares_a_granule);
	ATF_TP_ADD_TC(tp, nonsense_is_refused);
	ATF_TP_ADD_TC(tp, large_ranges_are_aligned_for_large_leaves);
	return atf_no_error();
}
