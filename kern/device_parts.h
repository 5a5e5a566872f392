/*
 * What the parts of device claims share: device.c (claims, windows, vectors), device_dma.c
 * (grants), device_fault.c (faults), device_reset.c (resets that the owner asks for),
 * device_canary.c (the live test of its IOMMU), device_end.c (the end).
 */
#pragma once

#include "kern/base/mmio.h"
#include "kern/device.h"
#include "kern/dma/xlate.h"
#include "kern/trace.h"

enum : uint64_t {
	DRAIN_NS = NS_PER_S, POLL_NS = 20 * NS_PER_US,
	STORM = 10000,			/* faults in a claim's life that shut it off */
};

/* Over pci_function.claimed and .never. */
extern struct spinlock device_claim_lock;

static inline struct device *
device_of(struct object *o)
{
	return container_of(o, struct device, obj);
}

/* Where the claim's fault counters are: in the page that its driver reads, once there is one.  The
 * claim lock is held. */
static inline struct dma_status *
device_status(struct device *d)
{
	return d->page != NULL ? d->page : &d->status;
}

/* The claim ends: its driver is told, whether its page is there already or is being made. */
static inline void
device_status_end(struct device *d)
{
	struct dma_status *page;

	store_relaxed(&d->status.ended, 1);
	smp_full();
	page = load_relaxed(&d->page);
	if (page != NULL)
		store_release(&page->ended, 1);
}

/* A function, and the first of a group, as the trace names them. */
static inline uint32_t
function_tag(const struct pci_function *f)
{
	return (uint32_t)f->segment << 16 | f->rid;
}
static inline uint32_t
device_tag(const struct device *d)
{
	return function_tag(d->function[0].fn);
}

/* Bus mastering of the whole group.  E_NO_DEVICE: a storm of faults, or a reset that failed, has
 * shut it off.  The device's lock is held for "on". */
NODISCARD enum status device_master_on(struct device *d);
void device_master_off(struct device *d);

/* Whatever the device does, it reaches nothing any more, until its claim ends.  The device's lock
 * is held. */
void device_shut_off(struct device *d);

/* Finds a live claim by handle; locked on OK. */
NODISCARD enum status
device_lock(struct thread *t, uint64_t handle, uint32_t rights, struct device **out);

/* No vectors yet. */
void device_irq_init(struct device *d);

/* Takes the route of one vector down; the device's lock is held. */
void device_irq_unroute(struct device *d, struct irq *i);

/*
 * Sleeps until the fence is worth another look; the device's lock, which is held, is let go
 * meanwhile.  E_TIMED_OUT: the deadline is past; E_CANCELLED: the thread is about to end.
 */
NODISCARD enum status device_sleep(struct device *d, const struct fence *f, uint64_t deadline);

/*
 * A grant of the kernel's own, of a whole memory object: without a handle, in no window.  The
 * device's lock is held, and let go until it is in force.  *out is counted, also when it fails;
 * NULL when there is none.  Uncount: its device outlives it.
 */
NODISCARD enum status device_grant_own(struct device *d, struct process *payer, struct memory *m,
    enum dma_dir dir, struct buffer **out);
void device_grant_uncount(struct buffer *b);

/* domain_revoke, traced.  The device's lock is held. */
NODISCARD enum status device_buffer_revoke(struct buffer *b);
/* The grant is revoking: one look at its fence.  The device's lock is held.  See domain_settle. */
NODISCARD enum status device_buffer_settle(struct buffer *b);
/* The device could not be stopped: the grant is quarantined, its memory poisoned.  The device's
 * lock is held. */
void device_buffer_quarantine(struct buffer *b);

/* The worker's step, of a reset or of the end; device.work.step of every claim. */
uint64_t device_step(struct work *w);
/* The reset under way, for device_step alone: when to come back, 0 when it is over.  The claim may
 * be gone then, unless it ends. */
uint64_t device_reset_step(struct device *d);

/* How much memory a checked queue takes. */
struct queue_sizes { uint64_t owner_bytes, used_bytes, side_pages, record_bytes; };

struct queue;
struct ring_refusal;

/* A page of a queue's memory; and what the device calls it. */
struct paddr device_queue_page(struct memory *m, uint64_t page);
uint64_t device_queue_address(const struct device *d, const struct buffer *b, uint64_t page);

/*
 * Between two pieces of a long batch; both locks are held before and after.  E_STALE: the claim or
 * the queue is over.
 */
NODISCARD enum status device_queue_breathe(struct queue *q, struct device *d);

/* Of split queues (device_split.c): what they take, what is made of their memory, one turn of
 * theirs.  Both locks are held. */
struct queue_sizes device_split_sizes(const struct xlate_split *s, uint32_t entries);
void device_split_bind(struct queue *q, struct device *d, uint32_t id, uint32_t entries);
NODISCARD enum status device_split_turn(struct queue *q, struct device *d, uint32_t avail,
    uint32_t used, struct ring_refusal *why);

/* How a class looks at the function.  Who has claimed it, or nobody can have yet. */
struct xlate_source device_source(struct pci_function *f);

/* A function was found, or plugged in: looks for a class that has a live test for it. */
void device_canary_find(struct pci_function *f);
/* The function has a live test, and it was not made yet. */
bool device_canary_pending(const struct pci_function *f);
/*
 * Makes the tests that are pending in the group, and waits; the functions are the claim's, and
 * nothing is set up yet.  OK: they were made, the facts say how they went.  Else: what they need is
 * not there; E_TIMED_OUT, E_CANCELLED: one goes on, and the claim is to be ended.
 */
NODISCARD enum status device_canary_run(struct device *d, uint64_t deadline);
/* For device_step and the end, while d->canary is not NULL: when to come back, 0 when it is over.
 */
uint64_t device_canary_step(struct device *d);

/*
 * Waits until the worker says the word, with the device's lock, which is held and let go; *slot is
 * one of the device's and empty.  And says it, with the lock held, to who waits there.
 */
NODISCARD enum status device_wait(struct device *d, struct thread **slot, uint64_t deadline);
void device_wake(struct thread **slot, enum status s);
