/*
 * What a device class supplies so that the kernel can check, and where no IOMMU stands behind the
 * device translate, what a driver gives to its device: queue entries and register writes.
 *
 * A translator is a pure function of what it is given: the windows of the queue's owner, a copy of
 * one entry, the state of the device as the kernel bound it.  It allocates nothing, takes no lock,
 * reads no clock, and touches no memory but its arguments; xlate_fetch and xlate_word are its only
 * ways to the owner's memory.  So the same source is linked into the kernel, host tests, a fuzzer
 * and a model checker.
 *
 * The promise (D2, D4, D5).  When judge returns RULE_NONE, then of the entry that it wrote, and of
 * the side table that it copied, every byte that the device may touch lies in a window of the table
 * it was given, and each window allows the direction; or it lies in memory that the kernel itself
 * bound (queues, the command's own side page).  What was checked is what was written: nothing of
 * the owner's memory is read twice.
 *
 * What the caller does     one copy of the entry out of the owner's queue -> judge -> pin the
 *   grants that the verdict names -> next entry -> ... -> only then the doorbell.  The pins end
 *   when the command's completion was consumed, or when the device was seen to have stopped.
 *
 * Addresses.  A driver writes device addresses of its own domain everywhere.  "delta" of a window
 * turns them into what the device shall see: 0 where a unit translates, the way to bus addresses
 * where none does.  A window is a run of whole pages that is contiguous on both sides; neighbours
 * may belong to one grant.  Queues, side tables and interrupt doorbells are in no window: data
 * never goes there.
 *
 * Two kinds of queues.  Pairs of a submission and a completion ring: judge looks at one entry
 * (struct xlate_queue, kern/dma/ring.h).  Split queues, where the owner fills a table of
 * descriptors and a ring that names chains of them: split->judge looks at one chain (struct
 * xlate_split_queue, kern/dma/split.h).
 */
#pragma once

#include "kern/abi/dma.h"
#include "kern/base/bits.h"
#include "kern/base/types.h"

enum {
	XLATE_QUEUES_MAX = 65, /* ids 0 .. 64: a pair for each CPU that there may be, and one */
	XLATE_TARGETS_MAX = 256,	/* namespaces, or what a class has */
	XLATE_GRANTS_MAX = 8,		/* runs of one grant that one entry may name */
	XLATE_ENTRY_WORDS = 8,		/* of 64 bits: the longest submission entry */
	XLATE_SIDE_WORDS = 512,		/* a side page */
	XLATE_WRITES_MAX = 10,
	XLATE_FACTS = 12,
	XLATE_BARS = 6,
	XLATE_PIECES_MAX = 64,		/* of one chain, where its memory is contiguous */
	XLATE_HINTS = 256,
};

/* A register: the BAR of the device's first function, and the byte in it. */
enum : uint32_t { XLATE_REGISTER_BAR = BITS(31, 28), XLATE_REGISTER_OFFSET = BITS(27, 0) };

struct xlate_window {
	/* As the driver writes them; whole pages; last is inclusive */
	uint64_t first, last;
	uint64_t delta;			/* plus this: as the device sees them */
	uint64_t cpu;			/* plus this: as the kernel sees them */
	void *grant;			/* the caller's: what is pinned */
	uint32_t dir;			/* enum dma_dir */
};

/* Sorted by first, none overlaps.  One that ends before it begins holds nothing (window.h). */
struct xlate_windows { const struct xlate_window *v; uint32_t count; };

/* One command id of a queue. */
struct xlate_slot {
	/* While it is busy: its page with a copied list, or for an answer; or NULL */
	uint64_t *side;
	uint64_t side_address;		/* the same, as the device sees it */
	/* The caller's: accepted, its completion not consumed yet */
	bool busy;
	/*
	 * The class's: 0: the device writes to windows; else: to the side page, and "answered" is
	 * asked
	 */
	uint8_t answer;
	uint8_t grants;
	uint32_t target;		/* the class's */
	void *grant[XLATE_GRANTS_MAX];
	uint64_t to[2];			/* where the owner wants the answer: at most two runs */
	uint32_t to_bytes[2];
};

/* What the kernel bound to one queue id. */
struct xlate_bound {
	bool bound;
	bool used;			/* an entry was published since */
	uint32_t entries;		/* of either ring */
	uint64_t sq_name, cq_name;	/* what the driver calls them */
	uint64_t sq_address, cq_address;	/* what the device does */
	/* The class's own, of split queues: the device was told of it; where it is notified */
	bool enabled;
	uint32_t notify;
};

struct xlate_device {
	struct xlate_bound queue[XLATE_QUEUES_MAX];
	uint32_t queues;		/* ids below this have doorbells in the register window */
	uint32_t vectors;		/* message interrupts */
	uint64_t bar_bytes[XLATE_BARS];	/* registers; 0: none there */
	bool remapped;			/* an IOMMU stands behind the device */
	bool running;			/* from the accepted start to the next stop */
	bool ready;			/* ... and it said that it had started */
	/* Seen to have stopped since the last stop; nothing is outstanding */
	bool stopped;
	uint64_t fact[XLATE_FACTS];	/* the class's: registers that it keeps */
	/* The class's: transfer unit of a target; 0: not known, not usable */
	uint8_t lg2[XLATE_TARGETS_MAX];
};

/* One queue pair, as the class sees it. */
struct xlate_queue {
	const struct xlate_device *device;
	const struct xlate_windows *windows;
	uint32_t id;
	uint32_t slots;			/* command ids are below this */
	uint16_t hint[XLATE_HINTS];	/* by page: where its window was found; xlate_near */
	uint16_t lists;			/* the same, of the list of addresses that came last */
	/* A side page for the next entry that needs one; NULL: all are in use */
	uint64_t *spare;
	uint64_t spare_address;		/* the same, as the device sees it */
	/* Judge writes side page, grants and answer of the id that it accepts: no other */
	struct xlate_slot *slot;
};

/*
 * One place of a split queue's table.  A chain that is outstanding keeps all of its places busy;
 * the rest is the head's.
 */
struct xlate_chain {
	bool busy, head;		/* the caller's */
	uint16_t next;			/* place of the chain; XLATE_END: its last */
	uint8_t grants;
	uint32_t writable;		/* bytes that the device may write */
	uint64_t *side;			/* its table of pieces, or NULL */
	uint64_t side_address;
	void *grant[XLATE_GRANTS_MAX];
};
enum : uint16_t { XLATE_END = 0xffff };

struct xlate_split_queue {
	const struct xlate_device *device;
	const struct xlate_windows *windows;
	uint32_t id;
	uint32_t entries;		/* a power of two */
	uint32_t recent;		/* a hint: the window that was found last */
	uint32_t recent_data;		/* the same, of what comes after a chain's first */
	const uint8_t *owner;		/* the owner's part: may change at any time */
	uint8_t *shadow;		/* the same, as the device reads it */
	const volatile uint8_t *used;	/* the device's part: likewise */
	struct xlate_chain *chain;	/* by place */
	/* A side table of XLATE_PIECES_MAX pieces for the next chain that needs one; NULL: none is
	 * free */
	uint64_t *spare;
	uint64_t spare_address;
};

/* What a verdict adds to the rule. */
struct xlate_verdict {
	uint32_t id;			/* command id, or head; RULE_NONE only */
	uint32_t work;			/* words of side tables, or of chains, that were read */
};

/* What one completion says.  By value: it fits into two registers. */
struct xlate_done {
	uint32_t id;			/* command id: the device's word, to be checked */
	uint32_t queue;
	uint32_t head;			/* the submission ring was fetched up to here: likewise */
	bool good;			/* success */
	bool fresh;			/* of this round: else nothing was said yet */
};

/* What a register access amounts to. */
enum xlate_effect : uint8_t {
	XLATE_ACCESS,			/* nothing but the accesses */
	/* The device begins to read its queues: bus mastering is needed from here on */
	XLATE_START,
	XLATE_READY,			/* it says that it has started */
	/* It is told to stop: queues are dead, memory is not free yet */
	XLATE_STOP,
	/* It says that it has: memory of its queues and commands is free */
	XLATE_STOPPED,
};

struct xlate_write {
	uint32_t offset, width;
	uint64_t value;
	bool verify;			/* it reads back as written, or nothing more is written */
};

/* In this order; nothing when refused. */
struct xlate_writes {
	enum xlate_effect effect;
	uint32_t count;
	struct xlate_write v[XLATE_WRITES_MAX];
};

/* How a class looks at a device.  Past a BAR's end reads are all ones, and writes do nothing. */
struct xlate_source {
	uint64_t (*read)(void *arg, uint32_t offset, unsigned width);	/* registers */
	void (*write)(void *arg, uint32_t offset, unsigned width, uint64_t value);
	uint32_t (*config)(void *arg, uint32_t offset, unsigned width);	/* configuration space */
	void *arg;
};

/* What a class with split queues supplies for them. */
struct xlate_split {
	/* Both parts of a queue.  They are wiped to zero when a queue begins anew. */
	uint32_t (*owner_bytes)(uint32_t entries);
	uint32_t (*used_bytes)(uint32_t entries);

	/*
	 * Judges the chain that the owner's entry idx names.  Each word of the owner's is read
	 * once.  The shadow is written at the places of the chain, all not busy, and at entry idx;
	 * so are these places' records but for busy and head: they are nobody's either way.
	 * Accepted, chain.side is NULL, or the spare table, which is taken.
	 */
	enum dma_rule (*judge)(
	    struct xlate_split_queue *q, uint16_t idx, struct xlate_verdict *v);

	/*
	 * The shadow's entries before "now" are for the device, those before "old" were already;
	 * what the owner says of interrupts goes with them.  True: the device asked to be told.
	 */
	bool (*announce)(const struct xlate_split_queue *q, uint16_t old, uint16_t now);

	/* How far the device says that it is; and what it says of one entry.  Each reads once. */
	uint16_t (*used_idx)(const struct xlate_split_queue *q);
	void (*used)(
	    const struct xlate_split_queue *q, uint16_t idx, uint32_t *head, uint32_t *bytes);
};

struct dma_ring;
struct xlate_class {
	const char *name;
	uint32_t class_code, class_mask;	/* of PCI functions */
	uint16_t vendor, device_first, device_last;	/* likewise; vendor 0: any */
	uint32_t sq_words, cq_words;	/* entries, in words of 64 bits; not of split queues */
	uint32_t entries_max;
	const struct xlate_split *split;	/* NULL: queues are pairs of rings */

	/*
	 * Why the function cannot be had at all, whoever checks: NULL: nothing against it.
	 * remapped: an IOMMU stands in its way.  Nobody has it.  May be NULL.
	 */
	const char *(*unfit)(const struct xlate_source *s, bool remapped);

	/*
	 * Fills in what registers say of a device that is claimed: queues, fact[].  False: not one
	 * that can be checked.  NULL, and everything below: the class has no translator.
	 */
	bool (*open)(struct xlate_device *d, const struct xlate_source *s);

	/*
	 * A queue is to be made, and is not bound yet: learns what the device says of it.  False:
	 * the device does not take it.  May be NULL.
	 */
	bool (*bind)(struct xlate_device *d, const struct xlate_source *s, uint32_t id,
	    uint32_t entries);

	/* The device was told to stop, or is reset: its registers are about to be as new.  May be
	 * NULL. */
	void (*reset)(struct xlate_device *d);

	/*
	 * Where the device is told of new entries, and that completions were taken; id < d->queues.
	 */
	uint32_t (*doorbell)(const struct xlate_device *d, uint32_t id, bool completion);

	/*
	 * Judges entries: ring_run (kern/dma/ring_run.h) with the class's judge inside.  Up to
	 * count of the owner's ring from ring->next on, none beyond the ring's end; each is read
	 * once, and judged with those before it accepted: their slots are busy.  A place of the
	 * shadow is written only when its entry is found good.  The slot of its id (but busy) and
	 * the spare page may be written either way: they are nobody's.  Accepted, slot.side is
	 * NULL, or the spare page, which is taken.
	 */
	enum dma_rule (*judge_run)(struct dma_ring *ring, uint32_t count, uint32_t *work);

	/* What the completion at cqe says, which is read once. */
	struct xlate_done (*completed)(const volatile uint64_t *cqe, bool odd_round);

	/*
	 * A successful command with an answer: learns from the side page, and takes out of it what
	 * drivers must not see.
	 */
	void (*answered)(struct xlate_device *d, struct xlate_slot *s);

	/*
	 * A register write by the driver: what shall be written instead.  Width 1, 2, 4 or 8,
	 * aligned, in the BAR.  fact[] and queue[].enabled may change when it is accepted.
	 */
	enum dma_rule (*write)(struct xlate_device *d, uint32_t offset, unsigned width,
	    uint64_t value, struct xlate_writes *out);
	/* May this be read; then what the driver gets for what was read, and what that says.  seen
	 * may change fact[]. */
	enum dma_rule (*may_read)(const struct xlate_device *d, uint32_t offset, unsigned width);
	enum xlate_effect (*seen)(
	    struct xlate_device *d, uint32_t offset, unsigned width, uint64_t *value);
};

/* The class speaks for functions of these ids. */
static inline bool
xlate_matches(const struct xlate_class *c, uint32_t class_code, uint16_t vendor, uint16_t device)
{
	return (class_code & c->class_mask) == c->class_code &&
	    (c->vendor == 0 || (vendor == c->vendor && device >= c->device_first &&
	    device <= c->device_last));
}

/* What arch/<a>/devtab.c lists. */
extern const struct xlate_class *const xlate_classes[];		/* ends with NULL */

/*
 * Copies words of the owner's memory, each read once.  [at, at + 8 * words) lies in w, and at is a
 * multiple of 8.
 */
void xlate_fetch(const struct xlate_window *w, uint64_t at, uint64_t *to, uint32_t words);

/* One word of it: [at, at + 8) lies in w, at is a multiple of 8, and no word is read twice. */
uint64_t xlate_word(const struct xlate_window *w, uint64_t at);

/*
 * The last window that begins at or below "at", or else the first.  count is not 0.  O(log n), and
 * no branch on what is found.
 */
static ALWAYS_INLINE const struct xlate_window *
xlate_below(const struct xlate_windows *t, uint64_t at)
{
	const struct xlate_window *v = t->v;
	uint32_t n = t->count;

	while (n > 1) {
		uint32_t half = n / 2;

		v = v[half].first <= at ? v + half : v;
		n -= half;
	}
	return v;
}

static ALWAYS_INLINE bool
xlate_holds(const struct xlate_window *w, uint64_t at, uint64_t len)
{
	return at >= w->first && at <= w->last && len - 1 <= w->last - at;
}

/*
 * Where to look first for the window of "at": the place at which one of this page's was found.
 * Only a hint: what it says may be old, another page's, or beyond the table.  Neighbours have
 * places of their own, and so have up to 256 buffers of one size, up to 1 MiB each.
 */
static ALWAYS_INLINE uint16_t *
xlate_near(struct xlate_queue *q, uint64_t at)
{
#ifdef __CPROVER__
	/* A proof is of every hint. */
	uint16_t nondet_hint(void);
	static uint16_t any;

	(void)q;
	(void)at;
	any = nondet_hint();
	return &any;
#else
	uint32_t page = (uint32_t)(at >> PAGE_SHIFT);

	return &q->hint[(uint8_t)(page + (page >> 8))];
#endif
}
