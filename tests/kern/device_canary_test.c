/*
 * kern/device_canary.c: what each kind of unit and device ends in, and in which order the test is
 * left (D7, D8).
 *
 * LINK: kern/device_canary.c kern/dma/fence.c kern/quota.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/device_parts.h"
#include "kern/device_queue.h"
#include "kern/dma/canary.h"
#include "kern/dma/unit.h"
#include "kern/process.h"
#include "kern/thread.h"
#include "tests/lib/fake_kernel.h"

enum { MAPS = 8, ENDPOINT = 8, FUNCTIONS = 2 };

/* ---- A device, its class, its unit ---- */

static struct {
	/* what is wrong with them */
	bool lets_through;		/* what is not mapped goes to memory as it is */
	bool never_translates;		/* everything does */
	bool wrong_place;		/* what is mapped goes to memory as it is */
	bool records_nothing, records_no_address, reads_elsewhere;
	bool writes_nothing, writes_too_much, writes_rubbish;
	unsigned storm;			/* more writes to the first target */
	bool dies;			/* the claim ends during the first store */
	uint64_t record_ns;		/* how late a fault is recorded */
	bool late;			/* the stray write comes when it is told to stop */
	const char *no_stop, *no_start, *no_store;	/* what the class says */
	const char *no_second;		/* the same, of the second store; the first says nothing */
	bool heard;			/* it had an answer */
	bool writes_first, strays;	/* and the device wrote before: where it may; where not */
	bool sync_hangs, detach_hangs, unmap_hangs, busy, reset_fails, map_fails, domain_fails,
	    attach_fails;
	/* what happened */
	bool attached[FUNCTIONS], master[FUNCTIONS];
	struct { uint64_t at, to; bool writes; } map[MAPS];
	unsigned maps, domains, resets, attaches, stores, freed;
	uint64_t issued;
	struct dma_fault fault[80];
	uint64_t fault_at[80];
	unsigned faults, taken, untaken;
} hw;

static struct iommu_unit unit;
static struct pci_function fn[FUNCTIONS];
static struct device d;
static struct process holder;

static void
fault(uint64_t iova)
{
	if (hw.records_nothing)
		return;
	ATF_REQUIRE(hw.faults < ARRAY_SIZE(hw.fault));
	hw.fault[hw.faults] = (struct dma_fault){ .iova = iova,
		.endpoint = ENDPOINT,
		.write = true,
		.kind = FAULT_NOT_MAPPED,
		.address_valid = !hw.records_no_address };
	hw.fault_at[hw.faults++] = fake_now + hw.record_ns;
}

/* Where an access of the device ends; 0: refused. */
static uint64_t
translate(unsigned i, uint64_t iova)
{
	uint64_t page = align_down(iova, PAGE_SIZE), off = iova & PAGE_MASK;

	ATF_CHECK(hw.master[i]);
	if (hw.never_translates)
		return iova;
	for (unsigned k = 0; k < hw.maps && hw.attached[i]; k++)
		if (hw.map[k].at == page && hw.map[k].writes)
			return hw.wrong_place ? iova : hw.map[k].to + off;
	if (hw.lets_through)
		return iova;
	fault(iova);
	return 0;
}

static void
device_writes(unsigned i, uint64_t iova, uint32_t v)
{
	uint64_t pa = translate(i, iova);

	if (pa == 0)
		return;
	ATF_REQUIRE(fake_is_memory(pa, 4));
	*(volatile uint32_t *)((uint8_t *)frame_ptr((struct paddr){ align_down(pa, PAGE_SIZE) }) +
	    (pa & PAGE_MASK)) = v;
}

static uint64_t stray;			/* the first target */

static enum canary_said
said(struct canary *c, const char *no)
{
	c->why = no;
	return no != NULL ? CANARY_NO : CANARY_DONE;
}

static unsigned index_of(struct canary *c);

static enum canary_said
class_stop(struct canary *c, uint64_t now UNUSED)
{
	unsigned i = index_of(c);

	ATF_CHECK(!hw.master[i] || !(hw.storm > 64 || hw.reads_elsewhere || hw.dies));
	if (hw.late && hw.master[i]) {
		hw.late = false;
		hw.lets_through = true;
		device_writes(i, stray, 7);
	}
	return said(c, hw.master[i] || hw.stores == 0 ? hw.no_stop : NULL);
}

static enum canary_said
class_start(struct canary *c, uint64_t now UNUSED)
{
	unsigned i = index_of(c);

	ATF_CHECK(hw.master[i]);
	/* Its queues are where memory has them, whatever the unit does. */
	ATF_CHECK_EQ(frame_of((const void *)c->to_device).v, c->to_device_address);
	ATF_CHECK_EQ(frame_of((const void *)c->from_device).v, c->from_device_address);
	return said(c, hw.no_start);
}

static enum canary_said
class_store(struct canary *c, uint64_t now UNUSED)
{
	unsigned i = index_of(c);

	/* As a device does that takes its time: asked twice. */
	if (c->step++ == 0)
		return CANARY_GOES_ON;
	c->heard = hw.heard;
	if (hw.writes_first)
		device_writes(i, c->spill_address + CANARY_BYTES, 0x11);
	if (hw.strays)
		device_writes(i, c->target, 0x22);
	if (hw.no_store != NULL)
		return said(c, hw.no_store);
	if (hw.no_second != NULL)
		return said(c, hw.stores++ % 2 == 0 ? NULL : hw.no_second);
	if (hw.stores++ % 2 == 0)
		stray = c->target;
	ATF_CHECK_EQ(c->must_succeed, hw.stores % 2 == 0);
	if (hw.writes_nothing)
		return CANARY_DONE;
	if (hw.reads_elsewhere)
		fault(c->target + 64 * PAGE_SIZE);
	for (uint32_t at = CANARY_BYTES; at < PAGE_SIZE; at += 4)
		device_writes(i, c->spill_address + at, 0x11);
	if (hw.late && c->target == stray)
		return CANARY_DONE;
	device_writes(i, c->target, 0x22);
	for (unsigned n = 0; n < hw.storm && c->target == stray; n++)
		device_writes(i, c->target, 0x22);
	if (hw.dies)
		d.state = DEVICE_ENDING;
	if (hw.writes_too_much)
		device_writes(i, c->target + 4, 0x33);
	return CANARY_DONE;
}

static const char *
class_judge(const struct canary *c UNUSED, const volatile uint8_t *spill)
{
	return spill[CANARY_BYTES] != 0x11 || hw.writes_rubbish ? "rubbish" : NULL;
}

static const struct canary_class class = { .class_code = 0x123456,
	.class_mask = 0xffffff,
	.bytes = CANARY_BYTES,
	.stop = class_stop,
	.start = class_start,
	.store = class_store,
	.judge = class_judge };
const struct canary_class *const canary_classes[] = { &class, NULL };

/* ---- The unit ---- */

static struct iommu_ticket ticket(void) { return (struct iommu_ticket){ ++hw.issued }; }

static enum status
unit_domain_init(struct iommu_domain *io)
{
	if (hw.domain_fails)
		return E_NO_MEMORY;
	ATF_CHECK(quota_take_pages(io->quota, 5) == OK);
	hw.domains++;
	return OK;
}

static void
unit_domain_fini(struct iommu_domain *io UNUSED)
{
	ATF_CHECK(hw.maps == 0 && !hw.attached[0] && !hw.attached[1]);
	hw.domains--;
}

static enum status
unit_attach(struct iommu_domain *io UNUSED, uint32_t endpoint)
{
	if (hw.attach_fails)
		return E_REFUSED;
	hw.attached[endpoint - ENDPOINT] = true;
	hw.attaches++;
	return OK;
}

static struct iommu_ticket
unit_detach(struct iommu_domain *io UNUSED, uint32_t endpoint)
{
	ATF_CHECK(!hw.master[endpoint - ENDPOINT]);
	hw.attached[endpoint - ENDPOINT] = false;
	return hw.detach_hangs ? (struct iommu_ticket){ UINT64_MAX } : ticket();
}

static enum status
unit_map(struct iommu_domain *io UNUSED, struct iova at, struct paddr to, uint64_t len,
    enum iommu_rights rights)
{
	ATF_CHECK_EQ(len, PAGE_SIZE);
	ATF_CHECK(rights == IOMMU_READ || rights == IOMMU_WRITE);
	if (hw.map_fails && hw.maps == 2)
		return E_NO_MEMORY;
	hw.map[hw.maps].at = at.v;
	hw.map[hw.maps].to = to.v;
	hw.map[hw.maps++].writes = rights == IOMMU_WRITE;
	return OK;
}

static struct iommu_ticket
unit_sync(struct iommu_domain *io UNUSED)
{
	return hw.sync_hangs ? (struct iommu_ticket){ UINT64_MAX } : ticket();
}

static struct iommu_ticket
unit_unmap(struct iommu_domain *io UNUSED, struct iova at, uint64_t len UNUSED)
{
	ATF_CHECK(!hw.attached[0] && !hw.attached[1]);
	for (unsigned k = 0; k < hw.maps; k++)
		if (hw.map[k].at == at.v) {
			hw.map[k] = hw.map[--hw.maps];
			return hw.unmap_hangs ? (struct iommu_ticket){ UINT64_MAX } : ticket();
		}
	atf_tc_fail("it unmaps what is not mapped");
}

static enum status
unit_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	return u->broken ? E_QUARANTINED : t.seq == UINT64_MAX ? E_WOULD_BLOCK : OK;
}

static const struct iommu_ops ops = {
	.domain_init = unit_domain_init,
	.domain_fini = unit_domain_fini,
	.attach = unit_attach,
	.detach = unit_detach,
	.map = unit_map,
	.sync = unit_sync,
	.unmap = unit_unmap,
	.ticket_poll = unit_poll,
};

void
unit_drain(struct iommu_unit *u UNUSED)
{
	while (hw.taken < hw.faults && hw.fault_at[hw.taken] <= fake_now) {
		/* All of them are the test's: none reaches an owner, a counter or the log. */
		if (!device_canary_fault(
			&fn[hw.fault[hw.taken].endpoint - ENDPOINT], &hw.fault[hw.taken]))
			hw.untaken++;
		hw.taken++;
	}
}

struct iommu_unit *iommu_by_index(uint32_t i) { return i == 0 ? &unit : NULL; }

/* ---- The function ---- */

static unsigned
index_of(struct canary *c)
{
	(void)c->io.read(c->io.arg, 0, 4);	/* the class's way to registers works */
	return fn[0].canary == CANARY_NOT_RUN ? 0 : 1;
}

void pci_decode(struct pci_function *f UNUSED) {}
void
pci_bus_master(struct pci_function *f, bool on)
{
	hw.master[f - fn] = on;
	ATF_CHECK(!on || hw.attached[f - fn]);
}
bool pci_idle(const struct pci_function *f) { ATF_CHECK(!hw.master[f - fn]); return !hw.busy; }
uint64_t
pci_bar_mappable(const struct pci_function *f UNUSED, unsigned bar UNUSED)
{
	return PAGE_SIZE;
}

uint64_t
pci_reset_step(struct pci_function *f, uint32_t *state)
{
	ATF_CHECK(!hw.master[f - fn] && !hw.attached[f - fn]);
	if ((*state)++ == 0)
		return fake_now + 100 * NS_PER_MS;
	if (hw.reset_fails)
		return UINT64_MAX;
	hw.resets++;
	return 0;
}

static uint64_t
read_register(void *arg UNUSED, uint32_t reg UNUSED, unsigned width UNUSED)
{
	return 0;
}

struct xlate_source
device_source(struct pci_function *f)
{
	return (struct xlate_source){ .read = read_register, .arg = f };
}

static uint64_t registers[PAGE_SIZE / 8];
volatile uint8_t *
device_regs(struct pci_function *f, unsigned bar UNUSED)
{
	return f->regs[0] = (volatile uint8_t *)registers;
}

/* Pages go when the function was reset and nothing is under way. */
static void
freed(void *arg UNUSED, uint64_t pa UNUSED, unsigned order)
{
	if (order == 0)
		return;
	hw.freed++;
	ATF_CHECK(
	    !hw.attached[0] && !hw.attached[1] && hw.maps == 0 && !hw.master[0] && !hw.master[1]);
	ATF_CHECK(hw.attaches == 0 || hw.resets == hw.freed);
}

/* ---- The rest of the kernel ---- */

struct cpu fake_cpu;
struct spinlock device_claim_lock = SPINLOCK_INIT(RANK_CLAIM);
static bool queued, woken;
static enum status woken_with;
static unsigned steps;

void worker_add(struct work *w) { ATF_CHECK(w == &d.work); queued = true; }
void object_put_last(struct object *o) { o->refs--; }
void device_wake(struct thread **slot UNUSED, enum status s) { woken = true; woken_with = s; }
void
trace_put(enum trace_type type UNUSED, uint64_t a, uint64_t b, uint64_t c UNUSED, uint64_t e UNUSED)
{
	ATF_CHECK(!fake_is_memory(a, 1) && !fake_is_memory(b, 1));	/* D3 */
}

enum status
device_wait(
    struct device *dev UNUSED, struct thread **slot UNUSED, uint64_t deadline) NO_THREAD_SAFETY
{
	spin_unlock(&d.obj.lock);
	while (!woken) {
		uint64_t before = fake_now, next;

		if (fake_now > deadline)
			return E_TIMED_OUT;
		if (++steps > 100'000)
			atf_tc_fail("it never ends");
		next = device_canary_step(&d);
		ATF_REQUIRE(fake_now - before < 100 * NS_PER_US);	/* no step waits */
		fake_now = min_u64(
		    max_u64(fake_now, next), deadline == DEADLINE_NEVER ? deadline : deadline + 1);
	}
	return woken_with;
}

static void
begin(unsigned functions)
{
	fake_kernel_init(&(struct fake_setup){ 0 });
	memset(&hw, 0, sizeof(hw));
	memset(fn, 0, sizeof(fn));
	memset(&d, 0, sizeof(d));
	memset(&holder, 0, sizeof(holder));
	fake_hooks.freed = freed;
	queued = woken = false;
	steps = 0;
	holder.quota.pages_max = 64;
	unit = (struct iommu_unit){ .ops = &ops, .facts = { .iova_bits = 39, .fault_log = true } };
	d.obj.refs = 1;
	d.holder = &holder;
	d.state = DEVICE_CLAIMED;
	d.function_count = (uint16_t)functions;
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		fn[i] = (struct pci_function){ .rid = (uint16_t)(8 + i),
			.class_code = 0x123456,
			.unit = 0,
			.endpoint = ENDPOINT + i,
			.claimed = &d };
		d.function[i].fn = &fn[i];
		device_canary_find(&fn[i]);
	}
}

/* The test, from an empty machine; everything is as before, but for what stays in quarantine. */
static enum status
run(bool quarantined)
{
	enum status s = device_canary_run(&d, DEADLINE_NEVER);

	ATF_CHECK(queued && d.canary == NULL);
	ATF_CHECK_EQ(d.obj.refs, 1);
	ATF_CHECK(!hw.master[0] && !hw.attached[0]);
	ATF_CHECK_EQ(hw.untaken, 0);
	ATF_CHECK_EQ(fn[0].never, quarantined);
	ATF_CHECK_EQ(fake_frames(FRAME_QUARANTINED), quarantined ? 8 : 0);
	ATF_CHECK_EQ(hw.domains, quarantined);
	ATF_CHECK_EQ(holder.quota.pages != 0, quarantined);
	ATF_CHECK_EQ(fake_frames(FRAME_KERNEL), quarantined);
	return s;
}

static void
ends_in(enum lane_canary result, const char *why)
{
	ATF_CHECK_EQ_MSG(fn[0].canary, result, "%u, not %u", fn[0].canary, result);
	ATF_CHECK_STREQ(fn[0].canary_why ?: "", why);
	ATF_CHECK(!device_canary_pending(&fn[0]));
	ATF_CHECK(!fake_logged("0x"));		/* D3 */
}

#define CASE(result, why, quarantined, ...) do { \
	begin(1); \
	__VA_ARGS__; \
	ATF_CHECK_EQ(run(quarantined), OK); \
	ends_in(result, why); \
} while (0)

#define STRAY_ARRIVED \
	"its accesses bypass its IOMMU: a write to an address that is not mapped arrived in memory"

ATF_TC_WITHOUT_HEAD(a_unit_that_translates_and_records_is_validated);
ATF_TC_BODY(a_unit_that_translates_and_records_is_validated, tc)
{
	CASE(CANARY_PASSED, "", false, (void)0);
	ATF_CHECK(hw.stores == 2 && hw.faults == 1 && hw.resets == 1);
	CASE(CANARY_PASSED, "", false, hw.record_ns = 50 * NS_PER_MS);
}

ATF_TC_WITHOUT_HEAD(a_fault_that_is_not_recorded_is_silent);
ATF_TC_BODY(a_fault_that_is_not_recorded_is_silent, tc)
{
	CASE(CANARY_SILENT, "", false, hw.records_nothing = true);
	CASE(CANARY_SILENT, "", false, (hw.records_nothing = true, unit.facts.fault_log = false));
	/* A log that did not work at probe is not believed now. */
	CASE(CANARY_SILENT, "", false, unit.facts.fault_log = false);
	CASE(CANARY_SILENT, "", false, hw.record_ns = NS_PER_S);
	/* Without its address a fault may be any. */
	CASE(CANARY_SILENT, "", false, hw.records_no_address = true);
}

ATF_TC_WITHOUT_HEAD(a_bypass_is_caught_and_harms_nothing);
ATF_TC_BODY(a_bypass_is_caught_and_harms_nothing, tc)
{
	CASE(CANARY_FAILED, STRAY_ARRIVED, false, hw.never_translates = true);
	ATF_CHECK_EQ(hw.stores, 1);	/* no more is asked of it */
	CASE(CANARY_FAILED, STRAY_ARRIVED, false, hw.lets_through = true);
	CASE(CANARY_FAILED,
	    "its accesses bypass its IOMMU: a write arrived at the address itself, not where it is mapped",
	    false, hw.wrong_place = true);
	CASE(CANARY_FAILED, STRAY_ARRIVED, false, hw.late = true);
}

ATF_TC_WITHOUT_HEAD(a_device_that_does_not_write_what_it_says_is_named);
ATF_TC_BODY(a_device_that_does_not_write_what_it_says_is_named, tc)
{
	CASE(CANARY_FAILED, "a write that was granted did not arrive", false,
	    hw.writes_nothing = true);
	CASE(
	    CANARY_FAILED, "more arrived than was to be written", false, hw.writes_too_much = true);
	CASE(CANARY_FAILED, "rubbish", false, hw.writes_rubbish = true);
	CASE(CANARY_FAILED, "it reached for an address that it was not told of", false,
	    hw.reads_elsewhere = true);
}

ATF_TC_WITHOUT_HEAD(what_the_class_says_no_to_is_the_reason);
ATF_TC_BODY(what_the_class_says_no_to_is_the_reason, tc)
{
	CASE(CANARY_FAILED, "it does not stop", false, hw.no_stop = "it does not stop");
	CASE(CANARY_FAILED, "it does not start", false, hw.no_start = "it does not start");
	CASE(CANARY_FAILED, "it lies", false, (hw.no_store = "it lies", hw.heard = true));
	/* The first thing decides. */
	CASE(CANARY_FAILED, "it lies", false,
	    (hw.no_store = "it lies", hw.heard = true, hw.records_nothing = true, hw.late = true));
}

/* Its accesses are looked up by another id, which is blocked: nothing gets through, and where the
 * unit keeps no log nobody says why.  What the class missed stays in the log. */
#define UNHEARD \
	"nothing of it arrives through its IOMMU: it makes no access, or the unit takes it for another device"

ATF_TC_WITHOUT_HEAD(a_device_that_its_unit_takes_for_another_is_named);
ATF_TC_BODY(a_device_that_its_unit_takes_for_another_is_named, tc)
{
	CASE(CANARY_FAILED, UNHEARD, false, hw.no_store = "it hangs");
	ATF_CHECK(fake_logged("live test: it hangs"));
	CASE(CANARY_FAILED, UNHEARD, false, hw.no_second = "it hangs");
	ATF_CHECK(fake_logged("live test: it hangs"));
	/* It was heard, or seen in memory, or its faults are known: that is not it. */
	CASE(CANARY_FAILED, "it hangs", false, (hw.no_second = "it hangs", hw.heard = true));
	CASE(CANARY_FAILED, "it hangs", false, (hw.no_store = "it hangs", hw.writes_first = true));
	CASE(CANARY_FAILED, "it hangs", false, (hw.no_second = "it hangs", hw.writes_first = true));
	CASE(CANARY_FAILED, "it hangs", false, (hw.no_second = "it hangs", hw.strays = true));
}

ATF_TC_WITHOUT_HEAD(what_faults_say_ends_it_at_once);
ATF_TC_BODY(what_faults_say_ends_it_at_once, tc)
{
	CASE(CANARY_PASSED, "", false, hw.storm = 63);
	CASE(CANARY_FAILED, "it does not cease to reach for what is not mapped", false,
	    hw.storm = 70);
	ATF_CHECK_EQ(hw.stores, 1);	/* no more is asked of it, and it masters no more */
}

/* No verdict: whoever claims next has it made again. */
ATF_TC_WITHOUT_HEAD(the_end_of_the_claim_ends_it);
ATF_TC_BODY(the_end_of_the_claim_ends_it, tc)
{
	begin(1);
	hw.dies = true;
	ATF_CHECK_EQ(run(false), E_STALE);
	ATF_CHECK_EQ(hw.stores, 1);
	ATF_CHECK(device_canary_pending(&fn[0]));
}

/* D8: what could not be confirmed is never used again, and the device is nobody's. */
ATF_TC_WITHOUT_HEAD(what_cannot_be_confirmed_is_quarantined);
ATF_TC_BODY(what_cannot_be_confirmed_is_quarantined, tc)
{
	CASE(CANARY_FAILED, "its IOMMU did not put a mapping into force", true,
	    hw.sync_hangs = true);
	ATF_CHECK_EQ(hw.stores, 0);
	CASE(CANARY_FAILED, "its transactions stayed pending", true, hw.busy = true);
	CASE(CANARY_FAILED, "its IOMMU did not confirm that it is blocked", true,
	    hw.detach_hangs = true);
	CASE(CANARY_FAILED, "its IOMMU did not confirm that memory is out of reach", true,
	    hw.unmap_hangs = true);
	CASE(CANARY_FAILED, "its reset did not work", true, hw.reset_fails = true);
	/* Also when it had failed already. */
	CASE(CANARY_FAILED, STRAY_ARRIVED, true,
	    (hw.never_translates = true, hw.reset_fails = true));
}

/* D13: an error code, and the test is still to come. */
ATF_TC_WITHOUT_HEAD(what_runs_out_is_no_verdict);
ATF_TC_BODY(what_runs_out_is_no_verdict, tc)
{
	for (int64_t after = 0; after < 2; after++) {
		begin(1);
		fake_fail_alloc(after);
		if (after == 0) {
			ATF_CHECK_EQ(device_canary_run(&d, DEADLINE_NEVER), E_NO_MEMORY);
			ATF_CHECK_EQ(holder.quota.pages, 0);
		} else {
			ATF_CHECK_EQ(run(false), E_NO_MEMORY);
		}
		ATF_CHECK(device_canary_pending(&fn[0]));
	}
	begin(1);
	holder.quota.pages_max = 8;
	ATF_CHECK_EQ(device_canary_run(&d, DEADLINE_NEVER), E_QUOTA);
	begin(1);
	hw.domain_fails = true;
	ATF_CHECK_EQ(run(false), E_NO_MEMORY);
	begin(1);
	hw.attach_fails = true;
	ATF_CHECK_EQ(run(false), E_REFUSED);
	ATF_CHECK(device_canary_pending(&fn[0]));
	begin(1);
	hw.map_fails = true;
	ATF_CHECK_EQ(run(false), E_NO_MEMORY);
	ATF_CHECK(device_canary_pending(&fn[0]));
	/* No page has an address that the unit takes. */
	begin(1);
	unit.facts.iova_bits = 20;
	ATF_CHECK_EQ(run(false), E_RANGE);
	begin(1);
	unit.facts.hole[0].base = 0;
	unit.facts.hole[0].len = 1ull << 38;
	unit.facts.holes = 1;
	ATF_CHECK_EQ(run(false), E_RANGE);
	ATF_CHECK_EQ(hw.attaches, 0);
}

ATF_TC_WITHOUT_HEAD(each_function_of_a_group_is_tested);
ATF_TC_BODY(each_function_of_a_group_is_tested, tc)
{
	begin(2);
	fn[1].endpoint = ENDPOINT + 1;
	hw.records_nothing = true;
	ATF_CHECK_EQ(run(false), OK);
	ATF_CHECK_EQ(fn[0].canary, CANARY_SILENT);
	ATF_CHECK_EQ(fn[1].canary, CANARY_SILENT);
	ATF_CHECK_EQ(hw.stores, 4);
	ATF_CHECK_EQ(hw.resets, 2);
}

/* Who claims may give up: the test goes on, and its end is the claim's to wait for. */
ATF_TC_WITHOUT_HEAD(it_outlives_who_asked_for_it);
ATF_TC_BODY(it_outlives_who_asked_for_it, tc)
{
	uint64_t next;

	begin(1);
	ATF_CHECK_EQ(device_canary_run(&d, fake_now + NS_PER_MS), E_TIMED_OUT);
	ATF_CHECK(d.canary != NULL);
	ATF_CHECK_EQ(d.obj.refs, 2);
	/* Brought forward: a function that is being reset is left alone. */
	next = device_canary_step(&d);
	ATF_CHECK(next > fake_now + NS_PER_MS);
	ATF_CHECK_EQ(device_canary_step(&d), next);
	while (d.canary != NULL) {
		next = device_canary_step(&d);
		fake_now = max_u64(fake_now, next);
	}
	ATF_CHECK_EQ(fn[0].canary, CANARY_PASSED);
	ATF_CHECK_EQ(d.obj.refs, 1);
	ATF_CHECK(
	    !device_canary_fault(&fn[0], &hw.fault[0])); /* from now on faults are its owner's */
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_unit_that_translates_and_records_is_validated);
	ATF_TP_ADD_TC(tp, a_fault_that_is_not_recorded_is_silent);
	ATF_TP_ADD_TC(tp, a_bypass_is_caught_and_harms_nothing);
	ATF_TP_ADD_TC(tp, a_device_that_does_not_write_what_it_says_is_named);
	ATF_TP_ADD_TC(tp, what_the_class_says_no_to_is_the_reason);
	ATF_TP_ADD_TC(tp, a_device_that_its_unit_takes_for_another_is_named);
	ATF_TP_ADD_TC(tp, what_faults_say_ends_it_at_once);
	ATF_TP_ADD_TC(tp, the_end_of_the_claim_ends_it);
	ATF_TP_ADD_TC(tp, what_cannot_be_confirmed_is_quarantined);
	ATF_TP_ADD_TC(tp, what_runs_out_is_no_verdict);
	ATF_TP_ADD_TC(tp, each_function_of_a_group_is_tested);
	ATF_TP_ADD_TC(tp, it_outlives_who_asked_for_it);
	return atf_no_error();
}
