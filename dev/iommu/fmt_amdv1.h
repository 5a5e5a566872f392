/*
 * AMD-Vi version 1 (host) page tables, for iopt.h.  See fmt_amdv1.c.
 */
#pragma once

#include "dev/iommu/iopt.h"

enum : uint64_t {
	AMDV1_SNOOP = 1
}; /* shape.flags: accesses are coherent even when a request asks for "no snoop" (FC) */

extern const struct iopt_format fmt_amdv1;
