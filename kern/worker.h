/*
 * The kernel's worker: what must not run in an interrupt or in the thread that asks for it.
 *
 * One thread (started at boot) runs jobs.  A job is a step function that does a bounded amount of
 * work and says when it wants to go on; so a device that takes seconds to quiesce holds nobody else
 * up.  Jobs are embedded in what they work for, and queued at most once.
 *
 * Any context, no lock of rank RANK_RUNQUEUE or above held.
 */
#pragma once

#include "kern/base/list.h"
#include "kern/base/types.h"

struct thread;

enum : uint64_t { WORK_DONE = DEADLINE_NEVER };

struct work {
	struct list link;
	/* Returns when to run again (nanoseconds since boot; 0 = as soon as others had a turn), or
	 * WORK_DONE: the worker does not touch the job any more. */
	uint64_t (*step)(struct work *w);
	uint64_t due;
	bool queued;
};

/* Runs the job soon; brings it forward when it is queued for later. */
void worker_add(struct work *w);

/* A thread that left its CPU for good. */
void worker_reap(struct thread *t);

void worker_init(void);
