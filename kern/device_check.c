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
		if ((f->class_code & (*c)->class_mask) == (*c)->class_code)
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
	(void)window_remove(&d->check->windows, &b->grant.entry, grant_iova(&b->grant).v);
}

/* ---- Registers
 * ----------------------------------------------------------------------------------- */

static uint64_t
read_register(volatile uint8_t *p, unsigned width)
{
	return width == 8 ? mmio_read64(p) : mmio_read32(p);
}

static uint64_t
read_for_class(void *arg, uint32_t offset, unsigned width)
{
	struct device_check *c = arg;

	return range_within(offset, width, 0, c->x.window_bytes) ?
	    read_register(c->regs + offset, width) :
	    UINT64_MAX;
}

void
device_check_stop(struct device *d)
{
	struct device_check *c = d->check;

	c->x.running = c->x.ready = c->x.stopped = false;
	list_for_each(it, &c->queues) {
		struct queue *q = list_entry(it, struct queue, link);

		q->stale = true;
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

		ring_clear(&q->ring);
		q->told = 0;
		q->cleared = true;
		c->x.queue[q->ring.q.id].used = false;
	}
	c->x.stopped = true;
}

static void
write_all(struct device_check *c, const struct xlate_writes *w)
{
	io_publish();
	for (uint32_t i = 0; i < w->count; i++) {
		KASSERT(range_within(w->v[i].offset, w->v[i].width, 0, c->x.window_bytes));
		if (w->v[i].width == 8)
			mmio_write64(c->regs + w->v[i].offset, w->v[i].value);
		else
			mmio_write32(c->regs + w->v[i].offset, (uint32_t)w->v[i].value);
	}
}

enum status
device_check_access(struct device *d, const struct mmio *w, uint64_t offset, unsigned width,
    bool write, uint64_t *value, enum dma_rule *rule)
{
	struct device_check *c = d->check;
	struct xlate_writes writes = { 0 };

	*rule = w->function != 0 || w->bar != 0 || width < 4 ||
		!range_within(offset, width, 0, c->x.window_bytes) ?
	    RULE_REGISTER :
	    write ? c->class->write(&c->x, (uint32_t)offset, width, *value, &writes) :
		    c->class->may_read(&c->x, (uint32_t)offset, width);
	if (*rule != RULE_NONE) {
		c->registers_refused++;
		device_check_complain(d, *rule,
		    write ? "write of register at byte" : "read of register at byte",
		    (uint32_t)offset, "bytes", width);
		return E_REFUSED;
	}
	if (!write) {
		*value = read_register(c->regs + offset, width);
		switch (c->class->seen(&c->x, (uint32_t)offset, width, value)) {
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
	write_all(c, &writes);
	return OK;
}

/* ---- The claim
 * ----------------------------------------------------------------------------------- */

volatile uint8_t *
device_regs(struct pci_function *f)
{
	uint64_t len = pci_bar_mappable(f, 0);

	/* Made once for a function: kernel mappings are not given back. */
	if (f->regs == NULL && len != 0)
		f->regs = mmu_map_device((struct paddr){ f->bar[0].base }, len);
	return f->regs;
}

enum status
device_check_open(struct device *d)
{
	struct pci_function *f = d->function[0].fn;
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
	c->brokered = d->verdict.lane == LANE_BROKERED;
	c->x.window_bytes = pci_bar_mappable(f, 0);
	c->x.vectors = f->msix_count;
	c->regs = device_regs(f);
	d->check = c;
	if (c->class == NULL || c->regs == NULL || !c->class->open(&c->x, read_for_class, c)) {
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
