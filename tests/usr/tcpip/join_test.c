/*
 * Packets that are joined: what continues a segment, what does not, and that nothing is lost,
 * overtaken or changed.
 */
/* LINK: usr/tcpip/join.c usr/tcpip/port/heap.c usr/tcpip/port/port.c usr/lib/sha256.c
 * LINK: kern/base/fmt.c kern/base/str.c */
#include <atf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define main program_main	/* os.h declares that of a program */
#include "lwip/init.h"
#include "lwip/pbuf.h"
#include "usr/tcpip/frame.h"
#include "usr/tcpip/tcpip.h"
#undef main

enum { SEGMENT = 1460, LARGE = 40000 };
enum : uint8_t { SYN = 0x02, RST = 0x04, URG = 0x20 };

struct tcpip tcpip;
int8_t
stream_segment(struct tcp_pcb *pcb UNUSED, uint32_t seq UNUSED, uint32_t bytes UNUSED)
{
	return 0;
}
void *pages_alloc(uint64_t pages, handle_t *memory UNUSED)
{
	return aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
}
void
die(const char *format, ...)
{
	atf_tc_fail("%s", format);
}

/* --- what lwIP would get -------------------------------------------------------- */

static struct { uint32_t len; enum sums known; uint8_t bytes[LARGE]; } got[64];
static uint32_t gots;

void
nif_input(struct pbuf *p, enum sums known, uint32_t packets UNUSED)
{
	uint32_t len = 0;

	ATF_REQUIRE(gots < 64);
	for (const struct pbuf *q = p; q != NULL; q = q->next) {
		ATF_REQUIRE_EQ(q->tot_len, p->tot_len - len);
		len += q->len;
	}
	ATF_REQUIRE_EQ(len, p->tot_len);
	got[gots].known = known;
	got[gots].len = len - ETH_PAD_SIZE;
	(void)pbuf_copy_partial(p, got[gots].bytes, (uint16_t)got[gots].len, ETH_PAD_SIZE);
	gots++;
	pbuf_free(p);
}

/* --- packets -------------------------------------------------------------------- */

static struct packet {
	bool v6;
	uint8_t flags, hops, options;
	uint16_t port, window;
	uint32_t seq, ack, bytes, pad;
} plain = { .flags = FRAME_ACK, .hops = 64, .port = 80, .window = 1000, .seq = 5, .ack = 7,
	.bytes = SEGMENT };

static uint8_t frame[2048];

static uint8_t pattern(uint32_t seq) { return (uint8_t)(seq * 31 + (seq >> 8)); }

static uint32_t
build(const struct packet *k)
{
	uint32_t tcp = FRAME_MAC + (k->v6 ? FRAME_V6 : FRAME_V4);
	uint32_t head = FRAME_TCP + k->options, len = head + k->bytes;
	uint8_t *f = frame, *t = frame + tcp;

	memset(f, 0, sizeof(frame));
	memset(f, 2, 12);
	frame_put16(f + 12, k->v6 ? 0x86dd : 0x0800);
	f += FRAME_MAC;
	if (k->v6) {
		f[0] = 0x60;
		frame_put16(f + 4, len);
		f[6] = FRAME_PROTO_TCP;
		f[7] = k->hops;
		memset(f + 8, 0xfe, 32);
	} else {
		f[0] = 0x45;
		frame_put16(f + 2, FRAME_V4 + len);
		f[8] = k->hops;
		f[9] = FRAME_PROTO_TCP;
		memset(f + 12, 10, 8);
		*(frame_half *)(f + 10) = (uint16_t)~frame_fold(frame_sum(f, FRAME_V4 / 4));
	}
	frame_put16(t, k->port);
	frame_put16(t + 2, 1234);
	frame_put32(t + 4, k->seq);
	frame_put32(t + 8, k->ack);
	t[12] = (uint8_t)(head / 4 << 4);
	t[13] = k->flags;
	frame_put16(t + 14, k->window);
	for (uint32_t i = 0; i < k->bytes; i++)
		t[head + i] = pattern(k->seq + i);
	*(frame_half *)(t + FRAME_TCP_SUM) =
	    (uint16_t)~frame_fold(frame_pseudo(frame, tcp, len) + lwip_sum(t, (int)len));
	return tcp + len + k->pad;
}

static void
take(struct packet k)
{
	uint32_t len = build(&k);

	join_take(frame, len, false);
	memset(frame, 0xee, sizeof(frame));	/* the buffer is the device's again */
}

static struct packet
after(struct packet k)
{
	k.seq += k.bytes;
	return k;
}

static void
begin(void)
{
	static bool done;

	if (!done)
		lwip_init();
	done = true;
	gots = 0;
	tcpip.rx_dropped = 0;
}

/* That one holds bytes of the stream from seq on. */
static void
require(uint32_t which, uint32_t seq, uint32_t bytes, uint32_t tcp)
{
	const uint8_t *f = got[which].bytes;

	ATF_REQUIRE(which < gots);
	ATF_CHECK_EQ(got[which].len, tcp + FRAME_TCP + bytes);
	ATF_CHECK_EQ(frame_get32(f + tcp + 4), seq);
	ATF_CHECK_EQ(tcp == FRAME_MAC + FRAME_V4 ? frame_get16(f + FRAME_MAC + 2) - FRAME_V4 :
						   frame_get16(f + FRAME_MAC + 4),
	    FRAME_TCP + bytes);
	for (uint32_t i = 0; i < bytes; i++)
		ATF_REQUIRE_EQ(f[tcp + FRAME_TCP + i], pattern(seq + i));
}

enum { TCP4 = FRAME_MAC + FRAME_V4, TCP6 = FRAME_MAC + FRAME_V6 };

ATF_TC_WITHOUT_HEAD(what_continues_is_one_segment);
ATF_TC_BODY(what_continues_is_one_segment, tc)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct packet k = plain;

		begin();
		k.v6 = v6;
		take(k);
		k = after(k);
		k.bytes = 333;		/* odd: what comes after lies at an odd place */
		k.ack = 9;
		take(k);
		k = after(k);
		k.bytes = 21;
		k.flags = FRAME_ACK | FRAME_PSH;
		k.window = 2000;
		take(k);
		ATF_CHECK_EQ(gots, 0);
		join_end();
		ATF_REQUIRE_EQ(gots, 1);
		ATF_CHECK_EQ(got[0].known, SUMS_RIGHT);
		require(0, 5, SEGMENT + 333 + 21, v6 ? TCP6 : TCP4);
		ATF_CHECK_EQ(frame_get32(got[0].bytes + (v6 ? TCP6 : TCP4) + 8), 9);
		ATF_CHECK_EQ(got[0].bytes[(v6 ? TCP6 : TCP4) + 13], FRAME_ACK | FRAME_PSH);
		ATF_CHECK_EQ(frame_get16(got[0].bytes + (v6 ? TCP6 : TCP4) + 14), 2000);
		join_end();
		ATF_CHECK_EQ(gots, 1);
	}
}

ATF_TC_WITHOUT_HEAD(acknowledgements_are_joined_and_repeated_ones_are_not);
ATF_TC_BODY(acknowledgements_are_joined_and_repeated_ones_are_not, tc)
{
	struct packet k = plain;

	begin();
	k.bytes = 0;
	k.pad = 6;			/* the least length of a frame on a wire */
	for (k.ack = 100; k.ack < 110; k.ack++)
		take(k);
	k.ack = 109;
	for (unsigned i = 0; i < 3; i++)
		take(k);		/* a sign of loss */
	join_end();
	ATF_REQUIRE_EQ(gots, 4);
	for (unsigned i = 0; i < 4; i++) {
		ATF_CHECK_EQ(frame_get32(got[i].bytes + TCP4 + 8), 109);
		ATF_CHECK_EQ(got[i].known, SUMS_RIGHT);
	}
}

/* Two packets, of which the second is changed: two segments, in order. */
ATF_TC_WITHOUT_HEAD(what_does_not_continue_is_a_segment_of_its_own);
ATF_TC_BODY(what_does_not_continue_is_a_segment_of_its_own, tc)
{
	for (unsigned what = 0; what < 12; what++) {
		struct packet k = after(plain);

		begin();
		take(plain);
		switch (what) {
		case 0: k.seq += 1; break;
		case 1: k.seq -= 1; break;
		case 2: k.ack -= 1; break;
		case 3: k.flags |= FRAME_FIN; break;
		case 4: k.flags |= SYN; break;
		case 5: k.flags |= RST; break;
		case 6: k.flags |= URG; break;
		case 7: k.flags |= FRAME_CWR; break;
		case 8: k.flags = FRAME_PSH; break;
		case 9: k.options = 12; k.bytes -= 12; break;
		case 10: k.hops--; break;
		case 11: k.bytes = 0; break;	/* the same acknowledgement again */
		}
		take(k);
		join_end();
		ATF_REQUIRE_EQ_MSG(gots, 2, "%u: %u", what, gots);
		require(0, 5, SEGMENT, TCP4);
		ATF_CHECK_EQ(frame_get32(got[1].bytes + TCP4 + 4), k.seq);
		ATF_CHECK_EQ(got[1].bytes[TCP4 + 13], k.flags);
	}
}

ATF_TC_WITHOUT_HEAD(a_wrong_sum_is_left_to_lwip);
ATF_TC_BODY(a_wrong_sum_is_left_to_lwip, tc)
{
	struct packet k = after(plain);
	uint32_t len = build(&k), bad;

	for (uint32_t at = FRAME_MAC + 1; at < len; at += at < TCP4 + FRAME_TCP ? 1 : 97) {
		begin();
		take(plain);
		len = build(&k);
		frame[at] ^= 0x04;
		join_take(frame, len, false);
		join_end();
		ATF_REQUIRE_EQ_MSG(gots, 2, "byte %u", at);
		/* Of what seems another connection there is no order. */
		bad = got[0].known == SUMS_UNKNOWN ? 0 : 1;
		require(1 - bad, 5, SEGMENT, TCP4);
		ATF_CHECK_EQ_MSG(got[bad].known, SUMS_UNKNOWN, "byte %u", at);
		ATF_CHECK_EQ(got[bad].len, len);
		ATF_CHECK_EQ(memcmp(got[bad].bytes, frame, len), 0);
	}
	/* Of what the device has checked only IP's own is looked at. */
	begin();
	take(plain);
	len = build(&k);
	frame[TCP4 + FRAME_TCP_SUM] ^= 1;
	join_take(frame, len, true);
	join_end();
	ATF_CHECK_EQ(gots, 1);
	begin();
	len = build(&k);
	frame[FRAME_MAC + 10] ^= 1;
	join_take(frame, len, true);
	join_end();
	ATF_REQUIRE_EQ(gots, 1);
	ATF_CHECK_EQ(got[0].known, SUMS_RIGHT_BUT_IP);
}

ATF_TC_WITHOUT_HEAD(lengths_that_lie_stay_within_their_frame);
ATF_TC_BODY(lengths_that_lie_stay_within_their_frame, tc)
{
	for (uint32_t len = 0; len < 80; len++) {
		struct packet k = plain;

		k.v6 = len % 2;
		begin();
		(void)build(&k);
		join_take(frame, len, true);
		join_end();
		ATF_CHECK_EQ(gots + tcpip.rx_dropped, 1);
		ATF_CHECK(gots == 0 ||
		    (got[0].len == len && memcmp(got[0].bytes, frame, len) == 0));
	}
	for (uint32_t claim = 0; claim < 65536; claim += 13) {
		struct packet k = plain;
		uint32_t len = build(&k);
		uint8_t *ip = frame + FRAME_MAC;

		begin();
		frame_put16(ip + 2, claim);
		frame_put16(ip + 10, 0);
		*(frame_half *)(ip + 10) = (uint16_t)~frame_fold(frame_sum(ip, FRAME_V4 / 4));
		join_take(frame, len, true);
		join_end();
		ATF_REQUIRE_EQ(gots, 1);
		ATF_CHECK(got[0].len <= len);
	}
}

ATF_TC_WITHOUT_HEAD(a_train_has_an_end_and_connections_their_own);
ATF_TC_BODY(a_train_has_an_end_and_connections_their_own, tc)
{
	enum { CONNECTIONS = 12, PACKETS = 30 };
	uint32_t next[CONNECTIONS], total = 0;

	begin();
	for (uint32_t i = 0; i < PACKETS; i++)
		for (uint16_t c = 0; c < CONNECTIONS; c += 5) {
			struct packet k = plain;

			k.port = c;
			k.seq = 5 + i * SEGMENT;
			take(k);
		}
	join_end();
	ATF_CHECK_EQ(gots, 2 * 3);	/* 22 packets and 8, of each */
	for (uint16_t c = 0; c < CONNECTIONS; c++)
		next[c] = 5;
	for (uint32_t i = 0; i < gots; i++) {
		uint32_t bytes = got[i].len - TCP4 - FRAME_TCP;
		uint32_t c = frame_get16(got[i].bytes + TCP4);

		ATF_REQUIRE(c < CONNECTIONS);
		ATF_CHECK(bytes <= 32 * 1024);
		require(i, next[c], bytes, TCP4);
		next[c] += bytes;
		total += bytes;
	}
	ATF_CHECK_EQ(total, 3u * PACKETS * SEGMENT);
	/* More connections than trains: none is lost. */
	begin();
	for (uint16_t c = 0; c < CONNECTIONS; c++) {
		struct packet k = plain;

		k.port = c;
		take(k);
	}
	join_end();
	ATF_CHECK_EQ(gots, CONNECTIONS);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_continues_is_one_segment);
	ATF_TP_ADD_TC(tp, acknowledgements_are_joined_and_repeated_ones_are_not);
	ATF_TP_ADD_TC(tp, what_does_not_continue_is_a_segment_of_its_own);
	ATF_TP_ADD_TC(tp, a_wrong_sum_is_left_to_lwip);
	ATF_TP_ADD_TC(tp, lengths_that_lie_stay_within_their_frame);
	ATF_TP_ADD_TC(tp, a_train_has_an_end_and_connections_their_own);
	return atf_no_error();
}
