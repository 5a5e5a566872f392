/*
 * CPUs: features, descriptor tables, starting the others by INIT-SIPI, stopping the machine.
 *
 * A CPU that is started begins in real mode at the page that SIPI names.  start.S's trampoline is
 * copied there once; the CR3 that it loads is below 4 GiB, and maps that page where it is as well.
 *
 * Order    the page is whole before the CPU's own word in it, "start", is stored; then INIT and
 *          SIPI.  One that was given up may come late, so the page stays as it is.
 * Locks    ports_lock (RANK_PORTS) over the pair of ports for configuration space; the rest is each
 *          CPU's own, or boot's.
 * Not here interrupts (apic.c), traps (trap.c), page tables (mmu.c).
 * Manual   Intel SDM 3, multiple-processor management.
 */
#include "kern/md/cpu.h"
#include "kern/base/fmt.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/frame.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/mmu.h"
#include "kern/md/trap.h"
#include "kern/panic.h"
#include "kern/pci.h"
#include "arch/x86_64/chipset.h"
#include "arch/x86_64/x86.h"

const uint16_t cpu_elf_machine = 62;		/* EM_X86_64 */

struct PACKED tss {
	uint32_t unused0;
	uint64_t rsp[3];
	uint64_t unused1;
	uint64_t ist[7];
	uint64_t unused2;
	uint16_t unused3, iomap;
};

enum { IST_SIZE = 8192 };

/* First field: md_inline.h's struct md_head. */
struct md_cpu {
	struct md_head head;
	uint64_t gdt[8] ALIGNED(16);
	struct tss tss;
	uint8_t ist[3][IST_SIZE] ALIGNED(16);
};

struct cpu cpus[CPUS_MAX];
uint32_t cpu_count;
static struct md_cpu md_cpus[CPUS_MAX];
static char features[160];
bool cpu_smap, cpu_pcid;

extern const char syscall_fast[], first_user[], first_kernel[];
extern char trampoline[], trampoline_end[], trampoline_cr3[], trampoline_start[];
void trap_init_cpu(void);
void secondary_start(struct cpu *c);

static void
load_tables(struct cpu *c)
{
	struct md_cpu *m = &md_cpus[c->id];
	uint64_t tss = (uint64_t)(uintptr_t)&m->tss;
	struct PACKED {
		uint16_t limit;
		uint64_t base;
	} gdtr = { sizeof(m->gdt) - 1, (uint64_t)(uintptr_t)m->gdt };

	m->head.rsp0 = (char *)&m->tss + offsetof(struct tss, rsp);
	m->tss.iomap = sizeof(m->tss);		/* no port for processes */
	for (unsigned i = 0; i < 3; i++)
		m->tss.ist[i] = (uint64_t)(uintptr_t)(m->ist[i] + IST_SIZE);
	m->gdt[SEL_KCODE / 8] = 0x00af9a000000ffff;
	m->gdt[SEL_KDATA / 8] = 0x00cf92000000ffff;
	m->gdt[SEL_UDATA / 8] = 0x00cff2000000ffff;
	m->gdt[SEL_UCODE / 8] = 0x00affa000000ffff;
	m->gdt[SEL_TSS / 8] = (sizeof(m->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 |
	    (tss >> 24 & 0xff) << 56;
	m->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	__asm__ volatile("lgdt %0" :: "m"(gdtr));
	__asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:"
	    :: "i"((uint64_t)SEL_KCODE) : "rax", "memory");
	__asm__ volatile("ltr %w0" :: "r"((uint16_t)SEL_TSS));
	c->md = m;
	c->self = c;
	wrmsr(MSR_GS_BASE, (uint64_t)(uintptr_t)c);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
}

void
cpu_init(struct cpu *c)
{
	struct cpuid f1 = cpuid(1, 0), f7 = { 0 };
	uint64_t cr4 = CR4_PAE | CR4_PGE | CR4_MCE;
	size_t n;

	if (cpuid(0, 0).a >= 7)
		f7 = cpuid(7, 0);
	load_tables(c);
	trap_init_cpu();
	if ((f7.b & BIT(7)) != 0)
		cr4 |= CR4_SMEP;
	if ((f7.b & BIT(20)) != 0)
		cr4 |= CR4_SMAP;
	if ((f7.c & BIT(2)) != 0)
		cr4 |= CR4_UMIP;
	if ((f1.c & BIT(17)) != 0)
		cr4 |= CR4_PCIDE;	/* the tables loaded now have id 0 in CR3, as it must be */
	WRITE_CR(4, cr4);
	cpu_pcid = (cr4 & CR4_PCIDE) != 0;
	cpu_smap = (cr4 & CR4_SMAP) != 0;
	/* TS and no OSFXSR: floating point and vector instructions trap. */
	WRITE_CR(0, 0x80000001 | CR0_MP | CR0_TS | CR0_EM | CR0_NE | CR0_WP | CR0_AM);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
	wrmsr(MSR_STAR, (uint64_t)SEL_KCODE << 32 | (uint64_t)(SEL_KDATA | 3) << 48);
	wrmsr(MSR_LSTAR, (uint64_t)(uintptr_t)syscall_fast);
	wrmsr(MSR_SFMASK, FLAG_IF | FLAG_DF | FLAG_TF | FLAG_AC | FLAG_NT);
	if (c->id == 0) {
		struct cpuid v = cpuid(0, 0);

		n = fmt_buf(features, sizeof(features), "%.4s%.4s%.4s family %u:%s%s%s%s%s",
		    (char *)&v.b, (char *)&v.d, (char *)&v.c,
		    (unsigned)(f1.a >> 8 & 15) + (unsigned)(f1.a >> 20 & 0xff),
		    (cr4 & CR4_SMEP) != 0 ? " SMEP" : "", (cr4 & CR4_SMAP) != 0 ? " SMAP" : "",
		    (cr4 & CR4_UMIP) != 0 ? " UMIP" : "", cpu_pcid ? " PCID" : "",
		    (f1.c & BIT(21)) != 0 ? " x2APIC" : "");
		(void)n;
	}
}

const char *
cpu_features(void)
{
	return features;
}

uintptr_t
cpu_prepare_user(uintptr_t top)
{
	uintptr_t *sp = (uintptr_t *)(top - sizeof(struct uregs));

	*--sp = (uintptr_t)first_user;
	for (unsigned i = 0; i < 6; i++)
		*--sp = 0;
	return (uintptr_t)sp;
}

uintptr_t
cpu_prepare_kernel(uintptr_t top, void (*fn)(void *), void *arg)
{
	uintptr_t *sp = (uintptr_t *)top;

	/* At fn's entry the stack must be 8 past a multiple of 16, as after a call. */
	*--sp = 0;
	*--sp = 0;
	*--sp = (uintptr_t)first_kernel;
	*--sp = 0;			/* rbp: ends backtraces */
	*--sp = (uintptr_t)fn;		/* rbx */
	*--sp = (uintptr_t)arg;		/* r12 */
	*--sp = 0;
	*--sp = 0;
	*--sp = 0;
	return (uintptr_t)sp;
}

void
cpu_idle(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

void
cpu_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void
cpu_stop_others(void)
{
	apic_stop_others();
}

void
cpu_spin_poll(void)
{
	tlb_service();
}

void
cpu_record(void (*say)(const char *name, uint64_t value))
{
	static const struct { uint32_t leaf; const char *low, *high;
	} leaves[] = {
		{ 0, "CPUID 0 ba", "CPUID 0 dc" },
		{ 1, "CPUID 1 ba", "CPUID 1 dc" },
		{ 7, "CPUID 7 ba", "CPUID 7 dc" },
		{ 0x15, "CPUID 15 ba", "CPUID 15 dc" },
		{ 0x16, "CPUID 16 ba", "CPUID 16 dc" },
		{ 0x40000000, "CPUID 40000000 ba", "CPUID 40000000 dc" },
		{ 0x40000001, "CPUID 40000001 ba", "CPUID 40000001 dc" },
		{ 0x80000001, "CPUID 80000001 ba", "CPUID 80000001 dc" },
		{ 0x80000008, "CPUID 80000008 ba", "CPUID 80000008 dc" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
		struct cpuid c = cpuid(leaves[i].leaf, 0);

		say(leaves[i].low, (uint64_t)c.b << 32 | c.a);
		say(leaves[i].high, (uint64_t)c.d << 32 | c.c);
	}
}

void
secondary_start(struct cpu *c)
{
	cpu_init(c);
	mmu_init_cpu();
	kernel_secondary();
}

enum status
cpu_start(const struct machine *m UNUSED, const struct cpu_start *s)
{
	char *page = frame_ptr((struct paddr){ 0x8000 });
	static bool placed;

	if (s->hwid > 254 || mmu_kernel_cr3 >= 4 * GIB)
		return E_UNSUPPORTED;
	/* Once: a CPU that was given up may still run here. */
	if (!placed) {
		uint64_t cr3 = mmu_trampoline_map();

		if (cr3 == 0)
			return E_NO_MEMORY;
		memcpy(page, trampoline, (size_t)(trampoline_end - trampoline));
		memcpy(page + (trampoline_cr3 - trampoline), &cr3, sizeof(cr3));
		placed = true;
	}
	store_release((uint64_t *)(page + (trampoline_start - trampoline)), (uint64_t)(uintptr_t)s);
	apic_send_init_sipi((uint32_t)s->hwid, 8);
	return OK;
}

/* One byte of fixed hardware; space as in ACPI's addresses: 0 memory, 1 ports. */
static void
put_register(uint8_t space, uint64_t at, uint8_t v)
{
	volatile uint8_t *p = space == 0 ? mmu_map_device((struct paddr){ at }, 1) : NULL;

	if (space == 1)
		outb((uint16_t)at, v);
	else if (p != NULL)
		mmio_write8(p, v);
	clock_spin(10 * NS_PER_MS);
}

const struct chipset_config cpu_chipset = { cpu_pci_read, cpu_pci_write };

void
cpu_power_off(const struct machine *m)
{
	const struct machine_power *p = &m->power;

	if (p->hardware_reduced && p->s5_known && p->sleep_control != 0)
		put_register(p->sleep_space, p->sleep_control,
		    (uint8_t)(p->s5_typa << 2 | 1 << 5)); /* SLP_TYP, SLP_EN */
	if (p->s5_known && p->pm1a_control != 0 &&
	    (!p->pm1a_by_chipset ||
		chipset_decode(&cpu_chipset, p->pm1a_control, pci_functions, pci_count))) {
		outw((uint16_t)p->pm1a_control, (uint16_t)(p->s5_typa << 10 | 1 << 13));
		if (p->pm1b_control != 0)
			outw((uint16_t)p->pm1b_control, (uint16_t)(p->s5_typb << 10 | 1 << 13));
		clock_spin(NS_PER_S);	/* how long it takes is the chipset's affair */
	}
}

void
cpu_reset(const struct machine *m)
{
	struct PACKED { uint16_t limit; uint64_t base; } none = { 0, 0 };

	if (m->power.reset_known)
		put_register(m->power.reset_space, m->power.reset_address, m->power.reset_value);
	outb(0xcf9, 0x02);
	outb(0xcf9, 0x06);
	clock_spin(10 * NS_PER_MS);
	outb(0x64, 0xfe);
	clock_spin(10 * NS_PER_MS);
	__asm__ volatile("lidt %0; int3" :: "m"(none));
}

bool
cpu_random(uint64_t *out)
{
	uint64_t v = 0;
	uint8_t ok = 0;

	if ((cpuid(1, 0).c & BIT(30)) == 0)
		return false;
	for (unsigned i = 0; i < 10 && !ok; i++)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok));
	*out = v;
	return ok != 0;
}

/* ---- Configuration space by ports [PCI 3.0, 3.2.2.3.2] ---- */

enum : uint16_t { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };
enum : uint32_t { CONFIG_ON = BIT(31), CONFIG_END = 256 };

static struct spinlock ports_lock = SPINLOCK_INIT(RANK_PORTS);

enum { LAST_TRIES = 100'000 };

/*
 * At the end of the kernel who holds the lock may be stopped, or be us, and ranks mean nothing any
 * more.  One that did not stop gets a while to let go; then the ports are ours.  True: an ordinary
 * taking.
 */
static bool
ports_take(void) ACQUIRE(ports_lock) NO_THREAD_SAFETY
{
	if (!others_stopped()) {
		spin_lock(&ports_lock);
		return true;
	}
	for (unsigned n = 0; n < LAST_TRIES; n++) {
		if (__atomic_exchange_n(&ports_lock.held, 1, __ATOMIC_ACQUIRE) == 0)
			break;
		CPU_RELAX();
	}
	return false;
}

static void
ports_give(bool ordinary) RELEASE(ports_lock) NO_THREAD_SAFETY
{
	if (ordinary)
		spin_unlock(&ports_lock);
	else
		store_release(&ports_lock.held, 0);
}

bool
pci_ports_answer(void)
{
	outl(CONFIG_ADDRESS, CONFIG_ON);
	return inl(CONFIG_ADDRESS) == CONFIG_ON;
}

uint32_t
cpu_pci_read(uint16_t rid, uint32_t offset, unsigned width)
{
	uint16_t data = (uint16_t)(CONFIG_DATA + (offset & 3));
	uint32_t v;
	bool ordinary;

	if (offset >= CONFIG_END)
		return width == 1 ? UINT8_MAX : width == 2 ? UINT16_MAX : UINT32_MAX;
	ordinary = ports_take();
	outl(CONFIG_ADDRESS, CONFIG_ON | (uint32_t)rid << 8 | (offset & 0xfc));
	v = width == 1 ? inb(data) : width == 2 ? inw(data) : inl(CONFIG_DATA);
	ports_give(ordinary);
	return v;
}

void
cpu_pci_write(uint16_t rid, uint32_t offset, unsigned width, uint32_t v)
{
	uint16_t data = (uint16_t)(CONFIG_DATA + (offset & 3));
	bool ordinary;

	if (offset >= CONFIG_END)
		return;
	ordinary = ports_take();
	outl(CONFIG_ADDRESS, CONFIG_ON | (uint32_t)rid << 8 | (offset & 0xfc));
	if (width == 1)
		outb(data, (uint8_t)v);
	else if (width == 2)
		outw(data, (uint16_t)v);
	else
		outl(CONFIG_DATA, v);
	ports_give(ordinary);
}
