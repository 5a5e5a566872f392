/*
 * The interrupt table, and what each vector means.
 *
 * Faults of a process end it (trap_user_fault); faults of the kernel end the kernel, but for those
 * of copy_bytes, which returns false.  Interrupts in the kernel come only in the idle loop and at
 * preemption points.
 */
#include "kern/md/trap.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "arch/x86_64/x86.h"

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, zero;
};
static_assert(sizeof(struct gate) == 16);

static struct gate idt[256] ALIGNED(16);
extern const char trap_stubs[], copy_begin[], copy_end[], copy_fail[];

void trap_init_cpu(void);
void trap_from_user(struct uregs *u);
void trap_from_kernel(struct uregs *u);
NORETURN void trap_fatal(struct uregs *u);

void
trap_init_cpu(void)
{
	struct PACKED {
		uint16_t limit;
		uint64_t base;
	} idtr = { sizeof(idt) - 1, (uint64_t)(uintptr_t)idt };

	if (idt[0].selector == 0) {
		for (unsigned v = 0; v < 256; v++) {
			uint64_t at = (uint64_t)(uintptr_t)trap_stubs + v * 16;

			idt[v] = (struct gate){
				.offset0 = (uint16_t)at,
				.offset1 = (uint16_t)(at >> 16),
				.offset2 = (uint32_t)(at >> 32),
				.selector = SEL_KCODE,
				/* Interrupt gates: interrupts stay off.  Only the breakpoint may be
				   raised by a process. */
				.type = v == 3 ? 0xee : 0x8e,
				.ist = v == 8 ? 1 :
				    v == 2    ? 2 :
				    v == 18   ? 3 :
						0,
			};
		}
	}
	__asm__ volatile("lidt %0" :: "m"(idtr));
}

static bool
is_interrupt(uint64_t vector)
{
	return vector >= VEC_FIRST;
}

static void
interrupt(uint64_t vector)
{
	struct cpu *c = this_cpu();

	c->in_interrupt = true;
	apic_dispatch((unsigned)vector);
	c->in_interrupt = false;
}

void
trap_from_user(struct uregs *u)
{
	struct fault_info f = { .code = (uint32_t)(u->vector << 16 | (u->error & 0xffff)) };

	if (is_interrupt(u->vector)) {
		interrupt(u->vector);
		if (this_cpu()->resched)
			sched_preempt();
		return;
	}
	switch (u->vector) {
	case 0:
		f.kind = FAULT_DIVIDE;
		break;
	case 1: case 3:
		f.kind = FAULT_BREAKPOINT;
		break;
	case 7:
		f.kind = FAULT_FP;
		break;
	case 14:
		f.address = READ_CR(2);
		f.kind = (u->error & 16) != 0 ? FAULT_EXECUTE :
		    (u->error & 2) != 0       ? FAULT_WRITE :
						FAULT_READ;
		if (f.kind == FAULT_WRITE && f.address < u->rsp + 8 &&
		    f.address + PAGE_SIZE >= u->rsp)
			f.kind = FAULT_STACK;
		break;
	case 17:
		f.kind = FAULT_ALIGNMENT;
		break;
	default:
		f.kind = FAULT_INSTRUCTION;
	}
	trap_user_fault(u, &f);
}

static NORETURN void
kernel_fault(struct uregs *u)
{
	uintptr_t offset = 0;
	const char *name = symbol_find(u->rip, &offset);

	panic("fault %llu (error 0x%llx, address 0x%llx) in %s+0x%lx",
	    (unsigned long long)u->vector, (unsigned long long)u->error,
	    (unsigned long long)READ_CR(2), name != NULL ? name : "?", (unsigned long)offset);
}

void
trap_from_kernel(struct uregs *u)
{
	if (is_interrupt(u->vector)) {
		interrupt(u->vector);
		return;
	}
	if ((u->vector == 14 || u->vector == 13) && u->rip >= (uintptr_t)copy_begin &&
	    u->rip < (uintptr_t)copy_end) {
		u->rip = (uintptr_t)copy_fail;
		return;
	}
	kernel_fault(u);
}

void
trap_fatal(struct uregs *u)
{
	if (u->vector == 2 && (u->cs & 3) == 0)
		panic("non-maskable interrupt");
	if (u->vector == 8)
		panic(
		    "double fault: kernel stack overflow? (sp 0x%llx)", (unsigned long long)u->rsp);
	kernel_fault(u);
}

void
uregs_init(struct uregs *u, uint64_t pc, uint64_t sp, uint64_t arg0, uint64_t arg1)
{
	*u = (struct uregs){
		.rip = pc,
		.cs = SEL_UCODE,
		.rflags = FLAG_IF | 2,
		.rsp = sp,
		.ss = SEL_UDATA,
		.w = { arg0, arg1 },
	};
}

uint64_t uregs_pc(const struct uregs *u) { return u->rip; }
uint64_t uregs_sp(const struct uregs *u) { return u->rsp; }
uint64_t uregs_fp(const struct uregs *u) { return u->rbp; }

static const struct { char name[8]; uint16_t offset;
} regs[] = {
	{ "rax", 64 },
	{ "rbx", 72 },
	{ "rcx", 104 },
	{ "rdx", 16 },
	{ "rsi", 8 },
	{ "rdi", 0 },
	{ "rbp", 96 },
	{ "rsp", 160 },
	{ "r8", 32 },
	{ "r9", 40 },
	{ "r10", 24 },
	{ "r11", 112 },
	{ "r12", 48 },
	{ "r13", 56 },
	{ "r14", 80 },
	{ "r15", 88 },
	{ "rip", 136 },
	{ "rflags", 152 },
};

const char *
uregs_name(unsigned n)
{
	return n < ARRAY_SIZE(regs) ? regs[n].name : NULL;
}

uint64_t
uregs_value(const struct uregs *u, unsigned n)
{
	uint64_t v;

	memcpy(&v, (const char *)u + regs[n].offset, sizeof(v));
	return v;
}
