/*
 * randfile SIZE SEED: that many pseudo-random bytes (64M, 1G, 1000) on standard output, always the
 * same for the same seed.  xorshift64*; for disk images, not for secrets.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	static uint64_t block[8192];
	uint64_t size, x;
	char *unit;

	if (argc != 3)
		return 2;
	size = strtoull(argv[1], &unit, 10);
	size <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 0;
	x = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	while (size > 0) {
		size_t n = size < sizeof(block) ? (size_t)size : sizeof(block);

		for (size_t i = 0; i < sizeof(block) / sizeof(block[0]); i++) {
			x ^= x >> 12;
			x ^= x << 25;
			x ^= x >> 27;
			block[i] = x * 0x2545f4914f6cdd1dull;
		}
		if (fwrite(block, 1, n, stdout) != n)
			return 1;
		size -= n;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
