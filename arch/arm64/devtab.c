/*
 * The IOMMU drivers that this kernel holds.
 */
#include "kern/dma/iommu.h"

extern const struct iommu_driver smmuv3_driver;
extern const struct iommu_driver viommu_driver;

const struct iommu_driver *const iommu_drivers[] = { &smmuv3_driver, &viommu_driver, NULL };
