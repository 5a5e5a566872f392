/*
 * kern/dma/domain.c over a unit that is late, never answers, or fails half-way.
 *
 * LINK: kern/dma/domain.c kern/dma/ledger.c kern/dma/iova.c kern/dma/fence.c
 * LINK: kern/base/itree.c kern/quota.c
 * LINK: kern/base/fmt.c kern/base/str.c tests/lib/fake_kernel.c tests/lib/fake_memory.c
 * LINK: tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/dma/domain.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/fake_memory.h"

/* ---- A unit ---- */

static struct {
	uint64_t issued, done;		/* tickets */
	bool gone;
	unsigned maps, fail_map_at;	/* the n-th map from now fails; 0: none */
	enum status fail_with;
	uint64_t mapped_bytes, unmapped_at, unmapped_len;
	unsigned unmaps, polls;
	uint64_t limit;			/* no map may cross a multiple */
	uint64_t end[64];		/* of maps */
	unsigned ends;
	uint64_t table_pages;		/* a map takes as many from the domain's quota */
	uint64_t tables;
} u;

static struct iommu_unit unit;

static struct iommu_ticket ticket(void) { return (struct iommu_ticket){ ++u.issued }; }

static enum status
take_tables(struct iommu_domain *d, uint64_t n)
{
	enum status s = quota_take_pages(d->quota, n);

	if (s == OK)
		u.tables += n;
	return s;
}

static enum status unit_domain_init(struct iommu_domain *d) { return take_tables(d, 1); }

static void
unit_domain_fini(struct iommu_domain *d)
{
	quota_give_pages(d->quota, u.tables);
	u.tables = 0;
}

static enum status
unit_map(
    struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, enum iommu_rights rights)
{
	enum status s;

	ATF_CHECK(is_aligned(at.v | to.v | len, PAGE_SIZE) && len != 0 && rights != 0);
	s = take_tables(d, u.table_pages);
	if (s != OK)
		return s;
	if (u.fail_map_at != 0 && --u.fail_map_at == 0)
		return u.fail_with;
	u.maps++;
	u.mapped_bytes += len;
	/* Bounded, and no leaf of 2 MiB is split. */
	ATF_CHECK(len <= 2 * MIB || (is_aligned(at.v | to.v, 2 * MIB) && len <= GIB));
	ATF_CHECK(u.limit == 0 || at.v % u.limit + len <= u.limit);
	if (u.ends < ARRAY_SIZE(u.end))
		u.end[u.ends++] = at.v + len;
	return OK;
}

static struct iommu_ticket
unit_sync(struct iommu_domain *d UNUSED)
{
	return unit.facts.map_invalidates ? ticket() : (struct iommu_ticket){ 0 };
}

static struct iommu_ticket
unit_unmap(struct iommu_domain *d UNUSED, struct iova at, uint64_t len)
{
	bool whole = u.ends == ARRAY_SIZE(u.end);

	/* Whole earlier maps. */
	for (unsigned i = 0; i < u.ends; i++)
		whole |= at.v + len == u.end[i];
	ATF_CHECK(whole);
	u.unmaps++;
	u.unmapped_at = at.v;
	u.unmapped_len = len;
	u.mapped_bytes -= len;
	return ticket();
}

static enum status
unit_map_doorbell(struct iommu_domain *d UNUSED, struct iova at, struct paddr page UNUSED)
{
	ATF_CHECK_EQ(at.v, IOVA_DOORBELL);
	return OK;
}

static enum status
unit_poll(struct iommu_unit *self, struct iommu_ticket t)
{
	u.polls++;
	return t.seq <= u.done ? OK : u.gone || self->broken ? E_QUARANTINED : E_WOULD_BLOCK;
}

static const struct iommu_ops ops = {
	.domain_init = unit_domain_init,
	.domain_fini = unit_domain_fini,
	.map = unit_map,
	.sync = unit_sync,
	.unmap = unit_unmap,
	.map_doorbell = unit_map_doorbell,
	.ticket_poll = unit_poll,
};

static struct quota holder;
static struct dma_domain d;
static struct grant g[8];
static struct fake_memory memory;

static void
begin(void)
{
	fake_kernel_init(&(struct fake_setup){ 0 });
	memset(&u, 0, sizeof(u));
	memset(g, 0, sizeof(g));
	memset(&memory, 0, sizeof(memory));
	unit = (struct iommu_unit){ .ops = &ops, .facts = { .iova_bits = 39 } };
	holder = (struct quota){ .pages_max = 64 };
	fake_memory_add(&memory, 2);
	fake_memory_add(&memory, 0);
	fake_memory_add(&memory, 1);
	ATF_REQUIRE_EQ(domain_init(&d, &unit, &holder, 5), OK);
}

static enum status
grant_pages(unsigned n, uint64_t first, uint64_t pages)
{
	struct ledger_grant want = { .owner = &g[n],
		.memory = &memory.m,
		.offset = first * PAGE_SIZE,
		.len = pages * PAGE_SIZE,
		.generation = 5,
		.dir = DMA_BOTH };

	return domain_grant(&d, &g[n], &want);
}

static bool
found(unsigned n)
{
	return ledger_find(&d.ledger, grant_iova(&g[n]), PAGE_SIZE, DMA_TO_DEVICE) == &g[n].entry;
}

static void
end(void)
{
	domain_fini(&d);
	ATF_CHECK_EQ(holder.pages, 0);
	ATF_CHECK_EQ(fake_frames(FRAME_KERNEL), 0);
}

/* ---- Into force ---- */

ATF_TC_WITHOUT_HEAD(a_grant_is_in_force_at_once_where_absence_is_not_cached);
ATF_TC_BODY(a_grant_is_in_force_at_once_where_absence_is_not_cached, tc)
{
	begin();
	ATF_CHECK_EQ(grant_pages(0, 0, 7), OK);
	ATF_CHECK_EQ(u.maps, 3);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_PUBLISHED);
	ATF_CHECK(grant_iova(&g[0]).v >= IOVA_FIRST);
	ATF_CHECK(found(0));
	ATF_CHECK_EQ(u.polls, 0);
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	u.done = u.issued;
	ATF_REQUIRE_EQ(domain_settle(&d, &g[0]), OK);
	end();
}

/* D2, D8: caching mode, write buffers.  The device is not told of an address that the unit may
 * still refuse. */
ATF_TC_WITHOUT_HEAD(a_grant_is_published_when_the_ticket_of_its_sync_is_past);
ATF_TC_BODY(a_grant_is_published_when_the_ticket_of_its_sync_is_past, tc)
{
	begin();
	unit.facts.map_invalidates = true;
	ATF_CHECK_EQ(grant_pages(0, 0, 4), E_WOULD_BLOCK);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_MAPPED);
	ATF_CHECK(!found(0));
	ATF_CHECK_EQ(domain_publish(&d, &g[0]), E_WOULD_BLOCK);
	ATF_CHECK(!found(0));
	u.done = u.issued;
	ATF_CHECK_EQ(domain_publish(&d, &g[0]), OK);
	ATF_CHECK(found(0));
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	u.done = u.issued;
	ATF_REQUIRE_EQ(domain_settle(&d, &g[0]), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(a_grant_that_never_comes_into_force_is_quarantined);
ATF_TC_BODY(a_grant_that_never_comes_into_force_is_quarantined, tc)
{
	begin();
	unit.facts.map_invalidates = true;
	ATF_CHECK_EQ(grant_pages(0, 0, 4), E_WOULD_BLOCK);
	fake_now += FENCE_DEADLINE_NS + 1;
	ATF_CHECK_EQ(domain_publish(&d, &g[0]), E_QUARANTINED);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	u.done = u.issued;		/* too late */
	ATF_CHECK(!found(0));
	ATF_CHECK_EQ(domain_revoke(&d, &g[0]), E_STATE);
	ATF_CHECK_EQ(ledger_live(&d.ledger), 1);
	ATF_CHECK_EQ(u.unmaps, 0);
}

ATF_TC_WITHOUT_HEAD(a_broken_unit_quarantines_what_waits_for_it);
ATF_TC_BODY(a_broken_unit_quarantines_what_waits_for_it, tc)
{
	begin();
	unit.facts.map_invalidates = u.gone = true;
	ATF_CHECK_EQ(grant_pages(0, 0, 4), E_QUARANTINED);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_QUARANTINED);
}

ATF_TC_WITHOUT_HEAD(a_grant_can_be_taken_back_before_it_is_in_force);
ATF_TC_BODY(a_grant_can_be_taken_back_before_it_is_in_force, tc)
{
	begin();
	unit.facts.map_invalidates = true;
	ATF_CHECK_EQ(grant_pages(0, 0, 4), E_WOULD_BLOCK);
	ATF_CHECK_EQ(domain_revoke(&d, &g[0]), OK);
	u.done = 1;			/* the sync's, not the unmap's */
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	u.done = 2;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), OK);
	end();
}

/* ---- Half-way ---- */

ATF_TC_WITHOUT_HEAD(what_fails_at_its_first_run_leaves_nothing);
ATF_TC_BODY(what_fails_at_its_first_run_leaves_nothing, tc)
{
	begin();
	u.fail_map_at = 1;
	u.fail_with = E_NO_MEMORY;
	ATF_CHECK_EQ(grant_pages(0, 0, 7), E_NO_MEMORY);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_FREE);
	ATF_CHECK_EQ(u.unmaps, 0);
	end();
}

/* DMA-13: what the device could see goes through an invalidation, exactly that, and the address
 * waits for it. */
ATF_TC_WITHOUT_HEAD(what_fails_half_way_is_invalidated_before_it_is_free);
ATF_TC_BODY(what_fails_half_way_is_invalidated_before_it_is_free, tc)
{
	uint64_t at;

	begin();
	u.fail_map_at = 3;
	u.fail_with = E_NO_MEMORY;
	ATF_CHECK_EQ(grant_pages(0, 1, 6), E_NO_MEMORY);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_REVOKING);
	at = grant_iova(&g[0]).v;
	ATF_CHECK_EQ(u.unmaps, 1);
	ATF_CHECK_EQ(u.unmapped_at, at);
	ATF_CHECK_EQ(u.unmapped_len, 4 * PAGE_SIZE);
	ATF_CHECK_EQ(u.mapped_bytes, 0);
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	ATF_CHECK_EQ(grant_pages(1, 0, 7), OK);
	ATF_CHECK(
	    grant_iova(&g[1]).v >= at + 6 * PAGE_SIZE || grant_iova(&g[1]).v + 7 * PAGE_SIZE <= at);
	u.done = u.issued;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), OK);
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[1]), OK);
	u.done = u.issued;
	ATF_REQUIRE_EQ(domain_settle(&d, &g[1]), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(what_fails_half_way_on_a_silent_unit_is_quarantined);
ATF_TC_BODY(what_fails_half_way_on_a_silent_unit_is_quarantined, tc)
{
	begin();
	u.fail_map_at = 2;
	u.fail_with = E_NO_MEMORY;
	ATF_CHECK_EQ(grant_pages(0, 0, 7), E_NO_MEMORY);
	/* The first look begins the time that the unit has. */
	fake_now += FENCE_DEADLINE_NS + 1;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	fake_now += FENCE_DEADLINE_NS / 2;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	fake_now += FENCE_DEADLINE_NS / 2 + 1;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_QUARANTINED);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_QUARANTINED);
}

/* ---- Out of reach ---- */

ATF_TC_WITHOUT_HEAD(memory_is_let_go_when_the_ticket_is_past_and_the_address_rests);
ATF_TC_BODY(memory_is_let_go_when_the_ticket_is_past_and_the_address_rests, tc)
{
	uint64_t at;

	begin();
	ATF_REQUIRE_EQ(grant_pages(0, 0, 4), OK);
	at = grant_iova(&g[0]).v;
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	ATF_CHECK(!found(0));
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_REVOKING);
	u.done = u.issued;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), OK);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_FREE);
	ATF_REQUIRE_EQ(grant_pages(1, 0, 4), OK);
	ATF_CHECK(grant_iova(&g[1]).v != at);		/* DMA-50 */
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[1]), OK);
	u.done = u.issued;
	ATF_REQUIRE_EQ(domain_settle(&d, &g[1]), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(a_late_ticket_keeps_the_grant_in_quarantine);
ATF_TC_BODY(a_late_ticket_keeps_the_grant_in_quarantine, tc)
{
	begin();
	ATF_REQUIRE_EQ(grant_pages(0, 0, 4), OK);
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	/* The first look begins the time that the unit has. */
	fake_now += FENCE_DEADLINE_NS + 1;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	fake_now += FENCE_DEADLINE_NS / 2;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
	fake_now += FENCE_DEADLINE_NS / 2 + 1;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_QUARANTINED);
	ATF_CHECK_EQ(fake_broken, 1);
	u.done = u.issued;
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_QUARANTINED);
	ATF_CHECK_EQ(domain_revoke(&d, &g[0]), E_STATE);
}

ATF_TC_WITHOUT_HEAD(a_pinned_grant_is_not_taken_back_before_its_generation_ends);
ATF_TC_BODY(a_pinned_grant_is_not_taken_back_before_its_generation_ends, tc)
{
	begin();
	ATF_REQUIRE_EQ(grant_pages(0, 0, 4), OK);
	ATF_REQUIRE_EQ(ledger_pin(&d.ledger, &g[0].entry), OK);
	ATF_CHECK_EQ(domain_revoke(&d, &g[0]), E_BUSY);
	ATF_CHECK_EQ(u.unmaps, 0);
	ledger_bump(&d.ledger, 6);
	ATF_CHECK_EQ(domain_revoke(&d, &g[0]), OK);
	ATF_CHECK_EQ(grant_pages(1, 0, 1), E_STALE);	/* asked for under the old one */
	u.done = u.issued;
	ATF_REQUIRE_EQ(domain_settle(&d, &g[0]), OK);
	end();
}

/* ---- Who pays (D13) ---- */

ATF_TC_WITHOUT_HEAD(table_pages_are_the_holders_and_move_with_the_domain);
ATF_TC_BODY(table_pages_are_the_holders_and_move_with_the_domain, tc)
{
	struct quota other = { .pages_max = 64 }, poor = { .pages_max = 5 };
	uint64_t before;

	begin();
	u.table_pages = 3;
	for (unsigned n = 0; n < 5; n++)
		ATF_REQUIRE_EQ(grant_pages(n, 0, 1), OK);
	before = holder.pages;
	ATF_CHECK(before >= u.tables + 1 && before < u.tables + 1 + 8);
	ATF_CHECK_EQ(domain_charge(&d, &poor), E_QUOTA);
	ATF_CHECK_EQ(poor.pages, 0);
	ATF_CHECK_EQ(holder.pages, before);
	ATF_CHECK_EQ(domain_charge(&d, &other), OK);
	ATF_CHECK_EQ(holder.pages, 0);
	ATF_CHECK_EQ(other.pages, before);
	u.table_pages = 0;
	for (unsigned n = 0; n < 5; n++) {
		ATF_REQUIRE_EQ(domain_revoke(&d, &g[n]), OK);
		u.done = u.issued;
		ATF_REQUIRE_EQ(domain_settle(&d, &g[n]), OK);
	}
	end();
	ATF_CHECK_EQ(other.pages, 0);
}

ATF_TC_WITHOUT_HEAD(out_of_table_pages_is_an_error_and_nothing_else_suffers);
ATF_TC_BODY(out_of_table_pages_is_an_error_and_nothing_else_suffers, tc)
{
	unsigned n = 0;
	enum status s;

	begin();
	u.table_pages = 20;
	while ((s = grant_pages(n, 0, 1)) == OK)
		ATF_REQUIRE(++n < ARRAY_SIZE(g));
	ATF_CHECK_EQ(s, E_QUOTA);
	ATF_CHECK_EQ(n, 2);
	ATF_CHECK_EQ(grant_state(&g[n]), LEDGER_FREE);
	ATF_CHECK(found(0) && found(1));
	ATF_CHECK(holder.pages <= holder.pages_max);
	while (n-- != 0) {
		ATF_REQUIRE_EQ(domain_revoke(&d, &g[n]), OK);
		u.done = u.issued;
		ATF_REQUIRE_EQ(domain_settle(&d, &g[n]), OK);
	}
	end();
	/* Nothing at all: not even the domain. */
	holder.pages_max = 0;
	ATF_CHECK_EQ(domain_init(&d, &unit, &holder, 5), E_QUOTA);
	holder.pages_max = 8; /* the record of cooling addresses, and no step for tables */
	ATF_CHECK_EQ(domain_init(&d, &unit, &holder, 5), E_QUOTA);
	ATF_CHECK_EQ(holder.pages, 0);
	ATF_CHECK_EQ(fake_frames(FRAME_KERNEL), 0);
}

/* ---- The doorbell ---- */

ATF_TC_WITHOUT_HEAD(the_doorbell_is_reachable_when_its_ticket_is_past);
ATF_TC_BODY(the_doorbell_is_reachable_when_its_ticket_is_past, tc)
{
	begin();
	unit.facts.map_invalidates = true;
	ATF_CHECK_EQ(domain_map_doorbell(&d, (struct paddr){ 0x808'0000 }), E_WOULD_BLOCK);
	ATF_CHECK_EQ(domain_map_doorbell(&d, (struct paddr){ 0x808'0000 }), E_WOULD_BLOCK);
	ATF_CHECK_EQ(u.issued, 1);
	u.done = u.issued;
	ATF_CHECK_EQ(domain_map_doorbell(&d, (struct paddr){ 0x808'0000 }), OK);
	end();
	begin();
	unit.facts.map_invalidates = true;
	ATF_CHECK_EQ(domain_map_doorbell(&d, (struct paddr){ 0x808'0000 }), E_WOULD_BLOCK);
	fake_now += FENCE_DEADLINE_NS + 1;
	ATF_CHECK_EQ(domain_map_doorbell(&d, (struct paddr){ 0x808'0000 }), E_QUARANTINED);
}

ATF_TC_WITHOUT_HEAD(a_unit_of_few_address_bits_is_refused);
ATF_TC_BODY(a_unit_of_few_address_bits_is_refused, tc)
{
	begin();
	unit.facts.iova_bits = 32;
	ATF_CHECK_EQ(domain_init(&d, &unit, &holder, 5), E_UNSUPPORTED);
}

ATF_TC_WITHOUT_HEAD(a_device_of_few_address_bits_gets_addresses_that_it_can_say);
ATF_TC_BODY(a_device_of_few_address_bits_gets_addresses_that_it_can_say, tc)
{
	static const unsigned bits[] = { 24, 28, 32, 33, 40, 64 };

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
		begin();
		ATF_REQUIRE_EQ(domain_narrow(&d, bits[i]), OK);
		for (unsigned k = 0; k < 4; k++) {
			uint64_t at;

			ATF_REQUIRE_EQ(grant_pages(k, 0, 2), OK);
			at = grant_iova(&g[k]).v;
			ATF_CHECK_MSG(bits[i] == 64 || at + 2 * PAGE_SIZE <= BIT(bits[i]),
			    "%u bits: 0x%llx", bits[i], (unsigned long long)at);
			ATF_CHECK(!ranges_overlap(at, 2 * PAGE_SIZE, IOVA_DOORBELL, PAGE_SIZE));
			ATF_CHECK(at >= IOVA_FIRST || bits[i] <= 32);
		}
	}
	/* Where there is no room: 16 MiB of which the unit keeps all but the lowest. */
	begin();
	unit.facts.hole[0] = (struct iommu_hole){ 4 * MIB, 12 * MIB };
	unit.facts.holes = 1;
	ATF_REQUIRE_EQ(domain_narrow(&d, 24), OK);
	ATF_CHECK_EQ(grant_pages(0, 0, 2), E_NO_MEMORY);
}

/* What a unit cannot map is never given out: a long life would come to it. */
ATF_TC_WITHOUT_HEAD(addresses_in_a_units_holes_are_never_given_out);
ATF_TC_BODY(addresses_in_a_units_holes_are_never_given_out, tc)
{
	static const struct iommu_hole holes[] = {
		{ 0xfee0'0000, MIB },
		{ IOVA_FIRST, 64 * KIB },
		{ IOVA_FIRST + 80 * KIB, GIB },
		{ BIT(39) - GIB, 2 * GIB },
	};
	bool beyond = false;

	begin();
	end();
	memcpy(unit.facts.hole, holes, sizeof(holes));
	unit.facts.holes = ARRAY_SIZE(holes);
	ATF_REQUIRE_EQ(domain_init(&d, &unit, &holder, 5), OK);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at;

		ATF_REQUIRE_EQ(grant_pages(i, 0, 2), OK);
		at = grant_iova(&g[i]).v;
		for (unsigned k = 0; k < ARRAY_SIZE(holes); k++)
			ATF_CHECK_MSG(
			    !ranges_overlap(at, 2 * PAGE_SIZE, holes[k].base, holes[k].len),
			    "0x%llx", (unsigned long long)at);
		beyond |= at > holes[2].base;
	}
	ATF_CHECK(beyond);		/* the gap between two of them is too small for all */
	/* One that cannot be excluded: no domain, and nothing lost. */
	for (unsigned i = 0; i < IOMMU_HOLES_MAX; i++)
		unit.facts.hole[i] = (struct iommu_hole){ IOVA_FIRST + i * GIB, 0 };
	unit.facts.holes = IOMMU_HOLES_MAX;
	{
		struct dma_domain other;
		struct quota q = { .pages_max = 8 };

		ATF_CHECK_EQ(domain_init(&other, &unit, &q, 5), E_RANGE);
		ATF_CHECK_EQ(q.pages, 0);
	}
}

/* ---- Large grants ---- */

enum { LARGE = 11 };		/* order of its run: 8 MiB */

static struct fake_memory large;

static enum status
grant_large(unsigned n, uint64_t first)
{
	struct ledger_grant want = { .owner = &g[n],
		.memory = &large.m,
		.offset = first * PAGE_SIZE,
		.len = (large.m.pages - first) * PAGE_SIZE,
		.generation = 5,
		.dir = DMA_BOTH };

	return domain_grant(&d, &g[n], &want);
}

static void
begin_large(void)
{
	begin();
	memset(&large, 0, sizeof(large));
	fake_memory_add(&large, LARGE);
	fake_memory_add(&large, 0);
	fake_memory_add(&large, LARGE);
	u.limit = 2 * MIB;
}

ATF_TC_WITHOUT_HEAD(a_large_grant_comes_and_goes_in_steps);
ATF_TC_BODY(a_large_grant_comes_and_goes_in_steps, tc)
{
	uint64_t before, bytes;
	unsigned steps = 0;
	enum status s;

	begin_large();
	s = grant_large(0, 3);
	bytes = (large.m.pages - 3) * PAGE_SIZE;
	while (s == E_WOULD_BLOCK && steps++ < 100) {
		ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_ALLOCATED);
		ATF_CHECK(!found(0) && grant_has_step(&g[0]));
		ATF_CHECK_EQ(grant_poll_at(&g[0], 77), 77);
		before = u.mapped_bytes;
		s = domain_publish(&d, &g[0]);
		ATF_CHECK(u.mapped_bytes - before <= 4 * MIB);
	}
	ATF_CHECK_EQ(s, OK);
	ATF_CHECK(steps >= 4);
	ATF_CHECK_EQ(u.mapped_bytes, bytes);
	ATF_CHECK(found(0));
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	ATF_CHECK(!found(0));
	for (steps = 0; u.mapped_bytes != 0 && steps < 100; steps++) {
		u.done = u.issued;		/* what was cleared is out of reach: not all */
		before = u.mapped_bytes;
		ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);
		ATF_CHECK(before - u.mapped_bytes <= 4 * MIB);
	}
	ATF_CHECK(steps >= 4);
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), E_WOULD_BLOCK);	/* the last ticket */
	u.done = u.issued;
	ATF_CHECK_EQ(domain_settle(&d, &g[0]), OK);
	end();
}

/* UNMAP_KEEP */
ATF_TC_WITHOUT_HEAD(a_large_grant_is_kept_and_mapped_again_in_steps);
ATF_TC_BODY(a_large_grant_is_kept_and_mapped_again_in_steps, tc)
{
	uint64_t at, bytes;
	enum status s;

	begin_large();
	s = grant_large(0, 3);
	at = grant_iova(&g[0]).v;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned n = 0; s == E_WOULD_BLOCK && n < 100; n++)
			s = domain_publish(&d, &g[0]);
		ATF_REQUIRE_EQ(s, OK);
		bytes = u.mapped_bytes;
		ATF_REQUIRE_EQ(domain_disarm(&d, &g[0]), E_WOULD_BLOCK);
		ATF_CHECK(!found(0) && u.mapped_bytes != 0 && bytes - u.mapped_bytes <= 4 * MIB);
		ATF_CHECK_EQ(domain_disarm(&d, &g[0]), E_STATE);
		for (unsigned n = 0; grant_state(&g[0]) == LEDGER_REVOKING && n < 100; n++) {
			u.done = u.issued;
			s = domain_settle(&d, &g[0]);
		}
		ATF_REQUIRE(s == OK && grant_state(&g[0]) == LEDGER_IDLE);
		ATF_CHECK_EQ(u.mapped_bytes, 0);
		s = domain_arm(&d, &g[0], &large.m, 3 * PAGE_SIZE, DMA_TO_DEVICE);
		ATF_CHECK_EQ(grant_iova(&g[0]).v, at);
	}
	/* The claim ends when a part is mapped again. */
	ATF_REQUIRE_EQ(s, E_WOULD_BLOCK);
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	for (unsigned n = 0; grant_state(&g[0]) == LEDGER_REVOKING && n < 100; n++) {
		u.done = u.issued;
		(void)!domain_settle(&d, &g[0]);
	}
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_FREE);
	end();
}

ATF_TC_WITHOUT_HEAD(what_cannot_be_mapped_again_keeps_its_address);
ATF_TC_BODY(what_cannot_be_mapped_again_keeps_its_address, tc)
{
	begin();
	ATF_REQUIRE_EQ(grant_pages(0, 0, 1), OK);
	u.done = UINT64_MAX;
	ATF_REQUIRE_EQ(domain_disarm(&d, &g[0]), OK);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_IDLE);
	u.table_pages = 100;		/* more than the holder has */
	ATF_CHECK_EQ(domain_arm(&d, &g[0], &memory.m, 0, DMA_BOTH), E_QUOTA);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_IDLE);
	u.table_pages = 0;
	ATF_CHECK_EQ(domain_arm(&d, &g[0], &memory.m, PAGE_SIZE, DMA_BOTH), OK);
	ATF_CHECK(found(0));
	ATF_REQUIRE_EQ(domain_disarm(&d, &g[0]), OK);
	domain_drop(&d, &g[0]);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_FREE);
	end();
}

ATF_TC_WITHOUT_HEAD(a_large_grant_is_taken_back_when_a_part_is_mapped);
ATF_TC_BODY(a_large_grant_is_taken_back_when_a_part_is_mapped, tc)
{
	begin_large();
	ATF_REQUIRE_EQ(grant_large(0, 0), E_WOULD_BLOCK);
	ATF_REQUIRE_EQ(domain_publish(&d, &g[0]), E_WOULD_BLOCK);
	ATF_CHECK(u.mapped_bytes != 0);
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	for (unsigned i = 0; i < 100 && domain_settle(&d, &g[0]) == E_WOULD_BLOCK; i++)
		u.done = u.issued;
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_FREE);
	ATF_CHECK_EQ(u.mapped_bytes, 0);
	/* The same when a later step does not fit. */
	u.fail_map_at = 4;
	u.fail_with = E_NO_MEMORY;
	ATF_REQUIRE_EQ(grant_large(1, 0), E_WOULD_BLOCK);
	for (unsigned i = 0; i < 3 && grant_state(&g[1]) == LEDGER_ALLOCATED; i++)
		(void)(domain_publish(&d, &g[1]) == OK);
	ATF_CHECK_EQ(grant_state(&g[1]), LEDGER_REVOKING);
	for (unsigned i = 0; i < 100 && domain_settle(&d, &g[1]) == E_WOULD_BLOCK; i++)
		u.done = u.issued;
	ATF_CHECK_EQ(u.mapped_bytes, 0);
	end();
}

/* A teardown that failed: nothing of the claim can be trusted to be out of reach, whatever its
 * state. */
ATF_TC_WITHOUT_HEAD(a_large_grant_is_quarantined_when_a_part_is_mapped);
ATF_TC_BODY(a_large_grant_is_quarantined_when_a_part_is_mapped, tc)
{
	begin_large();
	ATF_REQUIRE_EQ(grant_large(0, 0), E_WOULD_BLOCK);
	ATF_REQUIRE_EQ(domain_publish(&d, &g[0]), E_WOULD_BLOCK);
	ATF_REQUIRE(u.mapped_bytes != 0);
	domain_quarantine(&d, &g[0]);
	ATF_CHECK_EQ(grant_state(&g[0]), LEDGER_QUARANTINED);
}

/* Where leaves of 2 MiB fit, a step goes to the next of 1 GiB: the unit is asked once for each run.
 */
ATF_TC_WITHOUT_HEAD(large_leaves_make_large_steps);
ATF_TC_BODY(large_leaves_make_large_steps, tc)
{
	begin_large();
	u.limit = 0;
	unit.facts.page_sizes = BIT(12) | BIT(21) | BIT(30);
	large.count = 1;
	large.m.pages = 1 << LARGE;
	ATF_REQUIRE(is_aligned(large.run[0].base, 2 * MIB));
	ATF_CHECK_EQ(grant_large(0, 0), OK);
	ATF_CHECK(!is_aligned(grant_iova(&g[0]).v, 2 * MIB) || u.maps == 1);
	ATF_CHECK_EQ(u.mapped_bytes, large.m.pages * PAGE_SIZE);
	ATF_REQUIRE_EQ(domain_revoke(&d, &g[0]), OK);
	for (unsigned i = 0; i < 100 && domain_settle(&d, &g[0]) == E_WOULD_BLOCK; i++)
		u.done = u.issued;
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_large_grant_comes_and_goes_in_steps);
	ATF_TP_ADD_TC(tp, a_large_grant_is_kept_and_mapped_again_in_steps);
	ATF_TP_ADD_TC(tp, what_cannot_be_mapped_again_keeps_its_address);
	ATF_TP_ADD_TC(tp, a_large_grant_is_taken_back_when_a_part_is_mapped);
	ATF_TP_ADD_TC(tp, a_large_grant_is_quarantined_when_a_part_is_mapped);
	ATF_TP_ADD_TC(tp, large_leaves_make_large_steps);
	ATF_TP_ADD_TC(tp, a_grant_is_in_force_at_once_where_absence_is_not_cached);
	ATF_TP_ADD_TC(tp, a_grant_is_published_when_the_ticket_of_its_sync_is_past);
	ATF_TP_ADD_TC(tp, a_grant_that_never_comes_into_force_is_quarantined);
	ATF_TP_ADD_TC(tp, a_broken_unit_quarantines_what_waits_for_it);
	ATF_TP_ADD_TC(tp, a_grant_can_be_taken_back_before_it_is_in_force);
	ATF_TP_ADD_TC(tp, what_fails_at_its_first_run_leaves_nothing);
	ATF_TP_ADD_TC(tp, what_fails_half_way_is_invalidated_before_it_is_free);
	ATF_TP_ADD_TC(tp, what_fails_half_way_on_a_silent_unit_is_quarantined);
	ATF_TP_ADD_TC(tp, memory_is_let_go_when_the_ticket_is_past_and_the_address_rests);
	ATF_TP_ADD_TC(tp, a_late_ticket_keeps_the_grant_in_quarantine);
	ATF_TP_ADD_TC(tp, a_pinned_grant_is_not_taken_back_before_its_generation_ends);
	ATF_TP_ADD_TC(tp, table_pages_are_the_holders_and_move_with_the_domain);
	ATF_TP_ADD_TC(tp, out_of_table_pages_is_an_error_and_nothing_else_suffers);
	ATF_TP_ADD_TC(tp, the_doorbell_is_reachable_when_its_ticket_is_past);
	ATF_TP_ADD_TC(tp, a_unit_of_few_address_bits_is_refused);
	ATF_TP_ADD_TC(tp, a_device_of_few_address_bits_gets_addresses_that_it_can_say);
	ATF_TP_ADD_TC(tp, addresses_in_a_units_holes_are_never_given_out);
	return atf_no_error();
}
