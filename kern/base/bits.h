/*
 * Register and table fields: one mask each, the shift derived from it, so that
 * reading and writing cannot disagree.  Alignment and powers of two.
 */
#pragma once

#include "kern/base/types.h"

#define BIT(n)		(1ull << (n))
#define BITS(hi, lo)	((~0ull >> (63 - (hi))) & (~0ull << (lo)))

#define FIELD_SHIFT(mask)	__builtin_ctzll(mask)
#define FIELD_GET(mask, v)	(((uint64_t)(v) & (mask)) >> FIELD_SHIFT(mask))
#define FIELD_PREP(mask, v)	(((uint64_t)(v) << FIELD_SHIFT(mask)) & (mask))
#define FIELD_MAX(mask)		((uint64_t)(mask) >> FIELD_SHIFT(mask))

static_assert(BITS(63, 0) == UINT64_MAX);
static_assert(BITS(15, 8) == 0xff00);
static_assert(FIELD_PREP(BITS(15, 8), 0x5) == 0x500);
static_assert(FIELD_GET(BITS(15, 8), 0x1234) == 0x12);

static inline uint64_t align_down(uint64_t v, uint64_t a) { return v & ~(a - 1); }
/* Wraps when v is within a of 2^64: callers bound foreign numbers first. */
static inline uint64_t align_up(uint64_t v, uint64_t a) { return (v + a - 1) & ~(a - 1); }
static inline bool is_aligned(uint64_t v, uint64_t a) { return (v & (a - 1)) == 0; }
static inline bool is_pow2(uint64_t v) { return v != 0 && (v & (v - 1)) == 0; }

/* Index of the highest or lowest bit set; v must not be 0. */
static inline unsigned log2_floor(uint64_t v) { return 63 - (unsigned)__builtin_clzll(v); }
static inline unsigned log2_ceil(uint64_t v) { return v <= 1 ? 0 : log2_floor(v - 1) + 1; }
static inline unsigned lowest_bit(uint64_t v) { return (unsigned)__builtin_ctzll(v); }

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Pages that len bytes take; 0 for 0.  Does not wrap. */
static inline uint64_t pages_of(uint64_t len_bytes)
{
	return (len_bytes >> PAGE_SHIFT) + ((len_bytes & PAGE_MASK) != 0);
}

/* [a, a+an) and [b, b+bn) share a byte; neither range may wrap. */
static inline bool ranges_overlap(uint64_t a, uint64_t an, uint64_t b, uint64_t bn)
{
	return an != 0 && bn != 0 && a < b + bn && b < a + an;
}

/* [at, at+len) lies in [base, base+size) and does not wrap. */
static inline bool range_within(uint64_t at, uint64_t len, uint64_t base, uint64_t size)
{
	return at >= base && at - base <= size && len <= size - (at - base);
}

static inline uint16_t swap16(uint16_t v) { return __builtin_bswap16(v); }
static inline uint32_t swap32(uint32_t v) { return __builtin_bswap32(v); }
static inline uint64_t swap64(uint64_t v) { return __builtin_bswap64(v); }
