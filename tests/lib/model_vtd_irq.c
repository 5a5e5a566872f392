/*
 * The VT-d model: message interrupts.  See model_vtd.h.
 */
#include "tests/lib/model_vtd_state.h"

enum : uint64_t { CAP_CM = BIT(7) };
enum : uint32_t { IRE = 1u << 25, CFIS = 1u << 23 };
enum { R_REQUEST = 0x20, R_INDEX, R_ABSENT, R_IRT, R_ENTRY, R_OLD, R_SID };

static bool wide(const struct model_vtd *m) { return (m->irt & BIT(11)) != 0; }

/* From memory, and kept. */
static uint8_t
fetch(struct model_vtd *m, uint32_t index, struct irte *out)
{
	uint64_t at = (m->irt & BITS(63, 12)) + index * 16;

	for (unsigned i = 0; i < CACHE; i++)
		if (m->irte[i].used && m->irte[i].index == index) {
			*out = m->irte[i];
			return 0;
		}
	if (!fake_is_memory(at, 16) || frame_state_of((struct paddr){ at }) != FRAME_IOMMU) {
		violate(m, "VTD-72: the interrupt table is not IOMMU memory");
		return R_IRT;
	}
	*out = (struct irte){
		.used = true, .index = index, .lo = cache_load(m, at), .hi = cache_load(m, at + 8)
	};
	if ((out->lo & 1) == 0 && (m->cap & CAP_CM) == 0)
		return 0;
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->irte[i].used) {
			m->irte[i] = *out;
			return 0;
		}
	violate(m, "the model's interrupt entry cache is full");
	return 0;
}

static struct model_vtd_irq
refuse(struct model_vtd *m, uint32_t sid, uint32_t index, uint8_t reason)
{
	record(m, sid, (uint64_t)index << 48, true, reason);
	return (struct model_vtd_irq){ .reason = reason };
}

struct model_vtd_irq
model_vtd_send(struct model_vtd *m, uint32_t sid, uint64_t address, uint32_t data)
{
	uint32_t index = (uint32_t)(address >> 5 & 0x7fff) | (uint32_t)(address >> 2 & 1) << 15;
	struct irte e;
	uint8_t reason;

	if ((m->gsts & IRE) == 0 || (address & 0x10) == 0) {
		if ((m->gsts & IRE) != 0 && ((m->gsts & CFIS) == 0 || wide(m)))
			return refuse(m, sid, 0, R_OLD);
		return (struct model_vtd_irq){ .delivered = true,
			.vector = (uint8_t)data,
			.processor = (uint32_t)(address >> 12 & 0xff) };
	}
	if ((address & 8) != 0)
		index += data & 0xffff;
	if (index >= 2u << (m->irt & 15))
		return refuse(m, sid, index, R_INDEX);
	reason = fetch(m, index, &e);
	if (reason != 0)
		return refuse(m, sid, index, reason);
	if ((e.lo & 1) == 0)
		return refuse(m, sid, index, R_ABSENT);
	if ((e.lo & (BITS(15, 12) | BITS(31, 24) | (wide(m) ? 0 : BITS(39, 32) | BITS(63, 48)))) !=
		0 ||
	    (e.hi & BITS(63, 20)) != 0) {
		violate(m, "VTD-70: reserved bits in interrupt entry %u", index);
		return refuse(m, sid, index, R_ENTRY);
	}
	if (FIELD_GET(BITS(19, 18), e.hi) != 1 || FIELD_GET(BITS(17, 16), e.hi) != 0)
		violate(m, "VTD-71: interrupt entry %u does not verify all of its source", index);
	if ((e.lo & (BITS(7, 2) | BIT(15))) != 0)
		violate(m, "VTD-70: interrupt entry %u is not fixed, edge, physical", index);
	if ((e.hi & 0xffff) != sid)
		return refuse(m, sid, index, R_SID);
	return (struct model_vtd_irq){ .delivered = true,
		.remapped = true,
		.vector = (uint8_t)(e.lo >> 16),
		.processor = (uint32_t)(e.lo >> (wide(m) ? 32 : 40)) };
}

void
irq_apply(struct model_vtd *m, uint64_t lo)
{
	for (unsigned i = 0; i < CACHE; i++)
		if ((lo & BIT(4)) == 0 ||
		    m->irte[i].index >> (lo >> 27 & 31) == (lo >> 32 & 0xffff) >> (lo >> 27 & 31))
			m->irte[i].used = false;
	if ((lo & BIT(4)) == 0)
		m->need_iec_flush = false;
}

uint32_t
model_vtd_entries(struct model_vtd *m)
{
	const uint64_t *e = frame_ptr((struct paddr){ m->irt & BITS(63, 12) });
	uint32_t n = 0;

	for (uint32_t i = 0; i < 2u << (m->irt & 15); i++)
		n += e[2 * i] & 1;
	return n;
}
