/*
 * kern/base/idpool.h: small numbers, handed out once each.
 * LINK: kern/base/idpool.c
 */
#include <atf-c.h>
#include <stdlib.h>

#include "kern/base/idpool.h"

ATF_TC_WITHOUT_HEAD(ids_are_taken_in_turn_and_zero_never);
ATF_TC_BODY(ids_are_taken_in_turn_and_zero_never, tc)
{
	uint64_t map[2] = { 0 };
	struct id_pool p = { .map = map, .count = 100 };

	for (uint32_t i = 1; i < 100; i++)
		ATF_CHECK_EQ(id_pool_take(&p), i);
	ATF_CHECK_EQ(id_pool_take(&p), 0);
}

ATF_TC_WITHOUT_HEAD(one_given_back_rests_until_its_turn);
ATF_TC_BODY(one_given_back_rests_until_its_turn, tc)
{
	uint64_t map[1] = { 0 };
	struct id_pool p = { .map = map, .count = 64 };

	ATF_CHECK_EQ(id_pool_take(&p), 1);
	ATF_CHECK_EQ(id_pool_take(&p), 2);
	id_pool_give(&p, 1);
	for (uint32_t i = 3; i < 64; i++)
		ATF_CHECK_EQ(id_pool_take(&p), i);
	ATF_CHECK_EQ(id_pool_take(&p), 1);
	ATF_CHECK_EQ(id_pool_take(&p), 0);
}

ATF_TC_WITHOUT_HEAD(giving_back_nonsense_changes_nothing);
ATF_TC_BODY(giving_back_nonsense_changes_nothing, tc)
{
	uint64_t map[1] = { 0 };
	struct id_pool p = { .map = map, .count = 3 };

	ATF_CHECK_EQ(id_pool_take(&p), 1);
	id_pool_give(&p, 0);
	id_pool_give(&p, 3);
	id_pool_give(&p, 64);
	ATF_CHECK_EQ(id_pool_take(&p), 2);
	ATF_CHECK_EQ(id_pool_take(&p), 0);
}

/* A long random life: no id is ever held twice, and none is refused while one is free. */
ATF_TC_WITHOUT_HEAD(no_id_is_held_twice);
ATF_TC_BODY(no_id_is_held_twice, tc)
{
	enum { COUNT = 300 };
	uint64_t map[5] = { 0 };
	bool held[COUNT] = { false };
	struct id_pool p = { .map = map, .count = COUNT };
	uint32_t live = 0;

	srandom(7);
	for (unsigned n = 0; n < 100000; n++) {
		uint32_t id = (uint32_t)random() % COUNT;

		if (random() % 8 < 5) {
			id = id_pool_take(&p);
			ATF_REQUIRE_EQ(id == 0, live == COUNT - 1);
			ATF_REQUIRE(id < COUNT && (id == 0 || !held[id]));
			live += id != 0;
			held[id] = id != 0;
		} else if (held[id]) {
			id_pool_give(&p, id);
			held[id] = false;
			live--;
		}
	}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, ids_are_taken_in_turn_and_zero_never);
	ATF_TP_ADD_TC(tp, one_given_back_rests_until_its_turn);
	ATF_TP_ADD_TC(tp, giving_back_nonsense_changes_nothing);
	ATF_TP_ADD_TC(tp, no_id_is_held_twice);
	return atf_no_error();
}
