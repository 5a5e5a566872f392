#! /usr/bin/env atf-sh
# From power-on to the hash of a disk, and what a person writes to it.
# Requirements: A2 A4
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# hash NAME=value...: boots with disk.img and expects the host's hash of it.
hash() {
	capos_boot DISK=disk.img "$@" CMD='devices; iommu; blk; sha256 nvme0n1'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" '^capos: exit status 0'
}

atf_test_case the_hash_of_a_disk_is_the_hosts
the_hash_of_a_disk_is_the_hosts_head() { atf_set timeout 1800; }
the_hash_of_a_disk_is_the_hosts_body() {
	capos_disk disk.img "$(capos_scale 64M 1G)"
	hash SMP=4
	capos_expect 'nvme0n1 .* serial capos' 'direct-remapping'
}

atf_test_case one_cpu_is_enough
one_cpu_is_enough_head() { atf_set timeout 900; }
one_cpu_is_enough_body() {
	capos_disk disk.img 16M 2
	hash SMP=1
}

atf_test_case blocks_of_4096_bytes
blocks_of_4096_bytes_head() { atf_set timeout 900; }
blocks_of_4096_bytes_body() {
	capos_disk disk.img 16M 3
	hash SMP=4 BLOCK_SIZE=4096
	capos_expect 'blocks of 4096 bytes'
}

atf_test_case two_controllers
two_controllers_head() { atf_set timeout 900; }
two_controllers_body() {
	capos_disk disk.img 8M 4
	capos_disk second.img 4M 5
	capos_boot DISK=disk.img DISKS=second.img SMP=4 CMD='sha256 nvme0n1; sha256 nvme1n1'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" "^$(capos_sha256 second.img)  nvme1n1"
}

atf_test_case behind_a_root_port
behind_a_root_port_head() { atf_set timeout 900; }
behind_a_root_port_body() {
	capos_disk disk.img 8M 6
	hash SMP=4 ROOT_PORT=1
	capos_expect '^  0000:01:00.0 .*NVMe controller'
}

atf_test_case much_memory_and_eight_cpus
much_memory_and_eight_cpus_head() { atf_set timeout 900; }
much_memory_and_eight_cpus_body() {
	capos_disk disk.img 8M 7
	hash SMP=8 MEM=6G
	capos_expect 'cpus: 8 online'
}

atf_test_case a_part_of_a_disk
a_part_of_a_disk_body() {
	capos_disk disk.img 8M 8
	capos_boot DISK=disk.img CMD='sha256 nvme0n1 0x1000 1M'
	capos_expect "^$(capos_sha256 disk.img 4096 1048576)  nvme0n1"
}

atf_test_case a_write_changes_what_was_asked_and_nothing_else
a_write_changes_what_was_asked_and_nothing_else_body() {
	capos_disk disk.img 8M 9
	cp disk.img want.img
	printf 'capability' | dd of=want.img bs=1 seek=1000003 conv=notrunc 2>/dev/null
	capos_boot DISK=disk.img CMD='write nvme0n1 1000003 capability; flush nvme0n1'
	cmp disk.img want.img || capos_fail 'the image differs'
}

atf_test_case wrong_commands_say_what_is_wrong
wrong_commands_say_what_is_wrong_body() {
	capos_disk disk.img 1M 10
	capos_boot -s 1 DISK=disk.img CMD='sha256 nvme0n1 100 512; sha256 nvme9n1; sha256 sda; write nvme0n1 2M x; sha256 nvme0n1 0 2M; nonsense'
	capos_expect 'must be multiples of 512' 'no such controller' 'not the name of a disk' '^write: the disk has [0-9]+ bytes' \
	    'the disk has 1048576 bytes' 'no such command' '^capos: exit status 1'
}

atf_init_test_cases() {
	atf_add_test_case the_hash_of_a_disk_is_the_hosts
	atf_add_test_case one_cpu_is_enough
	atf_add_test_case blocks_of_4096_bytes
	atf_add_test_case two_controllers
	atf_add_test_case behind_a_root_port
	atf_add_test_case much_memory_and_eight_cpus
	atf_add_test_case a_part_of_a_disk
	atf_add_test_case a_write_changes_what_was_asked_and_nothing_else
	atf_add_test_case wrong_commands_say_what_is_wrong
}
