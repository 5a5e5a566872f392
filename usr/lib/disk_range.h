/*
 * Byte ranges of disks, as a manifest names them.
 *
 *     NAME=DISK[@OFFSET+LENGTH][,ro]     "disk=nvme0n1", "boot=disk1n1@1M+64M,ro"
 *
 * DISK is as the shell has it: the controller's number and the namespace's; OFFSET and LENGTH are
 * bytes, decimal, with K, M, G or T; without them the range is the whole disk.
 */
#pragma once

#include "kern/base/types.h"

enum { DISK_RANGE_NAME = 32, DISK_RANGE_MAX = 99 };

struct disk_range {
	char name[DISK_RANGE_NAME];
	uint32_t controller, space;	/* space: namespace, from 0 */
	uint64_t base, len;		/* len 0: to the end of the disk */
	bool read_only;
};

/* False: the text is none. */
NODISCARD bool disk_range_parse(const char *text, struct disk_range *out);
