/*
 * A packet server for tests of the client's end: it opens sessions, and its ring is the test's to
 * write.  It does nothing by itself, and it can lie.  The system calls of the library are here.
 */
#pragma once

#define main program_main	/* os.h declares that of a program */
#include "usr/lib/net.h"
#undef main

enum { SERVER_ENDPOINT = 10, SERVER_NTFN = 11, SERVER_AREA_HANDLE = 12, SERVER_AREA = 64 * 2048 };

enum server_lie {
	SERVER_HONEST,
	SERVER_NO_RING,		/* a handle, but not of memory */
	SERVER_SMALL_RING,
	SERVER_NO_HANDLES,	/* numbers of the client's own in their place */
	SERVER_ODD_LABEL,	/* a status that is none */
	SERVER_EXTRA_HANDLES,
	SERVER_LIES,
};
extern enum server_lie server_lie;
extern uint8_t *server_area;		/* the packet area: SERVER_AREA bytes */

/* As new; the one before has no session any more. */
void server_start(void);
void server_stop(void);
struct net_ring *server_ring(void);
/* It dies, and another one serves. */
void server_dies(struct net *n);
/* What the client has: rings mapped, and handles of what it was given. */
uint32_t server_rings(void);
uint32_t server_handles(void);
