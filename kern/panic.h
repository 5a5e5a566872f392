/*
 * The end, in order: our own broken invariants, and nothing else, come here.
 *
 * panic() stops the other CPUs, turns bus mastering off everywhere (D1), and writes an
 * epitaph (message, CPU, backtrace with symbol names, the last trace records) through the polled
 * console, taking no lock and writing no log; then it stops the machine.
 */
#pragma once

#include "kern/base/types.h"

NORETURN COLD void panic(const char *format, ...) PRINTF(1, 2);

/*
 * The orderly end: stops the other CPUs, turns bus mastering off, then lets "off" (cpu_power_off,
 * cpu_reset) end the machine.  When it comes back, says so and halts.
 */
struct machine;
NORETURN void stop(void (*off)(const struct machine *));

/* One of the two has told the others to stop: who holds a lock may never let go of it. */
bool others_stopped(void);

/* Only for what we computed ourselves; never for what a driver, a device, firmware or a process
 * says. */
#define KASSERT(cond) \
	do { \
		if (unlikely(!(cond))) \
			panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond); \
	} while (0)

#if CAPOS_DEBUG
#define DEBUG_ASSERT(cond)	KASSERT(cond)
#else
#define DEBUG_ASSERT(cond)	((void)sizeof(cond))
#endif

/* Nearest symbol at or below an address in the kernel's code: its name, and the distance to it.
 * Else NULL, and the address. */
const char *symbol_find(uintptr_t address, uintptr_t *offset);
