/*
 * The world of the tests of a claim's end and of its resets: a device of two functions with grants,
 * a window and vectors, its unit, and the worker's job.  One program has one world; begin() makes
 * it anew.
 *
 * What happens is told in a string, one letter each (happened()), so that a test can say in which
 * order it must.
 */
#pragma once

#include <atf-c.h>
#include <stdio.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/md/trap.h"
#include "kern/pci_hotplug.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "kern/trace.h"
#include "tests/lib/fake_kernel.h"
#include "tests/lib/fake_memory.h"

enum { BUFFERS = 40, FUNCTIONS = 2 };

/* ---- What happened: one letter each, see happened() ---- */

static char story[512];
static unsigned told;

static void
happened(char what)
{
	size_t n = strlen(story);

	if (n == 0 || story[n - 1] != what)	/* runs count once */
		story[n] = what;
}

/* ---- A device, its unit, its interrupts ---- */

static struct {
	uint64_t issued, done;		/* tickets */
	uint64_t ticket_ns;		/* until one is past; UINT64_MAX: never */
	uint64_t issued_at;
	uint64_t idle_at;		/* no transaction is pending from then on */
	uint64_t reset_at;		/* the reset is over; 0: at once, UINT64_MAX: it fails */
	uint64_t quiet_until;		/* no access before: it is being reset */
	unsigned resets;		/* begun */
	unsigned queues;
	unsigned unmaps, unmaps_in_step, unmaps_most, attached, finis;
	bool unmap_hangs; /* tickets of unmaps are never past, those of detaches are */
	uint64_t mapped_at;	/* until then a window is just being mapped */
	bool vectors, windows, master, brokered;
} hw;

static struct mmio window;

static void
touch(void)
{
	ATF_CHECK(fake_now >= hw.quiet_until);
}

static struct iommu_ticket
ticket(void)
{
	hw.issued_at = fake_now;
	return (struct iommu_ticket){ ++hw.issued };
}

static enum status unit_domain_init(struct iommu_domain *d UNUSED) { return OK; }
static void unit_domain_fini(struct iommu_domain *d UNUSED) { happened('F'); hw.finis++; }

static enum status
unit_map(struct iommu_domain *d UNUSED, struct iova at UNUSED, struct paddr to UNUSED,
    uint64_t len UNUSED, enum iommu_rights r UNUSED)
{
	return OK;
}

static struct iommu_ticket
unit_sync(struct iommu_domain *d UNUSED)
{
	return (struct iommu_ticket){ 0 };
}

static struct iommu_ticket
unit_detach(struct iommu_domain *d UNUSED, uint32_t endpoint UNUSED)
{
	/* Never while the driver can ring, the device can master, or its interrupts have routes. */
	ATF_CHECK(!hw.windows && !hw.master && !hw.vectors);
	ATF_CHECK(!hw.brokered || hw.resets == FUNCTIONS);
	happened('B');
	hw.attached--;
	return ticket();
}

static struct iommu_ticket
unit_unmap(struct iommu_domain *d UNUSED, struct iova at UNUSED, uint64_t len UNUSED)
{
	ATF_CHECK_EQ(hw.attached, 0);
	ATF_CHECK(hw.done >= FUNCTIONS);	/* the block was waited for */
	happened('U');
	hw.unmaps++;
	hw.unmaps_in_step++;
	return ticket();
}

static enum status
unit_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	if (u->broken)
		return t.seq <= hw.done ? OK : E_QUARANTINED;
	if (hw.ticket_ns != UINT64_MAX && fake_now >= hw.issued_at + hw.ticket_ns)
		hw.done = hw.unmap_hangs && hw.issued > FUNCTIONS ? FUNCTIONS : hw.issued;
	if (t.seq <= hw.done)
		return OK;
	happened('w');
	return E_WOULD_BLOCK;
}

static const struct iommu_ops ops = {
	.domain_init = unit_domain_init,
	.domain_fini = unit_domain_fini,
	.map = unit_map,
	.sync = unit_sync,
	.unmap = unit_unmap,
	.detach = unit_detach,
	.ticket_poll = unit_poll,
};
static struct iommu_unit unit;

static void
master(struct device *d, bool on)
{
	/* Doorbells first, or so long after. */
	ATF_CHECK(d->state == DEVICE_CLAIMED || !hw.windows || hw.mapped_at != 0);
	touch();
	happened(on ? 'm' : 'M');
	for (unsigned i = 0; i < d->function_count; i++)
		d->function[i].fn->master = on;
	hw.master = d->mastering = on;
}

void device_master_off(struct device *d) { master(d, false); }

enum status
device_master_on(struct device *d)
{
	if (d->reset_failed || d->shut_off)
		return E_NO_DEVICE;
	master(d, true);
	return OK;
}

bool
pci_idle(const struct pci_function *f)
{
	ATF_CHECK(!f->master);
	touch();
	happened('D');
	return fake_now >= hw.idle_at;
}

void
pci_msix_close(struct pci_function *f UNUSED)
{
	touch();
	happened('V');
}

enum status
pci_msix_open(struct pci_function *f UNUSED)
{
	touch();
	happened('v');
	return OK;
}

enum status pci_msix_restore(struct pci_function *f UNUSED, uint32_t v UNUSED) { return OK; }

void irqc_msi_close(struct irqc_source *s UNUSED) { hw.vectors = false; }

void
device_irq_unroute(struct device *d UNUSED, struct irq *i)
{
	happened('V');
	list_remove(&i->link);
}

uint64_t
pci_reset_step(struct pci_function *f, uint32_t *state)
{
	ATF_CHECK(!f->master);
	if (f->gone)			/* kern/pci_reset.c */
		return 0;
	ATF_CHECK(f->claimed->state == DEVICE_CLAIMED || hw.brokered || hw.attached == 0 ||
	    f->claimed->resetting);
	touch();
	happened('R');
	hw.resets += *state == 0;
	if (hw.reset_at == UINT64_MAX)
		return UINT64_MAX;
	if ((*state)++ == 0 && hw.reset_at > fake_now)
		return hw.quiet_until = hw.reset_at;
	return 0;
}

enum status
vspace_unmap_one_of(struct object *o UNUSED, struct list *mappings)
{
	ATF_CHECK(window.closed);
	if (list_empty(mappings))
		return E_NOT_FOUND;
	if (fake_now < hw.mapped_at)
		return E_BUSY;
	happened('W');
	list_init(mappings);
	hw.windows = false;
	return OK;
}

/* What the kernel checks of a claim (device_check.c, device_queue.c), as far as its end goes. */
static struct device_check check;
static unsigned checks_gone;

void device_check_stop(struct device *d UNUSED) { check.x.stopped = false; }
void device_check_stopped(struct device *d UNUSED) { check.x.stopped = true; }
void device_check_remove(struct device *d UNUSED, struct buffer *b UNUSED) { checks_gone++; }
enum status device_check_add(struct device *d UNUSED, struct buffer *b UNUSED) { return OK; }

/* The queues' memory goes when nothing can reach it. */
bool
device_queues_release(struct device *d)
{
	ATF_CHECK(d->failed || hw.done == hw.issued);
	ATF_CHECK_EQ(hw.attached, 0);
	happened('Q');
	return hw.queues != 0 && hw.queues-- != 0;
}

void
device_check_close(struct device *d)
{
	happened('C');
	d->check = NULL;
}

/* A live test under way (device_canary.c): so many more steps of 10 ms, and then its reference
 * goes. */
static unsigned test_steps;

uint64_t
device_canary_step(struct device *d)
{
	happened('T');
	if (test_steps-- > 1)
		return fake_now + 10 * NS_PER_MS;
	d->canary = NULL;
	d->obj.refs--;
	return 0;
}

/* ---- The rest of the kernel ---- */

struct cpu fake_cpu;
static struct thread me;
struct spinlock device_claim_lock = SPINLOCK_INIT(RANK_CLAIM);
static struct work *job;
static uint64_t due;		/* of the job */
static unsigned adds;

void
worker_add(struct work *w)
{
	job = w;
	due = 0;
	adds++;
}

void watch_fire(struct watch *w UNUSED) { told++; }

void
watch_set(struct watch *w, struct notification *n, uint64_t bits, struct notification **old)
{
	*old = w->ntfn;
	*w = (struct watch){ n, bits };
}

void object_put_last(struct object *o) { o->refs--; }
void object_bump(struct object *o) { o->gen++; }
struct thread *current_thread(void) { return &me; }
void sched_wake(struct thread *t UNUSED) {}
void sched_sleep(uint64_t deadline) { fake_now = deadline; }
static bool step_job(void);

/* Others run: the worker. */
enum status
sched_block(uint64_t deadline)
{
	while (
	    (me.wait & WAIT_STATE) == WAIT_ARMED && max_u64(due, fake_now) < deadline && step_job())
		;
	if ((me.wait & WAIT_STATE) == WAIT_CLAIMED)
		return me.wait_status;
	if (me.dying || deadline != DEADLINE_NEVER) {
		ATF_REQUIRE(thread_claim(&me));
		return me.wait_status = me.dying ? E_CANCELLED : E_TIMED_OUT;
	}
	atf_tc_fail("nobody ends the wait: %s", story);
}

enum status
object_create(enum object_type t UNUSED, struct process *p UNUSED, struct object **o UNUSED)
{
	return E_NO_MEMORY;
}
enum status handle_close(struct process *p UNUSED, handle_t h UNUSED) { return OK; }

enum status
handle_lock(struct process *p UNUSED, handle_t h UNUSED, enum object_type t UNUSED,
    uint32_t r UNUSED, struct object **o UNUSED, uint64_t *badge UNUSED)
{
	return E_HANDLE;
}

enum status
handle_ref(struct process *p UNUSED, handle_t h UNUSED, enum object_type t UNUSED,
    uint32_t r UNUSED, struct object **o UNUSED, uint32_t *out UNUSED)
{
	return E_HANDLE;
}

enum status
handle_insert(struct process *p UNUSED, struct object *o UNUSED, uint32_t gen UNUSED,
    uint32_t r UNUSED, uint64_t badge UNUSED, handle_t *out UNUSED)
{
	return E_QUOTA;
}

bool
handle_for_some(struct process *p UNUSED, uint32_t *at UNUSED, enum object_type t UNUSED,
    void (*fn)(struct object *, uint32_t, void *) UNUSED, void *arg UNUSED)
{
	return true;
}

void
trace_put(enum trace_type type UNUSED, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t c UNUSED,
    uint64_t d UNUSED)
{
}

/* ---- A claim at work ---- */

static struct pci_function fn[FUNCTIONS];
static struct device d;

enum status
device_lock(struct thread *t UNUSED, uint64_t h UNUSED, uint32_t r UNUSED,
    struct device **out) NO_THREAD_SAFETY
{
	if (d.state != DEVICE_CLAIMED)
		return E_STALE;
	spin_lock(&d.obj.lock);
	*out = &d;
	return OK;
}

static struct irq irqs[2];
static struct list mapping;
static struct fake_memory memory;
static struct buffer buffer[BUFFERS];
static struct quota holder;

static void
begin(void)
{
	fake_kernel_init(&(struct fake_setup){ 0 });
	memset(&hw, 0, sizeof(hw));
	memset(story, 0, sizeof(story));
	memset(&d, 0, sizeof(d));
	memset(&memory, 0, sizeof(memory));
	memset(buffer, 0, sizeof(buffer));
	memset(fn, 0, sizeof(fn));
	memset(&check, 0, sizeof(check));
	memset(&me, 0, sizeof(me));
	told = checks_gone = adds = 0;
	job = NULL;
	unit = (struct iommu_unit){ .ops = &ops, .facts = { .iova_bits = 39 } };
	holder = (struct quota){ .pages_max = 64 };
	fake_memory_add(&memory, 3);
	memory.m.obj.refs = 1;
	d.obj.refs = 1;
	list_init(&d.buffers);
	list_init(&d.revoked);
	list_init(&d.irqs);
	list_init(&d.windows);
	d.work.step = device_step;
	d.generation = 1;
	d.state = DEVICE_CLAIMED;
	d.function_count = FUNCTIONS;
	ATF_REQUIRE_EQ(domain_init(&d.domain, &unit, &holder, 1), OK);
	d.domain_live = true;
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		fn[i] = (struct pci_function){
			.rid = (uint16_t)(8 + i), .endpoint = 8 + i, .claimed = &d, .master = true
		};
		d.function[i].fn = &fn[i];
		d.function[i].source_open = true;
	}
	hw.attached = FUNCTIONS;
	hw.vectors = hw.windows = hw.master = true;
	d.mastering = true;
	list_init(&window.mappings);
	list_init(&window.link);
	window.obj.refs = 1;
	window.device = &d;
	window.closed = false;
	list_push_back(&window.mappings, &mapping);
	list_push_back(&d.windows, &window.link);
	for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++) {
		irqs[i].device = &d;
		irqs[i].generation = d.generation;
		list_push_back(&d.irqs, &irqs[i].link);
	}
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct ledger_grant want = { .owner = &buffer[i],
			.memory = &memory.m,
			.offset = i % 8 * PAGE_SIZE,
			.len = PAGE_SIZE,
			.generation = 1,
			.dir = DMA_BOTH };

		buffer[i].obj.refs = 1;
		buffer[i].device = &d;
		buffer[i].memory = &memory.m;
		memory.m.obj.refs++;
		d.obj.refs++;
		ATF_REQUIRE_EQ(domain_grant(&d.domain, &buffer[i].grant, &want), OK);
		list_push_back(&d.buffers, &buffer[i].link);
	}
	fake_now = NS_PER_S;
}

/* One step of the job, when it is due; false when it is over. */
static bool
step_job(void)
{
	struct work *w = job;
	uint64_t before, next;
	unsigned seen = adds;

	if (w == NULL)
		return false;
	fake_now = max_u64(fake_now, due);
	before = fake_now;
	hw.unmaps_in_step = 0;
	next = w->step(w);
	hw.unmaps_most = (unsigned)max_u64(hw.unmaps_most, hw.unmaps_in_step);
	ATF_REQUIRE(fake_now - before <
	    100 * NS_PER_US); /* no step waits (each look at the clock is 100 ns) */
	if (adds == seen) {
		job = next == WORK_DONE ? NULL : w;
		due = next;
	}
	return job != NULL;
}

static inline void
begin_end(void)
{
	ATF_REQUIRE(!device_destroy(&d.obj));
	ATF_REQUIRE(job == &d.work);
	ATF_CHECK_EQ(d.state, DEVICE_ENDING);
}

/* Runs the end; returns how long it took. */
static inline uint64_t
run_end(void)
{
	uint64_t from = fake_now;

	begin_end();
	for (unsigned i = 0; step_job(); i++)
		if (i == 100'000)
			atf_tc_fail("it never ends: %s", story);
	return fake_now - from;
}

static inline unsigned
in_state(enum ledger_state s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BUFFERS; i++)
		n += grant_state(&buffer[i].grant) == s;
	return n;
}

/* Nobody gets this device again, and what it may reach stays. */
static inline void
is_quarantined(unsigned buffers)
{
	ATF_CHECK_EQ(d.state, DEVICE_QUARANTINED);
	ATF_CHECK_EQ(in_state(LEDGER_QUARANTINED), buffers);
	ATF_CHECK_EQ(memory.m.poisoned, buffers != 0);
	ATF_CHECK_EQ(hw.finis, 0);
	for (unsigned i = 0; i < FUNCTIONS; i++)
		ATF_CHECK(fn[i].never && fn[i].claimed == NULL && !fn[i].master);
}

static inline void
is_free(void)
{
	ATF_CHECK_EQ(d.state, DEVICE_FREE);
	ATF_CHECK_EQ(in_state(LEDGER_FREE), BUFFERS);
	ATF_CHECK(!memory.m.poisoned);
	ATF_CHECK_EQ(hw.finis, 1);
	ATF_CHECK_EQ(holder.pages, 0);
	for (unsigned i = 0; i < FUNCTIONS; i++)
		ATF_CHECK(!fn[i].never && fn[i].claimed == NULL);
}

/* Where no unit stands behind the device, a confirmed reset is what makes sure: nothing is unmapped
 * before. */
static inline void
begin_brokered(void)
{
	begin();
	hw.brokered = true;
	d.verdict.lane = LANE_BROKERED;
	d.check = &check;
}
