/*
 * Claims whose queue entries and registers the kernel checks: mediated, where an IOMMU stands
 * behind the device as well, and brokered, where none does.
 *
 *   check     what a checked claim has besides: what its class knows (kern/dma/xlate.h), the
 *             windows of its grants, its queues.  Made with the claim, gone with its end
 *   queue     one pair of rings (kern/dma/ring.h) or one split queue (kern/dma/split.h), with the
 *             memory behind it.  The driver writes the owner's part and reads the device's; the
 *             shadow and the side pages are the kernel's and mapped nowhere
 *
 * Memory of a queue is granted to the device like a driver's, but it is in no window: no entry can
 * name it.  It stays bound until the claim ends, whatever the driver does with its handle: the
 * device may still know it.
 *
 * Life of the device, as its class tells (enum xlate_effect):
 *
 *     claimed -> stopped -> running -> ready -> (told to stop) -> stopped -> ...
 *
 * "Stopped" is seen, never assumed: the device said so, or a reset was confirmed.  Only then do
 * pins end and queues begin again, each when its driver says that it knows (QUEUE_RENEW); a queue
 * that has not been renewed is stale (D6).  Bus mastering is on from "running" until a reset or the
 * end.
 *
 * Locks: the claim's (device.obj.lock) over all of it.  A queue's own lock is taken before, and
 * only to find the claim: queue.device is its, and NULL when the claim is over.
 */
#pragma once

#include "kern/device.h"
#include "kern/dma/ring.h"
#include "kern/dma/split.h"
#include "kern/dma/window.h"

struct queue {
	struct object obj;
	struct device *device; /* (l) queue.obj.lock: borrowed; the claim counts its queues */
	struct list link;		/* (device) */
	/* (device) The device was told to stop since; and it did: both rings are as new.  A split
	 * queue is always stale for a commit that takes it for a pair, and has its own word. */
	bool stale, cleared, split_stale;
	bool busy;			/* (device) a commit is between two pieces */
	uint32_t told;			/* (device) completions that the device knows to be taken */
	volatile uint32_t *sq_doorbell, *cq_doorbell;	/* (c) */
	struct dma_ring ring;		/* (device) */
	/* (c) not NULL: a split queue.  In it all is (device), and of ring only the id counts */
	struct split_ring *split;
	enum dma_rule last_rule;	/* (device) of the batch that was refused last */
	struct memory *owner, *cq, *shadow, *side,
	    *slots; /* (c) counted; NULL when the claim is over */
	struct buffer *cq_grant, *shadow_grant, *side_grant;	/* (c) counted, likewise */
};

struct device_check {
	const struct xlate_class *class;
	struct xlate_device x;
	struct window_table windows;
	struct paddr array;		/* of the windows */
	unsigned array_order;
	struct pci_function *function;	/* the first */
	bool brokered;
	struct list queues;
	uint64_t entries, registers_refused;
	uint32_t complaints;		/* lines that the log got */
	enum dma_rule last_rule;
};

enum status sys_queue_create(struct thread *t, struct uregs *u);
enum status sys_queue_commit(struct thread *t, struct uregs *u);

/* For who looks from outside.  False: its claim is over. */
bool device_queue_counts(struct object *o, struct queue_counts *out);

/* The translator for the function's class, or NULL. */
const struct xlate_class *device_class(const struct pci_function *f);

/* The kernel's view of a BAR, made at the first call; NULL: there is none, or no memory.  Who has
 * claimed the function. */
volatile uint8_t *device_regs(struct pci_function *f, unsigned bar);

/* All with the device's lock held; open also where d->check is not there yet. */
NODISCARD enum status device_check_open(struct device *d);
void device_check_close(struct device *d);

/* A grant of the driver's is in force: its windows.  E_NO_MEMORY, E_QUOTA.  And it is taken back.
 */
NODISCARD enum status device_check_add(struct device *d, struct buffer *b);
void device_check_remove(struct device *d, struct buffer *b);
/* It keeps its address: queue entries can name it no more.  Reopen: and can again, of memory that
 * is one run; false: device_check_add. */
static ALWAYS_INLINE void
device_check_keep(struct device *d, struct buffer *b)
{
	b->window_closed = window_close(
	    &d->check->windows, &b->grant.entry, grant_iova(&b->grant).v, &b->window);
	if (unlikely(!b->window_closed))
		device_check_remove(d, b);
}
static ALWAYS_INLINE bool
device_check_reopen(struct device *d, struct buffer *b, uint64_t at, uint64_t delta, uint64_t cpu)
{
	struct ledger_entry *e = &b->grant.entry;
	bool open = window_open(&d->check->windows, e, b->window, at, at + (e->grant.len - 1),
	    delta, cpu, e->grant.dir);

	b->window_closed = !open;
	return open;
}

/* One register access under the class's policy.  E_REFUSED: *rule says why. */
NODISCARD enum status device_check_access(struct device *d, const struct mmio *w, uint64_t offset,
    unsigned width, bool write, uint64_t *value, enum dma_rule *rule);

/* A reset of the function begins; it was confirmed. */
void device_check_stop(struct device *d);
void device_check_stopped(struct device *d);

/* The claim is over, and the device's lock is not held: one queue more has no memory any more.
 * False: none was left. */
bool device_queues_release(struct device *d);

/* Counts and, the first few times, says what was refused: "what number, part entry". */
void device_check_complain(struct device *d, enum dma_rule rule, const char *what, uint32_t number,
    const char *part, uint32_t entry);
