/*
 * The device-tree reader's steps over any bytes: no access leaves the blob (CBMC's own checks: the
 * structure block and the strings are objects of exactly their lengths), every walk moves forward
 * and ends, and what it hands out lies inside.
 *
 * All walks of kern/machine/fdt.c are made of fdt_next and fdt_next_prop.  They are proved from any
 * offset, also one that fdt_open never let through, and over blocks that it never saw: so the proof
 * does not lean on the check.
 *
 * Bounds: structure blocks of up to STRUCTURE_MAX bytes, strings of up to STRINGS_MAX.  A step
 * looks at one token; a walk carries nothing from token to token but the depth.
 *
 * LINK: kern/machine/fdt.c kern/base/str.c
 * CBMC: --function harness --unwind 14 --unwindset fdt_next.0:6,fdt_next_prop.0:6 --slice-formula
 */
#include "kern/machine/fdt.h"

enum { STRUCTURE_MAX = 16, STRINGS_MAX = 3, BEGIN = 1 };

uint32_t nondet_uint32(void);

/* Blocks end where their arrays end: a byte too far is out of bounds. */
static uint8_t structure[STRUCTURE_MAX], strings[STRINGS_MAX];

/* len bytes at p lie in the size bytes at base */
static bool
inside(const void *p, uint32_t len, const uint8_t *base, uint32_t size)
{
	return __CPROVER_same_object(p, base) && (const uint8_t *)p >= base &&
	    (uint32_t)((const uint8_t *)p - base) <= size &&
	    len <= size - (uint32_t)((const uint8_t *)p - base);
}

void
harness(void)
{
	uint32_t node = nondet_uint32(), cursor = nondet_uint32(), before = cursor, next, n;
	struct fdt t = { 0 };
	const char *name;
	const void *value;
	int depth = 0;

	t.structure_len = nondet_uint32();
	t.strings_len = nondet_uint32();
	__CPROVER_assume(
	    t.structure_len <= STRUCTURE_MAX && t.strings_len >= 1 && t.strings_len <= STRINGS_MAX);
	__CPROVER_havoc_object(structure);
	__CPROVER_havoc_object(strings);
	__CPROVER_assume(strings[STRINGS_MAX - 1] == 0);
	t.structure = structure + STRUCTURE_MAX - t.structure_len;
	t.strings = strings + STRINGS_MAX - t.strings_len;

	next = fdt_next(&t, node, &depth);
	if (next != FDT_NONE) {
		__CPROVER_assert(next > node, "walks go forward");
		__CPROVER_assert(
		    next < t.structure_len && t.structure_len - next >= 8, "a node lies inside");
		__CPROVER_assert(t.structure[next + 3] == BEGIN, "a node begins with its token");
		__CPROVER_assert(inside(fdt_name(&t, next), 1, t.structure, t.structure_len),
		    "its name begins inside");
		__CPROVER_assert(
		    depth <= 1 && depth > -STRUCTURE_MAX / 4, "one node deeper at most");
	}
	if (fdt_next_prop(&t, node, &cursor, &name, &value, &n)) {
		__CPROVER_assert(cursor > before && cursor <= t.structure_len, "walks go forward");
		__CPROVER_assert(
		    inside(value, n, t.structure, t.structure_len), "values lie inside");
		__CPROVER_assert(inside(name, 1, t.strings, t.strings_len), "names lie inside");
	}
}
