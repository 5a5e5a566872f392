/*
 * AMD-Vi: the event log.
 *
 * A ring in memory that the unit fills; its tail is a register, and so is the head, which is ours.
 * A record is 16 bytes.  When the ring is full the unit sets EvtOverflow and stops; it goes on
 * after a restart, and what it dropped is lost.
 *
 * A record may be visible later than the tail that covers it (AMD-61): its code is still 0 then,
 * because a record is cleared when it has been read.  It is left for the next time; when it is not
 * there after a millisecond it is given up as lost.
 *
 * Does the log work?  The tail of some units never moves (AMD-85), and a fault that is not reported
 * must not look like none.  So probe gives the unit one command that does not exist, before any
 * requester is attached: a unit by the manual halts its command buffer and logs the event, and the
 * restart that follows is tested at the same time (AMD-54).  Where no event comes, facts.fault_log
 * is false: fault_reporting=none.
 *
 * Events are polled.  A blocked requester's event looks like any page fault; we know that it was
 * blocked.
 *
 * Locks    a->lock for a batch: the ring is memory, with one register read and one write.
 * Manual   AMD IOMMU 2.5 (events), 3.4.14 (head and tail), 3.4.16 (status).
 */
#include "dev/iommu/amdvi_unit.h"
#include "kern/base/bits.h"
#include "kern/md/clock.h"
#include "kern/pci.h"

enum : uint32_t { EVENTS = 1u << AMDVI_RING_LG2 };
enum : uint64_t { TEST_WAIT_NS = 10 * NS_PER_MS };

enum status
amdvi_events_init(struct amdvi *a)
{
	struct paddr p;
	enum status s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p);

	if (s != OK)
		return s;
	a->log = frame_ptr(p);
	unit_clean(a->log, PAGE_SIZE, a->unit.facts.coherent);
	unit_publish();
	return OK;
}

bool
amdvi_events_start(struct amdvi *a)
{
	amdvi_control(a, CTL_EVTLOG_EN, false);
	if (!amdvi_status(a, STS_EVT_RUN, false, AMDVI_ATTACH_WAIT_NS))
		return false;
	unit_write64(a->regs, AMDVI_STATUS, STS_EVT_OVERFLOW | STS_EVT_INT);
	unit_write64(
	    a->regs, AMDVI_EVTLOG, frame_of(a->log).v | FIELD_PREP(RING_LEN, AMDVI_RING_LG2));
	unit_write64(a->regs, AMDVI_EVT_HEAD, 0);
	unit_write64(a->regs, AMDVI_EVT_TAIL, 0);
	a->event = 0;
	amdvi_control(a, CTL_EVTLOG_EN, true);
	return true;
}

static uint32_t
tail(const struct amdvi *a)
{
	return (uint32_t)FIELD_GET(RING_INDEX, unit_read64(a->regs, AMDVI_EVT_TAIL)) % EVENTS;
}

/* Takes the next record.  False: it is not there yet. */
static bool
take(struct amdvi *a, uint64_t out[2]) REQUIRES(a->lock)
{
	uint64_t *record = a->log[a->event];

	if (!a->unit.facts.coherent)
		cache_invalidate(record, sizeof(a->log[0]));
	out[0] = once_load(&record[0]);
	if (FIELD_GET(EVT_CODE, out[0]) == 0)
		return false;
	io_collect();		/* the second word after the first */
	out[1] = once_load(&record[1]);
	unit_store64(&record[0], 0);
	unit_clean(record, sizeof(a->log[0]), a->unit.facts.coherent);
	a->event = (a->event + 1) % EVENTS;
	return true;
}

bool
amdvi_events_work(struct amdvi *a)
{
	uint64_t deadline = clock_now() + TEST_WAIT_NS, e[2];
	uint32_t producer;
	bool works = false, skipped = false, late = false;

	amdvi_lock(a);
	cmdring_put(&a->ring, 0, 0);
	(void)cmdring_show(&a->ring, &producer);
	unit_write64(a->regs, AMDVI_CMD_TAIL, FIELD_PREP(RING_INDEX, producer));
	while (!works && !skipped && !late) {
		late = clock_now() > deadline;
		skipped = (unit_read64(a->regs, AMDVI_STATUS) & STS_CMD_RUN) != 0 &&
		    FIELD_GET(RING_INDEX, unit_read64(a->regs, AMDVI_CMD_HEAD)) == producer;
		works = tail(a) != a->event && take(a, e) &&
		    FIELD_GET(EVT_CODE, e[0]) == EVENT_ILLEGAL_COMMAND;
	}
	unit_write64(a->regs, AMDVI_EVT_HEAD, FIELD_PREP(RING_INDEX, a->event));
	if (!cmdring_consumed(&a->ring, producer) || !amdvi_queue_start(a))
		amdvi_fail(a, "its command buffer does not restart");
	amdvi_unlock(a);
	return works;
}

/* What a requester appears as. */
static uint32_t
endpoint_of(const struct amdvi *a, uint32_t rid)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].unit == (int)a->unit.index && pci_functions[i].rid == rid)
			return pci_functions[i].endpoint;
	return rid;
}

static enum dma_fault_kind
page_fault_kind(const struct amdvi *a, uint64_t e, uint32_t rid, uint64_t at) REQUIRES(a->lock)
{
	const struct amdvi_endpoint *p = amdvi_endpoint_of(a, rid);

	if ((e & EVT_I) != 0)
		return FAULT_INTERRUPT;
	if ((e & EVT_TR) != 0)
		return FAULT_TRANSLATED;
	if (p == NULL || p->domain == NULL)
		return FAULT_BLOCKED;
	if (at >> a->unit.facts.iova_bits != 0)
		return FAULT_ADDRESS;
	return (e & EVT_PR) != 0 ? FAULT_PERMISSION : FAULT_NOT_MAPPED;
}

/* False: no requester's fault. */
static bool
fault_of(struct amdvi *a, const uint64_t e[2], struct dma_fault *out) REQUIRES(a->lock)
{
	uint32_t code = (uint32_t)FIELD_GET(EVT_CODE, e[0]),
		 rid = (uint32_t)FIELD_GET(EVT_DEVICE, e[0]);

	*out = (struct dma_fault){
		.iova = e[1],
		.endpoint = endpoint_of(a, rid),
		.code = code,
		.write = (e[0] & EVT_RW) != 0,
		.address_valid = true,
		.kind = FAULT_OTHER,
	};
	switch (code) {
	case EVENT_ILLEGAL_COMMAND:		/* the queue finds out by itself */
	case EVENT_COMMAND_HARDWARE:
	case EVENT_IOTLB_INV_TIMEOUT:
		amdvi_count(&a->unit.counters.errors);
		return false;
	case EVENT_IO_PAGE_FAULT:
		out->kind = page_fault_kind(a, e[0], rid, e[1]);
		break;
	case EVENT_ILLEGAL_DEV_TABLE_ENTRY:
	case EVENT_PAGE_TAB_HARDWARE:
		out->kind = FAULT_CONFIG;
		break;
	case EVENT_DEV_TAB_HARDWARE:
		out->kind = FAULT_CONFIG;
		out->address_valid = false;	/* it is that of the table */
		break;
	case EVENT_INVALID_DEVICE_REQUEST:
	case EVENT_INVALID_PPR_REQUEST:
		out->kind = FAULT_TRANSLATED;
		break;
	}
	if (out->kind == FAULT_CONFIG || out->kind == FAULT_INTERRUPT)
		out->address_valid = false;	/* no physical address, no interrupt's (D3) */
	if (!out->address_valid)
		out->iova = 0;
	return true;
}

uint32_t
amdvi_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost)
{
	struct amdvi *a = amdvi_of(u);
	uint64_t status, e[2];
	uint32_t n = 0, end, before;

	*lost = false;
	amdvi_lock(a);
	status = unit_read64(a->regs, AMDVI_STATUS);
	if (status == UINT64_MAX) {
		amdvi_unlock(a);
		return 0;
	}
	end = tail(a);
	before = a->event;
	while (n < max && a->event != end) {
		if (take(a, e)) {
			a->hole = 0;
			n += fault_of(a, e, &out[n]);
			continue;
		}
		if (a->hole == 0)
			a->hole = clock_now();
		if (clock_now() - a->hole < AMDVI_HOLE_NS)
			break;
		a->hole = 0;
		a->event = (a->event + 1) % EVENTS;
		*lost = true;
	}
	if (a->event != before)
		unit_write64(a->regs, AMDVI_EVT_HEAD, FIELD_PREP(RING_INDEX, a->event));
	if (a->event == end && (status & STS_EVT_OVERFLOW) != 0) {
		*lost = true;
		if (!amdvi_events_start(a))
			amdvi_fail(a, "its event log does not restart");
	}
	amdvi_unlock(a);
	return n;
}

/*
 * The tail covers a record before the record can be read, not after.  An overflow moves the tail no
 * more, but then the ring is full.
 */
bool
amdvi_quiet(struct iommu_unit *u, bool all UNUSED, struct iommu_ticket *t)
{
	struct amdvi *a = amdvi_of(u);
	bool quiet;

	*t = (struct iommu_ticket){ 0 };
	amdvi_lock(a);
	quiet = (unit_read64(a->regs, AMDVI_STATUS) & STS_EVT_OVERFLOW) == 0 && tail(a) == a->event;
	amdvi_unlock(a);
	return quiet;
}
