/*
 * Grants of a claim: memory to addresses of its domain, and back.  kern/dma/domain.h; D2, D8.
 *
 * Who grants or takes back waits here, without a lock, until the unit has confirmed it.  The claim
 * may end meanwhile: whoever holds the lock and finds the grant in a state moves it on, so both may
 * come along, and the grant ends once.
 *
 * A driver that maps for each request keeps its grants: unmapped with UNMAP_KEEP a grant is idle
 * (kern/dma/ledger.h), and dma_map with its handle puts other memory behind the same address.
 * Object, handle, quota, address and table pages stay; what is done each time is what strictness
 * asks for: entry, window, ledger, and back, invalidation, its end.  Idle it holds no memory.  Each
 * time has a number, which is a part of what dma_map returned: whoever unmaps says it, and who is
 * late (with what was told before) takes nothing back.
 *
 * The last handle may go before its grant: then the worker takes the grant back, since nobody waits
 * for that.
 *
 * Locks    a buffer's own (RANK_QUEUE) while its claim is found and, when nothing has to be waited
 *          for, to the end; whoever waits counts the buffer instead.  The claim's over the grant;
 *          the memory's inside, over its counts.
 */
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/frame.h"
#include "kern/ipc.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

enum status
device_sleep(struct device *d, const struct fence *f, uint64_t deadline) NO_THREAD_SAFETY
{
	uint64_t now = clock_now();

	if (current_thread()->dying)
		return E_CANCELLED;
	if (now >= deadline)
		return E_TIMED_OUT;
	spin_unlock(&d->obj.lock);
	sched_sleep(min_u64(fence_poll_at(f, now), deadline));
	spin_lock(&d->obj.lock);
	return OK;
}

/* The same for a grant: until a poll may do more.  What has a step left goes on whatever the
 * deadline. */
static enum status
grant_sleep(struct buffer *b, uint64_t deadline) NO_THREAD_SAFETY
{
	struct device *d = b->device;

	if (!grant_has_step(&b->grant))
		return device_sleep(d, &b->grant.fence, deadline);
	if (current_thread()->dying)
		return E_CANCELLED;
	spin_unlock(&d->obj.lock);
	sched_preempt_point();
	spin_lock(&d->obj.lock);
	return OK;
}

static uint64_t grant_len(const struct grant *g) { return iova_len(&g->entry.range); }

/* What the unit has just said made it so; the device's lock is held.  The client is told (D8). */
static void
poison(struct buffer *b)
{
	struct memory *m = b->memory;

	trace(DMA_QUARANTINE, device_tag(b->device), grant_iova(&b->grant), grant_len(&b->grant));
	spin_lock(&m->obj.lock);
	m->poisoned = true;
	watch_fire(&m->watch);
	spin_unlock(&m->obj.lock);
	watch_fire(&b->device->watch);
	watch_fire(&b->device->supervisor);
}

void
device_buffer_quarantine(struct buffer *b)
{
	if (b->device->check != NULL)
		device_check_remove(b->device, b);
	domain_quarantine(&b->device->domain, &b->grant);
	poison(b);
}

/* It is free: its address may be another's. */
static void
freed(struct device *d, struct buffer *b)
{
	list_remove(&b->link);
	if (b->window_closed)
		device_check_remove(d, b);
}

enum status
device_buffer_revoke(struct buffer *b)
{
	struct device *d = b->device;
	enum status s;

	if (grant_state(&b->grant) == LEDGER_IDLE) {
		domain_drop(&d->domain, &b->grant);
		freed(d, b);
		return OK;
	}
	s = domain_revoke(&d->domain, &b->grant);
	if (s == OK) {
		trace(DMA_UNMAP, device_tag(d), grant_iova(&b->grant), grant_len(&b->grant));
		if (d->check != NULL)
			device_check_remove(d, b);
	}
	return s;
}

enum status
device_buffer_settle(struct buffer *b)
{
	struct iova at = grant_iova(&b->grant);
	uint64_t len = grant_len(&b->grant);
	enum status s = domain_settle(&b->device->domain, &b->grant);

	if (likely(s == OK)) {
		trace(DMA_INVALIDATED, device_tag(b->device), at, len);
		if (grant_state(&b->grant) == LEDGER_FREE)
			freed(b->device, b);
	} else if (s != E_WOULD_BLOCK) {
		poison(b);
	}
	return s;
}

/* Waits until the grant is in force; the device's lock is held. */
static enum status
publish(struct buffer *b, enum status s) NO_THREAD_SAFETY
{
	struct device *d = b->device;

	while (s == E_WOULD_BLOCK) {
		s = grant_sleep(b, DEADLINE_NEVER);
		if (s == OK)	/* the claim's end may have taken it back meanwhile */
			s = grant_state(&b->grant) == LEDGER_MAPPED ||
				grant_state(&b->grant) == LEDGER_ALLOCATED ?
			    domain_publish(&d->domain, &b->grant) :
			    grant_state(&b->grant) == LEDGER_QUARANTINED ? E_QUARANTINED :
									   E_STALE;
	}
	if (s == E_QUARANTINED && grant_state(&b->grant) == LEDGER_QUARANTINED)
		poison(b);
	return s == OK && d->state != DEVICE_CLAIMED ? E_STALE : s;
}

/*
 * The grant is of this memory from now on: it counts there, and holds a reference, which the caller
 * has taken.  Refused (memory_may_be_used) it holds it all the same.  The memory's lock is held.
 */
static ALWAYS_INLINE enum status
pin(struct buffer *b, struct memory *m, bool writes)
{
	b->memory = m;
	b->pool = m->id;
	b->pool_pages = m->pages;
	b->writes = writes;
	m->grants++;
	m->writers += writes;
	return memory_may_be_used(m, writes);
}

/* The grant no longer counts for its memory; the reference is the caller's. */
static ALWAYS_INLINE struct memory *
unpin(struct buffer *b)
{
	struct memory *m = b->memory;

	spin_lock(&m->obj.lock);
	m->grants--;
	m->writers -= b->writes;
	spin_unlock(&m->obj.lock);
	b->memory = NULL;
	b->pool_pages = b->pool = 0;
	return m;
}

/* A grant of len bytes of a memory object, whose reference it takes over: not mapped yet. */
static enum status
make_buffer(struct process *payer, struct memory *m, bool writes, struct buffer **out)
{
	struct object *bo;
	struct buffer *b;
	enum status s = object_create(OBJ_BUFFER, payer, &bo);

	if (s != OK) {
		object_put(&m->obj);
		return s;
	}
	b = container_of(bo, struct buffer, obj);
	list_init(&b->link);
	spin_lock(&m->obj.lock);
	s = pin(b, m, writes);
	spin_unlock(&m->obj.lock);
	*out = b;
	if (s != OK) {
		object_put(bo);
		*out = NULL;
	}
	return s;
}

/* Maps it, and waits until that is in force; the device's lock is held. */
static enum status
map_buffer(struct device *d, struct buffer *b, uint64_t offset, uint64_t len, enum dma_dir dir)
{
	struct ledger_grant want = { .owner = b, .memory = b->memory, .offset = offset, .len = len,
		.generation = d->domain.ledger.generation, .dir = dir };
	enum status s;

	object_get(&d->obj);
	b->device = d;
	/* Shut off, it is blocked: the unit has no address space of it any more. */
	s = d->shut_off ? E_NO_DEVICE : domain_grant(&d->domain, &b->grant, &want);
	if (grant_state(&b->grant) != LEDGER_FREE)
		list_push_back(&d->buffers, &b->link);
	s = publish(b, s);
	if (s == OK)
		trace(DMA_MAP, device_tag(d), grant_iova(&b->grant), len, dir);
	return s;
}

enum status
device_grant_own(struct device *d, struct process *payer, struct memory *m, enum dma_dir dir,
    struct buffer **out)
{
	enum status s;

	*out = NULL;
	object_get(&m->obj);
	s = make_buffer(payer, m, (dir & DMA_FROM_DEVICE) != 0, out);
	return s == OK ? map_buffer(d, *out, 0, m->pages * PAGE_SIZE, dir) : s;
}

void
device_grant_uncount(struct buffer *b)
{
	b->uncounted = true;
	object_put(&b->device->obj);
}

/* Of a memory object that is granted so. */
static ALWAYS_INLINE uint32_t
rights_for(uint64_t dir)
{
	return RIGHT_DMA | ((dir & DMA_TO_DEVICE) != 0 ? RIGHT_READ : 0) |
	    ((dir & DMA_FROM_DEVICE) != 0 ? RIGHT_WRITE : 0);
}

/* The token of what is mapped now: the buffer's handle, and which time it is. */
static ALWAYS_INLINE uint64_t
token(handle_t h, const struct buffer *b)
{
	return (uint64_t)b->round << 32 | h;
}

/*
 * Takes a grant back and waits for the unit's word: to the deadline, but for a millisecond.  Keep:
 * it becomes idle.  Both locks are held; before the first wait the buffer is counted, and its own
 * lock let go (*counted).
 */
static NOINLINE enum status
wait_back(struct buffer *b, uint64_t deadline, bool *counted) NO_THREAD_SAFETY
{
	bool late = false;
	enum status s = OK;

	while (s == OK && grant_state(&b->grant) == LEDGER_REVOKING) {
		s = device_buffer_settle(b);
		if (s != E_WOULD_BLOCK)
			continue;
		if (!*counted) {
			object_get(&b->obj);
			spin_unlock(&b->obj.lock);
			*counted = true;
		}
		if (!late)
			deadline = max_u64(deadline, clock_now() + NS_PER_MS);
		late = true;
		s = grant_sleep(b, deadline);
	}
	return s == OK && grant_state(&b->grant) == LEDGER_QUARANTINED ? E_QUARANTINED : s;
}

static ALWAYS_INLINE enum status
take_back(struct buffer *b, bool keep, uint64_t deadline, bool *counted) NO_THREAD_SAFETY
{
	struct device *d = b->device;
	enum status s;

	if (keep) {
		s = domain_disarm(&d->domain, &b->grant);
		if (likely(s == OK || s == E_WOULD_BLOCK) && d->check != NULL)
			device_check_keep(d, b);
		if (likely(s == OK)) {	/* one record says both: unmapped, and invalidated */
			trace(DMA_INVALIDATED, device_tag(d), grant_iova(&b->grant),
			    grant_len(&b->grant));
			return OK;
		}
		if (s == E_WOULD_BLOCK)
			trace(DMA_UNMAP, device_tag(d), grant_iova(&b->grant),
			    grant_len(&b->grant));
	} else {
		s = device_buffer_revoke(b);
	}
	/* E_STATE: on its way already, or over. */
	return s == E_BUSY ? s : wait_back(b, deadline, counted);
}

/* No device can reach it: its memory, for the caller to put when no lock is held; else NULL. */
static ALWAYS_INLINE struct memory *
let_go(struct buffer *b)
{
	enum ledger_state s = grant_state(&b->grant);

	return (s == LEDGER_IDLE || s == LEDGER_FREE) && b->memory != NULL ? unpin(b) : NULL;
}

/*
 * Its closed window, at its place, for memory that is one run; where that cannot be, false, and it
 * is for device_check_add to say why.
 */
static ALWAYS_INLINE bool
open_again(struct device *d, struct buffer *b)
{
	const struct ledger_grant *g = &b->grant.entry.grant;
	uint64_t n, at = grant_iova(&b->grant).v;
	struct paddr p;

	return likely(d->address_bits == 64) &&
	    likely(memory_run(b->memory, g->offset / PAGE_SIZE, &p, &n)) &&
	    likely(n * PAGE_SIZE >= g->len) &&
	    likely(device_check_reopen(d, b, at, d->check->brokered ? p.v - at : 0,
		(uint64_t)(uintptr_t)frame_ptr(p) - at));
}

/* What can be said before a grant that is idle gets memory again. */
static ALWAYS_INLINE enum status
may_arm(const struct device *d, const struct buffer *b, uint64_t round, uint64_t len)
{
	enum ledger_state s = grant_state(&b->grant);

	if (unlikely(d->state != DEVICE_CLAIMED) || unlikely(b->round != round))
		return E_STALE;
	if (unlikely(b->round == UINT32_MAX))
		return E_OVERFLOW;
	if (unlikely(b->arming))
		return E_BUSY;
	if (unlikely(s != LEDGER_IDLE))
		return s == LEDGER_QUARANTINED ? E_QUARANTINED :
		    s == LEDGER_FREE	       ? E_STALE :
						 E_STATE;
	if (unlikely(d->shut_off))
		return E_NO_DEVICE;
	return likely(len == grant_len(&b->grant)) ? OK : E_RANGE;
}

/* dma_map of a grant that is there and idle; its lock is held, and let go. */
static enum status
arm(struct thread *t, struct uregs *u, struct buffer *b) NO_THREAD_SAFETY
{
	uint64_t offset = u->w[2], len = u->w[3], dir = u->w[4];
	struct device *d = b->device;
	struct memory *m = NULL;
	bool counted = false;
	struct object *mo;
	enum status s;

	spin_lock(&d->obj.lock);
	s = may_arm(d, b, u->w[0] >> 32, len);
	if (likely(s == OK))
		s = handle_lock(
		    t->proc, (handle_t)u->w[1], OBJ_MEMORY, rights_for(dir), &mo, NULL);
	if (unlikely(s != OK))
		goto out;
	m = container_of(mo, struct memory, obj);
	if (unlikely(!range_within(offset, len, 0, m->pages * PAGE_SIZE))) {
		spin_unlock(&mo->lock);
		m = NULL;
		s = E_RANGE;
		goto out;
	}
	s = pin(b, m, (dir & DMA_FROM_DEVICE) != 0);
	object_get(mo);
	spin_unlock(&mo->lock);
	if (likely(s == OK))
		s = domain_arm(&d->domain, &b->grant, m, offset, (enum dma_dir)dir);
	if (unlikely(s == E_WOULD_BLOCK)) {
		object_get(&b->obj);
		spin_unlock(&b->obj.lock);
		counted = b->arming = true;
		s = publish(b, s);
	}
	if (likely(s == OK) && d->check != NULL && !(b->window_closed && open_again(d, b)))
		s = device_check_add(d, b);
	if (likely(s == OK) && unlikely(!d->mastering) && !d->resetting && d->check == NULL)
		s = device_master_on(d);
	m = NULL;
	if (likely(s == OK)) {
		trace(DMA_MAP, device_tag(d), grant_iova(&b->grant), len, (enum dma_dir)dir);
		b->round++;
		u->w[0] = token((handle_t)u->w[0], b);
		u->w[1] = grant_iova(&b->grant).v;
	} else {
		/* As it was, whatever part of it was mapped. */
		b->arming = true;
		(void)take_back(b, true, 0, &counted);
		m = let_go(b);
	}
	b->arming = false;
out:
	spin_unlock(&d->obj.lock);
	if (likely(!counted))
		spin_unlock(&b->obj.lock);
	else
		object_put(&b->obj);
	if (unlikely(m != NULL))
		object_put(&m->obj);
	return s;
}

enum status
sys_dma_map(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint64_t offset = u->w[2], len = u->w[3], dir = u->w[4];
	struct object *bo, *mo;
	struct memory *m;
	struct device *d;
	struct buffer *b;
	handle_t h;
	enum status s;

	if (dir == 0 || dir > DMA_BOTH)
		return E_INVALID;
	if (((offset | len) & PAGE_MASK) != 0)
		return E_ALIGN;
	s = handle_lock(t->proc, (handle_t)u->w[0], OBJ_BUFFER, RIGHT_DMA, &bo, NULL);
	if (s == OK)
		return arm(t, u, container_of(bo, struct buffer, obj));
	if (s != E_TYPE)
		return s;
	s = handle_ref(t->proc, (handle_t)u->w[1], OBJ_MEMORY, rights_for(dir), &mo, NULL);
	if (s != OK)
		return s;
	m = container_of(mo, struct memory, obj);
	if (len == 0 || !range_within(offset, len, 0, m->pages * PAGE_SIZE)) {
		object_put(mo);
		return E_RANGE;
	}
	s = make_buffer(t->proc, m, (dir & DMA_FROM_DEVICE) != 0, &b);
	if (s != OK)
		return s;
	s = device_lock(t, u->w[0], RIGHT_DMA, &d);
	if (s == OK) {
		s = map_buffer(d, b, offset, len, (enum dma_dir)dir);
		if (s == OK && d->check != NULL)
			s = device_check_add(d, b);
		/* Where the kernel checks, the device is let loose when its queues are bound. */
		if (s == OK && !d->mastering && !d->resetting && d->check == NULL)
			s = device_master_on(d);
		if (s == OK)
			u->w[1] = grant_iova(&b->grant).v;
		spin_unlock(&d->obj.lock);
	}
	if (s == OK)
		s = handle_insert(
		    t->proc, &b->obj, b->obj.gen, RIGHT_MANAGE | RIGHT_GIVE | RIGHT_DMA, 0, &h);
	if (s != OK) {
		object_put(&b->obj);
		return s;
	}
	u->w[0] = h;
	return OK;
}

enum status
sys_dma_unmap(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	bool keep = u->w[2] == UNMAP_KEEP, counted = false, over;
	struct memory *m = NULL;
	struct object *o;
	struct buffer *b;
	struct device *d;
	enum status s;

	if (unlikely(u->w[2] > UNMAP_KEEP))
		return E_INVALID;
	s = handle_lock(t->proc, (handle_t)u->w[0], OBJ_BUFFER, RIGHT_MANAGE, &o, NULL);
	if (unlikely(s != OK))
		return s;
	b = container_of(o, struct buffer, obj);
	d = b->device;
	spin_lock(&d->obj.lock);
	if (unlikely(b->round != u->w[0] >> 32)) {
		s = E_STALE;
	} else if (unlikely(b->arming)) {
		s = E_BUSY;
	} else {
		s = take_back(b, keep, u->w[1], &counted);
		m = let_go(b);
	}
	spin_unlock(&d->obj.lock);
	over = !keep && s != E_BUSY && s != E_STALE;
	if (likely(!counted)) {
		o->gen += over;
		spin_unlock(&o->lock);
	} else {
		if (over)
			object_bump(o);
		object_put(o);
	}
	if (likely(m != NULL))
		object_put(&m->obj);
	if (over && s == OK)
		(void)handle_close(t->proc, (handle_t)u->w[0]);
	return s;
}

/* The worker's step: the last handle went before the grant. */
static uint64_t
end_step(struct work *w)
{
	struct buffer *b = container_of(w, struct buffer, work);
	struct device *d = b->device;
	uint64_t next = WORK_DONE;
	enum status s;

	spin_lock(&d->obj.lock);
	s = device_buffer_revoke(b);
	if (s == E_BUSY)	/* an accepted queue entry still names it */
		next = clock_now() + NS_PER_MS;
	else if (grant_state(&b->grant) == LEDGER_REVOKING &&
	    device_buffer_settle(b) == E_WOULD_BLOCK)
		next = grant_poll_at(&b->grant, clock_now());
	spin_unlock(&d->obj.lock);
	if (next == WORK_DONE)
		object_put(&b->obj);
	return next;
}

bool
buffer_destroy(struct object *o)
{
	struct buffer *b = container_of(o, struct buffer, obj);
	enum ledger_state state = LEDGER_FREE;

	if (b->device != NULL) {
		spin_lock(&b->device->obj.lock);
		if (grant_state(&b->grant) == LEDGER_IDLE && device_buffer_revoke(b) != OK)
			KASSERT(!"idle, it is free at once");
		state = grant_state(&b->grant);
		spin_unlock(&b->device->obj.lock);
	}
	if (state == LEDGER_QUARANTINED) {
		object_get(o);		/* record, address, memory and domain stay for ever */
		return false;
	}
	if (state != LEDGER_FREE) {
		object_get(o);
		b->work.step = end_step;
		worker_add(&b->work);
		return false;
	}
	if (b->memory != NULL)
		object_put(&unpin(b)->obj);
	if (b->device != NULL && !b->uncounted)
		object_put(&b->device->obj);
	return true;
}
