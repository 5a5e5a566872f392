/*
 * The packet server with a client that lies, in each word that it can write: in the ring, in what
 * it puts there, and in its calls.  Whatever it does, the device reaches its packet area and
 * nothing else, the server does not turn for nothing, and when the session is over the server has
 * what it had before, and the next client is served.
 */
/* LINK: usr/netd/main.c usr/netd/session.c usr/lib/net.c usr/lib/drv.c usr/lib/complain.c
 * LINK: dev/virtio/net.c dev/virtio/pci.c dev/virtio/queue.c kern/base/fmt.c
 * LINK: tests/lib/model_virtio.c tests/lib/fiber.c tests/usr/netd/world.c
 * LINK: tests/usr/netd/kernel.c
 * LINK: tests/usr/netd/anew.c */
#include <atf-c.h>

#include "kern/base/bits.h"
#include "tests/usr/netd/client.h"

/* The session is over for this client; the server goes on. */
static void
check_refused(const char *why)
{
	world_settle();
	ATF_CHECK_EQ_MSG(net_turn(&n), E_CORRUPT, "%s", why);
	ATF_CHECK_MSG(world_logged(why), "%s", why);
	/* Nothing of it is believed any more. */
	store_relaxed(&n.ring->tx_head, load_relaxed(&n.ring->tx_head) + 1);
	ATF_REQUIRE_EQ(sys_ntfn_signal(n.server, n.server_bits), OK);
	world_settle();
	finish();
	works();
}

static void
signal_server(void)
{
	ATF_REQUIRE_EQ(sys_ntfn_signal(n.server, n.server_bits), OK);
	world_settle();
}

ATF_TC_WITHOUT_HEAD(packets_go_and_come_through_the_ring);
ATF_TC_BODY(packets_go_and_come_through_the_ring, tc)
{
	static const uint32_t lengths[] = { 14, 60, 1514, 2029, 2030, 2031, 4071, 9014, 65550 };

	power_up(1, "");
	works();
	begin();
	for (unsigned i = 0; i < 300; i++) {
		if (i % 3 == 0) {
			struct net_rx r;

			while (net_next_rx(&n, &r))
				;
			for (uint32_t k = 0; net_post_room(&n) > NET_SLOTS - 60; k++)
				ATF_REQUIRE_EQ(net_post(&n, RX + k % 60 * BUFFER, BUFFER, k % 60),
				    OK);
			net_kick(&n);
			world_settle();
		}
		ATF_CHECK_EQ(send_one(14 + i, (uint16_t)i), OK);
	}
	finish();
	begin();
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		post(60);
		ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, lengths[i]));
		ATF_CHECK_EQ(read_one(), (int)lengths[i]);
		finish();
		begin();
	}
	finish();
	end();
}

/* Four queues: packets of one flow go by one of them, and buffers are in all.  What each carried is
 * told. */
ATF_TC_WITHOUT_HEAD(a_flow_keeps_its_pair_and_flows_spread);
ATF_TC_BODY(a_flow_keeps_its_pair_and_flows_spread, tc)
{
	struct net_pair pairs[NET_PAIRS];

	power_up(4, "");
	begin();
	post(100);
	world_nic.hold = true;
	for (uint16_t i = 0; i < 64; i++) {
		struct net_tx t = { .cookie = i, .at = TX, .bytes = 60, .flow = i * 7 % 16 };

		ATF_REQUIRE_EQ(net_put(&n, &t, 1), OK);
	}
	net_kick(&n);
	world_settle();
	for (unsigned i = 0; i < 4; i++) {
		ATF_CHECK_EQ(world_nic.q[2 * i + 1].count, 16);
		ATF_CHECK_EQ(world_nic.q[2 * i].count, 25);
		ATF_REQUIRE(model_virtio_receive(&world_nic, i, plain, packet, 5000));
		ATF_CHECK_EQ(read_one(), 5000);
	}
	model_virtio_release(&world_nic);
	world_nic.hold = false;
	ATF_CHECK_EQ(world_nic.sent_count, 64);
	world_settle();
	ATF_CHECK_EQ(net_pairs(&n, pairs), 4);
	for (unsigned i = 0; i < 4; i++) {
		ATF_CHECK_EQ(pairs[i].tx_packets, 16);
		ATF_CHECK_EQ(pairs[i].rx_packets, 1);
	}
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(indices_that_cannot_be_end_the_session);
ATF_TC_BODY(indices_that_cannot_be_end_the_session, tc)
{
	static const uint32_t far[] = { NET_SLOTS + 1, 1000, 0x7fffffff, 0x80000000, 0xffffff00,
		UINT32_MAX };

	power_up(1, "");
	for (unsigned i = 0; i < ARRAY_SIZE(far); i++) {
		begin();
		store_relaxed(&n.ring->tx_head, far[i]);
		signal_server();
		check_refused("it claims more packets than its ring holds");
		begin();
		store_relaxed(&n.ring->post_head, far[i]);
		signal_server();
		check_refused("it claims more buffers than its ring holds");
		/* What it says of answers that it has read: one less is its own loss. */
		if (far[i] == UINT32_MAX)
			continue;
		begin();
		store_relaxed(&n.ring->tx_done_tail, far[i]);
		store_relaxed(&n.ring->tx_head, 1);
		signal_server();
		check_refused("it claims more packets than its ring holds");
		begin();
		store_relaxed(&n.ring->rx_tail, far[i]);
		store_relaxed(&n.ring->post_head, 1);
		signal_server();
		check_refused("it claims more buffers than its ring holds");
	}
	end();
}

/* Slots that the server has not answered, or whose answers were not read, are not used again. */
ATF_TC_WITHOUT_HEAD(a_ring_that_is_full_takes_no_more);
ATF_TC_BODY(a_ring_that_is_full_takes_no_more, tc)
{
	power_up(1, "");
	begin();
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		n.ring->tx[i] = (struct net_tx){ .cookie = i, .at = TX, .bytes = 60 };
	store_relaxed(&n.ring->tx_head, NET_SLOTS);
	signal_server();
	ATF_CHECK_EQ(world_nic.sent_count, NET_SLOTS);
	ATF_CHECK_EQ(n.ring->tx_done_head, NET_SLOTS);
	ATF_CHECK_EQ(n.ring->refused, OK);
	store_relaxed(&n.ring->tx_head, NET_SLOTS + 1);	/* and no answer read */
	signal_server();
	ATF_CHECK_EQ(world_nic.sent_count, NET_SLOTS);
	check_refused("it claims more packets than its ring holds");
	/* Those that the device has count as well. */
	begin();
	world_nic.hold = true;
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		n.ring->tx[i] = (struct net_tx){ .cookie = i, .at = TX, .bytes = 60 };
	store_relaxed(&n.ring->tx_head, 100);
	signal_server();
	store_relaxed(&n.ring->tx_head, NET_SLOTS + 1);
	signal_server();
	world_nic.hold = false;
	check_refused("it claims more packets than its ring holds");
	/* The same of buffers. */
	begin();
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		n.ring->post[i] = (struct net_post){ .cookie = i, .at = RX, .bytes = BUFFER };
	store_relaxed(&n.ring->post_head, 100);
	signal_server();
	store_relaxed(&n.ring->post_head, NET_SLOTS + 1);
	signal_server();
	check_refused("it claims more buffers than its ring holds");
	end();
}

ATF_TC_WITHOUT_HEAD(a_packet_that_cannot_be_is_answered_and_not_sent);
ATF_TC_BODY(a_packet_that_cannot_be_is_answered_and_not_sent, tc)
{
	static const struct { struct net_tx t; enum status s; } wrong[] = {
		{ { .at = TX, .bytes = 13 }, E_RANGE },
		{ { .at = TX, .bytes = 0 }, E_RANGE },
		{ { .at = TX, .bytes = 1519 }, E_RANGE },
		{ { .at = TX, .bytes = 65536 }, E_RANGE },
		{ { .at = TX, .bytes = UINT32_MAX }, E_RANGE },
		{ { .at = AREA - 59, .bytes = 60 }, E_RANGE },
		{ { .at = AREA, .bytes = 60 }, E_RANGE },
		{ { .at = UINT32_MAX, .bytes = 60 }, E_RANGE },
		{ { .at = UINT32_MAX - 10, .bytes = 1000 }, E_RANGE },
		{ { .at = 0x80000000, .bytes = 0x80000000 }, E_RANGE },
		/* Flags that are none, or not of something to be sent. */
		{ { .at = TX, .bytes = 60, .flags = 0x8000 }, E_UNSUPPORTED },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM_OK }, E_UNSUPPORTED },
		{ { .at = TX, .bytes = 60, .flags = NET_GSO_TCP4 }, E_UNSUPPORTED },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM | NET_ECN }, E_UNSUPPORTED },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM | NET_GSO_TCP4 | NET_GSO_TCP6 },
		    E_UNSUPPORTED },
		/* Sums outside of the packet, or in the Ethernet header. */
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM, .csum_start = 13 }, E_RANGE },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM, .csum_start = 59 }, E_RANGE },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM, .csum_start = 14,
		      .csum_offset = 45 }, E_RANGE },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM, .csum_start = 0xffff,
		      .csum_offset = 0xffff }, E_RANGE },
		{ { .at = TX, .bytes = 60, .flags = NET_CSUM, .csum_start = 14,
		      .csum_offset = 0xffff }, E_RANGE },
		{ { .at = TX, .bytes = 1519, .flags = NET_CSUM, .csum_start = 34,
		      .csum_offset = 16 }, E_RANGE },
		/* Large ones: pieces, headers. */
		{ { .at = TX, .bytes = 3000, .flags = NET_CSUM | NET_GSO_TCP4, .csum_start = 34,
		      .csum_offset = 16, .header_bytes = 54, .gso_size = 0 }, E_RANGE },
		{ { .at = TX, .bytes = 3000, .flags = NET_CSUM | NET_GSO_TCP4, .csum_start = 34,
		      .csum_offset = 16, .header_bytes = 34, .gso_size = 1460 }, E_RANGE },
		{ { .at = TX, .bytes = 3000, .flags = NET_CSUM | NET_GSO_TCP4, .csum_start = 34,
		      .csum_offset = 16, .header_bytes = 54, .gso_size = 1465 }, E_RANGE },
		{ { .at = TX, .bytes = 3000, .flags = NET_CSUM | NET_GSO_TCP4, .csum_start = 34,
		      .csum_offset = 16, .header_bytes = 0xffff, .gso_size = 1 }, E_RANGE },
		{ { .at = TX, .bytes = 65551, .flags = NET_CSUM | NET_GSO_TCP4, .csum_start = 34,
		      .csum_offset = 16, .header_bytes = 54, .gso_size = 1460 }, E_RANGE },
	};

	power_up(1, "");
	begin();
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		enum status s = OK;
		uint32_t cookie;

		ATF_REQUIRE_EQ(net_put(&n, &wrong[i].t, 1), OK);
		net_kick(&n);
		world_settle();
		ATF_REQUIRE_MSG(net_next_sent(&n, &cookie, &s), "%u", i);
		ATF_CHECK_EQ_MSG(s, wrong[i].s, "%u: %u", i, s);
		ATF_CHECK_EQ(world_nic.sent_count, 0);
	}
	/* In parts: the first is in order, another leaves the area, or is empty. */
	for (unsigned i = 0; i < 3; i++) {
		struct net_tx t[3] = { { .at = TX, .bytes = 60 }, { .at = TX, .bytes = 60 },
			{ .at = TX, .bytes = 60 } };
		enum status s = OK;
		uint32_t cookie;

		t[i].at = AREA - 1;
		ATF_REQUIRE_EQ(net_put(&n, t, 3), OK);
		t[i].at = TX;
		t[i].bytes = 0;
		ATF_REQUIRE_EQ(net_put(&n, t, 3), OK);
		net_kick(&n);
		world_settle();
		ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
		ATF_CHECK_EQ(s, E_RANGE);
		ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
		ATF_CHECK_EQ(s, E_RANGE);
	}
	ATF_CHECK_EQ(world_nic.sent_count, 0);
	ATF_CHECK_EQ(net_turn(&n), OK);
	ATF_CHECK_EQ(send_one(1514, 0), OK);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(a_packet_that_never_ends_waits_in_the_ring_and_then_ends_the_session);
ATF_TC_BODY(a_packet_that_never_ends_waits_in_the_ring_and_then_ends_the_session, tc)
{
	power_up(1, "");
	begin();
	for (uint32_t i = 0; i < NET_SLOTS; i++)
		n.ring->tx[i] =
		    (struct net_tx){ .cookie = i, .at = TX, .bytes = 60, .flags = NET_MORE };
	store_relaxed(&n.ring->tx_head, NET_FRAGMENTS);
	signal_server();
	world_run(10 * NS_PER_S);
	ATF_CHECK_EQ(world_nic.sent_count, 0);
	ATF_CHECK_EQ(n.ring->refused, OK);
	store_relaxed(&n.ring->tx_head, NET_FRAGMENTS + 1);
	signal_server();
	check_refused("a packet has more parts than it may have");
	/* The longest that may be: its end comes later. */
	begin();
	for (uint32_t i = 0; i < NET_FRAGMENTS; i++)
		n.ring->tx[i] = (struct net_tx){ .cookie = i, .at = TX, .bytes = 60,
			.flags = i + 1 < NET_FRAGMENTS ? NET_MORE : 0 };
	store_relaxed(&n.ring->tx_head, NET_FRAGMENTS - 1);
	signal_server();
	ATF_CHECK_EQ(n.ring->tx_done_head, 0);
	store_relaxed(&n.ring->tx_head, NET_FRAGMENTS);
	signal_server();
	ATF_CHECK_EQ(n.ring->tx_done_head, 1);
	ATF_CHECK_EQ(world_nic.sent_bytes, 12 + 60 * NET_FRAGMENTS);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(a_buffer_outside_of_the_area_ends_the_session);
ATF_TC_BODY(a_buffer_outside_of_the_area_ends_the_session, tc)
{
	static const struct net_post wrong[] = {
		{ .at = RX, .bytes = 0 },
		{ .at = RX, .bytes = NET_BUFFER_MIN - 1 },
		{ .at = RX, .bytes = 65537 },
		{ .at = RX, .bytes = UINT32_MAX },
		{ .at = AREA - BUFFER + 1, .bytes = BUFFER },
		{ .at = AREA, .bytes = BUFFER },
		{ .at = UINT32_MAX, .bytes = BUFFER },
		{ .at = UINT32_MAX - BUFFER + 1, .bytes = BUFFER },
	};

	power_up(1, "");
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		begin();
		n.ring->post[0] = wrong[i];
		store_relaxed(&n.ring->post_head, 1);
		signal_server();
		ATF_CHECK_EQ(world_nic.q[0].count, 0);
		check_refused("a buffer is none that it may have");
	}
	end();
}

/* Its own loss: two packets in the same bytes.  Both come back, each once. */
ATF_TC_WITHOUT_HEAD(a_buffer_that_is_posted_twice_comes_back_twice);
ATF_TC_BODY(a_buffer_that_is_posted_twice_comes_back_twice, tc)
{
	struct net_rx r;

	power_up(2, "");
	begin();
	for (uint32_t i = 0; i < 4; i++)
		n.ring->post[i] = (struct net_post){ .cookie = 5, .at = RX, .bytes = BUFFER };
	store_relaxed(&n.ring->post_head, 4);
	signal_server();
	ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, 100));
	ATF_REQUIRE(model_virtio_receive(&world_nic, 1, plain, packet, 200));
	ATF_REQUIRE(model_virtio_receive(&world_nic, 0, plain, packet, 300));
	ATF_REQUIRE(model_virtio_receive(&world_nic, 1, plain, packet, 400));
	world_settle();
	ATF_CHECK_EQ(n.ring->rx_head, 4);
	/* To the library it is a server that lies: nobody has asked for that. */
	ATF_CHECK(!net_next_rx(&n, &r));
	ATF_CHECK_EQ(n.lies, 4);
	finish();
	works();
	end();
}

ATF_TC_WITHOUT_HEAD(what_an_open_brings_along_is_judged_and_given_back);
ATF_TC_BODY(what_an_open_brings_along_is_judged_and_given_back, tc)
{
	static const struct { uint32_t handles; bool swapped; uint64_t bytes; } wrong[] = {
		{ 0, false, AREA },
		{ 1, false, AREA },
		{ 2, false, AREA },
		{ 12, false, AREA },
		{ 3, true, AREA },
		{ 3, false, 0 },
		{ 3, false, AREA + 1 },
		{ 3, false, UINT32_MAX },
		{ 3, false, UINT32_MAX + 1ull },
		{ 3, false, UINT64_MAX },
		{ 7, false, AREA + 1 },
	};
	struct msg m;

	power_up(1, "");
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		handle_t a = wrong[i].swapped ? ntfn : area_handle,
			 b = wrong[i].swapped ? area_handle : ntfn;

		m = (struct msg){ .label = NET_CALL_OPEN, .words = 5, .handles = wrong[i].handles,
			.w = { a, b, ntfn, wrong[i].bytes, 1 } };
		if ((wrong[i].handles & 8) != 0)
			m.w[2] = m.w[3] = ntfn;
		ATF_REQUIRE_EQ(world_call(&m, 1), OK);
		ATF_CHECK_EQ_MSG(m.label, E_INVALID, "%u: %u", i, (unsigned)m.label);
		ATF_CHECK_EQ(m.handles, 0);
		check_at_rest();
	}
	/* Calls that are none, with handles. */
	for (uint64_t label = 0; label < 12; label++) {
		if (label == NET_CALL_OPEN || label == NET_CALL_INFO)
			continue;
		m = (struct msg){ .label = label, .words = 8, .handles = 15,
			.w = { area_handle, ntfn, ntfn, area_handle } };
		ATF_REQUIRE_EQ(world_call(&m, 1), OK);
		ATF_CHECK(m.label != OK);
		check_at_rest();
	}
	works();
	end();
}

/* Running out in the middle of an open is an error, and leaves nothing. */
ATF_TC_WITHOUT_HEAD(an_open_without_memory_leaves_nothing);
ATF_TC_BODY(an_open_without_memory_leaves_nothing, tc)
{
	unsigned refused = 0;

	power_up(1, "");
	for (uint32_t left = 0;; left++) {
		struct msg m = { .label = NET_CALL_OPEN, .words = 5, .handles = 3,
			.w = { area_handle, ntfn, 0, AREA, 1 } };

		world_quota = left;
		ATF_REQUIRE_EQ(world_call(&m, 1), OK);
		world_quota = UINT32_MAX;
		if (m.label == OK)
			break;
		refused++;
		check_at_rest();
	}
	ATF_CHECK_EQ(refused, 2);
	world_end();
}

ATF_TC_WITHOUT_HEAD(a_session_is_its_openers_alone);
ATF_TC_BODY(a_session_is_its_openers_alone, tc)
{
	struct msg m = { .label = NET_CALL_CLOSE, .words = 1 };

	power_up(1, "");
	begin();
	post(10);
	for (unsigned i = 0; i < 4; i++) {
		m = (struct msg){ .label = i < 2 ? NET_CALL_CLOSE : NET_CALL_STAY, .words = 1,
			.w = { n.session + i % 2 } };
		ATF_REQUIRE_EQ(world_call(&m, 1 + (i % 2 == 0)), OK);
		ATF_CHECK_EQ(m.label, E_STALE);
	}
	m = (struct msg){ .label = NET_CALL_STAY, .words = 1, .w = { n.session } };
	ATF_REQUIRE_EQ(world_call(&m, 1), OK);
	ATF_CHECK_EQ(m.label, E_BUSY);
	m = (struct msg){ .label = NET_CALL_OPEN, .words = 5, .handles = 3,
		.w = { area_handle, ntfn, 0, AREA, 1 } };
	ATF_REQUIRE_EQ(world_call(&m, 2), OK);
	ATF_CHECK_EQ(m.label, E_BUSY);
	m = (struct msg){ .label = NET_CALL_ROGUE, .words = 2, .w = { 0x1000 } };
	ATF_REQUIRE_EQ(world_call(&m, 2), OK);
	ATF_CHECK_EQ(m.label, E_REFUSED);
	ATF_CHECK_EQ(send_one(60, 0), OK);
	finish();
	end();
}

ATF_TC_WITHOUT_HEAD(a_client_that_died_makes_room_for_the_next);
ATF_TC_BODY(a_client_that_died_makes_room_for_the_next, tc)
{
	power_up(2, "");
	begin();
	post(50);
	world_nic.hold = true;
	for (unsigned i = 0; i < 30; i++) {
		struct net_tx t = { .at = TX, .bytes = 60, .flow = (uint16_t)i };

		ATF_REQUIRE_EQ(net_put(&n, &t, 1), OK);
	}
	net_kick(&n);
	world_settle();
	world_kill_client();
	world_nic.hold = false;
	memset(&n, 0, sizeof(n));
	works();
	ATF_CHECK(world_logged("the session ends: its client is gone"));
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, packets_go_and_come_through_the_ring);
	ATF_TP_ADD_TC(tp, a_flow_keeps_its_pair_and_flows_spread);
	ATF_TP_ADD_TC(tp, indices_that_cannot_be_end_the_session);
	ATF_TP_ADD_TC(tp, a_ring_that_is_full_takes_no_more);
	ATF_TP_ADD_TC(tp, a_packet_that_cannot_be_is_answered_and_not_sent);
	ATF_TP_ADD_TC(
	    tp, a_packet_that_never_ends_waits_in_the_ring_and_then_ends_the_session);
	ATF_TP_ADD_TC(tp, a_buffer_outside_of_the_area_ends_the_session);
	ATF_TP_ADD_TC(tp, a_buffer_that_is_posted_twice_comes_back_twice);
	ATF_TP_ADD_TC(tp, what_an_open_brings_along_is_judged_and_given_back);
	ATF_TP_ADD_TC(tp, an_open_without_memory_leaves_nothing);
	ATF_TP_ADD_TC(tp, a_session_is_its_openers_alone);
	ATF_TP_ADD_TC(tp, a_client_that_died_makes_room_for_the_next);
	return atf_no_error();
}
