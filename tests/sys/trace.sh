#! /usr/bin/env atf-sh
# What the trace says about what happened.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# The first end of a claim in serial.txt, against D7: prints what is wrong.
teardown_order() {
	awk '
	function bad(why) { print "line " NR ": " why ": " $0; wrong = 1 }
	function step(n, why) { if (at != n - 1) bad(why " at step " at); at = n }
	!/^ *[0-9]+\.[0-9]+ cpu [0-9]+ / { next }
	{ sub(/^ *[0-9]+\.[0-9]+ cpu [0-9]+ /, "") }
	/^dma map: / && at == 0 { live[$5]++; maps++; next }
	/^(dma map|bus master: .* on$|device claim|interrupt|dma attach)/ && at > 0 && at < 9 { bad("not after the end has begun") }
	/^dma unmap: / && at == 0 { unmapped[$5]++; next }
	/^dma invalidated: / && at == 0 { if (unmapped[$5]-- < 1) bad("never unmapped"); delete live[$5]; next }
	/^device ends: / && at == 0 { at = 1; next }
	at == 0 || at == 9 { if (at == 9 && /^device claim: / && !again) again = 1; if (at == 9 && /^process dead: /) dead = 1; next }
	/^device windows gone: / { step(2, "windows") }
	/^bus master: .* off$/ { step(3, "bus master") }
	/^device drained: .* success$/ { step(4, "drain") }
	/^device vectors gone: / { step(5, "vectors") }
	/^dma detach: / { step(6, "detach") }
	/^dma blocked: .* success$/ { step(7, "blocked") }
	/^dma unmap: / { if (at != 7) bad("unmap at step " at); unmapped[$5]++ }
	/^dma invalidated: / {
		if (at != 7) bad("invalidation at step " at)
		if (unmapped[$5]-- < 1) bad("never unmapped")
		delete live[$5]
	}
	/^device reset: .* success$/ {
		step(8, "reset")
		for (i in live) bad("still mapped at the reset: " i)
	}
	/^device free: .* success$/ { step(9, "free") }
	/^dma quarantine/ { bad("quarantine") }
	END {
		if (at != 9) { print "the end stopped at step " at; wrong = 1 }
		if (maps < 3) { print "only " maps " maps"; wrong = 1 }
		if (!again || !dead) { print "no new claim, or no dead process"; wrong = 1 }
		exit wrong
	}' serial.txt
}

atf_test_case the_end_of_a_claim_keeps_its_order
the_end_of_a_claim_keeps_its_order_body() {
	capos_disk disk.img 1M 40
	capos_boot DISK=disk.img SMP=4 CMD='sha256 nvme0n1 0 4096; kill nvmed; sha256 nvme0n1; trace 1000'
	teardown_order >order.txt || capos_fail "$(cat order.txt)"
	capos_expect 'process ends: process [0-9]+, killed' 'process made: process [0-9]+, nvmed, process' 'interrupt: '
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
