/*
 * What the two ways of a message share: ipc_direct.c, and ipc.c for everything that is not as
 * usual.
 */
#pragma once

#include "kern/ipc.h"
#include "kern/md/trap.h"
#include "kern/thread.h"

enum { CALL_OUT = TAG_WORDS | TAG_HANDLES | TAG_LABEL };

/* The slow ways, from the start. */
enum status ipc_call_slow(struct thread *t, struct uregs *u);
enum status ipc_reply_recv_slow(struct thread *t, struct uregs *u);

/* The wait word that a token stands for: only while that wait is armed does it mean anything. */
static ALWAYS_INLINE uint64_t
token_wait(uint64_t token)
{
	return (token & ~(uint64_t)WAIT_STATE) | WAIT_ARMED;
}

/* The thread that a token names, or NULL: the table only grows. */
static ALWAYS_INLINE struct thread *
token_thread(uint64_t token)
{
	return load_relaxed(&threads[FIELD_GET(WAIT_INDEX, token)]);
}

/* Copies the words of a message, in steps of four. */
static ALWAYS_INLINE void
copy_words(struct uregs *to, const struct uregs *from, uint64_t tag)
{
	if ((tag & TAG_WORDS) == 0)
		return;
	to->w[0] = from->w[0];
	to->w[1] = from->w[1];
	to->w[2] = from->w[2];
	to->w[3] = from->w[3];
	if (unlikely((tag & TAG_WORDS) > FIELD_PREP(TAG_WORDS, 4))) {
		to->w[4] = from->w[4];
		to->w[5] = from->w[5];
		to->w[6] = from->w[6];
		to->w[7] = from->w[7];
	}
}

static ALWAYS_INLINE struct thread *
queued_thread(struct list *l)
{
	return list_entry(l, struct thread, queue);
}
