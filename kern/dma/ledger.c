/*
 * The ledger's transitions.
 *
 * The whole promise of this system to its users is a sentence about order: memory is not reused
 * before the device is known not to reach it.  The order is the table "may" below, and the one
 * function "step" that obeys it; nothing else in the kernel writes the state of an entry.
 *
 * Read the table as: from this state, to these.  What it does not contain:
 *   - no way from mapped, published or revoking to free, but through invalidated;
 *   - no way out of quarantined;
 *   - no way back: an entry that is being revoked is published again only from the beginning, after
 *     its invalidation is past.
 *
 * The counters are moved in step() too, so "entered" less "left" of the states always adds up to
 * the live entries, and a leak shows as a number that does not return to what it was.
 *
 * Entries are found by address through the tree of the address space (iova.c): while an entry is
 * not free, its range is live there, and a live range always belongs to an entry.  Exclusions
 * and cooling addresses are in the same tree but are not live.
 *
 * Proved for all sequences of calls on one entry in tests/proof/ledger.c.
 */
#include "kern/dma/ledger.h"
#include "kern/base/bits.h"
#include "kern/panic.h"

enum : uint16_t {
	TO_FREE        = 1u << LEDGER_FREE,
	TO_ALLOCATED   = 1u << LEDGER_ALLOCATED,
	TO_MAPPED      = 1u << LEDGER_MAPPED,
	TO_PUBLISHED   = 1u << LEDGER_PUBLISHED,
	TO_REVOKING    = 1u << LEDGER_REVOKING,
	TO_INVALIDATED = 1u << LEDGER_INVALIDATED,
	TO_SCRUBBED    = 1u << LEDGER_SCRUBBED,
	TO_IDLE        = 1u << LEDGER_IDLE,
	TO_QUARANTINED = 1u << LEDGER_QUARANTINED,
};

static const uint16_t may[LEDGER_STATES] = {
	[LEDGER_FREE]        = TO_ALLOCATED,
	[LEDGER_ALLOCATED]   = TO_MAPPED | TO_REVOKING | TO_FREE | TO_IDLE | TO_QUARANTINED,
	[LEDGER_MAPPED]      = TO_PUBLISHED | TO_REVOKING | TO_QUARANTINED,
	[LEDGER_PUBLISHED]   = TO_REVOKING | TO_QUARANTINED,
	[LEDGER_REVOKING]    = TO_INVALIDATED | TO_QUARANTINED,
	[LEDGER_INVALIDATED] = TO_SCRUBBED,
	[LEDGER_SCRUBBED]    = TO_FREE | TO_IDLE,
	[LEDGER_IDLE]        = TO_ALLOCATED | TO_FREE,
	[LEDGER_QUARANTINED] = 0,
};

static bool
allowed(enum ledger_state from, enum ledger_state to)
{
	return (may[from] >> to & 1) != 0;
}

/* The only writer of entry->state. */
static void
step(struct ledger *l, struct ledger_entry *e, enum ledger_state to)
{
	struct ledger_count *from = &l->count[e->state], *into = &l->count[to];

	KASSERT(e->state < LEDGER_STATES && allowed(e->state, to));
	from->left++;
	from->bytes_left += e->grant.len;
	into->entered++;
	into->bytes_entered += e->grant.len;
	e->state = to;
}

void
ledger_init(struct ledger *l, struct iova_space *space, uint32_t generation)
{
	*l = (struct ledger){ .space = space, .generation = generation };
}

uint64_t
ledger_live(const struct ledger *l)
{
	/* What left "free" and did not come back to it. */
	return l->count[LEDGER_FREE].left - l->count[LEDGER_FREE].entered;
}

/* What can be said about a request before there is an address. */
static enum status
judge(const struct ledger *l, const struct ledger_entry *e, const struct ledger_grant *g)
{
	if (e->state != LEDGER_FREE)
		return E_STATE;
	if (g->generation != l->generation)
		return E_STALE;
	if (g->dir != DMA_TO_DEVICE && g->dir != DMA_FROM_DEVICE && g->dir != DMA_BOTH)
		return E_INVALID;
	if (!is_aligned(g->len | g->offset, l->space->granule))
		return E_ALIGN;
	return OK;
}

static void
born(struct ledger *l, struct ledger_entry *e, const struct ledger_grant *g)
{
	e->grant = *g;
	e->pins = 0;
	step(l, e, LEDGER_ALLOCATED);
}

void
ledger_arm(
    struct ledger *l, struct ledger_entry *e, void *memory, uint64_t offset, enum dma_dir dir)
{
	KASSERT(e->state == LEDGER_IDLE && dir != 0 && dir <= DMA_BOTH);
	e->grant.memory = memory;
	e->grant.offset = offset;
	e->grant.generation = l->generation;
	e->grant.dir = dir;
	step(l, e, LEDGER_ALLOCATED);
}

enum status
ledger_reserve(struct ledger *l, struct ledger_entry *e, const struct ledger_grant *g)
{
	enum status s = judge(l, e, g);

	if (s == OK)
		s = iova_alloc(l->space, g->len, &e->range);
	if (s == OK)
		born(l, e, g);
	return s;
}

enum status
ledger_reserve_at(
    struct ledger *l, struct ledger_entry *e, const struct ledger_grant *g, struct iova at)
{
	enum status s = judge(l, e, g);

	if (s == OK)
		s = iova_alloc_at(l->space, at, g->len, &e->range);
	if (s == OK)
		born(l, e, g);
	return s;
}

static void
free_entry(struct ledger *l, struct ledger_entry *e)
{
	step(l, e, LEDGER_FREE);
	iova_free(l->space, &e->range);
	e->grant = (struct ledger_grant){ 0 };
}

void
ledger_cancel(struct ledger *l, struct ledger_entry *e)
{
	KASSERT(e->state == LEDGER_ALLOCATED);
	free_entry(l, e);
}

void
ledger_mapped(struct ledger *l, struct ledger_entry *e)
{
	step(l, e, LEDGER_MAPPED);
}

void
ledger_publish(struct ledger *l, struct ledger_entry *e)
{
	step(l, e, LEDGER_PUBLISHED);
}

enum status
ledger_revoke(struct ledger *l, struct ledger_entry *e)
{
	if (!allowed(e->state, LEDGER_REVOKING))
		return E_STATE;
	if (e->pins != 0 && e->grant.generation == l->generation)
		return E_BUSY;
	e->pins = 0;
	step(l, e, LEDGER_REVOKING);
	return OK;
}

enum status
ledger_settle(struct ledger *l, struct ledger_entry *e, enum status fence)
{
	KASSERT(e->state == LEDGER_REVOKING);
	if (fence == OK)
		step(l, e, LEDGER_INVALIDATED);
	else if (fence != E_WOULD_BLOCK)	/* whatever else it says, it does not say "past" */
		step(l, e, LEDGER_QUARANTINED);
	return fence;
}

void
ledger_quarantine(struct ledger *l, struct ledger_entry *e)
{
	e->pins = 0;
	step(l, e, LEDGER_QUARANTINED);
}

void
ledger_scrubbed(struct ledger *l, struct ledger_entry *e)
{
	step(l, e, LEDGER_SCRUBBED);
}

void
ledger_release(struct ledger *l, struct ledger_entry *e)
{
	KASSERT(e->state == LEDGER_SCRUBBED || e->state == LEDGER_IDLE);
	free_entry(l, e);
}

void
ledger_idle(struct ledger *l, struct ledger_entry *e)
{
	step(l, e, LEDGER_IDLE);
	e->grant.memory = NULL;
	e->grant.offset = 0;
	e->grant.dir = (enum dma_dir)0;
}

static bool
usable(const struct ledger *l, const struct ledger_entry *e)
{
	return e->state == LEDGER_PUBLISHED && e->grant.generation == l->generation;
}

struct ledger_entry *
ledger_find(const struct ledger *l, struct iova at, uint64_t len, enum dma_dir dir)
{
	struct iova_range *r = iova_find(l->space, at);
	struct ledger_entry *e;

	if (r == NULL || len == 0)
		return NULL;
	e = container_of(r, struct ledger_entry, range);
	if (len - 1 > r->node.last - at.v || !usable(l, e) || (e->grant.dir & dir) != dir)
		return NULL;
	return e;
}

enum status
ledger_pin(struct ledger *l, struct ledger_entry *e)
{
	if (!usable(l, e))
		return E_STALE;
	e->pins++;
	return OK;
}

void
ledger_unpin(struct ledger *l, struct ledger_entry *e)
{
	if (e->grant.generation != l->generation)
		return;		/* went with the old generation */
	KASSERT(e->pins > 0);
	e->pins--;
}

void
ledger_bump(struct ledger *l, uint32_t generation)
{
	KASSERT(generation != l->generation);
	l->generation = generation;
}

struct ledger_entry *
ledger_next(const struct ledger *l, struct iova at)
{
	struct iova_range *r = iova_next(l->space, at);

	return r == NULL ? NULL : container_of(r, struct ledger_entry, range);
}

const char *
ledger_state_text(enum ledger_state s)
{
	static const char *const text[] = {
		"free",
		"allocated",
		"mapped",
		"published",
		"revoking",
		"invalidated",
		"scrubbed",
		"idle",
		"quarantined",
	};

	static_assert(ARRAY_SIZE(text) == LEDGER_STATES);
	return s < LEDGER_STATES ? text[s] : "unknown";
}
