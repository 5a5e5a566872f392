/*
 * kern/device_reset.c: one reset at a time, what it puts back, and that the end waits for it.
 *
 * LINK: kern/device_end.c kern/device_reset.c kern/device_dma.c kern/dma/domain.c
 * LINK: kern/dma/ledger.c kern/dma/iova.c kern/dma/fence.c
 * LINK: kern/dma/window.c kern/base/itree.c kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_memory.c tests/lib/fake_panic.c
 */
#include "tests/lib/claim_world.h"

/* ---- Resets that the owner asks for ---- */

static enum status
reset(uint64_t deadline)
{
	struct uregs u = { .w = { 1, deadline } };

	return sys_device_reset(&me, &u);
}

ATF_TC_WITHOUT_HEAD(a_reset_puts_back_what_it_lost);
ATF_TC_BODY(a_reset_puts_back_what_it_lost, tc)
{
	uint32_t generation;

	begin();
	generation = d.generation;
	hw.reset_at = fake_now + 100 * NS_PER_MS;
	ATF_CHECK_EQ(reset(DEADLINE_NEVER), OK);
	ATF_CHECK_STREQ(story, "MRvm");
	ATF_CHECK(d.mastering && !d.resetting && job == NULL);
	ATF_CHECK_EQ(d.generation, generation + 1);
	ATF_CHECK_EQ(irqs[0].generation, d.generation);
	ATF_CHECK_EQ(irqs[1].generation, d.generation);
	ATF_CHECK_EQ(d.obj.refs, 1 + BUFFERS);
	ATF_CHECK_EQ(hw.resets, FUNCTIONS);
}

ATF_TC_WITHOUT_HEAD(a_second_reset_is_busy_and_disturbs_nothing);
ATF_TC_BODY(a_second_reset_is_busy_and_disturbs_nothing, tc)
{
	begin();
	hw.reset_at = fake_now + 100 * NS_PER_MS;
	ATF_CHECK_EQ(reset(fake_now + NS_PER_MS), E_TIMED_OUT);
	ATF_CHECK(d.resetting && !d.mastering);
	ATF_CHECK(irqs[0].generation != d.generation);	/* one on its way is stale */
	ATF_CHECK_EQ(reset(DEADLINE_NEVER), E_BUSY);
	ATF_CHECK_EQ(hw.resets, 1);
	while (step_job())
		;
	ATF_CHECK_STREQ(story, "MRvm");
	ATF_CHECK_EQ(hw.resets, FUNCTIONS);
	hw.reset_at = fake_now + 100 * NS_PER_MS;
	ATF_CHECK_EQ(reset(DEADLINE_NEVER), OK);
}

ATF_TC_WITHOUT_HEAD(a_thread_that_dies_within_a_reset_leaves_at_once);
ATF_TC_BODY(a_thread_that_dies_within_a_reset_leaves_at_once, tc)
{
	uint64_t from;

	begin();
	from = fake_now;
	hw.reset_at = fake_now + NS_PER_S;
	me.dying = true;
	ATF_CHECK_EQ(reset(fake_now), E_CANCELLED);
	ATF_CHECK(fake_now - from < NS_PER_MS);
	ATF_CHECK(d.reset_waiter == NULL && d.resetting);
	while (step_job())
		;
	ATF_CHECK(d.mastering && !d.resetting);
}

/* The end comes at each moment of a reset: doorbells go at once, the function is left alone until
 * the reset is over. */
ATF_TC_WITHOUT_HEAD(the_end_waits_for_a_reset_under_way);
ATF_TC_BODY(the_end_waits_for_a_reset_under_way, tc)
{
	for (unsigned steps = 0; steps < 3; steps++) {
		begin();
		hw.reset_at = fake_now + 100 * NS_PER_MS;
		ATF_CHECK_EQ(reset(fake_now), E_TIMED_OUT);
		for (unsigned i = 0; i < steps; i++)
			(void)step_job();
		if (job == NULL)
			break;
		begin_end();
		ATF_REQUIRE(step_job());
		ATF_CHECK(!hw.windows);
		while (step_job())
			;
		is_free();
		ATF_CHECK_STREQ(story, steps == 0 ? "MWRMDVBURF" : "MRWRMDVBURF");
		ATF_CHECK_EQ(hw.resets, 2 * FUNCTIONS);
		ATF_CHECK_EQ(d.obj.refs, 1 + BUFFERS);
	}
}

/* Likewise a live test, whose claimer gave up. */
ATF_TC_WITHOUT_HEAD(the_end_waits_for_a_live_test_under_way);
ATF_TC_BODY(the_end_waits_for_a_live_test_under_way, tc)
{
	begin();
	d.canary = (struct device_canary *)(uintptr_t)8;
	d.obj.refs++;
	test_steps = 3;
	worker_add(&d.work);
	ATF_REQUIRE(step_job());
	begin_end();
	while (step_job())
		;
	is_free();
	ATF_CHECK_STREQ(story, "TWTMDVBURF");
	ATF_CHECK_EQ(test_steps, 0);
	ATF_CHECK_EQ(d.obj.refs, 1 + BUFFERS);
}

ATF_TC_WITHOUT_HEAD(after_a_reset_that_failed_mastering_stays_off);
ATF_TC_BODY(after_a_reset_that_failed_mastering_stays_off, tc)
{
	begin();
	hw.reset_at = UINT64_MAX;
	ATF_CHECK_EQ(reset(DEADLINE_NEVER), E_IO);
	ATF_CHECK(!d.resetting && !d.mastering);
	ATF_CHECK_EQ(device_master_on(&d), E_NO_DEVICE);
	hw.reset_at = 0;
	ATF_CHECK_EQ(reset(DEADLINE_NEVER), OK);
	ATF_CHECK(d.mastering);
}

/* A reset that the driver asked for is none of the end's: the device ran since. */
ATF_TC_WITHOUT_HEAD(a_reset_before_the_end_is_not_the_ends);
ATF_TC_BODY(a_reset_before_the_end_is_not_the_ends, tc)
{
	begin_brokered();
	ATF_REQUIRE_EQ(reset(DEADLINE_NEVER), OK);
	ATF_REQUIRE_EQ(hw.resets, FUNCTIONS);
	hw.resets = 0;			/* unit_detach looks for the end's own */
	memset(story, 0, sizeof(story));
	run_end();
	ATF_CHECK_STREQ(story, "WMDVRBUQCF");
	is_free();
	begin();
	ATF_REQUIRE_EQ(reset(DEADLINE_NEVER), OK);
	memset(story, 0, sizeof(story));
	run_end();
	ATF_CHECK_STREQ(story, "WMDVBURF");
	is_free();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_reset_puts_back_what_it_lost);
	ATF_TP_ADD_TC(tp, a_second_reset_is_busy_and_disturbs_nothing);
	ATF_TP_ADD_TC(tp, a_thread_that_dies_within_a_reset_leaves_at_once);
	ATF_TP_ADD_TC(tp, the_end_waits_for_a_reset_under_way);
	ATF_TP_ADD_TC(tp, the_end_waits_for_a_live_test_under_way);
	ATF_TP_ADD_TC(tp, after_a_reset_that_failed_mastering_stays_off);
	ATF_TP_ADD_TC(tp, a_reset_before_the_end_is_not_the_ends);
	return atf_no_error();
}
