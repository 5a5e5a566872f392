/*
 * What the files of the attacking driver share.
 *
 *   main.c      the order of attacks; calls, configuration space, registers, admin commands
 *   lists.c     addresses in lists, and all addresses there are: needs an I/O queue
 *   storm.c     interrupts, as many as there can be
 *   race.c      a word that changes while the kernel looks at it
 *   virtio.c    the same of a virtio device: chains, tables, registers, indices
 */
#pragma once

#include "dev/nvme/parts.h"
#include "usr/lib/drv.h"

enum { PATTERN = 0xa5 };
enum : uint32_t { OPCODE_VENDOR = 0xc1, GUESS = 0x4020'0000 };

extern struct drv_device device;
extern struct nvme_ctrl ctrl;

/* main.c */
/* How one attack ended; rule counts when s is E_REFUSED, RULE_NONE where there is none. */
void say(const char *what, enum status s, uint64_t rule);
/* Accesses of this device that were refused.  Losses of records may be another's. */
uint64_t own_faults(void);
/* Where doorbells are mapped: what the IOMMU and the device say, with the faults of before. */
void say_mapped(const char *what, uint64_t faults, enum status s, uint16_t code);
/* What is not the pattern any more, of memory that is mapped here for it. */
uint64_t changed(const struct drv_memory *m);
struct nvme_sqe identify(uint64_t prp1, uint64_t prp2);

/* lists.c */
/* victim: a page that the device may only read, full of the pattern. */
void lists(const struct drv_memory *victim);
/* Each page that another driver may have been given, and guesses at physical ones.  own: what of it
 * is ours to have written, n of them. */
void sweep(const struct drv_memory *const *own, unsigned n);

/* What has nothing to do with the class: configuration space; rights, and memory that was released.
 * in: two pages for the device to write. */
void attack_configuration(void);
void attack_rights(const struct drv_memory *in);
void attack_quotas(const struct drv_memory *m);

/* virtio.c */
void attack_virtio(void);

/* storm.c */
void attack_by_interrupts(void);

/* race.c */
struct race {
	uint64_t *word, right, wrong[2];
	uint32_t rounds, good, refused, astray;
	uint32_t stop, stopped, changes;	/* (a) */
};
/* Rounds until it is over.  One is accepted (OK), and then astray or not, or E_REFUSED; else it
 * ends here. */
void race(struct race *r, enum status (*round)(uint32_t n, bool *astray));
/* faults: own_faults() before it. */
void race_say(const struct race *r, const char *what, uint64_t bytes_changed, uint64_t faults);
