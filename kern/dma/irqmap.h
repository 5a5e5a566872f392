/*
 * Interrupt remapping: what a unit supplies so that a message interrupt is checked against who sent
 * it (D9).
 *
 * Without it a message is a store whose address and data say processor and vector, and any device
 * can send any.  With it the message carries an index; the unit finds an entry there that names one
 * requester, and processor and vector are the entry's.  A message from anybody else, one with an
 * index that is nobody's, and one in the old format, do not arrive, and are faults of their sender.
 *
 * Entries are made by the kernel only, one for each vector.  An entry that was closed may still be
 * in the unit's cache until its ticket is past: until then neither the vector nor the entry is used
 * again.
 *
 * Locks: open and close take the unit's own (RANK_UNIT).
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"
#include "kern/dma/iommu.h"

struct machine;

/* What a device, or the entry of an I/O APIC, must be programmed with. */
struct irqmap_message {
	uint64_t address;
	uint32_t data;
	uint32_t line; /* an I/O APIC entry's low bits in place of data (level interrupts end by
			  vector) */
};

struct irqmap_ops {
	/*
	 * Lets messages of the requester (the unit's endpoint id) arrive as a vector of a
	 * processor, and says how they must look.  In force on return.  E_NO_MEMORY: no entry free,
	 * or all waiting for their tickets; E_RANGE: the unit cannot name the processor;
	 * E_QUARANTINED: the unit is broken.
	 */
	enum status (*open)(struct iommu_unit *u, uint32_t requester, uint32_t processor,
	    uint8_t vector, uint32_t *entry, struct irqmap_message *out);
	/* None arrives any more when the ticket is past. */
	struct iommu_ticket (*close)(struct iommu_unit *u, uint32_t requester, uint32_t entry);
};

/* The unit that checks a function's messages, and what it knows it as.  NULL: nobody checks. */
struct iommu_unit *irqmap_of_function(uint16_t segment, uint16_t rid, uint32_t *requester);
/* The same for an I/O APIC, by its id in firmware's table. */
struct iommu_unit *irqmap_of_ioapic(const struct machine *m, uint32_t id, uint32_t *requester);

/* Does firmware's table tell for every I/O APIC what its messages look like to units of this kind?
 * (VTD-74, AMD-09) */
bool irqmap_ioapics_known(const struct machine *m);
