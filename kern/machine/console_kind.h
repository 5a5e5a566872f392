/*
 * Kinds of serial console, and what ACPI calls them.  The loader asks, too: it says so when the
 * kernel will know none.
 *
 * Source: Microsoft, Debug Port Table 2, table 3, which SPCR refers to.
 */
#pragma once

#include "kern/base/types.h"

enum machine_console_kind : uint8_t {
	CONSOLE_NONE,
	CONSOLE_PL011,
	CONSOLE_SBSA,
	CONSOLE_16550_IO,
	CONSOLE_16550_MMIO
};

/*
 * What a serial port's interface type [DBG2, table 3], with its registers in an address space (0
 * memory, 1 I/O ports), is to us; CONSOLE_NONE: not known.
 */
static inline enum machine_console_kind
acpi_serial_kind(uint32_t type, uint8_t space)
{
	switch (type) {
	case 0: case 1: case 0x12:
		return space == 0  ? CONSOLE_16550_MMIO :
		    space == 1 ? CONSOLE_16550_IO :
				 CONSOLE_NONE;
	case 3:
		return space == 0 ? CONSOLE_PL011 : CONSOLE_NONE;
	case 0xd: case 0xe:
		return space == 0 ? CONSOLE_SBSA : CONSOLE_NONE;
	default:
		return CONSOLE_NONE;
	}
}
