#! /usr/bin/env atf-sh
# What can run out: the answer is an error code, and it comes back (D13).
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# trial WHAT NAME=value...: boots an archive that holds nothing but usr/trial, as init.
trial() {
	what=$1; shift
	"$ROOT/tools/mkarchive" trial.cpio init="$ROOT/build/$ARCH/$BUILD/usr/trial"
	capos_boot INITRD=trial.cpio APPEND="trial=$what" CMD=none "$@"
}

atf_test_case the_kernels_view_of_registers_costs_nothing_that_stays
the_kernels_view_of_registers_costs_nothing_that_stays_body() {
	capos_disk disk.img 1M 80
	trial registers DISK=disk.img SMP=1
	capos_expect '^trial: 3000 windows, 0 pages stayed'
}

# A stack's memory is there, and not the table that maps it, or the thread's record.
atf_test_case no_memory_for_a_threads_stack_is_an_error_code
no_memory_for_a_threads_stack_is_an_error_code_body() {
	trial memory SMP=1 MEM=64M
	capos_expect '^trial: 0 pages free, one more: refused; 250 threads, some of them refused at first'
}

# One watch an object, and two a device: a driver cannot take its supervisor's, a client not the owner's of shared memory.
atf_test_case a_watch_is_for_who_manages_the_object
a_watch_is_for_who_manages_the_object_body() {
	capos_disk disk.img 1M 81
	trial watches DISK=disk.img SMP=1
	capos_expect '^trial: a reader of memory: rights missing, its manager: success' \
	    '^trial: a reader of a process: rights missing, its manager: success' \
	    '^trial: a driver as driver: success, as supervisor: rights missing, a supervisor: success'
}

atf_test_case a_driver_takes_no_more_vectors_than_its_own
a_driver_takes_no_more_vectors_than_its_own_body() {
	capos_disk disk.img 1M 82
	trial vectors DISK=disk.img SMP=1
	capos_expect '^trial: the child took 3 vectors, then: quota used up; one for another: success' \
	    '^trial: of [0-9]{2,4} vectors 0 are gone'
}

# A call that looked a handle up before it was revoked is late: nothing of it stays.
atf_test_case memory_that_is_revoked_while_it_is_mapped_is_mapped_nowhere
memory_that_is_revoked_while_it_is_mapped_is_mapped_nowhere_body() {
	trial revoke SMP=2
	capos_expect '^trial: 300 memories revoked, [1-9][0-9]* mapped too late, 0 mappings survived'
}

# A grant that is mapped for each request keeps its address between, and no memory.  Who is late, or is not its owner, is refused.
atf_test_case a_grant_that_keeps_its_address_holds_no_memory
a_grant_that_keeps_its_address_holds_no_memory_body() {
	capos_disk disk.img 1M 83
	trial rounds DISK=disk.img SMP=1
	kept
	trial rounds DISK=disk.img SMP=1 IOMMU=none
	kept
}

kept() {
	capos_expect '^trial: mapped again while it has memory: not in a state for this' \
	    '^trial: kept twice: success' '^trial: another length: out of range' '^trial: past the end of memory: out of range' \
	    '^trial: memory that may only be read, for writing: rights missing' '^trial: memory that is not for devices: rights missing' \
	    '^trial: sealed memory, for writing: read only' '^trial: its handle without the right to map: rights missing' \
	    '^trial: another process that may only unmap it: rights missing' '^trial: sealed memory, for reading: success' \
	    '^trial: other memory, other direction: success' '^trial: unmapped with the word of before: stale.*' \
	    '^trial: unmapped for good with the word of before: stale.*' '^trial: unmapped for good: success' \
	    '^trial: mapped again after that: no such handle' '^trial: a grant of 64 pages holds, mapped: 64; kept: 0$' \
	    '^trial: many rounds: success' '^trial: the claim ends with one kept: success' \
	    '^trial: mapped again after the end: stale.*'
}

atf_init_test_cases() {
	atf_add_test_case memory_that_is_revoked_while_it_is_mapped_is_mapped_nowhere
	atf_add_test_case a_grant_that_keeps_its_address_holds_no_memory
	atf_add_test_case a_driver_takes_no_more_vectors_than_its_own
	atf_add_test_case a_watch_is_for_who_manages_the_object
	atf_add_test_case the_kernels_view_of_registers_costs_nothing_that_stays
	atf_add_test_case no_memory_for_a_threads_stack_is_an_error_code
}
