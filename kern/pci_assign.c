/*
 * Assignment: buses and memory BARs.
 *
 * Devices on the root bus get their addresses from the host's windows, largest BAR first, which keeps alignment free of
 * holes.  A bridge gets one run for the 32-bit and one for the 64-bit BARs of all below it, on 1 MiB boundaries, and
 * its windows are set around them.  I/O BARs are not assigned: no driver here uses ports.
 *
 * Manual: PCI-to-PCI bridge 1.2, chapter 3 (windows); PCI-45.
 */
#include "kern/pci_assign.h"
#include "kern/base/bits.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/pci.h"

enum { CFG_COMMAND = 4, CFG_BAR = 0x10, CFG_BUSES = 0x18, CFG_MEM_WINDOW = 0x20, CFG_PREF_WINDOW = 0x24,
	CFG_PREF_HIGH = 0x28, CFG_PREF_LIMIT_HIGH = 0x2c, CFG_IO_WINDOW = 0x1c };

/* Cursor of one window of the host, in PCI addresses. */
struct cursor { uint64_t next, end, cpu_offset; };

void
pci_assign_buses(struct pci_function *f, uint8_t primary)
{
	pci_write(f, CFG_BUSES, 4, primary | (uint32_t)f->secondary << 8 | (uint32_t)f->secondary << 16);
	for (int up = f->parent; up >= 0; up = pci_functions[up].parent) {
		struct pci_function *b = &pci_functions[up];

		if (b->subordinate < f->secondary) {
			b->subordinate = f->secondary;
			pci_write(b, CFG_BUSES + 2, 1, b->subordinate);
		}
	}
}

void
pci_assign_write_bar(struct pci_function *f, unsigned i)
{
	const struct pci_bar *b = &f->bar[i];

	pci_write(f, CFG_BAR + 4 * i, 4, (uint32_t)b->pci_base);
	if (b->is64)
		pci_write(f, CFG_BAR + 4 * i + 4, 4, (uint32_t)(b->pci_base >> 32));
}

static struct cursor
window(const struct machine_host *h, enum machine_window_kind kind)
{
	for (uint32_t i = 0; i < h->window_count; i++)
		if (h->window[i].kind == kind)
			return (struct cursor){ h->window[i].pci_base, h->window[i].pci_base + h->window[i].len,
			    h->window[i].cpu_base - h->window[i].pci_base };
	return (struct cursor){ 0 };
}

static bool
take(struct cursor *c, uint64_t len, uint64_t align, uint64_t *out)
{
	uint64_t at = align_up(c->next, align);

	if (c->end == 0 || at < c->next || !range_within(at, len, c->next, c->end - c->next))
		return false;
	c->next = at + len;
	*out = at;
	return true;
}

/* Is f below bridge b (b -1: any function on the root bus or below)? */
static bool
below(const struct pci_function *f, int b)
{
	int up = f->parent;

	while (up >= 0 && up != b)
		up = pci_functions[up].parent;
	return up == b;
}

/* Gives BARs of functions directly on the bus of "parent" addresses, largest first. */
static void
assign_bus(int parent, uint32_t from, uint32_t to, struct cursor *c32, struct cursor *c64, bool pref64_only)
{
	for (unsigned order = 40; order >= 4; order--) {
		for (uint32_t i = from; i < to; i++) {
			struct pci_function *f = &pci_functions[i];

			if (f->parent != parent)
				continue;
			for (unsigned k = 0; k < DEVICE_BARS; k++) {
				struct pci_bar *b = &f->bar[k];
				bool high = b->is64 && (!pref64_only || b->prefetch) && c64->end != 0;
				struct cursor *c = high ? c64 : c32;
				uint64_t at;

				if (b->len != 1ull << order || b->io || b->base != 0)
					continue;
				/* No BAR shares a page with another: what is smaller than a page gets one whole. */
				if (!take(c, b->len, max_u64(b->len, PAGE_SIZE), &at)) {
					log_warn("pci %02x:%02x.%x: no room for BAR %u", f->rid >> 8, f->rid >> 3 & 31,
					    f->rid & 7, k);
					continue;
				}
				c->next = align_up(c->next, PAGE_SIZE);
				b->pci_base = at;
				pci_assign_write_bar(f, k);
				b->base = at + c->cpu_offset;
				pci_write(f, CFG_COMMAND, 2, pci_read(f, CFG_COMMAND, 2) | 2);
			}
		}
	}
}

void
pci_assign_bars(const struct machine_host *h, uint32_t from, uint32_t to)
{
	struct cursor c32 = window(h, WINDOW_MEM32), c64 = window(h, WINDOW_MEM64);
	bool any = false;

	for (uint32_t i = from; i < to; i++)
		for (unsigned k = 0; k < DEVICE_BARS; k++)
			any |= pci_functions[i].bar[k].len != 0 && !pci_functions[i].bar[k].io &&
			    pci_functions[i].bar[k].base == 0;
	if (!any || h->window_count == 0)
		return;
	assign_bus(-1, from, to, &c32, &c64, false);
	/* Bridges in the order found: a bridge comes before those below it, so its window is opened around theirs by
	 * walking from the last to the first and giving each its own run. */
	for (uint32_t i = from; i < to; i++) {
		struct pci_function *f = &pci_functions[i];
		uint64_t m0, m1, p0, p1;

		if (!f->bridge)
			continue;
		if (f->parent >= 0)
			continue;	/* inside the run of the bridge above */
		c32.next = align_up(c32.next, MIB);
		c64.next = align_up(c64.next, MIB);
		m0 = c32.next;
		p0 = c64.next;
		for (uint32_t k = from; k < to; k++)
			if (k == i || (pci_functions[k].bridge && below(&pci_functions[k], (int)i)))
				assign_bus((int)k, from, to, &c32, &c64, true);
		c32.next = m1 = align_up(c32.next, MIB);
		c64.next = p1 = align_up(c64.next, MIB);
		for (uint32_t k = from; k < to; k++) {
			struct pci_function *b = &pci_functions[k];

			if (k != i && !(b->bridge && below(b, (int)i)))
				continue;
			/* Base above limit closes a window. */
			pci_write(b, CFG_IO_WINDOW, 2, 0x00f0);
			pci_write(b, CFG_MEM_WINDOW, 4, m1 > m0 ? (uint32_t)(m0 >> 16 & 0xfff0) |
			    (uint32_t)((m1 - 1) & 0xfff00000) : 0x0000fff0);
			pci_write(b, CFG_PREF_WINDOW, 4, p1 > p0 ? (uint32_t)(p0 >> 16 & 0xfff0) |
			    (uint32_t)((p1 - 1) & 0xfff00000) : 0x0000fff0);
			pci_write(b, CFG_PREF_HIGH, 4, p1 > p0 ? (uint32_t)(p0 >> 32) : 0);
			pci_write(b, CFG_PREF_LIMIT_HIGH, 4, p1 > p0 ? (uint32_t)((p1 - 1) >> 32) : 0);
			/* A bridge must master to forward what comes from below. */
			pci_write(b, CFG_COMMAND, 2, pci_read(b, CFG_COMMAND, 2) | 6);
		}
	}
}
