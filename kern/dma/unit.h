/*
 * The list of IOMMU units, their interrupts, and what happens to a broken one.
 */
#pragma once

#include "kern/dma/iommu.h"

/* Probes every IOMMU of the machine with the drivers that this kernel holds. */
void units_init(const struct machine *m);

/* Moves what the unit has recorded until now to whom it concerns.  For the worker. */
void unit_drain(struct iommu_unit *u);

struct unit_last_fault { struct dma_fault fault; bool valid; };
const struct unit_last_fault *unit_last_fault(const struct iommu_unit *u);
