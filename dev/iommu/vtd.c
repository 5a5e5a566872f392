/*
 * VT-d remapping unit, legacy mode: take-over, enabling, domains.
 *
 * A request carries a source id (bus, device, function).  The unit finds it in the root table, then
 * in a context table (vtd_tables.c), and gets a domain id and the top of a second-stage table
 * (iopt.c).
 *
 * Take-over.  Bus masters are off by now (pci.c).  Firmware may have left translation, a queue or
 * interrupt remapping on.  Translation stays on: the root pointer is replaced under it, and both
 * caches are flushed, so that requests meet firmware's tables or ours and never none (BOOT-14).
 * Only when firmware used another table mode must it go off first, which the manual demands; that
 * is logged.
 *
 * Order of probe (VTD-30 .. VTD-36)
 *   for every unit   registers judged; fault records cleared; tables made, all blocked; firmware's
 *                    interrupt remapping and queue stopped; our queue on.  All units first, for
 *                    chips that hang when one is flushed while another has no queue (VTD-33)
 *   then for each    write buffer; root pointer; contexts flushed, then translations; fault
 *                    interrupt; translation on; protected memory regions off; read back; interrupt
 *                    remapping (vtd_irq.c)
 * A unit that is refused blocks everything, where that can still be reached.
 *
 * Shut     the root pointer goes to an empty table, and all is flushed.  Translation stays on.
 * Order    entry stored -> cleaned if the walker does not snoop -> write buffer flushed if there is
 *          one
 *            -> invalidation queued -> ticket past -> frame, address and id may be used again.
 * Locks    v->lock (RANK_UNIT); see the other files.
 * Not here finding units (find_dmar.c), domains (kern/dma/domain.c).
 * Manual   Intel VT-d 3 (translation), 6 (invalidation), 11 (registers).
 */
#include "dev/iommu/fmt_vtdss.h"
#include "dev/iommu/vtd_unit.h"
#include "kern/dma/irqmap.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"

/* ---- Registers ---- */

bool
vtd_status(const struct vtd *v, uint32_t bit, bool set, uint64_t wait_ns)
{
	uint64_t deadline = clock_now() + wait_ns;
	bool late = false;

	while (((unit_read32(v->regs, VTD_GSTS) & bit) != 0) != set) {
		if (late)
			return false;
		late = clock_now() > deadline;	/* one more look: we may have been asleep */
	}
	return true;
}

void
vtd_command(const struct vtd *v, uint32_t bit, bool set)
{
	uint32_t now = unit_read32(v->regs, VTD_GSTS) & GSTS_KEEP;

	unit_write32(v->regs, VTD_GCMD, set ? now | bit : now & ~bit);
}

static bool
command_wait(const struct vtd *v, uint32_t bit, bool set)
{
	vtd_command(v, bit, set);
	return vtd_status(v, bit, set, VTD_PROBE_WAIT_NS);
}

static bool
is_on(const struct vtd *v, uint32_t bit)
{
	return (unit_read32(v->regs, VTD_GSTS) & bit) != 0;
}

/* Legacy mode; the caches still hold what they hold. */
static bool
set_root(const struct vtd *v, struct paddr root)
{
	if (v->write_buffer &&
	    (vtd_command(v, GCMD_WBF, true), !vtd_status(v, GCMD_WBF, false, VTD_PROBE_WAIT_NS)))
		return false;
	unit_write64(v->regs, VTD_RTADDR, root.v);
	return command_wait(v, GCMD_SRTP, true);
}

/* ---- Domains ---- */

/* An id that the unit has forgotten, or 0: all are in use, or waiting for their flush. */
static uint32_t
did_take(struct vtd *v) REQUIRES(v->lock)
{
	uint32_t i = v->did_next;

	if (v->did_count == 0)
		return 0;
	if (!cmdring_past(&v->ring, (struct iommu_ticket){ v->did_ticket[i] })) {
		vtd_send(v);
		vtd_collect(v);
		if (!cmdring_past(&v->ring, (struct iommu_ticket){ v->did_ticket[i] }))
			return 0;
	}
	v->did_next = (uint16_t)((i + 1) % VTD_DIDS_MAX);
	v->did_count--;
	return v->did[i];
}

static void
did_give(struct vtd *v, uint32_t did, struct iommu_ticket t) REQUIRES(v->lock)
{
	uint32_t i = (v->did_next + v->did_count) % VTD_DIDS_MAX;

	v->did[i] = (uint16_t)did;
	v->did_ticket[i] = t.seq;
	v->did_count++;
}

static enum status
vtd_domain_init(struct iommu_domain *d)
{
	struct vtd *v = vtd_of(d->unit);
	bool dead;
	enum status s;

	vtd_lock(v);
	d->tag = v->dead ? 0 : did_take(v);
	dead = v->dead;
	vtd_unlock(v);
	if (d->tag == 0)
		return dead ? E_QUARANTINED : E_BUSY;
	s = iopt_init(vtd_pt(d), &v->shape, d->quota);
	if (s != OK) {
		vtd_lock(v);
		did_give(v, d->tag, (struct iommu_ticket){ 0 });
		vtd_unlock(v);
		d->tag = 0;
		return s;
	}
	d->root = vtd_pt(d)->root;
	d->table_pages = vtd_pt(d)->table_pages;
	__atomic_fetch_add(&v->unit.domains, 1, __ATOMIC_RELAXED);
	return OK;
}

/*
 * The tables can go at once: the tickets of the detaches, which are past, covered every context
 * that led to them and every entry of this id.  The id waits for a flush of its own all the same.
 */
static void
vtd_domain_fini(struct iommu_domain *d)
{
	struct vtd *v = vtd_of(d->unit);
	bool dead;

	KASSERT(d->endpoints == 0 && d->tag != 0);
	vtd_lock(v);
	dead = v->dead;
	if (!dead) {
		if (vtd_room(v, 1))
			vtd_put_domain(v, d->tag);
		did_give(v, d->tag, cmdring_ticket(&v->ring));
	}
	vtd_unlock(v);
	if (dead)
		iopt_quarantine(vtd_pt(d));
	else
		iopt_fini(vtd_pt(d));
	d->tag = 0;
	d->root.v = 0;
	d->table_pages = 0;
	__atomic_fetch_sub(&v->unit.domains, 1, __ATOMIC_RELAXED);
}

/* One of two ranges, which do not wrap. */
static ALWAYS_INLINE bool
is_interrupt_range(uint64_t a, uint64_t b, uint64_t len)
{
	static_assert((VTD_INTERRUPT_BASE & (VTD_INTERRUPT_LEN - 1)) == 0);
	if (likely(len == PAGE_SIZE))	/* it lies in one block of that size */
		return (a & -VTD_INTERRUPT_LEN) == VTD_INTERRUPT_BASE ||
		    (b & -VTD_INTERRUPT_LEN) == VTD_INTERRUPT_BASE;
	return ranges_overlap(a, len, VTD_INTERRUPT_BASE, VTD_INTERRUPT_LEN) ||
	    ranges_overlap(b, len, VTD_INTERRUPT_BASE, VTD_INTERRUPT_LEN);
}

static enum status
vtd_map(
    struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, enum iommu_rights rights)
{
	struct vtd *v = vtd_of(d->unit);
	enum status s;

	if (unlikely(load_relaxed(&v->unit.broken)))
		return E_QUARANTINED;
	if (!range_within(at.v, len, 0, BIT(v->unit.facts.iova_bits)) || to.v > UINT64_MAX - len)
		return E_RANGE;
	/* A request there is an interrupt, whatever the tables say; and a translation must not lead
	 * there (VTD-55). */
	if (is_interrupt_range(at.v, to.v, len))
		return E_RANGE;
	s = iopt_map(vtd_pt(d), at, to, len, (uint8_t)(rights & (IOMMU_READ | IOMMU_WRITE)));
	d->table_pages = vtd_pt(d)->table_pages;
	return s;
}

static struct iommu_ticket
vtd_sync(struct iommu_domain *d)
{
	struct vtd *v = vtd_of(d->unit);
	struct iommu_ticket t = { 0 };

	if (!v->unit.facts.map_invalidates)
		return t;
	vtd_lock(v);
	vtd_write_buffer(v);
	if (v->caching || v->dead) {
		if (vtd_room(v, 1))
			vtd_put_domain(v, d->tag);
		t = cmdring_ticket(&v->ring);
		vtd_send(v);		/* the caller waits for it next: no batch will grow */
	}
	vtd_unlock(v);
	return t;
}

static NOINLINE void
clear(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct iopt_cleared cleared;
	enum status s = iopt_unmap(vtd_pt(d), at, len, &cleared);

	KASSERT(s == OK);	/* the ledger says that it is mapped, just so */
}

static struct iommu_ticket
vtd_unmap(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct vtd *v = vtd_of(d->unit);
	struct iommu_ticket t;

	if (unlikely(!iopt_unmap_near(vtd_pt(d), at, len)))
		clear(d, at, len);
	vtd_lock(v);
	if (unlikely(v->write_buffer))
		vtd_write_buffer(v);
	vtd_flush_range(v, d->tag, at.v, len);
	t = cmdring_ticket(&v->ring);
	vtd_unlock(v);
	return t;
}

/* Interrupts do not pass this unit as memory. */
static enum status
vtd_map_doorbell(struct iommu_domain *d UNUSED, struct iova at UNUSED, struct paddr page UNUSED)
{
	return E_UNSUPPORTED;
}

/* No lock, and no other CPU runs. */
static void
vtd_shut(struct iommu_unit *u) NO_THREAD_SAFETY
{
	struct vtd *v = vtd_of(u);
	struct iommu_ticket t;

	(void)set_root(v, v->deny);
	if (v->dead)
		return;
	if (vtd_room(v, VTD_FLUSH_ALL))
		vtd_put_all(v);
	vtd_send(v);
	t = cmdring_ticket(&v->ring);
	for (uint64_t deadline = clock_now() + VTD_ATTACH_WAIT_NS;
	    !v->dead && clock_now() < deadline;) {
		vtd_collect(v);
		if (cmdring_past(&v->ring, t))
			return;
	}
}

static const struct iommu_ops vtd_ops = {
	.domain_init = vtd_domain_init,
	.domain_fini = vtd_domain_fini,
	.attach = vtd_attach,
	.detach = vtd_detach,
	.map = vtd_map,
	.sync = vtd_sync,
	.unmap = vtd_unmap,
	.map_doorbell = vtd_map_doorbell,
	.ticket_poll = vtd_ticket_poll,
	.drain_faults = vtd_drain_faults,
	.quiet = vtd_quiet,
	.shut = vtd_shut,
};

/* ---- Probe ---- */

static enum status
refuse(const struct vtd *v, const char *what)
{
	log_error("%s: refused: %s", v->unit.name, what);
	return E_UNSUPPORTED;
}

/* Both caches, through registers: for units without a queue. */
static bool
flush_by_register(const struct vtd *v)
{
	uint32_t iotlb = (uint32_t)FIELD_GET(ECAP_IRO, v->ecap) * 16 + VTD_IOTLB_OFFSET;
	uint64_t deadline = clock_now() + VTD_PROBE_WAIT_NS;

	unit_write64(v->regs, VTD_CCMD, CCMD_ICC | CCMD_GLOBAL);
	while ((unit_read64(v->regs, VTD_CCMD) & CCMD_ICC) != 0)
		if (clock_now() > deadline)
			return false;
	unit_write64(v->regs, iotlb, IOTLB_IVT | IOTLB_GLOBAL);
	while ((unit_read64(v->regs, iotlb) & IOTLB_IVT) != 0)
		if (clock_now() > deadline)
			return false;
	return true;
}

static bool
flush_all(struct vtd *v)
{
	struct iommu_ticket t;

	if (!v->queue)
		return flush_by_register(v);
	vtd_lock(v);
	if (vtd_room(v, VTD_FLUSH_ALL))
		vtd_put_all(v);
	vtd_send(v);
	t = cmdring_ticket(&v->ring);
	vtd_unlock(v);
	return unit_ticket_wait(&v->unit, t, VTD_PROBE_WAIT_NS) == OK;
}

/* A refused unit lets nothing through, as far as its registers obey. */
static void
block_everything(struct vtd *v)
{
	bool done = set_root(v, v->deny) && flush_all(v) &&
	    (is_on(v, GCMD_TE) || command_wait(v, GCMD_TE, true));

	log_write(done ? LOG_INFO : LOG_ERROR, "%s: %s", v->unit.name,
	    done ? "all its devices are blocked" :
		   "its devices cannot be blocked: only bus mastering is off");
}

/* Capabilities [VTD-21, 22, 30, 42].  NULL: all there. */
static const char *
missing(const struct vtd *v, uint8_t host_width)
{
	uint64_t sagaw = FIELD_GET(CAP_SAGAW, v->cap);

	if ((sagaw & 0xe) == 0)
		return "no page tables of 3, 4 or 5 levels (CAP.SAGAW)";
	if ((v->ecap & ECAP_QI) == 0)
		return "no queued invalidation (ECAP.QI)";
	if (host_width < 32 || host_width > 52)
		return "firmware states no usable address width (DMAR)";
	return NULL;
}

/* Stops what firmware left on, but for translation.  NULL: done. */
static const char *
stop_firmware(struct vtd *v)
{
	uint64_t deadline;

	if (is_on(v, GCMD_IRE) && !command_wait(v, GCMD_IRE, false))
		return "firmware's interrupt remapping does not stop";
	if (is_on(v, GCMD_EAFL) && !command_wait(v, GCMD_EAFL, false))
		return "firmware's fault log does not stop";
	if (is_on(v, GCMD_QIE)) {
		/* A queue that stopped on an error never gets empty. */
		deadline = clock_now() + VTD_PROBE_WAIT_NS / 10;
		while (unit_read64(v->regs, VTD_IQH) != unit_read64(v->regs, VTD_IQT) &&
		    clock_now() < deadline)
			;
		if (!command_wait(v, GCMD_QIE, false))
			return "firmware's invalidation queue does not stop";
	}
	return NULL;
}

static enum status
queue_start(struct vtd *v)
{
	unsigned order = VTD_RING_LG2 + 4 - (unsigned)PAGE_SHIFT;
	struct paddr ring;
	enum status s;

	s = frame_alloc(order, FRAME_IOMMU, FRAME_ZERO, &ring);
	if (s == OK)
		s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &v->status_at);
	if (s != OK) {
		log_error("%s: refused: no memory for its queue", v->unit.name);
		return s;
	}
	v->status = frame_ptr(v->status_at);
	unit_clean(frame_ptr(ring), PAGE_SIZE << order, v->coherent);
	unit_clean(v->status, PAGE_SIZE, v->coherent);
	unit_publish();
	cmdring_init(&v->ring, frame_ptr(ring), VTD_RING_LG2, CMDRING_PLAIN, v->coherent);
	/* An error that firmware's queue stopped on would stop ours. */
	unit_write32(v->regs, VTD_FSTS, FSTS_IQE | FSTS_ICE | FSTS_ITE);
	unit_write64(v->regs, VTD_IQT, 0);
	unit_write64(v->regs, VTD_IQA, ring.v | FIELD_PREP(IQA_QS, order));
	if (!command_wait(v, GCMD_QIE, true))
		return refuse(v, "its invalidation queue does not start");
	v->queue = true;
	return OK;
}

static void
describe(struct vtd *v, uint32_t version, uint8_t host_width)
{
	struct iommu_facts *f = &v->unit.facts;
	uint64_t sagaw = FIELD_GET(CAP_SAGAW, v->cap);

	v->coherent = (v->ecap & ECAP_C) != 0;
	v->caching = (v->cap & CAP_CM) != 0;
	v->write_buffer = (v->cap & CAP_RWBF) != 0;
	/* Four levels where they are: the most common, and enough for any device. */
	v->levels = (sagaw & 4) != 0 ? 4 : (sagaw & 2) != 0 ? 3 : 5;
	v->dids = (uint32_t)min_u64(1ull << (4 + 2 * FIELD_GET(CAP_ND, v->cap)), VTD_DIDS_MAX);
	v->faults_at = (uint32_t)FIELD_GET(CAP_FRO, v->cap) * 16;
	v->faults = (uint32_t)FIELD_GET(CAP_NFR, v->cap) + 1;
	*f = (struct iommu_facts){
		.page_sizes = BIT(12) | ((v->cap & CAP_SLLPS_2M) != 0 ? BIT(21) : 0) |
		    ((v->cap & CAP_SLLPS_1G) != 0 ? BIT(30) : 0),
		.iova_bits = (uint8_t)min_u64(12 + 9 * v->levels, FIELD_GET(CAP_MGAW, v->cap) + 1),
		.output_bits = host_width,
		.stage = 2,
		.coherent = v->coherent,
		.write_only = true,
		.range_invalidation = (v->cap & CAP_PSI) != 0,
		.map_invalidates = v->caching || v->write_buffer,
		.fault_log = true,
		.domains_max = v->dids - 1,
		.hole = { { VTD_INTERRUPT_BASE, VTD_INTERRUPT_LEN } },
		.holes = 1,
	};
	v->shape = (struct iopt_shape){
		.format = &fmt_vtdss,
		.input_bits = (uint8_t)(12 + 9 * v->levels),
		.output_bits = f->output_bits,
		.coherent = v->coherent,
		.leaf_sizes = f->page_sizes,
		.flags = (v->ecap & ECAP_SC) != 0 ? VTDSS_SNOOP : 0,
	};
	fmt_buf(f->text, sizeof(f->text),
	    "VT-d %u.%u, %u levels, %u address bits, 4K%s%s, %s invalidation%s%s%s%s",
	    version >> 4 & 15, version & 15, v->levels, f->iova_bits,
	    (f->page_sizes & BIT(21)) != 0 ? "/2M" : "",
	    (f->page_sizes & BIT(30)) != 0 ? "/1G" : "", f->range_invalidation ? "page" : "domain",
	    v->caching ? ", caching mode" : "", v->write_buffer ? ", write buffer" : "",
	    (v->cap & (CAP_DWD | CAP_DRD)) == (CAP_DWD | CAP_DRD) ? ", drains" : "",
	    (v->ecap & ECAP_SC) != 0 ? ", snoop control" : "");
}

/* The first half of probe: up to a queue that runs. */
static enum status
prepare(struct vtd *v, const struct machine_iommu *mi)
{
	uint32_t version;
	const char *what;
	uint64_t len;
	enum status s;

	v->regs = mi->base == 0 ? NULL : mmu_map_device((struct paddr){ mi->base }, PAGE_SIZE);
	if (v->regs == NULL)
		return refuse(v, "its registers cannot be mapped");
	version = unit_read32(v->regs, VTD_VER);
	v->cap = unit_read64(v->regs, VTD_CAP);
	v->ecap = unit_read64(v->regs, VTD_ECAP);
	if (version == UINT32_MAX || (v->cap == UINT64_MAX && v->ecap == UINT64_MAX))
		return refuse(v, "its registers read as all ones");
	describe(v, version, mi->host_width);
	len = max_u64(
	    v->faults_at + FR_BYTES * (uint64_t)v->faults, FIELD_GET(ECAP_IRO, v->ecap) * 16 + 16);
	if (len > PAGE_SIZE)
		v->regs = mmu_map_device((struct paddr){ mi->base }, align_up(len, PAGE_SIZE));
	if (v->regs == NULL)
		return refuse(v, "its fault records cannot be mapped");
	vtd_faults_clear(v);
	s = vtd_tables_init(v);
	if (s != OK) {
		log_error("%s: refused: no memory for its tables", v->unit.name);
		return s;
	}
	what = stop_firmware(v);
	if (what != NULL)
		return refuse(v, what);
	what = missing(v, mi->host_width);
	if (what != NULL)
		s = refuse(v, what);
	else
		s = queue_start(v);
	if (s != OK)
		block_everything(v);
	return s;
}

/* Protected memory regions were the guard while translation was off; now they would only lose
 * requests (VTD-36). */
static bool
regions_off(const struct vtd *v)
{
	uint64_t deadline = clock_now() + VTD_PROBE_WAIT_NS;

	if ((v->cap & (CAP_PLMR | CAP_PHMR)) == 0)
		return true;
	unit_write32(v->regs, VTD_PMEN, unit_read32(v->regs, VTD_PMEN) & ~(uint32_t)PMEN_EPM);
	while ((unit_read32(v->regs, VTD_PMEN) & PMEN_PRS) != 0)
		if (clock_now() > deadline)
			return false;
	return true;
}

/* The second half: from a queue that runs to a unit that translates, all blocked.  NULL: done. */
static const char *
enable(struct vtd *v)
{
	struct paddr root = frame_of(v->root);

	if (is_on(v, GCMD_TE) && (unit_read64(v->regs, VTD_RTADDR) & RTADDR_TTM) != 0) {
		log_warn(
		    "%s: firmware's tables are of another mode: translation goes off for a moment, bus mastering is off",
		    v->unit.name);
		if (!command_wait(v, GCMD_TE, false))
			return "firmware's translation does not stop";
	}
	if (!set_root(v, root))
		return "it does not take the root table";
	if (!flush_all(v))
		return "an invalidation does not complete";
	vtd_faults_start(v);
	if (!is_on(v, GCMD_TE) && !command_wait(v, GCMD_TE, true))
		return "translation does not start";
	if (!regions_off(v))
		return "its protected memory regions do not go off (PMEN)";
	if (unit_read64(v->regs, VTD_RTADDR) != root.v || !is_on(v, GCMD_TE) || !is_on(v, GCMD_QIE))
		return "its registers do not read back as written";
	return NULL;
}

/* Made once for each machine: see the order of probe. */
static struct {
	const struct machine *machine;
	const char *no_remapping;	/* why not; NULL: every unit can */
	bool wide_ids;
	struct vtd *unit[MACHINE_IOMMU_MAX];
	enum status status[MACHINE_IOMMU_MAX];
} all;

/* All units or none, and no I/O APIC silenced: see vtd_irq.c. */
static void
judge_remapping(const struct machine *m)
{
	all.no_remapping =
	    irqmap_ioapics_known(m) ? NULL : "firmware does not tell the id of every I/O APIC";
	all.wide_ids = irqc_wide_ids();
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		if (m->iommu[i].kind != IOMMU_VTD || all.status[i] != OK ||
		    (all.unit[i]->ecap & ECAP_IR) == 0)
			all.no_remapping = "not every unit can (ECAP.IR)";
		else if (!m->iommu[i].intr_remap)
			all.no_remapping = "firmware does not offer it (DMAR)";
		else if ((all.unit[i]->ecap & ECAP_EIM) == 0 || m->iommu[i].x2apic_opt_out)
			all.wide_ids = false;
	}
}

static void
prepare_all(const struct machine *m)
{
	all.machine = m;
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		struct paddr p;
		struct vtd *v;

		if (m->iommu[i].kind != IOMMU_VTD)
			continue;
		all.status[i] = frame_alloc(VTD_ORDER, FRAME_KERNEL, FRAME_ZERO, &p);
		if (all.status[i] != OK) {
			log_error("vtd%u: refused: no memory", i);
			continue;
		}
		v = all.unit[i] = frame_ptr(p);
		lock_init(&v->lock, RANK_UNIT);
		v->unit = (struct iommu_unit){ .ops = &vtd_ops, .index = i, .priv = v };
		fmt_buf(v->unit.name, sizeof(v->unit.name), "vtd%u", i);
		all.status[i] = prepare(v, &m->iommu[i]);
	}
	judge_remapping(m);
}

static enum status
vtd_probe(const struct machine *m, uint32_t index)
{
	struct vtd *v;
	const char *what;
	enum status s;

	if (all.machine != m)
		prepare_all(m);
	if (all.status[index] != OK)
		return all.status[index];
	v = all.unit[index];
	vtd_lock(v);
	for (uint32_t did = 1; did < v->dids; did++)
		did_give(v, did, (struct iommu_ticket){ 0 });
	vtd_unlock(v);
	vtd_reserved_init(v, m, m->iommu[index].segment);
	what = enable(v);
	if (what != NULL) {
		s = refuse(v, what);
		block_everything(v);
		return s;
	}
	vtd_irq_start(v, all.wide_ids, all.no_remapping);
	s = iommu_register(&v->unit);
	if (s != OK) {
		log_error("%s: refused: too many units", v->unit.name);
		block_everything(v);
		return s;
	}
	store_release(&v->registered, true);
	return OK;
}

const struct iommu_driver vtd_driver = { .name = "vtd", .kind = IOMMU_VTD, .probe = vtd_probe };
