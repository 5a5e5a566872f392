/*
 * Arithmetic of split virtqueues [VIRTIO 1.2, 2.7]: where the parts of a queue are, and who wants
 * to be told of what.  For the driver, the kernel's translator and tests.
 *
 *     driver's part    [ descriptors: 16 bytes each | flags idx ring[n] used_event ]
 *     device's part    [ flags idx ring[n]: 8 bytes each | avail_event ]
 *
 * n, the size of a queue, is a power of two up to VIRTQ_SIZE_MAX.  Indices count entries, not
 * places: they run through 16 bits, and an entry's place is idx % n.
 */
#pragma once

#include "dev/virtio/wire.h"

/* Offsets in the driver's part, and how long it is. */
static inline uint32_t
vring_avail(uint32_t n)
{
	return n * (uint32_t)sizeof(struct virtq_desc);
}

static inline uint32_t
vring_avail_entry(uint32_t n, uint16_t idx)
{
	return vring_avail(n) + VIRTQ_RING + 2 * (idx & (n - 1));
}

static inline uint32_t
vring_used_event(uint32_t n)
{
	return vring_avail(n) + VIRTQ_RING + 2 * n;
}

static inline uint32_t vring_driver_bytes(uint32_t n) { return vring_used_event(n) + 2; }

/* Offsets in the device's part, and how long it is. */
static inline uint32_t
vring_used_entry(uint32_t n, uint16_t idx)
{
	return VIRTQ_RING + (uint32_t)sizeof(struct virtq_used_elem) * (idx & (n - 1));
}

static inline uint32_t
vring_avail_event(uint32_t n)
{
	return VIRTQ_RING + (uint32_t)sizeof(struct virtq_used_elem) * n;
}

static inline uint32_t vring_device_bytes(uint32_t n) { return vring_avail_event(n) + 2; }

/* Entries from one index up to another. */
static inline uint16_t vring_distance(uint16_t from, uint16_t to) { return (uint16_t)(to - from); }

/* The other side asked to be told of the entry with index "event"; those from "old" up to "now",
 * which is not among them, are new [2.7.7.2]. */
static inline bool
vring_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}
