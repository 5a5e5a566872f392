/*
 * Where a virtio device's registers are, and what it offers: for the translator and the live test.
 *
 * The device is another party: the list of its capabilities is walked within bounds, and a place is
 * only compared with the BAR by who uses it.
 *
 * Manual   VIRTIO 1.2: 4.1.4 structures and their capabilities, 4.1.4.3 features.
 */
#include "dev/virtio/xlate_parts.h"

enum : uint32_t { CONFIG_STATUS = 0x06, CONFIG_STATUS_LIST = 0x10, CONFIG_LIST = 0x34,
	CONFIG_FIRST = 0x40, CONFIG_END = 0x100 };

bool
virtio_find_places(const struct xlate_source *s, struct virtio_places *out)
{
	uint32_t at, left = (CONFIG_END - CONFIG_FIRST) / 4;

	*out = (struct virtio_places){ 0 };
	if ((s->config(s->arg, CONFIG_STATUS, 2) & CONFIG_STATUS_LIST) == 0)
		return false;
	/* Bounded by how many there can be: a longer list is a loop. */
	for (at = s->config(s->arg, CONFIG_LIST, 1) & 0xfc; at >= CONFIG_FIRST && left-- != 0;
	    at = s->config(s->arg, at + 1, 1) & 0xfc) {
		uint32_t kind, bar, offset, length;

		if (s->config(s->arg, at, 1) != VCAP_VENDOR_ID || at > CONFIG_END - VCAP_BYTES ||
		    s->config(s->arg, at + VCAP_LEN, 1) < VCAP_BYTES)
			continue;
		kind = s->config(s->arg, at + VCAP_CFG_TYPE, 1);
		bar = s->config(s->arg, at + VCAP_BAR, 1);
		offset = s->config(s->arg, at + VCAP_OFFSET, 4);
		length = s->config(s->arg, at + VCAP_LENGTH, 4);
		if (kind < CFG_COMMON || kind > CFG_DEVICE || out->at[kind] != 0 ||
		    bar >= VCAP_BARS || length == 0 ||
		    !range_within(offset, length, 0, XLATE_REGISTER_OFFSET + 1ull))
			continue;
		if (kind == CFG_NOTIFY) {
			if (at > CONFIG_END - VCAP_NOTIFY_BYTES ||
			    s->config(s->arg, at + VCAP_LEN, 1) < VCAP_NOTIFY_BYTES)
				continue;
			out->multiplier = s->config(s->arg, at + VCAP_NOTIFY_MULTIPLIER, 4);
		}
		out->at[kind] = (uint64_t)length << 32 | FIELD_PREP(XLATE_REGISTER_BAR, bar) |
		    offset;
	}
	return hi(out->at[CFG_COMMON]) >= COMMON_BYTES && hi(out->at[CFG_NOTIFY]) >= 2 &&
	    is_aligned(lo(out->at[CFG_COMMON]), 4) && is_aligned(lo(out->at[CFG_NOTIFY]), 2);
}

uint64_t
virtio_offered(const struct xlate_source *s, uint32_t common)
{
	uint64_t v;

	s->write(s->arg, common + COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	v = (uint32_t)s->read(s->arg, common + COMMON_DEVICE_FEATURE, 4);
	s->write(s->arg, common + COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	v |= (uint64_t)(uint32_t)s->read(s->arg, common + COMMON_DEVICE_FEATURE, 4) << 32;
	s->write(s->arg, common + COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	return v;
}
