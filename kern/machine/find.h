/*
 * Finding IOMMUs: implemented by dev/iommu/find_*.c, called by the architecture's platform code.  Pure, like acpi.h.
 * Each adds to machine.iommu[], stream_map[], msi_map[], scope[], reserved[], and notes what it refuses.
 */
#pragma once

#include "kern/machine/machine.h"

struct acpi_source;

void find_dmar(struct machine *m, const struct acpi_source *src);
void find_smmu_fdt(struct machine *m, const void *blob, size_t max_len);
