/*
 * kern/device_irq.c: a claim's interrupts have a budget on each CPU, whoever takes them; what is
 * above it is held back, nothing is lost; a device that sends what is masked is shut off; and an
 * interrupt of before a reset tells nobody.
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

enum { VECTORS = 3, SLOT = 40 };
enum : uint64_t { COST_NS = 12'500 };	/* 80 in a millisecond */
enum : uint32_t { BURST = 16, DEFIED_MAX = 64 };

static struct process holder;
static struct thread thread;
static struct pci_function fn;
static struct device d;
static struct irq irqs[VECTORS];
static struct notification ntfn;
static unsigned made;			/* interrupt objects */

/* The hardware: each vector's mask, and what waits behind it. */
static struct {
	bool masked, pending, coming, routed;
	irq_fn *fire;
	void *arg;
	uint64_t came;
} hw[VECTORS];
static struct work *job;
static uint32_t stale;
static bool off;			/* the device was shut off */
static bool takes;			/* the driver takes each at once */

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
	if (takes)
		ntfn.bits = 0;
}

void
pci_msix_mask(struct pci_function *f, uint32_t v, bool masked)
{
	ATF_REQUIRE(f == &fn && v < VECTORS);
	ATF_CHECK_MSG(!d.resetting, "somebody touches a function that is being reset");
	hw[v].masked = masked;
	/* What waited comes when the lock is free; its handler may mask again. */
	if (!masked && hw[v].pending) {
		hw[v].pending = false;
		hw[v].coming = true;
	}
}

void
device_shut_off(struct device *x)
{
	ATF_CHECK(x == &d && !off);
	x->shut_off = off = true;
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

void worker_add(struct work *w) { ATF_CHECK(job == NULL || job == w); job = w; w->due = 0; }

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
	hw[v].routed = true;
	return OK;
}
void
irqc_msi_unbind(struct irqc_source *s UNUSED, uint32_t v, uint32_t slot)
{
	ATF_CHECK(slot == SLOT + v && hw[v].routed);
	hw[v].routed = false;
}

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
	off = takes = false;
	fake_cpu.id = 0;
	fake_now += NS_PER_S;
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
	for (unsigned v = 0; v < VECTORS; v++)
		if (hw[v].coming) {
			hw[v].coming = false;
			send(v);
		}
	return true;
}

/* As many as may come at once, and those before are not paid for: the last is held. */
static void
hold_back(unsigned v)
{
	for (unsigned i = 0; i < 2 * BURST && !hw[v].masked; i++)
		send(v);
	ATF_CHECK(d.resetting || hw[v].masked);
}

ATF_TC_WITHOUT_HEAD(eighty_in_a_millisecond_are_not_held_back);
ATF_TC_BODY(eighty_in_a_millisecond_are_not_held_back, tc)
{
	/* Taken or not: it is their number that costs. */
	for (unsigned i = 0; i < 2; i++) {
		begin();
		takes = i == 0;
		for (unsigned n = 0; n < 10'000; n++, fake_now += COST_NS)
			send(0);
		ATF_CHECK(!hw[0].masked && job == NULL && d.irq_holds == 0);
		ATF_CHECK_EQ(irqs[0].count, 10'000);
	}
	/* Nor are bursts with pauses between them. */
	begin();
	for (unsigned n = 0; n < 1000; n++, fake_now += BURST * COST_NS)
		for (unsigned k = 0; k < BURST - 1; k++)
			send(0);
	ATF_CHECK(d.irq_holds == 0 && irqs[0].count == 1000 * (BURST - 1));
}

ATF_TC_WITHOUT_HEAD(what_is_above_the_budget_is_held_until_it_is_paid_for);
ATF_TC_BODY(what_is_above_the_budget_is_held_until_it_is_paid_for, tc)
{
	uint64_t at;

	begin();
	takes = true;
	for (unsigned n = 0; n < BURST; n++)	/* they have paid since the machine began */
		send(0);
	at = fake_now;
	for (unsigned n = 1; n < BURST; n++) {
		ATF_CHECK(!hw[0].masked);
		send(0);
	}
	ATF_CHECK(hw[0].masked && !hw[1].masked);
	ATF_CHECK(fake_logged("more than 80 interrupts in a millisecond: held back"));
	ATF_CHECK_EQ(d.obj.refs, 2 + VECTORS);
	send(0);
	ATF_CHECK(hw[0].pending);
	ATF_CHECK(work());			/* not due yet: it says when */
	ATF_CHECK(hw[0].masked);
	ATF_CHECK_EQ(job->due, at + BURST * COST_NS);
	fake_now = job->due;
	ATF_CHECK(work());
	/* What came meanwhile came, once, and more may follow. */
	ATF_CHECK(!hw[0].masked && !hw[0].pending && job == NULL);
	ATF_CHECK_EQ(hw[0].came, 2 * BURST);
	ATF_CHECK_EQ(d.obj.refs, 1 + VECTORS);
	ATF_CHECK(!d.irq_holding && !irqs[0].held);
	for (unsigned n = 2; n < BURST; n++)
		send(0);
	ATF_CHECK(!hw[0].masked);
	ATF_CHECK_EQ(d.irq_holds, 1);
}

/* A message each microsecond for a tenth of a second: how many come through, of all vectors. */
static uint64_t
storm(unsigned vectors, unsigned on_cpus)
{
	uint64_t end, n = 0;

	for (end = fake_now + 100 * NS_PER_MS; fake_now < end; fake_now += NS_PER_US) {
		for (unsigned v = 0; v < vectors; v++) {
			fake_cpu.id = v % on_cpus;
			send(v);
		}
		(void)work();
	}
	ATF_CHECK(d.irq_holds > 100);
	ATF_CHECK_EQ(fake_log_lines(), 1);	/* said once */
	for (unsigned v = 0; v < vectors; v++)
		n += hw[v].came;
	return n;
}

/* At a microsecond each that is a tenth of the CPU, and the first burst. */
ATF_TC_WITHOUT_HEAD(a_storm_comes_through_at_a_bounded_rate);
ATF_TC_BODY(a_storm_comes_through_at_a_bounded_rate, tc)
{
	enum { PAID = 100 * NS_PER_MS / COST_NS };
	uint64_t n;

	for (unsigned i = 0; i < 2; i++) {
		begin();
		takes = i == 0;
		n = storm(1, 1);
		ATF_CHECK_MSG(n <= PAID + 2 * BURST && n > PAID * 9 / 10, "%llu",
		    (unsigned long long)n);
	}
	/* Of many vectors no more, where they go to the same CPU. */
	begin();
	takes = true;
	n = storm(VECTORS, 1);
	ATF_CHECK_MSG(n <= PAID + 2 * BURST && n > PAID / 2, "%llu", (unsigned long long)n);
	for (unsigned v = 0; v < VECTORS; v++)	/* and none of them starves */
		ATF_CHECK_MSG(hw[v].came > PAID / 50, "%u: %llu", v,
		    (unsigned long long)hw[v].came);
	/* Each CPU has its own. */
	begin();
	takes = true;
	n = storm(2, 2);
	ATF_CHECK_MSG(n <= 2 * (PAID + 2 * BURST) && n > 2 * PAID * 9 / 10, "%llu",
	    (unsigned long long)n);
}

/* Masks are the device's to obey.  Those that were on their way are no defiance. */
ATF_TC_WITHOUT_HEAD(a_device_that_sends_what_is_masked_is_shut_off);
ATF_TC_BODY(a_device_that_sends_what_is_masked_is_shut_off, tc)
{
	uint64_t at;

	begin();
	takes = true;
	hold_back(0);
	(void)work();
	at = d.irq_budget[0].began;
	for (unsigned n = 1; n < DEFIED_MAX; n++)
		hw[0].fire(hw[0].arg);
	fake_now = job->due;
	(void)work();
	ATF_CHECK(!off && hw[0].routed);
	/* They count for the budget. */
	ATF_CHECK(hw[0].masked);
	ATF_CHECK_EQ(job->due, at + (BURST + DEFIED_MAX - 1) * COST_NS);
	hw[0].fire(hw[0].arg);
	(void)work();
	ATF_CHECK(off && d.shut_off && fake_logged("it sends interrupts that are masked: shut off"));
	for (unsigned v = 0; v < VECTORS; v++)
		ATF_CHECK(!hw[v].routed);
	ATF_CHECK(list_empty(&d.irqs) && job == NULL && !d.irq_holding);
	ATF_CHECK_EQ(d.obj.refs, 1 + VECTORS);
	for (unsigned n = 0; n < 4 * DEFIED_MAX; n++)	/* still on their way */
		hw[0].fire(hw[0].arg);
	ATF_CHECK(job == NULL);
	/* A hold that ended well is forgotten. */
	begin();
	takes = true;
	for (unsigned k = 0; k < 3; k++) {
		hold_back(0);
		for (unsigned n = 2; n < DEFIED_MAX; n++)
			hw[0].fire(hw[0].arg);
		while (job != NULL) {
			fake_now += NS_PER_MS / 100;
			(void)work();
		}
	}
	ATF_CHECK(!off && !hw[0].masked);
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
	for (unsigned i = 0; i < 4 * BURST; i++)
		send(1);
	ATF_CHECK(ntfn.bits == 0 && irqs[1].count == 1 && !hw[1].masked && job == NULL);
	ATF_CHECK_EQ(stale, 4 * BURST);
	irqs[1].generation = d.generation;	/* put back by the reset */
	send(1);
	ATF_CHECK(ntfn.bits == BIT(1) && irqs[1].count == 2);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, eighty_in_a_millisecond_are_not_held_back);
	ATF_TP_ADD_TC(tp, what_is_above_the_budget_is_held_until_it_is_paid_for);
	ATF_TP_ADD_TC(tp, a_storm_comes_through_at_a_bounded_rate);
	ATF_TP_ADD_TC(tp, a_device_that_sends_what_is_masked_is_shut_off);
	ATF_TP_ADD_TC(tp, what_its_driver_has_masked_stays_masked);
	ATF_TP_ADD_TC(tp, nobody_touches_a_function_that_is_reset_or_whose_claim_ends);
	ATF_TP_ADD_TC(tp, an_interrupt_of_another_generation_tells_nobody);
	return atf_no_error();
}
