/*
 * Processes: a handle table, an address space, threads, a quota.
 *
 * Life.  new (no thread yet) -> running -> ending -> dead.  Ending starts with the last thread's
 * exit, a kill or a fault: threads are told to leave; when the last has left its CPU, the worker
 * closes handles and unmaps in bounded steps, then the process is dead and its watcher is
 * signalled.  One that was never started, and whose last handle goes, ends in the same steps.  The
 * worker rests as long as it has worked on it, so that less urgent ones have their CPU meanwhile.
 * The object stays, with its epitaph, while a handle, an object that it pays for, or a parent's
 * account refers to it.
 *
 * Quota.  What a child may use is taken out of its parent's quota when it is made and goes back
 * when the child's object goes; so ending a process is paid by its parent.
 */
#pragma once

#include "kern/abi/process.h"
#include "kern/base/itree.h"
#include "kern/base/list.h"
#include "kern/handle.h"
#include "kern/md/mmu.h"
#include "kern/object.h"
#include "kern/quota.h"
#include "kern/worker.h"

struct notification;
struct thread;

struct watch { struct notification *ntfn; uint64_t bits; };	/* ntfn counted */

struct process {
	struct object obj;
	struct mmu_space space;
	struct handle_table handles;
	struct quota quota;
	struct spinlock vs_lock;	/* RANK_VSPACE */
	struct itree mappings;		/* (vs_lock) */
	struct list threads;		/* (obj.lock) */
	uint32_t thread_count;		/* (obj.lock) started and not gone */
	enum process_state state;	/* (obj.lock) */
	uint32_t id, parent_id;
	struct process *parent;		/* (c) counted */
	uint64_t cycles_gone;		/* of threads that ended */
	uint8_t prio;
	bool space_live;		/* (vs_lock) mappings may come */
	uint8_t end_phase;		/* the worker's from here: what is left of it; 0: nothing */
	bool end_waits;			/* a claim is not over yet */
	uint32_t end_at;		/* of its handles */
	bool counted; /* among its maker's processes: until its address space is gone */
	struct watch watch;		/* (obj.lock) */
	struct epitaph epitaph;		/* (obj.lock) */
	struct work end;
	char name[PROCESS_NAME];
};

static inline struct mmu_space *process_space(struct process *p) { return &p->space; }
static inline struct process *
process_of(struct object *o)
{
	return container_of(o, struct process, obj);
}

/* A new process charged to parent (NULL: the first). */
NODISCARD enum status process_create(struct process *parent, const char *name,
    const struct process_limits *limits, struct process **out);

/* Starts the end: reason and code as given, unless it is ending already. */
void
process_end(struct process *p, enum exit_reason reason, uint64_t code, const struct fault_info *f);

/* A thread of p is gone; the last one sets the worker on it.  Called with no lock. */
void process_thread_gone(struct process *p, struct thread *t);

/* Signals a watch; lock of its owner held. */
void watch_fire(struct watch *w);
void watch_set(struct watch *w, struct notification *n, uint64_t bits, struct notification **old);

void process_info(struct process *p, struct process_info *out);
