/*
 * A 16550 as both architectures have it: its registers in memory, as SPCR or a device tree tells
 * them, and its start.
 *
 * Manual: PC16550D, 8; ACPI SPCR.
 */
#pragma once

#include "kern/base/mmio.h"
#include "kern/machine/machine.h"
#include "kern/machine/uart_rate.h"

enum : uint8_t {
	UART_IER_RX = 1,
	UART_MCR_READY = 0x0b,
	UART_LSR_READY = 1,		/* a byte came */
	UART_LSR_EMPTY = 0x20,		/* one may be put */
};

static inline uint8_t
uart_mmio_get(const struct machine_console *c, volatile uint8_t *regs, unsigned r)
{
	volatile uint8_t *at = regs + (r << c->reg_shift);

	return c->access_bytes == 4 ? (uint8_t)mmio_read32(at) : mmio_read8(at);
}

static inline void
uart_mmio_put(const struct machine_console *c, volatile uint8_t *regs, unsigned r, uint8_t v)
{
	volatile uint8_t *at = regs + (r << c->reg_shift);

	if (c->access_bytes == 4)
		mmio_write32(at, v);
	else
		mmio_write8(at, v);
}

/* No interrupts, FIFOs on, ready. */
static inline void
uart_start(const struct uart_access *u)
{
	u->put(UART_IER, 0);
	u->put(UART_FCR, UART_FCR_ON);
	u->put(UART_MCR, UART_MCR_READY);
}
