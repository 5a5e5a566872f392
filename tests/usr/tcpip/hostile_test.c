/*
 * Clients of the TCP/IP service that may not, that lie, that die, and that want too much.
 */
/* LINK: usr/tcpip/turn.c usr/tcpip/session.c usr/lib/complain.c usr/tcpip/stream.c
 * LINK: usr/tcpip/dgram.c usr/tcpip/ask.c usr/tcpip/gone.c usr/tcpip/lost.c
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
#include "lwip/opt.h"
#include "usr/tcpip/port/heap.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/usr/tcpip/world.h"

static struct socks k;

static void
begin(void)
{
	world_start(42);
	ATF_REQUIRE_EQ(sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1), OK);
}

static void
finish(void)
{
	sock_stop(&k);
	world_stop();
}

static void
wait_for(struct sock *s, enum sock_state state)
{
	while (sock_state(s) != state) {
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		(void)sock_ready(&k);
	}
}

static void
open_to(struct sock *s, uint16_t port)
{
	struct sock_addr far = world_far();

	ATF_REQUIRE_EQ(sock_connect(&k, &far, port, 4096, 4096, s), OK);
	wait_for(s, SOCK_OPEN);
}

ATF_TC_WITHOUT_HEAD(a_port_that_the_manifest_does_not_name_is_refused);
ATF_TC_BODY(a_port_that_the_manifest_does_not_name_is_refused, tc)
{
	struct sock s = { 0 };

	begin();
	ATF_CHECK_EQ(sock_listen(&k, 80, 4, &s), E_RIGHTS);
	ATF_CHECK_EQ(sock_listen(&k, 0, 4, &s), E_RIGHTS);
	ATF_CHECK_EQ(sock_bind(&k, 67, 4096, 4096, &s), E_RIGHTS);
	ATF_CHECK_EQ(tcpip.refused, 3);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	ATF_CHECK_EQ(sock_listen(&k, DISCARD, 4, &s), OK);
	sock_close(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(who_may_not_connect_reaches_nobody);
ATF_TC_BODY(who_may_not_connect_reaches_nobody, tc)
{
	struct sock_addr far = world_far(), a;
	struct sock s = { 0 };
	uint64_t took;
	uint32_t n;

	world_rights.connect = false;
	begin();
	ATF_CHECK_EQ(sock_connect(&k, &far, ECHO, 4096, 4096, &s), E_RIGHTS);
	ATF_CHECK_EQ(sock_bind(&k, 0, 4096, 4096, &s), E_RIGHTS);
	ATF_CHECK_EQ(sock_ping(&k, &far, 56, &took, world_now() + NS_PER_S), E_RIGHTS);
	ATF_CHECK_EQ(sock_resolve(&k, "example.org", &a, 1, &n, world_now() + NS_PER_S), E_RIGHTS);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	finish();
}

/* Each index that a client writes, as it cannot be. */
ATF_TC_WITHOUT_HEAD(indices_that_cannot_be_end_the_connection);
ATF_TC_BODY(indices_that_cannot_be_end_the_connection, tc)
{
	struct sock s, other = { 0 };

	begin();
	open_to(&other, ECHO);
	for (unsigned i = 0; i < 6; i++) {
		s = (struct sock){ 0 };
		open_to(&s, ECHO);
		if (i < 3)
			s.ring->tx_head += i == 0 ? 4097 : i == 1 ? 0x80000000 : UINT32_MAX;
		else
			s.ring->rx_tail += i == 3 ? 1 : i == 4 ? 0x80000000 : UINT32_MAX;
		k.kicked |= 1ull << s.number;
		sock_kick(&k);
		wait_for(&s, SOCK_ENDED);
		ATF_CHECK_EQ(sock_error(&s), E_CORRUPT);
		sock_close(&s);
	}
	/* Others of the same client go on. */
	ATF_CHECK_EQ(sock_write(&other, "hello", 5), 5);
	while (sock_readable(&other) < 5) {
		(void)sock_ready(&k);
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 60 * NS_PER_S), OK);
	}
	sock_close(&other);
	world_run(NS_PER_S);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	finish();
}

ATF_TC_WITHOUT_HEAD(a_ring_may_change_under_the_service);
ATF_TC_BODY(a_ring_may_change_under_the_service, tc)
{
	uint64_t seed = 7;
	struct sock s = { 0 };

	begin();
	for (unsigned round = 0; round < 300; round++) {
		if (s.k == NULL)
			open_to(&s, ECHO);
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		memset(s.tx, (int)seed, 4096);
		((uint32_t *)s.ring)[(seed >> 20) % (PAGE_SIZE / 4)] = (uint32_t)(seed >> 32);
		k.page->kicked = seed;
		k.kicked |= 1ull << s.number;
		sock_kick(&k);
		world_run(NS_PER_MS);
		if (s.ring->state == SOCK_ENDED || round % 16 == 15)
			sock_abort(&s);
	}
	if (s.k != NULL)
		sock_abort(&s);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	finish();
}

ATF_TC_WITHOUT_HEAD(a_dead_client_leaves_nothing_behind);
ATF_TC_BODY(a_dead_client_leaves_nothing_behind, tc)
{
	struct sock s[4] = { 0 }, l = { 0 };
	uint64_t pages, used, before;

	begin();
	world_run(NS_PER_S);
	heap_counts(&pages, &before);
	ATF_REQUIRE_EQ(sock_listen(&k, DISCARD, 4, &l), OK);
	open_to(&s[0], SOURCE);		/* it fills what it may, and waits */
	open_to(&s[1], ECHO);
	open_to(&s[2], DISCARD);
	ATF_REQUIRE_EQ(sock_bind(&k, 0, 4096, 4096, &s[3]), OK);
	ATF_CHECK_EQ(tcpip.sockets, 5);
	world_kill_client();
	world_run(20 * NS_PER_S);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	ATF_CHECK_EQ(tcpip.live, 0);
	heap_counts(&pages, &used);
	/* The heap keeps an empty page of each size. */
	ATF_CHECK_MSG(used <= before + 6, "%llu pages, before %llu", (unsigned long long)used,
	    (unsigned long long)before);
	world_stop();
}

ATF_TC_WITHOUT_HEAD(a_client_has_so_many_sockets_and_bytes_and_no_more);
ATF_TC_BODY(a_client_has_so_many_sockets_and_bytes_and_no_more, tc)
{
	struct sock_addr far = world_far();
	static struct sock s[SOCKS + 1];
	static struct socks more[SESSIONS_A_SERVICE];
	enum status e = OK;
	unsigned n;

	begin();
	for (n = 0; e == OK; n++)
		e = sock_connect(&k, &far, ECHO, 4096, 4096, &s[n]);
	ATF_CHECK_EQ(n - 1, SOCKS);
	ATF_CHECK_EQ(e, E_QUOTA);
	for (unsigned i = 0; i < n - 1; i++)
		sock_abort(&s[i]);
	e = OK;
	for (n = 0; e == OK; n++)
		e = sock_connect(&k, &far, ECHO, SOCK_RING_MAX, SOCK_RING_MAX, &s[n]);
	ATF_CHECK_EQ(n - 1, 7);
	ATF_CHECK_EQ(e, E_QUOTA);
	for (unsigned i = 0; i < n - 1; i++)
		sock_abort(&s[i]);
	/* Sessions, too. */
	for (n = 0; n < SESSIONS_A_SERVICE - 1; n++)
		ATF_CHECK_EQ(sock_start(&more[n], WORLD_TCPIP, WORLD_NTFN, 1), OK);
	ATF_CHECK_EQ(sock_start(&more[n], WORLD_TCPIP, WORLD_NTFN, 1), E_QUOTA);
	world_kill_client();
	world_stop();
}

ATF_TC_WITHOUT_HEAD(who_does_not_read_holds_no_more_than_a_window);
ATF_TC_BODY(who_does_not_read_holds_no_more_than_a_window, tc)
{
	uint64_t pages, before, used;
	struct sock s = { 0 };

	begin();
	heap_counts(&pages, &before);
	open_to(&s, SOURCE);
	world_run(30 * NS_PER_S);
	heap_counts(&pages, &used);
	ATF_CHECK_EQ(sock_readable(&s), 4096);
	/* FIRST_WINDOW in packets of 1460 bytes, two to a page. */
	ATF_CHECK_MSG(used - before <= 32, "%llu pages", (unsigned long long)(used - before));
	sock_abort(&s);
	finish();
}

ATF_TC_WITHOUT_HEAD(datagrams_keep_their_bounds);
ATF_TC_BODY(datagrams_keep_their_bounds, tc)
{
	struct sock_addr self = sock_addr_v4(127, 0, 0, 1), from;
	uint8_t out[SOCK_DATAGRAM_MAX], in[SOCK_DATAGRAM_MAX];
	struct sock a = { 0 }, b = { 0 };
	uint32_t len, sent = 0;
	uint16_t port;

	begin();
	ATF_REQUIRE_EQ(sock_bind(&k, 53, 65536, 4096, &a), OK);
	ATF_REQUIRE_EQ(sock_bind(&k, 0, 4096, 4096, &b), OK);
	for (len = 0; len < sizeof(out); len++)
		out[len] = world_pattern(len);
	for (len = 0; len <= sizeof(out); len += 61, sent++) {
		ATF_REQUIRE_EQ(sock_send_to(&b, &self, 53, out, len), OK);
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + NS_PER_S), OK);
		(void)sock_ready(&k);
		memset(in, 0, sizeof(in));
		ATF_REQUIRE_EQ(sock_receive_from(&a, &from, &port, in, sizeof(in), &len), OK);
		ATF_CHECK_EQ(len, sent * 61);
		ATF_CHECK(memcmp(in, out, len) == 0);
		ATF_CHECK_EQ(port, b.port);
	}
	ATF_CHECK_EQ(sock_receive_from(&a, &from, &port, in, sizeof(in), &len), E_WOULD_BLOCK);
	ATF_CHECK_EQ(
	    sock_send_to(&b, &self, 53, out, SOCK_DATAGRAM_MAX + 1), E_OVERFLOW);
	/* A datagram that is none. */
	memset(b.tx, 0xff, b.tx_bytes);
	sock_produce(&b, 64);
	sock_kick(&k);
	wait_for(&b, SOCK_ENDED);
	ATF_CHECK_EQ(sock_error(&b), E_CORRUPT);
	sock_close(&a);
	sock_close(&b);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	finish();
}

ATF_TC_WITHOUT_HEAD(a_listener_takes_no_more_than_it_said);
ATF_TC_BODY(a_listener_takes_no_more_than_it_said, tc)
{
	struct sock_addr self = sock_addr_v4(127, 0, 0, 1);
	struct sock l = { 0 }, c[8] = { 0 }, s = { 0 };
	unsigned open = 0;

	begin();
	ATF_REQUIRE_EQ(sock_listen(&k, DISCARD, 3, &l), OK);
	ATF_CHECK_EQ(sock_accept(&l, 4096, 4096, &s), E_WOULD_BLOCK);
	for (unsigned i = 0; i < 8; i++)
		ATF_REQUIRE_EQ(sock_connect(&k, &self, DISCARD, 4096, 4096, &c[i]), OK);
	world_run(2 * NS_PER_S);
	for (unsigned i = 0; i < 8; i++)
		open += sock_state(&c[i]) == SOCK_OPEN;
	ATF_CHECK_EQ(open, 3);
	ATF_CHECK_EQ(l.ring->waiting, 3);
	for (unsigned i = 0; i < 3; i++) {
		ATF_REQUIRE_EQ(sock_accept(&l, 4096, 4096, &s), OK);
		ATF_CHECK(s.peer.v[15] == 1);
		sock_close(&s);
	}
	sock_close(&l);
	for (unsigned i = 0; i < 8; i++)
		sock_abort(&c[i]);
	ATF_CHECK_EQ(tcpip.sockets, 0);
	finish();
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* The next TCP segment that was sent, from its first byte on.  Whoever asks for the peer's address
 * is told. */
static bool
sent_segment(uint8_t *t)
{
	uint8_t f[1514];

	while (world_sent(f, sizeof(f)) != 0) {
		if (f[12] == 8 && f[13] == 6 && f[21] == 1 && f[41] == 2) {
			uint8_t r[42] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6,
				4, 0, 2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0,
				1 };

			world_receive(r, sizeof(r));
			world_settle();
		}
		if (f[12] == 8 && f[13] == 0 && f[14 + 9] == 6) {
			memcpy(t, f + 34, 20);
			return true;
		}
	}
	return false;
}

static bool
next_segment(uint8_t *t)
{
	world_run(NS_PER_S / 4);
	return sent_segment(t);
}

/* A peer that waits for an answer of the predecessor's: asked where it stands, it says so, and is
 * reset by its own number. */
ATF_TC_WITHOUT_HEAD(a_peer_of_the_predecessor_learns_that_it_is_gone);
ATF_TC_BODY(a_peer_of_the_predecessor_learns_that_it_is_gone, tc)
{
	/* From port 1000 to ECHO, sequence 0x11223344, acknowledges 0x55667788. */
	uint8_t ack[54] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0,
		64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 3, 232, 0, 7, 0x11, 0x22, 0x33, 0x44, 0x55,
		0x66, 0x77, 0x88, 0x50, 0x10, 1, 0, 0, 0, 0, 0 };
	uint8_t pseudo[32] = { 10, 0, 0, 2, 10, 0, 0, 1, 0, 6, 0, 20 }, t[20];
	struct sock_addr far = world_far();
	struct socks other = { 0 };
	uint16_t sum;

	sum = (uint16_t)~lwip_sum(ack + 14, 20);
	memcpy(ack + 24, &sum, 2);
	memcpy(pseudo + 12, ack + 34, 20);
	sum = (uint16_t)~lwip_sum(pseudo, 32);
	memcpy(ack + 50, &sum, 2);
	world_start_alone();
	while (next_segment(t))
		;
	/* Whose port it is not may not say so. */
	other.gone[0].peer = far;
	other.gone[0].port = 80;
	other.gone[0].peer_port = 1000;
	other.gone_count = 1;
	ATF_REQUIRE_EQ(sock_start(&other, WORLD_TCPIP, WORLD_NTFN, 1), OK);
	ATF_CHECK(!next_segment(t) && !next_segment(t));
	ATF_CHECK_EQ(tcpip.refused, 1);
	sock_stop(&other);
	k.gone[0].peer = far;
	k.gone[0].port = ECHO;
	k.gone[0].peer_port = 1000;
	k.gone_count = 1;
	ATF_REQUIRE_EQ(sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1), OK);
	/* The first may be lost; another follows soon. */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t since = world_now();

		while (!sent_segment(t)) {
			world_run(NS_PER_MS);
			ATF_REQUIRE(world_now() - since < NS_PER_S / 20);
		}
	}
	ATF_CHECK_EQ(t[13], 0x10);
	ATF_CHECK(t[0] == 0 && t[1] == ECHO && t[2] == 3 && t[3] == 232);
	world_receive(ack, sizeof(ack));
	do
		ATF_REQUIRE(next_segment(t));
	while ((t[13] & 4) == 0);
	ATF_CHECK_EQ(get32(t + 4), 0x55667788);
	/* It is not asked for ever. */
	for (unsigned i = 0; i < 20; i++)
		(void)next_segment(t);
	ATF_CHECK(!next_segment(t));
	sock_stop(&k);
}

/* At rest the service wakes twice a second, not more. */
ATF_TC_WITHOUT_HEAD(at_rest_it_sleeps);
ATF_TC_BODY(at_rest_it_sleeps, tc)
{
	uint64_t until;

	world_start_alone();
	world_run(60 * NS_PER_S);
	for (unsigned i = 0; i < 100; i++) {
		world_settle();
		ATF_REQUIRE(tcpip_may_sleep(&until));
		tcpip_woke();
		ATF_REQUIRE(until >= world_now() + NS_PER_S / 2);
		world_run(until - world_now());
	}
}

/* A segment to ECHO from a peer's port, 10.0.0.2 being anybody. */
static void
send_segment(uint32_t from, uint16_t port, uint32_t sequence, uint32_t ack, uint8_t flags)
{
	uint8_t f[54] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64,
		6 };
	uint8_t pseudo[32] = { [9] = 6, [11] = 20 };
	uint16_t sum;

	for (unsigned i = 0; i < 4; i++) {
		f[26 + i] = (uint8_t)(from >> (24 - 8 * i));
		f[38 + i] = (uint8_t)(sequence >> (24 - 8 * i));
		f[42 + i] = (uint8_t)(ack >> (24 - 8 * i));
	}
	memcpy(f + 30, (uint8_t[]){ 10, 0, 0, 1 }, 4);
	f[34] = (uint8_t)(port >> 8);
	f[35] = (uint8_t)port;
	f[37] = ECHO;
	f[46] = 0x50;
	f[47] = flags;
	f[48] = 1;
	sum = (uint16_t)~lwip_sum(f + 14, 20);
	memcpy(f + 24, &sum, 2);
	memcpy(pseudo, f + 26, 8);
	memcpy(pseudo + 12, f + 34, 20);
	sum = (uint16_t)~lwip_sum(pseudo, 32);
	memcpy(f + 50, &sum, 2);
	world_receive(f, sizeof(f));
}

/* Connections that are begun and never go on keep nobody out, and take no more than they did. */
ATF_TC_WITHOUT_HEAD(who_only_begins_connections_keeps_nobody_out);
ATF_TC_BODY(who_only_begins_connections_keeps_nobody_out, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint8_t t[20];

	world_start_alone();
	ATF_REQUIRE_EQ(sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1), OK);
	ATF_REQUIRE_EQ(sock_listen(&k, ECHO, 2, &l), OK);
	while (next_segment(t))
		;
	for (unsigned i = 0; i < 3000; i++) {
		send_segment(0x0a000100 + i, (uint16_t)(2000 + i), i, 0, 2);
		if (i % 64 == 63)
			world_settle();
	}
	send_segment(0x0a000002, 1000, 5000, 0, 2);
	do
		ATF_REQUIRE(next_segment(t));
	while (t[2] != 3 || t[3] != 232);
	ATF_CHECK_EQ(t[13], 0x12);
	send_segment(0x0a000002, 1000, 5001, get32(t + 4) + 1, 0x10);
	world_settle();
	ATF_CHECK_EQ(sock_accept(&l, 4096, 4096, &s), OK);
	sock_close(&s);
	sock_close(&l);
	sock_stop(&k);
}

/* Addresses as text. */
ATF_TC_WITHOUT_HEAD(addresses_are_read_as_they_are_written);
ATF_TC_BODY(addresses_are_read_as_they_are_written, tc)
{
	static const char *const same[] = { "0.0.0.0", "255.255.255.255", "10.0.2.15", "::", "::1",
		"fe80::ff:fe00:2", "2001:db8::1:0:0:1", "1:2:3:4:5:6:7:8",
		"1::", "2001:db8:0:1:1:1:1:1" };
	static const char *const bad[] = { "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ",
		"0001.2.3.4", ":", ":::", "1:", ":1", "1::2::3", "12345::", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1.2.3", "g::", "localhost" };
	struct sock_addr a;
	char text[46];

	for (unsigned i = 0; i < ARRAY_SIZE(same); i++) {
		ATF_REQUIRE_EQ_MSG(sock_addr_parse(same[i], &a), OK, "%s", same[i]);
		sock_addr_text(&a, text, sizeof(text));
		ATF_CHECK_STREQ(text, same[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		ATF_CHECK_EQ_MSG(sock_addr_parse(bad[i], &a), E_INVALID, "%s", bad[i]);
	ATF_REQUIRE_EQ(sock_addr_parse("::ffff:1.2.3.4", &a), OK);
	ATF_CHECK(sock_addr_is_v4(&a));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_port_that_the_manifest_does_not_name_is_refused);
	ATF_TP_ADD_TC(tp, who_may_not_connect_reaches_nobody);
	ATF_TP_ADD_TC(tp, indices_that_cannot_be_end_the_connection);
	ATF_TP_ADD_TC(tp, a_ring_may_change_under_the_service);
	ATF_TP_ADD_TC(tp, a_dead_client_leaves_nothing_behind);
	ATF_TP_ADD_TC(tp, a_client_has_so_many_sockets_and_bytes_and_no_more);
	ATF_TP_ADD_TC(tp, who_does_not_read_holds_no_more_than_a_window);
	ATF_TP_ADD_TC(tp, datagrams_keep_their_bounds);
	ATF_TP_ADD_TC(tp, a_listener_takes_no_more_than_it_said);
	ATF_TP_ADD_TC(tp, a_peer_of_the_predecessor_learns_that_it_is_gone);
	ATF_TP_ADD_TC(tp, who_only_begins_connections_keeps_nobody_out);
	ATF_TP_ADD_TC(tp, at_rest_it_sleeps);
	ATF_TP_ADD_TC(tp, addresses_are_read_as_they_are_written);
	return atf_no_error();
}
