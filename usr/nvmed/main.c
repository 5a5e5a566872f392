/*
 * The NVMe server: one controller, its namespaces, and the clients' sessions.
 *
 * Two threads.  "serve" drives the device: it sleeps on one notification, whose bits say that a
 * vector fired, that session n has requests, or that one of the rare things happened (BIT_*).  A
 * turn takes completions, takes requests, announces both, and shows answers.  Nobody else touches
 * sessions or queues.
 *
 * "listen" receives calls and hands each over, so that the busy thread need not wait for calls,
 * too.  It also tells the time: while requests are in the device it ticks once a second, and when
 * there have been none for a second it stops until it is told that there are.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "usr/nvmed/nvmed.h"

enum { DEPTH = 1024, STACK_BYTES = 8192 };
enum { FLOOD_MAX = 1000, BATCH = 32 }; /* completions that one look at the IOMMU is for */
/* A device that floods the log is shut off after fewer losses (kern/device_fault.c). */
enum { DOUBTS_MAX = 1000 };
enum : uint64_t {
	TICK_NS = NS_PER_S,
	POLL_NS = 2 * NS_PER_MS,
	BIT_TAKEN = BIT(0),
	BIT_BUSY = BIT(1)
};
/* Seconds.  Cloud disks may pause for long: a command is given up late, and called slow before. */
enum { SLOW_S = 30, ABORT_S = 120 };
enum { ABORTED = 0x007 };		/* status of a command that ended by an abort */

struct server server;

/* Between the two threads. */
static struct msg handed;			/* from BIT_CALL until BIT_TAKEN */
static handle_t endpoint, listener;		/* listener: the listening thread's notification */
static uint32_t resting;			/* it does not tick */
static uint8_t listen_stack[STACK_BYTES] ALIGNED(16);

static void
tick(void)
{
	if (load_relaxed(&server.inflight) != 0) {
		(void)sys_ntfn_signal(server.device.ntfn, BIT_TICK);
		return;
	}
	store_relaxed(&resting, 1);
	smp_full();
	if (load_relaxed(&server.inflight) !=
	    0) /* put just now: the other thread may not have seen it */
		store_relaxed(&resting, 0);
}

static NORETURN void
listen(void)
{
	uint64_t period = server.ctrl.polled ? POLL_NS : TICK_NS, next = now_ns() + period, bits;

	for (;;) {
		enum status s = msg_recv(
		    endpoint, listener, &handed, load_relaxed(&resting) ? DEADLINE_NEVER : next);

		if (s == E_TIMED_OUT) {
			tick();
			next = now_ns() + period;
		} else if (s == E_STALE || s == E_HANDLE) {
			die("the endpoint is gone");
		} else if (s == OK && handed.notification) {
			store_relaxed(&resting, 0);
			next = now_ns() + period;
		} else if (s == OK) {
			(void)sys_ntfn_signal(server.device.ntfn, BIT_CALL);
			do {
				s = sys_ntfn_wait(listener, DEADLINE_NEVER, &bits);
				if (s == OK && (bits & BIT_BUSY) != 0 && load_relaxed(&resting))
					store_relaxed(&resting, 0);
			} while (s == OK && (bits & BIT_TAKEN) == 0);
		}
	}
}

/*
 * The IOMMU lost records while the request was in the device: maybe of this one's accesses, most
 * likely of some other device's that floods the log.  So it is done once more, and believed when
 * nothing was lost meanwhile.  True: it is on its way.
 */
static COLD bool
put_again(struct request *r)
{
	if (r->own_faults != server.own_faults || r->session->closing || ++r->doubts > DOUBTS_MAX)
		return false;
	r->next = server.again;
	server.again = r;
	server.retry = true;
	return true;
}

/* One command is done. */
static ALWAYS_INLINE void
complete(const struct nvme_done *d)
{
	struct request *r = d->cookie;
	enum status e = d->status;

	if (unlikely(r == NULL))	/* a rogue's, late */
		return;
	server.blk.done[r->io.op]++;
	if (unlikely(e != OK))
		complain("%s of %u blocks at %llu, namespace %u: %s (status type %u code 0x%02x)",
		    request_text(r), r->io.blocks, (unsigned long long)r->io.lba, r->io.nsid,
		    nvme_status_text(d->sct_sc), d->sct_sc >> 8, d->sct_sc & 0xff);
	if (unlikely(d->sct_sc == ABORTED))
		e = E_TIMED_OUT;
	if (unlikely(r->faults != server.faults)) {
		if (e == OK && put_again(r))
			return;
		e = E_IO;
	}
	if (unlikely(r->io.op == NVME_OP_ZERO) && e == OK && request_goes_on(r))
		return;
	request_done(r, e, d->sct_sc);
}

/*
 * Faults without losses of records.  A loss may be in its own number already and not yet in the
 * sum: so this may be too small, and never too large.
 */
static uint64_t
own_faults(uint64_t faults)
{
	uint32_t lost = drv_faults_lost(&server.device);

	return faults - min_u64(faults, lost);
}

/* Was anything refused that the device did until now?  Then nothing that is in flight is believed
 * (D11). */
static ALWAYS_INLINE void
look(void)
{
	uint64_t now = drv_faults(&server.device), own;

	if (likely(now == server.faults))
		return;
	if (now == UINT64_MAX)
		die("the device was taken away");
	own = own_faults(now);
	if (own > server.own_faults)
		complain("the IOMMU refused accesses of the device: %u requests in flight fail",
		    server.inflight);
	else
		complain("the IOMMU lost records: %u requests in flight are put again",
		    server.inflight);
	server.faults = now;
	server.own_faults = max_u64(server.own_faults, own);
}

static ALWAYS_INLINE void
take_completions(struct nvme_ioq *q)
{
	struct nvme_done d[BATCH];

	while (nvme_ioq_ready(q)) {
		uint32_t n = nvme_ioq_take(q, d, ARRAY_SIZE(d));

		look();
		for (uint32_t i = 0; i < n; i++)
			complete(&d[i]);
		if (n < ARRAY_SIZE(d))
			break;
	}
	server.dirty |= 1u << (q->id - 1);
}

/* One turn over queues and rings. */
static void
turn(void)
{
	struct nvme_ioq *q = server.ctrl.ioq;

	for (uint32_t i = 0; i < server.ioq_count; i++)
		if (nvme_ioq_ready(&q[i]))
			take_completions(&q[i]);
	if (likely(server.again == NULL) || recover_again())
		for_each_bit(n, server.blk.live)
			session_take(&server.blk.session[n]);
	for_each_bit(n, server.dirty) {
		(void)nvme_ioq_ring(&q[n]);
		if (unlikely(q[n].fault != NULL))
			recover_reset(q[n].fault);
	}
	server.dirty = 0;
	blk_serve_publish(&server.blk);
}

/* Says that signals are needed, then looks once more: true when there is nothing to do. */
static bool
may_sleep(void)
{
	blk_serve_sleeps(&server.blk);
	if (server.inflight != 0) {
		if (unlikely(load_relaxed(&resting)))
			(void)sys_ntfn_signal(listener, BIT_BUSY);
	}
	/* Bits that the driver took while it waited for the controller. */
	if (unlikely(server.retry || server.device.seen != 0))
		return false;
	return !blk_serve_has_new(&server.blk);
}

enum { ROGUE_READ, ROGUE_WRITE, ROGUE_RESET, ROGUE_STRAY, ROGUE_FLOOD };

/* As many commands as there is room for, and no page of them granted. */
static enum status
flood(struct nvme_ioq *q, const struct nvme_io *io, uint64_t *commands)
{
	enum status s = OK;

	server.careless = true;
	for (*commands = 0; *commands < FLOOD_MAX && s == OK; (*commands)++)
		s = nvme_ioq_put(q, io);
	return s == OK || s == E_WOULD_BLOCK ? nvme_ioq_ring(q) : s;
}

/* The driver lies about an address: the kernel or the IOMMU must refuse it.  Or it resets its
 * controller under load.  Only when started as "rogue". */
static enum status
rogue(struct msg *m)
{
	struct nvme_ioq *q = &server.ctrl.ioq[0];
	struct nvme_io io = { .op = m->w[1] == ROGUE_WRITE ? NVME_OP_WRITE : NVME_OP_READ,
		.data = { m->w[0] },
		.bytes = 4096,
		.nsid = server.ctrl.ns[0].nsid,
		.blocks = 4096 / server.ctrl.ns[0].block_bytes };
	uint64_t until = now_ns() + 5 * NS_PER_S;
	struct nvme_done d = { 0 };
	enum status s;

	if (strcmp(start_info->args, "rogue") != 0 || server.ctrl.ns_count == 0)
		return E_REFUSED;
	if (m->w[1] == ROGUE_RESET) {
		recover_reset("a test asks for it");
		return OK;
	}
	if (m->w[1] == ROGUE_STRAY) {
		server.blk.stray = true;
		return OK;
	}
	if (server.inflight != 0)
		return E_BUSY;
	if (m->w[1] == ROGUE_FLOOD)
		return flood(q, &io, &m->w[0]);
	s = nvme_ioq_put(q, &io);
	if (s != OK)
		return s;
	s = nvme_ioq_ring(q);
	if (s != OK)
		return s;		/* the kernel looked before the device could */
	while (nvme_ioq_take(q, &d, 1) == 0 && now_ns() < until)
		sleep_until(now_ns() + NS_PER_MS);
	(void)nvme_ioq_settle(q);
	m->w[0] = d.sct_sc;
	return OK;
}

static bool
find_disk(uint32_t index, uint32_t slot, struct blk_disk *d, const void **disk, void **queue)
{
	const struct nvme_ns *ns = &server.ctrl.ns[index];

	if (index >= server.ctrl.ns_count)
		return false;
	*d = (struct blk_disk){ ns->blocks, ns->block_bytes, ns->read_only };
	*disk = ns;
	*queue = &server.ctrl.ioq[slot % server.ctrl.ioq_count];
	return true;
}

static enum status let_go(struct blk_session *s) { return nvme_ioq_settle(s->queue); }

static void
call(void)
{
	struct msg m = handed;

	(void)sys_ntfn_signal(listener, BIT_TAKEN);
	blk_serve_call(&server.blk, &m);
}

/* The kernel says that the device faulted, or was taken away. */
static void
fault(void)
{
	look();
	if (nvme_ctrl_trouble(&server.ctrl) != NULL)
		recover_reset(nvme_ctrl_trouble(&server.ctrl));
}

/* Tells a client that its answer is there and sleeps, in one call. */
static ALWAYS_INLINE uint64_t
sleep_until_signalled(void)
{
	struct blk_session *s = server.blk.wake;
	uint64_t bits = 0;

	server.blk.wake = NULL;
	if (s == NULL)
		(void)sys_ntfn_wait(server.device.ntfn, DEADLINE_NEVER, &bits);
	else if (sys_ntfn_signal_wait(
		     server.device.ntfn, DEADLINE_NEVER, s->client, s->client_bits, &bits) != OK)
		bits = 0;	/* its notification is gone: look again, and sleep without it */
	return bits;
}

static NORETURN void
serve(void)
{
	uint32_t polls = 0;

	for (;;) {
		uint64_t bits = 0;

		turn();
		if (unlikely(server.blk.closing))
			blk_serve_end_closing(
			    &server.blk); /* the last answer of one may just have come */
		if (likely(may_sleep()))
			bits = sleep_until_signalled();
		else
			blk_serve_wake(&server.blk);
		blk_serve_woke(&server.blk);
		bits |= server.device.seen;
		server.device.seen = 0;
		if (likely((bits & (BIT_CALL | BIT_TICK | BIT_FAULT)) == 0))
			continue;
		if ((bits & BIT_FAULT) != 0)
			fault();
		if ((bits & BIT_TICK) != 0 &&
		    (!server.ctrl.polled || ++polls % (TICK_NS / POLL_NS) == 0))
			recover_tick();
		if ((bits & BIT_CALL) != 0)
			call();
	}
}

static handle_t
notification(void)
{
	uint64_t h;

	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	return (handle_t)h;
}

int
main(void)
{
	struct nvme_ctrl *c = &server.ctrl;
	const char *why = "";
	uint64_t h, priority;
	enum status s;

	endpoint = start_handle("endpoint");
	server.device.handle = start_handle("device");
	server.device.ntfn = notification();
	listener = notification();
	if (sys_handle_dup(server.device.ntfn, RIGHT_SIGNAL | RIGHT_GIVE, &h) != OK)
		die("no handle");
	server.blk.signal = (handle_t)h;
	server.blk.device = &server.device;
	server.blk.find_disk = find_disk;
	server.blk.ranges = blk_serve_ranges();
	server.blk.let_go = let_go;
	server.blk.flush = session_flush;
	server.blk.rogue = rogue;
	server.slow_s = start_number("slow", SLOW_S);
	server.abort_s = start_number("abort", ABORT_S);
	for (uint32_t i = REQUESTS; i-- != 0; ) {
		server.request[i].next = server.free;
		server.free = &server.request[i];
	}
	s = nvme_ctrl_start(c, &server.device, start_number("queues", cpu_count()),
	    start_number("depth", DEPTH), &why);
	if (s != OK)
		die("controller not usable: %s (%s)", why, status_text(s));
	server.ioq_count = c->ioq_count;
	server.blk.disks = c->ns_count;
	server.blk.model = c->model;
	server.blk.serial = c->serial;
	server.blk.max_transfer_bytes = c->max_transfer_bytes;
	server.blk.volatile_cache = c->volatile_cache;
	server.blk.ops = 1u << BLK_READ | 1u << BLK_WRITE | 1u << BLK_FLUSH |
	    (c->discards ? 1u << BLK_DISCARD : 0) | (c->zeroes ? 1u << BLK_ZERO : 0);
	(void)sys_watch(server.device.handle, server.device.ntfn, BIT_FAULT);
	server.faults = drv_faults(&server.device);
	server.own_faults = own_faults(server.faults);
	log_line(2,
	    "NVMe %u.%u, %s, serial %s, firmware %s: %u namespace%s, %u queue%s of %u, %llu KiB a transfer%s%s",
	    c->version_major, c->version_minor, c->model, c->serial, c->firmware, c->ns_count,
	    c->ns_count == 1 ? "" : "s", c->ioq_count, c->ioq_count == 1 ? "" : "s", c->depth,
	    (unsigned long long)(c->max_transfer_bytes / KIB), c->discards ? ", discard" : "",
	    c->zeroes ? ", zeroes" : "");
	if (c->polled)
		log_line(1, "no interrupt vector: completions are looked for every %u ms",
		    (unsigned)(POLL_NS / NS_PER_MS));
	/* As urgent as this thread, whose priority only the manifest knows: the highest that is
	 * allowed. */
	for (priority = PRIORITY_MAX; ; priority--) {
		s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)listen,
		    (uint64_t)(uintptr_t)(listen_stack + STACK_BYTES) - STACK_ENTRY, 0, 0,
		    priority | CPU_ANY << 8, &h);
		if (s == OK)
			break;
		if (priority == 1)
			die("no thread to listen with: %s", status_text(s));
	}
	service_ready();
	serve();
}
