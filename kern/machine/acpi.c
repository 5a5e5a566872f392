/*
 * ACPI: from the root pointer to struct machine.
 *
 * The walk is the same for every table: check the header, then step over entries by their own length, which must be
 * at least the entry's minimum and must not pass the table's end.
 */
#include "kern/machine/acpi.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

enum { HEADER = 36, TABLES_MAX = 64, LENGTH_MAX = 4 << 20 };

uint16_t acpi_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
uint32_t acpi_u32(const uint8_t *p) { return acpi_u16(p) | (uint32_t)acpi_u16(p + 2) << 16; }
uint64_t acpi_u64(const uint8_t *p) { return acpi_u32(p) | (uint64_t)acpi_u32(p + 4) << 32; }

static bool
sums_to_zero(const uint8_t *p, uint32_t len)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return sum == 0;
}

static const uint8_t *
at(const struct acpi_source *src, uint64_t address, uint64_t len)
{
	return address == 0 ? NULL : src->map(src->ctx, address, len);
}

static bool
is_rsdp(const uint8_t *p)
{
	return p != NULL && memcmp(p, "RSD PTR ", 8) == 0 && sums_to_zero(p, 20);
}

static const uint8_t *
find_rsdp(const struct acpi_source *src)
{
	const uint8_t *p = at(src, src->rsdp, 20), *ebda;

	if (is_rsdp(p))
		return p;
	/* First KiB of the extended BIOS data area, then the BIOS read-only area [ACPI 5.2.5.1]. */
	ebda = at(src, 0x40e, 2);
	if (ebda != NULL) {
		uint64_t base = (uint64_t)acpi_u16(ebda) << 4;

		for (uint64_t a = base; a >= 0x400 && a < base + KIB; a += 16)
			if (is_rsdp(at(src, a, 20)))
				return at(src, a, 20);
	}
	for (uint64_t a = 0xe0000; a < 0x100000; a += 16)
		if (is_rsdp(at(src, a, 20)))
			return at(src, a, 20);
	return NULL;
}

/* A table at an address, checked.  Wrong: a note, and NULL. */
static const uint8_t *
checked(struct machine *m, const struct acpi_source *src, uint64_t address, uint32_t *len)
{
	const uint8_t *p = at(src, address, HEADER);

	if (p == NULL)
		return NULL;
	*len = acpi_u32(p + 4);
	if (*len < HEADER || *len > LENGTH_MAX || at(src, address, *len) == NULL) {
		machine_note(m, "ACPI: table %.4s has length %u: ignored", (const char *)p, *len);
		return NULL;
	}
	if (!sums_to_zero(p, *len)) {
		machine_note(m, "ACPI: table %.4s has a wrong checksum: ignored", (const char *)p);
		return NULL;
	}
	return p;
}

const uint8_t *
acpi_table(struct machine *m, const struct acpi_source *src, const char sig[4], uint32_t *len)
{
	const uint8_t *rsdp = find_rsdp(src), *root = NULL;
	uint32_t root_len, width = 8, n;

	if (rsdp == NULL)
		return NULL;
	if (rsdp[15] >= 2 && at(src, src->rsdp, 36) != NULL && acpi_u64(rsdp + 24) != 0)
		root = checked(m, src, acpi_u64(rsdp + 24), &root_len);
	if (root == NULL) {
		width = 4;
		root = checked(m, src, acpi_u32(rsdp + 16), &root_len);
	}
	if (root == NULL)
		return NULL;
	n = (root_len - HEADER) / width;
	if (n > TABLES_MAX)
		n = TABLES_MAX;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *e = root + HEADER + i * width, *t;
		uint64_t address = width == 8 ? acpi_u64(e) : acpi_u32(e);

		t = at(src, address, HEADER);
		if (t == NULL || memcmp(t, sig, 4) != 0)
			continue;
		t = checked(m, src, address, len);
		if (t != NULL)
			return t;
	}
	return NULL;
}

static void
add_cpu(struct machine *m, uint64_t hwid, uint32_t uid, bool enabled)
{
	if (!enabled)
		return;
	if (m->cpu_count == MACHINE_CPUS_MAX) {
		m->dropped++;
		return;
	}
	m->cpu[m->cpu_count++] = (struct machine_cpu){ .hwid = hwid, .acpi_uid = uid, .enabled = true };
}

/* MADT [ACPI 5.2.12]. */
static void
madt(struct machine *m, const uint8_t *t, uint32_t len)
{
	struct machine_irqc *q = &m->irqc;

	if (len < 44)
		return;
	q->lapic = acpi_u32(t + 36);
	q->has_8259 = (acpi_u32(t + 40) & 1) != 0;
	for (uint32_t i = 44; i + 2 <= len; ) {
		const uint8_t *e = t + i;
		uint8_t n = e[1];

		if (n < 2 || n > len - i) {
			machine_note(m, "ACPI: MADT entry at 0x%x has length %u: rest ignored", i, n);
			break;
		}
		if (e[0] == 0 && n >= 8) {			/* local APIC */
			q->kind = IRQC_APIC;
			add_cpu(m, e[3], e[2], (acpi_u32(e + 4) & 1) != 0);
		} else if (e[0] == 9 && n >= 16) {		/* local x2APIC */
			q->kind = IRQC_APIC;
			add_cpu(m, acpi_u32(e + 4), acpi_u32(e + 12), (acpi_u32(e + 8) & 1) != 0);
		} else if (e[0] == 1 && n >= 12 && q->ioapic_count < MACHINE_IOAPIC_MAX) {
			q->ioapic[q->ioapic_count++] = (struct machine_ioapic){
				.base = acpi_u32(e + 4), .id = e[2], .gsi_base = acpi_u32(e + 8),
			};
		} else if (e[0] == 2 && n >= 10 && q->override_count < MACHINE_OVERRIDE_MAX) {
			uint16_t f = acpi_u16(e + 8);

			q->override[q->override_count++] = (struct machine_override){
				.isa = e[3], .gsi = acpi_u32(e + 4), .level = (f >> 2 & 3) == 3, .active_low = (f & 3) == 3,
			};
		} else if (e[0] == 5 && n >= 12) {		/* local APIC address override */
			q->lapic = acpi_u64(e + 4);
		} else if (e[0] == 0xb && n >= 76) {		/* GIC CPU interface */
			add_cpu(m, acpi_u64(e + 68), acpi_u32(e + 8), (acpi_u32(e + 12) & 1) != 0);
		} else if (e[0] == 0xc && n >= 24) {		/* GIC distributor */
			q->gicd = acpi_u64(e + 8);
			q->kind = e[20] >= 3 ? IRQC_GICV3 : q->kind;
		} else if (e[0] == 0xe && n >= 16 && q->gicr_count < MACHINE_GICR_MAX) {
			q->gicr[q->gicr_count++] = (struct machine_region){ acpi_u64(e + 4), acpi_u32(e + 12) };
		} else if (e[0] == 0xf && n >= 20 && q->its_count < MACHINE_ITS_MAX) {
			q->its[q->its_count++] = (struct machine_its){ .id = acpi_u32(e + 4), .base = acpi_u64(e + 8) };
		}
		i += n;
	}
}

/* MCFG [PCI Firmware 3.3, 4.1.2]: the base is that of bus 0. */
static void
mcfg(struct machine *m, const uint8_t *t, uint32_t len)
{
	for (uint32_t i = 44; i + 16 <= len; i += 16) {
		struct machine_host h = {
			.ecam = acpi_u64(t + i), .segment = acpi_u16(t + i + 8), .bus_first = t[i + 10],
			.bus_last = t[i + 11], .dma_coherent = true,
		};

		if (h.bus_last < h.bus_first || h.ecam == 0) {
			machine_note(m, "ACPI: MCFG entry at 0x%x is absurd: ignored", i);
			continue;
		}
		if (m->host_count == MACHINE_HOST_MAX) {
			m->dropped++;
			continue;
		}
		m->host[m->host_count++] = h;
	}
}

/* SLP_TYP of the package \_S5, found as bytes: name, package, length, count, then small integers [ACPI 7.4.2, 20.2]. */
static void
find_s5(struct machine *m, const uint8_t *t, uint32_t len)
{
	for (uint32_t i = HEADER; i + 12 < len; i++) {
		uint32_t p = i + 4;
		uint8_t v[2] = { 0, 0 };

		if (memcmp(t + i, "_S5_", 4) != 0 || t[p] != 0x12)
			continue;
		p += 1 + 1 + (t[p + 1] >> 6) + 1;	/* package, its length, number of elements */
		for (unsigned k = 0; k < 2 && p + 2 <= len; k++) {
			if (t[p] == 0x0a)		/* byte */
				p++;
			v[k] = t[p] <= 7 ? t[p] : 0;
			p++;
		}
		m->power.s5_known = true;
		m->power.s5_typa = v[0];
		m->power.s5_typb = v[1];
		return;
	}
}

/* FADT [ACPI 5.2.9]. */
static void
fadt(struct machine *m, const struct acpi_source *src, const uint8_t *t, uint32_t len)
{
	const uint8_t *dsdt;
	uint64_t address;
	uint32_t n, flags;

	if (len < 116)
		return;
	flags = acpi_u32(t + 112);
	m->power.pm1a_control = acpi_u32(t + 64);
	m->power.pm1b_control = acpi_u32(t + 68);
	if (t[91] >= 4) {
		m->timer.pm_timer_port = acpi_u32(t + 76);
		m->timer.pm_timer_32bit = (flags & BIT(8)) != 0;
	}
	if (len >= 129 && (flags & BIT(10)) != 0) {
		m->power.reset_known = true;
		m->power.reset_space = t[116];
		m->power.reset_address = acpi_u64(t + 120);
		m->power.reset_value = t[128];
	}
	if (len >= 131 && (acpi_u16(t + 129) & 1) != 0)		/* ARM boot flags: PSCI */
		m->power.psci = (acpi_u16(t + 129) & 2) != 0 ? PSCI_HVC : PSCI_SMC;
	address = len >= 148 && acpi_u64(t + 140) != 0 ? acpi_u64(t + 140) : acpi_u32(t + 40);
	dsdt = checked(m, src, address, &n);
	if (dsdt != NULL)
		find_s5(m, dsdt, n);
}

/* SPCR [Microsoft Serial Port Console Redirection table]. */
static void
spcr(struct machine *m, const uint8_t *t, uint32_t len)
{
	struct machine_console *c = &m->console;
	uint8_t type;

	if (len < 80)
		return;
	type = t[36];
	c->base = acpi_u64(t + 44);
	c->access_bytes = t[43] == 3 ? 4 : 1;
	c->reg_shift = t[41] == 32 ? 2 : 0;
	if (type == 0 || type == 1 || type == 0x12)
		c->kind = t[40] == 1 ? CONSOLE_16550_IO : CONSOLE_16550_MMIO;
	else if (type == 3)
		c->kind = CONSOLE_PL011;
	else if (type == 0xd || type == 0xe)
		c->kind = CONSOLE_SBSA;
	else
		machine_note(m, "ACPI: SPCR console of type 0x%x is not known", type);
	if (c->base == 0)
		c->kind = CONSOLE_NONE;
	if ((t[52] & 0xfe) != 0)
		c->line = (struct machine_line){ .id = acpi_u32(t + 54), .present = true, .level = true };
	else if ((t[52] & 1) != 0)
		c->line = (struct machine_line){ .id = t[53], .present = true };
}

static void
gtdt(struct machine *m, const uint8_t *t, uint32_t len)
{
	if (len < 80)
		return;
	m->timer.phys = (struct machine_line){ .id = acpi_u32(t + 56), .present = true, .level = true };
	m->timer.virt = (struct machine_line){ .id = acpi_u32(t + 64), .present = true, .level = true };
	m->timer.hyp = (struct machine_line){ .id = acpi_u32(t + 72), .present = true, .level = true };
}

enum status
acpi_machine(struct machine *m, const struct acpi_source *src)
{
	const uint8_t *t;
	uint32_t len;

	if (find_rsdp(src) == NULL) {
		machine_note(m, "ACPI: no root pointer");
		return E_NOT_FOUND;
	}
	m->source = SOURCE_ACPI;
	t = acpi_table(m, src, "APIC", &len);
	if (t == NULL) {
		machine_note(m, "ACPI: no MADT");
		return E_NOT_FOUND;
	}
	memcpy(m->model, t + 10, 6);
	m->model[6] = ' ';
	memcpy(m->model + 7, t + 16, 8);
	for (unsigned i = 0; m->model[i] != 0; i++)
		if (m->model[i] < ' ' || m->model[i] > '~')
			m->model[i] = ' ';
	madt(m, t, len);
	if ((t = acpi_table(m, src, "MCFG", &len)) != NULL)
		mcfg(m, t, len);
	else
		machine_note(m, "ACPI: no MCFG: no PCI");
	if ((t = acpi_table(m, src, "FACP", &len)) != NULL)
		fadt(m, src, t, len);
	if ((t = acpi_table(m, src, "SPCR", &len)) != NULL)
		spcr(m, t, len);
	if ((t = acpi_table(m, src, "GTDT", &len)) != NULL)
		gtdt(m, t, len);
	if ((t = acpi_table(m, src, "HPET", &len)) != NULL && len >= 56)
		m->timer.hpet = acpi_u64(t + 44);
	return OK;
}
