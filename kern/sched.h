/*
 * Who runs where.
 *
 * Per-CPU run queues, 32 fixed priorities, round robin among equals, tickless: the timer is armed
 * for the next deadline or, when equals compete, for the end of the time slice.  Kernel code is not
 * preempted; long work calls sched_preempt_point().
 *
 * A ready thread stays on its CPU.  A blocked one that is not pinned may be moved by its waker
 * (ipc.c hands over to a receiver on the sender's own CPU).
 *
 * Locks: one a CPU (RANK_RUNQUEUE).
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct thread;
struct cpu;

enum : uint64_t { SLICE_NS = 10 * NS_PER_MS };
enum : uint8_t { PRIO_IDLE = 0, PRIO_WORKER = 20, PRIO_INTERRUPT = 31 };

/* This CPU's run queue and idle thread: the caller becomes the idle thread. */
void sched_init_cpu(struct cpu *c);
NORETURN void sched_idle_loop(void);

/* A new thread becomes ready. */
void sched_start(struct thread *t);

/*
 * The current thread, armed by thread_arm, waits until it is claimed or the deadline (nanoseconds
 * since boot, or DEADLINE_NEVER) passes.  Returns what the claimer wrote; E_TIMED_OUT: the deadline
 * claimed it; E_CANCELLED: its process ends.  No lock held.
 */
NODISCARD enum status sched_block(uint64_t deadline);

/*
 * A thread that the caller has claimed (thread_claim), and whose wait_status it has written, goes
 * on.  Takes the lock of that thread's run queue; the caller may hold locks of a lower rank.
 */
void sched_wake(struct thread *t);

/*
 * sched_wake(to) and sched_block(deadline) in one step: switches straight to "to" on this CPU when
 * it may and nothing more urgent is ready.  What sched_wake asks of "to" and sched_block of the
 * caller holds; results as sched_block's.
 */
NODISCARD enum status sched_handoff(struct thread *to, uint64_t deadline);

/* The current thread leaves its CPU for good; the worker frees it. */
NORETURN void sched_exit(void);

/* The current thread sleeps until the deadline (nanoseconds since boot), or until its process ends.
 * No lock held. */
void sched_sleep(uint64_t deadline);

/* Lets others run when they should; interrupts are taken.  No lock held. */
void sched_preempt_point(void);

/*
 * Asks whichever CPU runs t to leave user mode soon (t->dying was set), and makes that CPU look at
 * t->dying before t can wait: who finds t not waiting after this, and pokes once more, has told it.
 */
void sched_poke(struct thread *t);

/* Finishes a switch on the new thread's stack; entry code of new threads calls it. */
void sched_switched(void);

/* Run time of a thread until now, nanoseconds. */
uint64_t sched_run_time(const struct thread *t);

/* Raw counter ticks to nanoseconds. */
uint64_t sched_cycles_ns(uint64_t cycles);

struct sched_stats { uint64_t idle_ns, busy_ns, switches, interrupts; };
void sched_stats(unsigned cpu, struct sched_stats *out);

/* This CPU's current thread. */
struct thread *current_thread(void);
