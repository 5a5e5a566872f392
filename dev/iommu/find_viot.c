/*
 * ACPI VIOT to the machine: virtio units, and who is behind them.
 *
 * The table is a list of nodes.  A unit is a PCI function (or registers in memory, which are not
 * supported); a PCI range takes runs of requesters to a unit's endpoint ids.  Requesters that no
 * range names are behind no unit, unless some node could not be read.
 *
 * A range may include the unit itself (VIO-30): its own requests are not translated, so it is left
 * out.  What leads to a unit that is refused, or to nothing, stays in the list as a dead end.
 *
 * Source: ACPI 6.5, VIOT (VIO-30, VIO-31).
 */
#include "kern/base/bits.h"
#include "kern/machine/acpi.h"
#include "kern/machine/find.h"
#include "kern/machine/idmap.h"

enum : uint32_t {
	HEADER = 48, COUNT = 36, OFFSET = 38, NODE_MIN = 4,
	NODE_PCI_RANGE = 1, NODE_MMIO = 2, NODE_UNIT_PCI = 3, NODE_UNIT_MMIO = 4,
	PCI_RANGE_MIN = 24, UNIT_PCI_MIN = 16, UNIT_MMIO_MIN = 16,
	SEGMENTS_MAX = 8,
};

/* Units by the place of their nodes. */
struct units { uint32_t at[MACHINE_IOMMU_MAX], index[MACHINE_IOMMU_MAX], count; };

static void
unit(struct machine *m, struct units *units, const uint8_t *t, uint32_t at)
{
	struct machine_iommu u = { .kind = IOMMU_VIRTIO,
		.segment = acpi_u16(t + at + 4),
		.requester = acpi_u16(t + at + 6) };

	if (t[at] == NODE_UNIT_MMIO) {
		machine_note(m, "VIOT: unit at 0x%x is no PCI function: refused", at);
		u = (struct machine_iommu){ .kind = IOMMU_NONE };
	}
	for (uint32_t i = 0; i < m->iommu_count && u.kind != IOMMU_NONE; i++)
		if (m->iommu[i].kind == IOMMU_VIRTIO && m->iommu[i].segment == u.segment &&
		    m->iommu[i].requester == u.requester) {
			machine_note(
			    m, "VIOT: unit at 0x%x is another one's function: refused", at);
			u.kind = IOMMU_NONE;
		}
	if (m->iommu_count == MACHINE_IOMMU_MAX || units->count == ARRAY_SIZE(units->at)) {
		m->dropped++;
		return;
	}
	units->at[units->count] = at;
	units->index[units->count++] = m->iommu_count;
	m->iommu[m->iommu_count++] = u;
}

static uint32_t
unit_at(const struct units *units, uint32_t at)
{
	for (uint32_t i = 0; i < units->count; i++)
		if (units->at[i] == at)
			return units->index[i];
	return MACHINE_IOMMU_LOST;
}

/* One run of one segment, but for the unit itself. */
static void
add_run(struct machine *m, uint32_t target, uint16_t segment, uint32_t first, uint32_t last,
    uint32_t out)
{
	const struct machine_iommu *u = target < m->iommu_count ? &m->iommu[target] : NULL;
	struct machine_idmap e = { .segment = segment,
		.rid_base = first,
		.count = last - first + 1,
		.rid_mask = 0xffff,
		.target = target,
		.out_base = out };

	if (u == NULL || u->kind != IOMMU_VIRTIO || u->segment != segment || u->requester < first ||
	    u->requester > last) {
		machine_add_idmap(m, false, &e);
		return;
	}
	e.count = u->requester - first;
	machine_add_idmap(m, false, &e);
	e.rid_base = u->requester + 1u;
	e.count = last - u->requester;
	e.out_base = out + (u->requester - first) + 1;
	machine_add_idmap(m, false, &e);
}

static void
range(struct machine *m, const struct units *units, const uint8_t *t, uint32_t at)
{
	const uint8_t *e = t + at;
	uint32_t out = acpi_u32(e + 4), target = unit_at(units, acpi_u16(e + 16));
	uint16_t segment = acpi_u16(e + 8), last_segment = acpi_u16(e + 10),
		 first = acpi_u16(e + 12), last = acpi_u16(e + 14);

	if (last < first || last_segment < segment || last_segment - segment >= SEGMENTS_MAX ||
	    out > UINT32_MAX - (uint32_t)((last_segment - segment) << 16) -
		    (uint32_t)(last - first)) {
		machine_note(m,
		    "VIOT: range at 0x%x is absurd: who is in it is behind nothing that is known",
		    at);
		first = 0;
		last = 0xffff;
		last_segment = segment;
		target = MACHINE_IOMMU_LOST;
		out = 0;
	} else if (target == MACHINE_IOMMU_LOST) {
		machine_note(m, "VIOT: range at 0x%x leads to no unit", at);
	}
	for (uint32_t s = segment; s <= last_segment; s++)
		add_run(m, target, (uint16_t)s, first, last, out + ((s - segment) << 16));
}

static uint32_t
least(uint8_t type)
{
	switch (type) {
	case NODE_PCI_RANGE: return PCI_RANGE_MIN;
	case NODE_UNIT_PCI: return UNIT_PCI_MIN;
	case NODE_UNIT_MMIO: return UNIT_MMIO_MIN;
	}
	return NODE_MIN;
}

/* Length of the node; 0: the walk ends here. */
static uint32_t
node_at(const uint8_t *t, uint32_t at, uint32_t len)
{
	uint32_t n;

	if (at > len || len - at < NODE_MIN)
		return 0;
	n = acpi_u16(t + at + 2);
	return n < least(t[at]) || n > len - at ? 0 : n;
}

void
find_viot(struct machine *m, const struct acpi_source *src)
{
	struct units units = { .count = 0 };
	uint32_t len, at, n, i, count, start;
	const uint8_t *t = acpi_table(m, src, "VIOT", &len);

	if (t == NULL)
		return;
	if (len < HEADER) {
		machine_note(m, "VIOT: table of %u bytes is too short: ignored", len);
		m->scopes_lost = true;
		return;
	}
	count = acpi_u16(t + COUNT);
	start = acpi_u16(t + OFFSET);
	/* Ranges may come before their units. */
	for (i = 0, at = start; i < count && start >= HEADER && (n = node_at(t, at, len)) != 0;
	    i++, at += n)
		if (t[at] == NODE_UNIT_PCI || t[at] == NODE_UNIT_MMIO)
			unit(m, &units, t, at);
	for (i = 0, at = start; i < count && start >= HEADER && (n = node_at(t, at, len)) != 0;
	    i++, at += n)
		if (t[at] == NODE_PCI_RANGE)
			range(m, &units, t, at);
	if (i != count) {
		machine_note(
		    m, "VIOT: node %u of %u makes no sense: the rest is ignored", i, count);
		m->scopes_lost = true;
	}
}
