/*
 * Configuration space, for the files kern/pci*.c: registers, access, lists of capabilities.
 */
#pragma once

#include "kern/base/bits.h"
#include "kern/pci.h"

struct machine;

/* Header [PCIe 7.5.1] */
enum : uint32_t {
	CFG_ID = 0x00,
	CFG_COMMAND = 0x04,
	CFG_STATUS = 0x06,
	CFG_REVISION = 0x08,
	CFG_HEADER = 0x0e,
	CFG_BAR = 0x10,
	CFG_SUBSYSTEM = 0x2c,
	CFG_ROM = 0x30,
	CFG_CAPS = 0x34,
	CFG_INTERRUPT = 0x3c,
	CFG_END = 0x100,
	CFG_EXTENDED_END = 0x1000,

	COMMAND_IO = BIT(0),
	COMMAND_MEMORY = BIT(1),
	COMMAND_MASTER = BIT(2),
	COMMAND_INTX_OFF = BIT(10),
	STATUS_CAPS = BIT(4),
	STATUS_ERRORS = BITS(15, 11) | BIT(8),
	HEADER_MULTIFUNCTION = 0x80,
	BAR_IO = BIT(0),
	BAR_TYPE = BITS(2, 1),
	BAR_64 = 4,
	BAR_PREFETCH = BIT(3),

	/* Type 1: bridges [7.5.1.3] */
	BRIDGE_BUSES = 0x18,
	BRIDGE_SUBORDINATE = 0x1a,
	BRIDGE_IO = 0x1c,
	BRIDGE_MEMORY = 0x20,
	BRIDGE_PREF = 0x24,
	BRIDGE_PREF_BASE_HIGH = 0x28,
	BRIDGE_PREF_LIMIT_HIGH = 0x2c,
	BRIDGE_IO_HIGH = 0x30,
	BRIDGE_ROM = 0x38,
};

/* Capabilities [7.5, 7.7, 7.8, 7.9; PCI-PM 3.2; AF ECN] */
enum : uint32_t {
	CAP_PM = 0x01,
	CAP_MSI = 0x05,
	CAP_VENDOR = 0x09,
	CAP_PCIE = 0x10,
	CAP_MSIX = 0x11,
	CAP_AF = 0x13,
	PM_CONTROL = 4,
	PM_STATE = BITS(1, 0),
	PM_D3HOT = 3,
	PM_NO_SOFT_RESET = BIT(3),
	MSI_CONTROL = 2,
	MSI_ENABLE = BIT(0),
	MSIX_CONTROL = 2,
	MSIX_TABLE = 4,
	MSIX_PBA = 8,
	MSIX_COUNT = BITS(10, 0),
	MSIX_MASK_ALL = BIT(14),
	MSIX_ENABLE = BIT(15),
	MSIX_BIR = BITS(2, 0),
	MSIX_LEN = 12,
	MSIX_ENTRY = 16,
	MSIX_DATA = 8,
	MSIX_VECTOR_CONTROL = 12,
	MSIX_VECTOR_MASK = BIT(0),
	PCIE_FLAGS = 2,
	PCIE_TYPE = BITS(7, 4),
	PCIE_DEVCAP = 4,
	PCIE_DEVCTL = 8,
	PCIE_DEVSTA = 10,
	PCIE_LNKCAP = 12,
	PCIE_LNKSTA = 18,
	PCIE_SLTCAP = 20,
	PCIE_SLTCTL = 24,
	PCIE_SLTSTA = 26,
	PCIE_DEVCTL2 = 40,
	PCIE_VERSION = BITS(3, 0),
	PCIE_SLOT = BIT(8),
	PCIE_LEN_V1 = 20,
	PCIE_LEN = 60,
	DEVCAP_FLR = BIT(28),
	DEVCTL_NO_SNOOP = BIT(11),
	DEVCTL_FLR = BIT(15),
	DEVSTA_ERRORS = BITS(3, 0),
	DEVSTA_PENDING = BIT(5),
	DEVCTL2_ARI = BIT(5),

	/* Slots [7.5.3.6, 7.5.3.8 to 11] */
	PCIE_LEN_SLOT = 28,
	LNKCAP_REPORTS_LINK = BIT(20),
	LNKSTA_LINK = BIT(13),
	SLTCAP_BUTTON = BIT(0),
	SLTCAP_POWER = BIT(1),
	SLTCAP_POWER_LED = BIT(4),
	SLTCAP_SURPRISE = BIT(5),
	SLTCAP_HOTPLUG = BIT(6),
	SLTCAP_NO_COMPLETED = BIT(18),
	SLTCTL_INTERRUPTS = BITS(5, 0) | BIT(12),
	SLTCTL_POWER_LED = BITS(9, 8),
	SLTCTL_POWER_OFF = BIT(10),
	LED_ON = 1,
	LED_BLINK = 2,
	LED_OFF = 3,
	SLTSTA_BUTTON = BIT(0),
	SLTSTA_FAULT = BIT(1),
	SLTSTA_PRESENCE = BIT(3),
	SLTSTA_COMPLETED = BIT(4),
	SLTSTA_CARD = BIT(6),
	SLTSTA_LINK = BIT(8),
	SLTSTA_EVENTS = BITS(4, 0) | BIT(8),
	SLTSTA_RESERVED = BITS(15, 9),

	AF_LEN = 6,
	AF_CAP = 3,
	AF_CONTROL = 4,
	AF_STATUS = 5,
	AF_CAP_FLR = BIT(1),
	AF_CAP_TP = BIT(0),
	AF_FLR = BIT(0),
	AF_PENDING = BIT(0),

	XCAP_ACS = 0x0d,
	XCAP_ATS = 0x0f,
	XCAP_SRIOV = 0x10,
	XCAP_PRI = 0x13,
	XCAP_PASID = 0x1b,
	ACS_CAP = 4,
	ACS_CONTROL = 6,
	ACS_SV = BIT(0),
	ACS_TB = BIT(1),
	ACS_RR = BIT(2),
	ACS_CR = BIT(3),
	ACS_UF = BIT(4),
	ATS_CONTROL = 6,
	ATS_ENABLE = BIT(15),
	PRI_CONTROL = 4,
	PASID_CONTROL = 6,
	SRIOV_CONTROL = 8,
	SRIOV_VF_ENABLE = BIT(0),
	SRIOV_VF_MEMORY = BIT(3),
};

/* PCIe device/port types [7.5.3.2] */
enum : uint8_t {
	PORT_ENDPOINT = 0,
	PORT_ROOT = 4,
	PORT_UPSTREAM = 5,
	PORT_DOWNSTREAM = 6,
	PORT_PCI_BRIDGE = 7
};

/*
 * Sets config (and words) of *f, whose host and rid are set.  False: outside of the host's buses,
 * or no room to map them.
 */
bool pci_config_open(struct pci_function *f, const struct machine *m);

/* Reads, clears, sets, writes back; not atomic against others but under pci.c's lock. */
void pci_config_change(
    const struct pci_function *f, uint32_t offset, unsigned width, uint32_t clear, uint32_t set);

/*
 * The next capability of the list after "at" (0: the first), in the first 256 bytes or in the
 * extended part.  0: no more. *id is its id.  *count starts at 0 and bounds lists that loop.
 */
uint32_t
pci_config_next_cap(const struct pci_function *f, uint32_t at, uint32_t *count, uint32_t *id);
uint32_t
pci_config_next_xcap(const struct pci_function *f, uint32_t at, uint32_t *count, uint32_t *id);

/* pci_hotplug.c: a port with a slot whose card may come and go while the machine runs. */
bool pci_slot_port(const struct pci_function *f);

/* pci.c: the state of a function that nobody owns (PCI-01..04), bridges forwarding. */
void pci_make_harmless(struct pci_function *f);
