/*
 * What a driver may ask of its surroundings.
 *
 * A driver is written against this header only; usr/lib/drv.c implements it on capabilities,
 * tests/lib/fake_drv.c on the host.  It never sees a physical address, and never learns which lane
 * it runs on: it writes IOVAs of its own domain everywhere, and announces new queue entries by
 * drv_queue_commit, which is a register store where doorbells are mapped, and a call where the
 * kernel mediates or translates.
 *
 * Errors are enum status.  Not thread safe for one device, but for queues: each has one user.
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/abi/status.h"
#include "kern/base/mmio.h"
#include "kern/base/types.h"

struct drv_device;		/* one claimed group; made by the surroundings */

/* --- configuration space of the first function ------------------------------ */

/* As the kernel shows it, to be read only: no addresses, and 0 for what it does not know.  Width 1,
 * 2 or 4, aligned; all ones where the offset is not. */
uint32_t drv_config(struct drv_device *d, uint32_t offset, unsigned width);

/* --- registers: a window onto BAR n of the first function ------------------ */

/* base is NULL where the kernel checks accesses: then each is a call, and one that is refused reads
 * all ones.  Width 1, 2, 4 or 8. */
struct drv_window { volatile uint8_t *base; uint64_t len; uint32_t handle; };
NODISCARD enum status drv_window(struct drv_device *d, unsigned bar, struct drv_window *out);
uint64_t drv_register(
    const struct drv_window *w, uint32_t offset, unsigned width, bool write, uint64_t value);

static inline uint8_t
drv_read8(const struct drv_window *w, uint32_t r)
{
	return w->base != NULL ? mmio_read8(w->base + r) :
				 (uint8_t)drv_register(w, r, 1, false, 0);
}

static inline uint16_t
drv_read16(const struct drv_window *w, uint32_t r)
{
	return w->base != NULL ? mmio_read16(w->base + r) :
				 (uint16_t)drv_register(w, r, 2, false, 0);
}

static inline uint32_t
drv_read32(const struct drv_window *w, uint32_t r)
{
	return w->base != NULL ? mmio_read32(w->base + r) :
				 (uint32_t)drv_register(w, r, 4, false, 0);
}

static inline uint64_t
drv_read64(const struct drv_window *w, uint32_t r)
{
	return w->base != NULL ? mmio_read64(w->base + r) : drv_register(w, r, 8, false, 0);
}

static inline void
drv_write8(const struct drv_window *w, uint32_t r, uint8_t v)
{
	if (w->base != NULL)
		mmio_write8(w->base + r, v);
	else
		(void)drv_register(w, r, 1, true, v);
}

static inline void
drv_write16(const struct drv_window *w, uint32_t r, uint16_t v)
{
	if (w->base != NULL)
		mmio_write16(w->base + r, v);
	else
		(void)drv_register(w, r, 2, true, v);
}

static inline void
drv_write32(const struct drv_window *w, uint32_t r, uint32_t v)
{
	if (w->base != NULL)
		mmio_write32(w->base + r, v);
	else
		(void)drv_register(w, r, 4, true, v);
}

static inline void
drv_write64(const struct drv_window *w, uint32_t r, uint64_t v)
{
	if (w->base != NULL)
		mmio_write64(w->base + r, v);
	else
		(void)drv_register(w, r, 8, true, v);
}

/* --- memory that the device can reach --------------------------------------- */

struct drv_memory {
	void *ptr;		/* mapped here, zeroed */
	struct iova iova;
	uint64_t len;		/* whole pages */
	uint32_t memory;	/* the surroundings' own: a handle, and a grant */
	uint64_t buffer;
};

/* Fresh pages of the driver's own, granted to the device.  E_NO_MEMORY, E_QUOTA. */
NODISCARD enum status
drv_memory(struct drv_device *d, uint64_t len_bytes, enum dma_dir dir, struct drv_memory *out);
void drv_memory_free(struct drv_device *d, struct drv_memory *m);

/* A client's memory object (a handle of this process), granted as a whole, mapped here as well when
 * ptr is wanted. */
NODISCARD enum status drv_grant(struct drv_device *d, uint32_t memory, uint64_t len_bytes,
    enum dma_dir dir, bool map, struct drv_memory *out);
/* Returns when the device can no longer reach it. */
NODISCARD enum status drv_revoke(struct drv_device *d, struct drv_memory *m);

/*
 * For who maps for each request: takes the memory away, keeps the grant and its address; then other
 * memory of the same length, from a byte offset on, at that address.  Each returns when it is in
 * force.  E_BUSY: accepted queue entries name it; E_RANGE, and what drv_grant says.  No mapping of
 * the driver's own is touched: m->ptr stays what it was.
 */
NODISCARD enum status drv_unmap_keep(struct drv_device *d, struct drv_memory *m);
NODISCARD enum status drv_map_again(struct drv_device *d, struct drv_memory *m, uint32_t memory,
    uint64_t offset, enum dma_dir dir);

/* --- queues ------------------------------------------------------------------ */

/*
 * A pair of a submission and a completion ring whose doorbells the surroundings guard.  The driver
 * lays its entries out in sq.ptr and reads cq.ptr.  doorbell_*: register offsets in window 0 for
 * lanes where the driver may store there itself.
 */
struct drv_queue {
	struct drv_memory sq, cq;
	volatile uint32_t *sq_doorbell, *cq_doorbell;	/* where the driver rings */
	uint32_t handle;
	bool checked;			/* the kernel rings, when it has checked the entries */
};
NODISCARD enum status drv_queue(struct drv_device *d, uint32_t id, uint32_t entries,
    uint32_t sq_entry_bytes, uint32_t cq_entry_bytes, uint64_t sq_doorbell_offset,
    uint64_t cq_doorbell_offset, struct drv_queue *out);
void drv_queue_free(struct drv_device *d, struct drv_queue *q);
/*
 * The longest transfer whose addresses one entry may carry: where the kernel checks entries, lists
 * of addresses are one page.  UINT64_MAX: no limit.
 */
uint64_t drv_transfer_max(const struct drv_device *d);
/* The device was reset and knows nothing of the pair: both rings are as new. */
void drv_queue_reset(struct drv_queue *q);

/*
 * Publishes entries up to sq_tail and gives completions up to cq_head back; UINT32_MAX leaves one
 * alone.  Where the kernel checks, an entry's id is free only when its completion was given back.
 * E_REFUSED: the kernel did not publish the batch, the log says which entry and why.
 */
NODISCARD enum status drv_queue_commit(struct drv_queue *q, uint32_t sq_tail, uint32_t cq_head);

/*
 * A split virtqueue [VIRTIO 1.2, 2.7] whose notify register the surroundings guard.  The driver
 * writes driver.ptr: the table of descriptors (16 bytes each), and at avail_at the available ring.
 * It reads device.ptr: the used ring, which it cannot write where the kernel checks.  The rings'
 * addresses for the registers queue_desc, queue_driver and queue_device are driver.iova,
 * driver.iova + avail_at and device.iova; where the kernel checks they are names.
 */
struct drv_vring {
	struct drv_memory driver, device;
	uint32_t avail_at;		/* in driver */
	uint16_t index, entries;
	/* Set by the driver when VIRTIO_F_EVENT_IDX was agreed upon, before the first commit. */
	bool event_index;
	bool checked;			/* the kernel notifies, when it has checked the entries */
	volatile uint16_t *notify;	/* where the surroundings notify */
	uint16_t shown;			/* avail->idx as the device knows it */
	uint32_t handle;
};
/*
 * index: as the device numbers its queues; entries: a power of two, not above what the register
 * queue_size says.  notify: byte offset in BAR notify_bar, for lanes where the driver may store
 * there itself; that BAR's window is open.  The queue's registers are the driver's to write
 * afterwards.  E_INVALID, E_RANGE, E_EXISTS: that index has one; E_NO_MEMORY, E_QUOTA.
 */
NODISCARD enum status drv_vring(struct drv_device *d, uint16_t index, uint16_t entries,
    unsigned notify_bar, uint64_t notify, struct drv_vring *out);
void drv_vring_free(struct drv_device *d, struct drv_vring *q);
/* The device was reset and knows nothing of the queue: rings and indices are as new, all 0. */
void drv_vring_reset(struct drv_vring *q);
/* What one chain may take, where the kernel checks: see drv_vring_commit. */
enum { DRV_VRING_PIECES = 64 };
/*
 * Publishes available entries up to avail_idx, notifies the device if it asked for that, and gives
 * used entries up to used_idx back; both run freely through 16 bits, and UINT32_MAX leaves one
 * alone.  The driver writes ring slots, avail->flags and used_event; avail->idx is written here.
 * Flags and used_event count from the next commit on, with whatever it brings: so look at used->idx
 * once more after it, before sleeping.
 *
 * Where the kernel checks, the device runs (DRIVER_OK) before the first commit (E_STATE), and a
 * head is free only when its used entry was given back.  A chain has at most DRV_VRING_PIECES
 * descriptors there, or runs of memory that is contiguous for the device: a page is always one.  An
 * indirect descriptor stands alone, and its table, aligned to 16 bytes, lies in one page.
 * E_REFUSED: the kernel did not publish the batch, the log says which entry and why.  E_CORRUPT:
 * the device broke the rules, reset it.
 */
NODISCARD enum status drv_vring_commit(struct drv_vring *q, uint32_t avail_idx, uint32_t used_idx);

/* --- interrupts, time, faults ---------------------------------------------------- */

/* Vectors that the device has. */
uint32_t drv_vectors(struct drv_device *d);
/* Vector n sets these bits of the driver's notification.  E_BUSY: it sets others already. */
NODISCARD enum status drv_vector(struct drv_device *d, uint32_t n, uint64_t bits);

/* Sleeps until one of the driver's notification bits, or the deadline (0 bits).  The surroundings
 * keep the bits for their own use. */
uint64_t drv_wait(struct drv_device *d, uint64_t deadline_ns);
uint64_t drv_now(void);

/*
 * Faults of this device since it was claimed, those included that it made for completions which the
 * driver has read already.  Asked before a batch of completions is believed: a device may report
 * success for an access that was refused, and when the number moved nothing that was in flight is
 * to be believed (D11).  UINT64_MAX: the device was taken away.
 */
uint64_t drv_faults(struct drv_device *d);
/*
 * How many of them are times that records were lost, of this device or of another behind the same
 * IOMMU; asked after drv_faults, it is not less than what that number holds.  When only these
 * became more, a command that can be done twice may be put again: its answer is believed when the
 * number stays.
 */
uint32_t drv_faults_lost(const struct drv_device *d);

/* Function-level reset: grants and vectors stay, the device is as after power-on. */
NODISCARD enum status drv_reset(struct drv_device *d, uint64_t deadline_ns);

void drv_log(const char *format, ...) PRINTF(1, 2);
