/*
 * Interrupt specifiers.
 *
 * A node's interrupts are in its "interrupts" property, all of one controller: the nearest
 * "interrupt-parent" upwards, or the nearest controller above.  Or each names its controller, in
 * "interrupts-extended", which wins.  How many cells one interrupt takes is the controller's to
 * say; what they mean, its binding.
 *
 * Sources: Devicetree Specification 0.4, 2.4; binding arm,gic-v3 (and arm,gic): type, number,
 * flags.
 */
#include "kern/machine/fdt_irq.h"

static const char *const gics[] = { "arm,gic-v3", "arm,gic-400", "arm,cortex-a15-gic",
	"arm,cortex-a9-gic", "arm,cortex-a7-gic" };

static bool
is_gic(const struct fdt *t, uint32_t node)
{
	for (unsigned i = 0; i < ARRAY_SIZE(gics); i++)
		if (fdt_has_string(t, node, "compatible", gics[i]))
			return true;
	return false;
}

static uint32_t
controller_of(const struct fdt *t, uint32_t node)
{
	for (uint32_t n = node; n != FDT_NONE; n = fdt_parent(t, n)) {
		if (fdt_has(t, n, "interrupt-parent"))
			return fdt_phandle(t, fdt_u32(t, n, "interrupt-parent", 0));
		if (n != node && fdt_has(t, n, "#interrupt-cells"))
			return n;
	}
	return FDT_NONE;
}

/* A GIC's specifier: 0 shared (from 32), 1 private (from 16); number; 1 rising, 2 falling, 4 high,
 * 8 low. */
static struct machine_line
gic_line(const uint8_t *cells, uint32_t n)
{
	struct machine_line l = { 0 };
	uint32_t type, number, flags;

	if (n < 3)
		return l;
	type = (uint32_t)fdt_cells(cells, 1);
	number = (uint32_t)fdt_cells(cells + 4, 1);
	flags = (uint32_t)fdt_cells(cells + 8, 1);
	if (type > 1 || number > (type == 0 ? 987 : 15))
		return l;
	l.id = number + (type == 0 ? 32 : 16);
	l.present = true;
	l.level = (flags & 0xc) != 0;
	l.active_low = (flags & 0xa) != 0;
	return l;
}

static struct machine_line
extended(const struct fdt *t, const uint8_t *p, uint32_t len, uint32_t i)
{
	for (uint32_t at = 0; len - at >= 4; ) {
		uint32_t gic = fdt_phandle(t, (uint32_t)fdt_cells(p + at, 1));
		uint32_t n =
		    gic == FDT_NONE ? UINT32_MAX : fdt_u32(t, gic, "#interrupt-cells", UINT32_MAX);

		if (n > (len - at - 4) / 4)
			break;
		if (i-- == 0)
			return is_gic(t, gic) ? gic_line(p + at + 4, n) :
						(struct machine_line){ 0 };
		at += 4 + 4 * n;
	}
	return (struct machine_line){ 0 };
}

struct machine_line
fdt_line(const struct fdt *t, uint32_t node, uint32_t i)
{
	struct machine_line none = { 0 };
	uint32_t len, gic, n;
	const uint8_t *p = fdt_prop(t, node, "interrupts-extended", &len);

	if (p != NULL)
		return extended(t, p, len, i);
	p = fdt_prop(t, node, "interrupts", &len);
	if (p == NULL)
		return none;
	gic = controller_of(t, node);
	if (gic == FDT_NONE || !is_gic(t, gic))
		return none;
	n = fdt_u32(t, gic, "#interrupt-cells", 0);
	if (n < 3 || n > 4 || i >= len / (4 * n))
		return none;
	return gic_line(p + (size_t)i * 4 * n, n);
}

struct machine_line
fdt_line_named(const struct fdt *t, uint32_t node, const char *name)
{
	uint32_t i = fdt_string_index(t, node, "interrupt-names", name);

	return i == FDT_NONE ? (struct machine_line){ 0 } : fdt_line(t, node, i);
}
