/*
 * The buddy allocator.
 *
 * One 16-byte record per frame, in an array carved out of RAM at boot, numbered without the holes
 * (zone.h).  A block of order n is headed by the record of its first frame; free blocks of each
 * order are chained through their heads by number (32 bits: 16 TiB).  A block never crosses a zone.
 * Splitting and merging are the textbook ones.  A one-frame cache a CPU would save the lock; the
 * lock is short, and allocation is on no hot path.
 *
 * Order of truth: a block is free exactly when its head's state is FRAME_FREE and its order is set;
 * frames inside a free or allocated block carry the block's state with order NONE.
 */
#include "kern/frame.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"
#include "kern/zone.h"

enum : uint32_t { NONE = ZONE_NONE };
enum : uint8_t { ORDER_INSIDE = 0xff };

struct frame {
	uint32_t next, prev;		/* free list, by number */
	enum frame_state state;
	uint8_t order;			/* of the head of a block */
	uint16_t unused;
	uint32_t spare;
};
static_assert(sizeof(struct frame) == 16);

static struct frame *frames;
static struct zones zones;
static uint32_t free_head[FRAME_ORDER_MAX + 1];
static struct frame_stats stats;
static struct spinlock lock = SPINLOCK_INIT(RANK_FRAME);

void *
frame_ptr(struct paddr p)
{
	return (void *)(uintptr_t)(DIRECT_MAP_BASE + p.v);
}

struct paddr
frame_of(const void *p)
{
	return (struct paddr){ (uintptr_t)p - DIRECT_MAP_BASE };
}

static void
push(uint32_t n, unsigned order) REQUIRES(lock)
{
	struct frame *f = &frames[n];

	f->state = FRAME_FREE;
	f->order = (uint8_t)order;
	f->prev = NONE;
	f->next = free_head[order];
	if (f->next != NONE)
		frames[f->next].prev = n;
	free_head[order] = n;
}

static void
unlink(uint32_t n) REQUIRES(lock)
{
	struct frame *f = &frames[n];

	if (f->prev != NONE)
		frames[f->prev].next = f->next;
	else
		free_head[f->order] = f->next;
	if (f->next != NONE)
		frames[f->next].prev = f->prev;
	f->order = ORDER_INSIDE;
}

static uint32_t
number_of(struct paddr p)
{
	return zone_number(&zones, p.v >> PAGE_SHIFT);
}

/* Gives frames [frame, frame + len) of one zone to the lists in the largest aligned blocks. */
static void
add_range(uint64_t frame, uint64_t len) REQUIRES(lock)
{
	while (len != 0) {
		unsigned order = frame == 0 ? FRAME_ORDER_MAX : lowest_bit(frame);

		order = (unsigned)min_u64(min_u64(order, FRAME_ORDER_MAX), log2_floor(len));
		push(zone_number(&zones, frame), order);
		frame += 1ull << order;
		len -= 1ull << order;
	}
}

/* The archive becomes an object of init's: allocated, frame by frame.  machine_finish sorted it
 * among the rest. */
static bool
is_ours(const struct machine_memory *r)
{
	return r->kind == MEM_RAM || r->kind == MEM_ARCHIVE;
}

void
frame_init(const struct machine *m)
{
	uint64_t bytes, at = 0, taken_end, end_frame = 0;
	bool placed = false;

	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *r = &m->memory[i];
		uint64_t from = max_u64(r->base >> PAGE_SHIFT, end_frame),
			 to = pages_of(r->base + r->len);

		if (!is_ours(r) || from >= to)
			continue;
		if (!zone_add(&zones, from, to - from))
			boot_failed("more memory than frame records can number");
		end_frame = to;
	}
	if (zones.frames == 0)
		boot_failed("firmware describes no memory that could be used");
	bytes = align_up(zones.frames * sizeof(struct frame), PAGE_SIZE);
	for (uint32_t i = 0; i < m->memory_count && !placed; i++) {
		const struct machine_memory *r = &m->memory[i];

		if (r->kind == MEM_RAM && r->len >= bytes && r->base + bytes <= mmu_boot_limit) {
			at = r->base + r->len - bytes;
			if (at + bytes > mmu_boot_limit)
				at = r->base;
			placed = true;
		}
	}
	if (!placed)
		boot_failed("no room in memory for %llu KiB of frame records",
		    (unsigned long long)bytes / KIB);
	taken_end = at + bytes;
	frames = frame_ptr((struct paddr){ at });
	/* State 0 is FRAME_ABSENT. */
	for (uint64_t p = at; p < taken_end; p += PAGE_SIZE)
		frame_zero_page(frame_ptr((struct paddr){ p }));
	spin_lock(&lock);
	for (unsigned o = 0; o <= FRAME_ORDER_MAX; o++)
		free_head[o] = NONE;
	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *r = &m->memory[i];
		uint64_t base = r->base, end = r->base + r->len;

		if (r->kind == MEM_ARCHIVE) {
			base = align_down(base, PAGE_SIZE);
			end = align_up(end, PAGE_SIZE);
			for (uint64_t p = base; p < end; p += PAGE_SIZE)
				frames[number_of((struct paddr){ p })] =
				    (struct frame){ .state = FRAME_USER };
			stats.by_state[FRAME_USER] += (end - base) >> PAGE_SHIFT;
			stats.total += (end - base) >> PAGE_SHIFT;
			continue;
		}
		if (r->kind != MEM_RAM)
			continue;
		stats.total += r->len >> PAGE_SHIFT;
		if (at >= base && at < end) {	/* the records themselves */
			stats.by_state[FRAME_KERNEL] += bytes >> PAGE_SHIFT;
			stats.by_state[FRAME_FREE] += (r->len - bytes) >> PAGE_SHIFT;
			add_range(base >> PAGE_SHIFT, (at - base) >> PAGE_SHIFT);
			add_range(taken_end >> PAGE_SHIFT, (end - taken_end) >> PAGE_SHIFT);
		} else {
			stats.by_state[FRAME_FREE] += r->len >> PAGE_SHIFT;
			add_range(base >> PAGE_SHIFT, r->len >> PAGE_SHIFT);
		}
	}
	spin_unlock(&lock);
	log_info("memory: %llu MiB", (unsigned long long)(stats.total * PAGE_SIZE / MIB));
}

enum status
frame_alloc(unsigned order, enum frame_state state, uint32_t flags, struct paddr *out)
{
	uint64_t limit = (flags & FRAME_BELOW_4G) != 0 ? (4 * GIB) >> PAGE_SHIFT :
	    (flags & FRAME_BOOT) != 0 ? mmu_boot_limit >> PAGE_SHIFT : UINT64_MAX;
	uint32_t n = NONE;
	unsigned o;

	if (order > FRAME_ORDER_MAX)
		return E_RANGE;
	spin_lock(&lock);
	for (o = order; o <= FRAME_ORDER_MAX; o++) {
		n = free_head[o];
		while (n != NONE && zone_frame(&zones, n) + (1ull << o) > limit)
			n = frames[n].next;
		if (n != NONE)
			break;
	}
	if (n == NONE) {
		spin_unlock(&lock);
		return E_NO_MEMORY;
	}
	unlink(n);
	while (o > order) {	/* the upper half goes back */
		o--;
		push(n + (1u << o), o);
	}
	frames[n].state = state;
	frames[n].order = (uint8_t)order;
	stats.by_state[FRAME_FREE] -= 1ull << order;
	stats.by_state[state] += 1ull << order;
	spin_unlock(&lock);
	out->v = zone_frame(&zones, n) << PAGE_SHIFT;
	if ((flags & FRAME_ZERO) != 0)
		frame_zero(*out, 1ull << order);
	return OK;
}

void
frame_free(struct paddr base, unsigned order)
{
	uint32_t n = number_of(base);

#if CAPOS_DEBUG
	memset(frame_ptr(base), 0xdf, PAGE_SIZE << order);
#endif
	spin_lock(&lock);
	KASSERT(n != NONE && frames[n].state > FRAME_FREE && frames[n].state < FRAME_QUARANTINED);
	KASSERT(frames[n].order == order);
	stats.by_state[frames[n].state] -= 1ull << order;
	stats.by_state[FRAME_FREE] += 1ull << order;
	while (order < FRAME_ORDER_MAX) {
		uint64_t other = zone_frame(&zones, n) ^ (1ull << order);
		uint32_t buddy = zone_number(&zones, other);

		/* Free with this order: then all of it is RAM of the same zone. */
		if (buddy == NONE)
			break;
		if (frames[buddy].state != FRAME_FREE || frames[buddy].order != order)
			break;
		unlink(buddy);
		frames[n].order = ORDER_INSIDE;
		frames[n].state = FRAME_FREE;
		frames[buddy].state = FRAME_FREE;
		n = (uint32_t)min_u64(n, buddy);
		order++;
	}
	push(n, order);
	spin_unlock(&lock);
}

void
frame_quarantine(struct paddr base, unsigned order)
{
	uint32_t n = number_of(base);

	spin_lock(&lock);
	KASSERT(n != NONE);
	stats.by_state[frames[n].state] -= 1ull << order;
	stats.by_state[FRAME_QUARANTINED] += 1ull << order;
	frames[n].state = FRAME_QUARANTINED;
	spin_unlock(&lock);
}

enum frame_state
frame_state_of(struct paddr p)
{
	/* A block lies at a multiple of its size, and what once was a head and is none any more has
	 * no order. */
	for (unsigned order = 0; order <= FRAME_ORDER_MAX; order++) {
		uint32_t n = number_of((struct paddr){ align_down(p.v, PAGE_SIZE << order) });
		const struct frame *f = n != NONE ? &frames[n] : NULL;

		if (f != NULL && f->state != FRAME_ABSENT && f->order != ORDER_INSIDE &&
		    f->order >= order)
			return f->state;
	}
	return FRAME_ABSENT;
}

void
frame_stats(struct frame_stats *out)
{
	spin_lock(&lock);
	*out = stats;
	spin_unlock(&lock);
}

void
frame_zero(struct paddr base, uint64_t n)
{
	char *p = frame_ptr(base);

	for (; n != 0; n--, p += PAGE_SIZE)
		frame_zero_page(p);
}
