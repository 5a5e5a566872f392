/*
 * Finding ACPI tables: root pointer, root table, checksums, bounds.  No interpretation.
 *
 * The root pointer (RSDP) leads to a root table: XSDT with 64-bit addresses from revision 2 on, or
 * RSDT with 32-bit ones.  Both are lists of table addresses.  Every table begins with the same 36
 * bytes, with its letters, its length and a checksum that makes all its bytes sum to 0.
 *
 * Nothing is remembered between calls: tables are looked up a handful of times, at boot.
 *
 * Source: ACPI 6.5, 5.2.5 (RSDP), 5.2.6 (header), 5.2.7 (RSDT), 5.2.8 (XSDT).
 */
#include "kern/machine/acpi.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

enum : uint32_t {
	TABLES_MAX = 256,
	LENGTH_MAX = 4 << 20,
	RSDP_REVISION = 15,
	RSDP_RSDT = 16,
	RSDP_LENGTH = 20,
	RSDP_XSDT = 24,
	RSDP_V1 = 20,
	RSDP_V2 = 36,
	T_LENGTH = 4,
};

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
	return address == 0 || len > UINT64_MAX - address ? NULL : src->map(src->ctx, address, len);
}

/* The first part, which is all that revision 0 has. */
static const uint8_t *
rsdp_at(const struct acpi_source *src, uint64_t address)
{
	const uint8_t *p = at(src, address, RSDP_V1);

	return p != NULL && memcmp(p, "RSD PTR ", 8) == 0 && sums_to_zero(p, RSDP_V1) ? p : NULL;
}

/* Where it is; 0: nowhere. */
static uint64_t
find_rsdp(const struct acpi_source *src)
{
	const uint8_t *ebda;

	if (rsdp_at(src, src->rsdp) != NULL)
		return src->rsdp;
	/* First KiB of the extended BIOS data area, then the BIOS read-only area [5.2.5.1]. */
	ebda = at(src, 0x40e, 2);
	if (ebda != NULL) {
		uint64_t base = (uint64_t)acpi_u16(ebda) << 4;

		for (uint64_t a = base; base >= KIB && a < base + KIB; a += 16)
			if (rsdp_at(src, a) != NULL)
				return a;
	}
	for (uint64_t a = 0xe0000; a < 0x100000; a += 16)
		if (rsdp_at(src, a) != NULL)
			return a;
	return 0;
}

static const char telling[TABLES_TELLING][5] = {
	[TABLE_DMAR] = "DMAR", [TABLE_IVRS] = "IVRS", [TABLE_IORT] = "IORT", [TABLE_VIOT] = "VIOT"
};

/*
 * A table that is there and cannot be read.  If it told of IOMMUs, nobody knows which device is
 * behind one: none counts as being behind none (D10).
 */
static void
lost(struct machine *m, const char sig[4])
{
	for (unsigned i = 0; i < TABLES_TELLING; i++)
		if (memcmp(sig, telling[i], 4) == 0) {
			m->scopes_lost = m->reserved_lost = true;
			m->tables_bad |= (uint8_t)BIT(i);
		}
}

const uint8_t *
acpi_table_at(struct machine *m, const struct acpi_source *src, uint64_t address, const char sig[4],
    uint32_t *len)
{
	const uint8_t *p = at(src, address, ACPI_HEADER);

	if (p == NULL || memcmp(p, sig, 4) != 0)
		return NULL;
	*len = acpi_u32(p + T_LENGTH);
	if (*len < ACPI_HEADER || *len > LENGTH_MAX || at(src, address, *len) == NULL) {
		machine_note(m, "ACPI: table %.4s has length %u: ignored", sig, *len);
		lost(m, sig);
		return NULL;
	}
	p = at(src, address, *len);
	if (!sums_to_zero(p, *len)) {
		machine_note(m, "ACPI: table %.4s has a wrong checksum: ignored", sig);
		lost(m, sig);
		return NULL;
	}
	return p;
}

/* The list of addresses, and how wide they are. */
static const uint8_t *
root_table(struct machine *m, const struct acpi_source *src, uint32_t *len, uint32_t *width)
{
	uint64_t address = find_rsdp(src), x = 0;
	const uint8_t *p = rsdp_at(src, address), *second, *root;

	if (p == NULL)
		return NULL;
	if (p[RSDP_REVISION] >= 2 && (second = at(src, address, RSDP_V2)) != NULL) {
		uint32_t n = acpi_u32(second + RSDP_LENGTH);

		if (n >= RSDP_V2 && n <= PAGE_SIZE && at(src, address, n) != NULL &&
		    sums_to_zero(at(src, address, n), n))
			x = acpi_u64(second + RSDP_XSDT);
		else
			machine_note(m,
			    "ACPI: the second half of the root pointer has a wrong length or checksum: not used");
	}
	root = acpi_table_at(m, src, x, "XSDT", len);
	*width = 8;
	if (root == NULL) {
		root = acpi_table_at(m, src, acpi_u32(p + RSDP_RSDT), "RSDT", len);
		*width = 4;
	}
	return root;
}

bool
acpi_present(struct machine *m, const struct acpi_source *src)
{
	uint32_t len, width;

	return root_table(m, src, &len, &width) != NULL;
}

static uint64_t
entry(const uint8_t *root, uint32_t width, uint32_t index)
{
	const uint8_t *e = root + ACPI_HEADER + index * width;

	return width == 8 ? acpi_u64(e) : acpi_u32(e);
}

bool
acpi_table_nth(struct machine *m, const struct acpi_source *src, uint32_t index,
    const uint8_t **table, uint32_t *len)
{
	uint32_t root_len, width;
	const uint8_t *root = root_table(m, src, &root_len, &width), *p;

	if (root == NULL || index >= min_u64((root_len - ACPI_HEADER) / width, TABLES_MAX))
		return false;
	p = at(src, entry(root, width, index), 4);
	*table = p == NULL ? NULL :
			     acpi_table_at(m, src, entry(root, width, index), (const char *)p, len);
	return true;
}

void
acpi_note_tables(struct machine *m, const struct acpi_source *src)
{
	uint32_t root_len, width, n, notes = m->note_count, dropped = m->dropped;
	const uint8_t *root = root_table(m, src, &root_len, &width), *p;

	n = root == NULL ? 0 : (uint32_t)min_u64((root_len - ACPI_HEADER) / width, TABLES_MAX);
	for (uint32_t i = 0; i < n; i++) {
		p = at(src, entry(root, width, i), ACPI_HEADER);
		for (unsigned k = 0; p != NULL && k < TABLES_TELLING; k++)
			if (memcmp(p, telling[k], 4) == 0)
				m->tables_present |= (uint8_t)BIT(k);
	}
	/* Who looked for a table has said what is wrong with the root. */
	m->note_count = notes;
	m->dropped = dropped;
}

const uint8_t *
acpi_table(struct machine *m, const struct acpi_source *src, const char sig[4], uint32_t *len)
{
	uint32_t root_len, width, n;
	const uint8_t *root = root_table(m, src, &root_len, &width);

	if (root == NULL)
		return NULL;
	n = (root_len - ACPI_HEADER) / width;
	if (n > TABLES_MAX) {
		machine_note(m, "ACPI: %u tables: the first %u are looked at", n, TABLES_MAX);
		n = TABLES_MAX;
	}
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *t = acpi_table_at(m, src, entry(root, width, i), sig, len);

		if (t != NULL)
			return t;
	}
	return NULL;
}
