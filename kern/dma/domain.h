/*
 * A DMA domain: one I/O address space, its addresses, its grants.
 *
 * Life of a grant, and the only transitions there are (ledger):
 *
 *   free -> allocated -> mapped -> revoking -> invalidated -> free
 *                                     \-> quarantined (for ever)
 *
 *   allocated    an address range is reserved, memory is pinned
 *   mapped       entries are stored and visible: the device may reach it
 *   revoking     entries are cleared, the invalidation is queued: the device may still reach it
 *   invalidated  the ticket is past: the device cannot; memory may be unpinned, the range reused
 *
 * The range is reused only after invalidated; addresses are handed out round robin, so that a stale address does not
 * meet a fresh grant at once (DMA-50).
 *
 * Locks: the owner's (device.obj.lock) over every call.
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/abi/status.h"
#include "kern/base/list.h"
#include "kern/dma/iommu.h"

struct quota;
struct memory;

enum grant_state : uint8_t {
	GRANT_FREE, GRANT_ALLOCATED, GRANT_MAPPED, GRANT_REVOKING, GRANT_INVALIDATED, GRANT_QUARANTINED, GRANT_STATES
};

struct grant {
	struct list link;		/* domain's, by address */
	struct iova iova;
	uint64_t len;
	enum dma_dir dir;
	enum grant_state state;
	uint32_t generation;		/* of the claim */
	struct iommu_ticket ticket;
};

struct dma_domain {
	struct iommu_domain io;
	struct list grants;		/* every grant that is not free, by address */
	uint64_t next;			/* where the search for addresses starts */
	uint64_t limit;			/* addresses below this */
	uint64_t grant_count, bytes;
	struct iova doorbell;		/* message-interrupt page; v 0: none */
	bool doorbell_mapped;
};

enum : uint64_t {
	IOVA_FIRST = 0x1'0000'0000,	/* above 4 GiB: a truncated address hits nothing */
	IOVA_DOORBELL = 0x0800'0000,	/* below 4 GiB: devices with 32-bit message addresses */
};

NODISCARD enum status domain_init(struct dma_domain *d, struct iommu_unit *unit, struct quota *q);
void domain_fini(struct dma_domain *d);

/* free -> allocated -> mapped; or an error and free again. */
NODISCARD enum status domain_grant(struct dma_domain *d, struct grant *g, struct memory *m, uint64_t offset,
    uint64_t len, enum dma_dir dir, uint32_t generation);

/* mapped -> revoking. */
void domain_revoke(struct dma_domain *d, struct grant *g);

/* revoking -> invalidated (OK), still revoking (E_WOULD_BLOCK), or quarantined (E_QUARANTINED). */
NODISCARD enum status domain_revoke_poll(struct dma_domain *d, struct grant *g);

/* invalidated -> free. */
void domain_release(struct dma_domain *d, struct grant *g);

/* revoking -> quarantined: the deadline passed. */
void domain_quarantine(struct dma_domain *d, struct grant *g);

/* The one page that message interrupts go to. */
NODISCARD enum status domain_map_doorbell(struct dma_domain *d, struct paddr page);
