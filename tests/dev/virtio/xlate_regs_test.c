/*
 * The registers of virtio devices as a driver sees them through the kernel: where they are, which
 * features there are, what may be written and read, and in which order.
 *
 * LINK: dev/virtio/xlate.c dev/virtio/xlate_regs.c dev/virtio/xlate_places.c kern/dma/window.c
 */
#include <atf-c.h>
#include <string.h>

#include "dev/virtio/vring.h"
#include "dev/virtio/xlate.h"
#include "dev/virtio/xlate_parts.h"

enum : uint32_t {
	BAR = 4, COMMON = 4u << 28, ISR = COMMON + 0x1000, DEVICE = COMMON + 0x2000,
	NOTIFY = COMMON + 0x3000, QUEUES = 3, QUEUE_MOST = 256,
};
enum : uint64_t {
	OFFERED = VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_INDIRECT_DESC |
	    VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER | VIRTIO_F_RING_RESET |
	    VIRTIO_F_NOTIFICATION_DATA | VIRTIO_NET_F_MAC | VIRTIO_NET_F_CTRL_VQ | BIT(60),
	NAME_SQ = 0x4'0002'0000, NAME_CQ = 0x4'0001'0000,
	BUS_SQ = 0x9'8000'0000, BUS_CQ = 0x9'9000'0000,
};

static struct xlate_device device;
static struct xlate_writes out;

/* ---- A device, as far as its registers go ---- */

static uint8_t config[256];
static uint64_t features;
static uint32_t feature_select, queue_select, queue_most, notify_off;

static void
capability(uint8_t at, uint8_t next, uint8_t kind, uint8_t bar, uint32_t offset, uint32_t length)
{
	config[at] = 0x09;
	config[at + 1] = next;
	config[at + 2] = kind == CFG_NOTIFY ? 20 : 16;
	config[at + 3] = kind;
	config[at + 4] = bar;
	memcpy(&config[at + 8], &offset, 4);
	memcpy(&config[at + 12], &length, 4);
}

static uint32_t
read_config(void *arg, uint32_t offset, unsigned width)
{
	uint32_t v = 0;

	(void)arg;
	ATF_REQUIRE(offset % width == 0 && offset + width <= sizeof(config));
	memcpy(&v, &config[offset], width);
	return v;
}

static uint64_t
read_reg(void *arg, uint32_t reg, unsigned width)
{
	(void)arg;
	switch (reg - COMMON) {
	case COMMON_DEVICE_FEATURE:
		ATF_REQUIRE_EQ(4, width);
		return feature_select > 1 ? 0 : (uint32_t)(features >> 32 * feature_select);
	case COMMON_NUM_QUEUES: return QUEUES;
	case COMMON_QUEUE_SIZE: return queue_select < QUEUES ? queue_most : 0;
	case COMMON_QUEUE_NOTIFY_OFF: return notify_off;
	}
	return UINT64_MAX;
}

static void
write_reg(void *arg, uint32_t reg, unsigned width, uint64_t value)
{
	(void)arg;
	if (reg == COMMON + COMMON_DEVICE_FEATURE_SELECT && width == 4)
		feature_select = (uint32_t)value;
	else if (reg == COMMON + COMMON_QUEUE_SELECT && width == 2)
		queue_select = (uint32_t)value;
	else
		ATF_REQUIRE_MSG(false, "write to %#x", reg);
}

static const struct xlate_source source = {
	.read = read_reg, .write = write_reg, .config = read_config,
};

static void
make(void)
{
	uint32_t multiplier = 4;

	memset(config, 0, sizeof(config));
	config[0] = 0xf4;
	config[1] = 0x1a;
	config[2] = 0x41;
	config[3] = 0x10;
	config[6] = 0x10;
	config[0x34] = 0x84;
	capability(0x40, 0, CFG_COMMON, BAR, 0, 0x1000);
	capability(0x50, 0x40, CFG_ISR, BAR, 0x1000, 0x1000);
	capability(0x60, 0x50, CFG_DEVICE, BAR, 0x2000, 0x1000);
	capability(0x70, 0x60, CFG_NOTIFY, BAR, 0x3000, 0x1000);
	memcpy(&config[0x80], &multiplier, 4);
	capability(0x84, 0x70, CFG_PCI, 0, 0, 0);
	features = OFFERED;
	feature_select = queue_select = 0;
	queue_most = QUEUE_MOST;
	notify_off = 2;
	memset(&device, 0, sizeof(device));
	device.bar_bytes[BAR] = 0x4000;
	device.vectors = 4;
	device.remapped = true;
}

static bool open_it(void) { return virtio_net_xlate.open(&device, &source); }

static enum dma_rule
put(uint32_t reg, unsigned width, uint64_t value)
{
	return virtio_net_xlate.write(&device, reg, width, value, &out);
}

static enum dma_rule
common(uint32_t reg, unsigned width, uint64_t value)
{
	return put(COMMON + reg, width, value);
}

/* What reads back. */
static enum xlate_effect
see(uint32_t reg, unsigned width, uint64_t *value)
{
	ATF_REQUIRE_EQ(RULE_NONE, virtio_net_xlate.may_read(&device, COMMON + reg, width));
	return virtio_net_xlate.seen(&device, COMMON + reg, width, value);
}

static void
bind(uint32_t id, uint32_t entries)
{
	ATF_REQUIRE(virtio_net_xlate.bind(&device, &source, id, entries));
	device.queue[id] = (struct xlate_bound){ .bound = true, .entries = entries,
		.notify = device.queue[id].notify, .sq_name = NAME_SQ, .cq_name = NAME_CQ,
		.sq_address = BUS_SQ, .cq_address = BUS_CQ };
}

/* Claimed, reset, and with features agreed upon. */
static void
ready(uint64_t agree)
{
	uint64_t v = 0;

	make();
	ATF_REQUIRE(open_it());
	ATF_REQUIRE_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 0));
	ATF_REQUIRE_EQ(XLATE_STOP, out.effect);
	virtio_net_xlate.reset(&device);
	ATF_REQUIRE_EQ(XLATE_STOPPED, see(COMMON_DEVICE_STATUS, 1, &v));
	device.stopped = true;
	ATF_REQUIRE_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 3));
	for (uint32_t i = 0; i < 2; i++) {
		ATF_REQUIRE_EQ(RULE_NONE, common(COMMON_DRIVER_FEATURE_SELECT, 4, i));
		ATF_REQUIRE_EQ(RULE_NONE,
		    common(COMMON_DRIVER_FEATURE, 4, (uint32_t)(agree >> 32 * i)));
	}
}

enum : uint64_t {
	AGREED = VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_EVENT_IDX,
};

static void
features_ok(void)
{
	uint64_t v = 11;

	ATF_REQUIRE_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 11));
	ATF_REQUIRE_EQ(XLATE_ACCESS, see(COMMON_DEVICE_STATUS, 1, &v));
}

ATF_TC_WITHOUT_HEAD(structures_are_found_and_must_make_sense);
ATF_TC_BODY(structures_are_found_and_must_make_sense, tc)
{
	make();
	ATF_CHECK(open_it());
	ATF_CHECK_EQ(XLATE_QUEUES_MAX, device.queues);	/* also those that come later */
	ATF_CHECK_EQ(0, feature_select);
	for (unsigned i = 0; i < 4; i++) {	/* beyond its BAR, or in none */
		static const uint8_t at[] = { 0x40, 0x50, 0x60, 0x70 };
		uint32_t big = 0x3001, wrap = 0xfffff000;

		make();
		memcpy(&config[at[i] + 12], &big, 4);
		device.bar_bytes[BAR] = 0x3000;
		ATF_CHECK(!open_it());
		make();
		memcpy(&config[at[i] + 8], &wrap, 4);
		ATF_CHECK_EQ(at[i] == 0x50 || at[i] == 0x60, open_it());	/* not needed */
		make();
		config[at[i] + 4] = 5;
		ATF_CHECK(!open_it());
		make();
		config[at[i] + 4] = 6;
		ATF_CHECK_EQ(at[i] == 0x50 || at[i] == 0x60, open_it());
	}
	make();
	config[0x42] = 15;			/* too short to be one */
	ATF_CHECK(!open_it());
	make();
	config[0x72] = 16;
	ATF_CHECK(!open_it());
	make();
	capability(0x40, 0x40, CFG_ISR, BAR, 0, 0x1000);	/* a loop, and no common one */
	ATF_CHECK(!open_it());
	make();
	config[6] = 0;
	ATF_CHECK(!open_it());
	make();
	capability(0x40, 0, CFG_COMMON, BAR, 0, COMMON_BYTES - 1);
	ATF_CHECK(!open_it());
	make();
	capability(0x40, 0, CFG_COMMON, BAR, 2, 0x100);
	ATF_CHECK(!open_it());
	make();
	config[0x34] = 0xfc;			/* the list ends at the end of the space */
	capability(0x90, 0, CFG_COMMON, BAR, 0, 0x1000);
	config[0xfc] = 0x09;
	config[0xfd] = 0x70;
	ATF_CHECK(open_it());
}

ATF_TC_WITHOUT_HEAD(devices_that_cannot_be_had_are_named);
ATF_TC_BODY(devices_that_cannot_be_had_are_named, tc)
{
	make();
	ATF_CHECK(virtio_other_xlate.unfit(&source, true) == NULL);
	ATF_CHECK(virtio_other_xlate.unfit(&source, false) == NULL);
	features &= ~VIRTIO_F_ACCESS_PLATFORM;
	ATF_CHECK(strstr(virtio_other_xlate.unfit(&source, true), "ACCESS_PLATFORM") != NULL);
	ATF_CHECK(virtio_other_xlate.unfit(&source, false) == NULL);
	ATF_CHECK(!open_it());
	device.remapped = false;
	ATF_CHECK(open_it());
	features &= ~VIRTIO_F_VERSION_1;
	ATF_CHECK(!open_it());
	make();
	features = UINT64_MAX;			/* gone */
	ATF_CHECK(virtio_other_xlate.unfit(&source, true) != NULL);
	ATF_CHECK(!open_it());
	make();
	config[6] = 0;
	ATF_CHECK(virtio_other_xlate.unfit(&source, false) != NULL);
	config[2] = 0;
	ATF_CHECK(strstr(virtio_other_xlate.unfit(&source, false), "legacy") != NULL);
	ATF_CHECK(xlate_matches(&virtio_net_xlate, 0x020000, 0x1af4, 0x1041));
	ATF_CHECK(!xlate_matches(&virtio_net_xlate, 0x020000, 0x1af4, 0x1000));
	ATF_CHECK(!xlate_matches(&virtio_net_xlate, 0x020000, 0x8086, 0x1041));
	ATF_CHECK(xlate_matches(&virtio_blk_xlate, 0x018000, 0x1af4, 0x1042));
	ATF_CHECK(xlate_matches(&virtio_other_xlate, 0xff0000, 0x1af4, 0x1005));
	ATF_CHECK(!xlate_matches(&virtio_other_xlate, 0xff0000, 0x1af4, 0x1110));
}

ATF_TC_WITHOUT_HEAD(features_are_a_list);
ATF_TC_BODY(features_are_a_list, tc)
{
	uint64_t v;

	ready(0);
	/* The driver does not see what it cannot have. */
	for (uint32_t i = 0; i < 3; i++) {
		ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_FEATURE_SELECT, 4, i));
		v = UINT32_MAX;
		see(COMMON_DEVICE_FEATURE, 4, &v);
		if (i == 0)
			ATF_CHECK_EQ(VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
			    v & 0xff000000);
		if (i == 1)
			ATF_CHECK_EQ((VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM |
			    VIRTIO_F_ORDER_PLATFORM | VIRTIO_NET_F_SPEED_DUPLEX) >> 32, v);
		if (i == 2)
			ATF_CHECK_EQ(0, v);
	}
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_DEVICE_FEATURE_SELECT, 4, 0x10000));
	/* Nor write it. */
	for (uint32_t bit = 0; bit < 64; bit++) {
		ATF_REQUIRE_EQ(RULE_NONE, common(COMMON_DRIVER_FEATURE_SELECT, 4, bit / 32));
		ATF_CHECK_EQ_MSG((device.fact[FACT_ALLOWED] & BIT(bit)) != 0 ? RULE_NONE :
		    RULE_FEATURE, common(COMMON_DRIVER_FEATURE, 4, 1u << bit % 32), "%u", bit);
	}
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DRIVER_FEATURE_SELECT, 4, 2));
	ATF_CHECK_EQ(RULE_FEATURE, common(COMMON_DRIVER_FEATURE, 4, 1));
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DRIVER_FEATURE, 4, 0));
	ATF_CHECK_EQ(0, out.count);
	/* What must be agreed upon. */
	ready(AGREED & ~VIRTIO_F_VERSION_1);
	ATF_CHECK_EQ(RULE_FEATURE, common(COMMON_DEVICE_STATUS, 1, 11));
	ready(AGREED & ~VIRTIO_F_ACCESS_PLATFORM);
	ATF_CHECK_EQ(RULE_FEATURE, common(COMMON_DEVICE_STATUS, 1, 11));
	device.remapped = false;
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 11));
	/* And no more after that, until a reset. */
	ready(AGREED);
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 11));
	ATF_CHECK_EQ(5, out.count);
	ATF_CHECK_EQ((uint32_t)AGREED, out.v[1].value);
	ATF_CHECK_EQ(AGREED >> 32, out.v[3].value);
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DRIVER_FEATURE, 4, 0));
}

ATF_TC_WITHOUT_HEAD(without_an_iommu_the_kernel_agrees_upon_tables);
ATF_TC_BODY(without_an_iommu_the_kernel_agrees_upon_tables, tc)
{
	make();
	device.remapped = false;
	ATF_REQUIRE(open_it());
	ATF_CHECK_EQ(VIRTIO_F_INDIRECT_DESC, device.fact[FACT_TABLES]);
	device.stopped = true;
	device.fact[FACT_FEATURES] = VIRTIO_F_VERSION_1;
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 11));
	ATF_CHECK_EQ(VIRTIO_F_INDIRECT_DESC, out.v[1].value);
	/* Not where the device does not offer them, nor behind a unit. */
	make();
	device.remapped = false;
	features &= ~VIRTIO_F_INDIRECT_DESC;
	ATF_REQUIRE(open_it());
	ATF_CHECK_EQ(0, device.fact[FACT_TABLES]);
	make();
	ATF_REQUIRE(open_it());
	ATF_CHECK_EQ(0, device.fact[FACT_TABLES]);
}

ATF_TC_WITHOUT_HEAD(the_order_of_a_start_is_the_manuals);
ATF_TC_BODY(the_order_of_a_start_is_the_manuals, tc)
{
	uint64_t v;

	/* Not before it was seen to have stopped. */
	make();
	ATF_REQUIRE(open_it());
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DRIVER_FEATURE, 4, 0));
	ready(AGREED);
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DEVICE_STATUS, 1, 15));	/* features not seen */
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 11));
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DEVICE_STATUS, 1, 15));
	v = 3;				/* the device did not take them */
	see(COMMON_DEVICE_STATUS, 1, &v);
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DEVICE_STATUS, 1, 15));
	v = 0xff;			/* it is gone */
	ATF_CHECK_EQ(XLATE_ACCESS, see(COMMON_DEVICE_STATUS, 1, &v));
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DEVICE_STATUS, 1, 15));
	v = 11;
	see(COMMON_DEVICE_STATUS, 1, &v);
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DEVICE_STATUS, 1, 7));	/* no bit goes off */
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_DEVICE_STATUS, 1, 11 | 16));
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_DEVICE_STATUS, 1, 11 | 64));
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 15));
	ATF_CHECK_EQ(XLATE_START, out.effect);
	device.running = true;
	device.stopped = false;
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 15));	/* again: no start */
	ATF_CHECK_EQ(XLATE_ACCESS, out.effect);
	v = 15;
	ATF_CHECK_EQ(XLATE_READY, see(COMMON_DEVICE_STATUS, 1, &v));
	v = 0;				/* by itself: that is no stop that we asked for */
	ATF_CHECK_EQ(XLATE_ACCESS, see(COMMON_DEVICE_STATUS, 1, &v));
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_DEVICE_STATUS, 1, 0));
	ATF_CHECK_EQ(XLATE_STOP, out.effect);
	device.running = false;
	virtio_net_xlate.reset(&device);
	v = 15;
	ATF_CHECK_EQ(XLATE_ACCESS, see(COMMON_DEVICE_STATUS, 1, &v));
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_DEVICE_STATUS, 1, 4));
	v = 0;
	ATF_CHECK_EQ(XLATE_STOPPED, see(COMMON_DEVICE_STATUS, 1, &v));
}

ATF_TC_WITHOUT_HEAD(the_kernel_writes_queue_addresses_behind_a_size_that_is_read_back);
ATF_TC_BODY(the_kernel_writes_queue_addresses_behind_a_size_that_is_read_back, tc)
{
	static const struct xlate_write want[] = {
		{ COMMON + COMMON_QUEUE_SELECT, 2, 1, true },
		{ COMMON + COMMON_QUEUE_SIZE, 2, 64, true },
		{ COMMON + COMMON_QUEUE_DESC, 4, (uint32_t)BUS_SQ, false },
		{ COMMON + COMMON_QUEUE_DESC + 4, 4, BUS_SQ >> 32, false },
		{ COMMON + COMMON_QUEUE_DRIVER, 4, (uint32_t)(BUS_SQ + 64 * 16), false },
		{ COMMON + COMMON_QUEUE_DRIVER + 4, 4, BUS_SQ >> 32, false },
		{ COMMON + COMMON_QUEUE_DEVICE, 4, (uint32_t)BUS_CQ, false },
		{ COMMON + COMMON_QUEUE_DEVICE + 4, 4, BUS_CQ >> 32, false },
		{ COMMON + COMMON_QUEUE_ENABLE, 2, 1, false },
	};
	static const uint64_t name[] = { NAME_SQ, NAME_SQ + 64 * 16, NAME_CQ };

	ready(AGREED);
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_SELECT, 2, 1));
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_ENABLE, 2, 1));	/* not bound */
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_DESC, 8, NAME_SQ));
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_SIZE, 2, 64));
	bind(1, 64);
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_QUEUE_ENABLE, 2, 1));	/* no features yet */
	features_ok();
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_SIZE, 2, 128));
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_SIZE, 2, 64));
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t at = COMMON_QUEUE_DESC + 8 * i;

		ATF_CHECK_EQ(RULE_NONE, common(at, 8, name[i]));
		ATF_CHECK_EQ(0, out.count);		/* not what the device gets */
		ATF_CHECK_EQ(RULE_NONE, common(at, 4, (uint32_t)name[i]));
		ATF_CHECK_EQ(RULE_NONE, common(at + 4, 4, name[i] >> 32));
		ATF_CHECK_EQ(RULE_VALUE, common(at, 8, name[i] + 16));
		ATF_CHECK_EQ(RULE_VALUE, common(at, 4, 0));
		ATF_CHECK_EQ(RULE_VALUE, common(at + 4, 4, 0));
		ATF_CHECK_EQ(RULE_REGISTER, common(at, 2, 0));
		/* Where the rings are is nobody's to read. */
		ATF_CHECK_EQ(RULE_REGISTER, virtio_net_xlate.may_read(&device, COMMON + at, 4));
		ATF_CHECK_EQ(RULE_REGISTER, virtio_net_xlate.may_read(&device, COMMON + at, 8));
		ATF_CHECK_EQ(RULE_REGISTER, virtio_net_xlate.may_read(&device, COMMON + at + 4, 4));
	}
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_QUEUE_ENABLE, 2, 0));
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_QUEUE_ENABLE, 2, 2));
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_ENABLE, 2, 1));
	ATF_REQUIRE_EQ(sizeof(want) / sizeof(want[0]), out.count);
	for (uint32_t i = 0; i < out.count; i++) {
		ATF_CHECK_EQ(want[i].offset, out.v[i].offset);
		ATF_CHECK_EQ(want[i].width, out.v[i].width);
		ATF_CHECK_EQ(want[i].value, out.v[i].value);
		ATF_CHECK_EQ(want[i].verify, out.v[i].verify);
	}
	/* Once, until a reset. */
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_ENABLE, 2, 1));
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_DESC, 8, NAME_SQ));
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_SIZE, 2, 64));
	virtio_net_xlate.reset(&device);
	ATF_CHECK(!device.queue[1].enabled);
	/* Nor while the device runs, or with entries of another life. */
	ready(AGREED);
	bind(1, 64);
	features_ok();
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_SELECT, 2, 1));
	device.queue[1].used = true;
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_ENABLE, 2, 1));
	device.queue[1].used = false;
	device.running = true;
	ATF_CHECK_EQ(RULE_ORDER, common(COMMON_QUEUE_ENABLE, 2, 1));
	device.running = false;
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_SELECT, 2, 0xffff));
	ATF_CHECK_EQ(RULE_QUEUE, common(COMMON_QUEUE_ENABLE, 2, 1));
}

ATF_TC_WITHOUT_HEAD(queues_are_what_the_device_takes);
ATF_TC_BODY(queues_are_what_the_device_takes, tc)
{
	make();
	ATF_REQUIRE(open_it());
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_SELECT, 2, 2));
	queue_select = 2;
	bind(1, QUEUE_MOST);
	ATF_CHECK_EQ(2, queue_select);		/* the driver's selection is left alone */
	ATF_CHECK_EQ(NOTIFY + 8, virtio_net_xlate.doorbell(&device, 1, false));
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, QUEUE_MOST * 2));
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, 3));
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, 0));
	queue_most = 0;
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, 2));
	queue_most = QUEUE_MOST;
	notify_off = 0x3ff;			/* the last place, and the one after it */
	ATF_CHECK(virtio_net_xlate.bind(&device, &source, 1, 2));
	notify_off = 0x400;
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, 2));
	notify_off = 0xffff;
	device.fact[FACT_MULTIPLIER] = UINT32_MAX;
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, 2));
	notify_off = 1;
	device.fact[FACT_MULTIPLIER] = 1;	/* not a place for 16 bits */
	ATF_CHECK(!virtio_net_xlate.bind(&device, &source, 1, 2));
}

ATF_TC_WITHOUT_HEAD(registers_are_lists);
ATF_TC_BODY(registers_are_lists, tc)
{
	uint32_t readable = 0, writable = 0;
	uint64_t v;

	ready(AGREED);
	bind(0, 64);
	for (uint32_t at = 0; at < 0x4000; at++)
		for (unsigned width = 1; width <= 8; width *= 2) {
			if (at % width != 0)
				continue;
			/* ISR: one byte; device configuration: all of it, in words. */
			if (virtio_net_xlate.may_read(&device, COMMON + at, width) == RULE_NONE) {
				ATF_CHECK(at < 0x20 || (at == 0x1000 && width == 1) ||
				    (at >= 0x2000 && at < 0x3000 && width <= 4));
				readable++;
			}
			if (put(COMMON + at, width, 0) != RULE_REGISTER) {
				ATF_CHECK_MSG(at < COMMON_BYTES, "write at %#x", at);
				writable++;
			}
		}
	ATF_CHECK_EQ(13 + 1 + 0x1000 + 0x800 + 0x400, readable);
	/* Three selects, features, status, two vectors, size, enable; three names of 8 or 4 + 4. */
	ATF_CHECK_EQ(9 + 9, writable);
	ATF_CHECK_EQ(RULE_REGISTER, put(NOTIFY, 2, 0));
	ATF_CHECK_EQ(RULE_REGISTER, put(NOTIFY, 4, 0));
	ATF_CHECK_EQ(RULE_REGISTER, put(COMMON + COMMON_NUM_QUEUES, 2, 1));
	ATF_CHECK_EQ(RULE_REGISTER, virtio_net_xlate.may_read(&device, 0x14, 1));	/* BAR 0 */
	/* Vectors that are there, or none. */
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_MSIX_VECTOR, 2, 3));
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_QUEUE_MSIX_VECTOR, 2, 4));
	ATF_CHECK_EQ(RULE_NONE, common(COMMON_QUEUE_MSIX_VECTOR, 2, VIRTIO_NO_VECTOR));
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_CONFIG_MSIX_VECTOR, 2, 4));
	ATF_CHECK_EQ(RULE_VALUE, common(COMMON_QUEUE_MSIX_VECTOR, 2, 0x10000));
	v = 1000;
	see(COMMON_NUM_QUEUES, 2, &v);
	ATF_CHECK_EQ(XLATE_QUEUES_MAX, v);
	/* The block device's cache mode, when that was agreed upon. */
	make();
	ATF_REQUIRE(virtio_blk_xlate.open(&device, &source));
	ATF_CHECK_EQ(RULE_REGISTER,
	    virtio_blk_xlate.write(&device, DEVICE + BLK_WRITEBACK, 1, 0, &out));
	device.fact[FACT_FEATURES] = VIRTIO_BLK_F_CONFIG_WCE;
	ATF_CHECK_EQ(
	    RULE_NONE, virtio_blk_xlate.write(&device, DEVICE + BLK_WRITEBACK, 1, 1, &out));
	ATF_CHECK_EQ(
	    RULE_VALUE, virtio_blk_xlate.write(&device, DEVICE + BLK_WRITEBACK, 1, 2, &out));
	ATF_CHECK_EQ(
	    RULE_REGISTER, virtio_blk_xlate.write(&device, DEVICE + BLK_WRITEBACK, 2, 1, &out));
	ATF_CHECK_EQ(
	    RULE_REGISTER, virtio_blk_xlate.write(&device, DEVICE + BLK_CAPACITY, 1, 1, &out));
	ATF_CHECK(virtio_blk_xlate.may_read(&device, ISR, 1) == RULE_NONE);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, structures_are_found_and_must_make_sense);
	ATF_TP_ADD_TC(tp, devices_that_cannot_be_had_are_named);
	ATF_TP_ADD_TC(tp, features_are_a_list);
	ATF_TP_ADD_TC(tp, without_an_iommu_the_kernel_agrees_upon_tables);
	ATF_TP_ADD_TC(tp, the_order_of_a_start_is_the_manuals);
	ATF_TP_ADD_TC(tp, the_kernel_writes_queue_addresses_behind_a_size_that_is_read_back);
	ATF_TP_ADD_TC(tp, queues_are_what_the_device_takes);
	ATF_TP_ADD_TC(tp, registers_are_lists);
	return atf_no_error();
}
