/*
 * IVRS: the input is the table behind its header.
 *
 * LINK: dev/iommu/find_ivrs.c kern/machine/acpi_tables.c kern/machine/machine.c
 * LINK: kern/machine/idmap.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/fuzz_acpi.c tests/lib/acpi_build.c
 * FUZZ: -max_len=1024
 */
#include <stdlib.h>
#include <string.h>

#include "kern/machine/find.h"
#include "kern/machine/idmap.h"
#include "tests/lib/fuzz_acpi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;

	memset(&m, 0, sizeof(m));
	machine_add_memory(&m, 0x40000000, 0x80000000, MEM_RAM);
	find_ivrs(&m, fuzz_acpi_one("IVRS", data, size));
	for (uint32_t i = 0; i < m.iommu_count; i++)
		if (m.iommu[i].kind != IOMMU_NONE &&
		    machine_in_memory(&m, m.iommu[i].base, m.iommu[i].len))
			abort();
	for (uint32_t i = 0; i < m.reserved_count; i++)
		if (!m.reserved[i].absurd &&
		    machine_in_memory(&m, m.reserved[i].base, m.reserved[i].len))
			abort();
	for (uint32_t rid = 0; rid < 0x10000; rid += 0x3b) {
		struct idmap_path p = { .rid = (uint16_t)rid };
		uint32_t unit, id;
		bool reserved;
		const char *why;

		if (machine_find_iommu(&m, &p, &unit, &id, &reserved, &why) ?
			unit >= m.iommu_count || m.iommu[unit].kind != IOMMU_AMDVI ||
			    id > UINT16_MAX :
			why == NULL)
			abort();
	}
	return 0;
}
