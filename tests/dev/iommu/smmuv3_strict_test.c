/*
 * The SMMUv3 driver against the strict software unit: what strict unmap promises, under load and
 * when hardware fails.
 */
/* LINK: dev/iommu/smmuv3.c dev/iommu/smmuv3_tables.c dev/iommu/smmuv3_cmd.c dev/iommu/iopt.c
 * LINK: dev/iommu/fmt_vmsa.c dev/iommu/cmdring.c kern/machine/machine.c kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/walk.c
 * LINK: tests/lib/model_smmu.c tests/lib/model_smmu_regs.c */
#include "tests/lib/smmu_stage.h"

#define UNIT_DEVICES 0x18, 0x19, 0x28, 0xfe, 0xff
#include "tests/lib/unit_conformance.h"

/* ---- Strict unmap ---- */

ATF_TC_WITHOUT_HEAD(large_runs_are_out_of_reach_when_their_ticket_is_past);
ATF_TC_BODY(large_runs_are_out_of_reach_when_their_ticket_is_past, tc)
{
	FOR_EACH_VARIANT(v) {
		struct iommu_domain d;
		uint64_t to = RAM + 32 * MIB;
		static const struct { uint64_t len; bool large;
		} runs[] = {
			{ PAGE_SIZE, false },
			{ 3 * PAGE_SIZE, false },
			{ 33 * PAGE_SIZE, false },
			{ 100 * PAGE_SIZE, false },
			{ 2 * MIB, true },
			{ 6 * MIB + 5 * PAGE_SIZE, true },
		};

		start(v);
		make(&d);
		model_smmu_watch(model, 0x18, AT);
		model_smmu_watch(model, 0x18, AT + 2 * PAGE_SIZE);
		model_smmu_watch(model, 0x19, AT + 4 * MIB + 3 * PAGE_SIZE);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x19), OK);
		for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
			struct iommu_ticket t;

			ATF_REQUIRE_EQ(
			    map_only(&d, AT, to, runs[i].len, IOMMU_READ | IOMMU_WRITE), OK);
			for (uint64_t o = 0; o < runs[i].len; o += PAGE_SIZE)
				ATF_REQUIRE(hits(0x19, AT + o, true, to + o));
			t = unmap(&d, AT, runs[i].len);
			wait_past(t);
			for (uint64_t o = 0; o < runs[i].len; o += PAGE_SIZE)
				ATF_REQUIRE_MSG(!model_smmu_reaches(model, to + o),
				    "%s: page %u of run %u", v->name, (unsigned)(o / PAGE_SIZE),
				    (unsigned)i);
			ATF_CHECK(blocked(0x18, AT));
			to += 8 * MIB;
			if (to + 8 * MIB > RAM + 64 * MIB)
				to = RAM + 32 * MIB;
		}
		NO_VIOLATION(v);
		wait_past(unit->ops->detach(&d, 0x18));
		wait_past(unit->ops->detach(&d, 0x19));
		unit->ops->domain_fini(&d);
		NO_VIOLATION(v);
	}
}

ATF_TC_WITHOUT_HEAD(many_unmaps_share_a_sync_and_a_doorbell);
ATF_TC_BODY(many_unmaps_share_a_sync_and_a_doorbell, tc)
{
	struct iommu_domain d;
	struct iommu_ticket t[24];

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
	for (uint64_t i = 0; i < ARRAY_SIZE(t); i++)
		ATF_REQUIRE_EQ(
		    map_only(&d, AT + i * PAGE_SIZE, RAM + i * PAGE_SIZE, PAGE_SIZE, IOMMU_READ),
		    OK);
	(void)model_smmu_doorbells(model);
	(void)model_smmu_executed(model, 0x46);
	(void)model_smmu_executed(model, 0x12);
	(void)fake_register_writes();
	(void)fake_register_reads();
	for (uint64_t i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = unmap(&d, AT + i * PAGE_SIZE, PAGE_SIZE);
	ATF_CHECK_EQ(fake_register_writes() + fake_register_reads(), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		ATF_CHECK_EQ(poll(t[i]), OK);
	ATF_CHECK_EQ(model_smmu_doorbells(model), 1);
	ATF_CHECK_EQ(model_smmu_executed(model, 0x46), 1);
	ATF_CHECK_EQ(model_smmu_executed(model, 0x12), ARRAY_SIZE(t));
	ATF_CHECK_EQ(fake_register_writes(), 1);
	ATF_CHECK_EQ(fake_register_reads(), 1);
	NO_VIOLATION(&variants[0]);
}

ATF_TC_WITHOUT_HEAD(a_range_takes_few_commands);
ATF_TC_BODY(a_range_takes_few_commands, tc)
{
	struct iommu_domain d;
	struct smmu *s;

	start(&variants[0]);	/* with range invalidation */
	s = smmu_of(unit);
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
	ATF_REQUIRE_EQ(map_only(&d, 0x8000'0000, RAM, 4 * PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, 0x8000'0000, 4 * PAGE_SIZE));
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][0],
	    0x0001000000003012 & ~0x3000ull | 2ull << 20);
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][1], 0x80000401);
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 1) & 255][0], 0x46);
	ATF_REQUIRE_EQ(map_only(&d, 0x8000'0000, RAM, 3 * PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, 0x8000'0000, 3 * PAGE_SIZE));
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][0], 0x0001000000002012);
	ATF_REQUIRE_EQ(map_only(&d, 0x8000'0000, RAM, PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, 0x8000'0000, PAGE_SIZE));
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][0], 0x0001000000000012);
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][1], 0x80000001);
	(void)model_smmu_executed(model, 0x12);
	ATF_REQUIRE_EQ(map_only(&d, AT, RAM + PAGE_SIZE, 33 * PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, AT, 33 * PAGE_SIZE));
	ATF_CHECK_EQ(model_smmu_executed(model, 0x12), 2);
	ATF_REQUIRE_EQ(map_only(&d, AT, RAM, GIB, IOMMU_READ), OK);
	wait_past(unmap(&d, AT, GIB));
	ATF_CHECK_EQ(model_smmu_executed(model, 0x12), 1);

	start(&variants[1]);
	s = smmu_of(unit);
	for (unsigned i = 0; i < 7; i++)
		make(&d);
	ATF_REQUIRE_EQ(map_only(&d, 0x8000'0000, RAM, PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, 0x8000'0000, PAGE_SIZE));
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][0], 0x000000070000002A);
	ATF_CHECK_EQ(s->ring.slot[(s->ring.tail - 2) & 255][1], 0x80000001);

	start(&variants[3]);	/* without: leaf by leaf, or all */
	make(&d);
	ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
	(void)model_smmu_executed(model, 0x11);
	ATF_REQUIRE_EQ(map_only(&d, AT, RAM + PAGE_SIZE, 16 * PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, AT, 16 * PAGE_SIZE));
	ATF_CHECK_EQ(model_smmu_executed(model, 0x12), 16);
	ATF_CHECK_EQ(model_smmu_executed(model, 0x11), 0);
	ATF_REQUIRE_EQ(map_only(&d, AT, RAM + PAGE_SIZE, 17 * PAGE_SIZE, IOMMU_READ), OK);
	wait_past(unmap(&d, AT, 17 * PAGE_SIZE));
	ATF_CHECK_EQ(model_smmu_executed(model, 0x12), 0);
	ATF_CHECK_EQ(model_smmu_executed(model, 0x11), 1);
	ATF_REQUIRE_EQ(map_only(&d, AT, RAM, 8 * MIB, IOMMU_READ),
	    OK); /* by blocks, but for where a table stands */
	wait_past(unmap(&d, AT, 8 * MIB));
	ATF_CHECK_EQ(model_smmu_executed(model, 0x11), 1);
	ATF_REQUIRE_EQ(map_only(&d, AT + 2 * MIB, RAM, 6 * MIB, IOMMU_READ), OK);
	wait_past(unmap(&d, AT + 2 * MIB, 6 * MIB));
	ATF_CHECK_EQ(model_smmu_executed(model, 0x12), 3);
	NO_VIOLATION(&variants[3]);
}

ATF_TC_WITHOUT_HEAD(a_full_queue_delays_tickets_but_loses_nothing);
ATF_TC_BODY(a_full_queue_delays_tickets_but_loses_nothing, tc)
{
	static const unsigned which[] = { 0, 1, 3, 12 };

	for (size_t i = 0; i < ARRAY_SIZE(which); i++) {
		const struct variant *v = &variants[which[i]];
		struct iommu_domain d, e;
		static struct iommu_ticket t[1000];
		struct iommu_ticket last;

		start(v);
		make(&d);
		make(&e);
		model_smmu_watch(model, 0x28, AT);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_REQUIRE_EQ(unit->ops->attach(&e, 0x28), OK);
		ATF_REQUIRE_EQ(map_only(&e, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
		for (uint64_t n = 0; n < ARRAY_SIZE(t); n++) {
			ATF_REQUIRE_EQ(map_only(&d, AT + n * PAGE_SIZE, RAM + MIB + n * PAGE_SIZE,
					   PAGE_SIZE, IOMMU_READ),
			    OK);
			ATF_REQUIRE(
			    hits(0x18, AT + n * PAGE_SIZE, false, RAM + MIB + n * PAGE_SIZE));
		}
		model_smmu_hang(model, true);
		for (uint64_t n = 0; n < ARRAY_SIZE(t); n++)
			t[n] = unmap(&d, AT + n * PAGE_SIZE, PAGE_SIZE);
		last = unit->ops->detach(&e, 0x28);
		for (uint64_t n = 0; n < ARRAY_SIZE(t); n += 100)
			ATF_CHECK_EQ(poll(t[n]), E_WOULD_BLOCK);
		model_smmu_hang(model, false);
		for (uint64_t n = 0; n < ARRAY_SIZE(t); n++) {
			wait_past(t[n]);
			ATF_REQUIRE(!model_smmu_reaches(model, RAM + MIB + n * PAGE_SIZE));
		}
		wait_past(last);
		ATF_CHECK(blocked(0x28, AT));
		unit->ops->domain_fini(&e);	/* the model knows what is still cached */
		ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
		wait_past(unmap(&d, AT, PAGE_SIZE));
		NO_VIOLATION(v);
		ATF_CHECK(!unit->broken);
	}
}

/* ---- Storm ---- */

enum { DOMAINS = 3, STREAMS = 4, GRANTS = 24, SLOTS = 64 };

struct grant { unsigned domain; uint64_t at, to, len; bool live, dying; struct iommu_ticket t; };

/* Random life of domains under devices that never stop trying; freed memory is out of reach,
 * always. */
static void
storm(const struct variant *v, uint64_t seed)
{
	static const uint32_t sids[STREAMS] = { 0x08, 0x09, 0xfe, 0xff };
	struct variant w = *v;
	struct iommu_domain d[DOMAINS];
	struct grant g[GRANTS] = { 0 };
	struct { int domain; bool dying; struct iommu_ticket t; } stream[STREAMS];
	uint64_t frames;

	w.memory.seed += seed;
	w.memory.bytes = 32 * MIB;
	start(&w);
	frames = fake_frames(FRAME_FREE);
	for (unsigned i = 0; i < DOMAINS; i++)
		make(&d[i]);
	for (unsigned i = 0; i < STREAMS; i++) {
		stream[i].domain = -1;
		stream[i].dying = false;
		for (unsigned j = 0; j < 3; j++)
			model_smmu_watch(model, sids[i], AT + j * 2 * PAGE_SIZE);
	}
	for (unsigned turn = 0; turn < 300; turn++) {
		unsigned i = (unsigned)(fake_random() % GRANTS),
			 n = (unsigned)(fake_random() % STREAMS);
		unsigned k = (unsigned)(fake_random() % DOMAINS);

		switch (fake_random() % 8) {
		case 0:
			if (stream[n].domain < 0) {
				ATF_REQUIRE_EQ(unit->ops->attach(&d[k], sids[n]), OK);
				stream[n].domain = (int)k;
				stream[n].dying = false;
			}
			break;
		case 1:
			if (stream[n].domain >= 0) {
				stream[n].t = unit->ops->detach(&d[stream[n].domain], sids[n]);
				stream[n].domain = -1;
				stream[n].dying = true;
				/* At once again, without waiting: attach must see to it. */
				if (fake_random() % 2 == 0) {
					ATF_REQUIRE_EQ(unit->ops->attach(&d[k], sids[n]), OK);
					stream[n].domain = (int)k;
				}
			}
			break;
		case 2:
		case 3:
			if (!g[i].live && !g[i].dying) {
				struct grant c = { .domain = k,
					.at = AT + fake_random() % 12 * PAGE_SIZE,
					.live = true,
					.len = (1 + fake_random() % 4) * PAGE_SIZE,
					.to = RAM + 24 * MIB + i * 64 * KIB };

				if (fake_random() % 8 == 0)
					c.at = AT + 2 * MIB, c.to = RAM + 28 * MIB, c.len = 2 * MIB;
				/* The kernel gives an address out again only after its ticket. */
				for (unsigned j = 0; j < GRANTS; j++)
					if (g[j].dying && g[j].domain == k &&
					    ranges_overlap(g[j].at, g[j].len, c.at, c.len))
						c.live = false;
				if (c.live &&
				    map_only(&d[k], c.at, c.to, c.len,
					fake_random() % 2 == 0 ? IOMMU_READ :
								 IOMMU_READ | IOMMU_WRITE) == OK)
					g[i] = c;
			}
			break;
		case 4:
		case 5:
			if (g[i].live) {
				g[i].t = unmap(&d[g[i].domain], g[i].at, g[i].len);
				g[i].live = false;
				g[i].dying = true;
			}
			break;
		default:
			if (g[i].dying && poll(g[i].t) == OK) {
				bool shared = false;

				g[i].dying = false;
				for (unsigned j = 0; j < GRANTS; j++)
					shared = shared ||
					    ((g[j].live || g[j].dying) && g[j].to == g[i].to);
				for (uint64_t o = 0; o < g[i].len && !shared; o += PAGE_SIZE)
					ATF_REQUIRE_MSG(!model_smmu_reaches(model, g[i].to + o),
					    "%s, seed %u, turn %u", v->name, (unsigned)seed, turn);
			}
			if (stream[n].domain < 0 && stream[n].dying && poll(stream[n].t) == OK)
				ATF_REQUIRE(blocked(sids[n], AT));
			for (unsigned j = 0; j < GRANTS; j++)
				if (stream[n].domain >= 0 && g[j].live &&
				    g[j].domain == (unsigned)stream[n].domain)
					ATF_REQUIRE(hits(sids[n], g[j].at + PAGE_SIZE / 2, false,
					    g[j].to + PAGE_SIZE / 2));
		}
		NO_VIOLATION(v);
	}
	for (unsigned i = 0; i < GRANTS; i++) {
		if (g[i].live)
			g[i].t = unmap(&d[g[i].domain], g[i].at, g[i].len);
		if (g[i].live || g[i].dying)
			wait_past(g[i].t);
	}
	for (unsigned n = 0; n < STREAMS; n++)
		if (stream[n].domain >= 0)
			wait_past(unit->ops->detach(&d[stream[n].domain], sids[n]));
	for (unsigned i = 0; i < DOMAINS; i++) {
		unit->ops->domain_fini(&d[i]);
		ATF_CHECK(frames - fake_frames(FRAME_FREE) <=
		    6u + 4 * 3); /* what the unit keeps: descriptors, entries */
	}
	ATF_CHECK_EQ(quota.pages, 0);
	NO_VIOLATION(v);
}

ATF_TC(nothing_stale_survives_a_storm);
ATF_TC_HEAD(nothing_stale_survives_a_storm, tc)
{
	atf_tc_set_md_var(tc, "timeout", "600");
}
ATF_TC_BODY(nothing_stale_survives_a_storm, tc)
{
	FOR_EACH_VARIANT(v)
		for (uint64_t seed = 1; seed <= 6; seed++)
			storm(v, seed);
}

/* ---- When hardware fails ---- */

ATF_TC_WITHOUT_HEAD(a_refused_command_is_replaced_by_its_whole_form);
ATF_TC_BODY(a_refused_command_is_replaced_by_its_whole_form, tc)
{
	static const uint8_t ops[] = { 0x12, 0x03, 0x11, 0x46 };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct variant *v = &variants[i % 2 == 0 ? 0 : 3];
		struct iommu_domain d;

		start(v);
		make(&d);
		model_smmu_watch(model, 0x18, AT);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
		ATF_REQUIRE_EQ(map_only(&d, 2 * AT, RAM + MIB, PAGE_SIZE, IOMMU_READ), OK);
		ATF_REQUIRE(hits(0x18, AT, false, RAM));
		model_smmu_refuse(model, ops[i], 1);
		wait_past(unmap(&d, AT, PAGE_SIZE));
		ATF_CHECK(!model_smmu_reaches(model, RAM));
		wait_past(unit->ops->detach(&d, 0x18));
		ATF_CHECK(blocked(0x18, 2 * AT));
		ATF_CHECK_EQ(fake_broken, 0);
		ATF_CHECK(fake_logged("refused; everything of its kind is invalidated instead"));
		ATF_CHECK_EQ(unit->counters.errors, 1);
		/* And again, later: another command, another chance. */
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		model_smmu_refuse(model, 0x03, 1);
		wait_past(unit->ops->detach(&d, 0x18));
		ATF_CHECK_EQ(fake_broken, 0);
		NO_VIOLATION(v);
	}
}

static void
is_closed(const struct variant *v, struct iommu_domain *d, struct iommu_ticket t, const char *why)
{
	ATF_CHECK_EQ(poll(t), E_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK_MSG(strstr(fake_broken_why, why) != NULL, "%s", fake_broken_why);
	ATF_CHECK(v->unit.no_gbpa || model_smmu_cr0(model) == 0);
	ATF_CHECK(v->unit.no_gbpa || blocked(0x18, AT));
	ATF_CHECK_EQ(unit->ops->attach(d, 0x30), E_QUARANTINED);
	ATF_CHECK_EQ(map_only(d, 2 * AT, RAM, PAGE_SIZE, IOMMU_READ), E_QUARANTINED);
	ATF_CHECK_EQ(
	    unit->ops->domain_init(&(struct iommu_domain){ .unit = unit, .quota = &quota }),
	    E_QUARANTINED);
	ATF_CHECK_EQ(poll((struct iommu_ticket){ 0 }), OK);
	NO_VIOLATION(v);
}

ATF_TC_WITHOUT_HEAD(an_unknown_state_closes_the_unit);
ATF_TC_BODY(an_unknown_state_closes_the_unit, tc)
{
	for (unsigned what = 0; what < 5; what++) {
		const struct variant *v = &variants[what == 4 ? 2 : 0];
		static const char *const why[] = { "refuses commands",
			"cannot read its command queue", "service failure mode",
			"the kernel gave up", "cannot read its command queue" };
		struct iommu_domain d;
		struct iommu_ticket t;
		struct dma_fault f;
		uint64_t tables;
		bool lost;

		start(v);
		make(&d);
		ATF_REQUIRE_EQ(unit->ops->attach(&d, 0x18), OK);
		ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
		ATF_REQUIRE(hits(0x18, AT, false, RAM));
		t = unmap(&d, AT, PAGE_SIZE);
		switch (what) {
		case 0:
			model_smmu_refuse(model, 0x12, 1);
			wait_past(t);			/* replaced */
			ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
			t = unmap(&d, AT, PAGE_SIZE);
			model_smmu_refuse(model, 0x12, 1);
			smmu_of(unit)->repaired =
			    smmu_of(unit)->ring.tail; /* as if it had been replaced before */
			break;
		case 1:
		case 4:
			model_smmu_queue_abort(model);
			break;
		case 2:
			model_smmu_gerror(model, 1 << 8);
			(void)unit->ops->drain_faults(unit, &f, 1, &lost);
			break;
		default:
			model_smmu_hang(model, true);
			ATF_CHECK_EQ(poll(t), E_WOULD_BLOCK);
			iommu_mark_broken(unit, "deadline");
			(void)unit->ops->drain_faults(unit, &f, 1, &lost);
			strcpy(fake_broken_why, "the kernel gave up");
			fake_broken = 1;
		}
		is_closed(v, &d, t, why[what]);
		/* Its tables are never used again. */
		ATF_CHECK_EQ(poll(unit->ops->detach(&d, 0x18)), E_QUARANTINED);
		ATF_CHECK_EQ(d.endpoints, 0);
		tables = d.table_pages;
		unit->ops->domain_fini(&d);
		ATF_CHECK_EQ(fake_frames(FRAME_QUARANTINED), tables);
		ATF_CHECK_EQ(quota.pages, 0);
	}
}

ATF_TC_WITHOUT_HEAD(an_attach_that_hangs_closes_the_unit);
ATF_TC_BODY(an_attach_that_hangs_closes_the_unit, tc)
{
	struct iommu_domain d;
	uint64_t before;

	start(&variants[0]);
	make(&d);
	ATF_REQUIRE_EQ(map_only(&d, AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
	model_smmu_hang(model, true);
	before = fake_now;
	ATF_CHECK_EQ(unit->ops->attach(&d, 0x18), E_QUARANTINED);
	ATF_CHECK(fake_now - before < 2 * NS_PER_MS);
	ATF_CHECK_EQ(fake_broken, 1);
	ATF_CHECK(blocked(0x18, AT));
	ATF_CHECK_EQ(d.endpoints, 0);
	NO_VIOLATION(&variants[0]);
}

/* ---- Tags ---- */

ATF_TC_WITHOUT_HEAD(a_tag_is_used_again_only_after_its_flush);
ATF_TC_BODY(a_tag_is_used_again_only_after_its_flush, tc)
{
	/* Eight bits of tags: 255 domains. */
	struct variant v = { .name = "8-bit tags",
		.unit = { .idr0 = IDR0_V10 & ~(uint32_t)(BIT(12) | BIT(18)), .idr3 = 0x1414 } };

	for (v.stage = 1; v.stage <= 2; v.stage++) {
		static struct iommu_domain d[256];
		bool seen[256] = { false };
		struct iommu_domain extra = { 0 };

		v.cmdline = v.stage == 1 ? NULL : "smmu.stage=2";
		start(&v);
		ATF_CHECK_EQ(unit->facts.domains_max, 255);
		for (unsigned i = 0; i < 255; i++) {
			make(&d[i]);
			ATF_REQUIRE(d[i].tag >= 1 && d[i].tag < 256 && !seen[d[i].tag]);
			seen[d[i].tag] = true;
		}
		extra = (struct iommu_domain){ .unit = unit, .quota = &quota };
		ATF_CHECK_EQ(unit->ops->domain_init(&extra), E_BUSY);
		/* Two that lived leave; the unit does not confirm the flush. */
		for (unsigned i = 10; i < 12; i++) {
			ATF_REQUIRE_EQ(unit->ops->attach(&d[i], i), OK);
			ATF_REQUIRE_EQ(map_only(&d[i], AT, RAM, PAGE_SIZE, IOMMU_READ), OK);
			ATF_REQUIRE(hits(i, AT, false, RAM));
			wait_past(unmap(&d[i], AT, PAGE_SIZE));
			wait_past(unit->ops->detach(&d[i], i));
		}
		(void)model_smmu_executed(model, v.stage == 1 ? 0x11 : 0x28);
		model_smmu_hang(model, true);
		for (unsigned i = 10; i < 12; i++)
			unit->ops->domain_fini(&d[i]);
		ATF_CHECK_EQ(unit->ops->domain_init(&extra), E_BUSY);
		model_smmu_hang(model, false);
		make(&extra);
		ATF_CHECK_EQ(model_smmu_executed(model, v.stage == 1 ? 0x11 : 0x28), 2);
		/* One that never lived needs no flush. */
		unit->ops->domain_fini(&d[20]);
		make(&d[20]);
		ATF_CHECK_EQ(model_smmu_executed(model, v.stage == 1 ? 0x11 : 0x28), 0);
		NO_VIOLATION(&v);
	}
}

ATF_TC_WITHOUT_HEAD(a_failed_domain_leaves_nothing);
ATF_TC_BODY(a_failed_domain_leaves_nothing, tc)
{
	start(&variants[0]);
	for (int64_t n = 0;; n++) {
		struct iommu_domain d = { .unit = unit, .quota = &quota };
		uint64_t frames = fake_frames(FRAME_FREE);
		enum status s;

		fake_fail_alloc(n);
		s = unit->ops->domain_init(&d);
		fake_fail_alloc(-1);
		if (s == OK)
			break;
		ATF_CHECK_EQ(s, E_NO_MEMORY);
		ATF_CHECK_EQ(fake_frames(FRAME_FREE), frames);
		ATF_CHECK_EQ(quota.pages, 0);
		ATF_CHECK_EQ(unit->domains, 0);
	}
	quota.pages_max = quota.pages;
	ATF_CHECK_EQ(
	    unit->ops->domain_init(&(struct iommu_domain){ .unit = unit, .quota = &quota }),
	    E_QUOTA);
}

ATF_TP_ADD_TCS(tp)
{
	UNIT_CONFORMANCE(tp);
	ATF_TP_ADD_TC(tp, large_runs_are_out_of_reach_when_their_ticket_is_past);
	ATF_TP_ADD_TC(tp, many_unmaps_share_a_sync_and_a_doorbell);
	ATF_TP_ADD_TC(tp, a_range_takes_few_commands);
	ATF_TP_ADD_TC(tp, a_full_queue_delays_tickets_but_loses_nothing);
	ATF_TP_ADD_TC(tp, nothing_stale_survives_a_storm);
	ATF_TP_ADD_TC(tp, a_refused_command_is_replaced_by_its_whole_form);
	ATF_TP_ADD_TC(tp, an_unknown_state_closes_the_unit);
	ATF_TP_ADD_TC(tp, an_attach_that_hangs_closes_the_unit);
	ATF_TP_ADD_TC(tp, a_tag_is_used_again_only_after_its_flush);
	ATF_TP_ADD_TC(tp, a_failed_domain_leaves_nothing);
	return atf_no_error();
}
