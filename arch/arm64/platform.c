/*
 * What the loader left, as a struct machine: the device tree.
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/frame.h"
#include "kern/machine/fdt.h"
#include "kern/machine/find.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/panic.h"
#include "arch/arm64/sysreg.h"

enum : uint64_t { AFFINITY = BITS(39, 32) | BITS(23, 0), FDT_MAX = 2 * MIB };

static struct machine machine;
extern uint64_t mmu_phys_offset;
extern const char __kernel_start[], __kernel_end[];

NORETURN void platform_start(uint64_t fdt, uint64_t image);
void mmu_boot_map(uint64_t base, uint64_t len);

void
platform_start(uint64_t fdt, uint64_t image)
{
	struct machine *m = &machine;
	const uint8_t *blob = frame_ptr((struct paddr){ fdt });
	uint64_t me = READ_SYS(mpidr_el1) & AFFINITY, len;
	bool found = false;

	mmu_phys_offset = image;
	cpus[0].id = 0;
	cpus[0].hwid = me;
	cpu_count = 1;
	cpu_init(&cpus[0]);
	/* The tree ends in the GiB that it begins in: that is what the boot map holds of it. */
	len = min_u64(FDT_MAX, GIB - (fdt & (GIB - 1)));
	if ((fdt & 7) != 0 || fdt_machine(m, blob, len) != OK)
		panic("no device tree at the address that the loader gave");
	find_smmu_fdt(m, blob, len);
	machine_add_memory(m, image, (uint64_t)(__kernel_end - __kernel_start), MEM_KERNEL);
	machine_add_memory(m, fdt, (uint64_t)blob[4] << 24 | (uint64_t)blob[5] << 16 | (uint64_t)blob[6] << 8 | blob[7],
	    MEM_FIRMWARE_TABLES);
	if (m->archive.len != 0)
		machine_add_memory(m, m->archive.base, m->archive.len, MEM_ARCHIVE);
	for (uint32_t i = 0; i < m->memory_count; i++)
		if (m->memory[i].kind == MEM_RAM && m->memory[i].len != 0)
			mmu_boot_map(m->memory[i].base, m->memory[i].len);
	for (uint32_t i = 0; i < m->cpu_count; i++) {
		m->cpu[i].boot = m->cpu[i].hwid == me;
		found |= m->cpu[i].boot;
	}
	if (!found)
		machine_note(m, "FDT: this CPU is not in /cpus: going on alone");
	kernel_main(m);
}
