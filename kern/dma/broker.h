/*
 * The unit of devices that have none: the brokered lane.
 *
 * No hardware stands behind such a device, so nothing here maps or blocks.  What a driver may name
 * is in the windows (window.h), and the addresses that its device sees are written by the kernel
 * alone (xlate.h, ring.h).  A domain on this unit still gives out addresses, keeps the ledger, and
 * runs the same states, so that the rest does not ask which lane it is.
 *
 * What an invalidation is elsewhere, a device that was seen to stop is here: tickets are past at
 * once, and the end of a claim puts the confirmed reset before anything is unpinned
 * (kern/device_end.c, D7).  A grant that its driver takes back meanwhile is in no outstanding
 * entry, for those pin it.  A hostile device keeps to none of this:
 * hostile_hardware_isolation=not-claimed.
 */
#pragma once

#include "kern/dma/iommu.h"

extern struct iommu_unit broker_unit;
