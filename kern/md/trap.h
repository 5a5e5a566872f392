/*
 * Entries from user mode: system calls, faults, interrupts.
 *
 * struct uregs (md_inline.h) begins, on every architecture, with the words of the system-call
 * convention in this order, whatever registers they live in (offsets asserted):
 *
 *   uint64_t w[8]       message words, arguments and results
 *   uint64_t call       in: call number (bits 7:0) and tag (bits 63:8); out: status (7:0) and tag
 *   uint64_t target     in: handles the call works on; out: badge
 *   uint64_t deadline   in: deadline of blocking calls
 *   uint64_t token      reply token
 *
 *             w0..w7                                call   target  deadline  token
 *   x86_64    rdi rsi rdx r10 r8 r9 r12 r13         rax    rbx     r14       r15     by SYSCALL
 *                                                                                    (rcx, r11
 *                                                                                    lost)
 *   arm64     x0 .. x7                              x8     x9      x10       x11     by SVC #0
 *
 * after which the rest of the registers follows (program counter, stack pointer, flags, others).
 * A system call saves at least these and returns with every register but the ones above (and rcx,
 * r11 on x86) as it was, so that the stubs in user programs are cheap; no register returns with a
 * value of the kernel's.  A fault or interrupt saves and restores everything.
 *
 * A process that uses floating-point or vector instructions gets a fault of kind FAULT_FP.
 */
#pragma once

#include "kern/abi/process.h"
#include "kern/md/cpu.h"

struct thread;

/* --- kernel's side --- */

/*
 * System calls, by number.  Entry code calls syscall_table[u->call & 0xff](this_cpu()->current, u),
 * with interrupts off, and stores the status that it returns in bits 7:0 of u->call: calls that
 * answer with a tag have put it there.  When then this_cpu()->resched or the current thread's
 * "dying" is set, it calls sched_preempt().  On return to user mode u is in force.  A call may also
 * not return, and continue another thread (kern/runqueue.h).
 */
typedef enum status syscall_fn(struct thread *t, struct uregs *u);
extern syscall_fn *const syscall_table[256];

/* The current thread did something that ends its process.  Does not return to the instruction. */
void trap_user_fault(struct uregs *u, const struct fault_info *f);

/*
 * Called with interrupts off before returning to user mode from an interrupt, when
 * this_cpu()->resched is set; and by system calls through the kernel itself.
 */
void sched_preempt(void);

/* The timer of this CPU; an interprocessor interrupt for this CPU. */
void sched_timer(void);
void sched_ipi(void);

/* --- architecture's side --- */

/* Registers of a new thread: starts at pc with sp, the two words in its first two argument
 * registers. */
void uregs_init(struct uregs *u, uint64_t pc, uint64_t sp, uint64_t arg0, uint64_t arg1);

uint64_t uregs_pc(const struct uregs *u);
uint64_t uregs_sp(const struct uregs *u);
uint64_t
uregs_fp(const struct uregs *u); /* frame pointer: [fp] = caller's fp, [fp + 8] = return address */

/* Name and value of register n for an epitaph; NULL past the last. */
const char *uregs_name(unsigned n);
uint64_t uregs_value(const struct uregs *u, unsigned n);
