/*
 * SMMUv3 and virtio units, the requester maps to them, and the maps to ITSs, from a device tree.
 *
 * A host bridge's iommu-map takes its requesters to a unit's stream ids, its msi-map to an ITS's
 * device ids.  An entry that leads to something unknown stays in the list, as a dead end: it may
 * claim what a later one claims too.  Who is behind a cut one is not known (machine.scopes_lost).
 *
 * A virtio unit is a PCI function, below the host bridge in the tree; its own requests are not
 * translated, and its id is not in the map.
 *
 * Sources: bindings arm,smmu-v3, virtio,pci-iommu, pci-iommu (iommu-map), pci-msi (msi-map)
 * (SMMU-115..117).
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/fdt.h"
#include "kern/machine/fdt_irq.h"
#include "kern/machine/find.h"
#include "kern/machine/idmap.h"

/* The index of the unit, or of the ITS, whose node this is; an ITS by its registers. */
static uint32_t
index_of(const struct machine *m, const struct fdt *t, uint32_t node, bool msi)
{
	uint64_t base, len;

	for (uint32_t i = 0; !msi && i < m->iommu_count; i++)
		if (node != FDT_ROOT && m->iommu[i].node == node)
			return i;
	if (!msi || !fdt_reg_cpu(t, node, 0, &base, &len))
		return MACHINE_IOMMU_LOST;
	for (uint32_t i = 0; i < m->irqc.its_count; i++)
		if (m->irqc.its[i].base == base)
			return i;
	return MACHINE_IOMMU_LOST;
}

static void
cut(struct machine *m, const char *prop, uint32_t at, bool msi)
{
	machine_note(m, "FDT: %s: entry at %u is cut off: the rest is ignored", prop, at);
	m->scopes_lost = m->scopes_lost || !msi;
}

/* iommu-map or msi-map of a host bridge: (rid, phandle, out, length), by the target's number of
 * cells. */
static void
id_map(struct machine *m, const struct fdt *t, const struct machine_host *h, bool msi)
{
	const char *prop = msi ? "msi-map" : "iommu-map";
	uint32_t len, cells = 0;
	const uint8_t *p = fdt_prop(t, h->node, prop, &len);

	for (uint32_t at = 0; p != NULL && at < len; at += 12 + 4 * cells) {
		bool whole = len - at >= 12;
		uint32_t phandle = whole ? (uint32_t)fdt_cells(p + at + 4, 1) : 0,
			 node = fdt_phandle(t, phandle);
		struct machine_idmap e = {
			.segment = h->segment,
			.rid_base = whole ? (uint32_t)fdt_cells(p + at, 1) : 0,
			.target = MACHINE_IOMMU_LOST,
			.rid_mask = fdt_u32(
			    t, h->node, msi ? "msi-map-mask" : "iommu-map-mask", UINT16_MAX),
		};

		/* An absent target's cells are taken for one: the rest is then perhaps misread. */
		cells =
		    node == FDT_NONE ? 1 : fdt_u32(t, node, msi ? "#msi-cells" : "#iommu-cells", 1);
		if (!whole || cells > 4 || (len - at - 12) / 4 < cells) {
			cut(m, prop, at, msi);
			return;
		}
		e.count = (uint32_t)fdt_cells(p + at + 8 + 4 * cells, 1);
		if (cells >= 1)
			e.out_base = (uint32_t)fdt_cells(p + at + 8, 1);
		if (node == FDT_NONE) {
			machine_note(m, "FDT: %s: phandle 0x%x is nobody's", prop, phandle);
			m->scopes_lost = m->scopes_lost || !msi;
		} else if (cells != 1 && !(msi && cells == 0))
			machine_note(
			    m, "FDT: %s: %.32s takes %u cells", prop, fdt_name(t, node), cells);
		else if ((e.target = index_of(m, t, node, msi)) == MACHINE_IOMMU_LOST)
			machine_note(m, "FDT: %s leads to %.32s, which is not known", prop,
			    fdt_name(t, node));
		if (e.count > UINT16_MAX + 1u || e.rid_base > UINT16_MAX ||
		    e.count - 1 > UINT32_MAX - e.out_base) {
			if (e.count != 0)
				machine_note(m, "FDT: %s: entry at %u has an absurd run", prop, at);
			e.count = (uint32_t)min_u64(e.count, UINT16_MAX + 1u);
			e.target = MACHINE_IOMMU_LOST;
		}
		machine_add_idmap(m, msi, &e);
	}
}

/* Without an msi-map, msi-parent says that all ids are the same on both sides. */
static void
msi_parent(struct machine *m, const struct fdt *t, const struct machine_host *h)
{
	uint32_t node = fdt_phandle(t, fdt_u32(t, h->node, "msi-parent", 0));
	struct machine_idmap e = {
		.segment = h->segment, .rid_mask = UINT16_MAX, .count = UINT16_MAX + 1
	};

	if (fdt_has(t, h->node, "msi-map") || node == FDT_NONE)
		return;
	e.target = index_of(m, t, node, true);
	if (e.target != MACHINE_IOMMU_LOST)
		machine_add_idmap(m, true, &e);
}

static void
unit(struct machine *m, const struct fdt *t, uint32_t node)
{
	struct machine_iommu u = { .kind = IOMMU_SMMUV3, .node = node };

	if (m->iommu_count == MACHINE_IOMMU_MAX) {
		m->dropped++;
		return;
	}
	if (!fdt_reg_cpu(t, node, 0, &u.base, &u.len) || u.base == 0 ||
	    !is_aligned(u.base, 64 * KIB) || u.len < 128 * KIB ||
	    machine_in_memory(m, u.base, u.len)) {
		machine_note(m, "FDT: %.32s has no usable registers: refused", fdt_name(t, node));
		u.kind = IOMMU_NONE;
	} else if (machine_iommu_at(m, u.base, u.len)) {
		machine_note(
		    m, "FDT: %.32s has another unit's registers: refused", fdt_name(t, node));
		u.kind = IOMMU_NONE;
	}
	u.coherent_known = true;
	u.coherent = fdt_has(t, node, "dma-coherent");
	u.model = fdt_has(t, node, "cavium,cn9900-broken-page1-regspace") ? 2 :
	    fdt_has(t, node, "hisilicon,broken-prefetch-cmd") ? 1 : 0;
	u.eventq = fdt_line_named(t, node, "eventq");
	u.gerror = fdt_line_named(t, node, "gerror");
	u.cmdq_sync = fdt_line_named(t, node, "cmdq-sync");
	u.priq = fdt_line_named(t, node, "priq");
	u.combined = fdt_line_named(t, node, "combined");
	m->iommu[m->iommu_count++] = u;
}

/* The requester id is in the first cell of reg: bus 23:16, device 15:11, function 10:8. */
static void
virtio_unit(struct machine *m, const struct fdt *t, uint32_t node)
{
	struct machine_iommu u = { .kind = IOMMU_NONE, .node = node };
	uint32_t parent = fdt_parent(t, node);

	if (m->iommu_count == MACHINE_IOMMU_MAX) {
		m->dropped++;
		return;
	}
	for (uint32_t i = 0; i < m->host_count; i++)
		if (m->host[i].node == parent && fdt_has(t, node, "reg")) {
			u.kind = IOMMU_VIRTIO;
			u.segment = m->host[i].segment;
			u.requester = (uint16_t)(fdt_u32(t, node, "reg", 0) >> 8);
		}
	if (u.kind == IOMMU_NONE)
		machine_note(m, "FDT: %.32s is below no host bridge that is known: refused",
		    fdt_name(t, node));
	m->iommu[m->iommu_count++] = u;
}

void
find_smmu_fdt(struct machine *m, const void *blob, size_t max_len)
{
	struct fdt t;

	if (fdt_open(&t, blob, max_len) != OK)
		return;
	/* A unit that is switched off passes everything: it is none. */
	for (uint32_t n = fdt_compatible(&t, FDT_NONE, "arm,smmu-v3"); n != FDT_NONE;
	    n = fdt_compatible(&t, n, "arm,smmu-v3"))
		if (fdt_enabled(&t, n))
			unit(m, &t, n);
	for (uint32_t n = fdt_compatible(&t, FDT_NONE, "virtio,pci-iommu"); n != FDT_NONE;
	    n = fdt_compatible(&t, n, "virtio,pci-iommu"))
		if (fdt_enabled(&t, n))
			virtio_unit(m, &t, n);
	for (uint32_t i = 0; i < m->host_count; i++) {
		id_map(m, &t, &m->host[i], false);
		id_map(m, &t, &m->host[i], true);
		msi_parent(m, &t, &m->host[i]);
	}
}
