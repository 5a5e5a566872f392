/*
 * VT-d: fault records and their interrupt.
 *
 * The unit has a small ring of records in registers.  It fills the next free one, and FSTS.FRI says
 * where the oldest full one is.  A record is full while its F is set; we read it, then write F to
 * free it.  When all are full, PFO is set and nothing is recorded until PFO is cleared: so PFO is
 * cleared last, and only when the ring is empty (VTD-87).  Further faults of the same requester may
 * be left out while one of its records is full: what we report is "at least".
 *
 * The unit cannot tell "not mapped" from "no right": an entry without rights is an absent one.  We
 * can, as far as the tables have not changed meanwhile, by looking the address up.
 *
 * The interrupt is a message that the unit sends by itself; it is not remapped.  It comes once,
 * when the first record is filled, and again only after all have been emptied.  Without it the unit
 * is polled.
 *
 * Locks    v->lock for one record at a time: register reads are slow.
 * Manual   Intel VT-d 7.2, 7.3 (recording, event), 11.4 (registers).
 */
#include "dev/iommu/vtd_unit.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/md/irqc.h"

static uint32_t at(const struct vtd *v, uint32_t index) { return v->faults_at + FR_BYTES * index; }

void
vtd_faults_clear(const struct vtd *v)
{
	unit_write32(v->regs, VTD_FECTL, FECTL_IM);
	for (uint32_t i = 0; i < v->faults; i++)
		unit_write32(v->regs, at(v, i) + FR_LAST32, FR_LAST32_F);
	unit_write32(v->regs, VTD_FSTS, FSTS_STICKY);
}

static void
interrupt(void *arg)
{
	iommu_fault_pending(arg);
}

void
vtd_faults_start(struct vtd *v)
{
	struct irqc_message msg;
	enum status s = irq_claim_message(interrupt, &v->unit, v->unit.name, &msg);

	/* Anything but an interrupt address would be a write to memory by the unit itself
	 * (VTD-106). */
	if (s == OK && !range_within(msg.address, 4, VTD_INTERRUPT_BASE, VTD_INTERRUPT_LEN))
		s = E_RANGE;
	if (s != OK) {
		log_warn("%s: no fault interrupt (%s): polled", v->unit.name, status_text(s));
		return;
	}
	unit_write32(v->regs, VTD_FEDATA, msg.data);
	unit_write32(v->regs, VTD_FEADDR, (uint32_t)msg.address);
	unit_write32(v->regs, VTD_FEUADDR, (uint32_t)(msg.address >> 32));
	unit_write32(v->regs, VTD_FECTL, 0);
	(void)unit_read32(v->regs, VTD_FECTL);		/* on its way */
	v->unit.facts.fault_interrupt = true;
}

static enum dma_fault_kind
access_kind(const struct vtd *v, const struct dma_fault *f) REQUIRES(v->lock)
{
	struct vtd_endpoint *bus = v->endpoint[f->endpoint >> 8];
	struct iommu_domain *d = bus == NULL ? NULL : bus[f->endpoint & 0xff].domain;
	struct iopt_leaf leaf;

	/* Attached, so the tables are there; entries may change under us, tables do not go. */
	return d != NULL && iopt_lookup(vtd_pt(d), (struct iova){ f->iova }, &leaf) ?
	    FAULT_PERMISSION :
	    FAULT_NOT_MAPPED;
}

static struct dma_fault
fault_of(const struct vtd *v, uint64_t lo, uint64_t hi) REQUIRES(v->lock)
{
	struct dma_fault f = {
		.iova = lo & FR_PAGE,
		.endpoint = (uint32_t)FIELD_GET(FR_SID, hi),
		.code = (uint32_t)FIELD_GET(FR_REASON, hi),
		.write = (hi & FR_READ) == 0,
		.address_valid = true,
		.kind = FAULT_OTHER,
	};

	switch (f.code) {
	case REASON_ROOT_P:
	case REASON_CONTEXT_P:
		f.kind = FAULT_BLOCKED;
		break;
	case REASON_WRITE:
	case REASON_READ:
		f.kind = access_kind(v, &f);
		break;
	case REASON_BEYOND_MGAW:
		f.kind = FAULT_ADDRESS;
		break;
	case REASON_TRANSLATED:
		f.kind = FAULT_TRANSLATED;
		break;
	case REASON_CONTEXT_INVALID:
	case REASON_TABLE_ACCESS:
	case REASON_ROOT_ACCESS:
	case REASON_CONTEXT_ACCESS:
	case REASON_ROOT_RESERVED:
	case REASON_CONTEXT_RESERVED:
	case REASON_ENTRY_RESERVED:
		f.kind = FAULT_CONFIG;
		break;
	case REASON_INTERRUPT_RANGE:
		f.kind = FAULT_INTERRUPT;
		break;
	}
	if (f.code >= REASON_IR_FIRST && f.code <= REASON_IR_LAST) { /* the low half is an index */
		f.kind = FAULT_INTERRUPT;
		f.iova = 0;
		f.address_valid = false;
	}
	return f;
}

/* Takes one record.  False: it is empty, or the unit is gone. */
static bool
take(struct vtd *v, uint32_t index, struct dma_fault *out)
{
	uint64_t lo, hi;
	bool full;

	vtd_lock(v);
	hi = unit_read64(v->regs, at(v, index) + FR_HIGH);
	full = (hi & FR_F) != 0 && hi != UINT64_MAX;
	if (full) {
		lo = unit_read64(v->regs, at(v, index));
		*out = fault_of(v, lo, hi);
		unit_write32(v->regs, at(v, index) + FR_LAST32, FR_LAST32_F);
	}
	vtd_unlock(v);
	return full;
}

uint32_t
vtd_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost)
{
	struct vtd *v = vtd_of(u);
	uint32_t status = unit_read32(v->regs, VTD_FSTS), index, n;

	*lost = false;
	if (status == UINT32_MAX || (status & (FSTS_PPF | FSTS_PFO)) == 0)
		return 0;
	index = (uint32_t)FIELD_GET(FSTS_FRI, status) % v->faults;
	for (n = 0; n < max && take(v, index, &out[n]); n++)
		index = index + 1 == v->faults ? 0 : index + 1;
	if (n < max && (status & FSTS_PFO) != 0) {
		*lost = true;
		unit_write32(v->regs, VTD_FSTS, FSTS_PFO);
	}
	return n;
}

/*
 * Records are registers of the unit.  It fills one where it refuses a request; posted writes of a
 * requester do not overtake each other, so a completion that has arrived came after.  There is
 * nothing to wait for.
 */
bool
vtd_quiet(struct iommu_unit *u, bool all UNUSED, struct iommu_ticket *t)
{
	*t = (struct iommu_ticket){ 0 };
	return (unit_read32(vtd_of(u)->regs, VTD_FSTS) & (FSTS_PPF | FSTS_PFO)) == 0;
}
