/*
 * The VT-d driver where it must be strict: nothing reaches a page whose ticket is past, whatever
 * the unit caches, however slow it is, and whatever goes wrong.
 */
/* LINK: dev/iommu/vtd.c dev/iommu/vtd_tables.c dev/iommu/vtd_queue.c dev/iommu/vtd_fault.c
 * LINK: dev/iommu/vtd_irq.c
 * LINK: dev/iommu/iopt.c dev/iommu/fmt_vtdss.c dev/iommu/cmdring.c kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/model_vtd.c
 * LINK: tests/lib/model_vtd_cache.c
 * LINK: tests/lib/model_vtd_irq.c */
#include "tests/lib/vtd_stage.h"

#define UNIT_DEVICES 0x28, 0x30, 0x128, 0x230, 0x300
#include "tests/lib/unit_conformance.h"

#include "kern/dma/irqmap.h"

/* Interrupt remapping is not offered here: vtd_irq_test.c. */
bool irqmap_ioapics_known(const struct machine *m) { (void)m; return true; }
bool irqc_wide_ids(void) { return false; }

/* ---- Strict unmap ---- */

/* Any range: everything in it leaves the cache, and a small one leaves its neighbours. */
ATF_TC_WITHOUT_HEAD(invalidations_cover_their_range_and_not_half_of_the_domain);
ATF_TC_BODY(invalidations_cover_their_range_and_not_half_of_the_domain, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t block;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
		block = page(9);
		for (unsigned round = 0; round < 60; round++) {
			uint64_t pages = 1 + fake_random() % 40, first = fake_random() % 64;
			uint64_t at = AT + 512 * MIB - 32 * PAGE_SIZE +
			    first * PAGE_SIZE; /* around a large boundary */
			uint64_t far = at - 600 * PAGE_SIZE;

			map(&d, at, block, pages * PAGE_SIZE, IOMMU_READ);
			map(&d, far, block + 100 * PAGE_SIZE, PAGE_SIZE, IOMMU_READ);
			for (uint64_t i = 0; i < pages; i++)
				ATF_REQUIRE(reaches(
				    0x28, at + i * PAGE_SIZE, block + i * PAGE_SIZE, false));
			ATF_REQUIRE(reaches(0x28, far, block + 100 * PAGE_SIZE, false));
			ATF_REQUIRE_EQ(wait_for(unmap(&d, at, pages * PAGE_SIZE)), OK);
			for (uint64_t i = 0; i < pages; i++)
				ATF_REQUIRE_EQ(
				    model_vtd_dma(model, 0x28, at + i * PAGE_SIZE, false).reason,
				    REASON_READ);
			ATF_CHECK_EQ_MSG(model_vtd_reaches(model, block + 100 * PAGE_SIZE),
			    (v->unit.cap & CAP_PSI) != 0 || v->unit.cap == 0,
			    "%s: 0x%llx, %llu pages", v->name, (unsigned long long)at,
			    (unsigned long long)pages);
			ATF_REQUIRE_EQ(wait_for(unmap(&d, far, PAGE_SIZE)), OK);
		}
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_range_becomes_one_or_two_commands);
ATF_TC_BODY(a_range_becomes_one_or_two_commands, tc)
{
	static const struct {
		uint64_t page, pages, first, second;
	} want[] = {
		/* high halves, less IH; 0: none */
		{ 0x100, 1, 0x100'000, 0 },
		{ 0x100, 2, 0x100'001, 0 },
		{ 0x100, 3, 0x100'002, 0 },
		{ 0x101, 2, 0x101'000, 0x102'000 },
		{ 0x103, 2, 0x103'000, 0x104'000 },
		{ 0x100, 256, 0x100'008, 0 },
		{ 0x1ff, 2, 0x1ff'000, 0x200'000 },
		{ 0x1fe, 6, 0x1fe'001, 0x200'002 },
		{ 0x101, 0x1fe, 0x100'008, 0x200'008 },
	};
	struct iommu_domain d;
	struct vtd *u;

	start(&variants[0]);
	make(&d);
	u = vtd_of(unit);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		uint32_t n = (uint32_t)u->ring.tail;

		map(&d, want[i].page * PAGE_SIZE, RAM, want[i].pages * PAGE_SIZE, IOMMU_READ);
		ATF_REQUIRE_EQ(
		    wait_for(unmap(&d, want[i].page * PAGE_SIZE, want[i].pages * PAGE_SIZE)), OK);
		ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x100f2);
		ATF_CHECK_EQ_MSG(model_vtd_descriptor(model, n, 1), want[i].first | INV_IH,
		    "%u: 0x%llx", i, (unsigned long long)model_vtd_descriptor(model, n, 1));
		ATF_CHECK_EQ(u->ring.tail - n, want[i].second == 0 ? 2 : 3);
		if (want[i].second != 0)
			ATF_CHECK_EQ(
			    model_vtd_descriptor(model, n + 1, 1), want[i].second | INV_IH);
	}
	start(&variants[11]);	/* mask of 64 pages at most: more takes the domain */
	make(&d);
	u = vtd_of(unit);
	map(&d, AT, RAM, 65 * PAGE_SIZE, IOMMU_READ);
	ATF_REQUIRE_EQ(wait_for(unmap(&d, AT, 65 * PAGE_SIZE)), OK);
	ATF_CHECK_EQ(model_vtd_descriptor(model, (uint32_t)u->ring.tail - 2, 0) & 0x3f, 0x22);
	NO_VIOLATION(&variants[11]);
}

/* ---- Tickets, the ring ---- */

ATF_TC_WITHOUT_HEAD(a_hundred_unmaps_cost_one_wait_and_one_register_write);
ATF_TC_BODY(a_hundred_unmaps_cost_one_wait_and_one_register_write, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t[100];

	start(&variants[0]);
	make(&d);
	for (unsigned i = 0; i < 100; i++)
		map(&d, AT + i * PAGE_SIZE, RAM + i * PAGE_SIZE, PAGE_SIZE, IOMMU_READ);
	(void)model_vtd_doorbells(model);
	(void)model_vtd_executed(model, INV_WAIT);
	(void)fake_register_writes();
	(void)fake_register_reads();
	for (unsigned i = 0; i < 100; i++)
		t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	for (unsigned i = 0; i < 100; i++)
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t[i]), OK);
	ATF_CHECK_EQ(model_vtd_doorbells(model), 1);
	ATF_CHECK_EQ(model_vtd_executed(model, INV_WAIT), 1);
	ATF_CHECK_EQ(fake_register_writes(), 1);
	ATF_CHECK_EQ(fake_register_reads(), 0);		/* none at all: the status word tells */
}

/* A full ring is a debt, not a wait: cmdring.h. */
ATF_TC_WITHOUT_HEAD(a_full_ring_costs_a_flush_of_everything_and_no_time);
ATF_TC_BODY(a_full_ring_costs_a_flush_of_everything_and_no_time, tc)
{
	enum { N = 900 };

	for (unsigned k = 0; k < ARRAY_SIZE(variants); k++) {
		const struct variant *v = &variants[k];
		struct iommu_domain d;
		static struct iommu_ticket t[N];
		uint64_t p, before;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
		p = page(0);
		for (unsigned i = 0; i < N; i++)
			map(&d, AT + i * PAGE_SIZE, p, PAGE_SIZE, IOMMU_READ);
		for (unsigned i = 0; i < N; i += 7)
			(void)model_vtd_dma(model, 0x28, AT + i * PAGE_SIZE, false);
		model_vtd_hang(model, true);
		before = fake_now;
		for (unsigned i = 0; i < N; i++)
			t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
		if ((v->unit.cap & CAP_RWBF) == 0)
			ATF_CHECK_MSG(fake_now - before < 10 * NS_PER_US, "%s", v->name);
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t[N - 1]), E_WOULD_BLOCK);
		ATF_CHECK(t[N - 1].seq >= t[0].seq);
		model_vtd_hang(model, false);
		ATF_REQUIRE_EQ_MSG(wait_for(t[N - 1]), OK, "%s", v->name);
		for (unsigned i = 0; i < N; i++)
			ATF_REQUIRE_EQ(unit->ops->ticket_poll(unit, t[i]), OK);
		ATF_CHECK(!model_vtd_reaches(model, p));
		frame_free((struct paddr){ p }, 0);
		/* And it goes on as before. */
		p = page(0);
		map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_CHECK(reaches(0x28, AT, p, false));
		ATF_REQUIRE_EQ(wait_for(unmap(&d, AT, PAGE_SIZE)), OK);
		frame_free((struct paddr){ p }, 0);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_detach_in_debt_blocks_before_its_ticket_is_past);
ATF_TC_BODY(a_detach_in_debt_blocks_before_its_ticket_is_past, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;
	uint64_t p;

	start(&variants[4]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	p = page(0);
	map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
	for (unsigned i = 1; i < 400; i++)
		map(&d, AT + i * PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ);
	model_vtd_watch(model, 0x28, AT);
	model_vtd_hang(model, true);
	for (unsigned i = 1; i < 400; i++)
		(void)unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	t = unit->ops->detach(&d, 0x28);
	model_vtd_hang(model, false);
	ATF_REQUIRE_EQ(wait_for(t), OK);
	ATF_CHECK(blocked(0x28, AT));
	ATF_CHECK(!model_vtd_reaches(model, p));
	NO_VIOLATION(&variants[4]);
}

/* ---- Domain ids ---- */

ATF_TC_WITHOUT_HEAD(an_id_is_used_again_only_after_a_flush_of_its_own);
ATF_TC_BODY(an_id_is_used_again_only_after_a_flush_of_its_own, tc)
{
	const struct variant *v = &variants[12];	/* sixteen ids */
	struct iommu_domain d[15], e;
	uint32_t first;

	start(v);
	for (unsigned i = 0; i < 15; i++) {
		make(&d[i]);
		ATF_CHECK(d[i].tag >= 1 && d[i].tag <= 15);
		for (unsigned j = 0; j < i; j++)
			ATF_CHECK(d[j].tag != d[i].tag);
	}
	e = (struct iommu_domain){ .unit = unit, .quota = &quota };
	ATF_CHECK_EQ(unit->ops->domain_init(&e), E_BUSY);
	first = d[3].tag;
	model_vtd_hang(model, true);
	unit->ops->domain_fini(&d[3]);
	e = (struct iommu_domain){ .unit = unit, .quota = &quota };
	ATF_CHECK_EQ(unit->ops->domain_init(&e), E_BUSY);	/* waits for its flush */
	model_vtd_hang(model, false);
	for (unsigned i = 0; i < 4 && unit->ops->domain_init(&e) == E_BUSY; i++)
		;
	ATF_CHECK_EQ(e.tag, first);
	unit->ops->domain_fini(&d[7]);
	unit->ops->domain_fini(&d[5]);
	first = d[7].tag;
	for (unsigned i = 0; i < 200; i++) {
		struct iommu_domain f = { .unit = unit, .quota = &quota };
		uint64_t p = page(0);

		while (unit->ops->domain_init(&f) == E_BUSY)
			f = (struct iommu_domain){ .unit = unit, .quota = &quota };
		ATF_REQUIRE_EQ(unit->ops->attach(&f, 0x28), OK);
		map(&f, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_CHECK(reaches(0x28, AT, p, false));
		ATF_REQUIRE_EQ(wait_for(unmap(&f, AT, PAGE_SIZE)), OK);
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&f, 0x28)), OK);
		unit->ops->domain_fini(&f);
		frame_free((struct paddr){ p }, 0);
		NO_VIOLATION(v);
	}
}

/* ---- Errors of the queue ---- */

ATF_TC_WITHOUT_HEAD(a_refused_invalidation_is_replaced_by_its_whole_form);
ATF_TC_BODY(a_refused_invalidation_is_replaced_by_its_whole_form, tc)
{
	for (uint8_t type = INV_CONTEXT; type <= INV_IOTLB; type++) {
		struct iommu_domain a, b;
		uint64_t p;
		struct iommu_ticket t;

		start(&variants[4]);
		make(&a);
		make(&b);
		p = page(0);
		ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x28), OK);
		map(&a, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_REQUIRE(reaches(0x28, AT, p, false));
		model_vtd_refuse(model, type, 1);
		t = type == INV_IOTLB ? unmap(&a, AT, PAGE_SIZE) : unit->ops->detach(&a, 0x28);
		ATF_REQUIRE_EQ(wait_for(t), OK);
		ATF_CHECK(!model_vtd_reaches(model, p));
		if (type == INV_CONTEXT)
			ATF_CHECK(blocked(0x28, AT));
		ATF_CHECK_EQ(unit->counters.errors, 1);
		ATF_CHECK(fake_logged("refused"));
		ATF_CHECK_EQ(fake_broken, 0);
		/* It works on, and survives another one later. */
		ATF_REQUIRE_EQ(unit->ops->attach(&b, 0x30), OK);
		model_vtd_refuse(model, INV_CONTEXT, 1);
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&b, 0x30)), OK);
		ATF_CHECK_EQ(unit->counters.errors, 2);
		NO_VIOLATION(&variants[4]);
	}
}

static void
broken_by(const char *why)
{
	struct iommu_domain d = { .unit = unit, .quota = &quota };

	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK_MSG(strstr(fake_broken_why, why) != NULL, "%s", fake_broken_why);
	ATF_CHECK(unit->broken);
	ATF_CHECK_EQ(unit->ops->domain_init(&d), E_QUARANTINED);
	ATF_CHECK_EQ(model_vtd_status(model) & GCMD_TE, GCMD_TE);	/* off would be open */
}

ATF_TC_WITHOUT_HEAD(a_replacement_that_is_refused_breaks_the_unit);
ATF_TC_BODY(a_replacement_that_is_refused_breaks_the_unit, tc)
{
	struct iommu_domain a;
	struct iommu_ticket t, u;
	uint64_t iommu, quarantined;

	start(&variants[0]);
	make(&a);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x28), OK);
	map(&a, AT, page(0), PAGE_SIZE, IOMMU_READ);
	model_vtd_refuse(model, INV_IOTLB, 100);
	t = unmap(&a, AT, PAGE_SIZE);
	ATF_CHECK_EQ(wait_for(t), E_QUARANTINED);
	broken_by("refuses");
	/* Everything ends in quarantine from here on, and nothing is reused. */
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x30), E_QUARANTINED);
	ATF_CHECK_EQ(
	    unit->ops->map(&a, (struct iova){ AT }, (struct paddr){ RAM }, PAGE_SIZE, IOMMU_READ),
	    E_QUARANTINED);
	u = unit->ops->detach(&a, 0x28);
	ATF_CHECK(u.seq != 0);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, u), E_QUARANTINED);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_QUARANTINED);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, (struct iommu_ticket){ 0 }), OK);
	iommu = fake_frames(FRAME_IOMMU);
	quarantined = fake_frames(FRAME_QUARANTINED);
	unit->ops->domain_fini(&a);
	ATF_CHECK_EQ(fake_frames(FRAME_QUARANTINED), quarantined + 4);
	ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), iommu - 4);
	ATF_CHECK_EQ(fake_broken, 1);
	/* The tables that it sees are empty now. */
	ATF_CHECK(blocked(0x31, AT));
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(dropped_waits_are_asked_for_again);
ATF_TC_BODY(dropped_waits_are_asked_for_again, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		struct iommu_ticket t[4];
		uint64_t p;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
		p = page(2);
		map(&d, AT, p, 4 * PAGE_SIZE, IOMMU_READ);
		for (unsigned i = 0; i < 4; i++)
			ATF_REQUIRE(reaches(0x28, AT + i * PAGE_SIZE, p + i * PAGE_SIZE, false));
		ATF_REQUIRE_EQ(wait_for(unmap(&d, AT, 4 * PAGE_SIZE)), OK);
		for (unsigned i = 0; i < 4; i++)
			map(&d, AT + i * PAGE_SIZE, p + i * PAGE_SIZE, PAGE_SIZE, IOMMU_READ);
		for (unsigned i = 0; i < 4; i++)
			ATF_REQUIRE(reaches(0x28, AT + i * PAGE_SIZE, p + i * PAGE_SIZE, false));
		model_vtd_hang(model, true);
		for (unsigned i = 0; i < 4; i++) {
			t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
			ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t[i]), E_WOULD_BLOCK);
		}
		model_vtd_drop_waits(model);
		model_vtd_hang(model, false);
		for (unsigned i = 0; i < 4; i++) {
			ATF_REQUIRE_EQ_MSG(wait_for(t[i]), OK, "%s", v->name);
			ATF_REQUIRE_MSG(
			    !model_vtd_reaches(model, p + i * PAGE_SIZE), "%s: %u", v->name, i);
		}
		ATF_CHECK_EQ(unit->counters.errors, 1);
		ATF_CHECK_EQ(fake_broken, 0);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(nonsense_from_the_unit_breaks_it);
ATF_TC_BODY(nonsense_from_the_unit_breaks_it, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;

	start(&variants[0]);
	make(&d);
	map(&d, AT, RAM, PAGE_SIZE, IOMMU_READ);
	model_vtd_hang(model, true);
	t = unmap(&d, AT, PAGE_SIZE);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	model_vtd_status_word(model, 0x1234);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_QUARANTINED);
	broken_by("status word");

	start(&variants[0]);
	make(&d);
	map(&d, AT, RAM, PAGE_SIZE, IOMMU_READ);
	model_vtd_hang(model, true);
	t = unmap(&d, AT, PAGE_SIZE);
	model_vtd_die(model);
	ATF_CHECK_EQ(wait_for(t), E_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK(strstr(fake_broken_why, "all ones") != NULL);
}

ATF_TC_WITHOUT_HEAD(an_attach_that_cannot_be_confirmed_fails_and_blocks);
ATF_TC_BODY(an_attach_that_cannot_be_confirmed_fails_and_blocks, tc)
{
	struct iommu_domain d;
	uint64_t before, e[2];

	start(&variants[7]);	/* caching mode: attach invalidates */
	make(&d);
	model_vtd_hang(model, true);
	before = fake_now;
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x28), E_QUARANTINED);
	ATF_CHECK(fake_now - before < 2 * NS_PER_MS);
	broken_by("attach");
	ATF_CHECK_EQ(d.endpoints, 0);
	model_vtd_context(model, 0x28, e);
	ATF_CHECK_EQ(e[0] & 1, 0);
}

ATF_TC_WITHOUT_HEAD(a_write_buffer_that_does_not_drain_breaks_the_unit);
ATF_TC_BODY(a_write_buffer_that_does_not_drain_breaks_the_unit, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;
	uint64_t before;

	start(&variants[9]);
	make(&d);
	map(&d, AT, RAM, PAGE_SIZE, IOMMU_READ);
	model_vtd_ack_never(model, GCMD_WBF);
	before = fake_now;
	t = unmap(&d, AT, PAGE_SIZE);
	ATF_CHECK(fake_now - before < 12 * NS_PER_US);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK(strstr(fake_broken_why, "write buffer") != NULL);
}

/* ---- The end ---- */

ATF_TC_WITHOUT_HEAD(shut_blocks_everything_without_a_lock);
ATF_TC_BODY(shut_blocks_everything_without_a_lock, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t p;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
		p = page(0);
		map(&d, AT, p, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE);
		ATF_REQUIRE(reaches(0x28, AT, p, true));
		vtd_of(unit)->lock.held = 1;	/* by the CPU that the panic stopped */
		unit->ops->shut(unit);
		vtd_of(unit)->lock.held = 0;
		ATF_CHECK_MSG(blocked(0x28, AT), "%s", v->name);
		ATF_CHECK(blocked(0xff, AT));
		ATF_CHECK(!model_vtd_reaches(model, p));
		ATF_CHECK_EQ(model_vtd_status(model) & GCMD_TE, GCMD_TE);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(shut_of_a_hanging_unit_ends);
ATF_TC_BODY(shut_of_a_hanging_unit_ends, tc)
{
	uint64_t before;

	start(&variants[0]);
	model_vtd_hang(model, true);
	before = fake_now;
	unit->ops->shut(unit);
	ATF_CHECK(fake_now - before < 2 * NS_PER_MS);
	ATF_CHECK(blocked(0x28, AT));
}

ATF_TP_ADD_TCS(tp)
{
	UNIT_CONFORMANCE(tp);
	ATF_TP_ADD_TC(tp, invalidations_cover_their_range_and_not_half_of_the_domain);
	ATF_TP_ADD_TC(tp, a_range_becomes_one_or_two_commands);
	ATF_TP_ADD_TC(tp, a_hundred_unmaps_cost_one_wait_and_one_register_write);
	ATF_TP_ADD_TC(tp, a_full_ring_costs_a_flush_of_everything_and_no_time);
	ATF_TP_ADD_TC(tp, a_detach_in_debt_blocks_before_its_ticket_is_past);
	ATF_TP_ADD_TC(tp, an_id_is_used_again_only_after_a_flush_of_its_own);
	ATF_TP_ADD_TC(tp, a_refused_invalidation_is_replaced_by_its_whole_form);
	ATF_TP_ADD_TC(tp, a_replacement_that_is_refused_breaks_the_unit);
	ATF_TP_ADD_TC(tp, dropped_waits_are_asked_for_again);
	ATF_TP_ADD_TC(tp, nonsense_from_the_unit_breaks_it);
	ATF_TP_ADD_TC(tp, an_attach_that_cannot_be_confirmed_fails_and_blocks);
	ATF_TP_ADD_TC(tp, a_write_buffer_that_does_not_drain_breaks_the_unit);
	ATF_TP_ADD_TC(tp, shut_blocks_everything_without_a_lock);
	ATF_TP_ADD_TC(tp, shut_of_a_hanging_unit_ends);
	return atf_no_error();
}
