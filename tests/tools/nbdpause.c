/*
 * Between a client and a service of a machine: ends servers while bytes flow, and says how long the
 * client had to wait.
 *
 *     nbdpause PORT KEYS
 *
 * Listens on a free port of 127.0.0.1, prints it, and passes everything on to PORT and back.  KEYS
 * is the machine's console.  On its input, a line each:
 *
 *     go               bytes are counted from here; what was to be ended and was not is forgotten
 *     at BYTES NAME    when so many bytes were passed on: "kill NAME" is typed on the console
 *     end              prints "pause NAME MILLISECONDS BYTES" for each that was ended since the
 *                      last "end"
 *
 * A pause is the longest time without a byte from the service that begins within BEGINS_NS of the
 * kill, and before the next one; time after the last byte does not count, since a client that is
 * done asks for nothing.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum : uint64_t { BEGINS_NS = 300'000'000 };
enum { PAIRS = 32, SPAN = 256 * 1024, MARKS = 64, LINE = 128, POLLS = 2 + 2 * PAIRS };

/* One way of a connection. */
struct way {
	uint8_t bytes[SPAN];
	size_t at, have;
	bool eof, told;
};

static struct pair {
	int fd[2];			/* client, service; -1: free */
	struct way way[2];		/* to the service, to the client */
} pair[PAIRS];

static struct mark {
	uint64_t at;
	char name[32];
	uint64_t gap_ns, reached_ns, reached;	/* reached 0: not yet */
} mark[MARKS];

static uint32_t marks, current;		/* current: one more than the mark that was reached last */
static uint64_t passed, last_ns;
static int keys;

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void
count(size_t n, bool from_service)
{
	uint64_t now = now_ns();

	passed += n;
	if (from_service) {
		struct mark *m = current != 0 ? &mark[current - 1] : NULL;

		if (m != NULL && last_ns - m->reached_ns < BEGINS_NS && now - last_ns > m->gap_ns)
			m->gap_ns = now - last_ns;
		last_ns = now;
	}
	if (current < marks && passed >= mark[current].at) {
		mark[current].reached = passed;
		mark[current].reached_ns = now;
		last_ns = now;
		dprintf(keys, "kill %s\r", mark[current].name);
		current++;
	}
}

static void
end(void)
{
	for (uint32_t i = 0; i < current; i++)
		printf("pause %s %llu %llu\n", mark[i].name,
		    (unsigned long long)(mark[i].gap_ns / 1000000),
		    (unsigned long long)mark[i].reached);
	printf("end\n");
	fflush(stdout);
	marks = current = 0;
}

static void
command(const char *line)
{
	struct mark m = { 0 };
	unsigned long long at;

	if (sscanf(line, "at %llu %31s", &at, m.name) == 2) {
		m.at = at;
		if (marks == MARKS)
			errx(1, "too many marks");
		mark[marks++] = m;
	} else if (strcmp(line, "go") == 0) {
		passed = 0;
		marks = current;
	} else if (strcmp(line, "end") == 0) {
		end();
	} else {
		errx(1, "\"%s\" is no command", line);
	}
}

/* False: the input is over. */
static bool
read_commands(void)
{
	static char line[LINE];
	static size_t have;
	ssize_t n = read(0, line + have, LINE - 1 - have);
	char *stop;

	if (n <= 0)
		return false;
	have += (size_t)n;
	line[have] = 0;
	while ((stop = strchr(line, '\n')) != NULL) {
		*stop = 0;
		command(line);
		have -= (size_t)(stop + 1 - line);
		memmove(line, stop + 1, have + 1);
	}
	return have < LINE - 1;
}

static void
hang_up(struct pair *p)
{
	close(p->fd[0]);
	close(p->fd[1]);
	p->fd[0] = p->fd[1] = -1;
}

static void
take_connection(int listener, const struct sockaddr_in *to)
{
	int from = accept(listener, NULL, NULL), out = socket(AF_INET, SOCK_STREAM, 0);

	if (from < 0 || out < 0)
		err(1, "accept");
	for (uint32_t i = 0; i < PAIRS; i++) {
		struct pair *p = &pair[i];

		if (p->fd[0] >= 0)
			continue;
		if (connect(out, (const struct sockaddr *)to, sizeof(*to)) != 0)
			break;
		fcntl(from, F_SETFL, O_NONBLOCK);
		fcntl(out, F_SETFL, O_NONBLOCK);
		memset(p->way, 0, sizeof(p->way));
		p->fd[0] = from;
		p->fd[1] = out;
		return;
	}
	close(from);
	close(out);
}

/* Passes on one way of a pair, as far as it goes.  False: the connection is over. */
static bool
pass(struct pair *p, unsigned w)
{
	struct way *way = &p->way[w];
	ssize_t n;

	if (!way->eof && way->have < SPAN) {
		if (way->at != 0)
			memmove(way->bytes, way->bytes + way->at, way->have);
		way->at = 0;
		n = recv(p->fd[w], way->bytes + way->have, SPAN - way->have, 0);
		if (n > 0) {
			way->have += (size_t)n;
			count((size_t)n, w == 1);
		} else if (n == 0) {
			way->eof = true;
		} else if (errno != EAGAIN) {
			return false;
		}
	}
	if (way->have != 0) {
		n = send(p->fd[1 - w], way->bytes + way->at, way->have, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			way->at += (size_t)n;
			way->have -= (size_t)n;
		}
	}
	if (way->eof && way->have == 0 && !way->told) {
		shutdown(p->fd[1 - w], SHUT_WR);
		way->told = true;
	}
	return !(p->way[0].told && p->way[1].told);
}

/* Nobody is there to take what the other side may still send. */
static bool
gone(const struct pair *p, unsigned fd, short happened)
{
	return p->way[fd].told && (happened & (POLLHUP | POLLERR)) != 0;
}

static short
events(const struct pair *p, unsigned fd)
{
	const struct way *in = &p->way[fd], *out = &p->way[1 - fd];

	return (short)((!in->eof && in->have < SPAN ? POLLIN : 0) | (out->have != 0 ? POLLOUT : 0));
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int listener;

	if (argc != 3)
		errx(2, "usage: nbdpause PORT KEYS");
	keys = open(argv[2], O_WRONLY);
	if (keys < 0)
		err(1, "%s", argv[2]);
	for (uint32_t i = 0; i < PAIRS; i++)
		pair[i].fd[0] = pair[i].fd[1] = -1;
	a.sin_addr.s_addr = to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    listen(listener, PAIRS) != 0 || getsockname(listener, (struct sockaddr *)&a, &len) != 0)
		err(1, "listen");
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (;;) {
		struct pollfd f[POLLS] = { { .fd = 0, .events = POLLIN },
			{ .fd = listener, .events = POLLIN } };

		for (uint32_t i = 0; i < PAIRS; i++)
			for (unsigned w = 0; w < 2; w++) {
				f[2 + 2 * i + w].fd = pair[i].fd[w];
				f[2 + 2 * i + w].events = events(&pair[i], w);
			}
		if (poll(f, POLLS, -1) < 0)
			err(1, "poll");
		for (uint32_t i = 0; i < PAIRS; i++)
			if (pair[i].fd[0] >= 0 &&
			    (f[2 + 2 * i].revents | f[3 + 2 * i].revents) != 0 &&
			    (!pass(&pair[i], 0) || !pass(&pair[i], 1) ||
				gone(&pair[i], 0, f[2 + 2 * i].revents) ||
				gone(&pair[i], 1, f[3 + 2 * i].revents)))
				hang_up(&pair[i]);
		if (f[1].revents != 0)
			take_connection(listener, &to);
		if (f[0].revents != 0 && !read_commands())
			return 0;
	}
}
