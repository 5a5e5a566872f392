/*
 * AMD-Vi: interrupt remapping.
 *
 * Each requester has an interrupt table of its own, to which its entry in the device table leads;
 * so nobody can name another's entry (AMD-70).  A message's data is the index; processor and vector
 * are the entry's.
 *
 *     device table entry --third word--> interrupt table --data 10:0--> remap, fixed, destination;
 *     vector
 *
 * Once remapping runs, a requester without a table has its interrupts aborted, also I/O APICs and
 * HPETs, which firmware lists: the first entry that is opened for it makes its table.  A table
 * stays.  Functions behind an alias share the alias's.
 *
 * The index is the vector's number where it is free: an I/O APIC takes an end-of-interrupt by the
 * number in its own register, which here is the index.  Lines all go to one processor, so theirs
 * are always free; a function may get another one.
 *
 * Open     high half, then the low half with "remap", each visible before the next; a table that is
 *          new is shown by one store of the device table entry's third word.  Then what the unit
 *          may hold of either goes, and is waited for.
 * Close    the low half becomes 0; the requester's cached entries go.  The entry is used again when
 *          the ticket is past.
 *
 * Needs 128-bit entries (EFR.GA), and the id of every I/O APIC in firmware's table: one that is
 * missing would be silenced (AMD-09).  Where it does not start, interrupts pass as they are,
 * facts.interrupt_isolation is false, and the log says why.
 *
 * Locks    a->lock.
 * Manual   AMD IOMMU 2.2.5 (tables, entries), 2.4.5 (invalidation).
 */
#include "dev/iommu/amdvi_unit.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/base/str.h"
#include "kern/dma/irqmap.h"
#include "kern/log.h"
#include "kern/md/irqc.h"

enum : uint64_t { IRQ_ADDRESS = 0xfee0'0000 };

static void
publish(const struct amdvi *a, uint64_t *word, uint64_t value)
{
	unit_store64(word, value);
	unit_clean(word, sizeof(*word), a->unit.facts.coherent);
	unit_publish();
}

uint64_t
amdvi_interrupt_word(const struct amdvi *a, const struct amdvi_endpoint *e)
{
	if (!a->remaps)
		return DTE_ANY_INTERRUPT;
	if (e == NULL || e->irt == NULL)
		return DTE_NO_INTERRUPTS;
	return DTE_IV | FIELD_PREP(DTE_INT_LEN, log2_floor(AMDVI_IRTES)) |
	    frame_of(e->irt->entry).v | FIELD_PREP(DTE_INT_CTL, INT_REMAP);
}

/* The requester's table, made at first use.  NULL: no memory. */
static struct amdvi_irt *
table_of(struct amdvi *a, struct amdvi_endpoint *e) REQUIRES(a->lock)
{
	struct paddr table, ours;

	static_assert(sizeof(struct amdvi_irt) <= PAGE_SIZE && AMDVI_IRTES * 16 == PAGE_SIZE);
	if (e->irt != NULL)
		return e->irt;
	if (frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &ours) != OK)
		return NULL;
	if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &table) != OK) {
		frame_free(ours, 0);
		return NULL;
	}
	unit_clean(frame_ptr(table), PAGE_SIZE, a->unit.facts.coherent);
	unit_publish();
	e->irt = frame_ptr(ours);
	e->irt->entry = frame_ptr(table);
	return e->irt;
}

/* An index that is free: the wanted one first. */
static bool
index_take(struct amdvi *a, struct amdvi_irt *t, uint8_t wanted, uint32_t *index) REQUIRES(a->lock)
{
	amdvi_send(a);
	amdvi_collect(a);
	for (uint32_t i = 0; i < AMDVI_IRTES; i++) {
		uint32_t n = (wanted + i) % AMDVI_IRTES;

		if (!t->used[n] && cmdring_past(&a->ring, (struct iommu_ticket){ t->ticket[n] })) {
			t->used[n] = true;
			*index = n;
			return true;
		}
	}
	return false;
}

/* What the unit may hold of the requesters' interrupts goes; of their device table entries too when
 * they changed. */
static struct iommu_ticket
forget(struct amdvi *a, const uint16_t *rid, uint32_t n, bool entries) REQUIRES(a->lock)
{
	if (amdvi_room(a, 2 * n + 1)) {
		for (uint32_t i = 0; i < n && entries; i++)
			amdvi_put_device(a, rid[i]);
		if (entries)
			amdvi_order(a);
		for (uint32_t i = 0; i < n; i++)
			amdvi_put_interrupts(a, rid[i]);
	}
	return cmdring_ticket(&a->ring);
}

static enum status
irq_open(struct iommu_unit *u, uint32_t requester, uint32_t processor, uint8_t vector,
    uint32_t *entry, struct irqmap_message *out)
{
	struct amdvi *a = amdvi_of(u);
	uint16_t rid[AMDVI_ALIASES_MAX];
	struct amdvi_endpoint *e;
	struct iommu_ticket t = { 0 };
	struct amdvi_irt *irt = NULL;
	bool fresh = false;
	enum status s;
	uint32_t n;

	if (requester >= AMDVI_IDS || (!a->wide_ids && processor > 0xff))
		return E_RANGE;
	n = amdvi_requesters(a, requester, rid);
	if (n == 0)
		return E_OVERFLOW;
	amdvi_lock(a);
	s = a->dead ? E_QUARANTINED : amdvi_bus_create(a, requester >> 8);
	e = s == OK ? amdvi_endpoint_of(a, requester) : NULL;
	if (s == OK && e->domain == NULL && !amdvi_is_interrupt_controller(a, requester))
		s = E_STATE;		/* nobody's messages are let in */
	if (s == OK) {
		fresh = e->irt == NULL;
		irt = table_of(a, e);
		s = irt == NULL || !index_take(a, irt, vector, entry) ? E_NO_MEMORY : OK;
	}
	if (s == OK) {
		publish(a, &irt->entry[*entry][1],
		    FIELD_PREP(IRTE_VECTOR, vector) | FIELD_PREP(IRTE_DEST_HIGH, processor >> 24));
		publish(a, &irt->entry[*entry][0],
		    IRTE_REMAP | FIELD_PREP(IRTE_DEST, processor & 0xff'ffff));
		for (uint32_t i = 0; i < n && fresh; i++)
			publish(a, &a->table[rid[i]][2], amdvi_interrupt_word(a, e));
		t = forget(a, rid, n, fresh);
	}
	amdvi_unlock(a);
	if (s != OK)
		return s;

	s = unit_ticket_wait(&a->unit, t, AMDVI_ATTACH_WAIT_NS);
	if (s != OK) {
		amdvi_lock(a);
		amdvi_fail(a, "an invalidation of interrupt entries does not complete");
		publish(a, &irt->entry[*entry][0], 0);
		amdvi_unlock(a);
		return E_QUARANTINED;
	}
	*out = (struct irqmap_message){ .address = IRQ_ADDRESS, .data = *entry, .line = *entry };
	return OK;
}

static struct iommu_ticket
irq_close(struct iommu_unit *u, uint32_t requester, uint32_t entry)
{
	struct amdvi *a = amdvi_of(u);
	uint16_t rid[AMDVI_ALIASES_MAX];
	uint32_t n = amdvi_requesters(a, requester, rid);
	struct iommu_ticket t;
	struct amdvi_irt *irt;

	amdvi_lock(a);
	irt = amdvi_endpoint_of(a, requester)->irt;
	publish(a, &irt->entry[entry][0], 0);
	t = forget(a, rid, n, false);
	irt->used[entry] = false;
	irt->ticket[entry] = t.seq;
	amdvi_unlock(a);
	return t;
}

static const struct irqmap_ops irqmap = { .open = irq_open, .close = irq_close };

const char *
amdvi_irq_missing(const struct amdvi *a)
{
	if ((a->efr & EFR_GA) == 0)
		return "no 128-bit interrupt entries (EFR.GA)";
	return irqmap_ioapics_known(a->machine) ? NULL :
						  "firmware does not tell the id of every I/O APIC";
}

void
amdvi_irq_prepare(struct amdvi *a)
{
	if (amdvi_irq_missing(a) != NULL)
		return;
	amdvi_control(a, CTL_GA_EN, true);
	if ((unit_read64(a->regs, AMDVI_CONTROL) & CTL_GA_EN) == 0) {
		a->efr &= ~EFR_GA;	/* it does not take what it says it can */
		return;
	}
	amdvi_control(a, CTL_XT_EN, (a->efr & EFR_XT) != 0 && irqc_wide_ids());
	a->wide_ids = (unit_read64(a->regs, AMDVI_CONTROL) & CTL_XT_EN) != 0;
	a->remaps = true;
}

void
amdvi_irq_start(struct amdvi *a)
{
	const char *missing = amdvi_irq_missing(a);
	char *text = a->unit.facts.text;
	size_t n = strlen(text);

	if (missing != NULL) {
		log_warn("%s: no interrupt remapping: %s", a->unit.name, missing);
		return;
	}
	fmt_buf(text + n, sizeof(a->unit.facts.text) - n, ", interrupt remapping");
	a->unit.facts.interrupt_isolation = true;
	a->unit.irqmap = &irqmap;
}
