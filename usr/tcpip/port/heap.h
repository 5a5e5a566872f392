/*
 * Memory of lwIP's.  Its mem_malloc and so on are in heap.c; this is what the service asks.
 */
#pragma once

#include "kern/base/types.h"

/* No more than so many pages from now on. */
void heap_limit(uint64_t pages);
/* Pages that are taken from the system, and how many of them hold something. */
void heap_counts(uint64_t *pages, uint64_t *used);
