/*
 * Threads.
 *
 * A thread that waits (for a message, a reply, a notification, a deadline, hardware) has an armed
 * "wait word": a sequence number, its index and a state.  Whoever wants to end the wait must claim
 * it first (compare and swap of the exact word), so that exactly one of sender, signaller, timer
 * and killer wins; only the winner writes the thread's results and wakes it.  Queues may hold a
 * thread whose wait was claimed by another; it takes itself off when it runs again, before it can
 * wait anew.  So whoever finds a thread in a queue, under the queue's lock, and fails to claim it,
 * goes on to the next.
 *
 * state and the run-queue link belong to the run queue of thread->cpu (RANK_RUNQUEUE).
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/bits.h"
#include "kern/base/list.h"
#include "kern/base/mmio.h"
#include "kern/md/cpu.h"
#include "kern/md/trap.h"

struct process;
struct endpoint;
struct notification;

enum { THREADS_MAX = 2048 };

enum thread_state : uint8_t { THREAD_BLOCKED, THREAD_READY, THREAD_RUNNING, THREAD_DEAD };

/* What a thread at rest (runqueue.h) has left to do before it is back in user mode. */
enum rest : uint8_t {
	REST_NONE,		/* it runs, or waits on its kernel stack */
	REST_CALL,		/* waits for a reply, or for somebody to take the call */
	REST_RECEIVE,		/* waits for a call */
	REST_NOTIFICATION,	/* waits for bits */
	REST_DONE,		/* nothing: it gave its CPU to a more urgent thread */
};

/* The wait word: state, then the thread's index, then the sequence number.  Armed it is the reply
 * token. */
enum : uint64_t {
	WAIT_ARMED = 1, WAIT_CLAIMED = 2,
	WAIT_STATE = BITS(1, 0),
	WAIT_INDEX = BITS(12, 2),
	WAIT_SEQ   = BIT(13),		/* one */
};
static_assert(THREADS_MAX == WAIT_INDEX / BIT(2) + 1);

struct thread {
	/* Neighbours, so that a direct hand-over sets all four at once. */
	bool on_cpu;			/* (a) its stack is in use by a CPU */
	enum thread_state state;	/* (run queue) */
	enum rest rest;			/* (run queue), and its own while it runs */
	bool wake_pending;		/* (run queue) woken before it had blocked */
	bool dying;			/* 4: (a) its process ends; entry code looks at it */
	enum status wait_status;	/* written by the claimer */
	bool pinned;			/* (c) stays on its CPU */
	bool told;			/* (process) to leave: dying alone may be its own doing */
	uint8_t prio;			/* (c) */
	uint8_t cpu;			/* (run queue) */
	uintptr_t ksp;			/* saved kernel stack pointer while not running */
	struct uregs *regs; /* (c) its registers of user mode, at the top of the stack */
	struct process *proc;		/* (c) NULL: a thread of the kernel's own */
	uint64_t wait;			/* (a) */
	uint32_t index;			/* (c) in the thread table */

	struct list run;		/* (run queue) */
	uint64_t slice_end;		/* (run queue) of a slice that was interrupted, 0 none */
	struct list queue;		/* (endpoint) as sender or receiver */
	struct list siblings;		/* (process) */

	/* A call under way, as caller. */
	struct process *reply_proc;	/* who may answer; NULL: not received yet, or no call */
	uint64_t badge;
	struct object
	    *rest_on; /* at rest: the endpoint or notification, type-stable and not counted */
	/* As receiver. */
	uint64_t ntfn_bits;		/* what woke it, 0: a message */

	uint64_t deadline;		/* (timer's run queue) */
	struct list timer;
	uint8_t timer_cpu;

	uint64_t cycles;		/* run time in cpu_cycles, without the current turn */
	uint64_t tls;			/* the process-writable thread register */
	void *stack;			/* (c) lowest address of the kernel stack */
	void (*kernel_fn)(void *);
	struct list reap;
};

static_assert(offsetof(struct thread, dying) == 4);

static inline bool
thread_claim_word(struct thread *t, uint64_t armed)
{
	return __atomic_compare_exchange_n(&t->wait, &armed, armed + (WAIT_CLAIMED - WAIT_ARMED),
	    false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Claims whatever t waits for now; false when it does not wait or another was first. */
static inline bool
thread_claim(struct thread *t)
{
	uint64_t w = load_relaxed(&t->wait);

	return (w & WAIT_STATE) == WAIT_ARMED && thread_claim_word(t, w);
}

/* The current thread will wait: results may be written from now on. */
static inline uint64_t
thread_arm(struct thread *t)
{
	uint64_t w = (t->wait & ~(uint64_t)WAIT_STATE) + WAIT_SEQ + WAIT_ARMED;

	store_release(&t->wait, w);
	return w;
}

/* The same under the lock of its run queue, which whoever claims it takes before it can go on. */
static inline uint64_t
thread_arm_locked(struct thread *t)
{
	uint64_t w = (t->wait & ~(uint64_t)WAIT_STATE) + WAIT_SEQ + WAIT_ARMED;

	store_relaxed(&t->wait, w);
	return w;
}

extern struct thread *threads[THREADS_MAX];
extern uint32_t threads_live;
extern uint32_t threads_made; /* (a) indices below it were given out; a few may have no thread */

/* Kernel thread, ready at once, for ever. */
NODISCARD enum status
thread_create_kernel(void (*fn)(void *), void *arg, uint8_t prio, uint8_t cpu, struct thread **out);

/* A thread of a process; see the call.  Not started: sched_start. */
NODISCARD enum status thread_create_user(struct process *p, uint64_t pc, uint64_t sp, uint64_t arg0,
    uint64_t arg1, uint8_t prio, uint8_t cpu, struct thread **out);

/* Ends the current thread. */
NORETURN void thread_exit_current(void);

/* Frees stack and slot of a thread that left its CPU for good; the worker calls it. */
void thread_free(struct thread *t);
