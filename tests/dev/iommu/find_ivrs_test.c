/*
 * dev/iommu/find_ivrs.c: units, who is behind them, reserved memory; and that what is refused never
 * helps a device.
 *
 * LINK: dev/iommu/find_ivrs.c kern/machine/acpi_tables.c kern/machine/machine.c
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
static uint8_t body[65536], *block;
static uint32_t used;

static void
start(void)
{
	memset(&m, 0, sizeof(m));
	ab_free(&b);
	memset(body, 0, sizeof(body));
	ab_put32(body + 36, 40 << 8 | 1);
	used = 48;
}

/* A block of the type, without entries. */
static void
open_block(uint8_t type, uint16_t n)
{
	block = body + used;
	block[0] = type;
	ab_put16(block + 2, n);
	used += n;
}

static void
ivhd(uint8_t type, uint16_t requester, uint64_t base)
{
	open_block(type, type == 0x10 ? 24 : 40);
	block[1] = 0xa5;
	ab_put16(block + 4, requester);
	ab_put16(block + 6, 0x40);
	ab_put64(block + 8, base);
}

/* One more entry of n bytes for the open block. */
static void
entry(unsigned n, uint8_t type, uint16_t id, uint16_t other, uint8_t first, uint8_t last)
{
	uint8_t *e = body + used;

	e[0] = type;
	ab_put16(e + 1, id);
	if (n >= 8) {
		e[4] = first;
		ab_put16(e + 5, other);
		e[7] = last;
	}
	used += n;
	ab_put16(block + 2, (uint16_t)(body + used - block));
}

static void
ivmd(uint8_t type, uint16_t id, uint16_t last, uint64_t base, uint64_t len)
{
	open_block(type, 32);
	block[1] = 7;
	ab_put16(block + 4, id);
	ab_put16(block + 6, last);
	ab_put64(block + 16, base);
	ab_put64(block + 24, len);
}

static void
finish(void)
{
	uint8_t *t = ab_table(&b, "IVRS", used);

	memcpy(t + 36, body + 36, used - 36);
	ab_finish(&b, AB_XSDT);
	find_ivrs(&m, ab_source(&b));
}

/* The unit of a requester, -1 none; *id what it appears as. */
static int
unit_of(uint16_t rid, uint32_t *id, bool *reserved)
{
	struct idmap_path p = { .rid = rid };
	uint32_t unit, dummy_id;
	const char *why;
	bool dummy;

	return machine_find_iommu(&m, &p, &unit, id != NULL ? id : &dummy_id,
		   reserved != NULL ? reserved : &dummy, &why) ?
	    (int)unit :
	    -1;
}

/* No unit's, and not behind none either. */
static bool
in_doubt(uint16_t rid)
{
	struct idmap_path p = { .rid = rid };

	return unit_of(rid, NULL, NULL) == -1 && !machine_without_iommu(&m, &p);
}

/* AMD-01 .. AMD-07 */
ATF_TC_WITHOUT_HEAD(units_and_lists_are_read);
ATF_TC_BODY(units_and_lists_are_read, tc)
{
	uint32_t id;

	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 0, 0, 0, 0, 0);
	entry(4, 2, 0x08, 0, 0, 0);
	entry(4, 3, 0x100, 0, 0, 0);
	entry(4, 4, 0x1ff, 0, 0, 0);
	entry(8, 0x42, 0x208, 0x200, 0, 0);		/* one, as its bridge */
	entry(8, 0x43, 0x300, 0x18, 0, 0);		/* a bus, as its bridge */
	entry(4, 4, 0x3ff, 0, 0, 0);
	entry(8, 0x46, 0x400, 0, 0, 0);
	entry(8, 0x47, 0x500, 0, 0, 0);
	entry(4, 4, 0x507, 0, 0, 0);
	entry(8, 0x48, 0, 0xa0, 3, 1);
	entry(8, 0x48, 0, 0xa2, 0, 2);
	entry(8, 0x50, 0, 0, 0, 0);			/* unknown, but its length is known */
	entry(22, 0xf0, 0x600, 0, 0, 0);
	finish();
	ATF_CHECK_EQ_MSG(m.note_count, 0, "%s", m.note[0]);
	ATF_REQUIRE_EQ(m.iommu_count, 1);
	ATF_CHECK(m.iommu[0].kind == IOMMU_AMDVI && m.iommu[0].base == 0xfed80000 &&
	    m.iommu[0].len == 0x4000);
	ATF_CHECK(m.iommu[0].host_width == 40 && m.iommu[0].requester == 0x10 &&
	    m.iommu[0].capability == 0x40);
	ATF_CHECK_EQ(m.iommu[0].ivhd_flags, 0xa5);
	for (uint32_t rid = 0x100; rid < 0x200; rid++)
		ATF_REQUIRE(unit_of((uint16_t)rid, &id, NULL) == 0 && id == rid);
	ATF_CHECK(unit_of(0x208, &id, NULL) == 0 && id == 0x200);
	for (uint32_t rid = 0x300; rid < 0x400; rid++)
		ATF_REQUIRE(unit_of((uint16_t)rid, &id, NULL) == 0 && id == 0x18);
	ATF_CHECK(unit_of(8, &id, NULL) == 0 && id == 8);
	ATF_CHECK(unit_of(0x400, &id, NULL) == 0 && unit_of(0x507, &id, NULL) == 0 && id == 0x507);
	ATF_CHECK_EQ(unit_of(0x600, NULL, NULL), 0);
	ATF_CHECK_EQ(unit_of(0x508, NULL, NULL), -1);
	ATF_CHECK_EQ(unit_of(0x200, NULL, NULL), -1);
	ATF_REQUIRE_EQ(m.scope_count, 2);
	ATF_CHECK(m.scope[0].kind == SCOPE_IOAPIC && m.scope[0].enumeration_id == 3 &&
	    m.scope[0].start_bus == 0 && m.scope[0].path[0] == 0xa0 && m.scope[0].iommu == 0);
	ATF_CHECK(m.scope[1].kind == SCOPE_HPET && m.scope[1].path[0] == 0xa2);
}

/* Linux and the manual agree: what comes later counts. */
ATF_TC_WITHOUT_HEAD(a_later_entry_overrides_an_earlier_one);
ATF_TC_BODY(a_later_entry_overrides_an_earlier_one, tc)
{
	uint32_t id;

	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 1, 0, 0, 0, 0);
	entry(8, 0x43, 0x300, 0x18, 0, 0);
	entry(4, 4, 0x3ff, 0, 0, 0);
	entry(4, 2, 0x310, 0, 0, 0);
	finish();
	ATF_CHECK_EQ(m.note_count, 0);
	ATF_CHECK(unit_of(0x2ff, &id, NULL) == 0 && id == 0x2ff);
	ATF_CHECK(unit_of(0x30f, &id, NULL) == 0 && id == 0x18);
	ATF_CHECK(unit_of(0x310, &id, NULL) == 0 && id == 0x310);
	ATF_CHECK(unit_of(0xffff, &id, NULL) == 0 && id == 0xffff);
}

/* AMD-04 */
ATF_TC_WITHOUT_HEAD(of_several_forms_the_highest_counts);
ATF_TC_BODY(of_several_forms_the_highest_counts, tc)
{
	static const uint8_t types[] = { 0x10, 0x11, 0x40 };

	for (unsigned best = 0; best < 3; best++) {
		start();
		for (unsigned i = 0; i <= best; i++) {
			ivhd(types[i], 0x10, 0xfed80000);
			entry(4, 2, (uint16_t)(0x100 + i), 0, 0, 0);
		}
		ivhd(0x41, 0x10, 0xfed80000);		/* of a later revision */
		finish();
		ATF_CHECK_EQ(m.iommu_count, 1);
		for (unsigned i = 0; i < 3; i++)
			ATF_CHECK_EQ(
			    unit_of((uint16_t)(0x100 + i), NULL, NULL), i == best ? 0 : -1);
		ATF_CHECK_EQ(m.note_count, 0);
	}
	/* A unit that only the old form names is not used, and keeps its devices. */
	start();
	ivhd(0x10, 0x10, 0xfed80000);
	entry(4, 2, 0x100, 0, 0, 0);
	ivhd(0x11, 0x4010, 0xfed90000);
	entry(4, 2, 0x4100, 0, 0, 0);
	finish();
	ATF_CHECK(machine_noted(&m, "old form only"));
	ATF_REQUIRE_EQ(m.iommu_count, 2);
	ATF_CHECK_EQ(unit_of(0x100, NULL, NULL), -1);
	ATF_CHECK_EQ(unit_of(0x4100, NULL, NULL), 1);
}

ATF_TC_WITHOUT_HEAD(a_list_that_makes_no_sense_protects_nobody_behind_that_point);
ATF_TC_BODY(a_list_that_makes_no_sense_protects_nobody_behind_that_point, tc)
{
	for (unsigned kind = 0; kind < 7; kind++) {
		start();
		ivhd(0x11, 0x10, 0xfed80000);
		entry(4, 2, 0x100, 0, 0, 0);
		switch (kind) {
		case 0: entry(4, 4, 0x120, 0, 0, 0); break;
		case 1: entry(4, 3, 0x120, 0, 0, 0); entry(4, 4, 0x11f, 0, 0, 0); break;
		case 2: entry(4, 3, 0x120, 0, 0, 0); entry(4, 2, 0x130, 0, 0, 0); break;
		case 3: entry(32, 0xf1, 0, 0, 0, 0); break;
		case 4: entry(22, 0xf0, 0x120, 0, 0, 0); body[used - 1] = 200; break;
		case 5: entry(8, 0xf0, 0x120, 0, 0, 0); break;
		case 6:
			entry(4, 0x42, 0x120, 0, 0, 0);
			used--;
			ab_put16(block + 2, (uint16_t)(body + used - block));
			break;
		}
		if (kind < 3)
			entry(4, 2, 0x140, 0, 0, 0);
		finish();
		ATF_CHECK_MSG(machine_noted(&m, "IVRS: device entry at 0x"), "kind %u", kind);
		ATF_CHECK_EQ(unit_of(0x100, NULL, NULL), 0);
		ATF_CHECK(in_doubt(0x120));
		ATF_CHECK(in_doubt(0x140));
	}
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 3, 0x120, 0, 0, 0);
	finish();
	ATF_CHECK(machine_noted(&m, "inside a range"));
	ATF_CHECK(in_doubt(0x120));
}

/* AMD-02: walks of blocks. */
ATF_TC_WITHOUT_HEAD(absurd_blocks_end_the_walk_and_every_device_may_have_lost_memory);
ATF_TC_BODY(absurd_blocks_end_the_walk_and_every_device_may_have_lost_memory, tc)
{
	static const uint16_t lengths[] = { 0, 3, 1000, 0xffff };
	bool reserved;

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		start();
		ivhd(0x11, 0x10, 0xfed80000);
		entry(4, 1, 0, 0, 0, 0);
		open_block(0x21, 32);
		ab_put16(block + 2, lengths[i]);
		finish();
		ATF_CHECK(machine_noted(&m, "makes no sense"));
		ATF_CHECK_EQ(unit_of(8, NULL, &reserved), 0);
		ATF_CHECK(reserved);
	}
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 1, 0, 0, 0, 0);
	open_block(0x20, 31);
	finish();
	ATF_CHECK(machine_noted(&m, "too short for type 32"));
	(void)unit_of(8, NULL, &reserved);
	ATF_CHECK(reserved);
	start();
	open_block(0x11, 39);
	finish();
	ATF_CHECK(machine_noted(&m, "too short for type 17"));
	ATF_CHECK_EQ(m.iommu_count, 0);
	ATF_CHECK(in_doubt(8));
	start();
	used = 47;
	finish();
	ATF_CHECK(machine_noted(&m, "47 bytes is too short"));
	ATF_CHECK(in_doubt(8));
}

/* D10 */
ATF_TC_WITHOUT_HEAD(a_refused_unit_keeps_its_devices);
ATF_TC_BODY(a_refused_unit_keeps_its_devices, tc)
{
	static const uint64_t bases[] = { 0, 0xfed81000, 1ull << 60, 0xfed90000, 0x10000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		start();
		machine_add_memory(&m, 0, GIB, MEM_RAM);
		ivhd(0x11, 0x10, 0xfed90000);
		entry(4, 2, 0x100, 0, 0, 0);
		ivhd(0x11, 0x4010, bases[i]);
		entry(4, 2, 0x4100, 0, 0, 0);
		finish();
		ATF_REQUIRE_EQ(m.iommu_count, 2);
		ATF_CHECK_EQ(m.iommu[1].kind, IOMMU_NONE);
		ATF_CHECK(machine_noted(&m, "refused"));
		ATF_CHECK_EQ(unit_of(0x4100, NULL, NULL), -1);
		ATF_CHECK_EQ(unit_of(0x100, NULL, NULL), 0);
	}
	start();
	ab_put32(body + 36, 0);
	ivhd(0x11, 0x10, 0xfed90000);
	entry(4, 1, 0, 0, 0, 0);
	finish();
	ATF_CHECK(machine_noted(&m, "no usable physical address width"));
	ATF_CHECK_EQ(unit_of(0x100, NULL, NULL), -1);
}

ATF_TC_WITHOUT_HEAD(who_is_claimed_by_two_units_has_none);
ATF_TC_BODY(who_is_claimed_by_two_units_has_none, tc)
{
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 3, 0x100, 0, 0, 0);
	entry(4, 4, 0x2ff, 0, 0, 0);
	ivhd(0x11, 0x4010, 0xfed90000);
	entry(4, 3, 0x280, 0, 0, 0);
	entry(4, 4, 0x3ff, 0, 0, 0);
	finish();
	ATF_CHECK(machine_noted(&m, "requesters 0x280 to 0x2ff are claimed by two units"));
	for (uint32_t rid = 0x100; rid < 0x400; rid++)
		ATF_REQUIRE_EQ_MSG(unit_of((uint16_t)rid, NULL, NULL),
		    rid < 0x280     ? 0 :
			rid < 0x300 ? -1 :
				      1,
		    "0x%x", rid);
	/* No room for one more run. */
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	for (uint32_t i = 0; i < MACHINE_IDMAP_MAX - 1; i++)
		entry(4, 2, (uint16_t)(0x1000 + 2 * i), 0, 0, 0);
	ivhd(0x11, 0x4010, 0xfed90000);
	entry(4, 3, 0x1000, 0, 0, 0);
	entry(4, 4, 0x1001, 0, 0, 0);
	finish();
	ATF_CHECK_EQ(m.stream_map_count, MACHINE_IDMAP_MAX);
	ATF_CHECK(in_doubt(0x1000));
	ATF_CHECK_EQ(unit_of(0x1001, NULL, NULL), 1);
	ATF_CHECK_EQ(unit_of(0x1002, NULL, NULL), 0);
}

ATF_TC_WITHOUT_HEAD(more_units_and_entries_than_fit_lead_nowhere);
ATF_TC_BODY(more_units_and_entries_than_fit_lead_nowhere, tc)
{
	start();
	for (uint32_t i = 0; i <= MACHINE_IOMMU_MAX; i++) {
		ivhd(0x11, (uint16_t)(0x10 + (i << 8)), 0xfe000000 + i * 0x4000);
		entry(4, 2, (uint16_t)(i << 8), 0, 0, 0);
	}
	finish();
	ATF_CHECK_EQ(m.iommu_count, MACHINE_IOMMU_MAX);
	ATF_CHECK_EQ(unit_of(0, NULL, NULL), 0);
	ATF_CHECK_EQ(unit_of(MACHINE_IOMMU_MAX << 8, NULL, NULL), -1);
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	for (uint32_t i = 0; i <= MACHINE_IDMAP_MAX; i++)
		entry(4, 2, (uint16_t)(0x1000 + 2 * i), 0, 0, 0);
	for (uint32_t i = 0; i <= MACHINE_SCOPE_MAX; i++)
		entry(8, 0x48, 0, 0xa0, (uint8_t)i, 1);
	finish();
	ATF_CHECK_EQ(m.stream_map_count, MACHINE_IDMAP_MAX);
	ATF_CHECK_EQ(m.scope_count, MACHINE_SCOPE_MAX);
	ATF_CHECK_EQ(m.dropped, 2);
	ATF_CHECK_EQ(unit_of(0x1000, NULL, NULL), 0);
	ATF_CHECK_EQ(unit_of(0x1000 + 2 * MACHINE_IDMAP_MAX, NULL, NULL), -1);
}

/* AMD-08 */
ATF_TC_WITHOUT_HEAD(reserved_memory_holds_its_devices);
ATF_TC_BODY(reserved_memory_holds_its_devices, tc)
{
	static const struct { uint64_t base, len;
	} bad[] = {
		{ 0x7000'0000, 0 },
		{ 0x7000'0800, 0x1000 },
		{ 0x7000'0000, 0x800 },
		{ 0x1000'0000, 0x1000 },
		{ UINT64_MAX & ~PAGE_MASK, 0x2000 },
		{ 0x1000, UINT64_MAX & ~PAGE_MASK },
	};
	bool reserved;

	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 1, 0, 0, 0, 0);
	ivmd(0x21, 0x100, 0, 0x7000'0000, 0x10000);
	ivmd(0x22, 0x200, 0x2ff, 0x7100'0000, 0x10000);
	finish();
	ATF_REQUIRE_EQ(m.reserved_count, 2);
	ATF_CHECK(m.reserved[0].base == 0x7000'0000 && m.reserved[0].len == 0x10000 &&
	    !m.reserved[0].absurd);
	for (uint32_t rid = 0; rid < 0x400; rid++) {
		ATF_REQUIRE_EQ(unit_of((uint16_t)rid, NULL, &reserved), 0);
		ATF_REQUIRE_EQ_MSG(reserved, rid == 0x100 || rid >> 8 == 2, "0x%x", rid);
	}
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 1, 0, 0, 0, 0);
	ivmd(0x20, 0, 0, 0x7000'0000, 0x10000);
	finish();
	(void)unit_of(0x321, NULL, &reserved);
	ATF_CHECK(reserved);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start();
		machine_add_memory(&m, 0, GIB, MEM_RAM);
		ivhd(0x11, 0x10, 0xfed80000);
		entry(4, 1, 0, 0, 0, 0);
		ivmd(0x21, 0x100, 0, bad[i].base, bad[i].len);
		finish();
		ATF_CHECK_MSG(m.reserved[0].absurd, "%u", i);
		(void)unit_of(0x100, NULL, &reserved);
		ATF_CHECK(reserved);
		(void)unit_of(0x101, NULL, &reserved);
		ATF_CHECK(!reserved);
	}
	/* An absurd range, and more than fit: everybody's. */
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 1, 0, 0, 0, 0);
	ivmd(0x22, 0x200, 0x1ff, 0x7000'0000, 0x10000);
	finish();
	(void)unit_of(8, NULL, &reserved);
	ATF_CHECK(reserved && machine_noted(&m, "absurd range of devices"));
	start();
	ivhd(0x11, 0x10, 0xfed80000);
	entry(4, 1, 0, 0, 0, 0);
	for (uint32_t i = 0; i <= MACHINE_RESERVED_MAX; i++)
		ivmd(0x21, (uint16_t)(0x100 + i), 0, 0x7000'0000, 0x10000);
	finish();
	(void)unit_of(8, NULL, &reserved);
	ATF_CHECK(reserved);
}

ATF_TC_WITHOUT_HEAD(bent_tables_are_read_within_their_bytes);
ATF_TC_BODY(bent_tables_are_read_within_their_bytes, tc)
{
	srand(7);
	for (unsigned run = 0; run < 5000; run++) {
		start();
		for (unsigned i = 0; i < 3; i++) {
			ivhd(i == 2 ? 0x10 : 0x11, (uint16_t)(0x10 + (i << 12)),
			    0xfed80000 + i * 0x4000);
			entry(4, 3, (uint16_t)(i << 12), 0, 0, 0);
			entry(4, 4, (uint16_t)((i << 12) + 0xfff), 0, 0, 0);
			entry(8, 0x42, (uint16_t)(i << 12), 0x18, 0, 0);
			entry(8, 0x48, 0, 0xa0, (uint8_t)i, 1);
			ivmd(0x22, 0x100, 0x1ff, 0x7000'0000, 0x10000);
		}
		for (unsigned k = 0; k <= run % 4; k++)
			body[48 + (unsigned)rand() % (used - 48)] = (uint8_t)rand();
		if (run % 3 == 0)
			used = 36 + (unsigned)rand() % (used - 36);
		finish();
		ATF_REQUIRE(m.stream_map_count <= MACHINE_IDMAP_MAX &&
		    m.reserved_count <= MACHINE_RESERVED_MAX);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, units_and_lists_are_read);
	ATF_TP_ADD_TC(tp, a_later_entry_overrides_an_earlier_one);
	ATF_TP_ADD_TC(tp, of_several_forms_the_highest_counts);
	ATF_TP_ADD_TC(tp, a_list_that_makes_no_sense_protects_nobody_behind_that_point);
	ATF_TP_ADD_TC(tp, absurd_blocks_end_the_walk_and_every_device_may_have_lost_memory);
	ATF_TP_ADD_TC(tp, a_refused_unit_keeps_its_devices);
	ATF_TP_ADD_TC(tp, who_is_claimed_by_two_units_has_none);
	ATF_TP_ADD_TC(tp, more_units_and_entries_than_fit_lead_nowhere);
	ATF_TP_ADD_TC(tp, reserved_memory_holds_its_devices);
	ATF_TP_ADD_TC(tp, bent_tables_are_read_within_their_bytes);
	return atf_no_error();
}
