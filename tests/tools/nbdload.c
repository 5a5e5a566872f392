/*
 * A load on a disk over NBD that knows what must be on it.
 *
 *     nbdload PORT EXPORT IMAGE MODEL SEED BYTES
 *
 * IMAGE is the disk's file on this machine.  What is in it at the start is the model; from then on
 * each write and each zeroing that was answered changes it.  Reads, writes, zeroing and flushes of
 * random places and sizes go over several connections, several at a time, most of them to a small
 * part of the disk, until BYTES were read and written.  No request meets one on its way that
 * changes the same sectors, so each has one right answer.  Compared with the model are
 *
 *     each read
 *     when a flush is answered, all in IMAGE that was written before it was asked for and not since
 *     when a durable write (FUA) is answered, its range in IMAGE
 *     at the end, after a last flush, all of IMAGE
 *
 * so whoever keeps writes back, loses some of them, or puts older ones over newer ones is found
 * out, whatever dies meanwhile.  The connections have to live.  MODEL gets the model in the end.
 * The same SEED makes the same requests, as far as answers come in the same order.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "usr/nbdd/wire.h"

enum {
	SECTOR = 512,
	CONNECTIONS = 4,
	DEPTH = 8,
	REQUESTS = CONNECTIONS * DEPTH,
	HOT = 48, HOT_LG2 = 3,		/* sectors of the small part, and of a request there */
	LARGEST_LG2 = 8,
	MOST = SECTOR << LARGEST_LG2,
	TRIES = 16,
	SILENCE_MS = 60'000,
};

static struct request {
	bool busy;
	uint16_t command, flags;
	uint32_t first, sectors;
	uint64_t asked;			/* a flush: the clock then */
	uint8_t bytes[MOST];
} request[REQUESTS];

static struct connection {
	int fd;
	uint32_t busy;
	uint8_t out[DEPTH * (NBD_REQUEST_BYTES + MOST)];
	size_t out_at, out_end;
	uint8_t in[NBD_SIMPLE_BYTES + MOST];
	size_t in_bytes;
} connection[CONNECTIONS];

static uint8_t *model;
static uint32_t sectors;
static uint64_t clock_now = 1;		/* of requests and answers */
static uint64_t *changed;		/* by sector: when a write was answered last */
static uint16_t *readers, *writers;	/* by sector: on their way */
static int image;
static uint64_t seed, left;
static uint64_t told[3];		/* flushes, durable writes, reads: answered, and right */

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % n);
}

/* --- what is right ---------------------------------------------------------------- */

static void
require(const uint8_t *got, uint32_t first, uint32_t n, const char *where)
{
	const uint8_t *want = model + (size_t)first * SECTOR;

	if (memcmp(got, want, (size_t)n * SECTOR) == 0)
		return;
	for (uint32_t i = 0; i < n * SECTOR; i++)
		if (got[i] != want[i])
			errx(1, "%s: byte %llu of the disk is %02x and should be %02x", where,
			    (unsigned long long)first * SECTOR + i, got[i], want[i]);
}

/* The image, where nothing changed from a time on. */
static void
require_image(uint32_t first, uint32_t n, uint64_t since, const char *where)
{
	static uint8_t part[MOST];

	for (uint32_t end = first + n; first != end;) {
		uint32_t some = end - first < MOST / SECTOR ? end - first : MOST / SECTOR;

		if (pread(image, part, (size_t)some * SECTOR, (off_t)first * SECTOR) !=
		    (ssize_t)((size_t)some * SECTOR))
			err(1, "the image");
		for (uint32_t i = 0; i < some; i++)
			if (writers[first + i] == 0 && changed[first + i] < since)
				require(part + i * SECTOR, first + i, 1, where);
		first += some;
	}
}

static void
answered(struct request *r, const uint8_t *bytes)
{
	size_t at = (size_t)r->first * SECTOR, len = (size_t)r->sectors * SECTOR;

	clock_now++;
	switch (r->command) {
	case NBD_CMD_READ:
		require(bytes, r->first, r->sectors, "a read");
		told[2]++;
		break;
	case NBD_CMD_FLUSH:
		require_image(0, sectors, r->asked, "the image after a flush");
		told[0]++;
		break;
	default:
		if (r->command == NBD_CMD_WRITE)
			memcpy(model + at, r->bytes, len);
		else
			memset(model + at, 0, len);
	}
	for (uint32_t i = 0; i < r->sectors; i++) {
		if (r->command == NBD_CMD_READ) {
			readers[r->first + i]--;
		} else {
			writers[r->first + i]--;
			changed[r->first + i] = clock_now;
		}
	}
	if ((r->flags & NBD_CMD_FLAG_FUA) != 0) {
		require_image(
		    r->first, r->sectors, clock_now + 1, "the image after a durable write");
		told[1]++;
	}
	r->busy = false;
}

/* --- requests ----------------------------------------------------------------------- */

/* False: everything that was tried meets something on its way. */
static bool
place(struct request *r)
{
	for (unsigned tries = 0; tries < TRIES; tries++) {
		bool hot = rnd(4) != 0, met = false;

		r->sectors = 1 + rnd(1u << rnd((hot ? HOT_LG2 : LARGEST_LG2) + 1));
		r->first = rnd((hot ? HOT : sectors) - r->sectors + 1);
		for (uint32_t i = r->first; i < r->first + r->sectors && !met; i++)
			met = writers[i] != 0 || (r->command != NBD_CMD_READ && readers[i] != 0);
		if (!met)
			return true;
	}
	return false;
}

static bool
choose(struct request *r)
{
	uint32_t what = rnd(100);

	r->flags = 0;
	r->command = what < 50 ? NBD_CMD_WRITE :
	    what < 52	       ? NBD_CMD_WRITE_ZEROES :
	    what < 98	       ? NBD_CMD_READ :
				 NBD_CMD_FLUSH;
	r->first = r->sectors = 0;
	if (r->command == NBD_CMD_FLUSH) {
		r->asked = ++clock_now;
		return true;
	}
	if (!place(r))
		return false;
	if (r->command != NBD_CMD_READ && rnd(3) == 0)
		r->flags = NBD_CMD_FLAG_FUA;
	for (uint32_t i = r->first; i < r->first + r->sectors; i++)
		++*(r->command == NBD_CMD_READ ? &readers[i] : &writers[i]);
	if (r->command == NBD_CMD_WRITE)
		for (uint32_t i = 0; i < r->sectors * SECTOR; i += 8)
			memcpy(r->bytes + i, &(uint64_t){ seed + rnd(UINT32_MAX) }, 8);
	return true;
}

static void
put(struct connection *c, uint16_t command, uint16_t flags, const struct request *r)
{
	size_t len = r != NULL ? (size_t)r->sectors * SECTOR : 0;
	uint8_t *p;

	memmove(c->out, c->out + c->out_at, c->out_end - c->out_at);
	c->out_end -= c->out_at;
	c->out_at = 0;
	p = c->out + c->out_end;
	p = nbd_put32(p, NBD_REQUEST_MAGIC);
	p = nbd_put16(p, flags);
	p = nbd_put16(p, command);
	p = nbd_put64(p, r != NULL ? (uint64_t)(r - request) : REQUESTS);
	p = nbd_put64(p, r != NULL ? (uint64_t)r->first * SECTOR : 0);
	p = nbd_put32(p, (uint32_t)len);
	if (command == NBD_CMD_WRITE) {
		memcpy(p, r->bytes, len);
		p += len;
	}
	c->out_end = (size_t)(p - c->out);
}

static void
ask(struct connection *c)
{
	while (c->busy < DEPTH && left != 0) {
		struct request *r = request;
		uint64_t moved;

		while (r->busy)
			r++;
		if (!choose(r))
			return;
		r->busy = true;
		c->busy++;
		put(c, r->command, r->flags, r);
		moved = r->command == NBD_CMD_WRITE_ZEROES ? 0 : (uint64_t)r->sectors * SECTOR;
		left -= moved < left ? moved : left;
	}
}

/* Answers that are whole. */
static void
take(struct connection *c)
{
	for (;;) {
		uint64_t cookie;
		struct request *r;
		size_t len;

		if (c->in_bytes < NBD_SIMPLE_BYTES)
			return;
		cookie = nbd_get64(c->in + 8);
		if (nbd_get32(c->in) != NBD_SIMPLE_MAGIC || cookie >= REQUESTS ||
		    !request[cookie].busy)
			errx(1, "an answer to nothing");
		r = &request[cookie];
		if (nbd_get32(c->in + 4) != NBD_SUCCESS)
			errx(1, "request %u failed: error %u", r->command, nbd_get32(c->in + 4));
		len = NBD_SIMPLE_BYTES +
		    (r->command == NBD_CMD_READ ? (size_t)r->sectors * SECTOR : 0);
		if (c->in_bytes < len)
			return;
		answered(r, c->in + NBD_SIMPLE_BYTES);
		c->busy--;
		c->in_bytes -= len;
		memmove(c->in, c->in + len, c->in_bytes);
	}
}

/* Until nothing is on its way.  New requests as long as some are left to be made. */
static void
run(void)
{
	for (;;) {
		struct pollfd f[CONNECTIONS];
		uint32_t busy = 0;

		for (unsigned i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &connection[i];

			ask(c);
			busy += c->busy;
			f[i].fd = c->fd;
			f[i].events = (short)(POLLIN | (c->out_at != c->out_end ? POLLOUT : 0));
		}
		if (busy == 0 && left == 0)
			return;
		if (poll(f, CONNECTIONS, SILENCE_MS) <= 0)
			errx(1, "no answer for %d s", SILENCE_MS / 1000);
		for (unsigned i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &connection[i];
			ssize_t n = 0;

			if ((f[i].revents & POLLOUT) != 0)
				n = send(c->fd, c->out + c->out_at, c->out_end - c->out_at,
				    MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				err(1, "connection %u", i);
			c->out_at += n > 0 ? (size_t)n : 0;
			if ((f[i].revents & ~POLLOUT) == 0)
				continue;
			n = recv(c->fd, c->in + c->in_bytes, sizeof(c->in) - c->in_bytes,
			    MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				errx(1, "connection %u is over", i);
			c->in_bytes += n > 0 ? (size_t)n : 0;
			take(c);
		}
	}
}

/* --- begin and end -------------------------------------------------------------------- */

static void
get(int fd, uint8_t *to, size_t n)
{
	ssize_t r;

	for (; n != 0; to += r, n -= (size_t)r) {
		r = recv(fd, to, n, 0);
		if (r <= 0)
			errx(1, "the server hangs up before it serves");
	}
}

/* Fixed newstyle, no options but the export's name, simple answers. */
static void
meet(struct connection *c, uint16_t port, const char *name)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	uint8_t b[256], *p = b;
	uint32_t len = (uint32_t)strlen(name), type;
	uint64_t size = 0;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		err(1, "port %u", port);
	get(c->fd, b, NBD_HELLO_BYTES);
	if (nbd_get64(b) != NBD_INIT_MAGIC || nbd_get64(b + 8) != NBD_OPTION_MAGIC ||
	    (nbd_get16(b + 16) & NBD_FLAG_FIXED_NEWSTYLE) == 0 || len > 64)
		errx(1, "no NBD server");
	p = nbd_put32(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	p = nbd_put64(p, NBD_OPTION_MAGIC);
	p = nbd_put32(p, NBD_OPT_GO);
	p = nbd_put32(p, 4 + len + 2);
	p = nbd_put32(p, len);
	memcpy(p, name, len);
	p = nbd_put16(p + len, 0);
	if (send(c->fd, b, (size_t)(p - b), MSG_NOSIGNAL) != p - b)
		err(1, "port %u", port);
	do {
		get(c->fd, b, NBD_OPTION_REPLY_BYTES);
		type = nbd_get32(b + 12);
		len = nbd_get32(b + 16);
		if (nbd_get64(b) != NBD_OPTION_REPLY_MAGIC || len > sizeof(b) ||
		    (type != NBD_REP_INFO && type != NBD_REP_ACK))
			errx(1, "export %s is refused: %x", name, type);
		get(c->fd, b, len);
		if (type == NBD_REP_INFO && len >= 12 && nbd_get16(b) == NBD_INFO_EXPORT)
			size = nbd_get64(b + 2);
	} while (type != NBD_REP_ACK);
	if (size != (uint64_t)sectors * SECTOR)
		errx(1, "export %s has %llu bytes, and its image %llu", name,
		    (unsigned long long)size, (unsigned long long)sectors * SECTOR);
}

int
main(int argc, char **argv)
{
	struct stat st;
	FILE *out;

	if (argc != 7)
		errx(2, "usage: nbdload PORT EXPORT IMAGE MODEL SEED BYTES");
	image = open(argv[3], O_RDONLY);
	if (image < 0 || fstat(image, &st) != 0)
		err(1, "%s", argv[3]);
	sectors = (uint32_t)(st.st_size / SECTOR);
	if (sectors < HOT || sectors < MOST / SECTOR)
		errx(1, "%s is too small", argv[3]);
	model = malloc((size_t)sectors * SECTOR);
	changed = calloc(sectors, sizeof(*changed));
	readers = calloc(sectors, sizeof(*readers));
	writers = calloc(sectors, sizeof(*writers));
	if (model == NULL || changed == NULL || readers == NULL || writers == NULL ||
	    pread(image, model, (size_t)sectors * SECTOR, 0) != (ssize_t)((size_t)sectors * SECTOR))
		err(1, "%s", argv[3]);
	seed = strtoull(argv[5], NULL, 0) * 2 + 1;
	left = strtoull(argv[6], NULL, 0);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		meet(&connection[i], (uint16_t)atoi(argv[1]), argv[2]);
	run();
	request[0] = (struct request){ .busy = true, .command = NBD_CMD_FLUSH };
	request[0].asked = ++clock_now;
	connection[0].busy = 1;
	put(&connection[0], NBD_CMD_FLUSH, 0, &request[0]);
	run();
	require_image(0, sectors, UINT64_MAX, "the image in the end");
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		put(&connection[i], NBD_CMD_DISC, 0, NULL);
		(void)!write(connection[i].fd, connection[i].out, connection[i].out_end);
		close(connection[i].fd);
	}
	out = fopen(argv[4], "w");
	if (out == NULL || fwrite(model, SECTOR, sectors, out) != sectors || fclose(out) != 0)
		err(1, "%s", argv[4]);
	printf("%llu flushes, %llu durable writes and %llu reads were as the model says\n",
	    (unsigned long long)told[0], (unsigned long long)told[1], (unsigned long long)told[2]);
	return 0;
}
