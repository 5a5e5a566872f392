/*
 * A session with a NIC, for the shell's commands: packet.c.
 */
#pragma once

#include "usr/lib/net.h"
#include "usr/shell/shell.h"

enum {
	WIRE_BUFFERS = 112,		/* to receive into, posted when it opens */
	WIRE_BUFFER = 2048,
	WIRE_SENDING = 32,		/* to send from */
	WIRE_PACKET = 10240,		/* a packet of any MTU up to 10,000 */
	WIRE_AREA = WIRE_BUFFERS * WIRE_BUFFER + WIRE_SENDING * WIRE_PACKET,
};

/* A session with the n-th NIC's server, the only one at a time; NULL: it said why not. */
struct net *wire_open(uint64_t n);
void wire_close(void);
