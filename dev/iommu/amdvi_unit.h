/*
 * What the files of the AMD-Vi driver share:
 *
 *   amdvi.c         take-over and enabling, domains, the interface to the kernel
 *   amdvi_tables.c  device table: attach and detach
 *   amdvi_queue.c   command buffer, tickets, its errors
 *   amdvi_event.c   event log
 *   amdvi_irq.c     interrupt remapping
 */
#pragma once

#include "dev/iommu/amdvi.h"
#include "dev/iommu/amdvi_reg.h"
#include "dev/iommu/cmdring.h"
#include "dev/iommu/iopt.h"
#include "dev/iommu/unit_io.h"
#include "dev/iommu/unit_wait.h"
#include "kern/dma/iommu.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"

enum : uint32_t {
	AMDVI_RING_LG2 = 8,      /* commands, and events: one page, the least that the unit takes */
	AMDVI_LEVELS = 4,        /* 48 bits: every unit has them */
	AMDVI_DOMAINS_MAX = 256, /* domain ids of ours; 0 is not used */
	AMDVI_FLUSH_ALL = 1,     /* commands of a flush of everything */
	AMDVI_ALIASES_MAX = 64,  /* requesters that appear as one endpoint */
	AMDVI_IRTES = 256,       /* entries of an interrupt table: one page */
};

enum : uint64_t {
	AMDVI_PROBE_WAIT_NS = NS_PER_S, /* registers and first commands: nothing else runs yet */
	AMDVI_ATTACH_WAIT_NS =
	    NS_PER_MS, /* the invalidation of attach: microseconds where hardware works */
	AMDVI_HOLE_NS = NS_PER_MS, /* an event that is not visible by then never will be */
};

/* In iommu_domain.priv. */
struct amdvi_domain {
	struct iopt pt;
} __attribute__((may_alias));
static_assert(sizeof(struct amdvi_domain) <= sizeof(((struct iommu_domain *)0)->priv));

/* An interrupt table, and what we know of it. */
struct amdvi_irt {
	uint64_t (*entry)[2];
	bool used[AMDVI_IRTES];
	uint64_t ticket[AMDVI_IRTES];	/* of a closed one: past when it is out of the cache */
};

/* What the entry of one requester means to us; the table is made from it. */
struct amdvi_endpoint {
	struct iommu_domain *domain;	/* attached to, or NULL: blocked */
	uint64_t blocked;		/* ticket of the last detach */
	struct amdvi_irt
	    *irt; /* made with its first interrupt, kept; of an alias, and of nobody behind it */
};
enum { AMDVI_BUS_ORDER = 1 };		/* frames of 256 of them, log2 */

struct amdvi {
	struct iommu_unit unit;
	struct spinlock lock;		/* RANK_UNIT: ring, table, ids, registers */

	/* (c) after probe */
	void *regs;
	const struct machine *machine;
	uint16_t segment;
	uint64_t efr;
	bool np_cache;
	bool remaps;			/* interrupts are remapped, or aborted */
	bool wide_ids;			/* processors have 32-bit ids in interrupt entries */
	struct iopt_shape shape;
	uint64_t (*table)[DTE_WORDS];	/* all requesters */
	uint64_t (*log)[2];

	/* (l) */
	struct cmdring ring;
	uint64_t
	    *status; /* what the last complete COMPLETION_WAIT stored; our word, read only by us */
	struct paddr status_at;
	uint64_t restarted;		/* the first ticket since the buffer was started */
	uint64_t starting;		/* when that was; 0: it is known to run */
	uint32_t event;			/* the next one to read */
	uint64_t hole; /* since when it is not there, though the unit says so; 0: it is */
	struct amdvi_endpoint *endpoint[AMDVI_IDS / 256];	/* by bus, 256 each */
	uint16_t id_next, id_count;	/* free domain ids: a queue, the longest free first */
	uint16_t id[AMDVI_DOMAINS_MAX];
	uint64_t id_ticket[AMDVI_DOMAINS_MAX];	/* beside id[]: past when the id's flush is */

	bool registered;		/* (a) */
	bool dead;			/* (l) unknown state: given up for good */
	bool told;			/* (l) the kernel knows */
	const char *why;
};
enum { AMDVI_ORDER = 2 };		/* frames of a struct amdvi, log2 */
static_assert(sizeof(struct amdvi) <= PAGE_SIZE << AMDVI_ORDER);

static inline struct amdvi *amdvi_of(struct iommu_unit *u) { return u->priv; }
static inline struct iopt *
amdvi_pt(struct iommu_domain *d)
{
	return &((struct amdvi_domain *)d->priv)->pt;
}

static inline void
amdvi_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* amdvi.c */

/* Polls until the bits of the status register are as wanted.  False after wait_ns. */
NODISCARD bool amdvi_status(const struct amdvi *a, uint64_t bits, bool set, uint64_t wait_ns);
/* Changes one field of the control register (AMD-26). */
void amdvi_control(struct amdvi *a, uint64_t bits, bool set);

/* amdvi_queue.c */

void amdvi_lock(struct amdvi *a) ACQUIRE(a->lock);
void amdvi_unlock(struct amdvi *a) RELEASE(a->lock);	/* and tells the kernel of a failure */

/* Unknown state: no ticket will be past any more; every entry is a blocked one from now on. */
void amdvi_fail(struct amdvi *a, const char *why) REQUIRES(a->lock);

/*
 * Room for n commands and their wait.  False: the caller puts nothing and takes the ticket, which
 * now covers a flush of everything.
 */
NODISCARD bool amdvi_room(struct amdvi *a, uint32_t n) REQUIRES(a->lock);
/* A wait inside a batch: what follows starts when what precedes is done. */
void amdvi_order(struct amdvi *a) REQUIRES(a->lock);
/* Closes the open batch, writes the tail. */
void amdvi_send(struct amdvi *a) REQUIRES(a->lock);
/* Looks at what is complete, at errors, pays debts.  No wait. */
void amdvi_collect(struct amdvi *a) REQUIRES(a->lock);

void amdvi_put_device(struct amdvi *a, uint32_t rid) REQUIRES(a->lock);		/* its entry */
void amdvi_put_domain(struct amdvi *a, uint32_t id) REQUIRES(a->lock); /* its translations */
void
amdvi_put_interrupts(struct amdvi *a, uint32_t rid) REQUIRES(a->lock); /* its interrupt entries */
void amdvi_put_all(struct amdvi *a) REQUIRES(a->lock); /* AMDVI_FLUSH_ALL commands */
/* Leaves of [at, at + len); 1 or 2 commands. */
void amdvi_flush_range(struct amdvi *a, uint32_t id, uint64_t at, uint64_t len) REQUIRES(a->lock);

NODISCARD enum status amdvi_ticket_poll(struct iommu_unit *u, struct iommu_ticket t);

/* Memory for ring and status word; the ring starts with the command buffer's engine.  E_NO_MEMORY.
 */
NODISCARD enum status amdvi_queue_init(struct amdvi *a);
/* The engine starts (again), empty, where the ring is.  It runs once the unit is enabled. */
NODISCARD bool amdvi_queue_start(struct amdvi *a) REQUIRES(a->lock);

/* amdvi_tables.c */

/* The table, every requester blocked.  E_NO_MEMORY. */
NODISCARD enum status amdvi_tables_init(struct amdvi *a);
NODISCARD enum status amdvi_attach(struct iommu_domain *d, uint32_t endpoint);
struct iommu_ticket amdvi_detach(struct iommu_domain *d, uint32_t endpoint);
void amdvi_block_all(struct amdvi *a) REQUIRES(a->lock);	/* stores only */
/* Third words of I/O APICs and HPETs: with remapping, aborted until they have a table.  Before the
 * unit is told of the device table. */
void amdvi_set_controllers(struct amdvi *a);
static inline struct amdvi_endpoint *
amdvi_endpoint_of(const struct amdvi *a, uint32_t rid)
{
	struct amdvi_endpoint *bus = a->endpoint[rid >> 8];

	return bus == NULL ? NULL : &bus[rid & 0xff];
}

/* Who appears as an endpoint: itself, and every function with that alias.  0: more than fit. */
uint32_t
amdvi_requesters(const struct amdvi *a, uint32_t endpoint, uint16_t rid[AMDVI_ALIASES_MAX]);
bool amdvi_is_interrupt_controller(const struct amdvi *a, uint32_t rid);
NODISCARD enum status
amdvi_bus_create(struct amdvi *a, uint32_t bus) REQUIRES(a->lock); /* our own record */

/* amdvi_irq.c */

/* Why interrupts are not remapped; NULL: they are. */
const char *amdvi_irq_missing(const struct amdvi *a);
void amdvi_irq_prepare(
    struct amdvi *a); /* before the table is made and the unit is on: the form of entries */
void amdvi_irq_start(struct amdvi *a);		/* the unit is on */
/* Third word of an attached requester's entry; of nobody's: what is done with anybody's. */
uint64_t amdvi_interrupt_word(const struct amdvi *a, const struct amdvi_endpoint *e);

/* amdvi_event.c */

NODISCARD enum status amdvi_events_init(struct amdvi *a); /* memory for the log; E_NO_MEMORY */
/* The log starts, empty.  False: it does not run. */
NODISCARD bool amdvi_events_start(struct amdvi *a) REQUIRES(a->lock);
/* Makes the unit write an event, and says whether it did: a log that does not work is not one
 * (D11). */
NODISCARD bool amdvi_events_work(struct amdvi *a);
uint32_t amdvi_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost);
bool amdvi_quiet(struct iommu_unit *u, bool all, struct iommu_ticket *t);
