/*
 * usr/lib/supervise.c: restart policy over time.
 *
 * LINK: usr/lib/supervise.c
 */
#include <atf-c.h>

#include "usr/lib/supervise.h"

static const struct restart_policy limit = { RESTART_LIMIT, 4, { 100, 350 }, 1000 };
static const struct restart_policy always = { RESTART_ALWAYS, 4, { 100, 350 }, 1000 };
static const struct restart_policy never = { RESTART_NEVER, 4, { 100, 350 }, 1000 };

/* Started now, serving at once, ended "lived" ms later: the verdict, and the wait in ms. */
static enum supervise_verdict
live(struct supervision *s, const struct restart_policy *p, enum exit_reason r, uint64_t *now_ms,
    uint64_t lived, uint64_t *wait)
{
	uint64_t at = 0;
	enum supervise_verdict v;

	supervise_started(s);
	supervise_serves(s, *now_ms * NS_PER_MS);
	*now_ms += lived;
	v = supervise_ended(s, p, r, *now_ms * NS_PER_MS, &at);
	*wait = at / NS_PER_MS - *now_ms;
	*now_ms = at / NS_PER_MS;
	return v;
}

ATF_TC_WITHOUT_HEAD(quick_ends_wait_longer_each_time_and_are_given_up);
ATF_TC_BODY(quick_ends_wait_longer_each_time_and_are_given_up, tc)
{
	struct supervision s = { 0 };
	uint64_t now = 5000, wait;

	ATF_CHECK_EQ(live(&s, &limit, EXIT_FAULT, &now, 10, &wait), SUPERVISE_RESTART);
	ATF_CHECK_EQ(wait, 0);
	ATF_CHECK_EQ(live(&s, &limit, EXIT_NORMAL, &now, 10, &wait), SUPERVISE_RESTART);
	ATF_CHECK_EQ(wait, 100);
	ATF_CHECK_EQ(live(&s, &limit, EXIT_QUOTA, &now, 999, &wait), SUPERVISE_RESTART);
	ATF_CHECK_EQ(wait, 200);
	ATF_CHECK_EQ(live(&s, &limit, EXIT_FAULT, &now, 10, &wait), SUPERVISE_GIVE_UP);
}

ATF_TC_WITHOUT_HEAD(a_long_life_forgets_quick_ends);
ATF_TC_BODY(a_long_life_forgets_quick_ends, tc)
{
	struct supervision s = { 0 };
	uint64_t now = 0, wait;

	for (unsigned i = 0; i < 20; i++) {
		ATF_CHECK_EQ(live(&s, &limit, EXIT_FAULT, &now, 1000, &wait), SUPERVISE_RESTART);
		ATF_CHECK_EQ(wait, 0);
		ATF_CHECK_EQ(live(&s, &limit, EXIT_FAULT, &now, 10, &wait), SUPERVISE_RESTART);
		ATF_CHECK_EQ(wait, 100);
		ATF_CHECK_EQ(live(&s, &limit, EXIT_FAULT, &now, 10, &wait), SUPERVISE_RESTART);
		ATF_CHECK_EQ(wait, 200);
	}
}

/* A controller that stays fatal: its driver needs half a minute to find that out, each time. */
ATF_TC_WITHOUT_HEAD(an_end_before_it_served_is_quick_however_late);
ATF_TC_BODY(an_end_before_it_served_is_quick_however_late, tc)
{
	struct supervision s = { 0 };
	uint64_t now = 0, at, wait;

	/* It served for long, before. */
	ATF_CHECK_EQ(live(&s, &limit, EXIT_NORMAL, &now, 100000, &wait), SUPERVISE_RESTART);
	ATF_CHECK_EQ(s.quick, 1);
	now *= NS_PER_MS;
	for (unsigned i = 0; i < 2; i++) {
		supervise_started(&s);
		now += 30000 * NS_PER_MS;
		ATF_CHECK_EQ(supervise_ended(&s, &limit, EXIT_NORMAL, now, &at), SUPERVISE_RESTART);
		ATF_CHECK_EQ(at - now, (i == 0 ? 100 : 200) * NS_PER_MS);
		now = at;
	}
	supervise_started(&s);
	ATF_CHECK_EQ(supervise_ended(&s, &limit, EXIT_NORMAL, now + 30000 * NS_PER_MS, &at),
	    SUPERVISE_GIVE_UP);
	ATF_CHECK_EQ(s.quick, 4);
}

ATF_TC_WITHOUT_HEAD(a_kill_counts_for_nothing);
ATF_TC_BODY(a_kill_counts_for_nothing, tc)
{
	struct supervision s = { 0 };
	uint64_t now = 0, wait;

	for (unsigned i = 0; i < 1000; i++) {
		ATF_REQUIRE_EQ(live(&s, &limit, EXIT_KILLED, &now, 1, &wait), SUPERVISE_RESTART);
		ATF_REQUIRE_EQ(wait, 0);
	}
	ATF_CHECK_EQ(s.quick, 0);
}

ATF_TC_WITHOUT_HEAD(always_never_gives_up_and_never_spins);
ATF_TC_BODY(always_never_gives_up_and_never_spins, tc)
{
	struct supervision s = { 0 };
	uint64_t now = 0, wait;

	for (unsigned i = 0; i < 100; i++) {
		ATF_REQUIRE_EQ(live(&s, &always, EXIT_FAULT, &now, 0, &wait), SUPERVISE_RESTART);
		ATF_REQUIRE_EQ(wait, i == 0 ? 0 : i == 1 ? 100 : i == 2 ? 200 : 350);
	}
	s.quick = UINT32_MAX;
	ATF_CHECK_EQ(live(&s, &always, EXIT_FAULT, &now, 0, &wait), SUPERVISE_RESTART);
	ATF_CHECK_EQ(wait, 350);
}

ATF_TC_WITHOUT_HEAD(once_is_once);
ATF_TC_BODY(once_is_once, tc)
{
	struct supervision s = { 0 };
	uint64_t now = 0, wait;

	ATF_CHECK_EQ(live(&s, &never, EXIT_NORMAL, &now, 1, &wait), SUPERVISE_FINISHED);
	ATF_CHECK_EQ(live(&s, &never, EXIT_KILLED, &now, 1, &wait), SUPERVISE_FINISHED);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, quick_ends_wait_longer_each_time_and_are_given_up);
	ATF_TP_ADD_TC(tp, a_long_life_forgets_quick_ends);
	ATF_TP_ADD_TC(tp, an_end_before_it_served_is_quick_however_late);
	ATF_TP_ADD_TC(tp, a_kill_counts_for_nothing);
	ATF_TP_ADD_TC(tp, always_never_gives_up_and_never_spins);
	ATF_TP_ADD_TC(tp, once_is_once);
	return atf_no_error();
}
