#! /usr/bin/env atf-sh
# A program that throws random and edge-case arguments at every system call, and then faults.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case no_call_of_a_process_hurts_the_kernel
no_call_of_a_process_hurts_the_kernel_head() { atf_set timeout 1800; }
no_call_of_a_process_hurts_the_kernel_body() {
	capos_disk disk.img 4M 30
	seed=1
	while [ $seed -le "$(capos_scale 4 40)" ]; do
		capos_boot DISK=disk.img SMP=$((seed % 2 * 3 + 1)) APPEND="hostile=$seed" CMD='sleep 1500; ps; sha256 nvme0n1'
		capos_expect 'hostile: survived 40000 calls' "^$(capos_sha256 disk.img)  nvme0n1"
		seed=$((seed + 1))
	done
}

atf_test_case a_fault_ends_with_a_readable_epitaph
a_fault_ends_with_a_readable_epitaph_body() {
	capos_boot APPEND='hostile=9' CMD='sleep 1500; ps'
	capos_expect 'init: hostile died: read of a bad address, address 0x10' 'init:   #0 [0-9a-f]* main\+0x' \
	    'init:   #1 [0-9a-f]* start\+0x'
	capos_refute 'hostile +running'
}

# Threads, address spaces, mappings, objects, memory, handles: each ends with its own quota.  Then a disk server is started anew, and the
# shell makes processes of its own.
atf_test_case who_takes_all_it_gets_takes_nothing_from_others
who_takes_all_it_gets_takes_nothing_from_others_body() {
	capos_disk disk.img 4M 33
	capos_boot DISK=disk.img SMP=2 MEM=256M APPEND='hostile=take' \
	    CMD='sleep 1500; ps; kill nvmed; sha256 nvme0n1; memtest 8; stress 200'
	for what in '47 threads' '8 processes' '[1-9][0-9]* mappings' '1 objects' '[0-9]+ pages' '[1-9][0-9]* handles'; do
		capos_expect "take: $what, then: quota used up"
	done
	capos_expect 'take: that is all' 'hostile +(running|blocked)' 'nvmed serves again' "^$(capos_sha256 disk.img)  nvme0n1"
}

# Guards of the CPU against code that goes astray.  QEMU has those of arm64 with -cpu max, and none of x86_64.
guarded_cpu() {
	case $ARCH in arm64) echo max,pauth-impdef=on ;; *) echo max ;; esac
}

atf_test_case a_call_into_the_middle_of_a_function_ends_the_process
a_call_into_the_middle_of_a_function_ends_the_process_body() {
	capos_boot CPU="$(guarded_cpu)" APPEND='hostile=jump' CMD='sleep 700; ps'
	if [ "$ARCH" = arm64 ]; then
		capos_expect 'capOS on .* BTI' 'init: hostile died: jump to what is no landing place' \
		    'init:   #0 [0-9a-f]* victim\+0x4$' 'init:   #1 [0-9a-f]* (jump|main|start)\+0x'
		capos_refute 'was possible'
	else
		capos_expect 'a call into the middle of a function was possible'
	fi
}

atf_test_case a_forged_return_address_is_not_followed
a_forged_return_address_is_not_followed_body() {
	capos_boot CPU="$(guarded_cpu)" APPEND='hostile=return' CMD='sleep 700; ps'
	if [ "$ARCH" = arm64 ]; then
		capos_expect 'capOS on .* PAC' 'init: hostile died: (wrong signature of an address|jump to a bad address)'
		capos_refute 'forged return address was followed'
	else
		capos_expect 'forged return address was followed'
	fi
}

# The same programs and the same kernel on a CPU that knows nothing of it, and on one with it at a higher level.
atf_test_case the_guards_change_nothing_for_others
the_guards_change_nothing_for_others_body() {
	capos_disk disk.img 1M 31
	capos_boot DISK=disk.img SMP=2 CPU=cortex-a72 APPEND='hostile=return' CMD='sleep 700; sha256 nvme0n1'
	capos_expect 'forged return address was followed' "^$(capos_sha256 disk.img)  nvme0n1"
	capos_boot DISK=disk.img SMP=2 CPU=max,pauth-impdef=on MACHINE=virt,virtualization=on CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1'
	capos_expect 'capOS on .* BTI PAC' "^$(capos_sha256 disk.img)  nvme0n1"
}

atf_init_test_cases() {
	atf_add_test_case a_call_into_the_middle_of_a_function_ends_the_process
	atf_add_test_case a_forged_return_address_is_not_followed
	if [ "$ARCH" = arm64 ]; then atf_add_test_case the_guards_change_nothing_for_others; fi
	atf_add_test_case who_takes_all_it_gets_takes_nothing_from_others
	atf_add_test_case no_call_of_a_process_hurts_the_kernel
	atf_add_test_case a_fault_ends_with_a_readable_epitaph
}
