/*
 * From a requester to its IOMMU and to its ITS.
 */
#pragma once

#include "kern/machine/machine.h"

/* What a requester's path through the bridges above it looks like; pci.c fills it. */
struct idmap_path {
	uint16_t segment;
	uint16_t rid;
	uint16_t bridge[MACHINE_PATH_MAX];	/* rids of the bridges above, nearest first */
	uint32_t bridges;
	/* Secondary bus of a bridge, for the paths of scopes; 0xff: not a bridge. */
	uint8_t (*secondary)(uint16_t segment, uint16_t rid);
};

/*
 * The IOMMU and the endpoint id of a requester.  False: none, and *why says so.  A reserved region that names the device is
 * reported in *reserved.
 */
bool machine_find_iommu(const struct machine *m, const struct idmap_path *p, uint32_t *iommu, uint32_t *endpoint,
    bool *reserved, const char **why);

/* The ITS and device id; false where there is none. */
bool machine_find_its(const struct machine *m, uint16_t segment, uint16_t rid, uint32_t *its, uint32_t *device_id);
