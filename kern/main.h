/*
 * The machine as found at boot, and its orderly end.
 */
#pragma once

#include "kern/base/types.h"

struct machine;

extern struct machine *the_machine;
extern uint64_t wall_at_boot_s;	/* seconds since 1970; 0: the date is unknown */

/* Bus mastering off everywhere, streams blocked, then power off or restart. */
NORETURN void kernel_stop(bool restart);
