/*
 * The stage for tests of the SMMUv3 driver: a machine, and kinds of units.
 */
#pragma once

#include "dev/iommu/smmuv3.h"
#include "dev/iommu/smmuv3_unit.h"
#include "kern/machine/machine.h"
#include "tests/lib/model_smmu.h"
#include "tests/lib/unit_stage.h"

enum : uint64_t {
	RAM = 0x4000'0000,
	AT = 0x1'0000'0000,
	SMMU = 0x0905'0000,
	RESERVED = 0x3800'0000
};
enum : uint32_t { LINE_EVENT = 106, LINE_GERROR = 109 };
enum : uint32_t {
	IDR0_V10 = 0x0d44101b,
	IDR0_V7 = 0x0d40101a,
	IDR1_QEMU = 0x02730010,
	/* As MMU-600 may read: HYP, ATS, MSI, PRI, 2-level descriptors, stalls possible; no range
	   invalidation. */
	IDR0_600 = 0x080d3e1f,
	IDR1_600 = 0x0e739d18,
	BIT_HYP = 1u << 9,
	BIT_ATS = 1u << 10,
	BIT_MSI = 1u << 13,
};

struct variant {
	const char *name;
	struct fake_setup memory;
	struct model_smmu_setup unit;
	const char *cmdline;
	bool override_incoherent;
	uint8_t stage;			/* expected */
};

static const struct variant variants[] = {
	{ .name = "QEMU 10, stage 1", .stage = 1 },
	{ .name = "QEMU 10, stage 2", .cmdline = "quiet smmu.stage=2 x", .stage = 2 },
	{ .name = "QEMU 7.2",
	    .unit = { .idr0 = IDR0_V7, .idr3 = 0x1404, .no_gbpa = true },
	    .stage = 1 },
	{ .name = "MMU-600, slow",
	    .unit = { .idr0 = IDR0_600,
		.idr1 = IDR1_600,
		.idr5 = 0x75,
		.ack_delay = 7,
		.lag = 3,
		.firmware = true },
	    .stage = 1 },
	{ .name = "MMU-600, slow, stage 2",
	    .unit = { .idr0 = IDR0_600,
		.idr1 = IDR1_600,
		.idr5 = 0x75,
		.ack_delay = 3,
		.lag = 2,
		.firmware = true },
	    .cmdline = "smmu.stage=2",
	    .stage = 2 },
	{ .name = "stage 2 only, small",
	    .unit = { .idr0 = IDR0_V10 & ~(2u | BIT(12) | BIT(18)),
		.idr1 = IDR1_QEMU,
		.idr3 = 0x1404,
		.idr5 = 0x12 },
	    .stage = 2 },
	{ .name = "does not snoop",
	    .memory = { .not_coherent = true },
	    .unit = { .idr0 = IDR0_V10 & ~(uint32_t)IDR0_COHACC, .lag = 1 },
	    .stage = 1 },
	{ .name = "does not snoop, says the machine",
	    .memory = { .not_coherent = true },
	    .override_incoherent = true,
	    .cmdline = "smmu.stage=2",
	    .stage = 2 },
	{ .name = "weak order",
	    .memory = { .order = FAKE_WEAK, .seed = 5 },
	    .unit = { .lag = 2 },
	    .stage = 1 },
	{ .name = "weak order, stage 2",
	    .memory = { .order = FAKE_WEAK, .seed = 6 },
	    .unit = { .lag = 1, .ack_delay = 1 },
	    .cmdline = "smmu.stage=2",
	    .stage = 2 },
	{ .name = "linear table of 8 bits",
	    .unit = { .idr0 = IDR0_V10, .idr1 = (IDR1_QEMU & ~63u) | 8, .idr3 = 0x1414 },
	    .stage = 1 },
	{ .name = "no 2-level table",
	    .unit = { .idr0 = IDR0_V10 & ~(uint32_t)BITS(28, 27), .idr3 = 0x1414 },
	    .stage = 1 },
	{ .name = "tiny queues",
	    .unit = { .idr0 = IDR0_V10, .idr1 = 3u << 21 | 1u << 16 | 16, .idr3 = 0x10, .lag = 2 },
	    .stage = 1 },
	{ .name = "CN99xx",
	    .unit = { .page0 = true, .idr0 = IDR0_V10, .idr3 = 0x1414 },
	    .stage = 1 },
};

static struct machine machine;
static struct model_smmu *model;

static UNUSED void
describe(const struct variant *v)
{
	memset(&machine, 0, sizeof(machine));
	machine.iommu_count = 1;
	machine.iommu[0] = (struct machine_iommu){
		.kind = IOMMU_SMMUV3,
		.base = SMMU,
		.len = v->unit.page0 ? 0x10000 : 0x20000,
		.model = v->unit.page0 ? 2 : 0,
		.coherent_known = v->override_incoherent,
		.eventq = { .id = LINE_EVENT, .present = true },
		.gerror = { .id = LINE_GERROR, .present = true },
	};
	machine.stream_map[machine.stream_map_count++] =
	    (struct machine_idmap){ .count = 0x10000, .rid_mask = 0xffff };
	machine_add_memory(&machine, RAM, 512 * MIB, MEM_RAM);
	machine.irqc.its_count = 1;
	if (v->cmdline != NULL)
		snprintf(machine.cmdline, sizeof(machine.cmdline), "%s", v->cmdline);
}

static UNUSED void
create(const struct variant *v)
{
	struct model_smmu_setup setup = v->unit;

	if (model != NULL)
		model_smmu_destroy(model);
	fake_kernel_init(&v->memory);
	setup.line_eventq = LINE_EVENT;
	setup.line_gerror = LINE_GERROR;
	model = model_smmu_create(&setup);
}

static UNUSED enum status
probe(void)
{
	enum status s;

	quota = (struct quota){ .pages_max = 1u << 20 };
	unit = NULL;
	s = smmuv3_driver.probe(&machine, 0);
	if (s == OK)
		unit = fake_units[0];
	return s;
}

static UNUSED enum status
power_on(const struct variant *v)
{
	create(v);
	return probe();
}

static UNUSED void
start(const struct variant *v)
{
	describe(v);
	ATF_REQUIRE_EQ_MSG(power_on(v), OK, "%s: %s", v->name, fake_log());
}

#define NO_VIOLATION(v) \
	ATF_REQUIRE_MSG(model_smmu_violations(model) == 0, "%s: %u violations, first: %s", \
	    (v)->name, model_smmu_violations(model), model_smmu_violation(model))

static UNUSED bool
blocked(uint32_t sid, uint64_t iova)
{
	return !model_smmu_dma(model, sid, iova, false).done &&
	    !model_smmu_dma(model, sid, iova, true).done;
}

static UNUSED bool
unit_dma(uint32_t rid, uint64_t iova, bool write, uint64_t *pa)
{
	struct model_dma d = model_smmu_dma(model, rid, iova, write);

	*pa = d.pa;
	return d.done && !d.bypass;
}

static UNUSED void
unit_watch(uint32_t rid, uint64_t iova)
{
	model_smmu_watch(model, rid, iova);
}

static UNUSED bool unit_reaches(uint64_t page) { return model_smmu_reaches(model, page); }
static UNUSED void unit_hang(bool hang) { model_smmu_hang(model, hang); }

static UNUSED void
wait_past(struct iommu_ticket t)
{
	ATF_REQUIRE_EQ_MSG(wait_for(t), OK, "a ticket is never past");
}

static UNUSED bool
hits(uint32_t sid, uint64_t iova, bool write, uint64_t pa)
{
	return reaches(sid, iova, pa, write);
}
