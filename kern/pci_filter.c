/*
 * What a driver may see of its function (D3, D9, PCI-32..34).
 *
 * Reading configuration space.  Shown is what is known to hold no address: the header but for BARs,
 * capabilities of known kinds, and vendor-specific ones in the first 256 bytes, by which virtio
 * names its parts.  Everything else reads as 0: message interrupts, enhanced allocation, virtual
 * functions, and what we do not know.  The list is walked for each access, so nothing that the
 * device says about it is remembered.
 *
 * Writing.  Nothing but the error bits of the two status registers, which clear by writing 1.
 *
 * Mapping.  Whole pages of a BAR, from its start up to the first page that holds vectors or pending
 * bits; a BAR smaller than a page only when nothing else can be in that page.
 */
#include "kern/machine/machine.h"
#include "kern/pci_config.h"

enum : uint32_t { CAP_EXPRESS_LAST = 0x10, PM_LEN = 8, VENDOR_LEN = 2, EXTENDED_HEADER = 4 };

/* A run of bytes and which of them are shown. */
struct run { uint32_t at, len; bool shown; };

/* The capability of the first list that holds the offset. */
static struct run
legacy(const struct pci_function *f, uint32_t offset)
{
	struct run best = { 0 };
	uint32_t id, n = 0;

	for (uint32_t at = 0; (at = pci_config_next_cap(f, at, &n, &id)) != 0; ) {
		struct run r = { .at = at, .shown = true };

		switch (id) {
		case CAP_PM: r.len = PM_LEN; break;
		case CAP_PCIE: r.len = PCIE_LEN; break;
		case CAP_VENDOR: r.len = pci_read(f, at + VENDOR_LEN, 1); break;
		default: r.len = 2; break;		/* id and next */
		}
		/* The nearest one before it; where two overlap, the later begins anew. */
		if (at <= offset && at >= best.at)
			best = r;
	}
	best.shown = best.shown && offset - best.at < best.len;
	return best;
}

/* Of the extended list, only ids and where the next one is. */
static bool
extended_shown(const struct pci_function *f, uint32_t offset)
{
	uint32_t id, n = 0;

	if (f->cap_pcie == 0)
		return false;
	for (uint32_t at = 0; (at = pci_config_next_xcap(f, at, &n, &id)) != 0; )
		if (offset - at < EXTENDED_HEADER)
			return true;
	return false;
}

/* One byte, as a driver sees it. */
static uint8_t
byte(const struct pci_function *f, uint32_t at)
{
	bool shown;

	if (at >= CFG_BAR && at < CFG_BAR + 4 * DEVICE_BARS) {
		const struct pci_bar *b = &f->bar[(at - CFG_BAR) / 4];

		if ((at & 3) != 0 || b->len == 0)
			return 0;
		return (uint8_t)(b->io ? BAR_IO :
					 (b->is64 ? BAR_64 : 0) | (b->prefetch ? BAR_PREFETCH : 0));
	}
	if (at < 0x40)		/* not the ROM, nor what is above it (CardBus information) */
		shown = at < CFG_BAR || (at >= CFG_SUBSYSTEM && at < CFG_ROM) || at == CFG_CAPS ||
		    at >= CFG_INTERRUPT;
	else if (at < CFG_END)
		shown = legacy(f, at).shown;
	else
		shown = extended_shown(f, at);
	return shown ? (uint8_t)pci_read(f, at, 1) : 0;
}

enum status
pci_config_filter(
    struct pci_function *f, uint32_t offset, unsigned width, bool write, uint32_t *value)
{
	uint32_t v = 0;

	if ((width != 1 && width != 2 && width != 4) || (offset & (width - 1)) != 0)
		return E_ALIGN;
	if (offset > CFG_EXTENDED_END - width)
		return E_RANGE;
	if (write) {
		if (width == 2 && offset == CFG_STATUS)
			pci_write(f, offset, 2, *value & STATUS_ERRORS);
		else if (width == 2 && f->cap_pcie != 0 && offset == f->cap_pcie + PCIE_DEVSTA)
			pci_write(f, offset, 2, *value & DEVSTA_ERRORS);
		else
			return E_REFUSED;
		return OK;
	}
	for (unsigned i = 0; i < width; i++)
		v |= (uint32_t)byte(f, offset + i) << 8 * i;
	*value = v;
	return OK;
}

uint64_t
pci_bar_mappable(const struct pci_function *f, unsigned bar)
{
	const struct pci_bar *b;
	uint64_t end;

	if (bar >= DEVICE_BARS || f->problem != NULL)
		return 0;
	b = &f->bar[bar];
	if (b->len == 0 || b->io || b->base == 0 || !b->alone || !is_aligned(b->base, PAGE_SIZE) ||
	    b->len < PAGE_SIZE)
		return 0;
	end = b->len;
	if (f->cap_msix != 0 && f->msix_bar == bar)
		end = min_u64(end, align_down(f->msix_offset, PAGE_SIZE));
	if (f->cap_msix != 0 && f->msix_pba_bar == bar)
		end = min_u64(end, align_down(f->msix_pba_offset, PAGE_SIZE));
	return end;
}
