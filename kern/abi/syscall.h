/*
 * The system-call convention: numbers, the tag of a message, small constants of calls.
 *
 * Registers: the table in kern/md/trap.h.  A message is up to 8 words, of which the first
 * four may be handles (named by a mask); handles arrive as numbers of the receiver's table.
 * More words, and a handle that is none of them: E_INVALID.  Words travel in fours: of w0..w3, or
 * w4..w7, all arrive when one is sent, so a sender leaves in the others what the receiver may know.
 */
#pragma once

#include "kern/abi/object.h"
#include "kern/abi/status.h"
#include "kern/base/bits.h"

enum syscall : uint8_t {
#define SYSCALL(number, name, in, out, text) SYS_##name = number,
#include "kern/abi/syscalls.def"
#undef SYSCALL
	SYSCALL_COUNT
};

/* The call register: number or status in bits 7:0, then the tag. */
enum : uint64_t {
	CALL_NUMBER  = BITS(7, 0),
	TAG_WORDS    = BITS(11, 8),	/* 0 .. 8 */
	TAG_HANDLES  = BITS(15, 12),	/* bit n: word n is a handle */
	TAG_NOTIFICATION = BIT(16),	/* out of receive: not a call, w0 holds notification bits */
	TAG_LABEL    = BITS(63, 32),	/* the sender's own: what the message asks or says */
};

#define MESSAGE_TAG(label, words) (FIELD_PREP(TAG_LABEL, label) | FIELD_PREP(TAG_WORDS, words))

enum : uint32_t {
	CONFIG_WRITE = 1u << 8,           /* device_config, mmio_access: "how" */
	QUEUE_RENEW = 1u << 0,            /* queue_commit flags: one of these, or none */
	QUEUE_SPLIT = 1u << 1,            /* ... a split queue's turn */
	UNMAP_KEEP = 1u << 0,             /* dma_unmap flags: the grant keeps its address */
	CLAIM_MAPPED_DOORBELLS = 1u << 0, /* device_claim flags: the manifest's choice */
	CLAIM_CONSENT_UNVALIDATED = 1u
	    << 1, /* direct without a canary (programmed, not validated) */
	CLAIM_CONSENT_INTERRUPTS = 1u << 2, /* direct with interrupt_isolation=none */
	CLAIM_CONSENT_SILENT = 1u << 3,     /* direct though faults are not recorded */
	CLAIM_FORBID_DIRECT = 1u << 4,      /* not with bus mastering behind an IOMMU */
	CLAIM_FORBID_BROKERED = 1u << 5,    /* not through addresses that the kernel writes */
	CLAIM_CONSENT_RESET = 1u << 6,      /* direct without a reset method: for one owner only */
	CLAIM_ADDRESS_BITS = 0x7fu << 8,    /* bits of an address that the device has; 0: 64 */
	CPU_ANY = 0xff,
	PRIORITY_MIN = 1,
	PRIORITY_MAX = 30,
	PRIORITY_INIT = 25,
};
