/*
 * Vectors of a claim: from a message of the device to bits of a notification.
 *
 * Locks    the claim's over routes and masks.
 */
#include "kern/device_parts.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/md/clock.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

static void
irq_fire(void *arg)
{
	struct irq *i = arg;

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
	notification_signal(i->ntfn, i->bits);
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
	else if (i->device->resetting)
		s = E_BUSY;
	else
		pci_msix_mask(i->device->function[i->function].fn, i->vector, u->w[1] != 0);
	spin_unlock(&i->device->obj.lock);
	object_put(o);
	return s;
}
