#! /usr/bin/env atf-sh
# Message interrupts that a device may not send (D9): another device's, and ones that nobody granted.
#
# No driver can write a vector table, so it is written from outside, while the system runs: QEMU's gdb stub writes registers.  Then the
# device sends what stands there, under its own id: in QEMU only messages from a vector table carry one.  What a device writes by DMA has
# none, whatever it writes to; so usr/edu cannot stand in for this.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# "reg" first: by physical addresses, whatever a CPU has mapped.
tool() { "$ROOT/build/host/tamper" gdb reg 0 "$@" || capos_fail "the tool could not do: $*"; }
# config FUNCTION OFFSET BYTES: of 00:FUNCTION.0's configuration space, as a number
config() {
	case $ARCH in
	arm64) space="reg $(printf 0x%x $((0x4010000000 + ($1 << 15))))" ;;
	*) space="pci $(printf 0x%x $(($1 << 3)))" ;;
	esac
	echo $((0x$(tool $space show $(($2)) $3 | sed 's/../& /g' | awk '{ for (i = NF; i > 0; i--) printf "%s", $i }')))
}
# vectors FUNCTION: where its vector table is
vectors() {
	cap=$(config $1 0x34 1)
	for _ in 1 2 3 4 5 6 7 8; do
		[ "$(config $1 $cap 1)" -ne 17 ] || break
		cap=$(config $1 $((cap + 1)) 1)
		[ $cap -ne 0 ] || capos_fail 'it has no vector table'
	done
	printf 0x%x $((($(config $1 0x10 8) & ~15) + ($(config $1 $((cap + 4)) 4) & ~7)))
}

# two_disks FIRST [NAME=value...]: the disks are 00:FIRST.0 and the one behind it, and work.
two_disks() {
	first=$1; shift
	capos_disk disk.img 1M 64
	capos_disk other.img 1M 65
	rm -f gdb
	capos_start DISK=disk.img DISKS=other.img SMP=2 QEMU_EXTRA="-gdb unix:$PWD/gdb,server=on,wait=off" "$@"
	capos_wait '^capos> '
	capos_type 'sha256 nvme0n1; sha256 nvme1n1'
	capos_wait "^$(capos_sha256 disk.img)  nvme0n1"
	capos_wait "^$(capos_sha256 other.img)  nvme1n1"
}

# entries FORMAT N...: vector table entries
entries() {
	format=$1; shift
	printf "$format" "$@"
}

# goes_on: what the first disk's server asked for came to an end, its successor works, and the other one never stopped.
goes_on() {
	capos_type 'sha256 nvme1n1'
	capos_wait "^$(capos_sha256 other.img)  nvme1n1"
	capos_type 'kill nvmed'
	capos_wait 'nvmed ended: killed'
	capos_type 'sha256 nvme0n1; sha256 nvme1n1; mem; poweroff'
	capos_wait "^$(capos_sha256 disk.img)  nvme0n1"
	capos_wait "^$(capos_sha256 other.img)  nvme1n1"
	capos_end
	capos_expect 'quarantined 0$'
	capos_refute '^capos: panic'
}

# VT-d: each entry of its table has a source, and other devices' are refused.
atf_test_case another_devices_message_is_refused_by_vt_d
another_devices_message_is_refused_by_vt_d_head() { atf_set timeout 300; }
another_devices_message_is_refused_by_vt_d_body() {
	need_qemu 9.0 'a VT-d that reports refused interrupts'
	two_disks 1
	tool reg "$(vectors 1)" put 0 "$(tool reg "$(vectors 2)" show 0 48)"
	capos_type 'sha256 nvme0n1 0 4096'
	capos_wait 'vtd0: fault: device 00:01\.0 .*: interrupt refused \(code 0x26'
	capos_wait '^sha256: read at 0: device error'
	grep -q 'invalid IRTE SID (index=[0-9]*, sid=8, source_id=16)' qemu.err || capos_fail 'that was not the reason'
	goes_on
}

# AMD-Vi: each device has a table of its own, in which others' entries are not.  The emulator's unit tells nobody.
atf_test_case a_message_that_was_not_granted_is_refused_by_amd_vi
a_message_that_was_not_granted_is_refused_by_amd_vi_head() { atf_set timeout 300; }
a_message_that_was_not_granted_is_refused_by_amd_vi_body() {
	two_disks 2 IOMMU=amd
	tool reg "$(vectors 2)" put 0 "$(entries '0000e0fe00000000%x00000000000000' 0x41 0x42 0x43)"
	capos_type 'sha256 nvme0n1 0 4096'
	# The server looks by itself when it was told nothing for a while.
	capos_wait "^$(capos_sha256 disk.img 0 4096)  nvme0n1"
	goes_on
	grep -q 'failed to remap interrupt from devid 0x10' qemu.err || capos_fail 'the message was not refused'
}

# ITS: each device has a table of events, and one that was not granted is not in it.
not_granted() {
	two_disks "$@" MANIFEST=impatient TRACE='gicv3_its_translation_write gicv3_its_ite_read'
	address=$(tool reg "$(vectors $1)" show 0 8)
	tool reg "$(vectors $1)" put 0 "$(entries "$address%x00000000000000" 0x21 0x22 0x23)"
	capos_type 'sha256 nvme0n1 0 4096'
	capos_wait "^$(capos_sha256 disk.img 0 4096)  nvme0n1"
	goes_on
	grep -A 1 "TRANSLATER write: .* data 0x2[123] size 4 requester_id 0x$(printf %x $(($1 << 3)))$" qemu.err |
	    grep -q 'EventID 0x2[123]: valid 0' || capos_fail 'the message was not refused'
}

atf_test_case a_message_that_was_not_granted_is_refused_by_the_its
a_message_that_was_not_granted_is_refused_by_the_its_head() { atf_set timeout 300; }
a_message_that_was_not_granted_is_refused_by_the_its_body() {
	not_granted 1
	not_granted 1 IOMMU=none
}

atf_init_test_cases() {
	case $ARCH in
	arm64)
		atf_add_test_case a_message_that_was_not_granted_is_refused_by_the_its ;;
	x86_64)
		atf_add_test_case another_devices_message_is_refused_by_vt_d
		atf_add_test_case a_message_that_was_not_granted_is_refused_by_amd_vi ;;
	esac
}
