/*
 * A claimed device, as a driver process holds it: the device's handle and the notification for its vectors.
 */
#pragma once

#include "dev/drv.h"
#include "usr/lib/os.h"

struct drv_device {
	handle_t handle, ntfn;
	struct drv_window window0;
};
