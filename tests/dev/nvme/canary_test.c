/*
 * dev/nvme/canary.c against the model of a controller: it writes what it is asked to and where, and
 * every liar is named in time.
 *
 * LINK: dev/nvme/canary.c kern/base/str.c tests/lib/model_nvme.c tests/lib/fake_drv.c
 */
#include <atf-c.h>
#include <string.h>

#include "dev/nvme/canary.h"
#include "kern/base/bits.h"
#include "tests/lib/canary_world.h"
#include "tests/lib/model_nvme.h"

enum : uint32_t {
	CAP = 0,
	CC = 0x14,
	CSTS = 0x1c,
	AQA = 0x24,
	ASQ = 0x28,
	ACQ = 0x30,
	DOORBELLS = 0x1000
};

static struct model_nvme m;
static bool keeps_queues;		/* the registers of its queues cannot be cleared */
static bool all_ones;			/* from the first read on */

static uint64_t
read_register(void *arg UNUSED, uint32_t offset, unsigned width)
{
	uint64_t v = 0;

	ATF_REQUIRE(width == 4 || width == 8);
	ATF_REQUIRE(offset % width == 0 && range_within(offset, width, 0, c.window_bytes));
	d.step(d.model);
	if (all_ones)
		return width == 8 ? UINT64_MAX : UINT32_MAX;
	memcpy(&v, d.regs + offset, width);
	return v;
}

static void
write_register(void *arg UNUSED, uint32_t offset, unsigned width, uint64_t v)
{
	uint32_t dstrd = (uint32_t)(m.cap >> 32 & 15);

	ATF_REQUIRE(width == 4 || width == 8);
	ATF_REQUIRE(offset % width == 0 && range_within(offset, width, 0, c.window_bytes));
	if (offset >= DOORBELLS) {
		ATF_REQUIRE_EQ(width, 4);
		if (offset == DOORBELLS)
			d.doorbell(d.model, 0, (uint32_t)v, UINT32_MAX);
		else if (offset == DOORBELLS + (4u << dstrd))
			d.doorbell(d.model, 0, UINT32_MAX, (uint32_t)v);
		else
			atf_tc_fail("doorbell at 0x%x", offset);
		return;
	}
	if (v == 0 && (offset == ASQ || offset == ACQ) && keeps_queues)
		return;
	memcpy(d.regs + offset, &v, width);
	d.step(d.model);
}

static void
begin(void)
{
	keeps_queues = all_ones = false;
	model_nvme_init(&m, &d);
	canary_begin();
	c.io = (struct xlate_source){ .read = read_register, .write = write_register };
	c.window_bytes = d.regs_len;
}

static void
end(void)
{
	ATF_CHECK_EQ_MSG(m.broken_rules, 0, "%s", m.rule);
	model_nvme_fini(&m);
}

/* CAP.TO of the model, and a bit. */
static const char *stop(void) { return run(nvme_canary.stop, 9 * NS_PER_S); }
static const char *start(void) { return run(nvme_canary.start, 9 * NS_PER_S); }

static const char *
store(uint64_t at, bool must_succeed)
{
	c.target = at;
	c.must_succeed = must_succeed;
	return run(nvme_canary.store, 6 * NS_PER_S);
}

ATF_TC_WITHOUT_HEAD(it_writes_where_it_must_not_and_where_it_may);
ATF_TC_BODY(it_writes_where_it_must_not_and_where_it_may, tc)
{
	for (uint32_t dstrd = 0; dstrd < 4; dstrd++) {
		begin();
		m.cap |= (uint64_t)dstrd << 32;
		memcpy(d.regs, &m.cap, 8);
		GOOD(stop());
		GOOD(start());
		ATF_CHECK_EQ(d.faults, 0);
		GOOD(store(STRAY, false));
		ATF_CHECK_EQ(d.faults, 1);
		ATF_CHECK_EQ(untouched(&target, 0, PAGE_SIZE), PAGE_SIZE);
		memset(spill.ptr, 0xa5, PAGE_SIZE);
		BAD(nvme_canary.judge(&c, spill.ptr),
		    "what the controller wrote is not what it was asked for");
		GOOD(store(target.iova.v, true));
		ATF_CHECK_EQ(d.faults, 1);
		GOOD(nvme_canary.judge(&c, spill.ptr));
		/* To the byte. */
		ATF_CHECK_EQ(untouched(&spill, 0, CANARY_BYTES), CANARY_BYTES);
		ATF_CHECK_EQ(untouched(&target, 0, CANARY_BYTES), 0);
		ATF_CHECK_EQ(untouched(&target, CANARY_BYTES, PAGE_SIZE), PAGE_SIZE - CANARY_BYTES);
		GOOD(stop());
		ATF_CHECK_EQ(m.enables, 1);
		ATF_CHECK(!m.enabled);
		/* D3: no address stays readable. */
		ATF_CHECK_EQ(read_register(NULL, ASQ, 8) | read_register(NULL, ACQ, 8) |
			read_register(NULL, AQA, 4),
		    0);
		end();
	}
}

/* As firmware leaves it, which booted from it. */
ATF_TC_WITHOUT_HEAD(a_controller_that_runs_is_stopped_first);
ATF_TC_BODY(a_controller_that_runs_is_stopped_first, tc)
{
	begin();
	write_register(NULL, AQA, 4, 31 | 31 << 16);
	write_register(NULL, ASQ, 8, 0x7000'0000);
	write_register(NULL, ACQ, 8, 0x7000'1000);
	write_register(NULL, CC, 4, 1 | 6 << 16 | 4 << 20);
	d.now += NS_PER_S;
	ATF_REQUIRE_EQ(read_register(NULL, CSTS, 4), 1);
	GOOD(stop());
	GOOD(start());
	GOOD(store(target.iova.v, true));
	GOOD(stop());
	ATF_CHECK_EQ(d.faults, 0);
	end();
}

ATF_TC_WITHOUT_HEAD(whatever_it_reports_for_a_stray_write_is_its_own_affair);
ATF_TC_BODY(whatever_it_reports_for_a_stray_write_is_its_own_affair, tc)
{
	begin();
	GOOD(stop());
	GOOD(start());
	m.identify_nothing = true;		/* success */
	GOOD(store(STRAY, false));
	m.identify_status = 0x06;
	GOOD(store(STRAY, false));
	BAD(store(target.iova.v, true),
	    "the controller reports an error for a write that was granted");
	end();
}

ATF_TC_WITHOUT_HEAD(one_that_does_not_start_or_stop_is_named_in_time);
ATF_TC_BODY(one_that_does_not_start_or_stop_is_named_in_time, tc)
{
	begin();
	m.never_ready = true;
	GOOD(stop());
	BAD(start(), "the controller did not become ready within CAP.TO");
	end();
	begin();
	m.fatal_at_enable = true;
	GOOD(stop());
	BAD(start(), "the controller reports a fatal status (CSTS.CFS)");
	GOOD(stop());		/* no reason not to be reset */
	end();
	begin();
	m.never_stops = true;
	GOOD(stop());
	GOOD(start());
	BAD(stop(), "the controller did not stop within CAP.TO");
	end();
	begin();
	GOOD(stop());
	GOOD(start());
	m.swallow_admin = true;
	BAD(store(STRAY, false), "the controller did not complete a command");
	GOOD(stop());
	end();
	/* A time-out that would be hours. */
	begin();
	m.cap |= 1ull << 59;
	m.crto = 0xffff;
	memcpy(d.regs, &m.cap, 8);
	memcpy(d.regs + 0x68, &m.crto, 4);
	m.never_ready = true;
	GOOD(stop());
	BAD(run(nvme_canary.start, 130 * NS_PER_S),
	    "the controller did not become ready within CAP.TO");
	end();
}

ATF_TC_WITHOUT_HEAD(completions_that_lie_are_named);
ATF_TC_BODY(completions_that_lie_are_named, tc)
{
	static const struct { enum model_lie lie; const char *why; } liar[] = {
		{ LIE_CID, "a completion names a command that is not in flight" },
		{ LIE_CID_OF_FREE, "a completion names a command that is not in flight" },
		{ LIE_PHASE, "the controller did not complete a command" },
		{ LIE_SQ_HEAD, "a completion reports a submission head that is not the queue's" },
		{ LIE_SQ_ID, "a completion names another submission queue" },
		{ LIE_FATAL, "the controller reports a fatal status (CSTS.CFS)" },
		{ LIE_GONE, "the controller is gone: its registers read all ones" },
		{ LIE_SWALLOW, "the controller did not complete a command" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(liar); i++)
		for (unsigned first = 0; first < 2; first++) {
			begin();
			GOOD(stop());
			GOOD(start());
			m.lie = liar[i].lie;
			m.lie_admin = true;
			m.lie_after = first == 0;
			if (first == 0)
				GOOD(store(STRAY, false));
			BAD(store(target.iova.v, false), liar[i].why);
			end();
		}
	/* The answer to the first command stands there as the second's. */
	begin();
	GOOD(stop());
	GOOD(start());
	m.lie = LIE_CID_TWICE;
	m.lie_admin = true;
	GOOD(store(STRAY, false));
	BAD(store(target.iova.v, true), "a completion names a command that is not in flight");
	end();
}

ATF_TC_WITHOUT_HEAD(one_that_cannot_be_used_as_it_is_done_here_is_named);
ATF_TC_BODY(one_that_cannot_be_used_as_it_is_done_here_is_named, tc)
{
	static const struct { uint64_t clear, set; const char *why; } limit[] = {
		{ 0, 1ull << 48, "it does not support pages of 4 KiB" },
		{ 1ull << 37, 0, "it does not support the NVM command set" },
		{ 0, 15ull << 32, "its doorbells lie outside the register window" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(limit); i++) {
		begin();
		m.cap = (m.cap & ~limit[i].clear) | limit[i].set;
		memcpy(d.regs, &m.cap, 8);
		GOOD(stop());
		BAD(start(), limit[i].why);
		ATF_CHECK_EQ(m.enables, 0);
		end();
	}
	begin();
	c.window_bytes = 0xfff;
	BAD(stop(), "its register window is too small");
	end();
	begin();
	all_ones = true;
	BAD(stop(), "the controller is gone: its registers read all ones");
	end();
	begin();
	GOOD(stop());
	GOOD(start());
	keeps_queues = true;
	BAD(stop(), "the controller keeps the addresses of its queues");
	end();
}

/* More commands than the rings have room for are not made. */
ATF_TC_WITHOUT_HEAD(its_queues_never_wrap);
ATF_TC_BODY(its_queues_never_wrap, tc)
{
	begin();
	GOOD(stop());
	GOOD(start());
	for (unsigned i = 0; i < 3; i++)
		GOOD(store(target.iova.v, true));
	BAD(store(target.iova.v, true), "more commands than its queue has entries");
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, it_writes_where_it_must_not_and_where_it_may);
	ATF_TP_ADD_TC(tp, a_controller_that_runs_is_stopped_first);
	ATF_TP_ADD_TC(tp, whatever_it_reports_for_a_stray_write_is_its_own_affair);
	ATF_TP_ADD_TC(tp, one_that_does_not_start_or_stop_is_named_in_time);
	ATF_TP_ADD_TC(tp, completions_that_lie_are_named);
	ATF_TP_ADD_TC(tp, one_that_cannot_be_used_as_it_is_done_here_is_named);
	ATF_TP_ADD_TC(tp, its_queues_never_wrap);
	return atf_no_error();
}
