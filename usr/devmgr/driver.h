/*
 * One driver that the device manager watches over, and what its two files share.
 */
#pragma once

#include "usr/lib/devmgr.h"
#include "usr/lib/manifest.h"

enum { DRIVERS_MAX = 16 };

struct driver {
	const struct manifest_driver *rule;
	uint32_t function;		/* segment << 16 | rid */
	handle_t process, endpoint, device;
	uint32_t pid;
	enum supervised_state state;
	struct supervision life;
	uint64_t start_at;		/* SUPERVISED_WAITING */
	uint64_t give_up_at;		/* how long the end of the claim before may take */
	uint64_t died_at, recovery_ns;
	uint64_t faults_before, faults;	/* of claims that are over; of this one */
	bool fault_kill;		/* it is being ended because of faults */
	bool revoked;			/* its device was taken away, as somebody wished */
	const char *args;		/* instead of the manifest's */
};

extern struct driver drivers[DRIVERS_MAX];
extern unsigned driver_count;

/* "00:01.0", in one of a few buffers. */
const char *driver_place(uint32_t function);

/* For good: clients learn it at once. */
void driver_abandon(struct driver *d, enum supervised_state state);

/* What the manifest says of a function; NULL: it has no driver for it. */
const struct manifest_driver *driver_rule_of(const struct function_info *f);

/* The index-th function of the machine; false past the last. */
bool driver_function_at(uint64_t index, struct function_info *f, uint32_t *function);

enum : uint64_t { CLAIM_NS = 10 * NS_PER_S };	/* that the end of a claim may take */

/* The function at its place is there; false: it was unplugged, or is about to be. */
bool hotplug_there(const struct driver *d, struct function_info *f);

/* Its function is gone. */
void hotplug_gone(struct driver *d);

/* Functions came or went: what that means for the drivers that there are. */
void hotplug_look(void);
