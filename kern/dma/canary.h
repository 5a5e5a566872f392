/*
 * What a device class supplies for the live test of an IOMMU: kern/device_canary.c makes the test,
 * the class makes its device write.
 *
 * The kernel has set the function apart: nobody else has it, its bus mastering is off, and it is
 * attached to a domain of the test's own.  Then it asks the class, in this order:
 *
 *     stop    the device does not run any more: what firmware left is over.  Bus mastering goes on
 *             after this
 *     start   it runs, with the two queue pages and nothing else
 *     store   it writes: the last of its data, as many bytes as the class says, to "target", all
 *             before them into the spill page, up to its end.  Twice, at two targets
 *     stop    as before, and its registers hold no address any more
 *
 * Each is called again and again, at times that the kernel chooses, until it says something else
 * than CANARY_GOES_ON; none waits.  The patience is the class's: it knows what its device may take.
 *
 * The device is another party.  Its registers and both pages may say anything at any time; whatever
 * it says, each step ends by its deadline, and nothing is written but the pages and the registers.
 *
 * Why so few bytes.  A unit records each access that it refuses, and an emulated device may write
 * word by word: a whole page would flood the log, and what it had to say about other devices would
 * be lost.
 *
 * Queue pages and the spill page have the same address for the device as in memory, so that the
 * device can be heard whether its accesses are translated or not; a data pointer is what is tested,
 * never a queue.
 */
#pragma once

#include "kern/base/types.h"
#include "kern/dma/xlate.h"

enum { CANARY_BYTES = 4 };

enum canary_said : uint8_t {
	CANARY_GOES_ON,
	CANARY_DONE,
	CANARY_NO,		/* struct canary.why says what was wrong */
};

struct canary {
	/* The kernel's. */
	struct xlate_source io;		/* registers and configuration space */
	uint64_t window_bytes;		/* of registers in BAR 0 */
	volatile uint64_t *to_device, *from_device; /* pages for queues: one that the device may
						       read, one that it may write */
	uint64_t to_device_address, from_device_address; /* the same, as the device sees them */
	uint64_t spill_address;		/* a page that it may write */
	uint64_t target;		/* store: where to; the begin of a page */
	bool must_succeed; /* store: an error that the device reports ends it.  Else it may report
			      what it likes */
	/* The class's; zero at first. */
	uint32_t step;
	uint32_t stores;
	uint64_t deadline;
	uint64_t fact[4];
	bool heard;			/* an answer of the device was there, whatever it said */
	const char *why;		/* one clear sentence, constant */
};

struct canary_class {
	const char *name;
	/* Of PCI functions: by class code (mask not 0), or by maker and one of two numbers. */
	uint32_t class_code, class_mask;
	uint16_t vendor, device[2];
	uint32_t bytes;			/* that "store" writes to the target, at most CANARY_BYTES */
	/* Asked when the function is found: can this one be tested?  NULL: every one can. */
	bool (*fits)(const struct xlate_source *s);
	enum canary_said (*stop)(struct canary *c, uint64_t now_ns);
	enum canary_said (*start)(struct canary *c, uint64_t now_ns);
	enum canary_said (*store)(struct canary *c, uint64_t now_ns);
	/* What "store" left in the spill page: NULL when the device may well have written this,
	 * else what is wrong. */
	const char *(*judge)(const struct canary *c, const volatile uint8_t *spill);
};

/* What arch/<a>/devtab.c lists. */
extern const struct canary_class *const canary_classes[];	/* ends with NULL */
