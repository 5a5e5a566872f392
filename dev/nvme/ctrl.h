/*
 * An NVMe controller, from reset to I/O queues and through trouble.  Uses dev/drv.h only.
 *
 * Not thread safe: one thread drives a controller with all its queues.
 */
#pragma once

#include "dev/drv.h"
#include "dev/nvme/prp.h"
#include "dev/nvme/wire.h"

enum { NVME_NS_MAX = 64, NVME_IOQ_MAX = 8, NVME_DEPTH_MAX = 1024, NVME_ZERO_BLOCKS = 65536 };
enum : uint64_t { NVME_TRANSFER_MAX = 32 * MIB }; /* what the PRP pool can describe several times */

struct nvme_ns { uint32_t nsid; uint64_t blocks; uint32_t block_bytes; bool read_only; };

enum nvme_slot_state : uint8_t { SLOT_FREE, SLOT_BUSY, SLOT_ABORTED };

/* since: nvme_ioq.now when it was put. */
struct nvme_slot { void *cookie; uint32_t since; uint16_t list; enum nvme_slot_state state; };

/*
 * A pair of queues.  A command's id is the number of its slot; with one slot fewer than the ring
 * has entries it never overruns.  Nothing is allocated on the way.
 */
struct nvme_ioq {
	struct drv_queue q;
	struct nvme_sqe *sq;
	volatile struct nvme_cqe *cq;
	uint32_t id, vector;		/* vector: UINT32_MAX for none */
	uint32_t entries;		/* of each ring; any number of 2 or more */
	uint32_t tail, head;		/* sq entry to fill next, cq entry to read next */
	uint32_t announced;		/* tail as the device knows it */
	uint32_t taken;			/* completions that the device does not know to be taken */
	uint32_t phase;			/* CQE_PHASE or 0: what a fresh entry shows */
	uint32_t now;			/* the caller's clock for time-outs, in its own unit */
	uint32_t result;		/* dword 0 of the last completion: admin commands */
	const char
	    *fault; /* not NULL: the device broke the rules, no completion is believed any more */
	struct prp_pool lists;
	struct drv_memory list_memory;
	uint32_t free_count;
	uint16_t free[NVME_DEPTH_MAX];
	struct nvme_slot slot[NVME_DEPTH_MAX];
};

struct nvme_ctrl {
	struct drv_device *dev;
	struct drv_window regs;
	uint64_t cap;
	uint32_t dstrd, ready_ms;
	char model[41], serial[21], firmware[9];
	uint16_t version_major, version_minor;
	uint64_t max_transfer_bytes;
	bool volatile_cache, discards, zeroes;
	bool polled;			/* no vector: somebody has to look */
	uint32_t resets;
	uint32_t ns_count;
	struct nvme_ns ns[NVME_NS_MAX];
	uint32_t ioq_count, depth;
	struct nvme_ioq ioq[NVME_IOQ_MAX], admin;
	struct drv_memory page;		/* for identify */
};

enum nvme_op : uint8_t {
	NVME_OP_READ,
	NVME_OP_WRITE,
	NVME_OP_FLUSH,
	NVME_OP_DISCARD,
	NVME_OP_ZERO	/* of at most NVME_ZERO_BLOCKS */
};

/* One command.  data: where the transfer begins, contiguous; bytes: blocks times the block size. */
struct nvme_io {
	uint64_t lba, bytes;
	struct iova data;
	uint32_t nsid, blocks;
	enum nvme_op op;
	bool fua;
	void *cookie;
};

struct nvme_done { void *cookie; enum status status; uint16_t sct_sc; };

/*
 * The whole bring-up.  *c is zeroed by the caller.  On failure *why is one clear sentence, and the
 * controller is disabled as far as it answers.  Blocks for at most the time-outs that the
 * controller names.
 */
NODISCARD enum status nvme_ctrl_start(struct nvme_ctrl *c, struct drv_device *d,
    uint32_t want_queues, uint32_t want_depth, const char **why);
/* Orderly shutdown: what it has cached is on its medium when this returns OK. */
NODISCARD enum status nvme_ctrl_stop(struct nvme_ctrl *c);

/*
 * A controller reset and the same queues again, empty: the caller puts again what was in flight.
 * E_CORRUPT: it is not the same controller any more (namespaces, transfer size); other failures as
 * nvme_ctrl_start.
 */
NODISCARD enum status nvme_ctrl_restart(struct nvme_ctrl *c, const char **why);

/* NULL while it works; else what is wrong: registers read all ones, a fatal status, a queue whose
 * completions lie. */
const char *nvme_ctrl_trouble(struct nvme_ctrl *c);

/* Asks the controller to abort the command in a slot.  OK means that it was asked and answered, not
 * that it complied. */
NODISCARD enum status nvme_ctrl_abort(struct nvme_ctrl *c, struct nvme_ioq *q, uint32_t slot);

/*
 * Puts one command into the ring; the device does not see it yet.  E_WOULD_BLOCK: no slot or no PRP
 * list left.  E_ALIGN: data is not dword aligned.  E_RANGE: too much to be zeroed.
 */
NODISCARD enum status nvme_ioq_put(struct nvme_ioq *q, const struct nvme_io *io);

/* One announcement for all that was put since the last; completions are given back in larger lots.
 */
NODISCARD enum status nvme_ioq_ring(struct nvme_ioq *q);
/* The same, with every completion that was taken. */
NODISCARD enum status nvme_ioq_settle(struct nvme_ioq *q);

/* There is a completion to take, or a fault to see: cheap to ask. */
static inline bool
nvme_ioq_ready(const struct nvme_ioq *q)
{
	return (q->cq[q->head].status & CQE_PHASE) == q->phase && q->fault == NULL;
}

/* Takes up to max completions.  One that names nothing outstanding is the device's fault: q->fault
 * says so, and none is taken. */
uint32_t nvme_ioq_take(struct nvme_ioq *q, struct nvme_done *out, uint32_t max);

static inline uint32_t
nvme_ioq_inflight(const struct nvme_ioq *q)
{
	return q->entries - 1 - q->free_count;
}

/* "data transfer error", from status code type << 8 | status code. */
const char *nvme_status_text(uint16_t sct_sc);
