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

void *mmu_boot_device(uint64_t base);

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

/* QEMU's virt board has its PL011 here, the one machine that a device tree is handed to without firmware. */
enum : uint64_t { VIRT_PL011 = 0x0900'0000 };
/* Identification: part 0x011 by Arm, and the PrimeCell's mark [3.3.11 to 3.3.18], a byte in each word. */
enum : uint32_t { UARTPERIPHID0 = 0xfe0, UARTPCELLID0 = 0xff0, PART = 0x011, PART_MASK = 0xfff, PCELLID = 0xb105f00d };

static uint32_t
identification(volatile uint8_t *at)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++)
		v |= (mmio_read32(at + 4 * i) & 0xff) << 8 * i;
	return v;
}

void
console_last_words(const struct machine *m)
{
	bool named = m != NULL && (m->console.kind == CONSOLE_PL011 || m->console.kind == CONSOLE_SBSA);
	volatile uint8_t *at = regs == NULL ? mmu_boot_device(named ? m->console.base : VIRT_PL011) : NULL;

	if (at == NULL)
		return;
	if (!named) {
		if ((identification(at + UARTPERIPHID0) & PART_MASK) != PART || identification(at + UARTPCELLID0) != PCELLID)
			return;
		mmio_write32(at + UARTCR, 0x301);
	}
	regs = at;
	console_put(early, early_len);
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
