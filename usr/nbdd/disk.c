/*
 * Exports and their disks.
 *
 * An export is one session with a block server, by a handle that is good for a byte range of a disk
 * and nothing else: what clients ask for beyond it, or against its rights, the server refuses,
 * whatever the protocol said.  The manifest says which ranges these are, and the device manager
 * gives the handles (DEVMGR_DISK).  All connections to the export share the session, so that one's
 * flush covers what another was answered, also over a restart of the server (blk.h); each has its
 * own part of the data area, so that a client that does not read its answers holds up only itself.
 * The session is opened for the first connection and closed after the last: memory is taken while
 * somebody is there.
 *
 * Whatever may wait for a server is a job for the export's own thread: looking for the disk,
 * opening and closing the session, finding the successor of a server that died, making room for a
 * write. While it is busy it alone uses the session; the main thread leaves the export alone,
 * serves the others, and passes on what wakes it.
 *
 * Requests in flight are named by a cookie: owner[] tells whose piece it is.
 */
#include "kern/base/bits.h"
#include "usr/lib/devmgr.h"
#include "usr/nbdd/nbdd.h"

/* Most in one request: what a server does without others having to wait for long. */
enum : uint32_t { TRIM_BYTES = 1u << 30, ZERO_BYTES = 64u << 20 };
enum : uint64_t { ASK_NS = NS_PER_S, RECOVER_NS = NS_PER_S };
enum { STACK_BYTES = 8192 };

enum job : uint32_t { JOB_NONE, JOB_LOOK, JOB_OPEN, JOB_RECOVER, JOB_DRAIN, JOB_CLOSE };

static struct disk {
	uint32_t number; /* (c) of the export; of our disks, for the device manager */
	bool read_only;			/* (c) */
	handle_t wake;			/* (c) what its thread waits on */
	uint32_t job;			/* its thread's, until it is JOB_NONE again */
	enum job doing;			/* the last that was begun, until its end is seen */
	enum status status;		/* what came of it */
	struct nbd_export found;	/* by JOB_LOOK */
	handle_t endpoint;		/* HANDLE_NONE: not found yet */
	struct blk *blk;		/* NULL: no session */
	uint32_t shares;		/* by bit */
	uint64_t free[BLK_SLOTS / 64];	/* cookies, by bit */
	struct { uint8_t connection, piece; } owner[BLK_SLOTS];
	enum status why;		/* there was no room to be made: for whoever needed it */
	bool dead;			/* its session has ended, and not by us */
	bool said;			/* that its range is not on the disk */
} disk[EXPORTS];

struct nbd_export exports[EXPORTS];
uint32_t export_count;
static uint8_t stacks[EXPORTS][STACK_BYTES] ALIGNED(16);

/* --- jobs ------------------------------------------------------------------------ */

static bool
can(uint64_t info, enum blk_op op)
{
	return (FIELD_GET(BLK_INFO_OPS, info) & 1u << op) != 0;
}

static enum status
ask_for(uint32_t number, struct msg *m)
{
	enum status s;

	*m = (struct msg){ .label = DEVMGR_DISK, .words = 1, .w = { number } };
	s = msg_call(devmgr, m, now_ns() + ASK_NS);
	return s != OK ? s : msg_answer(m, 1);
}

static enum status
look(struct disk *d)
{
	struct msg m, name = { .label = BLK_CALL_NAME };
	struct nbd_export *e = &d->found;
	uint64_t where;
	enum status s;

	if (d->endpoint != HANDLE_NONE)
		(void)sys_handle_close(d->endpoint);
	d->endpoint = HANDLE_NONE;
	s = ask_for(d->number, &m);
	if (s != OK)
		return s;
	d->endpoint = (handle_t)m.w[0];
	where = m.w[2];
	m = (struct msg){ .label = BLK_CALL_INFO, .words = 1 };
	s = msg_call(d->endpoint, &m, now_ns() + ASK_NS);
	if (s == OK)
		s = msg_answer(&m, 0);
	if (s == OK)
		s = msg_call(d->endpoint, &name, now_ns() + ASK_NS);
	if (s == OK)
		s = msg_answer(&name, 0);
	if (s != OK)
		return s;
	if (!export_fits(m.w[0], m.w[1], (uint32_t)m.w[3], e))
		return E_RANGE;
	e->read_only = d->read_only || (m.w[2] & BLK_INFO_READ_ONLY) != 0;
	e->trim_bytes = can(m.w[2], BLK_DISCARD) ? TRIM_BYTES : 0;
	e->zero_bytes = can(m.w[2], BLK_ZERO) ? ZERO_BYTES : 0;
	fmt_buf(e->about, sizeof(e->about), "%s%un%u: %.40s serial %.20s",
	    strncmp((const char *)&name.w[0], "virtio", 6) == 0 ? "disk" : "nvme",
	    (uint32_t)(where >> 32), (uint32_t)where + 1, (const char *)&name.w[0],
	    (const char *)&name.w[5]);
	return OK;
}

static enum status
open_session(struct disk *d)
{
	struct blk_wish w = { .rights = BLK_RIGHT_READ | (d->found.read_only ? 0 : BLK_RIGHT_WRITE),
		.data_bytes = SHARES * SHARE_PAGES * PAGE_SIZE,
		.ntfn = ntfn,
		.wait = d->wake,
		.bits = BIT_DISKS };
	uint64_t pages = pages_of(sizeof(struct blk));
	enum status s;

	d->blk = pages_alloc(pages, NULL);
	if (d->blk == NULL)
		return E_NO_MEMORY;
	s = blk_open_wish(d->blk, d->endpoint, &w);
	if (s != OK) {
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)d->blk, pages * PAGE_SIZE);
		d->blk = NULL;
	}
	return s;
}

static void
close_session(struct disk *d)
{
	blk_close(d->blk);		/* what no flush covered was never said to be durable */
	if (load_acquire(&d->blk->keeper) == 0)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)d->blk,
		    pages_of(sizeof(struct blk)) * PAGE_SIZE);
	d->blk = NULL;
}

static enum status
do_job(struct disk *d, enum job job)
{
	switch (job) {
	case JOB_LOOK:
		return look(d);
	case JOB_OPEN:
		return open_session(d);
	case JOB_RECOVER:
		return blk_recover(d->blk, now_ns() + RECOVER_NS);
	case JOB_DRAIN:
		return blk_drain(d->blk);
	case JOB_CLOSE:
		close_session(d);
		return OK;
	case JOB_NONE:
		break;
	}
	return E_INVALID;
}

static NORETURN void
work(struct disk *d)
{
	for (;;) {
		enum job job;
		uint64_t bits;

		while ((job = (enum job)load_acquire(&d->job)) == JOB_NONE)
			(void)sys_ntfn_wait(d->wake, DEADLINE_NEVER, &bits);
		d->status = do_job(d, job);
		store_release(&d->job, JOB_NONE);
		(void)sys_ntfn_signal(ntfn, BIT_DISKS);
	}
}

static void
begin(struct disk *d, enum job job)
{
	d->doing = job;
	store_release(&d->job, job);
	(void)sys_ntfn_signal(d->wake, 1);
}

/* --- the exports that there are ---------------------------------------------------- */

static void
start_thread(struct disk *d, uint8_t *stack)
{
	enum status s = E_INVALID;
	uint64_t h;

	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	d->wake = (handle_t)h;
	/* As urgent as this thread: the highest that is allowed. */
	for (uint64_t priority = PRIORITY_MAX; s != OK && priority >= PRIORITY_MIN; priority--)
		s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)work,
		    (uint64_t)(uintptr_t)(stack + STACK_BYTES) - STACK_ENTRY,
		    (uint64_t)(uintptr_t)d, 0, priority | CPU_ANY << 8, &h);
	if (s != OK)
		die("no thread for an export: %s", status_text(s));
}

void
disks_init(void)
{
	while (export_count < EXPORTS) {
		struct disk *d = &disk[export_count];
		struct msg m;
		enum status s = ask_for(export_count, &m);

		if (s == E_NOT_FOUND)
			break;
		if (s != OK && s != E_NO_DEVICE) {
			sleep_until(now_ns() + ASK_NS / 10);	/* it is starting */
			continue;
		}
		if (s == OK)
			(void)sys_handle_close(m.w[0]);
		d->number = export_count;
		d->read_only = (m.w[1] & BLK_RIGHT_WRITE) == 0;
		static_assert(sizeof(exports->name) == 4 * sizeof(m.w[0]));
		memcpy(exports[export_count].name, &m.w[4], NBD_NAME);
		exports[export_count].name[NBD_NAME - 1] = 0;
		exports[export_count].read_only = d->read_only;
		start_thread(d, stacks[export_count++]);
	}
}

bool
disks_look(bool again)
{
	bool all = true;

	for (uint32_t i = 0; i < export_count; i++) {
		if (again && exports[i].bytes == 0 && disk[i].doing == JOB_NONE)
			begin(&disk[i], JOB_LOOK);
		all &= disk[i].doing != JOB_LOOK;
	}
	return all;
}

/* --- connections --------------------------------------------------------------------- */

bool
disk_join(uint8_t export, struct connection *c)
{
	struct disk *d = &disk[export];
	uint8_t share;

	if (d->doing != JOB_NONE)
		return false;
	if (d->shares == (1u << SHARES) - 1 || d->dead || exports[export].bytes == 0) {
		nbd_answer(&c->nbd, NULL, 0);
		return true;
	}
	if (d->blk == NULL) {
		begin(d, JOB_OPEN);
		return false;
	}
	share = (uint8_t)lowest_bit(~d->shares);
	d->shares |= 1u << share;
	c->share = share;
	nbd_answer(&c->nbd, d->blk->data + share * SHARE_PAGES * PAGE_SIZE, SHARE_PAGES);
	return true;
}

void
disk_leave(struct connection *c)
{
	if (c->share == NBD_NONE)
		return;
	disk[c->nbd.export].shares &= ~(1u << c->share);
	c->share = NBD_NONE;
}

static uint32_t
take_cookie(struct disk *d)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(d->free); i++)
		if (d->free[i] != 0) {
			unsigned bit = lowest_bit(d->free[i]);

			d->free[i] &= ~BIT(bit);
			return i * 64 + bit;
		}
	return BLK_SLOTS;
}

static void
give_cookie(struct disk *d, uint32_t cookie)
{
	d->free[cookie / 64] |= BIT(cookie % 64);
}

/* The next request of a connection, into the disk or answered.  False: there is no room for it now.
 */
static bool
put(struct disk *d, struct connection *c)
{
	static const uint32_t ops[] = { [NBD_READ] = BLK_READ, [NBD_WRITE] = BLK_WRITE,
		[NBD_FLUSH] = BLK_FLUSH, [NBD_TRIM] = BLK_DISCARD, [NBD_ZERO] = BLK_ZERO };
	struct nbd_request r;
	enum status s = E_NO_DEVICE;
	uint32_t cookie = 0;

	(void)nbd_look(&c->nbd, &r);
	if (!d->dead) {
		if (blk_room(d->blk) == 0 || (cookie = take_cookie(d)) == BLK_SLOTS)
			return false;
		s = OK;
		if (blk_put_waits(d->blk, ops[r.op], r.bytes)) {
			s = d->why;
			d->why = OK;
			give_cookie(d, cookie);
			if (s == OK) {
				begin(d, JOB_DRAIN);
				return false;
			}
		}
	}
	(void)nbd_take(&c->nbd, &r);
	if (s == OK) {
		d->owner[cookie].connection = (uint8_t)(c - connection);
		d->owner[cookie].piece = r.piece;
		s = blk_put(d->blk, ops[r.op] | (r.fua ? BLK_FUA : 0), r.at,
		    c->share * SHARE_PAGES * PAGE_SIZE + r.data, r.bytes, cookie);
		if (s != OK)
			give_cookie(d, cookie);
	}
	if (s != OK)
		nbd_done(&c->nbd, r.piece, s);
	return true;
}

void
disk_put(struct connection *c)
{
	struct disk *d = &disk[c->nbd.export];

	c->waits = false;
	while (nbd_has(&c->nbd) && !c->waits)
		c->waits = d->doing != JOB_NONE || !put(d, c);
}

/* --- turns ------------------------------------------------------------------------------ */

/* The session is over: so is what it was asked for. */
static void
fail(struct disk *d, const struct nbd_export *e, enum status why)
{
	log_line(1, "the disk of export %s: %s", e->name, status_text(why));
	d->dead = true;
	for (uint32_t i = 0; i < BLK_SLOTS; i++)
		if ((d->free[i / 64] & BIT(i % 64)) == 0) {
			give_cookie(d, i);
			nbd_done(&connection[d->owner[i].connection].nbd, d->owner[i].piece, why);
		}
}

/* Its thread is done. */
static void
ended(struct disk *d, struct nbd_export *e, enum job job)
{
	switch (job) {
	case JOB_LOOK:
		if (d->status == OK) {
			str_copy(d->found.name, e->name, NBD_NAME);
			*e = d->found;
		} else if (d->status == E_RANGE && !d->said) {
			log_line(
			    0, "export %s is not on its disk, or not of whole blocks", e->name);
			d->said = true;
		}
		break;
	case JOB_OPEN:
		if (d->status == OK) {
			memset(d->free, 0xff, sizeof(d->free));
			d->dead = false;
			d->why = OK;
			break;
		}
		log_line(1, "no session for export %s: %s", e->name, status_text(d->status));
		e->bytes = 0;		/* looked for anew when the next client comes */
		break;
	case JOB_RECOVER:
		if (d->status != OK && d->status != E_TIMED_OUT)
			fail(d, e, d->status);
		break;
	case JOB_DRAIN:
		d->why = d->status;
		break;
	case JOB_CLOSE:
		if (d->dead)
			e->bytes = 0;
		d->dead = false;
		break;
	case JOB_NONE:
		break;
	}
}

static bool
turn(struct disk *d, const struct nbd_export *e)
{
	struct blk_answer a;
	bool any = false;
	enum status s;

	while (!d->dead && (s = blk_poll(d->blk, &a)) != E_WOULD_BLOCK) {
		if (s == E_PEER) {
			begin(d, JOB_RECOVER);
			return any;
		}
		any = true;
		if (s != OK) {
			fail(d, e, s);
			break;
		}
		give_cookie(d, a.cookie);
		nbd_done(&connection[d->owner[a.cookie].connection].nbd, d->owner[a.cookie].piece,
		    a.status);
	}
	if (d->shares == 0)
		begin(d, JOB_CLOSE);
	return any;
}

bool
disks_turn(void)
{
	bool any = false;

	for (uint32_t i = 0; i < export_count; i++) {
		struct disk *d = &disk[i];

		if (d->doing != JOB_NONE && load_acquire(&d->job) == JOB_NONE) {
			enum job job = d->doing;

			d->doing = JOB_NONE;
			ended(d, &exports[i], job);
			any = true;
			if (job == JOB_OPEN)
				continue;	/* whom it is for comes first */
		}
		if (d->doing == JOB_NONE && d->blk != NULL)
			any |= turn(d, &exports[i]);
	}
	return any;
}

bool
disks_may_sleep(void)
{
	bool all = true;

	for (uint32_t i = 0; i < export_count; i++) {
		struct disk *d = &disk[i];

		if (d->doing == JOB_NONE && d->blk != NULL && !d->dead)
			all &= blk_may_sleep(d->blk);
	}
	return all;
}

void
disks_woke(void)
{
	for (uint32_t i = 0; i < export_count; i++) {
		struct disk *d = &disk[i];

		if (d->doing != JOB_NONE)
			(void)sys_ntfn_signal(d->wake, 1);
		else if (d->blk != NULL && !d->dead)
			blk_woke(d->blk);
	}
}
