/*
 * kern/dma/unit.c: from a unit's fault log to the counters of devices.
 *
 * LINK: kern/dma/unit.c
 */
#include <atf-c.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "kern/base/bits.h"
#include "kern/device.h"
#include "kern/dma/unit.h"
#include "kern/log.h"
#include "kern/md/clock.h"
#include "kern/machine/machine.h"
#include "kern/trace.h"
#include "kern/worker.h"

/* ---- What unit.c needs ---- */

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_count;

static unsigned probed;
static enum status
probe(const struct machine *m UNUSED, uint32_t i)
{
	probed |= 1u << i;
	return OK;
}

static const struct iommu_driver driver = { .kind = 3, .probe = probe };
const struct iommu_driver *const iommu_drivers[] = { &driver, NULL };


static struct work *job;
static unsigned told, lost_counted, lost_told;
static uint64_t counted[4];

static uint64_t now = 1000;
uint64_t clock_now(void) { return now; }
void lock_wait(void) {}

void
trace_put(enum trace_type type UNUSED, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t c UNUSED,
    uint64_t d UNUSED)
{
}

void worker_add(struct work *w) { job = w; }
void pci_bus_master(struct pci_function *f, bool on) { f->master = on; }
void log_write(enum log_level l, const char *format, ...) { (void)l; (void)format; }

static struct pci_function *tested;	/* a live test is made of it */
static unsigned test_told;

bool
device_canary_fault(struct pci_function *f, const struct dma_fault *fault UNUSED)
{
	test_told += f == tested;
	return f == tested;
}

uint32_t
device_fault_count(struct pci_function *f)
{
	counted[f - pci_functions]++;
	return ++f->faults;
}

void device_fault_tell(struct pci_function *f, uint32_t n) { (void)f; told += n != 0; }
void device_faults_lost_count(uint32_t unit) { lost_counted += unit == 3; }
void device_faults_lost_tell(uint32_t unit) { lost_told += unit == 3; }

/* ---- A unit whose log is a number of records of one endpoint ---- */

static struct {
	uint32_t records, endpoint;
	bool lost, half, endless, syncs, past;
	unsigned drains;
	void (*meanwhile)(void);	/* records are out of the log, and not counted */
} hw;

static uint32_t
drain(struct iommu_unit *u UNUSED, struct dma_fault *out, uint32_t max, bool *lost)
{
	uint32_t n = hw.half ? 0 : (uint32_t)min_u64(hw.records, max);

	hw.drains++;
	for (uint32_t i = 0; i < n; i++)
		out[i] = (struct dma_fault){ .endpoint = hw.endpoint, .iova = 0x5000 };
	hw.records -= hw.endless ? 0 : n;
	*lost = hw.lost;
	hw.lost = false;
	if (n != 0 && hw.meanwhile != NULL)
		hw.meanwhile();
	return n;
}

static bool
quiet(struct iommu_unit *u UNUSED, bool all, struct iommu_ticket *t)
{
	*t = (struct iommu_ticket){ hw.syncs && all ? 7 : 0 };
	return (!hw.syncs || hw.past || !all) && hw.records == 0 && !hw.lost;
}

static enum status
ticket_poll(struct iommu_unit *u, struct iommu_ticket t)
{
	ATF_REQUIRE_EQ(t.seq, 7);
	return u->broken ? E_QUARANTINED : hw.past ? OK : E_WOULD_BLOCK;
}

static const struct iommu_ops ops = {
	.drain_faults = drain, .quiet = quiet, .ticket_poll = ticket_poll
};
static struct iommu_unit polled = { .ops = &ops, .index = 2, .name = "u2" };
static struct iommu_unit unit = {
	.ops = &ops, .index = 3, .name = "u3", .facts = { .fault_interrupt = true }
};
static struct iommu_unit none = { .ops = &ops, .index = 4, .name = "none" };
static struct iommu_ticket ticket;

static void
begin(void)
{
	static const struct pci_function f[] = {
		{ .unit = 3, .endpoint = 0x10 },
		{ .unit = 3, .endpoint = 0x18 },
		{ .unit = 2, .endpoint = 0x10 },
	};

	memcpy(pci_functions, f, sizeof(f));
	pci_count = ARRAY_SIZE(f);
	ATF_REQUIRE_EQ(iommu_register(&polled), OK);
	ATF_REQUIRE_EQ(iommu_register(&unit), OK);
	hw.endpoint = 0x18;
}

ATF_TC_WITHOUT_HEAD(a_look_counts_what_the_log_holds_for_whom_it_is);
ATF_TC_BODY(a_look_counts_what_the_log_holds_for_whom_it_is, tc)
{
	begin();
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	ATF_CHECK_EQ(hw.drains, 0);		/* nothing there: nothing was taken */
	hw.records = 3;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	ATF_CHECK_EQ(counted[0], 0);
	ATF_CHECK_EQ(counted[1], 3);
	ATF_CHECK_EQ(counted[2], 0);
	ATF_CHECK_EQ(told, 1);		/* once for a batch */
	ATF_CHECK_EQ(unit.counters.faults, 3);
	ATF_CHECK_EQ(unit_last_fault(&unit)->fault.iova, 0x5000);
	hw.records = 1;
	hw.endpoint = 0x10;
	ATF_CHECK_EQ(unit_look(&polled, true, &ticket), OK);
	ATF_CHECK_EQ(counted[2], 1);
	ATF_CHECK_EQ(counted[0], 0);
	hw.records = 1;
	ATF_CHECK_EQ(unit_look(&none, true, &ticket), OK);	/* no IOMMU: never registered */
	ATF_CHECK_EQ(hw.records, 1);
}

/* A log that looks empty says nothing before the unit's sync is past. */
ATF_TC_WITHOUT_HEAD(a_look_is_not_done_before_the_units_sync);
ATF_TC_BODY(a_look_is_not_done_before_the_units_sync, tc)
{
	begin();
	hw.syncs = true;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), E_WOULD_BLOCK);
	ATF_CHECK_EQ(ticket.seq, 7);
	ATF_CHECK_EQ(hw.drains, 0);
	ATF_CHECK_EQ(
	    unit_look(&unit, false, &ticket), OK); /* who does not ask for all does not wait */
	ATF_CHECK_EQ(ticket.seq, 0);
	hw.records = 2;			/* now they show */
	hw.past = true;
	ATF_CHECK_EQ(unit_count(&unit), OK);
	ATF_CHECK_EQ(counted[1], 2);
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	hw.past = false;
	unit.broken = true;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), E_QUARANTINED);
}

static bool looked;

static void *
look(void *arg UNUSED)
{
	struct iommu_ticket t;

	ATF_REQUIRE_EQ(unit_look(&unit, true, &t), OK);
	ATF_REQUIRE_EQ(counted[1], 1);
	__atomic_store_n(&looked, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static pthread_t other;

static void
another_cpu_looks(void)
{
	ATF_REQUIRE_EQ(pthread_create(&other, NULL, look, NULL), 0);
	usleep(50'000);
	ATF_CHECK(!__atomic_load_n(&looked, __ATOMIC_SEQ_CST));
}

ATF_TC_WITHOUT_HEAD(a_log_that_another_cpu_has_just_emptied_is_counted_first);
ATF_TC_BODY(a_log_that_another_cpu_has_just_emptied_is_counted_first, tc)
{
	begin();
	hw.records = 1;
	hw.meanwhile = another_cpu_looks;
	iommu_fault_pending(&unit);
	(void)job->step(job);
	ATF_REQUIRE_EQ(pthread_join(other, NULL), 0);
	ATF_CHECK(looked);
	ATF_CHECK_EQ(counted[1], 1);
}

ATF_TC_WITHOUT_HEAD(a_look_takes_more_than_one_batch);
ATF_TC_BODY(a_look_takes_more_than_one_batch, tc)
{
	begin();
	hw.records = 40;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	ATF_CHECK_EQ(counted[1], 40);
	ATF_CHECK(job !=
	    NULL); /* a unit that was not empty makes no second interrupt: the worker looks on */
	ATF_CHECK_EQ(hw.records, 0);
	ATF_CHECK_EQ(lost_counted, 0);
}

/* Whoever looks may be another device's driver, whose record is behind those that keep coming. */
ATF_TC_WITHOUT_HEAD(a_log_that_cannot_be_emptied_is_everybodys_loss);
ATF_TC_BODY(a_log_that_cannot_be_emptied_is_everybodys_loss, tc)
{
	begin();
	hw.records = 64;
	hw.endless = true;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	ATF_CHECK_EQ(lost_counted, 1);
	ATF_CHECK_EQ(lost_told, 1);
	ATF_CHECK(hw.drains <= 8);
}

/* D11: a device that faults without end costs so much a millisecond, whoever asks how often. */
ATF_TC_WITHOUT_HEAD(a_flood_costs_so_much_a_millisecond);
ATF_TC_BODY(a_flood_costs_so_much_a_millisecond, tc)
{
	begin();
	hw.records = 1'000'000;
	hw.endless = true;
	for (unsigned ms = 0; ms < 10; ms++) {
		now += NS_PER_MS;
		iommu_fault_pending(&unit);
		for (unsigned i = 0; i < 100; i++) {
			uint64_t next = job->step(job);

			ATF_CHECK(next <= now + NS_PER_MS);
			ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
			unit_drain(&unit);
		}
		ATF_CHECK(counted[1] <= 64ull * (ms + 1));
		ATF_CHECK(told <= 4 * (ms + 1));	/* for each batch, not for each record */
		ATF_CHECK(lost_told <= ms + 1);
	}
	ATF_CHECK_EQ(counted[1], 640);
	ATF_CHECK(lost_counted >= 1000);	/* who looks is always told that it is not known */
	/* It ends: the rest is taken as ever. */
	hw.endless = false;
	hw.records = 20;
	now += NS_PER_MS;
	ATF_CHECK_EQ(job->step(job), 0);
	ATF_CHECK_EQ(job->step(job), 0);
	ATF_CHECK_EQ(job->step(job), WORK_DONE);
	ATF_CHECK_EQ(counted[1], 660);
}

ATF_TC_WITHOUT_HEAD(lost_records_are_counted_before_they_are_told);
ATF_TC_BODY(lost_records_are_counted_before_they_are_told, tc)
{
	begin();
	hw.lost = true;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	ATF_CHECK_EQ(lost_counted, 1);
	ATF_CHECK_EQ(lost_told, 1);
	ATF_CHECK_EQ(unit.counters.faults_lost, 1);
}

/* The log's index covers a record that cannot be read yet. */
ATF_TC_WITHOUT_HEAD(a_record_that_is_being_written_is_waited_for);
ATF_TC_BODY(a_record_that_is_being_written_is_waited_for, tc)
{
	begin();
	hw.half = true;
	hw.records = 1;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), E_WOULD_BLOCK);
	ATF_CHECK_EQ(counted[1], 0);
	hw.half = false;
	ATF_CHECK_EQ(unit_count(&unit), OK);
	ATF_CHECK_EQ(counted[1], 1);
	hw.half = true;
	hw.records = 1;
	unit.broken = true;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), E_QUARANTINED);
}

ATF_TC_WITHOUT_HEAD(the_worker_goes_on_until_nothing_is_left_and_polls_only_where_it_must);
ATF_TC_BODY(the_worker_goes_on_until_nothing_is_left_and_polls_only_where_it_must, tc)
{
	begin();
	hw.records = 20;
	iommu_fault_pending(&unit);
	ATF_CHECK_EQ(job->step(job), 0);
	ATF_CHECK_EQ(job->step(job), 0); /* four more: one may have come without an interrupt */
	ATF_CHECK_EQ(counted[1], 20);
	ATF_CHECK_EQ(job->step(job), WORK_DONE);
	iommu_fault_pending(&polled);
	ATF_CHECK_EQ(job->step(job), 1000 + 200 * NS_PER_MS);
}

/* D3: its addresses are those of memory. */
ATF_TC_WITHOUT_HEAD(faults_of_a_live_test_are_its_own);
ATF_TC_BODY(faults_of_a_live_test_are_its_own, tc)
{
	begin();
	tested = &pci_functions[1];
	hw.records = 20;
	unit_drain(&unit);
	ATF_CHECK_EQ(test_told, 20);
	ATF_CHECK_EQ(hw.records, 0);
	ATF_CHECK(counted[1] == 0 && told == 0 && unit.counters.faults == 0 &&
	    !unit_last_fault(&unit)->valid);
	hw.records = 1;
	ATF_CHECK_EQ(unit_look(&unit, true, &ticket), OK);
	ATF_CHECK(test_told == 21 && counted[1] == 0);
	tested = NULL;
	hw.records = 1;
	unit_drain(&unit);
	ATF_CHECK(test_told == 21 && counted[1] == 1);
	unit_drain(&none);
}

ATF_TC_WITHOUT_HEAD(a_broken_unit_shuts_its_devices_off_once);
ATF_TC_BODY(a_broken_unit_shuts_its_devices_off_once, tc)
{
	begin();
	for (unsigned i = 0; i < 3; i++)
		pci_functions[i].master = true;
	iommu_mark_broken(&unit, "test");
	ATF_CHECK(unit.broken && !pci_functions[0].master && !pci_functions[1].master &&
	    pci_functions[2].master);
	pci_functions[0].master = true;
	iommu_mark_broken(&unit, "again");
	ATF_CHECK(pci_functions[0].master);
}

ATF_TC_WITHOUT_HEAD(units_are_probed_by_kind_and_found_by_number);
ATF_TC_BODY(units_are_probed_by_kind_and_found_by_number, tc)
{
	static struct iommu_unit many[MACHINE_IOMMU_MAX + 1];
	static struct machine m;

	units_init(&m);
	m.iommu_count = 3;
	m.iommu[0].kind = 3;
	m.iommu[1].kind = 2;		/* nobody drives it */
	m.iommu[2].kind = 3;
	units_init(&m);
	ATF_CHECK_EQ(probed, 1u << 0 | 1u << 2);
	for (unsigned i = 0; i < MACHINE_IOMMU_MAX; i++) {
		many[i].index = 2 * i;
		ATF_REQUIRE_EQ(iommu_register(&many[i]), OK);
	}
	ATF_CHECK_EQ(iommu_register(&many[MACHINE_IOMMU_MAX]), E_OVERFLOW);
	ATF_CHECK_EQ(iommu_by_index(2), &many[1]);
	ATF_CHECK(iommu_by_index(1) == NULL);
	ATF_CHECK_EQ(iommu_nth(MACHINE_IOMMU_MAX - 1), &many[MACHINE_IOMMU_MAX - 1]);
	ATF_CHECK(iommu_nth(MACHINE_IOMMU_MAX) == NULL);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, units_are_probed_by_kind_and_found_by_number);
	ATF_TP_ADD_TC(tp, a_look_counts_what_the_log_holds_for_whom_it_is);
	ATF_TP_ADD_TC(tp, a_look_is_not_done_before_the_units_sync);
	ATF_TP_ADD_TC(tp, a_log_that_another_cpu_has_just_emptied_is_counted_first);
	ATF_TP_ADD_TC(tp, a_look_takes_more_than_one_batch);
	ATF_TP_ADD_TC(tp, a_log_that_cannot_be_emptied_is_everybodys_loss);
	ATF_TP_ADD_TC(tp, a_flood_costs_so_much_a_millisecond);
	ATF_TP_ADD_TC(tp, lost_records_are_counted_before_they_are_told);
	ATF_TP_ADD_TC(tp, a_record_that_is_being_written_is_waited_for);
	ATF_TP_ADD_TC(tp, the_worker_goes_on_until_nothing_is_left_and_polls_only_where_it_must);
	ATF_TP_ADD_TC(tp, faults_of_a_live_test_are_its_own);
	ATF_TP_ADD_TC(tp, a_broken_unit_shuts_its_devices_off_once);
	return atf_no_error();
}
