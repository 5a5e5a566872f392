#! /usr/bin/env atf-sh
# Disks that are odd or broken, clients that lie.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case a_lying_client_is_refused_and_harms_nobody
a_lying_client_is_refused_and_harms_nobody_head() { atf_set timeout 900; }
a_lying_client_is_refused_and_harms_nobody_body() {
	capos_disk disk.img 8M 40
	for how in 1: 4:abandon; do
		cp disk.img work.img
		capos_boot DISK=work.img SMP=${how%:*} CMD="liar nvme0n1; liar nvme0n1 ${how#*:}; devices; mem; blk; sha256 nvme0n1"
		[ "$(grep -c '^liar: 0 failures, the server lived' serial.txt)" -eq 2 ] || capos_fail 'a lie was believed'
		capos_expect '^liar: a write without the right: rights missing' '^liar: closing the session of another: stale' \
		    'is refused: it claims more requests than its ring holds' 'bus master on, 0 faults' 'quarantined 0$' \
		    "^$(capos_sha256 disk.img)  nvme0n1"
		cmp disk.img work.img || capos_fail 'the liar changed the disk'
	done
	capos_expect 'ends: its client is gone' 'nvme0n1 .* refused [1-9][0-9]*, sessions refused [1-9]'
}

# D13: one client's sessions are bounded, by client and not by handle, and another gets its own.
atf_test_case a_greedy_client_leaves_sessions_to_others
a_greedy_client_leaves_sessions_to_others_body() {
	capos_disk disk.img 2M 48
	capos_boot DISK=disk.img MANIFEST=greedy APPEND='hostile=greedy' CMD='sleep 1500; sha256 nvme0n1; ps'
	capos_expect 'hostile: greedy: 8 sessions, then: quota used up; through 20 more handles 0 sessions: quota used up' \
	    'nvmed: client [0-9]+ has 8 sessions, as many as one may have: refused another' \
	    "^$(capos_sha256 disk.img)  nvme0n1" 'hostile +running'
}

# Numbers with holes, both block sizes, one that this driver leaves out.
atf_test_case several_namespaces_of_different_blocks
several_namespaces_of_different_blocks_head() { atf_set timeout 900; }
several_namespaces_of_different_blocks_body() {
	capos_disk one.img 4M 41
	capos_disk two.img 8M 42
	capos_disk three.img 2M 43
	args=
	n=0
	for ns in one:1:512 two:3:4096 three:7:16384; do
		IFS=: read -r file nsid size <<-END
			$ns
		END
		args="$args -drive if=none,id=n$n,format=raw,file=$file.img"
		args="$args -device nvme-ns,bus=many,drive=n$n,nsid=$nsid,logical_block_size=$size,physical_block_size=$size"
		n=$((n + 1))
	done
	capos_boot QEMU_EXTRA="-device nvme,id=many,serial=many $args" \
	    CMD='blk; sha256 nvme0n1; sha256 nvme0n2; write nvme0n2 5000000 holes; flush nvme0n2; sha256 nvme0n1'
	[ "$(grep -c "^$(capos_sha256 one.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'the first namespace is not right'
	capos_disk was.img 8M 42
	capos_expect "^$(capos_sha256 was.img)  nvme0n2" 'nvme0n1 .*: 4 MiB, 8192 blocks of 512 bytes' \
	    'nvme0n2 .*: 8 MiB, 2048 blocks of 4096 bytes' 'namespace 7 has blocks of 2\^14 bytes: not used'
	printf holes | dd of=was.img bs=1 seek=5000000 conv=notrunc 2>/dev/null
	cmp was.img two.img || capos_fail 'the second namespace is not as it was written'
}

# The last part of a block is nobody's.
atf_test_case a_disk_of_odd_size
a_disk_of_odd_size_head() { atf_set timeout 900; }
a_disk_of_odd_size_body() {
	capos_disk disk.img 1000003 44
	capos_boot DISK=disk.img BLOCK_SIZE=4096 CMD='blk; sha256 nvme0n1 0 999424; hexdump nvme0n1 999400 24'
	capos_expect 'nvme0n1 .*: 976.0 KiB, 244 blocks of 4096 bytes' "^$(capos_sha256 disk.img 0 999424)  nvme0n1"
	capos_boot -s 1 DISK=disk.img BLOCK_SIZE=4096 CMD='sha256 nvme0n1 0 1003520; hexdump nvme0n1 999424 16'
	capos_expect 'the disk has 999424 bytes' '^hexdump: the disk has [0-9]+ bytes'
	# The emulator fills up to 512 bytes with zeros; of larger blocks it shows the whole ones.
	while read -r size block; do
		capos_disk disk.img "$size" 44
		cp disk.img want.img
		truncate -s $(((size + 511) / 512 * 512 / block * block)) want.img
		capos_boot DISK=disk.img BLOCK_SIZE="$block" CMD='blk; sha256 nvme0n1'
		capos_expect "^nvme0n1 .* $(($(stat -c %s want.img) / block)) blocks of $block bytes" "^$(capos_sha256 want.img)  nvme0n1"
	done <<-END
		511 512
		512 512
		1049089 512
		1049089 4096
	END
}

# No block at all, no disk at all: one clear line, and a live system.
atf_test_case a_disk_without_a_block_is_said_so
a_disk_without_a_block_is_said_so_body() {
	while read -r size block; do
		: >disk.img
		truncate -s "$size" disk.img
		capos_boot -s 1 DISK=disk.img BLOCK_SIZE="$block" CMD='blk; sha256 nvme0n1; ps'
		capos_expect '^nvme0 QEMU NVMe Ctrl serial capos0: no namespace with blocks' '^no disks' \
		    '^nvme0n1: the controller shows no such namespace' 'nvmed +running'
	done <<-END
		0 512
		511 4096
		1000 4096
	END
	capos_boot -s 1 DISK=none CMD='blk; sha256 nvme0n1; ps'
	capos_expect '^no disks' '^nvme0n1: no such controller' 'devmgr +running'
	capos_refute 'nvmed'
}

# D10: the verdict is what a person is told who asks for the disk.
atf_test_case a_disk_that_is_refused_is_named_with_the_reason_at_once
a_disk_that_is_refused_is_named_with_the_reason_at_once_body() {
	capos_disk disk.img 1M 49
	capos_boot -s 1 DISK=disk.img IOMMU=none MANIFEST=direct CMD="sha256 nvme0n1; blk; devices; ps"
	[ "$(grep -c '^nvme0, 0000:00:0[0-9a-f]\.0: its device is not granted: forbidden by the manifest' serial.txt)" -eq 2 ] ||
	    capos_fail 'sha256 and blk do not both name it'
	capos_expect '^  brokered, refused: forbidden by the manifest' '^no disks' '^nvmed of 0000:00:0.\.0: its device is not granted'
	ms=$(capos_value '([0-9]+)\.[0-9]* I power off')
	[ "$ms" -lt 3 ] || capos_fail "it took $ms seconds"
}

# A driver that cannot serve, and takes longer than "stable-ms" to find that out, as with a controller that stays fatal: it is started again later
# each time, given up by name, and who asks for the disk meanwhile waits and says so.
atf_test_case a_driver_that_never_serves_is_given_up_by_name
a_driver_that_never_serves_is_given_up_by_name_body() {
	capos_disk disk.img 1M 50
	capos_boot -s 1 DISK=disk.img MANIFEST=starved CMD='sha256 nvme0n1; blk; ps'
	capos_expect 'nvmed: controller not usable: no memory for a queue \(quota used up\)' \
	    '^nvme0: waits for its driver: it waits to be started again' \
	    'devmgr: device 00:0.\.0: nvmed ended 2 times in a row before it was stable: the next start is in 1[45][0-9][0-9] ms' \
	    'nvmed is given up: it ended 3 times in a row before it served' '^nvmed of 0000:00:0.\.0: given up: ended too often'
	[ "$(grep -c '^nvme0, 0000:00:0.\.0: given up: ended too often' serial.txt)" -eq 2 ] || capos_fail 'sha256 and blk do not both say so'
	[ "$(grep -c 'controller not usable' serial.txt)" -eq 3 ] || capos_fail 'it was not started three times'
}

# The medium fails once at one place: said in words, and what is read next is right.
atf_test_case a_read_error_is_said_in_words
a_read_error_is_said_in_words_body() {
	capos_disk disk.img 4M 45
	bad="driver=blkdebug,node-name=bad,image.driver=file,image.filename=disk.img"
	bad="$bad,inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5"
	bad="$bad,inject-error.0.sector=4096,inject-error.0.once=on"
	capos_boot -s 1 QEMU_EXTRA="-blockdev $bad -device nvme,serial=bad,drive=bad" \
	    CMD='sha256 nvme0n1 0 1M; sha256 nvme0n1; sha256 nvme0n1; blk'
	capos_expect "^$(capos_sha256 disk.img 0 1048576)  nvme0n1" \
	    'nvmed: read of .* namespace 1: unrecovered read error \(status type 2 code 0x81\)' \
	    'sha256: read at [0-9]*: device error' "^$(capos_sha256 disk.img)  nvme0n1" 'errors 1 refused 0, sessions refused 0$'
}

# A command that does not end in time: called slow, aborted; QEMU cannot take it back, so the controller is reset.
# Its client gets an error, the other disk never notices, and the server lives.
atf_test_case a_command_that_does_not_end_is_given_up
a_command_that_does_not_end_is_given_up_head() { atf_set timeout 900; }
a_command_that_does_not_end_is_given_up_body() {
	capos_disk disk.img 4M 46
	stuck="driver=null-co,node-name=stuck,size=1048576,latency-ns=12000000000"
	capos_boot -s 1 DISK=disk.img MANIFEST=impatient QEMU_EXTRA="-blockdev $stuck -device nvme,serial=stuck,drive=stuck" \
	    CMD='sha256 nvme1n1 0 4096; sha256 nvme0n1; blk'
	capos_expect 'nvmed: read of 8 blocks at 0, namespace 1: no answer for 1 s' 'no answer for 2 s: aborted' \
	    'did not end when it was aborted: the controller is reset, with 1 requests in flight' 'the controller is back' \
	    'sha256: read at 0: timed out' "^$(capos_sha256 disk.img)  nvme0n1" '^nvme1n1 .* errors 1 refused 0'
	capos_refute 'nvmed ended'
}

# A reset in the middle of work (D12): what was in flight is put again, and answered once.
atf_test_case a_reset_under_load_loses_no_request
a_reset_under_load_loses_no_request_body() {
	late="driver=null-co,node-name=late,size=1048576,read-zeroes=on,latency-ns=700000000"
	capos_boot QEMU_EXTRA="-blockdev $late -device nvme,serial=late,drive=late" CMD='rogue 0 x; sha256 nvme0n1 0 64K; blk'
	capos_expect 'a test asks for it: the controller is reset, with 32 requests in flight' '32 requests are put again' \
	    'rogue: call success, driver success, 32 of 32 requests done' \
	    "^$(head -c 65536 /dev/zero | sha256sum | cut -d ' ' -f 1)  nvme0n1" 'errors 0 refused 0'
	capos_refute 'nvmed ended: exit'
}

# D12: the server dies after writes and before their flush; its successor gets them again, in order.  Byte for byte, and nowhere else,
# and not over what another session wrote since.
atf_test_case writes_outlive_the_server_that_answered_them
writes_outlive_the_server_that_answered_them_body() {
	capos_disk disk.img 2M 51
	cp disk.img want.img
	n=0
	while [ $n -lt 64 ]; do
		head -c 4096 /dev/zero | tr '\0' "\\$(printf %o $((n + 64)))"
		n=$((n + 1))
	done | dd of=want.img conv=notrunc 2>/dev/null
	capos_boot DISK=disk.img SMP=2 CMD='outlive nvme0n1'
	# 192 writes: the room is for 128, so one flush was made in between.
	capos_expect '^outlive: 192 writes, 1 restarts, [1-9][0-9]* put again: success, 0 bytes wrong' 'nvmed ended: killed' \
	    '^outlive: two writers, 0 put again: success, 0 bytes wrong'
	cmp disk.img want.img || capos_fail 'the image differs'
}

# A pair of queues for each CPU, as far as the controller goes; small queues, few vectors, small transfers, as clouds have them.
atf_test_case queues_are_as_many_as_cpus_or_what_there_is
queues_are_as_many_as_cpus_or_what_there_is_head() { atf_set timeout 900; }
queues_are_as_many_as_cpus_or_what_there_is_body() {
	capos_disk disk.img 4M 47
	while read -r smp nvme says; do
		capos_boot DISK=disk.img SMP=$smp NVME=$nvme CMD='sha256 nvme0n1; sha256 nvme0n1'
		capos_expect "$says a transfer" "^$(capos_sha256 disk.img)  nvme0n1"
	done <<-END
		1 mdts=7 1 queue of 1024, 512 KiB
		3 mdts=1 3 queues of 1024, 8 KiB
		4 max_ioqpairs=2,msix_qsize=3,mqes=31,mdts=5 2 queues of 32, 128 KiB
		2 msix_qsize=1,mqes=1,mdts=0 2 queues of 2, 2048 KiB
	END
}

atf_init_test_cases() {
	atf_add_test_case a_lying_client_is_refused_and_harms_nobody
	atf_add_test_case a_greedy_client_leaves_sessions_to_others
	atf_add_test_case several_namespaces_of_different_blocks
	atf_add_test_case a_disk_of_odd_size
	atf_add_test_case a_disk_without_a_block_is_said_so
	atf_add_test_case a_disk_that_is_refused_is_named_with_the_reason_at_once
	atf_add_test_case a_driver_that_never_serves_is_given_up_by_name
	atf_add_test_case a_read_error_is_said_in_words
	atf_add_test_case a_command_that_does_not_end_is_given_up
	atf_add_test_case a_reset_under_load_loses_no_request
	atf_add_test_case writes_outlive_the_server_that_answered_them
	atf_add_test_case queues_are_as_many_as_cpus_or_what_there_is
}
