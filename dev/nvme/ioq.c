/*
 * The hot path: entries in, completions out.
 *
 * Rings wrap by comparison, not by division.  A slot's number is its command id.  Fewer commands
 * are in flight than the ring has entries, and a device fetches in order, so the entry that is
 * filled next was fetched.
 *
 * A completion is judged before anything is believed: its phase is fresh, its queue and the
 * submission head it reports exist, and its id names a slot in flight.  Phase, id, head and queue
 * come from one 64-bit read.  The first completion that breaks a rule ends the belief in all that
 * follow, until the controller was reset.
 *
 * Completions are given back to the device when they fill a quarter of the ring, or when what is in
 * flight would not find room beside them: so the completion ring never fills up.
 */
#include "dev/nvme/parts.h"
#include "kern/base/mmio.h"

static_assert(offsetof(struct nvme_cqe, sq) == 8 && offsetof(struct nvme_cqe, status) == 12);

void
nvme_ioq_reset(struct nvme_ioq *q)
{
	q->tail = q->head = q->announced = q->taken = 0;
	q->phase = CQE_PHASE;
	q->fault = NULL;
	/* One entry stays empty: a full ring looks like an empty one. */
	q->free_count = q->entries - 1;
	for (uint32_t i = 0; i < q->free_count; i++) {
		q->free[i] = (uint16_t)(q->free_count - 1 - i);
		q->slot[i] = (struct nvme_slot){ .list = PRP_NONE };
	}
	prp_pool_init(&q->lists, q->list_memory.ptr, q->list_memory.iova,
	    (uint32_t)(q->list_memory.len / PAGE_SIZE));
}

static ALWAYS_INLINE uint32_t
take_slot(struct nvme_ioq *q, void *cookie, uint16_t list)
{
	uint32_t slot = q->free[--q->free_count];

	q->slot[slot] = (struct nvme_slot){
		.cookie = cookie, .since = q->now, .list = list, .state = SLOT_BUSY
	};
	return slot;
}

static ALWAYS_INLINE void
advance(struct nvme_ioq *q)
{
	if (++q->tail == q->entries)
		q->tail = 0;
}

enum status
nvme_ioq_put_raw(struct nvme_ioq *q, const struct nvme_sqe *e)
{
	if (q->free_count == 0)
		return E_BUSY;
	q->sq[q->tail] = *e;
	q->sq[q->tail].cdw0 |= take_slot(q, NULL, PRP_NONE) << 16;
	advance(q);
	return OK;
}

/* What moves no data of the caller's. */
static COLD enum status
put_other(struct nvme_ioq *q, const struct nvme_io *io)
{
	struct nvme_sqe e = { .nsid = io->nsid };
	uint16_t list = PRP_NONE;
	uint32_t *range;

	switch (io->op) {
	case NVME_OP_FLUSH:
		e.cdw0 = IO_FLUSH;
		break;
	case NVME_OP_ZERO:
		if (io->blocks == 0 || io->blocks > NVME_ZERO_BLOCKS)
			return E_RANGE;
		e.cdw0 = IO_WRITE_ZEROES;
		e.cdw10 = (uint32_t)io->lba;
		e.cdw11 = (uint32_t)(io->lba >> 32);
		e.cdw12 = (io->blocks - 1) | (io->fua ? RW_FUA : 0);
		break;
	case NVME_OP_DISCARD:
		/* One range [NVM 3.3.3]: attributes, blocks, first block. */
		range = prp_page(&q->lists, &e.prp1, &list);
		if (range == NULL)
			return E_WOULD_BLOCK;
		range[1] = io->blocks;
		range[2] = (uint32_t)io->lba;
		range[3] = (uint32_t)(io->lba >> 32);
		e.cdw0 = IO_DATASET;
		e.cdw11 = DSM_DEALLOCATE;
		break;
	default:
		return E_INVALID;
	}
	e.cdw0 |= take_slot(q, io->cookie, list) << 16;
	q->sq[q->tail] = e;
	advance(q);
	return OK;
}

enum status
nvme_ioq_put(struct nvme_ioq *q, const struct nvme_io *io)
{
	uint16_t list = PRP_NONE;
	uint64_t prp[2] = { 0, 0 };
	struct nvme_sqe *e;

	if (unlikely(q->free_count == 0))
		return E_WOULD_BLOCK;
	if (unlikely(io->op > NVME_OP_WRITE))
		return put_other(q, io);
	if (unlikely((io->data.v & 3) != 0))
		return E_ALIGN;
	if (unlikely(!prp_build(&q->lists, io->data.v, io->bytes, prp, &list)))
		return E_WOULD_BLOCK;
	e = &q->sq[q->tail];
	e->cdw0 =
	    (io->op == NVME_OP_READ ? IO_READ : IO_WRITE) | take_slot(q, io->cookie, list) << 16;
	e->nsid = io->nsid;
	e->cdw2_3 = 0;
	e->metadata = 0;
	e->prp1 = prp[0];
	e->prp2 = prp[1];
	e->cdw10 = (uint32_t)io->lba;
	e->cdw11 = (uint32_t)(io->lba >> 32);
	e->cdw12 = (io->blocks - 1) | (io->fua ? RW_FUA : 0);
	e->cdw13 = e->cdw14 = e->cdw15 = 0;
	advance(q);
	return OK;
}

static ALWAYS_INLINE enum status
commit(struct nvme_ioq *q, bool give)
{
	uint32_t tail = q->tail != q->announced ? q->tail : UINT32_MAX;
	enum status s;

	if (!give && tail == UINT32_MAX)
		return OK;
	/* Who checks entries must know which ids are free again; it rings for completions in lots
	 * by itself. */
	give |= q->q.checked && q->taken != 0;
	q->announced = q->tail;
	if (give)
		q->taken = 0;
	s = drv_queue_commit(&q->q, tail, give ? q->head : UINT32_MAX);
	if (unlikely(s != OK) && q->fault == NULL)
		q->fault = s == E_CORRUPT ? "the kernel found a completion that breaks the rules" :
					    "the kernel refused queue entries";
	return s;
}

enum status
nvme_ioq_ring(struct nvme_ioq *q)
{
	return commit(q, q->taken > q->entries / 4 || q->taken > q->free_count);
}

enum status
nvme_ioq_settle(struct nvme_ioq *q)
{
	return commit(q, q->taken != 0);
}

/* The status half and the queue half of an entry, against what is in flight.  NULL: believed. */
static ALWAYS_INLINE const char *
judge(const struct nvme_ioq *q, uint32_t sq, uint32_t slot)
{
	if (unlikely(slot >= q->entries - 1 || q->slot[slot].state == SLOT_FREE))
		return "a completion names a command that is not in flight";
	if (unlikely(sq >> 16 != q->id))
		return "a completion names another submission queue";
	if (unlikely((sq & 0xffff) >= q->entries))
		return "a completion reports a submission head outside the queue";
	return NULL;
}

uint32_t
nvme_ioq_take(struct nvme_ioq *q, struct nvme_done *out, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && likely(q->fault == NULL)) {
		uint64_t entry = *(volatile uint64_t *)(volatile void *)&q->cq[q->head].sq;
		uint32_t status = (uint32_t)(entry >> 32), slot = status & CQE_CID,
			 code = status >> 17 & 0x7ff;

		if ((status & CQE_PHASE) != q->phase)
			break;
		io_collect();
		q->fault = judge(q, (uint32_t)entry, slot);
		if (unlikely(q->fault != NULL))
			break;
		q->result = q->cq[q->head].dw0;
		if (++q->head == q->entries) {
			q->head = 0;
			q->phase ^= CQE_PHASE;
		}
		q->taken++;
		out[n].cookie = q->slot[slot].cookie;
		out[n].sct_sc = (uint16_t)code;
		out[n].status = likely(code == 0) ? OK : E_IO;
		n++;
		prp_free(&q->lists, q->slot[slot].list);
		q->slot[slot].state = SLOT_FREE;
		q->free[q->free_count++] = (uint16_t)slot;
	}
	return n;
}
