/*
 * capOS's NBD server over files of the host: usr/nbdd/proto.c behind a real socket, for stock
 * clients.
 *
 *     nbdhost [-b BLOCK] [-n PIECE] [-s SEED] [-z] [-d] NAME=FILE[,ro] ...
 *
 * Listens on a free port of 127.0.0.1 and prints it.  -b: block size (512).  -n: bytes of a piece
 * (131072).  -s: block requests end in random order, and input and output come in random cuts.
 * -z: exports can trim and write zeroes by themselves (by punching holes).  -d: requests fail now
 * and then (every 97th read).  Ends at the end of its input.
 *
 * LINK: usr/nbdd/proto.c usr/nbdd/option.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "usr/nbdd/proto.h"

enum { CONNECTIONS = 16, SPAN = 256 * 1024 };

struct connection {
	int fd;				/* -1: free */
	bool eof;
	struct nbd nbd;
	struct nbd_request out[NBD_PIECES];
	uint32_t outs;
	uint8_t area[NBD_AREA_PAGES * PAGE_SIZE] ALIGNED(4096);
	uint8_t in[SPAN], to[SPAN];
	size_t in_bytes, to_at, to_bytes;
};

static struct nbd_export exports[NBD_EXPORTS];
static int files[NBD_EXPORTS];
static uint32_t count;
static struct connection connection[CONNECTIONS];
static uint64_t seed;
static bool in_order = true, failing;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % n);
}

static size_t
some(size_t n)
{
	return in_order || n < 2 || rnd(3) == 0 ? n : 1 + rnd((uint32_t)n);
}

static void
add_export(char *word, uint32_t block, uint32_t piece, bool zero)
{
	struct nbd_export *e = &exports[count];
	char *file = strchr(word, '='), *more;
	struct stat st;

	if (count == NBD_EXPORTS || file == NULL || file - word >= NBD_NAME)
		errx(2, "%s: not NAME=FILE", word);
	*file++ = 0;
	more = strchr(file, ',');
	if (more != NULL)
		*more++ = 0;
	e->read_only = more != NULL && strcmp(more, "ro") == 0;
	files[count] = open(file, e->read_only ? O_RDONLY : O_RDWR);
	if (files[count] < 0 || fstat(files[count], &st) != 0)
		err(2, "%s", file);
	snprintf(e->name, sizeof(e->name), "%s", word);
	snprintf(e->about, sizeof(e->about), "a file of the host");
	e->bytes = (uint64_t)st.st_size / block * block;
	e->block_bytes = block;
	e->piece_bytes = piece;
	if (zero)
		e->trim_bytes = e->zero_bytes = 1 << 20;
	count++;
}

static enum status
perform(struct connection *k, const struct nbd_request *r)
{
	static uint32_t reads;
	int fd = files[k->nbd.export];
	ssize_t n = r->bytes;

	switch (r->op) {
	case NBD_READ:
		if (failing && ++reads % 97 == 0)
			return E_IO;
		n = pread(fd, k->area + r->data, r->bytes, (off_t)r->at);
		break;
	case NBD_WRITE:
		n = pwrite(fd, k->area + r->data, r->bytes, (off_t)r->at);
		break;
	case NBD_TRIM:
	case NBD_ZERO:
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->at,
			r->bytes) != 0)
			return E_IO;
		break;
	case NBD_FLUSH:
		return fdatasync(fd) == 0 ? OK : E_IO;
	}
	if (r->fua && fdatasync(fd) != 0)
		return E_IO;
	return n == r->bytes ? OK : E_IO;
}

/* As far as it goes without waiting. */
static void
turn(struct connection *k)
{
	struct nbd *c = &k->nbd;
	struct nbd_request r;
	bool moved;
	size_t n;

	do {
		n = nbd_input(c, k->in, some(k->in_bytes));
		memmove(k->in, k->in + n, k->in_bytes - n);
		k->in_bytes -= n;
		moved = n != 0;
		if (nbd_wants(c) != NBD_NONE) {
			nbd_answer(c, k->area, NBD_AREA_PAGES);
			moved = true;
		}
		while (nbd_take(c, &r)) {
			k->out[k->outs++] = r;
			moved = true;
		}
		if (k->outs != 0 && (in_order || rnd(2) == 0)) {
			uint32_t i = in_order ? 0 : rnd(k->outs);

			r = k->out[i];
			memmove(&k->out[i], &k->out[i + 1], (--k->outs - i) * sizeof(r));
			nbd_done(c, r.piece, perform(k, &r));
			moved = true;
		}
		if (k->to_at == k->to_bytes)
			k->to_at = k->to_bytes = 0;
		n = nbd_output(c, k->to + k->to_bytes, some(SPAN - k->to_bytes));
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
	} while (moved || k->outs != 0);
	if (k->outs == 0 && ((nbd_over(c) && k->to_at == k->to_bytes) || k->eof)) {
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
		nbd_init(&k->nbd, exports, count);
		return;
	}
	close(fd);
}

static void
serve(int listener)
{
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
			return;
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

int
main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	uint32_t block = 512, piece = NBD_PIECE_BYTES;
	bool zero = false;
	int o, listener;

	while ((o = getopt(argc, argv, "b:n:s:zd")) != -1)
		switch (o) {
		case 'b': block = (uint32_t)atoi(optarg); break;
		case 'n': piece = (uint32_t)atoi(optarg); break;
		case 's': seed = (uint64_t)atoi(optarg); in_order = false; break;
		case 'z': zero = true; break;
		case 'd': failing = true; break;
		default:
			errx(2,
			    "usage: nbdhost [-b BLOCK] [-n PIECE] [-s SEED] [-z] [-d] NAME=FILE...");
		}
	for (; optind < argc; optind++)
		add_export(argv[optind], block, piece, zero);
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
	serve(listener);
	return 0;
}
