/*
 * What a supervisor does when a program of its own ends: a pure function of policy and history.
 *
 * An end before the program served, however long that took, is a quick one, and so is one within
 * "stable_ms" of that.  Quick ends in a row are counted: the first is answered at once, each later
 * one after twice the time of the one before, so a program that cannot live never becomes a hot
 * loop, nor does a driver whose device takes its time to fail.  With RESTART_LIMIT the program is
 * given up at the limit.  A kill is somebody's wish and counts for nothing.
 */
#pragma once

#include "kern/abi/process.h"
#include "kern/base/types.h"

enum restart_kind : uint32_t { RESTART_ALWAYS, RESTART_NEVER, RESTART_LIMIT };

struct restart_policy {
	uint32_t kind;			/* enum restart_kind */
	uint32_t limit; /* quick ends in a row at which it is given up (RESTART_LIMIT) */
	uint32_t backoff_ms[2];		/* before the second start in a row; at most */
	uint32_t stable_ms;
};

struct supervision {
	uint64_t serves_at, ended_at;
	uint64_t restarts;
	uint32_t quick;			/* quick ends in a row */
	bool serves;
};

enum supervise_verdict : uint8_t { SUPERVISE_RESTART, SUPERVISE_GIVE_UP, SUPERVISE_FINISHED };

void supervise_started(struct supervision *s);
/* It said that it serves; for one that says nothing, right after the start. */
void supervise_serves(struct supervision *s, uint64_t now);

/* It ended, or could not be started.  SUPERVISE_RESTART: at *restart_at; SUPERVISE_FINISHED: it was
 * to run once. */
NODISCARD enum supervise_verdict supervise_ended(struct supervision *s,
    const struct restart_policy *p, enum exit_reason reason, uint64_t now, uint64_t *restart_at);
