/*
 * What every program has in common that listens: finding the TCP/IP service, its ports, what is
 * done when the service dies, and when to sleep.
 *
 *     static struct sock_server server = { .ports = { 80 }, .count = 1, ... };
 *
 *     for (;;) {
 *         uint64_t until = DEADLINE_NEVER, ready = sock_server_turn(&server, &until);
 *
 *         serve what is ready; accept from server.listener[n], if sock_server_listens(&server, n)
 *         if (there is nothing to do)
 *             sock_server_sleep(&server, until);
 *     }
 *
 * A port that the manifest does not allow is left out: the service's log says so, and asking again
 * would change nothing.  Anything else is tried again after a while.
 */
#pragma once

#include "usr/lib/sock.h"

enum { SOCK_SERVER_PORTS = 4 };

struct sock_server {
	/* The program's. */
	uint16_t ports[SOCK_SERVER_PORTS];
	uint32_t count, backlog;
	handle_t tcpip, ntfn;
	uint64_t bits;			/* of ntfn */
	void (*gone)(void);		/* the service is gone: sock_forget for every connection */
	void (*listens)(void);		/* from now on: says so */
	/* Its own. */
	struct socks socks;
	struct sock listener[SOCK_SERVER_PORTS];
	bool open, said;
};

/* A notification of its own, and the service by the name that every manifest has; ends the program
 * when it has neither. */
void sock_server_start(struct sock_server *v);
/* Sockets with news, taken (sock_ready).  *until: come again at that time. */
uint64_t sock_server_turn(struct sock_server *v, uint64_t *until);
static inline bool
sock_server_listens(const struct sock_server *v, uint32_t n)
{
	return v->open && v->listener[n].k != NULL;
}
/* Shows the service everything.  True: there is nothing to do, and it signals from now on; then
 * wait, and call sock_server_woke in any case. */
NODISCARD bool sock_server_may_sleep(struct sock_server *v);
void sock_server_woke(struct sock_server *v);
/* For programs that wait for nothing else: all of that. */
void sock_server_sleep(struct sock_server *v, uint64_t until);
