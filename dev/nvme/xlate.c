/*
 * The NVMe translator: checks what a driver gives to its controller, and rewrites the addresses in
 * it (kern/dma/xlate.h).
 *
 * What a controller can be told to touch, and what stands against it:
 *
 *   queues          base addresses in AQA, ASQ, ACQ, and in Create Queue: the kernel's own, from
 *                   what it bound.  The driver writes the names that it was given; anything else is
 *                   refused.  A queue is created at most once: a second life would run entries of
 *                   the first again.  For the same reason no queue is deleted but by a reset of the
 *                   controller
 *   data            PRP1, PRP2 and one list [Base 4.1.1].  Lists are copied: the driver can write
 *                   its own while the controller reads.  A list that would go on in a second page
 *                   is refused: 512 entries carry 2 MiB
 *   length          a read of n blocks moves n times the format's block size.  So the kernel must
 *                   know that size, and not from the driver: a list checked for blocks of 512 bytes
 *                   would be read eight times as far by a namespace of 4096.  Identify Namespace is
 *                   answered into the kernel's side page, looked at, and only then copied to the
 *                   driver.  Namespaces with metadata, or not identified, take no commands
 *   other forms     scatter lists, metadata pointers, fused commands: refused by name
 *   other doors     opcodes, features and log pages are lists of what is known to be harmless.  Not
 *                   on them: host memory buffer, doorbell buffers, directives, formats, firmware,
 *                   security, namespace and virtualisation management, and everything unknown.
 *                   Identify Controller and CAP do not show the driver what it cannot have
 *   page size       CC is accepted with 4 KiB pages, the NVM command set and entries of 64 and 16
 *                   bytes only
 *
 * Two ways through it.  Nearly all entries are reads and writes whose memory goes on in one piece
 * in one window: "look" and "with_list" accept these.  judge_io and judge_admin know everything,
 * and name what is wrong.
 *
 * Words.  An entry is eight words of 64 bits, which hold pairs of the manual's dwords.
 * Not here  completions, answers and registers: xlate_regs.c.  Whose windows these are, pins, rings
 *           and doorbells: kern/dma/ring.c and kern/device_queue.c.  The driver: ctrl.c, ioq.c.
 * Manual    NVM Express Base 2.1; NVM Command Set 1.1.
 */
#include "dev/nvme/xlate.h"
#include "dev/nvme/xlate_parts.h"
#include "kern/base/mmio.h"
#include "kern/dma/ring_run.h"

/* An entry in words; the low dword comes first. */
enum { W_CDW0_NSID, W_CDW2_3, W_METADATA, W_PRP1, W_PRP2, W_CDW10_11, W_CDW12_13, W_CDW14_15 };
static_assert(sizeof(struct nvme_sqe) == 8 * XLATE_ENTRY_WORDS);
static_assert(offsetof(struct nvme_sqe, cdw2_3) == 8 * W_CDW2_3 &&
    offsetof(struct nvme_sqe, metadata) == 8 * W_METADATA);
static_assert(offsetof(struct nvme_sqe, prp1) == 8 * W_PRP1 &&
    offsetof(struct nvme_sqe, prp2) == 8 * W_PRP2);
static_assert(offsetof(struct nvme_sqe, cdw10) == 8 * W_CDW10_11 &&
    offsetof(struct nvme_sqe, cdw12) == 8 * W_CDW12_13);

enum : uint32_t { IDENTIFY_BYTES = 4096 };

/*
 * What a plain read or write has not: flags, an opcode above 3, a namespace beyond the table,
 * anything in the last words but a length, FUA, limited retry, and the hint for the data set.
 */
enum : uint64_t {
	PLAIN_HEAD = 0xfffc | (uint64_t)~(XLATE_TARGETS_MAX - 1u) << 32,
	PLAIN_CDW12_13 = (uint32_t)~(RW_NLB | RW_FUA | RW_LR) | (uint64_t)(uint32_t)~RW_DSM << 32,
};
static_assert(IO_WRITE == 1 && IO_READ == 2 && IO_WRITE == DMA_TO_DEVICE &&
    IO_READ == DMA_FROM_DEVICE);

/* ---- Addresses ------------------------------------------------------------------------------- */

/*
 * The way through one transfer: the window that was found last, of the right direction, and how
 * many grants the slot names so far; or the rule that ends it.  By value: two registers.
 */
struct walk {
	const struct xlate_window *w;
	uint32_t grants;
	enum dma_rule rule;
};

static ALWAYS_INLINE struct walk
refuse(enum dma_rule rule)
{
	return (struct walk){ .rule = rule };
}

static COLD struct walk
why_not(const struct xlate_queue *q, uint64_t at)
{
	return refuse(q->windows->count != 0 && xlate_holds(xlate_below(q->windows, at), at, 1) ?
		RULE_EXTENT :
		RULE_WINDOW);
}

/* Goes on in window w: its direction, its grant. */
static ALWAYS_INLINE struct walk
go_on(const struct xlate_window *w, struct xlate_slot *slot, uint32_t grants, uint32_t dir)
{
	if (unlikely((w->dir & dir) != dir))
		return refuse(RULE_DIRECTION);
	if (grants == 0 || slot->grant[grants - 1] != w->grant) {
		if (unlikely(grants == XLATE_GRANTS_MAX))
			return refuse(RULE_GRANTS);
		slot->grant[grants++] = w->grant;
	}
	return (struct walk){ .w = w, .grants = grants };
}

/* Which page; of what is no multiple of one, more than any: its low bits come out on top. */
static ALWAYS_INLINE uint64_t
page_of(uint64_t offset)
{
	return offset >> PAGE_SHIFT | offset << (64 - PAGE_SHIFT);
}

/* The window that holds [at, at + len), by a hint or by a search; NULL: none. */
static ALWAYS_INLINE const struct xlate_window *
window_of(const struct xlate_windows *t, uint16_t *hint, uint64_t at, uint64_t len)
{
	const struct xlate_window *w;

	if (likely(*hint < t->count) && likely(xlate_holds(&t->v[*hint], at, len)))
		return &t->v[*hint];
	if (unlikely(t->count == 0))
		return NULL;
	w = xlate_below(t, at);
	if (unlikely(!xlate_holds(w, at, len)))
		return NULL;
	*hint = (uint16_t)(w - t->v);
	return w;
}

/* Goes on at [at, at + len). */
static NOINLINE struct walk
find(struct xlate_queue *q, struct xlate_slot *slot, uint32_t grants, uint64_t at, uint64_t len,
    uint32_t dir)
{
	const struct xlate_window *w = window_of(q->windows, xlate_near(q, at), at, len);

	return unlikely(w == NULL) ? why_not(q, at) : go_on(w, slot, grants, dir);
}

/* A list: its window, where it begins there, its words; those from "done" on that were read. */
struct list {
	const struct xlate_window *w;
	uint64_t at, n, done, read;
	uint64_t word[4];
};

/* The rest of a list, wherever its pages are. */
static NOINLINE struct walk
copy_rest(struct xlate_queue *q, struct xlate_slot *slot, struct walk k, const struct list *l,
    uint32_t dir)
{
	uint64_t first = k.w->first, delta = k.w->delta;
	uint64_t last = page_of((k.w->last - first) & ~PAGE_MASK);

	for (uint64_t i = l->done; i < l->n; i++) {
		uint64_t page = i - l->done < l->read ? l->word[i - l->done] :
							xlate_word(l->w, l->at + 8 * i);

		/* Windows are whole pages: where a page begins, it lies. */
		if (unlikely(page_of(page - first) > last)) {
			if (unlikely((page & PAGE_MASK) != 0))
				return refuse(RULE_ALIGN);
			k = find(q, slot, k.grants, page, PAGE_SIZE, dir);
			if (k.rule != RULE_NONE)
				return k;
			first = k.w->first;
			last = page_of((k.w->last - first) & ~PAGE_MASK);
			delta = k.w->delta;
		}
		q->spare[i] = page + delta;
	}
	return k;
}

/*
 * A list of n page addresses, not none: copied into the side page, judged and rewritten there.
 * Most go on behind "at", the page before them, in its window: four of these are compared at once.
 */
static ALWAYS_INLINE struct walk
copy_list(struct xlate_queue *q, struct xlate_slot *slot, struct walk k, uint64_t at, uint64_t list,
    uint64_t n, uint32_t dir)
{
	uint64_t *side = q->spare, to, i = 0, near, word[4];
	const struct xlate_window *w;
	struct xlate_window from;
	uint64_t read = 0;

	if (unlikely((list & 7) != 0))
		return refuse(RULE_ALIGN);
	if (unlikely(n > (PAGE_SIZE - (list & PAGE_MASK)) / 8))
		return refuse(RULE_CHAIN);
	w = window_of(q->windows, &q->lists, list, 8 * n);
	if (unlikely(w == NULL))
		return why_not(q, list);
	if (unlikely((w->dir & DMA_TO_DEVICE) == 0))
		return refuse(RULE_DIRECTION);
	if (unlikely(side == NULL))
		return refuse(RULE_LISTS);
	from = *w;
	near = min_u64(n, (k.w->last - at) / PAGE_SIZE);	/* so many can be behind it */
	at = (at | PAGE_MASK) + 1;
	to = at + k.w->delta;
	for (; i + 4 <= near; i += 4, at += 4 * PAGE_SIZE, to += 4 * PAGE_SIZE) {
		for (unsigned j = 0; j < 4; j++)
			word[j] = xlate_word(&from, list + 8 * (i + j));
		if (unlikely(((word[0] ^ at) | (word[1] ^ (at + PAGE_SIZE)) |
		    (word[2] ^ (at + 2 * PAGE_SIZE)) | (word[3] ^ (at + 3 * PAGE_SIZE))) != 0)) {
			read = 4;
			break;
		}
		for (unsigned j = 0; j < 4; j++)
			side[i + j] = to + j * PAGE_SIZE;
	}
	for (; read == 0 && i < n; i++, at += PAGE_SIZE) {
		word[0] = xlate_word(&from, list + 8 * i);
		if (unlikely(word[0] != at) || unlikely(i >= near)) {
			read = 1;
			break;
		}
		side[i] = word[0] + k.w->delta;
	}
	if (unlikely(read != 0)) {
		struct list l = { .w = w, .at = list, .n = n, .done = i, .read = read };

		for (unsigned j = 0; j < read; j++)
			l.word[j] = word[j];
		k = copy_rest(q, slot, k, &l, dir);
	}
	return k;
}

/*
 * The data of a command, bytes long and not 0: out gets both PRPs as the controller shall see them.
 */
static ALWAYS_INLINE struct walk
data(struct xlate_queue *q, struct xlate_slot *slot, const uint64_t *e, uint64_t *prp,
    uint64_t bytes, uint32_t dir, uint32_t *work)
{
	uint64_t at = e[W_PRP1], first = PAGE_SIZE - (at & PAGE_MASK);
	struct walk k;

	if (unlikely((at & 3) != 0))
		return refuse(RULE_ALIGN);
	k = find(q, slot, 0, at, bytes < first ? bytes : first, dir);
	if (unlikely(k.rule != RULE_NONE))
		return k;
	prp[0] = at + k.w->delta;
	prp[1] = 0;
	if (bytes <= first)
		return k;
	bytes -= first;
	at = e[W_PRP2];
	if (bytes <= PAGE_SIZE) {
		if (unlikely((at & PAGE_MASK) != 0))
			return refuse(RULE_ALIGN);
		if (!xlate_holds(k.w, at, bytes)) {
			k = find(q, slot, k.grants, at, bytes, dir);
			if (unlikely(k.rule != RULE_NONE))
				return k;
		}
		prp[1] = at + k.w->delta;
		return k;
	}
	bytes = bytes / PAGE_SIZE + ((bytes & PAGE_MASK) != 0);
	k = copy_list(q, slot, k, e[W_PRP1], at, bytes, dir);
	*work = (uint32_t)bytes;
	prp[1] = q->spare_address;
	return k;
}

/* ---- Entries --------------------------------------------------------------------------------- */

/* An entry under judgement. */
struct judged {
	uint32_t id, work;
	struct xlate_slot *slot;
};

/* What must not be set in any command that we know. */
static ALWAYS_INLINE enum dma_rule
judge_head(const struct xlate_queue *q, const uint64_t *e, struct judged *v)
{
	uint32_t cdw0 = lo(e[W_CDW0_NSID]);

	v->work = 0;
	v->id = cdw0 >> 16;
	if (unlikely((cdw0 & 0xff00) != 0))
		return (cdw0 & SQE_FUSE) != 0 ? RULE_FUSED :
		    (cdw0 & SQE_PSDT) != 0 ? RULE_SHAPE : RULE_FIELD;
	if (unlikely((e[W_CDW2_3] | e[W_METADATA]) != 0))
		return e[W_METADATA] != 0 ? RULE_METADATA : RULE_FIELD;
	if (unlikely(v->id >= q->slots))
		return RULE_ID;
	v->slot = &q->slot[v->id];
	return unlikely(v->slot->busy) ? RULE_ID_BUSY : RULE_NONE;
}

/* The entry as the controller gets it.  No command that is accepted has the words that are 0. */
static ALWAYS_INLINE void
put_out(uint64_t *out, const uint64_t *e, uint64_t prp1, uint64_t prp2)
{
	out[W_CDW0_NSID] = e[W_CDW0_NSID];
	out[W_CDW2_3] = 0;
	out[W_METADATA] = 0;
	out[W_PRP1] = prp1;
	out[W_PRP2] = prp2;
	out[W_CDW10_11] = e[W_CDW10_11];
	out[W_CDW12_13] = e[W_CDW12_13];
	out[W_CDW14_15] = 0;
}

static ALWAYS_INLINE void
publish(const struct xlate_queue *q, const struct judged *v, uint32_t grants, const uint64_t *e,
    const uint64_t *prp, uint64_t *out, bool side, uint8_t answer)
{
	v->slot->side = NULL;
	if (unlikely(side)) {
		v->slot->side = q->spare;
		v->slot->side_address = q->spare_address;
	}
	v->slot->grants = (uint8_t)grants;
	v->slot->answer = answer;
	put_out(out, e, prp[0], prp[1]);
}

static ALWAYS_INLINE enum dma_rule
judge_io(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct judged *v)
{
	uint8_t opcode = (uint8_t)e[W_CDW0_NSID];
	uint32_t nsid = hi(e[W_CDW0_NSID]), cdw12 = lo(e[W_CDW12_13]), dir;
	uint64_t prp[2] = { 0, 0 }, bytes;
	struct walk k = { 0 };
	enum dma_rule r = judge_head(q, e, v);

	if (unlikely(r != RULE_NONE))
		return r;
	switch (opcode) {
	case IO_READ:
	case IO_WRITE:
	case IO_COMPARE:
		dir = opcode == IO_READ ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
		if (unlikely((cdw12 & ~(RW_NLB | RW_FUA | RW_LR)) != 0 ||
		    (hi(e[W_CDW12_13]) & ~RW_DSM) != 0 || e[W_CDW14_15] != 0))
			return RULE_FIELD;
		if (unlikely(nsid >= XLATE_TARGETS_MAX || q->device->lg2[nsid] == 0))
			return RULE_TARGET;
		bytes = ((cdw12 & RW_NLB) + 1ull) << q->device->lg2[nsid];
		break;
	case IO_DATASET:
		dir = DMA_TO_DEVICE;
		if (unlikely((lo(e[W_CDW10_11]) & ~DSM_NR) != 0 ||
		    (hi(e[W_CDW10_11]) & ~DSM_ATTRIBUTES) != 0 ||
		    (e[W_CDW12_13] | e[W_CDW14_15]) != 0))
			return RULE_FIELD;
		bytes = (lo(e[W_CDW10_11]) + 1ull) * DSM_RANGE_BYTES;
		break;
	case IO_WRITE_ZEROES:
		dir = 0;
		if (unlikely((cdw12 & ~(RW_NLB | RW_FUA | RW_LR | WZ_DEAC)) != 0 ||
		    hi(e[W_CDW12_13]) != 0 || e[W_CDW14_15] != 0))
			return RULE_FIELD;
		bytes = 0;
		break;
	case IO_FLUSH:
		dir = 0;
		if (unlikely((e[W_CDW10_11] | e[W_CDW12_13] | e[W_CDW14_15]) != 0))
			return RULE_FIELD;
		bytes = 0;
		break;
	default:
		return RULE_OPCODE;
	}
	if (likely(bytes != 0)) {
		k = data(q, v->slot, e, prp, bytes, dir, &v->work);
		if (unlikely(k.rule != RULE_NONE))
			return k.rule;
	}
	publish(q, v, k.grants, e, prp, out, v->work != 0, ANSWER_NONE);
	return RULE_NONE;
}

/* Settings without data, which change how the controller works and not what it reaches. */
static bool
feature_is_harmless(uint32_t fid)
{
	switch (fid) {
	case 0x01:		/* arbitration */
	case 0x02:		/* power management */
	case 0x04:		/* temperature threshold */
	case 0x05:		/* error recovery */
	case 0x06:		/* volatile write cache */
	case FEATURE_QUEUES:
	case 0x08:		/* interrupt coalescing */
	case 0x09:		/* interrupt vector configuration */
	case 0x0b:		/* asynchronous events */
		return true;
	}
	return false;
}

/*
 * A queue as the kernel bound it: q, not yet used, of the size that was bound, by the name that the
 * driver was given.
 */
static const struct xlate_bound *
as_bound(const struct xlate_device *d, const uint64_t *e, bool completion)
{
	uint32_t id = lo(e[W_CDW10_11]) & QUEUE_ID;
	const struct xlate_bound *b;

	if (id == 0 || id >= d->queues || id >= XLATE_QUEUES_MAX)
		return NULL;
	b = &d->queue[id];
	if (!b->bound || b->used || FIELD_GET(QUEUE_SIZE, lo(e[W_CDW10_11])) != b->entries - 1 ||
	    e[W_PRP2] != 0 || e[W_PRP1] != (completion ? b->cq_name : b->sq_name))
		return NULL;
	return b;
}

static ALWAYS_INLINE enum dma_rule
judge_admin(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct judged *v)
{
	const struct xlate_device *d = q->device;
	uint32_t cdw10 = lo(e[W_CDW10_11]), cdw11 = hi(e[W_CDW10_11]), nsid = hi(e[W_CDW0_NSID]);
	uint8_t opcode = (uint8_t)e[W_CDW0_NSID], answer = ANSWER_NONE;
	uint64_t prp[2] = { 0, 0 }, bytes = 0;
	bool no_data = (e[W_PRP1] | e[W_PRP2]) == 0;
	const struct xlate_bound *b;
	struct walk k = { 0 };
	enum dma_rule r = judge_head(q, e, v);

	if (r != RULE_NONE)
		return r;
	switch (opcode) {
	case ADMIN_IDENTIFY:
		/*
		 * Structures of 4096 bytes that go with the NVM command set: namespace, controller,
		 * list, descriptors.
		 */
		if ((cdw10 & 0xff) > 3 || (cdw10 & 0xff00) != 0 || cdw11 != 0 ||
		    (e[W_CDW12_13] | e[W_CDW14_15]) != 0)
			return RULE_FIELD;
		bytes = IDENTIFY_BYTES;
		answer = (cdw10 & 0xff) == CNS_NAMESPACE ? ANSWER_NAMESPACE :
		    (cdw10 & 0xff) == CNS_CONTROLLER ? ANSWER_CONTROLLER : ANSWER_NONE;
		break;
	case ADMIN_LOG_PAGE:
		/* Errors, health, firmware slots, changed namespaces. */
		if ((cdw10 & LOG_LID) < 1 || (cdw10 & LOG_LID) > 4)
			return RULE_FEATURE;
		if ((cdw10 & 0xff00 & ~LOG_RAE) != 0 || (cdw11 & 0xffff0000) != 0 ||
		    e[W_CDW14_15] != 0)
			return RULE_FIELD;
		bytes = ((cdw10 >> 16 | (uint64_t)(cdw11 & 0xffff) << 16) + 1) * 4;
		break;
	case ADMIN_SET_FEATURES:
	case ADMIN_GET_FEATURES:
		if (!feature_is_harmless(cdw10 & FEATURE_FID))
			return RULE_FEATURE;
		/* Nothing is saved beyond a reset, nothing carries data. */
		if ((cdw10 & ~(uint32_t)(FEATURE_FID |
		    (opcode == ADMIN_GET_FEATURES ? FEATURE_SELECT : 0))) != 0 || !no_data ||
		    e[W_CDW14_15] != 0)
			return RULE_FIELD;
		break;
	case ADMIN_ABORT:
	case ADMIN_ASYNC_EVENT:
		if (!no_data || cdw11 != 0 || (e[W_CDW12_13] | e[W_CDW14_15]) != 0 ||
		    (opcode == ADMIN_ASYNC_EVENT && cdw10 != 0))
			return RULE_FIELD;
		break;
	case ADMIN_CREATE_CQ:
		b = as_bound(d, e, true);
		if (b == NULL || (e[W_CDW12_13] | e[W_CDW14_15]) != 0 ||
		    (cdw11 != CQ_CONTIGUOUS &&
		    ((cdw11 & 0xffff) != (CQ_CONTIGUOUS | CQ_INTERRUPT) ||
		    FIELD_GET(CQ_VECTOR, cdw11) >= d->vectors)))
			return RULE_QUEUE;
		prp[0] = b->cq_address;
		break;
	case ADMIN_CREATE_SQ:
		b = as_bound(d, e, false);
		/* A pair is two rings of one id; priorities are not used. */
		if (b == NULL || (cdw11 & 0xffff) != SQ_CONTIGUOUS ||
		    FIELD_GET(SQ_CQID, cdw11) != (cdw10 & QUEUE_ID) ||
		    (e[W_CDW12_13] | e[W_CDW14_15]) != 0)
			return RULE_QUEUE;
		prp[0] = b->sq_address;
		break;
	default:
		return RULE_OPCODE;
	}
	if (bytes != 0) {
		k = data(q, v->slot, e, prp, bytes, DMA_FROM_DEVICE, &v->work);
		if (k.rule != RULE_NONE)
			return k.rule;
	}
	if (answer != ANSWER_NONE) {
		/*
		 * One page, in two runs where it does not begin a page; into the side page first.
		 */
		v->slot->to[0] = e[W_PRP1];
		v->slot->to_bytes[0] = (uint32_t)(PAGE_SIZE - (e[W_PRP1] & PAGE_MASK));
		v->slot->to[1] = e[W_PRP2];
		v->slot->to_bytes[1] = (uint32_t)(PAGE_SIZE - v->slot->to_bytes[0]);
		v->slot->target = nsid;
		if (q->spare == NULL)
			return RULE_LISTS;
		prp[0] = q->spare_address;
		prp[1] = 0;
	}
	publish(q, v, k.grants, e, prp, out, v->work != 0 || answer != ANSWER_NONE, answer);
	return RULE_NONE;
}

static enum dma_rule
judge(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct xlate_verdict *v)
{
	struct judged j;
	enum dma_rule r = q->id != 0 ? judge_io(q, e, out, &j) : judge_admin(q, e, out, &j);

	v->id = j.id;
	v->work = j.work;
	return r;
}

/* Nearly all entries, by their words: nothing is set but what a plain read or write has. */
static ALWAYS_INLINE bool
sparse(const uint64_t *e)
{
	return (e[W_CDW2_3] | e[W_METADATA] | e[W_CDW14_15] | (e[W_CDW0_NSID] & PLAIN_HEAD) |
	    (e[W_CDW12_13] & PLAIN_CDW12_13)) == 0;
}
enum { SPARSE_ZERO = 1u << W_CDW2_3 | 1u << W_METADATA | 1u << W_CDW14_15 };

/* A read or write whose data lies in one piece in one window, where the hint says. */
struct piece {
	const struct xlate_window *w;
	struct xlate_slot *slot;
	uint64_t id, end;		/* end: its bytes, from the first page's begin on */
};

/* Of what is sparse.  False: it is not that, whatever it is. */
static ALWAYS_INLINE bool
in_one_piece(struct xlate_queue *q, const uint64_t *e, struct piece *p)
{
	const struct xlate_windows *t = q->windows;
	uint64_t head = e[W_CDW0_NSID], at = e[W_PRP1], place = *xlate_near(q, at), bytes;
	uint32_t op = (uint8_t)head, lg2;

	p->id = (uint32_t)head >> 16;
	if (unlikely(op == 3) || unlikely((uint32_t)p->id >= q->slots))
		return false;
	p->slot = &q->slot[p->id];
	lg2 = q->device->lg2[head >> 32];
	if (unlikely(p->slot->busy) || unlikely(lg2 == 0) || unlikely((at & 3) != 0) ||
	    unlikely(place >= t->count))
		return false;
	bytes = ((uint64_t)(uint16_t)e[W_CDW12_13] + 1) << lg2;
	p->w = &t->v[place];
	p->end = (at & PAGE_MASK) + bytes;
	return likely(xlate_holds(p->w, at, bytes)) && likely((p->w->dir & op) != 0);
}

/* ... of one page or two. */
static ALWAYS_INLINE bool
look(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct ring_plain *s)
{
	uint64_t at = e[W_PRP1], second = e[W_PRP2];
	struct piece p;

	if (!in_one_piece(q, e, &p))
		return false;
	if (p.end <= PAGE_SIZE) {
		second = 0;
	} else {
		if (unlikely(p.end > 2 * PAGE_SIZE) || unlikely(second != (at | PAGE_MASK) + 1))
			return false;
		second += p.w->delta;
	}
	put_out(out, e, at + p.w->delta, second);
	s->slot = p.slot;
	s->grant = p.w->grant;
	s->id = p.id;
	return true;
}

/* ... of more, with a list. */
static ALWAYS_INLINE enum dma_rule
with_list(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct xlate_verdict *v,
    const struct piece *p)
{
	struct walk k = { .w = p->w, .grants = 1 };

	v->id = (uint32_t)p->id;
	v->work = (uint32_t)((p->end - 1) / PAGE_SIZE);
	p->slot->grant[0] = p->w->grant;
	k = copy_list(q, p->slot, k, e[W_PRP1], e[W_PRP2], v->work, (uint8_t)e[W_CDW0_NSID]);
	if (unlikely(k.rule != RULE_NONE))
		return k.rule;
	put_out(out, e, e[W_PRP1] + p->w->delta, q->spare_address);
	p->slot->side = q->spare;
	p->slot->side_address = q->spare_address;
	p->slot->grants = (uint8_t)k.grants;
	p->slot->answer = ANSWER_NONE;
	return RULE_NONE;
}

static NOINLINE enum dma_rule
judge_sparse(struct xlate_queue *q, const uint64_t *e, uint64_t *out, struct xlate_verdict *v)
{
	struct piece p;

	if (in_one_piece(q, e, &p) && p.end > 2 * PAGE_SIZE)
		return with_list(q, e, out, v, &p);
	return judge(q, e, out, v);
}

static NOINLINE enum dma_rule
admin_run(struct dma_ring *r, uint32_t count, uint32_t *work)
{
	static const struct ring_judge j = { .words = XLATE_ENTRY_WORDS, .judge = judge };

	return ring_run(r, count, work, &j);
}

static enum dma_rule
judge_run(struct dma_ring *r, uint32_t count, uint32_t *work)
{
	static const struct ring_judge j = { .words = XLATE_ENTRY_WORDS, .zero = SPARSE_ZERO,
		.sparse = sparse, .look = look, .judge = judge,
		.judge_sparse = judge_sparse };

	return unlikely(r->q.id == 0) ? admin_run(r, count, work) : ring_run(r, count, work, &j);
}

const struct xlate_class nvme_xlate = {
	.name = "NVMe",
	.class_code = 0x010802, .class_mask = 0xffffff,
	.sq_words = SQE_BYTES / 8, .cq_words = CQE_BYTES / 8,
	.entries_max = 1024,
	.open = nvme_open,
	.doorbell = nvme_doorbell_at,
	.judge_run = judge_run,
	.completed = nvme_completed,
	.answered = nvme_answered,
	.write = nvme_write,
	.may_read = nvme_may_read,
	.seen = nvme_seen,
};
