/*
 * The stack and its NIC's server, at the ends of a ring: connections keep their queue and spread
 * over all, and a server that lies costs packets, and a session, and no more.
 */
/* LINK: usr/tcpip/turn.c usr/tcpip/session.c usr/lib/complain.c usr/tcpip/stream.c
 * LINK: usr/tcpip/dgram.c
 * LINK: usr/tcpip/ask.c usr/tcpip/gone.c usr/tcpip/lost.c
 * LINK: usr/tcpip/nif.c usr/tcpip/join.c usr/tcpip/out.c usr/tcpip/port/heap.c
 * LINK: usr/tcpip/port/port.c usr/lib/sock.c usr/lib/net.c
 * LINK: usr/lib/sock_addr.c usr/lib/sha256.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/usr/tcpip/world.c tests/usr/tcpip/world_nic.c
 * LINK: tests/usr/tcpip/world_sys.c tests/usr/tcpip/world_far.c */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "usr/lib/net.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/usr/tcpip/world.h"

enum { MANY = 48, PAIRS = 4 };

static struct socks k;

static void
begin(uint64_t seed)
{
	world_start(seed);
	ATF_REQUIRE_EQ(sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1), OK);
}

static void
finish(void)
{
	sock_stop(&k);
	world_stop();
}

static void
open_to(struct sock *s, uint16_t port)
{
	struct sock_addr far = world_far();

	ATF_REQUIRE_EQ(sock_connect(&k, &far, port, 65536, 4096, s), OK);
	while (sock_state(s) == SOCK_CONNECTING) {
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		(void)sock_ready(&k);
	}
	ATF_REQUIRE_EQ(sock_state(s), SOCK_OPEN);
}

/* Some bytes there and back. */
static void
echo(struct sock *s, uint32_t bytes)
{
	uint8_t out[4096], in[4096];
	uint32_t got = 0;

	for (uint32_t i = 0; i < bytes; i++)
		out[i] = (uint8_t)(i * 7 + 1);
	ATF_REQUIRE_EQ(sock_write(s, out, bytes), bytes);
	sock_kick(&k);
	while (got < bytes) {
		uint32_t n = sock_read(s, in + got, bytes - got);

		(void)sock_ready(&k);
		got += n;
		if (n == 0)
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
	}
	ATF_CHECK_EQ(memcmp(in, out, bytes), 0);
}

/* That a connection's packets have one flow is checked with each packet. */
static void
spread(uint32_t features)
{
	static struct sock s[MANY];
	uint32_t of[PAIRS], all = 0;

	wire.features = features;
	begin(3);
	memset(s, 0, sizeof(s));
	/* As many at a time as the far end serves. */
	for (uint32_t i = 0; i < MANY; i += 12) {
		for (uint32_t j = i; j < i + 12; j++)
			open_to(&s[j], ECHO);
		for (uint32_t j = i; j < i + 12; j++) {
			echo(&s[j], 100);
			echo(&s[j], 4000);
			sock_close(&s[j]);
		}
		world_run(NS_PER_S);
	}
	world_flows(PAIRS, of);
	for (uint32_t i = 0; i < PAIRS; i++) {
		ATF_CHECK_MSG(of[i] >= MANY / PAIRS / 3, "%u of %u connections go by pair %u",
		    of[i], MANY, i);
		all += of[i];
	}
	ATF_CHECK_EQ(all, MANY);
	finish();
}

ATF_TC_WITHOUT_HEAD(connections_spread_over_queues_and_keep_theirs);
ATF_TC_BODY(connections_spread_over_queues_and_keep_theirs, tc)
{
	spread(0);
}

ATF_TC_WITHOUT_HEAD(large_packets_go_by_the_queue_of_their_connection);
ATF_TC_BODY(large_packets_go_by_the_queue_of_their_connection, tc)
{
	spread(NET_CSUM | NET_GSO_TCP4 | NET_GSO_TCP6);
}

/* Lies that end the session: the stack opens another, and connections go on. */
ATF_TC_WITHOUT_HEAD(a_ring_that_cannot_be_is_left_and_connections_go_on);
ATF_TC_BODY(a_ring_that_cannot_be_is_left_and_connections_go_on, tc)
{
	struct sock s = { 0 };

	begin(4);
	open_to(&s, ECHO);
	for (unsigned lie = 0; lie < 6; lie++) {
		struct net_ring *r;

		echo(&s, 2000);
		r = world_nic_ring();
		ATF_REQUIRE(r != NULL);
		if (lie == 0)
			store_relaxed(&r->rx_head, load_relaxed(&r->rx_head) + NET_SLOTS + 1);
		else if (lie == 1)
			store_relaxed(&r->rx_head, load_relaxed(&r->rx_head) - 1);
		else if (lie == 2)
			store_relaxed(
			    &r->tx_done_head, load_relaxed(&r->tx_done_head) + 0x80000000);
		else if (lie == 3)
			store_relaxed(&r->tx_done_head, load_relaxed(&r->tx_done_head) - 1);
		else if (lie == 4)
			store_relaxed(&r->refused, E_CORRUPT);
		else
			memset(r, 0xff, sizeof(*r));
		world_nic_silent(true);
		world_settle();
		ATF_CHECK_EQ(world_nic_ring(), NULL);
		world_nic_silent(false);
	}
	echo(&s, 2000);
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(what_was_never_posted_or_lies_elsewhere_is_not_taken);
ATF_TC_BODY(what_was_never_posted_or_lies_elsewhere_is_not_taken, tc)
{
	static const struct net_rx says[] = {
		{ .cookie = 1000, .first = NET_HEAD, .bytes = 60 },
		{ .cookie = UINT32_MAX, .first = NET_HEAD, .bytes = 60 },
		{ .cookie = 3, .first = NET_HEAD, .bytes = UINT32_MAX },
		{ .cookie = 3, .first = UINT32_MAX, .bytes = 60 },
		{ .cookie = 4, .first = 0, .bytes = 60 },
		{ .cookie = 5, .first = 2048, .bytes = 1 },
		{ .cookie = 6, .first = NET_HEAD, .bytes = 0 },
		{ .cookie = 7, .first = NET_HEAD, .bytes = 13 },
		{ .cookie = 7, .first = NET_HEAD, .bytes = 1 },
		{ .cookie = 8, .first = NET_HEAD, .bytes = 2030, .flags = 0xfffe,
		    .csum_start = 0xffff, .csum_offset = 0xffff, .gso_size = 0xffff },
	};
	struct sock s = { 0 };

	begin(5);
	open_to(&s, ECHO);
	for (unsigned i = 0; i < ARRAY_SIZE(says); i++) {
		world_nic_gives(&says[i]);
		world_settle();
		echo(&s, 2000);
	}
	sock_close(&s);
	finish();
}

/* Parts and parts and no end: they are not kept for ever, and their buffers come back. */
ATF_TC_WITHOUT_HEAD(a_packet_that_never_ends_costs_no_buffers);
ATF_TC_BODY(a_packet_that_never_ends_costs_no_buffers, tc)
{
	struct sock s = { 0 };

	begin(6);
	open_to(&s, ECHO);
	for (uint32_t i = 0; i < 3000; i++) {
		world_nic_gives(&(struct net_rx){ .cookie = i % NET_SLOTS,
		    .first = i % 3 == 0 ? NET_HEAD : NET_HEAD - NET_LEAD,
		    .bytes = 2000,
		    .flags = NET_MORE });
		if (i % 50 == 0)
			world_settle();
	}
	/* Its end, at last. */
	world_nic_gives(&(struct net_rx){ .cookie = 9, .first = NET_HEAD, .bytes = 60 });
	echo(&s, 2000);
	sock_close(&s);
	finish();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, connections_spread_over_queues_and_keep_theirs);
	ATF_TP_ADD_TC(tp, large_packets_go_by_the_queue_of_their_connection);
	ATF_TP_ADD_TC(tp, a_ring_that_cannot_be_is_left_and_connections_go_on);
	ATF_TP_ADD_TC(tp, what_was_never_posted_or_lies_elsewhere_is_not_taken);
	ATF_TP_ADD_TC(tp, a_packet_that_never_ends_costs_no_buffers);
	return atf_no_error();
}
