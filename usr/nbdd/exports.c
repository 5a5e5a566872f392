/*
 * What a disk makes of an export: exports.h.
 */
#include "usr/nbdd/exports.h"
#include "kern/base/str.h"

bool
export_fits(uint64_t blocks, uint64_t block_bytes, uint64_t max_transfer, struct nbd_export *e)
{
	uint64_t bytes, piece = align_down(min_u64(max_transfer, NBD_PIECE_BYTES), PAGE_SIZE);

	e->bytes = 0;
	if (!is_pow2(block_bytes) || block_bytes > PAGE_SIZE || piece == 0 ||
	    __builtin_mul_overflow(blocks, block_bytes, &bytes))
		return false;
	e->bytes = bytes;
	e->block_bytes = (uint32_t)block_bytes;
	e->piece_bytes = (uint32_t)piece;
	return bytes != 0;
}
