#! /usr/bin/env atf-sh
# The date: from the machine's real-time clock, or unknown.  The rate of time, against another clock.
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

# The TSC is measured against the PM timer, without one against the HPET, without both against the PIT.  Its rate is known here: a tick is
# an instruction, and that is a nanosecond.
atf_test_case the_tsc_is_measured_against_what_there_is
the_tsc_is_measured_against_what_there_is_body() {
	pm='table FACP put 76 00000000 put 91 00 put 208 000000000000000000000000 sum'
	for by in 'PM timer' HPET PIT; do
		case $by in HPET) steps=$pm ;; PIT) steps="$pm table HPET put 9 00" ;; *) steps= ;; esac
		capos_boot SMP=1 CPU=qemu64 TAMPER="$steps" QEMU_EXTRA='-icount shift=0,sleep=off' CMD='sleep 1; date'
		capos_expect "clock: TSC at (99[0-9]|100[0-9]|1010) MHz by $by, "
	done
}

# On arm64 the rate is what firmware says, and the real-time clock is looked at beside it.  Here a wait takes no time, so the timer flies, and
# the other flies with it, or goes by the host's clock.
FLIES='-icount shift=0,sleep=off -rtc clock='

atf_test_case the_timer_and_the_real_time_clock_agree
the_timer_and_the_real_time_clock_agree_body() {
	capos_boot SMP=1 QEMU_EXTRA="${FLIES}vm" CMD='sleep 100000; log'
	capos_expect 'clock: generic timer and real-time clock agree: 6[45] seconds'
	capos_refute 'disagree'
}

atf_test_case a_timer_that_is_wrong_is_named
a_timer_that_is_wrong_is_named_body() {
	capos_disk disk.img 1M 80
	capos_boot SMP=1 DISK=disk.img QEMU_EXTRA="${FLIES}host" CMD='sleep 100000; sha256 nvme0n1'
	capos_expect 'W clock: generic timer and real-time clock disagree: 40[0-9]{2} ms by the timer, [01] s by the other: time-outs may be too short' \
	    "^$(capos_sha256 disk.img)  nvme0n1"
	[ "$(grep -c disagree serial.txt)" -eq 1 ] || capos_fail 'said more than once'
}

atf_init_test_cases() {
	case $ARCH in
	arm64)
		atf_add_test_case the_timer_and_the_real_time_clock_agree
		atf_add_test_case a_timer_that_is_wrong_is_named ;;
	x86_64)
		atf_add_test_case the_tsc_is_measured_against_what_there_is ;;
	esac
	atf_add_test_case the_date_is_the_real_time_clocks
	atf_add_test_case a_clock_that_was_never_set_is_not_believed
}
