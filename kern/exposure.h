/*
 * What a process gets to see, looked at (D3): no address of memory.
 *
 * Two doors are watched since boot: what is mapped into a process is memory of memory objects, or
 * registers, and nothing else is mapped.  And what there is now can be looked at, function by
 * function, for the evidence.
 */
#pragma once

#include "kern/base/types.h"

struct exposure_info;
struct pci_function;

/* May these pages be mapped into a process: memory of an object, or a register window?  Any CPU. */
NODISCARD bool exposure_allows(struct paddr base, uint64_t pages, bool registers);

/* A thread's own context. */
void exposure_fill(struct pci_function *f, struct exposure_info *out);
