/*
 * VIOT: the input is the table behind its header.
 *
 * LINK: dev/iommu/find_viot.c kern/machine/acpi_tables.c kern/machine/machine.c
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
	find_viot(&m, fuzz_acpi_one("VIOT", data, size));
	for (uint32_t rid = 0; rid < 0x10000; rid += 0x3b) {
		struct idmap_path p = { .rid = (uint16_t)rid };
		uint32_t unit, id;
		bool reserved;
		const char *why;

		if (machine_find_iommu(&m, &p, &unit, &id, &reserved, &why) ?
			unit >= m.iommu_count || m.iommu[unit].kind != IOMMU_VIRTIO ||
			    (m.iommu[unit].segment == 0 && rid == m.iommu[unit].requester) :
			why == NULL)
			abort();
	}
	return 0;
}
