/*
 * Making and unmaking threads.
 *
 * The table of threads is what reply tokens index, so its slots are type-stable: a thread's memory
 * is only ever a thread's, and its wait word keeps its sequence number over all lives.  A token of
 * an earlier life therefore matches nothing.
 *
 * Order    made: price, stack, place in the table, then the process's list, under its lock and only
 *          while it lives. unmade: off its CPU, stack back, out of the process, place back; its
 *          price last, so that who can pay finds a place.
 * Locks    "lock" (RANK_OBJECT) for the unused places; a process's object lock for its list.
 *          Readers of the table take none.
 * Not here waiting (thread.h), running (sched.c), what becomes of a process whose last thread went
 * (process.c).
 */
#include "kern/thread.h"
#include "kern/cpu.h"
#include "kern/md/mmu.h"
#include "kern/object.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/sched.h"

struct thread *threads[THREADS_MAX];
uint32_t threads_live;

static struct spinlock lock = SPINLOCK_INIT(RANK_OBJECT);
static struct list unused = LIST_INIT(unused);	/* threads with an index, without a life */
uint32_t threads_made;
static struct slab slab = { .size = sizeof(struct thread) };

static enum status
thread_get(struct thread **out)
{
	struct thread *t;
	struct list *l;
	void *p, *stack;
	uint64_t wait = 0;
	uint32_t index;
	enum status s;

	stack = mmu_stack_alloc();
	if (stack == NULL)
		return E_NO_MEMORY;
	spin_lock(&lock);
	l = list_pop_front(&unused);
	spin_unlock(&lock);
	if (l != NULL) {
		t = list_entry(l, struct thread, reap);
		index = t->index;
		wait = t->wait & ~(uint64_t)WAIT_STATE;	/* old tokens stay dead */
	} else {
		s = slab_alloc(&slab, &p);
		if (s != OK)
			goto undo_stack;
		t = p;
		spin_lock(&lock);
		index = threads_made < THREADS_MAX ? threads_made++ : UINT32_MAX;
		spin_unlock(&lock);
		if (index == UINT32_MAX)
			goto undo_slab;
		wait = FIELD_PREP(WAIT_INDEX, index);
	}
	*t = (struct thread){
		.wait = wait, .index = index, .stack = stack, .state = THREAD_BLOCKED,
		.regs = cpu_user_regs((uintptr_t)stack + KSTACK_SIZE), .deadline = DEADLINE_NEVER,
	};
	list_init(&t->run);
	list_init(&t->queue);
	list_init(&t->siblings);
	list_init(&t->timer);
	list_init(&t->reap);
	__atomic_fetch_add(&threads_live, 1, __ATOMIC_RELAXED);
	store_release(&threads[index], t);
	*out = t;
	return OK;
undo_slab:
	slab_free(&slab, p);
	s = E_NO_MEMORY;
undo_stack:
	mmu_stack_free(stack);
	return s;
}

/* The CPU with the fewest threads that may run there: counted by hand, creation is rare. */
static uint8_t
choose_cpu(void)
{
	uint32_t load[CPUS_MAX] = { 0 }, best = 0;

	for (uint32_t i = 0, n = load_relaxed(&threads_made); i < n; i++) {
		struct thread *t = load_relaxed(&threads[i]);

		if (t == NULL)
			continue;
		if (t->proc != NULL && t->state != THREAD_DEAD)
			load[t->cpu]++;
	}
	for (uint32_t c = 1; c < cpu_count; c++)
		if (load[c] < load[best])
			best = c;
	return (uint8_t)best;
}

enum status
thread_create_kernel(void (*fn)(void *), void *arg, uint8_t prio, uint8_t cpu, struct thread **out)
{
	struct thread *t;
	enum status s = thread_get(&t);

	if (s != OK)
		return s;
	t->prio = prio;
	t->cpu = cpu;
	t->pinned = true;
	t->ksp = cpu_prepare_kernel((uintptr_t)t->stack + KSTACK_SIZE, fn, arg);
	*out = t;
	return OK;
}

enum status
thread_create_user(struct process *p, uint64_t pc, uint64_t sp, uint64_t arg0, uint64_t arg1,
    uint8_t prio, uint8_t cpu, struct thread **out)
{
	struct thread *t;
	enum status s;

	s = quota_take_threads(&p->quota, 1);
	if (s != OK)
		return s;
	s = quota_take_pages(&p->quota, KSTACK_SIZE / PAGE_SIZE);
	if (s != OK)
		goto undo_threads;
	s = thread_get(&t);
	if (s != OK)
		goto undo;
	t->proc = p;
	t->prio = prio;
	t->pinned = cpu != 0xff;
	t->cpu = cpu != 0xff ? cpu : choose_cpu();
	uregs_init(t->regs, pc, sp, arg0, arg1);
	t->ksp = cpu_prepare_user((uintptr_t)t->stack + KSTACK_SIZE);
	spin_lock(&p->obj.lock);
	if (p->state > PROCESS_RUNNING) {
		spin_unlock(&p->obj.lock);
		thread_free(t);
		return E_STATE;
	}
	if (p->state == PROCESS_NEW) {
		p->state = PROCESS_RUNNING;
		p->prio = prio;
	}
	object_get(&p->obj);	/* the thread's own reference */
	p->thread_count++;
	list_push_back(&p->threads, &t->siblings);
	spin_unlock(&p->obj.lock);
	*out = t;
	return OK;
undo:
	quota_give_pages(&p->quota, KSTACK_SIZE / PAGE_SIZE);
undo_threads:
	quota_give_threads(&p->quota, 1);
	return s;
}

void
thread_exit_current(void)
{
	struct thread *t = current_thread();

	KASSERT(t->proc != NULL);
	thread_arm(t);
	t->dying = true;
	sched_exit();
}

void
thread_free(struct thread *t)
{
	struct process *p = t->proc;

	bool member = !list_empty(&t->siblings);

	mmu_stack_free(t->stack);
	t->stack = NULL;
	t->state = THREAD_DEAD;
	if (p != NULL) {
		quota_give_pages(&p->quota, KSTACK_SIZE / PAGE_SIZE);
		if (member)
			process_thread_gone(p, t);
	}
	t->proc = NULL;
	__atomic_fetch_sub(&threads_live, 1, __ATOMIC_RELAXED);
	spin_lock(&lock);
	list_push_back(&unused, &t->reap);
	spin_unlock(&lock);
	/* Its place in the table is free: only now may it be taken again. */
	if (p != NULL)
		quota_give_threads(&p->quota, 1);
	if (member)
		object_put(&p->obj);
}
