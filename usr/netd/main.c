/*
 * The packet server: one virtio NIC, one client's session.
 *
 * One thread.  It sleeps until a call comes or one of the bits of its notification: a vector fired,
 * the session has something, the device faulted.  A turn takes what the device gives back, takes
 * what the client wrote, announces both, and shows answers.  Each announcement also says from where
 * on an interrupt is wanted, so what came meanwhile is looked for once more before it sleeps.
 *
 * Before anything that the device gave back is believed the faults of the device are looked at
 * (D11).  When there are new ones, or when a queue breaks the rules, or the device asks for it, or
 * packets do not go out for STUCK_S seconds, the device is reset.  Then nothing of before moves any
 * more: packets that were to be sent are answered as failed, and buffers go to the device again.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/lib/blk.h"
#include "usr/netd/netd.h"

enum { STUCK_S = 5, RESETS_MAX = 16 };
/* One pair for each CPU; but a packet of 64 KiB needs 34 buffers of one queue, and clients post
 * some 200 for all of them. */
enum : uint32_t { PAIRS_MOST = 4 };
enum : uint64_t { TICK_NS = NS_PER_S, POLL_NS = 2 * NS_PER_MS, RESETS_NS = 60 * NS_PER_S };

struct server server;
static handle_t endpoint;

/* NULL: for a session's end, which is no trouble. */
void
recover(const char *reason)
{
	const char *why = "";
	uint64_t now = now_ns();
	enum status s;

	if (reason != NULL) {
		if (server.resets_lately == 0 || now - server.resets_ns > RESETS_NS) {
			server.resets_ns = now;
			server.resets_lately = 0;
		}
		if (++server.resets_lately > RESETS_MAX)
			die("given up after %u resets: %s", RESETS_MAX, reason);
		server.resets++;
		complain("%s: the device is reset, with %u packets and %u buffers", reason,
		    server.session.tx_slots, server.session.posts);
	}
	s = vnet_restart(&server.net, &why);
	if (s != OK)
		die("given up: the reset failed: %s (%s)", why, status_text(s));
	server.faults = drv_faults(&server.device);
	session_again();
}

/* Was anything refused that the device did until now?  Then nothing of it is believed (D11). */
static ALWAYS_INLINE bool
look(void)
{
	uint64_t now = drv_faults(&server.device);

	if (likely(now == server.faults))
		return true;
	if (now == UINT64_MAX)
		die("the device was taken away");
	recover("the IOMMU refused accesses of the device");
	return false;
}

/* Something that the device gave back waits to be taken. */
static ALWAYS_INLINE bool
any(void)
{
	bool some = false;

	for (uint32_t i = 0; i < server.net.pair_count; i++)
		some |=
		    (virtq_look(&server.net.pair[i].rx) | virtq_look(&server.net.pair[i].tx)) != 0;
	return some;
}

/* Takes what the device gives back and what the client wrote, and announces both.  NULL, or which
 * rule a queue's device broke. */
static const char *
exchange(void)
{
	if (any() && look()) {
		for (uint32_t i = 0; i < server.net.pair_count; i++) {
			session_sent(&server.net.pair[i]);
			session_received(&server.net.pair[i]);
		}
	}
	session_take();
	for (uint32_t i = 0; i < server.net.pair_count; i++) {
		struct vnet_pair *p = &server.net.pair[i];

		/* Of packets that are sent, most are waited for. */
		virtq_arm(&p->rx, 0);
		virtq_arm(&p->tx, (uint16_t)(p->tx.outstanding * 3 / 4));
		(void)virtq_commit(&p->rx);
		(void)virtq_commit(&p->tx);
	}
	return vnet_fault(&server.net);
}

static void
turn(void)
{
	const char *fault;

	/* After a reset the buffers are announced anew. */
	while (unlikely((fault = exchange()) != NULL))
		recover(fault);
	session_publish();
}

/* Says that signals are needed, then looks once more: true when there is nothing to do. */
static bool
may_sleep(void)
{
	const struct session *s = &server.session;

	if (s->id != 0) {
		store_relaxed(&s->ring->server_sleeps, 1);
		smp_full();
		/* What stayed in the ring waits for the device: only what is new since the turn
		 * counts. */
		if (!s->refused && !s->closing &&
		    (load_acquire(&s->ring->tx_head) != s->tx_seen ||
			load_acquire(&s->ring->post_head) != s->post_seen))
			return false;
	}
	return server.device.seen == 0 && !any();
}

static uint64_t
mac_word(void)
{
	uint64_t word = 0;

	memcpy(&word, server.net.mac, sizeof(server.net.mac));
	return word;
}

static void
set_link(void)
{
	uint32_t up = server.net.link, changes = server.link >> 1;

	if ((server.link & 1) == up && server.announces == server.net.announces && !server.renamed)
		return;
	if ((server.link & 1) != up)
		log_line(2, "the link is %s", up != 0 ? "up" : "down");
	server.announces = server.net.announces;
	server.renamed = false;
	server.link = (changes + 1) << 1 | up;
	if (server.session.id != 0) {
		store_relaxed(&server.session.ring->mac, mac_word());
		store_release(&server.session.ring->link, server.link);
		server.session.answered = true;
	}
}

/* The configuration changed, or the device wants a reset. */
static void
changed(void)
{
	const char *trouble = vnet_trouble(&server.net);

	if (trouble == NULL && vnet_config(&server.net) != OK)
		trouble = "the device's configuration cannot be read";
	if (trouble != NULL)
		recover(trouble);
	set_link();
}

static void
info(struct msg *m)
{
	m->w[0] = (uint64_t)server.net.mtu << 48 | mac_word();
	m->w[1] = (uint64_t)server.link << 32 | (uint64_t)server.net.promiscuous << 16 |
	    server.features;
	m->w[2] = server.rx_packets;
	m->w[3] = server.tx_packets;
	m->w[4] = server.rx_bytes;
	m->w[5] = server.tx_bytes;
	m->w[6] = (uint64_t)server.tx_failed << 32 | server.rx_dropped;
	m->w[7] = (uint64_t)server.sessions_refused << 32 | server.resets;
}

/* The driver lies about an address: the kernel or the IOMMU must refuse it.  Only when started as
 * "rogue". */
static enum status
rogue(struct msg *m)
{
	uint64_t faults = drv_faults(&server.device);
	enum status s;

	if (strcmp(start_info->args, "rogue") != 0)
		return E_REFUSED;
	if (m->w[1] == 2) {
		m->w[0] = 0;
		return vnet_nonsense(&server.net);
	}
	if (server.session.tx_slots != 0)
		return E_BUSY;
	s = vnet_stray(&server.net, (struct iova){ m->w[0] }, m->w[1] == 0);
	m->w[0] = drv_faults(&server.device) - faults;
	recover("a test had it tell its device a lie");
	return s;
}

/* Badges are the device manager's: it has looked at what the manifest says. */
static bool
may(const struct msg *m, uint32_t what)
{
	return (blk_range_of(m->badge) & what) != 0;
}

/* A device that does not answer is reset, and is then as it was before. */
static enum status
changed_to(enum status s, const char *what)
{
	if (s == OK)
		log_line(2, "the interface %s", what);
	else if (s == E_TIMED_OUT || s == E_CORRUPT)
		recover("a command of the control queue is not answered");
	return s;
}

static enum status
change(const struct msg *m)
{
	const uint8_t *mac = (const uint8_t *)&m->w[0];
	char text[48];
	enum status s;

	if (!may(m, NET_MAY_CHANGE)) {
		complain("client %u may not change the interface: its manifest node lacks the "
			 "capability \"interfaces\"",
		    blk_client(m->badge));
		return E_RIGHTS;
	}
	if (m->label == NET_CALL_PROMISCUOUS) {
		bool on = m->w[0] != 0;

		return changed_to(vnet_promiscuous(&server.net, on),
		    on ? "is promiscuous" : "is not promiscuous");
	}
	if (m->w[0] == 0 || m->w[0] >> 48 != 0 || (mac[0] & 1) != 0)
		return E_INVALID;
	fmt_buf(text, sizeof(text), "has the address %02x:%02x:%02x:%02x:%02x:%02x", mac[0],
	    mac[1], mac[2], mac[3], mac[4], mac[5]);
	s = changed_to(vnet_set_mac(&server.net, mac), text);
	if (s == OK) {
		server.renamed = true;
		set_link();
	}
	return s;
}

/* The session, if it is the caller's. */
static bool
owns(const struct msg *m)
{
	return server.session.id != 0 && server.session.id == m->w[0] &&
	    server.session.badge == m->badge;
}

static void
call(struct msg *m)
{
	uint32_t given = m->handles;
	uint64_t handles[4] = { m->w[0], m->w[1], m->w[2], m->w[3] };
	handle_t lent = HANDLE_NONE;
	enum status s = OK;
	bool answer = true;

	if (m->label != NET_CALL_OPEN)
		m->handles = 0;
	switch (m->label) {
	case NET_CALL_INFO: info(m); break;
	case NET_CALL_OPEN:
		session_probe();
		s = may(m, NET_MAY_OPEN) ? session_open(m) : E_RIGHTS;
		if (s == OK) {
			given &= ~3u;
			lent = (handle_t)m->w[1];
		} else {
			server.sessions_refused += s != E_BUSY;
			m->handles = 0;
		}
		break;
	case NET_CALL_CLOSE:
		if (owns(m))
			session_end();
		else
			s = E_STALE;
		break;
	case NET_CALL_STAY:
		if (!owns(m)) {
			s = E_STALE;
		} else if (server.session.stays) {
			s = E_BUSY;
		} else {
			server.session.stays = true;
			server.session.stay = m->token;
			answer = false;
		}
		break;
	case NET_CALL_PROMISCUOUS:
	case NET_CALL_MAC: s = change(m); break;
	case NET_CALL_ROGUE: s = rogue(m); break;
	default: s = E_INVALID;
	}
	/* Handles that came along and are not kept. */
	for (unsigned i = 0; i < ARRAY_SIZE(handles); i++)
		if ((given & (1u << i)) != 0)
			(void)sys_handle_close(handles[i]);
	m->label = s;
	m->words = 8;
	if (answer)
		(void)msg_reply(m);		/* a caller that is gone needs no answer */
	if (lent != HANDLE_NONE)
		(void)sys_handle_close(lent);
}

/* Until when to sleep; at most a tick while packets are out, and they are watched here: whatever
 * else keeps the server busy, some have to come back. */
static uint64_t
deadline(void)
{
	bool polled = server.net.polled;
	const char *trouble;
	uint64_t now;

	if (server.session.tx_slots == 0)
		server.stuck_ns = 0;
	if (server.session.tx_slots == 0 && !polled)
		return DEADLINE_NEVER;
	now = now_ns();
	if (polled && now >= server.look_ns) {
		server.look_ns = now + TICK_NS;
		changed();
		return now;		/* there may be something to show */
	}
	if (server.stuck_ns == 0 || server.tx_packets != server.stuck_packets) {
		server.stuck_packets = server.tx_packets;
		server.stuck_ns = now;
	} else if (unlikely(now - server.stuck_ns > STUCK_S * NS_PER_S)) {
		server.stuck_ns = 0;
		trouble = vnet_trouble(&server.net);
		recover(trouble != NULL ? trouble : "packets do not go out");
		return now;
	}
	return now + (polled ? POLL_NS : TICK_NS);
}

static NORETURN void
serve(void)
{
	for (;;) {
		uint64_t bits = 0;
		struct msg m;
		enum status s;

		turn();
		if (!may_sleep()) {
			s = E_WOULD_BLOCK;
		} else {
			s = msg_recv(endpoint, server.device.ntfn, &m, deadline());
			if (s == E_STALE || s == E_HANDLE)
				die("the endpoint is gone");
		}
		if (server.session.id != 0)
			store_relaxed(&server.session.ring->server_sleeps, 0);
		if (s == OK && m.notification)
			bits = m.w[0];
		else if (s == OK)
			call(&m);
		bits |= server.device.seen;
		server.device.seen = 0;
		if ((bits & BIT_FAULT) != 0)
			(void)look();
		if (server.net.config_vector != UINT32_MAX &&
		    (bits & BIT(server.net.config_vector)) != 0)
			changed();
	}
}

/* What of the device's features a session has. */
static uint32_t
features(const struct virtio_net *n)
{
	return (vnet_has(n, VIRTIO_NET_F_CSUM) ? NET_CSUM : 0) |
	    (vnet_has(n, VIRTIO_NET_F_GUEST_CSUM) ? NET_CSUM_OK : 0) |
	    (vnet_has(n, VIRTIO_NET_F_HOST_TSO4) ? NET_GSO_TCP4 : 0) |
	    (vnet_has(n, VIRTIO_NET_F_HOST_TSO6) ? NET_GSO_TCP6 : 0) |
	    (vnet_has(n, VIRTIO_NET_F_HOST_ECN) ? NET_ECN : 0);
}

int
main(void)
{
	struct virtio_net *n = &server.net;
	const char *why = "";
	uint64_t h;
	enum status s;

	endpoint = start_handle("endpoint");
	server.device.handle = start_handle("device");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	server.device.ntfn = (handle_t)h;
	if (sys_handle_dup(server.device.ntfn, RIGHT_SIGNAL | RIGHT_GIVE, &h) != OK)
		die("no handle");
	server.signal = (handle_t)h;
	s = vnet_start(n, &server.device,
	    (uint32_t)min_u64(start_number("pairs", cpu_count()), PAIRS_MOST), &why);
	if (s != OK)
		die("device not usable: %s (%s)", why, status_text(s));
	(void)sys_watch(server.device.handle, server.device.ntfn, BIT_FAULT);
	server.faults = drv_faults(&server.device);
	server.features = features(n);
	server.link = n->link;
	log_line(2,
	    "virtio-net %02x:%02x:%02x:%02x:%02x:%02x, MTU %u, %u of %u queue pair%s, link %s%s%s%s",
	    n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5], n->mtu, n->pair_count,
	    n->pairs_max, n->pairs_max == 1 ? "" : "s", n->link ? "up" : "down",
	    vnet_has(n, VIRTIO_NET_F_CSUM) ? ", checksums" : "",
	    vnet_has(n, VIRTIO_NET_F_HOST_TSO4) ? ", segmentation" : "",
	    vnet_has(n, VIRTIO_NET_F_MRG_RXBUF) ? ", mergeable buffers" : "");
	if (n->polled)
		log_line(1, "no interrupt vector: packets are looked for every %u ms",
		    (unsigned)(POLL_NS / NS_PER_MS));
	service_ready();
	serve();
}
