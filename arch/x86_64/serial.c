/*
 * 16550 serial port, by I/O port or memory.  The rate is set where SPCR tells it and the clock, and
 * it differs from what firmware set.
 * Manual: PC16550D; ACPI SPCR.
 */
#include "kern/md/console.h"
#include "kern/base/fmt.h"
#include "kern/base/mmio.h"
#include "kern/console.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/machine/uart_mmio.h"
#include "kern/md/mmu.h"
#include "arch/x86_64/x86.h"

static struct machine_console port = { .kind = CONSOLE_16550_IO, .base = 0x3f8,
    .line = { .id = 4, .present = true } };
static volatile uint8_t *regs;
static char name[48] = "16550 at port 0x3f8";

static uint8_t
get(unsigned r)
{
	if (port.kind == CONSOLE_16550_IO)
		return inb((uint16_t)(port.base + r));
	return regs != NULL ? uart_mmio_get(&port, regs, r) : UART_LSR_NONE;
}

static void
put(unsigned r, uint8_t v)
{
	if (port.kind == CONSOLE_16550_IO)
		outb((uint16_t)(port.base + r), v);
	else if (regs != NULL)
		uart_mmio_put(&port, regs, r, v);
}

static const struct uart_access access = { get, put };

/* The clock is not set up yet: a read takes about a microsecond, and the bytes of a FIFO 20 ms. */
enum { READS_WHILE_IT_SENDS = 100'000 };

static void
set_rate(void)
{
	uint32_t divisor = (machine_console_divisor(&port) + 32) / 64;

	if (divisor == 0)
		return;
	for (unsigned n = 0; n < READS_WHILE_IT_SENDS && uart_sending(&access); n++)
		CPU_RELAX();
	(void)uart_set_divisor(&access, (uint16_t)divisor);
}

void
console_early(void)
{
	set_rate();
	uart_start(&access);
}

void
console_last_words(const struct machine *m UNUSED)
{
}

void
console_init(const struct machine *m)
{
	struct machine_console c = m->console;

	if (c.kind != CONSOLE_16550_IO && c.kind != CONSOLE_16550_MMIO)
		return;		/* none named: COM1 stays */
	if (c.kind == CONSOLE_16550_MMIO) {
		regs = mmu_map_device((struct paddr){ c.base }, (8ull << c.reg_shift));
		fmt_buf(name, sizeof(name), "16550 at 0x%llx", (unsigned long long)c.base);
	} else {
		fmt_buf(name, sizeof(name), "16550 at port 0x%llx", (unsigned long long)c.base);
	}
	port = c;
	if (!port.line.present && port.base == 0x3f8)
		port.line = (struct machine_line){ .id = 4, .present = true };
	console_early();
}

void
console_put(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			console_put("\r", 1);
		for (unsigned n = 0; n < 20000 && (get(UART_LSR) & UART_LSR_EMPTY) == 0; n++)
			CPU_RELAX();
		put(UART_DATA, (uint8_t)text[i]);
	}
}

int
console_get(void)
{
	uint8_t lsr = get(UART_LSR);

	return (lsr & UART_LSR_READY) != 0 && lsr != UART_LSR_NONE ? get(UART_DATA) : -1;
}

static void
receive(void *arg UNUSED)
{
	console_input();
}

void
console_enable_input(void)
{
	if (irq_claim_line(&port.line, receive, NULL, "console") != OK) {
		log_warn("console: no interrupt for input");
		return;
	}
	put(UART_IER, UART_IER_RX);
	console_input();	/* what came before */
}

const char *
console_name(void)
{
	return name;
}
