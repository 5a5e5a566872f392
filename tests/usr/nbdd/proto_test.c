/*
 * The NBD server's end of a connection: what it answers, in which order, and what a client that
 * lies about lengths gets.  The client here speaks bytes; the disk is a pattern.
 *
 * LINK: usr/nbdd/proto.c usr/nbdd/option.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "usr/nbdd/proto.h"

enum { BLOCK = 512, DISK = 8 * 1024 * 1024, SAID = 16 * 1024 * 1024 };

static struct nbd_export exports[3];
static struct nbd c;
static uint8_t area[NBD_AREA_PAGES * PAGE_SIZE];
static uint8_t said[SAID];		/* by the server, and not looked at yet */
static size_t said_first, said_next;

static void
hear(void)
{
	size_t n;

	while ((n = nbd_output(&c, said + said_next, SAID - said_next)) != 0)
		said_next += n;
}

static const uint8_t *
heard(size_t n)
{
	const uint8_t *p = said + said_first;

	hear();
	ATF_REQUIRE_MSG(said_next - said_first >= n, "the server said %zu bytes, not %zu",
	    said_next - said_first, n);
	said_first += n;
	return p;
}

static void
nothing_more(void)
{
	hear();
	ATF_CHECK_EQ(said_next - said_first, 0);
}

/* Says it, all of it; the caller does not leave the server without room. */
static void
say(const void *p, size_t n)
{
	size_t at = 0, took;

	do {
		took = nbd_input(&c, (const uint8_t *)p + at, n - at);
		at += took;
		hear();
	} while (took != 0 && at != n);
	ATF_CHECK_EQ(at, n);
}

static void
begin(void)
{
	uint8_t b[4];
	const uint8_t *p;

	for (unsigned i = 0; i < 3; i++)
		exports[i] = (struct nbd_export){ .name = "disk",
			.about = "for a test",
			.bytes = DISK,
			.block_bytes = BLOCK,
			.piece_bytes = NBD_PIECE_BYTES };
	strcpy(exports[1].name, "fixed");
	exports[1].read_only = true;
	strcpy(exports[2].name, "gone");
	exports[2].bytes = 0;
	said_first = said_next = 0;
	nbd_init(&c, exports, 3);
	p = heard(18);
	ATF_CHECK(memcmp(p, "NBDMAGICIHAVEOPT\0\3", 18) == 0);
	nbd_put32(b, 3);
	say(b, 4);
}

static void
option(uint32_t what, const void *data, uint32_t len)
{
	uint8_t b[16];

	nbd_put32(nbd_put32(nbd_put64(b, 0x49484156454f5054), what), len);
	say(b, 16);
	if (data != NULL)
		say(data, len);
}

/* The next option reply: its type; its data's length in *len. */
static uint32_t
option_reply(uint32_t what, uint32_t *len)
{
	const uint8_t *p = heard(20);
	uint32_t n = nbd_get32(p + 16);

	ATF_CHECK_EQ(nbd_get64(p), 0x0003e889045565a9);
	ATF_CHECK_EQ(nbd_get32(p + 8), what);
	if (len != NULL)
		*len = n;
	else
		ATF_CHECK_EQ(n, 0);
	return nbd_get32(p + 12);
}

static uint32_t
name_data(uint8_t *b, const char *name, uint16_t infos)
{
	uint32_t n = (uint32_t)strlen(name);

	memcpy(nbd_put32(b, n), name, n);
	nbd_put16(b + 4 + n, infos);
	return 4 + n + 2;
}

/* From the greeting to transmission. */
static void
go(const char *name, bool structured)
{
	uint8_t b[64];
	uint32_t len;

	begin();
	if (structured) {
		option(NBD_OPT_STRUCTURED_REPLY, "", 0);
		ATF_CHECK_EQ(option_reply(NBD_OPT_STRUCTURED_REPLY, NULL), NBD_REP_ACK);
	}
	option(NBD_OPT_GO, b, name_data(b, name, 0));
	ATF_REQUIRE(nbd_wants(&c) != NBD_NONE);
	nbd_answer(&c, area, NBD_AREA_PAGES);
	ATF_CHECK_EQ(option_reply(NBD_OPT_GO, &len), NBD_REP_INFO);
	heard(len);
	ATF_CHECK_EQ(option_reply(NBD_OPT_GO, NULL), NBD_REP_ACK);
	ATF_CHECK(nbd_serves(&c));
}

static void
request(uint16_t type, uint16_t flags, uint64_t cookie, uint64_t at, uint32_t len)
{
	uint8_t b[28];

	nbd_put32(nbd_put64(nbd_put64(nbd_put16(nbd_put16(nbd_put32(b, 0x25609513), flags), type),
		    cookie), at), len);
	say(b, 28);
}

static uint8_t pattern(uint64_t at) { return (uint8_t)(at >> 9 ^ at >> 17 ^ at); }

static void
perform(const struct nbd_request *r, enum status s)
{
	ATF_CHECK(r->at + r->bytes <= DISK);
	ATF_CHECK(r->op >= NBD_FLUSH || r->data + r->bytes <= sizeof(area));
	if (r->op == NBD_READ && s == OK)
		for (uint32_t i = 0; i < r->bytes; i++)
			area[r->data + i] = pattern(r->at + i);
	nbd_done(&c, r->piece, s);
}

/* All that is asked for now; last come, first served. */
static void
disk(void)
{
	struct nbd_request r[NBD_PIECES];
	unsigned n = 0;

	while (nbd_take(&c, &r[n]))
		n++;
	while (n-- != 0)
		perform(&r[n], OK);
}

static void
simple_reply(uint64_t cookie, uint32_t error)
{
	const uint8_t *p = heard(16);

	ATF_CHECK_EQ(nbd_get32(p), 0x67446698);
	ATF_CHECK_EQ_MSG(nbd_get32(p + 4), error, "error %u", nbd_get32(p + 4));
	ATF_CHECK_EQ(nbd_get64(p + 8), cookie);
}

static void
check_data(const uint8_t *p, uint64_t at, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (p[i] != pattern(at + i))
			atf_tc_fail("wrong data at %llu", (unsigned long long)(at + i));
}

ATF_TC_WITHOUT_HEAD(a_client_with_unknown_flags_is_another_protocols);
ATF_TC_BODY(a_client_with_unknown_flags_is_another_protocols, tc)
{
	static const uint32_t bad[] = { 4, 0, 2, 0x80000001 };
	uint8_t b[4];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		nbd_init(&c, exports, 0);
		said_first = said_next = 0;
		heard(18);
		nbd_put32(b, bad[i]);
		say(b, 4);
		ATF_CHECK(nbd_over(&c));
	}
}

ATF_TC_WITHOUT_HEAD(the_list_has_what_is_there);
ATF_TC_BODY(the_list_has_what_is_there, tc)
{
	uint32_t len;
	const uint8_t *p;

	begin();
	option(NBD_OPT_LIST, "", 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_LIST, &len), NBD_REP_SERVER);
	p = heard(len);
	ATF_CHECK_EQ(len, 4 + 4 + 10);
	ATF_CHECK(nbd_get32(p) == 4 && memcmp(p + 4, "diskfor a test", 14) == 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_LIST, &len), NBD_REP_SERVER);
	p = heard(len);
	ATF_CHECK(memcmp(p + 4, "fixed", 5) == 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_LIST, NULL), NBD_REP_ACK);
	nothing_more();
}

ATF_TC_WITHOUT_HEAD(what_cannot_be_negotiated_is_told_and_the_next_option_understood);
ATF_TC_BODY(what_cannot_be_negotiated_is_told_and_the_next_option_understood, tc)
{
	static uint8_t big[NBD_DRAIN_BYTES + 1];
	uint8_t b[64];
	uint32_t n;

	begin();
	option(NBD_OPT_STARTTLS, "", 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_STARTTLS, NULL), NBD_REP_ERR_UNSUP);
	option(77, big, 100);
	ATF_CHECK_EQ(option_reply(77, NULL), NBD_REP_ERR_UNSUP);
	option(NBD_OPT_LIST, "x", 1);
	ATF_CHECK_EQ(option_reply(NBD_OPT_LIST, NULL), NBD_REP_ERR_INVALID);
	option(NBD_OPT_STRUCTURED_REPLY, "x", 1);
	ATF_CHECK_EQ(option_reply(NBD_OPT_STRUCTURED_REPLY, NULL), NBD_REP_ERR_INVALID);
	option(NBD_OPT_LIST, big, NBD_DRAIN_BYTES);
	ATF_CHECK_EQ(option_reply(NBD_OPT_LIST, NULL), NBD_REP_ERR_TOO_BIG);
	option(NBD_OPT_GO, b, name_data(b, "gone", 0));
	ATF_CHECK_EQ(option_reply(NBD_OPT_GO, NULL), NBD_REP_ERR_UNKNOWN);
	option(NBD_OPT_INFO, b, name_data(b, "nobody", 0));
	ATF_CHECK_EQ(option_reply(NBD_OPT_INFO, NULL), NBD_REP_ERR_UNKNOWN);
	/* Contexts go with structured replies. */
	n = name_data(b, "disk", 0) + 2;
	memset(b + 8, 0, 4);
	option(NBD_OPT_SET_META_CONTEXT, b, n);
	ATF_CHECK_EQ(option_reply(NBD_OPT_SET_META_CONTEXT, NULL), NBD_REP_ERR_INVALID);
	/* The export cannot be had now. */
	option(NBD_OPT_GO, b, name_data(b, "", 0));
	ATF_CHECK_EQ(nbd_wants(&c), 0);
	nbd_answer(&c, NULL, 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_GO, NULL), NBD_REP_ERR_PLATFORM);
	option(NBD_OPT_ABORT, "", 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_ABORT, NULL), NBD_REP_ACK);
	ATF_CHECK(nbd_over(&c));
	begin();
	option(NBD_OPT_LIST, NULL, NBD_DRAIN_BYTES + 1);
	ATF_CHECK(nbd_over(&c));
	begin();
	option(NBD_OPT_EXPORT_NAME, "nobody", 6);
	ATF_CHECK(nbd_over(&c));
}

ATF_TC_WITHOUT_HEAD(lengths_within_an_option_are_bounded_by_it);
ATF_TC_BODY(lengths_within_an_option_are_bounded_by_it, tc)
{
	static const uint32_t lies[] = { 5, 6, 7, 100, 0x7fffffff, 0xfffffffb, 0xffffffff };
	static const uint32_t options[] = { NBD_OPT_GO, NBD_OPT_INFO, NBD_OPT_SET_META_CONTEXT };
	uint8_t b[64];

	begin();
	option(NBD_OPT_STRUCTURED_REPLY, "", 0);
	(void)option_reply(NBD_OPT_STRUCTURED_REPLY, NULL);
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
			uint32_t n = name_data(b, "disk", 0);

			nbd_put32(b, lies[i]);
			option(options[k], b, n);
			ATF_CHECK_EQ(option_reply(options[k], NULL), NBD_REP_ERR_INVALID);
		}
		for (uint32_t n = 0; n < 8; n++) {	/* cut short */
			(void)name_data(b, "disk", 0);
			option(options[k], b, n);
			ATF_CHECK_EQ(option_reply(options[k], NULL), NBD_REP_ERR_INVALID);
		}
		nbd_put16(b + 8, 0xffff);		/* so many words, and none */
		nbd_put16(b + 10, 0xffff);
		option(options[k], b, 12);
		ATF_CHECK_EQ(option_reply(options[k], NULL), NBD_REP_ERR_INVALID);
	}
}

ATF_TC_WITHOUT_HEAD(requests_that_cannot_be_get_their_error);
ATF_TC_BODY(requests_that_cannot_be_get_their_error, tc)
{
	static uint8_t payload[2 * DISK];
	static const struct { uint16_t type, flags; uint64_t at; uint32_t len, error; } bad[] = {
		{ NBD_CMD_READ, 0, 1, BLOCK, NBD_EINVAL },
		{ NBD_CMD_READ, 0, 0, BLOCK - 1, NBD_EINVAL },
		{ NBD_CMD_READ, 0, DISK, BLOCK, NBD_EINVAL },
		{ NBD_CMD_READ, 0, DISK - BLOCK, 2 * BLOCK, NBD_EINVAL },
		{ NBD_CMD_READ, 0, 0xfffffffffffffe00, BLOCK, NBD_EINVAL },
		{ NBD_CMD_READ, 0, 0xfffffffffffffe00, 2 * BLOCK, NBD_EINVAL },
		{ NBD_CMD_READ, 0, 0, 0xffffffff, NBD_EINVAL },
		{ NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, BLOCK, NBD_EINVAL },
		{ NBD_CMD_READ, 1 << 9, 0, BLOCK, NBD_EINVAL },
		{ NBD_CMD_WRITE, 0, DISK, BLOCK, NBD_ENOSPC },
		{ NBD_CMD_WRITE, 0, 0, DISK + BLOCK, NBD_ENOSPC },
		{ NBD_CMD_WRITE, 0, 7, 3, NBD_EINVAL },
		{ NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 0, BLOCK, NBD_EINVAL },
		{ NBD_CMD_WRITE_ZEROES, 0, DISK, BLOCK, NBD_ENOSPC },
		{ NBD_CMD_TRIM, 0, 0, BLOCK, NBD_EINVAL },
		{ NBD_CMD_CACHE, 0, 0, BLOCK, NBD_EINVAL },
		{ NBD_CMD_FLUSH, 0, 0, BLOCK, NBD_EINVAL },
		{ NBD_CMD_BLOCK_STATUS, 0, 0, BLOCK, NBD_EINVAL },
		{ 8, 0, 0, BLOCK, NBD_EINVAL },
		{ 0xffff, 0xffff, 0, 0, NBD_EINVAL },
	};
	struct nbd_request r;

	go("disk", false);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		request(bad[i].type, bad[i].flags, i, bad[i].at, bad[i].len);
		if (bad[i].type == NBD_CMD_WRITE)
			say(payload, bad[i].len);
		ATF_CHECK_MSG(!nbd_take(&c, &r), "%u", i);
		simple_reply(i, bad[i].error);
		nothing_more();
	}
	go("fixed", false);
	request(NBD_CMD_WRITE, 0, 1, 0, BLOCK);
	say(payload, BLOCK);
	simple_reply(1, NBD_EPERM);
	request(NBD_CMD_WRITE_ZEROES, 0, 2, 0, BLOCK);
	simple_reply(2, NBD_EPERM);
	request(NBD_CMD_READ, 0, 3, 0, BLOCK);
	disk();
	simple_reply(3, 0);
	check_data(heard(BLOCK), 0, BLOCK);
	ATF_CHECK(c.pieces_free == UINT64_MAX && c.tasks_free == UINT64_MAX && c.pages_used == 0);
	payload[0] = 0x25;
	say(payload, NBD_REQUEST_BYTES);
	ATF_CHECK(nbd_over(&c));
}

ATF_TC_WITHOUT_HEAD(a_long_read_without_structured_replies_comes_in_order);
ATF_TC_BODY(a_long_read_without_structured_replies_comes_in_order, tc)
{
	enum { LONG = 3 * 1024 * 1024 + BLOCK };
	size_t want = said_next;

	go("disk", false);
	want = said_next + 16 + LONG;
	request(NBD_CMD_READ, 0, 9, BLOCK, LONG);
	while (said_next < want) {
		size_t before = said_next;

		ATF_CHECK(c.pages_used <= NBD_AREA_PAGES);
		disk();				/* last come, first served */
		hear();
		(void)nbd_input(&c, NULL, 0);
		ATF_REQUIRE(said_next != before || nbd_has(&c));
	}
	simple_reply(9, 0);
	check_data(heard(LONG), BLOCK, LONG);
	nothing_more();
	/* Another request behind it waits for its turn. */
	request(NBD_CMD_READ, 0, 1, 0, 2 * NBD_PIECE_BYTES);
	request(NBD_CMD_READ, 0, 2, 0, BLOCK);
	disk();
	hear();
	if (nbd_get32(said + said_first + 12) == 2) {
		simple_reply(2, 0);
		check_data(heard(BLOCK), 0, BLOCK);
		simple_reply(1, 0);
		check_data(heard(2 * NBD_PIECE_BYTES), 0, 2 * NBD_PIECE_BYTES);
	} else {
		simple_reply(1, 0);
		check_data(heard(2 * NBD_PIECE_BYTES), 0, 2 * NBD_PIECE_BYTES);
		simple_reply(2, 0);
		check_data(heard(BLOCK), 0, BLOCK);
	}
	nothing_more();
	ATF_CHECK(c.pieces_free == UINT64_MAX && c.tasks_free == UINT64_MAX && c.pages_used == 0);
}

ATF_TC_WITHOUT_HEAD(an_error_in_a_long_simple_read_is_never_data);
ATF_TC_BODY(an_error_in_a_long_simple_read_is_never_data, tc)
{
	struct nbd_request r[4];

	/* Known before anything was sent: it is the reply. */
	for (unsigned first = 0; first < 3; first++) {
		go("disk", false);
		request(NBD_CMD_READ, 0, 5, 0, 3 * NBD_PIECE_BYTES);
		for (unsigned i = 0; i < 3; i++)
			ATF_REQUIRE(nbd_take(&c, &r[i]));
		if (first != 0)
			perform(&r[first], E_IO);
		perform(&r[0], first == 0 ? E_IO : OK);
		for (unsigned i = 1; i < 3; i++)
			if (i != first)
				perform(&r[i], OK);
		simple_reply(5, NBD_EIO);
		nothing_more();
		request(NBD_CMD_READ, 0, 6, 0, BLOCK);
		disk();
		simple_reply(6, 0);
		heard(BLOCK);
		nothing_more();
		ATF_CHECK(c.pieces_free == UINT64_MAX && c.pages_used == 0);
	}
	/* Known too late: hang up. */
	go("disk", false);
	request(NBD_CMD_READ, 0, 5, 0, 3 * NBD_PIECE_BYTES);
	for (unsigned i = 0; i < 3; i++)
		ATF_REQUIRE(nbd_take(&c, &r[i]));
	perform(&r[0], OK);
	hear();
	perform(&r[1], E_IO);
	perform(&r[2], OK);
	hear();
	ATF_CHECK(nbd_over(&c) && nbd_idle(&c));
	ATF_CHECK_EQ(said_next - said_first, 16 + NBD_PIECE_BYTES);
}

ATF_TC_WITHOUT_HEAD(chunks_cover_a_structured_read_and_the_last_says_so);
ATF_TC_BODY(chunks_cover_a_structured_read_and_the_last_says_so, tc)
{
	enum { LONG = 1024 * 1024 };
	static bool have[LONG / BLOCK];
	uint32_t got = 0, errors = 0;
	struct nbd_request r;
	bool done = false;

	go("disk", true);
	request(NBD_CMD_READ, 0, 3, 4096, LONG);
	while (!done) {
		const uint8_t *p;
		uint32_t len;

		while (nbd_take(&c, &r))
			perform(&r, r.at == 4096 + NBD_PIECE_BYTES ? E_IO : OK);
		p = heard(20);
		ATF_CHECK_EQ(nbd_get32(p), 0x668e33ef);
		ATF_CHECK_EQ(nbd_get64(p + 8), 3);
		len = nbd_get32(p + 16);
		done = (nbd_get16(p + 4) & 1) != 0;
		if (nbd_get16(p + 6) == NBD_REPLY_ERROR_OFFSET) {
			p = heard(len);
			ATF_CHECK(len == 14 && nbd_get32(p) == NBD_EIO && nbd_get16(p + 4) == 0);
			ATF_CHECK_EQ(nbd_get64(p + 6), 4096 + NBD_PIECE_BYTES);
			errors++;
		} else {
			uint64_t at;

			ATF_CHECK_EQ(nbd_get16(p + 6), NBD_REPLY_OFFSET_DATA);
			p = heard(len);
			at = nbd_get64(p);
			check_data(p + 8, at, len - 8);
			for (uint64_t i = 0; i < len - 8; i += BLOCK) {
				ATF_CHECK(!have[(at - 4096 + i) / BLOCK]);
				have[(at - 4096 + i) / BLOCK] = true;
			}
			got += len - 8;
		}
		(void)nbd_input(&c, NULL, 0);
	}
	ATF_CHECK_EQ(got, LONG - NBD_PIECE_BYTES);
	ATF_CHECK_EQ(errors, 1);
	nothing_more();
	/* Not to be fragmented: one piece, or an error. */
	request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 4, 0, NBD_PIECE_BYTES + BLOCK);
	ATF_CHECK_EQ(nbd_get16(heard(26) + 6), NBD_REPLY_ERROR);
	request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 4, 0, NBD_PIECE_BYTES);
	disk();
	ATF_CHECK_EQ(nbd_get16(heard(20 + 8 + NBD_PIECE_BYTES) + 4), 1);
	request(NBD_CMD_READ, 0, 4, 0, 0);
	ATF_CHECK_EQ(nbd_get16(heard(20) + 6), NBD_REPLY_NONE);
	nothing_more();
	ATF_CHECK(c.pieces_free == UINT64_MAX && c.tasks_free == UINT64_MAX && c.pages_used == 0);
}

ATF_TC_WITHOUT_HEAD(writes_and_zeroes_of_any_length_are_answered_once);
ATF_TC_BODY(writes_and_zeroes_of_any_length_are_answered_once, tc)
{
	enum { LONG = 600 * 1024 };
	static uint8_t data[LONG];
	struct nbd_request r;
	uint64_t next = 0;
	size_t at = 0;

	for (unsigned i = 0; i < LONG; i++)
		data[i] = pattern(i);
	go("disk", true);
	request(NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 1, 0, LONG);
	while (at != LONG || nbd_has(&c)) {
		at += nbd_input(&c, data + at, at + 7777 < LONG ? 7777 : LONG - at);
		nothing_more();
		while (nbd_take(&c, &r)) {
			ATF_CHECK(r.op == NBD_WRITE && r.fua && r.at == next);
			check_data(area + r.data, r.at, r.bytes);
			next += r.bytes;
			perform(&r, r.at == 0 ? E_IO : OK);
		}
	}
	ATF_CHECK_EQ(next, LONG);
	simple_reply(1, NBD_EIO);
	memset(area, 0xff, sizeof(area));
	request(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 2, 0, DISK);
	for (next = 0; nbd_take(&c, &r); (void)nbd_input(&c, NULL, 0)) {
		ATF_CHECK(r.op == NBD_WRITE && !r.fua && r.at == next);
		for (uint32_t i = 0; i < r.bytes; i++)
			if (area[r.data + i] != 0)
				atf_tc_fail("not zero");
		next += r.bytes;
		perform(&r, OK);
	}
	ATF_CHECK_EQ(next, DISK);
	simple_reply(2, 0);
	request(NBD_CMD_FLUSH, 0, 3, 0, 0);
	ATF_REQUIRE(nbd_take(&c, &r));
	ATF_CHECK_EQ(r.op, NBD_FLUSH);
	nothing_more();
	perform(&r, OK);
	simple_reply(3, 0);
	exports[0].trim_bytes = exports[0].zero_bytes = 1024 * 1024;
	request(NBD_CMD_TRIM, 0, 4, 0, DISK);
	request(NBD_CMD_WRITE_ZEROES, 0, 5, 0, DISK);
	for (next = 0; nbd_take(&c, &r); next += r.bytes) {
		ATF_CHECK_EQ(r.op, next < DISK ? NBD_TRIM : NBD_ZERO);
		ATF_CHECK_EQ(r.at, next % DISK);
		perform(&r, OK);
	}
	simple_reply(4, 0);
	simple_reply(5, 0);
	nothing_more();
	ATF_CHECK(c.pieces_free == UINT64_MAX && c.tasks_free == UINT64_MAX && c.pages_used == 0);
}

ATF_TC_WITHOUT_HEAD(a_client_that_never_reads_gets_no_more_than_its_area);
ATF_TC_BODY(a_client_that_never_reads_gets_no_more_than_its_area, tc)
{
	uint8_t b[28];
	struct nbd_request r;
	unsigned asked = 0;

	go("disk", true);
	nbd_put32(nbd_put64(nbd_put64(nbd_put16(nbd_put16(nbd_put32(b, 0x25609513), 0), 0), 1), 0),
	    16 * 1024);
	for (unsigned i = 0; i < 1000; i++) {
		if (nbd_input(&c, b, 28) == 0)
			break;
		while (nbd_take(&c, &r)) {
			asked++;
			perform(&r, OK);
		}
	}
	ATF_CHECK_EQ(asked, NBD_AREA_PAGES / 4);
	ATF_CHECK_EQ(nbd_input(&c, b, 28), 0);
	/* It reads after all. */
	for (unsigned i = 0; i < asked; i++)
		check_data(heard(20 + 8 + 16 * 1024) + 28, 0, 16 * 1024);
	(void)nbd_input(&c, b, 0);
	ATF_CHECK(nbd_take(&c, &r));
}

ATF_TC_WITHOUT_HEAD(block_status_is_for_who_asked_for_the_context);
ATF_TC_BODY(block_status_is_for_who_asked_for_the_context, tc)
{
	static const char query[] = "base:allocation";
	uint8_t b[64], *q;
	const uint8_t *p;
	uint32_t len;

	begin();
	option(NBD_OPT_STRUCTURED_REPLY, "", 0);
	(void)option_reply(NBD_OPT_STRUCTURED_REPLY, NULL);
	memcpy(nbd_put32(b, 4), "disk", 4);
	q = nbd_put32(nbd_put32(b + 8, 1), 15);
	memcpy(q, query, 15);
	option(NBD_OPT_SET_META_CONTEXT, b, 31);
	ATF_CHECK_EQ(option_reply(NBD_OPT_SET_META_CONTEXT, &len), NBD_REP_META_CONTEXT);
	p = heard(len);
	ATF_CHECK(len == 19 && nbd_get32(p) == 1 && memcmp(p + 4, query, 15) == 0);
	ATF_CHECK_EQ(option_reply(NBD_OPT_SET_META_CONTEXT, NULL), NBD_REP_ACK);
	option(NBD_OPT_GO, b, name_data(b, "disk", 0));
	nbd_answer(&c, area, NBD_AREA_PAGES);
	(void)option_reply(NBD_OPT_GO, &len);
	heard(len);
	(void)option_reply(NBD_OPT_GO, NULL);
	request(NBD_CMD_BLOCK_STATUS, 0, 8, BLOCK, 4 * BLOCK);
	p = heard(32);
	ATF_CHECK_EQ(nbd_get16(p + 4), 1);
	ATF_CHECK_EQ(nbd_get16(p + 6), NBD_REPLY_BLOCK_STATUS);
	ATF_CHECK_EQ(nbd_get32(p + 20), 1);
	ATF_CHECK_EQ(nbd_get32(p + 24), 4 * BLOCK);
	ATF_CHECK_EQ(nbd_get32(p + 28), 0);
	nothing_more();
	request(NBD_CMD_DISC, 0, 0, 0, 0);
	ATF_CHECK(nbd_over(&c));
}

ATF_TC_WITHOUT_HEAD(goodbye_waits_for_what_is_in_flight);
ATF_TC_BODY(goodbye_waits_for_what_is_in_flight, tc)
{
	struct nbd_request r;

	go("", false);
	request(NBD_CMD_READ, 0, 1, 0, BLOCK);
	request(NBD_CMD_DISC, 0, 0, 0, 0);
	ATF_REQUIRE(nbd_take(&c, &r));
	ATF_CHECK(!nbd_over(&c) && !nbd_idle(&c));
	perform(&r, OK);
	ATF_CHECK(!nbd_over(&c) && nbd_idle(&c));
	simple_reply(1, 0);
	heard(BLOCK);
	ATF_CHECK(nbd_over(&c));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_client_with_unknown_flags_is_another_protocols);
	ATF_TP_ADD_TC(tp, the_list_has_what_is_there);
	ATF_TP_ADD_TC(tp, what_cannot_be_negotiated_is_told_and_the_next_option_understood);
	ATF_TP_ADD_TC(tp, lengths_within_an_option_are_bounded_by_it);
	ATF_TP_ADD_TC(tp, requests_that_cannot_be_get_their_error);
	ATF_TP_ADD_TC(tp, a_long_read_without_structured_replies_comes_in_order);
	ATF_TP_ADD_TC(tp, an_error_in_a_long_simple_read_is_never_data);
	ATF_TP_ADD_TC(tp, chunks_cover_a_structured_read_and_the_last_says_so);
	ATF_TP_ADD_TC(tp, writes_and_zeroes_of_any_length_are_answered_once);
	ATF_TP_ADD_TC(tp, a_client_that_never_reads_gets_no_more_than_its_area);
	ATF_TP_ADD_TC(tp, block_status_is_for_who_asked_for_the_context);
	ATF_TP_ADD_TC(tp, goodbye_waits_for_what_is_in_flight);
	return atf_no_error();
}
