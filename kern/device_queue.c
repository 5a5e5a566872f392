/*
 * Queue objects: made, committed, released.  device_queue.h tells what they are; what is different
 * with split queues is in device_split.c.
 *
 * A commit is the hot path: one look-up of the queue, the claim's lock, completions, entries, one
 * store to a doorbell.  It never waits.  A batch too long for one piece is done in several, with a
 * point of preemption between, and the queue is busy for others meanwhile.
 */
#include "kern/device_queue.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/device_parts.h"
#include "kern/frame.h"
#include "kern/log.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "kern/uaccess.h"

/* Lists of addresses that may be outstanding at one time; a driver's own pool has no more. */
enum { SIDE_PAGES_MAX = 128 };

static inline struct queue *
queue_of(struct object *o)
{
	return container_of(o, struct queue, obj);
}

struct paddr
device_queue_page(struct memory *m, uint64_t page)
{
	struct paddr p;
	uint64_t n;

	if (!memory_run(m, page, &p, &n))
		KASSERT(false);
	return p;
}

static void *memory_ptr(struct memory *m) { return frame_ptr(device_queue_page(m, 0)); }

uint64_t
device_queue_address(const struct device *d, const struct buffer *b, uint64_t page)
{
	return d->check->brokered ? device_queue_page(b->memory, page).v :
	    grant_iova(&b->grant).v + page * PAGE_SIZE;
}

static void
put_memory(struct memory **m)
{
	if (*m != NULL)
		object_put(&(*m)->obj);
	*m = NULL;
}

static void
put_grant(struct buffer **b)
{
	if (*b != NULL)
		object_put(&(*b)->obj);
	*b = NULL;
}

static void
release_memory(struct queue *q)
{
	put_grant(&q->cq_grant);
	put_grant(&q->shadow_grant);
	put_grant(&q->side_grant);
	put_memory(&q->owner);
	put_memory(&q->cq);
	put_memory(&q->shadow);
	put_memory(&q->side);
	put_memory(&q->slots);
	q->split = NULL;		/* it was in there */
}

bool
queue_destroy(struct object *o)
{
	release_memory(queue_of(o));
	return true;
}

bool
device_queue_counts(struct object *o, struct queue_counts *out)
{
	struct queue *q = queue_of(o);
	struct device *d;

	spin_lock(&o->lock);
	d = q->device;
	if (d != NULL) {
		spin_lock(&d->obj.lock);
		*out = (struct queue_counts){
			.segment = d->function[0].fn->segment,
			.rid = d->function[0].fn->rid,
			.id = q->ring.q.id,
			.accepted = q->split != NULL ? q->split->accepted : q->ring.accepted,
			.completed = q->split != NULL ? q->split->completed : q->ring.completed,
			.refused = q->split != NULL ? q->split->refused : q->ring.refused,
			.last_rule = q->last_rule,
		};
		spin_unlock(&d->obj.lock);
	}
	spin_unlock(&o->lock);
	return d != NULL;
}

bool
device_queues_release(struct device *d)
{
	struct list *l = list_pop_front(&d->check->queues);
	struct queue *q;

	if (l == NULL)
		return false;
	q = list_entry(l, struct queue, link);
	spin_lock(&q->obj.lock);
	q->device = NULL;
	spin_unlock(&q->obj.lock);
	/* Memory that the device may still write stays, and its record with the claim it belongs to
	 * (D8). */
	if (d->failed)
		object_get(&d->obj);
	release_memory(q);
	object_put(&q->obj);
	return true;
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* How much memory a pair of rings takes. */
static struct queue_sizes
pair_sizes(const struct xlate_class *c, uint64_t entries)
{
	uint64_t sides = min_u64(entries - 1, SIDE_PAGES_MAX);

	return (struct queue_sizes){ .owner_bytes = 8 * c->sq_words * entries,
		.used_bytes = 8 * c->cq_words * entries,
		.side_pages = sides,
		.record_bytes = (entries - 1) * sizeof(struct xlate_slot) +
		    sides * sizeof(struct ring_page) + entries * sizeof(uint16_t) };
}

/* Memory of a queue, paid for by the caller; low: MEM_BELOW_4G for what the device reaches. */
static enum status
make_memory(struct queue *q, struct process *payer, const struct queue_sizes *z, uint32_t low)
{
	enum status s = memory_create(payer, pages_of(z->owner_bytes), MEM_CONTIGUOUS, &q->owner);

	if (s == OK)
		s = memory_create(payer, pages_of(z->used_bytes), MEM_CONTIGUOUS | low, &q->cq);
	if (s == OK)
		s = memory_create(
		    payer, pages_of(z->owner_bytes), MEM_CONTIGUOUS | low, &q->shadow);
	if (s == OK)
		s = memory_create(payer, z->side_pages, low, &q->side);
	if (s == OK)
		s = memory_create(payer, pages_of(z->record_bytes), MEM_CONTIGUOUS, &q->slots);
	return s;
}

static void
bind_pair(struct queue *q, struct device *d, uint32_t id, uint32_t entries)
{
	struct device_check *c = d->check;
	struct dma_ring *r = &q->ring;
	uint8_t *slots = memory_ptr(q->slots);

	r->class = c->class;
	r->device = &c->x;
	r->ledger = &d->domain.ledger;
	r->owner = memory_ptr(q->owner);
	r->shadow = memory_ptr(q->shadow);
	r->cq = memory_ptr(q->cq);
	r->entries = entries;
	r->q = (struct xlate_queue){ .device = &c->x, .windows = &c->windows.live,
		.id = id, .slots = entries - 1,
		.slot = (struct xlate_slot *)(void *)slots };
	r->page = (struct ring_page *)(void *)(slots + (entries - 1) * sizeof(struct xlate_slot));
	r->pages = (uint32_t)q->side->pages;
	r->id = (uint16_t *)(void *)(r->page + r->pages);
	for (uint32_t i = 0; i < r->pages; i++)
		r->page[i] = (struct ring_page){ frame_ptr(device_queue_page(q->side, i)),
		    device_queue_address(d, q->side_grant, i) };
	ring_init(r);
}

/* NULL: no memory to map it. */
static volatile uint32_t *
doorbell(struct device *d, uint32_t id, bool completion)
{
	struct device_check *c = d->check;
	uint32_t reg = c->class->doorbell(&c->x, id, completion);
	volatile uint8_t *base =
	    device_regs(c->function, (unsigned)FIELD_GET(XLATE_REGISTER_BAR, reg));

	return base == NULL ? NULL :
	    (volatile uint32_t *)(volatile void *)(base + (reg & XLATE_REGISTER_OFFSET));
}

/* Everything is granted; the device's lock is held: the ring, and what the class knows of it. */
static void
bind(struct queue *q, struct device *d, uint32_t id, uint32_t entries)
{
	struct device_check *c = d->check;
	struct xlate_bound *b = &c->x.queue[id];

	if (c->class->split != NULL)
		device_split_bind(q, d, id, entries);
	else
		bind_pair(q, d, id, entries);
	*b = (struct xlate_bound){ .bound = true, .entries = entries, .notify = b->notify,
		.sq_name = grant_iova(&q->shadow_grant->grant).v,
		.cq_name = grant_iova(&q->cq_grant->grant).v,
		.sq_address = device_queue_address(d, q->shadow_grant, 0),
		.cq_address = device_queue_address(d, q->cq_grant, 0) };
	q->sq_doorbell = doorbell(d, id, false);
	q->cq_doorbell = doorbell(d, id, true);
	q->device = d;
	/* The claim counts its queues, so they and their grants do not count the claim. */
	device_grant_uncount(q->shadow_grant);
	device_grant_uncount(q->cq_grant);
	device_grant_uncount(q->side_grant);
	object_get(&q->obj);
	list_push_back(&c->queues, &q->link);
}

/* The device's lock is held, and let go while grants come into force. */
static enum status
make(struct queue *q, struct device *d, struct process *payer, uint32_t id, uint32_t entries)
    NO_THREAD_SAFETY
{
	struct device_check *c = d->check;
	struct queue_sizes z;
	bool split;
	enum status s;

	if (c == NULL)
		/* doorbells are mapped: queues are the driver's own memory */
		return E_UNSUPPORTED;
	if (entries < 2 || entries > c->class->entries_max || id >= c->x.queues)
		return E_RANGE;
	if (c->x.queue[id].bound)
		return E_EXISTS;
	if (c->class->bind != NULL) {
		struct xlate_source source = device_source(c->function);

		if (d->resetting)
			return E_BUSY;
		if (!c->class->bind(&c->x, &source, id, entries))
			return E_RANGE;
	}
	if (doorbell(d, id, false) == NULL)
		return E_NO_MEMORY;
	split = c->class->split != NULL;
	z = split ? device_split_sizes(c->class->split, entries) : pair_sizes(c->class, entries);
	s = make_memory(q, payer, &z, c->brokered && d->address_bits < 64 ? MEM_BELOW_4G : 0);
	if (s == OK)
		s = device_grant_own(d, payer, q->shadow, DMA_TO_DEVICE, &q->shadow_grant);
	if (s == OK)
		s = device_grant_own(d, payer, q->cq, DMA_FROM_DEVICE, &q->cq_grant);
	if (s == OK)	/* the first pair's side pages also take answers */
		s = device_grant_own(d, payer, q->side,
		    id == 0 && !split ? DMA_BOTH : DMA_TO_DEVICE, &q->side_grant);
	if (s == OK && d->state != DEVICE_CLAIMED)
		s = E_STALE;
	if (s == OK && d->check->x.queue[id].bound)
		s = E_EXISTS;
	if (s == OK)
		bind(q, d, id, entries);
	return s;
}

static enum status
give_memory(struct process *p, struct memory *m, uint32_t rights, uint32_t *out)
{
	handle_t h;
	enum status s;

	object_get(&m->obj);
	s = handle_insert(p, &m->obj, m->obj.gen, rights, 0, &h);
	if (s != OK)
		object_put(&m->obj);
	else
		*out = h;
	return s;
}

enum status
sys_queue_create(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct queue_info info = { 0 };
	struct object *o;
	struct device *d;
	struct queue *q;
	handle_t h = HANDLE_NONE;
	enum status s = object_create(OBJ_QUEUE, t->proc, &o);

	if (s != OK)
		return s;
	q = queue_of(o);
	list_init(&q->link);
	s = device_lock(t, u->w[0], RIGHT_DMA, &d);
	if (s == OK) {
		object_get(&d->obj);
		s = make(q, d, t->proc, (uint32_t)min_u64(u->w[1], UINT32_MAX),
		    (uint32_t)min_u64(u->w[2], UINT32_MAX));
		if (s == OK) {
			info.sq_iova = d->check->x.queue[q->ring.q.id].sq_name;
			info.cq_iova = d->check->x.queue[q->ring.q.id].cq_name;
			info.sq_bytes = q->owner->pages * PAGE_SIZE;
			info.cq_bytes = q->cq->pages * PAGE_SIZE;
		}
		spin_unlock(&d->obj.lock);
		object_put(&d->obj);
	}
	if (s == OK)
		s = give_memory(t->proc, q->owner, RIGHT_READ | RIGHT_WRITE, &info.sq_memory);
	if (s == OK)
		s = give_memory(t->proc, q->cq, RIGHT_READ, &info.cq_memory);
	if (s == OK)
		s = copy_out(u->w[3], &info, sizeof(info));
	if (s == OK)
		s = handle_insert(t->proc, o, o->gen, RIGHT_WRITE | RIGHT_GIVE, 0, &h);
	if (s != OK) {
		if (info.sq_memory != HANDLE_NONE)
			(void)handle_close(t->proc, info.sq_memory);
		if (info.cq_memory != HANDLE_NONE)
			(void)handle_close(t->proc, info.cq_memory);
		object_put(o);		/* bound already, it stays with the claim */
		return s;
	}
	u->w[0] = h;
	return OK;
}

/* ---- Committing ------------------------------------------------------------------------------ */

static COLD enum status
refused(struct device *d, struct queue *q, const struct ring_refusal *why, struct uregs *u)
{
	q->last_rule = why->rule;
	device_check_complain(d, why->rule, "queue", q->ring.q.id, "entry", why->entry);
	u->w[0] = why->rule;
	u->w[1] = why->entry;
	return E_REFUSED;
}

static COLD enum status
broken(struct device *d, struct queue *q)
{
	const struct pci_function *f = d->function[0].fn;

	log_error("device %02x:%02x.%x: queue %u: %s", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7,
	    q->ring.q.id, q->split != NULL ? q->split->fault : q->ring.fault);
	return E_CORRUPT;
}

/* One piece; both locks are held. */
static ALWAYS_INLINE enum status
piece(struct device *d, struct queue *q, uint32_t sq_tail, uint32_t cq_head,
    struct ring_refusal *why)
{
	struct dma_ring *r = &q->ring;
	enum status s = OK;

	if (cq_head != UINT32_MAX) {
		uint32_t taken;

		s = ring_consume(r, cq_head, why);
		/* In lots: until then the ring has room for what is outstanding. */
		taken = r->head >= q->told ? r->head - q->told : r->head + r->entries - q->told;
		if (taken > r->entries / 4) {
			q->told = r->head;
			mmio_write32(q->cq_doorbell, r->head);
		}
		if (unlikely(s != OK))
			return s;
	}
	if (sq_tail != UINT32_MAX) {
		uint64_t before = r->accepted;

		s = ring_publish(r, sq_tail, why);
		if (unlikely(s != OK))
			return s;
		d->check->entries += r->accepted - before;
		d->check->x.queue[r->q.id].used = true;
		io_publish();
		mmio_write32(q->sq_doorbell, sq_tail);
	}
	return OK;
}

static COLD enum status
renew(struct queue *q)
{
	if (q->split != NULL ? q->split_stale && !q->cleared : q->stale && !q->cleared)
		return E_STATE;
	q->stale = q->split != NULL;
	q->split_stale = false;
	return OK;
}

/*
 * Between two pieces of a long batch; both locks are held before and after.  E_STALE: the claim or
 * the queue is over.
 */
COLD enum status
device_queue_breathe(struct queue *q, struct device *d) NO_THREAD_SAFETY
{
	q->busy = true;
	spin_unlock(&d->obj.lock);
	spin_unlock(&q->obj.lock);
	sched_preempt_point();
	spin_lock(&q->obj.lock);
	spin_lock(&d->obj.lock);
	q->busy = false;
	return q->device == d && d->state == DEVICE_CLAIMED &&
		!(q->split != NULL ? q->split_stale : q->stale) ?
	    OK :
	    E_STALE;
}

/* A commit with flags. */
static COLD enum status
other(struct queue *q, struct device *d, const struct uregs *u, struct ring_refusal *why)
{
	switch (u->w[3]) {
	case QUEUE_RENEW:
		return renew(q);
	case QUEUE_SPLIT:
		return device_split_turn(q, d, (uint32_t)u->w[1], (uint32_t)u->w[2], why);
	default:
		return E_INVALID;
	}
}

enum status
sys_queue_commit(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint32_t sq_tail = (uint32_t)u->w[1], cq_head = (uint32_t)u->w[2];
	struct ring_refusal why;
	bool counted = false;
	struct object *o;
	struct device *d;
	struct queue *q;
	enum status s = handle_lock(t->proc, (handle_t)u->w[0], OBJ_QUEUE, RIGHT_WRITE, &o, NULL);

	if (unlikely(s != OK))
		return s;
	q = queue_of(o);
	d = q->device;
	if (unlikely(d == NULL)) {
		spin_unlock(&o->lock);
		return E_STALE;
	}
	spin_lock(&d->obj.lock);
	if (unlikely(d->state != DEVICE_CLAIMED))
		s = E_STALE;
	else if (unlikely(q->busy))
		s = E_BUSY;
	else if (unlikely(u->w[3] != 0))
		s = other(q, d, u, &why);
	else if (unlikely(q->stale))
		s = E_STALE;
	else if (unlikely(!d->check->x.running))
		s = E_STATE;
	else
		s = piece(d, q, sq_tail, cq_head, &why);
	while (unlikely(s == E_WOULD_BLOCK)) {
		if (!counted)
			object_get(o);
		counted = true;
		s = device_queue_breathe(q, d);
		if (s == OK)
			s = u->w[3] == QUEUE_SPLIT ?
			    device_split_turn(q, d, sq_tail, UINT32_MAX, &why) :
			    piece(d, q, sq_tail, UINT32_MAX, &why);
	}
	if (unlikely(s == E_REFUSED))
		s = refused(d, q, &why, u);
	else if (unlikely(s == E_CORRUPT))
		s = broken(d, q);
	spin_unlock(&d->obj.lock);
	spin_unlock(&o->lock);
	if (unlikely(counted))
		object_put(o);
	return s;
}
