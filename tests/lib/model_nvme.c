/*
 * A software NVMe controller: model_nvme.h.
 *
 * Registers are plain memory, so what the driver writes is seen when it looks at the clock or
 * waits; doorbells come at once.
 */
#include "tests/lib/model_nvme.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/base/bits.h"

enum { CAP = 0, VS = 8, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, CRTO = 0x68 };
enum { GENERIC = 0, SPECIFIC = 1 };

static uint32_t
get32(struct model_nvme *m, uint32_t r)
{
	uint32_t v;
	memcpy(&v, m->d->regs + r, 4);
	return v;
}
static uint64_t
get64(struct model_nvme *m, uint32_t r)
{
	uint64_t v;
	memcpy(&v, m->d->regs + r, 8);
	return v;
}
static void set32(struct model_nvme *m, uint32_t r, uint32_t v) { memcpy(m->d->regs + r, &v, 4); }
static void set64(struct model_nvme *m, uint32_t r, uint64_t v) { memcpy(m->d->regs + r, &v, 8); }
static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static void put64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }

static uint32_t status(uint32_t type, uint32_t code) { return type << 8 | code; }

static void
broke(struct model_nvme *m, const char *format, ...)
{
	va_list ap;

	m->broken_rules++;
	va_start(ap, format);
	vsnprintf(m->rule, sizeof(m->rule), format, ap);
	va_end(ap);
}

static void
all_ones(struct model_nvme *m)
{
	m->gone = true;
	memset(m->d->regs, 0xff, 0x1000);
}

/* --- completions ------------------------------------------------------------------ */

static void
post(struct model_nvme *m, uint32_t id, uint32_t cid, uint32_t dw0, uint32_t sc, uint32_t sq_head,
    uint32_t sq_id, bool bad_phase)
{
	struct model_queue *q = &m->q[id];
	uint8_t *e;

	if ((q->cq_tail + 1) % q->size == q->cq_head) {
		broke(m, "completion queue %u is full: a driver has more in flight than it holds",
		    id);
		return;
	}
	e = fake_drv_at(m->d, q->cq_iova + 16ull * q->cq_tail, 16, DMA_FROM_DEVICE);
	if (e == NULL)
		return;
	put32(e, dw0);
	put32(e + 4, 0);
	put32(e + 8, sq_head | sq_id << 16);
	put32(e + 12, cid | (bad_phase ? q->phase ^ 1 : q->phase) << 16 | sc << 17);
	if (++q->cq_tail == q->size) {
		q->cq_tail = 0;
		q->phase ^= 1;
	}
}

static void
complete(struct model_nvme *m, const struct model_out *o)
{
	struct model_queue *q = &m->q[o->queue];
	enum model_lie lie = LIE_NONE;

	if (m->gone || !q->cq_live)
		return;
	if ((o->queue != 0 || m->lie_admin) && m->lie != LIE_NONE && m->lie_after-- == 0) {
		lie = m->lie;
		m->lie = LIE_NONE;
	}
	switch (lie) {
	case LIE_NONE:
		post(m, o->queue, o->cid, o->dw0, o->status, q->sq_head, o->queue, false);
		break;
	case LIE_CID:
		post(m, o->queue, 0xbeef, o->dw0, o->status, q->sq_head, o->queue, false);
		break;
	case LIE_CID_OF_FREE:
		post(m, o->queue, q->size - 2, o->dw0, o->status, q->sq_head, o->queue, false);
		break;
	case LIE_CID_TWICE:
		post(m, o->queue, o->cid, o->dw0, o->status, q->sq_head, o->queue, false);
		post(m, o->queue, o->cid, o->dw0, o->status, q->sq_head, o->queue, false);
		break;
	case LIE_PHASE:
		post(m, o->queue, o->cid, o->dw0, o->status, q->sq_head, o->queue, true);
		break;
	case LIE_SQ_HEAD:
		post(m, o->queue, o->cid, o->dw0, o->status, q->size, o->queue, false);
		break;
	case LIE_SQ_ID:
		post(m, o->queue, o->cid, o->dw0, o->status, q->sq_head, o->queue + 1, false);
		break;
	case LIE_FATAL:
		set32(m, CSTS, get32(m, CSTS) | 2);
		break;
	case LIE_GONE:
		all_ones(m);
		break;
	case LIE_SWALLOW:
		m->out[m->outs++] =
		    (struct model_out){ .queue = o->queue, .cid = o->cid, .swallowed = true };
		break;
	}
}

void
model_nvme_release(struct model_nvme *m)
{
	static struct model_out held[MODEL_OUT];
	uint32_t n = 0, kept = 0;

	for (uint32_t i = 0; i < m->outs; i++) {
		if (m->out[i].swallowed)
			m->out[kept++] = m->out[i];
		else
			held[n++] = m->out[i];
	}
	m->outs = kept;
	for (uint32_t i = 0; i < n; i++)
		complete(m, &held[m->reverse ? n - 1 - i : i]);
}

/* --- data: PRPs as the specification tells to walk them ----------------------------- */

/* Moves len bytes between buf and what the PRPs describe; the generic status code. */
static uint32_t
move(struct model_nvme *m, uint64_t prp1, uint64_t prp2, uint8_t *buf, uint64_t len, bool to_host)
{
	enum dma_dir dir = to_host ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	uint64_t at = prp1, n = min_u64(len, PAGE_SIZE - (at & PAGE_MASK)), list = 0;
	bool second = true;

	if ((prp1 & 3) != 0)
		return 0x13;
	for (;;) {
		uint8_t *p = fake_drv_at(m->d, at, n, dir);

		if (p == NULL)
			return 0x04;
		if (to_host)
			memcpy(p, buf, n);
		else
			memcpy(buf, p, n);
		buf += n;
		len -= n;
		if (len == 0)
			return 0;
		if (second && len <= PAGE_SIZE) {
			at = prp2;
		} else {
			uint64_t *e;

			if (second) {
				list = prp2;
				if ((list & 7) != 0)
					return 0x13;
				m->list_pages++;
			}
			e = fake_drv_at(m->d, list, 8, DMA_TO_DEVICE);
			if (e == NULL)
				return 0x04;
			if ((list & PAGE_MASK) == PAGE_SIZE - 8 && len > PAGE_SIZE) {	/* chain */
				list = *e;
				m->list_pages++;
				if ((list & PAGE_MASK) != 0)
					return 0x13;
				e = fake_drv_at(m->d, list, 8, DMA_TO_DEVICE);
				if (e == NULL)
					return 0x04;
			}
			at = *e;
			list += 8;
		}
		second = false;
		if ((at & PAGE_MASK) != 0)
			return 0x13;
		n = min_u64(len, PAGE_SIZE);
	}
}

/* --- commands ----------------------------------------------------------------------- */

static struct model_ns *
namespace(struct model_nvme *m, uint32_t nsid)
{
	for (unsigned i = 0; i < MODEL_NS; i++)
		if (m->ns[i].nsid == nsid && nsid != 0)
			return &m->ns[i];
	return NULL;
}

static uint32_t
identify(struct model_nvme *m, const uint32_t *c)
{
	static uint8_t page[PAGE_SIZE];
	struct model_ns *ns = namespace(m, c[1]);
	uint32_t cns = c[10] & 0xff, n = 0;

	if (m->identify_status != 0)
		return status(GENERIC, m->identify_status);
	if (m->identify_nothing)
		return 0;
	memset(page, 0, sizeof(page));
	switch (cns) {
	case 0:
		if (c[1] == 0 || c[1] > m->nn)
			return status(GENERIC, 0x0b);
		if (ns == NULL)
			break;		/* inactive: zeroes */
		put64(page, ns->blocks);
		put64(page + 8, ns->blocks);
		put64(page + 16, ns->blocks);
		page[25] = ns->nlbaf;
		page[26] = ns->flbas;
		page[99] = ns->write_protected;
		for (unsigned i = 0; i < 64; i++)
			put32(page + 128 + 4 * i, 10u << 16); /* formats that nobody uses: 1 KiB */
		put32(page + 128 +
			4 * ((ns->flbas & 15u) | (ns->nlbaf > 15 ? ns->flbas >> 1 & 0x30u : 0)),
		    ns->metadata | (uint32_t)ns->lbads << 16);
		break;
	case 1:
		memset(page + 4, ' ', 60);
		memcpy(page + 4, m->serial, strlen(m->serial));
		memcpy(page + 24, m->model, strlen(m->model));
		memcpy(page + 64, "1.0", 3);
		page[77] = m->mdts;
		put32(page + 80, m->vs);
		put32(page + 516, m->nn);
		page[512] = 0x66;
		page[513] = 0x44;
		page[525] = m->vwc;
		page[520] = m->oncs;
		break;
	case 2:
		if (m->vs < 0x10100)
			return status(GENERIC, 0x02);
		for (unsigned i = 0; i < MODEL_NS; i++)
			if (m->ns[i].nsid > c[1])
				put32(page + 4 * n++, m->ns[i].nsid);
		break;
	default:
		return status(GENERIC, 0x02);
	}
	return move(
	    m, c[6] | (uint64_t)c[7] << 32, c[8] | (uint64_t)c[9] << 32, page, sizeof(page), true);
}

static uint32_t
create(struct model_nvme *m, const uint32_t *c, bool completion)
{
	uint32_t id = c[10] & 0xffff, size = (c[10] >> 16) + 1, vector = c[11] >> 16;
	uint64_t at = c[6] | (uint64_t)c[7] << 32;
	struct model_queue *q = &m->q[id < MODEL_QUEUES ? id : 0];

	if (id == 0 || id > m->pairs || id >= MODEL_QUEUES ||
	    (completion ? q->cq_live : q->sq_live))
		return status(SPECIFIC, 0x01);
	if (size < 2 || size - 1 > (m->cap & 0xffff))
		return status(SPECIFIC, 0x02);
	if ((at & PAGE_MASK) != 0)
		return status(GENERIC, 0x13);
	if ((c[11] & 1) == 0)
		return status(GENERIC, 0x02);
	if (completion) {
		if (id == m->fail_cq)
			return status(GENERIC, 0x06);
		if ((c[11] & 2) != 0 && vector >= m->d->vectors)
			return status(SPECIFIC, 0x08);
		if ((c[11] & 2) != 0 && (m->d->vectors_bound & 1u << vector) == 0)
			broke(m, "queue %u uses vector %u, which nobody bound", id, vector);
		q->cq_iova = at;
		q->size = size;
		q->cq_head = q->cq_tail = 0;
		q->phase = 1;
		q->vector = vector;
		q->interrupt = (c[11] & 2) != 0;
		q->cq_live = true;
		return 0;
	}
	if (!q->cq_live || c[11] >> 16 != id)
		return status(SPECIFIC, 0x00);
	if (size != q->size)
		broke(m, "queues of pair %u differ in size", id);
	q->sq_iova = at;
	q->sq_head = q->sq_tail = 0;
	q->sq_live = true;
	return 0;
}

static uint32_t
abort_command(struct model_nvme *m, const uint32_t *c, uint32_t *dw0)
{
	uint32_t queue = c[10] & 0xffff, cid = c[10] >> 16;

	m->aborts++;
	*dw0 = 1;
	for (uint32_t i = 0; i < m->outs && !m->no_abort; i++) {
		if (m->out[i].queue != queue || m->out[i].cid != cid)
			continue;
		m->out[i] = m->out[--m->outs];
		post(m, queue, cid, 0, status(GENERIC, 0x07), m->q[queue].sq_head, queue, false);
		*dw0 = 0;
		break;
	}
	return 0;
}

static uint32_t
admin(struct model_nvme *m, const uint32_t *c, uint32_t *dw0)
{
	uint32_t want;

	switch (c[0] & 0xff) {
	case 0x01: return create(m, c, false);
	case 0x05: return create(m, c, true);
	case 0x06: return identify(m, c);
	case 0x08: return abort_command(m, c, dw0);
	case 0x09:
		if ((c[10] & 0xff) != 7 || (c[11] & 0xffff) == 0xffff || c[11] >> 16 == 0xffff)
			return status(GENERIC, 0x02);
		for (unsigned i = 1; i < MODEL_QUEUES; i++)
			if (m->q[i].cq_live)
				return status(GENERIC, 0x0c);
		want = m->pairs - 1;
		*dw0 = want | want << 16;
		return 0;
	}
	return status(GENERIC, 0x01);
}

/* Dataset Management [NVM 3.3.3]: ranges of 16 bytes; what is deallocated reads as 0xdd here. */
static uint32_t
dataset(struct model_nvme *m, struct model_ns *ns, const uint32_t *c, uint64_t prp1, uint64_t prp2)
{
	uint32_t n = (c[10] & 0xff) + 1, w[256 * 4],
		 s = move(m, prp1, prp2, (uint8_t *)w, n * 16, false);

	if (s != 0)
		return s;
	if (ns->write_protected)
		return status(GENERIC, 0x20);
	for (uint32_t i = 0; i < n && (c[11] & 4) != 0; i++) {
		uint64_t lba = w[4 * i + 2] | (uint64_t)w[4 * i + 3] << 32;

		if (!range_within(lba, w[4 * i + 1], 0, ns->blocks))
			return status(GENERIC, 0x80);
		m->discards++;
		memset(ns->media + (lba << ns->lbads), 0xdd, (uint64_t)w[4 * i + 1] << ns->lbads);
	}
	return 0;
}

static uint32_t
io(struct model_nvme *m, const uint32_t *c)
{
	static uint8_t buf[64 * MIB];
	struct model_ns *ns = namespace(m, c[1]);
	uint32_t op = c[0] & 0xff, blocks = (c[12] & 0xffff) + 1;
	uint64_t lba = c[10] | (uint64_t)c[11] << 32, len, at, prp1 = c[6] | (uint64_t)c[7] << 32;
	uint64_t prp2 = c[8] | (uint64_t)c[9] << 32;
	uint32_t s;

	if (op > 2 && op != 8 && op != 9)
		return status(GENERIC, 0x01);
	if (ns == NULL)
		return status(GENERIC, 0x0b);
	if (op == 0) {
		m->flushes++;
		return 0;
	}
	if (op == 9)
		return dataset(m, ns, c, prp1, prp2);
	len = (uint64_t)blocks << ns->lbads;
	if (!range_within(lba, blocks, 0, ns->blocks))
		return status(GENERIC, 0x80);
	if (op == 8) {		/* moves nothing, so the transfer limit does not count */
		if (ns->write_protected)
			return status(GENERIC, 0x20);
		m->zeroes++;
		m->fuas += c[12] >> 30 & 1;
		memset(ns->media + (lba << ns->lbads), 0, len);
		return 0;
	}
	if (m->mdts != 0 && len > PAGE_SIZE << m->mdts)
		return status(GENERIC, 0x02);
	if (op == 1 && ns->write_protected)
		return status(GENERIC, 0x20);
	m->largest = max_u64(m->largest, len);
	m->fuas += c[12] >> 30 & 1;
	at = lba << ns->lbads;
	if (op == 1) {
		m->writes++;
		s = move(m, prp1, prp2, buf, len, false);
		if (s == 0)
			memcpy(ns->media + at, buf, len);
		return s;
	}
	m->reads++;
	return move(m, prp1, prp2, ns->media + at, len, true);
}

static void
execute(struct model_nvme *m, uint32_t id, const uint32_t *c)
{
	struct model_out o = { .queue = id, .cid = c[0] >> 16 };

	if ((c[0] & 0xff00) != 0 || c[2] != 0 || c[3] != 0 || c[4] != 0 || c[5] != 0)
		broke(m, "a reserved field of a command is not zero");
	for (uint32_t i = 0; i < m->outs; i++)
		if (m->out[i].queue == id && m->out[i].cid == o.cid) {
			broke(m, "command id %u is used twice at a time", o.cid);
			return;
		}
	if (id == 0 && (m->swallow_admin || ((c[0] & 0xff) == 0x08 && m->no_abort_answer)))
		return;
	o.status = id == 0 ? admin(m, c, &o.dw0) : io(m, c);
	if (m->hold && id != 0)
		m->out[m->outs++] = o;
	else
		complete(m, &o);
}

static void
doorbell(void *arg, uint32_t id, uint32_t sq_tail, uint32_t cq_head)
{
	struct model_nvme *m = arg;
	struct model_queue *q = &m->q[id];

	if (m->gone || !m->enabled)
		return;
	if (id >= MODEL_QUEUES || !q->sq_live || !q->cq_live) {
		broke(m, "doorbell of queue %u, which does not exist", id);
		return;
	}
	if (cq_head != UINT32_MAX) {
		uint32_t unread = (q->cq_tail + q->size - q->cq_head) % q->size;

		if (cq_head >= q->size || (cq_head + q->size - q->cq_head) % q->size > unread)
			broke(m, "completion head %u of queue %u is beyond what was posted",
			    cq_head, id);
		else
			q->cq_head = cq_head;
	}
	if (sq_tail == UINT32_MAX)
		return;
	if (sq_tail >= q->size) {
		broke(m, "submission tail %u of queue %u is outside the queue", sq_tail, id);
		return;
	}
	q->sq_tail = sq_tail;
	while (q->sq_head != q->sq_tail && q->sq_live) {
		const uint32_t *e =
		    fake_drv_at(m->d, q->sq_iova + 64ull * q->sq_head, 64, DMA_TO_DEVICE);
		uint32_t c[16];

		if (e == NULL)
			return;
		memcpy(c, e, sizeof(c));
		if (++q->sq_head == q->size)
			q->sq_head = 0;
		execute(m, id, c);
	}
}

/* --- registers ----------------------------------------------------------------------- */

static void
power_on(void *arg)
{
	struct model_nvme *m = arg;

	m->never_stops = false;
	m->enabled = false;
	m->cc_seen = 0;
	m->outs = 0;
	m->ready_at = 0;
	memset(m->q, 0, sizeof(m->q));
	if (m->gone)
		return;
	memset(m->d->regs, 0, 0x1000);
	set64(m, CAP, m->cap);
	set32(m, VS, m->vs);
	set32(m, CRTO, m->crto);
}

static void
enable(struct model_nvme *m, uint32_t cc)
{
	uint32_t aqa = get32(m, AQA);
	struct model_queue *q = &m->q[0];

	m->enables++;
	if ((cc >> 16 & 15) != 6 || (cc >> 20 & 15) != 4)
		broke(m, "entry sizes of I/O queues are not 64 and 16 bytes");
	if ((cc >> 7 & 15) != 0 || (cc >> 4 & 7) != 0)
		broke(m, "page size or command set that was not offered");
	if ((get64(m, ASQ) & PAGE_MASK) != 0 || (get64(m, ACQ) & PAGE_MASK) != 0)
		broke(m, "admin queues are not on pages of their own");
	if ((aqa & 0xfff) == 0 || (aqa & 0xfff) != (aqa >> 16 & 0xfff))
		broke(m, "admin queue sizes");
	*q = (struct model_queue){ .sq_iova = get64(m, ASQ),
		.cq_iova = get64(m, ACQ),
		.size = (aqa & 0xfff) + 1,
		.phase = 1,
		.sq_live = true,
		.cq_live = true };
	m->enabled = true;
	if (m->fatal_at_enable)
		set32(m, CSTS, 2);
	else
		m->ready_at = m->never_ready ? UINT64_MAX : m->d->now + m->ready_ns;
}

static void
step(void *arg)
{
	struct model_nvme *m = arg;
	uint32_t cc;

	if (m->gone)
		return;
	cc = get32(m, CC);
	if ((cc & 1) != 0 && (m->cc_seen & 1) == 0) {
		if ((get32(m, CSTS) & 1) != 0)
			broke(m, "enabled before it had stopped");
		enable(m, cc);
	} else if ((cc & 1) == 0 && ((m->cc_seen & 1) != 0 || (get32(m, CSTS) & 1) != 0) &&
	    m->ready_at == 0) {
		m->enabled = false;
		m->outs = 0;
		memset(m->q, 0, sizeof(m->q));
		m->ready_at = m->never_stops ? UINT64_MAX : m->d->now + m->stop_ns;
	}
	m->cc_seen = cc;
	if (m->ready_at != 0 && m->d->now >= m->ready_at) {
		m->ready_at = 0;
		set32(m, CSTS, m->enabled ? 1 : 0);
	}
	if ((cc >> 14 & 3) != 0 && m->enabled)
		set32(m, CSTS, (get32(m, CSTS) & ~0xcu) | 2u << 2);
}

void
model_nvme_init(struct model_nvme *m, struct drv_device *d)
{
	*m = (struct model_nvme){
		.d = d,
		.vs = 0x10400,
		.ready_ns = 1000,
		.stop_ns = 1000,
		.pairs = 4,
		.mdts = 7,
		.vwc = 1,
		.oncs = 1u << 2 | 1u << 3,
		.nn = 256,
		/* 2048 entries, contiguous queues, 7.5 s, doorbells 4 bytes apart, NVM command set,
		   4 KiB to 64 KiB pages */
		.cap = 0x7ff | 1ull << 16 | 15ull << 24 | 1ull << 37 | 4ull << 52,
		.serial = "model0",
		.model = "Model of an NVMe Controller",
		.ns[0] = { .nsid = 1, .blocks = 2048, .lbads = 9, .nlbaf = 7 },
	};
	fake_drv_init(d, 0x4000);
	d->model = m;
	d->step = step;
	d->doorbell = doorbell;
	d->reset = power_on;
	power_on(m);
}

/* After a test has described namespaces: their media, of bytes that depend on their place. */
void
model_nvme_media(struct model_nvme *m)
{
	for (unsigned i = 0; i < MODEL_NS; i++) {
		uint64_t bytes;

		if (m->ns[i].nsid == 0 || m->ns[i].lbads > 12 ||
		    m->ns[i].blocks > 64 * MIB >> m->ns[i].lbads)
			continue;
		bytes = m->ns[i].blocks << m->ns[i].lbads;
		m->ns[i].media = malloc(bytes);
		for (uint64_t k = 0; k < bytes; k++)
			m->ns[i].media[k] = (uint8_t)(k * 7 + (k >> 9) * 13 + i);
	}
	power_on(m);
}

void
model_nvme_fini(struct model_nvme *m)
{
	for (unsigned i = 0; i < MODEL_NS; i++)
		free(m->ns[i].media);
	fake_drv_fini(m->d);
}
