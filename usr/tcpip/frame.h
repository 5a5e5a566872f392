/*
 * An Ethernet frame that holds TCP: where its fields are, and its sums [RFC 1071].
 *
 * IPv4 without options or IPv6 without extensions; TCP begins at MAC + V4 or MAC + V6.
 */
#pragma once

#include "kern/base/bits.h"

enum {
	FRAME_MAC = 14,			/* bytes of headers */
	FRAME_V4 = 20,
	FRAME_V6 = 40,
	FRAME_TCP = 20,			/* without options */
	FRAME_TCP_SUM = 16,		/* where its sum is */
	FRAME_HEADERS = FRAME_MAC + FRAME_V6 + FRAME_TCP,
	FRAME_PROTO_TCP = 6,
};
enum : uint8_t { FRAME_FIN = 0x01, FRAME_PSH = 0x08, FRAME_ACK = 0x10, FRAME_CWR = 0x80 };

/* Words as they lie in a frame: at any address, the first byte the most significant. */
typedef uint16_t __attribute__((may_alias, aligned(1))) frame_half;
typedef uint32_t __attribute__((may_alias, aligned(1))) frame_word;
typedef uint64_t __attribute__((may_alias, aligned(1))) frame_wide;

static inline uint32_t frame_get16(const uint8_t *p) { return swap16(*(const frame_half *)p); }
static inline uint32_t frame_get32(const uint8_t *p) { return swap32(*(const frame_word *)p); }
static inline void
frame_put16(uint8_t *p, uint32_t v)
{
	*(frame_half *)p = swap16((uint16_t)v);
}
static inline void
frame_put32(uint8_t *p, uint32_t v)
{
	*(frame_word *)p = swap32(v);
}

/* Where TCP begins in a frame of len bytes; 0: it is not TCP, or a part of a packet. */
static ALWAYS_INLINE uint32_t
frame_tcp(const uint8_t *f, uint32_t len)
{
	if (len < FRAME_MAC + FRAME_V4 + FRAME_TCP)
		return 0;
	if (f[12] == 0x08 && f[13] == 0x00)
		return f[FRAME_MAC] == 0x45 && f[FRAME_MAC + 9] == FRAME_PROTO_TCP &&
			(frame_get16(f + FRAME_MAC + 6) & 0x3fff) == 0 ?
		    FRAME_MAC + FRAME_V4 :
		    0;
	return f[12] == 0x86 && f[13] == 0xdd && f[FRAME_MAC] >> 4 == 6 &&
		f[FRAME_MAC + 6] == FRAME_PROTO_TCP && len >= FRAME_HEADERS ?
	    FRAME_MAC + FRAME_V6 :
	    0;
}

/* Sums are of words as they lie in memory; n words of 32 bits. */
static ALWAYS_INLINE uint64_t
frame_sum(const uint8_t *p, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += ((const frame_word *)p)[i];
	return sum;
}

static ALWAYS_INLINE uint16_t
frame_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

/* The pseudo header of len bytes of TCP, headers included. */
static ALWAYS_INLINE uint64_t
frame_pseudo(const uint8_t *f, uint32_t tcp, uint32_t len)
{
	uint64_t sum = (uint64_t)swap16(FRAME_PROTO_TCP) + swap16((uint16_t)len);

	return sum + (tcp == FRAME_MAC + FRAME_V4 ? frame_sum(f + FRAME_MAC + 12, 2) :
						    frame_sum(f + FRAME_MAC + 8, 8));
}
