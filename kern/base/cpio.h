/*
 * Files in a boot archive: cpio, "newc" (magic 070701) or the same with checksums (070702).
 *
 * The archive is the loader's word: every length is bounded by it, nothing is read past its end.
 */
#pragma once

#include "kern/base/types.h"

enum cpio_result : uint8_t {
	CPIO_FOUND,
	CPIO_MISSING, /* the archive is well formed up to its end mark, and has no such file */
	CPIO_DAMAGED, /* not an archive, cut short, or the file fails its checksum */
};

/* The file's bytes, in place.  *data and *size are set only when it is found. */
enum cpio_result cpio_find(
    const void *archive, uint64_t len, const char *name, const uint8_t **data, uint64_t *size);
