/*
 * Quotas: a counter that is never above its limit.
 */
#include "kern/quota.h"
#include "kern/abi/process.h"
#include "kern/panic.h"

static enum status
take(struct quota *q, uint64_t *used, const uint64_t *limit, uint64_t n)
{
	uint64_t now = __atomic_load_n(used, __ATOMIC_RELAXED);

	do {
		uint64_t max = __atomic_load_n(limit, __ATOMIC_RELAXED);

		if (n > max || now > max - n) {
			__atomic_fetch_add(&q->refused, 1, __ATOMIC_RELAXED);
			return E_QUOTA;
		}
	} while (!__atomic_compare_exchange_n(
	    used, &now, now + n, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return OK;
}

static void
give(uint64_t *used, uint64_t n)
{
	uint64_t before = __atomic_fetch_sub(used, n, __ATOMIC_RELAXED);

	KASSERT(before >= n);
}

enum status
quota_take_pages(struct quota *q, uint64_t n)
{
	return take(q, &q->pages, &q->pages_max, n);
}
void quota_give_pages(struct quota *q, uint64_t n) { give(&q->pages, n); }
enum status
quota_take_objects(struct quota *q, uint64_t n)
{
	return take(q, &q->objects, &q->objects_max, n);
}
void quota_give_objects(struct quota *q, uint64_t n) { give(&q->objects, n); }
enum status
quota_take_threads(struct quota *q, uint64_t n)
{
	return take(q, &q->threads, &q->threads_max, n);
}
void quota_give_threads(struct quota *q, uint64_t n) { give(&q->threads, n); }
enum status
quota_take_processes(struct quota *q, uint64_t n)
{
	return take(q, &q->processes, &q->processes_max, n);
}
void quota_give_processes(struct quota *q, uint64_t n) { give(&q->processes, n); }
enum status
quota_take_vectors(struct quota *q, uint64_t n)
{
	return take(q, &q->vectors, &q->vectors_max, n);
}
void quota_give_vectors(struct quota *q, uint64_t n) { give(&q->vectors, n); }

enum status
quota_split(struct quota *from, const struct process_limits *l, struct quota *child)
{
	enum status s;

	*child = (struct quota){ .pages_max = l->pages,
		.objects_max = l->objects,
		.threads_max = l->threads,
		.processes_max = l->processes,
		.vectors_max = l->vectors };
	if (from == NULL)
		return OK;
	s = quota_take_pages(from, l->pages);
	if (s != OK)
		return s;
	s = quota_take_objects(from, l->objects);
	if (s != OK)
		goto undo_pages;
	s = quota_take_threads(from, l->threads);
	if (s != OK)
		goto undo_objects;
	s = quota_take_processes(from, l->processes);
	if (s != OK)
		goto undo_threads;
	s = quota_take_vectors(from, l->vectors);
	if (s == OK)
		return OK;
	quota_give_processes(from, l->processes);
undo_threads:
	quota_give_threads(from, l->threads);
undo_objects:
	quota_give_objects(from, l->objects);
undo_pages:
	quota_give_pages(from, l->pages);
	return s;
}

/*
 * How much of a limit is free; the limit is what is used from then on.  Who read the limit before
 * may be above it for a while.  The limit does not go up for that, so each of it goes back once.
 */
static uint64_t
shrink(uint64_t *max, const uint64_t *used)
{
	uint64_t was = __atomic_load_n(max, __ATOMIC_RELAXED);
	uint64_t now = __atomic_load_n(used, __ATOMIC_RELAXED);

	if (now >= was)
		return 0;
	__atomic_store_n(max, now, __ATOMIC_RELAXED);
	return was - now;
}

void
quota_join(struct quota *to, struct quota *child)
{
	quota_give_pages(to, shrink(&child->pages_max, &child->pages));
	quota_give_objects(to, shrink(&child->objects_max, &child->objects));
	quota_give_threads(to, shrink(&child->threads_max, &child->threads));
	quota_give_processes(to, shrink(&child->processes_max, &child->processes));
	quota_give_vectors(to, shrink(&child->vectors_max, &child->vectors));
}
