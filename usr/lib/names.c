/*
 * What things are called in text for people and programs.
 */
#include "usr/lib/names.h"
#include "kern/base/fmt.h"

void
name_function(char *to, uint32_t function)
{
	fmt_buf(to, FUNCTION_TEXT, "%04x:%02x:%02x.%x", function >> 16, function >> 8 & 0xff,
	    function >> 3 & 31, function & 7);
}

const char *
name_class(uint32_t class_code)
{
	static const struct { uint32_t code, mask; const char *text;
	} name[] = {
		{ 0x010802, 0xffffff, "NVMe controller" },
		{ 0x010601, 0xffffff, "SATA controller" },
		{ 0x010000, 0xff0000, "storage" },
		{ 0x020000, 0xffff00, "Ethernet controller" },
		{ 0x020000, 0xff0000, "network" },
		{ 0x030000, 0xff0000, "display" },
		{ 0x040000, 0xff0000, "multimedia" },
		{ 0x060000, 0xffff00, "host bridge" },
		{ 0x060100, 0xffff00, "ISA bridge" },
		{ 0x060400, 0xffff00, "PCI bridge" },
		{ 0x060000, 0xff0000, "bridge" },
		{ 0x070000, 0xff0000, "communication" },
		{ 0x080600, 0xffff00, "IOMMU" },
		{ 0x080000, 0xff0000, "system" },
		{ 0x0c0300, 0xffff00, "USB controller" },
		{ 0x0c0500, 0xffff00, "SMBus controller" },
		{ 0x0c0000, 0xff0000, "serial bus" },
		{ 0x120000, 0xff0000, "accelerator" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(name); i++)
		if ((class_code & name[i].mask) == name[i].code)
			return name[i].text;
	return "device";
}
