/*
 * The virtio translator: checks what a driver gives to its device through split virtqueues, and
 * rewrites the addresses in it (kern/dma/xlate.h).
 *
 * What a device can be told to touch, and what stands against it:
 *
 *   buffers         addresses and lengths in descriptors.  A chain is walked once: each descriptor
 *                   is copied by one look, must lie in windows of its direction, and goes to the
 *                   shadow of the table as it was judged.  No place that is still out is written
 *                   again.  What the device only reads comes before what it writes [2.7.4.2]
 *   side tables     an indirect descriptor names a table of descriptors [2.7.5.3]: copied into one
 *                   of the kernel's, which the device reads instead.  No table in a table, none
 *                   within a chain.  The same kind of table takes a chain whose buffers are not
 *                   contiguous in memory: it has more pieces than descriptors.  So without an IOMMU
 *                   the kernel agrees upon the feature, whether the driver does or not
 *   rings           queue_desc, queue_driver, queue_device: the kernel's own, from what it bound,
 *                   when the queue is enabled.  The driver writes the names that it was given.  The
 *                   size is read back before: a device that took another one would read on behind
 *                   the shadow
 *   features        an allow-list.  Not on it: packed rings, used entries that stand for several
 *                   (IN_ORDER), notifications with data, resets of one queue, and everything
 *                   unknown.  The driver does not see what it cannot have.  VERSION_1 must be
 *                   agreed upon, and ACCESS_PLATFORM where an IOMMU stands behind the device:
 *                   without it a device goes past the unit [6.1]
 *   order           a queue is enabled at most once between two resets, after the features, before
 *                   DRIVER_OK.  Reset is status 0, and stopped is what reads back as 0 [2.4.1]
 *   other doors     the notify registers are the kernel's.  Of the device's own configuration only
 *                   the block device's cache mode can be written.  Registers outside of the four
 *                   structures, and shared memory, are not for drivers
 *
 * Where the structures are [4.1.4] the kernel finds in configuration space itself, when the device
 * is claimed; what the driver thinks makes no difference.  It accesses them as registers of a BAR.
 *
 * Devices that are not to be had: those that know the legacy interface only, and behind an IOMMU
 * those that do not offer ACCESS_PLATFORM.
 *
 * Not here  registers and features: xlate_regs.c.  Whose windows these are, pins, which chains are
 *           out: kern/dma/split.c and kern/device_queue.c.  The drivers: pci.c, net.c, blk.c.
 * Manual    VIRTIO 1.2.
 */
#include "dev/virtio/xlate.h"
#include "dev/virtio/xlate_parts.h"
#include "kern/base/mmio.h"

/* ---- Chains ---------------------------------------------------------------------------------- */

/* The way through one chain: what was checked of it, as the device shall see it. */
struct walk {
	struct xlate_split_queue *q;
	struct xlate_chain *chain;	/* the head's */
	uint32_t descs, pieces, grants;
	uint64_t writable;
	bool writes;			/* from here on the device writes */
	uint16_t place[XLATE_PIECES_MAX];	/* of a descriptor, in the queue's table */
	struct virtq_desc piece[XLATE_PIECES_MAX];
};

/* One descriptor, each half by one look. */
static inline struct virtq_desc
desc_of(uint64_t addr, uint64_t rest)
{
	return (struct virtq_desc){ .addr = addr,
		.len = lo(rest),
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48) };
}

/* The window that holds the byte, or NULL.  Chains begin with a header in one window and go on with
 * data in another: each has a hint of its own. */
static inline const struct xlate_window *
find(struct xlate_split_queue *q, uint64_t at, bool first)
{
	const struct xlate_windows *t = q->windows;
	uint32_t *hint = first ? &q->recent : &q->recent_data;
	const struct xlate_window *w;

	if (unlikely(t->count == 0))
		return NULL;
	w = &t->v[*hint < t->count ? *hint : 0];
	if (unlikely(!xlate_holds(w, at, 1))) {
		w = xlate_below(t, at);
		if (unlikely(!xlate_holds(w, at, 1)))
			return NULL;
		*hint = (uint32_t)(w - t->v);
	}
	return w;
}

static enum dma_rule
note_grant(struct walk *k, void *grant)
{
	for (uint32_t i = k->grants; i-- > 0; )
		if (k->chain->grant[i] == grant)
			return RULE_NONE;
	if (unlikely(k->grants == XLATE_GRANTS_MAX))
		return RULE_GRANTS;
	k->chain->grant[k->grants++] = grant;
	return RULE_NONE;
}

/* The buffer of one descriptor: a piece for each run that is contiguous for the device. */
static enum dma_rule
buffer(struct walk *k, const struct virtq_desc *d)
{
	uint32_t left = d->len;
	uint64_t at = d->addr;
	uint32_t dir = (d->flags & VIRTQ_DESC_F_WRITE) != 0 ? DMA_FROM_DEVICE : DMA_TO_DEVICE;

	if (unlikely(left == 0))
		return RULE_FIELD;
	if (dir == DMA_FROM_DEVICE)
		k->writes = true;
	else if (unlikely(k->writes))
		return RULE_SHAPE;
	while (left != 0) {
		const struct xlate_window *w = find(k->q, at, k->descs == 1);
		struct virtq_desc *p;
		uint64_t run;
		enum dma_rule r;

		if (unlikely(w == NULL))
			return at == d->addr ? RULE_WINDOW : RULE_EXTENT;
		if (unlikely((w->dir & dir) != dir))
			return RULE_DIRECTION;
		r = note_grant(k, w->grant);
		if (unlikely(r != RULE_NONE))
			return r;
		run = w->last - at < left - 1 ? w->last - at + 1 : left;
		p = &k->piece[k->pieces];
		/* Of the same buffer, and contiguous for the device though not for the kernel. */
		if (at != d->addr && p[-1].addr + p[-1].len == at + w->delta) {
			p[-1].len += (uint32_t)run;
		} else {
			if (unlikely(k->pieces == XLATE_PIECES_MAX))
				return RULE_CHAIN;
			*p = (struct virtq_desc){ .addr = at + w->delta,
				.len = (uint32_t)run,
				.flags = d->flags & VIRTQ_DESC_F_WRITE };
			k->pieces++;
		}
		if (dir == DMA_FROM_DEVICE)
			k->writable += run;
		at += run;
		left -= (uint32_t)run;
	}
	return RULE_NONE;
}

/* A table of descriptors in the owner's memory: its chain begins with its first [2.7.5.3]. */
static NOINLINE enum dma_rule
table(struct walk *k, const struct virtq_desc *d)
{
	uint64_t raw[2 * XLATE_PIECES_MAX];
	const struct xlate_window *w;
	uint32_t n = d->len / sizeof(struct virtq_desc), at = 0, steps = 0;
	enum dma_rule r;

	if (unlikely(!agreed(k->q->device, VIRTIO_F_INDIRECT_DESC)))
		return RULE_FEATURE;
	if (unlikely((d->flags & VIRTQ_DESC_F_NEXT) != 0 || k->descs != 1))
		return RULE_CHAIN;
	if (unlikely((d->flags & VIRTQ_DESC_F_WRITE) != 0 || n == 0 ||
	    d->len % sizeof(struct virtq_desc) != 0))
		return RULE_FIELD;
	if (unlikely(n > XLATE_PIECES_MAX))
		return RULE_CHAIN;
	if (unlikely(!is_aligned(d->addr, VIRTQ_ALIGN_DESC)))
		return RULE_ALIGN;
	w = find(k->q, d->addr, true);
	if (unlikely(w == NULL))
		return RULE_WINDOW;
	if (unlikely(!xlate_holds(w, d->addr, d->len)))
		return RULE_EXTENT;
	if (unlikely((w->dir & DMA_TO_DEVICE) == 0))
		return RULE_DIRECTION;
	xlate_fetch(w, d->addr, raw, 2 * n);
	for (;;) {
		struct virtq_desc e = desc_of(raw[2 * at], raw[2 * at + 1]);

		if (unlikely((e.flags & VIRTQ_DESC_F_INDIRECT) != 0))
			return RULE_CHAIN;
		if (unlikely((e.flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE)) != 0))
			return RULE_FIELD;
		r = buffer(k, &e);
		if (unlikely(r != RULE_NONE))
			return r;
		if ((e.flags & VIRTQ_DESC_F_NEXT) == 0)
			return RULE_NONE;
		at = e.next;
		if (unlikely(at >= n))
			return RULE_ID;
		if (unlikely(++steps == n))
			return RULE_CHAIN;
	}
}

/* The chain that begins at a place of the owner's table. */
static enum dma_rule
chain(struct walk *k, uint32_t place)
{
	struct xlate_split_queue *q = k->q;
	enum dma_rule r;

	for (;;) {
		const uint64_t *from;
		struct virtq_desc d;

		if (unlikely(place >= q->entries))
			return RULE_ID;
		if (unlikely(q->chain[place].busy))
			return RULE_ID_BUSY;
		if (unlikely(k->descs == q->entries || k->descs == XLATE_PIECES_MAX))
			return RULE_CHAIN;	/* a loop, or longer than is taken */
		from = (const uint64_t *)(const void *)q->owner + 2ull * place;
		d = desc_of(once_load(&from[0]), once_load(&from[1]));
		k->place[k->descs++] = (uint16_t)place;
		if (unlikely((d.flags & ~(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE |
		    VIRTQ_DESC_F_INDIRECT)) != 0))
			return RULE_FIELD;
		if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0)
			return table(k, &d);
		r = buffer(k, &d);
		if (unlikely(r != RULE_NONE))
			return r;
		if ((d.flags & VIRTQ_DESC_F_NEXT) == 0)
			return RULE_NONE;
		place = d.next;
	}
}

static inline void
store_desc(uint64_t *to, const struct virtq_desc *d, uint16_t flags, uint16_t next)
{
	to[0] = d->addr;
	to[1] = d->len | (uint64_t)(uint16_t)(d->flags | flags) << 32 | (uint64_t)next << 48;
}

/* In the shadow of the table, at the places where the owner has them. */
static void
publish_chain(const struct walk *k)
{
	struct xlate_split_queue *q = k->q;

	for (uint32_t i = 0; i < k->pieces; i++) {
		bool more = i + 1 < k->pieces;
		uint16_t next = more ? k->place[i + 1] : 0;

		store_desc((uint64_t *)(void *)q->shadow + 2ull * k->place[i], &k->piece[i],
		    more ? VIRTQ_DESC_F_NEXT : 0, next);
		q->chain[k->place[i]].next = more ? next : XLATE_END;
	}
	k->chain->side = NULL;
}

/* In a table of the kernel's, which the head names. */
static NOINLINE enum dma_rule
publish_table(const struct walk *k)
{
	struct xlate_split_queue *q = k->q;
	struct virtq_desc head = { .addr = q->spare_address,
		.len = k->pieces * (uint32_t)sizeof(struct virtq_desc) };

	if (unlikely(!agreed(q->device, VIRTIO_F_INDIRECT_DESC) &&
	    q->device->fact[FACT_TABLES] == 0))
		return RULE_EXTENT;
	if (unlikely(q->spare == NULL))
		return RULE_LISTS;
	for (uint32_t i = 0; i < k->pieces; i++) {
		bool more = i + 1 < k->pieces;

		store_desc(q->spare + 2ull * i, &k->piece[i], more ? VIRTQ_DESC_F_NEXT : 0,
		    more ? (uint16_t)(i + 1) : 0);
	}
	store_desc((uint64_t *)(void *)q->shadow + 2ull * k->place[0], &head,
	    VIRTQ_DESC_F_INDIRECT, 0);
	k->chain->next = XLATE_END;
	k->chain->side = q->spare;
	k->chain->side_address = q->spare_address;
	return RULE_NONE;
}

static enum dma_rule
judge_chain(struct xlate_split_queue *q, uint16_t idx, struct xlate_verdict *v)
{
	uint32_t slot = vring_avail_entry(q->entries, idx);
	uint16_t head = once_load((const uint16_t *)(const void *)(q->owner + slot));
	struct walk k;
	enum dma_rule r;

	v->work = 0;
	v->id = head;
	if (unlikely(head >= q->entries))
		return RULE_ID;
	k.q = q;
	k.chain = &q->chain[head];
	k.descs = k.pieces = k.grants = 0;
	k.writable = 0;
	k.writes = false;
	r = chain(&k, head);
	if (unlikely(r != RULE_NONE))
		return r;
	if (unlikely(k.writable > UINT32_MAX))
		return RULE_EXTENT;
	/* One for one: also a table of one descriptor, which need not be a table. */
	if (k.pieces == k.descs)
		publish_chain(&k);
	else
		r = publish_table(&k);
	if (unlikely(r != RULE_NONE))
		return r;
	k.chain->grants = (uint8_t)k.grants;
	k.chain->writable = (uint32_t)k.writable;
	v->work = 2 * (k.descs + k.pieces);
	once_store((uint16_t *)(void *)(q->shadow + slot), head);
	return RULE_NONE;
}

/* ---- Rings ----------------------------------------------------------------------------------- */

static uint32_t owner_bytes(uint32_t entries) { return vring_driver_bytes(entries); }
static uint32_t used_bytes(uint32_t entries) { return vring_device_bytes(entries); }

static inline uint16_t
used_half(const struct xlate_split_queue *q, uint32_t at)
{
	return *(const volatile uint16_t *)(const volatile void *)(q->used + at);
}

static inline uint32_t
used_word(const struct xlate_split_queue *q, uint32_t at)
{
	return *(const volatile uint32_t *)(const volatile void *)(q->used + at);
}

/* One half of the owner's available ring goes to the shadow. */
static inline void
carry(const struct xlate_split_queue *q, uint32_t at, uint16_t mask)
{
	uint16_t v = once_load((const uint16_t *)(const void *)(q->owner + at));

	once_store((uint16_t *)(void *)(q->shadow + at), (uint16_t)(v & mask));
}

static bool
announce(const struct xlate_split_queue *q, uint16_t old, uint16_t now)
{
	uint32_t avail = vring_avail(q->entries);
	bool events = agreed(q->device, VIRTIO_F_EVENT_IDX);

	/* With events the flag is 0 [2.7.7.1]. */
	carry(q, avail + VIRTQ_FLAGS, events ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
	carry(q, vring_used_event(q->entries), events ? 0xffff : 0);
	io_publish();
	once_store((uint16_t *)(void *)(q->shadow + avail + VIRTQ_IDX), now);
	io_full();		/* before the look at what the device wants [2.7.13.4.1] */
	if (old == now)
		return false;
	if (events)
		return vring_event_passed(
		    used_half(q, vring_avail_event(q->entries)), now, old);
	return (used_half(q, VIRTQ_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) == 0;
}

static uint16_t used_idx(const struct xlate_split_queue *q) { return used_half(q, VIRTQ_IDX); }

static void
used(const struct xlate_split_queue *q, uint16_t idx, uint32_t *head, uint32_t *bytes)
{
	uint32_t at = vring_used_entry(q->entries, idx);

	static_assert(offsetof(struct virtq_used_elem, len) == 4);
	*head = used_word(q, at);
	*bytes = used_word(q, at + 4);
}

const struct xlate_split virtio_split = {
	.owner_bytes = owner_bytes, .used_bytes = used_bytes, .judge = judge_chain,
	.announce = announce, .used_idx = used_idx, .used = used,
};
