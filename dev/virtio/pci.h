/*
 * The PCI transport of virtio devices, modern only [VIRTIO 1.2, 4.1].  Uses dev/drv.h only.
 *
 * Not thread safe: one thread drives a device with all its queues.
 */
#pragma once

#include "dev/drv.h"
#include "dev/virtio/queue.h"

struct virtio_place { struct drv_window w; uint32_t at, len; uint8_t bar; };

struct virtio_pci {
	struct drv_device *dev;
	uint16_t device_id;		/* as virtio numbers kinds of devices: 1 network, 2 block */
	struct virtio_place common, notify, device;
	uint32_t notify_multiplier;
	uint64_t offered, features;	/* features: agreed upon */
	uint16_t queues;
	uint32_t vectors;		/* 0: somebody has to look from time to time */
	uint32_t resets;
};

/*
 * Finds the parts of the device's registers, and resets it.  *v is all zero.  E_UNSUPPORTED: it is
 * no virtio device, or has only the legacy interface.  On failure *why is one clear sentence, here
 * and below.
 */
NODISCARD enum status virtio_open(struct virtio_pci *v, struct drv_device *d, const char **why);

/*
 * Reset, up to FEATURES_OK: agrees upon those of the wanted features that the device offers.  Then
 * queues can be made, and virtio_live.  E_UNSUPPORTED: what cannot be done without is not offered.
 */
NODISCARD enum status virtio_agree(struct virtio_pci *v, uint64_t wanted, const char **why);
/* Entries that the queue can have; 0: there is none of that number. */
uint16_t virtio_queue_size(struct virtio_pci *v, uint16_t index);
/*
 * Makes a queue of at most want entries with its interrupt, or, when *q has been one before, makes
 * it known to the device again as it was, empty.  vector: UINT32_MAX for none.
 */
NODISCARD enum status virtio_queue(struct virtio_pci *v, struct virtq *q, uint16_t index,
    uint16_t want, uint32_t vector, const char **why);
/* Configuration changes come with this vector (UINT32_MAX: none).  Between agree and live. */
NODISCARD enum status virtio_config_vector(struct virtio_pci *v, uint32_t vector, const char **why);
/* From now on the device takes from its queues. */
void virtio_live(struct virtio_pci *v);
/* Returns when the device has stopped. */
NODISCARD enum status virtio_stop(struct virtio_pci *v, const char **why);

/* NULL while it works; else what is wrong. */
const char *virtio_trouble(struct virtio_pci *v);

/* Fields of the device's configuration, as they were at one moment.  Width 1, 2, 4 or 8.
 * E_CORRUPT: it has no such fields; E_IO: it does not stand still. */
struct virtio_field { uint32_t at; unsigned width; };
NODISCARD enum status
virtio_config(struct virtio_pci *v, const struct virtio_field *f, unsigned count, uint64_t *out);
