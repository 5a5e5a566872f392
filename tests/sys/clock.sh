#! /usr/bin/env atf-sh
# The date: from the machine's real-time clock, or unknown.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case the_date_is_the_real_time_clocks
the_date_is_the_real_time_clocks_body() {
	capos_boot QEMU_EXTRA='-rtc base=2031-12-31T23:58:07' CMD='date; log -d'
	capos_expect 'clock: it is 2031-12-31 23:58:[0-9]+ UTC' '^2031-12-31 23:5[89]:[0-9]+ UTC$' \
	    '^2031-12-31 23:58:[0-9]+\.[0-9]{6} I capOS on'
}

atf_test_case a_clock_that_was_never_set_is_not_believed
a_clock_that_was_never_set_is_not_believed_body() {
	capos_boot -s 1 QEMU_EXTRA='-rtc base=1999-01-02T03:04:05' CMD='date'
	capos_expect 'the real-time clock says 1999-01-02 03:04:[0-9]+: not believed, the date is unknown' '^the date is unknown'
	[ "$(grep -c 'not believed' serial.txt)" -eq 1 ] || capos_fail 'said more than once'
}

atf_init_test_cases() {
	atf_add_test_case the_date_is_the_real_time_clocks
	atf_add_test_case a_clock_that_was_never_set_is_not_believed
}
