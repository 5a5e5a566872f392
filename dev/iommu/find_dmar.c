/*
 * Intel DMAR to the machine: remapping units, what they cover, reserved regions.
 *
 * Bus numbers in scopes hold while firmware's numbering holds, which this kernel keeps on ACPI machines.
 * Manual: VT-d 8.1-8.4 (VTD-01..12).
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/acpi.h"
#include "kern/machine/find.h"

static void
scopes(struct machine *m, const uint8_t *p, uint32_t len, uint16_t segment, uint32_t iommu, uint32_t reserved)
{
	for (uint32_t i = 0; i + 6 <= len; ) {
		uint8_t type = p[i], n = p[i + 1];
		struct machine_scope *s;

		if (n < 8 || n > len - i || (n & 1) != 0) {
			machine_note(m, "DMAR: device scope of length %u: rest ignored", n);
			return;
		}
		if (m->scope_count == MACHINE_SCOPE_MAX || (n - 6u) / 2 > MACHINE_PATH_MAX || type < 1 || type > 5) {
			m->dropped++;
			i += n;
			continue;
		}
		s = &m->scope[m->scope_count++];
		*s = (struct machine_scope){
			.kind = (enum machine_scope_kind)(type - 1), .iommu = iommu, .reserved = reserved,
			.segment = segment, .enumeration_id = p[i + 4], .start_bus = p[i + 5], .path_len = (uint8_t)((n - 6) / 2),
		};
		for (unsigned k = 0; k < s->path_len; k++)
			s->path[k] = (uint8_t)(p[i + 6 + 2 * k] << 3 | (p[i + 7 + 2 * k] & 7));
		i += n;
	}
}

void
find_dmar(struct machine *m, const struct acpi_source *src)
{
	uint32_t len;
	const uint8_t *t = acpi_table(m, src, "DMAR", &len);

	if (t == NULL)
		return;
	if (len < 48) {
		machine_note(m, "DMAR: table of %u bytes is too short: ignored", len);
		return;
	}
	for (uint32_t i = 48; i + 4 <= len; ) {
		const uint8_t *e = t + i;
		uint16_t type = acpi_u16(e), n = acpi_u16(e + 2);

		if (n < 4 || n > len - i) {
			machine_note(m, "DMAR: subtable at 0x%x has length %u: rest ignored", i, n);
			return;
		}
		if (type == 0 && n >= 16) {		/* DRHD */
			uint64_t base = acpi_u64(e + 8);

			if (base == 0 || !is_aligned(base, PAGE_SIZE)) {
				machine_note(m, "DMAR: unit at 0x%x has register base 0x%llx: refused", i,
				    (unsigned long long)base);
			} else if (m->iommu_count == MACHINE_IOMMU_MAX) {
				m->dropped++;
			} else {
				m->iommu[m->iommu_count] = (struct machine_iommu){
					.kind = IOMMU_VTD, .base = base, .len = PAGE_SIZE, .segment = acpi_u16(e + 6),
					.include_all = (e[4] & 1) != 0, .host_width = (uint8_t)(t[36] + 1),
					.intr_remap = (t[37] & 1) != 0, .x2apic_opt_out = (t[37] & 2) != 0,
					.opt_in = (t[37] & 4) != 0,
				};
				scopes(m, e + 16, n - 16u, acpi_u16(e + 6), m->iommu_count, UINT32_MAX);
				m->iommu_count++;
			}
		} else if (type == 1 && n >= 24) {	/* RMRR: limit is the last byte */
			uint64_t base = acpi_u64(e + 8), last = acpi_u64(e + 16);

			if (last < base || !is_aligned(base, PAGE_SIZE) || !is_aligned(last + 1, PAGE_SIZE)) {
				machine_note(m, "DMAR: reserved region at 0x%x is absurd: ignored", i);
			} else if (m->reserved_count == MACHINE_RESERVED_MAX) {
				m->dropped++;
			} else {
				m->reserved[m->reserved_count] = (struct machine_reserved){
					.base = base, .len = last - base + 1, .segment = acpi_u16(e + 6), .iommu = UINT32_MAX,
				};
				scopes(m, e + 24, n - 24u, acpi_u16(e + 6), UINT32_MAX, m->reserved_count);
				m->reserved_count++;
			}
		}
		i += n;
	}
}
