/*
 * Lock ranks, checked in debug builds, and the waiting loop.
 */
#include "kern/lock.h"
#include "kern/cpu.h"
#include "kern/md/cpu.h"
#include "kern/panic.h"

void
lock_wait(void)
{
	CPU_RELAX();
	cpu_spin_poll();
}

#if CAPOS_DEBUG
void
lock_check_acquire(struct spinlock *l)
{
	struct cpu *c = this_cpu();

	KASSERT(l->rank != RANK_NONE);
	KASSERT(c->held_count < sizeof(c->held_rank));
	if (c->held_count != 0 && c->held_rank[c->held_count - 1] >= l->rank)
		panic("lock of rank %u taken while one of rank %u is held", l->rank,
		    c->held_rank[c->held_count - 1]);
	c->held_rank[c->held_count++] = l->rank;
}

void
lock_check_release(struct spinlock *l)
{
	struct cpu *c = this_cpu();
	uint32_t i = c->held_count;

	KASSERT(l->held != 0);
	while (i != 0 && c->held_rank[i - 1] != l->rank)
		i--;
	KASSERT(i != 0);
	for (; i < c->held_count; i++)
		c->held_rank[i - 1] = c->held_rank[i];
	c->held_count--;
}
#endif
