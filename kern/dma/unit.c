/*
 * Units: registration, their fault logs, breaking.
 *
 * A record goes from the log to the counters of its device in one step, under one lock, whoever
 * takes it.  What takes long (log lines, telling the owner, shutting a storm off) comes after,
 * without the lock.
 *
 * Two take records.  The worker, when the unit's interrupt says so, until nothing is left: a unit
 * that has something in its log makes no second interrupt.  A unit without a working interrupt is
 * polled.  And whoever must know whether accesses up to now were refused (unit_look), which nearly
 * always finds nothing and takes no lock here:
 *
 *   1 the unit says that its log is empty, and, if that was asked, that every access which it
 *     refused before has been in it
 *   2 the lock is free
 *
 * A record that was in the log before the look has then been taken, and by whoever held the lock;
 * that one let it go between the taking and 2, and had counted before.
 *
 * A device may fault without end.  So only so many records are taken in a millisecond, by all
 * together, and their owners are told once for each batch; what comes faster fills the log, and a
 * log that cannot be emptied, or overflows, counts for every device behind the unit, which is told
 * once in a millisecond.  So a flood costs others a few per cent, until it is shut off
 * (device_fault_tell).
 *
 * The console shows the first faults of a device, then every doubling; counters show all.
 */
#include "kern/dma/unit.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/device.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/pci.h"
#include "kern/trace.h"
#include "kern/worker.h"

enum { BATCH = 16, BATCHES_MAX = 16, LOOKS = 8 };
enum { TICK_RECORDS = 64 };
enum : uint64_t { POLL_NS = 200 * NS_PER_MS, TICK_NS = NS_PER_MS };

struct unit_log {
	struct iommu_unit *unit;
	struct work work;
	struct spinlock lock;		/* RANK_FAULTS */
	struct unit_last_fault last;
	uint64_t tick;			/* (l) since when */
	uint32_t taken;			/* (l) so many records were taken */
	bool lost_told;			/* (l) and that some were lost was told */
};

static struct unit_log logs[MACHINE_IOMMU_MAX];
static uint32_t count;

/* What was taken out of a log in one step. */
struct taken {
	struct dma_fault fault[BATCH];
	struct pci_function *fn[BATCH];
	uint32_t count[BATCH];		/* which one of its device each is */
	uint32_t n;
	uint32_t records; /* with those of live tests, whose addresses are memory's: nobody is told
			     of them */
	bool lost;
	bool enough;			/* nothing was taken: it would be too much for this tick */
};

static struct pci_function *
function_of(const struct unit_log *e, uint32_t endpoint)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].unit == (int)e->unit->index &&
		    pci_functions[i].endpoint == endpoint)
			return &pci_functions[i];
	return NULL;
}

/* The log's lock is held. */
static void
new_tick(struct unit_log *e)
{
	uint64_t now = clock_now();

	if (now - e->tick < TICK_NS)
		return;
	e->tick = now;
	e->taken = 0;
	e->lost_told = false;
}

static void
take(struct unit_log *e, struct taken *t)
{
	struct iommu_unit *u = e->unit;

	t->n = t->records = 0;
	t->lost = false;
	spin_lock(&e->lock);
	new_tick(e);
	t->enough = e->taken >= TICK_RECORDS;
	if (t->enough) {
		spin_unlock(&e->lock);
		return;
	}
	t->records = u->ops->drain_faults(u, t->fault, BATCH, &t->lost);
	for (uint32_t i = 0; i < t->records; i++) {
		struct dma_fault f = t->fault[i];
		struct pci_function *fn = function_of(e, f.endpoint);

		if (fn != NULL && device_canary_fault(fn, &f))
			continue;
		t->fault[t->n] = f;
		t->fn[t->n] = fn;
		t->count[t->n++] = fn != NULL ? device_fault_count(fn) : 0;
		e->last = (struct unit_last_fault){ f, true };
	}
	e->taken += t->records;
	if (t->lost)
		device_faults_lost_count(u->index);
	spin_unlock(&e->lock);
}

/* Every owner behind the unit, once in a tick: who was told looks, and finds the same. */
static void
tell_lost(struct unit_log *e)
{
	bool told;

	spin_lock(&e->lock);
	new_tick(e);
	told = e->lost_told;
	e->lost_told = true;
	spin_unlock(&e->lock);
	if (!told)
		device_faults_lost_tell(e->unit->index);
}

static void
report(struct unit_log *e, const struct dma_fault *f, struct pci_function *fn, uint32_t n)
{
	trace(DMA_FAULT, fn != NULL ? (uint32_t)fn->segment << 16 | fn->rid : f->endpoint,
	    (struct iova){ f->iova }, f->write, f->kind);
	if (is_pow2(n) || n == 0)
		log_warn("%s: fault: device %02x:%02x.%x %s iova 0x%llx: %s (code 0x%x, %u so far)",
		    e->unit->name, fn != NULL ? fn->rid >> 8 : f->endpoint >> 8 & 0xff,
		    fn != NULL ? fn->rid >> 3 & 31 : f->endpoint >> 3 & 31,
		    fn != NULL ? fn->rid & 7 : f->endpoint & 7, f->write ? "write to" : "read of",
		    (unsigned long long)f->iova, dma_fault_text(f->kind), f->code, n);
}

static void
report_all(struct unit_log *e, const struct taken *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t k = i + 1;

		report(e, &t->fault[i], t->fn[i], t->count[i]);
		while (k < t->n && t->fn[k] != t->fn[i])
			k++;
		if (k == t->n && t->fn[i] != NULL)	/* the last one of its device */
			device_fault_tell(t->fn[i], t->count[i]);
	}
	if (t->n != 0)
		__atomic_fetch_add(&e->unit->counters.faults, t->n, __ATOMIC_RELAXED);
	if (t->lost) {
		__atomic_fetch_add(&e->unit->counters.faults_lost, 1, __ATOMIC_RELAXED);
		tell_lost(e);
	}
}

static uint64_t
drain(struct work *w)
{
	struct unit_log *e = container_of(w, struct unit_log, work);
	struct taken t;

	take(e, &t);
	if (t.enough)
		return clock_now() + TICK_NS;
	report_all(e, &t);
	if (t.records == BATCH)
		return 0;
	if (!e->unit->facts.fault_interrupt)
		return clock_now() + POLL_NS;
	/* A record that came while others were in the log made no interrupt. */
	return t.records != 0 || t.lost ? 0 : WORK_DONE;
}

void
unit_drain(struct iommu_unit *u)
{
	struct unit_log *e = u->log;
	struct taken t;

	/* A log is longer than this only when its devices storm. */
	for (unsigned i = 0; i < BATCHES_MAX && e != NULL; i++) {
		take(e, &t);
		report_all(e, &t);
		if (t.records != 0)
			worker_add(&e->work);	/* what comes now makes no interrupt of its own */
		if (t.records < BATCH)		/* or enough for this tick */
			break;
	}
}

enum status
unit_count(struct iommu_unit *u)
{
	struct unit_log *e = u->log;
	struct iommu_ticket again;
	struct taken t;

	for (unsigned i = 0; i < LOOKS; i++) {
		take(e, &t);
		if (t.enough)
			break;
		if (t.records == 0 && !t.lost) {
			if (u->ops->quiet(u, false, &again))
				return OK;
			return load_relaxed(&u->broken) ? E_QUARANTINED : E_WOULD_BLOCK;
		}
		report_all(e, &t);
		worker_add(&e->work);	/* what comes now makes no interrupt of its own */
	}
	/* It comes faster than it can be read: whose it is will be known too late for somebody. */
	device_faults_lost_count(u->index);
	tell_lost(e);
	return OK;
}

enum status
unit_look(struct iommu_unit *u, bool all, struct iommu_ticket *t)
{
	struct unit_log *e = u->log;
	enum status s = OK;

	*t = (struct iommu_ticket){ 0 };
	if (unlikely(e == NULL)) /* no IOMMU stands behind it, so nothing is refused by one */
		return OK;
	if (likely(u->ops->quiet(u, all, t))) {
		io_collect();
		if (likely(load_acquire(&e->lock.held) == 0))
			return OK;
	} else if (t->seq != 0) {
		s = u->ops->ticket_poll(u, *t);
	}
	return s == OK ? unit_count(u) : s;
}

const struct unit_last_fault *
unit_last_fault(const struct iommu_unit *u)
{
	return &u->log->last;
}

enum status
iommu_register(struct iommu_unit *u)
{
	struct unit_log *e = &logs[count];

	if (count == MACHINE_IOMMU_MAX)
		return E_OVERFLOW;
	e->unit = u;
	e->work.step = drain;
	lock_init(&e->lock, RANK_FAULTS);
	u->log = e;
	count++;
	log_info("%s: %s%s%s%s", u->name, u->facts.text, u->facts.coherent ? "" : ", not coherent",
	    u->facts.interrupt_isolation ? "" : ", interrupt_isolation=none",
	    u->facts.fault_log ? "" : ", fault_reporting=none");
	worker_add(&e->work);
	return OK;
}

struct iommu_unit *
iommu_by_index(uint32_t index)
{
	for (uint32_t i = 0; i < count; i++)
		if (logs[i].unit->index == index)
			return logs[i].unit;
	return NULL;
}

struct iommu_unit *
iommu_nth(uint32_t n)
{
	return n < count ? logs[n].unit : NULL;
}

void
iommu_fault_pending(struct iommu_unit *u)
{
	if (u->log != NULL)
		worker_add(&u->log->work);
}

void
iommu_mark_broken(struct iommu_unit *u, const char *why)
{
	if (__atomic_exchange_n(&u->broken, true, __ATOMIC_SEQ_CST))
		return;
	log_error("%s: broken: %s: its devices are shut off", u->name, why);
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].unit == (int)u->index && !pci_functions[i].bridge)
			pci_bus_master(&pci_functions[i], false);
}

void
units_init(const struct machine *m)
{
	for (uint32_t i = 0; i < m->iommu_count; i++) {
		enum status s = E_UNSUPPORTED;

		for (const struct iommu_driver *const *d = iommu_drivers; *d != NULL; d++)
			if ((*d)->kind == m->iommu[i].kind)
				s = (*d)->probe(m, i);
		if (s != OK)
			log_error(
			    "iommu %u: not used (%s): its devices are refused", i, status_text(s));
	}
	if (m->iommu_count == 0)
		log_warn("iommu: none in firmware's tables");
}
