/*
 * The stage for tests of the AMD-Vi driver: a machine, and kinds of units.
 */
#pragma once

#include "dev/iommu/amdvi_unit.h"
#include "kern/dma/irqmap.h"
#include "kern/md/irqc.h"
#include "kern/machine/machine.h"
#include "tests/lib/model_amdvi.h"
#include "tests/lib/unit_stage.h"

enum : uint64_t { RAM = 0x4000'0000, AT = 0x1'0000'0000, REGS = 0xfed8'0000 };
enum : uint16_t { IOAPIC = 0xa0 };

/* Interrupt remapping is for amdvi_irq_test.c to switch on. */
static UNUSED bool ioapics_known = false, wide_cpus = false;
bool irqmap_ioapics_known(const struct machine *m) { (void)m; return ioapics_known; }
bool irqc_wide_ids(void) { return wide_cpus; }

struct variant {
	const char *name;
	struct fake_setup memory;
	struct model_amdvi_setup unit;
};

static const struct variant variants[] = {
	{ .name = "snooping" },
	{ .name = "QEMU",
	    .memory = { .not_coherent = true },
	    .unit = { .np_cache = true, .no_events = true } },
	{ .name = "slow, store order of x86",
	    .memory = { .order = FAKE_TSO, .seed = 3 },
	    .unit = { .ack_delay = 5, .lag = 3 } },
	{ .name = "weak order", .memory = { .order = FAKE_WEAK, .seed = 4 }, .unit = { .lag = 2 } },
	{ .name = "does not snoop, slow",
	    .memory = { .not_coherent = true },
	    .unit = { .ack_delay = 2, .lag = 4 } },
	{ .name = "caches absent entries", .unit = { .np_cache = true } },
	{ .name = "caches absent entries, slow, does not snoop",
	    .memory = { .not_coherent = true },
	    .unit = { .np_cache = true, .lag = 2, .ack_delay = 1 } },
	{ .name = "firmware has it on",
	    .unit = { .firmware = true,
		.firmware_engines = true,
		.firmware_hole = true,
		.ack_delay = 2,
		.lag = 1 } },
	{ .name = "its function is hidden", .unit = { .hidden = true } },
	{ .name = "late events, 52 bits",
	    .unit = { .late_events = true, .host_width = 52, .np_cache = true } },
};

static struct machine machines[1];
static struct machine *machine = &machines[0];
static struct model_amdvi *model;

static UNUSED void
describe(const struct variant *v)
{
	memset(machine, 0, sizeof(*machine));
	machine->iommu_count = 1;
	machine->iommu[0] = (struct machine_iommu){
		.kind = IOMMU_AMDVI,
		.base = REGS,
		.len = 0x4000,
		.requester = MODEL_AMDVI_RID,
		.capability = 0x40,
		.host_width = v->unit.host_width != 0 ? v->unit.host_width : 40,
		.ivhd_flags =
		    IVHD_HT_TUN | IVHD_PASS_PW | (v->memory.not_coherent ? 0 : IVHD_COHERENT),
	};
	machine->scope_count = 1;
	machine->scope[0] = (struct machine_scope){
		.kind = SCOPE_IOAPIC, .reserved = UINT32_MAX, .path_len = 1, .path = { IOAPIC }
	};
}

/* Memory, model, description. */
static UNUSED void
set(const struct variant *v)
{
	if (model != NULL)
		model_amdvi_destroy(model);
	fake_kernel_init(&v->memory);
	model = model_amdvi_create(&v->unit);
	describe(v);
	quota = (struct quota){ .pages_max = UINT64_MAX };
}

static UNUSED enum status
probe(const struct variant *v)
{
	set(v);
	return amdvi_driver.probe(machine, 0);
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
	    model_amdvi_violations(model) == 0, "%s: %s", (v)->name, model_amdvi_violation(model))

/* No access, and no interrupt. */
static UNUSED bool
blocked(uint32_t rid, uint64_t iova)
{
	struct model_amdvi_dma r = model_amdvi_dma(model, rid, iova, false),
			       w = model_amdvi_dma(model, rid, iova, true);

	return !r.done && !w.done && r.code == EVENT_IO_PAGE_FAULT &&
	    w.code == EVENT_IO_PAGE_FAULT && (rid == IOAPIC) == model_amdvi_message(model, rid);
}

static UNUSED bool
refused(uint32_t rid, uint64_t iova, bool write)
{
	struct model_amdvi_dma d = model_amdvi_dma(model, rid, iova, write);

	return !d.done && d.code == EVENT_IO_PAGE_FAULT;
}

static UNUSED bool
unit_dma(uint32_t rid, uint64_t iova, bool write, uint64_t *pa)
{
	struct model_amdvi_dma d = model_amdvi_dma(model, rid, iova, write);

	*pa = d.pa;
	return d.done && !d.bypass;
}

static UNUSED void
unit_watch(uint32_t rid, uint64_t iova)
{
	model_amdvi_watch(model, rid, iova);
}

static UNUSED bool unit_reaches(uint64_t page) { return model_amdvi_reaches(model, page); }
static UNUSED void unit_hang(bool hang) { model_amdvi_hang(model, hang); }
