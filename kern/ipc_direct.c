/*
 * The usual call, and the usual reply that waits for the next call: direct hand-overs (runqueue.h).
 *
 * Both do what ipc.c does, in its order, when nothing is unusual; when anything is, they have
 * changed nothing and ipc.c does all of it.  Locks are only tried here.  No function is called that
 * returns, and so no register is saved (the Makefile leaves frame pointers out of this file too):
 * what a call costs is what stands here, plus the entry code.
 */
#include "kern/ipc_parts.h"
#include "kern/handle.h"
#include "kern/process.h"
#include "kern/runqueue.h"

/* At most 8 words, no handles, and 0 between them and the label: then the call register less the
 * number is the tag. */
static ALWAYS_INLINE bool
plain(uint64_t call)
{
	static_assert(
	    CALL_NUMBER == BITS(7, 0) && TAG_WORDS == BITS(11, 8) && TAG_LABEL == BITS(63, 32));
	return (uint32_t)call >> 8 <= 8;
}

enum status
sys_ipc_call(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct cpu *c = this_cpu();
	struct run_queue *rq = c->rq;
	struct endpoint *e;
	struct object *o;
	struct thread *r;
	struct uregs *ru;
	uint64_t badge, wait, call = u->call;

	if (unlikely(u->deadline != DEADLINE_NEVER))
		return ipc_call_slow(t, u);
	if (unlikely(!plain(call)))
		return ipc_call_slow(t, u);
	o = handle_try_lock(
	    &t->proc->handles, (handle_t)u->target, OBJ_ENDPOINT, RIGHT_CALL, &badge);
	if (unlikely(o == NULL))
		return ipc_call_slow(t, u);
	e = container_of(o, struct endpoint, obj);
	r = queued_thread(e->receivers.next);
	if (unlikely(list_empty(&e->receivers)) || unlikely(!direct_begin(rq, c, r, REST_RECEIVE)))
		goto slow;
	if (unlikely(!thread_claim(r))) {
		direct_cancel(rq);
		goto slow;
	}
	list_remove(&r->queue);
	wait = thread_arm_locked(t);
	spin_unlock(&o->lock);
	ru = r->regs;
	copy_words(ru, u, call);
	ru->call = call - SYS_ipc_call + OK;
	ru->target = badge;
	ru->token = wait;
	store_release(&t->reply_proc, r->proc);
	t->rest = REST_CALL;
	t->rest_on = o;
	t->state = THREAD_BLOCKED;
	run_direct(rq, c, t, r);
slow:
	spin_unlock(&o->lock);
	return ipc_call_slow(t, u);
}

enum status
sys_ipc_reply_recv(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint64_t token = token_wait(u->token), call = u->call;
	struct cpu *cpu = this_cpu();
	struct run_queue *rq = cpu->rq;
	struct endpoint *e;
	struct object *o;
	struct thread *c;
	struct uregs *cu;

	if (unlikely(u->deadline != DEADLINE_NEVER))
		return ipc_reply_recv_slow(t, u);
	if (unlikely(!plain(call)))
		return ipc_reply_recv_slow(t, u);
	if (unlikely(u->target >> 32 != HANDLE_NONE))
		return ipc_reply_recv_slow(t, u);
	c = token_thread(token);
	if (unlikely(c == NULL) || unlikely(load_acquire(&c->wait) != token) ||
	    unlikely(load_relaxed(&c->reply_proc) != t->proc))
		return ipc_reply_recv_slow(t, u);
	o = handle_try_lock(&t->proc->handles, (handle_t)u->target, OBJ_ENDPOINT, RIGHT_RECV, NULL);
	if (unlikely(o == NULL))
		return ipc_reply_recv_slow(t, u);
	e = container_of(o, struct endpoint, obj);
	if (unlikely(!list_empty(&e->callers)) || unlikely(!direct_begin(rq, cpu, c, REST_CALL)))
		goto slow;
	if (unlikely(!thread_claim_word(c, token))) {
		direct_cancel(rq);
		goto slow;
	}
	c->reply_proc = NULL;
	cu = c->regs;
	copy_words(cu, u, call);
	cu->call = call - SYS_ipc_reply_recv + OK;
	t->ntfn_bits = 0;
	/* As soon as it is armed and queued and the lock is free, the next caller's message may be
	 * in its registers. */
	(void)thread_arm_locked(t);
	list_push_back(&e->receivers, &t->queue);
	spin_unlock(&o->lock);
	t->rest = REST_RECEIVE;
	t->rest_on = o;
	t->state = THREAD_BLOCKED;
	run_direct(rq, cpu, t, c);
slow:
	spin_unlock(&o->lock);
	return ipc_reply_recv_slow(t, u);
}
