/*
 * The world of a TCP/IP service: the far end, and the way there.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/usr/tcpip/world_parts.h"

enum { FAR_CLIENTS = 16 };
enum : uint64_t { TURN_NS = 20 * NS_PER_US };

struct turn { uint64_t now, next, discarded; uint32_t frames; };
static int far = -1;
static pid_t far_pid;
static uint64_t far_discarded;
uint64_t world_far_next;

static void
put_all(int fd, const void *p, size_t n)
{
	if (write(fd, p, n) != (ssize_t)n)
		_exit(9);
}

static bool
get_all(int fd, void *p, size_t n)
{
	for (size_t k, done = 0; done < n; done += k) {
		ssize_t r = read(fd, (char *)p + done, n - done);

		if (r <= 0)
			return false;
		k = (size_t)r;
	}
	return true;
}

static struct socks far_socks;
static struct sock far_listen[3], far_client[FAR_CLIENTS], far_names;
static struct { uint16_t port; uint64_t n; bool shut; } far_state[FAR_CLIENTS];

static void
far_serve(uint32_t i)
{
	struct sock *s = &far_client[i];
	enum sock_state state = sock_state(s);
	uint32_t n, room;
	const uint8_t *p;
	uint8_t *to;

	while ((p = sock_peek(s, &n)), n != 0 && far_state[i].port != SOURCE) {
		if (far_state[i].port == ECHO) {
			to = sock_space(s, &room);
			n = (uint32_t)min_u64(n, room);
			if (n == 0)
				break;
			memcpy(to, p, n);
			sock_produce(s, n);
		} else {
			for (uint32_t k = 0; k < n; k++)
				if (p[k] != world_pattern(far_state[i].n++))
					world_fail("what DISCARD gets is not the pattern");
			far_discarded += n;
		}
		sock_consume(s, n);
	}
	while (far_state[i].port == SOURCE && far_state[i].n < SOURCE_BYTES) {
		to = sock_space(s, &room);
		n = (uint32_t)min_u64(room, SOURCE_BYTES - far_state[i].n);
		if (n == 0)
			break;
		for (uint32_t k = 0; k < n; k++)
			to[k] = world_pattern(far_state[i].n++);
		sock_produce(s, n);
	}
	if (far_state[i].port == SOURCE && far_state[i].n == SOURCE_BYTES && !far_state[i].shut) {
		far_state[i].shut = true;
		sock_shutdown(s);
	}
	if (state == SOCK_ENDED ||
	    (state == SOCK_PEER_CLOSED && sock_readable(s) == 0 &&
		(far_state[i].port != SOURCE || far_state[i].shut)))
		sock_close(s);
}

/* A name server [RFC 1035, 4.1]: NAME.four has 10.0.0.N, N its length; NAME.six has ::N; NAME.lies
 * gets answers of other questions and cut ones before its own; what ends otherwise is not known. */
static void
far_name(const uint8_t *q, uint32_t len, const struct sock_addr *from, uint16_t port)
{
	uint8_t a[512];
	uint32_t at = 12, n = q[12], type;
	const char *top;
	bool six, known;

	while (at < len && q[at] != 0)
		at += 1u + q[at];
	if (at + 5 > len || 12u + 1 + n >= at || len + 28 > sizeof(a))
		world_fail("a question that is none");
	top = (const char *)q + 12 + 1 + n + 1;
	type = q[at + 2];
	six = strncmp(top, "six", 3) == 0;
	known = six || strncmp(top, "four", 4) == 0 || strncmp(top, "lies", 4) == 0;
	len = at + 5;
	memcpy(a, q, len);
	a[2] = 0x81;
	a[3] = known ? 0x80 : 0x83;
	memset(a + 6, 0, 6);
	/* Known, but not of that kind: an answer without one. */
	if (known && (type == 28) == six) {
		a[7] = 1;
		memcpy(a + len,
		    (uint8_t[]){ 0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60, 0, six ? 16 : 4 },
		    12);
		memset(a + len + 12, 0, 16);
		if (six)
			a[len + 12 + 15] = (uint8_t)n;
		else
			memcpy(a + len + 12, (uint8_t[]){ 10, 0, 0, (uint8_t)n }, 4);
		len += six ? 28 : 16;
	}
	if (strncmp(top, "lies", 4) == 0) {
		a[0] ^= 0x55;
		(void)sock_send_to(&far_names, from, port, a, len);
		a[0] ^= 0x55;
		for (uint32_t cut = 1; cut < len; cut += 5)
			(void)sock_send_to(&far_names, from, port, a, cut);
	}
	(void)sock_send_to(&far_names, from, port, a, len);
}

static void
far_app(void)
{
	struct sock_addr from;
	uint8_t q[512];
	uint16_t port;
	uint32_t len;

	while (sock_receive_from(&far_names, &from, &port, q, sizeof(q), &len) == OK)
		far_name(q, len, &from, port);
	for (uint32_t l = 0; l < 3; l++)
		for (;;) {
			uint32_t i;

			for (i = 0; i < FAR_CLIENTS && far_client[i].k != NULL; i++)
				;
			if (i == FAR_CLIENTS ||
			    sock_accept(&far_listen[l], 65536, 131072, &far_client[i]) != OK)
				break;
			far_state[i].port = far_listen[l].port;
			far_state[i].n = 0;
			far_state[i].shut = false;
		}
	(void)sock_ready(&far_socks);
	for (uint32_t i = 0; i < FAR_CLIENTS; i++)
		if (far_client[i].k != NULL)
			far_serve(i);
	sock_kick(&far_socks);
}

static NORETURN void
far_main(int fd)
{
	static const uint16_t ports[3] = { ECHO, DISCARD, SOURCE };
	struct turn t;

	world_far_side = true;
	if (!get_all(fd, &t, sizeof(t)))
		_exit(0);
	world_clock = t.now;
	tcpip_init("address=10.0.0.2/24 gateway=10.0.0.1");
	world_settle();
	world_alone = true;
	if (sock_start(&far_socks, WORLD_TCPIP, WORLD_NTFN, 1) != OK)
		world_fail("no session");
	for (uint32_t i = 0; i < 3; i++)
		if (sock_listen(&far_socks, ports[i], 8, &far_listen[i]) != OK)
			world_fail("no listener");
	if (sock_bind(&far_socks, 53, 65536, 65536, &far_names) != OK)
		world_fail("no name server");
	do {
		uint32_t frames = t.frames;

		world_clock = t.now;
		world_keeper_calls();
		for (uint32_t i = 0; i < frames; i++) {
			struct wire_frame f;

			if (!get_all(fd, &f, sizeof(f)))
				_exit(0);
			wire_push(&wire_in, f.bytes, f.len, 0);
		}
		for (unsigned i = 0; i < 4; i++) {
			world_settle();
			far_app();
		}
		world_settle();
		t = (struct turn){
			.next = world_next(), .discarded = far_discarded, .frames = wire_out.n
		};
		put_all(fd, &t, sizeof(t));
		while (wire_out.n != 0) {
			struct wire_frame *f = wire_pop(&wire_out);

			put_all(fd, f, sizeof(*f));
			free(f);
		}
	} while (get_all(fd, &t, sizeof(t)));
	_exit(0);
}

void
world_far_turn(void)
{
	struct turn t = { .now = world_clock };
	uint32_t due = 0;

	while (due < wire_to_far.n && wire_to_far.f[due]->at <= world_clock)
		due++;
	if (due == 0 && world_far_next > world_clock)
		return;
	t.frames = due;
	put_all(far, &t, sizeof(t));
	for (; due != 0; due--) {
		struct wire_frame *f = wire_pop(&wire_to_far);

		put_all(far, f, sizeof(*f));
		free(f);
	}
	if (!get_all(far, &t, sizeof(t)))
		world_fail("the far end is gone");
	world_far_next = max_u64(t.next, world_clock + TURN_NS);
	far_discarded = t.discarded;
	for (uint32_t i = 0; i < t.frames; i++) {
		struct wire_frame f;

		if (!get_all(far, &f, sizeof(f)))
			world_fail("the far end is gone");
		wire_carry(&wire_to_here, &f);
	}
}

void
world_start(uint64_t seed)
{
	int pair[2];

	world_seed(seed);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		abort();
	fflush(NULL);
	far_pid = fork();
	if (far_pid == 0) {
		close(pair[0]);
		far_main(pair[1]);
	}
	close(pair[1]);
	far = pair[0];
	signal(SIGPIPE, SIG_IGN);
	tcpip_init("address=10.0.0.1/24 gateway=10.0.0.2 dns=10.0.0.2");
	world_run(3 * NS_PER_S);	/* addresses are found to be nobody else's */
}

void
world_stop(void)
{
	int status;

	close(far);
	if (waitpid(far_pid, &status, 0) != far_pid || status != 0)
		world_fail("the far end did not end well");
}

uint64_t world_discarded(void) { return far_discarded; }
struct sock_addr world_far(void) { return sock_addr_v4(10, 0, 0, 2); }

struct sock_addr
world_far6(void)
{
	/* fe80::ff:fe00:2 [RFC 4291, appendix A] */
	return (struct sock_addr){ .v = { 0xfe, 0x80, [11] = 0xff, 0xfe, 0, 0, 2 } };
}
