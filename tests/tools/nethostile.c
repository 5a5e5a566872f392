/*
 * A switch between a guest and a network, with a hostile neighbour on it.
 *
 *     nethostile SEED GUEST-SIDE GUEST NETWORK-SIDE NETWORK
 *
 * Each pair of names is two Unix sockets as netpeer has them: where frames come to, and where they
 * go.  NETWORK is QEMU's own network in a process of its own, and gets what the guest sends to it;
 * of what the neighbour does it sees nothing.
 *
 * "flood COUNT" on its input: COUNT packets go to the guest, in an order that SEED alone decides,
 * and "done" is printed: connections that are only begun, from everywhere; segments that belong to
 * none, with options and flags that cannot be; fragments that overlap, and that never become whole;
 * lengths and sums that lie, in each header; datagrams and echoes without end; addresses that
 * change their owner; and the same in IPv6.  Nothing speaks for the gateway: that is a neighbour's
 * right on such a wire, and no test of the guest.
 *
 * PACE packets go at a time, and what the guest does not take it loses, as on a wire.
 */
#include <err.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>


enum { ETH = 14, IP4 = 20, IP6 = 40, TCP = 20, MOST = 1514, PORTS = 3, PACE = 16, LARGE = 65536 };

static const uint32_t address = 0x0a00020f, network = 0x0a000202, name_server = 0x0a000203;
static const uint16_t port[PORTS] = { 80, 9, 10809 };

static struct side { int fd; struct sockaddr_un to; } side[2];	/* the guest's, the network's */
static uint64_t state;
static uint8_t f[MOST];

static uint32_t
rnd(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((state >> 33) % n);
}

static void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v); }

static uint32_t
sum(const uint8_t *p, uint32_t n, uint32_t s)
{
	for (uint32_t i = 0; i < n; i++)
		s += i % 2 != 0 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void
noise(uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd(256);
}

static void
pass(unsigned to, const uint8_t *p, size_t n)
{
	(void)!sendto(side[to].fd, p, n, 0, (const struct sockaddr *)&side[to].to,
	    sizeof(side[to].to));
}

static void
send_frame(uint32_t n)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	/* To everybody: who sends does not know the guest's address. */
	memcpy(f, all, 6);
	memcpy(f + 6, "\x02\x66\x00\x00\x00\x01", 6);
	pass(0, f, n);
}

/* n bytes are behind the header; sums are right unless told otherwise. */
static void
send4(uint32_t n, uint8_t proto, uint32_t fragment, uint32_t from)
{
	uint8_t *ip = f + ETH, *p = ip + IP4;
	uint32_t at = proto == 6 ? 16 : proto == 17 ? 6 : proto == 1 ? 2 : MOST;

	put16(f + 12, 0x0800);
	memset(ip, 0, IP4);
	ip[0] = 0x45;
	put16(ip + 2, IP4 + n);
	put16(ip + 4, rnd(4));		/* few, so that fragments of different packets meet */
	put16(ip + 6, fragment);
	ip[8] = 64;
	ip[9] = proto;
	put32(ip + 12, from);
	put32(ip + 16, address);
	if (at + 2 <= n && (fragment & 0x3fff) == 0) {
		put16(p + at, 0);
		put16(p + at, ~sum(p, n, proto == 1 ? 0 : sum(ip + 12, 8, proto + n)));
	}
	put16(ip + 10, ~sum(ip, IP4, 0));
	/* A lie now and then: each field of the header, one sum. */
	if (rnd(8) == 0)
		ip[rnd(IP4)] ^= (uint8_t)(1u << rnd(8));
	if (rnd(8) == 0 && n != 0)
		p[rnd(n)] ^= (uint8_t)(1u << rnd(8));
	send_frame(ETH + IP4 + n);
}

static void
segment(uint8_t flags, uint32_t from)
{
	uint8_t *t = f + ETH + IP4;
	uint32_t options = rnd(11) * 4, data = (flags & 2) != 0 ? 0 : rnd(600);

	noise(t, TCP + options + data);
	put16(t + 2, port[rnd(PORTS)]);
	t[12] = (uint8_t)(rnd(16) == 0 ? rnd(256) : (TCP + options) / 4 << 4);
	t[13] = flags;
	/* Options that are nearly right: kinds that are known, lengths that are not. */
	for (uint32_t i = 0; i + 1 < options; i += 1 + rnd(4)) {
		t[TCP + i] = (uint8_t)rnd(9);
		t[TCP + i + 1] = (uint8_t)rnd(12);
	}
	send4(TCP + options + data, 6, 0, from);
}

static void
send6(uint32_t n, uint8_t next)
{
	uint8_t *ip = f + ETH;

	put16(f + 12, 0x86dd);
	memset(ip, 0, IP6);
	ip[0] = 0x60;
	put16(ip + 4, rnd(8) == 0 ? rnd(65536) : n);
	ip[6] = next;
	ip[7] = 255;
	put32(ip + 8, 0xfe800000);
	put32(ip + 20, rnd(1000));
	put32(ip + 24, 0xff020000);
	ip[39] = 1;
	send_frame(ETH + IP6 + n);
}

static void
one(void)
{
	uint8_t *p = f + ETH + IP4;
	uint32_t anybody = 0x0a000200 + 16 + rnd(200), n = rnd(1000);

	switch (rnd(10)) {
	case 0:
	case 1:
		segment(2, rnd(2) == 0 ? anybody : 0x0a000000 + rnd(1 << 24));
		break;
	case 2:
		segment((uint8_t)rnd(256), anybody);
		break;
	case 3:				/* fragments: offsets in units of 8, more to come */
		noise(p, n);
		send4(
		    n & ~7u, rnd(2) == 0 ? 17 : 6, rnd(8190) | (rnd(4) != 0 ? 0x2000 : 0), anybody);
		break;
	case 4:				/* overlapping, in the first bytes */
		noise(p, n);
		send4(n & ~7u, 17, rnd(40) | (rnd(4) != 0 ? 0x2000 : 0), anybody & ~3u);
		break;
	case 5:
		noise(p, 8 + n);
		put16(p + 2, rnd(3) == 0 ? 68 : rnd(65536));
		put16(p + 4, rnd(8) == 0 ? rnd(65536) : 8 + n);
		send4(8 + n, 17, 0, anybody);
		break;
	case 6:
		noise(p, 8 + n);
		p[0] = (uint8_t)(rnd(4) == 0 ? rnd(256) : 8);
		p[1] = 0;
		send4(8 + n, 1, 0, anybody);
		break;
	case 7:				/* ARP, of addresses whose owner changes, and cut short */
		put16(f + 12, 0x0806);
		memcpy(f + ETH, "\x00\x01\x08\x00\x06\x04\x00", 7);
		f[ETH + 7] = (uint8_t)(1 + rnd(2));
		noise(f + ETH + 8, 6);
		put32(f + ETH + 14, anybody);
		noise(f + ETH + 18, 6);
		put32(f + ETH + 24, address);
		send_frame(ETH + (rnd(8) == 0 ? rnd(28) : 28));
		break;
	case 8:				/* IPv6: neighbours, echoes, headers behind headers */
		noise(f + ETH + IP6, n);
		f[ETH + IP6] = (uint8_t)(rnd(2) == 0 ? 128 + rnd(8) : rnd(256));
		if (f[ETH + IP6] == 134)
			f[ETH + IP6] = 135;	/* no router: that is a neighbour's right, too */
		send6(n, "\x3a\x00\x2b\x2c\x3c\x06\x11\x3a"[rnd(8)]);
		break;
	default:
		noise(f + 12, 2 + n);
		send_frame(ETH + n);
		break;
	}
}

static void
open_side(unsigned n, const char *own, const char *to)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(own) >= sizeof(a.sun_path) || strlen(to) >= sizeof(a.sun_path))
		errx(2, "a name is too long");
	strcpy(a.sun_path, own);
	side[n].to.sun_family = AF_UNIX;
	strcpy(side[n].to.sun_path, to);
	unlink(own);
	side[n].fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (side[n].fd < 0 || bind(side[n].fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		err(1, "%s", own);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What the guest sends to the network, and not to those who do not exist. */
static int
for_network(const uint8_t *p, size_t n)
{
	uint32_t to;

	if (n >= ETH + IP4 && p[12] == 8 && p[13] == 0)
		to = get32(p + ETH + 16);
	else if (n >= ETH + 28 && p[12] == 8 && p[13] == 6)
		to = get32(p + ETH + 24);
	else
		return 0;
	return to == network || to == name_server || to == UINT32_MAX;
}

int
main(int argc, char **argv)
{
	static uint8_t p[LARGE];
	unsigned long left = 0;
	int flooding = 0;

	if (argc != 6)
		errx(2, "usage: nethostile SEED GUEST-SIDE GUEST NETWORK-SIDE NETWORK");
	open_side(0, argv[2], argv[3]);
	open_side(1, argv[4], argv[5]);
	for (;;) {
		struct pollfd w[3] = { { .fd = 0, .events = POLLIN },
			{ .fd = side[0].fd, .events = POLLIN },
			{ .fd = side[1].fd, .events = POLLIN } };
		char line[64] = "";
		ssize_t n;

		if (poll(w, 3, left != 0 ? 1 : -1) < 0)
			err(1, "poll");
		for (unsigned i = 0; i < 2; i++)
			while ((n = recv(side[i].fd, p, sizeof(p), MSG_DONTWAIT)) > 0)
				if (i == 1 || for_network(p, (size_t)n))
					pass(1 - i, p, (size_t)n);
		if (w[0].revents != 0) {
			if (read(0, line, sizeof(line) - 1) <= 0)
				return 0;
			if (sscanf(line, "flood %lu", &left) != 1)
				errx(1, "no command: %s", line);
			state = strtoull(argv[1], NULL, 0);
			flooding = 1;
		}
		for (unsigned i = 0; i < PACE && left != 0; i++, left--)
			one();
		if (flooding && left == 0) {
			printf("done\n");
			fflush(stdout);
			flooding = 0;
		}
	}
}
