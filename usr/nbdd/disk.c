/*
 * Exports and their disks.
 *
 * An export is one session with a block server, for a byte range of a namespace and with the rights
 * that the export has: what clients ask for beyond it the server would refuse, whatever the
 * protocol said. All connections to the export share the session, so that one's flush covers what
 * another was answered, also over a restart of the server (blk.h); each has its own part of the
 * data area, so that a client that does not read its answers holds up only itself. The session is
 * opened by the first connection and closed after the last: memory is taken while somebody is
 * there.
 *
 * Requests in flight are named by a cookie: owner[] tells whose piece it is.
 */
#include "kern/base/bits.h"
#include "usr/lib/devmgr.h"
#include "usr/nbdd/nbdd.h"

/* Most in one request: what a server does without others having to wait for long. */
enum : uint32_t { TRIM_BYTES = 1u << 30, ZERO_BYTES = 64u << 20 };
enum : uint64_t { ASK_NS = NS_PER_S, AGAIN_NS = 20 * NS_PER_MS };

static struct disk {
	struct export_spec spec;
	handle_t endpoint;		/* HANDLE_NONE: not found yet */
	struct blk *blk;		/* NULL: no session */
	uint32_t users, shares;		/* shares: by bit */
	uint64_t free[BLK_SLOTS / 64];	/* cookies, by bit */
	struct { uint8_t connection, piece; } owner[BLK_SLOTS];
	bool said;			/* that it has failed */
	bool away; /* its server is not there: it is asked again after a while */
} disk[EXPORTS];

struct nbd_export exports[EXPORTS];
uint32_t export_count;

void
disks_init(const char *args)
{
	const char *at = args, *from;
	struct export_spec s;
	enum status e;

	while (from = at, (e = export_next(&at, &s)) != E_NOT_FOUND) {
		bool twice = false;

		for (uint32_t i = 0; i < export_count; i++)
			twice |= e == OK && strcmp(exports[i].name, s.name) == 0;
		if (e != OK || twice || export_count == EXPORTS) {
			log_line(0, "\"%.*s\" is %s", (int)(at - from), from,
			    e != OK   ? "no export: NAME=nvmeCnN[@OFFSET+LENGTH][,ro]" :
				twice ? "there already" :
					"one too many");
			continue;
		}
		str_copy(exports[export_count].name, s.name, NBD_NAME);
		exports[export_count].read_only = s.read_only;
		disk[export_count++].spec = s;
	}
}

static bool
can(uint64_t info, enum blk_op op)
{
	return (FIELD_GET(BLK_INFO_OPS, info) & 1u << op) != 0;
}

static void
look(struct disk *d, struct nbd_export *e)
{
	struct msg m = { .label = DEVMGR_BLOCK, .words = 1, .w = { d->spec.controller } };
	struct msg name = { .label = BLK_CALL_NAME };

	if (d->endpoint == HANDLE_NONE) {
		if (msg_call(devmgr, &m, now_ns() + ASK_NS) != OK || m.label != OK)
			return;
		d->endpoint = (handle_t)m.w[0];
	}
	m = (struct msg){ .label = BLK_CALL_INFO, .words = 1, .w = { d->spec.space } };
	if (msg_call(d->endpoint, &m, now_ns() + ASK_NS) != OK || m.label != OK ||
	    msg_call(d->endpoint, &name, now_ns() + ASK_NS) != OK)
		return;
	if (!export_fits(&d->spec, m.w[0], m.w[1], (uint32_t)m.w[3], e)) {
		if (!d->said)
			log_line(0, "export %s is not on its disk, or not of whole blocks",
			    e->name);
		d->said = true;
		return;
	}
	e->read_only = d->spec.read_only || (m.w[2] & BLK_INFO_READ_ONLY) != 0;
	e->trim_bytes = can(m.w[2], BLK_DISCARD) ? TRIM_BYTES : 0;
	e->zero_bytes = can(m.w[2], BLK_ZERO) ? ZERO_BYTES : 0;
	fmt_buf(e->about, sizeof(e->about), "nvme%un%u: %.40s serial %.20s", d->spec.controller,
	    d->spec.space + 1, (const char *)&name.w[0], (const char *)&name.w[5]);
}

void
disks_look(void)
{
	for (uint32_t i = 0; i < export_count; i++)
		if (exports[i].bytes == 0)
			look(&disk[i], &exports[i]);
}

static enum status
open_session(struct disk *d, const struct nbd_export *e)
{
	struct blk_wish w = { .index = d->spec.space,
		.rights = BLK_RIGHT_READ | (e->read_only ? 0 : BLK_RIGHT_WRITE),
		.base = d->spec.base,
		.len = e->bytes,
		.data_bytes = SHARES * SHARE_PAGES * PAGE_SIZE,
		.ntfn = ntfn,
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
		return s;
	}
	memset(d->free, 0xff, sizeof(d->free));
	d->away = false;
	return OK;
}

bool
disk_join(uint8_t export, struct connection *c)
{
	struct disk *d = &disk[export];
	uint8_t share;

	if (d->shares == (1u << SHARES) - 1)
		return false;
	if (d->blk == NULL) {
		enum status s = open_session(d, &exports[export]);

		if (s != OK) {
			log_line(1, "no session for export %s: %s", exports[export].name,
			    status_text(s));
			/* Looked for anew when the next client comes. */
			(void)sys_handle_close(d->endpoint);
			d->endpoint = HANDLE_NONE;
			exports[export].bytes = 0;
			return false;
		}
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
	struct disk *d = &disk[c->nbd.export];

	if (c->share == NBD_NONE)
		return;
	d->shares &= ~(1u << c->share);
	c->share = NBD_NONE;
	if (d->shares != 0)
		return;
	blk_close(d->blk);		/* what no flush covered was never said to be durable */
	if (load_acquire(&d->blk->keeper) == 0)
		(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)d->blk,
		    pages_of(sizeof(struct blk)) * PAGE_SIZE);
	d->blk = NULL;
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

void
disk_put(struct connection *c)
{
	static const uint32_t ops[] = { [NBD_READ] = BLK_READ, [NBD_WRITE] = BLK_WRITE,
		[NBD_FLUSH] = BLK_FLUSH, [NBD_TRIM] = BLK_DISCARD, [NBD_ZERO] = BLK_ZERO };
	struct disk *d = &disk[c->nbd.export];
	struct nbd_request r;

	c->waits = false;
	while (nbd_has(&c->nbd)) {
		uint32_t cookie;
		enum status s;

		if (blk_room(d->blk) == 0 || (cookie = take_cookie(d)) == BLK_SLOTS) {
			c->waits = true;
			return;
		}
		(void)nbd_take(&c->nbd, &r);
		d->owner[cookie].connection = (uint8_t)(c - connection);
		d->owner[cookie].piece = r.piece;
		s = blk_put(d->blk, ops[r.op] | (r.fua ? BLK_FUA : 0), r.at,
		    c->share * SHARE_PAGES * PAGE_SIZE + r.data, r.bytes, cookie);
		if (s != OK) {
			give_cookie(d, cookie);
			nbd_done(&c->nbd, r.piece, s);
		}
	}
}

static bool
turn(struct disk *d, const struct nbd_export *e, uint64_t *again)
{
	struct blk_answer a;
	bool any = false;
	enum status s;

	while ((s = blk_poll(d->blk, &a)) == OK) {
		give_cookie(d, a.cookie);
		nbd_done(&connection[d->owner[a.cookie].connection].nbd, d->owner[a.cookie].piece,
		    a.status);
		any = true;
	}
	d->away = s != E_WOULD_BLOCK;
	if (!d->away) {
		d->said = false;
		return any;
	}
	if (s != E_TIMED_OUT && !d->said) {
		log_line(1, "the disk of export %s: %s", e->name, status_text(s));
		d->said = true;
	}
	*again = min_u64(*again, now_ns() + AGAIN_NS);
	return any;
}

bool
disks_turn(uint64_t *again)
{
	bool any = false;

	for (uint32_t i = 0; i < export_count; i++)
		if (disk[i].blk != NULL)
			any |= turn(&disk[i], &exports[i], again);
	return any;
}

bool
disks_may_sleep(void)
{
	bool all = true;

	for (uint32_t i = 0; i < export_count; i++)
		if (disk[i].blk != NULL && !disk[i].away)
			all &= blk_may_sleep(disk[i].blk);
	return all;
}

void
disks_woke(void)
{
	for (uint32_t i = 0; i < export_count; i++)
		if (disk[i].blk != NULL && !disk[i].away)
			blk_woke(disk[i].blk);
}
