/*
 * Faults of claims: counted, shown to the driver, told to its supervisor (D11).
 *
 * A device may report success for an access that was refused: the IOMMU drops a posted write, and
 * the device never hears of it.  So a driver looks before it believes completions.  The page that
 * it can only read holds the sequence number; device_look brings it up to date, in this order:
 *
 *   1 the driver has read completions from its queue
 *   2 every access that the unit refused before now has been in its log (a sync, where the unit
 *     needs one)
 *   3 the log is empty, and what was in it is counted (kern/dma/unit.c)
 *   4 the driver reads the page
 *
 * The device made its accesses for a command before it wrote the completion.  So a refused one came
 * before 1, was in the log at 2, and is in the page at 4.  Without 2 and 3 the record could arrive
 * after the completion was believed.  One look is enough for all completions that were read before
 * it.
 *
 * Where the kernel checks the queues, 2 is left out.  Every address that the device was told lies
 * in a live grant, pinned until the kernel has consumed the completion.  So an access that is
 * refused is none that the device was told to make, and a device that makes up addresses may make
 * up data.  The log is looked at all the same: what is in it counts.  Where nobody refuses
 * (brokered) or no log works (fault_reporting=none) there is nothing to look at, and the page says
 *            so.
 *
 * The page is a memory object of its own, made when the driver first maps it, at the driver's cost.
 */
#include "kern/device_parts.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/dma/unit.h"
#include "kern/frame.h"
#include "kern/handle.h"
#include "kern/ipc.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

enum : uint64_t { SPIN_NS = 4 * NS_PER_US };

uint32_t
device_fault_count(struct pci_function *f)
{
	uint32_t n = __atomic_add_fetch(&f->faults, 1, __ATOMIC_RELAXED);

	spin_lock(&device_claim_lock);
	if (f->claimed != NULL)
		device_status(f->claimed)->fault_seq++;
	spin_unlock(&device_claim_lock);
	return n;
}

void
device_faults_lost_count(uint32_t unit)
{
	spin_lock(&device_claim_lock);
	for (uint32_t i = 0; i < pci_count; i++) {
		struct device *d = pci_functions[i].claimed;

		if (d == NULL || pci_functions[i].unit != (int)unit)
			continue;
		/* A driver that reads them the other way round knows at least the losses in the
		 * sum. */
		device_status(d)->lost++;
		store_release(&device_status(d)->fault_seq, device_status(d)->fault_seq + 1);
	}
	spin_unlock(&device_claim_lock);
}

void
device_shut_off(struct device *d)
{
	struct iommu_unit *u = d->domain.io.unit;

	d->shut_off = true;
	if (!d->resetting)	/* it is off then, and stays */
		device_master_off(d);
	/* For a device that does not care.  Nothing is let go by this, so nobody waits for the
	 * ticket: the end blocks it once more, and waits for that. */
	for (unsigned i = 0; i < d->function_count && d->verdict.lane == LANE_DIRECT; i++)
		(void)u->ops->detach(&d->domain.io, d->function[i].fn->endpoint);
}

/*
 * n: faults of the function so far.  A claim whose device storms loses bus mastering, and is
 * blocked by its unit, until it ends: nothing turns it on again.
 */
void
device_fault_tell(struct pci_function *f, uint32_t n)
{
	struct device *d;
	bool storm;

	spin_lock(&device_claim_lock);
	d = f->claimed;
	if (d != NULL && !object_try_get(&d->obj))
		d = NULL;
	spin_unlock(&device_claim_lock);
	if (d == NULL)
		return;
	spin_lock(&d->obj.lock);
	watch_fire(&d->watch);
	watch_fire(&d->supervisor);
	storm = d->state == DEVICE_CLAIMED && d->domain_live && !load_relaxed(&d->opening) &&
	    !d->shut_off && n >= STORM;
	if (storm)
		device_shut_off(d);
	spin_unlock(&d->obj.lock);
	if (storm)
		log_error("device %02x:%02x.%x: %llu faults: shut off", f->rid >> 8,
		    f->rid >> 3 & 31, f->rid & 7, (unsigned long long)STORM);
	object_put(&d->obj);
}

void
device_faults_lost_tell(uint32_t unit)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].unit == (int)unit)
			device_fault_tell(&pci_functions[i], 0);
}

/* Makes the page, with what was counted so far. */
static enum status
page_create(struct device *d, struct process *payer)
{
	struct memory *m;
	struct paddr at;
	uint64_t run;
	enum status s = memory_create(payer, 1, 0, &m);

	if (s != OK)
		return s;
	if (!memory_run(m, 0, &at, &run)) {
		object_put(&m->obj);
		return E_NO_MEMORY;
	}
	m->sealed = true;
	spin_lock(&device_claim_lock);
	if (d->page == NULL) {
		struct dma_status *p = frame_ptr(at);

		*p = d->status;
		p->look = d->domain.io.unit != NULL && d->domain.io.unit->log != NULL &&
		    d->domain.io.unit->facts.fault_log;
		d->page_memory = m;
		store_release(&d->page, p);
		m = NULL;
	}
	spin_unlock(&device_claim_lock);
	smp_full();		/* with device_status_end: one of the two sees the other */
	if (load_relaxed(&d->status.ended) != 0)
		store_release(&d->page->ended, 1);
	if (m != NULL)		/* another thread was first */
		object_put(&m->obj);
	return OK;
}

enum status
device_map_status(struct object *o, struct process *payer, struct process *p, uint64_t len,
    uint64_t va, uint8_t prot, uint64_t *va_out)
{
	struct device *d = device_of(o);
	enum status s = OK;

	if (prot != PROT_READ)
		return E_READ_ONLY;
	if (len != PAGE_SIZE)
		return E_RANGE;
	if (load_acquire(&d->page) == NULL)
		s = page_create(d, payer);
	return s == OK ? vspace_map(p, &d->page_memory->obj, 0, len, va, prot, va_out) : s;
}

/* The log is not empty, or nobody knows yet.  A sync takes about a microsecond: so at first without
 * leaving the CPU. */
static COLD enum status
look_longer(
    struct thread *t, struct iommu_unit *unit, struct iommu_ticket ticket, uint64_t deadline)
{
	uint64_t now = clock_now(), spin_until = now + SPIN_NS, until = now + FENCE_DEADLINE_NS;
	enum status s = E_WOULD_BLOCK;
	struct fence f;

	fence_init(&f, unit);
	fence_add(&f, ticket, until);
	while (s == E_WOULD_BLOCK) {
		if (t->dying)
			return E_CANCELLED;
		if (now >= deadline)
			return E_TIMED_OUT;
		if (now >= until)
			return E_QUARANTINED;
		if (now < spin_until)
			clock_spin(SPIN_NS / 16);
		else
			sched_sleep(min_u64(fence_poll_at(&f, now), deadline));
		now = clock_now();
		s = fence_poll(&f, now);
		if (s == OK)
			s = unit_count(unit);
	}
	return s;
}

enum status
sys_device_look(struct thread *t, struct uregs *u)
{
	struct iommu_ticket ticket;
	struct iommu_unit *unit;
	struct object *o;
	uint64_t meta;
	enum status s = handle_read(&t->proc->handles, (handle_t)u->w[0], &o, &meta, NULL);

	if (unlikely(s != OK))
		return s;
	if (unlikely(o->type != OBJ_DEVICE))
		return E_TYPE;
	if (unlikely((meta & RIGHT_READ) == 0))
		return E_RIGHTS;
	/*
	 * No lock: objects stay what they are and units stay for ever.  A claim that ends meanwhile
	 * says so in its page, and who looked at its unit for nothing did no harm.
	 */
	if (unlikely(load_relaxed(&o->gen) != (uint32_t)(meta >> 32)) ||
	    unlikely(load_relaxed(&device_of(o)->state) != DEVICE_CLAIMED))
		return E_STALE;
	unit = load_relaxed(&device_of(o)->domain.io.unit);
	if (unlikely(unit == NULL))
		return OK;
	s = unit_look(unit, load_relaxed(&device_of(o)->check) == NULL, &ticket);
	return likely(s != E_WOULD_BLOCK) ? s : look_longer(t, unit, ticket, u->w[1]);
}
