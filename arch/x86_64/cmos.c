/*
 * Binary or decimal digits, twelve hours or 24, with or without a century.
 */
#include "arch/x86_64/cmos.h"
#include "kern/base/date.h"

/* 0xff for what is not two decimal digits. */
static uint8_t
digits(uint8_t v, bool binary)
{
	if (binary)
		return v;
	return v >> 4 > 9 || (v & 15) > 9 ? 0xff : (uint8_t)((v >> 4) * 10 + (v & 15));
}

bool
cmos_seconds(const struct cmos *c, uint64_t *out)
{
	bool binary = (c->b & CMOS_B_BINARY) != 0, twelve = (c->b & CMOS_B_24) == 0;
	uint8_t century = digits(c->century, binary), year = digits(c->year, binary);
	uint8_t hour = digits(twelve ? c->hour & ~CMOS_PM : c->hour, binary);
	struct date d = {
		.month = digits(c->month, binary),
		.day = digits(c->day, binary),
		.minute = digits(c->minute, binary),
		.second = digits(c->second, binary),
	};

	if (year > 99)
		return false;
	/* A register that holds no century is none. */
	d.year = year + 100u * (century >= 19 && century <= 99 ? century : year < 70 ? 20 : 19);
	if (twelve) {
		if (hour < 1 || hour > 12)
			return false;
		hour = (uint8_t)(hour % 12 + ((c->hour & CMOS_PM) != 0 ? 12 : 0));
	}
	d.hour = hour;
	return date_to_seconds(&d, out);
}
