/*
 * The kernel's services on the host, for tests of unit drivers: frames, device registers, time,
 * log, interrupts, the IOMMU list.  One instance, reset by fake_kernel_init.
 *
 * Memory has two views.  The CPU's is plain memory.  The device's is what fake_device_load
 * returns, and differs from it as the machine would allow:
 *   FAKE_STRONG   the same at once
 *   FAKE_TSO      stores made with unit_store64 become visible in order, at the latest with
 *                 unit_publish
 *   FAKE_WEAK     in any order, at the latest with unit_publish; a frame cleared by frame_alloc
 *                 reads as rubbish until then
 *   not coherent  only what cache_clean wrote back after it was published
 * "Visible earlier" is decided by a pseudo-random generator that a test seeds.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"
#include "kern/frame.h"

enum fake_order : uint8_t { FAKE_STRONG, FAKE_TSO, FAKE_WEAK };

struct fake_setup {
	uint64_t base;			/* of memory; 0: 0x40000000 */
	uint64_t bytes;			/* 0: 64 MiB */
	enum fake_order order;
	bool not_coherent;
	uint64_t seed;
};

void fake_kernel_init(const struct fake_setup *setup);

/* ---- Memory ---- */

bool fake_is_memory(uint64_t pa, uint64_t len);
uint64_t fake_device_load(uint64_t pa); /* 8 aligned bytes of memory, as a device sees them */
void fake_device_store(uint64_t pa, uint64_t v);	/* written by a device */
uint64_t fake_frames(enum frame_state state);		/* in this state */
void
fake_fail_alloc(int64_t after); /* the n-th allocation from now fails, and all later; -1: none */
uint64_t fake_random(void);

/* Called when frames are about to be freed, and after each unit_store64 (before it is visible, if
 * weak). */
struct fake_hooks {
	void *arg;
	void (*store)(void *arg, uint64_t pa, uint64_t before, uint64_t after);
	void (*freed)(void *arg, uint64_t pa, unsigned order);
};
extern struct fake_hooks fake_hooks;

/* ---- Devices ---- */

struct fake_device {
	uint64_t base, len;
	void *model;
	uint64_t (*read)(void *model, uint32_t offset, unsigned bytes);
	void (*write)(void *model, uint32_t offset, unsigned bytes, uint64_t v);
	void (*tick)(void *model);	/* time has passed; may be NULL */
};
void fake_device_add(const struct fake_device *d);
uint32_t fake_register_writes(void);	/* since the last call */
uint32_t fake_register_reads(void);

/* ---- Time ---- */

extern uint64_t fake_now;	/* what clock_now returns; every call adds 100 ns */

/* ---- What the code under test said and did ---- */

bool fake_logged(const char *part);	/* some line contains this */
uint32_t fake_log_lines(void);
const char *fake_log(void);

bool fake_raise(uint32_t line);		/* a wired interrupt; false: nobody claimed it */

struct iommu_unit;
extern struct iommu_unit *fake_units[16];
extern uint32_t fake_unit_count, fake_pending,
    fake_broken; /* calls of iommu_fault_pending, _mark_broken */
extern char fake_broken_why[160];
