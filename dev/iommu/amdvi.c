/*
 * AMD-Vi remapping unit, version 1 page tables: take-over, enabling, domains.
 *
 * A request carries a device id (bus, device, function).  The unit finds its entry in the device
 * table (amdvi_tables.c), and gets a domain id and the top of a page table (iopt.c).
 *
 * Take-over.  Bus masters are off by now (pci.c).  Firmware may have left the unit on.  It stays
 * on: the device table is replaced under it, and everything is invalidated, so that requests meet
 * firmware's table or ours and never none (BOOT-14).  Firmware's exclusion range, a hole in any
 * table, goes first.
 *
 * Order of probe (AMD-20 .. AMD-27)
 *   the unit's PCI function and its features judged; the table made, all blocked; exclusion range
 *   away; firmware's logs and command buffer stopped; device table; what firmware's table asks for;
 *   command buffer and event log; unit on; everything invalidated, and waited for; event log tried;
 *   everything invalidated once more, because the trial restarts the command buffer; read back
 * A unit that is refused gets the blocked table too, where that can still be reached.
 *
 * Shut     every entry becomes a blocked one, and all is invalidated.  The unit stays on.
 * Order    entry stored -> cleaned if the walker does not snoop -> invalidation queued -> ticket
 *          past -> frame,
 *            address and id may be used again.
 * Locks    a->lock (RANK_UNIT); see the other files.
 * Not here finding units (find_ivrs.c), domains (kern/dma/domain.c), interrupt remapping
 * (amdvi_irq.c).
 * Manual   AMD IOMMU 2 (architecture), 3 (registers).
 */
#include "dev/iommu/amdvi_unit.h"
#include "dev/iommu/fmt_amdv1.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/md/mmu.h"
#include "kern/panic.h"
#include "kern/pci.h"

/* ---- Registers ---- */

bool
amdvi_status(const struct amdvi *a, uint64_t bits, bool set, uint64_t wait_ns)
{
	uint64_t deadline = clock_now() + wait_ns;
	bool late = false;

	while (((unit_read64(a->regs, AMDVI_STATUS) & bits) != 0) != set) {
		if (late)
			return false;
		late = clock_now() > deadline;	/* one more look: we may have been asleep */
	}
	return true;
}

void
amdvi_control(struct amdvi *a, uint64_t bits, bool set)
{
	uint64_t now = unit_read64(a->regs, AMDVI_CONTROL);

	if ((now & bits) != (set ? bits : 0))
		unit_write64(a->regs, AMDVI_CONTROL, set ? now | bits : now & ~bits);
}

static bool
is_on(const struct amdvi *a, uint64_t bit)
{
	return (unit_read64(a->regs, AMDVI_CONTROL) & bit) != 0;
}

static uint64_t
devtab(const struct amdvi *a)
{
	return frame_of(a->table).v |
	    FIELD_PREP(DEVTAB_SIZE, AMDVI_IDS * sizeof(a->table[0]) / PAGE_SIZE - 1);
}

/* ---- Domains ---- */

/* An id that the unit has forgotten, or 0: all are in use, or waiting for their flush. */
static uint32_t
id_take(struct amdvi *a) REQUIRES(a->lock)
{
	uint32_t i = a->id_next;

	if (a->id_count == 0)
		return 0;
	if (!cmdring_past(&a->ring, (struct iommu_ticket){ a->id_ticket[i] })) {
		amdvi_send(a);
		amdvi_collect(a);
		if (!cmdring_past(&a->ring, (struct iommu_ticket){ a->id_ticket[i] }))
			return 0;
	}
	a->id_next = (uint16_t)((i + 1) % AMDVI_DOMAINS_MAX);
	a->id_count--;
	return a->id[i];
}

static void
id_give(struct amdvi *a, uint32_t id, struct iommu_ticket t) REQUIRES(a->lock)
{
	uint32_t i = (a->id_next + a->id_count) % AMDVI_DOMAINS_MAX;

	a->id[i] = (uint16_t)id;
	a->id_ticket[i] = t.seq;
	a->id_count++;
}

static enum status
amdvi_domain_init(struct iommu_domain *d)
{
	struct amdvi *a = amdvi_of(d->unit);
	bool dead;
	enum status s;

	amdvi_lock(a);
	d->tag = a->dead ? 0 : id_take(a);
	dead = a->dead;
	amdvi_unlock(a);
	if (d->tag == 0)
		return dead ? E_QUARANTINED : E_BUSY;
	s = iopt_init(amdvi_pt(d), &a->shape, d->quota);
	if (s != OK) {
		amdvi_lock(a);
		id_give(a, d->tag, (struct iommu_ticket){ 0 });
		amdvi_unlock(a);
		d->tag = 0;
		return s;
	}
	d->root = amdvi_pt(d)->root;
	d->table_pages = amdvi_pt(d)->table_pages;
	__atomic_fetch_add(&a->unit.domains, 1, __ATOMIC_RELAXED);
	return OK;
}

/*
 * The tables can go at once: the tickets of the detaches, which are past, covered every entry that
 * led to them and all translations of this id.  The id waits for a flush of its own all the same.
 */
static void
amdvi_domain_fini(struct iommu_domain *d)
{
	struct amdvi *a = amdvi_of(d->unit);
	bool dead;

	KASSERT(d->endpoints == 0 && d->tag != 0);
	amdvi_lock(a);
	dead = a->dead;
	if (!dead) {
		if (amdvi_room(a, 1))
			amdvi_put_domain(a, d->tag);
		id_give(a, d->tag, cmdring_ticket(&a->ring));
	}
	amdvi_unlock(a);
	if (dead)
		iopt_quarantine(amdvi_pt(d));
	else
		iopt_fini(amdvi_pt(d));
	d->tag = 0;
	d->root.v = 0;
	d->table_pages = 0;
	__atomic_fetch_sub(&a->unit.domains, 1, __ATOMIC_RELAXED);
}

static bool
is_special(uint64_t at, uint64_t len)
{
	return ranges_overlap(at, len, AMDVI_INTERRUPT_BASE, AMDVI_INTERRUPT_LEN) ||
	    ranges_overlap(at, len, AMDVI_HT_BASE, AMDVI_HT_LEN);
}

static enum status
amdvi_map(
    struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, enum iommu_rights rights)
{
	struct amdvi *a = amdvi_of(d->unit);
	enum status s;

	if (unlikely(load_relaxed(&a->unit.broken)))
		return E_QUARANTINED;
	if (!range_within(at.v, len, 0, BIT(a->unit.facts.iova_bits)) || to.v > UINT64_MAX - len)
		return E_RANGE;
	/* A request there is no memory access, whatever the tables say; and a translation must not
	 * lead there (AMD-44). */
	if (is_special(at.v, len) || is_special(to.v, len))
		return E_RANGE;
	s = iopt_map(amdvi_pt(d), at, to, len, (uint8_t)(rights & (IOMMU_READ | IOMMU_WRITE)));
	d->table_pages = amdvi_pt(d)->table_pages;
	return s;
}

static struct iommu_ticket
amdvi_sync(struct iommu_domain *d)
{
	struct amdvi *a = amdvi_of(d->unit);
	struct iommu_ticket t = { 0 };

	if (!a->np_cache)
		return t;
	amdvi_lock(a);
	if (amdvi_room(a, 1))
		amdvi_put_domain(a, d->tag);
	t = cmdring_ticket(&a->ring);
	amdvi_send(a);		/* the caller waits for it next: no batch will grow */
	amdvi_unlock(a);
	return t;
}

static struct iommu_ticket
amdvi_unmap(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct amdvi *a = amdvi_of(d->unit);
	struct iopt_cleared cleared;
	struct iommu_ticket t;
	enum status s = iopt_unmap(amdvi_pt(d), at, len, &cleared);

	KASSERT(s == OK);	/* the ledger says that it is mapped, just so */
	amdvi_lock(a);
	amdvi_flush_range(a, d->tag, at.v, len);
	t = cmdring_ticket(&a->ring);
	amdvi_unlock(a);
	return t;
}

/* Interrupts do not pass this unit as memory. */
static enum status
amdvi_map_doorbell(struct iommu_domain *d UNUSED, struct iova at UNUSED, struct paddr page UNUSED)
{
	return E_UNSUPPORTED;
}

/* No lock, and no other CPU runs. */
static void
amdvi_shut(struct iommu_unit *u) NO_THREAD_SAFETY
{
	struct amdvi *a = amdvi_of(u);
	struct iommu_ticket t;

	amdvi_block_all(a);
	if (a->dead)
		return;
	if (amdvi_room(a, AMDVI_FLUSH_ALL))
		amdvi_put_all(a);
	amdvi_send(a);
	t = cmdring_ticket(&a->ring);
	for (uint64_t deadline = clock_now() + AMDVI_ATTACH_WAIT_NS;
	    !a->dead && clock_now() < deadline;) {
		amdvi_collect(a);
		if (cmdring_past(&a->ring, t))
			return;
	}
}

static const struct iommu_ops amdvi_ops = {
	.domain_init = amdvi_domain_init,
	.domain_fini = amdvi_domain_fini,
	.attach = amdvi_attach,
	.detach = amdvi_detach,
	.map = amdvi_map,
	.sync = amdvi_sync,
	.unmap = amdvi_unmap,
	.map_doorbell = amdvi_map_doorbell,
	.ticket_poll = amdvi_ticket_poll,
	.drain_faults = amdvi_drain_faults,
	.quiet = amdvi_quiet,
	.shut = amdvi_shut,
};

/* ---- Probe ---- */

static enum status
refuse(const struct amdvi *a, const char *what)
{
	log_error("%s: refused: %s", a->unit.name, what);
	return E_UNSUPPORTED;
}

/*
 * The unit's own PCI function says whether absent entries are cached.  Where it is hidden, that is
 * assumed.  NULL: it agrees with firmware's table, or is not there (AMD-15).
 */
static const char *
judge_function(struct amdvi *a, const struct machine_iommu *mi)
{
	const struct pci_function *f = pci_find(mi->segment, mi->requester);
	uint32_t header;
	uint64_t base;

	a->np_cache = true;
	if (f == NULL)
		return NULL;
	if (mi->capability < 0x40 || mi->capability > 0x100 - 16 || (mi->capability & 3) != 0)
		return "firmware's table gives no place for its capability";
	header = pci_read(f, mi->capability, 4);
	if ((header & 0xff) != CAP_ID)
		return "its PCI function has no such capability";
	base = (uint64_t)pci_read(f, mi->capability + CAP_BASE_HIGH, 4) << 32 |
	    pci_read(f, mi->capability + CAP_BASE_LOW, 4);
	if (align_down(base, mi->len) != mi->base)
		return "its PCI function has its registers at another place";
	a->np_cache = (header & CAP_NP_CACHE) != 0;
	return NULL;
}

/* Stops what firmware left on, but for translation.  NULL: done. */
static const char *
stop_firmware(struct amdvi *a)
{
	static const uint64_t others[] = {
		CTL_EVTINT_EN,
		CTL_COMWAIT_INT,
		CTL_PPRINT_EN,
		CTL_PPRLOG_EN,
		CTL_PPR_EN,
		CTL_GAINT_EN,
		CTL_GALOG_EN,
		CTL_GT_EN,
		CTL_GA_EN,
	};

	unit_write64(a->regs, AMDVI_EXCL_BASE, 0);
	unit_write64(a->regs, AMDVI_EXCL_LIMIT, 0);
	amdvi_control(a, CTL_CMDBUF_EN, false);
	if (!amdvi_status(a, STS_CMD_RUN, false, AMDVI_PROBE_WAIT_NS))
		return "firmware's command buffer does not stop";
	amdvi_control(a, CTL_EVTLOG_EN, false);
	if (!amdvi_status(a, STS_EVT_RUN, false, AMDVI_PROBE_WAIT_NS))
		return "firmware's event log does not stop";
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		amdvi_control(a, others[i], false);
	return NULL;
}

static void
describe(struct amdvi *a, const struct machine_iommu *mi)
{
	struct iommu_facts *f = &a->unit.facts;

	*f = (struct iommu_facts){
		.page_sizes = BIT(12) | BIT(21) | BIT(30),
		.iova_bits = 12 + 9 * AMDVI_LEVELS,
		.output_bits = mi->host_width,
		.stage = 2,
		.coherent = (mi->ivhd_flags & IVHD_COHERENT) != 0,
		.write_only = true,
		.range_invalidation = true,
		.map_invalidates = a->np_cache,
		.domains_max = AMDVI_DOMAINS_MAX - 1,
		.hole = { { AMDVI_INTERRUPT_BASE, AMDVI_INTERRUPT_LEN },
		    { AMDVI_HT_BASE, AMDVI_HT_LEN } },
		.holes = 2,
	};
	a->shape = (struct iopt_shape){
		.format = &fmt_amdv1,
		.input_bits = f->iova_bits,
		.output_bits = f->output_bits,
		.coherent = f->coherent,
		.leaf_sizes = f->page_sizes,
		.flags = AMDV1_SNOOP,
	};
	fmt_buf(f->text, sizeof(f->text),
	    "AMD-Vi, %u levels, %u address bits, 4K/2M/1G, page invalidation%s", AMDVI_LEVELS,
	    f->iova_bits, a->np_cache ? ", caches absent entries" : "");
}

/* What firmware's table asks for [AMD-23]. */
static void
set_options(struct amdvi *a, uint8_t flags)
{
	static const struct { uint8_t flag; uint64_t bit;
	} option[] = {
		{ IVHD_HT_TUN, CTL_HT_TUN },
		{ IVHD_PASS_PW, CTL_PASS_PW },
		{ IVHD_RES_PASS_PW, CTL_RES_PASS_PW },
		{ IVHD_ISOC, CTL_ISOC },
		{ IVHD_COHERENT, CTL_COHERENT },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(option); i++)
		amdvi_control(a, option[i].bit, (flags & option[i].flag) != 0);
}

static bool
flush_all(struct amdvi *a)
{
	struct iommu_ticket t;

	amdvi_lock(a);
	if (amdvi_room(a, AMDVI_FLUSH_ALL))
		amdvi_put_all(a);
	amdvi_send(a);
	t = cmdring_ticket(&a->ring);
	amdvi_unlock(a);
	return unit_ticket_wait(&a->unit, t, AMDVI_PROBE_WAIT_NS) == OK;
}

/* From registers that are mapped to a unit that translates, all blocked.  NULL: done. */
static const char *
enable(struct amdvi *a, const struct machine_iommu *mi)
{
	const char *what = stop_firmware(a);
	bool queue, log;

	if (what != NULL)
		return what;
	amdvi_irq_prepare(a);
	amdvi_set_controllers(a);
	unit_write64(a->regs, AMDVI_DEVTAB, devtab(a));
	set_options(a, mi->ivhd_flags);
	amdvi_lock(a);
	queue = amdvi_queue_start(a);
	log = amdvi_events_start(a);
	amdvi_unlock(a);
	if (!queue || !log)
		return "its command buffer or event log does not stop";
	amdvi_control(a, CTL_IOMMU_EN, true);
	if (!amdvi_status(a, STS_CMD_RUN, true, AMDVI_PROBE_WAIT_NS))
		return "its command buffer does not start";
	if (!flush_all(a))
		return "an invalidation does not complete";
	/* A log that does not even say that it runs is not tried. */
	a->unit.facts.fault_log =
	    amdvi_status(a, STS_EVT_RUN, true, AMDVI_ATTACH_WAIT_NS) && amdvi_events_work(a);
	if (!flush_all(a))
		return "its command buffer does not come back after an error";
	if (unit_read64(a->regs, AMDVI_DEVTAB) != devtab(a) || !is_on(a, CTL_IOMMU_EN) ||
	    !is_on(a, CTL_CMDBUF_EN))
		return "its registers do not read back as written";
	amdvi_irq_start(a);
	return NULL;
}

/* A refused unit lets nothing through, as far as its registers obey. */
static void
block_everything(struct amdvi *a)
{
	bool done;

	unit_write64(a->regs, AMDVI_DEVTAB, devtab(a));
	amdvi_control(a, CTL_IOMMU_EN, true);
	/* What firmware's table left in its caches goes only with a command that it may not have.
	 */
	done = (a->efr & EFR_IA) != 0 &&
	    amdvi_status(a, STS_CMD_RUN, true, AMDVI_PROBE_WAIT_NS / 10) && flush_all(a);
	log_write(done ? LOG_INFO : LOG_ERROR, "%s: %s", a->unit.name,
	    done ? "all its devices are blocked" :
		   "its devices may not be blocked: bus mastering is off");
}

/* Up to memory for everything. */
static enum status
prepare(struct amdvi *a, const struct machine_iommu *mi)
{
	const char *what;
	enum status s;

	a->regs = mi->base == 0 ? NULL : mmu_map_device((struct paddr){ mi->base }, mi->len);
	if (a->regs == NULL)
		return refuse(a, "its registers cannot be mapped");
	a->efr = unit_read64(a->regs, AMDVI_EFR);
	if (a->efr == UINT64_MAX)
		return refuse(a, "its registers read as all ones");
	what = judge_function(a, mi);
	if (what != NULL)
		return refuse(a, what);
	describe(a, mi);
	s = amdvi_tables_init(a);
	if (s == OK)
		s = amdvi_queue_init(a);
	if (s == OK)
		s = amdvi_events_init(a);
	if (s != OK)
		log_error("%s: refused: no memory for its tables", a->unit.name);
	return s;
}

static enum status
amdvi_probe(const struct machine *m, uint32_t index)
{
	struct paddr p;
	struct amdvi *a;
	const char *what;
	enum status s = frame_alloc(AMDVI_ORDER, FRAME_KERNEL, FRAME_ZERO, &p);

	if (s != OK) {
		log_error("amdvi%u: refused: no memory", index);
		return s;
	}
	a = frame_ptr(p);
	lock_init(&a->lock, RANK_UNIT);
	a->unit = (struct iommu_unit){ .ops = &amdvi_ops, .index = index, .priv = a };
	a->machine = m;
	a->segment = m->iommu[index].segment;
	fmt_buf(a->unit.name, sizeof(a->unit.name), "amdvi%u", index);
	s = prepare(a, &m->iommu[index]);
	if (s != OK)
		return s;
	amdvi_lock(a);
	for (uint32_t id = 1; id < AMDVI_DOMAINS_MAX; id++)
		id_give(a, id, (struct iommu_ticket){ 0 });
	amdvi_unlock(a);
	/* Without it, what is lost to a full buffer could only be made good by 65536 commands
	 * (AMD-25). */
	what = (a->efr & EFR_IA) == 0 ? "no command to invalidate everything (EFR.IA)" :
					enable(a, &m->iommu[index]);
	if (what == NULL && iommu_register(&a->unit) != OK)
		what = "too many units";
	if (what != NULL) {
		s = refuse(a, what);
		block_everything(a);
		return s;
	}
	store_release(&a->registered, true);
	return OK;
}

const struct iommu_driver amdvi_driver = {
	.name = "amdvi", .kind = IOMMU_AMDVI, .probe = amdvi_probe
};
