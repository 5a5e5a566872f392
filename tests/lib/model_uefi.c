/*
 * UEFI firmware as strict as its specification: model_uefi.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/model_uefi.h"

enum { GIVEN = 32 };

static struct uefi_setup now;
static struct { uint64_t at, pages; } given[GIVEN];
static uint64_t key, given_pages;
static uint32_t exits, lines, stalls;
static bool left;
static char said[4096];
static char violation[120];

static void
broken(const char *what)
{
	if (violation[0] == 0)
		snprintf(violation, sizeof(violation), "%s", what);
}

/* What may not be called any more after the first try to leave. */
static void
service(const char *name)
{
	char line[100];

	snprintf(line, sizeof(line), "%s after ExitBootServices", name);
	if (exits != 0 || left)
		broken(line);
}

/* ---- Memory ---- */

static efi_status
allocate_pages(enum efi_allocate how, enum efi_memory_type type, uint64_t pages, uint64_t *at)
{
	if (left)
		broken("AllocatePages after boot services ended");
	if (how != EFI_ALLOCATE_MAX || type != EFI_LOADER_DATA || pages == 0)
		return EFI_INVALID_PARAMETER;
	if (now.pages_max != 0 && given_pages + pages > now.pages_max)
		return EFI_OUT_OF_RESOURCES;
	for (unsigned i = 0; i < GIVEN; i++)
		if (given[i].at == 0) {
			/* To the byte, so that the sanitizer sees every overrun. */
			void *p = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);

			memset(p, 0xa5, pages * PAGE_SIZE);
			given[i].at = *at = (uintptr_t)p;
			given[i].pages = pages;
			given_pages += pages;
			key++;
			return EFI_SUCCESS;
		}
	return EFI_OUT_OF_RESOURCES;
}

static efi_status
free_pages(uint64_t at, uint64_t pages)
{
	if (left)
		broken("FreePages after boot services ended");
	for (unsigned i = 0; i < GIVEN; i++)
		if (given[i].at == at && given[i].pages == pages) {
			free((void *)(uintptr_t)at);
			given[i].at = 0;
			given_pages -= pages;
			key++;
			return EFI_SUCCESS;
		}
	broken("FreePages of what was not given");
	return EFI_INVALID_PARAMETER;
}

/* Entries are longer than the structure, as firmware's are. */
enum { ENTRY = sizeof(struct efi_memory) + 8 };

static efi_status
get_memory_map(
    uint64_t *size, void *map, uint64_t *the_key, uint64_t *entry_size, uint32_t *version)
{
	uint64_t need = now.map_count * (uint64_t)ENTRY;

	if (left)
		broken("GetMemoryMap after boot services ended");
	*entry_size = ENTRY;
	*version = 1;
	if (*size < need) {
		*size = need;
		return EFI_BUFFER_TOO_SMALL;
	}
	for (uint32_t i = 0; i < now.map_count; i++) {
		memset((char *)map + i * ENTRY, 0xff, ENTRY);
		memcpy((char *)map + i * ENTRY, &now.map[i], sizeof(now.map[i]));
	}
	*size = need;
	*the_key = key;
	return EFI_SUCCESS;
}

static efi_status
exit_boot_services(efi_handle image, uint64_t the_key)
{
	if (image != uefi_image())
		broken("ExitBootServices for another image");
	if (left)
		broken("ExitBootServices twice");
	exits++;
	if (the_key != key || exits <= now.exits_fail) {
		key++;
		for (uint32_t i = 0; i < now.map_grows && now.map_count < UEFI_MAP; i++)
			now.map[now.map_count++] = (struct efi_memory){ .type = EFI_BOOT_DATA,
				.physical = 0x9'0000'0000 + now.map_count * 2 * PAGE_SIZE,
				.pages = 1,
				.attribute = EFI_MEMORY_WB };
		return EFI_INVALID_PARAMETER;
	}
	left = true;
	return EFI_SUCCESS;
}

/* ---- Console ---- */

static efi_status
output_string(struct efi_text_output *o UNUSED, const char16_t *s)
{
	size_t n = strlen(said);

	service("OutputString");
	for (; *s != 0; s++) {
		if (*s == '\n')
			lines++;
		if (n + 1 < sizeof(said) && *s != '\r')
			said[n++] = (char)*s;
	}
	said[n] = 0;
	return EFI_SUCCESS;
}

static efi_status
stall(uint64_t microseconds UNUSED)
{
	service("Stall");
	stalls++;
	return EFI_SUCCESS;
}

static efi_status
set_watchdog(uint64_t seconds UNUSED, uint64_t code UNUSED, uint64_t size UNUSED,
    const char16_t *data UNUSED)
{
	service("SetWatchdogTimer");
	return EFI_SUCCESS;
}

/* ---- Files ---- */

struct open_file { struct efi_file file; const struct uefi_file *what; uint64_t at; };
static struct open_file open_files[4], root_file;

static efi_status
file_close(struct efi_file *f)
{
	service("Close");
	((struct open_file *)f)->what = NULL;
	return EFI_SUCCESS;
}

static efi_status
file_read(struct efi_file *f, uint64_t *size, void *to)
{
	struct open_file *o = (struct open_file *)f;

	service("Read");
	if (*size > o->what->len - o->at)
		*size = o->what->len - o->at;
	memcpy(to, (const char *)o->what->bytes + o->at, *size);
	o->at += *size;
	return EFI_SUCCESS;
}

static efi_status
file_info(struct efi_file *f, const struct efi_guid *guid UNUSED, uint64_t *size, void *to)
{
	struct efi_file_info *info = to;

	service("GetInfo");
	if (*size < sizeof(*info))
		return EFI_BUFFER_TOO_SMALL;
	*info = (struct efi_file_info){ .file_size = ((struct open_file *)f)->what->len };
	return EFI_SUCCESS;
}

static efi_status
file_open(struct efi_file *dir UNUSED, struct efi_file **out, const char16_t *name,
    uint64_t mode UNUSED, uint64_t attributes UNUSED)
{
	static const char folder[] = "\\capos\\arm64\\";
	char path[80];
	size_t n = 0;

	service("Open");
	do
		path[n] = (char)name[n];
	while (name[n++] != 0 && n < sizeof(path));
	if (n == sizeof(path) || strncmp(path, folder, sizeof(folder) - 1) != 0)
		return EFI_NOT_FOUND;
	for (unsigned i = 0; i < UEFI_FILES; i++) {
		const struct uefi_file *w = &now.file[i];

		if (w->name == NULL || strcmp(w->name, path + sizeof(folder) - 1) != 0)
			continue;
		for (unsigned k = 0; k < 4; k++)
			if (open_files[k].what == NULL) {
				open_files[k] = (struct open_file){
					.file = { .open = file_open,
						.close = file_close,
						.read = file_read,
						.get_info = file_info },
					.what = w,
				};
				*out = &open_files[k].file;
				return EFI_SUCCESS;
			}
		return EFI_OUT_OF_RESOURCES;
	}
	return EFI_NOT_FOUND;
}

static efi_status
open_volume(struct efi_file_system *fs UNUSED, struct efi_file **out)
{
	service("OpenVolume");
	root_file = (struct open_file){ .file = { .open = file_open, .close = file_close } };
	*out = &root_file.file;
	return EFI_SUCCESS;
}

static struct efi_file_system file_system = { .open_volume = open_volume };

/* ---- Tables ---- */

static char16_t options[100];
static struct efi_system_table table;
static struct efi_loaded_image image;
static struct efi_config config[2];

static efi_status
handle_protocol(efi_handle h, const struct efi_guid *guid, void **out)
{
	static const struct efi_guid loaded = LOADED_IMAGE_GUID, fs = SIMPLE_FILE_SYSTEM_GUID;

	service("HandleProtocol");
	if (h == uefi_image() && memcmp(guid, &loaded, sizeof(loaded)) == 0)
		*out = &image;
	else if (h == image.device && memcmp(guid, &fs, sizeof(fs)) == 0)
		*out = &file_system;
	else
		return EFI_NOT_FOUND;
	return EFI_SUCCESS;
}

static efi_status
get_bytes(struct efi_rng *r UNUSED, const struct efi_guid *a UNUSED, uint64_t size, uint8_t *to)
{
	memset(to, 0x5e, size);
	return EFI_SUCCESS;
}

static struct efi_rng random_source = { .get = get_bytes };

static efi_status
locate_protocol(const struct efi_guid *guid, void *k UNUSED, void **out)
{
	static const struct efi_guid rng = RNG_GUID;

	service("LocateProtocol");
	if (memcmp(guid, &rng, sizeof(rng)) != 0)
		return EFI_NOT_FOUND;
	*out = &random_source;
	return EFI_SUCCESS;
}

static efi_status
get_time(struct efi_time *t, void *capabilities UNUSED)
{
	*t = (struct efi_time){ .year = 2026,
		.month = 11,
		.day = 21,
		.hour = 17,
		.minute = 20,
		.zone = EFI_ZONE_UNSPECIFIED };
	return EFI_SUCCESS;
}

static efi_status
get_variable(const char16_t *name UNUSED, const struct efi_guid *guid UNUSED,
    uint32_t *attributes UNUSED, uint64_t *size UNUSED, void *data UNUSED)
{
	return EFI_NOT_FOUND;
}

static struct efi_text_output console = { .output_string = output_string };
static struct efi_runtime_services runtime = { .get_time = get_time, .get_variable = get_variable };
static struct efi_boot_services services = {
	.allocate_pages = allocate_pages,
	.free_pages = free_pages,
	.get_memory_map = get_memory_map,
	.handle_protocol = handle_protocol,
	.exit_boot_services = exit_boot_services,
	.stall = stall,
	.set_watchdog = set_watchdog,
	.locate_protocol = locate_protocol,
};

void
uefi_start(const struct uefi_setup *setup)
{
	size_t n = 0;

	for (unsigned i = 0; i < GIVEN; i++) {
		free((void *)(uintptr_t)given[i].at);
		given[i].at = 0;
	}
	now = *setup;
	key = 100;
	given_pages = 0;
	exits = lines = stalls = 0;
	left = false;
	said[0] = violation[0] = 0;
	memset(open_files, 0, sizeof(open_files));
	for (; now.options != NULL && now.options[n] != 0; n++)
		options[n] = (unsigned char)now.options[n];
	options[n] = 0;
	image = (struct efi_loaded_image){ .device = &file_system,
		.options = options,
		.options_size = (uint32_t)((n + 1) * sizeof(char16_t)) };
	table = (struct efi_system_table){ .vendor = u"model",
		.revision = 2 << 16 | 100,
		.header.revision = 2 << 16 | 100,
		.out = &console,
		.runtime = &runtime,
		.boot = &services,
		.config = config };
	if (now.rsdp != NULL)
		config[table.config_count++] = (struct efi_config){ ACPI_20_TABLE_GUID,
			(void *)(uintptr_t)now.rsdp };
	if (now.fdt != NULL)
		config[table.config_count++] =
		    (struct efi_config){ DTB_TABLE_GUID, (void *)(uintptr_t)now.fdt };
}

struct efi_system_table *uefi_table(void) { return &table; }
efi_handle uefi_image(void) { return &image; }

uint32_t
uefi_pages_out(void)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < GIVEN; i++)
		n += given[i].at != 0;
	return n;
}

uint32_t uefi_exits(void) { return exits; }
uint32_t uefi_lines(void) { return lines; }
const char *uefi_said(void) { return said; }
const char *uefi_violation(void) { return violation[0] != 0 ? violation : NULL; }
uint32_t uefi_stalls(void) { return stalls; }
