/* What the files of the AMD-Vi model share: model_amdvi.c registers and rings, model_amdvi_cache.c
 * caches and walks. */
#pragma once

#include "kern/base/bits.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/model_amdvi.h"

enum { CACHE = 2048, WATCHES = 16, INVALIDATIONS = 1024 };

/* Event codes, by number as in the manual. */
enum { E_ILLEGAL_ENTRY = 1, E_PAGE_FAULT, E_TABLE_HW, E_PAGE_HW, E_COMMAND, E_COMMAND_HW };

struct entry { bool used; uint32_t rid; uint64_t w[4]; };
struct irte { bool used; uint32_t rid, index; uint64_t lo, hi; };
struct tlb {
	bool used, present, upper;
	uint32_t rid, id;
	uint64_t at, to, root;
	uint8_t lg2, rights;
};
struct upper {
	bool used;
	uint32_t id;
	uint64_t at, table, root;
	uint8_t lg2, rights, level;
}; /* an entry that leads to a table */

struct model_amdvi {
	struct model_amdvi_setup s;
	uint64_t efr;
	bool gone;

	uint64_t devtab, cmdbuf, evtlog, control, excl_base, excl_limit, stuck;
	bool table_set, firmware_table, unflushed;
	uint64_t cmd_head, cmd_tail, evt_head, evt_tail,
	    status; /* byte offsets; status: what is cleared by 1 */
	bool cmd_run, evt_run, started;
	uint32_t cmd_delay, evt_delay;

	uint64_t pending[INVALIDATIONS][2];
	uint32_t pending_count, countdown;
	bool hang, hole;
	uint32_t refuse_op, refuse_times;
	uint64_t status_at;
	struct { uint64_t at, lo, hi; } late[256];
	uint32_t late_count;

	struct entry entry[CACHE];
	struct irte irte[CACHE];
	struct tlb tlb[CACHE];
	struct upper upper[CACHE];
	struct { uint32_t rid; uint64_t iova; } watch[WATCHES];
	uint32_t watches;
	bool watching;

	uint32_t violations, windows, off, executed[16], doorbells;
	char violation[200];
};

void amd_violate(struct model_amdvi *m, const char *format, ...) PRINTF(2, 3);
bool amd_is_table(uint64_t pa);

/* model_amdvi_cache.c */
struct model_amdvi_dma amd_access(struct model_amdvi *m, uint32_t rid, uint64_t iova, bool write);
void amd_watch(struct model_amdvi *m);			/* all watched requesters try */
void amd_apply(struct model_amdvi *m, uint64_t lo, uint64_t hi); /* one invalidation takes effect */
void amd_freed(struct model_amdvi *m, uint64_t pa, unsigned order);
