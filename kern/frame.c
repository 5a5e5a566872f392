/*
 * The buddy allocator.
 *
 * One 16-byte record per frame, in an array carved out of RAM at boot.  A block of order n is headed by the record of
 * its first frame; free blocks of each order are chained through their heads by frame number (32 bits: 16 TiB).
 * Splitting and merging are the textbook ones.  A one-frame cache a CPU would save the lock; the lock is short,
 * and allocation is on no hot path.
 *
 * Order of truth: a block is free exactly when its head's state is FRAME_FREE and its order is set; frames inside a
 * free or allocated block carry the block's state with order NONE.
 */
#include "kern/frame.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"

enum : uint32_t { NONE = UINT32_MAX };
enum : uint8_t { ORDER_INSIDE = 0xff };

struct frame {
	uint32_t next, prev;		/* free list, frame numbers relative to first */
	enum frame_state state;
	uint8_t order;			/* of the head of a block */
	uint16_t unused;
	uint32_t spare;
};
static_assert(sizeof(struct frame) == 16);

static struct frame *frames;
static uint64_t first, count;		/* frame numbers covered: [first, first + count) */
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

/* Gives [n, n + len) to the lists in the largest aligned blocks. */
static void
add_range(uint64_t n, uint64_t len) REQUIRES(lock)
{
	while (len != 0) {
		uint64_t absolute = first + n;
		unsigned order = absolute == 0 ? FRAME_ORDER_MAX : lowest_bit(absolute);

		order = (unsigned)min_u64(min_u64(order, FRAME_ORDER_MAX), log2_floor(len));
		push((uint32_t)n, order);
		n += 1ull << order;
		len -= 1ull << order;
	}
}

void
frame_init(const struct machine *m)
{
	uint64_t lo = UINT64_MAX, hi = 0, bytes, at = 0, taken_end;
	bool placed = false;

	for (uint32_t i = 0; i < m->memory_count; i++) {
		const struct machine_memory *r = &m->memory[i];

		if (r->kind != MEM_RAM && r->kind != MEM_ARCHIVE)
			continue;
		lo = min_u64(lo, r->base);
		hi = max_u64(hi, r->base + r->len);
	}
	if (hi == 0)
		panic("no memory");
	first = lo >> PAGE_SHIFT;
	count = (hi >> PAGE_SHIFT) - first;
	if (count >= NONE)
		panic("more memory than the frame records can number");
	bytes = align_up(count * sizeof(struct frame), PAGE_SIZE);
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
		panic("no room for %llu KiB of frame records", (unsigned long long)bytes / KIB);
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
			/* Becomes an object of init's: allocated, frame by frame. */
			base = align_down(base, PAGE_SIZE);
			end = align_up(end, PAGE_SIZE);
			for (uint64_t p = base; p < end; p += PAGE_SIZE)
				frames[(p >> PAGE_SHIFT) - first] = (struct frame){ .state = FRAME_USER };
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
			add_range((base >> PAGE_SHIFT) - first, (at - base) >> PAGE_SHIFT);
			add_range((taken_end >> PAGE_SHIFT) - first, (end - taken_end) >> PAGE_SHIFT);
		} else {
			stats.by_state[FRAME_FREE] += r->len >> PAGE_SHIFT;
			add_range((base >> PAGE_SHIFT) - first, r->len >> PAGE_SHIFT);
		}
	}
	spin_unlock(&lock);
	log_info("memory: %llu MiB", (unsigned long long)(stats.total * PAGE_SIZE / MIB));
}

enum status
frame_alloc(unsigned order, enum frame_state state, uint32_t flags, struct paddr *out)
{
	uint64_t limit = (flags & FRAME_BELOW_4G) != 0 ? (4 * GIB) >> PAGE_SHIFT : UINT64_MAX;
	uint32_t n = NONE;
	unsigned o;

	if (order > FRAME_ORDER_MAX)
		return E_RANGE;
	spin_lock(&lock);
	for (o = order; o <= FRAME_ORDER_MAX; o++) {
		n = free_head[o];
		while (n != NONE && first + n + (1ull << o) > limit)
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
	out->v = (first + n) << PAGE_SHIFT;
	if ((flags & FRAME_ZERO) != 0)
		frame_zero(*out, 1ull << order);
	return OK;
}

void
frame_free(struct paddr base, unsigned order)
{
	uint32_t n = (uint32_t)((base.v >> PAGE_SHIFT) - first);

#if CAPOS_DEBUG
	memset(frame_ptr(base), 0xdf, PAGE_SIZE << order);
#endif
	spin_lock(&lock);
	KASSERT(n < count && frames[n].state > FRAME_FREE && frames[n].state < FRAME_QUARANTINED);
	KASSERT(frames[n].order == order);
	stats.by_state[frames[n].state] -= 1ull << order;
	stats.by_state[FRAME_FREE] += 1ull << order;
	while (order < FRAME_ORDER_MAX) {
		uint64_t buddy = ((first + n) ^ (1ull << order));

		if (buddy < first || buddy - first + (1ull << order) > count)
			break;
		buddy -= first;
		if (frames[buddy].state != FRAME_FREE || frames[buddy].order != order)
			break;
		unlink((uint32_t)buddy);
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
	uint32_t n = (uint32_t)((base.v >> PAGE_SHIFT) - first);

	spin_lock(&lock);
	KASSERT(n < count);
	stats.by_state[frames[n].state] -= 1ull << order;
	stats.by_state[FRAME_QUARANTINED] += 1ull << order;
	frames[n].state = FRAME_QUARANTINED;
	spin_unlock(&lock);
}

enum frame_state
frame_state_of(struct paddr p)
{
	uint64_t n = (p.v >> PAGE_SHIFT) - first;

	return n < count ? frames[n].state : FRAME_ABSENT;
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
