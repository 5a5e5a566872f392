/*
 * The boot archive's reader: what it finds lies inside.
 *
 * LINK: kern/base/cpio.c kern/base/str.c
 * FUZZ: -max_len=1024
 */
#include <stdlib.h>

#include "kern/base/cpio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "init", "a", "" };

	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *file;
		uint64_t n;
		volatile uint8_t sum = 0;

		if (cpio_find(data, size, names[i], &file, &n) != CPIO_FOUND)
			continue;
		if (file < data || n > size || (size_t)(file - data) > size - n)
			abort();
		for (uint64_t k = 0; k < n; k++)
			sum = (uint8_t)(sum + file[k]);
	}
	return 0;
}
