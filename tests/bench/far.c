/*
 * The far end of the network's rows: a program of this machine that the guest's one (usr/shell/
 * bench_net.c, tests/bench/peers/init.c) tells what to do, by lines over one connection.
 *
 *     far PORTS TIMES
 *
 * Picks two free ports of loopback and writes them to the file PORTS: the first is its own; the
 * second is for the emulator, to forward it to the guest's NBD server.  Then it serves one
 * connection, until that ends:
 *
 *     in N 0 0               sends N bytes
 *     out N 0 0              takes N bytes, and sends one
 *     nbd COUNT BYTES DEPTH  reads so often, so much, with so many requests in flight, at places
 *                            that were not read before, from the first export, by structured
 *                            replies where they are to be had; sends one byte.  The connection to
 *                            the server stays for the next time.
 *     off 0 0 0              sends one byte
 *
 * Writes to TIMES, a line each, what it was told and the nanoseconds that it took.  What of it is
 * wrong ends it, and with it the guest's region.
 *
 * Manual   NetworkBlockDevice doc/proto.md.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 65536, DEPTH_MAX = 64, NBD_WAIT_S = 20 };
enum : uint64_t { OPTION_MAGIC = 0x49484156454f5054, REPLY_MAGIC = 0x0003e889045565a9 };
enum : uint32_t {
	REQUEST = 0x25609513,
	SIMPLE = 0x67446698,
	STRUCTURED = 0x668e33ef,
	OPT_GO = 7,
	OPT_STRUCTURED = 8,
	REP_ACK = 1,
	REP_INFO = 3,
};

static char bytes[CHUNK];
static uint16_t nbd_port;
static int nbd = -1, structured;
static uint64_t export_bytes;

static void
give_up(const char *what)
{
	fprintf(stderr, "far: %s: %s\n", what, errno != 0 ? strerror(errno) : "not as it should be");
	exit(1);
}

static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int
take_all(int s, void *to, size_t len)
{
	for (char *p = to; len != 0;) {
		ssize_t n = recv(s, p, len, 0);

		if (n <= 0)
			return 0;
		p += n;
		len -= (size_t)n;
	}
	return 1;
}

static void
send_all(int s, const void *from, size_t len)
{
	for (const char *p = from; len != 0;) {
		ssize_t n = send(s, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			give_up("send");
		p += n;
		len -= (size_t)n;
	}
}

static void
take(int s, void *to, size_t len)
{
	errno = 0;
	if (!take_all(s, to, len))
		give_up("receive");
}

static void
take_away(int s, uint64_t len)
{
	while (len != 0) {
		size_t n = len < CHUNK ? len : CHUNK;
		ssize_t got = recv(s, bytes, n, 0);

		if (got <= 0)
			give_up("receive");
		len -= (uint64_t)got;
	}
}

static int
open_socket(uint16_t *port, int listens)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (s < 0 || bind(s, (const struct sockaddr *)&a, sizeof(a)) != 0 ||
	    (listens && listen(s, 1) != 0) || getsockname(s, (struct sockaddr *)&a, &len) != 0)
		give_up("a port");
	*port = ntohs(a.sin_port);
	return s;
}

static void
at_once(int s)
{
	int one = 1;

	(void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* --- NBD --------------------------------------------------------------------------- */

struct option { uint64_t magic; uint32_t option, bytes; } __attribute__((packed));
struct reply { uint64_t magic; uint32_t option, type, bytes; } __attribute__((packed));
struct request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, at;
	uint32_t bytes;
} __attribute__((packed));
struct chunk {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie;
	uint32_t bytes;
} __attribute__((packed));

/* 1: the server can; 0: it does not. */
static int
option(uint32_t which, const void *data, uint32_t len)
{
	struct option o = { htobe64(OPTION_MAGIC), htobe32(which), htobe32(len) };

	send_all(nbd, &o, sizeof(o));
	send_all(nbd, data, len);
	for (;;) {
		uint8_t about[256];
		struct reply r;

		take(nbd, &r, sizeof(r));
		if (be64toh(r.magic) != REPLY_MAGIC || be32toh(r.bytes) > sizeof(about))
			give_up("an answer of the NBD server");
		take(nbd, about, be32toh(r.bytes));
		if (be32toh(r.type) == REP_ACK)
			return 1;
		if (be32toh(r.type) != REP_INFO)
			return 0;
		if (be32toh(r.bytes) >= 10 && about[0] == 0 && about[1] == 0) {
			memcpy(&export_bytes, about + 2, sizeof(export_bytes));
			export_bytes = be64toh(export_bytes);
		}
	}
}

/* The emulator takes a connection before the guest does: until there is a greeting. */
static void
connect_nbd(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(nbd_port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	uint64_t until = now() + NBD_WAIT_S * 1000000000ull;
	uint32_t flags = htobe32(3);
	uint8_t hello[18];

	for (;;) {
		nbd = socket(AF_INET, SOCK_STREAM, 0);
		if (nbd >= 0 && connect(nbd, (const struct sockaddr *)&a, sizeof(a)) == 0 &&
		    take_all(nbd, hello, sizeof(hello)))
			break;
		close(nbd);
		if (now() > until)
			give_up("the NBD server does not answer");
		usleep(100000);
	}
	at_once(nbd);
	send_all(nbd, &flags, sizeof(flags));
	structured = option(OPT_STRUCTURED, NULL, 0);
	errno = 0;
	if (!option(OPT_GO, "\0\0\0\0\0", 6) || export_bytes == 0)
		give_up("the export");
}

/*
 * Where the n-th request is: small ones here and there in the first half, each block once before
 * any comes again; large ones one behind the other in the second.  So a server's cache and its
 * reading ahead are of as little use to it as they are to who keeps none.
 */
static uint64_t
place(uint64_t n, uint32_t len)
{
	uint64_t blocks = export_bytes / 2 / len;

	if (blocks == 0)
		return 0;
	return (len <= 4096 ? n * 2654435761 % blocks : blocks + n % blocks) * len;
}

static void
ask(uint32_t len)
{
	static uint64_t asked;
	struct request r = { .magic = htobe32(REQUEST), .cookie = htobe64(asked),
		.at = htobe64(place(asked, len)), .bytes = htobe32(len) };

	asked++;
	send_all(nbd, &r, sizeof(r));
}

/* One reply, with its data. */
static void
hear(uint32_t len)
{
	uint32_t head[4], got = 0;

	errno = 0;
	if (!structured) {
		take(nbd, head, 16);
		if (be32toh(head[0]) != SIMPLE || head[1] != 0)
			give_up("a reply");
		take_away(nbd, len);
		return;
	}
	for (;;) {
		struct chunk c;

		take(nbd, &c, sizeof(c));
		if (be32toh(c.magic) != STRUCTURED || (c.type != htobe16(1) && c.type != 0))
			give_up("a reply");
		take_away(nbd, be32toh(c.bytes));
		got += c.type != 0 ? be32toh(c.bytes) - 8 : 0;
		if ((be16toh(c.flags) & 1) != 0)
			break;
	}
	if (got != len)
		give_up("a reply's length");
}

static void
reads(uint64_t count, uint32_t len, uint64_t depth)
{
	uint64_t asked = 0;

	if (depth == 0 || depth > DEPTH_MAX || len == 0)
		give_up("what it was told");
	if (nbd < 0)
		connect_nbd();
	if (export_bytes < len)
		give_up("the export's size");
	for (; asked < depth && asked < count; asked++)
		ask(len);
	for (uint64_t heard = 0; heard < count; heard++) {
		hear(len);
		if (asked++ < count)
			ask(len);
	}
}

/* --- what it is told ---------------------------------------------------------------- */

static int
line(int s, char *to, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && take_all(s, to + n, 1)) {
		if (to[n] == '\n') {
			to[n] = 0;
			return 1;
		}
		n++;
	}
	return 0;
}

static void
act(int s, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	if (strcmp(what, "in") == 0) {
		for (; a != 0; a -= a < CHUNK ? a : CHUNK)
			send_all(s, bytes, a < CHUNK ? a : CHUNK);
		return;
	}
	if (strcmp(what, "out") == 0)
		take_away(s, a);
	else if (strcmp(what, "nbd") == 0)
		reads(a, (uint32_t)b, c);
	else if (strcmp(what, "off") != 0)
		give_up("what it was told");
	send_all(s, "x", 1);
}

int
main(int argc, char **argv)
{
	char text[80], what[8];
	unsigned long long a, b, c;
	uint16_t port;
	int own, s;
	FILE *f;

	if (argc != 3) {
		fprintf(stderr, "usage: far PORTS TIMES\n");
		return 2;
	}
	own = open_socket(&port, 1);
	close(open_socket(&nbd_port, 0));
	f = fopen(argv[1], "w");
	if (f == NULL || fprintf(f, "%u %u\n", port, nbd_port) < 0 || fclose(f) != 0)
		give_up(argv[1]);
	f = fopen(argv[2], "w");
	if (f == NULL)
		give_up(argv[2]);
	alarm(600);
	s = accept(own, NULL, NULL);
	if (s < 0)
		give_up("accept");
	at_once(s);
	while (line(s, text, sizeof(text))) {
		uint64_t t;

		errno = 0;
		if (sscanf(text, "%7s %llu %llu %llu", what, &a, &b, &c) != 4)
			give_up(text);
		t = now();
		act(s, what, a, b, c);
		fprintf(f, "%s %llu\n", text, (unsigned long long)(now() - t));
		fflush(f);
	}
	return 0;
}
