/*
 * VT-d second-stage tables: 512 entries of 64 bits, 4 KiB, 2 MiB and 1 GiB leaves.
 * 39 input bits are 3 levels, 48 are 4, 57 are 5.
 */
#pragma once

#include "dev/iommu/iopt.h"

/* iopt_shape.flags */
enum : uint64_t { VTDSS_SNOOP = 1 };	/* SNP in leaves: only with ECAP.SC (VTD-53) */

extern const struct iopt_format fmt_vtdss;
