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

/* --- registers: a window onto BAR n of the first function ------------------ */

/* base is NULL where the kernel checks accesses: then each is a call, and one that is refused reads
 * all ones. */
struct drv_window { volatile uint8_t *base; uint64_t len; uint32_t handle; };
NODISCARD enum status drv_window(struct drv_device *d, unsigned bar, struct drv_window *out);
uint64_t drv_register(
    const struct drv_window *w, uint32_t offset, unsigned width, bool write, uint64_t value);

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
	uint32_t memory, buffer;	/* the surroundings' own handles */
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

/* Function-level reset: grants and vectors stay, the device is as after power-on. */
NODISCARD enum status drv_reset(struct drv_device *d, uint64_t deadline_ns);

void drv_log(const char *format, ...) PRINTF(1, 2);
