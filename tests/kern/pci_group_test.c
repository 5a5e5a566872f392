/*
 * kern/pci_group.c: who the fabric does not keep apart, by the rules of PCIe 6.12 (ACS), and whom a
 * card that is plugged in would meet.
 *
 * LINK: kern/pci_group.c
 */
#include <atf-c.h>
#include <string.h>

#include "kern/base/bits.h"
#include "kern/pci_config.h"

/*
 *     0 host bridge   1 endpoint on the root bus
 *     2 root port     3 endpoint below it
 *     4 root port     5 upstream port of a switch
 *                     6 downstream    7, 8 two functions of one device
 *                     9 downstream   10 endpoint
 */
enum { ROOT_A = 2, BELOW_A, ROOT_B, UP, DOWN_A, CARD, CARD2, DOWN_B, BESIDE, FUNCTIONS };

static struct pci_function t[FUNCTIONS];
static bool has_acs[FUNCTIONS];

static bool acs(const struct pci_function *f) { return has_acs[f - t]; }

static void
function(unsigned i, int parent, uint16_t rid)
{
	t[i] = (struct pci_function){ .rid = rid, .parent = (int16_t)parent, .unit = 0,
		.endpoint = rid, .pcie = true };
}

static void
port(unsigned i, int parent, uint16_t rid, uint8_t type)
{
	function(i, parent, rid);
	t[i].bridge = true;
	t[i].port_type = type;
}

/* Every port keeps apart, or none does. */
static void
begin(bool keeps)
{
	memset(has_acs, keeps, sizeof(has_acs));
	function(0, -1, 0x00);
	function(1, -1, 0x08);
	port(ROOT_A, -1, 0x10, PORT_ROOT);
	function(BELOW_A, ROOT_A, 0x100);
	port(ROOT_B, -1, 0x18, PORT_ROOT);
	port(UP, ROOT_B, 0x200, PORT_UPSTREAM);
	port(DOWN_A, UP, 0x300, PORT_DOWNSTREAM);
	function(CARD, DOWN_A, 0x400);
	function(CARD2, DOWN_A, 0x401);
	port(DOWN_B, UP, 0x308, PORT_DOWNSTREAM);
	function(BESIDE, DOWN_B, 0x500);
	/* One device keeps its functions apart when both say so. */
	has_acs[CARD] = has_acs[CARD2] = false;
}

/* Groups as a text: a letter for each function. */
static const char *
groups(void)
{
	static char text[FUNCTIONS + 1];

	pci_make_groups(t, FUNCTIONS, acs);
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		ATF_CHECK(t[i].group <= i && t[t[i].group].group == t[i].group);
		text[i] = (char)('a' + t[i].group);
	}
	return text;
}

ATF_TC_WITHOUT_HEAD(what_keeps_apart_is_alone);
ATF_TC_BODY(what_keeps_apart_is_alone, tc)
{
	begin(true);
	ATF_CHECK_STREQ(groups(), "abcdefghhjk");	/* but for functions of one device */
	has_acs[CARD] = has_acs[CARD2] = true;
	ATF_CHECK_STREQ(groups(), "abcdefghijk");
	has_acs[CARD2] = false;
	ATF_CHECK_STREQ(groups(), "abcdefghhjk");
}

ATF_TC_WITHOUT_HEAD(below_a_switch_that_does_not_they_meet);
ATF_TC_BODY(below_a_switch_that_does_not_they_meet, tc)
{
	begin(true);
	has_acs[DOWN_A] = false;
	ATF_CHECK_STREQ(groups(), "abcdefghhjh");
	begin(true);
	has_acs[DOWN_B] = false;
	ATF_CHECK_STREQ(groups(), "abcdefghhjh");
	/* Ports only pass on; with registers they can be reached too. */
	t[DOWN_A].bar[0].len = PAGE_SIZE;
	ATF_CHECK_STREQ(groups(), "abcdefgggjg");
	t[DOWN_B].bar[1].len = 16;
	ATF_CHECK_STREQ(groups(), "abcdefggggg");
}

ATF_TC_WITHOUT_HEAD(below_root_ports_that_do_not_all_meet);
ATF_TC_BODY(below_root_ports_that_do_not_all_meet, tc)
{
	begin(true);
	has_acs[ROOT_A] = false;
	ATF_CHECK_STREQ(groups(), "abcdefgddjd");
	/* Not those of another segment. */
	for (unsigned i = ROOT_B; i < FUNCTIONS; i++)
		t[i].segment = 1;
	ATF_CHECK_STREQ(groups(), "abcdefghhjk");
	begin(false);
	ATF_CHECK_STREQ(groups(), "abcdefgddjd");
}

ATF_TC_WITHOUT_HEAD(below_a_conventional_bridge_all_are_the_bridges);
ATF_TC_BODY(below_a_conventional_bridge_all_are_the_bridges, tc)
{
	begin(true);
	t[ROOT_B].pcie = false;
	ATF_CHECK_STREQ(groups(), "abcdefgeeje");
	t[ROOT_A].pcie = false;
	ATF_CHECK_STREQ(groups(), "abccefgeeje");
}

ATF_TC_WITHOUT_HEAD(who_has_one_id_has_one_group);
ATF_TC_BODY(who_has_one_id_has_one_group, tc)
{
	begin(true);
	t[BESIDE].endpoint = t[1].endpoint;
	ATF_CHECK_STREQ(groups(), "abcdefghhjb");
	t[BESIDE].unit = t[1].unit = -1;
	ATF_CHECK_STREQ(groups(), "abcdefghhjk");
}

/* A card below DOWN_A, whose functions are not there yet.  It meets whom it would have met at boot.
 */
static bool
meets(void)
{
	bool m;

	t[CARD].gone = t[CARD2].gone = true;
	m = pci_group_meets(t, FUNCTIONS, CARD, acs);
	ATF_CHECK_EQ(pci_group_meets(t, FUNCTIONS, CARD2, acs), m);
	return m;
}

ATF_TC_WITHOUT_HEAD(a_card_meets_who_is_there);
ATF_TC_BODY(a_card_meets_who_is_there, tc)
{
	begin(true);
	ATF_CHECK(!meets());
	has_acs[DOWN_A] = false;
	ATF_CHECK(meets());
	t[BESIDE].gone = true;			/* only ports are left */
	ATF_CHECK(!meets());
	t[DOWN_B].bar[0].len = PAGE_SIZE;
	ATF_CHECK(meets());
	/* Its own port keeps apart, the one beside it does not. */
	begin(true);
	has_acs[DOWN_B] = false;
	ATF_CHECK(meets());
	t[BESIDE].gone = true;
	ATF_CHECK(!meets());
	/* Far above it: the root port. */
	begin(true);
	has_acs[ROOT_B] = false;
	ATF_CHECK(meets());
	t[BESIDE].gone = t[BELOW_A].gone = true;
	ATF_CHECK(!meets());
	begin(true);
	has_acs[ROOT_A] = false;
	t[BESIDE].gone = true;
	ATF_CHECK(meets());
	t[BELOW_A].gone = true;			/* it keeps nobody together any more */
	ATF_CHECK(!meets());
	begin(true);
	t[ROOT_B].pcie = false;			/* its id is the bridge's */
	t[BESIDE].gone = t[BELOW_A].gone = true;
	ATF_CHECK(meets());
	begin(false);
	ATF_CHECK(meets());
}

/* Parents that make no sense end as well. */
ATF_TC_WITHOUT_HEAD(a_table_that_is_a_ring_ends);
ATF_TC_BODY(a_table_that_is_a_ring_ends, tc)
{
	begin(false);
	t[ROOT_B].parent = BESIDE;
	t[ROOT_A].parent = ROOT_A;
	t[UP].parent = 0x7000;
	(void)groups();
	(void)meets();
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, what_keeps_apart_is_alone);
	ATF_TP_ADD_TC(tp, below_a_switch_that_does_not_they_meet);
	ATF_TP_ADD_TC(tp, below_root_ports_that_do_not_all_meet);
	ATF_TP_ADD_TC(tp, below_a_conventional_bridge_all_are_the_bridges);
	ATF_TP_ADD_TC(tp, who_has_one_id_has_one_group);
	ATF_TP_ADD_TC(tp, a_card_meets_who_is_there);
	ATF_TP_ADD_TC(tp, a_table_that_is_a_ring_ends);
	return atf_no_error();
}
