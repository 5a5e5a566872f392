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
#include "usr/lib/sock_server.h"

enum { CONNECTIONS = 8, RING_BYTES = 256 * 1024, BACKLOG = 4, DISCARD = 0, CHARGEN = 1, KINDS = 2 };
enum : uint64_t { IDLE_NS = 15 * NS_PER_S };

static struct connection {
	bool used;
	unsigned kind;
	struct sock s;
	uint64_t until;
} connection[CONNECTIONS];

static struct sock_server server;

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
		s = sock_accept(&server.listener[kind], RING_BYTES, RING_BYTES, &c->s);
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

static void
forget(void)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++)
		if (connection[i].used) {
			sock_forget(&connection[i].s);
			connection[i].used = false;
		}
}

static void
say(void)
{
	static const char *const what[KINDS] = { "discard", "chargen" };

	for (unsigned k = 0; k < KINDS; k++)
		if (sock_server_listens(&server, k))
			log_line(2, "%s on port %u", what[k], server.ports[k]);
}

int
main(void)
{
	server = (struct sock_server){ .ports = { [DISCARD] = 9, [CHARGEN] = 19 },
		.count = KINDS,
		.backlog = BACKLOG,
		.bits = 1,
		.gone = forget,
		.listens = say };
	sock_server_start(&server);
	for (;;) {
		uint64_t until = end_idle(), ready = sock_server_turn(&server, &until);

		for (uint32_t i = 0; i < CONNECTIONS; i++)
			if (connection[i].used && (ready & BIT(connection[i].s.number)) != 0)
				serve(&connection[i]);
		for (unsigned k = 0; k < KINDS; k++)
			if (sock_server_listens(&server, k))
				accept_all(k);
		sock_server_sleep(&server, until);
	}
}
