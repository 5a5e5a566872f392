/*
 * The machine as found at boot, and its orderly end.
 */
#pragma once

#include "kern/base/types.h"

struct machine;

extern struct machine *the_machine;
extern uint64_t wall_at_boot_s;	/* seconds since 1970; 0: the date is unknown */

/* Bus mastering off everywhere, streams blocked, then power off or restart; where firmware has no
 * such thing, halt. */
NORETURN void kernel_stop(bool restart);

/*
 * The boot cannot go on: one line that says why, through whatever console there is, then the
 * orderly end.  For what firmware, the loader or the boot archive did wrong; what we did wrong is a
 * panic.
 */
NORETURN void boot_failed(const char *format, ...) PRINTF(1, 2);
