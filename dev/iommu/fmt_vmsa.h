/*
 * VMSAv8-64 tables as an SMMU walks them: stage 1 and stage 2, 4 KiB granule.
 */
#pragma once

#include "dev/iommu/iopt.h"

/* iopt_shape.flags */
enum : uint64_t {
	VMSA_NONCACHED = 1
}; /* memory is mapped Normal Non-cacheable: devices do not snoop */

/* Indices into MAIR, which the context descriptor must hold as VMSA_MAIR (SMMU-72). */
enum : uint64_t { VMSA_ATTR_DEVICE, VMSA_ATTR_NC, VMSA_ATTR_WB };
enum : uint64_t { VMSA_MAIR = 0xff4404 };	/* Device-nGnRE, Normal NC, Normal WB */

/* Stage 1 has no write-only: what is writable can be read. */
extern const struct iopt_format fmt_vmsa_s1, fmt_vmsa_s2;
