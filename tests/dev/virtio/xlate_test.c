/*
 * The virtio translator against chains, honest and not.  Each verdict is followed as a device would
 * (tests/lib/virtio_reach.h), on both kinds of windows.
 *
 * LINK: dev/virtio/xlate.c kern/dma/window.c
 */
#include "tests/lib/virtio_world.h"

enum : uint16_t { NEXT = VIRTQ_DESC_F_NEXT, W = VIRTQ_DESC_F_WRITE, TABLE = VIRTQ_DESC_F_INDIRECT };
enum : uint64_t { BUS = 0x55'0000'0000 };
#define EACH_WORLD(how) for (uint64_t how = 0; how <= BUS; how += BUS)

/* A table of descriptors in the driver's memory, at a byte of the big grant. */
static void
indirect(uint64_t at, uint32_t n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	((struct virtq_desc *)(void *)(big + at))[n] =
	    (struct virtq_desc){ addr, len, flags, next };
}

ATF_TC_WITHOUT_HEAD(what_a_driver_builds_is_accepted_and_reaches_windows_only);
ATF_TC_BODY(what_a_driver_builds_is_accepted_and_reaches_windows_only, tc)
{
	EACH_WORLD(how) {
		world(how);
		/* A packet to be sent; a buffer to receive one; a request with data and status. */
		set(3, AT_OUT + 10, 1500, 0, 0);
		offer(0, 3);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		ATF_CHECK_EQ(1, touched);
		ATF_CHECK_EQ(0, chains[3].writable);
		set(4, AT_IN, 2048, W, 0);
		offer(1, 4);
		ATF_CHECK_EQ(RULE_NONE, judge(1));
		ATF_CHECK_EQ(2048, chains[4].writable);
		set(5, AT_OUT, 16, NEXT, 9);
		set(9, AT_BIG + PAGE_SIZE, PAGE_SIZE, NEXT | W, 0);
		set(0, AT_BIG, 1, W, 77);		/* next does not count in the last */
		offer(2, 5);
		ATF_CHECK_EQ(RULE_NONE, judge(2));
		ATF_CHECK_EQ(3, touched);
		ATF_CHECK_EQ(PAGE_SIZE + 1, chains[5].writable);
		ATF_CHECK_EQ(2, chains[5].grants);
		ATF_CHECK_EQ(9, chains[5].next);
		ATF_CHECK_EQ(0, chains[9].next);
		ATF_CHECK_EQ(XLATE_END, chains[0].next);
		ATF_CHECK(chains[5].side == NULL);
		/* The index wraps; so do places. */
		offer(0xffff, 3);
		ATF_CHECK_EQ(RULE_NONE, judge(0xffff));
	}
}

ATF_TC_WITHOUT_HEAD(edges_of_windows_are_exact);
ATF_TC_BODY(edges_of_windows_are_exact, tc)
{
	EACH_WORLD(how) {
		world(how);
		offer(0, 0);
		set(0, AT_OUT + SMALL * PAGE_SIZE - 100, 100, 0, 0);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		set(0, AT_OUT + SMALL * PAGE_SIZE - 100, 101, 0, 0);
		ATF_CHECK_EQ(RULE_EXTENT, judge(0));
		set(0, AT_OUT - 1, 1, 0, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(0, AT_OUT - 1, 2, 0, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(0, AT_END, 1, W, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(0, UINT64_MAX, 1, 0, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(0, UINT64_MAX - 3, 16, 0, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(0, AT_BIG, UINT32_MAX, 0, 0);
		ATF_CHECK(judge(0) != RULE_NONE);
		set(0, 0, 16, 0, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(0, AT_BIG, 0, 0, 0);
		ATF_CHECK_EQ(RULE_FIELD, judge(0));
	}
	/* No grants, no windows. */
	world(0);
	window_place(&table, array, 0);
	table.live.count = 0;
	set(0, AT_OUT, 16, 0, 0);
	ATF_CHECK_EQ(RULE_WINDOW, judge(0));
}

ATF_TC_WITHOUT_HEAD(directions_are_the_windows);
ATF_TC_BODY(directions_are_the_windows, tc)
{
	EACH_WORLD(how) {
		world(how);
		offer(0, 0);
		set(0, AT_OUT, 16, W, 0);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(0));
		set(0, AT_IN, 16, 0, 0);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(0));
		set(0, AT_BIG, 16, W | NEXT, 1);	/* read after written */
		set(1, AT_BIG, 16, 0, 0);
		ATF_CHECK_EQ(RULE_SHAPE, judge(0));
		/* ... over the edge of a window into one of another direction */
		table = (struct window_table){ 0 };
		window_place(&table, array, ARRAY_SIZE(array));
		add(AT_BIG, big, 2, DMA_BOTH, &grant_big);
		add(AT_BIG + 2 * PAGE_SIZE, big, 2, DMA_TO_DEVICE, &grant_out);
		set(0, AT_BIG + 2 * PAGE_SIZE - 8, 16, 0, 0);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		set(0, AT_BIG + 2 * PAGE_SIZE - 8, 16, W, 0);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(0));
	}
}

ATF_TC_WITHOUT_HEAD(loops_and_indices_out_of_range_are_refused);
ATF_TC_BODY(loops_and_indices_out_of_range_are_refused, tc)
{
	EACH_WORLD(how) {
		world(how);
		offer(0, 0);
		set(0, AT_OUT, 16, NEXT, 0);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		set(0, AT_OUT, 16, NEXT, 1);
		set(1, AT_OUT, 16, NEXT, 2);
		set(2, AT_OUT, 16, NEXT, 1);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		set(2, AT_OUT, 16, NEXT, N);
		ATF_CHECK_EQ(RULE_ID, judge(0));
		set(2, AT_OUT, 16, NEXT, 0xffff);
		ATF_CHECK_EQ(RULE_ID, judge(0));
		offer(0, N);
		ATF_CHECK_EQ(RULE_ID, judge(0));
		offer(0, 0xffff);
		ATF_CHECK_EQ(RULE_ID, judge(0));
		/* All places in one chain are no loop. */
		for (uint16_t i = 0; i < N; i++)
			set(i, AT_OUT + 16 * i, 16, i + 1 < N ? NEXT : 0, (uint16_t)(i + 1));
		offer(0, 0);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		ATF_CHECK_EQ(N, touched);
		/* Places that are out: as a head, and within a chain. */
		world(how);
		set(0, AT_OUT, 16, NEXT, 5);
		set(5, AT_OUT, 16, 0, 0);
		offer(0, 0);
		ATF_REQUIRE_EQ(RULE_NONE, judge(0));
		keep_out(0);
		offer(1, 0);
		ATF_CHECK_EQ(RULE_ID_BUSY, judge(1));
		offer(1, 5);
		ATF_CHECK_EQ(RULE_ID_BUSY, judge(1));
		set(1, AT_OUT, 16, NEXT, 5);
		offer(1, 1);
		ATF_CHECK_EQ(RULE_ID_BUSY, judge(1));
	}
}

ATF_TC_WITHOUT_HEAD(flags_that_we_do_not_know_are_refused);
ATF_TC_BODY(flags_that_we_do_not_know_are_refused, tc)
{
	world(0);
	offer(0, 0);
	for (unsigned bit = 3; bit < 16; bit++) {
		set(0, AT_BIG, 16, (uint16_t)(1u << bit), 0);
		ATF_CHECK_EQ(RULE_FIELD, judge(0));
		indirect(0, 0, AT_OUT, 16, (uint16_t)(1u << bit), 0);
		set(0, AT_BIG, 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_FIELD, judge(0));
	}
}

ATF_TC_WITHOUT_HEAD(tables_are_copied_once_and_never_chained);
ATF_TC_BODY(tables_are_copied_once_and_never_chained, tc)
{
	EACH_WORLD(how) {
		world(how);
		offer(0, 7);
		indirect(64, 0, AT_OUT, 16, NEXT, 2);
		indirect(64, 2, AT_BIG + 512, 512, W | NEXT, 1);
		indirect(64, 1, AT_IN, 1, W, 99);
		set(7, AT_BIG + 64, 3 * 16, TABLE, 0xabc);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		ATF_CHECK_EQ(3, touched);
		ATF_CHECK_EQ(513, chains[7].writable);
		ATF_CHECK(chains[7].side == side);
		ATF_CHECK_EQ(XLATE_END, chains[7].next);
		/* What the driver changes afterwards makes no difference. */
		indirect(64, 0, 0xdead000, 16, NEXT, 2);
		touched = 0;
		ATF_CHECK_EQ(513, reach_chain(AT_SHADOW, N, 7, true));
		ATF_CHECK_EQ(3, touched);
		indirect(64, 0, AT_OUT, 16, NEXT, 2);

		/* A table of one needs no table. */
		indirect(0, 0, AT_OUT, 16, 0, 0);
		set(7, AT_BIG, 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		ATF_CHECK(chains[7].side == NULL);

		set(7, AT_BIG + 64, 3 * 16, TABLE | NEXT, 8);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		set(7, AT_BIG + 64, 3 * 16, TABLE | W, 0);
		ATF_CHECK_EQ(RULE_FIELD, judge(0));
		set(7, AT_BIG + 64, 3 * 16 - 1, TABLE, 0);
		ATF_CHECK_EQ(RULE_FIELD, judge(0));
		set(7, AT_BIG + 64, 0, TABLE, 0);
		ATF_CHECK_EQ(RULE_FIELD, judge(0));
		set(7, AT_BIG + 64, 2 * 16, TABLE, 0);		/* its chain leaves it */
		ATF_CHECK_EQ(RULE_ID, judge(0));
		set(7, AT_BIG + 68, 3 * 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_ALIGN, judge(0));
		set(7, AT_BIG + 64, (XLATE_PIECES_MAX + 1) * 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		set(7, AT_IN, 3 * 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_DIRECTION, judge(0));
		set(7, AT_END, 3 * 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_WINDOW, judge(0));
		set(7, AT_OUT + SMALL * PAGE_SIZE - 16, 2 * 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_EXTENT, judge(0));
		/* A table in a table; a loop; within a chain; without the feature. */
		indirect(256, 0, AT_BIG + 64, 3 * 16, TABLE, 0);
		set(7, AT_BIG + 256, 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		indirect(256, 0, AT_OUT, 16, NEXT, 1);
		indirect(256, 1, AT_OUT, 16, NEXT, 0);
		set(7, AT_BIG + 256, 32, TABLE, 0);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		set(7, AT_OUT, 16, NEXT, 8);
		set(8, AT_BIG + 64, 3 * 16, TABLE, 0);
		ATF_CHECK_EQ(RULE_CHAIN, judge(0));
		set(7, AT_BIG + 64, 3 * 16, TABLE, 0);
		device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1;
		ATF_CHECK_EQ(RULE_FEATURE, judge(0));
		device.fact[FACT_FEATURES] |= VIRTIO_F_INDIRECT_DESC;
		queue.spare = NULL;
		ATF_CHECK_EQ(RULE_LISTS, judge(0));
	}
}

ATF_TC_WITHOUT_HEAD(buffers_that_are_not_contiguous_go_in_pieces);
ATF_TC_BODY(buffers_that_are_not_contiguous_go_in_pieces, tc)
{
	world(BUS);
	offer(0, 2);
	set(2, AT_BIG + 100, 3 * PAGE_SIZE, W, 0);
	ATF_CHECK_EQ(RULE_NONE, judge(0));
	ATF_CHECK_EQ(4, touched);
	ATF_CHECK_EQ(3 * PAGE_SIZE, touched_bytes);
	ATF_CHECK_EQ(3 * PAGE_SIZE, chains[2].writable);
	ATF_CHECK(chains[2].side == side);
	ATF_CHECK_EQ(1, chains[2].grants);
	/* As many as a side table holds, and one more. */
	set(2, AT_BIG, XLATE_PIECES_MAX * PAGE_SIZE, 0, 0);
	ATF_CHECK_EQ(RULE_NONE, judge(0));
	ATF_CHECK_EQ(XLATE_PIECES_MAX, touched);
	set(2, AT_BIG, XLATE_PIECES_MAX * PAGE_SIZE + 1, 0, 0);
	ATF_CHECK_EQ(RULE_CHAIN, judge(0));
	/* Without tables there is no way to say it. */
	device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1;
	set(2, AT_BIG + 100, 3 * PAGE_SIZE, W, 0);
	ATF_CHECK_EQ(RULE_EXTENT, judge(0));
	set(2, AT_BIG + 100, PAGE_SIZE - 100, W, 0);
	ATF_CHECK_EQ(RULE_NONE, judge(0));
	/* ... but by the kernel's own word. */
	device.fact[FACT_TABLES] = VIRTIO_F_INDIRECT_DESC;
	set(2, AT_BIG + 100, 3 * PAGE_SIZE, W, 0);
	ATF_CHECK_EQ(RULE_NONE, virtio_split.judge(&queue, 0, &verdict));
	ATF_CHECK_EQ(3 * PAGE_SIZE, reach_chain(AT_SHADOW, N, 2, true));
	set(2, AT_BIG, 16, VIRTQ_DESC_F_INDIRECT, 0);
	ATF_CHECK_EQ(RULE_FEATURE, virtio_split.judge(&queue, 0, &verdict));
	/* Windows that only the kernel sees apart are one piece. */
	world(0);
	table = (struct window_table){ 0 };
	window_place(&table, array, ARRAY_SIZE(array));
	for (uint64_t i = 0; i < 4; i++)
		add(AT_BIG + i * PAGE_SIZE, big + (3 - i) * PAGE_SIZE, 1, DMA_BOTH,
		    i < 2 ? &grant_big : &grant_in);
	set(0, AT_BIG + 100, 3 * PAGE_SIZE, W, 0);
	offer(0, 0);
	device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1;
	ATF_CHECK_EQ(RULE_NONE, virtio_split.judge(&queue, 0, &verdict));
	ATF_CHECK_EQ(2, chains[0].grants);
	ATF_CHECK(chains[0].side == NULL);
	/* Behind a unit it is one piece. */
	world(0);
	set(2, AT_BIG + 100, 3 * PAGE_SIZE, W, 0);
	offer(0, 2);
	ATF_CHECK_EQ(RULE_NONE, judge(0));
	ATF_CHECK_EQ(1, touched);
}

ATF_TC_WITHOUT_HEAD(a_chain_names_a_bounded_number_of_grants);
ATF_TC_BODY(a_chain_names_a_bounded_number_of_grants, tc)
{
	static char grant[XLATE_GRANTS_MAX + 1];

	EACH_WORLD(how) {
		world(how);
		table = (struct window_table){ 0 };
		window_place(&table, array, ARRAY_SIZE(array));
		for (uint32_t i = 0; i <= XLATE_GRANTS_MAX; i++) {
			add(AT_BIG + i * 2 * PAGE_SIZE, big, 1, DMA_BOTH, &grant[i]);
			set(i, AT_BIG + i * 2 * PAGE_SIZE, 16, NEXT, (uint16_t)(i + 1));
		}
		set(XLATE_GRANTS_MAX - 1, AT_BIG + (XLATE_GRANTS_MAX - 1) * 2 * PAGE_SIZE, 16, 0,
		    0);
		offer(0, 0);
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		ATF_CHECK_EQ(XLATE_GRANTS_MAX, chains[0].grants);
		set(XLATE_GRANTS_MAX - 1, AT_BIG + (XLATE_GRANTS_MAX - 1) * 2 * PAGE_SIZE, 16,
		    NEXT, XLATE_GRANTS_MAX);
		set(XLATE_GRANTS_MAX, AT_BIG + XLATE_GRANTS_MAX * 2 * PAGE_SIZE, 16, 0, 0);
		ATF_CHECK_EQ(RULE_GRANTS, judge(0));
		/* One grant again and again is one. */
		for (uint32_t i = 0; i <= XLATE_GRANTS_MAX; i++)
			set(i, AT_BIG + i % 2 * 2 * PAGE_SIZE, 16, i < XLATE_GRANTS_MAX ? NEXT : 0,
			    (uint16_t)(i + 1));
		ATF_CHECK_EQ(RULE_NONE, judge(0));
		ATF_CHECK_EQ(2, chains[0].grants);
	}
}

ATF_TC_WITHOUT_HEAD(one_flipped_address_bit_is_refused);
ATF_TC_BODY(one_flipped_address_bit_is_refused, tc)
{
	EACH_WORLD(how) {
		world(how);
		offer(0, 0);
		/* Bits within the windows lead to other bytes of them: those above do not. */
		for (unsigned bit = 20; bit < 64; bit++) {
			set(0, AT_OUT ^ 1ull << bit, 16, 0, 0);
			ATF_CHECK_EQ_MSG(RULE_WINDOW, judge(0), "bit %u", bit);
		}
	}
}

ATF_TC_WITHOUT_HEAD(anything_at_all_reaches_windows_only);
ATF_TC_BODY(anything_at_all_reaches_windows_only, tc)
{
	uint32_t accepted = 0;

	srand(7);
	EACH_WORLD(how)
		for (uint32_t round = 0; round < 60000; round++) {
			world(how);
			if ((rand() & 3) == 0)
				device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1;
			for (uint32_t i = 0; i < N; i++) {
				uint64_t base = (rand() & 1) != 0 ? AT_BIG : AT_OUT;
				uint32_t at = (uint32_t)rand() % (8 * PAGE_SIZE);

				set(i, base + at,
				    (rand() & 15) == 0 ? 48 : (uint32_t)rand() % (2 * PAGE_SIZE),
				    (uint16_t)(rand() & ((rand() & 7) == 0 ? 7 : 3)),
				    (uint16_t)(rand() % (N + 1)));
				if ((rand() & 7) == 0)
					desc(i)->addr = align_down(desc(i)->addr, 16);
				indirect(16 * i, 0, AT_BIG + at, 1 + at % 5000,
				    (uint16_t)(rand() & 3), (uint16_t)(rand() % 4));
				chains[i].busy = (rand() & 15) == 0;
			}
			offer(0, (uint16_t)(rand() % (N + 1)));
			accepted += judge(0) == RULE_NONE;
		}
	ATF_CHECK_MSG(accepted > 5000, "%u", accepted);
}

/* ---- Rings ---- */

static uint16_t
half(const uint8_t *ring, uint32_t at)
{
	uint16_t v;

	memcpy(&v, ring + at, 2);
	return v;
}

static void
set_half(uint8_t *ring, uint32_t at, uint16_t v)
{
	memcpy(ring + at, &v, 2);
}

ATF_TC_WITHOUT_HEAD(flags_and_events_are_carried_across);
ATF_TC_BODY(flags_and_events_are_carried_across, tc)
{
	uint32_t avail = vring_avail(N);

	world(0);
	/* Without events: the flag, and the device's flag decides. */
	set_half(owner, avail + VIRTQ_FLAGS, 0xffff);
	set_half(owner, vring_used_event(N), 0x1234);
	ATF_CHECK(virtio_split.announce(&queue, 0, 1));
	ATF_CHECK_EQ(VIRTQ_AVAIL_F_NO_INTERRUPT, half(shadow, avail + VIRTQ_FLAGS));
	ATF_CHECK_EQ(0, half(shadow, vring_used_event(N)));
	ATF_CHECK_EQ(1, half(shadow, avail + VIRTQ_IDX));
	set_half(used_ring, VIRTQ_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
	ATF_CHECK(!virtio_split.announce(&queue, 1, 2));
	set_half(used_ring, VIRTQ_FLAGS, 0);
	ATF_CHECK(!virtio_split.announce(&queue, 2, 2));
	/* With events: the index, and the device's index decides. */
	device.fact[FACT_FEATURES] |= VIRTIO_F_EVENT_IDX;
	set_half(used_ring, vring_avail_event(N), 5);
	ATF_CHECK(!virtio_split.announce(&queue, 2, 5));
	ATF_CHECK_EQ(0, half(shadow, avail + VIRTQ_FLAGS));
	ATF_CHECK_EQ(0x1234, half(shadow, vring_used_event(N)));
	ATF_CHECK(virtio_split.announce(&queue, 5, 6));
	ATF_CHECK(!virtio_split.announce(&queue, 6, 8));
	ATF_CHECK_EQ(8, half(shadow, avail + VIRTQ_IDX));
}

ATF_TC_WITHOUT_HEAD(used_entries_are_read_where_the_manual_has_them);
ATF_TC_BODY(used_entries_are_read_where_the_manual_has_them, tc)
{
	struct virtq_used_elem e = { 0x1'0003, 77 };
	uint32_t head, bytes;

	world(0);
	set_half(used_ring, VIRTQ_IDX, 0xfffe);
	memcpy(used_ring + 4 + 8 * (21 % N), &e, sizeof(e));
	ATF_CHECK_EQ(0xfffe, virtio_split.used_idx(&queue));
	virtio_split.used(&queue, 21, &head, &bytes);
	ATF_CHECK_EQ(0x1'0003, head);
	ATF_CHECK_EQ(77, bytes);
	ATF_CHECK_EQ(16 * N + 6 + 2 * N, virtio_split.owner_bytes(N));
	ATF_CHECK_EQ(6 + 8 * N, virtio_split.used_bytes(N));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_a_driver_builds_is_accepted_and_reaches_windows_only);
	ATF_TP_ADD_TC(tp, edges_of_windows_are_exact);
	ATF_TP_ADD_TC(tp, directions_are_the_windows);
	ATF_TP_ADD_TC(tp, loops_and_indices_out_of_range_are_refused);
	ATF_TP_ADD_TC(tp, flags_that_we_do_not_know_are_refused);
	ATF_TP_ADD_TC(tp, tables_are_copied_once_and_never_chained);
	ATF_TP_ADD_TC(tp, buffers_that_are_not_contiguous_go_in_pieces);
	ATF_TP_ADD_TC(tp, a_chain_names_a_bounded_number_of_grants);
	ATF_TP_ADD_TC(tp, one_flipped_address_bit_is_refused);
	ATF_TP_ADD_TC(tp, anything_at_all_reaches_windows_only);
	ATF_TP_ADD_TC(tp, flags_and_events_are_carried_across);
	ATF_TP_ADD_TC(tp, used_entries_are_read_where_the_manual_has_them);
	return atf_no_error();
}
