/*
 * Packets by hand, straight to a NIC's server: who has an address, and how many of many come back.
 * The server gives one session, so it is free only where no TCP/IP service has it.
 *
 * "flood" sends numbered packets that a peer on the same network sends back (tests/lib/netpeer.c).
 * Each is filled by its number, so what comes back can be told from what was meant to.
 */
#include "usr/shell/packet.h"
#include "kern/base/bits.h"

enum {
	MAC = 6,
	ETHERNET = 14,
	TYPE_ARP = 0x0806,
	TYPE_TEST = 0x88b5,		/* for experiments [IEEE 802] */
	ARP_BYTES = 42,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	TEST_MIN = ETHERNET + 8,
	BIT_NET = 1,
};
enum : uint64_t { AGAIN_NS = 500 * NS_PER_MS, LOST_NS = NS_PER_S, SERVER_NS = 10 * NS_PER_S };

static struct net net;
static struct {
	handle_t endpoint, memory, ntfn;
	uint8_t *area;
	bool sending[WIRE_SENDING];
	uint8_t packet[65536];		/* what was received of one so far */
	uint32_t bytes;
} wire;

static uint32_t tx_place(uint32_t i) { return WIRE_BUFFERS * WIRE_BUFFER + i * WIRE_PACKET; }
static uint8_t *tx_buffer(uint32_t i) { return wire.area + tx_place(i); }

static bool
post(uint32_t i)
{
	return net_post(&net, i * WIRE_BUFFER, WIRE_BUFFER, i) == OK;
}

static void
release(void)
{
	if (wire.area != NULL) {
		(void)sys_mem_unmap(
		    HANDLE_NONE, (uint64_t)(uintptr_t)wire.area, WIRE_AREA);
		(void)sys_handle_close(wire.memory);
	}
	if (wire.ntfn != HANDLE_NONE)
		(void)sys_handle_close(wire.ntfn);
	if (wire.endpoint != HANDLE_NONE)
		(void)sys_handle_close(wire.endpoint);
	memset(&wire, 0, sizeof(wire));
}

struct net *
wire_open(uint64_t n)
{
	struct msg m = { .label = DEVMGR_NET, .words = 1, .w = { n } };
	uint64_t h;
	enum status s = msg_call(devmgr, &m, now_ns() + NS_PER_S);

	if (s == OK && m.label != OK)
		s = (enum status)m.label;
	if (s != OK) {
		print("net%llu: %s\n", (unsigned long long)n,
		    s == E_NOT_FOUND	   ? "there is no such interface" :
			s == E_NO_DEVICE ? supervised_text((uint8_t)m.w[5]) :
					     status_text(s));
		return NULL;
	}
	wire.endpoint = (handle_t)m.w[0];
	wire.area = pages_alloc(WIRE_AREA / PAGE_SIZE, &wire.memory);
	if (wire.area == NULL || sys_ntfn_create(&h) != OK) {
		print("out of memory\n");
		release();
		return NULL;
	}
	wire.ntfn = (handle_t)h;
	s = net_open(&net, wire.endpoint, wire.memory, wire.area, WIRE_AREA, wire.ntfn,
	    BIT_NET);
	if (s != OK) {
		print("net%llu: %s\n", (unsigned long long)n,
		    s == E_BUSY ? "somebody else uses it" : status_text(s));
		release();
		return NULL;
	}
	for (uint32_t i = 0; i < WIRE_BUFFERS; i++)
		(void)post(i);
	return &net;
}

void
wire_close(void)
{
	net_close(&net);
	release();
}

static void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static void
header(uint8_t *p, const uint8_t *to, uint32_t type)
{
	memcpy(p, to, MAC);
	memcpy(p + MAC, net.mac, MAC);
	put16(p + 2 * MAC, type);
}

/* Sends what is in a buffer; false: no room. */
static bool
send(uint32_t i, uint32_t bytes)
{
	struct net_tx t = { .cookie = i, .at = tx_place(i), .bytes = bytes };

	if (net_put(&net, &t, 1) != OK)
		return false;
	wire.sending[i] = true;
	return true;
}

/* A buffer that is not being sent; false: none. */
static bool
idle_buffer(uint32_t *i)
{
	for (*i = 0; *i < WIRE_SENDING; ++*i)
		if (!wire.sending[*i])
			return true;
	return false;
}

/* The next whole packet, in wire.packet; false: it is not there yet. */
static bool
receive(void)
{
	static bool goes_on;
	struct net_rx r;

	while (net_next_rx(&net, &r)) {
		if (!goes_on)
			wire.bytes = 0;
		goes_on = (r.flags & NET_MORE) != 0;
		if (r.bytes <= sizeof(wire.packet) - wire.bytes) {
			memcpy(wire.packet + wire.bytes,
			    wire.area + r.cookie * WIRE_BUFFER + r.first, r.bytes);
			wire.bytes += r.bytes;
		}
		(void)post(r.cookie);
		if (!goes_on)
			return true;
	}
	return false;
}

static void
take_sent(uint32_t *failed)
{
	enum status s;
	uint32_t i;

	while (net_next_sent(&net, &i, &s)) {
		wire.sending[i] = false;
		*failed += s != OK;
	}
}

/* Sleeps until something happens; the server's end is waited for as long as until. */
static void
wait(uint64_t until)
{
	handle_t signal;
	uint64_t bits, mine;

	if (!net_may_sleep(&net, &signal, &bits))
		return;
	(void)sys_ntfn_signal_wait(wire.ntfn, until, signal, bits, &mine);
	net_woke(&net);
}

/* True when it goes on; false when the session cannot. */
static bool
turn(void)
{
	enum status s = net_turn(&net);

	if (s == OK || s == E_PEER)
		return true;
	print("the session ended: %s\n", status_text(s));
	return false;
}

static bool
address(const char *text, uint8_t ip[4])
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t v = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 3; text++, digits++)
			v = v * 10 + (uint32_t)(*text - '0');
		if (digits == 0 || v > 255 || *text != (i < 3 ? '.' : 0))
			return false;
		ip[i] = (uint8_t)v;
		text++;
	}
	return true;
}

static void
ask(const uint8_t mine[4], const uint8_t ip[4])
{
	static const uint8_t everybody[MAC] = { 255, 255, 255, 255, 255, 255 };
	uint32_t i;
	uint8_t *p;

	if (!idle_buffer(&i))
		return;
	p = tx_buffer(i);
	header(p, everybody, TYPE_ARP);
	put16(p + 14, 1);		/* Ethernet, IPv4 [RFC 826] */
	put16(p + 16, 0x0800);
	p[18] = MAC;
	p[19] = 4;
	put16(p + 20, ARP_REQUEST);
	memcpy(p + 22, net.mac, MAC);
	memcpy(p + 28, mine, 4);
	memset(p + 32, 0, MAC);
	memcpy(p + 38, ip, 4);
	(void)send(i, ARP_BYTES);
}

int
cmd_arp(int argc, char **argv)
{
	uint8_t ip[4], mine[4] = { 0 };
	uint64_t until, again = 0;
	uint32_t failed = 0;
	int result = 1;

	if (!address(argv[1], ip) || (argc == 3 && !address(argv[2], mine)))
		return usage("addresses are as in 10.0.2.2");
	if (wire_open(0) == NULL)
		return 1;
	until = now_ns() + 3 * NS_PER_S;
	while (result != 0 && now_ns() < until && !interrupted() && turn()) {
		take_sent(&failed);
		while (receive()) {
			const uint8_t *p = wire.packet;

			if (wire.bytes >= ARP_BYTES && get16(p + 12) == TYPE_ARP &&
			    get16(p + 20) == ARP_REPLY && memcmp(p + 28, ip, 4) == 0) {
				print("%s is at %02x:%02x:%02x:%02x:%02x:%02x\n", argv[1], p[22],
				    p[23], p[24], p[25], p[26], p[27]);
				result = 0;
			}
		}
		if (now_ns() >= again) {
			ask(mine, ip);
			again = now_ns() + AGAIN_NS;
		}
		if (result != 0)
			wait(min_u64(again, until));
	}
	if (result != 0)
		print("%s: no answer\n", argv[1]);
	wire_close();
	return result;
}

/* A packet's bytes are told by its number: length and content. */
static uint32_t
length_of(uint32_t n)
{
	return (uint32_t)(TEST_MIN + (n * 97) % (min_u64(net.mtu, WIRE_PACKET - ETHERNET) - 8 + 1));
}

static void
fill(uint8_t *p, uint32_t n)
{
	memcpy(p + ETHERNET, &n, sizeof(n));
	memset(p + ETHERNET + 4, 0, 4);
	for (uint32_t k = TEST_MIN; k < length_of(n); k++)
		p[k] = (uint8_t)(n * 31 + k);
}

/* The number of the packet that came back; false: it is none of ours, or not as it was. */
static bool
same(const uint8_t *p, uint32_t bytes, uint32_t *n, bool *ours)
{
	*ours = bytes >= TEST_MIN && get16(p + 12) == TYPE_TEST;
	if (!*ours)
		return false;
	memcpy(n, p + ETHERNET, sizeof(*n));
	if (bytes != length_of(*n) && bytes != max_u64(length_of(*n), 60))
		return false;
	for (uint32_t k = TEST_MIN; k < length_of(*n); k++)
		if (p[k] != (uint8_t)(*n * 31 + k))
			return false;
	return true;
}

int
cmd_flood(int argc UNUSED, char **argv)
{
	static uint64_t back[65536 / 64];	/* numbers that came back */
	static const uint8_t peer[MAC] = { 0x02, 0, 0, 0, 0, 1 };
	uint32_t sent = 0, came = 0, again = 0, wrong = 0, failed = 0, oldest = 0, i;
	uint64_t count, begin, quiet;
	bool good = true;

	if (!want_number("COUNT", argv[1], &count))
		return 1;
	if (count > 65536)
		return usage("at most 65536");
	if (wire_open(0) == NULL)
		return 1;
	memset(back, 0, sizeof(back));
	begin = now_ns();
	quiet = begin + SERVER_NS;
	while (good && (sent < count || came + 0u < count) && now_ns() < quiet && !interrupted()) {
		bool moved = false, ours;
		uint32_t n;

		good = turn();
		take_sent(&failed);
		while (good && receive()) {
			if (!same(wire.packet, wire.bytes, &n, &ours)) {
				wrong += ours;
			} else if (n < count && (back[n / 64] & BIT(n % 64)) == 0) {
				back[n / 64] |= BIT(n % 64);
				came++;
				moved = true;
			} else {
				again++;
			}
		}
		while (oldest < sent && (back[oldest / 64] & BIT(oldest % 64)) != 0)
			oldest++;
		while (sent < count && sent - oldest < WIRE_SENDING && idle_buffer(&i)) {
			header(tx_buffer(i), peer, TYPE_TEST);
			fill(tx_buffer(i), sent);
			if (!send(i, length_of(sent)))
				break;
			sent++;
			moved = true;
		}
		if (moved)
			quiet = now_ns() + (net_turn(&net) == OK ? LOST_NS : SERVER_NS);
		else
			wait(quiet);
		/* What does not come is lost: the window moves on. */
		if (now_ns() >= quiet && oldest < sent && sent < count) {
			oldest = sent;
			quiet = now_ns() + LOST_NS;
		}
	}
	print("%u packets sent, %u came back in %llu ms; %u lost, %u twice, %u not as they were, "
	      "%u not sent, server restarts %llu\n",
	    sent, came, (unsigned long long)((now_ns() - begin) / NS_PER_MS), sent - came, again,
	    wrong, failed, (unsigned long long)net.restarts);
	wire_close();
	return wrong == 0 && came != 0 && sent == count ? 0 : 1;
}
