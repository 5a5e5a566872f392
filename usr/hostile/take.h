/*
 * Takes until refused, of each kind: take.c.
 */
#pragma once

#include "usr/lib/os.h"

NORETURN void take_all(void);
