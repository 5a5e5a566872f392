/*
 * SMMUv3: command queue, tickets, errors, events.
 *
 * Commands.  The unit executes them in order of the ring, and completes them in any order;
 * CMD_SYNC completes when everything before it has (SMMU-36).  We ask for no signal (CS 0): a sync
 * is done when CONS is past it (SMMU-37).  Commands are put under the lock and
 * become visible with PROD, which is written once a batch, by whoever polls first.
 *
 * Errors.  An illegal command (CERROR_ILL) stops the queue with CONS on it.  Such a command is
 * ours, so it should not be; but its invalidation must not be lost.  It is replaced in its slot by
 * the whole form of its kind (every translation, or all configuration), which includes what was
 * asked, and the queue goes on: no ticket lies.  If the replacement is refused too, or on any other
 * error, nobody knows what was invalidated: the unit fails.
 *
 * Failure.  A failed unit is closed: translation off above GBPA.ABORT, so that everything behind it
 * aborts whatever its caches hold.  Its tickets are never past.
 *
 * Events.  The unit writes records and PROD, we read them and write CONS.  A full queue
 * drops records and toggles a flag, which is acknowledged by copying it (SMMU-24).  Records of
 * requests that were terminated before a sync are visible when that sync completes.
 *
 * Order    put -> (clean) -> publish -> PROD ... CONS past the sync -> the ticket is past.
 *          event PROD read -> collect -> record read -> full barrier -> CONS written.
 * Locks    s->lock over all; the kernel is told of a failure after it is released.
 * Waits    only unit_ticket_wait, without the lock.
 * Manual   Arm IHI 0070: 3.5 queues, 4 commands, 7 events and errors.
 */
#include "dev/iommu/smmuv3_unit.h"
#include "kern/log.h"
#include "kern/md/clock.h"

void
smmu_lock(struct smmu *s)
{
	spin_lock(&s->lock);
	if (unlikely(load_relaxed(&s->unit.broken)) && !s->dead)
		smmu_fail(s, "the kernel gave up on it");
}

void
smmu_unlock(struct smmu *s)
{
	bool tell = s->dead && !s->told && s->registered;
	const char *why = s->why;

	if (tell)
		s->told = true;
	spin_unlock(&s->lock);
	if (unlikely(tell))
		iommu_mark_broken(&s->unit, why);
}

void
smmu_fail(struct smmu *s, const char *why)
{
	if (s->dead)
		return;
	s->dead = true;
	s->why = why;
	smmu_count(&s->unit.counters.errors);
	if (s->gbpa)
		smmu_write(s, SMMU_CR0, 0);
}

static void
doorbell(struct smmu *s) REQUIRES(s->lock)
{
	uint32_t producer;

	if (cmdring_show(&s->ring, &producer) && !s->dead)
		smmu_write(s, SMMU_CMDQ_PROD, producer);
}

static void
close_batch(struct smmu *s) REQUIRES(s->lock)
{
	if (!s->ring.open)
		return;
	cmdring_sync(&s->ring, CMD_SYNC, 0);
	s->batch = 0;
	smmu_count(&s->unit.counters.syncs);
}

void
smmu_cmd_send(struct smmu *s)
{
	close_batch(s);
	doorbell(s);
}

void
smmu_cmd_put(struct smmu *s, uint64_t lo, uint64_t hi)
{
	cmdring_put(&s->ring, lo, hi);
	s->batch++;
}

void
smmu_cmd_order(struct smmu *s)
{
	smmu_cmd_put(s, CMD_SYNC, 0);
	s->batch = 0;
}

/* The stopped command: replaced by its whole form, or nothing helps [7.1; SMMU-26]. */
static void
repair_queue(struct smmu *s, uint32_t cons) REQUIRES(s->lock)
{
	uint64_t *slot = cmdring_slot(&s->ring, cons);
	uint64_t op = FIELD_GET(CMD_OP, slot[0]), lo, hi = 0;
	uint32_t error = (uint32_t)FIELD_GET(CMDQ_CONS_ERR, cons);

	if (error != CERROR_ILL) {
		smmu_fail(s,
		    error == CERROR_ABT ? "it cannot read its command queue" :
					  "its command queue stopped");
		return;
	}
	if (s->repaired == s->ring.head + 1) {
		smmu_fail(s, "it refuses commands that every unit must know");
		return;
	}
	if (op == CMD_SYNC) {
		lo = CMD_SYNC;
	} else if (op >= CMD_TLBI_FIRST && op <= CMD_TLBI_LAST) {
		lo = CMD_TLBI_NSNH_ALL;
	} else if (op >= CMD_CFGI_STE && op <= CMD_CFGI_CD_ALL) {
		lo = CMD_CFGI_ALL;
		hi = CFGI1_ALL;
	} else {
		smmu_fail(s, "a command in its queue is not ours");
		return;
	}
	s->repaired = s->ring.head + 1;
	smmu_count(&s->unit.counters.errors);
	log_error("%s: command 0x%llx refused; everything of its kind is invalidated instead",
	    s->unit.name, (unsigned long long)op);
	unit_store64(&slot[1], hi);
	unit_store64(&slot[0], lo);
	unit_clean(slot, 16, s->coherent);
	unit_publish();
}

/* Looks at global errors and acknowledges what it handled [7.5; SMMU-28]. */
static void
collect_errors(struct smmu *s) REQUIRES(s->lock)
{
	uint32_t gerror = smmu_read(s, SMMU_GERROR), active = (gerror ^ s->gerrorn) & GERROR_KNOWN;

	if (active == 0 || s->dead)
		return;
	if ((active & GERROR_SFM) != 0) {
		smmu_fail(s, "it entered service failure mode");
		return;
	}
	if ((active & GERROR_CMDQ) != 0) {
		uint32_t cons = smmu_read(s, SMMU_CMDQ_CONS);

		if (!cmdring_consumed(&s->ring, cons & (uint32_t)~CMDQ_CONS_ERR)) {
			smmu_fail(s, "its command queue index is impossible");
			return;
		}
		repair_queue(s, cons);
		if (s->dead)
			return;
	}
	if ((active & GERROR_EVENTQ_ABT) != 0)
		s->events_lost = true;
	if ((active & ~(GERROR_CMDQ | GERROR_EVENTQ_ABT)) != 0)
		smmu_count(&s->unit.counters.errors);
	s->gerrorn ^= active;
	smmu_write(s, SMMU_GERRORN, s->gerrorn);
}

/* The unit said so of its command queue. */
static NOINLINE void
collect_seen(struct smmu *s, uint32_t cons) REQUIRES(s->lock)
{
	if (!cmdring_consumed(&s->ring, cons & (uint32_t)~CMDQ_CONS_ERR))
		smmu_fail(s, "its command queue index is impossible");
	else if (s->ring.head != s->ring.shown)	/* not done: waiting, or stopped? [SMMU-27] */
		collect_errors(s);
}

void
smmu_cmd_collect(struct smmu *s)
{
	if (unlikely(s->dead))
		return;
	if (likely(s->ring.head != s->ring.shown)) {
		uint32_t cons = smmu_read(s, SMMU_CMDQ_CONS);

		/* All of it, and no error. */
		if (unlikely(s->ring.shown != s->ring.tail) ||
		    unlikely(cons != ((uint32_t)s->ring.tail & s->ring.index_mask)) ||
		    unlikely(!cmdring_consumed(&s->ring, cons)))
			collect_seen(s, cons);
	}
	if (likely(!s->ring.owes))
		return;
	if (!s->dead && s->ring.owes && cmdring_pay(&s->ring, 3)) {
		smmu_cmd_flush_all(s);
		smmu_cmd_send(s);
	}
}

/* Out of room, or the batch has become long. */
static NOINLINE bool
make_room(struct smmu *s, uint32_t n) REQUIRES(s->lock)
{
	smmu_cmd_send(s);
	smmu_cmd_collect(s);
	if (cmdring_room(&s->ring) >= n)
		return true;
	(void)cmdring_owe(&s->ring);
	return false;
}

bool
smmu_cmd_room(struct smmu *s, uint32_t n)
{
	return (cmdring_room(&s->ring) >= n && s->batch + n <= SMMU_BATCH_MAX) || make_room(s, n);
}

void
smmu_cmd_cfgi_ste(struct smmu *s, uint32_t sid, bool leaf)
{
	smmu_cmd_put(s, CMD_CFGI_STE | FIELD_PREP(CFGI0_SID, sid), leaf ? CFGI1_LEAF : 0);
	smmu_count(&s->unit.counters.invalidations);
}

/* VMID is 0 with stage 1 and ASID with stage 2: no domain uses both [SMMU-34, SMMU-53]. */
void
smmu_cmd_flush_tag(struct smmu *s, uint32_t tag)
{
	if (s->stage == 1)
		smmu_cmd_put(s, CMD_TLBI_NH_ASID | FIELD_PREP(TLBI0_ASID, tag), 0);
	else
		smmu_cmd_put(s, CMD_TLBI_S12_VMALL | FIELD_PREP(TLBI0_VMID, tag), 0);
	smmu_count(&s->unit.counters.invalidations);
}

void
smmu_cmd_flush_all(struct smmu *s)
{
	smmu_cmd_put(s, CMD_CFGI_ALL, CFGI1_ALL);
	smmu_cmd_order(s);
	smmu_cmd_put(s, CMD_TLBI_NSNH_ALL, 0);
	smmu_count(&s->unit.counters.invalidations);
}

/*
 * A run of granules is cut into commands of (NUM + 1) << SCALE granules, five bits of the count at
 * a time from the lowest.  One granule alone takes the plain form: as a range it would be illegal
 * [SMMU-32].
 */
static uint32_t
range_step(uint64_t pages, unsigned *scale)
{
	*scale = lowest_bit(pages);
	return (uint32_t)(pages >> *scale) & 31;
}

static uint32_t
range_cost(const struct smmu *s, uint64_t len, unsigned leaf_lg2)
{
	uint64_t pages = len >> PAGE_SHIFT;
	uint32_t n = 0;
	unsigned scale;

	if (!s->ril)
		return (uint32_t)min_u64(len >> leaf_lg2, UINT32_MAX);
	for (; pages != 0; n++) {
		uint64_t num = range_step(pages, &scale);

		pages -= num << scale;
	}
	return n;
}

void
smmu_cmd_flush_range(struct smmu *s, uint32_t tag, uint64_t at, uint64_t len, unsigned leaf_lg2)
{
	/* Tables above leaves never go away: last-level entries only. */
	uint64_t lo = s->stage == 1 ? CMD_TLBI_NH_VA | FIELD_PREP(TLBI0_ASID, tag) :
	    CMD_TLBI_S2_IPA | FIELD_PREP(TLBI0_VMID, tag);
	uint32_t cost;
	uint64_t step;
	unsigned scale;

	if (likely(len >> leaf_lg2 == 1)) {
		if (likely(smmu_cmd_room(s, 1))) {
			smmu_count(&s->unit.counters.invalidations);
			smmu_cmd_put(s, lo, at | TLBI1_LEAF);
		}
		return;
	}
	cost = range_cost(s, len, leaf_lg2);
	if (!smmu_cmd_room(s, cost > s->tlbi_max ? 1 : cost))
		return;
	if (cost > s->tlbi_max) {
		smmu_cmd_flush_tag(s, tag);
		return;
	}
	smmu_count(&s->unit.counters.invalidations);
	for (; len != 0; at += step, len -= step) {
		uint32_t num = s->ril ? range_step(len >> PAGE_SHIFT, &scale) : 1;

		step = s->ril ? (uint64_t)num << (scale + PAGE_SHIFT) : BIT(leaf_lg2);
		if (!s->ril || step == PAGE_SIZE)
			smmu_cmd_put(s, lo, at | TLBI1_LEAF);
		else
			smmu_cmd_put(s,
			    lo | FIELD_PREP(TLBI0_NUM, num - 1) | FIELD_PREP(TLBI0_SCALE, scale),
			    at | FIELD_PREP(TLBI1_TG, TG_4K) | TLBI1_LEAF);
	}
}

enum status
smmu_ticket_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	struct smmu *s = smmu_of(u);
	enum status result;

	if (cmdring_past(&s->ring, t))
		return OK;
	smmu_lock(s);
	smmu_cmd_send(s);
	smmu_cmd_collect(s);
	result = cmdring_past(&s->ring, t) ? OK : s->dead ? E_QUARANTINED : E_WOULD_BLOCK;
	smmu_unlock(s);
	return result;
}

/* ---- Events ---- */

static struct dma_fault
fault_of(const uint64_t e[EVENT_WORDS])
{
	struct dma_fault f = {
		.endpoint = (uint32_t)FIELD_GET(EVT0_SID, e[0]),
		.code = (uint32_t)FIELD_GET(EVT0_TYPE, e[0]),
		.write = (e[1] & EVT1_RNW) == 0,
		.address_valid = true,
		.iova = e[2],
	};

	switch (f.code) {
	case F_TRANSLATION:
		f.kind = FAULT_NOT_MAPPED;
		return f;
	case F_PERMISSION:
		f.kind = FAULT_PERMISSION;
		return f;
	case F_ADDR_SIZE:
		f.kind = FAULT_ADDRESS;
		return f;
	case F_TRANSL_FORBIDDEN:
	case F_BAD_ATS_TREQ:
		f.kind = FAULT_TRANSLATED;
		return f;
	case F_ACCESS:
	case F_WALK_EABT:
	case F_TLB_CONFLICT:
		f.kind = FAULT_CONFIG;
		return f;
	case F_UUT:
		f.kind = FAULT_OTHER;
		return f;
	}
	/* No input address in these. */
	f.address_valid = false;
	f.write = false;
	f.iova = 0;
	switch (f.code) {
	case C_BAD_STREAMID:
		f.kind = FAULT_BLOCKED;
		break;
	case F_STE_FETCH:
	case C_BAD_STE:
	case F_CD_FETCH:
	case C_BAD_CD:
	case F_CFG_CONFLICT:
		f.kind = FAULT_CONFIG;
		break;
	default:
		f.kind = FAULT_OTHER;
		break;
	}
	return f;
}

static uint32_t
drain_locked(struct smmu *s, struct dma_fault *out, uint32_t max) REQUIRES(s->lock)
{
	uint32_t mask = (2u << s->eventq_lg2) - 1, size = 1u << s->eventq_lg2;
	uint32_t prod = smmu_read(s, s->page1 + SMMU_EVENTQ_PROD), cons = s->eventq_cons, n;
	bool overflow = ((prod ^ cons) & Q_OVERFLOW) != 0;
	uint32_t waiting = (prod - cons) & mask;

	if (waiting > size) {
		smmu_fail(s, "its event queue index is impossible");
		return 0;
	}
	io_collect();
	for (n = 0; n < max && n < waiting; n++) {
		uint64_t *slot = s->events[(cons + n) & (size - 1)], e[EVENT_WORDS];

		if (!s->coherent)
			cache_invalidate(slot, EVENT_BYTES);
		for (unsigned i = 0; i < EVENT_WORDS; i++)
			e[i] = once_load(&slot[i]);
		out[n] = fault_of(e);
	}
	if (n == 0 && !overflow)
		return 0;
	if (overflow)
		s->events_lost = true;
	s->eventq_cons = ((cons + n) & mask) | (prod & (uint32_t)Q_OVERFLOW);
	io_full();
	smmu_write(s, s->page1 + SMMU_EVENTQ_CONS, s->eventq_cons);
	return n;
}

/*
 * Records of what was terminated before a sync are in the queue when the sync completes [4.7.3;
 * SMMU-36]; without one a record may come after what followed it.  Where it is not alone it needs a
 * batch, so a command: another sync.  Often it is done when we look.
 */
bool
smmu_quiet(struct iommu_unit *u, bool all, struct iommu_ticket *t) NO_THREAD_SAFETY
{
	struct smmu *s = smmu_of(u);
	uint32_t producer;
	bool quiet;

	*t = (struct iommu_ticket){ 0 };
	if (!all)
		return smmu_read(s, s->page1 + SMMU_EVENTQ_PROD) == load_relaxed(&s->eventq_cons) &&
		    !load_relaxed(&s->events_lost);
	smmu_lock(s);
	if (unlikely(s->dead)) {
		smmu_unlock(s);
		return false;
	}
	if (likely(cmdring_fence(&s->ring, CMD_SYNC, 0, &producer))) {
		smmu_write(s, SMMU_CMDQ_PROD, producer);
		smmu_count(&s->unit.counters.syncs);
	} else {
		if (smmu_cmd_room(s, 1))
			smmu_cmd_order(s);
		smmu_cmd_send(s);
	}
	*t = cmdring_ticket(&s->ring);
	smmu_cmd_collect(s);
	quiet = cmdring_past(&s->ring, *t) &&
	    smmu_read(s, s->page1 + SMMU_EVENTQ_PROD) == s->eventq_cons && !s->events_lost;
	smmu_unlock(s);
	return quiet;
}

uint32_t
smmu_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost)
{
	struct smmu *s = smmu_of(u);
	uint32_t n = 0;

	smmu_lock(s);
	if (!s->dead) {
		collect_errors(s);
		smmu_cmd_collect(s);
	}
	n = drain_locked(s, out, max);
	*lost = s->events_lost;
	s->events_lost = false;
	smmu_unlock(s);
	return n;
}

/* Wired interrupts are edges: nothing to clear but the cause.  A queue that is not empty makes no
 * second one. */
void
smmu_irq(void *arg)
{
	struct smmu *s = arg;

	smmu_lock(s);
	collect_errors(s);
	smmu_unlock(s);
	if (load_acquire(&s->registered))
		iommu_fault_pending(&s->unit);
}
