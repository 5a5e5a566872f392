#! /usr/bin/env atf-sh
# Disks behind virtio, and their server.
# Requirements: A2
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case the_hash_of_a_virtio_disk_is_the_hosts
the_hash_of_a_virtio_disk_is_the_hosts_head() { atf_set timeout 600; }
the_hash_of_a_virtio_disk_is_the_hosts_body() {
	capos_disk disk.img "$(capos_scale 16M 1G)" 61
	while read -r smp props says; do
		capos_boot VDISK=disk.img SMP=$smp VBLK=$props CMD='sha256 disk0n1; sha256 disk0n1 512K 64K; blk'
		capos_expect "$says" "^$(capos_sha256 disk.img)  disk0n1" "^$(capos_sha256 disk.img 524288 65536)  disk0n1" \
		    '^disk0n1 virtio block device serial capos-v: '
	done <<-END
		4 num-queues=4 blocks of 512 bytes, 4 queues
		2 logical_block_size=4096,physical_block_size=4096 blocks of 4096 bytes, 2 queues
		1 num-queues=1,vectors=2,queue-size=16 1 queue, [0-9]* KiB
	END
}

# Doorbells mapped, and no IOMMU; the others are on the default's lane, mediated.
atf_test_case virtio_disks_work_on_each_lane
virtio_disks_work_on_each_lane_head() { atf_set timeout 600; }
virtio_disks_work_on_each_lane_body() {
	while read -r words says; do
		capos_disk disk.img 16M 65
		capos_boot VDISK=disk.img $words CMD='sha256 disk0n1; outlive disk0n1; killer blkd 50; sha256 disk0n1 1M 15M; dma'
		capos_expect "$says" "^$(capos_sha256 disk.img 1048576 15728640)  disk0n1" 'blkd ended: killed' \
		    '^outlive: 192 writes, 1 restarts, [1-9][0-9]* put again: success, 0 bytes wrong'
		capos_refute '[1-9][0-9]* batches refused' '[1-9][0-9]* register accesses refused'
	done <<-END
		MANIFEST=mapped doorbells mapped
		IOMMU=none brokered: no IOMMU in its way
		MANIFEST=default doorbells mediated
	END
}

atf_test_case what_is_written_zeroed_and_discarded_is_on_the_disk
what_is_written_zeroed_and_discarded_is_on_the_disk_head() { atf_set timeout 300; }
what_is_written_zeroed_and_discarded_is_on_the_disk_body() {
	capos_disk disk.img 4M 62
	cp disk.img want.img
	printf 'over the wire' | dd of=want.img bs=1 seek=5000 conv=notrunc 2>/dev/null
	dd if=/dev/zero of=want.img bs=512 seek=2048 count=2050 conv=notrunc 2>/dev/null
	capos_boot VDISK=disk.img CMD='write disk0n1 5000 "over the wire"; zero disk0n1 1M 1049600; flush disk0n1'
	cmp disk.img want.img || capos_fail 'the image differs'
	capos_boot VDISK=disk.img CMD='discard disk0n1 2M 1M; hexdump disk0n1 5000 16'
	capos_expect 'over the wire'
	cmp -n 2097152 disk.img want.img || capos_fail 'what was not discarded differs'
	capos_boot -s 1 VDISK=disk.img CMD='zero disk0n1 100 512'
	capos_expect '^zero: misaligned'
	capos_boot -s 1 VDISK=disk.img VBLK=write-zeroes=off,discard=off CMD='zero disk0n1 0 512'
	capos_expect '^zero: not supported'
}

# As of the NVMe server's: byte for byte, and nowhere else.
atf_test_case writes_to_virtio_outlive_the_server_that_answered_them
writes_to_virtio_outlive_the_server_that_answered_them_head() { atf_set timeout 300; }
writes_to_virtio_outlive_the_server_that_answered_them_body() {
	capos_disk disk.img 2M 63
	cp disk.img want.img
	n=0
	while [ $n -lt 64 ]; do
		head -c 4096 /dev/zero | tr '\0' "\\$(printf %o $((n + 64)))"
		n=$((n + 1))
	done | dd of=want.img conv=notrunc 2>/dev/null
	capos_boot VDISK=disk.img SMP=2 CMD='outlive disk0n1'
	capos_expect '^outlive: 192 writes, 1 restarts, [1-9][0-9]* put again: success, 0 bytes wrong' 'blkd ended: killed' \
	    '^outlive: two writers, 0 put again: success, 0 bytes wrong'
	cmp disk.img want.img || capos_fail 'the image differs'
}

atf_test_case a_killed_server_of_virtio_is_a_pause
a_killed_server_of_virtio_is_a_pause_head() { atf_set timeout 600; }
a_killed_server_of_virtio_is_a_pause_body() {
	capos_disk disk.img 16M 64
	capos_boot VDISK=disk.img CMD="repeat $(capos_scale 3 30) 'killer blkd 100; sha256 disk0n1'"
	capos_expect 'blkd serves again after [0-9]+ ms'
	[ "$(grep -c "^$(capos_sha256 disk.img)  disk0n1" serial.txt)" = "$(capos_scale 3 30)" ] || capos_fail 'a hash differs'
}

atf_init_test_cases() {
	atf_add_test_case the_hash_of_a_virtio_disk_is_the_hosts
	atf_add_test_case virtio_disks_work_on_each_lane
	atf_add_test_case what_is_written_zeroed_and_discarded_is_on_the_disk
	atf_add_test_case writes_to_virtio_outlive_the_server_that_answered_them
	atf_add_test_case a_killed_server_of_virtio_is_a_pause
}
