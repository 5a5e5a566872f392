/*
 * arch/arm64/primecell.h: identification registers, as the parts' manuals have them.
 * LINK: arch/arm64/primecell.c
 */
#include <atf-c.h>

#include <string.h>

#include "arch/arm64/primecell.h"

static _Alignas(4096) uint8_t page[4096];

static void
start(const uint8_t id[8])
{
	memset(page, 0xee, sizeof(page));
	for (unsigned i = 0; i < 8; i++) {
		/* The upper bits mean nothing. */
		memset(page + 0xfe0 + 4 * i, 0xa5, 4);
		page[0xfe0 + 4 * i] = id[i];
	}
}

ATF_TC_WITHOUT_HEAD(a_real_time_clock_is_known_in_every_revision);
ATF_TC_BODY(a_real_time_clock_is_known_in_every_revision, tc)
{
	uint8_t id[8] = { 0x31, 0x10, 0x04, 0, 0x0d, 0xf0, 0x05, 0xb1 };

	for (unsigned revision = 0; revision < 16; revision++) {
		id[2] = (uint8_t)(revision << 4 | 4);
		start(id);
		ATF_CHECK(primecell_is(page, PRIMECELL_RTC));
	}
}

ATF_TC_WITHOUT_HEAD(what_differs_in_one_bit_is_another_device);
ATF_TC_BODY(what_differs_in_one_bit_is_another_device, tc)
{
	static const uint8_t clock[8] = { 0x31, 0x10, 0x04, 0, 0x0d, 0xf0, 0x05, 0xb1 };

	for (unsigned bit = 0; bit < 64; bit++) {
		uint8_t id[8];

		/* Revision, and a register for who builds it in. */
		if ((bit >= 20 && bit < 32))
			continue;
		memcpy(id, clock, sizeof(id));
		id[bit / 8] ^= (uint8_t)(1 << bit % 8);
		start(id);
		ATF_CHECK_MSG(!primecell_is(page, PRIMECELL_RTC), "bit %u", bit);
	}
}

ATF_TC_WITHOUT_HEAD(other_parts_and_empty_pages_are_none);
ATF_TC_BODY(other_parts_and_empty_pages_are_none, tc)
{
	static const uint8_t uart[8] = { 0x11, 0x10, 0x34, 0, 0x0d, 0xf0, 0x05, 0xb1 };
	static const uint8_t watchdog[8] = { 0x05, 0x18, 0x14, 0, 0x0d, 0xf0, 0x05, 0xb1 };

	start(uart);
	ATF_CHECK(!primecell_is(page, PRIMECELL_RTC));
	start(watchdog);
	ATF_CHECK(!primecell_is(page, PRIMECELL_RTC));
	memset(page, 0, sizeof(page));
	ATF_CHECK(!primecell_is(page, PRIMECELL_RTC));
	memset(page, 0xff, sizeof(page));
	ATF_CHECK(!primecell_is(page, PRIMECELL_RTC));
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, a_real_time_clock_is_known_in_every_revision);
	ATF_TP_ADD_TC(tp, what_differs_in_one_bit_is_another_device);
	ATF_TP_ADD_TC(tp, other_parts_and_empty_pages_are_none);
	return atf_no_error();
}
