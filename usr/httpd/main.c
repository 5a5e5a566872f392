/*
 * The HTTP server: the status page, and records for programs.
 *
 * One thread, one notification.  A connection's memory is taken when it is accepted and given back
 * with it; there are at most CONNECTIONS, and one that rests, or does not get on with a request,
 * makes room after IDLE_NS.  Whoever is refused is told, and what it still sends is thrown away for
 * LINGER_NS, since closing earlier would take the answer with it.
 *
 * What it may: listen on its port, ask the kernel (info) and the device manager.
 *
 * Not here the protocol (http.c), what is served (pages.c), records (status.c).
 */
#include "kern/base/bits.h"
#include "usr/httpd/httpd.h"

enum { HTTP_PORT = 80, CONNECTIONS = 8, RX_BYTES = 8192, TX_BYTES = 32 * 1024, BACKLOG = 8 };
enum : uint64_t {
	IDLE_NS = 15 * NS_PER_S,
	LINGER_NS = NS_PER_S,
};

struct connection {
	struct sock s;
	struct http http;
	uint64_t until;
	bool leaving;			/* all is said: the peer's end is waited for */
	char room[PAGE_BYTES];
};

handle_t kernel, devmgr;

static struct sock_server server;
static struct connection *connection[CONNECTIONS];

enum { CONNECTION_PAGES = (sizeof(struct connection) + 4095) / 4096 };

bool
network_now(struct sock_interface *n)
{
	return server.open && sock_interface(&server.socks, n) == OK;
}

static void
hang_up(unsigned i)
{
	struct connection *c = connection[i];

	sock_close(&c->s);
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)c, CONNECTION_PAGES * PAGE_SIZE);
	connection[i] = NULL;
}

/* As far as it goes without waiting. */
static void
serve(unsigned i)
{
	struct connection *c = connection[i];
	enum sock_state state;
	bool moved;

	do {
		uint32_t len, n;
		const uint8_t *from = sock_peek(&c->s, &len);
		uint8_t *to;

		n = c->leaving ? len : (uint32_t)http_input(&c->http, from, len);
		if (n != 0)
			sock_consume(&c->s, n);
		moved = n != 0;
		if (http_wants(&c->http)) {
			pages_answer(&c->http, c->room);
			moved = true;
		}
		if (!http_sent(&c->http)) {
			to = sock_space(&c->s, &len);
			n = (uint32_t)http_output(&c->http, to, len);
			sock_produce(&c->s, n);
			moved |= n != 0;
		}
		if (moved && !c->leaving)
			c->until = now_ns() + IDLE_NS;
	} while (moved);
	if (http_over(&c->http) && !c->leaving) {
		c->leaving = true;
		c->until = now_ns() + LINGER_NS;
		sock_shutdown(&c->s);
	}
	state = sock_state(&c->s);
	if (state == SOCK_ENDED || (state == SOCK_PEER_CLOSED && sock_readable(&c->s) == 0 &&
				       http_sent(&c->http)))
		hang_up(i);
}

static void
accept_all(void)
{
	for (;;) {
		unsigned i = 0;
		struct sock taken;
		enum status s;

		while (i < CONNECTIONS && connection[i] != NULL)
			i++;
		if (i == CONNECTIONS)
			return;		/* they wait: whoever hangs up makes room */
		s = sock_accept(&server.listener[0], RX_BYTES, TX_BYTES, &taken);
		if (s == OK) {
			connection[i] = pages_alloc(CONNECTION_PAGES, NULL);
			if (connection[i] == NULL) {
				sock_abort(&taken);
				s = E_NO_MEMORY;
			}
		}
		if (s != OK) {
			if (s != E_WOULD_BLOCK)
				log_line(1, "a connection was not accepted: %s",
				    status_text(s));
			return;
		}
		connection[i]->s = taken;
		http_init(&connection[i]->http);
		connection[i]->until = now_ns() + IDLE_NS;
		serve(i);
	}
}

/* When the next connection has rested for too long; those that have are closed. */
static uint64_t
end_idle(void)
{
	uint64_t now = now_ns(), next = DEADLINE_NEVER;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (connection[i] == NULL)
			continue;
		if (now >= connection[i]->until)
			hang_up(i);
		else
			next = min_u64(next, connection[i]->until);
	}
	return next;
}

static void
forget(void)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (connection[i] != NULL) {
			sock_forget(&connection[i]->s);
			(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)connection[i],
			    CONNECTION_PAGES * PAGE_SIZE);
			connection[i] = NULL;
		}
}

static void
say(void)
{
	if (sock_server_listens(&server, 0))
		log_line(2, "the status page is on port %u", HTTP_PORT);
}

int
main(void)
{
	kernel = start_handle("kernel");
	devmgr = start_handle("devmgr");
	if (devmgr == HANDLE_NONE)
		die("httpd needs the device manager: uses = \"devmgr\"");
	server = (struct sock_server){ .ports = { HTTP_PORT },
		.count = 1,
		.backlog = BACKLOG,
		.bits = 1,
		.gone = forget,
		.listens = say };
	sock_server_start(&server);
	for (;;) {
		uint64_t until = end_idle(), ready = sock_server_turn(&server, &until);

		for (unsigned i = 0; i < CONNECTIONS; i++)
			if (connection[i] != NULL && (ready & BIT(connection[i]->s.number)) != 0)
				serve(i);
		if (sock_server_listens(&server, 0))
			accept_all();
		sock_server_sleep(&server, until);
	}
}
