/*
 * Units: registration, fault draining, breaking.
 *
 * Faults are drained by the worker in bounded batches: the interrupt only queues the job, and a unit without a working
 * interrupt is polled.  The log shows the first faults of a device, then every doubling; counters show all.
 */
#include "kern/dma/unit.h"
#include "kern/base/bits.h"
#include "kern/device.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/pci.h"
#include "kern/trace.h"
#include "kern/worker.h"

enum { BATCH = 16, BATCHES_MAX = 16 };
enum : uint64_t { POLL_NS = 200 * NS_PER_MS };

struct entry {
	struct iommu_unit *unit;
	struct work work;
	struct unit_last_fault last;
};

static struct entry units[MACHINE_IOMMU_MAX];
static uint32_t count;

static struct entry *
entry_of(const struct iommu_unit *u)
{
	for (uint32_t i = 0; i < count; i++)
		if (units[i].unit == u)
			return &units[i];
	return NULL;
}

/* False: a live test asked for it.  Its address is one of memory: nobody is told. */
static bool
report(struct entry *e, const struct dma_fault *f)
{
	struct pci_function *fn = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].unit == (int)e->unit->index && pci_functions[i].endpoint == f->endpoint)
			fn = &pci_functions[i];
	if (fn != NULL && device_canary_fault(fn, f))
		return false;
	e->last = (struct unit_last_fault){ *f, true };
	trace(DMA_FAULT, fn != NULL ? (uint32_t)fn->segment << 16 | fn->rid : f->endpoint, (struct iova){ f->iova }, f->write,
	    f->kind);
	if (fn != NULL) {
		n = __atomic_add_fetch(&fn->faults, 1, __ATOMIC_RELAXED);
		device_fault(fn, f);
	}
	if (is_pow2(n) || n == 0)
		log_warn("%s: fault: device %02x:%02x.%x %s iova 0x%llx: %s (code 0x%x, %u so far)", e->unit->name,
		    fn != NULL ? fn->rid >> 8 : f->endpoint >> 8 & 0xff,
		    fn != NULL ? fn->rid >> 3 & 31 : f->endpoint >> 3 & 31, fn != NULL ? fn->rid & 7 : f->endpoint & 7,
		    f->write ? "write to" : "read of", (unsigned long long)f->iova, dma_fault_text(f->kind), f->code, n);
	return true;
}

/* One batch; false when there may be more. */
static bool
drain_batch(struct entry *e)
{
	struct iommu_unit *u = e->unit;
	struct dma_fault f[BATCH];
	bool lost = false;
	uint32_t n = u->ops->drain_faults(u, f, BATCH, &lost), told = 0;

	for (uint32_t i = 0; i < n; i++)
		told += report(e, &f[i]);
	__atomic_fetch_add(&u->counters.faults, told, __ATOMIC_RELAXED);
	if (lost) {
		__atomic_fetch_add(&u->counters.faults_lost, 1, __ATOMIC_RELAXED);
		device_faults_lost(u->index);
	}
	return n < BATCH;
}

static uint64_t
drain(struct work *w)
{
	return drain_batch(container_of(w, struct entry, work)) ? clock_now() + POLL_NS : 0;
}

void
unit_drain(struct iommu_unit *u)
{
	struct entry *e = entry_of(u);

	/* A log is longer than this only when its devices storm. */
	for (unsigned i = 0; i < BATCHES_MAX && e != NULL; i++)
		if (drain_batch(e))
			break;
}

const struct unit_last_fault *
unit_last_fault(const struct iommu_unit *u)
{
	return &entry_of(u)->last;
}

enum status
iommu_register(struct iommu_unit *u)
{
	struct entry *e = &units[count];

	if (count == MACHINE_IOMMU_MAX)
		return E_OVERFLOW;
	e->unit = u;
	e->work.step = drain;
	count++;
	log_info("%s: %s%s%s%s", u->name, u->facts.text, u->facts.coherent ? "" : ", not coherent",
	    u->facts.interrupt_isolation ? "" : ", interrupt_isolation=none", u->facts.fault_log ? "" : ", fault_reporting=none");
	worker_add(&e->work);
	return OK;
}

struct iommu_unit *
iommu_by_index(uint32_t index)
{
	for (uint32_t i = 0; i < count; i++)
		if (units[i].unit->index == index)
			return units[i].unit;
	return NULL;
}

struct iommu_unit *
iommu_nth(uint32_t n)
{
	return n < count ? units[n].unit : NULL;
}

void
iommu_fault_pending(struct iommu_unit *u)
{
	struct entry *e = entry_of(u);

	if (e != NULL)
		worker_add(&e->work);
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
			log_error("iommu %u: not used (%s): its devices are refused", i, status_text(s));
	}
	if (m->iommu_count == 0)
		log_warn("iommu: none in firmware's tables");
}
