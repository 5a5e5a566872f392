/*
 * Device tree to struct machine.
 * Sources: Devicetree Specification 0.4; bindings of the Arm GIC, timer, PSCI, PL011, generic PCI host.
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/fdt.h"
#include "kern/machine/machine.h"

/* i-th interrupt of a node whose parent is a GIC: type, number, flags. */
static struct machine_line
gic_line(const struct fdt *t, uint32_t node, uint32_t i)
{
	struct machine_line l = { 0 };
	uint32_t len, type, flags;
	const uint8_t *p = fdt_prop(t, node, "interrupts", &len);

	if (p == NULL || len / 12 <= i)
		return l;
	type = (uint32_t)fdt_cells(p + 12 * i, 1);
	l.id = (uint32_t)fdt_cells(p + 12 * i + 4, 1);
	flags = (uint32_t)fdt_cells(p + 12 * i + 8, 1);
	if (type > 1 || l.id > 987)
		return (struct machine_line){ 0 };
	l.id += type == 0 ? 32 : 16;
	l.present = true;
	l.level = (flags & 0xc) != 0;
	l.active_low = (flags & 0xa) != 0;
	return l;
}

static void
memory(struct machine *m, const struct fdt *t)
{
	uint64_t base, len;
	uint32_t node;

	for (node = fdt_child(t, FDT_ROOT); node != FDT_NONE; node = fdt_sibling(t, node)) {
		const char *type = fdt_string(t, node, "device_type");

		if (type == NULL || strcmp(type, "memory") != 0 || !fdt_enabled(t, node))
			continue;
		for (uint32_t i = 0; fdt_reg(t, node, i, &base, &len); i++) {
			if (len > UINT64_MAX - base || base >> 52 != 0) {
				machine_note(m, "FDT: memory at 0x%llx is absurd: ignored", (unsigned long long)base);
				continue;
			}
			machine_add_memory(m, base, len, MEM_RAM);
		}
	}
	for (uint32_t i = 0; fdt_reserve(t, i, &base, &len); i++)
		machine_add_memory(m, base, len, MEM_RESERVED);
	node = fdt_path(t, "/reserved-memory");
	if (node == FDT_NONE)
		return;
	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_sibling(t, node))
		for (uint32_t i = 0; fdt_reg(t, node, i, &base, &len); i++)
			machine_add_memory(m, base, len, MEM_RESERVED);
}

static void
processors(struct machine *m, const struct fdt *t)
{
	uint32_t node = fdt_path(t, "/cpus");

	if (node == FDT_NONE) {
		machine_note(m, "FDT: no /cpus");
		return;
	}
	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_sibling(t, node)) {
		const char *type = fdt_string(t, node, "device_type");
		uint64_t hwid, len;

		if (type == NULL || strcmp(type, "cpu") != 0 || !fdt_reg(t, node, 0, &hwid, &len))
			continue;
		if (m->cpu_count == MACHINE_CPUS_MAX) {
			m->dropped++;
			continue;
		}
		m->cpu[m->cpu_count++] = (struct machine_cpu){ .hwid = hwid, .enabled = fdt_enabled(t, node) };
	}
	node = fdt_compatible(t, FDT_NONE, "arm,psci-1.0");
	if (node == FDT_NONE)
		node = fdt_compatible(t, FDT_NONE, "arm,psci-0.2");
	if (node != FDT_NONE) {
		const char *method = fdt_string(t, node, "method");

		m->power.psci = method == NULL ? PSCI_NONE : strcmp(method, "hvc") == 0 ? PSCI_HVC :
		    strcmp(method, "smc") == 0 ? PSCI_SMC : PSCI_NONE;
	}
}

static void
gic(struct machine *m, const struct fdt *t)
{
	struct machine_irqc *q = &m->irqc;
	uint32_t node = fdt_compatible(t, FDT_NONE, "arm,gic-v3"), regions;
	uint64_t len;

	if (node == FDT_NONE) {
		if (fdt_compatible(t, FDT_NONE, "arm,cortex-a15-gic") != FDT_NONE ||
		    fdt_compatible(t, FDT_NONE, "arm,gic-400") != FDT_NONE) {
			q->kind = IRQC_GICV2;
			q->gicv2m_only = true;
		}
		return;
	}
	q->kind = IRQC_GICV3;
	if (!fdt_reg(t, node, 0, &q->gicd, &len)) {
		machine_note(m, "FDT: GICv3 without registers");
		q->kind = IRQC_NONE;
		return;
	}
	regions = fdt_u32(t, node, "#redistributor-regions", 1);
	q->gicr_stride = (uint32_t)fdt_u32(t, node, "redistributor-stride", 0);
	for (uint32_t i = 0; i < regions && q->gicr_count < MACHINE_GICR_MAX; i++) {
		struct machine_region *r = &q->gicr[q->gicr_count];

		if (!fdt_reg(t, node, 1 + i, &r->base, &r->len))
			break;
		q->gicr_count++;
	}
	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_sibling(t, node)) {
		struct machine_its *its = &q->its[q->its_count];

		if (!fdt_has_string(t, node, "compatible", "arm,gic-v3-its") || q->its_count == MACHINE_ITS_MAX)
			continue;
		if (fdt_reg(t, node, 0, &its->base, &len)) {
			its->id = fdt_u32(t, node, "phandle", 0);
			q->its_count++;
		}
	}
}

static void
timer(struct machine *m, const struct fdt *t)
{
	uint32_t node = fdt_compatible(t, FDT_NONE, "arm,armv8-timer");

	if (node == FDT_NONE) {
		machine_note(m, "FDT: no arm,armv8-timer");
		return;
	}
	m->timer.phys = gic_line(t, node, 1);
	m->timer.virt = gic_line(t, node, 2);
	m->timer.hyp = gic_line(t, node, 3);
}

static void
console(struct machine *m, const struct fdt *t)
{
	struct machine_console *c = &m->console;
	uint32_t chosen = fdt_path(t, "/chosen"), node = FDT_NONE;
	const char *path = chosen == FDT_NONE ? NULL : fdt_string(t, chosen, "stdout-path");
	uint64_t len;

	if (path != NULL) {
		char name[96];
		size_t n = 0;

		while (path[n] != 0 && path[n] != ':' && n < sizeof(name) - 1) {	/* options follow a colon */
			name[n] = path[n];
			n++;
		}
		name[n] = 0;
		if (name[0] == '/') {
			node = fdt_path(t, name);
		} else {
			uint32_t aliases = fdt_path(t, "/aliases");
			const char *real = aliases == FDT_NONE ? NULL : fdt_string(t, aliases, name);

			node = real != NULL ? fdt_path(t, real) : FDT_NONE;
		}
	}
	if (node == FDT_NONE)
		node = fdt_compatible(t, FDT_NONE, "arm,pl011");
	if (node == FDT_NONE || !fdt_reg(t, node, 0, &c->base, &len))
		return;
	if (fdt_has_string(t, node, "compatible", "arm,pl011"))
		c->kind = CONSOLE_PL011;
	else if (fdt_has_string(t, node, "compatible", "arm,sbsa-uart"))
		c->kind = CONSOLE_SBSA;
	else if (fdt_has_string(t, node, "compatible", "ns16550a") || fdt_has_string(t, node, "compatible", "ns16550"))
		c->kind = CONSOLE_16550_MMIO;
	c->reg_shift = (uint8_t)min_u64(fdt_u32(t, node, "reg-shift", 0), 4);
	c->access_bytes = fdt_u32(t, node, "reg-io-width", 1) == 4 ? 4 : 1;
	c->line = gic_line(t, node, 0);
}

static void
host_bridge(struct machine *m, const struct fdt *t, uint32_t node)
{
	struct machine_host h = { .bus_last = 255 };
	uint32_t len, parent = fdt_parent(t, node), ac = parent == FDT_NONE ? 2 : fdt_u32(t, parent, "#address-cells", 2);
	const uint8_t *p;
	uint64_t size, base;

	if (!fdt_reg(t, node, 0, &base, &size)) {
		machine_note(m, "FDT: PCI host %s without registers: ignored", fdt_name(t, node));
		return;
	}
	p = fdt_prop(t, node, "bus-range", &len);
	if (p != NULL && len >= 8) {
		h.bus_first = (uint8_t)fdt_cells(p, 1);
		h.bus_last = (uint8_t)fdt_cells(p + 4, 1);
	}
	if (h.bus_last < h.bus_first || size < MIB) {
		machine_note(m, "FDT: PCI host %s has an absurd bus range: ignored", fdt_name(t, node));
		return;
	}
	h.bus_last = (uint8_t)min_u64(h.bus_last, h.bus_first + size / MIB - 1);
	/* reg begins with the first bus of the range; ours is that of bus 0. */
	h.ecam = base - (uint64_t)h.bus_first * MIB;
	h.segment = (uint16_t)fdt_u32(t, node, "linux,pci-domain", 0);
	h.dma_coherent = fdt_prop(t, node, "dma-coherent", &len) != NULL;
	p = fdt_prop(t, node, "ranges", &len);
	for (uint32_t at = 0; p != NULL && ac <= 2 && at + 4 * (5 + ac) <= len && h.window_count < MACHINE_WINDOW_MAX;
	    at += 4 * (5 + ac)) {
		uint32_t space = (uint32_t)fdt_cells(p + at, 1);
		struct machine_window w = {
			.pci_base = fdt_cells(p + at + 4, 2), .cpu_base = fdt_cells(p + at + 12, ac),
			.len = fdt_cells(p + at + 12 + 4 * ac, 2), .prefetchable = (space & 0x40000000) != 0,
		};

		w.kind = (space >> 24 & 3) == 1 ? WINDOW_IO : (space >> 24 & 3) == 2 ? WINDOW_MEM32 : WINDOW_MEM64;
		if ((space >> 24 & 3) != 0 && w.len != 0)
			h.window[h.window_count++] = w;
	}
	if (m->host_count == MACHINE_HOST_MAX)
		m->dropped++;
	else
		m->host[m->host_count++] = h;
}

static void
chosen(struct machine *m, const struct fdt *t)
{
	uint32_t node = fdt_path(t, "/chosen"), len, end_len;
	const uint8_t *p, *e;
	const char *args;

	if (node == FDT_NONE)
		return;
	args = fdt_string(t, node, "bootargs");
	if (args != NULL)
		str_copy(m->cmdline, args, sizeof(m->cmdline));
	p = fdt_prop(t, node, "linux,initrd-start", &len);
	e = fdt_prop(t, node, "linux,initrd-end", &end_len);
	if (p != NULL && e != NULL && (len == 4 || len == 8) && (end_len == 4 || end_len == 8)) {
		uint64_t base = fdt_cells(p, len / 4), end = fdt_cells(e, end_len / 4);

		if (end > base && end - base <= GIB)
			m->archive = (struct machine_region){ base, end - base };
		else
			machine_note(m, "FDT: boot archive of absurd size: ignored");
	}
	p = fdt_prop(t, node, "rng-seed", &len);
	if (p != NULL && len != 0) {
		m->seed_known = true;
		for (uint32_t i = 0; i < len; i++)
			m->seed[i % sizeof(m->seed)] ^= p[i];
	}
}

enum status
fdt_machine(struct machine *m, const void *blob, size_t max_len)
{
	struct fdt t;
	enum status s = fdt_open(&t, blob, max_len);
	const char *model;

	if (s != OK) {
		machine_note(m, "FDT: not a device tree, or malformed");
		return s;
	}
	m->source = SOURCE_FDT;
	model = fdt_string(&t, FDT_ROOT, "model");
	if (model == NULL)
		model = fdt_string(&t, FDT_ROOT, "compatible");
	if (model != NULL)
		str_copy(m->model, model, sizeof(m->model));
	memory(m, &t);
	processors(m, &t);
	gic(m, &t);
	timer(m, &t);
	console(m, &t);
	for (uint32_t n = fdt_compatible(&t, FDT_NONE, "pci-host-ecam-generic"); n != FDT_NONE;
	    n = fdt_compatible(&t, n, "pci-host-ecam-generic"))
		if (fdt_enabled(&t, n))
			host_bridge(m, &t, n);
	chosen(m, &t);
	return OK;
}
