/*
 * UEFI firmware as strict as its specification: what an application may call when, and with what.
 *
 *   - Pages are given out one by one and must come back whole; what is out when the application
 *     returns is counted.
 *   - A key of the memory map is good until memory changes.
 *   - After the first call of ExitBootServices only memory may be asked for (7.4.6), and
 *     the console says nothing.
 *
 * What breaks a rule is kept by name.
 */
#pragma once

#include "boot/efi.h"

enum { UEFI_FILES = 8, UEFI_MAP = 64 };

struct uefi_file { const char *name; const void *bytes; uint64_t len; };

struct uefi_setup {
	struct uefi_file file[UEFI_FILES];	/* in \capos\arm64\ */
	struct efi_memory map[UEFI_MAP];	/* beside what was given out */
	uint32_t map_count;
	uint32_t exits_fail;	/* so many calls of ExitBootServices, though the key is good */
	uint32_t map_grows;	/* entries that each failure adds to the map */
	uint64_t pages_max;	/* 0: no bound */
	const void *rsdp, *fdt;
	const char *options;
};

void uefi_start(const struct uefi_setup *setup);
struct efi_system_table *uefi_table(void);
efi_handle uefi_image(void);

uint32_t uefi_pages_out(void);		/* allocations that did not come back */
uint32_t uefi_exits(void);		/* calls of ExitBootServices */
uint32_t uefi_lines(void);		/* said on the console */
const char *uefi_said(void);		/* all of it */
const char *uefi_violation(void);	/* NULL: none */
uint32_t uefi_stalls(void);
