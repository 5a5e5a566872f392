/*
 * The real-time clock of a PC: what its registers mean.  Pure; clock.c reads them.
 *
 * Source: MC146818 data sheet; ACPI 6.5, 5.2.9 (the century's register, in the FADT).
 */
#pragma once

#include "kern/base/types.h"

enum : uint8_t {
	CMOS_SECOND = 0,
	CMOS_MINUTE = 2,
	CMOS_HOUR = 4,
	CMOS_DAY = 7,
	CMOS_MONTH = 8,
	CMOS_YEAR = 9,
	CMOS_A = 10,
	CMOS_B = 11,
	CMOS_A_UPDATING = 0x80, /* the others may change under the reader */
	CMOS_B_24 = 2,
	CMOS_B_BINARY = 4,
	CMOS_PM = 0x80, /* of the hour, when it is one of twelve */
};

struct cmos {
	uint8_t second, minute, hour, day, month, year, century, b;
}; /* century 0: no such register */

/* Seconds since 1970; false when the registers hold no time. */
bool cmos_seconds(const struct cmos *c, uint64_t *out);
