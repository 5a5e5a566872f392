/*
 * What a virtio device touches for one entry of the available ring of a split queue, written from
 * the manual [VIRTIO 1.2, 2.7] and not from our translator.  For tests, fuzzer and model checker,
 * who supply the device's view of memory:
 *
 *   reach_desc    a descriptor of a table, at an address of the device's
 *   reach_touch   the device reads, or writes, len bytes
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reach_desc { uint64_t addr; uint32_t len; uint16_t flags, next; };

void reach_desc(uint64_t table, uint32_t n, struct reach_desc *out);
void reach_touch(uint64_t at, uint64_t len, bool write);

enum { REACH_NEXT = 1, REACH_WRITE = 2, REACH_INDIRECT = 4 };

/* All buffers of the chain that begins at place "head" of a table of "size".  indirect: the feature
 * was agreed upon.  -1: what the manual forbids drivers; else how many bytes the device may write.
 */
static inline int64_t
reach_chain(uint64_t table, uint32_t size, uint32_t head, bool indirect)
{
	uint32_t at = head, steps = 0;
	bool writing = false, inner = false;
	int64_t written = 0;

	for (;;) {
		struct reach_desc d;

		if (at >= size || steps++ == size)
			return -1;	/* out of the table; a loop [2.7.5.3.1] */
		reach_desc(table, at, &d);
		if ((d.flags & REACH_INDIRECT) != 0) {
			/* One table, alone; not in a table, and not without the feature. */
			if (inner || !indirect || (d.flags & (REACH_NEXT | REACH_WRITE)) != 0 ||
			    d.len == 0 || d.len % 16 != 0 || steps != 1)
				return -1;
			table = d.addr;
			size = d.len / 16;
			at = steps = 0;
			inner = true;
			continue;
		}
		if ((d.flags & ~(REACH_NEXT | REACH_WRITE)) != 0 || d.len == 0)
			return -1;
		if ((d.flags & REACH_WRITE) != 0) {
			writing = true;
			written += d.len;
		} else if (writing) {
			return -1;	/* what is read comes first [2.7.4.2] */
		}
		reach_touch(d.addr, d.len, (d.flags & REACH_WRITE) != 0);
		if ((d.flags & REACH_NEXT) == 0)
			return written;
		at = d.next;
	}
}
