/*
 * What the halves of the virtio translator share: what they keep of a device, and the functions for
 * its queues.
 */
#pragma once

#include "dev/virtio/vring.h"
#include "kern/dma/xlate.h"

/* xlate_device.fact[].  A place is a register (XLATE_REGISTER_BAR) and, in the high half, how many
 * bytes there are. */
enum {
	FACT_COMMON, FACT_NOTIFY, FACT_ISR, FACT_DEVICE,	/* places */
	FACT_MULTIPLIER,
	FACT_ALLOWED,		/* features of the class */
	FACT_WRITABLE,		/* 1 + the byte of device configuration that the driver may write */
	FACT_FEATURES,		/* as the driver wrote them */
	FACT_TABLES,		/* VIRTIO_F_INDIRECT_DESC, agreed upon for the kernel itself */
	FACT_SELECTS,		/* queue, device features, driver features: 16 bits each */
	FACT_STATUS,		/* as the driver wrote it, and FEATURES_SEEN */
	FACTS
};
static_assert(FACTS <= XLATE_FACTS);

static inline uint32_t lo(uint64_t w) { return (uint32_t)w; }
static inline uint32_t hi(uint64_t w) { return (uint32_t)(w >> 32); }

static inline bool
agreed(const struct xlate_device *d, uint64_t feature)
{
	return (d->fact[FACT_FEATURES] & feature) != 0;
}

/* By enum CFG_*: a place, as fact[] has it; 0: the device has none. */
struct virtio_places { uint64_t at[CFG_DEVICE + 1]; uint32_t multiplier; };

/* The first capability of each kind, where it makes sense.  False: one that is needed is not
 * there. */
bool virtio_find_places(const struct xlate_source *s, struct virtio_places *out);

/* All 64 features that the device offers; all ones when it does not answer. */
uint64_t virtio_offered(const struct xlate_source *s, uint32_t common);

/* xlate.c */
extern const struct xlate_split virtio_split;
