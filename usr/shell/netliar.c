/*
 * A client that lies to a NIC's server, and a NIC's driver that lies to its device (tests).
 *
 * "netliar" opens a session for each lie and writes it into the ring by hand.  What an honest
 * client could run into is answered with a status, and the session goes on; what no honest client
 * does ends the session.  In both cases the server serves, and nothing of it goes out.
 *
 * "netrogue" has the server started again as one that obeys: its device reads or writes an address
 * that nobody granted.
 */
#include "usr/shell/packet.h"

enum { REFUSED = STATUS_COUNT };	/* what is expected: the session ends */

struct lie {
	const char *text;
	void (*tell)(struct net_ring *r, struct net_tx *t);
	uint32_t answer;		/* enum status of the packet, or REFUSED */
	uint32_t slots;			/* that the head moves on by */
};

static void far(struct net_ring *r, struct net_tx *t UNUSED) { store_release(&r->tx_head, 1000); }
static void back(struct net_ring *r, struct net_tx *t UNUSED) { store_release(&r->tx_head, -1u); }
static void tail(struct net_ring *r, struct net_tx *t UNUSED) { r->tx_done_tail = 77; }
static void outside(struct net_ring *r UNUSED, struct net_tx *t) { t->at = WIRE_AREA - 10; }
static void wraps(struct net_ring *r UNUSED, struct net_tx *t) { t->at = UINT32_MAX - 10; }
static void nothing(struct net_ring *r UNUSED, struct net_tx *t) { t->bytes = 0; }
static void giant(struct net_ring *r UNUSED, struct net_tx *t) { t->bytes = WIRE_AREA; }
static void runt(struct net_ring *r UNUSED, struct net_tx *t) { t->bytes = 13; }
static void flags(struct net_ring *r UNUSED, struct net_tx *t) { t->flags = 0x4000; }
static void both(struct net_ring *r UNUSED, struct net_tx *t)
{
	t->flags = NET_CSUM | NET_GSO_TCP4 | NET_GSO_TCP6;
}

static void
endless(struct net_ring *r, struct net_tx *t)
{
	for (uint32_t i = 0; i < NET_SLOTS; i++) {
		r->tx[i] = *t;
		r->tx[i].flags = NET_MORE;
	}
	t->flags = NET_MORE;
}

static void
post(struct net_ring *r, uint32_t at, uint32_t bytes)
{
	uint32_t head = r->post_head;

	r->post[head % NET_SLOTS] = (struct net_post){ .at = at, .bytes = bytes };
	store_release(&r->post_head, head + 1);
}

static void
post_far(struct net_ring *r, struct net_tx *t UNUSED)
{
	store_release(&r->post_head, 5000);
}
static void post_small(struct net_ring *r, struct net_tx *t UNUSED) { post(r, 0, 100); }
static void post_large(struct net_ring *r, struct net_tx *t UNUSED) { post(r, 0, 70000); }
static void
post_outside(struct net_ring *r, struct net_tx *t UNUSED)
{
	post(r, WIRE_AREA - 100, 2048);
}
static void
post_wraps(struct net_ring *r, struct net_tx *t UNUSED)
{
	post(r, UINT32_MAX - 99, 2048);
}
static void rx_tail(struct net_ring *r, struct net_tx *t UNUSED)
{
	r->rx_tail = 9;
	post(r, 0, 2048);
}

static const struct lie lies[] = {
	{ "more packets than the ring holds", far, REFUSED, 0 },
	{ "a head that goes back", back, REFUSED, 0 },
	{ "answers read that were not given", tail, REFUSED, 1 },
	{ "a packet outside of the area", outside, E_RANGE, 1 },
	{ "a packet that wraps", wraps, E_RANGE, 1 },
	{ "an empty packet", nothing, E_RANGE, 1 },
	{ "a packet as large as the area", giant, E_RANGE, 1 },
	{ "a packet without a header", runt, E_RANGE, 1 },
	{ "a flag that does not exist", flags, E_UNSUPPORTED, 1 },
	{ "two kinds of segmentation", both, E_UNSUPPORTED, 1 },
	{ "a packet of too many parts", endless, REFUSED, NET_FRAGMENTS + 1 },
	{ "more buffers than the ring holds", post_far, REFUSED, 0 },
	{ "a buffer that is too small", post_small, REFUSED, 0 },
	{ "a buffer that is too large", post_large, REFUSED, 0 },
	{ "a buffer outside of the area", post_outside, REFUSED, 0 },
	{ "a buffer that wraps", post_wraps, REFUSED, 0 },
	{ "buffers read that were not given", rx_tail, REFUSED, 0 },
};

/* What came of it: the answer's status, REFUSED, or OK for nothing within a second. */
static uint32_t
outcome(const struct net_ring *r)
{
	uint64_t until = now_ns() + NS_PER_S;

	while (now_ns() < until) {
		if (load_acquire(&r->refused) != OK)
			return REFUSED;
		if (load_acquire(&r->tx_done_head) != 0)
			return r->tx_done[0].status;
		sleep_until(now_ns() + NS_PER_MS);
	}
	return OK;
}

int
cmd_netliar(int argc UNUSED, char **argv UNUSED)
{
	uint64_t sent = UINT64_MAX;
	unsigned wrong = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		const struct lie *l = &lies[i];
		struct net_tx t = { .cookie = 1, .bytes = 60 };
		struct net *n = wire_open(0);
		struct net_info info;
		uint32_t got;

		if (n == NULL)
			return 1;
		if (sent == UINT64_MAX && net_info(n->endpoint, &info, now_ns() + NS_PER_S) == OK)
			sent = info.tx_packets;
		net_kick(n);
		l->tell(n->ring, &t);
		if (l->slots != 0) {
			n->ring->tx[0] = t;
			store_release(&n->ring->tx_head, l->slots);
		}
		(void)sys_ntfn_signal(n->server, n->server_bits);
		got = outcome(n->ring);
		if (got != l->answer || net_info(n->endpoint, &info, now_ns() + NS_PER_S) != OK ||
		    info.tx_packets != sent || n->restarts != 0) {
			print("netliar: %s: %s\n", l->text,
			    got == REFUSED ? "refused" : status_text((enum status)got));
			wrong++;
		}
		wire_close();
	}
	print("netliar: %u lies, %u not taken as they should\n", (unsigned)ARRAY_SIZE(lies), wrong);
	return wrong != 0;
}

int
cmd_netrogue(int argc UNUSED, char **argv)
{
	struct msg m = { .label = DEVMGR_ROGUE, .words = 2, .w = { 0, 1 } };
	uint64_t iova = 0, until = now_ns() + 10 * NS_PER_S;
	char what = argv[1][0];
	handle_t e = HANDLE_NONE;
	enum status s;

	if (what != 'r' && what != 'w' && what != 'n')
		return usage("the device reads or writes, or gets nonsense: r, w or n");
	if (!want_number("IOVA", argv[2], &iova))
		return 1;
	(void)msg_call(devmgr, &m, now_ns() + NS_PER_S);	/* a driver that does not obey
								   refuses below */
	do {
		sleep_until(now_ns() + 5 * NS_PER_MS);
		if (e != HANDLE_NONE)
			(void)sys_handle_close(e);
		e = HANDLE_NONE;
		m = (struct msg){ .label = DEVMGR_NET, .words = 1 };
		s = msg_call(devmgr, &m, now_ns() + NS_PER_S);
		if (s == OK && m.label == OK)
			e = (handle_t)m.w[0];
	} while ((e == HANDLE_NONE || m.w[5] != SUPERVISED_RUNNING) && now_ns() < until);
	if (e == HANDLE_NONE) {
		print("net0: no server\n");
		return 1;
	}
	m = (struct msg){ .label = NET_CALL_ROGUE, .words = 2, .w = { iova, 2 } };
	if (what != 'n')
		m.w[1] = what == 'r';
	s = msg_call(e, &m, now_ns() + 20 * NS_PER_S);
	print("netrogue: call %s, driver %s, faults %llu\n", status_text(s),
	    status_text((enum status)m.label), (unsigned long long)m.w[0]);
	(void)sys_handle_close(e);
	return s != OK;
}
