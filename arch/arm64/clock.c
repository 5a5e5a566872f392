/*
 * The generic timer: the virtual counter and its comparator.  The real-time clock, read once.
 * Manual: Arm ARM D12; PL031 (DDI 0224).
 */
#include "kern/md/clock.h"
#include "kern/base/mmio.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"
#include "arch/arm64/sysreg.h"

static uint64_t base, hz;
static uint32_t mult;
static uint8_t shift;
uint32_t clock_intid;		/* for gic.c */

void gic_enable_ppi(uint32_t intid);

enum status
clock_init(const struct machine *m)
{
	hz = READ_SYS(cntfrq_el0) & UINT32_MAX;
	if (hz < 1000000 || !m->timer.virt.present || m->timer.virt.id < 16 ||
	    m->timer.virt.id > 31)
		return E_UNSUPPORTED;
	clock_intid = m->timer.virt.id;
	/* ns = ticks * mult >> shift, with mult in 32 bits. */
	shift = 24;
	while (shift > 0 && (NS_PER_S << shift) / hz > UINT32_MAX)
		shift--;
	mult = (uint32_t)((NS_PER_S << shift) / hz);
	base = cpu_cycles();
	clock_init_cpu();
	log_info("clock: generic timer at %llu kHz", (unsigned long long)(hz / 1000));
	return OK;
}

void
clock_init_cpu(void)
{
	WRITE_SYS(cntv_ctl_el0, 2);
	ISB();
	gic_enable_ppi(clock_intid);
}

uint64_t
clock_now(void)
{
	return mult == 0 ? 0 : (uint64_t)((unsigned __int128)(cpu_cycles() - base) * mult >> shift);
}

void
clock_scale(struct clock_scale *out)
{
	*out = (struct clock_scale){ .base = base, .mult = mult, .shift = shift };
}

void
clock_arm(uint64_t at)
{
	if (at == DEADLINE_NEVER) {
		WRITE_SYS(cntv_ctl_el0, 2);
		return;
	}
	WRITE_SYS(cntv_cval_el0, base + at / NS_PER_S * hz + at % NS_PER_S * hz / NS_PER_S + 1);
	WRITE_SYS(cntv_ctl_el0, 1);
	ISB();
}

void
clock_spin(uint64_t ns)
{
	uint64_t until = clock_now() + ns;

	while (clock_now() < until)
		CPU_RELAX();
}

/* PL031: one register that counts seconds. */
enum status
clock_read_wall(const struct machine *m, uint64_t *seconds)
{
	volatile uint8_t *regs;

	if (m->rtc.kind != RTC_PL031)
		return E_NOT_FOUND;
	regs = mmu_map_device((struct paddr){ m->rtc.base }, 4);
	if (regs == NULL)
		return E_NO_MEMORY;
	*seconds = mmio_read32(regs);
	return OK;
}
