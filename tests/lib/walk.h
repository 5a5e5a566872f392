/*
 * Page-table walks as the manuals tell them, over memory as a device sees it.  Independent
 * of dev/iommu: levels count as in the manuals, and every rule that an entry can break is an
 * answer.
 */
#pragma once

#include "kern/base/types.h"

enum walk_result : uint8_t {
	WALK_OK,
	WALK_NONE,		/* an invalid entry: translation fault */
	WALK_PERMISSION,	/* never returned by the walks; for who checks rights */
	WALK_ACCESS,		/* access flag clear */
	WALK_SIZE,		/* an address is too large */
	WALK_MALFORMED,		/* reserved bits, unsupported size, table where none can be */
	WALK_NOT_TABLE,		/* an entry leads to memory that is not FRAME_IOMMU */
};

struct walk {
	enum walk_result result;
	uint64_t to;		/* output address of the input address */
	uint8_t size_lg2;	/* of the leaf */
	bool read, write, device, executable, global;
	uint64_t leaf;		/* the entry */
	uint32_t tables; /* table entries passed; the i-th covers 1 << table_lg2[i] bytes and led to
			    table_at[i] */
	uint8_t table_lg2[5];
	uint64_t table_at[5];
};

/*
 * VMSAv8-64, 4 KiB granule.  start_level and input_bits must agree; root tables may be concatenated
 * (stage 2).
 */
void walk_vmsa(unsigned stage, uint64_t root, unsigned start_level, unsigned input_bits,
    unsigned output_bits, uint64_t at, struct walk *out);

/* VT-d second stage: 3, 4 or 5 levels.  snoop: ECAP.SC, without which SNP is reserved. */
void walk_vtdss(uint64_t root, unsigned levels, unsigned output_bits, bool snoop, uint64_t at,
    struct walk *out);

/*
 * AMD-Vi version 1: mode levels.  Skipped levels and sizes coded in the address (next level 7) are
 * followed as the manual has them, though no software of ours makes them.
 */
void walk_amdv1(uint64_t root, unsigned mode, unsigned output_bits, uint64_t at, struct walk *out);
