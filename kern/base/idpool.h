/*
 * Small numbers, handed out once each: address-space ids.
 *
 * Taken in turn, so that a number rests as long as possible before it is used again.  0 is never
 * handed out.  No locks: the caller's.
 */
#pragma once

#include "kern/base/types.h"

struct id_pool {
	uint64_t *map;		/* (c) a bit for each id, set while taken */
	uint32_t count;		/* (c) ids below this; at most 64 for each word of map */
	uint32_t next;		/* where to look first */
};

/* An id from 1 to count - 1, or 0 when all are taken. */
uint32_t id_pool_take(struct id_pool *p);

/* Gives one back; 0 and what is not taken are ignored. */
void id_pool_give(struct id_pool *p, uint32_t id);
