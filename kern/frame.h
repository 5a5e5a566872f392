/*
 * Physical memory: who owns each frame, and in which state.
 *
 * A buddy allocator over all RAM; one 16-byte record per frame.  The records are the
 * truth about what a frame is: I/O page tables, queues and CPU tables are typed, and
 * nothing but FRAME_USER is ever mapped into a process or a DMA domain.
 *
 * Quotas are charged by callers (quota.h); this file only counts frames.
 * Locks: RANK_FRAME inside; per-CPU caches for single frames.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine;

enum frame_state : uint8_t {
	FRAME_ABSENT, /* not RAM, or reserved by firmware */
	FRAME_FREE,
	FRAME_KERNEL,      /* image, stacks, slabs */
	FRAME_TABLE,       /* CPU page tables */
	FRAME_IOMMU,       /* I/O page tables, stream and context tables, command and event rings */
	FRAME_USER,        /* pages of memory objects */
	FRAME_QUARANTINED, /* a device may still write it: never reused (D8) */
	FRAME_STATES
};

enum { FRAME_ORDER_MAX = 18 };		/* largest block: 1 GiB */

enum frame_flags : uint32_t {
	FRAME_ZERO   = 1u << 0,		/* cleared before return */
	FRAME_BELOW_4G = 1u << 1,	/* for devices and tables with 32-bit addresses */
	FRAME_BOOT   = 1u << 2,		/* can be reached before mmu_init has mapped all RAM */
};

/* Takes the RAM of the machine; must run before any allocation.  Logs how much there is. */
void frame_init(const struct machine *m);

/*
 * 1 << order frames, aligned to their size.  E_NO_MEMORY when no such block is left;
 * E_RANGE for an order above FRAME_ORDER_MAX.
 */
NODISCARD enum status
frame_alloc(unsigned order, enum frame_state state, uint32_t flags, struct paddr *out);

/* Gives a block back; order and base as allocated.  Poisoned in debug builds. */
void frame_free(struct paddr base, unsigned order);

/* Frames that a device may still write: counted, never given out again. */
void frame_quarantine(struct paddr base, unsigned order);

/* Of the block that the frame is in.  Without the lock: for who knows that it stays. */
enum frame_state frame_state_of(struct paddr p);

struct frame_stats {
	uint64_t total, by_state[FRAME_STATES];		/* frames */
};
void frame_stats(struct frame_stats *out);

/* The kernel's own view of any RAM frame (direct map), and back.  Not for device registers. */
void *frame_ptr(struct paddr p);
struct paddr frame_of(const void *p);

/* Clears whole frames with the cheapest stores that the CPU has. */
void frame_zero(struct paddr base, uint64_t frames);
