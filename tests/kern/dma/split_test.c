/*
 * Checked split queues, with a class, a ledger and windows as they are; the device and the driver
 * are played by hand, honest and not.
 *
 * LINK: kern/dma/split.c kern/dma/window.c kern/dma/ledger.c kern/dma/iova.c
 * LINK: kern/base/itree.c dev/virtio/xlate.c
 * LINK: tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/vring.h"
#include "dev/virtio/xlate.h"
#include "dev/virtio/xlate_parts.h"
#include "kern/dma/split.h"
#include "kern/dma/window.h"

enum { N = 8, TABLES = 2, PAGES = 64 };
enum : uint64_t { SIDE = 0x7000000, BUS = 0x55'0000'0000 };

static struct iova_space space;
static struct iova_range cool[64];
static struct ledger ledger;
static struct ledger_entry grant;
static struct xlate_window array[PAGES];
static struct window_table windows;
static struct xlate_device device;
static struct xlate_chain chains[N];
static struct ring_page tables[TABLES];
static uint16_t heads[N];
static uint8_t owner[PAGE_SIZE] ALIGNED(16), shadow[PAGE_SIZE] ALIGNED(16),
    used_ring[PAGE_SIZE] ALIGNED(16), side[TABLES][16 * XLATE_PIECES_MAX] ALIGNED(16),
    data[PAGES * PAGE_SIZE] ALIGNED(4096);
static struct split_ring ring;
static struct ring_refusal why;
static bool notify;
static uint64_t at;
static uint16_t used_tail;		/* the device's */

static void
start(void)
{
	struct ledger_grant g = { .owner = &space,
		.memory = &cool,
		.len = PAGES * PAGE_SIZE,
		.generation = 7,
		.dir = DMA_BOTH };

	ATF_REQUIRE_EQ(
	    OK, iova_init(&space, 4 * GIB, 8 * GIB, PAGE_SIZE, UINT64_MAX, cool, sizeof(cool)));
	ledger_init(&ledger, &space, 7);
	memset(&grant, 0, sizeof(grant));
	memset(&device, 0, sizeof(device));
	memset(chains, 0, sizeof(chains));
	memset(owner, 0, sizeof(owner));
	memset(shadow, 0xff, sizeof(shadow));
	memset(used_ring, 0xff, sizeof(used_ring));
	windows = (struct window_table){ 0 };
	window_place(&windows, array, ARRAY_SIZE(array));
	ATF_REQUIRE_EQ(OK, ledger_reserve(&ledger, &grant, &g));
	ledger_mapped(&ledger, &grant);
	ledger_publish(&ledger, &grant);
	at = iova_base(&grant.range).v;
	/* Pages change places: nothing is contiguous for the device. */
	for (uint64_t i = 0; i < PAGES; i++) {
		struct xlate_window w = { .first = at + i * PAGE_SIZE,
			.last = at + i * PAGE_SIZE + PAGE_SIZE - 1,
			.delta = BUS + (i ^ 1) * PAGE_SIZE - (at + i * PAGE_SIZE),
			.cpu = (uint64_t)(uintptr_t)data - at,
			.grant = &grant,
			.dir = DMA_BOTH };

		ATF_REQUIRE_EQ(OK, window_add(&windows, &w));
	}
	device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
	for (unsigned i = 0; i < TABLES; i++)
		tables[i] = (struct ring_page){ (uint64_t *)(void *)side[i],
			SIDE + i * sizeof(side[0]) };
	ring = (struct split_ring){ .class = &virtio_split,
		.ledger = &ledger,
		.table = tables,
		.tables = TABLES,
		.head = heads,
		.q = { .device = &device,
		    .windows = &windows.live,
		    .id = 1,
		    .entries = N,
		    .owner = owner,
		    .shadow = shadow,
		    .used = used_ring,
		    .chain = chains } };
	split_init(&ring);
	used_tail = 0;
}

/* The driver: a descriptor, and an entry that names a chain. */
static void
set(uint32_t n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	((struct virtq_desc *)(void *)owner)[n] = (struct virtq_desc){ addr, len, flags, next };
}

static void
offer(uint16_t idx, uint16_t head)
{
	memcpy(owner + vring_avail_entry(N, idx), &head, 2);
}

/* The device: it is done with a chain. */
static void
done(uint32_t head, uint32_t bytes)
{
	struct virtq_used_elem e = { head, bytes };

	memcpy(used_ring + vring_used_entry(N, used_tail), &e, sizeof(e));
	used_tail++;
	memcpy(used_ring + VIRTQ_IDX, &used_tail, 2);
}

static uint16_t
announced(void)
{
	uint16_t v;

	memcpy(&v, shadow + vring_avail(N) + VIRTQ_IDX, 2);
	return v;
}

static uint32_t
busy_places(void)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < N; i++)
		n += chains[i].busy;
	return n;
}

ATF_TC_WITHOUT_HEAD(chains_go_round_and_pins_end_with_their_used_entries);
ATF_TC_BODY(chains_go_round_and_pins_end_with_their_used_entries, tc)
{
	uint16_t avail = 0xff00, in_flight[N];
	uint32_t n = 0;
	bool out[N] = { false };

	start();
	/* Indices of both wrap on the way. */
	ring.shown = ring.next = ring.used = used_tail = avail;
	srand(3);
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t want = (uint32_t)rand() % (N - n + 1), take;

		for (uint32_t i = 0; i < want; i++) {
			uint16_t head = (uint16_t)(rand() % N);

			while (out[head])
				head = (uint16_t)((head + 1) % N);
			out[head] = true;
			in_flight[n++] = head;
			/* One in four is not contiguous; there are tables for two. */
			set(head, at + head * PAGE_SIZE + 100,
			    ring.tables > i && rand() % 4 == 0 ? PAGE_SIZE : 64,
			    VIRTQ_DESC_F_WRITE, 0);
			offer(avail++, head);
		}
		ATF_REQUIRE_EQ(OK, split_publish(&ring, avail, &notify, &why));
		ATF_REQUIRE_EQ(avail, announced());
		ATF_REQUIRE_EQ(want != 0, notify);
		ATF_REQUIRE_EQ(n, grant.pins);
		ATF_REQUIRE_EQ(n, ring.out);
		ATF_REQUIRE_EQ(n, busy_places());
		if (n != 0)
			ATF_REQUIRE_EQ(E_BUSY, ledger_revoke(&ledger, &grant));
		take = n == 0 ? 0 : (uint32_t)rand() % (n + 1);
		for (uint32_t i = 0; i < take; i++) {
			uint32_t k = (uint32_t)rand() % n;

			done(in_flight[k], (uint32_t)rand() % 65);
			out[in_flight[k]] = false;
			in_flight[k] = in_flight[--n];
		}
		ATF_REQUIRE_EQ(OK, split_consume(&ring, used_tail, &why));
		ATF_REQUIRE_EQ(n, grant.pins);
	}
	ATF_CHECK_EQ(ring.completed + n, ring.accepted);
	split_clear(&ring);
	ATF_CHECK_EQ(0, grant.pins);
	ATF_CHECK_EQ(TABLES, ring.tables);
	ATF_CHECK_EQ(OK, ledger_revoke(&ledger, &grant));
}

ATF_TC_WITHOUT_HEAD(a_refused_batch_is_taken_back_as_a_whole);
ATF_TC_BODY(a_refused_batch_is_taken_back_as_a_whole, tc)
{
	start();
	set(0, at, 64, 0, 0);
	set(1, at, 2 * PAGE_SIZE, 0, 0);		/* takes a table */
	set(2, at - 1, 64, 0, 0);			/* in no window */
	for (uint16_t i = 0; i < 3; i++)
		offer(i, i);
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, 3, &notify, &why));
	ATF_CHECK_EQ(RULE_WINDOW, why.rule);
	ATF_CHECK_EQ(2, why.entry);
	ATF_CHECK(!notify);
	ATF_CHECK_EQ(0, announced());
	ATF_CHECK_EQ(0, grant.pins);
	ATF_CHECK_EQ(0, ring.out);
	ATF_CHECK_EQ(0, busy_places());
	ATF_CHECK_EQ(TABLES, ring.tables);
	ATF_CHECK_EQ(1, ring.refused);
	/* Mended, it goes. */
	set(2, at, 64, 0, 0);
	ATF_CHECK_EQ(OK, split_publish(&ring, 3, &notify, &why));
	ATF_CHECK_EQ(3, announced());
	ATF_CHECK_EQ(3, grant.pins);
	ATF_CHECK_EQ(TABLES - 1, ring.tables);
	/* One head twice in a batch is out the second time. */
	set(3, at, 64, 0, 0);
	offer(3, 3);
	offer(4, 3);
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, 5, &notify, &why));
	ATF_CHECK_EQ(RULE_ID_BUSY, why.rule);
	ATF_CHECK_EQ(3, grant.pins);
}

ATF_TC_WITHOUT_HEAD(indices_that_name_what_is_not_there_are_refused);
ATF_TC_BODY(indices_that_name_what_is_not_there_are_refused, tc)
{
	start();
	for (uint16_t i = 0; i < N; i++) {
		set(i, at, 64, 0, 0);
		offer(i, i);
	}
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, N + 1, &notify, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, 0xffff, &notify, &why));
	ATF_CHECK_EQ(OK, split_publish(&ring, N, &notify, &why));
	/* All places are out: none is left, and the index does not go back. */
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, N + 1, &notify, &why));
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, N - 1, &notify, &why));
	ATF_CHECK_EQ(N, announced());
	/* The driver says that it saw more than the device used. */
	done(0, 0);
	ATF_CHECK_EQ(E_REFUSED, split_consume(&ring, 2, &why));
	ATF_CHECK_EQ(RULE_TAIL, why.rule);
	ATF_CHECK_EQ(E_REFUSED, split_consume(&ring, 0xffff, &why));
	ATF_CHECK_EQ(N, grant.pins);
	ATF_CHECK_EQ(OK, split_consume(&ring, 1, &why));
	ATF_CHECK_EQ(N - 1, grant.pins);
	ATF_CHECK(ring.fault == NULL);
}

/* A device that lies: the belief in the queue ends, nothing is unpinned, until it was stopped. */
static void
lies(uint32_t head, uint32_t bytes, uint16_t extra, const char *text)
{
	start();
	set(0, at, 64, VIRTQ_DESC_F_NEXT, 1);
	set(1, at, 64, VIRTQ_DESC_F_WRITE, 0);
	set(2, at, 64, 0, 0);
	offer(0, 0);
	offer(1, 2);
	ATF_REQUIRE_EQ(OK, split_publish(&ring, 2, &notify, &why));
	done(head, bytes);
	used_tail = (uint16_t)(used_tail + extra);
	memcpy(used_ring + VIRTQ_IDX, &used_tail, 2);
	ATF_CHECK_EQ(E_CORRUPT, split_consume(&ring, 1, &why));
	ATF_REQUIRE(ring.fault != NULL);
	ATF_CHECK_STREQ(text, ring.fault);
	ATF_CHECK_EQ(2, grant.pins);
	ATF_CHECK_EQ(E_CORRUPT, split_publish(&ring, 2, &notify, &why));
	ATF_CHECK_EQ(E_CORRUPT, split_consume(&ring, 1, &why));
	split_clear(&ring);
	ATF_CHECK_EQ(0, grant.pins);
	ATF_CHECK_EQ(0, announced());
	ATF_CHECK_EQ(OK, split_publish(&ring, 2, &notify, &why));
}

ATF_TC_WITHOUT_HEAD(a_lying_device_frees_nothing);
ATF_TC_BODY(a_lying_device_frees_nothing, tc)
{
	const char *nothing = "a used entry names nothing outstanding";
	const char *more = "a used entry says that more was written than could be";

	lies(1, 0, 0, nothing);		/* within a chain */
	lies(3, 0, 0, nothing);
	lies(N, 0, 0, nothing);
	lies(UINT32_MAX, 0, 0, nothing);
	lies(0x10000, 0, 0, nothing);
	lies(0, 65, 0, more);
	lies(2, 1, 0, more);
	lies(0, UINT32_MAX, 0, more);
	lies(0, 0, 2, "more used entries than there were buffers");
	/* One head twice. */
	start();
	set(0, at, 64, 0, 0);
	set(2, at, 64, 0, 0);
	offer(0, 0);
	offer(1, 2);
	ATF_REQUIRE_EQ(OK, split_publish(&ring, 2, &notify, &why));
	done(0, 0);
	done(0, 0);
	ATF_CHECK_EQ(E_CORRUPT, split_consume(&ring, 2, &why));
	ATF_CHECK_EQ(1, grant.pins);
}

ATF_TC_WITHOUT_HEAD(what_was_revoked_is_not_pinned_again);
ATF_TC_BODY(what_was_revoked_is_not_pinned_again, tc)
{
	start();
	ATF_REQUIRE_EQ(OK, ledger_revoke(&ledger, &grant));
	/* Its windows are there still, as between two steps of a revocation. */
	set(0, at, 2 * PAGE_SIZE, 0, 0);
	offer(0, 0);
	ATF_CHECK_EQ(E_REFUSED, split_publish(&ring, 1, &notify, &why));
	ATF_CHECK_EQ(RULE_WINDOW, why.rule);
	ATF_CHECK_EQ(TABLES, ring.tables);
	ATF_CHECK_EQ(0, ring.out);
	ATF_CHECK_EQ(0, busy_places());
}

ATF_TC_WITHOUT_HEAD(a_queue_begins_anew_with_nothing_in_it);
ATF_TC_BODY(a_queue_begins_anew_with_nothing_in_it, tc)
{
	start();
	for (uint32_t i = 0; i < vring_driver_bytes(N); i++)
		ATF_REQUIRE_EQ(0, shadow[i]);
	for (uint32_t i = 0; i < vring_device_bytes(N); i++)
		ATF_REQUIRE_EQ(0, used_ring[i]);
	ATF_CHECK_EQ(0xff, shadow[vring_driver_bytes(N)]);
	/* Flags go to the device without an entry, too. */
	owner[vring_avail(N)] = 1;
	ATF_CHECK_EQ(OK, split_publish(&ring, 0, &notify, &why));
	ATF_CHECK_EQ(1, shadow[vring_avail(N)]);
	ATF_CHECK(!notify);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, chains_go_round_and_pins_end_with_their_used_entries);
	ATF_TP_ADD_TC(tp, a_refused_batch_is_taken_back_as_a_whole);
	ATF_TP_ADD_TC(tp, indices_that_name_what_is_not_there_are_refused);
	ATF_TP_ADD_TC(tp, a_lying_device_frees_nothing);
	ATF_TP_ADD_TC(tp, what_was_revoked_is_not_pinned_again);
	ATF_TP_ADD_TC(tp, a_queue_begins_anew_with_nothing_in_it);
	return atf_no_error();
}
