/*
 * PRPs: how a command says where its data is [Base 4.3].
 *
 * The first entry may begin anywhere in a page (a multiple of 4) and covers up to that page's end.
 * When one more page is enough the second entry is that page; else it points to a list: entries of
 * whole pages, 512 to a list page.  When more follow, the last entry of a list page points to the
 * next one.
 *
 *   prp1 -> data      prp2 -> list page | data | data | ... | next -> list page | data | ...
 *
 * List pages come from a pool, because few commands need any, and large ones need many.
 */
#pragma once

#include "kern/base/bits.h"

enum { PRP_POOL_PAGES = 64, PRP_ENTRIES = PAGE_SIZE / 8 };
enum : uint16_t { PRP_NONE = UINT16_MAX };

struct prp_pool {
	uint64_t *ptr;			/* the list pages, mapped here */
	struct iova iova;		/* where the device finds them */
	uint32_t pages, free;		/* at most PRP_POOL_PAGES; how many are free */
	uint16_t first;			/* free page, chained through next */
	uint16_t next[PRP_POOL_PAGES];
};

void prp_pool_init(struct prp_pool *p, void *ptr, struct iova at, uint32_t pages);

/* List pages that a transfer needs. */
uint32_t prp_list_pages(uint64_t at, uint64_t bytes);

/*
 * Fills prp[2] for "bytes" from "at", contiguous in the device's addresses; at is a multiple of 4,
 * bytes not 0.  *list is to be given back with prp_free when the device is done: PRP_NONE for most.
 * False when the pool has too few pages: nothing is taken.
 */
bool prp_build(struct prp_pool *p, uint64_t at, uint64_t bytes, uint64_t prp[2], uint16_t *list);
/* One page of the pool for something else that a controller reads, zeroed: *at where it finds it,
 * *list to be given back the same way.  NULL: there is none. */
void *prp_page(struct prp_pool *p, uint64_t *at, uint16_t *list);
void prp_free(struct prp_pool *p, uint16_t list);
