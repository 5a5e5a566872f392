/*
 * Days are counted in years that begin in March: so the leap day is the last of its year, and the
 * months before it have 31, 30, 31, 30, 31 days over and over: 153 in five.  400 years have 146,097
 * days.
 */
#include "kern/base/date.h"
#include "kern/base/fmt.h"

enum : uint32_t { DAYS_400 = 146097, TO_1970 = 719468 }; /* days from 1 March 0 to 1 January 1970 */
enum : uint64_t { DAY = 86400, LAST = 253402300799 };		/* 9999-12-31 23:59:59 */

static bool
leap(uint32_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

bool
date_to_seconds(const struct date *d, uint64_t *out)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint32_t y = d->year, m;

	if (y < 1970 || y > 9999 || d->month < 1 || d->month > 12 || d->day < 1 ||
	    d->day > days[d->month - 1] + (d->month == 2 && leap(y)) ||
	    d->hour > 23 || d->minute > 59 || d->second > 59)
		return false;
	m = d->month > 2 ? d->month - 3u : d->month + 9u;
	y -= d->month <= 2;
	*out = (365ull * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d->day - 1 - TO_1970) *
		DAY +
	    d->hour * 3600u + d->minute * 60u + d->second;
	return true;
}

void
date_of_seconds(uint64_t s, struct date *out)
{
	uint32_t days, in_400, y, in_year, m, rest;

	if (s > LAST)
		s = LAST;
	days = (uint32_t)(s / DAY) + TO_1970;
	rest = (uint32_t)(s % DAY);
	in_400 = days % DAYS_400;
	/* Each leap day is in a year that it ends: 4 years, but not 100, but 400. */
	y = (in_400 - in_400 / 1460 + in_400 / 36524 - in_400 / 146096) / 365;
	in_year = in_400 - (365 * y + y / 4 - y / 100);
	m = (5 * in_year + 2) / 153;
	*out = (struct date){
		.year = y + days / DAYS_400 * 400 + (m >= 10),
		.month = (uint8_t)(m < 10 ? m + 3 : m - 9),
		.day = (uint8_t)(in_year - (153 * m + 2) / 5 + 1),
		.hour = (uint8_t)(rest / 3600),
		.minute = (uint8_t)(rest / 60 % 60),
		.second = (uint8_t)(rest % 60),
	};
}

void
date_text(uint64_t seconds, char out[DATE_TEXT])
{
	struct date d;

	date_of_seconds(seconds, &d);
	fmt_buf(out, DATE_TEXT, "%04u-%02u-%02u %02u:%02u:%02u", d.year, d.month, d.day, d.hour,
	    d.minute, d.second);
}
