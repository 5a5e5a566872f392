/*
 * Dates of the Gregorian calendar and seconds since 1970, UTC, without leap seconds.
 */
#pragma once

#include "kern/base/types.h"

struct date {
	uint32_t year;
	uint8_t month, day, hour, minute, second;
}; /* month and day from 1 */

enum { DATE_TEXT = 20 };	/* "2031-02-03 04:05:06" and its end */

/* False when d is no date, or before 1970 or after 9999. */
bool date_to_seconds(const struct date *d, uint64_t *out);

/* Up to the end of year 9999; later seconds give its last. */
void date_of_seconds(uint64_t seconds, struct date *out);

void date_text(uint64_t seconds, char out[DATE_TEXT]);
