/*
 * Questions that are answered later: names and echoes.  And what the interface is like.
 *
 * A question is a call whose answer waits for packets; it keeps the call's token.  A session has at
 * most ASKS_A_SESSION of them, so that nobody takes all there are.
 */
#include "kern/base/bits.h"
#include "lwip/dns.h"
#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/icmp6.h"
#include "lwip/raw.h"
#include "lwip/stats.h"
#include "usr/tcpip/addr.h"
#include "usr/tcpip/port/heap.h"
#include "usr/tcpip/tcpip.h"

enum { ASKS = 32, ASKS_A_SESSION = 4 };
enum : uint64_t { PING_LONGEST_NS = 60 * NS_PER_S, RESOLVE_NS = 30 * NS_PER_S };

static struct ask {
	struct session *session;	/* NULL: nobody waits for the answer */
	uint64_t token, sent_ns, until;
	bool busy, echo;
	uint16_t id, sequence;
	ip_addr_t to;
} asks[ASKS];
static struct raw_pcb *echo4, *echo6;
static uint16_t next_sequence;
static bool timers;			/* lwIP's are at work */

void ask_timers(bool on) { timers = on; }

static struct ask *
ask_new(struct session *c, const struct msg *m)
{
	if (c->asks >= ASKS_A_SESSION)
		return NULL;
	for (unsigned i = 0; i < ASKS; i++)
		if (!asks[i].busy) {
			c->asks++;
			asks[i] = (struct ask){
				.session = c, .token = m->token, .busy = true, .sent_ns = turn_ns
			};
			return &asks[i];
		}
	return NULL;
}

static void
answer(struct ask *a, enum status s, uint64_t word)
{
	struct msg m = { .token = a->token, .label = s, .words = 1, .w = { word } };

	if (a->session != NULL) {
		a->session->asks--;
		(void)msg_reply(&m);	/* who has given up needs no answer */
	}
	a->session = NULL;
}

/*
 * lwIP calls this once for each question, also when nobody waits any more.  It does not say why
 * there is no address; but what an answer ends, and what a timer, are not the same.
 */
static void
found(const char *name UNUSED, const ip_addr_t *addr, void *arg)
{
	struct ask *a = arg;

	if (a->session != NULL && addr != NULL)
		a->session->page->answer.address[0] = addr_of_lwip(addr);
	answer(a, addr != NULL ? OK : timers ? E_TIMED_OUT : E_NOT_FOUND, addr != NULL);
	a->busy = false;
}

/* Labels of 1 to 63 bytes [RFC 1035, 2.3.4]: lwIP would write any length into its question. */
static bool
is_name(const char *name)
{
	uint32_t label = 0;

	for (; *name != 0; name++) {
		label = *name == '.' ? 0 : label + 1;
		if (label > 63 || (*name == '.' && name[1] == '.'))
			return false;
	}
	return true;
}

enum status
ask_resolve(struct session *c, struct msg *m)
{
	struct ask *a = ask_new(c, m);
	char name[SOCK_NAME];
	ip_addr_t addr;
	err_t e;

	if (a == NULL)
		return E_BUSY;
	/* One copy; the client may change its own meanwhile. */
	for (unsigned i = 0; i < sizeof(name); i++)
		name[i] = (char)__atomic_load_n(
		    (const uint8_t *)&c->page->name[i], __ATOMIC_RELAXED);
	name[sizeof(name) - 1] = 0;
	a->until = turn_ns + RESOLVE_NS;
	e = name[0] != 0 && name[0] != '.' && is_name(name) ?
	    dns_gethostbyname_addrtype(name, &addr, found, a, LWIP_DNS_ADDRTYPE_IPV4_IPV6) :
	    ERR_ARG;
	if (e == ERR_INPROGRESS)
		return E_CANCELLED;
	c->asks--;
	a->busy = false;
	if (e != ERR_OK)
		return e == ERR_ARG ? E_INVALID : e == ERR_VAL ? E_NOT_FOUND : E_BUSY;
	c->page->answer.address[0] = addr_of_lwip(&addr);
	m->w[0] = 1;
	return OK;
}

/* --- echoes ------------------------------------------------------------------------ */

/* Both families have the same header behind their type. */
static uint8_t
echoed(void *arg, struct raw_pcb *pcb UNUSED, struct pbuf *p, const ip_addr_t *from)
{
	uint8_t type = arg != NULL ? ICMP6_TYPE_EREP : ICMP_ER;
	uint16_t skip = ip_current_header_tot_len();
	struct icmp_echo_hdr h;

	if (pbuf_copy_partial(p, &h, sizeof(h), skip) != sizeof(h) || h.type != type)
		return 0;
	for (unsigned i = 0; i < ASKS; i++) {
		struct ask *a = &asks[i];

		if (!a->busy || !a->echo || a->id != h.id || a->sequence != h.seqno ||
		    !ip_addr_cmp(&a->to, from))
			continue;
		answer(a, OK, now_ns() - a->sent_ns);
		a->busy = false;
		pbuf_free(p);
		return 1;
	}
	return 0;
}

enum status
ask_ping(struct session *c, struct msg *m)
{
	struct sock_addr to = addr_of_words(&m->w[2]);
	bool v6 = !sock_addr_is_v4(&to);
	struct icmp_echo_hdr *h;
	struct pbuf *p;
	struct ask *a;
	err_t e;

	if (m->w[1] > SOCK_DATAGRAM_MAX)
		return E_OVERFLOW;
	a = ask_new(c, m);
	if (a == NULL)
		return E_BUSY;
	a->echo = true;
	addr_to_lwip(&to, &a->to);
	a->until = turn_ns + min_u64(m->w[4], PING_LONGEST_NS);
	a->sent_ns = now_ns();
	a->id = (uint16_t)lwip_random();
	a->sequence = lwip_htons(++next_sequence);
	p = pbuf_alloc(PBUF_IP, (uint16_t)(sizeof(*h) + m->w[1]), PBUF_RAM);
	e = ERR_MEM;
	if (p != NULL) {
		h = p->payload;
		*h = (struct icmp_echo_hdr){ .type = v6 ? ICMP6_TYPE_EREQ : ICMP_ECHO,
			.id = a->id,
			.seqno = a->sequence };
		for (unsigned i = 0; i < m->w[1]; i++)
			((uint8_t *)(h + 1))[i] = (uint8_t)i;
		if (!v6)
			h->chksum = inet_chksum(h, p->len);
		e = raw_sendto(v6 ? echo6 : echo4, p, &a->to);
		pbuf_free(p);
	}
	if (e == ERR_OK)
		return E_CANCELLED;
	c->asks--;
	a->busy = false;
	return e == ERR_RTE ? E_NOT_FOUND : E_NO_MEMORY;
}

void
ask_init(void)
{
	echo4 = raw_new_ip_type(IPADDR_TYPE_V4, IP_PROTO_ICMP);
	echo6 = raw_new_ip_type(IPADDR_TYPE_V6, IP6_NEXTH_ICMP6);
	if (echo4 == NULL || echo6 == NULL)
		die("no memory for echoes");
	raw_recv(echo4, echoed, NULL);
	raw_recv(echo6, echoed, echo6);
	echo6->chksum_reqd = 1;
	echo6->chksum_offset = 2;
	(void)raw_bind(echo4, IP4_ADDR_ANY);
	(void)raw_bind(echo6, IP6_ADDR_ANY);
}

void
ask_drop(struct session *c)
{
	for (unsigned i = 0; i < ASKS; i++)
		if (asks[i].session == c) {
			answer(&asks[i], E_CANCELLED, 0);
			asks[i].busy = !asks[i].echo;	/* lwIP still has the name's question */
		}
}

void
ask_expire(void)
{
	for (unsigned i = 0; i < ASKS; i++) {
		struct ask *a = &asks[i];

		if (!a->busy || a->session == NULL || a->until > turn_ns)
			continue;
		answer(a, E_TIMED_OUT, 0);
		a->busy = !a->echo;
	}
}

uint64_t
ask_next_ns(void)
{
	uint64_t next = DEADLINE_NEVER;

	for (unsigned i = 0; i < ASKS; i++)
		if (asks[i].busy && asks[i].session != NULL)
			next = min_u64(next, asks[i].until);
	return next;
}

void
ask_interface(struct sock_interface *out)
{
	*out = (struct sock_interface){ .rx_dropped = tcpip.rx_dropped + lwip_stats.tcp.drop +
		    lwip_stats.ip.drop + lwip_stats.udp.drop + lwip_stats.ip6.drop,
		.tx_dropped = tcpip.tx_dropped,
		.checksum_errors = lwip_stats.ip.chkerr + lwip_stats.tcp.chkerr +
		    lwip_stats.udp.chkerr,
		.tcp_resent = lwip_stats.mib2.tcpretranssegs,
		.sockets = tcpip.sockets,
		.sessions = (uint32_t)__builtin_popcount(tcpip.live),
		.refused = tcpip.refused };
	nif_info(out);
	for (unsigned i = 0; i < ARRAY_SIZE(out->dns); i++)
		out->dns[i] = addr_of_lwip(dns_getserver((uint8_t)i));
}
