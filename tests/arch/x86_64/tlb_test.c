/*
 * arch/x86_64/tlb.h: who forgets what, in every order in which two CPUs can take their steps.
 *
 * CPU 0 changes an entry; CPU 1 loads the space, uses it, leaves it, and comes back.  CPU 1
 * remembers an entry as a TLB does: from its first use until it is told to forget.  The rule: a use
 * after the change is over sees the new entry.
 */
#include <atf-c.h>
#include <string.h>

#include "arch/x86_64/tlb.h"

enum { NOTHING, OLD, NEW };

struct world {
	struct mmu_space space;
	int entry, remembered;		/* in the table; in CPU 1's TLB */
	unsigned a, b;			/* next step of each */
	bool forget, runs, asked, over;
};

static unsigned worlds, asked_often, stale_often;

/* Steps of CPU 1: twice load, use, leave. */
enum { ENTER, STALE, LOAD, USE, USE_AGAIN, UNLOAD, LEAVE, ROUND, STEPS_B = 2 * ROUND };

static void
step_b(struct world *w)
{
	switch (w->b++ % ROUND) {
	case ENTER:
		tlb_enter(&w->space, 2);
		break;
	case STALE:
		w->forget = tlb_take_stale(&w->space, 2);
		stale_often += w->forget;
		break;
	case LOAD:
		if (w->forget || w->space.id == 0)
			w->remembered = NOTHING;
		w->runs = true;
		break;
	case USE: case USE_AGAIN:
		if (w->remembered == NOTHING)
			w->remembered = w->entry;
		ATF_REQUIRE_MSG(!w->over || w->remembered == NEW,
		    "an old entry was used after the change was over");
		break;
	case UNLOAD:
		w->runs = false;
		break;
	case LEAVE:
		tlb_leave(&w->space, 2);
		break;
	}
}

/* CPU 1 takes interrupts in user mode and when it idles. */
static bool
may_answer(const struct world *w)
{
	return w->asked &&
	    (w->b % ROUND == USE || w->b % ROUND == USE_AGAIN || w->b % ROUND == UNLOAD ||
		w->b % ROUND == ENTER);
}

static void
answer(struct world *w)
{
	if (w->runs) {
		w->remembered = NOTHING;
		tlb_answer(&w->space, 2);
	}
	w->asked = false;
	asked_often++;
}

enum { STORE, SPOIL, USERS, WAIT, STEPS_A };

static void
step_a(struct world *w)
{
	switch (w->a++) {
	case STORE:
		w->entry = NEW;
		break;
	case SPOIL:
		tlb_spoil(&w->space, 1);
		break;
	case USERS:
		w->asked = (tlb_users(&w->space) & 2) != 0;
		break;
	case WAIT:
		w->over = true;
		break;
	}
}

static void
explore(struct world w)
{
	struct world next;

	worlds++;
	if (w.b < STEPS_B) {
		next = w;
		step_b(&next);
		explore(next);
	}
	if (may_answer(&w)) {
		next = w;
		answer(&next);
		explore(next);
	}
	if (w.a < STEPS_A && !(w.a == WAIT && w.asked)) {
		next = w;
		step_a(&next);
		explore(next);
	}
}

ATF_TC_WITHOUT_HEAD(no_order_of_steps_keeps_an_old_entry);
ATF_TC_BODY(no_order_of_steps_keeps_an_old_entry, tc)
{
	/* CPU 1 has run the space before and remembers the old entry. */
	explore((struct world){ .space = { .id = 7 | CR3_KEEP }, .entry = OLD, .remembered = OLD });
	ATF_CHECK(worlds > 100);
	ATF_CHECK(asked_often > 0);
	ATF_CHECK(stale_often > 0);
}

ATF_TC_WITHOUT_HEAD(without_an_id_every_load_forgets);
ATF_TC_BODY(without_an_id_every_load_forgets, tc)
{
	explore((struct world){ .entry = OLD });
	ATF_CHECK(asked_often > 0);
	ATF_CHECK_EQ(stale_often, 0);
}

ATF_TC_WITHOUT_HEAD(a_new_owner_of_an_id_forgets_once_on_each_cpu);
ATF_TC_BODY(a_new_owner_of_an_id_forgets_once_on_each_cpu, tc)
{
	struct mmu_space s = { .id = 7 | CR3_KEEP, .stale = UINT64_MAX };

	for (unsigned i = 0; i < 64; i++) {
		ATF_CHECK(tlb_take_stale(&s, 1ull << i));
		ATF_CHECK(!tlb_take_stale(&s, 1ull << i));
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, no_order_of_steps_keeps_an_old_entry);
	ATF_TP_ADD_TC(tp, without_an_id_every_load_forgets);
	ATF_TP_ADD_TC(tp, a_new_owner_of_an_id_forgets_once_on_each_cpu);
	return atf_no_error();
}
