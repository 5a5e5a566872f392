/*
 * Bring-up: reset, admin queue, identify, I/O queues.
 *
 * The order is that of the specification [Base 3.5.1]: disable and wait, program the admin queue, enable and wait,
 * identify, ask for queues, create completion queues before their submission queues.  Every wait is bounded by CAP.TO or by
 * ADMIN_NS; registers that read all ones mean that the device is gone.
 */
#include "dev/nvme/ctrl.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"

enum { ADMIN_ENTRIES = 32 };
enum : uint64_t { ADMIN_NS = 60 * NS_PER_S, POLL_NS = 500 * NS_PER_US, ADMIN_BIT = BIT(63) };

void nvme_ioq_reset(struct nvme_ioq *q);

static uint32_t rd32(struct nvme_ctrl *c, uint32_t r) { return mmio_read32(c->regs.base + r); }
static void wr32(struct nvme_ctrl *c, uint32_t r, uint32_t v) { mmio_write32(c->regs.base + r, v); }
static uint64_t rd64(struct nvme_ctrl *c, uint32_t r) { return mmio_read64(c->regs.base + r); }
static void wr64(struct nvme_ctrl *c, uint32_t r, uint64_t v) { mmio_write64(c->regs.base + r, v); }

bool
nvme_ctrl_dead(struct nvme_ctrl *c)
{
	uint32_t s = rd32(c, NVME_CSTS);

	return c->dead || s == UINT32_MAX || (s & CSTS_CFS) != 0;
}

static enum status
wait_ready(struct nvme_ctrl *c, bool ready, const char **why)
{
	uint64_t until = drv_now() + c->ready_ms * NS_PER_MS;

	for (;;) {
		uint32_t s = rd32(c, NVME_CSTS);

		if (s == UINT32_MAX) {
			*why = "the controller is gone: its registers read all ones";
			return E_NO_DEVICE;
		}
		if (ready && (s & CSTS_CFS) != 0) {
			*why = "the controller reports a fatal status (CSTS.CFS)";
			return E_IO;
		}
		if (((s & CSTS_RDY) != 0) == ready)
			return OK;
		if (drv_now() > until) {
			*why = ready ? "the controller did not become ready within CAP.TO" :
			    "the controller did not stop within CAP.TO";
			return E_TIMED_OUT;
		}
		(void)drv_wait(c->dev, drv_now() + POLL_NS);
	}
}

/* One admin command, waited for.  *dw0 may be NULL. */
static enum status
admin(struct nvme_ctrl *c, struct nvme_sqe e, uint32_t *dw0, const char *what, const char **why)
{
	struct nvme_ioq *q = &c->admin;
	uint64_t until = drv_now() + ADMIN_NS, faults = drv_faults(c->dev);
	uint32_t head, slot = q->free;
	enum status s;

	if (slot == UINT32_MAX)
		return E_BUSY;
	e.cdw0 |= slot << 16;
	q->free = (uint32_t)(uintptr_t)q->slot[slot].cookie;
	q->slot[slot].busy = true;
	q->sq[q->tail] = e;
	if (++q->tail == q->entries)
		q->tail = 0;
	s = nvme_ioq_ring(q);
	if (s != OK)
		return s;
	for (;;) {
		struct nvme_done d;

		head = q->head;
		q->inflight = 1;
		if (nvme_ioq_take(q, &d, 1) == 1) {
			uint32_t result = q->cq[head].dw0;

			(void)nvme_ioq_ring(q);
			if (drv_faults(c->dev) != faults) {
				*why = "the IOMMU refused an access of the controller";
				return E_IO;
			}
			if (d.status != OK) {
				*why = what;
				drv_log("%s: %s (status type %u code 0x%02x)", what, nvme_status_text(d.sct_sc), d.sct_sc >> 8,
				    d.sct_sc & 0xff);
				return E_IO;
			}
			if (dw0 != NULL)
				*dw0 = result;
			return OK;
		}
		if (nvme_ctrl_dead(c)) {
			*why = "the controller stopped during bring-up";
			return E_NO_DEVICE;
		}
		if (drv_now() > until) {
			*why = "an admin command did not complete";
			return E_TIMED_OUT;
		}
		(void)drv_wait(c->dev, drv_now() + POLL_NS);
	}
}

static enum status
identify(struct nvme_ctrl *c, uint32_t cns, uint32_t nsid, const char **why)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_IDENTIFY, .nsid = nsid, .prp1 = c->page.iova.v, .cdw10 = cns };

	memset(c->page.ptr, 0, PAGE_SIZE);
	return admin(c, e, NULL, "identify failed", why);
}

static void
text_field(char *to, const uint8_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? (char)from[i] : ' ';
	while (n != 0 && to[n - 1] == ' ')
		n--;
	to[n] = 0;
}

static uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t le64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static enum status
add_namespace(struct nvme_ctrl *c, uint32_t nsid, const char **why)
{
	const uint8_t *p = c->page.ptr;
	uint32_t format, lbaf;
	uint64_t blocks;
	enum status s = identify(c, CNS_NAMESPACE, nsid, why);

	if (s != OK)
		return s;
	blocks = le64(p + NS_NSZE);
	if (blocks == 0)
		return OK;		/* inactive */
	format = (p[NS_FLBAS] & 15u) | (p[NS_FLBAS] >> 1 & 0x30u);
	lbaf = le32(p + NS_LBAF + 4 * format);
	if ((lbaf & 0xffff) != 0) {
		drv_log("namespace %u has metadata: not used", nsid);
		return OK;
	}
	if ((lbaf >> 16 & 0xff) < 9 || (lbaf >> 16 & 0xff) > 12) {
		drv_log("namespace %u has blocks of 2^%u bytes: not used", nsid, lbaf >> 16 & 0xff);
		return OK;
	}
	if (c->ns_count == NVME_NS_MAX) {
		drv_log("more than %u namespaces: namespace %u is not used", NVME_NS_MAX, nsid);
		return OK;
	}
	c->ns[c->ns_count++] = (struct nvme_ns){ nsid, blocks, 1u << (lbaf >> 16 & 0xff) };
	return OK;
}

static enum status
namespaces(struct nvme_ctrl *c, uint32_t nn, const char **why)
{
	uint32_t list[NVME_NS_MAX + 1], n = 0;
	enum status s;

	/* The active list came with 1.1; before, all numbers up to NN are tried. */
	if (c->version_major > 1 || c->version_minor >= 1) {
		s = identify(c, CNS_ACTIVE, 0, why);
		if (s != OK)
			return s;
		for (; n < ARRAY_SIZE(list); n++) {
			list[n] = le32((const uint8_t *)c->page.ptr + 4 * n);
			if (list[n] == 0 || (n > 0 && list[n] <= list[n - 1]))
				break;
		}
	} else {
		for (; n < nn && n < ARRAY_SIZE(list); n++)
			list[n] = n + 1;
	}
	for (uint32_t i = 0; i < n; i++) {
		s = add_namespace(c, list[i], why);
		if (s != OK)
			return s;
	}
	return OK;
}

static enum status
make_queue(struct nvme_ctrl *c, struct nvme_ioq *q, uint32_t id, uint32_t entries, const char **why)
{
	enum status s = drv_queue(c->dev, id, entries * SQE_BYTES, entries * CQE_BYTES, nvme_doorbell(id, false, c->dstrd),
	    nvme_doorbell(id, true, c->dstrd), &q->q);

	if (s != OK) {
		*why = "no memory for a queue";
		return s;
	}
	q->sq = q->q.sq.ptr;
	q->cq = q->q.cq.ptr;
	q->entries = entries;
	nvme_ioq_reset(q);
	return OK;
}

static enum status
io_queues(struct nvme_ctrl *c, uint32_t want, uint32_t depth, const char **why)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_SET_FEATURES, .cdw10 = FEATURE_QUEUES, .cdw11 = (want - 1) | (want - 1) << 16 };
	uint32_t granted;
	enum status s = admin(c, e, &granted, "the controller grants no I/O queues", why);

	if (s != OK)
		return s;
	want = (uint32_t)min_u64(want, min_u64(granted & 0xffff, granted >> 16) + 1);
	c->depth = depth;
	for (uint32_t i = 0; i < want; i++) {
		struct nvme_ioq *q = &c->ioq[i];
		uint32_t id = i + 1;

		s = make_queue(c, q, id, depth, why);
		if (s == OK) {
			s = drv_memory(c->dev, (uint64_t)(depth - 1) * PAGE_SIZE, DMA_TO_DEVICE, &q->lists);
			if (s != OK)
				*why = "no memory for PRP lists";
		}
		if (s == OK)
			s = drv_vector(c->dev, id, BIT(i));
		if (s != OK && c->ioq_count != 0)
			return OK;	/* one pair is enough to go on */
		if (s != OK) {
			*why = "no interrupt vector for an I/O queue";
			return s;
		}
		e = (struct nvme_sqe){ .cdw0 = ADMIN_CREATE_CQ, .prp1 = q->q.cq.iova.v, .cdw10 = id | (depth - 1) << 16,
			.cdw11 = CQ_CONTIGUOUS | CQ_INTERRUPT | id << 16 };
		s = admin(c, e, NULL, "creating a completion queue failed", why);
		if (s != OK)
			return s;
		e = (struct nvme_sqe){ .cdw0 = ADMIN_CREATE_SQ, .prp1 = q->q.sq.iova.v, .cdw10 = id | (depth - 1) << 16,
			.cdw11 = 1 | id << 16 };
		s = admin(c, e, NULL, "creating a submission queue failed", why);
		if (s != OK)
			return s;
		c->ioq_count++;
	}
	return OK;
}

enum status
nvme_ctrl_start(struct nvme_ctrl *c, struct drv_device *d, uint32_t want_queues, uint32_t want_depth, const char **why)
{
	const uint8_t *p;
	uint64_t cap;
	uint32_t vs, vectors, depth;
	enum status s;

	*why = "its registers cannot be mapped";
	c->dev = d;
	s = drv_window(d, 0, &c->regs);
	if (s != OK)
		return s;
	if (c->regs.len < NVME_DOORBELLS + 8) {
		*why = "its register window is too small";
		return E_UNSUPPORTED;
	}
	cap = rd64(c, NVME_CAP);
	vs = rd32(c, NVME_VS);
	if (cap == UINT64_MAX || vs == UINT32_MAX) {
		*why = "its registers read all ones";
		return E_NO_DEVICE;
	}
	c->version_major = (uint16_t)(vs >> 16);
	c->version_minor = (uint16_t)(vs >> 8 & 0xff);
	c->dstrd = (uint32_t)FIELD_GET(CAP_DSTRD, cap);
	c->ready_ms = (uint32_t)(FIELD_GET(CAP_TO, cap) + 1) * 500;
	if (FIELD_GET(CAP_MPSMIN, cap) != 0) {
		*why = "it does not support pages of 4 KiB";
		return E_UNSUPPORTED;
	}
	if ((FIELD_GET(CAP_CSS, cap) & 1) == 0) {
		*why = "it does not support the NVM command set";
		return E_UNSUPPORTED;
	}
	depth = (uint32_t)min_u64(min_u64(want_depth, FIELD_GET(CAP_MQES, cap) + 1), NVME_DEPTH_MAX);
	vectors = drv_vectors(d);
	if (vectors < 2) {
		*why = "it has fewer than two interrupt vectors";
		return E_UNSUPPORTED;
	}
	want_queues = (uint32_t)min_u64(min_u64(want_queues, NVME_IOQ_MAX), vectors - 1);
	if (nvme_doorbell(want_queues, true, c->dstrd) + 4 > c->regs.len) {
		*why = "its doorbells lie outside the register window";
		return E_UNSUPPORTED;
	}

	wr32(c, NVME_CC, rd32(c, NVME_CC) & ~(uint32_t)CC_EN);
	s = wait_ready(c, false, why);
	if (s != OK)
		return s;
	s = make_queue(c, &c->admin, 0, ADMIN_ENTRIES, why);
	if (s == OK)
		s = drv_memory(d, PAGE_SIZE, DMA_BOTH, &c->page);
	if (s != OK)
		return s;
	(void)drv_vector(d, 0, ADMIN_BIT);
	wr32(c, NVME_AQA, (uint32_t)(FIELD_PREP(AQA_ASQS, ADMIN_ENTRIES - 1) | FIELD_PREP(AQA_ACQS, ADMIN_ENTRIES - 1)));
	wr64(c, NVME_ASQ, c->admin.q.sq.iova.v);
	wr64(c, NVME_ACQ, c->admin.q.cq.iova.v);
	wr32(c, NVME_CC, (uint32_t)(CC_EN | FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4)));
	s = wait_ready(c, true, why);
	if (s != OK)
		return s;

	s = identify(c, CNS_CONTROLLER, 0, why);
	if (s != OK)
		return s;
	p = c->page.ptr;
	text_field(c->serial, p + ID_SN, 20);
	text_field(c->model, p + ID_MN, 40);
	text_field(c->firmware, p + ID_FR, 8);
	c->volatile_cache = (p[ID_VWC] & 1) != 0;
	c->max_transfer_bytes = (NVME_LIST_ENTRIES - 2) * PAGE_SIZE;
	if (p[ID_MDTS] != 0 && p[ID_MDTS] < 20)
		c->max_transfer_bytes = min_u64(c->max_transfer_bytes, PAGE_SIZE << p[ID_MDTS]);
	s = namespaces(c, le32(p + ID_NN), why);
	if (s == OK)
		s = io_queues(c, want_queues, depth, why);
	return s;
}

void
nvme_ctrl_stop(struct nvme_ctrl *c)
{
	uint64_t until = drv_now() + c->ready_ms * NS_PER_MS;

	if (c->regs.base == NULL || nvme_ctrl_dead(c))
		return;
	wr32(c, NVME_CC, rd32(c, NVME_CC) | (uint32_t)FIELD_PREP(CC_SHN, 1));
	while (FIELD_GET(CSTS_SHST, rd32(c, NVME_CSTS)) != 2 && drv_now() < until)
		(void)drv_wait(c->dev, drv_now() + POLL_NS);
}
