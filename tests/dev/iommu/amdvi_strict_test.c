/*
 * The AMD-Vi driver where it must be strict: nothing reaches a page whose ticket is past, whatever
 * the unit caches, however slow it is, and whatever goes wrong.
 */
/* LINK: dev/iommu/amdvi.c dev/iommu/amdvi_tables.c dev/iommu/amdvi_queue.c
 * LINK: dev/iommu/amdvi_event.c
 * LINK: dev/iommu/amdvi_irq.c dev/iommu/iopt.c dev/iommu/fmt_amdv1.c dev/iommu/cmdring.c
 * LINK: kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/model_amdvi.c
 * LINK: tests/lib/model_amdvi_cache.c */
#include "tests/lib/amdvi_stage.h"

#define UNIT_DEVICES 0x28, 0x30, 0x128, 0x230, 0x300
#include "tests/lib/unit_conformance.h"

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
				ATF_REQUIRE(refused(0x28, at + i * PAGE_SIZE, false));
			ATF_CHECK_MSG(model_amdvi_reaches(model, block + 100 * PAGE_SIZE),
			    "%s: 0x%llx, %llu pages", v->name, (unsigned long long)at,
			    (unsigned long long)pages);
			ATF_REQUIRE_EQ(wait_for(unmap(&d, far, PAGE_SIZE)), OK);
		}
		NO_VIOLATION(v);
	}
}

/* AMD-51: the lowest zero of the address tells the size. */
ATF_TC_WITHOUT_HEAD(a_range_becomes_one_or_two_commands);
ATF_TC_BODY(a_range_becomes_one_or_two_commands, tc)
{
	static const struct {
		uint64_t page, pages, first, second;
	} want[] = {
		/* second words; 0: none */
		{ 0x100, 1, 0x100'000, 0 },
		{ 0x100, 2, 0x100'001, 0 },
		{ 0x100, 3, 0x101'001, 0 },
		{ 0x101, 2, 0x101'000, 0x102'000 },
		{ 0x103, 2, 0x103'000, 0x104'000 },
		{ 0x100, 256, 0x17f'001, 0 },
		{ 0x1ff, 2, 0x1ff'000, 0x200'000 },
		{ 0x1fe, 6, 0x1fe'001, 0x201'001 },
		{ 0x101, 0x1fe, 0x17f'001, 0x27f'001 },
		{ 0x40000, 0x40000, 0x5ffff'001, 0 },
	};

	for (unsigned k = 0; k < 2; k++) {
		const struct variant *v = &variants[k == 0 ? 0 : 5];
		uint64_t more = k == 0 ? 0 : PAGES_PDE;
		struct iommu_domain d;
		struct amdvi *u;

		start(v);
		make(&d);
		u = amdvi_of(unit);
		for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
			uint32_t n;

			map(&d, want[i].page * PAGE_SIZE, RAM, want[i].pages * PAGE_SIZE,
			    IOMMU_READ);
			n = (uint32_t)u->ring.tail;
			ATF_REQUIRE_EQ(wait_for(unmap(&d, want[i].page * PAGE_SIZE,
					   want[i].pages * PAGE_SIZE)),
			    OK);
			ATF_CHECK_EQ(model_amdvi_command(model, n, 0), 0x3000'0001'0000'0000);
			ATF_CHECK_EQ_MSG(model_amdvi_command(model, n, 1), want[i].first | more,
			    "%u: 0x%llx", i, (unsigned long long)model_amdvi_command(model, n, 1));
			ATF_CHECK_EQ(u->ring.tail - n, want[i].second == 0 ? 2 : 3);
			if (want[i].second != 0)
				ATF_CHECK_EQ(
				    model_amdvi_command(model, n + 1, 1), want[i].second | more);
		}
		NO_VIOLATION(v);
	}
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
	(void)model_amdvi_doorbells(model);
	(void)model_amdvi_executed(model, OP_COMPLETION_WAIT);
	(void)fake_register_writes();
	(void)fake_register_reads();
	for (unsigned i = 0; i < 100; i++)
		t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	for (unsigned i = 0; i < 100; i++)
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t[i]), OK);
	ATF_CHECK_EQ(model_amdvi_doorbells(model), 1);
	ATF_CHECK_EQ(model_amdvi_executed(model, OP_COMPLETION_WAIT), 1);
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
			(void)model_amdvi_dma(model, 0x28, AT + i * PAGE_SIZE, false);
		model_amdvi_hang(model, true);
		before = fake_now;
		for (unsigned i = 0; i < N; i++)
			t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
		ATF_CHECK_MSG(fake_now - before < 10 * NS_PER_US, "%s", v->name);
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t[N - 1]), E_WOULD_BLOCK);
		ATF_CHECK(t[N - 1].seq >= t[0].seq);
		model_amdvi_hang(model, false);
		ATF_REQUIRE_EQ_MSG(wait_for(t[N - 1]), OK, "%s", v->name);
		for (unsigned i = 0; i < N; i++)
			ATF_REQUIRE_EQ(unit->ops->ticket_poll(unit, t[i]), OK);
		ATF_CHECK(!model_amdvi_reaches(model, p));
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

	start(&variants[2]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	p = page(0);
	map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
	for (unsigned i = 1; i < 400; i++)
		map(&d, AT + i * PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ);
	model_amdvi_watch(model, 0x28, AT);
	model_amdvi_hang(model, true);
	for (unsigned i = 1; i < 400; i++)
		(void)unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	t = unit->ops->detach(&d, 0x28);
	model_amdvi_hang(model, false);
	ATF_REQUIRE_EQ(wait_for(t), OK);
	ATF_CHECK(blocked(0x28, AT));
	ATF_CHECK(!model_amdvi_reaches(model, p));
	NO_VIOLATION(&variants[2]);
}

/* ---- Domain ids ---- */

ATF_TC_WITHOUT_HEAD(an_id_is_used_again_only_after_a_flush_of_its_own);
ATF_TC_BODY(an_id_is_used_again_only_after_a_flush_of_its_own, tc)
{
	enum { IDS = AMDVI_DOMAINS_MAX - 1 };
	const struct variant *v = &variants[0];
	static struct iommu_domain d[IDS], e;
	bool used[AMDVI_DOMAINS_MAX] = { 0 };
	uint32_t first;

	start(v);
	for (unsigned i = 0; i < IDS; i++) {
		make(&d[i]);
		ATF_REQUIRE(d[i].tag >= 1 && d[i].tag < AMDVI_DOMAINS_MAX && !used[d[i].tag]);
		used[d[i].tag] = true;
	}
	e = (struct iommu_domain){ .unit = unit, .quota = &quota };
	ATF_CHECK_EQ(unit->ops->domain_init(&e), E_BUSY);
	first = d[3].tag;
	model_amdvi_hang(model, true);
	unit->ops->domain_fini(&d[3]);
	e = (struct iommu_domain){ .unit = unit, .quota = &quota };
	ATF_CHECK_EQ(unit->ops->domain_init(&e), E_BUSY);	/* waits for its flush */
	model_amdvi_hang(model, false);
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

/* AMD-54 */
ATF_TC_WITHOUT_HEAD(a_halted_buffer_is_restarted_with_a_flush_of_everything);
ATF_TC_BODY(a_halted_buffer_is_restarted_with_a_flush_of_everything, tc)
{
	for (unsigned k = 0; k < ARRAY_SIZE(variants); k++)
		for (uint32_t op = OP_INVALIDATE_DEVTAB_ENTRY; op <= OP_INVALIDATE_PAGES; op++) {
			const struct variant *v = &variants[k];
			struct iommu_domain a, b;
			uint64_t p;
			struct iommu_ticket t, u;

			if (v->unit.no_events)		/* skips what it does not know */
				continue;
			start(v);
			make(&a);
			make(&b);
			p = page(1);
			ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x28), OK);
			ATF_REQUIRE_EQ(unit->ops->attach(&b, 0x30), OK);
			map(&a, AT, p, PAGE_SIZE, IOMMU_READ);
			map(&b, AT, p + PAGE_SIZE, PAGE_SIZE, IOMMU_READ);
			ATF_REQUIRE(
			    reaches(0x28, AT, p, false) && reaches(0x30, AT, p + PAGE_SIZE, false));
			model_amdvi_refuse(model, op, 1);
			u = unmap(&b, AT, PAGE_SIZE);
			t = op == OP_INVALIDATE_PAGES ? unmap(&a, AT, PAGE_SIZE) :
							unit->ops->detach(&a, 0x28);
			ATF_REQUIRE_EQ_MSG(wait_for(t), OK, "%s", v->name);
			ATF_CHECK_EQ(wait_for(u), OK);
			ATF_CHECK(!model_amdvi_reaches(model, p) &&
			    !model_amdvi_reaches(model, p + PAGE_SIZE));
			if (op == OP_INVALIDATE_DEVTAB_ENTRY)
				ATF_CHECK(blocked(0x28, AT));
			ATF_CHECK_EQ(unit->counters.errors, 1);
			ATF_CHECK(fake_logged("halted"));
			ATF_CHECK_EQ(fake_broken, 0);
			/* It works on, and survives another one later. */
			ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&b, 0x30)), OK);
			model_amdvi_refuse(model, OP_INVALIDATE_DEVTAB_ENTRY, 1);
			ATF_REQUIRE_EQ(unit->ops->attach(&b, 0x30), OK);
			ATF_CHECK_EQ(unit->counters.errors, 2);
			NO_VIOLATION(v);
		}
}

ATF_TC_WITHOUT_HEAD(a_buffer_that_halts_in_debt_pays_with_its_restart);
ATF_TC_BODY(a_buffer_that_halts_in_debt_pays_with_its_restart, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t = { 0 };
	uint64_t p;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	p = page(0);
	for (unsigned i = 0; i < 400; i++)
		map(&d, AT + i * PAGE_SIZE, p, PAGE_SIZE, IOMMU_READ);
	model_amdvi_hang(model, true);
	for (unsigned i = 0; i < 400; i++) {
		(void)model_amdvi_dma(model, 0x28, AT + i * PAGE_SIZE, false);
		t = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	}
	model_amdvi_refuse(model, OP_INVALIDATE_PAGES, 1);
	model_amdvi_hang(model, false);
	ATF_REQUIRE_EQ(wait_for(t), OK);
	ATF_CHECK(!model_amdvi_reaches(model, p));
	ATF_CHECK_EQ(unit->counters.errors, 1);
	NO_VIOLATION(&variants[0]);
}

static void
broken_by(const char *why)
{
	struct iommu_domain d = { .unit = unit, .quota = &quota };

	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK_MSG(strstr(fake_broken_why, why) != NULL, "%s", fake_broken_why);
	ATF_CHECK(unit->broken);
	ATF_CHECK_EQ(unit->ops->domain_init(&d), E_QUARANTINED);
	ATF_CHECK((model_amdvi_control(model) & CTL_IOMMU_EN) != 0);	/* off would be open */
}

ATF_TC_WITHOUT_HEAD(a_buffer_that_halts_again_breaks_the_unit);
ATF_TC_BODY(a_buffer_that_halts_again_breaks_the_unit, tc)
{
	struct iommu_domain a;
	struct iommu_ticket t, u;
	uint64_t iommu, quarantined;

	start(&variants[0]);
	make(&a);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x28), OK);
	map(&a, AT, page(0), PAGE_SIZE, IOMMU_READ);
	model_amdvi_refuse(model, MODEL_AMDVI_ANY, 100);
	t = unmap(&a, AT, PAGE_SIZE);
	ATF_CHECK_EQ(wait_for(t), E_QUARANTINED);
	broken_by("halts again");
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

ATF_TC_WITHOUT_HEAD(nonsense_from_the_unit_breaks_it);
ATF_TC_BODY(nonsense_from_the_unit_breaks_it, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;

	start(&variants[0]);
	make(&d);
	map(&d, AT, RAM, PAGE_SIZE, IOMMU_READ);
	model_amdvi_hang(model, true);
	t = unmap(&d, AT, PAGE_SIZE);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	model_amdvi_status_word(model, 0x1234);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_QUARANTINED);
	broken_by("status word");

	start(&variants[0]);
	make(&d);
	map(&d, AT, RAM, PAGE_SIZE, IOMMU_READ);
	model_amdvi_hang(model, true);
	t = unmap(&d, AT, PAGE_SIZE);
	model_amdvi_die(model);
	ATF_CHECK_EQ(wait_for(t), E_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK(strstr(fake_broken_why, "all ones") != NULL);
}

ATF_TC_WITHOUT_HEAD(an_attach_that_cannot_be_confirmed_fails_and_blocks);
ATF_TC_BODY(an_attach_that_cannot_be_confirmed_fails_and_blocks, tc)
{
	struct iommu_domain d;
	uint64_t before, e[4];

	start(&variants[0]);
	make(&d);
	model_amdvi_hang(model, true);
	before = fake_now;
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x28), E_QUARANTINED);
	ATF_CHECK(fake_now - before < 2 * NS_PER_MS);
	broken_by("attach");
	ATF_CHECK_EQ(d.endpoints, 0);
	model_amdvi_entry(model, 0x28, e);
	ATF_CHECK_EQ(e[0], DTE_BLOCKED);
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
		amdvi_of(unit)->lock.held = 1;	/* by the CPU that the panic stopped */
		unit->ops->shut(unit);
		amdvi_of(unit)->lock.held = 0;
		ATF_CHECK_MSG(blocked(0x28, AT), "%s", v->name);
		ATF_CHECK(blocked(0xff, AT));
		ATF_CHECK(!model_amdvi_reaches(model, p));
		ATF_CHECK((model_amdvi_control(model) & CTL_IOMMU_EN) != 0);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(shut_of_a_hanging_unit_ends);
ATF_TC_BODY(shut_of_a_hanging_unit_ends, tc)
{
	uint64_t before;

	start(&variants[0]);
	model_amdvi_hang(model, true);
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
	ATF_TP_ADD_TC(tp, a_halted_buffer_is_restarted_with_a_flush_of_everything);
	ATF_TP_ADD_TC(tp, a_buffer_that_halts_in_debt_pays_with_its_restart);
	ATF_TP_ADD_TC(tp, a_buffer_that_halts_again_breaks_the_unit);
	ATF_TP_ADD_TC(tp, nonsense_from_the_unit_breaks_it);
	ATF_TP_ADD_TC(tp, an_attach_that_cannot_be_confirmed_fails_and_blocks);
	ATF_TP_ADD_TC(tp, shut_blocks_everything_without_a_lock);
	ATF_TP_ADD_TC(tp, shut_of_a_hanging_unit_ends);
	return atf_no_error();
}
