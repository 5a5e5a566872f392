/*
 * The packet server in a host program: the whole of it (usr/netd, usr/lib/drv.c, dev/virtio), on a
 * kernel of functions, with a strict device behind (tests/lib/model_virtio.h), and with its client,
 * which is the test with or without the client's library (usr/lib/net.c).
 *
 * The server and the library's keeper are fibers; the test is what runs else.  Whatever waits in
 * the test lets them run; time is virtual and moves on when nobody has anything to do.
 *
 * The kernel lends out memory, grants and handles and counts what the server has.  It stops the
 * program when the server asks for what no program may, takes memory away that the device still
 * has, or keeps turning without ever waiting.
 */
#pragma once

#include "tests/lib/model_virtio.h"
#define main program_main	/* os.h declares that of a program */
#include "usr/lib/net.h"
#undef main

enum { WORLD_NETD = 1 };	/* handle: to call it by */

extern struct model_virtio world_nic;
extern struct drv_device world_device;

/* A machine with a NIC of so many pairs of queues, all as new; then the test may change the NIC. */
void world_power_up(unsigned pairs);
/* The server starts, with these arguments; true when it serves. */
bool world_start(const char *args);
/* It dies, and the kernel takes everything apart. */
void world_kill(void);
/* Everything ends; nothing that was made here is left. */
void world_end(void);
/* Why the server ended: its last words; NULL: it has not. */
const char *world_dead(void);

uint64_t world_now(void);
/* Until nobody has anything to do. */
void world_settle(void);
void world_run(uint64_t ns);
/* The device sends what it has to send: interrupts; config: that of its configuration, too. */
void world_interrupt(bool config);
/* A call of the test's own, as a client: 1 is the library's; others may change the interface, too.
 * E_TIMED_OUT: not answered in a second. */
enum status world_call(struct msg *m, uint32_t client);
/* The library's keeper dies with its client. */
void world_kill_client(void);
/* A notification or memory of the test's. */
handle_t world_ntfn(void);
void *world_memory(uint64_t pages, handle_t *h);
/* Bits that were signalled on it, taken. */
uint64_t world_bits(handle_t ntfn);

/* What the server has now. */
struct world_held { uint32_t handles, maps, grants; };
struct world_held world_held(void);

/* Something of the log has this in it. */
bool world_logged(const char *part);
/* Allocations of the server's that still work; then E_QUOTA. */
extern uint32_t world_quota;
