/*
 * Threads that take turns: for host tests of programs that wait in system calls.  One runs at a
 * time, on a stack of its own, until it yields; the sanitizers are told of each change of stacks.
 */
#pragma once

#include "kern/base/types.h"

struct fiber;

/* Runs fn(arg) from the next fiber_run on.  One that has ended, or is never run again, may be
 * replaced. */
void fiber_start(struct fiber **f, void (*fn)(void *), void *arg);
/* From the test's own stack: until it yields or ends.  False: it has ended. */
bool fiber_run(struct fiber *f);
/* From a fiber. */
void fiber_yield(void);
NORETURN void fiber_end(void);
/* The one that runs; NULL: the test's own stack. */
struct fiber *fiber_self(void);
