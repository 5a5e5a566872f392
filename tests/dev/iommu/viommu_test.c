/*
 * The virtio-iommu driver against a strict software unit that answers late and in any order:
 * take-over, refusals, domains, tickets, events, and a unit that lies.
 */
/* LINK: dev/iommu/viommu.c dev/iommu/viommu_queue.c dev/iommu/viommu_ask.c
 * LINK: dev/iommu/viommu_pci.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/model_viommu.c */
#include "tests/lib/viommu_stage.h"

#define UNIT_DEVICES 0x110, 0x118, 0x120, 0x128
#include "tests/lib/unit_conformance.h"

static void
drain_all(void)
{
	struct dma_fault f[16];
	bool lost;

	while (unit->ops->drain_faults(unit, f, 16, &lost) != 0)
		;
}

/* ---- Take-over ---- */

/* D1, VIO-25 .. VIO-27 */
ATF_TC_WITHOUT_HEAD(every_kind_of_unit_is_taken_over_and_nobody_passes);
ATF_TC_BODY(every_kind_of_unit_is_taken_over_and_nobody_passes, tc)
{
	FOR_EACH_VARIANT(v) {
		start(v);
		NO_VIOLATION(v);
		ATF_CHECK(model_viommu_runs(model) && model_viommu_master());
		ATF_CHECK(
		    strstr(pci_functions[0].problem, "own IOMMU") != NULL); /* nobody's to claim */
		for (uint32_t e = 0; e < 0x200; e += 8)
			ATF_REQUIRE_MSG(blocked(e), "%s: endpoint 0x%x", v->name, e);
		ATF_CHECK_EQ(unit->domains + unit->endpoints, 0);
		ATF_CHECK(unit->counters.syncs != 0);		/* it went round once */
		ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), 8 + 1 + 1 + 6);
	}
}

ATF_TC_WITHOUT_HEAD(facts_say_what_the_unit_can_do);
ATF_TC_BODY(facts_say_what_the_unit_can_do, tc)
{
	start(&variants[0]);
	ATF_CHECK_STREQ(unit->facts.text,
	    "virtio-iommu, 48 address bits, granule 4 KiB, bypass off, probed, MMIO");
	ATF_CHECK_STREQ(unit->name, "viommu0");
	ATF_CHECK(unit->facts.map_invalidates && unit->facts.write_only && unit->facts.fault_log &&
	    unit->facts.interrupt_isolation);
	start(&variants[5]);
	ATF_CHECK(unit->facts.iova_bits == 39 && unit->facts.domains_max == 4);
	start(&variants[6]);
	ATF_CHECK_STREQ(
	    unit->facts.text, "virtio-iommu, 48 address bits, granule 4 KiB, no bypass");
	set(&variants[0]);		/* a PC: nobody checks messages (VIO-41) */
	machine.irqc.its_count = 0;
	ATF_REQUIRE_EQ(viommu_driver.probe(&machine, 0), OK);
	ATF_CHECK(!fake_units[0]->facts.interrupt_isolation);
}

ATF_TC_WITHOUT_HEAD(what_is_missing_is_said_by_name);
ATF_TC_BODY(what_is_missing_is_said_by_name, tc)
{
	static const struct { const char *why; struct model_viommu_setup unit;
	} bad[] = {
		{ "before 1.0", { .features = 0x77 } },
		{ "F_MAP_UNMAP", { .features = 0x1'0000'0073 } },
		{ "does not agree to its own features", { .features_refused = true } },
		{ "attached to nothing would pass", { .bypass = true, .bypass_stuck = true } },
		{ "smallest page is larger", { .page_sizes = ~0xffffull } },
		{ "ranges of addresses or domains are empty",
		    { .input_first = BIT(47), .input_last = BIT(46) } },
		{ "ranges of addresses or domains are empty",
		    { .domain_first = 9, .domain_last = 8 } },
		{ "properties are too large", { .probe_size = 4096 } },
		{ "queue of it is too small", { .queue_size = 2 } },
		{ "notification register is outside", { .no_notify = true } },
		{ "not where its capabilities", { .short_config = true } },
		{ "another device", { .other_device = true } },
		{ "properties overrun", { .bad_properties = true } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct variant v = { .name = bad[i].why, .unit = bad[i].unit };

		set(&v);
		ATF_CHECK_MSG(viommu_driver.probe(&machine, 0) != OK, "%s", v.name);
		ATF_CHECK_EQ(fake_unit_count, 0);
		ATF_CHECK_MSG(fake_logged(bad[i].why), "%s: %s", v.name, fake_log());
		ATF_CHECK(!model_viommu_master());
		NO_VIOLATION(&v);
	}
	set(&variants[0]);
	machine.iommu[0].requester = 0x77;
	ATF_CHECK_EQ(viommu_driver.probe(&machine, 0), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("is not there"));
	set(&variants[0]);
	model_viommu_hang(model, true);
	ATF_CHECK_EQ(viommu_driver.probe(&machine, 0), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("does not tell what it reserves"));
	ATF_CHECK(fake_now < 5 * NS_PER_S);
	for (unsigned n = 0; n < 10; n++) {
		set(&variants[0]);
		fake_fail_alloc(n);
		ATF_CHECK_EQ(viommu_driver.probe(&machine, 0), E_NO_MEMORY);
		ATF_CHECK(fake_logged("no memory"));
	}
}

/* VIO-18.  With a card that is plugged in: what is reserved for it must be a hole already. */
ATF_TC_WITHOUT_HEAD(an_endpoint_that_comes_later_is_asked_then);
ATF_TC_BODY(an_endpoint_that_comes_later_is_asked_then, tc)
{
	FOR_EACH_VARIANT(v) {
		struct variant odd = *v;
		bool asks = v->unit.features == 0;
		uint32_t holes;

		odd.unit.odd_endpoint = 0x128;
		start(&odd);
		holes = unit->facts.holes;
		(void)model_viommu_requests(model, VREQ_PROBE);
		ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), OK);
		ATF_CHECK_EQ(unit->ops->ask(unit, 0x128), asks ? E_REFUSED : OK);
		ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), OK);
		ATF_CHECK_EQ(model_viommu_requests(model, VREQ_PROBE), asks ? 3 : 0);
		ATF_CHECK_EQ(unit->facts.holes, holes);
		ATF_CHECK(blocked(0x120) && blocked(0x128));
		if (asks) {			/* no answer is no leave */
			model_viommu_refuse(model, VREQ_PROBE, VS_NOENT);
			ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), E_IO);
			ATF_CHECK(!unit->broken);
			model_viommu_short(model);
			ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), E_IO);
			ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), OK);
			model_viommu_hang(model, true);
			ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), E_TIMED_OUT);
			ATF_CHECK(unit->broken);
			ATF_CHECK_EQ(unit->ops->ask(unit, 0x120), E_QUARANTINED);
		}
		NO_VIOLATION(&odd);
	}
	/* Known at boot, it is a hole of everybody's. */
	{
		struct variant odd = variants[0];

		odd.unit.odd_endpoint = 0x118;
		start(&odd);
		ATF_CHECK_EQ(unit->facts.holes, 2);
		ATF_CHECK_EQ(unit->ops->ask(unit, 0x118), OK);
	}
}

/* ---- Domains ---- */

/* VIO-16 */
ATF_TC_WITHOUT_HEAD(a_domain_lives_from_its_first_endpoint_to_its_last);
ATF_TC_BODY(a_domain_lives_from_its_first_endpoint_to_its_last, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		struct iommu_ticket t;
		uint64_t p;

		start(v);
		make(&d);
		p = page(0);
		ATF_CHECK_EQ(map_only(&d, AT, p, PAGE_SIZE, IOMMU_READ), E_STATE);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x118), OK);
		map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&d, 0x110)), OK);
		ATF_CHECK(blocked(0x110) && reaches(0x118, AT, p, false));
		t = unit->ops->detach(&d, 0x118);
		(void)model_viommu_requests(model, VREQ_UNMAP);
		ATF_CHECK_EQ(unmap(&d, AT, PAGE_SIZE).seq, t.seq); /* its end is the mapping's */
		ATF_REQUIRE_EQ(wait_for(t), OK);
		ATF_CHECK_EQ(model_viommu_requests(model, VREQ_UNMAP), 0);
		ATF_CHECK(!model_viommu_reaches(model, p));
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x110), OK);		/* blank again */
		ATF_CHECK_EQ(model_viommu_dma(model, 0x110, AT, false).reason, 2);
		map(&d, AT, p, PAGE_SIZE, IOMMU_WRITE);
		ATF_CHECK(reaches(0x110, AT, p, true));
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&d, 0x110)), OK);
		ATF_CHECK_EQ(
		    unit->ops->attach(&d, 0x110), E_STATE); /* with mappings that the unit forgot */
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(attach_and_detach_are_asked_for_once_and_answered_right);
ATF_TC_BODY(attach_and_detach_are_asked_for_once_and_answered_right, tc)
{
	struct iommu_domain a, b;
	struct iommu_ticket t;

	start(&variants[0]);
	make(&a);
	make(&b);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x110), OK);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x110), E_BUSY);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0x110), E_BUSY);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, unit->ops->detach(&b, 0x110)),
	    OK); /* not b's: nothing happens */
	ATF_CHECK(!blocked(0x110));
	ATF_CHECK_EQ(unit->ops->detach(&b, 0x999).seq, 0);
	model_viommu_hang(model, true);
	t = unit->ops->detach(&a, 0x110);
	ATF_CHECK_EQ(unit->ops->detach(&a, 0x110).seq, t.seq);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0x110), E_BUSY);
	model_viommu_hang(model, false);
	ATF_CHECK_EQ(wait_for(t), OK);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0x110), OK);
	/* The device says no: nothing else is wrong with it. */
	model_viommu_refuse(model, VREQ_ATTACH, VS_UNSUPP);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x118), E_REFUSED);
	ATF_CHECK(fake_logged("refuses to attach"));
	ATF_CHECK(a.endpoints == 0 && fake_broken == 0);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x118), OK);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(what_cannot_be_mapped_is_refused);
ATF_TC_BODY(what_cannot_be_mapped_is_refused, tc)
{
	struct variant v = { .name = "from 1 GiB, 64 KiB and 4 KiB",
		.unit = { .input_first = GIB, .input_last = BIT(40) - 1 } };
	struct iommu_domain d;

	start(&v);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
	ATF_CHECK_EQ(map_only(&d, AT, RAM, 0, IOMMU_READ), E_ALIGN);
	ATF_CHECK_EQ(map_only(&d, AT + 1, RAM, PAGE_SIZE, IOMMU_READ), E_ALIGN);
	ATF_CHECK_EQ(map_only(&d, AT, RAM + 512, PAGE_SIZE, IOMMU_READ), E_ALIGN);
	ATF_CHECK_EQ(map_only(&d, AT, RAM, PAGE_SIZE - 1, IOMMU_READ), E_ALIGN);
	ATF_CHECK_EQ(map_only(&d, GIB - PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, BIT(40) - PAGE_SIZE, RAM, 2 * PAGE_SIZE, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, ~PAGE_MASK, RAM, 2 * PAGE_SIZE, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, AT, ~PAGE_MASK, 2 * PAGE_SIZE, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, AT, RAM, PAGE_SIZE, 0), E_INVALID);
	ATF_CHECK_EQ(map_only(&d, BIT(40) - PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ), OK);
	NO_VIOLATION(&v);
	/* What the unit reserves (VIO-18), and the page beside it. */
	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
	ATF_CHECK_EQ(map_only(&d, 0x0809'0000, RAM, PAGE_SIZE, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, 0x0809'f000, RAM, PAGE_SIZE, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, 0x0800'0000, RAM, 2 * MIB, IOMMU_READ), E_RANGE);
	ATF_CHECK_EQ(map_only(&d, 0x080a'0000, RAM, PAGE_SIZE, IOMMU_READ), OK);
	ATF_CHECK_EQ(unit->ops->map_doorbell(
			 &d, (struct iova){ 0x0800'0000 }, (struct paddr){ 0x0809'0000 }),
	    OK);
	ATF_REQUIRE_EQ(wait_for(unit->ops->sync(&d)), OK);
	ATF_CHECK(reaches(0x110, 0x0800'0040, 0x0809'0040, true) &&
	    !reaches(0x110, 0x0800'0040, 0x0809'0040, false));
	NO_VIOLATION(&variants[0]);
	set(&variants[0]);
	machine.irqc.its_count = 0;
	ATF_REQUIRE_EQ(viommu_driver.probe(&machine, 0), OK);
	unit = fake_units[0];
	make(&d);
	ATF_CHECK_EQ(unit->ops->map_doorbell(
			 &d, (struct iova){ 0x0800'0000 }, (struct paddr){ 0x0809'0000 }),
	    E_UNSUPPORTED);
}

/* ---- Tickets ---- */

ATF_TC_WITHOUT_HEAD(many_unmaps_are_one_notification);
ATF_TC_BODY(many_unmaps_are_one_notification, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t = { 0 };

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
	for (unsigned i = 0; i < 100; i++)
		map(&d, AT + i * PAGE_SIZE, RAM + i * PAGE_SIZE, PAGE_SIZE, IOMMU_READ);
	(void)model_viommu_kicks(model);
	for (unsigned i = 0; i < 100; i++)
		t = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	ATF_CHECK_EQ(wait_for(t), OK);
	ATF_CHECK_EQ(model_viommu_kicks(model), 1);
}

/* D13: maps run out with an error code, unmaps never. */
ATF_TC_WITHOUT_HEAD(more_requests_than_slots_are_all_answered);
ATF_TC_BODY(more_requests_than_slots_are_all_answered, tc)
{
	enum { N = 2000 };

	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		struct iommu_ticket t = { 0 };
		unsigned n = 0;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
		for (unsigned i = 0; i < N; i++) {
			map(&d, AT + i * PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ);
			if (i % 500 == 0)
				NO_VIOLATION(v);
		}
		for (unsigned i = 0; i < N; i++)
			t = unmap(&d, AT + i * PAGE_SIZE,
			    PAGE_SIZE); /* waits for the oldest when it must */
		ATF_REQUIRE_EQ_MSG(wait_for(t), OK, "%s", v->name);
		ATF_CHECK(!model_viommu_reaches(model, RAM));
		model_viommu_hang(model, true);
		while (map_only(&d, AT + n * PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ) == OK)
			n++;
		ATF_CHECK(n > VIO_SLOTS / 2 && n < VIO_SLOTS);
		ATF_CHECK_EQ(
		    map_only(&d, AT + n * PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ), E_NO_MEMORY);
		model_viommu_hang(model, false);
		ATF_REQUIRE_EQ(wait_for(unit->ops->sync(&d)), OK);
		ATF_CHECK_EQ(map_only(&d, AT + n * PAGE_SIZE, RAM, PAGE_SIZE, IOMMU_READ), OK);
		ATF_CHECK_EQ(fake_broken, 0);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(domain_ids_run_out_and_rest_until_their_domain_is_gone);
ATF_TC_BODY(domain_ids_run_out_and_rest_until_their_domain_is_gone, tc)
{
	struct iommu_domain d[4], e = { 0 };

	start(&variants[5]);		/* four */
	for (unsigned i = 0; i < 4; i++)
		make(&d[i]);
	e.unit = unit;
	ATF_CHECK_EQ(unit->ops->domain_init(&e), E_BUSY);
	ATF_REQUIRE_EQ(unit->ops->attach(&d[2], 0x110), OK);
	model_viommu_hang(model, true);
	(void)unit->ops->detach(&d[2], 0x110);
	unit->ops->domain_fini(&d[2]);
	ATF_CHECK_EQ(unit->ops->domain_init(&e), E_BUSY);
	model_viommu_hang(model, false);
	for (unsigned i = 0; i < 50 && unit->ops->domain_init(&e) == E_BUSY; i++)
		(void)clock_now();
	ATF_CHECK(e.tag != 0);
	NO_VIOLATION(&variants[5]);
}

/* ---- A unit that lies ---- */

static void
broken_by(const char *why)
{
	struct iommu_domain d = { .unit = unit };

	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK_MSG(strstr(fake_broken_why, why) != NULL, "%s", fake_broken_why);
	ATF_CHECK_EQ(unit->ops->domain_init(&d), E_QUARANTINED);
}

ATF_TC_WITHOUT_HEAD(an_answer_that_cannot_be_breaks_the_unit);
ATF_TC_BODY(an_answer_that_cannot_be_breaks_the_unit, tc)
{
	static const char *const why[] = { "not asked", "not asked", "not asked",
		"refuses to unmap", "gave up", "refuses a mapping", "refuses to unmap",
		"refuses to detach", "refuses to unmap" };

	for (unsigned kind = 0; kind < ARRAY_SIZE(why); kind++) {
		struct iommu_domain d;
		struct iommu_ticket t;

		start(&variants[0]);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
		map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ);
		model_viommu_hang(model, kind < 5);
		switch (kind) {
		case 5: model_viommu_refuse(model, VREQ_MAP, VS_NOMEM); break;
		case 6: model_viommu_refuse(model, VREQ_UNMAP, VS_RANGE); break;
		case 7: model_viommu_refuse(model, VREQ_DETACH, VS_INVAL); break;
		case 8: model_viommu_short(model); break;
		}
		if (kind == 5) {
			ATF_REQUIRE_EQ(
			    map_only(&d, AT + PAGE_SIZE, page(0), PAGE_SIZE, IOMMU_READ), OK);
			t = unit->ops->sync(&d);
		} else {
			t = kind == 7 ? unit->ops->detach(&d, 0x110) : unmap(&d, AT, PAGE_SIZE);
		}
		if (kind < 5)
			ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
		switch (kind) {
		case 0: model_viommu_forge(model, 2); break;		/* of a pair that is free */
		case 1: model_viommu_forge(model, 1); break;		/* the second of a pair */
		case 2: model_viommu_forge(model, 0xffff'fffe); break;
		case 3:
			model_viommu_run_ahead(model);
			break; /* old bytes of the ring: answers without any */
		case 4: model_viommu_give_up(model); break;
		}
		ATF_CHECK_EQ(wait_for(t), E_QUARANTINED);
		broken_by(why[kind]);
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x118), E_QUARANTINED);
		ATF_CHECK_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), E_QUARANTINED);
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, unmap(&d, AT, PAGE_SIZE)), E_QUARANTINED);
	}
}

ATF_TC_WITHOUT_HEAD(only_who_attaches_or_asks_waits_for_a_hanging_unit);
ATF_TC_BODY(only_who_attaches_or_asks_waits_for_a_hanging_unit, tc)
{
	struct iommu_domain a;
	struct iommu_ticket t;
	uint64_t before;

	start(&variants[0]);
	make(&a);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x110), OK);
	map(&a, AT, RAM, 2 * PAGE_SIZE, IOMMU_READ);
	model_viommu_hang(model, true);
	before = fake_now;
	ATF_CHECK_EQ(map_only(&a, AT + MIB, RAM, PAGE_SIZE, IOMMU_READ), OK);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, unit->ops->sync(&a)), E_WOULD_BLOCK);
	t = unmap(&a, AT, 2 * PAGE_SIZE);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	t = unit->ops->detach(&a, 0x110);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	ATF_CHECK(fake_now - before < 10 * NS_PER_US);
	ATF_CHECK_EQ(fake_broken, 0);
	make(&a);
	before = fake_now;
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x118), E_QUARANTINED);
	ATF_CHECK(fake_now - before < 2 * NS_PER_S);
	broken_by("attach is not answered");
}

/* ---- Events, the end ---- */

/* VIO-20 */
ATF_TC_WITHOUT_HEAD(faults_are_reported_and_what_was_dropped_is_said_to_be);
ATF_TC_BODY(faults_are_reported_and_what_was_dropped_is_said_to_be, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		struct dma_fault f[64];
		struct iommu_ticket t;
		bool lost = false;
		uint32_t got = 0, size;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
		ATF_CHECK(unit->ops->quiet(unit, true, &t) && t.seq == 0);
		(void)model_viommu_dma(model, 0x110, AT + 0x123, true);
		ATF_CHECK(!unit->ops->quiet(unit, true, &t) && t.seq == 0);
		(void)model_viommu_dma(model, 0x118, 0x5000, false);
		ATF_REQUIRE_EQ(unit->ops->drain_faults(unit, f, 64, &lost), 2);
		ATF_CHECK(unit->ops->quiet(unit, true, &t));
		ATF_CHECK(f[0].kind == FAULT_NOT_MAPPED && f[0].iova == AT + 0x123 && f[0].write &&
		    f[0].endpoint == 0x110 && f[0].address_valid && f[0].code == 2);
		ATF_CHECK(f[1].kind == FAULT_BLOCKED && f[1].endpoint == 0x118 && !f[1].write);
		ATF_CHECK(!lost);
		size = v->unit.queue_size != 0 && v->unit.queue_size < VIO_EVENTS ?
		    v->unit.queue_size :
		    VIO_EVENTS;
		for (unsigned i = 0; i < 100; i++)
			(void)model_viommu_dma(model, 0x110, i * PAGE_SIZE, false);
		for (uint32_t n = 1; n != 0; got += n) {
			bool now;

			n = unit->ops->drain_faults(unit, f, 7, &now);
			lost |= now;
		}
		ATF_CHECK_EQ(got, size);
		ATF_CHECK(lost);
		drain_all();
		(void)model_viommu_dma(model, 0x110, 0x9000, false);
		ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 64, &lost), 1);
		ATF_CHECK(!lost && f[0].iova == 0x9000);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(shut_detaches_everybody_without_a_lock);
ATF_TC_BODY(shut_detaches_everybody_without_a_lock, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x110), OK);
		map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ);
		viommu_of(unit)->lock.held = 1;		/* by the CPU that the panic stopped */
		unit->ops->shut(unit);
		viommu_of(unit)->lock.held = 0;
		ATF_CHECK_MSG(blocked(0x110), "%s", v->name);
		NO_VIOLATION(v);
	}
	start(&variants[0]);
	model_viommu_hang(model, true);
	{
		struct iommu_domain d = { .unit = unit };
		uint64_t before;

		make(&d);
		before = fake_now;
		unit->ops->shut(unit);
		ATF_CHECK(fake_now - before < 2 * NS_PER_MS);
	}
}

ATF_TP_ADD_TCS(tp)
{
	UNIT_CONFORMANCE(tp);
	ATF_TP_ADD_TC(tp, every_kind_of_unit_is_taken_over_and_nobody_passes);
	ATF_TP_ADD_TC(tp, facts_say_what_the_unit_can_do);
	ATF_TP_ADD_TC(tp, what_is_missing_is_said_by_name);
	ATF_TP_ADD_TC(tp, an_endpoint_that_comes_later_is_asked_then);
	ATF_TP_ADD_TC(tp, a_domain_lives_from_its_first_endpoint_to_its_last);
	ATF_TP_ADD_TC(tp, attach_and_detach_are_asked_for_once_and_answered_right);
	ATF_TP_ADD_TC(tp, what_cannot_be_mapped_is_refused);
	ATF_TP_ADD_TC(tp, many_unmaps_are_one_notification);
	ATF_TP_ADD_TC(tp, more_requests_than_slots_are_all_answered);
	ATF_TP_ADD_TC(tp, domain_ids_run_out_and_rest_until_their_domain_is_gone);
	ATF_TP_ADD_TC(tp, an_answer_that_cannot_be_breaks_the_unit);
	ATF_TP_ADD_TC(tp, only_who_attaches_or_asks_waits_for_a_hanging_unit);
	ATF_TP_ADD_TC(tp, faults_are_reported_and_what_was_dropped_is_said_to_be);
	ATF_TP_ADD_TC(tp, shut_detaches_everybody_without_a_lock);
	return atf_no_error();
}
