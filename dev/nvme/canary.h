#pragma once

#include "kern/dma/canary.h"

/* NVM Express controllers, by class code. */
extern const struct canary_class nvme_canary;
