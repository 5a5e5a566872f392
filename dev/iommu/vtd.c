/*
 * VT-d remapping unit, legacy mode.
 *
 * A request carries a source id (bus, device, function).  The unit finds it in the root table, then in a context table,
 * and gets a domain id and the top of a second-stage table.  The walk itself is dev/iommu/iopt.c.
 *
 * Order    entry stored -> cleaned if the walker does not snoop -> invalidation queued -> a wait descriptor behind it
 *          stores its number to memory -> frame, address and domain id may be used again.
 * Take-over  bus masters are off (pci.c).  A unit that firmware left translating gets the new root pointer under
 *          way (SRTP with TE set), so it is never off in between (BOOT-14).
 * Locks    unit lock (RANK_UNIT): ring, IQT, context tables, domain ids.
 * Not here finding units (find_dmar.c), domains (kern/dma/domain.c), interrupt remapping.
 * Manual   Intel VT-d: 3 (translation), 6 (invalidation), 7 (faults), 11 (registers).
 */
#include "dev/iommu/fmt_vtdss.h"
#include "dev/iommu/iopt.h"
#include "dev/iommu/unit_io.h"
#include "dev/iommu/vtd_reg.h"
#include "kern/base/fmt.h"
#include "kern/dma/iommu.h"
#include "kern/frame.h"
#include "kern/irq.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"

enum { RING = 256, IDS_MAX = 4096, PAGES_AT_ONCE = 64 };
enum : uint64_t { PROBE_NS = 100 * NS_PER_MS, SYNC_NS = 10 * NS_PER_MS };

struct vtd {
	struct iommu_unit unit;
	struct spinlock lock;
	volatile uint8_t *regs;
	uint64_t cap, ecap;
	uint32_t fault_base, fault_count;
	struct vtd_entry *root;			/* 256 */
	struct vtd_entry *ring;			/* (l) */
	uint32_t tail;				/* (l) index */
	uint64_t issued;			/* (l) waits queued */
	volatile uint32_t *done;		/* what the last wait stored */
	uint64_t past;				/* (l) waits known to be past */
	uint64_t ids[IDS_MAX / 64];		/* (l) domain ids in use */
	uint32_t id_count;
	uint8_t aw, levels;
	bool coherent;
	struct iopt_shape shape;
};

static struct vtd vtds[MACHINE_IOMMU_MAX];

static struct iopt *iopt_of(struct iommu_domain *d) { return (struct iopt *)(void *)d->priv; }
static struct vtd *vtd_of(struct iommu_unit *u) { return u->priv; }
static_assert(sizeof(struct iopt) <= sizeof(((struct iommu_domain *)0)->priv));

static void
visible(const struct vtd *v, const void *p, size_t len)
{
	if (!v->coherent)
		cache_clean(p, len);
}

static bool
wait_status(struct vtd *v, uint32_t bit, bool set)
{
	uint64_t until = clock_now() + PROBE_NS;

	while (((unit_read32(v->regs, VTD_GSTS) & bit) != 0) != set)
		if (clock_now() > until)
			return false;
	return true;
}

/* Exactly one bit changes; one-shot bits are never written back (VTD-24). */
static bool
command(struct vtd *v, uint32_t bit, bool on)
{
	uint32_t s = unit_read32(v->regs, VTD_GSTS) & GSTS_KEEP;

	unit_write32(v->regs, VTD_GCMD, on ? s | bit : s & ~bit);
	return wait_status(v, bit, on);
}

/* Hardware that buffers its writes needs them flushed before it relies on tables (VTD-67). */
static void
write_buffer_flush(struct vtd *v)
{
	if ((v->cap & CAP_RWBF) == 0)
		return;
	unit_write32(v->regs, VTD_GCMD, (unit_read32(v->regs, VTD_GSTS) & GSTS_KEEP) | GCMD_WBF);
	(void)wait_status(v, GCMD_WBF, false);
}

/* --- the queue --------------------------------------------------------------- */

/* Advances past by what the hardware stored: the low 32 bits of the last wait's number. */
static void
refresh(struct vtd *v) REQUIRES(v->lock)
{
	uint32_t now = once_load(v->done);

	v->past += (uint32_t)(now - (uint32_t)v->past);
	io_collect();
}

static uint32_t
ring_free(struct vtd *v) REQUIRES(v->lock)
{
	uint32_t head = (uint32_t)(unit_read64(v->regs, VTD_IQH) >> 4) % RING;

	return (head + RING - v->tail - 1) % RING;
}

static void
put(struct vtd *v, uint64_t lo, uint64_t hi) REQUIRES(v->lock)
{
	v->ring[v->tail] = (struct vtd_entry){ lo, hi };
	visible(v, &v->ring[v->tail], sizeof(v->ring[0]));
	v->tail = (v->tail + 1) % RING;
}

/* Queues n descriptors (n < 8) and a wait behind them; one register write.  On a full queue that does not move the unit is
 * broken, and the ticket never comes past. */
static struct iommu_ticket
submit(struct vtd *v, const struct vtd_entry *e, unsigned n) REQUIRES(v->lock)
{
	/* Space by our own count first: the register is only read when the ring may be full. */
	if (v->issued - v->past > RING / 10)
		refresh(v);
	if (v->issued - v->past > RING / 10 && ring_free(v) < n + 1) {
		uint64_t until = clock_now() + SYNC_NS;

		while (ring_free(v) < n + 1) {
			if (clock_now() > until) {
				v->unit.counters.errors++;
				v->unit.broken = true;
				return (struct iommu_ticket){ UINT64_MAX };
			}
		}
	}
	for (unsigned i = 0; i < n; i++)
		put(v, e[i].lo, e[i].hi);
	v->issued++;
	put(v, QI_WAIT | QI_WAIT_SW | QI_WAIT_FN | FIELD_PREP(QI_WAIT_DATA, v->issued & 0xffffffff),
	    frame_of((const void *)(uintptr_t)v->done).v);
	io_publish();
	unit_write64(v->regs, VTD_IQT, (uint64_t)v->tail << 4);
	v->unit.counters.invalidations += n;
	v->unit.counters.syncs++;
	return (struct iommu_ticket){ v->issued };
}

/* Queue errors: a descriptor that the unit refuses is our own mistake; what was queued behind it is unknown. */
static bool
queue_broken(struct vtd *v)
{
	uint32_t s = unit_read32(v->regs, VTD_FSTS);

	return (s & (FSTS_IQE | FSTS_ICE | FSTS_ITE)) != 0;
}

static enum status
vtd_ticket_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	struct vtd *v = vtd_of(u);
	enum status s = OK;

	if (t.seq == 0)
		return OK;
	spin_lock(&v->lock);
	if (t.seq > v->past)
		refresh(v);
	if (t.seq > v->past)
		s = u->broken || t.seq == UINT64_MAX ? E_QUARANTINED : E_WOULD_BLOCK;
	spin_unlock(&v->lock);
	if (s == E_WOULD_BLOCK && queue_broken(v)) {
		iommu_mark_broken(u, "invalidation queue error");
		s = E_QUARANTINED;
	}
	return s;
}

/* For attach and probe, which are in force on return. */
static enum status
wait_past(struct vtd *v, struct iommu_ticket t)
{
	uint64_t until = clock_now() + SYNC_NS;
	enum status s;

	while ((s = vtd_ticket_poll(&v->unit, t)) == E_WOULD_BLOCK) {
		if (clock_now() > until) {
			iommu_mark_broken(&v->unit, "invalidation did not complete");
			return E_QUARANTINED;
		}
	}
	return s;
}

static struct vtd_entry
iotlb(const struct vtd *v, uint64_t granularity, uint32_t did, uint64_t at, unsigned mask)
{
	return (struct vtd_entry){
		QI_IOTLB | FIELD_PREP(QI_GRAN, granularity) | FIELD_PREP(QI_DID, did) |
		    ((v->cap & CAP_DWD) != 0 ? QI_DW : 0) | ((v->cap & CAP_DRD) != 0 ? QI_DR : 0),
		at | mask,
	};
}

static struct vtd_entry
context_cache(uint64_t granularity, uint32_t did, uint32_t sid)
{
	return (struct vtd_entry){
		QI_CONTEXT | FIELD_PREP(QI_GRAN, granularity) | FIELD_PREP(QI_DID, did) | FIELD_PREP(QI_SID, sid), 0,
	};
}

/* --- domains ----------------------------------------------------------------- */

static enum status
vtd_domain_init(struct iommu_domain *d)
{
	struct vtd *v = vtd_of(d->unit);
	struct iopt *t = iopt_of(d);
	enum status s;

	if (d->unit->broken)
		return E_QUARANTINED;
	spin_lock(&v->lock);
	for (uint32_t id = 1; id < v->id_count; id++) {		/* 0 is reserved where CM is set */
		if ((v->ids[id / 64] & BIT(id % 64)) == 0) {
			v->ids[id / 64] |= BIT(id % 64);
			d->tag = id;
			break;
		}
	}
	spin_unlock(&v->lock);
	if (d->tag == 0)
		return E_BUSY;
	s = iopt_init(t, &v->shape, d->quota);
	if (s != OK) {
		spin_lock(&v->lock);
		v->ids[d->tag / 64] &= ~BIT(d->tag % 64);
		spin_unlock(&v->lock);
		return s;
	}
	d->root = t->root;
	d->table_pages = t->table_pages;
	__atomic_fetch_add(&d->unit->domains, 1, __ATOMIC_RELAXED);
	return OK;
}

static void
vtd_domain_fini(struct iommu_domain *d)
{
	struct vtd *v = vtd_of(d->unit);
	struct vtd_entry e = iotlb(v, GRAN_DOMAIN, d->tag, 0, 0);
	struct iommu_ticket t;
	bool clean;

	KASSERT(d->endpoints == 0);
	spin_lock(&v->lock);
	t = submit(v, &e, 1);
	spin_unlock(&v->lock);
	clean = wait_past(v, t) == OK;		/* paging-structure caches: a flush of the whole id */
	if (clean)
		iopt_fini(iopt_of(d));
	else
		iopt_quarantine(iopt_of(d));
	if (clean) {
		spin_lock(&v->lock);
		v->ids[d->tag / 64] &= ~BIT(d->tag % 64);
		spin_unlock(&v->lock);
	}
	__atomic_fetch_sub(&d->unit->domains, 1, __ATOMIC_RELAXED);
}

/* The context entry of a source id; makes the bus's table. */
static struct vtd_entry *
context_of(struct vtd *v, uint32_t sid) REQUIRES(v->lock)
{
	struct vtd_entry *r = &v->root[sid >> 8 & 0xff], *c;
	struct paddr p;

	if ((r->lo & 1) == 0) {
		if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
			return NULL;
		visible(v, frame_ptr(p), PAGE_SIZE);
		io_publish();
		once_store(&r->lo, p.v | 1);
		visible(v, r, sizeof(*r));
	}
	c = frame_ptr((struct paddr){ r->lo & BITS(63, 12) });
	return &c[sid & 0xff];
}

static enum status
vtd_attach(struct iommu_domain *d, uint32_t endpoint)
{
	struct vtd *v = vtd_of(d->unit);
	struct vtd_entry flush[2];
	struct vtd_entry *c;
	struct iommu_ticket t = { 0 };

	if (endpoint > 0xffff)
		return E_RANGE;
	if (d->unit->broken)
		return E_QUARANTINED;
	spin_lock(&v->lock);
	c = context_of(v, endpoint);
	if (c == NULL || (c->lo & CTX_P) != 0) {
		spin_unlock(&v->lock);
		return c == NULL ? E_NO_MEMORY : E_BUSY;
	}
	/* High half first, present bit last, each in one store (VTD-44). */
	once_store(&c->hi, FIELD_PREP(CTX_DID, d->tag) | FIELD_PREP(CTX_AW, v->aw));
	io_publish();
	visible(v, c, sizeof(*c));
	once_store(&c->lo, d->root.v | CTX_P);
	visible(v, c, sizeof(*c));
	/* Where absent entries may be cached, they go; elsewhere this costs one wait at a rare moment. */
	flush[0] = context_cache(GRAN_FINE, (v->cap & CAP_CM) != 0 ? 0 : d->tag, endpoint);
	flush[1] = iotlb(v, GRAN_DOMAIN, d->tag, 0, 0);
	t = submit(v, &flush[0], 1);
	t = submit(v, &flush[1], 1);
	spin_unlock(&v->lock);
	write_buffer_flush(v);
	d->endpoints++;
	__atomic_fetch_add(&d->unit->endpoints, 1, __ATOMIC_RELAXED);
	return wait_past(v, t);
}

static struct iommu_ticket
vtd_detach(struct iommu_domain *d, uint32_t endpoint)
{
	struct vtd *v = vtd_of(d->unit);
	struct vtd_entry flush[2];
	struct vtd_entry *c;
	struct iommu_ticket t;

	spin_lock(&v->lock);
	c = context_of(v, endpoint);
	if (c != NULL && (c->lo & CTX_P) != 0 && FIELD_GET(CTX_DID, c->hi) == d->tag) {
		once_store(&c->lo, c->lo & ~CTX_P);
		visible(v, c, sizeof(*c));
		d->endpoints--;
		__atomic_fetch_sub(&d->unit->endpoints, 1, __ATOMIC_RELAXED);
	}
	/* Context cache first, then translations: the wait between them keeps the order (VTD-45, 65). */
	flush[0] = context_cache(GRAN_FINE, d->tag, endpoint);
	flush[1] = iotlb(v, GRAN_DOMAIN, d->tag, 0, 0);
	(void)submit(v, &flush[0], 1);
	t = submit(v, &flush[1], 1);
	spin_unlock(&v->lock);
	return t;
}

static bool
overlaps_interrupts(uint64_t at, uint64_t len)
{
	return ranges_overlap(at, len, 0xfee00000, MIB);
}

static enum status
vtd_map(struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, enum iommu_rights r)
{
	enum status s;

	/* Writes there are interrupts before they are translated (VTD-55). */
	if (overlaps_interrupts(at.v, len) || overlaps_interrupts(to.v, len))
		return E_REFUSED;
	s = iopt_map(iopt_of(d), at, to, len, r);
	d->table_pages = iopt_of(d)->table_pages;
	return s;
}

static struct iommu_ticket
flush_range(struct vtd *v, uint32_t did, uint64_t at, uint64_t len)
{
	struct vtd_entry e;
	uint64_t pages = len / PAGE_SIZE;
	unsigned mask = log2_ceil(pages);
	struct iommu_ticket t;

	/* A page-selective command covers an aligned power of two: grow it until it holds the range. */
	while ((at >> (12 + mask)) != ((at + len - 1) >> (12 + mask)))
		mask++;
	if ((v->cap & CAP_PSI) != 0 && mask <= FIELD_GET(CAP_MAMV, v->cap) && pages <= PAGES_AT_ONCE * 512)
		e = iotlb(v, GRAN_FINE, did, at >> (12 + mask) << (12 + mask), mask);
	else
		e = iotlb(v, GRAN_DOMAIN, did, 0, 0);
	spin_lock(&v->lock);
	t = submit(v, &e, 1);
	spin_unlock(&v->lock);
	return t;
}

static struct iommu_ticket
vtd_sync(struct iommu_domain *d)
{
	struct vtd *v = vtd_of(d->unit);
	struct vtd_entry e = iotlb(v, GRAN_DOMAIN, d->tag, 0, 0);
	struct iommu_ticket t;

	if (!d->unit->facts.map_invalidates)
		return (struct iommu_ticket){ 0 };
	write_buffer_flush(v);
	spin_lock(&v->lock);
	t = submit(v, &e, 1);
	spin_unlock(&v->lock);
	(void)wait_past(v, t);
	return t;
}

static struct iommu_ticket
vtd_unmap(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct iopt_cleared cleared;

	/* The ledger only unmaps what it mapped; a refusal leaves the range to a flush of the whole domain. */
	if (iopt_unmap(iopt_of(d), at, len, &cleared) != OK)
		iommu_mark_broken(d->unit, "a grant is not in its tables");
	return flush_range(vtd_of(d->unit), d->tag, at.v, len);
}

static enum status
vtd_map_doorbell(struct iommu_domain *d UNUSED, struct iova at UNUSED, struct paddr page UNUSED)
{
	return E_UNSUPPORTED;
}

/* --- faults ------------------------------------------------------------------ */

static enum dma_fault_kind
kind_of(uint32_t reason)
{
	switch (reason) {
	case 1: case 2:
		return FAULT_BLOCKED;
	case 4:
		return FAULT_ADDRESS;
	case 5: case 6:
		return FAULT_NOT_MAPPED;	/* no right is no entry here: R and W are the present bits */
	case 3: case 7: case 8: case 9: case 0xa: case 0xb: case 0xc:
		return FAULT_CONFIG;
	case 0xd:
		return FAULT_TRANSLATED;
	case 0xe: case 0x20: case 0x21: case 0x22: case 0x23: case 0x24: case 0x25: case 0x26:
		return FAULT_INTERRUPT;
	}
	return FAULT_OTHER;
}

static uint32_t
vtd_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost)
{
	struct vtd *v = vtd_of(u);
	uint32_t status = unit_read32(v->regs, VTD_FSTS), n = 0;
	uint32_t first = status >> 8 & 0xff;

	if ((status & FSTS_PFO) != 0)
		*lost = true;
	for (uint32_t i = 0; i < v->fault_count && n < max; i++) {
		uint32_t r = v->fault_base + 16 * ((first + i) % v->fault_count);
		uint64_t hi = unit_read64(v->regs, r + 8);
		uint32_t reason;

		if ((hi & FR_F) == 0)
			break;
		reason = (uint32_t)FIELD_GET(FR_REASON, hi);
		out[n++] = (struct dma_fault){
			.iova = unit_read64(v->regs, r) & ~PAGE_MASK, .endpoint = (uint32_t)FIELD_GET(FR_SID, hi), .code = reason,
			.kind = kind_of(reason), .write = (hi & FR_READ) == 0, .address_valid = reason < 0x20,
		};
		unit_write32(v->regs, r + 12, (uint32_t)(FR_F >> 32));
	}
	if ((status & (FSTS_PFO | FSTS_PPF)) != 0)
		unit_write32(v->regs, VTD_FSTS, FSTS_PFO);
	return n;
}

static void
fault_interrupt(void *arg)
{
	iommu_fault_pending(arg);
}

static void
vtd_shut(struct iommu_unit *u)
{
	struct vtd *v = vtd_of(u);

	/* An empty root: everything is blocked once the caches forget, and bus mastering is off. */
	for (unsigned i = 0; i < 256; i++)
		once_store(&v->root[i].lo, 0);
	visible(v, v->root, PAGE_SIZE);
}

static const struct iommu_ops vtd_ops = {
	.domain_init = vtd_domain_init, .domain_fini = vtd_domain_fini, .attach = vtd_attach, .detach = vtd_detach,
	.map = vtd_map, .sync = vtd_sync, .unmap = vtd_unmap, .map_doorbell = vtd_map_doorbell,
	.ticket_poll = vtd_ticket_poll, .drain_faults = vtd_drain_faults, .shut = vtd_shut,
};

/* --- probe ------------------------------------------------------------------- */

static enum status
refuse(uint32_t index, const char *what)
{
	log_error("vtd%u: refused: %s", index, what);
	return E_UNSUPPORTED;
}

static enum status
vtd_probe(const struct machine *m, uint32_t index)
{
	const struct machine_iommu *mi = &m->iommu[index];
	struct vtd *v = &vtds[index];
	struct iommu_unit *u = &v->unit;
	struct vtd_entry all[2];
	struct irqc_message msg;
	struct paddr p;
	uint64_t len;
	uint32_t sagaw;

	v->regs = mmu_map_device((struct paddr){ mi->base }, PAGE_SIZE);
	if (v->regs == NULL)
		return E_NO_MEMORY;
	v->cap = unit_read64(v->regs, VTD_CAP);
	v->ecap = unit_read64(v->regs, VTD_ECAP);
	if (unit_read32(v->regs, VTD_VER) == UINT32_MAX || v->cap == UINT64_MAX)
		return refuse(index, "its registers read as all ones");
	if ((v->ecap & ECAP_QI) == 0)
		return refuse(index, "no queued invalidation");
	sagaw = (uint32_t)FIELD_GET(CAP_SAGAW, v->cap);
	if ((sagaw & 4) != 0) {
		v->aw = 2;
		v->levels = 4;
	} else if ((sagaw & 2) != 0) {
		v->aw = 1;
		v->levels = 3;
	} else {
		return refuse(index, "neither three nor four levels of page tables");
	}
	v->fault_base = (uint32_t)FIELD_GET(CAP_FRO, v->cap) * 16;
	v->fault_count = (uint32_t)FIELD_GET(CAP_NFR, v->cap) + 1;
	len = align_up(v->fault_base + v->fault_count * 16ull, PAGE_SIZE);
	if (len > PAGE_SIZE) {
		v->regs = mmu_map_device((struct paddr){ mi->base }, len);
		if (v->regs == NULL)
			return E_NO_MEMORY;
	}
	v->coherent = (v->ecap & ECAP_C) != 0;
	v->id_count = (uint32_t)min_u64(1ull << (4 + 2 * FIELD_GET(CAP_ND, v->cap)), IDS_MAX);
	lock_init(&v->lock, RANK_UNIT);

	/* Empty tables: every source id is blocked. */
	if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
		return E_NO_MEMORY;
	v->root = frame_ptr(p);
	visible(v, v->root, PAGE_SIZE);
	if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
		return E_NO_MEMORY;
	v->ring = frame_ptr(p);
	if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
		return E_NO_MEMORY;
	v->done = frame_ptr(p);

	*u = (struct iommu_unit){
		.ops = &vtd_ops, .index = index, .priv = v,
		.facts = {
			.page_sizes = BIT(12) | ((v->cap & CAP_SLLPS_2M) != 0 ? BIT(21) : 0) |
			    ((v->cap & CAP_SLLPS_1G) != 0 ? BIT(30) : 0),
			.iova_bits = (uint8_t)min_u64(v->levels == 4 ? 48 : 39, FIELD_GET(CAP_MGAW, v->cap) + 1),
			.output_bits = mi->host_width >= 32 && mi->host_width <= 52 ? mi->host_width : 39, .stage = 2,
			.coherent = v->coherent, .write_only = true, .range_invalidation = (v->cap & CAP_PSI) != 0,
			.map_invalidates = (v->cap & (CAP_CM | CAP_RWBF)) != 0, .fault_log = true, .domains_max = v->id_count - 1,
		},
	};
	v->shape = (struct iopt_shape){
		.format = &fmt_vtdss, .input_bits = u->facts.iova_bits, .output_bits = u->facts.output_bits,
		.coherent = v->coherent, .leaf_sizes = u->facts.page_sizes,
	};
	fmt_buf(u->name, sizeof(u->name), "vtd%u", index);
	fmt_buf(u->facts.text, sizeof(u->facts.text), "VT-d %u.%u, second stage, %u levels, 4K%s%s, %s%s%s",
	    unit_read32(v->regs, VTD_VER) >> 4 & 15, unit_read32(v->regs, VTD_VER) & 15, v->levels,
	    (v->cap & CAP_SLLPS_2M) != 0 ? "/2M" : "", (v->cap & CAP_SLLPS_1G) != 0 ? "/1G" : "",
	    u->facts.range_invalidation ? "page-selective invalidation" : "domain invalidation",
	    (v->cap & CAP_CM) != 0 ? ", caching mode" : "", (v->cap & CAP_RWBF) != 0 ? ", write buffer" : "");

	/* Firmware's queue, if any, ends first; its translation, if any, goes on until ours takes its place. */
	unit_write32(v->regs, VTD_FECTL, FECTL_IM);
	if ((unit_read32(v->regs, VTD_GSTS) & GCMD_IRE) != 0 && !command(v, GCMD_IRE, false))
		return refuse(index, "firmware's interrupt remapping does not stop");
	if ((unit_read32(v->regs, VTD_GSTS) & GCMD_QIE) != 0 && !command(v, GCMD_QIE, false))
		return refuse(index, "firmware's queue does not stop");
	unit_write64(v->regs, VTD_IQT, 0);
	unit_write64(v->regs, VTD_IQA, frame_of(v->ring).v);		/* 256 descriptors */
	if (!command(v, GCMD_QIE, true))
		return refuse(index, "the invalidation queue does not start");
	write_buffer_flush(v);
	unit_write64(v->regs, VTD_RTADDR, frame_of(v->root).v);
	unit_write32(v->regs, VTD_GCMD, (unit_read32(v->regs, VTD_GSTS) & GSTS_KEEP) | GCMD_SRTP);
	if (!wait_status(v, GCMD_SRTP, true))
		return refuse(index, "the root table pointer is not taken");
	all[0] = context_cache(GRAN_GLOBAL, 0, 0);
	all[1] = iotlb(v, GRAN_GLOBAL, 0, 0, 0);
	spin_lock(&v->lock);
	(void)submit(v, &all[0], 1);
	{
		struct iommu_ticket t = submit(v, &all[1], 1);

		spin_unlock(&v->lock);
		if (wait_past(v, t) != OK)
			return refuse(index, "an invalidation round trip did not complete");
	}
	/* Old fault records and sticky bits. */
	for (uint32_t i = 0; i < v->fault_count; i++)
		unit_write32(v->regs, v->fault_base + 16 * i + 12, (uint32_t)(FR_F >> 32));
	unit_write32(v->regs, VTD_FSTS, FSTS_PFO | FSTS_IQE | FSTS_ICE | FSTS_ITE);
	if (irq_claim_message(fault_interrupt, u, u->name, &msg) == OK) {
		unit_write32(v->regs, VTD_FEDATA, msg.data);
		unit_write32(v->regs, VTD_FEADDR, (uint32_t)msg.address);
		unit_write32(v->regs, VTD_FEUADDR, (uint32_t)(msg.address >> 32));
		unit_write32(v->regs, VTD_FECTL, 0);
		(void)unit_read32(v->regs, VTD_FECTL);
	}
	if (!command(v, GCMD_TE, true))
		return refuse(index, "translation does not start");
	/* Only now: until translation is on, protected memory regions are firmware's guard (VTD-35). */
	if ((unit_read32(v->regs, VTD_PMEN) & PMEN_PRS) != 0) {
		uint64_t until = clock_now() + PROBE_NS;

		unit_write32(v->regs, VTD_PMEN, 0);
		while ((unit_read32(v->regs, VTD_PMEN) & PMEN_PRS) != 0 && clock_now() < until)
			;
	}
	/* Programmed: read back. */
	if ((unit_read64(v->regs, VTD_RTADDR) & ~PAGE_MASK) != frame_of(v->root).v)
		return refuse(index, "the root table pointer reads back otherwise");
	return iommu_register(u);
}

const struct iommu_driver vtd_driver = { .name = "vtd", .kind = IOMMU_VTD, .probe = vtd_probe };
