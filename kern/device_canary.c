/*
 * The live test of an IOMMU: the device itself is made to write, once where it must not get, and
 * once where it must.
 *
 * Why.  Tables say that a unit is in the way, and the unit says that it translates; neither shows
 * that this device's accesses go through it.  Firmware may be wrong, a bus may bypass the unit, a
 * unit may let everything pass.
 *
 * How.  Six pages of the kernel's own, side by side:
 *
 *     page       at its address the device finds     what is there after a good test
 *     queue      itself                              commands
 *     answers    itself                              their completions
 *     spill      itself                              what the device wrote
 *     sentinel   nothing                             what the kernel wrote
 *     decoy      the target                          what the kernel wrote
 *     target     nothing                             in its first bytes what the device wrote
 *
 *   1 The device is told to write to the address of the sentinel.  Were its accesses not
 *     translated, the sentinel would be overwritten: the bypass is caught in the act.  The unit
 *     must have recorded the fault; if not, the test is silent.
 *   2 It is told to write to the address of the decoy.  The data must arrive in the target, and the
 *     decoy must stay.
 *
 * All addresses that the device is given are addresses of these pages, as they are in memory.  So
 * whatever the way is like, translated or not, it does no harm: a device that bypasses its unit
 * finds real queues, and writes to pages that are there to be written.  The test has an I/O address
 * space of its own; nothing in it becomes a driver's.
 *
 * When.  At the first claim of a function in this boot, before the claim's own domain is made.
 * What is tested (the function's place, the unit in its way) does not change while the machine
 * runs, and a unit that breaks says so; so a driver that is started again does not pay for it.  A
 * test that failed is not made again: the device is not direct until the machine restarts.
 *
 * Steps of the worker's job, like a reset (device_reset.c), and none waits.  The thread that claims
 * sleeps meanwhile, and may give up: then the test goes to its second line below at once, without a
 * verdict, and the end of the claim waits for it (device_end.c).  So does a test whose device
 * faults where it was not told to write, or does not cease to: it has failed, and a hostile device
 * has no time for a flood.
 *
 *     setup | mappings in force | stop | mastering on, start | store, sentinel | fault
 *         | store, target
 *         | stop | mastering off, drained | blocked | unmapped | function reset
 *         | pages judged again, freed
 *
 * However it went, it is left by the second line, in the order of D7.  What could not be confirmed
 * there leads to quarantine (D8): the pages and the space stay for ever, and so does the device.
 *
 * Addresses here are addresses of memory, so they are in no log line, no trace and no last fault of
 * a unit (D3): every fault of the function, until it is reset and the log drained, is the test's
 * own.
 *
 * Locks    "canary" of the claim is set by who claims and cleared by the worker, under the device's
 *          lock.  The rest is the worker's alone, but for what faults say: under the claim lock by
 *          whoever takes them out of the log, and all that were taken before unit_drain returned
 *          are said.
 */
#include "kern/base/bits.h"
#include "kern/base/mmio.h"
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/dma/canary.h"
#include "kern/dma/unit.h"
#include "kern/frame.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/panic.h"
#include "kern/process.h"
#include "kern/thread.h"

enum page : uint8_t { QUEUE, ANSWERS, SPILL, SENTINEL, DECOY, TARGET, PAGES, BLOCK_LG2 = 3 };
static_assert(PAGES <= 1 << BLOCK_LG2);
enum : uint64_t {
	TABLE_PAGES = 24,
	CHARGE_PAGES = 1 + (1ull << BLOCK_LG2) + TABLE_PAGES,
	RECORD_NS =
	    100 * NS_PER_MS, /* a fault may be recorded after the device said that it was done */
	FAULTS_MAX = 64,	/* more of them are a storm */
	PATTERN = 0x9e37'79b9'7f4a'7c15,
};

enum step : uint8_t {
	SETUP,
	FORCE,
	QUIET,
	START,
	STRAY,
	RECORD,
	GRANTED,
	STOP,
	DRAIN,
	BLOCK,
	UNMAP,
	RESET,
	OVER
};

struct device_canary {
	const struct canary_class *class;
	struct canary c;
	struct pci_function *fn;
	struct iommu_domain io;
	struct quota quota;		/* table pages */
	struct quota *payer;		/* borrowed: the holder's */
	struct paddr block;
	struct fence fence;
	uint64_t due, deadline, poll;
	uint32_t reset_state;
	enum step step;
	bool placed, spaced, attached, mapped[PAGES];
	bool unsure;			/* something could not be confirmed */
	bool mastering;
	bool recorded, elsewhere;	/* faults: at the sentinel; others */
	bool reached;			/* something of the device's was in memory */
	uint32_t faults;
	enum status error;		/* the test could not be made */
	const char *why;		/* what was wrong */
};

/* ---- Pages ---- */

static uint64_t
address(const struct device_canary *x, enum page p)
{
	return x->block.v + p * PAGE_SIZE;
}

static volatile uint64_t *
words(const struct device_canary *x, enum page p)
{
	return frame_ptr((struct paddr){ address(x, p) });
}

static_assert(CANARY_BYTES == 4);	/* all of them in the first word: judge_arrival */
static uint64_t pattern(enum page p, uint32_t i) { return (PATTERN + p) * (2 * i + 1); }

static void
fill(struct device_canary *x, enum page p)
{
	for (uint32_t i = 0; i < PAGE_SIZE / 8; i++)
		words(x, p)[i] = pattern(p, i);
}

/* How many words are still what the kernel wrote. */
static uint32_t
kept(const struct device_canary *x, enum page p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PAGE_SIZE / 8; i++)
		n += words(x, p)[i] == pattern(p, i);
	return n;
}

static bool
is_whole(const struct device_canary *x, enum page p)
{
	return kept(x, p) == PAGE_SIZE / 8;
}

/* The first thing that was wrong decides. */
static void
wrong(struct device_canary *x, const char *why)
{
	if (x->why == NULL)
		x->why = why;
}

static void
say(const struct pci_function *f, enum lane_canary result, const char *what)
{
	log_write(result == CANARY_PASSED || result == CANARY_SILENT ? LOG_INFO : LOG_WARN,
	    "device %02x:%02x.%x: live test: %s", f->rid >> 8, f->rid >> 3 & 31, f->rid & 7, what);
}

/*
 * What the class misses may be missing because nothing gets through: the unit's tables are good,
 * but it looks this device up by another id than firmware's tables say, and finds it blocked.
 */
static void
explain(struct device_canary *x)
{
	x->reached |= x->c.heard || x->recorded || x->faults != 0 || !is_whole(x, SPILL);
	if (x->reached || x->why != x->c.why)
		return;
	say(x->fn, CANARY_FAILED, x->why);
	x->why = "nothing of it arrives through its IOMMU: it makes no access, or the unit takes it for another device";
}

/* Nothing arrived where nothing may; after io_collect. */
static void
judge_pages(struct device_canary *x)
{
	if (!is_whole(x, SENTINEL))
		wrong(x,
		    "its accesses bypass its IOMMU: a write to an address that is not mapped arrived in memory");
	else if (!is_whole(x, DECOY))
		wrong(x,
		    "its accesses bypass its IOMMU: a write arrived at the address itself, not where it is mapped");
}

/* ---- Steps ---- */

static void
set_step(struct device_canary *x, enum step s, uint64_t patience)
{
	x->step = s;
	x->poll = 5 * NS_PER_US;
	x->deadline = clock_now() + patience;
	x->c.step = 0;
}

/* When to look again: soon at first, then every millisecond. */
static uint64_t
later(struct device_canary *x)
{
	x->poll = min_u64(2 * x->poll, NS_PER_MS);
	return clock_now() + x->poll;
}

static bool
matches(const struct canary_class *c, const struct pci_function *f)
{
	if (c->class_mask != 0)
		return (f->class_code & c->class_mask) == c->class_code;
	return f->vendor == c->vendor &&
	    (f->device == c->device[0] || f->device == c->device[1]);
}

void
device_canary_find(struct pci_function *f)
{
	struct xlate_source s = device_source(f);

	f->canary_class = NULL;
	for (const struct canary_class *const *c = canary_classes; *c != NULL; c++)
		if (f->unit >= 0 && f->unfit == NULL && matches(*c, f)) {
			if ((*c)->fits != NULL)		/* its registers are asked */
				pci_decode(f);
			if ((*c)->fits == NULL || (*c)->fits(&s))
				f->canary_class = *c;
			return;
		}
}

bool
device_canary_pending(const struct pci_function *f)
{
	return f->unit >= 0 && load_relaxed(&f->canary) == CANARY_NOT_RUN &&
	    f->canary_class != NULL;
}

/* Every page's address can be one of the unit's. */
static bool
is_legal(const struct iommu_unit *u, struct paddr base)
{
	uint64_t len = PAGE_SIZE << BLOCK_LG2;

	if (!range_within(base.v, len, PAGE_SIZE, BIT(min_u64(u->facts.iova_bits, 47)) - PAGE_SIZE))
		return false;
	for (uint32_t i = 0; i < u->facts.holes; i++)
		if (u->facts.hole[i].base < base.v + len &&
		    base.v < u->facts.hole[i].base + u->facts.hole[i].len)
			return false;
	return true;
}

static enum status
map(struct device_canary *x, enum page at, enum page to, enum iommu_rights rights)
{
	enum status s = x->io.unit->ops->map(&x->io, (struct iova){ address(x, at) },
	    (struct paddr){ address(x, to) }, PAGE_SIZE, rights);

	x->mapped[at] = s == OK;
	return s;
}

/* What fails here says nothing about the device: the claim fails with it. */
static enum status
setup(struct device_canary *x)
{
	struct iommu_unit *u = iommu_by_index((uint32_t)x->fn->unit);
	enum status s;

	if (u == NULL)
		return E_REFUSED;
	s = frame_alloc(BLOCK_LG2, FRAME_KERNEL, FRAME_BELOW_4G, &x->block);
	if (s != OK)
		s = frame_alloc(BLOCK_LG2, FRAME_KERNEL, 0, &x->block);
	if (s != OK)
		return s;
	x->placed = true;
	if (!is_legal(u, x->block))
		return E_RANGE;
	for (enum page p = SPILL; p < PAGES; p = (enum page)(p + 1))
		fill(x, p);
	x->io = (struct iommu_domain){ .unit = u, .quota = &x->quota };
	x->quota = (struct quota){ .pages_max = TABLE_PAGES };
	s = u->ops->domain_init(&x->io);
	if (s != OK)
		return s;
	x->spaced = true;
	s = u->ops->attach(&x->io, x->fn->endpoint);
	if (s != OK)
		return s;
	x->attached = true;
	trace(DMA_ATTACH, function_tag(x->fn));
	pci_decode(x->fn);
	for (unsigned i = 0; i < XLATE_BARS; i++)
		if (pci_bar_mappable(x->fn, i) != 0 && device_regs(x->fn, i) == NULL)
			return E_NO_MEMORY;
	x->c = (struct canary){ .io = device_source(x->fn),
		.window_bytes = pci_bar_mappable(x->fn, 0),
		.to_device = words(x, QUEUE),
		.from_device = words(x, ANSWERS),
		.to_device_address = address(x, QUEUE),
		.from_device_address = address(x, ANSWERS),
		.spill_address = address(x, SPILL) };
	s = map(x, QUEUE, QUEUE, IOMMU_READ);
	if (s == OK)
		s = map(x, ANSWERS, ANSWERS, IOMMU_WRITE);
	if (s == OK)
		s = map(x, SPILL, SPILL, IOMMU_WRITE);
	if (s == OK)
		s = map(x, DECOY, TARGET, IOMMU_WRITE);
	fence_init(&x->fence, u);
	if (s == OK)
		fence_add(&x->fence, u->ops->sync(&x->io), clock_now() + FENCE_DEADLINE_NS);
	return s;
}

static void
unmap(struct device_canary *x)
{
	fence_init(&x->fence, x->io.unit);
	for (enum page p = QUEUE; p < PAGES; p = (enum page)(p + 1))
		if (x->mapped[p])
			fence_add(&x->fence,
			    x->io.unit->ops->unmap(
				&x->io, (struct iova){ address(x, p) }, PAGE_SIZE),
			    clock_now() + FENCE_DEADLINE_NS);
}

/* The fence is past, or lost: what then.  Else when to look again. */
static uint64_t
wait_fence(struct device_canary *x, enum step next, uint64_t patience, const char *lost)
{
	uint64_t now = clock_now();
	enum status s = fence_poll(&x->fence, now);

	if (s == E_WOULD_BLOCK)
		return fence_poll_at(&x->fence, now);
	if (s != OK) {
		x->unsure = true;
		wrong(x, lost);
	}
	set_step(x, s != OK && next < STOP ? STOP : next, patience);
	return 0;
}

/* What the class says to one of its steps: CANARY_NO ends the test. */
static enum canary_said
ask(struct device_canary *x, enum canary_said (*what)(struct canary *c, uint64_t now))
{
	enum canary_said said = what(&x->c, clock_now());

	if (said != CANARY_NO)
		return said;
	wrong(x, x->c.why);
	if (x->step < STOP)
		set_step(x, STOP, 0);
	return said;
}

static void
master(struct device_canary *x, bool on)
{
	x->mastering = on;
	pci_bus_master(x->fn, on);
	trace(BUS_MASTER, function_tag(x->fn), on);
}

/* What faults say ends the test at once; the end of the claim ends it without a verdict. */
static void
give_up(struct device *d, struct device_canary *x)
{
	bool ends;

	if (x->step < START || x->step > STOP || x->why != NULL)
		return;
	spin_lock(&d->obj.lock);
	ends = d->state != DEVICE_CLAIMED;
	spin_unlock(&d->obj.lock);
	if (load_relaxed(&x->elsewhere))
		wrong(x, "it reached for an address that it was not told of");
	else if (load_relaxed(&x->faults) > FAULTS_MAX)
		wrong(x, "it does not cease to reach for what is not mapped");
	else if (ends && x->error == OK)
		x->error = E_STALE;
	else
		return;
	if (x->step < STOP)
		set_step(x, STOP, 0);
}

/* The second store is done: its data must have arrived. */
static void
judge_arrival(struct device_canary *x)
{
	uint64_t changed;
	const char *why;

	io_collect();
	judge_pages(x);
	changed = words(x, TARGET)[0] ^ pattern(TARGET, 0);
	if ((changed & BITS(8 * x->class->bytes - 1, 0)) == 0)
		wrong(x, "a write that was granted did not arrive");
	else if (kept(x, TARGET) != PAGE_SIZE / 8 - 1 || changed >> 8 * x->class->bytes != 0)
		wrong(x, "more arrived than was to be written");
	why = x->class->judge(&x->c, (const volatile uint8_t *)words(x, SPILL));
	if (why != NULL)
		wrong(x, why);
}

/* The function is as it was.  Its pages are looked at once more: a write may have come late. */
static void
finish(struct device_canary *x)
{
	struct pci_function *f = x->fn;
	enum lane_canary result = CANARY_NOT_RUN;

	if (x->attached)
		unit_drain(x->io.unit);
	if (x->error == OK) {
		io_collect();
		judge_pages(x);
		if (x->elsewhere)
			wrong(x, "it reached for an address that it was not told of");
		result = x->why != NULL                        ? CANARY_FAILED :
		    x->recorded && x->io.unit->facts.fault_log ? CANARY_PASSED :
								 CANARY_SILENT;
		f->canary_why = x->why;
		store_release(&f->canary, result);
	}
	trace(DEVICE_CANARY, function_tag(f), result);
	say(f, result,
	    x->error != OK              ? status_text(x->error) :
		result == CANARY_PASSED ? "validated" :
		result == CANARY_SILENT ? "validated, silent" :
					  x->why);
	if (x->unsure) {
		spin_lock(&device_claim_lock);
		f->never = true;
		spin_unlock(&device_claim_lock);
		say(f, result, "it could not be ended: quarantined");
		if (x->placed)
			frame_quarantine(x->block, BLOCK_LG2);
		return;
	}
	if (x->spaced)
		x->io.unit->ops->domain_fini(&x->io);
	if (x->placed)
		frame_free(x->block, BLOCK_LG2);
}

/* The next function of the group that has its test still to come; false: none is left. */
static bool
next_function(struct device *d, struct device_canary *x)
{
	for (unsigned i = 0; i < d->function_count; i++) {
		struct pci_function *f = d->function[i].fn;

		if (!device_canary_pending(f))
			continue;
		*x = (struct device_canary){ .fn = f, .class = f->canary_class, .payer = x->payer };
		return true;
	}
	return false;
}

/* One step.  Returns when to come back; 0: at once. */
static uint64_t
step(struct device *d, struct device_canary *x)
{
	enum canary_said said;
	uint64_t now = clock_now(), next;

	give_up(d, x);
	switch (x->step) {
	case SETUP:
		x->error = setup(x);
		if (x->error == OK)
			set_step(x, FORCE, 0);
		else
			set_step(x, x->attached ? DRAIN : OVER, DRAIN_NS);
		return 0;
	case FORCE:
		return wait_fence(x, QUIET, 0, "its IOMMU did not put a mapping into force");
	case QUIET:
		said = ask(x, x->class->stop);
		if (said == CANARY_DONE) {
			unit_drain(x->io.unit); /* what was recorded before is not the test's */
			x->recorded = x->elsewhere = false;
			x->faults = 0;
			master(x, true);
			set_step(x, START, 0);
		}
		return said == CANARY_GOES_ON ? later(x) : 0;
	case START:
		said = ask(x, x->class->start);
		if (said == CANARY_DONE) {
			x->c.target = address(x, SENTINEL);
			set_step(x, STRAY, 0);
		}
		return said == CANARY_GOES_ON ? later(x) : 0;
	case STRAY:
		said = ask(x, x->class->store);
		if (said == CANARY_DONE) {
			io_collect();
			judge_pages(x);
			set_step(x, x->why != NULL ? STOP : RECORD, RECORD_NS);
		} else if (said == CANARY_NO) {
			explain(x);
		}
		return said == CANARY_GOES_ON ? later(x) : 0;
	case RECORD:
		unit_drain(x->io.unit);
		if (!x->recorded && x->io.unit->facts.fault_log && now < x->deadline)
			return later(x);
		x->reached = x->c.heard || x->faults != 0 || !is_whole(x, SPILL);
		fill(x, SPILL);
		x->c.target = address(x, DECOY);
		x->c.must_succeed = true;
		set_step(x, GRANTED, 0);
		return 0;
	case GRANTED:
		said = ask(x, x->class->store);
		if (said == CANARY_DONE) {
			judge_arrival(x);
			set_step(x, STOP, 0);
		} else if (said == CANARY_NO) {
			explain(x);
		}
		return said == CANARY_GOES_ON ? later(x) : 0;
	case STOP:
		if (x->mastering && (x->why != NULL || x->error != OK))
			master(x, false);	/* a stop may take long */
		said = ask(x, x->class->stop);
		if (said == CANARY_GOES_ON)
			return later(x);
		if (x->mastering)
			master(x, false);	/* it does not stop: the reset will do */
		set_step(x, DRAIN, DRAIN_NS);
		return 0;
	case DRAIN:
		if (!pci_idle(x->fn)) {
			if (now < x->deadline)
				return later(x);
			x->unsure = true;
			wrong(x, "its transactions stayed pending");
		}
		trace(DMA_DETACH, function_tag(x->fn));
		fence_init(&x->fence, x->io.unit);
		fence_add(&x->fence, x->io.unit->ops->detach(&x->io, x->fn->endpoint),
		    now + FENCE_DEADLINE_NS);
		set_step(x, BLOCK, 0);
		return 0;
	case BLOCK:
		next = wait_fence(x, UNMAP, 0, "its IOMMU did not confirm that it is blocked");
		if (next == 0)
			unmap(x);
		return next;
	case UNMAP:
		return wait_fence(
		    x, RESET, 0, "its IOMMU did not confirm that memory is out of reach");
	case RESET:
		next = pci_reset_step(x->fn, &x->reset_state);
		if (next != 0 && next != UINT64_MAX)
			return next;
		if (next == UINT64_MAX) {
			x->unsure = true;
			wrong(x, "its reset did not work");
		}
		set_step(x, OVER, 0);
		return 0;
	case OVER:
		break;
	}
	return 0;
}

uint64_t
device_canary_step(struct device *d)
{
	struct device_canary *x = d->canary;
	enum status error;
	bool unsure;

	if (clock_now() < x->due)	/* the claim's end brought the job forward */
		return x->due;
	if (x->step != OVER) {
		x->due = step(d, x);
		return max_u64(x->due, 1);	/* others first */
	}
	finish(x);
	error = x->error;
	unsure = x->unsure;
	if (error == OK && !unsure && next_function(d, x))
		return 1;
	spin_lock(&d->obj.lock);
	store_relaxed(&d->canary, NULL);
	device_wake(&d->canary_waiter, error);
	spin_unlock(&d->obj.lock);
	spin_lock(&device_claim_lock); /* whoever has a fault of it in hand is done with it */
	spin_unlock(&device_claim_lock);
	if (!unsure) {			/* else its space stays, and so does what it costs */
		quota_give_pages(x->payer, CHARGE_PAGES);
		frame_free(frame_of(x), 0);
	}
	object_put(&d->obj);
	return 0;
}

bool
device_canary_fault(struct pci_function *f, const struct dma_fault *fault)
{
	struct device_canary *x;

	/* Under the lock to the end: the worker, who frees it, takes the lock before. */
	spin_lock(&device_claim_lock);
	x = f->claimed != NULL ? load_relaxed(&f->claimed->canary) : NULL;
	if (x != NULL) {
		store_relaxed(&x->faults, x->faults + 1);
		if (f != x->fn)
			store_relaxed(&x->elsewhere, true);
		else if (!fault->address_valid)
			;		/* says nothing: the test stays silent */
		else if (align_down(fault->iova, PAGE_SIZE) == address(x, SENTINEL))
			x->recorded = true;	/* "write" is not asked: virtio-iommu may not say */
		else
			store_relaxed(&x->elsewhere, true);
	}
	spin_unlock(&device_claim_lock);
	return x != NULL;
}

enum status
device_canary_run(struct device *d, uint64_t deadline) NO_THREAD_SAFETY
{
	struct device_canary *x;
	struct paddr p;
	enum status s = quota_take_pages(&d->holder->quota, CHARGE_PAGES);

	static_assert(sizeof(*x) <= PAGE_SIZE);
	if (s != OK)
		return s;
	s = frame_alloc(0, FRAME_KERNEL, FRAME_ZERO, &p);
	if (s != OK) {
		quota_give_pages(&d->holder->quota, CHARGE_PAGES);
		return s;
	}
	x = frame_ptr(p);
	x->payer = &d->holder->quota;
	if (!next_function(d, x))
		KASSERT(!"no live test to make");
	spin_lock(&d->obj.lock);
	d->canary = x;
	object_get(&d->obj);		/* the test's */
	worker_add(&d->work);
	return device_wait(d, &d->canary_waiter, deadline);
}
