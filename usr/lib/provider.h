/*
 * Who runs this machine: a guess from names, never authority over anything (docs/evidence.md).
 */
#pragma once

#include "kern/base/types.h"

enum provider : uint8_t {
	PROVIDER_UNKNOWN,
	PROVIDER_AWS,
	PROVIDER_GOOGLE,
	PROVIDER_MICROSOFT,
	PROVIDER_QEMU,			/* an emulator, or a cloud that does not change its names */
	PROVIDERS
};

const char *provider_text(enum provider p);

/* By the maker's name of SMBIOS; by the OEM names of ACPI tables ("AMAZON AMZNFACP"). */
enum provider provider_of_maker(const char *maker);
enum provider provider_of_model(const char *model);

/* By the vendor of one PCI function, who makes devices for no other's machines. */
enum provider provider_of_vendor(uint16_t vendor);

/* The type of the machine, where the provider puts it into the product's name; else NULL. */
const char *provider_instance(enum provider p, const char *product);
