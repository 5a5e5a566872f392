/*
 * What the files of a TCP/IP service's world share (world.h).
 *
 *   world.c       time, the wire at this end, turns
 *   world_nic.c   the NIC's server
 *   world_sys.c   system calls
 *   world_far.c   the far end, and the way there
 */
#pragma once

#include "kern/base/bits.h"
#define main program_main	/* os.h declares that of a program */
#include "lwip/netif.h"
#include "usr/lib/devmgr.h"
#include "usr/lib/net.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/tcpip.h"
#undef main
#include "tests/usr/tcpip/world.h"

#define MAYBE __attribute__((unused))

enum { WIRE_FRAMES = 4096, WIRE_FRAME = 2048 };

/* Frames on their way, in the order of their times. */
struct wire_frame { uint64_t at; uint32_t len; uint8_t bytes[WIRE_FRAME]; };
struct wire_queue { struct wire_frame *f[WIRE_FRAMES]; uint32_t n; };
/* Of this end's NIC; of the wire. */
extern struct wire_queue wire_in, wire_out, wire_to_far, wire_to_here;
void wire_push(struct wire_queue *q, const void *bytes, uint32_t len, uint64_t at);
struct wire_frame *wire_pop(struct wire_queue *q);
/* One over the wire, or not, or twice. */
void wire_carry(struct wire_queue *to, struct wire_frame *f);

extern uint64_t world_clock, world_far_next;
extern bool world_alone, world_far_side;
NORETURN void world_fail(const char *what);
void world_take_step(uint64_t until);
void world_seed(uint64_t seed);
/* Memory by its handle, which is somebody's; a mapping of it that is not needed any more. */
uint8_t *world_object(uint64_t h, uint64_t *bytes);
void world_unmap(uint64_t va);
/* When something happens at this end. */
uint64_t world_next(void);
/* The far end's turn, if it is due. */
void world_far_turn(void);
/* The client's keeper calls again, if it is to. */
void world_keeper_calls(void);
/* The NIC's server: its turn, true when it did something; calls to it; the thread that its client
 * made, if it is its keeper. */
bool world_nic_serve(void);
enum status world_nic_call(struct msg *m);
bool world_nic_keeper(void *of);
bool world_nic_dead(void);
/* When the NIC's server comes back; DEADLINE_NEVER: it is there. */
uint64_t world_nic_next(void);
