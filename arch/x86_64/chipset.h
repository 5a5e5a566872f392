/*
 * Chipsets that tell themselves where their power management is.
 *
 * Tables name the ports of power management by what firmware had set in the chipset when they were
 * made.  Firmware that sets it later, or sets the address and not the switch that has it decoded,
 * leaves tables that name none that could be.  The chipset still knows.  Pure: reads and writes
 * configuration space through the caller's functions.
 *
 * Manual: Intel ICH9 data sheet, LPC bridge (D31:F0): PMBASE, ACPI_CNTL; power management: PM1_CNT.
 */
#pragma once

#include "kern/base/types.h"

struct pci_function;

struct chipset_config {
	uint32_t (*read)(uint16_t rid, uint32_t offset, unsigned width);
	void (*write)(uint16_t rid, uint32_t offset, unsigned width, uint32_t value);
};

/*
 * The port of PM1a's control register; 0: no chipset that is known, or firmware gave it no address.
 * Changes nothing.
 */
uint32_t chipset_pm1a_control(const struct chipset_config *c);

/*
 * Has that port decoded, if it is not yet.  False, and nothing is changed, when the port is another
 * one now or a BAR of the functions lies on the block's ports; false also when the switch does not
 * stay on.
 */
bool chipset_decode(const struct chipset_config *c, uint32_t pm1a_control,
    const struct pci_function *functions, uint32_t count);
