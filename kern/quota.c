/*
 * Quotas: a counter that is never above its limit.
 */
#include "kern/quota.h"
#include "kern/panic.h"

static enum status
take(struct quota *q, uint64_t *used, uint64_t max, uint64_t n)
{
	uint64_t now = __atomic_load_n(used, __ATOMIC_RELAXED);

	do {
		if (n > max || now > max - n) {
			__atomic_fetch_add(&q->refused, 1, __ATOMIC_RELAXED);
			return E_QUOTA;
		}
	} while (!__atomic_compare_exchange_n(used, &now, now + n, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return OK;
}

static void
give(uint64_t *used, uint64_t n)
{
	uint64_t before = __atomic_fetch_sub(used, n, __ATOMIC_RELAXED);

	KASSERT(before >= n);
}

enum status quota_take_pages(struct quota *q, uint64_t n) { return take(q, &q->pages, q->pages_max, n); }
void quota_give_pages(struct quota *q, uint64_t n) { give(&q->pages, n); }
enum status quota_take_objects(struct quota *q, uint64_t n) { return take(q, &q->objects, q->objects_max, n); }
void quota_give_objects(struct quota *q, uint64_t n) { give(&q->objects, n); }
