/*
 * Configuration space: ECAM access and lists of capabilities.
 *
 * Every function has 4 KiB at ecam + (bus << 20 | device << 15 | function << 12).  A host's space
 * is mapped whole, when it is first asked for, as strongly ordered registers: a write is not posted
 * past a later read (PCI-42).
 *
 * A host without that has ports, which reach the first 256 bytes of a function: the rest reads as
 * all ones.
 *
 * Some machines know only aligned 32-bit accesses (PCI-41).  Narrower writes then write the whole
 * word back; status bits that a write of 1 would clear share words with control bits, so they are
 * written as 0.
 */
#include "kern/pci_config.h"
#include "kern/base/mmio.h"
#include "kern/machine/machine.h"
#include "kern/md/cpu.h"
#include "kern/md/mmu.h"

static volatile uint8_t *ecam[MACHINE_HOST_MAX];	/* of bus_first */

bool
pci_config_open(struct pci_function *f, const struct machine *m)
{
	const struct machine_host *h = &m->host[f->host];
	uint8_t bus = (uint8_t)(f->rid >> 8);

	if (bus < h->bus_first || bus > h->bus_last)
		return false;
	f->ports = h->access == ECAM_PORTS;
	if (f->ports)
		return true;
	if (ecam[f->host] == NULL)
		ecam[f->host] = mmu_map_device((struct paddr){ h->ecam + h->bus_first * MIB },
		    (h->bus_last - h->bus_first + 1u) * MIB);
	if (ecam[f->host] == NULL)
		return false;
	f->config = ecam[f->host] + (bus - h->bus_first) * MIB + ((f->rid & 0xffu) << 12);
	f->words = h->access == ECAM_WORDS;
	return true;
}

uint32_t
pci_read(const struct pci_function *f, uint32_t offset, unsigned width)
{
	if (f->ports)
		return cpu_pci_read(f->rid, offset, width);
	if (width == 4)
		return mmio_read32(f->config + offset);
	if (f->words)
		return mmio_read32(f->config + (offset & ~3u)) >> 8 * (offset & 3) &
		    (width == 1 ? 0xff : 0xffff);
	return width == 1 ? mmio_read8(f->config + offset) : mmio_read16(f->config + offset);
}

/* Bits of the word at "at" that are cleared by writing 1. */
static uint32_t
cleared_by_ones(const struct pci_function *f, uint32_t at)
{
	if (at == CFG_COMMAND)
		return STATUS_ERRORS << 16;
	if (f->cap_pcie != 0 && at == f->cap_pcie + PCIE_DEVCTL)
		return DEVSTA_ERRORS << 16;
	if (f->cap_pm != 0 && at == f->cap_pm + PM_CONTROL)
		return BIT(15);		/* power management event */
	return 0;
}

void
pci_write(const struct pci_function *f, uint32_t offset, unsigned width, uint32_t v)
{
	if (f->ports) {
		cpu_pci_write(f->rid, offset, width, v);
	} else if (width == 4) {
		mmio_write32(f->config + offset, v);
	} else if (f->words) {
		uint32_t at = offset & ~3u, shift = 8 * (offset & 3),
			 mask = (width == 1 ? 0xffu : 0xffffu) << shift;
		uint32_t word = mmio_read32(f->config + at) & ~cleared_by_ones(f, at);

		mmio_write32(f->config + at, (word & ~mask) | (v << shift & mask));
	} else if (width == 1) {
		mmio_write8(f->config + offset, (uint8_t)v);
	} else {
		mmio_write16(f->config + offset, (uint16_t)v);
	}
}

void
pci_config_change(
    const struct pci_function *f, uint32_t offset, unsigned width, uint32_t clear, uint32_t set)
{
	pci_write(f, offset, width, (pci_read(f, offset, width) & ~clear) | set);
}
