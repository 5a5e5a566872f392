/*
 * A reader of flattened device trees: bounded, allocation-free, without state but a cursor.
 *
 * The blob is untrusted.  fdt_open checks the header and that the structure block is a well-formed sequence of tokens
 * with every name and property inside; after that the walkers cannot leave the blob.  Nodes are named by the offset of
 * their begin token in the structure block.  Used for the machine (arm64) and for the boot manifest.
 *
 * Source: Devicetree Specification 0.4, chapter 5.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct fdt {
	const uint8_t *blob, *structure, *strings;
	uint32_t size, structure_len, strings_len;
};

enum : uint32_t { FDT_NONE = UINT32_MAX, FDT_ROOT = 0, FDT_DEPTH_MAX = 32 };

/* E_CORRUPT: not a tree, truncated, or malformed.  max_len: bytes that may be read at blob. */
NODISCARD enum status fdt_open(struct fdt *t, const void *blob, size_t max_len);

/* Next node in document order after "node"; *depth (may be NULL) goes up and down with it.  FDT_NONE at the end. */
uint32_t fdt_next(const struct fdt *t, uint32_t node, int *depth);
/* Children: fdt_child(t, parent) then fdt_sibling(t, child). */
uint32_t fdt_child(const struct fdt *t, uint32_t node);
uint32_t fdt_sibling(const struct fdt *t, uint32_t node);
uint32_t fdt_parent(const struct fdt *t, uint32_t node);

const char *fdt_name(const struct fdt *t, uint32_t node);

/* Value of a property and its length; NULL when there is none.  An empty property gives a pointer and length 0. */
const void *fdt_prop(const struct fdt *t, uint32_t node, const char *name, uint32_t *len);
/* First cell of a property, or the fallback. */
uint32_t fdt_u32(const struct fdt *t, uint32_t node, const char *name, uint32_t fallback);
/* A property that is one string, 0-terminated within its length; NULL otherwise. */
const char *fdt_string(const struct fdt *t, uint32_t node, const char *name);
/* Does the string list contain the word? */
bool fdt_has_string(const struct fdt *t, uint32_t node, const char *prop, const char *word);
/* Number of 1 or 2 cells (more: the low 64 bits) at cells[i..]. */
uint64_t fdt_cells(const uint8_t *cells, uint32_t n);

uint32_t fdt_path(const struct fdt *t, const char *path);		/* "/chosen" */
uint32_t fdt_phandle(const struct fdt *t, uint32_t phandle);
uint32_t fdt_compatible(const struct fdt *t, uint32_t after, const char *compatible);	/* after FDT_NONE: from the start */
bool fdt_enabled(const struct fdt *t, uint32_t node);			/* status absent, "okay" or "ok" */

/* i-th entry of reg, by the parent's cells.  False past the end. */
bool fdt_reg(const struct fdt *t, uint32_t node, uint32_t i, uint64_t *base, uint64_t *len);

/* i-th entry of the memory reservation block; false at its end. */
bool fdt_reserve(const struct fdt *t, uint32_t i, uint64_t *base, uint64_t *len);

struct machine;
/* kern/machine/fdt_machine.c: fills everything but IOMMUs. */
NODISCARD enum status fdt_machine(struct machine *m, const void *blob, size_t max_len);
