/*
 * The stage for tests of the VT-d driver: a machine, kinds of units, and short names for the ops.
 */
#pragma once

#include <atf-c.h>
#include <stdio.h>
#include <string.h>

#include "dev/iommu/vtd_unit.h"
#include "kern/base/bits.h"
#include "kern/machine/machine.h"
#include "kern/md/irqc.h"
#include "kern/quota.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/model_vtd.h"

enum : uint64_t { RAM = 0x4000'0000, AT = 0x1'0000'0000, REGS = 0xfed9'0000 };

/* QEMU's capabilities without some, and then with others. */
#define CAP_WITH(on, off)	((MODEL_VTD_CAP & ~(uint64_t)(off)) | (on))

struct variant {
	const char *name;
	struct fake_setup memory;
	struct model_vtd_setup unit;
};

static const struct variant variants[] = {
	{ .name = "snooping", .unit = { .ecap = MODEL_VTD_ECAP | ECAP_C } },
	{ .name = "QEMU: says it does not snoop", .memory = { .not_coherent = true } },
	{ .name = "three levels",
	    .unit = { .cap = CAP_WITH(FIELD_PREP(CAP_SAGAW, 2) | FIELD_PREP(CAP_MGAW, 38),
			  CAP_SAGAW | CAP_MGAW),
		.ecap = MODEL_VTD_ECAP | ECAP_C,
		.host_width = 39 } },
	{ .name = "five levels only, no page invalidation",
	    .unit = { .cap = CAP_WITH(FIELD_PREP(CAP_SAGAW, 8) | FIELD_PREP(CAP_MGAW, 56),
			  CAP_SAGAW | CAP_MGAW | CAP_PSI),
		.ecap = MODEL_VTD_ECAP | ECAP_C,
		.host_width = 52 } },
	{ .name = "slow, store order of x86",
	    .memory = { .order = FAKE_TSO, .seed = 3 },
	    .unit = { .ecap = MODEL_VTD_ECAP | ECAP_C, .ack_delay = 5, .lag = 3 } },
	{ .name = "weak order",
	    .memory = { .order = FAKE_WEAK, .seed = 4 },
	    .unit = { .ecap = MODEL_VTD_ECAP | ECAP_C, .lag = 2 } },
	{ .name = "does not snoop, slow",
	    .memory = { .not_coherent = true },
	    .unit = { .ack_delay = 2, .lag = 4 } },
	{ .name = "caching mode",
	    .unit = { .cap = MODEL_VTD_CAP | CAP_CM, .ecap = MODEL_VTD_ECAP | ECAP_C } },
	{ .name = "caching mode, slow, does not snoop",
	    .memory = { .not_coherent = true },
	    .unit = { .cap = MODEL_VTD_CAP | CAP_CM, .lag = 2, .ack_delay = 1 } },
	{ .name = "write buffer",
	    .unit = { .cap = MODEL_VTD_CAP | CAP_RWBF,
		.ecap = MODEL_VTD_ECAP | ECAP_C,
		.ack_delay = 3 } },
	{ .name = "firmware translates",
	    .unit = { .firmware = true,
		.ecap = MODEL_VTD_ECAP | ECAP_C | ECAP_PT,
		.ack_delay = 2,
		.firmware_queue = true,
		.firmware_remapping = true,
		.lag = 1 } },
	{ .name =
		"server: eight records, protected regions, snoop control, small mask, 4K pages only",
	    .unit = { .cap = CAP_WITH(CAP_PLMR | CAP_PHMR | FIELD_PREP(CAP_NFR, 7) |
			      FIELD_PREP(CAP_MAMV, 6) | FIELD_PREP(CAP_MGAW, 45),
			  CAP_SLLPS_2M | CAP_SLLPS_1G | CAP_MAMV | CAP_NFR | CAP_MGAW),
		.ecap = MODEL_VTD_ECAP | ECAP_C | ECAP_SC,
		.protected_regions = true,
		.lag = 1 } },
	{ .name = "sixteen ids, no drains, registers on two pages",
	    .unit = { .cap = CAP_WITH(
			  FIELD_PREP(CAP_FRO, 0x100), CAP_FRO | CAP_ND | CAP_DWD | CAP_DRD),
		.ecap = MODEL_VTD_ECAP | ECAP_C } },
};

static struct machine machines[2];		/* the driver looks at a machine once */
static struct machine *machine = &machines[0];
static struct model_vtd *model;
static struct iommu_unit *unit;
static struct quota quota;

static UNUSED void
describe(const struct variant *v)
{
	machine = machine == &machines[0] ? &machines[1] : &machines[0];
	memset(machine, 0, sizeof(*machine));
	machine->iommu_count = 1;
	machine->iommu[0] = (struct machine_iommu){
		.kind = IOMMU_VTD, .base = REGS, .len = PAGE_SIZE,
		.host_width = v->unit.host_width != 0 ? v->unit.host_width : 48,
	};
}

static UNUSED enum status
probe(const struct variant *v)
{
	if (model != NULL)
		model_vtd_destroy(model);
	fake_kernel_init(&v->memory);
	model = model_vtd_create(&v->unit);
	describe(v);
	quota = (struct quota){ .pages_max = UINT64_MAX };
	return vtd_driver.probe(machine, 0);
}

static UNUSED void
start(const struct variant *v)
{
	enum status s = probe(v);

	ATF_REQUIRE_MSG(s == OK, "%s: %s: %s", v->name, status_text(s), fake_log());
	ATF_REQUIRE_EQ(fake_unit_count, 1);
	unit = fake_units[0];
}

#define NO_VIOLATION(v) \
	ATF_REQUIRE_MSG( \
	    model_vtd_violations(model) == 0, "%s: %s", (v)->name, model_vtd_violation(model))
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

/* Until the ticket is past, or a second went by. */
static UNUSED enum status
wait_for(struct iommu_ticket t)
{
	enum status s = E_WOULD_BLOCK;

	for (unsigned i = 0; i < 100000 && s == E_WOULD_BLOCK; i++)
		s = unit->ops->ticket_poll(unit, t);
	return s;
}

static UNUSED void
map(struct iommu_domain *d, uint64_t at, uint64_t to, uint64_t len, enum iommu_rights rights)
{
	enum status s = unit->ops->map(d, (struct iova){ at }, (struct paddr){ to }, len, rights);

	ATF_REQUIRE_MSG(s == OK, "map: %s", status_text(s));
	ATF_REQUIRE_EQ(wait_for(unit->ops->sync(d)), OK);
}

static UNUSED struct iommu_ticket
unmap(struct iommu_domain *d, uint64_t at, uint64_t len)
{
	return unit->ops->unmap(d, (struct iova){ at }, len);
}

static UNUSED bool
blocked(uint32_t sid, uint64_t iova)
{
	struct model_vtd_dma r = model_vtd_dma(model, sid, iova, false),
			     w = model_vtd_dma(model, sid, iova, true);

	return !r.done && !w.done && (r.reason == REASON_ROOT_P || r.reason == REASON_CONTEXT_P) &&
	    w.reason == r.reason;
}

static UNUSED bool
reaches(uint32_t sid, uint64_t iova, uint64_t pa, bool write)
{
	struct model_vtd_dma d = model_vtd_dma(model, sid, iova, write);

	return d.done && !d.bypass && d.pa == pa;
}
