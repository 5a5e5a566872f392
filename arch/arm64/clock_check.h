/*
 * The generic timer against the real-time clock: does it run at the rate that firmware wrote down?
 *
 * The real-time clock counts whole seconds.  Where two looks at it differ by n, more than n - 1 and
 * less than n + 1 seconds have passed.  So nobody waits for an edge: a look costs one register, and
 * the longer two looks lie apart, the less the second that is not known matters.  There are three,
 * 4, 16 and 64 seconds after the first; the last one sees a rate that is wrong by 5 %.
 *
 * Doubts   Who sets the real-time clock, or stops the machine for a while, does the timer wrong.
 *          So what does not fit is measured again, for as long, and counts if it does not fit then.
 * Not here what is done about it (clock.c).  Pure.
 */
#pragma once

#include "kern/base/types.h"

enum : uint64_t { CLOCK_CHECK_DONE = UINT64_MAX };

enum clock_said : uint8_t {
	CLOCK_NOTHING,		/* yet */
	CLOCK_AGREES,
	CLOCK_SLOW,		/* the timer counts less than the real-time clock */
	CLOCK_FAST,		/* it counts more, or the real-time clock does not move */
};

struct clock_check {
	uint64_t from_ns, span_ns;
	uint32_t from_s;
	bool doubt;
	uint64_t ns;		/* what was compared last: by the timer, and by the other */
	uint32_t s;
};

void clock_check_start(struct clock_check *c, uint64_t ns, uint32_t seconds);

/*
 * A later look: the timer's nanoseconds and the real-time clock's seconds.  Returns when to look
 * again, or CLOCK_CHECK_DONE; *said is not CLOCK_NOTHING only then.  A look before it is due
 * changes nothing.
 */
uint64_t clock_check_look(
    struct clock_check *c, uint64_t ns, uint32_t seconds, enum clock_said *said);
