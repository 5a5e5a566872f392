/*
 * What an IOMMU unit supplies to the kernel.
 *
 * A unit driver (dev/iommu) fills a struct iommu_unit and hands it to
 * iommu_register().  From then on the kernel (kern/dma/domain.c) calls its ops and never
 * asks what kind it is.  There are no bus, stream or context words here: an endpoint
 * is the unit's own id for a requester (source id, StreamID), computed by the id maps.
 *
 * Life of a unit
 *   probe     the driver maps its registers, checks that it can do what it must (else
 *             refuses by name), makes every stream abort, and enables translation:
 *             from here on nothing passes (D1).  Firmware's mappings are taken over
 *             without a window.
 *   run       domains are made, attached, mapped.
 *   broken    a unit that reports an unknown state, or whose invalidation does not
 *             complete by its deadline, is marked broken: ops on it fail with
 *             E_QUARANTINED, attached devices lose bus mastering, and nothing that it
 *             may still reach is ever reused (D8).
 *
 * Default deny.  An endpoint that is attached to no domain is blocked: its requests
 * abort.  "Bypass" cannot be expressed here, nor can an identity map, except through
 * reserved regions that the driver installs itself from the machine description.
 *
 * Completion.  Clearing an entry is not enough: unmap, detach and domain_fini return a
 * ticket.  Only when ticket_poll says OK may frames, addresses and tags be reused.
 *
 * Locks.  domain.c holds the domain's lock (RANK_DOMAIN) over attach, detach, map and
 * unmap of that domain.  The unit's own lock (RANK_UNIT) guards its rings and tables
 * and is taken inside.  No op waits for hardware longer than about 10 us, except probe.
 *
 * Sources: specs VTD, SMMU, AMD, VIO; comments cite their ids.
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/abi/status.h"
#include "kern/base/types.h"

struct iommu_unit;
struct irqmap_ops;
struct machine;
struct machine_iommu;
struct quota;

/* What a device may do with a mapping.  Never both bits by default. */
enum iommu_rights : uint8_t {
	IOMMU_READ  = 1,	/* the device reads memory */
	IOMMU_WRITE = 2,	/* the device writes memory; where the format has no write-only
				 * (facts.write_only false) it may then also read */
};

/* An invalidation that will be past: a count of the unit's sync commands.  0 is always past. */
struct iommu_ticket { uint64_t seq; };

/* Addresses that no mapping can have, wherever in the space: interrupt ranges, what the unit
 * reserves. */
enum { IOMMU_HOLES_MAX = 16 };
struct iommu_hole { uint64_t base, len; };

struct iommu_facts {
	uint64_t page_sizes;		/* bit n: leaves of 1 << n bytes; bit 12 always */
	uint8_t iova_bits;		/* addresses at or above 1 << iova_bits cannot be mapped */
	uint8_t output_bits;		/* physical addresses that fit */
	uint8_t stage;			/* SMMUv3: 1 or 2; others 2 */
	bool coherent;			/* the walker snoops CPU caches */
	bool write_only;
	bool range_invalidation;	/* invalidates a run with one command */
	bool map_invalidates; /* a new mapping needs an invalidation too (caching mode, write
				 buffer) */
	bool fault_log;
	bool fault_interrupt; /* the unit says when there is something in it; else it is polled */
	bool interrupt_isolation; /* message interrupts of a device are checked against its id */
	uint32_t domains_max;
	struct iommu_hole hole[IOMMU_HOLES_MAX];
	uint32_t holes;
	char text[160]; /* features in use, for people: "stage 1, 4K/2M/1G, RIL, 2-level stream
			   table" */
};

/*
 * One I/O address space on one unit.  The fields below "unit" belong to the driver.
 */
struct iommu_domain {
	struct iommu_unit *unit;	/* (c) */
	struct quota *quota;		/* charged for table pages */
	uint32_t tag;			/* ASID, VMID or domain id */
	struct paddr root;
	uint64_t table_pages;		/* interior and root pages in use */
	uint32_t endpoints;		/* attached now */
	uint64_t priv[12]; /* the driver's (page-table parameters, context descriptor) */
};

struct iommu_ops {
	/*
	 * Makes an empty I/O address space: root table, tag.  E_NO_MEMORY, E_QUOTA;
	 * E_BUSY when all tags are in use or waiting for their flush; E_QUARANTINED on a
	 * broken unit.  *d must be zero but for unit and quota.
	 */
	enum status (*domain_init)(struct iommu_domain *d);

	/*
	 * All endpoints detached.  Frees the tables and retires the tag; the tag is reused
	 * only after a flush of its own.  Must be called only after every ticket of the
	 * domain is past; on a broken unit it quarantines the tables instead.  No lock is held:
	 * others run between two tables.
	 */
	void (*domain_fini)(struct iommu_domain *d);

	/*
	 * Lets the endpoint reach what the domain maps.  The endpoint must be blocked
	 * (E_BUSY otherwise).  E_RANGE: the unit cannot address it; E_REFUSED: a reserved
	 * region or another rule forbids it.  On return the change is in force: the
	 * hardware's caches hold no older entry.
	 */
	enum status (*attach)(struct iommu_domain *d, uint32_t endpoint);

	/*
	 * Blocks the endpoint: stores the entry, makes it visible, queues the invalidation of
	 * configuration and then of translations.  The ticket is past when no request of the
	 * endpoint can be translated by the domain any more and those under way are done.
	 * Idempotent.
	 */
	struct iommu_ticket (*detach)(struct iommu_domain *d, uint32_t endpoint);

	/*
	 * Maps len bytes at iova to physically contiguous memory.  All three are multiples of
	 * PAGE_SIZE; the range is unmapped now and lies under iova_bits.  Uses the largest
	 * leaves that alignment allows.  On E_NO_MEMORY or E_QUOTA nothing of the range is
	 * mapped.  E_RANGE: it lies in a hole.  E_STATE: the unit keeps its tables itself, and no
	 * endpoint is attached.  When facts.map_invalidates the change is in force only after sync.
	 */
	enum status (*map)(struct iommu_domain *d, struct iova at, struct paddr to,
	    uint64_t len_bytes, enum iommu_rights rights);

	/* Makes earlier maps visible to the walker; the ticket is {0} unless facts.map_invalidates.
	 */
	struct iommu_ticket (*sync)(struct iommu_domain *d);

	/*
	 * Clears exactly a range that consists of whole earlier map calls, and queues the
	 * invalidation.  Frames and addresses are free to reuse when the ticket is past.
	 */
	struct iommu_ticket (*unmap)(struct iommu_domain *d, struct iova at, uint64_t len_bytes);

	/*
	 * The one doorbell page of message interrupts that must be reachable through the
	 * domain (D2), or E_UNSUPPORTED where interrupts do not pass the unit as memory.
	 * Same rules as map, but the memory is a device's.
	 */
	enum status (*map_doorbell)(struct iommu_domain *d, struct iova at, struct paddr page);

	/*
	 * OK: past.  E_WOULD_BLOCK: not yet.  E_QUARANTINED: will never be known; the unit is
	 * broken.  Never waits.  Handles queue errors (IQE, CERROR) on the way.
	 */
	enum status (*ticket_poll)(struct iommu_unit *u, struct iommu_ticket t);

	/*
	 * Moves up to max fault records out of the hardware; returns how many.  *lost is set
	 * when the hardware dropped some.  Bounded work; one caller at a time (kern/dma/unit.c).
	 */
	uint32_t (*drain_faults)(
	    struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost);

	/*
	 * True: the log is empty, and, when all is asked for, every access that the unit refused
	 * before the call has been in it.  False: it is not empty, or nobody knows yet; when the
	 * ticket *t is past, drain_faults takes or tells them.  Any number of callers, beside
	 * drain_faults.
	 */
	bool (*quiet)(struct iommu_unit *u, bool all, struct iommu_ticket *t);

	/*
	 * NULL, or: what is reserved for an endpoint is not in firmware's tables, the unit tells
	 * it.  Of those that were there at probe it was asked then; this asks for one that came
	 * later.  OK: nothing but facts.hole.  E_REFUSED: more than that.  Else: it does not tell.
	 * Waits for its answer, as attach does.
	 */
	enum status (*ask)(struct iommu_unit *u, uint32_t endpoint);

	/* Everything blocked, translation left on; for panic and power-off.  Takes no lock. */
	void (*shut)(struct iommu_unit *u);
};

struct iommu_counters {			/* (a) births and deaths, for "iommu" and tests */
	uint64_t maps, unmaps, invalidations, syncs, faults, faults_lost, errors;
};

struct iommu_unit {
	const struct iommu_ops *ops;
	const struct irqmap_ops
	    *irqmap; /* (c) after probe; NULL: no interrupt remapping (irqmap.h) */
	char name[12];			/* "vtd0", "smmu1" */
	struct iommu_facts facts;
	struct iommu_counters counters;
	uint32_t index;			/* in machine.iommu[] */
	bool broken;			/* (a) */
	struct unit_log *log;		/* (c) once registered: kern/dma/unit.c's */
	uint32_t domains, endpoints;	/* (a) in use */
	void *priv;			/* the driver's unit */
};

/* What arch/<a>/devtab.c lists. */
struct iommu_driver {
	const char *name;
	uint8_t kind;			/* enum machine_iommu_kind */
	/*
	 * Takes the unit over and registers it.  Any refusal is logged by the driver with what
	 * is missing; the unit is then left aborting everything where it can be.
	 */
	enum status (*probe)(const struct machine *m, uint32_t index);
};

extern const struct iommu_driver *const iommu_drivers[];	/* ends with NULL; arch devtab */

/* kern/dma/unit.c: the list of units.  Probe calls this once for each unit. */
NODISCARD enum status iommu_register(struct iommu_unit *u);
struct iommu_unit *iommu_by_index(uint32_t machine_index);	/* NULL: none, or refused */
struct iommu_unit *iommu_nth(uint32_t n); /* n-th registered; NULL past the end */

/*
 * For unit drivers, any context without RANK_UNIT held:
 * iommu_fault_pending   the fault interrupt of a unit came: its drain thread will run.
 * iommu_mark_broken     unknown state: see "broken" above.  "why" is logged.
 */
void iommu_fault_pending(struct iommu_unit *u);
void iommu_mark_broken(struct iommu_unit *u, const char *why);
