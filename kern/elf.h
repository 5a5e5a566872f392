/*
 * Loading the root task: the only program that the kernel itself reads.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct process;

/* Maps the loadable segments of a static ELF64 program.  E_CORRUPT: not one, or it lies. */
NODISCARD enum status
elf_load(struct process *p, const uint8_t *image, uint64_t len, uint64_t *entry);
