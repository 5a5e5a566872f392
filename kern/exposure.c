/*
 * What a process gets to see, looked at (D3).
 *
 * Most of the promise is kept by construction: no call returns an address of memory.  What could
 * show one all the same is memory of the kernel's in a mapping (page tables, shadow queues), a
 * register or an interrupt table that holds one, or an address for devices that is one of memory.
 * Each is looked at where it can be:
 *
 *   mapping     at the one place where mappings are made: the frames are those of memory objects;
 *               those of a window are no memory.  What is not is refused, and stays counted
 *   registers   of configuration space that hold addresses, read as a driver reads them: no bit of
 *               an address is there
 *   windows     that are mapped: the device is behind an IOMMU, so its registers hold addresses of
 *               its domain; the class's list is not in force; no vector table is in them
 *   grants      the device's addresses are not those of the memory
 *
 * Not here what is made of text: log, epitaphs and trace hold no such numbers because nobody puts
 * them there; no check at run time can tell an address from another number.
 *
 * Locks    a device's, over its lists.  At most GRANTS_LOOKED of its grants are looked at, which
 *          bounds the time.
 */
#include "kern/exposure.h"
#include "kern/base/str.h"
#include "kern/device_queue.h"
#include "kern/device_parts.h"
#include "kern/frame.h"
#include "kern/pci_config.h"

enum { GRANTS_LOOKED = 256 };
enum : uint32_t { BAR_ADDRESS = ~0xfu };

static uint64_t runs, windows, refused;		/* (a) */

static void count(uint64_t *n) { (void)__atomic_fetch_add(n, 1, __ATOMIC_RELAXED); }

bool
exposure_allows(struct paddr base, uint64_t pages, bool registers)
{
	enum frame_state want = registers ? FRAME_ABSENT : FRAME_USER;
	struct paddr last = { base.v + (pages - 1) * PAGE_SIZE };

	if (frame_state_of(base) != want || frame_state_of(last) != want) {
		count(&refused);
		return false;
	}
	count(registers ? &windows : &runs);
	return true;
}

/* A capability begins here: its id and the next one's place are shown, whatever lies around it. */
static bool
is_header(struct pci_function *f, uint32_t offset)
{
	uint32_t id, n = 0;

	for (uint32_t at = 0; (at = pci_config_next_cap(f, at, &n, &id)) != 0; )
		if (at == offset)
			return true;
	return false;
}

/* Registers that hold addresses, as a driver sees them: [at, at + len). */
static const char *
hidden(struct pci_function *f, struct exposure_info *out, uint32_t at, uint32_t len, uint32_t mask,
    const char *what)
{
	for (uint32_t i = 0; i < len; i += 4) {
		uint32_t v = 0;

		if (pci_config_filter(f, at + i, 4, false, &v) == OK && (v & mask) != 0 &&
		    (v >> 16 != 0 || !is_header(f, at + i)))
			return what;
		out->registers++;
	}
	return NULL;
}

static const char *
look_at_config(struct pci_function *f, struct exposure_info *out)
{
	const char *s = f->bridge ?
	    NULL :
	    hidden(f, out, CFG_BAR, 4 * DEVICE_BARS, BAR_ADDRESS, "a BAR shows its address");
	uint32_t id, n = 0;

	for (uint32_t at = 0; s == NULL && (at = pci_config_next_cap(f, at, &n, &id)) != 0; ) {
		if (id == CAP_MSI)
			s = hidden(f, out, at + 4, 8, UINT32_MAX,
			    "configuration space shows where a message goes to");
		else if (id == CAP_MSIX)
			s = hidden(f, out, at + 4, 8, UINT32_MAX,
			    "configuration space shows where the vector table is");
	}
	return s;
}

/* The device's lock is held. */
static const char *
look_at_windows(struct device *d, struct exposure_info *out)
{
	list_for_each(it, &d->windows) {
		const struct mmio *w = list_entry(it, struct mmio, link);
		struct paddr last = { w->base.v + w->len - PAGE_SIZE };

		if (list_empty(&w->mappings))
			continue;
		out->mapped_windows++;
		if (d->check != NULL)
			return "registers are mapped that the kernel is to check";
		if (d->verdict.lane != LANE_DIRECT)
			return "registers are mapped, and no IOMMU is behind them";
		if (frame_state_of(w->base) != FRAME_ABSENT || frame_state_of(last) != FRAME_ABSENT)
			return "a register window leads to memory";
		if (w->len > pci_bar_mappable(d->function[w->function].fn, w->bar))
			return "a register window has a vector table in it";
	}
	return NULL;
}

/* The same. */
static const char *
look_at_grants(struct device *d, struct exposure_info *out)
{
	uint32_t same = 0;

	list_for_each(it, &d->buffers) {
		const struct buffer *b = list_entry(it, struct buffer, link);
		struct paddr at;
		uint64_t n;

		if (out->grants == GRANTS_LOOKED)
			break;
		if (!memory_run(
			b->memory, b->grant.entry.grant.offset / PAGE_SIZE, &at, &n))
			continue;
		out->grants++;
		same += at.v == grant_iova(&b->grant).v;
	}
	/* One of many may be equal by chance. */
	return same != 0 && same == out->grants ? "addresses for the device are those of memory" :
						  NULL;
}

struct look { const struct pci_function *fn; struct exposure_info *out; const char *found; };

static bool
look_at_claim(struct object *o, void *arg)
{
	struct device *d = container_of(o, struct device, obj);
	struct look *l = arg;
	bool is = false;

	spin_lock(&d->obj.lock);
	for (unsigned i = 0; d->state == DEVICE_CLAIMED && i < d->function_count; i++)
		is |= d->function[i].fn == l->fn;
	if (is) {
		l->out->registers_checked = d->check != NULL;
		l->found = look_at_windows(d, l->out);
		if (l->found == NULL)
			l->found = look_at_grants(d, l->out);
		if (l->found == NULL && d->verdict.lane == LANE_BROKERED && d->check == NULL)
			l->found = "nobody checks its registers, and no IOMMU is behind them";
	}
	spin_unlock(&d->obj.lock);
	return !is;
}

void
exposure_fill(struct pci_function *f, struct exposure_info *out)
{
	struct look l = { .fn = f, .out = out };

	*out = (struct exposure_info){
		.runs = load_relaxed(&runs),
		.windows = load_relaxed(&windows),
		.refused = load_relaxed(&refused),
	};
	if (out->refused != 0)
		l.found = "a mapping of what is no process's was asked for";
	if (l.found == NULL)
		l.found = look_at_config(f, out);
	if (l.found == NULL)
		object_for_each(OBJ_DEVICE, look_at_claim, &l);
	if (l.found != NULL)
		str_copy(out->found, l.found, sizeof(out->found));
}
