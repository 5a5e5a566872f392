/*
 * The end of a claim: device.h tells the order.  A state machine that the worker steps; no step
 * waits.
 *
 * A reset that the owner asked for, or the live test, is steps of the same job (device_step), so
 * the two never interleave.  The end takes the doorbells away at once; then it lets the reset come
 * to its end before it touches a function, which needs its time of quiet.
 */
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/cpu.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/pci_hotplug.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

/* A step does so much at most: vectors, grants, pages of grants. */
enum { VECTORS_AT_ONCE = 16, GRANTS_AT_ONCE = 32 };
enum : uint64_t { BYTES_PER_GRANT = 64 * KIB };		/* so much counts as another one */
/* A window that is just being mapped stays until its mapper had its turn, which may be never while
 * others are more urgent.  So long bus mastering waits for it; then what it rings goes nowhere. */
enum : uint64_t { WINDOWS_NS = 100 * NS_PER_MS };

enum step : uint8_t {
	END_WINDOWS,
	END_MASTER,
	END_DRAIN,
	END_VECTORS,
	END_BLOCK,
	END_FENCE,
	END_UNMAP,
	END_UNMAPPED,
	END_RESET,
	END_UNPIN
};

static void
set_step(struct device *d, enum step s, uint64_t patience)
{
	d->step = s;
	d->step_deadline = clock_now() + patience;
}

static bool brokered(const struct device *d) { return d->verdict.lane == LANE_BROKERED; }

static void
quarantine(struct device *d, const char *what)
{
	struct pci_function *f = d->function[0].fn;

	d->failed = true;
	log_error("device %02x:%02x.%x: quarantined: %s", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7,
	    what);
}

/* The first window of those that are left, closed: mappings that are not in its list by now will
 * not be. */
static struct mmio *
first_window(struct device *d)
{
	struct mmio *w = NULL;

	spin_lock(&d->obj.lock);
	while (w == NULL && !list_empty(&d->windows)) {
		w = list_first(&d->windows, struct mmio, link);
		if (!object_try_get(&w->obj)) {		/* it goes, so nobody maps it */
			list_remove(&w->link);
			w = NULL;
		}
	}
	spin_unlock(&d->obj.lock);
	if (w == NULL)
		return NULL;
	spin_lock(&w->obj.lock);
	w->closed = true;
	spin_unlock(&w->obj.lock);
	return w;
}

/* One mapping less, or a window less. */
static uint64_t
windows_step(struct device *d, struct mmio *w, uint64_t now)
{
	enum status s = vspace_unmap_one_of(&w->obj, &w->mappings);

	if (s == E_NOT_FOUND) {
		spin_lock(&d->obj.lock);
		list_remove(&w->link);
		spin_unlock(&d->obj.lock);
	}
	object_put(&w->obj);
	return s == E_BUSY ? now + NS_PER_MS : 0;
}

/* Some routes less, then a function's table less; false when all are down.  The device's lock is
 * held. */
static bool
vectors_step(struct device *d)
{
	for (unsigned n = 0; n < VECTORS_AT_ONCE && !list_empty(&d->irqs); n++)
		device_irq_unroute(d, list_first(&d->irqs, struct irq, link));
	if (!list_empty(&d->irqs))
		return true;
	for (unsigned i = 0; i < d->function_count; i++) {
		if (!d->function[i].source_open)
			continue;
		pci_msix_close(d->function[i].fn);
		irqc_msi_close(&d->function[i].source);
		d->function[i].source_open = false;
		return true;
	}
	return false;
}

/* Takes some grants back; false when none is left.  Their tickets are waited for together.  The
 * device's lock is held. */
static bool
revoke_step(struct device *d)
{
	for (uint64_t n = 0; n < GRANTS_AT_ONCE; n++) {
		struct list *l = list_pop_front(&d->buffers);
		struct buffer *b;

		if (l == NULL)
			return false;
		list_push_back(&d->revoked, l);
		b = list_entry(l, struct buffer, link);
		/* Whoever waits for it to be idle: it will be free. */
		b->grant.keeps = false;
		/* Quarantined, or on its way already: somebody else began. */
		if (grant_state(&b->grant) == LEDGER_QUARANTINED ||
		    grant_state(&b->grant) == LEDGER_REVOKING)
			continue;
		/* What could not be confirmed to be blocked may still be written, whatever its
		 * entries say. */
		if (d->failed && grant_state(&b->grant) != LEDGER_IDLE)
			device_buffer_quarantine(b);
		else if (device_buffer_revoke(b) != OK)
			KASSERT(!"a pin outlived its generation");
		n += b->grant.cleared / BYTES_PER_GRANT;
	}
	return true;
}

/* Looks at some grants whether they are out of reach.  When to come back; UINT64_MAX: all are
 * settled.  The device's lock is held. */
static uint64_t
settle_step(struct device *d, uint64_t now)
{
	for (unsigned n = 0; n < GRANTS_AT_ONCE; n++) {
		struct buffer *b;
		enum status s = OK;

		if (list_empty(&d->revoked))
			return UINT64_MAX;
		b = list_first(&d->revoked, struct buffer, link);
		if (grant_state(&b->grant) == LEDGER_REVOKING) {
			if (d->failed)
				device_buffer_quarantine(b);
			else
				s = device_buffer_settle(b);
		}
		/* They were queued in this order, or nearly: who waits for the first waits for the
		 * next as well. */
		if (s == E_WOULD_BLOCK)
			return grant_poll_at(&b->grant, now);
		if (s != OK)
			quarantine(d, "the IOMMU did not confirm that its memory is out of reach");
		list_remove(&b->link);
	}
	return 0;
}

/* One step of the end.  Returns when to come back, or WORK_DONE. */
static uint64_t
end_step(struct device *d)
{
	struct iommu_unit *u = d->domain.io.unit;
	uint64_t now = clock_now(), next;
	bool more;

	switch (d->step) {
	case END_WINDOWS: {
		struct mmio *x = first_window(d);

		if (x != NULL && now >= d->step_deadline && d->mastering && d->canary == NULL &&
		    !d->resetting)
			device_master_off(d);
		if (x != NULL)
			return windows_step(d, x, now);
		trace(DEVICE_WINDOWS, device_tag(d));
		set_step(d, END_MASTER, 0);
		return 0;
	}
	case END_MASTER:
		next = d->canary != NULL ? device_canary_step(d) :
		    d->resetting         ? device_reset_step(d) :
					   0;
		if (next != 0)
			return next;
		device_master_off(d);
		d->at = 0;		/* a reset before this was not the end's */
		d->reset_state = 0;
		set_step(d, END_DRAIN, DRAIN_NS);
		return 0;
	case END_DRAIN:
		for (unsigned i = 0; i < d->function_count; i++) {
			if (pci_idle(d->function[i].fn))
				continue;
			if (now < d->step_deadline)
				return now + POLL_NS;
			quarantine(d, "transactions still pending");
			break;
		}
		trace(DEVICE_DRAINED, device_tag(d), d->failed ? E_TIMED_OUT : OK);
		set_step(d, END_VECTORS, 0);
		return 0;
	case END_VECTORS:
		spin_lock(&d->obj.lock);
		more = vectors_step(d);
		spin_unlock(&d->obj.lock);
		if (more)
			return 0;
		trace(DEVICE_VECTORS, device_tag(d));
		/* Where no unit can block the device, it is the reset that makes sure. */
		set_step(d, brokered(d) ? END_RESET : END_BLOCK, 0);
		return 0;
	case END_BLOCK:
		if (!d->domain_live) {
			set_step(d, brokered(d) ? END_UNPIN : END_RESET, 0);
			return 0;
		}
		spin_lock(&d->obj.lock);
		fence_init(&d->fence, u);
		for (unsigned i = 0; i < d->function_count; i++)
			fence_add(&d->fence,
			    u->ops->detach(&d->domain.io, d->function[i].fn->endpoint),
			    now + FENCE_DEADLINE_NS);
		spin_unlock(&d->obj.lock);
		trace(DMA_DETACH, device_tag(d));
		set_step(d, END_FENCE, 0);
		return 0;
	case END_FENCE: {
		enum status s = fence_poll(&d->fence, now);

		if (s == E_WOULD_BLOCK)
			return fence_poll_at(&d->fence, now);
		if (s != OK)
			quarantine(d, "the IOMMU did not confirm that it is blocked");
		trace(DMA_BLOCKED, device_tag(d), s);
		set_step(d, END_UNMAP, 0);
		return 0;
	}
	case END_UNMAP:
		spin_lock(&d->obj.lock);
		more = revoke_step(d);
		spin_unlock(&d->obj.lock);
		if (!more)
			set_step(d, END_UNMAPPED, 0);
		return 0;
	case END_UNMAPPED:
		spin_lock(&d->obj.lock);
		next = settle_step(d, now);
		spin_unlock(&d->obj.lock);
		if (next != UINT64_MAX)
			return next;
		d->state = DEVICE_RESETTING;
		set_step(d, brokered(d) ? END_UNPIN : END_RESET, 0);
		return 0;
	case END_RESET:
		while (d->at < d->function_count) {
			next = pci_reset_step(d->function[d->at].fn, &d->reset_state);
			if (next == UINT64_MAX)
				quarantine(d,
				    d->verdict.last ?
					"it has no reset method: nobody gets it again" :
					"its reset did not work");
			else if (next != 0)
				return next;
			trace(DEVICE_RESET, function_tag(d->function[d->at].fn),
			    next == UINT64_MAX ? E_IO :
				load_relaxed(&d->function[d->at].fn->gone) ? E_NO_DEVICE :
									     OK);
			d->at++;
			d->reset_state = 0;
		}
		set_step(d, brokered(d) ? END_BLOCK : END_UNPIN, 0);
		return 0;
	case END_UNPIN:
		if (d->check != NULL) {
			if (device_queues_release(d))
				return 0;
			spin_lock(&d->obj.lock);
			device_check_close(d);
			spin_unlock(&d->obj.lock);
		}
		if (d->domain_live) {
			d->domain_live = false;
			/* Failed, it is blocked for ever: table pages, tag, records and their price
			 * stay taken. */
			if (!d->failed)
				domain_fini(&d->domain);
		}
		spin_lock(&device_claim_lock);
		for (unsigned i = 0; i < d->function_count; i++) {
			d->function[i].fn->never |= d->failed;
			d->function[i].fn->claimed = NULL;
		}
		spin_unlock(&device_claim_lock);
		spin_lock(&d->obj.lock);
		d->state = d->failed ? DEVICE_QUARANTINED : DEVICE_FREE;
		trace(DEVICE_FREE, device_tag(d), d->failed ? E_QUARANTINED : OK);
		device_wake(&d->waiter, OK);
		watch_fire(&d->watch);
		watch_fire(&d->supervisor);
		spin_unlock(&d->obj.lock);
		object_put(&d->obj);	/* the end's own reference */
		return WORK_DONE;
	}
	return WORK_DONE;
}

uint64_t
device_step(struct work *w)
{
	struct device *d = container_of(w, struct device, work);
	bool ends;

	spin_lock(&d->obj.lock);
	ends = d->state != DEVICE_CLAIMED;
	spin_unlock(&d->obj.lock);
	if (ends)
		return end_step(d);
	/* When the end begins meanwhile it has queued the job again. */
	return (d->canary != NULL ? device_canary_step(d) : device_reset_step(d)) ?: WORK_DONE;
}

/* claimed -> ending; the worker does the rest.  False when it is under way or over. */
static bool
begin_end(struct device *d)
{
	spin_lock(&d->obj.lock);
	if (d->state != DEVICE_CLAIMED) {
		spin_unlock(&d->obj.lock);
		return false;
	}
	store_release(&d->state, DEVICE_ENDING);
	store_relaxed(&d->generation, d->generation + 1);
	if (d->domain_live)
		ledger_bump(&d->domain.ledger,
		    d->domain.ledger.generation + 1); /* no grant is found or pinned any more */
	trace(DEVICE_ENDS, device_tag(d), d->generation);
	set_step(d, END_WINDOWS, WINDOWS_NS);
	object_get(&d->obj);
	device_status_end(d);
	worker_add(&d->work);	/* under the lock: later, the end could be over */
	spin_unlock(&d->obj.lock);
	return true;
}

void
device_wake(struct thread **slot, enum status s)
{
	struct thread *t = *slot;

	/* Claimed under the lock: after a time-out it takes itself off under the lock before it can
	 * wait anew. */
	*slot = NULL;
	if (t == NULL || !thread_claim(t))
		return;
	t->wait_status = s;
	sched_wake(t);
}

enum status
device_wait(struct device *d, struct thread **slot, uint64_t deadline) NO_THREAD_SAFETY
{
	struct thread *t = current_thread();
	enum status s;

	thread_arm(t);
	*slot = t;
	spin_unlock(&d->obj.lock);
	s = sched_block(deadline);
	spin_lock(&d->obj.lock);
	if (*slot == t)
		*slot = NULL;
	spin_unlock(&d->obj.lock);
	return s;
}

enum status
device_end(struct device *d, uint64_t deadline) NO_THREAD_SAFETY
{
	enum status s = OK;

	(void)begin_end(d);
	spin_lock(&d->obj.lock);
	if (d->state == DEVICE_FREE || d->state == DEVICE_QUARANTINED || d->waiter != NULL) {
		s = d->waiter != NULL ? E_BUSY : OK;
		spin_unlock(&d->obj.lock);
	} else {
		s = device_wait(d, &d->waiter, deadline);
	}
	object_bump(&d->obj);
	return s == OK && d->state == DEVICE_QUARANTINED ? E_QUARANTINED : s;
}

/* The last handle, window, vector and grant are gone.  A claim that was never ended is ended now,
 * and the end's own reference brings the object back here when it is over. */
bool
device_destroy(struct object *o)
{
	struct device *d = device_of(o);
	struct notification *n, *m;

	/* Its functions still lead faults here: the watches are gone for them before they are put.
	 */
	spin_lock(&d->obj.lock);
	watch_set(&d->watch, NULL, 0, &n);
	watch_set(&d->supervisor, NULL, 0, &m);
	spin_unlock(&d->obj.lock);
	if (n != NULL)
		object_put(&n->obj);
	if (m != NULL)
		object_put(&m->obj);
	if (begin_end(d))
		return false;
	if (d->holder != NULL)
		object_put(&d->holder->obj);
	d->holder = NULL;
	if (d->page_memory != NULL)
		object_put(&d->page_memory->obj);
	return true;
}

static void
end_claim(struct object *o, uint32_t rights, void *arg)
{
	struct device *d = device_of(o);
	bool *waits = arg;

	if ((rights & RIGHT_DMA) == 0)
		return;
	(void)begin_end(d);
	if (d->state != DEVICE_FREE && d->state != DEVICE_QUARANTINED)
		*waits = true;
}

bool
device_unplug(struct pci_function *f, bool gone)
{
	struct device *d;
	bool claimed;

	if (gone)
		store_release(&f->gone, true);
	/* Under the lock: who claims the group looks at this first, and has it or has not. */
	spin_lock(&device_claim_lock);
	store_release(&f->leaving, true);
	d = f->claimed;
	claimed = d != NULL;
	if (claimed && !object_try_get(&d->obj))
		d = NULL;		/* its end is under way */
	spin_unlock(&device_claim_lock);
	if (d == NULL)
		return !claimed;
	/* A claim that is being made is left to its maker; his deadline, or his own failure, ends
	 * that. */
	if (!load_acquire(&d->opening))
		(void)begin_end(d);
	object_put(&d->obj);
	return false;
}

bool
device_end_some_of(struct process *p, uint32_t *at, bool *waits)
{
	return handle_for_some(p, at, OBJ_DEVICE, end_claim, waits);
}
