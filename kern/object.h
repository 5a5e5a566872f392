/*
 * Objects: what handles lead to.
 *
 * Every object begins with a struct object.  Its memory is type-stable: a slot that was an endpoint
 * is only ever an endpoint again, and its generation survives reuse.  That is what makes lookups
 * cheap: a handle entry holds pointer and generation; whoever takes the object's lock and finds the
 * generation unchanged has a live object, without having counted a reference first.
 *
 * refs counts handles and kernel pointers.  The last object_put calls the type's destroy, with no
 * lock held, in a context that may be preempted (sched_preempt_point) but is a process's or the
 * worker's own: never an interrupt.
 *
 * Who made an object pays for it: its payer's quota of objects, until it is gone.
 *
 * Locks: the object's own (rank by type); RANK_OBJECT for slabs.
 */
#pragma once

#include "kern/abi/object.h"
#include "kern/abi/status.h"
#include "kern/lock.h"

struct process;

struct object {
	struct spinlock lock;
	enum object_type type;
	bool used;		/* RANK_OBJECT: slot in use */
	uint32_t gen;		/* (l) lock of the object; odd sizes never matter, only equality */
	uint32_t refs;		/* (a) */
	struct process *payer;	/* (c) counted; NULL: the kernel's own */
};

struct slab {
	uint16_t size;			/* (c) bytes of one object */
	enum lock_rank rank;		/* (c) */
	bool (*destroy)(struct object *); /* false: lives on, comes back by its own object_put */
	struct object *free;		/* RANK_OBJECT; chained through payer's place */
	uint64_t live;
};

/* A zeroed object of the type (generation kept), refs 1, charged to payer.  E_QUOTA, E_NO_MEMORY.
 */
NODISCARD enum status
object_create(enum object_type type, struct process *payer, struct object **out);

static inline void
object_get(struct object *o)
{
	__atomic_fetch_add(&o->refs, 1, __ATOMIC_RELAXED);
}
/* The last reference may be going. */
void object_put_last(struct object *o);

static inline void
object_put(struct object *o)
{
	uint32_t refs = __atomic_load_n(&o->refs, __ATOMIC_RELAXED);

	while (refs > 1)
		if (__atomic_compare_exchange_n(
			&o->refs, &refs, refs - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return;
	object_put_last(o);
}

/* For who found the object by a pointer that is not counted: false when its end has begun. */
static inline bool
object_try_get(struct object *o)
{
	uint32_t refs = __atomic_load_n(&o->refs, __ATOMIC_RELAXED);

	while (refs != 0)
		if (__atomic_compare_exchange_n(
			&o->refs, &refs, refs + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* Makes every handle stale.  Takes the object's lock. */
void object_bump(struct object *o);

/* Live objects of a type. */
uint64_t object_live(enum object_type type);

/* Calls fn for every live object of the type; the object is referenced meanwhile.  Stops when fn
 * returns false. */
void object_for_each(enum object_type type, bool (*fn)(struct object *, void *), void *arg);

/* Slots of types that are not reached by handles (threads, mappings) use slabs too. */
NODISCARD enum status slab_alloc(struct slab *s, void **out);
void slab_free(struct slab *s, void *p);

/* The destroy functions, by type; object.c has the table. */
bool process_destroy(struct object *o);
bool memory_destroy(struct object *o);
bool endpoint_destroy(struct object *o);
bool notification_destroy(struct object *o);
bool device_destroy(struct object *o);
bool mmio_destroy(struct object *o);
bool irq_destroy(struct object *o);
bool buffer_destroy(struct object *o);
bool queue_destroy(struct object *o);
