/*
 * The device tree reader: fdt.h.
 *
 * Tokens are 32-bit big-endian words: begin node (name follows), end node, property (length, name offset, value
 * follow), nop, end.  "step" goes from one token to the next and refuses to leave the block; fdt_open runs it over the
 * whole block once, so later walks only meet tokens that passed.
 */
#include "kern/machine/fdt.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

enum : uint32_t { MAGIC = 0xd00dfeed, BEGIN = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9, SIZE_MAX_ = 16 << 20 };

static uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t
fdt_cells(const uint8_t *c, uint32_t n)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < n; i++)
		v = v << 32 | be32(c + 4 * i);
	return v;
}

/* Offset of the token after the one at "at"; 0 when it is malformed or passes the end. */
static uint32_t
step(const struct fdt *t, uint32_t at, uint32_t *token)
{
	uint32_t left, n;

	if (at > t->structure_len || t->structure_len - at < 4)
		return 0;
	*token = be32(t->structure + at);
	left = t->structure_len - at - 4;
	switch (*token) {
	case BEGIN:
		n = (uint32_t)strnlen((const char *)t->structure + at + 4, left);
		if (n == left)
			return 0;
		return at + 4 + (uint32_t)align_up(n + 1, 4);
	case PROP:
		if (left < 8)
			return 0;
		n = be32(t->structure + at + 4);
		if (n > left - 8 || be32(t->structure + at + 8) >= t->strings_len)
			return 0;
		return at + 12 + (uint32_t)align_up(n, 4);
	case END_NODE:
	case NOP:
	case END:
		return at + 4;
	default:
		return 0;
	}
}

enum status
fdt_open(struct fdt *t, const void *blob, size_t max_len)
{
	const uint8_t *b = blob;
	uint32_t at = 0, token = 0, depth = 0, s, l;

	if (max_len < 40 || be32(b) != MAGIC)
		return E_CORRUPT;
	*t = (struct fdt){ .blob = b, .size = be32(b + 4) };
	if (t->size < 40 || t->size > max_len || t->size > SIZE_MAX_ || be32(b + 20) < 16 || be32(b + 24) > 17)
		return E_CORRUPT;
	s = be32(b + 8);
	t->structure_len = be32(b + 36);
	if (s > t->size || t->structure_len > t->size - s || (s & 3) != 0)
		return E_CORRUPT;
	t->structure = b + s;
	l = be32(b + 12);
	t->strings_len = be32(b + 32);
	if (l > t->size || t->strings_len > t->size - l)
		return E_CORRUPT;
	t->strings = b + l;
	/* The last string must end inside, then every offset below the length is a string. */
	if (t->strings_len != 0 && t->strings[t->strings_len - 1] != 0)
		return E_CORRUPT;
	do {
		uint32_t next = step(t, at, &token);

		if (next == 0 || next > t->structure_len)
			return E_CORRUPT;
		if (token == BEGIN && ++depth > FDT_DEPTH_MAX)
			return E_CORRUPT;
		if (token == END_NODE && depth-- == 0)
			return E_CORRUPT;
		if (depth == 0 && token == PROP)
			return E_CORRUPT;
		at = next;
	} while (token != END);
	return depth == 0 && be32(t->structure) == BEGIN ? OK : E_CORRUPT;
}

uint32_t
fdt_next(const struct fdt *t, uint32_t node, int *depth)
{
	uint32_t token, at = step(t, node, &token);

	for (;;) {
		uint32_t next = step(t, at, &token);

		if (token == BEGIN) {
			if (depth != NULL)
				++*depth;
			return at;
		}
		if (token == END_NODE && depth != NULL)
			--*depth;
		if (token == END || next == 0)
			return FDT_NONE;
		at = next;
	}
}

uint32_t
fdt_child(const struct fdt *t, uint32_t node)
{
	int depth = 0;
	uint32_t n = fdt_next(t, node, &depth);

	return n != FDT_NONE && depth == 1 ? n : FDT_NONE;
}

uint32_t
fdt_sibling(const struct fdt *t, uint32_t node)
{
	int depth = 0;
	uint32_t n = node;

	do
		n = fdt_next(t, n, &depth);
	while (n != FDT_NONE && depth > 0);
	return n != FDT_NONE && depth == 0 ? n : FDT_NONE;
}

uint32_t
fdt_parent(const struct fdt *t, uint32_t node)
{
	uint32_t stack[FDT_DEPTH_MAX + 1], n = FDT_ROOT;
	int depth = 0;

	while (n != FDT_NONE) {
		stack[depth] = n;
		if (n == node)
			return depth > 0 ? stack[depth - 1] : FDT_NONE;
		n = fdt_next(t, n, &depth);
		if (depth < 0 || depth > (int)FDT_DEPTH_MAX)
			break;
	}
	return FDT_NONE;
}

const char *
fdt_name(const struct fdt *t, uint32_t node)
{
	return (const char *)t->structure + node + 4;
}

const void *
fdt_prop(const struct fdt *t, uint32_t node, const char *name, uint32_t *len)
{
	uint32_t token, at = step(t, node, &token);

	for (;;) {
		uint32_t next = step(t, at, &token);

		if (token == PROP) {
			if (strcmp((const char *)t->strings + be32(t->structure + at + 8), name) == 0) {
				if (len != NULL)
					*len = be32(t->structure + at + 4);
				return t->structure + at + 12;
			}
		} else if (token != NOP) {
			return NULL;
		}
		at = next;
	}
}

uint32_t
fdt_u32(const struct fdt *t, uint32_t node, const char *name, uint32_t fallback)
{
	uint32_t len;
	const uint8_t *p = fdt_prop(t, node, name, &len);

	return p != NULL && len >= 4 ? be32(p) : fallback;
}

const char *
fdt_string(const struct fdt *t, uint32_t node, const char *name)
{
	uint32_t len;
	const char *p = fdt_prop(t, node, name, &len);

	return p != NULL && strnlen(p, len) < len ? p : NULL;
}

bool
fdt_has_string(const struct fdt *t, uint32_t node, const char *prop, const char *word)
{
	uint32_t len, at = 0;
	const char *p = fdt_prop(t, node, prop, &len);

	while (p != NULL && at < len) {
		uint32_t n = (uint32_t)strnlen(p + at, len - at);

		if (n == len - at)
			return false;
		if (strcmp(p + at, word) == 0)
			return true;
		at += n + 1;
	}
	return false;
}

uint32_t
fdt_path(const struct fdt *t, const char *path)
{
	uint32_t node = FDT_ROOT;

	while (*path == '/')
		path++;
	while (*path != 0) {
		size_t n = 0;
		uint32_t c;

		while (path[n] != 0 && path[n] != '/')
			n++;
		for (c = fdt_child(t, node); c != FDT_NONE; c = fdt_sibling(t, c)) {
			const char *name = fdt_name(t, c);

			/* "memory" also finds "memory@40000000". */
			if (strncmp(name, path, n) == 0 && (name[n] == 0 || name[n] == '@'))
				break;
		}
		if (c == FDT_NONE)
			return FDT_NONE;
		node = c;
		path += n;
		while (*path == '/')
			path++;
	}
	return node;
}

uint32_t
fdt_phandle(const struct fdt *t, uint32_t phandle)
{
	for (uint32_t n = FDT_ROOT; n != FDT_NONE; n = fdt_next(t, n, NULL))
		if (fdt_u32(t, n, "phandle", 0) == phandle && phandle != 0)
			return n;
	return FDT_NONE;
}

uint32_t
fdt_compatible(const struct fdt *t, uint32_t after, const char *compatible)
{
	uint32_t n = after == FDT_NONE ? FDT_ROOT : fdt_next(t, after, NULL);

	for (; n != FDT_NONE; n = fdt_next(t, n, NULL))
		if (fdt_has_string(t, n, "compatible", compatible))
			return n;
	return FDT_NONE;
}

bool
fdt_enabled(const struct fdt *t, uint32_t node)
{
	uint32_t len;

	return fdt_prop(t, node, "status", &len) == NULL || fdt_has_string(t, node, "status", "okay") ||
	    fdt_has_string(t, node, "status", "ok");
}

bool
fdt_reg(const struct fdt *t, uint32_t node, uint32_t i, uint64_t *base, uint64_t *len)
{
	uint32_t parent = fdt_parent(t, node), n, bytes;
	uint32_t ac = parent == FDT_NONE ? 2 : fdt_u32(t, parent, "#address-cells", 2);
	uint32_t sc = parent == FDT_NONE ? 1 : fdt_u32(t, parent, "#size-cells", 1);
	const uint8_t *p = fdt_prop(t, node, "reg", &n);

	if (p == NULL || ac > 4 || sc > 4 || ac + sc == 0)
		return false;
	bytes = 4 * (ac + sc);
	if (i >= n / bytes)
		return false;
	*base = fdt_cells(p + i * bytes, ac);
	*len = fdt_cells(p + i * bytes + 4 * ac, sc);
	return true;
}

bool
fdt_reserve(const struct fdt *t, uint32_t i, uint64_t *base, uint64_t *len)
{
	uint32_t at = be32(t->blob + 16);

	if (at > t->size || (t->size - at) / 16 <= i)
		return false;
	*base = fdt_cells(t->blob + at + 16 * i, 2);
	*len = fdt_cells(t->blob + at + 16 * i + 8, 2);
	return *base != 0 || *len != 0;
}
