/*
 * A UEFI application for a test: offers a device tree of another machine beside the ACPI tables of
 * this one, as some clouds' firmware does, and says that there is nothing to start.
 */
#include "boot/efi.h"
#include "kern/base/str.h"

static const uint8_t tree[] = {
#embed "../../build/dts/soc.dtb"
};

efi_status efi_main(efi_handle image, struct efi_system_table *table);

efi_status
efi_main(efi_handle image UNUSED, struct efi_system_table *table)
{
	static const struct efi_guid guid = DTB_TABLE_GUID;
	efi_status (*install)(const struct efi_guid *, void *) =
	    (efi_status (*)(const struct efi_guid *, void *))table->boot->install_table;
	uint64_t at;

	if (table->boot->allocate_pages(
		EFI_ALLOCATE_ANY, EFI_ACPI_RECLAIM, pages_of(sizeof(tree)), &at) != EFI_SUCCESS)
		return EFI_OUT_OF_RESOURCES;
	memcpy((void *)(uintptr_t)at, tree, sizeof(tree));
	if (install(&guid, (void *)(uintptr_t)at) == EFI_SUCCESS)
		(void)table->out->output_string(
		    table->out, u"offered: a device tree of another machine\r\n");
	return EFI_NOT_FOUND;
}
