#! /usr/bin/env atf-sh
# Memory of processes: large leaves and small ones, much of it.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# The same addresses change between large leaves, small ones and none; tables come and go with them.
atf_test_case large_leaves_and_small_ones_show_the_same_memory
large_leaves_and_small_ones_show_the_same_memory_body() {
	capos_start SMP=2
	# Everybody has what he takes at his start.
	for line in 'nbdd: [0-9]* exports? on port' 'flowd: chargen on port' 'httpd: the status page is on port'; do
		CAPOS_SEEN=0
		capos_wait "$line"
	done
	capos_type 'memtest 4; mem; memtest 64; memtest 6; memtest 64; mem; poweroff'
	capos_end
	capos_expect 'wrote 65536 KiB from 0 KiB on, 32 large leaves, 0 wrong' \
	    'read 63488 KiB from 4 KiB on, 0 large leaves, 0 wrong' 'read 65536 KiB from 0 KiB on, 32 large leaves, 0 wrong'
	capos_refute 'leaves, [1-9][0-9]* wrong'
	# User pages are back; of the tables as many stay as the largest address range took.
	[ "$(sed -n 's/^pages: .* user \([0-9]*\) .*/\1/p' serial.txt | sort -u | wc -l)" -eq 1 ] || capos_fail 'pages leaked'
	first=$(sed -n 's/^pages: .* tables \([0-9]*\) .*/\1/p' serial.txt | head -n 1)
	last=$(sed -n 's/^pages: .* tables \([0-9]*\) .*/\1/p' serial.txt | tail -n 1)
	[ $((last - first)) -le 32 ] || capos_fail "tables grew from $first to $last"
}

# 64 GiB, most of it above 4 GiB.
atf_test_case memory_above_4_gib_is_used
memory_above_4_gib_is_used_head() { atf_set timeout 900; }
memory_above_4_gib_is_used_body() {
	capos_disk disk.img 1M 50
	capos_boot DISK=disk.img MEM=64G SMP=8 \
	    QEMU_EXTRA='-object memory-backend-ram,id=ram,size=64G,reserve=off -machine memory-backend=ram' \
	    CMD='mem; memtest 100; sha256 nvme0n1'
	capos_expect 'memory: 65[0-9]{3} MiB' 'read 102400 KiB from 0 KiB on, 50 large leaves, 0 wrong' \
	    "^$(capos_sha256 disk.img)  nvme0n1"
}

# D13: more than the quota is refused, and the refusal is counted.
atf_test_case more_than_the_quota_is_refused_and_counted
more_than_the_quota_is_refused_and_counted_body() {
	capos_boot -s 1 CMD='mem; memtest 500; mem'
	capos_expect 'shell .* 0$' 'memtest: no memory' '^ *[0-9]+ shell .* 1$'
}

# What BUILD.md says is the least: a disk is served, and a server that was killed is started again.
atf_test_case the_least_memory_is_enough
the_least_memory_is_enough_body() {
	capos_disk disk.img 4M 51
	capos_boot DISK=disk.img MEM=16M CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1; ps'
	capos_expect 'W init: shell: 32768 pages are too many for this machine' 'nvmed serves again'
	capos_expect 'W init: nbdd is left out: of this machine it would get'
	capos_refute 'given up'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'not two right hashes'
}

# One line says it, and the machine stops by itself.
atf_test_case too_little_memory_is_one_line
too_little_memory_is_one_line_body() {
	for mem in 4608K 6M; do
		capos_boot -s 1 MEM=$mem TIMEOUT=60 CMD='mem'
		[ "$(grep -c 'too little memory' serial.txt)" -eq 1 ] || capos_fail "$mem: not one line"
		capos_expect 'I power off'
		capos_refute 'capos>'
	done
}

atf_init_test_cases() {
	atf_add_test_case the_least_memory_is_enough
	atf_add_test_case too_little_memory_is_one_line
	atf_add_test_case more_than_the_quota_is_refused_and_counted
	atf_add_test_case large_leaves_and_small_ones_show_the_same_memory
	atf_add_test_case memory_above_4_gib_is_used
}
