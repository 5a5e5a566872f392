/*
 * How an NVMe controller is made to write one page, for the live test of its IOMMU.
 *
 * IDENTIFY controller is the command for it: every controller has it, it changes nothing, and its
 * answer is one page with fields that the specification prescribes.  It needs the admin queue and
 * nothing else.  Its data need not begin with a page: then PRP 1 is where they begin, and PRP 2 the
 * page where they end [5.1.13].
 *
 *   stop    CC.EN off, until CSTS.RDY is off; then the queue registers are cleared, and read back:
 *           they held addresses of the kernel
 *   start   AQA, ASQ, ACQ, CC.EN on, until CSTS.RDY is on
 *   store   one entry, the doorbell, its completion.  One command at a time
 *
 * Waits end after CAP.TO (or CRTO, where the controller has it), a command after COMMAND_NS.
 *
 * A pure function of registers, two pages and the time it is told: the kernel, a host test and a
 * fuzzer can link it.
 * Manual   NVM Express Base 2.1: 3.1.4 registers, 3.5 reset and bring-up, 4.2 completions, 5.1.13
 *          identify.
 */
#include "dev/nvme/canary.h"
#include "dev/nvme/wire.h"
#include "kern/base/mmio.h"

enum { ENTRIES = 4 };
enum : uint32_t { CID_FIRST = 0x5c40 }; /* not what a ring full of zeroes or of ones would say */
enum : uint64_t {
	READY_UNIT_NS = 500 * NS_PER_MS,
	READY_MAX_NS = 128 * NS_PER_S,
	COMMAND_NS = 5 * NS_PER_S
};

/* canary.fact[] */
enum { FACT_READY_NS, FACT_DSTRD };

static uint32_t rd32(struct canary *c, uint32_t r) { return (uint32_t)c->io.read(c->io.arg, r, 4); }
static uint64_t rd64(struct canary *c, uint32_t r) { return c->io.read(c->io.arg, r, 8); }
static void wr32(struct canary *c, uint32_t r, uint32_t v) { c->io.write(c->io.arg, r, 4, v); }
static void wr64(struct canary *c, uint32_t r, uint64_t v) { c->io.write(c->io.arg, r, 8, v); }

static enum canary_said
no(struct canary *c, const char *why)
{
	c->why = why;
	c->step = 0;
	return CANARY_NO;
}

static enum canary_said
done(struct canary *c)
{
	c->step = 0;
	return CANARY_DONE;
}

static const char *
trouble(uint32_t csts)
{
	return csts == UINT32_MAX ? "the controller is gone: its registers read all ones" :
	    (csts & CSTS_CFS) != 0 ? "the controller reports a fatal status (CSTS.CFS)" : NULL;
}

/* Until CSTS.RDY is as wanted.  A fatal status is no trouble for who wants it to stop. */
static enum canary_said
wait_ready(struct canary *c, bool ready, uint64_t now)
{
	uint32_t s = rd32(c, NVME_CSTS);

	if (trouble(s) != NULL && (ready || s == UINT32_MAX))
		return no(c, trouble(s));
	if (((s & CSTS_RDY) != 0) == ready)
		return CANARY_DONE;
	if (now < c->deadline)
		return CANARY_GOES_ON;
	return no(c,
	    ready ? "the controller did not become ready within CAP.TO" :
		    "the controller did not stop within CAP.TO");
}

static enum canary_said
stop(struct canary *c, uint64_t now)
{
	enum canary_said said;

	if (c->step == 0) {
		uint64_t cap, to;

		if (c->window_bytes < NVME_DOORBELLS)
			return no(c, "its register window is too small");
		cap = rd64(c, NVME_CAP);
		if (cap == UINT64_MAX)
			return no(c, trouble(UINT32_MAX));
		to = FIELD_GET(CAP_TO, cap);
		if ((cap & CAP_CRWMS) != 0)
			to = max_u64(to, FIELD_GET(CRTO_CRWMT, rd32(c, NVME_CRTO)));
		c->fact[FACT_READY_NS] = min_u64((to + 1) * READY_UNIT_NS, READY_MAX_NS);
		wr32(c, NVME_CC, rd32(c, NVME_CC) & ~(uint32_t)CC_EN);
		c->deadline = now + c->fact[FACT_READY_NS];
		c->step = 1;
	}
	said = wait_ready(c, false, now);
	if (said != CANARY_DONE)
		return said;
	wr32(c, NVME_AQA, 0);
	wr64(c, NVME_ASQ, 0);
	wr64(c, NVME_ACQ, 0);
	if (rd64(c, NVME_ASQ) != 0 || rd64(c, NVME_ACQ) != 0)
		return no(c, "the controller keeps the addresses of its queues");
	return done(c);
}

/* NULL: it can be started as it is done here. */
static const char *
limits(struct canary *c)
{
	uint64_t cap = rd64(c, NVME_CAP);

	c->fact[FACT_DSTRD] = FIELD_GET(CAP_DSTRD, cap);
	if (FIELD_GET(CAP_MPSMIN, cap) != 0)
		return "it does not support pages of 4 KiB";
	if ((FIELD_GET(CAP_CSS, cap) & 1) == 0)
		return "it does not support the NVM command set";
	if (nvme_doorbell(0, true, (uint32_t)c->fact[FACT_DSTRD]) + 4 > c->window_bytes)
		return "its doorbells lie outside the register window";
	return NULL;
}

static enum canary_said
start(struct canary *c, uint64_t now)
{
	enum canary_said said;

	if (c->step == 0) {
		const char *why = limits(c);

		if (why != NULL)
			return no(c, why);
		for (uint32_t i = 0; i < PAGE_SIZE / 8; i++)
			c->to_device[i] = c->from_device[i] = 0;
		c->stores = 0;
		wr32(c, NVME_AQA,
		    (uint32_t)(FIELD_PREP(AQA_ASQS, ENTRIES - 1) |
			FIELD_PREP(AQA_ACQS, ENTRIES - 1)));
		wr64(c, NVME_ASQ, c->to_device_address);
		wr64(c, NVME_ACQ, c->from_device_address);
		io_publish();
		wr32(c, NVME_CC,
		    (uint32_t)(CC_EN | FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4)));
		c->deadline = now + c->fact[FACT_READY_NS];
		c->step = 1;
	}
	said = wait_ready(c, true, now);
	return said == CANARY_DONE ? done(c) : said;
}

/* The one command that is out; its completion is the one after those that were taken.  The rings do
 * not wrap. */
static void
submit(struct canary *c)
{
	volatile uint64_t *e = c->to_device + (uint64_t)c->stores * (SQE_BYTES / 8);
	uint32_t dstrd = (uint32_t)c->fact[FACT_DSTRD];

	static_assert(offsetof(struct nvme_sqe, prp1) == 3 * 8 &&
	    offsetof(struct nvme_sqe, prp2) == 4 * 8 && offsetof(struct nvme_sqe, cdw10) == 5 * 8);
	for (uint32_t i = 0; i < SQE_BYTES / 8; i++)
		e[i] = 0;
	e[0] = ADMIN_IDENTIFY | FIELD_PREP(SQE_CID, CID_FIRST + c->stores);
	e[3] = c->spill_address + CANARY_BYTES;
	e[4] = c->target;
	e[5] = CNS_CONTROLLER;
	io_publish();
	wr32(c, (uint32_t)nvme_doorbell(0, false, dstrd), c->stores + 1);
}

/* queue: identifier and head of the submission queue; status: command id, phase, status.  NULL:
 * believed. */
static const char *
judge_completion(const struct canary *c, uint32_t queue, uint32_t status)
{
	if ((status & CQE_CID) != CID_FIRST + c->stores)
		return "a completion names a command that is not in flight";
	if (queue >> 16 != 0)
		return "a completion names another submission queue";
	if ((queue & 0xffff) != c->stores + 1)
		return "a completion reports a submission head that is not the queue's";
	if (c->must_succeed && (status >> 17 & 0x7ff) != 0)
		return "the controller reports an error for a write that was granted";
	return NULL;
}

static enum canary_said
store(struct canary *c, uint64_t now)
{
	volatile uint64_t *e = c->from_device + (uint64_t)c->stores * (CQE_BYTES / 8);
	uint64_t entry;
	const char *why;

	if (c->step == 0) {
		if (c->stores + 1 >= ENTRIES)
			return no(c, "more commands than its queue has entries");
		submit(c);
		c->deadline = now + COMMAND_NS;
		c->step = 1;
	}
	entry = e[1];
	if ((entry >> 32 & CQE_PHASE) == 0) {
		why = trouble(rd32(c, NVME_CSTS));
		if (why == NULL && now >= c->deadline)
			why = "the controller did not complete a command";
		return why != NULL ? no(c, why) : CANARY_GOES_ON;
	}
	io_collect();
	c->heard = true;
	why = judge_completion(c, (uint32_t)entry, (uint32_t)(entry >> 32));
	if (why != NULL)
		return no(c, why);
	c->stores++;
	wr32(c, (uint32_t)nvme_doorbell(0, true, (uint32_t)c->fact[FACT_DSTRD]), c->stores);
	return done(c);
}

/* Identify controller: the entry sizes of I/O queues that every controller must allow
 * [Base 5.1.13.2.1: SQES, CQES]. */
static const char *
judge(const struct canary *c UNUSED, const volatile uint8_t *spill)
{
	const volatile uint8_t *id = spill + CANARY_BYTES;

	if ((id[ID_SQES] & 0xf) != 6 || (id[ID_CQES] & 0xf) != 4)
		return "what the controller wrote is not what it was asked for";
	return NULL;
}

const struct canary_class nvme_canary = {
	.name = "nvme", .class_code = 0x010802, .class_mask = 0xffffff, .bytes = CANARY_BYTES,
	.stop = stop, .start = start, .store = store, .judge = judge,
};
