/*
 * kern/machine/fdt.c: the reader, on trees that are right, cut, and bent.
 *
 * LINK: kern/machine/fdt.c kern/base/str.c tests/lib/fdt_build.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "kern/machine/fdt.h"
#include "tests/lib/fdt_build.h"

static const uint8_t soc[] = {
#embed "../../../build/dts/soc.dtb"
};

static struct fdt_build b;
static struct fdt t;

static void
start(void)
{
	memset(&b, 0, sizeof(b));
}

/* Opens what was built; the blob stays for the test's life. */
static enum status
open_built(void)
{
	size_t len;
	uint8_t *blob = fb_blob(&b, &len);

	return fdt_open(&t, blob, len);
}

/* Walks everything that can be walked; returns the number of nodes. */
static uint32_t
walk(const struct fdt *f)
{
	uint32_t nodes = 0;
	int depth = 0;

	for (uint32_t n = FDT_ROOT; n != FDT_NONE; n = fdt_next(f, n, &depth)) {
		uint32_t cursor = 0, len;
		const char *name;
		const void *value;
		uint64_t base, size;

		nodes++;
		ATF_REQUIRE(depth >= 0 && depth < (int)FDT_DEPTH_MAX);
		ATF_REQUIRE(strlen(fdt_name(f, n)) < f->size);
		ATF_REQUIRE((fdt_parent(f, n) == FDT_NONE) == (n == FDT_ROOT));
		while (fdt_next_prop(f, n, &cursor, &name, &value, &len)) {
			ATF_REQUIRE(strlen(name) < f->size);
			for (uint32_t i = 0; i < len; i++)
				(void)((const volatile uint8_t *)value)[i];
			(void)fdt_prop(f, n, name, &len); /* of two with this name, the first */
			for (uint32_t i = 0; fdt_string_at(f, n, name, i) != NULL; i++)
				ATF_REQUIRE(strlen(fdt_string_at(f, n, name, i)) < len);
			(void)fdt_u32(f, n, name, 0);
		}
		for (uint32_t i = 0; i < 64 && fdt_reg(f, n, i, &base, &size); i++)
			(void)fdt_reg_cpu(f, n, i, &base, &size);
	}
	for (uint32_t i = 0; i < 1000; i++) {
		uint64_t base, size;

		if (!fdt_reserve(f, i, &base, &size))
			break;
	}
	return nodes;
}

ATF_TC_WITHOUT_HEAD(nodes_come_in_document_order);
ATF_TC_BODY(nodes_come_in_document_order, tc)
{
	uint32_t a, a1, a2, c;

	start();
	fb_begin(&b, "");
	fb_cell(&b, "one", 1);
	fb_token(&b, 4);		/* a nop, between properties */
	fb_string(&b, "two", "zwei");
	fb_begin(&b, "a@1");
	fb_begin(&b, "a1");
	fb_end(&b);
	fb_token(&b, 4);
	fb_begin(&b, "a2");
	fb_end(&b);
	fb_end(&b);
	fb_begin(&b, "c");
	fb_end(&b);
	fb_end(&b);
	ATF_REQUIRE_EQ(open_built(), OK);
	a = fdt_child(&t, FDT_ROOT);
	a1 = fdt_child(&t, a);
	a2 = fdt_sibling(&t, a1);
	c = fdt_sibling(&t, a);
	ATF_CHECK_STREQ(fdt_name(&t, FDT_ROOT), "");
	ATF_CHECK_STREQ(fdt_name(&t, a), "a@1");
	ATF_CHECK_STREQ(fdt_name(&t, a1), "a1");
	ATF_CHECK_STREQ(fdt_name(&t, a2), "a2");
	ATF_CHECK_STREQ(fdt_name(&t, c), "c");
	ATF_CHECK_EQ(fdt_child(&t, a1), FDT_NONE);
	ATF_CHECK_EQ(fdt_sibling(&t, a2), FDT_NONE);
	ATF_CHECK_EQ(fdt_sibling(&t, c), FDT_NONE);
	ATF_CHECK_EQ(fdt_sibling(&t, FDT_ROOT), FDT_NONE);
	ATF_CHECK_EQ(fdt_parent(&t, a2), a);
	ATF_CHECK_EQ(fdt_parent(&t, c), FDT_ROOT);
	ATF_CHECK_EQ(fdt_parent(&t, FDT_ROOT), FDT_NONE);
	ATF_CHECK_EQ(fdt_u32(&t, FDT_ROOT, "one", 9), 1);
	ATF_CHECK_STREQ(fdt_string(&t, FDT_ROOT, "two"), "zwei");
	ATF_CHECK_EQ(fdt_u32(&t, FDT_ROOT, "three", 9), 9);
	ATF_CHECK_EQ(fdt_path(&t, "/"), FDT_ROOT);
	ATF_CHECK_EQ(fdt_path(&t, "/a/a2"), a2);
	ATF_CHECK_EQ(fdt_path(&t, "//a@1//a1/"), a1);
	ATF_CHECK_EQ(fdt_path(&t, "/a@2"), FDT_NONE);
	ATF_CHECK_EQ(fdt_path(&t, "/a/c"), FDT_NONE);
	ATF_CHECK_EQ(fdt_path(&t, "a"), FDT_NONE);	/* an alias, and there are none */
	ATF_CHECK_EQ(walk(&t), 5);
}

ATF_TC_WITHOUT_HEAD(properties_say_how_long_they_are);
ATF_TC_BODY(properties_say_how_long_they_are, tc)
{
	uint64_t v;
	uint32_t len = 99;

	start();
	fb_begin(&b, "");
	fb_prop(&b, "empty", "", 0);
	fb_prop(&b, "open", "abc", 3);		/* no 0 at its end */
	fb_prop(&b, "list", "a\0bc\0d", 7);
	fb_prop(&b, "list-open", "a\0bc", 4);
	fb_prop(&b, "three", "\0\0\7", 3);
	FB_CELLS(&b, "long", 1, 2);
	fb_end(&b);
	ATF_REQUIRE_EQ(open_built(), OK);
	ATF_CHECK(fdt_prop(&t, FDT_ROOT, "empty", &len) != NULL && len == 0);
	ATF_CHECK(fdt_string(&t, FDT_ROOT, "empty") == NULL);
	ATF_CHECK(fdt_string(&t, FDT_ROOT, "open") == NULL);
	ATF_CHECK(!fdt_has_string(&t, FDT_ROOT, "open", "abc"));
	ATF_CHECK(fdt_has_string(&t, FDT_ROOT, "list", "d"));
	ATF_CHECK(!fdt_has_string(&t, FDT_ROOT, "list", "b"));
	ATF_CHECK_EQ(fdt_string_index(&t, FDT_ROOT, "list", "bc"), 1);
	ATF_CHECK_STREQ(fdt_string_at(&t, FDT_ROOT, "list", 2), "d");
	ATF_CHECK(fdt_string_at(&t, FDT_ROOT, "list", 3) == NULL);
	ATF_CHECK(fdt_has_string(&t, FDT_ROOT, "list-open", "a"));
	ATF_CHECK(!fdt_has_string(&t, FDT_ROOT, "list-open", "bc"));
	ATF_CHECK_EQ(fdt_u32(&t, FDT_ROOT, "three", 5), 5);
	ATF_CHECK_EQ(fdt_u32(&t, FDT_ROOT, "long", 5), 1);
	ATF_CHECK(fdt_u64(&t, FDT_ROOT, "long", &v) && v == 0x1'0000'0002);
	ATF_CHECK(!fdt_u64(&t, FDT_ROOT, "three", &v));
}

ATF_TC_WITHOUT_HEAD(addresses_go_through_the_ranges_of_every_bus);
ATF_TC_BODY(addresses_go_through_the_ranges_of_every_bus, tc)
{
	uint64_t base, len;
	uint32_t n;

	ATF_REQUIRE_EQ(fdt_open(&t, soc, sizeof(soc)), OK);
	n = fdt_path(&t, "console");
	ATF_CHECK_STREQ(fdt_name(&t, n), "serial@1000");
	ATF_REQUIRE(fdt_reg(&t, n, 0, &base, &len));
	ATF_CHECK_EQ(base, 0x1000);
	ATF_CHECK_EQ(len, 0x100);
	ATF_REQUIRE(fdt_reg_cpu(&t, n, 0, &base, &len));
	ATF_CHECK_EQ(base, 0x1'1000'1000);
	ATF_CHECK(!fdt_reg(&t, n, 1, &base, &len));
	n = fdt_compatible(&t, FDT_NONE, "arm,gic-v3");
	ATF_REQUIRE(fdt_reg_cpu(&t, n, 1, &base, &len));
	ATF_CHECK_EQ(base, 0x2'0000'0000);
	n = fdt_compatible(&t, FDT_NONE, "arm,gic-v3-its");
	ATF_REQUIRE(fdt_reg_cpu(&t, n, 0, &base, &len));
	ATF_CHECK_EQ(base, 0x1'0020'0000);
	ATF_CHECK_EQ(fdt_phandle(&t, fdt_u32(&t, n, "phandle", 0)), n);
	/* Past the end of the bus's range, and through a bus that has none. */
	n = fdt_path(&t, "/soc/apb");
	base = 0xff00;
	ATF_CHECK(fdt_translate(&t, n, &base, 0x100));
	base = 0xff00;
	ATF_CHECK(!fdt_translate(&t, n, &base, 0x101));
	n = fdt_path(&t, "/cpus");
	ATF_CHECK(!fdt_translate(&t, n, &base, 1));
	ATF_CHECK(walk(&t) == 27);
}

ATF_TC_WITHOUT_HEAD(malformed_structure_is_refused);
ATF_TC_BODY(malformed_structure_is_refused, tc)
{
	start();					/* nothing at all */
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* not closed */
	fb_begin(&b, "");
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* closed too often */
	fb_begin(&b, "");
	fb_end(&b);
	fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* two roots */
	fb_begin(&b, "");
	fb_end(&b);
	fb_begin(&b, "");
	fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* a property that belongs to nobody */
	fb_begin(&b, "");
	fb_end(&b);
	fb_cell(&b, "x", 1);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start(); /* a property behind a child: nobody would find it */
	fb_begin(&b, "");
	fb_begin(&b, "c");
	fb_end(&b);
	fb_cell(&b, "x", 1);
	fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* an unknown token */
	fb_begin(&b, "");
	fb_token(&b, 7);
	fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* a property longer than what is left */
	fb_begin(&b, "");
	fb_token(&b, 3);
	fb_token(&b, 0xffff'fffc);
	fb_token(&b, 0);
	fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* a property without a name */
	fb_begin(&b, "");
	fb_token(&b, 3);
	fb_token(&b, 0);
	fb_token(&b, 1000);
	fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
	start();					/* as deep as can be, and one more */
	for (unsigned i = 0; i < FDT_DEPTH_MAX; i++)
		fb_begin(&b, "n");
	for (unsigned i = 0; i < FDT_DEPTH_MAX; i++)
		fb_end(&b);
	ATF_CHECK_EQ(open_built(), OK);
	ATF_CHECK_EQ(walk(&t), FDT_DEPTH_MAX);
	start();
	for (unsigned i = 0; i <= FDT_DEPTH_MAX; i++)
		fb_begin(&b, "n");
	for (unsigned i = 0; i <= FDT_DEPTH_MAX; i++)
		fb_end(&b);
	ATF_CHECK_EQ(open_built(), E_CORRUPT);
}

ATF_TC_WITHOUT_HEAD(a_header_that_points_outside_is_refused);
ATF_TC_BODY(a_header_that_points_outside_is_refused, tc)
{
	static const uint32_t words[] = { 0, 1, 39, 41, 0x7fff'fffc, 0xffff'fff0, 0xffff'ffff };
	size_t len = sizeof(soc);
	uint8_t *blob = malloc(len);

	for (unsigned field = 0; field < 40; field += 4) {
		for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
			memcpy(blob, soc, len);
			fb_put32(blob + field, words[i]);
			if (fdt_open(&t, blob, len) == OK)
				(void)walk(&t); /* the boot CPU, the compatible version, a gap */
			else
				ATF_CHECK(field != 28);
		}
	}
	memcpy(blob, soc, len);
	ATF_CHECK_EQ(fdt_open(&t, blob, len), OK);
	fb_put32(blob + 20, 16); /* a version without the structure's length */
	ATF_CHECK_EQ(fdt_open(&t, blob, len), E_CORRUPT);
	fb_put32(blob + 20, 18);
	fb_put32(blob + 24, 18);			/* one that cannot be read as 17 */
	ATF_CHECK_EQ(fdt_open(&t, blob, len), E_CORRUPT);
	free(blob);
}

ATF_TC_WITHOUT_HEAD(a_truncated_tree_is_refused_at_every_length);
ATF_TC_BODY(a_truncated_tree_is_refused_at_every_length, tc)
{
	for (size_t len = 0; len < sizeof(soc); len++) {
		uint8_t *cut = malloc(len == 0 ? 1 : len);

		memcpy(cut, soc, len);
		ATF_REQUIRE_EQ(fdt_open(&t, cut, len), E_CORRUPT);
		if (len >= 40) {	/* and with a header that does not say so */
			fb_put32(cut + 4, (uint32_t)len);
			if (fdt_open(&t, cut, len) == OK)
				(void)walk(&t);
		}
		free(cut);
	}
}

ATF_TC_WITHOUT_HEAD(a_bent_tree_is_read_or_refused_within_its_bytes);
ATF_TC_BODY(a_bent_tree_is_read_or_refused_within_its_bytes, tc)
{
	uint8_t *bent = malloc(sizeof(soc));

	srand(3);
	for (unsigned run = 0; run < 4000; run++) {
		memcpy(bent, soc, sizeof(soc));
		for (unsigned k = 0; k <= run % 3; k++)
			bent[(size_t)rand() % sizeof(soc)] = (uint8_t)rand();
		if (fdt_open(&t, bent, sizeof(soc)) == OK)
			(void)walk(&t);
	}
	free(bent);
}

ATF_TC_WITHOUT_HEAD(the_reservation_block_ends_at_zeroes_or_at_the_blobs_end);
ATF_TC_BODY(the_reservation_block_ends_at_zeroes_or_at_the_blobs_end, tc)
{
	uint64_t base, len;
	size_t size;
	uint8_t *blob;

	start();
	fb_reserve(&b, 0x1000, 0x2000);
	fb_reserve(&b, 0, 5);
	fb_begin(&b, "");
	fb_end(&b);
	blob = fb_blob(&b, &size);
	ATF_REQUIRE_EQ(fdt_open(&t, blob, size), OK);
	ATF_CHECK(fdt_reserve(&t, 0, &base, &len) && base == 0x1000 && len == 0x2000);
	ATF_CHECK(fdt_reserve(&t, 1, &base, &len) && base == 0 && len == 5);
	ATF_CHECK(!fdt_reserve(&t, 2, &base, &len));
	memset(blob + 40, 0xee, 48);			/* no end in sight */
	for (uint32_t i = 0; i < 100 && fdt_reserve(&t, i, &base, &len); i++)
		ATF_CHECK(i < size / 16);
	ATF_CHECK(!fdt_reserve(&t, UINT32_MAX, &base, &len));
	free(blob);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, nodes_come_in_document_order);
	ATF_TP_ADD_TC(tp, properties_say_how_long_they_are);
	ATF_TP_ADD_TC(tp, addresses_go_through_the_ranges_of_every_bus);
	ATF_TP_ADD_TC(tp, malformed_structure_is_refused);
	ATF_TP_ADD_TC(tp, a_header_that_points_outside_is_refused);
	ATF_TP_ADD_TC(tp, a_truncated_tree_is_refused_at_every_length);
	ATF_TP_ADD_TC(tp, a_bent_tree_is_read_or_refused_within_its_bytes);
	ATF_TP_ADD_TC(tp, the_reservation_block_ends_at_zeroes_or_at_the_blobs_end);
	return atf_no_error();
}
