/*
 * What a loader of ours tells the kernel: one record, whole in one place.
 *
 * The UEFI application (boot/) fills it and enters the kernel's image at its first byte with the
 * record's address; other loaders give a device tree or PVH start_info there.  The record is
 * trusted as much as firmware is: it describes memory and where firmware's tables lie, and is
 * bounded and checked like them.
 *
 * Addresses are physical, lengths are bytes, everything is little endian.  base 0 and len 0:
 * absent.
 *
 * Entry    arm64: MMU and data cache off, image and record cleaned to memory, EL1 or EL2, x0 =
 *          record. x86_64: long mode, interrupts off, image, record and stack mapped at their own
 *          addresses and below 4 GiB, RDI = record.  On both the image lies on a 2 MiB boundary and
 *          has its whole size, .bss included, to itself.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"

enum : uint64_t { HANDOVER_MAGIC = 0x0031'534f'7061'63ull };	/* "capOS1", two zeros */
enum : uint32_t { HANDOVER_VERSION = 4, HANDOVER_RANGES = 120, HANDOVER_DEVICES = 8,
	HANDOVER_CMDLINE = 2048 };

enum handover_kind : uint32_t {
	HANDOVER_RAM,			/* free from now on */
	HANDOVER_RESERVED,		/* firmware's for ever */
	HANDOVER_ACPI_RECLAIM,		/* tables; free when they have been read */
	HANDOVER_ACPI_NVS,
};

struct handover_range { uint64_t base, len; enum handover_kind kind; uint32_t unused; };
struct handover_part { uint64_t base, len; };

struct handover {
	uint64_t magic;
	uint32_t version, size;			/* size: sizeof(struct handover) */
	struct handover_part
	    image; /* this kernel; lies in RAM ranges, as the archive and the record do */
	struct handover_part archive;
	struct handover_part fdt;
	uint64_t rsdp, smbios;
	uint64_t wall_s; /* seconds since 1970-01-01 UTC when the loader looked; 0: not known */
	uint8_t seed[32];			/* randomness of firmware's */
	uint32_t seed_known;			/* 0 or 1 */
	uint32_t range_count;
	uint32_t range_lost; /* pieces of the memory map for which there was no room */
	uint32_t device_count;
	struct handover_range range[HANDOVER_RANGES]; /* by address; what is in none is nobody's */
	/* Pages of registers that firmware's runtime code uses; which device each is it does not
	 * say.  Of more than there is room for, the first. */
	uint64_t device[HANDOVER_DEVICES];
	char cmdline[HANDOVER_CMDLINE];
	char firmware[64];			/* "EDK II 0x10000, UEFI 2.7" */
	char platform[160]; /* of SMBIOS: maker, product, version; BIOS maker, version, date */
	char maker[32], product[64];		/* the first two of these by themselves */
};

static_assert(sizeof(struct handover_range) == 24);
static_assert(sizeof(struct handover) == 136 + 24 * HANDOVER_RANGES + 8 * HANDOVER_DEVICES +
	HANDOVER_CMDLINE + 320);

struct machine;

/* Is there a record at p?  At least 8 bytes must be readable. */
bool handover_is(const void *p);

/*
 * Adds memory, archive, command line and randomness to a machine; "at" is where the record lies.
 * E_CORRUPT: another version, or counts that cannot be; the machine is as it was.
 */
NODISCARD enum status handover_machine(struct machine *m, const struct handover *h, uint64_t at);
