/*
 * A claimed device, as a driver process holds it: the device's handle and the notification for its
 * vectors.
 */
#pragma once

#include "dev/drv.h"
#include "usr/lib/os.h"

enum { DRV_BARS = 6 };

struct drv_device {
	handle_t handle, ntfn;
	uint64_t seen; /* bits that drv_wait took from the notification: the program's, too */
	bool checked;			/* the kernel checks registers and queue entries */
	struct drv_window window[DRV_BARS];	/* those that were opened */
	const struct dma_status *status;	/* mapped with the first look */
};
