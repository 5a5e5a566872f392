/*
 * Memory objects on the host, as far as grants need them: pages in runs, each run from
 * fake_kernel's frames.
 */
#pragma once

#include "kern/memory.h"

struct fake_memory {
	struct memory m;
	uint32_t count;
	struct { uint64_t base, pages; } run[8];
};

/* Adds a run of 1 << order pages. */
void fake_memory_add(struct fake_memory *f, unsigned order);
