#! /usr/bin/env atf-sh
# U-Boot starts the disk that UEFI firmware starts: by itself, from its own boot menu on arm64 (booti, with the board's device tree), and
# as a UEFI application on both architectures.  It starts from virtio-blk; the NVMe disk is the one for data.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}
WORDS='cmd=evidence%3bsha256%20nvme0n1%3bcpus%3bpoweroff'
export MTOOLS_SKIP_CHECK=1

need_uboot() {
	case $ARCH in arm64) f=qemu_arm64/u-boot.bin ;; *) f=qemu-x86_64/u-boot.rom ;; esac
	[ -e "/usr/lib/u-boot/$f" ] || atf_skip "no U-Boot here: tools/bootstrap test"
}

# image [ARCH...]: disk.img for these as well
image() {
	parts=
	for a in "$ARCH" "$@"; do
		o=$ROOT/build/$a/${BUILD:-release}
		parts="$parts $a=$o/boot.efi,$o/kernel.boot,$o/boot-default.cpio"
		[ "$a" != arm64 ] || parts=$parts,$o/Image
	done
	CMDLINE=$WORDS DATA= "$ROOT/tools/mkimage" disk.img $parts || atf_fail 'no image'
}

# direct: hash of data.img, verdict, CPUs; and the machine switched itself off
direct() {
	capos_expect 'U-Boot 20' "^$(capos_sha256 data.img)  nvme0n1" '^0000:.* class 010802: at most direct-remapping' \
	    '^  programmed    yes' 'direct-remapping by .*: validated' 'cpus: 4 online'
	capos_refute '^capos: off'
	! grep -E 'terminating on signal|no end after' qemu.err || capos_fail 'QEMU did not end by itself'
}

# Nobody types: the command line that "make run" gives is in the menu's entry.
atf_test_case by_its_own_menu
by_its_own_menu_head() { atf_set timeout 900; }
by_its_own_menu_body() {
	need_uboot
	capos_disk data.img 8M 22
	# As long a command line as U-Boot takes; with one byte more it would go on to the UEFI application.
	cmd='cmd=evidence%3B%20sha256%20nvme0n1%3B%20cpus'
	pad=$(head -c $((510 - ${#cmd})) /dev/zero | tr '\0' x)
	capos_boot BOOT=uboot DISK=data.img APPEND="$pad" CMD='evidence; sha256 nvme0n1; cpus'
	capos_expect 'Found /extlinux/extlinux.conf' 'Retrieving file: /capos/arm64/Image' '^Starting kernel' '^capos: exit status 0'
	capos_refute 'bootaa64.efi' 'I firmware: ' 'bootarg overflow'
	direct
	capos_boot -s 2 BOOT=uboot DISK=data.img APPEND="x$pad" CMD='evidence; sha256 nvme0n1; cpus'
	grep -q "the command line has 512 bytes; U-Boot's boot menu takes 511" qemu.err || capos_fail 'no limit named'
}

# arm64: a disk without the menu.  x86_64: one with a menu for the other architecture, which U-Boot tries, and goes on.
atf_test_case by_bootefi
by_bootefi_head() { atf_set timeout 900; }
by_bootefi_body() {
	need_uboot
	capos_disk data.img 8M 21
	if [ "$ARCH" = arm64 ]; then
		image
		mdel -i disk.img@@1M ::extlinux/extlinux.conf || atf_fail 'no menu on the disk'
	elif [ -e "$ROOT/build/arm64/${BUILD:-release}/Image" ]; then
		image arm64
	else
		image
	fi
	capos_boot BOOT=uboot BOOT_DISK=disk.img DISK=data.img CMD=unused
	capos_expect 'Found EFI removable media binary efi/boot/boot(aa|x)64.efi' 'I firmware: Das U-Boot'
	direct
}

atf_init_test_cases() {
	atf_add_test_case by_bootefi
	[ "$ARCH" != arm64 ] || atf_add_test_case by_its_own_menu
}
