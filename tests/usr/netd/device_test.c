/*
 * The packet server with a device that lies, stops, or asks for a reset, and with a client that
 * expects the best of it: packets may be lost, but each is answered; buffers come back; and the
 * server neither turns for nothing nor believes what it must not.
 */
/* LINK: usr/netd/main.c usr/netd/session.c usr/lib/net.c usr/lib/drv.c usr/lib/complain.c
 * LINK: dev/virtio/net.c dev/virtio/pci.c dev/virtio/queue.c kern/base/fmt.c
 * LINK: tests/lib/model_virtio.c tests/lib/fiber.c tests/usr/netd/world.c tests/usr/netd/kernel.c
 * LINK: tests/usr/netd/anew.c */
#include <atf-c.h>

#include "kern/base/bits.h"
#include "tests/usr/netd/client.h"

static uint32_t
resets(void)
{
	struct net_info i = { 0 };

	ATF_REQUIRE_EQ(net_info(WORLD_NETD, &i, world_now() + NS_PER_S), OK);
	return i.resets;
}

/* What was not answered when the device was reset is answered then; all others as they were. */
static void
check_all_answered(uint32_t count, uint32_t failed)
{
	enum status s;
	uint32_t cookie;

	for (; count != 0; count--) {
		ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
		ATF_CHECK(s == OK || s == E_IO);
		failed -= s == E_IO;
	}
	ATF_CHECK_EQ(failed, 0);
	ATF_CHECK(!net_next_sent(&n, &cookie, &s));
}

static void
put(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct net_tx t = { .cookie = i, .at = TX, .bytes = 60, .flow = (uint16_t)i };

		ATF_REQUIRE_EQ(net_put(&n, &t, 1), OK);
	}
	net_kick(&n);
	world_settle();
}

ATF_TC_WITHOUT_HEAD(a_lie_costs_a_reset_and_buffers_stay_with_the_session);
ATF_TC_BODY(a_lie_costs_a_reset_and_buffers_stay_with_the_session, tc)
{
	for (enum vmodel_lie lie = VLIE_ID; lie <= VLIE_UNENDED; lie++) {
		power_up(2, "");
		begin();
		post(100);
		world_nic.hold = true;
		put(10);
		world_nic.hold = false;
		world_nic.lie = lie;
		(void)model_virtio_receive(&world_nic, 1, plain, packet, 5000);
		ATF_CHECK_EQ(read_one(), -1);
		ATF_CHECK_EQ_MSG(resets(), 1, "lie %u", lie);
		check_all_answered(10, 10);
		ATF_CHECK_EQ(n.posts, 100);
		for (unsigned i = 0; i < 8; i++) {
			ATF_REQUIRE(model_virtio_receive(&world_nic, i % 2, plain, packet, 5000));
			ATF_CHECK_EQ(read_one(), 5000);
		}
		finish();
		end();
	}
}

/* One queue has begun a packet and never ends it, others go on: the queue is at fault at once, and
 * nobody waits for it. */
ATF_TC_WITHOUT_HEAD(a_packet_that_never_ends_holds_no_other_queue_up);
ATF_TC_BODY(a_packet_that_never_ends_holds_no_other_queue_up, tc)
{
	power_up(4, "");
	begin();
	post(100);
	world_nic.lie = VLIE_UNENDED;
	ATF_REQUIRE(model_virtio_receive(&world_nic, 2, plain, packet, 100));
	ATF_REQUIRE(model_virtio_receive(&world_nic, 3, plain, packet, 1514));
	/* What an honest queue brought in the same turn may go, or come. */
	(void)read_one();
	ATF_CHECK_EQ(resets(), 1);
	ATF_CHECK(world_logged("a packet whose buffers do not come together"));
	ATF_REQUIRE(model_virtio_receive(&world_nic, 3, plain, packet, 1514));
	ATF_CHECK_EQ(read_one(), 1514);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(a_device_that_lies_without_end_is_given_up_by_name);
ATF_TC_BODY(a_device_that_lies_without_end_is_given_up_by_name, tc)
{
	unsigned lies = 0;

	power_up(1, "");
	begin();
	post(40);
	while (world_dead() == NULL && lies < 100) {
		world_nic.lie = VLIE_ID_RANGE;
		(void)model_virtio_receive(&world_nic, 0, plain, packet, 100);
		world_run(NS_PER_S);
		lies++;
	}
	ATF_CHECK_EQ(lies, 17);
	ATF_CHECK_STREQ(world_dead(),
	    "given up after 16 resets: a queue gives back what it was not given");
	/* Spread over hours they are not too many. */
	ATF_REQUIRE(world_start(""));
	world_run(NS_PER_S);
	ATF_CHECK_EQ(net_turn(&n), OK);
	net_kick(&n);
	for (lies = 0; lies < 40; lies++) {
		world_settle();
		world_nic.lie = VLIE_ID_RANGE;
		(void)model_virtio_receive(&world_nic, 0, plain, packet, 100);
		world_run(61 * NS_PER_S);
		ATF_REQUIRE_MSG(world_dead() == NULL, "%s", world_dead());
	}
	ATF_CHECK_EQ(resets(), 40);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(accesses_that_were_refused_cost_a_reset);
ATF_TC_BODY(accesses_that_were_refused_cost_a_reset, tc)
{
	struct net_rx r;

	power_up(2, "");
	begin();
	post(40);
	ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, 1000));
	world_device.faults++;
	world_settle();
	/* Nothing that it gave back then is believed. */
	ATF_CHECK(!net_next_rx(&n, &r));
	ATF_CHECK_EQ(resets(), 1);
	ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, 1000));
	ATF_CHECK_EQ(read_one(), 1000);
	finish();
	world_device.faults = 0;
	end();
}

ATF_TC_WITHOUT_HEAD(a_device_that_asks_for_a_reset_gets_one);
ATF_TC_BODY(a_device_that_asks_for_a_reset_gets_one, tc)
{
	power_up(2, "");
	begin();
	post(40);
	world_nic.status |= 64;
	world_interrupt(true);
	world_settle();
	ATF_CHECK_EQ(resets(), 1);
	ATF_REQUIRE(model_virtio_receive(&world_nic, 1, plain, packet, 1000));
	ATF_CHECK_EQ(read_one(), 1000);
	/* One that does not come back is given up. */
	world_nic.status |= 64;
	world_nic.never_resets = true;
	world_interrupt(true);
	world_settle();
	ATF_CHECK_STREQ(world_dead(),
	    "given up: the reset failed: the device did not reset itself (timed out)");
	world_nic.never_resets = false;
	world_end();
}

ATF_TC_WITHOUT_HEAD(packets_that_do_not_go_out_cost_a_reset_after_five_seconds);
ATF_TC_BODY(packets_that_do_not_go_out_cost_a_reset_after_five_seconds, tc)
{
	power_up(1, "");
	begin();
	post(60);
	put(1);
	world_run(100 * NS_PER_S);
	check_all_answered(1, 0);
	/* Slow, after long silence: no reason. */
	world_nic.hold = true;
	put(1);
	world_run(4 * NS_PER_S);
	ATF_CHECK_EQ(resets(), 0);
	model_virtio_release(&world_nic);
	world_settle();
	check_all_answered(1, 0);
	/* For ever; and packets that come in meanwhile keep the server awake. */
	put(7);
	for (unsigned i = 0; i < 70; i++) {
		(void)model_virtio_receive(&world_nic, 0, plain, packet, 100);
		if (read_one() == 100)
			ATF_REQUIRE_EQ(net_post(&n, RX + i % 60 * BUFFER, BUFFER, i % 60), OK);
		net_kick(&n);
		world_run(NS_PER_S / 10);
	}
	ATF_CHECK_EQ(resets(), 1);
	ATF_CHECK(world_logged("packets do not go out"));
	check_all_answered(7, 7);
	world_nic.hold = false;
	put(3);
	check_all_answered(3, 0);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(a_device_that_refuses_its_pairs_serves_with_one);
ATF_TC_BODY(a_device_that_refuses_its_pairs_serves_with_one, tc)
{
	world_power_up(4);
	world_nic.refuses_pairs = true;
	ATF_REQUIRE_MSG(world_start(""), "%s", world_dead());
	ATF_CHECK(world_logged("the device refuses 4 pairs of queues: one is used"));
	ATF_CHECK(world_logged("1 of 4 queue pairs"));
	at_rest = world_held();
	area = world_memory(AREA_PAGES, &area_handle);
	ntfn = world_ntfn();
	for (unsigned round = 0; round < 3; round++) {
		begin();
		post(100);
		put(20);
		ATF_CHECK_EQ(world_nic.q[3].count + world_nic.q[5].count, 0);
		check_all_answered(20, 0);
		finish();		/* with a reset */
	}
	end();
}

ATF_TC_WITHOUT_HEAD(a_control_queue_that_is_silent_ends_the_start_by_name);
ATF_TC_BODY(a_control_queue_that_is_silent_ends_the_start_by_name, tc)
{
	uint64_t began;

	world_power_up(4);
	world_nic.control_silent = true;
	began = world_now();
	ATF_CHECK(!world_start(""));
	ATF_CHECK_STREQ(world_dead(),
	    "device not usable: a command of the control queue did not work (timed out)");
	ATF_CHECK(world_now() - began < 3 * NS_PER_S);
	world_end();
	/* Later: what it announces needs an answer. */
	power_up(1, "");
	begin();
	post(40);
	world_nic.control_silent = true;
	world_nic.config[6] = 3;
	world_interrupt(true);
	world_settle();
	ATF_CHECK_STREQ(world_dead(), "given up: the reset failed: a command of the control "
				      "queue did not work (timed out)");
	world_end();
}

ATF_TC_WITHOUT_HEAD(changes_of_the_configuration_are_told_once);
ATF_TC_BODY(changes_of_the_configuration_are_told_once, tc)
{
	uint32_t link;

	power_up(1, "");
	begin();
	ATF_CHECK_EQ(net_link(&n) & 1, 1);
	link = net_link(&n);
	world_interrupt(true);
	world_settle();
	ATF_CHECK_EQ(net_link(&n), link);
	world_nic.config[6] = 0;
	world_interrupt(true);
	world_settle();
	ATF_CHECK_EQ(net_link(&n), link + 1);
	world_nic.config[6] = 3;		/* and it wants to be made known */
	world_interrupt(true);
	world_settle();
	ATF_CHECK_EQ(net_link(&n) & 1, 1);
	ATF_CHECK_EQ(world_nic.config[6], 1);
	/* Never at rest: told, and reset. */
	world_nic.restless = 100;
	world_interrupt(true);
	world_settle();
	ATF_CHECK_EQ(resets(), 1);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(a_successor_gets_what_was_outstanding);
ATF_TC_BODY(a_successor_gets_what_was_outstanding, tc)
{
	struct net_rx r;

	power_up(2, "");
	begin();
	post(40);
	world_nic.hold = true;
	put(5);
	world_kill();
	world_run(NS_PER_S);
	ATF_CHECK_EQ(net_turn(&n), E_PEER);
	world_nic.hold = false;
	ATF_REQUIRE(world_start("pairs=2"));
	world_run(NS_PER_S);
	ATF_CHECK_EQ(net_turn(&n), OK);
	net_kick(&n);
	world_settle();
	check_all_answered(5, 0);
	ATF_CHECK_EQ(world_nic.sent_count, 5);
	for (unsigned i = 0; i < 4; i++) {
		ATF_REQUIRE(model_virtio_receive(&world_nic, i % 2, plain, packet, 5000));
		ATF_CHECK_EQ(read_one(), 5000);
	}
	ATF_CHECK(!net_next_rx(&n, &r));
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(without_vectors_the_server_looks_by_itself);
ATF_TC_BODY(without_vectors_the_server_looks_by_itself, tc)
{
	world_power_up(1);
	world_device.vectors = 0;
	ATF_REQUIRE_MSG(world_start(""), "%s", world_dead());
	at_rest = world_held();
	area = world_memory(AREA_PAGES, &area_handle);
	ntfn = world_ntfn();
	for (uint32_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 7 + (i >> 8));
	begin();
	post(40);
	ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, 1000));
	world_run(5 * NS_PER_MS);
	ATF_CHECK_EQ(read_one(), 1000);
	world_nic.hold = true;
	put(1);
	world_run(7 * NS_PER_S);
	ATF_CHECK_EQ(resets(), 1);
	check_all_answered(1, 1);
	/* At the configuration, too. */
	ATF_CHECK_EQ(net_link(&n) & 1, 1);
	world_nic.config[6] = 0;
	world_run(2 * NS_PER_S);
	ATF_CHECK_EQ(net_link(&n) & 1, 0);
	world_nic.status |= 64;
	world_run(2 * NS_PER_S);
	ATF_CHECK_EQ(resets(), 2);
	finish();
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_lie_costs_a_reset_and_buffers_stay_with_the_session);
	ATF_TP_ADD_TC(tp, a_packet_that_never_ends_holds_no_other_queue_up);
	ATF_TP_ADD_TC(tp, a_device_that_lies_without_end_is_given_up_by_name);
	ATF_TP_ADD_TC(tp, accesses_that_were_refused_cost_a_reset);
	ATF_TP_ADD_TC(tp, a_device_that_asks_for_a_reset_gets_one);
	ATF_TP_ADD_TC(tp, packets_that_do_not_go_out_cost_a_reset_after_five_seconds);
	ATF_TP_ADD_TC(tp, a_device_that_refuses_its_pairs_serves_with_one);
	ATF_TP_ADD_TC(tp, a_control_queue_that_is_silent_ends_the_start_by_name);
	ATF_TP_ADD_TC(tp, changes_of_the_configuration_are_told_once);
	ATF_TP_ADD_TC(tp, a_successor_gets_what_was_outstanding);
	ATF_TP_ADD_TC(tp, without_vectors_the_server_looks_by_itself);
	return atf_no_error();
}
