/*
 * One CPU, as the portable kernel knows it.  The fields with an offset are used by entry code of
 * the architectures.
 */
#pragma once

#include "kern/base/types.h"

struct thread;
struct mmu_space;
struct run_queue;
struct trace_ring;

enum { CPUS_MAX = 32 };

struct cpu {
	struct thread *current;		/* 0: the thread that runs here */
	uintptr_t kstack_top;		/* 8: where entries from user mode start (x86) */
	uintptr_t scratch;		/* 16: for entry code */
	struct cpu *self;		/* 24 */
	uint32_t id;			/* 32: 0 .. CPUS_MAX - 1; 0 boots */
	bool online;			/* (a) set by the CPU itself */
	bool resched;			/* 37: (a) leave user mode's thread at the next chance */
	bool in_interrupt;		/* set by the architecture around interrupt handlers */
	uint64_t hwid;
	struct run_queue *rq;		/* (c) */
	struct mmu_space *space;	/* active now, or NULL */
	struct trace_ring *trace;	/* NULL: traces nothing */
	uint64_t tlb_flushes;		/* stale translations forgotten at a switch */
	uint64_t shootdowns;		/* and because another CPU asked */
	void *md;			/* the architecture's own */
	uint8_t held_rank[16];		/* debug: ranks of locks held */
	uint32_t held_count;
};

static_assert(offsetof(struct cpu, current) == 0 && offsetof(struct cpu, resched) == 37 &&
    offsetof(struct cpu, kstack_top) == 8 && offsetof(struct cpu, scratch) == 16 &&
    offsetof(struct cpu, self) == 24);

/*
 * One attempt to start a CPU.  The CPU takes it before it touches anything else; one that comes
 * when it was given up sleeps for good.  So what was meant for it can go to another.  Entry code
 * uses the fields by offset.
 */
enum start_state : uint32_t { START_NONE, START_WAITING, START_TAKEN, START_GIVEN_UP };

struct cpu_start {
	enum start_state state;		/* 0: (a) */
	uint64_t hwid;			/* 8: (c) who is meant */
	void *stack_top;		/* 16: (c) */
	struct cpu *cpu;		/* 24: (c) */
};
static_assert(offsetof(struct cpu_start, hwid) == 8 &&
    offsetof(struct cpu_start, stack_top) == 16 && offsetof(struct cpu_start, cpu) == 24 &&
    START_WAITING == 1 && START_TAKEN == 2);

extern struct cpu cpus[CPUS_MAX];
extern uint32_t cpu_count;		/* CPUs online */
