/*
 * Slabs and reference counts.
 *
 * A slab carves frames into slots of one size and never gives them back to another type.  A free
 * slot is chained through its payer field; its generation stays, one higher than it was.
 */
#include "kern/object.h"
#include "kern/base/str.h"
#include "kern/device.h"
#include "kern/device_queue.h"
#include "kern/frame.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/memory.h"
#include "kern/panic.h"
#include "kern/process.h"

struct page_head { struct page_head *next; uint32_t count; };

static struct spinlock slab_lock = SPINLOCK_INIT(RANK_OBJECT);

struct type {
	struct slab slab;
	struct page_head *pages;	/* newest first */
};

static bool nothing_left(struct object *o UNUSED) { return true; }

static struct type types[OBJ_TYPES] = {
	[OBJ_KERNEL] = { .slab = { .size = sizeof(struct object),
			     .rank = RANK_OBJECT,
			     .destroy = nothing_left } },
	[OBJ_PROCESS] = { .slab = { .size = sizeof(struct process),
			      .rank = RANK_PROCESS,
			      .destroy = process_destroy } },
	[OBJ_MEMORY] = { .slab = { .size = sizeof(struct memory),
			     .rank = RANK_MEMORY,
			     .destroy = memory_destroy } },
	[OBJ_ENDPOINT] = { .slab = { .size = sizeof(struct endpoint),
			       .rank = RANK_ENDPOINT,
			       .destroy = endpoint_destroy } },
	[OBJ_NOTIFICATION] = { .slab = { .size = sizeof(struct notification),
				   .rank = RANK_NOTIFICATION,
				   .destroy = notification_destroy } },
	[OBJ_DEVICE] = { .slab = { .size = sizeof(struct device),
			     .rank = RANK_DEVICE,
			     .destroy = device_destroy } },
	[OBJ_MMIO] = { .slab = { .size = sizeof(struct mmio),
			   .rank = RANK_MEMORY,
			   .destroy = mmio_destroy } },
	[OBJ_IRQ] = { .slab = { .size = sizeof(struct irq),
			  .rank = RANK_IRQ,
			  .destroy = irq_destroy } },
	[OBJ_BUFFER] = { .slab = { .size = sizeof(struct buffer),
			     .rank = RANK_QUEUE,
			     .destroy = buffer_destroy } },
	[OBJ_QUEUE] = { .slab = { .size = sizeof(struct queue),
			    .rank = RANK_QUEUE,
			    .destroy = queue_destroy } },
};

static size_t slot_size(const struct slab *s) { return align_up(s->size, 64); }

/* One more page (or a block of pages for big slots) of free slots. */
static NOINLINE enum status
grow(struct type *t)
{
	size_t size = slot_size(&t->slab);
	unsigned order = size * 2 > PAGE_SIZE - 64 ? log2_ceil(pages_of(size * 2 + 64)) : 0;
	struct page_head *page;
	struct paddr p;
	enum status s = frame_alloc(order, FRAME_KERNEL, FRAME_ZERO, &p);

	if (s != OK)
		return s;
	page = frame_ptr(p);
	page->count = (uint32_t)(((PAGE_SIZE << order) - 64) / size);
	spin_lock(&slab_lock);
	page->next = t->pages;
	store_release(&t->pages, page);
	for (uint32_t i = 0; i < page->count; i++) {
		struct object *o = (struct object *)((char *)page + 64 + i * size);

		o->type = (enum object_type)(t - types);
		lock_init(&o->lock, t->slab.rank);
		o->payer = (struct process *)t->slab.free;
		t->slab.free = o;
	}
	spin_unlock(&slab_lock);
	return OK;
}

enum status
object_create(enum object_type type, struct process *payer, struct object **out)
{
	struct type *t = &types[type];
	struct object *o;
	enum status s;
	uint32_t gen;

	if (payer != NULL) {
		s = quota_take_objects(&payer->quota, 1);
		if (s != OK)
			return s;
	}
	for (;;) {
		spin_lock(&slab_lock);
		o = t->slab.free;
		if (o != NULL) {
			t->slab.free = (struct object *)o->payer;
			t->slab.live++;
			spin_unlock(&slab_lock);
			break;
		}
		spin_unlock(&slab_lock);
		s = grow(t);
		if (s != OK) {
			if (payer != NULL)
				quota_give_objects(&payer->quota, 1);
			return s;
		}
	}
	gen = o->gen;
	memset((char *)o + sizeof(*o), 0, t->slab.size - sizeof(*o));
	o->gen = gen;
	o->refs = 1;
	o->payer = payer;
	if (payer != NULL)
		object_get(&payer->obj);
	store_release(&o->used, true);
	*out = o;
	return OK;
}

void
object_put_last(struct object *o)
{
	struct type *t = &types[o->type];
	struct process *payer;

	/* The last one goes together with the generation: who holds the lock and finds it unchanged
	 * may still count one more. */
	spin_lock(&o->lock);
	if (__atomic_fetch_sub(&o->refs, 1, __ATOMIC_ACQ_REL) != 1) {
		spin_unlock(&o->lock);
		return;
	}
	o->gen++;
	spin_unlock(&o->lock);
	KASSERT(t->slab.destroy != NULL);
	if (!t->slab.destroy(o))
		return;		/* it goes on for a while, with a reference of its own */
	payer = o->payer;
	spin_lock(&slab_lock);
	o->used = false;
	o->payer = (struct process *)t->slab.free;
	t->slab.free = o;
	t->slab.live--;
	spin_unlock(&slab_lock);
	if (payer != NULL) {
		quota_give_objects(&payer->quota, 1);
		object_put(&payer->obj);
	}
}

void
object_bump(struct object *o)
{
	spin_lock(&o->lock);
	o->gen++;
	spin_unlock(&o->lock);
}

uint64_t
object_live(enum object_type type)
{
	return load_relaxed(&types[type].slab.live);
}

void
object_for_each(enum object_type type, bool (*fn)(struct object *, void *), void *arg)
{
	struct type *t = &types[type];
	size_t size = slot_size(&t->slab);

	for (struct page_head *page = load_acquire(&t->pages); page != NULL; page = page->next) {
		for (uint32_t i = 0; i < page->count; i++) {
			struct object *o = (struct object *)((char *)page + 64 + i * size);
			bool live = false, go_on;

			spin_lock(&slab_lock);
			if (o->used && load_relaxed(&o->refs) != 0) {
				uint32_t refs = load_relaxed(&o->refs);

				/* Only an object that is not already on its way out. */
				while (refs != 0 &&
				    !__atomic_compare_exchange_n(&o->refs, &refs, refs + 1, false,
					__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
					;
				live = refs != 0;
			}
			spin_unlock(&slab_lock);
			if (!live)
				continue;
			go_on = fn(o, arg);
			object_put(o);
			if (!go_on)
				return;
		}
	}
}

enum status
slab_alloc(struct slab *s, void **out)
{
	size_t size = slot_size(s);
	struct paddr p;
	enum status e;
	void *slot;

	spin_lock(&slab_lock);
	if (s->free == NULL) {
		char *page;

		spin_unlock(&slab_lock);
		e = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &p);
		if (e != OK)
			return e;
		page = frame_ptr(p);
		spin_lock(&slab_lock);
		for (size_t at = 0; at + size <= PAGE_SIZE; at += size) {
			*(void **)(page + at) = s->free;
			s->free = (struct object *)(page + at);
		}
	}
	slot = s->free;
	s->free = *(void **)slot;
	s->live++;
	spin_unlock(&slab_lock);
	memset(slot, 0, s->size);
	*out = slot;
	return OK;
}

void
slab_free(struct slab *s, void *p)
{
	spin_lock(&slab_lock);
	*(void **)p = s->free;
	s->free = p;
	s->live--;
	spin_unlock(&slab_lock);
}
