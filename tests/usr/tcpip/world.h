/*
 * The TCP/IP service in a host program, with its clients, and another one at the end of a wire.
 *
 * The far end is a child process: lwIP is one to a process.  Time is virtual and both ends live in
 * it: world_step lets both work, carries packets over the wire, and moves the clock on to the next
 * thing that happens.  The wire loses, repeats, delays and swaps packets as told, by a seeded
 * generator; so every run is the same.
 *
NAMES is a name server: what it
 * knows is in far_name.
 *
 * This end's clients are the test's own code: what waits (ntfn_wait, msg_call, sleep_until) takes
 * steps.  The far end serves: ECHO sends back what it gets; SOURCE sends SOURCE_BYTES of a pattern
 * to each that connects, and closes; DISCARD checks the pattern that it gets, and counts.
 */
#pragma once

#include "usr/lib/sock.h"

struct net_ring;
struct net_rx;

enum {
	WORLD_TCPIP = 100,		/* handles: to call the service by; a notification */
	WORLD_NTFN = 101,
	WORLD_KERNEL = 102,
	WORLD_INIT = 103,
	WORLD_DEVMGR = 104,
	WORLD_NIC = 105,
	ECHO = 7,
	DISCARD = 9,
	SOURCE = 19,
	NOBODY = 4000,			/* a port that nobody listens on */
	SOURCE_BYTES = 3'000'000,
};

struct wire {
	uint32_t lose, repeat, swap, flip;	/* of 1000 packets, so many */
	uint64_t delay_ns;
	bool cut;			/* nothing comes through */
	uint32_t features;		/* of the NICs at both ends (enum net_flag) */
};
extern struct wire wire;

/* What the manifest would say of who calls (this end). */
extern struct world_rights { bool connect; uint16_t ports[8]; } world_rights;

/* Begins the world: forks the far end. */
void world_start(uint64_t seed);
/* Alone, without another end and without a wire: packets by hand. */
void world_start_alone(void);
/* Ends the far end; requires that it had nothing to complain of. */
void world_stop(void);
/* Something happens. */
void world_step(void);
/* Until then. */
void world_run(uint64_t ns);
uint64_t world_now(void);
/* Byte at a place of the pattern. */
uint8_t world_pattern(uint64_t at);
/* The NIC's server dies, and comes back after so long; what it had is lost. */
void world_kill_nic(uint64_t for_ns);
/* The client of this end is dead: nobody takes its keeper's answers. */
void world_kill_client(void);
/* Packets that this end has sent, in world_start_alone: the next one; 0: none. */
uint32_t world_sent(uint8_t *packet, uint32_t size);
/* A packet for this end. */
void world_receive(const uint8_t *packet, uint32_t len);
/* Until this end has nothing to do. */
void world_settle(void);
/* Of the connections that this end had: how many go by each of so many pairs of queues. */
void world_flows(uint32_t pairs, uint32_t *of);
/* The NIC's server lies: its ring, NULL when there is no session; it does nothing by itself; it
 * says that it has received this. */
struct net_ring *world_nic_ring(void);
void world_nic_silent(bool silent);
void world_nic_gives(const struct net_rx *r);
/* Large packets that this end's NIC has cut. */
uint32_t world_cut(void);
/* Bytes that DISCARD has got right, over there; a wrong one ends the far end. */
uint64_t world_discarded(void);
/* The session's page and so on are the test's: as the service's, for those that lie. */
struct sock_addr world_far(void);
struct sock_addr world_far6(void);
