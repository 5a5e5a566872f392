/*
 * The hot path: entries in, completions out.
 *
 * Rings wrap by comparison, not by division.  The number of commands in flight is below the ring's size, so the
 * submission ring never overruns; a slot's number is its command id, and a completion counts only when it names a busy
 * slot.  Phase and command id of a completion come from one 32-bit read.
 *
 * PRPs [Base 4.3]: the first covers up to the end of its page; one more page goes into the second; more than that, the
 * second points to a list in the slot's own page.
 */
#include "dev/nvme/ctrl.h"
#include "kern/base/mmio.h"

void nvme_ioq_reset(struct nvme_ioq *q);

/* An empty pair with all slots free. */
void
nvme_ioq_reset(struct nvme_ioq *q)
{
	q->tail = q->head = q->announced = q->given = q->inflight = 0;
	q->phase = CQE_PHASE;
	/* One entry stays empty: a full ring looks like an empty one. */
	for (uint32_t i = 0; i < q->entries - 1; i++)
		q->slot[i] = (struct nvme_slot){ .cookie = (void *)(uintptr_t)(i + 2 < q->entries ? i + 1 : UINT32_MAX) };
	q->free = 0;
}

static ALWAYS_INLINE void
build_prps(struct nvme_ioq *q, uint32_t slot, struct nvme_sqe *e, uint64_t at, uint64_t bytes)
{
	uint64_t first = PAGE_SIZE - (at & PAGE_MASK), *list, n;

	e->prp1 = at;
	e->prp2 = 0;
	if (likely(bytes <= first))
		return;
	at += first;
	bytes -= first;
	if (bytes <= PAGE_SIZE) {
		e->prp2 = at;
		return;
	}
	list = (uint64_t *)(void *)((char *)q->lists.ptr + (uint64_t)slot * PAGE_SIZE);
	n = pages_of(bytes);
	for (uint64_t i = 0; i < n; i++, at += PAGE_SIZE)
		list[i] = at;
	e->prp2 = q->lists.iova.v + (uint64_t)slot * PAGE_SIZE;
}

enum status
nvme_ioq_put(struct nvme_ioq *q, enum nvme_op op, uint32_t nsid, uint64_t lba, uint32_t blocks, struct iova data,
    uint64_t bytes, bool fua, void *cookie)
{
	static const uint8_t opcode[] = { IO_READ, IO_WRITE, IO_FLUSH };
	uint32_t slot = q->free;
	struct nvme_sqe *e;

	if (unlikely(slot == UINT32_MAX))
		return E_WOULD_BLOCK;
	if (unlikely((data.v & 3) != 0))
		return E_ALIGN;
	if (unlikely(bytes > (NVME_LIST_ENTRIES - 1) * PAGE_SIZE))
		return E_RANGE;
	q->free = (uint32_t)(uintptr_t)q->slot[slot].cookie;
	q->slot[slot].cookie = cookie;
	q->slot[slot].busy = true;
	q->inflight++;
	e = &q->sq[q->tail];
	e->cdw0 = opcode[op] | slot << 16;
	e->nsid = nsid;
	e->cdw2_3 = 0;
	e->metadata = 0;
	if (op != NVME_OP_FLUSH) {
		build_prps(q, slot, e, data.v, bytes);
		e->cdw10 = (uint32_t)lba;
		e->cdw11 = (uint32_t)(lba >> 32);
		e->cdw12 = (blocks - 1) | (fua ? RW_FUA : 0);
	} else {
		e->prp1 = e->prp2 = 0;
		e->cdw10 = e->cdw11 = e->cdw12 = 0;
	}
	e->cdw13 = e->cdw14 = e->cdw15 = 0;
	if (++q->tail == q->entries)
		q->tail = 0;
	return OK;
}

enum status
nvme_ioq_ring(struct nvme_ioq *q)
{
	uint32_t tail = q->tail != q->announced ? q->tail : UINT32_MAX;
	uint32_t head = q->head != q->given ? q->head : UINT32_MAX;

	if (tail == UINT32_MAX && head == UINT32_MAX)
		return OK;
	q->announced = q->tail;
	q->given = q->head;
	return drv_queue_commit(&q->q, tail, head);
}

uint32_t
nvme_ioq_take(struct nvme_ioq *q, struct nvme_done *out, uint32_t max)
{
	uint32_t n = 0;

	while (n < max) {
		uint32_t status = q->cq[q->head].status, slot, code;

		if ((status & CQE_PHASE) != q->phase)
			break;
		slot = status & CQE_CID;
		code = status >> 17 & 0x7ff;
		if (++q->head == q->entries) {
			q->head = 0;
			q->phase ^= CQE_PHASE;
		}
		if (unlikely(slot >= q->entries - 1 || !q->slot[slot].busy))
			continue;	/* names nothing outstanding */
		out[n].cookie = q->slot[slot].cookie;
		out[n].sct_sc = (uint16_t)code;
		out[n].status = likely(code == 0) ? OK : E_IO;
		n++;
		q->slot[slot].busy = false;
		q->slot[slot].cookie = (void *)(uintptr_t)q->free;
		q->free = slot;
		q->inflight--;
	}
	if (n != 0)
		io_collect();
	return n;
}

const char *
nvme_status_text(uint16_t code)
{
	switch (code & 0x7ff) {
	case 0x000: return "success";
	case 0x001: return "invalid opcode";
	case 0x002: return "invalid field";
	case 0x003: return "command id conflict";
	case 0x004: return "data transfer error";
	case 0x005: return "aborted: power loss";
	case 0x006: return "internal error";
	case 0x007: return "abort requested";
	case 0x008: return "aborted: queue deleted";
	case 0x00b: return "invalid namespace or format";
	case 0x00c: return "command sequence error";
	case 0x013: return "PRP offset invalid";
	case 0x080: return "LBA out of range";
	case 0x081: return "capacity exceeded";
	case 0x082: return "namespace not ready";
	case 0x100: return "completion queue invalid";
	case 0x101: return "invalid queue identifier";
	case 0x102: return "invalid queue size";
	case 0x180: return "conflicting attributes";
	case 0x182: return "write to read-only range";
	case 0x280: return "write fault";
	case 0x281: return "unrecovered read error";
	case 0x282: return "guard check error";
	case 0x285: return "compare failure";
	case 0x286: return "access denied";
	}
	return (code >> 8 & 7) == 7 ? "vendor specific error" : "error";
}
