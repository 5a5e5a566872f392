/*
 * One NBD connection against any client: the first byte says how far a good negotiation goes before
 * the client does what it likes, the others are what it sends and, mixed in, when the disk and the
 * client's reading go on.
 *
 * What is asked of the disk lies in the export and in the area, no two pieces share a page, and
 * when all is answered and read nothing is left taken.
 *
 * LINK: usr/nbdd/proto.c usr/nbdd/option.c
 * FUZZ: -max_len=2048
 */
#include <stdlib.h>
#include <string.h>

#include "usr/nbdd/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES = 40, BYTES = 1 << 20 };

static struct nbd c;
static struct nbd_request out[NBD_PIECES];
static unsigned outs;
static uint8_t area[PAGES * PAGE_SIZE];

static void
require(bool what)
{
	if (!what)
		abort();
}

static void
end_one(unsigned i, bool good)
{
	struct nbd_request r = out[i];

	out[i] = out[--outs];
	nbd_done(&c, r.piece, good ? OK : E_IO);
}

static void
turn(const uint8_t *p, size_t n, uint8_t way)
{
	static uint8_t sink[8192];
	struct nbd_request r;
	size_t used = 0, took;

	do {
		took = nbd_input(&c, p + used, n - used);
		used += took;
		if (nbd_wants(&c) != NBD_NONE) {
			nbd_answer(&c, (way & 7) == 7 ? NULL : area, PAGES);
			took = 1;
		}
		while (nbd_take(&c, &r)) {
			require(outs < NBD_PIECES);
			require(r.op == NBD_FLUSH ||
			    (r.bytes != 0 && r.at < BYTES && r.bytes <= BYTES - r.at));
			require((r.op != NBD_READ && r.op != NBD_WRITE) ||
			    r.data + r.bytes <= sizeof(area));
			for (unsigned i = 0; i < outs; i++)
				require(out[i].piece != r.piece &&
				    ((out[i].op != NBD_READ && out[i].op != NBD_WRITE) ||
					(r.op != NBD_READ && r.op != NBD_WRITE) ||
					!ranges_overlap(
					    r.data, r.bytes, out[i].data, out[i].bytes)));
			out[outs++] = r;
		}
		if ((way & 1) == 0 && outs != 0) {
			end_one(way % outs, (way & 0x70) != 0);
			took = 1;
		}
		if ((way & 2) == 0)
			took += nbd_output(&c, sink, (way & 4) == 0 ? sizeof(sink) : 13);
		require(c.pages_used <= PAGES);
	} while (took != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct nbd_export e[2];
	static uint8_t hello[4 + 16 + 16 + 31 + 16 + 10];
	uint8_t *p = hello;
	size_t at = 1;

	if (size < 2)
		return 0;
	e[0] = (struct nbd_export){ .name = "disk",
		.about = "a",
		.bytes = BYTES,
		.block_bytes = 512,
		.piece_bytes = 64 * 1024,
		.trim_bytes = (data[0] & 64) != 0 ? 65536 : 0,
		.zero_bytes = (data[0] & 64) != 0 ? 65536 : 0,
		.read_only = (data[0] & 32) != 0 };
	e[1] = e[0];
	e[1].name[0] = 'x';
	nbd_init(&c, e, 2);
	outs = 0;
	p = nbd_put32(p, 3);
	if ((data[0] & 1) != 0)
		p = nbd_put32(
		    nbd_put32(nbd_put64(p, NBD_OPTION_MAGIC), NBD_OPT_STRUCTURED_REPLY), 0);
	if ((data[0] & 2) != 0) {
		p = nbd_put32(
		    nbd_put32(nbd_put64(p, NBD_OPTION_MAGIC), NBD_OPT_SET_META_CONTEXT), 31);
		memcpy(nbd_put32(p, 4), "disk", 4);
		memcpy(nbd_put32(nbd_put32(p + 8, 1), 15), "base:allocation", 15);
		p += 31;
	}
	if ((data[0] & 4) != 0) {
		p = nbd_put32(nbd_put32(nbd_put64(p, NBD_OPTION_MAGIC), NBD_OPT_GO), 10);
		memcpy(nbd_put32(p, 4), "disk", 4);
		p = nbd_put16(p + 8, 0);
	}
	if ((data[0] & 8) != 0)
		turn(hello, (size_t)(p - hello), 0x70);
	while (at + 1 < size && !nbd_over(&c)) {
		size_t n = min_u64(data[at + 1] % 64, size - at - 2);

		turn(data + at + 2, n, data[at]);
		at += 2 + n;
	}
	/* The client says no more; all goes to its end. */
	turn(hello, 0, 0x70);
	while (outs != 0)
		end_one(0, true);
	turn(hello, 0, 0x70);
	require(nbd_idle(&c));
	if (c.state != NBD_BROKEN && c.filling == NBD_NONE && c.asking == NBD_NONE)
		require(c.pieces_free == UINT64_MAX && c.tasks_free == UINT64_MAX &&
		    c.pages_used == 0 && c.taken == 0);
	require(c.asking == NBD_NONE || c.filling != NBD_NONE || c.state != NBD_OPEN);
	return 0;
}
