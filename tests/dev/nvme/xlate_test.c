/*
 * The NVMe translator: what dev/nvme builds it accepts, one changed address bit and it refuses; every rule; and that an
 * accepted entry reaches nothing but windows (tests/lib/nvme_reach.h), with windows as a unit makes them (delta 0) and as
 * the kernel brokers them.
 *
 * LINK: dev/nvme/xlate.c dev/nvme/ioq.c dev/nvme/prp.c kern/dma/window.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/nvme/parts.h"
#include "dev/nvme/xlate.h"
#include "kern/dma/window.h"
#include "tests/lib/nvme_reach.h"

enum status drv_queue_commit(struct drv_queue *q, uint32_t sq_tail, uint32_t cq_head)
{ (void)q; (void)sq_tail; (void)cq_head; return OK; }

enum { SLOTS = 16, BIG = 640, SMALL = 4, NSID = 1, NSID4K = 2 };

/* As the driver names its memory; with a hole between windows. */
enum : uint64_t {
	AT_BIG = 0x1'0000'0000,				/* both directions */
	AT_OUT = AT_BIG + (BIG + 2) * PAGE_SIZE,	/* the device only reads */
	AT_IN = AT_OUT + (SMALL + 2) * PAGE_SIZE,	/* the device only writes */
	AT_END = AT_IN + SMALL * PAGE_SIZE,
	AT_SIDE = 0x2'0000'0000, AT_SQ = 0x3'0000'0000, AT_CQ = 0x3'0001'0000,
	NAME_SQ = 0x4'0000'0000, NAME_CQ = 0x4'0001'0000,
};

static uint8_t big[BIG * PAGE_SIZE] ALIGNED(4096), small_out[SMALL * PAGE_SIZE] ALIGNED(4096),
    small_in[SMALL * PAGE_SIZE] ALIGNED(4096), side[SLOTS][PAGE_SIZE] ALIGNED(4096);
static struct xlate_window array[1024];
static struct window_table table;
static struct xlate_device device;
static struct xlate_slot slot[SLOTS];
static struct xlate_queue io, adm;
static uint64_t out[8];
static char grant_big, grant_out, grant_in;
static uint64_t delta;			/* 0: as behind a unit */
static uint32_t touched;

/* Where brokered, neighbouring pages change places: nothing is contiguous. */
static void
add(uint64_t at, void *cpu, uint64_t pages, uint32_t dir, void *grant)
{
	uint64_t n = delta == 0 ? pages : 1;

	for (uint64_t i = 0; i < pages; i += n) {
		uint64_t first = at + i * PAGE_SIZE;
		struct xlate_window w = { .first = first, .last = first + n * PAGE_SIZE - 1,
			.delta = delta == 0 ? 0 : delta + (first ^ PAGE_SIZE) - first, .cpu = (uint64_t)(uintptr_t)cpu - at,
			.grant = grant, .dir = dir };

		ATF_REQUIRE_EQ(OK, window_add(&table, &w));
	}
}

static void
world(uint64_t how)
{
	delta = how;
	memset(&device, 0, sizeof(device));
	memset(slot, 0, sizeof(slot));
	memset(out, 0xee, sizeof(out));
	table = (struct window_table){ 0 };
	window_place(&table, array, ARRAY_SIZE(array));
	add(AT_BIG, big, BIG, DMA_BOTH, &grant_big);
	add(AT_OUT, small_out, SMALL, DMA_TO_DEVICE, &grant_out);
	add(AT_IN, small_in, SMALL, DMA_FROM_DEVICE, &grant_in);
	device.queues = 3;
	device.vectors = 4;
	device.lg2[NSID] = 9;
	device.lg2[NSID4K] = 12;
	io = (struct xlate_queue){ .device = &device, .windows = &table.live, .id = 1, .slots = SLOTS, .slot = slot,
		.spare = (uint64_t *)(void *)side[0], .spare_address = AT_SIDE };
	adm = io;
	adm.id = 0;
}

static enum dma_rule
judge(struct xlate_queue *q, const struct nvme_sqe *e)
{
	struct xlate_verdict v;
	uint64_t w[8];
	enum dma_rule r;

	memcpy(w, e, sizeof(w));
	memset(out, 0xee, sizeof(out));
	r = nvme_xlate.judge(q, w, out, &v);
	for (unsigned i = 0; r != RULE_NONE && i < 8; i++)
		ATF_CHECK_EQ_MSG(0xeeeeeeeeeeeeeeee, out[i], "a refused entry was written");
	if (r == RULE_NONE) {
		const struct xlate_slot *s = &slot[v.id];

		ATF_CHECK_EQ(v.id, e->cdw0 >> 16);
		/* The spare page is taken exactly when the controller is told of it. */
		ATF_CHECK_EQ(s->side != NULL, out[3] == AT_SIDE || out[4] == AT_SIDE);
		ATF_CHECK(s->side == NULL || (s->side == q->spare && s->side_address == AT_SIDE));
	}
	return r;
}

/* ---- The controller's view ---- */

uint64_t
reach_load(uint64_t at)
{
	ATF_REQUIRE(at >= AT_SIDE && at < AT_SIDE + SLOTS * PAGE_SIZE);
	return *(uint64_t *)(void *)&side[(at - AT_SIDE) / PAGE_SIZE][at % PAGE_SIZE];
}

void
reach_touch(uint64_t at, uint64_t len, bool write)
{
	touched++;
	if (at >= AT_SIDE && at + len <= AT_SIDE + SLOTS * PAGE_SIZE)
		return;			/* the kernel's own */
	ATF_REQUIRE(len != 0 && at / PAGE_SIZE == (at + len - 1) / PAGE_SIZE);
	if (delta != 0)
		at = (at - delta) ^ PAGE_SIZE;
	if (at >= AT_BIG && at + len <= AT_BIG + sizeof(big))
		return;
	if (!write && at >= AT_OUT && at + len <= AT_OUT + sizeof(small_out))
		return;
	ATF_REQUIRE_MSG(write && at >= AT_IN && at + len <= AT_END, "%s of %llu bytes at %llx", write ? "write" : "read",
	    (unsigned long long)len, (unsigned long long)at);
}

uint64_t reach_block(uint32_t nsid) { return nsid == NSID ? 512 : nsid == NSID4K ? 4096 : 0; }

static struct nvme_sqe
read_cmd(uint64_t prp1, uint64_t prp2, uint32_t blocks)
{
	return (struct nvme_sqe){ .cdw0 = IO_READ | 3u << 16, .nsid = NSID, .prp1 = prp1, .prp2 = prp2, .cdw12 = blocks - 1 };
}

static const uint64_t ways[] = { 0, 0x7f'0000'0000 - AT_BIG };
#define EACH_WAY(i) for (unsigned i = 0; i < ARRAY_SIZE(ways); i++)

/* The driver's own queue, whose lists lie at the end of the big window. */
static struct nvme_ioq driver;
static struct nvme_sqe driver_ring[SLOTS + 1];

static void
driver_init(void)
{
	memset(&driver, 0, sizeof(driver));
	driver.entries = SLOTS + 1;
	driver.sq = driver_ring;
	driver.list_memory = (struct drv_memory){ .ptr = big + sizeof(big) - SLOTS * PAGE_SIZE,
		.iova = { AT_BIG + sizeof(big) - SLOTS * PAGE_SIZE }, .len = SLOTS * PAGE_SIZE };
	nvme_ioq_reset(&driver);
}

static enum status
put(enum nvme_op op, uint64_t at, uint32_t blocks)
{
	return nvme_ioq_put(&driver, &(struct nvme_io){ .op = op, .nsid = NSID, .lba = 7, .blocks = blocks, .bytes = blocks * 512ull,
		.data = { at }, .fua = true });
}

ATF_TC_WITHOUT_HEAD(what_the_driver_builds_is_accepted_and_reaches_windows_only);
ATF_TC_BODY(what_the_driver_builds_is_accepted_and_reaches_windows_only, tc)
{
	static const uint32_t blocks[] = { 1, 7, 8, 9, 16, 17, 24, 25, 64, 255, 256, 1024, 2048, 4000 };
	static const uint32_t offset[] = { 0, 4, 512, 4092, 4096, 5000 };

	EACH_WAY(way) {
		for (unsigned b = 0; b < ARRAY_SIZE(blocks); b++) {
			for (unsigned o = 0; o < ARRAY_SIZE(offset); o++) {
				for (unsigned op = 0; op < 3; op++) {
					world(ways[way]);
					driver_init();
					ATF_REQUIRE_EQ(OK, put((enum nvme_op)op, AT_BIG + offset[o], blocks[b]));
					ATF_REQUIRE_EQ_MSG(RULE_NONE, judge(&io, &driver_ring[0]), "%u blocks at %u", blocks[b], offset[o]);
					touched = 0;
					ATF_CHECK(reach_io(out));
					ATF_CHECK(op == NVME_OP_FLUSH ? touched == 0 : touched >= pages_of(blocks[b] * 512ull));
					ATF_CHECK_EQ(op == NVME_OP_FLUSH ? 0 : 1, slot[0].grants);
					ATF_CHECK(op == NVME_OP_FLUSH || slot[0].grant[0] == &grant_big);
				}
			}
		}
	}
}

/* Flips every bit of the addresses that the driver wrote, from the page's up: where that leaves the windows, it is refused. */
ATF_TC_WITHOUT_HEAD(one_flipped_address_bit_is_refused);
ATF_TC_BODY(one_flipped_address_bit_is_refused, tc)
{
	EACH_WAY(way) {
		world(ways[way]);
		for (unsigned bit = 22; bit < 64; bit++) {		/* the windows take less than 4 MiB */
			for (unsigned where = 0; where < 5; where++) {
				struct nvme_sqe *e = &driver_ring[0];
				uint64_t *list;

				driver_init();
				ATF_REQUIRE_EQ(OK, put(NVME_OP_READ, AT_BIG + 8 * PAGE_SIZE, where < 2 ? 16 : 64));
				list = driver.lists.ptr;
				ATF_REQUIRE_EQ(RULE_NONE, judge(&io, e));
				*(where == 0 ? &e->prp1 : where == 1 || where == 2 ? &e->prp2 : where == 3 ? &list[0] : &list[6]) ^= 1ull << bit;
				ATF_CHECK_EQ_MSG(RULE_WINDOW, judge(&io, e), "bit %u of address %u", bit, where);
			}
		}
		/* Bits below the page are alignment, but for PRP1's offset. */
		for (unsigned bit = 0; bit < 12; bit++) {
			struct nvme_sqe e = read_cmd(AT_BIG, AT_BIG + PAGE_SIZE, 16);

			e.prp2 ^= 1ull << bit;
			ATF_CHECK_EQ(RULE_ALIGN, judge(&io, &e));
			e = read_cmd(AT_BIG ^ 1ull << bit, 0, 1);
			ATF_CHECK_EQ(bit < 2 ? RULE_ALIGN : RULE_NONE, judge(&io, &e));
		}
	}
}

ATF_TC_WITHOUT_HEAD(edges_of_windows_are_exact);
ATF_TC_BODY(edges_of_windows_are_exact, tc)
{
	EACH_WAY(way) {
		struct nvme_sqe e;

		world(ways[way]);
		/* last page in, first page out; the page before the first */
		e = read_cmd(AT_BIG + (BIG - 1) * PAGE_SIZE, 0, 8);
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		e = read_cmd(AT_BIG + BIG * PAGE_SIZE, 0, 8);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		e = read_cmd(AT_BIG - PAGE_SIZE, 0, 8);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		e = read_cmd(AT_BIG + (BIG - 1) * PAGE_SIZE, AT_BIG + BIG * PAGE_SIZE, 16);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		e = read_cmd(AT_END - 512, 0, 1);
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		e = read_cmd(AT_END - 512, AT_END, 2);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		/* addresses that a sum would carry around */
		e = read_cmd(UINT64_MAX - 511, 0, 1);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		e = read_cmd(UINT64_MAX - 255, 0, 2);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		/* what the device sees is not what the driver may say: the kernel's pages, physical addresses */
		e = read_cmd(AT_SIDE, 0, 8);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		if (ways[way] != 0) {
			e = read_cmd(AT_BIG + delta, 0, 8);
			ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		}
	}
	/* Where nothing is granted nothing is accepted but what carries no data. */
	world(0);
	window_remove(&table, &grant_big);
	window_remove(&table, &grant_out);
	window_remove(&table, &grant_in);
	ATF_CHECK_EQ(0, table.live.count);
	struct nvme_sqe e = read_cmd(AT_BIG, 0, 1);
	ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
	e = (struct nvme_sqe){ .cdw0 = IO_FLUSH, .nsid = NSID };
	ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
}

ATF_TC_WITHOUT_HEAD(directions_are_the_windows);
ATF_TC_BODY(directions_are_the_windows, tc)
{
	EACH_WAY(way) {
		struct nvme_sqe e;
		uint64_t *list = (uint64_t *)(void *)big;

		world(ways[way]);
		e = read_cmd(AT_OUT, 0, 8);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(&io, &e));
		e.cdw0 = IO_WRITE | 3u << 16;
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		e.cdw0 = IO_COMPARE | 3u << 16;
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		e = read_cmd(AT_IN, 0, 8);
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		e.cdw0 = IO_WRITE | 3u << 16;
		ATF_CHECK_EQ(RULE_DIRECTION, judge(&io, &e));
		/* the second page, and a page of a list, are judged like the first */
		e = read_cmd(AT_BIG, AT_OUT, 16);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(&io, &e));
		list[0] = AT_BIG;
		list[1] = AT_OUT;
		e = read_cmd(AT_BIG, AT_BIG, 24);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(&io, &e));
		list[1] = AT_IN;
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		ATF_CHECK_EQ(2, slot[3].grants);
		ATF_CHECK(slot[3].grant[0] == &grant_big && slot[3].grant[1] == &grant_in);
		/* a list is read: it cannot lie where the device only writes */
		e = read_cmd(AT_BIG, AT_IN, 24);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(&io, &e));
		/* dataset management reads its ranges */
		e = (struct nvme_sqe){ .cdw0 = IO_DATASET, .nsid = NSID, .prp1 = AT_IN, .cdw10 = 255, .cdw11 = 4 };
		ATF_CHECK_EQ(RULE_DIRECTION, judge(&io, &e));
		e.prp1 = AT_OUT;
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		ATF_CHECK(reach_io(out));
	}
}

ATF_TC_WITHOUT_HEAD(lists_are_copied_once_and_never_chained);
ATF_TC_BODY(lists_are_copied_once_and_never_chained, tc)
{
	EACH_WAY(way) {
		uint64_t *list = (uint64_t *)(void *)(big + 600 * PAGE_SIZE);
		struct nvme_sqe e;

		world(ways[way]);
		for (unsigned i = 0; i < 512; i++)
			list[i] = AT_BIG + (i + 1) * PAGE_SIZE;
		/* 512 entries fill the page exactly: 513 pages of data */
		e = read_cmd(AT_BIG, AT_BIG + 600 * PAGE_SIZE, 513 * 8);
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		ATF_CHECK(reach_io(out));
		e = read_cmd(AT_BIG, AT_BIG + 600 * PAGE_SIZE, 513 * 8 + 1);
		ATF_CHECK_EQ(RULE_CHAIN, judge(&io, &e));
		e = read_cmd(AT_BIG, AT_BIG + 600 * PAGE_SIZE, 65536);
		ATF_CHECK_EQ(RULE_CHAIN, judge(&io, &e));
		/* near the end of its page a list has room for few */
		e = read_cmd(AT_BIG, AT_BIG + 601 * PAGE_SIZE - 16, 24);
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		ATF_CHECK(reach_io(out));
		e = read_cmd(AT_BIG, AT_BIG + 601 * PAGE_SIZE - 8, 24);
		ATF_CHECK_EQ(RULE_CHAIN, judge(&io, &e));
		e = read_cmd(AT_BIG, AT_BIG + 600 * PAGE_SIZE + 4, 24);
		ATF_CHECK_EQ(RULE_ALIGN, judge(&io, &e));
		list[1] |= 0x10;
		e = read_cmd(AT_BIG, AT_BIG + 600 * PAGE_SIZE, 24);
		ATF_CHECK_EQ(RULE_ALIGN, judge(&io, &e));
		list[1] &= ~0x10ull;
		/* after it was accepted the driver's list counts no more */
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		list[0] = 0x1000;
		list[1] = UINT64_MAX;
		ATF_CHECK(reach_io(out));
		ATF_CHECK_EQ(AT_SIDE, out[4]);
		/* without a page for the copy there is no list, and no answer */
		list[0] = list[1] = AT_BIG;
		io.spare = NULL;
		ATF_CHECK_EQ(RULE_LISTS, judge(&io, &e));
		e = read_cmd(AT_BIG, AT_BIG, 16);
		ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		/* and outside of every window it is not read at all */
		e = read_cmd(AT_BIG, AT_END, 24);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
	}
}

ATF_TC_WITHOUT_HEAD(an_entry_names_a_bounded_number_of_grants);
ATF_TC_BODY(an_entry_names_a_bounded_number_of_grants, tc)
{
	static char many[XLATE_GRANTS_MAX + 1];
	uint64_t *list = (uint64_t *)(void *)big;
	struct nvme_sqe e;

	world(0);
	window_remove(&table, &grant_big);
	window_remove(&table, &grant_out);
	window_remove(&table, &grant_in);
	for (unsigned i = 0; i <= XLATE_GRANTS_MAX; i++) {
		add(AT_BIG + i * PAGE_SIZE, big + i * PAGE_SIZE, 1, DMA_BOTH, &many[i]);
		list[i] = AT_BIG + (i + 1) * PAGE_SIZE;
	}
	e = read_cmd(AT_BIG, AT_BIG, XLATE_GRANTS_MAX * 8);
	ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
	ATF_CHECK_EQ(XLATE_GRANTS_MAX, slot[3].grants);
	e = read_cmd(AT_BIG, AT_BIG, XLATE_GRANTS_MAX * 8 + 1);
	ATF_CHECK_EQ(RULE_GRANTS, judge(&io, &e));
}

ATF_TC_WITHOUT_HEAD(the_length_is_the_namespaces);
ATF_TC_BODY(the_length_is_the_namespaces, tc)
{
	struct nvme_sqe e;

	world(0);
	/* Eight blocks fit a page of one namespace, and not of the other. */
	e = read_cmd(AT_BIG + (BIG - 1) * PAGE_SIZE, 0, 8);
	ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
	e.nsid = NSID4K;
	ATF_CHECK(judge(&io, &e) != RULE_NONE);
	e = read_cmd(AT_BIG, 0, 1);
	e.nsid = NSID4K;
	ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
	/* Nobody has identified these. */
	static const uint32_t unknown[] = { 0, 3, 255, 256, 0x10001, UINT32_MAX };
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		e.nsid = unknown[i];
		ATF_CHECK_EQ(RULE_TARGET, judge(&io, &e));
	}
}

ATF_TC_WITHOUT_HEAD(io_opcodes_and_fields_are_lists);
ATF_TC_BODY(io_opcodes_and_fields_are_lists, tc)
{
	struct nvme_sqe good = read_cmd(AT_BIG, 0, 8), e;

	world(0);
	for (unsigned op = 0; op < 256; op++) {
		bool known = op == IO_FLUSH || op == IO_READ || op == IO_WRITE || op == IO_COMPARE || op == IO_WRITE_ZEROES ||
		    op == IO_DATASET;

		e = (struct nvme_sqe){ .cdw0 = op, .nsid = NSID, .prp1 = AT_BIG };
		ATF_CHECK_EQ_MSG(known ? RULE_NONE : RULE_OPCODE, judge(&io, &e), "opcode %02x", op);
	}
	for (unsigned bit = 8; bit < 16; bit++) {
		e = good;
		e.cdw0 |= 1u << bit;
		ATF_CHECK_EQ(bit < 10 ? RULE_FUSED : bit < 14 ? RULE_FIELD : RULE_SHAPE, judge(&io, &e));
	}
	e = good; e.metadata = AT_BIG; ATF_CHECK_EQ(RULE_METADATA, judge(&io, &e));
	e = good; e.cdw2_3 = 1; ATF_CHECK_EQ(RULE_FIELD, judge(&io, &e));
	e = good; e.cdw13 = 0x100; ATF_CHECK_EQ(RULE_FIELD, judge(&io, &e));
	e = good; e.cdw14 = 1; ATF_CHECK_EQ(RULE_FIELD, judge(&io, &e));
	e = good; e.cdw15 = 1; ATF_CHECK_EQ(RULE_FIELD, judge(&io, &e));
	for (unsigned bit = 16; bit < 32; bit++) {
		e = good;
		e.cdw12 |= 1u << bit;
		ATF_CHECK_EQ(bit == 30 || bit == 31 ? RULE_NONE : RULE_FIELD, judge(&io, &e));
	}
	/* Addresses that the command does not use do not reach the controller. */
	e = (struct nvme_sqe){ .cdw0 = IO_FLUSH, .nsid = NSID, .prp1 = 0x1000, .prp2 = 0x2000 };
	ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
	ATF_CHECK(out[3] == 0 && out[4] == 0);
	e = good;
	e.prp2 = 0xdead000;
	ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
	ATF_CHECK_EQ(0, out[4]);
	/* Command ids. */
	e = good; e.cdw0 = IO_READ | SLOTS << 16; ATF_CHECK_EQ(RULE_ID, judge(&io, &e));
	e = good; e.cdw0 = IO_READ | 0xffffu << 16; ATF_CHECK_EQ(RULE_ID, judge(&io, &e));
	slot[3].busy = true;
	ATF_CHECK_EQ(RULE_ID_BUSY, judge(&io, &good));
}

ATF_TC_WITHOUT_HEAD(admin_opcodes_and_features_are_lists);
ATF_TC_BODY(admin_opcodes_and_features_are_lists, tc)
{
	struct nvme_sqe e;

	world(0);
	for (unsigned op = 0; op < 256; op++) {
		e = (struct nvme_sqe){ .cdw0 = op };
		switch (op) {
		case ADMIN_IDENTIFY:
			e.prp1 = AT_BIG;
			ATF_CHECK_EQ(RULE_NONE, judge(&adm, &e));
			break;
		case ADMIN_LOG_PAGE: case ADMIN_SET_FEATURES: case ADMIN_GET_FEATURES:
			ATF_CHECK_EQ(RULE_FEATURE, judge(&adm, &e));
			break;
		case ADMIN_CREATE_CQ: case ADMIN_CREATE_SQ:
			ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
			break;
		default:
			ATF_CHECK_EQ_MSG(op == ADMIN_ABORT || op == ADMIN_ASYNC_EVENT ? RULE_NONE : RULE_OPCODE, judge(&adm, &e),
			    "opcode %02x", op);
		}
	}
	for (unsigned fid = 0; fid < 256; fid++) {
		bool known = fid == 1 || fid == 2 || (fid >= 4 && fid <= 9) || fid == 11;

		e = (struct nvme_sqe){ .cdw0 = ADMIN_SET_FEATURES, .cdw10 = fid, .cdw11 = 1 };
		ATF_CHECK_EQ_MSG(known ? RULE_NONE : RULE_FEATURE, judge(&adm, &e), "feature %02x", fid);
		ATF_CHECK(!known || reach_admin(out));
		e.cdw0 = ADMIN_GET_FEATURES;
		ATF_CHECK_EQ(known ? RULE_NONE : RULE_FEATURE, judge(&adm, &e));
	}
	e = (struct nvme_sqe){ .cdw0 = ADMIN_SET_FEATURES, .cdw10 = FEATURE_QUEUES, .prp1 = AT_BIG };
	ATF_CHECK_EQ(RULE_FIELD, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_SET_FEATURES, .cdw10 = FEATURE_QUEUES | 1u << 31 };
	ATF_CHECK_EQ(RULE_FIELD, judge(&adm, &e));
	/* log pages by length */
	e = (struct nvme_sqe){ .cdw0 = ADMIN_LOG_PAGE, .prp1 = AT_IN, .cdw10 = 2 | 127u << 16 };
	ATF_CHECK_EQ(RULE_NONE, judge(&adm, &e));
	ATF_CHECK(reach_admin(out));
	e.cdw10 = 2 | 0xffffu << 16;
	ATF_CHECK(judge(&adm, &e) != RULE_NONE);
	e.cdw11 = 0xffff;
	ATF_CHECK(judge(&adm, &e) != RULE_NONE);
	/* no identify of another command set, none that is not 4096 bytes in windows */
	e = (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY, .prp1 = AT_BIG, .cdw10 = 6 };
	ATF_CHECK_EQ(RULE_FIELD, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY, .prp1 = AT_OUT };
	ATF_CHECK_EQ(RULE_DIRECTION, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY, .prp1 = AT_END - 512, .prp2 = AT_END };
	ATF_CHECK_EQ(RULE_WINDOW, judge(&adm, &e));
}

ATF_TC_WITHOUT_HEAD(queues_are_created_as_bound_and_once);
ATF_TC_BODY(queues_are_created_as_bound_and_once, tc)
{
	struct nvme_sqe sq = { .cdw0 = ADMIN_CREATE_SQ, .prp1 = NAME_SQ, .cdw10 = 1 | 63u << 16, .cdw11 = 1 | 1u << 16 };
	struct nvme_sqe cq = { .cdw0 = ADMIN_CREATE_CQ, .prp1 = NAME_CQ, .cdw10 = 1 | 63u << 16, .cdw11 = 3 | 2u << 16 };
	struct nvme_sqe e;

	world(0);
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &cq));
	device.queue[1] = (struct xlate_bound){ .bound = true, .entries = 64, .sq_name = NAME_SQ, .cq_name = NAME_CQ,
		.sq_address = AT_SQ, .cq_address = AT_CQ };
	ATF_CHECK_EQ(RULE_NONE, judge(&adm, &cq));
	ATF_CHECK_EQ(AT_CQ, out[3]);
	ATF_CHECK_EQ(RULE_NONE, judge(&adm, &sq));
	ATF_CHECK_EQ(AT_SQ, out[3]);
	e = sq; e.prp1 = AT_SQ; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));		/* not by the device's address */
	e = sq; e.prp1 = AT_BIG; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));	/* not the driver's memory */
	e = sq; e.prp1 = NAME_SQ + 64; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq; e.prp1 = NAME_CQ; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq; e.cdw10 += 1u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));	/* longer than its memory */
	e = sq; e.cdw10 += 1; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));		/* another's id */
	e = sq; e.cdw10 = 0 | 63u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq; e.cdw10 = 40 | 63u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq; e.cdw11 &= ~1u; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));		/* a list of pages as base */
	e = sq; e.cdw11 += 1u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));	/* completions into another queue */
	e = cq; e.cdw11 = 3 | 4u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));	/* a vector that it does not have */
	e = cq; e.cdw11 &= ~1u; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = cq; e.cdw11 = 1; ATF_CHECK_EQ(RULE_NONE, judge(&adm, &e));		/* polled */
	e = cq; e.cdw11 = 1 | 1u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	/* Its entries would run a second time. */
	device.queue[1].used = true;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &sq));
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &cq));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_DELETE_SQ, .cdw10 = 1 };
	ATF_CHECK_EQ(RULE_OPCODE, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_DELETE_CQ, .cdw10 = 1 };
	ATF_CHECK_EQ(RULE_OPCODE, judge(&adm, &e));
}

static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }

ATF_TC_WITHOUT_HEAD(block_sizes_are_learned_from_the_device_and_not_from_the_driver);
ATF_TC_BODY(block_sizes_are_learned_from_the_device_and_not_from_the_driver, tc)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_IDENTIFY | 2u << 16, .nsid = 9, .prp1 = AT_IN + 512, .prp2 = AT_IN + PAGE_SIZE };

	world(0);
	ATF_REQUIRE_EQ(RULE_NONE, judge(&adm, &e));
	/* The device answers to the kernel, and the driver's place is remembered. */
	ATF_CHECK_EQ(AT_SIDE, out[3]);
	ATF_CHECK_EQ(0, out[4]);
	ATF_CHECK(slot[2].answer != 0 && slot[2].grants == 1);
	ATF_CHECK(slot[2].to[0] == AT_IN + 512 && slot[2].to_bytes[0] == 3584);
	ATF_CHECK(slot[2].to[1] == AT_IN + PAGE_SIZE && slot[2].to_bytes[1] == 512);
	for (unsigned lbads = 0; lbads < 40; lbads++) {
		memset(side[0], 0, PAGE_SIZE);
		put32(side[0] + NS_NSZE, 1000);
		side[0][NS_FLBAS] = 3;
		put32(side[0] + NS_LBAF + 12, lbads << 16);
		nvme_xlate.answered(&device, &slot[2]);
		ATF_CHECK_EQ(lbads >= 9 && lbads <= 16 ? lbads : 0, device.lg2[9]);
	}
	put32(side[0] + NS_LBAF + 12, 9 << 16 | 8);		/* metadata */
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(0, device.lg2[9]);
	put32(side[0] + NS_LBAF + 12, 9 << 16);
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(9, device.lg2[9]);
	put32(side[0] + NS_NSZE, 0);				/* not active */
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(0, device.lg2[9]);
	/* Format numbers of six bits. */
	put32(side[0] + NS_NSZE + 4, 1);
	side[0][NS_FLBAS] = 0x40 | 15;
	put32(side[0] + NS_LBAF + 4 * 47, 12 << 16);
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(12, device.lg2[9]);
	slot[2].target = UINT32_MAX;				/* beyond the table: nothing is learned */
	nvme_xlate.answered(&device, &slot[2]);

	/* The controller's structure loses what leads elsewhere. */
	e.cdw10 = CNS_CONTROLLER;
	ATF_REQUIRE_EQ(RULE_NONE, judge(&adm, &e));
	memset(side[0], 0xff, PAGE_SIZE);
	nvme_xlate.answered(&device, &slot[2]);
	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		bool hidden = (i >= ID_OACS && i < ID_OACS + 2) || (i >= ID_HMPRE && i < ID_HMPRE + 8) || (i >= ID_SGLS && i < ID_SGLS + 4);

		ATF_REQUIRE_EQ(hidden ? 0 : 0xff, side[0][i]);
	}
	/* Lists of namespaces go where the driver said. */
	e.cdw10 = CNS_ACTIVE;
	ATF_REQUIRE_EQ(RULE_NONE, judge(&adm, &e));
	ATF_CHECK_EQ(0, slot[2].answer);
	ATF_CHECK_EQ(AT_IN + 512, out[3]);
}

/* ---- Registers ---- */

static uint64_t cap;
static uint64_t read_cap(void *arg, uint32_t offset, unsigned width) { (void)arg; return offset == NVME_CAP && width == 8 ? cap : 0; }

static enum dma_rule
write_reg(uint32_t offset, unsigned width, uint64_t value, struct xlate_writes *w)
{
	enum dma_rule r = nvme_xlate.write(&device, offset, width, value, w);

	if (r != RULE_NONE)
		ATF_CHECK_EQ(0, w->count);
	return r;
}

ATF_TC_WITHOUT_HEAD(the_kernel_writes_queue_registers_and_only_when_queues_are_bound);
ATF_TC_BODY(the_kernel_writes_queue_registers_and_only_when_queues_are_bound, tc)
{
	const uint32_t on = CC_EN | 6u << 16 | 4u << 20;
	struct xlate_writes w;

	world(0);
	device.stopped = true;
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, on, &w));
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_ASQ, 8, AT_BIG, &w));
	device.queue[0] = (struct xlate_bound){ .bound = true, .entries = 32, .sq_name = NAME_SQ, .cq_name = NAME_CQ,
		.sq_address = AT_SQ, .cq_address = AT_CQ };
	/* The driver may say what it knows; it changes nothing. */
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_AQA, 4, 31 | 31u << 16, &w));
	ATF_CHECK_EQ(0, w.count);
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_ASQ, 8, NAME_SQ, &w));
	ATF_CHECK_EQ(0, w.count);
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_ACQ, 8, NAME_CQ, &w));
	ATF_CHECK_EQ(RULE_VALUE, write_reg(NVME_AQA, 4, 63 | 31u << 16, &w));
	ATF_CHECK_EQ(RULE_VALUE, write_reg(NVME_ASQ, 8, AT_SQ, &w));
	ATF_CHECK_EQ(RULE_VALUE, write_reg(NVME_ACQ, 8, NAME_CQ + 1, &w));
	ATF_CHECK_EQ(RULE_REGISTER, write_reg(NVME_ASQ, 4, (uint32_t)NAME_SQ, &w));
	/* Enabled only from a stop that was seen. */
	device.stopped = false;
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, on, &w));
	device.stopped = true;
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_CC, 4, on, &w));
	ATF_CHECK_EQ(XLATE_START, w.effect);
	ATF_REQUIRE_EQ(4, w.count);
	ATF_CHECK(w.v[0].offset == NVME_AQA && w.v[0].value == (31 | 31u << 16));
	ATF_CHECK(w.v[1].offset == NVME_ASQ && w.v[1].value == AT_SQ && w.v[1].width == 8);
	ATF_CHECK(w.v[2].offset == NVME_ACQ && w.v[2].value == AT_CQ && w.v[2].width == 8);
	ATF_CHECK(w.v[3].offset == NVME_CC && w.v[3].value == on);
	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t v = on ^ 1u << bit;

		if (bit == 0 || bit == 14 || bit == 15)
			continue;
		ATF_CHECK_EQ_MSG(RULE_VALUE, write_reg(NVME_CC, 4, v, &w), "CC bit %u", bit);
	}
	/* Running: queue bases no longer change anything, a shutdown passes, a stop waits until it was ready. */
	device.running = true;
	device.stopped = false;
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_CC, 4, on | 1u << 14, &w));
	ATF_CHECK(w.effect == XLATE_ACCESS && w.count == 1);
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, 0, &w));
	device.ready = true;
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_CC, 4, 0, &w));
	ATF_CHECK_EQ(XLATE_STOP, w.effect);
	/* A queue that was used is not enabled again. */
	device.running = device.ready = false;
	device.stopped = true;
	device.queue[0].used = true;
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, on, &w));
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_ASQ, 8, NAME_SQ, &w));
	/* Everything else is not the driver's: doorbells above all. */
	for (uint32_t at = 0; at < 0x2000; at += 4) {
		if (at != NVME_CC && at != NVME_AQA)
			ATF_REQUIRE_EQ(RULE_REGISTER, write_reg(at, 4, 0, &w));
		if (at != NVME_ASQ && at != NVME_ACQ)
			ATF_REQUIRE_EQ(RULE_REGISTER, write_reg(at, 8, 0, &w));
	}
}

ATF_TC_WITHOUT_HEAD(registers_show_no_address_and_no_other_door);
ATF_TC_BODY(registers_show_no_address_and_no_other_door, tc)
{
	uint64_t v;

	world(0);
	for (uint32_t at = 0; at < 0x2000; at += 4) {
		bool shown = at == NVME_CAP || at == NVME_CAP + 4 || at == NVME_VS || at == NVME_CC || at == NVME_CSTS || at == NVME_AQA ||
		    at == NVME_CRTO;

		ATF_REQUIRE_EQ(shown ? RULE_NONE : RULE_REGISTER, nvme_xlate.may_read(&device, at, 4));
		ATF_REQUIRE_EQ(at == NVME_CAP ? RULE_NONE : RULE_REGISTER, nvme_xlate.may_read(&device, at, 8));
	}
	v = ~1ull;
	nvme_xlate.seen(&device, NVME_CAP, 8, &v);
	ATF_CHECK_EQ(0, v & (CAP_MPSMAX | CAP_NSSRS | CAP_BPS | CAP_PMRS | CAP_CMBS));
	ATF_CHECK_EQ(15, FIELD_GET(CAP_DSTRD, v));
	v = 0xfffffffe;
	nvme_xlate.seen(&device, NVME_CAP + 4, 4, &v);
	ATF_CHECK_EQ(0, v << 32 & (CAP_MPSMAX | CAP_NSSRS | CAP_BPS | CAP_PMRS | CAP_CMBS));
	/* Stopped is what the device says, and not when it is gone. */
	v = 0;
	ATF_CHECK_EQ(XLATE_STOPPED, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	v = CSTS_RDY;
	ATF_CHECK_EQ(XLATE_ACCESS, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	v = UINT32_MAX;
	ATF_CHECK_EQ(XLATE_ACCESS, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	device.running = true;
	v = 0;
	ATF_CHECK_EQ(XLATE_ACCESS, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	v = CSTS_RDY;
	ATF_CHECK_EQ(XLATE_READY, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
}

ATF_TC_WITHOUT_HEAD(doorbells_lie_in_the_window);
ATF_TC_BODY(doorbells_lie_in_the_window, tc)
{
	world(0);
	for (unsigned dstrd = 0; dstrd < 16; dstrd++) {
		for (uint64_t len = 0x2000; len <= 0x400000; len *= 2) {
			device.window_bytes = len;
			cap = 1ull << 37 | (uint64_t)dstrd << 32 | 1023;
			if (!nvme_xlate.open(&device, read_cap, NULL))
				continue;
			ATF_CHECK(device.queues >= 2 && device.queues <= XLATE_QUEUES_MAX);
			ATF_CHECK(nvme_xlate.doorbell(&device, device.queues - 1, true) + 4 <= len);
			ATF_CHECK_EQ(NVME_DOORBELLS, nvme_xlate.doorbell(&device, 0, false));
		}
	}
	device.window_bytes = 0x4000;
	cap = 0;
	ATF_CHECK(!nvme_xlate.open(&device, read_cap, NULL));		/* no NVM command set */
	cap = 1ull << 37 | 1ull << 48;
	ATF_CHECK(!nvme_xlate.open(&device, read_cap, NULL));		/* no pages of 4 KiB */
	cap = UINT64_MAX;
	ATF_CHECK(!nvme_xlate.open(&device, read_cap, NULL));
	cap = 1ull << 37;
	device.window_bytes = 0x1000;
	ATF_CHECK(!nvme_xlate.open(&device, read_cap, NULL));
}

ATF_TC_WITHOUT_HEAD(completions_are_read_by_phase);
ATF_TC_BODY(completions_are_read_by_phase, tc)
{
	struct nvme_cqe c = { .sq = 7 | 2u << 16, .status = 5 | CQE_PHASE };
	uint64_t w[2];
	struct xlate_done d;

	memcpy(w, &c, sizeof(w));
	ATF_CHECK(!nvme_xlate.completed(w, false, &d));
	ATF_REQUIRE(nvme_xlate.completed(w, true, &d));
	ATF_CHECK(d.id == 5 && d.queue == 2 && d.head == 7 && d.good);
	c.status = 5 | 2u << 17;
	memcpy(w, &c, sizeof(w));
	ATF_CHECK(!nvme_xlate.completed(w, true, &d));
	ATF_REQUIRE(nvme_xlate.completed(w, false, &d));
	ATF_CHECK(!d.good);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_the_driver_builds_is_accepted_and_reaches_windows_only);
	ATF_TP_ADD_TC(tp, one_flipped_address_bit_is_refused);
	ATF_TP_ADD_TC(tp, edges_of_windows_are_exact);
	ATF_TP_ADD_TC(tp, directions_are_the_windows);
	ATF_TP_ADD_TC(tp, lists_are_copied_once_and_never_chained);
	ATF_TP_ADD_TC(tp, an_entry_names_a_bounded_number_of_grants);
	ATF_TP_ADD_TC(tp, the_length_is_the_namespaces);
	ATF_TP_ADD_TC(tp, io_opcodes_and_fields_are_lists);
	ATF_TP_ADD_TC(tp, admin_opcodes_and_features_are_lists);
	ATF_TP_ADD_TC(tp, queues_are_created_as_bound_and_once);
	ATF_TP_ADD_TC(tp, block_sizes_are_learned_from_the_device_and_not_from_the_driver);
	ATF_TP_ADD_TC(tp, the_kernel_writes_queue_registers_and_only_when_queues_are_bound);
	ATF_TP_ADD_TC(tp, registers_show_no_address_and_no_other_door);
	ATF_TP_ADD_TC(tp, doorbells_lie_in_the_window);
	ATF_TP_ADD_TC(tp, completions_are_read_by_phase);
	return atf_no_error();
}
