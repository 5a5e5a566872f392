/*
 * kern/dma/ledger.c: states, lookups, pins, counters; with the real address space below it.
 *
 * LINK: kern/dma/ledger.c kern/dma/iova.c kern/base/itree.c tests/lib/fake_panic.c
 */
#include <atf-c.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kern/base/bits.h"
#include "kern/dma/ledger.h"

static struct iova_space space;
static struct iova_range cool[4];
static struct ledger ledger;
static struct ledger_entry entry[32];

static struct ledger_grant
grant(uint64_t pages, enum dma_dir dir)
{
	return (struct ledger_grant){ .owner = &space,
		.memory = &cool,
		.len = pages * PAGE_SIZE,
		.generation = 7,
		.dir = dir };
}

static void
start(void)
{
	ATF_REQUIRE_EQ(
	    iova_init(&space, 4 * GIB, 8 * GIB, PAGE_SIZE, UINT64_MAX, cool, sizeof(cool)), OK);
	ledger_init(&ledger, &space, 7);
	memset(entry, 0, sizeof(entry));
}

static void
publish(struct ledger_entry *e, uint64_t pages, enum dma_dir dir)
{
	struct ledger_grant g = grant(pages, dir);

	ATF_REQUIRE_EQ(ledger_reserve(&ledger, e, &g), OK);
	ledger_mapped(&ledger, e);
	ledger_publish(&ledger, e);
}

/* Brings an entry into a state by legal steps. */
static void
bring(struct ledger_entry *e, enum ledger_state s)
{
	struct ledger_grant g = grant(1, DMA_BOTH);

	if (s == LEDGER_FREE)
		return;
	ATF_REQUIRE_EQ(ledger_reserve(&ledger, e, &g), OK);
	if (s == LEDGER_ALLOCATED)
		return;
	ledger_mapped(&ledger, e);
	if (s == LEDGER_MAPPED)
		return;
	ledger_publish(&ledger, e);
	if (s == LEDGER_PUBLISHED)
		return;
	ATF_REQUIRE_EQ(ledger_revoke(&ledger, e), OK);
	if (s == LEDGER_REVOKING)
		return;
	ATF_CHECK_EQ(ledger_settle(&ledger, e, s == LEDGER_QUARANTINED ? E_QUARANTINED : OK),
	    s == LEDGER_QUARANTINED ? E_QUARANTINED : OK);
	if (s == LEDGER_SCRUBBED || s == LEDGER_IDLE)
		ledger_scrubbed(&ledger, e);
	if (s == LEDGER_IDLE)
		ledger_idle(&ledger, e);
}

static struct ledger_entry *
find(uint64_t at, uint64_t len, enum dma_dir dir)
{
	return ledger_find(&ledger, (struct iova){ at }, len, dir);
}

static void
balanced(void)
{
	uint64_t live = 0, bytes = 0;

	for (unsigned s = LEDGER_ALLOCATED; s < LEDGER_STATES; s++) {
		uint64_t n = 0, b = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(entry); i++)
			if (entry[i].state == s) {
				n++;
				b += entry[i].grant.len;
			}
		ATF_REQUIRE_EQ(ledger_in(&ledger, (enum ledger_state)s), n);
		ATF_REQUIRE_EQ(ledger_bytes_in(&ledger, (enum ledger_state)s), b);
		live += n;
		bytes += b;
	}
	ATF_REQUIRE_EQ(ledger_live(&ledger), live);
	ATF_REQUIRE_EQ(space.live, live);
	ATF_REQUIRE_EQ(space.live_bytes, bytes);
}

ATF_TC_WITHOUT_HEAD(a_grant_goes_round_and_leaves_nothing_behind);
ATF_TC_BODY(a_grant_goes_round_and_leaves_nothing_behind, tc)
{
	struct ledger_entry *e = &entry[0];

	start();
	bring(e, LEDGER_SCRUBBED);
	balanced();
	ledger_release(&ledger, e);
	balanced();
	ATF_CHECK_EQ(e->state, LEDGER_FREE);
	ATF_CHECK(e->grant.owner == NULL && e->grant.memory == NULL);
	for (unsigned s = LEDGER_ALLOCATED; s < LEDGER_IDLE; s++) {
		ATF_CHECK_EQ(ledger.count[s].entered, 1);
		ATF_CHECK_EQ(ledger.count[s].left, 1);
		ATF_CHECK_EQ(ledger.count[s].bytes_left, PAGE_SIZE);
	}
	ATF_CHECK_EQ(ledger_live(&ledger), 0);
}

/* The table once more: from each state, what each call may do.  A wrong step is our own mistake and
 * panics. */
static const struct { enum ledger_state from, to;
} legal[] = {
	{ LEDGER_ALLOCATED, LEDGER_FREE },
	{ LEDGER_ALLOCATED, LEDGER_MAPPED },
	{ LEDGER_ALLOCATED, LEDGER_REVOKING },
	{ LEDGER_ALLOCATED, LEDGER_IDLE },
	{ LEDGER_ALLOCATED, LEDGER_QUARANTINED },
	{ LEDGER_MAPPED, LEDGER_PUBLISHED },
	{ LEDGER_MAPPED, LEDGER_REVOKING },
	{ LEDGER_MAPPED, LEDGER_QUARANTINED },
	{ LEDGER_PUBLISHED, LEDGER_REVOKING },
	{ LEDGER_PUBLISHED, LEDGER_QUARANTINED },
	{ LEDGER_REVOKING, LEDGER_INVALIDATED },
	{ LEDGER_REVOKING, LEDGER_QUARANTINED },
	{ LEDGER_INVALIDATED, LEDGER_SCRUBBED },
	{ LEDGER_SCRUBBED, LEDGER_FREE },
	{ LEDGER_SCRUBBED, LEDGER_IDLE },
	{ LEDGER_IDLE, LEDGER_FREE },
	{ LEDGER_IDLE, LEDGER_ALLOCATED },
};

static enum status
go(struct ledger_entry *e, enum ledger_state to)
{
	switch (to) {
	case LEDGER_FREE:
		if (e->state == LEDGER_ALLOCATED)
			ledger_cancel(&ledger, e);
		else
			ledger_release(&ledger, e);
		return OK;
	case LEDGER_ALLOCATED:
		ledger_arm(&ledger, e, e, 0, DMA_BOTH);
		return OK;
	case LEDGER_MAPPED:
		ledger_mapped(&ledger, e);
		return OK;
	case LEDGER_PUBLISHED:
		ledger_publish(&ledger, e);
		return OK;
	case LEDGER_REVOKING:
		return ledger_revoke(&ledger, e);
	case LEDGER_INVALIDATED:
		return ledger_settle(&ledger, e, OK);
	case LEDGER_SCRUBBED:
		ledger_scrubbed(&ledger, e);
		return OK;
	case LEDGER_IDLE:
		ledger_idle(&ledger, e);
		return OK;
	default:
		ledger_quarantine(&ledger, e);
		return OK;
	}
}


ATF_TC_WITHOUT_HEAD(only_the_steps_of_the_table_are_possible);
ATF_TC_BODY(only_the_steps_of_the_table_are_possible, tc)
{
	for (unsigned from = 0; from < LEDGER_STATES; from++)
		for (unsigned to = 0; to < LEDGER_STATES; to++) {
			bool want = false;
			int status;
			pid_t child;

			for (unsigned i = 0; i < ARRAY_SIZE(legal); i++)
				want = want || (legal[i].from == from && legal[i].to == to);
			fflush(stdout);
			child = fork();
			if (child == 0) {
				close(2);
				start();
				bring(&entry[0], (enum ledger_state)from);
				_exit(go(&entry[0], (enum ledger_state)to) == OK &&
					    entry[0].state == to ?
					0 :
					1);
			}
			ATF_REQUIRE_EQ(waitpid(child, &status, 0), child);
			ATF_CHECK_EQ_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, want,
			    "%s to %s", ledger_state_text((enum ledger_state)from),
			    ledger_state_text((enum ledger_state)to));
		}
}

/* UNMAP_KEEP */
ATF_TC_WITHOUT_HEAD(an_idle_entry_has_its_address_and_nothing_else);
ATF_TC_BODY(an_idle_entry_has_its_address_and_nothing_else, tc)
{
	struct ledger_entry *e = &entry[0];
	struct ledger_grant g;
	uint64_t at;
	char memory;

	start();
	g = grant(1, DMA_BOTH);
	bring(e, LEDGER_IDLE);
	at = iova_base(&e->range).v;
	ATF_CHECK(e->grant.memory == NULL && e->grant.dir == 0 && e->grant.len == PAGE_SIZE);
	ATF_CHECK(find(at, PAGE_SIZE, DMA_TO_DEVICE) == NULL);
	ATF_CHECK_EQ(ledger_pin(&ledger, e), E_STALE);
	ATF_CHECK_EQ(ledger_revoke(&ledger, e), E_STATE);
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_STATE);
	ledger_bump(&ledger, ledger.generation + 1);
	balanced();
	ledger_arm(&ledger, e, &memory, PAGE_SIZE, DMA_TO_DEVICE);
	ATF_CHECK(e->state == LEDGER_ALLOCATED && iova_base(&e->range).v == at);
	ATF_CHECK(e->grant.memory == &memory && e->grant.offset == PAGE_SIZE);
	ATF_CHECK_EQ(e->grant.generation, ledger.generation);
	/* Nobody else got the address meanwhile. */
	g.generation = ledger.generation;
	ATF_REQUIRE_EQ(ledger_reserve(&ledger, &entry[1], &g), OK);
	ATF_CHECK(iova_base(&entry[1].range).v != at);
	ledger_mapped(&ledger, e);
	ledger_publish(&ledger, e);
	ATF_CHECK(find(at, PAGE_SIZE, DMA_TO_DEVICE) == e);
	ATF_CHECK(find(at, PAGE_SIZE, DMA_FROM_DEVICE) == NULL);
	balanced();
}

ATF_TC_WITHOUT_HEAD(requests_are_judged_before_anything_changes);
ATF_TC_BODY(requests_are_judged_before_anything_changes, tc)
{
	struct ledger_entry *e = &entry[0];
	struct ledger_grant g;

	start();
	g = grant(1, DMA_TO_DEVICE);
	g.generation = 6;
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_STALE);
	g = grant(1, (enum dma_dir)0);
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_INVALID);
	g = grant(1, (enum dma_dir)4);
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_INVALID);
	g = grant(1, DMA_BOTH);
	g.len--;
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_ALIGN);
	g.len++;
	g.offset = 8;
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_ALIGN);
	g = grant(0, DMA_BOTH);
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_RANGE);
	g = grant(1ull << 40, DMA_BOTH);
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_RANGE);
	ATF_CHECK_EQ(ledger_live(&ledger), 0);
	ATF_CHECK_EQ(space.live, 0);
	g = grant(1, DMA_BOTH);
	ATF_CHECK_EQ(ledger_reserve_at(&ledger, e, &g, (struct iova){ 5 * GIB }), OK);
	ATF_CHECK_EQ(iova_base(&e->range).v, 5 * GIB);
	ATF_CHECK_EQ(ledger_reserve(&ledger, e, &g), E_STATE);
	ATF_CHECK_EQ(ledger_reserve_at(&ledger, &entry[1], &g, (struct iova){ 5 * GIB }), E_EXISTS);
	balanced();
}

/* D2, D5, D6 */
ATF_TC_WITHOUT_HEAD(lookups_find_whole_ranges_of_live_grants_with_the_right_direction);
ATF_TC_BODY(lookups_find_whole_ranges_of_live_grants_with_the_right_direction, tc)
{
	struct ledger_entry *a = &entry[0], *b = &entry[1];
	uint64_t at, next;

	start();
	publish(a, 3, DMA_TO_DEVICE);
	publish(b, 2, DMA_BOTH);
	at = iova_base(&a->range).v;
	next = iova_base(&b->range).v;
	ATF_CHECK_EQ(find(at, 1, DMA_TO_DEVICE), a);
	ATF_CHECK_EQ(find(at, 3 * PAGE_SIZE, DMA_TO_DEVICE), a);
	ATF_CHECK_EQ(find(at + 3 * PAGE_SIZE - 1, 1, DMA_TO_DEVICE), a);
	ATF_CHECK(find(at, 3 * PAGE_SIZE + 1, DMA_TO_DEVICE) == NULL);
	ATF_CHECK(find(at + 1, 3 * PAGE_SIZE, DMA_TO_DEVICE) == NULL);
	ATF_CHECK(find(at, UINT64_MAX, DMA_TO_DEVICE) == NULL);
	ATF_CHECK(find(at, 0, DMA_TO_DEVICE) == NULL);
	ATF_CHECK(find(at - 1, 1, DMA_TO_DEVICE) == NULL);
	ATF_CHECK(find(at, 1, DMA_FROM_DEVICE) == NULL);
	ATF_CHECK(find(at, 1, DMA_BOTH) == NULL);
	ATF_CHECK_EQ(find(next, PAGE_SIZE, DMA_BOTH), b);
	ATF_CHECK_EQ(find(next, PAGE_SIZE, DMA_FROM_DEVICE), b);
	ATF_CHECK(find(0, 1, DMA_TO_DEVICE) == NULL);
	ATF_CHECK(find(UINT64_MAX, 1, DMA_TO_DEVICE) == NULL);
	ledger_bump(&ledger, 8);
	ATF_CHECK(find(at, 1, DMA_TO_DEVICE) == NULL);
	ATF_CHECK_EQ(ledger_pin(&ledger, a), E_STALE);
}

ATF_TC_WITHOUT_HEAD(only_published_grants_are_found);
ATF_TC_BODY(only_published_grants_are_found, tc)
{
	for (unsigned s = LEDGER_ALLOCATED; s < LEDGER_STATES; s++) {
		start();
		bring(&entry[0], (enum ledger_state)s);
		ATF_CHECK_EQ(find(iova_base(&entry[0].range).v, 1, DMA_TO_DEVICE) != NULL,
		    s == LEDGER_PUBLISHED);
		ATF_CHECK_EQ(ledger_pin(&ledger, &entry[0]), s == LEDGER_PUBLISHED ? OK : E_STALE);
		/* But the owner of the ledger sees all that is not free. */
		ATF_CHECK_EQ(ledger_next(&ledger, (struct iova){ 0 }), &entry[0]);
		ATF_CHECK(
		    ledger_next(&ledger, (struct iova){ entry[0].range.node.last + 1 }) == NULL);
		balanced();
	}
}

ATF_TC_WITHOUT_HEAD(a_pinned_grant_is_busy_until_the_device_is_reset);
ATF_TC_BODY(a_pinned_grant_is_busy_until_the_device_is_reset, tc)
{
	struct ledger_entry *e = &entry[0];

	start();
	publish(e, 1, DMA_BOTH);
	ATF_REQUIRE_EQ(ledger_pin(&ledger, e), OK);
	ATF_REQUIRE_EQ(ledger_pin(&ledger, e), OK);
	ATF_CHECK_EQ(ledger_revoke(&ledger, e), E_BUSY);
	ledger_unpin(&ledger, e);
	ATF_CHECK_EQ(ledger_revoke(&ledger, e), E_BUSY);
	ATF_CHECK_EQ(e->state, LEDGER_PUBLISHED);
	ledger_bump(&ledger, 8);	/* the reset ended what was accepted */
	ledger_unpin(&ledger, e);	/* late: no matter */
	ATF_CHECK_EQ(ledger_revoke(&ledger, e), OK);
	ATF_CHECK_EQ(e->pins, 0);
	ATF_CHECK_EQ(ledger_settle(&ledger, e, E_WOULD_BLOCK), E_WOULD_BLOCK);
	ATF_CHECK_EQ(e->state, LEDGER_REVOKING);
	ATF_CHECK_EQ(ledger_revoke(&ledger, e), E_STATE);
	e->pins = 0;
}

/* D8 */
ATF_TC_WITHOUT_HEAD(quarantine_keeps_address_and_record_for_ever);
ATF_TC_BODY(quarantine_keeps_address_and_record_for_ever, tc)
{
	struct ledger_entry *e = &entry[0];
	struct ledger_grant g = grant(1, DMA_BOTH);
	uint64_t at;

	start();
	bring(e, LEDGER_QUARANTINED);
	at = iova_base(&e->range).v;
	ATF_CHECK_EQ(ledger_reserve_at(&ledger, &entry[1], &g, (struct iova){ at }), E_EXISTS);
	for (unsigned i = 1; i < 20; i++) {
		bring(&entry[i], LEDGER_SCRUBBED);
		ATF_CHECK(iova_base(&entry[i].range).v != at);
		ledger_release(&ledger, &entry[i]);
	}
	ATF_CHECK_EQ(ledger_in(&ledger, LEDGER_QUARANTINED), 1);
	ATF_CHECK_EQ(ledger_live(&ledger), 1);
	/* An answer that is neither "past" nor "not yet" is no "past". */
	bring(&entry[1], LEDGER_REVOKING);
	ATF_CHECK_EQ(ledger_settle(&ledger, &entry[1], E_TIMED_OUT), E_TIMED_OUT);
	ATF_CHECK_EQ(entry[1].state, LEDGER_QUARANTINED);
	balanced();
}

ATF_TC_WITHOUT_HEAD(an_address_rests_after_release);
ATF_TC_BODY(an_address_rests_after_release, tc)
{
	uint64_t at;

	start();
	bring(&entry[0], LEDGER_SCRUBBED);
	at = iova_base(&entry[0].range).v;
	ledger_release(&ledger, &entry[0]);
	for (unsigned i = 1; i < ARRAY_SIZE(cool); i++) {
		bring(&entry[1], LEDGER_SCRUBBED);
		ATF_CHECK(iova_base(&entry[1].range).v != at);
		ATF_CHECK(find(at, 1, DMA_TO_DEVICE) == NULL);
		ledger_release(&ledger, &entry[1]);
	}
	bring(&entry[1], LEDGER_SCRUBBED);
	ATF_CHECK_EQ(iova_base(&entry[1].range).v, at);
}

ATF_TC_WITHOUT_HEAD(random_lives_add_up);
ATF_TC_BODY(random_lives_add_up, tc)
{
	srand(5);
	start();
	for (unsigned step = 0; step < 30000; step++) {
		struct ledger_entry *e = &entry[(unsigned)rand() % ARRAY_SIZE(entry)];
		struct ledger_grant g = grant(1 + (uint64_t)rand() % 9, DMA_BOTH);
		bool back = rand() % 8 == 0;

		switch (e->state) {
		case LEDGER_FREE:
			ATF_REQUIRE_EQ(ledger_reserve(&ledger, e, &g), OK);
			break;
		case LEDGER_ALLOCATED:
			if (back)
				ledger_cancel(&ledger, e);
			else
				ledger_mapped(&ledger, e);
			break;
		case LEDGER_MAPPED:
			if (back)
				ATF_REQUIRE_EQ(ledger_revoke(&ledger, e), OK);
			else
				ledger_publish(&ledger, e);
			break;
		case LEDGER_PUBLISHED:
			if (back) {
				ATF_REQUIRE_EQ(ledger_pin(&ledger, e), OK);
				ATF_REQUIRE_EQ(ledger_revoke(&ledger, e), E_BUSY);
				ledger_unpin(&ledger, e);
			}
			ATF_REQUIRE_EQ(ledger_revoke(&ledger, e), OK);
			break;
		case LEDGER_REVOKING:
			(void)!ledger_settle(&ledger, e, back ? E_WOULD_BLOCK : OK);
			break;
		case LEDGER_INVALIDATED:
			ledger_scrubbed(&ledger, e);
			break;
		case LEDGER_SCRUBBED:
			if (back)
				ledger_release(&ledger, e);
			else
				ledger_idle(&ledger, e);
			break;
		case LEDGER_IDLE:
			if (back)
				ledger_release(&ledger, e);
			else
				ledger_arm(&ledger, e, &g, 0, DMA_BOTH);
			break;
		default:
			ledger_release(&ledger, e);
			break;
		}
		if (step % 64 == 0)
			balanced();
	}
	balanced();
}

ATF_TC_WITHOUT_HEAD(every_state_has_a_name_of_its_own);
ATF_TC_BODY(every_state_has_a_name_of_its_own, tc)
{
	for (unsigned i = 0; i < LEDGER_STATES; i++)
		for (unsigned k = 0; k < i; k++)
			ATF_CHECK(strcmp(ledger_state_text((enum ledger_state)i),
				      ledger_state_text((enum ledger_state)k)) != 0);
	ATF_CHECK_STREQ("unknown", ledger_state_text(LEDGER_STATES));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, an_idle_entry_has_its_address_and_nothing_else);
	ATF_TP_ADD_TC(tp, every_state_has_a_name_of_its_own);
	ATF_TP_ADD_TC(tp, a_grant_goes_round_and_leaves_nothing_behind);
	ATF_TP_ADD_TC(tp, only_the_steps_of_the_table_are_possible);
	ATF_TP_ADD_TC(tp, requests_are_judged_before_anything_changes);
	ATF_TP_ADD_TC(tp, lookups_find_whole_ranges_of_live_grants_with_the_right_direction);
	ATF_TP_ADD_TC(tp, only_published_grants_are_found);
	ATF_TP_ADD_TC(tp, a_pinned_grant_is_busy_until_the_device_is_reset);
	ATF_TP_ADD_TC(tp, quarantine_keeps_address_and_record_for_ever);
	ATF_TP_ADD_TC(tp, an_address_rests_after_release);
	ATF_TP_ADD_TC(tp, random_lives_add_up);
	return atf_no_error();
}
