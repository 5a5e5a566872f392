/*
 * I/O page tables: one radix walker for all formats.
 *
 * An iopt is one table tree.  A format (fmt_*.c) says how entries look; a shape says how
 * a unit uses the format: address widths, leaf sizes, coherency.  Heights count from the
 * bottom: entries of height 0 map pages; a leaf of height h spans
 * 1 << (page_lg2 + h * stride_lg2) bytes.
 *
 * What callers rely on
 *   - A walker that looks at any moment sees each entry as it was or as it will be.
 *   - iopt_map stores leaves only when nothing can fail any more: a refused or failed call
 *     never showed the walker any leaf of the range, so no invalidation is owed for it.
 *   - A valid entry is never replaced: neither leaf nor table.  Entries go from empty to
 *     valid (no invalidation owed, caching mode aside), and from leaf to empty (iopt_unmap).
 *   - Table pages stay until iopt_fini, also empty ones: so a cached upper-level entry is never
 *     stale, and leaf-only invalidation is enough (VTD-28 IH, SMMU-33).  They count
 *     against the quota all that time; who hands out addresses keeps them together.
 *
 * Locks: the caller serialises calls on one tree (the domain's lock).  The walker needs none.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct quota;

enum iopt_access : uint8_t {
	IOPT_READ   = 1,	/* = IOMMU_READ */
	IOPT_WRITE  = 2,	/* = IOMMU_WRITE */
	IOPT_DEVICE = 4,	/* registers, not memory: the interrupt doorbell */
};

enum : unsigned { IOPT_HEIGHTS_MAX = 5 };

/*
 * How entries look.  An entry is 64 bits; its address bits are the address's own bits, so
 * that the leaf for the next block is the leaf for this one plus the size.
 */
struct iopt_format {
	const char *name;
	uint8_t page_lg2;		/* bytes of the smallest leaf, and of a table */
	uint8_t stride_lg2;		/* entries of a table */
	uint8_t concat_lg2; /* the root may be up to 1 << n tables side by side, to save a level */
	uint64_t leaf_sizes;		/* bit n: leaves of 1 << n bytes exist */
	uint64_t present_mask;		/* an entry with none of these set is empty */
	uint64_t leaf_mask,
	    leaf_value; /* above height 0: a present entry is a leaf when (e & mask) == value */
	uint64_t address_mask;
	/* access is not 0; memory is aligned to the leaf; flags are the shape's. */
	uint64_t (*leaf)(struct paddr to, unsigned height, uint8_t access, uint64_t flags);
	uint64_t (*table)(
	    struct paddr child, unsigned height); /* height of the entry, not of the child */
	uint8_t (*access)(uint64_t leaf);         /* enum iopt_access of a leaf */
};

/* How one unit uses a format.  Constant while any tree uses it. */
struct iopt_shape {
	const struct iopt_format *format;
	uint8_t input_bits;		/* addresses at or above 1 << n are refused */
	uint8_t output_bits;		/* so is memory at or above 1 << n */
	bool coherent;			/* the walker snoops the CPUs' caches */
	uint64_t leaf_sizes;		/* subset of the format's, page size always in */
	uint64_t flags;			/* given to format->leaf; see the format's header */
};

struct iopt {
	const struct iopt_shape *shape;		/* (c) borrowed until fini */
	struct quota *quota;			/* (c) charged for table pages; NULL: nobody */
	struct paddr root;			/* (c) */
	uint64_t table_pages;			/* of PAGE_SIZE, root included */
	uint64_t *near_table;			/* the table of pages that was used last ... */
	uint64_t near_at; /* ... and the address that it starts at; 1: none yet */
	uint64_t near_leaf;			/* the leaf of a page at 0 for near_access */
	uint8_t near_access;			/* of the last map; 0: none yet */
	uint16_t root_entries;			/* (c) */
	uint8_t top;				/* (c) height of the root's entries */
	uint8_t top_shift;			/* (c) an entry of the root spans 1 << n bytes */
	uint8_t near_lg2;			/* (c) a table of pages spans 1 << n bytes */
	uint8_t root_order;			/* (c) frames of the root, log2 */
} __attribute__((may_alias));			/* lives in iommu_domain.priv */

/* What an unmap cleared, for whoever composes the invalidation. */
struct iopt_cleared {
	uint64_t leaf_sizes;		/* bit n: leaves of 1 << n bytes were among them */
	uint64_t leaves;
};

/* Height of the root and frames of the root (log2) for a shape: for context entries, TCR, SL0. */
unsigned iopt_top(const struct iopt_shape *shape);
unsigned iopt_root_order(const struct iopt_shape *shape);

/* An empty tree.  E_NO_MEMORY, E_QUOTA. */
NODISCARD enum status iopt_init(struct iopt *t, const struct iopt_shape *shape, struct quota *q);

/*
 * Frees all tables, and gives the charge back.  No unit walks the tree any more, and the
 * invalidations that say so are past.  Leaves still there are forgotten.  Others run between two
 * tables: no lock is held.  iopt_quarantine is for a unit of which that is not known: the tables
 * are never used again.
 */
void iopt_fini(struct iopt *t);
void iopt_quarantine(struct iopt *t);

/*
 * Maps [at, at + len) to [to, to + len) with the largest leaves that alignment and the
 * shape allow.  On return the entries are visible to the walker.
 *   E_ALIGN      at, to or len is not a multiple of the page, or len is 0
 *   E_RANGE      beyond input_bits or output_bits
 *   E_INVALID    access grants nothing
 *   E_EXISTS     something in the range is mapped
 *   E_NO_MEMORY, E_QUOTA   for table pages; tables made on the way stay
 */
NODISCARD enum status
iopt_map(struct iopt *t, struct iova at, struct paddr to, uint64_t len_bytes, uint8_t access);

/*
 * Clears [at, at + len), which is mapped throughout, by whole leaves.  On return the cleared
 * entries are visible to the walker; the invalidation is the caller's.  All or nothing:
 *   E_ALIGN, E_RANGE   as above
 *   E_NOT_FOUND        a page of the range is not mapped
 *   E_INVALID          the range cuts a larger leaf
 */
NODISCARD enum status
iopt_unmap(struct iopt *t, struct iova at, uint64_t len_bytes, struct iopt_cleared *out);

/* The same for a page whose table was the last one in use: what most calls are of.  False: nothing
 * was done, and it is for iopt_unmap. */
NODISCARD bool iopt_unmap_near(struct iopt *t, struct iova at, uint64_t len_bytes);

/* The leaf that translates an address, as the walker would find it; false when there is none. */
struct iopt_leaf {
	struct paddr to;		/* of the address itself, not of the leaf's start */
	uint8_t size_lg2;
	uint8_t access;
};
bool iopt_lookup(const struct iopt *t, struct iova at, struct iopt_leaf *out);
