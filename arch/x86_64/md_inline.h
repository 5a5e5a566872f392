/*
 * The inline half of the contract, x86_64: registers of a process, this CPU, address-space switch.
 */
#pragma once

#include "kern/base/types.h"
#include "kern/cpu.h"
#include "kern/md/mmu.h"
#include "arch/x86_64/tlb.h"

enum : uint64_t { DIRECT_MAP_BASE = 0xffff'8000'0000'0000 };

/* Order of the stack: entry.S pushes from the bottom up.  16-byte multiple. */
struct uregs {
	uint64_t w[8];			/* rdi rsi rdx r10 r8 r9 r12 r13 */
	uint64_t call;			/* rax */
	uint64_t target;		/* rbx */
	uint64_t deadline;		/* r14 */
	uint64_t token;			/* r15 */
	uint64_t rbp, rcx, r11;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(struct uregs) == 176 && offsetof(struct uregs, call) == 64 &&
    offsetof(struct uregs, rbp) == 96 && offsetof(struct uregs, vector) == 120 &&
    offsetof(struct uregs, rip) == 136);

static ALWAYS_INLINE struct cpu *
this_cpu(void)
{
	struct cpu *c;

	__asm__("movq %%gs:24, %0" : "=r"(c));
	return c;
}

static ALWAYS_INLINE void
irq_window(void)
{
	__asm__ volatile("sti; nop; cli" ::: "memory");
}

static ALWAYS_INLINE uint64_t
cpu_cycles(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* The task state segment's stack for interrupts from user mode stands first in the CPU's own area.
 */
struct md_head { char *rsp0; };	/* packed: not aligned */

static ALWAYS_INLINE void
cpu_set_kernel_stack(struct cpu *c, uintptr_t top)
{
	char *rsp0 = ((struct md_head *)c->md)->rsp0;

	c->kstack_top = top;
	__builtin_memcpy(rsp0, &top, sizeof(top));
}

/* cpu.h */
NORETURN static ALWAYS_INLINE void
cpu_continue(struct uregs *to, bool *on_cpu)
{
	__asm__ volatile("movq %0, %%rsp; movb $0, %1; jmp call_return" ::"r"(to), "m"(*on_cpu)
	    : "memory");
	__builtin_unreachable();
}

extern uint64_t mmu_kernel_cr3, mmu_idle_cr3;
uint64_t mmu_trampoline_map(void);

/*
 * A CPU is in space->cpus from before it loads the tables until after it has loaded others, so
 * whoever changes an entry and then reads the mask misses nobody.  tlb.h tells what happens to the
 * translations.
 */
static ALWAYS_INLINE void
mmu_activate(struct mmu_space *s)
{
	struct cpu *c = this_cpu();
	struct mmu_space *old = c->space;
	uint64_t me = 1ull << c->id, cr3 = mmu_idle_cr3;

	if (old == s)
		return;
	if (s != NULL) {
		tlb_enter(s, me);
		cr3 = s->root.v | s->id;
		if (unlikely(tlb_take_stale(s, me))) {
			cr3 &= ~CR3_KEEP;
			c->tlb_flushes++;
		}
	}
	__asm__ volatile("movq %0, %%cr3" :: "r"(cr3) : "memory");
	c->space = s;
	if (old != NULL)
		tlb_leave(old, me);
}

/* Return addresses are what they are. */
static ALWAYS_INLINE uintptr_t
cpu_code_address(uintptr_t v)
{
	return v;
}

/* A process cannot write FS or GS base. */
static ALWAYS_INLINE void
user_tls_switch(uint64_t *save UNUSED, uint64_t load UNUSED)
{
}

static ALWAYS_INLINE void
frame_zero_page(void *p)
{
	uint64_t *w = p;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i += 8) {
		__asm__ volatile("movq %1, (%0); movq %1, 8(%0); movq %1, 16(%0); movq %1, 24(%0);"
		    "movq %1, 32(%0); movq %1, 40(%0); movq %1, 48(%0); movq %1, 56(%0)"
		    :: "r"(w + i), "r"(0ull) : "memory");
	}
}
