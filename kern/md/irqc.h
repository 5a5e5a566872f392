/*
 * Interrupt controllers: wired lines and message interrupts, both delivered to the
 * kernel as a "vector number" of the kernel's own: irq_dispatch(slot), called on the
 * CPU that took the interrupt, with interrupts off, after the controller was told to
 * hold a level line masked.  Slots are handed out by kern/irq.c, 0 .. IRQ_SLOTS - 1.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine;
struct machine_line;

enum { IRQ_SLOTS = 1024 };

/* Processors are named by 32-bit ids in messages and entries (x2APIC). */
bool irqc_wide_ids(void);

/* Kernel's side (kern/irq.c). */
void irq_dispatch(uint32_t slot);

/*
 * Boot CPU.  E_UNSUPPORTED with a log line that names what is missing; the kernel then goes
 * on without what depends on it as far as it can.
 */
NODISCARD enum status irqc_init(const struct machine *m);
void irqc_init_cpu(void);

/*
 * Routes a wired interrupt to a slot, on the boot CPU, masked; unmask to start.  Level lines are
 * masked by the controller code before irq_dispatch and wait for irqc_line_unmask.
 */
NODISCARD enum status irqc_line_bind(const struct machine_line *line, uint32_t slot);
void irqc_line_mask(const struct machine_line *line);
void irqc_line_unmask(const struct machine_line *line);

/* What a function must be programmed with: kept by the kernel, never shown to a process (D9). */
struct irqc_message {
	uint64_t address; /* as the device emits it; behind an IOMMU on Arm this is doorbell IOVA +
			     offset, filled by the caller */
	uint32_t data;
};

/*
 * Message interrupts of one function.  open reserves room for count vectors of the
 * requester (its ITS device table entry and interrupt translation table); bind makes vector
 * "index" arrive as slot on a CPU; close tears all routes down, and waits (bounded) until none
 * can arrive.  E_UNSUPPORTED: no message interrupts on this machine; E_NO_MEMORY; E_RANGE:
 * more than the controller can tell apart.
 *
 * doorbell: the physical page that the device must reach through its IOMMU domain, and the
 * register's offset in it; page.v == 0 where interrupts do not pass the IOMMU as memory (x86).
 */
enum : uint32_t {
	IRQC_OWN = UINT32_MAX
}; /* requester: a unit of the kernel's, whose messages nobody checks */
struct irqc_source {
	uint16_t segment;
	uint32_t requester;	/* bus << 8 | device << 3 | function */
	uint32_t device_id;	/* by machine.msi_map; ITS only */
	uint32_t its;		/* index in machine.irqc.its[]; ITS only */
	uint32_t count;		/* vectors reserved */
	struct paddr doorbell;
	uint32_t doorbell_offset;
	void *priv;
	uint32_t base;
};

NODISCARD enum status
irqc_msi_open(struct irqc_source *s, uint16_t segment, uint32_t requester, uint32_t count);
NODISCARD enum status irqc_msi_bind(
    struct irqc_source *s, uint32_t index, uint32_t slot, unsigned cpu, struct irqc_message *out);
void irqc_msi_unbind(struct irqc_source *s, uint32_t index, uint32_t slot);
void irqc_msi_close(struct irqc_source *s);

/* How many more can be bound, on whatever CPU: bind goes to another when the one that was asked for
 * has none left. */
uint32_t irqc_msi_free(void);

/* Interprocessor interrupts; the handler calls sched_ipi() on the target with interrupts off. */
void irqc_ipi(unsigned cpu);

/* Registers that tell what kind it is, one call each. */
void irqc_record(void (*say)(const char *name, uint64_t value));

/* "GICv3 + ITS", "x2APIC": for the log. */
const char *irqc_name(void);
