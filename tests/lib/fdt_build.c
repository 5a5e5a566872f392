/*
 * Device-tree blobs for tests: fdt_build.h shows the use.  The structure block and the strings grow
 * in the builder, and fb_blob puts header, reservations and both together.  Nothing is checked, as
 * tests want trees that are wrong, too.  Manual: Devicetree Specification, flattened format.
 */
#include "tests/lib/fdt_build.h"

#include <stdlib.h>
#include <string.h>

enum { BEGIN = 1, END_NODE = 2, PROP = 3, END = 9, HEADER = 40 };

void
fb_put32(uint8_t *at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> (24 - 8 * i));
}

void
fb_token(struct fdt_build *b, uint32_t token)
{
	fb_put32(b->structure + b->structure_len, token);
	b->structure_len += 4;
}

static void
bytes(struct fdt_build *b, const void *from, uint32_t len)
{
	memset(b->structure + b->structure_len, 0, len + 4);
	if (len != 0)
		memcpy(b->structure + b->structure_len, from, len);
	b->structure_len += (len + 3) & ~3u;
}

void
fb_begin(struct fdt_build *b, const char *name)
{
	fb_token(b, BEGIN);
	bytes(b, name, (uint32_t)strlen(name) + 1);
}

void
fb_end(struct fdt_build *b)
{
	fb_token(b, END_NODE);
}

void
fb_prop(struct fdt_build *b, const char *name, const void *value, uint32_t len)
{
	uint32_t at = 0;

	while (at < b->strings_len && strcmp(b->strings + at, name) != 0)
		at += (uint32_t)strlen(b->strings + at) + 1;
	if (at == b->strings_len) {
		strcpy(b->strings + at, name);
		b->strings_len += (uint32_t)strlen(name) + 1;
	}
	fb_token(b, PROP);
	fb_token(b, len);
	fb_token(b, at);
	bytes(b, value, len);
}

void
fb_string(struct fdt_build *b, const char *name, const char *value)
{
	fb_prop(b, name, value, (uint32_t)strlen(value) + 1);
}

void
fb_cell(struct fdt_build *b, const char *name, uint32_t value)
{
	fb_cells(b, name, (const uint64_t[]){ value, FB_STOP });
}

void
fb_cells(struct fdt_build *b, const char *name, const uint64_t *cells)
{
	uint8_t value[1024];
	uint32_t n = 0;

	for (; cells[n] != FB_STOP; n++)
		fb_put32(value + 4 * n, (uint32_t)cells[n]);
	fb_prop(b, name, value, 4 * n);
}

void
fb_reserve(struct fdt_build *b, uint64_t base, uint64_t len)
{
	b->reserve[b->reserve_count][0] = base;
	b->reserve[b->reserve_count++][1] = len;
}

uint8_t *
fb_blob(struct fdt_build *b, size_t *len)
{
	uint32_t reserve = HEADER, structure, strings, size;
	uint8_t *p;

	fb_token(b, END);
	structure = reserve + 16 * (b->reserve_count + 1);
	strings = structure + b->structure_len;
	size = strings + b->strings_len;
	p = calloc(1, size);
	fb_put32(p, 0xd00dfeed);
	fb_put32(p + 4, size);
	fb_put32(p + 8, structure);
	fb_put32(p + 12, strings);
	fb_put32(p + 16, reserve);
	fb_put32(p + 20, 17);
	fb_put32(p + 24, 16);
	fb_put32(p + 32, b->strings_len);
	fb_put32(p + 36, b->structure_len);
	for (uint32_t i = 0; i < b->reserve_count; i++)
		for (unsigned k = 0; k < 2; k++) {
			fb_put32(p + reserve + 16 * i + 8 * k, (uint32_t)(b->reserve[i][k] >> 32));
			fb_put32(p + reserve + 16 * i + 8 * k + 4, (uint32_t)b->reserve[i][k]);
		}
	memcpy(p + structure, b->structure, b->structure_len);
	memcpy(p + strings, b->strings, b->strings_len);
	*len = size;
	return p;
}
