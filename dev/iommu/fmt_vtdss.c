/*
 * VT-d second-stage entries.
 *
 *   63 62      52 51                            12 11 10  8 7  6     2 1 0
 *   |0|  0 (TM) |            address             |SNP| 0  |PS|   0    |W|R|
 *
 * There is no valid bit: an entry that grants nothing is not present.  Rights are the AND of all
 * levels, so entries for tables grant both.  Bits that a unit does not know are a
 * fault, so nothing is set that the shape does not ask for.
 *
 * Manual   Intel VT-d: second-stage paging entries.
 */
#include "dev/iommu/fmt_vtdss.h"
#include "kern/base/bits.h"

/* Second-stage paging entries [VT-d 9.8; VTD-50 .. VTD-53] */
enum : uint64_t {
	SS_R    = BIT(0),
	SS_W    = BIT(1),
	SS_PS   = BIT(7),
	SS_SNP  = BIT(11),
	SS_ADDR = BITS(51, 12),
};
static_assert(IOPT_READ == SS_R && IOPT_WRITE == SS_W);

static uint64_t
leaf(struct paddr to, unsigned height, uint8_t access, uint64_t flags)
{
	return to.v | (access & (SS_R | SS_W)) | (height != 0 ? SS_PS : 0) |
	    ((flags & VTDSS_SNOOP) != 0 ? SS_SNP : 0);
}

static uint64_t
table(struct paddr child, unsigned height UNUSED)
{
	return child.v | SS_R | SS_W;
}

static uint8_t
access_of(uint64_t e)
{
	return (uint8_t)(e & (SS_R | SS_W));
}

const struct iopt_format fmt_vtdss = {
	.name = "VT-d second stage",
	.page_lg2 = 12,
	.stride_lg2 = 9,
	.leaf_sizes = BIT(12) | BIT(21) | BIT(30),
	.present_mask = SS_R | SS_W,
	.leaf_mask = SS_PS,
	.leaf_value = SS_PS,
	.address_mask = SS_ADDR,
	.leaf = leaf,
	.table = table,
	.access = access_of,
};
