/*
 * A 16550's rate: uart_rate.h.
 */
#include "kern/machine/uart_rate.h"

enum { TRIES = 1000 };

bool
uart_sending(const struct uart_access *u)
{
	return (u->get(UART_LSR) & UART_LSR_TEMT) == 0;		/* UART_LSR_NONE has it */
}

enum uart_rate
uart_set_divisor(const struct uart_access *u, uint16_t divisor)
{
	uint8_t lcr = u->get(UART_LCR) & (uint8_t)~UART_LCR_DLAB;
	enum uart_rate done = UART_RATE_IS;

	if (u->get(UART_LSR) == UART_LSR_NONE || uart_sending(u))
		return UART_RATE_BUSY;
	u->put(UART_LCR, lcr | UART_LCR_DLAB);
	if (u->get(UART_LCR) != (lcr | UART_LCR_DLAB))
		return UART_RATE_BUSY;
	if ((u->get(UART_DATA) | u->get(UART_IER) << 8) != divisor) {
		u->put(UART_DATA, (uint8_t)divisor);
		u->put(UART_IER, (uint8_t)(divisor >> 8));
		done = UART_RATE_SET;
	}
	u->put(UART_LCR, lcr);
	for (unsigned n = 0; n < TRIES && u->get(UART_LCR) != lcr; n++) {
		u->put(UART_FCR, UART_FCR_ON | UART_FCR_CLEAR_RX);
		u->put(UART_LCR, lcr);
	}
	return done;
}
