/*
 * Message interrupts of a GICv3 are LPIs; how many there are, the distributor says.
 *
 * Hypervisors give few: 128 for the whole guest on AWS Graviton.
 * Manual: Arm IHI 0069, 12.9.38 (GICD_TYPER: num_LPIs, LPIS, IDbits).
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/base/types.h"

enum : uint32_t { LPI_FIRST = 8192 };

/* With num_LPIs 0 there are all that interrupt ids leave room for. */
static inline uint32_t
lpi_count(uint32_t typer)
{
	uint32_t id_bits = (typer >> 19 & 31) + 1, few = typer >> 11 & 31;
	uint64_t all = id_bits >= 14 ? BIT(id_bits) - LPI_FIRST : 0;

	if ((typer & BIT(17)) == 0)
		return 0;
	if (few != 0 && BIT(few + 1) < all)
		all = BIT(few + 1);
	return (uint32_t)all;
}
