/*
 * kern/machine/idmap.c: which IOMMU and which ITS, and when the answer must be "none".
 *
 * LINK: kern/machine/idmap.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/machine/idmap.h"

static struct machine m;
static uint32_t unit, id;
static bool reserved;
static const char *why;

/* Bus 0: bridges 00:1c.0 -> bus 2, 00:1d.0 -> bus 5; bus 2: bridge 02:00.0 -> bus 3. */
static uint8_t
secondary(uint16_t segment, uint16_t rid)
{
	return segment != 0 ? 0xff : rid == 0xe0 ? 2 : rid == 0xe8 ? 5 : rid == 0x200 ? 3 : 0xff;
}

static bool
find(struct idmap_path p)
{
	p.secondary = secondary;
	return machine_find_iommu(&m, &p, &unit, &id, &reserved, &why);
}

static void
start(uint32_t units)
{
	memset(&m, 0, sizeof(m));
	m.source = SOURCE_ACPI;
	m.iommu_count = units;
	for (uint32_t i = 0; i < units; i++)
		m.iommu[i].kind = IOMMU_VTD;
}

static void
scope(enum machine_scope_kind kind, uint32_t iommu, uint32_t region, const char *path)
{
	struct machine_scope *s = &m.scope[m.scope_count++];

	*s = (struct machine_scope){ .kind = kind, .iommu = iommu, .reserved = region };
	for (; *path != 0; path += 2)
		s->path[s->path_len++] =
		    (uint8_t)((path[0] >= 'a' ? path[0] - 'a' + 10 : path[0] - '0') << 4 |
			(path[1] >= 'a' ? path[1] - 'a' + 10 : path[1] - '0'));
}

ATF_TC_WITHOUT_HEAD(an_explicit_scope_wins_over_the_unit_of_the_rest);
ATF_TC_BODY(an_explicit_scope_wins_over_the_unit_of_the_rest, tc)
{
	start(3);
	m.iommu[0].include_all = true;
	scope(SCOPE_ENDPOINT, 1, UINT32_MAX, "10");		/* 00:02.0 */
	scope(SCOPE_BRIDGE, 2, UINT32_MAX, "e0");		/* all below 00:1c.0 */
	scope(SCOPE_IOAPIC, 1, UINT32_MAX, "f8");
	ATF_CHECK(find((struct idmap_path){ .rid = 0x10 }) && unit == 1 && id == 0x10);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x11 }) && unit == 0);
	ATF_CHECK(find((struct idmap_path){ .rid = 0xe0 }) && unit == 2);
	ATF_CHECK(
	    find((struct idmap_path){ .rid = 0x300, .bridge = { 0x200, 0xe0 }, .bridges = 2 }) &&
	    unit == 2);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x500, .bridge = { 0xe8 }, .bridges = 1 }) &&
	    unit == 0);
	ATF_CHECK(find((struct idmap_path){ .rid = 0xf8 }) &&
	    unit == 0); /* an IOAPIC's scope is not the function's */
	ATF_CHECK(!reserved && why == NULL);
	/* "All" is all of the segment. */
	ATF_CHECK(!find((struct idmap_path){ .segment = 1, .rid = 0x10 }));
	ATF_CHECK_STREQ(why, "in no IOMMU's device scope");
}

ATF_TC_WITHOUT_HEAD(paths_of_scopes_follow_the_bridges_as_they_are_numbered);
ATF_TC_BODY(paths_of_scopes_follow_the_bridges_as_they_are_numbered, tc)
{
	start(1);
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "e00008");		/* 00:1c.0, 02:00.0, 03:01.0 */
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "1008"); /* through 00:02.0, which is no bridge */
	m.scope[m.scope_count++] =
	    (struct machine_scope){ .kind = SCOPE_ENDPOINT, .reserved = UINT32_MAX }; /* no path */
	ATF_CHECK(find((struct idmap_path){ .rid = 0x308 }));
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x300 }));
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x8 }));
	ATF_CHECK(!find((struct idmap_path){ .rid = 0 }));
}

/* D10 */
ATF_TC_WITHOUT_HEAD(a_refused_or_lost_unit_is_nobodys_protection);
ATF_TC_BODY(a_refused_or_lost_unit_is_nobodys_protection, tc)
{
	start(2);
	m.iommu[0].include_all = true;
	m.iommu[1].kind = IOMMU_NONE;
	scope(SCOPE_ENDPOINT, 1, UINT32_MAX, "10");
	scope(SCOPE_ENDPOINT, MACHINE_IOMMU_LOST, UINT32_MAX, "18");
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x10 }));
	ATF_CHECK_STREQ(why, "behind an IOMMU that was refused");
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x18 }));
	ATF_CHECK_STREQ(why, "behind an IOMMU for which there was no room");
	ATF_CHECK(find((struct idmap_path){ .rid = 0x20 }) && unit == 0);
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x20, .deeper = true }));
	m.scopes_lost = true;
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x20 }));
	ATF_CHECK_STREQ(why, "firmware's list of IOMMUs could not be read whole");
	m.scopes_lost = false;
	m.iommu[0].kind = IOMMU_NONE;
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x20 }));
	start(0);
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x20 }));
	ATF_CHECK_STREQ(why, "no IOMMU in firmware's tables");
}

ATF_TC_WITHOUT_HEAD(a_run_holds_the_masked_id);
ATF_TC_BODY(a_run_holds_the_masked_id, tc)
{
	start(2);
	m.iommu[0].kind = m.iommu[1].kind = IOMMU_SMMUV3;
	m.irqc.its_count = 1;
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){ .rid_base = 0x100,
		.count = 0x80,
		.rid_mask = 0xfff8,
		.target = 1,
		.out_base = 0x1000 });
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){ .rid_base = 0x200,
		.count = 0x100,
		.rid_mask = 0xffff,
		.target = MACHINE_IOMMU_LOST });
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){ .rid_base = 0x180,
		.count = 0x80,
		.rid_mask = 0xffff,
		.target = 0,
		.out_base = 0x180 });
	machine_add_idmap(&m, true,
	    &(struct machine_idmap){ .rid_base = 0x100,
		.count = 0x100,
		.rid_mask = 0xffff,
		.target = 0,
		.out_base = 0x7000 });
	machine_add_idmap(&m, true,
	    &(struct machine_idmap){
		.rid_base = 0x300, .count = 0x100, .rid_mask = 0xffff, .target = 5 });
	ATF_CHECK(find((struct idmap_path){ .rid = 0x10f }) && unit == 1 && id == 0x1008);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x17f }) && unit == 1 && id == 0x1078);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x180 }) && unit == 0 && id == 0x180);
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x210 }));
	ATF_CHECK_STREQ(why, "behind an IOMMU of unknown kind");
	ATF_CHECK(!find((struct idmap_path){ .segment = 3, .rid = 0x10f }));
	ATF_CHECK_STREQ(why, "firmware's id map leads it to no IOMMU");
	ATF_CHECK(machine_find_its(&m, 0, 0x1ff, &unit, &id) && unit == 0 && id == 0x70ff);
	ATF_CHECK(!machine_find_its(&m, 0, 0x200, &unit, &id));
	ATF_CHECK(!machine_find_its(&m, 0, 0x310, &unit, &id));
	ATF_CHECK(!machine_find_its(&m, 1, 0x100, &unit, &id));
	m.iommu[1].kind = IOMMU_NONE;
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x10f }));
}

static bool without(struct idmap_path p);

static void
run(uint32_t first, uint32_t count, uint32_t target, uint32_t out)
{
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){ .rid_base = first,
		.count = count,
		.rid_mask = 0xffff,
		.target = target,
		.out_base = out });
}

/* Refused by this reason, and not counted as behind none. */
static bool
refused(uint16_t rid, const char *reason)
{
	return !find((struct idmap_path){ .rid = rid }) && strcmp(why, reason) == 0 &&
	    !without((struct idmap_path){ .rid = rid });
}

/* D10: by scopes, by maps, and by one of each. */
ATF_TC_WITHOUT_HEAD(who_is_claimed_by_two_units_has_none);
ATF_TC_BODY(who_is_claimed_by_two_units_has_none, tc)
{
	static const char two[] = "two IOMMUs claim it";

	start(2);
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "10");
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "10");	/* twice the same unit's */
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "18");
	scope(SCOPE_ENDPOINT, 1, UINT32_MAX, "18");
	scope(SCOPE_ENDPOINT, 1, UINT32_MAX, "20");
	ATF_CHECK(find((struct idmap_path){ .rid = 0x10 }) && unit == 0);
	ATF_CHECK(refused(0x18, two));
	ATF_CHECK(find((struct idmap_path){ .rid = 0x20 }) && unit == 1);
	start(2);		/* itself, and the bridge above it */
	scope(SCOPE_BRIDGE, 1, UINT32_MAX, "e0");
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "e008");
	ATF_CHECK(!find((struct idmap_path){ .rid = 0x208, .bridge = { 0xe0 }, .bridges = 1 }));
	ATF_CHECK_STREQ(why, two);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x210, .bridge = { 0xe0 }, .bridges = 1 }) &&
	    unit == 1);
	start(2);		/* one for which there was no room */
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "10");
	scope(SCOPE_ENDPOINT, MACHINE_IOMMU_LOST, UINT32_MAX, "10");
	ATF_CHECK(refused(0x10, two));
	start(3);		/* two for the rest; a list still counts */
	m.iommu[0].include_all = m.iommu[1].include_all = true;
	scope(SCOPE_ENDPOINT, 2, UINT32_MAX, "10");
	ATF_CHECK(find((struct idmap_path){ .rid = 0x10 }) && unit == 2);
	ATF_CHECK(refused(0x18, two));
	m.iommu[1].segment = 1;
	ATF_CHECK(find((struct idmap_path){ .rid = 0x18 }) && unit == 0);
	start(2);		/* by maps: one may be unknown, or refused */
	m.iommu[0].kind = m.iommu[1].kind = IOMMU_SMMUV3;
	run(0, 0x100, 0, 0);
	run(0x80, 0x100, 1, 0x80);
	run(0x40, 1, MACHINE_IOMMU_LOST, 0);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x7f }) && unit == 0);
	ATF_CHECK(refused(0x80, two) && refused(0xff, two) && refused(0x40, two));
	ATF_CHECK(find((struct idmap_path){ .rid = 0x100 }) && unit == 1 && id == 0x100);
	m.iommu[1].kind = IOMMU_NONE;
	ATF_CHECK(refused(0x80, two));
	start(2);		/* by one of each */
	m.iommu[1].kind = IOMMU_VIRTIO;
	m.iommu[1].requester = 0xf8;
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "10");
	run(0x10, 8, 1, 0x10);
	ATF_CHECK(refused(0x10, two));
	ATF_CHECK(find((struct idmap_path){ .rid = 0x11 }) && unit == 1);
	ATF_CHECK(without((struct idmap_path){ .rid = 0x18 }));
	m.iommu[0].include_all = true;
	ATF_CHECK(refused(0x11, two));
	ATF_CHECK(find((struct idmap_path){ .rid = 0x18 }) && unit == 0);
}

ATF_TC_WITHOUT_HEAD(two_ids_of_one_requester_are_refused_but_where_lists_override);
ATF_TC_BODY(two_ids_of_one_requester_are_refused_but_where_lists_override, tc)
{
	start(1);
	m.irqc.its_count = 2;
	m.iommu[0].kind = IOMMU_SMMUV3;
	run(0, 0x100, 0, 0);
	run(0x80, 0x80, 0, 0x80);	/* says the same */
	run(0x40, 1, 0, 0x41);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x80 }) && id == 0x80);
	ATF_CHECK(refused(0x40, "its IOMMU has it by two ids"));
	m.iommu[0].kind = IOMMU_AMDVI;
	ATF_CHECK(find((struct idmap_path){ .rid = 0x40 }) && id == 0x40);
	/* The same of ITSs: no message interrupts then. */
	for (uint32_t i = 0; i < 3; i++)
		machine_add_idmap(&m, true,
		    &(struct machine_idmap){ .rid_base = 0x40 * i,
			.count = 0x80,
			.rid_mask = 0xffff,
			.target = i >> 1,
			.out_base = 0x40 * i });
	ATF_CHECK(machine_find_its(&m, 0, 0x40, &unit, &id) && unit == 0 && id == 0x40);
	ATF_CHECK(!machine_find_its(&m, 0, 0x80, &unit, &id));
	ATF_CHECK(machine_find_its(&m, 0, 0xc0, &unit, &id) && unit == 1 && id == 0xc0);
}

/* The unit's own function is the kernel's; what stands at its place is not that. */
ATF_TC_WITHOUT_HEAD(what_the_tables_call_a_unit_is_behind_nothing_that_is_known);
ATF_TC_BODY(what_the_tables_call_a_unit_is_behind_nothing_that_is_known, tc)
{
	start(1);
	m.iommu[0].kind = IOMMU_VIRTIO;
	m.iommu[0].requester = 0x10;
	run(0x100, 0x100, 0, 0);
	ATF_CHECK(refused(0x10, "firmware's tables call it an IOMMU"));
	ATF_CHECK(without((struct idmap_path){ .rid = 0x18 }));
	run(0x10, 1, 0, 0x10);
	ATF_CHECK(refused(0x10, "firmware's tables call it an IOMMU"));
	m.iommu[0].kind = IOMMU_AMDVI;
	ATF_CHECK(find((struct idmap_path){ .rid = 0x10 }));
	m.stream_map_count = 1;
	ATF_CHECK(refused(0x10, "firmware's tables call it an IOMMU"));
	m.iommu_count = 2;
	m.iommu[1].kind = IOMMU_VTD;
	scope(SCOPE_ENDPOINT, 1, UINT32_MAX, "10");
	scope(SCOPE_ENDPOINT, 1, UINT32_MAX, "18");
	ATF_CHECK(refused(0x10, "firmware's tables call it an IOMMU"));
	ATF_CHECK(find((struct idmap_path){ .rid = 0x18 }) && unit == 1);
}

static bool
there(uint16_t segment, uint16_t rid)
{
	return segment == 0 && (rid == 0x10 || rid == 0x18 || rid == 0xe0 || rid == 0x200);
}

static bool
without(struct idmap_path p)
{
	p.secondary = secondary;
	return machine_without_iommu(&m, &p);
}

/* D10: "past all of them" is said only when the tables were read whole and say so. */
ATF_TC_WITHOUT_HEAD(a_requester_is_without_iommu_only_when_nothing_is_in_doubt);
ATF_TC_BODY(a_requester_is_without_iommu_only_when_nothing_is_in_doubt, tc)
{
	start(0);
	ATF_CHECK(without((struct idmap_path){ .rid = 0x10 }));
	m.dropped = 1;
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x10 }));
	start(1);		/* DMAR: explicit scopes, none for the rest (a bus that bypasses) */
	scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "10");
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x10 }));
	ATF_CHECK(without((struct idmap_path){ .rid = 0x18 }));
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x18, .deeper = true }));
	m.scopes_lost = true;
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x18 }));
	for (unsigned i = 0; i < 3; i++) {	/* scopes that name nothing */
		static const char *const nothing[] = { "28", "1008", "e010" };

		start(1);
		scope(SCOPE_ENDPOINT, 0, UINT32_MAX, "10");
		scope(SCOPE_BRIDGE, 0, UINT32_MAX, "e000");
		ATF_CHECK(without((struct idmap_path){ .rid = 0x18, .present = there }));
		scope(SCOPE_ENDPOINT, 0, UINT32_MAX, nothing[i]);
		ATF_CHECK(!without((struct idmap_path){ .rid = 0x18, .present = there }));
		ATF_CHECK(!find((struct idmap_path){ .rid = 0x18, .present = there }));
		ATF_CHECK_STREQ(
		    why, "in no IOMMU's device scope, and one names nothing that is there");
		ATF_CHECK(find((struct idmap_path){ .rid = 0x10, .present = there }));
	}
	start(1);		/* one that was refused is in the way all the same */
	m.iommu[0].include_all = true;
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x10 }));
	m.iommu[0].kind = IOMMU_NONE;
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x10 }));
	start(1);		/* an id map with a hole */
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){
		.rid_base = 0x100, .count = 0x100, .rid_mask = 0xffff, .target = 0 });
	ATF_CHECK(without((struct idmap_path){ .rid = 0x10 }));
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x110 }));
	m.scopes_lost = true;
	ATF_CHECK(refused(0x10, "firmware's list of IOMMUs could not be read whole"));
	ATF_CHECK(find((struct idmap_path){ .rid = 0x110 }));
	m.scopes_lost = false;
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){
		.count = 0x100, .rid_mask = 0xffff, .target = MACHINE_IOMMU_LOST });
	ATF_CHECK(!without((struct idmap_path){ .rid = 0x10 }));
}

ATF_TC_WITHOUT_HEAD(reserved_regions_are_found_by_scope_by_stream_and_in_doubt);
ATF_TC_BODY(reserved_regions_are_found_by_scope_by_stream_and_in_doubt, tc)
{
	start(1);
	m.iommu[0].include_all = true;
	m.reserved[m.reserved_count++] = (struct machine_reserved){ .iommu = UINT32_MAX };
	scope(SCOPE_ENDPOINT, UINT32_MAX, 0, "10");
	scope(SCOPE_BRIDGE, UINT32_MAX, 0, "e8");
	ATF_CHECK(find((struct idmap_path){ .rid = 0x10 }) && reserved && unit == 0);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x18 }) && !reserved);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x500, .bridge = { 0xe8 }, .bridges = 1 }) &&
	    reserved);
	ATF_CHECK(!find((struct idmap_path){
		      .rid = 0x700, .bridge = { 0x200 }, .bridges = 1, .deeper = true }) &&
	    reserved);
	m.reserved[0].any_device = true;
	ATF_CHECK(find((struct idmap_path){ .rid = 0x18 }) && reserved);
	ATF_CHECK(!find((struct idmap_path){ .segment = 1, .rid = 0x18 }) && !reserved);
	start(1);
	m.reserved[m.reserved_count++] =
	    (struct machine_reserved){ .stream_ids = true, .id_base = 0x20, .id_count = 2 };
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){
		.rid_base = 0, .count = 0x100, .rid_mask = 0xffff, .out_base = 0x10 });
	ATF_CHECK(find((struct idmap_path){ .rid = 0x11 }) && reserved);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x12 }) && !reserved);
	ATF_CHECK(find((struct idmap_path){ .rid = 0x0f }) && !reserved);
}

ATF_TC_WITHOUT_HEAD(runs_that_do_not_fit_lead_nowhere);
ATF_TC_BODY(runs_that_do_not_fit_lead_nowhere, tc)
{
	start(1);
	for (uint32_t i = 0; i <= MACHINE_IDMAP_MAX; i++)
		machine_add_idmap(&m, false,
		    &(struct machine_idmap){ .rid_base = i, .count = 1, .rid_mask = 0xffff });
	machine_add_idmap(&m, false,
	    &(struct machine_idmap){ .rid_base = 0x1000, .count = 0, .rid_mask = 0xffff });
	ATF_CHECK_EQ(m.dropped, 1);
	ATF_CHECK(find((struct idmap_path){ .rid = MACHINE_IDMAP_MAX - 1 }));
	ATF_CHECK(!find((struct idmap_path){ .rid = MACHINE_IDMAP_MAX }));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, an_explicit_scope_wins_over_the_unit_of_the_rest);
	ATF_TP_ADD_TC(tp, paths_of_scopes_follow_the_bridges_as_they_are_numbered);
	ATF_TP_ADD_TC(tp, a_refused_or_lost_unit_is_nobodys_protection);
	ATF_TP_ADD_TC(tp, a_run_holds_the_masked_id);
	ATF_TP_ADD_TC(tp, who_is_claimed_by_two_units_has_none);
	ATF_TP_ADD_TC(tp, two_ids_of_one_requester_are_refused_but_where_lists_override);
	ATF_TP_ADD_TC(tp, what_the_tables_call_a_unit_is_behind_nothing_that_is_known);
	ATF_TP_ADD_TC(tp, a_requester_is_without_iommu_only_when_nothing_is_in_doubt);
	ATF_TP_ADD_TC(tp, reserved_regions_are_found_by_scope_by_stream_and_in_doubt);
	ATF_TP_ADD_TC(tp, runs_that_do_not_fit_lead_nowhere);
	return atf_no_error();
}
