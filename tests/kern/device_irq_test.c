/*
 * kern/device_irq.c: a vector whose driver takes nothing is held back for a while, nothing is lost,
 * and an interrupt of before a reset tells nobody.
 *
 * LINK: kern/device_irq.c kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/device_parts.h"
#include "kern/ipc.h"
#include "kern/irq.h"
#include "kern/process.h"
#include "kern/sched.h"
#include "kern/thread.h"
#include "tests/lib/fake_kernel.h"

enum { VECTORS = 2, SLOT = 40 };
enum : uint64_t { HOLD_NS = 200 * NS_PER_US };
enum : uint32_t { UNTAKEN_MAX = 16 };

static struct process holder;
static struct thread thread;
static struct pci_function fn;
static struct device d;
static struct irq irqs[VECTORS];
static struct notification ntfn;
static unsigned made;			/* interrupt objects */

/* The hardware: each vector's mask, and what waits behind it. */
static struct { bool masked, pending; irq_fn *fire; void *arg; uint64_t came; } hw[VECTORS];
static struct work *job;
static uint32_t stale;

/* ---- The rest of the kernel ---- */

struct cpu fake_cpu;

static void
send(unsigned v)
{
	if (hw[v].masked) {
		hw[v].pending = true;
		return;
	}
	hw[v].came++;
	hw[v].fire(hw[v].arg);
}

void
pci_msix_mask(struct pci_function *f, uint32_t v, bool masked)
{
	ATF_REQUIRE(f == &fn && v < VECTORS);
	ATF_CHECK_MSG(!d.resetting, "somebody touches a function that is being reset");
	hw[v].masked = masked;
	/* What waited comes at once; its handler may mask again. */
	if (!masked && hw[v].pending) {
		hw[v].pending = false;
		hw[v].came++;
	}
}

void pci_msix_set(struct pci_function *f UNUSED, uint32_t v, uint64_t a UNUSED, uint32_t x UNUSED)
{
	hw[v].masked = false;
}
enum status pci_msix_open(struct pci_function *f UNUSED) { return OK; }

bool
notification_signal(struct notification *n, uint64_t bits)
{
	bool news = (bits & ~n->bits) != 0;

	ATF_CHECK_EQ(n, &ntfn);
	n->bits |= bits;
	return news;
}

void worker_add(struct work *w) { ATF_CHECK(job == NULL); job = w; }

enum status
irq_slot_claim(irq_fn *fire, void *arg, const char *name UNUSED, uint32_t *slot)
{
	hw[made - 1].fire = fire;
	hw[made - 1].arg = arg;
	*slot = SLOT + made - 1;
	return OK;
}
void irq_slot_release(uint32_t slot UNUSED) {}

enum status
irqc_msi_open(struct irqc_source *s UNUSED, uint16_t seg UNUSED, uint32_t rid UNUSED,
    uint32_t count UNUSED)
{
	return OK;
}
void irqc_msi_close(struct irqc_source *s UNUSED) {}
enum status
irqc_msi_bind(struct irqc_source *s UNUSED, uint32_t v, uint32_t slot, unsigned cpu UNUSED,
    struct irqc_message *out)
{
	ATF_CHECK_EQ(slot, SLOT + v);
	*out = (struct irqc_message){ 0 };
	return OK;
}
void irqc_msi_unbind(struct irqc_source *s UNUSED, uint32_t v UNUSED, uint32_t slot UNUSED) {}

enum status
object_create(enum object_type type, struct process *payer, struct object **out)
{
	ATF_REQUIRE(type == OBJ_IRQ && made < VECTORS);
	*out = &irqs[made++].obj;
	(*out)->refs = 1;
	(*out)->payer = payer;
	(*out)->type = OBJ_IRQ;
	return OK;
}
void object_put_last(struct object *o) { o->refs--; }

enum status
handle_ref(struct process *p UNUSED, handle_t h, enum object_type type, uint32_t rights UNUSED,
    struct object **out, uint32_t *got UNUSED)
{
	*out = type == OBJ_NOTIFICATION ? &ntfn.obj : &irqs[h].obj;
	object_get(*out);
	return OK;
}
enum status
handle_insert(struct process *p UNUSED, struct object *o UNUSED, uint32_t gen UNUSED,
    uint32_t rights UNUSED, uint64_t badge UNUSED, handle_t *out)
{
	*out = 1;
	return OK;
}
enum status
device_lock(struct thread *t UNUSED, uint64_t h UNUSED, uint32_t r UNUSED, struct device **out)
    NO_THREAD_SAFETY
{
	spin_lock(&d.obj.lock);
	*out = &d;
	return OK;
}
enum status
device_sleep(struct device *x UNUSED, const struct fence *f UNUSED, uint64_t until UNUSED)
{
	atf_tc_fail("it waits");
}
enum status
domain_map_doorbell(struct dma_domain *x UNUSED, struct paddr p UNUSED)
{
	return OK;
}

void
trace_put_hot(enum trace_type type, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t c UNUSED,
    uint64_t e UNUSED)
{
	stale += type == TRACE_INTERRUPT_STALE;
}

/* ---- Scene ---- */

static void
begin(void)
{
	fake_kernel_init(&(struct fake_setup){ 0 });
	memset(hw, 0, sizeof(hw));
	memset(irqs, 0, sizeof(irqs));
	memset(&d, 0, sizeof(d));
	memset(&ntfn, 0, sizeof(ntfn));
	memset(&holder, 0, sizeof(holder));
	memset(&thread, 0, sizeof(thread));
	job = NULL;
	made = 0;
	stale = 0;
	holder.quota.vectors_max = VECTORS;
	thread.proc = &holder;
	ntfn.obj.refs = 1;
	fn = (struct pci_function){ .rid = 8, .msix_count = VECTORS };
	d.obj.refs = 1;
	d.obj.type = OBJ_DEVICE;
	d.state = DEVICE_CLAIMED;
	d.generation = 1;
	d.function_count = 1;
	d.function[0].fn = &fn;
	device_irq_init(&d);
	for (unsigned v = 0; v < VECTORS; v++) {
		struct uregs u = { .w = { 0, v, 0, BIT(v), 0xff } };

		ATF_REQUIRE_EQ(sys_device_irq(&thread, &u), OK);
	}
}

/* The worker's turn, when its job is due; false: there is none, or it is not. */
static bool
work(void)
{
	struct work *w = job;
	uint64_t next;

	if (w == NULL || w->due > fake_now)
		return false;
	job = NULL;
	next = w->step(w);
	if (next != WORK_DONE) {
		ATF_CHECK(job == NULL && next > fake_now);
		w->due = next;
		job = w;
	} else {
		w->due = 0;
	}
	return true;
}

/* As many as its driver leaves untaken. */
static void
hold_back(unsigned v)
{
	for (unsigned i = 0; i <= UNTAKEN_MAX; i++)
		send(v);
}

ATF_TC_WITHOUT_HEAD(a_driver_that_takes_what_it_is_told_is_not_held_back);
ATF_TC_BODY(a_driver_that_takes_what_it_is_told_is_not_held_back, tc)
{
	begin();
	for (unsigned i = 0; i < 10'000; i++) {
		send(0);
		ATF_CHECK_EQ(ntfn.bits, BIT(0));
		/* Sometimes late. */
		if (i % UNTAKEN_MAX == 0)
			ntfn.bits = 0;
	}
	ATF_CHECK(!hw[0].masked && job == NULL && d.irq_holds == 0);
	ATF_CHECK_EQ(irqs[0].count, 10'000);
}

ATF_TC_WITHOUT_HEAD(what_nobody_takes_is_held_back_for_a_while);
ATF_TC_BODY(what_nobody_takes_is_held_back_for_a_while, tc)
{
	uint64_t at;

	begin();
	hold_back(0);
	ATF_CHECK(hw[0].masked && !hw[1].masked);
	ATF_CHECK(fake_logged("held back"));
	ATF_CHECK_EQ(d.obj.refs, 2 + VECTORS);
	send(0);
	ATF_CHECK(hw[0].pending);
	at = fake_now;
	ATF_CHECK(work());			/* not due yet: it says when */
	ATF_CHECK(hw[0].masked && job->due > at && job->due <= at + HOLD_NS);
	fake_now = job->due;
	ATF_CHECK(work());
	/* What came meanwhile came. */
	ATF_CHECK(!hw[0].masked && !hw[0].pending && job == NULL);
	ATF_CHECK_EQ(hw[0].came, UNTAKEN_MAX + 2);
	ATF_CHECK_EQ(d.obj.refs, 1 + VECTORS);
	ATF_CHECK(!d.irq_holding && !irqs[0].held);
}

/* A message each microsecond, of two vectors, for a tenth of a second: those that come through take
 * less than a tenth of it, at a microsecond each. */
ATF_TC_WITHOUT_HEAD(a_storm_comes_through_at_a_bounded_rate);
ATF_TC_BODY(a_storm_comes_through_at_a_bounded_rate, tc)
{
	uint64_t end, began;

	begin();
	began = fake_now;
	for (end = fake_now + 100 * NS_PER_MS; fake_now < end; fake_now += NS_PER_US) {
		send(0);
		(void)work();
	}
	ATF_CHECK_MSG(hw[0].came * 10 * NS_PER_US < end - began, "%llu came",
	    (unsigned long long)hw[0].came);
	ATF_CHECK(hw[0].came > 1000 && d.irq_holds > 100);
	ATF_CHECK_EQ(fake_log_lines(), 1);	/* said once */
}

ATF_TC_WITHOUT_HEAD(what_its_driver_has_masked_stays_masked);
ATF_TC_BODY(what_its_driver_has_masked_stays_masked, tc)
{
	struct uregs mask = { .w = { 0, 1 } }, unmask = { .w = { 0, 0 } };

	begin();
	hold_back(0);
	(void)work();
	ATF_CHECK_EQ(sys_irq_control(&thread, &unmask), OK);	/* no way out */
	ATF_CHECK(hw[0].masked);
	ATF_CHECK_EQ(sys_irq_control(&thread, &mask), OK);
	fake_now = job->due;
	(void)work();
	ATF_CHECK(hw[0].masked && job == NULL);
	ATF_CHECK_EQ(sys_irq_control(&thread, &unmask), OK);
	ATF_CHECK(!hw[0].masked);
}

ATF_TC_WITHOUT_HEAD(nobody_touches_a_function_that_is_reset_or_whose_claim_ends);
ATF_TC_BODY(nobody_touches_a_function_that_is_reset_or_whose_claim_ends, tc)
{
	begin();
	hold_back(0);
	(void)work();
	d.resetting = true;
	fake_now = job->due;
	ATF_CHECK(work() && job != NULL && irqs[0].held);
	hold_back(1);				/* nothing is masked now */
	ATF_CHECK(!hw[1].masked);
	d.resetting = false;
	fake_now = job->due;
	ATF_CHECK(work() && job == NULL && !hw[0].masked);
	hold_back(0);
	(void)work();
	d.state = DEVICE_ENDING;
	fake_now = job->due;
	ATF_CHECK(work() && job == NULL && hw[0].masked);
	ATF_CHECK_EQ(d.obj.refs, 1 + VECTORS);
}

/* D6: on its way since before a reset, or the end. */
ATF_TC_WITHOUT_HEAD(an_interrupt_of_another_generation_tells_nobody);
ATF_TC_BODY(an_interrupt_of_another_generation_tells_nobody, tc)
{
	begin();
	send(1);
	ATF_CHECK(ntfn.bits == BIT(1) && irqs[1].count == 1 && stale == 0);
	ntfn.bits = 0;
	d.generation++;
	for (unsigned i = 0; i < 4 * UNTAKEN_MAX; i++)
		send(1);
	ATF_CHECK(ntfn.bits == 0 && irqs[1].count == 1 && !hw[1].masked && job == NULL);
	ATF_CHECK_EQ(stale, 4 * UNTAKEN_MAX);
	irqs[1].generation = d.generation;	/* put back by the reset */
	send(1);
	ATF_CHECK(ntfn.bits == BIT(1) && irqs[1].count == 2);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_driver_that_takes_what_it_is_told_is_not_held_back);
	ATF_TP_ADD_TC(tp, what_nobody_takes_is_held_back_for_a_while);
	ATF_TP_ADD_TC(tp, a_storm_comes_through_at_a_bounded_rate);
	ATF_TP_ADD_TC(tp, what_its_driver_has_masked_stays_masked);
	ATF_TP_ADD_TC(tp, nobody_touches_a_function_that_is_reset_or_whose_claim_ends);
	ATF_TP_ADD_TC(tp, an_interrupt_of_another_generation_tells_nobody);
	return atf_no_error();
}
