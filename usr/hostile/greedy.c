/*
 * "hostile=greedy": a client that wants all sessions of the first disk's server, through one handle
 * and then through many, and keeps what it got.  It must not get more than a client may have
 * (usr/nvmed/session.c), so that others still get one.
 */
#include "usr/hostile/greedy.h"
#include "usr/lib/blk.h"
#include "usr/lib/devmgr.h"

enum { WANTED = 40, HANDLES = 20 };

static struct blk *session[WANTED];

/* A new handle to the first disk's server, as it is given to whoever asks. */
static handle_t
ask(void)
{
	struct msg m = { .label = DEVMGR_BLOCK, .words = 1 };

	return msg_call(start_handle("devmgr"), &m, now_ns() + 5 * NS_PER_S) == OK &&
		m.label == OK ?
	    (handle_t)m.w[0] :
	    HANDLE_NONE;
}

static enum status
open_one(handle_t server, unsigned n)
{
	if (session[n] == NULL)
		session[n] = pages_alloc(pages_of(sizeof(struct blk)), NULL);
	return session[n] != NULL ? blk_open(session[n], server, 0, BLK_RIGHT_READ, PAGE_SIZE) :
				    E_NO_MEMORY;
}

NORETURN void
greedy(void)
{
	handle_t server = ask();
	unsigned got = 0, more = 0;
	enum status s = OK, last = OK;

	while (got < WANTED && (s = open_one(server, got)) == OK)
		got++;
	for (unsigned i = 0; i < HANDLES && got + more < WANTED; i++) {
		handle_t other = ask();

		last = open_one(other, got + more);
		if (last == OK)
			more++;
		else
			(void)sys_handle_close(other);
	}
	log_line(2, "greedy: %u sessions, then: %s; through %u more handles %u sessions: %s", got,
	    status_text(s), HANDLES, more, status_text(last));
	for (;;)
		sleep_until(now_ns() + NS_PER_S);
}
