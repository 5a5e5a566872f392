/* The virtio-iommu driver, for arch/<a>/devtab.c. */
#pragma once

struct iommu_driver;

extern const struct iommu_driver viommu_driver;
