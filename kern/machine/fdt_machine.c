/*
 * Device tree to struct machine.
 *
 * Nodes are found by what they are compatible with, never by name or place, but for the ones that
 * the specification names (/cpus, /chosen, /aliases, /reserved-memory).  Whatever is absurd is left
 * out with a note that names the node and the rule; a reservation that is absurd makes nothing else
 * wrong, so it is only noted.
 *
 * Not here: IOMMUs and id maps (dev/iommu/find_smmu.c), what the kernel's own image and the boot
 * archive take of memory (the architecture adds them).
 *
 * Sources: Devicetree Specification 0.4; bindings of the Arm GIC, timer, PSCI, PL011, 16550,
 * generic PCI host, chosen.
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/fdt.h"
#include "kern/machine/fdt_irq.h"
#include "kern/machine/machine.h"

enum : uint64_t {
	PHYSICAL_END = 1ull << 52,	/* architectural limit of both machines */
	MPIDR_AFFINITY = BITS(39, 32) | BITS(23, 0),
};

static bool
is_physical(uint64_t base, uint64_t len)
{
	return base < PHYSICAL_END && len <= PHYSICAL_END - base;
}

/* ---- Memory ---- */

/* Without the RAM outside: left by a kernel that crashed, for the one that writes its memory down.
 */
static void
usable_range(struct machine *m, const struct fdt *t)
{
	uint32_t chosen = fdt_path(t, "/chosen"), len, ac, sc;
	const uint8_t *p =
	    chosen == FDT_NONE ? NULL : fdt_prop(t, chosen, "linux,usable-memory-range", &len);
	uint64_t base, size;

	if (p == NULL)
		return;
	ac = fdt_u32(t, FDT_ROOT, "#address-cells", 2);
	sc = fdt_u32(t, FDT_ROOT, "#size-cells", 1);
	if (ac < 1 || ac > 2 || sc < 1 || sc > 2 || len < 4 * (ac + sc))
		return;
	base = fdt_cells(p, ac);
	size = fdt_cells(p + 4 * ac, sc);
	if (size == 0 || !is_physical(base, size)) {
		machine_note(m, "FDT: /chosen: linux,usable-memory-range is absurd: ignored");
		return;
	}
	machine_add_memory(m, 0, base, MEM_RESERVED);
	machine_add_memory(m, base + size, PHYSICAL_END - (base + size), MEM_RESERVED);
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
			if (!is_physical(base, len)) {
				machine_note(m,
				    "FDT: %.32s: entry %u is not physical memory: ignored",
				    fdt_name(t, node), i);
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
	/* Those without reg are wishes for memory anywhere. */
	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_sibling(t, node))
		for (uint32_t i = 0; fdt_enabled(t, node) && fdt_reg(t, node, i, &base, &len); i++)
			machine_add_memory(m, base, len, MEM_RESERVED);
}

/* ---- Processors ---- */

static void
processor(struct machine *m, const struct fdt *t, uint32_t node)
{
	struct machine_cpu c = { .enabled = fdt_enabled(t, node) };
	const char *method = fdt_string(t, node, "enable-method");
	uint64_t len;

	if (!fdt_reg(t, node, 0, &c.hwid, &len) || (c.hwid & ~MPIDR_AFFINITY) != 0) {
		machine_note(m, "FDT: %.32s has no usable reg: ignored", fdt_name(t, node));
		return;
	}
	for (uint32_t i = 0; i < m->cpu_count; i++) {
		if (m->cpu[i].hwid == c.hwid) {
			machine_note(
			    m, "FDT: %.32s: its id is another's: ignored", fdt_name(t, node));
			return;
		}
	}
	if (method != NULL && strcmp(method, "psci") != 0) {
		machine_note(m, "FDT: %.32s starts by \"%.24s\", not by PSCI: not used",
		    fdt_name(t, node), method);
		c.enabled = false;
	}
	if (m->cpu_count == MACHINE_CPUS_MAX)
		m->dropped++;
	else
		m->cpu[m->cpu_count++] = c;
}

static void
processors(struct machine *m, const struct fdt *t)
{
	uint32_t node = fdt_path(t, "/cpus");

	if (node == FDT_NONE)
		machine_note(m, "FDT: no /cpus");
	else
		node = fdt_child(t, node);
	for (; node != FDT_NONE; node = fdt_sibling(t, node)) {
		const char *type = fdt_string(t, node, "device_type");

		if (type != NULL && strcmp(type, "cpu") == 0)
			processor(m, t, node);
	}
	/* Version 0.1 has function numbers of its own. */
	node = fdt_compatible(t, FDT_NONE, "arm,psci-1.0");
	if (node == FDT_NONE)
		node = fdt_compatible(t, FDT_NONE, "arm,psci-0.2");
	if (node != FDT_NONE) {
		const char *method = fdt_string(t, node, "method");

		if (method != NULL && strcmp(method, "hvc") == 0)
			m->power.psci = PSCI_HVC;
		else if (method != NULL && strcmp(method, "smc") == 0)
			m->power.psci = PSCI_SMC;
		else
			machine_note(m, "FDT: PSCI's method is neither hvc nor smc: not used");
	} else if (fdt_compatible(t, FDT_NONE, "arm,psci") != FDT_NONE) {
		machine_note(m, "FDT: PSCI 0.1 is not supported: no further CPUs, no power-off");
	}
}

/* ---- Interrupts and time ---- */

static void
gicv3(struct machine *m, const struct fdt *t, uint32_t node)
{
	struct machine_irqc *q = &m->irqc;
	uint32_t regions = fdt_u32(t, node, "#redistributor-regions", 1);
	uint64_t len, stride = 0;

	/* Frames of 64 KiB [GICv3, IHI 0069, chapter 12]. */
	if (!fdt_reg_cpu(t, node, 0, &q->gicd, &len) || !is_aligned(q->gicd, 64 * KIB) ||
	    machine_in_memory(m, q->gicd, len)) {
		machine_note(m, "FDT: GICv3: the distributor has no usable registers");
		return;
	}
	q->kind = IRQC_GICV3;
	(void)fdt_u64(t, node, "redistributor-stride", &stride);
	if (stride > UINT32_MAX || !is_aligned(stride, 64 * KIB)) {
		machine_note(m, "FDT: GICv3: redistributor-stride is absurd: ignored");
		stride = 0;
	}
	q->gicr_stride = (uint32_t)stride;
	for (uint32_t i = 0; i < regions; i++) {
		struct machine_region r;

		if (!fdt_reg_cpu(t, node, 1 + i, &r.base, &r.len))
			break;
		if (r.len < 128 * KIB || !is_aligned(r.base, 64 * KIB) ||
		    machine_in_memory(m, r.base, r.len))
			machine_note(
			    m, "FDT: GICv3: redistributor region %u is absurd: ignored", i);
		else if (q->gicr_count == MACHINE_GICR_MAX)
			m->dropped++;
		else
			q->gicr[q->gicr_count++] = r;
	}
	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_sibling(t, node)) {
		struct machine_its its = { .id = fdt_u32(t, node, "phandle", 0) };

		if (!fdt_has_string(t, node, "compatible", "arm,gic-v3-its") ||
		    !fdt_enabled(t, node))
			continue;
		if (!fdt_reg_cpu(t, node, 0, &its.base, &len) || len < 128 * KIB ||
		    !is_aligned(its.base, 64 * KIB) ||
		    machine_in_memory(m, its.base, len))
			machine_note(
			    m, "FDT: %.32s has no usable registers: refused", fdt_name(t, node));
		else if (q->its_count == MACHINE_ITS_MAX)
			m->dropped++;
		else
			q->its[q->its_count++] = its;
	}
}

static void
gicv2(struct machine *m, const struct fdt *t, uint32_t node)
{
	uint64_t len;

	m->irqc.kind = IRQC_GICV2;
	(void)fdt_reg_cpu(t, node, 0, &m->irqc.gicd, &len);
	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_sibling(t, node))
		if (fdt_has_string(t, node, "compatible", "arm,gic-v2m-frame"))
			m->irqc.gicv2m_only = true;
}

static void
gic(struct machine *m, const struct fdt *t)
{
	static const char *const v2[] = { "arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a9-gic",
		"arm,cortex-a7-gic" };
	uint32_t node = fdt_compatible(t, FDT_NONE, "arm,gic-v3");

	if (node != FDT_NONE) {
		gicv3(m, t, node);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(v2); i++) {
		node = fdt_compatible(t, FDT_NONE, v2[i]);
		if (node != FDT_NONE) {
			gicv2(m, t, node);
			return;
		}
	}
	machine_note(m, "FDT: no Arm GIC");
}

static void
timer(struct machine *m, const struct fdt *t)
{
	uint32_t node = fdt_compatible(t, FDT_NONE, "arm,armv8-timer");

	if (node == FDT_NONE) {
		machine_note(m, "FDT: no arm,armv8-timer");
		return;
	}
	m->timer.frequency_hz = fdt_u32(t, node, "clock-frequency", 0);
	if (fdt_has(t, node, "interrupt-names")) {
		m->timer.phys = fdt_line_named(t, node, "phys");
		m->timer.virt = fdt_line_named(t, node, "virt");
		m->timer.hyp = fdt_line_named(t, node, "hyp-phys");
	} else {	/* secure physical, physical, virtual, hypervisor */
		m->timer.phys = fdt_line(t, node, 1);
		m->timer.virt = fdt_line(t, node, 2);
		m->timer.hyp = fdt_line(t, node, 3);
	}
	if (!m->timer.virt.present && !m->timer.phys.present)
		machine_note(m, "FDT: the timer has no usable interrupt");
}

/* ---- Console ---- */

static enum machine_console_kind
console_kind(const struct fdt *t, uint32_t node)
{
	static const struct { const char *compatible; enum machine_console_kind kind;
	} kinds[] = {
		{ "arm,pl011", CONSOLE_PL011 },
		{ "arm,sbsa-uart", CONSOLE_SBSA },
		{ "ns16550a", CONSOLE_16550_MMIO },
		{ "ns16550", CONSOLE_16550_MMIO },
		{ "snps,dw-apb-uart", CONSOLE_16550_MMIO },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (fdt_has_string(t, node, "compatible", kinds[i].compatible))
			return kinds[i].kind;
	return CONSOLE_NONE;
}

/* Its input clock, when that is one of fixed rate: a PL011's first clock is the one that counts. */
static uint32_t
clock_rate(const struct fdt *t, uint32_t node)
{
	uint32_t clock = fdt_phandle(t, fdt_u32(t, node, "clocks", 0));

	if (fdt_has(t, node, "clock-frequency"))
		return fdt_u32(t, node, "clock-frequency", 0);
	if (clock == FDT_NONE || !fdt_has_string(t, clock, "compatible", "fixed-clock"))
		return 0;
	return fdt_u32(t, clock, "clock-frequency", 0);
}

/* What /chosen names, with options ("serial0:115200n8") that begin with the rate. */
static uint32_t
stdout_node(const struct fdt *t, uint32_t *baud)
{
	uint32_t chosen = fdt_path(t, "/chosen");
	const char *path = chosen == FDT_NONE ? NULL : fdt_string(t, chosen, "stdout-path");
	char name[128];
	size_t n = 0;

	if (path == NULL)
		return FDT_NONE;
	for (; path[n] != 0 && path[n] != ':'; n++) {
		if (n == sizeof(name) - 1)
			return FDT_NONE;
		name[n] = path[n];
	}
	name[n] = 0;
	for (path += n + (path[n] == ':'); *path >= '0' && *path <= '9' && *baud < 100'000'000;
	    path++)
		*baud = *baud * 10 + (uint32_t)(*path - '0');
	return fdt_path(t, name);
}

/* Boards whose console is known even when the tree does not name it, or wrongly: somebody must be
 * told. */
static const struct { const char *compatible; struct machine_console console; } consoles[] = {
	{ "linux,dummy-virt", { .kind = CONSOLE_PL011, .base = 0x0900'0000, .access_bytes = 4,
	    .line = { .id = 33, .present = true, .level = true } } },	/* QEMU's virt */
};

static void
usual_console(struct machine *m, const struct fdt *t)
{
	for (unsigned i = 0; i < ARRAY_SIZE(consoles); i++) {
		if (!fdt_has_string(t, FDT_ROOT, "compatible", consoles[i].compatible) ||
		    machine_in_memory(m, consoles[i].console.base, PAGE_SIZE))
			continue;
		m->console = consoles[i].console;
		machine_note(
		    m, "FDT: console: using the usual place on %.32s", consoles[i].compatible);
		return;
	}
}

static void
console(struct machine *m, const struct fdt *t)
{
	struct machine_console c = { 0 };
	uint32_t node = stdout_node(t, &c.baud), width;
	uint64_t len;

	if (node == FDT_NONE || console_kind(t, node) == CONSOLE_NONE) {
		c.baud = 0;
		for (node = fdt_compatible(t, FDT_NONE, "arm,pl011");
		    node != FDT_NONE && !fdt_enabled(t, node);)
			node = fdt_compatible(t, node, "arm,pl011");
	}
	if (node == FDT_NONE) {
		machine_note(m, "FDT: no console that is known");
		usual_console(m, t);
		return;
	}
	c.kind = console_kind(t, node);
	width = fdt_u32(t, node, "reg-io-width", c.kind == CONSOLE_16550_MMIO ? 1 : 4);
	c.access_bytes = width == 1 ? 1 : 4;
	c.reg_shift = (uint8_t)min_u64(fdt_u32(t, node, "reg-shift", 0), 4);
	if (!fdt_reg_cpu(t, node, 0, &c.base, &len) || machine_in_memory(m, c.base, len) ||
	    !machine_console_fits(m, &c)) {
		machine_note(m, "FDT: console %.32s has no usable registers", fdt_name(t, node));
		usual_console(m, t);
		return;
	}
	c.clock_hz = clock_rate(t, node);
	if (c.baud == 0)
		c.baud = fdt_u32(t, node, "current-speed", 0);
	c.line = fdt_line(t, node, 0);
	m->console = c;
}

static void
real_time_clock(struct machine *m, const struct fdt *t)
{
	uint32_t node;
	uint64_t base, len;

	for (node = fdt_compatible(t, FDT_NONE, "arm,pl031");
	    node != FDT_NONE && !fdt_enabled(t, node);)
		node = fdt_compatible(t, node, "arm,pl031");
	if (node == FDT_NONE)
		return;
	if (!fdt_reg_cpu(t, node, 0, &base, &len) || base == 0 || len < 32 ||
	    machine_in_memory(m, base, len))
		machine_note(
		    m, "FDT: real-time clock %.32s has no usable registers", fdt_name(t, node));
	else
		m->rtc = (struct machine_rtc){ .kind = RTC_PL031, .base = base };
}

/* ---- PCI ---- */

static void
host_windows(struct machine *m, const struct fdt *t, uint32_t node, struct machine_host *h)
{
	uint32_t bus = fdt_parent(t, node), ac = fdt_u32(t, bus, "#address-cells", 2),
		 bytes = 4 * (3 + ac + 2), len;
	const uint8_t *p = fdt_prop(t, node, "ranges", &len);

	for (uint32_t at = 0; p != NULL && len - at >= bytes; at += bytes) {
		uint32_t space = (uint32_t)fdt_cells(p + at, 1) >> 24 & 3;
		struct machine_window w = {
			.pci_base = fdt_cells(p + at + 4, 2),
			.cpu_base = fdt_cells(p + at + 12, ac),
			.len = fdt_cells(p + at + 12 + 4 * ac, 2),
			.prefetchable = (p[at] & 0x40) != 0,
		};

		w.kind = space == 1 ? WINDOW_IO : space == 2 ? WINDOW_MEM32 : WINDOW_MEM64;
		if (space == 0 || w.len == 0)
			continue;
		if (w.len > UINT64_MAX - w.pci_base ||
		    (w.kind != WINDOW_MEM64 && w.pci_base + w.len > 4 * GIB) ||
		    !fdt_translate(t, bus, &w.cpu_base, w.len) || !is_physical(w.cpu_base, w.len) ||
		    machine_in_memory(m, w.cpu_base, w.len)) {
			machine_note(m,
			    "FDT: %.32s: window at offset 0x%x of ranges is absurd: ignored",
			    fdt_name(t, node), at);
			continue;
		}
		if (h->window_count == MACHINE_WINDOW_MAX)
			m->dropped++;
		else
			h->window[h->window_count++] = w;
	}
}

/* The highest address that devices can emit, when it is limited. */
static uint64_t
host_dma_last(const struct fdt *t, uint32_t node)
{
	uint32_t ac = fdt_u32(t, fdt_parent(t, node), "#address-cells", 2),
		 bytes = 4 * (3 + ac + 2), len;
	const uint8_t *p = fdt_prop(t, node, "dma-ranges", &len);
	uint64_t last = 0;

	for (uint32_t at = 0; p != NULL && len - at >= bytes; at += bytes) {
		uint64_t base = fdt_cells(p + at + 4, 2), size = fdt_cells(p + at + 12 + 4 * ac, 2);

		if (size == 0)
			continue;
		last = max_u64(last, size - 1 > UINT64_MAX - base ? UINT64_MAX : base + size - 1);
	}
	return last;
}

static bool
segment_used(const struct machine *m, uint32_t segment)
{
	for (uint32_t i = 0; i < m->host_count; i++)
		if (m->host[i].segment == segment)
			return true;
	return false;
}

static void
host_bridge(struct machine *m, const struct fdt *t, uint32_t node, bool preserve)
{
	struct machine_host h = { .bus_last = 255, .preserve = preserve, .node = node };
	const char *name = fdt_name(t, node);
	uint32_t len, bus = fdt_parent(t, node), ac, segment;
	const uint8_t *p;
	uint64_t size, base;

	if (bus == FDT_NONE || (ac = fdt_u32(t, bus, "#address-cells", 2)) < 1 || ac > 2 ||
	    fdt_u32(t, node, "#address-cells", 2) != 3 || fdt_u32(t, node, "#size-cells", 1) != 2) {
		machine_note(m, "FDT: PCI host %.32s: wrong numbers of cells: ignored", name);
		return;
	}
	if (!fdt_reg_cpu(t, node, 0, &base, &size) || !is_aligned(base, MIB) || size < MIB ||
	    !is_physical(base, size) || machine_in_memory(m, base, size)) {
		machine_note(m, "FDT: PCI host %.32s: no usable registers: ignored", name);
		return;
	}
	p = fdt_prop(t, node, "bus-range", &len);
	if (p != NULL && len >= 8) {
		uint64_t first = fdt_cells(p, 1), last = fdt_cells(p + 4, 1);

		if (last < first || last > 255) {
			machine_note(m, "FDT: PCI host %.32s: absurd bus-range: ignored", name);
			return;
		}
		h.bus_first = (uint8_t)first;
		h.bus_last = (uint8_t)last;
	}
	h.bus_last = (uint8_t)min_u64(h.bus_last, h.bus_first + size / MIB - 1);
	/* reg begins with the first bus of the range; ours is that of bus 0 (PCI-40). */
	h.ecam = base - (uint64_t)h.bus_first * MIB;
	segment = fdt_u32(t, node, "linux,pci-domain", UINT32_MAX);
	if (segment == UINT32_MAX)
		for (segment = 0; segment_used(m, segment); )
			segment++;
	if (segment > UINT16_MAX || segment_used(m, segment)) {
		machine_note(m, "FDT: PCI host %.32s: segment %u is absurd or taken: ignored", name,
		    segment);
		return;
	}
	h.segment = (uint16_t)segment;
	h.dma_coherent = fdt_has(t, node, "dma-coherent");
	h.dma_last = host_dma_last(t, node);
	host_windows(m, t, node, &h);
	if (m->host_count == MACHINE_HOST_MAX)
		m->dropped++;
	else
		m->host[m->host_count++] = h;
}

static void
host_bridges(struct machine *m, const struct fdt *t)
{
	uint32_t chosen = fdt_path(t, "/chosen");
	bool preserve = chosen != FDT_NONE && fdt_u32(t, chosen, "linux,pci-probe-only", 0) != 0;

	for (uint32_t n = fdt_compatible(t, FDT_NONE, "pci-host-ecam-generic"); n != FDT_NONE;
	    n = fdt_compatible(t, n, "pci-host-ecam-generic"))
		if (fdt_enabled(t, n))
			host_bridge(
			    m, t, n, preserve || fdt_u32(t, n, "linux,pci-probe-only", 0) != 0);
}

/* ---- What the loader says ---- */

static void
stir(struct machine *m, const struct fdt *t, uint32_t node, const char *prop)
{
	uint32_t len;
	const uint8_t *p = fdt_prop(t, node, prop, &len);

	if (p == NULL || len == 0)
		return;
	m->seed_known = true;
	for (uint32_t i = 0; i < len; i++)
		m->seed[i % sizeof(m->seed)] ^= p[i];
}

static void
chosen(struct machine *m, const struct fdt *t)
{
	uint32_t node = fdt_path(t, "/chosen");
	const char *args;
	uint64_t base, end;

	if (node == FDT_NONE) {
		machine_note(m, "FDT: no /chosen");
		return;
	}
	args = fdt_string(t, node, "bootargs");
	if (args != NULL && str_copy(m->cmdline, args, sizeof(m->cmdline)) < strlen(args))
		machine_note(m, "FDT: the command line is longer than %u bytes: cut",
		    MACHINE_CMDLINE_MAX - 1);
	if (fdt_u64(t, node, "linux,initrd-start", &base) &&
	    fdt_u64(t, node, "linux,initrd-end", &end))
		machine_set_archive(m, base, end > base ? end - base : 0);
	stir(m, t, node, "rng-seed");
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
	for (char *c = m->model; *c != 0; c++)
		if (*c < ' ' || *c > '~')
			*c = ' ';
	/* Memory first: nobody's registers may lie in it. */
	memory(m, &t);
	usable_range(m, &t);
	processors(m, &t);
	gic(m, &t);
	timer(m, &t);
	console(m, &t);
	real_time_clock(m, &t);
	host_bridges(m, &t);
	chosen(m, &t);
	return OK;
}
