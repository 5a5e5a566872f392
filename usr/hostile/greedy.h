/*
 * A client of disks that takes all it can: greedy.c.
 */
#pragma once

#include "usr/lib/os.h"

NORETURN void greedy(void);
