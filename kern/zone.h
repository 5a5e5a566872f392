/*
 * Where RAM is, as runs of frames with one dense numbering.
 *
 * The records of frames (frame.c) are an array without holes, though RAM has some: a machine may
 * have its memory at 2 GiB and again at 512 GiB.  Small gaps are not worth a zone and are numbered
 * too; their frames are never RAM.
 *
 * Pure: tested on the host.
 */
#pragma once

#include "kern/base/types.h"

enum { ZONES_MAX = 16 };
enum : uint64_t { ZONE_GAP = 4096 };	/* frames: 16 MiB, whose records take 64 KiB */
enum : uint32_t { ZONE_NONE = UINT32_MAX };

struct zone {
	uint64_t first, count;
	uint32_t number;
}; /* frame numbers [first, first + count) are number and up */

struct zones {
	struct zone zone[ZONES_MAX];	/* by address */
	uint32_t count;
	uint64_t frames;		/* numbers given out: [0, frames) */
};

/*
 * Adds frames [first, first + count), which lie above all that were added before.  When there are
 * no more zones, the last one grows over the gap.  False when the numbers do not reach.
 */
bool zone_add(struct zones *z, uint64_t first, uint64_t count);

/* The number of a frame, or ZONE_NONE. */
static inline uint32_t
zone_number(const struct zones *z, uint64_t frame)
{
	for (uint32_t i = 0; i < z->count; i++)
		if (frame - z->zone[i].first < z->zone[i].count)
			return z->zone[i].number + (uint32_t)(frame - z->zone[i].first);
	return ZONE_NONE;
}

/* And back; the number was given out. */
static inline uint64_t
zone_frame(const struct zones *z, uint32_t number)
{
	uint32_t i = z->count - 1;

	while (number < z->zone[i].number)
		i--;
	return z->zone[i].first + (number - z->zone[i].number);
}
