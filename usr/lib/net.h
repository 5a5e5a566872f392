/*
 * The packet protocol, both ends.
 *
 * A session is one client's use of one NIC.  Opening it hands the server a packet area (the
 * client's memory, granted to the device once, as a whole, and mapped by no server) and a
 * notification of the client's, and brings back a ring (NET_RING_PAGES pages: the server's, so that
 * no client can take it away) and a notification of the server's.  After that everything goes
 * through the ring:
 *
 *   tx         client: a packet to be sent, in one slot or, with NET_MORE, several
 *   tx_done    server: a packet was sent, or not: its memory is the client's again
 *   post       client: a buffer for what is received
 *   rx         server: a buffer that holds a packet, or with NET_MORE a part of one
 *
 * Each is an array of NET_SLOTS that its writer fills and then moves a head over.  Places in the
 * packet area are byte offsets.  If the other side sleeps it is signalled.
 *
 * Received bytes begin NET_HEAD into their buffer.  The device's own header never is in the packet
 * area: it goes to memory of the server's.  Where a packet goes on in another buffer the device
 * puts NET_LEAD bytes of it in that place too; they come along in the slot, and the library puts
 * them before the others: so the room in front of a buffer's data belongs to the library.
 *
 * Packets may be lost, and after a server was restarted sent twice: it is Ethernet.
 *
 * Both sides may lie.  Each index is read once and bounded, each slot is copied once before it is
 * judged.  A packet that asks for what it must not is answered with a status; a ring whose indices
 * cannot be ends the session: "refused" says why.
 */
#pragma once

#include "kern/base/mmio.h"
#include "usr/lib/os.h"

enum {
	NET_SLOTS = 256,
	NET_RING_PAGES = 6,
	NET_STACK = 2048,
	NET_FRAGMENTS = 20,		/* slots of one packet, at most */
	NET_HEAD = 18,	/* the bytes after an Ethernet header lie at a multiple of 4 */
	NET_LEAD = 12,
	NET_BUFFER_MIN = 2048,		/* bytes of a posted buffer; at most 64 KiB */
	NET_PACKET_MAX = 65536 + 14,	/* with NET_GSO_*; otherwise MTU + 14, and 4 for a VLAN */
	NET_PAIRS = 8,			/* of queues that are counted one by one */
};

/* What a server can do: features of a session.  And what a packet asks for, or was found to be. */
enum net_flag : uint16_t {
	NET_MORE = 1u << 0, /* the packet goes on in the next slot */
	/*
	 * tx: the device adds up from csum_start to the packet's end, and stores the sum
	 * csum_offset further on.  The field holds the sum of the pseudo header.  rx: the same is
	 * left to do; the packet is sound, it never was on a wire.
	 */
	NET_CSUM = 1u << 1,
	NET_CSUM_OK = 1u << 2, /* rx: the device has found the checksums right */
	/*
	 * A TCP packet of any length, to be cut (tx) or put together (rx) in pieces of gso_size
	 * bytes behind the first header_bytes.  tx: with NET_CSUM, and the first slot holds all
	 * headers.
	 */
	NET_GSO_TCP4 = 1u << 3,
	NET_GSO_TCP6 = 1u << 4,
	NET_ECN = 1u << 5, /* with NET_GSO_*: the first piece only has CWR [RFC 3168] */
};

struct net_tx {
	uint32_t cookie;
	uint32_t at, bytes;
	/* Below: of the packet's first slot.  In the others only NET_MORE counts. */
	uint16_t flags;
	uint16_t csum_start, csum_offset;	/* bytes from the packet's begin */
	uint16_t gso_size, header_bytes;
	uint16_t flow;		/* packets of one flow stay in order; others may overtake them */
};
static_assert(sizeof(struct net_tx) == 24);

/* cookie: of the packet's first slot.  One for each packet. */
struct net_tx_done { uint32_t cookie, status; };

struct net_post { uint32_t cookie, at, bytes, unused; };

struct net_rx {
	uint32_t cookie;
	uint32_t first, bytes;	/* where the packet's bytes are in the buffer, and how many */
	/* Below: in the packet's first slot.  In the others only NET_MORE and lead count. */
	uint16_t flags;
	uint16_t csum_start, csum_offset, gso_size;
	uint8_t lead[NET_LEAD];
};
static_assert(sizeof(struct net_rx) == 32);

/* What went through one pair of a device's queues since its server began. */
struct net_pair { uint64_t rx_packets, tx_packets; };

struct net_ring {
	uint32_t tx_head ALIGNED(64);		/* client: slots written */
	uint32_t post_head;
	uint32_t tx_done_tail, rx_tail;		/* client: slots read */
	uint32_t client_sleeps;
	uint32_t tx_done_head ALIGNED(64);	/* server: slots written */
	uint32_t rx_head;
	uint32_t server_sleeps;
	uint32_t link;		/* server: bit 0 it is up; the others count its changes */
	uint32_t refused; /* server: not OK, the session is over and why (enum status) */
	uint64_t mac;		/* server: as in NET_CALL_OPEN; when it changes, link does too */
	uint32_t pairs;		/* server: that the device is driven with; what they carried */
	struct net_pair pair[NET_PAIRS];
	struct net_tx tx[NET_SLOTS] ALIGNED(64);
	struct net_post post[NET_SLOTS];
	struct net_tx_done tx_done[NET_SLOTS];
	struct net_rx rx[NET_SLOTS];
};
static_assert(sizeof(struct net_ring) <= NET_RING_PAGES * PAGE_SIZE);

/* Calls to a packet server: labels. */
enum net_call : uint32_t {
	NET_CALL_INFO = 1, /* -> w0 MAC | MTU << 48, w1 features | promiscuous << 16 |
			      link << 32, w2 packets received,
			      w3 sent, w4 bytes received, w5 sent, w6 received packets dropped | not
			      sent << 32, w7 device resets | sessions refused << 32 */
	NET_CALL_OPEN,  /* handles: w0 area, w1 notification; w3 area bytes, w4 bits -> w0 handle to
			   signal, w1 ring, w2 session, w3 MAC | MTU << 48, w4 features, w5 bits.
			   E_BUSY: the NIC has a session. */
	NET_CALL_CLOSE, /* w0 session */
	NET_CALL_STAY, /* w0 session: answered when the session ends, OK; E_WOULD_BLOCK: call again,
			  at once; E_STALE: there is none; E_PEER: the server died */
	NET_CALL_PROMISCUOUS, /* w0 1 or 0: packets for others come, too.  This and MAC: E_RIGHTS
				 without NET_MAY_CHANGE; E_UNSUPPORTED: the device cannot; E_IO: it
				 says no.  Both last until the server ends. */
	NET_CALL_MAC,         /* w0 MAC; E_INVALID: it is nobody's, or a group's */
	NET_CALL_ROGUE, /* test servers only: w0 IOVA, w1: 0 the device writes there, 1 it reads,
			   2 it gets nonsense -> w0 faults that it made */
};

/*
 * What the holder of a handle may do stands in its badge, where that of a disk has its range
 * (blk.h): a session, and changing how the interface behaves.
 */
enum : uint32_t { NET_MAY_OPEN = 1, NET_MAY_CHANGE = 2 };

/* MAC: the first byte on the wire is the lowest of the word. */
struct net_info {
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t features;		/* enum net_flag */
	uint32_t link;			/* as in the ring */
	bool promiscuous;
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint32_t rx_dropped, tx_failed, resets, refused;
};
/* E_PEER: no server, or it died; try again. */
NODISCARD enum status net_info(handle_t endpoint, struct net_info *out, uint64_t deadline);
NODISCARD enum status net_set_promiscuous(handle_t endpoint, bool on, uint64_t deadline);
NODISCARD enum status net_set_mac(handle_t endpoint, const uint8_t mac[6], uint64_t deadline);

/* --- client ---------------------------------------------------------------- */

/* Outstanding slots, until answered: a server that was restarted gets them again. */
struct net_sent {
	struct net_tx tx;
	uint8_t slots;			/* of the packet; 0: not its first */
	bool done;
};

struct net {
	handle_t endpoint, area, ntfn;		/* borrowed */
	handle_t server, ring_memory;
	uint64_t area_bytes, bits;
	uint8_t *base;				/* the area, mapped by the caller */
	struct net_ring *ring;
	uint64_t server_bits, session;
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t features;
	/*
	 * Positions of slots: from first to head they are outstanding.  The ring's own begin with
	 * each server: they are less by base.  Cookies in the ring are positions in these arrays.
	 * Buffers come back in any order, as each of several queues fills its own: which of them
	 * are outstanding is a set.
	 */
	uint32_t tx_first, tx_head, tx_base, tx_done_tail;
	uint32_t posts, post_head, rx_tail;	/* posts: in the set */
	uint32_t tx_shown, post_shown;		/* heads as the server can see them */
	uint64_t busy[NET_SLOTS / 64];		/* of posted */
	struct net_sent sent[NET_SLOTS];
	struct net_post posted[NET_SLOTS];
	uint64_t restarts;
	uint32_t lies;				/* answers that nobody had asked for */
	bool broken;			/* a ring whose indices cannot be; or too many lies */
	uint32_t keeper;			/* its thread runs */
	uint32_t lost; /* 1: the server is gone; 2: and somebody serves in its place, or nobody ever
			  will */
	uint32_t closing;
	uint8_t stack[NET_STACK] ALIGNED(16);	/* the keeper's */
};

/*
 * A session with the server at endpoint.  area: whole pages, area_bytes of them mapped at base,
 * which stay until net_close.  The bits are set on ntfn when there is something to look at.  *n is
 * all zero or was closed, and stays in its place: a thread of the session runs on a stack in it.
 * Waits at most 5 s.  E_PEER: no server; E_BUSY: somebody else's session; E_NO_MEMORY, E_QUOTA.
 */
NODISCARD enum status net_open(struct net *n, handle_t endpoint, handle_t area, void *base,
    uint64_t area_bytes, handle_t ntfn, uint64_t bits);
/* Returns when the device can no longer reach the area, or the server is gone; at most 5 s for each
 * of two answers. */
void net_close(struct net *n);

/*
 * To be called first in each turn.  OK: the server is there; after a restart everything outstanding
 * was put again, mac, mtu and features may be others, and a packet of which a part was taken is
 * lost: n->restarts has moved.  E_PEER: the server is gone, its successor not there yet; what is
 * put is kept for it.  bits are set when it comes.  Others are for good: close the session.
 */
NODISCARD enum status net_turn(struct net *n);

/*
 * A packet of count slots; NET_MORE is set here.  Cookies of the first slot only.  Its memory is
 * the server's until the answer.  E_WOULD_BLOCK: no room for all of it now; nothing was put.
 * E_RANGE: count is 0 or above NET_FRAGMENTS.
 */
NODISCARD enum status net_put(struct net *n, const struct net_tx *slots, uint32_t count);
/* Slots that net_put has room for. */
static inline uint32_t
net_room(const struct net *n)
{
	return NET_SLOTS - (n->tx_head - n->tx_first);
}
/* A buffer to receive into.  E_WOULD_BLOCK: NET_SLOTS of them are posted. */
NODISCARD enum status net_post(struct net *n, uint32_t at, uint32_t bytes, uint32_t cookie);
static inline uint32_t
net_post_room(const struct net *n)
{
	return NET_SLOTS - n->posts;
}

/* False: there is none.  Status: not OK when the packet was not sent. */
bool net_next_sent(struct net *n, uint32_t *cookie, enum status *status);
/* One buffer: first and bytes lie within it, lead is where it belongs.  False: there is none. */
bool net_next_rx(struct net *n, struct net_rx *out);
/* Bit 0: the link is up; another number: it changed, or the address did (net_look). */
static inline uint32_t
net_link(const struct net *n)
{
	return n->ring != NULL ? load_acquire(&n->ring->link) : 0;
}

/* What each pair of queues carried, as the server says: how many there are. */
uint32_t net_pairs(const struct net *n, struct net_pair out[NET_PAIRS]);

/* Takes the interface's address as it is now: mac. */
void net_look(struct net *n);

/* Shows the server what was put and posted, and signals it if it sleeps. */
void net_kick(struct net *n);
/*
 * Shows all, says that signals are needed from now on, and looks once more.  True: there is nothing
 * to do; wait for ntfn, and call net_woke then.  *signal, *bits: to go with that wait
 * (ntfn_signal_wait), HANDLE_NONE when the server needs none; NULL: signalled here.
 */
bool net_may_sleep(struct net *n, handle_t *signal, uint64_t *bits);
void net_woke(struct net *n);
