/*
 * Domains: domain.h tells what a caller sees.
 *
 * The order that matters is the ledger's: every change of a page table stands between two
 * transitions of it.
 *
 *   grant    reserve | map, step by step | mapped | sync -> ticket | fence past | publish
 *   revoke   revoke (no new pin from here) | unmap, step by step -> tickets | fence past | settle |
 *            scrub | release
 *   disarm   the same, with "idle" for "release"; and arm: as grant, but for "reserve"
 *
 * A step ends where a large leaf of the unit could begin, so none is ever split, and what was
 * mapped in steps is unmapped in whole ones, as units ask.  Between two the caller may let others
 * have the domain's lock: whoever finds the grant in a state moves it on.
 *
 * A new mapping is in force only when sync's ticket is past: a unit in caching mode may remember
 * that there was nothing, and one with a write buffer may not have seen the entry.  Other units
 * answer {0}, and the fence is past at once.
 *
 * When a run cannot be mapped, what was mapped of the grant before it has been visible to the
 * device: it goes the way of every revocation, through an invalidation.  When nothing was, the
 * address is simply given back.
 *
 * Memory is not scrubbed here: pages stay with the client that owns them, and are cleared when they
 * change owner (memory.c clears what it hands out).
 */
#include "kern/dma/domain.h"
#include "kern/base/bits.h"
#include "kern/frame.h"
#include "kern/md/clock.h"
#include "kern/memory.h"
#include "kern/panic.h"

/* Table pages are taken from the holder in steps, so that a map that needs one does not ask each
 * time. */
enum { QUOTA_STEP = 8 };

/* A call maps or clears no more: so many runs of memory, and no new one when so much is done. */
enum { STEPS_AT_ONCE = 16 };
enum : uint64_t { BYTES_AT_ONCE = 2 * MIB };

static enum status
more_quota(struct dma_domain *d)
{
	enum status s = quota_take_pages(d->holder, QUOTA_STEP);

	if (s == OK)
		d->quota.pages_max += QUOTA_STEP;
	return s;
}

enum status
domain_take_pages(struct dma_domain *d, uint64_t pages)
{
	enum status s;

	do
		s = quota_take_pages(&d->quota, pages);
	while (s == E_QUOTA && more_quota(d) == OK);
	return s;
}

void
domain_give_pages(struct dma_domain *d, uint64_t pages)
{
	quota_give_pages(&d->quota, pages);
}

enum status
domain_charge(struct dma_domain *d, struct quota *to)
{
	uint64_t pages = d->quota.pages_max + 1;	/* and the cooling addresses */
	enum status s;

	if (to == d->holder)
		return OK;
	s = quota_take_pages(to, pages);
	if (s != OK)
		return s;
	quota_give_pages(d->holder, pages);
	d->holder = to;
	return OK;
}

/* The addresses [base, limit) less those that the unit's owner keeps. */
static enum status
make_space(struct dma_domain *d, uint64_t base, uint64_t limit)
{
	const struct iommu_facts *f = &d->io.unit->facts;
	enum status s;

	s = iova_init(&d->space, base, limit, PAGE_SIZE, DOMAIN_BYTES_MAX, frame_ptr(d->cool),
	    PAGE_SIZE);
	for (uint32_t i = 0; i < f->holes && s == OK; i++)
		s = iova_exclude(&d->space, f->hole[i].base, f->hole[i].len);
	if (s == OK && base < IOVA_FIRST)
		s = iova_exclude(&d->space, IOVA_DOORBELL,
		    max_u64(PAGE_SIZE, f->page_sizes & -f->page_sizes));
	return s;
}

enum status
domain_narrow(struct dma_domain *d, unsigned bits)
{
	uint64_t limit = d->space.last + 1;

	KASSERT(bits >= DEVICE_BITS_MIN && d->space.live == 0);
	if (bits >= 64 || BIT(bits) >= limit)
		return OK;
	limit = BIT(bits);
	/* Low addresses are what a mistake hits first. */
	return make_space(d, limit > IOVA_FIRST ? (uint64_t)IOVA_FIRST : limit / 4, limit) == OK ?
	    OK :
	    E_UNSUPPORTED;
}

enum status
domain_exclude(struct dma_domain *d, uint64_t base, uint64_t len)
{
	return iova_exclude(&d->space, base, len);
}

enum status
domain_init(
    struct dma_domain *d, struct iommu_unit *unit, struct quota *holder, uint32_t generation)
{
	uint64_t limit = BIT(min_u64(unit->facts.iova_bits, 47));
	enum status s;

	*d = (struct dma_domain){ .io = { .unit = unit, .quota = &d->quota }, .holder = holder };
	fence_init(&d->doorbell_fence, unit);
	if (limit <= IOVA_FIRST)
		return E_UNSUPPORTED;
	s = quota_take_pages(holder, 1);
	if (s != OK)
		return s;
	s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &d->cool);
	if (s != OK)
		goto no_frame;
	s = make_space(d, IOVA_FIRST, limit);
	if (s != OK)
		goto undo;
	ledger_init(&d->ledger, &d->space, generation);
	do
		s = unit->ops->domain_init(&d->io);
	while (s == E_QUOTA && more_quota(d) == OK);
	if (s == OK)
		return OK;
	quota_give_pages(holder, d->quota.pages_max);
undo:
	frame_free(d->cool, 0);
no_frame:
	quota_give_pages(holder, 1);
	return s;
}

void
domain_fini(struct dma_domain *d)
{
	KASSERT(ledger_live(&d->ledger) == 0);
	d->io.unit->ops->domain_fini(&d->io);
	frame_free(d->cool, 0);
	quota_give_pages(d->holder, d->quota.pages_max + 1);
}

/*
 * What is mapped with one call, of len bytes that are contiguous at p and begin at the address at:
 * it ends at the next multiple of 2 MiB, or of 1 GiB where leaves of 2 MiB lead there.
 */
static uint64_t
step_len(const struct dma_domain *d, struct iova at, struct paddr p, uint64_t len)
{
	uint64_t end = 2 * MIB;

	if (len > end && is_aligned(at.v | p.v, 2 * MIB) &&
	    (d->io.unit->facts.page_sizes & 2 * MIB) != 0)
		end = GIB;
	return min_u64(len, end - (at.v & (end - 1)));
}

/* The same for the grant, from so many bytes of it on. */
static ALWAYS_INLINE uint64_t
step_at(const struct dma_domain *d, const struct grant *g, uint64_t done, struct paddr *p)
{
	const struct ledger_grant *want = &g->entry.grant;
	uint64_t n;

	if (!memory_run(want->memory, (want->offset + done) / PAGE_SIZE, p, &n))
		KASSERT(false);
	return step_len(d, (struct iova){ grant_iova(g).v + done }, *p,
	    min_u64(n * PAGE_SIZE, want->len - done));
}

/* Maps some more of a grant. */
static enum status
map_some(struct dma_domain *d, struct grant *g)
{
	const struct ledger_grant *want = &g->entry.grant;
	enum iommu_rights rights = (enum iommu_rights)want->dir;	/* the same bits */
	uint64_t from = g->mapped;
	enum status s = OK;

	static_assert(
	    (int)IOMMU_READ == (int)DMA_TO_DEVICE && (int)IOMMU_WRITE == (int)DMA_FROM_DEVICE);
	for (unsigned n = 0;
	    n < STEPS_AT_ONCE && g->mapped < want->len && g->mapped - from < BYTES_AT_ONCE; n++) {
		struct paddr p;
		uint64_t len = step_at(d, g, g->mapped, &p);

		do
			s = d->io.unit->ops->map(
			    &d->io, (struct iova){ grant_iova(g).v + g->mapped }, p, len, rights);
		while (s == E_QUOTA && more_quota(d) == OK);
		if (s != OK)
			return s;
		g->mapped += len;
	}
	return OK;
}

/* Clears some more of what is mapped of a grant: whole steps, with one call. */
static void
clear_some(struct dma_domain *d, struct grant *g)
{
	uint64_t from = g->cleared;

	if (g->mapped - from <= BYTES_AT_ONCE) {
		g->cleared = g->mapped;
	} else {
		for (unsigned n = 0; n < STEPS_AT_ONCE && g->cleared < g->mapped &&
		    g->cleared - from < BYTES_AT_ONCE;
		    n++) {
			struct paddr p;

			g->cleared += step_at(d, g, g->cleared, &p);
		}
	}
	fence_add(&g->fence,
	    d->io.unit->ops->unmap(
		&d->io, (struct iova){ grant_iova(g).v + from }, g->cleared - from),
	    FENCE_FROM_POLL);
}

/* A clock is read only for what is not past at the first look. */
static enum status
look(struct fence *f)
{
	return fence_past(f) ? OK : fence_poll(f, clock_now());
}

/* All of it is stored. */
static ALWAYS_INLINE enum status
in_force(struct dma_domain *d, struct grant *g)
{
	struct iommu_unit *u = d->io.unit;
	struct iommu_ticket t;

	ledger_mapped(&d->ledger, &g->entry);
	__atomic_fetch_add(&u->counters.maps, 1, __ATOMIC_RELAXED);
	t = u->facts.map_invalidates ? u->ops->sync(&d->io) : (struct iommu_ticket){ 0 };
	if (likely(t.seq == 0)) {	/* in force already */
		ledger_publish(&d->ledger, &g->entry);
		return OK;
	}
	fence_add(&g->fence, t, FENCE_FROM_POLL);
	return domain_publish(d, g);
}

/* allocated: a step more, or mapped. */
static enum status
go_on(struct dma_domain *d, struct grant *g)
{
	enum status s = map_some(d, g);

	if (s != OK && g->mapped == 0) {
		if (g->keeps)
			ledger_idle(&d->ledger, &g->entry);
		else
			ledger_cancel(&d->ledger, &g->entry);
		return s;
	}
	if (s != OK) {
		if (ledger_revoke(&d->ledger, &g->entry) != OK)
			KASSERT(!"pinned before it was published");
		clear_some(d, g);
		return s;
	}
	return g->mapped < g->entry.grant.len ? E_WOULD_BLOCK : in_force(d, g);
}

enum status
domain_grant(struct dma_domain *d, struct grant *g, const struct ledger_grant *want)
{
	enum status s = ledger_reserve(&d->ledger, &g->entry, want);

	if (s != OK)
		return s;
	fence_init(&g->fence, d->io.unit);
	g->mapped = g->cleared = 0;
	g->keeps = false;
	return go_on(d, g);
}

enum status
domain_arm(struct dma_domain *d, struct grant *g, struct memory *m, uint64_t offset,
    enum dma_dir dir)
{
	struct iommu_unit *u = d->io.unit;
	uint64_t n;
	struct paddr p;

	ledger_arm(&d->ledger, &g->entry, m, offset, dir);
	g->mapped = g->cleared = 0;
	g->keeps = true;
	/* One page, whose table is there already: the usual case, in one go. */
	if (likely(g->entry.grant.len == PAGE_SIZE) &&
	    likely(memory_run(m, offset / PAGE_SIZE, &p, &n)) &&
	    likely(u->ops->map(
		       &d->io, grant_iova(g), p, PAGE_SIZE, (enum iommu_rights)dir) == OK)) {
		g->mapped = PAGE_SIZE;
		return in_force(d, g);
	}
	return go_on(d, g);
}

enum status
domain_publish(struct dma_domain *d, struct grant *g)
{
	enum status s;

	if (g->entry.state == LEDGER_ALLOCATED)
		return go_on(d, g);
	KASSERT(g->entry.state == LEDGER_MAPPED);
	s = look(&g->fence);
	if (s == OK)
		ledger_publish(&d->ledger, &g->entry);
	else if (s != E_WOULD_BLOCK)
		domain_quarantine(d, g);
	return s;
}

enum status
domain_revoke(struct dma_domain *d, struct grant *g)
{
	enum status s = ledger_revoke(&d->ledger, &g->entry);

	if (s != E_BUSY)
		g->keeps = false;
	if (s != OK)
		return s;
	clear_some(d, g);
	__atomic_fetch_add(&d->io.unit->counters.unmaps, 1, __ATOMIC_RELAXED);
	return OK;
}

enum status
domain_disarm(struct dma_domain *d, struct grant *g)
{
	struct iommu_unit *u = d->io.unit;
	enum status s = ledger_revoke(&d->ledger, &g->entry);
	struct iommu_ticket t;

	if (unlikely(s != OK))
		return s;
	g->keeps = true;
	__atomic_fetch_add(&u->counters.unmaps, 1, __ATOMIC_RELAXED);
	if (unlikely(g->mapped > BYTES_AT_ONCE)) {
		clear_some(d, g);
		return E_WOULD_BLOCK;
	}
	g->cleared = g->mapped;
	t = u->ops->unmap(&d->io, grant_iova(g), g->mapped);
	/* Past at the first look it needs no deadline, so no fence; what the unit says else the
	 * fence hears when it asks. */
	if (unlikely(t.seq != 0 && u->ops->ticket_poll(u, t) != OK)) {
		fence_add(&g->fence, t, FENCE_FROM_POLL);
		return E_WOULD_BLOCK;
	}
	(void)!ledger_settle(&d->ledger, &g->entry, OK);
	ledger_scrubbed(&d->ledger, &g->entry);
	ledger_idle(&d->ledger, &g->entry);
	return OK;
}

void
domain_drop(struct dma_domain *d, struct grant *g)
{
	KASSERT(g->entry.state == LEDGER_IDLE);
	ledger_release(&d->ledger, &g->entry);
}

enum status
domain_settle(struct dma_domain *d, struct grant *g)
{
	enum status s;

	if (g->cleared < g->mapped) {
		clear_some(d, g);
		return E_WOULD_BLOCK;
	}
	s = ledger_settle(&d->ledger, &g->entry, look(&g->fence));
	if (s != OK)
		return s;
	ledger_scrubbed(&d->ledger, &g->entry);
	if (g->keeps)
		ledger_idle(&d->ledger, &g->entry);
	else
		ledger_release(&d->ledger, &g->entry);
	return OK;
}

void
domain_quarantine(struct dma_domain *d, struct grant *g)
{
	ledger_quarantine(&d->ledger, &g->entry);
}

enum status
domain_map_doorbell(struct dma_domain *d, struct paddr page)
{
	struct iommu_unit *u = d->io.unit;
	enum status s;

	if (d->doorbell.v == 0) {
		do
			s = u->ops->map_doorbell(&d->io, (struct iova){ IOVA_DOORBELL }, page);
		while (s == E_QUOTA && more_quota(d) == OK);
		if (s != OK)
			return s;
		d->doorbell.v = IOVA_DOORBELL;
		fence_add(
		    &d->doorbell_fence, u->ops->sync(&d->io), clock_now() + FENCE_DEADLINE_NS);
	}
	return fence_poll(&d->doorbell_fence, clock_now());
}
