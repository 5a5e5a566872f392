/*
 * AMD-Vi interrupt remapping against the strict software unit: who may send what (D9).
 */
/* LINK: dev/iommu/amdvi.c dev/iommu/amdvi_tables.c dev/iommu/amdvi_queue.c
 * LINK: dev/iommu/amdvi_event.c
 * LINK: dev/iommu/amdvi_irq.c dev/iommu/iopt.c dev/iommu/fmt_amdv1.c dev/iommu/cmdring.c
 * LINK: kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/model_amdvi.c
 * LINK: tests/lib/model_amdvi_cache.c */
#include "tests/lib/amdvi_stage.h"

enum : uint32_t { DEVICE = 0x28, OTHER = 0x30 };

struct sent { uint32_t entry; struct irqmap_message m; };

static struct iommu_domain domain;

/* Remapping on; both devices attached. */
static void
remap(const struct variant *v)
{
	ioapics_known = true;
	start(v);
	make(&domain);
	ATF_REQUIRE_EQ(unit->ops->attach(&domain, DEVICE), OK);
	ATF_REQUIRE_EQ(unit->ops->attach(&domain, OTHER), OK);
}

static struct sent
open_entry(uint32_t requester, uint32_t processor, uint8_t vector)
{
	struct sent s;

	ATF_REQUIRE_EQ(unit->irqmap->open(unit, requester, processor, vector, &s.entry, &s.m), OK);
	return s;
}

static bool
arrives(uint32_t rid, const struct sent *s, uint32_t processor, uint8_t vector)
{
	struct model_amdvi_irq i = model_amdvi_send(model, rid, s->m.data);

	return i.delivered && i.remapped && i.vector == vector && i.processor == processor;
}

static bool
refuses(uint32_t rid, uint32_t data)
{
	return !model_amdvi_send(model, rid, data).delivered;
}

ATF_TC_WITHOUT_HEAD(remapping_starts_and_nothing_arrives);
ATF_TC_BODY(remapping_starts_and_nothing_arrives, tc)
{
	FOR_EACH_VARIANT(v) {
		remap(v);
		ATF_CHECK(unit->facts.interrupt_isolation && unit->irqmap != NULL);
		ATF_CHECK(strstr(unit->facts.text, ", interrupt remapping") != NULL);
		ATF_CHECK((model_amdvi_control(model) & CTL_GA_EN) != 0);
		for (uint32_t rid = 0; rid < 0x10000; rid += 1 + rid / 9)
			ATF_REQUIRE_MSG(refuses(rid, 0x31), "%s: requester 0x%x", v->name, rid);
		ATF_CHECK(refuses(DEVICE, 0x31) && refuses(IOAPIC, 4));
		NO_VIOLATION(v);
	}
}

/* The attack: a message that is another's. */
ATF_TC_WITHOUT_HEAD(a_forged_message_does_not_arrive);
ATF_TC_BODY(a_forged_message_does_not_arrive, tc)
{
	FOR_EACH_VARIANT(v) {
		struct dma_fault f[8];
		struct sent a, b, line;
		bool lost;

		remap(v);
		a = open_entry(DEVICE, 3, 0x41);
		b = open_entry(OTHER, 0, 0x42);
		line = open_entry(IOAPIC, 0, 0x30);
		ATF_CHECK(arrives(DEVICE, &a, 3, 0x41) && arrives(OTHER, &b, 0, 0x42) &&
		    arrives(IOAPIC, &line, 0, 0x30));
		ATF_CHECK_EQ(line.m.line, 0x30);	/* by which the end of interrupt finds it */
		while (unit->ops->drain_faults(unit, f, 8, &lost) != 0)
			;
		ATF_CHECK(refuses(OTHER, a.m.data));	/* another's number in its own table */
		if (unit->facts.fault_log && !v->unit.late_events) {
			ATF_REQUIRE_EQ(unit->ops->drain_faults(unit, f, 8, &lost), 1);
			ATF_CHECK(f[0].kind == FAULT_INTERRUPT && f[0].endpoint == OTHER &&
			    f[0].iova == 0);
		}
		ATF_CHECK(refuses(DEVICE ^ 1, a.m.data) && refuses(0x300, a.m.data));
		ATF_CHECK(refuses(DEVICE, 0x42) && refuses(DEVICE, 0x7ff) &&
		    refuses(DEVICE, 0x100 | a.m.data));
		ATF_CHECK(blocked(IOAPIC ^ 8, AT));
		ATF_CHECK(
		    refused(IOAPIC, RAM, true)); /* its messages pass, its memory accesses do not */
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_closed_entry_is_past_when_its_ticket_is);
ATF_TC_BODY(a_closed_entry_is_past_when_its_ticket_is, tc)
{
	FOR_EACH_VARIANT(v) {
		struct sent a, b;
		struct iommu_ticket t;

		remap(v);
		a = open_entry(DEVICE, 1, 0x50);
		ATF_REQUIRE(arrives(DEVICE, &a, 1, 0x50));
		model_amdvi_hang(model, true);
		t = unit->irqmap->close(unit, DEVICE, a.entry);
		ATF_CHECK_EQ(unit->ops->ticket_poll(unit, t), E_WOULD_BLOCK);
		ATF_CHECK(
		    arrives(DEVICE, &a, 1, 0x50)); /* cached: this is why the vector must wait */
		model_amdvi_hang(model, false);
		ATF_REQUIRE_EQ(wait_for(t), OK);
		ATF_CHECK(refuses(DEVICE, a.m.data));
		b = open_entry(DEVICE, 2, 0x50);
		ATF_CHECK(b.entry == a.entry && arrives(DEVICE, &b, 2, 0x50));
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(a_detached_device_is_silent_and_its_table_is_its_own_again);
ATF_TC_BODY(a_detached_device_is_silent_and_its_table_is_its_own_again, tc)
{
	FOR_EACH_VARIANT(v) {
		struct irqmap_message m;
		struct sent a;
		uint32_t entry;

		remap(v);
		a = open_entry(DEVICE, 1, 0x50);
		ATF_REQUIRE(arrives(DEVICE, &a, 1, 0x50));
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&domain, DEVICE)), OK);
		ATF_CHECK(refuses(DEVICE, a.m.data));	/* even before its entry is closed */
		ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0, 0x51, &entry, &m), E_STATE);
		ATF_REQUIRE_EQ(wait_for(unit->irqmap->close(unit, DEVICE, a.entry)), OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&domain, DEVICE), OK);
		ATF_CHECK(refuses(DEVICE, a.m.data));
		a = open_entry(DEVICE, 2, 0x52);
		ATF_CHECK(arrives(DEVICE, &a, 2, 0x52));
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(entries_run_out_with_an_error_code_and_come_back);
ATF_TC_BODY(entries_run_out_with_an_error_code_and_come_back, tc)
{
	static struct sent s[AMDVI_IRTES];
	struct irqmap_message m;
	struct iommu_ticket t;
	uint32_t entry;

	remap(&variants[0]);
	for (uint32_t i = 0; i < AMDVI_IRTES; i++)
		s[i] = open_entry(DEVICE, i % 3, 0x61);	/* the same vector of several processors */
	ATF_CHECK_EQ(s[0].entry, 0x61);
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0, 0x40, &entry, &m), E_NO_MEMORY);
	for (uint32_t i = 0; i < AMDVI_IRTES; i += 31)
		ATF_CHECK(arrives(DEVICE, &s[i], i % 3, 0x61));
	s[0] = open_entry(OTHER, 0, 0x40);		/* another's table is not full */
	ATF_REQUIRE_EQ(wait_for(unit->irqmap->close(unit, DEVICE, s[7].entry)), OK);
	ATF_CHECK_EQ(open_entry(DEVICE, 0, 0x40).entry, s[7].entry);
	t = unit->irqmap->close(unit, DEVICE, s[8].entry);
	ATF_CHECK_EQ(wait_for(t), OK);
	NO_VIOLATION(&variants[0]);
	/* Memory for the first entry. */
	for (int n = 0; n < 2; n++) {
		remap(&variants[0]);
		fake_fail_alloc(n);
		ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0, 0x40, &entry, &m), E_NO_MEMORY);
		fake_fail_alloc(-1);
		ATF_CHECK(refuses(DEVICE, 0x40));
		s[0] = open_entry(DEVICE, 0, 0x40);
		ATF_CHECK(arrives(DEVICE, &s[0], 0, 0x40));
	}
}

/* AMD-36 */
ATF_TC_WITHOUT_HEAD(functions_behind_an_alias_share_its_table);
ATF_TC_BODY(functions_behind_an_alias_share_its_table, tc)
{
	struct sent a;

	remap(&variants[0]);
	model_amdvi_alias(0x208, 0x200);
	ATF_REQUIRE_EQ(unit->ops->attach(&domain, 0x200), OK);
	a = open_entry(0x200, 1, 0x50);
	ATF_CHECK(arrives(0x200, &a, 1, 0x50) && arrives(0x208, &a, 1, 0x50));
	ATF_CHECK(refuses(0x210, a.m.data));
	ATF_REQUIRE_EQ(wait_for(unit->irqmap->close(unit, 0x200, a.entry)), OK);
	ATF_CHECK(refuses(0x200, a.m.data) && refuses(0x208, a.m.data));
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(processors_that_an_entry_cannot_name_are_refused);
ATF_TC_BODY(processors_that_an_entry_cannot_name_are_refused, tc)
{
	struct variant wide = { .name = "wide ids", .unit.efr = MODEL_AMDVI_EFR | EFR_XT };
	struct irqmap_message m;
	struct sent a;
	uint32_t entry;

	remap(&variants[0]);
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0x100, 0x40, &entry, &m), E_RANGE);
	ATF_CHECK_EQ(unit->irqmap->open(unit, 0x10000, 0, 0x40, &entry, &m), E_RANGE);
	a = open_entry(DEVICE, 0xff, 0x40);
	ATF_CHECK(arrives(DEVICE, &a, 0xff, 0x40));
	remap(&wide);			/* processors in xAPIC mode */
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0x100, 0x40, &entry, &m), E_RANGE);
	wide_cpus = true;
	remap(&wide);
	ATF_CHECK((model_amdvi_control(model) & CTL_XT_EN) != 0);
	a = open_entry(DEVICE, 0x1234'5678, 0x40);
	ATF_CHECK(arrives(DEVICE, &a, 0x1234'5678, 0x40));
	NO_VIOLATION(&wide);
	wide_cpus = false;
}

ATF_TC_WITHOUT_HEAD(what_keeps_remapping_off_is_said_by_name);
ATF_TC_BODY(what_keeps_remapping_off_is_said_by_name, tc)
{
	for (unsigned kind = 0; kind < 3; kind++) {
		struct variant v = { .name = "without" };

		if (kind == 0)
			v.unit.efr = MODEL_AMDVI_EFR & ~(uint64_t)EFR_GA;
		ioapics_known = kind != 1;
		set(&v);
		if (kind == 2)
			model_amdvi_stuck(model, CTL_GA_EN);
		ATF_REQUIRE_EQ(amdvi_driver.probe(machine, 0), OK);
		unit = fake_units[0];
		ATF_CHECK(!unit->facts.interrupt_isolation && unit->irqmap == NULL);
		ATF_CHECK_MSG(
		    fake_logged(kind == 1 ? "every I/O APIC" : "EFR.GA"), "%s", fake_log());
		ATF_CHECK(model_amdvi_message(model, IOAPIC));
		ATF_CHECK(!model_amdvi_message(model, DEVICE));
		make(&domain);
		ATF_REQUIRE_EQ(unit->ops->attach(&domain, DEVICE), OK);
		ATF_CHECK(model_amdvi_message(model, DEVICE));
		NO_VIOLATION(&v);
	}
}

ATF_TC_WITHOUT_HEAD(an_unanswered_invalidation_breaks_the_unit);
ATF_TC_BODY(an_unanswered_invalidation_breaks_the_unit, tc)
{
	struct irqmap_message m;
	uint32_t entry;

	remap(&variants[0]);
	model_amdvi_hang(model, true);
	ATF_CHECK_EQ(unit->irqmap->open(unit, DEVICE, 0, 0x40, &entry, &m), E_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK(strstr(fake_broken_why, "interrupt entries") != NULL);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, remapping_starts_and_nothing_arrives);
	ATF_TP_ADD_TC(tp, a_forged_message_does_not_arrive);
	ATF_TP_ADD_TC(tp, a_closed_entry_is_past_when_its_ticket_is);
	ATF_TP_ADD_TC(tp, a_detached_device_is_silent_and_its_table_is_its_own_again);
	ATF_TP_ADD_TC(tp, entries_run_out_with_an_error_code_and_come_back);
	ATF_TP_ADD_TC(tp, functions_behind_an_alias_share_its_table);
	ATF_TP_ADD_TC(tp, processors_that_an_entry_cannot_name_are_refused);
	ATF_TP_ADD_TC(tp, what_keeps_remapping_off_is_said_by_name);
	ATF_TP_ADD_TC(tp, an_unanswered_invalidation_breaks_the_unit);
	return atf_no_error();
}
