/*
 * The PCI transport of virtio devices: pci.h.
 *
 * Vendor-specific capabilities name the parts of the registers: a BAR, an offset, a length each.
 * Nothing of that is believed before it was compared with the BAR as the kernel gives it; of two
 * parts of a kind the first that fits counts, as the manual says.
 *
 * The order of bring-up is the manual's: reset and wait until the status reads 0; ACKNOWLEDGE,
 * DRIVER; features, FEATURES_OK and read that back; queues; DRIVER_OK.  A queue's address registers
 * are written in halves of 32 bits, since wider accesses are not promised to work.
 *
 * A device that does not offer ACCESS_PLATFORM reaches memory past every IOMMU, by what it takes
 * for physical addresses.  Registers that are mapped here mean that an IOMMU is the only guard:
 * then it is not driven.  Where the kernel checks what the device is told, it decides.
 *
 * Manual   VIRTIO 1.2: 3.1 initialization, 4.1 PCI.
 */
#include "dev/virtio/pci.h"
#include "dev/virtio/vring.h"
#include "kern/base/bits.h"

enum : uint32_t {
	PCI_ID = 0x00,
	PCI_STATUS = 0x06,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_CAPS = 0x34,
	PCI_STATUS_CAPS = 0x10,
	CAPS_MAX = 48,
};
enum : uint64_t { RESET_NS = 10 * NS_PER_S, POLL_NS = NS_PER_MS };
enum { STILL_TRIES = 16 };

static const uint64_t always = VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_EVENT_IDX |
    VIRTIO_F_ORDER_PLATFORM;

static uint32_t
rd(struct virtio_pci *v, uint32_t r, unsigned width)
{
	const struct virtio_place *p = &v->common;

	return width == 1 ? drv_read8(&p->w, p->at + r) :
	    width == 2	  ? drv_read16(&p->w, p->at + r) :
			    drv_read32(&p->w, p->at + r);
}

static void
wr(struct virtio_pci *v, uint32_t r, unsigned width, uint32_t value)
{
	const struct virtio_place *p = &v->common;

	if (width == 1)
		drv_write8(&p->w, p->at + r, (uint8_t)value);
	else if (width == 2)
		drv_write16(&p->w, p->at + r, (uint16_t)value);
	else
		drv_write32(&p->w, p->at + r, value);
}

static uint8_t status(struct virtio_pci *v) { return (uint8_t)rd(v, COMMON_DEVICE_STATUS, 1); }

/* Opens each BAR once. */
static enum status
window(struct virtio_pci *v, uint8_t bar, struct drv_window *out)
{
	const struct virtio_place *have[] = { &v->common, &v->notify, &v->device };

	for (unsigned i = 0; i < ARRAY_SIZE(have); i++) {
		if (have[i]->len != 0 && have[i]->bar == bar) {
			*out = have[i]->w;
			return OK;
		}
	}
	return drv_window(v->dev, bar, out);
}

/* One capability: where a part is, if it is one that is used and that lies in its BAR. */
static enum status
part(struct virtio_pci *v, uint32_t cap, uint32_t len)
{
	uint8_t type = (uint8_t)drv_config(v->dev, cap + VCAP_CFG_TYPE, 1);
	uint8_t bar = (uint8_t)drv_config(v->dev, cap + VCAP_BAR, 1);
	struct virtio_place *p = type == CFG_COMMON ? &v->common :
	    type == CFG_NOTIFY			    ? &v->notify :
	    type == CFG_DEVICE			    ? &v->device :
						      NULL;
	struct virtio_place new = { .bar = bar };
	enum status s;

	if (p == NULL || p->len != 0 || bar >= VCAP_BARS ||
	    len < (type == CFG_NOTIFY ? VCAP_NOTIFY_BYTES : VCAP_BYTES))
		return OK;
	new.at = drv_config(v->dev, cap + VCAP_OFFSET, 4);
	new.len = drv_config(v->dev, cap + VCAP_LENGTH, 4);
	s = window(v, bar, &new.w);
	if (s != OK)
		return s;
	if ((new.at & 3) != 0 || new.len == 0 || !range_within(new.at, new.len, 0, new.w.len) ||
	    (type == CFG_COMMON && new.len < COMMON_BYTES))
		return OK;
	if (type == CFG_NOTIFY)
		v->notify_multiplier = drv_config(v->dev, cap + VCAP_NOTIFY_MULTIPLIER, 4);
	*p = new;
	return OK;
}

static enum status
find_parts(struct virtio_pci *v, const char **why)
{
	uint32_t at;
	enum status s = OK;

	*why = "its registers cannot be reached";
	if ((drv_config(v->dev, PCI_STATUS, 2) & PCI_STATUS_CAPS) == 0)
		return OK;
	at = drv_config(v->dev, PCI_CAPS, 1) & ~3u;
	for (unsigned n = 0; at >= 0x40 && n < CAPS_MAX && s == OK; n++) {
		uint32_t head = drv_config(v->dev, at, 4);

		if ((head & 0xff) == VCAP_VENDOR_ID)
			s = part(v, at, head >> 16 & 0xff);
		at = head >> 8 & 0xfc;
	}
	return s;
}

/* Status 0, and wait until it reads so: then the device has let go of everything. */
static enum status
reset(struct virtio_pci *v, const char **why)
{
	uint64_t until = drv_now() + RESET_NS;

	wr(v, COMMON_DEVICE_STATUS, 1, 0);
	for (;;) {
		uint64_t now = drv_now();
		uint8_t s = status(v);

		if (s == 0)
			return OK;
		if (s == 0xff) {
			*why = "the device is gone: its registers read all ones";
			return E_NO_DEVICE;
		}
		if (now > until) {
			*why = "the device did not reset itself";
			return E_TIMED_OUT;
		}
		(void)drv_wait(v->dev, now + POLL_NS);
	}
}

enum status
virtio_open(struct virtio_pci *v, struct drv_device *d, const char **why)
{
	uint32_t id = drv_config(d, PCI_ID, 4), type = id >> 16;
	enum status s;

	v->dev = d;
	if ((id & 0xffff) != VIRTIO_PCI_VENDOR || type < VIRTIO_PCI_FIRST ||
	    type > VIRTIO_PCI_LAST) {
		*why = "it is no virtio device";
		return E_UNSUPPORTED;
	}
	v->device_id = (uint16_t)(type >= VIRTIO_PCI_MODERN ? type - VIRTIO_PCI_MODERN :
							      drv_config(d, PCI_SUBSYSTEM_ID, 2));
	s = find_parts(v, why);
	if (s != OK)
		return s;
	if (v->common.len == 0 || v->notify.len == 0 || v->device.len == 0) {
		*why = "it has only the legacy interface of virtio";
		return E_UNSUPPORTED;
	}
	v->vectors = drv_vectors(d);
	return reset(v, why);
}

static uint64_t
offered(struct virtio_pci *v)
{
	uint64_t low;

	wr(v, COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	low = rd(v, COMMON_DEVICE_FEATURE, 4);
	wr(v, COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	return (uint64_t)rd(v, COMMON_DEVICE_FEATURE, 4) << 32 | low;
}

static void
answer(struct virtio_pci *v)
{
	for (uint32_t half = 0; half < 2; half++) {
		wr(v, COMMON_DRIVER_FEATURE_SELECT, 4, half);
		wr(v, COMMON_DRIVER_FEATURE, 4, (uint32_t)(v->features >> 32 * half));
	}
}

enum status
virtio_agree(struct virtio_pci *v, uint64_t wanted, const char **why)
{
	const uint8_t so_far = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
	enum status s = reset(v, why);

	if (s != OK)
		return s;
	wr(v, COMMON_DEVICE_STATUS, 1, STATUS_ACKNOWLEDGE);
	wr(v, COMMON_DEVICE_STATUS, 1, so_far);
	v->offered = offered(v);
	v->features = v->offered & (wanted | always);
	if ((v->features & VIRTIO_F_VERSION_1) == 0) {
		*why = "it offers only the legacy interface of virtio (no VIRTIO_F_VERSION_1)";
		return E_UNSUPPORTED;
	}
	if ((v->features & VIRTIO_F_ACCESS_PLATFORM) == 0 && v->common.w.base != NULL) {
		*why = "it reaches memory past the IOMMU (no VIRTIO_F_ACCESS_PLATFORM)";
		return E_UNSUPPORTED;
	}
	answer(v);
	wr(v, COMMON_DEVICE_STATUS, 1, so_far | STATUS_FEATURES_OK);
	if ((status(v) & STATUS_FEATURES_OK) == 0) {
		*why = "it does not accept a part of the features that it offers";
		return E_UNSUPPORTED;
	}
	v->queues = (uint16_t)rd(v, COMMON_NUM_QUEUES, 2);
	return OK;
}

uint16_t
virtio_queue_size(struct virtio_pci *v, uint16_t index)
{
	if (index >= v->queues)
		return 0;
	wr(v, COMMON_QUEUE_SELECT, 2, index);
	return (uint16_t)rd(v, COMMON_QUEUE_SIZE, 2);
}

static enum status
vector(struct virtio_pci *v, uint32_t where, uint32_t n, const char **why)
{
	uint16_t want = n == UINT32_MAX ? VIRTIO_NO_VECTOR : (uint16_t)n;

	if (v->vectors == 0 && want == VIRTIO_NO_VECTOR)
		return OK;
	wr(v, where, 2, want);
	if (rd(v, where, 2) == want)
		return OK;
	*why = "it has no room for an interrupt vector";
	return E_NO_MEMORY;
}

static void
address(struct virtio_pci *v, uint32_t where, uint64_t iova)
{
	wr(v, where, 4, (uint32_t)iova);
	wr(v, where + 4, 4, (uint32_t)(iova >> 32));
}

enum status
virtio_queue(struct virtio_pci *v, struct virtq *q, uint16_t index, uint16_t want, uint32_t vec,
    const char **why)
{
	uint16_t size = virtio_queue_size(v, index), entries;
	uint64_t notify;
	enum status s;

	*why = "it has not got the queues that it should have";
	if (size == 0 || want == 0)
		return E_UNSUPPORTED;
	entries = (uint16_t)BIT(log2_floor(min_u64(min_u64(size, want), VIRTQ_MAX)));
	notify = (uint64_t)rd(v, COMMON_QUEUE_NOTIFY_OFF, 2) * v->notify_multiplier;
	if (!range_within(notify, 2, 0, v->notify.len)) {
		*why = "a queue's notify register lies outside of those registers";
		return E_CORRUPT;
	}
	if (q->entries == 0) {
		*why = "no memory for a queue";
		s = drv_vring(v->dev, index, entries, v->notify.bar, v->notify.at + notify,
		    &q->ring);
		if (s != OK)
			return s;
	} else if (q->entries > size) {
		*why = "a queue has shrunk";
		return E_CORRUPT;
	} else {
		drv_vring_reset(&q->ring);
	}
	virtq_init(q, (v->features & VIRTIO_F_EVENT_IDX) != 0);
	wr(v, COMMON_QUEUE_SIZE, 2, q->entries);
	s = vector(v, COMMON_QUEUE_MSIX_VECTOR, vec, why);
	if (s != OK)
		return s;
	address(v, COMMON_QUEUE_DESC, q->ring.driver.iova.v);
	address(v, COMMON_QUEUE_DRIVER, q->ring.driver.iova.v + q->ring.avail_at);
	address(v, COMMON_QUEUE_DEVICE, q->ring.device.iova.v);
	wr(v, COMMON_QUEUE_ENABLE, 2, 1);
	return OK;
}

enum status
virtio_config_vector(struct virtio_pci *v, uint32_t n, const char **why)
{
	return vector(v, COMMON_CONFIG_MSIX_VECTOR, n, why);
}

void
virtio_live(struct virtio_pci *v)
{
	wr(v, COMMON_DEVICE_STATUS, 1,
	    STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

enum status
virtio_stop(struct virtio_pci *v, const char **why)
{
	return reset(v, why);
}

const char *
virtio_trouble(struct virtio_pci *v)
{
	uint8_t s = status(v);

	if (s == 0xff)
		return "the device is gone: its registers read all ones";
	if ((s & STATUS_NEEDS_RESET) != 0)
		return "the device asks to be reset";
	if ((s & STATUS_DRIVER_OK) == 0)
		return "the device has stopped";
	return NULL;
}

static uint64_t
read_field(const struct virtio_place *p, const struct virtio_field *f)
{
	uint32_t at = p->at + f->at;

	switch (f->width) {
	case 1: return drv_read8(&p->w, at);
	case 2: return drv_read16(&p->w, at);
	case 4: return drv_read32(&p->w, at);
	default: return (uint64_t)drv_read32(&p->w, at + 4) << 32 | drv_read32(&p->w, at);
	}
}

enum status
virtio_config(struct virtio_pci *v, const struct virtio_field *f, unsigned count, uint64_t *out)
{
	for (unsigned i = 0; i < count; i++)
		if (!range_within(f[i].at, f[i].width, 0, v->device.len))
			return E_CORRUPT;
	for (unsigned n = 0; n < STILL_TRIES; n++) {
		uint32_t generation = rd(v, COMMON_CONFIG_GENERATION, 1);

		for (unsigned i = 0; i < count; i++)
			out[i] = read_field(&v->device, &f[i]);
		if (rd(v, COMMON_CONFIG_GENERATION, 1) == generation)
			return OK;
	}
	return E_IO;
}
