/*
 * Processes: birth, the end in bounded steps, watches.
 *
 * Order    of the end, after the last thread has left its CPU: its calls are answered (E_PEER), its
 *          claims end and are waited for (D7), then handles, mappings, page tables; what it did not
 *          use of its quota goes to its parent; then it is dead, and its watcher hears.  Handles
 *          come after the claims, so that the order in which a claim ends is its own.
 * Locks    the process's object lock (RANK_PROCESS) over state, threads and watch.  The end runs in
 *          the worker alone, and takes what it needs for a step at a time.
 * Not here threads (thread.c), mappings (vspace.c), handles (handle.c), who pays (quota.c).
 */
#include "kern/process.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/device.h"
#include "kern/ipc.h"
#include "kern/log.h"
#include "kern/main.h"
#include "kern/md/clock.h"
#include "kern/memory.h"
#include "kern/panic.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "kern/trace.h"
#include "kern/uaccess.h"

/* The end, in this order. */
enum end_phase : uint8_t {
	END_OVER,
	END_SERVER,
	END_DEVICES,
	END_HANDLES,
	END_MAPPINGS,
	END_SPACE
};

enum { TELL_AT_ONCE = 16 };		/* threads, under the lock */
enum : uint64_t { STEP_NS = 20 * NS_PER_US };

static uint32_t next_id;

static uint64_t end_step(struct work *w);

enum { RECORD_PAGES = 1 };		/* what a process itself takes */
static_assert(sizeof(struct process) <= RECORD_PAGES * PAGE_SIZE);

enum status
process_create(struct process *parent, const char *name, const struct process_limits *limits,
    struct process **out)
{
	struct process *p;
	struct object *o;
	struct quota quota;
	enum status s = quota_split(parent != NULL ? &parent->quota : NULL, limits, &quota);

	if (s != OK)
		return s;
	if (parent != NULL) {
		s = quota_take_pages(&parent->quota, RECORD_PAGES);
		if (s != OK)
			goto undo_quota;
		s = quota_take_processes(&parent->quota, 1);
		if (s != OK)
			goto undo_pages;
	}
	s = object_create(OBJ_PROCESS, parent, &o);
	if (s != OK)
		goto undo_processes;
	p = process_of(o);
	p->quota = quota;
	p->counted = true;
	handle_table_init(&p->handles);
	lock_init(&p->vs_lock, RANK_VSPACE);
	list_init(&p->threads);
	p->parent = parent;
	p->parent_id = parent != NULL ? parent->id : 0;
	p->id = __atomic_add_fetch(&next_id, 1, __ATOMIC_RELAXED);
	p->end.step = end_step;
	str_copy(p->name, name, sizeof(p->name));
	s = mmu_space_init(&p->space, &p->quota);
	if (s != OK) {
		object_put(o);	/* process_destroy gives the quota back */
		return s;
	}
	p->space_live = true;
	p->end_phase = END_SERVER;
	trace(PROCESS_NEW, p->id, trace_name(p->name), p->parent_id);
	*out = p;
	return OK;
undo_processes:
	if (parent != NULL)
		quota_give_processes(&parent->quota, 1);
undo_pages:
	if (parent != NULL)
		quota_give_pages(&parent->quota, RECORD_PAGES);
undo_quota:
	if (parent != NULL)
		quota_join(&parent->quota, &quota);
	return s;
}

/*
 * A dead process takes nothing more: what it did not use goes back to its parent at once, though
 * the object may stay for its epitaph, or for memory that others still hold.
 */
static void
give_back_unused(struct process *p)
{
	if (p->parent == NULL)
		return;
	quota_join(&p->parent->quota, &p->quota);
	if (p->counted)
		quota_give_processes(&p->parent->quota, 1);
	p->counted = false;
}

/* No handle, no thread, no object that it pays for. */
bool
process_destroy(struct object *o)
{
	struct process *p = process_of(o);

	if (p->end_phase != END_OVER) { /* never started: what it has is taken apart as ever, and
					   not by who let it go */
		bool first;

		spin_lock(&o->lock);
		first = p->state < PROCESS_ENDING;
		if (first) {
			object_get(o);
			p->state = PROCESS_ENDING;
		}
		spin_unlock(&o->lock);
		if (first)
			worker_add(&p->end);
		return false;
	}
	if (p->watch.ntfn != NULL)
		object_put(&p->watch.ntfn->obj);
	give_back_unused(p);
	if (p->parent != NULL)
		quota_give_pages(&p->parent->quota, RECORD_PAGES);
	return true;
}

static void
note_backtrace(struct process *p, struct uregs *u, struct epitaph *e)
{
	uint64_t fp = uregs_fp(u);

	e->frame[e->frame_count++] = uregs_pc(u);
	while (e->frame_count < EPITAPH_FRAMES) {
		uint64_t pair[2];

		if ((fp & 7) != 0 || !mmu_copy_in(pair, (struct uva){ fp }, sizeof(pair)) ||
		    pair[1] == 0)
			break;
		e->frame[e->frame_count++] = cpu_code_address(pair[1]);
		if (pair[0] <= fp)	/* stacks grow down: callers are above */
			break;
		fp = pair[0];
	}
	for (unsigned i = 0; i < EPITAPH_REGS; i++) {
		const char *name = uregs_name(i);

		if (name == NULL)
			break;
		str_copy(e->reg[i].name, name, sizeof(e->reg[i].name));
		e->reg[i].value = uregs_value(u, i);
		e->reg_count = i + 1;
	}
	(void)p;
}

/* Tells some of its threads to leave; who has been told goes to the back.  False when all have; its
 * lock is held. */
static bool
tell_some(struct process *p, struct thread *me)
{
	for (unsigned n = 0; n < TELL_AT_ONCE; n++) {
		struct thread *t;

		if (list_empty(&p->threads))
			return false;
		t = list_first(&p->threads, struct thread, siblings);
		if (t->told)
			return false;
		list_remove(&t->siblings);
		list_push_back(&p->threads, &t->siblings);
		t->told = true;
		store_release(&t->dying, true);
		if (t == me)
			continue;
		sched_poke(t);
		if (thread_claim(t)) {
			t->wait_status = E_CANCELLED;
			sched_wake(t);
		} else {
			sched_poke(t);
		}
	}
	return true;
}

void
process_end(struct process *p, enum exit_reason reason, uint64_t code, const struct fault_info *f)
{
	struct thread *me = current_thread();

	spin_lock(&p->obj.lock);
	if (p->state > PROCESS_RUNNING) {
		spin_unlock(&p->obj.lock);
		return;
	}
	p->state = PROCESS_ENDING;
	trace(PROCESS_ENDS, p->id, reason);
	p->epitaph.reason = reason;
	p->epitaph.exit_code = code;
	p->epitaph.at_ns = clock_now();
	memcpy(p->epitaph.name, p->name, sizeof(p->name));
	if (f != NULL) {
		p->epitaph.fault = *f;
		p->epitaph.thread = me->index;
	}
	/* From now on no thread is added. */
	if (p->thread_count == 0) {
		object_get(&p->obj);
		spin_unlock(&p->obj.lock);
		worker_add(&p->end);
		return;
	}
	while (tell_some(p, me)) {
		spin_unlock(&p->obj.lock);
		sched_preempt_point();
		spin_lock(&p->obj.lock);
	}
	spin_unlock(&p->obj.lock);
}

void
trap_user_fault(struct uregs *u, const struct fault_info *f)
{
	struct thread *t = current_thread();
	struct process *p = t->proc;

	log_error("%s[%u]: %s at pc 0x%llx, address 0x%llx", p->name, p->id,
	    fault_kind_text(f->kind), (unsigned long long)uregs_pc(u),
	    (unsigned long long)f->address);
	trace(PROCESS_FAULT, p->id, f->kind, uregs_pc(u), f->address);
	process_end(p, EXIT_FAULT, 0, f);
	if (p->epitaph.reason == EXIT_FAULT && p->epitaph.thread == t->index &&
	    p->epitaph.frame_count == 0)
		note_backtrace(p, u, &p->epitaph);
	thread_exit_current();
}

void
process_thread_gone(struct process *p, struct thread *t)
{
	bool last;

	spin_lock(&p->obj.lock);
	list_remove(&t->siblings);
	p->cycles_gone += t->cycles;
	last = --p->thread_count == 0;
	if (last && p->state == PROCESS_RUNNING) {
		p->state = PROCESS_ENDING;
		trace(PROCESS_ENDS, p->id, EXIT_NORMAL);
		p->epitaph.reason = EXIT_NORMAL;
		memcpy(p->epitaph.name, p->name, sizeof(p->name));
	}
	if (last)
		object_get(&p->obj);
	spin_unlock(&p->obj.lock);
	if (last)
		worker_add(&p->end);
}

static void
news(struct process *p)
{
	give_back_unused(p);
	spin_lock(&p->obj.lock);
	p->state = PROCESS_DEAD;
	trace(PROCESS_DEAD, p->id);
	watch_fire(&p->watch);
	spin_unlock(&p->obj.lock);
	if (p->parent == NULL) {
		/* The death of init is an orderly stop with all bus mastering off. */
		log_error("init ended (%s): stopping",
		    p->epitaph.reason == EXIT_FAULT ? fault_kind_text(p->epitaph.fault.kind) :
						      "exit");
		kernel_stop(false);
	}
}

/* A part of the end that is bounded.  Returns when to go on, 0 at once, or WORK_DONE. */
static uint64_t
end_part(struct process *p)
{
	switch ((enum end_phase)p->end_phase) {
	case END_SERVER:
		ipc_server_gone(p);
		p->end_phase = END_DEVICES;
		return 0;
	case END_DEVICES:
		if (!device_end_some_of(p, &p->end_at, &p->end_waits))
			return 0;
		p->end_at = 0;
		if (p->end_waits) {
			p->end_waits = false;
			return clock_now() + NS_PER_MS;
		}
		p->end_phase = END_HANDLES;
		return 0;
	case END_HANDLES:
		if (!handle_close_some(p, &p->end_at))
			return 0;
		p->end_phase = END_MAPPINGS;
		return 0;
	case END_MAPPINGS:
		if (vspace_unmap_one(p))
			return 0;
		if (!vspace_close(p))	/* somebody else has one in hand */
			return clock_now() + NS_PER_MS;
		p->end_phase = END_SPACE;
		return 0;
	case END_SPACE:
		handle_table_fini(p);
		mmu_space_fini(&p->space);
		p->end_phase = END_OVER;
		break;
	case END_OVER:		/* no space was ever made */
		break;
	}
	news(p);
	return WORK_DONE;
}

/* The worker's step: as many parts as a short time allows, then it rests as long as that took. */
static uint64_t
end_step(struct work *w)
{
	struct process *p = container_of(w, struct process, end);
	uint64_t from = clock_now(), now, next;

	do {
		next = end_part(p);
		now = clock_now();
	} while (next == 0 && now - from < STEP_NS);
	if (next == WORK_DONE)
		object_put(&p->obj);
	return next != 0 ? next : now + (now - from);
}

void
watch_fire(struct watch *w)
{
	if (w->ntfn != NULL)
		(void)notification_signal(w->ntfn, w->bits);
}

void
watch_set(struct watch *w, struct notification *n, uint64_t bits, struct notification **old)
{
	*old = w->ntfn;
	w->ntfn = n;
	w->bits = bits;
}

void
process_info(struct process *p, struct process_info *out)
{
	const struct process *payer = p->parent;
	uint64_t ns = 0;

	/* Each pays for its children, so none of them goes before p does. */
	while (payer != NULL && load_relaxed(&payer->state) == PROCESS_DEAD)
		payer = payer->parent;
	*out = (struct process_info){ .id = p->id, .parent_id = payer != NULL ? payer->id : 0 };
	spin_lock(&p->obj.lock);
	out->state = p->state;
	out->priority = p->prio;
	out->threads = (uint16_t)p->thread_count;
	list_for_each(it, &p->threads)
		ns += sched_run_time(list_entry(it, struct thread, siblings));
	spin_unlock(&p->obj.lock);
	out->handles = p->handles.used;
	out->cpu_ns = ns + sched_cycles_ns(p->cycles_gone);
	out->pages = p->quota.pages;
	out->pages_max = p->quota.pages_max;
	out->objects = p->quota.objects;
	out->objects_max = p->quota.objects_max;
	out->quota_refused = p->quota.refused;
	out->large_leaves = p->space.large_leaves;
	out->threads_used = (uint32_t)p->quota.threads;
	out->threads_max = (uint32_t)p->quota.threads_max;
	out->processes = (uint32_t)p->quota.processes;
	out->processes_max = (uint32_t)p->quota.processes_max;
	out->vectors = (uint32_t)p->quota.vectors;
	out->vectors_max = (uint32_t)p->quota.vectors_max;
	memcpy(out->name, p->name, sizeof(out->name));
}
