/*
 * This program once more: a new process that gets its segments, byte for byte as they are now, and
 * starts in another function.  For measurements and tests that take more than one process.
 */
#pragma once

#include "usr/lib/os.h"

/* Where a copy starts: its own number of the handle it was given, and a word. */
typedef void copy_fn(uint64_t handle, uint64_t arg);

/* cpu: a number or CPU_ANY.  On OK *out is the process; fn must not return. */
NODISCARD enum status copy_start(handle_t *out, copy_fn *fn, handle_t given, uint32_t rights,
    uint64_t arg, uint8_t priority, uint8_t cpu);

/* Ends it, if it is one, and forgets it. */
void copy_end(handle_t *copy);
