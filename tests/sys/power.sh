#! /usr/bin/env atf-sh
# However it was started, "reboot" starts it again from the beginning, and "poweroff" ends the machine.
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# again NAME=value...: boots, starts anew, is told to switch off, and is off: QEMU ended by itself
again() {
	capos_start SMP=2 "$@" QEMU_EXTRA="-action reboot=reset ${extra:-}"
	capos_wait '^capos> *$' 200
	capos_type reboot
	capos_wait 'I restart'
	capos_wait '^capos> *$' 200
	capos_type poweroff
	capos_wait 'I power off'
	[ "$(grep -c 'I capOS on' serial.txt)" -eq 2 ] || capos_fail 'it did not start twice'
	capos_end 60
	capos_refute 'cannot be switched off' 'capos: panic'
	[ "$CAPOS_STATUS" = 0 ] || capos_fail "QEMU ended with $CAPOS_STATUS"
}

# PSCI, by HVC; and by SMC, where there is an EL2.
atf_test_case from_a_device_tree
from_a_device_tree_body() {
	again
	again MACHINE=virt,virtualization=on
}

atf_test_case from_uefi_with_tables
from_uefi_with_tables_head() { atf_set timeout 900; }
from_uefi_with_tables_body() {
	again BOOT=uefi
	[ "$ARCH" != arm64 ] || again BOOT=uefi MACHINE=virt,virtualization=on
}

atf_test_case from_uefi_with_a_device_tree
from_uefi_with_a_device_tree_head() { atf_set timeout 900; }
from_uefi_with_a_device_tree_body() {
	extra='-machine acpi=off' again BOOT=uefi
	capos_expect 'I capOS on linux,dummy-virt' 'I firmware: EDK'
}

atf_test_case from_u_boot
from_u_boot_head() { atf_set timeout 900; }
from_u_boot_body() {
	case $ARCH in arm64) f=qemu_arm64/u-boot.bin ;; *) f=qemu-x86_64/u-boot.rom ;; esac
	[ -e "/usr/lib/u-boot/$f" ] || atf_skip "no U-Boot here: tools/bootstrap test"
	again BOOT=uboot
	[ "$ARCH" = arm64 ] ||
	    # Tables made before the chipset's power management had an address: the chipset has it.
	    capos_expect "W ACPI: FADT: port 0x4 is the board's, not power management's: not used" \
		'W ACPI: FADT: power-off by port 0xe404, which the chipset itself names'
}

# PM1 registers and the reset register of the FADT; without one, the chipset's at 0xcf9.
atf_test_case from_a_pc
from_a_pc_body() {
	again
	again MACHINE=pc IOMMU=none
}

atf_init_test_cases() {
	case $ARCH in
	arm64)
		atf_add_test_case from_a_device_tree
		atf_add_test_case from_uefi_with_a_device_tree ;;
	x86_64)
		atf_add_test_case from_a_pc ;;
	esac
	atf_add_test_case from_uefi_with_tables
	atf_add_test_case from_u_boot
}
