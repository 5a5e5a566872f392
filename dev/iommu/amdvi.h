/* The AMD-Vi driver, for arch/<a>/devtab.c. */
#pragma once

struct iommu_driver;

extern const struct iommu_driver amdvi_driver;
