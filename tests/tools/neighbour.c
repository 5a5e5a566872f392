/*
 * The other end of a guest's wire, by hand: a neighbour that says exactly what a test asks for, and
 * tells what came.
 *
 *     neighbour OWN GUEST          Unix sockets, as netpeer has them
 *
 * The guest is 10.0.2.15; every other address of the wire is this one's: it answers ARP and echoes,
 * is a name server, and serves a page at port 80.  Names are of the form WORD.test:
 * tests/lib/fake_names.h tells the words.
 *
 * Commands, a line each; each prints lines, the last of which begins with "ok" or "no":
 *
 *   ping MAC [BYTES]   an echo to that MAC and the guest's address: who answered
 *   ping6 BYTES        the same from fe80::2 to fe80::5054:ff:fe12:3456
 *   open PORT          a connection, with all options that are asked for: which the guest has
 *   data BYTES         is sent on it, and must be acknowledged
 *   hole               six segments, the second and the fifth of them late: SACK blocks meanwhile
 *   flight BYTES       takes what the guest sends, until so much of it is on its way at once
 *   shut               a reset
 *   largest            frame that came since the last time
 *
 * Told by itself: "announce ADDRESS MAC", an ARP packet by which the guest makes itself known, and
 * "asked WORD for type N".
 *
 * LINK: tests/lib/fake_names.c
 */
#include "tests/lib/fake_names.h"

#include <err.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	MAC = 6,
	ETH = 14,
	IP = 20,
	IP6 = 40,
	TCP = 20,
	UDP = 8,
	LARGE = 65536,
	MSS = 1460,
	SCALE = 7
};
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum : uint32_t {
	GUEST = 0x0a00020f,
	GATEWAY = 0x0a000202,
	NAMES = 0x0a000203,
	WEB = 0x0a000204,
	NOWHERE = 0x0a000242
};
enum { AT_ONCE = 16, WAIT_MS = 5000, AGAIN_MS = 1000, PORT = 40000 };

static const uint8_t own[MAC] = { 2, 0x66, 0, 0, 0, 2 };
static uint8_t guest[MAC] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 }; /* until it says otherwise */
static int wire;
static struct sockaddr_un to = { .sun_family = AF_UNIX };
static uint32_t largest;

/* What the commands wait for. */
static struct {
	uint16_t sequence;
	int came;
	uint8_t from[MAC];
	uint32_t bytes;
} echo;
static struct {
	uint16_t port, own;        /* port 0: none */
	uint32_t isn, next, acked; /* next to send; what the guest has acknowledged */
	uint32_t expect, told;     /* the guest's: next byte; as it was acknowledged last */
	uint32_t window;
	int open, reset, scale, sack, mss, hold; /* hold: nothing is acknowledged */
	unsigned blocks;
	uint32_t block[4][2];
} tcp;

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
say(const char *format, ...)
{
	va_list a;

	va_start(a, format);
	vprintf(format, a);
	va_end(a);
	putchar('\n');
	fflush(stdout);
}

static void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}
static uint32_t
get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}
static uint32_t
get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static const char *
mac_text(const uint8_t *m)
{
	static char text[3 * MAC];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
	    m[5]);
	return text;
}

/* --- packets out ------------------------------------------------------------------- */

static uint32_t
sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i < n; i++)
		s += i % 2 != 0 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* n bytes are behind the two headers, of a protocol whose sum is at that place of them. */
static void
send_ip(uint8_t *f, uint32_t from, uint8_t protocol, size_t n, size_t sum_at)
{
	static uint16_t id;
	uint8_t *ip = f + ETH, *p = ip + IP;

	memcpy(f + MAC, own, MAC);
	put16(f + 2 * MAC, 0x0800);
	memset(ip, 0, IP);
	ip[0] = 0x45;
	put16(ip + 2, (uint32_t)(IP + n));
	put16(ip + 4, ++id);
	ip[8] = 64;
	ip[9] = protocol;
	put32(ip + 12, from);
	put32(ip + 16, GUEST);
	put16(p + sum_at, 0);
	put16(p + sum_at, ~sum(p, n, protocol == 1 ? 0 : sum(ip + 12, 8, protocol + (uint32_t)n)));
	put16(ip + 10, ~sum(ip, IP, 0));
	(void)!sendto(wire, f, ETH + IP + n, 0, (const struct sockaddr *)&to, sizeof(to));
}

static void
send_udp(uint32_t from, uint16_t port, uint16_t to_port, const uint8_t *bytes, size_t n)
{
	uint8_t f[ETH + IP + UDP + 2048], *u = f + ETH + IP;

	memcpy(f, guest, MAC);
	put16(u, port);
	put16(u + 2, to_port);
	put16(u + 4, (uint32_t)(UDP + n));
	memcpy(u + UDP, bytes, n);
	send_ip(f, from, 17, UDP + n, 6);
}

static void
send_tcp(uint32_t from, uint16_t port, uint16_t to_port, uint32_t seq, uint32_t ack, uint8_t flags,
    const void *bytes, size_t n)
{
	static const uint8_t options[12] = { 2, 4, MSS >> 8, MSS & 255, 4, 2, 3, 3, SCALE, 0, 0,
		0 };
	uint8_t f[ETH + IP + TCP + sizeof(options) + MSS], *t = f + ETH + IP;
	size_t head = TCP + ((flags & SYN) != 0 ? sizeof(options) : 0);

	memcpy(f, guest, MAC);
	put16(t, port);
	put16(t + 2, to_port);
	put32(t + 4, seq);
	put32(t + 8, ack);
	if (port == tcp.own)
		tcp.told = ack;
	t[12] = (uint8_t)(head / 4 << 4);
	t[13] = flags;
	put16(t + 14, 65535);
	put32(t + 16, 0);
	memcpy(t + TCP, options, head - TCP);
	if (n != 0)
		memcpy(t + head, bytes, n);
	send_ip(f, from, 6, head + n, 16);
}

/* IPv6 with ICMPv6 behind it, between link-local addresses. */
static void
send_icmp6(uint8_t *f, size_t n)
{
	static const uint8_t from[16] = { 0xfe, 0x80, [15] = 2 };
	static const uint8_t at[16] = { 0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34,
		0x56 };
	uint8_t *ip = f + ETH, *p = ip + IP6;

	memcpy(f, guest, MAC);
	memcpy(f + MAC, own, MAC);
	put16(f + 2 * MAC, 0x86dd);
	memset(ip, 0, IP6);
	ip[0] = 0x60;
	put16(ip + 4, (uint32_t)n);
	ip[6] = 58;
	ip[7] = 255;
	memcpy(ip + 8, from, 16);
	memcpy(ip + 24, at, 16);
	put16(p + 2, 0);
	put16(p + 2, ~sum(p, n, sum(ip + 8, 32, 58 + (uint32_t)n)));
	(void)!sendto(wire, f, ETH + IP6 + n, 0, (const struct sockaddr *)&to, sizeof(to));
}

/* --- packets in ---------------------------------------------------------------------- */

/* The page: an answer to a request that comes in one segment, and the end of the stream. */
static void
serve_page(uint32_t at, const uint8_t *t, size_t n)
{
	static const char page[] = "HTTP/1.0 200 OK\r\nContent-Length: 14\r\n\r\nmade by hand!\n";
	const uint32_t isn = 7000, seq = get32(t + 4), ack = get32(t + 8);
	uint16_t port = (uint16_t)get16(t);
	size_t head = (t[12] >> 4) * 4u, bytes = head <= n ? n - head : 0;

	if ((t[13] & RST) != 0)
		return;
	if ((t[13] & SYN) != 0)
		send_tcp(at, 80, port, isn, seq + 1, SYN | ACK, NULL, 0);
	else if (bytes != 0)
		send_tcp(at, 80, port, isn + 1, seq + (uint32_t)bytes, FIN | PSH | ACK, page,
		    sizeof(page) - 1);
	else if ((t[13] & FIN) != 0)
		send_tcp(at, 80, port, ack, seq + 1, ACK, NULL, 0);
}

static void
take_options(const uint8_t *o, size_t n)
{
	tcp.blocks = 0;
	for (size_t i = 0; i < n && o[i] != 0;) {
		size_t len = o[i] == 1 || i + 1 >= n ? 1 : o[i + 1];

		if (len == 0 || i + len > n || (len == 1 && o[i] != 1)) {
			say("no: options that cannot be");
			return;
		}
		switch (o[i]) {
		case 2: tcp.mss = (int)get16(o + i + 2); break;
		case 3: tcp.scale = o[i + 2]; break;
		case 4: tcp.sack = 1; break;
		case 5:
			for (size_t k = 2; k + 8 <= len && tcp.blocks < 4; k += 8, tcp.blocks++) {
				tcp.block[tcp.blocks][0] = get32(o + i + k);
				tcp.block[tcp.blocks][1] = get32(o + i + k + 4);
			}
		}
		i += len;
	}
}

static void
take_tcp(const uint8_t *t, size_t n)
{
	size_t head = n >= TCP ? (t[12] >> 4) * 4u : 0;
	uint32_t seq, end;

	if (head < TCP || head > n || tcp.port == 0 || get16(t) != tcp.port ||
	    get16(t + 2) != tcp.own)
		return;
	if ((t[13] & RST) != 0) {
		tcp.reset = 1;
		return;
	}
	take_options(t + TCP, head - TCP);
	seq = get32(t + 4);
	tcp.acked = get32(t + 8);
	if ((t[13] & SYN) != 0) {
		tcp.expect = seq + 1;
		tcp.window = get16(t + 14);
		tcp.open = tcp.acked == tcp.next;
		send_tcp(GATEWAY, tcp.own, tcp.port, tcp.next, tcp.expect, ACK, NULL, 0);
		return;
	}
	tcp.window = get16(t + 14) << (tcp.scale >= 0 ? tcp.scale : 0);
	end = seq + (uint32_t)(n - head) + ((t[13] & FIN) != 0);
	if (seq == tcp.expect)
		tcp.expect = end;
	if (end != seq && !tcp.hold)
		send_tcp(GATEWAY, tcp.own, tcp.port, tcp.next, tcp.expect, ACK, NULL, 0);
}

static void
take_ip(uint8_t *f, size_t n)
{
	uint8_t *ip = f + ETH, *p = ip + IP;
	uint32_t at = get32(ip + 16), fragment = get16(ip + 6);
	size_t len = get16(ip + 2);

	if (ip[0] != 0x45 || len < IP + UDP || ETH + len > n || get32(ip + 12) != GUEST ||
	    at >> 8 != GUEST >> 8)
		return;
	len -= IP;
	if (ip[9] == 1 && (fragment & 0x1fff) != 0 && echo.came != 0) {
		echo.bytes += (uint32_t)len;
	} else if (ip[9] == 1 && p[0] == 0 && get16(p + 6) == echo.sequence) {
		echo.came = 1;
		memcpy(echo.from, f + MAC, MAC);
		echo.bytes = (uint32_t)len - 8;
	} else if (ip[9] == 1 && p[0] == 8 && fragment == 0) {
		memcpy(f, f + MAC, MAC);
		p[0] = 0;
		send_ip(f, at, 1, len, 2);
	} else if (ip[9] == 17 && at == NAMES && get16(p + 2) == 53) {
		struct names_reply r[NAMES_REPLIES];
		unsigned count = names_answer(p + UDP, len - UDP, r);

		for (unsigned i = 0; i < count; i++)
			send_udp(r[i].elsewhere ? NOWHERE : NAMES, 53, (uint16_t)get16(p),
			    r[i].bytes, r[i].len);
	} else if (ip[9] == 6 && len >= TCP && get16(p + 2) == 80) {
		serve_page(at, p, len);
	} else if (ip[9] == 6) {
		take_tcp(p, len);
	}
}

/* Who asks for fe80::2 is told; an echo may come in pieces, behind a header of 8 bytes each. */
static void
take_ip6(const uint8_t *f, size_t n)
{
	const uint8_t *ip = f + ETH, *p = ip + IP6;
	uint8_t a[ETH + IP6 + 32] = { 0 }, *q = a + ETH + IP6;
	size_t len = get16(ip + 4);

	if (ETH + IP6 + len > n || len < 8)
		return;
	if (ip[6] == 58 && p[0] == 135 && len >= 24 && p[8] == 0xfe && p[23] == 2) {
		q[0] = 136;
		q[4] = 0x60;
		memcpy(q + 8, p + 8, 16);
		q[24] = 2;
		q[25] = 1;
		memcpy(q + 26, own, MAC);
		send_icmp6(a, 32);
	} else if (ip[6] == 58 && p[0] == 129 && get16(p + 6) == echo.sequence) {
		echo.came = 1;
		echo.bytes = (uint32_t)len - 8;
	} else if (ip[6] == 44 && p[0] == 58 && len >= 16) {
		if ((get16(p + 2) & 0xfff8) == 0 && p[8] == 129 && get16(p + 14) == echo.sequence) {
			echo.came = 1;
			echo.bytes = (uint32_t)len - 16;
		} else if (echo.came != 0) {
			echo.bytes += (uint32_t)len - 8;
		}
	}
}

static void
take_arp(uint8_t *f)
{
	uint8_t *a = f + ETH;
	uint32_t from = get32(a + 14), about = get32(a + 24);

	if (from == about && from == GUEST) {
		say("announce %u.%u.%u.%u %s", from >> 24, from >> 16 & 255, from >> 8 & 255,
		    from & 255, mac_text(a + 8));
		memcpy(guest, a + 8, MAC);
		return;
	}
	if (get16(a + 6) != 1 || about == GUEST || about >> 8 != GUEST >> 8 || from != GUEST)
		return;
	memcpy(f, f + MAC, MAC);
	memcpy(f + MAC, own, MAC);
	put16(a + 6, 2);
	memcpy(a + 18, a + 8, MAC + 4);
	memcpy(a + 8, own, MAC);
	put32(a + 14, about);
	(void)!sendto(wire, f, ETH + 28, 0, (const struct sockaddr *)&to, sizeof(to));
}

/* Frames until it is that late, or what is waited for is there. */
static void
listen_until(uint64_t until, const int *flag)
{
	static uint8_t f[LARGE];

	while (flag == NULL || *flag == 0) {
		struct pollfd w = { .fd = wire, .events = POLLIN };
		uint64_t now = now_ms();
		ssize_t n;

		if (now >= until || poll(&w, 1, (int)(until - now)) <= 0)
			return;
		n = recv(wire, f, sizeof(f), MSG_DONTWAIT);
		if (n < ETH + 28)
			continue;
		if ((uint32_t)n > largest)
			largest = (uint32_t)n;
		if (get16(f + 12) == 0x0806)
			take_arp(f);
		else if (get16(f + 12) == 0x0800 && n >= ETH + IP + UDP)
			take_ip(f, (size_t)n);
		else if (get16(f + 12) == 0x86dd && n >= ETH + IP6)
			take_ip6(f, (size_t)n);
		if (flag == NULL)
			return;
	}
}

/* --- commands ------------------------------------------------------------------------- */

static void
command_ping(const char *mac, uint32_t bytes)
{
	static uint8_t f[ETH + IP + 8 + 2048];
	static uint16_t sequence;
	uint8_t *p = f + ETH + IP;
	unsigned m[MAC];

	if (sscanf(mac, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != MAC ||
	    bytes > 2048)
		errx(1, "no such address: %s", mac);
	memset(&echo, 0, sizeof(echo));
	for (int tries = 0; tries < 3 && echo.came == 0; tries++) {
		for (unsigned i = 0; i < MAC; i++)
			f[i] = (uint8_t)m[i];
		memset(p, 0, 8 + bytes);
		p[0] = 8;
		put16(p + 6, echo.sequence = ++sequence);
		send_ip(f, GATEWAY, 1, 8 + bytes, 2);
		listen_until(now_ms() + AGAIN_MS, &echo.came);
	}
	if (echo.came == 0) {
		say("no answer from %s", mac);
		return;
	}
	/* The rest of one in pieces. */
	for (uint64_t until = now_ms() + AGAIN_MS; echo.bytes < bytes && now_ms() < until;)
		listen_until(until, NULL);
	say("ok answer from %s, %u bytes", mac_text(echo.from), echo.bytes);
}

static void
command_ping6(uint32_t bytes)
{
	static uint8_t f[ETH + IP6 + 8 + 2048];
	uint8_t *p = f + ETH + IP6;

	if (bytes > MSS - 20)
		errx(1, "too long");
	memset(&echo, 0, sizeof(echo));
	for (int tries = 0; tries < 3 && echo.came == 0; tries++) {
		memset(p, 0, 8 + bytes);
		p[0] = 128;
		put16(p + 6, echo.sequence = (uint16_t)(0x6000 + tries));
		send_icmp6(f, 8 + bytes);
		listen_until(now_ms() + AGAIN_MS, &echo.came);
	}
	for (uint64_t until = now_ms() + AGAIN_MS; echo.bytes < bytes && now_ms() < until;)
		listen_until(until, NULL);
	say(echo.came != 0 ? "ok %u bytes over IPv6" : "no answer over IPv6", echo.bytes);
}

static void
command_open(uint16_t port)
{
	static uint16_t count;

	memset(&tcp, 0, sizeof(tcp));
	tcp.port = port;
	tcp.own = (uint16_t)(PORT + ++count);
	tcp.scale = tcp.mss = -1;
	tcp.isn = 1000;
	tcp.next = tcp.isn + 1;
	for (int tries = 0; tries < 3 && !tcp.open; tries++) {
		send_tcp(GATEWAY, tcp.own, port, tcp.isn, 0, SYN, NULL, 0);
		listen_until(now_ms() + AGAIN_MS, &tcp.open);
	}
	if (!tcp.open)
		say("no connection");
	else
		say("ok open: mss %d, scale %d, sack %s", tcp.mss, tcp.scale,
		    tcp.sack ? "permitted" : "not permitted");
}

static void
send_part(uint32_t offset, uint32_t n)
{
	static const uint8_t bytes[MSS];

	send_tcp(GATEWAY, tcp.own, tcp.port, tcp.next + offset, tcp.expect, ACK, bytes, n);
}

/* Whether the guest has acknowledged everything up to there. */
static int
acknowledged(uint32_t up_to, uint64_t ms)
{
	for (uint64_t until = now_ms() + ms; tcp.acked != up_to && now_ms() < until && !tcp.reset;)
		listen_until(until, NULL);
	return tcp.acked == up_to;
}

static void
command_data(uint32_t bytes)
{
	uint32_t end = tcp.next + bytes;

	for (int tries = 0; tcp.next != end && tries < WAIT_MS / AGAIN_MS && !tcp.reset; tries++) {
		uint32_t n = end - tcp.next < AT_ONCE * MSS ? end - tcp.next : AT_ONCE * MSS;

		for (uint32_t at = 0; at < n; at += MSS)
			send_part(at, n - at < MSS ? n - at : MSS);
		if (!acknowledged(tcp.next + n, AGAIN_MS))
			continue;
		tcp.next += n;
		tries = 0;
	}
	if (tcp.next == end)
		say("ok %u bytes are acknowledged, window %u", bytes, tcp.window);
	else
		say("no acknowledgement%s", tcp.reset ? ": a reset" : "");
}

static void
tell_blocks(const char *when)
{
	printf("%s: acknowledged %u", when, tcp.acked - tcp.next);
	for (unsigned i = 0; i < tcp.blocks; i++)
		printf(", sack %u-%u", tcp.block[i][0] - tcp.next, tcp.block[i][1] - tcp.next);
	say("");
}

static void
command_hole(void)
{
	enum { PART = 1000 };
	static const struct {
		uint32_t part;
		const char *says;
	} steps[] = { { 0, "first" }, { 2, "without the second" }, { 3, "and one more" },
		{ 5, "without the fifth" }, { 1, "the second" }, { 4, "the fifth" } };

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		send_part(steps[i].part * PART, PART);
		for (uint64_t until = now_ms() + 300; now_ms() < until;)
			listen_until(until, NULL);
		tell_blocks(steps[i].says);
	}
	tcp.next += 6 * PART;
	say(acknowledged(tcp.next, WAIT_MS) ? "ok" : "no: not all came in");
}

static void
command_flight(uint32_t bytes)
{
	uint64_t until = now_ms() + 4 * WAIT_MS;
	uint32_t most = 0;

	/* What it may send grows with what is acknowledged; then nothing is, for a while. */
	while (now_ms() < until && most < bytes) {
		uint64_t pause;

		tcp.hold = 0;
		send_tcp(GATEWAY, tcp.own, tcp.port, tcp.next, tcp.expect, ACK, NULL, 0);
		for (pause = now_ms() + 300; now_ms() < pause;)
			listen_until(pause, NULL);
		tcp.hold = 1;
		for (pause = now_ms() + 200; now_ms() < pause;)
			listen_until(pause, NULL);
		if (tcp.expect - tcp.told > most)
			most = tcp.expect - tcp.told;
		if (tcp.reset)
			break;
	}
	say("%s %u bytes on their way", most >= bytes ? "ok" : "no:", most);
}

static void
command(const char *line)
{
	char mac[32];
	unsigned a, b = 56;

	if (sscanf(line, "ping6 %u", &a) == 1) {
		command_ping6(a);
	} else if (sscanf(line, "ping %31s %u", mac, &b) >= 1) {
		command_ping(mac, b);
	} else if (sscanf(line, "open %u", &a) == 1) {
		command_open((uint16_t)a);
	} else if (sscanf(line, "data %u", &a) == 1) {
		command_data(a);
	} else if (strcmp(line, "hole") == 0) {
		command_hole();
	} else if (sscanf(line, "flight %u", &a) == 1) {
		command_flight(a);
	} else if (strcmp(line, "shut") == 0) {
		send_tcp(GATEWAY, tcp.own, tcp.port, tcp.next, tcp.expect, RST | ACK, NULL, 0);
		tcp.port = 0;
		say("ok");
	} else if (strcmp(line, "largest") == 0) {
		say("ok largest %u", largest);
		largest = 0;
	} else {
		errx(1, "no command: %s", line);
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char line[128];
	size_t have = 0;

	if (argc != 3 || strlen(argv[1]) >= sizeof(a.sun_path) ||
	    strlen(argv[2]) >= sizeof(a.sun_path))
		errx(2, "usage: neighbour OWN GUEST");
	strcpy(a.sun_path, argv[1]);
	strcpy(to.sun_path, argv[2]);
	unlink(argv[1]);
	wire = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (wire < 0 || bind(wire, (const struct sockaddr *)&a, sizeof(a)) != 0)
		err(1, "%s", argv[1]);
	for (;;) {
		struct pollfd w[2] = { { .fd = 0, .events = POLLIN },
			{ .fd = wire, .events = POLLIN } };

		if (poll(w, 2, -1) < 0)
			err(1, "poll");
		if (w[1].revents != 0)
			listen_until(now_ms() + 1, NULL);
		if (w[0].revents == 0)
			continue;
		if (have == sizeof(line) - 1 || read(0, line + have, 1) != 1)
			return 0;
		if (line[have] != '\n') {
			have++;
			continue;
		}
		line[have] = 0;
		have = 0;
		command(line);
	}
}
