/*
 * The packet server's world: world.h.  Who runs, who waits for what, calls and time; what a program
 * has else.
 */
#include "tests/usr/netd/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"
#include "tests/lib/fiber.h"
#include "tests/usr/netd/kernel.h"
#define main program_main
#include "usr/lib/blk.h"
#undef main

enum { CALLS = 8, LOG = 1 << 16, TURNS = 10000 };
enum : uint64_t { TICK = 100 };

const struct start_block *start_info;
const struct boot_info *boot_info;
void world_anew(void);

static struct start_block start_block;
static uint64_t netd_until, keeper_until, tokens;
static struct fiber *netd, *keeper;
static bool netd_lives, keeper_lives, ready, killed;
static handle_t netd_waits;		/* its notification, while it waits */
static char last_words[200], log_text[LOG];
static uint32_t log_len;

static struct call {
	struct msg m;
	enum { NONE, SENT, TAKEN, DONE } is;
	enum status s;
	uint64_t badge;
} calls[CALLS];

NORETURN void
kernel_fail(const char *what)
{
	fprintf(stderr, "%s%s\n", log_text, what);
	abort();
}

uint8_t
kernel_self(void)
{
	return netd != NULL && fiber_self() == netd ? SERVERS : TESTS;
}

/* --- calls ----------------------------------------------------------------------- */

static struct call *
send(const struct msg *m, uint64_t badge)
{
	for (unsigned i = 0; i < CALLS; i++) {
		if (calls[i].is != NONE)
			continue;
		calls[i] = (struct call){ .m = *m, .is = SENT, .badge = badge };
		calls[i].m.token = ++tokens;
		return &calls[i];
	}
	kernel_fail("too many calls");
}

enum status
msg_recv(handle_t endpoint, handle_t ntfn, struct msg *m, uint64_t deadline)
{
	uint64_t *bits;
	uint32_t of;

	if (kernel_self() != SERVERS || kernel_find(endpoint, OBJ_ENDPOINT, &of) != OK ||
	    kernel_find(ntfn, OBJ_NOTIFICATION, &of) != OK)
		kernel_fail("somebody else receives");
	bits = kernel_bits(ntfn);
	kernel_looks = 0;
	kernel_now += TICK;
	for (;;) {
		if (killed)
			return E_HANDLE;
		world_interrupt(false);
		if (*bits != 0) {
			*m = (struct msg){ .notification = true, .w = { *bits } };
			*bits = 0;
			return OK;
		}
		for (unsigned i = 0; i < CALLS; i++) {
			struct call *c = &calls[i];

			if (c->is != SENT)
				continue;
			c->is = TAKEN;
			*m = c->m;
			m->badge = c->badge;
			m->notification = false;
			for (unsigned k = 0; k < 4; k++)
				if ((m->handles >> k & 1) != 0)
					m->w[k] = kernel_copy(m->w[k], SERVERS);
			return OK;
		}
		if (kernel_now >= deadline)
			return E_TIMED_OUT;
		netd_until = deadline;
		netd_waits = ntfn;
		fiber_yield();
		netd_waits = HANDLE_NONE;
	}
}

enum status
msg_reply(struct msg *m)
{
	for (unsigned i = 0; i < CALLS; i++) {
		struct call *c = &calls[i];

		if (c->is != TAKEN || c->m.token != m->token)
			continue;
		c->m = *m;
		for (unsigned k = 0; k < 4; k++)
			if ((m->handles >> k & 1) != 0)
				c->m.w[k] = kernel_copy(m->w[k], TESTS);
		c->is = DONE;
		c->s = OK;
		return OK;
	}
	return E_PEER;
}

static bool
netd_can_run(void)
{
	if (!netd_lives)
		return false;
	world_interrupt(false);
	if (netd_waits == HANDLE_NONE || killed || kernel_now >= netd_until ||
	    *kernel_bits(netd_waits) != 0)
		return true;
	for (unsigned i = 0; i < CALLS; i++)
		if (calls[i].is == SENT)
			return true;
	return false;
}

static struct call *keepers;

static bool
keeper_can_run(void)
{
	return keeper_lives &&
	    (kernel_now >= keeper_until || (keepers != NULL && keepers->is == DONE));
}

/* Lets each run that can; false: nobody could. */
static bool
go(void)
{
	bool any = false;

	if (fiber_self() != NULL)
		kernel_fail("a fiber lets others run");
	if (netd_can_run()) {
		any = true;
		netd_lives = fiber_run(netd);
	}
	if (keeper_can_run()) {
		any = true;
		keeper_lives = fiber_run(keeper);
	}
	return any;
}

static void
advance(uint64_t until)
{
	if (netd_lives)
		until = min_u64(until, netd_until);
	if (keeper_lives)
		until = min_u64(until, keeper_until);
	kernel_now = max_u64(kernel_now, until);
}

/* From the test's stack or the keeper's: until the call is answered.  E_TIMED_OUT. */
static enum status
wait_for(struct call *c, struct msg *m, uint64_t deadline)
{
	bool is_keeper = fiber_self() != NULL;
	enum status s;

	while (c->is != DONE && kernel_now < deadline) {
		if (is_keeper) {
			keepers = c;
			keeper_until = deadline;
			fiber_yield();
			keepers = NULL;
		} else if (!go()) {
			advance(deadline);
		}
	}
	s = c->is == DONE ? c->s : E_TIMED_OUT;
	if (s == OK)
		*m = c->m;
	c->is = NONE;
	return s;
}

/* As the device manager makes them: the library's client may open a session. */
static uint64_t
badge(uint32_t client)
{
	uint64_t b = 0;

	if (blk_badge(client, NET_MAY_OPEN | (client != 1 ? NET_MAY_CHANGE : 0), 0, &b) != OK)
		abort();
	return b;
}

enum status
msg_call(handle_t endpoint, struct msg *m, uint64_t deadline)
{
	if (endpoint != WORLD_NETD || kernel_self() == SERVERS)
		kernel_fail("a call to nobody");
	return netd_lives ? wait_for(send(m, badge(1)), m, deadline) : E_PEER;
}

enum status
world_call(struct msg *m, uint32_t client)
{
	return netd_lives ? wait_for(send(m, badge(client)), m, kernel_now + NS_PER_S) : E_PEER;
}

void
sleep_until(uint64_t ns)
{
	if (fiber_self() == NULL) {
		while (kernel_now < ns)
			if (!go())
				advance(ns);
		return;
	}
	if (kernel_self() == SERVERS)
		kernel_fail("the server sleeps");
	for (keeper_until = ns; kernel_now < ns;)
		fiber_yield();
}

/* The library gave it as a number: the program counter of a thread. */
__attribute__((no_sanitize("function"))) static void
keeper_runs(void *arg)
{
	void **a = arg;

	((void (*)(void *))a[0])(a[1]);
}

void
world_start_keeper(uint64_t pc, uint64_t arg)
{
	static void *args[2];

	args[0] = (void *)(uintptr_t)pc;
	args[1] = (void *)(uintptr_t)arg;
	keeper_lives = true;
	keeper_until = 0;
	keepers = NULL;
	fiber_start(&keeper, keeper_runs, args);
}

/* --- the program ----------------------------------------------------------------- */

uint64_t now_ns(void) { return kernel_now += TICK; }
void sys_full(struct sysregs *r UNUSED) { abort(); }
void service_ready(void) { ready = true; }
uint32_t cpu_count(void) { return 4; }

void
log_line(unsigned level UNUSED, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (log_len < LOG - 400)
		log_len += (uint32_t)fmt_vbuf(log_text + log_len, 300, format, ap);
	va_end(ap);
	log_text[log_len++] = '\n';
	log_text[log_len] = '\0';
}

bool world_logged(const char *part) { return strstr(log_text, part) != NULL; }

handle_t
start_handle(const char *name)
{
	return strcmp(name, "endpoint") == 0 ? kernel_handle(OBJ_ENDPOINT, 0, SERVERS) :
	    strcmp(name, "device") == 0	     ? kernel_handle(OBJ_DEVICE, 0, SERVERS) :
					       HANDLE_NONE;
}

uint32_t
start_number(const char *name, uint32_t otherwise)
{
	const char *at = strstr(start_block.args, name);

	return at != NULL ? (uint32_t)atoi(at + strlen(name) + 1) : otherwise;
}

/* --- life and death -------------------------------------------------------------- */

/* The kernel takes apart what the server had. */
static void
teardown(void)
{
	kernel_teardown();
	for (unsigned i = 0; i < CALLS; i++)
		if (calls[i].is == SENT || calls[i].is == TAKEN) {
			calls[i].is = DONE;
			calls[i].s = E_PEER;
		}
}

void
die(const char *format, ...)
{
	va_list ap;

	if (kernel_self() != SERVERS)
		kernel_fail("somebody else dies");
	va_start(ap, format);
	(void)fmt_vbuf(last_words, sizeof(last_words), format, ap);
	va_end(ap);
	teardown();
	fiber_end();
}

const char *world_dead(void) { return netd_lives ? NULL : last_words; }

void
world_kill(void)
{
	killed = true;
	while (netd_lives)
		netd_lives = fiber_run(netd);
	killed = false;
}

static void
netd_runs(void *arg UNUSED)
{
	(void)program_main();
	kernel_fail("the server's main returned");
}

bool
world_start(const char *args)
{
	world_anew();
	start_block = (struct start_block){ 0 };
	(void)snprintf(start_block.args, sizeof(start_block.args), "%s", args);
	start_info = &start_block;
	kernel_status = (struct dma_status){ .look = 1, .fault_seq = world_device.faults };
	world_quota = UINT32_MAX;
	last_words[0] = '\0';
	ready = false;
	kernel_looks = 0;
	netd_lives = true;
	netd_waits = HANDLE_NONE;
	fiber_start(&netd, netd_runs, NULL);
	world_settle();
	return ready && netd_lives;
}

void
world_power_up(unsigned pairs)
{
	kernel_begin();
	log_len = 0;
	log_text[0] = '\0';
	/* What others counted a minute ago does not count any more. */
	kernel_now += 1000 * NS_PER_S;
	model_virtio_init(&world_nic, &world_device, 1);
	if (pairs > 1) {
		world_nic.queues = (uint16_t)(2 * pairs + 1);
		world_nic.config[8] = (uint8_t)pairs;
		for (unsigned i = 0; i < world_nic.queues; i++)
			world_nic.q[i].max = world_nic.q[i].size = world_nic.queue_max;
	}
}

void
world_end(void)
{
	world_kill();
	keeper_lives = false;
	memset(calls, 0, sizeof(calls));
	kernel_end();
	model_virtio_fini(&world_nic);
}

uint64_t world_now(void) { return kernel_now; }

void
world_settle(void)
{
	for (unsigned n = 0; go(); n++)
		if (n == TURNS)
			kernel_fail("it does not come to rest");
}

void world_run(uint64_t ns) { sleep_until(kernel_now + ns); }

void
world_kill_client(void)
{
	if (keeper_lives && keepers != NULL)
		keepers->is = NONE;
	keeper_lives = false;
}

handle_t world_ntfn(void) { return kernel_handle(OBJ_NOTIFICATION, kernel_object(0), TESTS); }

void *
world_memory(uint64_t pages, handle_t *h)
{
	return pages_alloc(pages, h);
}

uint64_t
world_bits(handle_t ntfn)
{
	uint64_t bits = *kernel_bits(ntfn);

	*kernel_bits(ntfn) = 0;
	return bits;
}
