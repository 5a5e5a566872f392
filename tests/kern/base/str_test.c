/*
 * kern/base/str.c against the C library's functions of the same meaning.
 *
 * LINK: kern/base/str.c
 */
#include <atf-c.h>
#include <string.h>

#include "tests/lib/base_str.h"

enum { ROOM = 192, FILL = 0xa5 };

static unsigned char from[ROOM], ours[ROOM], theirs[ROOM];

static void
fill(void)
{
	for (int i = 0; i < ROOM; i++) {
		from[i] = (unsigned char)(i * 37 + 11);
		ours[i] = theirs[i] = FILL;
	}
}

static int
sign(int v)
{
	return (v > 0) - (v < 0);
}

ATF_TC_WITHOUT_HEAD(copies_exactly_what_is_asked_at_every_alignment);
ATF_TC_BODY(copies_exactly_what_is_asked_at_every_alignment, tc)
{
	for (size_t to = 0; to < 9; to++)
		for (size_t at = 0; at < 9; at++)
			for (size_t n = 0; n <= 136; n++) {
				fill();
				memcpy(theirs + to, from + at, n);
				ATF_REQUIRE_EQ(base_memcpy(ours + to, from + at, n), ours + to);
				ATF_REQUIRE_EQ(memcmp(ours, theirs, ROOM), 0);
			}
}

ATF_TC_WITHOUT_HEAD(moves_over_itself_in_both_directions);
ATF_TC_BODY(moves_over_itself_in_both_directions, tc)
{
	for (size_t to = 0; to < 40; to++)
		for (size_t at = 0; at < 40; at++)
			for (size_t n = 0; n <= 136; n += 7) {
				fill();
				memcpy(ours, from, ROOM);
				memcpy(theirs, from, ROOM);
				memmove(theirs + to, theirs + at, n);
				ATF_REQUIRE_EQ(base_memmove(ours + to, ours + at, n), ours + to);
				ATF_REQUIRE_EQ(memcmp(ours, theirs, ROOM), 0);
			}
}

ATF_TC_WITHOUT_HEAD(sets_exactly_what_is_asked);
ATF_TC_BODY(sets_exactly_what_is_asked, tc)
{
	for (size_t to = 0; to < 9; to++)
		for (size_t n = 0; n <= 136; n++) {
			fill();
			memset(theirs + to, 0x1c3, n);
			ATF_REQUIRE_EQ(base_memset(ours + to, 0x1c3, n), ours + to);
			ATF_REQUIRE_EQ(memcmp(ours, theirs, ROOM), 0);
		}
}

ATF_TC_WITHOUT_HEAD(compares_bytes_as_unsigned);
ATF_TC_BODY(compares_bytes_as_unsigned, tc)
{
	fill();
	for (size_t n = 0; n <= 40; n++)
		for (size_t flip = 0; flip < 40; flip++) {
			memcpy(ours, from, ROOM);
			ours[flip] ^= 0x80;
			ATF_REQUIRE_EQ(
			    sign(base_memcmp(ours, from, n)), sign(memcmp(ours, from, n)));
		}
}

ATF_TC_WITHOUT_HEAD(measures_and_compares_strings);
ATF_TC_BODY(measures_and_compares_strings, tc)
{
	static const char *const s[] = { "", "a", "ab", "abc", "abd", "b", "\xff", "a\xff",
		"nvme0n1" };

	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		ATF_CHECK_EQ(base_strlen(s[i]), strlen(s[i]));
		for (size_t n = 0; n < 5; n++)
			ATF_CHECK_EQ(base_strnlen(s[i], n), strnlen(s[i], n));
		for (size_t j = 0; j < ARRAY_SIZE(s); j++) {
			ATF_CHECK_EQ(sign(base_strcmp(s[i], s[j])), sign(strcmp(s[i], s[j])));
			for (size_t n = 0; n < 5; n++)
				ATF_CHECK_EQ(sign(base_strncmp(s[i], s[j], n)),
				    sign(strncmp(s[i], s[j], n)));
		}
		for (int c = 0; c < 256; c++)
			ATF_CHECK_EQ(base_strchr(s[i], c), strchr(s[i], c));
	}
}

ATF_TC_WITHOUT_HEAD(str_copy_cuts_and_always_ends_the_string);
ATF_TC_BODY(str_copy_cuts_and_always_ends_the_string, tc)
{
	char to[8];

	for (size_t size = 1; size <= sizeof(to); size++) {
		size_t want = size - 1 < 5 ? size - 1 : 5;

		memset(to, FILL, sizeof(to));
		ATF_CHECK_EQ(str_copy(to, "hello", size), want);
		ATF_CHECK_EQ(strlen(to), want);
		ATF_CHECK_EQ(strncmp(to, "hello", want), 0);
		for (size_t i = want + 1; i < sizeof(to); i++)
			ATF_CHECK_EQ((unsigned char)to[i], FILL);
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, copies_exactly_what_is_asked_at_every_alignment);
	ATF_TP_ADD_TC(tp, moves_over_itself_in_both_directions);
	ATF_TP_ADD_TC(tp, sets_exactly_what_is_asked);
	ATF_TP_ADD_TC(tp, compares_bytes_as_unsigned);
	ATF_TP_ADD_TC(tp, measures_and_compares_strings);
	ATF_TP_ADD_TC(tp, str_copy_cuts_and_always_ends_the_string);
	return atf_no_error();
}
