/*
 * What lwIP asks us for.
 */
#pragma once

#include "lwip/ip_addr.h"

/* First sequence number of a connection [RFC 6528] (port.c). */
uint32_t lwip_first_sequence(
    const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port);

#define LWIP_HOOK_TCP_ISN lwip_first_sequence

/* A segment with so many bytes has come for a connection (usr/tcpip/stream.c). */
struct tcp_pcb;
int8_t stream_segment(struct tcp_pcb *pcb, uint32_t seq, uint32_t bytes);

#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, options, first, second, p) \
	stream_segment(pcb, (header)->seqno, (p)->tot_len)
