#! /usr/bin/env atf-sh
# The disk image and its forms for clouds, judged by tools that did not make them.  What is in the files of the image does not matter
# here: that it starts is for tests/sys/uefi.sh.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)
PATH=$PATH:/sbin:/usr/sbin
export LC_ALL=C
GIB=1073741824

# disk OUT: a disk for both architectures
disk() {
	[ -e kernel ] || head -c 700000 /dev/urandom >kernel
	echo loader >loader
	echo archive >archive
	echo flat >flat
	printf 'DEFAULT capos\nLABEL capos\n  KERNEL /capos/arm64/Image\n  INITRD /capos/arm64/boot.cpio\n  APPEND a=b\n' >menu
	CMDLINE='a=b' DATA= "$ROOT/tools/mkimage" "$1" arm64=loader,kernel,archive,flat x86_64=loader,kernel,archive ||
	    atf_fail "no image"
}
wrap() {
	"$ROOT/tools/wrapimage" "$1" "$2" "$3" || atf_fail "no image for $1"
}

# sound RAW: partition table and file systems have nothing to complain about
sound() {
	atf_check -o match:'No problems found' sgdisk -v "$1"
	atf_check -o match:'^Partition GUID code: C12A7328-F81F-11D2-BA4B-00A0C93EC93B' sgdisk -i 1 "$1"
	atf_check -o match:'^Partition name: .capOS data' sgdisk -i 2 "$1"
	for p in 1 2; do
		set -- "$1" "$(sgdisk -i $p "$1" | sed -n 's/^First sector: \([0-9]*\).*/\1/p')" \
		    "$(sgdisk -i $p "$1" | sed -n 's/^Partition size: \([0-9]*\) sectors.*/\1/p')"
		dd if="$1" of=part$p bs=512 skip="$2" count="$3" conv=sparse status=none
	done
	atf_check -o ignore fsck.fat -n part1
	atf_check -o ignore -e ignore e2fsck -f -n part2
	export MTOOLS_SKIP_CHECK=1
	for f in EFI/BOOT/BOOTAA64.EFI:loader EFI/BOOT/BOOTX64.EFI:loader capos/arm64/kernel:kernel capos/arm64/boot.cpio:archive \
	    capos/x86_64/boot.cpio:archive capos/arm64/Image:flat extlinux/extlinux.conf:menu; do
		mcopy -n -i part1 "::${f%:*}" copied || atf_fail "$f is not on the disk"
		atf_check cmp "${f#*:}" copied
		rm copied
	done
}

atf_test_case the_disk_is_sound_and_equal_inputs_give_equal_bytes
the_disk_is_sound_and_equal_inputs_give_equal_bytes_head() {
	atf_set require.progs 'sgdisk fsck.fat e2fsck mcopy'
}
the_disk_is_sound_and_equal_inputs_give_equal_bytes_body() {
	disk one
	sound one
	sleep 2		# the times of FAT have steps of two seconds
	# Later, elsewhere, with another umask and time zone, and as nobody where that can be.
	mkdir elsewhere
	cp kernel elsewhere/kernel
	chmod 777 elsewhere
	as=
	if [ "$(id -u)" = 0 ]; then as='setpriv --reuid=65534 --regid=65534 --clear-groups'; fi
	(cd elsewhere && disk none && umask 077 && CMDLINE='a=b' DATA= TZ=Asia/Tokyo TMPDIR=$PWD $as "$ROOT/tools/mkimage" two \
	    arm64=loader,kernel,archive,flat x86_64=loader,kernel,archive) || atf_fail 'no image made by nobody'
	[ -z "$as" ] || atf_check_equal 65534 "$(stat -c %u elsewhere/two)"
	atf_check cmp one elsewhere/two
}

atf_test_case aws_gets_whole_gibibytes_with_a_sound_table
aws_gets_whole_gibibytes_with_a_sound_table_head() { atf_set require.progs 'sgdisk fsck.fat'; }
aws_gets_whole_gibibytes_with_a_sound_table_body() {
	disk disk
	wrap aws disk out
	atf_check_equal $GIB "$(stat -c %s out)"
	sound out
	# The partitions did not move.
	atf_check cmp -n $((105 * 1048576)) -i 1048576 disk out
}

atf_test_case google_gets_one_file_in_the_old_format
google_gets_one_file_in_the_old_format_body() {
	disk disk
	wrap gcp disk out.tar.gz
	atf_check -o save:list tar -tzvf out.tar.gz
	atf_check_equal 1 "$(wc -l <list)"
	atf_check -o match:"$GIB .* disk.raw\$" cat list
	gzip -dc out.tar.gz | head -c 512 >header
	# "ustar", two blanks, nul: the old GNU format; type S: a file with holes.
	atf_check -o inline:'ustar  \0' dd if=header bs=1 skip=257 count=8 status=none
	atf_check -o inline:'S' dd if=header bs=1 skip=156 count=1 status=none
	tar -xzf out.tar.gz || atf_fail "cannot be unpacked"
	wrap aws disk raw
	atf_check cmp raw disk.raw
	sound disk.raw
}

atf_test_case azure_gets_a_fixed_disk_of_whole_mebibytes
azure_gets_a_fixed_disk_of_whole_mebibytes_head() { atf_set require.progs 'qemu-img'; }
azure_gets_a_fixed_disk_of_whole_mebibytes_body() {
	disk disk
	wrap azure disk out.vhd
	# Whole MiB, then the footer.
	atf_check_equal 512 $(($(stat -c %s out.vhd) % 1048576))
	wrap aws disk raw
	atf_check -o match:'identical' qemu-img compare -f raw -F vpc raw out.vhd
	# qemu-img warns of a wrong checksum, and takes the size from the footer.
	atf_check -o match:"\"virtual-size\": $GIB" qemu-img info -f vpc --output=json out.vhd
	tail -c 512 out.vhd >footer
	atf_check -o inline:'conectix' dd if=footer bs=1 count=8 status=none
	# Disk type 2: fixed.  Its checksum by the rule of the format, told apart from a footer with one bit changed.
	atf_check -o inline:' 00 00 00 02\n' od -An -tx1 -j 60 -N 4 footer
	checksum footer >right
	atf_check -o file:right od -An -tu1 -j 64 -N 4 footer
	printf '\001' | dd of=footer bs=1 seek=80 conv=notrunc status=none
	checksum footer >wrong
	! cmp -s right wrong || atf_fail "the checksum does not see a change"
	truncate -s -512 out.vhd
	sound out.vhd
}
# checksum FOOTER: what the format wants in bytes 64 to 67, as od -tu1 shows it
checksum() {
	od -v -An -tu1 -w1 "$1" | awk 'NR < 65 || NR > 68 { s += $1 }
	END { s = 4294967295 - s; printf " %3d %3d %3d %3d\n", int(s / 16777216), int(s / 65536) % 256, int(s / 256) % 256, s % 256 }'
}

atf_test_case oracle_gets_a_sound_qcow2
oracle_gets_a_sound_qcow2_head() { atf_set require.progs 'qemu-img'; }
oracle_gets_a_sound_qcow2_body() {
	disk disk
	wrap oci disk out.qcow2
	wrap aws disk raw
	atf_check -o match:'No errors' qemu-img check -f qcow2 out.qcow2
	atf_check -o match:'identical' qemu-img compare -f raw -F qcow2 raw out.qcow2
	atf_check -o not-match:'backing-filename' -o match:"\"virtual-size\": $GIB" qemu-img info --output=json out.qcow2
}

atf_test_case equal_disks_give_equal_bytes_in_every_form
equal_disks_give_equal_bytes_in_every_form_head() { atf_set require.progs 'qemu-img sgdisk'; }
equal_disks_give_equal_bytes_in_every_form_body() {
	disk disk
	# The same bytes without holes, later.
	cp --sparse=never disk full
	sleep 1
	for c in gcp azure oci; do		# aws: compared with the disk above
		wrap $c disk one
		wrap $c full two
		atf_check cmp one two
	done
}

# As many as U-Boot takes on its way to the kernel, and no character that it would read for itself; without its menu, as many as the kernel takes.
atf_test_case words_that_would_not_get_through_are_refused
words_that_would_not_get_through_are_refused_body() {
	touch loader kernel archive flat
	make="$ROOT/tools/mkimage disk"
	long() { head -c "$1" /dev/zero | tr '\0' x; }
	menu=arm64=loader,kernel,archive,flat
	atf_check env CMDLINE="$(long 511)" $make $menu
	export MTOOLS_SKIP_CHECK=1
	atf_check -o match:"^  APPEND $(long 511)\$" mtype -i disk@@1M ::extlinux/extlinux.conf
	rm disk
	atf_check -s exit:2 -e match:"bootmenu: the command line has 512 bytes; U-Boot's boot menu takes 511" env CMDLINE="$(long 512)" $make $menu
	atf_check -s exit:1 test -e disk
	for c in '$' "'" '\'; do
		atf_check -s exit:2 -e match:'would not get through U-Boot: a=' env CMDLINE="a=${c}b" $make $menu
	done
	atf_check env CMDLINE='a="b;c" ~#&|' $make $menu
	atf_check env CMDLINE="$(long 2047)" $make x86_64=loader,kernel,archive
	atf_check -s exit:2 -e match:'mkimage: the command line has 2048 bytes; the kernel takes 2047' env CMDLINE="$(long 2048)" $make x86_64=loader,kernel,archive
}

atf_test_case an_unknown_cloud_is_refused_by_name
an_unknown_cloud_is_refused_by_name_body() {
	disk disk
	atf_check -s exit:2 -e match:'wrapimage: ibm is not known; valid: aws gcp azure oci' "$ROOT/tools/wrapimage" ibm disk out
	atf_check -s exit:1 test -e out
	atf_check -o inline:'' find . -name 'wrap.*'
}

atf_init_test_cases() {
	atf_add_test_case the_disk_is_sound_and_equal_inputs_give_equal_bytes
	atf_add_test_case aws_gets_whole_gibibytes_with_a_sound_table
	atf_add_test_case google_gets_one_file_in_the_old_format
	atf_add_test_case azure_gets_a_fixed_disk_of_whole_mebibytes
	atf_add_test_case oracle_gets_a_sound_qcow2
	atf_add_test_case equal_disks_give_equal_bytes_in_every_form
	atf_add_test_case words_that_would_not_get_through_are_refused
	atf_add_test_case an_unknown_cloud_is_refused_by_name
}
