#! /usr/bin/env atf-sh
# CPUs that come, and CPUs that do not.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# Firmware lists a CPU that cannot be started: on arm64 one that is not there (PSCI refuses), on x86_64 one whose APIC
# id no start message reaches.
atf_test_case a_cpu_that_does_not_start_is_named_and_the_others_go_on
a_cpu_that_does_not_start_is_named_and_the_others_go_on_body() {
	capos_disk disk.img 1M 60
	if [ "$ARCH" = arm64 ]; then
		capos_boot -s any DISK=disk.img SMP=3 QEMU_EXTRA='-machine dumpdtb=machine.dtb'
		# Between the boot CPU and the others, so that somebody comes after it.
		dtc -q -I dtb -O dts machine.dtb >machine.dts || capos_fail 'no device tree'
		awk '/cpu@1 {/ { print "cpu@77 { device_type = \"cpu\"; compatible = \"arm,neoverse-n1\"; reg = <0x77>;",
		    "enable-method = \"psci\"; };" } { print }' machine.dts >more.dts
		dtc -q -I dts -O dtb -o more.dtb more.dts || capos_fail 'no device tree'
		capos_boot DISK=disk.img SMP=3 QEMU_EXTRA='-dtb more.dtb' CMD='cpus; sha256 nvme0n1'
		capos_expect 'E cpu 77: did not start: not found'
	else
		capos_boot DISK=disk.img SMP=1 \
		    QEMU_EXTRA='-smp 1,maxcpus=258,sockets=2,cores=129,threads=1
		    -device max-x86_64-cpu,socket-id=1,core-id=0,thread-id=0
		    -device max-x86_64-cpu,socket-id=0,core-id=5,thread-id=0
		    -device max-x86_64-cpu,socket-id=0,core-id=9,thread-id=0' CMD='cpus; sha256 nvme0n1'
		capos_expect 'E cpu 100: did not start: not supported'
	fi
	capos_expect 'cpus: 3 online' "^$(capos_sha256 disk.img)  nvme0n1"
	[ "$(grep -c 'did not start' serial.txt)" -eq 1 ] || capos_fail 'said more than once'
	[ "$(grep -c -E '^ +[012] +[0-9]+ +[0-9]+' serial.txt)" -eq 3 ] || capos_fail 'the list of CPUs is wrong'
}

# A switch between processes keeps translations where the CPU has process-context ids; arm64 always has the like.
atf_test_case switches_keep_translations_where_the_cpu_can
switches_keep_translations_where_the_cpu_can_body() {
	capos_disk disk.img 1M 61
	capos_boot DISK=disk.img SMP=2 CPU=max,+pcid CMD='sha256 nvme0n1; memtest 8; cpus'
	! grep -q "TCG doesn't support requested feature.*pcid" qemu.err || atf_skip "this QEMU's TCG has no PCID"
	capos_expect 'capOS on .* PCID' "^$(capos_sha256 disk.img)  nvme0n1" ' 0 wrong'
	# Each process is loaded on each CPU for the first time, and after changes; not at each switch.
	awk '/^ +[01] +[0-9]/ { switches += $5; stale += $6 } END { exit !(switches > 100 && stale * 5 < switches) }' serial.txt ||
	    capos_fail 'too many flushes'
}

atf_init_test_cases() {
	atf_add_test_case a_cpu_that_does_not_start_is_named_and_the_others_go_on
	if [ "$ARCH" = x86_64 ]; then atf_add_test_case switches_keep_translations_where_the_cpu_can; fi
}
