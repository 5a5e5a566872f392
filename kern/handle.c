/*
 * Handle tables.
 *
 * A handle is an index and a slot generation.  An entry (handle.h has its words) is an object, the
 * generation that the object had when the entry was filled, rights and a badge.  A lookup asks
 * three questions, and only the last takes a lock:
 *
 *   1 the slot     key, meta, badge, and key again.  Emptying a slot moves its generation on; key
 *     is written last by who fills and
 *                  first by who empties.  So who sees one key twice has seen one handle, whole, and
 *                  the handle's own.
 *   2 the type     the object may have ended since.  Its memory is of the same type still
 *     (object.c), so type and lock can be read.
 *   3 the object   under its lock its generation is compared with the entry's.  Equal: it lives,
 *     and is not revoked before the lock is
 *                  let go.  Else E_STALE: revoking is one addition, whoever holds handles, and they
 *                  are closed when their owners do.
 *
 * An entry counts one reference of its object.  What comes out of a table is dropped after the
 * table's lock, as the last reference may end an object, which takes locks of its own.
 *
 * Growth   a page at a time, paid by the process; made without the lock, so who comes second finds
 *          free entries and gives his back.  A page is shown whole, and withdrawn before it is
 *          freed: a reader finds entries or nothing.
 * The end  "closed" is set before the first entry is emptied, so nothing comes in behind.  In
 *          steps, for the worker.
 * Locks    the table's (RANK_HANDLES), for writers; no object's lock is taken with it held.
 * Not here revoking (object.c), the calls (syscall.c), handles in messages (ipc.c).
 */
#include "kern/handle.h"
#include "kern/frame.h"
#include "kern/ipc.h"
#include "kern/process.h"

enum : uint64_t { META_RIGHTS = 0xffffffff };
enum { LOOK_AT_ONCE = 256, CLOSE_AT_ONCE = 16 };	/* entries of a table that ends */

static ALWAYS_INLINE uint64_t
key_of(const struct object *o, uint16_t gen)
{
	return (uint64_t)(uintptr_t)o << 16 | gen;
}

const struct handle_entry handle_no_page[HANDLES_PER_PAGE];

void
handle_table_init(struct handle_table *t)
{
	lock_init(&t->lock, RANK_HANDLES);
	for (uint32_t i = 0; i < HANDLE_PAGES_MAX; i++)
		t->page[i] = (struct handle_entry *)
		    handle_no_page; /* read only: nothing to take out of it */
}

/* Finds an object by what a handle says; locked on OK. */
static ALWAYS_INLINE enum status
lock_object(struct process *p, handle_t h, enum object_type type, uint32_t rights,
    struct object **out, uint64_t *meta_out, uint64_t *badge) NO_THREAD_SAFETY
{
	struct object *o;
	uint64_t meta, b;
	enum status s = handle_read(&p->handles, h, &o, &meta, &b);

	if (unlikely(s != OK))
		return s;
	if (unlikely(o->type != type && type != OBJ_NONE))
		return E_TYPE;
	if (unlikely((rights & ~(uint32_t)meta) != 0))
		return E_RIGHTS;
	spin_lock(&o->lock);
	if (unlikely(o->gen != (uint32_t)(meta >> 32))) {
		spin_unlock(&o->lock);
		return E_STALE;
	}
	if (badge != NULL)
		*badge = b;
	*meta_out = meta;
	*out = o;
	return OK;
}

enum status
handle_lock(struct process *p, handle_t h, enum object_type type, uint32_t rights,
    struct object **out, uint64_t *badge) NO_THREAD_SAFETY
{
	uint64_t meta;

	return lock_object(p, h, type, rights, out, &meta, badge);
}

enum status
handle_ref(struct process *p, handle_t h, enum object_type type, uint32_t rights,
    struct object **out, uint32_t *rights_out) NO_THREAD_SAFETY
{
	struct object *o;
	uint64_t meta;
	enum status s = lock_object(p, h, type, rights, &o, &meta, NULL);

	if (unlikely(s != OK))
		return s;
	object_get(o);
	spin_unlock(&o->lock);
	if (rights_out != NULL)
		*rights_out = (uint32_t)meta;
	*out = o;
	return OK;
}

/* One more page of free entries; the lock is not held. */
static NOINLINE enum status
grow(struct process *p)
{
	struct handle_table *t = &p->handles;
	struct handle_entry *page;
	struct paddr f;
	enum status s;

	if (t->pages == HANDLE_PAGES_MAX)
		return E_QUOTA;
	s = quota_take_pages(&p->quota, 1);
	if (s != OK)
		return s;
	s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &f);
	if (s != OK) {
		quota_give_pages(&p->quota, 1);
		return s;
	}
	page = frame_ptr(f);
	spin_lock(&t->lock);
	if (t->pages == HANDLE_PAGES_MAX || t->free != 0) {
		spin_unlock(&t->lock);
		frame_free(f, 0);
		quota_give_pages(&p->quota, 1);
		return OK;
	}
	for (uint32_t i = HANDLES_PER_PAGE; i-- > 0; ) {
		page[i].key = 1;	/* generation 1: handle 0 is never valid */
		page[i].next = t->free;
		t->free = t->pages * HANDLES_PER_PAGE + i + 1;
	}
	store_release(&t->page[t->pages], page);
	t->pages++;
	spin_unlock(&t->lock);
	return OK;
}

enum status
handle_insert(struct process *p, struct object *o, uint32_t gen, uint32_t rights, uint64_t badge,
    handle_t *out)
{
	struct handle_table *t = &p->handles;
	struct handle_entry *e;
	enum status s;
	uint32_t index;
	uint16_t slot;

	for (;;) {
		spin_lock(&t->lock);
		if (t->closed) {
			spin_unlock(&t->lock);
			return E_STATE;
		}
		if (t->free != 0)
			break;
		spin_unlock(&t->lock);
		s = grow(p);
		if (s != OK)
			return s;
	}
	index = t->free - 1;
	e = handle_entry_of(t, index);
	t->free = (uint32_t)e->next;
	slot = (uint16_t)e->key;
	e->meta = (uint64_t)gen << 32 | rights;
	e->badge = badge;
	store_release(&e->key, key_of(o, slot));
	t->used++;
	spin_unlock(&t->lock);
	*out = (handle_t)slot << 16 | index;
	if (o->type == OBJ_ENDPOINT && (rights & RIGHT_RECV) != 0)
		endpoint_receiver_added(o);
	return OK;
}

/* Empties a slot; the lock is held.  Returns the object whose reference the caller now owns, or
 * NULL. */
static struct object *
take_locked(struct handle_table *t, uint32_t index, struct handle_entry *e, uint32_t *rights)
{
	uint64_t key = e->key;
	uint16_t gen = (uint16_t)(key + 1);

	if (key >> 16 == 0)
		return NULL;
	*rights = (uint32_t)e->meta;
	store_release(&e->key, gen == 0 ? 1 : gen);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	e->meta = e->badge = 0;
	e->next = t->free;
	t->free = index + 1;
	t->used--;
	return handle_key_object(key);
}

/* A handle is out of its table: its reference, and what its rights stood for. */
static void
drop(struct object *o, uint32_t rights)
{
	if (o->type == OBJ_ENDPOINT && (rights & RIGHT_RECV) != 0)
		endpoint_receiver_gone(o);
	object_put(o);
}

enum status
handle_close(struct process *p, handle_t h)
{
	struct handle_table *t = &p->handles;
	struct handle_entry *e;
	struct object *o = NULL;
	uint32_t rights = 0;

	if (!handle_in_range(h))
		return E_HANDLE;
	e = handle_entry_of(t, h);
	spin_lock(&t->lock);
	if ((e->key & 0xffff) == h >> 16)
		o = take_locked(t, h & 0xffff, e, &rights);
	spin_unlock(&t->lock);
	if (o == NULL)
		return E_HANDLE;
	drop(o, rights);
	return OK;
}

enum status
handle_copy(struct process *from, handle_t h, struct process *to, uint32_t rights, handle_t *out)
{
	struct object *o;
	uint64_t meta, badge;
	enum status s = handle_read(&from->handles, h, &o, &meta, &badge);
	uint32_t have = (uint32_t)meta;

	if (s != OK)
		return s;
	s = handle_ref(from, h, OBJ_NONE, RIGHT_GIVE, &o, &have);
	if (s != OK)
		return s;
	if (rights == UINT32_MAX)
		rights = have;
	if ((rights & ~have) != 0)
		s = E_RIGHTS;
	else
		s = handle_insert(to, o, (uint32_t)(meta >> 32), rights, badge, out);
	if (s != OK)
		object_put(o);
	return s;
}

enum status
handle_query(
    struct process *p, handle_t h, enum object_type *type, uint32_t *rights, uint64_t *badge)
{
	struct object *o;
	uint64_t meta;
	enum status s = handle_read(&p->handles, h, &o, &meta, badge);

	if (s != OK)
		return s;
	*type = o->type;
	*rights = (uint32_t)meta;
	return load_relaxed(&o->gen) == (uint32_t)(meta >> 32) ? OK : E_STALE;
}

bool
handle_for_some(struct process *p, uint32_t *at, enum object_type type,
    void (*fn)(struct object *, uint32_t, void *), void *arg)
{
	struct handle_table *t = &p->handles;
	uint32_t all = t->pages * HANDLES_PER_PAGE,
		 end = (uint32_t)min_u64(*at + LOOK_AT_ONCE, all);

	for (; *at < end; ++*at) {
		struct handle_entry *e = handle_entry_of(t, *at);
		struct object *o = NULL;
		uint32_t rights;

		if (load_relaxed(&e->key) >> 16 == 0)
			continue;
		spin_lock(&t->lock);
		rights = (uint32_t)e->meta;
		if (e->key >> 16 != 0 && handle_key_object(e->key)->type == type) {
			o = handle_key_object(e->key);
			object_get(o);
		}
		spin_unlock(&t->lock);
		if (o == NULL)
			continue;
		fn(o, rights, arg);
		object_put(o);
	}
	return end == all;
}

bool
handle_close_some(struct process *p, uint32_t *at)
{
	struct handle_table *t = &p->handles;
	unsigned closed = 0;
	uint32_t all, end;

	spin_lock(&t->lock);
	t->closed = true;
	all = t->pages * HANDLES_PER_PAGE;
	end = (uint32_t)min_u64(*at + LOOK_AT_ONCE, all);
	for (; *at < end && closed < CLOSE_AT_ONCE; ++*at) {
		uint32_t rights = 0;
		struct object *o = take_locked(t, *at, handle_entry_of(t, *at), &rights);

		if (o == NULL)
			continue;
		closed++;
		spin_unlock(&t->lock);
		drop(o, rights);
		spin_lock(&t->lock);
	}
	spin_unlock(&t->lock);
	return *at == all;
}

void
handle_table_fini(struct process *p)
{
	struct handle_table *t = &p->handles;

	for (uint32_t i = 0; i < t->pages; i++) {
		struct handle_entry *page = t->page[i];

		/* Withdrawn first: a page that the table still shows is never free. */
		spin_lock(&t->lock);
		store_release(&t->page[i], (struct handle_entry *)handle_no_page);
		spin_unlock(&t->lock);
		frame_free(frame_of(page), 0);
		quota_give_pages(&p->quota, 1);
	}
	t->pages = 0;
}
