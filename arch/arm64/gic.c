/*
 * GICv3: distributor, redistributors, CPU interface by system registers.  Message interrupts are in
 * its.c.
 *
 * INTIDs: 0..15 between CPUs, 16..31 private (timer), 32.. shared lines, 8192.. LPIs.  Shared lines
 * go to the boot CPU.  Manual: Arm IHI 0069 (BOOT-40..44).
 */
#include "arch/arm64/gic.h"
#include "arch/arm64/lpi.h"
#include "kern/base/mmio.h"
#include "kern/cpu.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/cpu.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/md/trap.h"
#include "arch/arm64/sysreg.h"

enum : uint32_t {
	GICD_CTLR = 0x0000,
	GICD_TYPER = 0x0004,
	GICD_IIDR = 0x0008,
	GICD_PIDR2 = 0xffe8,
	GICD_IGROUPR = 0x0080,
	GICD_ISENABLER = 0x0100,
	GICD_ICENABLER = 0x0180,
	GICD_IPRIORITYR = 0x0400,
	GICD_ICFGR = 0x0c00,
	GICD_IROUTER = 0x6000,
	CTLR_ARE_NS = 1u << 4,
	CTLR_GRP1NS = 1u << 1,
	CTLR_RWP = 1u << 31,
	GICR_TYPER = 0x0008,
	GICR_WAKER = 0x0014,
	GICR_SGI = 0x10000,
	WAKER_SLEEP = 2,
	WAKER_ASLEEP = 4,
	SGI_IPI = 0,
	SGI_STOP = 1,
	SPURIOUS = 1020,
};

#define ICC_SRE		S3_0_C12_C12_5
#define ICC_PMR		S3_0_C4_C6_0
#define ICC_IGRPEN1	S3_0_C12_C12_7
#define ICC_IAR1	S3_0_C12_C12_0
#define ICC_EOIR1	S3_0_C12_C12_1
#define ICC_SGI1R	S3_0_C12_C11_5
#define ICC_CTLR	S3_0_C12_C12_4
#define ICC_BPR1	S3_0_C12_C12_3
#define READ_ICC_(n)	READ_SYS(n)
#define WRITE_ICC_(n, v) WRITE_SYS(n, v)
#define READ_ICC(n)	READ_ICC_(n)
#define WRITE_ICC(n, v)	WRITE_ICC_(n, v)

static volatile uint8_t *gicd;
static const struct machine *mach;
static uint32_t lines;			/* INTIDs of the distributor */
static uint16_t slot_of[1020];		/* slot + 1 */
static uint16_t level_line[1020];
static struct spinlock lock = SPINLOCK_INIT(RANK_IRQC);
volatile uint8_t *gic_redistributor[CPUS_MAX];

extern uint32_t clock_intid;
void gic_interrupt(void);
void gic_enable_ppi(uint32_t intid);
void gic_stop_others(void);

static void
wait_rwp(volatile uint8_t *reg, uint32_t bit)
{
	for (unsigned i = 0; i < 1000000 && (mmio_read32(reg) & bit) != 0; i++)
		CPU_RELAX();
}

/* This CPU's redistributor: the frame whose affinity is ours. */
static volatile uint8_t *
find_redistributor(void)
{
	uint64_t mpidr = READ_SYS(mpidr_el1);
	uint32_t affinity = (uint32_t)((mpidr >> 8 & 0xff000000) | (mpidr & 0xffffff));

	for (uint32_t r = 0; r < mach->irqc.gicr_count; r++) {
		static volatile uint8_t *map[MACHINE_GICR_MAX];
		const struct machine_region *g = &mach->irqc.gicr[r];
		uint64_t at = 0;

		if (map[r] == NULL)
			map[r] = mmu_map_device((struct paddr){ g->base }, g->len);
		while (map[r] != NULL && at + 128 * KIB <= g->len) {
			uint64_t typer = mmio_read64(map[r] + at + GICR_TYPER);

			if ((uint32_t)(typer >> 32) == affinity)
				return map[r] + at;
			if ((typer & BIT(4)) != 0)
				break;		/* the last of this region */
			at += mach->irqc.gicr_stride != 0 ? mach->irqc.gicr_stride :
			    (typer & BIT(1)) != 0 ? 256 * KIB : 128 * KIB;
		}
	}
	return NULL;
}

enum status
irqc_init(const struct machine *m)
{
	mach = m;
	if (m->irqc.kind != IRQC_GICV3) {
		log_error("interrupts: %s: GICv3 is needed",
		    m->irqc.kind == IRQC_GICV2 ?
			"a GICv2 cannot tell message interrupts of devices apart" :
			"no controller in firmware's tables");
		return E_UNSUPPORTED;
	}
	gicd = mmu_map_device((struct paddr){ m->irqc.gicd }, 64 * KIB);
	if (gicd == NULL)
		return E_NO_MEMORY;
	lines = (uint32_t)min_u64(32 * ((mmio_read32(gicd + GICD_TYPER) & 31) + 1), 1020);
	mmio_write32(gicd + GICD_CTLR, 0);
	wait_rwp(gicd + GICD_CTLR, CTLR_RWP);
	for (uint32_t i = 32; i < lines; i += 32) {
		mmio_write32(gicd + GICD_ICENABLER + i / 8, UINT32_MAX);
		mmio_write32(gicd + GICD_IGROUPR + i / 8, UINT32_MAX);
	}
	for (uint32_t i = 32; i < lines; i += 4)
		mmio_write32(gicd + GICD_IPRIORITYR + i, 0xa0a0a0a0);
	wait_rwp(gicd + GICD_CTLR, CTLR_RWP);
	mmio_write32(gicd + GICD_CTLR, CTLR_ARE_NS | CTLR_GRP1NS);
	wait_rwp(gicd + GICD_CTLR, CTLR_RWP);
	irqc_init_cpu();
	if (gic_redistributor[0] == NULL)
		return E_UNSUPPORTED;
	its_init(m, lpi_count(mmio_read32(gicd + GICD_TYPER)));
	return OK;
}

void
irqc_init_cpu(void)
{
	volatile uint8_t *r = find_redistributor(), *sgi;
	struct cpu *c = this_cpu();

	if (r == NULL) {
		log_error("cpu %u: no redistributor", c->id);
		return;
	}
	sgi = r + GICR_SGI;
	mmio_write32(r + GICR_WAKER, mmio_read32(r + GICR_WAKER) & ~(uint32_t)WAKER_SLEEP);
	wait_rwp(r + GICR_WAKER, WAKER_ASLEEP);
	mmio_write32(sgi + GICD_ICENABLER, UINT32_MAX);
	mmio_write32(sgi + GICD_IGROUPR, UINT32_MAX);
	for (uint32_t i = 0; i < 32; i += 4)
		mmio_write32(sgi + GICD_IPRIORITYR + i, 0xa0a0a0a0);
	mmio_write32(sgi + GICD_ISENABLER, 1u << SGI_IPI | 1u << SGI_STOP);
	wait_rwp(r, 8);
	WRITE_ICC(ICC_SRE, READ_ICC(ICC_SRE) | 1);
	ISB();
	WRITE_ICC(ICC_PMR, 0xff);
	WRITE_ICC(ICC_BPR1, 0);
	WRITE_ICC(ICC_CTLR, 0);
	WRITE_ICC(ICC_IGRPEN1, 1);
	ISB();
	gic_redistributor[c->id] = r;
	if (c->id != 0)
		its_init_cpu(c->id);
}

bool irqc_wide_ids(void) { return false; }

const char *
irqc_name(void)
{
	return its_present() ? "GICv3 + ITS" : "GICv3, no ITS: no message interrupts";
}

void
irqc_record(void (*say)(const char *name, uint64_t value))
{
	say("GICD_TYPER", mmio_read32(gicd + GICD_TYPER));
	say("GICD_IIDR", mmio_read32(gicd + GICD_IIDR));
	say("GICD_PIDR2", mmio_read32(gicd + GICD_PIDR2));
	say("GICR_TYPER", mmio_read64(gic_redistributor[0] + GICR_TYPER));
	its_record(say);
}

void
gic_enable_ppi(uint32_t intid)
{
	volatile uint8_t *r = gic_redistributor[this_cpu()->id];

	if (r != NULL)
		mmio_write32(r + GICR_SGI + GICD_ISENABLER, 1u << intid);
}

enum status
irqc_line_bind(const struct machine_line *line, uint32_t slot)
{
	uint32_t id = line->id, v;

	if (gicd == NULL || id < 32 || id >= lines)
		return E_RANGE;
	spin_lock(&lock);
	slot_of[id] = (uint16_t)(slot + 1);
	level_line[id] = line->level;
	v = mmio_read32(gicd + GICD_ICFGR + id / 16 * 4) & ~(2u << id % 16 * 2);
	mmio_write32(gicd + GICD_ICFGR + id / 16 * 4, v | (line->level ? 0 : 2u << id % 16 * 2));
	mmio_write64(
	    gicd + GICD_IROUTER + 8 * id, READ_SYS(mpidr_el1) & (BITS(39, 32) | BITS(23, 0)));
	spin_unlock(&lock);
	return OK;
}

void
irqc_line_mask(const struct machine_line *line)
{
	mmio_write32(gicd + GICD_ICENABLER + line->id / 32 * 4, 1u << line->id % 32);
	wait_rwp(gicd + GICD_CTLR, CTLR_RWP);
}

void
irqc_line_unmask(const struct machine_line *line)
{
	mmio_write32(gicd + GICD_ISENABLER + line->id / 32 * 4, 1u << line->id % 32);
}

void
irqc_ipi(unsigned cpu)
{
	uint64_t a = cpus[cpu].hwid;

	DSB(ishst);
	WRITE_ICC(ICC_SGI1R,
	    (a >> 32 & 0xff) << 48 | (a >> 16 & 0xff) << 32 | (a >> 8 & 0xff) << 16 |
		(uint64_t)SGI_IPI << 24 | 1ull << (a & 15) | (a >> 4 & 15) << 44);
	ISB();
}

void
gic_stop_others(void)
{
	if (gicd == NULL)
		return;
	/* IRM: all but this one. */
	WRITE_ICC(ICC_SGI1R, BIT(40) | (uint64_t)SGI_STOP << 24);
	ISB();
}

void
gic_interrupt(void)
{
	for (;;) {
		uint32_t id = (uint32_t)READ_ICC(ICC_IAR1) & 0xffffff;

		if (id >= SPURIOUS && id < LPI_FIRST)
			return;
		DSB(sy);
		if (id == clock_intid) {
			clock_arm(DEADLINE_NEVER);	/* the level falls */
			sched_timer();
		} else if (id == SGI_IPI) {
			sched_ipi();
		} else if (id == SGI_STOP) {
			WRITE_ICC(ICC_EOIR1, id);
			cpu_halt();
		} else if (id >= LPI_FIRST) {
			its_dispatch(id);
		} else if (id >= 32 && slot_of[id] != 0) {
			if (level_line[id] != 0)
				mmio_write32(gicd + GICD_ICENABLER + id / 32 * 4, 1u << id % 32);
			irq_dispatch(slot_of[id] - 1u);
		}
		WRITE_ICC(ICC_EOIR1, id);
		ISB();
	}
}
