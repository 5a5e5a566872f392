/*
 * kern/pci_hotplug.c against a slot as PCIe 6.7 tells it: a card, a lamp, a button, power, a link.
 * The slot and its card may lie, be torn out, and read as all ones.
 *
 * LINK: kern/pci_hotplug.c kern/base/fmt.c kern/base/str.c
 * LINK: tests/lib/fake_kernel.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/base/mmio.h"
#include "kern/lock.h"
#include "kern/pci_config.h"
#include "kern/pci_hotplug.h"
#include "kern/process.h"
#include "kern/trace.h"
#include "kern/worker.h"
#include "tests/lib/fake_kernel.h"

enum { PORT, CARD, CARD1, FUNCTIONS, CAP = 0x54 };
enum : uint32_t { CAPABLE = SLTCAP_BUTTON | SLTCAP_POWER | SLTCAP_POWER_LED | SLTCAP_HOTPLUG };

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_count;

static struct {
	uint32_t capable, control, status, command;
	bool tells_link, link_follows;	/* the link is up when card and power are there */
	bool link;
	bool silent;			/* a command is never said to be done */
	bool dead;			/* the port reads as all ones */
	bool obeys;			/* forwarding can be switched */
	unsigned functions;		/* of the card that is in the slot */
	bool harmful;
	uint64_t powered_at;
	uint64_t commands, reads;
	uint64_t command_at;

	bool claimed;			/* somebody has the card; until released */
	unsigned unplugs;		/* calls of device_unplug */
	bool unplug_gone;		/* the last one said "gone" */
	unsigned forgotten, told;
	unsigned asked;			/* calls of pci_plug for function 0 */
} hw;

static struct work *job;

/* ---- The port ---- */

static bool powered(void) { return (hw.control & SLTCTL_POWER_OFF) == 0; }
static bool forwards(void) { return (hw.command & COMMAND_MASTER) != 0; }
static uint32_t lamp(void) { return (uint32_t)FIELD_GET(SLTCTL_POWER_LED, hw.control); }

uint32_t
pci_read(const struct pci_function *f, uint32_t offset, unsigned width)
{
	uint32_t all = width == 4 ? UINT32_MAX : width == 2 ? 0xffff : 0xff;

	ATF_REQUIRE(f == &pci_functions[PORT]);	/* cards are pci.c's */
	hw.reads++;
	if (hw.dead)
		return all;
	switch (offset) {
	case CFG_COMMAND: return hw.command;
	case CAP + PCIE_FLAGS: return PCIE_SLOT | 2;
	case CAP + PCIE_LNKCAP: return hw.tells_link ? LNKCAP_REPORTS_LINK : 0;
	case CAP + PCIE_LNKSTA:
		return hw.link || (hw.link_follows && powered() && (hw.status & SLTSTA_CARD) != 0) ?
		    LNKSTA_LINK :
		    0;
	case CAP + PCIE_SLTCAP: return hw.capable;
	case CAP + PCIE_SLTCTL: return hw.control;
	case CAP + PCIE_SLTSTA: return hw.status;
	}
	atf_tc_fail("read of 0x%x", offset);
}

void
pci_write(const struct pci_function *f, uint32_t offset, unsigned width, uint32_t v)
{
	bool before = powered();

	ATF_REQUIRE(f == &pci_functions[PORT] && width == 2);
	if (hw.dead)
		return;
	switch (offset) {
	case CFG_COMMAND:
		if (hw.obeys)
			hw.command = v;
		return;
	case CAP + PCIE_SLTSTA:
		hw.status &= ~(v & SLTSTA_EVENTS);
		return;
	case CAP + PCIE_SLTCTL:
		/* One at a time [6.7.3.2]. */
		if (hw.silent && hw.commands != 0)
			ATF_CHECK(fake_now - hw.command_at >= NS_PER_S);
		ATF_CHECK_EQ(v & SLTCTL_INTERRUPTS, 0);
		hw.commands++;
		hw.command_at = fake_now;
		hw.control = v;
		/* Never while the card is somebody's, or passes requests on. */
		if (before && !powered())
			ATF_CHECK(!hw.claimed && (!forwards() || !hw.obeys));
		if (!before && powered())
			hw.powered_at = fake_now;
		if (!hw.silent)
			hw.status |= SLTSTA_COMPLETED;
		return;
	}
	atf_tc_fail("write of 0x%x", offset);
}

void
pci_config_change(
    const struct pci_function *f, uint32_t offset, unsigned width, uint32_t clear, uint32_t set)
{
	pci_write(f, offset, width, (pci_read(f, offset, width) & ~clear) | set);
}

/* ---- The card, as pci.c and the claims see it ---- */

bool
pci_is_below(const struct pci_function *f, const struct pci_function *bridge)
{
	return bridge == &pci_functions[PORT] && f->parent == PORT && f != bridge;
}

struct pci_function *
pci_plug(const struct pci_function *port, unsigned number)
{
	struct pci_function *f = &pci_functions[CARD + number];

	ATF_CHECK(port == &pci_functions[PORT]);
	ATF_CHECK(!forwards());
	ATF_CHECK(fake_now - hw.powered_at >= 100 * NS_PER_MS);	/* 6.6.1 */
	hw.asked += number == 0;
	if (number >= hw.functions || (hw.status & SLTSTA_CARD) == 0)
		return NULL;
	*f = (struct pci_function){ .parent = PORT, .plugged = true, .leaving = true, .gone = true,
		.multifunction = hw.functions > 1 };
	pci_count = (uint32_t)max_u64(pci_count, CARD + number + 1);
	return f;
}

bool
pci_plugged(const struct pci_function *port UNUSED)
{
	for (uint32_t i = CARD; i < pci_count; i++)
		ATF_CHECK(pci_functions[i].leaving);
	return !hw.harmful;
}

void
device_plugged(struct pci_function *f)
{
	ATF_CHECK(f->leaving && f->gone);
}

void
pci_unplugged(struct pci_function *f)
{
	ATF_CHECK(!hw.claimed && f->leaving && f->gone);
	f->plugged = false;
	hw.forgotten++;
}

bool
device_unplug(struct pci_function *f, bool gone)
{
	/* Gone is only what cannot pass its port. */
	ATF_CHECK(!gone || !forwards());
	f->leaving = true;
	f->gone |= gone;
	hw.unplugs++;
	hw.unplug_gone = gone;
	return !hw.claimed;
}

/* ---- The rest of the kernel ---- */

void worker_add(struct work *w) { job = w; }
void watch_fire(struct watch *w UNUSED) { hw.told++; }

void
watch_set(struct watch *w, struct notification *n, uint64_t bits, struct notification **old)
{
	*old = w->ntfn;
	*w = (struct watch){ n, bits };
}

void
trace_put(enum trace_type type UNUSED, uint64_t a UNUSED, uint64_t b UNUSED, uint64_t c UNUSED,
    uint64_t d UNUSED)
{
}

/* ---- A machine ---- */

static void
run(uint64_t ns)
{
	uint64_t until = fake_now + ns;

	while (job != NULL && fake_now < until) {
		uint64_t next = job->step(job);

		fake_now = max_u64(fake_now + 1, min_u64(next, until));
	}
}

static void
boot(unsigned functions)
{
	fake_kernel_init(&(struct fake_setup){ 0 });
	memset(&hw, 0, sizeof(hw));
	memset(pci_functions, 0, sizeof(pci_functions));
	job = NULL;
	hw.capable = CAPABLE;
	hw.tells_link = hw.link_follows = hw.obeys = true;
	hw.functions = functions;
	hw.command = COMMAND_MASTER | COMMAND_MEMORY;
	hw.status = functions != 0 ? SLTSTA_CARD | SLTSTA_PRESENCE : 0;
	hw.control = functions != 0 ? FIELD_PREP(SLTCTL_POWER_LED, LED_ON) :
				      FIELD_PREP(SLTCTL_POWER_LED, LED_OFF) | SLTCTL_POWER_OFF;
	pci_functions[PORT] = (struct pci_function){ .bridge = true, .pcie = true, .header = 1,
		.port_type = PORT_ROOT, .secondary = 1, .parent = -1, .cap_pcie = CAP };
	for (unsigned i = 0; i < functions; i++)
		pci_functions[CARD + i].parent = PORT;
	pci_count = CARD + functions;
	hw.claimed = functions != 0;
	pci_slots_init();
	run(NS_PER_S);
}

static void
insert(unsigned functions)
{
	hw.functions = functions;
	hw.status |= SLTSTA_CARD | SLTSTA_PRESENCE;
}

static void
tear_out(void)
{
	hw.functions = 0;
	hw.link = hw.link_follows = false;
	hw.status = (hw.status & ~(uint32_t)SLTSTA_CARD) | SLTSTA_PRESENCE | SLTSTA_LINK;
}

static void press(void) { hw.status |= SLTSTA_BUTTON; }

static bool
is_out(void)
{
	return !powered() && !forwards() && lamp() == LED_OFF;
}

ATF_TC_WITHOUT_HEAD(a_card_at_rest_is_left_alone);
ATF_TC_BODY(a_card_at_rest_is_left_alone, tc)
{
	boot(1);
	hw.reads = 0;
	run(100 * NS_PER_S);
	ATF_CHECK(powered() && forwards());
	ATF_CHECK_EQ(hw.commands + hw.unplugs, 0);
	ATF_CHECK(hw.reads <= 100 * 5 * 3);
}

ATF_TC_WITHOUT_HEAD(the_power_goes_when_the_claims_are_over);
ATF_TC_BODY(the_power_goes_when_the_claims_are_over, tc)
{
	boot(2);
	press();
	run(4 * NS_PER_S);
	ATF_CHECK_EQ(lamp(), LED_BLINK);
	ATF_CHECK_EQ(hw.unplugs, 0);
	run(2 * NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && !hw.unplug_gone);
	run(60 * NS_PER_S);		/* a reset may take its time */
	ATF_CHECK(powered() && forwards());
	hw.claimed = false;
	run(NS_PER_S);
	ATF_CHECK(is_out());
	ATF_CHECK_EQ(hw.forgotten, 2);
	ATF_CHECK_EQ(hw.told, 1);
	/* The card is still in it: it stays off until somebody wants it. */
	run(60 * NS_PER_S);
	ATF_CHECK(is_out());
}

ATF_TC_WITHOUT_HEAD(a_second_press_takes_it_back);
ATF_TC_BODY(a_second_press_takes_it_back, tc)
{
	boot(1);
	press();
	run(3 * NS_PER_S);
	press();
	run(60 * NS_PER_S);
	ATF_CHECK(powered() && forwards() && lamp() == LED_ON);
	ATF_CHECK_EQ(hw.unplugs, 0);
}

/* Surprise: cut off first, then gone, then the claims end; with every access all ones. */
ATF_TC_WITHOUT_HEAD(a_card_that_is_torn_out_is_cut_off_first);
ATF_TC_BODY(a_card_that_is_torn_out_is_cut_off_first, tc)
{
	boot(2);
	tear_out();
	run(NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && hw.unplug_gone);
	ATF_CHECK(!forwards() && powered());
	ATF_CHECK(pci_functions[CARD].gone && pci_functions[CARD1].gone);
	hw.claimed = false;
	run(2 * NS_PER_S);
	ATF_CHECK(is_out());
	ATF_CHECK_EQ(hw.forgotten, 2);
}

ATF_TC_WITHOUT_HEAD(a_link_that_goes_down_is_a_card_that_went);
ATF_TC_BODY(a_link_that_goes_down_is_a_card_that_went, tc)
{
	boot(1);
	hw.link_follows = false;
	run(NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && hw.unplug_gone && !forwards());
}

ATF_TC_WITHOUT_HEAD(torn_out_while_its_claims_end);
ATF_TC_BODY(torn_out_while_its_claims_end, tc)
{
	boot(1);
	press();
	run(6 * NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && !hw.unplug_gone && forwards());
	tear_out();
	run(NS_PER_S);
	ATF_CHECK(hw.unplug_gone && !forwards());
	hw.claimed = false;
	run(NS_PER_S);
	ATF_CHECK(is_out());
}

/* Nothing is known to be cut off: nothing is gone, and the claim's own reset decides (D8). */
ATF_TC_WITHOUT_HEAD(a_port_that_is_gone_confirms_nothing);
ATF_TC_BODY(a_port_that_is_gone_confirms_nothing, tc)
{
	boot(1);
	hw.dead = true;
	run(NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && !hw.unplug_gone);
	ATF_CHECK(!pci_functions[CARD].gone && pci_functions[CARD].leaving);
}

ATF_TC_WITHOUT_HEAD(a_port_that_does_not_obey_confirms_nothing);
ATF_TC_BODY(a_port_that_does_not_obey_confirms_nothing, tc)
{
	boot(1);
	hw.obeys = false;
	tear_out();
	run(NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && !hw.unplug_gone && !pci_functions[CARD].gone);
}

/* It was there at each look, but another card is in it now. */
ATF_TC_WITHOUT_HEAD(a_card_that_was_exchanged_between_two_looks_is_another);
ATF_TC_BODY(a_card_that_was_exchanged_between_two_looks_is_another, tc)
{
	boot(1);
	hw.status |= SLTSTA_PRESENCE;
	run(NS_PER_S);
	ATF_CHECK(hw.unplugs != 0 && hw.unplug_gone && !forwards());
	hw.claimed = false;
	run(10 * NS_PER_S);
	ATF_CHECK(powered() && forwards());	/* and comes in by itself */
	ATF_CHECK(!pci_functions[CARD].leaving && pci_functions[CARD].plugged);
	ATF_CHECK_EQ(hw.told, 2);
}

ATF_TC_WITHOUT_HEAD(a_card_that_comes_is_shown_when_all_of_it_was_looked_at);
ATF_TC_BODY(a_card_that_comes_is_shown_when_all_of_it_was_looked_at, tc)
{
	boot(0);
	ATF_CHECK(!forwards());		/* nobody is behind it */
	insert(2);
	run(10 * NS_PER_S);
	ATF_CHECK(powered() && forwards() && lamp() == LED_ON);
	for (unsigned i = CARD; i <= CARD1; i++)
		ATF_CHECK(!pci_functions[i].leaving && !pci_functions[i].gone);
	ATF_CHECK_EQ(hw.told, 1);
	/* And leaves again. */
	press();
	run(10 * NS_PER_S);
	ATF_CHECK(is_out());
	ATF_CHECK_EQ(hw.forgotten, 2);
}

ATF_TC_WITHOUT_HEAD(where_the_link_cannot_be_seen_it_is_waited_for);
ATF_TC_BODY(where_the_link_cannot_be_seen_it_is_waited_for, tc)
{
	boot(0);
	hw.tells_link = false;
	pci_slots_init();
	insert(1);
	run(10 * NS_PER_S);
	ATF_CHECK(powered() && forwards());
}

ATF_TC_WITHOUT_HEAD(a_card_that_masters_the_bus_as_it_likes_gets_no_power);
ATF_TC_BODY(a_card_that_masters_the_bus_as_it_likes_gets_no_power, tc)
{
	boot(0);
	hw.harmful = true;
	insert(1);
	run(10 * NS_PER_S);
	ATF_CHECK(is_out());
	ATF_CHECK(pci_functions[CARD].leaving);
}

ATF_TC_WITHOUT_HEAD(a_card_that_does_not_answer_gets_no_power);
ATF_TC_BODY(a_card_that_does_not_answer_gets_no_power, tc)
{
	boot(0);
	insert(0);
	run(20 * NS_PER_S);
	ATF_CHECK(is_out());
	ATF_CHECK(hw.asked != 0 && hw.asked < 500);
	boot(0);
	hw.link_follows = false;
	insert(1);
	run(20 * NS_PER_S);
	ATF_CHECK(is_out());
	ATF_CHECK_EQ(hw.asked, 0);
}

ATF_TC_WITHOUT_HEAD(a_command_waits_for_the_one_before);
ATF_TC_BODY(a_command_waits_for_the_one_before, tc)
{
	boot(1);
	hw.silent = true;
	hw.claimed = false;
	for (unsigned i = 0; i < 20; i++) {
		press();
		run(400 * NS_PER_MS);
	}
	run(20 * NS_PER_S);
	ATF_CHECK(hw.commands > 2);	/* pci_write judges when */
}

ATF_TC_WITHOUT_HEAD(a_slot_that_says_it_is_empty_and_is_not_is_not_watched);
ATF_TC_BODY(a_slot_that_says_it_is_empty_and_is_not_is_not_watched, tc)
{
	boot(1);
	hw.status = 0;
	job = NULL;
	pci_slots_init();
	ATF_CHECK(job == NULL);
	boot(1);
	hw.capable = 0;
	job = NULL;
	pci_slots_init();
	ATF_CHECK(job == NULL);
}

/* Every bit of the status, at random, all the time: it costs so much and no more, and what counts
 * holds (the fakes judge). */
ATF_TC_WITHOUT_HEAD(a_slot_that_says_anything_costs_little);
ATF_TC_BODY(a_slot_that_says_anything_costs_little, tc)
{
	for (unsigned seed = 1; seed < 20; seed++) {
		boot(2);
		fake_kernel_init(&(struct fake_setup){ .seed = seed });
		hw.reads = 0;
		for (unsigned i = 0; i < 1000; i++) {
			hw.status = (uint32_t)fake_random() &
			    (fake_random() % 8 == 0 ? 0xffff : SLTSTA_EVENTS | SLTSTA_CARD);
			hw.link = fake_random() % 4 != 0;
			hw.claimed =
			    hw.claimed ? fake_random() % 4 != 0 : !pci_functions[CARD].leaving;
			run(100 * NS_PER_MS);
		}
		ATF_CHECK(hw.reads < 100 * 120 * 8);	/* a hundred looks a second, at most */
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_card_at_rest_is_left_alone);
	ATF_TP_ADD_TC(tp, the_power_goes_when_the_claims_are_over);
	ATF_TP_ADD_TC(tp, a_second_press_takes_it_back);
	ATF_TP_ADD_TC(tp, a_card_that_is_torn_out_is_cut_off_first);
	ATF_TP_ADD_TC(tp, a_link_that_goes_down_is_a_card_that_went);
	ATF_TP_ADD_TC(tp, torn_out_while_its_claims_end);
	ATF_TP_ADD_TC(tp, a_port_that_is_gone_confirms_nothing);
	ATF_TP_ADD_TC(tp, a_port_that_does_not_obey_confirms_nothing);
	ATF_TP_ADD_TC(tp, a_card_that_was_exchanged_between_two_looks_is_another);
	ATF_TP_ADD_TC(tp, a_card_that_comes_is_shown_when_all_of_it_was_looked_at);
	ATF_TP_ADD_TC(tp, where_the_link_cannot_be_seen_it_is_waited_for);
	ATF_TP_ADD_TC(tp, a_card_that_masters_the_bus_as_it_likes_gets_no_power);
	ATF_TP_ADD_TC(tp, a_card_that_does_not_answer_gets_no_power);
	ATF_TP_ADD_TC(tp, a_command_waits_for_the_one_before);
	ATF_TP_ADD_TC(tp, a_slot_that_says_it_is_empty_and_is_not_is_not_watched);
	ATF_TP_ADD_TC(tp, a_slot_that_says_anything_costs_little);
	return atf_no_error();
}
