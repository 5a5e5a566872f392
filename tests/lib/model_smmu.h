/*
 * A software SMMUv3, written from the manual by way of specs/smmuv3.md: stricter than QEMU and as
 * lazy as hardware may be.
 *
 *   - Registers: offsets by page, widths, what may change when; writes to CR0, IRQ_CTRL and GBPA
 *     act late.
 *   - Commands are read from memory as the device sees it, executed as slowly as the test wants,
 *     and have no effect before the CMD_SYNC that covers them; then in reverse order, as it may be.
 *   - Configuration, walks and translations are cached for ever: nothing leaves but by
 *     invalidation.
 *   - A "watched" stream is a device that tries its addresses whenever anything happens: after
 *     every store, before and after every effect of a command.  So what can go stale does.
 *   - For each word of a watched stream's entry the model keeps all values that a fetch may have
 *     seen since the last CFGI and sync, and judges every mixture of them: abort, or whole.
 *
 * What software does wrong is recorded as a violation, in words with the rule's id.
 */
#pragma once

#include "kern/base/types.h"

struct model_smmu;

struct model_smmu_setup {
	uint64_t base;			/* of registers; 0: 0x09050000 */
	uint32_t idr0, idr1, idr3, idr5;	/* all 0: as QEMU 10.0 "virt" (stages 1 and 2) */
	bool no_gbpa;			/* as QEMU 7.2 */
	bool page0;			/* CN99xx: one page of registers */
	bool firmware;			/* left on, with bypass entries in table and caches */
	uint32_t ack_delay;		/* register reads until a control write acts */
	uint32_t lag; /* register reads or ticks that one command takes; 0: none */
	uint32_t line_eventq, line_gerror;
	bool late_records; /* an event becomes visible at the next CMD_SYNC and no sooner (SMMU-36)
			    */
};

struct model_smmu *model_smmu_create(const struct model_smmu_setup *setup);
void model_smmu_destroy(struct model_smmu *m);

/* One access of a device. */
struct model_dma {
	bool done;		/* memory was reached, at ... */
	uint64_t pa;
	bool bypass;		/* ... untranslated */
	uint8_t event;		/* recorded, if not 0 */
};
struct model_dma model_smmu_dma(struct model_smmu *m, uint32_t sid, uint64_t iova, bool write);

/* A device that tries this address all the time. */
void model_smmu_watch(struct model_smmu *m, uint32_t sid, uint64_t iova);

/*
 * The same for a device that firmware goes on using: whenever the unit translates, it must reach
 * that address, unchanged.  How often it did.
 */
void model_smmu_keep(struct model_smmu *m, uint32_t sid, uint64_t iova);
uint32_t model_smmu_kept(const struct model_smmu *m, uint32_t sid);

/* Whether any cached translation, or any walk of a watched stream, leads into this page. */
bool model_smmu_reaches(struct model_smmu *m, uint64_t page);

/* Faults of the hardware. */
void model_smmu_hang(struct model_smmu *m, bool hang); /* the queue does not advance */
void model_smmu_refuse(
    struct model_smmu *m, uint8_t op, uint32_t times); /* CERROR_ILL for our legal command */
void model_smmu_queue_abort(struct model_smmu *m);     /* CERROR_ABT at the next command */
void model_smmu_gerror(struct model_smmu *m, uint32_t bits);
void model_smmu_ack_never(struct model_smmu *m, uint32_t cr0_bits);	/* these never come on */
void model_smmu_interrupts(struct model_smmu *m);			/* delivers what is due */

uint32_t model_smmu_violations(const struct model_smmu *m);
const char *model_smmu_violation(const struct model_smmu *m);		/* the first, or "" */

/* For looking. */
uint32_t model_smmu_cr0(const struct model_smmu *m);			/* in force */
bool model_smmu_aborts_off(const struct model_smmu *m);			/* GBPA.ABORT in force */
uint32_t model_smmu_register(const struct model_smmu *m, uint32_t offset);
uint32_t model_smmu_executed(struct model_smmu *m, uint8_t op); /* commands since the last call */
uint32_t model_smmu_doorbells(struct model_smmu *m); /* PROD writes since the last call */
void model_smmu_entry(
    struct model_smmu *m, uint32_t sid, uint64_t ste[8], uint64_t cd[8]); /* from memory */
