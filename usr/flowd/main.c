/*
 * Throughput: how fast bytes go into this machine and out of it.
 *
 *   discard     port 9: takes what comes and throws it away [RFC 863]
 *   chargen     port 19: sends characters until the client has enough [RFC 864]
 *
 * The two halves of a measurement; the clock is the client's (docs/services.md).  At most
 * CONNECTIONS; a client that neither takes nor sends anything for IDLE_NS is hung up on.
 */
#include "kern/base/bits.h"
#include "usr/lib/sock.h"

enum { CONNECTIONS = 8, RING_BYTES = 256 * 1024, BACKLOG = 4, DISCARD = 0, CHARGEN = 1, KINDS = 2 };
enum : uint64_t { BIT_SOCKETS = 1, IDLE_NS = 15 * NS_PER_S, RETRY_NS = 200 * NS_PER_MS };

static const uint16_t ports[KINDS] = { 9, 19 };

static struct connection {
	bool used;
	unsigned kind;
	struct sock s;
	uint64_t until;
} connection[CONNECTIONS];

static handle_t tcpip, ntfn;
static struct socks socks;
static struct sock listener[KINDS];
static bool listening;

/* As far as it goes without waiting. */
static void
serve(struct connection *c)
{
	bool moved = false;
	enum sock_state state;
	uint32_t len;

	for (;;) {
		(void)sock_peek(&c->s, &len);
		if (len == 0)
			break;
		sock_consume(&c->s, len);
		moved = true;
	}
	while (c->kind == CHARGEN) {
		uint8_t *to = sock_space(&c->s, &len);

		if (len == 0)
			break;
		memset(to, 'c', len);
		sock_produce(&c->s, len);
		moved = true;
	}
	if (moved)
		c->until = now_ns() + IDLE_NS;
	state = sock_state(&c->s);
	if (state == SOCK_ENDED || (state == SOCK_PEER_CLOSED && sock_readable(&c->s) == 0)) {
		if (c->kind == CHARGEN)
			sock_abort(&c->s);	/* there is always more to send */
		else
			sock_close(&c->s);
		c->used = false;
	}
}

static void
accept_all(unsigned kind)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connection[i];
		enum status s;

		if (c->used)
			continue;
		s = sock_accept(&listener[kind], RING_BYTES, RING_BYTES, &c->s);
		if (s != OK) {
			if (s != E_WOULD_BLOCK)
				log_line(1, "a connection was not accepted: %s", status_text(s));
			return;
		}
		c->used = true;
		c->kind = kind;
		c->until = now_ns() + IDLE_NS;
		serve(c);
	}
}

/* When the next client has rested for too long; those that have are hung up on. */
static uint64_t
end_idle(void)
{
	uint64_t now = now_ns(), next = DEADLINE_NEVER;

	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connection[i];

		if (!c->used)
			continue;
		if (now < c->until) {
			next = min_u64(next, c->until);
			continue;
		}
		sock_abort(&c->s);
		c->used = false;
	}
	return next;
}

/* The service is gone, or was never there. */
static void
start_sockets(void)
{
	static bool said;
	enum status s;

	listening = false;
	for (uint32_t i = 0; i < CONNECTIONS; i++)
		if (connection[i].used) {
			sock_forget(&connection[i].s);
			connection[i].used = false;
		}
	for (unsigned k = 0; k < KINDS; k++)
		if (listener[k].k != NULL) {
			sock_forget(&listener[k]);
			listener[k].k = NULL;
		}
	if (socks.session != 0)
		sock_stop(&socks);
	s = sock_start(&socks, tcpip, ntfn, BIT_SOCKETS);
	for (unsigned k = 0; k < KINDS && s == OK; k++)
		s = sock_listen(&socks, ports[k], BACKLOG, &listener[k]);
	listening = s == OK;
	if (s != OK && !said)
		log_line(1, "it cannot listen yet: %s", status_text(s));
	else if (s == OK)
		log_line(
		    2, "discard on port %u, chargen on port %u", ports[DISCARD], ports[CHARGEN]);
	said = s != OK;
}

int
main(void)
{
	uint64_t h, bits;

	tcpip = start_handle("tcpip");
	if (tcpip == HANDLE_NONE)
		die("flowd needs the TCP/IP service: uses = \"tcpip\"");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	ntfn = (handle_t)h;
	for (;;) {
		uint64_t until = end_idle(), ready;
		bool sleep = true;

		if (!listening || sock_lost(&socks)) {
			start_sockets();
			if (!listening)
				until = min_u64(until, now_ns() + RETRY_NS);
		}
		ready = listening ? sock_ready(&socks) : 0;
		for (uint32_t i = 0; i < CONNECTIONS; i++)
			if (connection[i].used && (ready & BIT(connection[i].s.number)) != 0)
				serve(&connection[i]);
		if (listening) {
			accept_all(DISCARD);
			accept_all(CHARGEN);
			sleep = sock_may_sleep(&socks);
		}
		if (sleep)
			(void)sys_ntfn_wait(ntfn, until, &bits);
		if (listening)
			sock_woke(&socks);
	}
}
