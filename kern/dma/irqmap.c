/*
 * Who checks whose message interrupts: irqmap.h.
 */
#include "kern/dma/irqmap.h"
#include "kern/machine/machine.h"
#include "kern/pci.h"

static struct iommu_unit *
remapping(uint32_t index)
{
	struct iommu_unit *u = iommu_by_index(index);

	return u != NULL && u->irqmap != NULL ? u : NULL;
}

struct iommu_unit *
irqmap_of_function(uint16_t segment, uint16_t rid, uint32_t *requester)
{
	const struct pci_function *f = pci_find(segment, rid);

	if (f == NULL || f->unit < 0)
		return NULL;
	*requester = f->endpoint;
	return remapping((uint32_t)f->unit);
}

static const struct machine_scope *
scope_of(const struct machine *m, uint32_t id)
{
	for (uint32_t i = 0; i < m->scope_count; i++) {
		const struct machine_scope *s = &m->scope[i];

		/* The path names no function of the bus but what the controller calls itself; it
		 * has one hop. */
		if (s->kind == SCOPE_IOAPIC && s->enumeration_id == id && s->path_len == 1 &&
		    s->iommu < m->iommu_count)
			return s;
	}
	return NULL;
}

struct iommu_unit *
irqmap_of_ioapic(const struct machine *m, uint32_t id, uint32_t *requester)
{
	const struct machine_scope *s = scope_of(m, id);

	if (s == NULL)
		return NULL;
	*requester = (uint32_t)s->start_bus << 8 | s->path[0];
	return remapping(s->iommu);
}

bool
irqmap_ioapics_known(const struct machine *m)
{
	for (uint32_t i = 0; i < m->irqc.ioapic_count; i++)
		if (scope_of(m, m->irqc.ioapic[i].id) == NULL)
			return false;
	return true;
}
