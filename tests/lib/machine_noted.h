/* What a reader of firmware's tables complained of. */
#pragma once

#include <string.h>

#include "kern/machine/machine.h"

/* Some note of it has this part. */
static inline bool
machine_noted(const struct machine *m, const char *part)
{
	for (uint32_t i = 0; i < m->note_count; i++)
		if (strstr(m->note[i], part) != NULL)
			return true;
	return false;
}
