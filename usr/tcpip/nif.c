/*
 * The network interface: between lwIP and a packet server.
 *
 * The packet area is two rows of buffers: those that are posted to be received into, and those that
 * are sent from.  A device can write all of it at any time, and so can a driver that lies.  So lwIP
 * never sees it: what was received is copied into memory of lwIP's own and looked at there
 * (join.c), and what is to be sent is copied out (out.c).  A copy is a small part of what a packet
 * costs, and frees the buffer at once.
 *
 * The server may die: its successor gets everything again (usr/lib/net.c), and connections go on.
 * It may come late, or never: then the stack has its loopback only, and asks again now and then.
 */
#include "kern/base/bits.h"
#include "lwip/dhcp.h"
#include "lwip/dhcp6.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/init.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip/timeouts.h"
#include "netif/ethernet.h"
#include "usr/lib/devmgr.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/frame.h"
#include "usr/tcpip/nif.h"

enum {
	PIECES = 40,			/* buffers of one received packet */
	A_TURN = 64,			/* packets, so that clients get their turn */
	LOOKS = 5,			/* for a NIC at boot; later ones come seldom */
	MTU_LEAST = 68,			/* [RFC 791] */
	MTU_V6_LEAST = 1280,		/* [RFC 8200, 5] */
	MTU_MOST = 1500,
};
enum : uint64_t { LOOK_NS = NS_PER_S, LOOK_LONG_NS = 10 * NS_PER_S };
enum : uint32_t {
	CHECKS = NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP,
	CHECKS_ALL = CHECKS | NETIF_CHECKSUM_CHECK_IP,
};

static struct {
	struct netif netif;
	struct net net;
	handle_t endpoint, area_memory;
	uint8_t *area;
	bool open, configured, is_static;
	bool reached;			/* it had an address: init knows that it serves */
	uint64_t look_ns;		/* when to ask for a NIC again */
	uint32_t looks, link;
	struct net_rx piece[PIECES];
	uint32_t pieces;
	bool too_long;
	uint32_t packets;		/* that lwIP's next segment is of */
	uint64_t rx_packets, rx_bytes, rx_others;
	uint64_t link_losses;
	bool up;
	ip4_addr_t address, mask, gateway;
} nif;

struct netif *nif_netif(void) { return &nif.netif; }
bool nif_configured(void) { return nif.configured; }
uint32_t nif_packets(void) { return nif.packets; }

static err_t
put(struct netif *n UNUSED, struct pbuf *p)
{
	return nif.open ? out_packet(p) : ERR_IF;
}

/* --- in ---------------------------------------------------------------------------- */

static void
post(uint32_t buffer)
{
	if (net_post(&nif.net, buffer * BUFFER, BUFFER, buffer) != OK)
		tcpip.rx_dropped++;	/* more than it has room for: cannot be */
}

void
nif_input(struct pbuf *p, enum sums known, uint32_t packets)
{
	uint16_t others = (uint16_t)(nif.netif.chksum_flags & ~CHECKS_ALL);

	nif.netif.chksum_flags = (uint16_t)(others |
	    (known == SUMS_UNKNOWN	    ? CHECKS_ALL :
		    known == SUMS_RIGHT_BUT_IP ? NETIF_CHECKSUM_CHECK_IP :
						 0));
	nif.packets = packets;
	if (nif.netif.input(p, &nif.netif) != ERR_OK)
		pbuf_free(p);
	nif.packets = 1;
	/* What it sends to itself was never on a wire, and TCP of it has no sum. */
	nif.netif.chksum_flags = others;
}

/* Of several buffers, into memory of lwIP's. */
static void
take_pieces(uint32_t len, bool sound)
{
	uint32_t at = ETH_PAD_SIZE, piece = nif.piece[0].gso_size;
	struct pbuf *p = NULL;

	if (!nif.too_long && len >= 14 && len <= UINT16_MAX - ETH_PAD_SIZE)
		p = pbuf_alloc(PBUF_RAW, (uint16_t)(len + ETH_PAD_SIZE), PBUF_RAM);
	if (p == NULL) {
		tcpip.rx_dropped++;
		return;
	}
	for (uint32_t i = 0; i < nif.pieces; i++) {
		const struct net_rx *r = &nif.piece[i];

		memcpy((uint8_t *)p->payload + at,
		    nif.area + (uint64_t)r->cookie * BUFFER + r->first, r->bytes);
		at += r->bytes;
	}
	join_end();
	nif_input(p, sound ? SUMS_RIGHT_BUT_IP : SUMS_UNKNOWN,
	    piece != 0 ? (len + piece - 1) / piece : 1);
}

/* For another station: an interface that is promiscuous, or a device without a filter, gives us
 * those too.  It is about honest devices: one that lies says that they are for us. */
static ALWAYS_INLINE bool
for_others(const uint8_t *frame)
{
	return (frame[0] & 1) == 0 &&
	    (*(const frame_word *)frame != *(const frame_word *)nif.netif.hwaddr ||
		*(const frame_half *)(frame + 4) != *(const frame_half *)(nif.netif.hwaddr + 4));
}

/* A whole packet. */
static void
take_packet(void)
{
	const struct net_rx *first = &nif.piece[0];
	const uint8_t *frame = nif.area + (uint64_t)first->cookie * BUFFER + first->first;
	bool sound = (first->flags & (NET_CSUM_OK | NET_CSUM)) != 0;
	uint32_t len = 0;

	for (uint32_t i = 0; i < nif.pieces; i++)
		len += nif.piece[i].bytes;
	if (first->bytes >= sizeof(nif.net.mac) && unlikely(for_others(frame)))
		nif.rx_others++;
	else if (nif.pieces == 1)
		join_take(frame, len, sound);
	else
		take_pieces(len, sound);
	for (uint32_t i = 0; i < nif.pieces; i++)
		post(nif.piece[i].cookie);
	nif.rx_packets++;
	nif.rx_bytes += len;
	nif.pieces = 0;
	nif.too_long = false;
}

static bool
take_received(void)
{
	struct net_rx r;
	uint32_t n = 0;

	stream_hold_acks();
	while (n < A_TURN && net_next_rx(&nif.net, &r)) {
		if (r.cookie >= RX_BUFFERS || r.first > BUFFER || r.bytes > BUFFER - r.first)
			continue; /* usr/lib/net.c has looked; once more costs nothing */
		if (nif.pieces < PIECES) {
			nif.piece[nif.pieces++] = r;
		} else {
			nif.too_long = true;
			post(r.cookie);
		}
		if ((r.flags & NET_MORE) != 0)
			continue;
		take_packet();
		n++;
	}
	join_end();
	stream_release_acks();
	if (n != 0)
		stream_trim_begun();
	return n != 0;
}

/* --- the server comes and goes ------------------------------------------------------ */

static err_t
setup(struct netif *n)
{
	n->name[0] = 'e';
	n->name[1] = 'n';
	n->output = etharp_output;
	n->output_ip6 = ethip6_output;
	n->linkoutput = put;
	n->mtu = 1500;
	n->hwaddr_len = 6;
	n->hostname = "capos";
	n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
	return ERR_OK;
}

/* What a server, the first or another, is like. */
static void
learn(void)
{
	memcpy(nif.netif.hwaddr, nif.net.mac, sizeof(nif.net.mac));
	nif.netif.mtu = nif.netif.mtu6 =
	    (uint16_t)min_u64(max_u64(nif.net.mtu, MTU_LEAST), MTU_MOST);
	NETIF_SET_CHECKSUM_CTRL(&nif.netif,
	    (uint16_t)(NETIF_CHECKSUM_ENABLE_ALL & ~(CHECKS_ALL | NETIF_CHECKSUM_GEN_TCP)));
}

/* An address has come or gone. */
static void
addresses(struct netif *n)
{
	static uint32_t said;
	struct sock_addr a = addr_of_v4(netif_ip4_addr(n)->addr),
			 g = addr_of_v4(netif_ip4_gw(n)->addr);
	char at[46], gateway[46];

	if (netif_ip4_addr(n)->addr == said)
		return;
	said = netif_ip4_addr(n)->addr;
	sock_addr_text(&a, at, sizeof(at));
	sock_addr_text(&g, gateway, sizeof(gateway));
	if (said == 0) {
		log_line(1, "no address any more");
		return;
	}
	log_line(2, "address %s, gateway %s", at, gateway);
	if (!nif.reached)
		service_ready();
	nif.reached = true;
}

static void
begin(void)
{
	ip4_addr_t none = { 0 };
	bool v6;

	if (netif_add(&nif.netif, &none, &none, &none, NULL, setup, ethernet_input) == NULL)
		die("no memory for the interface");
	learn();
	netif_set_status_callback(&nif.netif, addresses);
	netif_set_default(&nif.netif);
	v6 = nif.netif.mtu >= MTU_V6_LEAST;
	if (v6)
		netif_create_ip6_linklocal_address(&nif.netif, 1);
	else
		log_line(1, "no IPv6: its packets may not be limited to %u bytes", nif.netif.mtu);
	netif_set_ip6_autoconfig_enabled(&nif.netif, v6);
	netif_set_up(&nif.netif);
	if (nif.is_static)
		netif_set_addr(&nif.netif, &nif.address, &nif.mask, &nif.gateway);
	else if (dhcp_start(&nif.netif) != ERR_OK)
		complain("DHCP cannot be started");
	if (v6)
		(void)dhcp6_enable_stateless(&nif.netif);
	nif.configured = true;
}

static void
follow_link(void)
{
	uint32_t link = net_link(&nif.net);

	if (link == nif.link)
		return;
	nif.link_losses += nif.up && (link & 1) == 0;
	nif.up = (link & 1) != 0;
	nif.link = link;
	net_look(&nif.net);
	learn();
	/* A change in between counts as well: addresses are asked for anew. */
	netif_set_link_down(&nif.netif);
	if ((link & 1) != 0) {
		netif_set_link_up(&nif.netif);
		lost_some();
	}
}

/* The first network driver that the device manager knows; HANDLE_NONE: none now. */
static handle_t
find(void)
{
	struct msg m = { .label = DEVMGR_NET, .words = 1 };

	if (tcpip.manager == HANDLE_NONE ||
	    msg_call(tcpip.manager, &m, now_ns() + NS_PER_S) != OK || m.label != OK ||
	    (m.handles & 1) == 0)
		return HANDLE_NONE;
	return (handle_t)m.w[0];
}

static void
look_for_server(void)
{
	enum status s;

	if (nif.look_ns > turn_ns)
		return;
	nif.look_ns = turn_ns + (nif.looks < LOOKS ? LOOK_NS : LOOK_LONG_NS);
	nif.looks++;
	if (nif.endpoint == HANDLE_NONE)
		nif.endpoint = find();
	if (nif.endpoint == HANDLE_NONE)
		return;
	if (nif.area == NULL) {
		nif.area = pages_alloc(AREA / PAGE_SIZE, &nif.area_memory);
		if (nif.area == NULL) {
			complain("no memory for packets: there will be no network");
			nif.look_ns = DEADLINE_NEVER;
			return;
		}
	}
	s = net_open(&nif.net, nif.endpoint, nif.area_memory, nif.area, AREA, tcpip.ntfn,
	    BIT(NTFN_NIC));
	if (s != OK) {
		if (s != E_PEER)
			complain("the network interface cannot be used: %s", status_text(s));
		(void)sys_handle_close(nif.endpoint);
		nif.endpoint = HANDLE_NONE;
		return;
	}
	nif.open = true;
	nif.looks = 0;
	out_begin(&nif.net);
	for (uint32_t i = 0; i < RX_BUFFERS; i++)
		post(i);
	if (!nif.configured)
		begin();
	learn();
}

bool
nif_turn(void)
{
	uint64_t restarts = nif.net.restarts;
	enum status s;
	bool any;

	if (!nif.open) {
		look_for_server();
		if (!nif.open)
			return false;
	}
	s = net_turn(&nif.net);
	if (s == E_PEER)
		return false;
	if (s != OK) {
		complain("the session with the network interface ends: %s", status_text(s));
		net_close(&nif.net);
		nif.open = false;
		nif.pieces = 0;
		return false;
	}
	if (nif.net.restarts != restarts) {
		learn();
		nif.link = 0;
		/* A packet of which a part came is lost; its buffers are ours. */
		for (uint32_t i = 0; i < nif.pieces; i++)
			post(nif.piece[i].cookie);
		nif.pieces = 0;
		nif.too_long = false;
	}
	follow_link();
	any = out_sent();
	return take_received() || any;
}

void
nif_kick(void)
{
	if (!nif.open)
		return;
	out_flush();
	net_kick(&nif.net);
}

bool
nif_may_sleep(void)
{
	if (!nif.open)
		return true;
	out_flush();
	return net_may_sleep(&nif.net, NULL, NULL);
}

void
nif_woke(void)
{
	if (nif.open)
		net_woke(&nif.net);
}

uint64_t nif_next_ns(void) { return nif.open ? DEADLINE_NEVER : nif.look_ns; }

void
nif_info(struct sock_interface *out)
{
	const struct netif *n = &nif.netif;
	struct net_pair pair[NET_PAIRS];

	if (!nif.configured)
		return;
	memcpy(out->mac, n->hwaddr, sizeof(out->mac));
	out->mtu = n->mtu;
	out->link = nif.open && (nif.link & 1) != 0;
	out->v4 = addr_of_v4(netif_ip4_addr(n)->addr);
	out->v4_mask = addr_of_v4(netif_ip4_netmask(n)->addr);
	out->v4_gateway = addr_of_v4(netif_ip4_gw(n)->addr);
	out->configured = !ip4_addr_isany_val(*netif_ip4_addr(n));
	for (unsigned i = 0, k = 0; i < LWIP_IPV6_NUM_ADDRESSES && k < SOCK_ADDRESSES; i++) {
		if (!ip6_addr_isvalid(netif_ip6_addr_state(n, i)))
			continue;
		out->v6[k++] = addr_of_lwip(netif_ip_addr6(n, i));
		out->configured |= ip6_addr_isglobal(netif_ip6_addr(n, i));
	}
	out->rx_packets = nif.rx_packets;
	out->rx_bytes = nif.rx_bytes;
	out->rx_others = nif.rx_others;
	out->link_losses = nif.link_losses;
	out_counts(&out->tx_packets, &out->tx_bytes);
	out->nic_restarts = nif.net.restarts;
	out->pairs = (uint32_t)min_u64(net_pairs(&nif.net, pair), SOCK_PAIRS);
	for (uint32_t i = 0; i < out->pairs; i++) {
		out->pair[i].rx_packets = pair[i].rx_packets;
		out->pair[i].tx_packets = pair[i].tx_packets;
	}
}

/* --- arguments ------------------------------------------------------------------------ */

/* What follows "name=", up to a blank; false: it is not there. */
static bool
word(const char *args, const char *name, char *to, size_t size)
{
	size_t n = strlen(name), i;

	for (; *args != 0; args++) {
		if (strncmp(args, name, n) != 0 || args[n] != '=')
			continue;
		for (i = 0, args += n + 1; i < size - 1 && *args != 0 && *args != ' ';)
			to[i++] = *args++;
		to[i] = 0;
		return true;
	}
	return false;
}

static bool
word_v4(const char *args, const char *name, ip4_addr_t *out, uint32_t *bits)
{
	struct sock_addr a;
	char text[48], *slash;
	ip_addr_t ip;

	if (!word(args, name, text, sizeof(text)))
		return false;
	slash = strchr(text, '/');
	if (slash != NULL && bits != NULL) {
		*slash++ = 0;
		*bits = 0;
		for (; *slash >= '0' && *slash <= '9' && *bits <= 32; slash++)
			*bits = *bits * 10 + (uint32_t)(*slash - '0');
	}
	if (sock_addr_parse(text, &a) != OK || !sock_addr_is_v4(&a) ||
	    (bits != NULL && *bits > 32))
		die("arguments: \"%s=%s\" is no IPv4 address", name, text);
	addr_to_lwip(&a, &ip);
	*out = *ip_2_ip4(&ip);
	return true;
}

void
nif_init(const char *args)
{
	uint32_t bits = 24;
	ip4_addr_t dns;

	nif.is_static = word_v4(args, "address", &nif.address, &bits);
	nif.mask.addr = bits == 0 ? 0 : lwip_htonl(UINT32_MAX << (32 - bits));
	(void)word_v4(args, "gateway", &nif.gateway, NULL);
	if (word_v4(args, "dns", &dns, NULL)) {
		ip_addr_t ip;

		ip_addr_copy_from_ip4(ip, dns);
		dns_setserver(0, &ip);
	}
}
