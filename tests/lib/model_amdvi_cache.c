/*
 * The AMD-Vi model: device table, walks, caches, devices.  See model_amdvi.h.
 */
#include <string.h>

#include "tests/lib/model_amdvi_state.h"

enum : uint64_t {
	V = BIT(0),
	TV = BIT(1),
	MODE = BITS(11, 9),
	ADDR = BITS(51, 12),
	IR = BIT(61),
	IW = BIT(62),
	IV = BIT(0),
	GA_EN = BIT(17),
	XT_EN = BIT(50)
};

bool
amd_is_table(uint64_t pa)
{
	return fake_is_memory(pa, 8) && frame_state_of((struct paddr){ pa }) == FRAME_IOMMU;
}

/* ---- The device table ---- */

/* What is wrong with an entry that was fetched whole. */
static void
judge_entry(struct model_amdvi *m, const struct entry *e)
{
	uint64_t root = e->w[0] & ADDR;
	uint32_t id = (uint32_t)(e->w[1] & 0xffff);

	if ((e->w[0] & V) == 0)
		amd_violate(m, "AMD-31: the entry of %x is not valid: everything passes", e->rid);
	if ((e->w[0] & TV) == 0)
		amd_violate(m, "AMD-32: the entry of %x has no valid translation fields", e->rid);
	if ((e->w[0] & ~(V | TV | MODE | ADDR | IR | IW)) != 0 || (e->w[1] & BITS(63, 16)) != 0 ||
	    (e->w[2] & (BIT(5) | BITS(59, 52))) != 0 || e->w[3] != 0)
		amd_violate(
		    m, "AMD-30: reserved bits, or what is never used, in the entry of %x", e->rid);
	if ((m->control & GA_EN) != 0 && (e->w[2] & IV) == 0)
		amd_violate(m,
		    "AMD-32: interrupts of %x pass as they are, though there is remapping", e->rid);
	switch (FIELD_GET(BITS(61, 60), e->w[2])) {
	case 0:
		break;
	case 2:
		if ((m->control & GA_EN) == 0 || !amd_is_table(e->w[2] & BITS(51, 6)) ||
		    FIELD_GET(BITS(4, 1), e->w[2]) > 9)
			amd_violate(m, "AMD-70: the interrupt table of %x", e->rid);
		break;
	default:
		amd_violate(m, "AMD-88: interrupts of %x are forwarded", e->rid);
	}
	if ((e->w[0] & MODE) == 0) {
		if ((e->w[0] & (IR | IW)) != 0)
			amd_violate(m, "AMD-32: the entry of %x is an identity map", e->rid);
		return;
	}
	if (FIELD_GET(MODE, e->w[0]) > 4 + FIELD_GET(BITS(11, 10), m->efr))
		amd_violate(m, "AMD-33: more levels than the unit has");
	if (!amd_is_table(root))
		amd_violate(m, "the root of %x is not IOMMU memory", e->rid);
	if (id == 0)
		amd_violate(m, "AMD-35: domain id 0");
	for (unsigned i = 0; i < CACHE; i++) {
		const struct entry *o = &m->entry[i];

		if (o->used && (o->w[0] & MODE) != 0 && (o->w[1] & 0xffff) == id &&
		    (o->w[0] & ADDR) != root)
			amd_violate(m, "AMD-35: domain id %u has two tables at the same time", id);
		if ((m->tlb[i].used && m->tlb[i].id == id && m->tlb[i].root != root) ||
		    (m->upper[i].used && m->upper[i].id == id && m->upper[i].root != root))
			amd_violate(m, "AMD-35: domain id %u is used again before its flush", id);
	}
}

/* All 256 bits at once, and kept. */
static struct entry *
entry_of(struct model_amdvi *m, uint32_t rid)
{
	static struct entry none;
	uint64_t at = (m->devtab & ADDR) + rid * 32;

	for (unsigned i = 0; i < CACHE; i++)
		if (m->entry[i].used && m->entry[i].rid == rid)
			return &m->entry[i];
	none = (struct entry){ .used = true, .rid = rid };
	if (rid * 32 >= ((m->devtab & 0x1ff) + 1) * PAGE_SIZE || !amd_is_table(at)) {
		amd_violate(m, "AMD-22: requester %x has no entry", rid);
		return NULL;
	}
	for (unsigned i = 0; i < 4; i++)
		none.w[i] = fake_device_load(at + 8 * i);
	if (!m->firmware_table)
		judge_entry(m, &none);
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->entry[i].used) {
			m->entry[i] = none;
			return &m->entry[i];
		}
	/* Full: one goes, any. */
	m->entry[rid % CACHE] = none;
	return &m->entry[rid % CACHE];
}

void
model_amdvi_entry(struct model_amdvi *m, uint32_t rid, uint64_t out[4])
{
	memcpy(out, frame_ptr((struct paddr){ (m->devtab & ADDR) + rid * 32 }), 32);
}

bool
model_amdvi_message(struct model_amdvi *m, uint32_t rid)
{
	const struct entry *e;

	if ((m->control & 1) == 0)
		return true;
	e = entry_of(m, rid);
	return e != NULL && (e->w[2] & IV) == 0;
}

static struct model_amdvi_irq
refuse(struct model_amdvi *m, uint32_t rid)
{
	model_amdvi_event(m, (uint64_t)E_PAGE_FAULT << 60 | BIT(51) | rid, 0xfee0'0000);
	return (struct model_amdvi_irq){ 0 };
}

struct model_amdvi_irq
model_amdvi_send(struct model_amdvi *m, uint32_t rid, uint32_t data)
{
	const struct entry *dte;
	struct irte e;
	uint64_t at;
	unsigned i;

	if (model_amdvi_message(m, rid))
		return (struct model_amdvi_irq){ .delivered = true, .vector = (uint8_t)data };
	dte = entry_of(m, rid);
	e = (struct irte){ .used = true, .rid = rid, .index = data & 0x7ff };
	if (dte == NULL || FIELD_GET(BITS(61, 60), dte->w[2]) != 2 ||
	    e.index >= 1u << FIELD_GET(BITS(4, 1), dte->w[2]))
		return refuse(m, rid);
	for (i = 0;
	    i < CACHE && !(m->irte[i].used && m->irte[i].rid == rid && m->irte[i].index == e.index);
	    i++)
		;
	if (i == CACHE) {
		at = (dte->w[2] & BITS(51, 6)) + 16ull * e.index;
		e.lo = fake_device_load(at);
		e.hi = fake_device_load(at + 8);
		if ((e.lo & 1) != 0 &&
		    ((e.lo & (BITS(7, 1) | BITS(63, 32))) != 0 || (e.hi & BITS(55, 8)) != 0 ||
			((m->control & XT_EN) == 0 &&
			    ((e.lo & BITS(31, 16)) != 0 || (e.hi & BITS(63, 56)) != 0))))
			amd_violate(m, "AMD-71: interrupt entry %u of %x: 0x%llx 0x%llx", e.index,
			    rid, (unsigned long long)e.lo, (unsigned long long)e.hi);
		for (i = 0; i < CACHE && m->irte[i].used; i++)
			;
		if (i == CACHE) {
			amd_violate(m, "the model's interrupt entry cache is full");
			return refuse(m, rid);
		}
		m->irte[i] = e;
	}
	e = m->irte[i];
	if ((e.lo & 1) == 0)
		return refuse(m, rid);
	return (struct model_amdvi_irq){ .delivered = true,
		.remapped = true,
		.vector = (uint8_t)e.hi,
		.processor = (uint32_t)(e.lo >> 8 & 0xff'ffff) | (uint32_t)(e.hi >> 56) << 24 };
}

/* ---- Walks ---- */

static void
tlb_put(struct model_amdvi *m, struct tlb e)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->tlb[i].used) {
			m->tlb[i] = e;
			return;
		}
	amd_violate(m, "the model's IOTLB is full");
}

static void
upper_put(struct model_amdvi *m, struct upper e)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (m->upper[i].used && m->upper[i].id == e.id && m->upper[i].at == e.at &&
		    m->upper[i].lg2 == e.lg2)
			return;
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->upper[i].used) {
			m->upper[i] = e;
			return;
		}
	amd_violate(m, "the model's table cache is full");
}

/* Fills *out, present or not; 0 or an event code. */
static uint8_t
walk(struct model_amdvi *m, const struct entry *dte, uint64_t iova, struct tlb *out)
{
	uint64_t root = dte->w[0] & ADDR, table = root, rights = 3, e;
	unsigned level = (unsigned)FIELD_GET(MODE, dte->w[0]);
	uint32_t id = (uint32_t)(dte->w[1] & 0xffff);

	/* The deepest upper-level entry that is cached is where the walk begins. */
	for (unsigned i = 0; i < CACHE; i++) {
		const struct upper *u = &m->upper[i];

		if (u->used && u->id == id && (iova >> u->lg2) == (u->at >> u->lg2) &&
		    u->level < level) {
			level = u->level;
			table = u->table;
			rights = u->rights;
		}
	}
	for (;; level--) {
		unsigned shift = 12 + 9 * (level - 1), next;
		uint64_t at = table + (iova >> shift & 511) * 8;

		if (!amd_is_table(at)) {
			amd_violate(m, "a walk reads memory that is no table");
			return E_PAGE_HW;
		}
		e = fake_device_load(at);
		*out = (struct tlb){ .used = true,
			.rid = dte->rid,
			.id = id,
			.at = align_down(iova, BIT(shift)),
			.lg2 = (uint8_t)shift,
			.root = root,
			.upper = level > 1 };
		if ((e & 1) == 0) {
			if (e != 0)
				amd_violate(m, "AMD-82: an absent entry that is not zero");
			return 0;
		}
		next = (unsigned)FIELD_GET(BITS(11, 9), e);
		if ((e & (BITS(4, 1) | BITS(8, 7) | BITS(59, 52) | BIT(63))) != 0 ||
		    (next != 0 && next != level - 1) || (e & ADDR) >> m->s.host_width != 0 ||
		    (next == 0 && (e & ADDR & (BIT(shift) - 1)) != 0)) {
			amd_violate(m, "AMD-40: a malformed entry 0x%llx of level %u",
			    (unsigned long long)e, level);
			return E_PAGE_HW;
		}
		rights &= e >> 61;
		if (next != 0) {
			table = e & ADDR;
			upper_put(m,
			    (struct upper){ .used = true,
				.id = id,
				.at = align_down(iova, BIT(shift)),
				.lg2 = (uint8_t)shift,
				.table = table,
				.rights = (uint8_t)rights,
				.root = root,
				.level = (uint8_t)(level - 1) });
			continue;
		}
		out->present = true;
		out->upper = false;
		out->to = e & ADDR;
		out->rights = (uint8_t)rights;
		return 0;
	}
}

static struct model_amdvi_dma
use(struct model_amdvi *m, const struct tlb *e, uint64_t iova, bool write)
{
	struct model_amdvi_dma d = { .pr = e->present };

	if (!e->present || (e->rights & (write ? 2 : 1)) == 0) {
		d.code = E_PAGE_FAULT;
		return d;
	}
	d.pa = e->to | (iova & (BIT(e->lg2) - 1));
	if (d.pa >= 0xfee0'0000 && d.pa < 0xfef0'0000)
		amd_violate(m, "AMD-44: a translation leads to the interrupt range");
	if (m->unflushed)
		amd_violate(m, "AMD-25: a translation is used before everything was invalidated");
	if (fake_is_memory(d.pa, 1)) {
		enum frame_state s = frame_state_of((struct paddr){ d.pa });

		if (s != FRAME_USER && s != FRAME_QUARANTINED)
			amd_violate(m, "a device reaches a frame in state %u", s);
	}
	d.done = true;
	return d;
}

static bool
covers(const struct tlb *t, uint64_t iova)
{
	return t->used && iova >> t->lg2 == t->at >> t->lg2;
}

struct model_amdvi_dma
amd_access(struct model_amdvi *m, uint32_t rid, uint64_t iova, bool write)
{
	struct model_amdvi_dma d = { 0 };
	const struct entry *dte;
	struct tlb e;

	if (write && iova >= 0xfee0'0000 && iova < 0xfef0'0000) {
		d.interrupt = true;
		return d;
	}
	d.pa = iova;
	d.done = d.bypass = (m->control & 1) == 0 ||
	    ((m->excl_base & 1) != 0 && iova >= (m->excl_base & ADDR) &&
		iova <= (m->excl_limit | PAGE_MASK));
	if (d.done)
		return d;
	for (unsigned i = 0; i < CACHE; i++)	/* before the table, as some units do (AMD-82) */
		if (covers(&m->tlb[i], iova) && m->tlb[i].rid == rid)
			return use(m, &m->tlb[i], iova, write);
	dte = entry_of(m, rid);
	if (dte == NULL) {
		d.code = E_TABLE_HW;
		return d;
	}
	if ((dte->w[0] & V) == 0 || (dte->w[0] & MODE) == 0) {
		d.done = d.bypass = (dte->w[0] & V) == 0 || (dte->w[0] & (write ? IW : IR)) != 0;
		d.code = d.done ? 0 : E_PAGE_FAULT;
		return d;
	}
	if ((dte->w[0] & (write ? IW : IR)) == 0 ||
	    iova >> (12 + 9 * FIELD_GET(MODE, dte->w[0])) != 0) {
		d.code = E_PAGE_FAULT;
		return d;
	}
	for (unsigned i = 0; i < CACHE; i++)
		if (covers(&m->tlb[i], iova) && m->tlb[i].id == (dte->w[1] & 0xffff))
			return use(m, &m->tlb[i], iova, write);
	d.code = walk(m, dte, iova, &e);
	if (d.code != 0)
		return d;
	if (e.present || m->s.np_cache)
		tlb_put(m, e);
	return use(m, &e, iova, write);
}

/* ---- Devices that try all the time ---- */

void
amd_watch(struct model_amdvi *m)
{
	if (m->watching)
		return;
	m->watching = true;
	for (uint32_t i = 0; i < m->watches; i++)
		for (unsigned write = 0; write < 2; write++) {
			struct model_amdvi_dma d =
			    amd_access(m, m->watch[i].rid, m->watch[i].iova, write);

			m->windows += d.bypass &&
			    ((m->control & 1) == 0 ||
				((m->excl_base & 1) != 0 && !m->firmware_table));
			if (d.code != 0 && d.code != E_PAGE_FAULT)
				amd_violate(m, "requester %x at 0x%llx: event %u", m->watch[i].rid,
				    (unsigned long long)m->watch[i].iova, d.code);
		}
	m->watching = false;
}

/* ---- Invalidation ---- */

/* The range of an INVALIDATE_IOMMU_PAGES; len 0: everything. */
static void
range_of(uint64_t hi, uint64_t *base, uint64_t *len)
{
	unsigned bit = 12;

	*base = hi & BITS(63, 12);
	*len = PAGE_SIZE;
	if ((hi & 1) == 0)
		return;
	while (bit < 63 && (hi >> bit & 1) != 0)
		bit++;
	*len = bit >= 63 ? 0 : 1ull << (bit + 1);
	*base = *len == 0 ? 0 : align_down(*base, *len);
}

void
amd_apply(struct model_amdvi *m, uint64_t lo, uint64_t hi)
{
	unsigned op = (unsigned)(lo >> 60);
	uint32_t rid = (uint32_t)(lo & 0xffff), id = (uint32_t)(lo >> 32 & 0xffff);
	uint64_t base, len;
	bool pde = (hi & 2) != 0;

	range_of(hi, &base, &len);
	for (unsigned i = 0; i < CACHE; i++) {
		struct tlb *t = &m->tlb[i];
		struct upper *u = &m->upper[i];

		if (op == 8 || (op == 5 && m->irte[i].rid == rid))
			m->irte[i].used = false;
		if (op == 8 || (op == 2 && m->entry[i].rid == rid))
			m->entry[i].used = false;
		if (op == 8 || (op == 3 && t->id == id && (!t->upper || pde) &&
		    (len == 0 || ranges_overlap(t->at, BIT(t->lg2), base, len))))
			t->used = false;
		if (op == 8 ||
		    (op == 3 && u->id == id && pde &&
			(len == 0 || ranges_overlap(u->at, BIT(u->lg2), base, len))))
			u->used = false;
	}
	if (op == 8)
		m->unflushed = false;
}

bool
model_amdvi_reaches(struct model_amdvi *m, uint64_t page)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (m->tlb[i].used && m->tlb[i].present &&
		    ranges_overlap(m->tlb[i].to, BIT(m->tlb[i].lg2), page, PAGE_SIZE))
			return true;
	for (uint32_t i = 0; i < m->watches; i++)
		for (unsigned write = 0; write < 2; write++) {
			struct model_amdvi_dma d =
			    amd_access(m, m->watch[i].rid, m->watch[i].iova, write);

			if (d.done && align_down(d.pa, PAGE_SIZE) == page)
				return true;
		}
	return false;
}

/* Frames are about to be free: nothing of the unit may lead to them. */
void
amd_freed(struct model_amdvi *m, uint64_t pa, unsigned order)
{
	uint64_t len = PAGE_SIZE << order;

	if (m->table_set && ranges_overlap(m->devtab & ADDR, 2 * MIB, pa, len))
		amd_violate(m, "the device table is freed");
	for (unsigned i = 0; i < CACHE; i++) {
		const struct entry *e = &m->entry[i];

		if (e->used && (e->w[0] & MODE) != 0 && ranges_overlap(e->w[0] & ADDR, 1, pa, len))
			amd_violate(m,
			    "AMD-46: a table is freed that a cached entry of the device table leads to");
		if (m->upper[i].used && ranges_overlap(m->upper[i].table, 1, pa, len))
			amd_violate(m, "AMD-46: a table is freed that a cached entry leads to");
		if (m->tlb[i].used && m->tlb[i].present &&
		    ranges_overlap(m->tlb[i].to, BIT(m->tlb[i].lg2), pa, len))
			amd_violate(
			    m, "DMA-02: a frame is freed that a cached translation leads to");
	}
}
