/*
 * The one description of the machine.
 *
 * Two front ends fill it: kern/machine/acpi.c from ACPI tables and kern/machine/fdt.c
 * from a flattened device tree; dev/iommu/find_*.c add IOMMUs, id maps and reserved
 * regions.  All are pure functions of untrusted bytes: they allocate nothing, print
 * nothing, and either describe or refuse with a reason.  The rest of the kernel knows
 * only this structure and never looks at firmware's tables again.
 *
 * Arrays have fixed bounds.  What does not fit is counted in "dropped" and named by
 * a note, and never half-described.
 *
 * Sources: ACPI 6.5, PCI Firmware 3.3 (MCFG), devicetree specification 0.4.
 */
#pragma once

#include "kern/abi/status.h"
#include "kern/base/types.h"
#include "kern/machine/console_kind.h"

enum {
	MACHINE_MEMORY_MAX  = 128,
	MACHINE_CPUS_MAX    = 64,	/* described; the kernel starts at most CPUS_MAX of them */
	MACHINE_GICR_MAX    = 16,
	MACHINE_ITS_MAX     = 8,
	MACHINE_IOAPIC_MAX  = 8,
	MACHINE_OVERRIDE_MAX = 24,
	MACHINE_HOST_MAX    = 8,
	MACHINE_WINDOW_MAX  = 8,
	MACHINE_IOMMU_MAX   = 16,
	MACHINE_IDMAP_MAX   = 64,
	MACHINE_SCOPE_MAX   = 64,
	MACHINE_PATH_MAX    = 8,
	MACHINE_RESERVED_MAX = 32,
	MACHINE_FIRMWARE_DEVICES = 8,
	MACHINE_NOTE_MAX    = 16,
	MACHINE_NOTE_TEXT   = 112,
	MACHINE_CMDLINE_MAX = 2048,
};

/* What a range of physical addresses is.  RAM entries never overlap any other after
 * machine_finish(). */
enum machine_memory_kind : uint8_t {
	MEM_RAM,		/* usable, after subtraction of everything below */
	MEM_RESERVED,		/* firmware says: do not touch */
	MEM_ACPI_RECLAIM,	/* tables; readable */
	MEM_ACPI_NVS,
	MEM_KERNEL,		/* this kernel's image; added by the architecture */
	MEM_ARCHIVE,		/* the boot archive; becomes RAM when init is done with it */
	MEM_FIRMWARE_TABLES,	/* device tree blob, start info */
};

struct machine_memory {
	uint64_t base, len;
	enum machine_memory_kind kind;
};

struct machine_cpu {
	uint64_t hwid;		/* MPIDR affinity fields, or APIC id */
	uint32_t acpi_uid;
	bool enabled;		/* firmware says it may be started */
	bool boot;		/* set by the architecture */
};

enum machine_irqc_kind : uint8_t { IRQC_NONE, IRQC_GICV2, IRQC_GICV3, IRQC_APIC };

struct machine_region { uint64_t base, len; };

struct machine_its {
	uint64_t base;		/* 128 KiB: control frame, translation frame at +64 KiB */
	uint32_t id;		/* MADT GIC ITS id, or the phandle of the node */
};

struct machine_ioapic { uint64_t base; uint32_t id, gsi_base; };

/* ISA line to GSI [ACPI MADT type 2]. */
struct machine_override { uint8_t isa; uint32_t gsi; bool level, active_low; };

struct machine_irqc {
	enum machine_irqc_kind kind;
	/* GIC */
	uint64_t gicd;
	struct machine_region gicr[MACHINE_GICR_MAX];
	uint32_t gicr_count, gicr_stride;	/* stride 0: by GICR_TYPER */
	struct machine_its its[MACHINE_ITS_MAX];
	uint32_t its_count;
	bool gicv2m_only; /* message interrupts, but no ITS: refused by name */
	/* APIC */
	uint64_t lapic;
	bool has_8259;
	struct machine_ioapic ioapic[MACHINE_IOAPIC_MAX];
	uint32_t ioapic_count;
	struct machine_override override[MACHINE_OVERRIDE_MAX];
	uint32_t override_count;
};

/* A wired interrupt: GIC INTID (SPIs from 32, PPIs from 16) or GSI.  id 0 and !present: none. */
struct machine_line { uint32_t id; bool present, level, active_low; };

struct machine_timer {
	struct machine_line virt, phys, hyp;	/* arm64 generic timer PPIs */
	uint64_t hpet;				/* x86: 0 when absent */
	uint32_t pm_timer_port; /* x86: 0 when absent; I/O port of the 3.579545 MHz timer */
	bool pm_timer_32bit;
	uint32_t frequency_hz; /* arm64: only when the counter's own register is wrong; else 0 */
};

/* CMOS is at its usual two ports. */
enum machine_rtc_kind : uint8_t { RTC_NONE, RTC_PL031, RTC_CMOS };

struct machine_rtc {
	enum machine_rtc_kind kind;
	uint64_t base;		/* PL031 */
	uint8_t century;	/* CMOS: its register, 0 when there is none */
};

struct machine_console {
	enum machine_console_kind kind;
	uint64_t base;		/* physical address or I/O port */
	uint32_t clock_hz;	/* 0: leave the divisor as firmware set it */
	uint32_t baud;		/* 0: as set */
	uint8_t reg_shift;	/* 16550 in MMIO: registers are 1 << shift bytes apart */
	uint8_t access_bytes;	/* width of one access: 1 or 4 */
	struct machine_line line;
};

enum machine_psci : uint8_t { PSCI_NONE, PSCI_HVC, PSCI_SMC };

/* ACPI fixed hardware; all ports, 0 when absent. */
struct machine_power {
	enum machine_psci psci;
	uint32_t pm1a_control, pm1b_control;
	bool pm1a_by_chipset; /* no table names it: the architecture found it, and has it decoded */
	bool s5_known;
	uint8_t s5_typa, s5_typb;	/* SLP_TYP of \_S5 */
	uint64_t reset_address;		/* FADT RESET_REG */
	uint8_t reset_space;		/* 0 memory, 1 I/O */
	uint8_t reset_value;
	bool reset_known;
	bool hardware_reduced;		/* no PM1 registers: use sleep_control */
	uint64_t sleep_control;		/* ACPI 4.8.3.7; 0 when absent */
	uint8_t sleep_space;
	bool i8042;			/* x86: a PS/2 controller, for the reset of last resort */
	bool no_msi; /* IAPC_BOOT_ARCH bit 3: message interrupts must not be enabled */
	char hypervisor[9];		/* FADT; empty when not told */
};

enum machine_window_kind : uint8_t { WINDOW_IO, WINDOW_MEM32, WINDOW_MEM64 };

struct machine_window {
	uint64_t cpu_base, pci_base, len;
	enum machine_window_kind kind;
	bool prefetchable;
};

/* Configuration space that is not quite ECAM. */
enum machine_ecam : uint8_t {
	ECAM_STANDARD,
	ECAM_WORDS,		/* only aligned 32-bit accesses work (PCI-41) */
	ECAM_PORTS,		/* none: a PC's I/O ports, which reach 256 bytes of each function */
};

/* One PCI segment's host bridge with ECAM. */
struct machine_host {
	uint16_t segment;
	uint8_t bus_first, bus_last;
	uint64_t
	    ecam; /* address of bus 0, even when bus_first is not 0; may lie outside the region */
	struct machine_window window[MACHINE_WINDOW_MAX]; /* none: keep what firmware assigned */
	uint32_t window_count;
	bool dma_coherent;
	bool preserve;			/* linux,pci-probe-only, or ACPI: keep firmware's numbers */
	enum machine_ecam access;
	uint64_t dma_last; /* highest address that its devices can emit; 0: unknown or unlimited */
	uint32_t node;			/* device tree: the node's offset */
};

enum machine_iommu_kind : uint8_t {
	IOMMU_NONE,
	IOMMU_VTD,
	IOMMU_AMDVI,
	IOMMU_SMMUV3,
	IOMMU_VIRTIO
};

struct machine_iommu {
	enum machine_iommu_kind kind;
	uint64_t base, len;		/* register window; len is a floor, drivers may need more */
	uint16_t segment;
	bool coherent_known, coherent;	/* firmware's statement; overrides the unit's own */
	bool include_all;		/* VT-d INCLUDE_PCI_ALL */
	uint8_t host_width;		/* VT-d, AMD-Vi: physical address width in bits; else 0 */
	bool intr_remap, x2apic_opt_out, opt_in;	/* VT-d DMAR flags */
	uint8_t ivhd_flags;		/* AMD-Vi: what firmware asks the control register for */
	uint16_t requester;		/* AMD-Vi, virtio: the unit's own function */
	uint16_t capability;		/* AMD-Vi: its capability's offset there */
	uint32_t node;			/* device tree: the node's offset; else 0 */
	uint32_t model;			/* SMMUv3: IORT model, 2 = CN99xx */
	struct machine_line eventq, gerror, cmdq_sync, priq, combined;
	bool msi_known; /* the unit's own message interrupts: ITS index and device id */
	uint32_t msi_its, msi_device_id;
};

/*
 * A unit that firmware describes and we refuse keeps its place in iommu[], with kind IOMMU_NONE: so
 * what is behind it is known to be behind something that nobody programs.  Ids and scopes that lead
 * to a unit for which there was no room, or which we cannot name, have this target.
 */
enum : uint32_t { MACHINE_IOMMU_LOST = UINT32_MAX - 1 };

/*
 * A run of requester ids of one segment and where it leads.  Of AMD-Vi the first match wins; else
 * runs that hold the same id must agree.
 * Two lists: to IOMMUs (target = index in iommu[], out = stream id) and to ITSs
 * (target = index in irqc.its[], out = device id).  A requester that an ITS map
 * reaches without any IOMMU map has no IOMMU.
 */
struct machine_idmap {
	uint16_t segment;
	uint32_t rid_base, count;
	uint32_t
	    rid_mask; /* applied to the requester id first (iommu-map-mask), 0xffff by default */
	uint32_t target, out_base;
	bool alias; /* the whole run appears as out_base (behind a conventional bridge) */
};

/*
 * VT-d device scope: the function (or everything below the bridge) at the end of the
 * path belongs to the unit.  Bus numbers hold at parse time.
 */
enum machine_scope_kind : uint8_t {
	SCOPE_ENDPOINT,
	SCOPE_BRIDGE,
	SCOPE_IOAPIC,
	SCOPE_HPET,
	SCOPE_NAMESPACE
};

struct machine_scope {
	enum machine_scope_kind kind;
	uint32_t iommu; /* index in iommu[], MACHINE_IOMMU_LOST, or UINT32_MAX for a reserved
			   region's scope */
	uint32_t reserved;		/* index in reserved[], or UINT32_MAX */
	uint16_t segment;
	uint8_t start_bus, enumeration_id, path_len;
	uint8_t path[MACHINE_PATH_MAX];	/* device << 3 | function */
};

/* Memory that firmware says a device goes on using (RMRR, RMR, IVMD). */
struct machine_reserved {
	uint64_t base, len;
	uint16_t segment;
	bool any_device;		/* no scope: every device of the segment */
	bool stream_ids;		/* ids below are stream ids of iommu, not scopes */
	bool requesters;		/* ids below are requester ids of the segment */
	uint32_t iommu, id_base, id_count;
	bool absurd; /* in RAM, or not whole pages: never mapped; its devices stay blocked all the
			same */
};

/* Tables that tell of IOMMUs; "bad": it is there, and cannot be read. */
enum machine_table : uint8_t { TABLE_DMAR, TABLE_IVRS, TABLE_IORT, TABLE_VIOT, TABLES_TELLING };

enum machine_source : uint8_t { SOURCE_NONE, SOURCE_ACPI, SOURCE_FDT };

struct machine {
	enum machine_source source;
	char model[64];			/* "QEMU virt", OEM id and table id; for people */

	struct machine_memory memory[MACHINE_MEMORY_MAX];
	uint32_t memory_count;
	struct machine_cpu cpu[MACHINE_CPUS_MAX];
	uint32_t cpu_count;
	struct machine_irqc irqc;
	struct machine_timer timer;
	struct machine_rtc rtc;
	/* Pages of registers that UEFI's runtime code uses: each is some device, none is named. */
	uint64_t firmware_device[MACHINE_FIRMWARE_DEVICES];
	uint32_t firmware_device_count;
	struct machine_console console;
	struct machine_power power;
	struct machine_host host[MACHINE_HOST_MAX];
	uint32_t host_count;

	struct machine_iommu iommu[MACHINE_IOMMU_MAX];
	uint32_t iommu_count;
	struct machine_idmap stream_map[MACHINE_IDMAP_MAX];
	uint32_t stream_map_count;
	struct machine_idmap msi_map[MACHINE_IDMAP_MAX];
	uint32_t msi_map_count;
	struct machine_scope scope[MACHINE_SCOPE_MAX];
	uint32_t scope_count;
	bool scopes_lost; /* what says who is behind which unit did not fit or made no sense: who
			     belongs to "all the rest", or is behind none, is not known */
	struct machine_reserved reserved[MACHINE_RESERVED_MAX];
	uint32_t reserved_count;
	bool reserved_lost; /* a reserved region did not fit or could not be read: any device may
			       have it */

	struct machine_region archive;	/* boot archive; len 0: none */
	char cmdline[MACHINE_CMDLINE_MAX];
	uint8_t seed[32];		/* firmware's randomness (rng-seed), zero when none */
	bool seed_known;
	char firmware[64];		/* who wrote it and which versions; empty: not told */
	char platform[160];		/* who made the machine, and as what */
	char maker[32], product[64];	/* the same in two words: of a cloud's machine, its type */
	uint8_t tables_present, tables_bad; /* ACPI tables that tell of IOMMUs: enum machine_table,
					       as bits */
	uint64_t wall_s; /* seconds since 1970 when the loader asked firmware; 0: not known */

	/*
	 * What was refused or odd, one clear sentence each ("ACPI: DMAR: subtable at 0x30
	 * has length 0"), for the log and the evidence.
	 */
	char note[MACHINE_NOTE_MAX][MACHINE_NOTE_TEXT];
	uint32_t note_count;
	uint32_t dropped;		/* entries that did not fit an array */
};

/* Adds a note, formatted; drops it (counted) when the list is full. */
void machine_note(struct machine *m, const char *format, ...) PRINTF(2, 3);

/*
 * What a console's clock is to be divided by for 16 ticks a bit, in sixty-fourths.  0: clock or
 * rate are not told, or no divisor of 16 bits gives that rate: it stays as firmware set it.
 */
uint32_t machine_console_divisor(const struct machine_console *c);

/*
 * Registers in memory: can each be reached by accesses of that width, and is all of them, as far as
 * they are mapped, outside of memory?  Those of a PL011 and of an SBSA part are words.  On arm64 an
 * access that is not aligned is a fault, in the console itself.
 */
bool machine_console_fits(const struct machine *m, const struct machine_console *c);

/* Is the word in the command line, by itself? */
bool machine_word(const struct machine *m, const char *word);

/* Adds one memory entry; counts it as dropped when full.  Entries of len 0 are ignored. */
void
machine_add_memory(struct machine *m, uint64_t base, uint64_t len, enum machine_memory_kind kind);

/* The boot archive, when all of it is in memory that is listed by now: else a note, and none. */
void machine_set_archive(struct machine *m, uint64_t base, uint64_t len);

/*
 * Does the range touch RAM, or what lies in RAM?  True also for a range that wraps.  What firmware
 * gives as registers, ECAM or windows must not; a range that firmware reserves may be either.
 */
bool machine_in_memory(const struct machine *m, uint64_t base, uint64_t len);

/* Does the range touch registers of a unit that is listed? */
bool machine_iommu_at(const struct machine *m, uint64_t base, uint64_t len);

/*
 * Sorts memory, clips RAM to whole pages, subtracts everything that is not RAM from RAM,
 * merges neighbours.  E_CORRUPT when no RAM is left.  Idempotent; called after front ends
 * and the architecture have added their ranges.
 */
NODISCARD enum status machine_finish(struct machine *m);
