/* The virtio translators, and what speaks for devices that have none; xlate.c tells what they
 * check. */
#pragma once

#include "kern/dma/xlate.h"

extern const struct xlate_class virtio_net_xlate, virtio_blk_xlate, virtio_other_xlate;
