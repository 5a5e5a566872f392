/*
 * Instructions, model-specific registers and descriptor formats of x86-64.
 * Manual: Intel SDM volumes 3 and 4, AMD64 volume 2.
 */
#pragma once

#include "kern/base/bits.h"

enum : uint32_t {
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_EFER = 0xc0000080,
	MSR_STAR = 0xc0000081,
	MSR_LSTAR = 0xc0000082,
	MSR_SFMASK = 0xc0000084,
	MSR_GS_BASE = 0xc0000101,
	MSR_KERNEL_GS_BASE = 0xc0000102,
	MSR_X2APIC = 0x800,
};
enum : uint64_t {
	EFER_SCE = BIT(0),
	EFER_LME = BIT(8),
	EFER_NXE = BIT(11),
	CR0_MP = BIT(1),
	CR0_EM = BIT(2),
	CR0_TS = BIT(3),
	CR0_NE = BIT(5),
	CR0_WP = BIT(16),
	CR0_AM = BIT(18),
	CR4_PSE = BIT(4),
	CR4_PAE = BIT(5),
	CR4_MCE = BIT(6),
	CR4_PGE = BIT(7),
	CR4_UMIP = BIT(11),
	CR4_PCIDE = BIT(17),
	CR4_SMEP = BIT(20),
	CR4_SMAP = BIT(21),
	FLAG_TF = BIT(8),
	FLAG_IF = BIT(9),
	FLAG_DF = BIT(10),
	FLAG_NT = BIT(14),
	FLAG_AC = BIT(18),
	PTE_P = BIT(0),
	PTE_W = BIT(1),
	PTE_U = BIT(2),
	PTE_PWT = BIT(3),
	PTE_PCD = BIT(4),
	PTE_A = BIT(5),
	PTE_D = BIT(6),
	PTE_PS = BIT(7),
	PTE_G = BIT(8),
	PTE_NX = BIT(63),
	PTE_ADDR = BITS(51, 12),
};

/* Selectors.  SYSRET takes SS from STAR + 8 and CS from STAR + 16, which fixes the order. */
enum : uint16_t {
	SEL_KCODE = 0x08,
	SEL_KDATA = 0x10,
	SEL_UDATA = 0x1b,
	SEL_UCODE = 0x23,
	SEL_TSS = 0x28
};

enum : uint8_t {
	VEC_FIRST = 32,
	VEC_LAST = 239,
	VEC_TIMER = 240,
	VEC_IPI = 241,
	VEC_STOP = 242,
	VEC_SPURIOUS = 255
};

static inline uint64_t rdmsr(uint32_t m)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(m));
	return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t m, uint64_t v)
{
	__asm__ volatile("wrmsr" :: "c"(m), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

struct cpuid { uint32_t a, b, c, d; };
static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
	    : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
	    : "a"(leaf), "c"(sub));
	return r;
}

static inline uint8_t
inb(uint16_t p)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p));
	return v;
}
static inline uint16_t
inw(uint16_t p)
{
	uint16_t v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p));
	return v;
}
static inline uint32_t
inl(uint16_t p)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p));
	return v;
}
static inline void
outb(uint16_t p, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(p));
}
static inline void
outw(uint16_t p, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(p));
}
static inline void
outl(uint16_t p, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(p));
}

#define READ_CR(n)	({ uint64_t v_; __asm__ volatile("movq %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v)	__asm__ volatile("movq %0, %%cr" #n :: "r"((uint64_t)(v)) : "memory")

static inline void invlpg(uint64_t va) { __asm__ volatile("invlpg (%0)" :: "r"(va) : "memory"); }

extern bool cpu_smap, cpu_pcid;

/* apic.c, for the other files of this architecture. */
void apic_init_cpu(void);
void apic_eoi(void);
void apic_timer_arm(uint32_t ticks);
void apic_timer_deadline(bool on);
uint32_t apic_timer_left(void);
void apic_send_init_sipi(uint32_t apic_id, uint8_t page);
uint32_t apic_id(void);
void apic_stop_others(void);
void apic_dispatch(unsigned vector);
void tlb_service(void);
void serial_interrupt(void *arg);

/* cpu.c: are there ports for configuration space? */
bool pci_ports_answer(void);
extern const struct chipset_config cpu_chipset;	/* by those ports */
