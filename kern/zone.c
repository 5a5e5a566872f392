/*
 * Adding RAM in ascending order.
 */
#include "kern/zone.h"

bool
zone_add(struct zones *z, uint64_t first, uint64_t count)
{
	struct zone *last = z->count != 0 ? &z->zone[z->count - 1] : NULL;
	uint64_t end = last != NULL ? last->first + last->count : 0, more = count;
	bool grow = last != NULL && (first - end <= ZONE_GAP || z->count == ZONES_MAX);

	if (grow)
		more += first - end;
	if (more >= ZONE_NONE - z->frames)
		return false;
	if (grow) {
		last->count += more;
	} else {
		z->zone[z->count++] = (struct zone){ first, count, (uint32_t)z->frames };
	}
	z->frames += more;
	return true;
}
