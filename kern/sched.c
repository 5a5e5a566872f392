/*
 * The scheduler: see sched.h for the policy and thread.h for how waits end.
 *
 * A switch, step by step, on one CPU with its run queue locked:
 *   1. the old thread's state is set (ready again, blocked, dead);
 *   2. the next one is chosen and marked running and on_cpu;
 *   3. run time is charged, the address space and the kernel stack of entries are set;
 *   4. cpu_switch saves the old stack and continues on the new one;
 *   5. there, sched_switched() unlocks the run queue and clears on_cpu of the old thread: from then
 *      on another CPU may run it.
 * The lock is thus taken by one thread and released by the next on the same CPU.
 *
 * A waker finds one of two states under the lock of the thread's run queue: blocked, then the
 * thread becomes ready; or still running towards its block, then wake_pending makes that block
 * return at once.
 */
#include "kern/sched.h"
#include "kern/base/bits.h"
#include "kern/cpu.h"
#include "kern/lock.h"
#include "kern/md/clock.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/runqueue.h"
#include "kern/thread.h"
#include "kern/worker.h"

static struct run_queue queues[CPUS_MAX];
static struct thread idle_threads[CPUS_MAX];

static ALWAYS_INLINE struct run_queue *rq_of(unsigned cpu) { return &queues[cpu]; }

struct thread *
current_thread(void)
{
	return this_cpu()->current;
}

void
sched_init_cpu(struct cpu *c)
{
	struct run_queue *rq = rq_of(c->id);
	struct thread *t = &idle_threads[c->id];

	lock_init(&rq->lock, RANK_RUNQUEUE);
	for (unsigned i = 0; i < PRIOS; i++)
		list_init(&rq->queue[i]);
	list_init(&rq->timers);
	rq->slice_end = rq->armed = DEADLINE_NEVER;
	rq->idle = t;
	rq->switched_at = cpu_cycles();
	*t = (struct thread){
		.state = THREAD_RUNNING, .on_cpu = true, .pinned = true, .cpu = (uint8_t)c->id
	};
	list_init(&t->run);
	list_init(&t->queue);
	list_init(&t->timer);
	c->current = t;
	c->rq = rq;
}

static void
arm_timer(struct run_queue *rq)
{
	uint64_t next = rq->slice_end;

	if (!list_empty(&rq->timers))
		next = min_u64(next, list_first(&rq->timers, struct thread, timer)->deadline);
	/* A timer that is already set for earlier just comes early: cheaper than setting it anew at
	 * each switch. */
	if (next < rq->armed) {
		rq->armed = next;
		clock_arm(next);
	}
}

static ALWAYS_INLINE void
dequeue(struct run_queue *rq, struct thread *t)
{
	list_remove(&t->run);
	if (list_empty(&rq->queue[t->prio]))
		rq->ready &= ~(1u << t->prio);
}

static struct thread *
pick(struct run_queue *rq)
{
	struct thread *t;

	if (rq->ready == 0)
		return rq->idle;
	t = list_first(&rq->queue[31 - __builtin_clz(rq->ready)], struct thread, run);
	dequeue(rq, t);
	return t;
}

/* After a choice: equals that wait give the running thread a slice. */
static ALWAYS_INLINE void
set_slice(struct run_queue *rq, struct thread *t)
{
	if (likely((rq->ready & (1u << t->prio)) == 0)) {
		rq->slice_end = DEADLINE_NEVER;
	} else {
		/* Who was only interrupted by a more urgent one goes on with the slice it had. */
		rq->slice_end = t->slice_end != 0 ? t->slice_end : clock_now() + SLICE_NS;
		arm_timer(rq);
	}
	t->slice_end = 0;
	rq->slice_over = false;
}

void
sched_switched(void) NO_THREAD_SAFETY
{
	struct run_queue *rq = rq_of(this_cpu()->id);
	struct thread *old = rq->previous;
	bool dead = old->state == THREAD_DEAD;

	spin_unlock(&rq->lock);
	store_release(&old->on_cpu, false);
	if (unlikely(dead))
		worker_reap(old);
}

/* Steps 3 to 5; the lock is held, to != from. */
static ALWAYS_INLINE void
switch_to(struct run_queue *rq, struct cpu *c, struct thread *from, struct thread *to)
{
	if (to->rest != REST_NONE)
		to->ksp = cpu_prepare_user((uintptr_t)to->stack + KSTACK_SIZE);
	rq->previous = from;
	to->state = THREAD_RUNNING;
	to->on_cpu = true;
	if (likely(to->proc != NULL)) {
		enter_process(rq, c, from, to);
	} else {
		uint64_t now = cpu_cycles();

		from->cycles += now - rq->switched_at;
		rq->switched_at = now;
		rq->switches++;
		c->current = to;
		/* A CPU without a process keeps no process's tables: the process may end on another
		 * CPU. */
		mmu_activate(NULL);
	}
	if (from->rest != REST_NONE)
		cpu_leave(to->ksp);
	cpu_switch(&from->ksp, to->ksp);
	sched_switched();
}

static void
reschedule(struct run_queue *rq, struct cpu *c, struct thread *t) NO_THREAD_SAFETY
{
	struct thread *next = pick(rq);

	c->resched = false;
	set_slice(rq, next);
	if (next == t) {
		t->state = THREAD_RUNNING;
		spin_unlock(&rq->lock);
		return;
	}
	/* A thread that another CPU is just leaving: its stack is free in a moment. */
	while (unlikely(load_acquire(&next->on_cpu)))
		CPU_RELAX();
	switch_to(rq, c, t, next);
}

static void
timer_insert(struct run_queue *rq, struct thread *t, uint64_t deadline)
{
	struct list *at = rq->timers.prev;

	t->deadline = deadline;
	t->timer_cpu = t->cpu;
	while (at != &rq->timers && list_entry(at, struct thread, timer)->deadline > deadline)
		at = at->prev;
	list_push_front(at, &t->timer);
	arm_timer(rq);
}

static void
timer_remove(struct thread *t)
{
	struct run_queue *rq = rq_of(t->timer_cpu);

	spin_lock(&rq->lock);
	list_remove(&t->timer);
	t->deadline = DEADLINE_NEVER;
	spin_unlock(&rq->lock);
}

/* The wait is over; a timer that was armed goes. */
static ALWAYS_INLINE enum status
block_result(struct thread *t, uint64_t deadline)
{
	if (unlikely(deadline != DEADLINE_NEVER))
		timer_remove(t);
	return t->wait_status;
}

enum status
sched_block(uint64_t deadline) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct thread *t = c->current;
	struct run_queue *rq = c->rq;

	spin_lock(&rq->lock);
	if (t->wake_pending) {
		t->wake_pending = false;
		spin_unlock(&rq->lock);
		return t->wait_status;
	}
	if (t->dying && thread_claim(t)) {
		spin_unlock(&rq->lock);
		return t->wait_status = E_CANCELLED;
	}
	t->state = THREAD_BLOCKED;
	if (deadline != DEADLINE_NEVER)
		timer_insert(rq, t, deadline);
	reschedule(rq, c, t);
	return block_result(t, deadline);
}

/* Locks the run queue of a thread, whose CPU may change until then. */
static ALWAYS_INLINE struct run_queue *
lock_queue_of(struct thread *t) NO_THREAD_SAFETY
{
	for (;;) {
		unsigned cpu = load_relaxed(&t->cpu);
		struct run_queue *rq = rq_of(cpu);

		spin_lock(&rq->lock);
		if (likely(t->cpu == cpu))
			return rq;
		spin_unlock(&rq->lock);
	}
}

void
sched_wake(struct thread *t) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct run_queue *rq = lock_queue_of(t);
	unsigned target = t->cpu;
	bool kick = false;

	if (t->state != THREAD_BLOCKED) {
		t->wake_pending = true;
	} else {
		struct thread *running = cpus[target].current;

		enqueue(rq, t, false);
		if (t->prio > running->prio || running == rq->idle) {
			cpus[target].resched = true;
			kick = target != c->id;
		} else if (t->prio == running->prio && rq->slice_end == DEADLINE_NEVER) {
			if (target == c->id) {
				rq->slice_end = clock_now() + SLICE_NS;
				arm_timer(rq);
			} else {
				kick = true;	/* that CPU starts the slice itself */
			}
		}
	}
	spin_unlock(&rq->lock);
	if (kick)
		irqc_ipi(target);
}

void
sched_start(struct thread *t)
{
	sched_wake(t);
}

enum status
sched_handoff(struct thread *to, uint64_t deadline) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct thread *t = c->current;
	struct run_queue *rq = c->rq;

	if (unlikely(to->cpu != c->id)) {
		struct run_queue *other;
		bool moved = false;

		if (!to->pinned) {
			other = rq_of(to->cpu);
			spin_lock(&other->lock);
			/* Blocked, its stack saved, and no timer of the other CPU: then it can come
			 * here. */
			if (to->state == THREAD_BLOCKED && !load_acquire(&to->on_cpu) &&
			    other == rq_of(to->cpu)) {
				to->cpu = (uint8_t)c->id;
				moved = true;
			}
			spin_unlock(&other->lock);
		}
		if (!moved) {
			sched_wake(to);
			return sched_block(deadline);
		}
	}
	spin_lock(&rq->lock);
	if (unlikely(t->wake_pending || t->dying || to->state != THREAD_BLOCKED ||
	    (rq->ready >> to->prio) > (rq->slice_over ? 0u : 1u) || deadline != DEADLINE_NEVER)) {
		spin_unlock(&rq->lock);
		sched_wake(to);
		return sched_block(deadline);
	}
	t->state = THREAD_BLOCKED;
	/* The slice goes on, whoever uses it: else two that talk would leave nothing to their
	 * equals. */
	if (rq->slice_end == DEADLINE_NEVER)
		set_slice(rq, to);
	switch_to(rq, c, t, to);
	return t->wait_status;
}

void
sched_exit(void) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct run_queue *rq = rq_of(c->id);

	spin_lock(&rq->lock);
	c->current->state = THREAD_DEAD;
	reschedule(rq, c, c->current);
	panic("a dead thread ran");
}

void
sched_sleep(uint64_t deadline)
{
	thread_arm(current_thread());
	(void)sched_block(
	    deadline); /* the deadline and the end of its process are all that can wake it */
}

static void
yield_locked(struct run_queue *rq, struct cpu *c, bool front) NO_THREAD_SAFETY
{
	struct thread *t = c->current;

	if (t != rq->idle)
		enqueue(rq, t, front);
	reschedule(rq, c, t);
}

/* A more urgent thread takes over; the current one stays first among its equals unless its slice is
 * used up. */
static void
preempt(void) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct run_queue *rq = c->rq;
	struct thread *t = c->current;

	spin_lock(&rq->lock);
	c->resched = false;
	if (rq->ready == 0 || (t != rq->idle && (rq->ready >> t->prio) == 0)) {
		/* The slice of less urgent ones may be over: sched_handoff will see that when they
		 * are handed the CPU back. */
		if (rq->ready == 0)
			rq->slice_over = false;
		spin_unlock(&rq->lock);
		return;
	}
	if (t != rq->idle && (rq->ready >> t->prio) == 1) {	/* only equals wait */
		if (!rq->slice_over) {
			if (rq->slice_end == DEADLINE_NEVER)
				rq->slice_end = clock_now() + SLICE_NS;
			arm_timer(rq);
			spin_unlock(&rq->lock);
			return;
		}
		yield_locked(rq, c, false);
		return;
	}
	if (rq->slice_end != DEADLINE_NEVER)
		t->slice_end = rq->slice_end;
	yield_locked(rq, c, true);
}

void
sched_preempt(void)
{
	preempt();
	if (unlikely(current_thread()->dying))
		thread_exit_current();
}

void
sched_preempt_point(void)
{
	irq_window();
	if (this_cpu()->resched)
		preempt();
}

void
sched_timer(void) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct run_queue *rq = rq_of(c->id);
	uint64_t now = clock_now();

	spin_lock(&rq->lock);
	rq->interrupts++;
	rq->armed = DEADLINE_NEVER;
	while (!list_empty(&rq->timers)) {
		struct thread *t = list_first(&rq->timers, struct thread, timer);

		if (t->deadline > now)
			break;
		list_remove(&t->timer);
		/* In this list, so in the wait that armed it. */
		if (!thread_claim(t))
			continue;
		t->wait_status = E_TIMED_OUT;
		spin_unlock(&rq->lock);
		sched_wake(t);
		spin_lock(&rq->lock);
	}
	if (rq->slice_end <= now) {
		/* Said once: a slice without competitors must not keep the timer in the past. */
		rq->slice_end = DEADLINE_NEVER;
		rq->slice_over = true;
		c->resched = true;
	}
	arm_timer(rq);
	spin_unlock(&rq->lock);
}

void
sched_ipi(void)
{
	struct cpu *c = this_cpu();

	rq_of(c->id)->interrupts++;
	c->resched = true;
}

void
sched_poke(struct thread *t) NO_THREAD_SAFETY
{
	struct run_queue *rq = lock_queue_of(t);
	unsigned cpu = t->cpu;

	cpus[cpu].resched = true;
	spin_unlock(&rq->lock);
	if (cpu != this_cpu()->id)
		irqc_ipi(cpu);
}

void
sched_idle_loop(void)
{
	struct cpu *c = this_cpu();

	for (;;) {
		if (!c->resched && rq_of(c->id)->ready == 0)
			cpu_idle();
		preempt();
	}
}

/* cycles to nanoseconds by the clock's scale, without overflow for years. */
uint64_t
sched_cycles_ns(uint64_t cycles)
{
	struct clock_scale s;

	clock_scale(&s);
	return (uint64_t)(((unsigned __int128)cycles * s.mult) >> s.shift);
}

uint64_t
sched_run_time(const struct thread *t)
{
	uint64_t cycles = t->cycles;

	if (t->state == THREAD_RUNNING) {
		uint64_t since = rq_of(t->cpu)->switched_at, now = cpu_cycles();

		if (now > since)
			cycles += now - since;
	}
	return sched_cycles_ns(cycles);
}

void
sched_stats(unsigned cpu, struct sched_stats *out)
{
	struct run_queue *rq = rq_of(cpu);

	out->idle_ns = sched_run_time(rq->idle);
	out->busy_ns = clock_now() > out->idle_ns ? clock_now() - out->idle_ns : 0;
	out->switches = rq->switches;
	out->interrupts = rq->interrupts;
}
