#! /usr/bin/env atf-sh
# Secure Boot, with the test keys that firmware's package brings: what is signed starts, what is not does not, and what was not verified
# is not taken.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

OUT=$ROOT/build/$ARCH/${BUILD:-release}
export MTOOLS_SKIP_CHECK=1
case $ARCH in
arm64)
	FW=/usr/share/AAVMF/AAVMF_CODE.snakeoil.fd,/usr/share/AAVMF/AAVMF_VARS.snakeoil.fd
	KEYS=/usr/share/qemu-efi-aarch64 SECURE= ;;
*)
	FW=/usr/share/OVMF/OVMF_CODE_4M.snakeoil.fd,/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd
	KEYS=/usr/share/ovmf SECURE='-machine smm=on -global driver=cfi.pflash01,property=secure,value=on' ;;
esac

# signed FILE OUT
signed() {
	[ -e key ] || openssl rsa -in $KEYS/PkKek-1-snakeoil.key -passin pass:snakeoil -out key 2>/dev/null || atf_fail "no key"
	atf_check -o ignore -e ignore sbsign --key key --cert $KEYS/PkKek-1-snakeoil.pem --output "$2" "$1"
	atf_check -o match:'Signature verification OK' -e ignore sbverify --cert $KEYS/PkKek-1-snakeoil.pem "$2"
}
# disk LOADER: disk.img with it
disk() {
	CMDLINE='cmd=poweroff' DATA= "$ROOT/tools/mkimage" disk.img "$ARCH=$1,$OUT/kernel.boot,$OUT/boot-default.cpio" ||
	    atf_fail "no image"
}
needs() {
	for f in ${FW%,*} ${FW#*,}; do
		[ -e "$f" ] || atf_skip "no $f: tools/bootstrap test"
	done
}

# capos.efi carries all that it starts, so its signature covers all of it.
atf_test_case what_is_signed_starts_and_takes_no_words_from_outside
what_is_signed_starts_and_takes_no_words_from_outside_head() { atf_set timeout 900; atf_set require.progs 'sbsign sbverify openssl'; }
what_is_signed_starts_and_takes_no_words_from_outside_body() {
	needs
	signed "$OUT/capos.efi" capos.efi
	disk capos.efi
	capos_start SMP=1 BOOT=uefi BOOT_DISK=disk.img FIRMWARE=$FW QEMU_EXTRA="$SECURE"
	capos_wait '^capos> *$' 300
	capos_stop
	capos_refute 'Access Denied|Security Violation'
	capos_start SMP=1 BOOT=uefi BOOT_DISK=none FIRMWARE=$FW \
	    QEMU_EXTRA="$SECURE -kernel capos.efi -append cmd=poweroff%3bdevices"
	capos_wait 'capos: Secure Boot is on: words from load options are not taken' 300
	capos_wait '^capos> *$' 300
	capos_stop
	capos_refute '^capos> poweroff' 'Access Denied|Security Violation'
}

atf_test_case what_is_not_signed_does_not_start
what_is_not_signed_does_not_start_head() { atf_set timeout 900; atf_set require.progs 'sbsign sbverify openssl'; }
what_is_not_signed_does_not_start_body() {
	needs
	disk "$OUT/capos.efi"
	capos_start SMP=1 BOOT=uefi BOOT_DISK=disk.img FIRMWARE=$FW QEMU_EXTRA="$SECURE"
	capos_wait 'Access Denied|Security Violation' 300
	capos_stop
	capos_refute 'capos:' 'I capOS on'
	# A bit of what was signed.
	signed "$OUT/capos.efi" bad.efi
	at=$(($(stat -c %s bad.efi) / 2))
	printf "$(printf '\\%03o' $(($(od -A n -t u1 -j $at -N 1 bad.efi) ^ 1)))" |
	    dd of=bad.efi bs=1 seek=$at conv=notrunc status=none
	atf_check -s not-exit:0 -o ignore -e ignore sbverify --cert $KEYS/PkKek-1-snakeoil.pem bad.efi
	disk bad.efi
	capos_start SMP=1 BOOT=uefi BOOT_DISK=disk.img FIRMWARE=$FW QEMU_EXTRA="$SECURE"
	capos_wait 'Access Denied|Security Violation' 300
	capos_stop
	capos_refute 'capos:' 'I capOS on'
}

atf_test_case a_signed_loader_takes_no_unsigned_kernel
a_signed_loader_takes_no_unsigned_kernel_head() { atf_set timeout 900; atf_set require.progs 'sbsign sbverify openssl'; }
a_signed_loader_takes_no_unsigned_kernel_body() {
	needs
	signed "$OUT/boot.efi" boot.efi
	disk boot.efi
	capos_start SMP=1 BOOT=uefi BOOT_DISK=disk.img FIRMWARE=$FW QEMU_EXTRA="$SECURE"
	capos_wait 'capos: Secure Boot is on, and kernel and archive on the disk are not signed' 300
	capos_stop
	capos_refute 'I capOS on'
}

atf_init_test_cases() {
	atf_add_test_case what_is_signed_starts_and_takes_no_words_from_outside
	atf_add_test_case what_is_not_signed_does_not_start
	atf_add_test_case a_signed_loader_takes_no_unsigned_kernel
}
