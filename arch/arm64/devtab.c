/*
 * The IOMMU drivers, the translators and the live tests that this kernel holds.
 */
#include "dev/nvme/canary.h"
#include "dev/nvme/xlate.h"
#include "dev/virtio/canary.h"
#include "dev/virtio/xlate.h"
#include "kern/dma/iommu.h"

extern const struct iommu_driver smmuv3_driver;
extern const struct iommu_driver viommu_driver;

const struct iommu_driver *const iommu_drivers[] = { &smmuv3_driver, &viommu_driver, NULL };

const struct xlate_class *const xlate_classes[] = { &nvme_xlate, &virtio_net_xlate,
	&virtio_blk_xlate, &virtio_other_xlate, NULL };

const struct canary_class *const canary_classes[] = { &nvme_canary, &virtio_net_canary,
	&virtio_blk_canary, NULL };
