/*
 * virtio-iommu: take-over, domains.
 *
 * The unit is a device that keeps its tables itself: it is told of domains, endpoints and mappings
 * by requests (viommu_queue.c), and answers each.  It is a PCI function of its own, the one
 * function that the kernel lets master the bus.
 *
 * Take-over (VIO-26).  Bus masters are off.  A unit may begin with "who is attached to nothing
 * passes"; its reset does not change that.  So: reset, features, then that is switched off and read
 * back, before it runs.  The old form of the same (a feature that must not be accepted) is not
 * accepted.  From here on who is attached to nothing is blocked, so DETACH is.
 *
 * Domains.  One comes to be with its first endpoint, and goes with its last, with all its mappings
 * (VIO-16).  So map wants an endpoint attached (the kernel attaches before it grants), and unmap
 * after the last detach is nothing but that detach's ticket: the order of teardown makes it so.
 *
 * Mappings are told in pieces as the kernel makes them, and taken back in whole ones, as the device
 * demands (VIO-13).  A new one is in force when its request is answered: facts.map_invalidates.
 *
 * Attach is the one request that the device may refuse, and the one that is waited for here: a
 * mapping must not be told to a domain that is not there yet (VIO-15).
 *
 * Ranges that the unit reserves are never mapped (viommu_ask.c).
 * Messages of devices may pass there untranslated (VIO-41): whether they are checked is the
 * interrupt controller's affair.  An ITS does, by device id; a PC's does not:
 * interrupt_isolation=none.
 *
 * Shut     every endpoint is detached, as far as the unit still answers.
 * Locks    v->lock.
 * Not here finding units (find_viot.c, find_smmu.c), domains' addresses (kern/dma/domain.c).
 * Source   virtio 1.2, 5.13; specs VIO.
 */
#include "dev/iommu/viommu_unit.h"
#include "kern/base/bits.h"
#include "kern/base/fmt.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/pci.h"

/* ---- Requests ---- */

static void
put_attach(struct viommu *v, uint8_t type, uint32_t domain, uint32_t endpoint) REQUIRES(v->lock)
{
	uint64_t words[3] = { type | FIELD_PREP(VREQ_ID, domain), endpoint, 0 };

	static_assert(VREQ_ATTACH_LEN == VREQ_DETACH_LEN);
	viommu_put(v, words, VREQ_ATTACH_LEN);
}

/* ---- Domains ---- */

/* Ids are given as they were taken: an offset from domain_first, plus one, so that 0 is none. */
static uint32_t
id_take(struct viommu *v) REQUIRES(v->lock)
{
	uint32_t i = v->id_next;

	if (v->id_count == 0)
		return 0;
	viommu_collect(v);
	if (!viommu_past(v, (struct iommu_ticket){ v->id_ticket[i] }))
		return 0;
	v->id_next = (uint16_t)((i + 1) % VIO_DOMAINS_MAX);
	v->id_count--;
	return v->id[i];
}

static void
id_give(struct viommu *v, uint32_t id, uint64_t ticket) REQUIRES(v->lock)
{
	uint32_t i = (v->id_next + v->id_count) % VIO_DOMAINS_MAX;

	v->id[i] = (uint16_t)id;
	v->id_ticket[i] = ticket;
	v->id_count++;
}

static uint32_t
domain_id(const struct viommu *v, const struct iommu_domain *d)
{
	return v->domain_first + d->tag - 1;
}

static enum status
viommu_domain_init(struct iommu_domain *d)
{
	struct viommu *v = viommu_of(d->unit);
	bool dead;

	viommu_lock(v);
	d->tag = v->dead ? 0 : id_take(v);
	dead = v->dead;
	viommu_unlock(v);
	if (d->tag == 0)
		return dead ? E_QUARANTINED : E_BUSY;
	__atomic_fetch_add(&v->unit.domains, 1, __ATOMIC_RELAXED);
	return OK;
}

static void
viommu_domain_fini(struct iommu_domain *d)
{
	struct viommu *v = viommu_of(d->unit);

	KASSERT(d->endpoints == 0 && d->tag != 0);
	viommu_lock(v);
	if (!v->dead)
		id_give(v, d->tag, viommu_domain_of(d)->gone);
	viommu_unlock(v);
	d->tag = 0;
	__atomic_fetch_sub(&v->unit.domains, 1, __ATOMIC_RELAXED);
}

static enum status
put_map(struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len, uint32_t flags)
{
	struct viommu *v = viommu_of(d->unit);
	uint64_t last = at.v + (len - 1);
	enum status s = OK;

	/* some units do not look (VIO-12) */
	if (len == 0 || ((at.v | to.v | len) & (v->granule - 1)) != 0)
		return E_ALIGN;
	if (last < at.v || at.v < v->input_first || last > v->input_last ||
	    to.v > UINT64_MAX - len || viommu_reserved(v, at.v, last))
		return E_RANGE;
	viommu_lock(v);
	if (v->dead)
		s = E_QUARANTINED;
	else if (d->endpoints == 0)
		s = E_STATE;
	else if (viommu_room(v) < 2 && (viommu_collect(v), viommu_room(v) < 2))
		s = E_NO_MEMORY;
	if (s == OK) {
		viommu_put(v, (const uint64_t[]){ VREQ_MAP | FIELD_PREP(VREQ_ID, domain_id(v, d)),
		    at.v, last, to.v, flags }, VREQ_MAP_LEN);
		viommu_domain_of(d)->maps++;
	}
	viommu_unlock(v);
	return s;
}

static enum status
viommu_map(struct iommu_domain *d, struct iova at, struct paddr to, uint64_t len,
    enum iommu_rights rights)
{
	uint32_t flags = ((rights & IOMMU_READ) != 0 ? VMAP_READ : 0) |
	    ((rights & IOMMU_WRITE) != 0 ? VMAP_WRITE : 0);

	return flags == 0 ? E_INVALID : put_map(d, at, to, len, flags);
}

static struct iommu_ticket
viommu_sync(struct iommu_domain *d)
{
	struct viommu *v = viommu_of(d->unit);
	struct iommu_ticket t;

	viommu_lock(v);
	viommu_collect(v);
	t = viommu_ticket(v);
	viommu_unlock(v);
	return t;
}

static struct iommu_ticket
viommu_unmap(struct iommu_domain *d, struct iova at, uint64_t len)
{
	struct viommu *v = viommu_of(d->unit);
	struct viommu_domain *own = viommu_domain_of(d);
	struct iommu_ticket t;

	viommu_lock(v);
	own->maps -= own->maps != 0;
	if (d->endpoints == 0) {
		t.seq = own->gone;
	} else {
		if (viommu_make_room(v))
			viommu_put(v, (const uint64_t[]){
			    VREQ_UNMAP | FIELD_PREP(VREQ_ID, domain_id(v, d)), at.v,
			    at.v + (len - 1), 0 }, VREQ_UNMAP_LEN);
		t = v->dead ? (struct iommu_ticket){ UINT64_MAX } : viommu_ticket(v);
	}
	viommu_unlock(v);
	return t;
}

static enum status
viommu_map_doorbell(struct iommu_domain *d, struct iova at, struct paddr page)
{
	struct viommu *v = viommu_of(d->unit);

	if (!v->unit.facts.interrupt_isolation)		/* messages do not pass as memory there */
		return E_UNSUPPORTED;
	return put_map(d, at, page, max_u64(PAGE_SIZE, v->granule),
	    VMAP_WRITE | ((v->features & VF_MMIO) != 0 ? VMAP_MMIO : 0));
}

/* ---- Endpoints ---- */

static struct viommu_endpoint *
endpoint_of(struct viommu *v, uint32_t id) REQUIRES(v->lock)
{
	for (uint32_t i = 0; i < VIO_ENDPOINTS_MAX; i++)
		if (v->endpoint[i].used && v->endpoint[i].id == id)
			return &v->endpoint[i];
	return NULL;
}

/* Its record, or one that nobody uses any more.  NULL: too many. */
static struct viommu_endpoint *
endpoint_make(struct viommu *v, uint32_t id) REQUIRES(v->lock)
{
	struct viommu_endpoint *e = endpoint_of(v, id);

	for (uint32_t i = 0; e == NULL && i < VIO_ENDPOINTS_MAX; i++)
		if (!v->endpoint[i].used || (v->endpoint[i].domain == NULL &&
		    viommu_past(v, (struct iommu_ticket){ v->endpoint[i].blocked }))) {
			e = &v->endpoint[i];
			*e = (struct viommu_endpoint){ .id = id, .used = true };
		}
	return e;
}

static struct iommu_ticket
block(struct viommu *v, struct viommu_endpoint *e) REQUIRES(v->lock)
{
	struct iommu_domain *d = e->domain;
	struct iommu_ticket t = { UINT64_MAX };

	if (viommu_make_room(v)) {
		put_attach(v, VREQ_DETACH, domain_id(v, d), e->id);
		t = viommu_ticket(v);
	}
	e->domain = NULL;
	e->blocked = t.seq;
	viommu_domain_of(d)->gone = t.seq;
	d->endpoints--;
	__atomic_fetch_sub(&v->unit.endpoints, 1, __ATOMIC_RELAXED);
	return t;
}

static enum status
may_attach(struct viommu *v, const struct iommu_domain *d, const struct viommu_endpoint *e)
    REQUIRES(v->lock)
{
	if (v->dead)
		return E_QUARANTINED;
	if (e == NULL)
		return E_NO_MEMORY;
	if (e->domain != NULL)
		return E_BUSY;
	viommu_collect(v);
	/* What it held, and the domain of this id in its last life, are gone. */
	if (!viommu_past(v, (struct iommu_ticket){ e->blocked }) ||
	    (d->endpoints == 0 &&
	    !viommu_past(v,
	    (struct iommu_ticket){ ((const struct viommu_domain *)d->priv)->gone })))
		return v->dead ? E_QUARANTINED : E_BUSY;
	if (d->endpoints == 0 && ((const struct viommu_domain *)d->priv)->maps != 0)
		return E_STATE;		/* the device forgot them */
	return viommu_room(v) == 0 ? E_BUSY : OK;
}

static enum status
viommu_attach(struct iommu_domain *d, uint32_t endpoint)
{
	struct viommu *v = viommu_of(d->unit);
	struct viommu_endpoint *e;
	struct iommu_ticket t;
	enum status s;

	viommu_lock(v);
	e = endpoint_make(v, endpoint);
	s = may_attach(v, d, e);
	if (s != OK) {
		viommu_unlock(v);
		return s;
	}
	put_attach(v, VREQ_ATTACH, domain_id(v, d), endpoint);
	t = viommu_ticket(v);
	e->domain = d;
	d->endpoints++;
	__atomic_fetch_add(&v->unit.endpoints, 1, __ATOMIC_RELAXED);
	viommu_unlock(v);

	s = unit_ticket_wait(&v->unit, t, VIO_ATTACH_WAIT_NS);
	viommu_lock(v);
	if (s != OK)
		viommu_fail(v, "an attach is not answered");
	else if (viommu_answer(v, t) != VS_OK)
		s = E_REFUSED;
	if (v->dead)
		s = E_QUARANTINED;
	if (s == E_REFUSED) {
		/* It is where it was: attached to nothing. */
		e->domain = NULL;
		d->endpoints--;
		__atomic_fetch_sub(&v->unit.endpoints, 1, __ATOMIC_RELAXED);
		log_warn("%s: endpoint 0x%x: the unit refuses to attach it (status %u)",
		    v->unit.name, endpoint, viommu_answer(v, t));
	} else if (s != OK) {
		(void)block(v, e);
	}
	viommu_unlock(v);
	return s;
}

static struct iommu_ticket
viommu_detach(struct iommu_domain *d, uint32_t endpoint)
{
	struct viommu *v = viommu_of(d->unit);
	struct iommu_ticket t = { 0 };
	struct viommu_endpoint *e;

	viommu_lock(v);
	e = endpoint_of(v, endpoint);
	if (e != NULL && e->domain == d)
		t = block(v, e);
	else if (e != NULL)
		t.seq = e->blocked;
	viommu_unlock(v);
	return t;
}

/*
 * No lock, and no other CPU runs.  At the end of the kernel the unit may not master the bus any
 * more: then nobody does.
 */
static void
viommu_shut(struct iommu_unit *u) NO_THREAD_SAFETY
{
	struct viommu *v = viommu_of(u);
	uint64_t deadline = clock_now() + NS_PER_MS;

	for (uint32_t i = 0; i < VIO_ENDPOINTS_MAX && !v->dead; i++)
		if (v->endpoint[i].used && v->endpoint[i].domain != NULL && viommu_room(v) != 0)
			(void)block(v, &v->endpoint[i]);
	while (!v->dead && v->done != v->queued && clock_now() < deadline)
		viommu_collect(v);
}

static const struct iommu_ops viommu_ops = {
	.domain_init = viommu_domain_init,
	.domain_fini = viommu_domain_fini,
	.attach = viommu_attach,
	.detach = viommu_detach,
	.map = viommu_map,
	.sync = viommu_sync,
	.unmap = viommu_unmap,
	.map_doorbell = viommu_map_doorbell,
	.ticket_poll = viommu_ticket_poll,
	.drain_faults = viommu_drain_faults,
	.quiet = viommu_quiet,
	.ask = viommu_ask,
	.shut = viommu_shut,
};

/* ---- Probe ---- */

static bool
status_is(const struct viommu *v, uint8_t bits)
{
	return (unit_read8(v->common, VCOM_STATUS) & bits) == bits;
}

static uint64_t
device_features(const struct viommu *v)
{
	uint64_t f;

	unit_write32(v->common, VCOM_DEVICE_SELECT, 0);
	f = unit_read32(v->common, VCOM_DEVICE_FEATURES);
	unit_write32(v->common, VCOM_DEVICE_SELECT, 1);
	return f | (uint64_t)unit_read32(v->common, VCOM_DEVICE_FEATURES) << 32;
}

/* Reset and features.  NULL: agreed. */
static const char *
negotiate(struct viommu *v)
{
	uint64_t deadline = clock_now() + VIO_PROBE_WAIT_NS, offered;

	unit_write8(v->common, VCOM_STATUS, 0);
	while (unit_read8(v->common, VCOM_STATUS) != 0)
		if (clock_now() > deadline)
			return "it does not reset";
	unit_write8(v->common, VCOM_STATUS, VSTATUS_ACKNOWLEDGE);
	unit_write8(v->common, VCOM_STATUS, VSTATUS_ACKNOWLEDGE | VSTATUS_DRIVER);
	offered = device_features(v);
	if ((offered & VF_VERSION_1) == 0)
		return "it is of a version before 1.0";
	if ((offered & VF_MAP_UNMAP) == 0)
		return "it does not map (VIRTIO_IOMMU_F_MAP_UNMAP)";
	v->features = offered &
	    (VF_INPUT_RANGE | VF_DOMAIN_RANGE | VF_MAP_UNMAP | VF_PROBE | VF_MMIO |
	    VF_BYPASS_CONFIG | VF_VERSION_1 | VF_ACCESS_PLATFORM);
	unit_write32(v->common, VCOM_DRIVER_SELECT, 0);
	unit_write32(v->common, VCOM_DRIVER_FEATURES, (uint32_t)v->features);
	unit_write32(v->common, VCOM_DRIVER_SELECT, 1);
	unit_write32(v->common, VCOM_DRIVER_FEATURES, (uint32_t)(v->features >> 32));
	unit_write8(v->common, VCOM_STATUS,
	    VSTATUS_ACKNOWLEDGE | VSTATUS_DRIVER | VSTATUS_FEATURES_OK);
	return status_is(v, VSTATUS_FEATURES_OK) ? NULL : "it does not agree to its own features";
}

static uint64_t
config64(const struct viommu *v, uint32_t at)
{
	return unit_read32(v->config, at) | (uint64_t)unit_read32(v->config, at + 4) << 32;
}

/* What it can do; and nobody passes by being attached to nothing.  NULL: good. */
static const char *
configure(struct viommu *v)
{
	uint64_t sizes = config64(v, VCFG_PAGE_SIZES);
	struct iommu_facts *f = &v->unit.facts;
	uint32_t domain_last = UINT32_MAX;

	if ((v->features & VF_BYPASS_CONFIG) != 0) {
		unit_write8(v->config, VCFG_BYPASS, 0);
		if (unit_read8(v->config, VCFG_BYPASS) != 0)
			return "who is attached to nothing would pass (config.bypass)";
	}
	if (sizes == 0 || (sizes & (PAGE_SIZE | (PAGE_SIZE - 1))) == 0)
		return "its smallest page is larger than ours";
	v->granule = sizes & -sizes;
	v->input_last = UINT64_MAX;
	if ((v->features & VF_INPUT_RANGE) != 0) {
		v->input_first = config64(v, VCFG_INPUT_START);
		v->input_last = config64(v, VCFG_INPUT_END);
	}
	if ((v->features & VF_DOMAIN_RANGE) != 0) {
		v->domain_first = unit_read32(v->config, VCFG_DOMAIN_START);
		domain_last = unit_read32(v->config, VCFG_DOMAIN_END);
	}
	if (v->input_last <= v->input_first || domain_last < v->domain_first)
		return "its ranges of addresses or domains are empty";
	v->domains = (uint32_t)min_u64((uint64_t)(domain_last - v->domain_first) + 1,
	    VIO_DOMAINS_MAX - 1);
	v->probe_size = (v->features & VF_PROBE) != 0 ? unit_read32(v->config, VCFG_PROBE_SIZE) : 0;
	if (v->probe_size > VIO_PROBE_MAX || v->probe_size % 4 != 0)
		return "its properties are too large";
	*f = (struct iommu_facts){
		.page_sizes = sizes | PAGE_SIZE,
		.iova_bits = (uint8_t)(v->input_last == UINT64_MAX ?
		    63 : log2_floor(v->input_last + 1)),
		.output_bits = 52,
		.stage = 2,
		.coherent = true,
		.write_only = true,
		.range_invalidation = true,
		.map_invalidates = true,
		.fault_log = true,
		.domains_max = v->domains,
	};
	return NULL;
}

/*
 * Once round, before anybody relies on it: a page of nobody's is mapped for some endpoint, whose
 * bus mastering is off, and taken back.  NULL: all was answered.
 */
static const char *
round_trip(struct viommu *v)
{
	struct iommu_domain d = { .unit = &v->unit };
	struct iova at = { align_up(max_u64(v->input_first, GIB), max_u64(v->granule, PAGE_SIZE)) };
	uint32_t i = 0;
	struct paddr p;
	enum status s;

	while (i < pci_count && pci_functions[i].unit != (int)v->unit.index)
		i++;
	if (i == pci_count)
		return NULL;		/* nobody is behind it */
	if (frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &p) != OK)
		return "no memory to try it";
	s = viommu_domain_init(&d);
	if (s == OK)
		s = viommu_attach(&d, pci_functions[i].endpoint);
	if (s == OK)
		s = viommu_map(&d, at, p, PAGE_SIZE, IOMMU_READ);
	if (s == OK)
		s = unit_ticket_wait(&v->unit, viommu_sync(&d), VIO_PROBE_WAIT_NS);
	if (s == OK)
		s = unit_ticket_wait(&v->unit, viommu_unmap(&d, at, PAGE_SIZE), VIO_PROBE_WAIT_NS);
	if (s == OK)
		s = unit_ticket_wait(&v->unit, viommu_detach(&d, pci_functions[i].endpoint),
		    VIO_PROBE_WAIT_NS);
	if (s != OK)
		return "it does not map and unmap a page";	/* which stays taken */
	viommu_domain_fini(&d);
	frame_free(p, 0);
	return NULL;
}

/* Everything but the kernel's list.  NULL: it runs. */
static const char *
start(struct viommu *v, const struct machine *m, enum status *s)
{
	const struct machine_iommu *mi = &m->iommu[v->unit.index];
	const char *what = viommu_pci_open(v, mi->segment, mi->requester);

	*s = E_UNSUPPORTED;
	if (what == NULL)
		what = negotiate(v);
	if (what == NULL)
		what = configure(v);
	if (what == NULL)
		what = viommu_queues_init(v, s);
	if (what != NULL)
		return what;
	*s = E_UNSUPPORTED;
	viommu_pci_master(v);
	unit_write8(v->common, VCOM_STATUS,
	    VSTATUS_ACKNOWLEDGE | VSTATUS_DRIVER | VSTATUS_FEATURES_OK | VSTATUS_DRIVER_OK);
	if (!status_is(v, VSTATUS_DRIVER_OK))
		return "it does not start";
	what = viommu_read_reserved(v);
	if (what != NULL)
		return what;
	viommu_lock(v);
	viommu_events_start(v);
	for (uint32_t id = 1; id <= v->domains; id++)
		id_give(v, id, 0);
	viommu_unlock(v);
	return round_trip(v);
}

static void
describe(struct viommu *v, const struct machine *m)
{
	struct iommu_facts *f = &v->unit.facts;

	f->interrupt_isolation = m->irqc.its_count != 0;
	static_assert(VIO_RESERVED_MAX <= IOMMU_HOLES_MAX);
	for (uint32_t i = 0; i < v->reserved_count; i++)
		f->hole[i] = (struct iommu_hole){ v->reserved[i].first,
			v->reserved[i].last - v->reserved[i].first + 1 };
	f->holes = v->reserved_count;
	fmt_buf(f->text, sizeof(f->text), "virtio-iommu, %u address bits, granule %u KiB%s%s%s",
	    f->iova_bits, (uint32_t)(v->granule / KIB),
	    (v->features & VF_BYPASS_CONFIG) != 0 ? ", bypass off" : ", no bypass",
	    (v->features & VF_PROBE) != 0 ? ", probed" : "",
	    (v->features & VF_MMIO) != 0 ? ", MMIO" : "");
}

static enum status
viommu_probe(const struct machine *m, uint32_t index)
{
	struct paddr p;
	struct viommu *v;
	const char *what;
	enum status s = frame_alloc(VIO_ORDER, FRAME_KERNEL, FRAME_ZERO, &p);

	if (s != OK) {
		log_error("viommu%u: refused: no memory", index);
		return s;
	}
	v = frame_ptr(p);
	lock_init(&v->lock, RANK_UNIT);
	v->unit = (struct iommu_unit){ .ops = &viommu_ops, .index = index, .priv = v };
	fmt_buf(v->unit.name, sizeof(v->unit.name), "viommu%u", index);
	what = start(v, m, &s);
	if (what == NULL) {
		describe(v, m);
		s = iommu_register(&v->unit);
		what = s == OK ? NULL : "too many units";
	}
	if (what != NULL) {
		log_error("%s: refused: %s", v->unit.name, what);
		if (v->function != NULL && v->common != NULL)
			pci_bus_master(v->function, false);
		return s;
	}
	store_release(&v->registered, true);
	return OK;
}

const struct iommu_driver viommu_driver = {
	.name = "viommu", .kind = IOMMU_VIRTIO, .probe = viommu_probe,
};
