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
	BIT_SOCKETS = 1,
	IDLE_NS = 15 * NS_PER_S,
	LINGER_NS = NS_PER_S,
	RETRY_NS = 200 * NS_PER_MS
};

struct connection {
	struct sock s;
	struct http http;
	uint64_t until;
	bool leaving;			/* all is said: the peer's end is waited for */
	char room[PAGE_BYTES];
};

handle_t kernel, devmgr;

static handle_t tcpip, ntfn;
static struct socks socks;
static struct sock listener;
static bool listening;
static struct connection *connection[CONNECTIONS];

enum { CONNECTION_PAGES = (sizeof(struct connection) + 4095) / 4096 };

bool
network_now(struct sock_interface *n)
{
	return listening && sock_interface(&socks, n) == OK;
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
		s = sock_accept(&listener, RX_BYTES, TX_BYTES, &taken);
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

/* The service is gone, or was never there. */
static void
start_sockets(void)
{
	static bool said;
	enum status s;

	listening = false;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (connection[i] != NULL) {
			sock_forget(&connection[i]->s);
			(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)connection[i],
			    CONNECTION_PAGES * PAGE_SIZE);
			connection[i] = NULL;
		}
	if (listener.k != NULL) {
		sock_forget(&listener);
		listener.k = NULL;
	}
	if (socks.session != 0)
		sock_stop(&socks);
	s = sock_start(&socks, tcpip, ntfn, BIT_SOCKETS);
	if (s == OK) {
		s = sock_listen(&socks, HTTP_PORT, BACKLOG, &listener);
		if (s != OK)
			sock_stop(&socks);
	}
	listening = s == OK;
	if (s != OK && !said)
		log_line(1, "it cannot listen on port %u yet: %s", HTTP_PORT, status_text(s));
	else if (s == OK)
		log_line(2, "the status page is on port %u", HTTP_PORT);
	said = s != OK;
}

int
main(void)
{
	uint64_t h, bits;

	kernel = start_handle("kernel");
	devmgr = start_handle("devmgr");
	tcpip = start_handle("tcpip");
	if (devmgr == HANDLE_NONE || tcpip == HANDLE_NONE)
		die("httpd needs the device manager and the TCP/IP service: uses = \"devmgr\", \"tcpip\"");
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
		for (unsigned i = 0; i < CONNECTIONS; i++)
			if (connection[i] != NULL && (ready & BIT(connection[i]->s.number)) != 0)
				serve(i);
		if (listening) {
			accept_all();
			sleep = sock_may_sleep(&socks);
		}
		if (sleep)
			(void)sys_ntfn_wait(ntfn, until, &bits);
		if (listening)
			sock_woke(&socks);
	}
}
