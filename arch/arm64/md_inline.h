/*
 * The inline half of the contract, arm64: registers of a process, this CPU, address-space switch.
 */
#pragma once

#include "kern/base/types.h"
#include "kern/cpu.h"
#include "kern/md/mmu.h"

enum : uint64_t { DIRECT_MAP_BASE = 0xffff'0000'0000'0000 };

/* Order of the stack in entry.S. */
struct uregs {
	uint64_t w[8];			/* x0 .. x7 */
	uint64_t call;			/* x8 */
	uint64_t target;		/* x9 */
	uint64_t deadline;		/* x10 */
	uint64_t token;			/* x11 */
	uint64_t x[19];			/* x12 .. x30 */
	uint64_t sp, pc, pstate;
};
static_assert(sizeof(struct uregs) == 272 && offsetof(struct uregs, call) == 64 &&
    offsetof(struct uregs, sp) == 248);

static ALWAYS_INLINE struct cpu *
this_cpu(void)
{
	struct cpu *c;

	__asm__("mrs %0, tpidr_el1" : "=r"(c));
	return c;
}

static ALWAYS_INLINE void
irq_window(void)
{
	__asm__ volatile("msr daifclr, #2; isb; msr daifset, #2" ::: "memory");
}

static ALWAYS_INLINE uint64_t
cpu_cycles(void)
{
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v) :: "memory");
	return v;
}

/* The exception stack is wherever the thread left EL1 from: its top. */
static ALWAYS_INLINE void
cpu_set_kernel_stack(struct cpu *c UNUSED, uintptr_t top UNUSED)
{
}

/* cpu.h */
NORETURN static ALWAYS_INLINE void
cpu_continue(struct uregs *to, bool *on_cpu)
{
	__asm__ volatile("mov sp, %0; stlrb wzr, [%1]; b return_to_user" ::"r"(to), "r"(on_cpu)
	    : "memory");
	__builtin_unreachable();
}

extern uint64_t mmu_empty_ttbr0;

/* Return addresses without their signature; bit 55 says which half of the address space they belong
 * to. */
static ALWAYS_INLINE uintptr_t
cpu_code_address(uintptr_t v)
{
	return (v >> 55 & 1) != 0 ? v | 0xffffull << 48 : v & ~(0xffffull << 48);
}

/* The id field is the ASID in its register position.  Key A is the process's (pac.h). */
static ALWAYS_INLINE void
mmu_activate(struct mmu_space *s)
{
	struct cpu *c = this_cpu();

	if (c->space == s)
		return;
	c->space = s;
	if (s != NULL && s->key[0] != 0)
		__asm__ volatile(
		    "msr S3_0_C2_C1_0, %0; msr S3_0_C2_C1_1, %1" ::"r"(s->key[0]), "r"(s->key[1]));
	__asm__ volatile(
	    "msr ttbr0_el1, %0; isb" ::"r"(s != NULL ? s->root.v | s->id : mmu_empty_ttbr0)
	    : "memory");
}

static ALWAYS_INLINE void
user_tls_switch(uint64_t *save, uint64_t load)
{
	__asm__ volatile("mrs %0, tpidr_el0; msr tpidr_el0, %1"
	    : "=&r"(*save)
	    : "r"(load)
	    : "memory");
}

/* DC ZVA clears 64 bytes where DCZID says so (mmu.c checks); other sizes take stores. */
extern uint32_t mmu_zva_bytes;

static ALWAYS_INLINE void
frame_zero_page(void *p)
{
	char *at = p, *end = at + PAGE_SIZE;

	if (mmu_zva_bytes == 64) {
		for (; at < end; at += 256)
			__asm__ volatile("dc zva, %0; dc zva, %1; dc zva, %2; dc zva, %3"
			    :: "r"(at), "r"(at + 64), "r"(at + 128), "r"(at + 192) : "memory");
		return;
	}
	for (; at < end; at += 64)
		__asm__ volatile(
		    "stp xzr, xzr, [%0]; stp xzr, xzr, [%0, #16]; stp xzr, xzr, [%0, #32]; stp xzr, xzr, [%0, #48]" ::
			"r"(at)
		    : "memory");
}
