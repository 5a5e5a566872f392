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

atf_init_test_cases() {
	atf_add_test_case no_call_of_a_process_hurts_the_kernel
	atf_add_test_case a_fault_ends_with_a_readable_epitaph
}
