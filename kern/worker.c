/*
 * The worker thread: two lists under one lock, jobs and dead threads.
 */
#include "kern/worker.h"
#include "kern/base/bits.h"
#include "kern/lock.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/sched.h"
#include "kern/thread.h"

static struct spinlock lock = SPINLOCK_INIT(RANK_WORKER);
static struct list jobs = LIST_INIT(jobs), dead = LIST_INIT(dead);
static struct thread *worker;

static void
wake_worker(void)
{
	if (worker != NULL && thread_claim(worker)) {
		worker->wait_status = OK;
		sched_wake(worker);
	}
}

void
worker_add(struct work *w)
{
	spin_lock(&lock);
	w->due = 0;
	if (!w->queued) {
		w->queued = true;
		list_push_back(&jobs, &w->link);
	}
	spin_unlock(&lock);
	wake_worker();
}

void
worker_reap(struct thread *t)
{
	spin_lock(&lock);
	list_push_back(&dead, &t->reap);
	spin_unlock(&lock);
	wake_worker();
}

/* Runs one due job; otherwise tells when the next one is due. */
static bool
run_one(uint64_t *next)
{
	uint64_t now = clock_now(), again;
	struct work *w = NULL;

	*next = DEADLINE_NEVER;
	spin_lock(&lock);
	list_for_each(it, &jobs) {
		struct work *j = list_entry(it, struct work, link);

		if (j->due <= now) {
			w = j;
			list_remove(&w->link);
			w->queued = false;
			break;
		}
		*next = min_u64(*next, j->due);
	}
	spin_unlock(&lock);
	if (w == NULL)
		return false;
	again = w->step(w);
	if (again != WORK_DONE) {
		spin_lock(&lock);
		if (!w->queued) {
			w->queued = true;
			w->due = again;
			list_push_back(&jobs, &w->link);
		}
		spin_unlock(&lock);
	}
	return true;
}

static bool
reap_one(void)
{
	struct list *l;

	spin_lock(&lock);
	l = list_pop_front(&dead);
	spin_unlock(&lock);
	if (l == NULL)
		return false;
	thread_free(list_entry(l, struct thread, reap));
	return true;
}

static void
worker_main(void *arg UNUSED)
{
	struct thread *t = current_thread();
	uint64_t next;

	for (;;) {
		/* Armed before the lists are looked at: whoever adds after the look ends the wait.
		 */
		thread_arm(t);
		if (reap_one() || run_one(&next)) {
			if (!thread_claim(t))
				(void)sched_block(
				    DEADLINE_NEVER); /* woken meanwhile: take the wake-up */
			sched_preempt_point();
			continue;
		}
		(void)sched_block(next); /* whichever it was, the lists are looked at again */
	}
}

void
worker_init(void)
{
	struct thread *t;

	if (thread_create_kernel(worker_main, NULL, PRIO_WORKER, 0, &t) != OK)
		panic("no memory for the worker");
	worker = t;
	sched_start(t);
}
