/*
 * IORT: the input is the table behind its header.
 *
 * LINK: dev/iommu/find_iort.c kern/machine/acpi_tables.c kern/machine/machine.c
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

static uint8_t
no_bridge(uint16_t segment, uint16_t rid)
{
	(void)segment;
	(void)rid;
	return 0xff;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;

	memset(&m, 0, sizeof(m));
	machine_add_memory(&m, 0x40000000, 0x80000000, MEM_RAM);
	m.host_count = 2;
	m.host[1].segment = 1;
	m.irqc.its_count = 2;
	m.irqc.its[1].id = 1;
	find_iort(&m, fuzz_acpi_one("IORT", data, size));
	for (uint32_t i = 0; i < m.msi_map_count; i++)
		if (m.msi_map[i].target >= m.irqc.its_count)
			abort();
	for (uint32_t rid = 0; rid < 0x10000; rid += 0x101) {
		struct idmap_path p = { .rid = (uint16_t)rid, .secondary = no_bridge };
		uint32_t unit, id;
		bool reserved;
		const char *why;

		if (machine_find_iommu(&m, &p, &unit, &id, &reserved, &why) ?
			unit >= m.iommu_count || m.iommu[unit].kind == IOMMU_NONE :
			why == NULL)
			abort();
	}
	return 0;
}
