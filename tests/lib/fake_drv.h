/*
 * dev/drv.h on the host: memory with IOVAs, time that stands still until somebody waits, doorbells
 * that reach a model.
 *
 * A model fills the hooks in.  "step" is called whenever the driver looks at the clock or waits: a
 * device that polls its registers then sees what was written.  Device memory is reached through
 * fake_drv_at only, which knows what was granted.
 *
 * With "access" registers are calls into the model, as where the kernel checks them; BARs are
 * told apart then.
 */
#pragma once

#include "dev/drv.h"

enum { FAKE_BUFFERS = 64 };

struct fake_buffer { uint64_t iova, len; uint8_t *ptr; enum dma_dir dir; };

struct drv_device {
	uint8_t *regs;			/* window 0 */
	uint64_t regs_len;
	uint32_t vectors;		/* that the device has */
	uint32_t vectors_denied;	/* bit n: drv_vector(n) fails */
	uint32_t vectors_bound;
	uint64_t now, faults;
	uint64_t step_ns;		/* how far a look at the clock moves it */
	uint64_t pages_left;		/* then E_NO_MEMORY */
	uint64_t sq_rings, cq_rings;	/* doorbell writes */
	bool reset_fails;
	uint32_t resets;
	struct fake_buffer buffer[FAKE_BUFFERS];
	uint32_t buffers;
	uint64_t next_iova;
	char log[256];			/* the last line that the driver logged */
	void *model;
	void (*step)(void *model);
	void (*doorbell)(void *model, uint32_t queue, uint32_t sq_tail,
	    uint32_t cq_head); /* UINT32_MAX: not written */
	void (*reset)(void *model);
	/* The model's registers; a read returns the value. */
	uint64_t (*access)(void *model, unsigned bar, uint32_t offset, unsigned width, bool write,
	    uint64_t value);
	/* A virtqueue was committed: fake_drv has published avail_idx already. */
	void (*vring)(void *model, uint32_t queue, uint32_t avail_idx, uint32_t used_idx);
	uint8_t config[256];		/* configuration space */
	enum status
	    commit_status; /* not OK: what drv_vring_commit says, and nothing is published */
};

/* The one device of a test.  fini frees its memory. */
void fake_drv_init(struct drv_device *d, uint64_t regs_len);
void fake_drv_fini(struct drv_device *d);

/* What the device reaches at an IOVA with an access of this direction; NULL: refused, and counted
 * as a fault. */
void *fake_drv_at(struct drv_device *d, uint64_t iova, uint64_t len, enum dma_dir dir);
