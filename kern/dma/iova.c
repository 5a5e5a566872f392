/*
 * The allocator of device addresses.
 *
 * One tree (kern/base/itree.c) holds every address that must not be given out: live ranges,
 * cooling ranges, exclusions.  What lies between is free, so free space has no records, and
 * joins by itself.
 *
 *     first                                                                  last
 *     |  live  |free|cooling|live|      free       |excluded|     free        |
 *
 * A range that comes back changes hands inside the tree: a record of the cooling ring takes the
 * place of the owner's (itree_replace), which may then go away.  The ring is the queue: its oldest
 * record leaves the tree when the ring is full, and with it the address becomes free.  So the
 * memory that waiting costs is fixed, and an address rests for cool_max - 1 later returns at least.
 *
 * Cost: one search in the tree for a hole, one insertion; one removal for each return.  Where
 * ranges of one length come and go, neither: the address that has rested longest goes to the next
 * one in its place of the tree.
 *
 * Pure: no allocation, no locks, no time.  Proved for small spaces in tests/proof/iova.c.
 */
#include "kern/dma/iova.h"
#include "kern/base/bits.h"
#include "kern/panic.h"

enum status
iova_init(struct iova_space *s, uint64_t base, uint64_t limit, uint64_t granule, uint64_t bytes_max,
    void *cool, size_t cool_bytes)
{
	if (!is_pow2(granule) || granule < PAGE_SIZE)
		return E_ALIGN;
	if (base > UINT64_MAX - (granule - 1))
		return E_RANGE;
	base = align_up(base, granule);
	limit = align_down(limit, granule);
	if (base >= limit)
		return E_RANGE;
	*s = (struct iova_space){
		.first = base, .last = limit - 1, .granule = granule, .bytes_max = bytes_max,
		.cool = cool, .cool_max = (uint32_t)(cool_bytes / sizeof(struct iova_range)),
	};
	for (uint32_t i = 0; i < s->cool_max; i++)
		s->cool[i] = (struct iova_range){ .kind = IOVA_NONE };
	return OK;
}

/* The address that has cooled longest is free. */
static void
cool_pop(struct iova_space *s)
{
	struct iova_range *r = &s->cool[s->cool_oldest];

	KASSERT(s->cool_count > 0 && r->kind == IOVA_COOLING);
	s->cooling_bytes -= iova_len(r);
	itree_remove(&s->tree, &r->node);
	r->kind = IOVA_NONE;
	s->cool_oldest = s->cool_oldest + 1 == s->cool_max ? 0 : s->cool_oldest + 1;
	s->cool_count--;
}

enum status
iova_exclude(struct iova_space *s, uint64_t base, uint64_t len)
{
	uint64_t last;
	struct itree_node *n;
	struct iova_range *r;

	if (len == 0 || base > UINT64_MAX - (len - 1))
		return E_RANGE;
	last = (base + (len - 1)) | (s->granule - 1);
	base = align_down(base, s->granule);
	for (n = itree_above(&s->tree, base); n != NULL && n->base <= last; n = itree_next(n))
		if (((struct iova_range *)n)->kind != IOVA_EXCLUDED)
			return E_EXISTS;
	if (s->excludes == IOVA_EXCLUDE_MAX) {
		/* It may still melt into one that is there. */
		n = itree_above(&s->tree, base);
		if (n == NULL || n->base > last)
			return E_NO_MEMORY;
	}
	/* What it overlaps becomes part of it; the last record fills the place that becomes empty.
	 */
	while ((n = itree_above(&s->tree, base)) != NULL && n->base <= last) {
		uint64_t from = n->base, to = n->last;
		struct iova_range *end = &s->exclude[s->excludes - 1];

		r = (struct iova_range *)n;
		itree_remove(&s->tree, n);
		if (r != end)
			itree_replace(&s->tree, &end->node, &r->node);
		end->kind = IOVA_NONE;
		s->excludes--;
		base = min_u64(base, from);
		last = max_u64(last, to);
	}
	r = &s->exclude[s->excludes++];
	*r = (struct iova_range){ .node = { .base = base, .last = last }, .kind = IOVA_EXCLUDED };
	if (!itree_insert(&s->tree, &r->node))
		KASSERT(!"exclusions overlap");
	return OK;
}

/* Bytes that a range of len takes; 0 when none can have it. */
static uint64_t
rounded(const struct iova_space *s, uint64_t len)
{
	uint64_t size = s->last - s->first + 1;		/* not 0: limit - 1 is not UINT64_MAX */

	return len == 0 || len > size ? 0 : align_up(len, s->granule);
}

/* Everything that is out counts, and what cools too: it is as little use to others. */
static bool
over_quota(struct iova_space *s, uint64_t len)
{
	if (len > s->bytes_max || s->live_bytes > s->bytes_max - len)
		return true;
	while (s->cooling_bytes != 0 && s->cooling_bytes > s->bytes_max - len - s->live_bytes) {
		cool_pop(s);
		s->early++;
	}
	return false;
}

static void
give(struct iova_space *s, struct iova_range *r, uint64_t at, uint64_t len)
{
	*r = (struct iova_range){ .node = { .base = at, .last = at + (len - 1) },
		.kind = IOVA_LIVE };
	if (!itree_insert(&s->tree, &r->node))
		KASSERT(!"a hole was none");
	s->live++;
	s->live_bytes += len;
}

/*
 * The oldest address of a full ring would be the next to leave it: all others came back after it.
 * Of the right length it changes hands without leaving the tree.
 */
static bool
take_rested(struct iova_space *s, uint64_t len, uint64_t align, struct iova_range *r)
{
	struct iova_range *c;

	if (s->cool_count != s->cool_max || s->cool_max < 2)
		return false;
	c = &s->cool[s->cool_oldest];
	if (iova_len(c) != len || !is_aligned(c->node.base, align))
		return false;
	itree_replace(&s->tree, &c->node, &r->node);
	r->kind = IOVA_LIVE;
	c->kind = IOVA_NONE;
	s->cool_oldest = s->cool_oldest + 1 == s->cool_max ? 0 : s->cool_oldest + 1;
	s->cool_count--;
	s->cooling_bytes -= len;
	s->live++;
	s->live_bytes += len;
	return true;
}

enum status
iova_alloc(struct iova_space *s, uint64_t len, struct iova_range *r)
{
	uint64_t at, align;

	len = rounded(s, len);
	if (len == 0)
		return E_RANGE;
	if (over_quota(s, len))
		return E_QUOTA;
	align = len >= IOVA_ALIGN_MAX ? IOVA_ALIGN_MAX : 1ull << log2_ceil(len);
	align = max_u64(align, s->granule);
	if (take_rested(s, len, align, r))
		return OK;
	while (!itree_gap(&s->tree, s->first, s->last, len, align, &at)) {
		if (s->cool_count == 0)
			return E_NO_MEMORY;
		cool_pop(s);
		s->early++;
	}
	give(s, r, at, len);
	return OK;
}

enum status
iova_alloc_at(struct iova_space *s, struct iova at, uint64_t len, struct iova_range *r)
{
	const struct itree_node *n;

	if (!is_aligned(at.v, s->granule))
		return E_ALIGN;
	len = rounded(s, len);
	if (len == 0 || !range_within(at.v, len, s->first, s->last - s->first + 1))
		return E_RANGE;
	if (over_quota(s, len))
		return E_QUOTA;
	n = itree_above(&s->tree, at.v);
	if (n != NULL && n->base <= at.v + (len - 1))
		return E_EXISTS;
	give(s, r, at.v, len);
	return OK;
}

void
iova_free(struct iova_space *s, struct iova_range *r)
{
	uint64_t len = iova_len(r);
	uint32_t i;

	KASSERT(r->kind == IOVA_LIVE);
	s->live--;
	s->live_bytes -= len;
	if (s->cool_max == 0) {
		itree_remove(&s->tree, &r->node);
	} else {
		if (s->cool_count == s->cool_max)
			cool_pop(s);
		i = s->cool_oldest + s->cool_count;
		i = i >= s->cool_max ? i - s->cool_max : i;
		itree_replace(&s->tree, &r->node, &s->cool[i].node);
		s->cool[i].kind = IOVA_COOLING;
		s->cool_count++;
		s->cooling_bytes += len;
	}
	r->kind = IOVA_NONE;
}

struct iova_range *
iova_next(const struct iova_space *s, struct iova at)
{
	struct itree_node *n = itree_above(&s->tree, at.v);

	while (n != NULL && ((struct iova_range *)n)->kind != IOVA_LIVE)
		n = itree_next(n);
	return (struct iova_range *)n;
}
