/*
 * Lists of capabilities.
 *
 * Two lists: one in the first 256 bytes, whose entries begin with id and next offset, and one from
 * 0x100 on with wider words.  Both are the device's to write, so they are bounded by how many
 * entries could be in there at all: a longer list is a loop.
 */
#include "kern/pci_config.h"

enum : uint32_t {
	FIRST = 0x40,
	ENTRIES = (CFG_END - FIRST) / 4,
	EXTENDED_ENTRIES = (CFG_EXTENDED_END - CFG_END) / 8,
};

uint32_t
pci_config_next_cap(const struct pci_function *f, uint32_t at, uint32_t *count, uint32_t *id)
{
	if (at == 0 && (pci_read(f, CFG_STATUS, 2) & STATUS_CAPS) == 0)
		return 0;
	at = pci_read(f, at == 0 ? CFG_CAPS : at + 1, 1) & 0xfc;
	if (at < FIRST || ++*count > ENTRIES)
		return 0;
	*id = pci_read(f, at, 1);
	return *id == 0xff ? 0 : at;
}

uint32_t
pci_config_next_xcap(const struct pci_function *f, uint32_t at, uint32_t *count, uint32_t *id)
{
	uint32_t word;

	at = at == 0 ? CFG_END : pci_read(f, at, 4) >> 20 & 0xffc;
	if (at < CFG_END || ++*count > EXTENDED_ENTRIES)
		return 0;
	word = pci_read(f, at, 4);
	*id = word & 0xffff;
	return word == 0 || word == UINT32_MAX ? 0 : at;
}
