/*
 * Requests of sessions: from their rings into the device, and answered.
 *
 * What a session may ask for is judged in blk_serve.h.  Requests beyond the device's depth stay in
 * the ring until completions make room.
 */
#include "kern/base/mmio.h"
#include "usr/nvmed/nvmed.h"

const char *
request_text(const struct request *r)
{
	static const char *const text[] = { "read", "write", "flush", "discard", "zeroing" };

	return text[r->io.op];
}

void
request_done(struct request *r, enum status status, uint32_t detail)
{
	struct blk_session *s = r->session;

	if (unlikely(r->own)) {
		r->own = false;
		blk_serve_flushed(&server.blk, s, status);
	} else {
		blk_serve_answer(&server.blk, s, r->cookie, status, detail);
		s->plain -= r->io.op == NVME_OP_WRITE && !r->io.fua;
	}
	s->inflight--;
	server.inflight--;
	r->session = NULL;
	r->next = server.free;
	server.free = r;
}

/* What the command needs of a request that was judged. */
static ALWAYS_INLINE void
translate(const struct blk_session *s, const struct blk_req *r, struct nvme_io *io)
{
	const struct nvme_ns *ns = s->disk;

	io->op = (enum nvme_op)(r->op & 0xff);
	io->nsid = ns->nsid;
	/* What is zeroed is durable when it is answered; what is discarded is nothing. */
	io->fua = blk_serve_fua(s, r) || io->op == NVME_OP_ZERO;
	if (unlikely(io->op == NVME_OP_FLUSH)) {
		io->lba = io->bytes = io->blocks = 0;
		io->data = (struct iova){ 0 };
		return;
	}
	io->lba = (s->base + r->at) >> s->shift;
	io->bytes = r->bytes;
	io->blocks = r->bytes >> s->shift;
	io->data = (struct iova){ s->data.iova.v + r->data };
}
static_assert((int)NVME_OP_READ == BLK_READ && (int)NVME_OP_WRITE == BLK_WRITE &&
    (int)NVME_OP_FLUSH == BLK_FLUSH && (int)NVME_OP_DISCARD == BLK_DISCARD &&
    (int)NVME_OP_ZERO == BLK_ZERO);

bool
request_goes_on(struct request *r)
{
	if (likely(r->left == 0) || r->session->closing)
		return false;
	r->io.lba += r->io.blocks;
	r->io.blocks = (uint32_t)min_u64(r->left, NVME_ZERO_BLOCKS);
	r->left -= r->io.blocks;
	r->next = server.again;
	server.again = r;
	server.retry = true;
	return true;
}

/* One request into the device, or answered.  False: there is no room for it now. */
static ALWAYS_INLINE bool
take_one(struct blk_session *s)
{
	const struct blk_req r = blk_serve_request(s);
	struct nvme_ioq *ioq = s->queue;
	struct request *q = server.free;
	enum status e;

	if (unlikely(q == NULL))
		return false;
	e = blk_serve_judge(&server.blk, s, &r);
	if (unlikely(e != OK))
		server.blk.refused++;
	if (unlikely(e == OK && (r.op & 0xff) == BLK_FLUSH && !server.blk.volatile_cache)) {
		server.blk.done[BLK_FLUSH]++;
		blk_serve_answer(&server.blk, s, r.cookie, OK, 0);
		return true;
	}
	if (likely(e == OK)) {
		translate(s, &r, &q->io);
		q->io.cookie = q;
		q->left = 0;
		if (unlikely(q->io.op == NVME_OP_ZERO && q->io.blocks > NVME_ZERO_BLOCKS)) {
			q->left = q->io.blocks - NVME_ZERO_BLOCKS;
			q->io.blocks = NVME_ZERO_BLOCKS;
		}
		e = nvme_ioq_put(ioq, &q->io);
	}
	if (unlikely(e == E_WOULD_BLOCK))
		return false;
	if (unlikely(e != OK)) {
		blk_serve_answer(&server.blk, s, r.cookie, e, 0);
		return true;
	}
	server.free = q->next;
	q->session = s;
	q->cookie = r.cookie;
	q->q = ioq;
	q->faults = server.faults;
	q->own_faults = server.own_faults;
	q->doubts = 0;
	q->resets = 0;
	s->plain += q->io.op == NVME_OP_WRITE && !q->io.fua;
	s->inflight++;
	server.inflight++;
	server.dirty |= 1u << (ioq->id - 1);
	return true;
}

void
session_take(struct blk_session *s)
{
	for (uint32_t n = blk_serve_waiting(&server.blk, s); n != 0 && take_one(s); n--)
		s->tail++;
}

bool
session_flush(struct blk_session *s)
{
	const struct nvme_ns *ns = s->disk;
	struct request *r = server.free;

	if (r == NULL)
		return false;
	r->io = (struct nvme_io){ .op = NVME_OP_FLUSH, .nsid = ns->nsid, .cookie = r };
	if (nvme_ioq_put(s->queue, &r->io) != OK)
		return false;
	server.free = r->next;
	r->session = s;
	r->q = s->queue;
	r->faults = server.faults;
	r->own_faults = server.own_faults;
	r->doubts = r->resets = 0;
	r->own = true;
	r->left = 0;
	s->inflight++;
	server.inflight++;
	server.dirty |= 1u << (r->q->id - 1);
	return true;
}
