/*
 * Byte ranges of disks that services have: the manifest's "disks", by number (blk.h).
 */
#pragma once

#include "usr/lib/blk.h"
#include "usr/lib/disk_range.h"
#include "usr/lib/manifest.h"

/* Reads them all: memory for drivers, who only read it, in *memory. */
void ranges_make(const struct manifest *m, handle_t *memory);
/* The n-th of a service, by its place in the manifest, and its number; 0: there is none. */
uint32_t range_of(uint32_t service, uint64_t n, struct disk_range *out);
