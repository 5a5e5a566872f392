/*
 * AMD-Vi: the command buffer, tickets, errors.
 *
 * Commands.  The unit fetches them in order and may execute what lies between two COMPLETION_WAITs
 * in any order; one is complete when all before it are, and with S stores its data then.  Each
 * batch ends in one that stores its number (cmdring.h) to one status word.  Where order inside a
 * batch matters (a requester's entry before its translations), a wait with F lies between: later
 * commands do not start before it is complete.  It stores to a word that nobody reads.
 *
 * The tail is written once a batch, by whoever polls first.  Two slots stay free (AMD-52).
 *
 * Errors.  A command that the unit does not know, or cannot fetch, halts the buffer: CmdBufRun goes
 * off, and which command was last executed is not told reliably.  So the buffer is restarted empty,
 * with one command: a flush of everything, whose completion covers all tickets before it (AMD-54).
 * If the buffer halts again before that is complete, nobody knows what was invalidated: the unit
 * fails; so it does when the buffer does not start again.
 *
 * Failure.  Every entry of the device table becomes a blocked one, so that no requester is let in
 * any more but from the unit's caches, and no ticket is past.  The unit stays on: off would be
 * open.
 *
 * Order    entry stored, cleaned, published -> put ... wait, cleaned, published -> tail -> status
 *          word -> the ticket is past.
 * Locks    a->lock over all; the kernel is told of a failure after it is released.
 * Waits    unit_ticket_wait, without the lock; and in a restart for a halted engine to say so,
 *          which it did before.
 * Manual   AMD IOMMU 2.4 (commands), 2.5.7 (illegal command), 3.4.13 (head and tail).
 */
#include "dev/iommu/amdvi_unit.h"
#include "kern/log.h"
#include "kern/md/clock.h"

void
amdvi_lock(struct amdvi *a)
{
	spin_lock(&a->lock);
	if (unlikely(load_relaxed(&a->unit.broken)) && !a->dead)
		amdvi_fail(a, "the kernel gave up on it");
}

void
amdvi_unlock(struct amdvi *a)
{
	bool tell = a->dead && !a->told && a->registered;
	const char *why = a->why;

	if (tell)
		a->told = true;
	spin_unlock(&a->lock);
	if (unlikely(tell))
		iommu_mark_broken(&a->unit, why);
}

void
amdvi_fail(struct amdvi *a, const char *why)
{
	if (a->dead)
		return;
	a->dead = true;
	a->why = why;
	amdvi_count(&a->unit.counters.errors);
	amdvi_block_all(a);
}

static void
doorbell(struct amdvi *a) REQUIRES(a->lock)
{
	uint32_t producer;

	if (cmdring_show(&a->ring, &producer) && !a->dead)
		unit_write64(a->regs, AMDVI_CMD_TAIL, FIELD_PREP(RING_INDEX, producer));
}

static void
put(struct amdvi *a, uint64_t op, uint64_t lo, uint64_t hi) REQUIRES(a->lock)
{
	cmdring_put(&a->ring, FIELD_PREP(CMD_OP, op) | lo, hi);
	amdvi_count(&a->unit.counters.invalidations);
}

static uint64_t
wait_command(uint64_t at)
{
	return FIELD_PREP(CMD_OP, OP_COMPLETION_WAIT) | WAIT_STORE | WAIT_FLUSH |
	    (at & WAIT_ADDRESS);
}

void
amdvi_order(struct amdvi *a)
{
	cmdring_put(&a->ring, wait_command(a->status_at.v + 64), 1);
}

void
amdvi_send(struct amdvi *a)
{
	if (a->ring.open) {
		cmdring_sync(&a->ring, wait_command(a->status_at.v), cmdring_next(&a->ring));
		amdvi_count(&a->unit.counters.syncs);
	}
	doorbell(a);
}

static uint32_t
ring_mask(const struct amdvi *a)
{
	return (1u << a->ring.lg2) - 1;
}

static void
collect_head(struct amdvi *a) REQUIRES(a->lock)
{
	/* Some units show the ring's size where it wraps (AMD-86). */
	uint32_t head =
	    (uint32_t)FIELD_GET(RING_INDEX, unit_read64(a->regs, AMDVI_CMD_HEAD)) & ring_mask(a);

	if (!cmdring_consumed(&a->ring, head))
		amdvi_fail(a, "its command index is impossible");
}

enum status
amdvi_queue_init(struct amdvi *a)
{
	struct paddr ring;
	enum status s;

	static_assert(16u << AMDVI_RING_LG2 == PAGE_SIZE);
	s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &ring);
	if (s == OK)
		s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &a->status_at);
	if (s != OK)
		return s;
	a->status = frame_ptr(a->status_at);
	unit_clean(frame_ptr(ring), PAGE_SIZE, a->unit.facts.coherent);
	unit_clean(a->status, PAGE_SIZE, a->unit.facts.coherent);
	unit_publish();
	cmdring_init(
	    &a->ring, frame_ptr(ring), AMDVI_RING_LG2, CMDRING_PLAIN, a->unit.facts.coherent);
	return OK;
}

bool
amdvi_queue_start(struct amdvi *a)
{
	uint64_t index = FIELD_PREP(RING_INDEX, a->ring.tail & ring_mask(a));

	amdvi_control(a, CTL_CMDBUF_EN, false);
	if (!amdvi_status(a, STS_CMD_RUN, false, AMDVI_ATTACH_WAIT_NS))
		return false;
	unit_write64(
	    a->regs, AMDVI_CMDBUF, frame_of(a->ring.slot).v | FIELD_PREP(RING_LEN, AMDVI_RING_LG2));
	unit_write64(a->regs, AMDVI_CMD_HEAD, index);
	unit_write64(a->regs, AMDVI_CMD_TAIL, index);
	amdvi_control(a, CTL_CMDBUF_EN, true);
	a->restarted = cmdring_next(&a->ring);
	a->starting = clock_now();
	return true;
}

/* The buffer halted: everything put so far is given up, and a flush of everything takes its place.
 */
static void
restart(struct amdvi *a) REQUIRES(a->lock)
{
	uint32_t tail;

	if (a->ring.done < a->restarted) {
		amdvi_fail(a, "its command buffer halts again and again");
		return;
	}
	amdvi_count(&a->unit.counters.errors);
	log_error("%s: its command buffer halted; it is restarted, and everything is invalidated",
	    a->unit.name);
	(void)cmdring_show(&a->ring, &tail);
	if (!cmdring_consumed(&a->ring, (uint32_t)a->ring.tail & ring_mask(a)) ||
	    !amdvi_queue_start(a)) {
		amdvi_fail(a, "its command buffer does not restart");
		return;
	}
	if (!a->ring.owes || cmdring_pay(&a->ring, AMDVI_FLUSH_ALL))
		amdvi_put_all(a);
	amdvi_send(a);
}

static void
collect_errors(struct amdvi *a) REQUIRES(a->lock)
{
	uint64_t s = unit_read64(a->regs, AMDVI_STATUS);

	if (s == UINT64_MAX)
		amdvi_fail(a, "its registers read as all ones");
	else if ((s & STS_CMD_RUN) != 0)
		a->starting = 0;
	else if (a->starting == 0 || clock_now() - a->starting > AMDVI_ATTACH_WAIT_NS)
		restart(a);
}

static void
collect_status(struct amdvi *a) REQUIRES(a->lock)
{
	if (!cmdring_reported(&a->ring, (uint32_t)once_load(a->status)))
		amdvi_fail(a, "its status word is impossible");
	else if (a->ring.done >= a->restarted)
		a->starting = 0;
	io_collect();
}

void
amdvi_collect(struct amdvi *a)
{
	if (a->dead)
		return;
	if (a->ring.done != a->ring.syncs)
		collect_status(a);
	if (!a->dead && a->ring.done != a->ring.syncs)
		collect_errors(a);	/* not done: under way, or halted? */
	if (a->dead || !a->ring.owes)
		return;
	collect_head(a);
	if (!a->dead && cmdring_pay(&a->ring, AMDVI_FLUSH_ALL + 1)) {
		amdvi_put_all(a);
		amdvi_send(a);
	}
}

bool
amdvi_room(struct amdvi *a, uint32_t n)
{
	if (likely(cmdring_room(&a->ring) > n))
		return true;
	if (!a->dead && !a->ring.owes) {
		amdvi_send(a);
		collect_head(a);
		if (cmdring_room(&a->ring) > n)
			return true;
	}
	if (!a->ring.owes) {
		amdvi_send(a);
		(void)cmdring_owe(&a->ring);
	}
	return false;
}

void
amdvi_put_device(struct amdvi *a, uint32_t rid)
{
	put(a, OP_INVALIDATE_DEVTAB_ENTRY, FIELD_PREP(CMD_DEVICE, rid), 0);
}

void
amdvi_put_domain(struct amdvi *a, uint32_t id)
{
	put(a, OP_INVALIDATE_PAGES, FIELD_PREP(PAGES_DOMAIN, id), PAGES_EVERYTHING);
}

void
amdvi_put_interrupts(struct amdvi *a, uint32_t rid)
{
	put(a, OP_INVALIDATE_INTERRUPT_TABLE, FIELD_PREP(CMD_DEVICE, rid), 0);
}

void
amdvi_put_all(struct amdvi *a)
{
	put(a, OP_INVALIDATE_ALL, 0, 0);
}

/* The smallest aligned power of two of pages that holds a range, as a power. */
static unsigned
mask_of(uint64_t at, uint64_t len)
{
	uint64_t differ = at ^ (at + (len - 1));

	return differ >> PAGE_SHIFT == 0 ? 0 : log2_floor(differ) + 1 - (unsigned)PAGE_SHIFT;
}

/* The size is coded by the lowest zero of the address: below it, all ones (AMD-51). */
static void
put_pages(struct amdvi *a, uint32_t id, uint64_t at, unsigned mask) REQUIRES(a->lock)
{
	uint64_t hi = align_down(at, PAGE_SIZE << mask);

	if (mask != 0)
		hi |= ((PAGE_SIZE << (mask - 1)) - PAGE_SIZE) | PAGES_S;
	/* Where absent entries are cached, so may be those that led to no table. */
	if (a->np_cache)
		hi |= PAGES_PDE;
	put(a, OP_INVALIDATE_PAGES, FIELD_PREP(PAGES_DOMAIN, id), hi);
}

/*
 * A command covers an aligned power of two of pages.  What lies in it and was not asked for is only
 * fetched again (DMA-44).  A range that meets a boundary far above its size is cut there, so that
 * not half of the domain goes.
 */
void
amdvi_flush_range(struct amdvi *a, uint32_t id, uint64_t at, uint64_t len)
{
	unsigned mask = mask_of(at, len), left, right;
	uint64_t cut = align_down(at + (len - 1), (PAGE_SIZE << mask) / 2);

	if (!amdvi_room(a, 2))
		return;
	if (mask > 1 && cut > at) {
		left = mask_of(at, cut - at);
		right = mask_of(cut, at + len - cut);
		if ((1ull << left) + (1ull << right) <= (1ull << mask) / 2) {
			put_pages(a, id, at, left);
			put_pages(a, id, cut, right);
			return;
		}
	}
	put_pages(a, id, at, mask);
}

enum status
amdvi_ticket_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	struct amdvi *a = amdvi_of(u);
	enum status s;

	if (cmdring_past(&a->ring, t))
		return OK;
	amdvi_lock(a);
	if (t.seq > a->ring.syncs)	/* nobody closed its batch yet */
		amdvi_send(a);
	amdvi_collect(a);
	s = cmdring_past(&a->ring, t) ? OK : a->dead ? E_QUARANTINED : E_WOULD_BLOCK;
	amdvi_unlock(a);
	return s;
}

