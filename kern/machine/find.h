/*
 * Finding IOMMUs: implemented by dev/iommu/find_*.c, called by the architecture's platform code
 * after the front end (acpi_machine, fdt_machine) has filled interrupt controllers and host
 * bridges, and memory is listed.  Pure, like acpi.h.
 *
 * Each adds to machine.iommu[], stream_map[], msi_map[], scope[], reserved[], and notes what it
 * refuses.  What is refused stays visible as something that leads nowhere (MACHINE_IOMMU_LOST, kind
 * IOMMU_NONE), so that a device never looks better protected than it is.
 */
#pragma once

#include "kern/machine/machine.h"

struct acpi_source;

void find_dmar(struct machine *m, const struct acpi_source *src);
void find_ivrs(struct machine *m, const struct acpi_source *src);
void find_viot(struct machine *m, const struct acpi_source *src);
void find_iort(struct machine *m, const struct acpi_source *src);
void find_smmu_fdt(struct machine *m, const void *blob, size_t max_len);
