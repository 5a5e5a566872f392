/*
 * Which CPUs may hold translations of an address space, and which must forget them first.
 *
 * With process-context ids a CPU keeps the translations of spaces that it does not run.  So a
 * change of a space has two kinds of CPUs to care for: those that run it now are interrupted
 * (mmu.c, shootdown); all the others are marked stale, and forget everything of the space when they
 * load it next.
 *
 *   a CPU that loads the space           whoever changes it
 *     1. tlb_enter: is one of its CPUs     1. entries stored
 *     2. tlb_take_stale: must forget?      2. tlb_spoil: all but itself are stale
 *     3. tables loaded                     3. tlb_users: these are interrupted, and answer
 *
 * Each side writes before it reads what the other writes (both by locked instructions).  So either
 * the changer sees the CPU in step 3, or the CPU sees in step 2 that it is stale; often both, which
 * costs a flush too many.  A CPU that answers has forgotten the range and is not stale any more:
 * changes of one space come one at a time (vs_lock).
 *
 * An id is given back without any flush: its next owner begins with all CPUs stale.  A space
 * without an id is never stale: loading it forgets whatever has no id.
 * Manual: Intel SDM volume 3, 4.10.1 (process-context ids), 4.10.4 (invalidation).
 */
#pragma once

#include "kern/md/mmu.h"

/* In CR3 and in mmu_space.id: translations of the id that is loaded may stay. */
enum : uint64_t { CR3_KEEP = 1ull << 63, PCIDS = 4096 };

static ALWAYS_INLINE void
tlb_enter(struct mmu_space *s, uint64_t cpu)
{
	__atomic_fetch_or(&s->cpus, cpu, __ATOMIC_SEQ_CST);
}

/* After other tables were loaded. */
static ALWAYS_INLINE void
tlb_leave(struct mmu_space *s, uint64_t cpu)
{
	__atomic_fetch_and(&s->cpus, ~cpu, __ATOMIC_SEQ_CST);
}

/* Must the CPU forget what it knows of the space? */
static ALWAYS_INLINE bool
tlb_take_stale(struct mmu_space *s, uint64_t cpu)
{
	if (likely((__atomic_load_n(&s->stale, __ATOMIC_SEQ_CST) & cpu) == 0))
		return false;
	__atomic_fetch_and(&s->stale, ~cpu, __ATOMIC_SEQ_CST);
	return true;
}

/* Entries were changed: all CPUs but "clean", which have forgotten them already, must before they
 * use the space. */
static ALWAYS_INLINE void
tlb_spoil(struct mmu_space *s, uint64_t clean)
{
	__atomic_fetch_or(&s->stale, s->id != 0 ? ~clean : 0, __ATOMIC_SEQ_CST);
}

static ALWAYS_INLINE uint64_t
tlb_users(struct mmu_space *s)
{
	return __atomic_load_n(&s->cpus, __ATOMIC_SEQ_CST);
}

/* The CPU runs the space and has forgotten what was changed. */
static ALWAYS_INLINE void
tlb_answer(struct mmu_space *s, uint64_t cpu)
{
	__atomic_fetch_and(&s->stale, ~cpu, __ATOMIC_SEQ_CST);
}
