/* The VT-d driver, for arch/<a>/devtab.c. */
#pragma once

struct iommu_driver;

extern const struct iommu_driver vtd_driver;
