/*
 * kern/base/cpio.c: archives as they are made, and every way of damaging one.
 *
 * LINK: kern/base/cpio.c kern/base/str.c
 */
#include <atf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/cpio.h"

enum { SIZE_AT = 54, NAME_SIZE_AT = 94, HEADER_LEN = 110 };

static uint8_t archive[1024];
static size_t used;

/* Adds a file as "cpio -H newc" (kind 1) or "-H crc" (kind 2) writes it. */
static void
add(char kind, const char *name, const char *text)
{
	size_t n = strlen(text);
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint8_t)text[i];
	used += (size_t)sprintf((char *)archive + used,
	    "07070%c"
	    "%08x%08x%08x%08x%08x%08x"
	    "%08zx"
	    "%08x%08x%08x%08x"
	    "%08zx"
	    "%08x",
	    kind, 1u, 0100644u, 0u, 0u, 1u, 0u, n, 0u, 0u, 0u, 0u, strlen(name) + 1,
	    kind == '2' ? sum : 0u);
	memcpy(archive + used, name, strlen(name) + 1);
	used = (used + strlen(name) + 1 + 3) & ~(size_t)3;
	memcpy(archive + used, text, n);
	used = (used + n + 3) & ~(size_t)3;
}

static void
make(char kind)
{
	memset(archive, 0, sizeof(archive));
	used = 0;
	add(kind, "a", "the first");
	add(kind, "empty", "");
	add(kind, "init", "a program");
	add(kind, "TRAILER!!!", "");
}

/* On a copy of exactly these bytes: the sanitizers see every step too far. */
static enum cpio_result
find(size_t len, const char *name, char *text)
{
	uint8_t *copy = malloc(len != 0 ? len : 1);
	const uint8_t *data;
	uint64_t size;
	enum cpio_result r;

	memcpy(copy, archive, len);
	r = cpio_find(copy, len, name, &data, &size);
	if (r == CPIO_FOUND && text != NULL) {
		memcpy(text, data, size);
		text[size] = 0;
	}
	free(copy);
	return r;
}

ATF_TC_WITHOUT_HEAD(files_are_found_by_their_whole_name);
ATF_TC_BODY(files_are_found_by_their_whole_name, tc)
{
	char text[64];

	for (char kind = '1'; kind <= '2'; kind++) {
		make(kind);
		ATF_CHECK_EQ(find(used, "init", text), CPIO_FOUND);
		ATF_CHECK_STREQ(text, "a program");
		ATF_CHECK_EQ(find(used, "a", text), CPIO_FOUND);
		ATF_CHECK_STREQ(text, "the first");
		ATF_CHECK_EQ(find(used, "empty", text), CPIO_FOUND);
		ATF_CHECK_STREQ(text, "");
		ATF_CHECK_EQ(find(used, "ini", NULL), CPIO_MISSING);
		ATF_CHECK_EQ(find(used, "inits", NULL), CPIO_MISSING);
		ATF_CHECK_EQ(find(used, "", NULL), CPIO_MISSING);
	}
}

ATF_TC_WITHOUT_HEAD(an_archive_cut_anywhere_never_says_that_a_file_is_missing);
ATF_TC_BODY(an_archive_cut_anywhere_never_says_that_a_file_is_missing, tc)
{
	size_t end = 0;

	make('1');
	for (size_t i = 0; i + 10 < used; i++)
		if (memcmp(archive + i, "TRAILER!!!", 11) == 0)
			end = i + 11;
	for (size_t len = 0; len < end; len++) {
		enum cpio_result r = find(len, "init", NULL);

		ATF_CHECK_MSG(r == CPIO_DAMAGED || r == CPIO_FOUND, "cut to %zu: %u", len, r);
		ATF_CHECK_EQ(find(len, "nobody", NULL), CPIO_DAMAGED);
	}
}

ATF_TC_WITHOUT_HEAD(a_changed_byte_of_a_checked_file_is_noticed);
ATF_TC_BODY(a_changed_byte_of_a_checked_file_is_noticed, tc)
{
	make('2');
	for (size_t i = 0; i + 9 < used; i++) {
		if (memcmp(archive + i, "a program", 9) != 0)
			continue;
		for (size_t k = 0; k < 9; k++) {
			archive[i + k] ^= 1;
			ATF_CHECK_EQ(find(used, "init", NULL), CPIO_DAMAGED);
			ATF_CHECK_EQ(find(used, "a", NULL), CPIO_FOUND);
			archive[i + k] ^= 1;
		}
	}
}

ATF_TC_WITHOUT_HEAD(lengths_that_lie_are_refused);
ATF_TC_BODY(lengths_that_lie_are_refused, tc)
{
	static const char *const lies[] = { "ffffffff", "fffffffc", "00000400", "0000000g",
		"-0000001", "        " };

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		make('1');
		memcpy(archive + SIZE_AT, lies[i], 8);
		ATF_CHECK_EQ(find(used, "init", NULL), CPIO_DAMAGED);
		make('1');
		memcpy(archive + NAME_SIZE_AT, lies[i], 8);
		ATF_CHECK_EQ(find(used, "init", NULL), CPIO_DAMAGED);
	}
	make('1');
	memcpy(archive + NAME_SIZE_AT, "00000000", 8);
	ATF_CHECK_EQ(find(used, "init", NULL), CPIO_DAMAGED);
	make('1');
	archive[HEADER_LEN + 1] = 'x';		/* the name's end */
	ATF_CHECK_EQ(find(used, "init", NULL), CPIO_DAMAGED);
	make('1');
	archive[5] = '7';
	ATF_CHECK_EQ(find(used, "init", NULL), CPIO_DAMAGED);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, files_are_found_by_their_whole_name);
	ATF_TP_ADD_TC(tp, an_archive_cut_anywhere_never_says_that_a_file_is_missing);
	ATF_TP_ADD_TC(tp, a_changed_byte_of_a_checked_file_is_noticed);
	ATF_TP_ADD_TC(tp, lengths_that_lie_are_refused);
	return atf_no_error();
}
