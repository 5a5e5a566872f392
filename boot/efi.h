/*
 * What the boot application asks of UEFI firmware: the parts of the specification's tables that it
 * uses.
 *
 * Names are the specification's without their EFI_ where nothing else has them.  Calls that we do
 * not make are pointers without type.  The application is compiled for the Windows targets, whose
 * calling convention is UEFI's.  Source: UEFI 2.10, chapters 4 (system table), 7 (boot services), 9
 * (loaded image), 12 (console), 13 (files), 37 (random).
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/base/types.h"

typedef uint_least16_t char16_t;	/* the type of u"" */
typedef void *efi_handle;
typedef uint64_t efi_status;		/* the top bit: an error */

enum : efi_status {
	EFI_SUCCESS = 0,
	EFI_ERROR = BIT(63),
	EFI_LOAD_ERROR = EFI_ERROR | 1,
	EFI_INVALID_PARAMETER = EFI_ERROR | 2,
	EFI_BUFFER_TOO_SMALL = EFI_ERROR | 5,
	EFI_OUT_OF_RESOURCES = EFI_ERROR | 9,
	EFI_NOT_FOUND = EFI_ERROR | 14,
};

struct efi_guid { uint32_t a; uint16_t b, c; uint8_t d[8]; };

#define ACPI_20_TABLE_GUID \
	{ 0x8868e871, 0xe4f1, 0x11d3, { 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81 } }
#define ACPI_TABLE_GUID \
	{ 0xeb9d2d30, 0x2d88, 0x11d3, { 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d } }
#define DTB_TABLE_GUID \
	{ 0xb1b621d5, 0xf19c, 0x41a5, { 0x83, 0x0b, 0xd9, 0x15, 0x2c, 0x69, 0xaa, 0xe0 } }
#define SMBIOS3_TABLE_GUID \
	{ 0xf2fd1544, 0x9794, 0x4a2c, { 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94 } }
#define SMBIOS_TABLE_GUID \
	{ 0xeb9d2d31, 0x2d88, 0x11d3, { 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d } }
#define LOADED_IMAGE_GUID \
	{ 0x5b1b31a1, 0x9562, 0x11d2, { 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b } }
#define SIMPLE_FILE_SYSTEM_GUID \
	{ 0x964e5b22, 0x6459, 0x11d2, { 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b } }
#define FILE_INFO_GUID \
	{ 0x09576e92, 0x6d3f, 0x11d2, { 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b } }
#define GLOBAL_VARIABLE_GUID \
	{ 0x8be4df61, 0x93ca, 0x11d2, { 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c } }
#define RNG_GUID { 0x3152bca5, 0xeade, 0x433d, { 0x86, 0x2e, 0xc0, 0x1c, 0xdc, 0x29, 0x1f, 0x44 } }

struct efi_table_header { uint64_t signature; uint32_t revision, header_size, crc32, reserved; };

/* Console [12.4] */
struct efi_text_output {
	void *reset;
	efi_status (*output_string)(struct efi_text_output *, const char16_t *);
};

/* Memory [7.2] */
enum efi_memory_type : uint32_t {
	EFI_RESERVED,
	EFI_LOADER_CODE,
	EFI_LOADER_DATA,
	EFI_BOOT_CODE,
	EFI_BOOT_DATA,
	EFI_RUNTIME_CODE,
	EFI_RUNTIME_DATA,
	EFI_CONVENTIONAL,
	EFI_UNUSABLE,
	EFI_ACPI_RECLAIM,
	EFI_ACPI_NVS,
	EFI_MMIO,
	EFI_MMIO_PORT,
	EFI_PAL,
	EFI_PERSISTENT,
	EFI_UNACCEPTED,
};
enum : uint64_t { EFI_MEMORY_WB = BIT(3), EFI_MEMORY_SP = BIT(18), EFI_MEMORY_RUNTIME = BIT(63) };
enum efi_allocate : uint32_t { EFI_ALLOCATE_ANY, EFI_ALLOCATE_MAX, EFI_ALLOCATE_ADDRESS };

/* Walked by the size that firmware gives, which is larger. */
struct efi_memory { uint32_t type, pad; uint64_t physical, virtual, pages, attribute; };

/* Time [8.3] */
struct efi_time {
	uint16_t year; uint8_t month, day, hour, minute, second, pad;
	uint32_t nanosecond; int16_t zone; uint8_t daylight, pad2;
};
enum : int16_t { EFI_ZONE_UNSPECIFIED = 2047 };

struct efi_boot_services {
	struct efi_table_header header;
	void *raise_tpl, *restore_tpl;
	efi_status (*allocate_pages)(
	    enum efi_allocate, enum efi_memory_type, uint64_t pages, uint64_t *at);
	efi_status (*free_pages)(uint64_t at, uint64_t pages);
	efi_status (*get_memory_map)(
	    uint64_t *size, void *map, uint64_t *key, uint64_t *entry_size, uint32_t *version);
	void *allocate_pool, *free_pool, *create_event, *set_timer, *wait_for_event, *signal_event,
	    *close_event, *check_event;
	void *install_interface, *reinstall_interface, *uninstall_interface;
	efi_status (*handle_protocol)(efi_handle, const struct efi_guid *, void **);
	void *reserved, *register_notify, *locate_handle, *locate_device_path, *install_table;
	void *load_image, *start_image, *exit, *unload_image;
	efi_status (*exit_boot_services)(efi_handle, uint64_t key);
	void *get_monotonic_count;
	efi_status (*stall)(uint64_t microseconds);
	efi_status (*set_watchdog)(
	    uint64_t seconds, uint64_t code, uint64_t size, const char16_t *);
	void *connect, *disconnect, *open_protocol, *close_protocol, *open_information,
	    *protocols_per_handle, *locate_handle_buffer;
	efi_status (*locate_protocol)(const struct efi_guid *, void *key, void **);
};

struct efi_runtime_services {
	struct efi_table_header header;
	efi_status (*get_time)(struct efi_time *, void *capabilities);
	void *set_time, *get_wakeup, *set_wakeup, *set_virtual_map, *convert_pointer;
	efi_status (*get_variable)(const char16_t *name, const struct efi_guid *,
	    uint32_t *attributes, uint64_t *size, void *data);
};

struct efi_config { struct efi_guid guid; void *table; };

struct efi_system_table {
	struct efi_table_header header;
	const char16_t *vendor;
	uint32_t revision;
	efi_handle in_handle; void *in;
	efi_handle out_handle; struct efi_text_output *out;
	efi_handle err_handle; void *err;
	struct efi_runtime_services *runtime;
	struct efi_boot_services *boot;
	uint64_t config_count;
	struct efi_config *config;
};

/* Loaded image [9.1] */
struct efi_loaded_image {
	uint32_t revision;
	efi_handle parent;
	struct efi_system_table *system;
	efi_handle device;
	void *path, *reserved;
	uint32_t options_size;			/* bytes */
	const char16_t *options;
	void *base;
	uint64_t size;
};

/* Files [13.4, 13.5] */
enum : uint64_t { EFI_FILE_READ = 1 };

struct efi_file {
	uint64_t revision;
	efi_status (*open)(struct efi_file *, struct efi_file **, const char16_t *name,
	    uint64_t mode, uint64_t attributes);
	efi_status (*close)(struct efi_file *);
	void *delete;
	efi_status (*read)(struct efi_file *, uint64_t *size, void *to);
	void *write, *get_position;
	efi_status (*set_position)(struct efi_file *, uint64_t);
	efi_status (*get_info)(
	    struct efi_file *, const struct efi_guid *, uint64_t *size, void *to);
};
struct efi_file_system {
	uint64_t revision;
	efi_status (*open_volume)(struct efi_file_system *, struct efi_file **);
};
struct efi_file_info {
	uint64_t size, file_size, physical_size;
	struct efi_time time[3];
	uint64_t attribute;
	char16_t name[256];
};

/* Random numbers [37.5] */
struct efi_rng {
	void *get_info;
	efi_status (*get)(
	    struct efi_rng *, const struct efi_guid *algorithm, uint64_t size, uint8_t *to);
};

static_assert(offsetof(struct efi_boot_services, locate_protocol) == 320);
static_assert(offsetof(struct efi_boot_services, exit_boot_services) == 232);
static_assert(offsetof(struct efi_boot_services, handle_protocol) == 152);
static_assert(offsetof(struct efi_runtime_services, get_variable) == 72);
static_assert(offsetof(struct efi_system_table, boot) == 96);
static_assert(sizeof(struct efi_memory) == 40 && sizeof(struct efi_time) == 16);
