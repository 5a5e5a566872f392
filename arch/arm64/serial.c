/*
 * The serial port: Arm's PL011 or its SBSA part, or a 16550 in memory, as clouds have it.
 *
 * The rate is set where both it and the clock are told, by SPCR or by a device tree, and differs
 * from what firmware set; else it stays.  An SBSA part has no divisor.
 *
 * Order    what was sent is out, or 100 ms are past -> off -> divisor -> line control -> on: a
 *          PL011's divisor and line control may be written only while it is off [UARTLCR_H,
 *          UARTCR].
 * Manual: PL011 TRM (DDI 0183); PC16550D; ACPI SPCR.
 */
#include "kern/md/console.h"
#include "arch/arm64/primecell.h"
#include "kern/base/fmt.h"
#include "kern/base/mmio.h"
#include "kern/console.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/machine/uart_mmio.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"
#include "arch/arm64/sysreg.h"

enum : uint32_t {
	UARTDR = 0x00,
	UARTFR = 0x18,
	UARTIBRD = 0x24,
	UARTFBRD = 0x28,
	UARTLCR_H = 0x2c,
	UARTCR = 0x30,
	UARTIMSC = 0x38,
	UARTICR = 0x44,
	FR_BUSY = 1u << 3,
	FR_RXFE = 1u << 4,
	FR_TXFF = 1u << 5,
	IMSC_RX = 1u << 4 | 1u << 6,
	LCR_H_8_FIFO = 0x70,
	CR_ON = 0x301,			/* both ways */
};

void *mmu_boot_device(uint64_t base);

static volatile uint8_t *regs;
static struct machine_console port;	/* what regs are */
static char name[48] = "none";

/* Output before the port is mapped, or answers, is kept, and written when it does. */
static char early[2048];
static size_t early_len;

void
console_early(void)
{
}

/* QEMU's virt board has its PL011 here, the one machine that a device tree is handed to without
 * firmware. */
enum : uint64_t { VIRT_PL011 = 0x0900'0000 };

static bool ns(void) { return port.kind == CONSOLE_16550_MMIO; }

static uint8_t ns_get(unsigned r) { return uart_mmio_get(&port, regs, r); }
static void ns_put(unsigned r, uint8_t v) { uart_mmio_put(&port, regs, r, v); }

static bool
is_ours(const struct machine_console *c)
{
	return c->kind == CONSOLE_PL011 || c->kind == CONSOLE_SBSA || c->kind == CONSOLE_16550_MMIO;
}

static const struct uart_access ns_access = { ns_get, ns_put };

/* The clock is not set up yet: its counter runs. */
static void
wait_sent(void)
{
	uint64_t from = cpu_cycles(), most = (READ_SYS(cntfrq_el0) & UINT32_MAX) / 10;

	while ((ns() ? uart_sending(&ns_access) : (mmio_read32(regs + UARTFR) & FR_BUSY) != 0) &&
	    cpu_cycles() - from < most)
		CPU_RELAX();
}

/* The divisor that is told: a 16550's is whole. */
static uint32_t
told_divisor(void)
{
	uint32_t d = machine_console_divisor(&port);

	return ns() ? (d + 32) / 64 : d;
}

static void
turn_on_ns(void)
{
	uint32_t d = told_divisor();

	if (d != 0) {
		wait_sent();
		(void)uart_set_divisor(&ns_access, (uint16_t)d);
	}
	uart_start(&ns_access);
}

static void
turn_on_pl011(void)
{
	uint32_t d = told_divisor();

	wait_sent();
	mmio_write32(regs + UARTCR, 0);
	mmio_write32(regs + UARTIMSC, 0);
	if (d != 0 &&
	    (mmio_read32(regs + UARTIBRD) != d / 64 || mmio_read32(regs + UARTFBRD) != d % 64)) {
		mmio_write32(regs + UARTIBRD, d / 64);
		mmio_write32(regs + UARTFBRD, d % 64);
	}
	mmio_write32(regs + UARTLCR_H, LCR_H_8_FIFO);	/* the divisor counts from here */
	mmio_write32(regs + UARTCR, CR_ON);
}

/* An SBSA part has no control registers. */
static void
turn_on(void)
{
	if (ns())
		turn_on_ns();
	else if (port.kind == CONSOLE_PL011)
		turn_on_pl011();
}

void
console_last_words(const struct machine *m)
{
	bool named = m != NULL && is_ours(&m->console);
	volatile uint8_t *at =
	    regs == NULL ? mmu_boot_device(named ? m->console.base : VIRT_PL011) : NULL;

	if (at == NULL)
		return;
	if (!named && !primecell_is(at, PRIMECELL_UART))
		return;
	port = named ? m->console : (struct machine_console){ .kind = CONSOLE_PL011 };
	regs = at;
	turn_on();
	console_put("", 0);
}

void
console_init(const struct machine *m)
{
	const struct machine_console *c = &m->console;

	if (!is_ours(c))
		return;
	regs = mmu_map_device((struct paddr){ c->base },
	    c->kind == CONSOLE_16550_MMIO ? 8ull << c->reg_shift : PAGE_SIZE);
	if (regs == NULL)
		return;
	port = *c;
	turn_on();
	fmt_buf(name, sizeof(name), "%s at 0x%llx",
	    ns()                         ? "16550" :
		c->kind == CONSOLE_PL011 ? "PL011" :
					   "SBSA UART",
	    (unsigned long long)c->base);
	console_put("", 0);
}

static bool
full(void)
{
	return ns() ? (ns_get(UART_LSR) & UART_LSR_EMPTY) == 0 :
		      (mmio_read32(regs + UARTFR) & FR_TXFF) != 0;
}

/* A 16550 behind a PCI function that firmware left closed answers when kern/pci.c has opened it. */
static bool
answers(void)
{
	return regs != NULL && (!ns() || ns_get(UART_LSR) != UART_LSR_NONE);
}

static void
put_all(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			put_all("\r", 1);
		for (unsigned n = 0; n < 100000 && full(); n++)
			CPU_RELAX();
		if (ns())
			ns_put(UART_DATA, (uint8_t)text[i]);
		else
			mmio_write32(regs + UARTDR, (uint8_t)text[i]);
	}
}

void
console_put(const char *text, size_t len)
{
	if (!answers()) {
		for (size_t i = 0; i < len && early_len < sizeof(early); i++)
			early[early_len++] = text[i];
		return;
	}
	if (early_len != 0) {
		size_t n = early_len;

		early_len = 0;
		if (ns())
			turn_on();
		put_all(early, n);
	}
	put_all(text, len);
}

int
console_get(void)
{
	uint8_t status;

	if (regs == NULL)
		return -1;
	if (ns()) {
		status = ns_get(UART_LSR);
		return status != UART_LSR_NONE && (status & UART_LSR_READY) != 0 ?
		    ns_get(UART_DATA) :
		    -1;
	}
	return (mmio_read32(regs + UARTFR) & FR_RXFE) != 0 ?
	    -1 :
	    (int)(mmio_read32(regs + UARTDR) & 0xff);
}

static void
receive(void *arg UNUSED)
{
	if (!ns())
		mmio_write32(regs + UARTICR, IMSC_RX);
	console_input();
}

void
console_enable_input(void)
{
	if (regs == NULL || irq_claim_line(&port.line, receive, NULL, "console") != OK) {
		log_warn("console: no interrupt for input");
		return;
	}
	if (!ns()) {
		mmio_write32(regs + UARTIMSC, IMSC_RX);
		return;
	}
	ns_put(UART_IER, UART_IER_RX);
	console_input();	/* what came before */
}

const char *
console_name(void)
{
	return name;
}
