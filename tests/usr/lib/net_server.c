/* A packet server for tests of the client's end: net_server.h. */
#include "tests/usr/lib/net_server.h"

#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"

enum { FIRST = 100, HANDLES = 4096 };	/* handles that were given */

enum server_lie server_lie;
uint8_t *server_area;
static struct net_ring *ring;		/* of the newest session */
static uint64_t now = NS_PER_S, sessions;
static bool given[HANDLES];
static uint32_t next, rings;
static struct net *keepers;		/* whose keeper stays */

struct net_ring *server_ring(void) { return ring; }
uint32_t server_rings(void) { return rings; }

uint32_t
server_handles(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < HANDLES; i++)
		n += given[i];
	return n;
}

void
server_stop(void)
{
	free(server_area);
	server_area = NULL;
	ring = NULL;
}

void
server_start(void)
{
	server_stop();
	server_area = malloc(SERVER_AREA);
	memset(server_area, 0, SERVER_AREA);
	server_lie = SERVER_HONEST;
	memset(given, 0, sizeof(given));
	next = rings = 0;
	keepers = NULL;
}

void
server_dies(struct net *n)
{
	if (keepers != n)
		return;
	keepers = NULL;
	store_release(&n->lost, 2);
	store_release(&n->keeper, 0);
}

static uint64_t
give(void)
{
	given[next % HANDLES] = true;
	return FIRST + next++ % HANDLES;
}

static void
close_handle(uint64_t h)
{
	if (h < FIRST || h >= FIRST + HANDLES || !given[h - FIRST])
		abort();		/* it lets go of what is its own, or nobody's */
	given[h - FIRST] = false;
}

static void
open_session(struct msg *m)
{
	if (m->handles != 3 || m->w[1] != SERVER_NTFN || m->w[3] != SERVER_AREA)
		abort();
	m->label = server_lie == SERVER_ODD_LABEL ? 256 : OK;
	m->handles = server_lie == SERVER_NO_HANDLES ? 0 :
	    server_lie == SERVER_EXTRA_HANDLES	      ? 15 :
							3;
	*m = (struct msg){ .label = m->label, .handles = m->handles,
		.w = { SERVER_NTFN, SERVER_AREA_HANDLE, ++sessions, 1500ull << 48, 0, 1 } };
	for (unsigned i = 0; i < 4; i++)
		if ((m->handles >> i & 1) != 0)
			m->w[i] = give();
}

enum status
msg_call(handle_t endpoint, struct msg *m, uint64_t deadline UNUSED)
{
	struct net *n = keepers;

	if (endpoint != SERVER_ENDPOINT)
		abort();
	switch (m->label) {
	case NET_CALL_OPEN: open_session(m); return OK;
	case NET_CALL_CLOSE:
		keepers = NULL;
		if (n != NULL)
			store_release(&n->keeper, 0);
		m->label = OK;
		return OK;
	}
	abort();
}

uint64_t now_ns(void) { return now += 1000; }
void sleep_until(uint64_t ns) { now = max_u64(now, ns); }
void sys_full(struct sysregs *r UNUSED) { abort(); }

enum status
sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c UNUSED, uint64_t d, uint64_t e UNUSED,
    uint64_t f UNUSED, uint64_t *r0, uint64_t *r1)
{
	*r0 = *r1 = 0;
	switch (nr) {
	case SYS_handle_close: close_handle(a); return OK;
	case SYS_mem_map:
		if (b < FIRST || !given[b - FIRST])
			abort();	/* of its own memory */
		if (server_lie == SERVER_NO_RING)
			return E_TYPE;
		if (server_lie == SERVER_SMALL_RING)
			return E_RANGE;
		/* As long as the structure: what is past it is nobody's. */
		ring = aligned_alloc(64, align_up(sizeof(*ring), 64));
		memset(ring, 0, sizeof(*ring));
		rings++;
		*r0 = (uint64_t)(uintptr_t)ring;
		return OK;
	case SYS_mem_unmap:
		if (b == (uint64_t)(uintptr_t)ring)
			ring = NULL;
		free((void *)(uintptr_t)b);
		rings--;
		return OK;
	case SYS_thread_create:
		keepers = (struct net *)(uintptr_t)d;
		return OK;
	case SYS_ntfn_signal:
		if (a < FIRST && a != SERVER_NTFN)
			abort();
		return OK;
	}
	abort();
}
