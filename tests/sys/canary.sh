#! /usr/bin/env atf-sh
# The live test of an IOMMU: the device itself is made to write where it must not, and where it may (design section 5).
# Requirements: E1
. "$(atf_get_srcdir)/../../../tests/lib/qemu.subr"

# serves LABEL [NAME=value...]: the disk is served through a unit with this label; the test was made once, at the first claim, and what
# it asked for is nobody's fault.
serves() {
	label=$1; shift
	capos_boot DISK=disk.img "$@" CMD='sha256 nvme0n1; kill nvmed; sha256 nvme0n1; evidence; evidence json; devices; iommu; mem'
	capos_expect "direct-remapping by $label; doorbells" 'bus master on, 0 faults' 'faults 0, lost 0' 'quarantined 0$'
	[ "$(grep -c "^$(capos_sha256 disk.img)  nvme0n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
	[ "$(grep -c 'live test:' serial.txt)" -eq 1 ] || capos_fail 'the live test was not made once'
	capos_refute 'fault: device' 'programmed, not validated \(consent\)'
}

atf_test_case each_unit_is_validated
each_unit_is_validated_head() { atf_set timeout 900; }
each_unit_is_validated_body() {
	capos_disk disk.img 1M 31
	case $ARCH in
	arm64)
		serves 'smmu0: validated'
		capos_expect '"hostile_hardware_isolation": "claimed"' '^  validated +yes +validated'
		serves 'viommu0: validated' IOMMU=virtio
		capos_expect '"hostile_hardware_isolation": "claimed"'
		;;
	x86_64)
		serves 'vtd0: validated'
		capos_expect '"hostile_hardware_isolation": "claimed"' '^  validated +yes +validated'
		serves 'vtd0: validated' QEMU_EXTRA='-global intel-iommu.caching-mode=on'
		serves 'viommu0: validated' IOMMU=virtio
		capos_expect 'interrupt_isolation=none \(consent\)' '^  validated +yes +validated'
		capos_refute '"hostile_hardware_isolation": "claimed"'
		# Blocked, and arrived, but its emulator records no fault.
		serves 'amdvi0: validated, silent \(consent\)' IOMMU=amd
		capos_expect '^  validated +by consent +validated, silent'
		capos_refute '"hostile_hardware_isolation": "claimed"'
		;;
	esac
}

atf_test_case validated_through_firmwares_tables
validated_through_firmwares_tables_head() { atf_set timeout 900; }
validated_through_firmwares_tables_body() {
	[ "$ARCH" = arm64 ] || atf_skip 'there the fast boot has the same tables'
	capos_disk disk.img 1M 32
	serves 'smmu0: validated' BOOT=uefi
}

# A NIC answers on its control queue, a virtio disk by a read; each is held to its grants, and the manifest consents to nothing.
atf_test_case virtio_devices_are_validated
virtio_devices_are_validated_head() { atf_set timeout 900; }
virtio_devices_are_validated_body() {
	capos_disk disk.img 1M 37
	capos_disk virtio.img 1M 38
	case $ARCH in arm64) units='smmuv3 virtio' ;; x86_64) units='intel virtio' ;; esac
	for unit in $units; do
		manifest=default
		[ $unit$ARCH != virtiox86_64 ] || manifest=virtio
		capos_boot DISK=disk.img VDISK=virtio.img NET=user IOMMU=$unit MANIFEST=$manifest \
		    CMD='sleep 300; sha256 disk1n1; kill blkd; sha256 disk1n1; kill netd; sleep 500; net; evidence; iommu; mem'
		[ "$(grep -c 'live test: validated$' serial.txt)" -eq 3 ] || capos_fail "$unit: not each was validated once"
		[ "$(grep -c "^$(capos_sha256 virtio.img)  disk1n1" serial.txt)" -eq 2 ] || capos_fail 'a hash is wrong or missing'
		[ "$(grep -c '^  validated  *yes  *validated' serial.txt)" -eq 3 ] || capos_fail "$unit: by consent, or not at all"
		capos_expect '10\.0\.2\.15' 'faults 0, lost 0' 'quarantined 0$'
		capos_refute 'fault: device' 'not validated \(consent\)' 'not usable'
	done
}

# Without a control queue a NIC has nothing to be tested by.
atf_test_case a_nic_without_a_control_queue_needs_consent
a_nic_without_a_control_queue_needs_consent_body() {
	capos_boot MANIFEST=wire NET=user NIC=ctrl_vq=off CMD='sleep 300; ps; devices'
	capos_expect 'unsupported: programmed, not validated' 'netd is not started: refused'
	capos_refute 'bus master on' 'live test:'
}

# not_direct [NAME=value...]: only the live test can find it out.  Its write stayed in the kernel's own page: the machine goes on.
not_direct() {
	capos_disk disk.img 1M 33
	capos_boot DISK=disk.img "$@" CMD='sleep 300; devices; evidence; mem; blk'
	capos_expect 'device 00:0[12]\.0: unsupported: its accesses bypass its IOMMU' '^  validated +NO +its accesses bypass its IOMMU' \
	    'nvmed is not started: refused' '^no disks' 'quarantined 0$'
	capos_refute 'bus master on' 'direct-remapping by' 'brokered:'
}

# D10: nothing in the emulator's device tree tells of it.
atf_test_case a_bypass_that_the_device_tree_does_not_tell_is_found
a_bypass_that_the_device_tree_does_not_tell_is_found_body() {
	[ "$ARCH" = arm64 ] || atf_skip 'the tables tell it there (domain_test)'
	not_direct QEMU_EXTRA='-machine default_bus_bypass_iommu=on'
	# Each finds it out for itself.
	capos_disk virtio.img 1M 38
	capos_boot DISK=disk.img VDISK=virtio.img NET=user QEMU_EXTRA='-machine default_bus_bypass_iommu=on' CMD='sleep 600; mem'
	[ "$(grep -c 'live test: its accesses bypass its IOMMU' serial.txt)" -eq 3 ] || capos_fail 'not each found it out'
	capos_expect 'netd is not started: refused' 'blkd is not started: refused' 'quarantined 0$'
}

# With pt=on, its default, the emulator's unit translates nothing, whatever its tables say (AMD-80).
atf_test_case a_unit_that_does_not_translate_is_found
a_unit_that_does_not_translate_is_found_body() {
	[ "$ARCH" = x86_64 ] || atf_skip 'the unit is of PCs'
	not_direct IOMMU=amd QEMU_EXTRA='-set device.iommu0.pt=on'
}

# The emulator's AMD-Vi learns a device's bus number when the device is made.  Below a bridge that is before the bus has its number, so it
# looks up 00:00.0, which is blocked (AMD-84).  A card that is plugged in later is known by its own id: hotplug.sh.
atf_test_case a_unit_that_takes_a_device_for_another_is_found
a_unit_that_takes_a_device_for_another_is_found_head() { atf_set timeout 600; }
a_unit_that_takes_a_device_for_another_is_found_body() {
	[ "$ARCH" = x86_64 ] || atf_skip 'the unit is of PCs'
	takes='unsupported: nothing of it arrives through its IOMMU: it makes no access, or the unit takes it for another device'
	capos_disk disk.img 1M 33
	capos_disk virtio.img 1M 38
	capos_boot IOMMU=amd ROOT_PORT=1 DISK=disk.img CMD='sleep 500; devices; evidence; mem; blk'
	capos_expect "device 01:00\.0: $takes" 'live test: the controller reports a fatal status' '^  validated +NO +nothing of it arrives' \
	    'nvmed is not started: refused' '^nvme0, 0000:01:00\.0: its device is not granted: nothing of it arrives' 'quarantined 0$'
	capos_refute 'bus master on' 'direct-remapping by' 'brokered:'
	# The virtio disk is below a port, the other is not: only that one is refused.
	capos_boot IOMMU=amd DISK=disk.img VDISK=virtio.img CMD='sleep 12000; sha256 nvme0n1; devices; mem; blk'
	capos_expect "device 01:00\.0: $takes" 'live test: the device did not complete a request' 'blkd is not started: refused' \
	    "^$(capos_sha256 disk.img)  nvme0n1" '^nvme1, 0000:01:00\.0: its device is not granted: nothing of it arrives' 'quarantined 0$'
}

# The test of one does not disturb the other, which works already.
atf_test_case two_controllers_are_tested_one_after_the_other
two_controllers_are_tested_one_after_the_other_head() { atf_set timeout 600; }
two_controllers_are_tested_one_after_the_other_body() {
	capos_disk disk.img 4M 34
	capos_disk other.img 1M 35
	capos_boot DISK=disk.img CMD='sha256 nvme0n1; sha256 nvme1n1; devices; iommu' \
	    QEMU_EXTRA='-drive if=none,id=other,file=other.img,format=raw -device nvme,serial=other,drive=other'
	capos_expect "^$(capos_sha256 disk.img)  nvme" "^$(capos_sha256 other.img)  nvme" 'faults 0, lost 0'
	[ "$(grep -c 'live test: validated' serial.txt)" -eq 2 ] || capos_fail 'not both were validated'
	capos_refute 'nvmed ended' 'not usable' 'fault: device'
}

# D3: the test works with addresses of memory; none of them is anywhere to be read.
atf_test_case its_addresses_are_not_told
its_addresses_are_not_told_body() {
	capos_disk disk.img 1M 36
	capos_boot DISK=disk.img CMD='sha256 nvme0n1 0 4096; iommu; trace 1000'
	capos_expect 'device live test: 0000:00:01\.0'
	capos_refute 'dma fault'
	# Addresses of a domain begin at 4 GiB, memory of this machine ends below 2.
	bad=$(grep -E -o 'iova 0x[0-9a-f]+' serial.txt | awk 'length($2) < 11 && $2 != "0x8000000"' | head -n 3)
	[ -z "$bad" ] || capos_fail "an address that is not a domain's: $bad"
}

atf_init_test_cases() {
	atf_add_test_case each_unit_is_validated
	atf_add_test_case validated_through_firmwares_tables
	atf_add_test_case virtio_devices_are_validated
	atf_add_test_case a_nic_without_a_control_queue_needs_consent
	atf_add_test_case a_bypass_that_the_device_tree_does_not_tell_is_found
	atf_add_test_case a_unit_that_does_not_translate_is_found
	atf_add_test_case a_unit_that_takes_a_device_for_another_is_found
	atf_add_test_case two_controllers_are_tested_one_after_the_other
	atf_add_test_case its_addresses_are_not_told
}
