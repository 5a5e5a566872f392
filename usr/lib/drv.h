/*
 * A claimed device, as a driver process holds it: the device's handle and the notification for its
 * vectors.
 */
#pragma once

#include "dev/drv.h"
#include "usr/lib/os.h"

struct drv_device {
	handle_t handle, ntfn;
	uint64_t seen; /* bits that drv_wait took from the notification: the program's, too */
	struct drv_window window0; /* base NULL: the kernel checks registers and queue entries */
	const struct dma_status *status;	/* mapped with the first look */
};
