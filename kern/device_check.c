/*
 * What the kernel checks of a claim: windows and registers.  device_queue.h tells the life.
 *
 * The windows are the live grants, sorted by device address: what an entry of a queue may name.
 * Registers of a checked claim are mapped nowhere.  Each access is a call, and the class judges it
 * (kern/dma/xlate.h): refused, or the writes that are made instead, and what they do to the device.
 *
 * Order    of a start: bus mastering, then the writes.  Of a stop: the checker's state, then the
 *          writes; pins end only when the device was seen stopped.
 * Locks    the claim's, over every call.
 * Not here queues (device_queue.c), what a register means (the class's xlate.c).
 */
#include "kern/device_queue.h"
#include "kern/pci_hotplug.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/base/str.h"
#include "kern/device_parts.h"
#include "kern/frame.h"
#include "kern/log.h"
#include "kern/panic.h"

enum { COMPLAINTS_MAX = 16, ARRAY_ORDER_MAX = 6 };

const struct xlate_class *
device_class(const struct pci_function *f)
{
	for (const struct xlate_class *const *c = xlate_classes; *c != NULL; c++)
		if ((*c)->open != NULL && xlate_matches(*c, f->class_code, f->vendor, f->device))
			return *c;
	return NULL;
}

void
device_check_complain(struct device *d, enum dma_rule rule, const char *what, uint32_t number,
    const char *part, uint32_t entry)
{
	struct device_check *c = d->check;
	const struct pci_function *f = d->function[0].fn;

	c->last_rule = rule;
	trace(CHECK_REFUSED, device_tag(d), number, entry, rule);
	if (c->complaints++ < COMPLAINTS_MAX)
		log_warn("device %02x:%02x.%x: %s %u, %s %u: refused: %s%s", f->rid >> 8,
		    f->rid >> 3 & 31, f->rid & 7, what, number, part, entry, dma_rule_text(rule),
		    c->complaints == COMPLAINTS_MAX ? " (the last that is said)" : "");
}

/* ---- Windows
 * ------------------------------------------------------------------------------------- */

static enum status
grow(struct device *d)
{
	struct device_check *c = d->check;
	unsigned order = c->windows.room == 0 ? 0 : c->array_order + 1;
	struct paddr p;
	enum status s;

	if (order > ARRAY_ORDER_MAX)
		return E_NO_MEMORY;
	s = domain_take_pages(&d->domain, BIT(order));
	if (s != OK)
		return s;
	s = frame_alloc(order, FRAME_KERNEL, 0, &p);
	if (s != OK) {
		domain_give_pages(&d->domain, BIT(order));
		return s;
	}
	window_place(&c->windows, frame_ptr(p),
	    (uint32_t)((PAGE_SIZE << order) / sizeof(struct xlate_window)));
	if (order != 0) {
		frame_free(c->array, c->array_order);
		domain_give_pages(&d->domain, BIT(c->array_order));
	}
	c->array = p;
	c->array_order = order;
	return OK;
}

enum status
device_check_add(struct device *d, struct buffer *b)
{
	struct device_check *c = d->check;
	const struct ledger_grant *g = &b->grant.entry.grant;
	uint64_t at = grant_iova(&b->grant).v;
	enum status s = OK;

	if (b->window_closed)
		device_check_remove(d, b);
	for (uint64_t done = 0, n; done < g->len && s == OK; done += n) {
		struct xlate_window w = {
			.first = at + done, .grant = &b->grant.entry, .dir = g->dir
		};
		struct paddr p;

		if (!memory_run(b->memory, (g->offset + done) / PAGE_SIZE, &p, &n))
			KASSERT(false);
		n = min_u64(n * PAGE_SIZE, g->len - done);
		w.last = w.first + n - 1;
		w.delta = c->brokered ? p.v - w.first : 0;
		w.cpu = (uint64_t)(uintptr_t)frame_ptr(p) - w.first;
		/* No unit brings it below what the device can say. */
		if (c->brokered && d->address_bits < 64 && p.v + (n - 1) >= BIT(d->address_bits))
			s = E_RANGE;
		else
			s = window_add(&c->windows, &w);
		if (s == E_NO_MEMORY) {
			s = grow(d);
			if (s == OK)
				s = window_add(&c->windows, &w);
		}
	}
	if (s != OK)
		(void)window_remove(&c->windows, &b->grant.entry, at);
	return s;
}

void
device_check_remove(struct device *d, struct buffer *b)
{
	b->window_closed = false;
	(void)window_remove(&d->check->windows, &b->grant.entry, grant_iova(&b->grant).v);
}

/* ---- Registers
 * ----------------------------------------------------------------------------------- */

static uint64_t
read_register(volatile uint8_t *p, unsigned width)
{
	return width == 8 ? mmio_read64(p) : width == 4 ? mmio_read32(p) :
	    width == 2 ? mmio_read16(p) : mmio_read8(p);
}

static void
write_register(volatile uint8_t *p, unsigned width, uint64_t value)
{
	if (width == 8)
		mmio_write64(p, value);
	else if (width == 4)
		mmio_write32(p, (uint32_t)value);
	else if (width == 2)
		mmio_write16(p, (uint16_t)value);
	else
		mmio_write8(p, (uint8_t)value);
}

/* A register that is there (XLATE_REGISTER_BAR). */
static bool
exists(const struct pci_function *f, uint32_t reg, unsigned width)
{
	uint32_t bar = (uint32_t)FIELD_GET(XLATE_REGISTER_BAR, reg);
	uint32_t offset = reg & XLATE_REGISTER_OFFSET;

	static_assert(XLATE_BARS <= DEVICE_BARS);
	return bar < XLATE_BARS && range_within(offset, width, 0, pci_bar_mappable(f, bar)) &&
	    is_aligned(offset, width);
}

/* Where it is; NULL: nowhere, or there is no memory to map it. */
static volatile uint8_t *
place(struct pci_function *f, uint32_t reg, unsigned width)
{
	volatile uint8_t *base = exists(f, reg, width) ?
	    device_regs(f, (unsigned)FIELD_GET(XLATE_REGISTER_BAR, reg)) :
	    NULL;

	return base != NULL ? base + (reg & XLATE_REGISTER_OFFSET) : NULL;
}

static uint64_t
read_for_class(void *arg, uint32_t reg, unsigned width)
{
	volatile uint8_t *p = place(arg, reg, width);

	return p != NULL ? read_register(p, width) : UINT64_MAX;
}

static void
write_for_class(void *arg, uint32_t reg, unsigned width, uint64_t value)
{
	volatile uint8_t *p = place(arg, reg, width);

	if (p != NULL)
		write_register(p, width, value);
}

static uint32_t
config_for_class(void *arg, uint32_t offset, unsigned width)
{
	return pci_read(arg, offset, width);
}

struct xlate_source
device_source(struct pci_function *f)
{
	return (struct xlate_source){ read_for_class, write_for_class, config_for_class, f };
}

void
device_check_stop(struct device *d)
{
	struct device_check *c = d->check;

	c->x.running = c->x.ready = c->x.stopped = false;
	if (c->class->reset != NULL)
		c->class->reset(&c->x);
	list_for_each(it, &c->queues) {
		struct queue *q = list_entry(it, struct queue, link);

		q->stale = q->split_stale = true;
		q->cleared = false;
	}
}

void
device_check_stopped(struct device *d)
{
	struct device_check *c = d->check;

	if (c->x.stopped)
		return;
	list_for_each(it, &c->queues) {
		struct queue *q = list_entry(it, struct queue, link);

		if (q->split != NULL)
			split_clear(q->split);
		else
			ring_clear(&q->ring);
		q->told = 0;
		q->cleared = true;
		c->x.queue[q->ring.q.id].used = false;
	}
	c->x.stopped = true;
}

/* False: a register is gone, or does not read back as it was written; those after it were not
 * written. */
static bool
write_all(struct device_check *c, const struct xlate_writes *w)
{
	io_publish();
	for (uint32_t i = 0; i < w->count; i++) {
		const struct xlate_write *v = &w->v[i];
		volatile uint8_t *p = place(c->function, v->offset, v->width);

		if (p == NULL)
			return false;
		write_register(p, v->width, v->value);
		if (v->verify && read_register(p, v->width) != v->value)
			return false;
	}
	return true;
}

static enum status
refused(struct device *d, enum dma_rule rule, uint32_t offset, unsigned width, bool write)
{
	d->check->registers_refused++;
	device_check_complain(d, rule,
	    write ? "write of register at byte" : "read of register at byte", offset, "bytes",
	    width);
	return E_REFUSED;
}

enum status
device_check_access(struct device *d, const struct mmio *w, uint64_t offset, unsigned width,
    bool write, uint64_t *value, enum dma_rule *rule)
{
	struct device_check *c = d->check;
	struct xlate_writes writes = { 0 };
	uint32_t reg = (uint32_t)(FIELD_PREP(XLATE_REGISTER_BAR, w->bar) |
	    (offset & XLATE_REGISTER_OFFSET));
	volatile uint8_t *p;

	*rule = w->function != 0 || offset > XLATE_REGISTER_OFFSET ||
		!exists(c->function, reg, width) ?
	    RULE_REGISTER :
	    write ? c->class->write(&c->x, reg, width, *value, &writes) :
		    c->class->may_read(&c->x, reg, width);
	if (*rule != RULE_NONE)
		return refused(d, *rule, (uint32_t)offset, width, write);
	if (!write) {
		/* Mapped when the class allows it, and not for the asking. */
		p = place(c->function, reg, width);
		if (p == NULL)
			return E_NO_MEMORY;
		*value = read_register(p, width);
		switch (c->class->seen(&c->x, reg, width, value)) {
		case XLATE_READY:
			c->x.ready = true;
			break;
		case XLATE_STOPPED:
			device_check_stopped(d);
			break;
		default:
			break;
		}
		return OK;
	}
	if (writes.effect == XLATE_STOP)
		device_check_stop(d);
	if (writes.effect == XLATE_START) {
		if (!d->mastering) {
			enum status s = device_master_on(d);

			if (s != OK)
				return s;
		}
		c->x.running = true;
		c->x.ready = c->x.stopped = false;
		memset(c->x.lg2, 0, sizeof(c->x.lg2));	/* what was learned may have changed */
	}
	if (write_all(c, &writes))
		return OK;
	*rule = RULE_QUEUE;
	return refused(d, *rule, (uint32_t)offset, width, write);
}

/* ---- The claim
 * ----------------------------------------------------------------------------------- */

volatile uint8_t *
device_regs(struct pci_function *f, unsigned bar)
{
	uint64_t len = pci_bar_mappable(f, bar);

	/* Made once for a function, and again for another card in its slot that has them elsewhere:
	 * kernel mappings are not given back. */
	if (len != 0 &&
	    (f->regs[bar] == NULL || f->regs_at[bar] != f->bar[bar].base ||
		f->regs_len[bar] != len)) {
		f->regs[bar] = mmu_map_device((struct paddr){ f->bar[bar].base }, len);
		f->regs_at[bar] = f->bar[bar].base;
		f->regs_len[bar] = len;
	}
	return len != 0 ? f->regs[bar] : NULL;
}

/* Asks the classes about one function. */
static void
find_unfit(struct pci_function *f)
{
	struct xlate_source s = device_source(f);

	for (const struct xlate_class *const *c = xlate_classes; *c != NULL; c++) {
		if ((*c)->unfit == NULL || f->unfit != NULL ||
		    !xlate_matches(*c, f->class_code, f->vendor, f->device))
			continue;
		if (f->unit >= 0)	/* its registers are asked */
			pci_decode(f);
		f->unfit = (*c)->unfit(&s, f->unit >= 0);
	}
}

void
device_classes_init(void)
{
	for (uint32_t i = 0; i < pci_count; i++)
		device_plugged(&pci_functions[i]);
}

void
device_plugged(struct pci_function *f)
{
	if (f->bridge || f->problem != NULL)
		return;
	find_unfit(f);
	device_canary_find(f);
}

enum status
device_check_open(struct device *d)
{
	struct pci_function *f = d->function[0].fn;
	struct xlate_source source = device_source(f);
	struct device_check *c;
	struct paddr p;
	enum status s = domain_take_pages(&d->domain, 1);

	static_assert(sizeof(*c) <= PAGE_SIZE);
	if (s != OK)
		return s;
	s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &p);
	if (s != OK) {
		domain_give_pages(&d->domain, 1);
		return s;
	}
	c = frame_ptr(p);
	list_init(&c->queues);
	c->class = device_class(f);
	c->function = f;
	c->brokered = d->verdict.lane == LANE_BROKERED;
	for (unsigned i = 0; i < XLATE_BARS; i++)
		c->x.bar_bytes[i] = pci_bar_mappable(f, i);
	c->x.remapped = !c->brokered;
	c->x.vectors = f->msix_count;
	d->check = c;
	if (c->class == NULL || !c->class->open(&c->x, &source)) {
		device_check_close(d);
		return E_UNSUPPORTED;
	}
	return OK;
}

void
device_check_close(struct device *d)
{
	struct device_check *c = d->check;

	d->check = NULL;
	if (c->windows.room != 0) {
		frame_free(c->array, c->array_order);
		domain_give_pages(&d->domain, BIT(c->array_order));
	}
	frame_free(frame_of(c), 0);
	domain_give_pages(&d->domain, 1);
}
