#! /usr/bin/env atf-sh
# A driver that attacks (usr/rogue), with a controller of its own beside an honest one.
# Requirements: S2 S4 A1 A3 A5 V3 V4 V8
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# attack NAME=value...   The honest disk is read while the attacks go on, and again after the attacker was killed.
attack() {
	capos_disk disk.img 4M 70
	capos_disk other.img 1M 71
	capos_start DISK=disk.img MANIFEST=rogue \
	    QEMU_EXTRA='-drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other,use-intel-id=on -device edu,dma_mask=0xffffffffffffffff' "$@"
	capos_wait '^capos> '
	capos_type 'sha256 nvme0n1'
	capos_wait 'rogue: that is all'
	capos_type dma
	capos_type 'kill rogue'
	capos_wait 'rogue ended: killed'
	grep -q 'edu is not started' serial.txt || kill_edu
	capos_type 'sha256 nvme0n1'
	capos_type mem
	capos_type poweroff
	capos_end
	capos_expect ' quarantined 0$'
	capos_refute '^capos: panic'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
}

kill_edu() {
	# It may be slower than the other one, or faster.
	tries=600
	until grep -q 'edu: that is all' serial.txt; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || capos_fail 'edu did not end'
		sleep 0.1
		tr -d '\r' <serial.raw >serial.txt
	done
	capos_type 'kill edu'
	capos_wait 'edu ended: killed'
}

# ended HOW WHAT...      each attack was tried and ended so
ended() {
	how=$1
	shift
	for what; do
		capos_expect "rogue: $what: $how\$"
	done
}

# What is refused on every lane: it never gets as far as a queue.
refused_everywhere() {
	ended 'refused by policy.*' 'write of the command register' 'write of a BAR' 'write of the MSI-X control'
	ended 'rights missing' 'grant for writing of memory that may only be read'
	ended 'out of range' 'grant past the end of memory' 'write of the vector table'
	capos_expect 'rogue: map of the vector table: (refused by policy|out of range)'
	ended '0 bytes are not zero' 'released pages'
	ended '0 bytes changed' 'memory that was not granted for it'
	ended '2 taken, 0 bytes differ' 'writes all over configuration space'
	# As many grants as it pays for, and no more; the end of its claim takes them back.
	capos_expect 'rogue: grants: [1-9][0-9]{2,}, then: quota used up$'
	ended success reset 'end of the claim'
	ended 'stale.*' 'grant after the end' 'configuration after the end'
}

# engine REPORT: QEMU's "edu", which does whatever its driver says: only the IOMMU is in its way.
engine() {
	capos_expect 'direct-remapping by [a-z0-9]*: programmed, not validated \(consent\); doorbells mapped; reset=none \(consent\)' \
	    'edu: copy of what is granted: 0 bytes differ' 'edu: memory that was not granted for it: 0 bytes changed'
	for what in 'read of a guess at a physical address' 'read of a released buffer' 'read past every window' \
	    'read of a buffer without memory' 'write to a buffer without memory' \
	    'write to a guess at a physical address' 'write to a released buffer' 'write past every window' \
	    'write through a grant for reading' 'write across the end of its window'; do
		capos_expect "edu: $what: $1, 0 bytes seen\$"
	done
	# Nobody after it: it cannot be reset.
	capos_expect 'edu: that is all' 'quarantined: it has no reset method: nobody gets it again'
}

refused_by_the_kernels_checks() {
	ended 'refused: register value not allowed' 'pages of another size'
	ended 'refused: register not allowed' "controller's own memory" 'doorbell by hand'
	ended 'refused: enabled too early' 'queue base replaced' 'queue base not aligned' 'queue sizes replaced'
	ended 'refused: opcode not allowed' 'unknown opcode' 'doorbell buffers'
	ended 'refused: feature not allowed' 'host memory buffer'
	ended 'refused: not a queue as it was bound' 'queue of its own memory'
	ended 'refused: addresses in an unsupported form' 'address as a scatter list'
	ended 'refused: command id out of range' 'command id out of range'
	ended 'refused: index out of range' 'tail past the ring'
	ended 'refused: address not aligned' 'PRP not aligned' 'second PRP not aligned'
	ended 'refused: outside of every window' 'guess at a physical address' 'first page in, last page out' \
	    'page after the window' 'use of a released buffer' 'use of a buffer without memory'
	ended 'refused: outside of every window' 'the address of before' 'answer into the completions' \
	    'answer into the entries that the device reads' 'address in a list' 'list in memory that was not granted'
	ended 'refused: list of lists' 'list that goes on in another list'
	ended 'refused: wrong direction' 'list that leads to a grant for reading' 'list that the device could write'
	ended 'refused: address not aligned' 'address in a list not aligned' 'list not aligned'
	ended '[0-9]+ rounds, [0-9]{4,} changes, [0-9]{4,} accepted, [0-9]{4,} refused, 0 astray, 0 bytes changed, 0 faults' \
	    'PRP list changed after the doorbell'
	ended '[0-9]+ pages from 0x100000000 to 0x104000000, [1-9][0-9]* of them its own, 0 others passed' \
	    'addresses of other drivers'
	ended '49152 pages from 0x0 to 0xc0000000, 0 of them its own, 0 others passed' 'physical addresses'
	# Among the former are the honest driver's.
	[ "$(grep -c -E '^  0[01]:0[0-9]\.0 iova 0x10[0-3][0-9a-f]{6} ' serial.txt)" -ge 5 ] ||
	    capos_fail 'nobody else has grants at the addresses that were tried'
	# Where its own buffers lie side by side the page before is one that the device may only read.
	ended 'refused: (outside of every window|wrong direction)' 'page before the window'
	ended 'refused: wrong direction' 'write through a grant for reading' 'write through a grant that was for writing before'
	capos_expect 'rogue: queues: [1-9][0-9]*, then: (out of range|quota used up)$'
	ended 'rights missing' 'forged completion' 'grant of the completions for writing'
	ended '20000 of 20000 rings without an entry taken' 'doorbell storm'
	ended 'stale.*' 'queue of before the reset' 'queue after the end'
}

mediated() {
	attack "$@"
	report='refused by the IOMMU'
	case $* in *=amd*) report='not reported' ;; esac
	capos_expect 'doorbells mediated'
	engine "$report"
	refused_everywhere
	refused_by_the_kernels_checks
}

# Queue entries are not looked at: the IOMMU refuses what they lead to.  REPORT: what the driver hears of it.
mapped() {
	report=$1
	shift
	attack MANIFEST=rogue-mapped "$@"
	capos_expect '[0-9a-z]+: validated.*doorbells mapped'
	engine "$report"
	refused_everywhere
	ended "$report, device says 0x[0-9a-f]+" 'guess at a physical address' 'first page in, last page out' \
	    'page after the window' 'write through a grant for reading' 'use of a released buffer' 'the address of before' \
	    'use of a buffer without memory' 'write through a grant that was for writing before' \
	    'list that goes on in another list' 'address in a list' 'list that leads to a grant for reading' \
	    'list in memory that was not granted' 'doorbell buffers' 'queue base replaced'
	ended '20000 rings by hand, and then a command: success' 'doorbell storm'
}

atf_test_case mediated_refuses_each_by_name
mediated_refuses_each_by_name_head() { atf_set timeout 600; }
mediated_refuses_each_by_name_body() {
	mediated
}

atf_test_case mediated_behind_the_other_iommus_refuses_each_by_name
mediated_behind_the_other_iommus_refuses_each_by_name_head() { atf_set timeout 600; }
mediated_behind_the_other_iommus_refuses_each_by_name_body() {
	mediated IOMMU=virtio
	[ "$ARCH" = arm64 ] || mediated IOMMU=amd
}

# QEMU's controller reports success all the same (D11), and one command of it makes a thousand faults.  Where the unit's log
# overflows nobody knows whose the lost ones were: the honest server reads again what was in flight.
atf_test_case mapped_leaves_addresses_to_the_iommu
mapped_leaves_addresses_to_the_iommu_head() { atf_set timeout 600; }
mapped_leaves_addresses_to_the_iommu_body() {
	mapped 'refused by the IOMMU'
}

# The emulator's AMD-Vi has no log: that it refuses is seen by memory alone.
atf_test_case mapped_leaves_addresses_to_the_other_iommus
mapped_leaves_addresses_to_the_other_iommus_head() { atf_set timeout 600; }
mapped_leaves_addresses_to_the_other_iommus_body() {
	mapped 'refused by the IOMMU' IOMMU=virtio
	[ "$ARCH" = arm64 ] || mapped 'not reported' IOMMU=amd
}

atf_test_case brokered_refuses_each_by_name
brokered_refuses_each_by_name_head() { atf_set timeout 600; }
brokered_refuses_each_by_name_body() {
	attack IOMMU=none
	capos_expect 'brokered: .*hostile_hardware_isolation=not-claimed' \
	    'device 00:0[0-9]\.0: unsupported: no reset method' 'edu is not started: refused'
	refused_everywhere
	refused_by_the_kernels_checks
}

# Two functions of one device cannot be kept apart: a claim takes both or none, and the driver of one must not get the other.
atf_test_case half_an_isolation_group_is_refused_by_name
half_an_isolation_group_is_refused_by_name_head() { atf_set timeout 600; }
half_an_isolation_group_is_refused_by_name_body() {
	capos_disk disk.img 1M 72
	capos_disk other.img 1M 73
	for how in IOMMU=none ''; do
		two='-drive if=none,id=one,file=disk.img,format=raw -device nvme,serial=one,drive=one,addr=6.1'
		two="$two -drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other,addr=6.0,multifunction=on"
		capos_boot -s any $how MANIFEST=rogue QEMU_EXTRA="$two,use-intel-id=on" CMD='devices; blk; sha256 nvme0n1'
		capos_expect 'device 00:06\.0: rogue is not started: 00:06\.1, which is for nvmed, cannot be kept apart from it' \
		    'device 00:06\.1: nvmed is not started: 00:06\.0, which is for rogue, cannot be kept apart from it' \
		    '00:06\.0 .* free, bus master off' '00:06\.1 .* free, bus master off'
		capos_refute 'rogue: ' '^[0-9a-f]{64}  nvme'
		# With one driver for both there is one claim.
		capos_boot $how QEMU_EXTRA="$two" CMD='devices; sha256 nvme0n1'
		capos_expect 'device 00:06\.1: nvmed is not started: it goes together with 00:06\.0' \
		    "^$(capos_sha256 other.img)  nvme0n1"
	done
}

# A device interrupts as fast as its driver can store: 80 in a millisecond come through, and a burst, whoever takes them or does not, and
# who runs on the CPU where they go keeps nine tenths of it.  Instructions are counted, one a nanosecond: in its own time the emulator
# comes to no such rate.  Its counted x86_64 has no x2APIC.
atf_test_case an_interrupt_storm_leaves_others_nine_tenths
an_interrupt_storm_leaves_others_nine_tenths_head() { atf_set timeout 600; }
an_interrupt_storm_leaves_others_nine_tenths_body() {
	capos_disk disk.img 1M 70
	capos_disk other.img 1M 71
	[ "$ARCH" = arm64 ] || CPU=max,-x2apic
	capos_boot DISK=disk.img MANIFEST=rogue-storm SMP=1 ${CPU:+CPU=$CPU} CMD='sleep 300; sha256 nvme0n1; kill rogue; mem' \
	    QEMU_EXTRA='-icount shift=0 -rtc clock=vm -drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other,use-intel-id=on'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" 'more than 80 interrupts in a millisecond: held back' ' quarantined 0$' 'rogue: that is all'
	capos_refute 'shut off'
	sed -n -E 's/.*interrupt storm, ([a-z ]+): ([0-9]+) us, ([0-9]+) stores, ([0-9]+) interrupts, held back ([0-9]+) times, taken ([0-9]+), others keep ([0-9]+) of 1000.*/\2 \3 \4 \5 \6 \7 \1/p' serial.txt >rounds
	[ "$(wc -l <rounds)" -eq 3 ] || capos_fail 'not three rounds'
	while read -r us stores came held took keep what; do
		case $what in
		masked)
			[ "$came" -eq 0 ] && [ "$stores" -gt $((us * 50)) ] || capos_fail "that is no storm: $stores stores, $came interrupts"
			continue ;;
		*taken)	[ "$took" -ge $((came * 9 / 10)) ] || capos_fail "of $came the driver took $took" ;;
		esac
		[ "$came" -le $((us * 2 / 25 + 33)) ] || capos_fail "$what: $came came through in $us us"
		[ "$came" -ge $((us / 20)) ] && [ "$held" -ge $((us / 400)) ] || capos_fail "$what: only $came came through, held back $held times"
		[ "$keep" -ge 900 ] || capos_fail "$what: the others keep $keep of 1000"
	done <rounds
}

atf_init_test_cases() {
	atf_add_test_case mediated_refuses_each_by_name
	atf_add_test_case mediated_behind_the_other_iommus_refuses_each_by_name
	atf_add_test_case mapped_leaves_addresses_to_the_iommu
	atf_add_test_case mapped_leaves_addresses_to_the_other_iommus
	atf_add_test_case brokered_refuses_each_by_name
	atf_add_test_case an_interrupt_storm_leaves_others_nine_tenths
	atf_add_test_case half_an_isolation_group_is_refused_by_name
}
