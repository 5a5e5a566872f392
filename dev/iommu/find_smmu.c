/*
 * SMMUv3 units, the requester maps to them, and the maps to ITSs, from a device tree.
 * Sources: bindings arm,smmu-v3, pci-iommu (iommu-map), pci-msi (msi-map) (SMMU-115..117).
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/fdt.h"
#include "kern/machine/find.h"

static struct machine_line
named_line(const struct fdt *t, uint32_t node, const char *name)
{
	struct machine_line l = { 0 };
	uint32_t len, at = 0, i = 0, ilen;
	const char *p = fdt_prop(t, node, "interrupt-names", &len);
	const uint8_t *ip = fdt_prop(t, node, "interrupts", &ilen);

	if (p == NULL || ip == NULL)
		return l;
	for (; at < len; i++) {
		uint32_t n = (uint32_t)strnlen(p + at, len - at);

		if (n == len - at)
			return l;
		if (strcmp(p + at, name) == 0 && 12 * (i + 1) <= ilen && fdt_cells(ip + 12 * i, 1) == 0) {
			l.id = (uint32_t)fdt_cells(ip + 12 * i + 4, 1) + 32;
			l.level = (fdt_cells(ip + 12 * i + 8, 1) & 0xc) != 0;
			l.present = l.id < 1020;
			return l;
		}
		at += n + 1;
	}
	return l;
}

/* One *-map property of a host bridge: (rid, phandle, out, length), four cells each. */
static void
map(struct machine *m, const struct fdt *t, uint32_t host, const char *prop, const char *mask, uint16_t segment,
    bool msi)
{
	uint32_t len;
	const uint8_t *p = fdt_prop(t, host, prop, &len);

	for (uint32_t at = 0; p != NULL && at + 16 <= len; at += 16) {
		uint32_t phandle = (uint32_t)fdt_cells(p + at + 4, 1), target = UINT32_MAX;
		struct machine_idmap e = {
			.segment = segment, .rid_base = (uint32_t)fdt_cells(p + at, 1),
			.out_base = (uint32_t)fdt_cells(p + at + 8, 1), .count = (uint32_t)fdt_cells(p + at + 12, 1),
			.rid_mask = fdt_u32(t, host, mask, 0xffff),
		};
		uint32_t node = fdt_phandle(t, phandle);
		uint64_t base, size;

		if (node == FDT_NONE || !fdt_reg(t, node, 0, &base, &size)) {
			machine_note(m, "FDT: %s names phandle 0x%x, which is nowhere: ignored", prop, phandle);
			continue;
		}
		for (uint32_t i = 0; msi && i < m->irqc.its_count; i++)
			if (m->irqc.its[i].base == base)
				target = i;
		for (uint32_t i = 0; !msi && i < m->iommu_count; i++)
			if (m->iommu[i].base == base)
				target = i;
		if (target == UINT32_MAX) {
			machine_note(m, "FDT: %s leads to %s, which is not known", prop, fdt_name(t, node));
			continue;
		}
		e.target = target;
		if (msi && m->msi_map_count < MACHINE_IDMAP_MAX)
			m->msi_map[m->msi_map_count++] = e;
		else if (!msi && m->stream_map_count < MACHINE_IDMAP_MAX)
			m->stream_map[m->stream_map_count++] = e;
		else
			m->dropped++;
	}
}

void
find_smmu_fdt(struct machine *m, const void *blob, size_t max_len)
{
	struct fdt t;

	if (fdt_open(&t, blob, max_len) != OK)
		return;
	for (uint32_t n = fdt_compatible(&t, FDT_NONE, "arm,smmu-v3"); n != FDT_NONE;
	    n = fdt_compatible(&t, n, "arm,smmu-v3")) {
		struct machine_iommu u = { .kind = IOMMU_SMMUV3 };
		uint32_t len;

		if (!fdt_enabled(&t, n) || !fdt_reg(&t, n, 0, &u.base, &u.len) || u.base == 0 ||
		    !is_aligned(u.base, 64 * KIB)) {
			machine_note(m, "FDT: %s has no usable registers: refused", fdt_name(&t, n));
			continue;
		}
		u.coherent_known = true;
		u.coherent = fdt_prop(&t, n, "dma-coherent", &len) != NULL;
		u.model = fdt_prop(&t, n, "cavium,cn9900-broken-page1-regspace", &len) != NULL ? 2 : 0;
		u.eventq = named_line(&t, n, "eventq");
		u.gerror = named_line(&t, n, "gerror");
		u.cmdq_sync = named_line(&t, n, "cmdq-sync");
		u.priq = named_line(&t, n, "priq");
		u.combined = named_line(&t, n, "combined");
		if (m->iommu_count == MACHINE_IOMMU_MAX)
			m->dropped++;
		else
			m->iommu[m->iommu_count++] = u;
	}
	for (uint32_t n = fdt_compatible(&t, FDT_NONE, "pci-host-ecam-generic"); n != FDT_NONE;
	    n = fdt_compatible(&t, n, "pci-host-ecam-generic")) {
		uint16_t segment = (uint16_t)fdt_u32(&t, n, "linux,pci-domain", 0);

		map(m, &t, n, "iommu-map", "iommu-map-mask", segment, false);
		map(m, &t, n, "msi-map", "msi-map-mask", segment, true);
	}
}
