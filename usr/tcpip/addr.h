/*
 * Addresses: the socket protocol's form and lwIP's.
 */
#pragma once

#include "lwip/ip_addr.h"
#include "lwip/netif.h"
#include "usr/lib/sock.h"
#include "usr/tcpip/tcpip.h"

static inline void
addr_to_lwip(const struct sock_addr *a, ip_addr_t *out)
{
	uint32_t w[4];

	memcpy(w, a->v, sizeof(w));
	if (sock_addr_is_v4(a)) {
		ip_addr_set_ip4_u32_val(*out, w[3]);
		return;
	}
	*out = (ip_addr_t){ 0 };
	memcpy(ip_2_ip6(out)->addr, w, sizeof(w));
	IP_SET_TYPE_VAL(*out, IPADDR_TYPE_V6);
	/* A local one is local to the one interface [RFC 4007]. */
	if (ip6_addr_lacks_zone(ip_2_ip6(out), IP6_UNKNOWN))
		ip6_addr_assign_zone(ip_2_ip6(out), IP6_UNKNOWN, nif_netif());
}

static inline struct sock_addr
addr_of_v4(uint32_t word)
{
	struct sock_addr a = { .v = { [10] = 0xff, [11] = 0xff } };

	memcpy(a.v + 12, &word, sizeof(word));
	return word != 0 ? a : (struct sock_addr){ 0 };
}

static inline struct sock_addr
addr_of_lwip(const ip_addr_t *a)
{
	struct sock_addr out;

	if (IP_IS_V4(a))
		return addr_of_v4(ip_2_ip4(a)->addr);
	memcpy(out.v, ip_2_ip6(a)->addr, sizeof(out.v));
	return out;
}
