/*
 * VT-d interrupt remapping against the strict software unit: who may send what (D9).
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

enum : uint64_t { ECAP_REMAP = MODEL_VTD_ECAP | ECAP_C };
enum : uint32_t { DEVICE = 0x28, OTHER = 0x30 };

static const struct variant kinds[] = {
	{ .name = "snooping", .unit = { .ecap = ECAP_REMAP } },
	{ .name = "old format on",
	    .unit = { .ecap = ECAP_REMAP, .old_format = true, .ack_delay = 2 } },
	{ .name = "wide ids, slow",
	    .memory = { .order = FAKE_TSO, .seed = 5 },
	    .unit = { .ecap = ECAP_REMAP | ECAP_EIM, .lag = 3 } },
	{ .name = "caching mode, does not snoop",
	    .memory = { .not_coherent = true },
	    .unit = { .cap = MODEL_VTD_CAP | CAP_CM, .lag = 2 } },
	{ .name = "write buffer, weak order",
	    .memory = { .order = FAKE_WEAK, .seed = 6 },
	    .unit = { .cap = MODEL_VTD_CAP | CAP_RWBF, .ecap = ECAP_REMAP } },
	{ .name = "firmware remaps",
	    .unit = { .ecap = ECAP_REMAP | ECAP_PT,
		.firmware = true,
		.firmware_queue = true,
		.firmware_remapping = true } },
};
#define FOR_EACH_KIND(v) for (const struct variant *v = kinds; v < kinds + ARRAY_SIZE(kinds); v++)

static bool all_known = true, wide_cpus = true;

bool irqmap_ioapics_known(const struct machine *m) { (void)m; return all_known; }
bool irqc_wide_ids(void) { return wide_cpus; }

static void
remap(const struct variant *v)
{
	if (model != NULL)
		model_vtd_destroy(model);
	fake_kernel_init(&v->memory);
	model = model_vtd_create(&v->unit);
	describe(v);
	machine->iommu[0].intr_remap = true;
	quota = (struct quota){ .pages_max = UINT64_MAX };
	ATF_REQUIRE_EQ_MSG(vtd_driver.probe(machine, 0), OK, "%s: %s", v->name, fake_log());
	unit = fake_units[0];
}

struct sent { uint32_t entry; struct irqmap_message m; };

static struct sent
open_entry(uint32_t requester, uint32_t processor, uint8_t vector)
{
	struct sent s;

	ATF_REQUIRE_EQ(unit->irqmap->open(unit, requester, processor, vector, &s.entry, &s.m), OK);
	return s;
}

static bool
arrives(uint32_t sid, const struct sent *s, uint32_t processor, uint8_t vector)
{
	struct model_vtd_irq i = model_vtd_send(model, sid, s->m.address, s->m.data);

	return i.delivered && i.remapped && i.vector == vector && i.processor == processor;
}

static bool
refused_as(uint32_t sid, uint64_t address, uint32_t data, uint8_t reason)
{
	struct model_vtd_irq i = model_vtd_send(model, sid, address, data);

	return !i.delivered && i.reason == reason;
}

ATF_TC_WITHOUT_HEAD(remapping_starts_by_the_rules_and_nothing_arrives);
ATF_TC_BODY(remapping_starts_by_the_rules_and_nothing_arrives, tc)
{
	FOR_EACH_KIND(v) {
		remap(v);
		NO_VIOLATION(v);
		ATF_CHECK(unit->facts.interrupt_isolation && unit->irqmap != NULL);
		ATF_CHECK(strstr(unit->facts.text, ", interrupt remapping") != NULL);
		ATF_CHECK_EQ(
		    model_vtd_status(model) & (GCMD_TE | GCMD_IRE | GCMD_CFI), GCMD_TE | GCMD_IRE);
		ATF_CHECK_EQ(model_vtd_entries(model), 0);
		ATF_CHECK(refused_as(DEVICE, 0xfee0'0000, 0x31, 0x25));		/* the old format */
		for (uint32_t i = 0; i < 1024; i += 37)
			ATF_REQUIRE(refused_as(DEVICE, 0xfee0'0010 | i << 5, 0, 0x22));
		ATF_CHECK(refused_as(DEVICE, 0xfee0'0010 | 1024 << 5, 0, 0x21));
		NO_VIOLATION(v);
	}
}

/* The attack: a message that is another's. */
ATF_TC_WITHOUT_HEAD(a_forged_message_does_not_arrive);
ATF_TC_BODY(a_forged_message_does_not_arrive, tc)
{
	FOR_EACH_KIND(v) {
		struct dma_fault f[8];
		struct sent a, b;
		bool lost;
		uint32_t n;

		remap(v);
		a = open_entry(DEVICE, 3, 0x41);
		b = open_entry(OTHER, 0, 0x42);
		ATF_CHECK(arrives(DEVICE, &a, 3, 0x41));
		ATF_CHECK(arrives(OTHER, &b, 0, 0x42));
		while (unit->ops->drain_faults(unit, f, 8, &lost) != 0)
			;
		ATF_CHECK(refused_as(OTHER, a.m.address, a.m.data, 0x26)); /* another's entry */
		n = unit->ops->drain_faults(unit, f, 8, &lost);
		ATF_CHECK(n == 1 && f[0].kind == FAULT_INTERRUPT && f[0].endpoint == OTHER &&
		    f[0].code == 0x26 && f[0].iova == 0);
		ATF_CHECK(refused_as(DEVICE ^ 1, a.m.address, a.m.data,
		    0x26)); /* another function of the same device */
		ATF_CHECK(refused_as(DEVICE | 0x100, a.m.address, a.m.data, 0x26));
		ATF_CHECK(refused_as(
		    0xffff, a.m.address, a.m.data, 0x26)); /* the unit of a plain write (VTD-113) */
		ATF_CHECK(refused_as(DEVICE, 0xfee0'0010 | 77 << 5, 0, 0x22));	/* nobody's */
		ATF_CHECK(refused_as(DEVICE, 0xfee0'3000, 0x41,
		    0x25)); /* the old format, right processor and vector */
		ATF_CHECK(refused_as(
		    DEVICE, a.m.address | 8, 5, 0x22)); /* with a sub-handle: another index */
		/* Data is not looked at: vector and processor are the entry's. */
		ATF_CHECK(model_vtd_send(model, DEVICE, a.m.address, 0x4099).vector == 0x41);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_closed_entry_is_past_when_its_ticket_is);
ATF_TC_BODY(a_closed_entry_is_past_when_its_ticket_is, tc)
{
	FOR_EACH_KIND(v) {
		struct sent a, b;
		struct iommu_ticket t;

		remap(v);
		a = open_entry(DEVICE, 1, 0x50);
		ATF_REQUIRE(arrives(DEVICE, &a, 1, 0x50));
		model_vtd_hang(model, true);
		t = unit->irqmap->close(unit, DEVICE, a.entry);
		ATF_CHECK(t.seq != 0);
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
		ATF_CHECK(
		    arrives(DEVICE, &a, 1, 0x50)); /* cached: this is why the vector must wait */
		if ((v->unit.cap & CAP_CM) == 0) {
			b = open_entry(OTHER, 2, 0x51);
			ATF_CHECK(b.entry != a.entry);
		}
		model_vtd_hang(model, false);
		ATF_REQUIRE_EQ(wait_for(t), OK);
		ATF_CHECK(refused_as(DEVICE, a.m.address, a.m.data, 0x22));
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(entries_run_out_with_an_error_code_and_come_back);
ATF_TC_BODY(entries_run_out_with_an_error_code_and_come_back, tc)
{
	static struct sent s[VTD_IRTES];
	const struct variant *v = &kinds[0];
	struct irqmap_message m;
	struct iommu_ticket t;
	uint32_t entry;

	remap(v);
	for (uint32_t i = 0; i < VTD_IRTES; i++)
		s[i] = open_entry(DEVICE, 0, (uint8_t)(0x20 + i % 200));
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0, 0x40, &entry, &m), E_NO_MEMORY);
	ATF_CHECK_EQ(model_vtd_entries(model), VTD_IRTES);
	for (uint32_t i = 0; i < VTD_IRTES; i += 111)
		ATF_CHECK(arrives(DEVICE, &s[i], 0, (uint8_t)(0x20 + i % 200)));
	model_vtd_hang(model, true);
	t = unit->irqmap->close(unit, DEVICE, s[5].entry);
	ATF_CHECK_EQ(unit->irqmap->open(unit, OTHER, 0, 0x40, &entry, &m), E_NO_MEMORY);
	model_vtd_hang(model, false);
	ATF_REQUIRE_EQ(wait_for(t), OK);
	s[5] = open_entry(OTHER, 0, 0x40);
	ATF_CHECK(arrives(OTHER, &s[5], 0, 0x40));
	ATF_CHECK(refused_as(DEVICE, s[5].m.address, 0, 0x26));
	NO_VIOLATION(v);
}

/* A full queue is a debt here too: the flush of everything has interrupt entries in it. */
ATF_TC_WITHOUT_HEAD(a_close_in_debt_is_past_when_its_ticket_is);
ATF_TC_BODY(a_close_in_debt_is_past_when_its_ticket_is, tc)
{
	FOR_EACH_KIND(v) {
		struct sent s[300];
		struct iommu_ticket t = { 0 };

		remap(v);
		for (unsigned i = 0; i < 300; i++) {
			s[i] = open_entry(DEVICE, 0, 0x33);
			ATF_REQUIRE(arrives(DEVICE, &s[i], 0, 0x33));
		}
		model_vtd_hang(model, true);
		for (unsigned i = 0; i < 300; i++)
			t = unit->irqmap->close(unit, DEVICE, s[i].entry);
		model_vtd_hang(model, false);
		ATF_REQUIRE_EQ_MSG(wait_for(t), OK, "%s", v->name);
		for (unsigned i = 0; i < 300; i++)
			ATF_REQUIRE(refused_as(DEVICE, s[i].m.address, 0, 0x22));
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_refused_invalidation_of_entries_is_replaced_by_all);
ATF_TC_BODY(a_refused_invalidation_of_entries_is_replaced_by_all, tc)
{
	struct sent a;

	remap(&kinds[0]);
	a = open_entry(DEVICE, 1, 0x50);
	ATF_REQUIRE(arrives(DEVICE, &a, 1, 0x50));
	model_vtd_refuse(model, 4, 1);
	ATF_REQUIRE_EQ(wait_for(unit->irqmap->close(unit, DEVICE, a.entry)), OK);
	ATF_CHECK(refused_as(DEVICE, a.m.address, a.m.data, 0x22));
	ATF_CHECK_EQ(unit->counters.errors, 1);
	NO_VIOLATION(&kinds[0]);
}

ATF_TC_WITHOUT_HEAD(processors_that_an_entry_cannot_name_are_refused);
ATF_TC_BODY(processors_that_an_entry_cannot_name_are_refused, tc)
{
	struct irqmap_message m;
	uint32_t entry;

	remap(&kinds[0]);		/* 8-bit ids */
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0x100, 0x40, &entry, &m), E_RANGE);
	ATF_CHECK_EQ(unit->irqmap->open(unit, 0x10000, 0, 0x40, &entry, &m), E_RANGE);
	{
		struct sent s = open_entry(DEVICE, 0xff, 0x40);

		ATF_CHECK(arrives(DEVICE, &s, 0xff, 0x40));
	}
	remap(&kinds[2]);		/* 32-bit ids */
	{
		struct sent s = open_entry(DEVICE, 0x12345, 0x40);

		ATF_CHECK(arrives(DEVICE, &s, 0x12345, 0x40));
	}
	NO_VIOLATION(&kinds[2]);
	wide_cpus = false;		/* processors in xAPIC mode */
	remap(&kinds[2]);
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0x100, 0x40, &entry, &m), E_RANGE);
	wide_cpus = true;
}

/* VTD-72 .. VTD-74 */
ATF_TC_WITHOUT_HEAD(what_keeps_remapping_off_is_said_by_name);
ATF_TC_BODY(what_keeps_remapping_off_is_said_by_name, tc)
{
	for (unsigned kind = 0; kind < 5; kind++) {
		struct variant v = kinds[0];
		const char *why[] = { "ECAP.IR", "does not offer it", "every I/O APIC",
			"does not start", "no memory" };

		if (kind == 0)
			v.unit.ecap &= ~(uint64_t)ECAP_IR;
		all_known = kind != 2;
		if (model != NULL)
			model_vtd_destroy(model);
		fake_kernel_init(&v.memory);
		model = model_vtd_create(&v.unit);
		if (kind == 3)
			model_vtd_ack_never(model, GCMD_IRE);
		describe(&v);
		machine->iommu[0].intr_remap = kind != 1;
		if (kind == 4)
			fake_fail_alloc(5);
		ATF_REQUIRE_EQ(vtd_driver.probe(machine, 0), OK);
		fake_fail_alloc(-1);
		unit = fake_units[0];
		ATF_CHECK(!unit->facts.interrupt_isolation && unit->irqmap == NULL);
		ATF_CHECK_MSG(fake_logged(why[kind]), "%s", fake_log());
		ATF_CHECK_EQ(model_vtd_status(model) & GCMD_IRE, 0);
		ATF_CHECK(model_vtd_send(model, DEVICE, 0xfee0'1000, 0x41).delivered);
		all_known = true;
		NO_VIOLATION(&v);
	}
}

ATF_TC_WITHOUT_HEAD(entries_are_the_golden_vectors);
ATF_TC_BODY(entries_are_the_golden_vectors, tc)
{
	struct sent s;
	struct vtd *v;

	remap(&kinds[0]);
	v = vtd_of(unit);
	ATF_CHECK_EQ(unit_read64(v->regs, VTD_IRTA) & PAGE_MASK, 9); /* 1024 entries, 8-bit ids */
	for (unsigned i = 0; i < 3; i++)
		(void)open_entry(DEVICE, 0, 0x60);
	s = open_entry(DEVICE, 0, 0x61);
	ATF_CHECK_EQ(s.entry, 3);
	ATF_CHECK(s.m.address == 0xfee0'0070 && s.m.data == 0 && s.m.line == 0x61);
	ATF_CHECK(v->irt[3][0] == 0x0061'0001 && v->irt[3][1] == 0x4'0028);
	(void)unit->irqmap->close(unit, DEVICE, 3);
	ATF_CHECK_EQ(
	    model_vtd_descriptor(model, (uint32_t)v->ring.tail - 1, 0), 0x0000'0003'0000'0014);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, remapping_starts_by_the_rules_and_nothing_arrives);
	ATF_TP_ADD_TC(tp, a_forged_message_does_not_arrive);
	ATF_TP_ADD_TC(tp, a_closed_entry_is_past_when_its_ticket_is);
	ATF_TP_ADD_TC(tp, entries_run_out_with_an_error_code_and_come_back);
	ATF_TP_ADD_TC(tp, a_close_in_debt_is_past_when_its_ticket_is);
	ATF_TP_ADD_TC(tp, a_refused_invalidation_of_entries_is_replaced_by_all);
	ATF_TP_ADD_TC(tp, processors_that_an_entry_cannot_name_are_refused);
	ATF_TP_ADD_TC(tp, what_keeps_remapping_off_is_said_by_name);
	ATF_TP_ADD_TC(tp, entries_are_the_golden_vectors);
	return atf_no_error();
}
