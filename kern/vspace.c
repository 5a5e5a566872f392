/*
 * The mappings of a process, in a tree by address.
 *
 * A mapping is charged to the process that it is in, as an object.
 *
 * Mapping and unmapping go in steps with a preemption point between them.  Meanwhile the mapping is
 * busy: it holds its range of addresses, and nobody else may touch it.
 *
 * A step ends where a large leaf could begin: at the next multiple of 2 MiB.  Both go in the same
 * steps, and a mapping is only unmapped as a whole, so a large leaf is never split.
 */
#include "kern/memory.h"
#include "kern/base/bits.h"
#include "kern/panic.h"
#include "kern/sched.h"
#include "kern/device.h"
#include "kern/exposure.h"

enum : uint64_t { VA_FIRST = 0x1000'0000 };

static struct slab slab = { .size = sizeof(struct mapping) };

/* Pages from an address to where the next step begins. */
static inline uint64_t step_pages(uint64_t va) { return MMU_RUN - (va / PAGE_SIZE) % MMU_RUN; }

static inline struct mapping *
mapping_at(struct itree_node *n)
{
	return container_of(n, struct mapping, range);
}

/* Finds room with at least a page free on both sides; for what is big, at an address that allows
 * big leaves. */
static bool
find_room(const struct process *p, uint64_t len, uint64_t *va) REQUIRES(p->vs_lock)
{
	uint64_t edge = len >= 2 * MIB ? 2 * MIB : PAGE_SIZE, at;

	if (!itree_gap(&p->mappings, VA_FIRST - edge, USER_END - 1, len + 2 * edge, edge, &at))
		return false;
	*va = at + edge;
	return true;
}

/* Puts m into its process: at va, or where there is room (0). */
static enum status
place(struct process *p, struct mapping *m, uint64_t va)
{
	enum status s = OK;

	spin_lock(&p->vs_lock);
	if (!p->space_live)
		s = E_STATE;
	else if (va == 0 && !find_room(p, m->len, &va))
		s = E_NO_MEMORY;
	if (s == OK) {
		m->va = m->range.base = va;
		m->range.last = va + m->len - 1;
		if (!itree_insert(&p->mappings, &m->range))
			s = E_EXISTS;
	}
	spin_unlock(&p->vs_lock);
	return s;
}

static struct list *
mappings_of(struct object *o)
{
	return o->type == OBJ_MEMORY ? &container_of(o, struct memory, obj)->mappings :
	    &container_of(o, struct mmio, obj)->mappings;
}

/* Unmaps what is mapped of m in steps, and forgets it.  m is busy and ours. */
static void
take_down(struct process *p, struct mapping *m, uint64_t mapped) NO_THREAD_SAFETY
{
	struct object *o = m->object;

	for (uint64_t at = 0, n; at < mapped; at += n * PAGE_SIZE) {
		n = min_u64(step_pages(m->va + at), (mapped - at) / PAGE_SIZE);

		spin_lock(&p->vs_lock);
		mmu_unmap(&p->space, (struct uva){ m->va + at }, n);
		spin_unlock(&p->vs_lock);
		if (at + n * PAGE_SIZE < mapped)
			sched_preempt_point();
	}
	spin_lock(&o->lock);
	list_remove(&m->of_object);
	if (o->type == OBJ_MEMORY && (m->prot & PROT_WRITE) != 0)
		container_of(o, struct memory, obj)->writers--;
	spin_unlock(&o->lock);
	spin_lock(&p->vs_lock);
	itree_remove(&p->mappings, &m->range);
	spin_unlock(&p->vs_lock);
	slab_free(&slab, m);
	quota_give_objects(&p->quota, 1);
	object_put(o);
}

/* What may be asked for: E_ALIGN, E_RANGE, E_REFUSED. */
static enum status
judge(const struct object *o, uint64_t offset, uint64_t len, uint64_t va, uint8_t prot)
{
	uint64_t size = o->type == OBJ_MEMORY ?
	    container_of(o, const struct memory, obj)->pages * PAGE_SIZE :
	    container_of(o, const struct mmio, obj)->len;

	if (o->type != OBJ_MEMORY && (prot & PROT_EXEC) != 0)
		return E_REFUSED;
	if (((offset | len | va) & PAGE_MASK) != 0)
		return E_ALIGN;
	if (len == 0 || !range_within(offset, len, 0, size))
		return E_RANGE;
	if (va != 0 && !range_within(va, len, USER_BASE, USER_END - USER_BASE))
		return E_RANGE;
	return (prot & (PROT_WRITE | PROT_EXEC)) == (PROT_WRITE | PROT_EXEC) ? E_REFUSED : OK;
}

/* The object counts the mapping, unless it may not be mapped (any more); take_down undoes both. */
static enum status
count(struct mapping *m) NO_THREAD_SAFETY
{
	struct object *o = m->object;
	bool writes = (m->prot & PROT_WRITE) != 0;
	enum status s = OK;

	object_get(o);
	spin_lock(&o->lock);
	if (o->type == OBJ_MEMORY) {
		struct memory *mem = container_of(o, struct memory, obj);

		s = memory_may_be_used(mem, writes);
		mem->writers += writes;
	} else if (container_of(o, struct mmio, obj)->closed) {
		s = E_STALE;
	}
	if (s == OK)
		list_push_back(mappings_of(o), &m->of_object);
	spin_unlock(&o->lock);
	return s;
}

/* Fills the tables, step by step; *done is as far as it came. */
static enum status
fill(struct process *p, const struct mapping *m, uint64_t *done) NO_THREAD_SAFETY
{
	struct object *o = m->object;
	enum status s = OK;

	while (s == OK && *done < m->len) {
		uint64_t va = m->va + *done, n = (m->len - *done) / PAGE_SIZE, run = n;
		struct paddr base;

		if (o->type != OBJ_MEMORY)
			base.v = container_of(o, struct mmio, obj)->base.v + m->offset + *done;
		else if (!memory_run(container_of(o, struct memory, obj),
			     (m->offset + *done) / PAGE_SIZE, &base, &run))
			KASSERT(false);
		n = min_u64(min_u64(n, run), step_pages(va));
		if (!exposure_allows(base, n, o->type != OBJ_MEMORY)) {
			s = E_REFUSED;
			break;
		}
		spin_lock(&p->vs_lock);
		s = mmu_map(&p->space, (struct uva){ va }, base, n, m->prot);
		spin_unlock(&p->vs_lock);
		if (s != OK)
			break;
		*done += n * PAGE_SIZE;
		if (is_aligned(m->va + *done, MMU_RUN * PAGE_SIZE))
			sched_preempt_point();
	}
	return s;
}

enum status
vspace_map(struct process *p, struct object *o, uint64_t offset, uint64_t len, uint64_t va,
    uint8_t prot, uint64_t *va_out)
{
	enum status s = judge(o, offset, len, va, prot);
	struct mapping *m;
	uint64_t done = 0;
	void *slot;

	if (s != OK)
		return s;
	s = quota_take_objects(&p->quota, 1);
	if (s != OK)
		return s;
	s = slab_alloc(&slab, &slot);
	if (s != OK)
		goto undo_quota;
	m = slot;
	*m = (struct mapping){ .proc = p,
		.object = o,
		.len = len,
		.offset = offset,
		.prot = o->type == OBJ_MEMORY ? prot : prot | PROT_DEVICE,
		.busy = true };
	list_init(&m->of_object);
	s = place(p, m, va);
	if (s != OK)
		goto undo;
	s = count(m);
	if (s == OK)
		s = fill(p, m, &done);
	if (s != OK) {
		take_down(p, m, done);
		return s;
	}
	*va_out = m->va;
	spin_lock(&p->vs_lock);
	m->busy = false;
	spin_unlock(&p->vs_lock);
	return OK;
undo:
	slab_free(&slab, m);
undo_quota:
	quota_give_objects(&p->quota, 1);
	return s;
}

/* Takes down the mapping of that place and length, if it is one of "of" (NULL: of anything). */
static enum status
unmap_at(struct process *p, uint64_t va, uint64_t len, const struct object *of)
{
	struct mapping *m = NULL;
	struct itree_node *n;

	spin_lock(&p->vs_lock);
	n = itree_find(&p->mappings, va);
	if (n != NULL && mapping_at(n)->va == va && mapping_at(n)->len == len &&
	    (of == NULL || mapping_at(n)->object == of))
		m = mapping_at(n);
	if (m == NULL || m->busy) {
		spin_unlock(&p->vs_lock);
		return m == NULL ? E_NOT_FOUND : E_BUSY;
	}
	m->busy = true;
	spin_unlock(&p->vs_lock);
	take_down(p, m, len);
	return OK;
}

enum status
vspace_unmap(struct process *p, uint64_t va, uint64_t len)
{
	return unmap_at(p, va, len, NULL);
}

bool
vspace_unmap_one(struct process *p)
{
	struct mapping *m = NULL;

	spin_lock(&p->vs_lock);
	for (struct itree_node *n = itree_first(&p->mappings); n != NULL && m == NULL;
	    n = itree_next(n))
		if (!mapping_at(n)->busy)
			m = mapping_at(n);
	if (m != NULL)
		m->busy = true;
	spin_unlock(&p->vs_lock);
	if (m == NULL)
		return false;
	take_down(p, m, m->len);
	return true;
}

bool
vspace_close(struct process *p)
{
	bool empty;

	spin_lock(&p->vs_lock);
	empty = itree_first(&p->mappings) == NULL;
	if (empty)
		p->space_live = false;
	spin_unlock(&p->vs_lock);
	return empty;
}

enum status
vspace_unmap_one_of(struct object *o, struct list *mappings)
{
	struct process *p = NULL;
	uint64_t va = 0, len = 0;
	bool some, live = false;
	enum status s;

	spin_lock(&o->lock);
	some = !list_empty(mappings);
	if (some) {
		struct mapping *m = list_first(mappings, struct mapping, of_object);

		p = m->proc;
		va = m->va;
		len = m->len;
		live = object_try_get(&p->obj);	/* a mapping does not count its process */
	}
	spin_unlock(&o->lock);
	if (!some)
		return E_NOT_FOUND;
	if (!live)			/* its end takes it down */
		return E_BUSY;
	/* Its process may have put something else in its place meanwhile, which is not ours. */
	s = unmap_at(p, va, len, o);
	object_put(&p->obj);
	return s == E_BUSY ? E_BUSY : OK;
}

bool
vspace_unmap_object(struct object *o, struct list *mappings)
{
	enum status s;

	while ((s = vspace_unmap_one_of(o, mappings)) == OK)
		sched_preempt_point();
	return s != E_BUSY;
}
