/*
 * What lwIP takes from the system, and what the service sets for it.
 */
#pragma once

#include "kern/base/types.h"

/* The clock of a turn: read once, so that lwIP's timers cost no call each. */
extern uint64_t turn_ns;

/* Secret of the generator below.  To be called before lwIP starts. */
void random_seed(const void *bytes, size_t len);
