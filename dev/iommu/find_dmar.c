/*
 * Intel DMAR to the machine: remapping units, what they cover, reserved regions.
 *
 * A unit (DRHD) lists the functions behind it, as paths from a bus; one unit of a segment may cover
 * "all the rest".  So a unit that is refused must keep its list, and its claim to the rest:
 * otherwise its devices would seem to belong to another, or to none.  And when any explicit entry
 * is lost, "the rest" is no longer known (machine.scopes_lost): then nobody gets it.  Nobody gets
 * what two units claim.
 *
 * A reserved region (RMRR) is memory that firmware keeps using a device for.  When its list of
 * devices cannot be read, it counts for every device of its segment; when a region itself cannot be
 * read, for every device (machine.reserved_lost).
 *
 * Bus numbers in paths hold while firmware's numbering holds, which this kernel keeps on ACPI
 * machines.
 *
 * Manual: VT-d 8.1-8.4 (VTD-01..12).  ATSR, RHSA, SATC, SIDP: not of interest, ATS stays off.
 * ANDD: devices that are not PCI.
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/acpi.h"
#include "kern/machine/find.h"

enum : uint32_t {
	HEADER = 48, SUBTABLE_MIN = 4,
	DRHD = 0, DRHD_MIN = 16, DRHD_ALL = 1,
	RMRR = 1, RMRR_MIN = 24,
	SCOPE_HEADER = 6, SCOPE_TYPES = 5,
};

/* Whose scopes these are: a unit's or a region's, the other UINT32_MAX. */
struct owner { uint32_t iommu, reserved; uint16_t segment; };

/* One device scope [8.3.1]; false when it names a place that cannot be, or there is no room. */
static bool
add_scope(struct machine *m, const uint8_t *p, uint8_t n, struct owner o)
{
	struct machine_scope s = {
		.kind = (enum machine_scope_kind)(p[0] - 1),
		.iommu = o.iommu,
		.reserved = o.reserved,
		.segment = o.segment,
		.enumeration_id = p[4],
		.start_bus = p[5],
		.path_len = (uint8_t)((n - SCOPE_HEADER) / 2),
	};

	if (s.path_len == 0 || s.path_len > MACHINE_PATH_MAX)
		return false;
	for (unsigned k = 0; k < s.path_len; k++) {
		uint8_t device = p[SCOPE_HEADER + 2 * k], function = p[SCOPE_HEADER + 1 + 2 * k];

		if (device > 31 || function > 7)
			return false;
		s.path[k] = (uint8_t)(device << 3 | function);
	}
	if (m->scope_count == MACHINE_SCOPE_MAX) {
		m->dropped++;
		return false;
	}
	m->scope[m->scope_count++] = s;
	return true;
}

/* All scopes of one subtable; false when one that may be a PCI device's was lost.  *count: good
 * ones. */
static bool
add_scopes(
    struct machine *m, const uint8_t *t, uint32_t at, uint32_t end, struct owner o, uint32_t *count)
{
	bool whole = true;

	*count = 0;
	while (end - at >= 2) {
		uint8_t type = t[at], n = t[at + 1];

		if (n < SCOPE_HEADER || n > end - at || (n & 1) != 0) {
			machine_note(m,
			    "DMAR: device scope at 0x%x has length %u: rest of its list ignored",
			    at, n);
			return false;
		}
		if (type < 1 || type > SCOPE_TYPES) {
			machine_note(m, "DMAR: device scope at 0x%x is of unknown type %u: ignored",
			    at, type);
			whole = false;
		} else if (add_scope(m, t + at, n, o)) {
			++*count;
		} else {
			machine_note(m,
			    "DMAR: device scope at 0x%x has an absurd path, or there is no room: lost",
			    at);
			whole = false;
		}
		at += n;
	}
	return whole && at == end;
}

/* Why a unit cannot be used; NULL: it can. */
static const char *
unit_refusal(const struct machine *m, const struct machine_iommu *u)
{
	if (u->base == 0 || !is_aligned(u->base, PAGE_SIZE) || u->base >> 52 != 0)
		return "no place for registers";
	if (machine_in_memory(m, u->base, u->len))
		return "in memory";
	return machine_iommu_at(m, u->base, u->len) ? "another unit's" : NULL;
}

static void
drhd(struct machine *m, const uint8_t *t, uint32_t at, uint32_t n)
{
	const uint8_t *e = t + at;
	struct machine_iommu u = {
		.kind = IOMMU_VTD,
		.base = acpi_u64(e + 8),
		.len = PAGE_SIZE << (e[5] & 0xf),
		.segment = acpi_u16(e + 6),
		.include_all = (e[4] & DRHD_ALL) != 0,
		.host_width = (uint8_t)min_u64(t[36] + 1u, 64),
		.intr_remap = (t[37] & 1) != 0,
		.x2apic_opt_out = (t[37] & 2) != 0,
		.opt_in = (t[37] & 4) != 0,
	};
	struct owner o = { .iommu = m->iommu_count, .reserved = UINT32_MAX, .segment = u.segment };
	const char *why = unit_refusal(m, &u);
	uint32_t scopes;

	if (why != NULL) {
		machine_note(m, "DMAR: unit at 0x%x: register base 0x%llx: %s: refused", at,
		    (unsigned long long)u.base, why);
		u = (struct machine_iommu){ .segment = u.segment, .include_all = u.include_all };
	}
	for (uint32_t i = 0; u.include_all && i < m->iommu_count; i++)
		if (m->iommu[i].include_all && m->iommu[i].segment == u.segment)
			machine_note(m,
			    "DMAR: unit at 0x%x is the second for all of segment %u: only lists count",
			    at, u.segment);
	if (m->iommu_count == MACHINE_IOMMU_MAX) {
		m->dropped++;
		o.iommu = MACHINE_IOMMU_LOST;
	} else {
		m->iommu[m->iommu_count++] = u;
	}
	if (!add_scopes(m, t, at + DRHD_MIN, at + n, o, &scopes))
		m->scopes_lost = true;
}

static void
rmrr(struct machine *m, const uint8_t *t, uint32_t at, uint32_t n)
{
	const uint8_t *e = t + at;
	uint64_t base = acpi_u64(e + 8), last = acpi_u64(e + 16);	/* the last byte */
	struct machine_reserved r = {
		.base = base, .segment = acpi_u16(e + 6), .iommu = UINT32_MAX
	};
	struct owner o = {
		.iommu = UINT32_MAX, .reserved = m->reserved_count, .segment = r.segment
	};
	bool whole;
	uint32_t scopes;

	if (last < base || last >> 52 != 0 || !is_aligned(base, PAGE_SIZE) ||
	    !is_aligned(last + 1, PAGE_SIZE)) {
		machine_note(m,
		    "DMAR: reserved region at 0x%x is not whole pages: not mapped, its devices are refused",
		    at);
		r.base = 0;
		r.absurd = true;
	} else {
		r.len = last - base + 1;
		if (machine_in_memory(m, r.base, r.len)) {
			machine_note(m,
			    "DMAR: reserved region at 0x%x lies in memory: not mapped, its devices are refused",
			    at);
			r.absurd = true;
		}
	}
	if (m->reserved_count == MACHINE_RESERVED_MAX) {
		m->dropped++;
		m->reserved_lost = true;
		return;
	}
	m->reserved[m->reserved_count++] = r;
	whole = add_scopes(m, t, at + RMRR_MIN, at + n, o, &scopes);
	m->reserved[o.reserved].any_device = !whole || scopes == 0;
}

void
find_dmar(struct machine *m, const struct acpi_source *src)
{
	uint32_t len;
	const uint8_t *t = acpi_table(m, src, "DMAR", &len);

	if (t == NULL)
		return;
	if (len < HEADER) {
		machine_note(m, "DMAR: table of %u bytes is too short: ignored", len);
		m->scopes_lost = m->reserved_lost = true;
		return;
	}
	for (uint32_t at = HEADER, n; len - at >= SUBTABLE_MIN; at += n) {
		uint32_t type = acpi_u16(t + at);

		n = acpi_u16(t + at + 2);
		if (n < SUBTABLE_MIN || n > len - at) {
			machine_note(
			    m, "DMAR: subtable at 0x%x has length %u: rest ignored", at, n);
			m->scopes_lost = m->reserved_lost = true;
			return;
		}
		if ((type == DRHD && n < DRHD_MIN) || (type == RMRR && n < RMRR_MIN)) {
			machine_note(m,
			    "DMAR: subtable at 0x%x has length %u, too short for type %u: ignored",
			    at, n, type);
			m->scopes_lost = m->reserved_lost = true;
		} else if (type == DRHD) {
			drhd(m, t, at, n);
		} else if (type == RMRR) {
			rmrr(m, t, at, n);
		}
	}
}
