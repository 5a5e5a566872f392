/*
 * Time from the TSC; timer interrupts from the local APIC.
 *
 * The TSC's rate is measured for 1 ms, three times, against a clock whose rate is known: the ACPI
 * PM timer (3.579545 MHz), else the HPET, which says its own, else the PIT's channel 2.  What CPUID
 * leaf 15h says is taken instead where it agrees to
 * 2 %: it is exact, and some hypervisors copy it from another machine.  A hypervisor may stop us
 *   between two readings: of three
 * measurements the middle one counts.  The APIC timer is measured in the same interval, unless it
 * can compare with the TSC itself (TSC deadline).
 *
 * The real-time clock (cmos.h) is read once, at boot.
 */
#include "kern/md/clock.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/cpu.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"
#include "arch/x86_64/cmos.h"
#include "arch/x86_64/x86.h"

enum : uint64_t { PM_HZ = 3579545, PIT_HZ = 1193182, MEASURE_US = 1000, MEASURES = 3 };

static uint64_t base, tsc_hz, apic_hz;
static uint32_t mult;
static uint8_t shift;
static bool deadline_mode;

/* Ticks of the reference that one measurement lasts, or 0 when the reference does not move. */
static bool
measure_pm(const struct machine *m, uint64_t *tsc, uint64_t *apic)
{
	uint16_t port = (uint16_t)m->timer.pm_timer_port;
	uint32_t mask = m->timer.pm_timer_32bit ? UINT32_MAX : 0xffffff, start, now, spins = 0;
	uint32_t ticks = (uint32_t)(PM_HZ * MEASURE_US / 1000000);
	uint64_t t0;

	if (port == 0)
		return false;
	apic_timer_deadline(false);
	start = inl(port);
	while ((now = inl(port)) == start)	/* begin on an edge */
		if (++spins > 100000)
			return false;
	start = now;
	t0 = cpu_cycles();
	apic_timer_arm(UINT32_MAX);
	do {
		now = inl(port);
	} while (((now - start) & mask) < ticks);
	*tsc = (cpu_cycles() - t0) * PM_HZ / ((now - start) & mask);
	*apic = (uint64_t)(UINT32_MAX - apic_timer_left()) * PM_HZ / ((now - start) & mask);
	apic_timer_arm(0);
	return true;
}

/* HPET [IA-PC HPET 1.0a, 2.3]: a period in femtoseconds, at most 100 ns; a counter of at least 32
 * bits. */
enum : uint32_t {
	HPET_PERIOD = 0x04,
	HPET_CONFIG = 0x10,
	HPET_COUNTER = 0xf0,
	HPET_ON = 1,
	HPET_PERIOD_MAX = 100000000
};

static bool
measure_hpet(const struct machine *m, uint64_t *tsc, uint64_t *apic)
{
	static volatile uint8_t *regs;
	uint32_t period, ticks, start, now, spins = 0;
	uint64_t hz, t0;

	if (regs == NULL && m->timer.hpet != 0)
		regs = mmu_map_device((struct paddr){ m->timer.hpet }, KIB);
	period = regs != NULL ? mmio_read32(regs + HPET_PERIOD) : 0;
	if (period == 0 || period > HPET_PERIOD_MAX)
		return false;
	hz = 1000000000000000 / period;
	ticks = (uint32_t)(hz * MEASURE_US / 1000000);
	mmio_write32(regs + HPET_CONFIG, mmio_read32(regs + HPET_CONFIG) | HPET_ON);
	apic_timer_deadline(false);
	start = mmio_read32(regs + HPET_COUNTER);
	while ((now = mmio_read32(regs + HPET_COUNTER)) == start)
		if (++spins > 100000)
			return false;
	start = now;
	t0 = cpu_cycles();
	apic_timer_arm(UINT32_MAX);
	do {
		now = mmio_read32(regs + HPET_COUNTER);
	} while (now - start < ticks);
	*tsc = (cpu_cycles() - t0) * hz / (now - start);
	*apic = (uint64_t)(UINT32_MAX - apic_timer_left()) * hz / (now - start);
	apic_timer_arm(0);
	return true;
}

static void
measure_pit(uint64_t *tsc, uint64_t *apic)
{
	uint16_t count = (uint16_t)(PIT_HZ * MEASURE_US / 1000000);
	uint64_t t0;
	uint32_t spins = 0;

	apic_timer_deadline(false);
	outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1));	/* gate on, speaker off */
	outb(0x43, 0xb0);			/* channel 2, mode 0 */
	outb(0x42, (uint8_t)count);
	outb(0x42, (uint8_t)(count >> 8));
	t0 = cpu_cycles();
	apic_timer_arm(UINT32_MAX);
	while ((inb(0x61) & 0x20) == 0 && ++spins < 10000000)
		;
	*tsc = (cpu_cycles() - t0) * 1000000 / MEASURE_US;
	*apic = (uint64_t)(UINT32_MAX - apic_timer_left()) * 1000000 / MEASURE_US;
	apic_timer_arm(0);
}

static const char *compared_with;

const char *
clock_compared_with(void)
{
	return compared_with;
}

/* Says against what. */
static const char *
measure(const struct machine *m, uint64_t *tsc, uint64_t *apic)
{
	if (measure_pm(m, tsc, apic))
		return "PM timer";
	if (measure_hpet(m, tsc, apic))
		return "HPET";
	measure_pit(tsc, apic);
	return "PIT";
}

enum status
clock_init(const struct machine *m)
{
	uint64_t tsc[MEASURES], apic[MEASURES], measured;
	const char *source;

	for (unsigned i = 0; i < MEASURES; i++) {
		uint64_t t, a;
		unsigned k = i;

		source = measure(m, &t, &a);
		for (; k > 0 && tsc[k - 1] > t; k--) {
			tsc[k] = tsc[k - 1];
			apic[k] = apic[k - 1];
		}
		tsc[k] = t;
		apic[k] = a;
	}
	compared_with = source;
	tsc_hz = measured = tsc[MEASURES / 2];
	apic_hz = apic[MEASURES / 2];
	if (cpuid(0, 0).a >= 0x15) {
		struct cpuid c = cpuid(0x15, 0);

		uint64_t said = c.a != 0 ? (uint64_t)c.c * c.b / c.a : 0;

		if (said != 0 && said > measured - measured / 50 &&
		    said < measured + measured / 50) {
			tsc_hz = said;
			source = "CPUID";
		} else if (said != 0) {
			log_warn(
			    "clock: CPUID says that the TSC runs at %llu MHz, the %s says %llu MHz: that counts",
			    (unsigned long long)(said / 1000000), source,
			    (unsigned long long)(measured / 1000000));
		}
	}
	if (tsc_hz < 1000000 || apic_hz == 0)
		return E_UNSUPPORTED;
	shift = 24;
	mult = (uint32_t)((NS_PER_S << shift) / tsc_hz);
	base = cpu_cycles();
	deadline_mode = (cpuid(1, 0).c & BIT(24)) != 0;
	clock_init_cpu();
	log_info("clock: TSC at %llu MHz by %s, timer %s", (unsigned long long)(tsc_hz / 1000000),
	    source, deadline_mode ? "TSC deadline" : "local APIC");
	return OK;
}

void
clock_init_cpu(void)
{
	apic_timer_deadline(deadline_mode);
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

/* Whole seconds apart from the rest: neither product passes 64 bits for rates below 18 GHz and 30
 * years. */
static uint64_t
ticks_of(uint64_t ns, uint64_t hz)
{
	return ns / NS_PER_S * hz + ns % NS_PER_S * hz / NS_PER_S;
}

void
clock_arm(uint64_t at)
{
	uint64_t now, ticks;

	if (deadline_mode) {
		wrmsr(MSR_TSC_DEADLINE, at == DEADLINE_NEVER ? 0 :
		    base + ticks_of(at, tsc_hz) + 1);
		return;
	}
	if (at == DEADLINE_NEVER) {
		apic_timer_arm(0);
		return;
	}
	now = clock_now();
	ticks = at <= now ? 1 : ticks_of(at - now, apic_hz) + 1;
	apic_timer_arm(ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks);
}

void
clock_spin(uint64_t ns)
{
	uint64_t until = clock_now() + ns;

	if (mult == 0) { /* before calibration: a port access takes about a microsecond */
		for (uint64_t i = 0; i < ns / NS_PER_US; i++)
			(void)inb(0x80);
		return;
	}
	while (clock_now() < until)
		CPU_RELAX();
}

static uint8_t
cmos_read(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

/* False when an update was announced meanwhile. */
static bool
cmos_read_all(uint8_t century, struct cmos *c)
{
	*c = (struct cmos){
		.second = cmos_read(CMOS_SECOND),
		.minute = cmos_read(CMOS_MINUTE),
		.hour = cmos_read(CMOS_HOUR),
		.day = cmos_read(CMOS_DAY),
		.month = cmos_read(CMOS_MONTH),
		.year = cmos_read(CMOS_YEAR),
		.century = century != 0 ? cmos_read(century) : 0,
		.b = cmos_read(CMOS_B),
	};
	return (cmos_read(CMOS_A) & CMOS_A_UPDATING) == 0;
}

/*
 * An update takes at most 2 ms and is announced 244 us before.  Two readings that agree, neither
 * with an update announced at its end, are no mixture.
 */
enum status
clock_read_wall(const struct machine *m, uint64_t *seconds)
{
	uint64_t deadline = clock_now() + 20 * NS_PER_MS;
	struct cmos a, b;

	if (m->rtc.kind != RTC_CMOS)
		return E_NOT_FOUND;
	while (!cmos_read_all(m->rtc.century, &a) || !cmos_read_all(m->rtc.century, &b) ||
	    memcmp(&a, &b, sizeof(a)) != 0)
		if (clock_now() > deadline)
			return E_CORRUPT;
	return cmos_seconds(&a, seconds) ? OK : E_CORRUPT;
}
