/*
 * A split virtqueue as a driver uses it: chains of buffers in, used chains out.
 *
 * Nothing that the device says is believed before it is judged: how far the used ring goes, which
 * chain it names, how much was written.  What cannot be is the device's fault: q->fault says so,
 * and nothing more is taken until the device was reset.
 */
#pragma once

#include "dev/drv.h"

enum { VIRTQ_MAX = 256 };

struct virtq_part { struct iova at; uint32_t bytes; };

/* By head.  parts 0: not with the device. */
struct virtq_slot { uint64_t cookie; uint32_t writable; uint16_t parts; };

struct virtq {
	struct drv_vring ring;
	struct virtq_desc *desc;
	volatile uint16_t *avail;	/* flags, idx, then heads */
	const volatile uint16_t *used;
	uint16_t index, entries;	/* entries 0: it was never made */
	uint16_t avail_idx, used_idx;	/* next to write, next to read */
	uint16_t seen;			/* used_idx of the device, as of the last look */
	uint16_t free, free_count;	/* descriptors, a list through next */
	uint16_t outstanding;		/* chains */
	bool dirty;			/* something to commit */
	bool event_index;
	const char *fault;
	uint16_t next[VIRTQ_MAX];
	struct virtq_slot slot[VIRTQ_MAX];
};

/* On a ring that was just made, or made as new. */
void virtq_init(struct virtq *q, bool event_index);

/*
 * A chain of parts, the first of which the device reads, the others it writes.  The device does not
 * see it before virtq_commit.  *head tells where: below entries, and no other chain's until this
 * one was taken.  E_WOULD_BLOCK: not enough descriptors are free; E_INVALID: no parts, or one is
 * empty.
 */
NODISCARD enum status virtq_put(struct virtq *q, const struct virtq_part *parts, unsigned readable,
    unsigned writable, uint64_t cookie, uint16_t *head);

/* How many chains the device has given back; as many can be taken, whatever it says then.  Asked
 * before drv_faults is, and that before they are taken. */
uint16_t virtq_look(struct virtq *q);

struct virtq_done { uint64_t cookie; uint32_t bytes; uint16_t head; };
/* The next of those that the last look saw.  bytes: that the device wrote, never more than it may.
 * False: none, or a fault. */
bool virtq_take(struct virtq *q, struct virtq_done *out);

/* The next interrupt: after so many more used chains.  Counts from the next commit on. */
void virtq_arm(struct virtq *q, uint16_t after);
/* Shows the device everything that was put, gives everything back that was taken, and arms. */
NODISCARD enum status virtq_commit(struct virtq *q);
