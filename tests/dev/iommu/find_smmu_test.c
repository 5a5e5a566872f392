/*
 * dev/iommu/find_smmu.c: units and maps of two machines, and maps that lead nowhere.
 *
 * LINK: dev/iommu/find_smmu.c kern/machine/fdt_machine.c kern/machine/fdt_irq.c
 * LINK: kern/machine/fdt.c
 * LINK: kern/machine/machine.c kern/machine/idmap.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fdt_build.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/machine/fdt.h"
#include "kern/machine/find.h"
#include "kern/machine/idmap.h"
#include "tests/lib/fdt_build.h"
#include "tests/lib/machine_noted.h"

static const uint8_t virt[] = {
#embed "../../../build/dts/virt.dtb"
};
static const uint8_t soc[] = {
#embed "../../../build/dts/soc.dtb"
};

static struct machine m;
static struct fdt_build b;
static uint32_t unit, id;
static const char *why;

static void
read_tree(const void *blob, size_t len)
{
	memset(&m, 0, sizeof(m));
	ATF_REQUIRE_EQ(fdt_machine(&m, blob, len), OK);
	find_smmu_fdt(&m, blob, len);
}

static uint8_t
no_bridge(uint16_t segment, uint16_t rid)
{
	(void)segment;
	(void)rid;
	return 0xff;
}

static bool
find(uint16_t segment, uint16_t rid)
{
	struct idmap_path p = { .segment = segment, .rid = rid, .secondary = no_bridge };
	bool reserved;

	return machine_find_iommu(&m, &p, &unit, &id, &reserved, &why);
}

/* No unit's, and not behind none either. */
static bool
in_doubt(uint16_t segment, uint16_t rid)
{
	struct idmap_path p = { .segment = segment, .rid = rid, .secondary = no_bridge };

	return !find(segment, rid) && !machine_without_iommu(&m, &p);
}

ATF_TC_WITHOUT_HEAD(a_virtual_machines_unit_and_maps_are_found);
ATF_TC_BODY(a_virtual_machines_unit_and_maps_are_found, tc)
{
	const struct machine_iommu *u = &m.iommu[0];

	read_tree(virt, sizeof(virt));
	ATF_CHECK_EQ(m.note_count, 0);
	ATF_REQUIRE_EQ(m.iommu_count, 1);
	ATF_CHECK(
	    u->kind == IOMMU_SMMUV3 && u->base == 0x9050000 && u->len == 0x20000 && u->model == 0);
	ATF_CHECK(u->coherent_known && u->coherent);
	ATF_CHECK(u->eventq.present && u->eventq.id == 106 && !u->eventq.level);
	ATF_CHECK(u->priq.id == 107 && u->cmdq_sync.id == 108 && u->gerror.id == 109 &&
	    !u->combined.present);
	ATF_CHECK(find(0, 0x0108) && unit == 0 && id == 0x0108);
	ATF_CHECK(find(0, 0xffff) && id == 0xffff);
	ATF_CHECK(machine_find_its(&m, 0, 0x0108, &unit, &id) && unit == 0 && id == 0x0108);
	ATF_CHECK(!find(1, 0x0108));
}

ATF_TC_WITHOUT_HEAD(a_boards_maps_lead_to_the_right_units_or_nowhere);
ATF_TC_BODY(a_boards_maps_lead_to_the_right_units_or_nowhere, tc)
{
	read_tree(soc, sizeof(soc));
	ATF_REQUIRE_EQ(m.iommu_count, 2);		/* the one that is switched off is none */
	ATF_CHECK(m.iommu[0].base == 0x1'2000'0000 && !m.iommu[0].coherent);
	ATF_CHECK(m.iommu[0].combined.present && m.iommu[0].combined.id == 92);
	ATF_CHECK(m.iommu[1].base == 0x1'2004'0000 && m.iommu[1].coherent);
	ATF_CHECK(m.iommu[1].gerror.id == 93 && m.iommu[1].eventq.id == 94);
	ATF_CHECK(find(0, 0x2009) && unit == 0 && id == 0x108);	/* mask 0xfff8 */
	ATF_CHECK(find(0, 0x2100) && unit == 1 && id == 0);
	/* Nobody's, though a later entry would lead to a unit that we know. */
	ATF_CHECK(!find(0, 0x2200));
	ATF_CHECK_STREQ(why, "behind an IOMMU of unknown kind");
	ATF_CHECK(machine_noted(&m, "iommu-map leads to iommu@200c0000, which is not known"));
	ATF_CHECK(!find(0, 0x2300));
	ATF_CHECK_STREQ(why, "firmware's id map leads it to no IOMMU");
	ATF_CHECK(!find(1, 0x0000));
	ATF_CHECK(machine_find_its(&m, 0, 0x23ff, &unit, &id) && unit == 1 && id == 0x83ff);
	ATF_CHECK(machine_find_its(&m, 1, 0x1234, &unit, &id) && unit == 0 &&
	    id == 0x1234); /* msi-parent */
}

static uint64_t twin;	/* registers of a second unit (phandle 3); 0: there is none */

/* A host bridge with these maps, a unit (phandle 1) and something else (phandle 2). */
static void
small(const uint64_t *iommu_map, uint32_t unit_cells, uint64_t unit_base)
{
	size_t len;
	uint8_t *blob;

	memset(&b, 0, sizeof(b));
	fb_begin(&b, "");
	fb_cell(&b, "#address-cells", 2);
	fb_cell(&b, "#size-cells", 2);
	fb_begin(&b, "memory");
	fb_string(&b, "device_type", "memory");
	FB_CELLS(&b, "reg", 0, 0x40000000, 0, 0x40000000);
	fb_end(&b);
	fb_begin(&b, "smmu");
	fb_string(&b, "compatible", "arm,smmu-v3");
	FB_CELLS(&b, "reg", 0, unit_base, 0, 0x20000);
	fb_cell(&b, "phandle", 1);
	fb_cell(&b, "#iommu-cells", unit_cells);
	fb_end(&b);
	if (twin != 0) {
		fb_begin(&b, "twin");
		fb_string(&b, "compatible", "arm,smmu-v3");
		FB_CELLS(&b, "reg", 0, twin, 0, 0x20000);
		fb_cell(&b, "phandle", 3);
		fb_cell(&b, "#iommu-cells", 1);
		fb_end(&b);
	}
	fb_begin(&b, "other");
	FB_CELLS(&b, "reg", 0, 0x1000, 0, 0x1000);
	fb_cell(&b, "phandle", 2);
	fb_end(&b);
	fb_begin(&b, "pci");
	fb_string(&b, "compatible", "pci-host-ecam-generic");
	fb_cell(&b, "#address-cells", 3);
	fb_cell(&b, "#size-cells", 2);
	FB_CELLS(&b, "reg", 0, 0x30000000, 0, 0x1000000);
	fb_cells(&b, "iommu-map", iommu_map);
	fb_end(&b);
	fb_end(&b);
	blob = fb_blob(&b, &len);
	read_tree(blob, len);
	free(blob);
}

#define MAP(...)	(const uint64_t[]){ __VA_ARGS__, FB_STOP }

ATF_TC_WITHOUT_HEAD(entries_that_make_no_sense_are_dead_ends);
ATF_TC_BODY(entries_that_make_no_sense_are_dead_ends, tc)
{
	small(MAP(0, 9, 0, 0x100, 0, 1, 0, 0x10000), 1, 0x9000000);
	ATF_CHECK(machine_noted(&m, "phandle 0x9 is nobody's"));
	ATF_CHECK(in_doubt(0, 0x80));
	ATF_CHECK(find(0, 0x100) && id == 0x100);
	small(MAP(0, 2, 0, 0x100, 0, 1, 0, 0x10000), 1, 0x9000000);
	ATF_CHECK(in_doubt(0, 0x80));
	ATF_CHECK(find(0, 0x100));
	small(MAP(0, 1, 0xffffff00, 0x101, 0, 1, 0, 0x10000), 1, 0x9000000); /* stream ids wrap */
	ATF_CHECK(machine_noted(&m, "absurd run"));
	ATF_CHECK(in_doubt(0, 0x80));
	small(MAP(0x10000, 1, 0, 0x100), 1, 0x9000000);
	ATF_CHECK(!find(0, 0));
	small(MAP(0, 1, 0, 0), 1, 0x9000000);				/* an empty run */
	ATF_CHECK(!find(0, 0));
	ATF_CHECK_EQ(m.note_count, 5);                 /* all of the machine's missing parts */
	small(MAP(0, 1, 5, 6, 0x10000), 2, 0x9000000); /* two cells: we know no such unit */
	ATF_CHECK(machine_noted(&m, "smmu takes 2 cells"));
	ATF_CHECK(in_doubt(0, 0));
	small(MAP(0, 1, 5, 6, 0x10000), 0xffffffff, 0x9000000);
	ATF_CHECK(machine_noted(&m, "entry at 0 is cut off"));
	ATF_CHECK(in_doubt(0, 0));
	small(MAP(0, 1, 0), 1, 0x9000000);
	ATF_CHECK(in_doubt(0, 0));
	small(MAP(0, 1, 0, 0x100, 0x100), 1, 0x9000000);	/* a word too much */
	ATF_CHECK(machine_noted(&m, "entry at 16 is cut off"));
	ATF_CHECK(find(0, 0) && in_doubt(0, 0x100));
}

/* D10 */
ATF_TC_WITHOUT_HEAD(who_is_claimed_by_two_units_has_none);
ATF_TC_BODY(who_is_claimed_by_two_units_has_none, tc)
{
	twin = 0x9080000;
	small(MAP(0, 1, 0, 0x200, 0x100, 3, 0x100, 0x200), 1, 0x9000000);
	ATF_CHECK_EQ(m.iommu_count, 2);
	ATF_CHECK(find(0, 0xff) && unit == 0);
	ATF_CHECK(in_doubt(0, 0x100) && in_doubt(0, 0x1ff));
	ATF_CHECK_STREQ(why, "two IOMMUs claim it");
	ATF_CHECK(find(0, 0x200) && unit == 1);
	small(MAP(0, 1, 0, 0x200, 0x100, 1, 0x1000, 0x10), 1, 0x9000000);
	ATF_CHECK(in_doubt(0, 0x100) && find(0, 0x110));
	twin = 0x9010000;		/* within the other's 128 KiB */
	small(MAP(0, 1, 0, 0x100, 0x100, 3, 0x100, 0x100), 1, 0x9000000);
	ATF_CHECK(machine_noted(&m, "twin has another unit's registers: refused"));
	ATF_CHECK(find(0, 0) && in_doubt(0, 0x100));
	twin = 0x9000000;
	small(MAP(0, 1, 0, 0x100, 0x100, 3, 0x100, 0x100), 1, 0x9000000);
	ATF_CHECK(find(0, 0) && in_doubt(0, 0x100));
	twin = 0;
}

/* D10 */
ATF_TC_WITHOUT_HEAD(a_unit_with_absurd_registers_is_kept_as_one_that_protects_nobody);
ATF_TC_BODY(a_unit_with_absurd_registers_is_kept_as_one_that_protects_nobody, tc)
{
	static const uint64_t bases[] = { 0, 0x9001000, 0x40000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		small(MAP(0, 1, 0, 0x10000), 1, bases[i]);
		ATF_REQUIRE_EQ(m.iommu_count, 1);
		ATF_CHECK_EQ(m.iommu[0].kind, IOMMU_NONE);
		ATF_CHECK(machine_noted(&m, "smmu has no usable registers: refused"));
		ATF_CHECK(!find(0, 8));
		ATF_CHECK_STREQ(why, "behind an IOMMU that was refused");
	}
}

ATF_TC_WITHOUT_HEAD(bent_trees_are_read_within_their_bytes);
ATF_TC_BODY(bent_trees_are_read_within_their_bytes, tc)
{
	uint8_t *bent = malloc(sizeof(soc));

	srand(7);
	for (unsigned run = 0; run < 4000; run++) {
		memcpy(bent, soc, sizeof(soc));
		for (unsigned k = 0; k <= run % 4; k++)
			bent[(size_t)rand() % sizeof(soc)] =
			    (uint8_t)(rand() % 3 == 0 ? 0xff : rand());
		memset(&m, 0, sizeof(m));
		(void)fdt_machine(&m, bent, sizeof(soc));
		find_smmu_fdt(&m, bent, sizeof(soc));
		for (unsigned k = 0; k < 8; k++)
			if (find(0, (uint16_t)rand()))
				ATF_REQUIRE(
				    unit < m.iommu_count && m.iommu[unit].kind == IOMMU_SMMUV3);
	}
	free(bent);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_virtual_machines_unit_and_maps_are_found);
	ATF_TP_ADD_TC(tp, a_boards_maps_lead_to_the_right_units_or_nowhere);
	ATF_TP_ADD_TC(tp, entries_that_make_no_sense_are_dead_ends);
	ATF_TP_ADD_TC(tp, who_is_claimed_by_two_units_has_none);
	ATF_TP_ADD_TC(tp, a_unit_with_absurd_registers_is_kept_as_one_that_protects_nobody);
	ATF_TP_ADD_TC(tp, bent_trees_are_read_within_their_bytes);
	return atf_no_error();
}
