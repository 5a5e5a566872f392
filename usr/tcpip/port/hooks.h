/*
 * What lwIP asks us for.
 */
#pragma once

#include "lwip/ip_addr.h"

/* First sequence number of a connection [RFC 6528] (port.c). */
uint32_t lwip_first_sequence(
    const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port);

#define LWIP_HOOK_TCP_ISN lwip_first_sequence
