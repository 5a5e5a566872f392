/*
 * The TCP/IP service: what its parts share.
 *
 *   main.c      the loop: turns, calls, sleep
 *   turn.c      a turn: packets, kicks, timers
 *   nif.c       the one network interface: between lwIP and a packet server (usr/lib/net.h)
 *   session.c   clients: sessions, rights, limits, calls
 *   out.c       packets out: buffers, sums, large ones
 *   join.c      received packets that continue each other
 *   stream.c    TCP sockets: between lwIP's connections and rings
 *   dgram.c     UDP sockets
 *   gone.c      peers of a predecessor's connections
 *   lost.c      what peers hear of packets that were lost
 *   ask.c       names, echoes, the interface's state: calls that are answered later
 *
 * One thread.  A turn reads the clock once (turn_ns), and nothing in it waits.
 *
 * Whom it believes: nobody.  Packets are copied out of the packet area, which a device can write,
 * before lwIP sees them; bytes of clients are copied out of their rings; indices are read once.
 * What a client may do is asked of init, by badge (INIT_SOCKETS).
 */
#pragma once

#include "usr/lib/sock.h"
#include "usr/tcpip/port/port.h"

struct pbuf;
struct tcp_pcb;
struct udp_pcb;
struct netif;

enum {
	SESSIONS = 24,
	SESSIONS_A_SERVICE = 4,
	SOCKETS_A_SERVICE = 128,	/* with those that a listener holds */
	NTFN_NIC = 0,			/* bits of the notification */
	NTFN_SESSION = 8,
	FIRST_WINDOW = 65535,		/* before the ring's size is known */
};
enum : uint64_t {
	RING_BYTES_A_SERVICE = 16 * MIB,
	LINGER_NS = 60 * NS_PER_S,
};

enum socket_kind : uint8_t { SOCKET_LISTENER, SOCKET_STREAM, SOCKET_DATAGRAM };

/* A socket of a session; a connection that waits at a listener; or one that was closed by its
 * client and is sending the rest. */
struct socket {
	struct session *session;	/* NULL: lingers */
	struct socket *next;		/* at a listener; among those that linger */
	struct socket *listener;	/* at which it waits */
	enum socket_kind kind;
	uint8_t number;			/* in the session; SOCKS: none yet */
	uint32_t service;
	union { struct tcp_pcb *tcp; struct udp_pcb *udp; };	/* NULL: it has ended */
	struct sock_ring *ring;		/* NULL while it waits at a listener */
	uint8_t *rx, *tx;
	uint32_t rx_bytes, tx_bytes;
	uint32_t rx_head, rx_tail, tx_head, tx_tail;	/* as far as they are believed */
	handle_t memory;
	struct pbuf *held;		/* received, and not in the ring */
	uint32_t held_offset;
	uint32_t
	    withheld; /* of the window that the peer has been given, so much will not open again */
	uint32_t waiting;		/* of a listener */
	uint32_t backlog;
	enum sock_state state;
	enum status error;
	bool end_received, end_asked, end_sent;
	uint64_t until;			/* of one that lingers */
	bool mends;			/* a NIC's server took some with it (lost.c) */
	uint32_t mend_seen, mend_end;	/* sequence numbers: came last; all have come */
	uint64_t mend_ns;		/* nothing followed */
	struct socket *first, **last;	/* a listener's queue */
};

/* What the manifest says of a service. */
struct permit {
	bool known, connect;
	uint16_t ports[16];
	char name[24];
};

struct session {
	uint64_t id, badge;		/* id 0: free */
	uint64_t token;			/* of SOCK_CALL_STAY */
	bool stays, closing;
	uint64_t alone_ns;
	struct sock_page *page;
	handle_t page_memory, client;
	uint64_t client_bits;
	uint64_t ready;			/* not shown yet */
	uint64_t used;			/* numbers that are taken */
	struct socket *socket[SOCKS];
	struct permit rights;
	uint32_t asks;
};

struct tcpip {
	handle_t endpoint, ntfn, signal, init, manager;
	struct session session[SESSIONS];
	uint64_t next_id;
	uint32_t live;			/* sessions, a bit each */
	uint32_t answered;		/* sessions with news to show */
	struct socket *lingering;
	uint32_t refused, sockets;
	uint64_t rx_dropped, tx_dropped;
};
extern struct tcpip tcpip;

/* turn.c */
void tcpip_init(const char *args);
/* True: there was something to do, and there may be more. */
bool tcpip_turn(void);
/* True: nobody has anything for us, and everybody will signal from now on, or it is *until. */
bool tcpip_may_sleep(uint64_t *until);
void tcpip_woke(void);

/* session.c */
/* One call; answers it, now or later. */
void session_call(struct msg *m);
/* Clients' kicks.  True: there were some. */
bool session_kicks(void);
/* Shows clients what is new, and wakes them. */
void session_publish(void);
/* Clients that died, sockets that linger too long.  Once a second. */
void session_probe(void);
/* True: no client has news, and all of them will signal from now on. */
bool session_may_sleep(void);
void session_woke(void);
/* A socket has news for its client. */
void socket_news(struct socket *s);
void socket_state(struct socket *s, enum sock_state state, enum status why);
/* A connection that came to a listener; NULL: its service has no more. */
struct socket *socket_waiting(struct socket *listener);
/* Gives back what it has: its connection must be gone. */
void socket_free(struct socket *s);
/* Words of a message as an address, and back. */
struct sock_addr addr_of_words(const uint64_t w[2]);
void addr_to_words(const struct sock_addr *a, uint64_t w[2]);
/* The pages of a ring with its bytes, mapped here and handed out: *give. */
enum status socket_rings(struct socket *s, uint64_t rx, uint64_t tx, uint64_t *give);
/* Bytes of rx and tx rings, rounded. */
uint32_t ring_size(uint64_t asked);
/* What the client has read and written, judged.  False: it cannot be; the socket is to be ended. */
bool socket_read_tail(struct socket *s);
bool socket_read_head(struct socket *s);

/* stream.c */
enum status stream_listen(struct socket *s, uint16_t port, uint32_t backlog);
enum status stream_connect(struct socket *s, const struct sock_addr *to, uint16_t port);
/* A connection that waits at the listener, with rings now; NULL: none. */
struct socket *stream_take(struct socket *listener);
void stream_opened(struct socket *s);
/* The peer's address in two words, and its port. */
uint16_t stream_peer(const struct socket *s, uint64_t w[2]);
void stream_entry(const struct socket *s, struct sock_entry *out);
/* Looks at both rings. */
void stream_turn(struct socket *s);
/* The client is gone from it.  It goes on alone if there is something to send. */
void stream_close(struct socket *s, bool reset);

/* Around packets that come together: one acknowledgement for all of a connection's. */
void stream_hold_acks(void);
void stream_release_acks(void);
/* And then: connections that were only begun, when there are too many. */
void stream_trim_begun(void);

/* dgram.c */
enum status dgram_bind(struct socket *s, uint16_t *port);
void dgram_turn(struct socket *s);
void dgram_close(struct socket *s);
void dgram_entry(const struct socket *s, struct sock_entry *out);

/* ask.c */
void ask_init(void);
enum status ask_resolve(struct session *c, struct msg *m);
enum status ask_ping(struct session *c, struct msg *m);
void ask_interface(struct sock_interface *out);
/* Questions of a session that ends; those whose time is up. */
void ask_drop(struct session *c);
void ask_expire(void);
/* lwIP's timers work: a question that ends now was not answered. */
void ask_timers(bool on);
uint64_t ask_next_ns(void);

/* gone.c */
/* A connection of the predecessor's: its peer is told.  E_BUSY: too many. */
enum status gone_tell(const struct sock_addr *peer, uint16_t port, uint16_t peer_port);
void gone_turn(void);
uint64_t gone_next_ns(void);

/* lost.c */
/* A segment of so many packets has come for a connection, which has not seen it yet. */
void lost_segment(struct tcp_pcb *pcb, uint32_t seq, uint32_t bytes, uint32_t packets);
/* Packets may have been lost of every connection: there is another server, or the link was down. */
void lost_some(void);
void lost_turn(void);
uint64_t lost_next_ns(void);

/* join.c */
/* A frame that was received, in memory that others may write to: copied, and given to lwIP
 * (nif_input) now or by join_end. */
void join_take(const uint8_t *frame, uint32_t len, bool sound);
void join_end(void);

/* nif.c */
/* Says how the interface gets its address: "" by DHCP, or "address=A/N gateway=G dns=D". */
void nif_init(const char *args);
/* Packets in and out.  True: there was something. */
bool nif_turn(void);
void nif_kick(void);
bool nif_may_sleep(void);
void nif_woke(void);
/* There is, or was, an interface. */
bool nif_configured(void);
uint64_t nif_next_ns(void);
struct netif *nif_netif(void);
/* A whole packet, behind ETH_PAD_SIZE bytes, to lwIP: what is known of its sums, and of how many
 * packets it was put together. */
enum sums { SUMS_UNKNOWN, SUMS_RIGHT_BUT_IP, SUMS_RIGHT };	/* BUT_IP: except IP's own */
void nif_input(struct pbuf *p, enum sums known, uint32_t packets);
uint32_t nif_packets(void);
void nif_info(struct sock_interface *out);
