/*
 * Sockets, both ends.
 *
 * A session is one program's use of the TCP/IP service: a page that both see (struct sock_page), a
 * notification each way, and up to SOCKS sockets, known by number.  Opening, closing and asking are
 * calls; everything else goes through memory that the service made, and mapped here.
 *
 * A socket has two rings of bytes of its own, rx and tx, each a power of two long, behind a page of
 * indices (struct sock_ring).  Indices run freely; the byte of index i is at i modulo the length.
 *
 *   service: bytes into rx, then rx_head; the socket's bit into page->ready; if the client sleeps,
 *            signal it
 *   client:  bytes into tx, then tx_head; the socket's bit into page->kicked; if the service
 *            sleeps, signal it
 *
 * Nobody is woken for nothing: that there is room again is told only to a side that has set
 * rx_wanted or tx_wanted, and only when a quarter of the ring is free.
 *
 * What a client may do is in the manifest, at its service: "listen" names the ports it may listen
 * on, the capability "connect" lets it reach others.  The badge of its handle says which service it
 * is.  Without it a call is E_RIGHTS, and the log says so.
 *
 * Both sides may lie.  Each index is read once and bounded; bytes are copied out of a ring before
 * they are looked at.  A ring whose indices cannot be ends its connection.
 */
#pragma once

#include "kern/base/mmio.h"
#include "usr/lib/os.h"

enum {
	SOCKS = 64,			/* sockets of a session */
	SOCK_RING_MIN = 4096,
	SOCK_RING_MAX = 1024 * 1024,
	SOCK_NAME = 256,		/* of a host, with its end */
	SOCK_STACK = 2048,
	SOCK_DATAGRAM_MAX = 1472,	/* bytes that go into one without being cut */
	SOCK_ADDRESSES = 4,
	SOCK_PAIRS = 4,			/* of queues, at most, that are told one by one */
};

/* An address: IPv6, or IPv4 as ::ffff:a.b.c.d [RFC 4291, 2.5.5.2].  All zero is none, or any. */
struct sock_addr { uint8_t v[16]; };

struct sock_addr sock_addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
bool sock_addr_is_v4(const struct sock_addr *a);
bool sock_addr_is_any(const struct sock_addr *a);
/* The text form [RFC 5952]; a size of 46 is enough for each. */
void sock_addr_text(const struct sock_addr *a, char *text, size_t size);
/* E_INVALID: the text, up to its end, is no address (it may be a name: sock_resolve). */
NODISCARD enum status sock_addr_parse(const char *text, struct sock_addr *out);

/* What a socket is doing. */
enum sock_state : uint32_t {
	SOCK_FREE,
	SOCK_LISTENING,
	SOCK_CONNECTING,
	SOCK_OPEN, /* a stream: both ways; datagrams */
	SOCK_PEER_CLOSED, /* the peer sends no more; what it sent may still be in rx */
	SOCK_ENDED, /* sock_error tells why; what is in rx may still be read */
};

/* The page in front of the rings.  Each line is written by one side only. */
struct sock_ring {
	uint32_t rx_tail ALIGNED(64);		/* client: bytes read */
	uint32_t tx_head;			/* client: bytes written */
	uint32_t tx_wanted; /* client: waits for room */
	uint32_t tx_end;			/* client: 1: nothing comes after tx_head */
	uint32_t rx_head ALIGNED(64);		/* service: bytes written */
	uint32_t tx_tail;			/* service: bytes read */
	uint32_t rx_wanted; /* service: waits for room */
	uint32_t state;				/* service: enum sock_state */
	uint32_t error;				/* service: enum status, of SOCK_ENDED */
	uint32_t waiting; /* service: connections that a listener has to accept */
};
static_assert(sizeof(struct sock_ring) <= PAGE_SIZE);

/* Address, gateway and so on of the one interface; what is not there is all zero. */
struct sock_interface {
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t link;				/* 1: up */
	uint32_t configured;			/* 1: has an IPv4 address, or a global IPv6 one */
	struct sock_addr v4, v4_mask, v4_gateway;
	struct sock_addr v6[SOCK_ADDRESSES];
	struct sock_addr dns[2];
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t rx_others;			/* packets for other stations, not looked at */
	uint64_t link_losses;			/* times that the link went */
	uint64_t rx_dropped, tx_dropped;	/* by this end, for want of memory or of sense */
	uint64_t checksum_errors;
	uint64_t tcp_resent;			/* segments */
	uint64_t nic_restarts;			/* packet servers that came after another */
	uint32_t pairs;				/* of queues that the NIC is driven with */
	struct { uint64_t rx_packets, tx_packets; } pair[SOCK_PAIRS];	/* by its present server */
	uint32_t sockets, sessions, refused;	/* now, now, ever */
};

/* One connection for people (SOCK_CALL_LIST). */
struct sock_entry {
	struct sock_addr peer;
	uint16_t port, peer_port;
	uint16_t state;				/* enum sock_state */
	uint16_t datagrams;			/* 1: UDP */
	uint32_t service;			/* as init counts it, from 1 */
};

/* Shared by a session's two ends. */
struct sock_page {
	uint64_t kicked ALIGNED(64);		/* client: sockets that have news for the service */
	uint32_t client_sleeps;
	char name[SOCK_NAME];			/* client: what SOCK_CALL_RESOLVE asks for */
	uint64_t ready ALIGNED(64);		/* service: sockets that have news for the client */
	uint32_t service_sleeps;
	union {
		struct sock_addr address[SOCK_ADDRESSES];
		struct sock_interface interface;
		struct sock_entry entry;
	} answer;				/* service: of the last call that has one */
};
static_assert(sizeof(struct sock_page) <= PAGE_SIZE);

/*
 * Calls: labels.  An answer's label is an enum status.  Addresses are two words, low byte first.
 * E_QUOTA: this client has as many sockets, or bytes in rings, as one may have.
 */
enum sock_call : uint32_t {
	/* handles: w0 notification; w1 bits -> w0 handle to signal, w1 the page, w2 session, w3
	 * bits */
	SOCK_CALL_OPEN = 1,
	/* w0 session: and all its sockets */
	SOCK_CALL_CLOSE,
	/* w0 session: answered when the session ends, OK; E_WOULD_BLOCK: call again, at once;
	 * E_STALE: there is none; E_PEER: the service died */
	SOCK_CALL_STAY,
	/* w0 session, w1 port, w2 connections that may wait -> w0 memory, w1 number */
	SOCK_CALL_LISTEN,
	/* w0 session, w1 number, w2 rx bytes, w3 tx bytes -> w0 memory, w1 number, w2, w3 peer, w4
	 * peer's port.  E_WOULD_BLOCK */
	SOCK_CALL_ACCEPT,
	/* w0 session, w1 port, w2, w3 address, w4 rx bytes, w5 tx bytes -> w0 memory, w1 number */
	SOCK_CALL_CONNECT,
	/* datagrams.  w0 session, w1 port (0: any), w2 rx bytes, w3 tx bytes -> w0 memory,
	 * w1 number, w2 port */
	SOCK_CALL_BIND,
	/* w0 session, w1 number, w2: 1 the peer gets a reset */
	SOCK_CALL_END,
	/* w0 session; page->name -> w0 how many in page->answer */
	SOCK_CALL_RESOLVE,
	/* w0 session, w1 payload bytes, w2, w3 address, w4 ns to wait -> w0 ns that it took */
	SOCK_CALL_PING,
	/* w0 session -> page->answer */
	SOCK_CALL_INTERFACE,
	/* w0 session, w1 n -> page->answer; E_NOT_FOUND past the last */
	SOCK_CALL_LIST,
	/* w0 session, w1 own port, w2, w3 peer, w4 peer's port: a connection that came to this
	 * client while the service's predecessor lived.  Its peer is told that it is over */
	SOCK_CALL_GONE,
};

/* --- client ---------------------------------------------------------------- */

struct sock {
	struct socks *k;			/* NULL: no socket */
	uint32_t number;
	struct sock_ring *ring;
	uint8_t *rx, *tx;
	uint32_t rx_bytes, tx_bytes;		/* powers of two */
	uint32_t rx_tail, tx_head, rx_told;	/* told: as the service has been signalled for */
	handle_t memory;
	struct sock_addr peer;
	uint16_t peer_port, port;
	bool wants;				/* tx_wanted is set */
};

struct socks {
	handle_t endpoint, ntfn;		/* borrowed */
	handle_t service, page_memory;
	uint64_t bits, service_bits, session;
	struct sock_page *page;
	uint64_t kicked;			/* as page->kicked, not shown yet */
	/* Connections that ended with the service: its successor tells their peers. */
	struct { struct sock_addr peer; uint16_t port, peer_port; } gone[SOCKS];
	uint32_t gone_count;
	uint32_t keeper;			/* its thread runs */
	uint32_t lost;				/* the service is gone, with all connections */
	uint8_t stack[SOCK_STACK] ALIGNED(16);	/* the keeper's */
};

/*
 * A session with the service at endpoint; bits are set on ntfn when there is something to look at,
 * and when the service ends.  *k is all zero or was stopped, and stays in its place: a thread runs
 * on a stack in it.  One thread at a time uses a session and its sockets.  Waits at most 5 s.
 * E_PEER: no service; E_BUSY: all sessions are taken; E_NO_MEMORY, E_QUOTA.
 */
NODISCARD enum status
sock_start(struct socks *k, handle_t endpoint, handle_t ntfn, uint64_t bits);
/* Every socket of it must have been closed before, or is given up with it (sock_forget). */
void sock_stop(struct socks *k);
/* True: the service is gone.  Forget the sockets, stop, and start again: until its successor is
 * there sock_start is E_PEER.  Peers of connections that had been accepted learn then that they are
 * over; who waits for an answer there would wait for ever. */
static inline bool sock_lost(const struct socks *k) { return load_acquire(&k->lost) != 0; }

/*
 * Waiting.  A loop that serves sockets and other things:
 *
 *     for (;;) {
 *         for (r = sock_ready(&k); r != 0; r &= r - 1)
 *             serve socket number lowest_bit(r)
 *         if (sock_may_sleep(&k))
 *             (void)sys_ntfn_wait(ntfn, deadline, &bits);
 *         sock_woke(&k);
 *     }
 */
/* Sockets with news since the last time, taken: a bit for each number.  News are: bytes or the end
 * came, a connection waits, there is room again after sock_space found none, another state. */
uint64_t sock_ready(struct socks *k);
/* Shows the service all that was produced and consumed. */
void sock_kick(struct socks *k);
/* Does that too, and says that signals are needed from now on.  False: do not sleep, there are
 * news. */
NODISCARD bool sock_may_sleep(struct socks *k);
void sock_woke(struct socks *k);
/* For programs that wait for nothing else: until any socket has news.  E_TIMED_OUT; E_PEER: lost.
 */
NODISCARD enum status sock_wait(struct socks *k, uint64_t deadline);

/*
 * Sockets.  *s is filled in on OK.  Ring sizes are rounded up to powers of two between
 * SOCK_RING_MIN and SOCK_RING_MAX; rx bytes is also the window that the peer may fill.  E_RIGHTS:
 * the manifest does not allow it; E_BUSY: somebody listens there; E_QUOTA, E_NO_MEMORY: no more
 * sockets, or not so large; E_PEER: lost; E_RANGE: port 0.
 */
NODISCARD enum status
sock_listen(struct socks *k, uint16_t port, uint32_t backlog, struct sock *s);
/* A connection waits at a listener. */
static inline bool sock_waits(const struct sock *s) { return load_acquire(&s->ring->waiting) != 0; }
/* E_WOULD_BLOCK: none waits. */
NODISCARD enum status
sock_accept(struct sock *listener, uint32_t rx_bytes, uint32_t tx_bytes, struct sock *s);
/* Returns at once, and the state is SOCK_CONNECTING until there is news. */
NODISCARD enum status sock_connect(struct socks *k, const struct sock_addr *to, uint16_t port,
    uint32_t rx_bytes, uint32_t tx_bytes, struct sock *s);
/* Datagrams, from and to anybody.  A port below 49152 must be one that the manifest lists. */
NODISCARD enum status sock_bind(
    struct socks *k, uint16_t port, uint32_t rx_bytes, uint32_t tx_bytes, struct sock *s);

/* SOCK_ENDED as well when the service is gone. */
enum sock_state sock_state(const struct sock *s);
/* Of SOCK_ENDED: OK closed by both; E_CANCELLED the peer reset it; E_REFUSED nobody listens there;
 * E_TIMED_OUT; E_NO_MEMORY; E_CORRUPT the service did not like this end's indices; E_NOT_FOUND no
 * way to that address; E_PEER the service is gone. */
enum status sock_error(const struct sock *s);

/* The bytes that can be read at once: *len of them.  More may follow behind the ring's end once
 * these are consumed. */
const uint8_t *sock_peek(struct sock *s, uint32_t *len);
/* At most what sock_peek said. */
void sock_consume(struct sock *s, uint32_t len);
/* All that can be read, also behind the ring's end. */
uint32_t sock_readable(struct sock *s);
/* Room to write: *len bytes at once.  *len is 0: news come when there is room. */
uint8_t *sock_space(struct sock *s, uint32_t *len);
void sock_produce(struct sock *s, uint32_t len);
/* All the room there is, also behind the ring's end. */
uint32_t sock_writable(struct sock *s);
/* Copies as much as there is room for. */
uint32_t sock_write(struct sock *s, const void *from, uint32_t len);
uint32_t sock_read(struct sock *s, void *to, uint32_t len);
/* Bytes that were produced and the service has not taken yet. */
uint32_t sock_unsent(const struct sock *s);
/* Nothing more is produced; the peer sees the end after what was. */
void sock_shutdown(struct sock *s);
/*
 * Gives the socket up.  The service goes on sending what was produced, as long as the peer takes
 * it.  Data that was not read, or more that comes, resets the connection.
 */
void sock_close(struct sock *s);
/* Gives it up with a reset. */
void sock_abort(struct sock *s);
/* After the session was lost: what is here of it. */
void sock_forget(struct sock *s);

/* Datagrams.  E_WOULD_BLOCK: no room, or none came; E_OVERFLOW: more than SOCK_DATAGRAM_MAX, or
 * than size: *len tells how much, the rest is gone. */
NODISCARD enum status sock_send_to(
    struct sock *s, const struct sock_addr *to, uint16_t port, const void *bytes, uint32_t len);
NODISCARD enum status sock_receive_from(struct sock *s, struct sock_addr *from, uint16_t *port,
    void *bytes, uint32_t size, uint32_t *len);

/* What a datagram looks like in a ring: this, then its bytes, then up to a multiple of 8. */
struct sock_datagram { struct sock_addr peer; uint16_t port; uint16_t len; uint32_t unused; };
static_assert(sizeof(struct sock_datagram) == 24);

/* Questions.  Each waits for its answer until the deadline. */
/* Addresses of a host, at most count of them: *n.  A text form of an address is one.  E_NOT_FOUND;
 * E_TIMED_OUT; E_RIGHTS as for sock_connect. */
NODISCARD enum status sock_resolve(struct socks *k, const char *name, struct sock_addr *out,
    uint32_t count, uint32_t *n, uint64_t deadline);
/* One echo with so many bytes behind its header (at most SOCK_DATAGRAM_MAX): *took_ns.
 * E_TIMED_OUT: no answer. */
NODISCARD enum status sock_ping(struct socks *k, const struct sock_addr *to, uint32_t bytes,
    uint64_t *took_ns, uint64_t deadline);
NODISCARD enum status sock_interface(struct socks *k, struct sock_interface *out);
NODISCARD enum status sock_entry(struct socks *k, uint32_t n, struct sock_entry *out);
