/*
 * What the files of the VT-d driver share:
 *
 *   vtd.c         take-over and enabling, domains, the interface to the kernel
 *   vtd_tables.c  root and context tables: attach and detach
 *   vtd_queue.c   invalidation queue, tickets, its errors
 *   vtd_fault.c   fault records and their interrupt
 *   vtd_irq.c     interrupt remapping
 */
#pragma once

#include "dev/iommu/cmdring.h"
#include "dev/iommu/iopt.h"
#include "dev/iommu/unit_io.h"
#include "dev/iommu/unit_wait.h"
#include "dev/iommu/vtd.h"
#include "dev/iommu/vtd_reg.h"
#include "kern/dma/iommu.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"

enum : uint32_t {
	VTD_RING_LG2 = 8,		/* descriptors of the queue: one page */
	VTD_DIDS_MAX = 1024,		/* domain ids of ours; 0 is not used */
	VTD_FLUSH_ALL = 4,		/* descriptors of a flush of everything */
	VTD_IRTES = 1024,		/* interrupt entries: as many as the kernel has slots */
	VTD_IRT_ORDER = 2,
};

enum : uint64_t {
	VTD_PROBE_WAIT_NS = NS_PER_S, /* registers and first commands: nothing else runs yet */
	VTD_ATTACH_WAIT_NS =
	    NS_PER_MS, /* an invalidation of attach: microseconds where hardware works */
	VTD_FLUSH_WAIT_NS = 10 * NS_PER_US, /* a write buffer; beyond it the unit is given up */
};

/* In iommu_domain.priv. */
struct vtd_domain {
	struct iopt pt;
} __attribute__((may_alias));
static_assert(sizeof(struct vtd_domain) <= sizeof(((struct iommu_domain *)0)->priv));

/* What the context entry of one requester means to us; the tables are made from it. */
struct vtd_endpoint {
	struct iommu_domain *domain;	/* attached to, or NULL: blocked */
	uint64_t blocked;		/* ticket of the last detach */
};

struct vtd {
	struct iommu_unit unit;
	struct spinlock lock;		/* RANK_UNIT: queue, tables, ids, fault registers */

	/* (c) after probe */
	void *regs;
	uint64_t cap, ecap;
	bool coherent;			/* ECAP.C */
	bool caching;			/* CAP.CM */
	bool write_buffer;		/* CAP.RWBF */
	uint8_t levels;
	uint32_t dids;			/* 1 .. dids - 1 are used */
	uint32_t faults_at, faults;	/* records: offset, count */
	struct iopt_shape shape;
	uint64_t (*root)[2];
	struct paddr deny; /* an empty root table: for shut, and for a unit that failed */
	bool queue;			/* ours is on */
	/* (c) requesters that firmware named in reserved regions: never attached */
	uint16_t refused[MACHINE_SCOPE_MAX];
	uint32_t refused_count;
	bool refuse_all;

	/* (l) */
	struct cmdring ring;
	uint32_t *status; /* what the last complete WAIT stored; our word, read only by us */
	struct paddr status_at;
	uint64_t repaired;		/* position + 1 of the descriptor last repaired */
	uint64_t (*context[VTD_TABLE_ENTRIES])[2];		/* by bus; made once, kept */
	struct vtd_endpoint *endpoint[VTD_TABLE_ENTRIES];	/* by bus, 256 each */
	uint16_t did_next, did_count;	/* free ids: a queue, the longest free first */
	uint16_t did[VTD_DIDS_MAX];
	uint64_t did_ticket[VTD_DIDS_MAX];	/* beside did[]: past when the id's flush is */

	uint64_t (*irt)[2];		/* (c) interrupt table */
	bool remaps;			/* (c) it was shown to the unit */
	bool wide_ids;			/* (c) processors have 32-bit ids there */
	uint16_t irte_next, irte_count;	/* free entries: a queue, the longest free first */
	uint16_t irte[VTD_IRTES];
	uint64_t
	    irte_ticket[VTD_IRTES]; /* beside irte[]: past when the entry is out of the cache */

	bool registered;		/* (a) */
	bool dead;			/* (l) unknown state: given up for good */
	bool told;			/* (l) the kernel knows */
	const char *why;
};
enum { VTD_ORDER = 3 };		/* frames of a struct vtd, log2 */
static_assert(sizeof(struct vtd) <= PAGE_SIZE << VTD_ORDER);

static inline struct vtd *vtd_of(struct iommu_unit *u) { return u->priv; }
static inline struct iopt *
vtd_pt(struct iommu_domain *d)
{
	return &((struct vtd_domain *)d->priv)->pt;
}

static inline void
vtd_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* vtd.c */

/* Polls until the bit of GSTS is as wanted.  False after wait_ns. */
NODISCARD bool vtd_status(const struct vtd *v, uint32_t bit, bool set, uint64_t wait_ns);
/* Changes exactly one bit of the command register (VTD-24), without waiting. */
void vtd_command(const struct vtd *v, uint32_t bit, bool set);

/* vtd_queue.c */

void vtd_lock(struct vtd *v) ACQUIRE(v->lock);
void vtd_unlock(struct vtd *v) RELEASE(v->lock);	/* and tells the kernel of a failure */

/* Unknown state: no ticket will be past any more; the root table is an empty one from now on. */
void vtd_fail(struct vtd *v, const char *why) REQUIRES(v->lock);

/*
 * Room for n descriptors and their WAIT.  False: the caller puts nothing and takes the ticket,
 * which now covers a flush of everything.
 */
NODISCARD bool vtd_room(struct vtd *v, uint32_t n) REQUIRES(v->lock);
void vtd_put(struct vtd *v, uint64_t lo, uint64_t hi) REQUIRES(v->lock);
/* A WAIT inside a batch: what follows starts when what precedes is done. */
void vtd_order(struct vtd *v) REQUIRES(v->lock);
/* Closes the open batch, writes IQT. */
void vtd_send(struct vtd *v) REQUIRES(v->lock);
/* Looks at what is complete, at errors, pays debts.  No wait. */
void vtd_collect(struct vtd *v) REQUIRES(v->lock);

void
vtd_put_context(struct vtd *v, uint32_t did, uint32_t sid) REQUIRES(v->lock); /* one requester */
void vtd_put_domain(struct vtd *v, uint32_t did) REQUIRES(v->lock);           /* its translations */
void vtd_put_all(struct vtd *v) REQUIRES(v->lock); /* VTD_FLUSH_ALL descriptors */
/* Leaves of [at, at + len); 1 or 2 descriptors. */
void vtd_flush_range(struct vtd *v, uint32_t did, uint64_t at, uint64_t len) REQUIRES(v->lock);

/* Where CAP.RWBF asks for it: stored entries reach the unit (VTD-67). */
void vtd_write_buffer(struct vtd *v) REQUIRES(v->lock);

NODISCARD enum status vtd_ticket_poll(struct iommu_unit *u, struct iommu_ticket t);

/* vtd_tables.c */

/* The root table, every requester blocked, and an empty one beside it.  E_NO_MEMORY. */
NODISCARD enum status vtd_tables_init(struct vtd *v);
NODISCARD enum status vtd_attach(struct iommu_domain *d, uint32_t endpoint);
struct iommu_ticket vtd_detach(struct iommu_domain *d, uint32_t endpoint);
/* Finds and names the devices that reserved regions keep blocked. */
void vtd_reserved_init(struct vtd *v, const struct machine *m, uint16_t segment);

/* vtd_irq.c */

/* Interrupt remapping, unless something is missing, which is said.  Translation may be on or off.
 */
void vtd_irq_start(struct vtd *v, bool wide_ids, const char *missing);

/* vtd_fault.c */

void vtd_faults_clear(const struct vtd *v);		/* whatever is recorded; interrupt masked */
void vtd_faults_start(struct vtd *v);			/* the interrupt, where there can be one */
uint32_t vtd_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost);
bool vtd_quiet(struct iommu_unit *u, bool all, struct iommu_ticket *t);
