/*
 * PCI functions behind ECAM: enumeration, BARs, capabilities, isolation groups, bus mastering,
 * reset, MSI-X tables.
 *
 *   pci_config.c  configuration space: access; pci_caps.c: its lists
 *   pci.c         enumeration; the harmless state; bus mastering; which IOMMU, which ITS
 *   pci_assign.c  addresses: which are believed, and new ones where firmware left none
 *   pci_group.c   what cannot be kept apart
 *   pci_reset.c   reset of one function, in steps
 *   pci_msix.c    vector tables
 *   pci_filter.c  what a driver may see of configuration space, and map of a BAR
 *   pci_hotplug.c slots, whose cards come and go
 *
 * User space never sees configuration space but through the filter, never decides isolation, and
 * never writes a vector table.  Bus mastering is off for every function from discovery on (D1),
 * bridges excepted: a bridge must forward for the functions below it, and its IOMMU is the guard.
 *
 * Everything read from configuration space is untrusted: lists are bounded, sizes and places
 * checked.  A function that makes no sense stays in the table with a "problem", and is given to
 * nobody.
 *
 * Locks: RANK_PCI over configuration accesses that are read-modify-write.  After pci_init the table
 * only grows, and an entry changes only while nobody can claim it (leaving): the worker's work, for
 * slots.  Manual: PCI Express Base 6.0 chapter 7; PCI Firmware 3.3.
 */
#pragma once

#include "kern/abi/object.h"
#include "kern/abi/status.h"
#include "kern/base/types.h"

struct canary_class;
struct machine;

enum { DEVICE_VECTORS_MAX = 128, PCI_FUNCTIONS_MAX = 256, PCI_NO_PARENT = 0xffff };

struct pci_bar {
	uint64_t base, len;		/* CPU physical; len 0: absent */
	uint64_t pci_base;		/* what the register holds */
	bool io, is64, prefetch;
	bool alone;			/* no other BAR reaches into its pages */
};

/* One vector as the kernel last set it. */
struct pci_vector { uint64_t address; uint32_t data; bool masked, set; };

struct pci_function {
	uint16_t segment, rid;
	uint8_t host;			/* index in machine.host[] */
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
	uint16_t cap_af;
	uint16_t cap_acs, cap_ats, cap_pri, cap_pasid, cap_sriov;
	bool flr;
	bool ports;			/* its extended configuration space is out of reach */
	bool words;			/* only aligned 32-bit accesses work (PCI-41) */
	bool pref64; /* a bridge whose prefetchable window takes 64-bit addresses */
	bool ari; /* a port that takes all 256 functions of the device below it for one device's */
	bool console; /* a serial port, and the console may be that port by another address: stays
			 as it is */
	const char *problem;		/* why nobody may have it, NULL: nothing against it here */
	uint32_t generation;		/* (a) counts resets */
	uint16_t saved_control, saved_control2;	/* PCIe device control, over a reset */
	uint64_t reset_deadline;
	uint16_t msix_count;
	uint8_t msix_bar, msix_pba_bar;
	uint32_t msix_offset, msix_pba_offset;
	struct pci_vector *msix;	/* msix_count of them; made at first use, owned */
	volatile uint8_t *msix_table;	/* kernel's mapping, made at first use */
	uint64_t msix_at;		/* what that shows; its card may be another now */
	volatile uint8_t *config;	/* ECAM, 4 KiB */
	volatile uint8_t *regs[DEVICE_BARS];	/* (claim) the kernel's view of a BAR, where it
						   checks accesses; made at first use */
	uint64_t regs_at[DEVICE_BARS], regs_len[DEVICE_BARS];	/* what that shows */
	const char *unfit;	/* (c) why its class says that it is not to be had; NULL: it does
				   not */

	int16_t unit;			/* machine.iommu index, -1 none */
	uint32_t endpoint;		/* the unit's id */
	int16_t its;			/* machine.irqc.its index, -1 none */
	uint32_t device_id;		/* the ITS's id */
	const char *no_unit;		/* why there is none */
	bool unit_absent; /* no unit, and firmware says that none is in the way: not in doubt */
	bool reserved;			/* firmware goes on using memory with it, or may */
	uint32_t faults;		/* (a) */
	struct device *claimed;		/* (device claim lock) */
	const char *refused; /* (device claim lock to write) why the last claim was not granted;
				NULL: it was, or there was none */
	uint8_t canary;      /* (a) enum lane_canary: of its live test, once that was made */
	const struct canary_class *canary_class; /* the test that it has; NULL: none */
	const char *canary_why;		/* before canary is set: what made it fail */
	bool never; /* a reset failed or a teardown was not confirmed: not claimable again */
	bool leaving; /* (a) it is being plugged in or out, or gone: nobody may claim it */
	bool gone;    /* (a) it is not there, and cannot reach memory: nothing of it is left to
			 reset */
	bool plugged; /* it came while the machine ran */
	bool master;			/* (a) bus mastering is on */
};

extern struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
extern uint32_t pci_count;

/* Enumerates all hosts of the machine; assigns what firmware left unset.  Logs one line a function
 * at debug level. */
void pci_init(const struct machine *m);

struct pci_function *pci_find(uint16_t segment, uint16_t rid);

uint32_t pci_read(const struct pci_function *f, uint32_t offset, unsigned width);
void pci_write(const struct pci_function *f, uint32_t offset, unsigned width, uint32_t value);

/*
 * Off, or on (which also makes sure that ATS, PRI, PASID and no-snoop are off).  On stays off for a
 * function with a problem.  Only who has attached the function to a domain turns it on.
 */
void pci_bus_master(struct pci_function *f, bool on);

/* Its registers answer; firmware may not have turned that on.  Not for a function with a problem.
 */
void pci_decode(struct pci_function *f);

/* All functions, without locks: for panic and power-off. */
void pci_masters_off_now(void);

/* Transactions Pending is clear (or the function cannot say).  The read also flushes posted writes.
 */
bool pci_idle(const struct pci_function *f);

/*
 * Reset of one function, in steps: returns when to call again (nanoseconds since boot), 0 done,
 * UINT64_MAX failed.  *state starts at 0.  Never waits.  Afterwards the function is harmless, its
 * BARs are what they were, memory decode is on, message interrupts are off and its vector table is
 * lost (pci_msix_open, pci_msix_restore).
 */
uint64_t pci_reset_step(struct pci_function *f, uint32_t *state);
bool pci_can_reset(const struct pci_function *f);
const char *pci_reset_method(const struct pci_function *f);	/* for people; NULL: none */

/* ATS, PRI, PASID and virtual functions read back as off. */
bool pci_services_off(const struct pci_function *f);

/* MSI-X, all by the kernel. */
NODISCARD enum status
pci_msix_open(struct pci_function *f); /* all vectors masked and cleared, table enabled */
/* After open; vectors past msix_count are nobody's: nothing happens.  Set also unmasks. */
void pci_msix_set(struct pci_function *f, uint32_t vector, uint64_t address, uint32_t data);
/* The entry as it was last set, mask included: after a reset.  E_RANGE; E_STATE: never set. */
NODISCARD enum status pci_msix_restore(struct pci_function *f, uint32_t vector);
void pci_msix_mask(struct pci_function *f, uint32_t vector, bool masked);
void pci_msix_close(struct pci_function *f);	/* table disabled; what was set is forgotten */

/*
 * What a driver may see and change.  Reads of what holds addresses, or of what is not known to hold
 * none, give 0 (of a BAR: its type bits).  Writes clear error bits in the status registers and do
 * nothing else: E_REFUSED for any other.  E_ALIGN: width not 1, 2 or 4, offset not a multiple of
 * it; E_RANGE: past 4 KiB.
 */
NODISCARD enum status pci_config_filter(
    struct pci_function *f, uint32_t offset, unsigned width, bool write, uint32_t *value);

/* Whole pages of a BAR that hold neither vector table nor pending bits, from its start on.  0:
 * none. */
uint64_t pci_bar_mappable(const struct pci_function *f, unsigned bar);

/*
 * Plugged in.  Enters function "number" of the card below a port, whose bus it has for itself;
 * NULL: there is none, or no room.  It is harmless, and still "leaving".  Then all of the card:
 * addresses in the port's windows, units, one group.  When they are not "gone" any more and then
 * not "leaving", they can be claimed.  The worker's.
 */
struct pci_function *pci_plug(const struct pci_function *port, unsigned number);
/* False: one of its functions could master the bus as it likes. */
NODISCARD bool pci_plugged(const struct pci_function *port);
/* Nobody has it, and it is gone: what was known of it is forgotten. */
void pci_unplugged(struct pci_function *f);
/* Is f below the bridge, at whatever depth? */
bool pci_is_below(const struct pci_function *f, const struct pci_function *bridge);

/* Watches every slot that can tell of its card (pci_hotplug.c). */
void pci_slots_init(void);
/* Told whenever functions come or go.  *old: who was told before, or NULL. */
struct notification;
void pci_slots_watch(struct notification *n, uint64_t bits, struct notification **old);

/*
 * Isolation groups over a table of functions: fills group, by the rules of ACS, multifunction,
 * bridges and shared endpoint ids.  acs: does the function keep apart what meets at it?  Groups are
 * numbered by their first function.
 */
void pci_make_groups(
    struct pci_function *table, uint32_t count, bool (*acs)(const struct pci_function *));

/*
 * card: the index of a function that is being plugged in, below a port.  By the same rules, would
 * it be in a group with anybody who is not gone, and is not of its own card?
 */
bool pci_group_meets(const struct pci_function *table, uint32_t n, uint32_t card,
    bool (*acs)(const struct pci_function *f));
