/*
 * What a peer has to hear of losses.
 *
 * A peer that hears the same acknowledgement three times more sends again at once what it says is
 * missing; otherwise it waits for its timer, which is a second and more [RFC 5681, 3.2; RFC 6298].
 * It would not hear so in two cases.
 *
 * Ahead   Packets that come together are one segment for lwIP (join.c), or for the device.  When
 *         they are ahead of a hole lwIP answers them once; what is missing here, up to what a
 *         sender counts to, is sent first [RFC 5681, 4.2: an acknowledgement for each].
 * NIC     A NIC's server that dies takes with it what was received and not handed on: mostly the
 *         last packets that a peer may send before it is acknowledged, so nothing comes ahead of
 *         the hole.  When there is a server again, or the link is back, every connection says where
 *         it stands, and three times more.  A peer to whom nothing is outstanding does not count
 *         them.  Another sends one packet again.  The next is missing as well, so each
 *         acknowledgement that moves on is repeated when nothing follows for QUIET_NS, or for
 *         LAST_NS when it was less than a whole segment, as the last one is: until everything has
 *         come that the peer can have sent before, or its end, or something comes twice, that is
 *         was not missing, or MEND_NS are over, when its own timer has gone off.
 *         And what was lost may be an acknowledgement that we wait for: the first segment that has
 *         none is sent again, and its answer is where the peer stands.
 */
#include "lwip/priv/tcp_priv.h"
#include "usr/tcpip/tcpip.h"

enum { DUPLICATES = 3 };
enum : uint64_t {
	MEND_NS = NS_PER_S,
	QUIET_NS = NS_PER_MS / 5,
	LAST_NS = 20 * NS_PER_MS,
};

static uint64_t until_ns;		/* connections are mended until then */
static uint64_t next_ns = DEADLINE_NEVER;

/* NULL: nobody's, or only begun. */
static struct socket *
socket_of(const struct tcp_pcb *pcb)
{
	struct socket *s = pcb->callback_arg;

	return s != NULL && s->kind == SOCKET_STREAM && s->tcp == pcb &&
		pcb->state >= ESTABLISHED ?
	    s :
	    NULL;
}

static void
repeat(struct tcp_pcb *pcb, uint32_t times)
{
	while (times-- != 0)
		(void)tcp_send_empty_ack(pcb);
}

void
lost_segment(struct tcp_pcb *pcb, uint32_t seq, uint32_t bytes, uint32_t packets)
{
	struct socket *s;

	if (bytes == 0)
		return;
	if (unlikely(packets > 1 && TCP_SEQ_GT(seq, pcb->rcv_nxt)))
		repeat(pcb, (uint32_t)min_u64(packets, DUPLICATES) - 1);
	if (unlikely(turn_ns < until_ns) && TCP_SEQ_LEQ(seq + bytes, pcb->rcv_nxt)) {
		s = socket_of(pcb);
		if (s != NULL)
			s->mends = false;
	}
}

void
lost_some(void)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
		struct socket *s = socket_of(pcb);
		uint8_t tries = pcb->nrtx;

		/* No sign that the peer does not answer: it is not counted. */
		if (tcp_rexmit(pcb) == ERR_OK) {
			pcb->nrtx = tries;
			(void)tcp_output(pcb);
		}
		if (s == NULL)
			continue;
		s->mends = true;
		s->mend_seen = pcb->rcv_nxt;
		s->mend_end = pcb->rcv_ann_right_edge;
		s->mend_ns = DEADLINE_NEVER;
		repeat(pcb, 1 + DUPLICATES);
	}
	until_ns = turn_ns + MEND_NS;
}

void
lost_turn(void)
{
	next_ns = DEADLINE_NEVER;
	if (likely(turn_ns >= until_ns))
		return;
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
		struct socket *s = socket_of(pcb);

		if (s == NULL || !s->mends)
			continue;
		if (pcb->rcv_nxt != s->mend_seen) {
			s->mend_ns = turn_ns +
			    (pcb->rcv_nxt - s->mend_seen < pcb->mss ? LAST_NS : QUIET_NS);
			s->mend_seen = pcb->rcv_nxt;
			s->mends = TCP_SEQ_LT(pcb->rcv_nxt, s->mend_end) && !s->end_received;
		} else if (turn_ns >= s->mend_ns) {
			s->mend_ns = DEADLINE_NEVER;
			repeat(pcb, 1 + DUPLICATES);
		}
		if (s->mends)
			next_ns = min_u64(next_ns, s->mend_ns);
	}
}

uint64_t lost_next_ns(void) { return next_ns; }
