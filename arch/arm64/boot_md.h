/*
 * The boot application's last step on arm64, and what it must know of the kernel's file.
 */
#pragma once

#include "kern/base/types.h"

enum : uint64_t { BOOT_BELOW = UINT64_MAX }; /* image, archive and record may lie anywhere */
enum : uint16_t { BOOT_ELF_MACHINE = 183, BOOT_ELF_OTHER = 62 };

#define BOOT_ARCH	"arm64"
#define BOOT_PATH	u"\\capos\\arm64\\"
enum : bool { BOOT_NEEDS_TABLES = true };		/* nothing can be guessed */

/* Why the kernel could not be entered from here; NULL when it can. */
static inline const char *
boot_refuses(void)
{
	uint64_t features;

	__asm__("mrs %0, id_aa64mmfr0_el1" : "=r"(features));
	return (features >> 28 & 15) == 15 ? "this CPU has no pages of 4 KiB" : NULL;
}

/*
 * Cleans what was written to the point of coherency, because the kernel's first instructions read
 * it with caches off.  Manual: Arm ARM D7.5 (cache maintenance), CTR_EL0.
 */
static inline void
boot_clean(uint64_t base, uint64_t len)
{
	uint64_t ctr, line;

	__asm__("mrs %0, ctr_el0" : "=r"(ctr));
	line = 4ull << (ctr >> 16 & 15);
	for (uint64_t at = base & ~(line - 1); at < base + len; at += line)
		__asm__ volatile("dc civac, %0" :: "r"(at) : "memory");
	__asm__ volatile("dsb sy; ic iallu; dsb sy; isb" ::: "memory");
}

/* MMU and caches off, at whatever level firmware runs us, and away.  Firmware maps us at our own
 * address. */
NORETURN static inline void
boot_jump(uint64_t entry, uint64_t record)
{
	uint64_t level, control;
	register uint64_t x0 __asm__("x0") = record;

	__asm__ volatile("msr daifset, #15" ::: "memory");
	__asm__("mrs %0, CurrentEL" : "=r"(level));
	if (level >> 2 == 2)
		__asm__ volatile("mrs %0, sctlr_el2" : "=r"(control));
	else
		__asm__ volatile("mrs %0, sctlr_el1" : "=r"(control));
	control &= ~(1ull << 0 | 1ull << 2 | 1ull << 12);		/* M, C, I */
	if (level >> 2 == 2)
		__asm__ volatile(
		    "msr sctlr_el2, %1; isb; tlbi alle2; dsb nsh; isb; mov x1, xzr; mov x2, xzr; mov x3, xzr; br %2" ::
			"r"(x0),
		    "r"(control), "r"(entry)
		    : "x1", "x2", "x3", "memory");
	else
		__asm__ volatile(
		    "msr sctlr_el1, %1; isb; tlbi vmalle1; dsb nsh; isb; mov x1, xzr; mov x2, xzr; mov x3, xzr; br %2" ::
			"r"(x0),
		    "r"(control), "r"(entry)
		    : "x1", "x2", "x3", "memory");
	__builtin_unreachable();
}
