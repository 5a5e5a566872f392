/*
 * boot/main.c: what the kernel finds, and what firmware finds when the kernel cannot be entered.
 * LINK: boot/main.c tests/lib/model_uefi.c kern/base/fmt.c kern/base/str.c
 */
#include <atf-c.h>

#include <boot_md.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "kern/machine/handover.h"
#include "tests/lib/model_uefi.h"

efi_status efi_main(efi_handle image, struct efi_system_table *table);

/* Nothing is carried: everything comes from files. */
extern const char payload_kernel[], payload_archive[], payload_cmdline[];
extern const uint64_t payload_kernel_len, payload_archive_len, payload_cmdline_len;
const char payload_kernel[1] = "", payload_archive[1] = "", payload_cmdline[1] = "";
const uint64_t payload_kernel_len = 0, payload_archive_len = 0, payload_cmdline_len = 0;

static jmp_buf out;
static uint64_t entered, record;
static const char *refuses;

const char *boot_refuses(void) { return refuses; }
void boot_clean(uint64_t base UNUSED, uint64_t len UNUSED) { }

void
boot_jump(uint64_t entry, uint64_t at)
{
	entered = entry;
	record = at;
	longjmp(out, 1);
}

/* ---- A disk that is good ---- */

static uint8_t kernel[4096 + 64], archive[200];
static uint8_t xsdt[36], rsdp[36];
_Alignas(8) static uint8_t fdt[] = { 0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0x12, 0x34, 0, 0, 0, 0 };
static struct uefi_setup setup;

static void
put(uint8_t *at, uint64_t v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

/* One segment of 64 bytes in the file and two pages in memory. */
static void
good(void)
{
	memset(kernel, 0, sizeof(kernel));
	memcpy(kernel, "\177ELF\2\1\1", 7);
	put(kernel + 18, BOOT_ELF_MACHINE, 2);
	put(kernel + 32, 64, 8);
	put(kernel + 54, 56, 2);
	put(kernel + 56, 1, 2);
	put(kernel + 64, 1, 4);
	put(kernel + 64 + 8, 4096, 8);
	put(kernel + 64 + 24, 0x40200000, 8);
	put(kernel + 64 + 32, 64, 8);
	put(kernel + 64 + 40, 8192, 8);
	memset(kernel + 4096, 0x77, 64);
	memcpy(archive, "070701", 6);
	memset(xsdt, 0, sizeof(xsdt));
	memcpy(xsdt, "XSDT", 4);
	put(xsdt + 4, sizeof(xsdt), 4);
	memset(rsdp, 0, sizeof(rsdp));
	rsdp[15] = 2;
	put(rsdp + 24, (uintptr_t)xsdt, 8);
	refuses = NULL;
	setup = (struct uefi_setup){
		.file = { { "kernel", kernel, sizeof(kernel) },
		    { "boot.cpio", archive, sizeof(archive) }, { "cmdline", "of the file\n", 12 } },
		.map = { { EFI_CONVENTIONAL, 0, 0x4000'0000, 0, 0x100, EFI_MEMORY_WB },
		    { EFI_BOOT_CODE, 0, 0x4010'0000, 0, 0x100, EFI_MEMORY_WB },
		    { EFI_RUNTIME_DATA, 0, 0x4020'0000, 0, 0x10, EFI_MEMORY_WB },
		    { EFI_CONVENTIONAL, 0, 0x4021'0000, 0, 0x10, EFI_MEMORY_WB | EFI_MEMORY_SP },
		    { EFI_ACPI_RECLAIM, 0, 0x4022'0000, 0, 0x10, EFI_MEMORY_WB },
		    { EFI_MMIO, 0, 0x900'0000, 0, 1, 0 } },
		.map_count = 6,
		.rsdp = rsdp,
		.fdt = fdt,
		.options = "of the options",
	};
}

/* True: the kernel was entered.  Then the record is there, else all pages are back. */
static bool
starts(void)
{
	uefi_start(&setup);
	if (setjmp(out) != 0) {
		ATF_CHECK_MSG(uefi_violation() == NULL, "%s", uefi_violation());
		return true;
	}
	ATF_CHECK_EQ(efi_main(uefi_image(), uefi_table()), EFI_LOAD_ERROR);
	ATF_CHECK_MSG(uefi_violation() == NULL, "%s", uefi_violation());
	ATF_CHECK_EQ_MSG(uefi_pages_out(), 0, "%u left behind: %s", uefi_pages_out(), uefi_said());
	return false;
}

ATF_TC_WITHOUT_HEAD(the_kernel_is_entered_with_a_whole_record);
ATF_TC_BODY(the_kernel_is_entered_with_a_whole_record, tc)
{
	const struct handover *h;

	good();
	ATF_REQUIRE_MSG(starts(), "%s", uefi_said());
	h = (const struct handover *)(uintptr_t)record;
	ATF_CHECK(h->magic == HANDOVER_MAGIC && h->version == HANDOVER_VERSION &&
	    h->size == sizeof(*h));
	ATF_CHECK(h->image.base == entered && entered % (2 * MIB) == 0 && h->image.len == 8192);
	ATF_CHECK(memcmp((void *)(uintptr_t)entered, kernel + 4096, 64) == 0);
	for (unsigned i = 64; i < 8192; i++)
		ATF_REQUIRE_EQ(((uint8_t *)(uintptr_t)entered)[i], 0);
	ATF_CHECK(h->archive.len == sizeof(archive) &&
	    memcmp((void *)(uintptr_t)h->archive.base, archive, sizeof(archive)) == 0);
	ATF_CHECK(h->rsdp == (uintptr_t)rsdp && h->fdt.base == (uintptr_t)fdt &&
	    h->fdt.len == 0x1234);
	ATF_CHECK_STREQ(h->cmdline, "of the options of the file");
	ATF_CHECK_STREQ(h->firmware, "model 0x20064, UEFI 2.10");
	ATF_CHECK(h->seed_known == 1 && h->seed[31] == 0x5e);
	ATF_CHECK_EQ(h->wall_s, 1795281600);
	/* Neighbours that end as one kind are one; registers are none. */
	ATF_REQUIRE_EQ(h->range_count, 3);
	ATF_CHECK(h->range[0].kind == HANDOVER_RAM && h->range[0].base == 0x4000'0000 &&
	    h->range[0].len == 2 * MIB);
	ATF_CHECK(h->range[1].kind == HANDOVER_RESERVED && h->range[1].len == 0x20000);
	ATF_CHECK(h->range[2].kind == HANDOVER_ACPI_RECLAIM && h->range[2].base == 0x4022'0000);
	ATF_CHECK_EQ(h->range_lost, 0);
}

/* Firmware may change the map whenever it is asked to let go: then it is asked anew. */
ATF_TC_WITHOUT_HEAD(boot_services_end_by_the_map_as_it_is_then);
ATF_TC_BODY(boot_services_end_by_the_map_as_it_is_then, tc)
{
	for (uint32_t fail = 0; fail <= 3; fail++) {
		const struct handover *h;

		good();
		setup.exits_fail = fail;
		setup.map_grows = 2;
		ATF_REQUIRE_MSG(starts(), "%s", uefi_said());
		ATF_CHECK_EQ(uefi_exits(), fail + 1);
		h = (const struct handover *)(uintptr_t)record;
		ATF_CHECK_EQ(h->range_count, 3 + 2 * fail);
	}
}

/* One page that firmware's runtime code uses, of registers. */
ATF_TC_WITHOUT_HEAD(devices_that_firmware_keeps_are_handed_over);
ATF_TC_BODY(devices_that_firmware_keeps_are_handed_over, tc)
{
	const struct handover *h;
	uint32_t n;

	good();
	n = setup.map_count;
	setup.map[n++] =
	    (struct efi_memory){ EFI_MMIO, 0, 0x901'0000, 0, 1, EFI_MEMORY_RUNTIME | 1 };
	setup.map[n++] =
	    (struct efi_memory){ EFI_MMIO, 0, 0x400'0000, 0, 0x40, EFI_MEMORY_RUNTIME };
	setup.map[n++] = (struct efi_memory){ EFI_RUNTIME_DATA, 0, 0x4030'0000, 0, 1,
		EFI_MEMORY_RUNTIME | EFI_MEMORY_WB };
	setup.map[n++] = (struct efi_memory){ EFI_MMIO, 0, 0x902'0000, 0, 1, 1 };
	setup.map_count = n;
	ATF_REQUIRE_MSG(starts(), "%s", uefi_said());
	h = (const struct handover *)(uintptr_t)record;
	ATF_CHECK(h->device_count == 1 && h->device[0] == 0x901'0000);
	for (unsigned i = 0; i < 20; i++)
		setup.map[n++] = (struct efi_memory){ EFI_MMIO, 0, 0x1000'0000 + i * 0x2000, 0, 1,
			EFI_MEMORY_RUNTIME };
	setup.map_count = n;
	ATF_REQUIRE_MSG(starts(), "%s", uefi_said());
	h = (const struct handover *)(uintptr_t)record;
	ATF_CHECK(h->device_count == HANDOVER_DEVICES && h->device[7] == 0x1000'0000 + 6 * 0x2000);
}

ATF_TC_WITHOUT_HEAD(after_the_first_try_only_memory_is_asked_for);
ATF_TC_BODY(after_the_first_try_only_memory_is_asked_for, tc)
{
	good();
	setup.exits_fail = UINT32_MAX;
	ATF_CHECK(!starts());
	ATF_CHECK_EQ(uefi_exits(), 4);
	ATF_CHECK_EQ(uefi_stalls(), 0);
}

/* Each is one line, and time to read it. */
ATF_TC_WITHOUT_HEAD(what_is_wrong_is_one_line_and_leaves_no_memory_behind);
ATF_TC_BODY(what_is_wrong_is_one_line_and_leaves_no_memory_behind, tc)
{
	static const char *const lines[] = {
		"capos: \\capos\\arm64\\kernel is missing",
		"capos: \\capos\\arm64\\boot.cpio is missing",
		"capos: the boot archive is damaged",
		"capos: the boot archive is damaged",
		"capos: the kernel has only 63 bytes",
		"capos: the kernel is damaged: no whole ELF-64 file",
		"capos: the kernel is for another architecture (ELF machine 62, the other one of ours)",
		"capos: the kernel is damaged: a segment does not fit the file",
		"capos: the kernel is damaged: a segment does not fit the file",
		"capos: firmware offers neither ACPI tables nor a device tree",
		"capos: this CPU is none",
		"capos: \\capos\\arm64\\boot.cpio is empty, or larger than a GiB",
	};

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		good();
		switch (i) {
		case 0: setup.file[0].name = NULL; break;
		case 1: setup.file[1].name = NULL; break;
		case 2: archive[3] = '8'; break;
		case 3: setup.file[1].len = 109; break;
		case 4: setup.file[0].len = 63; break;
		case 5: put(kernel + 32, sizeof(kernel) - 55, 8); break;
		case 6: put(kernel + 18, BOOT_ELF_OTHER, 2); break;
		case 7: put(kernel + 64 + 8, 4097, 8); break;
		case 8: put(kernel + 64 + 40, 63, 8); break;
		case 9: setup.rsdp = setup.fdt = NULL; break;
		case 10: refuses = "this CPU is none"; break;
		case 11: setup.file[1].len = 0; break;
		}
		ATF_CHECK_MSG(!starts(), "%s", lines[i]);
		ATF_CHECK_MSG(strncmp(uefi_said(), lines[i], strlen(lines[i])) == 0, "%s, not %s",
		    uefi_said(), lines[i]);
		ATF_CHECK_EQ(uefi_lines(), 1);
		ATF_CHECK_EQ(uefi_stalls(), 1);
		ATF_CHECK_EQ(uefi_exits(), 0);
	}
}

/* The tables win, and what stands beside them takes no memory away. */
ATF_TC_WITHOUT_HEAD(what_is_no_device_tree_is_not_handed_over);
ATF_TC_BODY(what_is_no_device_tree_is_not_handed_over, tc)
{
	_Alignas(8) static uint8_t bad[][16] = { { 0xd0, 0x0d, 0xfe, 0xee, 0, 0, 0x12, 0x34 },
		{ 0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 39 }, { 0xd0, 0x0d, 0xfe, 0xed, 0, 0x20, 0, 1 },
		{ 0, 0, 0, 0, 0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0x12, 0x34 } };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		good();
		setup.fdt = i == 3 ? bad[i] + 4 : bad[i];
		ATF_REQUIRE_MSG(starts(), "%s", uefi_said());
		ATF_CHECK_EQ(((const struct handover *)(uintptr_t)record)->fdt.base, 0);
		ATF_CHECK_EQ(((const struct handover *)(uintptr_t)record)->fdt.len, 0);
	}
}

ATF_TC_WITHOUT_HEAD(too_little_memory_is_said_wherever_it_ends);
ATF_TC_BODY(too_little_memory_is_said_wherever_it_ends, tc)
{
	uint64_t n;

	for (n = 1;; n++) {
		good();
		setup.pages_max = n;
		if (starts())
			break;
		ATF_REQUIRE(n < 1000);
		ATF_CHECK_MSG(strstr(uefi_said(), "capos: no room for ") != NULL ||
			strstr(uefi_said(), "capos: firmware gives no memory map") != NULL,
		    "%s", uefi_said());
	}
	ATF_CHECK(n > 500);	/* the kernel's room alone is that large */
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, the_kernel_is_entered_with_a_whole_record);
	ATF_TP_ADD_TC(tp, boot_services_end_by_the_map_as_it_is_then);
	ATF_TP_ADD_TC(tp, devices_that_firmware_keeps_are_handed_over);
	ATF_TP_ADD_TC(tp, after_the_first_try_only_memory_is_asked_for);
	ATF_TP_ADD_TC(tp, what_is_wrong_is_one_line_and_leaves_no_memory_behind);
	ATF_TP_ADD_TC(tp, too_little_memory_is_said_wherever_it_ends);
	ATF_TP_ADD_TC(tp, what_is_no_device_tree_is_not_handed_over);
	return atf_no_error();
}
