/*
 * Two clocks compared: see the header.
 */
#include "arch/arm64/clock_check.h"
#include "kern/base/bits.h"

/* A sixty-fourth part is forgiven. */
enum : uint64_t { FIRST_NS = 4 * NS_PER_S, LAST_NS = 64 * NS_PER_S, FORGIVEN = 64 };

void
clock_check_start(struct clock_check *c, uint64_t ns, uint32_t seconds)
{
	*c = (struct clock_check){ .from_ns = ns, .span_ns = FIRST_NS, .from_s = seconds };
}

static enum clock_said
compare(uint64_t ns, uint64_t s)
{
	uint64_t least = s > 1 ? (s - 1) * NS_PER_S : 0, most = (s + 1) * NS_PER_S;

	if (ns < least - least / FORGIVEN)
		return CLOCK_SLOW;
	return ns > most + most / FORGIVEN ? CLOCK_FAST : CLOCK_AGREES;
}

uint64_t
clock_check_look(struct clock_check *c, uint64_t ns, uint32_t seconds, enum clock_said *said)
{
	enum clock_said now;

	*said = CLOCK_NOTHING;
	if (ns - c->from_ns < c->span_ns)
		return c->from_ns + c->span_ns;
	c->ns = ns - c->from_ns;
	c->s = seconds - c->from_s;	/* set back: a very large number, so the timer seems slow */
	now = compare(c->ns, c->s);
	if ((now == CLOCK_AGREES && c->span_ns == LAST_NS) || (now != CLOCK_AGREES && c->doubt)) {
		*said = now;
		return CLOCK_CHECK_DONE;
	}
	c->doubt = now != CLOCK_AGREES;
	if (c->doubt) {
		c->from_ns = ns;
		c->from_s = seconds;
	} else {
		c->span_ns *= 4;
	}
	return c->from_ns + c->span_ns;
}
