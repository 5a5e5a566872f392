/*
 * The words everything else is written in.
 *
 * Address spaces are told apart by type: a physical address is a struct paddr, an
 * address that a device emits is a struct iova, an address in a process is a
 * struct uva.  The compiler then refuses one where another belongs.
 *
 * Ranges are (base, len).  Where an end must be kept, "end" is exclusive and
 * "last" inclusive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODISCARD	__attribute__((warn_unused_result))
#define NORETURN	__attribute__((noreturn))
#define ALWAYS_INLINE	inline __attribute__((always_inline))
#define NOINLINE	__attribute__((noinline))
#define COLD		__attribute__((cold, noinline))
#define PACKED		__attribute__((packed))
#define ALIGNED(n)	__attribute__((aligned(n)))
#define PRINTF(f, a)	__attribute__((format(printf, f, a)))
#define UNUSED		__attribute__((unused))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

#if defined(__has_attribute) && __has_attribute(counted_by)
#define COUNTED_BY(n)	__attribute__((counted_by(n)))
#else
#define COUNTED_BY(n)
#endif

/* Clang's thread-safety attributes; nothing for other readers of the code. */
#if defined(__clang__)
#define CAPABILITY(x)	__attribute__((capability(x)))
#define REQUIRES(...)	__attribute__((requires_capability(__VA_ARGS__)))
#define ACQUIRE(...)	__attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASE(...)	__attribute__((release_capability(__VA_ARGS__)))
#define TRY_ACQUIRE(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define NO_THREAD_SAFETY __attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(x)
#define REQUIRES(...)
#define ACQUIRE(...)
#define RELEASE(...)
#define TRY_ACQUIRE(...)
#define NO_THREAD_SAFETY
#endif

struct paddr { uint64_t v; };	/* physical: what the memory controller sees */
struct iova  { uint64_t v; };	/* what a device emits */
struct uva   { uint64_t v; };	/* virtual, in a process */

/* The page that processes, grants and quotas count in, on both architectures. */
enum : uint64_t {
	PAGE_SHIFT = 12,
	PAGE_SIZE  = 1ull << PAGE_SHIFT,
	PAGE_MASK  = PAGE_SIZE - 1,
	KIB        = 1ull << 10,
	MIB        = 1ull << 20,
	GIB        = 1ull << 30,
};

/* Time is nanoseconds since boot, 64 bits; a deadline is such a time. */
enum : uint64_t {
	NS_PER_US = 1000ull,
	NS_PER_MS = 1000000ull,
	NS_PER_S  = 1000000000ull,
	DEADLINE_NEVER = UINT64_MAX,
};

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))
