/*
 * virtio on the wire: PCI capabilities, registers, features, split rings, and what the network and
 * the block device put into them.  Read by driver, translator and tests.  All values are little
 * endian.
 *
 * Manual: VIRTIO 1.2; sections at each group.
 */
#pragma once

#include "kern/base/bits.h"

/* PCI identity [4.1.2]: 0x1040 plus the type; or below 0x1040, where the subsystem is the type and
 * the device may know the legacy interface only. */
enum : uint16_t {
	VIRTIO_PCI_VENDOR = 0x1af4,
	VIRTIO_PCI_FIRST = 0x1000,
	VIRTIO_PCI_MODERN = 0x1040,
	VIRTIO_PCI_LAST = 0x107f,
	VIRTIO_PCI_NET_OLD = 0x1000,
	VIRTIO_PCI_BLK_OLD = 0x1001,
	VIRTIO_PCI_NET = 0x1041,
	VIRTIO_PCI_BLK = 0x1042,
};

/* Capabilities that say where a structure is [4.1.4]: offsets in it */
enum : uint32_t {
	VCAP_VENDOR_ID = 0x09,		/* the PCI capability's id */
	VCAP_LEN = 2,
	VCAP_CFG_TYPE = 3,
	VCAP_BAR = 4,
	VCAP_OFFSET = 8,
	VCAP_LENGTH = 12,
	VCAP_BYTES = 16,
	VCAP_NOTIFY_MULTIPLIER = 16,	/* notify structure only: distance of two queues' places */
	VCAP_NOTIFY_BYTES = 20,
	VCAP_BARS = 6,
};
enum : uint8_t { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4, CFG_PCI = 5 };

/* Common configuration [4.1.4.3] */
enum : uint32_t {
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_MSIX_VECTOR = 0x10,	/* 16 bits, as all that follow but for two of 8 */
	COMMON_NUM_QUEUES = 0x12,
	COMMON_DEVICE_STATUS = 0x14,		/* 8 bits */
	COMMON_CONFIG_GENERATION = 0x15,	/* 8 bits */
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_MSIX_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,		/* 64 bits, as the next two: in halves of 32 */
	COMMON_QUEUE_DRIVER = 0x28,
	COMMON_QUEUE_DEVICE = 0x30,
	COMMON_BYTES = 0x38,
};
enum : uint16_t { VIRTIO_NO_VECTOR = 0xffff };

/* Device status [2.1] */
enum : uint8_t {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	STATUS_FAILED = 128,
};

/* ISR status [4.1.4.5]: clears when it is read */
enum : uint8_t { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* Features of every device [6] */
enum : uint64_t {
	VIRTIO_F_INDIRECT_DESC = BIT(28),
	VIRTIO_F_EVENT_IDX = BIT(29),
	VIRTIO_F_VERSION_1 = BIT(32),
	VIRTIO_F_ACCESS_PLATFORM = BIT(33),
	VIRTIO_F_RING_PACKED = BIT(34),
	VIRTIO_F_IN_ORDER = BIT(35),
	VIRTIO_F_ORDER_PLATFORM = BIT(36),
	VIRTIO_F_SR_IOV = BIT(37),
	VIRTIO_F_NOTIFICATION_DATA = BIT(38),
	VIRTIO_F_NOTIF_CONFIG_DATA = BIT(39),
	VIRTIO_F_RING_RESET = BIT(40),
};

/*
 * Split virtqueues [2.7].  Table of descriptors; available ring: flags, idx, ring[], used_event;
 * used ring: flags, idx, ring[], avail_event.  idx counts entries and wraps at 2^16.
 * Publish: descriptors, ring[idx % size]; barrier; idx.
 */
struct virtq_desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
static_assert(sizeof(struct virtq_desc) == 16);
struct virtq_used_elem { uint32_t id, len; };	/* id: head; len: bytes that the device wrote */
static_assert(sizeof(struct virtq_used_elem) == 8);
enum : uint16_t {
	VIRTQ_DESC_F_NEXT = 1,
	VIRTQ_DESC_F_WRITE = 2,		/* the device writes */
	VIRTQ_DESC_F_INDIRECT = 4,	/* holds a table of descriptors */
	VIRTQ_AVAIL_F_NO_INTERRUPT = 1,
	VIRTQ_USED_F_NO_NOTIFY = 1,
	VIRTQ_SIZE_MAX = 32768,
};
enum : uint32_t {
	VIRTQ_FLAGS = 0,		/* offsets in either ring */
	VIRTQ_IDX = 2,
	VIRTQ_RING = 4,
	VIRTQ_ALIGN_DESC = 16, VIRTQ_ALIGN_AVAIL = 2, VIRTQ_ALIGN_USED = 4,
};

/* Network device [5.1] */
enum : uint64_t {
	VIRTIO_NET_F_CSUM = BIT(0),		/* the device fills checksums in */
	VIRTIO_NET_F_GUEST_CSUM = BIT(1),	/* the driver takes partial checksums */
	VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = BIT(2),
	VIRTIO_NET_F_MTU = BIT(3),
	VIRTIO_NET_F_MAC = BIT(5),
	VIRTIO_NET_F_GUEST_TSO4 = BIT(7),
	VIRTIO_NET_F_GUEST_TSO6 = BIT(8),
	VIRTIO_NET_F_GUEST_ECN = BIT(9),
	VIRTIO_NET_F_GUEST_UFO = BIT(10),
	VIRTIO_NET_F_HOST_TSO4 = BIT(11),
	VIRTIO_NET_F_HOST_TSO6 = BIT(12),
	VIRTIO_NET_F_HOST_ECN = BIT(13),
	VIRTIO_NET_F_HOST_UFO = BIT(14),
	VIRTIO_NET_F_MRG_RXBUF = BIT(15),
	VIRTIO_NET_F_STATUS = BIT(16),
	VIRTIO_NET_F_CTRL_VQ = BIT(17),
	VIRTIO_NET_F_CTRL_RX = BIT(18),
	VIRTIO_NET_F_CTRL_VLAN = BIT(19),
	VIRTIO_NET_F_GUEST_ANNOUNCE = BIT(21),
	VIRTIO_NET_F_MQ = BIT(22),
	VIRTIO_NET_F_CTRL_MAC_ADDR = BIT(23),
	VIRTIO_NET_F_SPEED_DUPLEX = BIT(63),
};
/* Configuration [5.1.4]: offsets */
enum : uint32_t {
	NET_MAC = 0,
	NET_STATUS = 6,			/* 16 bits, with F_STATUS */
	NET_MAX_PAIRS = 8,		/* 16 bits, with F_MQ */
	NET_MTU = 10,			/* 16 bits, with F_MTU */
	NET_SPEED = 12,			/* 32 bits, with F_SPEED_DUPLEX */
	NET_DUPLEX = 16,
};
enum : uint16_t { NET_S_LINK_UP = 1, NET_S_ANNOUNCE = 2 };
enum { NET_MAC_BYTES = 6 };

/* Before each packet, both ways [5.1.6] */
struct virtio_net_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	uint16_t num_buffers;		/* there with VERSION_1, whether buffers merge or not */
};
static_assert(sizeof(struct virtio_net_hdr) == 12);
enum : uint8_t {
	NET_HDR_F_NEEDS_CSUM = 1, NET_HDR_F_DATA_VALID = 2,
	NET_HDR_GSO_NONE = 0, NET_HDR_GSO_TCPV4 = 1, NET_HDR_GSO_TCPV6 = 4, NET_HDR_GSO_ECN = 0x80,
};

/* Control queue [5.1.6.5]: class, command, data; then one byte that the device writes */
struct virtio_net_ctrl { uint8_t class, command; };
static_assert(sizeof(struct virtio_net_ctrl) == 2);
enum : uint8_t {
	NET_CTRL_RX = 0, NET_CTRL_RX_PROMISC = 0, NET_CTRL_RX_ALLMULTI = 1,
	NET_CTRL_MAC = 1, NET_CTRL_MAC_TABLE_SET = 0, NET_CTRL_MAC_ADDR_SET = 1,
	NET_CTRL_ANNOUNCE = 3, NET_CTRL_ANNOUNCE_ACK = 0,
	NET_CTRL_MQ = 4, NET_CTRL_MQ_PAIRS_SET = 0,
	NET_CTRL_OFFLOADS = 5, NET_CTRL_OFFLOADS_SET = 0,
	NET_ACK_OK = 0, NET_ACK_ERR = 1,
};

/* Block device [5.2] */
enum : uint64_t {
	VIRTIO_BLK_F_SIZE_MAX = BIT(1),
	VIRTIO_BLK_F_SEG_MAX = BIT(2),
	VIRTIO_BLK_F_GEOMETRY = BIT(4),
	VIRTIO_BLK_F_RO = BIT(5),
	VIRTIO_BLK_F_BLK_SIZE = BIT(6),
	VIRTIO_BLK_F_FLUSH = BIT(9),
	VIRTIO_BLK_F_TOPOLOGY = BIT(10),
	VIRTIO_BLK_F_CONFIG_WCE = BIT(11),
	VIRTIO_BLK_F_MQ = BIT(12),
	VIRTIO_BLK_F_DISCARD = BIT(13),
	VIRTIO_BLK_F_WRITE_ZEROES = BIT(14),
};
/* Configuration [5.2.4]: offsets */
enum : uint32_t {
	BLK_CAPACITY = 0,		/* 64 bits: sectors of 512 bytes */
	BLK_SIZE_MAX = 8,
	BLK_SEG_MAX = 12,
	BLK_BLK_SIZE = 20,
	BLK_PHYSICAL_EXP = 24,		/* 8 bits */
	BLK_ALIGNMENT = 25,		/* 8 bits */
	BLK_MIN_IO = 26,		/* 16 bits */
	BLK_OPT_IO = 28,
	BLK_WRITEBACK = 32,		/* 8 bits */
	BLK_NUM_QUEUES = 34,		/* 16 bits */
	BLK_MAX_DISCARD_SECTORS = 36,
	BLK_MAX_DISCARD_SEG = 40,
	BLK_DISCARD_ALIGNMENT = 44,
	BLK_MAX_WRITE_ZEROES_SECTORS = 48,
	BLK_MAX_WRITE_ZEROES_SEG = 52,
	BLK_WRITE_ZEROES_MAY_UNMAP = 56,	/* 8 bits */
};

/* A request [5.2.6]: this, data, then one byte of status that the device writes */
struct virtio_blk_req { uint32_t type, reserved; uint64_t sector; };
static_assert(sizeof(struct virtio_blk_req) == 16);
struct virtio_blk_range { uint64_t sector; uint32_t num_sectors, flags; };
static_assert(sizeof(struct virtio_blk_range) == 16);
enum : uint32_t {
	BLK_T_IN = 0, BLK_T_OUT = 1, BLK_T_FLUSH = 4, BLK_T_GET_ID = 8, BLK_T_DISCARD = 11,
	BLK_T_WRITE_ZEROES = 13,
	BLK_RANGE_UNMAP = 1,
	BLK_SECTOR = 512, BLK_ID_BYTES = 20,
};
enum : uint8_t { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };
