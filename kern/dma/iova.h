/*
 * The device addresses of one domain: who has which, and where is room.
 *
 * A range belongs to its owner's record (struct iova_range inside a ledger entry), so handing
 * out an address needs no memory.  Lookups go through the same tree: the range that holds an
 * address leads to the record.
 *
 * Addresses that have not rested are given lowest first, so that the I/O page tables behind them
 * stay few, and aligned to their own length (to IOVA_ALIGN_MAX at most), so that large leaves and
 * single invalidations cover them.
 *
 * An address that was given back is not given out again at once (DMA-50): it cools in a queue
 * of fixed length until the queue is full of others that were given back after it; then it may go
 * to the next range of its length, or becomes free with the next return.  Only when nothing else is
 * left does the oldest one go out early; the invalidation is past anyway, and who would be
 * hurt is the same driver (DMA-51).
 *
 * Locks: the domain's, over every call.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/itree.h"
#include "kern/base/types.h"

enum { IOVA_EXCLUDE_MAX = 16 };
enum : uint64_t { IOVA_ALIGN_MAX = GIB };

enum iova_kind : uint8_t {
	IOVA_NONE,		/* in no space */
	IOVA_LIVE,		/* given out */
	IOVA_COOLING,		/* given back, not to be used yet */
	IOVA_EXCLUDED,		/* never given out */
};

struct iova_range {
	struct itree_node node;		/* node.base .. node.last */
	enum iova_kind kind;
};

struct iova_space {
	struct itree tree;
	uint64_t first, last;		/* (c) addresses that may be given out, inclusive */
	uint64_t granule; /* (c) ranges are multiples of it, and aligned to it: DMA-52 */
	uint64_t bytes_max;		/* (c) live and cooling together: D13 */
	uint64_t live_bytes, cooling_bytes;
	uint32_t live;
	struct iova_range *cool;	/* (c) borrowed until the space ends: a ring */
	uint32_t cool_max;		/* (c) */
	uint32_t cool_oldest, cool_count;
	uint32_t excludes;
	struct iova_range exclude[IOVA_EXCLUDE_MAX];
	uint64_t early;			/* cooling cut short for lack of room */
};

/*
 * An empty space of the addresses [base, limit), given out by multiples of granule (a power of
 * two, at least PAGE_SIZE).  "cool" is memory for the queue, charged to whoever owns the domain:
 * its length sets the delay, and 0 bytes mean none.  The ranges in it must not move.
 *   E_RANGE   no whole granule between base and limit
 *   E_ALIGN   the granule is not such a power of two
 */
NODISCARD enum status iova_init(struct iova_space *s, uint64_t base, uint64_t limit,
    uint64_t granule, uint64_t bytes_max, void *cool, size_t cool_bytes);

/*
 * Keeps [base, base + len) from being given out: doorbell windows, the interrupt range, bridge
 * windows (PCI-48).  Rounded outwards to the granule; may overlap other exclusions, and reach past
 * the ends.
 *   E_RANGE     len is 0, or the range wraps
 *   E_EXISTS    part of it is live or cooling
 *   E_NO_MEMORY more than IOVA_EXCLUDE_MAX separate ones
 */
NODISCARD enum status iova_exclude(struct iova_space *s, uint64_t base, uint64_t len);

/*
 * Gives out len bytes (rounded up to the granule) in *r, which is in no space.
 *   E_RANGE     len is 0 or larger than the space
 *   E_QUOTA     more than bytes_max would be out
 *   E_NO_MEMORY no room
 */
NODISCARD enum status iova_alloc(struct iova_space *s, uint64_t len, struct iova_range *r);

/* The same at a given address.  E_ALIGN, E_RANGE (outside the space), E_QUOTA, E_EXISTS. */
NODISCARD enum status
iova_alloc_at(struct iova_space *s, struct iova at, uint64_t len, struct iova_range *r);

/* r is live: its address starts to cool; r is in no space any more. */
void iova_free(struct iova_space *s, struct iova_range *r);

/* The live range that holds an address, or NULL. */
static inline struct iova_range *
iova_find(const struct iova_space *s, struct iova at)
{
	struct itree_node *n = itree_find(&s->tree, at.v);
	struct iova_range *r = (struct iova_range *)n;

	return n != NULL && r->kind == IOVA_LIVE ? r : NULL;
}
static_assert(offsetof(struct iova_range, node) == 0);

/* The lowest live range that ends at or above an address, or NULL: for walks in order. */
struct iova_range *iova_next(const struct iova_space *s, struct iova at);

static inline struct iova
iova_base(const struct iova_range *r)
{
	return (struct iova){ r->node.base };
}
static inline uint64_t
iova_len(const struct iova_range *r)
{
	return r->node.last - r->node.base + 1;
}
