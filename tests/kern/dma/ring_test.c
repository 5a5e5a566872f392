/*
 * Checked rings, with a class, a ledger and windows as they are; the device and the driver are
 * played by hand, honest and not.
 *
 * Requirements: M1 V4 V5
 *
 * LINK: kern/dma/ring.c kern/dma/window.c kern/dma/ledger.c kern/dma/iova.c
 * LINK: kern/base/itree.c dev/nvme/xlate.c dev/nvme/xlate_regs.c
 * LINK: tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/nvme/wire.h"
#include "dev/nvme/xlate.h"
#include "kern/dma/ring.h"
#include "kern/dma/window.h"

enum { N = 8, SLOTS = N - 1, SIDES = 2, PAGES = 600 };
enum : uint64_t { SIDE = 0x7000000, BUS = 0x55'0000'0000 };

static struct iova_space space;
static struct iova_range cool[64];
static struct ledger ledger;
static struct ledger_entry grant, other;
static struct xlate_window array[8];
static struct window_table windows;
static struct xlate_device device;
static struct xlate_slot slot[SLOTS];
static struct ring_page page[SIDES];
static uint16_t id[N];
static struct nvme_sqe owner[N], shadow[N];
static struct nvme_cqe cq[N];
static uint8_t data[PAGES * PAGE_SIZE] ALIGNED(4096), side[SIDES][PAGE_SIZE] ALIGNED(4096);
static struct dma_ring ring;
static struct ring_refusal why;
static uint64_t at;
/* the device */
static uint32_t cq_tail, round_bit, sq_head;

static void
publish_grant(struct ledger_entry *e, uint64_t pages, enum dma_dir dir)
{
	struct ledger_grant g = { .owner = &space,
		.memory = &cool,
		.len = pages * PAGE_SIZE,
		.generation = 7,
		.dir = dir };
	struct xlate_window w;

	ATF_REQUIRE_EQ(OK, ledger_reserve(&ledger, e, &g));
	ledger_mapped(&ledger, e);
	ledger_publish(&ledger, e);
	w = (struct xlate_window){ .first = iova_base(&e->range).v,
		.last = iova_base(&e->range).v + pages * PAGE_SIZE - 1,
		.delta = BUS - iova_base(&e->range).v,
		.cpu = (uint64_t)(uintptr_t)data - iova_base(&e->range).v,
		.grant = e,
		.dir = dir };
	ATF_REQUIRE_EQ(OK, window_add(&windows, &w));
}

static void
start(uint32_t queue)
{
	ATF_REQUIRE_EQ(
	    OK, iova_init(&space, 4 * GIB, 8 * GIB, PAGE_SIZE, UINT64_MAX, cool, sizeof(cool)));
	ledger_init(&ledger, &space, 7);
	memset(&grant, 0, sizeof(grant));
	memset(&other, 0, sizeof(other));
	memset(slot, 0, sizeof(slot));
	memset(&device, 0, sizeof(device));
	memset(shadow, 0, sizeof(shadow));
	windows = (struct window_table){ 0 };
	window_place(&windows, array, ARRAY_SIZE(array));
	publish_grant(&grant, PAGES, DMA_BOTH);
	at = iova_base(&grant.range).v;
	device.lg2[1] = 9;
	for (unsigned i = 0; i < SIDES; i++)
		page[i] = (struct ring_page){ (uint64_t *)(void *)side[i], SIDE + i * PAGE_SIZE };
	ring = (struct dma_ring){ .class = &nvme_xlate,
		.device = &device,
		.ledger = &ledger,
		.owner = (uint64_t *)(void *)owner,
		.shadow = (uint64_t *)(void *)shadow,
		.cq = (uint64_t *)(void *)cq,
		.id = id,
		.page = page,
		.pages = SIDES,
		.entries = N,
		.q = { .device = &device,
		    .windows = &windows.live,
		    .id = queue,
		    .slots = SLOTS,
		    .slot = slot } };
	memset(cq, 0xff, sizeof(cq));
	ring_init(&ring);
	cq_tail = sq_head = 0;
	round_bit = CQE_PHASE;
}

static void
put(uint32_t where, uint32_t cid, uint64_t prp1, uint64_t prp2, uint32_t blocks)
{
	owner[where % N] = (struct nvme_sqe){ .cdw0 = IO_READ | cid << 16,
		.nsid = 1,
		.prp1 = prp1,
		.prp2 = prp2,
		.cdw12 = blocks - 1 };
}

/* The device completes a command. */
static void
complete(uint32_t cid, uint32_t head, uint32_t queue, uint32_t code)
{
	cq[cq_tail] =
	    (struct nvme_cqe){ .sq = head | queue << 16, .status = cid | round_bit | code << 17 };
	if (++cq_tail == N) {
		cq_tail = 0;
		round_bit ^= CQE_PHASE;
	}
}

ATF_TC_WITHOUT_HEAD(entries_go_round_and_pins_end_with_their_completions);
ATF_TC_BODY(entries_go_round_and_pins_end_with_their_completions, tc)
{
	uint32_t tail = 0, in_flight[SLOTS], n = 0;
	bool used[SLOTS] = { false };

	start(1);
	srand(1);
	for (unsigned round = 0; round < 5000; round++) {
		uint32_t want = (uint32_t)rand() % (SLOTS - n + 1), take = 0;

		for (uint32_t i = 0; i < want; i++) {
			uint32_t cid = (uint32_t)rand() % SLOTS;

			while (used[cid])
				cid = (cid + 1) % SLOTS;
			used[cid] = true;
			in_flight[n++] = cid;
			put(tail, cid, at + cid * PAGE_SIZE, 0, 8);
			tail = (tail + 1) % N;
		}
		ATF_REQUIRE_EQ(OK, ring_publish(&ring, tail, &why));
		ATF_REQUIRE_EQ(n, grant.pins);
		if (n != 0)
			ATF_REQUIRE_EQ(E_BUSY, ledger_revoke(&ledger, &grant));
		/* the device fetches all and completes some, in any order */
		take = n == 0 ? 0 : (uint32_t)rand() % (n + 1);
		for (uint32_t i = 0; i < take; i++) {
			uint32_t k = (uint32_t)rand() % n;

			ATF_REQUIRE(slot[in_flight[k]].busy);
			complete(in_flight[k], tail, 1, 0);
			used[in_flight[k]] = false;
			in_flight[k] = in_flight[--n];
		}
		ATF_REQUIRE_EQ(OK, ring_consume(&ring, cq_tail, &why));
		ATF_REQUIRE_EQ(n, grant.pins);
	}
	ATF_CHECK(ring.accepted == ring.completed + n && ring.refused == 0);
}

ATF_TC_WITHOUT_HEAD(the_device_sees_the_checked_copy_with_bus_addresses);
ATF_TC_BODY(the_device_sees_the_checked_copy_with_bus_addresses, tc)
{
	start(1);
	put(0, 3, at + 512, at + 4 * PAGE_SIZE, 15);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 1, &why));
	owner[0].prp1 = 0x1000;			/* too late */
	ATF_CHECK_EQ(BUS + 512, shadow[0].prp1);
	ATF_CHECK_EQ(BUS + 4 * PAGE_SIZE, shadow[0].prp2);
	ATF_CHECK_EQ(IO_READ | 3u << 16, shadow[0].cdw0);
}

ATF_TC_WITHOUT_HEAD(a_refused_batch_leaves_everything_as_it_was);
ATF_TC_BODY(a_refused_batch_leaves_everything_as_it_was, tc)
{
	uint64_t *list = (uint64_t *)(void *)data;

	start(1);
	put(0, 0, at, 0, 8);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 1, &why));
	for (unsigned i = 0; i < 4; i++)
		list[i] = at + i * PAGE_SIZE;
	put(1, 1, at, 0, 8);
	put(2, 2, at, at, 24);			/* with a list */
	put(3, 3, at + PAGES * PAGE_SIZE, 0, 8);	/* one page too far */
	put(4, 4, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 5, &why));
	ATF_CHECK(why.rule == RULE_WINDOW && why.entry == 3);
	ATF_CHECK(ring.tail == 1 && ring.next == 1 && grant.pins == 1 && ring.pages == SIDES &&
	    ring.refused == 1);
	ATF_CHECK(slot[0].busy && !slot[1].busy && !slot[2].busy && !slot[3].busy);
	/* the same id twice in one batch */
	put(3, 2, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 4, &why));
	ATF_CHECK(why.rule == RULE_ID_BUSY && why.entry == 3);
	put(3, 3, at, 0, 8);
	ATF_CHECK_EQ(OK, ring_publish(&ring, 5, &why));
	ATF_CHECK_EQ(5, grant.pins);
	ATF_CHECK_EQ(SIDES - 1, ring.pages);
}

ATF_TC_WITHOUT_HEAD(side_pages_are_lent_and_come_back);
ATF_TC_BODY(side_pages_are_lent_and_come_back, tc)
{
	uint64_t *list = (uint64_t *)(void *)data;

	start(1);
	for (unsigned i = 0; i < 4; i++)
		list[i] = at + i * PAGE_SIZE;
	for (uint32_t i = 0; i < SIDES; i++)
		put(i, i, at, at, 24);
	put(SIDES, SIDES, at, at, 24);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, SIDES + 1, &why));
	ATF_CHECK_EQ(RULE_LISTS, why.rule);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, SIDES, &why));
	ATF_CHECK(shadow[0].prp2 != shadow[1].prp2);
	complete(1, SIDES, 1, 0);
	ATF_REQUIRE_EQ(OK, ring_consume(&ring, 1, &why));
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, SIDES + 1, &why));
	ATF_CHECK_EQ(shadow[1].prp2, shadow[2].prp2);
}

ATF_TC_WITHOUT_HEAD(tails_and_heads_that_lie_are_refused);
ATF_TC_BODY(tails_and_heads_that_lie_are_refused, tc)
{
	start(1);
	for (uint32_t i = 0; i < N; i++)
		put(i, i % SLOTS, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, N, &why));
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, UINT32_MAX - 1, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	/* one past the end is not the start, wherever the ring stands */
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 3, &why));
	for (uint32_t i = 0; i < 3; i++)
		complete(i, 3, 1, 0);
	ATF_REQUIRE_EQ(OK, ring_consume(&ring, 3, &why));
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, N, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	start(1);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 5, &why));
	/* back, and around over what was not fetched */
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 4, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 0, &why));
	/* completions that are not there */
	ATF_CHECK_EQ(E_REFUSED, ring_consume(&ring, 1, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	ATF_CHECK_EQ(E_REFUSED, ring_consume(&ring, N, &why));
	complete(0, 2, 1, 0);
	ATF_CHECK_EQ(E_REFUSED, ring_consume(&ring, 2, &why));
	ATF_CHECK_EQ(4, grant.pins);
	/* two were fetched: five places, three in use and one empty, but the ids are what is short
	 */
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 2, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 1, &why));
	ATF_CHECK_EQ(RULE_ID_BUSY, why.rule);
}

static void
expect_fault(uint32_t cid, uint32_t head, uint32_t queue)
{
	start(1);
	put(0, 4, at, 0, 8);
	put(1, 5, at, 0, 8);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 2, &why));
	complete(cid, head, queue, 0);
	ATF_CHECK_EQ(E_CORRUPT, ring_consume(&ring, 1, &why));
	ATF_CHECK(ring.fault != NULL);
	/* Nothing more is believed or given, and what is pinned stays so, until the device was
	 * stopped. */
	ATF_CHECK_EQ(E_CORRUPT, ring_publish(&ring, 3, &why));
	ATF_CHECK_EQ(E_CORRUPT, ring_consume(&ring, 1, &why));
	ATF_CHECK_EQ(2, grant.pins);
	ring_clear(&ring);
	ATF_CHECK_EQ(0, grant.pins);
	ATF_CHECK(ring.fault == NULL && ring.tail == 0 && ring.head == 0);
	for (uint32_t i = 0; i < N; i++)
		ATF_CHECK(cq[i].status == 0);
	put(0, 4, at, 0, 8);
	ATF_CHECK_EQ(OK, ring_publish(&ring, 1, &why));
}

ATF_TC_WITHOUT_HEAD(a_device_that_lies_is_not_believed);
ATF_TC_BODY(a_device_that_lies_is_not_believed, tc)
{
	expect_fault(3, 1, 1);		/* not outstanding */
	expect_fault(SLOTS, 1, 1);
	expect_fault(0xffff, 1, 1);
	expect_fault(4, 1, 2);		/* another queue */
	expect_fault(4, 3, 1);		/* fetched what was not announced */
	expect_fault(4, N, 1);
	expect_fault(4, 0xffff, 1);
	/* twice */
	start(1);
	put(0, 4, at, 0, 8);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 1, &why));
	complete(4, 1, 1, 0);
	complete(4, 1, 1, 0);
	ATF_CHECK_EQ(E_CORRUPT, ring_consume(&ring, 2, &why));
	ATF_CHECK_EQ(0, grant.pins);
}

ATF_TC_WITHOUT_HEAD(a_stale_generation_is_neither_found_nor_pinned);
ATF_TC_BODY(a_stale_generation_is_neither_found_nor_pinned, tc)
{
	start(1);
	put(0, 0, at, 0, 8);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 1, &why));
	/* The claim ended: even a window that is still in the table pins nothing. */
	ledger_bump(&ledger, 8);
	put(1, 1, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 2, &why));
	ATF_CHECK_EQ(RULE_WINDOW, why.rule);
	ATF_CHECK_EQ(OK, ledger_revoke(&ledger, &grant));
	/* revoked and granted again at the same address: the old entry is not the new one's */
	start(1);
	window_remove(&windows, &grant, iova_base(&grant.range).v);
	put(0, 0, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 1, &why));
	ATF_CHECK_EQ(RULE_WINDOW, why.rule);
}

/* Of a run of entries the second cannot be pinned: all three end, and only their own pins. */
ATF_TC_WITHOUT_HEAD(what_cannot_be_pinned_takes_its_batch_along);
ATF_TC_BODY(what_cannot_be_pinned_takes_its_batch_along, tc)
{
	uint64_t elsewhere;

	start(1);
	publish_grant(&other, 1, DMA_BOTH);
	elsewhere = iova_base(&other.range).v;
	put(0, 0, at, 0, 8);
	ATF_REQUIRE_EQ(OK, ring_publish(&ring, 1, &why));
	ATF_REQUIRE_EQ(1, grant.pins);
	ATF_REQUIRE_EQ(OK, ledger_revoke(&ledger, &other));	/* its window is still there */
	put(1, 1, at, 0, 8);
	put(2, 2, elsewhere, 0, 8);
	put(3, 3, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 4, &why));
	ATF_CHECK_EQ(RULE_WINDOW, why.rule);
	ATF_CHECK_EQ(2, why.entry);
	ATF_CHECK_EQ(1, grant.pins);
	ATF_CHECK_EQ(0, other.pins);
	ATF_CHECK(slot[0].busy && !slot[1].busy && !slot[2].busy && !slot[3].busy);
	/* and nothing of it is in the way of others */
	put(1, 1, at, 0, 8);
	put(2, 3, at, 0, 8);
	ATF_CHECK_EQ(OK, ring_publish(&ring, 3, &why));
	ATF_CHECK_EQ(3, grant.pins);
	/* one id twice in one batch */
	put(3, 2, at, 0, 8);
	put(4, 2, at, 0, 8);
	ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 5, &why));
	ATF_CHECK_EQ(RULE_ID_BUSY, why.rule);
	ATF_CHECK_EQ(4, why.entry);
	ATF_CHECK_EQ(3, grant.pins);
}

ATF_TC_WITHOUT_HEAD(a_long_batch_is_done_in_pieces_and_taken_back_as_one);
ATF_TC_BODY(a_long_batch_is_done_in_pieces_and_taken_back_as_one, tc)
{
	uint64_t *list = (uint64_t *)(void *)(data + 599 * PAGE_SIZE);
	static struct ring_page pages[SLOTS];
	static uint8_t sides[SLOTS][PAGE_SIZE] ALIGNED(4096);
	uint32_t pieces = 0;
	enum status s;

	for (unsigned bad = 0; bad < 2; bad++) {
		start(1);
		for (unsigned i = 0; i < SLOTS; i++)
			pages[i] = (struct ring_page){ (uint64_t *)(void *)sides[i],
				SIDE + i * PAGE_SIZE };
		ring.page = pages;
		ring.pages = SLOTS;
		ring_init(&ring);
		for (unsigned i = 0; i < 512; i++)
			list[i] = at + i * PAGE_SIZE;
		for (uint32_t i = 0; i < SLOTS; i++)
			put(i, i, at, at + 599 * PAGE_SIZE, 513 * 8);
		if (bad != 0)
			owner[SLOTS - 1].prp1 = at + PAGES * PAGE_SIZE;
		for (; (s = ring_publish(&ring, SLOTS, &why)) == E_WOULD_BLOCK; pieces++)
			ATF_CHECK_EQ(0, ring.tail); /* the device is told of nothing meanwhile */
		ATF_CHECK(pieces >= 1);
		ATF_CHECK_EQ(bad != 0 ? E_REFUSED : OK, s);
		ATF_CHECK_EQ(bad != 0 ? 0 : SLOTS, grant.pins);
		ATF_CHECK_EQ(bad != 0 ? SLOTS : 0, ring.pages);
		if (bad == 0) {
			/* given up half-way */
			ring_clear(&ring);
			ATF_REQUIRE_EQ(E_WOULD_BLOCK, ring_publish(&ring, SLOTS, &why));
			ATF_CHECK(grant.pins != 0);
			ring_withdraw(&ring);
			ATF_CHECK(grant.pins == 0 && ring.pages == SLOTS && ring.next == 0);
			/* the tail may not fall behind what was accepted meanwhile */
			ATF_REQUIRE_EQ(E_WOULD_BLOCK, ring_publish(&ring, SLOTS, &why));
			ATF_REQUIRE(ring.next > 1);
			ATF_CHECK_EQ(E_REFUSED, ring_publish(&ring, 1, &why));
			ATF_CHECK_EQ(RULE_TAIL, why.rule);
			ATF_CHECK(grant.pins == 0 && ring.pages == SLOTS && ring.next == 0);
		}
	}
}

ATF_TC_WITHOUT_HEAD(answers_reach_the_owner_after_the_kernel_looked);
ATF_TC_BODY(answers_reach_the_owner_after_the_kernel_looked, tc)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_IDENTIFY | 2u << 16, .nsid = 5, .prp1 = at, .prp2 = 0 };

	for (unsigned good = 0; good < 2; good++) {
		start(0);
		memset(data, 0, 4 * PAGE_SIZE);
		e.prp1 = at + 1024;
		e.prp2 = at + 2 * PAGE_SIZE;
		owner[0] = e;
		ATF_REQUIRE_EQ(OK, ring_publish(&ring, 1, &why));
		ATF_CHECK_EQ(SIDE + (SIDES - 1) * PAGE_SIZE, shadow[0].prp1);
		memset(side[SIDES - 1], 0, PAGE_SIZE);
		side[SIDES - 1][NS_NSZE] = 7;
		side[SIDES - 1][NS_LBAF + 2] = 12;
		side[SIDES - 1][4095] = 0x5a;
		complete(2, 1, 0, good != 0 ? 0 : 2);
		ATF_REQUIRE_EQ(OK, ring_consume(&ring, 1, &why));
		ATF_CHECK_EQ(good != 0 ? 12 : 0, device.lg2[5]);
		ATF_CHECK_EQ(good != 0 ? 7 : 0, data[1024]);
		ATF_CHECK_EQ(good != 0 ? 0x5a : 0, data[2 * PAGE_SIZE + 1023]);
		ATF_CHECK_EQ(0, data[2 * PAGE_SIZE + 1024]);
		ATF_CHECK(grant.pins == 0 && ring.pages == SIDES);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, entries_go_round_and_pins_end_with_their_completions);
	ATF_TP_ADD_TC(tp, the_device_sees_the_checked_copy_with_bus_addresses);
	ATF_TP_ADD_TC(tp, a_refused_batch_leaves_everything_as_it_was);
	ATF_TP_ADD_TC(tp, side_pages_are_lent_and_come_back);
	ATF_TP_ADD_TC(tp, tails_and_heads_that_lie_are_refused);
	ATF_TP_ADD_TC(tp, a_device_that_lies_is_not_believed);
	ATF_TP_ADD_TC(tp, a_stale_generation_is_neither_found_nor_pinned);
	ATF_TP_ADD_TC(tp, what_cannot_be_pinned_takes_its_batch_along);
	ATF_TP_ADD_TC(tp, a_long_batch_is_done_in_pieces_and_taken_back_as_one);
	ATF_TP_ADD_TC(tp, answers_reach_the_owner_after_the_kernel_looked);
	return atf_no_error();
}
