/*
 * The NVMe translator, administration and registers: which commands there are, queues as the kernel
 * bound them, what is learned from the device, what the driver may write and read, completions.
 *
 * Requirements: A5 V1
 *
 * LINK: dev/nvme/xlate.c dev/nvme/xlate_regs.c dev/nvme/prp.c
 * LINK: kern/dma/ring.c kern/dma/window.c tests/lib/fake_panic.c
 */
#include "tests/lib/nvme_world.h"

ATF_TC_WITHOUT_HEAD(admin_opcodes_and_features_are_lists);
ATF_TC_BODY(admin_opcodes_and_features_are_lists, tc)
{
	struct nvme_sqe e;

	world(0);
	for (unsigned op = 0; op < 256; op++) {
		e = (struct nvme_sqe){ .cdw0 = op };
		switch (op) {
		case ADMIN_IDENTIFY:
			e.prp1 = AT_BIG;
			ATF_CHECK_EQ(RULE_NONE, judge(&adm, &e));
			break;
		case ADMIN_LOG_PAGE: case ADMIN_SET_FEATURES: case ADMIN_GET_FEATURES:
			ATF_CHECK_EQ(RULE_FEATURE, judge(&adm, &e));
			break;
		case ADMIN_CREATE_CQ: case ADMIN_CREATE_SQ:
			ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
			break;
		default:
			ATF_CHECK_EQ_MSG(
			    op == ADMIN_ABORT || op == ADMIN_ASYNC_EVENT ? RULE_NONE : RULE_OPCODE,
			    judge(&adm, &e), "opcode %02x", op);
		}
	}
	for (unsigned fid = 0; fid < 256; fid++) {
		bool known = fid == 1 || fid == 2 || (fid >= 4 && fid <= 9) || fid == 11;

		e = (struct nvme_sqe){ .cdw0 = ADMIN_SET_FEATURES, .cdw10 = fid, .cdw11 = 1 };
		ATF_CHECK_EQ_MSG(
		    known ? RULE_NONE : RULE_FEATURE, judge(&adm, &e), "feature %02x", fid);
		ATF_CHECK(!known || reach_admin(out));
		e.cdw0 = ADMIN_GET_FEATURES;
		ATF_CHECK_EQ(known ? RULE_NONE : RULE_FEATURE, judge(&adm, &e));
	}
	e = (struct nvme_sqe){
		.cdw0 = ADMIN_SET_FEATURES, .cdw10 = FEATURE_QUEUES, .prp1 = AT_BIG
	};
	ATF_CHECK_EQ(RULE_FIELD, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_SET_FEATURES, .cdw10 = FEATURE_QUEUES | 1u << 31 };
	ATF_CHECK_EQ(RULE_FIELD, judge(&adm, &e));
	/* log pages by length */
	e = (struct nvme_sqe){ .cdw0 = ADMIN_LOG_PAGE, .prp1 = AT_IN, .cdw10 = 2 | 127u << 16 };
	ATF_CHECK_EQ(RULE_NONE, judge(&adm, &e));
	ATF_CHECK(reach_admin(out));
	for (uint32_t lid = 0; lid < 256; lid++) {
		e.cdw10 = lid | 127u << 16;
		ATF_CHECK_EQ(lid >= 1 && lid <= 4 ? RULE_NONE : RULE_FEATURE, judge(&adm, &e));
	}
	e.cdw10 = 2 | 0xffffu << 16;
	ATF_CHECK(judge(&adm, &e) != RULE_NONE);
	e.cdw11 = 0xffff;
	ATF_CHECK(judge(&adm, &e) != RULE_NONE);
	/* no identify of another command set, none that is not 4096 bytes in windows */
	e = (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY, .prp1 = AT_BIG, .cdw10 = 6 };
	ATF_CHECK_EQ(RULE_FIELD, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY, .prp1 = AT_OUT };
	ATF_CHECK_EQ(RULE_DIRECTION, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_IDENTIFY, .prp1 = AT_END - 512, .prp2 = AT_END };
	ATF_CHECK_EQ(RULE_WINDOW, judge(&adm, &e));
}

ATF_TC_WITHOUT_HEAD(queues_are_created_as_bound_and_once);
ATF_TC_BODY(queues_are_created_as_bound_and_once, tc)
{
	struct nvme_sqe sq = { .cdw0 = ADMIN_CREATE_SQ,
		.prp1 = NAME_SQ,
		.cdw10 = 1 | 63u << 16,
		.cdw11 = 1 | 1u << 16 };
	struct nvme_sqe cq = { .cdw0 = ADMIN_CREATE_CQ,
		.prp1 = NAME_CQ,
		.cdw10 = 1 | 63u << 16,
		.cdw11 = 3 | 2u << 16 };
	struct nvme_sqe e;

	world(0);
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &cq));
	device.queue[1] = (struct xlate_bound){ .bound = true,
		.entries = 64,
		.sq_name = NAME_SQ,
		.cq_name = NAME_CQ,
		.sq_address = AT_SQ,
		.cq_address = AT_CQ };
	device.queue[1].bound = false;		/* what is left of an earlier one */
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &cq));
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &sq));
	device.queue[1].bound = true;
	ATF_CHECK_EQ(RULE_NONE, judge(&adm, &cq));
	ATF_CHECK_EQ(AT_CQ, out[3]);
	ATF_CHECK_EQ(RULE_NONE, judge(&adm, &sq));
	ATF_CHECK_EQ(AT_SQ, out[3]);
	e = sq;
	e.prp1 = AT_SQ;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* not by the device's address */
	e = sq;
	e.prp1 = AT_BIG;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* not the driver's memory */
	e = sq; e.prp1 = NAME_SQ + 64; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq; e.prp1 = NAME_CQ; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq;
	e.cdw10 += 1u << 16;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* longer than its memory */
	e = sq;
	e.cdw10 += 1;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* another's id */
	e = sq; e.cdw10 = 0 | 63u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq; e.cdw10 = 40 | 63u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = sq;
	e.cdw11 &= ~1u;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* a list of pages as base */
	e = sq;
	e.cdw11 += 1u << 16;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* completions into another queue */
	e = cq;
	e.cdw11 = 3 | 4u << 16;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e)); /* a vector that it does not have */
	e = cq; e.cdw11 &= ~1u; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	e = cq; e.cdw11 = 1; ATF_CHECK_EQ(RULE_NONE, judge(&adm, &e));		/* polled */
	e = cq; e.cdw11 = 1 | 1u << 16; ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &e));
	/* Its entries would run a second time. */
	device.queue[1].used = true;
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &sq));
	ATF_CHECK_EQ(RULE_QUEUE, judge(&adm, &cq));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_DELETE_SQ, .cdw10 = 1 };
	ATF_CHECK_EQ(RULE_OPCODE, judge(&adm, &e));
	e = (struct nvme_sqe){ .cdw0 = ADMIN_DELETE_CQ, .cdw10 = 1 };
	ATF_CHECK_EQ(RULE_OPCODE, judge(&adm, &e));
}

static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }

ATF_TC_WITHOUT_HEAD(block_sizes_are_learned_from_the_device_and_not_from_the_driver);
ATF_TC_BODY(block_sizes_are_learned_from_the_device_and_not_from_the_driver, tc)
{
	struct nvme_sqe e = { .cdw0 = ADMIN_IDENTIFY | 2u << 16,
		.nsid = 9,
		.prp1 = AT_IN + 512,
		.prp2 = AT_IN + PAGE_SIZE };

	world(0);
	ATF_REQUIRE_EQ(RULE_NONE, judge(&adm, &e));
	/* The device answers to the kernel, and the driver's place is remembered. */
	ATF_CHECK_EQ(AT_SIDE, out[3]);
	ATF_CHECK_EQ(0, out[4]);
	ATF_CHECK(slot[2].answer != 0 && slot[2].grants == 1);
	ATF_CHECK(slot[2].to[0] == AT_IN + 512 && slot[2].to_bytes[0] == 3584);
	ATF_CHECK(slot[2].to[1] == AT_IN + PAGE_SIZE && slot[2].to_bytes[1] == 512);
	for (unsigned lbads = 0; lbads < 40; lbads++) {
		memset(side[0], 0, PAGE_SIZE);
		put32(side[0] + NS_NSZE, 1000);
		side[0][NS_FLBAS] = 3;
		put32(side[0] + NS_LBAF + 12, lbads << 16);
		nvme_xlate.answered(&device, &slot[2]);
		ATF_CHECK_EQ(lbads >= 9 && lbads <= 16 ? lbads : 0, device.lg2[9]);
	}
	put32(side[0] + NS_LBAF + 12, 9 << 16 | 8);		/* metadata */
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(0, device.lg2[9]);
	put32(side[0] + NS_LBAF + 12, 9 << 16);
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(9, device.lg2[9]);
	put32(side[0] + NS_NSZE, 0);				/* not active */
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(0, device.lg2[9]);
	/* Format numbers of six bits. */
	put32(side[0] + NS_NSZE + 4, 1);
	side[0][NS_FLBAS] = 0x40 | 15;
	put32(side[0] + NS_LBAF + 4 * 47, 12 << 16);
	nvme_xlate.answered(&device, &slot[2]);
	ATF_CHECK_EQ(12, device.lg2[9]);
	slot[2].target = UINT32_MAX; /* beyond the table: nothing is learned */
	nvme_xlate.answered(&device, &slot[2]);

	/* The controller's structure loses what leads elsewhere. */
	e.cdw10 = CNS_CONTROLLER;
	ATF_REQUIRE_EQ(RULE_NONE, judge(&adm, &e));
	memset(side[0], 0xff, PAGE_SIZE);
	nvme_xlate.answered(&device, &slot[2]);
	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		bool hidden = (i >= ID_OACS && i < ID_OACS + 2) ||
		    (i >= ID_HMPRE && i < ID_HMPRE + 8) || (i >= ID_SGLS && i < ID_SGLS + 4);

		ATF_REQUIRE_EQ(hidden ? 0 : 0xff, side[0][i]);
	}
	/* Lists of namespaces go where the driver said. */
	e.cdw10 = CNS_ACTIVE;
	ATF_REQUIRE_EQ(RULE_NONE, judge(&adm, &e));
	ATF_CHECK_EQ(0, slot[2].answer);
	ATF_CHECK_EQ(AT_IN + 512, out[3]);
}

/* ---- Registers ---- */

static uint64_t cap;
static uint64_t
read_cap(void *arg, uint32_t offset, unsigned width)
{
	(void)arg;
	return offset == NVME_CAP && width == 8 ? cap : 0;
}

static const struct xlate_source source = { .read = read_cap };

static enum dma_rule
write_reg(uint32_t offset, unsigned width, uint64_t value, struct xlate_writes *w)
{
	enum dma_rule r = nvme_xlate.write(&device, offset, width, value, w);

	if (r != RULE_NONE)
		ATF_CHECK_EQ(0, w->count);
	return r;
}

ATF_TC_WITHOUT_HEAD(the_kernel_writes_queue_registers_and_only_when_queues_are_bound);
ATF_TC_BODY(the_kernel_writes_queue_registers_and_only_when_queues_are_bound, tc)
{
	const uint32_t on = CC_EN | 6u << 16 | 4u << 20;
	struct xlate_writes w;

	world(0);
	device.stopped = true;
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, on, &w));
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_ASQ, 8, AT_BIG, &w));
	device.queue[0] = (struct xlate_bound){ .bound = true,
		.entries = 32,
		.sq_name = NAME_SQ,
		.cq_name = NAME_CQ,
		.sq_address = AT_SQ,
		.cq_address = AT_CQ };
	/* The driver may say what it knows; it changes nothing. */
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_AQA, 4, 31 | 31u << 16, &w));
	ATF_CHECK_EQ(0, w.count);
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_ASQ, 8, NAME_SQ, &w));
	ATF_CHECK_EQ(0, w.count);
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_ACQ, 8, NAME_CQ, &w));
	ATF_CHECK_EQ(RULE_VALUE, write_reg(NVME_AQA, 4, 63 | 31u << 16, &w));
	ATF_CHECK_EQ(RULE_VALUE, write_reg(NVME_ASQ, 8, AT_SQ, &w));
	ATF_CHECK_EQ(RULE_VALUE, write_reg(NVME_ACQ, 8, NAME_CQ + 1, &w));
	ATF_CHECK_EQ(RULE_REGISTER, write_reg(NVME_ASQ, 4, (uint32_t)NAME_SQ, &w));
	/* Enabled only from a stop that was seen. */
	device.stopped = false;
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, on, &w));
	device.stopped = true;
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_CC, 4, on, &w));
	ATF_CHECK_EQ(XLATE_START, w.effect);
	ATF_REQUIRE_EQ(4, w.count);
	ATF_CHECK(w.v[0].offset == NVME_AQA && w.v[0].value == (31 | 31u << 16));
	ATF_CHECK(w.v[1].offset == NVME_ASQ && w.v[1].value == AT_SQ && w.v[1].width == 8);
	ATF_CHECK(w.v[2].offset == NVME_ACQ && w.v[2].value == AT_CQ && w.v[2].width == 8);
	ATF_CHECK(w.v[3].offset == NVME_CC && w.v[3].value == on);
	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t v = on ^ 1u << bit;

		if (bit == 0 || bit == 14 || bit == 15)
			continue;
		ATF_CHECK_EQ_MSG(RULE_VALUE, write_reg(NVME_CC, 4, v, &w), "CC bit %u", bit);
	}
	/* Running: queue bases no longer change anything, a shutdown passes, a stop waits until it
	 * was ready. */
	device.running = true;
	device.stopped = false;
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_CC, 4, on | 1u << 14, &w));
	ATF_CHECK(w.effect == XLATE_ACCESS && w.count == 1);
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, 0, &w));
	device.ready = true;
	ATF_CHECK_EQ(RULE_NONE, write_reg(NVME_CC, 4, 0, &w));
	ATF_CHECK_EQ(XLATE_STOP, w.effect);
	/* A queue that was used is not enabled again. */
	device.running = device.ready = false;
	device.stopped = true;
	device.queue[0].used = true;
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_CC, 4, on, &w));
	ATF_CHECK_EQ(RULE_ORDER, write_reg(NVME_ASQ, 8, NAME_SQ, &w));
	/* Everything else is not the driver's: doorbells above all. */
	for (uint32_t at = 0; at < 0x2000; at += 4) {
		if (at != NVME_CC && at != NVME_AQA)
			ATF_REQUIRE_EQ(RULE_REGISTER, write_reg(at, 4, 0, &w));
		if (at != NVME_ASQ && at != NVME_ACQ)
			ATF_REQUIRE_EQ(RULE_REGISTER, write_reg(at, 8, 0, &w));
	}
}

ATF_TC_WITHOUT_HEAD(registers_show_no_address_and_no_other_door);
ATF_TC_BODY(registers_show_no_address_and_no_other_door, tc)
{
	uint64_t v;

	world(0);
	for (uint32_t at = 0; at < 0x2000; at += 4) {
		bool shown = at == NVME_CAP || at == NVME_CAP + 4 || at == NVME_VS ||
		    at == NVME_CC || at == NVME_CSTS || at == NVME_AQA || at == NVME_CRTO;

		ATF_REQUIRE_EQ(
		    shown ? RULE_NONE : RULE_REGISTER, nvme_xlate.may_read(&device, at, 4));
		ATF_REQUIRE_EQ(at == NVME_CAP ? RULE_NONE : RULE_REGISTER,
		    nvme_xlate.may_read(&device, at, 8));
	}
	v = ~1ull;
	nvme_xlate.seen(&device, NVME_CAP, 8, &v);
	ATF_CHECK_EQ(0, v & (CAP_MPSMAX | CAP_NSSRS | CAP_BPS | CAP_PMRS | CAP_CMBS));
	ATF_CHECK_EQ(15, FIELD_GET(CAP_DSTRD, v));
	v = 0xfffffffe;
	nvme_xlate.seen(&device, NVME_CAP + 4, 4, &v);
	ATF_CHECK_EQ(0, v << 32 & (CAP_MPSMAX | CAP_NSSRS | CAP_BPS | CAP_PMRS | CAP_CMBS));
	/* Stopped is what the device says, and not when it is gone. */
	v = 0;
	ATF_CHECK_EQ(XLATE_STOPPED, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	v = CSTS_RDY;
	ATF_CHECK_EQ(XLATE_ACCESS, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	v = UINT32_MAX;
	ATF_CHECK_EQ(XLATE_ACCESS, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	device.running = true;
	v = 0;
	ATF_CHECK_EQ(XLATE_ACCESS, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
	v = CSTS_RDY;
	ATF_CHECK_EQ(XLATE_READY, nvme_xlate.seen(&device, NVME_CSTS, 4, &v));
}

ATF_TC_WITHOUT_HEAD(doorbells_lie_in_the_window);
ATF_TC_BODY(doorbells_lie_in_the_window, tc)
{
	world(0);
	for (unsigned dstrd = 0; dstrd < 16; dstrd++) {
		for (uint64_t len = 0x2000; len <= 0x400000; len *= 2) {
			device.bar_bytes[0] = len;
			cap = 1ull << 37 | (uint64_t)dstrd << 32 | 1023;
			if (!nvme_xlate.open(&device, &source))
				continue;
			ATF_CHECK(device.queues >= 2 && device.queues <= XLATE_QUEUES_MAX);
			ATF_CHECK(nvme_xlate.doorbell(&device, device.queues - 1, true) + 4 <= len);
			ATF_CHECK_EQ(NVME_DOORBELLS, nvme_xlate.doorbell(&device, 0, false));
		}
	}
	device.bar_bytes[0] = 0x4000;
	cap = 0;
	ATF_CHECK(!nvme_xlate.open(&device, &source));		/* no NVM command set */
	cap = 1ull << 37 | 1ull << 48;
	ATF_CHECK(!nvme_xlate.open(&device, &source));		/* no pages of 4 KiB */
	cap = UINT64_MAX;
	ATF_CHECK(!nvme_xlate.open(&device, &source));
	cap = 1ull << 37;
	device.bar_bytes[0] = 0x1000;
	ATF_CHECK(!nvme_xlate.open(&device, &source));
}

ATF_TC_WITHOUT_HEAD(completions_are_read_by_phase);
ATF_TC_BODY(completions_are_read_by_phase, tc)
{
	struct nvme_cqe c = { .sq = 7 | 2u << 16, .status = 5 | CQE_PHASE };
	uint64_t w[2];
	struct xlate_done d;

	memcpy(w, &c, sizeof(w));
	ATF_CHECK(!nvme_xlate.completed(w, false).fresh);
	d = nvme_xlate.completed(w, true);
	ATF_CHECK(d.fresh && d.id == 5 && d.queue == 2 && d.head == 7 && d.good);
	c.status = 5 | 2u << 17;
	memcpy(w, &c, sizeof(w));
	ATF_CHECK(!nvme_xlate.completed(w, true).fresh);
	d = nvme_xlate.completed(w, false);
	ATF_CHECK(d.fresh && !d.good);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, admin_opcodes_and_features_are_lists);
	ATF_TP_ADD_TC(tp, queues_are_created_as_bound_and_once);
	ATF_TP_ADD_TC(tp, block_sizes_are_learned_from_the_device_and_not_from_the_driver);
	ATF_TP_ADD_TC(tp, the_kernel_writes_queue_registers_and_only_when_queues_are_bound);
	ATF_TP_ADD_TC(tp, registers_show_no_address_and_no_other_door);
	ATF_TP_ADD_TC(tp, doorbells_lie_in_the_window);
	ATF_TP_ADD_TC(tp, completions_are_read_by_phase);
	return atf_no_error();
}
