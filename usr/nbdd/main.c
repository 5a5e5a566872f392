/*
 * The NBD server: disks for clients of the network.
 *
 * Its manifest node says which exports there are ("args": exports.h) and gives it what it needs for
 * them: the device manager to ask for disks, the TCP/IP service with the right to listen on its
 * port.  One thread, one notification, no copy but the one between a ring of the connection and
 * the data area that the disk was granted.
 *
 * A client that does not choose an export within HAGGLE_NS is hung up on, so that whoever only
 * opens connections does not keep others out for long.
 *
 * Restart: the block server's is invisible (blk.h).  When the TCP/IP service ends all connections
 * are gone; its successor is found, and listened at again.
 *
 * Not here the protocol (proto.c, option.c), sessions with disks (disk.c).
 */
#include "kern/base/bits.h"
#include "usr/nbdd/nbdd.h"

enum : uint64_t { HAGGLE_NS = 10 * NS_PER_S, RETRY_NS = 200 * NS_PER_MS };
enum { RX_BYTES = 128 * 1024, TX_BYTES = 256 * 1024, BACKLOG = 8 };

struct connection connection[CONNECTIONS];
handle_t devmgr, ntfn;

static handle_t tcpip;
static struct socks socks;
static struct sock listener;
static bool listening;

/* Its socket is given up; its struct when the disk has nothing of it. */
static void
hang_up(struct connection *c, bool reset)
{
	if (c->s.k != NULL && reset)
		sock_abort(&c->s);
	else if (c->s.k != NULL)
		sock_close(&c->s);
	c->s.k = NULL;
	c->ending = true;
	if (!nbd_idle(&c->nbd))
		return;
	disk_leave(c);
	c->used = c->ending = false;
}

/* As far as it goes without waiting. */
static void
serve(struct connection *c)
{
	bool moved;

	do {
		uint32_t len, n;
		const uint8_t *from = sock_peek(&c->s, &len);
		uint8_t *to;

		n = (uint32_t)nbd_input(&c->nbd, from, len);
		if (n != 0)
			sock_consume(&c->s, n);
		moved = n != 0;
		if (nbd_wants(&c->nbd) != NBD_NONE) {
			if (!disk_join(nbd_wants(&c->nbd), c))
				nbd_answer(&c->nbd, NULL, 0);
			moved = true;
		}
		if (nbd_has(&c->nbd))
			disk_put(c);
		to = sock_space(&c->s, &len);
		n = (uint32_t)nbd_output(&c->nbd, to, len);
		sock_produce(&c->s, n);
		moved |= n != 0;
	} while (moved);
	if (nbd_over(&c->nbd))
		hang_up(c, c->nbd.state == NBD_BROKEN);
	else if (sock_state(&c->s) == SOCK_ENDED ||
	    (sock_state(&c->s) == SOCK_PEER_CLOSED && sock_readable(&c->s) == 0))
		hang_up(c, false);
}

static void
accept_all(void)
{
	for (;;) {
		struct connection *c = NULL;
		enum status s;

		for (uint32_t i = 0; i < CONNECTIONS && c == NULL; i++)
			if (!connection[i].used)
				c = &connection[i];
		if (c == NULL)
			return;		/* they wait: whoever hangs up makes room */
		s = sock_accept(&listener, RX_BYTES, TX_BYTES, &c->s);
		if (s != OK) {
			if (s != E_WOULD_BLOCK)
				log_line(1, "a connection was not accepted: %s",
				    status_text(s));
			return;
		}
		disks_look();
		nbd_init(&c->nbd, exports, export_count);
		c->used = true;
		c->ending = c->waits = false;
		c->share = NBD_NONE;
		c->since = now_ns();
		serve(c);
	}
}

/* The service is gone, or was never there. */
static void
start_sockets(void)
{
	static bool said;
	enum status s;

	listening = false;
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connection[i];

		if (c->used && c->s.k != NULL) {
			sock_forget(&c->s);
			c->s.k = NULL;
			hang_up(c, false);
		}
	}
	if (listener.k != NULL) {
		sock_forget(&listener);
		listener.k = NULL;
	}
	if (socks.session != 0)
		sock_stop(&socks);
	s = sock_start(&socks, tcpip, ntfn, BIT_SOCKETS);
	if (s == OK) {
		s = sock_listen(&socks, NBD_PORT, BACKLOG, &listener);
		if (s != OK)
			sock_stop(&socks);
	}
	listening = s == OK;
	if (s != OK && !said)
		log_line(1, "it cannot listen on port %u yet: %s", NBD_PORT, status_text(s));
	else if (s == OK)
		log_line(2, "%u export%s on port %u", export_count,
		    export_count == 1 ? "" : "s", NBD_PORT);
	said = s != OK;
}

/* When the next client has haggled for too long; those that have are hung up on. */
static uint64_t
end_haggling(void)
{
	uint64_t now = now_ns(), next = DEADLINE_NEVER;

	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connection[i];

		if (!c->used || c->ending || nbd_serves(&c->nbd))
			continue;
		if (now - c->since >= HAGGLE_NS)
			hang_up(c, true);
		else
			next = min_u64(next, c->since + HAGGLE_NS);
	}
	return next;
}

int
main(void)
{
	uint64_t h, bits;

	devmgr = start_handle("devmgr");
	tcpip = start_handle("tcpip");
	if (devmgr == HANDLE_NONE || tcpip == HANDLE_NONE)
		die("nbdd needs the device manager and the TCP/IP service: uses = \"devmgr\", \"tcpip\"");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	ntfn = (handle_t)h;
	disks_init(start_info->args);
	if (export_count == 0)
		die("the manifest names no export");
	for (;;) {
		uint64_t until = end_haggling(), ready;
		bool busy = disks_turn(&until);

		if (!listening || sock_lost(&socks)) {
			start_sockets();
			if (!listening)
				until = min_u64(until, now_ns() + RETRY_NS);
		}
		ready = listening ? sock_ready(&socks) : 0;
		for (uint32_t i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &connection[i];

			if (!c->used)
				continue;
			if (c->ending)
				hang_up(c, false);
			else if (busy || c->waits || (ready & BIT(c->s.number)) != 0)
				serve(c);
		}
		if (listening)
			accept_all();
		if (listening && !sock_may_sleep(&socks))
			busy = true;
		if (disks_may_sleep() && !busy)
			(void)sys_ntfn_wait(ntfn, until, &bits);
		disks_woke();
		if (listening)
			sock_woke(&socks);
	}
}
