/*
 * What the halves of the software SMMUv3 share: model_smmu.c (structures, translation, watched
 * streams), model_smmu_regs.c (commands, registers).
 */
#pragma once

#include "tests/lib/model_smmu.h"

#include "kern/base/bits.h"

enum : uint32_t {
	CR0_SMMUEN = 1, CR0_PRIQEN = 2, CR0_EVENTQEN = 4, CR0_CMDQEN = 8, CR0_ATSCHK = 16,
	IRQ_GERROR = 1, IRQ_EVENTQ = 4,
	ERR_CMDQ = 1, ERR_SFM = 1 << 8,
	OVFLG = 1u << 31,
};
enum { CACHE_MAX = 4096, WATCH_MAX = 16, VALUES_MAX = 64, PENDING_MAX = 1024, QUEUE_MAX = 1 << 19 };

struct cached_ste { uint32_t sid; uint64_t w[8]; };
struct cached_cd { uint32_t sid; uint64_t pa, w[8]; };
struct cached_l1 { uint32_t index; uint64_t desc; };
struct cached_tlb {
	bool el2;
	uint8_t stage;
	uint16_t asid, vmid;
	uint64_t at, to;
	uint8_t lg2;
	bool read, write, global;
};
struct cached_walk {
	uint8_t stage;
	uint16_t asid, vmid;
	uint64_t at;
	uint8_t lg2;
	uint64_t table;
};

/* What a fetch of one word may have seen: values by age; forget_before: at the next sync. */
struct word {
	uint64_t value[VALUES_MAX];
	uint64_t seq[VALUES_MAX];
	uint32_t count;
	uint64_t forget_before;
};

struct watch {
	uint32_t sid;
	uint64_t iova;
	uint64_t ste_pa;	/* 0: no table yet */
	bool keeps;		/* must reach that address whenever the unit translates */
	uint32_t reached;	/* so many times it did */
	struct word word[8];
};

struct command { uint64_t lo, hi; };

enum { LATE_MAX = 512 };

struct model_smmu {
	struct model_smmu_setup setup;
	uint32_t idr0, idr1, idr3, idr5;
	uint32_t cr0, cr0ack, cr0_wait, never, cr1, cr2, gbpa, gbpa_new, gbpa_wait, irq_ctrl,
	    irq_ack, irq_wait;
	uint32_t gerror, gerrorn, strtab_cfg, cmdq_prod, cmdq_cons, evtq_prod, evtq_cons;
	uint64_t strtab, cmdq, evtq, gerror_cfg0, evtq_cfg0;
	bool cr0_written, irq_due_event, irq_due_gerror;
	uint64_t late[LATE_MAX][4];	/* events that nobody can see yet */
	uint32_t late_count;

	bool hang, stopped, abort_next;
	uint8_t refuse_op;
	uint32_t refuse_times;
	uint64_t credit, executed_total;
	struct command *shown;		/* as published, by ring index */
	bool *patched;
	struct command pending[PENDING_MAX];	/* executed, not yet in effect */
	uint32_t pending_count;
	uint32_t executed[256], doorbells;
	bool flushed_config, flushed_el2, flushed_tlb, flushed_pending[3];

	struct cached_ste ste[CACHE_MAX];
	struct cached_cd cd[CACHE_MAX];
	struct cached_l1 l1[CACHE_MAX];
	struct cached_tlb tlb[CACHE_MAX];
	struct cached_walk walk[CACHE_MAX];
	uint32_t ste_count, cd_count, l1_count, tlb_count, walk_count;

	struct watch watch[WATCH_MAX];
	uint32_t watch_count;
	uint64_t seq;
	bool firmware_off;		/* what firmware left on went off */
	bool busy;			/* a watched device is being tried: no recursion */

	uint32_t violations;
	char first[256];
};

/* Events that were held back become visible. */
void smmu_show_records(struct model_smmu *m);

void smmu_violation(struct model_smmu *m, const char *format, ...) PRINTF(2, 3);

#define CHECK(m, cond, ...) \
	do { \
		if (!(cond)) \
			smmu_violation(m, __VA_ARGS__); \
	} while (0)

#define ULL(x) ((unsigned long long)(x))

static inline bool has_s1(const struct model_smmu *m) { return (m->idr0 & 2) != 0; }
static inline bool has_s2(const struct model_smmu *m) { return (m->idr0 & 1) != 0; }
static inline bool has_hyp(const struct model_smmu *m) { return (m->idr0 & BIT(9)) != 0; }
static inline uint64_t
stall_model(const struct model_smmu *m)
{
	return FIELD_GET(BITS(25, 24), m->idr0);
}
static inline bool has_ril(const struct model_smmu *m) { return (m->idr3 & BIT(10)) != 0; }

static inline unsigned
size_bits(uint64_t code)
{
	static const uint8_t bits[8] = { 32, 36, 40, 42, 44, 48, 52, 0 };

	return bits[code];
}

static inline unsigned oas(const struct model_smmu *m) { return size_bits(m->idr5 & 7); }
static inline uint32_t queue_lg2(uint64_t base) { return (uint32_t)(base & 31); }
static inline uint64_t queue_at(uint64_t base) { return base & BITS(51, 5); }


bool smmu_is_table(uint64_t pa, uint64_t len);		/* kernel frames of the right kind */
void smmu_raise_gerror(struct model_smmu *m, uint32_t bits);
uint64_t smmu_locate(struct model_smmu *m, uint32_t sid, bool cached);
void smmu_try_all(struct model_smmu *m);		/* every watched stream tries its address */
void smmu_on_store(void *arg, uint64_t pa, uint64_t before, uint64_t after);
void smmu_on_freed(void *arg, uint64_t pa, unsigned order);
