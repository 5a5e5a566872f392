#! /usr/bin/env atf-sh
# What the trace says about what happened.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"
. "$(atf_get_srcdir)/../../../tests/lib/teardown.subr"

atf_test_case the_end_of_a_claim_keeps_its_order
the_end_of_a_claim_keeps_its_order_body() {
	capos_disk disk.img 1M 40
	capos_boot DISK=disk.img SMP=4 CMD='sha256 nvme0n1 0 4096; kill nvmed; sha256 nvme0n1; trace 1000'
	teardown_judge direct 3 1
	[ "$(grep -c 'cpu [0-9]* device claim: ' serial.txt)" -ge 2 ] || capos_fail 'no new claim'
	capos_expect 'process dead: ' 'process ends: process [0-9]+, killed' 'process made: process [0-9]+, nvmed, process' 'interrupt: '
}

atf_test_case a_refused_access_is_traced
a_refused_access_is_traced_body() {
	capos_disk disk.img 1M 41
	capos_boot DISK=disk.img MANIFEST=mapped CMD='rogue 0 w 0x5000; sleep 500; trace 1000'
	capos_expect 'dma fault: [0-9a-f:.]+, iova 0x5000, write, not mapped'
}

# No user can make the kernel panic: a debugger sends a CPU that idles in the kernel to an address where nothing is.
atf_test_case a_panic_tells_what_came_before
a_panic_tells_what_came_before_body() {
	command -v gdb-multiarch >/dev/null || atf_skip 'needs gdb-multiarch (tools/bootstrap debug)'
	case $ARCH in arm64) cpu=max,pauth-impdef=on ;; *) cpu=max ;; esac
	capos_start SMP=2 CPU=$cpu QEMU_EXTRA='-gdb unix:gdb.sock,server=on,wait=off'
	capos_wait 'capos> '
	sleep 1
	gdb-multiarch -q -batch -ex 'target remote gdb.sock' -ex 'thread 1' -ex 'set $pc = 16' -ex detach \
	    "$ROOT/build/$ARCH/$BUILD/kernel.elf" >gdb.txt 2>&1
	capos_type ''		# an idle CPU sleeps until something happens
	capos_wait '^capos: stopped'
	capos_stop
	capos_expect '^capos: panic on cpu 0: ' '^  panic\+0x' '^  trap_from_kernel\+0x|^  kernel_fault\+0x' \
	    '^ *[0-9.]+ cpu [01] process made: process [0-9]+, shell, process 1$'
}

atf_init_test_cases() {
	atf_add_test_case the_end_of_a_claim_keeps_its_order
	atf_add_test_case a_refused_access_is_traced
	atf_add_test_case a_panic_tells_what_came_before
}
