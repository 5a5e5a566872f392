/*
 * kern/zone.h: RAM with holes, numbered without.
 * LINK: kern/zone.c
 */
#include <atf-c.h>
#include <stdlib.h>

#include "kern/zone.h"

static struct zones z;

static void
check_all(void)
{
	for (uint32_t n = 0; n < z.frames; n += n % 7 + 1)
		ATF_REQUIRE_EQ(zone_number(&z, zone_frame(&z, n)), n);
}

ATF_TC_WITHOUT_HEAD(a_hole_takes_no_numbers);
ATF_TC_BODY(a_hole_takes_no_numbers, tc)
{
	ATF_REQUIRE(zone_add(&z, 0x80000, 0x80000));			/* 2 GiB at 2 GiB */
	ATF_REQUIRE(zone_add(&z, 0x8000000, 0x200000));			/* 8 GiB at 512 GiB */
	ATF_CHECK_EQ(z.count, 2);
	ATF_CHECK_EQ(z.frames, 0x280000);
	ATF_CHECK_EQ(zone_number(&z, 0x80000), 0);
	ATF_CHECK_EQ(zone_number(&z, 0xfffff), 0x7ffff);
	ATF_CHECK_EQ(zone_number(&z, 0x8000000), 0x80000);
	ATF_CHECK_EQ(zone_number(&z, 0x7ffff), ZONE_NONE);
	ATF_CHECK_EQ(zone_number(&z, 0x100000), ZONE_NONE);
	ATF_CHECK_EQ(zone_number(&z, 0x7ffffff), ZONE_NONE);
	ATF_CHECK_EQ(zone_number(&z, 0x8200000), ZONE_NONE);
	ATF_CHECK_EQ(zone_number(&z, 0), ZONE_NONE);
	ATF_CHECK_EQ(zone_number(&z, UINT64_MAX), ZONE_NONE);
	check_all();
}

ATF_TC_WITHOUT_HEAD(a_small_gap_is_numbered);
ATF_TC_BODY(a_small_gap_is_numbered, tc)
{
	ATF_REQUIRE(zone_add(&z, 0, 0x9f));
	ATF_REQUIRE(zone_add(&z, 0x100, 0x1000));
	ATF_REQUIRE(zone_add(&z, 0x1100 + ZONE_GAP, 1));
	ATF_CHECK_EQ(z.count, 1);
	ATF_CHECK_EQ(z.frames, 0x1100 + ZONE_GAP + 1);
	ATF_REQUIRE(zone_add(&z, 0x1101 + ZONE_GAP + ZONE_GAP + 1, 1));
	ATF_CHECK_EQ(z.count, 2);
	check_all();
}

ATF_TC_WITHOUT_HEAD(with_no_zone_left_the_last_one_grows);
ATF_TC_BODY(with_no_zone_left_the_last_one_grows, tc)
{
	for (uint64_t i = 0; i < 2 * ZONES_MAX; i++)
		ATF_REQUIRE(zone_add(&z, i * 100000, 10));
	ATF_CHECK_EQ(z.count, ZONES_MAX);
	ATF_CHECK_EQ(z.frames, ZONES_MAX * 10 + ZONES_MAX * 100000);
	check_all();
	for (uint64_t i = 0; i < 2 * ZONES_MAX; i++)
		ATF_CHECK(zone_number(&z, i * 100000) != ZONE_NONE);
}

ATF_TC_WITHOUT_HEAD(more_than_can_be_numbered_is_refused);
ATF_TC_BODY(more_than_can_be_numbered_is_refused, tc)
{
	ATF_CHECK(!zone_add(&z, 0, 1ull << 32));
	ATF_REQUIRE(zone_add(&z, 0, 1ull << 31));
	ATF_CHECK(!zone_add(&z, 1ull << 33, 1ull << 31));
	ATF_CHECK(!zone_add(&z, 1ull << 33, UINT64_MAX >> 13));
	ATF_CHECK_EQ(z.frames, 1ull << 31);
}

ATF_TC_WITHOUT_HEAD(random_machines_number_every_frame_once);
ATF_TC_BODY(random_machines_number_every_frame_once, tc)
{
	srandom(5);
	for (unsigned round = 0; round < 300; round++) {
		uint64_t at = 0;

		z = (struct zones){ 0 };
		for (unsigned i = 0; i < 1 + (unsigned)random() % 20; i++) {
			uint64_t len = 1 + (uint64_t)random() % 5000;

			at += (uint64_t)random() % 20000;
			ATF_REQUIRE(zone_add(&z, at, len));
			at += len;
		}
		for (uint32_t n = 0, last = 0; n < z.frames; n += 97, last = n) {
			ATF_REQUIRE_EQ(zone_number(&z, zone_frame(&z, n)), n);
			ATF_REQUIRE(n == 0 || zone_frame(&z, n) >= zone_frame(&z, last));
		}
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_hole_takes_no_numbers);
	ATF_TP_ADD_TC(tp, a_small_gap_is_numbered);
	ATF_TP_ADD_TC(tp, with_no_zone_left_the_last_one_grows);
	ATF_TP_ADD_TC(tp, more_than_can_be_numbered_is_refused);
	ATF_TP_ADD_TC(tp, random_machines_number_every_frame_once);
	return atf_no_error();
}
