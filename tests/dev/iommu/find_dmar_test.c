/*
 * dev/iommu/find_dmar.c: units, scopes and reserved regions; and that what is refused never helps a
 * device.
 *
 * LINK: dev/iommu/find_dmar.c kern/machine/acpi_tables.c kern/machine/machine.c
 * LINK: kern/machine/idmap.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/acpi_build.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/machine/find.h"
#include "kern/machine/idmap.h"
#include "tests/lib/acpi_build.h"
#include "tests/lib/machine_noted.h"

static struct machine m;
static struct acpi_build b;
static uint8_t body[65536];
static uint32_t used;

static void
start(void)
{
	memset(&m, 0, sizeof(m));
	ab_free(&b);
	memset(body, 0, sizeof(body));
	used = 48;
}

/* A subtable of n bytes; its place. */
static uint8_t *
subtable(uint16_t type, uint16_t n)
{
	uint8_t *e = body + used;

	ab_put16(e, type);
	ab_put16(e + 2, n);
	used += n;
	return e;
}

static uint8_t *
drhd(uint16_t n, uint8_t flags, uint16_t segment, uint64_t base)
{
	uint8_t *e = subtable(0, n);

	e[4] = flags;
	ab_put16(e + 6, segment);
	ab_put64(e + 8, base);
	return e;
}

static uint8_t *
rmrr(uint16_t n, uint64_t base, uint64_t last)
{
	uint8_t *e = subtable(1, n);

	ab_put64(e + 8, base);
	ab_put64(e + 16, last);
	return e;
}

/* One scope with a path of one hop. */
static void
scope(uint8_t *at, uint8_t type, uint8_t bus, uint8_t device, uint8_t function)
{
	memcpy(at, (const uint8_t[]){ type, 8, 0, 0, 0, bus, device, function }, 8);
}

static void
finish(void)
{
	uint8_t *t = ab_table(&b, "DMAR", used);

	memcpy(t + 36, body + 36, used - 36);
	ab_finish(&b, AB_XSDT);
	find_dmar(&m, ab_source(&b));
}

static uint8_t
no_bridge(uint16_t segment, uint16_t rid)
{
	(void)segment;
	(void)rid;
	return 0xff;
}

/* The unit of 00:device.function; -1 none. */
static int
unit_of(uint8_t device, uint8_t function, bool *reserved)
{
	struct idmap_path p = { .rid = (uint16_t)(device << 3 | function), .secondary = no_bridge };
	uint32_t unit, id;
	const char *why;
	bool dummy;

	return machine_find_iommu(&m, &p, &unit, &id, reserved != NULL ? reserved : &dummy, &why) ?
	    (int)unit :
	    -1;
}

/* No unit's, and not behind none either. */
static bool
in_doubt(uint8_t device, uint8_t function)
{
	struct idmap_path p = { .rid = (uint16_t)(device << 3 | function), .secondary = no_bridge };

	return unit_of(device, function, NULL) == -1 && !machine_without_iommu(&m, &p);
}

ATF_TC_WITHOUT_HEAD(units_and_regions_are_read);
ATF_TC_BODY(units_and_regions_are_read, tc)
{
	uint8_t *e;
	bool reserved;

	start();
	body[36] = 38;
	body[37] = 5;
	e = drhd(16 + 8 + 10, 0, 0, 0xfed90000);
	scope(e + 16, 1, 0, 2, 0);
	memcpy(e + 24, (const uint8_t[]){ 2, 10, 0, 0, 0, 0, 0x1c, 0, 0, 1 }, 10);
	(void)subtable(2, 8);				/* ATSR */
	e = drhd(16 + 16, 1, 0, 0xfed91000);
	e[5] = 1;					/* two pages of registers */
	memcpy(e + 16, (const uint8_t[]){ 3, 8, 0, 0, 2, 0xf0, 0x1f, 0 }, 8);
	memcpy(e + 24, (const uint8_t[]){ 4, 8, 0, 0, 0, 0, 0x1e, 6 }, 8);
	(void)subtable(77, 12);				/* unknown */
	e = rmrr(24 + 8, 0x7b800000, 0x7fffffff);
	scope(e + 24, 1, 0, 2, 0);
	finish();
	ATF_CHECK_EQ(m.note_count, 0);
	ATF_REQUIRE_EQ(m.iommu_count, 2);
	ATF_CHECK(m.iommu[0].kind == IOMMU_VTD && m.iommu[0].base == 0xfed90000 &&
	    m.iommu[0].len == 0x1000);
	ATF_CHECK(!m.iommu[0].include_all && m.iommu[1].include_all && m.iommu[1].len == 0x2000);
	ATF_CHECK(m.iommu[0].host_width == 39 && m.iommu[0].intr_remap &&
	    !m.iommu[0].x2apic_opt_out && m.iommu[0].opt_in);
	ATF_REQUIRE_EQ(m.scope_count, 5);
	ATF_CHECK(m.scope[1].kind == SCOPE_BRIDGE && m.scope[1].path_len == 2 &&
	    m.scope[1].path[0] == 0xe0 && m.scope[1].path[1] == 1);
	ATF_CHECK(m.scope[2].kind == SCOPE_IOAPIC && m.scope[2].enumeration_id == 2 &&
	    m.scope[2].start_bus == 0xf0 && m.scope[2].path[0] == 0xf8);
	ATF_CHECK(m.scope[3].kind == SCOPE_HPET);
	ATF_REQUIRE_EQ(m.reserved_count, 1);
	ATF_CHECK(m.reserved[0].base == 0x7b800000 && m.reserved[0].len == 0x4800000 &&
	    !m.reserved[0].any_device && !m.reserved[0].absurd);
	ATF_CHECK(unit_of(2, 0, &reserved) == 0 && reserved);
	ATF_CHECK(unit_of(3, 0, &reserved) == 1 && !reserved);
	ATF_CHECK(!m.scopes_lost);
}

/* VTD-01 */
ATF_TC_WITHOUT_HEAD(absurd_subtables_end_the_walk_and_with_it_the_rest);
ATF_TC_BODY(absurd_subtables_end_the_walk_and_with_it_the_rest, tc)
{
	static const uint16_t lengths[] = { 0, 3, 1000, 0xffff };
	bool reserved;

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		start();
		(void)drhd(16, 1, 0, 0xfed90000);
		ab_put16(subtable(2, 8) + 2, lengths[i]);
		finish();
		ATF_CHECK(machine_noted(&m, "DMAR: subtable at 0x40 has length"));
		ATF_CHECK_EQ(m.iommu_count, 1);
		ATF_CHECK_EQ(
		    unit_of(2, 0, &reserved), -1); /* a unit behind that point may have it */
		ATF_CHECK(reserved);				/* and a region too */
	}
	start();
	(void)drhd(16, 1, 0, 0xfed90000);
	(void)subtable(0, 15);
	finish();
	ATF_CHECK(machine_noted(&m, "too short for type 0"));
	ATF_CHECK_EQ(unit_of(2, 0, NULL), -1);
	start();
	used = 47;
	finish();
	ATF_CHECK(machine_noted(&m, "47 bytes is too short"));
	ATF_CHECK(in_doubt(2, 0));
}

ATF_TC_WITHOUT_HEAD(absurd_scopes_make_the_rest_unknown);
ATF_TC_BODY(absurd_scopes_make_the_rest_unknown, tc)
{
	static const uint8_t bad[][8] = {
		{ 1, 0 }, { 1, 5 }, { 1, 7 }, { 1, 10 },		/* lengths */
		{ 1, 6 }, { 1, 8, 0, 0, 0, 0, 32, 0 }, { 1, 8, 0, 0, 0, 0, 0, 8 },	/* paths */
		{ 0, 8 }, { 6, 8 }, { 255, 8 },				/* types */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start();
		memcpy(drhd(16 + 8, 0, 0, 0xfed90000) + 16, bad[i], 8);
		(void)drhd(16, 1, 0, 0xfed91000);
		finish();
		ATF_CHECK_EQ(m.iommu_count, 2);
		ATF_CHECK_MSG(m.scopes_lost, "scope %u", i);
		ATF_CHECK(machine_noted(&m, "DMAR: device scope at 0x40"));
		ATF_CHECK_EQ(unit_of(2, 0, NULL), -1);
	}
}

/* VTD-07, VTD-12, D10 */
ATF_TC_WITHOUT_HEAD(a_refused_unit_keeps_its_devices);
ATF_TC_BODY(a_refused_unit_keeps_its_devices, tc)
{
	static const uint64_t bases[] = { 0, 0xfed90800, 1ull << 60, 0xfed91000, 0x10000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		start();
		machine_add_memory(&m, 0, GIB, MEM_RAM);
		(void)drhd(16, 1, 0, 0xfed91000);
		scope(drhd(16 + 8, 0, 0, bases[i]) + 16, 1, 0, 2, 0);
		finish();
		ATF_CHECK_EQ(m.iommu[1].kind, IOMMU_NONE);
		ATF_CHECK(machine_noted(&m, "refused"));
		ATF_CHECK_EQ(unit_of(2, 0, NULL), -1);
		ATF_CHECK_EQ(unit_of(3, 0, NULL), 0);
	}
	/* The refused one covers the rest: nobody does. */
	start();
	(void)drhd(16, 1, 0, 0);
	finish();
	ATF_CHECK(in_doubt(3, 0));
}

/* D10 */
ATF_TC_WITHOUT_HEAD(who_is_claimed_by_two_units_has_none);
ATF_TC_BODY(who_is_claimed_by_two_units_has_none, tc)
{
	/* The rest; a unit that is refused claims it too. */
	for (unsigned i = 0; i < 2; i++) {
		start();
		(void)drhd(16, 1, 0, 0xfed90000);
		(void)drhd(16, 1, 1, 0xfed92000);
		scope(drhd(16 + 8, 1, 0, i == 0 ? 0xfed91000 : 0xfed90000) + 16, 1, 0, 3, 0);
		finish();
		ATF_CHECK(machine_noted(&m, "the second for all of segment 0"));
		ATF_CHECK(in_doubt(2, 0));
		ATF_CHECK_EQ(unit_of(3, 0, NULL), i == 0 ? 2 : -1);
	}
	/* By name. */
	start();
	scope(drhd(16 + 8, 0, 0, 0xfed90000) + 16, 1, 0, 2, 0);
	scope(drhd(16 + 8, 0, 0, 0xfed91000) + 16, 1, 0, 2, 0);
	scope(drhd(16 + 8, 0, 0, 0xfed92000) + 16, 1, 0, 3, 0);
	finish();
	ATF_CHECK(in_doubt(2, 0));
	ATF_CHECK_EQ(unit_of(3, 0, NULL), 2);
}

ATF_TC_WITHOUT_HEAD(more_units_and_scopes_than_fit_are_not_the_rest);
ATF_TC_BODY(more_units_and_scopes_than_fit_are_not_the_rest, tc)
{
	start();
	(void)drhd(16, 1, 0, 0xfed00000);
	for (uint32_t i = 0; i < MACHINE_IOMMU_MAX; i++)
		scope(drhd(16 + 8, 0, 0, 0xfed10000 + i * PAGE_SIZE) + 16, 1, 0, (uint8_t)i, 0);
	finish();
	ATF_CHECK_EQ(m.iommu_count, MACHINE_IOMMU_MAX);
	ATF_CHECK_EQ(unit_of(0, 0, NULL), 1);
	ATF_CHECK_EQ(unit_of(MACHINE_IOMMU_MAX - 1, 0, NULL), -1); /* the one that found no room */
	ATF_CHECK_EQ(unit_of(31, 0, NULL), 0);
	start();
	(void)drhd(16, 1, 0, 0xfed00000);
	{
		uint8_t *e = drhd(16 + 8 * (MACHINE_SCOPE_MAX + 1), 0, 0, 0xfed10000);

		for (uint32_t i = 0; i <= MACHINE_SCOPE_MAX; i++)
			scope(e + 16 + 8 * i, 1, 1, (uint8_t)(i >> 3), i & 7);
	}
	finish();
	ATF_CHECK_EQ(m.scope_count, MACHINE_SCOPE_MAX);
	ATF_CHECK(m.scopes_lost);
	ATF_CHECK_EQ(unit_of(31, 0, NULL), -1);
}

/* VTD-09, VTD-10 */
ATF_TC_WITHOUT_HEAD(a_reserved_region_that_cannot_be_still_holds_its_devices);
ATF_TC_BODY(a_reserved_region_that_cannot_be_still_holds_its_devices, tc)
{
	static const struct { uint64_t base, last;
	} bad[] = {
		{ 0x7000'1000, 0x7000'0fff },
		{ 0x7000'0800, 0x7000'0fff },
		{ 0x7000'0000, 0x7000'0ffe },
		{ 0, UINT64_MAX },
		{ 0x1000'0000, 0x1000'0fff },
	};
	bool reserved;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start();
		machine_add_memory(&m, 0, GIB, MEM_RAM);
		(void)drhd(16, 1, 0, 0xfed91000);
		scope(rmrr(32, bad[i].base, bad[i].last) + 24, 1, 0, 2, 0);
		finish();
		ATF_REQUIRE_EQ(m.reserved_count, 1);
		ATF_CHECK(m.reserved[0].absurd);
		ATF_CHECK(machine_noted(&m, "its devices are refused"));
		ATF_CHECK(unit_of(2, 0, &reserved) == 0 && reserved);
		ATF_CHECK(unit_of(3, 0, &reserved) == 0 && !reserved);
	}
	/* Devices that cannot be read: all of them. */
	for (unsigned i = 0; i < 2; i++) {
		start();
		(void)drhd(16, 1, 0, 0xfed91000);
		if (i == 0)
			(void)rmrr(24, 0x70000000, 0x70000fff);
		else
			scope(rmrr(32, 0x70000000, 0x70000fff) + 24, 1, 0, 99, 0);
		finish();
		ATF_CHECK(m.reserved[0].any_device);
		ATF_CHECK(unit_of(3, 0, &reserved) == 0 && reserved);
	}
	/* More than fit: everybody's. */
	start();
	(void)drhd(16, 1, 0, 0xfed91000);
	for (uint32_t i = 0; i <= MACHINE_RESERVED_MAX; i++)
		scope(rmrr(32, 0x70000000, 0x70000fff) + 24, 1, 1, (uint8_t)(i >> 3), i & 7);
	finish();
	ATF_CHECK_EQ(m.reserved_count, MACHINE_RESERVED_MAX);
	(void)unit_of(3, 0, &reserved);
	ATF_CHECK(reserved);
}

ATF_TC_WITHOUT_HEAD(bent_tables_are_read_within_their_bytes);
ATF_TC_BODY(bent_tables_are_read_within_their_bytes, tc)
{
	srand(6);
	for (unsigned run = 0; run < 5000; run++) {
		start();
		for (unsigned i = 0; i < 3; i++) {
			uint8_t *e = drhd(16 + 16, 0, 0, 0xfed90000 + i * PAGE_SIZE);

			scope(e + 16, 1, 0, (uint8_t)(2 * i), 0);
			scope(e + 24, 2, 0, (uint8_t)(2 * i + 1), 0);
			scope(rmrr(32, 0x70000000, 0x70000fff) + 24, 1, 0, (uint8_t)i, 0);
		}
		for (unsigned k = 0; k <= run % 4; k++)
			body[48 + (unsigned)rand() % (used - 48)] = (uint8_t)rand();
		if (run % 3 == 0)
			used = 36 + (unsigned)rand() % (used - 36);
		finish();
		for (uint32_t i = 0; i < m.scope_count; i++)
			ATF_REQUIRE(m.scope[i].path_len <= MACHINE_PATH_MAX);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, units_and_regions_are_read);
	ATF_TP_ADD_TC(tp, absurd_subtables_end_the_walk_and_with_it_the_rest);
	ATF_TP_ADD_TC(tp, absurd_scopes_make_the_rest_unknown);
	ATF_TP_ADD_TC(tp, a_refused_unit_keeps_its_devices);
	ATF_TP_ADD_TC(tp, who_is_claimed_by_two_units_has_none);
	ATF_TP_ADD_TC(tp, more_units_and_scopes_than_fit_are_not_the_rest);
	ATF_TP_ADD_TC(tp, a_reserved_region_that_cannot_be_still_holds_its_devices);
	ATF_TP_ADD_TC(tp, bent_tables_are_read_within_their_bytes);
	return atf_no_error();
}
