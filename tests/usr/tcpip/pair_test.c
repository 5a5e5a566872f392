/*
 * Two TCP/IP services at the ends of a wire that loses, repeats, swaps and damages packets: what
 * arrives is what was sent.
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
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "usr/lib/net.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/usr/tcpip/world.h"

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
wait_open(struct sock *s)
{
	while (sock_state(s) == SOCK_CONNECTING) {
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		(void)sock_ready(&k);
	}
}

static void
open_to(struct sock *s, uint16_t port, uint32_t rx, uint32_t tx)
{
	struct sock_addr far = world_far();

	ATF_REQUIRE_EQ(sock_connect(&k, &far, port, rx, tx, s), OK);
	wait_open(s);
	ATF_REQUIRE_EQ(sock_state(s), SOCK_OPEN);
}

/* Everything that SOURCE sends, to its end; in reads of any size. */
static void
drain(struct sock *s, uint32_t most)
{
	uint64_t got = 0;

	for (;;) {
		enum sock_state state = sock_state(s);
		const uint8_t *p;
		uint32_t n;

		(void)sock_ready(&k);
		p = sock_peek(s, &n);
		n = (uint32_t)min_u64(n, most);
		for (uint32_t i = 0; i < n; i++)
			if (p[i] != world_pattern(got + i))
				atf_tc_fail("byte %llu is another", (unsigned long long)(got + i));
		got += n;
		sock_consume(s, n);
		if (n == 0 && state != SOCK_OPEN)
			break;
		if (n == 0)
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
	}
	ATF_CHECK_MSG(got == SOURCE_BYTES, "%llu bytes into a ring of %u", (unsigned long long)got,
	    s->rx_bytes);
	ATF_CHECK_EQ(sock_state(s), SOCK_PEER_CLOSED);
}

/* So much of the pattern to DISCARD, and its end. */
static void
fill(struct sock *s, uint64_t bytes)
{
	uint64_t put = 0;

	while (put < bytes) {
		uint32_t n;
		uint8_t *to = sock_space(s, &n);

		(void)sock_ready(&k);
		n = (uint32_t)min_u64(n, bytes - put);
		for (uint32_t i = 0; i < n; i++)
			to[i] = world_pattern(put + i);
		sock_produce(s, n);
		put += n;
		if (n == 0)
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
	}
	sock_shutdown(s);
	while (sock_state(s) != SOCK_ENDED) {
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		(void)sock_ready(&k);
	}
	ATF_CHECK_EQ(sock_error(s), OK);
}

ATF_TC_WITHOUT_HEAD(a_stream_comes_in_whole);
ATF_TC_BODY(a_stream_comes_in_whole, tc)
{
	struct sock s = { 0 };

	begin(1);
	open_to(&s, SOURCE, 65536, 4096);
	drain(&s, UINT32_MAX);
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(a_stream_goes_out_whole);
ATF_TC_BODY(a_stream_goes_out_whole, tc)
{
	struct sock s = { 0 };

	begin(2);
	open_to(&s, DISCARD, 4096, 65536);
	fill(&s, 2'000'000);
	sock_close(&s);
	ATF_CHECK_EQ(world_discarded(), 2'000'000);
	finish();
}

ATF_TC_WITHOUT_HEAD(rings_of_every_size_carry_the_same_bytes);
ATF_TC_BODY(rings_of_every_size_carry_the_same_bytes, tc)
{
	static const uint32_t size[] = { 4096, 16384, 131072, 1048576 };

	begin(3);
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct sock s = { 0 };

		open_to(&s, SOURCE, size[i], 4096);
		drain(&s, i % 2 != 0 ? 777 : UINT32_MAX);
		sock_close(&s);
	}
	finish();
}

ATF_TC_WITHOUT_HEAD(a_bad_wire_changes_no_byte);
ATF_TC_BODY(a_bad_wire_changes_no_byte, tc)
{
	begin(4);
	for (unsigned round = 0; round < 4; round++) {
		struct sock s = { 0 };

		wire.lose = 20 * (round & 1);
		wire.repeat = 30;
		wire.swap = 50 * (round >> 1);
		wire.flip = 10;
		open_to(&s, SOURCE, 131072, 4096);
		drain(&s, UINT32_MAX);
		sock_close(&s);
		open_to(&s, DISCARD, 4096, 131072);
		fill(&s, 1'000'000);
		sock_close(&s);
	}
	ATF_CHECK_EQ(world_discarded(), 4'000'000);
	wire = (struct wire){ .delay_ns = NS_PER_US };
	finish();
}

/* The far end looks at each byte and each sum. */
ATF_TC_WITHOUT_HEAD(a_nic_that_adds_up_and_cuts_changes_no_byte);
ATF_TC_BODY(a_nic_that_adds_up_and_cuts_changes_no_byte, tc)
{
	struct sock_addr six;

	wire.features = NET_CSUM | NET_GSO_TCP4 | NET_GSO_TCP6;
	begin(12);
	six = world_far6();
	for (unsigned round = 0; round < 4; round++) {
		struct sock s = { 0 };
		uint32_t before = world_cut();

		wire.lose = 20 * (round >> 1);
		wire.swap = wire.flip = 10 * (round >> 1);
		if (round % 2 == 0) {
			open_to(&s, DISCARD, 4096, 131072);
		} else {
			ATF_REQUIRE_EQ(sock_connect(&k, &six, DISCARD, 4096, 131072, &s), OK);
			wait_open(&s);
		}
		fill(&s, 1'000'000);
		sock_close(&s);
		ATF_CHECK_MSG(world_cut() - before > 20, "%u were cut", world_cut() - before);
	}
	ATF_CHECK_EQ(world_discarded(), 4'000'000);
	wire = (struct wire){ .delay_ns = NS_PER_US };
	finish();
}

ATF_TC_WITHOUT_HEAD(a_stream_survives_the_death_of_the_packet_server);
ATF_TC_BODY(a_stream_survives_the_death_of_the_packet_server, tc)
{
	struct sock_interface i;
	struct sock s = { 0 };
	uint64_t put = 0;

	begin(5);
	open_to(&s, DISCARD, 4096, 65536);
	for (unsigned deaths = 0; put < 2'000'000;) {
		uint32_t n;
		uint8_t *to = sock_space(&s, &n);

		n = (uint32_t)min_u64(n, 2'000'000 - put);
		for (uint32_t b = 0; b < n; b++)
			to[b] = world_pattern(put + b);
		sock_produce(&s, n);
		put += n;
		if (put / 500'000 > deaths) {
			deaths++;
			world_kill_nic(300 * NS_PER_MS);
		}
		(void)sock_ready(&k);
		if (n == 0)
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
	}
	sock_shutdown(&s);
	while (sock_state(&s) != SOCK_ENDED) {
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		(void)sock_ready(&k);
	}
	ATF_CHECK_EQ(world_discarded(), 2'000'000);
	ATF_REQUIRE_EQ(sock_interface(&k, &i), OK);
	ATF_CHECK(i.nic_restarts >= 3);
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(a_port_that_nobody_listens_on_refuses);
ATF_TC_BODY(a_port_that_nobody_listens_on_refuses, tc)
{
	struct sock_addr far = world_far();
	struct sock s = { 0 };

	begin(6);
	ATF_REQUIRE_EQ(sock_connect(&k, &far, NOBODY, 4096, 4096, &s), OK);
	wait_open(&s);
	ATF_CHECK_EQ(sock_state(&s), SOCK_ENDED);
	ATF_CHECK_EQ(sock_error(&s), E_REFUSED);
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(nobody_answers_behind_a_cut_wire);
ATF_TC_BODY(nobody_answers_behind_a_cut_wire, tc)
{
	struct sock_addr far = world_far();
	struct sock s = { 0 };
	uint64_t took;

	begin(7);
	wire.cut = true;
	ATF_CHECK_EQ(sock_ping(&k, &far, 56, &took, world_now() + NS_PER_S), E_TIMED_OUT);
	ATF_REQUIRE_EQ(sock_connect(&k, &far, ECHO, 4096, 4096, &s), OK);
	wait_open(&s);
	ATF_CHECK_EQ(sock_error(&s), E_TIMED_OUT);
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(echoes_come_back_over_both_families);
ATF_TC_BODY(echoes_come_back_over_both_families, tc)
{
	struct sock_addr far = world_far(), far6 = world_far6();
	uint64_t took = 0;

	begin(8);
	ATF_CHECK_EQ(sock_ping(&k, &far, 56, &took, world_now() + NS_PER_S), OK);
	ATF_CHECK(took >= 2 * wire.delay_ns && took < 10 * NS_PER_MS);
	ATF_CHECK_EQ(sock_ping(&k, &far, 1472, &took, world_now() + NS_PER_S), OK);
	ATF_CHECK_EQ(sock_ping(&k, &far6, 56, &took, world_now() + NS_PER_S), OK);
	ATF_CHECK_EQ(sock_ping(&k, &far, 1473, &took, world_now() + NS_PER_S), E_OVERFLOW);
	finish();
}

ATF_TC_WITHOUT_HEAD(a_stream_over_ipv6_echoes);
ATF_TC_BODY(a_stream_over_ipv6_echoes, tc)
{
	struct sock_addr far6 = world_far6();
	uint8_t bytes[10000], back[10000];
	uint32_t put = 0, got = 0;
	struct sock s = { 0 };

	begin(9);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = world_pattern(i);
	ATF_REQUIRE_EQ(sock_connect(&k, &far6, ECHO, 4096, 4096, &s), OK);
	wait_open(&s);
	ATF_REQUIRE_EQ(sock_state(&s), SOCK_OPEN);
	while (got < sizeof(back)) {
		put += sock_write(&s, bytes + put, (uint32_t)sizeof(bytes) - put);
		got += sock_read(&s, back + got, (uint32_t)sizeof(back) - got);
		(void)sock_ready(&k);
		if (got < sizeof(back))
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 60 * NS_PER_S), OK);
	}
	ATF_CHECK(memcmp(bytes, back, sizeof(back)) == 0);
	sock_close(&s);
	finish();
}

/* Acknowledgements and bytes come mixed, in both directions. */
ATF_TC_WITHOUT_HEAD(a_stream_goes_both_ways_at_once);
ATF_TC_BODY(a_stream_goes_both_ways_at_once, tc)
{
	uint64_t put = 0, got = 0, begun;
	struct sock s = { 0 };

	begin(11);
	open_to(&s, ECHO, 65536, 65536);
	begun = world_now();
	while (got < 2'000'000) {
		uint32_t n, m;
		uint8_t *to = sock_space(&s, &n);
		const uint8_t *p;

		(void)sock_ready(&k);
		n = (uint32_t)min_u64(n, 2'000'000 - put);
		for (uint32_t i = 0; i < n; i++)
			to[i] = world_pattern(put++);
		sock_produce(&s, n);
		p = sock_peek(&s, &m);
		for (uint32_t i = 0; i < m; i++)
			ATF_REQUIRE_EQ(p[i], world_pattern(got++));
		sock_consume(&s, m);
		if (n == 0 && m == 0)
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 10 * NS_PER_S), OK);
	}
	/* Nobody waited for a timer. */
	ATF_CHECK_MSG(world_now() - begun < 3 * NS_PER_S, "%llu ms",
	    (unsigned long long)((world_now() - begun) / NS_PER_MS));
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(what_was_produced_arrives_though_the_socket_is_closed);
ATF_TC_BODY(what_was_produced_arrives_though_the_socket_is_closed, tc)
{
	struct sock s = { 0 };
	uint32_t n;
	uint8_t *to;

	begin(10);
	open_to(&s, DISCARD, 4096, 262144);
	to = sock_space(&s, &n);
	ATF_REQUIRE_EQ(n, 262144);
	for (uint32_t i = 0; i < n; i++)
		to[i] = world_pattern(i);
	sock_produce(&s, n);
	sock_close(&s);
	world_run(10 * NS_PER_S);
	ATF_CHECK_EQ(world_discarded(), 262144);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	finish();
}

/* Names become addresses, of either family; what is not known, lies, or is cut does no harm. */
ATF_TC_WITHOUT_HEAD(names_become_addresses);
ATF_TC_BODY(names_become_addresses, tc)
{
	struct sock_addr a, want = sock_addr_v4(10, 0, 0, 5), six = { .v = { [15] = 7 } };
	uint32_t n;

	begin(77);
	ATF_REQUIRE_EQ(sock_resolve(&k, "fives.four", &a, 1, &n, world_now() + 30 * NS_PER_S), OK);
	ATF_CHECK_EQ(n, 1);
	ATF_CHECK(memcmp(&a, &want, sizeof(a)) == 0);
	ATF_REQUIRE_EQ(sock_resolve(&k, "sevens7.six", &a, 1, &n, world_now() + 60 * NS_PER_S), OK);
	ATF_CHECK(memcmp(&a, &six, sizeof(a)) == 0);
	ATF_CHECK_EQ(sock_resolve(&k, "nobody.none", &a, 1, &n, world_now() + 60 * NS_PER_S),
	    E_NOT_FOUND);
	ATF_CHECK_EQ(sock_resolve(&k, "12345.lies", &a, 1, &n, world_now() + 60 * NS_PER_S), OK);
	ATF_CHECK(memcmp(&a, &want, sizeof(a)) == 0);
	/* Some packets are lost: it asks again. */
	wire.lose = 150;
	for (unsigned i = 0; i < 8; i++) {
		char name[] = "fiveA.four";

		name[4] = (char)('A' + i);
		ATF_CHECK_EQ(sock_resolve(&k, name, &a, 1, &n, world_now() + 60 * NS_PER_S), OK);
		ATF_CHECK(memcmp(&a, &want, sizeof(a)) == 0);
	}
	/* Nobody answers: in the end that is told. */
	wire.cut = true;
	ATF_CHECK_EQ(sock_resolve(&k, "later.four", &a, 1, &n, world_now() + 60 * NS_PER_S),
	    E_TIMED_OUT);
	wire.cut = false;
	wire.lose = 0;
	finish();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_stream_comes_in_whole);
	ATF_TP_ADD_TC(tp, a_stream_goes_out_whole);
	ATF_TP_ADD_TC(tp, rings_of_every_size_carry_the_same_bytes);
	ATF_TP_ADD_TC(tp, a_bad_wire_changes_no_byte);
	ATF_TP_ADD_TC(tp, a_nic_that_adds_up_and_cuts_changes_no_byte);
	ATF_TP_ADD_TC(tp, a_stream_survives_the_death_of_the_packet_server);
	ATF_TP_ADD_TC(tp, a_port_that_nobody_listens_on_refuses);
	ATF_TP_ADD_TC(tp, nobody_answers_behind_a_cut_wire);
	ATF_TP_ADD_TC(tp, echoes_come_back_over_both_families);
	ATF_TP_ADD_TC(tp, a_stream_over_ipv6_echoes);
	ATF_TP_ADD_TC(tp, a_stream_goes_both_ways_at_once);
	ATF_TP_ADD_TC(tp, what_was_produced_arrives_though_the_socket_is_closed);
	ATF_TP_ADD_TC(tp, names_become_addresses);
	return atf_no_error();
}
