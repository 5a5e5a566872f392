/*
 * VT-d: root and context tables; which requester is in which domain.
 *
 *     source id (bus, device, function)
 *        bus ----> root table --P--> context table --P--> domain id, top of a second-stage table
 *        device << 3 | function ---------^
 *
 * Not present is blocked, in both tables, and both begin empty.  A bus gets its context table with
 * the first attach; it stays.
 *
 * The tables are written from v->endpoint[], and never read back.
 *
 * Attach   high half, then the low half with P, one store each, each visible before the next
 *          (VTD-44).  So the unit finds "blocked" or the whole new entry.  An absent entry is
 *          cached only in caching mode, under domain id 0: then that goes, and what the new domain
 *          id may have left.
 * Detach   P is cleared and nothing else: what the unit may still hold stays true until it is gone.
 *          Context cache first, wait, then translations (VTD-45): the other way round, a stale
 *          context would fetch new stale translations.  The ticket covers both, and the drain of
 *          reads and writes under way.  The next attach overwrites the rest of the entry, and
 *          refuses until the ticket is past.
 *
 * Reserved regions (RMRR).  Firmware names devices that go on using memory after boot.  This kernel
 * never maps such a region: bus mastering of every function is off from discovery, and the device
 * stays blocked by name.  A path through bridges cannot be resolved here; the kernel resolves it
 * and does not offer such a device (lane.h).
 *
 * Locks    v->lock.
 * Manual   Intel VT-d 3.4 (legacy mode), 6.1 (caching mode), 6.5.3 (order), 9.1, 9.3 (entries).
 */
#include "dev/iommu/vtd_unit.h"
#include "kern/base/bits.h"
#include "kern/log.h"
#include "kern/panic.h"

/* One half of an entry, visible to the unit before anything stored later. */
static void
publish(const struct vtd *v, uint64_t *half, uint64_t value)
{
	unit_store64(half, value);
	unit_clean(half, sizeof(*half), v->coherent);
	unit_publish();
}

/* An empty table, visible as such. */
static enum status
table_create(const struct vtd *v, struct paddr *out)
{
	enum status s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, out);

	if (s != OK)
		return s;
	unit_clean(frame_ptr(*out), PAGE_SIZE, v->coherent);
	unit_publish();
	return OK;
}

enum status
vtd_tables_init(struct vtd *v)
{
	struct paddr root;
	enum status s;

	s = table_create(v, &v->deny);
	if (s == OK)
		s = table_create(v, &root);
	if (s == OK)
		v->root = frame_ptr(root);
	return s;
}

static struct vtd_endpoint *
endpoint_of(const struct vtd *v, uint32_t rid)
{
	struct vtd_endpoint *bus = v->endpoint[rid >> 8];

	return bus == NULL ? NULL : &bus[rid & 0xff];
}

/* The context table of a bus and our own beside it. */
static enum status
bus_create(struct vtd *v, uint32_t bus) REQUIRES(v->lock)
{
	struct paddr table, ours;
	enum status s;

	static_assert(VTD_TABLE_ENTRIES * sizeof(struct vtd_endpoint) <= PAGE_SIZE);
	s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &ours);
	if (s != OK)
		return s;
	s = table_create(v, &table);
	if (s != OK) {
		frame_free(ours, 0);
		return s;
	}
	v->context[bus] = frame_ptr(table);
	v->endpoint[bus] = frame_ptr(ours);
	publish(v, &v->root[bus][0], table.v | ROOT_P);
	return OK;
}

static bool
is_refused(const struct vtd *v, uint32_t rid)
{
	for (uint32_t i = 0; i < v->refused_count; i++)
		if (v->refused[i] == rid)
			return true;
	return v->refuse_all;
}

/* Queues what makes the unit forget an entry and its translations, in this order. */
static struct iommu_ticket
forget(struct vtd *v, uint32_t context_did, uint32_t rid, uint32_t did) REQUIRES(v->lock)
{
	if (vtd_room(v, 3)) {
		vtd_put_context(v, context_did, rid);
		vtd_order(v);
		vtd_put_domain(v, did);
	}
	return cmdring_ticket(&v->ring);
}

static struct iommu_ticket
block(struct vtd *v, struct vtd_endpoint *e, uint32_t rid) REQUIRES(v->lock)
{
	struct iommu_domain *d = e->domain;
	uint64_t *entry = v->context[rid >> 8][rid & 0xff];
	struct iommu_ticket t;

	publish(v, &entry[0], d->root.v);
	vtd_write_buffer(v);
	t = forget(v, d->tag, rid, d->tag);
	e->domain = NULL;
	e->blocked = t.seq;
	d->endpoints--;
	__atomic_fetch_sub(&v->unit.endpoints, 1, __ATOMIC_RELAXED);
	return t;
}

/* What can be said no to, before anything changes. */
static enum status
may_attach(struct vtd *v, uint32_t rid) REQUIRES(v->lock)
{
	const struct vtd_endpoint *e;

	if (v->dead)
		return E_QUARANTINED;
	if (v->endpoint[rid >> 8] == NULL)
		return bus_create(v, rid >> 8);
	e = endpoint_of(v, rid);
	if (e->domain != NULL)
		return E_BUSY;
	if (!cmdring_past(&v->ring, (struct iommu_ticket){ e->blocked })) {
		vtd_send(v);
		vtd_collect(v);
		if (!cmdring_past(&v->ring, (struct iommu_ticket){ e->blocked }))
			return v->dead ? E_QUARANTINED : E_BUSY;
	}
	return OK;
}

enum status
vtd_attach(struct iommu_domain *d, uint32_t rid)
{
	struct vtd *v = vtd_of(d->unit);
	struct iommu_ticket t = { 0 };
	struct vtd_endpoint *e;
	uint64_t *entry;
	enum status s;

	if (rid > UINT16_MAX)
		return E_RANGE;
	if (is_refused(v, rid)) {
		log_warn(
		    "%s: device %02x:%02x.%x: firmware reserves memory for it, so it stays blocked",
		    v->unit.name, rid >> 8, rid >> 3 & 31, rid & 7);
		return E_REFUSED;
	}
	vtd_lock(v);
	s = may_attach(v, rid);
	if (s != OK) {
		vtd_unlock(v);
		return s;
	}
	e = endpoint_of(v, rid);
	entry = v->context[rid >> 8][rid & 0xff];
	publish(v, &entry[1], FIELD_PREP(CTX_DID, d->tag) | FIELD_PREP(CTX_AW, v->levels - 2));
	publish(v, &entry[0], d->root.v | CTX_P);
	vtd_write_buffer(v);
	e->domain = d;
	d->endpoints++;
	__atomic_fetch_add(&v->unit.endpoints, 1, __ATOMIC_RELAXED);
	if (v->caching)
		t = forget(v, 0, rid, d->tag);
	vtd_unlock(v);

	s = unit_ticket_wait(&v->unit, t, VTD_ATTACH_WAIT_NS);
	vtd_lock(v);
	if (s != OK)
		vtd_fail(v, "an invalidation of attach does not complete");
	s = v->dead ? E_QUARANTINED : OK;
	if (s != OK)
		(void)block(v, e, rid);
	vtd_unlock(v);
	return s;
}

struct iommu_ticket
vtd_detach(struct iommu_domain *d, uint32_t rid)
{
	struct vtd *v = vtd_of(d->unit);
	struct iommu_ticket t = { 0 };
	struct vtd_endpoint *e;

	if (rid > UINT16_MAX)
		return t;
	vtd_lock(v);
	e = endpoint_of(v, rid);
	if (e != NULL && e->domain == d)
		t = block(v, e, rid);
	else if (e != NULL)
		t.seq = e->blocked;
	vtd_unlock(v);
	return t;
}

static void
refuse_one(struct vtd *v, const struct machine_reserved *r, const struct machine_scope *scope)
{
	uint32_t rid = (uint32_t)scope->start_bus << 8 | scope->path[0];

	if (scope->path_len != 1 || scope->kind != SCOPE_ENDPOINT) {
		log_warn(
		    "%s: a device behind bridge %02x:%02x.%x has %llu KiB reserved by firmware: the kernel blocks it",
		    v->unit.name, rid >> 8, rid >> 3 & 31, rid & 7,
		    (unsigned long long)(r->len / KIB));
		return;
	}
	log_warn("%s: device %02x:%02x.%x has %llu KiB reserved by firmware: it stays blocked",
	    v->unit.name, rid >> 8, rid >> 3 & 31, rid & 7, (unsigned long long)(r->len / KIB));
	KASSERT(v->refused_count < ARRAY_SIZE(v->refused));	/* one for each scope at most */
	v->refused[v->refused_count++] = (uint16_t)rid;
}

void
vtd_reserved_init(struct vtd *v, const struct machine *m, uint16_t segment)
{
	for (uint32_t i = 0; i < m->reserved_count; i++) {
		const struct machine_reserved *r = &m->reserved[i];

		if (r->stream_ids || r->segment != segment)
			continue;
		if (r->any_device) {
			log_warn("%s: firmware reserves %llu KiB for any device: all stay blocked",
			    v->unit.name, (unsigned long long)(r->len / KIB));
			v->refuse_all = true;
		}
		for (uint32_t k = 0; k < m->scope_count; k++)
			if (m->scope[k].reserved == i && m->scope[k].segment == segment &&
			    m->scope[k].path_len > 0)
				refuse_one(v, r, &m->scope[k]);
	}
}
