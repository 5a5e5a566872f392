/*
 * Connections of a predecessor.
 *
 * When the service dies its connections are over, and their peers do not know.  Who sends something
 * learns it, by a reset; who only waits would wait for ever.  Clients remember whom they were
 * connected with and say so to the successor (SOCK_CALL_GONE), which asks the peer where it stands:
 * by an acknowledgement out of its window.  The peer answers with one that has its own numbers, and
 * nobody here knows the connection, so the answer to that is a reset that the peer believes
 * [RFC 9293, 3.5.1, "Half-Open Connections"; 3.10.7.1].
 *
 * It is asked a few times, since packets get lost: of several to a neighbour whose address is still
 * asked for only the last go out.  The service is young then, so until there is an address to ask
 * from it looks again soon.  Who may listen on the port may say so, and only what a client would
 * have had as sockets is kept.
 */
#include "kern/base/bits.h"
#include "lwip/inet_chksum.h"
#include "lwip/priv/tcp_priv.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/tcpip.h"

enum { GONE = 128, ASKS = 5 };
enum : uint64_t {
	SOON_NS = 10 * NS_PER_MS,
	FIRST_NS = 30 * NS_PER_MS, /* to the second; each takes twice as long as that before */
	LONGEST_NS = 60 * NS_PER_S
};

static struct gone {
	struct sock_addr peer;
	uint16_t port, peer_port;
	uint32_t asks;			/* left; 0: free */
	uint64_t next, until;
} gone[GONE];
static uint32_t gones;			/* that are not free: mostly none */

enum status
gone_tell(const struct sock_addr *peer, uint16_t port, uint16_t peer_port)
{
	for (unsigned i = 0; i < GONE; i++)
		if (gone[i].asks == 0) {
			gone[i] = (struct gone){ .peer = *peer,
				.port = port,
				.peer_port = peer_port,
				.asks = ASKS,
				.next = turn_ns,
				.until = turn_ns + LONGEST_NS };
			gones++;
			return OK;
		}
	return E_BUSY;
}

/* False: not now. */
static bool
ask(const struct gone *g)
{
	const ip_addr_t *from;
	struct tcp_hdr *h;
	struct netif *n;
	struct pbuf *p;
	ip_addr_t to;
	err_t e;

	addr_to_lwip(&g->peer, &to);
	n = ip_route(IP46_ADDR_ANY(IP_GET_TYPE(&to)), &to);
	from = n != NULL ? ip_netif_get_local_ip(n, &to) : NULL;
	if (from == NULL || ip_addr_isany(from))
		return false;
	p = pbuf_alloc(PBUF_IP, TCP_HLEN, PBUF_RAM);
	if (p == NULL)
		return false;
	h = p->payload;
	*h = (struct tcp_hdr){ .src = lwip_htons(g->port), .dest = lwip_htons(g->peer_port) };
	TCPH_HDRLEN_FLAGS_SET(h, TCP_HLEN / 4, TCP_ACK);
	h->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, from, &to);
	e = ip_output_if(p, from, &to, TCP_TTL, 0, IP_PROTO_TCP, n);
	pbuf_free(p);
	return e == ERR_OK;
}

void
gone_turn(void)
{
	for (unsigned i = 0; i < GONE && gones != 0; i++) {
		struct gone *g = &gone[i];

		if (g->asks == 0 || g->next > turn_ns)
			continue;
		g->next = turn_ns + SOON_NS;
		if (ask(g)) {
			g->next = turn_ns + (FIRST_NS << (ASKS - g->asks));
			g->asks--;
		} else if (turn_ns >= g->until) {
			g->asks = 0;
		}
		gones -= g->asks == 0;
	}
}

uint64_t
gone_next_ns(void)
{
	uint64_t next = DEADLINE_NEVER;

	for (unsigned i = 0; i < GONE && gones != 0; i++)
		if (gone[i].asks != 0)
			next = min_u64(next, gone[i].next);
	return next;
}
