/*
 * A software virtio device on PCI, network or block, written from the specification (Virtual I/O
 * Device 1.2): it knows offsets and bits by itself and shares nothing with dev/virtio.  It is
 * strict: what a driver must not do is counted as a broken rule.  It can also be hostile.
 */
#pragma once

#include "tests/lib/fake_drv.h"

enum { VMODEL_QUEUES = 18, VMODEL_CHAINS = 256, VMODEL_PACKET = 70000, VMODEL_BAR = 4 };

/* What it does to the used entry that comes after lie_after more. */
enum vmodel_lie {
	VLIE_NONE,
	VLIE_ID,		/* of no chain */
	VLIE_ID_RANGE,		/* past the table */
	VLIE_TWICE,		/* the same one again */
	VLIE_LENGTH,		/* more than the chain holds */
	VLIE_INDEX,		/* more entries than were given */
	VLIE_SHORT,		/* received packet: less than its header */
	VLIE_BUFFERS_NONE,	/* received packet: in no buffers */
	VLIE_BUFFERS,		/* in more than there are */
	VLIE_UNENDED,		/* in one more than come */
};

struct vmodel_part { uint64_t at; uint32_t len; bool writes; };

struct vmodel_queue {
	uint16_t max, size, vector;
	bool enabled;
	uint64_t desc, driver, device;
	uint16_t seen, used;		/* available entries taken, used entries written */
	uint16_t held[VMODEL_CHAINS];	/* heads that it holds, oldest first */
	unsigned count;
	uint64_t interrupts;		/* that it would have sent */
};

struct model_virtio {
	struct drv_device *d;
	uint16_t type;			/* 1 network, 2 block */
	uint64_t offers;
	uint16_t queues, queue_max;
	uint8_t config[64];		/* the device's own */
	unsigned restless;		/* this many more reads of configuration change it */
	bool fails_on_fault;		/* a buffer that it does not reach: it asks to be reset */
	bool refuses_features, never_resets, no_vectors, control_fails, control_silent;
	bool refuses_pairs;

	enum vmodel_lie lie;
	unsigned lie_after;

	uint8_t status, generation;
	uint32_t device_half, driver_half;
	uint64_t features;
	uint16_t select, config_vector;
	struct vmodel_queue q[VMODEL_QUEUES];

	/* What happened. */
	unsigned broken_rules, resets;
	char rule[100];
	uint8_t sent[VMODEL_PACKET];	/* the last packet, with its header */
	uint32_t sent_bytes, sent_count;
	uint32_t commands;		/* of the control queue */
	uint8_t command[16];		/* the last: class, command, data */
	bool promiscuous, all_multicast;
	uint16_t pairs;
	uint8_t *media;			/* block: sectors, by the test */
	uint64_t sectors;
	uint32_t flushes, discards, zeroes;
	uint8_t blk_status;		/* what requests end with */
	bool hold;			/* tx and block requests wait for model_virtio_release */
};

/* A network device with everything, one pair of queues, or a block device; the test changes it
 * before the driver starts. */
void model_virtio_init(struct model_virtio *m, struct drv_device *d, uint16_t type);
void model_virtio_fini(struct model_virtio *m);
/* A packet arrives at receive queue 2 * pair: its header's first 10 bytes, then bytes.  False:
 * there are not enough buffers. */
bool model_virtio_receive(struct model_virtio *m, unsigned pair, const uint8_t header[10],
    const uint8_t *bytes, uint32_t len);
void model_virtio_release(struct model_virtio *m);
