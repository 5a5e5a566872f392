/*
 * Grants of a claim: memory to addresses of its domain, and back.  States in kern/dma/domain.h; D2, D8.
 */
#include "kern/device_parts.h"
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
		s = device_lock(t, u->w[0], RIGHT_DMA, &d);
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
