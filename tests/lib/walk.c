/* See walk.h. */
#include "tests/lib/walk.h"

#include "kern/base/bits.h"
#include "tests/lib/fake_kernel.h"

static bool
fetch(uint64_t table, uint64_t index, uint64_t *e, struct walk *out)
{
	uint64_t at = table + index * 8;

	if (!fake_is_memory(at, 8) || frame_state_of((struct paddr){ at }) != FRAME_IOMMU) {
		out->result = WALK_NOT_TABLE;
		return false;
	}
	*e = fake_device_load(at);
	return true;
}

/*
 * Level L of 0..3 is indexed by bits [47 - 9L : 39 - 9L]; the first level takes all bits above.
 * Valid is bit 0; bit 1 tells tables (levels 0..2) and pages (level 3) from blocks (levels 1, 2).
 */
void
walk_vmsa(unsigned stage, uint64_t root, unsigned start_level, unsigned input_bits,
    unsigned output_bits, uint64_t at, struct walk *out)
{
	uint64_t table = root, e;

	*out = (struct walk){ .result = WALK_NONE };
	if (at >> input_bits != 0)
		return;
	for (unsigned level = start_level; level <= 3; level++) {
		unsigned shift = 39 - 9 * level;
		uint64_t index = level == start_level ? at >> shift : (at >> shift) & 511;

		if (!fetch(table, index, &e, out))
			return;
		if ((e & 1) == 0)
			return;
		if (level < 3 && (e & 2) != 0) {
			/* NSTable, APTable, XNTable, PXNTable are not for us: they would limit what
			 * is below. */
			if ((e & (BITS(63, 59) | BITS(58, 48))) != 0) {
				out->result = WALK_MALFORMED;
				return;
			}
			table = e & BITS(47, 12);
			if (table >> output_bits != 0) {
				out->result = WALK_SIZE;
				return;
			}
			out->table_lg2[out->tables] = (uint8_t)shift;
			out->table_at[out->tables++] = table;
			continue;
		}
		if (level == 0 || (level == 3 && (e & 2) == 0))
			return;		/* reserved encodings are faults */
		out->leaf = e;
		out->size_lg2 = (uint8_t)shift;
		out->to = (e & BITS(47, 12) & ~(BIT(shift) - 1)) | (at & (BIT(shift) - 1));
		/* Block: address bits below its size, but for bit 16 (nT), are zero.  Contiguous,
		 * DBM, NS: not ours. */
		if ((e & BITS(47, 12) & (BIT(shift) - 1)) != 0 ||
		    (e & (BIT(5) & (stage == 1 ? ~0ull : 0))) != 0 ||
		    (e & (BITS(52, 48) | BITS(63, 55))) != 0) {
			out->result = WALK_MALFORMED;
			return;
		}
		if (out->to >> output_bits != 0) {
			out->result = WALK_SIZE;
			return;
		}
		if ((e & BIT(10)) == 0) {
			out->result = WALK_ACCESS;
			return;
		}
		if (stage == 1) {
			out->read = (e & BIT(6)) != 0;		/* devices are unprivileged */
			out->write = out->read && (e & BIT(7)) == 0;
			out->device = FIELD_GET(BITS(4, 2), e) == 0;
			out->executable = (e & (BIT(53) | BIT(54))) != (BIT(53) | BIT(54));
			out->global = (e & BIT(11)) == 0;
		} else {
			out->read = (e & BIT(6)) != 0;
			out->write = (e & BIT(7)) != 0;
			out->device = FIELD_GET(BITS(5, 4), e) == 0;
			out->executable = (e & BIT(54)) == 0;
		}
		out->result = WALK_OK;
		return;
	}
}

/* Levels count down to 1.  R and W are ANDed over all levels; neither: not present.  PS at levels 2
 * and 3. */
void
walk_vtdss(
    uint64_t root, unsigned levels, unsigned output_bits, bool snoop, uint64_t at, struct walk *out)
{
	uint64_t table = root, rights = 3, e;

	*out = (struct walk){ .result = WALK_NONE };
	if (at >> (12 + 9 * levels) != 0)
		return;
	for (unsigned level = levels; level >= 1; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		bool leaf;

		if (!fetch(table, (at >> shift) & 511, &e, out))
			return;
		if ((e & 3) == 0)
			return;
		leaf = level == 1 || (e & BIT(7)) != 0;
		if ((e & BITS(6, 2)) != 0 || (e & BITS(10, 8)) != 0 || (e & BITS(63, 52)) != 0 ||
		    (level == 1 && (e & BIT(7)) != 0) ||
		    ((e & BIT(11)) != 0 && (!snoop || !leaf)) ||
		    (leaf && (level > 3 || (e & BITS(51, 12) & (BIT(shift) - 1)) != 0))) {
			out->result = WALK_MALFORMED;
			return;
		}
		if ((e & BITS(51, 12)) >> output_bits != 0) {
			out->result = WALK_SIZE;
			return;
		}
		rights &= e;
		if (!leaf) {
			table = e & BITS(51, 12);
			out->table_lg2[out->tables] = (uint8_t)shift;
			out->table_at[out->tables++] = table;
			continue;
		}
		out->leaf = e;
		out->size_lg2 = (uint8_t)shift;
		out->to = (e & BITS(51, 12)) | (at & (BIT(shift) - 1));
		out->read = (rights & 1) != 0;
		out->write = (rights & 2) != 0;
		out->result = WALK_OK;
		return;
	}
}

/*
 * Levels count down to 1.  PR is bit 0; NextLevel (11:9) is 0 for a page of the level's size, 7 for
 * a page whose size is coded by the first zero from bit 12 of its address, else the level of the
 * next table, which is lower; the address bits of levels in between are zero.  IR, IW (61, 62) are
 * ANDed.
 */
void
walk_amdv1(uint64_t root, unsigned mode, unsigned output_bits, uint64_t at, struct walk *out)
{
	uint64_t table = root, rights = 3, e;
	unsigned level = mode, next;

	*out = (struct walk){ .result = WALK_NONE };
	if (12 + 9 * mode < 64 && at >> (12 + 9 * mode) != 0)
		return;
	for (;; level = next) {
		unsigned shift = 12 + 9 * (level - 1), size = shift;

		if (!fetch(table, (at >> shift) & 511, &e, out))
			return;
		if ((e & 1) == 0) {
			if (e != 0)	/* AMD-82: an absent entry is zero */
				out->result = WALK_MALFORMED;
			return;
		}
		next = (unsigned)FIELD_GET(BITS(11, 9), e);
		rights &= e >> 61;
		if ((e & (BITS(4, 1) | BITS(8, 7) | BITS(59, 52) | BIT(63))) != 0 ||
		    (next != 7 && next >= level)) {
			out->result = WALK_MALFORMED;
			return;
		}
		if ((e & BITS(51, 12)) >> output_bits != 0) {
			out->result = WALK_SIZE;
			return;
		}
		if (next != 0 && next != 7) {
			uint64_t skipped =
			    next + 1 < level ? at & BITS(shift - 1, 12 + 9 * next) : 0;

			if (skipped != 0)
				return;
			table = e & BITS(51, 12);
			out->table_lg2[out->tables] = (uint8_t)shift;
			out->table_at[out->tables++] = table;
			continue;
		}
		out->to = e & BITS(51, 12);
		if (next == 7) {
			for (size = 12; (e >> size & 1) != 0; size++)
				;
			size++;
			out->to &= ~(BIT(size) - 1);
			if (size <= shift ||
			    size >=
				shift + 9) /* smaller than, or as large as, a level's own sizes */
				out->result = WALK_MALFORMED;
		} else if ((out->to & (BIT(size) - 1)) != 0) {
			out->result = WALK_MALFORMED;
		}
		if (out->result == WALK_MALFORMED)
			return;
		out->leaf = e;
		out->size_lg2 = (uint8_t)size;
		out->to |= at & (BIT(size) - 1);
		out->read = (rights & 1) != 0;
		out->write = (rights & 2) != 0;
		out->result = WALK_OK;
		return;
	}
}
