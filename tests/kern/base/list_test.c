/* kern/base/list.h: the intrusive list. */
#include <atf-c.h>

#include "kern/base/list.h"

struct item {
	int n;
	struct list link;
};

/* Writes the numbers in order into "to", 0 ends. */
static void
numbers(const struct list *head, int *to)
{
	list_for_each(it, (struct list *)(uintptr_t)head)
		*to++ = list_entry(it, struct item, link)->n;
	*to = 0;
}

static void
check(const struct list *head, int a, int b, int c)
{
	int got[8], want[4] = { a, b, c, 0 };

	numbers(head, got);
	for (int i = 0; i < 4; i++) {
		ATF_CHECK_EQ(got[i], want[i]);
		if (want[i] == 0)
			break;
	}
}

ATF_TC_WITHOUT_HEAD(a_new_list_is_empty);
ATF_TC_BODY(a_new_list_is_empty, tc)
{
	struct list fixed = LIST_INIT(fixed), head;

	list_init(&head);
	ATF_CHECK(list_empty(&head));
	ATF_CHECK(list_empty(&fixed));
	ATF_CHECK(list_pop_front(&head) == NULL);
}

ATF_TC_WITHOUT_HEAD(back_keeps_order_and_front_turns_it);
ATF_TC_BODY(back_keeps_order_and_front_turns_it, tc)
{
	struct list head = LIST_INIT(head);
	struct item a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 };

	list_push_back(&head, &a.link);
	list_push_back(&head, &b.link);
	list_push_front(&head, &c.link);
	check(&head, 3, 1, 2);
	ATF_CHECK_EQ(list_first(&head, struct item, link), &c);
	ATF_CHECK_EQ(list_pop_front(&head), &c.link);
	check(&head, 1, 2, 0);
}

ATF_TC_WITHOUT_HEAD(a_node_may_be_removed_twice);
ATF_TC_BODY(a_node_may_be_removed_twice, tc)
{
	struct list head = LIST_INIT(head);
	struct item a = { .n = 1 }, b = { .n = 2 };

	list_push_back(&head, &a.link);
	list_push_back(&head, &b.link);
	list_remove(&a.link);
	list_remove(&a.link);
	check(&head, 2, 0, 0);
	ATF_CHECK(list_empty(&a.link));
}

ATF_TC_WITHOUT_HEAD(the_safe_walk_allows_removal);
ATF_TC_BODY(the_safe_walk_allows_removal, tc)
{
	struct list head = LIST_INIT(head);
	struct item it[3] = { { .n = 1 }, { .n = 2 }, { .n = 3 } };

	for (int i = 0; i < 3; i++)
		list_push_back(&head, &it[i].link);
	list_for_each_safe(p, &head)
		if (list_entry(p, struct item, link)->n != 2)
			list_remove(p);
	check(&head, 2, 0, 0);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_new_list_is_empty);
	ATF_TP_ADD_TC(tp, back_keeps_order_and_front_turns_it);
	ATF_TP_ADD_TC(tp, a_node_may_be_removed_twice);
	ATF_TP_ADD_TC(tp, the_safe_walk_allows_removal);
	return atf_no_error();
}
