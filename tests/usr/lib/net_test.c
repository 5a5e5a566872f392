/*
 * The client's end of the packet protocol with a server that lies, in each word that it can write.
 * Whatever it says, an answer belongs to something outstanding, once; what was received lies in the
 * buffer that was posted; and nothing outside of it is written.
 */
/* LINK: usr/lib/net.c tests/usr/lib/net_server.c */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#include "tests/usr/lib/net_server.h"

static struct net n;

static void
begin(void)
{
	server_start();
	ATF_REQUIRE_EQ(
	    net_open(&n, SERVER_ENDPOINT, SERVER_AREA_HANDLE, server_area, SERVER_AREA,
		SERVER_NTFN, 1),
	    OK);
}

static void
end(void)
{
	net_close(&n);
	ATF_CHECK_EQ(server_rings(), 0);
	ATF_CHECK_EQ(server_handles(), 0);
	server_stop();
}

static void
put(uint32_t slots, uint32_t cookie)
{
	struct net_tx t[NET_FRAGMENTS] = { 0 };

	for (uint32_t i = 0; i < slots; i++)
		t[i] = (struct net_tx){ .cookie = cookie + 1000 * i, .at = 0, .bytes = 60 };
	ATF_REQUIRE_EQ(net_put(&n, t, slots), OK);
	net_kick(&n);
}

static void
answer(uint32_t cookie, uint32_t status)
{
	struct net_ring *r = server_ring();

	r->tx_done[r->tx_done_head % NET_SLOTS] = (struct net_tx_done){ cookie, status };
	r->tx_done_head++;
}

static void
fill(struct net_rx rx)
{
	struct net_ring *r = server_ring();

	r->rx[r->rx_head % NET_SLOTS] = rx;
	r->rx_head++;
}

ATF_TC_WITHOUT_HEAD(only_what_is_outstanding_can_be_answered);
ATF_TC_BODY(only_what_is_outstanding_can_be_answered, tc)
{
	enum status s;
	uint32_t cookie;

	begin();
	put(1, 7);
	put(3, 8);
	/* None; a packet's second slot; far ones. */
	answer(5, OK);
	answer(2, OK);
	answer(3, OK);
	answer(NET_SLOTS, OK);
	answer(NET_SLOTS + 1, OK);
	answer(UINT32_MAX, OK);
	answer(0x80000000, OK);
	ATF_CHECK(!net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(n.lies, 7);
	ATF_CHECK_EQ(net_room(&n), NET_SLOTS - 4);
	answer(1, OK);
	ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(cookie, 8);
	/* The same again. */
	answer(1, OK);
	ATF_CHECK(!net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(n.lies, 8);
	ATF_CHECK_EQ(net_room(&n), NET_SLOTS - 4);
	answer(0, 200);			/* a status that is none */
	ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(cookie, 7);
	ATF_CHECK_EQ(s, E_CORRUPT);
	ATF_CHECK_EQ(net_room(&n), NET_SLOTS);
	end();
}

/* Put, but not shown: the server cannot have it. */
ATF_TC_WITHOUT_HEAD(what_was_not_shown_cannot_be_answered);
ATF_TC_BODY(what_was_not_shown_cannot_be_answered, tc)
{
	struct net_tx t = { .bytes = 60 };
	enum status s;
	uint32_t cookie;

	begin();
	ATF_REQUIRE_EQ(net_put(&n, &t, 1), OK);
	answer(0, OK);
	ATF_CHECK(!net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(n.lies, 1);
	net_kick(&n);
	answer(0, OK);
	ATF_CHECK(net_next_sent(&n, &cookie, &s));
	end();
}

ATF_TC_WITHOUT_HEAD(what_was_received_lies_in_its_buffer);
ATF_TC_BODY(what_was_received_lies_in_its_buffer, tc)
{
	static const struct { uint32_t first, bytes; bool good; } says[] = {
		{ NET_HEAD, 2048 - NET_HEAD, true },
		{ NET_HEAD, 1, true },
		{ NET_HEAD - NET_LEAD, NET_LEAD, true },
		{ NET_HEAD - NET_LEAD, 2048 - NET_HEAD + NET_LEAD, true },
		{ 2048, 0, true },
		{ UINT32_MAX, 0, true },
		{ NET_HEAD, 2048 - NET_HEAD + 1, false },
		{ NET_HEAD - NET_LEAD - 1, 60, false },
		{ 0, 60, false },
		{ 2048, 1, false },
		{ UINT32_MAX, 1, false },
		{ UINT32_MAX, 100, false },
		{ NET_HEAD, UINT32_MAX, false },
		{ NET_HEAD, UINT32_MAX - NET_HEAD + 1, false },
	};
	uint8_t before[SERVER_AREA];

	begin();
	for (unsigned i = 0; i < ARRAY_SIZE(says); i++) {
		uint32_t at = i % 2 == 0 ? 0 : SERVER_AREA - 2048;
		struct net_rx r;

		ATF_REQUIRE_EQ(net_post(&n, at, 2048, 77), OK);
		net_kick(&n);
		memset(server_area, 0x55, SERVER_AREA);
		memcpy(before, server_area, SERVER_AREA);
		fill((struct net_rx){ .cookie = 0,
		    .first = says[i].first,
		    .bytes = says[i].bytes,
		    .lead = { 1, 2, 3 } });
		ATF_REQUIRE(net_next_rx(&n, &r));
		ATF_CHECK_EQ(r.cookie, 77);
		ATF_CHECK_EQ_MSG(n.lies, !says[i].good, "%u", i);
		ATF_CHECK_EQ(r.bytes, says[i].good ? says[i].bytes : 0);
		/* But for what a buffer's part begins with nothing was written. */
		if (says[i].good && r.bytes != 0 && r.first == NET_HEAD - NET_LEAD)
			memset(server_area + at + r.first, 0x55, NET_LEAD);
		ATF_CHECK_EQ(memcmp(before, server_area, SERVER_AREA), 0);
		n.lies = 0;
		ATF_CHECK_EQ(n.posts, 0);
	}
	end();
}

ATF_TC_WITHOUT_HEAD(only_what_is_posted_comes_back_and_once);
ATF_TC_BODY(only_what_is_posted_comes_back_and_once, tc)
{
	static const uint32_t none[] = { 2, 63, 64, 255, 256, 257, 65536, UINT32_MAX };
	struct net_rx r;

	begin();
	ATF_REQUIRE_EQ(net_post(&n, 0, 2048, 11), OK);
	ATF_REQUIRE_EQ(net_post(&n, 2048, 2048, 12), OK);
	net_kick(&n);
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
		fill((struct net_rx){ .cookie = none[i], .first = NET_HEAD, .bytes = 60 });
	ATF_CHECK(!net_next_rx(&n, &r));
	ATF_CHECK_EQ(n.lies, ARRAY_SIZE(none));
	fill((struct net_rx){ .cookie = 1, .first = NET_HEAD, .bytes = 60 });
	fill((struct net_rx){ .cookie = 1, .first = NET_HEAD, .bytes = 60 });
	ATF_REQUIRE(net_next_rx(&n, &r));
	ATF_CHECK_EQ(r.cookie, 12);
	ATF_CHECK(!net_next_rx(&n, &r));
	ATF_CHECK_EQ(n.lies, ARRAY_SIZE(none) + 1);
	ATF_CHECK_EQ(n.posts, 1);
	end();
}

/* A head that runs away: each look takes what there was, and ends. */
ATF_TC_WITHOUT_HEAD(a_head_that_runs_away_is_not_followed_for_ever);
ATF_TC_BODY(a_head_that_runs_away_is_not_followed_for_ever, tc)
{
	static const uint32_t far[] = { NET_SLOTS + 1, 0x10000, 0x80000000, UINT32_MAX };
	enum status s;
	uint32_t cookie;
	struct net_rx r;

	for (unsigned i = 0; i < ARRAY_SIZE(far); i++) {
		begin();
		put(1, 7);
		ATF_REQUIRE_EQ(net_post(&n, 0, 2048, 11), OK);
		net_kick(&n);
		server_ring()->tx_done_head = far[i];
		server_ring()->rx_head = far[i];
		while (net_next_sent(&n, &cookie, &s))
			;
		while (net_next_rx(&n, &r))
			;
		ATF_CHECK_EQ(net_turn(&n), E_CORRUPT);
		end();
	}
}

ATF_TC_WITHOUT_HEAD(a_session_that_the_server_refuses_is_over);
ATF_TC_BODY(a_session_that_the_server_refuses_is_over, tc)
{
	begin();
	ATF_CHECK_EQ(net_turn(&n), OK);
	server_ring()->refused = E_CORRUPT;
	ATF_CHECK_EQ(net_turn(&n), E_CORRUPT);
	server_ring()->refused = 0xdeadbeef;
	ATF_CHECK_EQ(net_turn(&n), E_CORRUPT);
	end();
}

ATF_TC_WITHOUT_HEAD(more_pairs_than_there_can_be_are_not_read);
ATF_TC_BODY(more_pairs_than_there_can_be_are_not_read, tc)
{
	struct net_pair pairs[NET_PAIRS + 1] = { [NET_PAIRS] = { 7, 7 } };

	begin();
	server_ring()->pairs = UINT32_MAX;
	server_ring()->pair[NET_PAIRS - 1] = (struct net_pair){ 1, 2 };
	ATF_CHECK_EQ(net_pairs(&n, pairs), NET_PAIRS);
	ATF_CHECK_EQ(pairs[NET_PAIRS - 1].tx_packets, 2);
	ATF_CHECK_EQ(pairs[NET_PAIRS].rx_packets, 7);
	end();
	ATF_CHECK_EQ(net_pairs(&n, pairs), 0);
}

ATF_TC_WITHOUT_HEAD(what_an_open_brings_back_is_judged_and_let_go_of);
ATF_TC_BODY(what_an_open_brings_back_is_judged_and_let_go_of, tc)
{
	for (enum server_lie lie = SERVER_NO_RING; lie < SERVER_LIES; lie++) {
		enum status s;

		memset(&n, 0, sizeof(n));
		server_start();
		server_lie = lie;
		s = net_open(&n, SERVER_ENDPOINT, SERVER_AREA_HANDLE, server_area, SERVER_AREA,
		    SERVER_NTFN, 1);
		if (lie == SERVER_EXTRA_HANDLES) {
			ATF_CHECK_EQ(s, OK);
			ATF_CHECK_EQ(server_handles(), 2);
			end();
			continue;
		}
		ATF_CHECK(s != OK);
		ATF_CHECK_EQ(server_rings(), 0);
		ATF_CHECK_EQ(server_handles(), 0);
		/* The same of a successor. */
		server_lie = SERVER_HONEST;
		ATF_REQUIRE_EQ(net_open(&n, SERVER_ENDPOINT, SERVER_AREA_HANDLE, server_area,
				   SERVER_AREA, SERVER_NTFN, 1),
		    OK);
		put(1, 7);
		server_lie = lie;
		server_dies(&n);
		ATF_CHECK(net_turn(&n) != OK);
		end();
	}
}

/* A successor: what was outstanding goes to it, and nothing is taken for an answer of before. */
ATF_TC_WITHOUT_HEAD(a_successor_gets_what_is_outstanding_in_order);
ATF_TC_BODY(a_successor_gets_what_is_outstanding_in_order, tc)
{
	enum status s;
	uint32_t cookie;

	begin();
	for (uint32_t i = 0; i < 5; i++)
		put(1 + i % 2, i);
	ATF_REQUIRE_EQ(net_post(&n, 0, 2048, 70), OK);
	ATF_REQUIRE_EQ(net_post(&n, 2048, 2048, 71), OK);
	net_kick(&n);
	answer(1, OK);			/* the second packet, of two slots */
	ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(cookie, 1);
	answer(0, OK);			/* not read: it is put again */
	fill((struct net_rx){ .cookie = 1, .first = NET_HEAD, .bytes = 60 });
	server_dies(&n);
	ATF_REQUIRE_EQ(net_turn(&n), OK);
	ATF_CHECK_EQ(n.restarts, 1);
	net_kick(&n);
	ATF_CHECK_EQ(server_ring()->tx_head, 5);
	ATF_CHECK_EQ(server_ring()->post_head, 2);
	for (uint32_t i = 0; i < 5; i++)
		answer(server_ring()->tx[i].cookie, OK);
	for (uint32_t i = 0; i < 5; i++)
		if (i != 1) {
			ATF_REQUIRE(net_next_sent(&n, &cookie, &s));
			ATF_CHECK_EQ(cookie, i);
		}
	ATF_CHECK(!net_next_sent(&n, &cookie, &s));
	ATF_CHECK_EQ(n.lies, 1);	/* the second slot of the last but one */
	ATF_CHECK_EQ(net_room(&n), NET_SLOTS);
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, only_what_is_outstanding_can_be_answered);
	ATF_TP_ADD_TC(tp, what_was_not_shown_cannot_be_answered);
	ATF_TP_ADD_TC(tp, what_was_received_lies_in_its_buffer);
	ATF_TP_ADD_TC(tp, only_what_is_posted_comes_back_and_once);
	ATF_TP_ADD_TC(tp, a_head_that_runs_away_is_not_followed_for_ever);
	ATF_TP_ADD_TC(tp, a_session_that_the_server_refuses_is_over);
	ATF_TP_ADD_TC(tp, more_pairs_than_there_can_be_are_not_read);
	ATF_TP_ADD_TC(tp, what_an_open_brings_back_is_judged_and_let_go_of);
	ATF_TP_ADD_TC(tp, a_successor_gets_what_is_outstanding_in_order);
	return atf_no_error();
}
