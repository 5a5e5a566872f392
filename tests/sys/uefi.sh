#! /usr/bin/env atf-sh
# UEFI firmware starts it: from a disk, from the disk that it then drives, as one file; and what is wrong with a disk is said.
# Requirements: E5
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}
ESP=@@1M
export MTOOLS_SKIP_CHECK=1

# image WORDS: disk.img, a bootable disk with words for the kernel; words ARCH WORDS: others
image() {
	CMDLINE="$1" DATA= "$ROOT/tools/mkimage" disk.img "$ARCH=$OUT/boot.efi,$OUT/kernel.boot,$OUT/boot-default.cpio" ||
	    atf_fail "no image"
}
words() {
	printf '%s\n' "$2" >words
	mcopy -o -i disk.img$ESP words "::capos/$1/cmdline" || atf_fail "no command line"
}

# What "evidence" and the log say of the disk.
verdict() {
	capos_expect '^0000:.* class 010802: at most direct-remapping, claimed$' '^  validated +yes +validated' \
	    'device [0-9a-f:.]+: direct-remapping by [a-z0-9]+: validated'
}

atf_test_case firmware_starts_it_and_the_hash_is_right
firmware_starts_it_and_the_hash_is_right_head() { atf_set timeout 900; }
firmware_starts_it_and_the_hash_is_right_body() {
	capos_disk data.img 8M 11
	capos_boot BOOT=uefi DISK=data.img QEMU_EXTRA='-rtc base=2031-12-31T23:58:07' CMD='devices; iommu; date; sha256 nvme0n1; evidence'
	capos_expect '^2031-12-31 23:5[89]:[0-9]+ UTC$' "^$(capos_sha256 data.img)  nvme0n1" '^capos: exit status 0' 'cpus: 4 online'
	verdict
	capos_refute 'no power-off' 'going on alone'
}

atf_test_case it_starts_from_the_disk_that_it_then_drives
it_starts_from_the_disk_that_it_then_drives_head() { atf_set timeout 900; }
it_starts_from_the_disk_that_it_then_drives_body() {
	image 'cmd=write%20nvme0n1%2050M%20found-again%3bflush%20nvme0n1%3bpoweroff'
	capos_boot BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused
	capos_expect '^capos: exit status 0'
	words "$ARCH" 'cmd=hexdump%20nvme0n1%2050M%2016%3bsha256%20nvme0n1%3bpoweroff'
	capos_boot BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused
	capos_expect 'found-again' "^$(capos_sha256 disk.img)  nvme0n1"
}

# What "make image ARCH=all" wrote, on AAVMF and on OVMF, in turns: each finds what it wrote itself and what the other wrote.
atf_test_case one_disk_is_started_twice_by_each_firmware
one_disk_is_started_twice_by_each_firmware_head() { atf_set timeout 1800; }
one_disk_is_started_twice_by_each_firmware_body() {
	[ -e "$ROOT/build/capos-all.img" ] || atf_skip 'no disk for both architectures: make image ARCH=all'
	cp --sparse=always "$ROOT/build/capos-all.img" disk.img
	both='hexdump%20nvme0n1%20100M%2016%3bhexdump%20nvme0n1%20101M%2016%3b'
	on arm64 "${both}write%20nvme0n1%20100M%20from-aavmf%3bflush%20nvme0n1"
	capos_refute '  from-'
	on x86_64 "${both}write%20nvme0n1%20101M%20from-ovmf%3bflush%20nvme0n1"
	capos_expect '  from-aavmf[.]'
	for a in arm64 x86_64; do
		on $a "${both}sha256%20nvme0n1"
		capos_expect '  from-aavmf[.]' '  from-ovmf[.]' "^$(capos_sha256 disk.img)  nvme0n1"
	done
}
on() {
	words "$1" "cmd=$2%3bevidence%3bpoweroff"
	ARCH=$1 capos_boot BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused
	capos_expect 'I firmware: EDK' '^capos: exit status 0'
	verdict
}

# Some clouds' firmware offers both, and the tree is wrong.  Here a program that firmware starts first offers that of another machine: the
# kernel, which comes from the NVMe disk then, goes by the tables.
atf_test_case tables_win_over_a_device_tree_beside_them
tables_win_over_a_device_tree_beside_them_head() { atf_set timeout 900; }
tables_win_over_a_device_tree_beside_them_body() {
	image 'record cmd=evidence%3bsha256%20nvme0n1%3bpoweroff'
	mv disk.img capos.img
	CMDLINE= DATA= "$ROOT/tools/mkimage" tree.img "$ARCH=$OUT/offer_tree.efi,$OUT/kernel.boot,$OUT/boot-default.cpio" ||
	    atf_fail 'no image'
	capos_boot BOOT=uefi BOOT_DISK=tree.img CMD=unused \
	    QEMU_EXTRA='-drive if=none,id=d,format=raw,file=capos.img -device nvme,serial=both,drive=d,bootindex=1'
	capos_expect 'offered: a device tree of another machine' '^machine .*, tables acpi, ' '^memory loader ' 'cpus: 4 online' \
	    "^$(capos_sha256 capos.img)  nvme0n1" '^0000:.* class 010802: at most direct-remapping' 'direct-remapping by smmu0: validated' \
	    '^capos: exit status 0'
}

# Firmware's IORT and the board's device tree, from firmware or from QEMU, describe one machine: what each step of the verdict saw is the same.
atf_test_case tables_and_device_tree_lead_to_the_same_evidence
tables_and_device_tree_lead_to_the_same_evidence_head() { atf_set timeout 900; }
tables_and_device_tree_lead_to_the_same_evidence_body() {
	image 'cmd=sha256%20nvme0n1%3bevidence%3breboot'
	capos_boot -s 1 BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" 'direct-remapping by smmu0' 'I restart'
	# The machine went down by itself: a restart leaves no exit status.
	grep -q 'the guest ended without an exit status' qemu.err || capos_fail 'no restart'
	evidence >by-tables
	capos_boot DISK=disk.img CMD='sha256 nvme0n1; evidence'
	capos_expect "^$(capos_sha256 disk.img)  nvme0n1" 'direct-remapping by smmu0'
	evidence >by-tree
	[ -s by-tree ] && cmp by-tables by-tree || { diff by-tables by-tree; capos_fail 'the evidence differs'; }
	words "$ARCH" 'cmd=sha256%20nvme0n1%3bevidence%3bpoweroff'
	capos_boot BOOT=uefi BOOT_DISK=nvme DISK=disk.img CMD=unused QEMU_EXTRA='-machine acpi=off'
	capos_expect 'I firmware: EDK' 'I capOS on linux,dummy-virt' "^$(capos_sha256 disk.img)  nvme0n1" 'direct-remapping by smmu0'
	evidence >by-firmwares-tree
	cmp by-tables by-firmwares-tree || { diff by-tables by-firmwares-tree; capos_fail 'the evidence differs'; }
}
evidence() {
	sed -n '/^capos> evidence/,/^capos/p' serial.txt | grep -E '^(0000:|  [a-z]+ )'
}

# Guest instructions from the kernel's first at its own addresses to the shell's first command.
atf_test_case from_the_kernels_entry_to_the_prompt_in_few_instructions
from_the_kernels_entry_to_the_prompt_in_few_instructions_head() { atf_set timeout 900; }
from_the_kernels_entry_to_the_prompt_in_few_instructions_body() {
	need_qemu 9.0 'counters of instructions'
	at=$(llvm-nm-19 "$OUT/kernel.elf" | sed -n 's/ [A-Za-z] platform_start$//p')
	capos_disk data.img 1M 13
	capos_boot BOOT=uefi SMP=1 DISK=data.img CMD='bench ready' \
	    QEMU_EXTRA="-plugin $ROOT/build/host/icnt.so,out=$PWD/marks,dev=off,at=$at"
	awk '$2 == 252 { from = $6 + $8 } $2 == 254 { to = $6 + $8 }
	    END { print to - from; exit !(from > 0 && to > from + 100000 && to - from < 40000000) }' marks >count ||
	    { cat marks; capos_fail "$(cat count) instructions"; }
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
	    QEMU_EXTRA="-kernel $OUT/capos.efi -append cmd=sha256%20nvme0n1%3bevidence%3bpoweroff"
	capos_expect "^$(capos_sha256 data.img)  nvme0n1" '^capos: exit status 0'
	verdict
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

# Firmware goes on after a refusal, and has all of its memory: here it would not hold the archive a third time.
atf_test_case a_refusal_leaves_no_memory_behind
a_refusal_leaves_no_memory_behind_head() { atf_set timeout 900; }
a_refusal_leaves_no_memory_behind_body() {
	case $ARCH in arm64) name=BOOTAA64.EFI ;; *) name=BOOTX64.EFI ;; esac
	truncate -s 30M large.cpio
	CMDLINE= DATA= "$ROOT/tools/mkimage" disk.img "$ARCH=$OUT/boot.efi,$OUT/kernel.boot,large.cpio" || atf_fail 'no image'
	capos_start SMP=1 BOOT=uefi BOOT_DISK=disk.img MEM=128M
	capos_wait 'capos: the boot archive is damaged' 200
	capos_wait 'Shell>' 200
	for again in 2 3 4 5; do
		capos_type "FS0:\\EFI\\BOOT\\$name"
		capos_wait 'capos: the boot archive is damaged' 60
		capos_wait 'Shell>' 60
	done
	capos_stop
	capos_refute 'no room'
}

atf_init_test_cases() {
	atf_add_test_case firmware_starts_it_and_the_hash_is_right
	atf_add_test_case it_starts_from_the_disk_that_it_then_drives
	atf_add_test_case a_disk_made_long_for_a_cloud_starts
	atf_add_test_case a_refusal_leaves_no_memory_behind
	if [ "$ARCH" = arm64 ]; then
		atf_add_test_case one_disk_is_started_twice_by_each_firmware
		atf_add_test_case tables_win_over_a_device_tree_beside_them
		atf_add_test_case tables_and_device_tree_lead_to_the_same_evidence
		atf_add_test_case from_the_kernels_entry_to_the_prompt_in_few_instructions
	fi
	atf_add_test_case one_file_starts_by_itself_and_takes_load_options
	atf_add_test_case what_is_wrong_with_a_disk_is_said
}
