/*
 * The VT-d driver against the strict software unit: take-over, refusals, domains, faults, reserved
 * regions.
 */
/* LINK: dev/iommu/vtd.c dev/iommu/vtd_tables.c dev/iommu/vtd_queue.c dev/iommu/vtd_fault.c
 * LINK: dev/iommu/vtd_irq.c
 * LINK: dev/iommu/iopt.c dev/iommu/fmt_vtdss.c dev/iommu/cmdring.c kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/model_vtd.c
 * LINK: tests/lib/model_vtd_cache.c
 * LINK: tests/lib/model_vtd_irq.c */
#include "tests/lib/vtd_stage.h"

#include "kern/dma/irqmap.h"

/* Interrupt remapping is not offered here: vtd_irq_test.c. */
bool irqmap_ioapics_known(const struct machine *m) { (void)m; return true; }
bool irqc_wide_ids(void) { return false; }

/* ---- Take-over ---- */

ATF_TC_WITHOUT_HEAD(every_kind_of_unit_is_taken_over_by_the_rules);
ATF_TC_BODY(every_kind_of_unit_is_taken_over_by_the_rules, tc)
{
	FOR_EACH_VARIANT(v) {
		start(v);
		NO_VIOLATION(v);
		ATF_CHECK_EQ(model_vtd_status(model) & (GCMD_TE | GCMD_QIE | GCMD_IRE | GCMD_EAFL),
		    GCMD_TE | GCMD_QIE);
		ATF_CHECK_EQ(unit->facts.coherent, !v->memory.not_coherent);
		ATF_CHECK(unit->facts.write_only && unit->facts.fault_log &&
		    !unit->facts.interrupt_isolation);
		ATF_CHECK_EQ(unit->facts.stage, 2);
		for (uint32_t sid = 0; sid < 0x10000; sid += 1 + sid / 7)
			ATF_REQUIRE_MSG(blocked(sid, AT) && blocked(sid, RAM), "%s: requester 0x%x",
			    v->name, sid);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(facts_say_what_the_unit_can_do);
ATF_TC_BODY(facts_say_what_the_unit_can_do, tc)
{
	start(&variants[0]);
	ATF_CHECK_EQ(unit->facts.iova_bits, 48);
	ATF_CHECK_EQ(unit->facts.page_sizes, BIT(12) | BIT(21) | BIT(30));
	ATF_CHECK_EQ(unit->facts.output_bits, 48);
	ATF_CHECK_EQ(unit->facts.domains_max, VTD_DIDS_MAX - 1);
	ATF_CHECK(unit->facts.range_invalidation && !unit->facts.map_invalidates);
	ATF_CHECK_STREQ(unit->facts.text,
	    "VT-d 1.0, 4 levels, 48 address bits, 4K/2M/1G, page invalidation, drains");
	ATF_CHECK_STREQ(unit->name, "vtd0");
	start(&variants[2]);
	ATF_CHECK_EQ(unit->facts.iova_bits, 39);
	ATF_CHECK_EQ(unit->facts.output_bits, 39);
	start(&variants[3]);
	ATF_CHECK_EQ(unit->facts.iova_bits, 57);
	ATF_CHECK(!unit->facts.range_invalidation);
	start(&variants[7]);
	ATF_CHECK(unit->facts.map_invalidates);
	start(&variants[9]);
	ATF_CHECK(unit->facts.map_invalidates);
	start(&variants[11]);
	ATF_CHECK_EQ(unit->facts.page_sizes, BIT(12));
	ATF_CHECK_EQ(unit->facts.iova_bits, 46);		/* less than its tables could */
	start(&variants[12]);
	ATF_CHECK_EQ(unit->facts.domains_max, 15);
}

/* BOOT-14, D1 */
ATF_TC_WITHOUT_HEAD(firmwares_translation_is_taken_over_without_a_window);
ATF_TC_BODY(firmwares_translation_is_taken_over_without_a_window, tc)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct variant v = { .name = "firmware",
			.unit = { .firmware = true,
			    .ack_delay = kind,
			    .lag = kind,
			    .ecap = MODEL_VTD_ECAP | ECAP_C | ECAP_PT,
			    .firmware_queue = kind >= 1,
			    .firmware_queue_stuck = kind == 2,
			    .firmware_remapping = kind == 3,
			    .protected_regions = kind == 3,
			    .cap = MODEL_VTD_CAP | (kind == 3 ? CAP_PLMR : 0) } };

		fake_kernel_init(&v.memory);
		if (model != NULL)
			model_vtd_destroy(model);
		model = model_vtd_create(&v.unit);
		model_vtd_watch(model, 0x28, RAM + 0x5000);
		model_vtd_watch(model, 0x1234, 0x1000);
		describe(&v);
		ATF_REQUIRE_EQ(vtd_driver.probe(machine, 0), OK);
		NO_VIOLATION(&v);
		ATF_CHECK_EQ(model_vtd_windows(model), 0);
		ATF_CHECK_EQ(fake_units[0]->counters.errors, 0);
		ATF_CHECK_EQ(model_vtd_te_off(model), 0);
		ATF_CHECK(blocked(0x28, RAM + 0x5000));
		ATF_CHECK(blocked(0x1234, 0x1000));
	}
}

ATF_TC_WITHOUT_HEAD(another_table_mode_of_firmware_is_left_with_a_word);
ATF_TC_BODY(another_table_mode_of_firmware_is_left_with_a_word, tc)
{
	struct variant v = { .name = "scalable",
		.unit = { .firmware = true,
		    .firmware_scalable = true,
		    .ecap = MODEL_VTD_ECAP | ECAP_C | ECAP_PT } };

	start(&v);
	NO_VIOLATION(&v);
	ATF_CHECK_EQ(model_vtd_te_off(model), 1);
	ATF_CHECK(fake_logged("another mode"));
	ATF_CHECK(blocked(0x28, RAM));
}

/* VTD-33: chips that hang when one unit is flushed while another has no queue. */
ATF_TC_WITHOUT_HEAD(all_queues_run_before_the_first_flush);
ATF_TC_BODY(all_queues_run_before_the_first_flush, tc)
{
	struct model_vtd_setup setup = { .ecap = MODEL_VTD_ECAP | ECAP_C };
	struct model_vtd *a, *b;

	fake_kernel_init(&(struct fake_setup){ 0 });
	a = model_vtd_create(&setup);
	setup.base = REGS + 0x10000;
	b = model_vtd_create(&setup);
	describe(&variants[0]);
	machine->iommu[1] = machine->iommu[0];
	machine->iommu[1].base += 0x10000;
	machine->iommu_count = 2;
	model_vtd_hang(a, true);	/* so that the first flush ends the first probe */
	ATF_CHECK_EQ(vtd_driver.probe(machine, 0), E_UNSUPPORTED);
	ATF_CHECK_EQ(model_vtd_status(b) & (GCMD_TE | GCMD_QIE), GCMD_QIE);
	ATF_CHECK_EQ(vtd_driver.probe(machine, 1), OK);
	ATF_CHECK_EQ(model_vtd_status(b) & (GCMD_TE | GCMD_QIE), GCMD_TE | GCMD_QIE);
	ATF_CHECK_STREQ(fake_units[0]->name, "vtd1");
	ATF_CHECK_EQ(model_vtd_violations(b), 0);
	model_vtd_destroy(a);
	model_vtd_destroy(b);
}

ATF_TC_WITHOUT_HEAD(protected_regions_go_off_after_translation_is_on);
ATF_TC_BODY(protected_regions_go_off_after_translation_is_on, tc)
{
	start(&variants[11]);
	NO_VIOLATION(&variants[11]);
	ATF_CHECK_EQ(unit_read32(((struct vtd *)unit->priv)->regs, VTD_PMEN), 0);
}

/* ---- Refusals ---- */

static void
refused(const struct variant *v, const char *why, bool blocks)
{
	unsigned errors = 0;

	ATF_CHECK_EQ_MSG(probe(v), E_UNSUPPORTED, "%s", v->name);
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

ATF_TC_WITHOUT_HEAD(what_is_missing_is_said_by_name_and_everything_is_blocked);
ATF_TC_BODY(what_is_missing_is_said_by_name_and_everything_is_blocked, tc)
{
	refused(&(struct variant){ .name = "gone", .unit.gone = true }, "read as all ones", false);
	refused(&(struct variant){ .name = "no queue",
		    .unit = { .ecap = (MODEL_VTD_ECAP | ECAP_C) & ~(uint64_t)ECAP_QI } },
	    "no queued invalidation", true);
	refused(&(struct variant){ .name = "no levels",
		    .unit = { .cap = CAP_WITH(0, CAP_SAGAW), .ecap = MODEL_VTD_ECAP | ECAP_C } },
	    "CAP.SAGAW", true);
	refused(&(struct variant){ .name = "width",
		    .unit = { .host_width = 20, .ecap = MODEL_VTD_ECAP | ECAP_C } },
	    "address width", true);
	refused(&(struct variant){ .name = "write buffer, no queue",
		    .unit = { .cap = MODEL_VTD_CAP | CAP_RWBF,
			.ecap = (MODEL_VTD_ECAP | ECAP_C) & ~(uint64_t)ECAP_QI } },
	    "no queued invalidation", true);
}

static enum status
probe_without(uint32_t never, bool hang)
{
	static const struct variant v = { .name = "stuck",
		.unit = { .ecap = MODEL_VTD_ECAP | ECAP_C } };

	if (model != NULL)
		model_vtd_destroy(model);
	fake_kernel_init(&v.memory);
	model = model_vtd_create(&v.unit);
	model_vtd_ack_never(model, never);
	model_vtd_hang(model, hang);
	describe(&v);
	return vtd_driver.probe(machine, 0);
}

ATF_TC_WITHOUT_HEAD(a_command_without_answer_is_a_refusal_in_bounded_time);
ATF_TC_BODY(a_command_without_answer_is_a_refusal_in_bounded_time, tc)
{
	uint64_t before = NS_PER_S;

	ATF_CHECK_EQ(probe_without(GCMD_QIE, false), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("queue does not start"));
	ATF_CHECK_EQ(probe_without(GCMD_SRTP, false), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("does not take the root table"));
	ATF_CHECK_EQ(probe_without(GCMD_TE, false), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("translation does not start"));
	ATF_CHECK(fake_logged("cannot be blocked"));
	ATF_CHECK_EQ(probe_without(0, true), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("an invalidation does not complete"));
	ATF_CHECK(fake_now - before < 10 * NS_PER_S);
	ATF_CHECK_EQ(fake_broken, 0);		/* it was never the kernel's */
}

ATF_TC_WITHOUT_HEAD(no_memory_is_a_refusal_wherever_it_runs_out);
ATF_TC_BODY(no_memory_is_a_refusal_wherever_it_runs_out, tc)
{
	static const struct variant v = { .name = "memory",
		.unit = { .ecap = MODEL_VTD_ECAP | ECAP_C } };
	unsigned n = 0;
	enum status s = E_NO_MEMORY;

	for (; s != OK && n < 20; n++) {
		if (model != NULL)
			model_vtd_destroy(model);
		fake_kernel_init(&v.memory);
		model = model_vtd_create(&v.unit);
		describe(&v);
		fake_fail_alloc(n);
		s = vtd_driver.probe(machine, 0);
		if (s != OK) {
			ATF_CHECK_EQ(s, E_NO_MEMORY);
			ATF_CHECK(fake_logged("refused: no memory"));
			ATF_CHECK_EQ(fake_unit_count, 0);
		}
		NO_VIOLATION(&v);
	}
	ATF_CHECK_EQ(n, 6);	/* the unit, two roots, queue, status word: five */
}

/* ---- Golden vectors: specs/vtd.md section 11 ---- */

ATF_TC_WITHOUT_HEAD(entries_are_the_golden_vectors);
ATF_TC_BODY(entries_are_the_golden_vectors, tc)
{
	struct iommu_domain d;
	uint64_t e[2], to;
	const uint64_t *root;

	start(&variants[0]);
	make(&d);
	ATF_CHECK_EQ(d.tag, 1);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	model_vtd_context(model, 0x28, e);
	ATF_CHECK_EQ(e[0], d.root.v | 1);
	ATF_CHECK_EQ(e[1], 0x102);
	root = frame_ptr((struct paddr){ model_vtd_root(model) });
	ATF_CHECK_EQ(root[0] & PAGE_MASK, 1);
	ATF_CHECK_EQ(root[1], 0);
	for (unsigned i = 2; i < 512; i++)
		ATF_REQUIRE_EQ(root[i], 0);
	to = page(0);
	map(&d, AT, to, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE);
	{
		uint64_t table = d.root.v;

		for (unsigned shift = 39; shift > 12; shift -= 9) {
			uint64_t up = fake_device_load(table + (AT >> shift & 511) * 8);

			ATF_CHECK_EQ(up & PAGE_MASK, 3);
			table = up & ~PAGE_MASK;
		}
		ATF_CHECK_EQ(fake_device_load(table), to | 3);
	}

	start(&variants[2]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	model_vtd_context(model, 0x28, e);
	ATF_CHECK_EQ(e[0], d.root.v | 1);
	ATF_CHECK_EQ(e[1], 0x101);
}

ATF_TC_WITHOUT_HEAD(descriptors_are_the_golden_vectors);
ATF_TC_BODY(descriptors_are_the_golden_vectors, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;
	uint32_t n = 0;
	static const struct variant v = { .name = "no drains",
		.unit = {
		    .ecap = MODEL_VTD_ECAP | ECAP_C, .cap = CAP_WITH(0, CAP_DWD | CAP_DRD) } };

	start(&v);
	/* Of probe: all contexts, WAIT, all translations, WAIT. */
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x11);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 1), 0);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 0) & UINT32_MAX, 0x65);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x12);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 1), 0);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x0000'0001'0000'0065);
	ATF_CHECK(fake_is_memory(model_vtd_descriptor(model, n++, 1), 4));
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0); /* from absent to present: nothing */
	map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ);
	t = unmap(&d, AT, PAGE_SIZE);
	ATF_REQUIRE_EQ(wait_for(t), OK);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x10032);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 1), AT | BIT(6));		/* leaves only */
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 0), 0x0000'0002'0000'0065);
	ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&d, 0x28)), OK);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x0000'0028'0001'0031);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 1), 0);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 0) & UINT32_MAX, 0x65);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n, 0), 0x10022);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 1), 0);
	ATF_CHECK_EQ(model_vtd_descriptor(model, n++, 0), 0x0000'0003'0000'0065);
	NO_VIOLATION(&v);
	start(&variants[0]);
	ATF_CHECK_EQ(model_vtd_descriptor(model, 2, 0), 0xd2);		/* with both drains */
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
	model_vtd_hang(model, true);
	t = unit->ops->detach(&a, 0xffff);
	ATF_CHECK_EQ(unit->ops->detach(&a, 0xffff).seq, t.seq);
	ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0xffff), E_BUSY); /* what it held may still be there */
	model_vtd_hang(model, false);
	ATF_CHECK_EQ(wait_for(t), OK);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0xffff), OK);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(no_memory_for_a_bus_leaves_it_blocked);
ATF_TC_BODY(no_memory_for_a_bus_leaves_it_blocked, tc)
{
	struct iommu_domain d;
	uint64_t frames;

	start(&variants[0]);
	make(&d);
	frames = fake_frames(FRAME_FREE);
	for (int n = 0; n < 2; n++) {
		fake_fail_alloc(n);
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x300), E_NO_MEMORY);
		ATF_CHECK_EQ(fake_frames(FRAME_FREE), frames);
	}
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
		uint64_t top, width;

		start(v);
		make(&d);
		top = BIT(unit->facts.iova_bits);
		width = BIT(unit->facts.output_bits);
#define MAP(at, to, len) \
	unit->ops->map(&d, (struct iova){ at }, (struct paddr){ to }, len, IOMMU_READ)
		ATF_CHECK_EQ(MAP(top, RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(top - PAGE_SIZE, RAM, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0, width - PAGE_SIZE, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0, UINT64_MAX & ~PAGE_MASK, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(UINT64_MAX & ~PAGE_MASK, 0, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, RAM, 0), E_ALIGN);
		ATF_CHECK_EQ(MAP(AT + 1, RAM, PAGE_SIZE), E_ALIGN);
		/* The interrupt range, as address and as memory (VTD-55). */
		ATF_CHECK_EQ(MAP(0xfee0'0000, RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfeef'f000, RAM, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfec0'0000, RAM, 4 * MIB), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfedf'f000, RAM, 2 * PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, 0xfee0'0000, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(MAP(AT, 0xc000'0000, GIB), E_RANGE);
		ATF_CHECK_EQ(MAP(0xfedf'f000, RAM, PAGE_SIZE), OK);
		ATF_CHECK_EQ(MAP(0xfef0'0000, RAM + PAGE_SIZE, PAGE_SIZE), OK);
#undef MAP
		ATF_CHECK_EQ(
		    unit->ops->map_doorbell(&d, (struct iova){ AT }, (struct paddr){ 0xfee0'0000 }),
		    E_UNSUPPORTED);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(large_pages_are_used_where_the_unit_has_them);
ATF_TC_BODY(large_pages_are_used_where_the_unit_has_them, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t p, before;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
		p = page(9);
		map(&d, AT, p, 2 * MIB, IOMMU_READ | IOMMU_WRITE);
		ATF_CHECK(reaches(0x28, AT + 0x12'3450, p + 0x12'3450, true));
		before = d.table_pages;
		ATF_CHECK_EQ(before,
		    (unit->facts.iova_bits - 4u) / 9 -
			((unit->facts.page_sizes & BIT(21)) != 0 ? 1 : 0));
		ATF_CHECK_EQ(quota.pages, before);
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
	for (unsigned i = 0; i < 2 * VTD_DIDS_MAX; i++) {	/* a failure does not cost an id */
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

/* ---- Faults ---- */

ATF_TC_WITHOUT_HEAD(faults_are_reported_with_device_address_and_kind);
ATF_TC_BODY(faults_are_reported_with_device_address_and_kind, tc)
{
	struct iommu_domain d;
	struct dma_fault f[8];
	struct iommu_ticket ticket;
	bool lost = false;

	start(&variants[11]);	/* eight records */
	model_vtd_interrupts(model);
	fake_pending = 0;
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x28), OK);
	map(&d, AT, page(0), PAGE_SIZE, IOMMU_READ);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 8, &lost), 0);
	ATF_CHECK(unit->ops->quiet(unit, true, &ticket) && ticket.seq == 0);
	(void)model_vtd_dma(model, 0x28, AT + 0x7123, false);
	ATF_CHECK_EQ(fake_pending, 1);
	(void)model_vtd_dma(model, 0x28, AT + 8, true);
	(void)model_vtd_dma(model, 0x29, 0x5000, true);
	(void)model_vtd_dma(model, 0x428, 0x5000, false);
	(void)model_vtd_dma(model, 0x28, 1ull << 60, false);
	ATF_CHECK(!unit->ops->quiet(unit, true, &ticket) && ticket.seq == 0);
	ATF_REQUIRE_EQ(unit->ops->drain_faults(unit, f, 8, &lost), 5);
	ATF_CHECK(unit->ops->quiet(unit, true, &ticket));
	ATF_CHECK_EQ(model_vtd_interrupts(model), 1);
	ATF_CHECK(!lost);
	ATF_CHECK(f[0].kind == FAULT_NOT_MAPPED && f[0].iova == AT + 0x7000 &&
	    f[0].endpoint == 0x28 && !f[0].write && f[0].address_valid && f[0].code == 6);
	ATF_CHECK(f[1].kind == FAULT_PERMISSION && f[1].iova == AT && f[1].write && f[1].code == 5);
	ATF_CHECK(f[2].kind == FAULT_BLOCKED && f[2].endpoint == 0x29 && f[2].code == 2);
	ATF_CHECK(f[3].kind == FAULT_BLOCKED && f[3].endpoint == 0x428 && f[3].code == 1);
	ATF_CHECK(f[4].kind == FAULT_ADDRESS && f[4].iova == 1ull << 60);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 8, &lost), 0);
	(void)model_vtd_dma(model, 0x29, 0x5000, true);
	ATF_CHECK_EQ(fake_pending, 2);
	NO_VIOLATION(&variants[11]);
}

ATF_TC_WITHOUT_HEAD(records_wrap_and_a_full_log_is_told);
ATF_TC_BODY(records_wrap_and_a_full_log_is_told, tc)
{
	for (unsigned k = 0; k < 2; k++) {
		const struct variant *v = &variants[k == 0 ? 0 : 11];
		unsigned records = k == 0 ? 1 : 8;
		struct dma_fault f[16];
		bool lost = false;
		uint64_t next = 0, want = 0;

		start(v);
		for (unsigned round = 0; round < 40; round++) {
			unsigned n = 1 + round % records, got = 0;

			for (unsigned i = 0; i < n; i++)
				(void)model_vtd_dma(model, 0x28, next++ * PAGE_SIZE, true);
			while (got < n) {	/* in pieces of at most three */
				uint32_t take = unit->ops->drain_faults(unit, f, 3, &lost);

				ATF_REQUIRE(take >= 1 && take <= 3);
				ATF_CHECK(!lost);
				for (unsigned i = 0; i < take; i++)
					ATF_REQUIRE_EQ(f[i].iova, want++ * PAGE_SIZE);
				got += take;
			}
		}
		for (unsigned i = 0; i < records + 5; i++)
			(void)model_vtd_dma(model, 0x28, i * PAGE_SIZE, true);
		lost = false;
		ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, records + 1, &lost), records);
		ATF_CHECK(lost);
		(void)model_vtd_dma(model, 0x28, 0x9000, false);
		ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 16, &lost), 1); /* it records again */
		ATF_CHECK(!lost);
		ATF_CHECK_EQ(f[0].iova, 0x9000);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(without_an_interrupt_faults_are_polled);
ATF_TC_BODY(without_an_interrupt_faults_are_polled, tc)
{
	for (unsigned k = 0; k < 2; k++) {
		static const struct variant v = { .name = "polled",
			.unit = { .ecap = MODEL_VTD_ECAP | ECAP_C } };
		struct dma_fault f;
		bool lost;

		if (model != NULL)
			model_vtd_destroy(model);
		fake_kernel_init(&v.memory);
		model = model_vtd_create(&v.unit);
		if (k == 0)
			model_vtd_no_message(model);
		else
			model_vtd_message(model, 0x1234'5000);	/* memory */
		describe(&v);
		ATF_REQUIRE_EQ(vtd_driver.probe(machine, 0), OK);
		unit = fake_units[0];
		ATF_CHECK(fake_logged("polled"));
		(void)model_vtd_dma(model, 0x28, 0x5000, true);
		ATF_CHECK_EQ(fake_pending, 0);
		ATF_CHECK_EQ(unit->ops->drain_faults(unit, &f, 1, &lost), 1);
		NO_VIOLATION(&v);
	}
}

ATF_TC_WITHOUT_HEAD(a_unit_that_vanished_reports_no_faults);
ATF_TC_BODY(a_unit_that_vanished_reports_no_faults, tc)
{
	struct dma_fault f[4];
	struct iommu_ticket ticket;
	bool lost = false;

	start(&variants[0]);
	(void)model_vtd_dma(model, 0x28, 0x5000, true);
	model_vtd_die(model);
	ATF_CHECK_EQ(unit->ops->drain_faults(unit, f, 4, &lost), 0);
	ATF_CHECK(!unit->ops->quiet(unit, true, &ticket)); /* none is not the same as none known */
}

/* ---- Reserved regions ---- */

ATF_TC_WITHOUT_HEAD(a_device_with_a_reserved_region_stays_blocked_by_name);
ATF_TC_BODY(a_device_with_a_reserved_region_stays_blocked_by_name, tc)
{
	struct iommu_domain d;

	if (model != NULL)
		model_vtd_destroy(model);
	fake_kernel_init(&variants[0].memory);
	model = model_vtd_create(&variants[0].unit);
	describe(&variants[0]);
	machine->reserved_count = 2;
	machine->reserved[0] = (struct machine_reserved){ .base = 0x7b00'0000, .len = 0x20000 };
	machine->reserved[1] =
	    (struct machine_reserved){ .base = 0x7c00'0000, .len = 0x1000, .segment = 1 };
	machine->scope_count = 3;
	machine->scope[0] = (struct machine_scope){ .kind = SCOPE_ENDPOINT,
		.iommu = UINT32_MAX,
		.reserved = 0,
		.path_len = 1,
		.path = { 0x14 << 3 } };
	machine->scope[1] = (struct machine_scope){ .kind = SCOPE_ENDPOINT,
		.iommu = UINT32_MAX,
		.reserved = 0,
		.path_len = 2,
		.path = { 0x1c << 3, 0 } };
	machine->scope[2] = (struct machine_scope){ .kind = SCOPE_ENDPOINT,
		.iommu = UINT32_MAX,
		.reserved = 1,
		.segment = 1,
		.path_len = 1,
		.path = { 0x10 << 3 } };
	ATF_REQUIRE_EQ(vtd_driver.probe(machine, 0), OK);
	unit = fake_units[0];
	quota = (struct quota){ .pages_max = UINT64_MAX };
	ATF_CHECK(fake_logged("device 00:14.0 has 128 KiB reserved by firmware: it stays blocked"));
	ATF_CHECK(fake_logged("a device behind bridge 00:1c.0"));
	ATF_CHECK(!fake_logged("7b000000"));		/* D3 */
	make(&d);
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x14 << 3), E_REFUSED);
	ATF_CHECK(blocked(0x14 << 3, 0x7b00'0000));
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x15 << 3), OK);
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x10 << 3), OK);	/* of another segment */
	NO_VIOLATION(&variants[0]);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, every_kind_of_unit_is_taken_over_by_the_rules);
	ATF_TP_ADD_TC(tp, facts_say_what_the_unit_can_do);
	ATF_TP_ADD_TC(tp, firmwares_translation_is_taken_over_without_a_window);
	ATF_TP_ADD_TC(tp, another_table_mode_of_firmware_is_left_with_a_word);
	ATF_TP_ADD_TC(tp, all_queues_run_before_the_first_flush);
	ATF_TP_ADD_TC(tp, protected_regions_go_off_after_translation_is_on);
	ATF_TP_ADD_TC(tp, what_is_missing_is_said_by_name_and_everything_is_blocked);
	ATF_TP_ADD_TC(tp, a_command_without_answer_is_a_refusal_in_bounded_time);
	ATF_TP_ADD_TC(tp, no_memory_is_a_refusal_wherever_it_runs_out);
	ATF_TP_ADD_TC(tp, entries_are_the_golden_vectors);
	ATF_TP_ADD_TC(tp, descriptors_are_the_golden_vectors);
	ATF_TP_ADD_TC(tp, attach_and_detach_are_asked_for_once_and_answered_right);
	ATF_TP_ADD_TC(tp, no_memory_for_a_bus_leaves_it_blocked);
	ATF_TP_ADD_TC(tp, what_cannot_be_mapped_is_refused);
	ATF_TP_ADD_TC(tp, large_pages_are_used_where_the_unit_has_them);
	ATF_TP_ADD_TC(tp, quota_and_memory_run_out_with_an_error_code);
	ATF_TP_ADD_TC(tp, faults_are_reported_with_device_address_and_kind);
	ATF_TP_ADD_TC(tp, records_wrap_and_a_full_log_is_told);
	ATF_TP_ADD_TC(tp, without_an_interrupt_faults_are_polled);
	ATF_TP_ADD_TC(tp, a_unit_that_vanished_reports_no_faults);
	ATF_TP_ADD_TC(tp, a_device_with_a_reserved_region_stays_blocked_by_name);
	return atf_no_error();
}
