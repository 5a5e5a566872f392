/*
 * Arm PL011 and SBSA serial port.
 * Manual: PL011 TRM (DDI 0183).
 */
#include "kern/md/console.h"
#include "kern/base/fmt.h"
#include "kern/base/mmio.h"
#include "kern/console.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/mmu.h"

enum : uint32_t {
	UARTDR = 0x00, UARTFR = 0x18, UARTLCR_H = 0x2c, UARTCR = 0x30, UARTIMSC = 0x38, UARTICR = 0x44,
	FR_RXFE = 1u << 4, FR_TXFF = 1u << 5, IMSC_RX = 1u << 4 | 1u << 6,
};

static volatile uint8_t *regs;
static struct machine_line line;
static char name[48] = "none";

/* Output before the port is mapped is kept, and written when it is. */
static char early[2048];
static size_t early_len;

void
console_early(void)
{
}

void
console_init(const struct machine *m)
{
	const struct machine_console *c = &m->console;

	if (c->kind != CONSOLE_PL011 && c->kind != CONSOLE_SBSA)
		return;
	regs = mmu_map_device((struct paddr){ c->base }, PAGE_SIZE);
	if (regs == NULL)
		return;
	line = c->line;
	if (c->kind == CONSOLE_PL011) {
		mmio_write32(regs + UARTIMSC, 0);
		mmio_write32(regs + UARTLCR_H, 0x70);		/* 8 bits, FIFO */
		mmio_write32(regs + UARTCR, 0x301);		/* on, both ways */
	}
	fmt_buf(name, sizeof(name), "%s at 0x%llx", c->kind == CONSOLE_PL011 ? "PL011" : "SBSA UART",
	    (unsigned long long)c->base);
	console_put(early, early_len);
}

void
console_put(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (regs == NULL) {
			if (early_len < sizeof(early))
				early[early_len++] = text[i];
			continue;
		}
		if (text[i] == '\n')
			console_put("\r", 1);
		for (unsigned n = 0; n < 100000 && (mmio_read32(regs + UARTFR) & FR_TXFF) != 0; n++)
			CPU_RELAX();
		mmio_write32(regs + UARTDR, (uint8_t)text[i]);
	}
}

int
console_get(void)
{
	if (regs == NULL || (mmio_read32(regs + UARTFR) & FR_RXFE) != 0)
		return -1;
	return (int)(mmio_read32(regs + UARTDR) & 0xff);
}

static void
receive(void *arg UNUSED)
{
	mmio_write32(regs + UARTICR, IMSC_RX);
	console_input();
}

void
console_enable_input(void)
{
	if (regs == NULL || irq_claim_line(&line, receive, NULL, "console") != OK) {
		log_warn("console: no interrupt for input");
		return;
	}
	mmio_write32(regs + UARTIMSC, IMSC_RX);
}

const char *
console_name(void)
{
	return name;
}
