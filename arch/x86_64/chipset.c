/*
 * Chipsets that tell themselves where their power management is: chipset.h.
 */
#include "arch/x86_64/chipset.h"
#include "kern/base/bits.h"
#include "kern/pci.h"

/*
 * The bridge to the board's own devices, of an ICH: the register with the base of a block of 128
 * ports (bit 0 says that they are ports), and the one whose bit 7 has them decoded.
 */
static const struct chipset {
	uint16_t rid, vendor, device;
	uint8_t base, control;
} chipsets[] = {
	{ 0x00f8, 0x8086, 0x2918, 0x40, 0x44 },		/* ICH9: 0:31.0 */
};

enum : uint32_t {
	IS_PORTS = BIT(0),
	BLOCK = BITS(15, 7),
	BLOCK_LEN = 128,
	PM1_CNT = 4,
	ACPI_EN = BIT(7),
	PORTS_OF_THE_BOARD = 0x100,
};

static const struct chipset *
find(const struct chipset_config *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(chipsets); i++)
		if (c->read(chipsets[i].rid, 0, 4) ==
		    ((uint32_t)chipsets[i].device << 16 | chipsets[i].vendor))
			return &chipsets[i];
	return NULL;
}

uint32_t
chipset_pm1a_control(const struct chipset_config *c)
{
	const struct chipset *k = find(c);
	uint32_t v = k == NULL ? 0 : c->read(k->rid, k->base, 4);

	if ((v & IS_PORTS) == 0 || v >> 16 != 0 || (v & BLOCK) < PORTS_OF_THE_BOARD)
		return 0;
	return (v & BLOCK) + PM1_CNT;
}

bool
chipset_decode(const struct chipset_config *c, uint32_t pm1a_control,
    const struct pci_function *functions, uint32_t count)
{
	const struct chipset *k = find(c);
	uint32_t v;

	if (k == NULL || pm1a_control == 0 || chipset_pm1a_control(c) != pm1a_control)
		return false;
	for (uint32_t i = 0; i < count; i++)
		for (unsigned n = 0; n < DEVICE_BARS; n++) {
			const struct pci_bar *b = &functions[i].bar[n];

			if (b->io && b->len != 0 &&
			    ranges_overlap(b->pci_base, b->len, pm1a_control - PM1_CNT, BLOCK_LEN))
				return false;
		}
	v = c->read(k->rid, k->control, 1);
	if ((v & ACPI_EN) == 0)
		c->write(k->rid, k->control, 1, v | ACPI_EN);
	return (c->read(k->rid, k->control, 1) & ACPI_EN) != 0;
}
