/*
 * Synchronous calls and notifications: the fast path of the system.
 *
 * A call, step by step:
 *   1. look the endpoint up: it comes back locked and alive;
 *   2. arm the caller's wait; its wait word (thread.h) is the reply token;
 *   3. take receivers off the queue until one can be claimed; if there is none, queue up and block;
 *   4. note the receiver's process as the one that may reply, write message, badge and token into
 *      the receiver's registers, unlock, and hand the CPU over.
 * Nearly always the receiver rests on the caller's CPU, and the whole turn is a direct hand-over:
 * ipc_direct.c.  Deadlines, handles, a notification beside the endpoint, somebody as urgent who
 * waits for the CPU, another CPU: all these take the longer way, here.
 *
 * A reply checks the token against the caller's wait word before reading who may reply, and claims
 * it by that exact word: a late, repeated or forged token fails there.
 *
 * Handles travel only when the tag says so, by a slower path that runs with the receiver claimed
 * and no lock held; a handle that cannot be passed arrives as 0 and the sender is told.
 */
#include "kern/ipc_parts.h"
#include "kern/handle.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/runqueue.h"
#include "kern/sched.h"
#include "kern/thread.h"

NODISCARD enum status
endpoint_create(struct process *payer, struct endpoint **out)
{
	struct object *o;
	enum status s = object_create(OBJ_ENDPOINT, payer, &o);

	if (s != OK)
		return s;
	*out = container_of(o, struct endpoint, obj);
	list_init(&(*out)->callers);
	list_init(&(*out)->receivers);
	return OK;
}

/* At most 8 words, and a handle is one of them: what names no word would be read from registers
 * that nobody sent. */
static ALWAYS_INLINE bool
tag_valid(uint64_t tag)
{
	uint64_t words = FIELD_GET(TAG_WORDS, tag);

	return words <= 8 && FIELD_GET(TAG_HANDLES, tag) >> words == 0;
}

/* Handles named by the tag become handles of the receiver's process, with the sender's rights to
 * them. */
static NOINLINE enum status
copy_handles(struct process *from, const struct uregs *fu, struct process *to, struct uregs *tu,
    uint64_t tag)
{
	uint64_t mask = FIELD_GET(TAG_HANDLES, tag);
	enum status result = OK;

	for (unsigned i = 0; i < 4; i++) {
		handle_t h = HANDLE_NONE;
		enum status s;

		if ((mask & BIT(i)) == 0)
			continue;
		s = handle_copy(from, (handle_t)fu->w[i], to, UINT32_MAX, &h);
		if (s != OK)
			result = s;
		tu->w[i] = h;
	}
	return result;
}

/* Takes a receiver off the queue and claims it; NULL when none is left. */
static ALWAYS_INLINE struct thread *
claim_receiver(struct endpoint *e)
{
	struct list *l;

	while ((l = e->receivers.next) != &e->receivers) {
		struct thread *r = queued_thread(l);

		list_remove(l);
		if (likely(thread_claim(r)))
			return r;
	}
	return NULL;
}

/* Delivers the call of t (armed with "wait") into r, which is claimed. */
static ALWAYS_INLINE enum status
deliver(struct thread *t, const struct uregs *u, uint64_t wait, uint64_t badge, struct thread *r)
{
	struct uregs *ru = r->regs;
	uint64_t tag = u->call & CALL_OUT;

	copy_words(ru, u, tag);
	ru->call = tag;		/* status OK */
	ru->target = badge;
	ru->token = wait;
	r->wait_status = OK;
	r->ntfn_bits = 0;
	store_release(&t->reply_proc, r->proc);
	if (unlikely((tag & TAG_HANDLES) != 0))
		return copy_handles(t->proc, u, r->proc, ru, tag);
	return OK;
}

/* The wait that comes now, for o, may be at rest.  A timer would have to be taken back on the
 * thread's own stack. */
static ALWAYS_INLINE void
rest(struct thread *t, enum rest kind, struct object *o, uint64_t deadline)
{
	if (deadline == DEADLINE_NEVER) {
		t->rest_on = o;
		t->rest = kind;
	}
}

/*
 * A wait in a queue of o, or for an answer, is over with s.  From here on nobody may answer: a
 * server that guesses the token of some later wait finds no process named that may.
 */
static ALWAYS_INLINE enum status
queue_wait_over(struct thread *t, struct object *o, enum status s) NO_THREAD_SAFETY
{
	if (unlikely(s != OK) || unlikely(!list_empty(&t->queue))) {
		/*
		 * Timed out or cancelled, perhaps while a receiver took it and named itself: that
		 * is done under the lock of the queue, which is the endpoint's, type-stable.
		 */
		spin_lock(&o->lock);
		list_remove(&t->queue);
		spin_unlock(&o->lock);
	}
	t->reply_proc = NULL;
	return s;
}

void
ipc_rested(void)
{
	struct cpu *c = this_cpu();
	struct thread *t = c->current;
	struct uregs *u = t->regs;
	enum status s = t->wait_status;

	switch (t->rest) {
	case REST_NONE:		/* new */
		goto out;
	case REST_CALL:
	case REST_RECEIVE:
		s = queue_wait_over(t, t->rest_on, s);
		break;
	case REST_NOTIFICATION:
		s = notification_wait_over(
		    t, container_of(t->rest_on, struct notification, obj), s);
		break;
	case REST_DONE:
		s = OK;
	}
	t->rest = REST_NONE;
	u->call = (u->call & ~CALL_NUMBER) | s;
out:
	if (unlikely(c->resched || t->dying))
		sched_preempt();
}

enum status
ipc_call_slow(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct object *o;
	struct endpoint *e;
	struct thread *r;
	uint64_t badge, wait;
	enum status s;

	if (!tag_valid(u->call))
		return E_INVALID;
	s = handle_lock(t->proc, (handle_t)u->target, OBJ_ENDPOINT, RIGHT_CALL, &o, &badge);
	if (s != OK)
		return s;
	e = container_of(o, struct endpoint, obj);
	wait = thread_arm(t);
	r = claim_receiver(e);
	if (r != NULL) {
		spin_unlock(&o->lock);
		(void)deliver(t, u, wait, badge, r);
		rest(t, REST_CALL, o, u->deadline);
		s = sched_handoff(r, u->deadline);
		t->rest = REST_NONE;
		return queue_wait_over(t, o, s);
	}
	if (u->deadline == 0) {
		t->wait = wait & ~(uint64_t)WAIT_STATE;
		spin_unlock(&o->lock);
		return E_WOULD_BLOCK;
	}
	t->badge = badge;
	list_push_back(&e->callers, &t->queue);
	spin_unlock(&o->lock);
	rest(t, REST_CALL, o, u->deadline);
	s = sched_block(u->deadline);
	t->rest = REST_NONE;
	return queue_wait_over(t, o, s);
}

/* The reply half.  On OK *out is the caller, claimed, with the reply in its registers. */
static ALWAYS_INLINE enum status
reply(struct thread *t, struct uregs *u, struct thread **out)
{
	uint64_t token = token_wait(u->token), tag = u->call & CALL_OUT;
	struct thread *c = token_thread(token);
	struct uregs *cu;
	enum status s = OK;

	if (unlikely(!tag_valid(tag)))
		return E_INVALID;
	if (unlikely(c == NULL) || unlikely(load_acquire(&c->wait) != token) ||
	    unlikely(load_acquire(&c->reply_proc) != t->proc) ||
	    unlikely(!thread_claim_word(c, token)))
		return E_PEER;
	c->reply_proc = NULL;
	cu = c->regs;
	copy_words(cu, u, tag);
	cu->call = tag;
	c->wait_status = OK;
	if (unlikely((tag & TAG_HANDLES) != 0))
		s = copy_handles(t->proc, u, c->proc, cu, tag);
	*out = c;
	return s;
}

enum status
sys_ipc_reply(struct thread *t, struct uregs *u)
{
	struct thread *c = NULL;
	enum status s = reply(t, u, &c);

	if (c != NULL)
		sched_wake(c);
	return s;
}

/* The call that waits longest, into t; e is locked, and unlocked on true. */
static ALWAYS_INLINE bool
take_caller(struct thread *t, struct uregs *u, struct endpoint *e) NO_THREAD_SAFETY
{
	struct list *l;

	/* First come first served; each is checked to be still waiting. */
	while ((l = e->callers.next) != &e->callers) {
		struct thread *c = queued_thread(l);
		struct uregs *cu = c->regs;
		uint64_t wait = load_acquire(&c->wait), tag = cu->call & CALL_OUT;
		struct process *from = NULL;

		if ((wait & WAIT_STATE) != WAIT_ARMED) {
			list_remove(l);
			continue;
		}
		/* While it is in the queue it cannot leave its call: it would need this lock first.
		 */
		copy_words(u, cu, tag);
		u->call = tag;
		u->target = c->badge;
		u->token = wait;
		if (unlikely((tag & TAG_HANDLES) != 0)) {
			from = c->proc;
			object_get(&from->obj);
		}
		store_release(&c->reply_proc, t->proc);
		list_remove(l);
		spin_unlock(&e->obj.lock);
		if (unlikely(from != NULL)) {
			/* By the copied words: the caller may be gone by now, its process is held.
			 */
			(void)copy_handles(from, u, t->proc, u, tag);
			object_put(&from->obj);
		}
		return true;
	}
	return false;
}

/* t, which is armed, waits for n too: E_WOULD_BLOCK.  Or it need not wait: OK, n's bits are its
 * own; E_BUSY, another one waits for n. */
static ALWAYS_INLINE enum status
listen(struct thread *t, struct notification *n)
{
	enum status s = E_WOULD_BLOCK;

	spin_lock(&n->obj.lock);
	if (n->bits != 0) {
		t->ntfn_bits = n->bits;
		n->bits = 0;
		s = OK;
	} else if (n->waiter != NULL) {
		s = E_BUSY;
	} else {
		n->waiter = t;
	}
	spin_unlock(&n->obj.lock);
	if (s != E_WOULD_BLOCK)
		t->wait &= ~(uint64_t)WAIT_STATE;
	return s;
}

static ALWAYS_INLINE void
listens_no_more(struct thread *t, struct notification *n)
{
	spin_lock(&n->obj.lock);
	if (n->waiter == t)
		n->waiter = NULL;
	spin_unlock(&n->obj.lock);
}

/*
 * The receive half; next (may be NULL) is a claimed caller that was just answered and may run now.
 */
static ALWAYS_INLINE enum status
receive(struct thread *t, struct uregs *u, struct thread *next) NO_THREAD_SAFETY
{
	handle_t nh = (handle_t)(u->target >> 32);
	struct notification *n = NULL;
	struct endpoint *e;
	struct object *o, *no;
	enum status s;

	if (nh != HANDLE_NONE) {
		s = handle_ref(t->proc, nh, OBJ_NOTIFICATION, RIGHT_WAIT, &no, NULL);
		if (unlikely(s != OK))
			goto out;
		n = container_of(no, struct notification, obj);
	}
	s = handle_lock(t->proc, (handle_t)u->target, OBJ_ENDPOINT, RIGHT_RECV, &o, NULL);
	if (unlikely(s != OK))
		goto out;
	e = container_of(o, struct endpoint, obj);
	if (take_caller(t, u, e))
		goto out;
	t->ntfn_bits = 0;	/* from the next line on others may write it */
	thread_arm(t);
	if (n != NULL) {
		s = listen(t, n);
		if (s != E_WOULD_BLOCK) {
			spin_unlock(&o->lock);
			goto told;
		}
	}
	if (u->deadline == 0) {
		bool mine = thread_claim(t);

		spin_unlock(&o->lock);
		if (mine) {
			t->wait_status = E_WOULD_BLOCK;
			s = E_WOULD_BLOCK;
		} else {
			s = sched_block(DEADLINE_NEVER);	/* woken meanwhile: take it */
		}
	} else {
		list_push_back(&e->receivers, &t->queue);
		spin_unlock(&o->lock);
		if (n == NULL)
			rest(t, REST_RECEIVE, o, u->deadline);
		if (next != NULL) {
			s = sched_handoff(next, u->deadline);
			next = NULL;
		} else {
			s = sched_block(u->deadline);
		}
		t->rest = REST_NONE;
		s = queue_wait_over(t, o, s);
	}
	if (n != NULL)
		listens_no_more(t, n);
told:
	if (s == OK && t->ntfn_bits != 0) {
		u->call = TAG_NOTIFICATION | FIELD_PREP(TAG_WORDS, 1);
		u->w[0] = t->ntfn_bits;
		u->target = u->token = 0;
	}
out:
	if (n != NULL)
		object_put(&n->obj);
	if (next != NULL)
		sched_wake(next);
	return s;
}

enum status
sys_ipc_recv(struct thread *t, struct uregs *u)
{
	return receive(t, u, NULL);
}

enum status
ipc_reply_recv_slow(struct thread *t, struct uregs *u)
{
	struct thread *next = NULL;

	(void)reply(t, u, &next);
	return receive(t, u, next);
}

static void
fail(struct thread *t, enum status s)
{
	if (thread_claim(t)) {
		t->wait_status = s;
		sched_wake(t);
	}
}

void
endpoint_flush(struct endpoint *e) NO_THREAD_SAFETY
{
	for (;;) {
		struct list *l;

		spin_lock(&e->obj.lock);
		l = list_pop_front(&e->callers);
		if (l == NULL)
			l = list_pop_front(&e->receivers);
		spin_unlock(&e->obj.lock);
		if (l == NULL)
			return;
		fail(queued_thread(l), E_PEER);
		sched_preempt_point();
	}
}

bool
endpoint_destroy(struct object *o)
{
	endpoint_flush(container_of(o, struct endpoint, obj));
	return true;
}

void
endpoint_receiver_added(struct object *o)
{
	__atomic_fetch_add(&container_of(o, struct endpoint, obj)->receiving, 1, __ATOMIC_RELAXED);
}

void
endpoint_receiver_gone(struct object *o)
{
	struct endpoint *e = container_of(o, struct endpoint, obj);

	if (__atomic_fetch_sub(&e->receiving, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	object_bump(o);
	endpoint_flush(e);
}

void
ipc_server_gone(struct process *p)
{
	for (uint32_t i = 0, n = load_acquire(&threads_made); i < n; i++) {
		struct thread *t = load_acquire(&threads[i]);
		uint64_t wait;

		if (t == NULL)
			continue;
		wait = load_acquire(&t->wait);
		if ((wait & WAIT_STATE) == WAIT_ARMED && load_acquire(&t->reply_proc) == p &&
		    thread_claim_word(t, wait)) {
			t->wait_status = E_PEER;
			sched_wake(t);
			sched_preempt_point();
		}
	}
}
