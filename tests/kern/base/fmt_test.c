/*
 * kern/base/fmt.c: against the C library where both know the conversion.
 *
 * LINK: kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kern/base/fmt.h"

/* Formats with both, and compares text and length; also when the buffer is too small. */
static void __attribute__((format(printf, 1, 2)))
same(const char *format, ...)
{
	char ours[256], theirs[256], cut[256];
	va_list ap, ap2;
	size_t n;
	int want;

	va_start(ap, format);
	va_copy(ap2, ap);
	want = vsnprintf(theirs, sizeof(theirs), format, ap2);
	va_end(ap2);
	va_copy(ap2, ap);
	n = fmt_vbuf(ours, sizeof(ours), format, ap2);
	va_end(ap2);
	ATF_CHECK_EQ_MSG(n, (size_t)want, "\"%s\": length %zu, not %d", format, n, want);
	ATF_CHECK_STREQ_MSG(ours, theirs, "\"%s\": \"%s\", not \"%s\"", format, ours, theirs);
	for (size_t size = 1; size <= n && size < sizeof(cut); size++) {
		memset(cut, 0x5a, sizeof(cut));
		va_copy(ap2, ap);
		ATF_CHECK_EQ(fmt_vbuf(cut, size, format, ap2), n);
		va_end(ap2);
		ATF_CHECK_EQ(strlen(cut), size - 1);
		ATF_CHECK_EQ(memcmp(cut, theirs, size - 1), 0);
		ATF_CHECK_EQ(cut[size], 0x5a);
	}
	va_end(ap);
}

ATF_TC_WITHOUT_HEAD(integers_of_every_length);
ATF_TC_BODY(integers_of_every_length, tc)
{
	static const long long v[] = { 0, 1, -1, 9, 10, 127, 128, 255, 256, 32767, 32768, 65535,
		65536, 0x7fffffff, 0x80000000ll, 0xffffffffll, 0x100000000ll, INT64_MAX,
		INT64_MIN };

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		same("%d %u %x %X", (int)v[i], (unsigned)v[i], (unsigned)v[i], (unsigned)v[i]);
		same("%ld %lu %lx %lX", (long)v[i], (unsigned long)v[i], (unsigned long)v[i],
		    (unsigned long)v[i]);
		same("%lld %llu %llx", v[i], (unsigned long long)v[i], (unsigned long long)v[i]);
		same(
		    "%zu %zx %ju %jd", (size_t)v[i], (size_t)v[i], (uintmax_t)v[i], (intmax_t)v[i]);
		same("%hd %hu %hx", (short)v[i], (unsigned short)v[i], (unsigned short)v[i]);
		same("%hhd %hhu %hhx", (signed char)v[i], (unsigned char)v[i], (unsigned char)v[i]);
		same("%i", (int)v[i]);
	}
}

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat"
ATF_TC_WITHOUT_HEAD(flags_width_and_precision);
ATF_TC_BODY(flags_width_and_precision, tc)
{
	static const int v[] = { 0, 7, -7, 4711, -4711, 123456789 };

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		same("[%5d] [%-5d] [%05d] [%+d] [% d]", v[i], v[i], v[i], v[i], v[i]);
		same("[%12d] [%-12d] [%012d] [%+012d]", v[i], v[i], v[i], v[i]);
		same("[%.3d] [%8.3d] [%-8.3d] [%08.3d]", v[i], v[i], v[i], v[i]);
		same("[%*d] [%-*d] [%.*d]", 9, v[i], 9, v[i], 6, v[i]);
		same("[%*d]", -9, v[i]);
		same("[%8x] [%08x] [%-8x] [%.6x]", v[i], v[i], v[i], v[i]);
		if (v[i] != 0)
			same("[%#x] [%#10x] [%#010x] [%#X]", v[i], v[i], v[i], v[i]);
	}
	same("[%.0d]", 1);
}
#pragma clang diagnostic pop

ATF_TC_WITHOUT_HEAD(strings_characters_and_percent);
ATF_TC_BODY(strings_characters_and_percent, tc)
{
	static const char bytes[3] = { 'a', 'b', 'c' };

	same("%s", "");
	same("%s and %s", "one", "two");
	same("[%8s] [%-8s] [%.2s] [%8.2s]", "text", "text", "text", "text");
	same("[%.*s]", 3, bytes);
	same("%c%c%c [%3c] [%-3c]", 'x', 'y', 'z', 'l', 'r');
	same("100%%");
	same("no conversion at all");
}

ATF_TC_WITHOUT_HEAD(null_strings_and_pointers_are_readable);
ATF_TC_BODY(null_strings_and_pointers_are_readable, tc)
{
	char to[32];
	const char *none = NULL;

	fmt_buf(to, sizeof(to), "%s", none);
	ATF_CHECK_STREQ(to, "(null)");
	fmt_buf(to, sizeof(to), "%p", (void *)(uintptr_t)0xdeadbeefull);
	ATF_CHECK_STREQ(to, "0xdeadbeef");
}

ATF_TC_WITHOUT_HEAD(a_buffer_of_no_bytes_is_left_alone);
ATF_TC_BODY(a_buffer_of_no_bytes_is_left_alone, tc)
{
	char to = 'x';

	ATF_CHECK_EQ(fmt_buf(&to, 0, "%s", "text"), 4);
	ATF_CHECK_EQ(to, 'x');
	ATF_CHECK_EQ(fmt_buf(NULL, 0, "%d", 12345), 5);
}

ATF_TC_WITHOUT_HEAD(an_unfinished_conversion_ends_the_text);
ATF_TC_BODY(an_unfinished_conversion_ends_the_text, tc)
{
	static const char *volatile open_ended[] = { "a%", "a%-", "a%08", "a%.", "a%l" };
	char to[16];

	for (size_t i = 0; i < ARRAY_SIZE(open_ended); i++) {
		const char *f = open_ended[i];
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
#pragma clang diagnostic ignored "-Wformat-security"
		fmt_buf(to, sizeof(to), f);
#pragma clang diagnostic pop
		ATF_CHECK_STREQ(to, "a");
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, integers_of_every_length);
	ATF_TP_ADD_TC(tp, flags_width_and_precision);
	ATF_TP_ADD_TC(tp, strings_characters_and_percent);
	ATF_TP_ADD_TC(tp, null_strings_and_pointers_are_readable);
	ATF_TP_ADD_TC(tp, a_buffer_of_no_bytes_is_left_alone);
	ATF_TP_ADD_TC(tp, an_unfinished_conversion_ends_the_text);
	return atf_no_error();
}
