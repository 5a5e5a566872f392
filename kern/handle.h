/*
 * A process's table of handles.
 *
 * An entry is three words: key (object pointer in bits 63:16, slot generation in 15:0), meta (object
 * generation in 63:32, rights in 31:0) and badge.  Readers take no lock: they read key, then the
 * other words, then key again.  Writers hold the table's lock and change key last when filling and
 * first when emptying, so that a reader that saw the same key twice saw one handle.  Pages of the
 * table are never given back while the process lives.
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

void handle_table_init(struct handle_table *t);

/*
 * Finds an object.  On OK it is locked and alive, and *badge (when asked for) is the handle's.  rights: all of
 * them are needed.  E_HANDLE, E_STALE, E_TYPE, E_RIGHTS.  type OBJ_NONE: any.
 */
NODISCARD enum status handle_lock(struct process *p, handle_t h, enum object_type type, uint32_t rights,
    struct object **out, uint64_t *badge);

/* The same, referenced and not locked; *rights_out (may be NULL) are all of the handle's. */
NODISCARD enum status handle_ref(struct process *p, handle_t h, enum object_type type, uint32_t rights,
    struct object **out, uint32_t *rights_out);

/*
 * A new handle.  Takes over the caller's reference on OK only.  E_QUOTA (a table holds at most 8192, and its pages
 * are charged), E_NO_MEMORY, E_STATE when the process is ending.  gen is the object's generation that the
 * handle shall name.
 */
NODISCARD enum status handle_insert(struct process *p, struct object *o, uint32_t gen, uint32_t rights,
    uint64_t badge, handle_t *out);

NODISCARD enum status handle_close(struct process *p, handle_t h);

/* Copies a handle to another table (or the same); rights must be a subset.  Needs RIGHT_GIVE. */
NODISCARD enum status handle_copy(struct process *from, handle_t h, struct process *to, uint32_t rights,
    handle_t *out);

/* What a handle is, for handle_info. */
NODISCARD enum status handle_query(struct process *p, handle_t h, enum object_type *type, uint32_t *rights,
    uint64_t *badge);

/* Every live handle to objects of the type; the object is referenced meanwhile.  Stops when fn returns false. */
void handle_for_each(struct process *p, enum object_type type, bool (*fn)(struct object *, uint32_t rights, void *),
    void *arg);

/* Ends the table: closes up to n entries; true when none is left.  Then handle_table_fini frees its pages. */
bool handle_close_some(struct process *p, unsigned n);
void handle_table_fini(struct process *p);
