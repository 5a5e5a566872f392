/*
 * PCI functions behind ECAM: enumeration, BARs, capabilities, isolation groups, bus mastering, reset, MSI-X tables.
 *
 * User space never sees configuration space but through the filter here, never decides isolation, and never writes a
 * vector table.  Bus mastering is off for every function from discovery on (D1), bridges excepted: a bridge must
 * forward for the functions below it, and its IOMMU is the guard.
 *
 * Everything read from configuration space is untrusted: lists are bounded, sizes checked.
 *
 * Locks: RANK_PCI over configuration accesses that are read-modify-write.
 * Manual: PCI Express Base 6.0 chapter 7; PCI Firmware 3.3.
 */
#pragma once

#include "kern/abi/object.h"
#include "kern/abi/status.h"
#include "kern/base/types.h"

struct machine;

enum { DEVICE_VECTORS_MAX = 128, PCI_FUNCTIONS_MAX = 256, PCI_NO_PARENT = 0xffff };

struct pci_bar {
	uint64_t base, len;		/* CPU physical; len 0: absent */
	uint64_t pci_base;		/* what the register holds */
	bool io, is64, prefetch;
};

struct pci_function {
	uint16_t segment, rid;
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code;
	uint8_t revision, header;	/* header type without the multifunction bit */
	bool multifunction, bridge, pcie;
	uint8_t port_type;		/* PCIe device/port type */
	uint8_t secondary, subordinate;
	int16_t parent;			/* index of the bridge above; -1: root bus */
	uint16_t group;
	struct pci_bar bar[DEVICE_BARS];
	uint16_t cap_pm, cap_msi, cap_msix, cap_pcie;	/* offsets, 0 absent */
	uint16_t cap_acs, cap_ats, cap_pri, cap_pasid;
	bool flr;
	uint16_t msix_count;
	uint8_t msix_bar, msix_pba_bar;
	uint32_t msix_offset, msix_pba_offset;
	struct { uint64_t address; uint32_t data; } msix[DEVICE_VECTORS_MAX];	/* as last set */
	volatile uint8_t *msix_table;	/* kernel's mapping, made at first use */
	volatile uint8_t *config;	/* ECAM, 4 KiB */

	int16_t unit;			/* machine.iommu index, -1 none */
	uint32_t endpoint;		/* the unit's id */
	const char *no_unit;		/* why there is none */
	uint32_t faults;		/* (a) */
	struct device *claimed;		/* (device claim lock) */
	bool never;			/* a reset failed or a teardown was not confirmed: not claimable again */
	bool master;			/* (a) bus mastering is on */
};

extern struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
extern uint32_t pci_count;

/* Enumerates all hosts of the machine; assigns what firmware left unset.  Logs one line a function at debug level. */
void pci_init(const struct machine *m);

struct pci_function *pci_find(uint16_t segment, uint16_t rid);

uint32_t pci_read(const struct pci_function *f, uint32_t offset, unsigned width);
void pci_write(const struct pci_function *f, uint32_t offset, unsigned width, uint32_t value);

void pci_bus_master(struct pci_function *f, bool on);

/* All functions, without locks: for panic and power-off. */
void pci_masters_off_now(void);

/* Transactions Pending is clear (or the function cannot say).  The read also flushes posted writes. */
bool pci_idle(const struct pci_function *f);

/* Function-level reset in steps: returns when to call again, 0 done, UINT64_MAX failed.  *state starts at 0. */
uint64_t pci_reset_step(struct pci_function *f, uint32_t *state);
bool pci_can_reset(const struct pci_function *f);

/* MSI-X, all by the kernel. */
NODISCARD enum status pci_msix_open(struct pci_function *f);	/* all vectors masked, table enabled */
void pci_msix_set(struct pci_function *f, uint32_t vector, uint64_t address, uint32_t data);
/* The entry as it was last set: after a reset. */
NODISCARD enum status pci_msix_restore(struct pci_function *f, uint32_t vector);
void pci_msix_mask(struct pci_function *f, uint32_t vector, bool masked);
void pci_msix_close(struct pci_function *f);

/* What a driver may see and change: E_REFUSED otherwise. */
NODISCARD enum status pci_config_filter(struct pci_function *f, uint32_t offset, unsigned width, bool write,
    uint32_t *value);

/* Whole pages of a BAR that hold neither vector table nor pending bits, from its start on.  0: none. */
uint64_t pci_bar_mappable(const struct pci_function *f, unsigned bar);

/* Isolation groups over a table of functions: fills group, by the rules of ACS, multifunction and bridges. */
void pci_make_groups(struct pci_function *table, uint32_t count, bool (*acs)(const struct pci_function *));
