/*
 * The stage for tests of the virtio-iommu driver: a machine, and kinds of units.
 */
#pragma once

#include "dev/iommu/viommu_unit.h"
#include "kern/md/clock.h"
#include "kern/pci.h"
#include "tests/lib/model_viommu.h"
#include "tests/lib/unit_stage.h"

enum : uint64_t { RAM = 0x4000'0000, AT = 0x1'0000'0000 };

struct variant { const char *name; struct fake_setup memory; struct model_viommu_setup unit; };

static const struct variant variants[] = {
	{ .name = "at once" },
	{ .name = "passes at first", .unit = { .bypass = true } },
	{ .name = "late, in any order",
	    .memory = { .seed = 3 },
	    .unit = { .lag = 3, .bypass = true } },
	{ .name = "store order of x86",
	    .memory = { .order = FAKE_TSO, .seed = 4 },
	    .unit = { .lag = 2 } },
	{ .name = "weak order", .memory = { .order = FAKE_WEAK, .seed = 5 }, .unit = { .lag = 2 } },
	{ .name = "small queue, few domains, 39 bits",
	    .unit = { .queue_size = 8,
		.domain_first = 7,
		.domain_last = 10,
		.input_last = BIT(39) - 1,
		.lag = 1 } },
	{ .name = "no bypass to switch, no probe, no MMIO",
	    .unit = { .features = MODEL_VIOMMU_FEATURES & ~0x70ull } },
};
#define NO_VIOLATION(v) \
	ATF_REQUIRE_MSG(model_viommu_violations(model) == 0, "%s: %s", (v)->name, \
	    model_viommu_violation(model))

static struct machine machine;
static struct model_viommu *model;

static UNUSED void
set(const struct variant *v)
{
	if (model != NULL)
		model_viommu_destroy(model);
	fake_kernel_init(&v->memory);
	model = model_viommu_create(&v->unit);
	model_viommu_function(0x10, 0x110);
	model_viommu_function(0x18, 0x118);
	memset(&machine, 0, sizeof(machine));
	machine.iommu_count = 1;
	machine.iommu[0] =
	    (struct machine_iommu){ .kind = IOMMU_VIRTIO, .requester = MODEL_VIOMMU_RID };
	machine.irqc.its_count = 1;
}

static UNUSED void
start(const struct variant *v)
{
	enum status s;

	set(v);
	s = viommu_driver.probe(&machine, 0);
	ATF_REQUIRE_MSG(s == OK, "%s: %s: %s", v->name, status_text(s), fake_log());
	ATF_REQUIRE_EQ(fake_unit_count, 1);
	unit = fake_units[0];
}

static UNUSED bool
blocked(uint32_t endpoint)
{
	struct model_viommu_dma r = model_viommu_dma(model, endpoint, AT, false),
				w = model_viommu_dma(model, endpoint, AT, true);

	return !r.done && !w.done && r.reason == 1 && w.reason == 1;
}

static UNUSED bool
unit_dma(uint32_t rid, uint64_t iova, bool write, uint64_t *pa)
{
	struct model_viommu_dma d = model_viommu_dma(model, rid, iova, write);

	*pa = d.pa;
	return d.done && !d.bypass;
}

/* Its model caches nothing that could go stale between two looks. */
static UNUSED void unit_watch(uint32_t rid, uint64_t iova) { (void)rid, (void)iova; }

static UNUSED bool unit_reaches(uint64_t page) { return model_viommu_reaches(model, page); }
static UNUSED void unit_hang(bool hang) { model_viommu_hang(model, hang); }
