/*
 * The IOMMU drivers that this kernel holds.
 */
#include "kern/dma/iommu.h"

extern const struct iommu_driver amdvi_driver;
extern const struct iommu_driver viommu_driver;
extern const struct iommu_driver vtd_driver;

const struct iommu_driver *const iommu_drivers[] = { &vtd_driver, &amdvi_driver, &viommu_driver, NULL };
