/*
 * The boot application's last step on x86-64, and what it must know of the kernel's file.
 */
#pragma once

#include "kern/base/types.h"

enum : uint64_t { BOOT_BELOW = 0xffff'ffff }; /* the kernel's first page tables reach 4 GiB */
enum : uint16_t { BOOT_ELF_MACHINE = 62, BOOT_ELF_OTHER = 183 };

#define BOOT_ARCH	"x86_64"
#define BOOT_PATH	u"\\capos\\x86_64\\"
enum : bool { BOOT_NEEDS_TABLES = false }; /* the kernel goes on with what a PC usually has */

/* Why the kernel could not be entered from here; NULL when it can. */
static inline const char *
boot_refuses(void)
{
	uint64_t cr4;

	__asm__("movq %%cr4, %0" : "=r"(cr4));
	return (cr4 & 1 << 12) != 0 ?
	    "firmware runs with five levels of page tables: switch LA57 off in its setup" :
	    NULL;
}

static inline void
boot_clean(uint64_t base UNUSED, uint64_t len UNUSED)
{
}

/* Firmware runs us in long mode, mapped at our own address. */
NORETURN static inline void
boot_jump(uint64_t entry, uint64_t record)
{
	__asm__ volatile("cli; cld; jmp *%1" :: "D"(record), "r"(entry) : "memory");
	__builtin_unreachable();
}
