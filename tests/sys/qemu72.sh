#! /usr/bin/env atf-sh
# What QEMU 7.2 can do works with QEMU 7.2.
#
# That is the machine's own, or the one that "tools/bootstrap --older-qemu" put beside it; else the newer one's machine
# types of that version.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

atf_test_case what_qemu_7_2_can_do_works
what_qemu_7_2_can_do_works_head() { atf_set timeout 900; }
what_qemu_7_2_can_do_works_body() {
	# Kyua gives tests another HOME.
	cache=${CAPOS_CACHE:-$(getent passwd "$(id -u)" | cut -d : -f 6)/.cache/capos}
	case $ARCH in
	arm64) name=qemu-system-aarch64 type=virt-7.2 ;;
	x86_64) name=qemu-system-x86_64 type=pc-q35-7.2 ;;
	esac
	if [ -x "$cache/qemu-7.2/$name" ]; then
		with="QEMU=$cache/qemu-7.2/$name"
	else
		with="MACHINE=$type"
	fi
	capos_disk disk.img 4M 60
	capos_boot "$with" DISK=disk.img SMP=4 CMD='sha256 nvme0n1; rogue 0 w 0x5000; sha256 nvme0n1'
	capos_expect 'doorbells mediated' 'refused: outside of every window'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'mediated: a hash is wrong or missing'
	capos_boot "$with" DISK=disk.img SMP=4 MANIFEST=mapped \
	    CMD="devices; iommu; blk; sha256 nvme0n1; rogue 0 w 0x5000; repeat 10 'kill nvmed; sha256 nvme0n1 0 4096'; sha256 nvme0n1"
	capos_expect 'cpus: 4 online' 'direct-remapping' 'fault: device 00:0[0-9a-f]\.0 write to iova 0x5000'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
	case $with in
	QEMU=*) capos_expect 'firmware 7\.2' ;;
	esac
}

atf_init_test_cases() {
	atf_add_test_case what_qemu_7_2_can_do_works
}
