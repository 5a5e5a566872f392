/*
 * The device tree reader: fdt.h.
 *
 * Tokens are 32-bit big-endian words: begin node (name follows), end node, property (length, name
 * offset, value follow), nop, end.  "step" goes from one token to the next and refuses to leave the
 * block; fdt_open runs it over the whole block once, so later walks only meet tokens that passed,
 * and end at the end token at the latest.
 *
 * Looking for parents starts at the root each time: trees are small, and a table of parents would
 * need memory.
 */
#include "kern/machine/fdt.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

enum : uint32_t { MAGIC = 0xd00dfeed, BEGIN = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };

/* Header words [5.2] */
enum : uint32_t {
	H_MAGIC = 0,
	H_SIZE = 4,
	H_STRUCTURE = 8,
	H_STRINGS = 12,
	H_RESERVE = 16,
	H_VERSION = 20,
	H_COMPATIBLE = 24,
	H_STRINGS_LEN = 32,
	H_STRUCTURE_LEN = 36,
	HEADER = 40,
};

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
	uint32_t left, n, next;

	*token = END;
	if (at > t->structure_len || t->structure_len - at < 4)
		return 0;
	*token = be32(t->structure + at);
	left = t->structure_len - at - 4;
	switch (*token) {
	case BEGIN:
		n = (uint32_t)strnlen((const char *)t->structure + at + 4, left);
		if (n == left)
			return 0;
		next = at + 4 + (uint32_t)align_up(n + 1, 4);
		break;
	case PROP:
		if (left < 8)
			return 0;
		n = be32(t->structure + at + 4);
		if (n > left - 8 || be32(t->structure + at + 8) >= t->strings_len)
			return 0;
		next = at + 12 + (uint32_t)align_up(n, 4);
		break;
	case END_NODE:
	case NOP:
	case END:
		next = at + 4;
		break;
	default:
		return 0;
	}
	return next <= t->structure_len ? next : 0;
}

/* The block of len bytes at offset at lies behind the header. */
static bool
block_fits(const struct fdt *t, uint32_t at, uint32_t len)
{
	return at >= HEADER && at <= t->size && len <= t->size - at;
}

enum status
fdt_open(struct fdt *t, const void *blob, size_t max_len)
{
	const uint8_t *b = blob;
	uint32_t at = 0, token, before = NOP, depth = 0, structure, strings;
	bool closed = false;

	*t = (struct fdt){ 0 };
	if (max_len < HEADER || be32(b + H_MAGIC) != MAGIC)
		return E_CORRUPT;
	t->size = be32(b + H_SIZE);
	if (t->size < HEADER || t->size > max_len || t->size > FDT_SIZE_MAX)
		return E_CORRUPT;
	/* 17 brought the structure block's length; newer ones must say that they can be read as 17.
	 */
	if (be32(b + H_VERSION) < 17 || be32(b + H_COMPATIBLE) > 17)
		return E_CORRUPT;
	structure = be32(b + H_STRUCTURE);
	strings = be32(b + H_STRINGS);
	t->structure_len = be32(b + H_STRUCTURE_LEN);
	t->strings_len = be32(b + H_STRINGS_LEN);
	t->reserve = be32(b + H_RESERVE);
	if (!block_fits(t, structure, t->structure_len) ||
	    !block_fits(t, strings, t->strings_len) || !block_fits(t, t->reserve, 16) ||
	    (structure & 3) != 0)
		return E_CORRUPT;
	t->blob = b;
	t->structure = b + structure;
	t->strings = b + strings;
	/* The last string must end inside: then every offset below the length is a string. */
	if (t->strings_len != 0 && t->strings[t->strings_len - 1] != 0)
		return E_CORRUPT;
	if (t->structure_len < 4 || be32(t->structure) != BEGIN)
		return E_CORRUPT;
	for (;;) {
		uint32_t next = step(t, at, &token);

		if (next == 0)
			return E_CORRUPT;
		if (token == END)
			break;
		if (token == BEGIN && (closed || ++depth > FDT_DEPTH_MAX))
			return E_CORRUPT;
		if (token == PROP && (depth == 0 || before == END_NODE))
			return E_CORRUPT;
		if (token == END_NODE) {
			if (depth == 0)
				return E_CORRUPT;
			closed = --depth == 0;
		}
		if (token != NOP)
			before = token;
		at = next;
	}
	return closed ? OK : E_CORRUPT;
}

uint32_t
fdt_next(const struct fdt *t, uint32_t node, int *depth)
{
	uint32_t token, at = step(t, node, &token);

	if (at == 0)		/* not a node's place */
		return FDT_NONE;
	for (;;) {
		uint32_t next = step(t, at, &token);

		if (next == 0 || token == END)
			return FDT_NONE;
		if (token == BEGIN) {
			if (depth != NULL)
				++*depth;
			return at;
		}
		if (token == END_NODE && depth != NULL)
			--*depth;
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
	uint32_t stack[FDT_DEPTH_MAX], n = FDT_ROOT;
	int depth = 0;

	while (n != FDT_NONE && n <= node && depth >= 0 && depth < (int)FDT_DEPTH_MAX) {
		stack[depth] = n;
		if (n == node)
			return depth > 0 ? stack[depth - 1] : FDT_NONE;
		n = fdt_next(t, n, &depth);
	}
	return FDT_NONE;
}

const char *
fdt_name(const struct fdt *t, uint32_t node)
{
	return (const char *)t->structure + node + 4;
}

bool
fdt_next_prop(const struct fdt *t, uint32_t node, uint32_t *cursor, const char **name,
    const void **value, uint32_t *len)
{
	uint32_t token, at = *cursor != 0 ? *cursor : step(t, node, &token), next;

	while (at != 0 && (next = step(t, at, &token)) != 0 && (token == PROP || token == NOP)) {
		*cursor = next;
		if (token == PROP) {
			*len = be32(t->structure + at + 4);
			*name = (const char *)t->strings + be32(t->structure + at + 8);
			*value = t->structure + at + 12;
			return true;
		}
		at = next;
	}
	return false;
}

const void *
fdt_prop(const struct fdt *t, uint32_t node, const char *name, uint32_t *len)
{
	uint32_t cursor = 0, n;
	const char *this;
	const void *value;

	while (fdt_next_prop(t, node, &cursor, &this, &value, &n)) {
		if (strcmp(this, name) != 0)
			continue;
		if (len != NULL)
			*len = n;
		return value;
	}
	return NULL;
}

bool
fdt_has(const struct fdt *t, uint32_t node, const char *name)
{
	return fdt_prop(t, node, name, NULL) != NULL;
}

uint32_t
fdt_u32(const struct fdt *t, uint32_t node, const char *name, uint32_t fallback)
{
	uint32_t len;
	const uint8_t *p = fdt_prop(t, node, name, &len);

	return p != NULL && len >= 4 ? be32(p) : fallback;
}

bool
fdt_u64(const struct fdt *t, uint32_t node, const char *name, uint64_t *out)
{
	uint32_t len;
	const uint8_t *p = fdt_prop(t, node, name, &len);

	if (p == NULL || (len != 4 && len != 8))
		return false;
	*out = fdt_cells(p, len / 4);
	return true;
}

const char *
fdt_string_at(const struct fdt *t, uint32_t node, const char *prop, uint32_t i)
{
	uint32_t len, at = 0;
	const char *p = fdt_prop(t, node, prop, &len);

	while (p != NULL && at < len) {
		uint32_t n = (uint32_t)strnlen(p + at, len - at);

		if (n == len - at)
			return NULL;
		if (i-- == 0)
			return p + at;
		at += n + 1;
	}
	return NULL;
}

const char *
fdt_string(const struct fdt *t, uint32_t node, const char *name)
{
	return fdt_string_at(t, node, name, 0);
}

uint32_t
fdt_string_index(const struct fdt *t, uint32_t node, const char *prop, const char *word)
{
	uint32_t len, at = 0;
	const char *p = fdt_prop(t, node, prop, &len);

	for (uint32_t i = 0; p != NULL && at < len; i++) {
		uint32_t n = (uint32_t)strnlen(p + at, len - at);

		if (n == len - at)
			break;
		if (strcmp(p + at, word) == 0)
			return i;
		at += n + 1;
	}
	return FDT_NONE;
}

bool
fdt_has_string(const struct fdt *t, uint32_t node, const char *prop, const char *word)
{
	return fdt_string_index(t, node, prop, word) != FDT_NONE;
}

/* Length of a path's first part. */
static size_t
part_len(const char *path)
{
	size_t n = 0;

	while (path[n] != 0 && path[n] != '/')
		n++;
	return n;
}

/* Goes down from node along the path. */
static uint32_t
descend(const struct fdt *t, uint32_t node, const char *path)
{
	for (;;) {
		size_t n;
		uint32_t c;

		while (*path == '/')
			path++;
		if (*path == 0)
			return node;
		n = part_len(path);
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
	}
}

/* The value of the alias that is the first n bytes of the path; NULL: none. */
static const char *
alias(const struct fdt *t, const char *path, size_t n)
{
	uint32_t aliases = descend(t, FDT_ROOT, "/aliases"), cursor = 0, len;
	const char *name;
	const void *value;

	while (aliases != FDT_NONE && fdt_next_prop(t, aliases, &cursor, &name, &value, &len))
		if (strncmp(name, path, n) == 0 && name[n] == 0)
			return strnlen(value, len) < len && *(const char *)value == '/' ? value :
											  NULL;
	return NULL;
}

uint32_t
fdt_path(const struct fdt *t, const char *path)
{
	uint32_t node = FDT_ROOT;

	if (*path != '/') {
		size_t n = part_len(path);
		const char *real = alias(t, path, n);

		node = real != NULL ? descend(t, FDT_ROOT, real) : FDT_NONE;
		path += n;
	}
	return node != FDT_NONE ? descend(t, node, path) : FDT_NONE;
}

uint32_t
fdt_phandle(const struct fdt *t, uint32_t phandle)
{
	if (phandle == 0 || phandle == UINT32_MAX)
		return FDT_NONE;
	for (uint32_t n = FDT_ROOT; n != FDT_NONE; n = fdt_next(t, n, NULL))
		if (fdt_u32(t, n, "phandle", 0) == phandle)
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
	return !fdt_has(t, node, "status") || fdt_has_string(t, node, "status", "okay") ||
	    fdt_has_string(t, node, "status", "ok");
}

/* Cells of a bus's children; false when they are absurd. */
static bool
bus_cells(const struct fdt *t, uint32_t bus, uint32_t *address, uint32_t *size)
{
	*address = bus == FDT_NONE ? 2 : fdt_u32(t, bus, "#address-cells", 2);
	*size = bus == FDT_NONE ? 1 : fdt_u32(t, bus, "#size-cells", 1);
	return *address >= 1 && *address <= 3 && *size <= 2;
}

static bool
reg(const struct fdt *t, uint32_t node, uint32_t bus, uint32_t i, uint64_t *base, uint64_t *len)
{
	uint32_t ac, sc, n, bytes;
	const uint8_t *p = fdt_prop(t, node, "reg", &n);

	if (p == NULL || !bus_cells(t, bus, &ac, &sc))
		return false;
	bytes = 4 * (ac + sc);
	if (i >= n / bytes)
		return false;
	*base = fdt_cells(p + i * bytes, ac);
	*len = fdt_cells(p + i * bytes + 4 * ac, sc);
	return true;
}

bool
fdt_reg(const struct fdt *t, uint32_t node, uint32_t i, uint64_t *base, uint64_t *len)
{
	return reg(t, node, fdt_parent(t, node), i, base, len);
}

bool
fdt_translate(const struct fdt *t, uint32_t bus, uint64_t *base, uint64_t len)
{
	while (bus != FDT_ROOT) {
		uint32_t parent = fdt_parent(t, bus), ac, sc, parent_ac, parent_sc, n, at, bytes;
		const uint8_t *p = fdt_prop(t, bus, "ranges", &n);

		/* Three cells: PCI, whose first says which of its address spaces is meant. */
		if (parent == FDT_NONE || p == NULL || !bus_cells(t, bus, &ac, &sc) || ac > 2 ||
		    !bus_cells(t, parent, &parent_ac, &parent_sc) || parent_ac > 2)
			return false;
		bytes = 4 * (ac + parent_ac + sc);
		for (at = 0; n != 0; at += bytes) {
			uint64_t child, there, size;

			if (at > n || n - at < bytes)
				return false;
			child = fdt_cells(p + at, ac);
			there = fdt_cells(p + at + 4 * ac, parent_ac);
			size = fdt_cells(p + at + 4 * (ac + parent_ac), sc);
			if (range_within(*base, len, child, size) && size <= UINT64_MAX - there) {
				*base = there + (*base - child);
				break;
			}
		}
		bus = parent;
	}
	return true;
}

bool
fdt_reg_cpu(const struct fdt *t, uint32_t node, uint32_t i, uint64_t *base, uint64_t *len)
{
	uint32_t bus = fdt_parent(t, node);

	return bus != FDT_NONE && reg(t, node, bus, i, base, len) &&
	    fdt_translate(t, bus, base, *len);
}

bool
fdt_reserve(const struct fdt *t, uint32_t i, uint64_t *base, uint64_t *len)
{
	const uint8_t *p = t->blob + t->reserve;

	if ((t->size - t->reserve) / 16 <= i)
		return false;
	*base = fdt_cells(p + 16 * (size_t)i, 2);
	*len = fdt_cells(p + 16 * (size_t)i + 8, 2);
	return *base != 0 || *len != 0;
}
