/*
 * The inside of the scheduler, for those who switch threads by themselves: sched.c, ipc.c,
 * notify.c.
 *
 * A thread is at rest when it waits and its kernel stack holds nothing: what it needs to go on is
 * in its user registers, and thread->rest tells what is left to do.  Whoever ends such a wait may
 * do that little himself and let the thread continue in user mode at once (run_direct); everybody
 * else wakes it, and it finishes by itself in ipc_rested.
 *
 * A direct hand-over, step by step, on one CPU:
 *   1. direct_begin locks the run queue and asks: does "to" rest on this CPU, is nothing as urgent
 *      ready, has nobody asked this CPU to think again (cpu->resched);
 *   2. the caller claims "to" and arms the current thread, or gives up (direct_cancel) with nothing
 *      changed;
 *   3. the caller writes the results into the registers of both, and says what is left
 *      (thread->rest) and what state the current thread is in now;
 *   4. run_direct charges run time, enters the other process, unlocks, and leaves.
 * Nobody else can run the current thread before 4: who claims it in between waits for the run
 * queue's lock in sched_wake, and then for on_cpu, which falls when its stack is left.  Who ends
 * its process sets resched under that lock (sched_poke) before he looks whether it waits: either
 * step 1 sees it, or he finds the thread waiting.
 */
#pragma once

#include "kern/cpu.h"
#include "kern/lock.h"
#include "kern/md/mmu.h"
#include "kern/process.h"
#include "kern/thread.h"

enum { PRIOS = 32 };

struct run_queue {
	struct spinlock lock;
	uint32_t ready;			/* bit p: queue[p] holds a thread */
	uint64_t switched_at;		/* cpu_cycles */
	uint64_t slice_end;		/* DEADLINE_NEVER: nobody competes */
	struct thread *idle;
	struct thread *previous;	/* switched away from; for sched_switched */
	struct list timers;		/* armed deadlines, earliest first */
	uint64_t armed;			/* what the timer is set to */
	uint64_t switches, interrupts;
	bool slice_over;		/* it ended; preempt() lets the next equal run */
	struct list queue[PRIOS];
};

/* t is ready; the lock is held. */
static ALWAYS_INLINE void
enqueue(struct run_queue *rq, struct thread *t, bool front)
{
	t->state = THREAD_READY;
	if (front)
		list_push_front(&rq->queue[t->prio], &t->run);
	else
		list_push_back(&rq->queue[t->prio], &t->run);
	rq->ready |= 1u << t->prio;
}

/* The part of a switch that is the same for all threads of processes: run time, whose turn it is,
 * what comes with the process. */
static ALWAYS_INLINE void
enter_process(struct run_queue *rq, struct cpu *c, struct thread *from, struct thread *to)
{
	uint64_t now = cpu_cycles();

	from->cycles += now - rq->switched_at;
	rq->switched_at = now;
	rq->switches++;
	c->current = to;
	cpu_set_kernel_stack(c, (uintptr_t)(to->regs + 1));
	mmu_activate(process_space(to->proc));
	user_tls_switch(&from->tls, to->tls);
}

/* Step 1; on true the run queue is locked.  It does not wait for the lock: false.  rest: the kind
 * of rest that the caller can finish for "to". */
static ALWAYS_INLINE bool
direct_begin(
    struct run_queue *rq, struct cpu *c, struct thread *to, enum rest rest) NO_THREAD_SAFETY
{
	if (unlikely(!spin_try(&rq->lock)))
		return false;
	if (likely(
		to->rest == rest && to->cpu == c->id && !c->resched && rq->ready >> to->prio == 0))
		return true;
	spin_unlock(&rq->lock);
	return false;
}

static ALWAYS_INLINE void
direct_cancel(struct run_queue *rq) NO_THREAD_SAFETY
{
	spin_unlock(&rq->lock);
}

/* Step 4. */
NORETURN static ALWAYS_INLINE void
run_direct(
    struct run_queue *rq, struct cpu *c, struct thread *from, struct thread *to) NO_THREAD_SAFETY
{
	to->state = THREAD_RUNNING;
	to->rest = REST_NONE;
	to->wake_pending = false;
	to->on_cpu = true;
	enter_process(rq, c, from, to);
	spin_unlock(&rq->lock);
	cpu_continue(to->regs, &from->on_cpu);
}
