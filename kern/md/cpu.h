/*
 * The CPUs: who runs this code, starting the others, stopping the machine.
 *
 * md_inline.h (each architecture's own, found by include path, never by name) holds
 * the inline half of the contract:
 *
 *   struct uregs                     the registers of a process, see trap.h
 *   struct cpu *this_cpu(void)       one or two instructions
 *   void mmu_activate(struct mmu_space *s)       mmu.h
 *   void cpu_set_kernel_stack(struct cpu *c, uintptr_t top)   where the next entry from user mode
 *                                                             starts
 *   void cpu_continue(struct uregs *to, bool *on_cpu)    below
 *   uint64_t cpu_cycles(void)        the raw counter behind clock_now, one instruction
 *   void irq_window(void)            interrupts on for an instant, then off again: pending ones are
 *                                    taken
 *   uintptr_t cpu_code_address(uintptr_t v)     a return address as found on a stack, without its
 *                                               signature
 *   void user_tls_switch(uint64_t *save, uint64_t load)  saves and loads the process-writable
 *                                                        thread register
 *                                    (nothing where a process cannot write one)
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine;
struct cpu;
struct cpu_start;

#include <md_inline.h>

/*
 * Kernel's side (kern/main.c).  The architecture's start-up code runs on the boot CPU with a
 * stack and the boot map, clears .bss, fills in the machine, and calls kernel_main, which never
 * returns.  Every further CPU comes to kernel_secondary with its final tables, stack and this_cpu()
 * in place.
 */
NORETURN void kernel_main(struct machine *m);
NORETURN void kernel_secondary(void);

/* Architecture: early set-up of the boot CPU and each further one (features, control registers,
 * vectors). */
void cpu_init(struct cpu *c);

/*
 * Asks the CPU s->hwid to start: it takes s, then runs kernel_secondary on s->stack_top with
 * this_cpu() == s->cpu.  s stays valid for ever.  OK: asked for; whether it comes is another
 * matter.  E_UNSUPPORTED without a way to start it; E_NOT_FOUND: firmware knows no such CPU;
 * E_REFUSED, E_IO: firmware will not, or cannot.
 */
NODISCARD enum status cpu_start(const struct machine *m, const struct cpu_start *s);

/*
 * Saves the callee-saved state on the current kernel stack, stores the stack pointer in *save, and
 * continues on "load", which an earlier cpu_switch or cpu_prepare_* made.
 */
void cpu_switch(uintptr_t *save, uintptr_t load);

/*
 * Threads at rest (kern/runqueue.h) leave their kernel stack empty.  These two leave the current
 * stack for good, so:
 *
 *   cpu_leave      continues on "load" as cpu_switch does
 *   cpu_continue   (md_inline.h) continues in user mode by "to"; stores false to *on_cpu (release)
 *                  once the current stack is left
 *
 * A thread at rest is continued by cpu_continue, or by cpu_prepare_user on its stack.
 */
NORETURN void cpu_leave(uintptr_t load);

/*
 * A kernel stack pointer for cpu_switch to a thread with nothing on its kernel stack.  User, new or
 * at rest: calls ipc_rested(), then continues in user mode with the registers at
 * cpu_user_regs(stack_top).  Kernel: calls fn(arg), interrupts off, which never returns.  Both
 * first call sched_switched() (kern/sched.c), which finishes the switch.
 */
uintptr_t cpu_prepare_user(uintptr_t stack_top);
uintptr_t cpu_prepare_kernel(uintptr_t stack_top, void (*fn)(void *), void *arg);

/* Where entries from user mode save the registers: the top of the thread's kernel stack. */
static ALWAYS_INLINE struct uregs *
cpu_user_regs(uintptr_t stack_top)
{
	return (struct uregs *)(stack_top - sizeof(struct uregs));
}

/* Sleeps until an interrupt, with interrupts on while asleep; returns with them off, handlers run.
 */
void cpu_idle(void);

/* Stops this CPU for good (panic). */
NORETURN void cpu_halt(void);

/* Tells all other online CPUs to halt, without waiting for locks (panic); bounded. */
void cpu_stop_others(void);

/* Do not return when they work. */
void cpu_power_off(const struct machine *m);
void cpu_reset(const struct machine *m);

/* A random number of the CPU's own; false: it has none, or none now.  Others use kern/random.h. */
bool cpu_random(uint64_t *out);

/* "Neoverse-N1: PAN PAC" or "AuthenticAMD ...: SMEP SMAP UMIP x2APIC": features in use, for the
 * log. */
const char *cpu_features(void);

/*
 * Configuration space by I/O ports [PCI 3.0, 3.2.2.3.2], for hosts that say ECAM_PORTS: segment 0,
 * the first 256 bytes.  Beyond, or without such ports: reads are all ones, writes do nothing.
 * Takes RANK_PORTS.
 */
uint32_t cpu_pci_read(uint16_t rid, uint32_t offset, unsigned width);
void cpu_pci_write(uint16_t rid, uint32_t offset, unsigned width, uint32_t value);

/* Registers that tell which CPU this is, one call each. */
void cpu_record(void (*say)(const char *name, uint64_t value));

/* x86 answers shootdowns here when interrupts are off for long; called by every lock's waiting
 * loop. */
void cpu_spin_poll(void);

/* e_machine of the programs that run here [ELF]. */
extern const uint16_t cpu_elf_machine;
