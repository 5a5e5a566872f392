/*
 * A virtio block device: queues of requests.  Uses dev/drv.h only.
 *
 * Not thread safe: one thread drives a device with all its queues.
 */
#pragma once

#include "dev/virtio/pci.h"
#include "dev/virtio/wire.h"

enum { VBLK_QUEUES = 8 };
enum : uint64_t {
	VBLK_TRANSFER_MAX = MIB,
	VBLK_TRANSFER_CHECKED = 128 * KIB, /* where the kernel cuts a chain into pieces of a page */
};

enum vblk_op : uint8_t { VBLK_READ, VBLK_WRITE, VBLK_FLUSH, VBLK_DISCARD, VBLK_ZERO };

/* One request.  at, bytes: of the disk, multiples of the block size; data: where the transfer
 * begins, contiguous (read and write only). */
struct vblk_io { enum vblk_op op; uint64_t at; uint32_t bytes; struct iova data; };

struct vblk_queue {
	struct virtq q;
	/* By the head of a chain: what a request says, the range of a discard; and what the device
	 * answers. */
	struct drv_memory headers, ranges, answers;
	uint32_t vector;		/* UINT32_MAX: none */
};

struct virtio_blk {
	struct virtio_pci pci;
	uint64_t bytes;
	uint32_t block_bytes;
	bool read_only, volatile_cache, discards, zeroes, polled;
	uint32_t discard_max, zero_max;	/* bytes of one request */
	uint32_t size_max, seg_max;	/* bytes and number of data descriptors */
	uint64_t max_transfer_bytes;
	char serial[BLK_ID_BYTES + 1];
	uint32_t queue_count, config_vector;
	struct vblk_queue queue[VBLK_QUEUES];
};

/*
 * The whole bring-up, with at most want_queues of queues.  *b is zeroed by the caller.  Vector k
 * sets bit k of the driver's notification.  On failure *why is one clear sentence, and the device
 * is reset as far as it answers.  Blocks at most some seconds.
 */
NODISCARD enum status vblk_start(
    struct virtio_blk *b, struct drv_device *d, uint32_t want_queues, const char **why);
/* A reset and the same queues again, empty.  E_CORRUPT: it is not the same device any more. */
NODISCARD enum status vblk_restart(struct virtio_blk *b, const char **why);

/* NULL while it works; else what is wrong: to be asked now and then, it reads a register. */
const char *vblk_trouble(struct virtio_blk *b);
/* The same from memory: a queue whose device broke the rules. */
const char *vblk_fault(const struct virtio_blk *b);
/* The size may have changed.  A disk never shrinks below what it was: E_CORRUPT. */
NODISCARD enum status vblk_config(struct virtio_blk *b);

/* E_WOULD_BLOCK: no room.  E_UNSUPPORTED: not an operation of this device.  E_RANGE: more than one
 * request may have. */
NODISCARD enum status vblk_put(
    struct virtio_blk *b, struct vblk_queue *q, const struct vblk_io *io, uint64_t cookie);

struct vblk_done { uint64_t cookie; enum status status; uint8_t answer; };
/* Of what virtq_look(&q->q) saw.  False: none, or a fault. */
bool vblk_take(struct vblk_queue *q, struct vblk_done *out);
