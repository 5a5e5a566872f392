/*
 * Vector tables: the kernel's alone (D9, PCI-30..32).
 *
 * An entry is four words: address, data, and control with the mask bit.  It is not written at once,
 * so it is masked first, and the mask is read back before address and data change; unmasking is the
 * last write (PCI-31).  The table lies in a BAR, whose pages with table or pending bits are never
 * mapped into a process (pci_filter.c).
 *
 * What was set is remembered, because a reset loses the table.
 */
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/frame.h"
#include "kern/md/mmu.h"
#include "kern/pci_config.h"

static_assert(DEVICE_VECTORS_MAX * sizeof(struct pci_vector) <= PAGE_SIZE);

static void
write_mask(const struct pci_function *f, uint32_t v, bool masked)
{
	volatile uint8_t *control = f->msix_table + v * MSIX_ENTRY + MSIX_VECTOR_CONTROL;

	mmio_write32(control, masked ? MSIX_VECTOR_MASK : 0);
	(void)mmio_read32(control);
}

/* Kernel's mapping and memory, once. */
static enum status
prepare(struct pci_function *f)
{
	uint64_t at = f->bar[f->msix_bar].base + f->msix_offset;
	struct paddr p;

	if (f->msix == NULL) {
		if (frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &p) != OK)
			return E_NO_MEMORY;
		f->msix = frame_ptr(p);
	}
	/* Mapped for as many as there can be: a card in the same place may have more. */
	if (f->msix_table == NULL || f->msix_at != at) {
		f->msix_table = mmu_map_device((struct paddr){ at },
		    min_u64(DEVICE_VECTORS_MAX * (uint64_t)MSIX_ENTRY,
			f->bar[f->msix_bar].base + f->bar[f->msix_bar].len - at));
		f->msix_at = at;
	}
	return f->msix_table == NULL ? E_NO_MEMORY : OK;
}

enum status
pci_msix_open(struct pci_function *f)
{
	enum status s;

	if (f->msix_count == 0 || f->problem != NULL || f->bar[f->msix_bar].base == 0)
		return E_UNSUPPORTED;
	s = prepare(f);
	if (s != OK)
		return s;
	pci_config_change(f, CFG_COMMAND, 2, 0, COMMAND_MEMORY);
	pci_config_change(f, f->cap_msix + MSIX_CONTROL, 2, 0, MSIX_ENABLE | MSIX_MASK_ALL);
	for (uint32_t v = 0; v < f->msix_count; v++) {
		write_mask(f, v, true);
		for (uint32_t word = 0; word < MSIX_VECTOR_CONTROL; word += 4)
			mmio_write32(f->msix_table + v * MSIX_ENTRY + word, 0);
	}
	pci_config_change(f, f->cap_msix + MSIX_CONTROL, 2, MSIX_MASK_ALL, MSIX_ENABLE);
	return OK;
}

static void
write_entry(const struct pci_function *f, uint32_t v)
{
	volatile uint8_t *entry = f->msix_table + v * MSIX_ENTRY;

	write_mask(f, v, true);
	mmio_write32(entry, (uint32_t)f->msix[v].address);
	mmio_write32(entry + 4, (uint32_t)(f->msix[v].address >> 32));
	mmio_write32(entry + MSIX_DATA, f->msix[v].data);
	if (!f->msix[v].masked)
		write_mask(f, v, false);
}

void
pci_msix_set(struct pci_function *f, uint32_t v, uint64_t address, uint32_t data)
{
	if (v >= f->msix_count || f->msix_table == NULL)
		return;
	f->msix[v] = (struct pci_vector){ .address = address, .data = data, .set = true };
	write_entry(f, v);
}

enum status
pci_msix_restore(struct pci_function *f, uint32_t v)
{
	if (v >= f->msix_count)
		return E_RANGE;
	if (f->msix_table == NULL || !f->msix[v].set)
		return E_STATE;
	write_entry(f, v);
	return OK;
}

void
pci_msix_mask(struct pci_function *f, uint32_t v, bool masked)
{
	if (v >= f->msix_count || f->msix_table == NULL)
		return;
	f->msix[v].masked = masked;
	write_mask(f, v, masked);
}

void
pci_msix_close(struct pci_function *f)
{
	if (f->cap_msix != 0)
		pci_config_change(f, f->cap_msix + MSIX_CONTROL, 2, MSIX_ENABLE, MSIX_MASK_ALL);
	if (f->msix != NULL)
		memset(f->msix, 0, DEVICE_VECTORS_MAX * sizeof(*f->msix));
}
