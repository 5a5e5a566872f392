/*
 * The client's end of the block protocol against a server that dies and loses what is in its cache
 * (D12).
 *
 * The server here takes requests in any order, answers when it likes, and writes into a cache; only
 * a flush or FUA takes things to the medium.  When it dies, cache and unanswered requests are gone.
 * The system calls that the client makes are functions of this file: waiting lets the server work.
 */
/* LINK: usr/lib/blk.c usr/lib/blk_keep.c */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "usr/lib/blk.h"
#undef main

enum {
	BLOCK = 512,
	BLOCKS = 4096,
	DISK = BLOCK * BLOCKS,
	DATA = 64 * 1024,
	MEMORY = 7,
	NTFN = 8,
	RING = 9,
	SERVER = 10,
	ENDPOINT = 11
};

static struct blk b;

static struct {
	uint8_t medium[DISK], cache[DISK];
	struct blk_ring *ring;
	struct blk_req pending[BLK_SLOTS];
	uint32_t pendings, tail, done_head;
	uint64_t area_bytes;
	bool alive, durable;
	uint8_t name;		/* every byte of it */
	uint32_t die_in;	/* requests until it dies; 0: it does not */
	bool answer_last;	/* the last one is answered before */
	uint32_t fail_writes;	/* so many writes fail */
	uint32_t refuse_opens;	/* so many times no session is given, and why */
	enum status refuse_why;
	enum { HONEST, ODD_LABEL, NO_HANDLES } lie;	/* in the answer to an open */
	bool guard;		/* blocks written with FUA may not change any more */
	uint32_t touched;	/* while guarded: they were written with what they hold */
	bool fua[BLOCKS];
	uint32_t opens, writes, fua_writes, flushes;
} server;

static uint64_t now = 1;
static uint64_t seed;
static uint8_t *memory;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % n);
}

/* The kernel answers the keeper's call with E_PEER, and it ends. */
static void
perish(void)
{
	memcpy(server.cache, server.medium, DISK);
	server.alive = false;
	server.pendings = 0;
	__atomic_store_n(&b.lost, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&b.keeper, 0, __ATOMIC_RELEASE);
}

static void
answer(const struct blk_req *r, enum status s)
{
	ATF_REQUIRE(server.done_head - server.ring->done_tail < BLK_SLOTS);
	server.ring->done[server.done_head % BLK_SLOTS] =
	    (struct blk_done){ .cookie = r->cookie, .status = s };
	server.ring->done_head = ++server.done_head;
}

static enum status
carry_out(const struct blk_req *r)
{
	uint32_t op = r->op & 0xff;

	if (op == BLK_FLUSH) {
		memcpy(server.medium, server.cache, DISK);
		server.flushes++;
		return OK;
	}
	ATF_REQUIRE(range_within(r->at, r->bytes, 0, DISK) &&
	    range_within(r->data, r->bytes, 0, server.area_bytes));
	if (op == BLK_READ) {
		memcpy(memory + r->data, server.cache + r->at, r->bytes);
		return OK;
	}
	server.writes++;
	for (uint64_t i = r->at / BLOCK; i < (r->at + r->bytes) / BLOCK; i++) {
		if (server.guard && server.fua[i]) {
			ATF_CHECK_MSG(memcmp(server.medium + i * BLOCK,
					  memory + r->data + i * BLOCK - r->at, BLOCK) == 0,
			    "what was durable in block %llu is written over",
			    (unsigned long long)i);
			server.touched++;
		}
		server.fua[i] |= (r->op & BLK_FUA) != 0;
	}
	if (server.fail_writes != 0) {
		server.fail_writes--;
		return E_IO;
	}
	memcpy(server.cache + r->at, memory + r->data, r->bytes);
	if ((r->op & BLK_FUA) != 0 || server.durable) {
		server.fua_writes++;
		memcpy(server.medium + r->at, memory + r->data, r->bytes);
	}
	return OK;
}

/* Some of what waits, in any order. */
static void
work(void)
{
	if (!server.alive)
		return;
	ATF_REQUIRE(server.ring->head - server.tail + server.pendings <= BLK_SLOTS);
	while (server.tail != server.ring->head)
		server.pending[server.pendings++] = server.ring->req[server.tail++ % BLK_SLOTS];
	for (uint32_t n = server.pendings != 0 ? 1 + rnd(server.pendings) : 0; n != 0; n--) {
		uint32_t i = rnd(server.pendings);
		struct blk_req r = server.pending[i];
		bool last = server.die_in == 1;
		enum status s = carry_out(&r);

		server.pending[i] = server.pending[--server.pendings];
		if (!last || server.answer_last)
			answer(&r, s);
		if (server.die_in != 0 && --server.die_in == 0) {
			perish();
			return;
		}
	}
}

/* --- what the library stands on ----------------------------------------------- */

uint64_t now_ns(void) { return now += 1000; }
void sleep_until(uint64_t ns) { now = max_u64(now, ns); }
void sys_full(struct sysregs *r ATF_DEFS_ATTRIBUTE_UNUSED) { abort(); }

void *
pages_alloc_as(uint64_t pages, uint32_t flags UNUSED, handle_t *handle)
{
	*handle = MEMORY;
	free(memory);
	memory = calloc(pages, PAGE_SIZE);
	return memory;
}

enum status
msg_call(handle_t endpoint, struct msg *m, uint64_t deadline ATF_DEFS_ATTRIBUTE_UNUSED)
{
	ATF_REQUIRE_EQ(endpoint, ENDPOINT);
	if (m->label == BLK_CALL_OPEN && server.refuse_opens != 0) {
		server.refuse_opens--;
		m->label = server.refuse_why;
		return OK;
	}
	if (m->label == BLK_CALL_NAME) {
		memset(m->w, server.name, sizeof(m->w));
		m->label = OK;
		return OK;
	}
	if (m->label == BLK_CALL_CLOSE) {
		__atomic_store_n(&b.keeper, 0, __ATOMIC_RELEASE);
	} else if (m->label == BLK_CALL_OPEN) {
		ATF_REQUIRE_EQ(b.keeper, 0);
		server.alive = true;
		server.opens++;
		server.tail = server.done_head = server.pendings = 0;
		server.area_bytes = m->w[6];
		m->w[0] = SERVER;
		m->w[1] = RING;
		m->w[2] = server.opens;
		m->w[3] = DISK;
		m->w[4] = BLOCK;
		m->w[5] = 1 << 20;
		m->w[6] = 1;
		m->w[7] = server.durable;
	}
	m->label = server.lie == ODD_LABEL ? 256 : OK;
	if (server.lie == NO_HANDLES)
		m->handles = 0;
	return OK;
}

enum status
sys6(uint64_t nr, uint64_t a, uint64_t w1, uint64_t c ATF_DEFS_ATTRIBUTE_UNUSED,
    uint64_t d ATF_DEFS_ATTRIBUTE_UNUSED, uint64_t e ATF_DEFS_ATTRIBUTE_UNUSED,
    uint64_t f ATF_DEFS_ATTRIBUTE_UNUSED, uint64_t *r0, uint64_t *r1)
{
	*r0 = *r1 = 0;
	switch (nr) {
	case SYS_ntfn_create:
		*r0 = NTFN;
		return OK;
	case SYS_mem_map:
		ATF_REQUIRE_EQ(w1, RING);
		server.ring = aligned_alloc(64, BLK_RING_PAGES * PAGE_SIZE);
		memset(server.ring, 0, BLK_RING_PAGES * PAGE_SIZE);
		*r0 = (uint64_t)(uintptr_t)server.ring;
		return OK;
	case SYS_mem_unmap:
		if (w1 != (uint64_t)(uintptr_t)memory)
			free((void *)(uintptr_t)w1);
		return OK;
	case SYS_ntfn_signal_wait:
		ATF_REQUIRE_EQ(a, NTFN);
		if (w1 <= now)
			return E_TIMED_OUT;
		/* Nobody will signal. */
		if (server.alive && server.pendings == 0 && server.tail == server.ring->head) {
			now = w1;
			return E_TIMED_OUT;
		}
		now += 1000;
		work();
		return OK;
	default:
		return OK;
	}
}

/* --- tests ---------------------------------------------------------------------- */

static void
set_up(void)
{
	memset(&server, 0, sizeof(server));
	for (uint32_t i = 0; i < DISK; i++)
		server.medium[i] = server.cache[i] = (uint8_t)(i / BLOCK);
	seed = 1;
	ATF_REQUIRE_EQ(blk_open(&b, ENDPOINT, 0, BLK_RIGHT_READ | BLK_RIGHT_WRITE, DATA), OK);
}

/* One block of a byte, start to end. */
static enum status
put_block(uint32_t block, uint8_t byte, uint32_t flags)
{
	memset(b.data, byte, BLOCK);
	return blk_do(&b, BLK_WRITE | flags, (uint64_t)block * BLOCK, 0, BLOCK);
}

static enum status
put_blocks(uint32_t block, uint32_t blocks, uint8_t byte, uint32_t flags)
{
	memset(b.data, byte, (size_t)blocks * BLOCK);
	return blk_do(
	    &b, BLK_WRITE | flags, (uint64_t)block * BLOCK, 0, blocks * (uint32_t)BLOCK);
}

static enum status flush(void) { return blk_do(&b, BLK_FLUSH, 0, 0, 0); }
static uint8_t on_medium(uint32_t block) { return server.medium[block * BLOCK + BLOCK - 1]; }

ATF_TC_WITHOUT_HEAD(a_write_that_no_flush_covers_outlives_the_server);
ATF_TC_BODY(a_write_that_no_flush_covers_outlives_the_server, tc)
{
	set_up();
	ATF_REQUIRE_EQ(put_block(3, 0xa1, 0), OK);
	ATF_REQUIRE_EQ(put_block(4, 0xa2, 0), OK);
	memset(b.data, 0, DATA);	/* the caller's again, once it was answered */
	ATF_CHECK_EQ(on_medium(3), 3);
	perish();
	ATF_REQUIRE_EQ(flush(), OK);
	ATF_CHECK_EQ(on_medium(3), 0xa1);
	ATF_CHECK_EQ(on_medium(4), 0xa2);
	ATF_CHECK_EQ(b.restarts, 1);
	ATF_CHECK_EQ(b.rewrites, 2);
	/* What is durable is not put again. */
	perish();
	ATF_REQUIRE_EQ(flush(), OK);
	ATF_CHECK_EQ(b.rewrites, 2);
	ATF_CHECK(keep_empty(&b.keep));
	blk_close(&b);
}

/* The number of a handle that did not come could be one of the client's own. */
ATF_TC_WITHOUT_HEAD(an_answer_without_its_handles_opens_nothing);
ATF_TC_BODY(an_answer_without_its_handles_opens_nothing, tc)
{
	for (server.lie = ODD_LABEL; server.lie <= NO_HANDLES; server.lie++) {
		server.ring = NULL;
		ATF_CHECK_EQ(
		    blk_open(&b, ENDPOINT, 0, BLK_RIGHT_READ | BLK_RIGHT_WRITE, DATA), E_CORRUPT);
		ATF_CHECK_EQ(server.ring, NULL);
		__atomic_store_n(&b.keeper, 0, __ATOMIC_RELEASE);
	}
	server.lie = HONEST;
	set_up();
	blk_close(&b);
}

/* A card was taken out of its slot, and another came: nothing is written to it. */
ATF_TC_WITHOUT_HEAD(a_successor_on_another_disk_gets_nothing);
ATF_TC_BODY(a_successor_on_another_disk_gets_nothing, tc)
{
	uint32_t writes;

	set_up();
	ATF_REQUIRE_EQ(put_block(3, 0xa1, 0), OK);
	perish();
	server.name = 1;
	writes = server.writes;
	ATF_CHECK_EQ(flush(), E_NO_DEVICE);
	ATF_CHECK_EQ(server.writes, writes);
	ATF_CHECK_EQ(on_medium(3), 3);
	ATF_CHECK_EQ(b.restarts, 0);
	blk_close(&b);
	/* Who opens anew means what is there. */
	ATF_REQUIRE_EQ(blk_open(&b, ENDPOINT, 0, BLK_RIGHT_READ | BLK_RIGHT_WRITE, DATA), OK);
	ATF_REQUIRE_EQ(put_block(3, 0xa2, BLK_FUA), OK);
	blk_close(&b);
}

ATF_TC_WITHOUT_HEAD(kept_writes_come_again_in_their_order);
ATF_TC_BODY(kept_writes_come_again_in_their_order, tc)
{
	set_up();
	for (uint32_t i = 0; i < 100; i++)
		ATF_REQUIRE_EQ(put_block(i % 3, (uint8_t)i, 0), OK);
	perish();
	ATF_REQUIRE_EQ(flush(), OK);
	ATF_CHECK_EQ(on_medium(0), 99);
	ATF_CHECK_EQ(on_medium(1), 97);
	ATF_CHECK_EQ(on_medium(2), 98);
	blk_close(&b);
}

/* What is read after the successor came is what was written, flush or not. */
ATF_TC_WITHOUT_HEAD(a_read_sees_the_kept_writes);
ATF_TC_BODY(a_read_sees_the_kept_writes, tc)
{
	set_up();
	ATF_REQUIRE_EQ(put_block(9, 0x77, 0), OK);
	perish();
	ATF_REQUIRE_EQ(blk_do(&b, BLK_READ, 9 * BLOCK, 1024, BLOCK), OK);
	ATF_CHECK_EQ(b.data[1024], 0x77);
	blk_close(&b);
}

ATF_TC_WITHOUT_HEAD(an_older_write_does_not_come_on_top_of_a_durable_one);
ATF_TC_BODY(an_older_write_does_not_come_on_top_of_a_durable_one, tc)
{
	set_up();
	ATF_REQUIRE_EQ(put_block(5, 1, 0), OK);
	ATF_REQUIRE_EQ(put_block(5, 2, BLK_FUA), OK);
	ATF_CHECK_EQ(on_medium(5), 2);
	perish();
	ATF_REQUIRE_EQ(blk_do(&b, BLK_READ, 5 * BLOCK, 1024, BLOCK), OK);
	ATF_CHECK_EQ(b.data[1024], 2);
	ATF_CHECK_EQ(on_medium(5), 2);
	ATF_REQUIRE_EQ(flush(), OK);
	/* Alone it is durable, and nothing is kept. */
	ATF_REQUIRE_EQ(put_block(5, 3, BLK_FUA), OK);
	ATF_CHECK(keep_empty(&b.keep));
	blk_close(&b);
}

/* What was told durable is not even for a moment what it was before: power may fail then. */
ATF_TC_WITHOUT_HEAD(what_is_durable_is_never_put_back);
ATF_TC_BODY(what_is_durable_is_never_put_back, tc)
{
	/* The durable write: its place against blocks 10 to 17, and how much of it comes again. */
	static const struct { uint32_t block, blocks, touched; } cases[] = {
		{ 10, 8, 0 }, { 8, 12, 0 }, { 10, 3, 0 }, { 8, 5, 0 }, { 15, 3, 0 }, { 15, 9, 0 },
		{ 12, 3, 3 }, { 4, 6, 0 }, { 18, 2, 0 },
	};

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t first = cases[i].block, end = first + cases[i].blocks;

		set_up();
		ATF_REQUIRE_EQ(put_blocks(10, 8, 0xa1, 0), OK);
		ATF_REQUIRE_EQ(put_blocks(first, cases[i].blocks, 0xf1, BLK_FUA), OK);
		memset(b.data, 0, DATA);
		server.guard = true;
		perish();
		ATF_REQUIRE_EQ(blk_do(&b, BLK_READ, 0, 0, BLOCK), OK);
		ATF_CHECK_EQ(server.touched, cases[i].touched);
		ATF_CHECK_EQ(b.rewrites, first <= 10 && end >= 18 ? 0 : 1);
		for (uint32_t n = 0; n < 30; n++)
			ATF_CHECK_EQ_MSG(on_medium(n),
			    n >= first && n < end ? 0xf1 : n >= 10 && n < 18 ? 0xa1 : n,
			    "case %u: block %u has %#x", i, n, on_medium(n));
		blk_close(&b);
	}
	/* A younger one is put over it again. */
	set_up();
	ATF_REQUIRE_EQ(put_block(5, 1, 0), OK);
	ATF_REQUIRE_EQ(put_block(5, 2, BLK_FUA), OK);
	ATF_REQUIRE_EQ(put_block(5, 3, 0), OK);
	perish();
	ATF_REQUIRE_EQ(flush(), OK);
	ATF_CHECK_EQ(b.rewrites, 1);
	ATF_CHECK_EQ(on_medium(5), 3);
	/* One that failed covers nothing. */
	ATF_REQUIRE_EQ(put_block(6, 1, 0), OK);
	server.fail_writes = 1;
	ATF_REQUIRE_EQ(put_block(6, 2, BLK_FUA), E_IO);
	perish();
	ATF_REQUIRE_EQ(flush(), OK);
	ATF_CHECK_EQ(on_medium(6), 1);
	blk_close(&b);
}

/* A flush covers what was answered before it was put, no more. */
ATF_TC_WITHOUT_HEAD(a_flush_covers_what_was_answered_before_it);
ATF_TC_BODY(a_flush_covers_what_was_answered_before_it, tc)
{
	uint32_t cookie, detail, got = 0;

	for (uint64_t s = 1; s <= 200; s++) {
		set_up();
		seed = s;
		memset(b.data, 0x55, BLOCK);
		ATF_REQUIRE_EQ(blk_put(&b, BLK_WRITE, 0, 0, BLOCK, 1), OK);
		ATF_REQUIRE_EQ(blk_put(&b, BLK_FLUSH, 0, 0, 0, 2), OK);
		ATF_REQUIRE_EQ(blk_next(&b, &cookie, &detail, now + NS_PER_S), OK);
		ATF_REQUIRE_EQ(blk_next(&b, &cookie, &detail, now + NS_PER_S), OK);
		ATF_CHECK(!keep_empty(&b.keep));
		got += on_medium(0) == 0x55;	/* the server's own order */
		perish();
		ATF_REQUIRE_EQ(flush(), OK);
		ATF_CHECK_EQ(on_medium(0), 0x55);
		blk_close(&b);
	}
	ATF_CHECK(got > 20 && got < 180);
}

ATF_TC_WITHOUT_HEAD(no_more_is_kept_than_there_is_room_for);
ATF_TC_BODY(no_more_is_kept_than_there_is_room_for, tc)
{
	uint32_t cookie, detail, n = 0, before;

	set_up();
	/* As many as records. */
	for (uint32_t i = 0; i <= KEEP_WRITES; i++)
		ATF_REQUIRE_EQ(put_block(i, 0xee, 0), OK);
	ATF_CHECK_EQ(server.flushes, 1);
	ATF_CHECK_EQ(on_medium(KEEP_WRITES - 1), 0xee);
	/* As many bytes, in flight: answers to others wait until they are asked for. */
	before = server.flushes;
	for (uint32_t i = 0; i < 40; i++) {
		memset(b.data, 0x40 + (int)(i % 8), DATA);
		ATF_REQUIRE_EQ(blk_put(&b, BLK_WRITE, (uint64_t)(i % 8) * DATA, 0, DATA, i), OK);
		ATF_REQUIRE_EQ(blk_put(&b, BLK_READ, 0, 0, 0, 100 + i), OK);
		blk_kick(&b);
	}
	ATF_CHECK(server.flushes > before && server.flushes <= before + 6);
	while (b.inflight != 0 || blk_waiting(&b) != 0) {
		ATF_REQUIRE_EQ(blk_next(&b, &cookie, &detail, now + NS_PER_S), OK);
		n++;
	}
	ATF_CHECK_EQ(n, 80);
	ATF_CHECK_EQ(blk_do(&b, BLK_WRITE, 0, DATA - BLOCK, 2 * BLOCK), E_RANGE);
	blk_close(&b);
	/* More than all the room is durable when it is answered. */
	set_up();
	blk_close(&b);
	ATF_REQUIRE_EQ(
	    blk_open(&b, ENDPOINT, 0, BLK_RIGHT_READ | BLK_RIGHT_WRITE, BLK_KEEP_BYTES + 4096), OK);
	ATF_REQUIRE_EQ(put_block(0, 0x12, 0), OK);
	memset(b.data, 0x34, BLK_KEEP_BYTES + 4096);
	ATF_REQUIRE_EQ(blk_do(&b, BLK_WRITE, 0, 0, BLK_KEEP_BYTES + 4096), OK);
	ATF_CHECK_EQ(server.fua_writes, 1);
	ATF_CHECK(keep_empty(&b.keep));
	ATF_CHECK_EQ(on_medium(0), 0x34);
	blk_close(&b);
}

ATF_TC_WITHOUT_HEAD(nothing_is_kept_where_answers_are_durable);
ATF_TC_BODY(nothing_is_kept_where_answers_are_durable, tc)
{
	set_up();
	blk_close(&b);
	server.durable = true;
	ATF_REQUIRE_EQ(blk_open(&b, ENDPOINT, 0, BLK_RIGHT_WRITE, DATA), OK);
	for (uint32_t i = 0; i < 300; i++)
		ATF_REQUIRE_EQ(put_block(i, 1, 0), OK);
	ATF_CHECK_EQ(server.flushes, 0);
	ATF_CHECK(keep_empty(&b.keep));
	blk_close(&b);
}

/* A kept write that the successor cannot take is not lost in silence. */
ATF_TC_WITHOUT_HEAD(a_kept_write_that_fails_is_told_by_the_next_flush);
ATF_TC_BODY(a_kept_write_that_fails_is_told_by_the_next_flush, tc)
{
	set_up();
	ATF_REQUIRE_EQ(put_block(1, 0x91, 0), OK);
	ATF_REQUIRE_EQ(put_block(2, 0x92, 0), OK);
	server.fail_writes = 1;
	perish();
	ATF_CHECK_EQ(flush(), E_IO);
	ATF_CHECK_EQ(flush(), OK);
	ATF_CHECK_EQ(on_medium(1), 1);
	ATF_CHECK_EQ(on_medium(2), 0x92);
	/* A write that failed when it was put is the caller's to know, and is not kept. */
	server.fail_writes = 1;
	ATF_CHECK_EQ(put_block(7, 0x97, 0), E_IO);
	ATF_CHECK(keep_empty(&b.keep));
	blk_close(&b);
}

/* What the successor cannot give now it is asked for again; what it will never give is told. */
ATF_TC_WITHOUT_HEAD(a_successor_that_has_no_room_is_asked_again);
ATF_TC_BODY(a_successor_that_has_no_room_is_asked_again, tc)
{
	static const enum status passing[] = { E_BUSY, E_QUOTA, E_NO_MEMORY };

	for (uint32_t i = 0; i < 3; i++) {
		set_up();
		ATF_REQUIRE_EQ(put_block(1, 0xb1, 0), OK);
		perish();
		server.refuse_opens = 20;
		server.refuse_why = passing[i];
		ATF_REQUIRE_EQ(put_block(2, 0xb2, 0), OK);
		ATF_CHECK_EQ(server.refuse_opens, 0);
		ATF_REQUIRE_EQ(flush(), OK);
		ATF_CHECK_EQ(on_medium(1), 0xb1);
		ATF_CHECK_EQ(on_medium(2), 0xb2);
		/* Until the time is up; then it is found all the same, by who asks later. */
		perish();
		server.refuse_opens = UINT32_MAX;
		ATF_REQUIRE_EQ(blk_put(&b, BLK_WRITE, 0, 0, BLOCK, 7), OK);
		ATF_CHECK_EQ(blk_next(&b, &(uint32_t){ 0 }, &(uint32_t){ 0 }, now + NS_PER_S),
		    E_TIMED_OUT);
		ATF_CHECK_EQ(b.inflight, 1);
		server.refuse_opens = 0;
		ATF_CHECK_EQ(
		    blk_next(&b, &(uint32_t){ 0 }, &(uint32_t){ 0 }, now + NS_PER_S), OK);
		perish();
		server.refuse_opens = 1;
		server.refuse_why = E_READ_ONLY;
		ATF_CHECK_EQ(put_block(3, 0xb3, 0), E_READ_ONLY);
		ATF_CHECK_EQ(server.refuse_opens, 0);
		blk_close(&b);
	}
	/* A session that ends is in the way of the first one, too. */
	server.refuse_opens = 3;
	server.refuse_why = E_BUSY;
	ATF_REQUIRE_EQ(blk_open(&b, ENDPOINT, 0, BLK_RIGHT_WRITE, DATA), OK);
	blk_close(&b);
	server.refuse_opens = 1;
	server.refuse_why = E_QUOTA;
	ATF_CHECK_EQ(blk_open(&b, ENDPOINT, 0, BLK_RIGHT_WRITE, DATA), E_QUOTA);
	server.refuse_opens = 0;
}

/*
 * Writes, reads, flushes from a few slots, and deaths at any point, those of the successor
 * included.  No two requests in flight touch one block, so what each block holds is known: a read
 * brings what was written last, and what a flush covered is on the medium.
 */
static void
one_life(uint64_t s)
{
	enum { SLOTS = 12, SPAN = 24 };
	static uint8_t value[SPAN], floor[SPAN];
	struct {
		uint32_t op, block;
		uint8_t byte;
		uint8_t at_put[SPAN];
		bool busy;
	} slot[SLOTS] = { 0 };
	bool busy[SPAN] = { false };
	uint32_t cookie, detail, deaths = 0;

	set_up();
	seed = s;
	for (uint32_t i = 0; i < SPAN; i++)
		value[i] = floor[i] = (uint8_t)i;
	for (uint32_t step = 0; step < 600; step++) {
		uint32_t k = rnd(SLOTS), block = rnd(SPAN), what = rnd(10);
		enum status e;

		if (rnd(40) == 0 && server.alive && server.die_in == 0) {
			server.die_in = 1 + rnd(30);
			server.answer_last = rnd(2) == 0;
			deaths++;
		}
		if (!slot[k].busy && (what == 0 || !busy[block])) {
			slot[k].busy = true;
			slot[k].block = block;
			slot[k].op = what == 0 ? BLK_FLUSH :
			    what < 4           ? BLK_READ :
			    what < 5           ? BLK_WRITE | BLK_FUA :
						 BLK_WRITE;
			slot[k].byte = (uint8_t)rnd(256);
			memcpy(slot[k].at_put, value, SPAN);
			if (slot[k].op != BLK_FLUSH)
				busy[block] = true;
			memset(b.data + k * BLOCK, slot[k].byte, BLOCK);
			ATF_REQUIRE_EQ(blk_put(&b, slot[k].op,
					   slot[k].op == BLK_FLUSH ? 0 : (uint64_t)block * BLOCK,
					   slot[k].op == BLK_FLUSH ? 0 : k * BLOCK,
					   slot[k].op == BLK_FLUSH ? 0 : BLOCK, k),
			    OK);
			continue;
		}
		if (b.inflight == 0 && blk_waiting(&b) == 0)
			continue;
		e = blk_next(&b, &cookie, &detail, now + 60 * NS_PER_S);
		ATF_REQUIRE_EQ_MSG(
		    e, OK, "seed %llu step %u: %s", (unsigned long long)s, step, status_text(e));
		ATF_REQUIRE(cookie < SLOTS && slot[cookie].busy);
		slot[cookie].busy = false;
		block = slot[cookie].block;
		if (slot[cookie].op == BLK_FLUSH) {
			/* Not older than what was answered before; writes since then may have come
			 * over it. */
			for (uint32_t i = 0; i < SPAN; i++) {
				bool newer = server.medium[i * BLOCK] == value[i] || busy[i];

				ATF_CHECK_MSG(
				    newer || server.medium[i * BLOCK] == slot[cookie].at_put[i],
				    "seed %llu step %u: block %u has %u, not %u",
				    (unsigned long long)s, step, i, server.medium[i * BLOCK],
				    slot[cookie].at_put[i]);
			}
			continue;
		}
		busy[block] = false;
		if (slot[cookie].op == BLK_READ)
			ATF_CHECK_EQ_MSG(b.data[cookie * BLOCK + 7], value[block],
			    "seed %llu step %u", (unsigned long long)s, step);
		else
			value[block] = slot[cookie].byte;
		memset(b.data + cookie * BLOCK, 0xdd, BLOCK);
	}
	server.die_in = 0;
	while (b.inflight != 0 || blk_waiting(&b) != 0) {
		ATF_REQUIRE_EQ(blk_next(&b, &cookie, &detail, now + 60 * NS_PER_S), OK);
		if ((slot[cookie].op & 0xff) == BLK_WRITE)
			value[slot[cookie].block] = slot[cookie].byte;
	}
	perish();
	ATF_REQUIRE_EQ(flush(), OK);
	for (uint32_t i = 0; i < SPAN; i++)
		ATF_CHECK_EQ_MSG(
		    on_medium(i), value[i], "seed %llu: block %u", (unsigned long long)s, i);
	ATF_CHECK_EQ(b.restarts >= deaths, true);
	blk_close(&b);
}

ATF_TC_WITHOUT_HEAD(whatever_dies_when_nothing_is_lost);
ATF_TC_BODY(whatever_dies_when_nothing_is_lost, tc)
{
	for (uint64_t s = 1; s <= 300; s++)
		one_life(s);
}

/* A part that is too wide is refused, not cut off: it would be another's badge. */
ATF_TC_WITHOUT_HEAD(a_badge_holds_all_of_its_parts_or_is_none);
ATF_TC_BODY(a_badge_holds_all_of_its_parts_or_is_none, tc)
{
	const uint64_t last = BITS(BLK_RANGE_SHIFT - 1, 0);
	uint64_t badge = 1;

	ATF_CHECK_EQ(blk_badge(255, 255, last, &badge), OK);
	ATF_CHECK_EQ(badge, UINT64_MAX);
	ATF_CHECK_EQ(blk_badge(0x12, 0x34, 0x5678, &badge), OK);
	ATF_CHECK_EQ(blk_client(badge), 0x12);
	ATF_CHECK_EQ(blk_range_of(badge), 0x34);
	ATF_CHECK_EQ(badge & last, 0x5678);
	for (unsigned bit = 8; bit < 64; bit++)
		ATF_CHECK_EQ(blk_badge(BIT(bit) | 1, 0, 0, &badge), E_RANGE);
	for (unsigned bit = 8; bit < 32; bit++)
		ATF_CHECK_EQ(blk_badge(1, (uint32_t)BIT(bit) | 1, 0, &badge), E_RANGE);
	for (unsigned bit = BLK_RANGE_SHIFT; bit < 64; bit++)
		ATF_CHECK_EQ(blk_badge(1, 1, BIT(bit) | 1, &badge), E_RANGE);
	ATF_CHECK_EQ(blk_client(badge), 0x12);		/* untouched */
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_badge_holds_all_of_its_parts_or_is_none);
	ATF_TP_ADD_TC(tp, a_write_that_no_flush_covers_outlives_the_server);
	ATF_TP_ADD_TC(tp, an_answer_without_its_handles_opens_nothing);
	ATF_TP_ADD_TC(tp, a_successor_on_another_disk_gets_nothing);
	ATF_TP_ADD_TC(tp, kept_writes_come_again_in_their_order);
	ATF_TP_ADD_TC(tp, a_read_sees_the_kept_writes);
	ATF_TP_ADD_TC(tp, an_older_write_does_not_come_on_top_of_a_durable_one);
	ATF_TP_ADD_TC(tp, what_is_durable_is_never_put_back);
	ATF_TP_ADD_TC(tp, a_flush_covers_what_was_answered_before_it);
	ATF_TP_ADD_TC(tp, no_more_is_kept_than_there_is_room_for);
	ATF_TP_ADD_TC(tp, nothing_is_kept_where_answers_are_durable);
	ATF_TP_ADD_TC(tp, a_kept_write_that_fails_is_told_by_the_next_flush);
	ATF_TP_ADD_TC(tp, a_successor_that_has_no_room_is_asked_again);
	ATF_TP_ADD_TC(tp, whatever_dies_when_nothing_is_lost);
	return atf_no_error();
}
