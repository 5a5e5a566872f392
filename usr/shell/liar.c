/*
 * A client that lies to a block server in every way that the protocol allows it to write.
 *
 * Beside it runs an honest session, whose bytes are compared after every lie: whatever the liar
 * gets, others must not notice.  Each line says what was tried and what came of it; the exit status
 * counts what was not refused as it should.
 */
#include "kern/base/bits.h"
#include "usr/lib/blk.h"
#include "usr/shell/shell.h"

enum { AREA = 64 * 1024, RACES = 3000, MANY = 12, HASTY = 64, IN_FLIGHT = 8, STACK_BYTES = 4096 };

static struct blk honest, liar, many[MANY];
static uint8_t first[AREA];
static unsigned failures;
static uint32_t race_on;
static uint8_t stack[STACK_BYTES] ALIGNED(16);

static void
judge(const char *what, enum status got, enum status want)
{
	enum status s = blk_do(&honest, BLK_READ, 0, 0, AREA);

	if (s != OK || memcmp(honest.data, first, AREA) != 0) {
		print("liar: %s: THE HONEST SESSION SUFFERED (%s)\n", what, status_text(s));
		failures++;
	} else if (got != want) {
		print("liar: %s: NOT AS IT SHOULD: %s\n", what, status_text(got));
		failures++;
	} else {
		print("liar: %s: %s\n", what, status_text(got));
	}
}

/* Requests that are well formed and ask for what they must not. */
static void
bad_requests(const char *name)
{
	static const struct {
		const char *what;
		uint32_t op;
		uint64_t at, data;
		uint32_t bytes;
		enum status want;
	} r[] = {
		{ "a read behind the end", BLK_READ, 1ull << 40, 0, 512, E_RANGE },
		{ "a read whose end wraps", BLK_READ, -4096ull, 0, 8192, E_RANGE },
		{ "a read of nothing", BLK_READ, 0, 0, 0, E_RANGE },
		{ "a read of 4 GiB", BLK_READ, 0, 0, 0xfffff000, E_RANGE },
		{ "data behind the area", BLK_READ, 0, AREA, 4096, E_RANGE },
		{ "data that leaves the area", BLK_READ, 0, AREA - 512, 4096, E_RANGE },
		{ "data whose end wraps", BLK_READ, 0, -4096ull, 8192, E_RANGE },
		{ "an offset between blocks", BLK_READ, 100, 0, 4096, E_ALIGN },
		{ "a length between blocks", BLK_READ, 0, 0, 1000, E_ALIGN },
		{ "data at an odd address", BLK_READ, 0, 2, 4096, E_ALIGN },
		{ "an operation that is none", 77, 0, 0, 4096, E_INVALID },
		{ "a flag that is none", BLK_READ | 1u << 20, 0, 0, 4096, E_INVALID },
		{ "a write without the right", BLK_WRITE, 0, 0, 4096, E_RIGHTS },
		{ "a flush without the right", BLK_FLUSH, 0, 0, 0, E_RIGHTS },
	};

	if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		judge(r[i].what, blk_do(&liar, r[i].op, r[i].at, r[i].data, r[i].bytes), r[i].want);
	judge("a read that is allowed", blk_do(&liar, BLK_READ, 4096, 0, 4096), OK);
	disk_close(&liar);
}

/* Indices that cannot be: the session is over. */
static void
bad_indices(const char *name)
{
	static const char *const what[] = {
		"a head beyond the ring",
		"a head that went back",
		"answers read that were never written",
		"answers left unread",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(what); i++) {
		uint32_t cookie, detail;
		enum status s;

		if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
			return;
		s = blk_put(&liar, BLK_READ, 0, 0, 4096, 1);
		switch (i) {
		case 0: liar.head = BLK_SLOTS + 1; break;
		case 1: liar.head = UINT32_MAX; break;
		case 2: store_relaxed(&liar.ring->done_tail, 1); break;
		case 3: store_relaxed(&liar.ring->done_tail, 0u - BLK_SLOTS); break;
		}
		blk_kick(&liar);
		if (s == OK)
			s = blk_next(&liar, &cookie, &detail, now_ns() + 5 * NS_PER_S);
		judge(what[i], s, E_CORRUPT);
		disk_close(&liar);
	}
}

/* Makes requests of the ring change all the time, from allowed to forbidden and back. */
static NORETURN void
flip(void)
{
	while (load_acquire(&race_on) == 1) {
		for (unsigned i = 0; i < BLK_SLOTS; i++) {
			struct blk_req *r = &liar.ring->req[i];

			once_store(&r->bytes, 256 * 1024);
			once_store(&r->data, AREA - 512);
			once_store(&r->at, liar.len - 512);
			once_store(&r->at, 0);
			once_store(&r->data, 0);
			once_store(&r->bytes, 512);
		}
	}
	store_release(&race_on, 0);
	(void)sys_thread_exit();
	for (;;)
		;
}

static void
race(const char *name)
{
	unsigned done = 0, refused = 0, other = 0;
	uint64_t id;

	if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
		return;
	store_release(&race_on, 1);
	if (sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)flip,
		(uint64_t)(uintptr_t)(stack + STACK_BYTES) - STACK_ENTRY, 0, 0, 9 | CPU_ANY << 8,
		&id) != OK) /* on one CPU: while this thread waits */
		store_release(&race_on, 0);
	for (unsigned i = 0; i < RACES; i++) {
		enum status s = blk_do(&liar, BLK_READ, 0, 0, 512);

		done += s == OK;
		refused += s == E_RANGE;
		other += s != OK && s != E_RANGE;
	}
	if (load_acquire(&race_on) != 0)
		store_release(&race_on, 2);
	while (load_acquire(&race_on) != 0)
		sleep_until(now_ns() + NS_PER_MS);
	print("liar: %u requests that change while they are read: %u done, %u refused\n", RACES,
	    done, refused);
	judge("requests that change while they are read", other == 0 ? OK : E_IO, OK);
	disk_close(&liar);
}

/* Calls: sessions of others, objects that are not what they should be, more sessions than one may
 * have. */
static enum status
call(handle_t endpoint, struct msg m)
{
	enum status s = msg_call(endpoint, &m, now_ns() + 5 * NS_PER_S);

	if (s == OK && m.label == OK && (m.handles & 3) == 3) {
		(void)sys_handle_close(m.w[0]);
		(void)sys_handle_close(m.w[1]);
	}
	return s == OK ? (enum status)m.label : s;
}

static uint64_t stay_session;
static uint32_t stay_answer;		/* status + 1 */

static void
stay(void)
{
	struct msg m = { .label = BLK_CALL_STAY, .words = 1, .w = { stay_session } };
	enum status s = msg_call(liar.endpoint, &m, DEADLINE_NEVER);

	store_release(&stay_answer, 1 + (s == OK ? (uint32_t)m.label : (uint32_t)s));
	(void)sys_thread_exit();
	for (;;)
		;
}

/* Two threads stay in one session: whoever comes second is refused.  Who that is does not matter.
 */
static enum status
stay_twice(void)
{
	struct msg m = { .label = BLK_CALL_OPEN,
		.words = 8,
		.handles = 3,
		.w = { liar.data_memory, liar.ntfn, 0, (uint64_t)BLK_RIGHT_READ << 32, 0, 0, AREA,
		    1 } };
	enum status s = msg_call(liar.endpoint, &m, now_ns() + 5 * NS_PER_S), mine;
	uint64_t id;

	if (s != OK || m.label != OK)
		return s != OK ? s : (enum status)m.label;
	(void)sys_handle_close(m.w[0]);
	(void)sys_handle_close(m.w[1]);
	stay_session = m.w[2];
	store_relaxed(&stay_answer, 0);
	s = sys_thread_create(HANDLE_NONE, (uint64_t)(uintptr_t)stay,
	    (uint64_t)(uintptr_t)(stack + STACK_BYTES) - STACK_ENTRY, 0, 0, 10 | CPU_ANY << 8, &id);
	if (s != OK)
		return s;
	mine = call(liar.endpoint,
	    (struct msg){ .label = BLK_CALL_STAY, .words = 1, .w = { stay_session } });
	s = call(liar.endpoint,
	    (struct msg){ .label = BLK_CALL_CLOSE, .words = 1, .w = { stay_session } });
	while (load_acquire(&stay_answer) == 0)
		sleep_until(now_ns() + NS_PER_MS);
	if (s != OK)
		return s;
	return mine == E_BUSY ? mine : (enum status)(stay_answer - 1);
}

static void
bad_calls(const char *name)
{
	struct msg open;
	uint64_t h;

	if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
		return;
	judge("closing the session of another", call(liar.endpoint,
	    (struct msg){ .label = BLK_CALL_CLOSE, .words = 1, .w = { honest.session } }), E_STALE);
	judge("staying in a session twice", stay_twice(), E_BUSY);
	judge("staying in the session of another", call(liar.endpoint,
	    (struct msg){ .label = BLK_CALL_STAY, .words = 1, .w = { honest.session } }), E_STALE);
	open = (struct msg){ .label = BLK_CALL_OPEN,
		.words = 8,
		.handles = 3,
		.w = { liar.data_memory, liar.ntfn, 0, (uint64_t)BLK_RIGHT_READ << 32, 0, 0, AREA,
		    1 } };
	open.w[6] = AREA + PAGE_SIZE;
	judge("a data area larger than its memory", call(liar.endpoint, open), E_INVALID);
	open.w[6] = -1ull;
	judge("a data area of all there is", call(liar.endpoint, open), E_INVALID);
	open.w[6] = AREA;
	open.w[4] = liar.len;
	open.w[5] = 512;
	judge("a range behind the end", call(liar.endpoint, open), E_RANGE);
	open.w[4] = 4096;
	open.w[5] = -4096ull;
	judge("a range that wraps", call(liar.endpoint, open), E_RANGE);
	open.w[4] = 100;
	open.w[5] = 1000;
	judge("a range between blocks", call(liar.endpoint, open), E_ALIGN);
	open.w[4] = open.w[5] = 0;
	open.w[3] = 0xffull << 32;
	judge("rights that are none", call(liar.endpoint, open), E_INVALID);
	open.w[3] = (uint64_t)BLK_RIGHT_READ << 32 | 1000;
	judge("a namespace that is none", call(liar.endpoint, open), E_NOT_FOUND);
	open.w[3] = (uint64_t)BLK_RIGHT_READ << 32;
	open.w[0] = liar.ntfn;
	judge("a notification as data area", call(liar.endpoint, open), E_INVALID);
	open.w[0] = liar.data_memory;
	open.w[1] = liar.data_memory;
	judge("memory as notification", call(liar.endpoint, open), E_INVALID);
	open.w[1] = liar.ntfn;
	open.handles = 0;
	judge("no handles at all", call(liar.endpoint, open), E_INVALID);
	open.label = 4711;
	judge("a call that is none", call(liar.endpoint, open), E_INVALID);
	judge("taking the ring away", sys_handle_revoke(liar.ring_memory, now_ns() + NS_PER_S),
	    E_RIGHTS);
	if (sys_ntfn_create(&h) == OK) {
		(void)sys_handle_revoke(liar.ntfn, now_ns() + NS_PER_S);
		blk_kick(&liar);
		judge("taking the notification away", OK, OK);
		(void)sys_handle_close(liar.ntfn);
		liar.ntfn = (handle_t)h;
	}
	/* The grant outlives the object: the device may go on writing, into pages that are nobody
	 * else's. */
	(void)blk_put(&liar, BLK_READ, 0, 0, AREA, 9);
	blk_kick(&liar);
	(void)sys_handle_revoke(liar.data_memory, now_ns() + NS_PER_S);
	liar.data = NULL;
	judge("taking the data area away", OK, OK);
	disk_close(&liar);
}

static void
too_many(const char *name)
{
	enum status s = OK;
	unsigned n = 0;

	if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
		return;
	while (
	    n < MANY && (s = blk_open(&many[n], liar.endpoint, 0, BLK_RIGHT_READ, PAGE_SIZE)) == OK)
		n++;
	judge("more sessions than one client may have", s, E_QUOTA);
	while (n-- != 0)
		blk_close(&many[n]);
	s = blk_open(&many[0], liar.endpoint, 0, BLK_RIGHT_READ, PAGE_SIZE);
	judge("one more when they are closed again", s, OK);
	if (s == OK)
		blk_close(&many[0]);
	disk_close(&liar);
}

/* Sessions that end with requests in flight, after none, one, ... of their answers: the server lets
 * go of each. */
static void
hasty(const char *name)
{
	enum status s = OK;

	for (unsigned i = 0; i < HASTY && s == OK; i++) {
		uint32_t cookie, detail;

		if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
			return;
		for (uint32_t k = 0; k < IN_FLIGHT && s == OK; k++)
			s = blk_put(&liar, BLK_READ, 0, 0, AREA, k);
		blk_kick(&liar);
		for (unsigned k = 0; k < i % IN_FLIGHT && s == OK; k++)
			s = blk_next(&liar, &cookie, &detail, now_ns() + 5 * NS_PER_S);
		disk_close(&liar);
		if (s == OK && load_acquire(&liar.keeper) != 0)
			s = E_TIMED_OUT;
	}
	judge("sessions that end with requests in flight", s, OK);
}

/* Sessions that nobody stays in, as of clients that died: they must not take the place of others
 * for good. */
static void
abandoned(const char *name)
{
	enum status s = OK;
	unsigned n = 0;

	if (!disk_open(&liar, name, BLK_RIGHT_READ, AREA))
		return;
	while (n++ < MANY && s == OK)
		s = call(liar.endpoint,
		    (struct msg){ .label = BLK_CALL_OPEN,
			.words = 8,
			.handles = 3,
			.w = { liar.data_memory, liar.ntfn, 0, (uint64_t)BLK_RIGHT_READ << 32, 0, 0,
			    AREA, 1 } });
	judge("sessions abandoned until there are no more", s, E_QUOTA);
	sleep_until(now_ns() + 6 * NS_PER_S);
	s = blk_open(&many[0], liar.endpoint, 0, BLK_RIGHT_READ, PAGE_SIZE);
	judge("one more, a while later", s, OK);
	if (s == OK)
		blk_close(&many[0]);
	judge("the session beside them", blk_do(&liar, BLK_READ, 0, 0, 4096), OK);
	disk_close(&liar);
}

int
cmd_liar(int argc, char **argv)
{
	static void (*const lies[])(
	    const char *) = { bad_requests, bad_indices, race, bad_calls, too_many, hasty };
	enum status s;

	if (argc != 2 && (argc != 3 || strcmp(argv[2], "abandon") != 0)) {
		print("usage: liar DEV [abandon]\n");
		return 1;
	}
	failures = 0;
	if (!disk_open(&honest, argv[1], BLK_RIGHT_READ, AREA))
		return 1;
	s = blk_do(&honest, BLK_READ, 0, 0, AREA);
	memcpy(first, honest.data, AREA);
	if (s != OK) {
		print("liar: %s\n", status_text(s));
		disk_close(&honest);
		return 1;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(lies) && !interrupted(); i++)
		lies[i](argv[1]);
	if (argc == 3 && !was_interrupted())
		abandoned(argv[1]);
	print("liar: %u failures, the server %s\n", failures,
	    honest.restarts == 0 ? "lived" : "DIED");
	failures += honest.restarts != 0;
	disk_close(&honest);
	return was_interrupted() ? stopped() : failures != 0;
}
