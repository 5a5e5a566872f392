/*
 * AMD IVRS to the machine: units, who is behind them, reserved memory.
 *
 * A unit has one block (IVHD) for each kind of software it wants to be found by: type 10h, then 11h
 * and 40h, which say more.  All describe the same unit, so the highest type of the table counts and
 * the others are left out; a unit that only they name is kept as one that was refused (AMD-04).
 *
 * A block lists requesters: one, a run, or all; each as itself or as an alias, the id under which a
 * bridge passes on what they send (AMD-07).  A later entry overrides an earlier one, so the list
 * becomes an id map from its end to its start, whose first match wins.  A requester that two units
 * claim has none (kern/machine/idmap.c); here it is named.  Where a list cannot be read to its end,
 * what was not read belongs to nobody (machine.scopes_lost): such a device is not protected, never
 * another unit's, and not behind none.
 *
 * Memory blocks (IVMD) name memory that firmware keeps using devices for.  Such memory is never
 * mapped: its devices stay blocked.  When a block cannot be read, it may be any device's
 * (machine.reserved_lost).
 *
 * Manual: AMD IOMMU 5.2 (AMD-01 .. AMD-10).
 */
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/machine/acpi.h"
#include "kern/machine/find.h"
#include "kern/machine/idmap.h"

enum : uint32_t {
	HEADER = 48,
	BLOCK_MIN = 4,
	IVINFO = 36,
	IVHD_10 = 0x10,
	IVHD_11 = 0x11,
	IVHD_40 = 0x40,
	IVHD_10_HEADER = 24,
	IVHD_HEADER = 40,
	IVMD_ALL = 0x20,
	IVMD_ONE = 0x21,
	IVMD_RANGE = 0x22,
	IVMD_MIN = 32,
	REGISTERS = 0x4000,

	/* device entries [5.2.2.2] */
	E_PAD = 0,
	E_ALL = 1,
	E_SELECT = 2,
	E_START = 3,
	E_END = 4,
	E_ALIAS_SELECT = 0x42,
	E_ALIAS_START = 0x43,
	E_EXT_SELECT = 0x46,
	E_EXT_START = 0x47,
	E_SPECIAL = 0x48,
	E_ACPI = 0xf0,
	E_ACPI_MIN = 22,
	SPECIAL_IOAPIC = 1,
	SPECIAL_HPET = 2,
};
enum : uint64_t { IVINFO_PASIZE = BITS(14, 8) };

static bool is_ivhd(uint8_t type) { return type == IVHD_10 || type == IVHD_11 || type == IVHD_40; }
static bool is_ivmd(uint8_t type) { return type >= IVMD_ALL && type <= IVMD_RANGE; }

static uint32_t
least(uint8_t type)
{
	return type == IVHD_10 ? IVHD_10_HEADER :
	    is_ivhd(type)      ? IVHD_HEADER :
	    is_ivmd(type)      ? IVMD_MIN :
				 BLOCK_MIN;
}

/* Bytes of a device entry; 0: not known, so what follows cannot be found. */
static uint32_t
entry_bytes(const uint8_t *e, uint32_t left)
{
	if (e[0] < E_ACPI)
		return 4u << (e[0] >> 6);
	return e[0] == E_ACPI && left >= E_ACPI_MIN ? E_ACPI_MIN + e[21] : 0;
}

/* The runs of one block, while it is read. */
struct list {
	struct machine *m;
	uint32_t unit, first;		/* whose; first of its runs in the map */
	uint16_t segment;
	bool open, open_alias;		/* a range was started */
	uint16_t start, alias;
};

static void
add_run(struct list *l, uint32_t from, uint32_t last, bool alias, uint32_t out)
{
	struct machine *m = l->m;
	struct machine_idmap *before =
	    m->stream_map_count > l->first ? &m->stream_map[m->stream_map_count - 1] : NULL;

	if (before != NULL && !alias && !before->alias &&
	    before->rid_base + before->count == from) {
		before->count += last - from + 1;
		return;
	}
	machine_add_idmap(m, false,
	    &(struct machine_idmap){ .segment = l->segment,
		.rid_base = from,
		.count = last - from + 1,
		.rid_mask = 0xffff,
		.target = l->unit,
		.out_base = out,
		.alias = alias });
}

/* An IOAPIC or HPET: the id that its interrupts have. */
static void
add_special(struct list *l, const uint8_t *e)
{
	struct machine *m = l->m;
	uint16_t id = acpi_u16(e + 5);

	if (e[7] != SPECIAL_IOAPIC && e[7] != SPECIAL_HPET)
		return;
	if (m->scope_count == MACHINE_SCOPE_MAX) {
		m->dropped++;
		return;
	}
	m->scope[m->scope_count++] = (struct machine_scope){
		.kind = e[7] == SPECIAL_IOAPIC ? SCOPE_IOAPIC : SCOPE_HPET,
		.iommu = l->unit,
		.reserved = UINT32_MAX,
		.segment = l->segment,
		.enumeration_id = e[4],
		.start_bus = (uint8_t)(id >> 8),
		.path_len = 1,
		.path = { (uint8_t)id },
	};
}

/* NULL: good. */
static const char *
add_entry(struct list *l, const uint8_t *e)
{
	uint16_t id = acpi_u16(e + 1);
	bool was_open = l->open;

	if (e[0] == E_PAD)
		return NULL;
	l->open = false;
	switch (e[0]) {
	case E_END:
		if (!was_open)
			return "a range that ends and did not start";
		if (id < l->start)
			return "a range that ends before it starts";
		add_run(l, l->start, id, l->open_alias, l->open_alias ? l->alias : l->start);
		return NULL;
	case E_START:
	case E_EXT_START:
	case E_ALIAS_START:
		l->open = true;
		l->open_alias = e[0] == E_ALIAS_START;
		l->start = id;
		l->alias = l->open_alias ? acpi_u16(e + 5) : 0;
		break;
	case E_ALL:
		add_run(l, 0, 0xffff, false, 0);
		break;
	case E_SELECT:
	case E_EXT_SELECT:
	case E_ACPI:
		add_run(l, id, id, false, id);
		break;
	case E_ALIAS_SELECT:
		add_run(l, id, id, acpi_u16(e + 5) != id, acpi_u16(e + 5));
		break;
	case E_SPECIAL:
		add_special(l, e);
		break;
	}
	return was_open ? "a range that does not end" : NULL;
}

static void
add_entries(struct list *l, const uint8_t *t, uint32_t at, uint32_t end)
{
	struct machine *m = l->m;
	const char *why = NULL;

	for (uint32_t n; at < end && why == NULL; at += n) {
		n = entry_bytes(t + at, end - at);
		if (n == 0 || n > end - at)
			why = "an entry of unknown length";
		else
			why = add_entry(l, t + at);
		if (why != NULL)
			machine_note(
			    m, "IVRS: device entry at 0x%x: %s: rest of its list ignored", at, why);
	}
	if (why == NULL && l->open)
		machine_note(
		    m, "IVRS: device entries end at 0x%x inside a range: it is ignored", end);
	m->scopes_lost = m->scopes_lost || why != NULL || l->open;
	for (uint32_t i = l->first, k = m->stream_map_count; i + 1 < k; i++) {
		struct machine_idmap e = m->stream_map[i];

		m->stream_map[i] = m->stream_map[--k];
		m->stream_map[k] = e;
	}
}

/* Why a unit cannot be used; NULL: it can. */
static const char *
unit_refusal(const struct machine *m, const struct machine_iommu *u)
{
	if (u->base == 0 || !is_aligned(u->base, REGISTERS) || u->base >> 52 != 0)
		return "no place for registers";
	if (machine_in_memory(m, u->base, u->len))
		return "in memory";
	if (u->host_width < 32 || u->host_width > 52)
		return "no usable physical address width";
	return machine_iommu_at(m, u->base, u->len) ? "another unit's" : NULL;
}

static void
ivhd(struct machine *m, const uint8_t *t, uint32_t at, uint32_t n, bool counts)
{
	const uint8_t *e = t + at;
	uint32_t info = acpi_u32(t + IVINFO);
	struct machine_iommu u = {
		.kind = IOMMU_AMDVI,
		.base = acpi_u64(e + 8),
		.len = REGISTERS,
		.segment = acpi_u16(e + 16),
		.host_width = (uint8_t)FIELD_GET(IVINFO_PASIZE, info),
		.ivhd_flags = e[1],
		.requester = acpi_u16(e + 4),
		.capability = acpi_u16(e + 6),
		.intr_remap = true,
	};
	struct list l = {
		.m = m, .unit = m->iommu_count, .first = m->stream_map_count, .segment = u.segment
	};
	const char *why = counts ? unit_refusal(m, &u) : "described in an old form only";

	if (why != NULL) {
		machine_note(m, "IVRS: unit at 0x%x: register base 0x%llx: %s: refused", at,
		    (unsigned long long)u.base, why);
		u = (struct machine_iommu){ .segment = u.segment };
	}
	if (m->iommu_count == MACHINE_IOMMU_MAX) {
		m->dropped++;
		l.unit = MACHINE_IOMMU_LOST;
	} else {
		m->iommu[m->iommu_count++] = u;
	}
	add_entries(&l, t, at + least(e[0]), at + n);
}

static void
ivmd(struct machine *m, const uint8_t *t, uint32_t at)
{
	const uint8_t *e = t + at;
	uint64_t base = acpi_u64(e + 16), len = acpi_u64(e + 24);
	uint32_t first = acpi_u16(e + 4), last = e[0] == IVMD_RANGE ? acpi_u16(e + 6) : first;
	struct machine_reserved r = {
		.base = base,
		.len = len,
		.segment = acpi_u16(e + 8),
		.iommu = UINT32_MAX,
		.any_device = e[0] == IVMD_ALL,
		.requesters = e[0] != IVMD_ALL,
		.id_base = first,
	};

	if (last < first) {
		machine_note(m,
		    "IVRS: memory block at 0x%x names an absurd range of devices: it counts for all",
		    at);
		r.any_device = true;
		r.requesters = false;
	} else if (r.requesters) {
		r.id_count = last - first + 1;
	}
	if (len == 0 || base >> 52 != 0 || len > BIT(52) - base ||
	    !is_aligned(base | len, PAGE_SIZE)) {
		machine_note(m,
		    "IVRS: memory block at 0x%x is not whole pages: not mapped, its devices are refused",
		    at);
		r.base = r.len = 0;
		r.absurd = true;
	} else if (machine_in_memory(m, base, len)) {
		machine_note(m,
		    "IVRS: memory block at 0x%x lies in memory: not mapped, its devices are refused",
		    at);
		r.absurd = true;
	}
	if (m->reserved_count == MACHINE_RESERVED_MAX) {
		m->dropped++;
		m->reserved_lost = true;
		return;
	}
	m->reserved[m->reserved_count++] = r;
}

static void
name_claimed_twice(struct machine *m, uint32_t begin)
{
	for (uint32_t i = begin; i < m->stream_map_count; i++)
		for (uint32_t k = i + 1; k < m->stream_map_count; k++) {
			const struct machine_idmap *a = &m->stream_map[i], *b = &m->stream_map[k];
			uint32_t from = a->rid_base > b->rid_base ? a->rid_base : b->rid_base;
			uint64_t end = min_u64(a->rid_base + a->count, b->rid_base + b->count);

			if (a->target != b->target && a->segment == b->segment && from < end)
				machine_note(m,
				    "IVRS: requesters 0x%x to 0x%llx are claimed by two units: by none",
				    from, (unsigned long long)end - 1);
		}
}

/* Length of the block at t + at; 0: the walk ends here. */
static uint32_t
block_at(const uint8_t *t, uint32_t at, uint32_t len)
{
	uint32_t n;

	if (len - at < BLOCK_MIN)
		return 0;
	n = acpi_u16(t + at + 2);
	return n < BLOCK_MIN || n > len - at ? 0 : n;
}

/* Is there a block of the type that counts for the unit of this one? */
static bool
told_better(const uint8_t *t, uint32_t len, uint8_t type, const uint8_t *e)
{
	for (uint32_t at = HEADER, n; (n = block_at(t, at, len)) != 0; at += n)
		if (t[at] == type && n >= least(type) && acpi_u16(t + at + 4) == acpi_u16(e + 4) &&
		    acpi_u16(t + at + 16) == acpi_u16(e + 16))
			return true;
	return false;
}

void
find_ivrs(struct machine *m, const struct acpi_source *src)
{
	uint32_t len, at, n, begin = m->stream_map_count;
	const uint8_t *t = acpi_table(m, src, "IVRS", &len);
	uint8_t best = 0;

	if (t == NULL)
		return;
	if (len < HEADER) {
		machine_note(m, "IVRS: table of %u bytes is too short: ignored", len);
		m->scopes_lost = m->reserved_lost = true;
		return;
	}
	for (at = HEADER; (n = block_at(t, at, len)) != 0; at += n)
		if (is_ivhd(t[at]) && n >= least(t[at]) && t[at] > best)
			best = t[at];
	for (at = HEADER; (n = block_at(t, at, len)) != 0; at += n) {
		if (n < least(t[at])) {
			machine_note(m,
			    "IVRS: block at 0x%x has length %u, too short for type %u: ignored", at,
			    n, t[at]);
			m->reserved_lost = m->reserved_lost || is_ivmd(t[at]);
			m->scopes_lost = m->scopes_lost || is_ivhd(t[at]);
		} else if (is_ivmd(t[at])) {
			ivmd(m, t, at);
		} else if (is_ivhd(t[at]) &&
		    (t[at] == best || !told_better(t, len, best, t + at))) {
			ivhd(m, t, at, n, t[at] == best);
		}
	}
	if (at != len) {
		machine_note(m, "IVRS: block at 0x%x makes no sense: rest ignored", at);
		m->scopes_lost = m->reserved_lost = true;
	}
	name_claimed_twice(m, begin);
}
