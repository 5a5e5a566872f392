/*
 * arch/arm64/lpi.h: how many message interrupts a distributor has.
 */
#include <atf-c.h>

#include "arch/arm64/lpi.h"

/* Lines, LPIS, IDbits, num_LPIs. */
static uint32_t
typer(bool lpis, uint32_t id_bits, uint32_t num)
{
	return 3 | (uint32_t)lpis << 17 | (id_bits - 1) << 19 | num << 11;
}

ATF_TC_WITHOUT_HEAD(without_a_number_ids_decide);
ATF_TC_BODY(without_a_number_ids_decide, tc)
{
	ATF_CHECK_EQ(lpi_count(typer(true, 16, 0)), 65536 - 8192);
	ATF_CHECK_EQ(lpi_count(typer(true, 14, 0)), 8192);
	ATF_CHECK_EQ(lpi_count(typer(true, 13, 0)), 0);
	ATF_CHECK_EQ(lpi_count(typer(true, 10, 0)), 0);
	ATF_CHECK_EQ(lpi_count(typer(true, 32, 0)), UINT32_MAX - 8191);
}

ATF_TC_WITHOUT_HEAD(a_number_limits_them_and_never_adds);
ATF_TC_BODY(a_number_limits_them_and_never_adds, tc)
{
	/* AWS Graviton. */
	ATF_CHECK_EQ(lpi_count(typer(true, 16, 6)), 128);
	ATF_CHECK_EQ(lpi_count(typer(true, 16, 1)), 4);
	ATF_CHECK_EQ(lpi_count(typer(true, 14, 31)), 8192);
	ATF_CHECK_EQ(lpi_count(typer(true, 10, 6)), 0);
}

ATF_TC_WITHOUT_HEAD(without_lpis_there_are_none);
ATF_TC_BODY(without_lpis_there_are_none, tc)
{
	ATF_CHECK_EQ(lpi_count(typer(false, 16, 0)), 0);
	ATF_CHECK_EQ(lpi_count(typer(false, 16, 6)), 0);
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, without_a_number_ids_decide);
	ATF_TP_ADD_TC(tp, a_number_limits_them_and_never_adds);
	ATF_TP_ADD_TC(tp, without_lpis_there_are_none);
	return atf_no_error();
}
