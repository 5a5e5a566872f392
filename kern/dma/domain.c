/*
 * Domains and the ledger of their grants: domain.h tells the states.
 *
 * The list of grants is sorted by address; a new one goes into the first hole after the last one handed out, and around
 * once.  All transitions are in this file; each asserts the state it starts from.
 */
#include "kern/dma/domain.h"
#include "kern/base/bits.h"
#include "kern/memory.h"
#include "kern/panic.h"
#include "kern/quota.h"

/* The ledger's rule: which state may follow which. */
static void
move(struct grant *g, enum grant_state from, enum grant_state to)
{
	KASSERT(g->state == from);
	g->state = to;
}

enum status
domain_init(struct dma_domain *d, struct iommu_unit *unit, struct quota *q)
{
	enum status s;

	*d = (struct dma_domain){ .io = { .unit = unit, .quota = q } };
	list_init(&d->grants);
	d->next = IOVA_FIRST;
	d->limit = 1ull << min_u64(unit->facts.iova_bits, 47);
	if (d->limit <= IOVA_FIRST)
		return E_UNSUPPORTED;
	s = unit->ops->domain_init(&d->io);
	return s;
}

void
domain_fini(struct dma_domain *d)
{
	KASSERT(list_empty(&d->grants));
	d->io.unit->ops->domain_fini(&d->io);
}

/* A hole of len bytes in [from, limit); returns the list position before it. */
static struct list *
hole(struct dma_domain *d, uint64_t from, uint64_t len, uint64_t align, uint64_t *at_out)
{
	uint64_t at = align_up(from, align);

	list_for_each(it, &d->grants) {
		struct grant *g = list_entry(it, struct grant, link);

		if (g->iova.v + g->len <= at)
			continue;
		if (at + len <= g->iova.v) {
			*at_out = at;
			return it->prev;
		}
		at = align_up(g->iova.v + g->len + PAGE_SIZE, align);	/* an unmapped page between grants */
	}
	if (at >= d->limit || len > d->limit - at)
		return NULL;
	*at_out = at;
	return d->grants.prev;
}

enum status
domain_grant(struct dma_domain *d, struct grant *g, struct memory *m, uint64_t offset, uint64_t len, enum dma_dir dir,
    uint32_t generation)
{
	struct iommu_unit *u = d->io.unit;
	uint64_t align = len >= GIB ? GIB : len >= 2 * MIB ? 2 * MIB : PAGE_SIZE, at, done = 0;
	enum iommu_rights rights = (enum iommu_rights)dir;	/* same bits, by design */
	struct list *after;
	enum status s = OK;

	static_assert((int)IOMMU_READ == (int)DMA_TO_DEVICE && (int)IOMMU_WRITE == (int)DMA_FROM_DEVICE);
	after = hole(d, d->next, len, align, &at);
	if (after == NULL)
		after = hole(d, IOVA_FIRST, len, align, &at);
	if (after == NULL)
		return E_NO_MEMORY;
	move(g, GRANT_FREE, GRANT_ALLOCATED);
	g->iova.v = at;
	g->len = len;
	g->dir = dir;
	g->generation = generation;
	while (done < len && s == OK) {
		struct paddr p;
		uint64_t n;

		if (!memory_run(m, (offset + done) / PAGE_SIZE, &p, &n))
			KASSERT(false);
		n = min_u64(n * PAGE_SIZE, len - done);
		s = u->ops->map(&d->io, (struct iova){ at + done }, p, n, rights);
		if (s == OK)
			done += n;
	}
	if (s != OK) {
		/* Nothing was published, but the walker may have looked: the range rests until it is flushed. */
		if (done != 0) {
			g->len = done;
			list_push_front(after, &g->link);
			d->grant_count++;
			d->bytes += done;
			move(g, GRANT_ALLOCATED, GRANT_MAPPED);
			domain_revoke(d, g);
			for (unsigned spin = 0; domain_revoke_poll(d, g) == E_WOULD_BLOCK; spin++)
				if (spin > 100000) {
					domain_quarantine(d, g);
					break;
				}
			if (g->state == GRANT_INVALIDATED)
				domain_release(d, g);
			return s;
		}
		move(g, GRANT_ALLOCATED, GRANT_FREE);
		return s;
	}
	(void)u->ops->sync(&d->io);
	list_push_front(after, &g->link);
	d->next = at + len + PAGE_SIZE;
	d->grant_count++;
	d->bytes += len;
	__atomic_fetch_add(&u->counters.maps, 1, __ATOMIC_RELAXED);
	move(g, GRANT_ALLOCATED, GRANT_MAPPED);
	return OK;
}

void
domain_revoke(struct dma_domain *d, struct grant *g)
{
	move(g, GRANT_MAPPED, GRANT_REVOKING);
	g->ticket = d->io.unit->ops->unmap(&d->io, g->iova, g->len);
	__atomic_fetch_add(&d->io.unit->counters.unmaps, 1, __ATOMIC_RELAXED);
}

enum status
domain_revoke_poll(struct dma_domain *d, struct grant *g)
{
	enum status s = d->io.unit->ops->ticket_poll(d->io.unit, g->ticket);

	if (s == OK)
		move(g, GRANT_REVOKING, GRANT_INVALIDATED);
	else if (s != E_WOULD_BLOCK)
		domain_quarantine(d, g);
	return s == OK || s == E_WOULD_BLOCK ? s : E_QUARANTINED;
}

void
domain_quarantine(struct dma_domain *d UNUSED, struct grant *g)
{
	move(g, GRANT_REVOKING, GRANT_QUARANTINED);
}

void
domain_release(struct dma_domain *d, struct grant *g)
{
	move(g, GRANT_INVALIDATED, GRANT_FREE);
	list_remove(&g->link);
	d->grant_count--;
	d->bytes -= g->len;
}

enum status
domain_map_doorbell(struct dma_domain *d, struct paddr page)
{
	enum status s;

	if (d->doorbell_mapped)
		return OK;
	d->doorbell.v = IOVA_DOORBELL;
	s = d->io.unit->ops->map_doorbell(&d->io, d->doorbell, page);
	if (s == OK) {
		(void)d->io.unit->ops->sync(&d->io);
		d->doorbell_mapped = true;
	}
	return s;
}
