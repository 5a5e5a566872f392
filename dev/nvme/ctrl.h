/*
 * An NVMe controller, from reset to I/O queues.  Uses dev/drv.h only.
 */
#pragma once

#include "dev/drv.h"
#include "dev/nvme/wire.h"

enum { NVME_NS_MAX = 16, NVME_IOQ_MAX = 8, NVME_DEPTH_MAX = 1024, NVME_LIST_ENTRIES = 512 };

struct nvme_ns { uint32_t nsid; uint64_t blocks; uint32_t block_bytes; };

struct nvme_slot { void *cookie; uint64_t deadline; bool busy; };

/*
 * A pair of queues.  Commands are slots: the command id is the slot's number, and each slot owns one page for a PRP list
 * (512 entries: 2 MiB), so that building a command allocates nothing.
 */
struct nvme_ioq {
	struct drv_queue q;
	struct nvme_sqe *sq;
	volatile struct nvme_cqe *cq;
	struct drv_memory lists;	/* a page a slot; admin: none */
	uint32_t entries;		/* of each ring, a power of two is not required */
	uint32_t tail, head;		/* sq tail to announce, cq head to read next */
	uint32_t announced, given;	/* as the device knows them */
	uint32_t phase;			/* CQE_PHASE or 0: what a fresh entry shows */
	uint32_t inflight;
	uint32_t free;			/* first free slot, UINT32_MAX none; chained through cookie */
	struct nvme_slot slot[NVME_DEPTH_MAX];
};

struct nvme_ctrl {
	struct drv_device *dev;
	struct drv_window regs;
	uint32_t dstrd, ready_ms;
	char model[41], serial[21], firmware[9];
	uint16_t version_major, version_minor;
	uint64_t max_transfer_bytes;
	bool volatile_cache, dead;
	uint32_t ns_count;
	struct nvme_ns ns[NVME_NS_MAX];
	uint32_t ioq_count, depth;
	struct nvme_ioq admin, ioq[NVME_IOQ_MAX];
	struct drv_memory page;		/* for identify */
};

enum nvme_op : uint8_t { NVME_OP_READ, NVME_OP_WRITE, NVME_OP_FLUSH };

struct nvme_done { void *cookie; enum status status; uint16_t sct_sc; };

/*
 * The whole bring-up.  *c is zeroed by the caller.  On failure *why is one clear sentence, and the controller is disabled as
 * far as it answers.  Blocks for at most the time-outs that the controller names.
 */
NODISCARD enum status nvme_ctrl_start(struct nvme_ctrl *c, struct drv_device *d, uint32_t want_queues,
    uint32_t want_depth, const char **why);
void nvme_ctrl_stop(struct nvme_ctrl *c);

/* The controller is gone (all ones) or reports a fatal status. */
bool nvme_ctrl_dead(struct nvme_ctrl *c);

/*
 * Puts one command into the ring; the device does not see it yet.  data: where the transfer begins, contiguous; bytes is a
 * multiple of the block size and at most max_transfer_bytes.  E_WOULD_BLOCK: full.  E_ALIGN: data is not dword aligned.
 */
NODISCARD enum status nvme_ioq_put(struct nvme_ioq *q, enum nvme_op op, uint32_t nsid, uint64_t lba, uint32_t blocks,
    struct iova data, uint64_t bytes, bool fua, void *cookie);

/* One announcement for all that was put and taken since the last. */
NODISCARD enum status nvme_ioq_ring(struct nvme_ioq *q);

/* Takes up to max completions.  A completion that names nothing outstanding is the device's fault: dropped, E_CORRUPT on none. */
uint32_t nvme_ioq_take(struct nvme_ioq *q, struct nvme_done *out, uint32_t max);

static inline uint32_t nvme_ioq_inflight(const struct nvme_ioq *q) { return q->inflight; }

/* "data transfer error", from status code type << 8 | status code. */
const char *nvme_status_text(uint16_t sct_sc);
