/*
 * A virtio device on PCI: model_virtio.h.  Numbers are those of the specification's sections.
 */
#include "tests/lib/model_virtio.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kern/base/bits.h"

/* Parts in the BAR. */
enum {
	COMMON = 0,
	COMMON_LEN = 56,
	ISR = 0x1000,
	CONFIG = 0x2000,
	NOTIFY = 0x3000,
	MULTIPLIER = 4
};
enum { ACK = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64 };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static void
broken(struct model_virtio *m, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(m->rule, sizeof(m->rule), format, ap);
	va_end(ap);
	m->broken_rules++;
}

static void
device_reset(struct model_virtio *m)
{
	m->resets++;
	m->status = 0;
	m->features = 0;
	m->select = 0;
	m->config_vector = 0xffff;
	m->device_half = m->driver_half = 0;
	for (unsigned i = 0; i < VMODEL_QUEUES; i++) {
		struct vmodel_queue *q = &m->q[i];

		*q = (struct vmodel_queue){ .max = i < m->queues ? m->queue_max : 0,
			.size = i < m->queues ? m->queue_max : 0,
			.vector = 0xffff };
	}
}

/* 2.1.2, 3.1.1: the order of the bits. */
static void
set_status(struct model_virtio *m, uint8_t v)
{
	if (v == 0) {
		if (!m->never_resets)
			device_reset(m);
		return;
	}
	if ((m->status & ~v & 0x3f) != 0)
		broken(m, "a status bit was cleared: 0x%x after 0x%x", v, m->status);
	if ((v & DRIVER) != 0 && (v & ACK) == 0)
		broken(m, "DRIVER before ACKNOWLEDGE");
	if ((v & FEATURES_OK) != 0 && (m->status & FEATURES_OK) == 0) {
		if ((m->features & ~m->offers) != 0)
			broken(m, "features that were not offered");
		if (m->refuses_features || (m->features & BIT(32)) == 0)
			v &= (uint8_t)~FEATURES_OK;
	}
	if ((v & DRIVER_OK) != 0 && (v & FEATURES_OK) == 0)
		broken(m, "DRIVER_OK before FEATURES_OK");
	m->status = v;
}

/* 4.1.4.3: offset, width of each field. */
static unsigned
common_width(uint32_t at)
{
	static const uint8_t width[COMMON_LEN] = { [0] = 4, [4] = 4, [8] = 4, [12] = 4, [16] = 2,
		[18] = 2, [20] = 1, [21] = 1, [22] = 2, [24] = 2, [26] = 2, [28] = 2, [30] = 2,
		[32] = 4, [36] = 4, [40] = 4, [44] = 4, [48] = 4, [52] = 4 };

	return at < COMMON_LEN ? width[at] : 0;
}

static void
half(uint64_t *to, unsigned high, uint64_t v)
{
	*to = high != 0 ? (*to & UINT32_MAX) | v << 32 : (*to & ~(uint64_t)UINT32_MAX) | v;
}

static void
common_write(struct model_virtio *m, uint32_t at, uint64_t v)
{
	struct vmodel_queue *q = &m->q[m->select];
	bool queue = at >= 24;

	if (queue && (m->status & FEATURES_OK) == 0)
		broken(m, "a queue was set up before FEATURES_OK");
	if (queue && q->enabled)
		broken(m, "queue %u was changed while it is enabled", m->select);
	if (queue && q->max == 0)
		broken(m, "queue %u is not there", m->select);
	switch (at) {
	case 0: m->device_half = (uint32_t)v; break;
	case 8: m->driver_half = (uint32_t)v; break;
	case 12:
		if ((m->status & FEATURES_OK) != 0 || (m->status & DRIVER) == 0)
			broken(m, "features at the wrong time");
		half(&m->features, m->driver_half, v);
		break;
	case 16: m->config_vector = m->no_vectors ? 0xffff : (uint16_t)v; break;
	case 20: set_status(m, (uint8_t)v); break;
	case 22:
		if (v >= VMODEL_QUEUES)
			broken(m, "queue %llu was selected", (unsigned long long)v);
		else
			m->select = (uint16_t)v;
		break;
	case 24:
		if (!is_pow2(v) || v > q->max)
			broken(m, "queue %u of %llu entries", m->select, (unsigned long long)v);
		q->size = (uint16_t)v;
		break;
	case 26: q->vector = m->no_vectors ? 0xffff : (uint16_t)v; break;
	case 28:
		if (v != 1)
			broken(m, "queue_enable was written %llu", (unsigned long long)v);
		if (q->desc == 0 || q->driver == 0 || q->device == 0)
			broken(m, "queue %u was enabled without addresses", m->select);
		if ((q->desc & 15) != 0 || (q->driver & 1) != 0 || (q->device & 3) != 0)
			broken(m, "queue %u is not aligned", m->select);
		q->enabled = true;
		break;
	case 32:
	case 36: half(&q->desc, at & 4, v); break;
	case 40:
	case 44: half(&q->driver, at & 4, v); break;
	case 48:
	case 52: half(&q->device, at & 4, v); break;
	default: broken(m, "the common register 0x%x is read only", at);
	}
}

static uint64_t
common_read(struct model_virtio *m, uint32_t at)
{
	const struct vmodel_queue *q = &m->q[m->select];

	switch (at) {
	case 4: return m->device_half > 1 ? 0 : (uint32_t)(m->offers >> 32 * m->device_half);
	case 16: return m->config_vector;
	case 18: return m->queues;
	case 20: return m->status;
	case 21: return m->generation;
	case 22: return m->select;
	case 24: return q->size;
	case 26: return q->vector;
	case 28: return q->enabled;
	case 30: return m->select;		/* queue_notify_off */
	case 32:
	case 36: return (uint32_t)(q->desc >> 8 * (at & 4));
	case 40:
	case 44: return (uint32_t)(q->driver >> 8 * (at & 4));
	case 48:
	case 52: return (uint32_t)(q->device >> 8 * (at & 4));
	default: broken(m, "the common register 0x%x was read", at); return 0;
	}
}

static uint64_t
config_read(struct model_virtio *m, uint32_t at, unsigned width)
{
	uint64_t v = 0;

	if (at + width > sizeof(m->config) || (at & (width - 1)) != 0) {
		broken(m, "configuration 0x%x, %u bytes", at, width);
		return 0;
	}
	memcpy(&v, m->config + at, width);
	if (m->restless != 0) {
		m->restless--;
		m->generation++;
	}
	return v;
}

static uint64_t
access(void *model, unsigned bar, uint32_t at, unsigned width, bool write, uint64_t v)
{
	struct model_virtio *m = model;

	if (bar != VMODEL_BAR) {
		broken(m, "BAR %u", bar);
		return UINT64_MAX;
	}
	if (m->status == 0xff)
		return UINT64_MAX;
	if (at < COMMON_LEN) {
		if (common_width(at) != width) {
			broken(m, "the common register 0x%x with %u bytes", at, width);
			return 0;
		}
		if (write)
			common_write(m, at, v);
		return write ? 0 : common_read(m, at);
	}
	if (at >= CONFIG && at < CONFIG + 0x1000 && !write)
		return config_read(m, at - CONFIG, width);
	broken(m, "register 0x%x", at);
	return 0;
}

/* --- queues, 2.7 ------------------------------------------------------------------ */

static uint16_t
word(struct model_virtio *m, uint64_t at)
{
	uint16_t v = 0;
	const void *p = fake_drv_at(m->d, at, 2, DMA_TO_DEVICE);

	if (p != NULL)
		memcpy(&v, p, 2);
	return v;
}

/* A chain's parts; how many. */
static unsigned
walk(struct model_virtio *m, unsigned n, uint16_t head, struct vmodel_part *out)
{
	const struct vmodel_queue *q = &m->q[n];
	unsigned count = 0;
	bool writes = false;

	for (uint16_t i = head;; ) {
		const uint8_t *d = i < q->size ?
		    fake_drv_at(m->d, q->desc + 16ull * i, 16, DMA_TO_DEVICE) :
		    NULL;
		uint16_t flags;

		if (d == NULL || count == q->size) {
			broken(m, "queue %u: a chain leaves its table, or has no end", n);
			return 0;
		}
		memcpy(&out[count].at, d, 8);
		memcpy(&out[count].len, d + 8, 4);
		memcpy(&flags, d + 12, 2);
		memcpy(&i, d + 14, 2);
		out[count].writes = (flags & WRITE) != 0;
		if (writes && !out[count].writes)
			broken(m, "queue %u: a readable part after a writable one", n);
		if (out[count].len == 0)
			broken(m, "queue %u: an empty part", n);
		if ((flags & INDIRECT) != 0)
			broken(m, "queue %u: an indirect table that was not agreed upon", n);
		writes |= out[count].writes;
		count++;
		if ((flags & NEXT) == 0)
			return count;
	}
}

/* To or from the parts of one kind, in order; how many bytes there was room for. */
static uint32_t
copy(struct model_virtio *m, const struct vmodel_part *p, unsigned count, bool write,
    uint8_t *bytes, uint32_t len)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		uint32_t n = (uint32_t)min_u64(p[i].len, len - done);
		uint8_t *at;

		if (p[i].writes != write)
			continue;
		at = fake_drv_at(m->d, p[i].at, n, write ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
		if (at == NULL) {
			if (m->fails_on_fault)
				m->status |= NEEDS_RESET;
			continue;	/* else the device knows nothing of the fault */
		}
		memcpy(write ? at : bytes + done, write ? bytes + done : at, n);
		done += n;
	}
	return done;
}

static bool
lies(struct model_virtio *m, enum vmodel_lie lie)
{
	if (m->lie != lie || m->lie_after != 0)
		return false;
	m->lie = VLIE_NONE;
	return true;
}

static void
use(struct model_virtio *m, unsigned n, uint32_t id, uint32_t len)
{
	struct vmodel_queue *q = &m->q[n];
	uint8_t *at = (m->status & NEEDS_RESET) != 0 ? NULL : fake_drv_at(
	    m->d, q->device + 4 + 8ull * (q->used & (q->size - 1)), 8, DMA_FROM_DEVICE);
	uint8_t *idx = fake_drv_at(m->d, q->device + 2, 2, DMA_FROM_DEVICE);
	uint16_t old = q->used, event;

	if (at == NULL)		/* it does nothing any more */
		return;
	if (m->lie != VLIE_NONE && m->lie_after != 0) {
		m->lie_after--;
	} else if (lies(m, VLIE_ID)) {
		id = (id + q->size - 1) & (q->size - 1u);
	} else if (lies(m, VLIE_ID_RANGE)) {
		id = q->size;
	} else if (lies(m, VLIE_LENGTH)) {
		len = UINT32_MAX;
	} else if (lies(m, VLIE_INDEX)) {
		q->used = (uint16_t)(q->used + q->size);
	} else if (lies(m, VLIE_TWICE)) {
		use(m, n, id, len);
		use(m, n, id, len);
		return;
	}
	memcpy(at, &id, 4);
	memcpy(at + 4, &len, 4);
	q->used++;
	memcpy(idx, &q->used, 2);
	event = word(m, q->driver + 4 + 2ull * q->size);
	if ((m->features & BIT(29)) != 0 ?
		(uint16_t)(q->used - event - 1) < (uint16_t)(q->used - old) :
		(word(m, q->driver) & 1) == 0)
		q->interrupts++;
}

static void
send(struct model_virtio *m, unsigned n, uint16_t head)
{
	struct vmodel_part p[VMODEL_CHAINS];
	unsigned count = walk(m, n, head, p);

	for (unsigned i = 0; i < count; i++)
		if (p[i].writes)
			broken(m, "a packet to be sent in a part that the device writes");
	m->sent_bytes = copy(m, p, count, false, m->sent, VMODEL_PACKET);
	m->sent_count++;
	if (m->sent_bytes < 12 + 14)
		broken(m, "a packet of %u bytes with its header", m->sent_bytes);
	use(m, n, head, 0);
}

/* 5.1.6.5 */
static void
obey(struct model_virtio *m, unsigned n, uint16_t head)
{
	struct vmodel_part p[VMODEL_CHAINS];
	unsigned count = walk(m, n, head, p);
	uint8_t ack = m->control_fails;

	memset(m->command, 0, sizeof(m->command));
	(void)copy(m, p, count, false, m->command, sizeof(m->command));
	m->commands++;
	if (m->control_silent)
		return;
	switch (m->command[0] << 8 | m->command[1]) {
	case 0x000: m->promiscuous = m->command[2] != 0; break;
	case 0x001: m->all_multicast = m->command[2] != 0; break;
	case 0x101: memcpy(m->config, m->command + 2, 6); break;
	case 0x300: m->config[6] &= (uint8_t)~2; break;
	case 0x400:
		if (m->refuses_pairs)
			ack = 1;
		else
			memcpy(&m->pairs, m->command + 2, 2);
		break;
	default: broken(m, "the command %u.%u is not known", m->command[0], m->command[1]);
	}
	(void)copy(m, p, count, true, &ack, 1);
	use(m, n, head, 1);
}

/* 5.2.6 */
static void
request(struct model_virtio *m, unsigned n, uint16_t head)
{
	static uint8_t data[8 << 20];
	struct vmodel_part p[VMODEL_CHAINS];
	unsigned count = walk(m, n, head, p);
	uint8_t req[16] = { 0 }, status = m->blk_status;
	uint32_t type, flags, sectors, room = 0, written = 0, got;
	uint64_t sector;

	got = copy(m, p, count, false, data, sizeof(data));
	if (count < 2 || got < 16 || !p[count - 1].writes || p[count - 1].len != 1) {
		broken(m, "a request without its header or its status");
		return;
	}
	memcpy(req, data, 16);
	got -= 16;
	memcpy(&type, req, 4);
	memcpy(&sector, req + 8, 8);
	for (unsigned i = 0; i + 1 < count; i++)
		room += p[i].writes ? p[i].len : 0;
	switch (type) {
	case 0:
		if (room % 512 != 0 || room == 0 ||
		    !range_within(sector, room / 512, 0, m->sectors))
			status = 1;
		else
			written = copy(m, p, count - 1, true, m->media + sector * 512, room);
		break;
	case 1:
		if ((m->offers & BIT(5)) != 0 || got % 512 != 0 || got == 0 ||
		    !range_within(sector, got / 512, 0, m->sectors))
			status = 1;
		else if (status == 0)
			memcpy(m->media + sector * 512, data + 16, got);
		break;
	case 4: m->flushes++; break;
	case 8: written = copy(m, p, count - 1, true, (uint8_t[20]){ "model0" }, 20); break;
	case 11:
	case 13:
		if (got != 16)
			broken(m, "%u bytes of ranges", got);
		memcpy(&sector, data + 16, 8);
		memcpy(&sectors, data + 24, 4);
		memcpy(&flags, data + 28, 4);
		if ((m->features & BIT(type == 11 ? 13 : 14)) == 0)
			broken(m, "a command that was not agreed upon");
		if (!range_within(sector, sectors, 0, m->sectors))
			status = 1;
		else
			memset(m->media + sector * 512, 0, sectors * 512ull);
		m->discards += type == 11;
		m->zeroes += type == 13;
		break;
	default: status = 2;
	}
	(void)copy(m, &p[count - 1], 1, true, &status, 1);
	use(m, n, head, written + 1);
}

static void
serve(struct model_virtio *m, unsigned n, uint16_t head)
{
	if (m->type == 2)
		request(m, n, head);
	else if ((m->features & BIT(17)) != 0 && n == m->queues - 1u)
		obey(m, n, head);
	else
		send(m, n, head);
}

static void
vring(void *model, uint32_t n, uint32_t avail_idx, uint32_t used_idx UNUSED)
{
	struct model_virtio *m = model;
	struct vmodel_queue *q = &m->q[n];

	if (avail_idx == UINT32_MAX)
		return;
	if (!q->enabled || (m->status & DRIVER_OK) == 0) {
		broken(m, "queue %u was notified before it works", n);
		return;
	}
	while (q->seen != (uint16_t)avail_idx) {
		uint16_t head = word(m, q->driver + 4 + 2ull * (q->seen & (q->size - 1)));
		bool control = m->type == 1 && (m->features & BIT(17)) != 0 &&
		    n == m->queues - 1u;
		bool receives = m->type == 1 && n % 2 == 0 && !control;

		q->seen++;
		for (unsigned i = 0; i < q->count; i++)
			if (q->held[i] == head)
				broken(m, "queue %u: head %u is with the device already", n, head);
		if (control || (!receives && !m->hold)) {
			serve(m, n, head);
		} else if (q->count == VMODEL_CHAINS) {
			broken(m, "queue %u: more chains than entries", n);
		} else {
			q->held[q->count++] = head;
		}
	}
}

static uint16_t
oldest(struct vmodel_queue *q)
{
	uint16_t head = q->held[0];

	memmove(q->held, q->held + 1, --q->count * sizeof(q->held[0]));
	return head;
}

void
model_virtio_release(struct model_virtio *m)
{
	for (unsigned n = 0; n < m->queues; n++)
		while ((m->type == 2 || n % 2 == 1) && m->q[n].count != 0)
			serve(m, n, oldest(&m->q[n]));
}

bool
model_virtio_receive(struct model_virtio *m, unsigned pair, const uint8_t header[10],
    const uint8_t *bytes, uint32_t len)
{
	static uint8_t packet[VMODEL_PACKET];
	struct vmodel_queue *q = &m->q[2 * pair];
	struct vmodel_part p[VMODEL_CHAINS];
	uint32_t total = 12 + len, room = 0, done = 0;
	bool merges = (m->features & BIT(15)) != 0;
	uint16_t buffers = 0;
	unsigned count;

	while (room < total && buffers < (merges ? q->count : q->count != 0)) {
		count = walk(m, 2 * pair, q->held[buffers], p);
		for (unsigned i = 0; i < count; i++) {
			if (!p[i].writes)
				broken(m, "a buffer to receive into that is to be read");
			room += p[i].len;
		}
		buffers++;
	}
	if (room < total)
		return false;
	memcpy(packet, header, 10);
	memcpy(packet + 12, bytes, len);
	if (lies(m, VLIE_BUFFERS_NONE))
		memset(packet + 10, 0, 2);
	else if (lies(m, VLIE_BUFFERS))
		memset(packet + 10, 0xff, 2);
	else if (lies(m, VLIE_UNENDED))
		packet[10] = (uint8_t)(buffers + 1);
	else
		memcpy(packet + 10, &buffers, 2);
	while (done < total) {
		uint16_t head = oldest(q);
		uint32_t n;

		count = walk(m, 2 * pair, head, p);
		n = copy(m, p, count, true, packet + done, total - done);
		done += n;
		use(m, 2 * pair, head, lies(m, VLIE_SHORT) ? 11 : n);
		if (n == 0)
			return false;
	}
	return true;
}

/* --- what it is ------------------------------------------------------------------- */

static void
step(void *model UNUSED)
{
}

static void
put_cap(uint8_t *at, uint8_t next, uint8_t len, uint8_t type, uint32_t offset, uint32_t bytes)
{
	memcpy(at, (uint8_t[5]){ 9, next, len, type, VMODEL_BAR }, 5);
	memcpy(at + 8, &offset, 4);
	memcpy(at + 12, &bytes, 4);
}

void
model_virtio_init(struct model_virtio *m, struct drv_device *d, uint16_t type)
{
	uint16_t id = (uint16_t)(0x1040 + type);

	fake_drv_init(d, 0x4000);
	*m = (struct model_virtio){ .d = d, .type = type };
	d->model = m;
	d->step = step;
	d->access = access;
	d->vring = vring;
	memcpy(d->config, (uint8_t[2]){ 0xf4, 0x1a }, 2);
	memcpy(d->config + 2, &id, 2);
	d->config[6] = 0x10;
	d->config[0x34] = 0x40;
	put_cap(d->config + 0x40, 0x50, 16, 1, COMMON, COMMON_LEN);
	put_cap(d->config + 0x50, 0x60, 16, 3, ISR, 1);
	put_cap(d->config + 0x60, 0x70, 16, 4, CONFIG, sizeof(m->config));
	put_cap(d->config + 0x70, 0, 20, 2, NOTIFY, 0x1000);
	d->config[0x80] = MULTIPLIER;
	m->offers = BIT(32) | BIT(33) | BIT(29) | BIT(28);
	if (type == 1) {
		m->offers |= BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) |
		    BIT(11) | BIT(12) | BIT(13) | BITS(18, 15) | BITS(23, 21);
		m->queues = 3;
		memcpy(m->config, (uint8_t[6]){ 0x52, 0x54, 0, 1, 2, 3 }, 6);
		m->config[6] = 1;
		m->config[8] = 1;
		m->config[10] = 1500 & 255;
		m->config[11] = 1500 >> 8;
	} else {
		m->queues = 1;
	}
	m->queue_max = 256;
	device_reset(m);
	m->resets = 0;
}

void
model_virtio_fini(struct model_virtio *m)
{
	fake_drv_fini(m->d);
}
