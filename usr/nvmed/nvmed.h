/*
 * What the files of the NVMe server share.
 *
 *   main.c      start, the loop, calls
 *   session.c   rings: requests in, answers out; opening and ending
 *   recover.c   commands that do not end, controllers that stop
 */
#pragma once

#include "dev/nvme/ctrl.h"
#include "usr/lib/blk.h"
#include "usr/lib/drv.h"

enum { SESSIONS = 24, SESSIONS_A_CLIENT = 8, REQUESTS = 2048 };

/* Bits of the server's notification. */
enum : uint64_t {
	BIT_SESSION = 32,		/* + n: session n has requests.  Below: vectors */
	BIT_CALL = BIT(60), BIT_TICK = BIT(61), BIT_FAULT = BIT(62),
};

struct session;

/* One request in the device: everything to put it once more. */
struct request {
	struct session *session;	/* NULL: free */
	uint64_t cookie;
	struct nvme_io io;
	struct nvme_ioq *q;
	struct request *next;		/* free, or to be put again */
	uint64_t faults; /* the device's, when it was put: if there are more when it completes it
			    failed (D11) */
	uint64_t own_faults; /* of them, what is no loss: if these stayed it is put again instead */
	uint32_t doubts;     /* times that it was */
	uint32_t resets;		/* that it was in flight during */
	bool own;			/* the server's: a flush before another may write there */
};

struct session {
	uint64_t id, badge;		/* id 0: free; badge: of the handle that it was opened by */
	struct blk_ring *ring;
	struct drv_memory data;
	handle_t ring_memory, client;
	uint64_t client_bits, base, len, data_bytes;
	const struct nvme_ns *ns;
	struct nvme_ioq *q;
	uint32_t rights, shift;
	uint32_t bit;			/* in server.live */
	uint32_t tail, done_head;	/* requests taken, answers written */
	uint32_t seen;			/* head as it was read last */
	uint32_t inflight;
	uint32_t plain;			/* writes in flight without FUA */
	bool closing;
	bool shared;			/* another may write there: its writes go with FUA */
	bool settling, settled;		/* what was answered before is flushed */
	bool refused;			/* its ring lied */
	bool stays;			/* a call waits for its end */
	uint64_t stay;			/* the token to answer it by */
	uint64_t alone_ns;		/* since when it did not, or a time before */
};

/* Who may have written where since this server started. */
struct writer { uint64_t badge, base, len; const struct nvme_ns *ns; };
enum { WRITERS = 64 };

/* What every turn needs comes first. */
struct server {
	uint32_t live;			/* bit n: session n is open */
	uint32_t answered;		/* bit n: session n has answers to publish */
	uint32_t dirty;			/* bit n: queue n has something to announce */
	uint32_t inflight;
	struct request *free;
	struct request *again; /* to be put again, after a reset or in doubt, before anything new */
	uint64_t done[3], errors;	/* done: by operation; errors: answers that were not OK */
	uint32_t refused, sessions_refused; /* of errors, those for what a session may not have; not
					       opened, or ended for lies */
	uint64_t max_transfer_bytes;
	bool volatile_cache;
	bool closing;			/* some session is */
	bool retry;			/* "again" was filled and not looked at yet */
	uint32_t ioq_count;
	struct session
	    *wake; /* its client sleeps: told when this thread sleeps, in the same call */
	struct session session[SESSIONS];
	struct nvme_ctrl ctrl;
	struct drv_device device;
	struct request request[REQUESTS];
	uint32_t tick;			/* seconds of work */
	uint32_t slow_s, abort_s;	/* when a command is called slow; when it is aborted */
	uint64_t next_id;
	uint64_t faults;		/* of the device, as of the last look */
	uint64_t own_faults;		/* of them, what is no loss of records */
	struct writer writer[WRITERS];
	uint32_t writers;		/* more than there is room for: anybody, anywhere */
	bool stray;			/* test: sessions lose their buffer when they open */
	handle_t signal;		/* what clients signal */
};

extern struct server server;

/* session.c */
/* The message of the call becomes that of the answer.  On OK its handles are kept, and w1 is to be
 * closed after the reply. */
enum status session_open(struct msg *m);
/* NULL: there is none, or another client's. */
struct session *session_find(uint64_t id, uint64_t badge);
void session_end(struct session *s);
/* Lets sessions end whose clients are gone: asks those that stay whether they still do. */
void session_probe(void);
void session_take(struct session *s);
void session_publish(struct session *s);
/* Tells the client that session_publish left over. */
void session_wake(void);
void session_answer(struct session *s, uint64_t cookie, enum status status, uint32_t detail);
/* A request leaves the device: its answer, and its slot is free. */
void request_done(struct request *r, enum status status, uint32_t detail);
/* A line about trouble; only so many a second, so that no client can fill the log. */
void complain(const char *format, ...) PRINTF(1, 2);
const char *request_text(const struct request *r);

/* recover.c: once a second while requests are in the device; and when something is wrong. */
void recover_tick(void);
void recover_reset(const char *why);
/* Puts what a reset took out of the queues; false while some of it waits for room. */
bool recover_again(void);
