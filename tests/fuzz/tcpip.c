/*
 * The TCP/IP stack against packets of any kind.  The input is a list of steps: a byte that says
 * which, and what it takes.  Most packets get right lengths and sums, or they would end at the
 * first look; some follow a connection that was really made.  And the NIC's server may lie, in the
 * ring between them.
 */
/* FUZZ: -max_len=4096 -runs=8000 */
/* LINK: usr/tcpip/turn.c usr/tcpip/session.c usr/lib/complain.c usr/tcpip/stream.c
 * LINK: usr/tcpip/dgram.c usr/tcpip/ask.c usr/tcpip/gone.c usr/tcpip/lost.c
 * LINK: usr/tcpip/nif.c usr/tcpip/join.c usr/tcpip/out.c usr/tcpip/port/heap.c
 * LINK: usr/tcpip/port/port.c usr/lib/sock.c usr/lib/net.c
 * LINK: usr/lib/sock_addr.c usr/lib/sha256.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/usr/tcpip/world.c tests/usr/tcpip/world_nic.c
 * LINK: tests/usr/tcpip/world_sys.c tests/usr/tcpip/world_far.c */
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "lwip/opt.h"
#include "usr/lib/net.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/lib/fuzz_input.h"
#include "tests/usr/tcpip/world.h"

enum { ETH = 14, IP4 = 20, IP6 = 40, TCP = 20, MOST = 1514, CLIENTS = 4, PEER_PORT = 1000 };

static struct socks k;
static struct sock listener, dgram, client[CLIENTS];
static uint32_t mine, theirs;		/* sequence numbers of the connection that was made */
static uint16_t port = PEER_PORT;

static uint32_t
take_bytes(uint8_t *to, uint32_t most)
{
	uint32_t n = (uint32_t)min_u64(min_u64(take(2), most), left);

	memcpy(to, in, n);
	in += n;
	left -= n;
	return n;
}

static void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v); }

static void
sum(uint8_t *at, const uint8_t *pseudo, uint32_t pseudo_len, const uint8_t *p, uint32_t len,
    uint8_t proto)
{
	uint8_t all[64 + MOST] = { 0 };
	uint16_t s;

	memcpy(all, pseudo, pseudo_len);
	all[pseudo_len + 1] = proto;
	put16(all + pseudo_len + 2, len);
	memcpy(all + pseudo_len + 4, p, len);
	s = (uint16_t)~lwip_sum(all, (int)(pseudo_len + 4 + len));
	memcpy(at, &s, sizeof(s));
}

/* Sums of what a packet holds, if there is room for them. */
static void
sums(uint8_t *p, uint32_t len, const uint8_t *addresses, uint32_t bytes, uint8_t proto)
{
	uint32_t at = proto == 6 ? 16 : proto == 17 ? 6 : 2;

	if (len < at + 2 || (proto != 1 && proto != 6 && proto != 17 && proto != 58))
		return;
	put16(p + at, 0);
	sum(p + at, addresses, proto == 1 ? 0 : bytes, p, len, proto == 1 ? 0 : proto);
	if (proto == 1) {
		uint16_t s;

		put16(p + at, 0);
		s = (uint16_t)~lwip_sum(p, (int)len);
		memcpy(p + at, &s, sizeof(s));
	}
}

static void
frame(uint8_t *f, uint16_t type)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };

	memcpy(f, macs, sizeof(macs));
	put16(f + 12, type);
}

/* n bytes are behind the header. */
static void
send4(uint8_t *f, uint32_t n, uint8_t proto, uint16_t fragment)
{
	static const uint8_t addresses[8] = { 10, 0, 0, 2, 10, 0, 0, 1 };
	uint8_t *ip = f + ETH;
	uint16_t s;

	frame(f, 0x0800);
	memset(ip, 0, IP4);
	ip[0] = 0x45;
	put16(ip + 2, IP4 + n);
	put16(ip + 4, 77);
	put16(ip + 6, fragment);
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, addresses, 8);
	s = (uint16_t)~lwip_sum(ip, IP4);
	memcpy(ip + 10, &s, 2);
	if ((fragment & 0x3fff) == 0)
		sums(ip + IP4, n, addresses, 8, proto);
	world_receive(f, ETH + IP4 + n);
}

static void
send6(uint8_t *f, uint32_t n, uint8_t proto, bool multicast)
{
	struct sock_addr from = world_far6(), to = from;
	uint8_t *ip = f + ETH;

	to.v[15] = 1;
	if (multicast)
		to = (struct sock_addr){ .v = { 0xff, 2, [15] = 1 } };
	frame(f, 0x86dd);
	memset(ip, 0, 8);
	ip[0] = 0x60;
	put16(ip + 4, n);
	ip[6] = proto;
	ip[7] = 255;
	memcpy(ip + 8, from.v, 16);
	memcpy(ip + 24, to.v, 16);
	if (multicast)
		memcpy(f, (uint8_t[]){ 0x33, 0x33, 0, 0, 0, 1 }, 6);
	sums(ip + IP6, n, ip + 8, 32, proto);
	world_receive(f, ETH + IP6 + n);
}

/* A segment of the connection; options and data come from the input. */
static void
segment(uint8_t flags, uint32_t sequence, uint32_t ack, uint32_t options)
{
	uint8_t f[MOST], *t = f + ETH + IP4;
	uint32_t n;

	memset(t, 0, TCP);
	options = options % 11 * 4;
	put16(t, port);
	put16(t + 2, ECHO);
	put32(t + 4, sequence);
	put32(t + 8, ack);
	t[12] = (uint8_t)((TCP + options) / 4 << 4);
	t[13] = flags;
	put16(t + 14, take(2));
	put16(t + 18, take(1));
	n = take_bytes(t + TCP, MOST - ETH - IP4 - TCP);
	if (n < options) {
		memset(t + TCP + n, 0, options - n);
		n = options;
	}
	send4(f, TCP + n, 6, 0);
	mine = sequence + n - options + ((flags & 3) != 0);
}

/* What the stack says of the connection. */
static void
listen_to(void)
{
	uint8_t f[MOST];
	uint32_t n;

	world_settle();
	while ((n = world_sent(f, sizeof(f))) != 0) {
		const uint8_t *t = f + ETH + IP4;

		if (n < ETH + IP4 + TCP || f[12] != 8 || f[13] != 0 || f[ETH + 9] != 6 ||
		    (t[2] << 8 | t[3]) != port)
			continue;
		theirs = (uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7];
		theirs += (uint32_t)(n - ETH - IP4 - (t[12] >> 4) * 4) + ((t[13] & 3) != 0);
	}
}

static void
serve(uint32_t how)
{
	uint8_t bytes[512];
	struct sock_addr a = world_far();
	uint32_t len;
	uint16_t p;

	(void)sock_ready(&k);
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct sock *s = &client[i];

		if (s->k == NULL) {
			(void)sock_accept(&listener, 4096, 4096, s);
			continue;
		}
		len = sock_read(s, bytes, sizeof(bytes));
		(void)sock_write(s, bytes, len);
		if ((how & 1) != 0)
			sock_shutdown(s);
		if ((how & 2) != 0 || sock_state(s) == SOCK_ENDED)
			sock_close(s);
	}
	while (sock_receive_from(&dgram, &a, &p, bytes, sizeof(bytes), &len) != E_WOULD_BLOCK)
		(void)sock_send_to(&dgram, &a, p, bytes, (uint32_t)min_u64(len, sizeof(bytes)));
	sock_kick(&k);
}

/* The NIC's server lies: of what it received, and in its words of the ring. */
static void
lie(void)
{
	struct net_ring *r = world_nic_ring();
	uint32_t how = take(1);
	struct net_rx rx = { .cookie = take(1), .first = NET_HEAD, .bytes = take(2) % 2048 };

	if (r == NULL)
		return;
	switch (how % 4) {
	case 0:
	case 1:
		rx.flags = (uint16_t)(how >> 2);
		if ((how & 0x80) != 0) {
			rx.cookie = take(4);
			rx.first = take(4);
			rx.bytes = take(4);
		}
		world_nic_gives(&rx);
		break;
	case 2:
		store_relaxed((how & 4) != 0 ? &r->rx_head : &r->tx_done_head, take(4));
		break;
	case 3:
		r->tx_done[rx.cookie % NET_SLOTS] = (struct net_tx_done){ take(4), take(1) };
		store_relaxed(&r->tx_done_head, load_relaxed(&r->tx_done_head) + (how >> 2) % 8);
		break;
	}
	world_settle();
}

static void
step(void)
{
	uint32_t what = take(1), n;
	uint8_t f[MOST];

	switch (what % 9) {
	case 0:
		n = take_bytes(f, MOST);
		world_receive(f, n);
		break;
	case 1:
		frame(f, (uint16_t)(what & 0x80 ? 0x0806 : 0x0800));
		n = take_bytes(f + ETH, MOST - ETH);
		world_receive(f, ETH + n);
		break;
	case 2:
		n = take_bytes(f + ETH + IP4, MOST - ETH - IP4);
		send4(f, n, (uint8_t)take(1), what & 0x80 ? (uint16_t)take(2) : 0);
		break;
	case 3:
		n = take_bytes(f + ETH + IP6, MOST - ETH - IP6);
		send6(f, n, (uint8_t)take(1), (what & 0x80) != 0);
		break;
	case 4:
		if (what == 247) {
			lie();
			break;
		}
		world_run((uint64_t)take(2) * NS_PER_MS);
		break;
	case 5:
		serve(take(1));
		break;
	case 6:
		port = (uint16_t)(PEER_PORT + take(1) % 8);
		segment(2, 1000, 0, what >> 4);
		listen_to();
		segment(0x10, 1001, theirs, 0);
		serve(0);
		break;
	case 7:
		n = take(1);
		segment((uint8_t)n | 0x10, mine + (what & 0x80 ? take(4) : 0),
		    theirs - (what & 0x40 ? take(2) : 0), what >> 4);
		break;
	case 8:				/* DNS's and DHCP's ears, and the socket's */
		n = take_bytes(f + ETH + IP4 + 8, MOST - ETH - IP4 - 8);
		put16(f + ETH + IP4, what & 0x80 ? 67 : 53);
		put16(f + ETH + IP4 + 2, what & 0x80 ? 68 : what & 0x40 ? 53 : take(2));
		put16(f + ETH + IP4 + 4, n + 8);
		send4(f, n + 8, 17, 0);
		break;
	}
	listen_to();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;

	if (!begun) {
		begun = true;
		world_start_alone();
		if (sock_start(&k, WORLD_TCPIP, WORLD_NTFN, 1) != OK ||
		    sock_listen(&k, ECHO, 4, &listener) != OK ||
		    sock_bind(&k, 53, 4096, 4096, &dgram) != OK)
			abort();
	}
	in = data;
	left = size;
	for (unsigned steps = 0; left != 0 && steps < 64; steps++)
		step();
	/* Back to where it began, as far as that goes. */
	for (unsigned i = 0; i < CLIENTS; i++)
		if (client[i].k != NULL)
			sock_abort(&client[i]);
	while (sock_accept(&listener, 4096, 4096, &client[0]) == OK)
		sock_abort(&client[0]);
	world_run(NS_PER_S);
	listen_to();
	if (sock_state(&listener) != SOCK_LISTENING || sock_state(&dgram) != SOCK_OPEN ||
	    tcpip.sockets != 2)
		abort();
	return 0;
}
