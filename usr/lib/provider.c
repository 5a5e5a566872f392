/*
 * Who runs this machine.  Names and numbers as their owners document them: SMBIOS type 1 of AWS
 * ("Amazon EC2", product is the instance type), of Google ("Google", "Google Compute Engine"), of
 * Azure and Hyper-V ("Microsoft Corporation", "Virtual Machine"), of QEMU ("QEMU"); OEM names of
 * ACPI tables; PCI vendors.  A virtio vendor (1af4) says nothing: every cloud may have it.
 */
#include "usr/lib/provider.h"
#include "kern/base/bits.h"
#include "kern/base/str.h"

struct name { const char *prefix; enum provider provider; };

static enum provider
find(const struct name *names, unsigned count, const char *text)
{
	for (unsigned i = 0; i < count; i++)
		if (strncmp(text, names[i].prefix, strlen(names[i].prefix)) == 0)
			return names[i].provider;
	return PROVIDER_UNKNOWN;
}

const char *
provider_text(enum provider p)
{
	static const char *const text[] = { "unknown", "AWS", "Google Cloud", "Azure or Hyper-V",
		"QEMU" };

	static_assert(ARRAY_SIZE(text) == PROVIDERS);
	return text[p < PROVIDERS ? p : PROVIDER_UNKNOWN];
}

enum provider
provider_of_maker(const char *maker)
{
	static const struct name names[] = {
		{ "Amazon EC2", PROVIDER_AWS },
		{ "Google", PROVIDER_GOOGLE },
		{ "Microsoft Corporation", PROVIDER_MICROSOFT },
		{ "QEMU", PROVIDER_QEMU },
	};

	return find(names, ARRAY_SIZE(names), maker);
}

enum provider
provider_of_model(const char *model)
{
	static const struct name names[] = {
		{ "AMAZON ", PROVIDER_AWS },
		{ "Google ", PROVIDER_GOOGLE },
		{ "VRTUAL ", PROVIDER_MICROSOFT },
		{ "BOCHS ", PROVIDER_QEMU },
		{ "linux,dummy-virt", PROVIDER_QEMU },
	};

	return find(names, ARRAY_SIZE(names), model);
}

enum provider
provider_of_vendor(uint16_t vendor)
{
	switch (vendor) {
	case 0x1d0f: return PROVIDER_AWS;
	case 0x1ae0: return PROVIDER_GOOGLE;
	case 0x1414: return PROVIDER_MICROSOFT;
	case 0x1b36: return PROVIDER_QEMU;
	default: return PROVIDER_UNKNOWN;
	}
}

const char *
provider_instance(enum provider p, const char *product)
{
	return p == PROVIDER_AWS && product[0] != 0 ? product : NULL;
}
