/*
 * What the loader left, as a struct machine: PVH start_info (memory map, command line, archive,
 * RSDP) or our own loader's record, then ACPI.
 *
 * Everything here is read through the boot map, which ends at 4 GiB; tables above that are refused.
 * Source: Xen public headers hvm/start_info (layout), ACPI.
 */
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/frame.h"
#include "kern/machine/acpi.h"
#include "kern/machine/find.h"
#include "kern/machine/handover.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/console.h"
#include "kern/md/cpu.h"
#include "kern/record.h"
#include "arch/x86_64/chipset.h"
#include "arch/x86_64/x86.h"

enum : uint32_t { START_MAGIC = 0x336ec578 };

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memmap;
	uint32_t memmap_entries, unused;
};
struct start_module { uint64_t base, size, cmdline, unused; };
struct start_memory { uint64_t base, size; uint32_t type, unused; };

static struct machine machine;
extern const char __load_start[], __load_end[];
extern uint64_t mmu_phys_offset;

NORETURN void platform_start(uint64_t start, uint64_t image);

static const void *
boot_ptr(void *ctx UNUSED, uint64_t at, uint64_t len)
{
	return range_within(at, len, 0, mmu_boot_limit) ? frame_ptr((struct paddr){ at }) : NULL;
}

static void
from_pvh(struct machine *m, struct acpi_source *source, const struct start_info *si)
{
	const struct start_memory *map =
	    boot_ptr(NULL, si->memmap, (uint64_t)si->memmap_entries * sizeof(*map));

	if (map == NULL || si->version < 1)
		boot_failed("the loader gave no memory map");
	for (uint32_t i = 0; i < si->memmap_entries; i++)
		machine_add_memory(m, map[i].base, map[i].size,
		    map[i].type == 1     ? MEM_RAM :
			map[i].type == 3 ? MEM_ACPI_RECLAIM :
			map[i].type == 4 ? MEM_ACPI_NVS :
					   MEM_RESERVED);
	machine_add_memory(m, (uint64_t)(uintptr_t)__load_start,
	    (uint64_t)(uintptr_t)__load_end - (uint64_t)(uintptr_t)__load_start, MEM_KERNEL);
	if (si->cmdline != 0 && boot_ptr(NULL, si->cmdline, 1) != NULL)
		str_copy(m->cmdline, frame_ptr((struct paddr){ si->cmdline }), sizeof(m->cmdline));
	if (si->modules != 0) {
		const struct start_module *mod = boot_ptr(NULL, si->module_list, sizeof(*mod));

		if (mod != NULL)
			machine_set_archive(m, mod->base, mod->size);
		if (m->archive.len != 0)
			machine_add_memory(m, m->archive.base, m->archive.len, MEM_ARCHIVE);
	}
	source->rsdp = si->rsdp;
}

/*
 * Buses below those of MCFG's entries, or all without one, when firmware's tables can be read at
 * all: clouds' PCs have none, or one that begins at another bus.
 */
static void
add_ports(struct machine *m)
{
	uint32_t end = 256;

	for (uint32_t i = 0; i < m->host_count; i++)
		if (m->host[i].segment == 0)
			end = (uint32_t)min_u64(end, m->host[i].bus_first);
	if (end == 0 || m->host_count == MACHINE_HOST_MAX || !pci_ports_answer())
		return;
	m->host[m->host_count++] = (struct machine_host){
		.bus_last = (uint8_t)(end - 1),
		.dma_coherent = true,
		.preserve = true,
		.access = ECAM_PORTS,
	};
	machine_note(m, "PCI: buses 0 to %u by ports: extended configuration space is out of reach",
	    end - 1);
}

/* Tables that name no PM1 control, on a chipset that says where it is. */
static void
add_chipset(struct machine *m)
{
	struct machine_power *p = &m->power;

	if (p->hardware_reduced || p->pm1a_control != 0 || !p->s5_known || !pci_ports_answer())
		return;
	p->pm1a_control = chipset_pm1a_control(&cpu_chipset);
	p->pm1a_by_chipset = p->pm1a_control != 0;
	if (p->pm1a_by_chipset)
		machine_note(m, "ACPI: FADT: power-off by port 0x%x, which the chipset itself names",
		    p->pm1a_control);
}

void
platform_start(uint64_t start, uint64_t image)
{
	struct acpi_source source = { .map = boot_ptr };
	struct machine *m = &machine;
	const void *left = boot_ptr(NULL, start, sizeof(struct handover));
	bool here = false;

	mmu_phys_offset = image - (uint64_t)(uintptr_t)__load_start;
	cpus[0].id = 0;
	cpu_count = 1;
	cpu_init(&cpus[0]);
	console_early();
	if (left == NULL)
		boot_failed("the loader left nothing below 4 GiB");
	if (handover_is(left)) {
		const struct handover *h = left;

		if (handover_machine(m, h, start) != OK)
			boot_failed("the loader's record is of another version");
		source.rsdp = h->rsdp;
	} else if (((const struct start_info *)left)->magic == START_MAGIC) {
		from_pvh(m, &source, left);
	} else {
		boot_failed("not started by a PVH loader or our own");
	}
	/* Firmware's data, start_info, and the page that further CPUs start in. */
	machine_add_memory(m, 0, MIB, MEM_FIRMWARE_TABLES);
	if (acpi_machine(m, &source) != OK)
		machine_note(m, "ACPI: no usable tables; going on with what a PC usually has");
	else
		add_ports(m);
	add_chipset(m);
	find_dmar(m, &source);
	find_ivrs(m, &source);
	find_viot(m, &source);
	acpi_note_tables(m, &source);
	record_keep(m, &source);
	cpus[0].hwid = cpuid(1, 0).b >> 24;
	for (uint32_t i = 0; i < m->cpu_count; i++) {
		m->cpu[i].boot = m->cpu[i].hwid == cpus[0].hwid;
		here |= m->cpu[i].boot;
	}
	if (!here) {		/* no MADT: at least this one */
		m->cpu_count = 1;
		m->cpu[0] =
		    (struct machine_cpu){ .hwid = cpus[0].hwid, .enabled = true, .boot = true };
	}
	kernel_main(m);
}
