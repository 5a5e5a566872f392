/*
 * virtio-iommu: its PCI function.
 *
 * A row of vendor capabilities says in which BAR, where and how long the parts are: common
 * configuration, notification registers, device configuration.  All of it is the device's word:
 * bounded by its BARs.
 *
 * Source: virtio 1.2, 4.1.4.
 */
#include "dev/iommu/viommu_unit.h"
#include "kern/md/mmu.h"
#include "kern/pci.h"

enum : uint32_t {
	COMMAND = 0x04,
	COMMAND_MEMORY = 0x02,
	CAPS_STATUS = 0x06,
	CAPS_BIT = 0x10,
	CAPS_FIRST = 0x34,
	CAPS_MAX = 48
};

struct part { uint32_t bar, offset, length; bool found; };

static bool
read_part(const struct pci_function *f, uint32_t at, struct part *out)
{
	*out = (struct part){ .bar = pci_read(f, at + VCAP_BAR, 1),
		.offset = pci_read(f, at + VCAP_OFFSET, 4),
		.length = pci_read(f, at + VCAP_LENGTH, 4) };
	out->found = out->bar < DEVICE_BARS && !f->bar[out->bar].io && f->bar[out->bar].base != 0 &&
	    range_within(out->offset, out->length, 0, f->bar[out->bar].len);
	return out->found;
}

static void *
map_part(const struct pci_function *f, const struct part *p, uint32_t least)
{
	if (!p->found || p->length < least)
		return NULL;
	return mmu_map_device((struct paddr){ f->bar[p->bar].base + p->offset }, p->length);
}

const char *
viommu_pci_open(struct viommu *v, uint16_t segment, uint16_t requester)
{
	struct part common = { 0 }, notify = { 0 }, config = { 0 };
	struct pci_function *f = pci_find(segment, requester);
	uint32_t at, n = 0;

	if (f == NULL)
		return "its PCI function is not there";
	if (f->vendor != VIRTIO_VENDOR || f->device != VIOMMU_DEVICE)
		return "another device is at its place";
	if (f->problem != NULL)
		return f->problem;
	at = (pci_read(f, CAPS_STATUS, 2) & CAPS_BIT) != 0 ? pci_read(f, CAPS_FIRST, 1) & 0xfc : 0;
	for (; at >= 0x40 && at <= 0x100 - VCAP_MIN - 4 && n < CAPS_MAX;
	    at = pci_read(f, at + 1, 1) & 0xfc, n++) {
		uint32_t type = pci_read(f, at + VCAP_TYPE, 1);

		if (pci_read(f, at, 1) != VCAP_ID)
			continue;
		/* The first of a kind that can be used counts. */
		if (type == VCAP_COMMON && !common.found)
			(void)read_part(f, at, &common);
		else if (type == VCAP_DEVICE && !config.found)
			(void)read_part(f, at, &config);
		else if (type == VCAP_NOTIFY && !notify.found && read_part(f, at, &notify))
			v->multiplier = pci_read(f, at + VCAP_MULTIPLIER, 4);
	}
	/* Firmware may have left it deaf.  Nothing but memory: mastering comes when it is set up.
	 */
	pci_write(f, COMMAND, 2, COMMAND_MEMORY);
	v->function = f;
	v->common = map_part(f, &common, VCOM_LEN);
	v->notify = map_part(f, &notify, 2);
	v->config = map_part(f, &config, VCFG_LEN);
	v->notify_len = notify.length;
	if (v->common == NULL || v->notify == NULL || v->config == NULL)
		return "its registers are not where its capabilities should say (virtio 1.0 or later is needed)";
	return NULL;
}

void
viommu_pci_master(struct viommu *v)
{
	pci_bus_master(v->function, true);
	v->function->problem = "the kernel's own IOMMU";	/* nobody's to claim */
}
