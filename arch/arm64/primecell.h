/*
 * Which PrimeCell a page of registers is.
 *
 * All of Arm's PrimeCells have the same eight registers at the end of their page: one byte in each,
 * four that say "PrimeCell", four that say which part and whose.  Only these are read, those that
 * are the same in all first, and the others only when they are right.
 *
 * Manual: PL011 (DDI 0183) 3.3.11 to 3.3.18; the same in the manual of each part.
 */
#pragma once

#include "kern/base/types.h"

enum : uint32_t { PRIMECELL_UART = 0x011, PRIMECELL_RTC = 0x031 };	/* PL011, PL031 */

bool primecell_is(volatile uint8_t *page, uint32_t part);
