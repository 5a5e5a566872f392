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

# On arm64 the rate is what firmware says, and the real-time clock is looked at beside it.  Here a wait takes no time and a nanosecond
# is an instruction: both clocks go by that, so a loaded machine changes nothing.
FLIES='-icount shift=0,sleep=off -rtc clock='

atf_test_case the_timer_and_the_real_time_clock_agree
the_timer_and_the_real_time_clock_agree_body() {
	capos_boot SMP=1 QEMU_EXTRA="${FLIES}vm" CMD='sleep 100000; log'
	capos_expect 'clock: generic timer and real-time clock agree: 6[45] seconds'
	capos_refute 'disagree'
}

# A device tree that says another rate than the counter's: 6 % more, twice it, half of it.
atf_test_case a_timer_that_is_wrong_is_named
a_timer_that_is_wrong_is_named_body() {
	capos_disk disk.img 1M 80
	env SMP=1 DISK=none NET=none MACHINE="virt,dumpdtb=$PWD/board.dtb" "$ROOT/tools/run" </dev/null >dump.out 2>&1
	said() {	# Hz, what is said
		dtc -q -I dtb -O dts board.dtb | sed "/^\ttimer {/a clock-frequency = <$1>;" >tree.dts
		dtc -q -I dts -O dtb -o tree.dtb tree.dts || atf_fail 'no device tree'
		capos_boot SMP=1 DISK=disk.img QEMU_EXTRA="${FLIES}vm -dtb $PWD/tree.dtb" CMD='sleep 150000; sha256 nvme0n1'
		capos_expect "clock: generic timer at $(($1 / 1000)) kHz, says the device tree" "^$(capos_sha256 disk.img)  nvme0n1" \
		    "W clock: generic timer and real-time clock disagree: $2"
		[ "$(grep -c disagree serial.txt)" -eq 1 ] || capos_fail 'said more than once'
	}
	said 66250000 '640[0-9]{2} ms by the timer, 6[78] s by the other: time-outs may be too long'
	said 125000000 '(40|160|640)[0-9]{2} ms by the timer, (8|32|128) s by the other: time-outs may be too long'
	said 31250000 '(40|160|640)[0-9]{2} ms by the timer, (2|8|32) s by the other: time-outs may be too short'
}

# ACPI tables name no real-time clock; firmware keeps it for its runtime code, and lists it.  Nothing but the host's clock can differ from
# the timer there: however slow that host is, the timer has flown ahead at one of three looks.
atf_test_case with_tables_the_clock_that_firmware_keeps_is_the_other
with_tables_the_clock_that_firmware_keeps_is_the_other_head() { atf_set timeout 900; }
with_tables_the_clock_that_firmware_keeps_is_the_other_body() {
	capos_boot BOOT=uefi SMP=1 APPEND=record QEMU_EXTRA="${FLIES}vm,base=2031-12-31T23:58:07" CMD='sleep 100000; log'
	capos_expect '^table FACP' 'I clock: reading what firmware keeps at 0x9010000 ' 'clock: it is 2031-12-31 23:58:[0-9]+ UTC, says the real-time clock' '^clock compared with PL031' \
	    'clock: generic timer and real-time clock agree: 6[45] seconds'
	capos_refute 'disagree'
	capos_boot BOOT=uefi SMP=1 QEMU_EXTRA="${FLIES}host" CMD='sleep 1000000'
	capos_expect 'W clock: generic timer and real-time clock disagree: [0-9]+ ms by the timer, [0-9]+ s by the other: time-outs may be too short'
}

atf_test_case a_timer_that_nothing_is_compared_with_is_said_so
a_timer_that_nothing_is_compared_with_is_said_so_body() {
	env SMP=1 DISK=none NET=none MACHINE="virt,dumpdtb=$PWD/board.dtb" "$ROOT/tools/run" </dev/null >dump.out 2>&1
	dtc -q -I dtb -O dts board.dtb | sed '/^\tpl031@/,/^\t};/d' >tree.dts
	dtc -q -I dts -O dtb -o tree.dtb tree.dts || atf_fail 'no device tree'
	capos_boot -s 1 SMP=1 APPEND=record QEMU_EXTRA="-dtb $PWD/tree.dtb" CMD=date
	capos_expect "I clock: no other clock: the generic timer's rate is not compared" '^clock not compared: no other clock is known' \
	    '^the date is unknown'
}

atf_init_test_cases() {
	case $ARCH in
	arm64)
		atf_add_test_case the_timer_and_the_real_time_clock_agree
		atf_add_test_case a_timer_that_is_wrong_is_named
		atf_add_test_case with_tables_the_clock_that_firmware_keeps_is_the_other
		atf_add_test_case a_timer_that_nothing_is_compared_with_is_said_so ;;
	x86_64)
		atf_add_test_case the_tsc_is_measured_against_what_there_is ;;
	esac
	atf_add_test_case the_date_is_the_real_time_clocks
	atf_add_test_case a_clock_that_was_never_set_is_not_believed
}
