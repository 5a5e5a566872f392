/*
 * Time: one monotonic clock, one one-shot timer for each CPU.
 *
 * clock_now: nanoseconds since boot, the same on all CPUs to within their skew, and a
 * handful of instructions: a counter, a multiplication, a shift.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine;

/*
 * Boot CPU: find the counter's rate (x86: measured against the PM timer, the HPET or the PIT), set
 * up its timer.  The machine must outlive the call only.
 */
NODISCARD enum status clock_init(const struct machine *m);
/* Every further CPU, on that CPU. */
void clock_init_cpu(void);

uint64_t clock_now(void);

/*
 * Raw counter and its scale for user programs that read it themselves:
 * ns = (counter - base) * mult >> shift.
 */
struct clock_scale { uint64_t base; uint32_t mult; uint8_t shift; };
void clock_scale(struct clock_scale *out);

/*
 * This CPU's timer interrupt comes at or soon after "deadline" (immediately when it is past);
 * DEADLINE_NEVER turns it off.  It calls sched_timer() with interrupts off.
 */
void clock_arm(uint64_t deadline);

/* Busy wait, for boot and bounded register polls of at most 10 us. */
void clock_spin(uint64_t ns);

/*
 * After clock_read_wall: the other clock that the counter's rate was or is being compared with, for
 * people; NULL: there is none, and the rate is only what firmware said.
 */
const char *clock_compared_with(void);

/*
 * Boot, once: seconds since 1970 from the real-time clock.  Where the counter's rate was told and
 * not measured (arm64), a job goes on to compare the two.  E_NOT_FOUND: the machine has none;
 * E_CORRUPT: it says what is no time, or does not come to rest.
 */
NODISCARD enum status clock_read_wall(const struct machine *m, uint64_t *seconds);
