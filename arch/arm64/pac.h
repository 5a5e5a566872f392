/*
 * Pointer authentication: whose keys are in force when.
 *
 * The kernel is compiled to sign return addresses with key B, programs with key A.  Key A is the
 * process's own: made with its address space, loaded with its tables (md_inline.h).  Key B is the
 * kernel's: the entry from user mode loads it, the way back clears it (entry.S, macros take_key and
 * drop_key), so that a process cannot have the kernel's addresses signed by key B itself.  Without
 * the feature both macros are one branch; pac_init opens them.
 *
 * Signing turns on when this CPU has the key and nothing that was called before will return: a
 * function that began without a key must not end with one.
 *
 * Manual: Arm ARM D8.10 (pointer authentication), FEAT_PAuth.
 */
#pragma once

#include "arch/arm64/sysreg.h"

extern bool cpu_pac, cpu_bti;
extern uint64_t cpu_pac_key[2];

/* Boot CPU, while the image may still be written: makes the key, opens entry.S. */
void pac_init(void);

/* This CPU, in a function that never returns. */
static ALWAYS_INLINE void
pac_start(void)
{
	if (!cpu_pac)
		return;
	WRITE_SYS(S3_0_C2_C1_2, cpu_pac_key[0]);	/* APIBKeyLo, APIBKeyHi */
	WRITE_SYS(S3_0_C2_C1_3, cpu_pac_key[1]);
	WRITE_SYS(sctlr_el1, READ_SYS(sctlr_el1) | SCTLR_ENIA | SCTLR_ENIB);
	ISB();
}
