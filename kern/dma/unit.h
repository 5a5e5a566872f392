/*
 * The list of IOMMU units, their interrupts, and what happens to a broken one.
 */
#pragma once

#include "kern/dma/iommu.h"

/* Probes every IOMMU of the machine with the drivers that this kernel holds. */
void units_init(const struct machine *m);

/* Moves what the unit has recorded until now to whom it concerns.  For the worker. */
void unit_drain(struct iommu_unit *u);

/*
 * Has anything been refused so far?  OK: every access that the unit refused before the call is
 * counted (device_fault_count); without "all", every one whose record was in the log.
 * E_WOULD_BLOCK: it is not known yet; when the ticket *t is past, unit_count counts.
 * E_QUARANTINED: it will never be known.
 */
NODISCARD enum status unit_look(struct iommu_unit *u, bool all, struct iommu_ticket *t);

/* Empties the log into the counters.  E_WOULD_BLOCK: a record is not there yet, ask again.
 * E_QUARANTINED. */
NODISCARD enum status unit_count(struct iommu_unit *u);

struct unit_last_fault { struct dma_fault fault; bool valid; };
const struct unit_last_fault *unit_last_fault(const struct iommu_unit *u);
