#! /usr/bin/env atf-sh
# What the trace says about what happened.
# Requirements: E7 A3
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

# The supervisor takes the device away while a client's load runs, and it comes back, as a cloud's virtual function does (E7): the
# driver finds out by itself.
atf_test_case a_device_that_is_revoked_under_load_comes_back
a_device_that_is_revoked_under_load_comes_back_head() { atf_set timeout 900; }
a_device_that_is_revoked_under_load_comes_back_body() {
	capos_disk disk.img 32M 42
	for lane in direct brokered; do
		case $lane in direct) iommu= ;; brokered) iommu=IOMMU=none ;; esac
		capos_boot DISK=disk.img SMP=2 $iommu CMD='sha256 nvme0n1 0 1M; killer nvme0 200; sha256 nvme0n1; kill nvme0; sha256 nvme0n1; mem; trace 2000'
		teardown_judge $lane 3 1
		capos_expect "^$(capos_sha256 disk.img)  nvme0n1  \\(server restarted" "^$(capos_sha256 disk.img)  nvme0n1$" \
		    'devmgr: device .* nvmed serves again .*restart 2' ' quarantined 0$'
		capos_refute 'nvmed ended: killed' 'times in a row'
	done
}

# A driver that resets its device, and one that ends its claim itself; and one that is killed.
atf_test_case however_it_ends_the_order_is_the_same
however_it_ends_the_order_is_the_same_head() { atf_set timeout 900; }
however_it_ends_the_order_is_the_same_body() {
	capos_disk disk.img 1M 43
	capos_disk other.img 1M 44
	for lane in direct brokered; do
		case $lane in direct) iommu= ;; brokered) iommu=IOMMU=none ;; esac
		capos_start DISK=disk.img $iommu MANIFEST=rogue-brief \
		    QEMU_EXTRA='-drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other,use-intel-id=on'
		capos_wait 'rogue: that is all'
		capos_type 'trace 2000'
		capos_type 'kill rogue'
		capos_wait 'rogue ended: killed'
		capos_type 'kill nvmed'
		capos_wait 'nvmed serves again'
		capos_type 'trace 2000; poweroff'
		capos_end
		capos_expect 'rogue: reset: success' 'rogue: end of the claim: success'
		sed -n '/> kill rogue/,$p' serial.txt >after.txt
		sed '/> kill rogue/,$d' serial.txt >before.txt
		for part in before after; do
			cp $part.txt serial.txt
			teardown_judge $lane 0 1
		done
	done
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
	atf_add_test_case a_device_that_is_revoked_under_load_comes_back
	atf_add_test_case however_it_ends_the_order_is_the_same
	atf_add_test_case a_refused_access_is_traced
	atf_add_test_case a_panic_tells_what_came_before
}
