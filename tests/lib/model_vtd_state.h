/* What the files of the VT-d model share: model_vtd.c registers and queue, model_vtd_cache.c caches
 * and walks. */
#pragma once

#include "kern/base/bits.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/model_vtd.h"

enum { CACHE = 2048, WATCHES = 16, RECORDS = 256, BUFFERED = 8192, INVALIDATIONS = 1024 };

/* Fault reasons, by number as in the manual. */
enum {
	R_ROOT_P = 1,
	R_CTX_P,
	R_CTX_INVALID,
	R_MGAW,
	R_WRITE,
	R_READ,
	R_TABLE,
	R_ROOT,
	R_CTX,
	R_ROOT_RSVD,
	R_CTX_RSVD,
	R_PTE_RSVD,
	R_BLOCKED,
	R_INTERRUPT
};

struct context {
	bool used, present;
	uint32_t sid, did;
	uint64_t table;
	unsigned levels;
	bool pass;
	uint8_t reason;
};
struct tlb { bool used, present; uint32_t sid, did; uint64_t at, to, root; uint8_t lg2, rights; };
struct upper {
	bool used;
	uint32_t did;
	uint64_t at, table, root;
	uint8_t lg2, rights;
}; /* an entry that leads to a table */

struct irte { bool used; uint32_t index; uint64_t lo, hi; };

struct watch {
	uint32_t sid;
	uint64_t iova;
	bool may_hold; /* a fetch may have seen the entry with P since its last invalidation */
	uint64_t lo, hi;		/* as it was then */
};

struct model_vtd {
	struct model_vtd_setup s;
	uint64_t cap, ecap;
	bool gone;

	uint32_t gsts;
	uint32_t command, command_delay, never;		/* under way; 0: none */
	bool command_set;
	uint64_t rtaddr, root;
	bool root_set, firmware_root, need_context_flush, need_iotlb_flush;
	uint64_t iqa, iqh, iqt, ccmd, iotlb;
	uint32_t fsts, fectl, fedata, feaddr, feuaddr, pmen;
	uint64_t record[RECORDS][2];
	uint32_t records, next_record;

	uint64_t pending[INVALIDATIONS][2];
	uint32_t pending_count, countdown;
	bool hang, drop;
	uint64_t dropped_to; /* WAITs below this index of the ring are dropped */
	uint32_t drop_left;
	uint8_t refuse_type;
	uint32_t refuse_times;
	uint64_t status_at;

	struct context context[CACHE];
	struct tlb tlb[CACHE];
	struct upper upper[CACHE];
	struct irte irte[CACHE];
	uint64_t irta, irt;			/* register; in force */
	bool irt_set, need_iec_flush;
	struct watch watch[WATCHES];
	uint32_t watches;
	bool watching;

	struct { uint64_t pa, v; } buffered[BUFFERED];	/* CAP.RWBF: what the unit still sees */
	uint32_t buffered_count;
	bool drained; /* by a flush, since the root pointer was set */

	bool no_message;
	uint64_t message;
	void (*fn)(void *);
	void *fn_arg;

	uint32_t violations, windows, te_off, executed[16], doorbells, interrupts;
	char violation[200];
};

void violate(struct model_vtd *m, const char *format, ...) PRINTF(2, 3);
uint64_t cache_load(struct model_vtd *m, uint64_t pa);

/* model_vtd_cache.c */
struct model_vtd_dma cache_access(struct model_vtd *m, uint32_t sid, uint64_t iova, bool write);
void cache_watch(struct model_vtd *m);			/* all watched requesters try */
void cache_stored(struct model_vtd *m);			/* software stored something */
void cache_apply(struct model_vtd *m, uint64_t lo, uint64_t hi); /* one invalidation takes effect */
void irq_apply(struct model_vtd *m, uint64_t lo);
void record(struct model_vtd *m, uint32_t sid, uint64_t iova, bool write, uint8_t reason);
void cache_freed(struct model_vtd *m, uint64_t pa, unsigned order);
