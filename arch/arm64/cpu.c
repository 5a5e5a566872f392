/*
 * CPUs: features, PSCI, threads' first stacks.
 * Manual: Arm ARM D17; PSCI DEN0022.
 */
#include "kern/md/cpu.h"
#include "kern/base/fmt.h"
#include "kern/base/mmio.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/main.h"
#include "kern/md/clock.h"
#include "kern/md/mmu.h"
#include "kern/md/trap.h"
#include "kern/random.h"
#include "arch/arm64/pac.h"
#include "arch/arm64/sysreg.h"

const uint16_t cpu_elf_machine = 183;		/* EM_AARCH64 */

enum : uint32_t {
	PSCI_CPU_ON = 0xc4000003,
	PSCI_SYSTEM_OFF = 0x84000008,
	PSCI_SYSTEM_RESET = 0x84000009
};
enum : int32_t { PSCI_INVALID = -2, PSCI_DENIED = -3, PSCI_NOT_PRESENT = -7, PSCI_DISABLED = -8 };

struct cpu cpus[CPUS_MAX];
uint32_t cpu_count;
bool cpu_pan, cpu_pac, cpu_bti;
uint64_t cpu_pac_key[2];
static char features[96];
extern const char first_user[], first_kernel[], secondary_boot[];
extern uint64_t mmu_phys_offset, secondary_ttbr[2];
void secondary_start(struct cpu *c);
void gic_stop_others(void);

/* The result of a call is a signed 32-bit number. */
static int32_t
psci(const struct machine *m, uint64_t fn, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = fn;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;

	if (m->power.psci == PSCI_HVC)
		__asm__ volatile("hvc #0"
		    : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"x4", "x5", "x6", "x7", "x8", "x9",
		    "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");
	else if (m->power.psci == PSCI_SMC)
		__asm__ volatile("smc #0"
		    : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"x4", "x5", "x6", "x7", "x8", "x9",
		    "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");
	else
		return -1;
	return (int32_t)x0;
}

void
cpu_init(struct cpu *c)
{
	uint64_t mmfr1 = READ_SYS(id_aa64mmfr1_el1), midr = READ_SYS(midr_el1);

	WRITE_SYS(tpidr_el1, c);
	c->self = c;
	WRITE_SYS(cpacr_el1, 0);		/* floating point and vectors trap */
	WRITE_SYS(mdscr_el1, 0);
	WRITE_SYS(cntkctl_el1, BIT(1));		/* processes may read the virtual counter */
	WRITE_SYS(tpidr_el0, 0);
	WRITE_SYS(tpidrro_el0, 0);
	if (FIELD_GET(BITS(23, 20), mmfr1) != 0) {
		cpu_pan = true;
		/* SPAN clear: PAN is set on every entry from user mode. */
		WRITE_SYS(sctlr_el1, READ_SYS(sctlr_el1) & ~SCTLR_SPAN);
		__asm__ volatile(".inst 0xd500419f" ::: "memory");
	}
	ISB();
	if (c->id != 0)
		return;
	cpu_bti = FIELD_GET(BITS(3, 0), READ_SYS(id_aa64pfr1_el1)) != 0;
	/* Of one of three algorithms: ISAR1.APA, ISAR1.API, ISAR2.APA3. */
	cpu_pac = FIELD_GET(BITS(11, 4), READ_SYS(id_aa64isar1_el1)) != 0 ||
	    FIELD_GET(BITS(15, 12), READ_SYS(S3_0_C0_C6_2)) != 0;
	fmt_buf(features, sizeof(features), "implementer 0x%llx part 0x%llx:%s%s%s",
	    (unsigned long long)(midr >> 24 & 0xff), (unsigned long long)(midr >> 4 & 0xfff),
	    cpu_pan ? " PAN" : "", cpu_bti ? " BTI" : "", cpu_pac ? " PAC" : "");
}

void
pac_init(void)
{
	extern uint32_t *const pac_sites[], *const pac_sites_end[];

	if (!cpu_pac)
		return;
	cpu_pac_key[0] = random_word();
	cpu_pac_key[1] = random_word();
	for (uint32_t *const *site = pac_sites; site < pac_sites_end; site++) {
		**site = 0xd503201f;	/* nop, for the branch around */
		cache_clean(*site, sizeof(**site));
	}
	__asm__ volatile("ic ialluis; dsb ish; isb" ::: "memory");
}

/* For a first switch to "to", where cpu_switch finds it signed with key B and the stack pointer
 * that it returns with. */
static uint64_t
sign_return(const char *to, const void *sp)
{
	register uint64_t x17 __asm__("x17") = (uint64_t)(uintptr_t)to;
	register uint64_t x16 __asm__("x16") = (uint64_t)(uintptr_t)sp;

	__asm__("hint #10" : "+r"(x17) : "r"(x16));	/* pacib1716 */
	return x17;
}

const char *
cpu_features(void)
{
	return features;
}

void
cpu_record(void (*say)(const char *name, uint64_t value))
{
	say("MIDR_EL1", READ_SYS(midr_el1));
	say("MPIDR_EL1", READ_SYS(mpidr_el1));
	say("CTR_EL0", READ_SYS(ctr_el0));
	say("CNTFRQ_EL0", READ_SYS(cntfrq_el0));
	say("ID_AA64PFR0_EL1", READ_SYS(id_aa64pfr0_el1));
	say("ID_AA64PFR1_EL1", READ_SYS(id_aa64pfr1_el1));
	say("ID_AA64ISAR0_EL1", READ_SYS(id_aa64isar0_el1));
	say("ID_AA64ISAR1_EL1", READ_SYS(id_aa64isar1_el1));
	say("ID_AA64MMFR0_EL1", READ_SYS(id_aa64mmfr0_el1));
	say("ID_AA64MMFR1_EL1", READ_SYS(id_aa64mmfr1_el1));
	say("ID_AA64MMFR2_EL1", READ_SYS(id_aa64mmfr2_el1));
}

void
secondary_start(struct cpu *c)
{
	cpu_init(c);
	pac_start();
	mmu_init_cpu();
	kernel_secondary();
}

enum status
cpu_start(const struct machine *m, const struct cpu_start *s)
{
	uint64_t entry = (uint64_t)(uintptr_t)secondary_boot - 0xffffffff80000000 + mmu_phys_offset;

	if (m->power.psci == PSCI_NONE)
		return E_UNSUPPORTED;
	/* It reads these with the MMU still off. */
	cache_clean(secondary_ttbr, sizeof(secondary_ttbr));
	switch (psci(m, PSCI_CPU_ON, s->hwid, entry, (uint64_t)(uintptr_t)s)) {
	case 0:
		return OK;
	case PSCI_INVALID:
	case PSCI_NOT_PRESENT:
		return E_NOT_FOUND;
	case PSCI_DENIED:
	case PSCI_DISABLED:
		return E_REFUSED;
	}
	return E_IO;
}

uintptr_t
cpu_prepare_user(uintptr_t top)
{
	uint64_t *sp = (uint64_t *)(top - sizeof(struct uregs) - 96);

	for (unsigned i = 0; i < 12; i++)
		sp[i] = 0;
	sp[11] = sign_return(first_user, sp + 12);	/* x30 */
	return (uintptr_t)sp;
}

uintptr_t
cpu_prepare_kernel(uintptr_t top, void (*fn)(void *), void *arg)
{
	uint64_t *sp = (uint64_t *)(top - 96);

	for (unsigned i = 0; i < 12; i++)
		sp[i] = 0;
	sp[0] = (uint64_t)(uintptr_t)fn;		/* x19 */
	sp[1] = (uint64_t)(uintptr_t)arg;		/* x20 */
	sp[11] = sign_return(first_kernel, sp + 12);
	return (uintptr_t)sp;
}

void
cpu_idle(void)
{
	/* WFI wakes for a masked interrupt too, which is then taken in the window. */
	DSB(sy);
	__asm__ volatile("wfi" ::: "memory");
	irq_window();
}

void
cpu_halt(void)
{
	for (;;)
		__asm__ volatile("msr daifset, #15; wfi");
}

void
cpu_stop_others(void)
{
	gic_stop_others();
}

void
cpu_spin_poll(void)
{
}

void
cpu_power_off(const struct machine *m)
{
	(void)psci(m, PSCI_SYSTEM_OFF, 0, 0, 0);
}

void
cpu_reset(const struct machine *m)
{
	(void)psci(m, PSCI_SYSTEM_RESET, 0, 0, 0);
}

bool
cpu_random(uint64_t *out)
{
	uint64_t v = 0, ok = 0;

	if (FIELD_GET(BITS(63, 60), READ_SYS(id_aa64isar0_el1)) == 0)
		return false;
	/* RNDR; the condition flags say whether there was one. */
	__asm__ volatile("mrs %0, S3_3_C2_C4_0; cset %1, ne" : "=r"(v), "=r"(ok) : : "cc");
	*out = v;
	return ok != 0;
}

/* No ports here. */
uint32_t
cpu_pci_read(uint16_t rid UNUSED, uint32_t offset UNUSED, unsigned width UNUSED)
{
	return UINT32_MAX;
}

void
cpu_pci_write(
    uint16_t rid UNUSED, uint32_t offset UNUSED, unsigned width UNUSED, uint32_t value UNUSED)
{
}
