/* The live test by a virtio network device, and by a virtio disk: canary.c. */
#pragma once

#include "kern/dma/canary.h"

extern const struct canary_class virtio_net_canary, virtio_blk_canary;
