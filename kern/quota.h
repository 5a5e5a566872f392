/*
 * What a process may use (D13), counted where it is taken: what there is only so much of.
 *
 *   pages       memory, tables, stacks
 *   objects     kernel objects and mappings
 *   threads     slots in the table of threads
 *   processes   address spaces, whose ids a processor may have few of
 *   vectors     message interrupts: slots, and the controller's numbers
 *
 * A quota is reserved while a call is decoded and given back when the thing goes.
 * Atomic counters; no lock.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct process_limits;

struct quota {
	uint64_t pages_max, objects_max;				/* (a) never go up */
	uint64_t pages, objects;					/* (a) in use */
	uint64_t threads_max, processes_max, vectors_max;		/* (a) never go up */
	uint64_t threads, processes, vectors;				/* (a) */
	uint64_t refused; /* (a) times that something did not fit */
};

/* E_QUOTA and no change when n more do not fit. */
NODISCARD enum status quota_take_pages(struct quota *q, uint64_t n);
void quota_give_pages(struct quota *q, uint64_t n);
NODISCARD enum status quota_take_objects(struct quota *q, uint64_t n);
void quota_give_objects(struct quota *q, uint64_t n);
NODISCARD enum status quota_take_threads(struct quota *q, uint64_t n);
void quota_give_threads(struct quota *q, uint64_t n);
NODISCARD enum status quota_take_processes(struct quota *q, uint64_t n);
void quota_give_processes(struct quota *q, uint64_t n);
NODISCARD enum status quota_take_vectors(struct quota *q, uint64_t n);
void quota_give_vectors(struct quota *q, uint64_t n);

/* A child's quota out of its maker's (NULL: out of nothing): all of it, or E_QUOTA and no change.
 */
NODISCARD enum status
quota_split(struct quota *from, const struct process_limits *l, struct quota *child);
/* What the child does not use goes back, and its limits shrink to what it does.  What it takes just
 * then goes back with a later join.  One join of a child at a time. */
void quota_join(struct quota *to, struct quota *child);
