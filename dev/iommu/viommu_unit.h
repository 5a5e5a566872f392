/*
 * What the files of the virtio-iommu driver share:
 *
 *   viommu.c         take-over, domains, attach and detach, the interface to the kernel
 *   viommu_queue.c   requests and their tickets, events
 *   viommu_ask.c     what it reserves for whom
 *   viommu_pci.c     the PCI function: where its registers are
 */
#pragma once

#include "dev/iommu/unit_io.h"
#include "dev/iommu/unit_wait.h"
#include "dev/iommu/viommu.h"
#include "dev/iommu/viommu_reg.h"
#include "kern/dma/iommu.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"

enum : uint32_t {
	VIO_SLOTS = 512,		/* requests that are not done yet, in our memory */
	VIO_SLOT_BYTES = 64,
	VIO_FLIGHT_MAX = 128,		/* of them, in the device's hands: two descriptors each */
	VIO_EVENTS = 32,		/* buffers for events */
	VIO_DOMAINS_MAX = 256,
	VIO_ENDPOINTS_MAX = 256,	/* attached at the same time */
	VIO_RESERVED_MAX = 16,
	VIO_PROBE_MAX = 2048,		/* bytes of properties */
	VIO_SLOT_TAIL = 56,		/* where in a slot the device writes its answer */
	VIO_ASK_ANSWER = 128,		/* where in its page the answer to a probe begins */
};
enum : uint64_t {
	VIO_PROBE_WAIT_NS = NS_PER_S,
	VIO_ATTACH_WAIT_NS =
	    NS_PER_S, /* a program answers, not hardware; usually in microseconds */
};

struct viommu_domain {
	uint64_t maps; /* (l) live; the device forgets them with the last endpoint */
	uint64_t gone;			/* (l) ticket of the last detach */
} __attribute__((may_alias));
static_assert(sizeof(struct viommu_domain) <= sizeof(((struct iommu_domain *)0)->priv));

struct viommu_endpoint {
	uint32_t id;
	struct iommu_domain *domain;	/* NULL: free, or blocked */
	uint64_t blocked;		/* ticket of the last detach */
	bool used;
};

/* A split queue: all three parts in frames of their own. */
struct viommu_queue {
	uint16_t size;
	uint16_t avail, used;		/* our index; how far we have read theirs */
	uint32_t notify;		/* register's offset */
	uint64_t *desc, *available;
	const uint64_t *usage;
};

struct viommu {
	struct iommu_unit unit;
	struct spinlock lock;		/* RANK_UNIT: queues, ids, endpoints */

	/* (c) after probe */
	struct pci_function *function;
	void *common, *notify, *config;
	uint32_t notify_len, multiplier;
	uint64_t features;
	uint64_t granule, input_first, input_last;
	uint32_t domain_first, domains;	/* ids first .. first + domains - 1 */
	uint32_t probe_size;
	struct { uint64_t first, last; } reserved[VIO_RESERVED_MAX];
	uint32_t reserved_count;

	/* (l) */
	struct viommu_queue request, event;
	struct paddr slots_at, events_at, ask_at;
	uint64_t *slots;		/* VIO_SLOTS of 8 words */
	uint64_t *events;		/* VIO_EVENTS of 4 words */
	uint8_t *ask;			/* a page: a probe, and its answer */
	bool asking;			/* it is in use */
	uint64_t queued, sent;		/* requests put; requests given to the device */
	uint64_t done;			/* (a) all up to this one are answered */
	bool answered[VIO_SLOTS];
	uint8_t status[VIO_SLOTS];	/* the answer; kept until the slot is used again */
	uint64_t
	    flight[VIO_FLIGHT_MAX]; /* number of the request at a pair of descriptors; 0: free */
	uint32_t flying, flight_max;
	bool kick;			/* sent, and the device was not told */
	struct viommu_endpoint endpoint[VIO_ENDPOINTS_MAX];
	uint16_t id_next, id_count;	/* free domain ids: a queue, the longest free first */
	uint16_t id[VIO_DOMAINS_MAX];
	uint64_t id_ticket[VIO_DOMAINS_MAX];

	bool registered;		/* (a) */
	bool dead, told;		/* (l) */
	const char *why;
};
enum { VIO_ORDER = 3 };
static_assert(sizeof(struct viommu) <= PAGE_SIZE << VIO_ORDER);

static inline struct viommu *viommu_of(struct iommu_unit *u) { return u->priv; }
static inline struct viommu_domain *
viommu_domain_of(struct iommu_domain *d)
{
	return (struct viommu_domain *)d->priv;
}
static inline void
viommu_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* viommu_pci.c */

/* Finds and maps the parts.  NULL: all there; else what is missing. */
const char *viommu_pci_open(struct viommu *v, uint16_t segment, uint16_t requester);
/* The unit itself reads and writes memory: the one function of the kernel's that does. */
void viommu_pci_master(struct viommu *v);

/* viommu_queue.c */

void viommu_lock(struct viommu *v) ACQUIRE(v->lock);
void viommu_unlock(struct viommu *v) RELEASE(v->lock);	/* and tells the kernel of a failure */
void viommu_fail(struct viommu *v, const char *why) REQUIRES(v->lock);

/* Memory and registers of both queues; the device has its features by then.  NULL: done. */
const char *viommu_queues_init(struct viommu *v, enum status *s);
/* Buffers for events, given to the device; it runs. */
void viommu_events_start(struct viommu *v) REQUIRES(v->lock);

static inline uint32_t
viommu_room(const struct viommu *v)
{
	return VIO_SLOTS - (uint32_t)(v->queued - v->done);
}
/* One request: its words, how many bytes the device reads.  There is room. */
void viommu_put(struct viommu *v, const uint64_t *words, uint32_t bytes) REQUIRES(v->lock);
static inline struct iommu_ticket
viommu_ticket(const struct viommu *v)
{
	return (struct iommu_ticket){ v->queued };
}
static inline bool
viommu_past(const struct viommu *v, struct iommu_ticket t)
{
	return t.seq <= load_acquire(&v->done);
}

/* Room for a request that cannot be refused: waits for the oldest, bounded, when there is none.
 * False: the unit failed. */
NODISCARD bool viommu_make_room(struct viommu *v) REQUIRES(v->lock);

/* Gives the device what it can take, and looks at its answers.  No wait. */
void viommu_collect(struct viommu *v) REQUIRES(v->lock);
NODISCARD enum status viommu_ticket_poll(struct iommu_unit *u, struct iommu_ticket t);
uint8_t viommu_answer(const struct viommu *v, struct iommu_ticket t);

uint32_t viommu_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost);
bool viommu_quiet(struct iommu_unit *u, bool all, struct iommu_ticket *t);

/* viommu_ask.c */

/* Of everybody behind the unit; before any domain.  NULL: read. */
const char *viommu_read_reserved(struct viommu *v);
NODISCARD enum status viommu_ask(struct iommu_unit *u, uint32_t endpoint);
/* Some of the range is reserved. */
bool viommu_reserved(const struct viommu *v, uint64_t at, uint64_t last);
