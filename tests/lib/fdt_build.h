/*
 * Builds device-tree blobs for tests, in C: what dtc would refuse to write included.
 *
 *     struct fdt_build b = { 0 };
 *     fb_begin(&b, "");  fb_cell(&b, "#address-cells", 2);  fb_end(&b);
 *     blob = fb_blob(&b, &len);          (malloc'ed to the byte, so that the sanitizer sees every
 *     overrun)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { FB_MAX = 1 << 16, FB_RESERVE_MAX = 8 };

struct fdt_build {
	uint8_t structure[FB_MAX];
	char strings[4096];
	uint32_t structure_len, strings_len, reserve_count;
	uint64_t reserve[FB_RESERVE_MAX][2];
};

void fb_begin(struct fdt_build *b, const char *name);
void fb_end(struct fdt_build *b);
void fb_token(struct fdt_build *b, uint32_t token);
void fb_prop(struct fdt_build *b, const char *name, const void *value, uint32_t len);
void fb_string(struct fdt_build *b, const char *name, const char *value);
void fb_cell(struct fdt_build *b, const char *name, uint32_t value);
/* The cells of a list that ends with FB_STOP. */
enum : uint64_t { FB_STOP = 0xffff'ffff'0000'0000 };
void fb_cells(struct fdt_build *b, const char *name, const uint64_t *cells);
#define FB_CELLS(b, name, ...) \
	fb_cells(b, name, (const uint64_t[]){ __VA_ARGS__ __VA_OPT__(, ) FB_STOP })
void fb_reserve(struct fdt_build *b, uint64_t base, uint64_t len);

/* Adds the end token; the caller frees it. */
uint8_t *fb_blob(struct fdt_build *b, size_t *len);
void fb_put32(uint8_t *at, uint32_t v);		/* big-endian */
