#! /usr/bin/env atf-sh
# DMA domains: which devices get one, and grants that come into force late.
# Requirements: E3 E5 S3 N3
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# D2: a unit of VT-d in caching mode may remember that nothing was mapped; each grant waits for its invalidation.
atf_test_case a_unit_in_caching_mode_serves_a_disk
a_unit_in_caching_mode_serves_a_disk_head() { atf_set timeout 600; }
a_unit_in_caching_mode_serves_a_disk_body() {
	capos_disk disk.img 4M 31
	capos_boot DISK=disk.img QEMU_EXTRA='-global intel-iommu.caching-mode=on' \
	    CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1; iommu; mem'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
	capos_expect 'caching mode' 'faults 0, lost 0' 'quarantined 0$'
	# One invalidation for each grant, and one for each that was taken back.
	maps=$(capos_value 'maps ([0-9]+)') unmaps=$(capos_value 'unmaps ([0-9]+)')
	[ "$(capos_value 'invalidations ([0-9]+)')" -ge $((maps + unmaps)) ] || capos_fail 'grants were not invalidated'
}

# D10: each step of the verdict is said, at boot and on demand.
atf_test_case the_evidence_names_every_step
the_evidence_names_every_step_body() {
	capos_disk disk.img 1M 32
	capos_boot DISK=disk.img CMD='evidence; sha256 nvme0n1; evidence'
	capos_expect 'device 00:01\.0: function yes, reset yes, group yes, services yes, discovered yes, programmed yes, synchronised yes, reserved yes' \
	    '010802: at most direct-remapping, claimed$' \
	    '^  programmed +yes +its IOMMU is on' '^  synchronised +yes' '^  validated +yes +validated' \
	    '^  policy +yes +allowed by the manifest' 'class 060000: unsupported: no reset method'
}

# A root bus that bypasses the IOMMU: nothing behind it is direct, and the manifest may forbid the rest.  On arm64 the emulator's
# device tree does not tell of it, the tables of its firmware do; that image has the default manifest, which allows brokering.
bypass_boot() {
	case $ARCH in arm64) capos_boot BOOT=uefi "$@" ;; *) capos_boot MANIFEST=direct "$@" ;; esac
}

# bypass_expect FUNCTION OTHERS: it is not direct, by name; so many others are mastering.
bypass_expect() {
	case $ARCH in
	arm64) capos_expect "device $1: brokered: no IOMMU in its way: .*hostile_hardware_isolation=not-claimed" ;;
	*)
		capos_expect "device $1: unsupported: forbidden by the manifest" "device $1: nvmed is not started"
		[ "$(grep -c 'bus master on' serial.txt)" -eq "$2" ] || capos_fail "bus mastering is not on for $2 devices"
		;;
	esac
}

atf_test_case a_bus_that_bypasses_the_iommu_is_refused_by_name
a_bus_that_bypasses_the_iommu_is_refused_by_name_head() { atf_set timeout 900; }
a_bus_that_bypasses_the_iommu_is_refused_by_name_body() {
	capos_disk disk.img 1M 33
	bypass_boot DISK=disk.img QEMU_EXTRA='-machine default_bus_bypass_iommu=on' CMD='sleep 300; devices'
	bypass_expect '00:01\.0' 0
	capos_refute 'direct-remapping'
}

atf_test_case a_host_bridge_that_bypasses_the_iommu_is_refused_by_name
a_host_bridge_that_bypasses_the_iommu_is_refused_by_name_head() { atf_set timeout 900; }
a_host_bridge_that_bypasses_the_iommu_is_refused_by_name_body() {
	capos_disk disk.img 1M 34
	capos_disk other.img 1M 35
	pxb='-device pxb-pcie,bus_nr=32,id=pxb,bus=pcie.0,bypass_iommu=on -device pcie-root-port,id=rp,bus=pxb,chassis=1'
	bypass_boot DISK=disk.img CMD='sleep 300; devices; sha256 nvme0n1' \
	    QEMU_EXTRA="$pxb -drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other,bus=rp"
	bypass_expect '21:00\.0' 1
	capos_expect 'device 00:01\.0: direct-remapping' "^$(capos_sha256 disk.img)  nvme0n1"
	capos_refute 'nvmed ended' 'not usable'
}

# Firmware turns registers on for the devices that it uses itself; a claim does for the others.
atf_test_case a_controller_that_firmware_left_off_is_served
a_controller_that_firmware_left_off_is_served_head() { atf_set timeout 900; }
a_controller_that_firmware_left_off_is_served_body() {
	capos_disk disk.img 1M 36
	capos_disk other.img 1M 37
	pxb='-device pxb-pcie,bus_nr=32,id=pxb,bus=pcie.0,bypass_iommu=on -device pcie-root-port,id=rp,bus=pxb,chassis=1'
	capos_boot BOOT=uefi DISK=disk.img CMD='sleep 300; devices; sha256 nvme0n1; sha256 nvme1n1' \
	    QEMU_EXTRA="$pxb -drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other,bus=rp"
	capos_expect 'device 21:00\.0: brokered' "^$(capos_sha256 disk.img)  nvme" "^$(capos_sha256 other.img)  nvme"
	capos_refute 'not usable'
}

atf_init_test_cases() {
	atf_add_test_case a_controller_that_firmware_left_off_is_served
	atf_add_test_case the_evidence_names_every_step
	atf_add_test_case a_bus_that_bypasses_the_iommu_is_refused_by_name
	atf_add_test_case a_host_bridge_that_bypasses_the_iommu_is_refused_by_name
	if [ "$ARCH" = x86_64 ]; then atf_add_test_case a_unit_in_caching_mode_serves_a_disk; fi
}
