/*
 * The packet area, for the two that use it: nif.c has the buffers that are received into, out.c
 * those that are sent from.
 */
#pragma once

#include "usr/lib/net.h"
#include "usr/tcpip/tcpip.h"

enum {
	RX_BUFFERS = 192,
	TX_BUFFERS = 192,
	BUFFER = 2048,
	AREA = (RX_BUFFERS + TX_BUFFERS) * BUFFER,
	TX_AT = RX_BUFFERS * BUFFER,
};

/* out.c */
/* A session begins: all buffers are free.  It and its mapped area stay until the next. */
void out_begin(struct net *n);
/* A whole packet, behind ETH_PAD_SIZE bytes.  An err_t: ERR_MEM, there is no room now. */
int8_t out_packet(const struct pbuf *p);
/* Puts what was held back, to be joined with what would come. */
void out_flush(void);
/* Takes what was sent.  True: there was some. */
bool out_sent(void);
void out_counts(uint64_t *packets, uint64_t *bytes);
