/*
 * The SMMUv3 driver against the strict software unit: take-over, domains, faults, reserved regions.
 */
/* LINK: dev/iommu/smmuv3.c dev/iommu/smmuv3_tables.c dev/iommu/smmuv3_cmd.c dev/iommu/iopt.c
 * LINK: dev/iommu/fmt_vmsa.c dev/iommu/cmdring.c kern/machine/machine.c kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/walk.c
 * LINK: tests/lib/model_smmu.c tests/lib/model_smmu_regs.c */
#include "tests/lib/smmu_stage.h"

/* ---- Take-over ---- */

ATF_TC_WITHOUT_HEAD(every_kind_of_unit_is_taken_over_by_the_rules);
ATF_TC_BODY(every_kind_of_unit_is_taken_over_by_the_rules, tc)
{
	FOR_EACH_VARIANT(v) {
		start(v);
		NO_VIOLATION(v);
		ATF_CHECK_EQ(unit->facts.stage, v->stage);
		ATF_CHECK_EQ(unit->facts.write_only, v->stage == 2);
		ATF_CHECK_EQ(unit->facts.coherent, !v->memory.not_coherent);
		ATF_CHECK_EQ(model_smmu_cr0(model) & 13, 13);
		ATF_CHECK(v->unit.no_gbpa || model_smmu_aborts_off(model));
		for (uint32_t sid = 0; sid < 0x10000; sid += 1 + sid / 7)
			ATF_REQUIRE_MSG(
			    blocked(sid, AT) && blocked(sid, RAM), "%s: stream 0x%x", v->name, sid);
		ATF_CHECK(blocked(0x10000, RAM));
		ATF_CHECK(blocked(UINT32_MAX, RAM));
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(registers_hold_the_golden_values);
ATF_TC_BODY(registers_hold_the_golden_values, tc)
{
	start(&variants[0]);
	ATF_CHECK_EQ(model_smmu_register(model, SMMU_CR1), 0xd75);
	ATF_CHECK_EQ(model_smmu_register(model, SMMU_CR2), 0x6);
	ATF_CHECK_EQ(model_smmu_register(model, SMMU_STRTAB_BASE_CFG), 0x10210);
	ATF_CHECK_EQ(model_smmu_register(model, SMMU_IRQ_CTRL), 5);
	ATF_CHECK_EQ(model_smmu_cr0(model), 13);
	start(&variants[3]);	/* with ATS */
	ATF_CHECK_EQ(model_smmu_cr0(model), 29);
	ATF_CHECK_EQ(model_smmu_executed(model, 0x20), 1);
}

ATF_TC_WITHOUT_HEAD(entries_and_descriptors_are_the_golden_vectors);
ATF_TC_BODY(entries_and_descriptors_are_the_golden_vectors, tc)
{
	struct iommu_domain d;
	uint64_t ste[8], cd[8];

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0xf0), OK);
	model_smmu_entry(model, 0xf0, ste, cd);
	ATF_CHECK_EQ(ste[0] & ~BITS(51, 6), 0xb);
	ATF_CHECK_EQ(ste[1], 0xd4);
	ATF_CHECK_EQ(ste[2] | ste[3] | ste[4] | ste[5] | ste[6] | ste[7], 0);
	ATF_CHECK_EQ(d.tag, 1);
	ATF_CHECK_EQ(cd[0], 0x0001e204c0003519);
	ATF_CHECK_EQ(cd[1], d.root.v);
	ATF_CHECK_EQ(cd[3], 0xff4404);

	start(&variants[1]);
	for (unsigned i = 0; i < 7; i++)
		make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0xf0), OK);
	ATF_CHECK_EQ(d.tag, 7);
	model_smmu_entry(model, 0xf0, ste, cd);
	ATF_CHECK_EQ(ste[0], 0xd);
	ATF_CHECK_EQ(ste[1], 0);
	ATF_CHECK_EQ(ste[2], 0x044c355900000007);
	ATF_CHECK_EQ(ste[3], d.root.v);

	start(&variants[3]);	/* stalls possible: PCIe streams must not */
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0xf0), OK);
	model_smmu_entry(model, 0xf0, ste, cd);
	ATF_CHECK_EQ(ste[1], 0xd4 | BIT(27) | BIT(44));
}

ATF_TC_WITHOUT_HEAD(what_cannot_work_is_refused_by_name);
ATF_TC_BODY(what_cannot_work_is_refused_by_name, tc)
{
	static const struct { uint32_t idr0, idr1, idr5; const char *cmdline, *why;
	} bad[] = {
		{ IDR0_V10 & ~BIT(3), IDR1_QEMU, 0x74, NULL, "no AArch64 page tables" },
		{ IDR0_V10 | BITS(22, 21), IDR1_QEMU, 0x74, NULL, "no little-endian page tables" },
		{ IDR0_V10 & ~3u, IDR1_QEMU, 0x74, NULL, "neither stage 1 nor stage 2" },
		{ IDR0_V10 & ~1u, IDR1_QEMU, 0x74, "smmu.stage=2",
		    "no stage 2, which the command line asks for" },
		{ IDR0_V10 & ~2u, IDR1_QEMU, 0x74, "smmu.stage=1",
		    "no stage 1, which the command line asks for" },
		{ (IDR0_V10 & ~BITS(25, 24)) | BIT(25), IDR1_QEMU, 0x74, NULL,
		    "it stalls devices" },
		{ IDR0_V10, IDR1_QEMU | BIT(30), 0x74, NULL, "tables or queues at fixed places" },
		{ IDR0_V10, IDR1_QEMU | BIT(29), 0x74, NULL, "tables or queues at fixed places" },
		{ IDR0_V10, IDR1_QEMU | BIT(28), 0x74, NULL, "tables or queues at fixed places" },
		{ IDR0_V10, 2u << 21 | 7u << 16 | 16, 0x74, NULL, "command queue of fewer than 8" },
		{ IDR0_V10, IDR1_QEMU, 0x64, NULL, "no 4 KiB granule" },
	};
	struct variant v = { .name = "bad" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v.unit = (struct model_smmu_setup){ .idr0 = bad[i].idr0,
			.idr1 = bad[i].idr1,
			.idr5 = bad[i].idr5,
			.firmware = true };
		v.cmdline = bad[i].cmdline;
		describe(&v);
		ATF_CHECK_EQ(power_on(&v), E_UNSUPPORTED);
		ATF_CHECK_MSG(fake_logged(bad[i].why), "%s: %s", bad[i].why, fake_log());
		ATF_CHECK_EQ(fake_log_lines(), 1);
		ATF_CHECK_EQ(fake_unit_count, 0);
		ATF_CHECK(model_smmu_aborts_off(model));
		ATF_CHECK_EQ(model_smmu_cr0(model), 0);
		ATF_CHECK(blocked(3, AT));
		NO_VIOLATION(&v);
	}
	/* Memory above what the unit can emit. */
	v.unit = (struct model_smmu_setup){ .idr5 = 0x70 };
	describe(&v);
	machine_add_memory(&machine, 0x10'0000'0000, GIB, MEM_RAM);
	ATF_CHECK_EQ(power_on(&v), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("beyond its output size"));
	/* Registers at an odd place, or nothing there. */
	v.unit = (struct model_smmu_setup){ 0 };
	describe(&v);
	machine.iommu[0].base += 0x1000;
	ATF_CHECK_EQ(power_on(&v), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("64 KiB"));
	v.unit =
	    (struct model_smmu_setup){ .idr0 = UINT32_MAX, .idr1 = UINT32_MAX, .no_gbpa = true };
	describe(&v);
	ATF_CHECK_EQ(power_on(&v), E_UNSUPPORTED);
	ATF_CHECK(fake_logged("read as ones"));
}

ATF_TC_WITHOUT_HEAD(a_unit_that_does_not_answer_is_refused_and_aborts);
ATF_TC_BODY(a_unit_that_does_not_answer_is_refused_and_aborts, tc)
{
	static const struct { uint32_t bits; const char *why; } never[] = {
		{ 8, "command queue does not come on" }, { 4, "event queue does not come on" },
		{ 16, "does not check translated requests" }, { 1, "translation does not come on" },
	};
	struct variant v = variants[3];

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		describe(&v);
		fake_kernel_init(&v.memory);
		if (model != NULL)
			model_smmu_destroy(model);
		model = model_smmu_create(&v.unit);
		model_smmu_ack_never(model, never[i].bits);
		ATF_CHECK_EQ(smmuv3_driver.probe(&machine, 0), E_TIMED_OUT);
		ATF_CHECK_MSG(fake_logged(never[i].why), "%s", fake_log());
		ATF_CHECK_EQ(fake_unit_count, 0);
		ATF_CHECK(model_smmu_aborts_off(model));
		ATF_CHECK_EQ(model_smmu_cr0(model), 0);
		ATF_CHECK(blocked(3, AT));
		NO_VIOLATION(&v);
	}
	describe(&v);
	fake_kernel_init(&v.memory);
	model_smmu_destroy(model);
	model = model_smmu_create(&v.unit);
	model_smmu_hang(model, true);
	ATF_CHECK_EQ(smmuv3_driver.probe(&machine, 0), E_TIMED_OUT);
	ATF_CHECK(fake_logged("the command queue does not advance"));
	ATF_CHECK_EQ(model_smmu_cr0(model), 0);
}

ATF_TC_WITHOUT_HEAD(out_of_memory_at_any_point_of_probe_refuses);
ATF_TC_BODY(out_of_memory_at_any_point_of_probe_refuses, tc)
{
	const struct variant *v = &variants[0];

	for (int64_t n = 0;; n++) {
		enum status s;

		describe(v);
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED,
			    .len = MIB,
			    .stream_ids = true,
			    .id_base = 0x100,
			    .id_count = 1 };
		fake_kernel_init(&v->memory);
		if (model != NULL)
			model_smmu_destroy(model);
		model = model_smmu_create(&v->unit);
		fake_fail_alloc(n);
		s = smmuv3_driver.probe(&machine, 0);
		NO_VIOLATION(v);
		ATF_CHECK(blocked(3, AT));
		if (s == OK && !fake_logged("reserved")) {
			ATF_CHECK(n > 6);
			break;
		}
		/* A reserved region that finds no memory costs its stream, not the unit. */
		ATF_CHECK(s == E_NO_MEMORY || fake_logged("streams 0x100 to 0x100"));
		ATF_CHECK(blocked(0x100, RESERVED));
	}
}

/* ---- Domains ---- */

ATF_TC_WITHOUT_HEAD(a_device_reaches_exactly_what_is_mapped);
ATF_TC_BODY(a_device_reaches_exactly_what_is_mapped, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain a, b;
		uint64_t to = RAM + 16 * MIB;

		start(v);
		make(&a);
		make(&b);
		ATF_REQUIRE_EQ(unit->ops->attach(&a, 0x18), OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&b, 0x20), OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&b, 0xff), OK);
		ATF_CHECK_EQ(a.endpoints, 1);
		ATF_CHECK_EQ(b.endpoints, 2);
		ATF_CHECK_EQ(unit->endpoints, 3);
		ATF_CHECK_EQ(unit->domains, 2);
		ATF_REQUIRE_EQ(map_only(&a, AT, to, 3 * PAGE_SIZE, IOMMU_READ), OK);
		ATF_REQUIRE_EQ(
		    map_only(&a, AT + MIB, to + MIB, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE), OK);
		ATF_REQUIRE_EQ(map_only(&b, AT, to + 2 * MIB, PAGE_SIZE, IOMMU_WRITE), OK);
		ATF_CHECK_EQ(unit->ops->sync(&a).seq, 0);
		ATF_CHECK(hits(0x18, AT + 2 * PAGE_SIZE + 5, false, to + 2 * PAGE_SIZE + 5));
		ATF_CHECK(hits(0x18, AT + MIB, true, to + MIB));
		ATF_CHECK(hits(0x20, AT + 8, true, to + 2 * MIB + 8));
		ATF_CHECK(hits(0xff, AT + 8, true, to + 2 * MIB + 8));
		ATF_CHECK_EQ(model_smmu_dma(model, 0x18, AT, true).event, 0x13);
		ATF_CHECK_EQ(model_smmu_dma(model, 0x18, AT + 3 * PAGE_SIZE, false).event, 0x10);
		ATF_CHECK_EQ(model_smmu_dma(model, 0x18, BIT(40), false).event, 0x10);
		ATF_CHECK_EQ(hits(0x20, AT, false, to + 2 * MIB),
		    v->stage == 1); /* write-only, where there is */
		ATF_CHECK(blocked(0x19, AT));
		ATF_CHECK_EQ(map_only(&a, AT, to, PAGE_SIZE, IOMMU_READ), E_EXISTS);
		ATF_CHECK_EQ(
		    map_only(&a, BIT(unit->facts.iova_bits), to, PAGE_SIZE, IOMMU_READ), E_RANGE);
		ATF_CHECK_EQ(
		    map_only(&a, 2 * AT, BIT(unit->facts.output_bits), PAGE_SIZE, IOMMU_READ),
		    E_RANGE);
		ATF_CHECK_EQ(map_only(&a, 2 * AT, to, PAGE_SIZE, 0), E_INVALID);
		wait_past(unit->ops->detach(&b, 0x20));
		ATF_CHECK(blocked(0x20, AT));
		ATF_CHECK(hits(0xff, AT + 8, true, to + 2 * MIB + 8));
		wait_past(unit->ops->detach(&b, 0xff));
		wait_past(unit->ops->detach(&a, 0x18));
		ATF_CHECK(blocked(0x18, AT));
		unit->ops->domain_fini(&a);
		unit->ops->domain_fini(&b);
		ATF_CHECK_EQ(quota.pages, 0);
		ATF_CHECK_EQ(unit->endpoints + unit->domains, 0);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(the_doorbell_is_device_memory_and_one_page);
ATF_TC_BODY(the_doorbell_is_device_memory_and_one_page, tc)
{
	static const uint64_t want[] = { [1] = 0x0060000008090e43, [2] = 0x0040000008090687 };

	for (unsigned i = 0; i < 2; i++) {
		struct iommu_domain d;
		struct iopt_leaf leaf;

		start(&variants[i]);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->map_doorbell(
				   &d, (struct iova){ 0x0800'0000 }, (struct paddr){ 0x0809'0000 }),
		    OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_CHECK(hits(0x18, 0x0800'0040, true, 0x0809'0040));
		ATF_CHECK_EQ(model_smmu_dma(model, 0x18, 0x0800'1000, true).event, 0x10);
		ATF_REQUIRE(
		    iopt_lookup(&smmu_domain_of(&d)->pt, (struct iova){ 0x0800'0000 }, &leaf));
		ATF_CHECK((leaf.access & IOPT_DEVICE) != 0);
		ATF_CHECK_EQ(smmu_of(unit)->shape.format->leaf(
				 (struct paddr){ 0x0809'0000 }, 0, IOPT_WRITE | IOPT_DEVICE, 0),
		    want[variants[i].stage]);
		NO_VIOLATION(&variants[i]);
	}
}

ATF_TC_WITHOUT_HEAD(attach_refuses_what_it_must);
ATF_TC_BODY(attach_refuses_what_it_must, tc)
{
	struct iommu_domain a, b;
	uint64_t frames;

	start(&variants[0]);
	make(&a);
	make(&b);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0x10000), E_RANGE);
	ATF_CHECK_EQ(unit->ops->attach(&a, UINT32_MAX), E_RANGE);
	frames = fake_frames(FRAME_IOMMU);
	fake_fail_alloc(0);
	ATF_CHECK_EQ(unit->ops->attach(&a, 0xffff), E_NO_MEMORY);
	fake_fail_alloc(-1);
	ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), frames);
	ATF_REQUIRE_EQ(unit->ops->attach(&a, 0xffff), OK);
	ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), frames + 4);	/* one bus of entries */
	ATF_CHECK_EQ(unit->ops->attach(&a, 0xffff), E_BUSY);
	ATF_CHECK_EQ(unit->ops->attach(&b, 0xffff), E_BUSY);
	ATF_REQUIRE_EQ(unit->ops->attach(&b, 0xff00), OK);
	ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), frames + 4);
	/* Detaching what is not ours, or nothing, changes nothing. */
	wait_past(unit->ops->detach(&b, 0xffff));
	wait_past(unit->ops->detach(&b, 0x0001));
	wait_past(unit->ops->detach(&b, 0x10000));
	ATF_REQUIRE_EQ(map_only(&a, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
	ATF_CHECK(hits(0xffff, AT, false, RAM));
	ATF_CHECK_EQ(a.endpoints, 1);
	/* Twice is once. */
	wait_past(unit->ops->detach(&a, 0xffff));
	wait_past(unit->ops->detach(&a, 0xffff));
	ATF_CHECK_EQ(a.endpoints, 0);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(a_second_detach_waits_for_the_first);
ATF_TC_BODY(a_second_detach_waits_for_the_first, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
	model_smmu_hang(model, true);
	(void)unit->ops->detach(&d, 0x18);
	t = unit->ops->detach(&d, 0x18);
	ATF_CHECK_EQ(poll(t), E_WOULD_BLOCK);
	model_smmu_hang(model, false);
	ATF_CHECK_EQ(poll(t), OK);
	NO_VIOLATION(&variants[0]);
}

/* ---- Faults ---- */

static uint32_t
drain(struct dma_fault *f, uint32_t max, bool *lost)
{
	*lost = false;
	return unit->ops->drain_faults(unit, f, max, lost);
}

ATF_TC_WITHOUT_HEAD(faults_name_device_address_and_kind);
ATF_TC_BODY(faults_name_device_address_and_kind, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		struct dma_fault f[8];
		bool lost;

		start(v);
		ATF_CHECK_EQ(drain(f, 8, &lost), 0);
		ATF_CHECK(!lost);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
		(void)model_smmu_dma(model, 0x18, AT + 0x5008, false);
		(void)model_smmu_dma(model, 0x18, AT + 0x10, true);
		ATF_CHECK_EQ(drain(f, 8, &lost), 2);
		ATF_CHECK(!lost);
		ATF_CHECK(f[0].kind == FAULT_NOT_MAPPED && f[0].iova == AT + 0x5008 &&
		    f[0].endpoint == 0x18 && !f[0].write && f[0].address_valid &&
		    f[0].code == 0x10);
		ATF_CHECK(f[1].kind == FAULT_PERMISSION && f[1].iova == AT + 0x10 && f[1].write &&
		    f[1].code == 0x13);
		ATF_CHECK_EQ(drain(f, 8, &lost), 0);
		(void)model_smmu_dma(model, 0x20000, AT, true);
		ATF_CHECK_EQ(drain(f, 8, &lost), 1);
		ATF_CHECK(
		    f[0].kind == FAULT_BLOCKED && f[0].endpoint == 0x20000 && !f[0].address_valid);
		NO_VIOLATION(v);
	}
}

/* Asks until the sync is past. */
static bool
is_quiet(void)
{
	struct iommu_ticket t;

	if (unit->ops->quiet(unit, true, &t))
		return true;
	wait_past(t);
	return unit->ops->quiet(unit, true, &t);
}

/* D11: a unit may keep its records back until a sync; without one an empty log is not believed to
 * be all. */
ATF_TC_WITHOUT_HEAD(behind_a_sync_every_refused_access_is_in_the_log);
ATF_TC_BODY(behind_a_sync_every_refused_access_is_in_the_log, tc)
{
	FOR_EACH_VARIANT(v) {
		struct variant late = *v;
		struct iommu_domain d;
		struct dma_fault f[8];
		struct iommu_ticket t;
		bool lost;

		late.unit.late_records = true;
		start(&late);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_REQUIRE_MSG(is_quiet(), "%s", v->name);
		for (unsigned round = 0; round < 300; round++) {	/* around the queue */
			(void)model_smmu_dma(model, 0x18, AT + round * 8, true);
			if (round % 3 == 0)
				(void)model_smmu_dma(model, 0x18, AT + round * 8, false);
			ATF_REQUIRE_MSG(
			    !unit->ops->quiet(unit, true, &t), "%s, round %u", v->name, round);
			ATF_REQUIRE(t.seq != 0);
			wait_past(t);
			ATF_REQUIRE_EQ(drain(f, 8, &lost), round % 3 == 0 ? 2 : 1);
			ATF_REQUIRE_EQ(f[0].iova, AT + round * 8);
			ATF_REQUIRE_MSG(is_quiet(), "%s, round %u", v->name, round);
		}
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_flood_of_faults_is_bounded_and_told);
ATF_TC_BODY(a_flood_of_faults_is_bounded_and_told, tc)
{
	struct iommu_domain d;
	struct dma_fault f[16];
	bool lost;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
	for (unsigned round = 0; round < 5; round++) {
		uint32_t total = 0, n;
		bool any = false;

		for (unsigned i = 0; i < 300; i++)
			(void)model_smmu_dma(model, 0x18, AT + i * 8, true);
		while ((n = drain(f, 16, &lost)) != 0) {
			ATF_CHECK(n <= 16);
			for (uint32_t i = 0; i < n; i++)
				ATF_REQUIRE_EQ(f[i].iova, AT + (total + i) * 8);
			total += n;
			any = any || lost;
		}
		ATF_CHECK_EQ(total, 256);
		ATF_CHECK(any);
		(void)drain(f, 16, &lost);
		ATF_CHECK(!lost);
	}
	/* The unit could not write a record. */
	model_smmu_gerror(model, 1 << 2);
	(void)drain(f, 16, &lost);
	ATF_CHECK(lost);
	(void)drain(f, 16, &lost);
	ATF_CHECK(!lost);
	/* Messages that it could not send are none of ours. */
	model_smmu_gerror(model, 0xf0 | 8);
	(void)drain(f, 16, &lost);
	ATF_CHECK(!lost);
	ATF_CHECK_EQ(fake_broken, 0);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(interrupts_wake_the_drain);
ATF_TC_BODY(interrupts_wake_the_drain, tc)
{
	struct iommu_domain d;
	struct dma_fault f;
	uint32_t before;
	bool lost;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
	before = fake_pending;
	(void)model_smmu_dma(model, 0x18, AT, true);
	model_smmu_interrupts(model);
	ATF_CHECK_EQ(fake_pending, before + 1);
	ATF_CHECK_EQ(drain(&f, 1, &lost), 1);
	model_smmu_gerror(model, 1 << 2);
	model_smmu_interrupts(model);
	ATF_CHECK_EQ(fake_pending, before + 2);
	(void)drain(&f, 1, &lost);
	ATF_CHECK(lost);
	NO_VIOLATION(&variants[0]);

	/* One line for everything; or none at all. */
	describe(&variants[0]);
	machine.iommu[0].eventq.present = machine.iommu[0].gerror.present = false;
	machine.iommu[0].combined = (struct machine_line){ .id = LINE_EVENT, .present = true };
	ATF_REQUIRE_EQ(power_on(&variants[0]), OK);
	before = fake_pending;
	(void)fake_raise(LINE_EVENT);
	ATF_CHECK_EQ(fake_pending, before + 1);
	ATF_CHECK(!fake_raise(LINE_GERROR));
	describe(&variants[0]);
	machine.iommu[0].eventq.present = machine.iommu[0].gerror.present = false;
	ATF_REQUIRE_EQ(power_on(&variants[0]), OK);
	ATF_CHECK(fake_logged("faults are polled"));
}

/* ---- Reserved regions ---- */

ATF_TC_WITHOUT_HEAD(reserved_regions_stay_reachable_and_nothing_else);
ATF_TC_BODY(reserved_regions_stay_reachable_and_nothing_else, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;

		describe(v);
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED,
			    .len = 2 * MIB,
			    .stream_ids = true,
			    .id_base = 0x40,
			    .id_count = 2 };
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED + 4 * MIB,
			    .len = 2 * PAGE_SIZE,
			    .stream_ids = true,
			    .id_base = 0x41,
			    .id_count = 1 };
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RAM + MIB,
			    .len = PAGE_SIZE,
			    .stream_ids = true,
			    .id_base = 0x50,
			    .id_count = 4 };
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED + 512,
			    .len = PAGE_SIZE,
			    .stream_ids = true,
			    .id_base = 0x60,
			    .id_count = 1 };
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED,
			    .len = PAGE_SIZE,
			    .stream_ids = true,
			    .iommu = 1,
			    .id_base = 0x70,
			    .id_count = 1 };
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED,
			    .len = PAGE_SIZE,
			    .stream_ids = true,
			    .id_base = 0x2'0000,
			    .id_count = 1 };
		for (unsigned i = 0; i < 2; i++)	/* all that there could be, twice */
			machine.reserved[machine.reserved_count++] =
			    (struct machine_reserved){ .base = RESERVED,
				    .len = PAGE_SIZE,
				    .stream_ids = true,
				    .id_base = 0x3'0000,
				    .id_count = UINT32_MAX - 0x3'0000 };
		ATF_REQUIRE_EQ(power_on(v), OK);
		ATF_CHECK(hits(0x40, RESERVED + 0x1234, true, RESERVED + 0x1234));
		ATF_CHECK(hits(0x41, RESERVED + 2 * MIB - 1, false, RESERVED + 2 * MIB - 1));
		ATF_CHECK(hits(
		    0x41, RESERVED + 4 * MIB + PAGE_SIZE, true, RESERVED + 4 * MIB + PAGE_SIZE));
		ATF_CHECK(blocked(0x40, RESERVED + 4 * MIB));
		ATF_CHECK(blocked(0x40, RESERVED - 1));
		ATF_CHECK(blocked(0x41, RESERVED + 2 * MIB));
		ATF_CHECK(blocked(0x50, RAM + MIB));
		ATF_CHECK(blocked(0x53, RAM + MIB));
		ATF_CHECK(blocked(0x60, RESERVED + 512));
		ATF_CHECK(blocked(0x70, RESERVED));
		ATF_CHECK(fake_logged("streams 0x50 to 0x53 have a reserved region"));
		ATF_CHECK(fake_logged("streams 0x60 to 0x60 have a reserved region"));
		ATF_CHECK(fake_logged("the unit cannot name it"));
		make(&d);
		for (uint32_t sid = 0x40; sid <= 0x41; sid++) {
			ATF_CHECK_EQ(unit->ops->attach(&d, sid), E_REFUSED);
			wait_past(unit->ops->detach(&d, sid));
			ATF_CHECK(hits(sid, RESERVED, true, RESERVED));
		}
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x53), E_REFUSED);
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x60), E_REFUSED);
		ATF_CHECK_EQ(unit->ops->attach(&d, 0x70), OK);
		NO_VIOLATION(v);
	}
	/* Above the usual width of addresses. */
	describe(&variants[0]);
	machine.reserved[machine.reserved_count++] = (struct machine_reserved){
		.base = BIT(40), .len = MIB, .stream_ids = true, .id_base = 0x40, .id_count = 1
	};
	ATF_REQUIRE_EQ(power_on(&variants[0]), OK);
	ATF_CHECK_EQ(unit->facts.iova_bits, 48);
	ATF_CHECK(hits(0x40, BIT(40) + 5, true, BIT(40) + 5));
	/* More streams than there is room for: the rest is blocked, and said so once. */
	describe(&variants[0]);
	machine.reserved[machine.reserved_count++] = (struct machine_reserved){ .base = RESERVED,
		.len = MIB,
		.stream_ids = true,
		.id_base = 0,
		.id_count = UINT32_MAX };
	ATF_REQUIRE_EQ(power_on(&variants[0]), OK);
	ATF_CHECK(hits(15, RESERVED, true, RESERVED));
	ATF_CHECK(blocked(16, RESERVED));
	ATF_CHECK_EQ(fake_log_lines(), 1);
	NO_VIOLATION(&variants[0]);
}

/*
 * A device that firmware goes on using tries its memory all the time: while the unit is taken over,
 * while others come and go, while somebody wants it.  From the moment that the unit translates it
 * always gets there; and never does anybody pass untranslated (the model watches both).
 */
ATF_TC_WITHOUT_HEAD(reserved_regions_are_kept_through_the_take_over);
ATF_TC_BODY(reserved_regions_are_kept_through_the_take_over, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint32_t kept;

		describe(v);
		machine.reserved[machine.reserved_count++] =
		    (struct machine_reserved){ .base = RESERVED,
			    .len = 2 * MIB,
			    .stream_ids = true,
			    .id_base = 8,
			    .id_count = 1 };
		create(v);
		model_smmu_keep(model, 8, RESERVED + 0x1234);
		ATF_REQUIRE_EQ(probe(), OK);
		NO_VIOLATION(v);
		kept = model_smmu_kept(model, 8);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x41), OK);
		ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE), OK);
		ATF_CHECK(hits(0x41, AT, true, RAM));
		ATF_CHECK_EQ(unit->ops->attach(&d, 8), E_REFUSED);
		wait_past(unit->ops->detach(&d, 8));
		wait_past(unit->ops->detach(&d, 0x41));
		ATF_CHECK(blocked(0x41, AT));
		ATF_CHECK(model_smmu_kept(model, 8) > kept);
		NO_VIOLATION(v);
	}
}

/* ---- The end ---- */

ATF_TC_WITHOUT_HEAD(shut_blocks_everything);
ATF_TC_BODY(shut_blocks_everything, tc)
{
	FOR_EACH_VARIANT(v)
		for (unsigned hang = 0; hang < 2; hang++) {
			struct iommu_domain d;

			describe(v);
			machine.reserved[machine.reserved_count++] =
			    (struct machine_reserved){ .base = RESERVED,
				    .len = MIB,
				    .stream_ids = true,
				    .id_base = 0x40,
				    .id_count = 1 };
			ATF_REQUIRE_EQ(power_on(v), OK);
			make(&d);
			ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
			ATF_REQUIRE_EQ(
			    map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ | IOMMU_WRITE), OK);
			ATF_REQUIRE(hits(0x18, AT, true, RAM));
			ATF_REQUIRE(hits(0x40, RESERVED, true, RESERVED));
			model_smmu_hang(model, hang != 0);
			smmu_of(unit)->lock.held = 1;	/* whoever panicked may hold it */
			unit->ops->shut(unit);
			if (hang && v->unit.no_gbpa)
				continue;			/* nothing can be done there */
			for (unsigned n = 0; n < 10; n++) /* time for what shut does not wait for */
				(void)unit_read32(smmu_of(unit)->regs, SMMU_CR0ACK);
			ATF_CHECK_MSG(blocked(0x18, AT), "%s", v->name);
			ATF_CHECK(blocked(0x40, RESERVED));
			ATF_CHECK_EQ((model_smmu_cr0(model) & 1) != 0, hang == 0);
			NO_VIOLATION(v);
		}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, every_kind_of_unit_is_taken_over_by_the_rules);
	ATF_TP_ADD_TC(tp, registers_hold_the_golden_values);
	ATF_TP_ADD_TC(tp, entries_and_descriptors_are_the_golden_vectors);
	ATF_TP_ADD_TC(tp, what_cannot_work_is_refused_by_name);
	ATF_TP_ADD_TC(tp, a_unit_that_does_not_answer_is_refused_and_aborts);
	ATF_TP_ADD_TC(tp, out_of_memory_at_any_point_of_probe_refuses);
	ATF_TP_ADD_TC(tp, a_device_reaches_exactly_what_is_mapped);
	ATF_TP_ADD_TC(tp, the_doorbell_is_device_memory_and_one_page);
	ATF_TP_ADD_TC(tp, attach_refuses_what_it_must);
	ATF_TP_ADD_TC(tp, a_second_detach_waits_for_the_first);
	ATF_TP_ADD_TC(tp, faults_name_device_address_and_kind);
	ATF_TP_ADD_TC(tp, behind_a_sync_every_refused_access_is_in_the_log);
	ATF_TP_ADD_TC(tp, a_flood_of_faults_is_bounded_and_told);
	ATF_TP_ADD_TC(tp, interrupts_wake_the_drain);
	ATF_TP_ADD_TC(tp, reserved_regions_stay_reachable_and_nothing_else);
	ATF_TP_ADD_TC(tp, reserved_regions_are_kept_through_the_take_over);
	ATF_TP_ADD_TC(tp, shut_blocks_everything);
	return atf_no_error();
}
