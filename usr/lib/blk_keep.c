/*
 * Writes that no flush covers yet: blk_keep.h, which also says what is not claimed.
 */
#include "usr/lib/blk_keep.h"
#include "kern/base/str.h"

void
keep_init(struct blk_keep *k, uint64_t base, uint64_t size)
{
	*k = (struct blk_keep){ .base = base, .size = size };
}

static struct kept_write *
numbered(struct blk_keep *k, uint32_t n)
{
	return &k->write[n % KEEP_WRITES];
}

/* Records that are not needed any more go from the front. */
static void
shrink(struct blk_keep *k)
{
	while (k->first != k->next && numbered(k, k->first)->dead)
		k->from = numbered(k, k->first++)->end;
	if (k->first == k->next)
		k->from = k->to = 0;
}

/* Where a copy would begin; UINT64_MAX: there is no room. */
static uint64_t
place(const struct blk_keep *k, uint32_t bytes)
{
	uint64_t begin = k->to, left;

	if (bytes > k->size || k->next - k->first == KEEP_WRITES)
		return UINT64_MAX;
	left = k->size - begin % k->size;
	if (bytes > left)
		begin += left;
	return begin + bytes - k->from > k->size ? UINT64_MAX : begin;
}

bool
keep_has_room(const struct blk_keep *k, uint32_t bytes)
{
	return place(k, bytes) != UINT64_MAX;
}

uint32_t
keep_put(struct blk_keep *k, uint64_t at, uint32_t bytes)
{
	uint64_t begin = place(k, bytes);

	if (begin == UINT64_MAX)
		return KEEP_NONE;
	*numbered(k, k->next) = (struct kept_write){
		.at = at, .data = k->base + begin % k->size, .end = begin + bytes, .bytes = bytes
	};
	k->to = begin + bytes;
	k->unanswered++;
	return k->next++ % KEEP_WRITES;
}

bool
keep_answered(struct blk_keep *k, uint32_t index, bool good, bool durable, uint32_t answer)
{
	struct kept_write *w = &k->write[index];

	k->unanswered--;
	w->answered = ++k->clock;
	w->answer = answer;
	w->dead = !good || durable;
	if (!w->dead)
		return true;
	shrink(k);
	return false;
}

/* What a durable write of at .. end - 1 leaves of an older one. */
static void
cut(struct kept_write *w, uint64_t at, uint64_t end, uint8_t *data, const uint8_t *from)
{
	uint64_t w_end = w->at + w->bytes;

	if (at >= w_end || end <= w->at)
		return;
	if (at <= w->at && end >= w_end) {
		w->dead = true;
	} else if (at <= w->at) {
		w->data += end - w->at;
		w->bytes = (uint32_t)(w_end - end);
		w->at = end;
	} else if (end >= w_end) {
		w->bytes = (uint32_t)(at - w->at);
	} else {
		memcpy(data + w->data + (at - w->at), from, end - at);
	}
}

void
keep_cover(struct blk_keep *k, uint32_t index, uint64_t at, uint32_t bytes, uint8_t *data,
    const uint8_t *from)
{
	for (uint32_t n = k->first; n != k->next && numbered(k, n) != &k->write[index]; n++) {
		struct kept_write *w = numbered(k, n);

		if (w->answered != 0 && !w->dead)
			cut(w, at, at + bytes, data, from);
	}
}

void
keep_flushed(struct blk_keep *k, uint64_t mark)
{
	for (uint32_t n = k->first; n != k->next; n++) {
		struct kept_write *w = numbered(k, n);

		if (w->answered != 0 && w->answered <= mark)
			w->dead = true;
	}
	shrink(k);
}

void
keep_successor(struct blk_keep *k, uint32_t durable)
{
	for (uint32_t n = k->first; n != k->next; n++) {
		struct kept_write *w = numbered(k, n);

		if (w->answered == 0)
			continue;
		if (!w->earlier && (int32_t)(durable - w->answer) > 0)
			w->dead = true;
		w->earlier = true;
	}
	shrink(k);
}

void
keep_drop(struct blk_keep *k, uint32_t index)
{
	k->write[index].dead = true;
	shrink(k);
}

uint32_t
keep_next(const struct blk_keep *k, uint32_t *n)
{
	while (*n != k->next) {
		uint32_t index = (*n)++ % KEEP_WRITES;

		if (k->write[index].answered != 0 && !k->write[index].dead)
			return index;
	}
	return KEEP_NONE;
}
