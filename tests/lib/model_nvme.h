/*
 * A software NVMe controller, written from the specification (NVM Express Base 2.1, NVM Command Set
 * 1.1): it knows the offsets and bits by itself and shares nothing with dev/nvme.  It is strict:
 * what a driver must not do ends in the status that the specification names, and is counted.  It
 * can also be hostile.
 */
#pragma once

#include "tests/lib/fake_drv.h"

enum { MODEL_NS = 4, MODEL_QUEUES = 9, MODEL_OUT = 2048 };

struct model_ns {
	uint32_t nsid;
	uint64_t blocks;
	uint8_t lbads;			/* of the format in use */
	uint8_t flbas, nlbaf;		/* format in use; number of formats minus one */
	uint16_t metadata;
	bool write_protected;
	uint8_t *media; /* blocks << lbads bytes, by the model, when it is not too much */
};

/* What it does to the completion that comes after lie_after more I/O completions. */
enum model_lie {
	LIE_NONE, LIE_CID, LIE_CID_TWICE, LIE_CID_OF_FREE, LIE_PHASE, LIE_SQ_HEAD, LIE_SQ_ID,
	LIE_FATAL,			/* CSTS.CFS instead of it */
	LIE_GONE,			/* all registers read ones */
	LIE_SWALLOW,			/* it never comes */
};

struct model_queue {
	uint64_t sq_iova, cq_iova;
	uint32_t size, sq_head, sq_tail, cq_head, cq_tail, phase, vector;
	bool sq_live, cq_live, interrupt;
};

struct model_out { uint32_t queue, cid, dw0, status; bool swallowed; };

struct model_nvme {
	struct drv_device *d;

	/* What it is; set before the driver starts. */
	uint64_t cap;
	uint32_t vs, crto;
	uint64_t ready_ns, stop_ns;	/* how long each takes */
	bool never_ready, never_stops, fatal_at_enable;
	uint32_t pairs;			/* I/O queue pairs that it grants */
	uint32_t fail_cq;		/* creating completion queue n fails; 0: none */
	uint8_t mdts, vwc, oncs;	/* oncs: bit 2 dataset management, bit 3 zeroes */
	uint32_t nn;
	char serial[21], model[41];
	struct model_ns ns[MODEL_NS];
	bool no_abort;			/* accepts aborts and does nothing */
	bool no_abort_answer;
	bool swallow_admin;
	uint8_t identify_status;	/* generic status code of every identify */
	bool identify_nothing;		/* says that it did, and wrote nothing */

	enum model_lie lie;
	uint32_t lie_after;
	bool lie_admin;			/* admin completions count, too */
	bool hold;			/* completions wait for model_nvme_release */
	bool reverse;			/* held ones come last first */

	/* What happened. */
	uint32_t broken_rules;
	char rule[80];			/* the last that was broken */
	uint64_t zeroes, discards;
	uint64_t reads, writes, flushes, fuas, aborts, enables, list_pages;
	uint64_t largest;		/* bytes in one command */

	bool enabled, gone;
	uint64_t ready_at;
	uint32_t cc_seen;
	struct model_queue q[MODEL_QUEUES];
	struct model_out out[MODEL_OUT];
	uint32_t outs;
};

/* A well-behaved controller of the kind QEMU has: one namespace of 2048 blocks of 512 bytes. */
void model_nvme_init(struct model_nvme *m, struct drv_device *d);
/* After the test has changed what it is: registers and media. */
void model_nvme_media(struct model_nvme *m);
void model_nvme_fini(struct model_nvme *m);
/* Completes what it holds. */
void model_nvme_release(struct model_nvme *m);
