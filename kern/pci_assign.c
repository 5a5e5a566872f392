/*
 * Addresses of BARs.
 *
 * What firmware wrote into BARs is believed only where it can be true: in a window of the host
 * bridge (where windows are known), not in memory, not on registers that are the kernel's, not on
 * another BAR.  A BAR in the wrong place would let a process map it there.
 *
 * New addresses.  Each bus has two heaps: 32-bit addresses, and 64-bit ones for what may go there:
 * on the root bus every 64-bit BAR (prefetchable ones, where the window is), below bridges only
 * prefetchable ones, because a bridge's other memory window has 32 bits (PCI-45).  Sizes are summed
 * from the leaves up: a bus's things are laid out largest alignment first, a bridge's window being
 * one thing of whole MiB in the bus above.  Then the same layout, with the real start, gives the
 * addresses from the root down.  A port whose slot can take another card while the machine runs
 * gets room for one at least.  Each BAR gets whole pages, so none shares a page with another. I/O
 * BARs are not assigned: no driver here uses ports.
 *
 * A card that is plugged in later is laid out in the windows that its port has
 * (pci_assign_plugged).
 *
 * Manual: PCIe 7.5.1.2 (BARs), 7.5.1.3 (bridges); PCI-44..48.
 */
#include "kern/pci_assign.h"
#include "kern/log.h"
#include "kern/machine/machine.h"
#include "kern/pci_config.h"

enum heap { HEAP_32, HEAP_64, HEAPS };
enum : uint64_t { BAR_MAX_LG2 = 46, SLOT_ROOM = 2 * MIB };

/* What a bridge needs of a heap, and what it got. */
struct need { uint64_t len, align, at; };
static struct need need[PCI_FUNCTIONS_MAX][HEAPS];

/* ---- Sizes ---- */

static unsigned
bars_of(const struct pci_function *f)
{
	return f->header == 0 ? DEVICE_BARS : f->header == 1 ? 2 : 0;
}

static uint32_t
probe_word(const struct pci_function *f, uint32_t at, uint32_t *value)
{
	uint32_t mask;

	*value = pci_read(f, at, 4);
	pci_write(f, at, 4, UINT32_MAX);
	mask = pci_read(f, at, 4);
	pci_write(f, at, 4, *value);
	return mask;
}

void
pci_assign_size(struct pci_function *f)
{
	uint32_t command = pci_read(f, CFG_COMMAND, 2);
	unsigned n = bars_of(f);

	pci_write(f, CFG_COMMAND, 2, command & ~(uint32_t)(COMMAND_IO | COMMAND_MEMORY));
	for (unsigned i = 0; i < n; i++) {
		struct pci_bar *b = &f->bar[i];
		uint32_t at = CFG_BAR + 4 * i, low, high = 0, mask = probe_word(f, at, &low),
			 high_mask = UINT32_MAX, flags;
		uint64_t size;

		if (mask == 0 || mask == UINT32_MAX)
			continue;
		b->io = (low & BAR_IO) != 0;
		flags = b->io ? 3 : 15;
		b->prefetch = !b->io && (low & BAR_PREFETCH) != 0;
		b->is64 = !b->io && (low & BAR_TYPE) == BAR_64;
		if (b->is64) {
			if (i + 1 == n) {
				f->problem = "its last BAR is half of a 64-bit one";
				break;
			}
			high_mask = probe_word(f, at + 4, &high);
		}
		size = ~((uint64_t)high_mask << 32 | (mask & ~flags)) + 1;
		if (b->io)
			size &= 0xffff;		/* the upper half need not be there */
		if (!is_pow2(size) || size > 1ull << BAR_MAX_LG2) {
			if (!b->io)
				f->problem = "a BAR that is no power of two in size";
		} else {
			b->len = size;
			b->pci_base = (uint64_t)high << 32 | (low & ~flags);
		}
		i += b->is64;
	}
	pci_write(f, CFG_COMMAND, 2, command);
}

static void
write_bar(const struct pci_function *f, unsigned i)
{
	const struct pci_bar *b = &f->bar[i];

	if (b->len == 0)
		return;
	pci_write(f, CFG_BAR + 4 * i, 4, (uint32_t)b->pci_base);
	if (b->is64)
		pci_write(f, CFG_BAR + 4 * i + 4, 4, (uint32_t)(b->pci_base >> 32));
}

void
pci_assign_restore(struct pci_function *f)
{
	for (unsigned i = 0; i < bars_of(f); i++)
		write_bar(f, i);
}

/* ---- Where firmware put them ---- */

/* The CPU's address of a BAR, through the host's windows; 0: it has none. */
static uint64_t
cpu_address(const struct machine_host *h, const struct pci_bar *b)
{
	if (b->len == 0 || b->io || b->pci_base == 0)
		return 0;
	for (uint32_t i = 0; i < h->window_count; i++) {
		const struct machine_window *w = &h->window[i];

		if (w->kind != WINDOW_IO && range_within(b->pci_base, b->len, w->pci_base, w->len))
			return w->cpu_base + (b->pci_base - w->pci_base);
	}
	return h->window_count == 0 && b->len <= (1ull << 52) - (b->pci_base & BITS(51, 0)) &&
		b->pci_base >> 52 == 0 ?
	    b->pci_base :
	    0;
}

static bool
has_memory(const struct pci_bar *b)
{
	return b->len != 0 && !b->io;
}

static bool
all_have_places(const struct machine_host *h, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		for (unsigned k = 0; k < DEVICE_BARS; k++)
			if (has_memory(&pci_functions[i].bar[k]) &&
			    cpu_address(h, &pci_functions[i].bar[k]) == 0)
				return false;
	return true;
}

/* ---- New ones ---- */

static const struct machine_window *
heap_window(const struct machine_host *h, enum heap heap)
{
	const struct machine_window *best = NULL;

	for (uint32_t i = 0; i < h->window_count; i++) {
		const struct machine_window *w = &h->window[i];

		if (w->kind == (heap == HEAP_32 ? WINDOW_MEM32 : WINDOW_MEM64) &&
		    (best == NULL || w->len > best->len))
			best = w;
	}
	return best;
}

/* All bridges from this one up take 64-bit addresses. */
static bool
wide_below(int bridge)
{
	for (int up = bridge; up >= 0; up = pci_functions[up].parent)
		if (!pci_functions[up].pref64)
			return false;
	return true;
}

/* Which heap a BAR draws from.  wide: the host's window of 64-bit addresses, or NULL. */
static enum heap
heap_of(const struct pci_function *f, const struct pci_bar *b, const struct machine_window *wide)
{
	if (wide == NULL || !b->is64)
		return HEAP_32;
	if (!b->prefetch && (f->parent >= 0 || wide->prefetchable))
		return HEAP_32;
	return wide_below(f->parent) ? HEAP_64 : HEAP_32;
}

struct layout {
	uint32_t from, to;
	enum heap heap;
	const struct machine_window *wide;
	bool place;		/* write down where things go; else only measure */
	uint64_t end;		/* nothing beyond */
};

static bool
fits(const struct layout *l, uint64_t at, uint64_t len)
{
	return at <= l->end && len <= l->end - at;
}

/* Lays out what is on the bus below "parent", from "at" on; returns the end.  *align: the largest
 * alignment in it. */
static uint64_t
lay_out(const struct layout *l, int parent, uint64_t at, uint64_t *align)
{
	*align = 0;
	for (unsigned order = BAR_MAX_LG2; order >= PAGE_SHIFT; order--) {
		uint64_t unit = 1ull << order;

		for (uint32_t i = l->from; i < l->to; i++) {
			struct pci_function *f = &pci_functions[i];
			struct need *n = &need[i][l->heap];

			if (f->parent != parent)
				continue;
			for (unsigned k = 0; k < DEVICE_BARS; k++) {
				struct pci_bar *b = &f->bar[k];

				if (!has_memory(b) || heap_of(f, b, l->wide) != l->heap ||
				    max_u64(b->len, PAGE_SIZE) != unit)
					continue;
				*align = max_u64(*align, unit);
				if (!fits(l, align_up(at, unit), unit))
					continue;
				at = align_up(at, unit);
				if (l->place)
					b->pci_base = at;
				at += unit;
			}
			if (n->len == 0 || n->align != unit)
				continue;
			*align = max_u64(*align, unit);
			if (!fits(l, align_up(at, unit), n->len))
				continue;
			at = align_up(at, unit);
			if (l->place)
				n->at = at;
			at += n->len;
		}
	}
	return at;
}

static void
write_windows(const struct pci_function *f, const struct need n[HEAPS])
{
	uint64_t m = n[HEAP_32].at, p = n[HEAP_64].at, m_last = m + n[HEAP_32].len - 1,
		 p_last = p + n[HEAP_64].len - 1;

	/* Base above limit closes a window. */
	pci_write(f, BRIDGE_IO, 2, 0x00f0);
	pci_write(f, BRIDGE_IO_HIGH, 4, 0x0000ffff);
	pci_write(f, BRIDGE_MEMORY, 4, m == 0 ? 0x0000fff0 :
	    (uint32_t)(m >> 16 & 0xfff0) | (uint32_t)(m_last & 0xfff00000));
	pci_write(f, BRIDGE_PREF_LIMIT_HIGH, 4, 0);
	pci_write(f, BRIDGE_PREF_BASE_HIGH, 4, p == 0 ? UINT32_MAX : (uint32_t)(p >> 32));
	pci_write(f, BRIDGE_PREF, 4, p == 0 ? 0x0000fff0 :
	    (uint32_t)(p >> 16 & 0xfff0) | (uint32_t)(p_last & 0xfff00000));
	pci_write(f, BRIDGE_PREF_LIMIT_HIGH, 4, p == 0 ? 0 : (uint32_t)(p_last >> 32));
}

static void
assign_heap(const struct machine_host *h, struct layout l)
{
	const struct machine_window *w = heap_window(h, l.heap);
	uint64_t align;

	/* Up: what each bridge needs.  A bridge stands before what is below it. */
	l.end = UINT64_MAX >> 1;
	for (uint32_t i = l.to; i-- > l.from; ) {
		struct need *n = &need[i][l.heap];

		*n = (struct need){ 0 };
		if (pci_functions[i].header != 1 || pci_functions[i].secondary == 0)
			continue;
		n->len = align_up(lay_out(&l, (int)i, 0, &align), MIB);
		n->align = max_u64(align, MIB);
		if (pci_slot_port(&pci_functions[i]) && 
		    (l.heap == HEAP_32 || (l.wide != NULL && wide_below((int)i)))) {
			n->len = max_u64(n->len, SLOT_ROOM);
			n->align = max_u64(n->align, SLOT_ROOM);
		}
	}
	if (w == NULL)
		return;
	/* Down.  Address 0 means "none" to us, and to many devices: the first MiB is left out. */
	l.place = true;
	l.end = w->pci_base + w->len;
	(void)lay_out(&l, -1, max_u64(w->pci_base, MIB), &align);
	for (uint32_t i = l.from; i < l.to; i++) {
		const struct need *n = &need[i][l.heap];

		if (n->at == 0)
			continue;
		l.end = n->at + n->len;
		(void)lay_out(&l, (int)i, n->at, &align);
	}
}

static void
assign_all(const struct machine_host *h, uint32_t from, uint32_t to)
{
	struct layout l = { .from = from, .to = to, .wide = heap_window(h, HEAP_64) };

	for (uint32_t i = from; i < to; i++) {
		struct pci_function *f = &pci_functions[i];

		pci_config_change(f, CFG_COMMAND, 2, COMMAND_IO | COMMAND_MEMORY, 0);
		for (unsigned k = 0; k < DEVICE_BARS; k++)
			f->bar[k].pci_base = 0;
	}
	for (l.heap = HEAP_32; l.heap < HEAPS; l.heap++)
		assign_heap(h, l);
	for (uint32_t i = from; i < to; i++) {
		struct pci_function *f = &pci_functions[i];

		pci_assign_restore(f);
		if (f->header != 1)
			continue;
		write_windows(f, need[i]);
		/* A bridge must master to forward what comes from below. */
		pci_config_change(f, CFG_COMMAND, 2, 0, COMMAND_MEMORY | COMMAND_MASTER);
	}
}

void
pci_assign(const struct machine *m, uint32_t host, uint32_t from, uint32_t to)
{
	const struct machine_host *h = &m->host[host];
	bool fresh = !h->preserve && h->window_count != 0 && !all_have_places(h, from, to);

	if (fresh)
		assign_all(h, from, to);
	for (uint32_t i = from; i < to; i++) {
		struct pci_function *f = &pci_functions[i];
		bool placed = false;

		for (unsigned k = 0; k < DEVICE_BARS; k++) {
			f->bar[k].base = cpu_address(h, &f->bar[k]);
			placed |= f->bar[k].base != 0;
		}
		if (fresh && placed)
			pci_config_change(f, CFG_COMMAND, 2, 0, COMMAND_MEMORY);
	}
}

/* ---- Judgement ---- */

/* Registers that are the kernel's. */
static bool
is_kernels(const struct machine *m, uint64_t base, uint64_t len)
{
	const struct machine_irqc *q = &m->irqc;
	bool hit = ranges_overlap(base, len, m->timer.hpet, m->timer.hpet != 0 ? KIB : 0);

	for (uint32_t i = 0; i < m->host_count; i++)
		hit |= m->host[i].access != ECAM_PORTS &&
		    ranges_overlap(base, len, m->host[i].ecam + m->host[i].bus_first * MIB,
			(m->host[i].bus_last - m->host[i].bus_first + 1u) * MIB);
	for (uint32_t i = 0; i < m->iommu_count; i++)
		hit |= m->iommu[i].base != 0 &&
		    ranges_overlap(base, len, m->iommu[i].base, m->iommu[i].len);
	for (uint32_t i = 0; i < q->gicr_count; i++)
		hit |= ranges_overlap(base, len, q->gicr[i].base, q->gicr[i].len);
	for (uint32_t i = 0; i < q->its_count; i++)
		hit |= ranges_overlap(base, len, q->its[i].base, 128 * KIB);
	for (uint32_t i = 0; i < q->ioapic_count; i++)
		hit |= ranges_overlap(base, len, q->ioapic[i].base, PAGE_SIZE);
	hit |= q->gicd != 0 && ranges_overlap(base, len, q->gicd, 64 * KIB);
	hit |= m->console.kind > CONSOLE_NONE && m->console.kind != CONSOLE_16550_IO &&
	    ranges_overlap(base, len, m->console.base, PAGE_SIZE);
	hit |= q->lapic != 0 &&
	    ranges_overlap(base, len, q->lapic, MIB); /* and where message interrupts go */
	return hit;
}

/* Does another BAR lie in [base, base + len)? */
static bool
is_anothers(uint32_t function, unsigned bar, uint64_t base, uint64_t len)
{
	for (uint32_t i = 0; i < pci_count; i++)
		for (unsigned k = 0; k < DEVICE_BARS; k++) {
			const struct pci_bar *b = &pci_functions[i].bar[k];

			if ((i != function || k != bar) && has_memory(b) && b->base != 0 &&
			    ranges_overlap(base, len, b->base, b->len))
				return true;
		}
	return false;
}

static const char *
judge(const struct machine *m, uint32_t i, unsigned k)
{
	const struct pci_bar *b = &pci_functions[i].bar[k];
	const struct machine_host *h = &m->host[pci_functions[i].host];

	if (b->base == 0 && b->pci_base != 0)
		return h->window_count == 0 ?
		    "a BAR's address is none that can be" :
		    "a BAR's address lies outside of the host bridge's windows, and firmware's numbers are to be kept";
	if (b->base == 0 && h->window_count == 0)
		return "a BAR has no address: firmware gave none, and its tables name no window to take one from";
	if (b->base == 0)
		return h->preserve ? "a BAR has no address, and firmware's numbers are to be kept" :
				     "a BAR has no address: no window has room for it";
	if (machine_in_memory(m, b->base, b->len))
		return "a BAR lies in memory";
	if (is_kernels(m, b->base, b->len))
		return "a BAR lies on registers of the kernel's";
	if (is_anothers(i, k, b->base, b->len))
		return "a BAR lies on another BAR";
	return NULL;
}

/* Of two that overlap both are wrong, so all are judged before any is taken back. */
static void
take_back(struct pci_function *f)
{
	pci_config_change(f, CFG_COMMAND, 2, COMMAND_MEMORY, 0);
	for (unsigned k = 0; k < DEVICE_BARS; k++)
		f->bar[k].base = 0;
}

/* Which BARs are alone in their pages. */
static void
find_alone(uint32_t i)
{
	for (unsigned k = 0; k < DEVICE_BARS; k++) {
		struct pci_bar *b = &pci_functions[i].bar[k];
		uint64_t base = align_down(b->base, PAGE_SIZE);

		b->alone = has_memory(b) && b->base != 0 &&
		    !is_anothers(i, k, base, align_up(b->base + b->len, PAGE_SIZE) - base);
	}
}

void
pci_assign_judge(const struct machine *m)
{
	for (uint32_t i = 0; i < pci_count; i++)
		for (unsigned k = 0; k < DEVICE_BARS; k++) {
			const char *why =
			    has_memory(&pci_functions[i].bar[k]) ? judge(m, i, k) : NULL;

			if (why != NULL && pci_functions[i].problem == NULL)
				pci_functions[i].problem = why;
		}
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].problem != NULL && pci_functions[i].header != 1)
			take_back(&pci_functions[i]);
	for (uint32_t i = 0; i < pci_count; i++)
		find_alone(i);
}

/* ---- A card that came later ---- */

/* One of a port's windows, as it is set; false: it is closed. */
static bool
port_window(const struct pci_function *port, enum heap heap, uint64_t *base, uint64_t *end)
{
	uint32_t v = pci_read(port, heap == HEAP_32 ? BRIDGE_MEMORY : BRIDGE_PREF, 4);
	uint64_t last = (v & 0xfff00000) | 0xfffff;

	*base = (uint64_t)(v & 0xfff0) << 16;
	if (heap == HEAP_64 && port->pref64) {
		*base |= (uint64_t)pci_read(port, BRIDGE_PREF_BASE_HIGH, 4) << 32;
		last |= (uint64_t)pci_read(port, BRIDGE_PREF_LIMIT_HIGH, 4) << 32;
	}
	*end = last + 1;
	return *base < last && last != UINT64_MAX;
}

bool
pci_forwards(const struct pci_function *bridge, bool prefetch, uint64_t *base, uint64_t *len)
{
	uint64_t end = 0;
	bool open = port_window(bridge, prefetch ? HEAP_64 : HEAP_32, base, &end);

	*len = end - *base;
	return open;
}

void
pci_assign_plugged(const struct machine *m, const struct pci_function *port)
{
	const struct machine_host *h = &m->host[port->host];
	struct layout l = { .to = pci_count, .wide = heap_window(h, HEAP_64), .place = true };
	int parent = (int)(port - pci_functions);
	uint64_t at, align;

	if (!port_window(port, HEAP_64, &at, &l.end))
		l.wide = NULL;		/* everything into the other one */
	for (uint32_t i = 0; i < pci_count; i++)
		for (unsigned k = 0; pci_functions[i].parent == parent && k < DEVICE_BARS; k++)
			pci_functions[i].bar[k].pci_base = 0;
	for (l.heap = HEAP_32; l.heap < HEAPS; l.heap++)
		if (port_window(port, l.heap, &at, &l.end))
			(void)lay_out(&l, parent, max_u64(at, MIB), &align);
	for (uint32_t i = 0; i < pci_count; i++) {
		struct pci_function *f = &pci_functions[i];

		if (f->parent != parent || !f->plugged)
			continue;
		for (unsigned k = 0; k < DEVICE_BARS; k++)
			f->bar[k].base = cpu_address(h, &f->bar[k]);
		pci_assign_restore(f);
		for (unsigned k = 0; k < DEVICE_BARS && f->problem == NULL; k++)
			f->problem = has_memory(&f->bar[k]) ? judge(m, i, k) : NULL;
		if (f->problem != NULL)
			take_back(f);
		else
			pci_config_change(f, CFG_COMMAND, 2, 0, COMMAND_MEMORY);
	}
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].parent == parent && pci_functions[i].plugged)
			find_alone(i);
}
