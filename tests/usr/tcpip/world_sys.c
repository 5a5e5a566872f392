/*
 * The world of a TCP/IP service: system calls, and whom it calls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/usr/tcpip/world_parts.h"

enum { OBJECTS = 4096, REPLIES = 64 };

struct world_rights world_rights = { .connect = true, .ports = { ECHO, DISCARD, SOURCE, 53 } };
static uint64_t ntfn_bits[2];		/* the client's, the service's */
static struct socks *keeper;
static uint64_t keeper_token;
static bool keeper_again;		/* it calls again, at once */
static bool client_dead;

static struct { void *p; uint64_t bytes; uint32_t maps; } object[OBJECTS];
const struct start_block *start_info;
const struct boot_info *boot_info;

uint64_t now_ns(void) { return world_clock; }
void service_ready(void) {}

void
die(const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	world_fail(text);
}

void
log_line(unsigned level MAYBE, const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	if (getenv("WORLD_LOG") != NULL)
		fprintf(stderr, "%s end: %s\n", world_far_side ? "far" : "this", text);
}

handle_t
start_handle(const char *name)
{
	return strcmp(name, "kernel") == 0 ? WORLD_KERNEL :
	    strcmp(name, "init") == 0      ? WORLD_INIT :
	    strcmp(name, "devmgr") == 0    ? WORLD_DEVMGR :
					     WORLD_TCPIP;
}

void *
pages_alloc(uint64_t pages, handle_t *memory)
{
	uint32_t i;
	void *p;

	for (i = 0; i < OBJECTS && object[i].p != NULL; i++)
		;
	if (i == OBJECTS)
		return NULL;
	p = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
	memset(p, 0, pages * PAGE_SIZE);
	/* The heap's chunks are never unmapped: no object. */
	if (memory == NULL)
		return p;
	object[i].p = p;
	object[i].bytes = pages * PAGE_SIZE;
	object[i].maps = 1;
	*memory = 1000 + i;
	return p;
}

uint8_t *
world_object(uint64_t h, uint64_t *bytes)
{
	if (h < 1000 || h - 1000 >= OBJECTS || object[h - 1000].p == NULL)
		world_fail("no such memory");
	*bytes = object[h - 1000].bytes;
	return object[h - 1000].p;
}

/* A service's and a client's mapping of an object are the same pages here. */
void
world_unmap(uint64_t va)
{
	for (uint32_t i = 0; i < OBJECTS; i++) {
		if (object[i].p == NULL || (uint64_t)(uintptr_t)object[i].p != va)
			continue;
		if (--object[i].maps == 0) {
			free(object[i].p);
			object[i].p = NULL;
		}
		return;
	}
	world_fail("what is not mapped is unmapped");
}

void
sleep_until(uint64_t ns)
{
	/* Whoever sleeps for his keeper: the service has answered it, or is gone. */
	if (keeper != NULL && keeper_token == 0)
		__atomic_store_n(&keeper->keeper, 0, __ATOMIC_RELEASE);
	while (world_clock < ns)
		world_take_step(ns);
}

static void
stay(void)
{
	struct msg m = { .label = SOCK_CALL_STAY, .words = 1, .badge = 1, .token = 1 };

	keeper_again = false;
	if (keeper == NULL)
		return;
	m.w[0] = keeper->session;
	keeper_token = 1;
	session_call(&m);
}

void sys_full(struct sysregs *r MAYBE) { abort(); }

enum status
sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e MAYBE,
    uint64_t f MAYBE, uint64_t *r0, uint64_t *r1)
{
	uint64_t random[4] = { world_far_side, 1, 2, 3 };

	*r0 = *r1 = 0;
	switch (nr) {
	case SYS_clock:
		*r0 = world_clock;
		return OK;
	case SYS_ntfn_create:
		*r0 = WORLD_NTFN + 1000;
		return OK;
	case SYS_handle_dup:
		*r0 = a;
		return OK;
	case SYS_handle_close:
		return OK;
	case SYS_handle_info:
		*r0 = OBJ_NOTIFICATION | (uint64_t)RIGHT_SIGNAL << 32;
		return OK;
	case SYS_info:
		if (b != INFO_RANDOM)
			return E_RIGHTS;
		memcpy((void *)(uintptr_t)d, random, sizeof(random));
		return OK;
	case SYS_mem_map:
		if (b < 1000 || b - 1000 >= OBJECTS || object[b - 1000].p == NULL ||
		    d > object[b - 1000].bytes)
			world_fail("no such memory");
		object[b - 1000].maps++;
		*r0 = (uint64_t)(uintptr_t)object[b - 1000].p;
		return OK;
	case SYS_mem_unmap:
		world_unmap(b);
		return OK;
	case SYS_thread_create:
		if (world_nic_keeper((void *)(uintptr_t)d))
			return OK;
		keeper = (struct socks *)(uintptr_t)d;
		stay();
		return OK;
	case SYS_ntfn_signal:
		ntfn_bits[a != WORLD_NTFN] |= b;
		return OK;
	case SYS_ntfn_signal_wait:
		if (a == HANDLE_NONE) {
			sleep_until(b);
			return E_TIMED_OUT;
		}
		while (ntfn_bits[0] == 0 && world_clock < b)
			world_take_step(b);
		*r0 = ntfn_bits[0];
		ntfn_bits[0] = 0;
		return *r0 != 0 ? OK : E_TIMED_OUT;
	}
	(void)c;
	world_fail("a system call that nobody expects");
}

/* Replies to calls, by token; token 1 is the keeper's. */
static struct { uint64_t token; bool there; struct msg m; } reply[REPLIES];
static uint64_t next_token = 2;

enum status
msg_reply(struct msg *m)
{
	if (m->token == 1) {
		if (client_dead)
			return E_PEER;
		keeper_token = 0;
		keeper_again = m->label == E_WOULD_BLOCK;
		return OK;
	}
	for (uint32_t i = 0; i < REPLIES; i++)
		if (reply[i].token == m->token) {
			reply[i].there = true;
			reply[i].m = *m;
			return OK;
		}
	return E_PEER;
}

enum status
msg_call(handle_t endpoint, struct msg *m, uint64_t deadline)
{
	uint32_t i;

	if (endpoint == WORLD_DEVMGR) {
		m->label = OK;
		m->handles = 1;
		m->w[0] = WORLD_NIC;
		return OK;
	}
	if (endpoint == WORLD_NIC)
		return world_nic_call(m);
	if (endpoint == WORLD_INIT) {
		uint64_t w[4] = { 0 };

		for (i = 0; i < ARRAY_SIZE(world_rights.ports); i++)
			w[i / 4] |= (uint64_t)world_rights.ports[i] << i % 4 * 16;
		m->label = OK;
		m->w[0] = world_rights.connect;
		memcpy(&m->w[1], w, sizeof(w));
		memcpy(&m->w[5], "client", 7);
		return OK;
	}
	for (i = 0; i < REPLIES && reply[i].token != 0; i++)
		;
	if (endpoint != WORLD_TCPIP || i == REPLIES)
		world_fail("a call to nobody");
	reply[i].token = m->token = ++next_token;
	reply[i].there = false;
	m->badge = 1;
	session_call(m);
	while (!reply[i].there && world_clock < deadline)
		world_take_step(deadline);
	reply[i].token = 0;
	if (!reply[i].there)
		return E_TIMED_OUT;
	*m = reply[i].m;
	return OK;
}

void
world_kill_client(void)
{
	client_dead = true;
	keeper = NULL;
}

void
world_keeper_calls(void)
{
	if (keeper_again)
		stay();
}
