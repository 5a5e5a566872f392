/*
 * What the files of the NVMe server share.
 *
 *   main.c      start, the loop, calls
 *   session.c   requests of sessions: into the device, and answered
 *   recover.c   commands that do not end, controllers that stop
 */
#pragma once

#include "dev/nvme/ctrl.h"
#include "usr/lib/blk_serve.h"

enum { REQUESTS = 2048 };

/* Bits of the server's notification.  Below BLK_BIT_SESSION: vectors. */
enum : uint64_t {
	BIT_CALL = BIT(60), BIT_TICK = BIT(61), BIT_FAULT = BIT(62),
};

/* One request in the device: everything to put it once more. */
struct request {
	struct blk_session *session;	/* NULL: free */
	uint64_t cookie;
	struct nvme_io io;
	struct nvme_ioq *q;
	struct request *next;		/* free, or to be put again */
	uint64_t faults; /* the device's, when it was put: if there are more when it completes it
			    failed (D11) */
	uint64_t own_faults; /* of them, what is no loss: if these stayed it is put again instead */
	uint32_t doubts;     /* times that it was */
	uint32_t resets;		/* that it was in flight during */
	uint32_t left;			/* blocks that are still to be zeroed */
	bool own;			/* the server's: a flush before another may write there */
};

/* What every turn needs comes first. */
struct server {
	struct blk_server blk;
	uint32_t dirty;			/* bit n: queue n has something to announce */
	uint32_t inflight;
	struct request *free;
	struct request *again; /* to be put again, after a reset or in doubt, before anything new */
	bool retry;			/* "again" was filled and not looked at yet */
	uint32_t ioq_count;
	struct nvme_ctrl ctrl;
	struct drv_device device;
	struct request request[REQUESTS];
	uint32_t tick;			/* seconds of work */
	uint32_t slow_s, abort_s;	/* when a command is called slow; when it is aborted */
	uint64_t faults;		/* of the device, as of the last look */
	uint64_t own_faults;		/* of them, what is no loss of records */
	bool careless;			/* test: whatever the controller does is right */
};

extern struct server server;

/* session.c */
/* Takes what the client wrote, as far as the device has room. */
void session_take(struct blk_session *s);
/* A flush of the server's own: blk_server.flush. */
bool session_flush(struct blk_session *s);
/* A request leaves the device: its answer, and its slot is free. */
void request_done(struct request *r, enum status status, uint32_t detail);
/* One that was answered well has more to do, and is on its way again. */
bool request_goes_on(struct request *r);
const char *request_text(const struct request *r);

/* recover.c: once a second while requests are in the device; and when something is wrong. */
void recover_tick(void);
void recover_reset(const char *why);
/* Puts what a reset took out of the queues; false while some of it waits for room. */
bool recover_again(void);
