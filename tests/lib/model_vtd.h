/*
 * A software VT-d unit in legacy mode, written from the manual by way of specs/vtd.md: stricter
 * than QEMU and as lazy as hardware may be.
 *
 *   - Registers: widths, one bit of GCMD at a time, no command before the last one is acknowledged,
 *     order of TE, SRTP, QIE, PMEN.  What firmware left on, it does.
 *   - Descriptors are read from memory as the device sees it, one after another, as slowly as the
 *     test wants.  Invalidations have no effect before the WAIT behind them, and then happen in
 *     reverse order.
 *   - Contexts, upper-level entries and translations are cached for ever: nothing leaves but by
 *     invalidation.  Translations are found by domain id, and also by source id alone (as QEMU
 *     does).
 *   - CAP.CM: absent entries are cached too.  CAP.RWBF: stores are not seen before a write-buffer
 *     flush.  ECAP.C = 0: see fake_kernel.h.
 *   - A "watched" requester tries its addresses whenever anything happens: after every store,
 *     before and after every effect of a descriptor.  So what can go stale does; and what it sees
 *     must be blocked or whole.
 *
 *   - Interrupt entries are cached for ever too (absent ones with CAP.CM); a message in the old
 *     format is blocked when remapping is on and the old format off, as the emulator does not
 *     (VTD-104).
 *
 * What software does wrong is recorded as a violation, in words with the rule's id.
 */
#pragma once

#include "kern/base/types.h"

struct model_vtd;

/* CAP and ECAP as QEMU 10.0 shows them (VTD-101). */
enum : uint64_t { MODEL_VTD_CAP = 0x00d2'008c'222f'0606, MODEL_VTD_ECAP = 0xf0'0f4a };

struct model_vtd_setup {
	uint64_t base;			/* of registers; 0: 0xfed90000 */
	uint64_t cap, ecap;		/* 0: the above */
	uint8_t host_width;		/* 0: 48 */
	bool gone;			/* reads as all ones */
	bool old_format; /* messages in the old format pass until they are switched off (CFIS) */
	bool firmware;			/* translates, everything passes */
	bool firmware_queue, firmware_queue_stuck, firmware_remapping, firmware_scalable,
	    protected_regions;
	uint32_t ack_delay;		/* reads of GSTS until a command acts */
	uint32_t lag; /* ticks or register reads that one descriptor takes; 0: none */
};

struct model_vtd *model_vtd_create(const struct model_vtd_setup *setup);
void model_vtd_destroy(struct model_vtd *m);

/* One access of a device. */
struct model_vtd_dma {
	bool done;			/* memory was reached, at ... */
	uint64_t pa;
	bool bypass;			/* ... untranslated */
	bool interrupt;			/* it was a message interrupt */
	uint8_t reason;			/* of the fault, if not 0 */
};
struct model_vtd_dma model_vtd_dma(struct model_vtd *m, uint32_t sid, uint64_t iova, bool write);

/* A message interrupt of a requester. */
struct model_vtd_irq {
	bool delivered;			/* as ... */
	uint8_t vector;
	uint32_t processor;
	bool remapped;			/* by an entry, not as the sender says */
	uint8_t reason;			/* of the fault, if not 0 */
};
struct model_vtd_irq
model_vtd_send(struct model_vtd *m, uint32_t sid, uint64_t address, uint32_t data);
uint32_t model_vtd_entries(struct model_vtd *m); /* present in the interrupt table, as stored */

/* A device that tries this address all the time, and records no faults. */
void model_vtd_watch(struct model_vtd *m, uint32_t sid, uint64_t iova);

/* Whether a cached translation, or what a watched requester finds, leads into this page. */
bool model_vtd_reaches(struct model_vtd *m, uint64_t page);

/* Faults of the hardware. */
void model_vtd_hang(struct model_vtd *m, bool hang);		/* the queue does not advance */
void model_vtd_refuse(
    struct model_vtd *m, uint8_t type, uint32_t times); /* IQE for our legal descriptor */
void model_vtd_drop_waits(struct model_vtd *m); /* ITE at the next WAIT; those queued are dropped */
void
model_vtd_ack_never(struct model_vtd *m, uint32_t bits); /* these commands are never acknowledged */
void model_vtd_no_message(struct model_vtd *m);			/* irq_claim_message refuses */
void model_vtd_message(struct model_vtd *m, uint64_t address);	/* what it hands out */
void model_vtd_die(struct model_vtd *m);			/* from now on all ones */
void model_vtd_status_word(struct model_vtd *m, uint32_t v);	/* something overwrites it */

uint32_t model_vtd_violations(const struct model_vtd *m);
const char *model_vtd_violation(const struct model_vtd *m);	/* the first, or "" */

/* For looking. */
uint32_t model_vtd_status(const struct model_vtd *m);		/* GSTS */
uint32_t
model_vtd_windows(const struct model_vtd *m); /* watched accesses that passed untranslated */
uint64_t model_vtd_root(const struct model_vtd *m);		/* in force */
uint32_t model_vtd_te_off(const struct model_vtd *m); /* times that translation went off */
uint32_t
model_vtd_executed(struct model_vtd *m, uint8_t type); /* descriptors since the last call */
uint32_t model_vtd_doorbells(struct model_vtd *m);		/* IQT writes since the last call */
uint32_t model_vtd_interrupts(struct model_vtd *m); /* fault events since the last call */
void
model_vtd_context(struct model_vtd *m, uint32_t sid, uint64_t out[2]); /* from memory, as stored */
uint64_t model_vtd_descriptor(
    struct model_vtd *m, uint32_t index, unsigned half); /* of the queue, as stored */
