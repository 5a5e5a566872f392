/*
 * VT-d: interrupt remapping.
 *
 * A remappable message carries a handle; the unit finds that entry in the interrupt table and
 * delivers what it says, when the sender's id is the entry's (SVT 1, all sixteen bits: VTD-71).
 * One table for a unit, one entry for a vector.
 *
 *     address 0xfee | handle 14:0 | 1 | 0 | handle 15 | 00        data 0
 *     entry   destination, vector, fixed, edge, present           source id, "verify it"
 *
 * Start (VTD-73)  All units must be able, and firmware must tell the id of every I/O APIC, or none
 *                 is started: an I/O APIC that goes on in the old format would be silenced
 *                 (VTD-74).  Table; pointer; entry cache flushed; remapping on; the old format off,
 *                 if it is on.  In extended mode (32-bit processor ids) the old format is off by
 *                 itself.  At this time no line and no vector is in use.
 * Open            high half, then the low half with P, each visible before the next; absent entries
 *                 are cached in caching mode only: then the index is invalidated, and waited for.
 * Close           P is cleared and nothing else; the index is invalidated.  The entry is used again
 *                 when the ticket is past.
 *
 * The unit's own fault event is not remapped.  Where remapping does not start,
 * facts.interrupt_isolation is false and the log says why.
 *
 * Emulator        delivers the old format in spite of all (VTD-104), keeps no entries cached, and
 *                 knows no source for a message made by a plain write (VTD-113): those rules are
 *                 tested against the model only.
 * Locks           v->lock.
 * Manual          Intel VT-d 5.1 (remapping), 9.10 (entry), 6.5.2.4 (invalidation).
 */
#include "dev/iommu/vtd_unit.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/dma/irqmap.h"
#include "kern/log.h"
#include "kern/md/irqc.h"

enum : uint64_t { IRQ_MESSAGE = 0xfee0'0010, IRQ_HANDLE = BITS(19, 5), IRQ_HANDLE_15 = BIT(2) };

static void
publish(const struct vtd *v, uint64_t *half, uint64_t value)
{
	unit_store64(half, value);
	unit_clean(half, sizeof(*half), v->coherent);
	unit_publish();
}

static void
give(struct vtd *v, uint32_t entry, struct iommu_ticket t) REQUIRES(v->lock)
{
	uint32_t i = (v->irte_next + v->irte_count) % VTD_IRTES;

	v->irte[i] = (uint16_t)entry;
	v->irte_ticket[i] = t.seq;
	v->irte_count++;
}

/* The entry that was free the longest; false: none, or its ticket is not past. */
static bool
take(struct vtd *v, uint32_t *entry) REQUIRES(v->lock)
{
	uint32_t i = v->irte_next;

	if (v->irte_count == 0)
		return false;
	if (!cmdring_past(&v->ring, (struct iommu_ticket){ v->irte_ticket[i] })) {
		vtd_send(v);
		vtd_collect(v);
		if (!cmdring_past(&v->ring, (struct iommu_ticket){ v->irte_ticket[i] }))
			return false;
	}
	*entry = v->irte[i];
	v->irte_next = (uint16_t)((i + 1) % VTD_IRTES);
	v->irte_count--;
	return true;
}

static struct iommu_ticket
forget(struct vtd *v, uint32_t entry) REQUIRES(v->lock)
{
	vtd_write_buffer(v);
	if (vtd_room(v, 1))
		vtd_put(v, INV_IEC | IEC_INDEX | FIELD_PREP(IEC_IIDX, entry), 0);
	return cmdring_ticket(&v->ring);
}

static enum status
irq_open(struct iommu_unit *u, uint32_t requester, uint32_t processor, uint8_t vector,
    uint32_t *entry, struct irqmap_message *out)
{
	struct vtd *v = vtd_of(u);
	struct iommu_ticket t = { 0 };
	enum status s = OK;

	if (requester > UINT16_MAX || (!v->wide_ids && processor > 0xff))
		return E_RANGE;
	vtd_lock(v);
	if (v->dead)
		s = E_QUARANTINED;
	else if (!take(v, entry))
		s = E_NO_MEMORY;
	if (s != OK) {
		vtd_unlock(v);
		return s;
	}
	publish(
	    v, &v->irt[*entry][1], FIELD_PREP(IRTE_SID, requester) | FIELD_PREP(IRTE_SVT, SVT_SID));
	publish(v, &v->irt[*entry][0], IRTE_P | FIELD_PREP(IRTE_VECTOR, vector) |
	    FIELD_PREP(IRTE_DST, v->wide_ids ? processor : processor << 8));
	if (v->caching)
		t = forget(v, *entry);
	else
		vtd_write_buffer(v);
	vtd_unlock(v);

	s = unit_ticket_wait(&v->unit, t, VTD_ATTACH_WAIT_NS);
	if (s != OK) {
		vtd_lock(v);
		vtd_fail(v, "an invalidation of an interrupt entry does not complete");
		publish(v, &v->irt[*entry][0], 0);
		vtd_unlock(v);
		return E_QUARANTINED;
	}
	*out = (struct irqmap_message){
		.address = IRQ_MESSAGE | FIELD_PREP(IRQ_HANDLE, *entry & 0x7fff) |
		    FIELD_PREP(IRQ_HANDLE_15, *entry >> 15),
		.line = vector, /* by which the processor's end-of-interrupt finds it (VTD-76) */
	};
	return OK;
}

static struct iommu_ticket
irq_close(struct iommu_unit *u, uint32_t requester UNUSED, uint32_t entry)
{
	struct vtd *v = vtd_of(u);
	struct iommu_ticket t;

	vtd_lock(v);
	publish(v, &v->irt[entry][0], 0);
	t = forget(v, entry);
	give(v, entry, t);
	vtd_unlock(v);
	return t;
}

static const struct irqmap_ops irqmap = { .open = irq_open, .close = irq_close };

static bool
command_wait(const struct vtd *v, uint32_t bit, bool set)
{
	vtd_command(v, bit, set);
	return vtd_status(v, bit, set, VTD_PROBE_WAIT_NS);
}

/* NULL: it runs. */
static const char *
start(struct vtd *v)
{
	struct iommu_ticket t;
	struct paddr table;

	static_assert(VTD_IRTES * 16 == PAGE_SIZE << VTD_IRT_ORDER);
	if (frame_alloc(VTD_IRT_ORDER, FRAME_IOMMU, FRAME_ZERO, &table) != OK)
		return "no memory for its table";
	v->irt = frame_ptr(table);
	unit_clean(v->irt, PAGE_SIZE << VTD_IRT_ORDER, v->coherent);
	unit_publish();
	unit_write64(v->regs, VTD_IRTA,
	    table.v | (v->wide_ids ? IRTA_EIME : 0) |
		FIELD_PREP(IRTA_S, log2_floor(VTD_IRTES) - 1));
	vtd_lock(v);
	vtd_write_buffer(v);
	vtd_unlock(v);
	if (!command_wait(v, GCMD_SIRTP, true))
		return "it does not take the table";
	v->remaps = true;		/* from now on part of a flush of everything */
	vtd_lock(v);
	if (vtd_room(v, 1))
		vtd_put(v, INV_IEC, 0);
	vtd_send(v);
	t = cmdring_ticket(&v->ring);
	vtd_unlock(v);
	if (unit_ticket_wait(&v->unit, t, VTD_PROBE_WAIT_NS) != OK)
		return "an invalidation does not complete";
	if (!command_wait(v, GCMD_IRE, true))
		return "it does not start";
	/* Messages in the old format are blocked (compatibility format interrupts). */
	if ((unit_read32(v->regs, VTD_GSTS) & GCMD_CFI) != 0 && !command_wait(v, GCMD_CFI, false))
		return "the old message format does not go off";
	return NULL;
}

void
vtd_irq_start(struct vtd *v, bool wide_ids, const char *missing)
{
	char *text;
	size_t n;

	v->wide_ids = wide_ids;
	if (missing == NULL)
		missing = start(v);
	if (missing != NULL) {
		if ((unit_read32(v->regs, VTD_GSTS) & GCMD_IRE) != 0 &&
		    !command_wait(v, GCMD_IRE, false))
			missing = "it neither starts nor stops";
		log_warn("%s: no interrupt remapping: %s", v->unit.name, missing);
		return;
	}
	vtd_lock(v);
	for (uint32_t i = 0; i < VTD_IRTES; i++)
		give(v, i, (struct iommu_ticket){ 0 });
	vtd_unlock(v);
	v->unit.facts.interrupt_isolation = true;
	text = v->unit.facts.text;
	n = strlen(text);
	fmt_buf(text + n, sizeof(v->unit.facts.text) - n, ", interrupt remapping");
	v->unit.irqmap = &irqmap;
}
