/*
 * The AMD-Vi driver against the strict software unit: take-over, refusals, domains, aliases,
 * events, reserved memory.
 */
/* LINK: dev/iommu/amdvi.c dev/iommu/amdvi_tables.c dev/iommu/amdvi_queue.c
 * LINK: dev/iommu/amdvi_event.c
 * LINK: dev/iommu/amdvi_irq.c dev/iommu/iopt.c dev/iommu/fmt_amdv1.c dev/iommu/cmdring.c
 * LINK: kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/model_amdvi.c
 * LINK: tests/lib/model_amdvi_cache.c */
#include "tests/lib/amdvi_stage.h"

/* ---- Take-over ---- */

/* D1, AMD-31 */
ATF_TC_WITHOUT_HEAD(every_kind_of_unit_is_taken_over_by_the_rules);
ATF_TC_BODY(every_kind_of_unit_is_taken_over_by_the_rules, tc)
{
	FOR_EACH_VARIANT(v) {
		start(v);
		NO_VIOLATION(v);
		ATF_CHECK_EQ(model_amdvi_control(model),
		    CTL_IOMMU_EN | CTL_HT_TUN | CTL_EVTLOG_EN | CTL_PASS_PW | CTL_CMDBUF_EN |
			(v->memory.not_coherent ? 0 : CTL_COHERENT));
		ATF_CHECK(model_amdvi_flushed(model));
		ATF_CHECK_EQ(unit->facts.coherent, !v->memory.not_coherent);
		ATF_CHECK_EQ(unit->facts.fault_log, !v->unit.no_events);
		ATF_CHECK_EQ(unit->facts.map_invalidates, v->unit.np_cache || v->unit.hidden);
		ATF_CHECK(unit->facts.write_only && !unit->facts.interrupt_isolation);
		for (uint32_t rid = 0; rid < 0x10000; rid += 1 + rid / 7)
			ATF_REQUIRE_MSG(blocked(rid, AT) && blocked(rid, RAM), "%s: requester 0x%x",
			    v->name, rid);
		ATF_CHECK(blocked(0xffff, AT));
		ATF_CHECK(
		    blocked(IOAPIC, RAM)); /* its interrupts pass, its memory accesses do not */
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(facts_say_what_the_unit_can_do);
ATF_TC_BODY(facts_say_what_the_unit_can_do, tc)
{
	start(&variants[0]);
	ATF_CHECK_EQ(unit->facts.iova_bits, 48);
	ATF_CHECK_EQ(unit->facts.page_sizes, BIT(12) | BIT(21) | BIT(30));
	ATF_CHECK_EQ(unit->facts.output_bits, 40);
	ATF_CHECK_EQ(unit->facts.domains_max, AMDVI_DOMAINS_MAX - 1);
	ATF_CHECK(unit->facts.range_invalidation && !unit->facts.map_invalidates);
	ATF_CHECK_STREQ(
	    unit->facts.text, "AMD-Vi, 4 levels, 48 address bits, 4K/2M/1G, page invalidation");
	ATF_CHECK_STREQ(unit->name, "amdvi0");
	start(&variants[9]);
	ATF_CHECK_EQ(unit->facts.output_bits, 52);
	ATF_CHECK(strstr(unit->facts.text, "caches absent entries") != NULL);
}

/* BOOT-14, D1, AMD-20, AMD-21 */
ATF_TC_WITHOUT_HEAD(firmwares_translation_is_taken_over_without_a_window);
ATF_TC_BODY(firmwares_translation_is_taken_over_without_a_window, tc)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct variant v = { .name = "firmware",
			.unit = { .firmware = true,
			    .ack_delay = kind,
			    .lag = kind,
			    .firmware_engines = kind >= 1,
			    .firmware_hole = kind >= 2,
			    .np_cache = kind == 3 } };

		set(&v);
		model_amdvi_watch(model, 0x28, RAM + 0x5000);
		model_amdvi_watch(model, 0x1234, 0x1000);
		ATF_REQUIRE_EQ(amdvi_driver.probe(machine, 0), OK);
		NO_VIOLATION(&v);
		ATF_CHECK_EQ(model_amdvi_windows(model), 0);
		ATF_CHECK_EQ(model_amdvi_off(model), 0);
		ATF_CHECK_EQ(fake_units[0]->counters.errors, 0);
		ATF_CHECK(blocked(0x28, RAM + 0x5000));
		ATF_CHECK(blocked(0x1234, 0x1000));
	}
}

/* D11: a log that does not work is said not to, and one that does is empty after its trial. */
ATF_TC_WITHOUT_HEAD(the_log_is_tried_before_it_is_believed);
ATF_TC_BODY(the_log_is_tried_before_it_is_believed, tc)
{
	struct dma_fault f;
	bool lost;

	start(&variants[0]);
	ATF_CHECK(unit->facts.fault_log);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, &f, 1, &lost), 0);
	ATF_CHECK(!lost);
	ATF_CHECK_EQ(unit->counters.errors, 0);
	start(&variants[1]);
	ATF_CHECK(!unit->facts.fault_log);
	start(&variants[9]);
	ATF_CHECK(unit->facts.fault_log);
}

/* ---- Refusals ---- */

static void
is_refused(const struct variant *v, const char *why, bool blocks)
{
	unsigned errors = 0;

	ATF_CHECK_EQ_MSG(amdvi_driver.probe(machine, 0), E_UNSUPPORTED, "%s", v->name);
	ATF_CHECK_EQ(fake_unit_count, 0);
	ATF_CHECK_MSG(fake_logged(why), "%s: %s", v->name, fake_log());
	for (const char *p = fake_log(); (p = strstr(p, "refused: ")) != NULL; p++)
		errors++;
	ATF_CHECK_EQ_MSG(errors, 1, "%s: %s", v->name, fake_log());
	if (blocks) {
		ATF_CHECK_MSG(blocked(0x28, RAM), "%s", v->name);
		ATF_CHECK(fake_logged("all its devices are blocked"));
	}
	NO_VIOLATION(v);
}

ATF_TC_WITHOUT_HEAD(what_is_missing_is_said_by_name);
ATF_TC_BODY(what_is_missing_is_said_by_name, tc)
{
	static const struct { struct variant v; const char *why;
	} bad[] = {
		{ { .name = "gone", .unit.gone = true }, "read as all ones" },
		{ { .name = "no flush", .unit.efr = MODEL_AMDVI_EFR & ~(uint64_t)EFR_IA },
		    "EFR.IA" },
		{ { .name = "other base", .unit.function_base = 0xfeb80001 },
		    "its registers at another place" },
		{ { .name = "other capability", .unit.header = 0x05 }, "no such capability" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set(&bad[i].v);
		is_refused(&bad[i].v, bad[i].why, false);
	}
	for (unsigned i = 0; i < 3; i++) {
		set(&variants[0]);
		machine->iommu[0].capability = (uint16_t[]){ 0, 0x42, 0xfc }[i];
		is_refused(&variants[0], "no place for its capability", false);
	}
}

ATF_TC_WITHOUT_HEAD(an_engine_that_does_not_obey_is_a_refusal_in_bounded_time);
ATF_TC_BODY(an_engine_that_does_not_obey_is_a_refusal_in_bounded_time, tc)
{
	uint64_t before = NS_PER_S;

	set(&variants[7]);
	model_amdvi_stuck(model, CTL_CMDBUF_EN);
	ATF_CHECK_EQ(amdvi_driver.probe(machine, 0), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("firmware's command buffer does not stop"));
	set(&variants[7]);
	model_amdvi_stuck(model, CTL_EVTLOG_EN);
	ATF_CHECK_EQ(amdvi_driver.probe(machine, 0), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("firmware's event log does not stop"));
	set(&variants[0]);
	model_amdvi_stuck(model, CTL_IOMMU_EN);
	is_refused(&variants[0], "command buffer does not start", false);
	ATF_CHECK(fake_logged("may not be blocked"));
	set(&variants[0]);
	model_amdvi_hang(model, true);
	is_refused(&variants[0], "an invalidation does not complete", false);
	ATF_CHECK(blocked(0x28, AT));
	ATF_CHECK(fake_now - before < 10 * NS_PER_S);
	ATF_CHECK_EQ(fake_broken, 0);		/* it was never the kernel's */
}

ATF_TC_WITHOUT_HEAD(no_memory_is_a_refusal_wherever_it_runs_out);
ATF_TC_BODY(no_memory_is_a_refusal_wherever_it_runs_out, tc)
{
	unsigned n = 0;
	enum status s = E_NO_MEMORY;

	for (; s != OK && n < 20; n++) {
		set(&variants[0]);
		fake_fail_alloc(n);
		s = amdvi_driver.probe(machine, 0);
		if (s != OK) {
			ATF_CHECK_EQ(s, E_NO_MEMORY);
			ATF_CHECK(fake_logged("refused: no memory"));
			ATF_CHECK_EQ(fake_unit_count, 0);
		}
		NO_VIOLATION(&variants[0]);
	}
	ATF_CHECK_EQ(n, 6);	/* the unit, table, ring, status word, log: five */
}

/* ---- Golden vectors: specs/amdvi.md section 10 ---- */

ATF_TC_WITHOUT_HEAD(entries_are_the_golden_vectors);
ATF_TC_BODY(entries_are_the_golden_vectors, tc)
{
	struct iommu_domain d;
	uint64_t e[4];

	start(&variants[0]);
	model_amdvi_entry(model, 0x28, e);
	ATF_CHECK(e[0] == 3 && e[1] == 0 && e[2] == 1 && e[3] == 0);
	make(&d);
	ATF_CHECK_EQ(d.tag, 1);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	model_amdvi_entry(model, 0x28, e);
	ATF_CHECK_EQ(e[0], d.root.v | 0x6000'0000'0000'0803);		/* four levels */
	ATF_CHECK(e[1] == 1 && e[2] == 0 && e[3] == 0);
	ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&d, 0x28)), OK);
	model_amdvi_entry(model, 0x28, e);
	ATF_CHECK(e[0] == 3 && e[2] == 1);
}

ATF_TC_WITHOUT_HEAD(commands_are_the_golden_vectors);
ATF_TC_BODY(commands_are_the_golden_vectors, tc)
{
	struct iommu_domain d;
	uint32_t n = 0;

	start(&variants[0]);
	/* Of probe: everything, wait; the trial; everything, wait. */
	ATF_CHECK_EQ(model_amdvi_command(model, n, 0), 0x8000'0000'0000'0000);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 0);
	ATF_CHECK_EQ(model_amdvi_command(model, n, 0) & ~BITS(51, 3), 0x1000'0000'0000'0005);
	ATF_CHECK(fake_is_memory(model_amdvi_command(model, n, 0) & BITS(51, 3), 8));
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 1);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 0), 0);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 0), 0x8000'0000'0000'0000);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 2);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	ATF_CHECK_EQ(model_amdvi_command(model, n, 0), 0x2000'0000'0000'0028);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 0);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 0) >> 60, 1);
	ATF_CHECK_EQ(model_amdvi_command(model, n, 0), 0x3000'0001'0000'0000);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 0x7fff'ffff'ffff'f003);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 3);
	map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ); /* from absent to present: nothing */
	ATF_REQUIRE_EQ(wait_for(unmap(&d, AT, PAGE_SIZE)), OK);
	ATF_CHECK_EQ(model_amdvi_command(model, n, 0), 0x3000'0001'0000'0000);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), AT);
	ATF_CHECK_EQ(model_amdvi_command(model, n++, 1), 4);
	NO_VIOLATION(&variants[0]);
}

/* ---- Domains ---- */

ATF_TC_WITHOUT_HEAD(attach_and_detach_are_asked_for_once_and_answered_right);
ATF_TC_BODY(attach_and_detach_are_asked_for_once_and_answered_right, tc)
{
	struct iommu_domain a, b;
	struct iommu_ticket t;

	start(&variants[0]);
	make(&a);
	make(&b);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x10000), E_RANGE);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, 0xffff), OK);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0xffff), E_BUSY);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0xffff), E_BUSY);
	ATF_CHECK_EQ(unit->ops->detach(&b, 0xffff).seq, 0);	/* not b's: nothing happens */
	ATF_CHECK_EQ(unit->ops->detach(&b, 0x28).seq, 0);
	ATF_CHECK_EQ(a.endpoints, 1);
	model_amdvi_hang(model, true);
	t = unit->ops->detach(&a, 0xffff);
	ATF_CHECK_EQ(unit->ops->detach(&a, 0xffff).seq, t.seq);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0xffff), E_BUSY); /* what it held may still be there */
	model_amdvi_hang(model, false);
	ATF_CHECK_EQ(wait_for(t), OK);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0xffff), OK);
	NO_VIOLATION(&variants[0]);
}

/* AMD-07, AMD-36 */
ATF_TC_WITHOUT_HEAD(an_alias_and_all_that_appear_as_it_are_attached_and_blocked_together);
ATF_TC_BODY(an_alias_and_all_that_appear_as_it_are_attached_and_blocked_together, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d, o;
		struct dma_fault f[4];
		uint64_t p;
		bool lost;

		start(v);
		model_amdvi_alias(0x208, 0x200);
		model_amdvi_alias(0x210, 0x200);
		model_amdvi_alias(0x300, 0x300);
		make(&d);
		make(&o);
		p = page(0);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x200), OK);
		map(&d, AT, p, PAGE_SIZE, IOMMU_READ);
		ATF_CHECK(reaches(0x200, AT, p, false) && reaches(0x208, AT, p, false) &&
		    reaches(0x210, AT, p, false));
		ATF_CHECK(blocked(0x300, AT) && blocked(0x218, AT));
		ATF_CHECK_EQ(unit->endpoints, 1);
		ATF_CHECK_EQ(unit->ops->attach(&o, 0x208), E_BUSY);
		while (unit->ops->drain_faults(unit, f, 4, &lost) != 0)
			;
		ATF_CHECK(refused(0x210, AT + PAGE_SIZE, true));
		if (unit->facts.fault_log && !v->unit.late_events)
			ATF_REQUIRE_EQ(unit->ops->drain_faults(unit, f, 1, &lost), 1);
		if (unit->facts.fault_log && !v->unit.late_events)
			ATF_CHECK_EQ_MSG(f[0].endpoint, 0x200, "%s",
			    v->name); /* the endpoint, by which the kernel knows it */
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&d, 0x200)), OK);
		ATF_CHECK(blocked(0x200, AT) && blocked(0x208, AT) && blocked(0x210, AT));
		ATF_CHECK(!model_amdvi_reaches(model, p));
		NO_VIOLATION(v);
	}
	start(&variants[0]);
	for (uint16_t i = 1; i <= AMDVI_ALIASES_MAX; i++)
		model_amdvi_alias((uint16_t)(0x200 + i), 0x200);
	{
		struct iommu_domain d;

		make(&d);
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x200), E_OVERFLOW);
		ATF_CHECK(blocked(0x200, AT) && blocked(0x201, AT));
	}
}

ATF_TC_WITHOUT_HEAD(no_memory_for_a_bus_leaves_it_blocked);
ATF_TC_BODY(no_memory_for_a_bus_leaves_it_blocked, tc)
{
	struct iommu_domain d;

	start(&variants[0]);
	make(&d);
	fake_fail_alloc(0);
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x300), E_NO_MEMORY);
	fake_fail_alloc(-1);
	ATF_CHECK(blocked(0x300, AT));
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x300), OK);
	ATF_CHECK_EQ(d.endpoints, 1);
}

ATF_TC_WITHOUT_HEAD(what_cannot_be_mapped_is_refused);
ATF_TC_BODY(what_cannot_be_mapped_is_refused, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t out = BIT(v->unit.host_width != 0 ? v->unit.host_width : 40);

		start(v);
		make(&d);
#define MAP(at, to, len) \
	unit->ops->map(&d, (struct iova){ at }, (struct paddr){ to }, len, IOMMU_READ)
		ATF_CHECK_EQ(MAP(BIT(48), RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(BIT(48) - PAGE_SIZE, RAM, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, out, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, UINT64_MAX & ~PAGE_MASK, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, RAM + 1, PAGE_SIZE), E_ALIGN);
		ATF_CHECK_EQ(MAP(AT + 1, RAM, PAGE_SIZE), E_ALIGN);
		/* The interrupt range and HyperTransport's, as address and as memory (AMD-44). */
		ATF_CHECK_EQ(MAP(0xfee0'0000, RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfedf'f000, RAM, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, 0xfeef'f000, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfd'0000'0000, RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0xff'ffff'f000, RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, 0xfd'0000'0000, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfedf'f000, RAM, PAGE_SIZE), OK);
		ATF_CHECK_EQ(MAP(0xfc'ffff'f000, RAM, PAGE_SIZE), OK);
		ATF_CHECK_EQ(MAP(0x100'0000'0000, RAM, PAGE_SIZE), OK);
#undef MAP
		ATF_CHECK_EQ(
		    unit->ops->map_doorbell(&d, (struct iova){ AT }, (struct paddr){ 0xfee0'0000 }),
		    E_UNSUPPORTED);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(large_pages_are_used);
ATF_TC_BODY(large_pages_are_used, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t p;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
		p = page(9);
		map(&d, AT, p, 2 * MIB, IOMMU_READ | IOMMU_WRITE);
		ATF_CHECK(reaches(0x28, AT + 0x12'3450, p + 0x12'3450, true));
		ATF_CHECK_EQ(d.table_pages, 3);
		ATF_CHECK_EQ(quota.pages, 3);
		ATF_REQUIRE_EQ(wait_for(unmap(&d, AT, 2 * MIB)), OK);
		frame_free((struct paddr){ p }, 9);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(quota_and_memory_run_out_with_an_error_code);
ATF_TC_BODY(quota_and_memory_run_out_with_an_error_code, tc)
{
	struct iommu_domain d = { 0 };

	start(&variants[0]);
	quota.pages_max = 0;
	d = (struct iommu_domain){ .unit = unit, .quota = &quota };
	ATF_CHECK_EQ(unit->ops->domain_init(&d), E_QUOTA);
	quota.pages_max = 2;
	for (unsigned i = 0; i < 2 * AMDVI_DOMAINS_MAX; i++) {	/* a failure does not cost an id */
		fake_fail_alloc(0);
		d = (struct iommu_domain){ .unit = unit, .quota = &quota };
		ATF_REQUIRE_EQ(unit->ops->domain_init(&d), E_NO_MEMORY);
	}
	fake_fail_alloc(-1);
	make(&d);
	ATF_CHECK_EQ(unit->ops->map(
			 &d, (struct iova){ AT }, (struct paddr){ page(0) }, PAGE_SIZE, IOMMU_READ),
	    E_QUOTA);
	unit->ops->domain_fini(&d);
	ATF_CHECK_EQ(quota.pages, 0);
}

/* ---- Events ---- */

ATF_TC_WITHOUT_HEAD(faults_are_reported_with_device_address_and_kind);
ATF_TC_BODY(faults_are_reported_with_device_address_and_kind, tc)
{
	struct iommu_domain d;
	struct dma_fault f[16];
	struct iommu_ticket ticket;
	bool lost = false;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 16, &lost), 0);
	ATF_CHECK(unit->ops->quiet(unit, true, &ticket) && ticket.seq == 0);
	(void)model_amdvi_dma(model, 0x28, AT + 0x7123, false);
	ATF_CHECK(!unit->ops->quiet(unit, true, &ticket) && ticket.seq == 0);
	(void)model_amdvi_dma(model, 0x28, AT + 8, true);
	(void)model_amdvi_dma(model, 0x29, 0x5000, true);
	(void)model_amdvi_dma(model, 0x28, 1ull << 60, false);
	model_amdvi_event(model, 2ull << 60 | EVT_I | 0x28, 0xfee0'0000);
	model_amdvi_event(model, 1ull << 60 | 0x28, 0x1234);
	model_amdvi_event(model, 3ull << 60 | 0x28, RAM);
	model_amdvi_event(model, 4ull << 60 | 0x28, RAM);
	model_amdvi_event(model, 7ull << 60, RAM);		/* no requester's */
	model_amdvi_event(model, 8ull << 60 | 0x28, AT);
	model_amdvi_event(model, 13ull << 60 | 0x28, AT);
	ATF_REQUIRE_EQ(unit->ops->drain_faults(unit, f, 16, &lost), 10);
	ATF_CHECK(unit->ops->quiet(unit, true, &ticket));
	ATF_CHECK(!lost);
	ATF_CHECK(f[0].kind == FAULT_NOT_MAPPED && f[0].iova == AT + 0x7123 &&
	    f[0].endpoint == 0x28 && !f[0].write && f[0].address_valid && f[0].code == 2);
	ATF_CHECK(f[1].kind == FAULT_PERMISSION && f[1].iova == AT + 8 && f[1].write);
	ATF_CHECK(f[2].kind == FAULT_BLOCKED && f[2].endpoint == 0x29);
	ATF_CHECK(f[3].kind == FAULT_ADDRESS);
	ATF_CHECK(f[4].kind == FAULT_INTERRUPT && !f[4].address_valid && f[4].iova == 0);
	for (unsigned i = 5; i < 8; i++) /* D3: what may be an address of memory is not told */
		ATF_CHECK(f[i].kind == FAULT_CONFIG && !f[i].address_valid && f[i].iova == 0);
	ATF_CHECK_EQ(f[8].kind, FAULT_TRANSLATED);
	ATF_CHECK_EQ(f[9].kind, FAULT_OTHER);
	ATF_CHECK_EQ(unit->counters.errors, 1);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 16, &lost), 0);
	NO_VIOLATION(&variants[0]);
}

/* AMD-61, AMD-62 */
ATF_TC_WITHOUT_HEAD(the_log_wraps_overflows_and_goes_on);
ATF_TC_BODY(the_log_wraps_overflows_and_goes_on, tc)
{
	for (unsigned k = 0; k < 2; k++) {
		const struct variant *v = &variants[k == 0 ? 0 : 9];
		struct dma_fault f[16];
		uint64_t next = 0, want = 0;
		bool lost = false;
		uint32_t n, got;

		start(v);
		for (unsigned round = 0; round < 60; round++) {
			for (unsigned i = 0; i <= round % 13; i++)
				(void)model_amdvi_dma(model, 0x28, next++ * PAGE_SIZE, true);
			for (unsigned tries = 0; want != next && tries < 400; tries++) {
				n = unit->ops->drain_faults(unit, f, 3, &lost);
				ATF_REQUIRE(n <= 3 && !lost);
				for (unsigned i = 0; i < n; i++)
					ATF_REQUIRE_EQ(f[i].iova, want++ * PAGE_SIZE);
				if (k == 0)
					continue;
				(void)unit_read64(
				    amdvi_of(unit)->regs, AMDVI_EVT_TAIL); /* time goes by */
				(void)unit_read64(amdvi_of(unit)->regs, AMDVI_EVT_TAIL);
				(void)unit_read64(amdvi_of(unit)->regs, AMDVI_EVT_TAIL);
				(void)unit_read64(amdvi_of(unit)->regs, AMDVI_EVT_TAIL);
			}
			ATF_REQUIRE_EQ(want, next);
		}
		if (k == 1)
			continue;
		for (unsigned i = 0; i < 300; i++)
			(void)model_amdvi_dma(model, 0x28, i * PAGE_SIZE, true);
		for (got = 0; !lost; got += n)
			n = unit->ops->drain_faults(unit, f, 16, &lost);
		ATF_CHECK_EQ(got, 255);
		(void)model_amdvi_dma(model, 0x28, 0x9000, false);
		ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 16, &lost), 1); /* it records again */
		ATF_CHECK(!lost && f[0].iova == 0x9000);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_record_that_never_comes_is_lost_and_the_next_is_read);
ATF_TC_BODY(a_record_that_never_comes_is_lost_and_the_next_is_read, tc)
{
	struct dma_fault f[4];
	bool lost = false;

	start(&variants[0]);
	model_amdvi_hole(model);
	(void)model_amdvi_dma(model, 0x28, 0x1000, true);
	(void)model_amdvi_dma(model, 0x28, 0x2000, true);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 4, &lost), 0);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 4, &lost), 0);
	ATF_CHECK(!lost);
	fake_now += 2 * NS_PER_MS;
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 4, &lost), 1);
	ATF_CHECK(lost && f[0].iova == 0x2000);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(a_unit_that_vanished_reports_no_faults);
ATF_TC_BODY(a_unit_that_vanished_reports_no_faults, tc)
{
	struct dma_fault f[4];
	bool lost = false;

	start(&variants[0]);
	(void)model_amdvi_dma(model, 0x28, 0x5000, true);
	model_amdvi_die(model);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 4, &lost), 0);
}

/* ---- Who is never attached ---- */

/* AMD-08, AMD-10 */
ATF_TC_WITHOUT_HEAD(reserved_memory_and_the_machines_own_functions_stay_blocked_by_name);
ATF_TC_BODY(reserved_memory_and_the_machines_own_functions_stay_blocked_by_name, tc)
{
	struct iommu_domain d;

	set(&variants[0]);
	machine->reserved_count = 2;
	machine->reserved[0] = (struct machine_reserved){ .base = 0x7b00'0000,
		.len = 0x20000,
		.requesters = true,
		.id_base = 0x100,
		.id_count = 8 };
	machine->reserved[1] = (struct machine_reserved){
		.base = 0x7c00'0000, .len = 0x1000, .segment = 1, .any_device = true
	};
	ATF_REQUIRE_EQ(amdvi_driver.probe(machine, 0), OK);
	unit = fake_units[0];
	make(&d);
	model_amdvi_alias(0x104, 0x200);
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x107), E_REFUSED);
	ATF_CHECK(fake_logged("device 01:00.7: firmware reserves memory for it"));
	ATF_CHECK(!fake_logged("7b000000"));		/* D3 */
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x200), E_REFUSED);	/* one that appears as it */
	ATF_CHECK_EQ(unit->ops->attach(&d, MODEL_AMDVI_RID), E_REFUSED);
	ATF_CHECK_EQ(unit->ops->attach(&d, IOAPIC), E_REFUSED);
	ATF_CHECK(
	    blocked(0x107, 0x7b00'0000) && blocked(0x200, AT) && blocked(MODEL_AMDVI_RID, AT));
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x108), OK);
	machine->reserved_lost = true;
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x109), E_REFUSED);
	NO_VIOLATION(&variants[0]);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, every_kind_of_unit_is_taken_over_by_the_rules);
	ATF_TP_ADD_TC(tp, facts_say_what_the_unit_can_do);
	ATF_TP_ADD_TC(tp, firmwares_translation_is_taken_over_without_a_window);
	ATF_TP_ADD_TC(tp, the_log_is_tried_before_it_is_believed);
	ATF_TP_ADD_TC(tp, what_is_missing_is_said_by_name);
	ATF_TP_ADD_TC(tp, an_engine_that_does_not_obey_is_a_refusal_in_bounded_time);
	ATF_TP_ADD_TC(tp, no_memory_is_a_refusal_wherever_it_runs_out);
	ATF_TP_ADD_TC(tp, entries_are_the_golden_vectors);
	ATF_TP_ADD_TC(tp, commands_are_the_golden_vectors);
	ATF_TP_ADD_TC(tp, attach_and_detach_are_asked_for_once_and_answered_right);
	ATF_TP_ADD_TC(tp, an_alias_and_all_that_appear_as_it_are_attached_and_blocked_together);
	ATF_TP_ADD_TC(tp, no_memory_for_a_bus_leaves_it_blocked);
	ATF_TP_ADD_TC(tp, what_cannot_be_mapped_is_refused);
	ATF_TP_ADD_TC(tp, large_pages_are_used);
	ATF_TP_ADD_TC(tp, quota_and_memory_run_out_with_an_error_code);
	ATF_TP_ADD_TC(tp, faults_are_reported_with_device_address_and_kind);
	ATF_TP_ADD_TC(tp, the_log_wraps_overflows_and_goes_on);
	ATF_TP_ADD_TC(tp, a_record_that_never_comes_is_lost_and_the_next_is_read);
	ATF_TP_ADD_TC(tp, a_unit_that_vanished_reports_no_faults);
	ATF_TP_ADD_TC(tp, reserved_memory_and_the_machines_own_functions_stay_blocked_by_name);
	return atf_no_error();
}
