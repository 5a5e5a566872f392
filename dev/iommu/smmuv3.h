/* The SMMUv3 driver, for arch/<a>/devtab.c. */
#pragma once

struct iommu_driver;

extern const struct iommu_driver smmuv3_driver;
