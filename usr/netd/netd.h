/*
 * What the files of the packet server share.
 *
 *   main.c      start, the loop, calls, recovery
 *   session.c   the ring: packets and buffers in, answers and packets out; opening and ending
 */
#pragma once

#include "dev/virtio/net.h"
#include "usr/lib/drv.h"
#include "usr/lib/net.h"

/* Bits of the server's notification.  Below BIT_SESSION: vectors. */
enum : uint64_t { BIT_SESSION = BIT(32), BIT_FAULT = BIT(62) };

/* What the device has of the session, by an index that is the chain's cookie. */
struct sending {
	uint32_t cookie, bytes;
	uint16_t slots;			/* of the packet; 0: free */
	uint16_t next;			/* free */
};
struct receiving {
	uint32_t cookie, at, bytes;
	bool busy;			/* until its packet is whole */
	uint16_t next;
};

struct session {
	uint64_t id, badge;		/* id 0: there is none; badge: of who opened it */
	struct net_ring *ring;
	struct drv_memory area;
	uint64_t area_bytes;
	handle_t ring_memory, client;
	uint64_t client_bits;
	uint32_t tx_tail, post_tail;	/* slots taken */
	uint32_t tx_seen, post_seen;	/* heads as they were read last */
	uint32_t tx_done_head, rx_head;	/* slots written */
	uint32_t rx_whole;		/* up to here they make whole packets */
	uint32_t tx_slots, posts; /* with the device; posts: and of a packet that is not whole */
	uint32_t packet_bytes;		/* of the packet that is not whole */
	bool answered;			/* something to publish */
	bool closing, refused;		/* refused: its ring lied */
	bool stays;			/* a call waits for its end */
	uint64_t stay;			/* the token to answer it by */
	uint64_t alone_ns;		/* since when it did not, or a time before */
	uint16_t free_sending, free_receiving;
	uint16_t parts[NET_SLOTS];	/* by slot of rx: what it was received into */
	struct sending sending[NET_SLOTS];
	struct receiving receiving[NET_SLOTS];
};

static_assert((int)VNET_PAIRS <= (int)NET_PAIRS);

struct server {
	struct virtio_net net;
	struct drv_device device;
	struct session session;
	uint32_t features;		/* enum net_flag */
	uint32_t link;			/* as in the ring */
	uint32_t announces;		/* answered up to here */
	bool renamed;			/* has another address; not told yet */
	uint64_t next_id, faults;
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	struct net_pair pair[VNET_PAIRS];	/* of these packets */
	uint32_t rx_dropped, tx_failed, resets, sessions_refused;
	uint64_t resets_ns;		/* when the first of resets_lately was */
	uint32_t resets_lately;
	uint64_t look_ns;		/* without interrupts: at its configuration, next */
	uint64_t stuck_packets, stuck_ns; /* sent, and no more since then; 0: not known */
	handle_t signal;		/* what clients signal */
};

extern struct server server;

/* main.c */
/* The device is reset, and what it had of the session is answered or given to it again.  Does not
 * return when it cannot be. */
void recover(const char *why);

/* session.c */
/* The message of the call becomes that of the answer.  On OK its handles are kept, and w1 is to be
 * closed after the reply. */
enum status session_open(struct msg *m);
void session_end(void);
/* Lets the session end when its client is gone: asks, if it stays, whether it still does. */
void session_probe(void);
/* Takes what the client wrote, as far as the device has room. */
void session_take(void);
/* Takes what the device gave back. */
void session_sent(struct vnet_pair *p);
void session_received(struct vnet_pair *p);
/* Shows answers, and tells the client if it sleeps. */
void session_publish(void);
/* After a reset: nothing is with the device any more. */
void session_again(void);
