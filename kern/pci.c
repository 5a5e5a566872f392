/*
 * PCI: enumeration, assignment, capabilities, bus mastering, reset, MSI-X.
 *
 * Enumeration is a depth-first walk with an explicit stack of buses.  Where firmware left bus numbers or BARs unset
 * (direct boot of QEMU virt), they are assigned: buses as they are found, BARs bottom-up by decreasing size from the
 * host's windows, bridge windows around them.  Where firmware set them they are kept.
 *
 * Every endpoint is made harmless as it is found: bus mastering, INTx, MSI, MSI-X, ATS, PRI and PASID off
 * (PCI-01..03).
 */
#include "kern/pci.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/idmap.h"
#include "kern/machine/machine.h"
#include "kern/md/clock.h"
#include "kern/md/mmu.h"
#include "kern/pci_assign.h"

/* Configuration space [PCIe 7.5.1] */
enum : uint32_t {
	CFG_ID = 0x00, CFG_COMMAND = 0x04, CFG_STATUS = 0x06, CFG_REVISION = 0x08, CFG_HEADER = 0x0e, CFG_BAR = 0x10,
	CFG_BUSES = 0x18, CFG_SUBSYSTEM = 0x2c, CFG_CAPS = 0x34, CFG_ROM = 0x30,
	COMMAND_IO = BIT(0), COMMAND_MEMORY = BIT(1), COMMAND_MASTER = BIT(2), COMMAND_INTX_OFF = BIT(10),
	STATUS_CAPS = BIT(4),
	CAP_PM = 0x01, CAP_MSI = 0x05, CAP_PCIE = 0x10, CAP_MSIX = 0x11,
	XCAP_ACS = 0x0d, XCAP_ATS = 0x0f, XCAP_PRI = 0x13, XCAP_PASID = 0x1b,
	MSIX_ENABLE = BIT(15), MSIX_MASK_ALL = BIT(14),
	PCIE_DEVCAP = 4, PCIE_DEVCTL = 8, PCIE_DEVSTA = 10,
	DEVCAP_FLR = BIT(28), DEVCTL_FLR = BIT(15), DEVCTL_NO_SNOOP = BIT(11), DEVSTA_PENDING = BIT(5),
	ACS_WANTED = BIT(0) | BIT(2) | BIT(3) | BIT(4),		/* SV, RR, CR, UF */
	PORT_ROOT = 4, PORT_UPSTREAM = 5, PORT_DOWNSTREAM = 6, PORT_PCI_BRIDGE = 7,
};

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_count;

static struct spinlock lock = SPINLOCK_INIT(RANK_PCI);
static const struct machine *mach;

/* A host's ECAM, mapped a bus at a time when it is first needed. */
static volatile uint8_t *bus_map[MACHINE_HOST_MAX][256];

uint32_t
pci_read(const struct pci_function *f, uint32_t offset, unsigned width)
{
	return width == 1 ? mmio_read8(f->config + offset) : width == 2 ? mmio_read16(f->config + offset) :
	    mmio_read32(f->config + offset);
}

void
pci_write(const struct pci_function *f, uint32_t offset, unsigned width, uint32_t v)
{
	if (width == 1)
		mmio_write8(f->config + offset, (uint8_t)v);
	else if (width == 2)
		mmio_write16(f->config + offset, (uint16_t)v);
	else
		mmio_write32(f->config + offset, v);
}

static volatile uint8_t *
config_of(uint32_t host, uint8_t bus, uint8_t devfn)
{
	const struct machine_host *h = &mach->host[host];

	if (bus < h->bus_first || bus > h->bus_last)
		return NULL;
	if (bus_map[host][bus] == NULL)
		bus_map[host][bus] = mmu_map_device((struct paddr){ h->ecam + (uint64_t)bus * MIB }, MIB);
	return bus_map[host][bus] == NULL ? NULL : bus_map[host][bus] + ((uint32_t)devfn << 12);
}

struct pci_function *
pci_find(uint16_t segment, uint16_t rid)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].segment == segment && pci_functions[i].rid == rid)
			return &pci_functions[i];
	return NULL;
}

static void
find_capabilities(struct pci_function *f)
{
	uint32_t at, x;

	if ((pci_read(f, CFG_STATUS, 2) & STATUS_CAPS) != 0) {
		at = pci_read(f, CFG_CAPS, 1) & 0xfc;
		/* 48 entries fit: a longer list is a loop. */
		for (unsigned i = 0; i < 48 && at >= 0x40; i++) {
			uint32_t v = pci_read(f, at, 2);

			switch (v & 0xff) {
			case CAP_PM: f->cap_pm = (uint16_t)at; break;
			case CAP_MSI: f->cap_msi = (uint16_t)at; break;
			case CAP_PCIE: f->cap_pcie = (uint16_t)at; break;
			case CAP_MSIX: f->cap_msix = (uint16_t)at; break;
			}
			at = v >> 8 & 0xfc;
		}
	}
	if (f->cap_pcie == 0)
		return;
	f->pcie = true;
	f->port_type = (uint8_t)(pci_read(f, f->cap_pcie + 2u, 2) >> 4 & 15);
	f->flr = (pci_read(f, f->cap_pcie + PCIE_DEVCAP, 4) & DEVCAP_FLR) != 0;
	at = 0x100;
	for (unsigned i = 0; i < 960 / 8 && at >= 0x100; i++) {
		x = pci_read(f, at, 4);
		if (x == 0 || x == UINT32_MAX)
			break;
		switch (x & 0xffff) {
		case XCAP_ACS: f->cap_acs = (uint16_t)at; break;
		case XCAP_ATS: f->cap_ats = (uint16_t)at; break;
		case XCAP_PRI: f->cap_pri = (uint16_t)at; break;
		case XCAP_PASID: f->cap_pasid = (uint16_t)at; break;
		}
		at = x >> 20 & 0xffc;
	}
}

static void
make_harmless(struct pci_function *f)
{
	uint32_t c = pci_read(f, CFG_COMMAND, 2);

	if (!f->bridge)
		c &= ~(uint32_t)COMMAND_MASTER;
	pci_write(f, CFG_COMMAND, 2, c | COMMAND_INTX_OFF);
	if (f->cap_msi != 0)
		pci_write(f, f->cap_msi + 2u, 2, pci_read(f, f->cap_msi + 2u, 2) & ~1u);
	if (f->cap_msix != 0)
		pci_write(f, f->cap_msix + 2u, 2, pci_read(f, f->cap_msix + 2u, 2) & ~(uint32_t)MSIX_ENABLE);
	if (f->cap_ats != 0)
		pci_write(f, f->cap_ats + 6u, 2, pci_read(f, f->cap_ats + 6u, 2) & ~0x8000u);
	if (f->cap_pri != 0)
		pci_write(f, f->cap_pri + 4u, 2, 0);
	if (f->cap_pasid != 0)
		pci_write(f, f->cap_pasid + 6u, 2, 0);
	if (f->cap_pcie != 0)
		pci_write(f, f->cap_pcie + PCIE_DEVCTL, 2,
		    pci_read(f, f->cap_pcie + PCIE_DEVCTL, 2) & ~(uint32_t)DEVCTL_NO_SNOOP);
	if (!f->bridge)
		pci_write(f, CFG_ROM, 4, 0);
	/* Ports that can isolate what is below them are told to. */
	if (f->cap_acs != 0 && (f->port_type == PORT_ROOT || f->port_type == PORT_DOWNSTREAM))
		pci_write(f, f->cap_acs + 6u, 2, pci_read(f, f->cap_acs + 4u, 2) & (ACS_WANTED | BIT(1)));
}

static void
size_bars(struct pci_function *f)
{
	unsigned n = f->bridge ? 2 : DEVICE_BARS;
	uint32_t command = pci_read(f, CFG_COMMAND, 2);

	pci_write(f, CFG_COMMAND, 2, command & ~(uint32_t)(COMMAND_IO | COMMAND_MEMORY));
	for (unsigned i = 0; i < n; i++) {
		struct pci_bar *b = &f->bar[i];
		uint32_t at = CFG_BAR + 4 * i, low = pci_read(f, at, 4), mask, high = 0, high_mask = UINT32_MAX;
		uint64_t size;

		pci_write(f, at, 4, UINT32_MAX);
		mask = pci_read(f, at, 4);
		pci_write(f, at, 4, low);
		if (mask == 0 || mask == UINT32_MAX)
			continue;
		b->io = (low & 1) != 0;
		b->is64 = !b->io && (low & 6) == 4;
		b->prefetch = !b->io && (low & 8) != 0;
		if (b->is64 && i + 1 < n) {
			high = pci_read(f, at + 4, 4);
			pci_write(f, at + 4, 4, UINT32_MAX);
			high_mask = pci_read(f, at + 4, 4);
			pci_write(f, at + 4, 4, high);
		}
		size = ~((uint64_t)high_mask << 32 | (mask & (b->io ? ~3u : ~15u))) + 1;
		if (b->io)
			size &= 0xffff;
		if (!is_pow2(size) || size > 1ull << 40)
			continue;	/* no BAR looks like that */
		b->len = size;
		b->base = b->pci_base = (uint64_t)high << 32 | (low & (b->io ? ~3u : ~15u));
		if (b->is64)
			i++;
	}
	pci_write(f, CFG_COMMAND, 2, command);
}

static void
find_msix(struct pci_function *f)
{
	uint32_t t, p;

	if (f->cap_msix == 0)
		return;
	t = pci_read(f, f->cap_msix + 4u, 4);
	p = pci_read(f, f->cap_msix + 8u, 4);
	f->msix_bar = (uint8_t)(t & 7);
	f->msix_pba_bar = (uint8_t)(p & 7);
	f->msix_offset = t & ~7u;
	f->msix_pba_offset = p & ~7u;
	f->msix_count = (uint16_t)min_u64((pci_read(f, f->cap_msix + 2u, 2) & 0x7ff) + 1, DEVICE_VECTORS_MAX);
	/* A table that is not wholly inside its BAR does not exist. */
	if (f->msix_bar >= DEVICE_BARS || f->bar[f->msix_bar].io || f->msix_pba_bar >= DEVICE_BARS ||
	    !range_within(f->msix_offset, f->msix_count * 16ull, 0, f->bar[f->msix_bar].len)) {
		log_warn("pci %02x:%02x.%x: vector table outside its BAR: no interrupts", f->rid >> 8, f->rid >> 3 & 31,
		    f->rid & 7);
		f->msix_count = 0;
	}
}

/* Looks at one function; returns it when there is one. */
static struct pci_function *
probe(uint32_t host, uint8_t bus, uint8_t devfn, int16_t parent)
{
	volatile uint8_t *config = config_of(host, bus, devfn);
	struct pci_function *f;
	uint32_t id, class;

	if (config == NULL)
		return NULL;
	id = mmio_read32(config + CFG_ID);
	if (id == UINT32_MAX || id == 0 || (id & 0xffff) == 0xffff || (id & 0xffff) == 1)
		return NULL;
	if (pci_count == PCI_FUNCTIONS_MAX) {
		log_warn("pci: more than %u functions: the rest is not used", PCI_FUNCTIONS_MAX);
		return NULL;
	}
	f = &pci_functions[pci_count++];
	*f = (struct pci_function){
		.segment = mach->host[host].segment, .rid = (uint16_t)(bus << 8 | devfn), .vendor = (uint16_t)id,
		.device = (uint16_t)(id >> 16), .parent = parent, .config = config, .unit = -1,
	};
	class = pci_read(f, CFG_REVISION, 4);
	f->revision = (uint8_t)class;
	f->class_code = class >> 8;
	f->header = (uint8_t)pci_read(f, CFG_HEADER, 1);
	f->multifunction = (f->header & 0x80) != 0;
	f->header &= 0x7f;
	f->bridge = f->header == 1;
	if (f->header == 0) {
		id = pci_read(f, CFG_SUBSYSTEM, 4);
		f->subsystem_vendor = (uint16_t)id;
		f->subsystem = (uint16_t)(id >> 16);
	}
	find_capabilities(f);
	make_harmless(f);
	if (f->header <= 1)
		size_bars(f);
	find_msix(f);
	return f;
}

static void
walk_host(uint32_t host)
{
	const struct machine_host *h = &mach->host[host];
	uint8_t next_bus = (uint8_t)(h->bus_first + 1);
	/* Buses still to be walked: first function index and parent of each. */
	struct { uint8_t bus; int16_t parent; } todo[64] = { { h->bus_first, -1 } };
	uint32_t n = 1;

	while (n != 0) {
		uint8_t bus = todo[--n].bus;
		int16_t parent = todo[n].parent;

		for (unsigned dev = 0; dev < 32; dev++) {
			unsigned functions = 1;

			for (unsigned fn = 0; fn < functions; fn++) {
				struct pci_function *f = probe(host, bus, (uint8_t)(dev << 3 | fn), parent);

				if (f == NULL)
					continue;
				if (fn == 0 && f->multifunction)
					functions = 8;
				if (!f->bridge)
					continue;
				f->secondary = (uint8_t)pci_read(f, CFG_BUSES + 1, 1);
				f->subordinate = (uint8_t)pci_read(f, CFG_BUSES + 2, 1);
				if (f->secondary <= bus || f->subordinate < f->secondary || f->secondary > h->bus_last) {
					/* Unset: give it the next bus, open to the end until its depth is known. */
					if (next_bus > h->bus_last || next_bus == 0)
						continue;
					f->secondary = next_bus++;
					f->subordinate = f->secondary;
					pci_assign_buses(f, bus);
				} else if (f->subordinate >= next_bus) {
					next_bus = (uint8_t)(f->subordinate + 1);
				}
				if (n < ARRAY_SIZE(todo)) {
					todo[n].bus = f->secondary;
					todo[n++].parent = (int16_t)(f - pci_functions);
				}
			}
		}
	}
}

static uint8_t
secondary_of(uint16_t segment, uint16_t rid)
{
	const struct pci_function *f = pci_find(segment, rid);

	return f != NULL && f->bridge ? f->secondary : 0xff;
}

static void
find_units(void)
{
	for (uint32_t i = 0; i < pci_count; i++) {
		struct pci_function *f = &pci_functions[i];
		struct idmap_path p = { .segment = f->segment, .rid = f->rid, .secondary = secondary_of };
		uint32_t unit;
		bool reserved;

		for (int up = f->parent; up >= 0 && p.bridges < MACHINE_PATH_MAX; up = pci_functions[up].parent)
			p.bridge[p.bridges++] = pci_functions[up].rid;
		if (machine_find_iommu(mach, &p, &unit, &f->endpoint, &reserved, &f->no_unit))
			f->unit = (int16_t)unit;
		if (reserved) {
			f->unit = -1;
			f->no_unit = "firmware goes on using memory with it (reserved region)";
		}
	}
}

static bool
acs_on(const struct pci_function *f)
{
	return f->cap_acs != 0 && (pci_read(f, f->cap_acs + 6u, 2) & ACS_WANTED) ==
	    (pci_read(f, f->cap_acs + 4u, 2) & ACS_WANTED) &&
	    (pci_read(f, f->cap_acs + 4u, 2) & (BIT(2) | BIT(3) | BIT(4))) == (BIT(2) | BIT(3) | BIT(4));
}

void
pci_init(const struct machine *m)
{
	mach = m;
	if (m->host_count == 0)
		log_warn("pci: no host bridge in firmware's tables");
	for (uint32_t i = 0; i < m->host_count; i++) {
		uint32_t from = pci_count;

		walk_host(i);
		pci_assign_bars(&m->host[i], from, pci_count);
	}
	find_units();
	pci_make_groups(pci_functions, pci_count, acs_on);
	log_info("pci: %u functions", pci_count);
}

void
pci_bus_master(struct pci_function *f, bool on)
{
	uint32_t c;

	spin_lock(&lock);
	c = pci_read(f, CFG_COMMAND, 2) & ~(uint32_t)COMMAND_MASTER;
	pci_write(f, CFG_COMMAND, 2, c | (on ? COMMAND_MASTER | COMMAND_MEMORY : 0));
	f->master = on;
	/* The read pushes posted writes of the function ahead of it. */
	(void)pci_read(f, CFG_COMMAND, 2);
	spin_unlock(&lock);
}

void
pci_masters_off_now(void)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (!pci_functions[i].bridge)
			pci_write(&pci_functions[i], CFG_COMMAND, 2,
			    pci_read(&pci_functions[i], CFG_COMMAND, 2) & ~(uint32_t)COMMAND_MASTER);
}

bool
pci_idle(const struct pci_function *f)
{
	if (pci_read(f, CFG_ID, 4) == UINT32_MAX || f->cap_pcie == 0)
		return true;
	return (pci_read(f, f->cap_pcie + PCIE_DEVSTA, 2) & DEVSTA_PENDING) == 0;
}

bool
pci_can_reset(const struct pci_function *f)
{
	return f->flr;
}

/*
 * 0: write the reset bit; 1: 100 ms later, wait until the function answers; then restore what software had set.
 * Manual: PCIe 6.6.2 (function-level reset).
 */
uint64_t
pci_reset_step(struct pci_function *f, uint32_t *state)
{
	uint64_t now = clock_now();

	if (!f->flr)
		return UINT64_MAX;
	if (*state == 0) {
		pci_write(f, f->cap_pcie + PCIE_DEVCTL, 2, pci_read(f, f->cap_pcie + PCIE_DEVCTL, 2) | DEVCTL_FLR);
		*state = 1;
		return now + 100 * NS_PER_MS;
	}
	if (pci_read(f, CFG_ID, 4) == UINT32_MAX || (pci_read(f, CFG_ID, 4) & 0xffff) == 1) {
		if (++*state > 60)
			return UINT64_MAX;
		return now + 20 * NS_PER_MS;
	}
	for (unsigned i = 0; i < DEVICE_BARS; i++) {
		const struct pci_bar *b = &f->bar[i];

		if (b->len == 0)
			continue;
		pci_assign_write_bar(f, i);
	}
	make_harmless(f);
	pci_write(f, CFG_COMMAND, 2, (pci_read(f, CFG_COMMAND, 2) | COMMAND_MEMORY | COMMAND_INTX_OFF) &
	    ~(uint32_t)COMMAND_MASTER);
	return 0;
}

enum status
pci_msix_open(struct pci_function *f)
{
	if (f->msix_count == 0)
		return E_UNSUPPORTED;
	if (f->msix_table == NULL) {
		f->msix_table = mmu_map_device((struct paddr){ f->bar[f->msix_bar].base + f->msix_offset },
		    f->msix_count * 16ull);
		if (f->msix_table == NULL)
			return E_NO_MEMORY;
	}
	spin_lock(&lock);
	pci_write(f, CFG_COMMAND, 2, pci_read(f, CFG_COMMAND, 2) | COMMAND_MEMORY);
	pci_write(f, f->cap_msix + 2u, 2, MSIX_ENABLE | MSIX_MASK_ALL);
	for (uint32_t v = 0; v < f->msix_count; v++)
		mmio_write32(f->msix_table + v * 16 + 12, 1);
	pci_write(f, f->cap_msix + 2u, 2, MSIX_ENABLE);
	spin_unlock(&lock);
	return OK;
}

void
pci_msix_mask(struct pci_function *f, uint32_t v, bool masked)
{
	mmio_write32(f->msix_table + v * 16 + 12, masked);
	(void)mmio_read32(f->msix_table + v * 16 + 12);
}

void
pci_msix_set(struct pci_function *f, uint32_t v, uint64_t address, uint32_t data)
{
	pci_msix_mask(f, v, true);
	f->msix[v].address = address;
	f->msix[v].data = data;
	mmio_write32(f->msix_table + v * 16, (uint32_t)address);
	mmio_write32(f->msix_table + v * 16 + 4, (uint32_t)(address >> 32));
	mmio_write32(f->msix_table + v * 16 + 8, data);
	pci_msix_mask(f, v, false);
}

enum status
pci_msix_restore(struct pci_function *f, uint32_t v)
{
	if (v >= DEVICE_VECTORS_MAX)
		return E_RANGE;
	pci_msix_set(f, v, f->msix[v].address, f->msix[v].data);
	return OK;
}

void
pci_msix_close(struct pci_function *f)
{
	if (f->cap_msix != 0)
		pci_write(f, f->cap_msix + 2u, 2, 0);
}

enum status
pci_config_filter(struct pci_function *f, uint32_t offset, unsigned width, bool write, uint32_t *value)
{
	if ((width != 1 && width != 2 && width != 4) || offset >= 4096 || (offset & (width - 1)) != 0)
		return E_ALIGN;
	/* What a driver may write through the kernel: nothing that routes, enables or addresses.  Its device's own
	 * registers are in its BARs. */
	if (write)
		return E_REFUSED;
	/* BARs, ROM, and the message-interrupt capabilities show addresses. */
	if (offset >= CFG_BAR && offset < CFG_BAR + 24)
		return E_REFUSED;
	if (offset >= CFG_ROM && offset < CFG_ROM + 4)
		return E_REFUSED;
	if (f->cap_msi != 0 && offset >= f->cap_msi && offset < f->cap_msi + 24u)
		return E_REFUSED;
	if (f->cap_msix != 0 && offset >= f->cap_msix && offset < f->cap_msix + 12u)
		return E_REFUSED;
	*value = pci_read(f, offset, width);
	return OK;
}

uint64_t
pci_bar_mappable(const struct pci_function *f, unsigned bar)
{
	const struct pci_bar *b = &f->bar[bar];
	uint64_t end;

	if (bar >= DEVICE_BARS || b->len < PAGE_SIZE || b->io || !is_aligned(b->base, PAGE_SIZE) || b->base == 0)
		return 0;	/* shares its page with something else */
	end = b->len;
	if (f->msix_count != 0 && f->msix_bar == bar)
		end = min_u64(end, align_down(f->msix_offset, PAGE_SIZE));
	if (f->msix_count != 0 && f->msix_pba_bar == bar)
		end = min_u64(end, align_down(f->msix_pba_offset, PAGE_SIZE));
	return end;
}
