/*
 * Bring-up, reset, admin commands.
 *
 * The order is that of the specification [Base 3.5.1]: disable and wait, program the admin queue,
 * enable and wait, identify, ask for queues, create completion queues before their submission
 * queues.  Every wait is bounded: by CAP.TO (or CRTO where the controller has it), or by ADMIN_NS
 * for a command.  Registers that read all ones mean that the device is gone.
 *
 * A restart is the same without the allocations: the pairs keep their memory, their vectors and
 * their ids.
 *
 * Vectors: 0 is the admin queue's, queue n has vector n.  With fewer vectors queues share; with
 * none the owner has to look from time to time (polled).
 */
#include "dev/nvme/parts.h"
#include "kern/base/mmio.h"

enum { ADMIN_ENTRIES = 32, LIST_PAGES_MIN = 32 };
static_assert(NVME_TRANSFER_MAX / PAGE_SIZE <=
    LIST_PAGES_MIN * (PRP_ENTRIES - 1)); /* the largest transfer fits */
enum : uint64_t {
	ADMIN_NS = 60 * NS_PER_S,
	ABORT_NS = 5 * NS_PER_S,
	RESET_NS = 10 * NS_PER_S,
	POLL_NS = 500 * NS_PER_US,
	READY_UNIT_MS = 500,
	ADMIN_BIT = BIT(63),
};

static uint32_t rd32(struct nvme_ctrl *c, uint32_t r) { return drv_read32(&c->regs, r); }
static void wr32(struct nvme_ctrl *c, uint32_t r, uint32_t v) { drv_write32(&c->regs, r, v); }
static uint64_t rd64(struct nvme_ctrl *c, uint32_t r) { return drv_read64(&c->regs, r); }
static void wr64(struct nvme_ctrl *c, uint32_t r, uint64_t v) { drv_write64(&c->regs, r, v); }

const char *
nvme_ctrl_trouble(struct nvme_ctrl *c)
{
	uint32_t s = rd32(c, NVME_CSTS);

	if (s == UINT32_MAX)
		return "the controller is gone: its registers read all ones";
	if ((s & CSTS_CFS) != 0)
		return "the controller reports a fatal status (CSTS.CFS)";
	if (c->admin.fault != NULL)
		return c->admin.fault;
	for (uint32_t i = 0; i < c->ioq_count; i++)
		if (c->ioq[i].fault != NULL)
			return c->ioq[i].fault;
	return NULL;
}

static enum status
wait_ready(struct nvme_ctrl *c, bool ready, const char **why)
{
	uint64_t until = drv_now() + c->ready_ms * NS_PER_MS;

	for (;;) {
		uint64_t now = drv_now();
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
		if (now > until) {
			*why = ready ? "the controller did not become ready within CAP.TO" :
			    "the controller did not stop within CAP.TO";
			return E_TIMED_OUT;
		}
		(void)drv_wait(c->dev, now + POLL_NS);
	}
}

/* Waits for the one admin command that is out.  *why only on failure. */
static enum status
admin_wait(struct nvme_ctrl *c, struct nvme_done *d, uint64_t patience_ns, const char **why)
{
	struct nvme_ioq *q = &c->admin;
	uint64_t until = drv_now() + patience_ns;

	for (;;) {
		uint64_t now = drv_now();
		const char *trouble;

		if (nvme_ioq_take(q, d, 1) == 1)
			return nvme_ioq_settle(q);
		trouble = nvme_ctrl_trouble(c);
		if (trouble != NULL) {
			*why = trouble;
			return E_NO_DEVICE;
		}
		if (now > until) {
			*why = "an admin command did not complete";
			return E_TIMED_OUT;
		}
		(void)drv_wait(c->dev, now + POLL_NS);
	}
}

static enum status
admin_for(struct nvme_ctrl *c, const struct nvme_sqe *e, const char *what, uint64_t patience_ns,
    uint32_t *result, uint16_t *sct_sc, const char **why)
{
	uint64_t faults = drv_faults(c->dev);
	struct nvme_done d;
	enum status s = nvme_ioq_put_raw(&c->admin, e);

	*why = what;
	if (s == OK)
		s = nvme_ioq_ring(&c->admin);
	if (s == OK)
		s = admin_wait(c, &d, patience_ns, why);
	if (s != OK)
		return s;
	if (drv_faults(c->dev) != faults) {
		*why = "the IOMMU refused an access of the controller";
		return E_FAULT;
	}
	if (result != NULL)
		*result = c->admin.result;
	if (sct_sc != NULL)
		*sct_sc = d.sct_sc;
	else if (d.status != OK)
		drv_log("%s: %s (status type %u code 0x%02x)", what, nvme_status_text(d.sct_sc),
		    d.sct_sc >> 8, d.sct_sc & 0xff);
	return d.status;
}

enum status
nvme_admin(struct nvme_ctrl *c, const struct nvme_sqe *e, const char *what, uint32_t *result,
    uint16_t *sct_sc, const char **why)
{
	return admin_for(c, e, what, ADMIN_NS, result, sct_sc, why);
}

enum status
nvme_ctrl_abort(struct nvme_ctrl *c, struct nvme_ioq *q, uint32_t slot)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_ABORT, .cdw10 = q->id | slot << 16 };
	uint16_t code;
	const char *why;

	q->slot[slot].state = SLOT_ABORTED;
	return admin_for(c, &e, "abort failed", ABORT_NS, NULL, &code, &why);
}

static enum status
make_queue(struct nvme_ctrl *c, struct nvme_ioq *q, uint32_t id, uint32_t entries, const char **why)
{
	enum status s = drv_queue(c->dev, id, entries, SQE_BYTES, CQE_BYTES,
	    nvme_doorbell(id, false, c->dstrd), nvme_doorbell(id, true, c->dstrd), &q->q);

	if (s == OK && id != 0)
		s = drv_memory(c->dev,
		    max_u64(LIST_PAGES_MIN, min_u64(entries, PRP_POOL_PAGES)) * PAGE_SIZE,
		    DMA_TO_DEVICE, &q->list_memory);
	if (s != OK) {
		*why = "no memory for a queue";
		return s;
	}
	q->sq = q->q.sq.ptr;
	q->cq = q->q.cq.ptr;
	q->id = id;
	q->entries = entries;
	nvme_ioq_reset(q);
	return OK;
}

/* The vector of queue "id"; without one of its own it takes another's, UINT32_MAX: none at all. */
static uint32_t
vector_of(struct nvme_ctrl *c, uint32_t id, uint32_t vectors)
{
	for (uint32_t v = id < vectors ? id + 1 : vectors; v-- != 0; ) {
		enum status s = drv_vector(c->dev, v, v == 0 ? ADMIN_BIT : BIT(v - 1));

		if (s == OK || s == E_BUSY)
			return v;
	}
	return UINT32_MAX;
}

/* Gets the admin queue going: the controller is disabled before and ready after. */
static enum status
enable(struct nvme_ctrl *c, const char **why)
{
	uint32_t entries = c->admin.entries - 1;

	wr32(
	    c, NVME_AQA, (uint32_t)(FIELD_PREP(AQA_ASQS, entries) | FIELD_PREP(AQA_ACQS, entries)));
	wr64(c, NVME_ASQ, c->admin.q.sq.iova.v);
	wr64(c, NVME_ACQ, c->admin.q.cq.iova.v);
	wr32(c, NVME_CC, (uint32_t)(CC_EN | FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4)));
	return wait_ready(c, true, why);
}

static enum status
disable(struct nvme_ctrl *c, const char **why)
{
	wr32(c, NVME_CC, rd32(c, NVME_CC) & ~(uint32_t)CC_EN);
	return wait_ready(c, false, why);
}

/* How many of "want" pairs it allows. */
static enum status
ask_queues(struct nvme_ctrl *c, uint32_t *want, const char **why)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_SET_FEATURES,
		.cdw10 = FEATURE_QUEUES,
		.cdw11 = (*want - 1) | (*want - 1) << 16 };
	uint32_t granted;
	enum status s =
	    nvme_admin(c, &e, "the controller grants no I/O queues", &granted, NULL, why);

	if (s == OK)
		*want = (uint32_t)min_u64(*want, min_u64(granted & 0xffff, granted >> 16) + 1);
	return s;
}

static enum status
create_pair(struct nvme_ctrl *c, struct nvme_ioq *q, const char **why)
{
	uint32_t size = q->id | (q->entries - 1) << 16;
	struct nvme_sqe cq = { .cdw0 = ADMIN_CREATE_CQ, .prp1 = q->q.cq.iova.v, .cdw10 = size,
		.cdw11 = CQ_CONTIGUOUS | (c->polled ? 0 : CQ_INTERRUPT | q->vector << 16) };
	struct nvme_sqe sq = { .cdw0 = ADMIN_CREATE_SQ, .prp1 = q->q.sq.iova.v, .cdw10 = size,
		.cdw11 = CQ_CONTIGUOUS | q->id << 16 };
	enum status s = nvme_admin(c, &cq, "creating a completion queue failed", NULL, NULL, why);

	return s == OK ? nvme_admin(c, &sq, "creating a submission queue failed", NULL, NULL, why) :
			 s;
}

static enum status
io_queues(struct nvme_ctrl *c, uint32_t want, uint32_t vectors, const char **why)
{
	enum status s = ask_queues(c, &want, why);

	if (s != OK)
		return s;
	for (uint32_t i = 0; i < want; i++) {
		struct nvme_ioq *q = &c->ioq[i];

		s = make_queue(c, q, i + 1, c->depth, why);
		if (s == OK) {
			q->vector = vector_of(c, i + 1, vectors);
			c->polled |= q->vector == UINT32_MAX;
			s = create_pair(c, q, why);
		}
		if (s != OK && c->ioq_count != 0) {
			drv_log("queue %u: %s: goes on with %u", i + 1, *why, c->ioq_count);
			return OK;
		}
		if (s != OK)
			return s;
		c->ioq_count++;
	}
	return OK;
}

/* What the capabilities say, before anything is changed. */
static enum status
limits(struct nvme_ctrl *c, uint32_t *want_queues, uint32_t want_depth, const char **why)
{
	uint32_t vs = rd32(c, NVME_VS);
	uint64_t cap = c->cap = rd64(c, NVME_CAP), to = FIELD_GET(CAP_TO, cap);

	if (cap == UINT64_MAX || vs == UINT32_MAX) {
		*why = "its registers read all ones";
		return E_NO_DEVICE;
	}
	c->version_major = (uint16_t)(vs >> 16);
	c->version_minor = (uint16_t)(vs >> 8 & 0xff);
	c->dstrd = (uint32_t)FIELD_GET(CAP_DSTRD, cap);
	if ((cap & CAP_CRWMS) != 0)
		to = max_u64(to, FIELD_GET(CRTO_CRWMT, rd32(c, NVME_CRTO)));
	c->ready_ms = (uint32_t)((to + 1) * READY_UNIT_MS);
	if (FIELD_GET(CAP_MPSMIN, cap) != 0) {
		*why = "it does not support pages of 4 KiB";
		return E_UNSUPPORTED;
	}
	if ((FIELD_GET(CAP_CSS, cap) & 1) == 0) {
		*why = "it does not support the NVM command set";
		return E_UNSUPPORTED;
	}
	if (FIELD_GET(CAP_MQES, cap) == 0) {
		*why = "its queues have one entry (CAP.MQES)";
		return E_UNSUPPORTED;
	}
	c->depth = (uint32_t)max_u64(
	    2, min_u64(min_u64(want_depth, FIELD_GET(CAP_MQES, cap) + 1), NVME_DEPTH_MAX));
	*want_queues = (uint32_t)max_u64(1, min_u64(*want_queues, NVME_IOQ_MAX));
	while (*want_queues != 0 && nvme_doorbell(*want_queues, true, c->dstrd) + 4 > c->regs.len)
		(*want_queues)--;
	if (*want_queues == 0) {
		*why = "its doorbells lie outside the register window";
		return E_UNSUPPORTED;
	}
	return OK;
}

static enum status
start(struct nvme_ctrl *c, uint32_t want_queues, uint32_t want_depth, const char **why)
{
	uint32_t vectors = drv_vectors(c->dev);
	enum status s = limits(c, &want_queues, want_depth, why);

	if (s == OK)
		s = disable(c, why);
	if (s == OK)
		s = make_queue(c, &c->admin, 0, ADMIN_ENTRIES, why);
	if (s != OK)
		return s;
	s = drv_memory(c->dev, PAGE_SIZE, DMA_BOTH, &c->page);
	if (s != OK) {
		*why = "no memory for a page";
		return s;
	}
	/* Bring-up looks by itself; the vector only saves time. */
	(void)vector_of(c, 0, vectors);
	s = enable(c, why);
	if (s == OK)
		s = nvme_identify(c, false, why);
	return s == OK ? io_queues(c, want_queues, vectors, why) : s;
}

enum status
nvme_ctrl_start(struct nvme_ctrl *c, struct drv_device *d, uint32_t want_queues,
    uint32_t want_depth, const char **why)
{
	const char *ignored;
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
	s = start(c, want_queues, want_depth, why);
	if (s != OK && s != E_NO_DEVICE && s != E_UNSUPPORTED)
		(void)disable(c, &ignored);
	return s;
}

enum status
nvme_ctrl_restart(struct nvme_ctrl *c, const char **why)
{
	uint32_t want = c->ioq_count;
	enum status s = disable(c, why);

	c->resets++;
	/* What was wrong with a queue ends here: the admin queue is asked about trouble before it
	 * is that one's turn. */
	for (uint32_t i = 0; i < c->ioq_count; i++)
		c->ioq[i].fault = NULL;
	if (s == E_TIMED_OUT) {
		/* It does not listen: the function as a whole. */
		s = drv_reset(c->dev, drv_now() + RESET_NS);
		if (s != OK)
			return s;
		s = disable(c, why);
	}
	if (s != OK)
		return s;
	drv_queue_reset(&c->admin.q);
	nvme_ioq_reset(&c->admin);
	s = enable(c, why);
	if (s == OK)
		s = nvme_identify(c, true, why);
	if (s == OK)
		s = ask_queues(c, &want, why);
	if (s == OK && want < c->ioq_count) {
		*why = "it grants fewer queues than before";
		s = E_CORRUPT;
	}
	for (uint32_t i = 0; i < c->ioq_count && s == OK; i++) {
		drv_queue_reset(&c->ioq[i].q);
		nvme_ioq_reset(&c->ioq[i]);
		s = create_pair(c, &c->ioq[i], why);
	}
	return s;
}

enum status
nvme_ctrl_stop(struct nvme_ctrl *c)
{
	uint64_t until = drv_now() + c->ready_ms * NS_PER_MS;

	if (c->regs.len == 0 || nvme_ctrl_trouble(c) != NULL)
		return E_NO_DEVICE;
	wr32(c, NVME_CC, rd32(c, NVME_CC) | (uint32_t)FIELD_PREP(CC_SHN, CC_SHN_NORMAL));
	while (FIELD_GET(CSTS_SHST, rd32(c, NVME_CSTS)) != SHST_COMPLETE) {
		if (drv_now() > until)
			return E_TIMED_OUT;
		(void)drv_wait(c->dev, drv_now() + POLL_NS);
	}
	return OK;
}
