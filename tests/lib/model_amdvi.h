/*
 * A software AMD-Vi unit, written from the manual by way of specs/amdvi.md: stricter than QEMU and
 * as lazy as hardware may be.
 *
 *   - Registers: widths, one change of the control register at a time, no ring moved while its
 *     engine runs.  What firmware left on, it does.
 *   - Commands are read from memory as the device sees it, one after another, as slowly as the test
 *     wants.  Invalidations have no effect before the COMPLETION_WAIT behind them, and then happen
 *     in reverse order.  An unknown command halts the buffer and is logged.
 *   - Device table entries (blocked ones too), upper-level entries and translations are cached for
 *     ever: nothing leaves but by invalidation.  Translations are found by domain id, and also by
 *     device id alone (as QEMU does).
 *   - Interrupt entries are cached for ever too, absent ones as well; messages that are not
 *     remapped are events.
 *   - np_cache: absent entries are cached too, those of upper levels until an invalidation with
 *     PDE.
 *   - A "watched" requester tries its addresses whenever anything happens: after every store,
 *     before and after every effect of a command.  So what can go stale does; and what it sees must
 *     be blocked or whole.
 *
 * It also stands for the unit's own PCI function, and for the functions behind aliases.  What
 * software does wrong is recorded as a violation, in words with the rule's id.
 */
#pragma once

#include "kern/base/types.h"

struct model_amdvi;

/* As QEMU 10.0 shows it (AMD-89). */
enum : uint64_t { MODEL_AMDVI_EFR = 0x29d3 };
enum : uint16_t { MODEL_AMDVI_RID = 0x08 };
enum : uint32_t { MODEL_AMDVI_ANY = 16 };	/* any command */

struct model_amdvi_setup {
	uint64_t base;			/* of registers; 0: 0xfed80000 */
	uint64_t efr;			/* 0: the above */
	uint8_t host_width;		/* 0: 40 */
	bool gone;			/* reads as all ones */
	bool np_cache;
	bool hidden;			/* its PCI function is not there */
	uint32_t function_base;		/* what its PCI function says; 0: the truth */
	uint32_t header;		/* of its capability; 0: the truth */
	bool firmware;			/* on, with a table that lets everything through */
	bool firmware_engines;		/* its command buffer and log run */
	bool firmware_hole;		/* an exclusion range over all */
	bool no_events; /* the log's tail never moves, and unknown commands are skipped (AMD-85,
			   AMD-87) */
	bool late_events;		/* the tail moves before the record is there (AMD-61) */
	uint32_t
	    ack_delay; /* reads of the status register until an engine has stopped or started */
	uint32_t lag;  /* ticks or register reads that one command takes; 0: none */
};

struct model_amdvi *model_amdvi_create(const struct model_amdvi_setup *setup);
void model_amdvi_destroy(struct model_amdvi *m);
/* A function of the machine that appears as another. */
void model_amdvi_alias(uint16_t rid, uint16_t as);

/* One access of a device. */
struct model_amdvi_dma {
	bool done;			/* memory was reached, at ... */
	uint64_t pa;
	bool bypass;			/* ... untranslated */
	bool interrupt;			/* it was a message interrupt */
	uint8_t code;			/* of the event, if not 0 */
	bool pr;			/* there was a page, without the right */
};
struct model_amdvi_dma
model_amdvi_dma(struct model_amdvi *m, uint32_t rid, uint64_t iova, bool write);
/* A message interrupt, by its data. */
struct model_amdvi_irq {
	bool delivered, remapped;	/* by an entry, not as the sender says */
	uint8_t vector;
	uint32_t processor;
};
struct model_amdvi_irq model_amdvi_send(struct model_amdvi *m, uint32_t rid, uint32_t data);
/* A message interrupt of a requester: does it arrive, as it is? */
bool model_amdvi_message(struct model_amdvi *m, uint32_t rid);

/* A device that tries this address all the time, and records no events. */
void model_amdvi_watch(struct model_amdvi *m, uint32_t rid, uint64_t iova);
/* Whether a cached translation, or what a watched requester finds, leads into this page. */
bool model_amdvi_reaches(struct model_amdvi *m, uint64_t page);

/* Faults of the hardware. */
void model_amdvi_hang(struct model_amdvi *m, bool hang);	/* the buffer does not advance */
void model_amdvi_refuse(
    struct model_amdvi *m, uint32_t op, uint32_t times); /* our legal command is illegal */
void
model_amdvi_stuck(struct model_amdvi *m, uint64_t bits); /* these control bits have no effect */
void model_amdvi_die(struct model_amdvi *m);			/* from now on all ones */
void model_amdvi_status_word(struct model_amdvi *m, uint32_t v); /* something overwrites it */
void model_amdvi_event(struct model_amdvi *m, uint64_t lo, uint64_t hi);	/* logs this */
void model_amdvi_hole(struct model_amdvi *m); /* the next record never becomes visible */

uint32_t model_amdvi_violations(const struct model_amdvi *m);
const char *model_amdvi_violation(const struct model_amdvi *m);	/* the first, or "" */

/* For looking. */
uint64_t model_amdvi_control(const struct model_amdvi *m);
uint32_t model_amdvi_windows(const struct model_amdvi
	*m); /* watched accesses that passed by no table of ours, once it was on */
uint32_t model_amdvi_off(const struct model_amdvi *m);		/* times that it went off */
bool
model_amdvi_flushed(const struct model_amdvi *m); /* everything, since the device table was set */
uint32_t
model_amdvi_executed(struct model_amdvi *m, uint32_t op); /* commands since the last call */
uint32_t model_amdvi_doorbells(struct model_amdvi *m);    /* tail writes since the last call */
void model_amdvi_entry(
    struct model_amdvi *m, uint32_t rid, uint64_t out[4]); /* from memory, as stored */
uint64_t model_amdvi_command(
    struct model_amdvi *m, uint32_t index, unsigned half); /* of the buffer, as stored */
