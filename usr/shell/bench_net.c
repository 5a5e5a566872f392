/*
 * Marked regions for the network: what TCP costs per byte, each way, and what a client of the NBD
 * server costs.
 *
 * The far end is a program of the machine that runs the emulator (tests/bench/far.c), reached as
 * the gateway of its network.  It is told what to do by a line over one connection, and the bytes
 * that are counted go over the same one; so each region moves exactly as many as it says.
 *
 *   in N 0 0               it sends N bytes
 *   out N 0 0              it takes N bytes, and then sends one
 *   nbd COUNT BYTES DEPTH  it reads so often from the NBD server here, and then sends one
 */
#include "kern/base/bits.h"
#include "usr/lib/sock.h"
#include "usr/shell/shell.h"

enum { PASSES = 5, RING_BYTES = 256 * 1024, STREAM_BYTES = 16 << 20 };
enum { NBD_SMALL = 1024, NBD_LARGE = 128, LARGE = 128 * 1024 };
enum : uint64_t { START_NS = 20 * NS_PER_S, REGION_NS = 120 * NS_PER_S };

static struct socks socks;
static struct sock far;
static uint64_t until;

static bool
wait(void)
{
	enum sock_state state = sock_state(&far);

	if (state == SOCK_ENDED || state == SOCK_PEER_CLOSED || interrupted() || now_ns() >= until)
		return false;
	if (sock_ready(&socks) == 0)
		(void)sock_wait(&socks, until);
	(void)sock_ready(&socks);
	return true;
}

static bool
ask(const char *what, uint32_t a, uint32_t b, uint32_t c)
{
	char line[64];
	size_t n = fmt_buf(line, sizeof(line), "%s %u %u %u\n", what, a, b, c);

	until = now_ns() + REGION_NS;
	return sock_write(&far, line, (uint32_t)n) == n;
}

/* Takes so many bytes, looking at none. */
static bool
take(uint32_t n)
{
	while (n != 0) {
		uint32_t len;

		(void)sock_peek(&far, &len);
		if (len == 0) {
			if (!wait())
				return false;
			continue;
		}
		len = (uint32_t)min_u64(len, n);
		sock_consume(&far, len);
		n -= len;
	}
	return true;
}

static bool
give(uint32_t n)
{
	while (n != 0) {
		uint32_t len;
		uint8_t *to = sock_space(&far, &len);

		if (len == 0) {
			if (!wait())
				return false;
			continue;
		}
		len = (uint32_t)min_u64(len, n);
		memset(to, 'c', len);
		sock_produce(&far, len);
		n -= len;
	}
	return true;
}

static bool take_in(void) { return ask("in", STREAM_BYTES, 0, 0) && take(STREAM_BYTES); }

static bool
give_out(void)
{
	return ask("out", STREAM_BYTES, 0, 0) && give(STREAM_BYTES) && take(1);
}

static bool
nbd(uint32_t count, uint32_t bytes, uint32_t depth)
{
	return ask("nbd", count, bytes, depth) && take(1);
}

/* Until the interface has its address, and the far end has answered. */
static bool
reach(uint16_t port)
{
	struct sock_interface n = { 0 };

	until = now_ns() + START_NS;
	while (sock_interface(&socks, &n) == OK && n.configured == 0)
		if (!pause_until(now_ns() + NS_PER_MS) || now_ns() >= until)
			return false;
	if (sock_connect(&socks, &n.v4_gateway, port, RING_BYTES, RING_BYTES, &far) != OK)
		return false;
	while (sock_state(&far) == SOCK_CONNECTING)
		if (!wait())
			break;
	return sock_state(&far) == SOCK_OPEN;
}

/* As in bench.c: how packets fall together is the host's doing. */
#define REGION(id, what, each, run) do { \
	uint64_t t_ = now_ns(); \
	good = good && (run); \
	for (unsigned i_ = 0; i_ < PASSES && good; i_++) { \
		MARK(id); \
		good = (run); \
		MARK(id + 1); \
	} \
	if (good) \
		print(what ": %llu ns each\n", \
		    (unsigned long long)((now_ns() - t_) / (PASSES + 1) / (each))); \
} while (0)

int
bench_net(uint16_t port)
{
	handle_t service = start_handle("tcpip");
	uint64_t ntfn;
	bool good;

	if (service == HANDLE_NONE || sys_ntfn_create(&ntfn) != OK ||
	    sock_start(&socks, service, (handle_t)ntfn, 1) != OK) {
		print("bench: no TCP/IP service\n");
		return 1;
	}
	good = reach(port);
	if (!good)
		print("bench: nobody answers at the gateway's port %u\n", port);
	REGION(18, "1 KiB in by TCP", STREAM_BYTES / KIB, take_in());
	REGION(20, "1 KiB out by TCP", STREAM_BYTES / KIB, give_out());
	REGION(22, "4 KiB read by NBD, depth 32", NBD_SMALL, nbd(NBD_SMALL, 4096, 32));
	REGION(24, "128 KiB read by NBD, depth 8", NBD_LARGE, nbd(NBD_LARGE, LARGE, 8));
	if (far.k != NULL)
		sock_close(&far);
	sock_stop(&socks);
	(void)sys_handle_close(ntfn);
	return !good;
}
