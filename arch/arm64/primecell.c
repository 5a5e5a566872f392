/*
 * Which PrimeCell a page of registers is: primecell.h.
 */
#include "arch/arm64/primecell.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"

enum : uint32_t { PERIPHERAL_ID = 0xfe0, CELL_ID = 0xff0, IS_PRIMECELL = 0xb105f00d };
enum : uint32_t {
	ID_PART     = BITS(11, 0),
	ID_DESIGNER = BITS(19, 12),
	DESIGNER_ARM = 0x41,
};

/* Four registers of a byte each. */
static uint32_t
id(volatile uint8_t *page, uint32_t at)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++)
		v |= (mmio_read32(page + at + 4 * i) & 0xff) << 8 * i;
	return v;
}

bool
primecell_is(volatile uint8_t *page, uint32_t part)
{
	uint32_t v;

	if (id(page, CELL_ID) != IS_PRIMECELL)
		return false;
	v = id(page, PERIPHERAL_ID);
	return FIELD_GET(ID_PART, v) == part && FIELD_GET(ID_DESIGNER, v) == DESIGNER_ARM;
}
