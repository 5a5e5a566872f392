/*
 * PCI: enumeration, the harmless state, bus mastering, and which IOMMU and ITS a function has.
 *
 * A host's buses are walked depth first, with an explicit stack of buses.  First the numbers that
 * bridges hold are checked: each bridge's range must lie inside its parent's and after its elder
 * sibling's.  When they are good, or firmware's tables refer to them (host.preserve), they are
 * kept, and bridges whose numbers are not good stay closed.  Otherwise all buses are numbered anew:
 * a bridge is opened to the last bus while what is below it is walked, then closed behind the last
 * one found.
 *
 * Every function is made harmless as it is found, before anything else is done with it: bus
 * mastering, INTx, MSI, MSI-X, ATS, PRI, PASID, virtual functions, no-snoop off; ACS on
 * (PCI-01..04, PCI-21).  This happens before IOMMUs are touched, so that what firmware left running
 * has stopped.
 *
 * Order    harmless -> BARs sized -> addresses judged or assigned -> IOMMU and ITS looked up ->
 *          groups.
 * What is plugged in later goes the same way (pci_plug, pci_plugged), behind a port that forwards
 * nothing until it is over.
 * Not here slots (pci_hotplug.c).
 */
#include "kern/pci.h"
#include "kern/base/str.h"
#include "kern/dma/iommu.h"
#include "kern/lock.h"
#include "kern/log.h"
#include "kern/machine/idmap.h"
#include "kern/machine/machine.h"
#include "kern/pci_assign.h"
#include "kern/pci_config.h"

enum { DEPTH_MAX = 32 };
enum : uint32_t { CLASS_HOST_BRIDGE = 0x0600, CLASS_SERIAL = 0x0700 };

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_count;

static struct spinlock lock = SPINLOCK_INIT(RANK_PCI);
static const struct machine *mach;

struct pci_function *
pci_find(uint16_t segment, uint16_t rid)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].segment == segment && pci_functions[i].rid == rid)
			return &pci_functions[i];
	return NULL;
}

static bool
is_port(const struct pci_function *f)
{
	return f->bridge && f->pcie &&
	    (f->port_type == PORT_ROOT || f->port_type == PORT_DOWNSTREAM);
}

/* ---- One function ---- */

/* Takes a capability's place when all of it is inside; the first of a kind counts. */
static void
take(uint16_t *slot, uint32_t at, uint32_t len, uint32_t end)
{
	if (*slot == 0 && at + len <= end)
		*slot = (uint16_t)at;
}

static void
find_capabilities(struct pci_function *f)
{
	uint32_t id, n = 0;

	for (uint32_t at = 0; (at = pci_config_next_cap(f, at, &n, &id)) != 0; ) {
		switch (id) {
		case CAP_PM: take(&f->cap_pm, at, 8, CFG_END); break;
		case CAP_MSI: take(&f->cap_msi, at, 10, CFG_END); break;
		case CAP_PCIE: take(&f->cap_pcie, at, PCIE_LEN_V1, CFG_END); break;
		case CAP_MSIX: take(&f->cap_msix, at, MSIX_LEN, CFG_END); break;
		case CAP_AF: take(&f->cap_af, at, AF_LEN, CFG_END); break;
		}
	}
	if (f->cap_pcie == 0)
		return;
	f->pcie = true;
	f->port_type = (uint8_t)FIELD_GET(PCIE_TYPE, pci_read(f, f->cap_pcie + PCIE_FLAGS, 2));
	n = 0;
	for (uint32_t at = 0; (at = pci_config_next_xcap(f, at, &n, &id)) != 0; ) {
		switch (id) {
		case XCAP_ACS: take(&f->cap_acs, at, 8, CFG_EXTENDED_END); break;
		case XCAP_ATS: take(&f->cap_ats, at, 8, CFG_EXTENDED_END); break;
		case XCAP_PRI: take(&f->cap_pri, at, 16, CFG_EXTENDED_END); break;
		case XCAP_PASID: take(&f->cap_pasid, at, 8, CFG_EXTENDED_END); break;
		case XCAP_SRIOV: take(&f->cap_sriov, at, 64, CFG_EXTENDED_END); break;
		}
	}
}

/* Is there device control 2, with ARI forwarding? */
static bool
has_control2(const struct pci_function *f)
{
	return f->cap_pcie != 0 && f->cap_pcie + PCIE_LEN <= CFG_END &&
	    FIELD_GET(PCIE_VERSION, pci_read(f, f->cap_pcie + PCIE_FLAGS, 2)) >= 2;
}

/* Reads what a function says it is; false when there is none. */
static bool
look(struct pci_function *f)
{
	uint32_t id, class;

	if (!pci_config_open(f, mach))
		return false;
	id = pci_read(f, CFG_ID, 4);
	/* 0x0001 is a device that is not ready yet; after firmware has run there is none. */
	if ((id & 0xffff) == 0xffff || (id & 0xffff) == 0 || (id & 0xffff) == 1)
		return false;
	f->vendor = (uint16_t)id;
	f->device = (uint16_t)(id >> 16);
	class = pci_read(f, CFG_REVISION, 4);
	f->revision = (uint8_t)class;
	f->class_code = class >> 8;
	f->header = (uint8_t)pci_read(f, CFG_HEADER, 1);
	f->multifunction = (f->header & HEADER_MULTIFUNCTION) != 0;
	f->header &= (uint8_t)~HEADER_MULTIFUNCTION;
	f->bridge = f->header == 1 || f->header == 2;
	if (f->header == 0) {
		id = pci_read(f, CFG_SUBSYSTEM, 4);
		f->subsystem_vendor = (uint16_t)id;
		f->subsystem = (uint16_t)(id >> 16);
	}
	find_capabilities(f);
	if (f->header == 1)
		f->pref64 = (pci_read(f, BRIDGE_PREF, 2) & 0xf) == 1;
	if (is_port(f) && has_control2(f))
		f->ari = (pci_read(f, f->cap_pcie + PCIE_DEVCTL2, 2) & DEVCTL2_ARI) != 0;
	f->flr = f->cap_pcie != 0 && f->header == 0 &&
	    (pci_read(f, f->cap_pcie + PCIE_DEVCAP, 4) & DEVCAP_FLR) != 0;
	return true;
}

/* Everything by which a request could pass the IOMMU, or the caches, otherwise than we think
 * (PCI-03, PCI-04). */
static void
plain_requests_only(struct pci_function *f)
{
	if (f->cap_ats != 0)
		pci_config_change(f, f->cap_ats + ATS_CONTROL, 2, ATS_ENABLE, 0);
	if (f->cap_pri != 0)
		pci_write(f, f->cap_pri + PRI_CONTROL, 2, 0);
	if (f->cap_pasid != 0)
		pci_write(f, f->cap_pasid + PASID_CONTROL, 2, 0);
	if (f->cap_sriov != 0)
		pci_config_change(
		    f, f->cap_sriov + SRIOV_CONTROL, 2, SRIOV_VF_ENABLE | SRIOV_VF_MEMORY, 0);
	if (f->cap_pcie != 0)
		pci_config_change(f, f->cap_pcie + PCIE_DEVCTL, 2, DEVCTL_NO_SNOOP, 0);
}

void
pci_make_harmless(struct pci_function *f)
{
	/* The console's line stays connected; a line is no DMA. */
	pci_config_change(f, CFG_COMMAND, 2, f->header == 1 ? 0 : COMMAND_MASTER,
	    f->console ? COMMAND_IO | COMMAND_MEMORY : COMMAND_INTX_OFF);
	f->master = false;
	if (f->cap_msi != 0)
		pci_config_change(f, f->cap_msi + MSI_CONTROL, 2, MSI_ENABLE, 0);
	if (f->cap_msix != 0)
		pci_config_change(f, f->cap_msix + MSIX_CONTROL, 2, MSIX_ENABLE, MSIX_MASK_ALL);
	plain_requests_only(f);
	if (f->header <= 1)
		pci_config_change(f, f->header == 0 ? CFG_ROM : BRIDGE_ROM, 4, 1, 0);
	/* What can keep apart is told to; with ATS off, "translated" requests are lies (PCI-21). */
	if (f->cap_acs != 0)
		pci_write(f, f->cap_acs + ACS_CONTROL, 2, pci_read(f, f->cap_acs + ACS_CAP, 2) &
		    (ACS_SV | ACS_RR | ACS_CR | ACS_UF | (is_port(f) ? ACS_TB : 0)));
}

bool
pci_services_off(const struct pci_function *f)
{
	return (f->cap_ats == 0 || (pci_read(f, f->cap_ats + ATS_CONTROL, 2) & ATS_ENABLE) == 0) &&
	    (f->cap_pri == 0 || (pci_read(f, f->cap_pri + PRI_CONTROL, 2) & 1) == 0) &&
	    (f->cap_pasid == 0 || (pci_read(f, f->cap_pasid + PASID_CONTROL, 2) & 1) == 0) &&
	    (f->cap_sriov == 0 ||
		(pci_read(f, f->cap_sriov + SRIOV_CONTROL, 2) & SRIOV_VF_ENABLE) == 0);
}

/* Is what must be off really off?  A function that cannot be made harmless is given to nobody. */
static bool
is_harmless(const struct pci_function *f)
{
	return (f->header == 1 || (pci_read(f, CFG_COMMAND, 2) & COMMAND_MASTER) == 0) &&
	    pci_services_off(f);
}

static void
find_msix(struct pci_function *f)
{
	uint32_t t, p, n;

	if (f->cap_msix == 0)
		return;
	t = pci_read(f, f->cap_msix + MSIX_TABLE, 4);
	p = pci_read(f, f->cap_msix + MSIX_PBA, 4);
	n = (uint32_t)FIELD_GET(MSIX_COUNT, pci_read(f, f->cap_msix + MSIX_CONTROL, 2)) + 1;
	f->msix_bar = (uint8_t)FIELD_GET(MSIX_BIR, t);
	f->msix_pba_bar = (uint8_t)FIELD_GET(MSIX_BIR, p);
	f->msix_offset = t & ~(uint32_t)MSIX_BIR;
	f->msix_pba_offset = p & ~(uint32_t)MSIX_BIR;
	/* All entries are kept from processes; only as many are used as have room in our tables. */
	if (f->msix_bar >= DEVICE_BARS || f->bar[f->msix_bar].io ||
	    f->msix_pba_bar >= DEVICE_BARS || f->bar[f->msix_pba_bar].io ||
	    !range_within(f->msix_offset, n * (uint64_t)MSIX_ENTRY, 0, f->bar[f->msix_bar].len) ||
	    !range_within(
		f->msix_pba_offset, (n + 63) / 64 * 8ull, 0, f->bar[f->msix_pba_bar].len)) {
		f->problem = "its interrupt vector table lies outside of its BARs";
		return;
	}
	f->msix_count = (uint16_t)min_u64(n, DEVICE_VECTORS_MAX);
}

/* Looks at one function and makes it harmless; false when there is none. */
static bool
find(uint32_t host, uint8_t bus, uint8_t devfn, int16_t parent, struct pci_function *out)
{
	*out = (struct pci_function){
		.segment = mach->host[host].segment, .host = (uint8_t)host,
		.rid = (uint16_t)(bus << 8 | devfn),
		.parent = parent, .unit = -1, .its = -1,
	};
	if (!look(out))
		return false;
	/* Clouds have a port on PCI that firmware's tables name by a second address: moving its BAR
	 * could end the console. */
	out->console = out->class_code >> 8 == CLASS_SERIAL &&
	    mach->console.kind == CONSOLE_16550_MMIO && mach->host[host].preserve;
	pci_make_harmless(out);
	return true;
}

/* The next free entry, made *found; NULL: there is no room. */
static struct pci_function *
enter(const struct pci_function *found)
{
	struct pci_function *f = &pci_functions[pci_count];

	if (pci_count == PCI_FUNCTIONS_MAX) {
		log_warn("pci: more than %u functions: %02x:%02x.%x is not used", PCI_FUNCTIONS_MAX,
		    found->rid >> 8, found->rid >> 3 & 31, found->rid & 7);
		return NULL;
	}
	*f = *found;
	store_release(&pci_count, pci_count + 1);
	return f;
}

/* The rest of what a function says about itself. */
static void
judge(struct pci_function *f)
{
	if (!is_harmless(f))
		f->problem = "it cannot be kept from mastering the bus";
	/* A host bridge's own BARs are not to be touched: accesses may go through them. */
	if (f->header <= 1 && f->class_code >> 8 != CLASS_HOST_BRIDGE && !f->console)
		pci_assign_size(f);
	find_msix(f);
	if (f->console)
		f->problem = "it may be the console";
	if (f->header > 1)
		f->problem = "a header of unknown type";
}

/* Looks at one function and enters it; NULL when there is none, or no room. */
static struct pci_function *
probe(uint32_t host, uint8_t bus, uint8_t devfn, int16_t parent)
{
	struct pci_function found, *f;

	if (!find(host, bus, devfn, parent, &found))
		return NULL;
	f = enter(&found);
	if (f != NULL)
		judge(f);
	return f;
}

/* ---- Buses ---- */

enum mode { CHECK, KEEP, ASSIGN };

struct level {
	uint8_t bus, last;		/* KEEP: the highest number that bridges here may hold */
	uint8_t taken;			/* the highest number in use here or below */
	int16_t parent;			/* index of the bridge; -1: root bus */
	uint16_t at, end;		/* next device and function to look at */
	bool multi, ari;
};

static struct level
level(uint8_t bus, uint8_t last, int16_t parent, const struct pci_function *bridge)
{
	/* Behind a port there is one device, which may take all 256 functions for itself. */
	return (struct level){ .bus = bus, .last = last, .taken = bus, .parent = parent,
		.end = bridge == NULL || !is_port(bridge) || bridge->ari ? 256 : 8,
		.ari = bridge != NULL && bridge->ari };
}

static void
write_buses(const struct pci_function *f, uint8_t primary, uint8_t secondary, uint8_t subordinate)
{
	pci_config_change(f, BRIDGE_BUSES, 4, 0xffffff,
	    primary | (uint32_t)secondary << 8 | (uint32_t)subordinate << 16);
}

/* Before a bus is numbered anew: what its bridges forward to by old numbers could answer for
 * another. */
static void
close_bridges(uint32_t host, uint8_t bus, uint16_t end)
{
	bool multi = false;

	for (uint16_t at = 0; at < end; at++) {
		struct pci_function f = { .host = (uint8_t)host, .rid = (uint16_t)(bus << 8 | at) };

		if ((at & 7) != 0 && !multi)
			continue;
		if (!look(&f)) {
			multi = multi && (at & 7) != 0;
			continue;
		}
		if ((at & 7) == 0)
			multi = f.multifunction;
		if (f.header == 1)
			write_buses(&f, bus, 0, 0);
	}
}

/*
 * Walks root bus "bus".  CHECK: are all numbers good?  Enters nothing, writes nothing.  KEEP,
 * ASSIGN: enters all functions. *highest: the highest bus number in use.
 */
static bool
walk(uint32_t host, uint8_t bus, enum mode mode, uint8_t *highest)
{
	const struct machine_host *h = &mach->host[host];
	struct level stack[DEPTH_MAX];
	unsigned depth = 1;

	stack[0] = level(bus, h->bus_last, -1, NULL);
	if (mode == ASSIGN)
		close_bridges(host, bus, 256);
	while (depth != 0) {
		struct level *l = &stack[depth - 1], *up;
		struct pci_function scratch, *f = &scratch;
		uint8_t devfn;

		if (l->at >= l->end) {		/* this bus is done */
			*highest = l->taken;
			if (--depth == 0)
				break;
			up = &stack[depth - 1];
			if (mode == ASSIGN) {
				f = &pci_functions[l->parent];
				f->subordinate = l->taken;
				write_buses(f, up->bus, f->secondary, f->subordinate);
				up->taken = l->taken;
			}
			continue;
		}
		devfn = (uint8_t)l->at++;
		if ((devfn & 7) != 0 && !l->multi && !l->ari)
			continue;
		if (mode == CHECK) {
			scratch = (struct pci_function){ .host = (uint8_t)host,
				.rid = (uint16_t)(l->bus << 8 | devfn) };
			f = look(f) ? f : NULL;
		} else {
			f = probe(host, l->bus, devfn, l->parent);
		}
		if ((devfn & 7) == 0)
			l->multi = f != NULL && f->multifunction;
		if (f == NULL || f->header != 1)
			continue;
		if (mode == ASSIGN) {
			if (l->taken == h->bus_last || depth == DEPTH_MAX) {
				log_warn(
				    "pci %02x:%02x.%x: no bus number left: what is below is not used",
				    l->bus, devfn >> 3, devfn & 7);
				continue;
			}
			f->secondary = (uint8_t)(l->taken + 1);
			write_buses(f, l->bus, f->secondary, h->bus_last);
			stack[depth] =
			    level(f->secondary, h->bus_last, (int16_t)(f - pci_functions), f);
			close_bridges(host, f->secondary, stack[depth].end);
		} else {
			f->secondary = (uint8_t)pci_read(f, BRIDGE_BUSES + 1, 1);
			f->subordinate = (uint8_t)pci_read(f, BRIDGE_SUBORDINATE, 1);
			if (f->secondary <= l->taken || f->subordinate < f->secondary ||
			    f->subordinate > l->last || depth == DEPTH_MAX) {
				if (mode == CHECK)
					return false;
				if (f->secondary != 0)
					log_warn(
					    "pci %02x:%02x.%x: bus numbers %u to %u are absurd: what is below is not used",
					    l->bus, devfn >> 3, devfn & 7, f->secondary,
					    f->subordinate);
				f->secondary = f->subordinate = 0;
				continue;
			}
			l->taken = f->subordinate;
			stack[depth] = level(f->secondary, f->subordinate,
			    mode == CHECK ? -1 : (int16_t)(f - pci_functions), f);
		}
		depth++;
	}
	return true;
}

static void
walk_host(uint32_t host)
{
	const struct machine_host *h = &mach->host[host];
	struct pci_function f = { .host = (uint8_t)host, .rid = (uint16_t)(h->bus_first << 8) };
	uint8_t highest = h->bus_first;

	if (!pci_config_open(&f, mach)) {
		log_error("pci: segment %u: no room to map its configuration space", h->segment);
		return;
	}
	if (!h->preserve && !walk(host, h->bus_first, CHECK, &highest)) {
		(void)walk(host, h->bus_first, ASSIGN, &highest);
		log_info(
		    "pci: segment %u: buses %u to %u numbered", h->segment, h->bus_first, highest);
		return;
	}
	(void)walk(host, h->bus_first, KEEP, &highest);
	/* Firmware may have more root buses on the host, which nothing but AML tells: look for
	 * their devices. */
	for (uint32_t bus = highest + 1u; h->preserve && bus <= h->bus_last; bus++) {
		for (uint32_t device = 0; device < 32; device++) {
			f = (struct pci_function){ .host = (uint8_t)host,
				.rid = (uint16_t)(bus << 8 | device << 3) };
			if (!look(&f))
				continue;
			(void)walk(host, (uint8_t)bus, KEEP, &highest);
			bus = highest;
			break;
		}
	}
}

/* ---- IOMMU and ITS ---- */

static uint8_t
secondary_of(uint16_t segment, uint16_t rid)
{
	const struct pci_function *f = pci_find(segment, rid);

	return f != NULL && f->bridge ? f->secondary : 0xff;
}

static bool
is_present(uint16_t segment, uint16_t rid)
{
	return pci_find(segment, rid) != NULL;
}

static void
find_ids(struct pci_function *f)
{
	struct idmap_path p = { .segment = f->segment,
		.rid = f->rid,
		.secondary = secondary_of,
		.present = is_present };
	uint32_t n;
	int up;

	for (up = f->parent; up >= 0 && p.bridges < MACHINE_PATH_MAX; up = pci_functions[up].parent)
		p.bridge[p.bridges++] = pci_functions[up].rid;
	p.deeper = up >= 0;
	if (machine_find_its(mach, f->segment, f->rid, &n, &f->device_id))
		f->its = (int16_t)n;
	if (machine_find_iommu(mach, &p, &n, &f->endpoint, &f->reserved, &f->no_unit))
		f->unit = (int16_t)n;
	else
		f->unit_absent = machine_without_iommu(mach, &p);
	if (f->problem != NULL) {
		f->no_unit = f->problem;
		f->unit = -1;
	}
}

/* Ports must do all of it; others all of what they have: a bit that is not there says that nothing
 * can meet there. */
static bool
acs_on(const struct pci_function *f)
{
	uint32_t can, does, all = ACS_SV | ACS_RR | ACS_CR | ACS_UF;

	if (f->cap_acs == 0)
		return false;
	can = pci_read(f, f->cap_acs + ACS_CAP, 2);
	does = pci_read(f, f->cap_acs + ACS_CONTROL, 2);
	return is_port(f) ? (does & all) == all : (does & can & all) == (can & all);
}

static void
report(const struct pci_function *f)
{
	if (f->problem != NULL && !f->bridge)
		log_warn("pci %02x:%02x.%x: %s: not used", f->rid >> 8, f->rid >> 3 & 31,
		    f->rid & 7, f->problem);
	log_debug(
	    "pci %04x:%02x:%02x.%x: %04x:%04x class %06x group %u, %u vectors, iommu %d id 0x%x, its %d id 0x%x%s%s",
	    f->segment, f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, f->vendor, f->device,
	    f->class_code, f->group, f->msix_count, f->unit, f->unit < 0 ? 0 : f->endpoint, f->its,
	    f->its < 0 ? 0 : f->device_id, f->no_unit != NULL ? ": " : "",
	    f->no_unit != NULL ? f->no_unit : "");
}

void
pci_init(const struct machine *m)
{
	mach = m;
	pci_count = 0;
	if (m->host_count == 0)
		log_warn("pci: no host bridge in firmware's tables");
	for (uint32_t i = 0; i < m->host_count; i++) {
		uint32_t from = pci_count;

		walk_host(i);
		pci_assign(m, i, from, pci_count);
	}
	pci_assign_judge(m);
	for (uint32_t i = 0; i < pci_count; i++)
		find_ids(&pci_functions[i]);
	pci_make_groups(pci_functions, pci_count, acs_on);
	for (uint32_t i = 0; i < pci_count; i++)
		report(&pci_functions[i]);
	log_info("pci: %u functions", pci_count);
}

/* ---- Plugged in and out ---- */

bool
pci_is_below(const struct pci_function *f, const struct pci_function *bridge)
{
	for (int up = f->parent; up >= 0; up = pci_functions[up].parent)
		if (&pci_functions[up] == bridge)
			return true;
	return false;
}

struct pci_function *
pci_plug(const struct pci_function *port, unsigned number)
{
	struct pci_function found, *f;

	if (!find(port->host, port->secondary, (uint8_t)number, (int16_t)(port - pci_functions),
		&found))
		return NULL;
	found.leaving = found.gone = found.plugged = true;
	f = pci_find(found.segment, found.rid);
	if (f == NULL) {
		f = enter(&found);
	} else {
		/* Its place stays what it was: where nothing was confirmed nothing is believed. */
		found.never = f->never;
		found.generation = f->generation + 1;
		found.msix = f->msix;
		found.msix_table = f->msix_table;
		found.msix_at = f->msix_at;
		memcpy(found.regs, f->regs, sizeof(found.regs));
		memcpy(found.regs_at, f->regs_at, sizeof(found.regs_at));
		memcpy(found.regs_len, f->regs_len, sizeof(found.regs_len));
		*f = found;
	}
	if (f != NULL)
		judge(f);
	return f;
}

/* Why a card that was plugged in later is nobody's to use; NULL: nothing against it. */
static const char *
plug_problem(const struct pci_function *f)
{
	struct iommu_unit *u = f->unit >= 0 ? iommu_by_index((uint32_t)f->unit) : NULL;
	enum status s;

	if (f->bridge)
		return "a bridge that was plugged in";
	/* Others may be claimed, and could be reached from here. */
	if (pci_group_meets(pci_functions, pci_count, (uint32_t)(f - pci_functions), acs_on))
		return "it was plugged in where it is not kept apart from others";
	for (uint32_t i = 0; i < pci_count && f->unit >= 0; i++)
		if (&pci_functions[i] != f && !pci_functions[i].gone &&
		    pci_functions[i].unit == f->unit && pci_functions[i].endpoint == f->endpoint)
			return "it was plugged in and has another's id at its IOMMU";
	s = u != NULL && u->ops->ask != NULL ? u->ops->ask(u, f->endpoint) : OK;
	return s == OK	       ? NULL :
	    s == E_REFUSED ? "it was plugged in, and its IOMMU reserves more for it than was known at boot" :
			     "it was plugged in, and its IOMMU does not tell what is reserved for it";
}

bool
pci_plugged(const struct pci_function *port)
{
	uint32_t first = pci_count;
	bool harmless = true;

	pci_assign_plugged(mach, port);
	for (uint32_t i = 0; i < pci_count; i++) {
		struct pci_function *f = &pci_functions[i];

		if (!f->plugged || &pci_functions[f->parent] != port)
			continue;
		first = (uint32_t)min_u64(first, i);
		f->group = (uint16_t)first;
		find_ids(f);
		if (f->problem == NULL)
			f->problem = plug_problem(f);
		if (f->problem != NULL) {
			f->no_unit = f->problem;
			f->unit = -1;
		}
		harmless &= is_harmless(f);
		report(f);
	}
	return harmless;
}

void
pci_unplugged(struct pci_function *f)
{
	uint32_t i = (uint32_t)(f - pci_functions), first = pci_count;

	f->problem = "it was unplugged";
	for (unsigned k = 0; k < DEVICE_BARS; k++)
		f->bar[k] = (struct pci_bar){ 0 };
	f->msix_count = 0;
	f->cap_msix = 0;
	f->plugged = f->master = false;
	f->canary = 0;
	f->canary_why = NULL;
	f->canary_class = NULL;
	/* Who was in its group stays together, under a number of their own. */
	for (uint32_t k = 0; k < pci_count; k++) {
		if (k == i || f->group != i || pci_functions[k].group != i)
			continue;
		first = (uint32_t)min_u64(first, k);
		pci_functions[k].group = (uint16_t)first;
	}
	f->group = (uint16_t)i;
}

/* ---- Bus mastering ---- */

void
pci_bus_master(struct pci_function *f, bool on)
{
	spin_lock(&lock);
	on = on && f->problem == NULL;
	if (on) {
		plain_requests_only(f);
		pci_config_change(f, CFG_COMMAND, 2, COMMAND_MASTER, 0);
		on = is_harmless(f);
	}
	pci_config_change(
	    f, CFG_COMMAND, 2, COMMAND_MASTER, on ? COMMAND_MASTER | COMMAND_MEMORY : 0);
	f->master = on;
	/* The read pushes posted writes of the function ahead of it. */
	(void)pci_read(f, CFG_COMMAND, 2);
	spin_unlock(&lock);
}

void
pci_decode(struct pci_function *f)
{
	spin_lock(&lock);
	if (f->problem == NULL)
		pci_config_change(f, CFG_COMMAND, 2, 0, COMMAND_MEMORY);
	spin_unlock(&lock);
}

void
pci_masters_off_now(void)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].header != 1)
			pci_config_change(&pci_functions[i], CFG_COMMAND, 2, COMMAND_MASTER, 0);
}

bool
pci_idle(const struct pci_function *f)
{
	if (pci_read(f, CFG_ID, 4) == UINT32_MAX)	/* gone */
		return true;
	if (f->cap_pcie != 0)
		return (pci_read(f, f->cap_pcie + PCIE_DEVSTA, 2) & DEVSTA_PENDING) == 0;
	if (f->cap_af != 0 && (pci_read(f, f->cap_af + AF_CAP, 1) & AF_CAP_TP) != 0)
		return (pci_read(f, f->cap_af + AF_STATUS, 1) & AF_PENDING) == 0;
	return true;
}
