/*
 * cpio "newc": for each file a header of 110 bytes in ASCII, its name with a 0, its bytes; name and
 * bytes each padded to a multiple of 4.  All numbers are eight hex digits.  The file "TRAILER!!!"
 * is the end.
 *
 * Source: cpio(5), "New ASCII format" and "New CRC format" (whose check is the sum of the file's
 * bytes, 32 bits).
 */
#include "kern/base/cpio.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

/* Offsets of the header's numbers */
enum : uint32_t { H_FILE_SIZE = 54, H_NAME_SIZE = 94, H_CHECK = 102, HEADER = 110 };

static bool
hex8(const uint8_t *p, uint32_t *out)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 8; i++) {
		uint8_t c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | ((c | 0x20) - 'a' + 10u);
		else
			return false;
	}
	*out = v;
	return true;
}

enum cpio_result
cpio_find(const void *archive, uint64_t len, const char *name, const uint8_t **data, uint64_t *size)
{
	const uint8_t *a = archive;
	uint64_t at = 0;

	/* at never passes len, and grows by at least a header in each turn. */
	while (len - at >= HEADER) {
		const uint8_t *h = a + at, *file_name = h + HEADER;
		uint32_t file_size, name_size, check, sum = 0;
		uint64_t start;

		if (memcmp(h, "07070", 5) != 0 || (h[5] != '1' && h[5] != '2') ||
		    !hex8(h + H_FILE_SIZE, &file_size) || !hex8(h + H_NAME_SIZE, &name_size) ||
		    !hex8(h + H_CHECK, &check))
			return CPIO_DAMAGED;
		if (name_size == 0 || name_size > len - at - HEADER ||
		    file_name[name_size - 1] != 0)
			return CPIO_DAMAGED;
		start = align_up(at + HEADER + name_size, 4);
		if (strcmp((const char *)file_name, "TRAILER!!!") == 0)
			return CPIO_MISSING;
		if (start > len || file_size > len - start)
			return CPIO_DAMAGED;
		if (strcmp((const char *)file_name, name) == 0) {
			for (uint32_t i = 0; h[5] == '2' && i < file_size; i++)
				sum += a[start + i];
			if (h[5] == '2' && sum != check)
				return CPIO_DAMAGED;
			*data = a + start;
			*size = file_size;
			return CPIO_FOUND;
		}
		at = align_up(start + file_size, 4);
		if (at > len)
			return CPIO_DAMAGED;
	}
	return CPIO_DAMAGED;
}
