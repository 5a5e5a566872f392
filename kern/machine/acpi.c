/*
 * ACPI: what the tables say, as struct machine.
 *
 * The walk is the same for every table: step over entries by their own length, which must be at
 * least the entry's minimum and must not pass the table's end; a field is read only when the table
 * is long enough to have it.
 *
 * Not here: finding and checking tables (acpi_tables.c), DMAR and IORT (dev/iommu/find_*.c).
 */
#include "kern/machine/acpi.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

/* Generic address structure [5.2.3.2]. */
struct gas { uint64_t address; uint8_t space, width, access; };
enum : uint8_t { SPACE_MEMORY = 0, SPACE_IO = 1, GAS_LEN = 12 };
enum : uint32_t { PORTS_OF_THE_BOARD = 0x100 };

static struct gas
gas(const uint8_t *p)
{
	return (
	    struct gas){ .space = p[0], .width = p[1], .access = p[3], .address = acpi_u64(p + 4) };
}

/*
 * Is it a port that somebody's registers could have?  0 is none.  Below 0x100 a PC has its
 * interrupt and DMA controllers: who made the tables read a register of the chipset that firmware
 * had not set.
 */
static bool
port_of(struct machine *m, const char *table, const char *whose, uint64_t at)
{
	if (at == 0 || at > UINT16_MAX)
		return false;
	if (at < PORTS_OF_THE_BOARD)
		machine_note(m, "ACPI: %s: port 0x%x is the board's, not %s: not used", table,
		    (uint32_t)at, whose);
	return at >= PORTS_OF_THE_BOARD;
}

static bool
usable_port(struct machine *m, uint64_t at)
{
	return port_of(m, "FADT", "power management's", at);
}

/* A port that is given twice: as 32 bits, and later as a structure that wins when it can be. */
static uint32_t
port(struct machine *m, const uint8_t *t, uint32_t len, uint32_t old, uint32_t new)
{
	uint32_t at = acpi_u32(t + old);

	if (len >= new + GAS_LEN) {
		struct gas g = gas(t + new);

		if (g.space == SPACE_IO && usable_port(m, g.address))
			return (uint32_t)g.address;
	}
	return usable_port(m, at) ? at : 0;
}

/* ---- Processors and interrupt controllers ---- */

enum : uint8_t {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_ADDRESS = 5,
	MADT_X2APIC = 9,
	MADT_GICC = 0xb,
	MADT_GICD = 0xc,
	MADT_GIC_MSI = 0xd,
	MADT_GICR = 0xe,
	MADT_ITS = 0xf,
};
enum : uint64_t { MPIDR_AFFINITY = BITS(39, 32) | BITS(23, 0) };

static void
add_cpu(struct machine *m, uint64_t hwid, uint32_t uid, uint32_t flags)
{
	if ((flags & 1) == 0)	/* not there, or only later */
		return;
	for (uint32_t i = 0; i < m->cpu_count; i++) {
		if (m->cpu[i].hwid == hwid) {
			machine_note(
			    m, "ACPI: MADT: processor id 0x%llx twice", (unsigned long long)hwid);
			return;
		}
	}
	if (m->cpu_count == MACHINE_CPUS_MAX)
		m->dropped++;
	else
		m->cpu[m->cpu_count++] =
		    (struct machine_cpu){ .hwid = hwid, .acpi_uid = uid, .enabled = true };
}

static bool
registers_in_memory(struct machine *m, const char *what, uint64_t base, uint64_t len)
{
	if (base != 0 && !machine_in_memory(m, base, len))
		return false;
	machine_note(m, "ACPI: %s registers are at 0 or in memory: ignored", what);
	return true;
}

/* A GICv3's registers are frames of 64 KiB [GICv3, IHI 0069, chapter 12]. */
static bool
no_frame(struct machine *m, const char *what, uint64_t base)
{
	if (is_aligned(base, 64 * KIB))
		return false;
	machine_note(m, "ACPI: %s registers at 0x%llx are not on 64 KiB: ignored", what,
	    (unsigned long long)base);
	return true;
}

/* Redistributors, each on its own or many in a row: neighbours are put together. */
static void
add_gicr(struct machine *m, uint64_t base, uint64_t len)
{
	struct machine_irqc *q = &m->irqc;
	struct machine_region *last = q->gicr_count == 0 ? NULL : &q->gicr[q->gicr_count - 1];

	if (len < 128 * KIB || registers_in_memory(m, "GIC redistributor", base, len) ||
	    no_frame(m, "GIC redistributor", base))
		return;
	if (last != NULL && last->base + last->len == base)
		last->len += len;
	else if (q->gicr_count == MACHINE_GICR_MAX)
		m->dropped++;
	else
		q->gicr[q->gicr_count++] = (struct machine_region){ base, len };
}

static void
add_ioapic(struct machine *m, const uint8_t *e)
{
	struct machine_irqc *q = &m->irqc;
	struct machine_ioapic a = {
		.base = acpi_u32(e + 4), .id = e[2], .gsi_base = acpi_u32(e + 8)
	};

	if (registers_in_memory(m, "IOAPIC", a.base, PAGE_SIZE))
		return;
	if (q->ioapic_count == MACHINE_IOAPIC_MAX)
		m->dropped++;
	else
		q->ioapic[q->ioapic_count++] = a;
}

/* ISA line e[3] is GSI: flags 1:0 polarity (3 low), 3:2 trigger (3 level), 0 as the bus has it
 * [5.2.12.5]. */
static void
add_override(struct machine *m, const uint8_t *e)
{
	struct machine_irqc *q = &m->irqc;
	uint16_t f = acpi_u16(e + 8);

	if (e[2] != 0 || e[3] > 15)	/* only ISA has overrides */
		return;
	if (q->override_count == MACHINE_OVERRIDE_MAX)
		m->dropped++;
	else
		q->override[q->override_count++] = (struct machine_override){
			.isa = e[3],
			.gsi = acpi_u32(e + 4),
			.level = (f >> 2 & 3) == 3,
			.active_low = (f & 3) == 3,
		};
}

static void
add_its(struct machine *m, const uint8_t *e)
{
	struct machine_irqc *q = &m->irqc;
	struct machine_its its = { .id = acpi_u32(e + 4), .base = acpi_u64(e + 8) };

	if (registers_in_memory(m, "ITS", its.base, 128 * KIB) || no_frame(m, "ITS", its.base))
		return;
	if (q->its_count == MACHINE_ITS_MAX)
		m->dropped++;
	else
		q->its[q->its_count++] = its;
}

/* MADT [5.2.12]. */
static void
madt(struct machine *m, const uint8_t *t, uint32_t len)
{
	struct machine_irqc *q = &m->irqc;
	bool v2m = false, single = false;
	uint8_t version = 0;

	if (len < 44) {
		machine_note(m, "ACPI: MADT has length %u: ignored", len);
		return;
	}
	q->lapic = acpi_u32(t + 36);
	q->has_8259 = (acpi_u32(t + 40) & 1) != 0;
	for (uint32_t i = 44, n; len - i >= 2; i += n) {
		const uint8_t *e = t + i;
		uint8_t type = e[0];

		n = e[1];
		if (n < 2 || n > len - i) {
			machine_note(
			    m, "ACPI: MADT: entry at 0x%x has length %u: rest ignored", i, n);
			break;
		}
		if (type == MADT_LAPIC && n >= 8) {
			q->kind = IRQC_APIC;
			add_cpu(m, e[3], e[2], acpi_u32(e + 4));
		} else if (type == MADT_X2APIC && n >= 16) {
			q->kind = IRQC_APIC;
			add_cpu(m, acpi_u32(e + 4), acpi_u32(e + 12), acpi_u32(e + 8));
		} else if (type == MADT_IOAPIC && n >= 12) {
			add_ioapic(m, e);
		} else if (type == MADT_OVERRIDE && n >= 10) {
			add_override(m, e);
		} else if (type == MADT_LAPIC_ADDRESS && n >= 12) {
			q->lapic = acpi_u64(e + 4);
		} else if (type == MADT_GICC && n >= 76) {
			add_cpu(m, acpi_u64(e + 68) & MPIDR_AFFINITY, acpi_u32(e + 8),
			    acpi_u32(e + 12));
		} else if (type == MADT_GICD && n >= 24) {
			if (!registers_in_memory(m, "GIC distributor", acpi_u64(e + 8), 64 * KIB))
				q->gicd = acpi_u64(e + 8);
			version = e[20];
		} else if (type == MADT_GIC_MSI && n >= 24) {
			v2m = true;
		} else if (type == MADT_GICR && n >= 16) {
			add_gicr(m, acpi_u64(e + 4), acpi_u32(e + 12));
		} else if (type == MADT_ITS && n >= 20) {
			add_its(m, e);
		} else if (type <= MADT_OVERRIDE || (type >= MADT_GICC && type <= MADT_ITS)) {
			machine_note(
			    m, "ACPI: MADT: entry at 0x%x is too short for its type %u", i, type);
		}
	}
	if (q->gicd == 0)
		return;
	/* No redistributor regions: each processor names its own, RD_base and SGI_base. */
	for (uint32_t i = 44, n; q->gicr_count == 0 || single; i += n) {
		const uint8_t *e = t + i;

		if (len - i < 2 || (n = e[1]) < 2 || n > len - i)
			break;
		if (e[0] == MADT_GICC && n >= 76 && acpi_u64(e + 60) != 0 &&
		    (acpi_u32(e + 12) & 1) != 0) {
			single = true;
			add_gicr(m, acpi_u64(e + 60), 128 * KIB);
		}
	}
	/* Version 0: look for yourself. */
	q->kind = version >= 3 || (version == 0 && q->gicr_count != 0) ? IRQC_GICV3 : IRQC_GICV2;
	if (q->kind == IRQC_GICV3 && no_frame(m, "GIC distributor", q->gicd)) {
		q->gicd = 0;
		q->kind = IRQC_NONE;
	}
	q->gicv2m_only = q->kind == IRQC_GICV2 && v2m;
}

/* ---- PCI ---- */

/* Machines whose configuration space is special, by MCFG's OEM id and table id (PCI-41). */
static const struct { char oem[7], table[9]; enum machine_ecam access; } ecams[] = {
	{ "Ampere", "Altra   ", ECAM_WORDS },
};

/* MCFG [PCI Firmware 3.3, 4.1.2]: the base is that of bus 0, even when the first bus is another. */
static void
mcfg(struct machine *m, const uint8_t *t, uint32_t len)
{
	enum machine_ecam access = ECAM_STANDARD;

	for (unsigned i = 0; i < ARRAY_SIZE(ecams); i++)
		if (memcmp(t + 10, ecams[i].oem, 6) == 0 && memcmp(t + 16, ecams[i].table, 8) == 0)
			access = ecams[i].access;
	for (uint32_t i = 44; len >= 44 && len - i >= 16; i += 16) {
		/* Numbers are kept: DMAR's and IORT's refer to them, and the windows stand in AML.
		 */
		struct machine_host h = {
			.ecam = acpi_u64(t + i),
			.segment = acpi_u16(t + i + 8),
			.bus_first = t[i + 10],
			.bus_last = t[i + 11],
			.dma_coherent = true,
			.preserve = true,
			.access = access,
		};
		bool taken = false;

		for (uint32_t k = 0; k < m->host_count; k++)
			taken |= m->host[k].segment == h.segment &&
			    h.bus_first <= m->host[k].bus_last &&
			    m->host[k].bus_first <= h.bus_last;
		if (h.bus_last < h.bus_first || h.ecam == 0 || !is_aligned(h.ecam, MIB) ||
		    h.ecam >> 52 != 0 || taken ||
		    machine_in_memory(
			m, h.ecam + h.bus_first * MIB, (h.bus_last - h.bus_first + 1u) * MIB)) {
			machine_note(m,
			    "ACPI: MCFG: entry at 0x%x is absurd, taken, or in memory: ignored", i);
			continue;
		}
		if (m->host_count == MACHINE_HOST_MAX)
			m->dropped++;
		else
			m->host[m->host_count++] = h;
	}
}

/* ---- Power ---- */

/* A package's element that is a small number: zero, one, or a byte with its prefix.  0 when it is
 * not one. */
static uint32_t
small_integer(const uint8_t *p, uint32_t left, uint8_t *v)
{
	if (left >= 1 && p[0] <= 1) {
		*v = p[0];
		return 1;
	}
	if (left >= 2 && p[0] == 0x0a && p[1] <= 7) {
		*v = p[1];
		return 2;
	}
	return 0;
}

/*
 * SLP_TYP of the package \_S5, found as bytes: name operator (perhaps a backslash), name, package
 * operator, length, count, elements [7.4.2.6, 20.2].
 */
static void
find_s5(struct machine *m, const uint8_t *t, uint32_t len)
{
	for (uint32_t i = ACPI_HEADER + 1; len >= 12 && i < len - 12; i++) {
		uint32_t p = i + 4, n;
		uint8_t a, b = 0;

		if (memcmp(t + i, "_S5_", 4) != 0 || t[p] != 0x12 ||
		    (t[i - 1] != 0x08 && !(t[i - 1] == '\\' && t[i - 2] == 0x08)))
			continue;
		p += 1 + 1 + (t[p + 1] >> 6) + 1;
		n = small_integer(t + p, len - p, &a);
		if (n == 0)
			continue;
		(void)small_integer(t + p + n, len - p - n, &b);
		m->power.s5_known = true;
		m->power.s5_typa = a;
		m->power.s5_typb = b;
		return;
	}
	machine_note(m, "ACPI: no \\_S5 in the DSDT: no power-off");
}

/* Of the board's ports, those that restart a PC: the keyboard controller's and system control A. */
static bool
is_board_reset(uint64_t at)
{
	return at == 0x64 || at == 0x92;
}

static void
reset_register(struct machine *m, const uint8_t *t)
{
	struct gas g = gas(t + 116);

	if ((g.space == SPACE_IO && (is_board_reset(g.address) || usable_port(m, g.address))) ||
	    (g.space == SPACE_MEMORY && g.address != 0 && !machine_in_memory(m, g.address, 8))) {
		m->power.reset_known = true;
		m->power.reset_space = g.space;
		m->power.reset_address = g.address;
		m->power.reset_value = t[128];
	} else {
		machine_note(m, "ACPI: FADT: reset register in space %u: not used", g.space);
	}
}

/* FADT [5.2.9]. */
static void
fadt(struct machine *m, const struct acpi_source *src, const uint8_t *t, uint32_t len)
{
	struct machine_power *p = &m->power;
	const uint8_t *dsdt;
	uint64_t address;
	uint32_t n, flags;

	if (len < 116) {
		machine_note(m, "ACPI: FADT has length %u: ignored", len);
		return;
	}
	flags = acpi_u32(t + 112);
	p->hardware_reduced = (flags & BIT(20)) != 0;
	if (!p->hardware_reduced) {
		p->pm1a_control = port(m, t, len, 64, 172);
		p->pm1b_control = port(m, t, len, 68, 184);
		if (t[91] >= 4 || len >= 208 + GAS_LEN)
			m->timer.pm_timer_port = port(m, t, len, 76, 208);
		m->timer.pm_timer_32bit = (flags & BIT(8)) != 0;
	} else if (len >= 244 + GAS_LEN) {
		struct gas g = gas(t + 244);

		if (g.space == SPACE_IO ? usable_port(m, g.address) :
		    g.space == SPACE_MEMORY && g.address != 0 &&
			!machine_in_memory(m, g.address, 1)) {
			p->sleep_control = g.address;
			p->sleep_space = g.space;
		}
	}
	/* IAPC_BOOT_ARCH came with revision 3; before, every machine had a keyboard controller. */
	p->i8042 = !p->hardware_reduced && (t[8] < 3 || (acpi_u16(t + 109) & 2) != 0);
	/* Nothing says on which machines of no PC the clock is; bit 5 says on which PCs it is not.
	 */
	if (!p->hardware_reduced && (t[8] < 5 || (acpi_u16(t + 109) & BIT(5)) == 0))
		m->rtc =
		    (struct machine_rtc){ .kind = RTC_CMOS, .century = t[108] < 128 ? t[108] : 0 };
	p->no_msi = t[8] >= 4 && (acpi_u16(t + 109) & 8) != 0;
	if (len >= 129 && (flags & BIT(10)) != 0)
		reset_register(m, t);
	if (len >= 131 && (acpi_u16(t + 129) & 1) != 0)		/* ARM boot flags: PSCI, by HVC */
		p->psci = (acpi_u16(t + 129) & 2) != 0 ? PSCI_HVC : PSCI_SMC;
	for (unsigned i = 0; len >= 276 && i < 8 && t[268 + i] > ' ' && t[268 + i] <= '~'; i++)
		p->hypervisor[i] = (char)t[268 + i];
	if (p->psci != PSCI_NONE)
		return; /* which ends and restarts the machine: no need of the DSDT */
	address = len >= 148 && acpi_u64(t + 140) != 0 ? acpi_u64(t + 140) : acpi_u32(t + 40);
	dsdt = acpi_table_at(m, src, address, "DSDT", &n);
	if (dsdt == NULL)
		machine_note(m, "ACPI: no usable DSDT: no power-off");
	else
		find_s5(m, dsdt, n);
}

/* ---- Console and time ---- */

/* A port of a type and at a place; false, with a note, when it cannot be a console of ours. */
static bool
serial_port(
    struct machine *m, const char *table, uint32_t type, struct gas g, struct machine_console *c)
{
	*c = (struct machine_console){ .kind = acpi_serial_kind(type, g.space), .base = g.address };
	if (c->kind == CONSOLE_NONE) {
		machine_note(m, "ACPI: %s: console of type 0x%x is not known in space %u", table,
		    type, g.space);
		return false;
	}
	c->access_bytes =
	    g.access == 3 || (g.access == 0 && g.width == 32) || c->kind == CONSOLE_SBSA ? 4 : 1;
	c->reg_shift = c->kind == CONSOLE_16550_MMIO && g.width == 32 ? 2 : 0;
	if (c->kind == CONSOLE_16550_IO) {
		if (c->base <= UINT16_MAX - 7)
			return port_of(m, table, "a console's", c->base);
		machine_note(m, "ACPI: %s: port 0x%llx is absurd: ignored", table,
		    (unsigned long long)c->base);
		return false;
	}
	if (!machine_console_fits(m, c)) {
		machine_note(m,
		    "ACPI: %s: the console's registers at 0x%llx are in memory, or not at multiples of their accesses: ignored",
		    table, (unsigned long long)c->base);
		return false;
	}
	return true;
}

/*
 * DBG2 [Microsoft, Debug Port Table 2, revision 1]: where SPCR names no console that we know, the
 * first serial debug port that we do.  It has no interrupt, so it hears nothing.
 */
static void
dbg2(struct machine *m, const uint8_t *t, uint32_t len)
{
	uint32_t at, n, size;

	if (len < 44) {
		machine_note(m, "ACPI: DBG2 has length %u: ignored", len);
		return;
	}
	at = acpi_u32(t + 36);
	for (n = acpi_u32(t + 40); n > 0 && m->console.kind == CONSOLE_NONE; n--, at += size) {
		struct machine_console c;
		uint32_t where;

		if (at < 44 || at > len || len - at < 22 || (size = acpi_u16(t + at + 1)) < 22 ||
		    size > len - at) {
			machine_note(m,
			    "ACPI: DBG2: entry at 0x%x is outside or too short: rest ignored", at);
			return;
		}
		where = acpi_u16(t + at + 18);
		if (acpi_u16(t + at + 12) == 0x8000 && t[at + 3] != 0 && where <= size - GAS_LEN &&
		    acpi_u64(t + at + where + 4) != 0 &&
		    serial_port(m, "DBG2", acpi_u16(t + at + 14), gas(t + at + where), &c))
			m->console = c;
	}
}

/* SPCR [Microsoft, Serial Port Console Redirection table, revision 4]. */
static void
spcr(struct machine *m, const uint8_t *t, uint32_t len)
{
	static const uint32_t rates[] = { [3] = 9600, [4] = 19200, [6] = 57600, [7] = 115200 };
	struct machine_console c;

	if (len < 80) {
		machine_note(m, "ACPI: SPCR has length %u: ignored", len);
		return;
	}
	if (acpi_u64(t + 44) == 0) {
		machine_note(m, "ACPI: SPCR: its address is 0: it names no console");
		return;
	}
	if (!serial_port(m, "SPCR", t[36], gas(t + 40), &c))
		return;
	c.baud = t[58] < ARRAY_SIZE(rates) ? rates[t[58]] : 0;
	if (t[8] >= 4 && len >= 84 && acpi_u32(t + 80) != 0)
		c.baud = acpi_u32(t + 80);
	if (t[8] >= 3)
		c.clock_hz = acpi_u32(t + 76);
	/* Interrupt types: 1 the PC's own controller, 2 IOAPIC, 8 GIC. */
	if ((t[52] & 0xe) != 0)
		c.line = (struct machine_line){ .id = acpi_u32(t + 54), .present = true,
			.level = (t[52] & 8) != 0 || acpi_u32(t + 54) > 15 };
	else if ((t[52] & 1) != 0 && t[53] < 16)
		c.line = (struct machine_line){ .id = t[53], .present = true };
	m->console = c;
}

/* Number and flags: bit 0 edge, bit 1 active low [5.2.25]. */
static struct machine_line
gtdt_line(const uint8_t *p)
{
	uint32_t id = acpi_u32(p), flags = acpi_u32(p + 4);

	return (struct machine_line){ .id = id,
		.present = id >= 16 && id < 32,
		.level = (flags & 1) == 0,
		.active_low = (flags & 2) != 0 };
}

static void
gtdt(struct machine *m, const uint8_t *t, uint32_t len)
{
	if (len < 80) {
		machine_note(m, "ACPI: GTDT has length %u: ignored", len);
		return;
	}
	m->timer.phys = gtdt_line(t + 56);
	m->timer.virt = gtdt_line(t + 64);
	m->timer.hyp = gtdt_line(t + 72);
}

static void
hpet(struct machine *m, const uint8_t *t, uint32_t len)
{
	struct gas g;

	if (len < 56)
		return;
	g = gas(t + 40);
	if (g.space == SPACE_MEMORY && !registers_in_memory(m, "HPET", g.address, KIB))
		m->timer.hpet = g.address;
}

/* Who made the tables: OEM id and table id, for people. */
static void
name(struct machine *m, const uint8_t *t)
{
	memcpy(m->model, t + 10, 6);
	m->model[6] = ' ';
	memcpy(m->model + 7, t + 16, 8);
	m->model[15] = 0;
	for (unsigned i = 0; i < 15; i++)
		if (m->model[i] < ' ' || m->model[i] > '~')
			m->model[i] = ' ';
	for (unsigned i = 15; i > 0 && m->model[i - 1] == ' '; i--)
		m->model[i - 1] = 0;
}

enum status
acpi_machine(struct machine *m, const struct acpi_source *src)
{
	const uint8_t *t;
	uint32_t len;

	if (!acpi_present(m, src)) {
		machine_note(m, "ACPI: no root pointer, or no root table behind it");
		return E_NOT_FOUND;
	}
	m->source = SOURCE_ACPI;
	if ((t = acpi_table(m, src, "FACP", &len)) != NULL) {
		name(m, t);
		fadt(m, src, t, len);
	} else {
		machine_note(m, "ACPI: no FADT: no power-off");
	}
	if ((t = acpi_table(m, src, "APIC", &len)) != NULL)
		madt(m, t, len);
	else
		machine_note(m, "ACPI: no MADT: one CPU, no interrupt controller");
	if ((t = acpi_table(m, src, "MCFG", &len)) != NULL)
		mcfg(m, t, len);
	else
		machine_note(m, "ACPI: no MCFG: no PCI by it");
	if ((t = acpi_table(m, src, "SPCR", &len)) != NULL)
		spcr(m, t, len);
	if (m->console.kind == CONSOLE_NONE && (t = acpi_table(m, src, "DBG2", &len)) != NULL)
		dbg2(m, t, len);
	if ((t = acpi_table(m, src, "GTDT", &len)) != NULL)
		gtdt(m, t, len);
	if ((t = acpi_table(m, src, "HPET", &len)) != NULL)
		hpet(m, t, len);
	return OK;
}
