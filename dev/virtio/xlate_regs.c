/*
 * The registers of virtio devices: where they are, which features there are, and what a driver may
 * write and read.  xlate.c tells what is checked and against what.
 *
 * Order    of a start, as the manual has it [3.1.1]: status 0, which reads back; features; then
 *          FEATURES_OK, which reads back; queues; DRIVER_OK.  Each step is refused before the one
 *          that it needs.
 * Manual   VIRTIO 1.2.
 */
#include "dev/virtio/xlate.h"
#include "dev/virtio/xlate_parts.h"

enum : uint64_t {
	SELECT_QUEUE = BITS(15, 0),
	SELECT_DEVICE_FEATURE = BITS(31, 16),
	SELECT_DRIVER_FEATURE = BITS(47, 32),
	FEATURES_SEEN = BIT(8),		/* the device said FEATURES_OK */

	ALLOWED_ALL = VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 |
	    VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_ORDER_PLATFORM,
	/* They say what is in packets, or which settings the control queue takes. */
	ALLOWED_NET = ALLOWED_ALL | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM |
	    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MAC |
	    VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN |
	    VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN |
	    VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ |
	    VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_VLAN | VIRTIO_NET_F_GUEST_ANNOUNCE |
	    VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_MAC_ADDR | VIRTIO_NET_F_SPEED_DUPLEX,
	/* They say which requests there are, and how large they may be. */
	ALLOWED_BLK = ALLOWED_ALL | VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX |
	    VIRTIO_BLK_F_GEOMETRY | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
	    VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_MQ |
	    VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES,
};

enum : uint32_t { CONFIG_DEVICE_ID = 0x02 };

static const char *
unfit(const struct xlate_source *s, bool remapped)
{
	struct virtio_places p;
	uint64_t features;

	if (!virtio_find_places(s, &p))
		return (uint16_t)s->config(s->arg, CONFIG_DEVICE_ID, 2) < VIRTIO_PCI_MODERN ?
		    "legacy virtio: it has no modern interface" :
		    "virtio without the capabilities that say where its registers are";
	if (!remapped)
		return NULL;
	features = virtio_offered(s, lo(p.at[CFG_COMMON]));
	if (features == UINT64_MAX)
		return "virtio whose registers do not answer";
	return (features & VIRTIO_F_ACCESS_PLATFORM) != 0 ? NULL :
	    "virtio without ACCESS_PLATFORM: it would go past its IOMMU";
}

static bool
open(struct xlate_device *d, const struct xlate_source *s, uint64_t allowed)
{
	uint64_t need = VIRTIO_F_VERSION_1 | (d->remapped ? VIRTIO_F_ACCESS_PLATFORM : 0);
	uint64_t features;
	struct virtio_places p;

	if (!virtio_find_places(s, &p))
		return false;
	for (unsigned i = CFG_COMMON; i <= CFG_DEVICE; i++)
		if (p.at[i] != 0 && !range_within(lo(p.at[i]) & XLATE_REGISTER_OFFSET, hi(p.at[i]),
		    0, d->bar_bytes[FIELD_GET(XLATE_REGISTER_BAR, lo(p.at[i]))]))
			return false;
	d->fact[FACT_COMMON] = p.at[CFG_COMMON];
	d->fact[FACT_NOTIFY] = p.at[CFG_NOTIFY];
	d->fact[FACT_ISR] = p.at[CFG_ISR];
	d->fact[FACT_DEVICE] = p.at[CFG_DEVICE];
	d->fact[FACT_MULTIPLIER] = p.multiplier;
	d->fact[FACT_ALLOWED] = allowed;
	features = virtio_offered(s, lo(p.at[CFG_COMMON]));
	if (features == UINT64_MAX || (features & need) != need)
		return false;
	d->fact[FACT_TABLES] = d->remapped ? 0 : features & VIRTIO_F_INDIRECT_DESC;
	/* How many there are depends on what will be agreed upon: a NIC of several pairs may say
	 * three until then.  Whether there is one is seen when it is enabled: its size reads
	 * back. */
	d->queues = XLATE_QUEUES_MAX;
	return s->read(s->arg, lo(p.at[CFG_COMMON]) + COMMON_NUM_QUEUES, 2) != 0;
}

static bool
open_net(struct xlate_device *d, const struct xlate_source *s)
{
	return open(d, s, ALLOWED_NET);
}

static bool
open_blk(struct xlate_device *d, const struct xlate_source *s)
{
	d->fact[FACT_WRITABLE] = 1 + BLK_WRITEBACK;
	return open(d, s, ALLOWED_BLK);
}

static bool
bind(struct xlate_device *d, const struct xlate_source *s, uint32_t id, uint32_t entries)
{
	uint32_t common = lo(d->fact[FACT_COMMON]), notify = lo(d->fact[FACT_NOTIFY]), most;
	uint64_t at;

	s->write(s->arg, common + COMMON_QUEUE_SELECT, 2, id);
	most = (uint16_t)s->read(s->arg, common + COMMON_QUEUE_SIZE, 2);
	at = (uint16_t)s->read(s->arg, common + COMMON_QUEUE_NOTIFY_OFF, 2) *
	    d->fact[FACT_MULTIPLIER];
	/* The driver finds what it had selected. */
	s->write(s->arg, common + COMMON_QUEUE_SELECT, 2,
	    FIELD_GET(SELECT_QUEUE, d->fact[FACT_SELECTS]));
	if (!is_pow2(entries) || entries > most || !is_aligned(at, 2) ||
	    !range_within(at, 2, 0, hi(d->fact[FACT_NOTIFY])))
		return false;
	d->queue[id].notify = notify + (uint32_t)at;
	return true;
}

static uint32_t
doorbell(const struct xlate_device *d, uint32_t id, bool completion UNUSED)
{
	return d->queue[id].notify;
}

/* ---- Registers ------------------------------------------------------------------------------- */

static void
reset(struct xlate_device *d)
{
	d->fact[FACT_FEATURES] = d->fact[FACT_SELECTS] = d->fact[FACT_STATUS] = 0;
	for (uint32_t i = 0; i < XLATE_QUEUES_MAX; i++)
		d->queue[i].enabled = false;
}

/* The offset in a structure, when all of the access lies in it; else all ones. */
static uint32_t
within(uint64_t place, uint32_t offset, unsigned width)
{
	return range_within(offset, width, lo(place), hi(place)) ? offset - lo(place) : UINT32_MAX;
}

static struct xlate_bound *
selected(struct xlate_device *d)
{
	uint64_t id = FIELD_GET(SELECT_QUEUE, d->fact[FACT_SELECTS]);

	return id < d->queues && d->queue[id].bound ? &d->queue[id] : NULL;
}

static void
put(struct xlate_writes *out, uint32_t offset, uint32_t width, uint64_t value, bool verify)
{
	out->v[out->count++] = (struct xlate_write){ offset, width, value, verify };
}

static enum dma_rule
write_status(struct xlate_device *d, uint32_t at, uint32_t value, struct xlate_writes *out)
{
	uint64_t old = d->fact[FACT_STATUS], f = d->fact[FACT_FEATURES];
	uint64_t need = VIRTIO_F_VERSION_1 | (d->remapped ? VIRTIO_F_ACCESS_PLATFORM : 0);
	uint32_t common = lo(d->fact[FACT_COMMON]);

	if (value == 0) {
		put(out, at, 1, 0, false);
		out->effect = XLATE_STOP;	/* and with it, reset */
		return RULE_NONE;
	}
	if ((value & ~(uint32_t)(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK |
	    STATUS_FEATURES_OK | STATUS_FAILED)) != 0)
		return RULE_VALUE;
	/* No bit goes off but by a reset [2.1.1]. */
	if ((old & ~(uint64_t)value & 0xff) != 0)
		return RULE_ORDER;
	if ((value & STATUS_FEATURES_OK) != 0 && (f & need) != need)
		return RULE_FEATURE;
	/* What is agreed upon is what is kept here. */
	if ((value & STATUS_FEATURES_OK) != 0 && (old & STATUS_FEATURES_OK) == 0)
		for (uint32_t i = 0; i < 2; i++) {
			put(out, common + COMMON_DRIVER_FEATURE_SELECT, 4, i, true);
			put(out, common + COMMON_DRIVER_FEATURE, 4,
			    (uint32_t)((f | d->fact[FACT_TABLES]) >> 32 * i), false);
		}
	if ((value & STATUS_DRIVER_OK) != 0 && (old & STATUS_DRIVER_OK) == 0) {
		if ((old & FEATURES_SEEN) == 0 || !d->stopped)
			return RULE_ORDER;
		out->effect = XLATE_START;
	}
	put(out, at, 1, value, false);
	d->fact[FACT_STATUS] = old | value;
	return RULE_NONE;
}

/* The selected queue, as the kernel bound it. */
static enum dma_rule
enable(struct xlate_device *d, uint32_t value, struct xlate_writes *out)
{
	uint32_t common = lo(d->fact[FACT_COMMON]);
	struct xlate_bound *b = selected(d);

	if (value != 1)
		return RULE_VALUE;
	if (b == NULL || b->enabled || b->used)
		return RULE_QUEUE;
	if ((d->fact[FACT_STATUS] & FEATURES_SEEN) == 0 || d->running || !d->stopped)
		return RULE_ORDER;
	put(out, common + COMMON_QUEUE_SELECT, 2, (uint32_t)(b - d->queue), true);
	put(out, common + COMMON_QUEUE_SIZE, 2, b->entries, true);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t v = i == 0 ? b->sq_address :
		    i == 1 ? b->sq_address + vring_avail(b->entries) : b->cq_address;
		uint32_t at = common + COMMON_QUEUE_DESC + 8 * i;

		put(out, at, 4, lo(v), false);
		put(out, at + 4, 4, hi(v), false);
	}
	put(out, common + COMMON_QUEUE_ENABLE, 2, 1, false);
	b->enabled = true;
	return RULE_NONE;
}

/* The kernel writes these itself, when the queue is enabled; the driver may only say what it knows
 * already. */
static enum dma_rule
write_name(struct xlate_device *d, uint32_t at, unsigned width, uint64_t value)
{
	const struct xlate_bound *b = selected(d);
	uint64_t name;

	if (b == NULL || b->enabled)
		return RULE_QUEUE;
	name = at < COMMON_QUEUE_DRIVER ? b->sq_name :
	    at < COMMON_QUEUE_DEVICE    ? b->sq_name + vring_avail(b->entries) : b->cq_name;
	if (width == 4)
		name = (at & 4) != 0 ? hi(name) : lo(name);
	return value == name ? RULE_NONE : RULE_VALUE;
}

static enum dma_rule
write_features(struct xlate_device *d, uint32_t value, struct xlate_writes *out)
{
	uint32_t common = lo(d->fact[FACT_COMMON]);
	uint64_t select = FIELD_GET(SELECT_DRIVER_FEATURE, d->fact[FACT_SELECTS]), mask, v;

	if ((d->fact[FACT_STATUS] & STATUS_FEATURES_OK) != 0 || d->running || !d->stopped)
		return RULE_ORDER;
	if (select > 1) {
		if (value != 0)
			return RULE_FEATURE;
		return RULE_NONE;
	}
	mask = (uint64_t)UINT32_MAX << 32 * select;
	v = (uint64_t)value << 32 * select;
	if ((v & ~d->fact[FACT_ALLOWED]) != 0)
		return RULE_FEATURE;
	put(out, common + COMMON_DRIVER_FEATURE_SELECT, 4, select, true);
	put(out, common + COMMON_DRIVER_FEATURE, 4, value, false);
	d->fact[FACT_FEATURES] = (d->fact[FACT_FEATURES] & ~mask) | v;
	return RULE_NONE;
}

/* A select register.  What is wider than what is kept names nothing. */
static enum dma_rule
write_select(struct xlate_device *d, uint32_t offset, unsigned width, uint64_t mask, uint32_t value,
    struct xlate_writes *out)
{
	if (value > FIELD_MAX(mask))
		return RULE_VALUE;
	put(out, offset, width, value, false);
	d->fact[FACT_SELECTS] = (d->fact[FACT_SELECTS] & ~mask) | FIELD_PREP(mask, value);
	return RULE_NONE;
}

static enum dma_rule
write_common(struct xlate_device *d, uint32_t offset, uint32_t at, unsigned width, uint64_t value,
    struct xlate_writes *out)
{
	const struct xlate_bound *b;

	if (at >= COMMON_QUEUE_DESC && at < COMMON_BYTES && width >= 4)
		return write_name(d, at, width, value);
	switch (at << 4 | width) {
	case COMMON_DEVICE_FEATURE_SELECT << 4 | 4:
		return write_select(d, offset, 4, SELECT_DEVICE_FEATURE, lo(value), out);
	case COMMON_DRIVER_FEATURE_SELECT << 4 | 4:
		return write_select(d, offset, 4, SELECT_DRIVER_FEATURE, lo(value), out);
	case COMMON_QUEUE_SELECT << 4 | 2:
		return write_select(d, offset, 2, SELECT_QUEUE, lo(value), out);
	case COMMON_DRIVER_FEATURE << 4 | 4:
		return write_features(d, lo(value), out);
	case COMMON_DEVICE_STATUS << 4 | 1:
		return write_status(d, offset, lo(value), out);
	case COMMON_CONFIG_MSIX_VECTOR << 4 | 2:
	case COMMON_QUEUE_MSIX_VECTOR << 4 | 2:
		if (value != VIRTIO_NO_VECTOR && value >= d->vectors)
			return RULE_VALUE;
		put(out, offset, 2, value, false);
		return RULE_NONE;
	case COMMON_QUEUE_SIZE << 4 | 2:
		b = selected(d);
		if (b == NULL || b->enabled || value != b->entries)
			return RULE_QUEUE;
		put(out, offset, 2, value, false);
		return RULE_NONE;
	case COMMON_QUEUE_ENABLE << 4 | 2:
		return enable(d, lo(value), out);
	}
	return RULE_REGISTER;
}

static enum dma_rule
write(struct xlate_device *d, uint32_t offset, unsigned width, uint64_t value,
    struct xlate_writes *out)
{
	uint32_t at = within(d->fact[FACT_COMMON], offset, width);

	*out = (struct xlate_writes){ .effect = XLATE_ACCESS };
	if (width < 8 && value >> 8 * width != 0)
		return RULE_VALUE;
	if (at != UINT32_MAX)
		return write_common(d, offset, at, width, value, out);
	at = within(d->fact[FACT_DEVICE], offset, width);
	if (at != UINT32_MAX && width == 1 && at + 1 == d->fact[FACT_WRITABLE] &&
	    agreed(d, VIRTIO_BLK_F_CONFIG_WCE)) {
		if (value > 1)
			return RULE_VALUE;
		put(out, offset, 1, value, false);
		return RULE_NONE;
	}
	return RULE_REGISTER;
}

static enum dma_rule
may_read(const struct xlate_device *d, uint32_t offset, unsigned width)
{
	uint32_t at = within(d->fact[FACT_COMMON], offset, width);

	if (at != UINT32_MAX)
		switch (at << 4 | width) {
		case COMMON_DEVICE_FEATURE_SELECT << 4 | 4:
		case COMMON_DEVICE_FEATURE << 4 | 4:
		case COMMON_DRIVER_FEATURE_SELECT << 4 | 4:
		case COMMON_DRIVER_FEATURE << 4 | 4:
		case COMMON_CONFIG_MSIX_VECTOR << 4 | 2:
		case COMMON_NUM_QUEUES << 4 | 2:
		case COMMON_DEVICE_STATUS << 4 | 1:
		case COMMON_CONFIG_GENERATION << 4 | 1:
		case COMMON_QUEUE_SELECT << 4 | 2:
		case COMMON_QUEUE_SIZE << 4 | 2:
		case COMMON_QUEUE_MSIX_VECTOR << 4 | 2:
		case COMMON_QUEUE_ENABLE << 4 | 2:
		case COMMON_QUEUE_NOTIFY_OFF << 4 | 2:
			return RULE_NONE;
		default:	/* above all, where the rings are */
			return RULE_REGISTER;
		}
	if (within(d->fact[FACT_ISR], offset, width) == 0 && width == 1)
		return RULE_NONE;
	return within(d->fact[FACT_DEVICE], offset, width) != UINT32_MAX && width <= 4 ?
	    RULE_NONE : RULE_REGISTER;
}

static enum xlate_effect
seen(struct xlate_device *d, uint32_t offset, unsigned width, uint64_t *value)
{
	uint64_t select;

	switch (within(d->fact[FACT_COMMON], offset, width)) {
	case COMMON_DEVICE_FEATURE:
		select = FIELD_GET(SELECT_DEVICE_FEATURE, d->fact[FACT_SELECTS]);
		*value &= select > 1 ? 0 : (uint32_t)(d->fact[FACT_ALLOWED] >> 32 * select);
		return XLATE_ACCESS;
	case COMMON_NUM_QUEUES:
		if (*value > d->queues)
			*value = d->queues;
		return XLATE_ACCESS;
	case COMMON_DEVICE_STATUS:
		break;
	default:
		return XLATE_ACCESS;
	}
	if (*value == 0)
		return d->running ? XLATE_ACCESS : XLATE_STOPPED;
	if (*value != 0xff && (*value & d->fact[FACT_STATUS] & STATUS_FEATURES_OK) != 0)
		d->fact[FACT_STATUS] |= FEATURES_SEEN;
	return d->running && *value != 0xff && (*value & STATUS_DRIVER_OK) != 0 ? XLATE_READY :
										  XLATE_ACCESS;
}

#define VIRTIO_CLASS(called, first, open_function) { \
	.name = called, .vendor = VIRTIO_PCI_VENDOR, .device_first = first, \
	.device_last = first, .entries_max = 1024, .split = &virtio_split, .unfit = unfit, \
	.open = open_function, .bind = bind, .reset = reset, .doorbell = doorbell, \
	.write = write, .may_read = may_read, .seen = seen, \
}

const struct xlate_class virtio_net_xlate =
    VIRTIO_CLASS("virtio-net", VIRTIO_PCI_NET, open_net);
const struct xlate_class virtio_blk_xlate =
    VIRTIO_CLASS("virtio-blk", VIRTIO_PCI_BLK, open_blk);

/* Every virtio device, for what is against having it at all. */
const struct xlate_class virtio_other_xlate = {
	.name = "virtio", .vendor = VIRTIO_PCI_VENDOR, .device_first = VIRTIO_PCI_FIRST,
	.device_last = VIRTIO_PCI_LAST, .unfit = unfit,
};
