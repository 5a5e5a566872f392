/*
 * The block server for virtio: one device, which is one disk, and the clients' sessions
 * (usr/lib/blk_serve.h).
 *
 * One thread.  It sleeps until a call comes or one of the bits of its notification: a vector fired,
 * a session has requests, the device faulted.  A turn takes what the device gives back, takes
 * requests, announces both, and shows answers.
 *
 * A request is one chain in the device, or several one after the other: a range to be zeroed or
 * discarded is cut into what the device takes at once, and what shall be durable when it is
 * answered has a flush behind it, as virtio knows no FUA.
 *
 * Before anything that the device gave back is believed the faults of the device are looked at
 * (D11): a request that was in the device when there came a new one fails.  When a queue breaks the
 * rules, or the device asks for it, or a request does not end for abort_s seconds, the device is
 * reset.  Then nothing of before moves data any more, and requests are put again at the step that
 * they were at; one that was in flight during two resets fails.
 */
#include "dev/virtio/blk.h"
#include "usr/lib/blk_serve.h"

enum { REQUESTS = 1024, RESETS_MAX = 4, SLOW_S = 30, ABORT_S = 120 };
enum : uint64_t { TICK_NS = NS_PER_S, POLL_NS = 2 * NS_PER_MS, RESETS_NS = 600 * NS_PER_S };
enum : uint64_t { BIT_FAULT = BIT(62) };

/* One request: everything to put its step once more. */
struct request {
	struct blk_session *session;	/* NULL: free */
	uint64_t cookie, at, data;	/* at: of the disk; data: as the device sees it */
	uint64_t faults;		/* the device's, when the step was put */
	uint32_t bytes, done;		/* done: by the steps before */
	uint32_t step;			/* bytes of this one */
	uint8_t op;			/* enum blk_op */
	bool durable;			/* has to be, when it is answered */
	bool flushing;			/* the last step, for that */
	bool own;			/* the server's: a flush before another may write there */
	bool waits;			/* in "again" */
	uint32_t resets, since;		/* since: tick when the step was put */
	struct request *next;		/* free, or waiting */
};

static struct {
	struct blk_server blk;
	struct virtio_blk disk;
	struct drv_device device;
	uint32_t inflight;
	struct request *free;
	struct request *again, **again_end;	/* steps that wait for room */
	bool retry;			/* "again" was filled and not looked at yet */
	uint64_t faults;
	uint32_t tick;			/* seconds of work */
	uint32_t slow_s, abort_s;
	struct request request[REQUESTS];
} server;

static handle_t endpoint;
static char model[41] = "virtio block device";
static char serial[21];

static const char *
request_text(const struct request *r)
{
	static const char *const text[BLK_OPS] = { "read", "write", "flush", "discard", "zeroing" };

	return text[r->op];
}

static struct vblk_queue *queue_of(const struct request *r) { return r->session->queue; }

static void
finish(struct request *r, enum status status, uint32_t detail)
{
	server.blk.done[r->op]++;
	if (r->own) {
		blk_serve_flushed(&server.blk, r->session, status);
	} else {
		blk_serve_answer(&server.blk, r->session, r->cookie, status, detail);
		r->session->plain -= r->op == BLK_WRITE && !r->durable;
	}
	r->session->inflight--;
	server.inflight--;
	r->session = NULL;
	r->next = server.free;
	server.free = r;
}

static void
wait_for_room(struct request *r)
{
	r->waits = true;
	r->next = NULL;
	*server.again_end = r;
	server.again_end = &r->next;
}

/* Its step into the device.  E_WOULD_BLOCK: there is no room. */
static enum status
put(struct request *r)
{
	static const enum vblk_op ops[BLK_OPS] = {
		VBLK_READ, VBLK_WRITE, VBLK_FLUSH, VBLK_DISCARD, VBLK_ZERO
	};
	struct vblk_io io = { .op = r->flushing ? VBLK_FLUSH : ops[r->op] };

	r->step = r->bytes - r->done;
	if (r->op == BLK_DISCARD)
		r->step = (uint32_t)min_u64(r->step, server.disk.discard_max);
	else if (r->op == BLK_ZERO)
		r->step = (uint32_t)min_u64(r->step, server.disk.zero_max);
	if (io.op != VBLK_FLUSH) {
		io.at = r->at + r->done;
		io.bytes = r->step;
		io.data = (struct iova){ r->data };
	}
	r->faults = server.faults;
	r->since = server.tick;
	return vblk_put(&server.disk, queue_of(r), &io, (uint64_t)(r - server.request));
}

/* Its step, now or when there is room; or it is over. */
static void
go_on(struct request *r)
{
	enum status s = put(r);

	if (s == E_WOULD_BLOCK)
		wait_for_room(r);
	else if (s != OK)
		finish(r, s, 0);
}

static void
complete(const struct vblk_done *d)
{
	struct request *r = &server.request[d->cookie];

	if (r->faults != server.faults) {
		finish(r, E_IO, d->answer);
		return;
	}
	if (d->status != OK) {
		complain("%s of %u bytes at %llu: %s (status %u)", request_text(r), r->bytes,
		    (unsigned long long)r->at, status_text(d->status), d->answer);
		finish(r, d->status, d->answer);
		return;
	}
	if (!r->flushing) {
		r->done += r->step;
		r->flushing = r->done == r->bytes && r->durable && server.blk.volatile_cache;
		if (r->done < r->bytes || r->flushing) {
			go_on(r);
			return;
		}
	}
	finish(r, OK, 0);
}

static void
recover(const char *reason)
{
	static uint64_t first_ns;
	static uint32_t count;
	const char *why = "";
	uint64_t now = now_ns();
	enum status s;

	if (count == 0 || now - first_ns > RESETS_NS) {
		first_ns = now;
		count = 0;
	}
	if (++count > RESETS_MAX)
		die("given up after %u resets: %s", RESETS_MAX, reason);
	log_line(
	    1, "%s: the device is reset, with %u requests in flight", reason, server.inflight);
	s = vblk_restart(&server.disk, &why);
	if (s != OK)
		die("given up: the reset failed: %s (%s)", why, status_text(s));
	server.faults = drv_faults(&server.device);
	server.again = NULL;
	server.again_end = &server.again;
	for (uint32_t i = 0; i < REQUESTS; i++) {
		struct request *r = &server.request[i];

		if (r->session == NULL)
			continue;
		/* What only waited for room was in no reset. */
		if (r->session->closing || (!r->waits && ++r->resets == 2))
			finish(r, E_IO, 0);
		else
			wait_for_room(r);
	}
	server.retry = server.again != NULL;
}

/* Has anything been refused that the device did until now?  (D11) */
static void
look(void)
{
	uint64_t now = drv_faults(&server.device);
	const char *trouble;

	if (likely(now == server.faults))
		return;
	if (now == UINT64_MAX)
		die("the device was taken away");
	complain("the IOMMU refused accesses of the device: %u requests in flight fail",
	    server.inflight);
	server.faults = now;
	trouble = vblk_trouble(&server.disk);
	if (trouble != NULL)
		recover(trouble);
}

/* What waited for room, in its order; false: there is none for all of it. */
static bool
put_waiting(void)
{
	server.retry = false;
	while (server.again != NULL) {
		struct request *r = server.again;
		struct request *next = r->next;
		enum status s = put(r);

		if (s == E_WOULD_BLOCK)
			return false;
		r->waits = false;
		server.again = next;
		if (next == NULL)
			server.again_end = &server.again;
		if (s != OK)
			finish(r, s, 0);
	}
	return true;
}

/* One request into the device, or answered.  False: there is no room for it now. */
static bool
take_one(struct blk_session *s)
{
	const struct blk_req q = blk_serve_request(s);
	struct request *r = server.free;
	enum status e;

	if (r == NULL)
		return false;
	e = blk_serve_judge(&server.blk, s, &q);
	if (e != OK) {
		server.blk.refused++;
		blk_serve_answer(&server.blk, s, q.cookie, e, 0);
		return true;
	}
	if ((q.op & 0xff) == BLK_FLUSH && !server.blk.volatile_cache) {
		server.blk.done[BLK_FLUSH]++;
		blk_serve_answer(&server.blk, s, q.cookie, OK, 0);
		return true;
	}
	server.free = r->next;
	*r = (struct request){ .session = s, .cookie = q.cookie, .op = (uint8_t)q.op };
	r->flushing = r->op == BLK_FLUSH;
	if (!r->flushing) {
		r->at = s->base + q.at;
		r->bytes = q.bytes;
		r->data = s->data.iova.v + q.data;
		r->durable =
		    blk_serve_fua(s, &q) || r->op == BLK_DISCARD || r->op == BLK_ZERO;
	}
	e = put(r);
	if (e == E_WOULD_BLOCK) {
		r->session = NULL;
		r->next = server.free;
		server.free = r;
		return false;
	}
	s->plain += r->op == BLK_WRITE && !r->durable;
	s->inflight++;
	server.inflight++;
	if (e != OK)
		finish(r, e, 0);
	return true;
}

static bool
flush(struct blk_session *s)
{
	struct request *r = server.free;
	struct request *next = r != NULL ? r->next : NULL;

	if (r == NULL)
		return false;
	*r = (struct request){ .session = s, .op = BLK_FLUSH, .flushing = true, .own = true };
	if (put(r) != OK) {
		r->session = NULL;
		r->next = next;
		return false;
	}
	server.free = next;
	s->inflight++;
	server.inflight++;
	return true;
}

static void
take_requests(void)
{
	for_each_bit(k, server.blk.live) {
		struct blk_session *s = &server.blk.session[k];

		for (uint32_t n = blk_serve_waiting(&server.blk, s); n != 0 && take_one(s); n--)
			s->tail++;
	}
}

/* Something that the device gave back waits to be taken. */
static bool
any(void)
{
	bool some = false;

	for (uint32_t i = 0; i < server.disk.queue_count; i++)
		some |= virtq_look(&server.disk.queue[i].q) != 0;
	return some;
}

static void
turn(void)
{
	const char *fault;
	struct vblk_done d;

	if (any()) {
		look();
		for (uint32_t i = 0; i < server.disk.queue_count; i++)
			while (vblk_take(&server.disk.queue[i], &d))
				complete(&d);
	}
	if (put_waiting())
		take_requests();
	for (uint32_t i = 0; i < server.disk.queue_count; i++) {
		virtq_arm(&server.disk.queue[i].q, 0);
		(void)virtq_commit(&server.disk.queue[i].q);
	}
	fault = vblk_fault(&server.disk);
	if (unlikely(fault != NULL))
		recover(fault);
	blk_serve_publish(&server.blk);
	blk_serve_wake(&server.blk);
}

static bool
may_sleep(void)
{
	blk_serve_sleeps(&server.blk);
	return server.device.seen == 0 && !server.retry && !blk_serve_has_new(&server.blk) &&
	    !any() && vblk_fault(&server.disk) == NULL;
}

/* The configuration changed, or the device wants a reset. */
static void
changed(void)
{
	const char *trouble = vblk_trouble(&server.disk);

	if (trouble == NULL && vblk_config(&server.disk) != OK)
		trouble = "the disk has shrunk, or does not say how large it is";
	if (trouble != NULL)
		recover(trouble);
}

static void
tick(void)
{
	const char *trouble = vblk_trouble(&server.disk);

	server.tick++;
	for (uint32_t i = 0; i < REQUESTS && trouble == NULL; i++) {
		struct request *r = &server.request[i];
		uint32_t age = server.tick - r->since;

		if (r->session == NULL || r->waits)
			continue;
		if (age == server.slow_s)
			complain("%s of %u bytes at %llu: no answer for %u s", request_text(r),
			    r->bytes, (unsigned long long)r->at, age);
		if (server.abort_s != 0 && age >= server.abort_s)
			trouble = "a request does not end";
	}
	if (trouble != NULL)
		recover(trouble);
}

static uint64_t
deadline(uint64_t next_tick)
{
	if (server.inflight == 0)
		return DEADLINE_NEVER;
	return server.disk.polled ? now_ns() + POLL_NS : next_tick;
}

static NORETURN void
serve(void)
{
	uint64_t next_tick = now_ns() + TICK_NS;

	for (;;) {
		uint64_t bits = 0;
		struct msg m;
		enum status s = E_WOULD_BLOCK;

		turn();
		if (unlikely(server.blk.closing))
			blk_serve_end_closing(&server.blk);
		if (may_sleep()) {
			if (server.inflight == 0)
				next_tick = now_ns() + TICK_NS;
			s = msg_recv(
			    endpoint, server.device.ntfn, &m, deadline(next_tick));
			if (s == E_STALE || s == E_HANDLE)
				die("the endpoint is gone");
		}
		blk_serve_woke(&server.blk);
		if (s == OK && m.notification)
			bits = m.w[0];
		else if (s == OK)
			blk_serve_call(&server.blk, &m);
		if (server.inflight != 0 && now_ns() >= next_tick) {
			tick();
			next_tick = now_ns() + TICK_NS;
		}
		bits |= server.device.seen;
		server.device.seen = 0;
		if ((bits & BIT_FAULT) != 0)
			look();
		if (server.disk.config_vector != UINT32_MAX &&
		    (bits & BIT(server.disk.config_vector)) != 0)
			changed();
	}
}

static bool
find_disk(uint32_t index, uint32_t slot, struct blk_disk *d, const void **disk, void **queue)
{
	const struct virtio_blk *b = &server.disk;

	if (index != 0)
		return false;
	*d = (struct blk_disk){ b->bytes / b->block_bytes, b->block_bytes, b->read_only };
	*disk = b;
	*queue = &server.disk.queue[slot % b->queue_count];
	return true;
}

/* What the kernel has not been told to be over still names the data area. */
static enum status
let_go(struct blk_session *s)
{
	struct vblk_queue *q = s->queue;

	q->q.dirty = true;
	return virtq_commit(&q->q);
}

int
main(void)
{
	struct virtio_blk *b = &server.disk;
	const char *why = "";
	uint64_t h;
	enum status s;

	endpoint = start_handle("endpoint");
	server.device.handle = start_handle("device");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	server.device.ntfn = (handle_t)h;
	if (sys_handle_dup(server.device.ntfn, RIGHT_SIGNAL | RIGHT_GIVE, &h) != OK)
		die("no handle");
	server.slow_s = start_number("slow", SLOW_S);
	server.abort_s = start_number("abort", ABORT_S);
	server.again_end = &server.again;
	for (uint32_t i = REQUESTS; i-- != 0; ) {
		server.request[i].next = server.free;
		server.free = &server.request[i];
	}
	s = vblk_start(b, &server.device, start_number("queues", cpu_count()), &why);
	if (s != OK)
		die("device not usable: %s (%s)", why, status_text(s));
	memcpy(serial, b->serial, sizeof(serial));
	server.blk.signal = (handle_t)h;
	server.blk.device = &server.device;
	server.blk.disks = 1;
	server.blk.model = model;
	server.blk.serial = serial;
	server.blk.find_disk = find_disk;
	server.blk.ranges = blk_serve_ranges();
	server.blk.let_go = let_go;
	server.blk.flush = flush;
	server.blk.max_transfer_bytes = b->max_transfer_bytes;
	server.blk.volatile_cache = b->volatile_cache;
	server.blk.ops = 1u << BLK_READ | 1u << BLK_WRITE | 1u << BLK_FLUSH |
	    (b->discards ? 1u << BLK_DISCARD : 0) | (b->zeroes ? 1u << BLK_ZERO : 0);
	(void)sys_watch(server.device.handle, server.device.ntfn, BIT_FAULT);
	server.faults = drv_faults(&server.device);
	log_line(2,
	    "virtio-blk, serial %s: %llu MiB, blocks of %u bytes%s, %u queue%s, %llu KiB a transfer%s%s%s",
	    serial[0] != 0 ? serial : "none", (unsigned long long)(b->bytes / MIB), b->block_bytes,
	    b->read_only ? ", read only" : "", b->queue_count, b->queue_count == 1 ? "" : "s",
	    (unsigned long long)(b->max_transfer_bytes / KIB), b->volatile_cache ? ", flush" : "",
	    b->discards ? ", discard" : "", b->zeroes ? ", zeroes" : "");
	if (b->polled)
		log_line(1, "no interrupt vector: completions are looked for every %u ms",
		    (unsigned)(POLL_NS / NS_PER_MS));
	service_ready();
	serve();
}
