/*
 * What the loader left, as a struct machine: a device tree, or our own loader's record with ACPI
 * tables or a device tree.  Where there are both, ACPI wins: clouds offer a tree that is not the
 * machine's.
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/frame.h"
#include "kern/machine/fdt.h"
#include "kern/machine/find.h"
#include "kern/machine/acpi.h"
#include "kern/machine/handover.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/cpu.h"
#include "kern/random.h"
#include "kern/record.h"
#include "arch/arm64/pac.h"
#include "arch/arm64/sysreg.h"

enum : uint64_t { AFFINITY = BITS(39, 32) | BITS(23, 0), FDT_MAX = 2 * MIB };

static struct machine machine;
extern uint64_t mmu_phys_offset;
extern const char __kernel_start[], __kernel_end[];

NORETURN void platform_start(uint64_t fdt, uint64_t image);
void mmu_boot_map(uint64_t base, uint64_t len);

/* What firmware reserves may be anything, registers too: it is not in the boot map. */
static bool
is_memory(const struct machine_memory *r)
{
	return r->len != 0 && r->kind != MEM_RESERVED;
}

static const void *
boot_ptr(void *ctx UNUSED, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < machine.memory_count; i++)
		if (is_memory(&machine.memory[i]) &&
		    range_within(at, len, machine.memory[i].base, machine.memory[i].len))
			return frame_ptr((struct paddr){ at });
	return NULL;
}

static void
map_memory(const struct machine *m)
{
	for (uint32_t i = 0; i < m->memory_count; i++)
		if (is_memory(&m->memory[i]))
			mmu_boot_map(m->memory[i].base, m->memory[i].len);
}

static void
from_fdt(struct machine *m, uint64_t fdt, uint64_t max_len)
{
	const uint8_t *blob = frame_ptr((struct paddr){ fdt });

	if ((fdt & 7) != 0 || fdt_machine(m, blob, max_len) != OK)
		boot_failed("no usable device tree: %s",
		    m->note_count != 0 ? m->note[m->note_count - 1] : "misaligned");
	find_smmu_fdt(m, blob, max_len);
	machine_add_memory(m, fdt,
	    (uint64_t)blob[4] << 24 | (uint64_t)blob[5] << 16 | (uint64_t)blob[6] << 8 | blob[7],
	    MEM_FIRMWARE_TABLES);
}

void
platform_start(uint64_t start, uint64_t image)
{
	const void *left = frame_ptr((struct paddr){ start });
	uint64_t me = READ_SYS(mpidr_el1) & AFFINITY;
	struct machine *m = &machine;
	bool found = false;

	mmu_phys_offset = image;
	cpus[0].id = 0;
	cpus[0].hwid = me;
	cpu_count = 1;
	cpu_init(&cpus[0]);
	if ((start & 7) == 0 && handover_is(left)) {
		const struct handover *h = left;
		struct acpi_source source = { .map = boot_ptr, .rsdp = h->rsdp };

		if (handover_machine(m, h, start) != OK)
			boot_failed("the loader's record is of another version");
		map_memory(m);
		if (h->rsdp != 0 && acpi_machine(m, &source) == OK) {
			find_iort(m, &source);
			find_viot(m, &source);
			acpi_note_tables(m, &source);
			record_keep(m, &source);
		} else if (h->fdt.len != 0)
			from_fdt(m, h->fdt.base, h->fdt.len);
		else
			boot_failed("neither ACPI tables nor a device tree that can be read");
	} else {
		/* The tree ends in the GiB that it begins in: that is what the boot map holds of
		 * it. */
		from_fdt(m, start, min_u64(FDT_MAX, GIB - (start & (GIB - 1))));
		machine_add_memory(m, image, (uint64_t)(__kernel_end - __kernel_start), MEM_KERNEL);
		if (m->archive.len != 0)
			machine_add_memory(m, m->archive.base, m->archive.len, MEM_ARCHIVE);
	}
	map_memory(m);
	for (uint32_t i = 0; i < m->cpu_count; i++) {
		m->cpu[i].boot = m->cpu[i].hwid == me;
		found |= m->cpu[i].boot;
	}
	if (!found)
		machine_note(m, "firmware: this CPU is not in its list: going on alone");
	random_init(m);		/* for the keys of return addresses */
	pac_init();
	pac_start();
	kernel_main(m);
}
