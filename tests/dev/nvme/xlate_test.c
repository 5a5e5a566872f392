/*
 * The NVMe translator and data: what dev/nvme builds it accepts, one changed address bit and it
 * refuses; every rule; and that an accepted entry reaches nothing but windows
 * (tests/lib/nvme_reach.h), with windows as a unit makes them and as the kernel brokers them
 * (tests/lib/nvme_world.h).  Administration and registers: xlate_admin_test.c.
 *
 * Requirements: V1 V2 V8
 *
 * LINK: kern/dma/ring.c tests/lib/fake_panic.c
 * LINK: dev/nvme/xlate.c dev/nvme/xlate_regs.c dev/nvme/ioq.c dev/nvme/prp.c kern/dma/window.c
 */
#include "tests/lib/nvme_world.h"

enum status drv_queue_commit(struct drv_queue *q, uint32_t sq_tail, uint32_t cq_head)
{ (void)q; (void)sq_tail; (void)cq_head; return OK; }

static struct nvme_sqe
read_cmd(uint64_t prp1, uint64_t prp2, uint32_t blocks)
{
	return (struct nvme_sqe){ .cdw0 = IO_READ | 3u << 16,
		.nsid = NSID,
		.prp1 = prp1,
		.prp2 = prp2,
		.cdw12 = blocks - 1 };
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
	return nvme_ioq_put(&driver,
	    &(struct nvme_io){ .op = op,
		.nsid = NSID,
		.lba = 7,
		.blocks = blocks,
		.bytes = blocks * 512ull,
		.data = { at },
		.fua = true });
}

ATF_TC_WITHOUT_HEAD(what_the_driver_builds_is_accepted_and_reaches_windows_only);
ATF_TC_BODY(what_the_driver_builds_is_accepted_and_reaches_windows_only, tc)
{
	static const uint32_t blocks[] = { 1, 7, 8, 9, 16, 17, 24, 25, 64, 255, 256, 1024, 2048,
		4000 };
	static const uint32_t offset[] = { 0, 4, 512, 4092, 4096, 5000 };

	EACH_WAY(way) {
		for (unsigned b = 0; b < ARRAY_SIZE(blocks); b++) {
			for (unsigned o = 0; o < ARRAY_SIZE(offset); o++) {
				for (unsigned op = 0; op < 3; op++) {
					world(ways[way]);
					driver_init();
					ATF_REQUIRE_EQ(OK,
					    put((enum nvme_op)op, AT_BIG + offset[o], blocks[b]));
					ATF_REQUIRE_EQ_MSG(RULE_NONE, judge(&io, &driver_ring[0]),
					    "%u blocks at %u", blocks[b], offset[o]);
					touched = 0;
					ATF_CHECK(reach_io(out));
					ATF_CHECK(op == NVME_OP_FLUSH ?
						touched == 0 :
						touched >= pages_of(blocks[b] * 512ull));
					ATF_CHECK_EQ(op == NVME_OP_FLUSH ? 0 : 1, slot[0].grants);
					ATF_CHECK(
					    op == NVME_OP_FLUSH || slot[0].grant[0] == &grant_big);
				}
			}
		}
	}
}

/* Flips every bit of the addresses that the driver wrote, from the page's up: where that leaves the
 * windows, it is refused. */
ATF_TC_WITHOUT_HEAD(one_flipped_address_bit_is_refused);
ATF_TC_BODY(one_flipped_address_bit_is_refused, tc)
{
	EACH_WAY(way) {
		world(ways[way]);
		for (unsigned bit = 22; bit < 64; bit++) { /* the windows take less than 4 MiB */
			for (unsigned where = 0; where < 9; where++) {
				struct nvme_sqe *e = &driver_ring[0];
				uint64_t *list;

				driver_init();
				ATF_REQUIRE_EQ(OK,
				    put(NVME_OP_READ, AT_BIG + 8 * PAGE_SIZE, where < 2 ? 16 : 64));
				list = driver.lists.ptr;
				ATF_REQUIRE_EQ(RULE_NONE, judge(&io, e));
				*(where == 0                     ? &e->prp1 :
					where == 1 || where == 2 ? &e->prp2 :
								   &list[where - 3]) ^= 1ull << bit;
				ATF_CHECK_EQ_MSG(
				    RULE_WINDOW, judge(&io, e), "bit %u of address %u", bit, where);
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
		/* lists whose pages go on past the end */
		for (uint32_t inside = 1; inside < 12; inside++) {
			uint64_t *list = (uint64_t *)(void *)big;

			for (unsigned i = 0; i < 12; i++)
				list[i] = AT_BIG + (BIG - inside + 1 + i) * PAGE_SIZE;
			e = read_cmd(AT_BIG + (BIG - inside) * PAGE_SIZE, AT_BIG, 8 * 13);
			ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
			e.cdw12 = 8 * inside - 1;
			if (inside > 2)
				ATF_CHECK_EQ(RULE_NONE, judge(&io, &e));
		}
		/* a list in the page behind the first */
		memset(big, 0, sizeof(big));
		e = read_cmd(AT_BIG + 8 * PAGE_SIZE, AT_BIG + 9 * PAGE_SIZE, 8 * 3);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		/* what the device sees is not what the driver may say: the kernel's pages, physical
		 * addresses */
		e = read_cmd(AT_SIDE, 0, 8);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		if (ways[way] != 0) {
			e = read_cmd(AT_BIG + delta, 0, 8);
			ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &e));
		}
	}
	/* Where nothing is granted nothing is accepted but what carries no data. */
	world(0);
	window_remove(&table, &grant_big, AT_BIG);
	window_remove(&table, &grant_out, AT_OUT);
	window_remove(&table, &grant_in, AT_IN);
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
		e = (struct nvme_sqe){
			.cdw0 = IO_DATASET, .nsid = NSID, .prp1 = AT_IN, .cdw10 = 255, .cdw11 = 4
		};
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
		/* also where what it would hold there is good */
		for (uint64_t i = 0, page; i < 3; i++) {
			page = AT_BIG + i * PAGE_SIZE;
			memcpy((uint8_t *)list + 4 + 8 * i, &page, 8);
		}
		ATF_CHECK_EQ(RULE_ALIGN, judge(&io, &e));
		for (unsigned i = 0; i < 4; i++)
			list[i] = AT_BIG + (i + 1) * PAGE_SIZE;
		list[1] |= 0x10;
		e = read_cmd(AT_BIG, AT_BIG + 600 * PAGE_SIZE, 24);
		ATF_CHECK_EQ(RULE_ALIGN, judge(&io, &e));
		list[1] &= ~0x10ull;
		/* a list that is in no window, or next to one */
		struct nvme_sqe astray = read_cmd(AT_BIG, AT_BIG + BIG * PAGE_SIZE, 24);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &astray));
		astray = read_cmd(AT_BIG, 0x1000, 24);
		ATF_CHECK_EQ(RULE_WINDOW, judge(&io, &astray));
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
	window_remove(&table, &grant_big, AT_BIG);
	window_remove(&table, &grant_out, AT_OUT);
	window_remove(&table, &grant_in, AT_IN);
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
		bool known = op == IO_FLUSH || op == IO_READ || op == IO_WRITE ||
		    op == IO_COMPARE || op == IO_WRITE_ZEROES || op == IO_DATASET;

		e = (struct nvme_sqe){ .cdw0 = op, .nsid = NSID, .prp1 = AT_BIG };
		ATF_CHECK_EQ_MSG(
		    known ? RULE_NONE : RULE_OPCODE, judge(&io, &e), "opcode %02x", op);
	}
	for (unsigned bit = 8; bit < 16; bit++) {
		e = good;
		e.cdw0 |= 1u << bit;
		ATF_CHECK_EQ(bit < 10 ? RULE_FUSED :
			bit < 14      ? RULE_FIELD :
					RULE_SHAPE,
		    judge(&io, &e));
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
	return atf_no_error();
}
