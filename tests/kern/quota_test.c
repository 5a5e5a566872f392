/*
 * kern/quota.h: what a process may use, out of what its maker has.
 * LINK: kern/quota.c tests/lib/fake_panic.c
 */
#include <atf-c.h>

#include "kern/abi/process.h"
#include "kern/quota.h"

static const struct process_limits ten = {
	.pages = 10, .objects = 10, .threads = 10, .processes = 10, .vectors = 10
};

static void
check_used(const struct quota *q, uint64_t n)
{
	ATF_CHECK_EQ(q->pages, n);
	ATF_CHECK_EQ(q->objects, n);
	ATF_CHECK_EQ(q->threads, n);
	ATF_CHECK_EQ(q->processes, n);
	ATF_CHECK_EQ(q->vectors, n);
}

ATF_TC_WITHOUT_HEAD(a_quota_is_the_limit);
ATF_TC_BODY(a_quota_is_the_limit, tc)
{
	struct quota q;

	ATF_REQUIRE_EQ(quota_split(NULL, &ten, &q), OK);
	ATF_CHECK_EQ(quota_take_threads(&q, 7), OK);
	ATF_CHECK_EQ(quota_take_threads(&q, 4), E_QUOTA);
	ATF_CHECK_EQ(quota_take_threads(&q, UINT64_MAX), E_QUOTA);
	ATF_CHECK_EQ(quota_take_threads(&q, 3), OK);
	ATF_CHECK_EQ(quota_take_threads(&q, 1), E_QUOTA);
	quota_give_threads(&q, 10);
	check_used(&q, 0);
}

ATF_TC_WITHOUT_HEAD(a_child_gets_all_that_it_asks_for_or_nothing);
ATF_TC_BODY(a_child_gets_all_that_it_asks_for_or_nothing, tc)
{
	struct process_limits wanted[] = { ten, ten, ten, ten, ten };
	struct quota parent, child;

	wanted[0].pages++;
	wanted[1].objects++;
	wanted[2].threads++;
	wanted[3].processes++;
	wanted[4].vectors++;
	ATF_REQUIRE_EQ(quota_split(NULL, &ten, &parent), OK);
	for (unsigned i = 0; i < 5; i++) {
		ATF_CHECK_EQ(quota_split(&parent, &wanted[i], &child), E_QUOTA);
		check_used(&parent, 0);
	}
	ATF_CHECK_EQ(quota_split(&parent, &ten, &child), OK);
	check_used(&parent, 10);
	check_used(&child, 0);
}

ATF_TC_WITHOUT_HEAD(what_a_child_uses_comes_back_when_it_does_not_any_more);
ATF_TC_BODY(what_a_child_uses_comes_back_when_it_does_not_any_more, tc)
{
	struct quota parent, child;

	ATF_REQUIRE_EQ(quota_split(NULL, &ten, &parent), OK);
	ATF_REQUIRE_EQ(quota_split(&parent, &ten, &child), OK);
	ATF_CHECK_EQ(quota_take_pages(&child, 4), OK);
	ATF_CHECK_EQ(quota_take_vectors(&child, 1), OK);
	quota_join(&parent, &child);
	ATF_CHECK_EQ(parent.pages, 4);
	ATF_CHECK_EQ(parent.vectors, 1);
	ATF_CHECK_EQ(parent.objects, 0);
	ATF_CHECK_EQ(quota_take_pages(&child, 1), E_QUOTA);
	quota_give_pages(&child, 4);
	quota_give_vectors(&child, 1);
	quota_join(&parent, &child);
	check_used(&parent, 0);
}

ATF_TC_WITHOUT_HEAD(what_is_taken_during_a_join_is_not_given_back_twice);
ATF_TC_BODY(what_is_taken_during_a_join_is_not_given_back_twice, tc)
{
	struct quota parent, child;

	ATF_REQUIRE_EQ(quota_split(NULL, &ten, &parent), OK);
	ATF_REQUIRE_EQ(quota_split(&parent, &ten, &child), OK);
	ATF_CHECK_EQ(quota_take_objects(&child, 4), OK);
	quota_join(&parent, &child);
	ATF_CHECK_EQ(parent.objects, 4);
	child.objects += 2;	/* by who had read the limit before */
	ATF_CHECK_EQ(quota_take_objects(&child, 1), E_QUOTA);
	quota_join(&parent, &child);
	ATF_CHECK_EQ(parent.objects, 4);
	ATF_CHECK_EQ(child.objects_max, 4);
	quota_give_objects(&child, 3);
	quota_join(&parent, &child);
	ATF_CHECK_EQ(parent.objects, 3);
	quota_give_objects(&child, 3);
	quota_join(&parent, &child);
	check_used(&parent, 0);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_quota_is_the_limit);
	ATF_TP_ADD_TC(tp, a_child_gets_all_that_it_asks_for_or_nothing);
	ATF_TP_ADD_TC(tp, what_a_child_uses_comes_back_when_it_does_not_any_more);
	ATF_TP_ADD_TC(tp, what_is_taken_during_a_join_is_not_given_back_twice);
	return atf_no_error();
}
