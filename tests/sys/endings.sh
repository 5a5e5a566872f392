#! /usr/bin/env atf-sh
# How things end: the root task, and processes that hold a lot.  usr/trial stands in init's place.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# trial WHAT NAME=value...: boots an archive that holds nothing but usr/trial, as init.
trial() {
	what=$1; shift
	"$ROOT/tools/mkarchive" trial.cpio init="$ROOT/build/$ARCH/$BUILD/usr/trial"
	capos_boot -s any INITRD=trial.cpio APPEND="trial=$what" CMD=none "$@"
}

# The death of init is an orderly stop with all bus mastering off: QEMU saw the last word to each command register.
atf_test_case when_the_root_task_dies_the_machine_stops_with_bus_mastering_off
when_the_root_task_dies_the_machine_stops_with_bus_mastering_off_head() { atf_set timeout 900; }
when_the_root_task_dies_the_machine_stops_with_bus_mastering_off_body() {
	capos_disk disk.img 1M 70
	trial death DISK=disk.img SMP=2 TRACE=pci_cfg_write
	capos_expect 'bus mastering is on; now the root task dies' 'init\[1\]: write to a bad address' \
	    'init ended \(write to a bad address\): stopping' 'I power off'
	sed -n 's/^pci_cfg_write nvme .*@0x4 <- 0x\([0-9a-f]*\)$/\1/p' qemu.err >commands
	on=0
	while read -r command; do
		[ $((0x$command & 4)) -eq 0 ] || on=$((on + 1))
	done <commands
	[ $on -ge 1 ] || capos_fail 'bus mastering was never on'
	[ $((0x$command & 4)) -eq 0 ] || capos_fail "bus mastering is still on: 0x$command"
}

# One reset at a time, and the end of the claim waits for it.  A nanosecond is an instruction, so who comes first is no race.
atf_test_case a_reset_is_one_callers_and_outlives_him
a_reset_is_one_callers_and_outlives_him_head() { atf_set timeout 900; }
a_reset_is_one_callers_and_outlives_him_body() {
	case $ARCH in x86_64) cpu=max,-x2apic ;; *) cpu= ;; esac
	capos_disk disk.img 1M 71
	trial reset DISK=disk.img SMP=1 CPU=$cpu QEMU_EXTRA='-icount shift=0,sleep=off'
	capos_expect '^trial: a second reset: busy; configuration: busy; mastering 0' '^trial: the first: success, mastering 1' \
	    '^trial: end within a reset: success; the reset: stale.*; mastering 0' \
	    '^trial: killed within a reset: code 77 after less than 50 ms; another: busy; later: success, mastering 1' \
	    '^trial: an impatient reset: timed out; mastering 1' '^capos: exit status 0'
	capos_refute 'quarantined'
}

# The first claim makes the live test of the IOMMU.  Who gives up, or dies, leaves nothing half done: the test goes on, the claim ends
# after it, and the next one finds how it went.
atf_test_case a_live_test_outlives_its_claimer
a_live_test_outlives_its_claimer_head() { atf_set timeout 900; }
a_live_test_outlives_its_claimer_body() {
	case $ARCH in x86_64) cpu=max,-x2apic ;; *) cpu= ;; esac
	capos_disk disk.img 1M 73
	capos_disk other.img 1M 74
	trial live DISK=disk.img SMP=1 CPU=$cpu QEMU_EXTRA='-icount shift=0,sleep=off
	    -drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other'
	capos_expect '^trial: an impatient claim: timed out; another: busy; later: success' \
	    '^trial: killed within a claim: code 77 after less than 50 ms; another: busy; later: success' '^capos: exit status 0'
	[ "$(grep -c 'live test: validated' serial.txt)" -eq 2 ] || capos_fail 'not each was tested once'
	capos_refute 'quarantined'
}

# A device that does nothing but fault costs another process less than a tenth of its time (D11).  Under
# -icount shift=0 a nanosecond is an instruction.  Each command's 4 KiB are refused as 1024 words; the disk is slow, so
# they last, and make about a million faults a second of the machine's time.
atf_test_case a_flood_of_faults_slows_nobody
a_flood_of_faults_slows_nobody_head() { atf_set timeout 900; }
a_flood_of_faults_slows_nobody_body() {
	case $ARCH in x86_64) cpu=max,-x2apic ;; *) cpu= ;; esac
	capos_disk disk.img 1M 75
	capos_boot MANIFEST=mapped SMP=1 CPU=$cpu CMD='rogue 0 f 0x40000000; iommu; mem' QEMU_EXTRA='-icount shift=0,sleep=off
	    -drive if=none,id=slow,file=disk.img,format=raw,throttling.iops-total=250 -device nvme,serial=slow,drive=slow'
	capos_expect '^rogue: .*success, driver success, [0-9]+ commands' ' quarantined 0$'
	before=$(capos_value 'a loop got to ([0-9]+) before')
	meanwhile=$(capos_value 'at least to ([0-9]+) meanwhile')
	[ $((meanwhile * 10)) -ge $((before * 9)) ] || capos_fail "a loop got to $before without, to $meanwhile with the flood"
	# The emulator's VT-d leaves out the faults of a device that has one on record.
	[ "$ARCH" = x86_64 ] || [ "$(capos_value 'faults ([0-9]+), lost [1-9]')" -ge 1000 ] || capos_fail 'that was no flood'
}

# Ending a process is cut into bounded steps: nobody more urgent waits longer than about 50,000 instructions (design,
# section 3).  Under -icount shift=0 a nanosecond is an instruction.
atf_test_case ending_a_process_with_much_memory_keeps_nobody_waiting
ending_a_process_with_much_memory_keeps_nobody_waiting_head() { atf_set timeout 1800; }
ending_a_process_with_much_memory_keeps_nobody_waiting_body() {
	case $ARCH in x86_64) cpu=max,-x2apic ;; *) cpu= ;; esac	# the emulator refuses clock reads by WRMSR then
	capos_disk disk.img 1M 72
	trial "end=$(capos_scale 80 4096)" DISK=disk.img SMP=1 CPU=$cpu MEM="$(capos_scale 512M 6G)" QEMU_EXTRA='-icount shift=0,sleep=off' TIMEOUT=1500
	capos_expect '^trial: single pages: ' '^trial: large pages: ' '^trial: many handles: ' '^trial: abandoned: ' '^trial: grants: ' \
	    '^capos: exit status 0'
	[ "$BUILD" != debug ] || return 0	# it fills what becomes free with poison, and takes its time
	for late in $(sed -n 's/^trial: .* the latest \([0-9]*\) ns late.*/\1/p; s/^trial: .* took \([0-9]*\) ns$/\1/p' serial.txt); do
		[ "$late" -le 55000 ] || capos_fail "somebody waited for $late instructions"
	done
}

atf_init_test_cases() {
	atf_add_test_case when_the_root_task_dies_the_machine_stops_with_bus_mastering_off
	atf_add_test_case a_reset_is_one_callers_and_outlives_him
	atf_add_test_case a_live_test_outlives_its_claimer
	atf_add_test_case a_flood_of_faults_slows_nobody
	atf_add_test_case ending_a_process_with_much_memory_keeps_nobody_waiting
}
