/*
 * Ranges of addresses in a balanced tree, threaded through their owners' records.
 *
 * The ranges of one tree are disjoint.  It answers in O(log n): which range holds an address,
 * which is the next one, and where is room for another.  It allocates nothing and recurses
 * nowhere.
 *
 * Used for what a domain grants (kern/dma/ledger.c), for device addresses (kern/dma/iova.c), and
 * for the mappings of a process (kern/vspace.c).
 *
 * Locks: the caller serialises changes; readers may share.
 */
#pragma once

#include "kern/base/types.h"

struct itree_node {
	struct itree_node *child[2], *parent;
	uint64_t base,
	    last; /* the range, both inclusive: set by the owner, constant while in a tree */
	uint64_t lowest, highest;	/* of the subtree: first base, last last */
	uint64_t gap; /* of the subtree: bytes of the largest hole between two of its ranges */
	uint8_t height;			/* of the subtree; a leaf has 1.  0: in no tree */
};

struct itree { struct itree_node *root; };

/* How many holes of the right size but unlucky place itree_gap looks at before it asks for a surely
 * fitting one. */
enum { ITREE_GAP_TRIES = 16 };

/* False, and nothing changes, when [base, last] meets a range of the tree.  base <= last. */
NODISCARD bool itree_insert(struct itree *t, struct itree_node *n);

/* n is in the tree. */
void itree_remove(struct itree *t, struct itree_node *n);

/* "to" takes over place and range of "from", which is then in no tree.  O(1). */
void itree_replace(struct itree *t, struct itree_node *from, struct itree_node *to);

/* The lowest range that ends at or above "at", or NULL.  Holds "at" exactly when its base is not
 * above it. */
struct itree_node *itree_above(const struct itree *t, uint64_t at);

/* The range that holds the address, or NULL. */
static inline struct itree_node *
itree_find(const struct itree *t, uint64_t at)
{
	struct itree_node *n = t->root;

	while (n != NULL && (at < n->base || at > n->last))
		n = n->child[at > n->last];
	return n;
}

/* By address; NULL past the end. */
struct itree_node *itree_first(const struct itree *t);
struct itree_node *itree_next(const struct itree_node *n);

/*
 * A free run of len bytes that lies in [lo, hi] (inclusive) and begins at a multiple of
 * align, a power of two: the lowest one, unless more than ITREE_GAP_TRIES lower holes are
 * large enough but wrongly aligned; then the lowest hole in which alignment cannot fail.
 * So in a crowded space with large alignments it may miss the last run that would have fitted.
 * False when it finds none.  len is not 0; len + align does not wrap.
 */
NODISCARD bool itree_gap(
    const struct itree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t align, uint64_t *at);
