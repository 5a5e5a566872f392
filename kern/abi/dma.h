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

/* What queue_create tells: rings to be mapped, and what the device's registers and commands call
 * them.  Of a split queue, sq is the driver's part and cq the device's. */
struct queue_info {
	uint64_t sq_iova, cq_iova;
	uint64_t sq_bytes, cq_bytes;	/* whole pages */
	uint32_t sq_memory, cq_memory;	/* handles; the completions can only be read */
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

/*
 * What a driver reads before it believes a batch of completions (D11): the page of its device,
 * which it can only read (mem_map of the device's handle).  Whatever was in flight when fault_seq
 * moved is not to be believed.  Where look is not 0, device_look brings it up to date first.
 */
struct dma_status {
	uint64_t fault_seq; /* accesses of the device that were refused, and losses, since it was
			       claimed */
	uint32_t lost; /* times that records were lost, maybe of this device: to be read after
			  fault_seq */
	uint16_t ended;		/* not 0: the claim has ended */
	uint16_t look;		/* not 0: an IOMMU with a working log stands before the device */
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

/*
 * Why the kernel did not publish a queue entry, or did not make a register access: on lanes where
 * it checks them.  A refused batch leaves the device untouched.
 */
enum dma_rule : uint8_t {
	RULE_NONE,    /* accepted */
	RULE_OPCODE,  /* not on the list of what is known to be harmless */
	RULE_FEATURE, /* a feature or log page that is not on the list, or that opens a door to
			 memory */
	RULE_FIELD,   /* a reserved or unsupported field is set */
	RULE_FUSED,
	RULE_SHAPE, /* addresses in a form that is not supported */
	RULE_METADATA,
	RULE_ID,      /* command id not below the queue's entries */
	RULE_ID_BUSY, /* ... or still outstanding */
	RULE_TARGET,  /* a namespace that was not identified, or cannot be checked */
	RULE_ALIGN,
	RULE_WINDOW, /* in no live window of the owner */
	RULE_EXTENT, /* begins in a window and runs past its end */
	RULE_DIRECTION,
	RULE_CHAIN,    /* a list that goes on in another list */
	RULE_GRANTS,   /* names more grants than one entry may pin */
	RULE_LISTS,    /* as many lists are outstanding as the kernel has pages for copies */
	RULE_QUEUE,    /* not a queue as it was bound, or one that was used already */
	RULE_TAIL,     /* indices that name what is not there */
	RULE_REGISTER, /* not for drivers */
	RULE_VALUE,
	RULE_ORDER, /* enabled before its queues were bound, or before it was seen to have stopped
		     */
	RULES
};

static inline const char *
dma_rule_text(enum dma_rule r)
{
	static const char *const text[] = {
		"accepted",
		"opcode not allowed",
		"feature not allowed",
		"reserved or unsupported field",
		"fused command",
		"addresses in an unsupported form",
		"metadata address",
		"command id out of range",
		"command id in use",
		"namespace not identified",
		"address not aligned",
		"outside of every window",
		"runs past its window",
		"wrong direction",
		"list of lists",
		"names too many grants",
		"too many lists outstanding",
		"not a queue as it was bound",
		"index out of range",
		"register not allowed",
		"register value not allowed",
		"enabled too early",
	};

	static_assert(sizeof(text) / sizeof(text[0]) == RULES);
	return r < RULES ? text[r] : "other";
}
