/*
 * What the files of the SMMUv3 driver share:
 *
 *   smmuv3.c         take-over and enabling, domains, the interface to the kernel
 *   smmuv3_tables.c  stream table, context descriptors, reserved regions
 *   smmuv3_cmd.c     command queue, tickets, errors, events
 */
#pragma once

#include "dev/iommu/cmdring.h"
#include "dev/iommu/iopt.h"
#include "dev/iommu/smmuv3_reg.h"
#include "dev/iommu/unit_io.h"
#include "dev/iommu/unit_wait.h"
#include "kern/dma/iommu.h"
#include "kern/lock.h"
#include "kern/machine/machine.h"

enum : uint32_t {
	SMMU_SPLIT = 8,         /* a level 2 table is one bus */
	SMMU_SID_BITS_MAX = 24, /* of ours: a level 1 table of 512 KiB */
	SMMU_SID_NONE = UINT32_MAX,
	SMMU_TAGS_MAX = 4096, /* ASIDs or VMIDs in use, of ours */
	SMMU_CDS_PER_PAGE = PAGE_SIZE / 64,
	SMMU_RESERVED_MAX = 16, /* streams with reserved regions */
	SMMU_CMDQ_LG2 = 8,
	SMMU_EVENTQ_LG2 = 8,
	SMMU_BATCH_MAX = 32, /* commands before a sync must come (MMU-700 erratum 2812531) */
	SMMU_TLBI_MAX = 16,  /* a range that takes more commands: the whole domain at once */
};

enum : uint64_t {
	SMMU_PROBE_WAIT_NS = NS_PER_S,	/* registers and first commands: nothing else runs yet */
	SMMU_SYNC_WAIT_NS = NS_PER_MS,	/* a sync of attach: microseconds where hardware works */
};

/* In iommu_domain.priv. */
struct smmu_domain {
	struct iopt pt;
	bool lived;			/* was attached: its tag may be in translation caches */
} __attribute__((may_alias));
static_assert(sizeof(struct smmu_domain) <= sizeof(((struct iommu_domain *)0)->priv));

struct smmu {
	struct iommu_unit unit;
	struct spinlock lock;		/* RANK_UNIT: queues, stream table, tags */

	/* (c) after probe */
	void *regs;
	uint32_t page1;			/* where the event queue's indices are */
	bool coherent, hyp, ats, msi, ril, stalls, incoming_attributes;
	bool gbpa; /* GBPA.ABORT took: with translation off everything aborts */
	bool two_level;
	uint8_t stage;
	uint8_t oas;			/* as encoded */
	uint8_t sid_bits;
	uint8_t input_bits;
	struct iopt_shape shape;
	uint64_t *strtab;		/* level 1 descriptors, or the entries themselves */
	uint32_t tags;			/* 1 .. tags - 1 are used */

	/* (l) */
	struct cmdring ring;
	uint32_t batch;			/* commands since the last sync */
	uint32_t tlbi_max;		/* (c) see SMMU_TLBI_MAX; less with a tiny queue */
	uint64_t repaired;		/* position + 1 of the command last repaired */
	uint32_t gerrorn;
	uint64_t (*events)[EVENT_WORDS];
	uint32_t eventq_lg2;
	uint32_t eventq_cons;
	bool events_lost;
	uint32_t attaching;		/* stream whose entry is being filled, or SMMU_SID_NONE */
	uint64_t *tag_ticket; /* by tag: when its flush is past it is free; UINT64_MAX: in use */
	void *cd_page[SMMU_TAGS_MAX /
	    SMMU_CDS_PER_PAGE]; /* context descriptors by tag; made once, kept */

	bool registered;		/* (a) */
	bool dead;			/* (l) unknown state: closed for good */
	bool told;			/* (l) the kernel knows */
	const char *why;

	/* (c) streams that go on using reserved regions, each with its identity map of them */
	struct { uint32_t sid; struct iommu_domain domain; } reserved[SMMU_RESERVED_MAX];
	uint32_t reserved_count;
	/* (c) streams that firmware named in any reserved region: never attached */
	struct { uint32_t first, count; } refused[MACHINE_RESERVED_MAX];
	uint32_t refused_count;
};
enum : unsigned { SMMU_UNIT_ORDER = 1 };	/* frames of a struct smmu, log2 */
static_assert(sizeof(struct smmu) <= PAGE_SIZE << SMMU_UNIT_ORDER);

static inline struct smmu *smmu_of(struct iommu_unit *u) { return u->priv; }
static inline struct smmu_domain *
smmu_domain_of(struct iommu_domain *d)
{
	return (struct smmu_domain *)d->priv;
}

static inline uint32_t
smmu_read(const struct smmu *s, uint32_t reg)
{
	return unit_read32(s->regs, reg);
}
static inline void
smmu_write(const struct smmu *s, uint32_t reg, uint32_t v)
{
	unit_write32(s->regs, reg, v);
}
static inline void
smmu_write64(const struct smmu *s, uint32_t reg, uint64_t v)
{
	unit_write64(s->regs, reg, v);
}

static inline void
smmu_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* smmuv3_cmd.c */

void smmu_lock(struct smmu *s) ACQUIRE(s->lock);
void smmu_unlock(struct smmu *s) RELEASE(s->lock);	/* and tells the kernel of a failure */

/* Unknown state: no ticket will be past any more; translation off over GBPA.ABORT where that
 * exists. */
void smmu_fail(struct smmu *s, const char *why) REQUIRES(s->lock);

/*
 * Room for n commands and their sync.  False: the caller puts nothing and takes the ticket, which
 * now covers a flush of everything.
 */
NODISCARD bool smmu_cmd_room(struct smmu *s, uint32_t n) REQUIRES(s->lock);
void smmu_cmd_put(struct smmu *s, uint64_t lo, uint64_t hi) REQUIRES(s->lock);
/* A sync inside a batch: what follows starts when what precedes is done. */
void smmu_cmd_order(struct smmu *s) REQUIRES(s->lock);
/* Closes the open batch, rings the doorbell. */
void smmu_cmd_send(struct smmu *s) REQUIRES(s->lock);
/* Looks at what the unit consumed, at its errors, pays debts.  No wait. */
void smmu_cmd_collect(struct smmu *s) REQUIRES(s->lock);

void smmu_cmd_cfgi_ste(struct smmu *s, uint32_t sid, bool leaf) REQUIRES(s->lock);
void smmu_cmd_flush_tag(struct smmu *s, uint32_t tag) REQUIRES(s->lock);
void smmu_cmd_flush_all(struct smmu *s)
    REQUIRES(s->lock); /* configuration, then translations: 3 commands */
/* Leaves of [at, at + len), the smallest of 1 << leaf_lg2 bytes; by range, by leaf, or the whole
 * tag. */
void smmu_cmd_flush_range(
    struct smmu *s, uint32_t tag, uint64_t at, uint64_t len, unsigned leaf_lg2) REQUIRES(s->lock);

NODISCARD enum status smmu_ticket_poll(struct iommu_unit *u, struct iommu_ticket t);

uint32_t smmu_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost);
bool smmu_quiet(struct iommu_unit *u, bool all, struct iommu_ticket *t);
void smmu_irq(void *arg);

/* smmuv3_tables.c */

/* The stream table, all streams aborting.  E_NO_MEMORY. */
NODISCARD enum status smmu_streams_init(struct smmu *s);
uint64_t smmu_strtab_base(const struct smmu *s);
uint32_t smmu_strtab_cfg(const struct smmu *s);

NODISCARD enum status smmu_attach(struct iommu_domain *d, uint32_t sid);
struct iommu_ticket smmu_detach(struct iommu_domain *d, uint32_t sid);

/* Before translation is on: identity maps for what firmware reserved.  What cannot be kept is
 * blocked and named. */
void smmu_reserved_init(struct smmu *s, const struct machine *m);

/* The domain's context descriptor (stage 1): filled before an STE points at it. */
NODISCARD enum status smmu_cd_fill(struct smmu *s, struct iommu_domain *d) REQUIRES(s->lock);
void smmu_cd_clear(struct smmu *s, struct iommu_domain *d) REQUIRES(s->lock);

void smmu_block_all(struct smmu *s);	/* stores only; for shut */

/* smmuv3.c, for reserved regions */
NODISCARD enum status smmu_domain_init(struct iommu_domain *d);
void smmu_domain_fini(struct iommu_domain *d);
