/*
 * The windows of one claim: what its queue entries may name, as an array that translators search
 * (xlate.h).
 *
 * The ledger is the truth; this is its published part, cut into runs that are contiguous for the
 * device and for the kernel, in the order of their addresses.  Changes are rare and move the
 * array's tail; look-ups are many and O(log n).  The array belongs to the caller, who also moves it
 * into a larger one.
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

/* Takes every window of the grant, which begins at "first", out; returns how many there were. */
uint32_t window_remove(struct window_table *t, const void *grant, uint64_t first);
