/*
 * Which lane a device gets, and which step decided it: design section 5, "Selecting the backend".
 *
 * A pure function of evidence and policy.  Evidence is what was seen, and each fact speaks for the
 * device: what nobody has seen is false, and false never helps.  So facts that nobody filled in
 * are "unsupported".  Policy can lower a verdict and can consent, by name, to what is missing; it
 * cannot raise a verdict beyond the evidence.
 *
 *   direct       a unit judges every access of the device
 *   brokered     no unit stands behind the device; the kernel writes every address that the device
 *                sees.  Contains the driver, not the device
 *   unsupported  no bus mastering, no grant
 *
 * There is no brokered lane behind a unit: the unit blocks the device, and to open it for addresses
 * of the kernel's would be an identity map (D10).
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/base/types.h"

/* What firmware's tables say about the way from the device to memory. */
enum lane_route : uint8_t {
	ROUTE_UNKNOWN,		/* nothing, or two things that do not go together */
	ROUTE_UNIT,		/* through one unit, all requester ids of the group */
	ROUTE_NO_UNIT,		/* the machine has none, or says that none is in this way */
};

/* A live test of the device's own accesses. */
enum lane_canary : uint8_t {
	CANARY_NOT_RUN, /* or the class has none */
	CANARY_FAILED, /* an access that must be blocked arrived, or one that must arrive did not */
	CANARY_SILENT, /* blocked and arrived, but the fault was not recorded */
	CANARY_PASSED,
	CANARY_PENDING, /* the class has one; it is made before the first owner gets the device */
};

struct lane_facts {
	/* the function, and its isolation group */
	bool endpoint;			/* not a bridge, not the kernel's own */
	bool sound;			/* never quarantined */
	bool resettable;  /* there is a reset to take it from one owner to the next: D7 */
	bool group_whole; /* all of its group can be claimed together, behind one unit */
	bool services_off;		/* ATS, PRI and PASID read back as off */
	bool unreserved;		/* firmware keeps no memory region for it */
	/* the way to memory */
	enum lane_route route;
	bool programmed;		/* the unit is enabled, and its registers read back */
	bool synchronised;		/* an invalidation went round */
	bool unit_works;		/* not broken since */
	bool fault_log;
	bool interrupt_isolation;	/* its message interrupts are checked against its id: D9 */
	enum lane_canary canary;
	const char *canary_why;		/* what made it fail; may be NULL */
	/* its class */
	bool translator;		/* the kernel can check its queue entries */
	bool quiesce;			/* ... and can see it stopped, without a unit's help */
	/* names for the text; may be NULL */
	const char *problem;		/* why it is not an endpoint to be used */
	const char *unit, *no_unit;	/* its unit, or why there is none */
	const char *reset;		/* how it is reset */
};

/* The manifest's word about one device or class. */
struct lane_policy {
	bool forbid_direct, forbid_brokered;
	bool consent_unvalidated;	/* direct without a canary */
	bool consent_silent;		/* direct though faults are not recorded */
	bool consent_interrupts;	/* direct with interrupt_isolation=none */
	bool consent_reset; /* direct without a reset method: nobody gets it after that owner */
	bool mapped_doorbells;
};

/* In the order in which they are asked: the first that says no decides. */
enum lane_step : uint8_t {
	STEP_FUNCTION,
	STEP_RESET,
	STEP_GROUP,
	STEP_SERVICES,
	STEP_DISCOVERED,
	STEP_PROGRAMMED,
	STEP_SYNCHRONISED,
	STEP_RESERVED,
	STEP_INTERRUPTS,
	STEP_VALIDATED,
	STEP_TRANSLATOR,
	STEP_POLICY,
	STEP_ALL
};

struct lane_verdict {
	enum dma_lane lane;
	enum dma_doorbell doorbell;
	enum lane_step step;		/* which decided; STEP_ALL: every one said yes by itself */
	bool consent;			/* some step said yes by consent only */
	bool last; /* it has no reset method: nobody gets it after this owner */
	const char *reason;		/* unsupported: what that step said; else NULL */
	char text[200];			/* one line, for log and evidence: lane, label, reason */
};

void lane_decide(const struct lane_facts *f, const struct lane_policy *p, struct lane_verdict *out);

/*
 * What one step says by itself, whatever the steps before it said.  *text: what was seen, or what
 * is missing.  CONSENT: the policy consents, or would have to.
 */
enum evidence lane_evidence(const struct lane_facts *f, const struct lane_policy *p,
    enum lane_step step, const char **text);

/* "discovered", "synchronised" ... */
const char *lane_step_text(enum lane_step s);
