/*
 * The boot manifest: which programs run, with which capabilities, budgets and policies.  A device
 * tree, compiled by dtc from dts/manifest/; docs/manifest.md describes every property.
 *
 * The reader is pure and bounded.  It is strict: an unknown property or node, a value of the wrong
 * type or out of its range, a name that is used twice is one line of complaint that names node and
 * property, and that node is left out; the others stand.  Strings point into the blob, which must
 * stay as it is.
 */
#pragma once

#include "kern/abi/process.h"
#include "kern/abi/status.h"
#include "kern/base/types.h"
#include "usr/lib/supervise.h"

enum {
	MANIFEST_SERVICES = 16,
	MANIFEST_DRIVERS = 16,
	MANIFEST_USES = 4,		/* endpoints of others that a service may call */
	MANIFEST_CELLS = 16,
	MANIFEST_DISKS = 8,		/* byte ranges of disks that a service may have */
	MANIFEST_LINE = 200,		/* a complaint, with its end */
};

/* Capabilities by name, in the order of the words of "capabilities". */
enum manifest_cap : uint32_t {
	CAP_CONSOLE = 1u << 0,
	CAP_DEVICES = 1u << 1,		/* list and claim devices */
	CAP_INFO    = 1u << 2,
	CAP_LOG     = 1u << 3,		/* read the log; everybody may write to it */
	CAP_POWER   = 1u << 4,
	CAP_ARCHIVE = 1u << 5,		/* the boot archive, read only */
	CAP_CONTROL = 1u << 6,		/* init: list services, end them */
	CAP_KEEP    = 1u << 7,		/* init: leave handles for a successor */
	CAP_TRACE   = 1u << 8,		/* read the trace */
	CAP_CONNECT = 1u << 9,		/* reach others over the network */
	CAP_SOCKETS = 1u << 10,		/* init: ask what others may do with sockets */
	CAP_ALL_DISKS = 1u << 11,	/* device manager: sessions with whole disks */
	CAP_PACKETS = 1u << 12,		/* device manager: sessions with network drivers */
	CAP_INTERFACES = 1u << 13,	/* and changing how they behave */
};

/* What every program has. */
struct manifest_task {
	const char *node;		/* its name, for people */
	const char *program, *args;	/* args "" when there are none */
	uint32_t priority, pages, objects;
	uint32_t threads, processes, vectors;
	uint32_t caps;
	struct restart_policy restart;
};

static inline struct process_limits
manifest_limits(const struct manifest_task *t)
{
	return (
	    struct process_limits){ t->pages, t->objects, t->threads, t->processes, t->vectors, 0 };
}

struct manifest_cells { uint32_t count, v[MANIFEST_CELLS]; };

struct manifest_service {
	struct manifest_task task;
	const char *serves;		/* name of its endpoint, or NULL */
	const char *uses[MANIFEST_USES];	/* endpoints that it may call; NULL past the last */
	const char *disks[MANIFEST_DISKS];	/* disk_range.h; NULL past the last */
	struct manifest_cells listen;	/* ports that it may listen on */
	uint32_t least_pages; /* left out where its share of the machine is less; 0: never */
	const char
	    *when; /* word of the kernel's command line without which it is not started, or NULL */
};

enum manifest_allow : uint32_t { POLICY_ALLOWED, POLICY_BLOCKED };
enum manifest_doorbell : uint32_t { POLICY_MEDIATED, POLICY_MAPPED };
enum manifest_on_fault : uint32_t { ON_FAULT_REPORT, ON_FAULT_RESTART };
enum manifest_provides : uint32_t { PROVIDES_NOTHING, PROVIDES_BLOCK, PROVIDES_NET };

enum manifest_consent : uint32_t {
	CONSENT_NOT_VALIDATED = 1u << 0,
	CONSENT_SILENT = 1u << 1,
	CONSENT_INTERRUPTS = 1u << 2,
	CONSENT_RESET = 1u << 3,
};

struct manifest_driver {
	struct manifest_task task;
	/* A function matches when its class is in "classes" (under the mask) or its ids are in
	 * "ids". */
	struct manifest_cells classes, ids;	/* ids: vendor, device, vendor, device ... */
	uint32_t class_mask;
	uint32_t provides;		/* enum manifest_provides */
	/* policy: may only lower what the evidence allows, or consent by name */
	uint32_t direct_dma, bounce_buffer;	/* enum manifest_allow */
	uint32_t trusted_domain;	/* 0: none */
	uint32_t doorbell;		/* enum manifest_doorbell */
	uint32_t consent;		/* CONSENT_* */
	uint32_t on_fault;		/* enum manifest_on_fault */
	uint32_t address_bits;		/* that the device has; 0: 64 */
	uint32_t fault_limit; /* faults after which the device stays off; 0: the kernel's own limit
				 only */
};

struct manifest {
	struct manifest_service service[MANIFEST_SERVICES];
	struct manifest_driver driver[MANIFEST_DRIVERS];
	uint32_t service_count, driver_count;
	uint32_t refused;		/* complaints */
};

/* One line, printable, without an end of line. */
typedef void manifest_say(void *arg, const char *line);

/* E_CORRUPT: no device tree at all; said as well.  What is wrong in the tree is said and left out.
 */
NODISCARD enum status
manifest_read(struct manifest *m, const void *blob, size_t len, manifest_say *say, void *arg);

bool manifest_matches(
    const struct manifest_driver *d, uint32_t class_code, uint16_t vendor, uint16_t device);

/* What follows "WORD=" on a kernel command line, up to a blank: its length in *len.  "WORD" alone
 * has length 0.  NULL: the word is not there. */
const char *manifest_word(const char *cmdline, const char *word, size_t *len);
