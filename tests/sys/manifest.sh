#! /usr/bin/env atf-sh
# What the boot manifest says is what happens; what is wrong in it is named.
# Requirements: S1 S4
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# archive [SED-SCRIPT]: boot.cpio with the default manifest, changed by the script.  It must have changed something.
archive() {
	default=$ROOT/dts/manifest/default.dts
	sed -E "${1:-}" "$default" >manifest.dts
	[ -z "${1:-}" ] || ! cmp -s manifest.dts "$default" || atf_fail "nothing in default.dts fits: $1"
	dtc -q -I dts -O dtb -o manifest.dtb manifest.dts || atf_fail 'dtc'
	pack manifest.dtb=manifest.dtb
}

# pack FILE...: boot.cpio with these and all programs.
pack() {
	"$ROOT/tools/mkarchive" boot.cpio "$@" $(for p in "$ROOT/build/$ARCH/${BUILD:-release}/usr"/*.elf; do
		p=${p%.elf}; echo "${p##*/}=$p"; done) || atf_fail 'mkarchive'
}

atf_test_case a_wrong_node_is_named_and_the_rest_starts
a_wrong_node_is_named_and_the_rest_starts_body() {
	capos_disk disk.img 1M 40
	archive 's/(program = "hostile";)/\1 flavour = "sweet";/; s/when = "hostile"/when = "devices"/'
	capos_boot INITRD=boot.cpio DISK=disk.img APPEND=devices CMD='ps; sha256 nvme0n1'
	capos_expect 'E init: manifest: /services/hostile: flavour: unknown property' "^$(capos_sha256 disk.img)  nvme0n1"
	capos_refute 'hostile +running' 'hostile died'
}

atf_test_case a_service_of_the_command_line_starts_only_when_it_is_named
a_service_of_the_command_line_starts_only_when_it_is_named_body() {
	archive 's/when = "hostile"/when = "word"/'
	capos_boot INITRD=boot.cpio APPEND='wordy=1 sword=2' CMD='sleep 500'
	capos_refute 'hostile: survived'
	capos_boot INITRD=boot.cpio APPEND='a word=7' CMD='sleep 1500'
	capos_expect 'hostile: survived'
}

atf_test_case without_a_manifest_there_is_a_shell
without_a_manifest_there_is_a_shell_body() {
	pack
	capos_boot INITRD=boot.cpio CMD='ps; devices; mem'
	capos_expect 'manifest: the boot archive has no manifest.dtb' 'no service runs: starting a shell, and nothing else' \
	    'shell +running' '^0000:00:00.0 '
	capos_refute 'devmgr'
	echo nonsense >manifest.dtb
	pack manifest.dtb=manifest.dtb
	capos_boot INITRD=boot.cpio CMD='ps'
	capos_expect 'manifest: /: not a device tree' 'shell +running'
}

atf_test_case a_program_that_is_not_there_is_named
a_program_that_is_not_there_is_named_body() {
	capos_disk disk.img 1M 41
	archive 's/program = "nvmed"/program = "nvmex"/'
	capos_boot INITRD=boot.cpio DISK=disk.img CMD='sleep 100; blk'
	capos_expect 'E devmgr: nvme: program "nvmex" is not in the boot archive' '^no disks'
}

# init cannot live as a driver: it dies of a bad address at once.
atf_test_case a_driver_that_dies_at_start_is_given_up_by_name
a_driver_that_dies_at_start_is_given_up_by_name_body() {
	capos_disk disk.img 1M 42
	archive 's/program = "nvmed"/program = "init"/; s/restart-limit = <5>/restart-limit = <4>; backoff-ms = <50 400>/'
	capos_boot -s any INITRD=boot.cpio DISK=disk.img CMD='sleep 1500; ps; blk; sha256 nvme0n1'
	capos_expect 'E devmgr: device 00:0[0-9]\.0: init is given up: it ended 4 times in a row' '^capos: exit status 1'
	[ "$(grep -c 'devmgr: init died: ' serial.txt)" -eq 4 ] || capos_fail 'not four deaths'
	# The waits: none, then 50 and 100 ms.
	set -- $(sed -n -E 's/^ *([0-9]+)\.([0-9]{3})[0-9]* E devmgr: init died: .*/\1\2/p' serial.txt | sed 's/^0*//')
	[ $(($3 - $2)) -ge 50 ] && [ $(($4 - $3)) -ge 100 ] || capos_fail "deaths at $* ms: no back-off"
}

# rogue makes the driver's device write where nothing is granted; with mapped doorbells nobody stops it before the IOMMU.
atf_test_case a_device_that_faults_too_often_stays_off
a_device_that_faults_too_often_stays_off_body() {
	capos_disk disk.img 1M 43
	archive 's/doorbell = "mediated"/doorbell = "mapped"/; s/on-fault = "report";/fault-limit = <1>;/'
	capos_boot -s any INITRD=boot.cpio DISK=disk.img CMD='rogue 0 w 0x5000; sleep 500; devices; sha256 nvme0n1; sha256 nvme0n1'
	capos_expect 'E devmgr: device 00:0[0-9]\.0: [0-9]+ faults: nvmed is ended, and the device stays off' '^capos: exit status 1'
	capos_refute "$(capos_sha256 disk.img)" 'bus master on'
}

atf_test_case a_driver_whose_device_faults_is_started_again
a_driver_whose_device_faults_is_started_again_body() {
	capos_disk disk.img 1M 44
	archive 's/doorbell = "mediated"/doorbell = "mapped"/; s/on-fault = "report"/on-fault = "restart"/'
	capos_boot -s any INITRD=boot.cpio DISK=disk.img CMD='rogue 0 w 0x5000; sleep 500; sha256 nvme0n1'
	capos_expect 'W devmgr: device 00:0[0-9]\.0: [0-9]+ faults: nvmed is started again' \
	    'nvmed serves again after [0-9]+ ms \(restart 2\)' "^$(capos_sha256 disk.img)  nvme0n1"
}

atf_test_case policy_lowers_the_verdict
policy_lowers_the_verdict_body() {
	capos_disk disk.img 1M 45
	archive 's/direct_dma = "allowed"/direct_dma = "forbidden"/'
	capos_boot -s any INITRD=boot.cpio DISK=disk.img CMD='sleep 100; blk'
	capos_expect 'unsupported: forbidden by the manifest' 'nvmed is not started: refused' '^no disks'
	# Consent counts for what it names.  (On arm64 no unit lacks anything.)
	[ "$ARCH" = x86_64 ] || return 0
	archive 's/direct_dma = "allowed"/consent = "not-validated", "interrupt-isolation-none"; &/'
	capos_boot -s any INITRD=boot.cpio IOMMU=amd DISK=disk.img CMD='sleep 100; blk'
	capos_expect 'unsupported: fault_reporting=none, and the manifest does not consent' '^no disks'
}

atf_test_case a_small_machine_cuts_budgets
a_small_machine_cuts_budgets_head() { atf_set timeout 900; }
a_small_machine_cuts_budgets_body() {
	capos_disk disk.img 1M 46
	capos_boot MEM=128M DISK=disk.img CMD='sha256 nvme0n1'
	capos_expect 'W init: devmgr: 73728 pages are too many for this machine: it gets ' "^$(capos_sha256 disk.img)  nvme0n1"
}

atf_init_test_cases() {
	atf_add_test_case a_wrong_node_is_named_and_the_rest_starts
	atf_add_test_case a_service_of_the_command_line_starts_only_when_it_is_named
	atf_add_test_case without_a_manifest_there_is_a_shell
	atf_add_test_case a_program_that_is_not_there_is_named
	atf_add_test_case a_driver_that_dies_at_start_is_given_up_by_name
	atf_add_test_case a_device_that_faults_too_often_stays_off
	atf_add_test_case a_driver_whose_device_faults_is_started_again
	atf_add_test_case policy_lowers_the_verdict
	atf_add_test_case a_small_machine_cuts_budgets
}
