#! /usr/bin/env atf-sh
# The boot archive is missing, damaged, or not what it should be: one clear line each, and a system as alive as it can be.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# unpack: what the default archive holds, in files/
unpack() {
	mkdir files
	(cd files && cpio -id --quiet) <"$ROOT/build/$ARCH/$BUILD/boot-default.cpio" || atf_fail 'no boot archive'
}

# pack: boot.cpio from files/
pack() {
	(cd files && for f in *; do echo "$f=files/$f"; done) | xargs "$ROOT/tools/mkarchive" boot.cpio
}

# stopped REASON INITRD: one line says why nothing can be started, and the machine is switched off.
stopped() {
	capos_boot -s 1 INITRD="$2" CMD='ps'
	capos_expect "^capos: cannot start: $1" 'I power off'
	capos_refute '^capos>' ' [0-9a-z_]+\+0x'
}

atf_test_case without_a_usable_archive_the_machine_stops_in_order
without_a_usable_archive_the_machine_stops_in_order_head() { atf_set timeout 900; }
without_a_usable_archive_the_machine_stops_in_order_body() {
	stopped 'the loader gave no boot archive' none
	capos_disk noise.cpio 64K 50
	stopped 'the boot archive is damaged' noise.cpio
	head -c 5000 "$ROOT/build/$ARCH/$BUILD/boot-default.cpio" >cut.cpio
	stopped 'the boot archive is damaged' cut.cpio
}

atf_test_case without_a_usable_init_the_machine_stops_in_order
without_a_usable_init_the_machine_stops_in_order_head() { atf_set timeout 900; }
without_a_usable_init_the_machine_stops_in_order_body() {
	unpack
	mv files/init init
	pack
	stopped 'the boot archive holds no program "init"' boot.cpio

	# The first bytes, text, none, and a program for another machine (e_machine is at 18).
	head -c 300 init >cut
	echo 'not a program' >text
	cp init foreign
	printf '\363\000' | dd of=foreign bs=1 seek=18 conv=notrunc 2>/dev/null
	for f in cut text /dev/null foreign; do
		cp "$f" files/init
		pack
		stopped '"init" in the boot archive is not a program of this architecture' boot.cpio
	done

	# One bit, in the middle of a program that is otherwise right.
	cp init files/init
	pack
	text=$(grep -a -b -o "$(head -c 4 init)" boot.cpio | cut -d : -f 1 | while read -r at; do
		cmp -s -n "$(stat -c %s init)" -i "$at:0" boot.cpio init && echo "$at"
	done)
	flip boot.cpio $((text + 4000))
	stopped 'the boot archive is damaged: no usable "init" in it' boot.cpio
}

# flip FILE OFFSET: changes one bit
flip() {
	byte=$(od -A n -t u1 -j "$2" -N 1 "$1")
	printf "$(printf '\\%03o' $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

atf_test_case a_program_that_is_missing_or_damaged_is_named
a_program_that_is_missing_or_damaged_is_named_head() { atf_set timeout 900; }
a_program_that_is_missing_or_damaged_is_named_body() {
	capos_disk disk.img 1M 51
	unpack
	for program in devmgr nvmed; do
		mv files/$program kept
		pack
		capos_boot INITRD=boot.cpio DISK=disk.img CMD='sleep 500; ps'
		capos_expect "program \"$program\" is not in the boot archive" ' shell '
		head -c 300 kept >files/$program
		pack
		capos_boot INITRD=boot.cpio DISK=disk.img CMD='sleep 500; ps'
		capos_expect "$program (cannot be|is not) started: malformed" ' shell '
		mv kept files/$program
	done

	# Without a shell nobody can ask, but the rest lives.
	rm files/shell
	pack
	capos_start INITRD=boot.cpio DISK=disk.img
	capos_wait 'program "shell" is not in the boot archive'
	capos_wait 'nvmed: NVMe'
	capos_stop
	capos_refute '^capos: panic'
}

atf_test_case without_a_manifest_or_with_nonsense_the_shell_lives
without_a_manifest_or_with_nonsense_the_shell_lives_head() { atf_set timeout 900; }
without_a_manifest_or_with_nonsense_the_shell_lives_body() {
	capos_disk disk.img 1M 52
	unpack
	mv files/manifest.dtb manifest.dtb
	for kind in missing empty text cut; do
		case $kind in
		missing) ;;
		empty) : >files/manifest.dtb ;;
		text) echo 'drivers { nvme; };' >files/manifest.dtb ;;
		cut) head -c 200 manifest.dtb >files/manifest.dtb ;;
		esac
		pack
		capos_boot INITRD=boot.cpio DISK=disk.img CMD='sleep 500; ps'
		capos_expect 'manifest' ' shell '
		capos_refute 'bus master on' 'nvmed: NVMe'
	done
}

atf_init_test_cases() {
	atf_add_test_case without_a_usable_archive_the_machine_stops_in_order
	atf_add_test_case without_a_usable_init_the_machine_stops_in_order
	atf_add_test_case a_program_that_is_missing_or_damaged_is_named
	atf_add_test_case without_a_manifest_or_with_nonsense_the_shell_lives
}
