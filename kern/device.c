/*
 * Claims, and windows onto registers.  device.h tells the life of a claim and the order of its
 * end.
 *
 * Order    of a claim: the group is taken whole, by a verdict for each function; the live test, if
 *          one is to come; the domain; its functions attached; the checker; the handle last.  What
 *          fails after the group was taken drops the object, and that runs the end.  Bus mastering
 *          comes later, with the first grant or when a checked device is started.
 * Locks    device_claim_lock (RANK_CLAIM) over who has which function; the claim's (RANK_DEVICE)
 *          over the rest.
 * Not here grants (device_dma.c), faults (device_fault.c), vectors (device_irq.c), resets
 * (device_reset.c), the end (device_end.c), verdicts (device_lane.c).
 */
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/dma/broker.h"
#include "kern/abi/syscall.h"
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/cpu.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/pci_assign.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"

struct spinlock device_claim_lock = SPINLOCK_INIT(RANK_CLAIM);

/* The verdict over one function of the group, under the manifest's policy.  Tested: no live test is
 * still to come. */
static enum status
judge(
    const struct pci_function *f, const struct lane_policy *p, bool tested, struct lane_verdict *v)
{
	struct lane_facts facts;

	if (tested)
		device_facts(f, &facts);
	else
		device_facts_at_best(f, &facts);
	lane_decide(&facts, p, v);
	if (v->lane != LANE_UNSUPPORTED)
		return OK;
	log_warn("device %02x:%02x.%x: %s", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, v->text);
	return f->never ? E_QUARANTINED : E_REFUSED;
}

static void
master(struct device *d, bool on)
{
	for (unsigned i = 0; i < d->function_count; i++) {
		pci_bus_master(d->function[i].fn, on);
		trace(BUS_MASTER, function_tag(d->function[i].fn), on);
	}
	d->mastering = on;
}

enum status
device_master_on(struct device *d)
{
	if (d->shut_off || d->reset_failed)
		return E_NO_DEVICE;
	master(d, true);
	return OK;
}

void
device_master_off(struct device *d)
{
	master(d, false);
}

/* The whole group or nothing, and the first function's verdict for all: theirs are no better. */
static enum status
take_group(struct device *d, struct pci_function *f)
{
	struct lane_verdict v;
	enum status s = OK;

	spin_lock(&device_claim_lock);
	for (uint32_t i = 0; i < pci_count && s == OK; i++) {
		struct pci_function *g = &pci_functions[i];

		if (g->group != f->group)
			continue;
		if (load_acquire(&g->leaving))
			s = E_NO_DEVICE;
		else if (g->claimed != NULL)
			s = E_BUSY;
		else if (d->function_count == GROUP_FUNCTIONS_MAX)
			s = E_OVERFLOW;
		else
			s = judge(g, &d->policy, false, &v);
		if (s == E_REFUSED || s == E_QUARANTINED)
			f->refused = v.reason;
		if (s != OK)
			break;
		if (d->function_count == 0)
			d->verdict = v;
		d->function[d->function_count++].fn = g;
	}
	for (unsigned i = 0; i < d->function_count && s == OK; i++) {
		d->function[i].fn->claimed = d;
		d->function[i].fn->refused = NULL;
		d->function[i].fn->faults = 0;
	}
	spin_unlock(&device_claim_lock);
	if (s != OK)
		d->function_count = 0;
	return s;
}

/* The group is nobody's again.  Nothing of it was handed out, nor set up. */
static void
give_group_back(struct device *d, const char *reason)
{
	spin_lock(&device_claim_lock);
	for (unsigned i = 0; i < d->function_count; i++)
		d->function[i].fn->claimed = NULL;
	d->function[0].fn->refused = reason;
	spin_unlock(&device_claim_lock);
	d->function_count = 0;
	d->state = DEVICE_FREE;
}

/* Makes the live tests that are still to come, and judges anew: from now on with what was seen. */
static enum status
test_group(struct device *d, uint64_t deadline)
{
	bool pending = false;
	struct lane_verdict v;
	enum status s = OK;

	if (d->verdict.lane != LANE_DIRECT)
		return OK;
	for (unsigned i = 0; i < d->function_count; i++)
		pending |= device_canary_pending(d->function[i].fn);
	if (!pending)
		return OK;
	s = device_canary_run(d, deadline);
	if (s != OK)
		return s;
	for (unsigned i = 0; i < d->function_count && s == OK; i++) {
		s = judge(d->function[i].fn, &d->policy, true, &v);
		if (s == OK && i == 0)
			d->verdict = v;
	}
	if (s != OK)
		give_group_back(d, v.reason);
	return s;
}

/*
 * Addresses that bridges above the group send down (PCI-48): where a switch keeps nothing apart, a
 * request to one of them would end at a neighbour and not in memory.
 */
static enum status
exclude_windows(struct device *d)
{
	enum status s = OK;
	uint64_t base, len;

	for (unsigned i = 0; i < d->function_count; i++) {
		const struct pci_function *b = d->function[i].fn;

		if (b->parent < 0)
			continue;
		while (b->parent >= 0)		/* the outermost: its windows hold the others' */
			b = &pci_functions[b->parent];
		for (unsigned k = 0; k < 2 && s == OK; k++)
			if (pci_forwards(b, k != 0, &base, &len))
				s = domain_exclude(&d->domain, base, len);
	}
	return s;
}

/* The claim's domain, paid by p, with all its functions attached; then what checks its queues. */
static enum status
open_domain(struct device *d, const struct pci_function *f, struct process *p)
{
	enum status s = domain_init(&d->domain,
	    d->verdict.lane == LANE_BROKERED ? &broker_unit : iommu_by_index((uint32_t)f->unit),
	    &p->quota, d->generation);

	if (s != OK)
		return s;
	d->domain_live = true;
	if (d->verdict.lane == LANE_BROKERED && d->address_bits < 32) {
		log_warn("device %02x:%02x.%x: %u bits of address: not without an IOMMU",
		    f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, d->address_bits);
		return E_UNSUPPORTED;
	}
	s = domain_narrow(&d->domain, d->address_bits);
	if (s == OK && d->verdict.lane == LANE_DIRECT)
		s = exclude_windows(d);
	if (s != OK)
		return s;
	for (unsigned i = 0; i < d->function_count; i++) {
		s = d->domain.io.unit->ops->attach(&d->domain.io, d->function[i].fn->endpoint);
		if (s != OK)
			return s;
		trace(DMA_ATTACH, function_tag(d->function[i].fn));
		pci_decode(d->function[i].fn);
	}
	if (d->verdict.doorbell == DOORBELL_MEDIATED) {
		spin_lock(&d->obj.lock);
		s = device_check_open(d);
		spin_unlock(&d->obj.lock);
	}
	return s;
}

enum status
sys_device_claim(struct thread *t, struct uregs *u)
{
	struct pci_function *f;
	struct object *o, *k;
	struct device *d;
	handle_t h;
	uint32_t bits = (uint32_t)FIELD_GET(CLAIM_ADDRESS_BITS, (uint32_t)u->w[2]);
	enum status s =
	    handle_ref(t->proc, (handle_t)u->w[0], OBJ_KERNEL, KERNEL_DEVICES, &k, NULL);

	if (s != OK)
		return s;
	object_put(k);
	if (bits != 0 && (bits < DEVICE_BITS_MIN || bits > 64))
		return E_INVALID;
	f = pci_find((uint16_t)(u->w[1] >> 16), (uint16_t)u->w[1]);
	if (f == NULL)
		return E_NOT_FOUND;
	s = object_create(OBJ_DEVICE, t->proc, &o);
	if (s != OK)
		return s;
	d = device_of(o);
	list_init(&d->buffers);
	list_init(&d->revoked);
	list_init(&d->windows);
	d->work.step = device_step;
	device_irq_init(d);
	d->opening = true;
	d->group = f->group;
	device_policy((uint32_t)u->w[2], &d->policy);
	d->address_bits = bits != 0 ? (uint8_t)bits : 64;
	s = take_group(d, f);
	if (s != OK) {
		trace(DEVICE_REFUSED, function_tag(f), t->proc->id, s);
		object_put(o);
		return s;
	}
	trace(DEVICE_CLAIM, device_tag(d), t->proc->id, d->verdict.lane);
	d->state = DEVICE_CLAIMED;
	d->generation = 1;
	d->holder = t->proc;
	object_get(&d->holder->obj);
	s = test_group(d, u->w[3]);
	if (s != OK) {
		store_release(&d->opening, false);
		trace(DEVICE_REFUSED, function_tag(f), t->proc->id, s);
		object_put(o);		/* runs the end, but where the group was given back */
		return s;
	}
	s = open_domain(d, f, t->proc);
	if (s == OK)
		s = handle_insert(t->proc, o, o->gen,
		    RIGHT_READ | RIGHT_WRITE | RIGHT_GIVE | RIGHT_MANAGE | RIGHT_DMA |
			RIGHT_SUPERVISE,
		    0, &h);
	store_release(&d->opening, false);
	if (s != OK) {
		object_put(o);		/* runs the end */
		return s;
	}
	log_info(
	    "device %02x:%02x.%x: %s", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, d->verdict.text);
	u->w[0] = h;
	return OK;
}

enum status
device_pass(struct process *to, handle_t h)
{
	struct process *from = NULL;
	struct object *o;
	struct device *d;
	enum status s = OK;

	if (handle_ref(to, h, OBJ_DEVICE, RIGHT_DMA, &o, NULL) != OK)
		return OK;
	d = device_of(o);
	spin_lock(&d->obj.lock);
	if (d->domain_live && d->holder != to) {
		s = domain_charge(&d->domain, &to->quota);
		if (s == OK) {
			from = d->holder;
			d->holder = to;
			object_get(&to->obj);
		}
	}
	spin_unlock(&d->obj.lock);
	if (from != NULL)
		object_put(&from->obj);
	object_put(o);
	return s;
}

enum status
device_lock(struct thread *t, uint64_t h, uint32_t rights, struct device **out) NO_THREAD_SAFETY
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
	enum status s = device_lock(t, u->w[0], RIGHT_READ, &d);

	if (s != OK)
		return s;
	s = d->resetting ? E_BUSY :
	    fn >= d->function_count ?
			   E_RANGE :
			   pci_config_filter(d->function[fn].fn, u->w[1] & 0xffff,
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
	enum status s = device_lock(t, u->w[0], RIGHT_READ | RIGHT_WRITE, &d);

	if (s != OK)
		return s;
	len = fn < d->function_count && bar < DEVICE_BARS ?
	    pci_bar_mappable(d->function[fn].fn, (unsigned)bar) :
	    0;
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
mmio_map(struct mmio *w, struct process *p, uint64_t offset, uint64_t len, uint64_t va,
    uint8_t prot, uint64_t *va_out)
{
	/* Registers that the kernel checks are not mapped, and neither are those of the functions
	 * beside it. */
	if (load_acquire(&w->device->check) != NULL)
		return E_REFUSED;
	return vspace_map(p, &w->obj, offset, len, va, prot, va_out);
}

enum status
sys_mmio_access(struct thread *t, struct uregs *u)
{
	unsigned width = (unsigned)(u->w[2] & 0xff);
	bool write = (u->w[2] & CONFIG_WRITE) != 0;
	volatile uint8_t *p;
	struct object *o;
	struct mmio *w;
	enum status s = handle_ref(
	    t->proc, (handle_t)u->w[0], OBJ_MMIO, write ? RIGHT_WRITE : RIGHT_READ, &o, NULL);

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
	spin_lock(&w->device->obj.lock);
	if (w->device->state != DEVICE_CLAIMED) {
		s = E_STALE;
	} else if (w->device->resetting) {
		s = E_BUSY;
	} else if (w->device->check != NULL) {
		enum dma_rule rule;
		uint64_t value = u->w[3];

		s = device_check_access(w->device, w, u->w[1], width, write, &value, &rule);
		u->w[0] = s == OK ? value : rule;
	} else {
		p = mmu_window((struct paddr){ w->base.v + u->w[1] });
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
