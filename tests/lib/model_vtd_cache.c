/*
 * The VT-d model: contexts, walks, caches, devices.  See model_vtd.h.
 */
#include <string.h>

#include "tests/lib/model_vtd_state.h"

enum : uint64_t {
	CAP_RWBF = BIT(4),
	CAP_CM = BIT(7),
	CAP_SAGAW = BITS(12, 8),
	ECAP_PT = BIT(6),
	ECAP_SC = BIT(7)
};

/* Eight bytes of a structure in memory. */
uint64_t
cache_load(struct model_vtd *m, uint64_t pa)
{
	for (uint32_t i = 0; i < m->buffered_count; i++)
		if (m->buffered[i].pa == pa)
			return m->buffered[i].v;
	return fake_device_load(pa);
}

static bool
is_table(uint64_t pa)
{
	return fake_is_memory(pa, 8) && frame_state_of((struct paddr){ pa }) == FRAME_IOMMU;
}

/* ---- Contexts ---- */

static struct context *
context_put(struct model_vtd *m, struct context c)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->context[i].used) {
			m->context[i] = c;
			return &m->context[i];
		}
	violate(m, "the model's context cache is full");
	return &m->context[0];
}

static uint8_t
context_fetch(struct model_vtd *m, uint32_t sid, struct context *out)
{
	uint64_t root = m->root + (sid >> 8) * 16, lo, hi, table;

	*out = (struct context){ .used = true, .sid = sid };
	if (!is_table(root)) {
		violate(m, "VTD-40: the root table is not IOMMU memory");
		return R_ROOT;
	}
	lo = cache_load(m, root);
	hi = cache_load(m, root + 8);
	if ((lo & 1) == 0)
		return R_ROOT_P;
	if ((lo & BITS(11, 1)) != 0 || hi != 0)
		return R_ROOT_RSVD;
	table = lo & BITS(63, 12);
	if (!is_table(table))
		return R_CTX;
	lo = cache_load(m, table + (sid & 0xff) * 16);
	hi = cache_load(m, table + (sid & 0xff) * 16 + 8);
	if ((lo & 1) == 0)
		return R_CTX_P;
	if ((lo & BITS(11, 4)) != 0 || (hi & ~(BITS(2, 0) | BITS(6, 3) | BITS(23, 8))) != 0)
		return R_CTX_RSVD;
	out->present = true;
	out->table = lo & BITS(63, 12);
	out->levels = (unsigned)(hi & 7) + 2;
	out->did = (uint32_t)FIELD_GET(BITS(23, 8), hi);
	if ((FIELD_GET(CAP_SAGAW, m->cap) >> (hi & 7) & 1) == 0)
		return R_CTX_INVALID;
	switch (FIELD_GET(BITS(3, 2), lo)) {
	case 0:
		break;
	case 2:
		if ((m->ecap & ECAP_PT) == 0)
			return R_CTX_INVALID;
		if (!m->firmware_root)
			violate(m, "D1: a pass-through context");
		out->pass = true;
		return 0;
	default:
		return R_CTX_INVALID;
	}
	if ((lo & 2) != 0)
		violate(m, "VTD-41: faults are switched off (FPD)");
	if (out->did == 0 || out->did >= 1u << (4 + 2 * (m->cap & 7)))
		violate(m, "VTD-43: domain id %u", out->did);
	for (unsigned i = 0; i < CACHE; i++) {
		const struct context *c = &m->context[i];

		if (c->used && c->present && !c->pass && c->did == out->did &&
		    c->table != out->table)
			violate(
			    m, "VTD-43: domain id %u has two tables at the same time", out->did);
		if ((m->tlb[i].used && m->tlb[i].did == out->did && m->tlb[i].root != out->table) ||
		    (m->upper[i].used && m->upper[i].did == out->did &&
			m->upper[i].root != out->table))
			violate(m, "VTD-43: domain id %u is used again before its flush", out->did);
	}
	return 0;
}

static struct context *
context_of(struct model_vtd *m, uint32_t sid)
{
	struct context c;

	for (unsigned i = 0; i < CACHE; i++)
		if (m->context[i].used && m->context[i].sid == sid)
			return &m->context[i];
	c.reason = 0;
	{
		uint8_t reason = context_fetch(m, sid, &c);

		c.reason = reason;
		if (reason != 0) {
			static struct context refused;

			c.present = false;
			c.did = 0;
			if ((m->cap & CAP_CM) ==
			    0) { /* faulting entries are cached in caching mode only */
				refused = c;
				return &refused;
			}
		}
	}
	return context_put(m, c);
}

/* ---- Walks ---- */

static void
tlb_put(struct model_vtd *m, struct tlb e)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->tlb[i].used) {
			m->tlb[i] = e;
			return;
		}
	violate(m, "the model's IOTLB is full");
}

static void
upper_put(struct model_vtd *m, struct upper e)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (m->upper[i].used && m->upper[i].did == e.did && m->upper[i].at == e.at &&
		    m->upper[i].lg2 == e.lg2)
			return;
	for (unsigned i = 0; i < CACHE; i++)
		if (!m->upper[i].used) {
			m->upper[i] = e;
			return;
		}
	violate(m, "the model's paging-structure cache is full");
}

/* Fills *out; 0 or a reason. */
static uint8_t
walk(struct model_vtd *m, const struct context *c, uint64_t iova, bool write, struct tlb *out)
{
	uint64_t table = c->table, rights = 3;
	unsigned level = c->levels, host = m->s.host_width;

	/* The deepest upper-level entry that is cached is where the walk begins. */
	for (unsigned i = 0; i < CACHE; i++) {
		const struct upper *u = &m->upper[i];

		if (u->used && u->did == c->did && (iova >> u->lg2) == (u->at >> u->lg2) &&
		    (u->lg2 - 12u) / 9 < level) {
			level = (u->lg2 - 12u) / 9;
			table = u->table;
			rights = u->rights;
		}
	}
	for (;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t at = table + (iova >> shift & 511) * 8, e;
		bool leaf;

		if (!is_table(at)) {
			violate(m, "a walk reads memory that is no table");
			return R_TABLE;
		}
		e = cache_load(m, at);
		*out = (struct tlb){ .used = true,
			.sid = c->sid,
			.did = c->did,
			.at = align_down(iova, BIT(shift)),
			.lg2 = (uint8_t)shift,
			.root = c->table };
		if ((e & 3) == 0)
			return write ? R_WRITE : R_READ;
		leaf = level == 1 || (e & BIT(7)) != 0;
		if ((e & (BITS(6, 2) | BITS(10, 8) | BITS(63, 52))) != 0 ||
		    (level == 1 && (e & BIT(7)) != 0) ||
		    ((e & BIT(11)) != 0 && (!leaf || (m->ecap & ECAP_SC) == 0)) ||
		    (leaf && level > 1 && (level > 3 || (m->cap >> (34 + level - 2) & 1) == 0)) ||
		    (leaf && (e & BITS(51, 12) & (BIT(shift) - 1)) != 0) ||
		    (e & BITS(51, 12)) >> host != 0)
			return R_PTE_RSVD;
		rights &= e;
		if (!leaf) {
			table = e & BITS(51, 12);
			upper_put(m,
			    (struct upper){ .used = true,
				.did = c->did,
				.at = align_down(iova, BIT(shift)),
				.lg2 = (uint8_t)shift,
				.table = table,
				.rights = (uint8_t)rights,
				.root = c->table });
			continue;
		}
		out->present = true;
		out->to = e & BITS(51, 12);
		out->rights = (uint8_t)rights;
		return 0;
	}
}

static struct model_vtd_dma
use(struct model_vtd *m, const struct tlb *e, uint64_t iova, bool write)
{
	struct model_vtd_dma d = { 0 };

	if (!e->present || (e->rights & (write ? 2 : 1)) == 0) {
		d.reason = write ? R_WRITE : R_READ;
		return d;
	}
	d.pa = e->to | (iova & (BIT(e->lg2) - 1));
	if (d.pa >= 0xfee0'0000 && d.pa < 0xfef0'0000) {
		violate(m, "VTD-55: a translation leads to the interrupt range");
		d.reason = R_INTERRUPT;
		return d;
	}
	if (fake_is_memory(d.pa, 1)) {
		enum frame_state s = frame_state_of((struct paddr){ d.pa });

		if (s != FRAME_USER && s != FRAME_QUARANTINED)
			violate(m, "a device reaches a frame in state %u", s);
	}
	d.done = true;
	return d;
}

struct model_vtd_dma
cache_access(struct model_vtd *m, uint32_t sid, uint64_t iova, bool write)
{
	struct model_vtd_dma d = { 0 };
	const struct context *c;
	struct tlb e;
	uint8_t reason;

	if (write && iova >= 0xfee0'0000 && iova < 0xfef0'0000) {
		d.interrupt = true;
		return d;
	}
	if ((m->gsts >> 31 & 1) == 0) {
		d.done = d.bypass = true;
		d.pa = iova;
		return d;
	}
	for (unsigned i = 0; i < CACHE; i++)	/* before the context, as some units do (VTD-110) */
		if (m->tlb[i].used && m->tlb[i].sid == sid &&
		    iova >> m->tlb[i].lg2 == m->tlb[i].at >> m->tlb[i].lg2)
			return use(m, &m->tlb[i], iova, write);
	c = context_of(m, sid);
	if (c->reason != 0) {
		d.reason = c->reason;
		return d;
	}
	if (c->pass) {
		d.done = d.bypass = true;
		d.pa = iova;
		return d;
	}
	if (iova >> min_u64(FIELD_GET(BITS(21, 16), m->cap) + 1, 12 + 9 * c->levels) != 0) {
		d.reason = R_MGAW;
		return d;
	}
	for (unsigned i = 0; i < CACHE; i++)
		if (m->tlb[i].used && m->tlb[i].did == c->did &&
		    iova >> m->tlb[i].lg2 == m->tlb[i].at >> m->tlb[i].lg2)
			return use(m, &m->tlb[i], iova, write);
	reason = walk(m, c, iova, write, &e);
	if (reason == 0 || ((m->cap & CAP_CM) != 0 && reason != R_TABLE))
		tlb_put(m, e);
	if (reason == 0)
		return use(m, &e, iova, write);
	d.reason = reason;
	return d;
}

/* ---- Devices that try all the time ---- */

static void
judge(struct model_vtd *m, const struct watch *w, struct model_vtd_dma d)
{
	if (d.bypass && (m->gsts >> 31 & 1) == 0)
		m->windows++;
	switch (d.reason) {
	case 0: case R_ROOT_P: case R_CTX_P: case R_MGAW: case R_WRITE: case R_READ:
		return;
	}
	violate(m, "requester %x at 0x%llx: a torn or malformed entry (reason %u)", w->sid,
	    (unsigned long long)w->iova, d.reason);
}

void
cache_watch(struct model_vtd *m)
{
	if (m->watching)
		return;
	m->watching = true;
	for (uint32_t i = 0; i < m->watches; i++)
		for (unsigned write = 0; write < 2; write++)
			judge(m, &m->watch[i],
			    cache_access(m, m->watch[i].sid, m->watch[i].iova, write));
	m->watching = false;
}

/* The entry of a requester as software last stored it. */
void
model_vtd_context(struct model_vtd *m, uint32_t sid, uint64_t out[2])
{
	const uint64_t *root, *table;

	out[0] = out[1] = 0;
	if (!m->root_set || m->firmware_root)
		return;
	root = frame_ptr((struct paddr){ m->root + (sid >> 8) * 16 });
	if ((root[0] & 1) == 0)
		return;
	table = frame_ptr((struct paddr){ (root[0] & BITS(63, 12)) + (sid & 0xff) * 16 });
	out[0] = table[0];
	out[1] = table[1];
}

void
cache_stored(struct model_vtd *m)
{
	for (uint32_t i = 0; i < m->watches; i++) {
		struct watch *w = &m->watch[i];
		uint64_t e[2];

		model_vtd_context(m, w->sid, e);
		if (w->may_hold && (e[1] != w->hi || ((e[0] & 1) != 0 && e[0] != w->lo)))
			violate(m, "VTD-45: requester %x: its entry changed while it may be cached",
			    w->sid);
		if ((e[0] & 1) != 0) {
			w->may_hold = true;
			w->lo = e[0];
			w->hi = e[1];
		}
	}
	cache_watch(m);
}

/* ---- Invalidation ---- */

void
cache_apply(struct model_vtd *m, uint64_t lo, uint64_t hi)
{
	unsigned gran = (unsigned)FIELD_GET(BITS(5, 4), lo);
	uint32_t did = (uint32_t)FIELD_GET(BITS(31, 16), lo),
		 sid = (uint32_t)FIELD_GET(BITS(47, 32), lo);
	uint64_t base = hi & BITS(63, 12), len = PAGE_SIZE << (hi & 0x3f);

	for (unsigned i = 0; i < CACHE; i++) {
		struct context *c = &m->context[i];
		struct tlb *t = &m->tlb[i];
		struct upper *u = &m->upper[i];

		if ((lo & 15) == 1) {
			if (gran == 1 || (c->did == did && (gran == 2 || c->sid == sid)))
				c->used = false;
			continue;
		}
		if (gran == 1 || (gran == 2 && t->did == did) ||
		    (gran == 3 && t->did == did && ranges_overlap(t->at, BIT(t->lg2), base, len)))
			t->used = false;
		if (gran == 1 || (gran == 2 && u->did == did) ||
		    (gran == 3 && (hi & BIT(6)) == 0 && u->did == did &&
			ranges_overlap(u->at, BIT(u->lg2), base, len)))
			u->used = false;
	}
	if ((lo & 15) == 1) {
		if (gran == 1)
			m->need_context_flush = false;
		for (uint32_t i = 0; i < m->watches; i++) {
			struct watch *w = &m->watch[i];
			uint64_t e[2];

			model_vtd_context(m, w->sid, e);
			if ((e[0] & 1) == 0 &&
			    (gran == 1 ||
				(gran == 3 && w->sid == sid &&
				    FIELD_GET(BITS(23, 8), w->hi) == did)))
				w->may_hold = false;
		}
	} else if (gran == 1 && !m->need_context_flush) {
		m->need_iotlb_flush = false;
	}
}

bool
model_vtd_reaches(struct model_vtd *m, uint64_t page)
{
	for (unsigned i = 0; i < CACHE; i++)
		if (m->tlb[i].used && m->tlb[i].present &&
		    ranges_overlap(m->tlb[i].to, BIT(m->tlb[i].lg2), page, PAGE_SIZE))
			return true;
	for (uint32_t i = 0; i < m->watches; i++)
		for (unsigned write = 0; write < 2; write++) {
			struct model_vtd_dma d =
			    cache_access(m, m->watch[i].sid, m->watch[i].iova, write);

			if (d.done && align_down(d.pa, PAGE_SIZE) == page)
				return true;
		}
	return false;
}

/* Frames are about to be free: nothing of the unit may lead to them. */
void
cache_freed(struct model_vtd *m, uint64_t pa, unsigned order)
{
	uint64_t len = PAGE_SIZE << order;

	if (m->root_set && ranges_overlap(m->root, 1, pa, len))
		violate(m, "the root table is freed");
	for (unsigned i = 0; i < CACHE; i++) {
		const struct context *c = &m->context[i];

		if (c->used && c->present && !c->pass && ranges_overlap(c->table, 1, pa, len))
			violate(m, "VTD-56: a table is freed that a cached context leads to");
		if (m->upper[i].used && ranges_overlap(m->upper[i].table, 1, pa, len))
			violate(m, "VTD-56: a table is freed that a cached entry leads to");
		if (m->tlb[i].used && m->tlb[i].present &&
		    ranges_overlap(m->tlb[i].to, BIT(m->tlb[i].lg2), pa, len))
			violate(m, "DMA-02: a frame is freed that a cached translation leads to");
	}
}
