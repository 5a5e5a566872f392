/*
 * What the root task (init) finds at entry: its first argument register holds the address of a
 * struct boot_info, mapped read-only in its address space; the second holds its size.
 */
#pragma once

#include "kern/abi/object.h"

enum : uint32_t { BOOT_MAGIC = 0x6361704f };	/* "Opac" */

struct boot_info {
	uint32_t magic, version;	/* version 1 */
	handle_t self;			/* its own process, all rights */
	handle_t kernel;		/* OBJ_KERNEL, all rights */
	handle_t
	    archive; /* memory object: the boot archive (newc cpio), sealed; mapped at archive_va */
	uint32_t cpus;
	uint64_t archive_va, archive_len;
	uint64_t stack_top;
	char cmdline[2048];		/* the kernel's command line */
};
