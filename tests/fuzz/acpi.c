/*
 * ACPI tables: input as tests/lib/fuzz_acpi.h says.
 *
 * LINK: kern/machine/acpi.c kern/machine/acpi_tables.c kern/machine/machine.c
 * LINK: kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fuzz_acpi.c tests/lib/acpi_build.c
 * FUZZ: -max_len=2048
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzz_acpi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;

	memset(&m, 0, sizeof(m));
	machine_add_memory(&m, 0x40000000, 0x80000000, MEM_RAM);
	if (acpi_machine(&m, fuzz_acpi(data, size)) != OK)
		abort();
	for (uint32_t i = 0; i < m.host_count; i++)
		if (m.host[i].bus_last < m.host[i].bus_first ||
		    machine_in_memory(&m, m.host[i].ecam + m.host[i].bus_first * MIB,
			(m.host[i].bus_last - m.host[i].bus_first + 1) * MIB))
			abort();
	for (uint32_t i = 0; i < m.irqc.gicr_count; i++)
		if (machine_in_memory(&m, m.irqc.gicr[i].base, m.irqc.gicr[i].len))
			abort();
	return 0;
}
