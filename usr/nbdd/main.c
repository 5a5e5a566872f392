/*
 * The NBD server: disks for clients of the network.
 *
 * Its manifest node says which exports there are ("disks"), and with that what the device manager
 * gives it: a handle to each of these byte ranges, and to nothing else.  The TCP/IP service lets it
 * listen on its port.  One thread and one notification serve it all, with no copy but the one
 * between a ring of the connection and the data area that the disk was granted; what may wait for a
 * disk's server is done by threads of their own (disk.c).
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

enum : uint64_t {
	HAGGLE_NS = 10 * NS_PER_S,
	LOOK_NS = NS_PER_S	/* so long a client waits for disks to be found */
};
enum { RX_BYTES = 128 * 1024, TX_BYTES = 256 * 1024, BACKLOG = 8 };

struct connection connection[CONNECTIONS];
handle_t devmgr, ntfn;

static struct sock_server server;

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
			c->waits = !disk_join(nbd_wants(&c->nbd), c);
			moved |= !c->waits;
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

/* Who comes first waits until it is known what is there, and a disk that does not answer holds up
 * nobody for long.  When to try again. */
static uint64_t
accept_all(void)
{
	static uint64_t until;

	if (!sock_waits(&server.listener[0]))
		return DEADLINE_NEVER;
	if (!disks_look(until == 0) && (until == 0 || now_ns() < until)) {
		until = until != 0 ? until : now_ns() + LOOK_NS;
		return until;
	}
	until = 0;
	for (;;) {
		struct connection *c = NULL;
		enum status s;

		for (uint32_t i = 0; i < CONNECTIONS && c == NULL; i++)
			if (!connection[i].used)
				c = &connection[i];
		if (c == NULL)
			return DEADLINE_NEVER;	/* they wait: whoever hangs up makes room */
		s = sock_accept(&server.listener[0], RX_BYTES, TX_BYTES, &c->s);
		if (s != OK) {
			if (s != E_WOULD_BLOCK)
				log_line(1, "a connection was not accepted: %s",
				    status_text(s));
			return DEADLINE_NEVER;
		}
		nbd_init(&c->nbd, exports, export_count);
		c->used = true;
		c->ending = c->waits = false;
		c->share = NBD_NONE;
		c->since = now_ns();
		serve(c);
	}
}

static void
forget(void)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connection[i];

		if (c->used && c->s.k != NULL) {
			sock_forget(&c->s);
			c->s.k = NULL;
			hang_up(c, false);
		}
	}
}

static void
say(void)
{
	if (sock_server_listens(&server, 0))
		log_line(2, "%u export%s on port %u", export_count, export_count == 1 ? "" : "s",
		    NBD_PORT);
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
	uint64_t bits;

	devmgr = start_handle("devmgr");
	if (devmgr == HANDLE_NONE)
		die("nbdd needs the device manager: uses = \"devmgr\"");
	server = (struct sock_server){ .ports = { NBD_PORT },
		.count = 1,
		.backlog = BACKLOG,
		.bits = BIT_SOCKETS,
		.gone = forget,
		.listens = say };
	sock_server_start(&server);
	ntfn = server.ntfn;
	disks_init();
	if (export_count == 0)
		die("the manifest names no disk for it: disks = \"NAME=DISK\"");
	for (;;) {
		uint64_t until = end_haggling(), ready;
		bool busy = disks_turn();

		ready = sock_server_turn(&server, &until);
		for (uint32_t i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &connection[i];

			if (!c->used)
				continue;
			if (c->ending)
				hang_up(c, false);
			else if (busy || c->waits || (ready & BIT(c->s.number)) != 0)
				serve(c);
		}
		if (sock_server_listens(&server, 0))
			until = min_u64(until, accept_all());
		busy |= !sock_server_may_sleep(&server);
		if (disks_may_sleep() && !busy)
			(void)sys_ntfn_wait(ntfn, until, &bits);
		disks_woke();
		sock_server_woke(&server);
	}
}
