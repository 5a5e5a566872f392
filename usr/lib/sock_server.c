/*
 * Programs that listen: sock_server.h.
 */
#include "usr/lib/sock_server.h"
#include "kern/base/bits.h"

enum : uint64_t { RETRY_NS = 200 * NS_PER_MS };

void
sock_server_start(struct sock_server *v)
{
	uint64_t h;

	v->tcpip = start_handle("tcpip");
	if (v->tcpip == HANDLE_NONE)
		die("it needs the TCP/IP service: uses = \"tcpip\"");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	v->ntfn = (handle_t)h;
}

/* The service is gone, or was never there. */
static void
begin(struct sock_server *v)
{
	enum status s;

	v->gone();
	for (uint32_t i = 0; i < v->count; i++)
		sock_forget(&v->listener[i]);
	if (v->socks.session != 0)
		sock_stop(&v->socks);
	s = sock_start(&v->socks, v->tcpip, v->ntfn, v->bits);
	for (uint32_t i = 0; i < v->count && s == OK; i++) {
		s = sock_listen(&v->socks, v->ports[i], v->backlog, &v->listener[i]);
		s = s == E_RIGHTS ? OK : s;
	}
	v->open = s == OK;
	if (v->open)
		v->listens();
	else if (!v->said)
		log_line(1, "it cannot listen yet: %s", status_text(s));
	v->said = !v->open;
}

uint64_t
sock_server_turn(struct sock_server *v, uint64_t *until)
{
	if (!v->open || sock_lost(&v->socks))
		begin(v);
	if (v->open)
		return sock_ready(&v->socks);
	*until = min_u64(*until, now_ns() + RETRY_NS);
	return 0;
}

bool
sock_server_may_sleep(struct sock_server *v)
{
	return !v->open || sock_may_sleep(&v->socks);
}

void
sock_server_woke(struct sock_server *v)
{
	if (v->open)
		sock_woke(&v->socks);
}

void
sock_server_sleep(struct sock_server *v, uint64_t until)
{
	uint64_t bits;

	if (sock_server_may_sleep(v))
		(void)sys_ntfn_wait(v->ntfn, until, &bits);
	sock_server_woke(v);
}
