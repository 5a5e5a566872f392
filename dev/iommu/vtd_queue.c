/*
 * VT-d: the invalidation queue, tickets, errors.
 *
 * Descriptors.  The unit fetches them in order and executes what lies between two WAITs in any
 * order; a WAIT with FN is done when all before it is, and with SW stores its data to memory then.
 * Each batch ends in a WAIT that stores the low half of its number (cmdring.h) to one status word.
 * Where order inside a batch matters (context cache before translations: VTD-65), a WAIT between
 * stores to a word that nobody reads: one that stores nothing is an error on some units.
 *
 * IQT is written once a batch, by whoever polls first.
 *
 * Errors.
 *   IQE   The unit refuses a descriptor and stops at it (VTD-64).  It is ours, so it should not be,
 *         but its invalidation must not be lost: it is replaced in its slot by the whole form of
 *         its kind (all contexts, all translations, or all interrupt entries), which includes what
 *         was asked, and the queue goes on.  If the replacement is refused too, nobody knows what
 *         was invalidated: the unit fails.
 *   ITE   A device TLB did not answer.  We use none, but the unit drops all WAITs that are queued.
 *         Their tickets are late, never lost: a flush of everything with a WAIT of a higher number
 *         is queued, and its completion covers them.
 *   ICE   An answer of a device TLB that nobody asked for: counted.
 *
 * Failure.  A failed unit gets an empty root table, so that no context is found any more but those
 * already cached, and its tickets are never past.  Translation stays on: off would be open.
 *
 * Order    entry stored, cleaned, published -> (write buffer) -> put ... WAIT, cleaned, published
 *          -> IQT -> status word -> the ticket is past.
 * Locks    v->lock over all; the kernel is told of a failure after it is released.
 * Waits    unit_ticket_wait, without the lock.  vtd_write_buffer, with it: the register's one-shot
 *          bits belong to one at a time, chips that have this buffer are old and drain it in a
 *          microsecond, and more than VTD_FLUSH_WAIT_NS ends the unit.
 * Manual   Intel VT-d 6.5.2 (queue), 6.5.2.11 (errors), 6.8 (write buffer).
 */
#include "dev/iommu/vtd_unit.h"
#include "kern/log.h"
#include "kern/md/clock.h"

void
vtd_lock(struct vtd *v)
{
	spin_lock(&v->lock);
	if (unlikely(load_relaxed(&v->unit.broken)) && !v->dead)
		vtd_fail(v, "the kernel gave up on it");
}

void
vtd_unlock(struct vtd *v)
{
	bool tell = v->dead && !v->told && v->registered;
	const char *why = v->why;

	if (tell)
		v->told = true;
	spin_unlock(&v->lock);
	if (unlikely(tell))
		iommu_mark_broken(&v->unit, why);
}

void
vtd_fail(struct vtd *v, const char *why)
{
	if (v->dead)
		return;
	v->dead = true;
	v->why = why;
	vtd_count(&v->unit.counters.errors);
	unit_write64(v->regs, VTD_RTADDR, v->deny.v);
	vtd_command(v, GCMD_SRTP, true);
}

static void
doorbell(struct vtd *v) REQUIRES(v->lock)
{
	uint32_t producer;

	if (cmdring_show(&v->ring, &producer) && !v->dead)
		unit_write64(v->regs, VTD_IQT, FIELD_PREP(IQ_INDEX, producer));
}

void
vtd_put(struct vtd *v, uint64_t lo, uint64_t hi)
{
	cmdring_put(&v->ring, lo, hi);
	vtd_count(&v->unit.counters.invalidations);
}

void
vtd_order(struct vtd *v)
{
	cmdring_put(
	    &v->ring, INV_WAIT | WAIT_SW | WAIT_FN | FIELD_PREP(WAIT_DATA, 1), v->status_at.v + 64);
}

void
vtd_send(struct vtd *v)
{
	if (v->ring.open) {
		cmdring_sync(&v->ring, INV_WAIT | WAIT_SW | WAIT_FN |
		    FIELD_PREP(WAIT_DATA, cmdring_next(&v->ring) & UINT32_MAX), v->status_at.v);
		vtd_count(&v->unit.counters.syncs);
	}
	doorbell(v);
}

/* IQT again, though nothing is new: the unit looks at the queue. */
static void
nudge(struct vtd *v) REQUIRES(v->lock)
{
	unit_write64(
	    v->regs, VTD_IQT, FIELD_PREP(IQ_INDEX, v->ring.shown & ((1u << v->ring.lg2) - 1)));
}

static void
collect_head(struct vtd *v) REQUIRES(v->lock)
{
	if (!cmdring_consumed(
		&v->ring, (uint32_t)FIELD_GET(IQ_INDEX, unit_read64(v->regs, VTD_IQH))))
		vtd_fail(v, "its queue index is impossible");
}

/* The queue stopped at a descriptor: replaced by its whole form, or nothing helps. */
static void
repair_queue(struct vtd *v) REQUIRES(v->lock)
{
	uint64_t *slot, kind, drain;

	collect_head(v);
	if (v->dead)
		return;
	if (v->repaired == v->ring.head + 1) {
		vtd_fail(v, "it refuses invalidations that every unit must know");
		return;
	}
	v->repaired = v->ring.head + 1;
	slot = cmdring_slot(&v->ring, (uint32_t)v->ring.head);
	kind = FIELD_GET(INV_TYPE, slot[0]);
	drain = slot[0] & (INV_DW | INV_DR);
	if (v->ring.head == v->ring.shown ||
	    (kind != INV_CONTEXT && kind != INV_IOTLB && kind != INV_IEC)) {
		vtd_fail(v, "its queue stopped");
		return;
	}
	vtd_count(&v->unit.counters.errors);
	log_error(
	    "%s: an invalidation was refused (type %llu); everything of its kind is invalidated instead",
	    v->unit.name, (unsigned long long)kind);
	unit_store64(&slot[1], 0);
	unit_store64(&slot[0],
	    kind == INV_IEC ?
		INV_IEC :
		kind | FIELD_PREP(INV_GRAN, GRAN_GLOBAL) | (kind == INV_IOTLB ? drain : 0));
	unit_clean(slot, 16, v->coherent);
	unit_publish();
}

static void
collect_errors(struct vtd *v) REQUIRES(v->lock)
{
	uint32_t s = unit_read32(v->regs, VTD_FSTS);

	if (s == UINT32_MAX) {
		vtd_fail(v, "its registers read as all ones");
		return;
	}
	if ((s & (FSTS_IQE | FSTS_ICE | FSTS_ITE)) == 0)
		return;
	if ((s & FSTS_IQE) != 0)
		repair_queue(v);
	if (v->dead)
		return;
	if ((s & (FSTS_ICE | FSTS_ITE)) != 0)
		vtd_count(&v->unit.counters.errors);
	unit_write32(v->regs, VTD_FSTS, s & (FSTS_IQE | FSTS_ICE | FSTS_ITE));
	if ((s & FSTS_IQE) != 0)
		nudge(v);
	if ((s & FSTS_ITE) != 0) {
		if (vtd_room(v, VTD_FLUSH_ALL))
			vtd_put_all(v);
		vtd_send(v);
	}
}

static void
collect_status(struct vtd *v) REQUIRES(v->lock)
{
	if (!cmdring_reported(&v->ring, once_load(v->status)))
		vtd_fail(v, "its status word is impossible");
	io_collect();
}

/* Every sync was reported, and nothing else is to be done. */
static ALWAYS_INLINE bool
all_done(struct vtd *v) REQUIRES(v->lock)
{
	if (unlikely(once_load(v->status) != (uint32_t)v->ring.syncs) || unlikely(v->dead) ||
	    unlikely(v->ring.owes) || !cmdring_reported(&v->ring, (uint32_t)v->ring.syncs))
		return false;
	io_collect();
	return true;
}

void
vtd_collect(struct vtd *v)
{
	if (v->dead)
		return;
	if (v->ring.done != v->ring.syncs)
		collect_status(v);
	if (!v->dead && v->ring.done != v->ring.syncs)
		collect_errors(v);	/* not done: under way, or stopped? */
	if (v->dead || !v->ring.owes)
		return;
	collect_head(v);
	if (!v->dead && cmdring_pay(&v->ring, VTD_FLUSH_ALL)) {
		vtd_put_all(v);
		vtd_send(v);
	}
}

bool
vtd_room(struct vtd *v, uint32_t n)
{
	if (likely(cmdring_room(&v->ring) >= n))
		return true;
	if (!v->dead && !v->ring.owes) {
		vtd_send(v);
		collect_head(v);
		if (cmdring_room(&v->ring) >= n)
			return true;
	}
	if (!v->ring.owes) {
		vtd_send(v);
		(void)cmdring_owe(&v->ring);
	}
	return false;
}

static uint64_t
drain_bits(const struct vtd *v)
{
	return ((v->cap & CAP_DWD) != 0 ? INV_DW : 0) | ((v->cap & CAP_DRD) != 0 ? INV_DR : 0);
}

void
vtd_put_context(struct vtd *v, uint32_t did, uint32_t sid)
{
	vtd_put(v, INV_CONTEXT | FIELD_PREP(INV_GRAN, GRAN_DEVICE) | FIELD_PREP(INV_DID, did) |
	    FIELD_PREP(INV_SID, sid), 0);
}

void
vtd_put_domain(struct vtd *v, uint32_t did)
{
	vtd_put(v,
	    INV_IOTLB | FIELD_PREP(INV_GRAN, GRAN_DOMAIN) | FIELD_PREP(INV_DID, did) |
		drain_bits(v),
	    0);
}

void
vtd_put_all(struct vtd *v)
{
	vtd_put(v, INV_CONTEXT | FIELD_PREP(INV_GRAN, GRAN_GLOBAL), 0);
	vtd_order(v);
	vtd_put(v, INV_IOTLB | FIELD_PREP(INV_GRAN, GRAN_GLOBAL) | drain_bits(v), 0);
	if (v->remaps)
		vtd_put(v, INV_IEC, 0);
}

/* The address mask of the smallest aligned power of two of pages that holds a range. */
static unsigned
mask_of(uint64_t at, uint64_t len)
{
	uint64_t differ = at ^ (at + (len - 1));

	return differ >> PAGE_SHIFT == 0 ? 0 : log2_floor(differ) + 1 - (unsigned)PAGE_SHIFT;
}

static void
put_pages(struct vtd *v, uint32_t did, uint64_t at, unsigned mask) REQUIRES(v->lock)
{
	/* Tables above leaves never go away: leaves only. */
	vtd_put(v,
	    INV_IOTLB | FIELD_PREP(INV_GRAN, GRAN_PAGE) | FIELD_PREP(INV_DID, did) | drain_bits(v),
	    align_down(at, PAGE_SIZE << mask) | INV_IH | FIELD_PREP(INV_AM, mask));
}

/*
 * A command covers an aligned power of two of pages.  What lies in it and was not asked for is only
 * fetched again (DMA-44).  A range that meets a boundary far above its size is cut there, so that
 * not half of the domain goes; one that is too large for the unit's mask takes the domain.
 */
void
vtd_flush_range(struct vtd *v, uint32_t did, uint64_t at, uint64_t len)
{
	uint64_t max = (v->cap & CAP_PSI) != 0 ? FIELD_GET(CAP_MAMV, v->cap) : 0, cut;
	unsigned mask, left, right;

	if (unlikely(cmdring_room(&v->ring) < 2) && !vtd_room(v, 2))
		return;
	if (unlikely((v->cap & CAP_PSI) == 0)) {
		vtd_put_domain(v, did);
		return;
	}
	if (likely(len == PAGE_SIZE)) {
		put_pages(v, did, at, 0);
		return;
	}
	mask = mask_of(at, len);
	cut = align_down(at + (len - 1), (PAGE_SIZE << mask) / 2);
	if (mask > 1 && cut > at) {
		left = mask_of(at, cut - at);
		right = mask_of(cut, at + len - cut);
		if (left <= max && right <= max &&
		    (1ull << left) + (1ull << right) <= (1ull << mask) / 2) {
			put_pages(v, did, at, left);
			put_pages(v, did, cut, right);
			return;
		}
	}
	if (mask <= max)
		put_pages(v, did, at, mask);
	else
		vtd_put_domain(v, did);
}

void
vtd_write_buffer(struct vtd *v)
{
	if (!v->write_buffer || v->dead)
		return;
	vtd_command(v, GCMD_WBF, true);
	if (!vtd_status(v, GCMD_WBF, false, VTD_FLUSH_WAIT_NS))
		vtd_fail(v, "its write buffer does not drain");
}

enum status
vtd_ticket_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	struct vtd *v = vtd_of(u);
	enum status s;

	if (cmdring_past(&v->ring, t))
		return OK;
	vtd_lock(v);
	if (t.seq > v->ring.syncs)	/* nobody closed its batch yet */
		vtd_send(v);
	if (unlikely(!all_done(v)))
		vtd_collect(v);
	s = cmdring_past(&v->ring, t) ? OK : v->dead ? E_QUARANTINED : E_WOULD_BLOCK;
	vtd_unlock(v);
	return s;
}

