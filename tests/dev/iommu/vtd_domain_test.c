/*
 * A domain over the VT-d driver, over a unit that caches whatever it may: a grant that is published
 * is in force, and one that is free is out of reach.
 */
/* LINK: dev/iommu/vtd.c dev/iommu/vtd_tables.c dev/iommu/vtd_queue.c dev/iommu/vtd_fault.c
 * LINK: dev/iommu/vtd_irq.c dev/iommu/iopt.c
 * LINK: dev/iommu/fmt_vtdss.c dev/iommu/cmdring.c kern/quota.c kern/base/fmt.c
 * LINK: kern/base/str.c kern/base/itree.c
 * LINK: kern/dma/domain.c kern/dma/ledger.c kern/dma/iova.c kern/dma/fence.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c tests/lib/fake_memory.c
 * LINK: tests/lib/model_vtd.c tests/lib/model_vtd_cache.c
 * LINK: tests/lib/model_vtd_irq.c */
#include "tests/lib/vtd_stage.h"

#include "kern/dma/domain.h"
#include "kern/dma/irqmap.h"
#include "tests/lib/fake_memory.h"

/* Interrupt remapping is not offered here: vtd_irq_test.c. */
bool irqmap_ioapics_known(const struct machine *m) { (void)m; return true; }
bool irqc_wide_ids(void) { return false; }

enum : uint32_t { SID = 0x28 };

static struct dma_domain domain;
static struct fake_memory memory;

static enum status
grant(struct grant *g, uint64_t first, uint64_t pages)
{
	struct ledger_grant want = { .owner = g,
		.memory = &memory.m,
		.offset = first * PAGE_SIZE,
		.len = pages * PAGE_SIZE,
		.generation = 1,
		.dir = DMA_BOTH };

	return domain_grant(&domain, g, &want);
}

static void
open_domain(const struct variant *v)
{
	start(v);
	memset(&memory, 0, sizeof(memory));
	fake_memory_add(&memory, 1);
	fake_memory_add(&memory, 0);
	fake_memory_add(&memory, 2);
	ATF_REQUIRE_EQ(domain_init(&domain, unit, &quota, 1), OK);
	ATF_REQUIRE_EQ(unit->ops->attach(&domain.io, SID), OK);
}

/* D2: the device tried every address before, and the unit remembers what it found there. */
ATF_TC_WITHOUT_HEAD(what_is_published_is_in_force);
ATF_TC_BODY(what_is_published_is_in_force, tc)
{
	bool waited = false;

	FOR_EACH_VARIANT(v) {
		struct grant g[4] = { 0 };
		enum status s;

		open_domain(v);
		for (unsigned n = 0; n < ARRAY_SIZE(g); n++) {
			uint64_t page = memory.run[0].base;

			for (uint64_t at = IOVA_FIRST; at < IOVA_FIRST + 64 * PAGE_SIZE;
			    at += PAGE_SIZE)
				(void)model_vtd_dma(model, SID, at, true);
			s = grant(&g[n], 0, 7);
			for (unsigned i = 0; i < 10000 && s == E_WOULD_BLOCK; i++) {
				waited = true;
				ATF_REQUIRE_EQ(grant_state(&g[n]), LEDGER_MAPPED);
				s = domain_publish(&domain, &g[n]);
			}
			ATF_REQUIRE_MSG(s == OK, "%s: %s", v->name, status_text(s));
			ATF_CHECK_MSG(reaches(SID, grant_iova(&g[n]).v, page, true), "%s", v->name);
			ATF_CHECK_MSG(reaches(SID, grant_iova(&g[n]).v + 6 * PAGE_SIZE,
					  memory.run[2].base + 3 * PAGE_SIZE, false),
			    "%s", v->name);
		}
		for (unsigned n = 0; n < ARRAY_SIZE(g); n++) {
			uint64_t at = grant_iova(&g[n]).v;

			ATF_REQUIRE_EQ(domain_revoke(&domain, &g[n]), OK);
			while ((s = domain_settle(&domain, &g[n])) == E_WOULD_BLOCK)
				;
			ATF_REQUIRE_MSG(s == OK, "%s: %s", v->name, status_text(s));
			ATF_CHECK_MSG(!model_vtd_dma(model, SID, at, false).done, "%s", v->name);
		}
		ATF_CHECK(!model_vtd_reaches(model, memory.run[0].base));
		ATF_REQUIRE_EQ(wait_for(unit->ops->detach(&domain.io, SID)), OK);
		domain_fini(&domain);
		ATF_CHECK_EQ(quota.pages, 0);
		NO_VIOLATION(v);
	}
	ATF_CHECK(waited);	/* some units make a grant wait, or this test shows nothing */
}

/* D8: a unit that stops answering while a grant comes into force. */
ATF_TC_WITHOUT_HEAD(a_unit_that_hangs_in_a_grant_is_broken_and_the_grant_quarantined);
ATF_TC_BODY(a_unit_that_hangs_in_a_grant_is_broken_and_the_grant_quarantined, tc)
{
	FOR_EACH_VARIANT(v) {
		struct grant g = { 0 };
		enum status s;

		if ((v->unit.cap & CAP_CM) == 0)
			continue;
		open_domain(v);
		model_vtd_hang(model, true);
		s = grant(&g, 0, 7);
		ATF_REQUIRE_EQ(s, E_WOULD_BLOCK);
		fake_now += FENCE_DEADLINE_NS;
		while ((s = domain_publish(&domain, &g)) == E_WOULD_BLOCK)
			;
		ATF_CHECK_EQ(s, E_QUARANTINED);
		ATF_CHECK_EQ(grant_state(&g), LEDGER_QUARANTINED);
		ATF_CHECK(fake_broken != 0);
		ATF_CHECK_EQ(domain_revoke(&domain, &g), E_STATE);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_is_published_is_in_force);
	ATF_TP_ADD_TC(tp, a_unit_that_hangs_in_a_grant_is_broken_and_the_grant_quarantined);
	return atf_no_error();
}
