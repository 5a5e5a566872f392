/*
 * Claims: device.h tells the life and the order of the end.
 */
#include "kern/device.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/cpu.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

enum : uint64_t {
	DRAIN_NS = NS_PER_S, FENCE_NS = NS_PER_S, POLL_NS = 20 * NS_PER_US,
	STORM = 10000,			/* faults in a claim's life that shut it off */
};

enum step : uint8_t { END_WINDOWS, END_MASTER, END_DRAIN, END_VECTORS, END_BLOCK, END_FENCE, END_UNMAP, END_UNMAPPED,
	END_RESET, END_UNPIN };

static struct spinlock claim_lock = SPINLOCK_INIT(RANK_CLAIM);

static uint64_t end_step(struct work *w);

static struct device *device_of(struct object *o) { return container_of(o, struct device, obj); }

/* Stage one of the verdict: is there a unit that enforces it, or why not. */
static enum status
verdict(const struct pci_function *f, uint32_t flags, const char **why)
{
	const struct iommu_unit *u = f->unit >= 0 ? iommu_by_index((uint32_t)f->unit) : NULL;

	*why = "direct";
	if (f->bridge)
		*why = "a bridge";
	else if (f->never)
		*why = "quarantined";
	else if (f->unit < 0)
		*why = f->no_unit;
	else if (u == NULL)
		*why = "its IOMMU is not in use";
	else if (u->broken)
		*why = "its IOMMU is broken";
	else if (!pci_can_reset(f))
		*why = "no reset method";
	else if (!u->facts.interrupt_isolation && (flags & CLAIM_CONSENT_INTERRUPTS) == 0)
		*why = "interrupt_isolation=none, and the manifest does not consent";
	else if ((flags & CLAIM_CONSENT_UNVALIDATED) == 0)
		*why = "programmed, not validated, and the manifest does not consent";
	else
		return OK;
	return f->never ? E_QUARANTINED : E_REFUSED;
}

enum dma_lane
device_lane(const struct pci_function *f, const char **why)
{
	return verdict(f, CLAIM_CONSENT_INTERRUPTS | CLAIM_CONSENT_UNVALIDATED, why) == OK ? LANE_DIRECT :
	    LANE_UNSUPPORTED;
}

enum status
sys_device_claim(struct thread *t, struct uregs *u)
{
	struct pci_function *f;
	struct object *o, *k;
	struct device *d;
	const char *why = "";
	uint32_t flags = (uint32_t)u->w[2];
	handle_t h;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_KERNEL, KERNEL_DEVICES, &k, NULL);

	if (s != OK)
		return s;
	object_put(k);
	f = pci_find((uint16_t)(u->w[1] >> 16), (uint16_t)u->w[1]);
	if (f == NULL)
		return E_NOT_FOUND;
	s = object_create(OBJ_DEVICE, t->proc, &o);
	if (s != OK)
		return s;
	d = device_of(o);
	list_init(&d->buffers);
	list_init(&d->irqs);
	list_init(&d->windows);
	d->work.step = end_step;
	d->group = f->group;
	d->lane = LANE_DIRECT;
	d->doorbell = DOORBELL_MAPPED;
	/* The whole group or nothing. */
	spin_lock(&claim_lock);
	for (uint32_t i = 0; i < pci_count && s == OK; i++) {
		struct pci_function *g = &pci_functions[i];

		if (g->group != f->group)
			continue;
		if (g->claimed != NULL)
			s = E_BUSY;
		else if (d->function_count == GROUP_FUNCTIONS_MAX)
			s = E_OVERFLOW;
		else
			s = verdict(g, flags, &why);
		if (s == OK)
			d->function[d->function_count++].fn = g;
		else if (why[0] != 0)
			log_warn("device %02x:%02x.%x: unsupported: %s", g->rid >> 8, g->rid >> 3 & 31, g->rid & 7, why);
	}
	for (unsigned i = 0; i < d->function_count && s == OK; i++) {
		/* One domain lives on one unit. */
		if (d->function[i].fn->unit != d->function[0].fn->unit)
			s = E_UNSUPPORTED;
	}
	for (unsigned i = 0; i < d->function_count && s == OK; i++) {
		d->function[i].fn->claimed = d;
		d->function[i].fn->faults = 0;
	}
	spin_unlock(&claim_lock);
	if (s != OK) {
		d->function_count = 0;
		object_put(o);
		return s;
	}
	d->state = DEVICE_CLAIMED;
	d->generation = 1;
	s = domain_init(&d->domain, iommu_by_index((uint32_t)f->unit), &t->proc->quota);
	if (s == OK) {
		d->domain_live = true;
		for (unsigned i = 0; i < d->function_count && s == OK; i++)
			s = d->domain.io.unit->ops->attach(&d->domain.io, d->function[i].fn->endpoint);
	}
	if (s == OK)
		s = handle_insert(t->proc, o, o->gen, RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE | RIGHT_MANAGE | RIGHT_DMA, 0, &h);
	if (s != OK) {
		object_put(o);		/* runs the end */
		return s;
	}
	log_info("device %02x:%02x.%x: direct-remapping by %s: programmed, not validated (consent); doorbells mapped%s",
	    f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, d->domain.io.unit->name,
	    d->domain.io.unit->facts.interrupt_isolation ? "" : "; interrupt_isolation=none (consent)");
	u->w[0] = h;
	return OK;
}

/* Finds a live claim; locked on OK. */
static enum status
claim_lock_by(struct thread *t, uint64_t h, uint32_t rights, struct device **out) NO_THREAD_SAFETY
{
	struct object *o;
	enum status s = handle_lock(t->proc, (handle_t)h, OBJ_DEVICE, rights, &o, NULL);

	if (s != OK)
		return s;
	*out = device_of(o);
	if ((*out)->state != DEVICE_CLAIMED) {
		spin_unlock(&o->lock);
		return E_STALE;
	}
	return OK;
}

enum status
sys_device_config(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct device *d;
	uint32_t value = (uint32_t)u->w[3];
	uint64_t fn = u->w[1] >> 16;
	enum status s = claim_lock_by(t, u->w[0], RIGHT_READ, &d);

	if (s != OK)
		return s;
	s = fn >= d->function_count ? E_RANGE : pci_config_filter(d->function[fn].fn, u->w[1] & 0xffff,
	    (unsigned)(u->w[2] & 0xff), (u->w[2] & CONFIG_WRITE) != 0, &value);
	spin_unlock(&d->obj.lock);
	if (s == OK)
		u->w[0] = value;
	return s;
}

enum status
sys_device_bar(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint64_t fn = u->w[1] >> 8, bar = u->w[1] & 0xff, len;
	struct device *d;
	struct object *o;
	struct mmio *w;
	handle_t h;
	enum status s = claim_lock_by(t, u->w[0], RIGHT_READ | RIGHT_WRITE, &d);

	if (s != OK)
		return s;
	len = fn < d->function_count && bar < DEVICE_BARS ? pci_bar_mappable(d->function[fn].fn, (unsigned)bar) : 0;
	object_get(&d->obj);
	spin_unlock(&d->obj.lock);
	if (len == 0) {
		object_put(&d->obj);
		return E_NOT_FOUND;
	}
	s = object_create(OBJ_MMIO, t->proc, &o);
	if (s != OK) {
		object_put(&d->obj);
		return s;
	}
	w = container_of(o, struct mmio, obj);
	list_init(&w->mappings);
	list_init(&w->link);
	w->device = d;
	w->base.v = d->function[fn].fn->bar[bar].base;
	w->len = len;
	w->function = (uint32_t)fn;
	w->bar = (uint32_t)bar;
	spin_lock(&d->obj.lock);
	if (d->state == DEVICE_CLAIMED) {
		w->generation = d->generation;
		list_push_back(&d->windows, &w->link);
	} else {
		s = E_STALE;
	}
	spin_unlock(&d->obj.lock);
	if (s == OK)
		s = handle_insert(t->proc, o, o->gen, RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE, 0, &h);
	if (s != OK) {
		object_put(o);
		return s;
	}
	u->w[0] = h;
	u->w[1] = len;
	return OK;
}

bool
mmio_destroy(struct object *o)
{
	struct mmio *w = container_of(o, struct mmio, obj);

	spin_lock(&w->device->obj.lock);
	list_remove(&w->link);
	spin_unlock(&w->device->obj.lock);
	object_put(&w->device->obj);
	return true;
}

enum status
mmio_map(struct mmio *w, struct process *p, uint64_t offset, uint64_t len, uint64_t va, uint8_t prot, uint64_t *va_out)
{
	enum status s = vspace_map(p, &w->obj, offset, len, va, prot, va_out);

	/* The end of the claim takes mappings down after it has left "claimed": one of the two sees the other. */
	if (s == OK && load_acquire(&w->device->state) != DEVICE_CLAIMED) {
		(void)vspace_unmap(p, *va_out, len);
		s = E_STALE;
	}
	return s;
}

enum status
sys_mmio_access(struct thread *t, struct uregs *u)
{
	unsigned width = (unsigned)(u->w[2] & 0xff);
	bool write = (u->w[2] & CONFIG_WRITE) != 0;
	volatile uint8_t *p;
	struct object *o;
	struct mmio *w;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_MMIO, write ? RIGHT_WRITE : RIGHT_READ, &o, NULL);

	if (s != OK)
		return s;
	w = container_of(o, struct mmio, obj);
	if (width != 1 && width != 2 && width != 4 && width != 8)
		s = E_INVALID;
	else if (!range_within(u->w[1], width, 0, w->len))
		s = E_RANGE;
	else if ((u->w[1] & (width - 1)) != 0)
		s = E_ALIGN;
	if (s != OK) {
		object_put(o);
		return s;
	}
	if (load_acquire(&w->regs) == NULL) {
		volatile uint8_t *made = mmu_map_device(w->base, w->len);

		if (made == NULL) {
			object_put(o);
			return E_NO_MEMORY;
		}
		store_release(&w->regs, made);
	}
	spin_lock(&w->device->obj.lock);
	if (w->device->state != DEVICE_CLAIMED) {
		s = E_STALE;
	} else {
		p = w->regs + u->w[1];
		if (write && width == 8)
			mmio_write64(p, u->w[3]);
		else if (write && width == 4)
			mmio_write32(p, (uint32_t)u->w[3]);
		else if (write && width == 2)
			mmio_write16(p, (uint16_t)u->w[3]);
		else if (write)
			mmio_write8(p, (uint8_t)u->w[3]);
		else
			u->w[0] = width == 8 ? mmio_read64(p) : width == 4 ? mmio_read32(p) :
			    width == 2 ? mmio_read16(p) : mmio_read8(p);
	}
	spin_unlock(&w->device->obj.lock);
	object_put(o);
	return s;
}

static void
irq_fire(void *arg)
{
	struct irq *i = arg;

	i->count++;
	notification_signal(i->ntfn, i->bits);
}

enum status
sys_device_irq(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint64_t fn = u->w[1] >> 16, vector = u->w[1] & 0xffff;
	struct group_function *g;
	struct irqc_message msg;
	struct object *o, *no;
	struct device *d;
	struct irq *i;
	handle_t h;
	enum status s = handle_ref(t->proc, (handle_t)u->w[2], OBJ_NOTIFICATION, RIGHT_SIGNAL, &no, NULL);

	if (s != OK)
		return s;
	s = object_create(OBJ_IRQ, t->proc, &o);
	if (s != OK) {
		object_put(no);
		return s;
	}
	i = container_of(o, struct irq, obj);
	i->ntfn = container_of(no, struct notification, obj);
	i->bits = u->w[3];
	list_init(&i->link);
	s = irq_slot_claim(irq_fire, i, "device", &i->slot);
	if (s != OK) {
		object_put(o);
		return s;
	}
	i->live = true;
	s = claim_lock_by(t, u->w[0], RIGHT_MANAGE, &d);
	if (s != OK)
		goto out;
	object_get(&d->obj);
	i->device = d;
	if (fn >= d->function_count || vector >= d->function[fn].fn->msix_count || vector >= DEVICE_IRQS_MAX) {
		s = E_RANGE;
		goto unlock;
	}
	list_for_each(it, &d->irqs) {
		struct irq *other = list_entry(it, struct irq, link);

		if (other->function == fn && other->vector == vector) {
			s = E_BUSY;
			goto unlock;
		}
	}
	g = &d->function[fn];
	if (!g->source_open) {
		s = irqc_msi_open(&g->source, g->fn->segment, g->fn->rid,
		    (uint32_t)min_u64(g->fn->msix_count, DEVICE_IRQS_MAX));
		if (s == OK)
			s = pci_msix_open(g->fn);
		if (s == OK && g->source.doorbell.v != 0)
			s = domain_map_doorbell(&d->domain, g->source.doorbell);
		if (s != OK)
			goto unlock;
		g->source_open = true;
	}
	i->function = (uint32_t)fn;
	i->vector = (uint32_t)vector;
	i->generation = d->generation;
	s = irqc_msi_bind(&g->source, i->vector, i->slot, (unsigned)u->w[4], &msg);
	if (s != OK)
		goto unlock;
	if (g->source.doorbell.v != 0)
		msg.address = d->domain.doorbell.v + g->source.doorbell_offset;
	list_push_back(&d->irqs, &i->link);
	pci_msix_set(g->fn, i->vector, msg.address, msg.data);
unlock:
	spin_unlock(&d->obj.lock);
out:
	if (s == OK)
		s = handle_insert(t->proc, o, o->gen, RIGHT_MANAGE | RIGHT_GIVE, 0, &h);
	if (s != OK) {
		object_put(o);
		return s;
	}
	u->w[0] = h;
	return OK;
}

/* Takes the route of one vector down; the device's lock is held, the vector's function is masked or gone. */
static void
irq_unroute(struct device *d, struct irq *i)
{
	struct group_function *g = &d->function[i->function];

	pci_msix_mask(g->fn, i->vector, true);
	irqc_msi_unbind(&g->source, i->vector, i->slot);
	list_remove(&i->link);
}

bool
irq_destroy(struct object *o)
{
	struct irq *i = container_of(o, struct irq, obj);

	if (i->device != NULL) {
		spin_lock(&i->device->obj.lock);
		if (!list_empty(&i->link))
			irq_unroute(i->device, i);
		spin_unlock(&i->device->obj.lock);
	}
	if (i->live)
		irq_slot_release(i->slot);
	if (i->ntfn != NULL)
		object_put(&i->ntfn->obj);
	if (i->device != NULL)
		object_put(&i->device->obj);
	return true;
}

enum status
sys_irq_control(struct thread *t, struct uregs *u)
{
	struct object *o;
	struct irq *i;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_IRQ, RIGHT_MANAGE, &o, NULL);

	if (s != OK)
		return s;
	i = container_of(o, struct irq, obj);
	spin_lock(&i->device->obj.lock);
	if (list_empty(&i->link))
		s = E_STALE;
	else
		pci_msix_mask(i->device->function[i->function].fn, i->vector, u->w[1] != 0);
	spin_unlock(&i->device->obj.lock);
	object_put(o);
	return s;
}

enum status
sys_dma_map(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	uint64_t offset = u->w[2], len = u->w[3], dir = u->w[4];
	struct object *mo, *bo;
	struct memory *m;
	struct device *d;
	struct buffer *b;
	handle_t h;
	enum status s;

	if (dir == 0 || dir > DMA_BOTH)
		return E_INVALID;
	if (((offset | len) & PAGE_MASK) != 0)
		return E_ALIGN;
	s = handle_ref(t->proc, (handle_t)u->w[1], OBJ_MEMORY, RIGHT_DMA |
	    ((dir & DMA_TO_DEVICE) != 0 ? RIGHT_READ : 0) | ((dir & DMA_FROM_DEVICE) != 0 ? RIGHT_WRITE : 0), &mo, NULL);
	if (s != OK)
		return s;
	m = container_of(mo, struct memory, obj);
	if (len == 0 || !range_within(offset, len, 0, m->pages * PAGE_SIZE)) {
		object_put(mo);
		return E_RANGE;
	}
	s = object_create(OBJ_BUFFER, t->proc, &bo);
	if (s != OK) {
		object_put(mo);
		return s;
	}
	b = container_of(bo, struct buffer, obj);
	b->memory = m;
	b->offset = offset;
	b->len = len;
	list_init(&b->link);
	list_init(&b->grant.link);
	spin_lock(&mo->lock);
	if (m->poisoned)
		s = E_POISONED;
	else if (m->sealed && (dir & DMA_FROM_DEVICE) != 0)
		s = E_READ_ONLY;
	m->grants++;
	m->writers += (dir & DMA_FROM_DEVICE) != 0;
	spin_unlock(&mo->lock);
	b->grant.dir = (enum dma_dir)dir;
	if (s == OK)
		s = claim_lock_by(t, u->w[0], RIGHT_DMA, &d);
	if (s == OK) {
		object_get(&d->obj);
		b->device = d;
		s = domain_grant(&d->domain, &b->grant, m, offset, len, (enum dma_dir)dir, d->generation);
		if (s == OK) {
			list_push_back(&d->buffers, &b->link);
			if (!d->mastering) {
				d->mastering = true;
				for (unsigned i = 0; i < d->function_count; i++)
					pci_bus_master(d->function[i].fn, true);
			}
			u->w[1] = b->grant.iova.v;
		}
		spin_unlock(&d->obj.lock);
	}
	if (s == OK)
		s = handle_insert(t->proc, bo, bo->gen, RIGHT_MANAGE | RIGHT_GIVE, 0, &h);
	if (s != OK) {
		object_put(bo);
		return s;
	}
	u->w[0] = h;
	return OK;
}

/* The grant no longer counts for its memory; quarantined, it poisons it (D8). */
static void
unpin(struct buffer *b)
{
	struct memory *m = b->memory;
	bool poison = b->grant.state == GRANT_QUARANTINED;

	spin_lock(&m->obj.lock);
	m->grants--;
	m->writers -= (b->grant.dir & DMA_FROM_DEVICE) != 0;
	if (poison) {
		m->poisoned = true;
		watch_fire(&m->watch);
	}
	spin_unlock(&m->obj.lock);
	b->memory = NULL;
	object_put(&m->obj);
}

/* Revokes one grant and waits for the ticket. */
static enum status
buffer_end(struct buffer *b, uint64_t deadline)
{
	struct device *d = b->device;
	enum status s = OK;

	spin_lock(&d->obj.lock);
	if (b->grant.state == GRANT_MAPPED)
		domain_revoke(&d->domain, &b->grant);
	while (b->grant.state == GRANT_REVOKING) {
		s = domain_revoke_poll(&d->domain, &b->grant);
		if (s != E_WOULD_BLOCK)
			break;
		if (clock_now() > deadline) {
			domain_quarantine(&d->domain, &b->grant);
			s = E_TIMED_OUT;
			break;
		}
		spin_unlock(&d->obj.lock);
		sched_sleep(clock_now() + POLL_NS);
		spin_lock(&d->obj.lock);
	}
	if (b->grant.state == GRANT_INVALIDATED) {
		domain_release(&d->domain, &b->grant);
		list_remove(&b->link);
	}
	spin_unlock(&d->obj.lock);
	return s;
}

enum status
sys_dma_unmap(struct thread *t, struct uregs *u)
{
	struct object *o;
	struct buffer *b;
	enum status s = handle_ref(t->proc, (handle_t)u->w[0], OBJ_BUFFER, RIGHT_MANAGE, &o, NULL);

	if (s != OK)
		return s;
	b = container_of(o, struct buffer, obj);
	s = buffer_end(b, max_u64(u->w[1], clock_now() + NS_PER_MS));
	object_bump(o);
	object_put(o);
	if (s == OK)
		(void)handle_close(t->proc, (handle_t)u->w[0]);
	return s;
}

bool
buffer_destroy(struct object *o)
{
	struct buffer *b = container_of(o, struct buffer, obj);

	if (b->device != NULL) {
		if (b->grant.state != GRANT_FREE)
			(void)buffer_end(b, clock_now() + FENCE_NS);
		spin_lock(&b->device->obj.lock);
		list_remove(&b->link);
		if (b->grant.state == GRANT_QUARANTINED)
			list_remove(&b->grant.link);	/* the address is gone for good with the domain */
		spin_unlock(&b->device->obj.lock);
	}
	if (b->memory != NULL)
		unpin(b);
	if (b->device != NULL)
		object_put(&b->device->obj);
	return true;
}

static void
set_step(struct device *d, enum step s, uint64_t patience)
{
	d->step = s;
	d->step_deadline = clock_now() + patience;
}

static void
quarantine(struct device *d, const char *what)
{
	struct pci_function *f = d->function[0].fn;

	d->failed = true;
	log_error("device %02x:%02x.%x: quarantined: %s", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, what);
}

static struct mmio *
first_window(struct device *d)
{
	struct mmio *w = NULL;

	spin_lock(&d->obj.lock);
	list_for_each(it, &d->windows) {
		struct mmio *x = list_entry(it, struct mmio, link);

		if (!list_empty(&x->mappings)) {
			w = x;
			object_get(&w->obj);
			break;
		}
	}
	spin_unlock(&d->obj.lock);
	return w;
}

/* One step of the end.  Returns when to come back, or WORK_DONE. */
static uint64_t
end_step(struct work *w)
{
	struct device *d = container_of(w, struct device, work);
	struct iommu_unit *u = d->domain.io.unit;
	uint64_t now = clock_now(), next;
	struct thread *waiter;

	switch (d->step) {
	case END_WINDOWS: {
		struct mmio *x = first_window(d);

		if (x != NULL) {
			vspace_unmap_object(&x->obj, &x->mappings);
			object_put(&x->obj);
			return 0;
		}
		set_step(d, END_MASTER, 0);
		return 0;
	}
	case END_MASTER:
		for (unsigned i = 0; i < d->function_count; i++)
			pci_bus_master(d->function[i].fn, false);
		d->mastering = false;
		set_step(d, END_DRAIN, DRAIN_NS);
		return 0;
	case END_DRAIN:
		for (unsigned i = 0; i < d->function_count; i++) {
			if (pci_idle(d->function[i].fn))
				continue;
			if (now < d->step_deadline)
				return now + POLL_NS;
			quarantine(d, "transactions still pending");
			break;
		}
		set_step(d, END_VECTORS, 0);
		return 0;
	case END_VECTORS:
		spin_lock(&d->obj.lock);
		while (!list_empty(&d->irqs))
			irq_unroute(d, list_first(&d->irqs, struct irq, link));
		for (unsigned i = 0; i < d->function_count; i++) {
			if (!d->function[i].source_open)
				continue;
			pci_msix_close(d->function[i].fn);
			irqc_msi_close(&d->function[i].source);
			d->function[i].source_open = false;
		}
		spin_unlock(&d->obj.lock);
		set_step(d, END_BLOCK, 0);
		return 0;
	case END_BLOCK:
		if (!d->domain_live) {
			set_step(d, END_RESET, 0);
			return 0;
		}
		spin_lock(&d->obj.lock);
		for (unsigned i = 0; i < d->function_count; i++)
			d->ticket = u->ops->detach(&d->domain.io, d->function[i].fn->endpoint);
		spin_unlock(&d->obj.lock);
		set_step(d, END_FENCE, FENCE_NS);
		return 0;
	case END_FENCE: {
		enum status s = u->ops->ticket_poll(u, d->ticket);

		if (s == E_WOULD_BLOCK && now < d->step_deadline)
			return now + POLL_NS;
		if (s != OK)
			quarantine(d, "the IOMMU did not confirm that it is blocked");
		set_step(d, END_UNMAP, 0);
		return 0;
	}
	case END_UNMAP: {
		unsigned n = 0;
		bool more = false;

		/* A bounded number at a time; their tickets are waited for together. */
		spin_lock(&d->obj.lock);
		list_for_each(it, &d->buffers) {
			struct buffer *b = list_entry(it, struct buffer, link);

			if (b->grant.state != GRANT_MAPPED)
				continue;
			if (++n > 32) {
				more = true;
				break;
			}
			domain_revoke(&d->domain, &b->grant);
		}
		spin_unlock(&d->obj.lock);
		if (!more)
			set_step(d, END_UNMAPPED, FENCE_NS);
		return 0;
	}
	case END_UNMAPPED: {
		bool waiting = false;

		spin_lock(&d->obj.lock);
		list_for_each_safe(it, &d->buffers) {
			struct buffer *b = list_entry(it, struct buffer, link);

			if (b->grant.state == GRANT_REVOKING &&
			    domain_revoke_poll(&d->domain, &b->grant) == E_WOULD_BLOCK) {
				if (now < d->step_deadline && !d->failed)
					waiting = true;
				else
					domain_quarantine(&d->domain, &b->grant);
			}
			/* What could not be confirmed to be blocked may still be written. */
			if (b->grant.state == GRANT_INVALIDATED && !d->failed) {
				domain_release(&d->domain, &b->grant);
				list_remove(&b->link);
			} else if (b->grant.state == GRANT_INVALIDATED) {
				b->grant.state = GRANT_QUARANTINED;
			}
		}
		spin_unlock(&d->obj.lock);
		if (waiting)
			return now + POLL_NS;
		d->at = 0;
		d->reset_state = 0;
		d->state = DEVICE_RESETTING;
		set_step(d, END_RESET, 0);
		return 0;
	}
	case END_RESET:
		while (d->at < d->function_count) {
			next = pci_reset_step(d->function[d->at].fn, &d->reset_state);
			if (next == UINT64_MAX)
				quarantine(d, "its reset did not work");
			else if (next != 0)
				return next;
			d->at++;
			d->reset_state = 0;
		}
		set_step(d, END_UNPIN, 0);
		return 0;
	case END_UNPIN:
		if (d->domain_live) {
			d->domain_live = false;
			if (d->failed) {
				/* Blocked for ever: table pages and tag stay taken. */
				struct list *l;

				spin_lock(&d->obj.lock);
				while ((l = list_pop_front(&d->domain.grants)) != NULL)
					;
				spin_unlock(&d->obj.lock);
			} else {
				domain_fini(&d->domain);
			}
		}
		spin_lock(&claim_lock);
		for (unsigned i = 0; i < d->function_count; i++) {
			d->function[i].fn->never |= d->failed;
			d->function[i].fn->claimed = NULL;
		}
		spin_unlock(&claim_lock);
		spin_lock(&d->obj.lock);
		d->state = d->failed ? DEVICE_QUARANTINED : DEVICE_FREE;
		waiter = d->waiter;
		d->waiter = NULL;
		watch_fire(&d->watch);
		spin_unlock(&d->obj.lock);
		if (waiter != NULL && thread_claim(waiter)) {
			waiter->wait_status = OK;
			sched_wake(waiter);
		}
		object_put(&d->obj);	/* the end's own reference */
		return WORK_DONE;
	}
	return WORK_DONE;
}

/* claimed -> ending; the worker does the rest.  False when it is under way or over. */
static bool
begin_end(struct device *d)
{
	spin_lock(&d->obj.lock);
	if (d->state != DEVICE_CLAIMED) {
		spin_unlock(&d->obj.lock);
		return false;
	}
	store_release(&d->state, DEVICE_ENDING);
	d->generation++;
	d->step = END_WINDOWS;
	object_get(&d->obj);
	spin_unlock(&d->obj.lock);
	worker_add(&d->work);
	return true;
}

enum status
device_end(struct device *d, uint64_t deadline)
{
	struct thread *t = current_thread();
	enum status s = OK;

	(void)begin_end(d);
	spin_lock(&d->obj.lock);
	if (d->state == DEVICE_FREE || d->state == DEVICE_QUARANTINED || d->waiter != NULL) {
		s = d->waiter != NULL ? E_BUSY : OK;
		spin_unlock(&d->obj.lock);
	} else {
		thread_arm(t);
		d->waiter = t;
		spin_unlock(&d->obj.lock);
		s = sched_block(deadline);
		spin_lock(&d->obj.lock);
		if (d->waiter == t)
			d->waiter = NULL;
		spin_unlock(&d->obj.lock);
	}
	object_bump(&d->obj);
	return s == OK && d->state == DEVICE_QUARANTINED ? E_QUARANTINED : s;
}

/* The last handle, window, vector and grant are gone.  A claim that was never ended is ended now, and the end's own
 * reference brings the object back here when it is over. */
bool
device_destroy(struct object *o)
{
	struct device *d = device_of(o);

	if (d->watch.ntfn != NULL)
		object_put(&d->watch.ntfn->obj);
	d->watch.ntfn = NULL;
	return !begin_end(d);
}

static bool
end_claim(struct object *o, uint32_t rights, void *arg)
{
	struct device *d = device_of(o);
	bool *over = arg;

	if ((rights & RIGHT_DMA) == 0)
		return true;
	(void)begin_end(d);
	if (d->state != DEVICE_FREE && d->state != DEVICE_QUARANTINED)
		*over = false;
	return true;
}

bool
device_end_all_of(struct process *p)
{
	bool over = true;

	handle_for_each(p, OBJ_DEVICE, end_claim, &over);
	return over;
}

enum status
sys_device_reset(struct thread *t, struct uregs *u) NO_THREAD_SAFETY
{
	struct device *d;
	uint32_t state = 0;
	enum status s = claim_lock_by(t, u->w[0], RIGHT_MANAGE, &d);

	if (s != OK)
		return s;
	object_get(&d->obj);
	d->generation++;
	for (unsigned i = 0; i < d->function_count; i++)
		pci_bus_master(d->function[i].fn, false);
	d->mastering = false;
	spin_unlock(&d->obj.lock);
	for (unsigned i = 0; i < d->function_count && s == OK; ) {
		uint64_t next = pci_reset_step(d->function[i].fn, &state);

		if (next == UINT64_MAX) {
			s = E_IO;
		} else if (next == 0) {
			i++;
			state = 0;
		} else if (next > u->w[1]) {
			s = E_TIMED_OUT;
		} else {
			sched_sleep(next);
		}
	}
	if (s == OK) {
		/* Vectors and grants stay: the table is written anew, mastering comes back. */
		spin_lock(&d->obj.lock);
		if (d->state == DEVICE_CLAIMED) {
			for (unsigned i = 0; i < d->function_count; i++)
				if (d->function[i].source_open)
					(void)pci_msix_open(d->function[i].fn);
			list_for_each(it, &d->irqs) {
				struct irq *i = list_entry(it, struct irq, link);

				(void)pci_msix_restore(d->function[i->function].fn, i->vector);
			}
			for (unsigned i = 0; i < d->function_count; i++)
				pci_bus_master(d->function[i].fn, true);
			d->mastering = true;
		} else {
			s = E_STALE;
		}
		spin_unlock(&d->obj.lock);
	}
	object_put(&d->obj);
	return s;
}

void
device_fault(struct pci_function *f, const struct dma_fault *fault UNUSED)
{
	struct device *d;
	bool storm = false;

	spin_lock(&claim_lock);
	d = f->claimed;
	if (d != NULL)
		object_get(&d->obj);
	spin_unlock(&claim_lock);
	if (d == NULL)
		return;
	__atomic_fetch_add(&d->fault_seq, 1, __ATOMIC_RELEASE);
	spin_lock(&d->obj.lock);
	watch_fire(&d->watch);
	storm = f->faults == STORM;
	spin_unlock(&d->obj.lock);
	if (storm) {
		log_error("device %02x:%02x.%x: %llu faults: shut off", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7,
		    (unsigned long long)STORM);
		pci_bus_master(f, false);
	}
	object_put(&d->obj);
}

void
device_faults_lost(uint32_t unit)
{
	for (uint32_t i = 0; i < pci_count; i++)
		if (pci_functions[i].unit == (int)unit)
			device_fault(&pci_functions[i], NULL);
}
