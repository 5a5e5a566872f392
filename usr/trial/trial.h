/*
 * What the parts of trial share: main.c.
 */
#pragma once

#include "kern/base/types.h"
#include "usr/lib/os.h"

NORETURN void power_off(int status);

/* The disk controller's claim, with a page granted: bus mastering is on. */
handle_t claim(void);

/* What a child ended with: its exit code. */
unsigned result_of(handle_t child, struct epitaph *e);

/* live.c */
void live(void);
int live_as_child(void);

/* rounds.c; the claim of a controller whose queues the kernel checks */
handle_t claim_checked(void);
void rounds(void);
int stranger_as_child(void);

/* commits.c */
void commits(void);

/* exhaust.c */
void registers(void);
void watches(void);
void vectors(void);
int vectors_as_child(void);
void out_of_memory(void);

/* revoke.c */
NORETURN void revokes(void);
