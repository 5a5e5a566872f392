/*
 * What a disk makes of an export.
 */
#pragma once

#include "usr/nbdd/proto.h"

/* e's size and limits.  False: it has no blocks, or none of a size that clients could use; then
 * e->bytes is 0. */
bool export_fits(
    uint64_t blocks, uint64_t block_bytes, uint64_t max_transfer, struct nbd_export *e);
