/*
 * What each exception means.
 * Manual: Arm ARM D17.2.37 (ESR_EL1).
 */
#include "kern/md/trap.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/panic.h"
#include "arch/arm64/sysreg.h"

enum : uint32_t {
	EC_UNKNOWN = 0x00,
	EC_FP = 0x07,
	EC_BRANCH = 0x0d,
	EC_ILLEGAL = 0x0e,
	EC_SYSREG = 0x18,
	EC_PAC = 0x1c,
	EC_IABORT_USER = 0x20,
	EC_IABORT = 0x21,
	EC_PC_ALIGN = 0x22,
	EC_DABORT_USER = 0x24,
	EC_DABORT = 0x25,
	EC_SP_ALIGN = 0x26,
	EC_SERROR = 0x2f,
	EC_STEP = 0x32,
	EC_BRK = 0x3c,
};

extern const char copy_begin[], copy_end[], copy_fail[];

void trap_from_user(struct uregs *u, uint64_t esr, uint64_t far);
void trap_from_kernel(struct uregs *u, uint64_t esr, uint64_t far);
void trap_user_irq(struct uregs *u);
void trap_kernel_irq(void);
NORETURN void trap_stack_gone(uint64_t pc, uint64_t esr, uint64_t far, uint64_t sp);
void gic_interrupt(void);

static void
interrupt(void)
{
	struct cpu *c = this_cpu();

	c->in_interrupt = true;
	gic_interrupt();
	c->in_interrupt = false;
}

void
trap_user_irq(struct uregs *u UNUSED)
{
	interrupt();
	if (this_cpu()->resched)
		sched_preempt();
}

void
trap_kernel_irq(void)
{
	interrupt();
}

void
trap_from_user(struct uregs *u, uint64_t esr, uint64_t far)
{
	uint32_t ec = (uint32_t)(esr >> 26) & 0x3f, status = esr & 0x3f;
	struct fault_info f = { .code = (uint32_t)esr };

	switch (ec) {
	case EC_IABORT_USER:
		f.kind = FAULT_EXECUTE;
		f.address = far;
		break;
	case EC_DABORT_USER:
		f.kind = status == 0x21 ? FAULT_ALIGNMENT : status == 0x10 ? FAULT_MACHINE :
		    (esr & BIT(6)) != 0 ? FAULT_WRITE : FAULT_READ;
		f.address = far;
		if (f.kind == FAULT_WRITE && far < u->sp + 8 && far + PAGE_SIZE >= u->sp)
			f.kind = FAULT_STACK;
		break;
	case EC_BRANCH:
		f.kind = FAULT_BRANCH;
		f.address = uregs_pc(u);
		break;
	case EC_PAC:
		f.kind = FAULT_SIGNATURE;
		f.address = uregs_pc(u);
		break;
	case EC_FP:
		f.kind = FAULT_FP;
		break;
	case EC_PC_ALIGN:
	case EC_SP_ALIGN:
		f.kind = FAULT_ALIGNMENT;
		f.address = far;
		break;
	case EC_BRK:
	case EC_STEP:
		f.kind = FAULT_BREAKPOINT;
		break;
	case EC_SERROR:
		f.kind = FAULT_MACHINE;
		break;
	default:
		f.kind = FAULT_INSTRUCTION;
	}
	trap_user_fault(u, &f);
}

void
trap_from_kernel(struct uregs *u, uint64_t esr, uint64_t far)
{
	uint32_t ec = (uint32_t)(esr >> 26) & 0x3f;
	uintptr_t offset = 0;
	const char *name;

	if (ec == EC_DABORT && u->pc >= (uintptr_t)copy_begin && u->pc < (uintptr_t)copy_end) {
		u->pc = (uintptr_t)copy_fail;
		return;
	}
	name = symbol_find(u->pc, &offset);
	panic("exception (esr 0x%llx, address 0x%llx) in %s+0x%lx, called from 0x%llx",
	    (unsigned long long)esr, (unsigned long long)far, name != NULL ? name : "?",
	    (unsigned long)offset, (unsigned long long)cpu_code_address(u->x[18]));
}

void
trap_stack_gone(uint64_t pc, uint64_t esr, uint64_t far, uint64_t sp)
{
	uintptr_t offset = 0;
	const char *name = symbol_find(pc, &offset);

	panic(
	    "kernel stack overflow, or an exception that must not be: %s+0x%lx (esr 0x%llx, address 0x%llx, sp 0x%llx)",
	    name != NULL ? name : "?", (unsigned long)offset, (unsigned long long)esr,
	    (unsigned long long)far, (unsigned long long)sp);
}

void
uregs_init(struct uregs *u, uint64_t pc, uint64_t sp, uint64_t arg0, uint64_t arg1)
{
	*u = (struct uregs){ .w = { arg0, arg1 }, .pc = pc, .sp = sp };
}

uint64_t uregs_pc(const struct uregs *u) { return u->pc; }
uint64_t uregs_sp(const struct uregs *u) { return u->sp; }
uint64_t uregs_fp(const struct uregs *u) { return u->x[17]; }

static const char names[34][4] = {
	"x0",
	"x1",
	"x2",
	"x3",
	"x4",
	"x5",
	"x6",
	"x7",
	"x8",
	"x9",
	"x10",
	"x11",
	"x12",
	"x13",
	"x14",
	"x15",
	"x16",
	"x17",
	"x18",
	"x19",
	"x20",
	"x21",
	"x22",
	"x23",
	"x24",
	"x25",
	"x26",
	"x27",
	"x28",
	"x29",
	"x30",
	"sp",
	"pc",
	"psr",
};

const char *
uregs_name(unsigned n)
{
	return n < ARRAY_SIZE(names) ? names[n] : NULL;
}

uint64_t
uregs_value(const struct uregs *u, unsigned n)
{
	uint64_t v;

	memcpy(&v, (const char *)u + 8 * n, sizeof(v));
	return v;
}
