/*
 * kern/base/date.h: dates and seconds, against the C library.
 * LINK: kern/base/date.c kern/base/fmt.c
 */
#include <atf-c.h>
#include <string.h>
#include <time.h>

#include "kern/base/date.h"

static void
check(time_t t)
{
	struct tm tm;
	struct date d;
	uint64_t back = 0;

	ATF_REQUIRE(gmtime_r(&t, &tm) != NULL);
	date_of_seconds((uint64_t)t, &d);
	ATF_REQUIRE_EQ_MSG(d.year, (uint32_t)tm.tm_year + 1900, "%lld", (long long)t);
	ATF_REQUIRE_EQ(d.month, tm.tm_mon + 1);
	ATF_REQUIRE_EQ(d.day, tm.tm_mday);
	ATF_REQUIRE_EQ(d.hour, tm.tm_hour);
	ATF_REQUIRE_EQ(d.minute, tm.tm_min);
	ATF_REQUIRE_EQ(d.second, tm.tm_sec);
	ATF_REQUIRE(date_to_seconds(&d, &back));
	ATF_REQUIRE_EQ(back, (uint64_t)t);
}

ATF_TC_WITHOUT_HEAD(every_day_from_1970_to_9999_is_the_c_librarys);
ATF_TC_BODY(every_day_from_1970_to_9999_is_the_c_librarys, tc)
{
	for (int64_t day = 0; day <= 2932896; day++)
		check(day * 86400 + day % 86400);
	check(253402300799);
}

ATF_TC_WITHOUT_HEAD(what_is_no_date_is_refused);
ATF_TC_BODY(what_is_no_date_is_refused, tc)
{
	static const struct date bad[] = {
		{ 1969, 12, 31, 23, 59, 59 },
		{ 10000, 1, 1, 0, 0, 0 },
		{ 2023, 2, 29, 0, 0, 0 },
		{ 1900, 2, 29, 0, 0, 0 },
		{ 2100, 2, 29, 0, 0, 0 },
		{ 2024, 0, 1, 0, 0, 0 },
		{ 2024, 13, 1, 0, 0, 0 },
		{ 2024, 4, 31, 0, 0, 0 },
		{ 2024, 1, 0, 0, 0, 0 },
		{ 2024, 1, 1, 24, 0, 0 },
		{ 2024, 1, 1, 0, 60, 0 },
		{ 2024, 1, 1, 0, 0, 60 },
	};
	static const struct date good[] = { { 2024, 2, 29, 0, 0, 0 }, { 2000, 2, 29, 23, 59, 59 } };
	uint64_t s;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ATF_CHECK_MSG(!date_to_seconds(&bad[i], &s), "case %u", i);
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ATF_CHECK_MSG(date_to_seconds(&good[i], &s), "case %u", i);
}

ATF_TC_WITHOUT_HEAD(text_is_always_as_long);
ATF_TC_BODY(text_is_always_as_long, tc)
{
	char text[DATE_TEXT];

	date_text(0, text);
	ATF_CHECK_STREQ(text, "1970-01-01 00:00:00");
	date_text(1928030706, text);
	ATF_CHECK_STREQ(text, "2031-02-05 04:05:06");
	date_text(UINT64_MAX, text);
	ATF_CHECK_STREQ(text, "9999-12-31 23:59:59");
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, every_day_from_1970_to_9999_is_the_c_librarys);
	ATF_TP_ADD_TC(tp, what_is_no_date_is_refused);
	ATF_TP_ADD_TC(tp, text_is_always_as_long);
	return atf_no_error();
}
