/*
 * memcpy and its family, eight bytes at a time where there are so many.
 *
 * x86 string instructions are left alone on purpose: their start-up cost is
 * higher than these loops for the sizes that matter here, and bulk data does not
 * pass through the kernel.  This file is compiled with -fno-builtin, or the
 * compiler would turn the loops into calls of themselves.
 */
#include "kern/base/str.h"

typedef uint64_t __attribute__((may_alias, aligned(1))) word;
typedef uint32_t __attribute__((may_alias, aligned(1))) half;

static ALWAYS_INLINE void
copy32(uint8_t *restrict d, const uint8_t *restrict s)
{
	word a = ((const word *)s)[0], b = ((const word *)s)[1];
	word c = ((const word *)s)[2], e = ((const word *)s)[3];

	((word *)d)[0] = a;
	((word *)d)[1] = b;
	((word *)d)[2] = c;
	((word *)d)[3] = e;
}

void *
memcpy(void *restrict to, const void *restrict from, size_t n)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	for (; n >= 64; n -= 64, d += 64, s += 64) {
		copy32(d, s);
		copy32(d + 32, s + 32);
	}
	if (n >= 32) {
		copy32(d, s);
		n -= 32;
		d += 32;
		s += 32;
	}
	/* From both ends, which may meet. */
	if (n >= 16) {
		word a = ((const word *)s)[0], b = ((const word *)s)[1];
		word c = *(const word *)(s + n - 16), e = *(const word *)(s + n - 8);

		((word *)d)[0] = a;
		((word *)d)[1] = b;
		*(word *)(d + n - 16) = c;
		*(word *)(d + n - 8) = e;
	} else if (n >= 8) {
		word a = *(const word *)s, b = *(const word *)(s + n - 8);

		*(word *)d = a;
		*(word *)(d + n - 8) = b;
	} else if (n >= 4) {
		half a = *(const half *)s, b = *(const half *)(s + n - 4);

		*(half *)d = a;
		*(half *)(d + n - 4) = b;
	} else {
		for (; n != 0; n--)
			*d++ = *s++;
	}
	return to;
}

void *
memmove(void *to, const void *from, size_t n)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if (d == s || n == 0)
		return to;
	if (d < s || (size_t)(d - s) >= n) {
		for (; n >= 8; n -= 8, d += 8, s += 8)
			*(word *)d = *(const word *)s;
		for (; n != 0; n--)
			*d++ = *s++;
		return to;
	}
	for (; n >= 8; n -= 8)
		*(word *)(d + n - 8) = *(const word *)(s + n - 8);
	for (; n != 0; n--)
		d[n - 1] = s[n - 1];
	return to;
}

void *
memset(void *to, int byte, size_t n)
{
	uint8_t *d = to;
	uint64_t w = (uint8_t)byte * 0x0101010101010101ull;

	/* Unrolled once more, the ways in and out would cost what short runs gain. */
_Pragma("clang loop unroll(disable)")
	for (; n >= 64; n -= 64, d += 64) {
		((word *)d)[0] = w;
		((word *)d)[1] = w;
		((word *)d)[2] = w;
		((word *)d)[3] = w;
		((word *)d)[4] = w;
		((word *)d)[5] = w;
		((word *)d)[6] = w;
		((word *)d)[7] = w;
	}
_Pragma("clang loop unroll(disable)")
	for (; n >= 8; n -= 8, d += 8)
		*(word *)d = w;
_Pragma("clang loop unroll(disable)")
	for (; n != 0; n--)
		*d++ = (uint8_t)byte;
	return to;
}

int
memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n >= 8 && *(const word *)x == *(const word *)y; n -= 8, x += 8, y += 8)
		;
	for (; n != 0; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t
strlen(const char *s)
{
	size_t n = 0;

	while (s[n] != 0)
		n++;
	return n;
}

size_t
strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n] != 0)
		n++;
	return n;
}

int
strcmp(const char *a, const char *b)
{
	while (*a != 0 && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}

int
strncmp(const char *a, const char *b, size_t n)
{
	for (; n != 0; n--, a++, b++)
		if (*a != *b || *a == 0)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

char *
strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (*s == 0)
			return NULL;
	}
}

size_t
str_copy(char *to, const char *from, size_t size)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = 0;
	return n;
}
