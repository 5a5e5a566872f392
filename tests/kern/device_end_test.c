/*
 * kern/device_end.c: the end of a claim, in order (D7), and with each of its steps failing (D8).
 *
 * Requirements: A3 V6
 *
 * LINK: kern/device_end.c kern/device_reset.c kern/device_dma.c kern/dma/domain.c
 * LINK: kern/dma/ledger.c kern/dma/iova.c kern/dma/fence.c
 * LINK: kern/dma/window.c kern/base/itree.c kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_memory.c tests/lib/fake_panic.c
 */
#include "tests/lib/claim_world.h"

ATF_TC_WITHOUT_HEAD(everything_happens_in_one_order);
ATF_TC_BODY(everything_happens_in_one_order, tc)
{
	begin();
	run_end();
	ATF_CHECK_STREQ(story, "WMDVBURF");
	is_free();
	ATF_CHECK(hw.unmaps_most <= 32);	/* bounded steps */
	ATF_CHECK_EQ(hw.unmaps, BUFFERS);
	ATF_CHECK_EQ(d.obj.refs, 1 + BUFFERS);	/* the end's own is given back */
	ATF_CHECK(told != 0);
}

ATF_TC_WITHOUT_HEAD(each_step_waits_for_the_one_before);
ATF_TC_BODY(each_step_waits_for_the_one_before, tc)
{
	begin();
	hw.idle_at = fake_now + 500 * NS_PER_MS;
	hw.ticket_ns = 300 * NS_PER_MS;
	hw.reset_at = fake_now + 3 * NS_PER_S;
	ATF_CHECK(run_end() >= 3 * NS_PER_S);
	ATF_CHECK_STREQ(story, "WMDVBwUwRF");
	is_free();
}

ATF_TC_WITHOUT_HEAD(transactions_that_stay_pending_lead_to_quarantine);
ATF_TC_BODY(transactions_that_stay_pending_lead_to_quarantine, tc)
{
	begin();
	hw.idle_at = UINT64_MAX;
	ATF_CHECK(run_end() >= DRAIN_NS);
	ATF_CHECK_STREQ(
	    story, "WMDVBR"); /* blocked all the same, nothing is unmapped, and no table goes */
	is_quarantined(BUFFERS);
	ATF_CHECK(fake_logged("transactions still pending"));
}

/* A mapper that gets no CPU holds its window: bus mastering does not wait for it for ever. */
ATF_TC_WITHOUT_HEAD(a_window_that_does_not_go_keeps_nothing_mastering);
ATF_TC_BODY(a_window_that_does_not_go_keeps_nothing_mastering, tc)
{
	uint64_t from;

	begin();
	from = fake_now;
	hw.mapped_at = from + 10 * NS_PER_S;
	begin_end();
	while (hw.master && step_job())
		;
	ATF_CHECK(!hw.master && hw.windows);
	ATF_CHECK(fake_now - from >= 100 * NS_PER_MS && fake_now - from < 110 * NS_PER_MS);
	while (step_job())
		;
	ATF_CHECK_STREQ(story, "MWMDVBURF");
	ATF_CHECK(fake_now - from >= 10 * NS_PER_S);
	is_free();
	/* One that goes soon is waited for, in the usual order. */
	begin();
	hw.mapped_at = fake_now + 50 * NS_PER_MS;
	run_end();
	ATF_CHECK_STREQ(story, "WMDVBURF");
	is_free();
}

ATF_TC_WITHOUT_HEAD(a_block_that_is_not_confirmed_leads_to_quarantine);
ATF_TC_BODY(a_block_that_is_not_confirmed_leads_to_quarantine, tc)
{
	begin();
	hw.ticket_ns = UINT64_MAX;
	ATF_CHECK(run_end() >= FENCE_DEADLINE_NS);
	ATF_CHECK_STREQ(story, "WMDVBwR");
	is_quarantined(BUFFERS);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK(fake_logged("did not confirm that it is blocked"));
}

ATF_TC_WITHOUT_HEAD(an_unmap_that_is_not_confirmed_leads_to_quarantine);
ATF_TC_BODY(an_unmap_that_is_not_confirmed_leads_to_quarantine, tc)
{
	begin();
	hw.unmap_hangs = true;
	ATF_CHECK(run_end() >= FENCE_DEADLINE_NS);
	ATF_CHECK_STREQ(story, "WMDVBUwR");
	is_quarantined(BUFFERS);
	ATF_CHECK_EQ(fake_broken, 1);
}

ATF_TC_WITHOUT_HEAD(a_unit_that_broke_before_confirms_nothing);
ATF_TC_BODY(a_unit_that_broke_before_confirms_nothing, tc)
{
	begin();
	unit.broken = true;
	run_end();
	ATF_CHECK_STREQ(story, "WMDVBR");
	is_quarantined(BUFFERS);
}

ATF_TC_WITHOUT_HEAD(brokered_the_reset_comes_before_anything_is_let_go);
ATF_TC_BODY(brokered_the_reset_comes_before_anything_is_let_go, tc)
{
	begin_brokered();
	hw.reset_at = fake_now + 3 * NS_PER_S;
	ATF_CHECK(run_end() >= 3 * NS_PER_S);
	ATF_CHECK_STREQ(story, "WMDVRBUQCF");
	is_free();
	ATF_CHECK_EQ(checks_gone, BUFFERS);
}

ATF_TC_WITHOUT_HEAD(brokered_a_reset_that_fails_leads_to_quarantine);
ATF_TC_BODY(brokered_a_reset_that_fails_leads_to_quarantine, tc)
{
	begin_brokered();
	hw.reset_at = UINT64_MAX;
	run_end();
	ATF_CHECK_STREQ(story, "WMDVRBQC");
	is_quarantined(BUFFERS);
	ATF_CHECK(fake_logged("its reset did not work"));
}

ATF_TC_WITHOUT_HEAD(brokered_transactions_that_stay_pending_lead_to_quarantine);
ATF_TC_BODY(brokered_transactions_that_stay_pending_lead_to_quarantine, tc)
{
	begin_brokered();
	hw.idle_at = UINT64_MAX;
	ATF_CHECK(run_end() >= DRAIN_NS);
	is_quarantined(BUFFERS);
}

ATF_TC_WITHOUT_HEAD(queues_are_let_go_after_the_last_invalidation);
ATF_TC_BODY(queues_are_let_go_after_the_last_invalidation, tc)
{
	begin();
	d.check = &check;
	hw.ticket_ns = 300 * NS_PER_MS;
	run_end();
	ATF_CHECK_STREQ(story, "WMDVBwUwRQCF");
	is_free();
}

/* ---- Cards that go ---- */

static void
unplug(bool gone)
{
	for (unsigned i = 0; i < FUNCTIONS; i++)
		ATF_CHECK(!device_unplug(&fn[i], gone));
	ATF_CHECK_EQ(d.state, DEVICE_ENDING);
	while (step_job())
		;
	for (unsigned i = 0; i < FUNCTIONS; i++)
		ATF_CHECK(device_unplug(&fn[i], gone) && fn[i].leaving);
	ATF_CHECK_EQ(d.obj.refs, 1 + BUFFERS);
}

ATF_TC_WITHOUT_HEAD(a_card_that_is_to_go_ends_its_claim_in_the_same_order);
ATF_TC_BODY(a_card_that_is_to_go_ends_its_claim_in_the_same_order, tc)
{
	begin();
	unplug(false);
	ATF_CHECK_STREQ(story, "WMDVBURF");
	is_free();
	begin_brokered();
	unplug(false);
	ATF_CHECK_STREQ(story, "WMDVRBUQCF");
	is_free();
}

/* Nobody can reset it, and nobody need; memory waits for the unit all the same. */
ATF_TC_WITHOUT_HEAD(a_card_that_is_gone_waits_for_the_unit_alone);
ATF_TC_BODY(a_card_that_is_gone_waits_for_the_unit_alone, tc)
{
	begin();
	hw.reset_at = UINT64_MAX;
	hw.ticket_ns = 300 * NS_PER_MS;
	unplug(true);
	ATF_CHECK_STREQ(story, "WMDVBwUwF");
	is_free();
	begin();
	hw.ticket_ns = UINT64_MAX;
	unplug(true);
	is_quarantined(BUFFERS);
}

/* Not gone, as far as anybody knows: it does not answer, and its state stays with it. */
ATF_TC_WITHOUT_HEAD(a_card_whose_port_confirms_nothing_is_quarantined);
ATF_TC_BODY(a_card_whose_port_confirms_nothing_is_quarantined, tc)
{
	begin_brokered();
	hw.reset_at = UINT64_MAX;
	unplug(false);
	is_quarantined(BUFFERS);
}

/* A claim that is being made is its maker's. */
ATF_TC_WITHOUT_HEAD(a_card_that_goes_while_it_is_claimed_waits);
ATF_TC_BODY(a_card_that_goes_while_it_is_claimed_waits, tc)
{
	begin();
	d.opening = true;
	ATF_CHECK(!device_unplug(&fn[0], true));
	ATF_CHECK(fn[0].leaving && job == NULL);
	ATF_CHECK_EQ(d.state, DEVICE_CLAIMED);
	d.opening = false;
	unplug(true);
	is_free();
}

/* ---- Others ---- */

/* Memory is out of reach, so it is let go; the function keeps state of its last owner, so nobody
 * gets it. */
ATF_TC_WITHOUT_HEAD(a_reset_that_fails_keeps_the_function_and_frees_the_memory);
ATF_TC_BODY(a_reset_that_fails_keeps_the_function_and_frees_the_memory, tc)
{
	begin();
	hw.reset_at = UINT64_MAX;
	run_end();
	ATF_CHECK_STREQ(story, "WMDVBUR");
	is_quarantined(0);
	ATF_CHECK_EQ(in_state(LEDGER_FREE), BUFFERS);
	ATF_CHECK(fake_logged("its reset did not work"));
}

/* D6: queue entries that the kernel accepted die with the generation. */
ATF_TC_WITHOUT_HEAD(pins_do_not_outlive_the_claim);
ATF_TC_BODY(pins_do_not_outlive_the_claim, tc)
{
	begin();
	for (unsigned i = 0; i < BUFFERS; i += 3)
		ATF_REQUIRE_EQ(ledger_pin(&d.domain.ledger, &buffer[i].grant.entry), OK);
	run_end();
	is_free();
}

/* The last handle of a grant goes while its claim ends: whoever comes first, it ends once. */
ATF_TC_WITHOUT_HEAD(a_grant_that_is_taken_back_meanwhile_ends_once);
ATF_TC_BODY(a_grant_that_is_taken_back_meanwhile_ends_once, tc)
{
	struct work *end_of_buffer;

	begin();
	hw.ticket_ns = NS_PER_MS;
	buffer[5].obj.refs = 0;
	hw.attached = 0;	/* this one test unmaps before the block */
	hw.issued = hw.done = FUNCTIONS;
	ATF_REQUIRE(!buffer_destroy(&buffer[5].obj));
	end_of_buffer = job;
	ATF_REQUIRE(end_of_buffer == &buffer[5].work);
	ATF_CHECK(end_of_buffer->step(end_of_buffer) != WORK_DONE);
	ATF_CHECK_EQ(grant_state(&buffer[5].grant), LEDGER_REVOKING);
	hw.attached = FUNCTIONS;
	run_end();
	ATF_CHECK_EQ(end_of_buffer->step(end_of_buffer), WORK_DONE);
	is_free();
	ATF_CHECK_EQ(hw.unmaps, BUFFERS);
	ATF_CHECK(buffer_destroy(&buffer[5].obj));
	ATF_CHECK(buffer[5].memory == NULL);
}

/* UNMAP_KEEP: one has its address only, another is on its way there when the claim ends. */
static void
keep_two(void)
{
	hw.attached = 0;
	hw.issued = hw.done = FUNCTIONS;
	hw.ticket_ns = 0;
	ATF_REQUIRE_EQ(domain_disarm(&d.domain, &buffer[3].grant), OK);
	ATF_REQUIRE_EQ(grant_state(&buffer[3].grant), LEDGER_IDLE);
	buffer[3].memory = NULL;
	memory.m.obj.refs--;
	hw.ticket_ns = NS_PER_MS;
	ATF_REQUIRE_EQ(domain_disarm(&d.domain, &buffer[4].grant), E_WOULD_BLOCK);
	hw.attached = FUNCTIONS;
}

ATF_TC_WITHOUT_HEAD(grants_that_keep_their_address_end_with_the_claim);
ATF_TC_BODY(grants_that_keep_their_address_end_with_the_claim, tc)
{
	begin();
	keep_two();
	run_end();
	is_free();
	ATF_CHECK(!memory.m.poisoned);
	buffer[3].obj.refs = 0;
	ATF_CHECK(buffer_destroy(&buffer[3].obj));

	/* The one without memory can be reached by nothing, whatever the device does. */
	begin();
	keep_two();
	hw.idle_at = UINT64_MAX;
	run_end();
	is_quarantined(BUFFERS - 1);
	ATF_CHECK_EQ(grant_state(&buffer[3].grant), LEDGER_FREE);
}

ATF_TC_WITHOUT_HEAD(a_quarantined_grant_stays_for_ever);
ATF_TC_BODY(a_quarantined_grant_stays_for_ever, tc)
{
	begin();
	hw.ticket_ns = UINT64_MAX;
	run_end();
	buffer[0].obj.refs = 0;
	ATF_CHECK(!buffer_destroy(&buffer[0].obj));
	ATF_CHECK_EQ(buffer[0].obj.refs, 1);
	ATF_CHECK(buffer[0].memory == &memory.m && buffer[0].device == &d);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, everything_happens_in_one_order);
	ATF_TP_ADD_TC(tp, each_step_waits_for_the_one_before);
	ATF_TP_ADD_TC(tp, transactions_that_stay_pending_lead_to_quarantine);
	ATF_TP_ADD_TC(tp, a_window_that_does_not_go_keeps_nothing_mastering);
	ATF_TP_ADD_TC(tp, a_block_that_is_not_confirmed_leads_to_quarantine);
	ATF_TP_ADD_TC(tp, an_unmap_that_is_not_confirmed_leads_to_quarantine);
	ATF_TP_ADD_TC(tp, a_unit_that_broke_before_confirms_nothing);
	ATF_TP_ADD_TC(tp, brokered_the_reset_comes_before_anything_is_let_go);
	ATF_TP_ADD_TC(tp, brokered_a_reset_that_fails_leads_to_quarantine);
	ATF_TP_ADD_TC(tp, brokered_transactions_that_stay_pending_lead_to_quarantine);
	ATF_TP_ADD_TC(tp, queues_are_let_go_after_the_last_invalidation);
	ATF_TP_ADD_TC(tp, a_card_that_is_to_go_ends_its_claim_in_the_same_order);
	ATF_TP_ADD_TC(tp, a_card_that_is_gone_waits_for_the_unit_alone);
	ATF_TP_ADD_TC(tp, a_card_whose_port_confirms_nothing_is_quarantined);
	ATF_TP_ADD_TC(tp, a_card_that_goes_while_it_is_claimed_waits);
	ATF_TP_ADD_TC(tp, a_reset_that_fails_keeps_the_function_and_frees_the_memory);
	ATF_TP_ADD_TC(tp, pins_do_not_outlive_the_claim);
	ATF_TP_ADD_TC(tp, a_grant_that_is_taken_back_meanwhile_ends_once);
	ATF_TP_ADD_TC(tp, grants_that_keep_their_address_end_with_the_claim);
	ATF_TP_ADD_TC(tp, a_quarantined_grant_stays_for_ever);
	return atf_no_error();
}
