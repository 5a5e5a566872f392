/*
 * dev/iommu/find_iort.c: the graph as runs of requester ids, the off-by-one of real firmware, and
 * graphs that lie.
 *
 * LINK: dev/iommu/find_iort.c kern/machine/acpi_tables.c kern/machine/machine.c
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
static uint8_t body[16384];
static uint32_t used, nodes;
static uint32_t unit, id;
static bool reserved;
static const char *why;

static void
start(void)
{
	memset(&m, 0, sizeof(m));
	ab_free(&b);
	memset(body, 0, sizeof(body));
	used = 48;
	nodes = 0;
	m.irqc.its_count = 2;
	m.irqc.its[0].id = 7;
	m.irqc.its[1].id = 9;
	m.host_count = 1;
	m.host[0].dma_coherent = true;
}

/* A node with n mappings behind its len bytes; its offset. */
static uint32_t
node(uint8_t type, uint8_t revision, uint16_t len, uint32_t n)
{
	uint32_t at = used;

	body[at] = type;
	ab_put16(body + at + 1, (uint16_t)(len + 20 * n));
	body[at + 3] = revision;
	ab_put32(body + at + 8, n);
	ab_put32(body + at + 12, n == 0 ? 0 : len);
	used += len + 20 * n;
	nodes++;
	return at;
}

static void
map(uint32_t at, uint32_t len, uint32_t i, uint32_t in, uint32_t less_one, uint32_t out,
    uint32_t to, uint32_t flags)
{
	uint8_t *p = body + at + len + 20 * i;

	ab_put32(p, in);
	ab_put32(p + 4, less_one);
	ab_put32(p + 8, out);
	ab_put32(p + 12, to);
	ab_put32(p + 16, flags);
}

static uint32_t
its_group(uint32_t a, uint32_t c)
{
	uint32_t at = node(0, 1, 28, 0);

	ab_put32(body + at + 16, 2);
	ab_put32(body + at + 20, a);
	ab_put32(body + at + 24, c);
	return at;
}

static uint32_t
smmu(uint64_t base, uint32_t n)
{
	uint32_t at = node(4, 5, 68, n);

	ab_put64(body + at + 16, base);
	for (uint32_t i = 0; i < 4; i++)
		ab_put32(body + at + 44 + 4 * i, 106 + i);
	return at;
}

static uint32_t
root(uint32_t segment, uint32_t n)
{
	uint32_t at = node(2, 1, 36, n);

	ab_put32(body + at + 16, 1);
	ab_put32(body + at + 28, segment);
	body[at + 32] = 64;
	return at;
}

static void
finish(void)
{
	uint8_t *t = ab_table(&b, "IORT", used);

	if (used >= 48) {
		memcpy(t + 48, body + 48, used - 48);
		ab_put32(t + 36, nodes);
		ab_put32(t + 40, 48);
	}
	ab_finish(&b, AB_XSDT);
	find_iort(&m, ab_source(&b));
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

	return machine_find_iommu(&m, &p, &unit, &id, &reserved, &why);
}

/* No unit's, and not behind none either. */
static bool
in_doubt(uint16_t segment, uint16_t rid)
{
	struct idmap_path p = { .segment = segment, .rid = rid, .secondary = no_bridge };

	return !find(segment, rid) && !machine_without_iommu(&m, &p);
}

static bool
its(uint16_t rid)
{
	return machine_find_its(&m, 0, rid, &unit, &id);
}

ATF_TC_WITHOUT_HEAD(a_chain_of_identity_maps);
ATF_TC_BODY(a_chain_of_identity_maps, tc)
{
	uint32_t g, s, r;

	start();
	g = its_group(9, 7);
	s = smmu(0x9050000, 1);
	map(s, 68, 0, 0, 0xffff, 0, g, 0);
	r = root(0, 1);
	map(r, 36, 0, 0, 0xffff, 0, s, 0);
	finish();
	ATF_CHECK_EQ(m.note_count, 0);
	ATF_REQUIRE_EQ(m.iommu_count, 1);
	ATF_CHECK(m.iommu[0].kind == IOMMU_SMMUV3 && m.iommu[0].base == 0x9050000);
	ATF_CHECK(m.iommu[0].coherent_known && !m.iommu[0].coherent && !m.iommu[0].msi_known);
	ATF_CHECK(m.iommu[0].eventq.id == 106 && m.iommu[0].priq.id == 107 &&
	    m.iommu[0].gerror.id == 108 && m.iommu[0].cmdq_sync.id == 109);
	ATF_CHECK(find(0, 0x1234) && unit == 0 && id == 0x1234);
	ATF_CHECK(its(0x1234) && unit == 1 && id == 0x1234);
	ATF_CHECK(m.host[0].dma_coherent && m.host[0].dma_last == 0);
}

ATF_TC_WITHOUT_HEAD(both_hops_are_composed);
ATF_TC_BODY(both_hops_are_composed, tc)
{
	uint32_t r, s0, s1, g;

	start();
	r = root(0, 4);
	s0 = used;		/* the root refers forward */
	s1 = s0 + 68 + 3 * 20;
	g = s1 + 68 + 20;
	map(r, 36, 0, 0x0000, 0x00ff, 0x1000, s0, 0);
	map(r, 36, 1, 0x0100, 0x00ff, 0x0000, s1, 0);
	map(r, 36, 2, 0x0200, 0x00ff, 0x4000, g, 0);		/* no unit on the way */
	map(r, 36, 3, 0xff00, 0x1ffff, 0x8000, s0, 0);		/* longer than requester ids go */
	ATF_REQUIRE_EQ(smmu(0x9050000, 3), s0);
	map(s0, 68, 0, 0x1000, 0x007f, 0x20000, g, 0);
	map(s0, 68, 1, 0x1080, 0x0fff, 0x30000, g, 0);
	map(s0, 68, 2, 0, 0, 0x77, g, 1);			/* the unit's own messages */
	body[s0 + 24] = 1 | 1 << 4;
	ab_put32(body + s0 + 64, 2);
	ATF_REQUIRE_EQ(smmu(0x9070000, 1), s1);
	map(s1, 68, 0, 0x0080, 0x0000, 0x5000, g, 0);
	ATF_REQUIRE_EQ(its_group(99, 7), g);
	finish();
	ATF_CHECK_EQ(m.note_count, 0);
	ATF_REQUIRE_EQ(m.iommu_count, 2);
	ATF_CHECK(m.iommu[0].coherent && m.iommu[0].msi_known && m.iommu[0].msi_its == 0 &&
	    m.iommu[0].msi_device_id == 0x77);
	ATF_CHECK(find(0, 0x0042) && unit == 0 && id == 0x1042);
	ATF_CHECK(find(0, 0x0180) && unit == 1 && id == 0x0080);
	ATF_CHECK(!find(0, 0x0242));
	ATF_CHECK_STREQ(why, "firmware's id map leads it to no IOMMU");
	ATF_CHECK(find(0, 0xffff) && unit == 0 && id == 0x80ff);
	ATF_CHECK(its(0x007f) && unit == 0 && id == 0x2007f);
	ATF_CHECK(its(0x0080) && id == 0x30000);
	ATF_CHECK(its(0x0180) && id == 0x5000);
	ATF_CHECK(!its(0x0181));
	ATF_CHECK(its(0x0242) && id == 0x4042);
	ATF_CHECK(!its(0xff00));
}

/* SMMU-107 */
ATF_TC_WITHOUT_HEAD(a_count_that_is_one_too_large_loses_its_last_id);
ATF_TC_BODY(a_count_that_is_one_too_large_loses_its_last_id, tc)
{
	for (unsigned order = 0; order < 2; order++) {
		uint32_t s, r;

		start();
		s = smmu(0x9050000, 0);
		r = root(0, 3);
		map(r, 36, order, 0x0000, 0x0100, 0x1000, s,
		    0); /* 0 to 0x100, which should be 0xff */
		map(r, 36, 1 - order, 0x0100, 0x0100, 0x2000, s, 0);
		map(r, 36, 2, 0x0200, 0, 0x3000, s, 0);			/* a single one */
		finish();
		ATF_CHECK(find(0, 0x00ff) && id == 0x10ff);
		ATF_CHECK(find(0, 0x0100) && id == 0x2000);
		ATF_CHECK(find(0, 0x01ff) && id == 0x20ff);
		ATF_CHECK(find(0, 0x0200) && id == 0x3000);
		ATF_CHECK_EQ(m.note_count, 0);
	}
}

ATF_TC_WITHOUT_HEAD(any_other_overlap_is_nobodys);
ATF_TC_BODY(any_other_overlap_is_nobodys, tc)
{
	static const struct {
		uint32_t in, last;
	} second[] = { { 0x80, 0x100 }, { 0, 0x100 }, { 0x40, 1 }, { 0x10, 0 }, { 0, 0 } };

	for (unsigned i = 0; i < ARRAY_SIZE(second); i++) {
		uint32_t s, r, g;

		start();
		g = its_group(7, 7);
		s = smmu(0x9050000, 0);
		r = root(0, 3);
		map(r, 36, 0, 0, 0x100, 0x1000, s, 0);
		map(r, 36, 1, second[i].in, second[i].last, 0x2000, g, 0); /* perhaps no unit */
		map(r, 36, 2, 0x8000, 0xff, 0x8000, s, 0);
		finish();
		ATF_CHECK(machine_noted(&m, "overlaps another"));
		ATF_CHECK(!find(0, (uint16_t)second[i].in));
		ATF_CHECK_STREQ(why, "behind an IOMMU of unknown kind");
		ATF_CHECK(!find(0, 0x20));
		ATF_CHECK(find(0, 0x8010));
	}
}

ATF_TC_WITHOUT_HEAD(a_single_mapping_gives_every_requester_one_stream);
ATF_TC_BODY(a_single_mapping_gives_every_requester_one_stream, tc)
{
	uint32_t s, r, g;

	start();
	g = its_group(7, 7);
	s = smmu(0x9050000, 1);
	map(s, 68, 0, 0x40, 0xf, 0x100, g, 0);
	r = root(0, 1);
	map(r, 36, 0, 0x1234, 77, 0x42, s, 1);
	finish();
	ATF_CHECK(find(0, 0) && id == 0x42);
	ATF_CHECK(find(0, 0xffff) && id == 0x42);
	ATF_CHECK(its(0x777) && id == 0x102);
}

/* SMMU-111 */
ATF_TC_WITHOUT_HEAD(regions_that_firmware_uses_hold_their_streams);
ATF_TC_BODY(regions_that_firmware_uses_hold_their_streams, tc)
{
	uint32_t s, r, at;

	start();
	machine_add_memory(&m, GIB, GIB, MEM_RAM);
	s = smmu(0x9050000, 0);
	r = root(0, 1);
	map(r, 36, 0, 0, 0xffff, 0, s, 0);
	at = node(6, 1, 28 + 40, 2);
	ab_put32(body + at + 20, 2);
	ab_put32(body + at + 24, 28);
	ab_put64(body + at + 28, 0x80000000);
	ab_put64(body + at + 36, 0x10000);
	ab_put64(body + at + 48, 0x40000000);		/* in memory */
	ab_put64(body + at + 56, 0x10000);
	map(at, 68, 0, 0, 0, 0x10, s, 1);
	map(at, 68, 1, 0, 3, 0x20, s, 0);
	finish();
	ATF_REQUIRE_EQ(m.reserved_count, 4);
	ATF_CHECK(m.reserved[0].stream_ids && m.reserved[0].iommu == 0 &&
	    m.reserved[0].id_base == 0x10 && m.reserved[0].id_count == 1);
	ATF_CHECK(m.reserved[0].base == 0x80000000 && m.reserved[0].len == 0x10000 &&
	    !m.reserved[0].absurd);
	ATF_CHECK(m.reserved[1].absurd && !m.reserved[2].absurd && m.reserved[3].absurd);
	ATF_CHECK(m.reserved[2].id_base == 0x20 && m.reserved[2].id_count == 4);
	ATF_CHECK(find(0, 0x10) && reserved);
	ATF_CHECK(find(0, 0x11) && !reserved);
	ATF_CHECK(find(0, 0x23) && reserved);
	ATF_CHECK(find(0, 0x24) && !reserved);
	/* Regions outside the node: its streams are held all the same.  Streams outside: everybody
	 * is. */
	for (unsigned i = 0; i < 2; i++) {
		start();
		s = smmu(0x9050000, 0);
		r = root(0, 1);
		map(r, 36, 0, 0, 0xffff, 0, s, 0);
		at = node(6, 1, 28, 1);
		ab_put32(body + at + 20, 1000);
		ab_put32(body + at + 24, 28);
		map(at, 28, 0, 0, 0, 0x10, s, 1);
		if (i == 1)
			ab_put32(body + at + 8, 1000);
		finish();
		ATF_CHECK(find(0, 0x10) && reserved);
		ATF_CHECK(find(0, 0x11) && reserved == (i == 1));
	}
}

ATF_TC_WITHOUT_HEAD(what_leads_to_something_else_protects_nobody);
ATF_TC_BODY(what_leads_to_something_else_protects_nobody, tc)
{
	uint32_t v2, s, r;

	start();
	v2 = node(3, 1, 76, 0);
	s = smmu(0x9051000, 0);			/* not on 64 KiB */
	r = root(0, 5);
	map(r, 36, 0, 0x0000, 0xff, 0, v2, 0);
	map(r, 36, 1, 0x0100, 0xff, 0, 0, 0);
	map(r, 36, 2, 0x0200, 0xff, 0, 0xfffffff0, 0);
	map(r, 36, 3, 0x0300, 0xff, 0, s + 4, 0);
	map(r, 36, 4, 0x0400, 0xff, 0, s, 0);
	finish();
	ATF_CHECK_EQ(m.iommu[0].kind, IOMMU_NONE);
	for (uint16_t i = 0; i < 5; i++)
		ATF_CHECK(!find(0, (uint16_t)(i << 8)));
	ATF_CHECK_STREQ(why, "behind an IOMMU that was refused");
}

ATF_TC_WITHOUT_HEAD(a_unit_that_leads_back_to_itself_gives_no_interrupts_and_is_named);
ATF_TC_BODY(a_unit_that_leads_back_to_itself_gives_no_interrupts_and_is_named, tc)
{
	uint32_t s, r;

	start();
	m.irqc.its_count = 1;
	s = smmu(0x9050000, 1);
	map(s, 68, 0, 0, 0xffff, 0, s, 0);
	r = root(0, 1);
	map(r, 36, 0, 0, 0xffff, 0, s, 0);
	finish();
	ATF_CHECK(find(0, 8));
	ATF_CHECK(!its(8));
	ATF_CHECK_EQ(m.note_count, 1);
	ATF_CHECK(strstr(m.note[0], "mapping 0 leads to no ITS that is known") != NULL);
}

ATF_TC_WITHOUT_HEAD(absurd_nodes_end_the_walk);
ATF_TC_BODY(absurd_nodes_end_the_walk, tc)
{
	static const uint16_t lengths[] = { 0, 15, 0x7fff, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint32_t s, r;

		start();
		s = smmu(0x9050000, 0);
		r = root(0, 1);
		map(r, 36, 0, 0, 0xffff, 0, s, 0);
		ab_put16(body + r + 1, lengths[i]);
		finish();
		ATF_CHECK(machine_noted(&m, "is cut off"));
		ATF_CHECK(in_doubt(0, 0) && reserved);
	}
	start();				/* more nodes promised than there are */
	(void)smmu(0x9050000, 0);
	nodes = 0xffffffff;
	finish();
	ATF_CHECK_EQ(m.iommu_count, 1);
	start();				/* too short for what they are */
	(void)node(4, 5, 40, 0);
	(void)node(2, 1, 20, 0);
	finish();
	ATF_CHECK_EQ(m.iommu_count, 0);
	ATF_CHECK(machine_noted(&m, "too short for its type 4") &&
	    machine_noted(&m, "too short for its type 2"));
	ATF_CHECK(in_doubt(0, 0));
	start();				/* mappings outside */
	{
		uint32_t s = smmu(0x9050000, 0), r = root(0, 1);

		map(r, 36, 0, 0, 0xffff, 0, s, 0);
		ab_put32(body + r + 12, 0x7ffffff0);
		finish();
		ATF_CHECK(machine_noted(&m, "its mappings are outside"));
		ATF_CHECK(in_doubt(0, 0));
	}
	start();				/* more of them than the node has bytes */
	{
		uint32_t s = smmu(0x9050000, 0), r = root(0, 1);

		map(r, 36, 0, 0, 0xffff, 0, s, 0);
		ab_put32(body + r + 8, 0xffffffff);
		finish();
		ATF_CHECK(machine_noted(&m, "its mappings are outside"));
		ATF_CHECK(in_doubt(0, 0));
	}
	start();
	used = 47;
	finish();
	ATF_CHECK(machine_noted(&m, "47 bytes is too short"));
	ATF_CHECK(in_doubt(0, 0));
}

/* D10: two root complexes of one segment, two units of one place. */
ATF_TC_WITHOUT_HEAD(who_is_claimed_by_two_units_has_none);
ATF_TC_BODY(who_is_claimed_by_two_units_has_none, tc)
{
	uint32_t s, z, r;

	start();
	s = smmu(0x9050000, 0);
	z = smmu(0x9080000, 0);
	r = root(0, 1);
	map(r, 36, 0, 0, 0x1ff, 0, s, 0);
	r = root(0, 1);
	map(r, 36, 0, 0x100, 0x1ff, 0x100, z, 0);
	finish();
	ATF_CHECK(find(0, 0xff) && unit == 0);
	ATF_CHECK(in_doubt(0, 0x100) && in_doubt(0, 0x1ff));
	ATF_CHECK_STREQ(why, "two IOMMUs claim it");
	ATF_CHECK(find(0, 0x200) && unit == 1 && id == 0x200);
	start();
	s = smmu(0x9050000, 0);
	z = smmu(0x9060000, 0);		/* within the other's 128 KiB */
	r = root(0, 2);
	map(r, 36, 0, 0, 0xff, 0, s, 0);
	map(r, 36, 1, 0x100, 0xff, 0x100, z, 0);
	finish();
	ATF_CHECK(machine_noted(&m, "has another unit's registers: refused"));
	ATF_CHECK(find(0, 0) && unit == 0);
	ATF_CHECK(in_doubt(0, 0x100));
}

ATF_TC_WITHOUT_HEAD(memory_properties_of_a_root_reach_its_host);
ATF_TC_BODY(memory_properties_of_a_root_reach_its_host, tc)
{
	uint32_t r;

	start();
	r = root(0, 0);
	body[r + 16] = 0;
	body[r + 32] = 40;
	finish();
	ATF_CHECK(!m.host[0].dma_coherent);
	ATF_CHECK_EQ(m.host[0].dma_last, (1ull << 40) - 1);
}

ATF_TC_WITHOUT_HEAD(bent_tables_are_read_within_their_bytes);
ATF_TC_BODY(bent_tables_are_read_within_their_bytes, tc)
{
	srand(8);
	for (unsigned run = 0; run < 5000; run++) {
		uint32_t g, s, r, at;

		start();
		g = its_group(7, 9);
		s = smmu(0x9050000, 2);
		map(s, 68, 0, 0, 0x7fff, 0, g, 0);
		map(s, 68, 1, 0x8000, 0x7fff, 0, g, 0);
		r = root(0, 2);
		map(r, 36, 0, 0, 0xff, 0, s, 0);
		map(r, 36, 1, 0x100, 0xff, 0x100, s, 0);
		at = node(6, 1, 48, 1);
		ab_put32(body + at + 20, 1);
		ab_put32(body + at + 24, 28);
		map(at, 48, 0, 0, 0, 0x10, s, 1);
		for (unsigned k = 0; k <= run % 4; k++)
			body[48 + (unsigned)rand() % (used - 48)] =
			    (uint8_t)(rand() % 3 == 0 ? 0xff : rand());
		if (run % 5 == 0)
			used = 48 + (unsigned)rand() % (used - 48);
		finish();
		for (unsigned k = 0; k < 4; k++)
			if (find(0, (uint16_t)rand()))
				ATF_REQUIRE(
				    unit < m.iommu_count && m.iommu[unit].kind == IOMMU_SMMUV3);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_chain_of_identity_maps);
	ATF_TP_ADD_TC(tp, both_hops_are_composed);
	ATF_TP_ADD_TC(tp, a_count_that_is_one_too_large_loses_its_last_id);
	ATF_TP_ADD_TC(tp, any_other_overlap_is_nobodys);
	ATF_TP_ADD_TC(tp, a_single_mapping_gives_every_requester_one_stream);
	ATF_TP_ADD_TC(tp, regions_that_firmware_uses_hold_their_streams);
	ATF_TP_ADD_TC(tp, what_leads_to_something_else_protects_nobody);
	ATF_TP_ADD_TC(tp, a_unit_that_leads_back_to_itself_gives_no_interrupts_and_is_named);
	ATF_TP_ADD_TC(tp, absurd_nodes_end_the_walk);
	ATF_TP_ADD_TC(tp, who_is_claimed_by_two_units_has_none);
	ATF_TP_ADD_TC(tp, memory_properties_of_a_root_reach_its_host);
	ATF_TP_ADD_TC(tp, bent_tables_are_read_within_their_bytes);
	return atf_no_error();
}
