/*
 * str_copy: for every string and every size it stays within both buffers, ends the copy with a 0
 * and copies what fits.
 *
 * LINK: kern/base/str.c
 * CBMC: --function harness --unwind 13
 */
#include "kern/base/str.h"

enum { ROOM = 12 };

uint8_t nondet_u8(void);
void harness(void);

void
harness(void)
{
	char from[ROOM], to[ROOM];
	size_t size = nondet_u8(), n, length;

	for (size_t i = 0; i < ROOM; i++)
		from[i] = (char)nondet_u8();
	from[ROOM - 1] = 0;
	__CPROVER_assume(size >= 1 && size <= ROOM);
	n = str_copy(to, from, size);
	length = strlen(from);
	__CPROVER_assert(n == (length < size ? length : size - 1), "the length copied");
	__CPROVER_assert(to[n] == 0, "the copy ends");
	for (size_t i = 0; i < n; i++)
		__CPROVER_assert(to[i] == from[i], "the copy is equal");
}
