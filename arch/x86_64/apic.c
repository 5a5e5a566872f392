/*
 * Local APICs (x2APIC when the CPU has it, else memory-mapped), I/O APICs, message interrupts.
 *
 * Vectors 32 .. 239 of each CPU lead to the kernel's slots by a table.  Wired interrupts go to the
 * boot CPU; message interrupts are handed out CPU by CPU.  Where a unit remaps interrupts, a
 * message or line carries an index and the unit's entry has the vector (kern/dma/irqmap.h); its
 * vector is free again when the unit has forgotten the entry.  The end-of-interrupt comes after the
 * handler: a level line is quiet by then, and another message of the same vector waits in the
 * request register.
 *
 * Manual: Intel SDM volume 3, chapter 11; 82093AA (I/O APIC).
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/cpu.h"
#include "kern/dma/irqmap.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/cpu.h"
#include "kern/md/irqc.h"
#include "kern/md/mmu.h"
#include "kern/md/trap.h"
#include "kern/main.h"
#include "arch/x86_64/x86.h"

/* Registers, as offsets of the memory-mapped form; x2APIC has them at MSR 0x800 + offset / 16. */
enum : uint32_t {
	APIC_ID = 0x20,
	APIC_VERSION = 0x30,
	APIC_TPR = 0x80,
	APIC_EOI = 0xb0,
	APIC_SVR = 0xf0,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_COUNT = 0x380,
	APIC_TIMER_LEFT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
	LVT_MASKED = 1u << 16,
	LVT_DEADLINE = 2u << 17,
	ICR_PENDING = 1u << 12,
};

enum : uint16_t { FREE = 0, RETIRED = 0xfffe, RESERVED = 0xffff };	/* else slot + 1 */
enum { RETIRED_MAX = 256 };

static bool x2apic;
static volatile uint8_t *lapic;
static uint16_t vectors[CPUS_MAX][256];
static struct spinlock lock = SPINLOCK_INIT(RANK_IRQC);
/* Of a slot whose interrupts a unit remaps. */
static struct route { struct iommu_unit *unit; uint32_t requester, entry; } routes[IRQ_SLOTS];
/* Vectors whose entries may still be in a unit's cache. */
static struct {
	struct iommu_unit *unit;
	struct iommu_ticket ticket;
	uint8_t cpu, vector;
} retired[RETIRED_MAX];        /* (l) */
static uint32_t retired_count; /* (l) */
static struct { volatile uint8_t *regs; uint32_t gsi, count, id; } ioapic[MACHINE_IOAPIC_MAX];
static uint32_t ioapics;
static unsigned next_cpu;

static uint32_t
apic_read(uint32_t reg)
{
	return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : mmio_read32(lapic + reg);
}

static void
apic_write(uint32_t reg, uint32_t v)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, v);
	else
		mmio_write32(lapic + reg, v);
}

static void
send(uint32_t id, uint32_t command)
{
	if (x2apic) {
		smp_full();	/* the MSR form is not serialising */
		wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)id << 32 | command);
		return;
	}
	mmio_write32(lapic + APIC_ICR_HIGH, id << 24);
	mmio_write32(lapic + APIC_ICR, command);
	for (unsigned i = 0; i < 100000 && (mmio_read32(lapic + APIC_ICR) & ICR_PENDING) != 0; i++)
		CPU_RELAX();
}

uint32_t
apic_id(void)
{
	uint32_t v = apic_read(APIC_ID);

	return x2apic ? v : v >> 24;
}

void
apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_timer_arm(uint32_t ticks) { apic_write(APIC_TIMER_COUNT, ticks); }
uint32_t apic_timer_left(void) { return apic_read(APIC_TIMER_LEFT); }

void
apic_timer_deadline(bool on)
{
	apic_write(APIC_TIMER_DIVIDE, 0xb);	/* by 1 */
	apic_write(APIC_LVT_TIMER, VEC_TIMER | (on ? LVT_DEADLINE : 0));
}

void
apic_init_cpu(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE) | BIT(11);

	wrmsr(MSR_APIC_BASE, base);
	if (x2apic)
		wrmsr(MSR_APIC_BASE, base | BIT(10));
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	apic_write(APIC_LVT_LINT1, LVT_MASKED);
	apic_write(APIC_LVT_ERROR, LVT_MASKED);
	apic_write(APIC_SVR, 0x100 | VEC_SPURIOUS);
}

bool irqc_wide_ids(void) { return x2apic; }

const char *
irqc_name(void)
{
	return x2apic ? "x2APIC" : "xAPIC";
}

static uint32_t
io_read(unsigned i, uint32_t reg)
{
	mmio_write32(ioapic[i].regs, reg);
	return mmio_read32(ioapic[i].regs + 0x10);
}

void
irqc_record(void (*say)(const char *name, uint64_t value))
{
	say("APIC version", apic_read(APIC_VERSION));
	for (unsigned i = 0; i < ioapics; i++)
		say("IOAPIC version", io_read(i, 1));
}

static void
io_write(unsigned i, uint32_t reg, uint32_t v)
{
	mmio_write32(ioapic[i].regs, reg);
	mmio_write32(ioapic[i].regs + 0x10, v);
}

enum status
irqc_init(const struct machine *m)
{
	const struct machine_irqc *q = &m->irqc;

	if (q->kind != IRQC_APIC)
		log_warn("interrupts: firmware describes no APIC (MADT); using its usual place");
	x2apic = (cpuid(1, 0).c & BIT(21)) != 0;
	if (!x2apic) {
		lapic = mmu_map_device(
		    (struct paddr){ q->lapic != 0 ? q->lapic : 0xfee00000 }, PAGE_SIZE);
		if (lapic == NULL)
			return E_NO_MEMORY;
	}
	outb(0x21, 0xff);	/* both 8259 masked */
	outb(0xa1, 0xff);
	for (uint32_t i = 0; i < q->ioapic_count; i++) {
		volatile uint8_t *regs =
		    mmu_map_device((struct paddr){ q->ioapic[i].base }, PAGE_SIZE);

		if (regs == NULL)
			continue;
		ioapic[ioapics].regs = regs;
		ioapic[ioapics].gsi = q->ioapic[i].gsi_base;
		ioapic[ioapics].id = q->ioapic[i].id;
		ioapic[ioapics].count = min_u64((io_read(ioapics, 1) >> 16 & 0xff) + 1, 240);
		for (uint32_t r = 0; r < ioapic[ioapics].count; r++)
			io_write(ioapics, 0x10 + 2 * r, LVT_MASKED);
		ioapics++;
	}
	irqc_init_cpu();
	return OK;
}

void
irqc_init_cpu(void)
{
	apic_init_cpu();
}

/* Vectors whose tickets are past are free again.  The unit's lock comes before ours: it is asked
 * without. */
static void
sweep(void)
{
	for (uint32_t i = 0; i < RETIRED_MAX; i++) {
		struct iommu_unit *u = NULL;
		struct iommu_ticket t = { 0 };

		spin_lock(&lock);
		if (i < retired_count) {
			u = retired[i].unit;
			t = retired[i].ticket;
		}
		spin_unlock(&lock);
		if (u == NULL)
			return;
		if (u->ops->ticket_poll(u, t) != OK)
			continue;
		spin_lock(&lock);
		if (i < retired_count && retired[i].unit == u && retired[i].ticket.seq == t.seq) {
			vectors[retired[i].cpu][retired[i].vector] = FREE;
			retired[i] = retired[--retired_count];
			i--;
		}
		spin_unlock(&lock);
	}
}

static enum status
vector_claim(uint32_t slot, unsigned cpu, uint8_t *out)
{
	spin_lock(&lock);
	for (unsigned v = VEC_FIRST; v <= VEC_LAST; v++) {
		if (vectors[cpu][v] == FREE) {
			vectors[cpu][v] = (uint16_t)(slot + 1);
			spin_unlock(&lock);
			*out = (uint8_t)v;
			return OK;
		}
	}
	spin_unlock(&lock);
	return E_NO_MEMORY;
}

static int
find_ioapic(uint32_t gsi)
{
	for (uint32_t i = 0; i < ioapics; i++)
		if (gsi >= ioapic[i].gsi && gsi - ioapic[i].gsi < ioapic[i].count)
			return (int)i;
	return -1;
}

static void
line_mask(const struct machine_line *line, bool masked)
{
	int i = find_ioapic(line->id);
	uint32_t reg, v;

	if (i < 0)
		return;
	reg = 0x10 + 2 * (line->id - ioapic[i].gsi);
	spin_lock(&lock);
	v = io_read((unsigned)i, reg) & ~LVT_MASKED;
	io_write((unsigned)i, reg, v | (masked ? LVT_MASKED : 0));
	spin_unlock(&lock);
}

enum status
irqc_line_bind(const struct machine_line *line, uint32_t slot)
{
	int i = find_ioapic(line->id);
	uint8_t vector;
	uint32_t reg;
	struct irqmap_message m;
	struct route *r = &routes[slot];
	uint32_t high, low;
	enum status s;

	if (i < 0)
		return E_NOT_FOUND;
	s = vector_claim(slot, 0, &vector);
	if (s != OK)
		return s;
	high = (uint32_t)cpus[0].hwid << 24;
	low = vector;
	r->unit = irqmap_of_ioapic(the_machine, ioapic[i].id, &r->requester);
	if (r->unit != NULL) {
		s = r->unit->irqmap->open(
		    r->unit, r->requester, (uint32_t)cpus[0].hwid, vector, &r->entry, &m);
		if (s != OK)
			return s; /* the vector stays taken: lines are bound once, at boot */
		/* The entry's bits are where a message has them: address 19:4, and bit 2. */
		high = (uint32_t)(m.address >> 4) << 16;
		low = m.line | (uint32_t)(m.address >> 2 & 1) << 11;
	}
	reg = 0x10 + 2 * (line->id - ioapic[i].gsi);
	spin_lock(&lock);
	io_write((unsigned)i, reg + 1, high);
	io_write((unsigned)i, reg,
	    low | LVT_MASKED | (line->level ? 1u << 15 : 0) | (line->active_low ? 1u << 13 : 0));
	spin_unlock(&lock);
	return OK;
}

void irqc_line_mask(const struct machine_line *line) { line_mask(line, true); }
void irqc_line_unmask(const struct machine_line *line) { line_mask(line, false); }

enum status
irqc_msi_open(struct irqc_source *s, uint16_t segment, uint32_t requester, uint32_t count)
{
	*s = (struct irqc_source){ .segment = segment, .requester = requester, .count = count };
	return count == 0 ? E_INVALID : OK;
}

enum status
irqc_msi_bind(
    struct irqc_source *s, uint32_t index, uint32_t slot, unsigned cpu, struct irqc_message *out)
{
	struct route *r = &routes[slot];
	struct irqmap_message m;
	uint8_t vector;
	enum status e;

	if (index >= s->count)
		return E_RANGE;
	sweep();
	if (cpu >= cpu_count)
		cpu = __atomic_fetch_add(&next_cpu, 1, __ATOMIC_RELAXED) % cpu_count;
	e = vector_claim(slot, cpu, &vector);
	for (unsigned n = 1; n < cpu_count && e != OK; n++) {
		cpu = (cpu + 1) % cpu_count;
		e = vector_claim(slot, cpu, &vector);
	}
	if (e != OK)
		return e;
	r->unit = s->requester == IRQC_OWN ?
	    NULL :
	    irqmap_of_function(s->segment, (uint16_t)s->requester, &r->requester);
	if (r->unit == NULL) {
		out->address = 0xfee00000 | cpus[cpu].hwid << 12;
		out->data = vector;
		return OK;
	}
	e = r->unit->irqmap->open(
	    r->unit, r->requester, (uint32_t)cpus[cpu].hwid, vector, &r->entry, &m);
	if (e != OK) {
		store_release(&vectors[cpu][vector], FREE);
		r->unit = NULL;
		return e;
	}
	out->address = m.address;
	out->data = m.data;
	return OK;
}

/* A vector is free at once, or when its unit has forgotten the entry that leads to it.  No room to
 * remember that: never. */
static void
vector_release(unsigned cpu, unsigned vector, struct iommu_unit *unit, struct iommu_ticket t)
{
	if (unit == NULL) {
		vectors[cpu][vector] = FREE;
	} else if (retired_count == RETIRED_MAX) {
		vectors[cpu][vector] = RESERVED;
	} else {
		vectors[cpu][vector] = RETIRED;
		retired[retired_count].unit = unit;
		retired[retired_count].ticket = t;
		retired[retired_count].cpu = (uint8_t)cpu;
		retired[retired_count++].vector = (uint8_t)vector;
	}
}

/* The vector's own table entry is masked by now; what was under way lands on a slot without a
 * handler. */
void
irqc_msi_unbind(struct irqc_source *s UNUSED, uint32_t index UNUSED, uint32_t slot)
{
	struct route *r = &routes[slot];
	struct iommu_unit *unit = r->unit;
	struct iommu_ticket t = { 0 };

	if (unit != NULL)
		t = unit->irqmap->close(unit, r->requester, r->entry);
	r->unit = NULL;
	spin_lock(&lock);
	for (unsigned c = 0; c < cpu_count; c++)
		for (unsigned v = VEC_FIRST; v <= VEC_LAST; v++)
			if (vectors[c][v] == slot + 1)
				vector_release(c, v, unit, t);
	spin_unlock(&lock);
}

void
irqc_msi_close(struct irqc_source *s)
{
	s->count = 0;
}

uint32_t
irqc_msi_free(void)
{
	uint32_t n = 0;

	spin_lock(&lock);
	for (unsigned c = 0; c < cpu_count; c++)
		for (unsigned v = VEC_FIRST; v <= VEC_LAST; v++)
			n += vectors[c][v] == FREE;
	spin_unlock(&lock);
	return n;
}

void
irqc_ipi(unsigned cpu)
{
	send((uint32_t)cpus[cpu].hwid, VEC_IPI);
}

void
apic_stop_others(void)
{
	if (!x2apic && lapic == NULL)
		return;
	for (unsigned c = 0; c < cpu_count; c++)
		if (c != this_cpu()->id)
			send((uint32_t)cpus[c].hwid, VEC_STOP);
}

void
apic_send_init_sipi(uint32_t id, uint8_t page)
{
	send(id, 0x4500);		/* INIT, assert */
	clock_spin(10 * NS_PER_MS);
	for (unsigned i = 0; i < 2; i++) {
		send(id, 0x4600u | page);
		clock_spin(200 * NS_PER_US);
	}
}

/* Called by trap.c with the vector. */
void
apic_dispatch(unsigned vector)
{
	struct cpu *c = this_cpu();
	uint16_t slot;

	switch (vector) {
	case VEC_TIMER:
		apic_eoi();
		sched_timer();
		return;
	case VEC_IPI:
		apic_eoi();
		tlb_service();
		sched_ipi();
		return;
	case VEC_STOP:
		cpu_halt();
	case VEC_SPURIOUS:
		return;
	}
	slot = vectors[c->id][vector];
	if (slot == FREE || slot >= RETIRED) {
		apic_eoi();
		return;
	}
	irq_dispatch(slot - 1u);
	apic_eoi();
}
