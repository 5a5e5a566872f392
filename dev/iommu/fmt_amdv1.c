/*
 * AMD-Vi version 1 entries.
 *
 *   63 62 61 60 59 58   52 51                            12 11      9 8  1 0
 *   |0|IW|IR|FC|0 |   0   |            address             |NextLevel|  0 |PR|
 *
 * NextLevel says what an entry leads to: 0 a page of its level's own size, 1 to 6 a table of that
 * level, 7 a page whose size is coded in the address.  A table may be of any lower level, so that
 * levels are skipped.  Entries made here lead to the next level or to a page of their own size:
 * other sizes would take equal entries in a row that can only change together, and a skipped level
 * could not be put back for a neighbour without replacing an entry in use (AMD-43).
 *
 * Rights are the AND of all levels, so entries for tables grant both.  An entry is absent only when
 * it is zero: some units look at the rights alone (AMD-82).
 *
 * Manual   AMD IOMMU 2.2.3 (AMD-40 .. AMD-44).
 */
#include "dev/iommu/fmt_amdv1.h"
#include "kern/base/bits.h"

enum : uint64_t {
	V1_PR   = BIT(0),
	V1_NEXT = BITS(11, 9),
	V1_ADDR = BITS(51, 12),
	V1_FC   = BIT(60),
	V1_IR   = BIT(61),
	V1_IW   = BIT(62),
};

static uint64_t
leaf(struct paddr to, unsigned height UNUSED, uint8_t access, uint64_t flags)
{
	return to.v | V1_PR | ((access & IOPT_READ) != 0 ? V1_IR : 0) |
	    ((access & IOPT_WRITE) != 0 ? V1_IW : 0) | ((flags & AMDV1_SNOOP) != 0 ? V1_FC : 0);
}

/* Levels count from 1: the table below an entry of height h is of level h. */
static uint64_t
table(struct paddr child, unsigned height)
{
	return child.v | V1_PR | V1_IR | V1_IW | FIELD_PREP(V1_NEXT, height);
}

static uint8_t
access_of(uint64_t e)
{
	return (uint8_t)(((e & V1_IR) != 0 ? IOPT_READ : 0) | ((e & V1_IW) != 0 ? IOPT_WRITE : 0));
}

const struct iopt_format fmt_amdv1 = {
	.name = "AMD-Vi version 1",
	.page_lg2 = 12,
	.stride_lg2 = 9,
	.leaf_sizes = BIT(12) | BIT(21) | BIT(30),
	.present_mask = V1_PR,
	.leaf_mask = V1_NEXT,
	.leaf_value = 0,
	.address_mask = V1_ADDR,
	.leaf = leaf,
	.table = table,
	.access = access_of,
};
