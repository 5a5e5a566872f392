/*
 * A reader of flattened device trees: bounded, allocation-free, without state but a cursor.
 *
 * The blob is untrusted.  fdt_open checks the header and that the structure block is a well-formed
 * sequence of tokens: one root, every node closed, every name and property inside, properties
 * before child nodes.  After that the walkers cannot leave the blob, and no walk is longer than the
 * blob.  Nodes are named by the offset of their begin token in the structure block.  The blob must
 * not change while it is read.
 *
 * Used for the machine, for the boot manifest by init and by services: so it knows nothing of
 * either.
 *
 * Source: Devicetree Specification 0.4, chapters 2 and 5.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct fdt {
	const uint8_t *blob, *structure, *strings;
	uint32_t size, structure_len, strings_len, reserve;
};

enum : uint32_t {
	FDT_NONE = UINT32_MAX,
	FDT_ROOT = 0,
	FDT_DEPTH_MAX = 32,
	FDT_SIZE_MAX = 16 << 20,
};

/* E_CORRUPT: not a tree, truncated, or malformed.  max_len: bytes that may be read at blob, at any
 * alignment. */
NODISCARD enum status fdt_open(struct fdt *t, const void *blob, size_t max_len);

/* Next node in document order after "node"; *depth (may be NULL) goes up and down with it. FDT_NONE
 * at the end. */
uint32_t fdt_next(const struct fdt *t, uint32_t node, int *depth);
/* Children: fdt_child(t, parent) then fdt_sibling(t, child). */
uint32_t fdt_child(const struct fdt *t, uint32_t node);
uint32_t fdt_sibling(const struct fdt *t, uint32_t node);
uint32_t fdt_parent(const struct fdt *t, uint32_t node);	/* FDT_NONE for the root */

/* With its unit address ("memory@40000000"); the root's is "". */
const char *fdt_name(const struct fdt *t, uint32_t node);

/* Properties in order: cursor starts at 0; false at the end.  *value has *len bytes. */
bool fdt_next_prop(const struct fdt *t, uint32_t node, uint32_t *cursor, const char **name,
    const void **value, uint32_t *len);

/* Value of a property and its length (len may be NULL); NULL when there is none.  An empty one
 * gives a pointer and length 0. */
const void *fdt_prop(const struct fdt *t, uint32_t node, const char *name, uint32_t *len);
bool fdt_has(const struct fdt *t, uint32_t node, const char *name);
/* First cell of a property, or the fallback. */
uint32_t fdt_u32(const struct fdt *t, uint32_t node, const char *name, uint32_t fallback);
/* A property of one or two cells; false for any other length. */
bool fdt_u64(const struct fdt *t, uint32_t node, const char *name, uint64_t *out);
/* A property that is one string, or the first of a list, 0-terminated within its length; NULL
 * otherwise. */
const char *fdt_string(const struct fdt *t, uint32_t node, const char *name);
/* i-th string of a list; NULL past the end. */
const char *fdt_string_at(const struct fdt *t, uint32_t node, const char *prop, uint32_t i);
/* Does the string list contain the word?  fdt_string_index: at which place; FDT_NONE: not. */
bool fdt_has_string(const struct fdt *t, uint32_t node, const char *prop, const char *word);
uint32_t fdt_string_index(const struct fdt *t, uint32_t node, const char *prop, const char *word);
/* Number of 1 or 2 cells (more: the low 64 bits) at cells[i..]. */
uint64_t fdt_cells(const uint8_t *cells, uint32_t n);

/* "/chosen", "/soc/serial@1000"; a unit address may be left out; "serial0" and "serial0/x" begin at
 * an alias. */
uint32_t fdt_path(const struct fdt *t, const char *path);
uint32_t fdt_phandle(const struct fdt *t, uint32_t phandle);	/* 0 and all ones are nobody's */
uint32_t fdt_compatible(const struct fdt *t, uint32_t after,
    const char *compatible);                          /* after FDT_NONE: from the start */
bool fdt_enabled(const struct fdt *t, uint32_t node); /* status absent, "okay" or "ok" */

/* i-th entry of reg, by the parent's cells, in the parent's address space.  False past the end. */
bool fdt_reg(const struct fdt *t, uint32_t node, uint32_t i, uint64_t *base, uint64_t *len);

/* The same as the CPU sees it, through the ranges of all buses above.  False also when a bus is in
 * the way. */
bool fdt_reg_cpu(const struct fdt *t, uint32_t node, uint32_t i, uint64_t *base, uint64_t *len);

/* An address of bus "bus" (that is, of its children) as the CPU sees it; the whole run must be in
 * one range. */
bool fdt_translate(const struct fdt *t, uint32_t bus, uint64_t *base, uint64_t len);

/* i-th entry of the memory reservation block; false at its end. */
bool fdt_reserve(const struct fdt *t, uint32_t i, uint64_t *base, uint64_t *len);

struct machine;
/* kern/machine/fdt_machine.c: fills everything but IOMMUs.  E_CORRUPT, with a note: not a device
 * tree. */
NODISCARD enum status fdt_machine(struct machine *m, const void *blob, size_t max_len);
