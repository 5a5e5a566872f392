/*
 * What the device manager and init answer, by label.  The reply's label is an enum status.
 */
#pragma once

#include "usr/lib/os.h"

enum devmgr_call : uint32_t {
	DEVMGR_BLOCK = 1,	/* w0 index of a block server -> w0 handle (call), w1 controller number, w2 pid, w3 restarts, w4 state */
	DEVMGR_KILL,		/* w0 pid */
	DEVMGR_ROGUE,		/* w0 controller number: restart its driver as one that lies (tests) */
	INIT_KILL = 100,	/* w0 pid */
	INIT_KEEP,		/* handles: process, endpoint; w2 function, w3 index: kept for a successor of the device manager */
	INIT_KEPT,		/* w0 n -> w0 process, w1 endpoint, w2 function, w3 index */
};
