/*
 * A bitmap and a place to start at.
 */
#include "kern/base/idpool.h"
#include "kern/base/bits.h"

/* The first free id in [from, to), or 0. */
static uint32_t
find(const struct id_pool *p, uint32_t from, uint32_t to)
{
	uint32_t n = from;

	while (n < to) {
		uint64_t free = ~p->map[n / 64] >> n % 64;

		if (free == 0) {
			n = (n / 64 + 1) * 64;
			continue;
		}
		n += lowest_bit(free);
		return n < to ? n : 0;
	}
	return 0;
}

uint32_t
id_pool_take(struct id_pool *p)
{
	uint32_t from = p->next != 0 && p->next < p->count ? p->next : 1,
		 id = find(p, from, p->count);

	if (id == 0)
		id = find(p, 1, from);
	if (id != 0) {
		p->map[id / 64] |= BIT(id % 64);
		p->next = id + 1;
	}
	return id;
}

void
id_pool_give(struct id_pool *p, uint32_t id)
{
	if (id != 0 && id < p->count)
		p->map[id / 64] &= ~BIT(id % 64);
}
