/*
 * What is lost on the way to the service is asked for again: by packets that come ahead of it, and
 * when a NIC's server has died, by the service.
 */
/* LINK: usr/tcpip/turn.c usr/tcpip/session.c usr/lib/complain.c usr/tcpip/stream.c
 * LINK: usr/tcpip/dgram.c usr/tcpip/ask.c usr/tcpip/gone.c usr/tcpip/lost.c
 * LINK: usr/tcpip/nif.c usr/tcpip/join.c usr/tcpip/out.c usr/tcpip/port/heap.c
 * LINK: usr/tcpip/port/port.c usr/lib/sock.c usr/lib/net.c
 * LINK: usr/lib/sock_addr.c usr/lib/sha256.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/usr/tcpip/world.c tests/usr/tcpip/world_nic.c
 * LINK: tests/usr/tcpip/world_sys.c tests/usr/tcpip/world_far.c */
#include <atf-c.h>
#include <stdio.h>
#include <string.h>

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "lwip/opt.h"
#include "usr/tcpip/frame.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/usr/tcpip/world.h"

enum { SEGMENT = 1000, PEER_PORT = 1000, TCP = FRAME_MAC + FRAME_V4, AWAY_MS = 50, QUIET_MS = 2 };
enum { TIMER_MS = 500 };		/* lwIP's: it sends nothing again sooner */

static struct socks k;

/* --- a peer by hand --------------------------------------------------------------- */

/* From 10.0.0.2 to ECHO. */
static void
send_segment(uint32_t sequence, uint32_t ack, uint8_t flags, uint32_t bytes)
{
	uint8_t f[TCP + FRAME_TCP + SEGMENT] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45 };
	uint8_t *ip = f + FRAME_MAC, *t = f + TCP;

	frame_put16(ip + 2, FRAME_V4 + FRAME_TCP + bytes);
	ip[8] = 64;
	ip[9] = FRAME_PROTO_TCP;
	memcpy(ip + 12, (uint8_t[]){ 10, 0, 0, 2, 10, 0, 0, 1 }, 8);
	*(frame_half *)(ip + 10) = (uint16_t)~frame_fold(frame_sum(ip, FRAME_V4 / 4));
	frame_put16(t, PEER_PORT);
	frame_put16(t + 2, ECHO);
	frame_put32(t + 4, sequence);
	frame_put32(t + 8, ack);
	t[12] = FRAME_TCP / 4 << 4;
	t[13] = flags;
	frame_put16(t + 14, 0x4000);
	memset(t + FRAME_TCP, 7, bytes);
	*(frame_half *)(t + FRAME_TCP_SUM) =
	    (uint16_t)~frame_fold(frame_pseudo(f, TCP, FRAME_TCP + bytes) +
		lwip_sum(t, (int)(FRAME_TCP + bytes)));
	world_receive(f, (uint32_t)(TCP + FRAME_TCP + bytes));
}

/* Segments that were sent until now: how many of them acknowledge that, and say nothing more; *last
 * is the sequence number of the last one.  Who asks for the peer's address is told. */
static uint32_t
acknowledgements(uint32_t ack, uint32_t *last)
{
	static const uint8_t is_at[42] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6,
		4, 0, 2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1 };
	uint32_t len, n = 0;
	uint8_t f[1514];

	while ((len = world_sent(f, sizeof(f))) != 0) {
		if (f[12] == 8 && f[13] == 6 && f[21] == 1 && f[41] == 2) {
			world_receive(is_at, sizeof(is_at));
			world_settle();
		}
		if (frame_tcp(f, len) == 0 || frame_get16(f + TCP + 2) != PEER_PORT)
			continue;
		*last = frame_get32(f + TCP + 4);
		n += frame_get16(f + FRAME_MAC + 2) == FRAME_V4 + FRAME_TCP &&
		    f[TCP + 13] == FRAME_ACK && frame_get32(f + TCP + 8) == ack;
	}
	return n;
}

/* The peer's connection, accepted; its next sequence number is 101, ours *next. */
static void
open_by_hand(struct sock *l, struct sock *s, uint32_t *next)
{
	world_start_alone();
	ATF_REQUIRE_EQ(sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1), OK);
	ATF_REQUIRE_EQ(sock_listen(&k, ECHO, 2, l), OK);
	world_run(NS_PER_S);
	send_segment(100, 0, 2, 0);
	world_settle();
	(void)acknowledgements(101, next);
	world_settle();
	(void)acknowledgements(101, next);
	++*next;
	send_segment(101, *next, FRAME_ACK, 0);
	world_settle();
	ATF_REQUIRE_EQ(sock_accept(l, 65536, 65536, s), OK);
	world_settle();
	(void)acknowledgements(101, next);
}

static void
end_by_hand(struct sock *l, struct sock *s)
{
	sock_abort(s);
	sock_close(l);
	sock_stop(&k);
}

/* They are one segment for lwIP, and a peer has to hear of three before it sends the lost one. */
ATF_TC_WITHOUT_HEAD(packets_ahead_of_a_hole_are_answered_though_they_are_joined);
ATF_TC_BODY(packets_ahead_of_a_hole_are_answered_though_they_are_joined, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint32_t next, n;

	open_by_hand(&l, &s, &next);
	for (uint32_t i = 1; i <= 6; i++)
		send_segment(101 + i * SEGMENT, next, FRAME_ACK, SEGMENT);
	world_settle();
	n = acknowledgements(101, &next);
	ATF_CHECK_MSG(n >= 3 && n <= 6, "%u acknowledgements", n);
	/* What fills it acknowledges everything, once: nothing is missing then. */
	send_segment(101, next, FRAME_ACK, SEGMENT);
	world_settle();
	n = acknowledgements(101 + 7 * SEGMENT, &next);
	ATF_CHECK_MSG(n == 1, "%u acknowledgements", n);
	ATF_CHECK_EQ(sock_readable(&s), 7 * SEGMENT);
	end_by_hand(&l, &s);
}

/* Two packets may have been swapped: that is no loss. */
ATF_TC_WITHOUT_HEAD(one_packet_ahead_is_answered_once);
ATF_TC_BODY(one_packet_ahead_is_answered_once, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint32_t next;

	open_by_hand(&l, &s, &next);
	send_segment(101 + SEGMENT, next, FRAME_ACK, SEGMENT);
	world_settle();
	ATF_CHECK_EQ(acknowledgements(101, &next), 1);
	end_by_hand(&l, &s);
}

/* Nothing comes ahead of what the dead server took with it: the service says at once where it
 * stands, three times more than once, and so again for each that is sent again. */
ATF_TC_WITHOUT_HEAD(after_a_server_died_the_peer_hears_what_is_missing);
ATF_TC_BODY(after_a_server_died_the_peer_hears_what_is_missing, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint32_t next, n;

	open_by_hand(&l, &s, &next);
	world_kill_nic(AWAY_MS * NS_PER_MS);
	world_run((AWAY_MS + 1) * NS_PER_MS);
	world_settle();
	n = acknowledgements(101, &next);
	ATF_CHECK_MSG(n == 4, "%u acknowledgements", n);
	for (uint32_t i = 0; i < 3; i++) {
		send_segment(101 + i * SEGMENT, next, FRAME_ACK, SEGMENT);
		world_run(QUIET_MS * NS_PER_MS);
		n = acknowledgements(101 + (i + 1) * SEGMENT, &next);
		ATF_CHECK_MSG(n == 4, "%u acknowledgements of segment %u", n, i);
	}
	/* Less than a whole one is the last, mostly. */
	send_segment(101 + 3 * SEGMENT, next, FRAME_ACK, 10);
	world_run(QUIET_MS * NS_PER_MS);
	n = acknowledgements(111 + 3 * SEGMENT, &next);
	ATF_CHECK_MSG(n == 0, "%u acknowledgements", n);
	world_run(10 * QUIET_MS * NS_PER_MS);
	n = acknowledgements(111 + 3 * SEGMENT, &next);
	ATF_CHECK_MSG(n == 4, "%u acknowledgements", n);
	/* What comes twice was not missing. */
	send_segment(101, next, FRAME_ACK, SEGMENT);
	world_settle();
	(void)acknowledgements(0, &next);
	send_segment(111 + 3 * SEGMENT, next, FRAME_ACK, SEGMENT);
	world_run(NS_PER_S);
	n = acknowledgements(111 + 4 * SEGMENT, &next);
	ATF_CHECK_MSG(n == 1, "%u acknowledgements", n);
	end_by_hand(&l, &s);
}

/* Where others follow nothing is missing, and after the peer's end nothing comes. */
ATF_TC_WITHOUT_HEAD(who_goes_on_is_not_told);
ATF_TC_BODY(who_goes_on_is_not_told, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint32_t next, n;

	open_by_hand(&l, &s, &next);
	world_kill_nic(AWAY_MS * NS_PER_MS);
	world_run((AWAY_MS + 1) * NS_PER_MS);
	world_settle();
	(void)acknowledgements(101, &next);
	for (uint32_t i = 0; i < 20; i++) {
		send_segment(101 + i * SEGMENT, next, FRAME_ACK, SEGMENT);
		world_run(NS_PER_MS / 10);
		n = acknowledgements(101 + (i + 1) * SEGMENT, &next);
		ATF_CHECK_MSG(n <= 1, "%u acknowledgements of segment %u", n, i);
	}
	send_segment(101 + 20 * SEGMENT, next, FRAME_ACK | FRAME_FIN, 0);
	world_run(QUIET_MS * NS_PER_MS);
	n = acknowledgements(102 + 20 * SEGMENT, &next);
	ATF_CHECK_MSG(n == 1, "%u acknowledgements of the end", n);
	end_by_hand(&l, &s);
}

/* The peer's own timer has done it by then. */
ATF_TC_WITHOUT_HEAD(it_is_not_said_for_ever);
ATF_TC_BODY(it_is_not_said_for_ever, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint32_t next, n;

	open_by_hand(&l, &s, &next);
	world_kill_nic(AWAY_MS * NS_PER_MS);
	world_run((AWAY_MS + 1500) * NS_PER_MS);
	(void)acknowledgements(101, &next);
	send_segment(101, next, FRAME_ACK, SEGMENT);
	world_run(NS_PER_S);
	n = acknowledgements(101 + SEGMENT, &next);
	ATF_CHECK_MSG(n == 1, "%u acknowledgements", n);
	end_by_hand(&l, &s);
}

/* What is not acknowledged may be the acknowledgement that was lost. */
ATF_TC_WITHOUT_HEAD(after_a_server_died_the_peer_is_asked_where_it_stands);
ATF_TC_BODY(after_a_server_died_the_peer_is_asked_where_it_stands, tc)
{
	struct sock l = { 0 }, s = { 0 };
	uint32_t next, n, len, again = 0;
	uint8_t f[1514];

	open_by_hand(&l, &s, &next);
	for (uint32_t i = 0; i < 3; i++) {
		memset(sock_space(&s, &n), 9, SEGMENT);
		sock_produce(&s, SEGMENT);
		sock_kick(&k);
		world_settle();
	}
	while (world_sent(f, sizeof(f)) != 0)
		;
	world_kill_nic(AWAY_MS * NS_PER_MS);
	world_run((AWAY_MS + 1) * NS_PER_MS);
	world_settle();
	while ((len = world_sent(f, sizeof(f))) != 0)
		again += frame_tcp(f, len) != 0 && frame_get32(f + TCP + 4) == next &&
		    len > TCP + FRAME_TCP;
	ATF_CHECK_MSG(again == 1, "the first byte was sent again %u times", again);
	end_by_hand(&l, &s);
}

/* --- a peer that is a stack --------------------------------------------------------- */

/* The longest time without a byte of SOURCE's, while the NIC's server dies six times. */
static uint64_t
longest_pause(uint64_t seed)
{
	struct sock_addr far = world_far();
	struct sock s = { 0 };
	uint64_t got = 0, last, worst = 0, deaths = 0;

	world_start(seed);
	ATF_REQUIRE_EQ(sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1), OK);
	ATF_REQUIRE_EQ(sock_connect(&k, &far, SOURCE, 65536, 4096, &s), OK);
	while (sock_state(&s) == SOCK_CONNECTING) {
		ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		(void)sock_ready(&k);
	}
	last = world_now();
	while (got < SOURCE_BYTES) {
		const uint8_t *p;
		uint32_t n;

		(void)sock_ready(&k);
		p = sock_peek(&s, &n);
		for (uint32_t i = 0; i < n; i++)
			if (p[i] != world_pattern(got + i))
				atf_tc_fail("byte %llu is another", (unsigned long long)(got + i));
		sock_consume(&s, n);
		got += n;
		if (n != 0) {
			worst = max_u64(worst, world_now() - last);
			last = world_now();
			if (got / 400'000 > deaths && deaths < 6) {
				deaths++;
				world_kill_nic(AWAY_MS * NS_PER_MS);
			}
		} else {
			ATF_REQUIRE_EQ(sock_wait(&k, world_now() + 300 * NS_PER_S), OK);
		}
	}
	ATF_CHECK_EQ(deaths, 6);
	sock_abort(&s);
	sock_stop(&k);
	world_stop();
	return worst;
}

ATF_TC_WITHOUT_HEAD(a_stream_does_not_wait_for_its_peers_timer);
ATF_TC_BODY(a_stream_does_not_wait_for_its_peers_timer, tc)
{
	uint64_t worst = longest_pause(7);

	printf("%llu ms, of which the server was away for %u\n",
	    (unsigned long long)(worst / NS_PER_MS), AWAY_MS);
	ATF_CHECK_MSG(worst < (AWAY_MS + TIMER_MS / 2) * NS_PER_MS, "a pause of %llu ms",
	    (unsigned long long)(worst / NS_PER_MS));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, packets_ahead_of_a_hole_are_answered_though_they_are_joined);
	ATF_TP_ADD_TC(tp, one_packet_ahead_is_answered_once);
	ATF_TP_ADD_TC(tp, after_a_server_died_the_peer_hears_what_is_missing);
	ATF_TP_ADD_TC(tp, who_goes_on_is_not_told);
	ATF_TP_ADD_TC(tp, it_is_not_said_for_ever);
	ATF_TP_ADD_TC(tp, after_a_server_died_the_peer_is_asked_where_it_stands);
	ATF_TP_ADD_TC(tp, a_stream_does_not_wait_for_its_peers_timer);
	return atf_no_error();
}
