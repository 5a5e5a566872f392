#! /usr/bin/env atf-sh
# UEFI firmware starts it: from a disk, from the disk that it then drives, as one file; and what is wrong with a disk is said.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}
ESP=@@1M
export MTOOLS_SKIP_CHECK=1

# image WORDS: disk.img, a bootable disk with words for the kernel; words WORDS: others
image() {
	CMDLINE="$1" DATA= "$ROOT/tools/mkimage" disk.img "$ARCH=$OUT/boot.efi,$OUT/kernel.boot,$OUT/boot-default.cpio" ||
	    atf_fail "no image"
}
words() {
	printf '%s\n' "$1" >words
	mcopy -o -i disk.img$ESP words "::capos/$ARCH/cmdline" || atf_fail "no command line"
}

atf_test_case firmware_starts_it_and_the_hash_is_right
firmware_starts_it_and_the_hash_is_right_head() { atf_set timeout 900; }
firmware_starts_it_and_the_hash_is_right_body() {
	capos_disk data.img 8M 11
	capos_boot BOOT=uefi DISK=data.img QEMU_EXTRA='-rtc base=2031-12-31T23:58:07' CMD='devices; iommu; date; sha256 nvme0n1'
	capos_expect '^2031-12-31 23:5[89]:[0-9]+ UTC$' "^$(capos_sha256 data.img)  nvme0n1" '^capos: exit status 0' 'direct-remapping' 'cpus: 4 online'
	capos_refute 'no power-off' 'going on alone'
}

atf_test_case it_starts_from_the_disk_that_it_then_drives
it_starts_from_the_disk_that_it_then_drives_head() { atf_set timeout 900; }
it_starts_from_the_disk_that_it_then_drives_body() {
	image 'cmd=write%20nvme0n1%2050M%20found-again%3bflush%20nvme0n1%3bpoweroff'
	capos_boot BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused
	capos_expect '^capos: exit status 0'
	words 'cmd=hexdump%20nvme0n1%2050M%2016%3bsha256%20nvme0n1%3bpoweroff'
	capos_boot BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused
	capos_expect 'found-again' "^$(capos_sha256 disk.img)  nvme0n1"
}

atf_test_case a_disk_made_long_for_a_cloud_starts
a_disk_made_long_for_a_cloud_starts_head() { atf_set timeout 900; }
a_disk_made_long_for_a_cloud_starts_body() {
	image 'cmd=hexdump%20nvme0n1%201073741312%2016%3bpoweroff'
	"$ROOT/tools/wrapimage" aws disk.img cloud.raw || atf_fail "no image"
	capos_boot BOOT=uefi BOOT_DISK=nvme DISK=cloud.raw CMD=unused
	# The copy of the table's header is in the last block.
	capos_expect '^capos: exit status 0' 'EFI PART'
}

atf_test_case one_file_starts_by_itself_and_takes_load_options
one_file_starts_by_itself_and_takes_load_options_head() { atf_set timeout 900; }
one_file_starts_by_itself_and_takes_load_options_body() {
	capos_disk data.img 4M 12
	capos_boot BOOT=uefi BOOT_DISK=none DISK=data.img CMD=unused \
	    QEMU_EXTRA="-kernel $OUT/capos.efi -append cmd=sha256%20nvme0n1%3bpoweroff"
	capos_expect "^$(capos_sha256 data.img)  nvme0n1"
}

# bad REGEX: boots disk.img, expects the application's line
bad() {
	capos_start BOOT=uefi BOOT_DISK=disk.img MEM="${MEM:-1G}"
	capos_wait "$1" 200
	capos_refute '^ *[0-9.]* I capOS on'
	capos_stop
}

atf_test_case what_is_wrong_with_a_disk_is_said
what_is_wrong_with_a_disk_is_said_head() { atf_set timeout 1800; }
what_is_wrong_with_a_disk_is_said_body() {
	case $ARCH in arm64) other=x86_64 ;; *) other=arm64 ;; esac
	image ''
	mdel -i disk.img$ESP "::capos/$ARCH/boot.cpio"
	bad 'capos: .*boot.cpio is missing'
	image ''
	mcopy -o -i disk.img$ESP "$ROOT/README.md" "::capos/$ARCH/boot.cpio"
	bad 'capos: the boot archive is damaged'
	image ''
	head -c 1000 "$OUT/kernel.boot" >short
	mcopy -o -i disk.img$ESP short "::capos/$ARCH/kernel"
	bad 'capos: the kernel is damaged'
	if [ -e "$ROOT/build/$other/${BUILD:-release}/kernel.boot" ]; then
		image ''
		mcopy -o -i disk.img$ESP "$ROOT/build/$other/${BUILD:-release}/kernel.boot" "::capos/$ARCH/kernel"
		bad 'capos: the kernel is for another architecture'
	fi
}

atf_init_test_cases() {
	atf_add_test_case firmware_starts_it_and_the_hash_is_right
	atf_add_test_case it_starts_from_the_disk_that_it_then_drives
	atf_add_test_case a_disk_made_long_for_a_cloud_starts
	atf_add_test_case one_file_starts_by_itself_and_takes_load_options
	atf_add_test_case what_is_wrong_with_a_disk_is_said
}
