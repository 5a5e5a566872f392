/*
 * How a virtio device is made to write a few bytes, for the live test of its IOMMU.
 *
 *   network  one command on the control queue; the device answers with one byte, whatever it
 *            thinks of the command.  A device without a control queue writes only when a packet
 *            happens to arrive: there is no test for it
 *   block    a read of the first block: all but its last four bytes go to the spill page, those to
 *            the target
 *
 * A virtio device may take a buffer that it cannot reach for a fault of its driver: it sets
 * NEEDS_RESET and answers nothing.  So each store begins with a reset and a start of its own, the
 * manual's order in full, and what becomes of the one that must not arrive is the device's affair:
 * it may complete, ask to be reset, or keep silent until COMMAND_NS are over.
 *
 *   stop     status 0, until it reads 0; then the addresses of the queue read back as 0
 *   start    its registers are found, and it offers what is needed
 *   store    status 0 until it reads 0, features, one queue of ENTRIES places, DRIVER_OK; one
 *            chain, the notification, its used entry
 *
 *     to the device    [ descriptors | available ring | ... | command, or head of the request ]
 *     from the device  [ used ring | ... | status of the request ]
 *
 * No interrupt is asked for, in the way of either kind of device (with EVENT_IDX or without; with
 * it a device has no reason to read its used ring, which it may only write).  A pure function of
 * registers, two pages and the time it is told.
 * Manual   VIRTIO 1.2: 2.1 status, 2.7 split virtqueues, 3.1 initialization, 4.1 PCI, 5.1.6.5
 *          control queue, 5.2.6 block requests.
 */
#include "dev/virtio/canary.h"
#include "dev/virtio/vring.h"
#include "dev/virtio/xlate_parts.h"
#include "kern/base/mmio.h"

enum : uint32_t { ENTRIES = 4, CHAIN_MAX = 4, ASK_AT = 2048, STATUS_AT = 2048 };
enum : uint64_t { RESET_NS = 10 * NS_PER_S, COMMAND_NS = 5 * NS_PER_S };
enum : uint32_t { CONTROL_QUEUE = 2 };	/* without MQ [5.1.2] */

/* canary.fact[] */
enum { FACT_STATUS_REGISTER, FACT_WRITABLE_BYTES, FACT_EVENT_INDEX, FACT_BLOCK_BYTES };

/* The steps of a store, and of a stop. */
enum { BEGIN, RESETTING, WAITING };

/* What is different. */
struct kind {
	uint32_t queue;
	uint64_t features;		/* wanted, beside what every device is asked for */
	/* The chain's descriptors, and what is read; how many descriptors. */
	uint32_t (*fill)(struct canary *c, struct virtq_desc *d);
};

static enum canary_said
no(struct canary *c, const char *why)
{
	c->why = why;
	c->step = BEGIN;
	return CANARY_NO;
}

static enum canary_said
done(struct canary *c)
{
	c->step = BEGIN;
	return CANARY_DONE;
}

static uint32_t
rd(struct canary *c, uint32_t at, unsigned width)
{
	uint64_t v = c->io.read(c->io.arg, at, width);

	return (uint32_t)(width == 1 ? v & 0xff : width == 2 ? v & 0xffff : v);
}

static void
wr(struct canary *c, uint32_t at, unsigned width, uint32_t value)
{
	c->io.write(c->io.arg, at, width, value);
}

static void
wr_address(struct canary *c, uint32_t at, uint64_t value)
{
	wr(c, at, 4, lo(value));
	wr(c, at + 4, 4, hi(value));
}

static uint8_t *
page(volatile uint64_t *words)
{
	return (uint8_t *)(uintptr_t)words;
}

/* The two pages are the device's too: every store is made, and in this order. */
static void put16(uint8_t *p, uint16_t v) { *(volatile uint16_t *)(void *)p = v; }
static uint16_t get16(const uint8_t *p) { return *(const volatile uint16_t *)(const void *)p; }
static uint32_t get32(const uint8_t *p) { return *(const volatile uint32_t *)(const void *)p; }

/* ---- Reset ---- */

static void
reset(struct canary *c, uint32_t common, uint64_t now)
{
	c->fact[FACT_STATUS_REGISTER] = common + COMMON_DEVICE_STATUS;
	wr(c, common + COMMON_DEVICE_STATUS, 1, 0);
	c->deadline = now + RESET_NS;
	c->step = RESETTING;
}

static enum canary_said
wait_reset(struct canary *c, uint64_t now)
{
	uint32_t s = rd(c, (uint32_t)c->fact[FACT_STATUS_REGISTER], 1);

	return s == 0		 ? CANARY_DONE :
	    s == 0xff		 ? no(c, "the device is gone: its registers read all ones") :
	    now >= c->deadline ? no(c, "the device did not reset itself") :
				   CANARY_GOES_ON;
}

static enum canary_said
stop(struct canary *c, uint64_t now, const struct kind *k)
{
	struct virtio_places p;
	enum canary_said said;
	uint32_t common, left = 0;

	if (!virtio_find_places(&c->io, &p))
		return no(c, "its registers cannot be found");
	common = lo(p.at[CFG_COMMON]);
	if (c->step == BEGIN)
		reset(c, common, now);
	said = wait_reset(c, now);
	if (said != CANARY_DONE)
		return said;
	wr(c, common + COMMON_QUEUE_SELECT, 2, k->queue);
	for (uint32_t i = COMMON_QUEUE_DESC; i < COMMON_BYTES; i += 4)
		left |= rd(c, common + i, 4);
	return left == 0 ? done(c) : no(c, "the device keeps the addresses of its queue");
}

/* ---- Start ---- */

enum : uint64_t { NEEDED = VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM };

static enum canary_said
start(struct canary *c, const struct kind *k)
{
	struct virtio_places p;
	uint64_t offers;

	if (!virtio_find_places(&c->io, &p))
		return no(c, "its registers cannot be found");
	offers = virtio_offered(&c->io, lo(p.at[CFG_COMMON]));
	if (offers == UINT64_MAX)
		return no(c, "the device is gone: its registers read all ones");
	if ((offers & NEEDED) != NEEDED)
		return no(c, "it does not offer VERSION_1 and ACCESS_PLATFORM");
	if (rd(c, lo(p.at[CFG_COMMON]) + COMMON_NUM_QUEUES, 2) <= k->queue)
		return no(c, "it has not got the queues that it should have");
	return done(c);
}

/* A device may refuse what is less than a block; one that is larger than a page is asked for a
 * sector. */
static uint32_t
block_bytes(struct canary *c, const struct virtio_places *p, uint64_t features)
{
	uint64_t where = p->at[CFG_DEVICE];
	uint32_t n;

	if ((features & VIRTIO_BLK_F_BLK_SIZE) == 0 ||
	    !range_within(BLK_BLK_SIZE, 4, 0, hi(where)))
		return BLK_SECTOR;
	n = rd(c, lo(where) + BLK_BLK_SIZE, 4);
	return n >= BLK_SECTOR && n <= PAGE_SIZE && is_pow2(n) ? n : BLK_SECTOR;
}

/* Features, the queue, DRIVER_OK.  NULL: it runs, and *notify is where it is told so. */
static const char *
bring_up(struct canary *c, const struct virtio_places *p, const struct kind *k, uint32_t *notify)
{
	const uint8_t so_far = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
	uint32_t common = lo(p->at[CFG_COMMON]), status = common + COMMON_DEVICE_STATUS;
	uint64_t wants = virtio_offered(&c->io, common) &
	    (NEEDED | VIRTIO_F_ORDER_PLATFORM | VIRTIO_F_EVENT_IDX | k->features);
	uint64_t at;

	c->fact[FACT_EVENT_INDEX] = wants & VIRTIO_F_EVENT_IDX;
	c->fact[FACT_BLOCK_BYTES] = block_bytes(c, p, wants & k->features);
	wr(c, status, 1, STATUS_ACKNOWLEDGE);
	wr(c, status, 1, so_far);
	for (uint32_t half = 0; half < 2; half++) {
		wr(c, common + COMMON_DRIVER_FEATURE_SELECT, 4, half);
		wr(c, common + COMMON_DRIVER_FEATURE, 4, (uint32_t)(wants >> 32 * half));
	}
	wr(c, status, 1, so_far | STATUS_FEATURES_OK);
	if ((rd(c, status, 1) & STATUS_FEATURES_OK) == 0)
		return "it does not accept a part of the features that it offers";
	wr(c, common + COMMON_QUEUE_SELECT, 2, k->queue);
	if (rd(c, common + COMMON_QUEUE_SIZE, 2) < ENTRIES)
		return "its queue is too short";
	wr(c, common + COMMON_QUEUE_SIZE, 2, ENTRIES);
	if (rd(c, common + COMMON_QUEUE_SIZE, 2) != ENTRIES)
		return "its queue does not take the size that it is given";
	at = (uint64_t)rd(c, common + COMMON_QUEUE_NOTIFY_OFF, 2) * p->multiplier;
	if (!is_aligned(at, 2) || !range_within(at, 2, 0, hi(p->at[CFG_NOTIFY])))
		return "a queue's notify register lies outside of those registers";
	*notify = lo(p->at[CFG_NOTIFY]) + (uint32_t)at;
	wr_address(c, common + COMMON_QUEUE_DESC, c->to_device_address);
	wr_address(c, common + COMMON_QUEUE_DRIVER, c->to_device_address + vring_avail(ENTRIES));
	wr_address(c, common + COMMON_QUEUE_DEVICE, c->from_device_address);
	wr(c, common + COMMON_QUEUE_ENABLE, 2, 1);
	wr(c, status, 1, so_far | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	return NULL;
}

/* ---- Store ---- */

static void
wipe(struct canary *c)
{
	for (uint32_t i = 0; i < PAGE_SIZE / 8; i++)
		c->to_device[i] = c->from_device[i] = 0;
}

/* The one chain, at place 0. */
static void
submit(struct canary *c, const struct kind *k, uint32_t notify)
{
	struct virtq_desc d[CHAIN_MAX] = { 0 };
	uint8_t *to = page(c->to_device), *avail = to + vring_avail(ENTRIES);
	uint32_t n = k->fill(c, d), writable = 0;

	for (uint32_t i = 0; i < n; i++) {
		volatile uint64_t *at = c->to_device + 2 * (uint64_t)i;

		if (i + 1 < n)
			d[i].flags |= VIRTQ_DESC_F_NEXT;
		d[i].next = (uint16_t)(i + 1 < n ? i + 1 : 0);
		writable += (d[i].flags & VIRTQ_DESC_F_WRITE) != 0 ? d[i].len : 0;
		at[0] = d[i].addr;
		at[1] = d[i].len | (uint64_t)d[i].flags << 32 | (uint64_t)d[i].next << 48;
	}
	c->fact[FACT_WRITABLE_BYTES] = writable;
	put16(avail + VIRTQ_FLAGS, c->fact[FACT_EVENT_INDEX] != 0 ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
	put16(to + vring_used_event(ENTRIES), 0x8000);	/* far from now */
	put16(avail + VIRTQ_IDX, 1);		/* its entry is 0, the head */
	io_publish();
	wr(c, notify, 2, k->queue);
}

/* What the device says of the chain.  NULL: believed. */
static const char *
judge_used(const struct canary *c)
{
	const uint8_t *used = page(c->from_device);

	if (get16(used + VIRTQ_IDX) != 1)
		return "the device gives back buffers that it was not given";
	if (get32(used + VIRTQ_RING) != 0)
		return "the device gives back a chain that it was not given";
	if (get32(used + VIRTQ_RING + 4) > c->fact[FACT_WRITABLE_BYTES])
		return "the device says that it wrote more than it may";
	if (c->must_succeed && used[STATUS_AT] != BLK_S_OK)
		return "the device reports an error for a write that was granted";
	return NULL;
}

/* It has not given the chain back. */
static enum canary_said
nothing_yet(struct canary *c, uint64_t now)
{
	uint32_t s = rd(c, (uint32_t)c->fact[FACT_STATUS_REGISTER], 1);

	if (s == 0xff)
		return no(c, "the device is gone: its registers read all ones");
	if ((s & STATUS_NEEDS_RESET) == 0 && now < c->deadline)
		return CANARY_GOES_ON;
	if (!c->must_succeed)
		return done(c);
	return no(c,
	    (s & STATUS_NEEDS_RESET) != 0 ? "the device fails over a write that was granted" :
					    "the device did not complete a request");
}

static enum canary_said
store(struct canary *c, uint64_t now, const struct kind *k)
{
	const uint8_t *used = page(c->from_device);
	enum canary_said said;
	struct virtio_places p;
	const char *why;
	uint32_t notify;

	if (c->step != WAITING) {
		if (!virtio_find_places(&c->io, &p))
			return no(c, "its registers cannot be found");
		if (c->step == BEGIN)
			reset(c, lo(p.at[CFG_COMMON]), now);
		said = wait_reset(c, now);
		if (said != CANARY_DONE)
			return said;
		wipe(c);
		why = bring_up(c, &p, k, &notify);
		if (why != NULL)
			return no(c, why);
		submit(c, k, notify);
		c->deadline = now + COMMAND_NS;
		c->step = WAITING;
	}
	if (get16(used + VIRTQ_IDX) == 0)
		return nothing_yet(c, now);
	io_collect();
	c->heard = true;
	why = judge_used(c);
	return why != NULL ? no(c, why) : done(c);
}

/* Anything: what a disk holds, or nothing. */
static const char *
judge(const struct canary *c UNUSED, const volatile uint8_t *spill UNUSED)
{
	return NULL;
}

/* ---- Network ---- */

static uint32_t
fill_command(struct canary *c, struct virtq_desc *d)
{
	uint8_t *ask = page(c->to_device) + ASK_AT;

	ask[0] = NET_CTRL_RX;
	ask[1] = NET_CTRL_RX_PROMISC;
	ask[2] = 0;		/* off; all is forgotten with the reset */
	d[0] = (struct virtq_desc){ c->to_device_address + ASK_AT, 3, 0, 0 };
	d[1] = (struct virtq_desc){ c->target, 1, VIRTQ_DESC_F_WRITE, 0 };
	return 2;
}

static const struct kind net = { CONTROL_QUEUE, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX,
	fill_command };

static enum canary_said net_stop(struct canary *c, uint64_t now) { return stop(c, now, &net); }
static enum canary_said
net_start(struct canary *c, uint64_t now UNUSED)
{
	return start(c, &net);
}
static enum canary_said net_store(struct canary *c, uint64_t now) { return store(c, now, &net); }

static bool
net_fits(const struct xlate_source *s)
{
	struct virtio_places p;

	return virtio_find_places(s, &p) &&
	    (virtio_offered(s, lo(p.at[CFG_COMMON])) & VIRTIO_NET_F_CTRL_VQ) != 0;
}

/* ---- Block ---- */

static uint32_t
fill_request(struct canary *c, struct virtq_desc *d)
{
	uint32_t spill = (uint32_t)c->fact[FACT_BLOCK_BYTES] - CANARY_BYTES;

	static_assert(BLK_T_IN == 0);	/* and sector 0: the head is all zero */
	page(c->from_device)[STATUS_AT] = BLK_S_UNSUPP;
	d[0] = (struct virtq_desc){ c->to_device_address + ASK_AT, sizeof(struct virtio_blk_req),
		0, 0 };
	d[1] = (struct virtq_desc){ c->spill_address + PAGE_SIZE - spill, spill,
		VIRTQ_DESC_F_WRITE, 0 };
	d[2] = (struct virtq_desc){ c->target, CANARY_BYTES, VIRTQ_DESC_F_WRITE, 0 };
	d[3] = (struct virtq_desc){ c->from_device_address + STATUS_AT, 1, VIRTQ_DESC_F_WRITE, 0 };
	return CHAIN_MAX;
}

static const struct kind blk = { 0, VIRTIO_BLK_F_BLK_SIZE, fill_request };

static enum canary_said blk_stop(struct canary *c, uint64_t now) { return stop(c, now, &blk); }
static enum canary_said
blk_start(struct canary *c, uint64_t now UNUSED)
{
	return start(c, &blk);
}
static enum canary_said blk_store(struct canary *c, uint64_t now) { return store(c, now, &blk); }

const struct canary_class virtio_net_canary = {
	.name = "virtio-net", .vendor = VIRTIO_PCI_VENDOR,
	.device = { VIRTIO_PCI_NET, VIRTIO_PCI_NET_OLD }, .bytes = 1,
	.fits = net_fits, .stop = net_stop, .start = net_start, .store = net_store, .judge = judge,
};

const struct canary_class virtio_blk_canary = {
	.name = "virtio-blk", .vendor = VIRTIO_PCI_VENDOR,
	.device = { VIRTIO_PCI_BLK, VIRTIO_PCI_BLK_OLD }, .bytes = CANARY_BYTES,
	.stop = blk_stop, .start = blk_start, .store = blk_store, .judge = judge,
};
