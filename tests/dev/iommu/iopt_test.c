/*
 * The page-table walker and its formats, judged by walks written from the manuals, over memory as
 * the device sees it, after every single store.
 */
/* LINK: dev/iommu/iopt.c dev/iommu/fmt_vmsa.c dev/iommu/fmt_vtdss.c dev/iommu/fmt_amdv1.c
 * LINK: kern/quota.c kern/base/fmt.c tests/lib/fake_kernel.c tests/lib/fake_panic.c
 * LINK: tests/lib/walk.c */
#include <atf-c.h>
#include <string.h>

#include "dev/iommu/fmt_amdv1.h"
#include "dev/iommu/fmt_vmsa.h"
#include "dev/iommu/fmt_vtdss.h"
#include "dev/iommu/iopt.h"
#include "kern/base/bits.h"
#include "kern/quota.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/walk.h"

enum : uint64_t { SIZES = BIT(12) | BIT(21) | BIT(30), TO = 0x10'0000'0000, AT = 0x1'0000'0000 };

enum kind { S1, S2, SS, V1, KINDS };

static const struct iopt_shape shapes[KINDS] = {
	[S1] = { .format = &fmt_vmsa_s1,
	    .input_bits = 39,
	    .output_bits = 44,
	    .coherent = true,
	    .leaf_sizes = SIZES },
	[S2] = { .format = &fmt_vmsa_s2,
	    .input_bits = 40,
	    .output_bits = 44,
	    .coherent = true,
	    .leaf_sizes = SIZES },
	[SS] = { .format = &fmt_vtdss,
	    .input_bits = 48,
	    .output_bits = 46,
	    .coherent = true,
	    .leaf_sizes = SIZES },
	[V1] = { .format = &fmt_amdv1,
	    .input_bits = 48,
	    .output_bits = 46,
	    .coherent = true,
	    .leaf_sizes = SIZES,
	    .flags = AMDV1_SNOOP },
};

static struct iopt_shape shape;
static struct quota quota;
static struct iopt tree;

static void
walk(uint64_t at, struct walk *w)
{
	if (shape.format == &fmt_vtdss)
		walk_vtdss(tree.root.v, iopt_top(&shape) + 1, shape.output_bits,
		    (shape.flags & VTDSS_SNOOP) != 0, at, w);
	else if (shape.format == &fmt_amdv1)
		walk_amdv1(tree.root.v, iopt_top(&shape) + 1, shape.output_bits, at, w);
	else
		walk_vmsa(shape.format == &fmt_vmsa_s1 ? 1 : 2, tree.root.v, 3 - iopt_top(&shape),
		    shape.input_bits, shape.output_bits, at, w);
}

static void
start(enum kind kind, struct fake_setup setup)
{
	shape = shapes[kind];
	shape.coherent = !setup.not_coherent;
	fake_kernel_init(&setup);
	quota = (struct quota){ .pages_max = 100000 };
	ATF_REQUIRE_EQ(iopt_init(&tree, &shape, &quota), OK);
}

static void
stop(void)
{
	iopt_fini(&tree);
	ATF_CHECK_EQ(quota.pages, 0);
	ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), 0);
}

static enum status
map(uint64_t at, uint64_t to, uint64_t len, uint8_t access)
{
	return iopt_map(&tree, (struct iova){ at }, (struct paddr){ to }, len, access);
}

static enum status
unmap(uint64_t at, uint64_t len)
{
	struct iopt_cleared c;

	return iopt_unmap(&tree, (struct iova){ at }, len, &c);
}

static bool
reaches(uint64_t at, uint64_t to, uint8_t access)
{
	struct iopt_leaf leaf;
	struct walk w;

	walk(at, &w);
	if (w.result != WALK_OK || w.to != to || w.read != ((access & IOPT_READ) != 0 ||
	    (shape.format == &fmt_vmsa_s1)) || w.write != ((access & IOPT_WRITE) != 0))
		return false;
	return iopt_lookup(&tree, (struct iova){ at }, &leaf) && leaf.to.v == to &&
	    leaf.size_lg2 == w.size_lg2;
}

static bool
nothing_at(uint64_t at)
{
	struct iopt_leaf leaf;
	struct walk w;

	walk(at, &w);
	return w.result == WALK_NONE && !iopt_lookup(&tree, (struct iova){ at }, &leaf);
}

ATF_TC_WITHOUT_HEAD(entries_are_the_golden_vectors);
ATF_TC_BODY(entries_are_the_golden_vectors, tc)
{
	struct paddr ram = { 0x42000000 }, its = { 0x08090000 }, ram_x86 = { 0x02000000 };
	const struct iopt_format *s1 = &fmt_vmsa_s1, *s2 = &fmt_vmsa_s2, *ss = &fmt_vtdss,
				 *v1 = &fmt_amdv1;

	ATF_CHECK_EQ(s1->leaf(ram, 0, IOPT_READ | IOPT_WRITE, 0), 0x0060000042000F4B);
	ATF_CHECK_EQ(s1->leaf(ram, 0, IOPT_WRITE, 0), 0x0060000042000F4B);
	ATF_CHECK_EQ(s1->leaf(ram, 0, IOPT_READ, 0), 0x0060000042000FCB);
	ATF_CHECK_EQ(s1->leaf(its, 0, IOPT_WRITE | IOPT_DEVICE, 0), 0x0060000008090E43);
	ATF_CHECK_EQ(s2->leaf(ram, 1, IOPT_READ | IOPT_WRITE, 0), 0x00400000420007FD);
	ATF_CHECK_EQ(s2->leaf(ram, 0, IOPT_WRITE, 0), 0x00400000420007BF);
	ATF_CHECK_EQ(s2->leaf(its, 0, IOPT_WRITE | IOPT_DEVICE, 0), 0x0040000008090687);
	ATF_CHECK_EQ(s1->leaf(ram, 0, IOPT_READ, VMSA_NONCACHED), 0x0060000042000EC7);
	ATF_CHECK_EQ(s2->leaf(ram, 0, IOPT_READ, VMSA_NONCACHED), 0x0040000042000657);
	ATF_CHECK_EQ(s1->table((struct paddr){ 0x41100000 }, 1), 0x41100003);
	ATF_CHECK_EQ(ss->leaf(ram_x86, 0, IOPT_READ | IOPT_WRITE, 0), 0x02000003);
	ATF_CHECK_EQ(ss->leaf(ram_x86, 1, IOPT_READ | IOPT_WRITE, 0), 0x02000083);
	ATF_CHECK_EQ(ss->leaf(ram_x86, 0, IOPT_WRITE, VTDSS_SNOOP), 0x02000802);
	ATF_CHECK_EQ(ss->table(ram_x86, 2), 0x02000003);
	ATF_CHECK_EQ(v1->leaf(ram_x86, 0, IOPT_READ | IOPT_WRITE, 0), 0x6000'0000'0200'0001);
	ATF_CHECK_EQ(v1->leaf(ram_x86, 2, IOPT_READ, AMDV1_SNOOP), 0x3000'0000'0200'0001);
	ATF_CHECK_EQ(v1->leaf(ram_x86, 1, IOPT_WRITE, 0), 0x4000'0000'0200'0001);
	ATF_CHECK_EQ(v1->table((struct paddr){ 0x01221000 }, 2), 0x6000'0000'0122'1401);
	ATF_CHECK_EQ(v1->table((struct paddr){ 0x01222000 }, 1), 0x6000'0000'0122'2201);
	for (uint8_t a = IOPT_READ; a <= (IOPT_READ | IOPT_WRITE); a++) {
		ATF_CHECK_EQ(s2->access(s2->leaf(ram, 0, a, 0)), a);
		ATF_CHECK_EQ(ss->access(ss->leaf(ram, 0, a, 0)), a);
		ATF_CHECK_EQ(v1->access(v1->leaf(ram, 1, a, AMDV1_SNOOP)), a);
		ATF_CHECK_EQ(s1->access(s1->leaf(ram, 0, a, 0)), a | IOPT_READ);
		ATF_CHECK_EQ(s2->access(s2->leaf(ram, 0, a | IOPT_DEVICE, 0)), a | IOPT_DEVICE);
	}
}

/* The model's walk knows what we do not make: AMD-41, AMD-43. */
ATF_TC_WITHOUT_HEAD(the_amd_walk_follows_skipped_levels_and_coded_sizes);
ATF_TC_BODY(the_amd_walk_follows_skipped_levels_and_coded_sizes, tc)
{
	struct paddr root, low;
	uint64_t *top, *bottom;
	struct walk w;

	fake_kernel_init(&(struct fake_setup){ 0 });
	ATF_REQUIRE_EQ(frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &root), OK);
	ATF_REQUIRE_EQ(frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &low), OK);
	top = frame_ptr(root);
	bottom = frame_ptr(low);
	top[1] = low.v | 3ull << 61 | 1 << 9 | 1;			/* level 4 to level 1 */
	for (unsigned i = 0; i < 16; i++) /* 64 KiB: bits 12..14 set, bit 15 clear */
		bottom[16 + i] = 0x1234'0000 | 7 << 12 | 1ull << 61 | 7 << 9 | 1;
	walk_amdv1(root.v, 4, 46, BIT(39) + 0x1'8123, &w);
	ATF_CHECK(w.result == WALK_OK && w.to == 0x1234'8123 && w.size_lg2 == 16 && w.read &&
	    !w.write && w.tables == 1);
	walk_amdv1(root.v, 4, 46, BIT(39) + 2 * MIB, &w); /* bits of a skipped level */
	ATF_CHECK_EQ(w.result, WALK_NONE);
	bottom[0] = 0x1234'0000 | 2 << 9 | 1; /* a table above its own level */
	walk_amdv1(root.v, 4, 46, BIT(39), &w);
	ATF_CHECK_EQ(w.result, WALK_MALFORMED);
}

ATF_TC_WITHOUT_HEAD(the_root_fits_the_width);
ATF_TC_BODY(the_root_fits_the_width, tc)
{
	static const struct {
		const struct iopt_format *f;
		uint8_t bits;
		unsigned top, order;
	} want[] = {
		{ &fmt_vmsa_s1, 39, 2, 0 },
		{ &fmt_vmsa_s1, 40, 3, 0 },
		{ &fmt_vmsa_s1, 48, 3, 0 },
		{ &fmt_vmsa_s1, 32, 2, 0 },
		{ &fmt_vmsa_s2, 39, 2, 0 },
		{ &fmt_vmsa_s2, 40, 2, 1 },
		{ &fmt_vmsa_s2, 43, 2, 4 },
		{ &fmt_vmsa_s2, 44, 3, 0 },
		{ &fmt_vmsa_s2, 48, 3, 0 },
		{ &fmt_vmsa_s2, 32, 1, 2 },
		{ &fmt_vmsa_s2, 36, 2, 0 },
		{ &fmt_vtdss, 39, 2, 0 },
		{ &fmt_vtdss, 48, 3, 0 },
		{ &fmt_vtdss, 57, 4, 0 },
		{ &fmt_amdv1, 48, 3, 0 },
		{ &fmt_amdv1, 39, 2, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct iopt_shape s = {
			.format = want[i].f, .input_bits = want[i].bits, .leaf_sizes = SIZES
		};

		ATF_CHECK_EQ_MSG(iopt_top(&s), want[i].top, "%s %u", want[i].f->name, want[i].bits);
		ATF_CHECK_EQ_MSG(
		    iopt_root_order(&s), want[i].order, "%s %u", want[i].f->name, want[i].bits);
	}
}

ATF_TC_WITHOUT_HEAD(leaves_are_as_large_as_alignment_allows);
ATF_TC_BODY(leaves_are_as_large_as_alignment_allows, tc)
{
	struct iopt_cleared c;

	for (enum kind k = S1; k < KINDS; k++) {
		uint64_t at = 2 * GIB - 2 * MIB - PAGE_SIZE,
			 to = TO + 2 * GIB - 2 * MIB - PAGE_SIZE;
		uint64_t len = PAGE_SIZE + 2 * MIB + GIB + 2 * MIB + PAGE_SIZE;
		struct walk w;

		start(k, (struct fake_setup){ 0 });
		ATF_REQUIRE_EQ(map(at, to, len, IOPT_READ | IOPT_WRITE), OK);
		walk(at, &w);
		ATF_CHECK_EQ(w.size_lg2, 12);
		walk(at + PAGE_SIZE, &w);
		ATF_CHECK_EQ(w.size_lg2, 21);
		walk(2 * GIB, &w);
		ATF_CHECK_EQ(w.size_lg2, 30);
		for (uint64_t o = 0; o < len; o += 123 * PAGE_SIZE)
			ATF_REQUIRE(reaches(at + o, to + o, IOPT_READ | IOPT_WRITE));
		ATF_CHECK(reaches(at + len - 1, to + len - 1, IOPT_READ | IOPT_WRITE));
		ATF_CHECK(nothing_at(at - 1));
		ATF_CHECK(nothing_at(at + len));
		ATF_CHECK_EQ(quota.pages, tree.table_pages);
		ATF_REQUIRE_EQ(iopt_unmap(&tree, (struct iova){ at }, len, &c), OK);
		ATF_CHECK_EQ(c.leaf_sizes, SIZES);
		ATF_CHECK_EQ(c.leaves, 5);
		for (uint64_t o = 0; o < len; o += 123 * PAGE_SIZE)
			ATF_REQUIRE(nothing_at(at + o));
		stop();
	}
}

ATF_TC_WITHOUT_HEAD(memory_out_of_step_with_addresses_gets_small_leaves);
ATF_TC_BODY(memory_out_of_step_with_addresses_gets_small_leaves, tc)
{
	struct walk w;

	start(S1, (struct fake_setup){ 0 });
	ATF_REQUIRE_EQ(map(AT, TO + PAGE_SIZE, 4 * MIB, IOPT_READ), OK);
	walk(AT + 2 * MIB, &w);
	ATF_CHECK_EQ(w.size_lg2, 12);
	ATF_CHECK(reaches(AT + 2 * MIB + 5, TO + 2 * MIB + PAGE_SIZE + 5, IOPT_READ));
	ATF_REQUIRE_EQ(unmap(AT, 4 * MIB), OK);
	stop();
}

ATF_TC_WITHOUT_HEAD(a_shape_without_large_leaves_gets_none);
ATF_TC_BODY(a_shape_without_large_leaves_gets_none, tc)
{
	struct walk w;

	start(SS, (struct fake_setup){ 0 });
	shape.leaf_sizes = BIT(12) | BIT(21);
	ATF_REQUIRE_EQ(map(GIB, TO, GIB, IOPT_READ), OK);
	walk(GIB, &w);
	ATF_CHECK_EQ(w.size_lg2, 21);
	ATF_REQUIRE_EQ(unmap(GIB, GIB), OK);
	shape.leaf_sizes = BIT(12);
	ATF_REQUIRE_EQ(map(4 * GIB, TO, 2 * MIB, IOPT_READ), OK);
	walk(4 * GIB, &w);
	ATF_CHECK_EQ(w.size_lg2, 12);
	stop();
}

ATF_TC_WITHOUT_HEAD(where_a_table_stands_no_leaf_replaces_it);
ATF_TC_BODY(where_a_table_stands_no_leaf_replaces_it, tc)
{
	struct walk w;
	uint64_t pages;

	start(S2, (struct fake_setup){ 0 });
	ATF_REQUIRE_EQ(map(AT, TO, PAGE_SIZE, IOPT_WRITE), OK);
	ATF_REQUIRE_EQ(unmap(AT, PAGE_SIZE), OK);
	pages = tree.table_pages;
	ATF_REQUIRE_EQ(map(AT, TO, 4 * MIB, IOPT_WRITE), OK);
	ATF_CHECK_EQ(tree.table_pages, pages);
	walk(AT, &w);
	ATF_CHECK_EQ(w.size_lg2, 12);
	walk(AT + 2 * MIB, &w);
	ATF_CHECK_EQ(w.size_lg2, 21);
	ATF_REQUIRE_EQ(unmap(AT, 4 * MIB), OK);
	stop();
}

ATF_TC_WITHOUT_HEAD(bad_ranges_are_refused_by_name);
ATF_TC_BODY(bad_ranges_are_refused_by_name, tc)
{
	for (enum kind k = S1; k < KINDS; k++) {
		uint64_t end, top;

		start(k, (struct fake_setup){ 0 });
		end = BIT(shape.input_bits);
		top = BIT(shape.output_bits);
		ATF_CHECK_EQ(map(AT, TO, 0, IOPT_READ), E_ALIGN);
		ATF_CHECK_EQ(map(AT + 1, TO, PAGE_SIZE, IOPT_READ), E_ALIGN);
		ATF_CHECK_EQ(map(AT, TO + 512, PAGE_SIZE, IOPT_READ), E_ALIGN);
		ATF_CHECK_EQ(map(AT, TO, PAGE_SIZE + 1, IOPT_READ), E_ALIGN);
		ATF_CHECK_EQ(map(AT, TO, PAGE_SIZE, 0), E_INVALID);
		ATF_CHECK_EQ(map(AT, TO, PAGE_SIZE, IOPT_DEVICE), E_INVALID);
		ATF_CHECK_EQ(map(end, TO, PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(map(end - PAGE_SIZE, TO, 2 * PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(map(~PAGE_MASK, TO, PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(map(~PAGE_MASK, TO, 2 * PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(map(AT, top, PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(map(AT, top - PAGE_SIZE, 2 * PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(map(AT, ~PAGE_MASK, PAGE_SIZE, IOPT_READ), E_RANGE);
		ATF_CHECK_EQ(unmap(AT, 0), E_ALIGN);
		ATF_CHECK_EQ(unmap(end, PAGE_SIZE), E_RANGE);
		ATF_CHECK_EQ(unmap(AT, PAGE_SIZE), E_NOT_FOUND);
		ATF_CHECK_EQ(tree.table_pages, BIT(iopt_root_order(&shape)));
		ATF_CHECK_EQ(map(end - PAGE_SIZE, top - PAGE_SIZE, PAGE_SIZE, IOPT_READ), OK);
		ATF_CHECK(reaches(end - 1, top - 1, IOPT_READ));
		ATF_CHECK_EQ(unmap(end - PAGE_SIZE, PAGE_SIZE), OK);
		stop();
	}
}

/* What the device could have seen: counted by the store hook. */
static uint32_t leaves_shown, replaced;

static void
count_store(void *arg, uint64_t pa, uint64_t before, uint64_t after)
{
	const struct iopt_format *f = shape.format;
	bool was = (before & f->present_mask) != 0, is = (after & f->present_mask) != 0;

	(void)arg;
	(void)pa;
	if (was && is)
		replaced++;
	/* A leaf, unlike a table, points at memory that is no table. */
	if (is && frame_state_of((struct paddr){ after & f->address_mask }) != FRAME_IOMMU)
		leaves_shown++;
}

static void
count_stores(void)
{
	leaves_shown = replaced = 0;
	fake_hooks.store = count_store;
}

ATF_TC_WITHOUT_HEAD(an_overlap_is_refused_and_changes_nothing);
ATF_TC_BODY(an_overlap_is_refused_and_changes_nothing, tc)
{
	for (enum kind k = S1; k < KINDS; k++) {
		start(k, (struct fake_setup){ 0 });
		ATF_REQUIRE_EQ(map(AT + 3 * MIB, TO, PAGE_SIZE, IOPT_READ), OK);
		/* the same page again, which is found without a walk */
		count_stores();
		ATF_CHECK_EQ(map(AT + 3 * MIB, 2 * TO, PAGE_SIZE, IOPT_READ), E_EXISTS);
		ATF_CHECK_EQ(leaves_shown, 0);
		ATF_REQUIRE_EQ(map(AT + 8 * MIB, TO + 8 * MIB, 2 * MIB, IOPT_READ), OK);
		count_stores();
		ATF_CHECK_EQ(map(AT, 2 * TO, 16 * MIB, IOPT_READ | IOPT_WRITE), E_EXISTS);
		ATF_CHECK_EQ(map(AT + 8 * MIB + PAGE_SIZE, 2 * TO, PAGE_SIZE, IOPT_READ), E_EXISTS);
		ATF_CHECK_EQ(map(AT + 7 * MIB, 2 * TO, 2 * MIB, IOPT_READ), E_EXISTS);
		ATF_CHECK_EQ(leaves_shown, 0);
		ATF_CHECK_EQ(replaced, 0);
		ATF_CHECK(nothing_at(AT));
		ATF_CHECK(nothing_at(AT + 7 * MIB));
		ATF_CHECK(reaches(AT + 3 * MIB, TO, IOPT_READ));
		ATF_CHECK(reaches(AT + 9 * MIB, TO + 9 * MIB, IOPT_READ));
		stop();
	}
}

ATF_TC_WITHOUT_HEAD(an_unmap_that_cuts_or_misses_is_refused_and_changes_nothing);
ATF_TC_BODY(an_unmap_that_cuts_or_misses_is_refused_and_changes_nothing, tc)
{
	for (enum kind k = S1; k < KINDS; k++) {
		start(k, (struct fake_setup){ 0 });
		ATF_REQUIRE_EQ(map(AT, TO, 4 * MIB + 3 * PAGE_SIZE, IOPT_READ), OK);
		count_stores();
		ATF_CHECK_EQ(unmap(AT, PAGE_SIZE), E_INVALID);
		ATF_CHECK_EQ(unmap(AT + PAGE_SIZE, 2 * MIB), E_INVALID);
		ATF_CHECK_EQ(unmap(AT, 2 * MIB + PAGE_SIZE), E_INVALID);
		ATF_CHECK_EQ(unmap(AT, 4 * MIB + 4 * PAGE_SIZE), E_NOT_FOUND);
		ATF_CHECK_EQ(unmap(AT - PAGE_SIZE, 2 * PAGE_SIZE), E_NOT_FOUND);
		ATF_CHECK_EQ(unmap(AT + 4 * MIB + 2 * PAGE_SIZE, 2 * PAGE_SIZE), E_NOT_FOUND);
		for (uint64_t o = 0; o < 4 * MIB + 3 * PAGE_SIZE; o += PAGE_SIZE)
			ATF_REQUIRE(reaches(AT + o, TO + o, IOPT_READ));
		ATF_CHECK_EQ(unmap(AT, 4 * MIB + 3 * PAGE_SIZE), OK);
		stop();
	}
}

ATF_TC_WITHOUT_HEAD(failure_at_any_allocation_shows_no_leaf);
ATF_TC_BODY(failure_at_any_allocation_shows_no_leaf, tc)
{
	/* A table at every height, twice: six allocations below the root at most. */
	uint64_t at = GIB - 3 * PAGE_SIZE, len = 6 * PAGE_SIZE;

	for (enum kind k = S1; k < KINDS; k++) {
		for (int64_t fail = 0;; fail++) {
			uint64_t pages;
			enum status s;

			start(k, (struct fake_setup){ 0 });
			count_stores();
			fake_fail_alloc(fail);
			s = map(at, TO, len, IOPT_READ);
			fake_fail_alloc(-1);
			if (s == OK) {
				ATF_CHECK(fail >= 4);
				stop();
				break;
			}
			ATF_CHECK_EQ(s, E_NO_MEMORY);
			ATF_CHECK_EQ(leaves_shown, 0);
			for (uint64_t o = 0; o < len; o += PAGE_SIZE)
				ATF_CHECK(nothing_at(at + o));
			ATF_CHECK_EQ(quota.pages, tree.table_pages);
			ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), tree.table_pages);
			/* What was made is used by the next try. */
			pages = tree.table_pages;
			ATF_CHECK_EQ(map(at, TO, len, IOPT_READ), OK);
			ATF_CHECK(tree.table_pages > pages);
			ATF_CHECK_EQ(replaced, 0);
			stop();
		}
	}
}

ATF_TC_WITHOUT_HEAD(the_quota_is_the_limit);
ATF_TC_BODY(the_quota_is_the_limit, tc)
{
	start(S1, (struct fake_setup){ 0 });
	quota.pages_max = 3;
	ATF_REQUIRE_EQ(map(0, TO, PAGE_SIZE, IOPT_READ), OK);
	ATF_CHECK_EQ(quota.pages, 3);
	count_stores();
	ATF_CHECK_EQ(map(2 * MIB - PAGE_SIZE, TO, 2 * PAGE_SIZE, IOPT_READ), E_QUOTA);
	ATF_CHECK_EQ(leaves_shown, 0);
	ATF_CHECK_EQ(map(2 * MIB - PAGE_SIZE, TO, PAGE_SIZE, IOPT_READ), OK);
	ATF_CHECK_EQ(quota.pages, 3);
	stop();
	fake_kernel_init(&(struct fake_setup){ 0 });
	quota = (struct quota){ .pages_max = 1 };
	shape = shapes[S2];
	ATF_CHECK_EQ(iopt_init(&tree, &shape, &quota), E_QUOTA);	/* two root tables */
	ATF_CHECK_EQ(quota.pages, 0);
	fake_fail_alloc(0);
	quota.pages_max = 2;
	ATF_CHECK_EQ(iopt_init(&tree, &shape, &quota), E_NO_MEMORY);
	ATF_CHECK_EQ(quota.pages, 0);
	fake_fail_alloc(-1);
	ATF_CHECK_EQ(iopt_init(&tree, &shape, NULL), OK);
	iopt_fini(&tree);
}

ATF_TC_WITHOUT_HEAD(quarantine_keeps_every_table);
ATF_TC_BODY(quarantine_keeps_every_table, tc)
{
	uint64_t pages;

	start(SS, (struct fake_setup){ 0 });
	ATF_REQUIRE_EQ(map(AT, TO, 6 * MIB + PAGE_SIZE, IOPT_READ), OK);
	ATF_REQUIRE_EQ(map(77 * GIB, TO, PAGE_SIZE, IOPT_READ), OK);
	pages = tree.table_pages;
	iopt_quarantine(&tree);
	ATF_CHECK_EQ(fake_frames(FRAME_QUARANTINED), pages);
	ATF_CHECK_EQ(fake_frames(FRAME_IOMMU), 0);
	ATF_CHECK_EQ(quota.pages, 0);
}

/*
 * An oracle of pages, and random calls; after each store the device looks at a few pages of the
 * range and at some others, and finds the old or the new state.
 */
enum { PAGES = 2048 };		/* 8 MiB, cut from an address that is 4 MiB below a gigabyte */
enum : uint64_t { WINDOW = 3 * GIB - 4 * MIB };

struct page { uint64_t to; uint8_t access; };
static struct page now_map[PAGES], next_map[PAGES];
static uint32_t looks;

static bool
is_state(const struct walk *w, const struct page *p)
{
	if (p->access == 0)
		return w->result == WALK_NONE;
	return w->result == WALK_OK && w->to == p->to &&
	    w->write == ((p->access & IOPT_WRITE) != 0) &&
	    w->read == (shape.format == &fmt_vmsa_s1 || (p->access & IOPT_READ) != 0) &&
	    !w->executable && (shape.format != &fmt_vmsa_s1 || !w->global);
}

static void
device_looks(void *arg, uint64_t pa, uint64_t before, uint64_t after)
{
	const struct iopt_format *f = shape.format;

	(void)arg;
	(void)pa;
	ATF_REQUIRE((before & f->present_mask) == 0 || (after & f->present_mask) == 0);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t n = fake_random() % PAGES;
		struct walk w;

		walk(WINDOW + n * PAGE_SIZE, &w);
		looks++;
		if (!is_state(&w, &now_map[n]) && !is_state(&w, &next_map[n]))
			atf_tc_fail("page %u is neither old nor new: result %u, entry 0x%llx",
			    (unsigned)n, w.result, (unsigned long long)w.leaf);
	}
}

struct owned { uint64_t first, count; };

static void
storm(enum kind kind, struct fake_setup setup)
{
	static struct owned owned[64];
	uint32_t n = 0;

	start(kind, setup);
	memset(now_map, 0, sizeof(now_map));
	memset(next_map, 0, sizeof(next_map));
	for (unsigned turn = 0; turn < 250; turn++) {
		fake_hooks.store = device_looks;
		if (n != 0 && (n == ARRAY_SIZE(owned) || fake_random() % 2 == 0)) {
			uint32_t i = (uint32_t)(fake_random() % n);

			for (uint64_t p = 0; p < owned[i].count; p++)
				next_map[owned[i].first + p].access = 0;
			ATF_REQUIRE_EQ(
			    unmap(WINDOW + owned[i].first * PAGE_SIZE, owned[i].count * PAGE_SIZE),
			    OK);
			owned[i] = owned[--n];
		} else {
			uint64_t first = fake_random() % PAGES, count = 1 + fake_random() % 8, to;
			uint8_t access = (uint8_t)(1 + fake_random() % 3);
			bool taken = false;
			enum status s;

			if (fake_random() % 4 == 0)
				first &= ~511ull,
				    count = 512 * (1 + fake_random() % 3) + fake_random() % 3;
			count = min_u64(count, PAGES - first);
			to = TO +
			    (fake_random() % 2 == 0 ? first : fake_random() % PAGES) * PAGE_SIZE;
			for (uint64_t p = 0; p < count; p++)
				taken = taken || now_map[first + p].access != 0;
			for (uint64_t p = 0; p < count && !taken; p++)
				next_map[first + p] = (struct page){ to + p * PAGE_SIZE, access };
			s = map(WINDOW + first * PAGE_SIZE, to, count * PAGE_SIZE, access);
			ATF_REQUIRE_EQ(s, taken ? E_EXISTS : OK);
			if (!taken)
				owned[n++] = (struct owned){ first, count };
		}
		memcpy(now_map, next_map, sizeof(now_map));
		/* Without help from a later barrier: what a call did is visible when it returns. */
		for (unsigned i = 0; i < 64; i++) {
			uint64_t p = fake_random() % PAGES;
			struct walk w;

			walk(WINDOW + p * PAGE_SIZE, &w);
			ATF_REQUIRE(is_state(&w, &now_map[p]));
		}
	}
	fake_hooks.store = NULL;
	stop();
}

ATF_TC_WITHOUT_HEAD(at_every_store_the_device_sees_old_or_new);
ATF_TC_BODY(at_every_store_the_device_sees_old_or_new, tc)
{
	for (enum kind k = S1; k < KINDS; k++)
		for (uint64_t seed = 1; seed <= 2; seed++) {
			storm(k, (struct fake_setup){ .seed = seed });
			storm(k, (struct fake_setup){ .seed = seed, .order = FAKE_TSO });
			storm(k, (struct fake_setup){ .seed = seed, .order = FAKE_WEAK });
		}
	ATF_CHECK(looks > 10000);
}

ATF_TC_WITHOUT_HEAD(a_walker_that_does_not_snoop_sees_old_or_new);
ATF_TC_BODY(a_walker_that_does_not_snoop_sees_old_or_new, tc)
{
	for (enum kind k = S1; k < KINDS; k++)
		for (uint64_t seed = 1; seed <= 2; seed++)
			storm(k, (struct fake_setup){ .seed = seed, .not_coherent = true });
}

/* The walker knows no format: 64 KiB pages with 8192 entries, and 16 KiB with 2048. */
static uint64_t toy_leaf(struct paddr to, unsigned height, uint8_t access, uint64_t flags)
{
	(void)flags;
	return to.v | (height == 0 ? 3 : 1) | (uint64_t)access << 2;
}
static uint64_t toy_table(struct paddr child, unsigned height) { (void)height; return child.v | 3; }
static uint8_t toy_access(uint64_t e) { return (uint8_t)(e >> 2 & 7); }

ATF_TC_WITHOUT_HEAD(other_granules_are_only_another_description);
ATF_TC_BODY(other_granules_are_only_another_description, tc)
{
	static const struct { uint8_t page, stride; } granules[] = { { 16, 13 }, { 14, 11 } };

	for (size_t i = 0; i < ARRAY_SIZE(granules); i++) {
		uint64_t page = BIT(granules[i].page), block = page << granules[i].stride;
		struct iopt_format toy = {
			.name = "toy",
			.page_lg2 = granules[i].page,
			.stride_lg2 = granules[i].stride,
			.leaf_sizes = page | block,
			.present_mask = 1,
			.leaf_mask = 2,
			.leaf_value = 0,
			.address_mask = BITS(47, 14),
			.leaf = toy_leaf,
			.table = toy_table,
			.access = toy_access,
		};
		struct iopt_leaf leaf;

		fake_kernel_init(&(struct fake_setup){ 0 });
		quota = (struct quota){ .pages_max = 1000 };
		shape = (struct iopt_shape){ .format = &toy,
			.input_bits = 42,
			.output_bits = 44,
			.coherent = true,
			.leaf_sizes = page | block };
		ATF_REQUIRE_EQ(iopt_init(&tree, &shape, &quota), OK);
		ATF_CHECK_EQ(map(PAGE_SIZE, TO, page, IOPT_READ), E_ALIGN);
		ATF_REQUIRE_EQ(map(block - page, TO - page, block + 2 * page, IOPT_READ), OK);
		ATF_REQUIRE(iopt_lookup(&tree, (struct iova){ block + 12345 }, &leaf));
		ATF_CHECK_EQ(leaf.to.v, TO + 12345);
		ATF_CHECK_EQ(BIT(leaf.size_lg2), block);
		ATF_REQUIRE(iopt_lookup(&tree, (struct iova){ 2 * block }, &leaf));
		ATF_CHECK_EQ(leaf.to.v, TO + block);
		ATF_CHECK_EQ(BIT(leaf.size_lg2), page);
		ATF_CHECK_EQ(unmap(block - page, block + 2 * page), OK);
		stop();
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, entries_are_the_golden_vectors);
	ATF_TP_ADD_TC(tp, the_amd_walk_follows_skipped_levels_and_coded_sizes);
	ATF_TP_ADD_TC(tp, the_root_fits_the_width);
	ATF_TP_ADD_TC(tp, leaves_are_as_large_as_alignment_allows);
	ATF_TP_ADD_TC(tp, memory_out_of_step_with_addresses_gets_small_leaves);
	ATF_TP_ADD_TC(tp, a_shape_without_large_leaves_gets_none);
	ATF_TP_ADD_TC(tp, where_a_table_stands_no_leaf_replaces_it);
	ATF_TP_ADD_TC(tp, bad_ranges_are_refused_by_name);
	ATF_TP_ADD_TC(tp, an_overlap_is_refused_and_changes_nothing);
	ATF_TP_ADD_TC(tp, an_unmap_that_cuts_or_misses_is_refused_and_changes_nothing);
	ATF_TP_ADD_TC(tp, failure_at_any_allocation_shows_no_leaf);
	ATF_TP_ADD_TC(tp, the_quota_is_the_limit);
	ATF_TP_ADD_TC(tp, quarantine_keeps_every_table);
	ATF_TP_ADD_TC(tp, at_every_store_the_device_sees_old_or_new);
	ATF_TP_ADD_TC(tp, a_walker_that_does_not_snoop_sees_old_or_new);
	ATF_TP_ADD_TC(tp, other_granules_are_only_another_description);
	return atf_no_error();
}
