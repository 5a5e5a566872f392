/*
 * capOS's HTTP server on this machine: usr/httpd/http.c and pages.c behind a real socket, with the
 * record of a machine that is made up and moves.
 *
 *     httphost [-s SEED]
 *
 * Listens on a free port of 127.0.0.1 and prints it.  -s: input and output come in random cuts.
 * Ends at the end of its input.
 *
 * LINK: usr/httpd/http.c usr/httpd/pages.c usr/lib/text.c kern/base/fmt.c kern/base/str.c
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "usr/httpd/pages.h"

enum { CONNECTIONS = 16, SPAN = 16 * 1024 };

static struct connection {
	int fd;				/* -1: free */
	bool eof;
	struct http http;
	char room[PAGE_BYTES];
	uint8_t in[SPAN], to[SPAN];
	size_t in_bytes, to_at, to_bytes;
} connection[CONNECTIONS];

static uint64_t seed;
static bool cuts;

static size_t
some(size_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return !cuts || n < 2 || (seed >> 60) < 4 ? n : 1 + (seed >> 33) % n;
}

void
status_json(struct text *t)
{
	static uint64_t asked;
	struct timespec now;
	uint64_t ns, wave;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	asked++;
	wave = asked % 10 * 30;
	text_put(t,
	    "{ \"arch\": \"made up\", \"uptime_ns\": %llu, \"date_s\": 0, \"cpus\": [ { \"id\": 0, \"busy_ns\": %llu, "
	    "\"idle_ns\": %llu } ], \"memory\": { \"total_kib\": 1048576, \"free_kib\": %llu },\n",
	    (unsigned long long)ns, (unsigned long long)(asked * 300000000),
	    (unsigned long long)(asked * 700000000), (unsigned long long)(900000 - wave * 100));
	text_put(t,
	    "\"units\": [ { \"name\": \"smmu0\", \"domains\": 1, \"maps\": 20, \"unmaps\": 2, \"invalidations\": 4, "
	    "\"faults\": 0, \"faults_lost\": 0 } ],\n\"devices\": [\n"
	    "{ \"function\": \"0000:00:01.0\", \"kind\": \"NVMe controller\", \"group\": 1, \"driver\": \"nvmed\", \"backend\": "
	    "\"direct-remapping\", \"reason\": \"smmu0: validated\", \"bus_master\": true, \"faults\": 0, \"domain\": \"smmu0\", "
	    "\"grants\": 20, \"grant_kib\": 3528, \"accepted\": %llu, \"refused\": 0 },\n"
	    "{ \"function\": \"0000:00:02.0\", \"kind\": \"Ethernet controller\", \"group\": 2, \"driver\": \"netd\", \"backend\": "
	    "\"bounce-buffer\", \"reason\": \"no IOMMU stands before it\", \"bus_master\": true, \"faults\": 1, \"domain\": "
	    "\"\", \"grants\": 3, \"grant_kib\": 1024, \"accepted\": 12, \"refused\": 2 },\n"
	    "{ \"function\": \"0000:00:00.0\", \"kind\": \"host bridge\", \"group\": 0, \"driver\": null, \"backend\": "
	    "\"unsupported\", \"reason\": \"no reset method\", \"bus_master\": false, \"faults\": 0, \"domain\": \"\", "
	    "\"grants\": 0, \"grant_kib\": 0, \"accepted\": 0, \"refused\": 0 } ],\n",
	    (unsigned long long)asked * 100);
	text_put(t,
	    "\"disks\": [ { \"name\": \"nvme0n1\", \"model\": \"\\\"<b>model</b>\", \"bytes\": 67108864, \"reads\": %llu, "
	    "\"writes\": %llu, \"flushes\": %llu, \"errors\": 0, \"refused\": 0 } ],\n\"net\": { \"rx_packets\": %llu, "
	    "\"tx_packets\": %llu },\n\"processes\": [ { \"pid\": 0, \"name\": \"init\", \"cpu_ns\": %llu, \"kib\": 1232, "
	    "\"threads\": 1, \"handles\": 11, \"restarts\": 0 } ] }\n",
	    (unsigned long long)(asked * 50 + wave), (unsigned long long)(asked * 20),
	    (unsigned long long)asked, (unsigned long long)(asked * 80 + wave),
	    (unsigned long long)(asked * 70), (unsigned long long)(asked * 40000000));
}

void
status_metrics(struct text *t)
{
	text_put(t, "# TYPE capos_made_up counter\ncapos_made_up 1\n");
}

void
status_evidence(struct text *t)
{
	/* More than there is room for. */
	for (unsigned i = 0; i < PAGE_BYTES; i++)
		text_put(t, "[]");
}

static void
turn(struct connection *k)
{
	struct http *c = &k->http;
	bool moved;
	size_t n;

	do {
		n = http_input(c, k->in, some(k->in_bytes));
		memmove(k->in, k->in + n, k->in_bytes - n);
		k->in_bytes -= n;
		moved = n != 0;
		if (http_wants(c)) {
			pages_answer(c, k->room);
			moved = true;
		}
		if (k->to_at == k->to_bytes)
			k->to_at = k->to_bytes = 0;
		n = http_output(c, k->to + k->to_bytes, some(SPAN - k->to_bytes));
		k->to_bytes += n;
		moved |= n != 0;
		while (k->to_at != k->to_bytes) {
			ssize_t w = send(k->fd, k->to + k->to_at, some(k->to_bytes - k->to_at),
			    MSG_DONTWAIT | MSG_NOSIGNAL);

			if (w <= 0)
				break;
			k->to_at += (size_t)w;
			moved = true;
		}
	} while (moved);
	/* With a peer that still sends, a close would take the answer with it. */
	if (http_over(c) && k->to_at == k->to_bytes) {
		shutdown(k->fd, SHUT_WR);
		k->in_bytes = 0;
	}
	if (k->eof) {
		close(k->fd);
		k->fd = -1;
	}
}

static void
add_connection(int fd)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct connection *k = &connection[i];

		if (k->fd >= 0)
			continue;
		memset(k, 0, sizeof(*k));
		k->fd = fd;
		http_init(&k->http);
		return;
	}
	close(fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int listener;

	if (argc == 3 && strcmp(argv[1], "-s") == 0) {
		seed = (uint64_t)atoi(argv[2]);
		cuts = true;
	} else if (argc != 1) {
		errx(2, "usage: httphost [-s SEED]");
	}
	for (uint32_t i = 0; i < CONNECTIONS; i++)
		connection[i].fd = -1;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    listen(listener, CONNECTIONS) != 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) != 0)
		err(1, "listen");
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (;;) {
		struct pollfd p[CONNECTIONS + 2] = { { .fd = 0, .events = POLLIN },
			{ .fd = listener, .events = POLLIN } };

		for (uint32_t i = 0; i < CONNECTIONS; i++) {
			struct connection *k = &connection[i];

			if (k->fd >= 0)
				turn(k);
			p[i + 2].fd = k->fd;
			p[i + 2].events = (k->in_bytes < SPAN ? POLLIN : 0) |
			    (k->to_at != k->to_bytes ? POLLOUT : 0);
		}
		if (poll(p, CONNECTIONS + 2, -1) < 0)
			err(1, "poll");
		if (p[0].revents != 0)
			return 0;
		if (p[1].revents != 0)
			add_connection(accept(listener, NULL, NULL));
		for (uint32_t i = 0; i < CONNECTIONS; i++) {
			struct connection *k = &connection[i];
			ssize_t n;

			if (k->fd < 0 || (p[i + 2].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
				continue;
			n = recv(k->fd, k->in + k->in_bytes, SPAN - k->in_bytes, MSG_DONTWAIT);
			if (n > 0)
				k->in_bytes += (size_t)n;
			else if (n == 0 || errno != EAGAIN)
				k->eof = true;
		}
	}
}
