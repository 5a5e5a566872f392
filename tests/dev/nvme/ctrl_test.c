/*
 * Bring-up, limits, trouble and reset against a strict controller (tests/lib/model_nvme.h): what it
 * counts as a broken rule would be a driver's mistake on real hardware.
 *
 * Requirements: N1
 */
/* LINK: dev/nvme/ctrl.c dev/nvme/identify.c dev/nvme/ioq.c dev/nvme/prp.c dev/nvme/text.c
 * LINK: tests/lib/fake_drv.c tests/lib/model_nvme.c */
#include <atf-c.h>
#include <string.h>

#include "dev/nvme/ctrl.h"
#include "kern/base/bits.h"
#include "tests/lib/model_nvme.h"

static struct drv_device dev;
static struct model_nvme model;
static struct nvme_ctrl ctrl;
static const char *why;

static void
power_up(void)
{
	model_nvme_init(&model, &dev);
	memset(&ctrl, 0, sizeof(ctrl));
	why = NULL;
}

static enum status
start(uint32_t queues, uint32_t depth)
{
	model_nvme_media(&model);
	return nvme_ctrl_start(&ctrl, &dev, queues, depth, &why);
}

static void
no_rule_was_broken(void)
{
	ATF_CHECK_EQ_MSG(model.broken_rules, 0, "%s", model.rule);
	ATF_CHECK_EQ(dev.faults, 0);
}

static void
end(void)
{
	model_nvme_fini(&model);
}

/* One command, completed; its status. */
static enum status
once(struct nvme_ioq *q, enum nvme_op op, uint32_t nsid, uint64_t lba, uint32_t blocks,
    struct drv_memory *m, uint64_t offset, uint64_t bytes, bool fua)
{
	struct nvme_io io = { .op = op,
		.nsid = nsid,
		.lba = lba,
		.blocks = blocks,
		.bytes = bytes,
		.fua = fua,
		.cookie = m,
		.data = { m->iova.v + offset } };
	struct nvme_done d;
	enum status s = nvme_ioq_put(q, &io);

	if (s != OK)
		return s;
	ATF_REQUIRE_EQ(nvme_ioq_ring(q), OK);
	if (nvme_ioq_take(q, &d, 1) != 1)
		return E_TIMED_OUT;
	ATF_CHECK_EQ(d.cookie, m);
	return d.status;
}

ATF_TC_WITHOUT_HEAD(bring_up_breaks_no_rule);
ATF_TC_BODY(bring_up_breaks_no_rule, tc)
{
	power_up();
	ATF_REQUIRE_EQ_MSG(start(8, 256), OK, "%s", why);
	no_rule_was_broken();
	ATF_CHECK_EQ(ctrl.ioq_count, 4);
	ATF_CHECK_EQ(ctrl.depth, 256);
	ATF_CHECK_EQ(ctrl.ns_count, 1);
	ATF_CHECK_EQ(ctrl.ns[0].blocks, 2048);
	ATF_CHECK_EQ(ctrl.ns[0].block_bytes, 512);
	ATF_CHECK_EQ(ctrl.max_transfer_bytes, 512 * KIB);
	ATF_CHECK(ctrl.volatile_cache && !ctrl.polled);
	ATF_CHECK_STREQ(ctrl.model, "Model of an NVMe Controller");
	ATF_CHECK_STREQ(ctrl.serial, "model0");
	ATF_CHECK_EQ(dev.vectors_bound, 0x1f);
	ATF_CHECK_EQ(nvme_ctrl_stop(&ctrl), OK);
	end();
}

/* Firmware left it running. */
ATF_TC_WITHOUT_HEAD(a_running_controller_is_stopped_first);
ATF_TC_BODY(a_running_controller_is_stopped_first, tc)
{
	power_up();
	model_nvme_media(&model);
	memcpy(dev.regs + 0x14, &(uint32_t){ 0x00460001 }, 4);
	memcpy(dev.regs + 0x1c, &(uint32_t){ 1 }, 4);
	model.enabled = true;
	model.cc_seen = 1;
	ATF_REQUIRE_EQ(nvme_ctrl_start(&ctrl, &dev, 1, 16, &why), OK);
	no_rule_was_broken();
	end();
}

ATF_TC_WITHOUT_HEAD(data_of_every_length_arrives);
ATF_TC_BODY(data_of_every_length_arrives, tc)
{
	static const uint64_t offsets[] = { 0, 4, 512, 3072, 4092 };
	struct drv_memory m;

	power_up();
	model.mdts = 0;
	model.ns[0].blocks = 32 * MIB / 512;
	ATF_REQUIRE_EQ_MSG(start(1, 64), OK, "%s", why);
	ATF_REQUIRE_EQ(drv_memory(&dev, 16 * MIB, DMA_BOTH, &m), OK);
	for (uint32_t blocks = 1; blocks < 20000; blocks += 1 + blocks / 3) {
		uint64_t offset = offsets[blocks % ARRAY_SIZE(offsets)], bytes = blocks * 512ull;

		memset(m.ptr, 0, 16 * MIB);
		ATF_REQUIRE_EQ(
		    once(&ctrl.ioq[0], NVME_OP_READ, 1, blocks, blocks, &m, offset, bytes, false),
		    OK);
		ATF_REQUIRE(memcmp((uint8_t *)m.ptr + offset, model.ns[0].media + blocks * 512ull,
				bytes) == 0);
		ATF_REQUIRE_EQ(((uint8_t *)m.ptr)[offset + bytes], 0);
		for (uint64_t i = 0; i < bytes; i++)
			((uint8_t *)m.ptr)[offset + i] ^= 0x5a;
		ATF_REQUIRE_EQ(
		    once(&ctrl.ioq[0], NVME_OP_WRITE, 1, blocks, blocks, &m, offset, bytes, false),
		    OK);
		ATF_REQUIRE(memcmp((uint8_t *)m.ptr + offset, model.ns[0].media + blocks * 512ull,
				bytes) == 0);
	}
	ATF_CHECK(model.largest > 4 * MIB);
	no_rule_was_broken();
	end();
}

ATF_TC_WITHOUT_HEAD(the_largest_transfer_is_chained);
ATF_TC_BODY(the_largest_transfer_is_chained, tc)
{
	struct drv_memory m;

	power_up();
	model.mdts = 0;
	model.ns[0].blocks = NVME_TRANSFER_MAX / 512;
	ATF_REQUIRE_EQ_MSG(start(1, 2), OK, "%s", why);
	ATF_CHECK_EQ(ctrl.max_transfer_bytes, NVME_TRANSFER_MAX);
	ATF_REQUIRE_EQ(drv_memory(&dev, NVME_TRANSFER_MAX + PAGE_SIZE, DMA_BOTH, &m), OK);
	ATF_REQUIRE_EQ(
	    once(&ctrl.ioq[0], NVME_OP_READ, 1, 0, 65536, &m, 4, NVME_TRANSFER_MAX, false), OK);
	ATF_CHECK(memcmp((uint8_t *)m.ptr + 4, model.ns[0].media, NVME_TRANSFER_MAX) == 0);
	ATF_CHECK(model.list_pages >= 17);
	no_rule_was_broken();
	end();
}

ATF_TC_WITHOUT_HEAD(flush_and_forced_access_reach_the_device);
ATF_TC_BODY(flush_and_forced_access_reach_the_device, tc)
{
	struct drv_memory m;

	power_up();
	ATF_REQUIRE_EQ(start(1, 16), OK);
	ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
	ATF_CHECK_EQ(once(&ctrl.ioq[0], NVME_OP_WRITE, 1, 3, 1, &m, 0, 512, true), OK);
	ATF_CHECK_EQ(once(&ctrl.ioq[0], NVME_OP_FLUSH, 1, 0, 0, &m, 0, 0, false), OK);
	ATF_CHECK_EQ(model.fuas, 1);
	ATF_CHECK_EQ(model.flushes, 1);
	ATF_CHECK_EQ(once(&ctrl.ioq[0], NVME_OP_READ, 1, 2048, 1, &m, 0, 512, false), E_IO);
	ATF_CHECK_EQ(once(&ctrl.ioq[0], NVME_OP_READ, 9, 0, 1, &m, 0, 512, false), E_IO);
	ATF_CHECK_EQ(once(&ctrl.ioq[0], NVME_OP_READ, 1, 0, 1, &m, 2, 512, false), E_ALIGN);
	ATF_CHECK_EQ(nvme_ioq_inflight(&ctrl.ioq[0]), 0);
	no_rule_was_broken();
	end();
}

ATF_TC_WITHOUT_HEAD(zeroes_and_discards_are_commands_of_their_own);
ATF_TC_BODY(zeroes_and_discards_are_commands_of_their_own, tc)
{
	struct nvme_ioq *q = &ctrl.ioq[0];
	struct drv_memory m;
	const uint8_t *media;
	uint32_t free;

	power_up();
	ATF_REQUIRE_EQ(start(1, 16), OK);
	ATF_CHECK(ctrl.zeroes && ctrl.discards);
	ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
	media = model.ns[0].media;
	memset(model.ns[0].media, 7, 64 * 512);
	ATF_CHECK_EQ(once(q, NVME_OP_ZERO, 1, 3, 5, &m, 0, 0, true), OK);
	for (uint32_t i = 0; i < 64 * 512; i++)
		ATF_REQUIRE_EQ(media[i], i / 512 >= 3 && i / 512 < 8 ? 0 : 7);
	ATF_CHECK_EQ(model.fuas, 1);
	ATF_CHECK_EQ(model.zeroes, 1);
	/* As often as there are pages for the range, and more. */
	free = q->lists.free;
	for (uint32_t i = 0; i < 3 * PRP_POOL_PAGES; i++)
		ATF_REQUIRE_EQ(once(q, NVME_OP_DISCARD, 1, 10, 2, &m, 0, 0, false), OK);
	ATF_CHECK_EQ(q->lists.free, free);
	for (uint32_t i = 8 * 512; i < 64 * 512; i++)
		ATF_REQUIRE_EQ(media[i], i / 512 == 10 || i / 512 == 11 ? 0xdd : 7);
	ATF_CHECK_EQ(once(q, NVME_OP_ZERO, 1, 2047, 2, &m, 0, 0, false), E_IO);
	ATF_CHECK_EQ(once(q, NVME_OP_DISCARD, 1, 2047, 2, &m, 0, 0, false), E_IO);
	ATF_CHECK_EQ(once(q, NVME_OP_ZERO, 1, 0, NVME_ZERO_BLOCKS + 1, &m, 0, 0, false), E_RANGE);
	ATF_CHECK_EQ(once(q, NVME_OP_ZERO, 1, 0, 0, &m, 0, 0, false), E_RANGE);
	ATF_CHECK_EQ(nvme_ioq_inflight(q), 0);
	no_rule_was_broken();
	end();
	/* One that has neither says so. */
	power_up();
	model.oncs = 0;
	ATF_REQUIRE_EQ(start(1, 16), OK);
	ATF_CHECK(!ctrl.zeroes && !ctrl.discards);
	end();
}

ATF_TC_WITHOUT_HEAD(what_the_capabilities_forbid_is_refused_by_name);
ATF_TC_BODY(what_the_capabilities_forbid_is_refused_by_name, tc)
{
	static const struct { uint64_t clear, set; const char *why; } bad[] = {
		{ 0xffff, 0, "one entry" },
		{ 0, 1ull << 48, "pages of 4 KiB" },
		{ 1ull << 37, 1ull << 44, "NVM command set" },
		{ 0, 15ull << 32, "outside the register window" },
		{ UINT64_MAX, UINT64_MAX, "all ones" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		power_up();
		model.cap = (model.cap & ~bad[i].clear) | bad[i].set;
		ATF_CHECK(start(1, 16) != OK);
		ATF_CHECK_MSG(strstr(why, bad[i].why) != NULL, "%s", why);
		ATF_CHECK_EQ(model.enables, 0);
		end();
	}
	power_up();
	dev.regs_len = 0x1000;
	ATF_CHECK_EQ(start(1, 16), E_UNSUPPORTED);
	end();
}

ATF_TC_WITHOUT_HEAD(the_smallest_and_the_largest_queues_work);
ATF_TC_BODY(the_smallest_and_the_largest_queues_work, tc)
{
	static const struct { uint32_t mqes, want, depth;
	} c[] = {
		{ 1, 1024, 2 },
		{ 2, 1024, 3 },
		{ 31, 1024, 32 },
		{ 0xffff, 100000, 1024 },
		{ 0xffff, 0, 2 },
		{ 0x7ff, 1000, 1000 },
	};
	struct drv_memory m;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		power_up();
		model.cap = (model.cap & ~0xffffull) | c[i].mqes;
		ATF_REQUIRE_EQ_MSG(start(2, c[i].want), OK, "%s", why);
		ATF_CHECK_EQ(ctrl.depth, c[i].depth);
		ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
		for (unsigned k = 0; k < 3 * c[i].depth; k++)
			ATF_REQUIRE_EQ(
			    once(&ctrl.ioq[1], NVME_OP_READ, 1, k % 2048, 1, &m, 0, 512, false),
			    OK);
		no_rule_was_broken();
		end();
	}
}

ATF_TC_WITHOUT_HEAD(a_wide_doorbell_stride_leaves_fewer_queues);
ATF_TC_BODY(a_wide_doorbell_stride_leaves_fewer_queues, tc)
{
	power_up();
	model.cap |=
	    9ull << 32; /* 2 KiB apart: 0x1000 + 5 * 2 KiB is the last that fits into 0x4000 */
	ATF_REQUIRE_EQ_MSG(start(4, 16), OK, "%s", why);
	ATF_CHECK_EQ(ctrl.ioq_count, 2);
	no_rule_was_broken();
	end();
}

ATF_TC_WITHOUT_HEAD(a_controller_that_does_not_come_ready_ends_in_time);
ATF_TC_BODY(a_controller_that_does_not_come_ready_ends_in_time, tc)
{
	power_up();
	model.never_ready = true;
	ATF_CHECK_EQ(start(1, 16), E_TIMED_OUT);
	ATF_CHECK_MSG(strstr(why, "did not become ready") != NULL, "%s", why);
	ATF_CHECK(dev.now >= 7 * NS_PER_S && dev.now < 9 * NS_PER_S);
	end();

	/* The field of CAP is too small for it: CRTO counts. */
	power_up();
	model.cap |= 1ull << 59;
	model.crto = 200;
	model.ready_ns = 99 * NS_PER_S;
	ATF_CHECK_EQ_MSG(start(1, 16), OK, "%s", why);
	end();

	power_up();
	model_nvme_media(&model);
	memcpy(dev.regs + 0x14, &(uint32_t){ 0x00460001 }, 4);
	memcpy(dev.regs + 0x1c, &(uint32_t){ 1 }, 4);
	model.cc_seen = 1;
	model.never_stops = true;
	ATF_CHECK_EQ(nvme_ctrl_start(&ctrl, &dev, 1, 16, &why), E_TIMED_OUT);
	ATF_CHECK_MSG(strstr(why, "did not stop") != NULL, "%s", why);
	end();

	power_up();
	model.fatal_at_enable = true;
	ATF_CHECK_EQ(start(1, 16), E_IO);
	ATF_CHECK_MSG(strstr(why, "fatal") != NULL, "%s", why);
	end();
}

ATF_TC_WITHOUT_HEAD(an_admin_command_without_an_answer_ends_in_time);
ATF_TC_BODY(an_admin_command_without_an_answer_ends_in_time, tc)
{
	power_up();
	model.swallow_admin = true;
	ATF_CHECK_EQ(start(1, 16), E_TIMED_OUT);
	ATF_CHECK_MSG(strstr(why, "did not complete") != NULL, "%s", why);
	ATF_CHECK(dev.now >= 60 * NS_PER_S && dev.now < 80 * NS_PER_S);
	ATF_CHECK_EQ(model.cc_seen & 1, 0);		/* disabled again */
	end();

	power_up();
	model.identify_status = 0x06;
	ATF_CHECK_EQ(start(1, 16), E_IO);
	ATF_CHECK_STREQ(why, "identify failed");
	ATF_CHECK_MSG(
	    strstr(dev.log, "internal error (status type 0 code 0x06)") != NULL, "%s", dev.log);
	end();
}

ATF_TC_WITHOUT_HEAD(odd_namespaces_are_left_out_by_name);
ATF_TC_BODY(odd_namespaces_are_left_out_by_name, tc)
{
	static const struct { struct model_ns ns; const char *log;
	} odd[] = {
		{ { .nsid = 7, .blocks = 0, .lbads = 9 }, NULL },
		{ { .nsid = 7, .blocks = 100, .lbads = 9, .metadata = 8 },
		    "namespace 7 has metadata" },
		{ { .nsid = 7, .blocks = 100, .lbads = 8 }, "namespace 7 has blocks of 2^8" },
		{ { .nsid = 7, .blocks = 100, .lbads = 16 }, "namespace 7 has blocks of 2^16" },
		{ { .nsid = 7, .blocks = 100, .lbads = 255 }, "namespace 7 has blocks of 2^255" },
		{ { .nsid = 7, .blocks = 100, .lbads = 9, .flbas = 3, .nlbaf = 2 },
		    "namespace 7 uses format 3 of 3" },
		{ { .nsid = 7, .blocks = UINT64_MAX, .lbads = 9 },
		    "namespace 7 claims 18446744073709551615 blocks" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
		power_up();
		model.ns[1] = odd[i].ns;
		model.ns[2] = (struct model_ns){ .nsid = 9,
			.blocks = 64,
			.lbads = 12,
			.flbas = 1 << 5 | 2,
			.nlbaf = 40,
			.write_protected = true };
		model.ns[3] = (struct model_ns){
			.nsid = 10, .blocks = 64, .lbads = 9, .flbas = 3 << 5 | 1, .nlbaf = 15
		};
		ATF_REQUIRE_EQ_MSG(start(1, 16), OK, "%s", why);
		ATF_REQUIRE_EQ(ctrl.ns_count, 3);
		ATF_CHECK_EQ(ctrl.ns[1].nsid, 9);
		ATF_CHECK_EQ(ctrl.ns[1].block_bytes, 4096);
		ATF_CHECK(ctrl.ns[1].read_only && !ctrl.ns[0].read_only);
		ATF_CHECK_EQ(ctrl.ns[2].nsid, 10);
		if (odd[i].log != NULL)
			ATF_CHECK_MSG(strstr(dev.log, odd[i].log) != NULL, "%s", dev.log);
		no_rule_was_broken();
		end();
	}
}

/* Before 1.1 there was no list: all numbers up to NN are asked for, most are nobody's. */
ATF_TC_WITHOUT_HEAD(version_1_0_is_asked_for_every_namespace);
ATF_TC_BODY(version_1_0_is_asked_for_every_namespace, tc)
{
	power_up();
	model.vs = 0x10000;
	model.nn = 6;
	model.ns[1] = (struct model_ns){ .nsid = 5, .blocks = 64, .lbads = 12 };
	ATF_REQUIRE_EQ_MSG(start(1, 16), OK, "%s", why);
	ATF_CHECK_EQ(ctrl.ns_count, 2);
	ATF_CHECK_EQ(ctrl.ns[1].nsid, 5);
	end();
}

ATF_TC_WITHOUT_HEAD(the_transfer_limit_is_the_controllers);
ATF_TC_BODY(the_transfer_limit_is_the_controllers, tc)
{
	static const struct { uint8_t mdts; uint64_t max;
	} c[] = {
		{ 0, NVME_TRANSFER_MAX },
		{ 1, 8192 },
		{ 5, 128 * KIB },
		{ 13, 32 * MIB },
		{ 14, NVME_TRANSFER_MAX },
		{ 255, NVME_TRANSFER_MAX },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		power_up();
		model.mdts = c[i].mdts;
		ATF_REQUIRE_EQ(start(1, 16), OK);
		ATF_CHECK_EQ(ctrl.max_transfer_bytes, c[i].max);
		end();
	}
}

ATF_TC_WITHOUT_HEAD(queues_share_vectors_or_are_polled);
ATF_TC_BODY(queues_share_vectors_or_are_polled, tc)
{
	static const struct { uint32_t vectors, denied, first, last; bool polled;
	} c[] = {
		{ 16, 0, 1, 4, false },
		{ 3, 0, 1, 2, false },
		{ 1, 0, 0, 0, false },
		{ 0, 0, UINT32_MAX, UINT32_MAX, true },
		{ 5, 0x1c, 1, 1, false },
		{ 5, 0x1f, UINT32_MAX, UINT32_MAX, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		power_up();
		dev.vectors = c[i].vectors;
		dev.vectors_denied = c[i].denied;
		ATF_REQUIRE_EQ_MSG(start(4, 16), OK, "%s", why);
		ATF_CHECK_EQ(ctrl.polled, c[i].polled);
		ATF_CHECK_EQ(ctrl.ioq_count, 4);
		ATF_CHECK_EQ(ctrl.ioq[0].vector, c[i].first);
		ATF_CHECK_EQ(ctrl.ioq[3].vector, c[i].last);
		no_rule_was_broken();
		end();
	}
}

ATF_TC_WITHOUT_HEAD(one_pair_is_enough_to_go_on);
ATF_TC_BODY(one_pair_is_enough_to_go_on, tc)
{
	power_up();
	model.pairs = 1;
	ATF_REQUIRE_EQ(start(8, 16), OK);
	ATF_CHECK_EQ(ctrl.ioq_count, 1);
	end();

	power_up();
	model.fail_cq = 3;
	ATF_REQUIRE_EQ(start(4, 16), OK);
	ATF_CHECK_EQ(ctrl.ioq_count, 2);
	end();

	power_up();
	model.fail_cq = 1;
	ATF_CHECK_EQ(start(4, 16), E_IO);
	ATF_CHECK_STREQ(why, "creating a completion queue failed");
	ATF_CHECK_EQ(model.cc_seen & 1, 0);
	end();
}

ATF_TC_WITHOUT_HEAD(memory_may_run_out_at_every_step);
ATF_TC_BODY(memory_may_run_out_at_every_step, tc)
{
	unsigned failed = 0, fewer = 0;

	for (uint64_t pages = 0; ; pages++) {
		enum status s;

		power_up();
		dev.pages_left = pages;
		s = start(2, 16);
		no_rule_was_broken();
		if (s != OK) {
			failed++;
			ATF_CHECK_EQ(s, E_NO_MEMORY);
			ATF_CHECK_MSG(strstr(why, "no memory") != NULL, "%s", why);
		}
		fewer += s == OK && ctrl.ioq_count == 1;
		end();
		if (s == OK && ctrl.ioq_count == 2)
			break;
	}
	ATF_CHECK(failed > 30 && fewer > 30);
}

/* --- devices that lie --------------------------------------------------------------- */

/* Puts n reads; slots by cookie. */
static void
put_reads(struct nvme_ioq *q, uint32_t n, struct drv_memory *m)
{
	for (uint32_t i = 0; i < n; i++) {
		struct nvme_io io = { .op = NVME_OP_READ,
			.nsid = 1,
			.lba = i,
			.blocks = 1,
			.bytes = 512,
			.data = { m->iova.v + i * 512ull },
			.cookie = (void *)(uintptr_t)(i + 1) };

		ATF_REQUIRE_EQ(nvme_ioq_put(q, &io), OK);
	}
	ATF_REQUIRE_EQ(nvme_ioq_ring(q), OK);
}

ATF_TC_WITHOUT_HEAD(a_lying_completion_ends_the_belief_until_a_reset);
ATF_TC_BODY(a_lying_completion_ends_the_belief_until_a_reset, tc)
{
	static const struct { enum model_lie lie; const char *fault; uint32_t believed;
	} lies[] = {
		{ LIE_CID, "not in flight", 3 },
		{ LIE_CID_OF_FREE, "not in flight", 3 },
		{ LIE_CID_TWICE, "not in flight", 4 },
		{ LIE_SQ_HEAD, "submission head", 3 },
		{ LIE_SQ_ID, "another submission queue", 3 },
	};
	struct nvme_done done[32];
	struct drv_memory m;

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		power_up();
		ATF_REQUIRE_EQ(start(2, 64), OK);
		ATF_REQUIRE_EQ(drv_memory(&dev, 4 * PAGE_SIZE, DMA_BOTH, &m), OK);
		model.lie = lies[i].lie;
		model.lie_after = 3;
		put_reads(&ctrl.ioq[1], 8, &m);
		ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[1], done, 32), lies[i].believed);
		for (uint32_t k = 0; k < lies[i].believed; k++)
			ATF_CHECK_EQ(done[k].cookie, (void *)(uintptr_t)(k + 1));
		ATF_REQUIRE(ctrl.ioq[1].fault != NULL);
		ATF_CHECK_MSG(
		    strstr(ctrl.ioq[1].fault, lies[i].fault) != NULL, "%s", ctrl.ioq[1].fault);
		ATF_CHECK_EQ(nvme_ctrl_trouble(&ctrl), ctrl.ioq[1].fault);
		ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[1], done, 32), 0);

		ATF_REQUIRE_EQ_MSG(nvme_ctrl_restart(&ctrl, &why), OK, "%s", why);
		ATF_CHECK_EQ(nvme_ctrl_trouble(&ctrl), NULL);
		ATF_CHECK_EQ(nvme_ioq_inflight(&ctrl.ioq[1]), 0);
		put_reads(&ctrl.ioq[1], 8, &m);
		ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[1], done, 32), 8);
		ATF_CHECK(memcmp(m.ptr, model.ns[0].media, 8 * 512) == 0);
		no_rule_was_broken();
		end();
	}
}

/* An entry of the old phase is no entry: nothing is taken, and time decides. */
ATF_TC_WITHOUT_HEAD(an_entry_of_the_wrong_phase_is_not_seen);
ATF_TC_BODY(an_entry_of_the_wrong_phase_is_not_seen, tc)
{
	struct nvme_done done[32];
	struct drv_memory m;

	power_up();
	ATF_REQUIRE_EQ(start(1, 64), OK);
	ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
	model.lie = LIE_PHASE;
	model.lie_after = 2;
	put_reads(&ctrl.ioq[0], 5, &m);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 2);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 0);
	ATF_CHECK_EQ(nvme_ioq_inflight(&ctrl.ioq[0]), 3);
	end();
}

ATF_TC_WITHOUT_HEAD(a_controller_that_stops_at_work_is_noticed);
ATF_TC_BODY(a_controller_that_stops_at_work_is_noticed, tc)
{
	struct nvme_done done[32];
	struct drv_memory m;

	power_up();
	ATF_REQUIRE_EQ(start(1, 64), OK);
	ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
	model.lie = LIE_FATAL;
	put_reads(&ctrl.ioq[0], 1, &m);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 0);
	ATF_REQUIRE(nvme_ctrl_trouble(&ctrl) != NULL);
	ATF_CHECK(strstr(nvme_ctrl_trouble(&ctrl), "fatal") != NULL);
	ATF_REQUIRE_EQ_MSG(nvme_ctrl_restart(&ctrl, &why), OK, "%s", why);
	put_reads(&ctrl.ioq[0], 8, &m);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 8);

	model.lie = LIE_GONE;
	model.lie_after = 0;
	put_reads(&ctrl.ioq[0], 1, &m);
	ATF_REQUIRE(nvme_ctrl_trouble(&ctrl) != NULL);
	ATF_CHECK(strstr(nvme_ctrl_trouble(&ctrl), "gone") != NULL);
	ATF_CHECK_EQ(nvme_ctrl_restart(&ctrl, &why), E_NO_DEVICE);
	ATF_CHECK_EQ(nvme_ctrl_stop(&ctrl), E_NO_DEVICE);
	end();
}

ATF_TC_WITHOUT_HEAD(a_command_that_never_ends_is_aborted);
ATF_TC_BODY(a_command_that_never_ends_is_aborted, tc)
{
	struct nvme_done done[32];
	struct drv_memory m;
	uint32_t slot;

	power_up();
	ATF_REQUIRE_EQ(start(1, 64), OK);
	ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
	model.lie = LIE_SWALLOW;
	put_reads(&ctrl.ioq[0], 3, &m);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 2);
	for (slot = 0; ctrl.ioq[0].slot[slot].state != SLOT_BUSY; slot++)
		;
	ATF_CHECK_EQ(nvme_ctrl_abort(&ctrl, &ctrl.ioq[0], slot), OK);
	ATF_CHECK_EQ(model.aborts, 1);
	ATF_REQUIRE_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 1);
	ATF_CHECK_EQ(done[0].status, E_IO);
	ATF_CHECK_STREQ(nvme_status_text(done[0].sct_sc), "aborted on request");

	/* One that takes aborts and ignores them, then one that does not even answer. */
	model.no_abort = true;
	model.lie = LIE_SWALLOW;
	model.lie_after = 0;
	put_reads(&ctrl.ioq[0], 1, &m);
	for (slot = 0; ctrl.ioq[0].slot[slot].state != SLOT_BUSY; slot++)
		;
	ATF_CHECK_EQ(nvme_ctrl_abort(&ctrl, &ctrl.ioq[0], slot), OK);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 0);
	ATF_CHECK_EQ(ctrl.ioq[0].slot[slot].state, SLOT_ABORTED);
	model.no_abort_answer = true;
	ATF_CHECK_EQ(nvme_ctrl_abort(&ctrl, &ctrl.ioq[0], slot), E_TIMED_OUT);
	ATF_REQUIRE_EQ_MSG(nvme_ctrl_restart(&ctrl, &why), OK, "%s", why);
	put_reads(&ctrl.ioq[0], 3, &m);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 3);
	no_rule_was_broken();
	end();
}

ATF_TC_WITHOUT_HEAD(a_reset_finds_the_same_controller_or_says_so);
ATF_TC_BODY(a_reset_finds_the_same_controller_or_says_so, tc)
{
	struct nvme_done done[32];
	struct drv_memory m;

	power_up();
	ATF_REQUIRE_EQ(start(2, 64), OK);
	ATF_REQUIRE_EQ(drv_memory(&dev, PAGE_SIZE, DMA_BOTH, &m), OK);
	/* It does not stop: the function is reset. */
	model.never_stops = true;
	ATF_CHECK_EQ_MSG(nvme_ctrl_restart(&ctrl, &why), OK, "%s", why);
	ATF_CHECK_EQ(dev.resets, 1);
	put_reads(&ctrl.ioq[1], 3, &m);
	ATF_CHECK_EQ(nvme_ioq_take(&ctrl.ioq[1], done, 32), 3);
	no_rule_was_broken();

	/* A namespace that grew is none of our business, one that shrank is. */
	model.ns[0].blocks--;
	ATF_CHECK_EQ(nvme_ctrl_restart(&ctrl, &why), E_CORRUPT);
	model.ns[0].blocks++;
	strcpy(model.serial, "another");
	ATF_CHECK_EQ(nvme_ctrl_restart(&ctrl, &why), E_CORRUPT);
	strcpy(model.serial, "model0");
	model.pairs = 1;
	ATF_CHECK_EQ(nvme_ctrl_restart(&ctrl, &why), E_CORRUPT);
	model.pairs = 4;
	ATF_CHECK_EQ_MSG(nvme_ctrl_restart(&ctrl, &why), OK, "%s", why);
	model.never_stops = dev.reset_fails = true;
	ATF_CHECK_EQ(nvme_ctrl_restart(&ctrl, &why), E_TIMED_OUT);
	end();
}

/* --- the rings at work --------------------------------------------------------------- */

ATF_TC_WITHOUT_HEAD(a_full_queue_blocks_and_every_command_ends_once);
ATF_TC_BODY(a_full_queue_blocks_and_every_command_ends_once, tc)
{
	static const uint32_t depths[] = { 2, 3, 32, 256 };
	static uint8_t seen[256];
	struct nvme_done done[7];
	struct drv_memory m;

	for (unsigned d = 0; d < ARRAY_SIZE(depths); d++) {
		struct nvme_ioq *q = &ctrl.ioq[0];
		unsigned seed = 7, out = 0;
		uint64_t total = 0;

		power_up();
		ATF_REQUIRE_EQ(start(1, depths[d]), OK);
		ATF_REQUIRE_EQ(drv_memory(&dev, 64 * PAGE_SIZE, DMA_BOTH, &m), OK);
		memset(seen, 0, sizeof(seen));
		model.hold = true;
		while (total < 20 * depths[d] + 200) {
			uint32_t n = (seed = seed * 1103515245 + 12345) >> 16 & 63, k;

			for (uint32_t i = 0; i < n && out < 255; i++) {
				uint32_t id = 0;
				struct nvme_io io = { .op = NVME_OP_READ,
					.nsid = 1,
					.lba = i,
					.blocks = 1 + i % 32,
					.data = m.iova };

				while (seen[id] != 0)
					id++;
				io.bytes = io.blocks * 512ull;
				io.cookie = (void *)(uintptr_t)id;
				if (nvme_ioq_put(q, &io) != OK) {
					ATF_REQUIRE(nvme_ioq_inflight(q) == depths[d] - 1 ||
					    q->lists.free == 0);
					break;
				}
				seen[id] = 1;
				out++;
			}
			ATF_REQUIRE_EQ(nvme_ioq_ring(q), OK);
			model.reverse = (seed & 1) != 0;
			model_nvme_release(&model);
			while ((k = nvme_ioq_take(q, done, 1 + seed % 7)) != 0) {
				for (uint32_t i = 0; i < k; i++) {
					ATF_REQUIRE_EQ(seen[(uintptr_t)done[i].cookie], 1);
					seen[(uintptr_t)done[i].cookie] = 0;
					ATF_REQUIRE_EQ(done[i].status, OK);
				}
				out -= k;
				total += k;
			}
			ATF_REQUIRE_EQ(nvme_ioq_inflight(q), out);
		}
		ATF_CHECK_EQ(out, 0);
		ATF_CHECK_EQ(q->fault, NULL);
		ATF_REQUIRE_EQ(nvme_ioq_settle(q), OK);
		ATF_CHECK_EQ(model.q[1].cq_head, model.q[1].cq_tail);
		no_rule_was_broken();
		end();
	}
}

/* Each is a slow access, or an exit to the hypervisor: at depth 32 at most 0.06 a read. */
ATF_TC_WITHOUT_HEAD(doorbells_are_few);
ATF_TC_BODY(doorbells_are_few, tc)
{
	struct nvme_done done[32];
	struct drv_memory m;
	uint64_t rings;

	power_up();
	ATF_REQUIRE_EQ(start(1, 1024), OK);
	ATF_REQUIRE_EQ(drv_memory(&dev, 4 * PAGE_SIZE, DMA_BOTH, &m), OK);
	rings = dev.sq_rings + dev.cq_rings;
	for (unsigned i = 0; i < 100; i++) {
		put_reads(&ctrl.ioq[0], 32, &m);
		ATF_REQUIRE_EQ(nvme_ioq_take(&ctrl.ioq[0], done, 32), 32);
	}
	ATF_CHECK((dev.sq_rings + dev.cq_rings - rings) * 100 <= 6 * 3200);
	no_rule_was_broken();
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, bring_up_breaks_no_rule);
	ATF_TP_ADD_TC(tp, a_running_controller_is_stopped_first);
	ATF_TP_ADD_TC(tp, data_of_every_length_arrives);
	ATF_TP_ADD_TC(tp, the_largest_transfer_is_chained);
	ATF_TP_ADD_TC(tp, flush_and_forced_access_reach_the_device);
	ATF_TP_ADD_TC(tp, zeroes_and_discards_are_commands_of_their_own);
	ATF_TP_ADD_TC(tp, what_the_capabilities_forbid_is_refused_by_name);
	ATF_TP_ADD_TC(tp, the_smallest_and_the_largest_queues_work);
	ATF_TP_ADD_TC(tp, a_wide_doorbell_stride_leaves_fewer_queues);
	ATF_TP_ADD_TC(tp, a_controller_that_does_not_come_ready_ends_in_time);
	ATF_TP_ADD_TC(tp, an_admin_command_without_an_answer_ends_in_time);
	ATF_TP_ADD_TC(tp, odd_namespaces_are_left_out_by_name);
	ATF_TP_ADD_TC(tp, version_1_0_is_asked_for_every_namespace);
	ATF_TP_ADD_TC(tp, the_transfer_limit_is_the_controllers);
	ATF_TP_ADD_TC(tp, queues_share_vectors_or_are_polled);
	ATF_TP_ADD_TC(tp, one_pair_is_enough_to_go_on);
	ATF_TP_ADD_TC(tp, memory_may_run_out_at_every_step);
	ATF_TP_ADD_TC(tp, a_lying_completion_ends_the_belief_until_a_reset);
	ATF_TP_ADD_TC(tp, an_entry_of_the_wrong_phase_is_not_seen);
	ATF_TP_ADD_TC(tp, a_controller_that_stops_at_work_is_noticed);
	ATF_TP_ADD_TC(tp, a_command_that_never_ends_is_aborted);
	ATF_TP_ADD_TC(tp, a_reset_finds_the_same_controller_or_says_so);
	ATF_TP_ADD_TC(tp, a_full_queue_blocks_and_every_command_ends_once);
	ATF_TP_ADD_TC(tp, doorbells_are_few);
	return atf_no_error();
}
