/*
 * The block driver against a strict device (tests/lib/model_virtio.h), and one that lies.
 */
/* LINK: dev/virtio/blk.c dev/virtio/pci.c dev/virtio/queue.c
 * LINK: tests/lib/fake_drv.c tests/lib/model_virtio.c */
#include <atf-c.h>
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/blk.h"
#include "kern/base/bits.h"
#include "tests/lib/model_virtio.h"

enum { SECTORS = 8192 };

static struct drv_device dev;
static struct model_virtio model;
static struct virtio_blk disk;
static struct drv_memory area;
static const char *why;
static uint8_t media[SECTORS * 512];

static void
power_up(void)
{
	uint64_t sectors = SECTORS;

	model_virtio_init(&model, &dev, 2);
	memset(&disk, 0, sizeof(disk));
	why = "";
	for (uint32_t i = 0; i < sizeof(media); i++)
		media[i] = (uint8_t)(i * 13 + (i >> 9));
	model.media = media;
	model.sectors = SECTORS;
	model.offers |= BIT(6) | BIT(9);
	memcpy(model.config, &sectors, 8);
	memcpy(model.config + 20, &(uint32_t){ 512 }, 4);
}

static void
start(uint32_t queues)
{
	ATF_REQUIRE_EQ_MSG(vblk_start(&disk, &dev, queues, &why), OK, "%s", why);
	ATF_REQUIRE_EQ(drv_memory(&dev, MIB, DMA_BOTH, &area), OK);
}

static void
end(void)
{
	ATF_CHECK_EQ_MSG(model.broken_rules, 0, "%s", model.rule);
	ATF_CHECK_EQ(dev.faults, 0);
	model_virtio_fini(&model);
}

static void
refused(enum status s, const char *reason)
{
	ATF_CHECK_EQ(vblk_start(&disk, &dev, 1, &why), s);
	ATF_CHECK_MSG(strstr(why, reason) != NULL, "%s", why);
}

/* One request, start to end; E_TIMED_OUT: it did not come. */
static enum status
once(uint32_t queue, enum vblk_op op, uint64_t at, uint32_t bytes, uint64_t data)
{
	struct vblk_queue *q = &disk.queue[queue];
	struct vblk_io io = { op, at, bytes, { area.iova.v + data } };
	struct vblk_done d;
	enum status s = vblk_put(&disk, q, &io, 77);

	if (s == OK)
		s = virtq_commit(&q->q);
	if (s != OK)
		return s;
	if (virtq_look(&q->q) == 0 || !vblk_take(q, &d))
		return E_TIMED_OUT;
	ATF_CHECK_EQ(d.cookie, 77);
	return d.status;
}

ATF_TC_WITHOUT_HEAD(bring_up_breaks_no_rule);
ATF_TC_BODY(bring_up_breaks_no_rule, tc)
{
	power_up();
	start(4);
	ATF_CHECK_EQ(disk.bytes, SECTORS * 512);
	ATF_CHECK_EQ(disk.block_bytes, 512);
	ATF_CHECK_EQ(disk.queue_count, 1);
	ATF_CHECK(disk.volatile_cache);
	ATF_CHECK(!disk.read_only && !disk.discards && !disk.zeroes);
	ATF_CHECK_STREQ(disk.serial, "model0");
	ATF_CHECK_EQ(model.q[0].vector, 1);
	end();
	power_up();
	model.offers |= BIT(12);
	model.queues = 4;
	model.config[34] = 4;
	start(3);
	ATF_CHECK_EQ(disk.queue_count, 3);
	ATF_CHECK_EQ(model.q[2].vector, 3);
	ATF_CHECK(!model.q[3].enabled);
	ATF_CHECK_EQ(once(2, VBLK_READ, 0, 512, 0), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(data_goes_where_it_should);
ATF_TC_BODY(data_goes_where_it_should, tc)
{
	static uint8_t was[sizeof(media)];

	power_up();
	start(1);
	for (uint32_t i = 0; i < 600; i++) {
		uint32_t bytes = 512 * (1 + i * 7 % 64);
		uint64_t at = 512ull * (i * 131 % (SECTORS - 64));

		memset(area.ptr, 0, bytes + 512);
		ATF_REQUIRE_EQ(once(0, VBLK_READ, at, bytes, 0), OK);
		ATF_REQUIRE_EQ(memcmp(area.ptr, media + at, bytes), 0);
		ATF_REQUIRE_EQ(((uint8_t *)area.ptr)[bytes], 0);
	}
	memcpy(was, media, sizeof(media));
	memset(area.ptr, 0x5a, MIB);
	ATF_REQUIRE_EQ(once(0, VBLK_WRITE, 40960, 8192, 4096), OK);
	memset(was + 40960, 0x5a, 8192);
	ATF_CHECK_EQ(memcmp(was, media, sizeof(media)), 0);
	ATF_REQUIRE_EQ(once(0, VBLK_FLUSH, 0, 0, 0), OK);
	ATF_CHECK_EQ(model.flushes, 1);
	ATF_CHECK_EQ(once(0, VBLK_READ, SECTORS * 512ull, 512, 0), E_IO);
	ATF_CHECK_EQ(once(0, VBLK_READ, 0, 0, 0), E_RANGE);
	ATF_CHECK_EQ(once(0, VBLK_READ, 0, (uint32_t)disk.max_transfer_bytes + 512, 0), E_RANGE);
	ATF_CHECK_EQ(once(0, VBLK_ZERO, 0, 512, 0), E_UNSUPPORTED);
	end();
}

ATF_TC_WITHOUT_HEAD(transfers_are_cut_as_the_device_wants);
ATF_TC_BODY(transfers_are_cut_as_the_device_wants, tc)
{
	power_up();
	model.offers |= BIT(1) | BIT(2);
	memcpy(model.config + 8, &(uint32_t){ 10000 }, 4);
	memcpy(model.config + 12, &(uint32_t){ 3 }, 4);
	start(1);
	ATF_CHECK_EQ(disk.max_transfer_bytes, 3 * 8192);
	ATF_REQUIRE_EQ(once(0, VBLK_READ, 512, 24576, 0), OK);
	ATF_CHECK_EQ(memcmp(area.ptr, media + 512, 24576), 0);
	end();
}

ATF_TC_WITHOUT_HEAD(ranges_are_zeroed_and_discarded);
ATF_TC_BODY(ranges_are_zeroed_and_discarded, tc)
{
	power_up();
	model.offers |= BIT(13) | BIT(14);
	memcpy(model.config + 36, &(uint32_t){ 100 }, 4);
	memcpy(model.config + 48, &(uint32_t){ 200 }, 4);
	start(1);
	ATF_CHECK_EQ(disk.discard_max, 51200);
	ATF_CHECK_EQ(disk.zero_max, 102400);
	ATF_REQUIRE_EQ(once(0, VBLK_ZERO, 5120, 1024, 0), OK);
	ATF_CHECK_EQ(media[5119], (uint8_t)(5119 * 13 + 9));
	for (unsigned i = 5120; i < 6144; i++)
		ATF_REQUIRE_EQ(media[i], 0);
	ATF_CHECK_EQ(media[6144], (uint8_t)(6144 * 13 + 12));
	ATF_REQUIRE_EQ(once(0, VBLK_DISCARD, 0, 512, 0), OK);
	ATF_CHECK_EQ(model.zeroes, 1);
	ATF_CHECK_EQ(model.discards, 1);
	ATF_CHECK_EQ(once(0, VBLK_DISCARD, 0, 51712, 0), E_RANGE);
	end();
}

ATF_TC_WITHOUT_HEAD(a_disk_that_cannot_be_is_refused_by_name);
ATF_TC_BODY(a_disk_that_cannot_be_is_refused_by_name, tc)
{
	static const struct { uint8_t at; uint32_t value; } wrong[] = {
		{ 20, 0 }, { 20, 256 }, { 20, 1000 }, { 20, 65536 }, { 8, 100 }, { 12, 0 },
		{ 4, 0xff000000 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		power_up();
		model.offers |= BIT(1) | BIT(2);
		memcpy(model.config + 8, &(uint32_t){ 65536 }, 4);
		memcpy(model.config + 12, &(uint32_t){ 8 }, 4);
		memcpy(model.config + wrong[i].at, &wrong[i].value, 4);
		refused(E_CORRUPT, "not one that a disk can have");
		end();
	}
	power_up();
	model.hold = true;
	refused(E_TIMED_OUT, "called");
	end();
}

/* Read only, no cache. */
ATF_TC_WITHOUT_HEAD(what_is_not_offered_is_not_done);
ATF_TC_BODY(what_is_not_offered_is_not_done, tc)
{
	power_up();
	model.offers |= BIT(5) | BIT(14);
	model.offers &= ~BIT(9);
	memcpy(model.config + 48, &(uint32_t){ 200 }, 4);
	start(1);
	ATF_CHECK(disk.read_only && !disk.volatile_cache && !disk.zeroes);
	ATF_CHECK_EQ(once(0, VBLK_FLUSH, 0, 0, 0), E_UNSUPPORTED);
	ATF_CHECK_EQ(once(0, VBLK_WRITE, 0, 512, 0), E_IO);
	ATF_CHECK_EQ(once(0, VBLK_READ, 0, 512, 0), OK);
	end();
}

ATF_TC_WITHOUT_HEAD(errors_have_a_status_and_no_answer_is_one);
ATF_TC_BODY(errors_have_a_status_and_no_answer_is_one, tc)
{
	power_up();
	start(1);
	model.blk_status = 1;
	ATF_CHECK_EQ(once(0, VBLK_WRITE, 0, 512, 0), E_IO);
	model.blk_status = 2;
	ATF_CHECK_EQ(once(0, VBLK_WRITE, 0, 512, 0), E_UNSUPPORTED);
	model.blk_status = 0xff;	/* as it was before the request */
	ATF_CHECK_EQ(once(0, VBLK_WRITE, 0, 512, 0), E_IO);
	end();
}

ATF_TC_WITHOUT_HEAD(what_a_device_lies_about_ends_its_queue);
ATF_TC_BODY(what_a_device_lies_about_ends_its_queue, tc)
{
	for (enum vmodel_lie lie = VLIE_ID; lie <= VLIE_INDEX; lie++) {
		enum status s = OK;

		power_up();
		start(1);
		model.lie = lie;
		model.lie_after = 2;
		for (unsigned i = 0; i < 5 && s == OK; i++)
			s = once(0, VBLK_READ, 0, 4096, 0);
		ATF_CHECK_MSG(s == E_TIMED_OUT || s == E_WOULD_BLOCK, "lie %d: %d", lie, s);
		ATF_CHECK(vblk_fault(&disk) != NULL);
		ATF_REQUIRE_EQ(vblk_restart(&disk, &why), OK);
		ATF_CHECK_EQ(vblk_trouble(&disk), NULL);
		ATF_CHECK_EQ(once(0, VBLK_READ, 0, 4096, 0), OK);
		end();
	}
}

ATF_TC_WITHOUT_HEAD(a_disk_may_grow_and_never_shrink);
ATF_TC_BODY(a_disk_may_grow_and_never_shrink, tc)
{
	uint64_t sectors = SECTORS + 100;

	power_up();
	start(1);
	memcpy(model.config, &sectors, 8);
	ATF_REQUIRE_EQ(vblk_config(&disk), OK);
	ATF_CHECK_EQ(disk.bytes, sectors * 512);
	sectors = SECTORS;
	memcpy(model.config, &sectors, 8);
	ATF_CHECK_EQ(vblk_config(&disk), E_CORRUPT);
	ATF_CHECK_EQ(vblk_restart(&disk, &why), E_CORRUPT);
	end();
}

ATF_TC_WITHOUT_HEAD(a_full_queue_says_so_and_goes_on);
ATF_TC_BODY(a_full_queue_says_so_and_goes_on, tc)
{
	struct vblk_io io = { .op = VBLK_READ, .bytes = 512 };
	struct vblk_done d;
	unsigned n = 0, back = 0;

	power_up();
	start(1);
	model.hold = true;
	io.data = area.iova;
	while (vblk_put(&disk, &disk.queue[0], &io, n) == OK)
		n++;
	ATF_CHECK_EQ(n, 85);
	ATF_REQUIRE_EQ(virtq_commit(&disk.queue[0].q), OK);
	model_virtio_release(&model);
	ATF_CHECK_EQ(virtq_look(&disk.queue[0].q), n);
	for (; vblk_take(&disk.queue[0], &d); back++)
		ATF_CHECK(d.cookie == back && d.status == OK);
	ATF_CHECK_EQ(back, n);
	ATF_CHECK_EQ(vblk_put(&disk, &disk.queue[0], &io, 0), OK);
	end();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, bring_up_breaks_no_rule);
	ATF_TP_ADD_TC(tp, data_goes_where_it_should);
	ATF_TP_ADD_TC(tp, transfers_are_cut_as_the_device_wants);
	ATF_TP_ADD_TC(tp, ranges_are_zeroed_and_discarded);
	ATF_TP_ADD_TC(tp, a_disk_that_cannot_be_is_refused_by_name);
	ATF_TP_ADD_TC(tp, what_is_not_offered_is_not_done);
	ATF_TP_ADD_TC(tp, errors_have_a_status_and_no_answer_is_one);
	ATF_TP_ADD_TC(tp, what_a_device_lies_about_ends_its_queue);
	ATF_TP_ADD_TC(tp, a_disk_may_grow_and_never_shrink);
	ATF_TP_ADD_TC(tp, a_full_queue_says_so_and_goes_on);
	return atf_no_error();
}
