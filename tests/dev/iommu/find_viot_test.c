/*
 * dev/iommu/find_viot.c: virtio units, who is behind them, and what leads nowhere.
 *
 * LINK: dev/iommu/find_viot.c kern/machine/acpi_tables.c kern/machine/machine.c
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
static uint16_t nodes;

static void
start(void)
{
	memset(&m, 0, sizeof(m));
	ab_free(&b);
	memset(body, 0, sizeof(body));
	used = 48;
	nodes = 0;
}

static uint8_t *
node(uint8_t type, uint16_t n)
{
	uint8_t *e = body + used;

	e[0] = type;
	ab_put16(e + 2, n);
	used += n;
	nodes++;
	return e;
}

static uint16_t
unit(uint16_t segment, uint16_t rid)
{
	uint8_t *e = node(3, 16);

	ab_put16(e + 4, segment);
	ab_put16(e + 6, rid);
	return (uint16_t)(e - body);
}

static void
range(uint32_t out, uint16_t segment, uint16_t last_segment, uint16_t first, uint16_t last,
    uint16_t to)
{
	uint8_t *e = node(1, 24);

	ab_put32(e + 4, out);
	ab_put16(e + 8, segment);
	ab_put16(e + 10, last_segment);
	ab_put16(e + 12, first);
	ab_put16(e + 14, last);
	ab_put16(e + 16, to);
}

static void
finish_at(uint16_t count, uint16_t offset)
{
	uint8_t *t = ab_table(&b, "VIOT", used);

	memcpy(t + 36, body + 36, used - 36);
	if (used >= 40) {
		ab_put16(t + 36, count);
		ab_put16(t + 38, offset);
	}
	ab_finish(&b, AB_XSDT);
	find_viot(&m, ab_source(&b));
}

static void finish(void) { finish_at(nodes, 48); }

static int
unit_of(uint16_t segment, uint16_t rid, uint32_t *id)
{
	struct idmap_path p = { .segment = segment, .rid = rid };
	uint32_t u, dummy;
	const char *why;
	bool reserved;

	return machine_find_iommu(&m, &p, &u, id != NULL ? id : &dummy, &reserved, &why) ? (int)u :
											   -1;
}

/* VIO-30, VIO-31 */
/* No unit's, and not behind none either. */
static bool
in_doubt(uint16_t segment, uint16_t rid)
{
	struct idmap_path p = { .segment = segment, .rid = rid };

	return unit_of(segment, rid, NULL) == -1 && !machine_without_iommu(&m, &p);
}

ATF_TC_WITHOUT_HEAD(units_and_ranges_are_read_and_the_unit_itself_is_left_out);
ATF_TC_BODY(units_and_ranges_are_read_and_the_unit_itself_is_left_out, tc)
{
	uint32_t id;

	start();
	range(0, 0, 0, 0, 0xffff, 72);		/* before its unit, as QEMU does not */
	(void)unit(0, 8);
	finish();
	ATF_CHECK_EQ_MSG(m.note_count, 0, "%s", m.note[0]);
	ATF_REQUIRE_EQ(m.iommu_count, 1);
	ATF_CHECK(m.iommu[0].kind == IOMMU_VIRTIO && m.iommu[0].requester == 8 &&
	    m.iommu[0].segment == 0);
	for (uint32_t rid = 0; rid < 0x10000; rid += rid < 32 ? 1 : 99)
		ATF_REQUIRE(unit_of(0, (uint16_t)rid, &id) == (rid == 8 ? -1 : 0) &&
		    (rid == 8 || id == rid));
	ATF_CHECK_EQ(unit_of(1, 0, NULL), -1);
	start();
	{
		uint16_t a = unit(0, 0x10), z = unit(1, 0x20);

		range(0x1000, 0, 0, 0x10, 0x1ff, a);		/* begins with the unit */
		range(0x20000, 1, 2, 0x100, 0x1ff, z);		/* two segments */
		(void)node(2, 24);				/* not PCI */
		(void)node(77, 8);
	}
	finish();
	ATF_CHECK_EQ(m.note_count, 0);
	ATF_CHECK_EQ(unit_of(0, 0x10, NULL), -1);
	ATF_CHECK(unit_of(0, 0x11, &id) == 0 && id == 0x1001);
	ATF_CHECK(unit_of(0, 0x1ff, &id) == 0 && id == 0x11ef);
	ATF_CHECK_EQ(unit_of(0, 0x200, NULL), -1);
	ATF_CHECK(unit_of(1, 0x100, &id) == 1 && id == 0x20000);
	ATF_CHECK(unit_of(2, 0x1ff, &id) == 1 && id == 0x300ff);
}

/* D10 */
ATF_TC_WITHOUT_HEAD(what_leads_nowhere_stays_a_dead_end);
ATF_TC_BODY(what_leads_nowhere_stays_a_dead_end, tc)
{
	start();
	range(0, 0, 0, 0x100, 0x1ff, 48);		/* to itself */
	range(0, 0, 0, 0x100, 0xffff, (uint16_t)(48 + 48));
	(void)unit(0, 8);
	finish();
	ATF_CHECK(machine_noted(&m, "leads to no unit"));
	ATF_CHECK(in_doubt(0, 0x100));			/* though another leads to one */
	ATF_CHECK_EQ(unit_of(0, 0x200, NULL), 0);
	start();
	(void)node(4, 16);
	range(0, 0, 0, 0, 0xffff, 48);
	finish();
	ATF_CHECK(machine_noted(&m, "no PCI function"));
	ATF_REQUIRE_EQ(m.iommu_count, 1);
	ATF_CHECK_EQ(m.iommu[0].kind, IOMMU_NONE);
	ATF_CHECK_EQ(unit_of(0, 0x200, NULL), -1);
	start();
	{
		uint16_t a = unit(0, 8), z = unit(0, 8);

		range(0, 0, 0, 0, 0xff, a);
		range(0, 0, 0, 0x100, 0x1ff, z);
	}
	finish();
	ATF_CHECK(machine_noted(&m, "another one's function"));
	ATF_CHECK_EQ(unit_of(0, 0x10, NULL), 0);
	ATF_CHECK_EQ(unit_of(0, 0x100, NULL), -1);
}

ATF_TC_WITHOUT_HEAD(an_absurd_range_holds_its_whole_segment);
ATF_TC_BODY(an_absurd_range_holds_its_whole_segment, tc)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		uint16_t a;

		start();
		a = unit(0, 8);
		switch (kind) {
		case 0: range(0, 0, 0, 0x200, 0x1ff, a); break;
		case 1: range(0, 0, 200, 0, 0xffff, a); break;
		case 2: range(UINT32_MAX, 0, 0, 0, 1, a); break;
		case 3: range(0, 1, 0, 0, 1, a); break;
		}
		range(0, 0, 0, 0, 0xffff, a);
		finish();
		ATF_CHECK_MSG(machine_noted(&m, "is absurd"), "%u", kind);
		ATF_CHECK_EQ(unit_of(0, 0x300, NULL), kind == 3 ? 0 : -1);
	}
}

/* D10 */
ATF_TC_WITHOUT_HEAD(who_is_claimed_by_two_units_has_none);
ATF_TC_BODY(who_is_claimed_by_two_units_has_none, tc)
{
	uint16_t a, z;

	start();
	a = unit(0, 8);
	z = unit(0, 0x10);
	range(0, 0, 0, 0x100, 0x2ff, a);
	range(0x200, 0, 0, 0x200, 0x3ff, z);
	finish();
	ATF_CHECK_EQ(unit_of(0, 0x1ff, NULL), 0);
	ATF_CHECK(in_doubt(0, 0x200) && in_doubt(0, 0x2ff));
	ATF_CHECK_EQ(unit_of(0, 0x300, NULL), 1);
}

ATF_TC_WITHOUT_HEAD(absurd_nodes_end_the_walk);
ATF_TC_BODY(absurd_nodes_end_the_walk, tc)
{
	static const uint16_t lengths[] = { 0, 3, 15, 1000, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint16_t a;

		start();
		a = unit(0, 8);
		range(0, 0, 0, 0x100, 0x1ff, a);
		ab_put16(node(3, 16) + 2, lengths[i]);
		range(0, 0, 0, 0x200, 0x2ff, a);
		finish();
		ATF_CHECK(machine_noted(&m, "makes no sense"));
		ATF_CHECK_EQ(unit_of(0, 0x100, NULL), 0);
		ATF_CHECK(in_doubt(0, 0x200));
	}
	start();
	(void)unit(0, 8);
	finish_at(1, 20);
	ATF_CHECK(machine_noted(&m, "makes no sense"));
	ATF_CHECK_EQ(m.iommu_count, 0);
	start();
	(void)unit(0, 8);
	finish_at(1, 0xfff0);
	ATF_CHECK_EQ(m.iommu_count, 0);
	start();
	used = 47;
	finish();
	ATF_CHECK(machine_noted(&m, "47 bytes is too short"));
	ATF_CHECK(in_doubt(0, 0x200));
}

ATF_TC_WITHOUT_HEAD(more_units_than_fit_lead_nowhere);
ATF_TC_BODY(more_units_than_fit_lead_nowhere, tc)
{
	start();
	for (uint16_t i = 0; i <= MACHINE_IOMMU_MAX; i++) {
		uint16_t a = unit(0, (uint16_t)(8 * i));

		range(0, 0, 0, (uint16_t)(0x100 * (i + 1)), (uint16_t)(0x100 * (i + 1) + 0xff), a);
	}
	finish();
	ATF_CHECK_EQ(m.iommu_count, MACHINE_IOMMU_MAX);
	ATF_CHECK_EQ(unit_of(0, 0x100, NULL), 0);
	ATF_CHECK_EQ(unit_of(0, 0x100 * (MACHINE_IOMMU_MAX + 1), NULL), -1);
}

ATF_TC_WITHOUT_HEAD(bent_tables_are_read_within_their_bytes);
ATF_TC_BODY(bent_tables_are_read_within_their_bytes, tc)
{
	srand(8);
	for (unsigned run = 0; run < 5000; run++) {
		start();
		for (unsigned i = 0; i < 3; i++) {
			uint16_t a = unit((uint16_t)i, 8);

			range(0, (uint16_t)i, (uint16_t)i, 0, 0xffff, a);
		}
		for (unsigned k = 0; k <= run % 4; k++)
			body[48 + (unsigned)rand() % (used - 48)] = (uint8_t)rand();
		if (run % 3 == 0)
			used = 36 + (unsigned)rand() % (used - 36);
		finish_at(nodes, (uint16_t)(run % 7 == 0 ? rand() : 48));
		ATF_REQUIRE(m.stream_map_count <= MACHINE_IDMAP_MAX);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, units_and_ranges_are_read_and_the_unit_itself_is_left_out);
	ATF_TP_ADD_TC(tp, what_leads_nowhere_stays_a_dead_end);
	ATF_TP_ADD_TC(tp, an_absurd_range_holds_its_whole_segment);
	ATF_TP_ADD_TC(tp, who_is_claimed_by_two_units_has_none);
	ATF_TP_ADD_TC(tp, absurd_nodes_end_the_walk);
	ATF_TP_ADD_TC(tp, more_units_than_fit_lead_nowhere);
	ATF_TP_ADD_TC(tp, bent_tables_are_read_within_their_bytes);
	return atf_no_error();
}
