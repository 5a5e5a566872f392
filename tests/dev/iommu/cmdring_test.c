/*
 * The command ring against a device that reads it through its own view of memory, only up to the
 * index it was shown, and takes its time.
 */
/* LINK: dev/iommu/cmdring.c kern/base/fmt.c tests/lib/fake_kernel.c tests/lib/fake_panic.c */
#include <atf-c.h>

#include "dev/iommu/cmdring.h"
#include "kern/base/bits.h"
#include "tests/lib/fake_kernel.h"

enum : uint64_t { SYNC = 0x46 };

static struct cmdring ring;
static uint64_t slots_pa;

static void
start(uint32_t lg2, enum cmdring_style style, struct fake_setup setup)
{
	struct paddr p;

	fake_kernel_init(&setup);
	ATF_REQUIRE_EQ(frame_alloc(lg2 > 8 ? lg2 - 8 : 0, FRAME_IOMMU, FRAME_ZERO, &p), OK);
	slots_pa = p.v;
	cmdring_init(&ring, frame_ptr(p), lg2, style, !setup.not_coherent);
}

static bool
past(struct iommu_ticket t)
{
	return cmdring_past(&ring, t);
}

ATF_TC_WITHOUT_HEAD(a_sync_always_finds_room);
ATF_TC_BODY(a_sync_always_finds_room, tc)
{
	start(3, CMDRING_WRAP, (struct fake_setup){ 0 });
	ATF_CHECK_EQ(cmdring_room(&ring), 7);
	for (unsigned i = 0; i < 7; i++)
		cmdring_put(&ring, i, 0);
	ATF_CHECK_EQ(cmdring_room(&ring), 0);
	cmdring_sync(&ring, SYNC, 0);
	ATF_CHECK_EQ(ring.tail, 8);
	ATF_CHECK_EQ(cmdring_room(&ring), 0);

	start(3, CMDRING_PLAIN, (struct fake_setup){ 0 });
	ATF_CHECK_EQ(cmdring_room(&ring), 6);
}

ATF_TC_WITHOUT_HEAD(commands_share_the_ticket_of_the_sync_that_closes_them);
ATF_TC_BODY(commands_share_the_ticket_of_the_sync_that_closes_them, tc)
{
	struct iommu_ticket a, b, c;
	uint32_t producer;

	start(4, CMDRING_WRAP, (struct fake_setup){ 0 });
	ATF_CHECK(past((struct iommu_ticket){ 0 }));
	ATF_CHECK(past(cmdring_ticket(&ring)));		/* nothing was ever put */
	cmdring_put(&ring, 1, 0);
	a = cmdring_ticket(&ring);
	cmdring_put(&ring, 2, 0);
	b = cmdring_ticket(&ring);
	ATF_CHECK_EQ(a.seq, b.seq);
	ATF_CHECK(!past(a));
	cmdring_sync(&ring, SYNC, 0);
	cmdring_sync(&ring, SYNC, 0);			/* no batch open: nothing */
	ATF_CHECK_EQ(ring.tail, 3);
	ATF_CHECK_EQ(cmdring_ticket(&ring).seq, a.seq);
	cmdring_put(&ring, 3, 0);
	c = cmdring_ticket(&ring);
	ATF_CHECK_EQ(c.seq, a.seq + 1);
	ATF_REQUIRE(cmdring_show(&ring, &producer));
	ATF_CHECK_EQ(producer, 4);
	ATF_CHECK(!cmdring_show(&ring, &producer));
	ATF_REQUIRE(cmdring_consumed(&ring, 2));
	ATF_CHECK(!past(a));
	ATF_REQUIRE(cmdring_consumed(&ring, 3));
	ATF_CHECK(past(a));
	ATF_CHECK(!past(c));
	ATF_REQUIRE(cmdring_consumed(&ring, 4));
	ATF_CHECK(!past(c));				/* consumed, but not synced */
}

ATF_TC_WITHOUT_HEAD(an_impossible_index_is_refused);
ATF_TC_BODY(an_impossible_index_is_refused, tc)
{
	uint32_t producer;

	start(3, CMDRING_WRAP, (struct fake_setup){ 0 });
	ATF_CHECK(cmdring_consumed(&ring, 0));
	ATF_CHECK(!cmdring_consumed(&ring, 1));		/* nothing was shown */
	cmdring_put(&ring, 1, 0);
	cmdring_sync(&ring, SYNC, 0);
	ATF_CHECK(!cmdring_consumed(&ring, 1));
	ATF_REQUIRE(cmdring_show(&ring, &producer));
	ATF_CHECK(!cmdring_consumed(&ring, 3));
	ATF_CHECK(!cmdring_consumed(&ring, 15));	/* backwards */
	ATF_CHECK(!cmdring_consumed(&ring, 16));	/* no such index */
	ATF_CHECK(!cmdring_consumed(&ring, 0x80000002));
	ATF_CHECK(cmdring_consumed(&ring, 2));
	ATF_CHECK(!cmdring_consumed(&ring, 1));
	ATF_CHECK_EQ(ring.done, 1);

	start(3, CMDRING_PLAIN, (struct fake_setup){ 0 });
	cmdring_put(&ring, 1, 0);
	cmdring_sync(&ring, SYNC, 0);
	ATF_REQUIRE(cmdring_show(&ring, &producer));
	ATF_CHECK(!cmdring_reported(&ring, 2));
	ATF_CHECK(!cmdring_reported(&ring, UINT32_MAX));
	ATF_CHECK(cmdring_reported(&ring, 0));
	ATF_CHECK(!past((struct iommu_ticket){ 1 }));
	ATF_CHECK(cmdring_consumed(&ring, 2));
	ATF_CHECK(!past((struct iommu_ticket){ 1 }));	/* consumed is not reported */
	ATF_CHECK(cmdring_reported(&ring, 1));
	ATF_CHECK(past((struct iommu_ticket){ 1 }));
}

ATF_TC_WITHOUT_HEAD(reports_are_the_low_half_of_the_number);
ATF_TC_BODY(reports_are_the_low_half_of_the_number, tc)
{
	start(3, CMDRING_PLAIN, (struct fake_setup){ 0 });
	ring.syncs = ring.done = 0x1'ffff'fffe;
	cmdring_put(&ring, 1, 0);
	cmdring_sync(&ring, SYNC, 0);
	cmdring_put(&ring, 1, 0);
	ATF_CHECK_EQ(cmdring_next(&ring), 0x2'0000'0000);
	cmdring_sync(&ring, SYNC, 0);
	ATF_CHECK(cmdring_reported(&ring, 0));
	ATF_CHECK_EQ(ring.done, 0x2'0000'0000);
	ATF_CHECK(!cmdring_reported(&ring, 1));
}

ATF_TC_WITHOUT_HEAD(a_full_ring_owes_instead_of_waiting);
ATF_TC_BODY(a_full_ring_owes_instead_of_waiting, tc)
{
	struct iommu_ticket before, debt;
	uint32_t producer;

	start(3, CMDRING_WRAP, (struct fake_setup){ 0 });
	while (cmdring_room(&ring) != 0)
		cmdring_put(&ring, 1, 0);
	before = cmdring_ticket(&ring);
	cmdring_sync(&ring, SYNC, 0);
	ATF_REQUIRE(cmdring_show(&ring, &producer));
	ATF_CHECK_EQ(producer, 8);
	debt = cmdring_owe(&ring);
	ATF_CHECK_EQ(debt.seq, before.seq + 1);
	ATF_CHECK_EQ(cmdring_owe(&ring).seq, debt.seq);
	ATF_CHECK_EQ(cmdring_ticket(&ring).seq, debt.seq);
	ATF_CHECK(!cmdring_pay(&ring, 3));
	ATF_REQUIRE(cmdring_consumed(&ring, 3));
	ATF_CHECK(!cmdring_pay(&ring, 3));
	ATF_CHECK_EQ(cmdring_room(&ring), 0);		/* nobody overtakes the debt */
	ATF_REQUIRE(cmdring_consumed(&ring, 8));
	ATF_CHECK(past(before));
	ATF_CHECK(!past(debt));
	ATF_REQUIRE(cmdring_pay(&ring, 3));
	ATF_CHECK(!cmdring_pay(&ring, 3));
	cmdring_put(&ring, 2, 0);
	ATF_CHECK_EQ(cmdring_ticket(&ring).seq, debt.seq);
	cmdring_sync(&ring, SYNC, 0);
	ATF_REQUIRE(cmdring_show(&ring, &producer));
	ATF_CHECK_EQ(producer, 10);
	ATF_REQUIRE(cmdring_consumed(&ring, 10));
	ATF_CHECK(past(debt));
}

/*
 * A device that fetches some of what it was shown, at random times.  Each command must be the one
 * put, exactly once and in order; a ticket is past exactly when the sync after its command is done.
 */
static void
storm(enum cmdring_style style, struct fake_setup setup)
{
	struct { uint64_t command; struct iommu_ticket t; } watch[32];
	uint64_t put = 0, fetched = 0, synced_upto = 0, hardware = 0, shown = 0;
	uint32_t watches = 0, lg2 = 2 + (uint32_t)(setup.seed % 4), size = 1u << lg2;

	start(lg2, style, setup);
	for (unsigned turn = 0; turn < 20000; turn++) {
		switch (fake_random() % 4) {
		case 0:
			for (uint64_t n = fake_random() % 4; n != 0 && cmdring_room(&ring) != 0;
			    n--) {
				put++;
				cmdring_put(&ring, put << 8 | 1, ~put);
				if (watches < ARRAY_SIZE(watch)) {
					watch[watches].command = put;
					watch[watches++].t = cmdring_ticket(&ring);
				}
			}
			break;
		case 1: {
			uint32_t producer;

			cmdring_sync(&ring, cmdring_next(&ring) << 8 | SYNC, 7);
			if (cmdring_show(&ring, &producer)) {
				uint64_t mask = style == CMDRING_WRAP ? 2 * size - 1 : size - 1;

				shown += (producer - shown) & mask;
				ATF_REQUIRE_EQ(shown, ring.tail);
			}
			break;
		}
		case 2:
			for (uint64_t n = fake_random() % size; n != 0 && hardware < shown;
			    n--, hardware++) {
				uint64_t at = slots_pa + 16 * (hardware % size);
				uint64_t lo = fake_device_load(at), hi = fake_device_load(at + 8);

				if ((lo & 0xff) == SYNC) {
					ATF_REQUIRE_EQ(hi, 7);
					synced_upto = fetched;
					if (style == CMDRING_PLAIN)
						ATF_REQUIRE(
						    cmdring_reported(&ring, (uint32_t)(lo >> 8)));
				} else {
					fetched++;
					ATF_REQUIRE_EQ(lo >> 8, fetched);
					ATF_REQUIRE_EQ(hi, ~fetched);
				}
			}
			break;
		default:
			ATF_REQUIRE(cmdring_consumed(&ring, (uint32_t)hardware &
			    (style == CMDRING_WRAP ? 2 * size - 1 : size - 1)));
			for (uint32_t i = 0; i < watches;) {
				ATF_REQUIRE_EQ(past(watch[i].t), watch[i].command <= synced_upto);
				if (past(watch[i].t))
					watch[i] = watch[--watches];
				else
					i++;
			}
		}
	}
	ATF_CHECK(put > 1000);
}

ATF_TC_WITHOUT_HEAD(a_ticket_is_past_exactly_when_its_sync_is_done);
ATF_TC_BODY(a_ticket_is_past_exactly_when_its_sync_is_done, tc)
{
	for (uint64_t seed = 0; seed < 8; seed++) {
		storm(CMDRING_WRAP, (struct fake_setup){ .bytes = MIB, .seed = seed });
		storm(CMDRING_WRAP,
		    (struct fake_setup){ .bytes = MIB, .seed = seed, .order = FAKE_WEAK });
		storm(CMDRING_WRAP,
		    (struct fake_setup){ .bytes = MIB, .seed = seed, .not_coherent = true });
		storm(CMDRING_PLAIN, (struct fake_setup){ .bytes = MIB, .seed = seed });
		storm(CMDRING_PLAIN,
		    (struct fake_setup){ .bytes = MIB, .seed = seed, .order = FAKE_TSO });
		storm(CMDRING_PLAIN,
		    (struct fake_setup){ .bytes = MIB, .seed = seed, .not_coherent = true });
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_sync_always_finds_room);
	ATF_TP_ADD_TC(tp, commands_share_the_ticket_of_the_sync_that_closes_them);
	ATF_TP_ADD_TC(tp, an_impossible_index_is_refused);
	ATF_TP_ADD_TC(tp, reports_are_the_low_half_of_the_number);
	ATF_TP_ADD_TC(tp, a_full_ring_owes_instead_of_waiting);
	ATF_TP_ADD_TC(tp, a_ticket_is_past_exactly_when_its_sync_is_done);
	return atf_no_error();
}
