/*
 * arch/x86_64/cmos.h: the registers of a PC's clock.
 * LINK: arch/x86_64/cmos.c kern/base/date.c kern/base/fmt.c
 */
#include <atf-c.h>

#include "arch/x86_64/cmos.h"
#include "kern/base/date.h"

static void
check(struct cmos c, const char *want)
{
	char text[DATE_TEXT];
	uint64_t s = 0;

	ATF_REQUIRE_MSG(cmos_seconds(&c, &s), "%s", want);
	date_text(s, text);
	ATF_CHECK_STREQ(text, want);
}

ATF_TC_WITHOUT_HEAD(decimal_and_binary_say_the_same);
ATF_TC_BODY(decimal_and_binary_say_the_same, tc)
{
	check((struct cmos){ 0x56, 0x34, 0x12, 0x31, 0x12, 0x26, 0x20, CMOS_B_24 },
	    "2026-12-31 12:34:56");
	check((struct cmos){ 56, 34, 12, 31, 12, 26, 20, CMOS_B_24 | CMOS_B_BINARY },
	    "2026-12-31 12:34:56");
}

ATF_TC_WITHOUT_HEAD(twelve_hours_have_a_midnight_and_a_noon);
ATF_TC_BODY(twelve_hours_have_a_midnight_and_a_noon, tc)
{
	check((struct cmos){ 0, 0, 0x12, 1, 1, 0x30, 0x20, 0 }, "2030-01-01 00:00:00");
	check((struct cmos){ 0, 0, 0x12 | CMOS_PM, 1, 1, 0x30, 0x20, 0 }, "2030-01-01 12:00:00");
	check((struct cmos){ 0, 0, 0x11 | CMOS_PM, 1, 1, 0x30, 0x20, 0 }, "2030-01-01 23:00:00");
	check((struct cmos){ 0, 0, 1, 1, 1, 30, 20, CMOS_B_BINARY }, "2030-01-01 01:00:00");
}

ATF_TC_WITHOUT_HEAD(a_century_that_is_none_is_guessed);
ATF_TC_BODY(a_century_that_is_none_is_guessed, tc)
{
	check((struct cmos){ 0, 0, 0, 1, 1, 0x26, 0, CMOS_B_24 }, "2026-01-01 00:00:00");
	check((struct cmos){ 0, 0, 0, 1, 1, 0x99, 0, CMOS_B_24 }, "1999-01-01 00:00:00");
	check((struct cmos){ 0, 0, 0, 1, 1, 0x26, 0xff, CMOS_B_24 }, "2026-01-01 00:00:00");
	check((struct cmos){ 0, 0, 0, 1, 1, 0x26, 0x21, CMOS_B_24 }, "2126-01-01 00:00:00");
}

ATF_TC_WITHOUT_HEAD(what_is_no_time_is_refused);
ATF_TC_BODY(what_is_no_time_is_refused, tc)
{
	static const struct cmos bad[] = {
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },	/* nobody answers */
		{ 0 },
		{ 0x5a, 0, 0, 1, 1, 0x26, 0x20, CMOS_B_24 },		/* not decimal */
		{ 0, 0x60, 0, 1, 1, 0x26, 0x20, CMOS_B_24 },
		{ 0, 0, 0x24, 1, 1, 0x26, 0x20, CMOS_B_24 },
		{ 0, 0, 0, 0x30, 2, 0x26, 0x20, CMOS_B_24 },
		{ 0, 0, 0, 1, 0x13, 0x26, 0x20, CMOS_B_24 },
		{ 0, 0, 0x13, 1, 1, 0x26, 0x20, 0 },			/* hour 13 of twelve */
		{ 0, 0, CMOS_PM, 1, 1, 0x26, 0x20, 0 },
		{ 0, 0, 0, 1, 1, 100, 20, CMOS_B_24 | CMOS_B_BINARY },
	};
	uint64_t s;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ATF_CHECK_MSG(!cmos_seconds(&bad[i], &s), "case %u", i);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, decimal_and_binary_say_the_same);
	ATF_TP_ADD_TC(tp, twelve_hours_have_a_midnight_and_a_noon);
	ATF_TP_ADD_TC(tp, a_century_that_is_none_is_guessed);
	ATF_TP_ADD_TC(tp, what_is_no_time_is_refused);
	return atf_no_error();
}
