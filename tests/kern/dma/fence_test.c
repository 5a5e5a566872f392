/*
 * kern/dma/fence.c: tickets against time.
 *
 * LINK: kern/dma/fence.c
 */
#include <atf-c.h>

#include "kern/dma/fence.h"

/* A unit that is as far as "done", or broken. */
static uint64_t done;
static bool dead;
static unsigned polls, broken;

static enum status
poll_unit(struct iommu_unit *u, struct iommu_ticket t)
{
	polls++;
	return t.seq <= done ? OK : dead || u->broken ? E_QUARANTINED : E_WOULD_BLOCK;
}

static const struct iommu_ops ops = { .ticket_poll = poll_unit };
static struct iommu_unit unit = { .ops = &ops };

void
iommu_mark_broken(struct iommu_unit *u, const char *why)
{
	ATF_CHECK(why != NULL);
	u->broken = true;
	broken++;
}

static struct iommu_ticket ticket(uint64_t n) { return (struct iommu_ticket){ n }; }

ATF_TC_WITHOUT_HEAD(an_empty_fence_is_past);
ATF_TC_BODY(an_empty_fence_is_past, tc)
{
	struct fence f;

	fence_init(&f, &unit);
	ATF_CHECK_EQ(fence_poll(&f, 0), OK);
	fence_add(&f, ticket(0), 10);
	ATF_CHECK_EQ(fence_poll(&f, 100), OK);
	ATF_CHECK_EQ(polls, 0);
	fence_init(&f, NULL);
	fence_add(&f, ticket(0), 10);
	ATF_CHECK_EQ(fence_poll(&f, 0), OK);
	fence_init(&f, NULL);
	fence_add(&f, ticket(1), 10);	/* whose? */
	ATF_CHECK_EQ(fence_poll(&f, 0), E_QUARANTINED);
}

ATF_TC_WITHOUT_HEAD(many_tickets_are_past_with_the_latest);
ATF_TC_BODY(many_tickets_are_past_with_the_latest, tc)
{
	struct fence f;

	fence_init(&f, &unit);
	fence_add(&f, ticket(7), 1000);
	fence_add(&f, ticket(9), 900);
	fence_add(&f, ticket(8), 1000);
	ATF_CHECK_EQ(fence_poll(&f, 1), E_WOULD_BLOCK);
	done = 8;
	ATF_CHECK_EQ(fence_poll(&f, 2), E_WOULD_BLOCK);
	ATF_CHECK_EQ(fence_poll(&f, 950), E_WOULD_BLOCK);	/* the later deadline counts */
	done = 9;
	ATF_CHECK_EQ(fence_poll(&f, 960), OK);
	polls = 0;
	ATF_CHECK_EQ(fence_poll(&f, 5000), OK);			/* final */
	ATF_CHECK_EQ(polls, 0);
	fence_add(&f, ticket(10), 6000);			/* a new round */
	ATF_CHECK_EQ(fence_poll(&f, 5000), E_WOULD_BLOCK);
	ATF_CHECK_EQ(broken, 0);
}

ATF_TC_WITHOUT_HEAD(without_a_deadline_the_first_poll_begins_the_time);
ATF_TC_BODY(without_a_deadline_the_first_poll_begins_the_time, tc)
{
	struct fence f;

	fence_init(&f, &unit);
	ATF_CHECK(fence_past(&f));
	fence_add(&f, ticket(1), FENCE_FROM_POLL);
	ATF_CHECK(!fence_past(&f));
	ATF_CHECK_EQ(fence_poll(&f, 5000), E_WOULD_BLOCK);
	ATF_CHECK(fence_poll_at(&f, 5000) > 5000);
	fence_add(&f, ticket(2), FENCE_FROM_POLL);		/* another one: begins again */
	ATF_CHECK_EQ(fence_poll(&f, 9000), E_WOULD_BLOCK);
	ATF_CHECK_EQ(fence_poll(&f, 8999 + FENCE_DEADLINE_NS), E_WOULD_BLOCK);
	ATF_CHECK(!fence_past(&f));
	ATF_CHECK_EQ(broken, 0);
	ATF_CHECK_EQ(fence_poll(&f, 9000 + FENCE_DEADLINE_NS), E_QUARANTINED);
	done = 2;
	ATF_CHECK(!fence_past(&f));				/* lost is final */
	fence_init(&f, &unit);
	fence_add(&f, ticket(2), FENCE_FROM_POLL);
	ATF_CHECK(fence_past(&f));
	ATF_CHECK_EQ(f.state, FENCE_PAST);
}

/* D8, DMA-24, DMA-43 */
ATF_TC_WITHOUT_HEAD(a_late_ticket_stays_lost);
ATF_TC_BODY(a_late_ticket_stays_lost, tc)
{
	struct fence f;

	fence_init(&f, &unit);
	fence_add(&f, ticket(1), 1000);
	ATF_CHECK_EQ(fence_poll(&f, 999), E_WOULD_BLOCK);
	ATF_CHECK_EQ(fence_poll(&f, 1000), E_QUARANTINED);
	ATF_CHECK_EQ(broken, 1);
	ATF_CHECK(unit.broken);
	done = 1;
	ATF_CHECK_EQ(fence_poll(&f, 1001), E_QUARANTINED);
	fence_add(&f, ticket(1), 5000);
	ATF_CHECK_EQ(fence_poll(&f, 1001), E_QUARANTINED);
	ATF_CHECK_EQ(broken, 1);
	ATF_CHECK_EQ(f.state, FENCE_LOST);
}

ATF_TC_WITHOUT_HEAD(a_ticket_that_was_in_time_is_believed_after_the_deadline);
ATF_TC_BODY(a_ticket_that_was_in_time_is_believed_after_the_deadline, tc)
{
	struct fence f;

	fence_init(&f, &unit);
	fence_add(&f, ticket(1), 1000);
	done = 1;
	ATF_CHECK_EQ(
	    fence_poll(&f, 900000), OK); /* nobody asked before, and nobody was told otherwise */
	ATF_CHECK_EQ(broken, 0);
}

ATF_TC_WITHOUT_HEAD(a_broken_unit_loses_at_once_and_is_told_once);
ATF_TC_BODY(a_broken_unit_loses_at_once_and_is_told_once, tc)
{
	struct fence f;

	dead = true;
	fence_init(&f, &unit);
	fence_add(&f, ticket(1), 1000);
	ATF_CHECK_EQ(fence_poll(&f, 1), E_QUARANTINED);
	ATF_CHECK_EQ(broken, 0);	/* the unit said it itself */
}

ATF_TC_WITHOUT_HEAD(polls_become_rare_and_never_pass_the_deadline);
ATF_TC_BODY(polls_become_rare_and_never_pass_the_deadline, tc)
{
	struct fence f;
	uint64_t now = 0, last = 0;
	unsigned n = 0;

	fence_init(&f, &unit);
	fence_add(&f, ticket(1), 10 * NS_PER_MS);
	ATF_CHECK_EQ(fence_poll_at(&f, 0), NS_PER_US);
	while (fence_poll(&f, now) == E_WOULD_BLOCK) {
		uint64_t next = fence_poll_at(&f, now);

		ATF_REQUIRE(next > now && next <= 10 * NS_PER_MS);
		ATF_REQUIRE(next - now >= last || next == 10 * NS_PER_MS);
		last = next - now;
		now = next;
		n++;
	}
	ATF_CHECK_EQ(now, 10 * NS_PER_MS);
	ATF_CHECK(n < 60);
	ATF_CHECK_EQ(f.state, FENCE_LOST);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, an_empty_fence_is_past);
	ATF_TP_ADD_TC(tp, many_tickets_are_past_with_the_latest);
	ATF_TP_ADD_TC(tp, without_a_deadline_the_first_poll_begins_the_time);
	ATF_TP_ADD_TC(tp, a_late_ticket_stays_lost);
	ATF_TP_ADD_TC(tp, a_ticket_that_was_in_time_is_believed_after_the_deadline);
	ATF_TP_ADD_TC(tp, a_broken_unit_loses_at_once_and_is_told_once);
	ATF_TP_ADD_TC(tp, polls_become_rare_and_never_pass_the_deadline);
	return atf_no_error();
}
