/*
 * A virtio network device: pairs of queues, the control queue, link and address.  Uses dev/drv.h
 * only.
 *
 * Not thread safe: one thread drives a device with all its queues.
 */
#pragma once

#include "dev/virtio/pci.h"
#include "dev/virtio/wire.h"

enum {
	VNET_PAIRS = 8,
	VNET_PARTS = 20, /* of one packet to be sent */
	VNET_HEADER = sizeof(struct virtio_net_hdr),
	VNET_MTU = 1500, /* of a device that does not say; and the most without merging */
};

struct vnet_pair {
	struct virtq rx, tx;
	/* Headers, by the head of their chain.  tx: written by the driver, rx: by the device. */
	struct drv_memory tx_headers, rx_headers;
	uint32_t rx_vector, tx_vector;	/* UINT32_MAX: none */
	uint16_t more;			/* buffers that the packet being received still takes */
	bool merges;			/* a packet may take several */
};

struct virtio_net {
	struct virtio_pci pci;
	uint8_t mac[NET_MAC_BYTES];
	uint16_t mtu;
	bool link, polled;		/* polled: somebody has to look from time to time */
	bool promiscuous;
	uint32_t announces;		/* times that the device asked to make itself known */
	uint32_t pair_count, pairs_max;
	uint32_t config_vector;
	struct virtq control;
	struct drv_memory control_memory;
	struct vnet_pair pair[VNET_PAIRS];
};

/*
 * The whole bring-up, with at most want_pairs of queues, or with one when the device refuses more.
 * *n is zeroed by the caller.  Vectors:
 * vector k sets bit k of the driver's notification, vnet_config_bits those that tell of
 * configuration changes.  On failure *why is one clear sentence, and the device is reset as far as
 * it answers.  Blocks at most some seconds.
 */
NODISCARD enum status vnet_start(
    struct virtio_net *n, struct drv_device *d, uint32_t want_pairs, const char **why);
/* A reset and the same queues again, empty: nothing that was put is with the device any more.  Its
 * address and whether it is promiscuous stay. */
NODISCARD enum status vnet_restart(struct virtio_net *n, const char **why);

static inline bool
vnet_has(const struct virtio_net *n, uint64_t feature)
{
	return (n->pci.features & feature) == feature;
}

/* NULL while it works; else what is wrong: to be asked now and then, it reads a register. */
const char *vnet_trouble(struct virtio_net *n);
/* The same from memory: a queue whose device broke the rules. */
const char *vnet_fault(const struct virtio_net *n);

/* Reads link state and what else changes; answers a wish for an announcement.  E_IO, E_CORRUPT. */
NODISCARD enum status vnet_config(struct virtio_net *n);

/* Control commands: E_UNSUPPORTED without a control queue or the feature, E_IO when the device says
 * no.  Wait at most a second (E_TIMED_OUT, E_CORRUPT: it needs a reset). */
NODISCARD enum status vnet_promiscuous(struct virtio_net *n, bool on);
NODISCARD enum status vnet_all_multicast(struct virtio_net *n, bool on);
NODISCARD enum status vnet_set_mac(struct virtio_net *n, const uint8_t mac[NET_MAC_BYTES]);

/*
 * For tests: the device is told to write one byte at an address, or to send what is there.
 * E_REFUSED: the kernel looked before the device could; OK: the device says that it did;
 * E_TIMED_OUT: it says nothing.  It needs a reset then.
 */
NODISCARD enum status vnet_stray(struct virtio_net *n, struct iova at, bool write);
/* For tests: a command without what a command consists of.  A device that looks asks for a reset
 * then, by its status and the configuration's vector. */
NODISCARD enum status vnet_nonsense(struct virtio_net *n);

/* A buffer to receive into; the device does not see it yet.  bytes: at least MTU + 18 where buffers
 * do not merge.  E_WOULD_BLOCK: no room. */
NODISCARD enum status
vnet_post(struct vnet_pair *p, struct iova at, uint32_t bytes, uint64_t cookie);

/* What is asked of the device for one packet: flags and gso_type as in its header. */
struct vnet_ask {
	uint8_t flags, gso_type;
	uint16_t header_bytes, gso_size, csum_start, csum_offset;
};
/* A packet of count parts, at most VNET_PARTS.  E_WOULD_BLOCK: no room. */
NODISCARD enum status vnet_send(struct vnet_pair *p, const struct virtq_part *parts,
    unsigned count, const struct vnet_ask *ask, uint64_t cookie);

/* One buffer that the device filled. */
struct vnet_got {
	uint64_t cookie;
	uint32_t bytes;			/* in the buffer */
	uint8_t lead_bytes;		/* that come before them */
	bool first, last;		/* of a packet */
	struct vnet_ask says;		/* the first: what the device says of the packet */
	uint8_t lead[VNET_HEADER];
};
/* Of what virtq_look(&p->rx) saw.  False: none, or a fault. */
bool vnet_take(struct vnet_pair *p, struct vnet_got *out);
