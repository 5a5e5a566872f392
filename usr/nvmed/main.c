/*
 * The NVMe server: one controller, its namespaces, and the clients' sessions.
 *
 * One thread.  It waits for calls and for its notification at once: bits 0..7 are the I/O queues' vectors, bit 32 + n says
 * that a session of slot n has requests, bit 62 that the device faulted, bit 63 is the admin vector.  A turn takes
 * completions, takes requests, and announces both with one doorbell each.
 *
 * A session's ring is the client's to write: indices and entries are read once and judged (blk.h).  Requests beyond the
 * device's depth stay in the ring until completions make room.  When a session closes, its requests in the device are
 * waited for before the grant is taken back.
 */
#include "dev/nvme/ctrl.h"
#include "kern/base/mmio.h"
#include "usr/lib/blk.h"
#include "usr/lib/drv.h"

enum { SESSIONS = 24, DEPTH = 256 };
enum : uint64_t { BIT_FAULT = BIT(62), BIT_SESSION = 32, SLOW_NS = 30 * NS_PER_S };

struct session;
struct request { struct session *session; uint64_t cookie; uint32_t next; uint8_t op; };

struct session {
	uint64_t id;			/* 0: free */
	struct blk_ring *ring;
	struct drv_memory data;
	handle_t ring_memory, client;
	uint64_t client_bits, base, len, data_bytes;
	const struct nvme_ns *ns;
	struct nvme_ioq *q;
	uint32_t rights, shift;
	uint32_t tail, done_head;	/* requests taken, answers written */
	uint32_t inflight;
	bool woken;			/* an answer was written in this turn */
	bool closing;
};

static struct nvme_ctrl ctrl;
static struct drv_device device;
static struct session sessions[SESSIONS];
static struct request requests[NVME_IOQ_MAX * NVME_DEPTH_MAX];
static uint32_t free_request;
static uint64_t reads, writes, flushes, errors, next_id;
static handle_t signal_handle;		/* what clients signal */

static void
answer(struct session *s, uint64_t cookie, enum status status, uint32_t detail)
{
	struct blk_done *d = &s->ring->done[s->done_head % BLK_SLOTS];

	if (unlikely(status != OK))
		errors++;
	d->cookie = cookie;
	d->status = status;
	d->detail = detail;
	s->done_head++;
	s->woken = true;
}

/* Judges a copied request; on OK *lba and *blocks are filled. */
static ALWAYS_INLINE enum status
judge(const struct session *s, const struct blk_req *r, uint64_t *lba, uint32_t *blocks)
{
	uint32_t op = r->op & 0xff, mask = (1u << s->shift) - 1;

	if (unlikely(op == BLK_FLUSH))
		return (s->rights & BLK_RIGHT_WRITE) != 0 ? OK : E_RIGHTS;
	if (unlikely(op > BLK_FLUSH || (r->op & ~(0xffu | BLK_FUA)) != 0))
		return E_INVALID;
	if (unlikely((s->rights & (op == BLK_READ ? BLK_RIGHT_READ : BLK_RIGHT_WRITE)) == 0))
		return E_RIGHTS;
	if (unlikely(((r->at | r->bytes) & mask) != 0 || (r->data & 3) != 0))
		return E_ALIGN;
	if (unlikely(r->bytes == 0 || r->bytes > ctrl.max_transfer_bytes || !range_within(r->at, r->bytes, 0, s->len) ||
	    !range_within(r->data, r->bytes, 0, s->data_bytes)))
		return E_RANGE;
	*lba = (s->base + r->at) >> s->shift;
	*blocks = r->bytes >> s->shift;
	return OK;
}

/* Takes what the client wrote, as far as the device has room. */
static void
take_requests(struct session *s)
{
	uint32_t head = load_acquire(&s->ring->head), n = head - s->tail;

	if (unlikely(n > BLK_SLOTS))
		return;		/* it claims more than the ring holds: nothing of it is believed */
	for (; n != 0; n--) {
		struct blk_req r = *(volatile struct blk_req *)&s->ring->req[s->tail % BLK_SLOTS];
		uint64_t lba = 0;
		uint32_t blocks = 1, index = free_request;
		enum status e;

		/* Answers not yet read and requests in the device share the answer ring. */
		if (unlikely(s->inflight + (s->done_head - load_relaxed(&s->ring->done_tail)) >= BLK_SLOTS))
			return;
		e = judge(s, &r, &lba, &blocks);
		if (unlikely(e != OK)) {
			s->tail++;
			answer(s, r.cookie, e, 0);
			continue;
		}
		if (unlikely((r.op & 0xff) == BLK_FLUSH && !ctrl.volatile_cache)) {
			s->tail++;
			flushes++;
			answer(s, r.cookie, OK, 0);
			continue;
		}
		if (unlikely(index == UINT32_MAX))
			return;
		e = nvme_ioq_put(s->q, (enum nvme_op)(r.op & 0xff), s->ns->nsid, lba, blocks,
		    (struct iova){ s->data.iova.v + r.data }, r.bytes, (r.op & BLK_FUA) != 0, &requests[index]);
		if (unlikely(e == E_WOULD_BLOCK))
			return;
		s->tail++;
		if (unlikely(e != OK)) {
			answer(s, r.cookie, e, 0);
			continue;
		}
		free_request = requests[index].next;
		requests[index].session = s;
		requests[index].cookie = r.cookie;
		requests[index].op = (uint8_t)r.op;
		s->inflight++;
	}
}

static uint32_t
take_completions(struct nvme_ioq *q, bool distrust)
{
	struct nvme_done d[32];
	uint32_t n, total = 0;

	while ((n = nvme_ioq_take(q, d, ARRAY_SIZE(d))) != 0) {
		for (uint32_t i = 0; i < n; i++) {
			struct request *r = d[i].cookie;
			struct session *s = r->session;

			if (r->op == BLK_READ)
				reads++;
			else if (r->op == BLK_WRITE)
				writes++;
			else
				flushes++;
			if (unlikely(d[i].status != OK))
				log_line(1, "%s: %s (type %u code 0x%02x)", r->op == BLK_READ ? "read" : r->op == BLK_WRITE ?
				    "write" : "flush", nvme_status_text(d[i].sct_sc), d[i].sct_sc >> 8, d[i].sct_sc & 0xff);
			/* A device may report success for an access that was refused (D11). */
			answer(s, r->cookie, distrust ? E_IO : d[i].status, d[i].sct_sc);
			s->inflight--;
			r->next = free_request;
			free_request = (uint32_t)(r - requests);
		}
		total += n;
	}
	return total;
}

/* Publishes answers and wakes who sleeps. */
static void
publish(struct session *s)
{
	if (!s->woken)
		return;
	s->woken = false;
	store_release(&s->ring->done_head, s->done_head);
	smp_full();
	if (load_relaxed(&s->ring->client_sleeps) != 0)
		(void)sys_ntfn_signal(s->client, s->client_bits);
}

static void
end_session(struct session *s)
{
	(void)drv_revoke(&device, &s->data);
	(void)sys_handle_close(s->data.memory);
	(void)sys_mem_unmap(HANDLE_NONE, (uint64_t)(uintptr_t)s->ring, BLK_RING_PAGES * PAGE_SIZE);
	(void)sys_handle_close(s->ring_memory);
	(void)sys_handle_close(s->client);
	*s = (struct session){ 0 };
}

/* One turn over queues and rings. */
static void
turn(bool distrust)
{
	for (uint32_t i = 0; i < ctrl.ioq_count; i++)
		(void)take_completions(&ctrl.ioq[i], distrust);
	for (uint32_t i = 0; i < SESSIONS; i++)
		if (sessions[i].id != 0 && !sessions[i].closing)
			take_requests(&sessions[i]);
	for (uint32_t i = 0; i < ctrl.ioq_count; i++)
		(void)nvme_ioq_ring(&ctrl.ioq[i]);
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *s = &sessions[i];

		if (s->id == 0)
			continue;
		publish(s);
		if (s->closing && s->inflight == 0)
			end_session(s);
	}
}

/* Says that signals are needed, then looks once more: true when there is nothing to do. */
static bool
may_sleep(void)
{
	bool idle = true;

	for (uint32_t i = 0; i < SESSIONS; i++)
		if (sessions[i].id != 0)
			store_relaxed(&sessions[i].ring->server_sleeps, 1);
	smp_full();
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *s = &sessions[i];
		uint32_t n;

		if (s->id == 0 || s->closing)
			continue;
		n = load_acquire(&s->ring->head) - s->tail;
		/* With requests in the device a full queue is no reason to stay awake: its completions wake us. */
		if (n != 0 && n <= BLK_SLOTS && s->inflight == 0 && free_request != UINT32_MAX &&
		    s->done_head - load_relaxed(&s->ring->done_tail) < BLK_SLOTS)
			idle = false;
	}
	if (!idle)
		return false;
	return true;
}

static void
wake_up(void)
{
	for (uint32_t i = 0; i < SESSIONS; i++)
		if (sessions[i].id != 0)
			store_relaxed(&sessions[i].ring->server_sleeps, 0);
}

static enum status
open_session(struct msg *m)
{
	struct session *s = NULL;
	uint32_t index = (uint32_t)m->w[3], slot;
	uint64_t bytes, va, pages, flags;
	enum status e;

	for (slot = 0; slot < SESSIONS && s == NULL; slot++)
		if (sessions[slot].id == 0)
			s = &sessions[slot];
	if (s == NULL)
		return E_BUSY;
	slot--;
	if ((m->handles & 7) != 7 || index >= ctrl.ns_count)
		return index >= ctrl.ns_count ? E_NOT_FOUND : E_INVALID;
	s->ns = &ctrl.ns[index];
	s->shift = log2_floor(s->ns->block_bytes);
	bytes = s->ns->blocks << s->shift;
	s->base = m->w[4];
	s->len = m->w[5] != 0 ? m->w[5] : bytes - min_u64(bytes, s->base);
	s->rights = (uint32_t)(m->w[3] >> 32) & (BLK_RIGHT_READ | BLK_RIGHT_WRITE);
	s->data_bytes = m->w[6];
	if (!range_within(s->base, s->len, 0, bytes) || ((s->base | s->len) & (s->ns->block_bytes - 1)) != 0 ||
	    s->data_bytes == 0)
		return E_RANGE;
	/* What the client says about its memory is checked against the objects. */
	e = sys_mem_info(m->w[0], &pages, &flags);
	if (e != OK || pages < BLK_RING_PAGES)
		return E_INVALID;
	e = sys_mem_info(m->w[1], &pages, &flags);
	if (e != OK || pages * PAGE_SIZE < s->data_bytes)
		return E_INVALID;
	e = sys_mem_map(HANDLE_NONE, m->w[0], 0, BLK_RING_PAGES * PAGE_SIZE, 0, 3, &va);
	if (e != OK)
		return e;
	e = drv_grant(&device, (uint32_t)m->w[1], s->data_bytes, DMA_BOTH, false, &s->data);
	if (e != OK) {
		(void)sys_mem_unmap(HANDLE_NONE, va, BLK_RING_PAGES * PAGE_SIZE);
		return e;
	}
	s->ring = (struct blk_ring *)(uintptr_t)va;
	s->ring_memory = (handle_t)m->w[0];
	s->client = (handle_t)m->w[2];
	s->client_bits = m->w[7];
	s->q = &ctrl.ioq[slot % ctrl.ioq_count];
	s->tail = s->done_head = s->inflight = 0;
	s->id = ++next_id << 8 | slot;
	m->w[0] = signal_handle;
	m->handles = 1;
	m->w[1] = BIT(BIT_SESSION + slot);
	m->w[2] = s->id;
	m->w[3] = s->len;
	m->w[4] = s->ns->block_bytes;
	m->w[5] = ctrl.max_transfer_bytes;
	return OK;
}

static struct session *
find(uint64_t id)
{
	struct session *s = &sessions[(id & 0xff) % SESSIONS];

	return id != 0 && s->id == id ? s : NULL;
}

static void
call(struct msg *m)
{
	uint32_t given = m->handles;
	uint64_t handles[3] = { m->w[0], m->w[1], m->w[2] };
	enum status s = OK;

	m->handles = 0;
	switch (m->label) {
	case BLK_CALL_INFO:
		if (m->w[0] >= ctrl.ns_count) {
			s = E_NOT_FOUND;
			break;
		}
		m->w[1] = ctrl.ns[m->w[0]].block_bytes;
		m->w[0] = ctrl.ns[m->w[0]].blocks;
		m->w[2] = ctrl.ns_count;
		m->w[3] = ctrl.max_transfer_bytes;
		m->w[4] = reads;
		m->w[5] = writes;
		m->w[6] = flushes;
		m->w[7] = errors;
		break;
	case BLK_CALL_NAME:
		memcpy(&m->w[0], ctrl.model, 40);
		memset(&m->w[5], 0, 24);
		memcpy(&m->w[5], ctrl.serial, 20);
		break;
	case BLK_CALL_OPEN:
		m->handles = given;
		s = open_session(m);
		if (s == OK)
			given = 0;
		else
			m->handles = 0;
		break;
	case BLK_CALL_CLOSE:
		if (find(m->w[0]) == NULL) {
			s = E_STALE;
			break;
		}
		find(m->w[0])->closing = true;
		turn(false);		/* ends it here and now when nothing of it is in the device */
		break;
	case BLK_CALL_PING:
		s = find(m->w[0]) != NULL ? OK : E_STALE;
		break;
	case BLK_CALL_ROGUE:
		/* The driver lies about an address: the IOMMU must refuse it.  Only when started as "rogue". */
		if (strcmp(start_info->args, "rogue") != 0) {
			s = E_REFUSED;
			break;
		}
		s = nvme_ioq_put(&ctrl.ioq[0], m->w[1] != 0 ? NVME_OP_WRITE : NVME_OP_READ, ctrl.ns[0].nsid, 0, 8,
		    (struct iova){ m->w[0] }, 4096, false, &requests[free_request]);
		if (s == OK) {
			struct nvme_done d = { 0 };
			uint64_t until = now_ns() + 5 * NS_PER_S;

			(void)nvme_ioq_ring(&ctrl.ioq[0]);
			while (nvme_ioq_take(&ctrl.ioq[0], &d, 1) == 0 && now_ns() < until)
				sleep_until(now_ns() + NS_PER_MS);
			(void)nvme_ioq_ring(&ctrl.ioq[0]);
			m->w[0] = d.sct_sc;
		}
		break;
	default:
		s = E_INVALID;
	}
	/* Handles that came along and are not kept. */
	for (unsigned i = 0; i < 3; i++)
		if ((given & (1u << i)) != 0)
			(void)sys_handle_close(handles[i]);
	m->label = s;
	m->words = 8;
	(void)msg_reply(m);
}

int
main(void)
{
	const char *why = "";
	handle_t endpoint = start_handle("endpoint");
	uint64_t h, faults = 0;
	enum status s;

	device.handle = start_handle("device");
	if (sys_ntfn_create(&h) != OK)
		die("no memory for a notification");
	device.ntfn = (handle_t)h;
	if (sys_handle_dup(h, RIGHT_SIGNAL | RIGHT_GIVE, &h) != OK)
		die("no handle");
	signal_handle = (handle_t)h;
	s = nvme_ctrl_start(&ctrl, &device, start_info->args[0] >= '1' && start_info->args[0] <= '8' ?
	    (uint32_t)(start_info->args[0] - '0') : 2, DEPTH, &why);
	if (s != OK)
		die("controller not usable: %s (%s)", why, status_text(s));
	for (uint32_t i = 0; i < ARRAY_SIZE(requests); i++)
		requests[i].next = i + 1 < ARRAY_SIZE(requests) ? i + 1 : UINT32_MAX;
	(void)sys_watch(device.handle, device.ntfn, BIT_FAULT);
	log_line(2, "NVMe %u.%u, %s, serial %s, firmware %s: %u namespaces, %u queues of %u, %llu KiB a transfer",
	    ctrl.version_major, ctrl.version_minor, ctrl.model, ctrl.serial, ctrl.firmware, ctrl.ns_count, ctrl.ioq_count,
	    ctrl.depth, (unsigned long long)(ctrl.max_transfer_bytes / KIB));
	for (;;) {
		struct msg m;

		turn(false);
		if (!may_sleep()) {
			wake_up();
			continue;
		}
		s = msg_recv(endpoint, device.ntfn, &m, DEADLINE_NEVER);
		wake_up();
		if (s != OK) {
			if (s == E_STALE || s == E_HANDLE)
				return 1;
			continue;
		}
		if (!m.notification) {
			call(&m);
			continue;
		}
		if ((m.w[0] & BIT_FAULT) != 0) {
			uint64_t now = drv_faults(&device);

			if (now != faults) {
				faults = now;
				turn(true);
				if (now == UINT64_MAX)
					die("the device was taken away");
			}
			if (nvme_ctrl_dead(&ctrl))
				die("the controller stopped");
		}
	}
}
