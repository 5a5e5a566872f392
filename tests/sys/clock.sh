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

# The TSC is measured against the PM timer, without one against the HPET, without both against the PIT: the same, near enough.
atf_test_case the_tsc_is_measured_against_what_there_is
the_tsc_is_measured_against_what_there_is_body() {
	pm='table FACP put 76 00000000 put 91 00 put 208 000000000000000000000000 sum'
	for by in 'PM timer' HPET PIT; do
		case $by in HPET) steps=$pm ;; PIT) steps="$pm table HPET put 9 00" ;; *) steps= ;; esac
		capos_boot SMP=1 CPU=qemu64 TAMPER="$steps" CMD='sleep 1; date'
		capos_expect "clock: TSC at [0-9]+ MHz by $by, "
		mhz="${mhz:-} $(capos_value 'TSC at ([0-9]+) MHz')"
	done
	echo "$mhz" | awk '{ for (i = 2; i <= 3; i++) if ($i < $1 * 0.7 || $i > $1 * 1.4) exit 1 }' || capos_fail "MHz:$mhz"
}

atf_init_test_cases() {
	[ "$ARCH" != x86_64 ] || atf_add_test_case the_tsc_is_measured_against_what_there_is
	atf_add_test_case the_date_is_the_real_time_clocks
	atf_add_test_case a_clock_that_was_never_set_is_not_believed
}
