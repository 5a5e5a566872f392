/*
 * How lwIP is built: one thread, no API but the callbacks, memory as it is needed (heap.c).
 *
 * What belongs to one connection has its bounds here (TCP_*): a peer cannot make the stack hold
 * more for it than windows and queues say.  How many connections there may be is the sessions'
 * business (usr/tcpip/session.c), and what all of them take together is bounded by the heap.
 */
#pragma once

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_TIMERS 1

/* Memory.  Nothing has a number of its own: all comes from the heap. */
#define MEM_ALIGNMENT 8
#define MEM_SIZE (64 * 1024 * 1024)	/* no bound: only says that sizes have 32 bits */
#define MEMP_MEM_MALLOC 1
#define PBUF_POOL_BUFSIZE 1536
#define MEMP_NUM_FRAG_PBUF 64
#define ETH_PAD_SIZE 2			/* IP headers at a multiple of 4 */
#define LWIP_PBUF_CUSTOM_DATA

/* Link and addresses. */
#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define ARP_QUEUEING 1
#define ARP_TABLE_SIZE 32
#define LWIP_HAVE_LOOPIF 1
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_LOOPBACK_MAX_PBUFS 256
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define LWIP_SINGLE_NETIF 0
#define LWIP_NETIF_TX_SINGLE_PBUF 0

#define LWIP_IPV4 1
#define LWIP_DHCP 1
#define DHCP_DOES_ARP_CHECK 0
#define LWIP_DHCP_DOES_ACD_CHECK 0
#define LWIP_ACD 0
#define LWIP_AUTOIP 0
#define LWIP_IGMP 0
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_REASS_MAX_PBUFS 64
#define MEMP_NUM_REASSDATA 8
#define IP_FRAG 1
#define LWIP_ICMP 1
#define LWIP_RAW 1
#define LWIP_BROADCAST_PING 0
#define LWIP_MULTICAST_PING 0

#define LWIP_IPV6 1
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 1
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_REASS 1
#define IPV6_FRAG_COPYHEADER 1		/* pointers have 64 bits */
#define LWIP_IPV6_DHCP6 1
#define LWIP_IPV6_DHCP6_STATELESS 1
#define LWIP_IPV6_NUM_ADDRESSES 4
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 1
#define LWIP_DHCP6_MAX_DNS_SERVERS 1
#define LWIP_ND6_NUM_NEIGHBORS 16
#define LWIP_ND6_NUM_DESTINATIONS 32

#define LWIP_DNS 1
#define DNS_TABLE_SIZE 8
#define DNS_MAX_REQUESTS 8
#define DNS_MAX_SERVERS 2
#define DNS_MAX_NAME_LENGTH 256
#define LWIP_DHCP_PROVIDE_DNS_SERVERS 1

#define LWIP_UDP 1

/* TCP */
#define LWIP_TCP 1
#define TCP_MSS 1460
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 5
#define TCP_WND (1024 * 1024)
#define TCP_SND_BUF (256 * 1024)
#define TCP_SND_QUEUELEN 1024
#define TCP_SNDLOWAT (32 * 1024)
#define TCP_SNDQUEUELOWAT 512
#define TCP_OVERSIZE TCP_MSS
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (128 * 1024)
#define TCP_OOSEQ_MAX_PBUFS 128
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 4
#define LWIP_TCP_TIMESTAMPS 0
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_WND_UPDATE_THRESHOLD (16 * 1024)
#define TCP_CHECKSUM_ON_COPY 0		/* summed on the way to the device: nif.c */
#define LWIP_HOOK_FILENAME "usr/tcpip/port/hooks.h"

/* Counters that sock_interface shows. */
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LWIP_STATS_DISPLAY 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0
#define LINK_STATS 0
#define ETHARP_STATS 0
#define IPFRAG_STATS 0
#define ND6_STATS 0
#define MLD6_STATS 0
#define ICMP_STATS 0
#define ICMP6_STATS 0
#define IP6_FRAG_STATS 0
#define MIB2_STATS 1
