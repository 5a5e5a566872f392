/*
 * virtio-iommu: requests and their tickets, events.
 *
 * A request is at most 36 bytes that the device reads and 4 that it writes.  Each has a slot in our
 * memory from the moment it is put until it is answered; its number is its ticket.  The device gets
 * as many as its queue takes, in order; the rest waits in the slots.  It may answer in any order,
 * so a ticket is past when all up to it are answered (VIO-15).
 *
 *     put        given to the device       answered by the device
 *      |   queued >=  sent  ..................  done
 *      +--- slot = number mod VIO_SLOTS ---+--- pair of descriptors ---+--- used ring
 *
 * Every request is one whose meaning we know and whose arguments we checked, so an answer that is
 * not "OK" means that the device's state is not what we think: the unit fails.  But for ATTACH and
 * PROBE, which a device may refuse: who attaches or asks looks at the answer.  A PROBE is larger
 * than a slot, and so is its answer: both are in a page of their own (viommu_ask.c).
 *
 * The device is told of new requests by whoever polls or syncs first.
 *
 * Hostile device.  Its used ring may name only what it has, once; its index may not run ahead.  An
 * answer is read once, from where we said, and an answer of less than its four bytes is none.
 *
 * Failure.  No ticket is past any more; the kernel turns bus mastering of all its devices off.
 *
 * Waits    unit_ticket_wait, without the lock; viommu_make_room with it, when VIO_SLOTS requests
 *          are under way and one more cannot be refused: teardown of a domain with more mappings
 *          than that, while it still has an endpoint.
 * Locks    v->lock.
 * Source   virtio 1.2, 2.7 (split queues), 5.13.6 (requests, events).
 */
#include "dev/iommu/viommu_unit.h"
#include "kern/base/bits.h"
#include "kern/log.h"
#include "kern/md/clock.h"

void
viommu_lock(struct viommu *v)
{
	spin_lock(&v->lock);
	if (unlikely(load_relaxed(&v->unit.broken)) && !v->dead)
		viommu_fail(v, "the kernel gave up on it");
}

void
viommu_unlock(struct viommu *v)
{
	bool tell = v->dead && !v->told && v->registered;
	const char *why = v->why;

	if (tell)
		v->told = true;
	spin_unlock(&v->lock);
	if (unlikely(tell))
		iommu_mark_broken(&v->unit, why);
}

void
viommu_fail(struct viommu *v, const char *why)
{
	if (v->dead)
		return;
	v->dead = true;
	v->why = why;
	viommu_count(&v->unit.counters.errors);
}

/* ---- Rings: little 16-bit fields in words, so that each store is one ---- */

static uint16_t
field16(const uint64_t *words, uint32_t i)
{
	return (uint16_t)(once_load(&words[i / 4]) >> (i % 4 * 16));
}

static void
store16(uint64_t *words, uint32_t i, uint16_t value)
{
	unsigned shift = i % 4 * 16;

	unit_store64(
	    &words[i / 4], (words[i / 4] & ~(0xffffull << shift)) | (uint64_t)value << shift);
}

/* Available ring: flags, index, entries.  The entry is visible before the index. */
static void
give(struct viommu_queue *q, uint16_t head)
{
	store16(q->available, 2u + q->avail % q->size, head);
	unit_publish();
	store16(q->available, 1, ++q->avail);
}

/* Used ring: flags, index, then pairs of 32-bit words.  False: nothing new. */
static bool
take_back(struct viommu_queue *q, uint32_t *head, uint32_t *bytes)
{
	uint32_t at;

	if (field16(q->usage, 1) == q->used)
		return false;
	io_collect();
	at = 1 + 2u * (q->used % q->size);	/* in 32-bit words from offset 0 */
	*head = (uint32_t)(once_load(&q->usage[at / 2]) >> (at % 2 * 32));
	at++;
	*bytes = (uint32_t)(once_load(&q->usage[at / 2]) >> (at % 2 * 32));
	q->used++;
	return true;
}

static void
set_descriptor(struct viommu_queue *q, uint32_t i, uint64_t at, uint64_t rest)
{
	unit_store64(&q->desc[2 * i], at);
	unit_store64(&q->desc[2 * i + 1], rest);
}

/* One queue: its size, its memory, its registers. */
static const char *
queue_init(struct viommu *v, struct viommu_queue *q, uint16_t index, uint16_t least, uint16_t most,
    enum status *s)
{
	struct paddr desc, avail, used;
	uint64_t notify;

	unit_write16(v->common, VCOM_QUEUE, index);
	q->size = unit_read16(v->common, VCOM_QUEUE_SIZE);
	if (q->size < least || !is_pow2(q->size))
		return "a queue of it is too small, or of odd size";
	if (q->size > most) {
		q->size = most;
		unit_write16(v->common, VCOM_QUEUE_SIZE, most);
	}
	notify = (uint64_t)unit_read16(v->common, VCOM_QUEUE_NOTIFY) * v->multiplier;
	if (notify + 2 > v->notify_len)
		return "its notification register is outside of its registers";
	q->notify = (uint32_t)notify;
	*s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &desc);
	if (*s == OK)
		*s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &avail);
	if (*s == OK)
		*s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &used);
	if (*s != OK)
		return "no memory for its queues";
	q->desc = frame_ptr(desc);
	q->available = frame_ptr(avail);
	q->usage = frame_ptr(used);
	store16(q->available, 0, VAVAIL_NO_INTERRUPT);
	unit_publish();
	unit_write16(v->common, VCOM_QUEUE_MSIX, VMSIX_NONE);
	unit_write32(v->common, VCOM_QUEUE_DESC, (uint32_t)desc.v);
	unit_write32(v->common, VCOM_QUEUE_DESC + 4, (uint32_t)(desc.v >> 32));
	unit_write32(v->common, VCOM_QUEUE_AVAIL, (uint32_t)avail.v);
	unit_write32(v->common, VCOM_QUEUE_AVAIL + 4, (uint32_t)(avail.v >> 32));
	unit_write32(v->common, VCOM_QUEUE_USED, (uint32_t)used.v);
	unit_write32(v->common, VCOM_QUEUE_USED + 4, (uint32_t)(used.v >> 32));
	unit_write16(v->common, VCOM_QUEUE_ENABLE, 1);
	return NULL;
}

const char *
viommu_queues_init(struct viommu *v, enum status *s)
{
	unsigned order = log2_floor(VIO_SLOTS * VIO_SLOT_BYTES / PAGE_SIZE);
	const char *what;

	static_assert(
	    2 * VIO_FLIGHT_MAX * 16 <= PAGE_SIZE && 6 + 8 * 2 * VIO_FLIGHT_MAX <= PAGE_SIZE);
	*s = frame_alloc(order, FRAME_IOMMU, FRAME_ZERO, &v->slots_at);
	if (*s == OK)
		*s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &v->events_at);
	if (*s == OK)
		*s = frame_alloc(0, FRAME_IOMMU, FRAME_ZERO, &v->ask_at);
	if (*s != OK)
		return "no memory for its requests";
	v->slots = frame_ptr(v->slots_at);
	v->ask = frame_ptr(v->ask_at);
	v->events = frame_ptr(v->events_at);
	*s = E_UNSUPPORTED;
	what = queue_init(v, &v->request, VQ_REQUEST, 4, 2 * VIO_FLIGHT_MAX, s);
	if (what == NULL)
		what = queue_init(v, &v->event, VQ_EVENT, 1, VIO_EVENTS, s);
	v->flight_max = v->request.size / 2;
	return what;
}

/* ---- Requests ---- */

void
viommu_put(struct viommu *v, const uint64_t *words, uint32_t bytes)
{
	uint32_t slot = (uint32_t)(++v->queued % VIO_SLOTS);
	uint64_t *to = v->slots + slot * (VIO_SLOT_BYTES / 8);

	for (unsigned i = 0; i < VIO_SLOT_TAIL / 8; i++)
		unit_store64(&to[i], i < (bytes + 7) / 8 ? words[i] : 0);
	unit_store64(&to[VIO_SLOT_TAIL / 8], VS_NONE);
	v->answered[slot] = false;
	v->status[slot] = (uint8_t)bytes;	/* until it is answered: how long it is */
	viommu_count(&v->unit.counters.invalidations);
}

/* Of our own words: nobody but us writes that part of a slot. */
static uint8_t
type_of(const struct viommu *v, uint32_t slot)
{
	return (uint8_t)FIELD_GET(VREQ_TYPE, v->slots[slot * (VIO_SLOT_BYTES / 8)]);
}

/*
 * A device may do requests that it has at once in any order (VIO-15), and a domain goes with its
 * last endpoint: a DETACH is given to it when all before it are answered, or what they name might
 * not be there any more.
 */
static bool
must_wait(const struct viommu *v) REQUIRES(v->lock)
{
	return v->flying != 0 &&
	    type_of(v, (uint32_t)((v->sent + 1) % VIO_SLOTS)) == VREQ_DETACH;
}

/* As many as the device takes. */
static void
pump(struct viommu *v) REQUIRES(v->lock)
{
	for (uint32_t i = 0; v->sent != v->queued && v->flying < v->flight_max; i++) {
		uint32_t slot;
		uint64_t at;
		bool ask;

		if (v->flight[i] != 0)
			continue;
		if (must_wait(v))
			break;
		slot = (uint32_t)(++v->sent % VIO_SLOTS);
		ask = type_of(v, slot) == VREQ_PROBE;
		at = ask ? v->ask_at.v : v->slots_at.v + slot * VIO_SLOT_BYTES;
		v->flight[i] = v->sent;
		v->flying++;
		set_descriptor(&v->request, 2 * i, at,
		    v->status[slot] | VDESC_NEXT | FIELD_PREP(VDESC_LINK, 2 * i + 1));
		set_descriptor(&v->request, 2 * i + 1, at + (ask ? VIO_ASK_ANSWER : VIO_SLOT_TAIL),
		    (ask ? v->probe_size + VREQ_TAIL : VREQ_TAIL) | VDESC_WRITE);
		give(&v->request, (uint16_t)(2 * i));
		v->kick = true;
	}
	if (v->kick) {
		v->kick = false;
		unit_publish();
		viommu_count(&v->unit.counters.syncs);
		unit_write16(v->notify, v->request.notify, VQ_REQUEST);
	}
}

static const char *
refusal_of(uint8_t type)
{
	switch (type) {
	case VREQ_DETACH: return "it refuses to detach";
	case VREQ_MAP: return "it refuses a mapping";
	case VREQ_UNMAP: return "it refuses to unmap";
	}
	return "it refuses a request";
}

/* One answer. */
static void
answer(struct viommu *v, uint32_t head, uint32_t bytes) REQUIRES(v->lock)
{
	uint64_t number;
	uint32_t slot, least;
	uint8_t type, *tail;

	if (head % 2 != 0 || head / 2 >= v->flight_max || v->flight[head / 2] == 0) {
		viommu_fail(v, "it answers what it was not asked");
		return;
	}
	number = v->flight[head / 2];
	v->flight[head / 2] = 0;
	v->flying--;
	slot = (uint32_t)(number % VIO_SLOTS);
	type = type_of(v, slot);
	if (type == VREQ_PROBE) {
		tail = v->ask + VIO_ASK_ANSWER + v->probe_size;
		least = v->probe_size + VREQ_TAIL;
	} else {
		tail = (uint8_t *)v->slots + slot * VIO_SLOT_BYTES + VIO_SLOT_TAIL;
		least = VREQ_TAIL;
	}
	v->status[slot] = bytes < least ? (uint8_t)VS_NONE : once_load(tail);
	v->answered[slot] = true;
	if (v->status[slot] != VS_OK && type != VREQ_ATTACH && type != VREQ_PROBE)
		viommu_fail(v, refusal_of(type));
}

void
viommu_collect(struct viommu *v)
{
	uint64_t done = v->done;
	uint32_t head, bytes, n = 0;

	if (v->dead)
		return;
	if (v->flying != 0) {
		while (!v->dead && take_back(&v->request, &head, &bytes)) {
			if (n++ > v->flight_max)
				viommu_fail(v, "its used ring runs ahead");
			else
				answer(v, head, bytes);
		}
	}
	while (!v->dead && done < v->sent && v->answered[(done + 1) % VIO_SLOTS])
		done++;
	if (done != v->done)
		store_release(&v->done, done);
	if (!v->dead)
		pump(v);
	if (!v->dead && v->done != v->queued &&
	    (unit_read8(v->common, VCOM_STATUS) & VSTATUS_NEEDS_RESET) != 0)
		viommu_fail(v, "it gave up (NEEDS_RESET), or is gone");
}

bool
viommu_make_room(struct viommu *v)
{
	uint64_t deadline;
	bool late = false;

	if (likely(viommu_room(v) != 0))
		return !v->dead;
	deadline = clock_now() + VIO_ATTACH_WAIT_NS;
	while (viommu_room(v) == 0 && !v->dead) {
		viommu_collect(v);
		if (late && viommu_room(v) == 0)
			viommu_fail(v, "its queue does not drain");
		late = clock_now() > deadline;
	}
	return !v->dead;
}

uint8_t
viommu_answer(const struct viommu *v, struct iommu_ticket t)
{
	return v->status[t.seq % VIO_SLOTS];
}

enum status
viommu_ticket_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	struct viommu *v = viommu_of(u);
	enum status s;

	if (viommu_past(v, t))
		return OK;
	viommu_lock(v);
	viommu_collect(v);
	s = viommu_past(v, t) ? OK : v->dead ? E_QUARANTINED : E_WOULD_BLOCK;
	viommu_unlock(v);
	return s;
}

/* ---- Events ---- */

static void
give_event(struct viommu *v, uint32_t i) REQUIRES(v->lock)
{
	for (unsigned k = 0; k < VEVENT_LEN / 8; k++)
		unit_store64(&v->events[4 * i + k], 0);
	give(&v->event, (uint16_t)i);
}

void
viommu_events_start(struct viommu *v)
{
	for (uint32_t i = 0; i < v->event.size; i++) {
		set_descriptor(&v->event, i, v->events_at.v + 32 * i, VEVENT_LEN | VDESC_WRITE);
		give_event(v, i);
	}
	unit_publish();
	unit_write16(v->notify, v->event.notify, VQ_EVENT);
}

static struct dma_fault
fault_of(const uint64_t e[3])
{
	uint32_t reason = (uint32_t)(e[0] & 0xff), flags = (uint32_t)(e[0] >> 32);
	struct dma_fault f = {
		.endpoint = (uint32_t)e[1],
		.code = reason,
		.write = (flags & VEVENT_WRITE) != 0,
		.address_valid = (flags & VEVENT_ADDRESS) != 0,
		.kind = reason == VEVENT_DOMAIN ? FAULT_BLOCKED :
		    reason == VEVENT_MAPPING    ? FAULT_NOT_MAPPED :
						  FAULT_OTHER,
	};

	if (f.address_valid)
		f.iova = e[2];
	return f;
}

uint32_t
viommu_drain_faults(struct iommu_unit *u, struct dma_fault *out, uint32_t max, bool *lost)
{
	struct viommu *v = viommu_of(u);
	uint32_t n = 0, head, bytes;

	*lost = false;
	viommu_lock(v);
	while (!v->dead && n < max && take_back(&v->event, &head, &bytes)) {
		uint64_t e[3];

		if (head >= v->event.size) {
			viommu_fail(v, "its event ring names a buffer that is not there");
			break;
		}
		for (unsigned k = 0; k < 3; k++)
			e[k] = once_load(&v->events[4 * head + k]);
		if (bytes >= VEVENT_LEN)
			out[n++] = fault_of(e);
		/* All buffers were taken at some time: what came then was dropped, and nobody says
		 * so. */
		*lost |= field16(v->event.usage, 1) == v->event.avail;
		give_event(v, head);
	}
	if (n != 0 && !v->dead) {
		unit_publish();
		unit_write16(v->notify, v->event.notify, VQ_EVENT);
	}
	viommu_unlock(v);
	return n;
}

/* The used index of the event ring, in memory.  Nothing orders events with what the endpoint does
 * next. */
bool
viommu_quiet(struct iommu_unit *u, bool all UNUSED, struct iommu_ticket *t)
{
	struct viommu *v = viommu_of(u);
	bool quiet;

	*t = (struct iommu_ticket){ 0 };
	viommu_lock(v);
	quiet = field16(v->event.usage, 1) == v->event.used && !v->dead;
	viommu_unlock(v);
	return quiet;
}
