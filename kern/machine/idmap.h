/*
 * From a requester to its IOMMU and to its ITS.
 *
 * Pure: what firmware said is in the machine, how the bridges are numbered now comes from the
 * caller.
 */
#pragma once

#include "kern/machine/machine.h"

/* What a requester's path through the bridges above it looks like; pci.c fills it. */
struct idmap_path {
	uint16_t segment;
	uint16_t rid;
	uint16_t bridge[MACHINE_PATH_MAX];	/* rids of the bridges above, nearest first */
	uint32_t bridges;
	bool deeper;				/* there are more bridges above than fit */
	/* Secondary bus of a bridge, for the paths of scopes; 0xff: not a bridge. */
	uint8_t (*secondary)(uint16_t segment, uint16_t rid);
	/* Is there such a function?  NULL: taken for granted. */
	bool (*present)(uint16_t segment, uint16_t rid);
};

/*
 * The IOMMU (index in machine.iommu[]) and the endpoint id of a requester.  False: none that could
 * be used, and *why says so; *iommu and *endpoint are then not set.  *reserved: a region of
 * firmware's names the device, or may.
 *
 * What firmware contradicts itself about is refused by name: a requester that two units claim, one
 * that a unit knows by two ids, one that the tables themselves call a unit.
 *
 * A unit that is found may still be one that was refused (kind IOMMU_NONE) or that its driver
 * refuses later: then the device is blocked, or must be treated as not protected; it is never
 * another unit's.
 */
bool machine_find_iommu(const struct machine *m, const struct idmap_path *p, uint32_t *iommu,
    uint32_t *endpoint, bool *reserved, const char **why);

/*
 * No IOMMU was found, and nothing is in doubt: the machine has none, or its tables, which could be
 * read whole and name only what is there, lead this requester past all of them (a root bus that
 * bypasses the IOMMU).
 */
bool machine_without_iommu(const struct machine *m, const struct idmap_path *p);

/* The ITS (index in machine.irqc.its[]) and device id; false where there is none, or two are
 * named. */
bool machine_find_its(
    const struct machine *m, uint16_t segment, uint16_t rid, uint32_t *its, uint32_t *device_id);

/* Adds a run to stream_map (msi false) or msi_map.  What does not fit is counted, and leads
 * nowhere. */
void machine_add_idmap(struct machine *m, bool msi, const struct machine_idmap *e);
