/*
 * DMA words that drivers, services and the kernel share: directions, lanes, faults.
 */
#pragma once

#include "kern/base/types.h"

/* What the device may do with a buffer. */
enum dma_dir : uint8_t {
	DMA_TO_DEVICE   = 1,	/* the device reads */
	DMA_FROM_DEVICE = 2,	/* the device writes */
	DMA_BOTH        = 3,
};

/* Who turns the driver's IOVAs into what the device sees: design section 5. */
enum dma_lane : uint8_t { LANE_UNSUPPORTED, LANE_DIRECT, LANE_BROKERED };

enum dma_doorbell : uint8_t { DOORBELL_MAPPED, DOORBELL_MEDIATED };

/* What was seen at one step of the verdict over a device. */
enum evidence : uint8_t {
	EVIDENCE_NOT_ASKED,	/* the step is of another lane */
	EVIDENCE_YES,
	EVIDENCE_CONSENT,	/* missing, and good enough only if the manifest says so by name */
	EVIDENCE_NO,
};

enum dma_fault_kind : uint8_t {
	FAULT_NOT_MAPPED,	/* no translation */
	FAULT_PERMISSION,
	FAULT_BLOCKED,		/* the endpoint is attached to nothing */
	FAULT_ADDRESS,		/* beyond the address width */
	FAULT_INTERRUPT,	/* forged or misrouted message interrupt */
	FAULT_TRANSLATED,	/* a pre-translated request (ATS) */
	FAULT_CONFIG,		/* malformed table: our own mistake */
	FAULT_OTHER,
};

/* One refused access.  No physical address: iova is what the device emitted. */
struct dma_fault {
	uint64_t iova;
	uint32_t endpoint;	/* the unit's id: requester id or stream id */
	uint32_t code;		/* the hardware's own reason number */
	enum dma_fault_kind kind;
	bool write, address_valid;
};

static inline const char *
dma_fault_text(enum dma_fault_kind k)
{
	static const char *const text[] = {
		"not mapped", "permission", "blocked endpoint", "address too wide",
		"interrupt refused", "pre-translated request", "malformed table", "other",
	};

	return k < sizeof(text) / sizeof(text[0]) ? text[k] : "other";
}
