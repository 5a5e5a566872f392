/*
 * A DMA domain: one I/O address space of one claim.
 *
 * It puts the parts together: addresses (iova.h), the record and state of every grant (ledger.h),
 * tickets against time (fence.h), the unit's page tables (iommu.h).  Nothing here waits.  What
 * takes time is polled:
 *
 *   domain_grant                reserve, map, sync; allocated -> mapped
 *     domain_publish ...        until it is in force:    mapped -> published
 *   domain_revoke               clear, queue the invalidation; -> revoking
 *     domain_settle ...         until nothing can reach it:  revoking -> free; the address cools
 *   domain_disarm               the same, but settled it is idle and keeps its address
 *     domain_arm                as domain_grant, from there
 *
 * No call does more than a step of a large grant: some thousand entries of its pages.  The rest is
 * done by the polls, so a grant may be taken back when only a part of it is mapped yet.
 *
 * E_WOULD_BLOCK means "ask again", at grant_poll_at().  E_QUARANTINED means that it will never be
 * known: the unit is broken, the grant is quarantined, and its record, its address and the domain
 * stay for ever (D8).
 *
 * Table pages, and the page that remembers cooling addresses, are paid for by one quota, the
 * holder's.  The domain takes them in small steps, so that the whole charge can move to another
 * holder at once (D13).
 *
 * Locks: the owner's (device.obj.lock) over every call.
 */
#pragma once

#include "kern/dma/fence.h"
#include "kern/dma/ledger.h"
#include "kern/quota.h"

struct memory;

struct grant {
	struct ledger_entry entry;
	struct fence fence;		/* of the last change: into force, or out of reach */
	uint64_t mapped,
	    cleared; /* bytes from its start: entries that were stored; of these, cleared again */
	bool keeps;			/* out of reach it is idle, and not free */
};

static inline enum ledger_state grant_state(const struct grant *g) { return g->entry.state; }
static inline struct iova grant_iova(const struct grant *g) { return iova_base(&g->entry.range); }

/* A step of its entries is left to be stored or cleared: ask again without waiting. */
static inline bool
grant_has_step(const struct grant *g)
{
	return g->entry.state == LEDGER_ALLOCATED ||
	    (g->entry.state == LEDGER_REVOKING && g->cleared < g->mapped);
}

/* E_WOULD_BLOCK: when to ask again. */
static inline uint64_t
grant_poll_at(const struct grant *g, uint64_t now)
{
	return grant_has_step(g) ? now : fence_poll_at(&g->fence, now);
}

struct dma_domain {
	struct iommu_domain io;
	struct quota quota; /* table pages: taken from the holder's, given to the unit */
	struct quota *holder;		/* borrowed: who pays */
	struct iova_space space;
	struct ledger ledger;
	struct paddr cool;		/* (c) frame of the cooling addresses */
	struct iova doorbell;		/* message-interrupt page; v 0: none */
	struct fence doorbell_fence;
};

enum : uint64_t {
	IOVA_FIRST = 0x1'0000'0000,	/* above 4 GiB: a truncated address hits nothing */
	DEVICE_BITS_MIN = 24,		/* of an address; fewer are not worth a domain */
	IOVA_DOORBELL = 0x0800'0000,	/* below 4 GiB: devices with 32-bit message addresses */
	DOMAIN_BYTES_MAX = 1024 * GIB,	/* addresses that are out, or cool, at one time */
};

/* An empty space.  E_UNSUPPORTED: the unit's addresses end below IOVA_FIRST.  E_QUOTA, E_NO_MEMORY,
 * and what the unit says. */
NODISCARD enum status domain_init(
    struct dma_domain *d, struct iommu_unit *unit, struct quota *holder, uint32_t generation);

/*
 * For a device that has only so many bits of address, before the first grant: 24 to 64.
 * E_UNSUPPORTED: no room is left below.
 */
NODISCARD enum status domain_narrow(struct dma_domain *d, unsigned bits);

/* After that: addresses that are not to be given out.  As iova_exclude. */
NODISCARD enum status domain_exclude(struct dma_domain *d, uint64_t base, uint64_t len);

/* Nothing is granted and no endpoint attached: tables, tag and charges go. */
void domain_fini(struct dma_domain *d);

/*
 * Moves the whole charge to another quota.  E_QUOTA: it does not fit there, nothing is changed.
 */
NODISCARD enum status domain_charge(struct dma_domain *d, struct quota *to);

/* Pages for what goes with the domain, at its holder's expense; given back at domain_fini at the
 * latest. */
NODISCARD enum status domain_take_pages(struct dma_domain *d, uint64_t pages);
void domain_give_pages(struct dma_domain *d, uint64_t pages);

/*
 * Grants "want": memory of want->memory.  g is free.
 *   OK             published: the device may be told of grant_iova()
 *   E_WOULD_BLOCK  not in force yet, or not wholly mapped: domain_publish
 *   E_QUARANTINED  as above
 * else refused: what ledger_reserve and the unit's map say.  The grant is free again, or, when a
 * part of it was mapped already, revoking: the caller settles it like any other.
 */
NODISCARD enum status
domain_grant(struct dma_domain *d, struct grant *g, const struct ledger_grant *want);
NODISCARD enum status domain_publish(struct dma_domain *d, struct grant *g);

/*
 * The same for a grant that is idle, at the address that it has: of memory from a byte offset on,
 * as long as it was; both are whole granules.  Refused it is idle again, or, when a part was
 * mapped, revoking.
 */
NODISCARD enum status domain_arm(struct dma_domain *d, struct grant *g, struct memory *m,
    uint64_t offset, enum dma_dir dir);

/*
 * E_BUSY: pinned.  E_STATE: on its way already, idle, free or quarantined.  Revoked it will be
 * free, also when it was on its way to be idle; disarmed it will be idle.
 */
NODISCARD enum status domain_revoke(struct dma_domain *d, struct grant *g);
/* And looks once whether it is.  OK: it is idle; E_WOULD_BLOCK: revoking. */
NODISCARD enum status domain_disarm(struct dma_domain *d, struct grant *g);

/* g is idle: it is free. */
void domain_drop(struct dma_domain *d, struct grant *g);

/* g is revoking.  OK: free, or idle; the memory may be let go. */
NODISCARD enum status domain_settle(struct dma_domain *d, struct grant *g);

/* The device could not be stopped: mapped, published or revoking -> quarantined. */
void domain_quarantine(struct dma_domain *d, struct grant *g);

/*
 * The one page that message interrupts go to, at d->doorbell.  OK: reachable.  E_WOULD_BLOCK: call
 * again at fence_poll_at(&d->doorbell_fence).
 */
NODISCARD enum status domain_map_doorbell(struct dma_domain *d, struct paddr page);
