/*
 * arch/arm64/clock_check.h: two clocks, of which one counts whole seconds.
 * LINK: arch/arm64/clock_check.c
 */
#include <atf-c.h>

#include "arch/arm64/clock_check.h"

/*
 * A machine: real time in ns, a timer that counts rate/1000 of it, and a real-time clock whose next
 * second comes "phase" ns after the first look.  It is late by "late" ns for each look.
 */
struct world {
	uint64_t real, rate, phase, late;
	uint64_t looks;
	int64_t set;		/* what somebody added to the real-time clock */
	bool stands;
};

static uint64_t timer(const struct world *w) { return w->real / 1000 * w->rate + 12345; }

static uint32_t
seconds(const struct world *w)
{
	uint64_t s = w->stands ? 0 : (w->real + NS_PER_S - w->phase) / NS_PER_S;

	return (uint32_t)(1700000000 + (int64_t)s + w->set);
}

/* One look, when it is due. */
static enum clock_said
look(struct world *w, struct clock_check *c, uint64_t *due)
{
	enum clock_said said;

	if (*due > timer(w))
		w->real += (*due - timer(w)) * 1000 / w->rate + 1000;
	w->real += w->late;
	w->looks++;
	*due = clock_check_look(c, timer(w), seconds(w), &said);
	return said;
}

static enum clock_said
verdict(struct world *w)
{
	struct clock_check c;
	uint64_t due = 0;
	enum clock_said said = CLOCK_NOTHING;

	clock_check_start(&c, timer(w), seconds(w));
	while (said == CLOCK_NOTHING) {
		said = look(w, &c, &due);
		ATF_REQUIRE_EQ(said != CLOCK_NOTHING, due == CLOCK_CHECK_DONE);
		ATF_REQUIRE_MSG(w->looks < 12, "no end");
	}
	return said;
}

ATF_TC_WITHOUT_HEAD(a_right_timer_is_never_accused);
ATF_TC_BODY(a_right_timer_is_never_accused, tc)
{
	static const uint64_t lates[] = { 0, 3 * NS_PER_MS, 999 * NS_PER_MS, 70 * NS_PER_S };

	for (uint64_t phase = 0; phase < NS_PER_S; phase += 7 * NS_PER_MS)
		for (uint64_t rate = 990; rate <= 1010; rate++)
			for (unsigned i = 0; i < sizeof(lates) / sizeof(lates[0]); i++) {
				struct world w = { .rate = rate, .phase = phase, .late = lates[i] };

				ATF_REQUIRE_EQ(verdict(&w), CLOCK_AGREES);
				ATF_REQUIRE(w.looks <= 4);	/* the first is too early */
			}
}

ATF_TC_WITHOUT_HEAD(a_wrong_rate_is_found_whatever_the_phase);
ATF_TC_BODY(a_wrong_rate_is_found_whatever_the_phase, tc)
{
	static const uint64_t slow[] = { 10, 100, 500, 900, 949 },
			      fast[] = { 1051, 1100, 2000, 10000 };

	for (uint64_t phase = 0; phase < NS_PER_S; phase += 7 * NS_PER_MS) {
		for (unsigned i = 0; i < sizeof(slow) / sizeof(slow[0]); i++) {
			struct world w = { .rate = slow[i], .phase = phase };

			ATF_REQUIRE_EQ(verdict(&w), CLOCK_SLOW);
		}
		for (unsigned i = 0; i < sizeof(fast) / sizeof(fast[0]); i++) {
			struct world w = { .rate = fast[i], .phase = phase };

			ATF_REQUIRE_EQ(verdict(&w), CLOCK_FAST);
		}
	}
}

ATF_TC_WITHOUT_HEAD(a_gross_error_is_found_within_ten_seconds);
ATF_TC_BODY(a_gross_error_is_found_within_ten_seconds, tc)
{
	struct world w = { .rate = 10000 }, stopped = { .rate = 1000, .stands = true };

	ATF_CHECK_EQ(verdict(&w), CLOCK_FAST);
	ATF_CHECK(timer(&w) < 10 * NS_PER_S);
	ATF_CHECK_EQ(verdict(&stopped), CLOCK_FAST);
	ATF_CHECK(timer(&stopped) < 10 * NS_PER_S);
}

/* Set forward, set back, and a machine that was stopped: once each, then all is well. */
ATF_TC_WITHOUT_HEAD(a_clock_that_is_set_once_accuses_nobody);
ATF_TC_BODY(a_clock_that_is_set_once_accuses_nobody, tc)
{
	static const int64_t sets[] = { 3600, -3600, 20, -20, INT32_MAX, -1700000000 };

	for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		for (unsigned when = 1; when <= 4; when++) {
			struct world w = { .rate = 1000, .phase = 1 };
			struct clock_check c;
			uint64_t due = 0;
			enum clock_said said = CLOCK_NOTHING;

			clock_check_start(&c, timer(&w), seconds(&w));
			while (said == CLOCK_NOTHING && w.looks < 12) {
				if (w.looks == when)
					w.set = sets[i];
				said = look(&w, &c, &due);
			}
			ATF_CHECK_EQ_MSG(
			    said, CLOCK_AGREES, "%lld at look %u", (long long)sets[i], when);
		}
}

/* The real-time clock's 32 bits end in 2106. */
ATF_TC_WITHOUT_HEAD(its_seconds_may_wrap);
ATF_TC_BODY(its_seconds_may_wrap, tc)
{
	struct world w = { .rate = 1000, .phase = 1, .set = (int64_t)UINT32_MAX - 1700000000 - 2 };

	ATF_CHECK_EQ(verdict(&w), CLOCK_AGREES);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_right_timer_is_never_accused);
	ATF_TP_ADD_TC(tp, a_wrong_rate_is_found_whatever_the_phase);
	ATF_TP_ADD_TC(tp, a_gross_error_is_found_within_ten_seconds);
	ATF_TP_ADD_TC(tp, a_clock_that_is_set_once_accuses_nobody);
	ATF_TP_ADD_TC(tp, its_seconds_may_wrap);
	return atf_no_error();
}
