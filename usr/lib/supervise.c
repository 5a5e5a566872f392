/*
 * Restart policy: supervise.h.
 */
#include "usr/lib/supervise.h"

void
supervise_started(struct supervision *s)
{
	s->serves = false;
}

void
supervise_serves(struct supervision *s, uint64_t now)
{
	s->serves = true;
	s->serves_at = now;
}

enum supervise_verdict
supervise_ended(struct supervision *s, const struct restart_policy *p, enum exit_reason reason,
    uint64_t now, uint64_t *restart_at)
{
	uint64_t wait_ms = 0;

	s->ended_at = now;
	*restart_at = now;
	if (p->kind == RESTART_NEVER)
		return SUPERVISE_FINISHED;
	if (reason == EXIT_KILLED)
		return SUPERVISE_RESTART;
	if (s->serves && now - s->serves_at >= (uint64_t)p->stable_ms * NS_PER_MS)
		s->quick = 0;
	if (s->quick < UINT32_MAX)
		s->quick++;
	if (p->kind == RESTART_LIMIT && s->quick >= p->limit)
		return SUPERVISE_GIVE_UP;
	if (s->quick > 1) {
		uint32_t doublings = s->quick - 2;

		wait_ms =
		    doublings < 32 ? (uint64_t)p->backoff_ms[0] << doublings : p->backoff_ms[1];
		if (wait_ms > p->backoff_ms[1])
			wait_ms = p->backoff_ms[1];
	}
	*restart_at = now + wait_ms * NS_PER_MS;
	return SUPERVISE_RESTART;
}
