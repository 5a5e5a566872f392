/*
 * A process's table of handles.
 *
 * An entry is three words: key (object pointer in bits 63:16, slot generation in 15:0), meta
 * (object generation in 63:32, rights in 31:0) and badge.  Readers take no lock: they read key,
 * then the other words, then key again.  Writers hold the table's lock and change key last when
 * filling and first when emptying, so that a reader that saw the same key twice saw one handle.
 * Pages of the table are never given back while the process lives; pages that it does not have are
 * one page of nothing.
 */
#pragma once

#include "kern/abi/object.h"
#include "kern/abi/status.h"
#include "kern/lock.h"
#include "kern/object.h"

enum {
	HANDLES_PER_PAGE = 128,
	HANDLE_PAGES_MAX = 64,
};

struct handle_entry { uint64_t key, meta, badge, next; };

struct handle_table {
	struct spinlock lock;
	struct handle_entry *page[HANDLE_PAGES_MAX];
	uint32_t pages, free, used;	/* (l) free: index + 1 of the first free entry, 0 none */
	bool closed;			/* (l) the process is ending: no more handles */
};

/* Stands for every page that a table does not have yet: entries without an object. */
extern const struct handle_entry handle_no_page[HANDLES_PER_PAGE];

/* The way of a reader. */

static ALWAYS_INLINE struct object *
handle_key_object(uint64_t key)
{
	/* Kernel addresses have their upper sixteen bits set, on both architectures. */
	uintptr_t at = (uintptr_t)(key >> 16 | 0xffffull << 48);

	__asm__("" : "+r"(at));		/* or the constant would be made anew for every field */
	return (struct object *)at;
}

static ALWAYS_INLINE bool
handle_in_range(handle_t h)
{
	return (h & 0xffff) < HANDLE_PAGES_MAX * HANDLES_PER_PAGE;
}

/* h is in range. */
static ALWAYS_INLINE struct handle_entry *
handle_entry_of(struct handle_table *t, handle_t h)
{
	uint32_t index = h & 0xffff;
	struct handle_entry *page = load_relaxed(&t->page[index / HANDLES_PER_PAGE]);

	return &page[index % HANDLES_PER_PAGE]; /* depends on the pointer, so it is read after it */
}

/* The object is what the entry said; whether it still is that object only its lock tells. */
static ALWAYS_INLINE enum status
handle_read(struct handle_table *t, handle_t h, struct object **o, uint64_t *meta, uint64_t *badge)
{
	struct handle_entry *e;
	uint64_t key;

	if (unlikely(!handle_in_range(h)))
		return E_HANDLE;
	e = handle_entry_of(t, h);
	key = load_acquire(&e->key);
	if (unlikely((uint16_t)key != h >> 16) || unlikely(key >> 16 == 0))
		return E_HANDLE;
	*meta = load_relaxed(&e->meta);
	if (badge != NULL)
		*badge = load_relaxed(&e->badge);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (unlikely(load_relaxed(&e->key) != key))
		return E_HANDLE;
	*o = handle_key_object(key);
	return OK;
}

/* handle_lock for those who have another way when anything is not as usual: NULL, whatever the
 * reason. */
static ALWAYS_INLINE struct object *
handle_try_lock(struct handle_table *t, handle_t h, enum object_type type, uint32_t right,
    uint64_t *badge) NO_THREAD_SAFETY
{
	struct object *o;
	uint64_t meta;

	if (unlikely(handle_read(t, h, &o, &meta, badge) != OK) || unlikely(o->type != type) ||
	    unlikely((meta & right) == 0) || unlikely(!spin_try(&o->lock)))
		return NULL;
	if (likely(o->gen == (uint32_t)(meta >> 32)))
		return o;
	spin_unlock(&o->lock);
	return NULL;
}

void handle_table_init(struct handle_table *t);

/*
 * Finds an object.  On OK it is locked and alive, and *badge (when asked for) is the handle's.
 * rights: all of them are needed.  E_HANDLE, E_STALE, E_TYPE, E_RIGHTS.  type OBJ_NONE: any.
 */
NODISCARD enum status handle_lock(struct process *p, handle_t h, enum object_type type,
    uint32_t rights, struct object **out, uint64_t *badge);

/* The same, referenced and not locked; *rights_out (may be NULL) are all of the handle's. */
NODISCARD enum status handle_ref(struct process *p, handle_t h, enum object_type type,
    uint32_t rights, struct object **out, uint32_t *rights_out);

/*
 * A new handle.  Takes over the caller's reference on OK only.  E_QUOTA (a table holds at most
 * 8192, and its pages are charged), E_NO_MEMORY, E_STATE when the process is ending.  gen is the
 * object's generation that the handle shall name.
 */
NODISCARD enum status handle_insert(struct process *p, struct object *o, uint32_t gen,
    uint32_t rights, uint64_t badge, handle_t *out);

NODISCARD enum status handle_close(struct process *p, handle_t h);

/* Copies a handle to another table (or the same); rights must be a subset.  Needs RIGHT_GIVE. */
NODISCARD enum status
handle_copy(struct process *from, handle_t h, struct process *to, uint32_t rights, handle_t *out);

/* What a handle is, for handle_info. */
NODISCARD enum status handle_query(
    struct process *p, handle_t h, enum object_type *type, uint32_t *rights, uint64_t *badge);

/*
 * Handles to objects of the type, among some entries from *at on; the object is referenced
 * meanwhile.  Moves *at; true when it is at the end.
 */
bool handle_for_some(struct process *p, uint32_t *at, enum object_type type,
    void (*fn)(struct object *, uint32_t rights, void *), void *arg);

/* Ends the table: no more handles.  Closes some from *at on, and moves it; true when none is left.
 * Then handle_table_fini frees its pages. */
bool handle_close_some(struct process *p, uint32_t *at);
void handle_table_fini(struct process *p);
