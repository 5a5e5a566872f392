/*
 * VMSAv8-64 entries, stage 1 and stage 2, 4 KiB granule.
 *
 * Bits 1:0 tell what an entry is: 1 block (above height 0), 3 table (above height 0) or page
 * (at height 0), even numbers nothing.  A block or page:
 *
 *             54 53 52      50 47                12 11 10 9  8 7  6 5        2 1 0
 *   stage 1  |UXN|PXN|  0     |      address       |nG|AF| SH  | AP  |.|AttrIndx|type|
 *   stage 2  | XN    |  0     |      address       |0 |AF| SH  |S2AP | MemAttr  |type|
 *
 * AF is set by us: with AF clear an access faults, and hardware updates are off (SMMU-81, SMMU-82).
 * nG is set: an invalidation by ASID leaves global entries alone (SMMU-34).  Nothing is executable
 * (SMMU-83).  Entries for tables carry no limits of their own.
 *
 * Stage 1 AP has a read-only bit and no write-only; every device is "unprivileged".
 *
 * Manual   Arm ARM, VMSAv8-64 translation table descriptors; specs SMMU-70 .. SMMU-73.
 */
#include "dev/iommu/fmt_vmsa.h"
#include "kern/base/bits.h"

enum : uint64_t {
	PTE_VALID = BIT(0),
	PTE_TABLE = BIT(1),		/* above height 0; at height 0: page */
	PTE_ADDR  = BITS(47, 12),

	PTE_SH = BITS(9, 8),
	SH_OUTER = 2,
	SH_INNER = 3,
	PTE_AF = BIT(10),

	/* stage 1 */
	S1_ATTR = BITS(4, 2),
	S1_AP_EL0 = BIT(6),
	S1_AP_RO = BIT(7),
	S1_NG  = BIT(11),
	S1_PXN = BIT(53),
	S1_UXN = BIT(54),

	/* stage 2 */
	S2_ATTR = BITS(5, 2),
	S2_ATTR_DEVICE = 0x1,		/* Device-nGnRE */
	S2_ATTR_NC = 0x5,
	S2_ATTR_WB = 0xf,
	S2_AP_R = BIT(6),
	S2_AP_W = BIT(7),
	S2_XN  = BIT(54),
};

static uint64_t
kind(unsigned height)
{
	return height == 0 ? PTE_VALID | PTE_TABLE : PTE_VALID;
}

static uint64_t
shareability(uint8_t access, uint64_t flags)
{
	bool inner = (access & IOPT_DEVICE) == 0 && (flags & VMSA_NONCACHED) == 0;

	return FIELD_PREP(PTE_SH, inner ? SH_INNER : SH_OUTER);
}

static uint64_t
s1_leaf(struct paddr to, unsigned height, uint8_t access, uint64_t flags)
{
	uint64_t attr = (access & IOPT_DEVICE) != 0 ? VMSA_ATTR_DEVICE :
	    (flags & VMSA_NONCACHED) != 0 ? VMSA_ATTR_NC : VMSA_ATTR_WB;

	return to.v | kind(height) | FIELD_PREP(S1_ATTR, attr) | S1_AP_EL0 |
	    ((access & IOPT_WRITE) != 0 ? 0 : S1_AP_RO) | shareability(access, flags) | PTE_AF |
	    S1_NG | S1_PXN | S1_UXN;
}

static uint8_t
s1_access(uint64_t e)
{
	return (uint8_t)(IOPT_READ | ((e & S1_AP_RO) != 0 ? 0 : IOPT_WRITE) |
	    (FIELD_GET(S1_ATTR, e) == VMSA_ATTR_DEVICE ? IOPT_DEVICE : 0));
}

static uint64_t
s2_leaf(struct paddr to, unsigned height, uint8_t access, uint64_t flags)
{
	uint64_t attr = (access & IOPT_DEVICE) != 0 ? S2_ATTR_DEVICE :
	    (flags & VMSA_NONCACHED) != 0 ? S2_ATTR_NC : S2_ATTR_WB;

	return to.v | kind(height) | FIELD_PREP(S2_ATTR, attr) |
	    ((access & IOPT_READ) != 0 ? S2_AP_R : 0) | ((access & IOPT_WRITE) != 0 ? S2_AP_W : 0) |
	    shareability(access, flags) | PTE_AF | S2_XN;
}

static uint8_t
s2_access(uint64_t e)
{
	return (uint8_t)(((e & S2_AP_R) != 0 ? IOPT_READ : 0) |
	    ((e & S2_AP_W) != 0 ? IOPT_WRITE : 0) |
	    (FIELD_GET(S2_ATTR, e) == S2_ATTR_DEVICE ? IOPT_DEVICE : 0));
}

static uint64_t
table(struct paddr child, unsigned height UNUSED)
{
	return child.v | PTE_VALID | PTE_TABLE;
}

const struct iopt_format fmt_vmsa_s1 = {
	.name = "VMSAv8-64 stage 1",
	.page_lg2 = 12,
	.stride_lg2 = 9,
	.leaf_sizes = BIT(12) | BIT(21) | BIT(30),
	.present_mask = PTE_VALID,
	.leaf_mask = PTE_TABLE,
	.leaf_value = 0,
	.address_mask = PTE_ADDR,
	.leaf = s1_leaf,
	.table = table,
	.access = s1_access,
};

const struct iopt_format fmt_vmsa_s2 = {
	.name = "VMSAv8-64 stage 2",
	.page_lg2 = 12,
	.stride_lg2 = 9,
	.concat_lg2 = 4,
	.leaf_sizes = BIT(12) | BIT(21) | BIT(30),
	.present_mask = PTE_VALID,
	.leaf_mask = PTE_TABLE,
	.leaf_value = 0,
	.address_mask = PTE_ADDR,
	.leaf = s2_leaf,
	.table = table,
	.access = s2_access,
};
