/*
 * The windows of one claim: what its queue entries may name, as an array that translators search
 * (xlate.h).
 *
 * The ledger is the truth; this is its published part, cut into runs that are contiguous for the
 * device and for the kernel, in the order of their addresses.  Changes are rare and move the
 * array's tail; look-ups are many and O(log n).  The array belongs to the caller, who also moves it
 * into a larger one.
 *
 * A grant that keeps its address (UNMAP_KEEP) keeps its place here, too, when it is one window:
 * such a window ends before it begins, so it holds nothing, by the same comparison that every
 * look-up makes.
 *
 * Locks: the claim's (device.obj.lock), over changes and over every use of the array.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/dma/xlate.h"

struct window_table {
	struct xlate_windows live;	/* what queues see */
	struct xlate_window *v;		/* the same array */
	uint32_t room;
};

/* An empty table in this array; or the windows that it has, moved into a larger one. */
void window_place(struct window_table *t, struct xlate_window *array, uint32_t room);

/*
 * One more window.
 *   E_NO_MEMORY   no room: window_place a larger array
 *   E_ALIGN       not whole pages
 *   E_INVALID     no direction, or it wraps
 *   E_EXISTS      overlaps another
 */
NODISCARD enum status window_add(struct window_table *t, const struct xlate_window *w);

/*
 * The one window of the grant, which begins at "first", holds nothing any more; *hint is where it
 * was, and becomes where it is.  False, and nothing changed: it has not just one.
 */
NODISCARD bool
window_close_far(struct window_table *t, const void *grant, uint64_t first, uint32_t *hint);
NODISCARD static ALWAYS_INLINE bool
window_close(struct window_table *t, const void *grant, uint64_t first, uint32_t *hint)
{
	uint32_t at = *hint, count = t->live.count;

	if (unlikely(at >= count) || unlikely(t->v[at].grant != grant) ||
	    unlikely(t->v[at].first != first) ||
	    unlikely(at + 1 < count && t->v[at + 1].grant == grant))
		return window_close_far(t, grant, first, hint);
	t->v[at].last = first - 1;
	return true;
}

/* The closed window of the grant is open from now on: [first, last] as whole pages of the driver's,
 * delta, cpu and dir as they are (xlate.h).  False, and nothing changed: there is none at the hint.
 */
NODISCARD static ALWAYS_INLINE bool
window_open(struct window_table *t, const void *grant, uint32_t hint, uint64_t first, uint64_t last,
    uint64_t delta, uint64_t cpu, uint32_t dir)
{
	struct xlate_window *v = &t->v[hint];

	if (unlikely(hint >= t->live.count) || unlikely(v->grant != grant) ||
	    unlikely(v->first != first) || unlikely(v->last != first - 1))
		return false;
	v->delta = delta;
	v->cpu = cpu;
	v->dir = dir;
	v->last = last;
	return true;
}

/* Takes every window of the grant, which begins at "first", out; returns how many there were. */
uint32_t window_remove(struct window_table *t, const void *grant, uint64_t first);
