/*
 * AMD-Vi: the device table; which requester is in which domain.
 *
 *     device id (bus, device, function) ---> entry: mode and root of a page table, domain id, what
 *     interrupts may do
 *
 * One table for all 65536 requesters, made blocked before the unit is told of it (AMD-31).  The
 * unit may keep any entry it fetched, also a blocked one, so every change is followed by an
 * invalidation.
 *
 * The table is written from a->endpoint[], and never read back.
 *
 * Attach   domain id, then what interrupts may do, then mode, root and rights in one store, each
 *          visible before the next: the unit finds "blocked" or the whole new entry.  Then its
 *          cached entry goes, and what the domain id may have left, and attach waits for both.
 * Detach   first word to "blocked" in one store, then interrupts: what the unit may still hold
 *          stays true until it is gone.  Its entry goes first, wait, then translations: the other
 *          way round, a stale entry would fetch new stale translations.  The ticket covers both.
 *          The next attach overwrites the rest, and refuses until it is past.
 *
 * Aliases.  What a device below a conventional bridge sends carries the bridge's id, or its own:
 * both entries lead to the domain (AMD-07, AMD-36).  The endpoint is the alias; its requesters are
 * the functions that appear as it.
 *
 * Interrupts.  A blocked requester's are aborted.  An attached one's are remapped (amdvi_irq.c), or
 * where that is not to be had passed on as they are; so are those of I/O APICs and HPETs, which
 * firmware lists; their DMA is not.
 *
 * Locks    a->lock.
 * Manual   AMD IOMMU 2.2.2 (device table), 2.4.2 (invalidation).
 */
#include "dev/iommu/amdvi_unit.h"
#include "kern/base/bits.h"
#include "kern/log.h"
#include "kern/panic.h"
#include "kern/pci.h"

enum { TABLE_ORDER = 9 };
static_assert(AMDVI_IDS * sizeof(uint64_t[DTE_WORDS]) == PAGE_SIZE << TABLE_ORDER);

/* One word of an entry, visible to the unit before anything stored later. */
static void
publish(const struct amdvi *a, uint64_t *word, uint64_t value)
{
	unit_store64(word, value);
	unit_clean(word, sizeof(*word), a->unit.facts.coherent);
	unit_publish();
}

bool
amdvi_is_interrupt_controller(const struct amdvi *a, uint32_t rid)
{
	const struct machine *m = a->machine;

	for (uint32_t i = 0; i < m->scope_count; i++) {
		const struct machine_scope *s = &m->scope[i];

		if ((s->kind == SCOPE_IOAPIC || s->kind == SCOPE_HPET) &&
		    s->iommu == a->unit.index && s->path_len == 1 &&
		    ((uint32_t)s->start_bus << 8 | s->path[0]) == rid)
			return true;
	}
	return false;
}

static uint64_t
idle_interrupts(const struct amdvi *a, uint32_t rid)
{
	return amdvi_is_interrupt_controller(a, rid) ? amdvi_interrupt_word(a, NULL) :
						       DTE_NO_INTERRUPTS;
}

void
amdvi_set_controllers(struct amdvi *a)
{
	for (uint32_t i = 0; i < a->machine->scope_count; i++) {
		const struct machine_scope *sc = &a->machine->scope[i];
		uint32_t rid = (uint32_t)sc->start_bus << 8 | sc->path[0];

		if (amdvi_is_interrupt_controller(a, rid))
			publish(a, &a->table[rid][2], idle_interrupts(a, rid));
	}
}

enum status
amdvi_tables_init(struct amdvi *a)
{
	struct paddr p;
	enum status s = frame_alloc(TABLE_ORDER, FRAME_IOMMU, FRAME_ZERO, &p);

	if (s != OK)
		return s;
	a->table = frame_ptr(p);
	for (uint32_t rid = 0; rid < AMDVI_IDS; rid++) {
		a->table[rid][0] = DTE_BLOCKED;
		a->table[rid][2] = DTE_NO_INTERRUPTS;
	}
	amdvi_set_controllers(a);
	unit_clean(a->table, PAGE_SIZE << TABLE_ORDER, a->unit.facts.coherent);
	unit_publish();
	return OK;
}

uint32_t
amdvi_requesters(const struct amdvi *a, uint32_t endpoint, uint16_t rid[AMDVI_ALIASES_MAX])
{
	uint32_t n = 0;

	rid[n++] = (uint16_t)endpoint;
	for (uint32_t i = 0; i < pci_count; i++) {
		const struct pci_function *f = &pci_functions[i];

		if (f->unit != (int)a->unit.index || f->endpoint != endpoint || f->rid == endpoint)
			continue;
		if (n == AMDVI_ALIASES_MAX)
			return 0;
		rid[n++] = f->rid;
	}
	return n;
}

/* Why firmware, or what it is, keeps a requester blocked; NULL: nothing. */
static const char *
refusal(const struct amdvi *a, uint32_t rid)
{
	const struct machine *m = a->machine;

	if (rid == m->iommu[a->unit.index].requester)
		return "it is the IOMMU itself";
	if (amdvi_is_interrupt_controller(a, rid))
		return "it is an interrupt controller";
	if (m->reserved_lost)
		return "firmware may reserve memory for it";
	for (uint32_t i = 0; i < m->reserved_count; i++) {
		const struct machine_reserved *r = &m->reserved[i];

		if (r->segment == a->segment && (r->any_device ||
		    (r->requesters && rid >= r->id_base && rid - r->id_base < r->id_count)))
			return "firmware reserves memory for it";
	}
	return NULL;
}

enum status
amdvi_bus_create(struct amdvi *a, uint32_t bus)
{
	struct paddr ours;
	enum status s;

	static_assert(256 * sizeof(struct amdvi_endpoint) <= PAGE_SIZE << AMDVI_BUS_ORDER);
	if (a->endpoint[bus] != NULL)
		return OK;
	s = frame_alloc(AMDVI_BUS_ORDER, FRAME_KERNEL, FRAME_ZERO, &ours);
	if (s == OK)
		a->endpoint[bus] = frame_ptr(ours);
	return s;
}

/* Queues what makes the unit forget entries and then translations. */
static struct iommu_ticket
forget(struct amdvi *a, const uint16_t *rid, uint32_t n, uint32_t id) REQUIRES(a->lock)
{
	if (amdvi_room(a, n + 2)) {
		for (uint32_t i = 0; i < n; i++)
			amdvi_put_device(a, rid[i]);
		amdvi_order(a);
		amdvi_put_domain(a, id);
	}
	return cmdring_ticket(&a->ring);
}

static struct iommu_ticket
block(struct amdvi *a, const uint16_t *rid, uint32_t n) REQUIRES(a->lock)
{
	struct iommu_domain *d = amdvi_endpoint_of(a, rid[0])->domain;
	struct iommu_ticket t;

	for (uint32_t i = 0; i < n; i++) {
		publish(a, &a->table[rid[i]][0], DTE_BLOCKED);
		publish(a, &a->table[rid[i]][2], DTE_NO_INTERRUPTS);
	}
	t = forget(a, rid, n, d->tag);
	for (uint32_t i = 0; i < n; i++)
		*amdvi_endpoint_of(a, rid[i]) = (struct amdvi_endpoint){ .blocked = t.seq,
			.irt = amdvi_endpoint_of(a, rid[i])->irt };
	d->endpoints--;
	__atomic_fetch_sub(&a->unit.endpoints, 1, __ATOMIC_RELAXED);
	return t;
}

void
amdvi_block_all(struct amdvi *a)
{
	for (uint32_t bus = 0; bus < ARRAY_SIZE(a->endpoint); bus++)
		for (uint32_t i = 0; a->endpoint[bus] != NULL && i < 256; i++) {
			if (a->endpoint[bus][i].domain == NULL)
				continue;
			publish(a, &a->table[bus << 8 | i][0], DTE_BLOCKED);
			publish(a, &a->table[bus << 8 | i][2], DTE_NO_INTERRUPTS);
		}
}

/* What can be said no to, before anything changes. */
static enum status
may_attach(struct amdvi *a, const uint16_t *rid, uint32_t n) REQUIRES(a->lock)
{
	if (a->dead)
		return E_QUARANTINED;
	for (uint32_t i = 0; i < n; i++) {
		enum status s = amdvi_bus_create(a, rid[i] >> 8);
		const struct amdvi_endpoint *e;

		if (s != OK)
			return s;
		e = amdvi_endpoint_of(a, rid[i]);
		if (e->domain != NULL)
			return E_BUSY;
		if (cmdring_past(&a->ring, (struct iommu_ticket){ e->blocked }))
			continue;
		amdvi_send(a);
		amdvi_collect(a);
		if (!cmdring_past(&a->ring, (struct iommu_ticket){ e->blocked }))
			return a->dead ? E_QUARANTINED : E_BUSY;
	}
	return OK;
}

enum status
amdvi_attach(struct iommu_domain *d, uint32_t endpoint)
{
	struct amdvi *a = amdvi_of(d->unit);
	uint16_t rid[AMDVI_ALIASES_MAX];
	struct iommu_ticket t;
	enum status s;
	uint32_t n;

	if (endpoint >= AMDVI_IDS)
		return E_RANGE;
	n = amdvi_requesters(a, endpoint, rid);
	if (n == 0)
		return E_OVERFLOW;
	for (uint32_t i = 0; i < n; i++) {
		const char *why = refusal(a, rid[i]);

		if (why != NULL) {
			log_warn("%s: device %02x:%02x.%x: %s, so it stays blocked", a->unit.name,
			    rid[i] >> 8, rid[i] >> 3 & 31, rid[i] & 7, why);
			return E_REFUSED;
		}
	}
	amdvi_lock(a);
	s = may_attach(a, rid, n);
	if (s != OK) {
		amdvi_unlock(a);
		return s;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *entry = a->table[rid[i]];

		publish(a, &entry[1], FIELD_PREP(DTE_DOMAIN, d->tag));
		publish(a, &entry[2], amdvi_interrupt_word(a, amdvi_endpoint_of(a, endpoint)));
		publish(a, &entry[0],
		    DTE_V | DTE_TV | FIELD_PREP(DTE_MODE, AMDVI_LEVELS) | d->root.v | DTE_IR |
			DTE_IW);
		amdvi_endpoint_of(a, rid[i])->domain = d;
	}
	d->endpoints++;
	__atomic_fetch_add(&a->unit.endpoints, 1, __ATOMIC_RELAXED);
	t = forget(a, rid, n, d->tag);
	amdvi_unlock(a);

	s = unit_ticket_wait(&a->unit, t, AMDVI_ATTACH_WAIT_NS);
	amdvi_lock(a);
	if (s != OK)
		amdvi_fail(a, "an invalidation of attach does not complete");
	s = a->dead ? E_QUARANTINED : OK;
	if (s != OK)
		(void)block(a, rid, n);
	amdvi_unlock(a);
	return s;
}

struct iommu_ticket
amdvi_detach(struct iommu_domain *d, uint32_t endpoint)
{
	struct amdvi *a = amdvi_of(d->unit);
	uint16_t rid[AMDVI_ALIASES_MAX];
	struct iommu_ticket t = { 0 };
	struct amdvi_endpoint *e;

	if (endpoint >= AMDVI_IDS)
		return t;
	amdvi_lock(a);
	e = amdvi_endpoint_of(a, endpoint);
	if (e != NULL && e->domain == d)
		t = block(a, rid, amdvi_requesters(a, endpoint, rid));
	else if (e != NULL)
		t.seq = e->blocked;
	amdvi_unlock(a);
	return t;
}
