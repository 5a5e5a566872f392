/*
 * Resets that the owner of a claim asks for (D6).
 *
 * The caller stops the device, says "resetting", and waits; the worker resets function after
 * function, in steps that never wait (pci_reset.c), and puts back what a reset loses.  So a caller
 * who gives up, or dies, leaves nothing half done: the reset goes on.  Until it is over
 *   - another one is E_BUSY, and so is whatever would touch a function: between two steps it must
 *     be left alone;
 *   - grants are made and taken back as ever, and bus mastering stays off;
 *   - the claim may end: the end takes the doorbells away and then waits here (device_end.c).
 *
 * Order    mastering off, queues stale | each function reset, confirmed | vectors back, queues
 *          clear, mastering on
 * Locks    the device's, but not while a function is reset: then "resetting" is what keeps others
 *          away.
 */
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/abi/syscall.h"
#include "kern/md/clock.h"
#include "kern/thread.h"

enum status
sys_device_reset(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct device *d;
	enum status s = device_lock(t, u->w[0], RIGHT_MANAGE, &d);

	if (s != OK)
		return s;
	if (d->resetting) {
		spin_unlock(&d->obj.lock);
		return E_BUSY;
	}
	d->resetting = true;
	store_relaxed(&d->generation, d->generation + 1);
	device_master_off(d);
	if (d->check != NULL)
		device_check_stop(d);
	d->at = 0;
	d->reset_state = 0;
	d->reset_due = 0;
	object_get(&d->obj);		/* the reset's */
	object_get(&d->obj);
	worker_add(&d->work);
	s = device_wait(d, &d->reset_waiter, u->w[1]);
	object_put(&d->obj);
	return s;
}

/* Every function was reset; the device's lock is held.  Vectors and grants stay: the table is
 * written anew, mastering comes back. */
static enum status
put_back(struct device *d)
{
	for (unsigned i = 0; i < d->function_count; i++)
		if (d->function[i].source_open)
			(void)pci_msix_open(d->function[i].fn);
	list_for_each(it, &d->irqs) {
		struct irq *i = list_entry(it, struct irq, link);

		store_relaxed(&i->generation, d->generation);
		(void)pci_msix_restore(d->function[i->function].fn, i->vector);
	}
	if (d->check == NULL)
		return device_master_on(d);
	device_check_stopped(d);
	return OK;
}

uint64_t
device_reset_step(struct device *d)
{
	enum status s = OK;

	if (clock_now() < d->reset_due)		/* the claim's end brought the job forward */
		return d->reset_due;
	while (d->at < d->function_count && s == OK) {
		uint64_t next = pci_reset_step(d->function[d->at].fn, &d->reset_state);

		if (next == UINT64_MAX) {
			s = E_IO;
		} else if (next != 0) {
			d->reset_due = next;
			return next;
		} else {
			d->at++;
			d->reset_state = 0;
		}
	}
	spin_lock(&d->obj.lock);
	d->resetting = false;
	d->reset_failed = s != OK;
	if (d->state != DEVICE_CLAIMED)
		s = E_STALE;
	else if (s == OK)
		s = put_back(d);
	trace(DEVICE_RESET, device_tag(d), s);
	device_wake(&d->reset_waiter, s);
	spin_unlock(&d->obj.lock);
	object_put(&d->obj);
	return 0;
}
