/*
 * virtio-iommu: transport, queues, requests.  Source: virtio 1.2, 4.1.4 (PCI), 2.7 (split queues),
 * 5.13 (IOMMU device).
 *
 * All fields are little-endian.
 */
#pragma once

#include "kern/base/bits.h"

enum : uint16_t { VIRTIO_VENDOR = 0x1af4, VIOMMU_DEVICE = 0x1040 + 23 };

/* Vendor capability [4.1.4]: cfg_type 1 common, 2 notify, 4 device; in BAR bar, offset, length. */
enum : uint32_t {
	VCAP_ID = 0x09,
	VCAP_TYPE = 3,
	VCAP_BAR = 4,
	VCAP_OFFSET = 8,
	VCAP_LENGTH = 12,
	VCAP_MULTIPLIER = 16,
	VCAP_MIN = 16,
	VCAP_COMMON = 1,
	VCAP_NOTIFY = 2,
	VCAP_DEVICE = 4,
};

/* Common configuration [4.1.4.3] */
enum : uint32_t {
	VCOM_DEVICE_SELECT = 0,
	VCOM_DEVICE_FEATURES = 4,
	VCOM_DRIVER_SELECT = 8,
	VCOM_DRIVER_FEATURES = 12,
	VCOM_MSIX = 16,
	VCOM_STATUS = 20,
	VCOM_QUEUE = 22,
	VCOM_QUEUE_SIZE = 24,
	VCOM_QUEUE_MSIX = 26,
	VCOM_QUEUE_ENABLE = 28,
	VCOM_QUEUE_NOTIFY = 30,
	VCOM_QUEUE_DESC = 32,
	VCOM_QUEUE_AVAIL = 40,
	VCOM_QUEUE_USED = 48,
	VCOM_LEN = 56,
};
enum : uint8_t {
	VSTATUS_ACKNOWLEDGE = 1,
	VSTATUS_DRIVER = 2,
	VSTATUS_DRIVER_OK = 4,
	VSTATUS_FEATURES_OK = 8,
	VSTATUS_NEEDS_RESET = 64,
};
enum : uint64_t {
	VF_INPUT_RANGE   = BIT(0),
	VF_DOMAIN_RANGE  = BIT(1),
	VF_MAP_UNMAP     = BIT(2),
	VF_BYPASS        = BIT(3),	/* never: who is attached to nothing would pass */
	VF_PROBE         = BIT(4),
	VF_MMIO          = BIT(5),
	VF_BYPASS_CONFIG = BIT(6),
	VF_VERSION_1     = BIT(32),
	VF_ACCESS_PLATFORM = BIT(33),
};
enum : uint16_t { VMSIX_NONE = 0xffff };

/* Device configuration [5.13.4; VIO-03] */
enum : uint32_t {
	VCFG_PAGE_SIZES = 0,
	VCFG_INPUT_START = 8,
	VCFG_INPUT_END = 16,
	VCFG_DOMAIN_START = 24,
	VCFG_DOMAIN_END = 28,
	VCFG_PROBE_SIZE = 32,
	VCFG_BYPASS = 36,
	VCFG_LEN = 40,
};

/* Split queue [2.7]: descriptor of 16 bytes; second word is length, flags, next. */
enum : uint64_t {
	VDESC_LEN = BITS(31, 0),
	VDESC_NEXT = BIT(32),
	VDESC_WRITE = BIT(33),
	VDESC_LINK = BITS(63, 48)
};
enum : uint32_t { VAVAIL_NO_INTERRUPT = 1, VQ_REQUEST = 0, VQ_EVENT = 1 };

/* Requests [5.13.6; VIO-10]: first word is type and domain (or, of a probe, endpoint). */
enum : uint64_t { VREQ_TYPE = BITS(7, 0), VREQ_ID = BITS(63, 32) };
enum : uint8_t { VREQ_ATTACH = 1, VREQ_DETACH, VREQ_MAP, VREQ_UNMAP, VREQ_PROBE };
enum : uint32_t {
	VREQ_ATTACH_LEN = 20,
	VREQ_DETACH_LEN = 20,
	VREQ_MAP_LEN = 36,
	VREQ_UNMAP_LEN = 28,
	VREQ_PROBE_LEN = 72,
	VREQ_TAIL = 4,
	VMAP_READ = 1,
	VMAP_WRITE = 2,
	VMAP_MMIO = 4,
};
enum : uint8_t {
	VS_OK,
	VS_IOERR,
	VS_UNSUPP,
	VS_DEVERR,
	VS_INVAL,
	VS_RANGE,
	VS_NOENT,
	VS_FAULT,
	VS_NOMEM,
	VS_NONE = 0xff
};

/* Properties of an endpoint [5.13.6.10; VIO-18] */
enum : uint32_t {
	VPROP_TYPE_MASK = 0xfff,
	VPROP_NONE = 0,
	VPROP_RESV_MEM = 1,
	VPROP_RESV_LEN = 20
};

/* Events [5.13.6.11; VIO-20] */
enum : uint32_t {
	VEVENT_LEN = 24, VEVENT_DOMAIN = 1, VEVENT_MAPPING = 2,
	VEVENT_READ = 1, VEVENT_WRITE = 2, VEVENT_ADDRESS = 0x100,
};
