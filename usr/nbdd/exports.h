/*
 * Which exports there are: words of the manifest.
 *
 *     NAME=DISK[@OFFSET+LENGTH][,ro]     "disk=nvme0n1", "boot=nvme1n1@1M+64M,ro"
 *
 * separated by blanks.  DISK is nvmeCnN as the shell has it; OFFSET and LENGTH are bytes, decimal,
 * with K, M, G or T; without them the export is the whole disk.
 */
#pragma once

#include "usr/nbdd/proto.h"

struct export_spec {
	char name[NBD_NAME];
	uint32_t controller, space;	/* space: namespace, from 0 */
	uint64_t base, len;		/* len 0: to the end of the disk */
	bool read_only;
};

/* The next export of a list; *at goes on behind it.  OK; E_NOT_FOUND: the list ends; E_INVALID: the
 * word is no export, and is left behind, too. */
NODISCARD enum status export_next(const char **at, struct export_spec *out);

/* What a disk makes of it: e's size and limits.  False: the range is not on the disk, or is not
 * whole blocks, or the disk has no block size that clients could use; then e->bytes is 0. */
bool export_fits(const struct export_spec *s, uint64_t blocks, uint64_t block_bytes,
    uint64_t max_transfer, struct nbd_export *e);
