/*
 * Packets of one connection that come together are one segment for lwIP.
 *
 * What a packet costs is mostly not its bytes: each goes through Ethernet, IP and TCP, and is
 * looked up, judged and acknowledged alone.  So of the packets that one turn takes those that
 * continue each other are put together here, before lwIP sees them: a train has the headers of its
 * first packet and the bytes of all.  Of acknowledgements without bytes the last says what all of
 * them say, so a train can be of those alone.
 *
 * A packet continues a train when it is of the same connection, begins where the train ends,
 * acknowledges no less, has no options and no flags but ACK and PSH, the same marks of its network,
 * and sums that are right.  One without bytes has to acknowledge more: two that say the same are a
 * sign of loss, and lwIP counts them.  Everything else goes to lwIP as it came, after the train
 * that it would otherwise overtake.
 *
 * A frame lies where others may write.  Its headers are copied and then read; its bytes are copied
 * and summed in one pass, so what was judged is what lwIP gets.  Where the sum is wrong the packet
 * goes to lwIP alone, which counts it.
 *
 * Nothing is kept longer than a turn.
 *
 * Manual   RFC 9293, 3.1 and 3.10.7.4; RFC 791, 3.1; RFC 8200, 3.
 */
#include "lwip/pbuf.h"
#include "usr/tcpip/frame.h"
#include "usr/tcpip/tcpip.h"

enum { TRAINS = 8, TRAIN_BYTES = 32 * 1024 };

static struct train {
	struct pbuf *p, *last;
	uint8_t *frame;			/* headers: in p */
	uint32_t tcp;			/* where TCP begins in it */
	uint32_t bytes, packets;	/* of payload */
	uint32_t next, ack;		/* sequence numbers */
} train[TRAINS];
static uint32_t trains;

/* What the headers of a frame say. */
struct head {
	uint32_t tcp;			/* where TCP begins */
	uint32_t bytes;			/* of payload */
	uint32_t seq, ack;
	uint8_t flags;
};

/* Of TCP, whose payload has that sum. */
static ALWAYS_INLINE bool
sum_right(const uint8_t *f, const struct head *h, uint32_t payload)
{
	return frame_fold(payload + frame_pseudo(f, h->tcp, FRAME_TCP + h->bytes) +
		   frame_sum(f + h->tcp, FRAME_TCP / 4)) == UINT16_MAX;
}

/* False: not TCP without options over IP without options, whole, and within its frame; or the sum
 * of IP's header is wrong. */
static ALWAYS_INLINE bool
read_head(const uint8_t *f, uint32_t len, struct head *h)
{
	uint32_t tcp = frame_tcp(f, len), ip;

	if (tcp == 0)
		return false;
	if (tcp == FRAME_MAC + FRAME_V4) {
		ip = frame_get16(f + FRAME_MAC + 2);
		if (frame_fold(frame_sum(f + FRAME_MAC, FRAME_V4 / 4)) != UINT16_MAX)
			return false;
	} else {
		ip = FRAME_V6 + frame_get16(f + FRAME_MAC + 4);
	}
	if (FRAME_MAC + ip > len || FRAME_MAC + ip < tcp + FRAME_TCP ||
	    f[tcp + 12] >> 4 != FRAME_TCP / 4)
		return false;
	h->tcp = tcp;
	h->bytes = FRAME_MAC + ip - tcp - FRAME_TCP;
	h->seq = frame_get32(f + tcp + 4);
	h->ack = frame_get32(f + tcp + 8);
	h->flags = f[tcp + 13];
	return true;
}

/* Of the same connection, and marked alike: class or type of service, and hops that are left. */
static ALWAYS_INLINE bool
alike(const struct train *t, const uint8_t *f, const struct head *h)
{
	const uint8_t *g = t->frame;
	/* Ethernet, and the next 2 bytes. */
	bool same = t->tcp == h->tcp && *(const frame_wide *)g == *(const frame_wide *)f &&
	    *(const frame_wide *)(g + 8) == *(const frame_wide *)(f + 8);

	if (!same || *(const frame_word *)(g + h->tcp) != *(const frame_word *)(f + h->tcp))
		return false;
	g += FRAME_MAC;
	f += FRAME_MAC;
	if (h->tcp == FRAME_MAC + FRAME_V4)
		return g[8] == f[8] &&
		    *(const frame_wide *)(g + 12) == *(const frame_wide *)(f + 12);
	return *(const frame_half *)(g + 2) == *(const frame_half *)(f + 2) && g[7] == f[7] &&
	    memcmp(g + 8, f + 8, 32) == 0;
}

static ALWAYS_INLINE bool
continues(const struct train *t, const struct head *h)
{
	int32_t more = (int32_t)(h->ack - t->ack);

	return (h->flags & ~FRAME_PSH) == FRAME_ACK && h->seq == t->next &&
	    (h->bytes != 0 ? more >= 0 : more > 0) && t->bytes + h->bytes <= TRAIN_BYTES;
}

/* --- trains --------------------------------------------------------------------- */

/* Gives it to lwIP. */
static void
leave(struct train *t)
{
	uint32_t left = t->tcp + FRAME_TCP + t->bytes + ETH_PAD_SIZE, packets = t->packets;
	struct pbuf *p = t->p;

	if (t->packets > 1) {
		if (t->tcp == FRAME_MAC + FRAME_V4)
			frame_put16(t->frame + FRAME_MAC + 2, FRAME_V4 + FRAME_TCP + t->bytes);
		else
			frame_put16(t->frame + FRAME_MAC + 4, FRAME_TCP + t->bytes);
		for (struct pbuf *q = p; q != NULL; q = q->next) {
			q->tot_len = (uint16_t)left;
			left -= q->len;
		}
	}
	*t = train[--trains];
	nif_input(p, SUMS_RIGHT, packets);
}

void
join_end(void)
{
	while (trains != 0)
		leave(&train[0]);
}

static ALWAYS_INLINE struct train *
find(const uint8_t *f, const struct head *h)
{
	for (uint32_t i = 0; i < trains; i++)
		if (alike(&train[i], f, h))
			return &train[i];
	return NULL;
}

static ALWAYS_INLINE uint32_t
copy(uint8_t *to, const uint8_t *from, uint32_t len, bool sound)
{
	if (!sound)
		return lwip_sum_copy(to, from, (uint16_t)len);
	memcpy(to, from, len);
	return 0;
}

/* False: it is to be taken for itself. */
static ALWAYS_INLINE bool
board(struct train *t, const uint8_t *f, const struct head *h, const uint8_t *payload, bool sound)
{
	struct pbuf *q = NULL;
	uint32_t sum = 0;
	uint8_t *g;

	if (h->bytes != 0) {
		q = pbuf_alloc(PBUF_RAW, (uint16_t)h->bytes, PBUF_RAM);
		if (q == NULL)
			return false;
		sum = copy(q->payload, payload, h->bytes, sound);
	}
	if (!sound && !sum_right(f, h, sum)) {
		if (q != NULL)
			pbuf_free(q);
		return false;
	}
	if (q != NULL) {
		t->last->next = q;
		t->last = q;
	}
	t->bytes += h->bytes;
	t->next += h->bytes;
	t->ack = h->ack;
	t->packets++;
	/* Acknowledgement, flags, window: the last packet's. */
	g = t->frame + t->tcp;
	f += t->tcp;
	*(frame_word *)(g + 8) = *(const frame_word *)(f + 8);
	*(frame_half *)(g + 14) = *(const frame_half *)(f + 14);
	g[13] |= h->flags;
	return true;
}

/* As it is, without a look. */
static void
plain(const uint8_t *frame, uint32_t len, bool sound)
{
	struct pbuf *p = len >= FRAME_MAC && len <= UINT16_MAX - ETH_PAD_SIZE ?
	    pbuf_alloc(PBUF_RAW, (uint16_t)(len + ETH_PAD_SIZE), PBUF_RAM) :
	    NULL;

	if (p == NULL) {
		tcpip.rx_dropped++;
		return;
	}
	memcpy((uint8_t *)p->payload + ETH_PAD_SIZE, frame, len);
	nif_input(p, sound ? SUMS_RIGHT_BUT_IP : SUMS_UNKNOWN, 1);
}

void
join_take(const uint8_t *frame, uint32_t len, bool sound)
{
	uint8_t f[FRAME_HEADERS];
	struct train *t;
	struct pbuf *p;
	struct head h;
	uint32_t n, sum;
	uint8_t *to;

	if (len < FRAME_MAC + FRAME_V4 + FRAME_TCP) {
		plain(frame, len, sound);
		return;
	}
	memcpy(f, frame, min_u64(len, FRAME_HEADERS));
	if (!read_head(f, len, &h)) {
		join_end();
		plain(frame, len, sound);
		return;
	}
	n = h.tcp + FRAME_TCP;
	t = find(f, &h);
	if (t != NULL) {
		if (continues(t, &h) && board(t, f, &h, frame + n, sound))
			return;
		leave(t);
	}
	p = pbuf_alloc(PBUF_RAW, (uint16_t)(ETH_PAD_SIZE + n + h.bytes), PBUF_RAM);
	if (p == NULL) {
		tcpip.rx_dropped++;
		return;
	}
	to = (uint8_t *)p->payload + ETH_PAD_SIZE;
	memcpy(to, f, n);
	sum = copy(to + n, frame + n, h.bytes, sound);
	sound = sound || sum_right(f, &h, sum);
	if (!sound || (h.flags & ~FRAME_PSH) != FRAME_ACK) {
		nif_input(p, sound ? SUMS_RIGHT : SUMS_UNKNOWN, 1);
		return;
	}
	if (trains == TRAINS)
		leave(&train[0]);
	train[trains++] = (struct train){ .p = p, .last = p, .frame = to, .tcp = h.tcp,
		.bytes = h.bytes, .packets = 1, .next = h.seq + h.bytes, .ack = h.ack };
}
