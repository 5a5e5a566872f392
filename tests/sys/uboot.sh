#! /usr/bin/env atf-sh
# U-Boot starts it: as a UEFI application on both architectures, and by its own boot menu on arm64.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}
export MTOOLS_SKIP_CHECK=1

need_uboot() {
	case $ARCH in arm64) f=qemu_arm64/u-boot.bin ;; *) f=qemu-x86_64/u-boot.rom ;; esac
	[ -e "/usr/lib/u-boot/$f" ] || atf_skip "no U-Boot here: tools/bootstrap test"
}

atf_test_case by_bootefi
by_bootefi_head() { atf_set timeout 900; }
by_bootefi_body() {
	need_uboot
	capos_disk data.img 8M 21
	capos_boot BOOT=uboot DISK=data.img CMD='devices; iommu; sha256 nvme0n1'
	capos_expect 'U-Boot 20' "^$(capos_sha256 data.img)  nvme0n1" 'direct-remapping' 'cpus: 4 online'
}

atf_test_case by_booti_with_a_device_tree
by_booti_with_a_device_tree_head() { atf_set timeout 900; }
by_booti_with_a_device_tree_body() {
	need_uboot
	capos_disk data.img 8M 22
	CMDLINE= DATA= "$ROOT/tools/mkimage" disk.img "$ARCH=$OUT/boot.efi,$OUT/kernel.boot,$OUT/boot-default.cpio" ||
	    atf_fail 'no image'
	cat >extlinux.conf <<-'END'
	DEFAULT capos
	LABEL capos
	  KERNEL /capos/arm64/Image
	  INITRD /capos/arm64/boot.cpio
	  APPEND cmd=sha256%20nvme0n1%3bpoweroff
	END
	mmd -i disk.img@@1M ::extlinux &&
	    mcopy -i disk.img@@1M extlinux.conf ::extlinux/extlinux.conf &&
	    mcopy -i disk.img@@1M "$OUT/Image" ::capos/arm64/Image || atf_fail 'no boot menu on the disk'
	capos_boot BOOT=uboot BOOT_DISK=disk.img DISK=data.img CMD=unused
	capos_expect 'Retrieving file: /capos/arm64/Image' "^$(capos_sha256 data.img)  nvme0n1" 'direct-remapping'
}

atf_init_test_cases() {
	atf_add_test_case by_bootefi
	[ "$ARCH" != arm64 ] || atf_add_test_case by_booti_with_a_device_tree
}
