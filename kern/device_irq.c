/*
 * Vectors of a claim: from a message of the device to bits of a notification.
 *
 * An interrupt costs whoever runs on the CPU where it goes, which the driver chooses, and neither
 * that process nor the driver's budget is asked.  So a claim has a budget of them on each CPU,
 * whoever takes them or does not: IRQ_BURST at once, and one each IRQ_COST_NS in the long run.
 * What is above that is held back, not lost: the vector is masked, what comes meanwhile is one
 * pending bit in the device, and it comes when the vector is unmasked.  An interrupt, and its
 * driver's turn when that does nothing but wait again, take about a microsecond: less than a tenth
 * of a CPU.
 *
 *     count reaches IRQ_BURST: were they slower than one each IRQ_COST_NS?
 *         yes -> count begins anew
 *         no  -> masked, held until they are paid for -> the worker unmasks what the driver has not
 *                masked itself
 *
 * The clock is read once in IRQ_BURST interrupts.  Vectors that share a CPU share its budget: each
 * of the others that still comes adds to what is owed, and all are held until that is paid.
 *
 * A device that sends a masked vector's message all the same, more often than messages can have
 * been on their way, is shut off: no mastering, its endpoints blocked, its routes torn down.
 *
 * Locks    the claim's over routes and masks.  A budget is the CPU's on which it is.
 */
#include "kern/device_parts.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

enum : uint32_t { IRQ_BURST = 16, DEFIED_MAX = 64, ROUTES_AT_ONCE = 16 };
enum : uint64_t { IRQ_COST_NS = 12'500 };	/* 80 in a millisecond */

/* When all that came is paid for. */
static uint64_t
paid_at(const struct irq_budget *b)
{
	return load_relaxed(&b->began) + load_relaxed(&b->count) * IRQ_COST_NS;
}

/* Masks it until then; on the CPU that took the interrupt, with no lock held. */
static COLD void
hold(struct irq *i)
{
	struct device *d = i->device;
	bool first = false;

	spin_lock(&d->obj.lock);
	/* Else it is masked, or about to be. */
	if (d->state == DEVICE_CLAIMED && !d->resetting && !list_empty(&i->link)) {
		i->held_on = this_cpu()->id;
		if (!i->held) {
			i->held = true;
			i->defied = 0;
			pci_msix_mask(d->function[i->function].fn, i->vector, true);
			first = ++d->irq_holds == 1;
		} else if (++i->defied == DEFIED_MAX) {
			d->irq_defied = true;
			worker_add(&d->irq_work);
		}
		if (!d->irq_holding) {
			d->irq_holding = true;
			object_get(&d->obj);	/* the job's */
			worker_add(&d->irq_work);
		}
	}
	spin_unlock(&d->obj.lock);
	if (first)
		log_info("device %02x:%02x.%x: more than %u interrupts in a millisecond: held back",
		    d->function[0].fn->rid >> 8, d->function[0].fn->rid >> 3 & 31,
		    d->function[0].fn->rid & 7, (unsigned)(NS_PER_MS / IRQ_COST_NS));
}

/* As many came as may at once: were they slow enough? */
static COLD void
judge_rate(struct irq *i, struct irq_budget *b)
{
	uint64_t now = clock_now();

	/* Those before this one are paid for: it begins anew. */
	if (now - b->began >= (b->count - 1) * IRQ_COST_NS) {
		store_relaxed(&b->began, now);
		store_relaxed(&b->count, 1);
	} else {
		hold(i);
	}
}

/* A mask does not stop it.  False: not all of its routes are down yet. */
static bool
end_defiance(struct device *d) REQUIRES(d->obj.lock)
{
	if (!d->shut_off) {
		const struct pci_function *f = d->function[0].fn;

		device_shut_off(d);
		log_error("device %02x:%02x.%x: it sends interrupts that are masked: shut off",
		    f->rid >> 8, f->rid >> 3 & 31, f->rid & 7);
	}
	for (unsigned n = 0; n < ROUTES_AT_ONCE && !list_empty(&d->irqs); n++)
		device_irq_unroute(d, list_first(&d->irqs, struct irq, link));
	return list_empty(&d->irqs);
}

/* Unmasks what is paid for; what came meanwhile is pending in the device.  Returns when more will
 * be. */
static uint64_t
release(struct device *d, uint64_t now) REQUIRES(d->obj.lock)
{
	uint64_t next = WORK_DONE;

	list_for_each(it, &d->irqs) {
		struct irq *i = list_entry(it, struct irq, link);

		if (!i->held)
			continue;
		if (d->resetting) {		/* nobody touches it */
			next = min_u64(next, now + NS_PER_MS);
		} else if (now < paid_at(&d->irq_budget[i->held_on])) {
			next = min_u64(next, paid_at(&d->irq_budget[i->held_on]));
		} else {
			i->held = false;
			if (!i->masked && d->state == DEVICE_CLAIMED)
				pci_msix_mask(d->function[i->function].fn, i->vector, false);
		}
	}
	return next;
}

static uint64_t
irq_work(struct work *w)
{
	struct device *d = container_of(w, struct device, irq_work);
	uint64_t now = clock_now(), next;

	spin_lock(&d->obj.lock);
	if (d->irq_defied && d->state == DEVICE_CLAIMED)
		next = end_defiance(d) ? WORK_DONE : now + 1;
	else
		next = release(d, now);
	if (next == WORK_DONE)
		d->irq_holding = false;
	spin_unlock(&d->obj.lock);
	if (next == WORK_DONE)
		object_put(&d->obj);
	return next;
}

void
device_irq_init(struct device *d)
{
	list_init(&d->irqs);
	d->irq_work.step = irq_work;
}

static void
irq_fire(void *arg)
{
	struct irq *i = arg;
	struct irq_budget *b;

	/* A message of the slot's user before, taken while the slot changed hands, can come before
	 * there is a device. */
	if (unlikely(load_acquire(&i->device) == NULL))
		return;
	/* On its way since before a reset or the end: nobody is told (D6). */
	if (load_relaxed(&i->generation) != load_relaxed(&i->device->generation)) {
		trace(
		    INTERRUPT_STALE, function_tag(i->device->function[i->function].fn), i->vector);
		return;
	}
	i->count++;
	trace(INTERRUPT, function_tag(i->device->function[i->function].fn), i->vector);
	(void)notification_signal(i->ntfn, i->bits);
	b = &i->device->irq_budget[this_cpu()->id];
	store_relaxed(&b->count, b->count + 1);
	if (unlikely(b->count >= IRQ_BURST))
		judge_rate(i, b);
}

/*
 * A function's first vector: room for its messages, its table open, and the page that messages go
 * to reachable.  Waits for the last; the device's lock, which is held, is let go meanwhile.
 */
static enum status
open_source(struct device *d, struct group_function *g) NO_THREAD_SAFETY
{
	enum status s = d->resetting ? E_BUSY : d->shut_off ? E_NO_DEVICE : OK;

	if (s == OK && !g->source_open) {
		s = irqc_msi_open(&g->source, g->fn->segment, g->fn->rid,
		    (uint32_t)min_u64(g->fn->msix_count, DEVICE_IRQS_MAX));
		if (s != OK)
			return s;
		s = pci_msix_open(g->fn);
		if (s != OK) {
			irqc_msi_close(&g->source);
			return s;
		}
		g->source_open = true;
	}
	while (s == OK && g->source.doorbell.v != 0 && d->verdict.lane != LANE_BROKERED) {
		s = domain_map_doorbell(&d->domain, g->source.doorbell);
		if (s != E_WOULD_BLOCK)
			break;
		s = device_sleep(d, &d->domain.doorbell_fence, DEADLINE_NEVER);
		if (s == OK && (d->state != DEVICE_CLAIMED || d->resetting))
			s = d->state != DEVICE_CLAIMED ? E_STALE : E_BUSY;
	}
	return s;
}

enum status
sys_device_irq(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint64_t fn = u->w[1] >> 16, vector = u->w[1] & 0xffff;
	struct group_function *g;
	struct irqc_message msg;
	struct object *o, *no;
	struct device *d;
	struct irq *i;
	handle_t h;
	enum status s =
	    handle_ref(t->proc, (handle_t)u->w[2], OBJ_NOTIFICATION, RIGHT_SIGNAL, &no, NULL);

	if (s != OK)
		return s;
	s = object_create(OBJ_IRQ, t->proc, &o);
	if (s != OK) {
		object_put(no);
		return s;
	}
	i = container_of(o, struct irq, obj);
	i->ntfn = container_of(no, struct notification, obj);
	i->bits = u->w[3];
	list_init(&i->link);
	s = quota_take_vectors(&t->proc->quota, 1);
	if (s != OK) {
		object_put(o);
		return s;
	}
	s = irq_slot_claim(irq_fire, i, "device", &i->slot);
	if (s != OK) {
		quota_give_vectors(&t->proc->quota, 1);
		object_put(o);
		return s;
	}
	i->live = true;
	s = device_lock(t, u->w[0], RIGHT_MANAGE, &d);
	if (s != OK)
		goto out;
	object_get(&d->obj);
	store_release(&i->device, d);
	if (fn >= d->function_count || vector >= d->function[fn].fn->msix_count ||
	    vector >= DEVICE_IRQS_MAX) {
		s = E_RANGE;
		goto unlock;
	}
	g = &d->function[fn];
	s = open_source(d, g);
	if (s != OK)
		goto unlock;
	list_for_each(it, &d->irqs) {
		struct irq *other = list_entry(it, struct irq, link);

		if (other->function == fn && other->vector == vector) {
			s = E_BUSY;
			goto unlock;
		}
	}
	i->function = (uint32_t)fn;
	i->vector = (uint32_t)vector;
	i->generation = d->generation;
	s = irqc_msi_bind(&g->source, i->vector, i->slot, (unsigned)u->w[4], &msg);
	if (s != OK)
		goto unlock;
	if (g->source.doorbell.v != 0)
		msg.address = (d->verdict.lane == LANE_BROKERED ? g->source.doorbell.v :
								  d->domain.doorbell.v) +
		    g->source.doorbell_offset;
	list_push_back(&d->irqs, &i->link);
	pci_msix_set(g->fn, i->vector, msg.address, msg.data);
unlock:
	spin_unlock(&d->obj.lock);
out:
	if (s == OK)
		s = handle_insert(t->proc, o, o->gen, RIGHT_MANAGE | RIGHT_GIVE, 0, &h);
	if (s != OK) {
		object_put(o);
		return s;
	}
	u->w[0] = h;
	return OK;
}

void
device_irq_unroute(struct device *d, struct irq *i)
{
	struct group_function *g = &d->function[i->function];

	if (!d->resetting)		/* the reset masks them all */
		pci_msix_mask(g->fn, i->vector, true);
	irqc_msi_unbind(&g->source, i->vector, i->slot);
	list_remove(&i->link);
}

bool
irq_destroy(struct object *o)
{
	struct irq *i = container_of(o, struct irq, obj);

	if (i->device != NULL) {
		spin_lock(&i->device->obj.lock);
		if (!list_empty(&i->link))
			device_irq_unroute(i->device, i);
		spin_unlock(&i->device->obj.lock);
	}
	if (i->live) {
		irq_slot_release(i->slot);
		quota_give_vectors(&o->payer->quota, 1);
	}
	if (i->ntfn != NULL)
		object_put(&i->ntfn->obj);
	if (i->device != NULL)
		object_put(&i->device->obj);
	return true;
}

enum status
sys_irq_control(struct thread *t, struct uregs *u)
{
	struct object *o;
	struct irq *i;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_IRQ, RIGHT_MANAGE, &o, NULL);

	if (s != OK)
		return s;
	i = container_of(o, struct irq, obj);
	spin_lock(&i->device->obj.lock);
	if (list_empty(&i->link))
		s = E_STALE;
	if (s == OK && i->device->resetting)
		s = E_BUSY;
	if (s == OK) {
		i->masked = u->w[1] != 0;
		pci_msix_mask(i->device->function[i->function].fn, i->vector, i->masked || i->held);
	}
	spin_unlock(&i->device->obj.lock);
	object_put(o);
	return s;
}
