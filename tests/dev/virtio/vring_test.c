/*
 * Arithmetic of split virtqueues, against the manual's own layout [VIRTIO 1.2, 2.7].
 */
#include <atf-c.h>

#include "dev/virtio/vring.h"

ATF_TC_WITHOUT_HEAD(parts_are_where_the_manual_has_them);
ATF_TC_BODY(parts_are_where_the_manual_has_them, tc)
{
	/* [2.7]: sizes of the parts: 16 n, 6 + 2 n, 6 + 8 n. */
	for (uint32_t n = 1; n <= VIRTQ_SIZE_MAX; n *= 2) {
		ATF_CHECK_EQ(16 * n, vring_avail(n));
		ATF_CHECK_EQ(16 * n + 6 + 2 * n, vring_driver_bytes(n));
		ATF_CHECK_EQ(6 + 8 * n, vring_device_bytes(n));
		ATF_CHECK_EQ(16 * n + 4, vring_avail_entry(n, 0));
		ATF_CHECK_EQ(16 * n + 4 + 2 * (n - 1), vring_avail_entry(n, (uint16_t)(n - 1)));
		ATF_CHECK_EQ(vring_driver_bytes(n) - 2, vring_used_event(n));
		ATF_CHECK_EQ(4, vring_used_entry(n, 0));
		ATF_CHECK_EQ(4 + 8 * (n - 1), vring_used_entry(n, (uint16_t)(n - 1)));
		ATF_CHECK_EQ(vring_device_bytes(n) - 2, vring_avail_event(n));
		ATF_CHECK_EQ(vring_avail_entry(n, 0), vring_avail_entry(n, (uint16_t)n));
		ATF_CHECK_EQ(vring_used_entry(n, 0), vring_used_entry(n, (uint16_t)n));
	}
}

/* [2.7.7.2] in words: "event" is one of the new entries. */
static bool
among(uint16_t event, uint16_t now, uint16_t old)
{
	for (uint16_t i = old; i != now; i++)
		if (i == event)
			return true;
	return false;
}

ATF_TC_WITHOUT_HEAD(an_event_passes_when_its_entry_is_new);
ATF_TC_BODY(an_event_passes_when_its_entry_is_new, tc)
{
	static const uint16_t at[] = { 0, 1, 100, 0x7fff, 0x8000, 0xfff0, 0xffff };

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		for (uint16_t n = 0; n < 40; n++)
			for (int e = -45; e < 45; e++) {
				uint16_t old = at[i], now = (uint16_t)(old + n),
					 event = (uint16_t)(old + e);

				ATF_CHECK_EQ_MSG(among(event, now, old),
				    vring_event_passed(event, now, old), "%u %u %u", event, now,
				    old);
			}
}

ATF_TP_ADD_TCS(tp)
{
	ATF_TP_ADD_TC(tp, parts_are_where_the_manual_has_them);
	ATF_TP_ADD_TC(tp, an_event_passes_when_its_entry_is_new);
	return atf_no_error();
}
