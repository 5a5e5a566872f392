/*
 * Short names for the ops of an IOMMU unit under test, the same for every driver.
 *
 * A driver's own stage (vtd_stage.h, amdvi_stage.h, smmu_stage.h, viommu_stage.h) brings the
 * machine, the kinds of units and their model, and after including this file says how the model is
 * asked:
 *
 *     unit_dma       an access of a device; true: it went through, translated, to *pa
 *     unit_watch     this device tries this address all the time
 *     unit_reaches   some device can still reach this page
 *     unit_hang      the unit does not advance
 */
#pragma once

#include <atf-c.h>
#include <stdio.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/dma/iommu.h"
#include "kern/quota.h"
#include "tests/lib/fake_kernel.h"

static struct iommu_unit *unit;
static struct quota quota;

static bool unit_dma(uint32_t rid, uint64_t iova, bool write, uint64_t *pa);
static void unit_watch(uint32_t rid, uint64_t iova);
static bool unit_reaches(uint64_t page);
static void unit_hang(bool hang);

#define FOR_EACH_VARIANT(v) \
	for (const struct variant *v = variants; v < variants + ARRAY_SIZE(variants); v++)

static UNUSED void
make(struct iommu_domain *d)
{
	enum status s;

	*d = (struct iommu_domain){ .unit = unit, .quota = &quota };
	s = unit->ops->domain_init(d);
	ATF_REQUIRE_MSG(s == OK, "%s", status_text(s));
}

/* A user's page. */
static UNUSED uint64_t
page(unsigned order)
{
	struct paddr p;

	ATF_REQUIRE_EQ(frame_alloc(order, FRAME_USER, 0, &p), OK);
	return p.v;
}

static UNUSED enum status
poll(struct iommu_ticket t)
{
	return unit->ops->ticket_poll(unit, t);
}

/* Until the ticket is past, or a second went by. */
static UNUSED enum status
wait_for(struct iommu_ticket t)
{
	enum status s = E_WOULD_BLOCK;

	for (unsigned i = 0; i < 100000 && s == E_WOULD_BLOCK; i++) {
		s = poll(t);
		fake_now++;
	}
	return s;
}

static UNUSED enum status
map_only(struct iommu_domain *d, uint64_t at, uint64_t to, uint64_t len, enum iommu_rights rights)
{
	return unit->ops->map(d, (struct iova){ at }, (struct paddr){ to }, len, rights);
}

static UNUSED void
map(struct iommu_domain *d, uint64_t at, uint64_t to, uint64_t len, enum iommu_rights rights)
{
	enum status s = map_only(d, at, to, len, rights);

	ATF_REQUIRE_MSG(s == OK, "map: %s", status_text(s));
	ATF_REQUIRE_EQ(wait_for(unit->ops->sync(d)), OK);
}

static UNUSED struct iommu_ticket
unmap(struct iommu_domain *d, uint64_t at, uint64_t len)
{
	return unit->ops->unmap(d, (struct iova){ at }, len);
}

static UNUSED bool
reaches(uint32_t rid, uint64_t iova, uint64_t pa, bool write)
{
	uint64_t got;

	return unit_dma(rid, iova, write, &got) && got == pa;
}

/* Neither reads nor writes. */
static UNUSED bool
shut_out(uint32_t rid, uint64_t iova)
{
	uint64_t pa;

	return !unit_dma(rid, iova, false, &pa) && !unit_dma(rid, iova, true, &pa);
}
