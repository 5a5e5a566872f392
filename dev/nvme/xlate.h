/* The NVMe translator, for arch/<a>/devtab.c. */
#pragma once

#include "kern/dma/xlate.h"

extern const struct xlate_class nvme_xlate;
