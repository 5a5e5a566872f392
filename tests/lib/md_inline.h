/*
 * The inline half of the contract (kern/md/cpu.h) on the host: one CPU, whose thread is who calls.
 */
#pragma once

#include "kern/base/types.h"
#include "kern/cpu.h"
#include "kern/md/mmu.h"

struct uregs {
	uint64_t w[8];
	uint64_t call, target, deadline, token;
};

/* The test's. */
extern struct cpu fake_cpu;

static inline struct cpu *this_cpu(void) { return &fake_cpu; }
uint64_t cpu_cycles(void);
