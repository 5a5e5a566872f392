/*
 * The generic timer: the virtual counter and its comparator.  The real-time clock.
 *
 * The counter's rate is what firmware wrote into CNTFRQ_EL0, or into the device tree when that
 * register is wrong; nothing makes it true.  A PL031 is a second clock: the worker looks at it now
 * and then during the first minute (clock_check.h).  A device tree names it.  ACPI does not, but
 * UEFI firmware lists the devices that its runtime code keeps, one of which it then is: which one,
 * its identification registers tell (primecell.h).
 *
 * If the two disagree, that is said, and nothing else happens: it is not known which of them is
 * right.  Time-outs are the timer's, so one that is fast ends waits early, and what could not be
 * confirmed is quarantined; one that is slow waits longer.
 *
 * Manual: Arm ARM D12; PL031 (DDI 0224).
 */
#include "kern/md/clock.h"
#include "arch/arm64/clock_check.h"
#include "arch/arm64/primecell.h"
#include "kern/base/mmio.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"
#include "kern/worker.h"
#include "arch/arm64/sysreg.h"

static uint64_t base, hz;
static uint32_t mult;
static uint8_t shift;
uint32_t clock_intid;		/* for gic.c */

void gic_enable_ppi(uint32_t intid);

enum status
clock_init(const struct machine *m)
{
	hz = m->timer.frequency_hz != 0 ? m->timer.frequency_hz :
					  READ_SYS(cntfrq_el0) & UINT32_MAX;
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
	log_info("clock: generic timer at %llu kHz%s", (unsigned long long)(hz / 1000),
	    m->timer.frequency_hz != 0 ? ", says the device tree" : "");
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
static volatile uint8_t *rtc;
static struct clock_check check;

static uint64_t
check_step(struct work *w UNUSED)
{
	enum clock_said said;
	uint64_t next = clock_check_look(&check, clock_now(), mmio_read32(rtc), &said);

	if (said == CLOCK_AGREES)
		log_debug("clock: generic timer and real-time clock agree: %u seconds", check.s);
	else if (said != CLOCK_NOTHING)
		log_warn(
		    "clock: generic timer and real-time clock disagree: %llu ms by the timer, %u s by the other: time-outs may be too %s",
		    (unsigned long long)(check.ns / NS_PER_MS), check.s,
		    said == CLOCK_FAST ? "short" : "long");
	return next == CLOCK_CHECK_DONE ? WORK_DONE : next;
}

const char *
clock_compared_with(void)
{
	return rtc != NULL ? "PL031" : NULL;
}

/*
 * Among the devices that firmware keeps for its runtime code; 0: none is one.  The command-line
 * word rtc=named has none of them looked at: for a machine that stands still there.
 */
static uint64_t
find_rtc(const struct machine *m)
{
	if (machine_word(m, "rtc=named"))
		return 0;
	for (uint32_t i = 0; i < m->firmware_device_count; i++) {
		volatile uint8_t *page;

		/* Where the machine stands still, this is the last line. */
		log_info("clock: reading what firmware keeps at 0x%llx (rtc=named: not read)",
		    (unsigned long long)m->firmware_device[i]);
		page = mmu_window((struct paddr){ m->firmware_device[i] });
		if (page != NULL && primecell_is(page, PRIMECELL_RTC))
			return m->firmware_device[i];
	}
	return 0;
}

enum status
clock_read_wall(const struct machine *m, uint64_t *seconds)
{
	static struct work check_work = { .step = check_step };

	uint64_t at = m->rtc.kind == RTC_PL031 ? m->rtc.base : find_rtc(m);

	if (at == 0) {
		log_info("clock: no other clock: the generic timer's rate is not compared");
		return E_NOT_FOUND;
	}
	rtc = mmu_map_device((struct paddr){ at }, 4);
	if (rtc == NULL)
		return E_NO_MEMORY;
	*seconds = mmio_read32(rtc);
	clock_check_start(&check, clock_now(), (uint32_t)*seconds);
	worker_add(&check_work);
	return OK;
}
