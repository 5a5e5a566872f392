/*
 * Notifications: 64 bits and at most one waiter.
 *
 * Signalling claims the waiter's wait (thread.h) under the notification's lock and leaves it the bits; when there is no waiter
 * to be had, the bits stay.  A waiter may be in ntfn_wait, or in a receive that named the notification (ipc.c).
 */
#include "kern/ipc.h"
#include "kern/handle.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

NODISCARD enum status
notification_create(struct process *payer, struct notification **out)
{
	struct object *o;
	enum status s = object_create(OBJ_NOTIFICATION, payer, &o);

	if (s == OK)
		*out = container_of(o, struct notification, obj);
	return s;
}

void
notification_signal(struct notification *n, uint64_t bits) NO_THREAD_SAFETY
{
	struct thread *w;

	spin_lock(&n->obj.lock);
	n->bits |= bits;
	w = n->waiter;
	if (w != NULL && n->bits != 0 && thread_claim(w)) {
		n->waiter = NULL;
		w->ntfn_bits = n->bits;
		n->bits = 0;
		w->wait_status = OK;
		spin_unlock(&n->obj.lock);
		sched_wake(w);
		return;
	}
	spin_unlock(&n->obj.lock);
}

enum status
sys_ntfn_signal(struct thread *t, struct uregs *u)
{
	struct object *o;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_NOTIFICATION, RIGHT_SIGNAL, &o, NULL);

	if (s != OK)
		return s;
	notification_signal(container_of(o, struct notification, obj), u->w[1]);
	object_put(o);
	return OK;
}

enum status
sys_ntfn_wait(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct notification *n;
	struct object *o;
	enum status s;

	if ((handle_t)u->w[0] == HANDLE_NONE) {
		if (u->w[1] == 0)
			return E_TIMED_OUT;
		thread_arm(t);
		return sched_block(u->w[1]);
	}
	s = handle_lock(t->proc, (handle_t)u->w[0], OBJ_NOTIFICATION, RIGHT_WAIT, &o, NULL);
	if (s != OK)
		return s;
	n = container_of(o, struct notification, obj);
	if (n->bits != 0) {
		u->w[0] = n->bits;
		n->bits = 0;
		spin_unlock(&o->lock);
		return OK;
	}
	if (n->waiter != NULL || u->w[1] == 0) {
		s = u->w[1] == 0 ? E_WOULD_BLOCK : E_BUSY;
		spin_unlock(&o->lock);
		return s;
	}
	thread_arm(t);
	t->ntfn_bits = 0;
	n->waiter = t;
	spin_unlock(&o->lock);
	s = sched_block(u->w[1]);
	if (s != OK) {
		/* The slot is type-stable: at worst it is another notification now, and the waiter is not us. */
		spin_lock(&o->lock);
		if (n->waiter == t)
			n->waiter = NULL;
		spin_unlock(&o->lock);
		return s;
	}
	u->w[0] = t->ntfn_bits;
	return OK;
}

void
notification_flush(struct notification *n) NO_THREAD_SAFETY
{
	struct thread *w;

	spin_lock(&n->obj.lock);
	w = n->waiter;
	n->waiter = NULL;
	if (w != NULL && thread_claim(w)) {
		w->wait_status = E_STALE;
		spin_unlock(&n->obj.lock);
		sched_wake(w);
		return;
	}
	spin_unlock(&n->obj.lock);
}

bool
notification_destroy(struct object *o)
{
	notification_flush(container_of(o, struct notification, obj));
	return true;
}
