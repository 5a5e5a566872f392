/*
 * Interrupts inside the kernel: slots, the kernel's own handlers, and interrupt objects of
 * drivers.
 *
 * A slot is what irqc.h delivers.  The kernel's own users (console, IOMMU units) claim a line or
 * a message with a function, which is called on the CPU that took the interrupt, with interrupts
 * off and no lock held, and must be short.  Drivers get irq objects: slot to notification.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine_line;
struct irqc_message;

typedef void irq_fn(void *arg);

/* A free slot with a handler; E_NO_MEMORY when all are used.  Release waits until no CPU runs the
 * handler. */
NODISCARD enum status irq_slot_claim(irq_fn *fn, void *arg, const char *name, uint32_t *slot);
void irq_slot_release(uint32_t slot);

/* How many message interrupts there can be beside those that are: slots, and the controller's
 * numbers. */
uint32_t irq_vectors_free(void);

/* For ever: a wired line, bound and unmasked.  A level line is unmasked again after fn returned. */
NODISCARD enum status
irq_claim_line(const struct machine_line *line, irq_fn *fn, void *arg, const char *name);

/* For ever: a message interrupt of the kernel's own on the boot CPU (fault event of a VT-d unit).
 */
NODISCARD enum status
irq_claim_message(irq_fn *fn, void *arg, const char *name, struct irqc_message *out);
