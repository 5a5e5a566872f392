/*
 * PRP lists, read as a controller reads them [Base 4.3]: a walker that knows nothing of the
 * builder.
 */
/* LINK: dev/nvme/prp.c */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/nvme/prp.h"

enum : uint64_t { DATA = 0x40000000, LISTS = 0x7000000000 };

static struct prp_pool pool;
static uint64_t *pages;

static void
start(uint32_t n)
{
	ATF_REQUIRE(posix_memalign((void **)&pages, PAGE_SIZE, n * PAGE_SIZE) == 0);
	memset(pages, 0xff, n * PAGE_SIZE);
	prp_pool_init(&pool, pages, (struct iova){ LISTS }, n);
}

static uint64_t
list_entry_at(uint64_t at)
{
	ATF_REQUIRE(at >= LISTS && at + 8 <= LISTS + pool.pages * PAGE_SIZE && at % 8 == 0);
	return pages[(at - LISTS) / 8];
}

/* True when the device would move exactly [at, at + bytes), in order. */
static bool
covers(const uint64_t prp[2], uint64_t at, uint64_t bytes)
{
	uint64_t here = PAGE_SIZE - (prp[0] & PAGE_MASK), list;

	if (prp[0] != at)
		return false;
	if (bytes <= here)
		return prp[1] == 0;
	at += here;
	bytes -= here;
	if (bytes <= PAGE_SIZE)
		return prp[1] == at;
	list = prp[1];
	while (bytes != 0) {
		uint64_t e = list_entry_at(list), n = bytes < PAGE_SIZE ? bytes : PAGE_SIZE;

		if ((list & PAGE_MASK) == PAGE_SIZE - 8 && bytes > PAGE_SIZE) {
			if ((e & PAGE_MASK) != 0)
				return false;
			list = e; /* the last entry of a page, and more than a page to go: the next
				     list */
			continue;
		}
		if (e != at)
			return false;
		at += n;
		bytes -= n;
		list += 8;
	}
	return true;
}

ATF_TC_WITHOUT_HEAD(transfers_of_every_size_are_covered_in_order);
ATF_TC_BODY(transfers_of_every_size_are_covered_in_order, tc)
{
	static const uint64_t offsets[] = { 0, 4, 512, 2048, 4092 };

	start(32);
	for (unsigned o = 0; o < ARRAY_SIZE(offsets); o++) {
		for (uint64_t bytes = 512; bytes <= 8 * MIB; bytes += bytes < 16384 ? 512 :
			bytes < 2 * MIB                                             ? 51712 :
										      333824) {
			uint64_t prp[2];
			uint16_t list;

			ATF_REQUIRE(prp_build(&pool, DATA + offsets[o], bytes, prp, &list));
			ATF_REQUIRE_MSG(covers(prp, DATA + offsets[o], bytes),
			    "%llu bytes at offset %llu", (unsigned long long)bytes,
			    (unsigned long long)offsets[o]);
			ATF_REQUIRE_EQ(32 - pool.free, prp_list_pages(DATA + offsets[o], bytes));
			prp_free(&pool, list);
			ATF_REQUIRE_EQ(pool.free, 32);
		}
	}
	free(pages);
}

/* 512 entries fill a list page; the 513th makes the last of them a chain. */
ATF_TC_WITHOUT_HEAD(a_list_page_is_filled_before_it_is_chained);
ATF_TC_BODY(a_list_page_is_filled_before_it_is_chained, tc)
{
	uint64_t prp[2];
	uint16_t list;

	start(4);
	ATF_REQUIRE(prp_build(&pool, DATA, 513 * PAGE_SIZE, prp, &list));
	ATF_CHECK_EQ(pool.free, 3);
	ATF_CHECK(covers(prp, DATA, 513 * PAGE_SIZE));
	prp_free(&pool, list);
	ATF_REQUIRE(prp_build(&pool, DATA, 514 * PAGE_SIZE, prp, &list));
	ATF_CHECK_EQ(pool.free, 2);
	ATF_CHECK(covers(prp, DATA, 514 * PAGE_SIZE));
	prp_free(&pool, list);
	ATF_REQUIRE(prp_build(&pool, DATA, (1 + 511 + 511 + 512) * PAGE_SIZE, prp, &list));
	ATF_CHECK_EQ(pool.free, 1);
	ATF_CHECK(covers(prp, DATA, (1 + 511 + 511 + 512) * PAGE_SIZE));
	prp_free(&pool, list);
	free(pages);
}

ATF_TC_WITHOUT_HEAD(too_few_list_pages_take_none);
ATF_TC_BODY(too_few_list_pages_take_none, tc)
{
	uint64_t prp[2];
	uint16_t a, b;

	start(2);
	ATF_REQUIRE(prp_build(&pool, DATA, 3 * PAGE_SIZE, prp, &a));
	ATF_CHECK(!prp_build(&pool, DATA, 600 * PAGE_SIZE, prp, &b));
	ATF_CHECK_EQ(pool.free, 1);
	ATF_CHECK(prp_build(&pool, DATA, 2 * PAGE_SIZE, prp, &b));	/* needs none */
	ATF_CHECK_EQ(b, PRP_NONE);
	prp_free(&pool, a);
	ATF_REQUIRE(prp_build(&pool, DATA, 600 * PAGE_SIZE, prp, &a));
	ATF_CHECK(covers(prp, DATA, 600 * PAGE_SIZE));
	ATF_CHECK(!prp_build(&pool, DATA, 3 * PAGE_SIZE, prp, &b));
	free(pages);
}

/* Lists in flight at the same time do not share pages, in whatever order they come back. */
ATF_TC_WITHOUT_HEAD(lists_in_flight_do_not_share_pages);
ATF_TC_BODY(lists_in_flight_do_not_share_pages, tc)
{
	struct { uint64_t prp[2], at, bytes; uint16_t list; bool live; } c[8] = { 0 };
	unsigned seed = 1;

	start(24);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (seed = seed * 1103515245 + 12345) >> 16 & 7;

		if (c[i].live) {
			ATF_REQUIRE(covers(c[i].prp, c[i].at, c[i].bytes));
			prp_free(&pool, c[i].list);
			c[i].live = false;
		} else {
			c[i].at = DATA + (uint64_t)i * 64 * MIB + (seed >> 8 & 0xffc);
			c[i].bytes = 512 * (1 + (seed >> 4) % 12000);
			c[i].live = prp_build(&pool, c[i].at, c[i].bytes, c[i].prp, &c[i].list);
		}
	}
	free(pages);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, transfers_of_every_size_are_covered_in_order);
	ATF_TP_ADD_TC(tp, a_list_page_is_filled_before_it_is_chained);
	ATF_TP_ADD_TC(tp, too_few_list_pages_take_none);
	ATF_TP_ADD_TC(tp, lists_in_flight_do_not_share_pages);
	return atf_no_error();
}
