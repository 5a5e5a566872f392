/*
 * dev/virtio/canary.c against the model of a device: it writes what it is asked to and where, and
 * every liar is named in time.
 *
 * LINK: dev/virtio/canary.c dev/virtio/xlate_places.c kern/base/str.c
 * LINK: tests/lib/model_virtio.c tests/lib/fake_drv.c
 */
#include <atf-c.h>
#include <string.h>

#include "dev/virtio/canary.h"
#include "kern/base/bits.h"
#include "tests/lib/canary_world.h"
#include "tests/lib/model_virtio.h"

enum : uint32_t { NOTIFY = 0x3000, MULTIPLIER = 4, SECTOR = 512 };

static struct model_virtio m;
static const struct canary_class *class;
static uint8_t media[4 * SECTOR];
static bool keeps_queues, late_ones;	/* addresses stay; all ones from now on */

static uint64_t
read_register(void *arg UNUSED, uint32_t reg, unsigned width)
{
	uint32_t offset = reg & XLATE_REGISTER_OFFSET;

	if (keeps_queues && m.status == 0 && offset == 0x20)
		return 0x7000;
	return late_ones ? UINT64_MAX : d.access(&m, (unsigned)FIELD_GET(XLATE_REGISTER_BAR, reg),
	    offset, width, false, 0);
}

static void
write_register(void *arg UNUSED, uint32_t reg, unsigned width, uint64_t v)
{
	uint32_t offset = reg & XLATE_REGISTER_OFFSET;

	if (offset >= NOTIFY) {
		const struct vmodel_queue *q = &m.q[v];
		uint16_t idx;

		ATF_REQUIRE_EQ(width, 2);
		ATF_REQUIRE(offset == NOTIFY + MULTIPLIER * v && v < m.queues);
		ATF_REQUIRE(q->driver >= queue.iova.v && q->driver < queue.iova.v + PAGE_SIZE);
		memcpy(&idx, (uint8_t *)queue.ptr + (q->driver - queue.iova.v) + 2, 2);
		d.vring(&m, (uint32_t)v, idx, 0);
		return;
	}
	(void)d.access(&m, (unsigned)FIELD_GET(XLATE_REGISTER_BAR, reg), offset, width, true, v);
}

static uint32_t
read_config(void *arg UNUSED, uint32_t offset, unsigned width)
{
	return drv_config(&d, offset, width);
}

static void
begin(const struct canary_class *which)
{
	class = which;
	keeps_queues = late_ones = false;
	model_virtio_init(&m, &d, which == &virtio_net_canary ? 1 : 2);
	for (unsigned i = 0; i < sizeof(media); i++)
		media[i] = (uint8_t)(i * 7 + 1);
	m.media = media;
	m.sectors = 4;
	canary_begin();
	c.io = (struct xlate_source){
		.read = read_register, .write = write_register, .config = read_config
	};
}

static void
end(void)
{
	ATF_CHECK_EQ_MSG(m.broken_rules, 0, "%s", m.rule);
	model_virtio_fini(&m);
}

static const char *stop(void) { return run(class->stop, 11 * NS_PER_S); }
static const char *start(void) { return run(class->start, NS_PER_S); }

static const char *
store(uint64_t at, bool must_succeed)
{
	c.target = at;
	c.must_succeed = must_succeed;
	return run(class->store, 16 * NS_PER_S);
}

#define EACH(which) for (which = &virtio_net_canary; which != NULL; \
    which = which == &virtio_net_canary ? &virtio_blk_canary : NULL)

ATF_TC_WITHOUT_HEAD(it_writes_where_it_must_not_and_where_it_may);
ATF_TC_BODY(it_writes_where_it_must_not_and_where_it_may, tc)
{
	const struct canary_class *k;

	EACH(k)
	for (unsigned events = 0; events < 2; events++) {
		uint32_t spilt = k == &virtio_net_canary ? 0 : SECTOR - CANARY_BYTES;

		begin(k);
		if (events == 0)
			m.offers &= ~BIT(29);
		ATF_CHECK(k->fits == NULL || k->fits(&c.io));
		GOOD(stop());
		GOOD(start());
		ATF_CHECK_EQ(d.faults, 0);
		GOOD(store(STRAY, false));
		ATF_CHECK_EQ(d.faults, 1);
		ATF_CHECK_EQ(untouched(&target, 0, PAGE_SIZE), PAGE_SIZE);
		memset(spill.ptr, 0xa5, PAGE_SIZE);
		GOOD(store(target.iova.v, true));
		ATF_CHECK_EQ(d.faults, 1);
		GOOD(k->judge(&c, spill.ptr));
		/* To the byte. */
		ATF_CHECK_EQ(untouched(&spill, 0, PAGE_SIZE - spilt), PAGE_SIZE - spilt);
		ATF_CHECK(spilt == 0 ||
		    memcmp((uint8_t *)spill.ptr + PAGE_SIZE - spilt, media, spilt) == 0);
		ATF_CHECK_EQ(untouched(&target, 0, k->bytes), 0);
		ATF_CHECK_EQ(untouched(&target, k->bytes, PAGE_SIZE), PAGE_SIZE - k->bytes);
		/* Only the one queue, and no interrupt was asked for. */
		for (unsigned q = 0; q < m.queues; q++) {
			ATF_CHECK_EQ(m.q[q].enabled, q + 1 == m.queues);
			ATF_CHECK_EQ(m.q[q].interrupts, 0);
		}
		GOOD(stop());
		ATF_CHECK_EQ(m.status, 0);
		ATF_CHECK_EQ(read_register(NULL, FIELD_PREP(XLATE_REGISTER_BAR, VMODEL_BAR) | 0x20,
		    4), 0);
		end();
	}
}

/* It may take a buffer that it does not reach for the end, report an error, or say nothing. */
ATF_TC_WITHOUT_HEAD(whatever_becomes_of_a_stray_write_is_its_own_affair);
ATF_TC_BODY(whatever_becomes_of_a_stray_write_is_its_own_affair, tc)
{
	const struct canary_class *k;

	EACH(k) {
		begin(k);
		m.fails_on_fault = true;
		GOOD(stop());
		GOOD(start());
		GOOD(store(STRAY, false));
		ATF_CHECK((m.status & 64) != 0);
		GOOD(store(target.iova.v, true));	/* it was reset between */
		ATF_CHECK_EQ(untouched(&target, 0, k->bytes), 0);
		BAD(store(STRAY, true), "the device fails over a write that was granted");
		GOOD(stop());
		m.control_silent = m.hold = true;
		GOOD(store(STRAY, false));
		BAD(store(target.iova.v, true), "the device did not complete a request");
		GOOD(stop());
		end();
	}
	begin(&virtio_blk_canary);
	m.blk_status = 1;
	GOOD(store(STRAY, false));
	BAD(store(target.iova.v, true), "the device reports an error for a write that was granted");
	end();
	/* The answer to a command is what is written: any will do. */
	begin(&virtio_net_canary);
	m.control_fails = true;
	GOOD(store(target.iova.v, true));
	end();
}

ATF_TC_WITHOUT_HEAD(used_entries_that_lie_are_named);
ATF_TC_BODY(used_entries_that_lie_are_named, tc)
{
	static const struct { enum vmodel_lie lie; const char *why; } liar[] = {
		{ VLIE_ID, "the device gives back a chain that it was not given" },
		{ VLIE_ID_RANGE, "the device gives back a chain that it was not given" },
		{ VLIE_TWICE, "the device gives back buffers that it was not given" },
		{ VLIE_INDEX, "the device gives back buffers that it was not given" },
		{ VLIE_LENGTH, "the device says that it wrote more than it may" },
	};
	const struct canary_class *k;

	EACH(k)
	for (unsigned i = 0; i < ARRAY_SIZE(liar); i++)
		for (unsigned first = 0; first < 2; first++) {
			begin(k);
			m.lie = liar[i].lie;
			if (first == 0)
				m.lie_after = 1;
			if (first == 0)
				GOOD(store(STRAY, false));
			BAD(store(target.iova.v, first == 0), liar[i].why);
			end();
		}
}

ATF_TC_WITHOUT_HEAD(one_that_does_not_reset_or_is_gone_is_named_in_time);
ATF_TC_BODY(one_that_does_not_reset_or_is_gone_is_named_in_time, tc)
{
	const struct canary_class *k;

	EACH(k) {
		begin(k);
		GOOD(store(target.iova.v, true));
		m.never_resets = true;
		BAD(stop(), "the device did not reset itself");
		BAD(store(target.iova.v, true), "the device did not reset itself");
		end();
		begin(k);
		late_ones = true;
		BAD(stop(), "the device is gone: its registers read all ones");
		BAD(start(), "the device is gone: its registers read all ones");
		BAD(store(STRAY, false), "the device is gone: its registers read all ones");
		end();
		begin(k);
		keeps_queues = true;
		BAD(stop(), "the device keeps the addresses of its queue");
		end();
	}
}

ATF_TC_WITHOUT_HEAD(one_that_cannot_be_used_as_it_is_done_here_is_named);
ATF_TC_BODY(one_that_cannot_be_used_as_it_is_done_here_is_named, tc)
{
	const struct canary_class *k;

	EACH(k) {
		for (unsigned bit = 32; bit < 34; bit++) {
			begin(k);
			m.offers &= ~BIT(bit);
			BAD(start(), "it does not offer VERSION_1 and ACCESS_PLATFORM");
			end();
		}
		begin(k);
		m.refuses_features = true;
		GOOD(start());
		BAD(store(STRAY, false),
		    "it does not accept a part of the features that it offers");
		end();
		begin(k);
		m.queues--;
		BAD(start(), "it has not got the queues that it should have");
		end();
		begin(k);
		m.queue_max = 2;
		BAD(store(STRAY, false), "its queue is too short");
		end();
		begin(k);
		memset(d.config + 0x80, 0xff, 4);	/* queue 0 stays where it was */
		if (k == &virtio_net_canary)
			BAD(store(STRAY, false),
			    "a queue's notify register lies outside of those registers");
		end();
		begin(k);
		d.config[0x43] = 0;			/* no common registers */
		BAD(stop(), "its registers cannot be found");
		BAD(start(), "its registers cannot be found");
		BAD(store(STRAY, false), "its registers cannot be found");
		ATF_CHECK(k->fits == NULL || !k->fits(&c.io));
		end();
	}
	/* Without a control queue it writes only when a packet comes. */
	begin(&virtio_net_canary);
	m.offers &= ~BIT(17);
	ATF_CHECK(!virtio_net_canary.fits(&c.io));
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, it_writes_where_it_must_not_and_where_it_may);
	ATF_TP_ADD_TC(tp, whatever_becomes_of_a_stray_write_is_its_own_affair);
	ATF_TP_ADD_TC(tp, used_entries_that_lie_are_named);
	ATF_TP_ADD_TC(tp, one_that_does_not_reset_or_is_gone_is_named_in_time);
	ATF_TP_ADD_TC(tp, one_that_cannot_be_used_as_it_is_done_here_is_named);
	return atf_no_error();
}
