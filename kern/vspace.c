/*
 * The mappings of a process, sorted by address.
 *
 * Mapping and unmapping go in steps with a preemption point between them.  Meanwhile the mapping is busy: it holds its
 * range of addresses, and nobody else may touch it.
 *
 * A step ends where a large leaf could begin: at the next multiple of 2 MiB.  Both go in the same steps, and a mapping is only
 * unmapped as a whole, so a large leaf is never split.
 */
#include "kern/memory.h"
#include "kern/base/bits.h"
#include "kern/panic.h"
#include "kern/sched.h"
#include "kern/device.h"

enum : uint64_t { VA_FIRST = 0x1000'0000 };

static struct slab slab = { .size = sizeof(struct mapping) };

/* Pages from an address to where the next step begins. */
static inline uint64_t step_pages(uint64_t va) { return MMU_RUN - (va / PAGE_SIZE) % MMU_RUN; }

static inline struct mapping *mapping_at(struct list *l) { return list_entry(l, struct mapping, link); }

/* Finds room, or checks that there is room at va; returns where to insert, NULL when there is none. */
static struct list *
place(struct process *p, uint64_t len, uint64_t *va) REQUIRES(p->vs_lock)
{
	uint64_t at = *va != 0 ? *va : VA_FIRST;
	bool fixed = *va != 0;

	list_for_each(it, &p->mappings) {
		struct mapping *m = mapping_at(it);

		if (at + len <= m->va) {
			*va = at;
			return it->prev;
		}
		if (at < m->va + m->len) {
			if (fixed)
				return NULL;
			at = m->va + m->len + PAGE_SIZE;	/* a guard page between */
			/* Big mappings at addresses that allow big leaves. */
			if (len >= 2 * MIB)
				at = align_up(at, 2 * MIB);
		}
	}
	if (!range_within(at, len, USER_BASE, USER_END - USER_BASE))
		return NULL;
	*va = at;
	return p->mappings.prev;
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
	list_remove(&m->link);
	spin_unlock(&p->vs_lock);
	slab_free(&slab, m);
	object_put(o);
}

enum status
vspace_map(struct process *p, struct object *o, uint64_t offset, uint64_t len, uint64_t va, uint8_t prot,
    uint64_t *va_out) NO_THREAD_SAFETY
{
	struct memory *mem = NULL;
	struct mmio *io = NULL;
	struct mapping *m;
	struct list *after;
	enum status s;
	uint64_t done = 0, size;
	void *slot;

	if (o->type == OBJ_MEMORY) {
		mem = container_of(o, struct memory, obj);
		size = mem->pages * PAGE_SIZE;
	} else {
		io = container_of(o, struct mmio, obj);
		size = io->len;
		if ((prot & PROT_EXEC) != 0)
			return E_REFUSED;
		prot |= PROT_DEVICE;
	}
	if (((offset | len | va) & PAGE_MASK) != 0)
		return E_ALIGN;
	if (len == 0 || !range_within(offset, len, 0, size))
		return E_RANGE;
	if (va != 0 && !range_within(va, len, USER_BASE, USER_END - USER_BASE))
		return E_RANGE;
	if ((prot & (PROT_WRITE | PROT_EXEC)) == (PROT_WRITE | PROT_EXEC))
		return E_REFUSED;
	s = slab_alloc(&slab, &slot);
	if (s != OK)
		return s;
	m = slot;
	*m = (struct mapping){ .proc = p, .object = o, .len = len, .offset = offset, .prot = prot, .busy = true };
	list_init(&m->of_object);
	spin_lock(&p->vs_lock);
	if (!p->space_live) {
		spin_unlock(&p->vs_lock);
		slab_free(&slab, m);
		return E_STATE;
	}
	after = place(p, len, &va);
	if (after == NULL) {
		spin_unlock(&p->vs_lock);
		slab_free(&slab, m);
		return E_EXISTS;
	}
	m->va = va;
	list_push_front(after, &m->link);
	spin_unlock(&p->vs_lock);
	object_get(o);
	spin_lock(&o->lock);
	if (mem != NULL && (mem->poisoned || (mem->sealed && (prot & PROT_WRITE) != 0))) {
		s = mem->poisoned ? E_POISONED : E_READ_ONLY;
		mem->writers += (prot & PROT_WRITE) != 0;
	} else {
		if (mem != NULL)
			mem->writers += (prot & PROT_WRITE) != 0;
		list_push_back(mappings_of(o), &m->of_object);
	}
	spin_unlock(&o->lock);
	while (s == OK && done < len) {
		struct paddr base;
		uint64_t n;

		if (mem != NULL) {
			if (!memory_run(mem, (offset + done) / PAGE_SIZE, &base, &n))
				KASSERT(false);
		} else {
			base.v = io->base.v + offset + done;
			n = (len - done) / PAGE_SIZE;
		}
		n = min_u64(min_u64(n, step_pages(va + done)), (len - done) / PAGE_SIZE);
		spin_lock(&p->vs_lock);
		s = mmu_map(&p->space, (struct uva){ va + done }, base, n, prot);
		spin_unlock(&p->vs_lock);
		if (s == OK) {
			done += n * PAGE_SIZE;
			if (is_aligned(va + done, MMU_RUN * PAGE_SIZE))
				sched_preempt_point();
		}
	}
	if (s != OK) {
		take_down(p, m, done);
		return s;
	}
	spin_lock(&p->vs_lock);
	m->busy = false;
	spin_unlock(&p->vs_lock);
	*va_out = va;
	return OK;
}

enum status
vspace_unmap(struct process *p, uint64_t va, uint64_t len)
{
	struct mapping *m = NULL;

	spin_lock(&p->vs_lock);
	list_for_each(it, &p->mappings) {
		struct mapping *at = mapping_at(it);

		if (at->va == va && at->len == len) {
			m = at;
			break;
		}
	}
	if (m == NULL || m->busy) {
		spin_unlock(&p->vs_lock);
		return m == NULL ? E_NOT_FOUND : E_BUSY;
	}
	m->busy = true;
	spin_unlock(&p->vs_lock);
	take_down(p, m, len);
	return OK;
}

bool
vspace_unmap_one(struct process *p)
{
	struct mapping *m = NULL;

	spin_lock(&p->vs_lock);
	list_for_each(it, &p->mappings) {
		if (!mapping_at(it)->busy) {
			m = mapping_at(it);
			m->busy = true;
			break;
		}
	}
	spin_unlock(&p->vs_lock);
	if (m == NULL)
		return false;
	take_down(p, m, m->len);
	return true;
}

bool
vspace_unmap_object(struct object *o, struct list *mappings) NO_THREAD_SAFETY
{
	for (;;) {
		struct process *p = NULL;
		uint64_t va = 0, len = 0;
		enum status s;

		spin_lock(&o->lock);
		if (!list_empty(mappings)) {
			struct mapping *m = list_first(mappings, struct mapping, of_object);

			p = m->proc;
			va = m->va;
			len = m->len;
			object_get(&p->obj);
		}
		spin_unlock(&o->lock);
		if (p == NULL)
			return true;
		s = vspace_unmap(p, va, len);
		object_put(&p->obj);
		if (s == E_BUSY)
			return false;
	}
}
