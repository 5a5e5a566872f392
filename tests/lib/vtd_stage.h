/*
 * The stage for tests of the VT-d driver: a machine, and kinds of units.
 */
#pragma once

#include "dev/iommu/vtd_unit.h"
#include "kern/machine/machine.h"
#include "kern/md/irqc.h"
#include "tests/lib/model_vtd.h"
#include "tests/lib/unit_stage.h"

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

static UNUSED bool
blocked(uint32_t sid, uint64_t iova)
{
	struct model_vtd_dma r = model_vtd_dma(model, sid, iova, false),
			     w = model_vtd_dma(model, sid, iova, true);

	return !r.done && !w.done && (r.reason == REASON_ROOT_P || r.reason == REASON_CONTEXT_P) &&
	    w.reason == r.reason;
}

static UNUSED bool
unit_dma(uint32_t rid, uint64_t iova, bool write, uint64_t *pa)
{
	struct model_vtd_dma d = model_vtd_dma(model, rid, iova, write);

	*pa = d.pa;
	return d.done && !d.bypass;
}

static UNUSED void
unit_watch(uint32_t rid, uint64_t iova)
{
	model_vtd_watch(model, rid, iova);
}

static UNUSED bool unit_reaches(uint64_t page) { return model_vtd_reaches(model, page); }
static UNUSED void unit_hang(bool hang) { model_vtd_hang(model, hang); }
