/*
 * The device-tree reader, what it describes, and the IOMMUs in it.
 *
 * LINK: kern/machine/fdt.c kern/machine/fdt_machine.c kern/machine/fdt_irq.c
 * LINK: kern/machine/machine.c kern/machine/idmap.c
 * LINK: dev/iommu/find_smmu.c kern/base/fmt.c kern/base/str.c
 * FUZZ: -max_len=4096
 */
#include <stdlib.h>
#include <string.h>

#include "kern/machine/fdt.h"
#include "kern/machine/find.h"
#include "kern/machine/idmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t
no_bridge(uint16_t segment, uint16_t rid)
{
	(void)segment;
	return rid & 1 ? 0xff : (uint8_t)(rid >> 3);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	struct fdt t;
	int depth = 0;

	if (fdt_open(&t, data, size) != OK)
		return 0;
	for (uint32_t n = FDT_ROOT; n != FDT_NONE; n = fdt_next(&t, n, &depth)) {
		uint32_t cursor = 0, len;
		const char *name;
		const void *value;
		uint64_t base, length;

		while (fdt_next_prop(&t, n, &cursor, &name, &value, &len)) {
			volatile uint8_t sum = 0;

			for (uint32_t i = 0; i < len; i++)
				sum = (uint8_t)(sum + ((const uint8_t *)value)[i]);
			(void)strlen(name);
		}
		if (depth < 0 || depth >= (int)FDT_DEPTH_MAX ||
		    (fdt_parent(&t, n) == FDT_NONE) != (n == FDT_ROOT))
			abort();
		(void)fdt_reg_cpu(&t, n, 0, &base, &length);
	}
	memset(&m, 0, sizeof(m));
	if (fdt_machine(&m, data, size) != OK)
		abort();
	find_smmu_fdt(&m, data, size);
	for (uint32_t i = 0; i < m.host_count; i++) {
		const struct machine_host *h = &m.host[i];

		if (machine_in_memory(
			&m, h->ecam + h->bus_first * MIB, (h->bus_last - h->bus_first + 1) * MIB))
			abort();
		for (uint32_t w = 0; w < h->window_count; w++)
			if (machine_in_memory(&m, h->window[w].cpu_base, h->window[w].len))
				abort();
	}
	for (uint32_t rid = 0; rid < 0x10000; rid += 0x101) {
		struct idmap_path p = { .rid = (uint16_t)rid, .secondary = no_bridge };
		uint32_t unit, id;
		bool reserved;
		const char *why;

		if (machine_find_iommu(&m, &p, &unit, &id, &reserved, &why) &&
		    (unit >= m.iommu_count || m.iommu[unit].kind == IOMMU_NONE))
			abort();
	}
	(void)machine_finish(&m);
	for (uint32_t i = 1; i < m.memory_count; i++)
		if (m.memory[i].kind == MEM_RAM &&
		    m.memory[i - 1].base + m.memory[i - 1].len > m.memory[i].base)
			abort();
	return 0;
}
