/*
 * Notifications: 64 bits and at most one waiter.
 *
 * Signalling claims the waiter's wait (thread.h) under the notification's lock and leaves it the
 * bits; when there is no waiter to be had, the bits stay.  A waiter may be in ntfn_signal_wait, or
 * in a receive that named the notification (ipc.c).
 */
#include "kern/ipc.h"
#include "kern/handle.h"
#include "kern/process.h"
#include "kern/runqueue.h"
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

/* The notification is locked, and unlocked then. */
static ALWAYS_INLINE bool
signal_locked(struct notification *n, uint64_t bits) NO_THREAD_SAFETY
{
	bool news = (bits & ~n->bits) != 0;
	struct thread *w;

	n->bits |= bits;
	w = n->waiter;
	if (w != NULL && n->bits != 0 && thread_claim(w)) {
		n->waiter = NULL;
		w->ntfn_bits = n->bits;
		n->bits = 0;
		w->wait_status = OK;
		spin_unlock(&n->obj.lock);
		sched_wake(w);
		return true;
	}
	spin_unlock(&n->obj.lock);
	return news;
}

bool
notification_signal(struct notification *n, uint64_t bits) NO_THREAD_SAFETY
{
	spin_lock(&n->obj.lock);
	return signal_locked(n, bits);
}

/* The locked notification's waiter is more urgent and rests here: it goes on at once.  Or (false)
 * nothing was done. */
static ALWAYS_INLINE bool
signal_direct(
    struct thread *t, struct uregs *u, struct notification *n, uint64_t bits) NO_THREAD_SAFETY
{
	struct thread *w = n->waiter;
	struct cpu *c = this_cpu();
	struct run_queue *rq = c->rq;
	struct uregs *wu;

	if (w == NULL || w->prio <= t->prio || !direct_begin(rq, c, w, REST_NOTIFICATION))
		return false;
	if (unlikely(!thread_claim(w))) {
		direct_cancel(rq);
		return false;
	}
	n->waiter = NULL;
	n->bits = 0;
	spin_unlock(&n->obj.lock);
	wu = w->regs;
	wu->w[0] = bits;
	wu->call = OK;
	u->call = OK;
	t->rest = REST_DONE;
	/* It stays first among its equals, with what is left of its slice. */
	t->slice_end = rq->slice_end != DEADLINE_NEVER ? rq->slice_end : 0;
	rq->slice_end = DEADLINE_NEVER;
	enqueue(rq, t, true);
	run_direct(rq, c, t, w);
}

enum status
sys_ntfn_signal(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct notification *n;
	struct object *o;
	uint64_t bits;
	enum status s =
	    handle_lock(t->proc, (handle_t)u->w[0], OBJ_NOTIFICATION, RIGHT_SIGNAL, &o, NULL);

	if (s != OK)
		return s;
	n = container_of(o, struct notification, obj);
	bits = n->bits | u->w[1];
	if (bits != 0)
		(void)signal_direct(t, u, n, bits);
	(void)signal_locked(n, u->w[1]);
	return OK;
}

enum status
notification_wait_over(struct thread *t, struct notification *n, enum status s) NO_THREAD_SAFETY
{
	if (s == OK) {
		t->regs->w[0] = t->ntfn_bits;
		return OK;
	}
	/* The slot is type-stable: at worst it is another notification now, and the waiter is not
	 * us. */
	spin_lock(&n->obj.lock);
	if (n->waiter == t)
		n->waiter = NULL;
	spin_unlock(&n->obj.lock);
	return s;
}

/* The wait of t for n is armed; until it is over, somebody may end it. */
static ALWAYS_INLINE enum status
wait_armed(struct thread *t, struct notification *n, uint64_t deadline)
{
	enum status s;

	if (deadline == DEADLINE_NEVER) {
		t->rest_on = &n->obj;
		t->rest = REST_NOTIFICATION;
	}
	s = sched_block(deadline);
	t->rest = REST_NONE;
	return notification_wait_over(t, n, s);
}

/* n is locked, has no bits and no waiter; unlocks it. */
static ALWAYS_INLINE void
arm(struct thread *t, struct notification *n) NO_THREAD_SAFETY
{
	thread_arm(t);
	t->ntfn_bits = 0;
	n->waiter = t;
	spin_unlock(&n->obj.lock);
}

/*
 * The turn of two that share a ring: n has nothing for t, and the one who waits for "to" rests on
 * this CPU.  Then he continues in t's place.  t is armed first, because two notifications are never
 * locked at a time; who ends its wait meanwhile leaves wake_pending.  False: nothing was done; else
 * t waits for n, armed, and *signalled says whether "to" has its bits.
 */
static ALWAYS_INLINE bool
turn_direct(
    struct thread *t, struct uregs *u, struct notification **n, bool *signalled) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct run_queue *rq = c->rq;
	struct notification *to;
	struct thread *w;
	struct object *o;
	struct uregs *wu;
	uint64_t bits, badge;

	*signalled = false;
	o = handle_try_lock(
	    &t->proc->handles, (handle_t)u->w[0], OBJ_NOTIFICATION, RIGHT_WAIT, &badge);
	if (unlikely(o == NULL))
		return false;
	*n = container_of(o, struct notification, obj);
	if (unlikely((*n)->bits != 0 || (*n)->waiter != NULL)) {
		spin_unlock(&o->lock);
		return false;
	}
	arm(t, *n);
	o = handle_try_lock(
	    &t->proc->handles, (handle_t)u->w[2], OBJ_NOTIFICATION, RIGHT_SIGNAL, &badge);
	if (unlikely(o == NULL))
		return true;
	to = container_of(o, struct notification, obj);
	bits = to->bits | u->w[3];
	w = to->waiter;
	*signalled = true;
	if (w != NULL && w != t && bits != 0 && direct_begin(rq, c, w, REST_NOTIFICATION)) {
		if (likely(!t->wake_pending) && likely(thread_claim(w))) {
			to->waiter = NULL;
			to->bits = 0;
			spin_unlock(&o->lock);
			wu = w->regs;
			wu->w[0] = bits;
			wu->call = OK;
			t->rest_on = &(*n)->obj;
			t->rest = REST_NOTIFICATION;
			t->state = THREAD_BLOCKED;
			rq->slice_end = DEADLINE_NEVER;
			run_direct(rq, c, t, w);
		}
		direct_cancel(rq);
	}
	signal_locked(to, u->w[3]);
	return true;
}

static enum status
signal_handle(struct thread *t, uint64_t h, uint64_t bits) NO_THREAD_SAFETY
{
	struct object *o;
	enum status s = handle_lock(t->proc, (handle_t)h, OBJ_NOTIFICATION, RIGHT_SIGNAL, &o, NULL);

	if (s == OK)
		signal_locked(container_of(o, struct notification, obj), bits);
	return s;
}

enum status
sys_ntfn_signal_wait(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct notification *n;
	struct object *o;
	enum status s = OK;
	bool signalled;

	if ((handle_t)u->w[2] != HANDLE_NONE) {
		if (u->w[1] == DEADLINE_NEVER && turn_direct(t, u, &n, &signalled)) {
			if (unlikely(!signalled))
				s = signal_handle(t, u->w[2], u->w[3]);
			if (likely(s == OK) || !thread_claim(t))
				return wait_armed(t, n, DEADLINE_NEVER);
			return notification_wait_over(t, n, s);
		}
		s = signal_handle(t, u->w[2], u->w[3]);
		if (s != OK)
			return s;
	}
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
	arm(t, n);
	return wait_armed(t, n, u->w[1]);
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
