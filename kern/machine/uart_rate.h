/*
 * A 16550's rate, set where somebody told clock and rate.
 *
 * A DesignWare part ignores what is written to its line control while it sends or receives, and the
 * byte that was meant for the divisor would then be sent, or enable interrupts.  So the divisor is
 * written only when line control reads back as it was written, and never when it is right already.
 *
 * The caller waits before, with a bound, until what was sent last is out (uart_sending).
 *
 * Manual: PC16550D, 8; DesignWare DW_apb_uart databook, LCR and USR.
 */
#pragma once

#include "kern/base/types.h"

enum : uint8_t {
	UART_DATA = 0, UART_IER = 1, UART_FCR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5,
	UART_LCR_DLAB = 0x80,		/* the first two are the divisor */
	UART_FCR_ON = 0x01, UART_FCR_CLEAR_RX = 0x02,
	UART_LSR_TEMT = 0x40,		/* nothing waits, nothing is being sent */
	UART_LSR_NONE = 0xff,		/* nobody answers */
};

/* A port's registers, by number. */
struct uart_access { uint8_t (*get)(unsigned reg); void (*put)(unsigned reg, uint8_t v); };

enum uart_rate : uint8_t {
	UART_RATE_IS,		/* it was so already */
	UART_RATE_SET,
	UART_RATE_BUSY,		/* busy, or nobody answers: as it was */
};

/* Does it send, or has it something to send?  Not when nobody answers. */
bool uart_sending(const struct uart_access *u);

/*
 * Sets the divisor, at least 1.  Line control is left with DLAB off; a part that keeps it on, being
 * busy, has its receiver emptied until it lets go, a thousand times at most.
 */
enum uart_rate uart_set_divisor(const struct uart_access *u, uint16_t divisor);
